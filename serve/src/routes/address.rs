//! The addresses of photos' files.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but letters, digits and what RFC 3986 leaves alone; a slash in an id is written %2F.
const IN_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a photo's file is, relative to the server's root.
pub(super) fn address(id: &str) -> String {
    format!("photos/{}", utf8_percent_encode(id, IN_A_SEGMENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_segment() {
        assert_eq!(address("photo/1F600"), "photos/photo%2F1F600");
        assert_eq!(address("../a b?#%ä"), "photos/..%2Fa%20b%3F%23%25%C3%A4");
        assert_eq!(address("x-y_z.~1"), "photos/x-y_z.~1");
    }
}
