//! The retriever: a gallery, its model and its index in one; a sketch in, matches out.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sketchfind_core::Error as CoreError;
use sketchfind_core::calibration::{Calibration, N_SCORED, answer_score};
use sketchfind_core::card::Card;
use sketchfind_core::dataset::Modality;
use sketchfind_core::frame;
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_core::strokes::{Raster, Strokes};
use sketchfind_index::{ExactIndex, Index, Matrix, Query};

use crate::embedder::View;
use crate::home::{self, Home, Look};
use crate::keeper::Keeper;
use crate::pool::Pool;
use crate::process;
use crate::{
    Access, Cancel, Costs, Embedder, EmbedderOptions, Error, Filter, Framing, Match, Nothing, Photo, Picture,
    Progress, Result, SearchOptions,
};

/// What pictures are embedded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As they are.
    Picture,
    /// As photos that the gallery takes: framed, where it frames photos.
    Photo,
    /// As drawings that are asked for: framed, by [`RetrieverOptions::framing`].
    Sketch,
}

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
    /// How often to look for what other processes have written to the gallery, on a thread of its own; nothing to look only
    /// where [`Retriever::refresh`] is called. Who is open for [`Access::Write`] has nothing to look for.
    pub follow: Option<Duration>,
    /// Whether graphs that the gallery asks for and has not are built, on a thread of its own; searches are exact meanwhile.
    pub build_graphs: bool,
    /// What gives hits their scores; without it they have none.
    pub calibration: Option<Calibration>,
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
        RetrieverOptions {
            embedder,
            sessions: 1,
            access: Access::Read,
            framing: Framing::Card,
            follow: None,
            build_graphs: true,
            calibration: None,
        }
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

    /// The same, looking every so often, 10 milliseconds to a day, for what other processes have written.
    #[must_use]
    pub fn following(mut self, every: Duration) -> RetrieverOptions {
        self.follow = Some(every);
        self
    }

    /// The same without building graphs: searches are exact where there is none.
    #[must_use]
    pub fn without_building_graphs(mut self) -> RetrieverOptions {
        self.build_graphs = false;
        self
    }

    /// The same with a calibration, by which hits have scores.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> RetrieverOptions {
        self.calibration = Some(calibration);
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

/// What was found for a sketch, and how sure that is.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The photos, best first; of a search by product the best of each product.
    pub matches: Vec<Match>,
    /// The probability that the one that was drawn is among the first
    /// [`N_SCORED`](sketchfind_core::calibration::N_SCORED), which is the sum of their scores; nothing without a calibration.
    pub score: Option<f64>,
    /// Why there is no match, where there is none.
    pub nothing: Option<Nothing>,
    /// The number of photos among which was searched, without a look at the filter.
    pub n_photos: usize,
}

/// Finds the photos of a gallery that match a sketch, and changes the gallery. Threads share one: every method takes
/// `&self`, searches never wait for a writer, and each sees the gallery whole, as it was before or after a change.
///
/// A retriever belongs to the process that opened it. In a child that was made by fork its calls are
/// [`Error::Forked`]: a server that forks opens it in each worker.
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
/// assert_eq!(retriever.len()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Retriever {
    // Before the gallery, which it uses until it ends.
    keeper: Keeper,
    gallery: Arc<dyn Home>,
    /// Of the gallery, where it has one.
    model: Option<Model>,
    calibration: Option<Calibration>,
}

/// A gallery's model, ready to run.
struct Model {
    pool: Pool,
    /// The share of its page that a drawing is made to fill.
    share: Option<f32>,
}

impl std::fmt::Debug for Retriever {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retriever")
            .field("gallery", &self.gallery)
            .field("sessions", &self.model.as_ref().map_or(0, |model| model.pool.len()))
            .finish_non_exhaustive()
    }
}

