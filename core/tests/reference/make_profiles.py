"""Writes small images with colour profiles, and what LittleCMS (Pillow's ImageCms) makes of them in sRGB. Made with Pillow
13.0.0 and NumPy 2.5.5.

Run: python3 make_profiles.py     Writes profiles/. For each NAME that is listed in profiles/converted.txt, NAME.rgb holds
its pixels in sRGB, over white; those of profiles/kept.txt say sRGB in one way or another, or something that is no colour
profile of theirs, and NAME.rgb holds their pixels as they are.

The profiles are written here, from the published primaries and curves: matrix and curve, as cameras and phones embed them.
"""
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

folder = pathlib.Path(__file__).parent / "profiles"
folder.mkdir(exist_ok=True)


def s15f16(value):
    return struct.pack(">i", round(value * 65536))


def gamma(value):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


# IEC 61966-2-1 as a function, and as a table of 1024 values.
SRGB_FUNCTION = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(
    map(s15f16, [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045]))
x = np.linspace(0, 1, 1024)
table = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
SRGB_TABLE = b"curv" + bytes(4) + struct.pack(">I", 1024) + (table * 65535).round().astype(">u2").tobytes()

# Red, green and blue adapted to D50.
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
DISPLAY_P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
ADOBE_RGB = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
PRO_PHOTO = [(0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)]


def profile(colorants, curve, space=b"RGB "):
    xyz = lambda values: b"XYZ " + bytes(4) + b"".join(map(s15f16, values))
    text = "test"
    desc = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text.encode() + bytes(1 + 8 + 2 + 1 + 67)
    tags = {b"desc": desc, b"cprt": b"text" + bytes(4) + b"CC0\0", b"wtpt": xyz((0.9642, 1.0, 0.8249))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= dict(zip([b"rXYZ", b"gXYZ", b"bXYZ"], map(xyz, colorants)))
        tags |= {name: curve for name in [b"rTRC", b"gTRC", b"bTRC"]}
    version = 0x04300000 if curve.startswith(b"para") else 0x02100000
    directory, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        directory += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(data), bytes(4), version, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += b"".join(map(s15f16, (0.9642, 1.0, 0.8249)))
    return header + bytes(128 - len(header)) + directory + data


y, x = np.mgrid[0:16, 0:24]
colours = np.stack([x * 255 // 23, y * 255 // 15, (x * 7 + y * 11) % 256], -1).astype(np.uint8)
picture = Image.fromarray(colours)
smooth = Image.fromarray(np.stack([60 + x * 5, 80 + y * 8, 200 - x * 3], -1).astype(np.uint8))
srgb = ImageCms.createProfile("sRGB")


def write(name, pixels):
    height, width = pixels.shape[:2]
    (folder / f"{name}.rgb").write_bytes(struct.pack("<II", width, height) + pixels.astype(np.uint8).tobytes())


def in_srgb(image, icc):
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.profileToProfile(image, io.BytesIO(icc), srgb, renderingIntent=intent)


converted = []


def keep_converted(name, image, icc, **options):
    image.save(folder / name, icc_profile=icc, **options)
    rgb = np.asarray(in_srgb(Image.open(folder / name).convert("RGB"), icc))
    if image.mode == "RGBA":
        alpha = np.asarray(image)[..., 3:].astype(np.int64)
        rgb = (rgb.astype(np.int64) * alpha + 255 * (255 - alpha) + 127) // 255
    write(name, rgb)
    converted.append(name)


p3, adobe, pro_photo = profile(DISPLAY_P3, SRGB_FUNCTION), profile(ADOBE_RGB, gamma(563 / 256)), profile(PRO_PHOTO, gamma(1.8))
keep_converted("display_p3.png", picture, p3)
keep_converted("adobe_rgb.png", picture, adobe)
keep_converted("pro_photo.png", picture, pro_photo)
keep_converted("display_p3.webp", picture, p3, lossless=True)
keep_converted("display_p3.jpg", smooth, p3, quality=98, subsampling=0)
keep_converted("adobe_rgb.jpg", smooth, adobe, quality=98, subsampling=0)
alpha = picture.convert("RGBA")
alpha.putalpha(Image.fromarray((x * 11).astype(np.uint8)))
keep_converted("display_p3_alpha.png", alpha, p3)
keep_converted("adobe_rgb_table.png", picture, profile(ADOBE_RGB, SRGB_TABLE))


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png16(pixels, icc):
    """16 bits a channel, which Pillow does not write of colours."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
            + chunk(b"iCCP", b"x\0\0" + zlib.compress(icc)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


# The same picture, so that eight bits of it are those above: what LittleCMS makes of these.
(folder / "pro_photo16.png").write_bytes(png16(colours.astype(np.uint16) * 257, pro_photo))
write("pro_photo16.png", np.asarray(in_srgb(picture, pro_photo)))
converted.append("pro_photo16.png")
(folder / "converted.txt").write_text("".join(f"{name}\n" for name in converted))

kept = []


def keep(name, image, icc, **options):
    image.save(folder / name, icc_profile=icc, **options)
    write(name, np.asarray(Image.open(folder / name).convert("RGB")))
    kept.append(name)


keep("srgb_function.png", picture, profile(SRGB, SRGB_FUNCTION))
keep("srgb_table.png", picture, profile(SRGB, SRGB_TABLE))
keep("srgb_littlecms.png", picture, ImageCms.ImageCmsProfile(srgb).tobytes())
keep("srgb.webp", picture, profile(SRGB, SRGB_TABLE), lossless=True)
keep("grey_profile.png", picture.convert("L"), profile(None, gamma(1.8), b"GRAY"))
keep("ink_profile.png", picture, profile(SRGB, gamma(1.8), b"CMYK"))
keep("cut_profile.png", picture, p3[:150])
keep("no_profile.png", picture, b"this is no profile")
(folder / "kept.txt").write_text("".join(f"{name}\n" for name in kept))
(folder / "display_p3.icc").write_bytes(p3)
