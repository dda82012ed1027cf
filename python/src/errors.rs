//! What is raised: the system's errors as Python has them, the library's own under one base.

use std::io::Read;
use std::path::Path;

use pyo3::exceptions::{PyConnectionError, PyOSError, PyValueError};
use pyo3::prelude::*;
use sketchfind as runtime;
use sketchfind_core::Error as Core;

/// The classes; each has its documentation in Python too.
mod classes {
    use pyo3::create_exception;
    use pyo3::exceptions::PyException;

    create_exception!(
        sketchfind,
        Error,
        PyException,
        "Anything that went wrong, but for files (OSError) and arguments (TypeError, ValueError). `code` says what kind, in \
         the words of the C interface."
    );
    create_exception!(
        sketchfind,
        BadFile,
        Error,
        "A gallery or model is damaged, foreign or of a newer version."
    );
    create_exception!(
        sketchfind,
        BadImage,
        Error,
        "An image cannot be decoded or is over the limit, or nothing is drawn on it."
    );
    create_exception!(sketchfind, Closed, Error, "The retriever was closed.");
    create_exception!(
        sketchfind,
        Forked,
        Error,
        "What is used was opened by the process that this one was forked from: open it in this one."
    );
    create_exception!(sketchfind, Locked, Error, "Another writer has the gallery.");
    create_exception!(
        sketchfind,
        Native,
        Error,
        "ONNX Runtime or the device cannot be used, or the model cannot be run."
    );
    create_exception!(
        sketchfind,
        NoModel,
        Error,
        "The gallery has no model, so that no picture can be embedded: it takes embeddings that are ready."
    );
    create_exception!(sketchfind, PhotoExists, Error, "The photo is there already.");
    create_exception!(sketchfind, ReadOnly, Error, "The gallery is open for reading only.");
}
pub(crate) use classes::{
    BadFile, BadImage, Closed, Error, Forked, Locked, Native, NoModel, PhotoExists, ReadOnly,
};

/// Makes the classes known to the module, each with its code.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    for (name, class, code) in [
        ("Error", py.get_type::<Error>(), "INTERNAL"),
        ("BadFile", py.get_type::<BadFile>(), "BAD_FILE"),
        ("BadImage", py.get_type::<BadImage>(), "BAD_IMAGE"),
        ("Closed", py.get_type::<Closed>(), "CLOSED"),
        ("Forked", py.get_type::<Forked>(), "FORKED"),
        ("Locked", py.get_type::<Locked>(), "LOCKED"),
        ("Native", py.get_type::<Native>(), "NATIVE"),
        ("NoModel", py.get_type::<NoModel>(), "NO_MODEL"),
        ("PhotoExists", py.get_type::<PhotoExists>(), "EXISTS"),
        ("ReadOnly", py.get_type::<ReadOnly>(), "READ_ONLY"),
    ] {
        class.setattr("code", code)?;
        module.add(name, class)?;
    }
    Ok(())
}

/// A defect of this library, in its words.
pub(crate) fn defect(words: &str) -> PyErr {
    Error::new_err(format!("a defect of sketchfind: {words}"))
}

/// What Python raises for an error of the library.
pub(crate) fn raised(error: runtime::Error) -> PyErr {
    let words = error.to_string();
    match error {
        runtime::Error::Core(error) => of_core(&error, words),
        runtime::Error::BrokenPicture { source, .. } => of_core(&source, words),
        runtime::Error::BrokenImage { path, .. } => match unreadable(&path) {
            Some(error) => of_system(&error, &path, words),
            None => BadImage::new_err(words),
        },
        runtime::Error::Gallery { .. }
        | runtime::Error::NoGallery { .. }
        | runtime::Error::OtherModel { .. }
        | runtime::Error::Graph { .. } => BadFile::new_err(words),
        runtime::Error::Database { is_passing: true, .. } => PyConnectionError::new_err(words),
        runtime::Error::Forked { .. } => Forked::new_err(words),
        runtime::Error::Locked { .. } => Locked::new_err(words),
        runtime::Error::NoModel { .. } => NoModel::new_err(words),
        runtime::Error::ReadOnly { .. } => ReadOnly::new_err(words),
        runtime::Error::PhotoExists { .. }
        | runtime::Error::RepeatedId { .. }
        | runtime::Error::OtherSource { .. } => PhotoExists::new_err(words),
        runtime::Error::OrtMissing { .. } => Native::new_err(format!(
            "{words}. For Python: pip install 'sketchfind[cpu]', or 'sketchfind[gpu]'"
        )),
        runtime::Error::OrtUnusable { .. }
        | runtime::Error::OrtTooOld { .. }
        | runtime::Error::OrtTelemetry { .. }
        | runtime::Error::OrtAlreadyLoaded { .. }
        | runtime::Error::Device { .. }
        | runtime::Error::Inference { .. }
        | runtime::Error::Threads { .. } => Native::new_err(words),
        // Those that are nobody's fault but ours, and those of a later version of the library.
        _ => Error::new_err(words),
    }
}

fn of_core(error: &Core, words: String) -> PyErr {
    match error {
        Core::Io { path, source, .. } => of_system(source, path, words),
        Core::Image { .. } | Core::Blank { .. } => BadImage::new_err(words),
        Core::OutOfRange { .. } | Core::Mismatch { .. } | Core::NotFinite { .. } => {
            PyValueError::new_err(words)
        }
        Core::Malformed { .. } | Core::Dataset { .. } => BadFile::new_err(words),
        _ => Error::new_err(words),
    }
}

/// `FileNotFoundError` and its kin, with `errno` and `filename`.
fn of_system(error: &std::io::Error, path: &Path, words: String) -> PyErr {
    use std::io::ErrorKind;
    // An error without a number comes from Rust's own checks; these numbers are the same on every system that Python names
    // errors by.
    let number = error.raw_os_error().or(match error.kind() {
        ErrorKind::NotFound => Some(2),
        ErrorKind::PermissionDenied => Some(13),
        ErrorKind::AlreadyExists => Some(17),
        ErrorKind::NotADirectory => Some(20),
        ErrorKind::IsADirectory => Some(21),
        _ => None,
    });
    Python::attach(|py| {
        let class = py.get_type::<PyOSError>();
        // Called, and not merely named: the call is what chooses the class by the number.
        let value = match number {
            None => class.call1((words,)),
            Some(number) => py
                .import("os")
                .and_then(|os| os.call_method1("strerror", (number,)))
                .and_then(|said| class.call1((number, said, path.as_os_str()))),
        };
        value.map_or_else(|error| error, PyErr::from_value)
    })
}

/// Why a file cannot be read, if that is what is wrong with it.
fn unreadable(path: &Path) -> Option<std::io::Error> {
    let read = || -> std::io::Result<()> {
        let metadata = std::fs::metadata(path)?;
        // Of a pipe nobody knows when it has something.
        if metadata.is_file() || metadata.is_dir() {
            // An empty one can be read too.
            let _n_read = std::fs::File::open(path)?.read(&mut [0])?;
        }
        Ok(())
    };
    read().err()
}
