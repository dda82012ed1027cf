//! The C interface: opaque handles, error codes with messages, nothing unwinds across the border. The header
//! `include/sketchfind.h` is made from this file by cbindgen.
//!
//! Rules for callers, which the header repeats: texts are UTF-8 and end with a zero byte; a function that takes a handle
//! takes a live one; what a function gives out is freed by the function named beside it. A retriever may be used by any
//! number of threads at once, everything else by one at a time. ONNX Runtime's telemetry is off: see
//! [`native::init`](crate::native::init) and the header for what that asks of a process that loads the library late.

// A foreign interface deals in pointers, which only unsafe code can follow: this file holds all of it, and the rest of
// the crate is called with checked values.
#![allow(unsafe_code)]
// The names are those of the header.
#![allow(non_camel_case_types)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use sketchfind_core::card::Card;
use sketchfind_core::frame::decode_sketch;
use sketchfind_core::image::{DecodeLimits, Image};

use crate::{
    Error, Filter, Framing, Gallery, GalleryOptions, IndexKind, IndexSpec, Match, Photo, Retriever,
    RetrieverOptions,
};

/// How a call ended. Anything but SKF_OK leaves a message for skf_last_error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum skf_status {
    /// Done.
    SKF_OK = 0,
    /// An argument is null, not UTF-8 or out of range.
    SKF_BAD_ARGUMENT = 1,
    /// A file cannot be read or written: missing, no permission, disk full.
    SKF_IO = 2,
    /// An image cannot be decoded or is over the limit, or nothing is drawn on it.
    SKF_BAD_IMAGE = 3,
    /// A gallery or model is damaged, foreign or of a newer version.
    SKF_BAD_FILE = 4,
    /// ONNX Runtime or the device cannot be used, its telemetry cannot be switched off, or the model cannot be run.
    SKF_NATIVE = 5,
    /// Another writer has the gallery.
    SKF_LOCKED = 6,
    /// The gallery is open for reading only.
    SKF_READ_ONLY = 7,
    /// The photo is there already.
    SKF_EXISTS = 8,
    /// A defect of this library.
    SKF_INTERNAL = 99,
}
use skf_status::*;

/// The index of a gallery.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum skf_index {
    /// Compares with every photo.
    SKF_EXACT = 0,
    /// Follows a graph; approximate.
    SKF_HNSW = 1,
    /// Exact as long as that costs no more than embedding a sketch, then the graph.
    SKF_AUTO = 2,
}

/// How a gallery is opened. All zeros, as in `skf_options options = {0}`, are the ordinary options.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct skf_options {
    /// Whether photos may be added and removed: one process at a time.
    pub writable: bool,
    /// How many images may be in the model at a time; 0 for one.
    pub sessions: u32,
    /// Threads of each session; 0 for a fair share of the cores.
    pub threads: u32,
    /// The most pixels of an image that is decoded; 0 for 64 megapixels.
    pub max_pixels: u64,
    /// The share of its page, 0.2 to 1, that a drawing is made to fill before it is embedded; 0 for what the model's card
    /// says, below 0 to take drawings as they are.
    pub frame: f32,
}

/// A photo that is to be added.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_photo {
    /// Its id, a text.
    pub id: *const c_char,
    /// Its labels, `n_labels` texts. Null is not given: a photo that replaces another keeps its labels. An array of none, which
    /// is not null, is to have no labels.
    pub labels: *const *const c_char,
    /// The number of labels.
    pub n_labels: usize,
    /// The path of its file as it shall be found, a text. Null is not given: a photo that replaces another keeps its path.
    pub path: *const c_char,
}

/// A gallery with its model.
pub struct skf_retriever {
    retriever: Retriever,
    limits: DecodeLimits,
}

/// Which photos a query may find.
pub struct skf_filter(Filter);

/// The answer to a query.
pub struct skf_matches {
    // The texts that `matches` points to.
    _texts: Vec<CString>,
    matches: Vec<skf_match>,
}

/// A photo that matches a query. Its texts live as long as the answer that it is in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_match {
    /// The photo's id.
    pub id: *const c_char,
    /// The photo's file, or null where the gallery does not know it.
    pub path: *const c_char,
    /// Its distance to the query; smaller is more alike.
    pub distance: f64,
    /// Its place, from 1.
    pub rank: u32,
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// What went wrong: a code and words.
struct Failure(skf_status, String);

