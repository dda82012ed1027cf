//! Who is to blame for a wrong retrieval: the sketch or the model.
//!
//! After 'Photo Pre-Training, But for Sketch' (CVPR 2023), by [`Closeness`] in a fixed photo network. Photos that were
//! found far apart from each other (large smoothness) and far from the true one (large fidelity) speak of a sketch that
//! says too little; photos that are alike and near the true one, of a model that cannot tell look-alikes apart. Where
//! the two disagree, the smoothness of the baseline's answer to the same sketch decides: a sketch for which the baseline
//! finds scattered photos too is a poor one.
//!
//! What counts as large is our choice: above the median over all queries and both models.

use crate::bootstrap::median;
use crate::paired::check_same_questions;
use crate::result::{Closeness, QueryResult};
use crate::{Error, Result};

/// What a wrong retrieval is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The sketch says too little of its photo.
    PoorSketch,
    /// The model cannot tell the photo from its look-alikes.
    WeakModel,
}

impl Blame {
    /// The name in CSV files.
    pub fn name(self) -> &'static str {
        match self {
            Blame::PoorSketch => "poor_sketch",
            Blame::WeakModel => "weak_model",
        }
    }
}

/// A wrong retrieval, and what it is put down to.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// The query's id.
    pub query_id: String,
    /// The rank of its match with the model in question.
    pub rank: usize,
    /// The rank of its match with the baseline.
    pub baseline_rank: usize,
    /// The model's closeness.
    pub closeness: Closeness,
    /// The baseline's smoothness.
    pub baseline_smoothness: f64,
    /// Whether smoothness and fidelity disagree, so that the baseline decided.
    pub is_mixed: bool,
    /// What it is put down to.
    pub blame: Blame,
}

/// Puts each query that `model` gets wrong down to its sketch or to the model, beside `baseline`'s answers.
///
/// # Errors
/// [`Error::NotComparable`] where the two are not of the same queries and gallery, or have no closeness;
/// [`Error::Empty`].
pub fn attribute(baseline: &[QueryResult], model: &[QueryResult]) -> Result<Vec<Attribution>> {
    if model.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    check_same_questions(baseline, model)?;
    let known = |results: &[QueryResult]| -> Result<Vec<Closeness>> {
        let missing = |query: &str| Error::NotComparable {
            reason: format!("the query '{query}' has no smoothness: evaluate both with the same reference"),
        };
        results.iter().map(|result| result.closeness.ok_or_else(|| missing(&result.query_id))).collect()
    };
    let (of_baseline, of_model) = (known(baseline)?, known(model)?);
    let both = || of_baseline.iter().chain(&of_model);
    let smooth = median(both().map(|closeness| closeness.smoothness).collect());
    let faithful = median(both().map(|closeness| closeness.fidelity).collect());
    let wrong = (0..model.len()).filter(|&query| model[query].rank > 1);
    Ok(wrong
        .map(|query| {
            let closeness = of_model[query];
            let (is_scattered, is_far) = (closeness.smoothness > smooth, closeness.fidelity > faithful);
            let is_mixed = is_scattered != is_far;
            let is_sketch = if is_mixed { of_baseline[query].smoothness > smooth } else { is_scattered };
            Attribution {
                query_id: model[query].query_id.clone(),
                rank: model[query].rank,
                baseline_rank: baseline[query].rank,
                closeness,
                baseline_smoothness: of_baseline[query].smoothness,
                is_mixed,
                blame: if is_sketch { Blame::PoorSketch } else { Blame::WeakModel },
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    fn with_closeness(ranks: &[usize], values: &[(f64, f64)]) -> Vec<QueryResult> {
        let mut results = with_ranks(ranks, 1);
        for (result, &(smoothness, fidelity)) in results.iter_mut().zip(values) {
            result.closeness = Some(Closeness { smoothness, fidelity });
        }
        results
    }

    /// Medians over both models are 5 and 5. Query 0 is right; 1 is large, large; 2 small, small; 3 and 4 are mixed, and
    /// the baseline decides differently.
    #[test]
    fn each_case_by_hand() {
        let baseline =
            with_closeness(&[1, 1, 1, 2, 2], &[(5.0, 5.0), (5.0, 5.0), (5.0, 5.0), (9.0, 5.0), (1.0, 5.0)]);
        let model =
            with_closeness(&[1, 2, 3, 4, 5], &[(9.0, 9.0), (8.0, 8.0), (1.0, 1.0), (8.0, 1.0), (1.0, 8.0)]);
        let found: Vec<_> = attribute(&baseline, &model)
            .unwrap()
            .into_iter()
            .map(|one| (one.query_id, one.is_mixed, one.blame))
            .collect();
        let expected = [
            ("q00001", false, Blame::PoorSketch),
            ("q00002", false, Blame::WeakModel),
            ("q00003", true, Blame::PoorSketch),
            ("q00004", true, Blame::WeakModel),
        ];
        assert_eq!(found, expected.map(|(id, is_mixed, blame)| (id.to_owned(), is_mixed, blame)));
    }

    #[test]
    fn without_closeness_it_is_refused() {
        let results = with_ranks(&[1, 2], 1);
        let message = attribute(&results, &results).unwrap_err().to_string();
        assert!(message.contains("'q00000'") && message.contains("reference"), "{message}");
        assert!(attribute(&[], &[]).is_err());
    }
}
