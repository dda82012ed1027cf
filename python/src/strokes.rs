//! Drawings as pen movements: the class `Strokes` of `sketchfind/_values.py`, whose values are checked here.

use pyo3::prelude::*;
use sketchfind::Strokes;

use crate::errors::raised;
use crate::values::class;

/// One list of points x, y for each time that the pen was down.
type Lines = Vec<Vec<[f64; 2]>>;

/// The strokes that `value` is, if it is some.
pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Option<Strokes>> {
    if !is_strokes(value)? {
        return Ok(None);
    }
    let (page, lines): ([f64; 2], Lines) =
        (value.getattr("page")?.extract()?, value.getattr("lines")?.extract()?);
    Strokes::drawn(page, &lines).map(Some).map_err(|error| raised(error.into()))
}

/// Whether `value` is of the class.
pub(crate) fn is_strokes(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_instance(&class(value.py(), "Strokes")?)
}

/// Refuses what cannot be drawn, where somebody makes it.
#[pyfunction]
pub(crate) fn _check_strokes(page: [f64; 2], lines: Lines) -> PyResult<()> {
    Strokes::drawn(page, &lines).map(drop).map_err(|error| raised(error.into()))
}
