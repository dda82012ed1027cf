//! The runtime for Python. Each function turns arguments into values of `sketchfind`, releases Python's lock,
//! calls it, and turns the result back.
// What pyo3's macros write is unsafe inside; nothing written here is.
#![allow(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray3};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use sketchfind as runtime;
use sketchfind::{EmbedderOptions, Filter, Framing, Gallery, GalleryOptions, IndexSpec, Photo};
use sketchfind_core::card::Card;
use sketchfind_core::frame::{decode_sketch, open_sketch};
use sketchfind_core::image::{DecodeLimits, Image};

/// What is raised; each has its documentation in Python too.
mod exceptions {
    use pyo3::create_exception;
    use pyo3::exceptions::PyException;

    create_exception!(sketchfind, Error, PyException, "Anything that went wrong.");
    create_exception!(sketchfind, BadFile, Error, "A gallery or model is damaged, foreign or newer.");
    create_exception!(
        sketchfind,
        BadImage,
        Error,
        "An image cannot be decoded or is over the limit, or nothing is drawn on it."
    );
    create_exception!(sketchfind, Locked, Error, "Another writer has the gallery.");
    create_exception!(sketchfind, PhotoExists, Error, "The photo is there already.");
    create_exception!(sketchfind, ReadOnly, Error, "The gallery is open for reading only.");
}
use exceptions::{BadFile, BadImage, Error, Locked, PhotoExists, ReadOnly};

/// The library that the package onnxruntime holds, where there is one.
static ONNX_RUNTIME: OnceLock<PathBuf> = OnceLock::new();

/// Loads ONNX Runtime from the package onnxruntime, unless the process has one already.
fn load_onnx_runtime() -> runtime::Result<()> {
    match ONNX_RUNTIME.get().map(|path| runtime::native::init(Some(path))) {
        None | Some(Ok(_) | Err(runtime::Error::OrtAlreadyLoaded { .. })) => Ok(()),
        Some(Err(error)) => Err(error),
    }
}

fn raised(error: runtime::Error) -> PyErr {
    use sketchfind_core::Error as Core;
    let words = error.to_string();
    match error {
        runtime::Error::Core(Core::Image { .. } | Core::Blank { .. })
        | runtime::Error::BrokenImage { .. } => BadImage::new_err(words),
        runtime::Error::Core(Core::OutOfRange { .. } | Core::Mismatch { .. }) => PyValueError::new_err(words),
        runtime::Error::Core(Core::Malformed { .. })
        | runtime::Error::Gallery { .. }
        | runtime::Error::OtherModel { .. }
        | runtime::Error::Graph { .. } => BadFile::new_err(words),
        runtime::Error::Locked { .. } => Locked::new_err(words),
        runtime::Error::ReadOnly { .. } => ReadOnly::new_err(words),
        runtime::Error::PhotoExists { .. }
        | runtime::Error::RepeatedId { .. }
        | runtime::Error::OtherSource { .. } => PhotoExists::new_err(words),
        _ => Error::new_err(words),
    }
}

/// Texts out of any iterable of `str`; one `str` alone, which Python would take for its letters, is refused.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Texts {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Texts> {
        if value.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("expected several texts, such as a list of str, not one str"));
        }
        let texts = value.try_iter()?.map(|text| text?.extract::<String>());
        texts.collect::<PyResult<_>>().map(Texts)
    }
}

/// An image as Python gives it.
enum Given {
    Path(PathBuf),
    Bytes(Vec<u8>),
    Pixels(Image),
}

impl Given {
    fn of(value: &Bound<'_, PyAny>) -> PyResult<Given> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Given::Bytes(bytes.as_bytes().to_vec()));
        }
        if let Ok(pixels) = value.extract::<PyReadonlyArray3<'_, u8>>() {
            let pixels = pixels.as_array();
            let &[height, width, channels] = pixels.shape() else {
                return Err(PyValueError::new_err("an image has three dimensions: height, width, 3"));
            };
            if channels != 3 {
                let words = format!(
                    "an image is an array [height, width, 3], this one [{height}, {width}, {channels}]"
                );
                return Err(PyValueError::new_err(words));
            }
            let size = |n: usize| u32::try_from(n).map_err(|e| PyValueError::new_err(e.to_string()));
            let (width, height) = (size(width)?, size(height)?);
            let image = Image::new(width, height, pixels.iter().copied().collect());
            return image.map(Given::Pixels).map_err(|e| raised(e.into()));
        }
        value.extract::<PathBuf>().map(Given::Path).map_err(|_other| {
            PyTypeError::new_err(
                "an image is a path, a file's bytes, or an array of uint8 [height, width, 3]",
            )
        })
    }

    fn of_each(values: &Bound<'_, PyAny>) -> PyResult<Vec<Given>> {
        values.try_iter()?.map(|value| Given::of(&value?)).collect()
    }

    fn decode(self, limits: DecodeLimits) -> runtime::Result<Image> {
        Ok(match self {
            Given::Path(path) => Image::open(&path, limits)?,
            Given::Bytes(bytes) => Image::decode(&bytes, "given as bytes", limits)?,
            Given::Pixels(image) => image,
        })
    }

    /// A drawing: with a transparent ground it is laid over what shows it.
    fn decode_sketch(self, limits: DecodeLimits) -> runtime::Result<Image> {
        Ok(match self {
            Given::Path(path) => open_sketch(&path, limits)?,
            Given::Bytes(bytes) => decode_sketch(&bytes, "given as bytes", limits)?,
            Given::Pixels(image) => image,
        })
    }
}

