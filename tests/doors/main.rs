//! One binary, a module per doorway. Fast tests by default; slow ones where SKETCHFIND_SLOW_TESTS is 1.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

/// Downloads: layouts become data sets.
mod downloads;
/// A network's description against its ONNX file.
mod export;
/// Galleries: built, interrupted, changed, asked.
mod galleries;
/// Readers of files from elsewhere, under random damage.
mod mutations;
/// Photographs of known classes through real weights.
mod photographs;
/// The whole way: train, export, verify, index, query, evaluate.
mod pipeline;
/// Models in 16 and 8 bits, and models that take pixels.
mod precision;
/// What each program says of bad input, and with which exit code.
mod refusals;
/// Studies: methods x seeds x data sets.
mod studies;
/// Training as a process: repeatable, interrupted, resumed.
mod training;
