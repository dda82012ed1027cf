//! A gallery, with its model where it has one, for Python.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use numpy::{PyArray1, PyArray2};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sketchfind as runtime;
use sketchfind::{
    Calibration, EmbeddingFiles, Framing, ImportOptions, IngestOptions, OnBroken, OnOtherSource, PhotoFile,
    Role,
};
use sketchfind_core::image::DecodeLimits;

use crate::arguments::{self, Asked, Frame, Texts, embedder_options};
use crate::errors::{Closed, raised};
use crate::feed::Pictures;
use crate::gallery::index_of;
use crate::progress::Teller;
use crate::{onnx_runtime, picture, values, work};

type Objects<'py> = Vec<Bound<'py, PyAny>>;

/// A gallery, with its model where it has one. Many threads may share one.
///
/// One process at a time may have it `writable`; with `by_turns` the gallery is locked for each change only. `sessions` images may
/// be in the model at a time; `threads`, `device`, `batch` and `max_pixels` are as for Embedder. `frame` is how the drawings of
/// queries are framed: as the model's "card" says, "off", or so that they fill a share of the page, such as 0.8. With `follow` it
/// looks every so many seconds for what other processes have written. `calibration`, a file that `sketchfind calibrate` wrote, gives
/// matches their scores. A gallery without a model takes embeddings, and is asked with such; what needs a model raises NoModel. A
/// retriever belongs to the process that opened it: in a child made by fork every call raises Forked.
///
/// >>> with sketchfind.Retriever("shop.gallery") as shop:
/// ...     [match.id for match in shop.query("photos/red.png", k=1)]
/// ['red']
#[pyclass(frozen, module = "sketchfind")]
pub(crate) struct Retriever {
    retriever: RwLock<Option<Arc<runtime::Retriever>>>,
    limits: DecodeLimits,
    width: usize,
    path: PathBuf,
}

impl Retriever {
    fn get(&self) -> PyResult<Arc<runtime::Retriever>> {
        let open = self.retriever.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.clone().ok_or_else(|| Closed::new_err("the retriever is closed"))?;
        open.check_process().map_err(raised)?;
        Ok(open)
    }

    fn photo_of(&self, py: Python<'_>, id: &str) -> PyResult<runtime::Photo> {
        let retriever = self.get()?;
        // Others go on meanwhile: it may be in a database.
        py.detach(|| retriever.photo(id)).map_err(raised)?.ok_or_else(|| PyKeyError::new_err(id.to_owned()))
    }

    fn embed_as<'py>(
        &self,
        role: Role,
        images: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (retriever, pictures) = (self.get()?, Pictures::of(images, self.limits.max_bytes())?);
        let teller = Teller::of(progress, pictures.length())?;
        let values = work::run_fed(&pictures, teller, move |fed, progress, cancel| {
            retriever.embed_pictures(role, fed, progress, cancel)
        })?;
        values::matrix(images.py(), self.width, values)
    }
}

