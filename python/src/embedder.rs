//! A model that runs, for Python.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use numpy::PyArray2;
use pyo3::prelude::*;
use sketchfind as runtime;
use sketchfind::Framing;
use sketchfind_core::Error as Core;

use crate::arguments::{Frame, embedder_options};
use crate::errors::raised;
use crate::feed::Pictures;
use crate::progress::Teller;
use crate::values::matrix;
use crate::{onnx_runtime, work};

/// Embeddings, and what is wrong with broken photos by their positions.
type EmbeddedPhotos<'py> = (Bound<'py, PyArray2<f32>>, BTreeMap<usize, String>);

/// A model that runs: pictures in, embeddings out. Threads may share one, and take turns.
///
/// `threads` is how many it uses, by default one a core; `device` is "cpu", or "cuda" with the package onnxruntime-gpu; `batch`
/// pictures go through the network at once, which decides speed and memory; a larger image than `max_pixels` is refused
/// before it is decoded.
///
/// >>> embedder = sketchfind.Embedder(model)
/// >>> embedder.embed(["photos/red.png", "photos/blue.png"]).shape
/// (2, 3)
#[pyclass(frozen, module = "sketchfind")]
pub(crate) struct Embedder {
    embedder: Arc<Mutex<runtime::Embedder>>,
    max_bytes: u64,
    width: usize,
    fingerprint: String,
    card_frame: Option<sketchfind_core::frame::Frame>,
    model: PathBuf,
}

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (model, *, threads=None, device="cpu", batch=None, max_pixels=None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        threads: Option<usize>,
        device: &str,
        batch: Option<usize>,
        max_pixels: Option<u64>,
    ) -> PyResult<Embedder> {
        let options = embedder_options(threads, device, batch, max_pixels)?;
        let max_bytes = options.limits.max_bytes();
        let path = model.clone();
        let embedder = work::run(py, move |_, _| {
            onnx_runtime::load()?;
            runtime::Embedder::open(&path, options)
        })?;
        let card = embedder.card();
        let (width, fingerprint, card_frame) = (card.embedding_width, card.fingerprint(), card.frame);
        Ok(Embedder {
            embedder: Arc::new(Mutex::new(embedder)),
            max_bytes,
            width,
            fingerprint,
            card_frame,
            model,
        })
    }

    /// The width of an embedding.
    ///
    /// >>> sketchfind.Embedder(model).width
    /// 3
    #[getter]
    fn width(&self) -> usize {
        self.width
    }

    /// What tells the model from others, 64 hexadecimal digits: as galleries and files of embeddings name it.
    ///
    /// >>> len(sketchfind.Embedder(model).fingerprint)
    /// 64
    #[getter]
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The longest file that is read, in bytes; it follows from `max_pixels`.
    ///
    /// >>> sketchfind.Embedder(model, max_pixels=1_000_000).max_bytes
    /// 17048576
    #[getter]
    fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    fn __repr__(&self) -> String {
        format!("Embedder({:?}, width={})", self.model.display().to_string(), self.width)
    }

    /// The embeddings of pictures, [n, width], as they are: nothing is framed.
    ///
    /// `images` is any iterable of pictures, a generator too; a few at a time are in memory. `progress` is True for a bar of
    /// tqdm, or a function that is called with how many are done and how many there are (None where nobody knows), or a bar
    /// with update(n).
    ///
    /// >>> embedder = sketchfind.Embedder(model)
    /// >>> embedder.embed(numpy.full((8, 8, 3), level, numpy.uint8) for level in (0, 255)).tolist()
    /// [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    #[pyo3(signature = (images, *, progress=None))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let pictures = Pictures::of(images, self.max_bytes)?;
        let teller = Teller::of(progress, pictures.length())?;
        let embedder = Arc::clone(&self.embedder);
        let values = work::run_fed(&pictures, teller, move |fed, progress, cancel| {
            let mut embedder = embedder.lock().unwrap_or_else(PoisonError::into_inner);
            embedder.embed_pictures(fed, progress, cancel)
        })?;
        matrix(py, self.width, values)
    }

    /// The embeddings of photos as a gallery has them, and what is wrong with those that are none: a pair of [n, width] in the order
    /// of the list without the broken ones, and a dict of their positions, from 0, and the reasons.
    ///
    /// `frame` is how photos are framed: as the model's "card" says, "off", or so that products fill at least a share of the page.
    /// `images` and `progress` are as for `embed`.
    ///
    /// >>> embeddings, broken = sketchfind.Embedder(model).embed_photos(["photos/red.png", b"no photo", "photos/blue.png"])
    /// >>> embeddings.shape, list(broken)
    /// ((2, 3), [1])
    #[pyo3(
        signature = (images, *, frame=None, progress=None),
        text_signature = "($self, images, *, frame='card', progress=None)"
    )]
    fn embed_photos<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        frame: Option<Frame>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<EmbeddedPhotos<'py>> {
        let Frame(framing) = frame.unwrap_or(Frame(Framing::Card));
        let frame = framing.of_photos(self.card_frame).map_err(|error| raised(error.into()))?;
        let pictures = Pictures::of(images, self.max_bytes)?;
        let teller = Teller::of(progress, pictures.length())?;
        let embedder = Arc::clone(&self.embedder);
        let done = work::run_fed(&pictures, teller, move |fed, progress, cancel| {
            let mut embedder = embedder.lock().unwrap_or_else(PoisonError::into_inner);
            embedder.embed_photos(frame, fed, progress, cancel)
        })?;
        let broken = done.broken.into_iter().map(|(position, error)| (position, reason(error)));
        Ok((matrix(py, self.width, done.values)?, broken.collect()))
    }
}

/// What is wrong with a picture, without its name: its position says which one it is.
fn reason(error: Core) -> String {
    match error {
        Core::Image { reason, .. } => reason,
        other => other.to_string(),
    }
}
