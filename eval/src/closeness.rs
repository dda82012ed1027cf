//! How alike the photos are that were found, in the eyes of a fixed photo network: smoothness and fidelity.
//!
//! Both are of 'Photo Pre-Training, But for Sketch' (CVPR 2023), in the features of a network that no compared model
//! changes: smoothness is the mean pairwise distance among the first ten photos, fidelity the mean distance between the
//! true photo and the first five. Smaller is smoother, and closer.

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate};
use crate::metrics::{METRICS, Over};
use crate::result::{Closeness, QueryResult};
use crate::{Error, Result};

/// How many of the nearest photos smoothness is over.
pub const N_SMOOTH: usize = 10;
/// How many of the nearest photos fidelity is over.
pub const N_FAITHFUL: usize = 5;

/// The closeness of each result, in the features of a fixed network for the gallery's photos.
///
/// # Shapes
/// `features`: `[n_photos, D]`, of every photo that the results name; returns `[n_results]`.
///
/// # Errors
/// [`Error::Unknown`] where a photo has no features.
pub fn closeness(
    results: &[QueryResult],
    features: &Embeddings,
    distance: Distance,
) -> Result<Vec<Closeness>> {
    let row = |result: &QueryResult, id: &str| {
        features.find(id).and_then(|row| features.row(row)).ok_or_else(|| Error::Unknown {
            asker: format!("the query '{}'", result.query_id),
            what: "photo in the reference space",
            id: id.to_owned(),
        })
    };
    results
        .iter()
        .map(|result| {
            let top: Vec<&[f32]> =
                result.top.iter().take(N_SMOOTH).map(|id| row(result, id)).collect::<Result<_>>()?;
            let own = row(result, &result.truth_id)?;
            let pairs = (0..top.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let (sum, n_pairs) =
                pairs.fold((0.0, 0.0), |(sum, n), (a, b)| (sum + distance.between(top[a], top[b]), n + 1.0));
            let first = &top[..top.len().min(N_FAITHFUL)];
            let to_own: f64 = first.iter().map(|photo| distance.between(own, photo)).sum();
            Ok(Closeness {
                smoothness: if n_pairs > 0.0 { sum / n_pairs } else { 0.0 },
                fidelity: to_own / first.len().max(1) as f64,
            })
        })
        .collect()
}

/// The means of both over all results that have them, with intervals by the bootstrap over photos.
pub fn summarise_closeness(results: &[QueryResult], bootstrap: &Bootstrap) -> Vec<Estimate> {
    let columns = METRICS.iter().filter_map(|metric| match metric.over {
        Over::MeanInReference(of) => {
            let values = results.iter().map(|result| result.closeness.as_ref().map(of)).collect();
            Some((metric.name.to_owned(), values))
        }
        _ => None,
    });
    let mut estimates = Groups::by_photo(results).mean_estimates(bootstrap, "closeness", columns.collect());
    estimates.retain(|estimate| estimate.n > 0);
    estimates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    /// Photos on a line at 0, 1, 3; the first three found are 0, 1, 3 and the true one is at 3. Squared differences by
    /// hand: pairs 1, 9, 4; to the true one 9, 4, 0.
    #[test]
    fn by_hand() {
        let ids = ["g00000", "g00001", "g00002"].map(str::to_owned).to_vec();
        let features = Embeddings::new(ids.clone(), 1, vec![0.0, 1.0, 3.0]).unwrap();
        let mut results = with_ranks(&[3], 1);
        results[0].top = ids;
        results[0].truth_id = "g00002".into();
        let found = closeness(&results, &features, Distance::Mse).unwrap();
        assert_eq!(found, [Closeness { smoothness: 14.0 / 3.0, fidelity: 13.0 / 3.0 }]);
        results[0].closeness = Some(found[0]);
        let estimates = summarise_closeness(&results, &Bootstrap::default());
        assert_eq!(estimates[0].value, 14.0 / 3.0);
        assert_eq!((estimates[1].metric.as_str(), estimates[1].n), ("fidelity@5", 1));
        results[0].top[0] = "elsewhere".into();
        let message = closeness(&results, &features, Distance::Mse).unwrap_err().to_string();
        assert!(message.contains("'elsewhere'") && message.contains("'q00000'"), "{message}");
    }

    #[test]
    fn results_without_closeness_have_no_figure() {
        assert!(summarise_closeness(&with_ranks(&[1, 2], 1), &Bootstrap::default()).is_empty());
    }
}
