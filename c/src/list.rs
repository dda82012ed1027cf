//! The photos of a gallery, one after another.

use std::ffi::c_char;
use std::sync::Arc;

use crate::border::{Texts, free, give_handle, guarded, handle, text};
use crate::filter::skf_filter;
use crate::photos::skf_photo;
use crate::retriever::skf_retriever;
use crate::status::{Outcome, skf_status};
use sketchfind::gallery::Place;
use sketchfind::{Filter, Photo, Snapshot};

/// Photos of a gallery as they were when it was made, sorted by id, from which one after another is taken.
pub struct skf_list {
    snapshot: Arc<Snapshot>,
    filter: Filter,
    rest: std::vec::IntoIter<Place>,
    current: Option<Current>,
}

/// The photo that was taken last.
struct Current {
    _texts: Texts,
    photo: skf_photo,
    embedding: *const f32,
}

impl Current {
    fn new(photo: &Photo, embedding: &[f32]) -> Outcome<Current> {
        let mut texts = Texts::default();
        let (labels, n_labels) = texts.keep_all(photo.labels())?;
        let (id, path) = (texts.keep(photo.id())?, texts.keep_path(photo.source())?);
        let product = texts.keep_if_any(photo.product())?;
        let photo = skf_photo { id, labels, n_labels, path, product, ..skf_photo::default() };
        Ok(Current { _texts: texts, photo, embedding: embedding.as_ptr() })
    }
}

impl skf_list {
    fn take(&mut self) -> Outcome<*const skf_photo> {
        self.current = None;
        for place in self.rest.by_ref() {
            let Some((photo, embedding)) = self.snapshot.at(place) else { continue };
            if self.filter.passes(photo) {
                let current = self.current.insert(Current::new(photo, embedding)?);
                return Ok(&raw const current.photo);
            }
        }
        Ok(std::ptr::null())
    }
}

/// Begins a list of all photos that pass `filter`, which may be null, and gives it out; skf_list_free frees it. It holds what
/// the gallery was at that moment, whatever changes meanwhile.
///
/// # Safety
/// `retriever` is a live handle, `filter` is null or a live handle, `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_list_all(
    retriever: *const skf_retriever,
    filter: *const skf_filter,
    out: *mut *mut skf_list,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, filter) = unsafe { (handle(retriever, "retriever")?, filter.as_ref()) };
        retriever.retriever.check_process()?;
        let snapshot = retriever.retriever.gallery().only_folder("a list in C")?.snapshot();
        let rest = snapshot.places().into_iter();
        let filter = filter.map_or_else(Filter::everything, |filter| filter.0.clone());
        // SAFETY: by this function's contract.
        unsafe { give_handle(out, skf_list { snapshot, filter, rest, current: None }) }
    })
}

/// Begins a list of the one photo of an id, or of none where the gallery does not have it; otherwise as skf_list_all.
///
/// # Safety
/// `retriever` is a live handle, `id` is a text, `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_get(
    retriever: *const skf_retriever,
    id: *const c_char,
    out: *mut *mut skf_list,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (retriever, id) = unsafe { (handle(retriever, "retriever")?, text(id, "id")?) };
        retriever.retriever.check_process()?;
        let snapshot = retriever.retriever.gallery().only_folder("a list in C")?.snapshot();
        let rest = Vec::from_iter(snapshot.place_of(id)).into_iter();
        // SAFETY: by this function's contract.
        unsafe { give_handle(out, skf_list { snapshot, filter: Filter::everything(), rest, current: None }) }
    })
}

/// The next photo of a list, or null at its end, or where skf_last_error has a message. It and its texts live until the next
/// call with the list.
///
/// # Safety
/// `list` is null or a live handle that nobody else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_list_next(list: *mut skf_list) -> *const skf_photo {
    let mut next = std::ptr::null();
    guarded(|| {
        // SAFETY: by this function's contract.
        if let Some(list) = unsafe { list.as_mut() } {
            next = list.take()?;
        }
        Ok(())
    });
    next
}

/// The embedding of the photo that skf_list_next gave last, as many numbers as skf_width says, or null where there is none. It
/// lives as long as the list.
///
/// # Safety
/// `list` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_list_embedding(list: *const skf_list) -> *const f32 {
    // SAFETY: by this function's contract.
    let current = unsafe { list.as_ref() }.and_then(|list| list.current.as_ref());
    current.map_or(std::ptr::null(), |current| current.embedding)
}

/// Frees a list. Null is nothing to free.
///
/// # Safety
/// `list` is null or was given out by skf_list_all or skf_get, and nobody uses it or what it gave any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_list_free(list: *mut skf_list) {
    // SAFETY: by this function's contract.
    unsafe { free(list) };
}
