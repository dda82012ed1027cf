//! A PNG file whose last chunk is missing: its pixels stand before it, and the decoder wants to see it.

use std::borrow::Cow;

const SIGNATURE_LEN: usize = 8;
/// Length, name and checksum of a chunk.
const FRAME_LEN: usize = 12;
/// The chunk that ends a file.
const END: &[u8] = b"\0\0\0\0IEND\xaeB\x60\x82";

/// The file with an end, where its chunks lead to none: what there is of a last chunk is left out. Whether the pixels are
/// all there is for the decoder to say.
pub(super) fn with_end(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut at = SIGNATURE_LEN;
    while let Some((length, name)) = chunk_at(bytes, at) {
        let end = at.saturating_add(FRAME_LEN).saturating_add(length);
        if name == b"IEND" {
            // Of a chunk that holds nothing, its checksum is no loss.
            return if end <= bytes.len() { bytes.into() } else { [&bytes[..at], END].concat().into() };
        }
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    [&bytes[..at.min(bytes.len())], END].concat().into()
}

/// The length and name of the chunk at a place.
fn chunk_at(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*length)).ok()?, rest.get(..4)?))
}
