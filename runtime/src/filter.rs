//! Which photos of a gallery a query may find.

use std::collections::BTreeSet;

use sketchfind_core::Error as CoreError;
use sketchfind_core::unicode::nfc;

use crate::{Photo, Result};

/// Which photos a query may find: all conditions of a filter hold for each of them. A search with a filter is exact:
/// it finds the nearest of all the photos that pass, however few they are. Labels, ids and products are the same in every form of
/// Unicode.
///
/// ```
/// use sketchfind::{Filter, Photo};
/// let filter = Filter::everything().any_label(["boots", "sandals"]).without_label(["sold out"]);
/// assert!(filter.passes(&Photo::new("a").with_labels(["boots"])));
/// assert!(!filter.passes(&Photo::new("b").with_labels(["boots", "sold out"])));
/// assert!(!filter.passes(&Photo::new("c")));
///
/// let both = Filter::everything().any_label(["boots", "sandals"]).any_label(["red", "brown"]);
/// assert!(both.passes(&Photo::new("a").with_labels(["boots", "red"])));
/// assert!(!both.passes(&Photo::new("b").with_labels(["boots", "sandals"])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    // All in normalisation form C.
    ids: Option<BTreeSet<String>>,
    not_ids: BTreeSet<String>,
    products: Option<BTreeSet<String>>,
    not_products: BTreeSet<String>,
    /// Of each of these lists one label has to be there.
    any_of: Vec<BTreeSet<String>>,
    all_of: BTreeSet<String>,
    none_of: BTreeSet<String>,
    /// In SQL, each of them.
    conditions: Vec<String>,
}

impl Filter {
    /// Every photo passes.
    pub fn everything() -> Filter {
        Filter::default()
    }

    /// Only photos of these ids, and of those of an earlier call only the ones that are here too. Ids that the gallery
    /// does not have are no error.
    #[must_use]
    pub fn only_ids<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Filter {
        self.ids = Some(both(self.ids, ids));
        self
    }

    /// No photo of these ids.
    #[must_use]
    pub fn without_ids<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Filter {
        self.not_ids.extend(in_one_form(ids));
        self
    }

    /// Only photos of these products, and of those of an earlier call only the ones that are here too. Products that the
    /// gallery does not have are no error.
    #[must_use]
    pub fn only_products<S: Into<String>>(mut self, products: impl IntoIterator<Item = S>) -> Filter {
        self.products = Some(both(self.products, products));
        self
    }

    /// No photo of these products.
    #[must_use]
    pub fn without_products<S: Into<String>>(mut self, products: impl IntoIterator<Item = S>) -> Filter {
        self.not_products.extend(in_one_form(products));
        self
    }

    /// Only photos with at least one of these labels; none where the list is empty. A second call is a second condition:
    /// photos have one label of each list.
    #[must_use]
    pub fn any_label<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Filter {
        self.any_of.push(in_one_form(labels).collect());
        self
    }

    /// Only photos with every one of these labels.
    #[must_use]
    pub fn every_label<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Filter {
        self.all_of.extend(in_one_form(labels));
        self
    }

    /// No photo with one of these labels.
    #[must_use]
    pub fn without_label<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Filter {
        self.none_of.extend(in_one_form(labels));
        self
    }

    /// Only photos of whose rows this condition of the user's own holds, in SQL: of a gallery in a database, whose table it may
    /// join with others (`id in (select photo from stock where n > 0)`). It is taken as it is: never make it of what a stranger
    /// has written. A gallery in a folder refuses it.
    #[must_use]
    pub fn where_sql(mut self, condition: impl Into<String>) -> Filter {
        self.conditions.push(condition.into());
        self
    }

    /// Whether every photo passes.
    pub fn is_everything(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether `photo` passes, conditions in SQL aside, which only a database can look at.
    pub fn passes(&self, photo: &Photo) -> bool {
        let (id, labels) = (nfc(photo.id()), photo.labels());
        let is_of = |products: &BTreeSet<String>| photo.product().is_some_and(|own| products.contains(own));
        self.ids.as_ref().is_none_or(|ids| ids.contains(id.as_ref()))
            && !self.not_ids.contains(id.as_ref())
            && self.products.as_ref().is_none_or(is_of)
            && !is_of(&self.not_products)
            && self.any_of.iter().all(|any| !any.is_disjoint(labels))
            && self.all_of.is_subset(labels)
            && self.none_of.is_disjoint(labels)
    }

    /// The ids that may pass, in normalisation form C, where the filter lists them.
    pub(crate) fn ids(&self) -> Option<&BTreeSet<String>> {
        self.ids.as_ref()
    }

    /// The products that may pass, where the filter lists them.
    pub(crate) fn products(&self) -> Option<&BTreeSet<String>> {
        self.products.as_ref()
    }

    /// Of each of these lists one label has to be there.
    pub(crate) fn any_of(&self) -> &[BTreeSet<String>] {
        &self.any_of
    }

    /// The labels that all have to be there.
    pub(crate) fn all_of(&self) -> &BTreeSet<String> {
        &self.all_of
    }

    /// The ids that may not pass, in normalisation form C.
    #[cfg(feature = "postgres")]
    pub(crate) fn not_ids(&self) -> &BTreeSet<String> {
        &self.not_ids
    }

    /// The products that may not pass.
    #[cfg(feature = "postgres")]
    pub(crate) fn not_products(&self) -> &BTreeSet<String> {
        &self.not_products
    }

    /// The labels of which none may be there.
    #[cfg(feature = "postgres")]
    pub(crate) fn none_of(&self) -> &BTreeSet<String> {
        &self.none_of
    }

    /// The conditions in SQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn conditions(&self) -> &[String] {
        &self.conditions
    }

    /// Refuses conditions in SQL, of which a folder knows nothing.
    ///
    /// # Errors
    /// [`Error::Core`](crate::Error::Core).
    pub(crate) fn refuse_sql(&self) -> Result<()> {
        match self.conditions.first() {
            None => Ok(()),
            Some(condition) => {
                let value = format!("'{condition}'");
                let expected = "none: a gallery in a folder knows no SQL".to_owned();
                Err(CoreError::OutOfRange { what: "condition", value, expected }.into())
            }
        }
    }
}

/// Those of `texts` that are in `before` too, where that is a condition already.
fn both<S: Into<String>>(
    before: Option<BTreeSet<String>>,
    texts: impl IntoIterator<Item = S>,
) -> BTreeSet<String> {
    in_one_form(texts).filter(|text| before.as_ref().is_none_or(|before| before.contains(text))).collect()
}

fn in_one_form<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> impl Iterator<Item = String> {
    texts.into_iter().map(|text| nfc(&text.into()).into_owned())
}