type Outcome<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        use sketchfind_core::Error as Core;
        let status = match &error {
            Error::Core(Core::Io { .. }) | Error::BrokenPicture { source: Core::Io { .. }, .. } => SKF_IO,
            Error::Core(Core::Image { .. } | Core::Blank { .. })
            | Error::BrokenImage { .. }
            | Error::BrokenPicture { .. } => SKF_BAD_IMAGE,
            Error::Core(Core::OutOfRange { .. } | Core::Mismatch { .. }) => SKF_BAD_ARGUMENT,
            Error::Core(_) | Error::Gallery { .. } | Error::OtherModel { .. } | Error::Graph { .. } => {
                SKF_BAD_FILE
            }
            Error::Locked { .. } => SKF_LOCKED,
            Error::ReadOnly { .. } => SKF_READ_ONLY,
            Error::PhotoExists { .. } | Error::RepeatedId { .. } | Error::OtherSource { .. } => SKF_EXISTS,
            _ => SKF_NATIVE,
        };
        Failure(status, error.to_string())
    }
}

impl From<sketchfind_core::Error> for Failure {
    fn from(error: sketchfind_core::Error) -> Failure {
        Error::Core(error).into()
    }
}

fn bad(words: impl Into<String>) -> Failure {
    Failure(SKF_BAD_ARGUMENT, words.into())
}

/// Runs `work` and turns whatever comes of it into a code; a panic goes no further.
fn guarded(work: impl FnOnce() -> Outcome<()>) -> skf_status {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Failure(SKF_INTERNAL, format!("a defect of sketchfind: {words}")))
    });
    let (status, message) = match outcome {
        Ok(()) => (SKF_OK, String::new()),
        Err(Failure(status, message)) => (status, message),
    };
    let message = CString::new(message.replace('\0', "?")).unwrap_or_default();
    // At a thread's end its message may be gone already; the code is what counts.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = message);
    status
}

/// A text argument.
///
/// # Safety
/// `text` is null or points to bytes that end with a zero and live for `'a`.
unsafe fn text<'a>(text: *const c_char, what: &str) -> Outcome<&'a str> {
    if text.is_null() {
        return Err(bad(format!("{what} is null")));
    }
    // SAFETY: not null, and by this function's contract a C string.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_utf8| bad(format!("{what} is not UTF-8")))
}

/// An array argument; null is an empty one where `n` is 0.
///
/// # Safety
/// `start` is null or points to `n` values that live for `'a`.
unsafe fn array<'a, T>(start: *const T, n: usize, what: &str) -> Outcome<&'a [T]> {
    if n == 0 {
        return Ok(&[]);
    }
    let too_long = n.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize);
    if start.is_null() || too_long || !start.is_aligned() {
        return Err(bad(format!("{what} is null, misaligned or too long")));
    }
    // SAFETY: not null, aligned, of a size that exists, and by this function's contract that many values.
    Ok(unsafe { std::slice::from_raw_parts(start, n) })
}

/// A handle argument.
///
/// # Safety
/// `handle` is null or a live handle that this library gave out.
unsafe fn handle<'a, T>(handle: *const T, what: &str) -> Outcome<&'a T> {
    // SAFETY: null is checked here; otherwise by this function's contract.
    unsafe { handle.as_ref() }.ok_or_else(|| bad(format!("{what} is null")))
}

/// Gives a value out.
///
/// # Safety
/// `out` is null or may be written.
unsafe fn give<T>(out: *mut T, value: T) -> Outcome<()> {
    if out.is_null() {
        return Err(bad("the place for the result is null"));
    }
    // SAFETY: not null, and by this function's contract writable.
    unsafe { out.write(value) };
    Ok(())
}

/// The message of this thread's last call that did not return SKF_OK, or an empty text. It lives until the thread's next
/// call.
#[unsafe(no_mangle)]
pub extern "C" fn skf_last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The version of this library.
#[unsafe(no_mangle)]
pub extern "C" fn skf_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// Makes an empty gallery at `path` of the model in the folder `model`, with an index of skf_index. A gallery that is
/// there is replaced. Photos are framed as the model's card says.
///
/// # Safety
/// `path` and `model` are texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_create(path: *const c_char, model: *const c_char, index: u32) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (path, model) = unsafe { (text(path, "path")?, text(model, "model")?) };
        const EXACT: u32 = skf_index::SKF_EXACT as u32;
        const HNSW: u32 = skf_index::SKF_HNSW as u32;
        const AUTO: u32 = skf_index::SKF_AUTO as u32;
        let index = match index {
            EXACT => IndexSpec::Exact,
            HNSW => IndexSpec::from(IndexKind::Hnsw),
            AUTO => IndexSpec::Auto,
            other => return Err(bad(format!("index is {other}, expected a value of skf_index"))),
        };
        let tool = concat!("sketchfind ", env!("CARGO_PKG_VERSION"));
        let photo_frame = Framing::Card.of_photos(Card::load(Path::new(model))?.frame)?;
        let options = GalleryOptions::with_index(index, tool).with_photo_frame(photo_frame);
        Ok(Gallery::create_empty(Path::new(path), Path::new(model), &options)?)
    })
}

