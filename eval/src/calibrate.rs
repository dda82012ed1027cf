//! Learning when nothing fits: distances of an answer's first hits to probabilities, a threshold, and how often both err on
//! photos that they were not learned from.
//!
//! Of a seeded share of the photos, every sketch is asked of the gallery without its own photo, and the others of the whole
//! gallery: so both kinds of question are known, and the gallery keeps its size but for one. A [`ScoreMap`] is fitted to what
//! they found, by the largest likelihood; the threshold is the least by which a stated share of the sketches without their
//! photo, and no more, would be answered.
//!
//! How often that errs is never measured on the sketches that it was learned from: photos, each with all its sketches, are
//! parted into as many parts of either kind; each part is judged by a map and a threshold that were learned on the others
//! (Stone 1974, 'Cross-validatory choice and assessment of statistical predictions').

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sketchfind_core::calibration::{N_SCORED, ScoreMap, answer_score};
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::random::Stream;
use sketchfind_core::ranking::{Hit, Ranking};

use crate::accuracy::rows_of_truths;
use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate, Resampled};
use crate::{Error, Result};

/// The parts of the reliability table.
const N_BINS: usize = 5;
/// Of the square of the map's parameters, half of what is taken off the logarithm of the likelihood: next to nothing, but
/// where all sketches are told apart the likelihood alone would have no maximum.
const RIDGE: f64 = 1e-4;

/// How a calibration is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationOptions {
    /// The share of photos whose sketches are asked of the gallery without them.
    pub without: f64,
    /// The share of sketches without their photo that may be answered all the same.
    pub false_answers: f64,
    /// The parts of cross-validation.
    pub n_folds: usize,
    /// The seed of who is left out and of the parts.
    pub seed: u64,
}

/// Half of the photos, one false answer in ten, ten parts, seed 1.
impl Default for CalibrationOptions {
    fn default() -> Self {
        CalibrationOptions { without: 0.5, false_answers: 0.1, n_folds: 10, seed: 1 }
    }
}

impl CalibrationOptions {
    /// Checks the options, as [`calibrate`] does.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn check(&self) -> Result<()> {
        let refuse = |what, value: String, expected| Err(Error::OutOfRange { what, value, expected });
        for (what, share) in
            [("share without their photo", self.without), ("share of false answers", self.false_answers)]
        {
            if !(share > 0.0 && share < 1.0) {
                return refuse(what, share.to_string(), "above 0 and below 1");
            }
        }
        if self.n_folds < 2 {
            return refuse("parts of cross-validation", self.n_folds.to_string(), "at least 2");
        }
        Ok(())
    }
}

/// What one sketch found, and what a map and threshold say of it that never saw its photo.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedSketch {
    /// The sketch's id.
    pub query_id: String,
    /// Its own photo.
    pub truth_id: String,
    /// Whether that was in the gallery.
    pub is_there: bool,
    /// The part that it was judged in, from 0.
    pub fold: usize,
    /// The first hit.
    pub first_id: String,
    /// Its distance.
    pub first_distance: f64,
    /// The place of its own photo, where it is among the first [`N_SCORED`].
    pub place: Option<usize>,
    /// The first hit's score.
    pub score: f64,
    /// The probability that one of the first hits is the one.
    pub answer_score: f64,
    /// Whether that reaches the threshold.
    pub is_answered: bool,
}

/// Sketches of like probability, and how often it came true.
#[derive(Clone, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// What is predicted: `first`, that the first hit is the one; `answer`, that one of the first [`N_SCORED`] is.
    pub kind: &'static str,
    /// The mean of what was predicted.
    pub predicted: f64,
    /// How often it came true, with its interval.
    pub observed: Estimate,
}

/// What was learned, and how often it errs.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// Fitted on all sketches.
    pub map: ScoreMap,
    /// The threshold by them.
    pub min_score: f64,
    /// One a sketch, in order of ids, each judged by what was learned on other photos.
    pub judged: Vec<JudgedSketch>,
    /// How often that errs.
    pub estimates: Vec<Estimate>,
    /// Whether what is called probable is.
    pub reliability: Vec<ReliabilityBin>,
    /// The number of photos in the gallery.
    pub n_photos: usize,
    /// The number of sketches that were asked without their photo.
    pub n_without: usize,
}

