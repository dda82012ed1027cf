//! Models on the same queries and gallery, two by two: paired differences with intervals, McNemar's test, a permutation
//! test, and Holm's correction where there are several pairs.
//!
//! McNemar's test takes queries as independent. Where a photo has several sketches they are not, and the permutation test,
//! which swaps the two models' answers to all sketches of a photo at once, is the one to read; so is the interval, which
//! resamples photos with all their queries.

use std::collections::BTreeSet;

use rayon::prelude::*;
use sketchfind_core::random::Stream;

use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate};
use crate::metrics::{METRICS, Over};
use crate::result::QueryResult;
use crate::{Error, Result};

/// McNemar's test (1947) on the first place: do two models differ in how often they are right?
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// The number of queries.
    pub n: usize,
    /// Queries that only the first model gets right.
    pub n_only_a: usize,
    /// Queries that only the second model gets right.
    pub n_only_b: usize,
    /// The two-sided p-value of the exact (binomial) test.
    pub p_value: f64,
    /// That, corrected by [`holm`] over all pairs that were compared.
    pub p_holm: f64,
}

/// How one figure differs between two models.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The figure: acc@k or another of [`METRICS`] that models are compared by.
    pub metric: String,
    /// Its value with B less that with A, with the paired bootstrap's interval; photos are drawn with all their queries.
    pub estimate: Estimate,
    /// The two-sided p-value of the permutation test over photos (see [`permutation_p_value`]).
    pub p_value: f64,
    /// That, corrected by [`holm`] over all pairs that were compared by this figure.
    pub p_holm: f64,
}

/// A paired comparison of two models, A and B.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The number of A in the list of models.
    pub a: usize,
    /// The number of B in the list of models.
    pub b: usize,
    /// How the figures differ that models are compared by, in the order of [`METRICS`].
    pub differences: Vec<Difference>,
    /// McNemar's exact test on the first place.
    pub mcnemar: McNemar,
    /// Whether some photo has several queries.
    pub is_clustered: bool,
}

impl Comparison {
    /// How `metric` differs.
    pub fn get(&self, metric: &str) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.metric == metric)
    }
}

/// McNemar's exact test for two lists of right and wrong answers to the same questions: under the null hypothesis
/// the discordant pairs fall to either side with probability one half, so the two-sided p-value is
/// `min(1, 2 P(X <= min(b, c)))` with X binomial of `b + c` and 1/2.
///
/// # Errors
/// [`Error::NotComparable`] where the lists' lengths differ.
///
/// ```
/// use sketchfind_eval::paired::mcnemar;
/// // 5 discordant pairs, all to one side: p = 2 / 2^5.
/// let test = mcnemar(&[false; 5], &[true; 5])?;
/// assert!((test.p_value - 0.0625).abs() < 1e-12);
/// # Ok::<(), sketchfind_eval::Error>(())
/// ```
pub fn mcnemar(a: &[bool], b: &[bool]) -> Result<McNemar> {
    if a.len() != b.len() {
        let reason = format!("{} answers and {} answers", a.len(), b.len());
        return Err(Error::NotComparable { reason });
    }
    let n_only_a = a.iter().zip(b).filter(|&(&a, &b)| a && !b).count();
    let n_only_b = a.iter().zip(b).filter(|&(&a, &b)| b && !a).count();
    let p_value = (2.0 * binomial_half_below(n_only_a.min(n_only_b), n_only_a + n_only_b)).min(1.0);
    Ok(McNemar { n: a.len(), n_only_a, n_only_b, p_value, p_holm: p_value })
}

/// `P(X <= k)` for X binomial of n and 1/2, summed in logarithms so that no term is lost to underflow early.
fn binomial_half_below(k: usize, n: usize) -> f64 {
    let mut ln_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = ln_term.exp();
    for i in 1..=k {
        ln_term += ((n - i + 1) as f64).ln() - (i as f64).ln();
        sum += ln_term.exp();
    }
    sum
}

/// Holm's correction (1979) of p-values for as many comparisons: with it, the chance of one false finding among all of
/// them is held, however they depend on each other. In the order given.
///
/// ```
/// use sketchfind_eval::paired::holm;
/// // By hand: 3 x 0.01; then 2 x 0.02 and 1 x 0.03, where none falls below the one before.
/// assert_eq!(holm(&[0.03, 0.01, 0.02]), [0.04, 0.03, 0.04]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (place, index) in order.into_iter().enumerate() {
        least = least.max((p_values.len() - place) as f64 * p_values[index]).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// The two-sided p-value of the permutation test for paired differences that come in groups: under the null hypothesis the