/// Opens the gallery at `path` and gives it out; skf_close frees it. `options` may be null.
///
/// # Safety
/// `path` is a text, `options` is null or points to options, `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_open(
    path: *const c_char,
    options: *const skf_options,
    out: *mut *mut skf_retriever,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (path, given) = unsafe { (text(path, "path")?, options.as_ref().copied().unwrap_or_default()) };
        let mut options = RetrieverOptions::cpu().with_sessions(given.sessions.max(1) as usize);
        if given.writable {
            options = options.writable();
        }
        if given.threads > 0 {
            options.embedder.n_threads = Some(given.threads as usize);
        }
        if given.max_pixels > 0 {
            options.embedder.limits = DecodeLimits { max_pixels: given.max_pixels };
        }
        if given.frame != 0.0 {
            options.framing = if given.frame < 0.0 { Framing::Off } else { Framing::Share(given.frame) };
        }
        let limits = options.embedder.limits;
        let retriever = Retriever::open(Path::new(path), options)?;
        let handle = Box::into_raw(Box::new(skf_retriever { retriever, limits }));
        // SAFETY: by this function's contract.
        unsafe { give(out, handle) }.inspect_err(|_| {
            // SAFETY: made above, and given to nobody.
            drop(unsafe { Box::from_raw(handle) });
        })
    })
}

/// Closes a gallery. Null is nothing to close.
///
/// # Safety
/// `retriever` is null or was given out by skf_open, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_close(retriever: *mut skf_retriever) {
    // SAFETY: by this function's contract.
    unsafe { free(retriever) };
}

/// # Safety
/// `handle` is null or came out of `Box::into_raw` and is used by nobody.
unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: not null, and by this function's contract.
        let owned = unsafe { Box::from_raw(handle) };
        guarded(|| {
            drop(owned);
            Ok(())
        });
    }
}

/// The number of photos; 0 for null.
///
/// # Safety
/// `retriever` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_len(retriever: *const skf_retriever) -> usize {
    // SAFETY: by this function's contract.
    unsafe { retriever.as_ref() }.map_or(0, |retriever| retriever.retriever.len())
}

/// The width of an embedding; 0 for null.
///
/// # Safety
/// `retriever` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_width(retriever: *const skf_retriever) -> usize {
    // SAFETY: by this function's contract.
    unsafe { retriever.as_ref() }.map_or(0, |retriever| retriever.retriever.card().embedding_width)
}

/// Finds the `k` photos that match the drawing whose file's bytes (JPEG, PNG, WebP, GIF, BMP, TIFF) are given, framed as
/// `skf_options.frame` says. `filter` may be null. The answer is freed by skf_matches_free.
///
/// # Safety
/// `retriever` is a live handle, `bytes` points to `n_bytes` bytes, `filter` is null or a live handle, `out` may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query(
    retriever: *const skf_retriever,
    bytes: *const u8,
    n_bytes: usize,
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, bytes) =
            unsafe { (handle(retriever, "retriever")?, array(bytes, n_bytes, "bytes")?) };
        let sketch = decode_sketch(bytes, "given as bytes", retriever.limits)?;
        let embedding = retriever.retriever.embed_sketches(&[sketch])?;
        // SAFETY: by this function's contract.
        unsafe { answer(retriever, &embedding, k, filter, out) }
    })
}

/// Finds the `k` photos nearest to an embedding of `n_values` numbers; otherwise as skf_query.
///
/// # Safety
/// As of skf_query, with `values` pointing to `n_values` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_embedding(
    retriever: *const skf_retriever,
    values: *const f32,
    n_values: usize,
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, values) =
            unsafe { (handle(retriever, "retriever")?, array(values, n_values, "values")?) };
        // SAFETY: by this function's contract.
        unsafe { answer(retriever, values, k, filter, out) }
    })
}

