//! Trains sketch-to-photo retrievers with libtorch.
//!
//! [`fit::fit`] reads a checked [`Config`](config::Config), loads a data set into memory
//! ([`data`]), draws seeded batches of triplets ([`batches`]), and updates a network ([`network::TorchNetwork`])
//! step by step ([`step`]), writing metrics and checkpoints as it goes. [`export::export`] turns a run into a
//! model's folder: ONNX, card, probe.
//!
//! **Architecture invariant:** no ONNX Runtime and no index here; what a product ships never links libtorch.

pub mod augment;
pub mod average;
pub mod batches;
pub mod checkpoint;
pub mod config;
pub mod contact_sheet;
pub mod data;
pub mod device;
pub mod embed;
mod error;
pub mod export;
pub mod exported;
pub mod fit;
pub mod gradients;
pub mod initial;
pub mod landscape;
pub mod lines;
pub mod loss;
pub mod memory;
pub mod metrics;
pub mod neighbourhood;
pub mod network;
pub mod network_file;
pub mod optimiser;
pub mod picture;
pub mod run;
pub mod schedule;
pub mod source;
pub mod step;
pub mod study;
pub mod teacher;
pub mod tensorboard;
pub mod validation;
mod within;

pub use error::{Error, Result};
