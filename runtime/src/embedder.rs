//! The embedder: a model that runs.

mod files;
mod graph;
mod input;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::session::Session;
use ort::session::SessionInputValue;
use ort::value::TensorRef;
use rayon::prelude::*;
use sketchfind_core::card::{Card, InputKind, MODEL, Precision};
use sketchfind_core::image::{DecodeLimits, Rgb8Image};

pub use files::{BrokenImage, Embedded, OnBroken};

use crate::{Device, Error, Result, native};
use input::Input;

/// How a model is run.
#[derive(Clone, Debug)]
pub struct EmbedderOptions {
    /// Where.
    pub device: Device,
    /// Threads for inference, and as many for decoding; `None` for one a core.
    pub n_threads: Option<usize>,
    /// Images that go through the network at once, at least 1. It decides speed and memory, not results.
    pub batch: usize,
    /// What may be spent on decoding one image.
    pub limits: DecodeLimits,
}

impl EmbedderOptions {
    /// Options for `device` with a batch that suits it: 8 on the processor, where more gains nothing (a
    /// ResNet50 takes as long for each image alone as for 8), and 64 on a GPU.
    pub fn on(device: Device) -> EmbedderOptions {
        let batch = match device {
            Device::Cpu => 8,
            Device::Cuda(_) => 64,
        };
        EmbedderOptions { device, n_threads: None, batch, limits: DecodeLimits::ORDINARY }
    }

    /// Options for the processor.
    pub fn cpu() -> EmbedderOptions {
        EmbedderOptions::on(Device::Cpu)
    }

    fn check(&self) -> Result<()> {
        let refused = |what, value: usize, expected: &str| {
            let (value, expected) = (value.to_string(), expected.to_owned());
            Err(Error::Core(sketchfind_core::Error::OutOfRange { what, value, expected }))
        };
        if !(1..=4096).contains(&self.batch) {
            return refused("batch", self.batch, "1 to 4096 images");
        }
        match self.n_threads {
            Some(n) if !(1..=1024).contains(&n) => refused("n_threads", n, "1 to 1024"),
            _ => Ok(()),
        }
    }
}

/// A model that runs: images in, embeddings out.
///
/// Preprocessing, names and widths come from the model's card alone. An image's embedding does not depend on
/// the images that share its batch, but for the last bits of a float.
pub struct Embedder {
    card: Card,
    model: PathBuf,
    session: Session,
    options: EmbedderOptions,
    /// Decodes and resizes. A pool of our own: a caller inside rayon's global pool may wait for us in every
    /// one of its threads.
    workers: Arc<rayon::ThreadPool>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("model", &self.model)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Embedder {
    /// Opens the model in the folder `model_dir`: `card.json` and `model.onnx`.
    ///
    /// # Errors
    /// [`Error::Core`] with the file where the card or model cannot be read or do not belong together, or an
    /// option is out of range; the errors of [`native::init`]; [`Error::Device`] where the device cannot be
    /// used; [`Error::Inference`] where ONNX Runtime refuses the model; [`Error::Graph`] where its inputs and
    /// outputs are not those of its card.
    ///
    /// ```
    /// use std::path::Path;
    /// use sketchfind_core::image::Rgb8Image;
    /// use sketchfind_runtime::{Embedder, EmbedderOptions};
    ///
    /// // A tiny model, whose embedding is the mean of each colour channel, scaled to 0..1.
    /// let mut embedder = Embedder::open(Path::new("tests/fixtures/mean8"), EmbedderOptions::cpu())?;
    /// let red = Rgb8Image::new(1, 1, vec![255, 0, 0])?;
    /// assert_eq!(embedder.embed(&[red])?, [1.0, 0.0, 0.0]);
    /// # Ok::<(), sketchfind_runtime::Error>(())
    /// ```
    pub fn open(model_dir: &Path, options: EmbedderOptions) -> Result<Embedder> {
        options.check()?;
        let card = Card::load_with_model(model_dir)?;
        let model = model_dir.join(MODEL);
        let session = open_session(&model, card.onnx.precision, &options)?;
        graph::check(&session, &card, &model)?;
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let n_threads = options.n_threads.unwrap_or_else(cores);
        let workers = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|number| format!("sketchfind-{number}"))
            .build()
            .map_err(|e| Error::Threads { n_threads, reason: e.to_string() })?;
        Ok(Embedder { card, model, session, options, workers: Arc::new(workers) })
    }

    /// The model's card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The options that the model was opened with.
    pub fn options(&self) -> &EmbedderOptions {
        &self.options
    }