/// Searches and gives the answer out.
///
/// # Safety
/// `filter` is null or a live handle, `out` is null or may be written.
unsafe fn answer(
    retriever: &skf_retriever,
    embedding: &[f32],
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> Outcome<()> {
    let everything = skf_filter(Filter::everything());
    // SAFETY: by this function's contract.
    let filter = unsafe { filter.as_ref() }.unwrap_or(&everything);
    let found = retriever.retriever.query_embedding(embedding, k, &filter.0)?;
    let matches = Box::into_raw(Box::new(matches_of(&found)?));
    // SAFETY: by this function's contract.
    unsafe { give(out, matches) }.inspect_err(|_| {
        // SAFETY: made above, and given to nobody.
        drop(unsafe { Box::from_raw(matches) });
    })
}

fn matches_of(found: &[Match]) -> Outcome<skf_matches> {
    let mut texts = Vec::with_capacity(2 * found.len());
    let mut keep = |text: &str| -> Outcome<*const c_char> {
        let text =
            CString::new(text).map_err(|_zero| bad(format!("the id or path {text:?} has a zero byte")))?;
        // A CString's bytes stay where they are when it is moved.
        let start = text.as_ptr();
        texts.push(text);
        Ok(start)
    };
    let mut matches = Vec::with_capacity(found.len());
    for found in found {
        let path = match found.path.as_deref().and_then(Path::to_str) {
            Some(path) => keep(path)?,
            None => std::ptr::null(),
        };
        let rank = u32::try_from(found.rank).unwrap_or(u32::MAX);
        matches.push(skf_match { id: keep(&found.id)?, path, distance: found.distance, rank });
    }
    Ok(skf_matches { _texts: texts, matches })
}

/// The number of matches; 0 for null.
///
/// # Safety
/// `matches` is null or a live answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_matches_len(matches: *const skf_matches) -> usize {
    // SAFETY: by this function's contract.
    unsafe { matches.as_ref() }.map_or(0, |matches| matches.matches.len())
}

/// The match at a place from 0, best first, or null beyond the last. It lives as long as the answer.
///
/// # Safety
/// `matches` is null or a live answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_matches_at(matches: *const skf_matches, place: usize) -> *const skf_match {
    // SAFETY: by this function's contract.
    let matches = unsafe { matches.as_ref() };
    matches.and_then(|matches| matches.matches.get(place)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Frees an answer. Null is nothing to free.
///
/// # Safety
/// `matches` is null or was given out by a query, and nobody uses it or its texts any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_matches_free(matches: *mut skf_matches) {
    // SAFETY: by this function's contract.
    unsafe { free(matches) };
}

/// Writes the embedding of the image whose file's bytes are given to `out`, which has room for `n_out` numbers, as many
/// as skf_width says.
///
/// # Safety
/// `retriever` is a live handle, `bytes` points to `n_bytes` bytes, `out` to `n_out` numbers that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_embed(
    retriever: *const skf_retriever,
    bytes: *const u8,
    n_bytes: usize,
    out: *mut f32,
    n_out: usize,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, bytes) =
            unsafe { (handle(retriever, "retriever")?, array(bytes, n_bytes, "bytes")?) };
        let width = retriever.retriever.card().embedding_width;
        if out.is_null() || n_out != width {
            return Err(bad(format!("there is room for {n_out} numbers, expected {width}")));
        }
        let image = Image::decode(bytes, "given as bytes", retriever.limits)?;
        let embedding = retriever.retriever.embed(&[image])?;
        // SAFETY: not null, and by this function's contract that many numbers; the embedding is a fresh vector of as
        // many.
        unsafe { std::ptr::copy_nonoverlapping(embedding.as_ptr(), out, embedding.len().min(n_out)) };
        Ok(())
    })
}

/// Adds a photo and its file's bytes. With `replace` it takes the place of the photo that has its id, and keeps its labels and
/// path where they are not given. When this returns SKF_OK the photo is on the disk.
///
/// # Safety
/// `retriever` is a live handle, `photo` points to a photo whose members are as it says, `bytes` points to `n_bytes`
/// bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_add(
    retriever: *const skf_retriever,
    photo: *const skf_photo,
    bytes: *const u8,
    n_bytes: usize,
    replace: bool,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, given, bytes) = unsafe {
            (handle(retriever, "retriever")?, handle(photo, "photo")?, array(bytes, n_bytes, "bytes")?)
        };
        // SAFETY: by this function's contract.
        let (id, labels) = unsafe { (text(given.id, "id")?, array(given.labels, given.n_labels, "labels")?) };
        let mut photo = Photo::new(id);
        if !given.labels.is_null() {
            photo = photo.with_labels(std::iter::empty::<String>());
        }
        for &label in labels {
            // SAFETY: by this function's contract.
            photo = photo.with_labels([unsafe { text(label, "a label") }?]);
        }
        if !given.path.is_null() {
            // SAFETY: not null, and by this function's contract.
            photo = photo.with_source(PathBuf::from(unsafe { text(given.path, "path") }?));
        }
        let image = Image::decode(bytes, &format!("'{id}'"), retriever.limits)?;
        if replace {
            retriever.retriever.replace(photo, &image)?;
        } else {
            retriever.retriever.add(photo, &image)?;
        }
        Ok(())
    })
}

