//! Galleries and models as a whole, for Python.

use std::path::PathBuf;

use pyo3::prelude::*;
use sketchfind as runtime;
use sketchfind::{Framing, Gallery, GalleryOptions, IndexSpec};
use sketchfind_core::card::Card;

use crate::arguments::Frame;
use crate::errors::raised;
use crate::{onnx_runtime, work};

/// Makes an empty gallery of a model; a gallery that is there is replaced.
///
/// `index` is how it is searched: "auto", "exact" or "hnsw". `frame` is how photos are framed: as the model's "card" says, "off",
/// or so that products fill at least a share of the page, such as 0.8.
///
/// >>> sketchfind.create("new.gallery", model, "exact", frame="off")
/// >>> len(sketchfind.Retriever("new.gallery"))
/// 0
#[pyfunction]
#[pyo3(
    signature = (gallery, model, index="auto", *, frame=None),
    text_signature = "(gallery, model, index='auto', *, frame='card')"
)]
pub(crate) fn create(
    py: Python<'_>,
    gallery: PathBuf,
    model: PathBuf,
    index: &str,
    frame: Option<Frame>,
) -> PyResult<()> {
    let index = index.parse::<IndexSpec>().map_err(|error| raised(error.into()))?;
    let tool = concat!("sketchfind for Python ", env!("CARGO_PKG_VERSION"));
    let Frame(framing) = frame.unwrap_or(Frame(Framing::Card));
    work::run(py, move |_, _| {
        let photo_frame = framing.of_photos(Card::load(&model)?.frame)?;
        let options = GalleryOptions::with_index(index, tool).with_photo_frame(photo_frame);
        Gallery::create_empty(&gallery, &model, &options)
    })
}

/// Whether the model gives here the embeddings that it gave where it was exported.
///
/// >>> sketchfind.verify(model)
/// True
#[pyfunction]
#[pyo3(signature = (model, device="cpu"))]
pub(crate) fn verify(py: Python<'_>, model: PathBuf, device: &str) -> PyResult<bool> {
    let device = device.parse().map_err(raised)?;
    let verification = work::run(py, move |_, _| {
        onnx_runtime::load()?;
        runtime::verify(&model, device)
    })?;
    Ok(verification.passed)
}
