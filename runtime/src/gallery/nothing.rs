//! Why a search finds nothing.

use std::collections::BTreeSet;
use std::fmt;

use super::Snapshot;
use crate::Filter;

/// Why no photo can be found: an empty answer is an answer, and says what to look at.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Nothing {
    /// The gallery has no photos.
    EmptyGallery,
    /// No photo has these labels, each of which, or one of which, was asked for.
    NoSuchLabel(Vec<String>),
    /// No photo shows any of these products, which were asked for.
    NoSuchProduct(Vec<String>),
    /// The gallery has none of the photos that were asked for.
    NoSuchId(Vec<String>),
    /// Each condition is met by some photos, and all of them by none.
    Filter {
        /// The number of photos in the gallery.
        n_photos: usize,
    },
    /// Photos were found, and it is not likely enough that one of them is the one that was drawn.
    NoFit {
        /// The probability that it is one of the first.
        score: f64,
        /// The least that was asked for.
        min_score: f64,
    },
}

impl Nothing {
    /// A word for programs: `empty_gallery`, `no_such_label`, `no_such_product`, `no_such_id`, `filter` or `no_fit`.
    pub fn code(&self) -> &'static str {
        match self {
            Nothing::EmptyGallery => "empty_gallery",
            Nothing::NoSuchLabel(_) => "no_such_label",
            Nothing::NoSuchProduct(_) => "no_such_product",
            Nothing::NoSuchId(_) => "no_such_id",
            Nothing::Filter { .. } => "filter",
            Nothing::NoFit { .. } => "no_fit",
        }
    }
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nothing::EmptyGallery => write!(f, "the gallery has no photos"),
            Nothing::NoSuchLabel(labels) => write!(f, "no photo has the label {}", listed(labels)),
            Nothing::NoSuchProduct(products) => write!(f, "no photo shows the product {}", listed(products)),
            Nothing::NoSuchId(ids) => write!(f, "the gallery has no photo {}", listed(ids)),
            Nothing::Filter { n_photos } => write!(f, "the filter leaves none of the {n_photos} photos"),
            Nothing::NoFit { score, min_score } => {
                write!(f, "nothing fits: the score is {score:.4}, expected at least {min_score:.4}")
            }
        }
    }
}

/// `'a', 'b' or 'c'`, and of many the first.
fn listed(texts: &[String]) -> String {
    const MOST: usize = 5;
    let shown: Vec<String> = texts.iter().take(MOST).map(|text| format!("'{text}'")).collect();
    if texts.len() > MOST {
        return format!("{} or {} others", shown.join(", "), texts.len() - MOST);
    }
    match shown.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

impl Snapshot {
    /// Why a search with `filter` finds nothing here; nothing where it finds something.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use sketchfind::{Filter, Gallery, GalleryOptions, Nothing};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("gallery");
    /// # Gallery::create_empty(&path, Path::new("tests/fixtures/mean8"), &GalleryOptions::exact("docs 1.0"))?;
    /// let snapshot = Gallery::open(&path)?.snapshot();
    /// assert_eq!(snapshot.why_nothing(&Filter::everything()), Some(Nothing::EmptyGallery));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn why_nothing(&self, filter: &Filter) -> Option<Nothing> {
        if self.is_empty() {
            return Some(Nothing::EmptyGallery);
        }
        if filter.is_everything() || self.parts().iter().any(|part| !part.rows_that_pass(filter).is_empty()) {
            return None;
        }
        let unknown = |labels: &BTreeSet<String>| -> Vec<String> {
            let unknown =
                labels.iter().filter(|label| !self.parts().iter().any(|part| part.has_label(label)));
            unknown.cloned().collect()
        };
        let absent = unknown(filter.all_of());
        if !absent.is_empty() {
            return Some(Nothing::NoSuchLabel(absent));
        }
        let is_absent = |any: &&BTreeSet<String>| !any.is_empty() && unknown(any).len() == any.len();
        if let Some(any) = filter.any_of().iter().find(is_absent) {
            return Some(Nothing::NoSuchLabel(any.iter().cloned().collect()));
        }
        let is_shown = |product: &String| self.parts().iter().any(|part| part.has_product(product));
        if let Some(products) =
            filter.products().filter(|products| !products.is_empty() && !products.iter().any(is_shown))
        {
            return Some(Nothing::NoSuchProduct(products.iter().cloned().collect()));
        }
        let ids =
            filter.ids().filter(|ids| !ids.is_empty() && !ids.iter().any(|id| self.photo(id).is_some()));
        if let Some(ids) = ids {
            return Some(Nothing::NoSuchId(ids.iter().cloned().collect()));
        }
        Some(Nothing::Filter { n_photos: self.len() })
    }
}
