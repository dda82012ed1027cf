"""What the tests share."""

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
