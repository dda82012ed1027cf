//! Exact ranks: every query against the whole gallery.

use std::collections::BTreeMap;

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::{Error, Result};

/// How many of the nearest photos a [`QueryResult`] names.
pub const N_TOP: usize = 10;

/// Where one query's match was ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The query's id.
    pub query_id: String,
    /// The id of its match in the gallery.
    pub truth_id: String,
    /// The rank of its match, from 1; ties count against the model (see [`rank_of`]).
    pub rank: usize,
    /// How many other photos are exactly as far as the match.
    pub n_tied: usize,
    /// The distance to the match.
    pub truth_distance: f64,
    /// The distance to the nearest photo.
    pub first_distance: f64,
    /// The ids of the nearest photos, at most [`N_TOP`], nearest first, ties by id.
    pub top: Vec<String>,
    /// The number of photos that were ranked.
    pub n_gallery: usize,
}

/// The rank of entry `truth` among `distances`, from 1, and the number of other entries exactly as far.
///
/// The rank is 1 + the number of *other* entries whose distance is not larger: a tie counts against the model, so
/// that a collapsed network, for which all distances are equal, is ranked last and not first. A distance that is
/// NaN counts against the model too, on either side.
///
/// # Shapes
/// `distances`: `[n_gallery]`; `truth` below that.
///
/// ```
/// use sketchfind_eval::rank_of;
/// assert_eq!(rank_of(&[0.5, 0.1, 0.9], 0), (2, 0));
/// assert_eq!(rank_of(&[0.5, 0.5, 0.9], 0), (2, 1));
/// assert_eq!(rank_of(&[0.5, f64::NAN, 0.9], 0), (2, 0));
/// assert_eq!(rank_of(&[f64::NAN, 0.1, 0.9], 0), (3, 0));
/// ```
pub fn rank_of(distances: &[f64], truth: usize) -> (usize, usize) {
    let own = distances[truth];
    let others = || distances.iter().enumerate().filter(|&(row, _)| row != truth).map(|(_, &other)| other);
    // `>` is false for NaN on either side, which is the wanted answer: not farther.
    let n_not_farther = others()
        .filter(|&other| !matches!(other.partial_cmp(&own), Some(std::cmp::Ordering::Greater)))
        .count();
    let n_tied = others().filter(|&other| other == own).count();
    (1 + n_not_farther, n_tied)
}

