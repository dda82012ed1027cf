//! On-the-fly retrieval: how soon the photo is found while its sketch is drawn.
//!
//! After Bhunia et al., 'Sketch Less for More: On-the-Fly Fine-Grained Sketch Based Image Retrieval' (CVPR 2020): the
//! sketch is drawn in steps of equal shares, its photo is ranked after each, and what counts is the area under the curve
//! of the rank percentile (there m@A) and of 1 / rank (there m@B) against the share drawn, together with acc@k of the
//! whole sketch.

use crate::accuracy::accuracy_at;
use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate};
use crate::paired::check_same_questions;
use crate::result::QueryResult;
use crate::{Error, Result};

/// What was found at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStep {
    /// The share of the sketch that is drawn, above 0 and at most 1.
    pub share: f64,
    /// The share of sketches whose photo is first.
    pub acc1: f64,
    /// The share of sketches whose photo is among the first five.
    pub acc5: f64,
    /// The share of sketches whose photo is among the first ten.
    pub acc10: f64,
    /// The mean rank percentile.
    pub rank_percentile: f64,
    /// The mean of 1 / rank.
    pub reciprocal_rank: f64,
}

/// How soon photos are found.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyRetrieval {
    /// The steps, in order.
    pub steps: Vec<EarlyStep>,
    /// The areas `early_rank_percentile_area` and `early_reciprocal_rank_area`, in `[0, 1]`; papers print them times 100.
    pub areas: Vec<Estimate>,
}

/// Measures on-the-fly retrieval: `steps[s]` are the results of all sketches when the share `(s + 1) / n_steps` of each
/// is drawn. An area is the mean over steps, as the shares are equal, first for each sketch.
///
/// # Errors
/// [`Error::Empty`] without steps or queries; [`Error::NotComparable`] where steps differ in queries or gallery;
/// [`Error::OutOfRange`] on settings of the bootstrap.
pub fn early_retrieval(steps: &[Vec<QueryResult>], bootstrap: &Bootstrap) -> Result<EarlyRetrieval> {
    bootstrap.check()?;
    let first = steps.first().filter(|step| !step.is_empty()).ok_or(Error::Empty { what: "query" })?;
    for step in steps {
        check_same_questions(first, step)?;
    }
    let n_steps = steps.len() as f64;
    let area = |of: &dyn Fn(&QueryResult) -> f64| -> Vec<Option<f64>> {
        (0..first.len())
            .map(|query| Some(steps.iter().map(|step| of(&step[query])).sum::<f64>() / n_steps))
            .collect()
    };
    let columns = vec![
        ("early_rank_percentile_area".to_owned(), area(&QueryResult::rank_percentile)),
        ("early_reciprocal_rank_area".to_owned(), area(&|result| 1.0 / result.rank as f64)),
    ];
    let areas = Groups::by_photo(first).mean_estimates(bootstrap, "early retrieval", columns);
    let mean = |step: &[QueryResult], of: fn(&QueryResult) -> f64| {
        step.iter().map(of).sum::<f64>() / step.len() as f64
    };
    let steps = steps
        .iter()
        .enumerate()
        .map(|(index, step)| EarlyStep {
            share: (index + 1) as f64 / n_steps,
            acc1: accuracy_at(step, 1),
            acc5: accuracy_at(step, 5),
            acc10: accuracy_at(step, 10),
            rank_percentile: mean(step, QueryResult::rank_percentile),
            reciprocal_rank: mean(step, |result| 1.0 / result.rank as f64),
        })
        .collect();
    Ok(EarlyRetrieval { steps, areas })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    /// Two sketches, two steps, a gallery of 1,000: ranks 1000 and 4, then 1 and 2.
    #[test]
    fn areas_by_hand() {
        let steps = [with_ranks(&[1000, 4], 1), with_ranks(&[1, 2], 1)];
        let early = early_retrieval(&steps, &Bootstrap::default()).unwrap();
        let percentile = ((0.0 + 1.0) / 2.0 + (996.0 / 999.0 + 998.0 / 999.0) / 2.0) / 2.0;
        let reciprocal = ((0.001 + 1.0) / 2.0 + (0.25 + 0.5) / 2.0) / 2.0;
        assert!((early.areas[0].value - percentile).abs() < 1e-12);
        assert!((early.areas[1].value - reciprocal).abs() < 1e-12);
        assert_eq!(early.steps.iter().map(|step| step.share).collect::<Vec<_>>(), [0.5, 1.0]);
        assert_eq!(early.steps.iter().map(|step| step.acc1).collect::<Vec<_>>(), [0.0, 0.5]);
        assert_eq!(early.steps[1].acc5, 1.0);
    }

    #[test]
    fn a_sketch_that_is_found_at_once_scores_one() {
        let early = early_retrieval(&[with_ranks(&[1], 1), with_ranks(&[1], 1)], &Bootstrap::default());
        assert!(early.unwrap().areas.iter().all(|area| area.value == 1.0));
        assert!(early_retrieval(&[], &Bootstrap::default()).is_err());
        let other = [with_ranks(&[1], 1), with_ranks(&[1, 1], 1)];
        assert!(early_retrieval(&other, &Bootstrap::default()).is_err());
    }
}