/// What a sketch found, as far as learning asks.
struct Found {
    distances: Vec<f64>,
    /// The place of its own photo among these, from 0.
    own: Option<usize>,
    is_there: bool,
}

/// Learns a map and a threshold from sketches whose own photo is in the gallery, and measures them.
///
/// # Shapes
/// `queries`: `[n_queries, D]`, `gallery`: `[n_gallery, D]`; `photo_of` maps every query's id to its photo's.
///
/// # Errors
/// Those of [`rank_queries`](crate::rank_queries); [`Error::OutOfRange`] on the options, and where there are too few photos for
/// them; [`Error::NoCalibration`] where a nearer photo is no likelier to be the one.
pub fn calibrate(
    queries: &Embeddings,
    gallery: &Embeddings,
    photo_of: &BTreeMap<String, String>,
    distance: Distance,
    options: &CalibrationOptions,
    bootstrap: &Bootstrap,
) -> Result<Learnt> {
    options.check()?;
    bootstrap.check()?;
    let truth: BTreeMap<String, Vec<String>> =
        photo_of.iter().map(|(query, photo)| (query.clone(), vec![photo.clone()])).collect();
    let own_rows: Vec<usize> =
        rows_of_truths(queries, gallery, &truth)?.into_iter().map(|rows| rows[0]).collect();
    let (left_out, fold_of) = parts(&own_rows, options)?;
    let rankings: Vec<Ranking> = (0..queries.len())
        .into_par_iter()
        .map(|row| {
            let (query, own) = (queries.row(row).unwrap_or_default(), own_rows[row]);
            let hits = gallery.rows().enumerate().filter(|&(row, _)| row != own || !left_out.contains(&own));
            let hits = hits.map(|(row, photo)| Hit { row, distance: distance.between(query, photo) });
            Ok(Ranking::new(hits.collect(), N_SCORED)?)
        })
        .collect::<Result<_>>()?;
    let found: Vec<Found> = rankings
        .iter()
        .zip(&own_rows)
        .map(|(ranking, own)| Found {
            distances: ranking.hits().iter().map(|hit| hit.distance).collect(),
            own: ranking.hits().iter().position(|hit| hit.row == *own),
            is_there: !left_out.contains(own),
        })
        .collect();
    if found.iter().any(|one| one.distances.is_empty()) {
        return Err(Error::Empty { what: "gallery photo" });
    }
    let learn = |is_used: &dyn Fn(usize) -> bool| {
        let used: Vec<&Found> = (0..found.len()).filter(|&row| is_used(row)).map(|row| &found[row]).collect();
        let map = fit(&used)?;
        let without = used.iter().filter(|one| !one.is_there);
        let scores = without.map(|one| answer_score(&map.scores(&one.distances))).collect();
        Ok((map, threshold(scores, options.false_answers)?))
    };
    let of_folds: Vec<(ScoreMap, f64)> = (0..options.n_folds)
        .map(|fold| learn(&|row| fold_of[&own_rows[row]] != fold))
        .collect::<Result<_>>()?;
    let (map, min_score) = learn(&|_| true)?;
    let judge = |row: usize| {
        let (fold, hits) = (fold_of[&own_rows[row]], rankings[row].hits());
        let (map, min_score) = of_folds[fold];
        let scores = map.scores(&found[row].distances);
        JudgedSketch {
            query_id: queries.ids()[row].clone(),
            truth_id: gallery.ids()[own_rows[row]].clone(),
            is_there: found[row].is_there,
            fold,
            first_id: gallery.ids()[hits[0].row].clone(),
            first_distance: hits[0].distance,
            place: found[row].own.map(|place| place + 1),
            score: scores[0],
            answer_score: answer_score(&scores),
            is_answered: answer_score(&scores) >= min_score,
        }
    };
    let judged: Vec<JudgedSketch> = (0..queries.len()).map(judge).collect();
    Ok(Learnt {
        map,
        min_score,
        estimates: estimates(&judged, bootstrap),
        reliability: [reliability("first", &judged, bootstrap), reliability("answer", &judged, bootstrap)]
            .concat(),
        n_photos: gallery.len(),
        n_without: found.iter().filter(|one| !one.is_there).count(),
        judged,
    })
}

