"""What the tests share."""

import json
import pathlib
import tempfile
import unittest

import numpy as np
import sketchfind

FIXTURES = pathlib.Path(__file__).parents[2] / "runtime/tests/fixtures"
MODEL = FIXTURES / "mean8"  # Its embedding is the mean of each colour channel, scaled to 0..1.
RED = FIXTURES / "photos/red.png"


def colour(*rgb):
    return np.full((4, 5, 3), rgb, dtype=np.uint8)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_calibration(path, *, model_sha256=None):
    """A calibration of MODEL, as `sketchfind calibrate` writes one: near is a distance of 0.01."""
    sha256 = json.loads((MODEL / "card.json").read_text())["onnx"]["sha256"]
    learned = {"dataset_sha256": "0" * 64, "split": "test", "n_photos": 20, "n_sketches": 20, "n_without": 10,
               "without": 0.5, "n_folds": 2, "seed": 1, "confidence": 0.95}
    calibration = {"tool": "test", "model": "mean8", "model_sha256": model_sha256 or sha256, "distance": "mse",
                   "sketch_share": None, "photo_frame": None,
                   "map": {"scale": 0.01, "nearness": 1.0, "ground": 0.0, "none": -2.0},
                   "min_score": 0.5, "false_answers": 0.1, "learned": learned, "measured": []}
    path.write_text(json.dumps({"magic": "sketchfind-calibration", "format": 1, "calibration": calibration}))
    return path


class WithGallery(unittest.TestCase):
    """Each test has an empty gallery, and a folder around it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.gallery = self.folder / "gallery"
        sketchfind.create(self.gallery, MODEL)

    def open(self, **options):
        retriever = sketchfind.Retriever(self.gallery, writable=True, threads=2, **options)
        self.addCleanup(retriever.close)
        return retriever
