"""Find the photo that somebody drew: embed galleries, answer sketches.

A picture is a path, a file's bytes (bytes, bytearray, memoryview), a file that is open for reading bytes, an array of NumPy
([height, width], [height, width, 3] or [height, width, 4], of uint8, uint16, bool, or floats from 0 to 1), an image of PIL, or
Strokes.
However it is given, it is the same picture.

In the examples, `model` is the folder of a model whose embedding is the mean of each colour; "shop.gallery" is a gallery of two
photos, "red" with the labels "sale" and "warm", and "blue" with the label "cold"; "calibration.json" is a calibration of the model.
"""

import os

# ONNX Runtime reports to its maker, and leaves files in the user's cache, unless it finds this when it starts. First of all,
# because other modules start threads, and only Python's own lock keeps the environment from changing under them.
if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from . import _native, _onnx_runtime
from ._native import (
    BadFile,
    BadImage,
    Closed,
    Embedder,
    Error,
    Forked,
    Locked,
    Native,
    NoModel,
    PhotoExists,
    ReadOnly,
    Retriever,
    __version__,
    copy,
    create,
    verify,
)
from ._types import Frame, Image, Progress
from ._values import (
    Answer,
    BrokenImage,
    Changes,
    Copied,
    Costs,
    Exported,
    FailedRow,
    Imported,
    Ingested,
    Match,
    Nothing,
    Photo,
    Recall,
    Strokes,
)

__all__ = [
    "Answer",
    "BadFile",
    "BadImage",
    "BrokenImage",
    "Changes",
    "Closed",
    "Copied",
    "Costs",
    "Embedder",
    "Error",
    "Exported",
    "FailedRow",
    "Forked",
    "Frame",
    "Image",
    "Imported",
    "Ingested",
    "Locked",
    "Match",
    "Native",
    "NoModel",
    "Nothing",
    "Photo",
    "PhotoExists",
    "Progress",
    "ReadOnly",
    "Recall",
    "Retriever",
    "Strokes",
    "__version__",
    "copy",
    "create",
    "verify",
]

_library = _onnx_runtime.library()
if _library is not None:
    _native._set_onnx_runtime(_library)