/// Which of the photos that have sketches are left out, and the part of each: both kinds in every part.
fn parts(
    own_rows: &[usize],
    options: &CalibrationOptions,
) -> Result<(BTreeSet<usize>, BTreeMap<usize, usize>)> {
    let mut photos: Vec<usize> = own_rows.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let mut stream = Stream::new(options.seed, "calibration", &[]);
    for last in (1..photos.len()).rev() {
        photos.swap(last, stream.below(last + 1));
    }
    let n_out = (options.without * photos.len() as f64).round() as usize;
    let (out, there) = photos.split_at(n_out.min(photos.len()));
    if out.len().min(there.len()) < options.n_folds {
        return Err(Error::OutOfRange {
            what: "number of photos with sketches, left out and not",
            value: format!("{} and {}", out.len(), there.len()),
            expected: "at least as many of either as there are parts of cross-validation",
        });
    }
    let numbered = |photos: &[usize]| {
        photos.iter().zip((0..options.n_folds).cycle()).map(|(p, f)| (*p, f)).collect::<Vec<_>>()
    };
    let fold_of = numbered(out).into_iter().chain(numbered(there)).collect();
    Ok((out.iter().copied().collect(), fold_of))
}

/// The least threshold by which at most the share `most` of new sketches without their photo is answered: that which the
/// `ceil((1 - most) (n + 1))`-th smallest of the `n` known scores does not reach (the quantile of split conformal prediction;
/// Angelopoulos and Bates 2023, 'Conformal prediction: a gentle introduction', section 1).
fn threshold(mut scores: Vec<f64>, most: f64) -> Result<f64> {
    scores.sort_unstable_by(f64::total_cmp);
    let place = ((1.0 - most) * (scores.len() + 1) as f64).ceil() as usize;
    match scores.get(place.max(1) - 1) {
        Some(score) => Ok(score.next_up().min(1.0)),
        None => Err(Error::OutOfRange {
            what: "share of false answers",
            value: format!("{most} with {} sketches without their photo to learn from", scores.len()),
            expected: "at least 1 / (their number + 1)",
        }),
    }
}

/// The map under which what was found is likeliest: Newton's method on a concave function of three numbers.
fn fit(found: &[&Found]) -> Result<ScoreMap> {
    let mean = |one: &&Found| one.distances.iter().sum::<f64>() / one.distances.len() as f64;
    let scale = found.iter().map(mean).sum::<f64>() / found.len().max(1) as f64;
    // Where all distances are 0 nothing can be learned from them, and any unit would do.
    let scale = if scale > 0.0 { scale } else { 1.0 };
    // The parameters are nearness, ground and none; a row is what a choice's utility has of each.
    let choices: Vec<(Vec<[f64; 3]>, usize)> = found
        .iter()
        .map(|one| {
            let mut rows = vec![[0.0, -mean(one) / scale, 1.0]];
            rows.extend(one.distances.iter().map(|d| [-d / scale, 0.0, 0.0]));
            (rows, one.own.map_or(0, |place| place + 1))
        })
        .collect();
    let mut at = [0.0; 3];
    let mut value = likelihood(&choices, at).0;
    for _ in 0..MOST_STEPS {
        let (_, gradient, curvature) = likelihood(&choices, at);
        let step = solved(curvature, gradient);
        let mut length = 1.0;
        // A whole step may lead too far; half as far, at last, never does.
        let next = loop {
            let next: [f64; 3] = std::array::from_fn(|i| at[i] + length * step[i]);
            let reached = likelihood(&choices, next).0;
            if reached >= value {
                break Some((next, reached));
            }
            length /= 2.0;
            if length < 1e-9 {
                break None;
            }
        };
        let Some((next, reached)) = next else { break };
        let is_there = reached - value <= 1e-12 * (1.0 + value.abs());
        (at, value) = (next, reached);
        if is_there {
            break;
        }
    }
    let [nearness, ground, none] = at;
    // Where all hits are as far as each other, their distance only takes the place of 'none', and says nothing of them.
    let is_flat = found.iter().all(|one| one.distances.first() == one.distances.last());
    if is_flat || !(nearness > 0.0 && at.iter().all(|number| number.is_finite())) {
        return Err(Error::NoCalibration { n: found.len() });
    }
    Ok(ScoreMap { scale, nearness, ground, none })
}

