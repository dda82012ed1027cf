"""Where ONNX Runtime is: any of its packages holds the library, and all of them in the same folder."""

import importlib.util
import os
import pathlib


def library() -> str | None:
    """The library of the installed package (onnxruntime, onnxruntime-gpu and others), which is not imported; None where the
    environment names another, or there is none."""
    if os.environ.get("ORT_DYLIB_PATH"):
        return None
    spec = importlib.util.find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        capi = pathlib.Path(folder, "capi")
        # As Linux, macOS and Windows name it. With onnxruntime-gpu there are libraries of providers beside it, which it loads.
        for pattern in ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll"):
            for found in sorted(capi.glob(pattern)):
                return str(found)
    return None