/// sign of each group's sum is as good as the other. Exact where the groups that differ have no more sign patterns than
/// `samples`; else from that many drawn ones, the observed one counted among them (Phipson and Smyth 2010), so that it is
/// never 0.
///
/// # Shapes
/// `sums`: one a group.
///
/// ```
/// use sketchfind_eval::paired::permutation_p_value;
/// // Five groups, all to one side: 2 of 2^5 sign patterns are as far from 0.
/// assert_eq!(permutation_p_value(&[1.0; 5], 1000, 1), 2.0 / 32.0);
/// ```
pub fn permutation_p_value(sums: &[f64], samples: usize, seed: u64) -> f64 {
    let sums: Vec<f64> = sums.iter().copied().filter(|sum| *sum != 0.0).collect();
    // Sums of shares are not exact; what differs by rounding is equal, also around 0.
    let rounding = 1e-12 * sums.iter().map(|sum| sum.abs()).sum::<f64>();
    let observed = sums.iter().sum::<f64>().abs() - rounding;
    let n_patterns = u32::try_from(sums.len()).ok().and_then(|n| 1_usize.checked_shl(n));
    if let Some(n_patterns) = n_patterns.filter(|&n_patterns| sums.len() < 60 && n_patterns <= samples) {
        let is_as_far = |pattern: &usize| {
            let sum: f64 = sums
                .iter()
                .enumerate()
                .map(|(bit, sum)| if pattern >> bit & 1 == 1 { *sum } else { -sum })
                .sum();
            sum.abs() >= observed
        };
        return (0..n_patterns).filter(is_as_far).count() as f64 / n_patterns as f64;
    }
    let n_as_far = (0..samples)
        .into_par_iter()
        .filter(|&sample| {
            let mut stream = Stream::new(seed, "sign flips", &[sample as u64]);
            let sum: f64 = sums.iter().map(|sum| if stream.coin() { *sum } else { -sum }).sum();
            sum.abs() >= observed
        })
        .count();
    (1 + n_as_far) as f64 / (1 + samples) as f64
}

/// Compares two models' results, by acc@k at the given k and every other metric that models are compared by.
///
/// # Errors
/// Those of [`compare_all`].
pub fn compare(
    a: &[QueryResult],
    b: &[QueryResult],
    cutoffs: &[usize],
    bootstrap: &Bootstrap,
) -> Result<Comparison> {
    compare_pair((0, a), (1, b), cutoffs, bootstrap)
}

/// Compares each model with each later one as [`compare`] does, and corrects p-values for the number of pairs.
///
/// # Errors
/// [`Error::NotComparable`] where queries, their matches or the gallery's size differ, naming the first ones that
/// do, or there are fewer than two models; [`Error::Empty`]; [`Error::OutOfRange`] on settings of the bootstrap.
pub fn compare_all(
    models: &[&[QueryResult]],
    cutoffs: &[usize],
    bootstrap: &Bootstrap,
) -> Result<Vec<Comparison>> {
    if models.len() < 2 {
        let reason = format!("there are {}, expected at least two", models.len());
        return Err(Error::NotComparable { reason });
    }
    let mut comparisons = Vec::new();
    for (a, of_a) in models.iter().enumerate() {
        for (b, of_b) in models.iter().enumerate().skip(a + 1) {
            comparisons.push(compare_pair((a, of_a), (b, of_b), cutoffs, bootstrap)?);
        }
    }
    let p_values: Vec<f64> = comparisons.iter().map(|comparison| comparison.mcnemar.p_value).collect();
    for (comparison, p_holm) in comparisons.iter_mut().zip(holm(&p_values)) {
        comparison.mcnemar.p_holm = p_holm;
    }
    for metric in 0..comparisons[0].differences.len() {
        let p_values: Vec<f64> =
            comparisons.iter().map(|comparison| comparison.differences[metric].p_value).collect();
        for (comparison, p_holm) in comparisons.iter_mut().zip(holm(&p_values)) {
            comparison.differences[metric].p_holm = p_holm;
        }
    }
    Ok(comparisons)
}

