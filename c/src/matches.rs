//! The answer to a query.

use std::ffi::{CString, c_char};

use crate::border::{Texts, free};
use crate::status::Outcome;
use sketchfind::Answer;

/// The answer to a query.
pub struct skf_matches {
    // What `matches` points to.
    _texts: Texts,
    matches: Vec<skf_match>,
    score: Option<f64>,
    nothing: Option<(CString, CString)>,
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
    /// The number of its labels.
    pub n_labels: usize,
    /// Its labels, sorted.
    pub labels: *const *const c_char,
    /// The probability, 0 to 1, that it is the photo that was drawn, by `skf_options.calibration`: of the first ten of an answer.
    /// NaN of the others, and where there is no calibration.
    pub score: f64,
    /// The product that it shows, or null where the gallery knows of none. In a search by product the others of its photos are left
    /// out, and the score is that of all of them.
    pub product: *const c_char,
}

impl skf_matches {
    pub(crate) fn new(answer: &Answer) -> Outcome<skf_matches> {
        let mut texts = Texts::default();
        let mut matches = Vec::with_capacity(answer.matches.len());
        for found in &answer.matches {
            let (labels, n_labels) = texts.keep_all(&found.labels)?;
            matches.push(skf_match {
                id: texts.keep(&found.id)?,
                path: texts.keep_path(found.path.as_deref())?,
                distance: found.distance,
                rank: u32::try_from(found.rank).unwrap_or(u32::MAX),
                n_labels,
                labels,
                score: found.score.unwrap_or(f64::NAN),
                product: texts.keep_if_any(found.product.as_deref())?,
            });
        }
        let text = |text: &str| CString::new(text.replace('\0', "?")).unwrap_or_default();
        let nothing = answer.nothing.as_ref();
        let nothing = nothing.map(|nothing| (text(nothing.code()), text(&nothing.to_string())));
        Ok(skf_matches { _texts: texts, matches, score: answer.score, nothing })
    }
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

/// The probability, 0 to 1, that what was drawn is among the first ten matches, by `skf_options.calibration`; also where nothing
/// fits, and there are therefore no matches. NaN for null, where nothing was found, and where there is no calibration.
///
/// # Safety
/// `matches` is null or a live answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_matches_score(matches: *const skf_matches) -> f64 {
    // SAFETY: by this function's contract.
    unsafe { matches.as_ref() }.and_then(|matches| matches.score).unwrap_or(f64::NAN)
}

/// Why there are no matches, in words, or null where there are some, or none were asked for. It lives as long as the answer.
///
/// # Safety
/// `matches` is null or a live answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_matches_nothing(matches: *const skf_matches) -> *const c_char {
    // SAFETY: by this function's contract.
    let nothing = unsafe { matches.as_ref() }.and_then(|matches| matches.nothing.as_ref());
    nothing.map_or(std::ptr::null(), |(_, words)| words.as_ptr())
}

/// Why there are no matches, in a word for programs: `empty_gallery`, `no_such_label`, `no_such_product`, `no_such_id`, `filter`,
/// or `no_fit`, which is that the score is below `skf_search_options.min_score`. Otherwise as skf_matches_nothing.
///
/// # Safety
/// `matches` is null or a live answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_matches_nothing_code(matches: *const skf_matches) -> *const c_char {
    // SAFETY: by this function's contract.
    let nothing = unsafe { matches.as_ref() }.and_then(|matches| matches.nothing.as_ref());
    nothing.map_or(std::ptr::null(), |(code, _)| code.as_ptr())
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