/// More than the method needs by far: it doubles the right digits with each.
const MOST_STEPS: usize = 100;

/// The logarithm of the likelihood less the ridge, its gradient, and its second derivative with the sign turned.
fn likelihood(choices: &[(Vec<[f64; 3]>, usize)], at: [f64; 3]) -> (f64, [f64; 3], [[f64; 3]; 3]) {
    let mut value = -0.5 * RIDGE * at.iter().map(|number| number * number).sum::<f64>();
    let mut gradient = at.map(|number| -RIDGE * number);
    let mut curvature = [[0.0; 3]; 3];
    (0..3).for_each(|i| curvature[i][i] = RIDGE);
    for (rows, chosen) in choices {
        let utilities: Vec<f64> = rows.iter().map(|row| (0..3).map(|i| row[i] * at[i]).sum()).collect();
        let most = utilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let whole = utilities.iter().map(|utility| (utility - most).exp()).sum::<f64>();
        value += utilities[*chosen] - most - whole.ln();
        let mut mean = [0.0; 3];
        for (row, utility) in rows.iter().zip(&utilities) {
            let share = (utility - most).exp() / whole;
            for i in 0..3 {
                mean[i] += share * row[i];
                (0..3).for_each(|j| curvature[i][j] += share * row[i] * row[j]);
            }
        }
        for i in 0..3 {
            gradient[i] += rows[*chosen][i] - mean[i];
            (0..3).for_each(|j| curvature[i][j] -= mean[i] * mean[j]);
        }
    }
    (value, gradient, curvature)
}

/// The solution of three linear equations with a positive definite matrix (Cholesky).
fn solved(matrix: [[f64; 3]; 3], right: [f64; 3]) -> [f64; 3] {
    let mut lower = [[0.0; 3]; 3];
    for i in 0..3 {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = matrix[i][j] - sum;
            // Rounding may leave nothing of a diagonal that the ridge keeps above 0.
            lower[i][j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / lower[j][j] };
        }
    }
    let mut half = [0.0; 3];
    for i in 0..3 {
        let sum: f64 = (0..i).map(|k| lower[i][k] * half[k]).sum();
        half[i] = (right[i] - sum) / lower[i][i];
    }
    let mut whole = [0.0; 3];
    for i in (0..3).rev() {
        let sum: f64 = (i + 1..3).map(|k| lower[k][i] * whole[k]).sum();
        whole[i] = (half[i] - sum) / lower[i][i];
    }
    whole
}

/// How often what is said of sketches is wrong. Queries of one photo are resampled together.
fn estimates(judged: &[JudgedSketch], bootstrap: &Bootstrap) -> Vec<Estimate> {
    type Of = fn(&JudgedSketch) -> bool;
    let is_first = |one: &JudgedSketch| one.place == Some(1);
    let shares: [(&str, Of, Of); 3] = [
        ("false_answers", |one| !one.is_there, |one| one.is_answered),
        ("false_nothings", |one| one.is_there, |one| !one.is_answered),
        ("wrong_answers", |one| one.is_answered, |one| one.place != Some(1)),
    ];
    let mut estimates: Vec<Estimate> = shares
        .into_iter()
        .map(|(metric, is_of, is_wrong)| {
            let of: Vec<&JudgedSketch> = judged.iter().filter(|one| is_of(one)).collect();
            share(bootstrap, metric, &of, is_wrong)
        })
        .collect();
    let groups = Groups::by_key(judged.iter().map(|one| one.truth_id.as_str()));
    let squared = |predicted: f64, came: bool| (predicted - f64::from(u8::from(came))).powi(2);
    let of_score: Vec<f64> = judged.iter().map(|one| squared(one.score, is_first(one))).collect();
    let of_fit: Vec<f64> = judged.iter().map(|one| squared(one.answer_score, one.place.is_some())).collect();
    estimates.push(groups.mean_estimate(bootstrap, "brier_first", &of_score));
    estimates.push(groups.mean_estimate(bootstrap, "brier_answer", &of_fit));
    estimates.push(groups.statistic_estimate(bootstrap, "answer_auc", |drawn| {
        area(drawn.iter().map(|&row| (judged[row].answer_score, judged[row].is_there)).collect())
    }));
    estimates
}

