"""The example, as its readers run it."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]


class Examples(unittest.TestCase):
    def test_the_pipeline(self):
        with tempfile.TemporaryDirectory() as folder:
            model = ROOT / "models/zoo/general-mobilenet_v2"
            command = [sys.executable, "-W", "ignore", ROOT / "examples/python/pipeline.py", model, folder]
            said = subprocess.run(command, capture_output=True, text=True, timeout=600)
            self.assertEqual(said.returncode, 0, said.stderr)
            self.assertIn("500 products; of 50 drawings ", said.stdout)
            found = np.load(pathlib.Path(folder) / "found.npy")
            self.assertEqual(found.shape, (50, 5))
            # Far above chance, which is one in a hundred.
            drawn = np.arange(0, 500, 10)[:, None]
            self.assertGreater((found == drawn).any(axis=1).mean(), 0.3)
