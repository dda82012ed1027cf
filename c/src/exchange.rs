//! Embeddings that come and go as files.

use std::ffi::c_char;

use crate::border::{Texts, check_reserve, free, give_handle, guarded, handle, text};
use crate::ingest::{give_out, skf_ingested};
use crate::retriever::skf_retriever;
use crate::status::{Outcome, skf_status};
use crate::work::{skf_work, watched};
use sketchfind::{Cancel, EmbeddingFiles, Exported, ImportOptions, Progress};

/// How files of embeddings are brought into a gallery. All zeros are the ordinary options, and so is a null pointer to it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_import_options {
    /// Whether a photo that is there already with another embedding is replaced; otherwise that is an error.
    pub replace: bool,
    /// For members to come: 0.
    pub reserved: [u64; 6],
}

/// The ordinary options.
impl Default for skf_import_options {
    fn default() -> skf_import_options {
        skf_import_options { replace: false, reserved: [0; 6] }
    }
}

/// Brings the embeddings of a file, or of all such files in a folder, into the gallery: `X.npy`, whose ids are in `X.csv` beside
/// it, and `X.parquet`, which have labels, paths and products too (docs/embedding-files.md). Those that are there already stay. `work` is
/// told of photos. `options`, `work` and `out` may be null; what `out` is given skf_ingested_free frees. A row that says why it
/// has no embedding is told there as left out.
///
/// All is read and checked before anything is changed. Then every few thousand photos are kept, and also when this ends with an
/// error or is cancelled, so that the same call goes on where it was.
///
/// # Safety
/// `retriever` is a live handle, `path` is a text, `options` is null or points to options, `work` is null or points to work
/// whose functions may be called with its `user`, `out` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_import(
    retriever: *const skf_retriever,
    path: *const c_char,
    options: *const skf_import_options,
    work: *const skf_work,
    out: *mut *mut skf_ingested,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, path, options) =
            unsafe { (handle(retriever, "retriever")?, text(path, "path")?, options.as_ref().copied()) };
        let given = options.unwrap_or_default();
        check_reserve(&given.reserved, "skf_import_options")?;
        let mut options = ImportOptions::default();
        options.replace = given.replace;
        let gallery = retriever.retriever.gallery();
        // SAFETY: by this function's contract.
        let files = unsafe { watched(work, None, |_, cancel| EmbeddingFiles::open(path, cancel)) }?;
        let import =
            |progress: Progress<'_>, cancel: Cancel<'_>| gallery.import(&files, options, progress, cancel);
        // SAFETY: by this function's contract.
        let done = unsafe { watched(work, Some(files.len()), import) }?;
        // SAFETY: by this function's contract.
        unsafe { give_out(out, || skf_ingested::of_import(done, &files)) }
    })
}

/// What came of writing a gallery's embeddings to a file.
pub struct skf_exported {
    n_photos: usize,
    // What `without_path` points to.
    _texts: Texts,
    without_path: Vec<*const c_char>,
}

impl skf_exported {
    fn new(done: &Exported) -> Outcome<skf_exported> {
        let mut texts = Texts::default();
        let without_path = done.without_source.iter().map(|id| texts.keep(id)).collect::<Outcome<_>>()?;
        Ok(skf_exported { n_photos: done.n_photos, _texts: texts, without_path })
    }
}

/// Writes the gallery's embeddings to a file, whole or not at all: `X.npy` with the ids in `X.csv` beside it, or `X.parquet` with
/// labels, paths, products and the model too. `work` is told of photos. `work` and `out` may be null; what `out` is given
/// skf_exported_free frees.
///
/// # Safety
/// `retriever` is a live handle, `path` is a text, `work` is null or points to work whose functions may be called with its
/// `user`, `out` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_export(
    retriever: *const skf_retriever,
    path: *const c_char,
    work: *const skf_work,
    out: *mut *mut skf_exported,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, path) = unsafe { (handle(retriever, "retriever")?, text(path, "path")?) };
        let gallery = retriever.retriever.gallery();
        let export = |progress: Progress<'_>, cancel: Cancel<'_>| gallery.export(path, progress, cancel);
        // SAFETY: by this function's contract.
        let done = unsafe { watched(work, Some(gallery.look().len()?), export) }?;
        // SAFETY: by this function's contract.
        if out.is_null() { Ok(()) } else { unsafe { give_handle(out, skf_exported::new(&done)?) } }
    })
}

/// The number of photos that were written; 0 for null.
///
/// # Safety
/// `exported` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_exported_len(exported: *const skf_exported) -> usize {
    // SAFETY: by this function's contract.
    unsafe { exported.as_ref() }.map_or(0, |exported| exported.n_photos)
}

/// The number of photos that were written to a Parquet file without their path, because it is no text; 0 for null.
///
/// # Safety
/// `exported` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_exported_without_path_len(exported: *const skf_exported) -> usize {
    // SAFETY: by this function's contract.
    unsafe { exported.as_ref() }.map_or(0, |exported| exported.without_path.len())
}

/// The id of such a photo, at a place from 0, or null beyond the last. It lives as long as what it is of.
///
/// # Safety
/// `exported` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_exported_without_path_at(
    exported: *const skf_exported,
    place: usize,
) -> *const c_char {
    // SAFETY: by this function's contract.
    let exported = unsafe { exported.as_ref() };
    exported.and_then(|exported| exported.without_path.get(place)).map_or(std::ptr::null(), |id| *id)
}

/// Frees what came of an export. Null is nothing to free.
///
/// # Safety
/// `exported` is null or was given out by skf_export, and nobody uses it or its texts any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_exported_free(exported: *mut skf_exported) {
    // SAFETY: by this function's contract.
    unsafe { free(exported) };
}
