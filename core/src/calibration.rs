//! A calibration: how sure one may be of a hit, and from where on nothing fits.
//!
//! A distance says which of two photos is nearer, not whether either is the one that was drawn. A [`ScoreMap`] makes
//! probabilities of the distances of an answer's first hits; a [`Calibration`] holds one with a threshold, says of which model,
//! distance and frames it was learned, and how often it errs there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::distance::Distance;
use crate::frame::PhotoFrame;
use crate::{Error, Result, atomic};

/// The version of the file's format that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// How many of the first hits have a score: the place of a photo that is farther says nothing to a person, and the probability
/// that it is there is not measured.
pub const N_SCORED: usize = 10;

/// The word that says that a file is a calibration.
const MAGIC: &str = "sketchfind-calibration";

/// Distances of an answer's first hits to probabilities: a conditional logit (McFadden 1974, 'Conditional logit analysis of
/// qualitative choice behavior') whose alternatives are these hits and 'none of them'. Of `m` distances `d_1 <= ... <= d_m`,
/// `m` at most [`N_SCORED`], with the mean `d`, all in the unit `scale`, the utility of hit `j` is `-nearness d_j`, that of
/// 'none' is `none - ground d`, and
///
/// ```text
/// P(hit j is the one) = exp(-nearness d_j) / (exp(none - ground d) + sum_i exp(-nearness d_i))
/// ```
///
/// So it is seen how far the first hit is, and how far before the others: with `ground = 0` only the distance counts, with
/// `ground = nearness` only the gap.
///
/// ```
/// use sketchfind_core::calibration::ScoreMap;
/// let map = ScoreMap { scale: 2.0, nearness: 1.0, ground: 0.0, none: 0.0 };
/// // By hand: exp(0), exp(-1) and exp(0) for none.
/// let scores = map.scores(&[0.0, 2.0]);
/// let whole = 1.0 + (-1.0_f64).exp() + 1.0;
/// assert!((scores[0] - 1.0 / whole).abs() < 1e-12 && (scores[1] - (-1.0_f64).exp() / whole).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreMap {
    /// The unit of distances; above 0.
    pub scale: f64,
    /// How much a hit gains by being nearer; above 0, so that a nearer hit never has the lower score.
    pub nearness: f64,
    /// How much 'none of them' loses where all hits are far, as those of an unusual drawing are.
    pub ground: f64,
    /// How much speaks for 'none of them' beforehand.
    pub none: f64,
}

impl ScoreMap {
    /// For each of an answer's distances, nearest first, the probability that it is the one; of those beyond the first
    /// [`N_SCORED`] nothing is said.
    ///
    /// # Shapes
    /// `distances`: `[k]`; returns `[min(k, N_SCORED)]`.
    pub fn scores(&self, distances: &[f64]) -> Vec<f64> {
        let first = &distances[..distances.len().min(N_SCORED)];
        if first.is_empty() {
            return Vec::new();
        }
        let mean = first.iter().sum::<f64>() / first.len() as f64;
        let none = self.none - self.ground * mean / self.scale;
        let utilities: Vec<f64> = first.iter().map(|d| -self.nearness * d / self.scale).collect();
        // The largest is taken out, so that nothing overflows.
        let most = utilities.iter().copied().fold(none, f64::max);
        let whole = (none - most).exp() + utilities.iter().map(|u| (u - most).exp()).sum::<f64>();
        utilities.into_iter().map(|u| (u - most).exp() / whole).collect()
    }

    fn check(&self) -> std::result::Result<(), String> {
        let numbers = [self.scale, self.nearness, self.ground, self.none];
        if numbers.iter().any(|number| !number.is_finite()) || self.scale <= 0.0 || self.nearness <= 0.0 {
            return Err(format!("its map is {self:?}, expected finite numbers, scale and nearness above 0"));
        }
        Ok(())
    }
}

/// The probability that one of an answer's first hits is the one: the sum of their scores.
///
/// ```
/// use sketchfind_core::calibration::answer_score;
/// assert_eq!(answer_score(&[0.5, 0.25]), 0.75);
/// ```
pub fn answer_score(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>().min(1.0)
}

/// What was measured of a calibration, on sketches of photos that it was not fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The figure's name in `docs/report-files.md`.
    pub metric: String,
    /// Its value; nothing where it is over nothing.
    pub value: Option<f64>,
    /// The ends of its interval.
    pub low: Option<f64>,
    /// See `low`.
    pub high: Option<f64>,
    /// The number of sketches that it is over.
    pub n: usize,
}

