//! From pictures to results: what is asked of a network, and how it answers.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::dataset::{Dataset, Modality, Split};
use sketchfind_core::embed::Embed;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::work::{Cancel, Progress};

use crate::accuracy::rank_queries;
use crate::result::QueryResult;

/// Sketches, the photos among which theirs are looked for, and which these are.
#[derive(Clone, Debug)]
pub struct Questions<'a, P: ?Sized> {
    /// The photos, each under its id.
    pub photos: Vec<(&'a str, &'a P)>,
    /// The sketches.
    pub sketches: Vec<(&'a str, &'a P)>,
    /// The matches of each sketch, the photo that it depicts first.
    pub truth: BTreeMap<String, Vec<String>>,
}

impl<'a> Questions<'a, Path> {
    /// Those of a split: every photo is ranked for every sketch, whose match is the photo that it depicts.
    pub fn of_split(dataset: &'a Dataset, split: Split) -> Questions<'a, Path> {
        Questions {
            photos: dataset.photos_in(split).map(|photo| (photo.id.as_str(), photo.path.as_path())).collect(),
            sketches: dataset
                .sketches_in(split)
                .map(|sketch| (sketch.id.as_str(), sketch.path.as_path()))
                .collect(),
            truth: photo_of_sketches(dataset, split)
                .into_iter()
                .map(|(sketch, photo)| (sketch, vec![photo]))
                .collect(),
        }
    }
}

/// The photo that each sketch of a split depicts.
pub fn photo_of_sketches(dataset: &Dataset, split: Split) -> BTreeMap<String, String> {
    let sketches = dataset.sketches_in(split);
    sketches.map(|sketch| (sketch.id.clone(), dataset.photo_of(sketch).id.clone())).collect()
}

/// What a network answered.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The photos' embeddings, `[n_photos, D]`.
    pub gallery: Embeddings,
    /// The sketches', `[n_sketches, D]`.
    pub queries: Embeddings,
    /// One result a sketch, in order of ids.
    pub results: Vec<QueryResult>,
}

/// Embeds photos and sketches and ranks all photos for each sketch, by exact distance.
///
/// # Errors
/// Those of `network`; those of [`rank_queries`].
pub fn evaluate<E>(questions: &Questions<'_, E::Picture>, network: &mut E) -> Result<Answers, E::Error>
where
    E: Embed + ?Sized,
    E::Error: From<crate::Error>,
{
    let gallery =
        network.embeddings(Modality::Photo, &questions.photos, Progress::default(), Cancel::default())?;
    let queries =
        network.embeddings(Modality::Sketch, &questions.sketches, Progress::default(), Cancel::default())?;
    let results = rank_queries(&queries, &gallery, &questions.truth, network.distance())?;
    Ok(Answers { gallery, queries, results })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::distance::Distance;

    /// A network whose embedding is the picture itself, but that calls sketches by one more than they are.
    struct Itself;

    impl Embed for Itself {
        type Picture = f32;
        type Error = crate::Error;

        fn distance(&self) -> Distance {
            Distance::Mse
        }

        fn embeddings(
            &mut self,
            modality: Modality,
            pictures: &[(&str, &f32)],
            _progress: Progress<'_>,
            _cancel: Cancel<'_>,
        ) -> crate::Result<Embeddings> {
            let more = if modality == Modality::Sketch { 1.0 } else { 0.0 };
            let (ids, values) = pictures.iter().map(|&(id, value)| (id.to_owned(), value + more)).unzip();
            Ok(Embeddings::new(ids, 1, values)?)
        }
    }

    #[test]
    fn photos_and_sketches_are_embedded_and_ranked() {
        let questions = Questions {
            photos: vec![("b", &10.0), ("a", &0.0)],
            sketches: vec![("t", &0.0), ("s", &8.0)],
            truth: [("s", "b"), ("t", "b")].map(|(s, p)| (s.to_owned(), vec![p.to_owned()])).into(),
        };
        let answers = evaluate(&questions, &mut Itself).unwrap();
        assert_eq!(answers.gallery.values(), [0.0, 10.0]);
        let found: Vec<_> = answers.results.iter().map(|one| (one.query_id.as_str(), one.rank)).collect();
        assert_eq!(found, [("s", 1), ("t", 2)]);
        let none = Questions { sketches: Vec::new(), ..questions };
        assert!(evaluate(&none, &mut Itself).is_err());
    }
}
