//! The embedder: a model that runs.

mod embed;
mod files;
mod graph;
mod input;
mod pictures;
mod pooling;
mod session;
mod stream;
mod view;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sketchfind_core::card::{Card, InputKind, MODEL, SKETCH_MODEL};
use sketchfind_core::dataset::Modality;
use sketchfind_core::image::{DecodeLimits, Image};

pub use files::{BrokenImage, Embedded, OnBroken};
pub use pictures::EmbeddedPhotos;

pub(crate) use stream::{Batch, Done, Job, reason};
pub(crate) use view::View;

use crate::process::{self, Owned};
use crate::{Device, Error, Result};
use input::Input;
use session::Model;

/// How a model is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmbedderOptions {
    /// Where.
    pub device: Device,
    /// Threads for inference, and as many for decoding; `None` for one a core.
    pub n_threads: Option<usize>,
    /// Images that go through the network at once, at least 1. It decides speed and memory, not results.
    pub batch: usize,
    /// What may be spent on decoding one image.
    pub limits: DecodeLimits,
    /// Where ONNX Runtime notes what it ran, on which execution provider and for how long: the beginning of a file's name. `None`,
    /// the usual, for no such notes, which take time and grow with each batch. See [`Embedder::end_profile`].
    pub profile: Option<PathBuf>,
}

/// The processor.
impl Default for EmbedderOptions {
    fn default() -> Self {
        EmbedderOptions::cpu()
    }
}

impl EmbedderOptions {
    /// Options for `device` with a batch that suits it: 4 on the processor, where more gains nothing (a ResNet50 takes as
    /// long for each image alone as for 8, and the maps of a MobileNetV2 no longer fit into a cache), and 64 on a GPU.
    pub fn on(device: Device) -> EmbedderOptions {
        let batch = match device {
            Device::Cpu => 4,
            Device::Cuda(_) => 64,
        };
        EmbedderOptions { device, n_threads: None, batch, limits: DecodeLimits::default(), profile: None }
    }

    /// Options for the processor.
    pub fn cpu() -> EmbedderOptions {
        EmbedderOptions::on(Device::Cpu)
    }

