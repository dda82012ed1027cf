//! The retriever: a gallery, its model and its index in one; a sketch in, matches out.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sketchfind_core::Error as CoreError;
use sketchfind_core::card::Card;
use sketchfind_core::frame;
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_index::{ExactIndex, Index, Matrix};

use crate::pool::Pool;
use crate::{
    Access, Costs, Embedder, EmbedderOptions, Filter, Framing, Gallery, Match, Photo, Result, SearchOptions,
    Snapshot,
};

/// How a gallery is opened together with its model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetrieverOptions {
    /// How the model is run. Without a number of threads the cores are shared out between the sessions.
    pub embedder: EmbedderOptions,
    /// How many images may be in the model at a time, 1 to 256. Each session holds the model's weights; more sessions
    /// serve more callers at once, each slower.
    pub sessions: usize,
    /// Whether photos may be added and removed.
    pub access: Access,
    /// How the drawings of queries are framed.
    pub framing: Framing,
}

/// One session on the processor, for reading.
impl Default for RetrieverOptions {
    fn default() -> Self {
        RetrieverOptions::cpu()
    }
}

impl RetrieverOptions {
    /// One session with all cores, for reading.
    pub fn new(embedder: EmbedderOptions) -> RetrieverOptions {
        RetrieverOptions { embedder, sessions: 1, access: Access::Read, framing: Framing::Card }
    }

    /// One session on the processor, for reading.
    pub fn cpu() -> RetrieverOptions {
        RetrieverOptions::new(EmbedderOptions::cpu())
    }

    /// The same with `sessions` sessions.
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> RetrieverOptions {
        self.sessions = sessions;
        self
    }

    /// The same with drawings framed otherwise.
    #[must_use]
    pub fn with_framing(mut self, framing: Framing) -> RetrieverOptions {
        self.framing = framing;
        self
    }

    /// The same, for writing.
    #[must_use]
    pub fn writable(mut self) -> RetrieverOptions {
        self.access = Access::Write;
        self
    }

    /// The same, for writing by turns with others ([`Access::Turns`]).
    #[must_use]
    pub fn by_turns(mut self) -> RetrieverOptions {
        self.access = Access::Turns;
        self
    }
}

impl From<EmbedderOptions> for RetrieverOptions {
    fn from(embedder: EmbedderOptions) -> RetrieverOptions {
        RetrieverOptions::new(embedder)
    }
}

/// Finds the photos of a gallery that match a sketch, and changes the gallery. Threads share one: every method takes
/// `&self`, searches never wait for a writer, and each sees the gallery whole, as it was before or after a change.
///
/// ```
/// use std::path::Path;
/// use sketchfind_core::image::{DecodeLimits, Image};
/// use sketchfind::{Filter, Gallery, GalleryOptions, Photo, Retriever, RetrieverOptions};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("gallery");
/// let model = Path::new("tests/fixtures/mean8"); // a tiny model: the mean of each colour channel
/// Gallery::create_empty(&path, model, &GalleryOptions::exact("docs 1.0"))?;
///
/// let retriever = Retriever::open(&path, RetrieverOptions::cpu().with_sessions(2).writable())?;
/// let red = Image::new(1, 1, vec![255, 0, 0])?;
/// let blue = Image::new(1, 1, vec![0, 0, 255])?;
/// retriever.add(Photo::new("red").with_labels(["warm"]), &red)?;
/// retriever.add(Photo::new("blue").with_labels(["cold"]).with_source("shop/blue.jpg"), &blue)?;
/// // From here on both survive a crash.
///
/// let matches = retriever.query(&red, 2)?;
/// assert_eq!((matches[0].id.as_str(), matches[0].rank, matches[0].distance), ("red", 1, 0.0));
/// let cold = Filter::everything().any_label(["cold"]);
/// assert_eq!(retriever.query_filtered(&red, 2, &cold)?[0].id, "blue");
///
/// assert_eq!(retriever.remove(&["red", "never there"])?, 1);
/// assert_eq!(retriever.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Retriever {
    gallery: Gallery,
    card: Card,
    pool: Pool,
    /// The share of its page that a drawing is made to fill.
    share: Option<f32>,
}

impl std::fmt::Debug for Retriever {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retriever")
            .field("gallery", &self.gallery)
            .field("sessions", &self.pool.len())
            .finish_non_exhaustive()
    }
}

