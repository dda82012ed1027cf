//! The runtime for Python. Each function turns arguments into values of `sketchfind`, releases Python's lock,
//! calls it, and turns the result back.
// What pyo3's macros write is unsafe inside; nothing written here is.
#![allow(unsafe_code)]

mod arguments;
mod embedder;
mod errors;
mod feed;
mod gallery;
mod onnx_runtime;
mod photos;
mod picture;
mod progress;
mod retriever;
mod strokes;
mod values;
mod work;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    errors::register(module)?;
    module.add_class::<embedder::Embedder>()?;
    module.add_class::<retriever::Retriever>()?;
    module.add_function(wrap_pyfunction!(gallery::copy, module)?)?;
    module.add_function(wrap_pyfunction!(gallery::create, module)?)?;
    module.add_function(wrap_pyfunction!(gallery::verify, module)?)?;
    module.add_function(wrap_pyfunction!(photos::_photo_files, module)?)?;
    module.add_function(wrap_pyfunction!(photos::_photos_listed, module)?)?;
    module.add_function(wrap_pyfunction!(photos::_check_photo, module)?)?;
    module.add_function(wrap_pyfunction!(photos::_model, module)?)?;
    module.add_function(wrap_pyfunction!(strokes::_check_strokes, module)?)?;
    module.add_function(wrap_pyfunction!(onnx_runtime::_set_onnx_runtime, module)?)
}