    /// The same with batches of `batch` images.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> EmbedderOptions {
        self.batch = batch;
        self
    }

    /// The same with `n_threads` threads.
    #[must_use]
    pub fn with_threads(mut self, n_threads: usize) -> EmbedderOptions {
        self.n_threads = Some(n_threads);
        self
    }

    /// The same with other limits of decoding.
    #[must_use]
    pub fn with_limits(mut self, limits: DecodeLimits) -> EmbedderOptions {
        self.limits = limits;
        self
    }

    /// The same with notes of what ran where, in a file whose name begins with `prefix`.
    #[must_use]
    pub fn with_profile(mut self, prefix: impl Into<PathBuf>) -> EmbedderOptions {
        self.profile = Some(prefix.into());
        self
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
///
/// In a child process that was made by fork the first call loads the model anew.
///
/// Where a card has a network of its own for sketches, every method but [`Embedder::of`] is of photos.
pub struct Embedder {
    card: Card,
    model: Owned<Model>,
    options: EmbedderOptions,
    n_threads: usize,
    /// Decodes and resizes. A pool of our own: a caller inside rayon's global pool may wait for us in every
    /// one of its threads.
    workers: Owned<Arc<rayon::ThreadPool>>,
    /// The network for sketches, where they have one of their own.
    of_sketches: Option<Box<Embedder>>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("model", &self.model.path())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Embedder {
    /// Opens the model in the folder `model_dir`: `card.json` and `model.onnx`.
    ///
    /// # Errors
    /// [`Error::Core`] with the file where the card or model cannot be read or do not belong together, or an
    /// option is out of range; the errors of [`init`](crate::native::init); [`Error::Device`] where the device cannot be
    /// used; [`Error::Inference`] where ONNX Runtime refuses the model; [`Error::Graph`] where its inputs and
    /// outputs are not those of its card.
    ///
    /// ```
    /// use std::path::Path;
    /// use sketchfind_core::image::Image;
    /// use sketchfind::{Embedder, EmbedderOptions};
    ///
    /// // A tiny model, whose embedding is the mean of each colour channel, scaled to 0..1.
    /// let mut embedder = Embedder::open(Path::new("tests/fixtures/mean8"), EmbedderOptions::cpu())?;
    /// let red = Image::new(1, 1, vec![255, 0, 0])?;
    /// assert_eq!(embedder.embed(&[red])?, [1.0, 0.0, 0.0]);
    /// # Ok::<(), sketchfind::Error>(())
    /// ```
    pub fn open(model_dir: impl AsRef<Path>, options: EmbedderOptions) -> Result<Embedder> {
        let model_dir = model_dir.as_ref();
        Embedder::of_card(model_dir, Card::load_with_model(model_dir)?, options)
    }

    /// [`Embedder::open`] with the model's card, against which the model was checked before.
    pub(crate) fn of_card(model_dir: &Path, card: Card, options: EmbedderOptions) -> Result<Embedder> {
        options.check()?;
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let n_threads = options.n_threads.unwrap_or_else(cores);
        let profile = options.profile.as_deref();
        let model = Model::open(&model_dir.join(MODEL), &card, options.device, n_threads, profile)?;
        let (model, workers) = (Owned::new(model), process::pool(n_threads)?);
        let of_sketches = match card.of_sketches() {
            None => None,
            Some(card) => {
                let mut options = options.clone();
                // The file's name ends with the second that it was begun in, which may be the same for both.
                options.profile = options.profile.map(|mut prefix| {
                    prefix.as_mut_os_string().push("-sketches");
                    prefix
                });
                let (path, profile) = (model_dir.join(SKETCH_MODEL), options.profile.as_deref());
                let model = Model::open(&path, &card, options.device, n_threads, profile)?;
                let (model, workers) = (Owned::new(model), Owned::new(Arc::clone(&workers)));
                Some(Box::new(Embedder { card, model, options, n_threads, workers, of_sketches: None }))
            }
        };
        Ok(Embedder { card, model, options, n_threads, workers: Owned::new(workers), of_sketches })
    }

    /// What embeds pictures of this kind: sketches may have a network of their own.
    pub fn of(&mut self, modality: Modality) -> &mut Embedder {
        match modality {
            Modality::Photo => self,
            Modality::Sketch => match self.of_sketches {
                Some(ref mut of_sketches) => of_sketches,
                None => self,
            },
        }
    }

    /// In a child that was made by fork, loads the model anew: the threads of the parent's session are not there.
    fn be_here(&mut self) -> Result<()> {
        if self.model.is_current() {
            return Ok(());
        }
        let file = self.model.path().to_owned();
        let folder = file.parent().unwrap_or(Path::new(""));
        let there = Card::load_with_model(folder)?;
        let is_of_sketches = file.file_name().is_some_and(|name| name == SKETCH_MODEL);
        let there = if is_of_sketches { there.of_sketches() } else { Some(there) };
        if there.as_ref() != Some(&self.card) {
            let reason = "it was replaced since the parent of this process opened it";
            return Err(sketchfind_core::Error::malformed(&file, reason).into());
        }
        // The parent's notes are the parent's.
        self.options.profile = None;
        self.model = Owned::new(Model::open(&file, &self.card, self.options.device, self.n_threads, None)?);
        self.workers = Owned::new(process::pool(self.n_threads)?);
        Ok(())
    }

    /// The model's card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The options that the model was opened with.
    pub fn options(&self) -> &EmbedderOptions {
        &self.options
    }

    /// Ends the notes that [`EmbedderOptions::profile`] asks for and returns their file: JSON in the format of Chrome's traces. An
    /// event of the category `Node` whose name ends with `_kernel_time` is one run of one operation: its `args` name the
    /// operation (`op_name`) and the execution provider that ran it (`provider`), and it took `dur` microseconds. What lists of files
    /// are embedded by on the processor, sessions of their own, is not in it.
    ///
    /// # Errors
    /// [`Error::Core`] where no notes were asked for, or they were ended before; [`Error::Inference`] where they cannot be written.
    pub fn end_profile(&mut self) -> Result<PathBuf> {
        if self.options.profile.take().is_none() {
            return Err(Error::Core(sketchfind_core::Error::Mismatch {
                what: "EmbedderOptions::profile",
                expected: "the beginning of a file's name".into(),
                got: "None, or a profile that was ended before".into(),
            }));
        }
        self.model.end_profile()
    }

    /// The embeddings of `images`, in their order.
    ///
    /// # Shapes
    /// `images`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// [`Error::Inference`]; [`Error::Core`] where an image cannot be resized or an embedding is not finite.
    pub fn embed(&mut self, images: &[Image]) -> Result<Vec<f32>> {
        self.be_here()?;
        let mut embeddings = Vec::with_capacity(images.len() * self.card.embedding_width);
        for batch in images.chunks(self.options.batch) {
            let (kind, preprocess) = (self.card.onnx.input_kind, &self.card.preprocess);
            let inputs: Vec<Input> = self.workers.install(|| {
                let inputs = batch.par_iter().map(|image| Input::of(kind, preprocess, image));
                inputs.collect::<std::result::Result<_, _>>()
            })?;
            let mut all = Input::empty(kind);
            inputs.iter().for_each(|input| all.append(input));
            self.model.run(&self.card, batch.len(), &all, &mut embeddings)?;
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
    /// [`Error::Core`] where the model takes others, `values` has another length or an embedding is not finite;
    /// [`Error::Inference`].
    pub fn embed_tensors(&mut self, n: usize, values: Vec<f32>) -> Result<Vec<f32>> {
        if self.card.onnx.input_kind != InputKind::Float32Nchw {
            return Err(Error::Core(sketchfind_core::Error::Mismatch {
                what: "inputs of the model",
                expected: format!("pictures ({}), through Embedder::embed", self.card.onnx.input_kind.name()),
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
        self.be_here()?;
        let mut embeddings = Vec::with_capacity(n * self.card.embedding_width);
        for batch in values.chunks(self.options.batch * width) {
            self.model.run(
                &self.card,
                batch.len() / width,
                &Input::Floats(batch.to_vec()),
                &mut embeddings,
            )?;
        }
        Ok(embeddings)
    }
}
