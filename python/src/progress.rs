//! Who is told how far long work is: a function, or a bar like tqdm's.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

/// Told on the thread that called, and only of what is new.
pub(crate) struct Teller {
    told: usize,
    listener: Listener,
}

enum Listener {
    Nobody,
    /// Called with how many are done and how many there are, or None where nobody knows.
    Function {
        function: Py<PyAny>,
        total: Option<usize>,
    },
    /// Its `update` is called with how many more are done.
    Bar {
        bar: Py<PyAny>,
        /// Whether it is ours to close.
        is_ours: bool,
    },
}

impl Teller {
    /// Nobody is told.
    pub(crate) fn silent() -> Teller {
        Teller { told: 0, listener: Listener::Nobody }
    }

    /// Of an argument `progress` for work on `total` pictures.
    pub(crate) fn of(progress: Option<&Bound<'_, PyAny>>, total: Option<usize>) -> PyResult<Teller> {
        Teller::counting("picture", progress, total)
    }

    /// Of an argument `progress` for work on `total` pieces, each a `unit`.
    pub(crate) fn counting(
        unit: &str,
        progress: Option<&Bound<'_, PyAny>>,
        total: Option<usize>,
    ) -> PyResult<Teller> {
        let listener = match progress {
            None => Listener::Nobody,
            Some(wanted) if wanted.is_instance_of::<PyBool>() => {
                if wanted.extract()? {
                    own_bar(wanted.py(), unit, total)?
                } else {
                    Listener::Nobody
                }
            }
            Some(bar) if bar.hasattr("update")? => {
                Listener::Bar { bar: bar.clone().unbind(), is_ours: false }
            }
            Some(function) if function.is_callable() => {
                Listener::Function { function: function.clone().unbind(), total }
            }
            Some(other) => {
                let kind = other.get_type().name()?;
                return Err(PyTypeError::new_err(format!(
                    "progress is True, a function of how many are done and how many there are, or a bar with update(n), \
                     not {kind}"
                )));
            }
        };
        Ok(Teller { told: 0, listener })
    }

    /// Says how many are done.
    pub(crate) fn tell(&mut self, py: Python<'_>, n_done: usize) -> PyResult<()> {
        let n_new = n_done.saturating_sub(self.told);
        if n_new == 0 {
            return Ok(());
        }
        self.told = n_done;
        match &self.listener {
            Listener::Nobody => {}
            Listener::Function { function, total } => {
                function.call1(py, (n_done, *total))?;
            }
            Listener::Bar { bar, .. } => {
                bar.call_method1(py, "update", (n_new,))?;
            }
        }
        Ok(())
    }

    /// Ends a bar of ours.
    pub(crate) fn close(self, py: Python<'_>) {
        if let Listener::Bar { bar, is_ours: true } = self.listener {
            // A bar that cannot be closed must not hide what the work came to.
            let _ = bar.call_method0(py, "close");
        }
    }
}

fn own_bar(py: Python<'_>, unit: &str, total: Option<usize>) -> PyResult<Listener> {
    let options = PyDict::new(py);
    options.set_item("total", total)?;
    options.set_item("unit", unit)?;
    let bar = py.import("tqdm.auto")?.getattr("tqdm")?.call((), Some(&options))?;
    Ok(Listener::Bar { bar: bar.unbind(), is_ours: true })
}
