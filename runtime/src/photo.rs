//! A photo of a gallery: its id, its product, its labels, where its file is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sketchfind_core::Error as CoreError;
use sketchfind_core::unicode::nfc;

use crate::Result;

/// The longest id, label or path, in bytes: more is a mistake, and would make every answer as long.
pub const LONGEST_TEXT: usize = 4096;
/// The most labels of one photo.
pub const MOST_LABELS: usize = 1024;

static NO_LABELS: BTreeSet<String> = BTreeSet::new();

/// What a gallery knows of a photo besides its embedding.
///
/// What is not given is not empty: a photo that takes the place of another keeps its product, its labels and its path, unless
/// others are given. To give no labels is to give an empty list of them, and to give no product is to give an empty one.
///
/// ```
/// use sketchfind::Photo;
/// let photo = Photo::new("shoe-17").with_labels(["boots", "in stock"]).with_source("shop/17.jpg");
/// assert!(photo.labels().contains("boots"));
/// // Every way in which Unicode writes a label is one label.
/// assert!(Photo::new("a").with_labels(["cafe\u{301}"]).labels().contains("caf\u{e9}"));
/// ```
#[derive(Clone, Debug)]
pub struct Photo {
    id: String,
    /// In normalisation form C, as the labels; empty where it is given that there is none.
    product: Option<String>,
    labels: Option<BTreeSet<String>>,
    source: Option<PathBuf>,
    content: Option<[u8; 32]>,
}

impl PartialEq for Photo {
    /// A gallery makes no difference between no labels and labels that were not given, nor between no product and none given.
    fn eq(&self, other: &Photo) -> bool {
        (&self.id, self.product(), self.labels(), &self.source, &self.content)
            == (&other.id, other.product(), other.labels(), &other.source, &other.content)
    }
}

impl Eq for Photo {}

impl Photo {
    /// A photo with an id and nothing else.
    pub fn new(id: impl Into<String>) -> Photo {
        Photo { id: id.into(), product: None, labels: None, source: None, content: None }
    }

    /// The same photo as one of the product `product`, which several photos may show: searches may find products in the place
    /// of photos ([`SearchOptions::by_product`](crate::SearchOptions::by_product)). With an empty text it is given that it has
    /// none.
    #[must_use]
    pub fn with_product(mut self, product: impl Into<String>) -> Photo {
        self.product = Some(nfc(&product.into()).into_owned());
        self
    }

    /// The same photo with these labels besides those that it was given. With none at all it is given that it has none.
    #[must_use]
    pub fn with_labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Photo {
        let own = self.labels.get_or_insert_default();
        own.extend(labels.into_iter().map(|label| nfc(&label.into()).into_owned()));
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

    /// The product that it shows, where the gallery was told.
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref().filter(|product| !product.is_empty())
    }

    /// The labels, sorted.
    pub fn labels(&self) -> &BTreeSet<String> {
        self.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// The photo's file, where the gallery was told.
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// The SHA-256 of the photo's file, where the gallery was told.
    pub fn content(&self) -> Option<&[u8; 32]> {
        self.content.as_ref()
    }

    /// The same photo with what it was not given as `before`, in whose place it comes, has it.
    pub(crate) fn in_place_of(mut self, before: &Photo) -> Photo {
        self.product = self.product.or_else(|| before.product.clone());
        self.labels = self.labels.or_else(|| before.labels.clone());
        self.source = self.source.or_else(|| before.source.clone());
        self
    }

    /// Checks what a gallery keeps: an id, a product, labels and a path of at most [`LONGEST_TEXT`] bytes, and at most
    /// [`MOST_LABELS`] labels.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core) with what is too much.
    pub fn check(&self) -> Result<()> {
        check_text("a photo's id", &self.id)?;
        if let Some(product) = self.product() {
            check_text("a photo's product", product)?;
        }
        for label in self.labels() {
            check_text("a photo's label", label)?;
        }
        if self.labels().len() > MOST_LABELS {
            let value = format!("{} for the photo '{}'", self.labels().len(), self.id);
            let expected = format!("at most {MOST_LABELS}");
            return Err(CoreError::OutOfRange { what: "number of labels", value, expected }.into());
        }
        let Some(source) = &self.source else {
            return Ok(());
        };
        // A path is what the system says it is; only some systems have paths that are no text.
        let is_kept = cfg!(unix) || source.to_str().is_some();
        if is_kept && source.as_os_str().len() <= LONGEST_TEXT {
            return Ok(());
        }
        let value = format!("'{}' for the photo '{}'", source.display(), self.id);
        let expected = format!("a path of at most {LONGEST_TEXT} bytes that this system can write down");
        Err(CoreError::OutOfRange { what: "a photo's path", value, expected }.into())
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
