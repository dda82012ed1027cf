//! What comes back, as the small classes of `sketchfind/_values.py`.

use std::sync::{Mutex, PoisonError};

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use sketchfind as runtime;
use sketchfind::{
    Answer, BrokenImage, Changes, Copied, Costs, EmbeddingFiles, Exported, Imported, Ingested, Photo, Recall,
};

/// A class by its name.
pub(crate) fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("sketchfind._values")?.getattr(name)
}

/// Embeddings, `[n, width]`.
pub(crate) fn matrix(py: Python<'_>, width: usize, values: Vec<f32>) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let n = values.len() / width.max(1);
    PyArray1::from_vec(py, values).reshape([n, width])
}

/// The matches of each query.
pub(crate) fn matches_of_each(
    py: Python<'_>,
    found: Vec<Vec<runtime::Match>>,
) -> PyResult<Vec<Vec<Bound<'_, PyAny>>>> {
    let class = class(py, "Match")?;
    let one = |found: runtime::Match| {
        let labels = PyTuple::new(py, found.labels)?;
        class.call1((found.id, found.distance, found.rank, found.path, labels, found.score, found.product))
    };
    found.into_iter().map(|found| found.into_iter().map(one).collect()).collect()
}

/// The matches of one query.
pub(crate) fn matches(py: Python<'_>, found: Vec<runtime::Match>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    Ok(matches_of_each(py, vec![found])?.pop().unwrap_or_default())
}

/// What was found for a query, and how sure that is.
pub(crate) fn answer(py: Python<'_>, answer: Answer) -> PyResult<Bound<'_, PyAny>> {
    let nothing =
        answer.nothing.map(|why| class(py, "Nothing")?.call1((why.code(), why.to_string()))).transpose()?;
    class(py, "Answer")?.call1((PyTuple::new(py, matches(py, answer.matches)?)?, answer.score, nothing))
}

/// What a gallery knows of a photo.
pub(crate) fn photo<'py>(py: Python<'py>, photo: &Photo) -> PyResult<Bound<'py, PyAny>> {
    let labels = PyTuple::new(py, photo.labels())?;
    let content = photo.content().map(|content| PyBytes::new(py, content));
    class(py, "Photo")?.call1((photo.id(), labels, photo.source(), content, photo.product()))
}

/// What came of files.
pub(crate) fn ingested(py: Python<'_>, done: Ingested) -> PyResult<Bound<'_, PyAny>> {
    let class_of_broken = class(py, "BrokenImage")?;
    let broken = done
        .broken
        .into_iter()
        .map(|BrokenImage { id, path, reason }| class_of_broken.call1((id, path, reason)));
    let broken = PyTuple::new(py, broken.collect::<PyResult<Vec<_>>>()?)?;
    class(py, "Ingested")?.call1((done.n_added, done.n_replaced, done.n_unchanged, done.n_known, broken))
}

/// What would come of files.
pub(crate) fn changes(py: Python<'_>, changes: Changes) -> PyResult<Bound<'_, PyAny>> {
    let ids = |ids: Vec<String>| PyTuple::new(py, ids);
    class(py, "Changes")?.call1((ids(changes.added)?, ids(changes.replaced)?, changes.n_unchanged))
}

/// What came of bringing in the embeddings of `files`.
pub(crate) fn imported<'py>(
    py: Python<'py>,
    done: Imported,
    files: &EmbeddingFiles,
) -> PyResult<Bound<'py, PyAny>> {
    let class_of_failed = class(py, "FailedRow")?;
    let failed = files.failed().iter().map(|row| class_of_failed.call1((&row.id, &row.error)));
    let failed = PyTuple::new(py, failed.collect::<PyResult<Vec<_>>>()?)?;
    let unread = PyTuple::new(py, files.unread_columns())?;
    class(py, "Imported")?.call1((done.n_added, done.n_replaced, done.n_unchanged, failed, unread))
}

/// What came of writing embeddings to a file.
pub(crate) fn exported(py: Python<'_>, done: Exported) -> PyResult<Bound<'_, PyAny>> {
    class(py, "Exported")?.call1((done.n_photos, PyTuple::new(py, done.without_source)?))
}

/// What a copy of a gallery is made of.
pub(crate) fn copied(py: Python<'_>, copied: Copied) -> PyResult<Bound<'_, PyAny>> {
    class(py, "Copied")?.call1((copied.n_photos, copied.n_shared, copied.n_own))
}

/// How much the graphs find.
pub(crate) fn recall(py: Python<'_>, recall: Recall) -> PyResult<Bound<'_, PyAny>> {
    let Recall { k, n_queries, n_photos, n_nearest, n_found } = recall;
    class(py, "Recall")?.call1((k, n_queries, n_photos, n_nearest, n_found))
}

/// What embedding and search cost.
pub(crate) fn costs(py: Python<'_>, costs: Costs) -> PyResult<Bound<'_, PyAny>> {
    class(py, "Costs")?.call1((costs.embedding_us, costs.exact_numbers_per_us))
}

/// Photos one after another.
#[pyclass(frozen, module = "sketchfind")]
pub(crate) struct Photos(Mutex<std::vec::IntoIter<Photo>>);

impl Photos {
    pub(crate) fn new(photos: Vec<Photo>) -> Photos {
        Photos(Mutex::new(photos.into_iter()))
    }
}

#[pymethods]
impl Photos {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).next();
        next.map(|next| photo(py, &next)).transpose()
    }

    fn __length_hint__(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