fn share(
    bootstrap: &Bootstrap,
    metric: &str,
    of: &[&JudgedSketch],
    holds: impl Fn(&JudgedSketch) -> bool,
) -> Estimate {
    let groups = Groups::by_key(of.iter().map(|one| one.truth_id.as_str()));
    let values: Vec<f64> = of.iter().map(|one| f64::from(u8::from(holds(one)))).collect();
    let resampled = if groups.is_clustered() { Resampled::Photos } else { Resampled::Queries };
    groups.share(bootstrap, metric.to_owned(), &values, resampled)
}

/// The share of pairs of a sketch whose photo is there and one whose is not whose answer the former has the higher score; half of those
/// of equal score (Mann and Whitney 1947; the area under the ROC curve). NaN where one kind is lacking.
fn area(mut scores: Vec<(f64, bool)>) -> f64 {
    scores.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n_there = scores.iter().filter(|(_, is_there)| *is_there).count() as f64;
    let n_without = scores.len() as f64 - n_there;
    let (mut n_below, mut pairs) = (0.0, 0.0);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let there = tied.iter().filter(|(_, is_there)| *is_there).count() as f64;
        let without = tied.len() as f64 - there;
        pairs += there * (n_below + without / 2.0);
        n_below += without;
    }
    pairs / (n_there * n_without)
}

