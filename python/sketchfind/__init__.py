"""Find the photo that somebody drew: embed galleries, answer sketches."""

import os

# ONNX Runtime reports to its maker, and leaves files in the user's cache, unless it finds this when it starts. First of all,
# because other modules start threads, and only Python's own lock keeps the environment from changing under them.
if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import importlib.util
import pathlib

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._native import (
    BadFile,
    BadImage,
    Embedder,
    Error,
    Locked,
    Match,
    PhotoExists,
    ReadOnly,
    Retriever,
    __version__,
    create,
    verify,
)

__all__ = [
    "BadFile",
    "BadImage",
    "Embedder",
    "Error",
    "Image",
    "Locked",
    "Match",
    "PhotoExists",
    "ReadOnly",
    "Retriever",
    "__version__",
    "create",
    "verify",
]

Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]


def _find_onnx_runtime():
    """Names the library of the package onnxruntime, without importing the package."""
    if os.environ.get("ORT_DYLIB_PATH"):
        return
    spec = importlib.util.find_spec("onnxruntime")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for library in sorted(pathlib.Path(folder, "capi").glob("libonnxruntime.*")):
            _native._set_onnx_runtime(str(library))
            return


_find_onnx_runtime()
