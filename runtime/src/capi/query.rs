//! Queries: a drawing, several of them, or an embedding.

use super::border::{array, give, guarded, handle};
use super::filter::skf_filter;
use super::matches::skf_matches;
use super::picture::{drawing, skf_image, skf_sketch, skf_strokes};
use super::retriever::skf_retriever;
use super::status::{Failure, Outcome, bad, skf_status};
use crate::{Filter, Modality};

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
    let image = skf_image { bytes, n_bytes, ..skf_image::default() };
    // SAFETY: by this function's contract.
    unsafe { skf_query_image(retriever, &raw const image, k, filter, out) }
}

/// Finds the `k` photos that match a drawing that is an image; otherwise as skf_query.
///
/// # Safety
/// As of skf_query, with `image` pointing to an image whose bytes are as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_image(
    retriever: *const skf_retriever,
    image: *const skf_image,
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> skf_status {
    let sketch = skf_sketch { image, ..skf_sketch::default() };
    // SAFETY: by this function's contract.
    guarded(|| unsafe { find(retriever, &[sketch], k, filter, out, |failure, _| failure) })
}

/// Finds the `k` photos that match a drawing that is strokes; otherwise as skf_query.
///
/// # Safety
/// As of skf_query, with `strokes` pointing to strokes whose pointers are as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_strokes(
    retriever: *const skf_retriever,
    strokes: *const skf_strokes,
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> skf_status {
    let sketch = skf_sketch { strokes, ..skf_sketch::default() };
    // SAFETY: by this function's contract.
    guarded(|| unsafe { find(retriever, &[sketch], k, filter, out, |failure, _| failure) })
}

/// Finds for each of `n_sketches` sketches the `k` photos that match it, all of one state of the gallery, faster than one
/// after another. `out` has room for as many answers, each of which skf_matches_free frees. All are answered or none: the
/// message of an error says at which sketch, from 1.
///
/// # Safety
/// As of skf_query, with `sketches` pointing to `n_sketches` sketches, whose pointers are as they say, and `out` to room for
/// as many answers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_many(
    retriever: *const skf_retriever,
    sketches: *const skf_sketch,
    n_sketches: usize,
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let sketches = unsafe { array(sketches, n_sketches, "sketches") }?;
        let at = |Failure(status, words): Failure, place| Failure(status, format!("sketch {place}: {words}"));
        // SAFETY: by this function's contract.
        unsafe { find(retriever, sketches, k, filter, out, at) }
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
        // Several of them at once would be taken for as many queries.
        let width = retriever.retriever.width();
        if values.len() != width {
            return Err(bad(format!("an embedding has the width {}, expected {width}", values.len())));
        }
        // SAFETY: by this function's contract.
        unsafe { answer(retriever, values, 1, k, filter, out) }
    })
}

/// Searches with sketches and gives the answers out. What goes wrong with one is told by `at`, with its place from 1.
///
/// # Safety
/// That of [`skf_query_many`], where pointers may be null.
unsafe fn find(
    retriever: *const skf_retriever,
    sketches: &[skf_sketch],
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
    at: impl Fn(Failure, usize) -> Failure,
) -> Outcome<()> {
    // SAFETY: by this function's contract.
    let retriever = unsafe { handle(retriever, "retriever") }?;
    let mut embeddings = Vec::with_capacity(sketches.len() * retriever.retriever.width());
    // A few at a time, for each is a picture that may be large.
    for (first, some) in (0..).step_by(SKETCHES_AT_ONCE).zip(sketches.chunks(SKETCHES_AT_ONCE)) {
        let pictures = some.iter().zip(first + 1..).map(|(sketch, place)| {
            // SAFETY: by this function's contract.
            let picture = unsafe { drawing(sketch, retriever) }.map_err(|failure| at(failure, place))?;
            let framed = retriever.retriever.framed(&picture).map_err(|error| at(error.into(), place))?;
            Ok(framed.into_owned())
        });
        let pictures = pictures.collect::<Outcome<Vec<_>>>()?;
        embeddings.extend(retriever.retriever.embed_as(Modality::Sketch, &pictures)?);
    }
    // SAFETY: by this function's contract.
    unsafe { answer(retriever, &embeddings, sketches.len(), k, filter, out) }
}

const SKETCHES_AT_ONCE: usize = 32;

/// Searches with `n` embeddings and gives the answers out.
///
/// # Safety
/// `filter` is null or a live handle, `out` is null or room for `n` answers.
unsafe fn answer(
    retriever: &skf_retriever,
    embeddings: &[f32],
    n: usize,
    k: usize,
    filter: *const skf_filter,
    out: *mut *mut skf_matches,
) -> Outcome<()> {
    if n > 0 && out.is_null() {
        return Err(bad("the place for the result is null"));
    }
    let everything = skf_filter(Filter::everything());
    // SAFETY: by this function's contract.
    let filter = unsafe { filter.as_ref() }.unwrap_or(&everything);
    let snapshot = retriever.retriever.snapshot();
    let found = snapshot.search_batch(embeddings, k, &filter.0)?;
    let is_any_empty = k > 0 && found.iter().any(Vec::is_empty);
    // The same for all of them: it is the filter's affair.
    let nothing = if is_any_empty { snapshot.why_nothing(&filter.0) } else { None };
    let answers =
        found.iter().map(|found| skf_matches::new(found, nothing.as_ref().filter(|_| found.is_empty())));
    // All before the first is given out.
    let answers = answers.collect::<Outcome<Vec<_>>>()?;
    for (place, answer) in answers.into_iter().enumerate() {
        // SAFETY: not null, and by this function's contract there is room for it.
        unsafe { give(out.add(place), Box::into_raw(Box::new(answer))) }?;
    }
    Ok(())
}
