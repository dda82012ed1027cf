//! What keeps a gallery well: copies, space, its index, and how much a graph finds.

use std::ffi::c_char;

use crate::border::{give, give_if_asked, guarded, handle, text};
use crate::retriever::{index_of, skf_retriever};
use crate::status::skf_status;
use crate::work::{skf_work, watched};
use sketchfind::gallery::MOST_IN_SAMPLE;
use sketchfind::{Cancel, Gallery, OnExisting, Progress, Recall};

/// What a copy of a gallery is made of.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_copied {
    /// The number of photos in it.
    pub n_photos: usize,
    /// The number of files that it shares with the original.
    pub n_shared: usize,
    /// The number of files that are its own.
    pub n_own: usize,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// Writes a copy of the gallery at `from` to `to`, whole or not at all, as it was acknowledged at one moment, whoever writes it
/// meanwhile. Files that never change are hard links where the file system can. A gallery that is at `to` is SKF_BAD_FILE, or
/// with `replace` replaced. `copied` may be null.
///
/// # Safety
/// `from` and `to` are texts, `copied` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_copy(
    from: *const c_char,
    to: *const c_char,
    replace: bool,
    copied: *mut skf_copied,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (from, to) = unsafe { (text(from, "from")?, text(to, "to")?) };
        let on_existing = if replace { OnExisting::Replace } else { OnExisting::Refuse };
        let done = Gallery::copy(from, to, on_existing)?;
        let (n_photos, n_shared, n_own) = (done.n_photos, done.n_shared, done.n_own);
        // SAFETY: by this function's contract.
        unsafe { give_if_asked(copied, skf_copied { n_photos, n_shared, n_own, reserved: [0; 4] }) }
    })
}

/// Gives back the space of removed photos and brings the index up to date.
///
/// # Safety
/// `retriever` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_compact(retriever: *const skf_retriever) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { skf_compact_with(retriever, std::ptr::null()) }
}

/// As skf_compact; `work`, which may be null, is told of photos that are in the graph, where one is built. Once it has begun, the
/// space is given back also where it is cancelled; searches are exact then until the graph is built, here or where the gallery
/// is next opened.
///
/// # Safety
/// `retriever` is a live handle, `work` is null or points to work whose functions may be called with its `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_compact_with(
    retriever: *const skf_retriever,
    work: *const skf_work,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let retriever = &unsafe { handle(retriever, "retriever") }?.retriever;
        let compact = |progress: Progress<'_>, cancel: Cancel<'_>| retriever.compact(progress, cancel);
        // SAFETY: by this function's contract.
        unsafe { watched(work, Some(retriever.len()?), compact) }
    })
}

/// Chooses another index for the gallery, a value of skf_index. It is built when the gallery is next compacted, or opened.
///
/// # Safety
/// `retriever` is a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_set_index(retriever: *const skf_retriever, index: u32) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let retriever = unsafe { handle(retriever, "retriever") }?;
        Ok(retriever.retriever.gallery().set_index(index_of(index)?)?)
    })
}

/// How many of the nearest the gallery's graphs find, on a sample of its own photos.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_recall {
    /// Whether there is a graph. Without one search is exact: nothing was measured, and all else is 0.
    pub is_measured: bool,
    /// How many of the nearest were asked for.
    pub k: u64,
    /// Photos in the sample.
    pub n_queries: u64,
    /// Photos in the gallery.
    pub n_photos: u64,
    /// The nearest of all queries together, by exact search.
    pub n_nearest: u64,
    /// How many of them the graphs found.
    pub n_found: u64,
    /// The share that was found, 0 to 1.
    pub value: f64,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// Nothing was measured.
impl Default for skf_recall {
    fn default() -> skf_recall {
        skf_recall {
            is_measured: false,
            k: 0,
            n_queries: 0,
            n_photos: 0,
            n_nearest: 0,
            n_found: 0,
            value: 0.0,
            reserved: [0; 4],
        }
    }
}

impl From<Recall> for skf_recall {
    fn from(found: Recall) -> skf_recall {
        let Recall { k, n_queries, n_photos, n_nearest, n_found } = found;
        let value = found.value();
        skf_recall { is_measured: true, k, n_queries, n_photos, n_nearest, n_found, value, reserved: [0; 4] }
    }
}

/// Measures how many of the ten nearest the gallery's graphs find. A gallery that is open for writing keeps it. `work`, which may
/// be null, is told of photos of the sample, of which there are at most 200.
///
/// # Safety
/// `retriever` is a live handle, `work` is null or points to work whose functions may be called with its `user`, `out` may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_measure_recall(
    retriever: *const skf_retriever,
    work: *const skf_work,
    out: *mut skf_recall,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let gallery = unsafe { handle(retriever, "retriever") }?.retriever.gallery();
        let measure = |progress: Progress<'_>, cancel: Cancel<'_>| gallery.measure_recall(progress, cancel);
        // SAFETY: by this function's contract.
        let found = unsafe { watched(work, Some(gallery.look().len()?.min(MOST_IN_SAMPLE)), measure) }?;
        // SAFETY: by this function's contract.
        unsafe { give(out, found.map_or_else(skf_recall::default, skf_recall::from)) }
    })
}
