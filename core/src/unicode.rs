//! Texts that Unicode can write in several ways: one form to compare them in.
//!
//! `é` is one character or an `e` and an accent. macOS gives out the names of files in the second form (NFD), keyboards and
//! most other systems write the first (NFC), and both look the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A text in normalisation form C, the form that is compared.
///
/// ```
/// use sketchfind_core::unicode::nfc;
/// assert_eq!(nfc("cafe\u{301}"), "caf\u{e9}");
/// assert_eq!(nfc("caf\u{e9}"), "caf\u{e9}");
/// ```
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant<'a> {
    /// This text.
    One(&'a str),
    /// None of them.
    None,
    /// These two at least, which differ in their form alone, and the name is in a third.
    Several(&'a str, &'a str),
}

/// Texts that are looked up by names that people write: as they are or, where that is none of them, in another form.
#[derive(Clone, Debug, Default)]
pub struct Names<'a> {
    /// The texts of a form, sorted.
    of_form: BTreeMap<Cow<'a, str>, Vec<&'a str>>,
}

impl<'a> Names<'a> {
    /// These texts.
    pub fn new(texts: impl IntoIterator<Item = &'a str>) -> Names<'a> {
        let mut of_form: BTreeMap<Cow<'a, str>, Vec<&'a str>> = BTreeMap::new();
        for text in texts {
            of_form.entry(nfc(text)).or_default().push(text);
        }
        of_form.values_mut().for_each(|texts| texts.sort_unstable());
        Names { of_form }
    }

    /// The text that `name` stands for.
    ///
    /// ```
    /// use sketchfind_core::unicode::{Meant, Names};
    /// let names = Names::new(["cafe\u{301}.jpg", "tea.jpg"]);
    /// assert_eq!(names.meant_by("caf\u{e9}.jpg"), Meant::One("cafe\u{301}.jpg"));
    /// assert_eq!(names.meant_by("cafe.jpg"), Meant::None);
    /// ```
    pub fn meant_by(&self, name: &str) -> Meant<'a> {
        let Some(texts) = self.of_form.get(nfc(name).as_ref()) else {
            return Meant::None;
        };
        match (texts.iter().find(|text| **text == name), texts.as_slice()) {
            (Some(text), _) | (None, [text]) => Meant::One(text),
            (None, [first, second, ..]) => Meant::Several(first, second),
            (None, []) => Meant::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_itself_before_it_is_another_form() {
        let (composed, decomposed) = ("\u{1e69}", "s\u{323}\u{307}");
        let both = Names::new([composed, decomposed]);
        assert_eq!(both.meant_by(composed), Meant::One(composed));
        assert_eq!(both.meant_by(decomposed), Meant::One(decomposed));
        // The same two marks in the other order are a third way to write it.
        assert_eq!(both.meant_by("s\u{307}\u{323}"), Meant::Several(decomposed, composed));
        assert_eq!(Names::new([composed]).meant_by("s\u{307}\u{323}"), Meant::One(composed));
        assert_eq!(Names::new([composed]).meant_by("s"), Meant::None);
    }

    #[test]
    fn hangul_and_marks_in_any_order_have_one_form() {
        assert_eq!(nfc("\u{1112}\u{1161}\u{11ab}"), "\u{d55c}");
        assert_eq!(nfc("a\u{323}\u{302}"), nfc("a\u{302}\u{323}"));
        assert_ne!(nfc("\u{fb01}"), "fi", "only the form, not the letters, is made one");
    }
}
