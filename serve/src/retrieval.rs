//! The gallery as the routes see it: a thin layer over the runtime.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use sketchfind::home::is_address;
use sketchfind::{Access, Answer, Error, Filter, Photo, Retriever, RetrieverOptions, SearchOptions};
use sketchfind_core::dataset::Modality;
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_core::{atomic, fingerprint};

use crate::gate::Abandoned;
use crate::problem::Problem;

/// An open gallery with its model.
pub(crate) struct Retrieval {
    retriever: Retriever,
    /// Where the files of photos that clients add are kept.
    added: PathBuf,
    /// Of the order in which photos are drawn from memory.
    seed: u64,
    /// Held by the one who changes the gallery and the files beside it.
    changing: Mutex<()>,
}

/// What is asked besides the picture.
pub(crate) struct Question {
    pub(crate) k: usize,
    pub(crate) filter: Filter,
    pub(crate) by_product: bool,
    /// The least score of an answer; nothing fits below it.
    pub(crate) min_score: Option<f64>,
}

/// What was found, and how long it took.
pub(crate) struct Found {
    pub(crate) answer: Answer,
    pub(crate) embedding: Duration,
    pub(crate) searching: Duration,
}

impl Retrieval {
    /// Opens the gallery at `path`, for changes too where `access` says so, and embeds a white picture, so that the first
    /// client does not wait for what a model does once.
    pub(crate) fn open(path: &Path, options: RetrieverOptions) -> sketchfind::Result<Retrieval> {
        let retriever = Retriever::open(path, options)?;
        let white = Image::new(1, 1, vec![255; 3])?;
        retriever.embed(&[white])?;
        // Absolute, since the gallery will hold the paths of its photos, and be opened from elsewhere. Beside one in a database
        // there is no folder, and clients change nothing.
        let whole = if is_address(path) {
            PathBuf::new()
        } else {
            std::path::absolute(path).map_err(sketchfind_core::Error::io("read", path))?
        };
        let mut name = whole.file_name().unwrap_or_default().to_owned();
        name.push(".photos");
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Retrieval { retriever, added: whole.with_file_name(name), seed, changing: Mutex::new(()) })
    }

    /// Sees what others have written to the gallery since; whether there was anything.
    ///
    /// # Errors
    /// Those of [`Retriever::refresh`].
    pub(crate) fn refresh(&self) -> sketchfind::Result<bool> {
        self.retriever.refresh()
    }

    /// The number of photos that are searched one by one, because their graph is being built.
    pub(crate) fn n_lacking_graph(&self) -> usize {
        self.retriever.gallery().n_lacking_graph()
    }

    /// What is in the way of building it, in words.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.retriever.troubles()
    }

    /// The number of photos.
    ///
    /// # Errors
    /// Those of [`Retriever::len`].
    pub(crate) fn len(&self) -> sketchfind::Result<usize> {
        self.retriever.len()
    }

    /// The share of its page that a drawing is made to fill.
    pub(crate) fn sketch_share(&self) -> Option<f32> {
        self.retriever.sketch_share()
    }

    /// The model's name.
    pub(crate) fn model(&self) -> &str {
        // There is one, or it would not have been opened.
        self.retriever.card().map_or("", |card| &card.name)
    }

    /// The model's distance.
    pub(crate) fn distance(&self) -> String {
        self.retriever.gallery().space().distance.to_string()
    }

    /// Whether the gallery may be changed.
    pub(crate) fn is_changeable(&self) -> bool {
        self.retriever.gallery().access() != Access::Read
    }

    /// The `most` labels that most photos have, with how many have them.
    pub(crate) fn labels(&self, most: usize) -> Result<Vec<(String, usize)>, Problem> {
        self.retriever.look().labels(most).map_err(|error| problem(&error))
    }

    /// Whether hits have scores.
    pub(crate) fn has_scores(&self) -> bool {
        self.retriever.calibration().is_some()
    }

    /// The photos that match `image` best, or the products.
    pub(crate) fn find(
        &self,
        image: &Image,
        question: &Question,
        abandoned: &Abandoned,
    ) -> Result<Found, Problem> {
        let Question { k, filter, by_product, min_score } = question;
        if min_score.is_some() && !self.has_scores() {
            return Err(no_scores(
                "the server was started without a calibration, so that there is no score to ask for",
            ));
        }
        let failed = |error: Error| problem(&error);
        let started = Instant::now();
        let framed = self.framed(image)?;
        let embedding = self.retriever.with_embedder(|embedder| {
            // A session may have been waited for.
            abandoned.check()?;
            embedder.of(Modality::Sketch).embed(std::slice::from_ref(framed.as_ref())).map_err(failed)
        });
        let embedding = embedding.map_err(failed)??;
        let embedded = Instant::now();
        let mut options = SearchOptions::default();
        options.by_product = *by_product;
        // One state of the gallery for the whole answer, whatever others write meanwhile.
        let answers = self.retriever.answer_embeddings(&embedding, *k, filter, options, *min_score);
        Ok(Found {
            answer: answers.map_err(failed)?.pop().unwrap_or_default(),
            embedding: embedded - started,
            searching: embedded.elapsed(),
        })
    }

    /// A drawing as the model is given it.
    pub(crate) fn framed<'i>(&self, image: &'i Image) -> Result<Cow<'i, Image>, Problem> {
        self.retriever.framed(image).map_err(|error| match error {
            Error::Core(blank @ sketchfind_core::Error::Blank { .. }) => {
                Problem::unusable("blank", blank.to_string())
            }
            error => Problem::internal(&error),
        })
    }

    /// The `n`th photo with a file, in an order of chance that begins anew after the last.
    pub(crate) fn photo_to_draw(&self, n: u64) -> Result<Option<Photo>, Problem> {
        let mut photos: Vec<Photo> = Vec::new();
        let gathered = self.retriever.look().each_photo(&mut |photo| {
            photos.extend(photo.source().is_some().then(|| photo.clone()));
            Ok(())
        });
        gathered.map_err(|error| problem(&error))?;
        Stream::new(self.seed, "photos to draw", &[]).shuffle(&mut photos);
        let place = n.checked_rem(photos.len() as u64).and_then(|place| usize::try_from(place).ok());
        Ok(place.map(|place| photos.swap_remove(place)))
    }

    /// The photos that are most like the photo `id`, itself among them, or the products. Hits have no score: what a calibration
    /// says is said of drawings.
    pub(crate) fn find_like(&self, id: &str, question: &Question) -> Result<Found, Problem> {
        let Question { k, filter, by_product, min_score } = question;
        if min_score.is_some() {
            return Err(no_scores("scores are of drawings, and there are none for a photo of the gallery"));
        }
        let started = Instant::now();
        // One state of the gallery for the photo and the answer.
        let look = self.retriever.look();
        let failed = |error: Error| problem(&error);
        let embedding = look.embedding(id).map_err(failed)?.ok_or_else(Problem::no_photo)?;
        let mut options = SearchOptions::default();
        options.by_product = *by_product;
        let found = look.search_values(&embedding, *k, filter, options).map_err(failed)?;
        let mut answer = Answer::default();
        answer.matches = found.into_iter().next().unwrap_or_default();
        answer.n_photos = look.len().map_err(failed)?;
        if answer.matches.is_empty() {
            answer.nothing = look.why_nothing(filter).map_err(failed)?;
        }
        Ok(Found { answer, embedding: Duration::ZERO, searching: started.elapsed() })
    }

    /// What the gallery knows of a photo.
    pub(crate) fn photo(&self, id: &str) -> Result<Option<Photo>, Problem> {
        self.retriever.photo(id).map_err(|error| problem(&error))
    }

    /// Adds a photo or replaces the one with its id, which keeps its labels and its product where there are none given; `bytes`
    /// is its file. Whether it is new.
    pub(crate) fn put(
        &self,
        id: &str,
        labels: Option<&[String]>,
        product: Option<&str>,
        image: &Image,
        bytes: &[u8],
    ) -> Result<bool, Problem> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.photo(id)?;
        let path = self.added.join(file_name(id, bytes));
        // The file first: a gallery that names a file that is not there yet would be wrong if the machine stopped here.
        std::fs::create_dir_all(&self.added).map_err(|error| Problem::internal(&error))?;
        atomic::write_bytes(&path, bytes).map_err(|error| Problem::internal(&error))?;
        let photo = Photo::new(id).with_source(&path);
        let photo = match labels {
            Some(labels) => photo.with_labels(labels),
            None => photo,
        };
        let photo = match product {
            Some(product) => photo.with_product(product),
            None => photo,
        };
        // Embedded before the turn, which is short.
        let changed = self
            .retriever
            .embed_photos(std::slice::from_ref(image))
            .and_then(|row| in_turn(|| self.retriever.gallery().replace(vec![photo.clone()], row.clone())));
        if let Err(error) = changed {
            if before.as_ref().and_then(Photo::source) != Some(&path) {
                self.discard(&path);
            }
            return Err(match error {
                Error::Core(sketchfind_core::Error::OutOfRange { .. }) => {
                    Problem::unusable("photo", error.to_string())
                }
                other => problem(&other),
            });
        }
        if let Some(old) = before.as_ref().and_then(Photo::source).filter(|old| *old != path) {
            self.discard(old);
        }
        Ok(before.is_none())
    }

    /// Removes a photo, and its file if it is one that was added here. Whether it was there.
    pub(crate) fn remove(&self, id: &str) -> Result<bool, Problem> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.photo(id)?;
        let n_removed = in_turn(|| self.retriever.remove(&[id])).map_err(|error| problem(&error))?;
        if let Some(source) = before.as_ref().and_then(Photo::source) {
            self.discard(source);
        }
        Ok(n_removed > 0)
    }

    /// Removes a file that the server has written; the gallery's other photos are somebody else's.
    fn discard(&self, path: &Path) {
        if path.parent() != Some(self.added.as_path()) {
            return;
        }
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, "a photo's file that is not needed any more cannot be removed");
        }
    }
}