fn decode_each(given: Vec<Given>, limits: DecodeLimits) -> runtime::Result<Vec<Image>> {
    given.into_iter().map(|given| given.decode(limits)).collect()
}

fn options(threads: Option<usize>, device: &str, max_pixels: Option<u64>) -> PyResult<EmbedderOptions> {
    let mut options = EmbedderOptions::on(device.parse().map_err(raised)?);
    options.n_threads = threads;
    if let Some(max_pixels) = max_pixels {
        options.limits = DecodeLimits { max_pixels };
    }
    Ok(options)
}

fn matrix<'py>(py: Python<'py>, width: usize, values: Vec<f32>) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let n = values.len() / width.max(1);
    PyArray1::from_vec(py, values).reshape([n, width])
}

/// A photo that matches a query.
#[pyclass(frozen, get_all, module = "sketchfind")]
#[derive(Clone)]
struct Match {
    id: String,
    distance: f64,
    rank: usize,
    path: Option<PathBuf>,
}

#[pymethods]
impl Match {
    fn __repr__(&self) -> String {
        format!("Match(rank={}, id={:?}, distance={})", self.rank, self.id, self.distance)
    }
}

fn matches(found: Vec<runtime::Match>) -> Vec<Match> {
    let one = |found: runtime::Match| Match {
        id: found.id,
        distance: found.distance,
        rank: found.rank,
        path: found.path,
    };
    found.into_iter().map(one).collect()
}

/// A model that runs: images in, embeddings out.
#[pyclass(frozen, module = "sketchfind")]
struct Embedder {
    embedder: Mutex<runtime::Embedder>,
    limits: DecodeLimits,
    width: usize,
}

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (model, *, threads=None, device="cpu", max_pixels=None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        threads: Option<usize>,
        device: &str,
        max_pixels: Option<u64>,
    ) -> PyResult<Embedder> {
        let options = options(threads, device, max_pixels)?;
        let limits = options.limits;
        let embedder = py.detach(|| {
            load_onnx_runtime()?;
            runtime::Embedder::open(&model, options)
        });
        let embedder = embedder.map_err(raised)?;
        let width = embedder.card().embedding_width;
        Ok(Embedder { embedder: Mutex::new(embedder), limits, width })
    }

    #[getter]
    fn width(&self) -> usize {
        self.width
    }

    fn embed<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let given = Given::of_each(images)?;
        let values = py.detach(|| {
            let images = decode_each(given, self.limits)?;
            self.embedder.lock().unwrap_or_else(PoisonError::into_inner).embed(&images)
        });
        matrix(py, self.width, values.map_err(raised)?)
    }
}

/// The conditions of a query.
fn filter(
    only_ids: Option<Texts>,
    any_label: Option<Texts>,
    every_label: Option<Texts>,
    without_label: Option<Texts>,
) -> Filter {
    let mut filter = Filter::everything()
        .every_label(every_label.unwrap_or_default().0)
        .without_label(without_label.unwrap_or_default().0);
    if let Some(Texts(ids)) = only_ids {
        filter = filter.only_ids(ids);
    }
    if let Some(Texts(labels)) = any_label {
        filter = filter.any_label(labels);
    }
    filter
}

/// A gallery with its model. Many threads may share one.
#[pyclass(frozen, module = "sketchfind")]
struct Retriever {
    retriever: RwLock<Option<Arc<runtime::Retriever>>>,
    limits: DecodeLimits,
    width: usize,
}

impl Retriever {
    fn get(&self) -> PyResult<Arc<runtime::Retriever>> {
        let open = self.retriever.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Error::new_err("the retriever is closed"))
    }
}

