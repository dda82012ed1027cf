//! Whether a JPEG file is whole. Decoders fill what is missing of a cut file with grey and say nothing, so a half
//! download would become a wrong embedding; the end of the file tells.

/// Whether the markers of a JPEG file lead to its end-of-image marker (ITU-T T.81, annex B). What stands behind it, such
/// as a camera's second image, does not matter.
///
/// Damage inside of compressed data is not seen by this, nor by any reader: it is other pixels.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 0;
    loop {
        // A marker is 0xff, perhaps several, and a byte that is neither 0 (a stuffed 0xff of compressed data) nor 0xff.
        let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) else {
            return false;
        };
        at += offset + 1;
        let Some(&marker) = bytes.get(at) else {
            return false;
        };
        match marker {
            0x00 => at += 1,
            0xff => {}
            END_OF_IMAGE => return true,
            // Start of image, restart markers, TEM: without a length.
            0x01 | 0xd0..=0xd8 => at += 1,
            _ => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else {
                    return false;
                };
                // The length counts its own two bytes. Behind a scan's header its compressed data follow, which the
                // search for the next marker passes over.
                at += 1 + usize::from(u16::from_be_bytes([high, low]));
                if marker == START_OF_SCAN && at >= bytes.len() {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn markers_are_followed_to_the_end() {
        // Start, a comment that holds an end marker, a scan with a stuffed byte and a restart, end.
        let whole = [
            0xff, 0xd8, 0xff, 0xfe, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 3, 7, 1, 0xff, 0, 2, 0xff, 0xd0, 3,
            0xff, 0xd9,
        ];
        assert!(is_whole(&whole));
        for length in 0..whole.len() {
            assert!(!is_whole(&whole[..length]), "{length} bytes");
        }
        let behind: Vec<u8> = whole.iter().chain(&[1, 2, 3]).copied().collect();
        assert!(is_whole(&behind));
    }
}