/// A score is asked for where there is none. Lawful in itself: another question, or another server, would be answered.
fn no_scores(detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, "no_scores", detail)
}

/// How long a change waits for the turn of another program, which writes for a moment or for as long as it adds photos.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// Makes a change once it is its turn.
fn in_turn<T>(change: impl Fn() -> sketchfind::Result<T>) -> sketchfind::Result<T> {
    let started = Instant::now();
    loop {
        match change() {
            Err(Error::Locked { .. }) if started.elapsed() < LONGEST_TURN => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// What a client is told of a change that was not made.
fn problem(error: &Error) -> Problem {
    match error {
        Error::Locked { .. } => Problem::locked(),
        // It is being opened anew.
        Error::OtherModel { .. } => Problem::opening(),
        // Asking again may help.
        Error::Database { is_passing: true, .. } => Problem::no_database(error),
        other => Problem::internal(other),
    }
}

/// A name that no other id and no other content has, so that a photo is never overwritten while it is read.
fn file_name(id: &str, bytes: &[u8]) -> String {
    let ending = image::guess_format(bytes).ok().and_then(|format| format.extensions_str().first().copied());
    let (id, content) = (fingerprint::of_bytes(id.as_bytes()), fingerprint::of_bytes(bytes));
    format!("{}-{}.{}", &id[..32], &content[..32], ending.unwrap_or("image"))
}
