//! Galleries without a model: what their embeddings are.

use std::ffi::c_char;

use crate::border::{check_reserve, guarded, handle, text, text_or_none};
use crate::retriever::{TOOL, index_of};
use crate::status::{Outcome, bad, skf_status};
use sketchfind::{Distance, EmbeddingSpace, Gallery, GalleryOptions};

/// By what embeddings are compared.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum skf_distance {
    /// The mean of the squared differences.
    SKF_MSE = 0,
    /// One minus the cosine of the angle between them.
    SKF_COSINE = 1,
}

/// The space of a gallery's embeddings, where it has no model to say so.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_space {
    /// How many numbers an embedding has, 1 to 1048576.
    pub width: usize,
    /// By what they are compared: a value of skf_distance.
    pub distance: u32,
    /// The model that makes them, a text of 64 hexadecimal digits (`sha256` of `sketchfind info`): files of embeddings by
    /// another are refused then. Null where it is not named.
    pub model_sha256: *const c_char,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// Makes an empty gallery at `path` that has no model, with an index of skf_index: its photos are embeddings that are ready
/// (skf_add_embeddings, skf_import), and it is asked with such (skf_query_embeddings). A gallery that is there is replaced.
/// skf_open opens it as any other; what takes a picture is SKF_NO_MODEL there.
///
/// # Safety
/// `path` is a text, `space` points to a space whose text is null or a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_create_without_model(
    path: *const c_char,
    space: *const skf_space,
    index: u32,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (path, space) = unsafe { (text(path, "path")?, space_of(handle(space, "space")?)?) };
        let options = GalleryOptions::with_index(index_of(index)?, TOOL);
        Ok(Gallery::create_without_model(path, &space, &options)?)
    })
}

/// # Safety
/// The space's text is null or a text.
unsafe fn space_of(given: &skf_space) -> Outcome<EmbeddingSpace> {
    check_reserve(&given.reserved, "skf_space")?;
    const MSE: u32 = skf_distance::SKF_MSE as u32;
    const COSINE: u32 = skf_distance::SKF_COSINE as u32;
    let distance = match given.distance {
        MSE => Distance::Mse,
        COSINE => Distance::Cosine,
        other => return Err(bad(format!("distance is {other}, expected a value of skf_distance"))),
    };
    let space = EmbeddingSpace::new(given.width, distance);
    // SAFETY: by this function's contract.
    Ok(match unsafe { text_or_none(given.model_sha256, "model_sha256") }? {
        Some(sha256) => space.with_model(sha256),
        None => space,
    })
}
