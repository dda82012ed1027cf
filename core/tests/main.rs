//! Tests of the two doors that data comes in by.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

mod datasets;
mod images;
