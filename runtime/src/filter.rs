//! Which photos of a gallery a query may find.

use std::collections::BTreeSet;

use sketchfind_core::unicode::nfc;

use crate::Photo;

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

    /// Whether every photo passes.
    pub fn is_everything(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether `photo` passes.
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
