//! Two models on the same queries and gallery: McNemar's test and the interval of the difference.

use crate::accuracy::QueryResult;
use crate::bootstrap::Groups;
use crate::summary::{Bootstrap, Estimate, IntervalMethod};
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
}

/// A paired comparison of two models, A and B.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// acc@1 of B less acc@1 of A, with its paired bootstrap interval (photos drawn with all their queries).
    pub difference: Estimate,
    /// McNemar's exact test. It takes queries as independent; where a photo has several, the interval of the
    /// difference, which does not, is the one to read.
    pub mcnemar: McNemar,
    /// Whether some photo has several queries.
    pub is_clustered: bool,
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
    Ok(McNemar { n: a.len(), n_only_a, n_only_b, p_value })
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

/// Compares two models' results.
///
/// # Errors
/// [`Error::NotComparable`] where queries, their matches or the gallery's size differ, naming the first ones that
/// do; [`Error::Empty`]; [`Error::OutOfRange`] on settings of the bootstrap.
pub fn compare(a: &[QueryResult], b: &[QueryResult], bootstrap: &Bootstrap) -> Result<Comparison> {
    bootstrap.check()?;
    if a.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    check_same_questions(a, b)?;
    let right = |results: &[QueryResult]| results.iter().map(|r| r.rank == 1).collect::<Vec<_>>();
    let (right_a, right_b) = (right(a), right(b));
    let groups = Groups::by_photo(a);
    let difference = |indices: &[usize]| {
        let share = |right: &[bool]| indices.iter().filter(|&&index| right[index]).count() as f64;
        (share(&right_b) - share(&right_a)) / indices.len() as f64
    };
    let all: Vec<usize> = (0..a.len()).collect();
    let (low, high) = groups.percentile_interval(bootstrap, "acc@1 difference", difference);
    Ok(Comparison {
        difference: Estimate {
            metric: "acc@1_difference".into(),
            value: difference(&all),
            low,
            high,
            n: a.len(),
            interval: IntervalMethod::PercentileBootstrap,
        },
        mcnemar: mcnemar(&right_a, &right_b)?,
        is_clustered: groups.is_clustered(),
    })
}

pub(crate) fn check_same_questions(a: &[QueryResult], b: &[QueryResult]) -> Result<()> {
    let refuse = |reason: String| Err(Error::NotComparable { reason });
    let ids = |results: &[QueryResult]| {
        results.iter().map(|r| r.query_id.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let (ids_a, ids_b) = (ids(a), ids(b));
    if ids_a != ids_b {
        let some = |ids: Vec<&String>| {
            let shown: Vec<&str> = ids.iter().take(3).map(|id| id.as_str()).collect();
            format!("{} ({}{})", ids.len(), shown.join(", "), if ids.len() > 3 { ", ..." } else { "" })
        };
        return refuse(format!(
            "queries only in the first: {}; only in the second: {}",
            some(ids_a.difference(&ids_b).collect()),
            some(ids_b.difference(&ids_a).collect()),
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::with_ranks;

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
        let comparison = compare(&a, &b, &Bootstrap::ORDINARY).unwrap();
        assert_eq!(comparison.difference.value, 0.25);
        assert!(comparison.difference.low <= 0.25 && 0.25 <= comparison.difference.high);
        assert_eq!((comparison.mcnemar.n_only_a, comparison.mcnemar.n_only_b), (1, 2));
        let same = compare(&a, &a, &Bootstrap::ORDINARY).unwrap();
        assert_eq!((same.difference.low, same.difference.high, same.mcnemar.p_value), (0.0, 0.0, 1.0));
    }

    #[test]
    fn different_questions_are_refused_by_name() {
        let a = with_ranks(&[1, 2, 3], 1);
        let fewer = compare(&a, &a[..2], &Bootstrap::ORDINARY).unwrap_err().to_string();
        assert!(fewer.contains("only in the first: 1 (q00002)"), "{fewer}");
        let mut moved = a.clone();
        moved[1].truth_id = "elsewhere".into();
        assert!(compare(&a, &moved, &Bootstrap::ORDINARY).unwrap_err().to_string().contains("'elsewhere'"));
        let mut larger = a.clone();
        larger[0].n_gallery = 7;
        assert!(compare(&a, &larger, &Bootstrap::ORDINARY).unwrap_err().to_string().contains("7 photos"));
    }
}
