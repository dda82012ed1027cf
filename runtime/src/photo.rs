//! A photo of a gallery: its id, its labels, where its file is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sketchfind_core::Error as CoreError;

use crate::Result;

/// The longest id, label or path, in bytes: more is a mistake, and would make every answer as long.
pub const LONGEST_TEXT: usize = 4096;
/// The most labels of one photo.
pub const MOST_LABELS: usize = 1024;

/// What a gallery knows of a photo besides its embedding.
///
/// ```
/// use sketchfind_runtime::Photo;
/// let photo = Photo::new("shoe-17").with_labels(["boots", "in stock"]).with_source("shop/17.jpg");
/// assert!(photo.labels().contains("boots"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    id: String,
    labels: BTreeSet<String>,
    source: Option<PathBuf>,
    content: Option<[u8; 32]>,
}

impl Photo {
    /// A photo with an id and nothing else.
    pub fn new(id: impl Into<String>) -> Photo {
        Photo { id: id.into(), labels: BTreeSet::new(), source: None, content: None }
    }

    /// The same photo with these labels besides those that it has.
    #[must_use]
    pub fn with_labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Photo {
        self.labels.extend(labels.into_iter().map(Into::into));
        self
    }

    /// The same photo with the path of its file, as it shall be found by whoever opens the gallery.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<PathBuf>) -> Photo {
        self.source = Some(source.into());
        self
    }

    /// The same photo with the SHA-256 of its file's bytes, by which a file that is in already is known.
    #[must_use]
    pub fn with_content(mut self, sha256: [u8; 32]) -> Photo {
        self.content = Some(sha256);
        self
    }

    /// The id, unique in its gallery.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The labels, sorted.
    pub fn labels(&self) -> &BTreeSet<String> {
        &self.labels
    }

    /// The photo's file, where the gallery was told.
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// The SHA-256 of the photo's file, where the gallery was told.
    pub fn content(&self) -> Option<&[u8; 32]> {
        self.content.as_ref()
    }

    /// Checks what a gallery keeps: an id and labels that are text of at most [`LONGEST_TEXT`] bytes, a path that is
    /// UTF-8.
    pub(crate) fn check(&self) -> Result<()> {
        check_text("a photo's id", &self.id)?;
        for label in &self.labels {
            check_text("a photo's label", label)?;
        }
        if self.labels.len() > MOST_LABELS {
            let value = format!("{} for the photo '{}'", self.labels.len(), self.id);
            let expected = format!("at most {MOST_LABELS}");
            return Err(CoreError::OutOfRange { what: "number of labels", value, expected }.into());
        }
        let Some(source) = &self.source else {
            return Ok(());
        };
        match source.to_str() {
            Some(text) if text.len() <= LONGEST_TEXT => Ok(()),
            _ => {
                let value = format!("'{}' for the photo '{}'", source.display(), self.id);
                let expected = format!("UTF-8 of at most {LONGEST_TEXT} bytes");
                Err(CoreError::OutOfRange { what: "a photo's path", value, expected }.into())
            }
        }
    }
}

fn check_text(what: &'static str, text: &str) -> Result<()> {
    if !text.is_empty() && text.len() <= LONGEST_TEXT {
        return Ok(());
    }
    let value = match text.len() {
        0 => "empty".to_owned(),
        n => format!("'{}...' of {n} bytes", text.chars().take(32).collect::<String>()),
    };
    Err(CoreError::OutOfRange { what, value, expected: format!("1 to {LONGEST_TEXT} bytes") }.into())
}
