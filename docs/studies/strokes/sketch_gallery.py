"""Makes a data set of sketches alone out of QMUL-Chair-V2's coordinates, whose photos are not published with them.

The first sketch of each chair is drawn and stands for the photo; the chair's other sketches, by other hands, stay as vector
sketches. Usage: sketch_gallery.py ChairV2_Coordinate OUT; writes OUT/photo/<chair>.png and OUT/ChairV2_Coordinate.
"""

import pickle
import sys
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 256


def draw(points, path):
    """Draws `[points, 3]` of x, y and whether the pen is lifted after the point."""
    image = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(image)
    for (x, y, lifted), (next_x, next_y, _) in zip(points, points[1:]):
        if not lifted:
            pen.line([(x, y), (next_x, next_y)], fill=0, width=2)
    image.save(path)


def main():
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    (out / "photo").mkdir(parents=True)
    with open(source, "rb") as file:
        sketches = pickle.load(file)
    rest, seen = {}, set()
    for key in sorted(sketches):
        chair = key.rsplit("/", 1)[1].rsplit("_", 1)[0]
        if chair in seen:
            rest[key] = sketches[key]
        else:
            seen.add(chair)
            draw(sketches[key], out / "photo" / f"{chair}.png")
    with open(out / "ChairV2_Coordinate", "wb") as file:
        pickle.dump(rest, file, protocol=3)
    print(f"{len(seen)} chairs in the gallery, {len(rest)} vector sketches")


if __name__ == "__main__":
    main()