impl Retriever {
    /// Opens the gallery at `path`, builds its index and opens the model inside it. `options` may be
    /// [`EmbedderOptions`] alone.
    ///
    /// # Errors
    /// Those of [`Gallery::open_with`] and [`Embedder::open`]; [`Error::NoModel`](crate::Error::NoModel) where the gallery
    /// has none; [`Error::Core`](crate::Error::Core) where an option is out of range.
    pub fn open(path: impl AsRef<Path>, options: impl Into<RetrieverOptions>) -> Result<Retriever> {
        let options = options.into();
        if !(1..=256).contains(&options.sessions) {
            let (value, expected) = (options.sessions.to_string(), "1 to 256".to_owned());
            return Err(CoreError::OutOfRange { what: "sessions", value, expected }.into());
        }
        let mut embedder = options.embedder;
        if options.sessions > 1 && embedder.n_threads.is_none() {
            let n_cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            embedder.n_threads = Some((n_cores / options.sessions).max(1));
        }
        let gallery = Gallery::open_with(path, options.access)?;
        let (Some(model), Some(card)) = (gallery.model_dir(), gallery.card().cloned()) else {
            return Err(crate::Error::NoModel { path: gallery.path().to_owned() });
        };
        // Opening the gallery has checked the model.
        let session = |_| Embedder::of_card(&model, card.clone(), embedder.clone());
        let embedders = (0..options.sessions).map(session);
        let pool = Pool::new(embedders.collect::<Result<_>>()?);
        let share = options.framing.share(card.frame)?;
        Ok(Retriever { gallery, card, pool, share })
    }

    /// The gallery.
    pub fn gallery(&self) -> &Gallery {
        &self.gallery
    }

