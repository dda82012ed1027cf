"""Writes small images in every format and what Pillow makes of them. Made with Pillow 13.0.0 and NumPy 2.4.6.

Run: python3 make_reference.py     The pictures are drawn here; results are deterministic for one version of Pillow.

For each NAME in decode.txt and tiff.txt: NAME is the file, NAME.rgb its pixels, `width height` then bytes, as Pillow gives them
after EXIF transposition, over white. For each line of resize.txt: source, resize, crop, and the tolerance-free result in
FILE.f32: the resized and centre-cropped image as float32 [3, crop, crop], normalised with ImageNet's mean and std.
"""
import pathlib
import struct

import numpy as np
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent


def picture(width, height):
    """A smooth ramp, an edge, fine stripes and a disc: what resizers differ on."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 255 * x / max(width - 1, 1)
    green = np.where((x // 2 + y // 3) % 2 == 0, 220, 30)
    blue = np.where((x - width / 2) ** 2 + (y - height / 3) ** 2 < (min(width, height) / 3) ** 2, 250, 40)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).round().astype(np.uint8))


def over_white(image):
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I"):
        # Pillow clips 16-bit grey when it converts; scaled, as every viewer shows it.
        array = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.floor(array * 255 / 65535 + 0.5).astype(np.uint8))
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        rgba = np.asarray(image).astype(np.int64)
        alpha = rgba[..., 3:]
        return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


names = []


def keep(name, image, **options):
    image.save(here / name, **options)
    pixels = over_white(Image.open(here / name))
    height, width = pixels.shape[:2]
    (here / f"{name}.rgb").write_bytes(struct.pack("<II", width, height) + pixels.tobytes())
    names.append(name)


small = picture(21, 13)
alpha = small.copy().convert("RGBA")
alpha.putalpha(Image.fromarray((np.mgrid[0:13, 0:21][1] * 12).astype(np.uint8)))
keep("rgb.png", small)
keep("rgba.png", alpha)
keep("grey.png", small.convert("L"))
keep("grey_alpha.png", alpha.convert("LA"))
keep("palette.png", small.quantize(16))
keep("one_bit.png", small.convert("1"))
grey16 = (np.mgrid[0:13, 0:21][1] * 3000 + np.mgrid[0:13, 0:21][0] * 77).astype(np.uint16)
keep("grey16.png", Image.fromarray(grey16))
keep("rgb.bmp", small)
keep("lossless.webp", small, lossless=True)
keep("lossless_alpha.webp", alpha, lossless=True, exact=True)
keep("lossy.webp", small, quality=90)
keep("frames.gif", small.quantize(32), save_all=True, append_images=[picture(21, 13).rotate(180).quantize(32)])
smooth = Image.fromarray(np.stack([np.mgrid[0:24, 0:32][1] * 8, np.mgrid[0:24, 0:32][0] * 10, np.full((24, 32), 90)], -1).astype(np.uint8))
keep("colour.jpg", smooth, quality=95, subsampling=0)
keep("progressive.jpg", smooth, quality=95, subsampling=0, progressive=True)
keep("grey.jpg", smooth.convert("L"), quality=95)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    keep(f"orientation{orientation}.jpg", smooth, quality=95, subsampling=0, exif=exif)
(here / "decode.txt").write_text("".join(f"{name}\n" for name in names))

names.clear()
keep("rgb.tiff", small)
for compression in ["tiff_lzw", "tiff_adobe_deflate", "packbits"]:
    keep(f"{compression.removeprefix('tiff_')}.tif", small, compression=compression)
keep("rgba.tiff", alpha)
keep("grey.tiff", small.convert("L"))
keep("grey16.tiff", Image.fromarray(grey16))
small.quantize(16).save(here / "palette.tiff")  # which is not read
keep("one_bit.tiff", small.convert("1"))
keep("fax.tiff", small.convert("1"), compression="group4")
keep("jpeg.tiff", smooth, compression="jpeg", quality=95)
keep("pages.tiff", small, save_all=True, append_images=[picture(9, 9)])
keep("orientation6.tiff", small, tiffinfo={274: 6})
(here / "tiff.txt").write_text("".join(f"{name}\n" for name in names))

mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
lines = []
for index, (width, height, resize, crop) in enumerate(
    [(64, 64, 32, 32), (100, 40, 30, 25), (17, 90, 33, 32), (20, 20, 50, 43), (1, 7, 12, 12), (300, 200, 24, 21), (33, 31, 32, 29)]
):
    source, result = f"resize{index}.png", f"resize{index}.f32"
    image = picture(width, height)
    image.save(here / source)
    resized = np.asarray(image.resize((resize, resize), Image.BILINEAR))
    offset = int(round((resize - crop) / 2.0))  # torchvision's CenterCrop
    cropped = resized[offset : offset + crop, offset : offset + crop]
    normalised = (cropped.astype(np.float64) / 255 - mean) / std
    (here / result).write_bytes(normalised.transpose(2, 0, 1).astype("<f4").tobytes())
    lines.append(f"{source} {result} {resize} {crop}\n")
(here / "resize.txt").write_text("".join(lines))