/// What a calibration was learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// The data set's fingerprint ([`crate::dataset::Dataset::fingerprint`]).
    pub dataset_sha256: String,
    /// Its split.
    pub split: String,
    /// The number of photos in the gallery.
    pub n_photos: usize,
    /// The number of sketches that were asked of it.
    pub n_sketches: usize,
    /// How many of these were asked of the gallery without their own photo.
    pub n_without: usize,
    /// The share of photos that were so left out.
    pub without: f64,
    /// The parts of cross-validation.
    pub n_folds: usize,
    /// The seed of who was left out, of the parts and of intervals.
    pub seed: u64,
    /// The share of intervals that should cover the true value.
    pub confidence: f64,
}

/// A map, a threshold, whose they are, and how often they err. One file; see [`Calibration::load`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The program and version that learned it.
    pub tool: String,
    /// The model's name, for people.
    pub model: String,
    /// SHA-256 of the model's network file.
    pub model_sha256: String,
    /// The distance.
    pub distance: Distance,
    /// The share of their pages that drawings were made to fill; nothing where they stayed as they are.
    pub sketch_share: Option<f32>,
    /// How photos were framed; nothing where they were taken as they are.
    pub photo_frame: Option<PhotoFrame>,
    /// Distances to probabilities.
    pub map: ScoreMap,
    /// An answer whose [score](answer_score) is below says that nothing fits.
    pub min_score: f64,
    /// The share of sketches without their photo that may be answered all the same, for which `min_score` was chosen.
    pub false_answers: f64,
    /// What it was learned from.
    pub learned: Learned,
    /// How often it errs.
    pub measured: Vec<Measured>,
}

/// The file: the magic word, the format, the calibration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<C> {
    magic: String,
    format: u32,
    calibration: C,
}