#[pymethods]
impl Retriever {
    #[new]
    #[pyo3(
        signature = (gallery, *, writable=false, by_turns=false, sessions=1, threads=None, device="cpu", batch=None, max_pixels=None, frame=None, follow=None, calibration=None),
        text_signature = "(gallery, *, writable=False, by_turns=False, sessions=1, threads=None, device='cpu', batch=None, max_pixels=None, frame='card', follow=None, calibration=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn new(
        py: Python<'_>,
        gallery: PathBuf,
        writable: bool,
        by_turns: bool,
        sessions: usize,
        threads: Option<usize>,
        device: &str,
        batch: Option<usize>,
        max_pixels: Option<u64>,
        frame: Option<Frame>,
        follow: Option<f64>,
        calibration: Option<PathBuf>,
    ) -> PyResult<Retriever> {
        let embedder = embedder_options(threads, device, batch, max_pixels)?;
        let limits = embedder.limits;
        let Frame(framing) = frame.unwrap_or(Frame(Framing::Card));
        let options = runtime::RetrieverOptions::new(embedder).with_sessions(sessions).with_framing(framing);
        let options = match follow {
            None => options,
            // What is no time at all is refused as one that is too short.
            Some(seconds) => options.following(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        };
        let options = match (writable, by_turns) {
            (false, false) => options,
            (true, false) => options.writable(),
            (false, true) => options.by_turns(),
            (true, true) => {
                let words =
                    "writable keeps the gallery's lock, by_turns gives it back after each change: choose one";
                return Err(PyValueError::new_err(words));
            }
        };
        // An address without its password.
        let path = PathBuf::from(runtime::home::shown(&gallery));
        let retriever = work::run(py, move |_, _| {
            let options = match calibration {
                None => options,
                Some(file) => options.with_calibration(Calibration::load(file)?),
            };
            onnx_runtime::load()?;
            runtime::Retriever::open(&gallery, options)
        })?;
        let width = retriever.width();
        Ok(Retriever { retriever: RwLock::new(Some(Arc::new(retriever))), limits, width, path })
    }

    /// The width of an embedding.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").width
    /// 3
    #[getter]
    fn width(&self) -> usize {
        self.width
    }

    /// The gallery's folder.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").path.name
    /// 'shop.gallery'
    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    fn __repr__(&self) -> String {
        let path = self.path.display().to_string();
        match self.get() {
            Ok(retriever) => {
                let n = retriever.len().map_or_else(|_| "?".to_owned(), |n| n.to_string());
                format!("Retriever({path:?}, len={n}, width={})", self.width)
            }
            Err(_closed) => format!("Retriever({path:?}, closed)"),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let retriever = self.get()?;
        py.detach(|| retriever.len()).map_err(raised)
    }

    fn __contains__(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let retriever = self.get()?;
        Ok(py.detach(|| retriever.photo(id)).map_err(raised)?.is_some())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(&self, _kind: &Bound<'_, PyAny>, _value: &Bound<'_, PyAny>, _traceback: &Bound<'_, PyAny>) {
        self.close();
    }

    /// Gives the gallery back, once the calls that are under way have ended; every later call raises Closed.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> shop.close()
    /// >>> len(shop)
    /// Traceback (most recent call last):
    /// sketchfind.Closed: the retriever is closed
    fn close(&self) {
        drop(self.retriever.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The embeddings of pictures, [n, width], as they are: nothing is framed. Otherwise as Embedder.embed.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").embed(["photos/red.png"]).tolist()
    /// [[1.0, 0.0, 0.0]]
    #[pyo3(signature = (images, *, progress=None))]
    fn embed<'py>(
        &self,
        images: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        self.embed_as(Role::Picture, images, progress)
    }

    /// The embeddings of photos, [n, width], as the gallery takes them: framed, where it frames photos.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").embed_photos(["photos/red.png"]).tolist()
    /// [[1.0, 0.0, 0.0]]
    #[pyo3(signature = (images, *, progress=None))]
    fn embed_photos<'py>(
        &self,
        images: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        self.embed_as(Role::Photo, images, progress)
    }

    /// The embeddings of drawings, [n, width], as queries take them: framed, as `frame` says.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> drawings = shop.embed_sketches(["photos/red.png", "photos/blue.png"])
    /// >>> [found[0].id for found in shop.query_embeddings(drawings, k=1)]
    /// ['red', 'blue']
    #[pyo3(signature = (sketches, *, progress=None))]
    fn embed_sketches<'py>(
        &self,
        sketches: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        self.embed_as(Role::Sketch, sketches, progress)
    }

    /// The k photos that match a drawing best among those that pass all conditions; best first.
    ///
    /// `ef` is how many candidates a graph is searched with, 1 to 100000, in the place of the gallery's own number: more find more of
    /// the nearest and take longer. With `exact` every photo is looked at, whatever graphs there are. With `by_product` the matches are the
    /// best photo of each product, of k products; a photo without one stands for itself.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> [match.id for match in shop.query("photos/red.png", k=5, any_label=["cold"])]
    /// ['blue']
    /// >>> [match.id for match in shop.query("photos/red.png", without_ids=["red"])]
    /// ['blue']
    #[pyo3(
        signature = (sketch, k=10, **asked),
        text_signature = "($self, sketch, k=10, *, only_ids=None, without_ids=None, only_products=None, without_products=None, any_label=None, every_label=None, without_label=None, ef=None, exact=False, by_product=False)"
    )]
    fn query<'py>(
        &self,
        sketch: &Bound<'py, PyAny>,
        k: usize,
        asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Objects<'py>> {
        let (retriever, limits) = (self.get()?, self.limits);
        let sketch_of = picture::of(sketch, limits.max_bytes())?;
        let Asked { filter, options } = Asked::of("query", asked)?;
        let found = work::run(sketch.py(), move |_, _| {
            let sketch = sketch_of.sketch(limits, retriever.sketch_share())?;
            retriever.query_with(&sketch, k, &filter, options)
        })?;
        values::matches(sketch.py(), found)
    }

    /// For each drawing what query gives. `sketches` and `progress` are as for Embedder.embed.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> [found[0].id for found in shop.query_batch(["photos/blue.png", "photos/red.png"], k=1)]
    /// ['blue', 'red']
    #[pyo3(
        signature = (sketches, k=10, *, progress=None, **asked),
        text_signature = "($self, sketches, k=10, *, only_ids=None, without_ids=None, only_products=None, without_products=None, any_label=None, every_label=None, without_label=None, ef=None, exact=False, by_product=False, progress=None)"
    )]
    fn query_batch<'py>(
        &self,
        sketches: &Bound<'py, PyAny>,
        k: usize,
        progress: Option<&Bound<'py, PyAny>>,
        asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<Objects<'py>>> {
        let (retriever, pictures) = (self.get()?, Pictures::of(sketches, self.limits.max_bytes())?);
        let Asked { filter, options } = Asked::of("query_batch", asked)?;
        let teller = Teller::of(progress, pictures.length())?;
        let found = work::run_fed(&pictures, teller, move |fed, progress, cancel| {
            retriever.query_pictures_with(fed, k, &filter, options, progress, cancel)
        })?;
        values::matches_of_each(sketches.py(), found)
    }

    /// The k photos nearest to an embedding, [width], among those that pass all conditions; otherwise as query.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> shop.query_embedding([0.9, 0.0, 0.1], k=1)[0].id
    /// 'red'
    #[pyo3(
        signature = (embedding, k=10, **asked),
        text_signature = "($self, embedding, k=10, *, only_ids=None, without_ids=None, only_products=None, without_products=None, any_label=None, every_label=None, without_label=None, ef=None, exact=False, by_product=False)"
    )]
    fn query_embedding<'py>(
        &self,
        embedding: &Bound<'py, PyAny>,
        k: usize,
        asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Objects<'py>> {
        let retriever = self.get()?;
        let values = arguments::embeddings(embedding, 1, self.width)?;
        let Asked { filter, options } = Asked::of("query_embedding", asked)?;
        let found = work::run(embedding.py(), move |_, _| {
            retriever.query_embedding_with(&values, k, &filter, options)
        })?;
        values::matches(embedding.py(), found)
    }

    /// For each embedding of [n, width] what query_embedding gives, on all cores.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> ids, embeddings = shop.embeddings()
    /// >>> [found[0].id for found in shop.query_embeddings(embeddings, k=1)] == ids
    /// True
    #[pyo3(
        signature = (embeddings, k=10, **asked),
        text_signature = "($self, embeddings, k=10, *, only_ids=None, without_ids=None, only_products=None, without_products=None, any_label=None, every_label=None, without_label=None, ef=None, exact=False, by_product=False)"
    )]
    fn query_embeddings<'py>(
        &self,
        embeddings: &Bound<'py, PyAny>,
        k: usize,
        asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<Objects<'py>>> {
        let retriever = self.get()?;
        let queries = arguments::embeddings(embeddings, 2, self.width)?;
        let Asked { filter, options } = Asked::of("query_embeddings", asked)?;
        let found = work::run(embeddings.py(), move |_, _| {
            retriever.query_embeddings_with(&queries, k, &filter, options)
        })?;
        values::matches_of_each(embeddings.py(), found)
    }

    /// What query gives, with how sure that is, and why there is nothing where there is nothing.
    ///
    /// With a calibration the answer has a score, the probability that the photo that was drawn is among the first ten, and so has
    /// each of these. Where it is below `min_score`, 0 to 1, the answer is that nothing fits; "auto" is what the calibration
    /// proposes.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery", calibration="calibration.json")
    /// >>> shop.answer("photos/red.png", k=1, min_score="auto").matches[0].id
    /// 'red'
    /// >>> answer = shop.answer("photos/red.png", any_label=["boots"])
    /// >>> answer.matches, answer.nothing.code, answer.nothing.reason
    /// ((), 'no_such_label', "no photo has the label 'boots'")
    #[pyo3(
        signature = (sketch, k=10, min_score=None, **asked),
        text_signature = "($self, sketch, k=10, min_score=None, *, only_ids=None, without_ids=None, only_products=None, without_products=None, any_label=None, every_label=None, without_label=None, ef=None, exact=False, by_product=False)"
    )]
    fn answer<'py>(
        &self,
        sketch: &Bound<'py, PyAny>,
        k: usize,
        min_score: Option<&Bound<'py, PyAny>>,
        asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (retriever, limits) = (self.get()?, self.limits);
        let sketch_of = picture::of(sketch, limits.max_bytes())?;
        let min_score = arguments::min_score(min_score, retriever.calibration())?;
        let Asked { filter, options } = Asked::of("answer", asked)?;
        let answer = work::run(sketch.py(), move |_, _| {
            let sketch = sketch_of.sketch(limits, retriever.sketch_share())?;
            retriever.answer_with(&sketch, k, &filter, options, min_score)
        })?;
        values::answer(sketch.py(), answer)
    }

    /// What answer gives, for an embedding, [width].
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> shop.answer_embedding([0.9, 0.0, 0.1], k=1).matches[0].id
    /// 'red'
    #[pyo3(
        signature = (embedding, k=10, min_score=None, **asked),
        text_signature = "($self, embedding, k=10, min_score=None, *, only_ids=None, without_ids=None, only_products=None, without_products=None, any_label=None, every_label=None, without_label=None, ef=None, exact=False, by_product=False)"
    )]
    fn answer_embedding<'py>(
        &self,
        embedding: &Bound<'py, PyAny>,
        k: usize,
        min_score: Option<&Bound<'py, PyAny>>,
        asked: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let retriever = self.get()?;
        let values = arguments::embeddings(embedding, 1, self.width)?;
        let min_score = arguments::min_score(min_score, retriever.calibration())?;
        let Asked { filter, options } = Asked::of("answer_embedding", asked)?;
        let answer = work::run(embedding.py(), move |_, _| {
            retriever.answer_embedding_with(&values, k, &filter, options, min_score)
        })?;
        values::answer(embedding.py(), answer)
    }

    /// Adds a photo; when this returns it is on the disk.
    ///
    /// Photos may share a `product`. With replace it takes the place of the photo that has its id. Labels, a source and a product
    /// that are None are not given, and stay as they are; an empty list of labels, or an empty product, takes them away.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     shop.add("green", "photos/green.png", labels=["new"], source="photos/green.png")
    /// ...     "green" in shop
    /// True
    #[pyo3(
        signature = (id, image, labels=None, source=None, *, product=None, replace=false),
        text_signature = "($self, id, image, labels=None, source=None, *, product=None, replace=False)"
    )]
    fn add(
        &self,
        id: String,
        image: &Bound<'_, PyAny>,
        labels: Option<Texts>,
        source: Option<PathBuf>,
        product: Option<String>,
        replace: bool,
    ) -> PyResult<()> {
        let (retriever, limits) = (self.get()?, self.limits);
        let of_photo = picture::of(image, limits.max_bytes())?;
        let photo = arguments::photo(id, labels, source, product);
        work::run(image.py(), move |_, _| {
            let image = of_photo.photo(limits)?;
            if replace { retriever.replace(photo, &image) } else { retriever.add(photo, &image) }
        })
    }

    /// Adds photos of pictures in any form, all of them or none; much faster than one after another.
    ///
    /// `ids` and `images` are as long as each other, and so are `labels` (of each photo an iterable of str, or None),
    /// `sources` and `products`, if they are given. `images` and `progress` are as for Embedder.embed, `replace` as for add.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     shop.add_batch(["black", "white"], [numpy.zeros((8, 8)), numpy.ones((8, 8))], [["dark"], None])
    /// ...     shop.labels("black")
    /// ['dark']
    #[pyo3(signature = (ids, images, labels=None, sources=None, *, products=None, replace=false, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn add_batch(
        &self,
        ids: Texts,
        images: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
        sources: Option<&Bound<'_, PyAny>>,
        products: Option<&Bound<'_, PyAny>>,
        replace: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (retriever, pictures) = (self.get()?, Pictures::of(images, self.limits.max_bytes())?);
        let photos = arguments::photos(ids, labels, sources, products)?;
        let teller = Teller::of(progress, Some(photos.len()))?;
        work::run_fed(&pictures, teller, move |fed, progress, cancel| {
            retriever.add_pictures(photos, fed, replace, progress, cancel)
        })
    }

    /// Adds photos of embeddings that are ready, [n, width], all of them or none; the gallery needs no model.
    ///
    /// `ids` are one an embedding, and so are `labels` (of each photo an iterable of str, or None), `sources` and `products`, if they
    /// are given; `replace` is as for add. Where the gallery has a model, it is to be that which made the embeddings.
    ///
    /// >>> sketchfind.create("ready.gallery", width=2, distance="cosine")
    /// >>> with sketchfind.Retriever("ready.gallery", writable=True) as shop:
    /// ...     shop.add_embeddings(["up", "right"], numpy.array([[0, 1], [1, 0]], numpy.float32), [["tall"], None])
    /// ...     shop.query_embedding([0.1, 5.0], k=1)[0].id
    /// 'up'
    #[pyo3(
        signature = (ids, embeddings, labels=None, sources=None, *, products=None, replace=false),
        text_signature = "($self, ids, embeddings, labels=None, sources=None, *, products=None, replace=False)"
    )]
    fn add_embeddings(
        &self,
        ids: Texts,
        embeddings: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
        sources: Option<&Bound<'_, PyAny>>,
        products: Option<&Bound<'_, PyAny>>,
        replace: bool,
    ) -> PyResult<()> {
        let retriever = self.get()?;
        let values = arguments::embeddings(embeddings, 2, self.width)?;
        let photos = arguments::photos(ids, labels, sources, products)?;
        let n = values.len() / self.width.max(1);
        if n != photos.len() {
            let words = format!("embeddings are one a photo: expected {}, got {n}", photos.len());
            return Err(PyValueError::new_err(words));
        }
        work::run(embeddings.py(), move |_, _| {
            let gallery = retriever.gallery();
            if replace { gallery.replace(photos, values) } else { gallery.add(photos, values) }
        })
    }

    /// Brings embeddings of files into the gallery: X.npy with the ids of its rows in X.csv, X.parquet, or all of a folder.
    ///
    /// All files are read and checked before anything is changed. Then every few thousand photos are acknowledged, so that the same call
    /// goes on where it was interrupted. A photo that is there with another embedding is refused, or replaced with `replace`; what a
    /// file does not say of a photo stays as it is. Rows that have an error in the place of an embedding come back in `failed`.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     n = shop.export_embeddings("photos.npy").n_photos + shop.remove(["red"])
    /// ...     done = shop.import_embeddings("photos.npy")
    /// >>> done.n_added, done.n_unchanged, done.failed
    /// (1, 1, ())
    #[pyo3(
        signature = (path, *, replace=false, progress=None),
        text_signature = "($self, path, *, replace=False, progress=None)"
    )]
    fn import_embeddings<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        replace: bool,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let retriever = self.get()?;
        let files = Arc::new(work::run(py, move |_, cancel| EmbeddingFiles::open(&path, cancel))?);
        let teller = Teller::counting("photo", progress, Some(files.len()))?;
        let options = ImportOptions::default();
        let options = if replace { options.replacing() } else { options };
        let own = Arc::clone(&files);
        let done = work::run_told(py, teller, move |progress, cancel| {
            retriever.gallery().import(&own, options, progress, cancel)
        })?;
        values::imported(py, done, &files)
    }

    /// Writes all embeddings to a file, whole or not at all: X.npy with the ids of its rows in X.csv, or X.parquet with labels and
    /// sources too.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").export_embeddings("photos.npy")
    /// Exported(n_photos=2, without_source=())
    /// >>> numpy.load("photos.npy").shape
    /// (2, 3)
    #[pyo3(signature = (path, *, progress=None))]
    fn export_embeddings<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let retriever = self.get()?;
        let teller = Teller::counting("photo", progress, Some(retriever.len().map_err(raised)?))?;
        let done = work::run_told(py, teller, move |progress, cancel| {
            retriever.gallery().export(&path, progress, cancel)
        })?;
        values::exported(py, done)
    }

    /// Brings files into the gallery: those that are not in it, and those whose content, product, labels or source have changed.
    ///
    /// Every few hundred photos the gallery keeps what was done, so that the same call goes on where it was interrupted. A
    /// content that the gallery has already is not embedded again. `sources` are the paths that the gallery shall know,
    /// by default `paths`; `products` are the products that they show; `regions` say where products are, (left, top, width, height) in pixels, for a gallery that frames
    /// photos. `on_broken` is "refuse" or "skip"; `on_other_source`, for an id that another file has, "refuse" or "replace".
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     done = shop.ingest(["red", "green"], ["photos/red.png", "photos/green.png"], on_other_source="replace")
    /// >>> (done.n_added, done.n_replaced, done.broken)
    /// (1, 1, ())
    #[pyo3(signature = (ids, paths, labels=None, sources=None, *, products=None, regions=None, on_broken="refuse", on_other_source="refuse", progress=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn ingest<'py>(
        &self,
        py: Python<'py>,
        ids: Texts,
        paths: &Bound<'py, PyAny>,
        labels: Option<&Bound<'py, PyAny>>,
        sources: Option<&Bound<'py, PyAny>>,
        products: Option<&Bound<'py, PyAny>>,
        regions: Option<&Bound<'py, PyAny>>,
        on_broken: &str,
        on_other_source: &str,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let retriever = self.get()?;
        let options = ingest_options(on_broken, on_other_source)?;
        let files = photo_files(ids, paths, labels, sources, products, regions)?;
        let teller = Teller::of(progress, Some(files.len()))?;
        let done = work::run_told(py, teller, move |progress, cancel| {
            retriever.ingest(&files, options, progress, cancel)
        })?;
        values::ingested(py, done)
    }

    /// What ingest of these files would change, as far as can be told without decoding them; nothing is changed.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> shop.changes(["green"], ["photos/green.png"])
    /// Changes(added=('green',), replaced=(), n_unchanged=0)
    #[pyo3(signature = (ids, paths, labels=None, sources=None, *, products=None))]
    fn changes<'py>(
        &self,
        py: Python<'py>,
        ids: Texts,
        paths: &Bound<'py, PyAny>,
        labels: Option<&Bound<'py, PyAny>>,
        sources: Option<&Bound<'py, PyAny>>,
        products: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (retriever, max_bytes) = (self.get()?, self.limits.max_bytes());
        let files = photo_files(ids, paths, labels, sources, products, None)?;
        let changes = work::run(py, move |_, _| retriever.look().changes(&files, max_bytes))?;
        values::changes(py, changes)
    }

    /// Removes photos in one step and returns how many were there.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     shop.remove(["blue", "never there"])
    /// 1
    fn remove(&self, py: Python<'_>, ids: Texts) -> PyResult<usize> {
        let retriever = self.get()?;
        work::run(py, move |_, _| retriever.remove(&ids.0))
    }

    /// All ids, sorted.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").ids()
    /// ['blue', 'red']
    fn ids(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let retriever = self.get()?;
        work::run(py, move |_, _| retriever.look().ids())
    }

    /// All photos with what the gallery knows of them, sorted by id, as they are now.
    ///
    /// >>> shop = sketchfind.Retriever("shop.gallery")
    /// >>> [(photo.id, photo.labels) for photo in shop.photos()]
    /// [('blue', ('cold',)), ('red', ('sale', 'warm'))]
    fn photos(&self, py: Python<'_>) -> PyResult<values::Photos> {
        let retriever = self.get()?;
        let photos = work::run(py, move |_, _| {
            let mut photos = Vec::new();
            retriever.look().each_photo(&mut |photo| {
                photos.push(photo.clone());
                Ok(())
            })?;
            Ok(photos)
        })?;
        Ok(values::Photos::new(photos))
    }

    /// What the gallery knows of a photo; KeyError where it is not there.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").photo("red").labels
    /// ('sale', 'warm')
    fn photo<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyAny>> {
        values::photo(py, &self.photo_of(py, id)?)
    }

    /// The labels of a photo, sorted; KeyError where it is not there.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").labels("red")
    /// ['sale', 'warm']
    fn labels(&self, py: Python<'_>, id: &str) -> PyResult<Vec<String>> {
        Ok(self.photo_of(py, id)?.labels().iter().cloned().collect())
    }

    /// Where a photo's file is, if the gallery was told; KeyError where it is not there.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").source("red").name
    /// 'red.jpg'
    fn source(&self, py: Python<'_>, id: &str) -> PyResult<Option<PathBuf>> {
        Ok(self.photo_of(py, id)?.source().map(Path::to_owned))
    }

    /// The embedding of a photo, [width]; KeyError where it is not there.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").embedding("red").tolist()
    /// [1.0, 0.0, 0.0]
    fn embedding<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let (retriever, wanted) = (self.get()?, id.to_owned());
        let row = work::run(py, move |_, _| retriever.look().embedding(&wanted))?;
        Ok(PyArray1::from_vec(py, row.ok_or_else(|| PyKeyError::new_err(id.to_owned()))?))
    }

    /// All ids, sorted, and their embeddings, [n, width].
    ///
    /// >>> ids, embeddings = sketchfind.Retriever("shop.gallery").embeddings()
    /// >>> ids, embeddings.shape
    /// (['blue', 'red'], (2, 3))
    fn embeddings<'py>(&self, py: Python<'py>) -> PyResult<(Vec<String>, Bound<'py, PyArray2<f32>>)> {
        let retriever = self.get()?;
        let (ids, values) = work::run(py, move |_, _| {
            let (mut ids, mut values) = (Vec::new(), Vec::new());
            retriever.look().each_row(&mut |photo, row| {
                ids.push(photo.id().to_owned());
                values.extend_from_slice(row);
                Ok(())
            })?;
            Ok((ids, values))
        })?;
        Ok((ids, values::matrix(py, self.width, values)?))
    }

    /// What is in the way of following the gallery and of building its graph, in words; empty where nothing is.
    ///
    /// >>> sketchfind.Retriever("shop.gallery", follow=0.5).troubles()
    /// []
    fn troubles(&self) -> PyResult<Vec<String>> {
        Ok(self.get()?.troubles())
    }

    /// Sees what other processes have written since; whether there was anything. BadFile where the gallery was replaced by
    /// one of another model, which has to be opened anew.
    ///
    /// >>> reader = sketchfind.Retriever("shop.gallery")
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     n = shop.remove(["red"])
    /// >>> reader.refresh(), len(reader)
    /// (True, 1)
    fn refresh(&self, py: Python<'_>) -> PyResult<bool> {
        let retriever = self.get()?;
        work::run(py, move |_, _| retriever.refresh())
    }

    /// Chooses how the gallery is searched, "auto", "exact" or "hnsw", from the next compact or opening on.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     shop.set_index("hnsw")
    /// ...     shop.compact()
    fn set_index(&self, py: Python<'_>, index: &str) -> PyResult<()> {
        let (retriever, index) = (self.get()?, index_of(index)?);
        work::run(py, move |_, _| retriever.gallery().set_index(index))
    }

    /// Gives back the space of removed photos and builds the graph that the gallery asks for. `progress` is told photos of the
    /// graph. Ctrl-C stops the graph, which is built when the gallery is next opened or compacted.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     n = shop.remove(["red"])
    /// ...     shop.compact()
    #[pyo3(signature = (*, progress=None))]
    fn compact(&self, py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let retriever = self.get()?;
        let teller = Teller::counting("photo", progress, Some(retriever.len().map_err(raised)?))?;
        work::run_told(py, teller, move |progress, cancel| retriever.compact(progress, cancel))
    }

    /// How many of the ten nearest the graphs find, on a sample of the photos; None where there is no graph. `progress` is told
    /// photos of the sample.
    ///
    /// >>> sketchfind.Retriever("shop.gallery").measure_recall() is None
    /// True
    #[pyo3(signature = (*, progress=None))]
    fn measure_recall<'py>(
        &self,
        py: Python<'py>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let retriever = self.get()?;
        let teller = Teller::counting("photo", progress, None)?;
        let recall = work::run_told(py, teller, move |progress, cancel| {
            retriever.gallery().measure_recall(progress, cancel)
        })?;
        recall.map(|recall| values::recall(py, recall)).transpose()
    }

    /// Measures what embedding and exact search cost here and writes it down, so that the index "auto" chooses by it.
    ///
    /// >>> with sketchfind.Retriever("shop.gallery", writable=True) as shop:
    /// ...     shop.measure_costs().embedding_us > 0
    /// True
    fn measure_costs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let retriever = self.get()?;
        let costs = work::run(py, move |_, _| retriever.measure_costs())?;
        values::costs(py, costs)
    }
}

