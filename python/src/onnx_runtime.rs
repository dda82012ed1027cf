//! Which ONNX Runtime is loaded: that of an installed package, unless the process has one already.

use std::path::PathBuf;
use std::sync::OnceLock;

use pyo3::prelude::*;
use sketchfind as runtime;

/// The library that the package onnxruntime holds, where there is one.
static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

/// Loads ONNX Runtime from the package, unless the process has one already.
pub(crate) fn load() -> runtime::Result<()> {
    match LIBRARY.get().map(|path| runtime::native::init(Some(path))) {
        None | Some(Ok(_) | Err(runtime::Error::OrtAlreadyLoaded { .. })) => Ok(()),
        Some(Err(error)) => Err(error),
    }
}

/// Names the ONNX Runtime library to load when one is needed.
#[pyfunction]
pub(crate) fn _set_onnx_runtime(path: PathBuf) {
    // The first call counts: a process holds one.
    let _ = LIBRARY.set(path);
}
