//! One binary, a module per doorway. Fast tests by default; slow ones where SKETCHFIND_SLOW_TESTS is 1.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

/// Batches of queries, and what programs say to terminals.
mod batches;
/// How sure one may be of a hit, and when nothing fits.
mod calibration;
/// Folders that can be moved: that with the program.
#[cfg(target_os = "linux")]
mod dist;
/// The documents: their commands exist, their tutorials run.
#[cfg(unix)]
mod documents;
/// Downloads: layouts become data sets.
mod downloads;
mod draw;
/// Evaluation with all its options, and its page in a browser.
mod evaluation;
/// The example in Rust, outside of the workspace.
#[cfg(unix)]
mod examples;
/// Embeddings and galleries that come and go: lists, copies, files of other programs.
mod exchange;
/// A network's description against its ONNX file.
mod export;
/// Models of other makers.
mod foreign;
/// Files of galleries with right checksums, whatever they hold.
mod forge;
/// Drawings and photos anywhere on their pages, on any ground.
mod framing;
/// Galleries: built, interrupted, changed, asked.
mod galleries;
/// Packs that measure on a GPU, rehearsed without one.
#[cfg(target_os = "linux")]
mod gpu;
/// The folder for programs in C and C++, built against far from the checkout.
#[cfg(target_os = "linux")]
mod library;
/// A server that follows its gallery, and keeps a line.
mod living;
/// How fast the server is, and what it does when too many ask.
mod load;
/// Readers of files from elsewhere, under random damage.
mod mutations;
/// ONNX files of others, and damaged ones.
mod onnx_files;
/// The drawing page in a browser.
mod page;
/// Photographs of known classes through real weights.
mod photographs;
/// The whole way: train, export, verify, index, query, evaluate.
mod pipeline;
/// Galleries in databases.
#[cfg(unix)]
mod postgres;
/// Models in 16 and 8 bits, and models that take pixels.
mod precision;
/// What programs leave behind and whom they talk to: nothing that was not asked for, and nobody.
#[cfg(target_os = "linux")]
mod quiet;
/// What recipes are made of: contrastive training, heads, averages, augmentation, pseudo-sketches.
mod recipe;
/// What each program says of bad input, and with which exit code.
mod refusals;
/// The HTTP API, and clients that mean no good.
mod serve;
/// Studies: methods x seeds x data sets.
mod studies;
/// Training as a process: repeatable, interrupted, resumed.
mod training;
/// What can be done, by which name in each language.
mod verbs;
/// Released models.
mod zoo;
