//! Many files at once, with progress and cancelling.

use std::ffi::{c_char, c_void};
use std::path::Path;

use sketchfind_core::photo_files::{Exclude, PhotoFiles};

use crate::border::{Texts, array, check_reserve, free, give_handle, guarded, handle, text};
use crate::photos::{photo_of, skf_photo};
use crate::retriever::skf_retriever;
use crate::status::{Outcome, bad, skf_status};
use sketchfind::{
    BrokenImage, Cancel, EmbeddingFiles, FailedRow, Imported, IngestOptions, Ingested, OnBroken,
    OnOtherSource, Photo, PhotoFile, Progress,
};

/// A photo that is to be in a gallery, and the file to read it from.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_photo_file {
    /// What the gallery shall know of it.
    pub photo: skf_photo,
    /// The file to read, a text. Null for the photo's path.
    pub file: *const c_char,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// How files are brought into a gallery. All zeros are the ordinary options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_ingest_options {
    /// Whether files that cannot be read are left out; otherwise the first of them is an error.
    pub leave_out_broken: bool,
    /// Whether a file takes the place of another picture from another file that has its id; otherwise it is an error.
    pub replace_other_sources: bool,
    /// Called from time to time with how many files are done, and of how many. Null for nobody.
    pub progress: Option<unsafe extern "C" fn(user: *mut c_void, n_done: usize, n_files: usize)>,
    /// Asked from time to time whether the work is to stop. Null for nobody.
    pub is_cancelled: Option<unsafe extern "C" fn(user: *mut c_void) -> bool>,
    /// What the two functions are given.
    pub user: *mut c_void,
    /// For members to come: 0.
    pub reserved: [u64; 8],
}

/// The ordinary options.
impl Default for skf_ingest_options {
    fn default() -> skf_ingest_options {
        skf_ingest_options {
            leave_out_broken: false,
            replace_other_sources: false,
            progress: None,
            is_cancelled: None,
            user: std::ptr::null_mut(),
            reserved: [0; 8],
        }
    }
}

/// What came of bringing files into a gallery, or the embeddings of files.
pub struct skf_ingested {
    counts: skf_counts,
    // What the others point to.
    _texts: Texts,
    left_out: Vec<skf_left_out>,
    unread: Vec<*const c_char>,
}

/// How many files, or rows of files of embeddings, became what.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_counts {
    /// Photos that were not there.
    pub n_added: usize,
    /// Photos that were there with another content, product, labels or path.
    pub n_replaced: usize,
    /// Photos that were there as they are.
    pub n_unchanged: usize,
    /// Of those added and replaced, how many needed no embedding because the same content was there; 0 of an import.
    pub n_known: usize,
}

/// A file that was left out, or a row of a file of embeddings. Its texts live as long as what it is in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_left_out {
    /// The id that it would have had.
    pub id: *const c_char,
    /// The file, or null where its path is no text, and of a row.
    pub file: *const c_char,
    /// What is wrong with it; names the file. Of a row, what its file says.
    pub reason: *const c_char,
}

impl skf_ingested {
    fn new(done: &Ingested) -> Outcome<skf_ingested> {
        let Ingested { n_added, n_replaced, n_unchanged, n_known, .. } = *done;
        let mut texts = Texts::default();
        let mut left_out = Vec::with_capacity(done.broken.len());
        for BrokenImage { id, path, reason } in &done.broken {
            let (id, reason) = (texts.keep(id)?, texts.keep(&reason.replace('\0', "?"))?);
            left_out.push(skf_left_out { id, file: texts.keep_path(Some(path))?, reason });
        }
        let counts = skf_counts { n_added, n_replaced, n_unchanged, n_known };
        Ok(skf_ingested { counts, _texts: texts, left_out, unread: Vec::new() })
    }

