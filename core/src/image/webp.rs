//! Whether the pixels of a WebP file are all there. Its lossy decoder does not always notice that its bits have ended; the
//! length of the chunk that holds them tells.

/// The signature, the file's length and the name of the format.
const HEADER_LEN: usize = 12;

/// Whether a chunk with pixels, up to the first picture's, is shorter than it says. The byte that a chunk of an odd length
/// has behind it is none of its own.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    let mut at = HEADER_LEN;
    while let Some((name, length)) = chunk_at(bytes, at) {
        let end = at.saturating_add(8).saturating_add(length);
        let (has_pixels, is_last) = match name {
            b"VP8 " | b"VP8L" | b"ANMF" => (true, true),
            b"ALPH" => (true, false),
            _ => (false, false),
        };
        if has_pixels && end > bytes.len() {
            return true;
        }
        if is_last {
            return false;
        }
        at = end.saturating_add(length & 1);
    }
    // No picture: the decoder says so.
    false
}

/// The name of the chunk at a place, and the length of its content.
fn chunk_at(bytes: &[u8], at: usize) -> Option<(&[u8; 4], usize)> {
    let (name, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    Some((name, usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?))
}