impl Calibration {
    /// Reads a calibration and checks it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] where it is no calibration of a known format, or holds what none can.
    pub fn load(path: impl AsRef<Path>) -> Result<Calibration> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let refused = |reason: String| Error::malformed(path, reason);
        /// Read first, so that a newer file is called newer and not malformed.
        #[derive(Deserialize)]
        struct Header {
            magic: String,
            format: u32,
        }
        let header: Header =
            serde_json::from_slice(&bytes).map_err(|e| refused(format!("it is no calibration: {e}")))?;
        if header.magic != MAGIC {
            return Err(refused(format!("it says '{}', expected '{MAGIC}'", header.magic)));
        }
        if header.format != FORMAT {
            let reason =
                format!("its format is {}; this version of sketchfind reads {FORMAT}", header.format);
            return Err(refused(reason));
        }
        let document: Document<Calibration> = serde_json::from_slice(&bytes)
            .map_err(|e| refused(format!("no calibration of format {FORMAT}: {e}")))?;
        let calibration = document.calibration;
        calibration.map.check().map_err(&refused)?;
        for (what, value) in
            [("min_score", calibration.min_score), ("false_answers", calibration.false_answers)]
        {
            if !(0.0..=1.0).contains(&value) {
                return Err(refused(format!("its {what} is {value}, expected 0 to 1")));
            }
        }
        Ok(calibration)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let document = Document { magic: MAGIC.to_owned(), format: FORMAT, calibration: self };
        let text =
            serde_json::to_string_pretty(&document).map_err(|e| Error::malformed(path, e.to_string()))?;
        atomic::write_bytes(path, (text + "\n").as_bytes())
    }

    /// Whether it may be used with a model, its pictures framed so: distances of another model, or of pictures that lie
    /// otherwise, are other numbers.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with what differs.
    pub fn check(
        &self,
        card: &Card,
        sketch_share: Option<f32>,
        photo_frame: Option<PhotoFrame>,
    ) -> Result<()> {
        let differs = |what, expected: String, got: String| Err(Error::Mismatch { what, expected, got });
        let own = card.fingerprint();
        if self.model_sha256 != own {
            let named = |name: &str, sha256: &str| format!("that of '{name}' ({sha256})");
            return differs(
                "the model that the calibration is of",
                named(&card.name, &own),
                named(&self.model, &self.model_sha256),
            );
        }
        if self.distance != card.distance {
            let [expected, got] = [card.distance, self.distance].map(|distance| distance.to_string());
            return differs("the distance that the calibration is of", expected, got);
        }
        let share = |share: Option<f32>| {
            share.map_or("drawings as they are".to_owned(), |share| format!("drawings that fill {share}"))
        };
        if self.sketch_share != sketch_share {
            return differs(
                "the frame that the calibration is of",
                share(sketch_share),
                share(self.sketch_share),
            );
        }
        let frame = |frame: Option<PhotoFrame>| {
            frame.map_or("photos as they are".to_owned(), |frame| {
                format!("products that fill {} to {}", frame.least, frame.typical)
            })
        };
        if self.photo_frame != photo_frame {
            return differs(
                "the frame that the calibration is of",
                frame(photo_frame),
                frame(self.photo_frame),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = include_str!("../../runtime/tests/fixtures/mean8/card.json");

    fn calibration() -> Calibration {
        let card = Card::parse(CARD, Path::new("card.json")).unwrap();
        Calibration {
            tool: "test 1.0".into(),
            model: card.name,
            model_sha256: card.onnx.sha256,
            distance: card.distance,
            sketch_share: None,
            photo_frame: None,
            map: ScoreMap { scale: 0.5, nearness: 4.0, ground: 3.0, none: 1.0 },
            min_score: 0.25,
            false_answers: 0.1,
            learned: Learned {
                dataset_sha256: "0".repeat(64),
                split: "test".into(),
                n_photos: 97,
                n_sketches: 97,
                n_without: 48,
                without: 0.5,
                n_folds: 10,
                seed: 1,
                confidence: 0.95,
            },
            measured: vec![Measured {
                metric: "false_answers".into(),
                value: Some(0.125),
                low: None,
                high: Some(0.5),
                n: 48,
            }],
        }
    }

    #[test]
    fn scores_fall_with_the_distance_and_never_exceed_one_together() {
        let map = calibration().map;
        for distances in [&[0.0, 0.0][..], &[0.1, 0.2, 0.3], &[1e9, 2e9], &[1e-300], &[0.5; 30]] {
            let scores = map.scores(distances);
            assert_eq!(scores.len(), distances.len().min(N_SCORED));
            assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| score.is_finite()));
            assert!((0.0..=1.0).contains(&answer_score(&scores)), "{scores:?}");
        }
        assert!(map.scores(&[]).is_empty());
        // Nearer, or farther before the others, is surer.
        let first = |distances: &[f64]| map.scores(distances)[0];
        assert!(first(&[0.1, 0.5]) > first(&[0.2, 0.5]) && first(&[0.2, 0.6]) > first(&[0.2, 0.5]));
    }

    #[test]
    fn what_is_written_is_read_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration.json");
        calibration().save(&path).unwrap();
        assert_eq!(Calibration::load(&path).unwrap(), calibration());
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, part) in [
            ("\"format\": 1", "\"format\": 2", "its format is 2; this version of sketchfind reads 1"),
            (MAGIC, "sketchfind-gallery", "it says 'sketchfind-gallery'"),
            ("\"min_score\": 0.25", "\"min_score\": 1.25", "its min_score is 1.25"),
            ("\"nearness\": 4.0", "\"nearness\": -4.0", "scale and nearness above 0"),
            ("\"none\"", "\"nothing\"", "nothing"),
            ("{", "[", "it is no calibration"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let message = Calibration::load(&path).unwrap_err().to_string();
            assert!(message.contains("calibration.json") && message.contains(part), "{message}");
        }
        assert!(matches!(Calibration::load(folder.path().join("none")).unwrap_err(), Error::Io { .. }));
    }

    #[test]
    fn another_model_or_frame_is_refused_by_name() {
        let card = Card::parse(CARD, Path::new("card.json")).unwrap();
        let own = calibration();
        own.check(&card, None, None).unwrap();
        let frame = PhotoFrame { typical: 0.875, least: 0.75 };
        let mut other = card.clone();
        other.onnx.sha256 = "1".repeat(64);
        // The same file, imported in another way: another space.
        let mut imported = card.clone();
        imported.network = crate::card::IMPORTED.into();
        let mut cosine = card.clone();
        cosine.distance = if card.distance == Distance::Mse { Distance::Cosine } else { Distance::Mse };
        for (refused, part) in [
            (own.check(&other, None, None), "the model that the calibration is of"),
            (own.check(&imported, None, None), "the model that the calibration is of"),
            (own.check(&cosine, None, None), "the distance"),
            (
                own.check(&card, Some(0.75), None),
                "expected drawings that fill 0.75, got drawings as they are",
            ),
            (own.check(&card, None, Some(frame)), "expected products that fill 0.75 to 0.875"),
        ] {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