fn photo_files<'py>(
    ids: Texts,
    paths: &Bound<'py, PyAny>,
    labels: Option<&Bound<'py, PyAny>>,
    sources: Option<&Bound<'py, PyAny>>,
    products: Option<&Bound<'py, PyAny>>,
    regions: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<PhotoFile>> {
    let paths = arguments::paths(paths, ids.0.len())?;
    let photos = arguments::photos(ids, labels, sources, products)?;
    let regions = arguments::regions(regions, photos.len())?;
    let files = photos.into_iter().zip(paths).zip(regions).map(|((photo, path), region)| {
        let photo = if photo.source().is_some() { photo } else { photo.with_source(&path) };
        PhotoFile { region, ..PhotoFile::new(photo, path) }
    });
    Ok(files.collect())
}

fn ingest_options(on_broken: &str, on_other_source: &str) -> PyResult<IngestOptions> {
    let refused = |what, value: &str, expected: &str| {
        let (value, expected) = (format!("'{value}'"), expected.to_owned());
        Err(raised(sketchfind_core::Error::OutOfRange { what, value, expected }.into()))
    };
    let on_broken = match on_broken {
        "refuse" => OnBroken::Refuse,
        "skip" => OnBroken::Skip,
        other => return refused("on_broken", other, "'refuse' or 'skip'"),
    };
    let on_other_source = match on_other_source {
        "refuse" => OnOtherSource::Refuse,
        "replace" => OnOtherSource::Replace,
        other => return refused("on_other_source", other, "'refuse' or 'replace'"),
    };
    Ok(IngestOptions::from(on_broken).with_other_sources(on_other_source))
}