/// Removes the photos of `n_ids` ids in one step and writes how many were there to `n_removed`, which may be null.
///
/// # Safety
/// `retriever` is a live handle, `ids` points to `n_ids` texts, `n_removed` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_remove(
    retriever: *const skf_retriever,
    ids: *const *const c_char,
    n_ids: usize,
    n_removed: *mut usize,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, ids) = unsafe { (handle(retriever, "retriever")?, array(ids, n_ids, "ids")?) };
        // SAFETY: by this function's contract.
        let ids: Vec<&str> = ids.iter().map(|&id| unsafe { text(id, "an id") }).collect::<Outcome<_>>()?;
        let n = retriever.retriever.remove(&ids)?;
        if !n_removed.is_null() {
            // SAFETY: not null, and by this function's contract.
            unsafe { give(n_removed, n) }?;
        }
        Ok(())
    })
}

/// Sees what other processes have written since the gallery was opened for reading; `is_new` is told whether there was
/// anything, unless it is null. SKF_BAD_FILE where the gallery was replaced by one of another model, which has to be opened
/// anew.
///
/// # Safety
/// `retriever` is a live handle, `is_new` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_refresh(retriever: *const skf_retriever, is_new: *mut bool) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let found = unsafe { handle(retriever, "retriever") }?.retriever.refresh()?;
        if !is_new.is_null() {
            // SAFETY: not null, and by this function's contract.
            unsafe { give(is_new, found) }?;
        }
        Ok(())
    })
}

/// Gives back the space of removed photos and brings the index up to date.
///
/// # Safety
/// `retriever` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_compact(retriever: *const skf_retriever) -> skf_status {
    // SAFETY: by this function's contract.
    guarded(|| Ok(unsafe { handle(retriever, "retriever") }?.retriever.compact()?))
}

/// A filter that every photo passes; skf_filter_free frees it. Null only where memory is short.
#[unsafe(no_mangle)]
pub extern "C" fn skf_filter_new() -> *mut skf_filter {
    Box::into_raw(Box::new(skf_filter(Filter::everything())))
}

/// Lets only photos of these ids pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `ids` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_only_ids(
    filter: *mut skf_filter,
    ids: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, ids, n, |filter, ids| filter.only_ids(ids.iter().copied())) }
}

/// Lets only photos with at least one of these labels pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_any_label(
    filter: *mut skf_filter,
    labels: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, labels, n, |filter, labels| filter.any_label(labels.iter().copied())) }
}

/// Lets only photos with every one of these labels pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_every_label(
    filter: *mut skf_filter,
    labels: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, labels, n, |filter, labels| filter.every_label(labels.iter().copied())) }
}

/// Lets no photo with one of these labels pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_without_label(
    filter: *mut skf_filter,
    labels: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, labels, n, |filter, labels| filter.without_label(labels.iter().copied())) }
}

/// # Safety
/// `filter` is null or a live handle that nobody else uses, `texts` points to `n` texts.
unsafe fn narrow(
    filter: *mut skf_filter,
    texts: *const *const c_char,
    n: usize,
    how: impl FnOnce(Filter, &[&str]) -> Filter,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let filter = unsafe { filter.as_mut() }.ok_or_else(|| bad("filter is null"))?;
        // SAFETY: by this function's contract.
        let texts = unsafe { array(texts, n, "texts") }?;
        // SAFETY: by this function's contract.
        let texts: Vec<&str> =
            texts.iter().map(|&each| unsafe { text(each, "a text") }).collect::<Outcome<_>>()?;
        filter.0 = how(std::mem::take(&mut filter.0), &texts);
        Ok(())
    })
}

/// Frees a filter. Null is nothing to free.
///
/// # Safety
/// `filter` is null or was given out by skf_filter_new, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_free(filter: *mut skf_filter) {
    // SAFETY: by this function's contract.
    unsafe { free(filter) };
}
