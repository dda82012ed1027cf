//! A session of ONNX Runtime: a model that is loaded and takes one batch at a time.

use std::path::{Path, PathBuf};

use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;
use sketchfind_core::card::{Card, Precision};

use super::graph;
use super::input::{self, Input};
use crate::{Device, Error, Result, native};

/// A model's graph, loaded.
pub(super) struct Model {
    path: PathBuf,
    session: Session,
}

impl Model {
    /// Loads the graph at `path` for `n_threads` threads and holds it against its card.
    ///
    /// # Errors
    /// Those of [`Embedder::open`](super::Embedder::open).
    pub(super) fn open(path: &Path, card: &Card, device: Device, n_threads: usize) -> Result<Model> {
        let session = open_session(path, card.onnx.precision, device, n_threads)?;
        graph::check(&session, card, path)?;
        Ok(Model { path: path.to_owned(), session })
    }

    /// The graph's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs one batch and appends its embeddings, checked.
    ///
    /// # Shapes
    /// `input`: n images as the card's input kind has them; appends `[n, embedding_width]`.
    ///
    /// # Errors
    /// [`Error::Inference`]; [`Error::Graph`] where the output has another shape; [`Error::Core`] where it is not finite.
    pub(super) fn run(
        &mut self,
        card: &Card,
        n: usize,
        input: &Input,
        embeddings: &mut Vec<f32>,
    ) -> Result<()> {
        let width = card.embedding_width;
        let failed = |reason: String| Error::Inference { action: "run", path: self.path.clone(), reason };
        native::forget_messages();
        let shape = input::shape(card, n);
        let input: SessionInputValue<'_> = match input {
            Input::Floats(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),
            Input::Pixels(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),
        }
        .map_err(|e: ort::Error| failed(native::explain(&e)))?;
        let outputs = self
            .session
            .run(ort::inputs![card.onnx.input.as_str() => input])
            .map_err(|e| failed(native::explain(&e)))?;
        let output = outputs
            .get(&card.onnx.output)
            .ok_or_else(|| failed(format!("it gave no output '{}'", card.onnx.output)))?;
        let (shape, rows) = output.try_extract_tensor::<f32>().map_err(|e| failed(e.to_string()))?;
        // A graph may leave dimensions open, so that only its outputs show them.
        if shape.len() != 2 || shape[0] != n as i64 || shape[1] != width as i64 {
            return Err(Error::Graph {
                path: self.path.clone(),
                what: "the output's shape",
                expected: format!("[{n}, {width}]"),
                got: format!("{:?}", &shape[..]),
            });
        }
        if let Some(position) = rows.iter().position(|value| !value.is_finite()) {
            let value = f64::from(rows[position]);
            let row = embeddings.len() / width + position / width;
            return Err(sketchfind_core::Error::NotFinite { what: "the network's output", row, value }.into());
        }
        embeddings.extend_from_slice(rows);
        Ok(())
    }
}

fn open_session(model: &Path, precision: Precision, device: Device, n_threads: usize) -> Result<Session> {
    let (environment, library) = native::environment()?;
    let providers = device.providers(library)?;
    native::forget_messages();
    let on_device = |e: &dyn std::fmt::Display| Error::Device {
        device: device.to_string(),
        reason: format!(
            "{}; CUDA, cuBLAS and cuDNN of the versions that ONNX Runtime {} is built for have to be where the \
             system's loader finds them",
            native::explain(e),
            library.version
        ),
    };
    let on_load = |e: &dyn std::fmt::Display| Error::Inference {
        action: "load",
        path: model.to_owned(),
        reason: native::explain(e),
    };
    let mut builder = Session::builder(environment).map_err(|e| on_load(&e))?;
    if precision == Precision::Int8 && !has_byte_products() {
        // Without VNNI bytes are multiplied in pairs whose 16-bit sum saturates; this asks for exact kernels. They are slower,
        // on processors with VNNI too, which do not need them (measured: ResNet50 at 0.38 times the speed).
        builder = builder.with_config_entry("session.x64quantprecision", "1").map_err(|e| on_load(&e))?;
    }
    if !providers.is_empty() {
        builder = builder.with_execution_providers(providers).map_err(|e| on_device(&e))?;
    }
    // Threads that wait for work by spinning would take the cores from those that decode, or from other programs.
    builder = builder.with_config_entry("session.intra_op.allow_spinning", "0").map_err(|e| on_load(&e))?;
    builder = builder.with_intra_threads(n_threads).map_err(|e| on_load(&e))?;
    builder.commit_from_file(model).map_err(|e| on_load(&e))
}

/// Whether the processor adds products of bytes into 32 bits: what ONNX Runtime's ordinary kernels for 8 bits then use.
fn has_byte_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // The entry is about x86 alone.
        true
    }
}