/// Ranks the gallery for every query by exact distance. Results are in order of the queries' ids.
///
/// # Shapes
/// `queries`: `[n_queries, D]`, `gallery`: `[n_gallery, D]`; `truth` maps every query's id to its match's.
///
/// # Errors
/// [`Error::Empty`] without queries or photos, [`Error::Widths`], [`Error::NoTruth`],
/// [`Error::TruthNotInGallery`].
pub fn rank_queries(
    queries: &Embeddings,
    gallery: &Embeddings,
    truth: &BTreeMap<String, String>,
    distance: Distance,
) -> Result<Vec<QueryResult>> {
    if queries.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    if gallery.is_empty() {
        return Err(Error::Empty { what: "gallery photo" });
    }
    if queries.width() != gallery.width() {
        return Err(Error::Widths { queries: queries.width(), gallery: gallery.width() });
    }
    // All truths are looked up before any work is done.
    let truth_rows: Vec<usize> = queries
        .ids()
        .iter()
        .map(|query| {
            let truth = truth.get(query).ok_or_else(|| Error::NoTruth { query: query.clone() })?;
            gallery
                .find(truth)
                .ok_or_else(|| Error::TruthNotInGallery { query: query.clone(), truth: truth.clone() })
        })
        .collect::<Result<_>>()?;
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let rows: Vec<usize> = (0..queries.len()).collect();
    let chunk_len = queries.len().div_ceil(n_threads);
    let rank_rows = |rows: &[usize]| -> Vec<QueryResult> {
        rows.iter().map(|&row| rank_one(queries, row, gallery, truth_rows[row], distance)).collect()
    };
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> =
            rows.chunks(chunk_len).map(|rows| scope.spawn(move || rank_rows(rows))).collect();
        workers
            .into_iter()
            .flat_map(|worker| match worker.join() {
                Ok(results) => results,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    Ok(results)
}

fn rank_one(
    queries: &Embeddings,
    query_row: usize,
    gallery: &Embeddings,
    truth_row: usize,
    distance: Distance,
) -> QueryResult {
    let query = queries.row(query_row).unwrap_or_default();
    let distances: Vec<f64> = gallery.rows().map(|photo| distance.between(query, photo)).collect();
    let (rank, n_tied) = rank_of(&distances, truth_row);
    let mut nearest: Vec<usize> = (0..distances.len()).collect();
    let by_distance_then_id = |&a: &usize, &b: &usize| distances[a].total_cmp(&distances[b]).then(a.cmp(&b));
    if nearest.len() > N_TOP {
        nearest.select_nth_unstable_by(N_TOP - 1, by_distance_then_id);
        nearest.truncate(N_TOP);
    }
    nearest.sort_unstable_by(by_distance_then_id);
    QueryResult {
        query_id: queries.ids()[query_row].clone(),
        truth_id: gallery.ids()[truth_row].clone(),
        rank,
        n_tied,
        truth_distance: distances[truth_row],
        first_distance: distances[nearest[0]],
        top: nearest.iter().map(|&row| gallery.ids()[row].clone()).collect(),
        n_gallery: gallery.len(),
    }
}

/// The share of queries whose match is among the first `k`, in `[0, 1]`; NaN without queries.
pub fn accuracy_at(results: &[QueryResult], k: usize) -> f64 {
    results.iter().filter(|result| result.rank <= k).count() as f64 / results.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn embeddings(prefix: &str, width: usize, values: Vec<f32>) -> Embeddings {
        let ids = (0..values.len() / width).map(|row| format!("{prefix}{row:03}")).collect();
        Embeddings::new(ids, width, values).unwrap()
    }

    fn same_number(n: usize) -> BTreeMap<String, String> {
        (0..n).map(|row| (format!("q{row:03}"), format!("g{row:03}"))).collect()
    }

    /// On a line: photos at 0, 10, 20; sketches at 1, 14, 11. Ranks by hand: 1 (photo 0 nearest), 1 (10 at 4, 20
    /// at 6), 2 (10 at 1, 20 at 9, 0 at 11).
    #[test]
    fn ranks_of_a_hand_made_gallery() {
        let gallery = embeddings("g", 1, vec![0.0, 10.0, 20.0]);
        let queries = embeddings("q", 1, vec![1.0, 14.0, 11.0]);
        let results = rank_queries(&queries, &gallery, &same_number(3), Distance::Mse).unwrap();
        assert_eq!(results.iter().map(|r| r.rank).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(results[2].top, ["g001", "g002", "g000"]);
        assert_eq!(results[2].truth_distance, 81.0);
        assert_eq!(accuracy_at(&results, 1), 2.0 / 3.0);
        assert_eq!(accuracy_at(&results, 2), 1.0);
    }

    #[test]
    fn a_collapsed_model_scores_zero() {
        let gallery = embeddings("g", 4, vec![0.5; 4 * 20]);
        let queries = embeddings("q", 4, vec![0.5; 4 * 20]);
        let results = rank_queries(&queries, &gallery, &same_number(20), Distance::Mse).unwrap();
        assert_eq!(accuracy_at(&results, 10), 0.0);
        assert!(results.iter().all(|r| r.rank == 20 && r.n_tied == 19));
    }

    #[test]
    fn each_bad_input_has_its_error() {
        let gallery = embeddings("g", 1, vec![0.0, 1.0]);
        let queries = embeddings("q", 1, vec![0.0, 1.0]);
        let none = embeddings("q", 1, vec![]);
        let wide = embeddings("q", 2, vec![0.0, 1.0]);
        let truth = same_number(2);
        let run = |queries, gallery, truth: &BTreeMap<_, _>| {
            rank_queries(queries, gallery, truth, Distance::Mse).unwrap_err()
        };
        assert!(matches!(run(&none, &gallery, &truth), Error::Empty { what: "query" }));
        assert!(matches!(run(&queries, &none, &truth), Error::Empty { what: "gallery photo" }));
        assert!(matches!(run(&wide, &gallery, &truth), Error::Widths { queries: 2, gallery: 1 }));
        assert!(matches!(run(&queries, &gallery, &same_number(1)), Error::NoTruth { .. }));
        let elsewhere = BTreeMap::from([
            ("q000".to_owned(), "g000".to_owned()),
            ("q001".to_owned(), "nowhere".to_owned()),
        ]);
        assert!(run(&queries, &gallery, &elsewhere).to_string().contains("'nowhere'"));
    }

    /// Values from a small set, so that ties are common.
    fn small_values(n: usize) -> impl Strategy<Value = Vec<f32>> {
        proptest::collection::vec((0..4_u8).prop_map(f32::from), n)
    }

    proptest! {
        #[test]
        fn equals_a_naive_ranking(
            gallery in small_values(2 * 12),
            queries in small_values(2 * 5),
        ) {
            let results = rank_queries(
                &embeddings("q", 2, queries.clone()),
                &embeddings("g", 2, gallery.clone()),
                &same_number(5),
                Distance::Mse,
            ).unwrap();
            for (q, result) in results.iter().enumerate() {
                let mut rank = 1;
                let distance = |g: usize| {
                    let difference = |k: usize| f64::from(queries[2 * q + k]) - f64::from(gallery[2 * g + k]);
                    (difference(0).powi(2) + difference(1).powi(2)) / 2.0
                };
                for g in 0..12 {
                    if g != q && distance(g) <= distance(q) {
                        rank += 1;
                    }
                }
                prop_assert_eq!(result.rank, rank);
            }
        }

        #[test]
        fn the_order_of_the_gallery_does_not_matter_and_accuracy_never_falls_with_k(
            gallery in small_values(2 * 12),
            queries in small_values(2 * 5),
        ) {
            let run = |ids: Vec<String>, values: Vec<f32>| rank_queries(
                &embeddings("q", 2, queries.clone()),
                &Embeddings::new(ids, 2, values).unwrap(),
                &same_number(5),
                Distance::Mse,
            ).unwrap();
            let ids: Vec<String> = (0..12).map(|row| format!("g{row:03}")).collect();
            let forward = run(ids.clone(), gallery.clone());
            let backward = run(
                ids.into_iter().rev().collect(),
                gallery.chunks(2).rev().flatten().copied().collect(),
            );
            prop_assert_eq!(&forward, &backward);
            for k in 1..12 {
                prop_assert!(accuracy_at(&forward, k) <= accuracy_at(&forward, k + 1));
            }
        }
    }
}
