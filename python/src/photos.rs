//! What `sketchfind.ray` asks before it embeds: which photos a folder or a store has, whether a gallery would keep one, what a
//! model is made of.

use std::path::PathBuf;

use pyo3::prelude::*;
use sketchfind::LONGEST_TEXT;
use sketchfind_core::card::{CARD, Card};
use sketchfind_core::photo_files::{Exclude, PhotoFiles};

use crate::arguments::{Frame, Texts, photo};
use crate::errors::raised;
use crate::work;

/// Ids and paths of what a folder has, and of what cannot be read the reason; and in words what was passed over.
type Found = (Vec<(String, PathBuf, Option<String>)>, Vec<String>);

/// A model's fingerprint, the width of its embeddings, its photo frame, its files.
type Facts = (String, usize, Option<(f32, f32)>, Vec<String>);

fn exclusion(patterns: Texts) -> PyResult<Exclude> {
    let Texts(patterns) = patterns;
    Exclude::new(&patterns).map_err(|error| raised(error.into()))
}

/// What lies below a folder, as `sketchfind index build` finds it: id, absolute path, and why it cannot be read, where that is so.
#[pyfunction]
pub(crate) fn _photo_files(py: Python<'_>, folder: PathBuf, exclude: Texts) -> PyResult<Found> {
    let exclude = exclusion(exclude)?;
    work::run(py, move |_, _| {
        let found = PhotoFiles::below(&folder, &exclude)?;
        let folder = std::path::absolute(&folder).map_err(sketchfind_core::Error::io("read", &folder))?;
        let photos = found.photos.into_iter().map(|photo| (photo.id, photo.path, None));
        let left_out = found.left_out.into_iter().map(|file| (file.id, file.path, Some(file.reason)));
        let all = photos.chain(left_out).map(|(id, path, reason)| {
            let is_too_long = id.len() > LONGEST_TEXT;
            let too_long =
                || format!("its id would have {} bytes, at most {LONGEST_TEXT} are kept", id.len());
            let reason = reason.or_else(|| is_too_long.then(too_long));
            (id, folder.join(path), reason)
        });
        Ok((all.collect(), found.passed_over))
    })
}

/// What may be photos of a store's listing, as [`_photo_files`] gives it, with paths as they were listed.
#[pyfunction]
pub(crate) fn _photos_listed(paths: Texts, exclude: Texts) -> PyResult<Found> {
    let Texts(paths) = paths;
    let found = PhotoFiles::listed(paths.iter().map(String::as_str), &exclusion(exclude)?);
    let photos = found.photos.into_iter().map(|photo| (photo.id, photo.path, None));
    Ok((photos.collect(), found.passed_over))
}

/// Raises ValueError where a gallery would not keep a photo.
#[pyfunction]
pub(crate) fn _check_photo(
    id: String,
    labels: Option<Texts>,
    source: Option<PathBuf>,
    product: Option<String>,
) -> PyResult<()> {
    photo(id, labels, source, product).check().map_err(raised)
}

/// A model's fingerprint, the width of its embeddings, how it frames photos (the share that products typically fill and the least, or
/// None), and its files below its folder.
#[pyfunction]
pub(crate) fn _model(py: Python<'_>, model: PathBuf, frame: Frame) -> PyResult<Facts> {
    let Frame(framing) = frame;
    work::run(py, move |_, _| {
        let card = Card::load_with_model(&model)?;
        let frame = framing.of_photos(card.frame)?.map(|frame| (frame.typical, frame.least));
        let files = std::iter::once(CARD.to_owned()).chain(card.files().into_keys()).collect();
        Ok((card.fingerprint(), card.embedding_width, frame, files))
    })
}
