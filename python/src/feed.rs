//! Pictures on their way from Python, where they are made one after another, to the threads that embed them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString};
use sketchfind::Picture;

use crate::picture::{self, is_one_picture};

/// Pictures that wait at most: enough that nobody waits for small ones.
const MOST_WAITING: usize = 64;
/// Bytes of them at most; one is always let in.
const MOST_BYTES: usize = 32 << 20;

/// The pictures of a list, a generator, or any other iterable.
pub(crate) struct Pictures<'py> {
    iterator: Bound<'py, PyIterator>,
    length: Option<usize>,
    n_taken: std::cell::Cell<usize>,
    /// The longest file that is read.
    max_bytes: u64,
}

impl<'py> Pictures<'py> {
    pub(crate) fn of(value: &Bound<'py, PyAny>, max_bytes: u64) -> PyResult<Pictures<'py>> {
        let refused = |kind: &str| {
            Err(PyTypeError::new_err(format!(
                "expected several pictures, such as a list of them, not {kind}; for one picture give a list of one"
            )))
        };
        if value.is_instance_of::<PyString>() || value.is_instance_of::<PyDict>() || is_one_picture(value)? {
            return refused(&format!("one {}", value.get_type().name()?));
        }
        let Ok(iterator) = value.try_iter() else {
            return refused(&value.get_type().name()?.to_string());
        };
        Ok(Pictures { iterator, length: length(value), n_taken: std::cell::Cell::new(0), max_bytes })
    }

    pub(crate) fn py(&self) -> Python<'py> {
        self.iterator.py()
    }

    /// How many there are, where that is known.
    pub(crate) fn length(&self) -> Option<usize> {
        self.length
    }

    /// The next one.
    pub(crate) fn next(&self) -> PyResult<Option<Picture>> {
        // Taking an array may run code of Python's that takes a signal's exception for another and goes on.
        self.py().check_signals()?;
        let Some(value) = self.iterator.clone().next() else { return Ok(None) };
        let position = self.n_taken.replace(self.n_taken.get() + 1);
        picture::of(&value?, self.max_bytes).map(Some).map_err(|error| self.placed(position, error))
    }

    /// The same error with the picture's position, where it is one of its form.
    fn placed(&self, position: usize, error: PyErr) -> PyErr {
        let py = self.py();
        let words = || format!("the picture at position {position}: {}", error.value(py));
        match error.get_type(py) {
            kind if kind.is(py.get_type::<PyTypeError>()) => PyTypeError::new_err(words()),
            kind if kind.is(py.get_type::<PyValueError>()) => PyValueError::new_err(words()),
            _ => error,
        }
    }
}

/// How many an iterable has, where it knows.
pub(crate) fn length(value: &Bound<'_, PyAny>) -> Option<usize> {
    value.len().ok()
}

/// Where pictures wait.
pub(crate) struct Feed(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
    length: Option<usize>,
}

#[derive(Default)]
struct State {
    pictures: VecDeque<Picture>,
    n_bytes: usize,
    n_taken: usize,
    is_over: bool,
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// For `length` pictures, if that is known.
    pub(crate) fn new(length: Option<usize>) -> Feed {
        Feed(Arc::new(Waiting { length, ..Waiting::default() }))
    }

    /// What takes the pictures.
    pub(crate) fn taker(&self) -> Fed {
        Fed(Arc::clone(&self.0))
    }

    /// Takes the picture out of `picture` once there is room for it, unless there is none within `wait`.
    pub(crate) fn offer(&self, picture: &mut Option<Picture>, wait: Duration) {
        let is_full = |state: &mut State| state.pictures.len() >= MOST_WAITING || state.n_bytes >= MOST_BYTES;
        let waited = self.0.changed.wait_timeout_while(self.0.state(), wait, is_full);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return;
        }
        if let Some(picture) = picture.take() {
            state.n_bytes += picture.n_bytes();
            state.pictures.push_back(picture);
            self.0.changed.notify_all();
        }
    }

    /// There are no more.
    pub(crate) fn end(&self) {
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

/// The pictures as they come, on whichever thread wants them.
pub(crate) struct Fed(Arc<Waiting>);

impl Iterator for Fed {
    type Item = Picture;

    fn next(&mut self) -> Option<Picture> {
        let is_empty = |state: &mut State| state.pictures.is_empty() && !state.is_over;
        let waited = self.0.changed.wait_while(self.0.state(), is_empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let picture = state.pictures.pop_front()?;
        state.n_bytes -= picture.n_bytes();
        state.n_taken += 1;
        self.0.changed.notify_all();
        Some(picture)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n_taken = self.0.state().n_taken;
        let rest = self.0.length.map(|length| length.saturating_sub(n_taken));
        (0, rest)
    }
}
