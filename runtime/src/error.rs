//! What can go wrong in the runtime; each kind names the file or value and what was expected of it.

#[cfg(feature = "inference")]
use std::ffi::OsString;
use std::path::PathBuf;

#[cfg(feature = "inference")]
use crate::native::{OFF, VARIABLE, told};

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// How to get an ONNX Runtime library, appended to every message that lacks one.
const PROVISION: &str = "run `cargo xtask provision onnxruntime` in a checkout, or set ORT_DYLIB_PATH to the \
                         path of libonnxruntime (the PyPI package onnxruntime holds one under onnxruntime/capi)";

impl From<sketchfind_index::Error> for Error {
    fn from(error: sketchfind_index::Error) -> Error {
        match error {
            sketchfind_index::Error::Core(error) => Error::Core(error),
            sketchfind_index::Error::Cancelled => Error::Cancelled,
            // The kinds of that crate may grow; each says in words what is wrong.
            other => Error::Index(other),
        }
    }
}

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the values and files that `sketchfind-core` defines.
    #[error(transparent)]
    Core(#[from] sketchfind_core::Error),
    /// No ONNX Runtime library was found.
    #[error("found no ONNX Runtime library; looked at: {}. To get one, {PROVISION}", looked_at.join("; "))]
    OrtMissing {
        /// Every place that was looked at, in order.
        looked_at: Vec<String>,
    },
    /// A library was found, but cannot be loaded as ONNX Runtime.
    #[error("cannot load ONNX Runtime from '{}': {reason}. To get another, {PROVISION}", path.display())]
    OrtUnusable {
        /// The library.
        path: PathBuf,
        /// What the loader said, or what the library lacks.
        reason: String,
    },
    /// A library was found, but is older than the version that this crate is built for.
    #[error("found ONNX Runtime {found} at '{}', needs >= {needed}. To get a newer one, {PROVISION}", path.display())]
    OrtTooOld {
        /// The library.
        path: PathBuf,
        /// The version that it calls itself.
        found: String,
        /// The lowest version that works, such as `1.24`.
        needed: String,
    },
    /// The library reports to its maker unless an environment variable forbids it, which is not set and cannot be set beside
    /// other threads.
    #[cfg(feature = "inference")]
    #[error(
        "ONNX Runtime from '{}' would report to its maker and leave files behind: the environment variable {VARIABLE} is \
         {}, expected '{OFF}', and cannot be set any more, because other threads may be reading the environment. Set \
         {VARIABLE}={OFF} before the process starts, or before its first thread does",
        path.display(),
        told(value.as_ref())
    )]
    OrtTelemetry {
        /// The library.
        path: PathBuf,
        /// The variable's value, if it has one.
        value: Option<OsString>,
    },
    /// One process holds one ONNX Runtime, and another one was asked for.
    #[error(
        "ONNX Runtime is already loaded from '{}' in this process; cannot load '{}' as well",
        loaded.display(),
        asked.display()
    )]
    OrtAlreadyLoaded {
        /// The library that is loaded.
        loaded: PathBuf,
        /// The library that was asked for.
        asked: PathBuf,
    },
    /// A device was asked for that cannot be used. There is no silent fall-back to another.
    #[error("the device {device} cannot be used: {reason}")]
    Device {
        /// The device, as [`Device`](crate::Device) is written.
        device: String,
        /// Why, and what to install.
        reason: String,
    },
    /// ONNX Runtime refused to load or run a model.
    #[error("cannot {action} '{}': {reason}", path.display())]
    Inference {
        /// What was tried: `load`, `run`.
        action: &'static str,
        /// The model's file.
        path: PathBuf,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// A model's graph is not the one that its card describes.
    #[error("'{}': {what} is {got}, its card expects {expected}", path.display())]
    Graph {
        /// The model's file.
        path: PathBuf,
        /// Which part of the graph.
        what: &'static str,
        /// What the card says.
        expected: String,
        /// What the graph has.
        got: String,
    },
    /// An image of a list cannot be embedded, and the list was to be refused then.
    #[error("the image '{id}' cannot be embedded: {reason}")]
    BrokenImage {
        /// The image's id.
        id: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it; names the file.
        reason: String,
    },
    /// A picture of a list cannot be embedded.
    #[error("the picture at position {position}: {source}")]
    BrokenPicture {
        /// Its position, from 0.
        position: usize,
        /// What is wrong with it.
        source: sketchfind_core::Error,
    },
    /// An id stands twice in a list of images.
    #[error("the id '{id}' stands twice in the list: '{}' and '{}'", first.display(), second.display())]
    RepeatedId {
        /// The id.
        id: String,
        /// The first file under it.
        first: PathBuf,
        /// The second.
        second: PathBuf,
    },
    /// Files would take the places of photos that come from elsewhere and are other pictures.
    #[error(
        "the photo '{id}' is in the gallery from {}; '{}' would take its place{}",
        there.as_ref().map_or("elsewhere".to_owned(), |there| format!("'{}'", there.display())),
        given.display(),
        if *n_more > 0 { format!(", and {n_more} more files would do the same") } else { String::new() }
    )]
    OtherSource {
        /// The id of the first.
        id: String,
        /// Its file, where the gallery was told.
        there: Option<PathBuf>,
        /// The file that has the same id.
        given: PathBuf,
        /// How many more there are.
        n_more: usize,
    },
    /// The caller cancelled the work.
    #[error("cancelled")]
    Cancelled,
    /// Another error of search.
    #[error(transparent)]
    Index(sketchfind_index::Error),
    /// A gallery cannot be written or read.
    #[error("gallery '{}': {reason}", path.display())]
    Gallery {
        /// The gallery's folder.
        path: PathBuf,
        /// What is wrong; names the file inside it where one is at fault.
        reason: String,
    },
    /// A gallery is being written by somebody else.
    #[error(
        "gallery '{}': another writer has it ({}); one at a time may write",
        path.display(),
        if holder.is_empty() { "it did not say who it is" } else { holder }
    )]
    Locked {
        /// The gallery's folder.
        path: PathBuf,
        /// What the writer said of itself, such as `process 4711`.
        holder: String,
    },
    /// Another gallery was put in the place of one that is open, and its model is another one.
    #[error("gallery '{}': its model was replaced since it was opened; open it anew", path.display())]
    OtherModel {
        /// The gallery's folder.
        path: PathBuf,
    },
    /// A picture was given to a gallery that has no model to embed it.
    #[error(
        "gallery '{}': it has no model, so that no picture can be embedded; it takes embeddings that are ready",
        path.display()
    )]
    NoModel {
        /// The gallery's folder.
        path: PathBuf,
    },
    /// A Parquet file is to be read or written by a program that was built without the feature `parquet`.
    #[error(
        "'{}': this program was built without the feature 'parquet', expected a name that ends in .npy",
        path.display()
    )]
    NoParquet {
        /// The file.
        path: PathBuf,
    },
    /// The address of a database is given to a program that was built without the feature `postgres`.
    #[error("gallery '{}': this program was built without the feature 'postgres', expected a folder", place.display())]
    NoPostgres {
        /// The address, without its password.
        place: PathBuf,
    },
    /// What only a gallery in a folder can do is asked of one in a database.
    #[error("gallery '{}': it is in a database, and {what} is for galleries in folders", place.display())]
    OnlyFolder {
        /// The address, without its password.
        place: PathBuf,
        /// What was asked for.
        what: &'static str,
    },
    /// A database has no gallery of that name.
    #[error(
        "gallery '{}': the database has none of that name; `sketchfind index import --model` or `--distance` makes one",
        place.display()
    )]
    NoGallery {
        /// The address, without its password.
        place: PathBuf,
    },
    /// A database cannot be reached, or does not do what is asked of it.
    #[error("gallery '{}': {reason}", place.display())]
    Database {
        /// The address, without its password.
        place: PathBuf,
        /// What it said, and what to do.
        reason: String,
        /// Whether asking again may help: it was not reached, or the connection was lost.
        is_passing: bool,
    },
    /// A change was asked of a gallery that is open for reading only.
    #[error("gallery '{}': it is open for reading only; open it for writing", path.display())]
    ReadOnly {
        /// The gallery's folder.
        path: PathBuf,
    },
    /// Something is used in a child process that its parent had opened before the fork.
    #[error(
        "{what} was opened by process {opened_by}, and process {here} is a copy of it that fork made: its threads, locks and \
         files are the parent's; open it in this process instead"
    )]
    Forked {
        /// What was opened.
        what: String,
        /// The process that opened it.
        opened_by: u32,
        /// The process that used it.
        here: u32,
    },
    /// A photo was to be added whose id is in the gallery, or twice in what was to be added.
    #[error("the photo '{id}' is there already; remove it first, or replace it")]
    PhotoExists {
        /// The id.
        id: String,
    },
    /// The system refused a thread.
    #[error("cannot start {n_threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        n_threads: usize,
        /// What the system said.
        reason: String,
    },
}
