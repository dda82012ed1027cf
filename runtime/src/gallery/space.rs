//! The space of a gallery's embeddings: how wide they are, what is near, and whose they are.

use sketchfind_core::distance::Distance;
use sketchfind_core::{Error as CoreError, fingerprint};

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
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=WIDEST).contains(&self.width) {
            let (value, expected) = (self.width.to_string(), format!("1 to {WIDEST}"));
            return Err(CoreError::OutOfRange { what: "width of embeddings", value, expected }.into());
        }
        match &self.model_sha256 {
            Some(text) if fingerprint::of_hex(text).is_none() => {
                let (value, expected) = (format!("'{text}'"), "64 hexadecimal digits".to_owned());
                Err(CoreError::OutOfRange { what: "model_sha256", value, expected }.into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
