//! What callers give besides pictures: texts, columns of a list, options, conditions of a query.

use std::path::PathBuf;

use numpy::{PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use sketchfind::{Calibration, EmbedderOptions, Filter, Framing, Photo, SearchOptions};
use sketchfind_core::image::DecodeLimits;

use crate::errors::raised;

/// Texts out of any iterable of `str`; one `str` alone, which Python would take for its letters, is refused.
#[derive(Default)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Texts {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Texts> {
        refuse_text(&value, "texts, such as a list of str")?;
        let texts = value.try_iter()?.map(|text| text?.extract::<String>());
        texts.collect::<PyResult<_>>().map(Texts)
    }
}

fn refuse_text(value: &Bound<'_, PyAny>, expected: &str) -> PyResult<()> {
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!("expected several {expected}, not one str")));
    }
    Ok(())
}

/// Something of each photo of a list, which may be missing altogether or for one of them.
fn column<'py, T>(
    what: &str,
    values: Option<&Bound<'py, PyAny>>,
    n: usize,
    of: impl Fn(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<Option<T>>> {
    let Some(values) = values else {
        return Ok((0..n).map(|_| None).collect());
    };
    refuse_text(values, what)?;
    let each = values.try_iter()?.map(|value| {
        let value = value?;
        if value.is_none() { Ok(None) } else { of(&value).map(Some) }
    });
    let column = each.collect::<PyResult<Vec<_>>>()?;
    if column.len() != n {
        let words = format!("{what} are one a photo: expected {n}, got {}", column.len());
        return Err(PyValueError::new_err(words));
    }
    Ok(column)
}

/// Photos of these ids, with labels, sources and products where they are given.
pub(crate) fn photos<'py>(
    ids: Texts,
    labels: Option<&Bound<'py, PyAny>>,
    sources: Option<&Bound<'py, PyAny>>,
    products: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<Photo>> {
    let labels = column("labels", labels, ids.0.len(), |labels| labels.extract::<Texts>())?;
    let sources = column("sources", sources, ids.0.len(), |source| source.extract::<PathBuf>())?;
    let products = column("products", products, ids.0.len(), |product| product.extract::<String>())?;
    let columns = ids.0.into_iter().zip(labels).zip(sources).zip(products);
    Ok(columns.map(|(((id, labels), source), product)| photo(id, labels, source, product)).collect())
}

/// A photo, with labels, source and product where they are given.
pub(crate) fn photo(
    id: String,
    labels: Option<Texts>,
    source: Option<PathBuf>,
    product: Option<String>,
) -> Photo {
    let mut photo = Photo::new(id);
    if let Some(Texts(labels)) = labels {
        photo = photo.with_labels(labels);
    }
    if let Some(source) = source {
        photo = photo.with_source(source);
    }
    if let Some(product) = product {
        photo = photo.with_product(product);
    }
    photo
}

/// The paths of files, one a photo.
pub(crate) fn paths(paths: &Bound<'_, PyAny>, n: usize) -> PyResult<Vec<PathBuf>> {
    let paths = column("paths", Some(paths), n, |path| path.extract::<PathBuf>())?;
    let given = paths.into_iter().zip(0..).map(|(path, position)| {
        path.ok_or_else(|| PyTypeError::new_err(format!("expected a path, got None at position {position}")))
    });
    given.collect()
}

/// Where products are in their photos: left, top, width and height in pixels.
pub(crate) fn regions(
    regions: Option<&Bound<'_, PyAny>>,
    n: usize,
) -> PyResult<Vec<Option<sketchfind_core::frame::Region>>> {
    column("regions", regions, n, |region| {
        let (left, top, width, height) = region.extract()?;
        Ok(sketchfind_core::frame::Region { left, top, width, height })
    })
}

/// How a model is run.
pub(crate) fn embedder_options(
    threads: Option<usize>,
    device: &str,
    batch: Option<usize>,
    max_pixels: Option<u64>,
) -> PyResult<EmbedderOptions> {
    let mut options = EmbedderOptions::on(device.parse().map_err(raised)?);
    options.n_threads = threads;
    if let Some(batch) = batch {
        options = options.with_batch(batch);
    }
    if let Some(max_pixels) = max_pixels {
        options = options.with_limits(DecodeLimits { max_pixels });
    }
    Ok(options)
}

/// How pictures are framed: `"card"`, `"off"`, or a share as a number or in words.
pub(crate) struct Frame(pub(crate) Framing);

impl<'py> FromPyObject<'_, 'py> for Frame {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Frame> {
        let text = if value.is_instance_of::<PyString>() {
            value.extract()?
        } else if value.is_instance_of::<PyBool>() {
            return Err(PyTypeError::new_err("frame is 'card', 'off' or a share of 0.2 to 1, not bool"));
        } else {
            value.extract::<f64>()?.to_string()
        };
        text.parse().map(Frame).map_err(raised)
    }
}

