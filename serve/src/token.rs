//! The word that allows changes to a gallery.

use std::path::Path;

use sketchfind_core::fingerprint;
use subtle::ConstantTimeEq;

use crate::{Error, Result};

/// The word that allows changes to a gallery; kept as its SHA-256, and never shown.
#[derive(Clone)]
pub struct Token {
    sha256: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The fewest characters: 16 random ones of an alphabet of 64 are 96 bits.
    pub const SHORTEST: usize = 16;

    /// A token; `origin` says in errors where it comes from.
    ///
    /// # Errors
    /// [`Error::Token`] where it is shorter than [`Token::SHORTEST`] or cannot stand in a header.
    ///
    /// ```
    /// # use sketchfind_serve::Token;
    /// let token = Token::new("correct-horse-battery", "of the example")?;
    /// assert!(token.is("correct-horse-battery") && !token.is("correct-horse-batterie"));
    /// assert!(Token::new("short", "of the example").is_err());
    /// # Ok::<(), sketchfind_serve::Error>(())
    /// ```
    pub fn new(text: &str, origin: &str) -> Result<Token> {
        let refused = |reason| Err(Error::Token { origin: origin.to_owned(), reason });
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("has characters that are not printable ASCII, or spaces");
        }
        if text.len() < Token::SHORTEST {
            return refused("is shorter than 16 characters; `openssl rand -hex 16` makes one");
        }
        Ok(Token { sha256: fingerprint::of_bytes(text.as_bytes()) })
    }

    /// Reads a token from a file, without the line's end.
    ///
    /// # Errors
    /// [`Error::TokenFile`]; those of [`Token::new`].
    pub fn read(path: &Path) -> Result<Token> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| Error::TokenFile { path: path.to_owned(), reason })?;
        Token::new(text.trim_end_matches(['\r', '\n']), &format!("in '{}'", path.display()))
    }

    /// Whether `text` is this token. How long the answer takes says nothing of how much of it is right.
    pub fn is(&self, text: &str) -> bool {
        let sha256 = fingerprint::of_bytes(text.as_bytes());
        bool::from(self.sha256.as_bytes().ct_eq(sha256.as_bytes()))
    }
}
