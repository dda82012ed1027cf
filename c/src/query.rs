//! Queries: a drawing, several of them, or an embedding.

use crate::border::{array, give, guarded, handle};
use crate::embed::matrix;
use crate::filter::skf_filter;
use crate::matches::skf_matches;
use crate::picture::{drawing, skf_image, skf_sketch, skf_strokes};
use crate::retriever::skf_retriever;
use crate::search_options::skf_search_options;
use crate::status::{Failure, Outcome, bad, skf_status};
use sketchfind::{Filter, Modality};

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
    guarded(|| unsafe { find(retriever, &[sketch], Question::new(k, filter), out, |failure, _| failure) })
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
    guarded(|| unsafe { find(retriever, &[sketch], Question::new(k, filter), out, |failure, _| failure) })
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
    // SAFETY: by this function's contract.
    unsafe { skf_query_many_with(retriever, sketches, n_sketches, k, filter, std::ptr::null(), out) }
}

/// Finds the `k` photos that match a drawing, an image or strokes, as `options` say, which may be null; otherwise as skf_query.
///
/// # Safety
/// As of skf_query, with `sketch` pointing to a sketch whose pointers are as it says, and `options` null or pointing to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_with(
    retriever: *const skf_retriever,
    sketch: *const skf_sketch,
    k: usize,
    filter: *const skf_filter,
    options: *const skf_search_options,
    out: *mut *mut skf_matches,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let sketch = unsafe { handle(sketch, "sketch") }?;
        let question = Question { k, filter, options };
        // SAFETY: by this function's contract.
        unsafe { find(retriever, std::slice::from_ref(sketch), question, out, |failure, _| failure) }
    })
}

/// Answers as `options` say, which may be null; otherwise as skf_query_many.
///
/// # Safety
/// As of skf_query_many, with `options` null or pointing to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_many_with(
    retriever: *const skf_retriever,
    sketches: *const skf_sketch,
    n_sketches: usize,
    k: usize,
    filter: *const skf_filter,
    options: *const skf_search_options,
    out: *mut *mut skf_matches,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let sketches = unsafe { array(sketches, n_sketches, "sketches") }?;
        let at = |Failure(status, words): Failure, place| Failure(status, format!("sketch {place}: {words}"));
        // SAFETY: by this function's contract.
        unsafe { find(retriever, sketches, Question { k, filter, options }, out, at) }
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
    // Several of them at once would be taken for as many queries.
    // SAFETY: by this function's contract.
    unsafe { skf_query_embeddings(retriever, values, 1, n_values, k, filter, std::ptr::null(), out) }
}

/// Finds for each of `n` embeddings, `n` times `width` numbers, the `k` photos nearest to it, all of one state of the gallery, as
/// `options` say, which may be null. `width` is what skf_width says. `out` has room for `n` answers, each of which
/// skf_matches_free frees; all are answered or none. Otherwise as skf_query.
///
/// # Safety
/// As of skf_query, with `embeddings` pointing to `n` times `width` numbers, `options` null or pointing to options, and `out` to
/// room for `n` answers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_query_embeddings(
    retriever: *const skf_retriever,
    embeddings: *const f32,
    n: usize,
    width: usize,
    k: usize,
    filter: *const skf_filter,
    options: *const skf_search_options,
    out: *mut *mut skf_matches,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let retriever = unsafe { handle(retriever, "retriever") }?;
        // SAFETY: by this function's contract.
        let embeddings = unsafe { matrix(embeddings, n, width, retriever) }?;
        // SAFETY: by this function's contract.
        unsafe { answer(retriever, embeddings, n, Question { k, filter, options }, out) }
    })
}

/// What is asked besides what is looked for, as the caller has given it.
#[derive(Clone, Copy)]
struct Question {
    k: usize,
    /// Null or a live handle.
    filter: *const skf_filter,
    /// Null or options.
    options: *const skf_search_options,
}

impl Question {
    fn new(k: usize, filter: *const skf_filter) -> Question {
        Question { k, filter, options: std::ptr::null() }
    }
}

/// Searches with sketches and gives the answers out. What goes wrong with one is told by `at`, with its place from 1.
///
/// # Safety
/// That of [`skf_query_many`], where pointers may be null.
unsafe fn find(
    retriever: *const skf_retriever,
    sketches: &[skf_sketch],
    question: Question,
    out: *mut *mut skf_matches,
    at: impl Fn(Failure, usize) -> Failure,
) -> Outcome<()> {
    // SAFETY: by this function's contract.
    let retriever = unsafe { handle(retriever, "retriever") }?;
    retriever.retriever.check_model()?;
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
    unsafe { answer(retriever, &embeddings, sketches.len(), question, out) }
}

const SKETCHES_AT_ONCE: usize = 32;

/// Searches with `n` embeddings and gives the answers out.
///
/// # Safety
/// The question's pointers are as it says, `out` is null or room for `n` answers.
unsafe fn answer(
    retriever: &skf_retriever,
    embeddings: &[f32],
    n: usize,
    question: Question,
    out: *mut *mut skf_matches,
) -> Outcome<()> {
    if n > 0 && out.is_null() {
        return Err(bad("the place for the result is null"));
    }
    let everything = skf_filter(Filter::everything());
    // SAFETY: by this function's contract.
    let (filter, options) = unsafe { (question.filter.as_ref(), question.options.as_ref()) };
    let (options, min_score) = options.copied().unwrap_or_default().checked(retriever)?;
    let (k, filter) = (question.k, &filter.unwrap_or(&everything).0);
    let answers = retriever.retriever.answer_embeddings(embeddings, k, filter, options, min_score)?;
    let answers = answers.into_iter().map(|mut answer| {
        if k == 0 {
            // Who asks for none is told of none.
            answer.nothing = None;
        }
        skf_matches::new(&answer)
    });
    // All before the first is given out.
    let answers = answers.collect::<Outcome<Vec<_>>>()?;
    for (place, answer) in answers.into_iter().enumerate() {
        // SAFETY: not null, and by this function's contract there is room for it.
        unsafe { give(out.add(place), Box::into_raw(Box::new(answer))) }?;
    }
    Ok(())
}
