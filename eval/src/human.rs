//! Agreement with people: does a model order two photos as people did, who saw a sketch?

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate, Resampled};
use crate::{Error, Result};

/// What people said: this photo looks more like the sketch than that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HumanTriplet {
    /// The sketch's id.
    pub sketch: String,
    /// The id of the photo that looks more like it.
    pub nearer: String,
    /// The id of the other photo.
    pub farther: String,
}

/// How often a model agrees with people.
#[derive(Clone, Debug, PartialEq)]
pub struct HumanAgreement {
    /// The share of triplets that the model orders as people did: `d(sketch, nearer) < d(sketch, farther)`. Its interval
    /// resamples sketches, each with all that was said of it.
    pub agreement: Estimate,
    /// The number of triplets whose two photos are equally far; they count against the model.
    pub n_tied: usize,
}

/// The share of human triplets that a model orders as people did.
///
/// # Shapes
/// `sketches`: `[n_sketches, D]`, `photos`: `[n_photos, D]`.
///
/// # Errors
/// [`Error::Empty`] without triplets; [`Error::Widths`]; [`Error::Unknown`] with the first sketch or photo that has no
/// embedding; [`Error::OutOfRange`] on settings of the bootstrap.
pub fn agreement(
    triplets: &[HumanTriplet],
    sketches: &Embeddings,
    photos: &Embeddings,
    distance: Distance,
    bootstrap: &Bootstrap,
) -> Result<HumanAgreement> {
    bootstrap.check()?;
    if triplets.is_empty() {
        return Err(Error::Empty { what: "human triplet" });
    }
    if sketches.width() != photos.width() {
        return Err(Error::Widths { queries: sketches.width(), gallery: photos.width() });
    }
    fn row<'a>(space: &'a Embeddings, what: &'static str, id: &str) -> Result<&'a [f32]> {
        space.find(id).and_then(|row| space.row(row)).ok_or_else(|| Error::Unknown {
            asker: "a human triplet".into(),
            what,
            id: id.to_owned(),
        })
    }
    let mut n_tied = 0;
    let mut agrees = Vec::with_capacity(triplets.len());
    for triplet in triplets {
        let sketch = row(sketches, "sketch", &triplet.sketch)?;
        let nearer = distance.between(sketch, row(photos, "photo", &triplet.nearer)?);
        let farther = distance.between(sketch, row(photos, "photo", &triplet.farther)?);
        n_tied += usize::from(nearer == farther);
        agrees.push(f64::from(u8::from(nearer < farther)));
    }
    let groups = Groups::by_key(triplets.iter().map(|triplet| triplet.sketch.as_str()));
    let agreement = groups.share(bootstrap, "human_agreement".into(), &agrees, Resampled::Sketches);
    Ok(HumanAgreement { agreement, n_tied })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triplet(sketch: &str, nearer: &str, farther: &str) -> HumanTriplet {
        HumanTriplet { sketch: sketch.into(), nearer: nearer.into(), farther: farther.into() }
    }

    /// Photos at 0, 4, 4, 10; sketches at 1 and 9.
    fn spaces() -> (Embeddings, Embeddings) {
        let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        (
            Embeddings::new(ids(&["s", "t"]), 1, vec![1.0, 9.0]).unwrap(),
            Embeddings::new(ids(&["a", "b", "c", "d"]), 1, vec![0.0, 4.0, 4.0, 10.0]).unwrap(),
        )
    }

    #[test]
    fn ties_count_against_the_model_and_sketches_are_resampled() {
        let (sketches, photos) = spaces();
        let triplets =
            [triplet("s", "a", "d"), triplet("s", "b", "c"), triplet("t", "d", "a"), triplet("t", "a", "b")];
        let found = agreement(&triplets, &sketches, &photos, Distance::Mse, &Bootstrap::default()).unwrap();
        assert_eq!((found.agreement.value, found.agreement.n, found.n_tied), (0.5, 4, 1));
        assert_eq!((found.agreement.n_resampled, found.agreement.resampled), (2, Resampled::Sketches));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (sketches, photos) = spaces();
        let run = |triplets: &[HumanTriplet]| {
            agreement(triplets, &sketches, &photos, Distance::Mse, &Bootstrap::default())
                .unwrap_err()
                .to_string()
        };
        assert!(run(&[triplet("s", "a", "e")]).contains("photo 'e'"));
        assert!(run(&[triplet("u", "a", "b")]).contains("sketch 'u'"));
        assert!(run(&[]).contains("human triplet"));
    }
}
