//! What a server may spend, so that no client can take all of it.

use std::time::Duration;

use crate::{Error, Result};

/// What a server may spend. What goes over is refused: 413, 422, 408, or 503 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request's body.
    pub body: usize,
    /// Pixels of one image, width times height.
    pub pixels: u64,
    /// Points of one drawing, over all strokes.
    pub points: usize,
    /// Photos of one answer.
    pub k: u32,
    /// Time for one request, from its head to its answer.
    pub request: Duration,
    /// Time for a request's head to arrive, and for a quiet connection to stay.
    pub head: Duration,
    /// Connections.
    pub connections: usize,
    /// Requests that are read or answered at once.
    pub requests: usize,
    /// Queries that are computed at once: a few more than cores gain nothing but delay.
    pub queries: usize,
    /// Queries that wait for their turn, and changes of the gallery.
    pub waiting_queries: usize,
    /// How long they wait for it; shorter than `request`.
    pub wait: Duration,
    /// Photos that are read or made small at once.
    pub photos: usize,
    /// Requests for photos that wait for their turn; a page asks for as many as it shows.
    pub waiting_photos: usize,
    /// Bytes of small photos that are kept.
    pub photo_cache: u64,
    /// Bytes of a photo's file that is sent as it is.
    pub photo_file: u64,
    /// Drawings that are kept, each with a photo of some 60 KB that others may share.
    pub drawings: usize,
    /// Time that requests get to finish once the server is asked to stop.
    pub shutdown: Duration,
}

impl Limits {
    /// Limits for a machine of `cores` cores: two queries a core, images of phones (16 megapixels, 8 MiB).
    pub fn for_cores(cores: usize) -> Limits {
        Limits {
            body: 8 << 20,
            pixels: 16_000_000,
            points: 50_000,
            k: 100,
            request: Duration::from_secs(15),
            head: Duration::from_secs(15),
            connections: 512,
            requests: 128,
            queries: 2 * cores.max(1),
            waiting_queries: 64,
            wait: Duration::from_secs(10),
            photos: cores.max(1),
            waiting_photos: 128,
            photo_cache: 64 << 20,
            photo_file: 64 << 20,
            drawings: 10_000,
            shutdown: Duration::from_secs(20),
        }
    }

    /// Checks what may come from a command line.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("body", self.body as u64, 1 << 10, 1 << 30, "1 KiB to 1 GiB"),
            ("pixels", self.pixels, 1, 1 << 28, "1 to 268435456 pixels"),
            ("points", self.points as u64, 1, 1 << 24, "1 to 16777216"),
            ("k", u64::from(self.k), 1, 1000, "1 to 1000"),
            ("connections", self.connections as u64, 1, 1 << 16, "1 to 65536"),
            ("requests", self.requests as u64, 1, 1 << 16, "1 to 65536"),
            ("queries", self.queries as u64, 1, 1 << 12, "1 to 4096"),
            ("waiting_queries", self.waiting_queries as u64, 0, 1 << 16, "0 to 65536"),
            ("photos", self.photos as u64, 1, 1 << 12, "1 to 4096"),
        ];
        match ranges.into_iter().find(|&(_, value, low, high, _)| !(low..=high).contains(&value)) {
            Some((name, value, _, _, expected)) => Err(Error::Limit { name, value, expected }),
            None if self.wait >= self.request => {
                let expected =
                    "less than the seconds of a request: one that waits for longer is not answered";
                Err(Error::Limit { name: "wait", value: self.wait.as_secs(), expected })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_limits() {
        let limits = Limits::for_cores(2);
        limits.check().unwrap();
        let error = Limits { queries: 0, ..limits }.check().unwrap_err();
        assert_eq!(error.to_string(), "the limit queries is 0, expected 1 to 4096");
        let error = Limits { wait: limits.request, ..limits }.check().unwrap_err();
        assert!(error.to_string().starts_with("the limit wait is 15, expected less"), "{error}");
    }
}