#[pymethods]
impl Retriever {
    #[new]
    #[pyo3(signature = (gallery, *, writable=false, sessions=1, threads=None, device="cpu", max_pixels=None, frame="card"))]
    fn new(
        gallery: &Bound<'_, PyAny>,
        writable: bool,
        sessions: usize,
        threads: Option<usize>,
        device: &str,
        max_pixels: Option<u64>,
        frame: &str,
    ) -> PyResult<Retriever> {
        let embedder = options(threads, device, max_pixels)?;
        let limits = embedder.limits;
        let mut options = runtime::RetrieverOptions::new(embedder)
            .with_sessions(sessions)
            .with_framing(frame.parse().map_err(raised)?);
        if writable {
            options = options.writable();
        }
        let path: PathBuf = gallery.extract()?;
        let retriever = gallery.py().detach(|| {
            load_onnx_runtime()?;
            runtime::Retriever::open(&path, options)
        });
        let retriever = retriever.map_err(raised)?;
        let width = retriever.card().embedding_width;
        Ok(Retriever { retriever: RwLock::new(Some(Arc::new(retriever))), limits, width })
    }

    #[getter]
    fn width(&self) -> usize {
        self.width
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.get()?.len())
    }

    fn __contains__(&self, id: &str) -> PyResult<bool> {
        Ok(self.get()?.photo(id).is_some())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(&self, _kind: &Bound<'_, PyAny>, _value: &Bound<'_, PyAny>, _traceback: &Bound<'_, PyAny>) {
        self.close();
    }

    fn close(&self) {
        drop(self.retriever.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn embed<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (retriever, given) = (self.get()?, Given::of_each(images)?);
        let values = py.detach(|| retriever.embed(&decode_each(given, self.limits)?)).map_err(raised)?;
        matrix(py, self.width, values)
    }

    #[pyo3(signature = (sketch, k=10, *, only_ids=None, any_label=None, every_label=None, without_label=None))]
    fn query(
        &self,
        sketch: &Bound<'_, PyAny>,
        k: usize,
        only_ids: Option<Texts>,
        any_label: Option<Texts>,
        every_label: Option<Texts>,
        without_label: Option<Texts>,
    ) -> PyResult<Vec<Match>> {
        let (retriever, given) = (self.get()?, Given::of(sketch)?);
        let filter = filter(only_ids, any_label, every_label, without_label);
        let found = sketch
            .py()
            .detach(|| retriever.query_filtered(&given.decode_sketch(self.limits)?, k, &filter))
            .map_err(raised)?;
        Ok(matches(found))
    }

    #[pyo3(signature = (sketches, k=10, *, only_ids=None, any_label=None, every_label=None, without_label=None))]
    fn query_batch(
        &self,
        sketches: &Bound<'_, PyAny>,
        k: usize,
        only_ids: Option<Texts>,
        any_label: Option<Texts>,
        every_label: Option<Texts>,
        without_label: Option<Texts>,
    ) -> PyResult<Vec<Vec<Match>>> {
        let (retriever, given) = (self.get()?, Given::of_each(sketches)?);
        let filter = filter(only_ids, any_label, every_label, without_label);
        let found = sketches
            .py()
            .detach(|| {
                let sketches = given.into_iter().map(|given| given.decode_sketch(self.limits));
                retriever.query_batch(&sketches.collect::<runtime::Result<Vec<_>>>()?, k, &filter)
            })
            .map_err(raised)?;
        Ok(found.into_iter().map(matches).collect())
    }

    #[pyo3(signature = (embedding, k=10, *, only_ids=None, any_label=None, every_label=None, without_label=None))]
    fn query_embedding(
        &self,
        embedding: PyReadonlyArray1<'_, f32>,
        k: usize,
        only_ids: Option<Texts>,
        any_label: Option<Texts>,
        every_label: Option<Texts>,
        without_label: Option<Texts>,
    ) -> PyResult<Vec<Match>> {
        let retriever = self.get()?;
        let filter = filter(only_ids, any_label, every_label, without_label);
        let values: Vec<f32> = embedding.as_array().iter().copied().collect();
        let found =
            embedding.py().detach(|| retriever.query_embedding(&values, k, &filter)).map_err(raised)?;
        Ok(matches(found))
    }

    #[pyo3(
        signature = (id, image, labels=None, source=None, *, replace=false),
        text_signature = "($self, id, image, labels=None, source=None, *, replace=False)"
    )]
    fn add(
        &self,
        id: String,
        image: &Bound<'_, PyAny>,
        labels: Option<Texts>,
        source: Option<PathBuf>,
        replace: bool,
    ) -> PyResult<()> {
        let (retriever, given) = (self.get()?, Given::of(image)?);
        let mut photo = Photo::new(id);
        if let Some(Texts(labels)) = labels {
            photo = photo.with_labels(labels);
        }
        if let Some(source) = source {
            photo = photo.with_source(source);
        }
        let work = || {
            let image = given.decode(self.limits)?;
            if replace { retriever.replace(photo, &image) } else { retriever.add(photo, &image) }
        };
        image.py().detach(work).map_err(raised)
    }

    fn remove(&self, py: Python<'_>, ids: Texts) -> PyResult<usize> {
        let retriever = self.get()?;
        py.detach(|| retriever.remove(&ids.0)).map_err(raised)
    }

    fn labels(&self, id: &str) -> PyResult<Vec<String>> {
        Ok(self.photo(id)?.labels().iter().cloned().collect())
    }

    fn source(&self, id: &str) -> PyResult<Option<PathBuf>> {
        Ok(self.photo(id)?.source().map(Path::to_owned))
    }

    fn embeddings<'py>(&self, py: Python<'py>) -> PyResult<(Vec<String>, Bound<'py, PyArray2<f32>>)> {
        let retriever = self.get()?;
        let (ids, values) = py.detach(|| {
            let snapshot = retriever.snapshot();
            let (mut ids, mut values) = (Vec::with_capacity(snapshot.len()), Vec::new());
            for (photo, row) in snapshot.photos() {
                ids.push(photo.id().to_owned());
                values.extend_from_slice(row);
            }
            (ids, values)
        });
        Ok((ids, matrix(py, self.width, values)?))
    }

    fn refresh(&self, py: Python<'_>) -> PyResult<bool> {
        let retriever = self.get()?;
        py.detach(|| retriever.refresh()).map_err(raised)
    }

    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        let retriever = self.get()?;
        py.detach(|| retriever.compact()).map_err(raised)
    }
}