fn compare_pair(
    (a, of_a): (usize, &[QueryResult]),
    (b, of_b): (usize, &[QueryResult]),
    cutoffs: &[usize],
    bootstrap: &Bootstrap,
) -> Result<Comparison> {
    bootstrap.check()?;
    if of_a.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    check_same_questions(of_a, of_b)?;
    let groups = Groups::by_photo(of_a);
    let mut figures: Vec<(String, Vec<Option<f64>>)> = Vec::new();
    let mut add = |metric: String, of: &dyn Fn(&QueryResult) -> f64| {
        figures.push((metric, of_a.iter().zip(of_b).map(|(a, b)| Some(of(b) - of(a))).collect()));
    };
    for metric in METRICS.iter().filter(|metric| metric.is_compared) {
        match metric.over {
            Over::ShareAt(of) => cutoffs.iter().for_each(|&k| {
                add(format!("acc@{k}"), &|result| f64::from(u8::from(of(result, k))));
            }),
            Over::Mean(of) => add(metric.name.to_owned(), &of),
            _ => {}
        }
    }
    let p_values: Vec<f64> = figures
        .iter()
        .map(|(_, column)| {
            let sum = |members: &Vec<usize>| members.iter().filter_map(|&query| column[query]).sum();
            let sums: Vec<f64> = groups.members().iter().map(sum).collect();
            permutation_p_value(&sums, bootstrap.samples, bootstrap.seed)
        })
        .collect();
    let differences = groups
        .mean_estimates(bootstrap, "paired differences", figures)
        .into_iter()
        .zip(p_values)
        .map(|(estimate, p_value)| {
            let metric = estimate.metric.clone();
            let estimate = Estimate { metric: format!("{metric}_difference"), ..estimate };
            Difference { metric, estimate, p_value, p_holm: p_value }
        })
        .collect();
    let right = |results: &[QueryResult]| results.iter().map(|r| r.rank == 1).collect::<Vec<_>>();
    Ok(Comparison {
        a,
        b,
        differences,
        mcnemar: mcnemar(&right(of_a), &right(of_b))?,
        is_clustered: groups.is_clustered(),
    })
}

pub(crate) fn check_same_questions(a: &[QueryResult], b: &[QueryResult]) -> Result<()> {
    let refuse = |reason: String| Err(Error::NotComparable { reason });
    let ids = |results: &[QueryResult]| results.iter().map(|r| r.query_id.clone()).collect::<Vec<_>>();
    let (ids_a, ids_b) = (ids(a), ids(b));
    if ids_a.iter().collect::<BTreeSet<_>>() != ids_b.iter().collect::<BTreeSet<_>>() {
        return refuse(format!("queries {}", difference_of_ids(&ids_a, &ids_b)));
    }
    for (a, b) in a.iter().zip(b) {
        if a.query_id != b.query_id {
            return refuse(format!("their queries are in different order, at '{}'", a.query_id));
        }
        if a.truth_id != b.truth_id {
            let (query, a, b) = (&a.query_id, &a.truth_id, &b.truth_id);
            return refuse(format!(
                "the query '{query}' has the match '{a}' in the first, '{b}' in the second"
            ));
        }
        if a.n_gallery != b.n_gallery {
            return refuse(format!("their galleries hold {} and {} photos", a.n_gallery, b.n_gallery));
        }
    }
    Ok(())
}

/// Which ids only one of two lists has: their number and the first few.
pub(crate) fn difference_of_ids(a: &[String], b: &[String]) -> String {
    let set = |ids: &'_ [String]| ids.iter().cloned().collect::<BTreeSet<String>>();
    let (set_a, set_b) = (set(a), set(b));
    let some = |ids: Vec<&String>| format!("{} ({})", ids.len(), first_few(&ids));
    format!(
        "only in the first: {}; only in the second: {}",
        some(set_a.difference(&set_b).collect()),
        some(set_b.difference(&set_a).collect()),
    )
}