/// How something is asked for, besides what it is asked with: among which photos, and how they are searched. Each query takes
/// these by name.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    pub(crate) options: SearchOptions,
}

impl Asked {
    /// Of the arguments by name that `function` was given.
    pub(crate) fn of(function: &str, given: Option<&Bound<'_, PyDict>>) -> PyResult<Asked> {
        let mut asked = Asked::default();
        for (name, value) in given.into_iter().flatten() {
            let name: String = name.extract()?;
            asked = asked.with(function, &name, &value).map_err(|error| named(value.py(), &name, error))?;
        }
        Ok(asked)
    }

    /// The same with the argument `name`; None is as if it were not given.
    fn with(self, function: &str, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Asked> {
        let Asked { filter, mut options } = self;
        let texts = || Ok::<_, PyErr>(value.extract::<Option<Texts>>()?.map(|Texts(texts)| texts));
        let filter = match name {
            "only_ids" => texts()?.into_iter().fold(filter, Filter::only_ids),
            "without_ids" => texts()?.into_iter().fold(filter, Filter::without_ids),
            "only_products" => texts()?.into_iter().fold(filter, Filter::only_products),
            "without_products" => texts()?.into_iter().fold(filter, Filter::without_products),
            "any_label" => texts()?.into_iter().fold(filter, Filter::any_label),
            "every_label" => texts()?.into_iter().fold(filter, Filter::every_label),
            "without_label" => texts()?.into_iter().fold(filter, Filter::without_label),
            "ef" => {
                options.ef = value.extract()?;
                filter
            }
            "exact" => {
                options.exact = value.extract()?;
                filter
            }
            "by_product" => {
                options.by_product = value.extract()?;
                filter
            }
            other => {
                let words = format!("{function}() got an unexpected keyword argument '{other}'");
                return Err(PyTypeError::new_err(words));
            }
        };
        Ok(Asked { filter, options })
    }
}

/// The same error with the argument's name before its words, as it has where an argument is not taken by name.
fn named(py: Python<'_>, name: &str, error: PyErr) -> PyErr {
    let words = error.value(py).to_string();
    if error.is_instance_of::<PyTypeError>(py) && !words.contains("unexpected keyword argument") {
        return PyTypeError::new_err(format!("argument '{name}': {words}"));
    }
    error
}

/// From where on nothing fits: a number, or `"auto"` for what the calibration proposes.
pub(crate) fn min_score(
    value: Option<&Bound<'_, PyAny>>,
    calibration: Option<&Calibration>,
) -> PyResult<Option<f64>> {
    let Some(value) = value else { return Ok(None) };
    if !value.is_instance_of::<PyString>() {
        return value.extract().map(Some);
    }
    let expected = match (value.extract::<String>()?.as_str(), calibration) {
        ("auto", Some(calibration)) => return Ok(Some(calibration.min_score)),
        ("auto", None) => "none, since there is no calibration",
        _ => "'auto' or 0 to 1",
    };
    Err(PyValueError::new_err(format!("min_score is {}, expected {expected}", value.repr()?)))
}

/// The numbers of embeddings: an array of `n_dimensions` of any kind of number, or lists of such.
pub(crate) fn embeddings(value: &Bound<'_, PyAny>, n_dimensions: usize, width: usize) -> PyResult<Vec<f32>> {
    let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    // An empty list has no numbers to be of a kind.
    if !matches!(kind.as_str(), "f" | "i" | "u") {
        let words = format!("an embedding is an array of floats, not of {}", array.getattr("dtype")?);
        return Err(PyTypeError::new_err(words));
    }
    if shape.len() != n_dimensions || shape.last() != Some(&width) {
        let expected = if n_dimensions == 1 { format!("[{width}]") } else { format!("[n, {width}]") };
        let words = format!("the width of the embedding: expected {expected}, got {shape:?}");
        return Err(PyValueError::new_err(words));
    }
    let array: PyReadonlyArrayDyn<'_, f32> = array.call_method1("astype", ("float32",))?.extract()?;
    Ok(array.to_vec().unwrap_or_else(|_not_contiguous| array.as_array().iter().copied().collect()))
}
