"""Writes JPEG files of every way of coding that Pillow has, to be cut. Made with Pillow 13.0.0 and NumPy 2.5.5.

Run: python3 make_jpegs.py     Writes jpegs/*.jpg; results are deterministic for one version of Pillow.
"""
import pathlib

import numpy as np
from PIL import Image

folder = pathlib.Path(__file__).parent / "jpegs"
folder.mkdir(exist_ok=True)
y, x = np.mgrid[0:37, 0:53].astype(np.float64)
noise = np.random.default_rng(1).normal(0, 12, (37, 53, 3))
waves = np.stack([120 + 100 * np.sin(x / 3), 4 * x, 255 - 6 * y], -1)
picture = Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))

picture.save(folder / "subsampled.jpg", quality=75)
picture.save(folder / "across.jpg", quality=75, subsampling="4:2:2")
picture.save(folder / "optimised.jpg", quality=90, optimize=True)
picture.save(folder / "restarts.jpg", quality=75, restart_marker_blocks=3)
picture.save(folder / "progressive_subsampled.jpg", quality=75, progressive=True)
picture.save(folder / "progressive_restarts.jpg", quality=75, progressive=True, restart_marker_blocks=2)
picture.convert("L").save(folder / "progressive_grey.jpg", quality=75, progressive=True)
picture.convert("CMYK").save(folder / "cmyk.jpg", quality=75)
