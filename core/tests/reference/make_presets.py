"""Writes what Pillow makes of resize*.png by the presets. Made with Pillow 13.0.0 and NumPy 2.4.6.

Run: python3 make_presets.py     after make_reference.py, which draws the pictures.

For each line of presets.txt: source, result, preset, side. FILE.f32 is the network's input as float32 [3, side, side]. The
steps are those of torchvision (Resize of one number or of two, CenterCrop) and of the libraries that the presets name.

A bicubic resize goes across and then down, each pass rounded and clipped to 8 bits. That is what Pillow does in one call, but
that version 13 goes down first where a picture is some times as tall as wide; on hard edges the order is worth a few levels.
"""
import pathlib

import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
SIGLIP = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def resize(image, size, filter):
    if filter == Image.BILINEAR:
        return image.resize(size, filter)
    resized = image.resize((size[0], image.height), filter).resize(size, filter)
    assert image.height > 2 * image.width or resized.tobytes() == image.resize(size, filter).tobytes()
    return resized


def by_shorter_side(image, size, filter):
    width, height = image.size
    if width <= height:
        return resize(image, (size, int(size * height / width)), filter)
    return resize(image, (int(size * width / height), size), filter)


def centre_crop(image, side):
    left = int(round((image.width - side) / 2.0))
    top = int(round((image.height - side) / 2.0))
    return image.crop((left, top, left + side, top + side))


def imagenet(image, side):
    size = int(side * 256 / 224 + 0.5)
    return centre_crop(by_shorter_side(image, size, Image.BILINEAR), side), IMAGENET


def clip(image, side):
    return centre_crop(by_shorter_side(image, side, Image.BICUBIC), side), CLIP


def siglip(image, side):
    return resize(image, (side, side), Image.BICUBIC), SIGLIP


lines = []
for preset in (imagenet, clip, siglip):
    for source, side in (("resize0", 32), ("resize1", 21), ("resize2", 16), ("resize4", 12), ("resize5", 23), ("resize6", 40)):
        image, (mean, std) = preset(Image.open(here / f"{source}.png").convert("RGB"), side)
        values = (np.asarray(image).astype(np.float64) / 255 - mean) / std
        result = f"{preset.__name__}_{source}.f32"
        (here / result).write_bytes(values.transpose(2, 0, 1).astype("<f4").tobytes())
        lines.append(f"{source}.png {result} {preset.__name__} {side}\n")
(here / "presets.txt").write_text("".join(lines))