impl Retriever {
    /// Opens the gallery at `path` and the model inside it; where it has none, it is asked and filled with embeddings, and
    /// what needs a model is [`Error::NoModel`]. `options` may be [`EmbedderOptions`] alone. A graph that the
    /// gallery asks for and has not is built meanwhile, on a thread of its own: until then searches are exact
    /// ([`Home::n_lacking_graph`] says of how many photos).
    ///
    /// # Errors
    /// Those of [`home::open`] and [`Embedder::open`]; [`Error::Core`] where an option is out of
    /// range, and where the calibration is not of this model and these frames; [`Error::NoModel`] where
    /// there is a calibration and no model.
    pub fn open(path: impl AsRef<Path>, options: impl Into<RetrieverOptions>) -> Result<Retriever> {
        let options = options.into();
        if !(1..=256).contains(&options.sessions) {
            let (value, expected) = (options.sessions.to_string(), "1 to 256".to_owned());
            return Err(CoreError::OutOfRange { what: "sessions", value, expected }.into());
        }
        let often = Duration::from_millis(10)..=Duration::from_secs(86_400);
        if let Some(every) = options.follow.filter(|every| !often.contains(every)) {
            let (value, expected) = (format!("{every:?}"), "10 milliseconds to a day".to_owned());
            return Err(CoreError::OutOfRange { what: "time between two looks", value, expected }.into());
        }
        let gallery = home::open(path, options.access)?;
        let model = Model::of(gallery.as_ref(), options.embedder, options.sessions, options.framing)?;
        if let Some(calibration) = &options.calibration {
            let (card, model) =
                gallery.card().zip(model.as_ref()).ok_or_else(|| no_model(gallery.as_ref()))?;
            calibration.check(card, model.share, gallery.photo_frame())?;
        }
        let follow = options.follow.filter(|_| options.access != Access::Write);
        let keeper = Keeper::new(Arc::clone(&gallery), follow, options.build_graphs)?;
        Ok(Retriever { keeper, gallery, model, calibration: options.calibration })
    }

    /// The gallery.
    pub fn gallery(&self) -> &dyn Home {
        self.gallery.as_ref()
    }

    /// The model's card, where the gallery has a model.
    pub fn card(&self) -> Option<&Card> {
        self.gallery.card()
    }

    fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or_else(|| no_model(self.gallery()))
    }

    /// Refuses what needs a model where there is none, for callers who want to know before there is any work.
    ///
    /// # Errors
    /// [`Error::NoModel`].
    pub fn check_model(&self) -> Result<()> {
        self.model().map(drop)
    }

    /// Checks that this is the process that opened it; whatever may be refused does so itself. For callers who promise that of
    /// what cannot be refused here, such as a look at a snapshot.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child that was made by fork.
    pub fn check_process(&self) -> Result<()> {
        self.gallery.check_process()
    }

    /// All photos as they are now, for several questions about one state.
    pub fn look(&self) -> Arc<dyn Look> {
        self.gallery.look()
    }

    /// Sees what another process has written since; whether there was anything.
    ///
    /// # Errors
    /// Those of [`Home::refresh`].
    pub fn refresh(&self) -> Result<bool> {
        let is_new = self.gallery.refresh()?;
        self.keeper.build_graphs()?;
        Ok(is_new)
    }

    /// What is in the way of [`RetrieverOptions::follow`] and [`RetrieverOptions::build_graphs`], in words; empty where nothing is.
    /// What was read before is searched on, and the next look tries again.
    pub fn troubles(&self) -> Vec<String> {
        self.keeper.troubles()
    }

    /// The number of photos.
    ///
    /// # Errors
    /// [`Error::Database`] where a database does not answer; a folder always does.
    pub fn len(&self) -> Result<usize> {
        self.look().len()
    }

    /// The width of an embedding, D.
    pub fn width(&self) -> usize {
        self.look().width()
    }

    /// Whether there is no photo.
    ///
    /// # Errors
    /// Those of [`Retriever::len`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// What the gallery knows of the photo `id`: its labels, where its file is.
    ///
    /// # Errors
    /// Those of [`Retriever::len`].
    pub fn photo(&self, id: &str) -> Result<Option<Photo>> {
        self.look().photo(id)
    }

    /// Runs `work` with one of the sessions, once one is idle: to embed files, for example.
    ///
    /// # Errors
    /// [`Error::NoModel`].
    pub fn with_embedder<T>(&self, work: impl FnOnce(&mut Embedder) -> T) -> Result<T> {
        Ok(self.model()?.pool.with(work))
    }

    /// The embeddings of `images`, taken as photos, by the gallery's model, in their order.
    ///
    /// # Shapes
    /// `images`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`].
    pub fn embed(&self, images: &[Image]) -> Result<Vec<f32>> {
        self.embed_as(Modality::Photo, images)
    }

    /// The embeddings, one after another, of photos or sketches that are framed already, where they are to be: by the network
    /// that the model has for them.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`]; [`Error::NoModel`].
    pub fn embed_as(&self, modality: Modality, images: &[Image]) -> Result<Vec<f32>> {
        self.gallery.check_process()?;
        let model = self.model()?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        model.pool.with(|embedder| embedder.of(modality).embed(images))
    }

    /// The share of its page that a drawing is made to fill; nothing where drawings stay as they are.
    pub fn sketch_share(&self) -> Option<f32> {
        self.model.as_ref()?.share
    }

    /// The picture of strokes, where the model was trained with drawings to be: they are moved and scaled before they are
    /// drawn, which is sharper than to do so with what is drawn of them.
    ///
    /// # Errors
    /// [`CoreError::OutOfRange`] where the strokes cannot be drawn.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use sketchfind::{Filter, Retriever, RetrieverOptions, Strokes};
    /// let shop = Retriever::open(Path::new("tests/fixtures/gallery-v4"), RetrieverOptions::cpu())?;
    /// let strokes = Strokes::drawn([512.0, 512.0], &[vec![[100.0, 100.0], [400.0, 120.0], [250.0, 400.0]]])?;
    /// let matches = shop.query_filtered(&shop.drawn(&strokes)?, 1, &Filter::everything())?;
    /// assert_eq!(matches.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drawn(&self, strokes: &Strokes) -> Result<Image> {
        Ok(strokes.picture(&Raster::default(), self.sketch_share())?)
    }

    /// A drawing as the model was trained with drawings ([`frame::sketch`]), or as it is, by [`RetrieverOptions::framing`].
    ///
    /// # Errors
    /// [`CoreError::Blank`] where nothing is drawn; [`CoreError::Image`].
    pub fn framed<'i>(&self, sketch: &'i Image) -> Result<Cow<'i, Image>> {
        Ok(match self.sketch_share() {
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
        let Some(share) = self.sketch_share() else { return self.embed_as(Modality::Sketch, sketches) };
        let framed = sketches.iter().map(|sketch| frame::sketch(sketch, share));
        self.embed_as(Modality::Sketch, &framed.collect::<sketchfind_core::Result<Vec<_>>>()?)
    }

    /// What gives hits their scores.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// The `k` photos that match `sketch` best among those that pass `filter`, where it is as likely as `min_score` that the
    /// one that was drawn is among the first ten; else none, and the reason. [`Calibration::min_score`] is what a calibration
    /// proposes. Without `min_score` this is [`Retriever::query_filtered`] with the score and the reason.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`]; [`Error::Core`] where `min_score` is asked for and there is no
    /// calibration, or it is not in 0 to 1.
    pub fn answer(
        &self,
        sketch: &Image,
        k: usize,
        filter: &Filter,
        min_score: Option<f64>,
    ) -> Result<Answer> {
        self.answer_with(sketch, k, filter, SearchOptions::default(), min_score)
    }

    /// [`Retriever::answer`], done as `options` say.
    ///
    /// # Errors
    /// Those of [`Retriever::answer`] and [`SearchOptions::check`].
    pub fn answer_with(
        &self,
        sketch: &Image,
        k: usize,
        filter: &Filter,
        options: SearchOptions,
        min_score: Option<f64>,
    ) -> Result<Answer> {
        let embedding = self.embed_sketches(std::slice::from_ref(sketch))?;
        self.answer_embedding_with(&embedding, k, filter, options, min_score)
    }

    /// [`Retriever::answer`] for an embedding of the gallery's model.
    ///
    /// # Shapes
    /// `embedding`: `[embedding_width]`.
    ///
    /// # Errors
    /// Those of [`Retriever::answer`] and [`Retriever::query_embedding`].
    pub fn answer_embedding(
        &self,
        embedding: &[f32],
        k: usize,
        filter: &Filter,
        min_score: Option<f64>,
    ) -> Result<Answer> {
        self.answer_embedding_with(embedding, k, filter, SearchOptions::default(), min_score)
    }

    /// [`Retriever::answer_embedding`], done as `options` say.
    ///
    /// # Shapes
    /// `embedding`: `[embedding_width]`.
    ///
    /// # Errors
    /// Those of [`Retriever::answer_embedding`] and [`SearchOptions::check`].
    pub fn answer_embedding_with(
        &self,
        embedding: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
        min_score: Option<f64>,
    ) -> Result<Answer> {
        let query = Query::new(embedding, self.width())?;
        Ok(self.answer_each(&[query], k, filter, options, min_score)?.pop().unwrap_or_default())
    }

    /// For each of `embeddings` what [`Retriever::answer_with`] gives, all from one snapshot.
    ///
    /// # Shapes
    /// `embeddings`: `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Retriever::answer_with`] and [`Look::search`].
    pub fn answer_embeddings(
        &self,
        embeddings: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
        min_score: Option<f64>,
    ) -> Result<Vec<Answer>> {
        let queries = Query::each(embeddings, self.width())?;
        self.answer_each(&queries, k, filter, options, min_score)
    }

    fn answer_each(
        &self,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
        min_score: Option<f64>,
    ) -> Result<Vec<Answer>> {
        if let Some(least) = min_score {
            let refused = |value: String, expected: &str| CoreError::OutOfRange {
                what: "min_score",
                value,
                expected: expected.to_owned(),
            };
            if self.calibration.is_none() {
                return Err(refused(least.to_string(), "none, since there is no calibration").into());
            }
            if !(0.0..=1.0).contains(&least) {
                return Err(refused(least.to_string(), "0 to 1").into());
            }
        }
        let look = self.look();
        let mut answers = self.scored_each(look.as_ref(), queries, k, filter, options)?;
        let n_photos = look.len()?;
        // The same for all of them: it is the filter's affair.
        let mut why_nothing = None;
        for answer in &mut answers {
            answer.n_photos = n_photos;
            answer.nothing = match (min_score, answer.score) {
                (Some(min_score), Some(score)) if !answer.matches.is_empty() && score < min_score => {
                    answer.matches.clear();
                    Some(Nothing::NoFit { score, min_score })
                }
                _ if answer.matches.is_empty() => {
                    if why_nothing.is_none() {
                        why_nothing = look.why_nothing(filter)?;
                    }
                    why_nothing.clone()
                }
                _ => None,
            };
        }
        Ok(answers)
    }

    /// The `k` nearest of each query, with scores where there is a calibration.
    fn scored_each(
        &self,
        look: &dyn Look,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Answer>> {
        let unscored = |matches| Answer { matches, ..Answer::default() };
        let Some(calibration) = &self.calibration else {
            let found = look.search(queries, k, filter, options)?;
            return Ok(found.into_iter().map(unscored).collect());
        };
        // Scores are of the first few photos, also where fewer are asked for, or products.
        let of_photos = SearchOptions { by_product: false, ..options };
        let n = if options.by_product { N_SCORED } else { k.max(N_SCORED) };
        let photos = look.search(queries, n, filter, of_photos)?;
        let mut answers: Vec<Answer> = photos.into_iter().map(|photos| scored(calibration, photos)).collect();
        if options.by_product {
            let products = look.search(queries, k, filter, options)?;
            for (answer, products) in answers.iter_mut().zip(products) {
                let photos = std::mem::replace(&mut answer.matches, products);
                for product in &mut answer.matches {
                    let own = |photo: &&Match| photo.product_or_photo() == product.product_or_photo();
                    let scores = photos.iter().filter(own).filter_map(|photo| photo.score);
                    // One of its photos was drawn, or another.
                    product.score = scores.reduce(|a, b| a + b);
                }
            }
        }
        answers.iter_mut().for_each(|answer| answer.matches.truncate(k));
        Ok(answers)
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
        Ok(self.answer_embedding_with(&embedding, k, filter, options, None)?.matches)
    }

    /// For each of `sketches` what [`Retriever::query_filtered`] gives, all from one snapshot.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`].
    pub fn query_batch(&self, sketches: &[Image], k: usize, filter: &Filter) -> Result<Vec<Vec<Match>>> {
        self.query_batch_with(sketches, k, filter, SearchOptions::default())
    }

    /// [`Retriever::query_batch`], searched as `options` say.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_sketches`] and [`SearchOptions::check`].
    pub fn query_batch_with(
        &self,
        sketches: &[Image],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        options.check()?;
        let embeddings = self.embed_sketches(sketches)?;
        self.query_embeddings_with(&embeddings, k, filter, options)
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

    /// The embeddings of pictures, in their order: of many in the memory of few, on all of a session's threads. `progress` is
    /// told how many are done so far; `cancel` is asked between batches.
    ///
    /// # Shapes
    /// `pictures`: `[n]` of any sizes; returns `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Embedder::embed_pictures`].
    pub fn embed_pictures(
        &self,
        role: Role,
        pictures: impl Iterator<Item = Picture> + Send,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Vec<f32>> {
        let (modality, view) = match role {
            Role::Picture => (Modality::Photo, View::Whole),
            Role::Photo => (Modality::Photo, self.gallery.photo_frame().map_or(View::Whole, View::Framed)),
            Role::Sketch => (Modality::Sketch, View::Sketch(self.sketch_share())),
        };
        self.gallery.check_process()?;
        self.with_embedder(|embedder| embedder.of(modality).embed_views(view, pictures, progress, cancel))?
    }

    /// For each of `sketches` what [`Retriever::query_filtered`] gives, all from one snapshot; otherwise as
    /// [`Retriever::embed_pictures`].
    ///
    /// # Errors
    /// Those of [`Retriever::embed_pictures`].
    pub fn query_pictures(
        &self,
        sketches: impl Iterator<Item = Picture> + Send,
        k: usize,
        filter: &Filter,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Vec<Vec<Match>>> {
        self.query_pictures_with(sketches, k, filter, SearchOptions::default(), progress, cancel)
    }

    /// [`Retriever::query_pictures`], searched as `options` say.
    ///
    /// # Errors
    /// Those of [`Retriever::embed_pictures`] and [`SearchOptions::check`].
    pub fn query_pictures_with(
        &self,
        sketches: impl Iterator<Item = Picture> + Send,
        k: usize,
        filter: &Filter,
        options: SearchOptions,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Vec<Vec<Match>>> {
        options.check()?;
        let embeddings = self.embed_pictures(Role::Sketch, sketches, progress, cancel)?;
        self.query_embeddings_with(&embeddings, k, filter, options)
    }

    /// Adds `photos`, whose pictures are `pictures`, all or none; otherwise as [`Retriever::embed_pictures`]. With `replace`
    /// they take the places of those that have their ids, as with [`Retriever::replace`].
    ///
    /// # Errors
    /// Those of [`Retriever::add_batch`] and [`Retriever::embed_pictures`]; the gallery is then unchanged.
    pub fn add_pictures(
        &self,
        photos: Vec<Photo>,
        pictures: impl Iterator<Item = Picture> + Send,
        replace: bool,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<()> {
        if !replace {
            self.check_new(&photos)?;
        }
        photos.iter().try_for_each(Photo::check)?;
        // One more shows that there are too many, without embedding the rest.
        let pictures = pictures.take(photos.len() + 1);
        let embeddings = self.embed_pictures(Role::Photo, pictures, progress, cancel)?;
        check_counts(&photos, embeddings.len() / self.width())?;
        if replace { self.gallery.replace(photos, embeddings) } else { self.gallery.add(photos, embeddings) }
    }

    /// Looked up before the work; [`Home::add`] decides.
    fn check_new(&self, photos: &[Photo]) -> Result<()> {
        let ids: Vec<&str> = photos.iter().map(Photo::id).collect();
        match self.look().photos(&ids)?.into_iter().flatten().next() {
            Some(there) => Err(Error::PhotoExists { id: there.id().to_owned() }),
            None => Ok(()),
        }
    }

    /// The `k` photos nearest to an embedding of the gallery's model among those that pass `filter`.
    ///
    /// # Shapes
    /// `embedding`: `[embedding_width]`.
    ///
    /// # Errors
    /// [`Error::Core`] where the embedding has another width or is not finite.
    pub fn query_embedding(&self, embedding: &[f32], k: usize, filter: &Filter) -> Result<Vec<Match>> {
        self.query_embedding_with(embedding, k, filter, SearchOptions::default())
    }

    /// [`Retriever::query_embedding`], searched as `options` say.
    ///
    /// # Shapes
    /// `embedding`: `[embedding_width]`.
    ///
    /// # Errors
    /// Those of [`Retriever::query_embedding`] and [`SearchOptions::check`].
    pub fn query_embedding_with(
        &self,
        embedding: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Match>> {
        Ok(self.answer_embedding_with(embedding, k, filter, options, None)?.matches)
    }

    /// For each of `embeddings` what [`Retriever::query_embedding_with`] gives, all from one snapshot and on all cores.
    ///
    /// # Shapes
    /// `embeddings`: `[n, embedding_width]`, row-major.
    ///
    /// # Errors
    /// Those of [`Retriever::answer_embeddings`].
    pub fn query_embeddings_with(
        &self,
        embeddings: &[f32],
        k: usize,
        filter: &Filter,
        options: SearchOptions,
    ) -> Result<Vec<Vec<Match>>> {
        let answers = self.answer_embeddings(embeddings, k, filter, options, None)?;
        Ok(answers.into_iter().map(|answer| answer.matches).collect())
    }

    /// Adds a photo. When this returns it is found, and survives a crash.
    ///
    /// # Errors
    /// Those of [`Home::add`] and [`Embedder::embed`]; the gallery is then unchanged.
    pub fn add(&self, photo: Photo, image: &Image) -> Result<()> {
        self.add_batch(vec![photo], std::slice::from_ref(image))
    }

    /// Adds `photos`, whose pictures are `images`, all or none. Much faster than one after another.
    ///
    /// # Errors
    /// Those of [`Home::add`] and [`Embedder::embed`]; the gallery is then unchanged.
    pub fn add_batch(&self, photos: Vec<Photo>, images: &[Image]) -> Result<()> {
        check_counts(&photos, images.len())?;
        self.check_new(&photos)?;
        photos.iter().try_for_each(Photo::check)?;
        self.gallery.add(photos, self.embed_photos(images)?)
    }

    /// Adds a photo in the place of the one that has its id, where there is one. Labels and a path that `photo` was not given
    /// stay as they are.
    ///
    /// # Errors
    /// Those of [`Home::replace`] and [`Embedder::embed`]; the gallery is then unchanged.
    pub fn replace(&self, photo: Photo, image: &Image) -> Result<()> {
        photo.check()?;
        self.gallery.replace(vec![photo], self.embed_photos(std::slice::from_ref(image))?)
    }

    /// Removes the photos of `ids`, all in one step, and returns how many of them were there.
    ///
    /// # Errors
    /// Those of [`Home::remove`].
    pub fn remove<S: AsRef<str>>(&self, ids: &[S]) -> Result<usize> {
        self.gallery.remove(&ids.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
    }

    /// Measures what embedding and exact search cost here and writes it down, so that the index `auto` chooses by it.
    ///
    /// # Errors
    /// Those of [`Home::set_costs`] and [`Embedder::embed`].
    pub fn measure_costs(&self) -> Result<Costs> {
        let card = self.card().ok_or_else(|| no_model(self.gallery()))?;
        let side = card.preprocess.crop;
        let image = Image::new(side, side, vec![127; side as usize * side as usize * 3])?;
        let embedding_us = median_us(|| self.embed(std::slice::from_ref(&image)).map(drop))?;
        let width = self.width();
        // Larger than what a processor keeps at hand, as a gallery is for which the choice matters.
        const N_NUMBERS: usize = 1 << 25;
        let mut stream = Stream::new(0, "costs", &[]);
        let values = (0..(N_NUMBERS / width).max(1) * width).map(|_| stream.unit() as f32);
        let matrix = Matrix::new(width, values.collect())?;
        let n_numbers = matrix.values().len() as u64;
        let query = matrix.row(0).unwrap_or_default().to_vec();
        let index = ExactIndex::new(matrix, card.distance);
        process::on_live_threads(|| index.prepare())?;
        let search = || process::on_live_threads(|| index.search(&query, 10).map(drop));
        let search_us = median_us(|| Ok(search()??))?;
        let costs = Costs { embedding_us, exact_numbers_per_us: (n_numbers / search_us).max(1) };
        self.gallery.set_costs(costs)?;
        Ok(costs)
    }

    /// Gives back the space of removed photos and brings the index up to date.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; those of the gallery's kind.
    pub fn compact(&self, progress: Progress<'_>, cancel: Cancel<'_>) -> Result<()> {
        self.gallery.compact(progress, cancel)
    }
}

impl Model {
    /// The model of `gallery`, where it has one, in `sessions` sessions.
    fn of(
        gallery: &dyn Home,
        mut options: EmbedderOptions,
        sessions: usize,
        framing: Framing,
    ) -> Result<Option<Model>> {
        let (Some(folder), Some(card)) = (gallery.model_dir(), gallery.card()) else {
            return Ok(None);
        };
        if sessions > 1 && options.n_threads.is_none() {
            let n_cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            options.n_threads = Some((n_cores / sessions).max(1));
        }
        let share = framing.share(card.frame)?;
        // Opening the gallery has checked the model.
        let session = |_| Embedder::of_card(&folder, card.clone(), options.clone());
        let pool = Pool::new((0..sessions).map(session).collect::<Result<_>>()?);
        Ok(Some(Model { pool, share }))
    }
}

/// Gives the first few of an answer's photos their scores, and the answer its own.
fn scored(calibration: &Calibration, mut matches: Vec<Match>) -> Answer {
    let distances: Vec<f64> = matches.iter().take(N_SCORED).map(|found| found.distance).collect();
    let scores = calibration.map.scores(&distances);
    matches.iter_mut().zip(&scores).for_each(|(found, score)| found.score = Some(*score));
    let score = (!scores.is_empty()).then(|| answer_score(&scores));
    Answer { matches, score, ..Answer::default() }
}

fn no_model(gallery: &dyn Home) -> Error {
    Error::NoModel { path: gallery.place().to_owned() }
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

fn check_counts(photos: &[Photo], n_images: usize) -> Result<()> {
    if photos.len() == n_images {
        return Ok(());
    }
    let n_photos = photos.len();
    let got = if n_images > n_photos { format!("more than {n_photos}") } else { n_images.to_string() };
    let expected = n_photos.to_string();
    Err(CoreError::Mismatch { what: "images for photos", expected, got }.into())
}
