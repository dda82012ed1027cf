//! Networks as data: their descriptions, their weights in, ONNX out.
//!
//! A [`Network`](network::Network) is a graph of operations with torchvision's parameter names. The trainer runs
//! it with libtorch, [`onnx`] writes it as ONNX, and both read the same description. [`Weights`](weights::Weights)
//! are named float32 tensors, read from safetensors, PyTorch files and tfjs layers models.
//!
//! **Architecture invariant:** nothing here knows libtorch or ONNX Runtime.

pub mod equalise;
pub mod error;
pub mod fold;
pub mod network;
pub mod onnx;
pub mod quantise;
pub mod weights;

pub use error::{Error, Result};
