"""A batch pipeline: pictures of PIL in, NumPy out, several processes.

    python pipeline.py MODEL FOLDER

paints 500 products, brings them into a gallery in FOLDER, lets two processes look for drawings of them, and writes what they found
to FOLDER/found.npy: for each drawing the rows of its first five products.
"""

import multiprocessing
import pathlib
import sys

import numpy as np
import sketchfind
from PIL import Image, ImageDraw

N = 500
COLOURS = {"red": (200, 40, 40), "green": (40, 150, 60), "blue": (40, 60, 200)}


def outline(number):
    """A closed shape of its own, as points of a picture of 160 x 160."""
    corners = np.random.default_rng(number).uniform(0.35, 1, 3 + number % 6)
    angles = np.linspace(0, 2 * np.pi, len(corners), endpoint=False)
    return [(80 + 70 * r * np.cos(a), 80 + 70 * r * np.sin(a)) for r, a in zip(corners, angles)]


def product(number):
    picture = Image.new("RGB", (160, 160), "white")
    colour = list(COLOURS.values())[number % len(COLOURS)]
    ImageDraw.Draw(picture).polygon(outline(number), fill=colour, outline="black")
    return picture


def drawing(number):
    picture = Image.new("RGB", (160, 160), "white")
    ImageDraw.Draw(picture).polygon(outline(number), outline="black", width=2)
    return picture


def look(task):
    """In a process of its own, which opens the gallery itself and reads it."""
    gallery, numbers = task
    with sketchfind.Retriever(gallery, threads=1) as shop:
        found = shop.query_batch((drawing(number) for number in numbers), k=5)
    return [[int(match.id) for match in matches] for matches in found]


def main():
    model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    gallery = folder / "products.gallery"
    sketchfind.create(gallery, model)
    with sketchfind.Retriever(gallery, writable=True) as shop:
        ids = [f"{number:03}" for number in range(N)]
        labels = [[list(COLOURS)[number % len(COLOURS)]] for number in range(N)]
        # A generator: 500 pictures need not be in memory at once.
        shop.add_batch(ids, (product(number) for number in range(N)), labels=labels)
        _, embeddings = shop.embeddings()
        assert embeddings.shape == (N, shop.width) and embeddings.dtype == np.float32
        reds = shop.query(product(3), k=5, any_label=["red"])
        assert reds[0].id == "003" and all("red" in match.labels for match in reds)

        # The default kind of pool too: what is open here is none of the workers' business.
        drawn = range(0, N, 10)
        tasks = [(gallery, drawn[first::2]) for first in range(2)]
        with multiprocessing.Pool(2) as pool:
            parts = pool.map(look, tasks)
    found = np.empty((len(drawn), 5), dtype=np.int64)
    for first, part in enumerate(parts):
        found[first::2] = part
    np.save(folder / "found.npy", found)
    n_right = int((found[:, 0] == np.array(drawn)).sum())
    print(f"{N} products; of {len(drawn)} drawings {n_right} find theirs first, {int((found == np.array(drawn)[:, None]).any(1).sum())} among five")


if __name__ == "__main__":
    main()