impl Retriever {
    fn photo(&self, id: &str) -> PyResult<Photo> {
        self.get()?.photo(id).ok_or_else(|| PyKeyError::new_err(id.to_owned()))
    }
}

/// Makes an empty gallery of a model; a gallery that is there is replaced.
#[pyfunction]
#[pyo3(signature = (gallery, model, index="auto", *, frame="card"))]
fn create(py: Python<'_>, gallery: PathBuf, model: PathBuf, index: &str, frame: &str) -> PyResult<()> {
    let index = index.parse::<IndexSpec>().map_err(|error| raised(error.into()))?;
    let tool = concat!("sketchfind for Python ", env!("CARGO_PKG_VERSION"));
    let framing: Framing = frame.parse().map_err(raised)?;
    py.detach(|| {
        let photo_frame = framing.of_photos(Card::load(&model)?.frame)?;
        let options = GalleryOptions::with_index(index, tool).with_photo_frame(photo_frame);
        Gallery::create_empty(&gallery, &model, &options)
    })
    .map_err(raised)
}

/// Whether the model gives here the embeddings that it gave where it was exported.
#[pyfunction]
#[pyo3(signature = (model, device="cpu"))]
fn verify(py: Python<'_>, model: PathBuf, device: &str) -> PyResult<bool> {
    let device = device.parse().map_err(raised)?;
    let verification = py.detach(|| {
        load_onnx_runtime()?;
        runtime::verify(&model, device)
    });
    Ok(verification.map_err(raised)?.passed)
}

/// Names the ONNX Runtime library to load when one is needed.
#[pyfunction]
fn _set_onnx_runtime(path: PathBuf) {
    // The first call counts: a process holds one.
    let _ = ONNX_RUNTIME.set(path);
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Error", py.get_type::<Error>())?;
    module.add("BadFile", py.get_type::<BadFile>())?;
    module.add("BadImage", py.get_type::<BadImage>())?;
    module.add("Locked", py.get_type::<Locked>())?;
    module.add("PhotoExists", py.get_type::<PhotoExists>())?;
    module.add("ReadOnly", py.get_type::<ReadOnly>())?;
    module.add_class::<Match>()?;
    module.add_class::<Embedder>()?;
    module.add_class::<Retriever>()?;
    module.add_function(wrap_pyfunction!(create, module)?)?;
    module.add_function(wrap_pyfunction!(verify, module)?)?;
    module.add_function(wrap_pyfunction!(_set_onnx_runtime, module)?)
}
