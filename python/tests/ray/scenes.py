"""Photos for tests."""

import os
import pathlib
import shutil

import numpy as np
from PIL import Image

from machines import CHECKOUT


def many(folder, n):
    """`n` small pictures of which one is broken; its id."""
    generator = np.random.default_rng(1)
    for number in range(n):
        path = folder / f"{number % 7}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((48, 40)).save(path)
    broken = folder / f"{n // 2 % 7}" / f"{n // 2:04}.png"
    broken.write_bytes(broken.read_bytes()[:60])
    return broken.relative_to(folder).as_posix()


def varied(folder):
    """Pictures of every kind that a folder may hold, by name, content and what is beside them."""
    folder.mkdir()
    generator = np.random.default_rng(2)
    noise = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((160, 120))
    product = Image.new("RGB", (200, 200), "white")
    product.paste(noise.resize((60, 40)), (20, 120))
    (folder / "boots" / "old").mkdir(parents=True)
    noise.save(folder / "boots" / "17.jpg", exif=_turned())
    noise.save(folder / "boots" / "old" / "18.webp", lossless=True)
    noise.convert("CMYK").save(folder / "cmyk.jpg")
    noise.convert("P").save(folder / "palette.gif")
    noise.convert("LA").save(folder / "grey.png")
    noise.save(folder / "tiff.tif")
    Image.fromarray(generator.integers(0, 65536, (20, 30)).astype(np.uint16)).save(folder / "deep.png")
    for number in range(9):
        product.rotate(30 * number, fillcolor="white").save(folder / f"product {number} 50% %20 caf\u00e9.png")
    shutil.copy(folder / "cmyk.jpg", folder / "the same.jpg")
    # A name that is no text.
    shutil.copy(folder / "tiff.tif", os.fsencode(folder) + b"/caf\xe9.tif")
    shutil.copytree(CHECKOUT / "runtime/tests/fixtures/photos", folder / "fixtures")
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.jpg").write_text("no picture")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (folder / "notes.txt").write_text("not called like a picture, and none")
    (folder / ".hidden.png").write_bytes(b"")
    return ["empty.png", "phone.heic", "words.jpg"]


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def rows(out, columns=None):
    """The rows of a folder's files, or of a file."""
    import pyarrow.parquet as pq

    return pq.read_table(pathlib.Path(out), columns=columns).sort_by("id").to_pylist()
