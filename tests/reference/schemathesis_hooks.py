"""What schemathesis cannot know from the API's description: what an image's file looks like."""

import pathlib

import schemathesis
from hypothesis import strategies

FILES = pathlib.Path(__file__).resolve().parents[2] / "core" / "tests" / "reference"
EXAMPLES = {
    "image/png": ["rgb.png", "grey16.png", "palette.png", "rgba.png"],
    "image/jpeg": ["colour.jpg", "progressive.jpg"],
    "image/webp": ["lossy.webp", "lossless_alpha.webp"],
    "image/gif": ["frames.gif"],
    "image/bmp": ["rgb.bmp"],
}
for media_type, names in EXAMPLES.items():
    files = [(FILES / name).read_bytes() for name in names]
    schemathesis.openapi.media_type(media_type, strategies.sampled_from(files))