    pub(crate) fn of_import(done: Imported, files: &EmbeddingFiles) -> Outcome<skf_ingested> {
        let mut texts = Texts::default();
        let left_out = files.failed().iter().map(|FailedRow { id, error, .. }| {
            let (id, reason) = (texts.keep(id)?, texts.keep(&error.replace('\0', "?"))?);
            Ok(skf_left_out { id, file: std::ptr::null(), reason })
        });
        let left_out = left_out.collect::<Outcome<_>>()?;
        let unread = files.unread_columns().iter().map(|name| texts.keep(&name.replace('\0', "?")));
        let unread = unread.collect::<Outcome<_>>()?;
        let Imported { n_added, n_replaced, n_unchanged, .. } = done;
        let counts = skf_counts { n_added, n_replaced, n_unchanged, n_known: 0 };
        Ok(skf_ingested { counts, _texts: texts, left_out, unread })
    }
}

/// The caller's functions.
struct Callbacks<'a> {
    options: &'a skf_ingest_options,
    n_files: usize,
}

// SAFETY: they are called on the caller's own thread alone, as the header says, one after another; that the work may do so on
// another is what its types allow, and not what it does.
unsafe impl Sync for Callbacks<'_> {}

impl Callbacks<'_> {
    fn progress(&self, n_done: usize) {
        if let Some(progress) = self.options.progress {
            // SAFETY: by the contract of the functions that take the options.
            unsafe { progress(self.options.user, n_done, self.n_files) };
        }
    }

    fn is_cancelled(&self) -> bool {
        // SAFETY: by the contract of the functions that take the options.
        self.options.is_cancelled.is_some_and(|is_cancelled| unsafe { is_cancelled(self.options.user) })
    }
}

/// Brings `n_files` files into the gallery: those that are not in it, and those whose content, product, labels or path have changed.
/// Files are read a few at a time, on all threads. Every few hundred photos the gallery keeps what was done, and also when this
/// ends with an error or is cancelled, so that the same call goes on where it was. `options` may be null, and so may `out`;
/// what it is given skf_ingested_free frees.
///
/// The functions of the options are called on the thread that calls this, one at a time. They may not unwind, nor use the
/// retriever to change the gallery.
///
/// # Safety
/// `retriever` is a live handle, `files` points to `n_files` files whose members are as they say, `options` is null or points
/// to options whose functions may be called with its `user`, `out` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingest(
    retriever: *const skf_retriever,
    files: *const skf_photo_file,
    n_files: usize,
    options: *const skf_ingest_options,
    out: *mut *mut skf_ingested,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, files, options) = unsafe {
            (handle(retriever, "retriever")?, array(files, n_files, "files")?, options.as_ref().copied())
        };
        // SAFETY: by this function's contract.
        let files = files.iter().map(|file| unsafe { file_of(file) }).collect::<Outcome<Vec<_>>>()?;
        let done = ingest(retriever, &files, &options.unwrap_or_default())?;
        // SAFETY: by this function's contract.
        unsafe { give_out(out, || skf_ingested::new(&done)) }
    })
}

/// Brings all photos below `folder` into the gallery, under their paths relative to it as ids, `/` between their parts;
/// otherwise as skf_ingest. What looks like a photo and cannot be read is told as what is left out, or is an
/// error, as the options say.
///
/// # Safety
/// As of skf_ingest, with `folder` a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingest_folder(
    retriever: *const skf_retriever,
    folder: *const c_char,
    options: *const skf_ingest_options,
    out: *mut *mut skf_ingested,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, folder, options) =
            unsafe { (handle(retriever, "retriever")?, text(folder, "folder")?, options.as_ref().copied()) };
        let options = options.unwrap_or_default();
        let absolute =
            std::path::absolute(folder).map_err(sketchfind_core::Error::io("read", Path::new(folder)))?;
        let mut found = PhotoFiles::below(&absolute, &Exclude::nothing())?;
        if !options.leave_out_broken {
            found = found.complete(&absolute)?;
        }
        let file = |id: &str, path: &Path| {
            let path = absolute.join(path);
            PhotoFile::new(Photo::new(id).with_source(path.clone()), path)
        };
        let files: Vec<PhotoFile> = found.photos.iter().map(|photo| file(&photo.id, &photo.path)).collect();
        let mut done = ingest(retriever, &files, &options)?;
        done.broken.extend(found.left_out.into_iter().map(|left_out| BrokenImage {
            path: absolute.join(&left_out.path),
            reason: format!("'{}': {}", absolute.join(&left_out.path).display(), left_out.reason),
            id: left_out.id,
        }));
        // SAFETY: by this function's contract.
        unsafe { give_out(out, || skf_ingested::new(&done)) }
    })
}

