//! Embeddings, for those who keep or compare them themselves.

use sketchfind_core::image::Image;

use crate::border::{array, guarded, handle, room};
use crate::picture::{drawing, picture, skf_image, skf_sketch};
use crate::retriever::skf_retriever;
use crate::status::{Outcome, bad, skf_status};
use sketchfind::Modality;

/// Writes the embedding of the image whose file's bytes are given to `out`, which has room for `n_out` numbers, as many
/// as skf_width says. The image is taken as it is: not framed as queries and photos are.
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
    let image = skf_image { bytes, n_bytes, ..skf_image::default() };
    // SAFETY: by this function's contract.
    unsafe { skf_embed_image(retriever, &raw const image, out, n_out) }
}

/// Writes the embedding of an image; otherwise as skf_embed.
///
/// # Safety
/// As of skf_embed, with `image` pointing to an image whose bytes are as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_embed_image(
    retriever: *const skf_retriever,
    image: *const skf_image,
    out: *mut f32,
    n_out: usize,
) -> skf_status {
    let read = |retriever: &skf_retriever| {
        // SAFETY: by this function's contract.
        unsafe { picture(image, "given as bytes", retriever.limits) }
    };
    // SAFETY: by this function's contract.
    unsafe { embed(retriever, Modality::Photo, read, out, n_out) }
}

/// Writes the embedding of a drawing, framed as that of a query; otherwise as skf_embed. skf_query_embedding finds with it what
/// a query with the drawing finds.
///
/// # Safety
/// As of skf_embed, with `sketch` pointing to a sketch whose pointers are as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_embed_sketch(
    retriever: *const skf_retriever,
    sketch: *const skf_sketch,
    out: *mut f32,
    n_out: usize,
) -> skf_status {
    let read = |retriever: &skf_retriever| {
        // SAFETY: by this function's contract.
        let drawing = unsafe { drawing(handle(sketch, "sketch")?, retriever) }?;
        Ok(retriever.retriever.framed(&drawing)?.into_owned())
    };
    // SAFETY: by this function's contract.
    unsafe { embed(retriever, Modality::Sketch, read, out, n_out) }
}

/// `n` embeddings of `width` numbers, one after another.
///
/// # Safety
/// `embeddings` is null or points to `n` times `width` numbers that live for `'a`.
pub(crate) unsafe fn matrix<'a>(
    embeddings: *const f32,
    n: usize,
    width: usize,
    retriever: &skf_retriever,
) -> Outcome<&'a [f32]> {
    let own = retriever.retriever.width();
    if n > 0 && width != own {
        return Err(bad(format!("the width of embeddings is {width}, expected {own}")));
    }
    let n_numbers = n.checked_mul(width).ok_or_else(|| bad(format!("{n} embeddings are too many")))?;
    // SAFETY: by this function's contract.
    unsafe { array(embeddings, n_numbers, "embeddings") }
}

/// # Safety
/// `retriever` is null or a live handle, `out` is null or points to `n_out` numbers that may be written.
unsafe fn embed(
    retriever: *const skf_retriever,
    modality: Modality,
    read: impl FnOnce(&skf_retriever) -> Outcome<Image>,
    out: *mut f32,
    n_out: usize,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let retriever = unsafe { handle(retriever, "retriever") }?;
        // SAFETY: by this function's contract.
        let room = unsafe { room(out, n_out, retriever.retriever.width()) }?;
        let embedding = retriever.retriever.embed_as(modality, &[read(retriever)?])?;
        for (place, value) in room.iter_mut().zip(embedding) {
            place.write(value);
        }
        Ok(())
    })
}
