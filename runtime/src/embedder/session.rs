//! A session of ONNX Runtime: a model that is loaded and takes one batch at a time.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use half::f16;
use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef};
use sketchfind_core::card::{Card, Precision};

use super::input::{self, Input};
use super::{graph, pooling};
use crate::{Device, Error, Result, native};

/// A model's graph, loaded.
pub(super) struct Model {
    path: PathBuf,
    session: Session,
}

impl Model {
    /// Loads the graph at `path` for `n_threads` threads and holds it against its card. With `profile` it notes what it runs.
    ///
    /// # Errors
    /// Those of [`Embedder::open`](super::Embedder::open).
    pub(super) fn open(
        path: &Path,
        card: &Card,
        device: Device,
        n_threads: usize,
        profile: Option<&Path>,
    ) -> Result<Model> {
        let session = open_session(path, card.onnx.precision, device, n_threads, profile)?;
        graph::check(&session, card, path)?;
        Ok(Model { path: path.to_owned(), session })
    }

    /// Ends the notes of what ran and returns their file.
    ///
    /// # Errors
    /// [`Error::Inference`].
    pub(super) fn end_profile(&mut self) -> Result<PathBuf> {
        let file = self.session.end_profiling().map_err(|e| Error::Inference {
            action: "end the profile of",
            path: self.path.clone(),
            reason: e.to_string(),
        })?;
        Ok(PathBuf::from(file))
    }

    /// The graph's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs images and appends their embeddings, checked: at once, or as many at a time as the graph takes, the last of
    /// these filled up.
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
        let Some(at_once) = card.onnx.batch.filter(|&at_once| at_once != n) else {
            return self.run_once(card, n, n, input, embeddings);
        };
        let n_values = card.preprocess.tensor_len();
        for start in (0..n).step_by(at_once) {
            let part = input.part(start * n_values, at_once * n_values);
            self.run_once(card, at_once, at_once.min(n - start), &part, embeddings)?;
        }
        Ok(())
    }

    /// One run of `n` images, of which the first `n_wanted` are somebody's.
    fn run_once(
        &mut self,
        card: &Card,
        n: usize,
        n_wanted: usize,
        input: &Input,
        embeddings: &mut Vec<f32>,
    ) -> Result<()> {
        let width = card.embedding_width;
        let failed = |reason: String| Error::Inference { action: "run", path: self.path.clone(), reason };
        native::forget_messages();
        let shape = input::shape(card, n);
        let input: SessionInputValue<'_> = match input {
            Input::Floats(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),
            Input::Halves(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),
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
        let (shape, values) = match output.dtype().tensor_type() {
            Some(TensorElementType::Float16) => {
                let (shape, halves) =
                    output.try_extract_tensor::<f16>().map_err(|e| failed(e.to_string()))?;
                (shape, halves.iter().map(|half| half.to_f32()).collect::<Cow<'_, [f32]>>())
            }
            _ => {
                let (shape, floats) =
                    output.try_extract_tensor::<f32>().map_err(|e| failed(e.to_string()))?;
                (shape, Cow::Borrowed(floats))
            }
        };
        let start = embeddings.len();
        // A graph may leave dimensions open, so that only its outputs show them.
        let sizes: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        let is_batch = sizes.first() == Some(&n);
        if !is_batch || pooling::append(card, &sizes, &values, n_wanted, embeddings).is_none() {
            return Err(Error::Graph {
                path: self.path.clone(),
                what: "the output's shape",
                expected: graph::output_in_words(card, &n.to_string()),
                got: format!("{sizes:?}"),
            });
        }
        if let Some(position) = embeddings[start..].iter().position(|value| !value.is_finite()) {
            let value = f64::from(embeddings[start + position]);
            let row = (start + position) / width;
            return Err(sketchfind_core::Error::NotFinite { what: "the network's output", row, value }.into());
        }
        Ok(())
    }
}

fn open_session(
    model: &Path,
    precision: Precision,
    device: Device,
    n_threads: usize,
    profile: Option<&Path>,
) -> Result<Session> {
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
    if let Some(prefix) = profile {
        builder = builder.with_profiling(prefix).map_err(|e| on_load(&e))?;
    }
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