    /// The model's card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// All photos as they are now, for several questions about one state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.gallery.snapshot()
    }

    /// Sees what another process has written since; whether there was anything.
    ///
    /// # Errors
    /// Those of [`Gallery::refresh`].
    pub fn refresh(&self) -> Result<bool> {
        self.gallery.refresh()
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.gallery.len()
    }

    /// Whether there is no photo.
    pub fn is_empty(&self) -> bool {
        self.gallery.is_empty()
    }

    /// What the gallery knows of the photo `id`: its labels, where its file is.
    pub fn photo(&self, id: &str) -> Option<Photo> {
        self.snapshot().photo(id).cloned()
    }

    /// Runs `work` with one of the sessions, once one is idle: to embed files, for example.
    pub fn with_embedder<T>(&self, work: impl FnOnce(&mut Embedder) -> T) -> T {
        self.pool.with(work)
    }

    /// The embeddings of `images` by the gallery's model, in their order.
    ///
    /// # Shapes
    /// `images`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`].
    pub fn embed(&self, images: &[Image]) -> Result<Vec<f32>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        self.pool.with(|embedder| embedder.embed(images))
    }

    /// The share of its page that a drawing is made to fill; nothing where drawings stay as they are.
    pub fn sketch_share(&self) -> Option<f32> {
        self.share
    }

    /// A drawing as the model was trained with drawings ([`frame::sketch`]), or as it is, by [`RetrieverOptions::framing`].
    ///
    /// # Errors
    /// [`CoreError::Blank`] where nothing is drawn; [`CoreError::Image`].
    pub fn framed<'i>(&self, sketch: &'i Image) -> Result<Cow<'i, Image>> {
        Ok(match self.share {
            Some(share) => Cow::Owned(frame::sketch(sketch, share)?),
            None => Cow::Borrowed(sketch),
        })
    }

    /// The embeddings of drawings, framed, in their order.
    ///
    /// # Shapes
    /// `sketches`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Retriever::framed`] and [`Embedder::embed`].
    pub fn embed_sketches(&self, sketches: &[Image]) -> Result<Vec<f32>> {
        let Some(share) = self.share else { return self.embed(sketches) };
        let framed = sketches.iter().map(|sketch| frame::sketch(sketch, share));
        self.embed(&framed.collect::<sketchfind_core::Result<Vec<_>>>()?)
    }

    /// The `k` photos that match `sketch` best, or all where there are fewer; best first.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`].
    pub fn query(&self, sketch: &Image, k: usize) -> Result<Vec<Match>> {
        self.query_filtered(sketch, k, &Filter::everything())
    }

    /// The `k` photos that match `sketch` best among those that pass `filter`: exactly these, however few pass.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`].
    pub fn query_filtered(&self, sketch: &Image, k: usize, filter: &Filter) -> Result<Vec<Match>> {
        self.query_with(sketch, k, filter, SearchOptions::default())
    }

    /// [`Retriever::query_filtered`], searched as `options` say.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`] and [`SearchOptions::check`].
    pub fn query_with(
        &self,
        sketch: &Image,
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Match>> {
        options.check()?;
        let embedding = self.embed_sketches(std::slice::from_ref(sketch))?;
        self.snapshot().search_with(&embedding, k, filter, options)
    }

    /// For each of `sketches` what [`Retriever::query_filtered`] gives, all from one snapshot.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`].
    pub fn query_batch(&self, sketches: &[Image], k: usize, filter: &Filter) -> Result<Vec<Vec<Match>>> {
        let embeddings = self.embed_sketches(sketches)?;
        self.snapshot().search_batch(&embeddings, k, filter)
    }

    /// The embeddings of photos as the gallery takes them: framed, where it frames photos.
    ///
    /// # Shapes
    /// `images`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// [`CoreError::Image`]; those of [`Embedder::embed`].
    pub fn embed_photos(&self, images: &[Image]) -> Result<Vec<f32>> {
        match self.gallery.photo_frame() {
            None => self.embed(images),
            Some(of_photos) => {
                let framed = images.iter().map(|image| frame::photo(image, &of_photos));
                self.embed(&framed.collect::<sketchfind_core::Result<Vec<_>>>()?)
            }
        }
    }

    /// The `k` photos nearest to an embedding of the gallery's model among those that pass `filter`.
    ///
    /// # Shapes
    /// `embedding`: `[embedding_width]`.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) where the embedding has another width or is not finite.
    pub fn query_embedding(&self, embedding: &[f32], k: usize, filter: &Filter) -> Result<Vec<Match>> {
        self.snapshot().search(embedding, k, filter)
    }

    /// Adds a photo. When this returns it is found, and survives a crash.
    ///
    /// # Errors
    /// Those of [`Gallery::add`] and [`Embedder::embed`]; the gallery is then unchanged.
    pub fn add(&self, photo: Photo, image: &Image) -> Result<()> {
        self.add_batch(vec![photo], std::slice::from_ref(image))
    }

    /// Adds `photos`, whose pictures are `images`, all or none. Much faster than one after another.
    ///
    /// # Errors
    /// Those of [`Gallery::add`] and [`Embedder::embed`]; the gallery is then unchanged.
    pub fn add_batch(&self, photos: Vec<Photo>, images: &[Image]) -> Result<()> {
        check_counts(&photos, images)?;
        // Looked up before the work; `Gallery::add` decides.
        let snapshot = self.snapshot();
        if let Some(there) = photos.iter().find(|photo| snapshot.photo(photo.id()).is_some()) {
            return Err(crate::Error::PhotoExists { id: there.id().to_owned() });
        }
        photos.iter().try_for_each(Photo::check)?;
        self.gallery.add(photos, self.embed_photos(images)?)
    }

    /// Adds a photo in the place of the one that has its id, where there is one. Labels and a path that `photo` was not given
    /// stay as they are.
    ///
    /// # Errors
    /// Those of [`Gallery::replace`] and [`Embedder::embed`]; the gallery is then unchanged.
    pub fn replace(&self, photo: Photo, image: &Image) -> Result<()> {
        photo.check()?;
        self.gallery.replace(vec![photo], self.embed_photos(std::slice::from_ref(image))?)
    }

    /// Removes the photos of `ids`, all in one step, and returns how many of them were there.
    ///
    /// # Errors
    /// Those of [`Gallery::remove`].
    pub fn remove<S: AsRef<str>>(&self, ids: &[S]) -> Result<usize> {
        self.gallery.remove(ids)
    }

    /// Measures what embedding and exact search cost here and writes it down, so that the index `auto` chooses by it.
    ///
    /// # Errors
    /// Those of [`Gallery::set_costs`] and [`Embedder::embed`].
    pub fn measure_costs(&self) -> Result<Costs> {
        let side = self.card().preprocess.crop;
        let image = Image::new(side, side, vec![127; side as usize * side as usize * 3])?;
        let embedding_us = median_us(|| self.embed(std::slice::from_ref(&image)).map(drop))?;
        let width = self.snapshot().width();
        // Larger than what a processor keeps at hand, as a gallery is for which the choice matters.
        const N_NUMBERS: usize = 1 << 25;
        let mut stream = Stream::new(0, "costs", &[]);
        let values = (0..(N_NUMBERS / width).max(1) * width).map(|_| stream.unit() as f32);
        let matrix = Matrix::new(width, values.collect())?;
        let n_numbers = matrix.values().len() as u64;
        let query = matrix.row(0).unwrap_or_default().to_vec();
        let index = ExactIndex::new(matrix, self.card().distance);
        index.prepare();
        let search_us = median_us(|| Ok(index.search(&query, 10).map(drop)?))?;
        let costs = Costs { embedding_us, exact_numbers_per_us: (n_numbers / search_us).max(1) };
        self.gallery.set_costs(costs)?;
        Ok(costs)
    }

    /// Gives back the space of removed photos and brings the index up to date.
    ///
    /// # Errors
    /// Those of [`Gallery::compact`].
    pub fn compact(&self) -> Result<()> {
        self.gallery.compact()
    }
}

/// The median time of `work` in microseconds, at least 1, of five times after one that does not count.
fn median_us(mut work: impl FnMut() -> Result<()>) -> Result<u64> {
    work()?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        work()?;
        times.push(started.elapsed().as_micros() as u64);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].max(1))
}

fn check_counts(photos: &[Photo], images: &[Image]) -> Result<()> {
    if photos.len() == images.len() {
        return Ok(());
    }
    let (expected, got) = (photos.len().to_string(), images.len().to_string());
    Err(CoreError::Mismatch { what: "images for photos", expected, got }.into())
}