/// The first few of many ids.
pub(crate) fn first_few<S: AsRef<str>>(ids: &[S]) -> String {
    let shown: Vec<&str> = ids.iter().take(3).map(AsRef::as_ref).collect();
    shown.join(", ") + if ids.len() > 3 { ", ..." } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    #[test]
    fn mcnemar_equals_statsmodels() {
        // tests/reference/reference.py
        for line in include_str!("../tests/reference/mcnemar.csv").lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let (only_a, only_b): (usize, usize) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
            let expected: f64 = fields[2].parse().unwrap();
            let a: Vec<bool> = (0..only_a + only_b + 4).map(|i| i < only_a).collect();
            let b: Vec<bool> =
                (0..only_a + only_b + 4).map(|i| (only_a..only_a + only_b).contains(&i)).collect();
            let test = mcnemar(&a, &b).unwrap();
            assert!((test.p_value - expected).abs() <= 1e-9 * expected, "{line}: {}", test.p_value);
        }
    }

    #[test]
    fn a_difference_by_hand() {
        let a = with_ranks(&[1, 2, 2, 2], 1);
        let b = with_ranks(&[2, 1, 1, 2], 1);
        let comparison = compare(&a, &b, &[1, 5], &Bootstrap::default()).unwrap();
        let acc1 = comparison.get("acc@1").unwrap();
        assert_eq!((acc1.estimate.value, acc1.estimate.n), (0.25, 4));
        assert!(acc1.estimate.low <= 0.25 && 0.25 <= acc1.estimate.high);
        // Three of four differ, by -1, 1, 1: of 8 sign patterns only none is nearer to 0 than 1.
        assert_eq!(acc1.p_value, 1.0);
        assert_eq!(comparison.get("mrr").unwrap().estimate.value, 0.125);
        assert_eq!(comparison.get("acc@5").unwrap().estimate.value, 0.0);
        assert_eq!((comparison.mcnemar.n_only_a, comparison.mcnemar.n_only_b), (1, 2));
        let same = compare(&a, &a, &[1, 5], &Bootstrap::default()).unwrap();
        let acc1 = same.get("acc@1").unwrap();
        assert_eq!((acc1.estimate.low, acc1.estimate.high, acc1.p_value), (0.0, 0.0, 1.0));
        assert_eq!(same.mcnemar.p_value, 1.0);
    }

    #[test]
    fn several_models_are_corrected_for_their_pairs() {
        let n = 12;
        let (bad, good) = (with_ranks(&vec![2; n], 1), with_ranks(&vec![1; n], 1));
        let all = compare_all(&[&bad, &good, &good], &[1], &Bootstrap::default()).unwrap();
        assert_eq!(all.iter().map(|pair| (pair.a, pair.b)).collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
        // All 12 to one side: 2 of 2^12 patterns, in both tests; two of three pairs are that small.
        let p = 2.0 / 4096.0;
        for (pair, expected) in all.iter().zip([3.0 * p, 3.0 * p, 1.0]) {
            assert!((pair.get("acc@1").unwrap().p_holm - expected).abs() < 1e-12, "{pair:?}");
            assert!((pair.mcnemar.p_holm - expected).abs() < 1e-9, "{pair:?}");
        }
        assert!(compare_all(&[&bad], &[1], &Bootstrap::default()).is_err());
    }

    /// Four sketches of one photo are one observation, and never significant.
    #[test]
    fn queries_of_one_photo_are_swapped_together() {
        let (a, b) = (with_ranks(&[2; 4], 4), with_ranks(&[1; 4], 4));
        let comparison = compare(&a, &b, &[1, 5], &Bootstrap::default()).unwrap();
        assert!(comparison.is_clustered);
        assert_eq!(comparison.get("acc@1").unwrap().p_value, 1.0);
    }

    #[test]
    fn drawn_sign_flips_come_near_the_exact_test() {
        let sums: Vec<f64> = (0..12).map(|i| if i % 3 == 0 { -1.0 } else { 1.5 }).collect();
        let (exact, drawn) = (permutation_p_value(&sums, 5000, 1), permutation_p_value(&sums, 4000, 1));
        assert!((exact - drawn).abs() < 0.02, "{exact} {drawn}");
    }

    #[test]
    fn holm_equals_statsmodels() {
        // tests/reference/reference.py
        let (mut p_values, mut expected) = (Vec::new(), Vec::new());
        for line in include_str!("../tests/reference/holm.csv").lines().skip(1) {
            let (p, corrected) = line.split_once(',').unwrap();
            p_values.push(p.parse::<f64>().unwrap());
            expected.push(corrected.parse::<f64>().unwrap());
        }
        for (ours, theirs) in holm(&p_values).into_iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-12);
        }
    }

    #[test]
    fn different_questions_are_refused_by_name() {
        let a = with_ranks(&[1, 2, 3], 1);
        let fewer = compare(&a, &a[..2], &[1, 5], &Bootstrap::default()).unwrap_err().to_string();
        assert!(fewer.contains("only in the first: 1 (q00002)"), "{fewer}");
        let mut moved = a.clone();
        moved[1].truth_id = "elsewhere".into();
        assert!(
            compare(&a, &moved, &[1, 5], &Bootstrap::default())
                .unwrap_err()
                .to_string()
                .contains("'elsewhere'")
        );
        let mut larger = a.clone();
        larger[0].n_gallery = 7;
        assert!(
            compare(&a, &larger, &[1, 5], &Bootstrap::default())
                .unwrap_err()
                .to_string()
                .contains("7 photos")
        );
    }
}