/// # Safety
/// The file's pointers are null or as it says.
unsafe fn file_of(given: &skf_photo_file) -> Outcome<PhotoFile> {
    check_reserve(&given.reserved, "a file")?;
    // SAFETY: by this function's contract.
    let photo = unsafe { photo_of(&given.photo) }?;
    let file = if given.file.is_null() { given.photo.path } else { given.file };
    if file.is_null() {
        return Err(bad(format!("the photo '{}' has neither a file nor a path", photo.id())));
    }
    // SAFETY: by this function's contract.
    Ok(PhotoFile::new(photo, unsafe { text(file, "file") }?))
}

fn ingest(retriever: &skf_retriever, files: &[PhotoFile], options: &skf_ingest_options) -> Outcome<Ingested> {
    check_reserve(&options.reserved, "skf_ingest_options")?;
    let on_broken = if options.leave_out_broken { OnBroken::Skip } else { OnBroken::Refuse };
    let on_other = if options.replace_other_sources { OnOtherSource::Replace } else { OnOtherSource::Refuse };
    let callbacks = Callbacks { options, n_files: files.len() };
    // Whole, so that what is shared is what was said to be.
    let callbacks = &callbacks;
    Ok(retriever.retriever.ingest(
        files,
        IngestOptions::from(on_broken).with_other_sources(on_other),
        Progress::new(&|n_done| callbacks.progress(n_done)),
        Cancel::new(&|| callbacks.is_cancelled()),
    )?)
}

/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give_out(
    out: *mut *mut skf_ingested,
    done: impl FnOnce() -> Outcome<skf_ingested>,
) -> Outcome<()> {
    // SAFETY: by this function's contract.
    if out.is_null() { Ok(()) } else { unsafe { give_handle(out, done()?) } }
}

/// How many files became what, or null for null. It lives as long as what it is of.
///
/// # Safety
/// `ingested` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingested_counts(ingested: *const skf_ingested) -> *const skf_counts {
    // SAFETY: by this function's contract.
    unsafe { ingested.as_ref() }.map_or(std::ptr::null(), |ingested| &raw const ingested.counts)
}

/// The number of files, or rows, that were left out; 0 for null.
///
/// # Safety
/// `ingested` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingested_left_out_len(ingested: *const skf_ingested) -> usize {
    // SAFETY: by this function's contract.
    unsafe { ingested.as_ref() }.map_or(0, |ingested| ingested.left_out.len())
}

/// The file, or row, that was left out at a place from 0, or null beyond the last. It lives as long as what it is of.
///
/// # Safety
/// `ingested` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingested_left_out_at(
    ingested: *const skf_ingested,
    place: usize,
) -> *const skf_left_out {
    // SAFETY: by this function's contract.
    let ingested = unsafe { ingested.as_ref() };
    ingested.and_then(|ingested| ingested.left_out.get(place)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// The number of columns of imported Parquet files that the schema does not know, and that were not read; 0 for null.
///
/// # Safety
/// `ingested` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingested_unread_columns_len(ingested: *const skf_ingested) -> usize {
    // SAFETY: by this function's contract.
    unsafe { ingested.as_ref() }.map_or(0, |ingested| ingested.unread.len())
}

/// The name of such a column, at a place from 0, or null beyond the last. It lives as long as what it is of.
///
/// # Safety
/// `ingested` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingested_unread_columns_at(
    ingested: *const skf_ingested,
    place: usize,
) -> *const c_char {
    // SAFETY: by this function's contract.
    let ingested = unsafe { ingested.as_ref() };
    ingested.and_then(|ingested| ingested.unread.get(place)).map_or(std::ptr::null(), |name| *name)
}

/// Frees what came of bringing files, or embeddings, into a gallery. Null is nothing to free.
///
/// # Safety
/// `ingested` is null or was given out by skf_ingest, skf_ingest_folder or skf_import, and nobody uses it or its texts any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_ingested_free(ingested: *mut skf_ingested) {
    // SAFETY: by this function's contract.
    unsafe { free(ingested) };
}
