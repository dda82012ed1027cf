//! Galleries and models as a whole, for Python.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sketchfind as runtime;
use sketchfind::{Distance, EmbeddingSpace, Framing, Gallery, GalleryOptions, IndexSpec, OnExisting, home};
use sketchfind_core::card::Card;

use crate::arguments::Frame;
use crate::errors::raised;
use crate::{onnx_runtime, values, work};

/// Makes an empty gallery of a model, or of embeddings without one; a gallery that is there is replaced.
///
/// Without a model it takes embeddings that are ready, `width` numbers each, and is asked with such; `distance` compares them,
/// "mse" or "cosine", and `model_sha256`, 64 hexadecimal digits, names the model that made them, where that is known, so that those
/// of another are refused. `index` is how it is searched: "auto", "exact" or "hnsw". `frame` is how photos are framed: as the
/// model's "card" says, "off", or so that products fill at least a share of the page, such as 0.8.
///
/// >>> sketchfind.create("new.gallery", model, "exact", frame="off")
/// >>> len(sketchfind.Retriever("new.gallery"))
/// 0
/// >>> sketchfind.create("ready.gallery", width=512, distance="cosine")
/// >>> sketchfind.Retriever("ready.gallery").width
/// 512
#[pyfunction]
#[pyo3(
    signature = (gallery, model=None, index="auto", *, frame=None, width=None, distance=None, model_sha256=None),
    text_signature = "(gallery, model=None, index='auto', *, frame='card', width=None, distance=None, model_sha256=None)"
)]
#[expect(clippy::too_many_arguments, reason = "they have names in Python")]
pub(crate) fn create(
    py: Python<'_>,
    gallery: PathBuf,
    model: Option<PathBuf>,
    index: &str,
    frame: Option<Frame>,
    width: Option<usize>,
    distance: Option<&str>,
    model_sha256: Option<String>,
) -> PyResult<()> {
    let options = GalleryOptions::with_index(index_of(index)?, TOOL);
    let Frame(framing) = frame.unwrap_or(Frame(Framing::Card));
    match (model, width, distance, model_sha256) {
        (Some(model), None, None, None) => work::run(py, move |_, _| {
            let photo_frame = framing.of_photos(Card::load(&model)?.frame)?;
            home::create_empty(&gallery, &model, &options.with_photo_frame(photo_frame))
        }),
        (None, Some(width), Some(distance), model_sha256) => {
            let distance = distance.parse::<Distance>().map_err(|error| raised(error.into()))?;
            let mut space = EmbeddingSpace::new(width, distance);
            space.model_sha256 = model_sha256;
            work::run(py, move |_, _| {
                let options = options.with_photo_frame(framing.of_photos(None)?);
                home::create_without_model(&gallery, &space, &options)
            })
        }
        (model, width, distance, model_sha256) => {
            let given = [
                ("model", model.is_some()),
                ("width", width.is_some()),
                ("distance", distance.is_some()),
                ("model_sha256", model_sha256.is_some()),
            ];
            let given: Vec<&str> =
                given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect();
            let got = if given.is_empty() { "none of them".to_owned() } else { given.join(", ") };
            Err(PyValueError::new_err(format!(
                "a gallery has a model, or embeddings of a width and a distance: expected model alone, or width and \
                 distance (and model_sha256, where it is known), got {got}"
            )))
        }
    }
}

/// What made a gallery, as the gallery says.
const TOOL: &str = concat!("sketchfind for Python ", env!("CARGO_PKG_VERSION"));

/// The index of this name.
pub(crate) fn index_of(name: &str) -> PyResult<IndexSpec> {
    name.parse::<IndexSpec>().map_err(|error| raised(error.into()))
}

/// Writes a whole copy of a gallery, which may be written meanwhile, to another folder: as it was acknowledged at one moment.
///
/// Files that never change are hard links where the file system can, so that the copy costs next to no space; each of the two
/// may be written or removed without the other. A gallery that is at `to` already is refused, or replaced with `replace`.
///
/// >>> sketchfind.copy("shop.gallery", "backup.gallery").n_photos
/// 2
#[pyfunction]
#[pyo3(signature = (gallery, to, *, replace=false), text_signature = "(gallery, to, *, replace=False)")]
pub(crate) fn copy(
    py: Python<'_>,
    gallery: PathBuf,
    to: PathBuf,
    replace: bool,
) -> PyResult<Bound<'_, PyAny>> {
    let on_existing = if replace { OnExisting::Replace } else { OnExisting::Refuse };
    let copied = work::run(py, move |_, _| Gallery::copy(&gallery, &to, on_existing))?;
    values::copied(py, copied)
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