/// Sketches by what was predicted of them, in parts of like size, and how often that came true.
fn reliability(kind: &'static str, judged: &[JudgedSketch], bootstrap: &Bootstrap) -> Vec<ReliabilityBin> {
    let predicted = |one: &JudgedSketch| if kind == "answer" { one.answer_score } else { one.score };
    let came = |one: &JudgedSketch| if kind == "answer" { one.place.is_some() } else { one.place == Some(1) };
    let mut order: Vec<&JudgedSketch> = judged.iter().collect();
    order.sort_by(|a, b| predicted(a).total_cmp(&predicted(b)).then_with(|| a.query_id.cmp(&b.query_id)));
    (0..N_BINS)
        .map(|bin| &order[bin * order.len() / N_BINS..(bin + 1) * order.len() / N_BINS])
        .filter(|of| !of.is_empty())
        .map(|of| ReliabilityBin {
            kind,
            predicted: of.iter().map(|one| predicted(one)).sum::<f64>() / of.len() as f64,
            observed: share(bootstrap, "observed", of, came),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Photos at random places of a square; a sketch of each near it.
    fn scene(n: usize, noise: f64, seed: u64) -> (Embeddings, Embeddings, BTreeMap<String, String>) {
        let mut stream = Stream::new(seed, "scene", &[]);
        let places: Vec<f64> = (0..2 * n).map(|_| stream.unit()).collect();
        let ids = |letter: char| (0..n).map(|number| format!("{letter}{number:04}")).collect::<Vec<_>>();
        let near = places.iter().map(|place| (place + noise * stream.normal()) as f32).collect();
        let photos = places.iter().map(|place| *place as f32).collect();
        let photo_of = ids('s').into_iter().zip(ids('p')).collect();
        (Embeddings::new(ids('s'), 2, near).unwrap(), Embeddings::new(ids('p'), 2, photos).unwrap(), photo_of)
    }

    fn learnt(n: usize, noise: f64, seed: u64, options: &CalibrationOptions) -> Result<Learnt> {
        let (queries, gallery, photo_of) = scene(n, noise, seed);
        let bootstrap = Bootstrap { samples: 200, ..Bootstrap::default() };
        calibrate(&queries, &gallery, &photo_of, Distance::Mse, options, &bootstrap)
    }

    fn value<'a>(learnt: &'a Learnt, metric: &str) -> &'a Estimate {
        learnt.estimates.iter().find(|estimate| estimate.metric == metric).unwrap()
    }

    /// The probability is one: of what is called p, p comes true, on photos that were not learned from.
    #[test]
    fn what_is_called_probable_comes_true_as_often() {
        let learnt = learnt(600, 0.01, 1, &CalibrationOptions::default()).unwrap();
        assert_eq!((learnt.judged.len(), learnt.n_without, learnt.n_photos), (600, 300, 600));
        let mut n_within = 0;
        for bin in &learnt.reliability {
            // Three standard errors of 120 draws, and what two parameters too few may miss.
            let error = 3.0 * (bin.predicted * (1.0 - bin.predicted) / 120.0).sqrt() + 0.05;
            assert!((bin.predicted - bin.observed.value).abs() < error, "{bin:?}");
            n_within += usize::from((bin.observed.low..=bin.observed.high).contains(&bin.predicted));
        }
        assert!(n_within >= 7 && learnt.reliability.len() == 10, "{:?}", learnt.reliability);
        let means = learnt.judged.iter().map(|one| one.answer_score).sum::<f64>() / 600.0;
        let found = learnt.judged.iter().filter(|one| one.place.is_some()).count() as f64 / 600.0;
        assert!((means - found).abs() < 0.02, "{means} {found}");
    }

    /// The threshold keeps what it was asked to keep, over many scenes, and answers more where more may be false.
    #[test]
    fn no_more_sketches_without_their_photo_are_answered_than_was_asked() {
        for (most, least_found) in [(0.05, 0.02), (0.2, 0.15)] {
            let (mut n_false, mut n) = (0, 0);
            for seed in 0..12 {
                let options = CalibrationOptions {
                    false_answers: most,
                    n_folds: 5,
                    seed,
                    ..CalibrationOptions::default()
                };
                let learnt = learnt(120, 0.02, seed, &options).unwrap();
                let without = learnt.judged.iter().filter(|one| !one.is_there);
                n_false += without.clone().filter(|one| one.is_answered).count();
                n += without.count();
            }
            // 720 draws: the share, and three standard errors.
            let share = n_false as f64 / n as f64;
            let error = 3.0 * (most * (1.0 - most) / n as f64).sqrt();
            assert!(share > least_found && share < most + error, "{most}: {n_false} of {n}");
        }
    }

    #[test]
    fn the_fit_is_the_maximum_and_equals_a_plain_ascent() {
        let (queries, gallery, _) = scene(60, 0.03, 4);
        let found: Vec<Found> = (0..60)
            .map(|row| {
                let ranking = Ranking::exact(queries.row(row).unwrap(), &gallery, Distance::Mse, 11).unwrap();
                let hits = ranking.hits().iter().filter(|hit| hit.row != row || row % 2 == 0).take(N_SCORED);
                let (rows, distances): (Vec<usize>, Vec<f64>) =
                    hits.map(|hit| (hit.row, hit.distance)).unzip();
                Found { distances, own: rows.iter().position(|r| *r == row), is_there: row % 2 == 0 }
            })
            .collect();
        let found: Vec<&Found> = found.iter().collect();
        let map = fit(&found).unwrap();
        // The likelihood by the map's own formula.
        let of = |map: &ScoreMap| {
            let ridge = map.nearness.powi(2) + map.ground.powi(2) + map.none.powi(2);
            let own = found.iter().map(|one| {
                let scores = map.scores(&one.distances);
                one.own.map_or(1.0 - scores.iter().sum::<f64>(), |place| scores[place]).ln()
            });
            own.sum::<f64>() - 0.5 * RIDGE * ridge
        };
        let best = of(&map);
        for (nearness, ground, none) in [
            (1e-3, 0.0, 0.0),
            (-1e-3, 0.0, 0.0),
            (0.0, 1e-3, 0.0),
            (0.0, -1e-3, 0.0),
            (0.0, 0.0, 1e-3),
            (0.0, 0.0, -1e-3),
        ] {
            let other = ScoreMap {
                nearness: map.nearness * (1.0 + nearness),
                ground: map.ground + ground,
                none: map.none + none,
                ..map
            };
            assert!(of(&other) < best, "{other:?} is better than {map:?}");
        }
        assert!(map.nearness > 1.0);
    }

    #[test]
    fn sketches_of_one_photo_are_in_one_part_and_left_out_together() {
        let (queries, gallery, _) = scene(60, 0.01, 2);
        let photo_of: BTreeMap<String, String> =
            (0..60).map(|row| (format!("s{row:04}"), format!("p{:04}", row / 3))).collect();
        let options = CalibrationOptions { n_folds: 4, false_answers: 0.25, ..CalibrationOptions::default() };
        let bootstrap = Bootstrap { samples: 50, ..Bootstrap::default() };
        let learnt = calibrate(&queries, &gallery, &photo_of, Distance::Mse, &options, &bootstrap);
        // Sketches that lie elsewhere than their photos may teach nothing at all.
        let Ok(learnt) = learnt else {
            let error = learnt.unwrap_err();
            assert!(matches!(error, Error::NoCalibration { .. }), "{error}");
            return;
        };
        for same in learnt.judged.chunks(3) {
            assert!(same.iter().all(|one| (one.fold, one.is_there) == (same[0].fold, same[0].is_there)));
        }
        assert!(learnt.judged.iter().all(|one| one.is_there || one.place.is_none()));
        assert_eq!(value(&learnt, "false_answers").n, 30);
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let options = CalibrationOptions::default();
        let refused =
            |n: usize, options: CalibrationOptions| learnt(n, 0.01, 3, &options).unwrap_err().to_string();
        let message = refused(18, options);
        assert!(
            message.contains("is 9 and 9, expected at least as many of either as there are parts"),
            "{message}"
        );
        let message = refused(60, CalibrationOptions { false_answers: 0.01, ..options });
        assert!(message.contains("0.01 with 27 sketches without their photo"), "{message}");
        for (bad, part) in [
            (CalibrationOptions { without: 1.0, ..options }, "share without their photo is 1"),
            (CalibrationOptions { false_answers: 0.0, ..options }, "share of false answers is 0"),
            (CalibrationOptions { without: f64::NAN, ..options }, "NaN"),
            (CalibrationOptions { n_folds: 1, ..options }, "parts of cross-validation is 1"),
        ] {
            assert!(refused(60, bad).contains(part));
        }
        // A collapsed model: no distance says anything.
        let (queries, _, photo_of) = scene(60, 0.01, 3);
        let ids: Vec<String> = photo_of.values().cloned().collect();
        let same = Embeddings::new(ids, 2, vec![0.5; 120]).unwrap();
        let same_queries = Embeddings::new(queries.ids().to_vec(), 2, vec![0.25; 120]).unwrap();
        let error =
            calibrate(&same_queries, &same, &photo_of, Distance::Mse, &options, &Bootstrap::default())
                .unwrap_err();
        assert!(matches!(error, Error::NoCalibration { .. }), "{error}");
    }

    #[test]
    fn thresholds_by_hand() {
        let scores = vec![0.4, 0.1, 0.3, 0.2];
        // ceil(0.5 x 5) = 3: the third smallest is not answered, the fourth is.
        let half = threshold(scores.clone(), 0.5).unwrap();
        assert!(half > 0.3 && half < 0.3 + 1e-15);
        assert!(threshold(scores.clone(), 0.2).unwrap() > 0.4);
        assert!(threshold(scores, 0.19).is_err());
        assert_eq!(threshold(vec![1.0], 0.5).unwrap(), 1.0);
    }

    proptest! {
        /// The area equals the count of pairs.
        #[test]
        fn the_area_is_the_share_of_pairs(
            scores in proptest::collection::vec(((0..5_u8).prop_map(f64::from), any::<bool>()), 2..20),
        ) {
            let of = |kind: bool| scores.iter().filter(move |one| one.1 == kind).map(|one| one.0).collect::<Vec<_>>();
            let (there, without) = (of(true), of(false));
            prop_assume!(!there.is_empty() && !without.is_empty());
            let pairs: f64 = there.iter().flat_map(|a| without.iter().map(move |b| match a.total_cmp(b) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })).sum();
            prop_assert!((area(scores.clone()) - pairs / (there.len() * without.len()) as f64).abs() < 1e-12);
        }
    }
}