    /// The embeddings of `images`, in their order.
    ///
    /// # Shapes
    /// `images`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Inference`]; [`Error::Core`] where an image cannot be resized or an embedding is not finite.
    pub fn embed(&mut self, images: &[Rgb8Image]) -> Result<Vec<f32>> {
        let mut embeddings = Vec::with_capacity(images.len() * self.card.embedding_width);
        for batch in images.chunks(self.options.batch) {
            let (kind, preprocess) = (self.card.onnx.input_kind, &self.card.preprocess);
            let inputs: Vec<Input> = self.workers.install(|| {
                let inputs = batch.par_iter().map(|image| Input::of(kind, preprocess, image));
                inputs.collect::<std::result::Result<_, _>>()
            })?;
            let mut all = Input::empty(kind);
            inputs.iter().for_each(|input| all.append(input));
            self.run(batch.len(), &all, &mut embeddings)?;
        }
        Ok(embeddings)
    }

    /// The embeddings of inputs that are preprocessed already, for a model that takes such inputs
    /// ([`InputKind::Float32Nchw`]).
    ///
    /// # Shapes
    /// `values`: `[n, 3, crop, crop]`, row-major; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Core`] where the model takes pixels, `values` has another length or an embedding is not finite;
    /// [`Error::Inference`].
    pub fn embed_tensors(&mut self, n: usize, values: Vec<f32>) -> Result<Vec<f32>> {
        if self.card.onnx.input_kind != InputKind::Float32Nchw {
            return Err(Error::Core(sketchfind_core::Error::Mismatch {
                what: "inputs of the model",
                expected: format!("pixels ({}), through Embedder::embed", self.card.onnx.input_kind.name()),
                got: "preprocessed tensors".into(),
            }));
        }
        let width = self.card.preprocess.tensor_len();
        if Some(values.len()) != n.checked_mul(width) {
            return Err(Error::Core(sketchfind_core::Error::Mismatch {
                what: "values of input tensors",
                expected: format!("{n} x {width}"),
                got: values.len().to_string(),
            }));
        }
        let mut embeddings = Vec::with_capacity(n * self.card.embedding_width);
        for batch in values.chunks(self.options.batch * width) {
            self.run(batch.len() / width, &Input::Floats(batch.to_vec()), &mut embeddings)?;
        }
        Ok(embeddings)
    }

    /// Runs one batch and appends its embeddings, checked.
    ///
    /// # Shapes
    /// `input`: n images as the card's input kind has them; appends `[n, embedding_width]`.
    fn run(&mut self, n: usize, input: &Input, embeddings: &mut Vec<f32>) -> Result<()> {
        let width = self.card.embedding_width;
        let failed = |reason: String| Error::Inference { action: "run", path: self.model.clone(), reason };
        native::forget_messages();
        let shape = input::shape(&self.card, n);
        let input: SessionInputValue<'_> = match input {
            Input::Floats(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),
            Input::Pixels(values) => TensorRef::from_array_view((shape, values.as_slice())).map(Into::into),
        }
        .map_err(|e: ort::Error| failed(native::explain(&e)))?;
        let outputs = self
            .session
            .run(ort::inputs![self.card.onnx.input.as_str() => input])
            .map_err(|e| failed(native::explain(&e)))?;
        let output = outputs
            .get(&self.card.onnx.output)
            .ok_or_else(|| failed(format!("it gave no output '{}'", self.card.onnx.output)))?;
        let (shape, rows) = output.try_extract_tensor::<f32>().map_err(|e| failed(e.to_string()))?;
        // A graph may leave dimensions open, so that only its outputs show them.
        if shape.len() != 2 || shape[0] != n as i64 || shape[1] != width as i64 {
            return Err(Error::Graph {
                path: self.model.clone(),
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

fn open_session(model: &Path, precision: Precision, options: &EmbedderOptions) -> Result<Session> {
    let (environment, library) = native::environment()?;
    let providers = options.device.providers(library)?;
    native::forget_messages();
    let on_device = |e: &dyn std::fmt::Display| Error::Device {
        device: options.device.to_string(),
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
    if precision == Precision::Int8 {
        // Processors without VNNI multiply bytes in pairs whose 16-bit sum saturates; this asks for exact kernels there
        // and changes nothing on the others.
        builder = builder.with_config_entry("session.x64quantprecision", "1").map_err(|e| on_load(&e))?;
    }
    if !providers.is_empty() {
        builder = builder.with_execution_providers(providers).map_err(|e| on_device(&e))?;
    }
    if let Some(n_threads) = options.n_threads {
        builder = builder.with_intra_threads(n_threads).map_err(|e| on_load(&e))?;
    }
    builder.commit_from_file(model).map_err(|e| on_load(&e))
}
