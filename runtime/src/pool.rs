//! A pool of models that run, so that several threads can embed at a time.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::Embedder;

/// Embedders of one model, each lent to one thread at a time.
pub(crate) struct Pool {
    embedders: Vec<Mutex<Embedder>>,
    /// Those that nobody has.
    idle: Mutex<Vec<usize>>,
    returned: Condvar,
}

impl Pool {
    pub(crate) fn new(embedders: Vec<Embedder>) -> Pool {
        let idle = (0..embedders.len()).collect();
        let embedders = embedders.into_iter().map(Mutex::new).collect();
        Pool { embedders, idle: Mutex::new(idle), returned: Condvar::new() }
    }

    /// The number of embedders.
    pub(crate) fn len(&self) -> usize {
        self.embedders.len()
    }

    /// Runs `work` with an embedder, once one is idle.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Embedder) -> T) -> T {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let number = loop {
            match idle.pop() {
                Some(number) => break number,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        // Given back even where `work` panics in a caller's own code.
        let _lent = Lent { pool: self, number };
        // An embedder keeps nothing from one call to the next that a panic could leave half-made.
        work(&mut self.embedders[number].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Lent<'p> {
    pool: &'p Pool,
    number: usize,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        self.pool.returned.notify_one();
    }
}
