//! The space of a gallery's embeddings: how wide they are, what is near, and whose they are.

use sketchfind_core::Error as CoreError;
use sketchfind_core::distance::Distance;

use crate::Result;

/// The widest embedding that is taken: more is a mistake.
pub(crate) const WIDEST: usize = 1 << 20;

/// The space that embeddings are of, for galleries that have no model to say so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbeddingSpace {
    /// The width of an embedding, D.
    pub width: usize,
    /// The distance by which they are compared.
    pub distance: Distance,
    /// SHA-256 of the `model.onnx` that made them, in 64 hexadecimal digits, where that is known: embeddings by another are
    /// refused then.
    pub model_sha256: Option<String>,
}

impl EmbeddingSpace {
    /// Embeddings of this width and distance, by a model that is not named.
    pub fn new(width: usize, distance: Distance) -> EmbeddingSpace {
        EmbeddingSpace { width, distance, model_sha256: None }
    }

    /// The same by the model with this SHA-256.
    #[must_use]
    pub fn with_model(mut self, sha256: impl Into<String>) -> EmbeddingSpace {
        self.model_sha256 = Some(sha256.into());
        self
    }

    /// Checks the width and the fingerprint.
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=WIDEST).contains(&self.width) {
            let (value, expected) = (self.width.to_string(), format!("1 to {WIDEST}"));
            return Err(CoreError::OutOfRange { what: "width of embeddings", value, expected }.into());
        }
        match &self.model_sha256 {
            Some(text) if bytes_of(text).is_none() => {
                let (value, expected) = (format!("'{text}'"), "64 hexadecimal digits".to_owned());
                Err(CoreError::OutOfRange { what: "model_sha256", value, expected }.into())
            }
            _ => Ok(()),
        }
    }
}

/// The 32 bytes that 64 hexadecimal digits write.
pub(crate) fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The digits of bytes, in small letters.
#[cfg(any(test, feature = "parquet"))]
pub(crate) fn digits_of(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_and_their_digits_are_one_to_one() {
        let bytes: [u8; 32] = std::array::from_fn(|i| (i * 7 + 1) as u8);
        assert_eq!(bytes_of(&digits_of(&bytes)), Some(bytes));
        let long = "0".repeat(65);
        let signed = format!("+1{}", "0".repeat(62));
        for bad in ["", "00", &long, &signed, &"x".repeat(64), &"\u{e9}".repeat(32)] {
            assert_eq!(bytes_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_space_that_is_none_is_refused() {
        let said = |space: EmbeddingSpace| space.check().unwrap_err().to_string();
        assert!(said(EmbeddingSpace::new(0, Distance::Mse)).contains("width of embeddings is 0"));
        assert!(said(EmbeddingSpace::new(WIDEST + 1, Distance::Mse)).contains("1048576"));
        let by = |sha256: &str| EmbeddingSpace::new(3, Distance::Cosine).with_model(sha256);
        assert!(said(by("resnet50")).contains("model_sha256 is 'resnet50'"));
        assert!(by(&"aB".repeat(32)).check().is_ok());
    }
}
