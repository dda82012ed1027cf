//! Exact ranks: every query against the whole gallery.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::result::QueryResult;
use crate::{Error, Result};

/// How many of the nearest photos a [`QueryResult`] names.
pub const N_TOP: usize = 10;

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

/// The average precision of a ranking with matches at `places`, from 1 and ascending: the mean over matches of the
/// share of matches among all photos down to there (trec_eval's `map` of one query).
///
/// ```
/// use sketchfind_eval::accuracy::average_precision;
/// // By hand: (1/1 + 2/4) / 2.
/// assert_eq!(average_precision(&[1, 4]), 0.75);
/// ```
pub fn average_precision(places: &[usize]) -> f64 {
    let precisions = places.iter().enumerate().map(|(index, &place)| (index + 1) as f64 / place as f64);
    precisions.sum::<f64>() / places.len() as f64
}

/// The places of the entries `matches` among `distances`, from 1 and ascending. Every other entry that is not farther
/// than a match, or has no distance, stands before it, as in [`rank_of`].
///
/// # Shapes
/// `distances`: `[n_gallery]`; `matches`: distinct, each below that; returns as many.
///
/// ```
/// use sketchfind_eval::accuracy::places_of;
/// assert_eq!(places_of(&[0.1, 0.1, 0.2, 0.3], &[0, 3]), [2, 4]);
/// assert_eq!(places_of(&[f64::NAN, 0.1, f64::NAN], &[0, 1]), [2, 3]);
/// ```
pub fn places_of(distances: &[f64], matches: &[usize]) -> Vec<usize> {
    if let &[only] = matches {
        return vec![rank_of(distances, only).0];
    }
    let is_match: BTreeSet<usize> = matches.iter().copied().collect();
    let others = || (0..distances.len()).filter(|row| !is_match.contains(row)).map(|row| distances[row]);
    let mut known: Vec<f64> = others().filter(|other| !other.is_nan()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let n_others = distances.len() - is_match.len();
    let n_nan = n_others - known.len();
    let mut n_before: Vec<usize> = is_match
        .iter()
        .map(|&row| match distances[row] {
            own if own.is_nan() => n_others,
            own => n_nan + known.partition_point(|&other| other <= own),
        })
        .collect();
    n_before.sort_unstable();
    n_before.into_iter().enumerate().map(|(index, n)| n + index + 1).collect()
}

/// Ranks the gallery for every query by exact distance. Results are in order of the queries' ids.
///
/// # Shapes
/// `queries`: `[n_queries, D]`, `gallery`: `[n_gallery, D]`; `truth` maps every query's id to its matches', the photo that it
/// depicts first. One that stands there twice counts once.
///
/// # Errors
/// [`Error::Empty`] without queries or photos, [`Error::Widths`], [`Error::NoTruth`], also where the matches are an empty
/// list, [`Error::TruthNotInGallery`].
pub fn rank_queries(
    queries: &Embeddings,
    gallery: &Embeddings,
    truth: &BTreeMap<String, Vec<String>>,
    distance: Distance,
) -> Result<Vec<QueryResult>> {
    let truths = rows_of_truths(queries, gallery, truth)?;
    Ok((0..queries.len())
        .into_par_iter()
        .map(|row| {
            let query = queries.row(row).unwrap_or_default();
            let distances: Vec<f64> = gallery.rows().map(|photo| distance.between(query, photo)).collect();
            rank_one(&queries.ids()[row], &distances, &truths[row], gallery.ids())
        })
        .collect())
}

/// The rows of every query's matches in the gallery, the photo that it depicts first. All doors are checked here,
/// before any work is done.
pub(crate) fn rows_of_truths(
    queries: &Embeddings,
    gallery: &Embeddings,
    truth: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Vec<usize>>> {
    if queries.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    if gallery.is_empty() {
        return Err(Error::Empty { what: "gallery photo" });
    }
    if queries.width() != gallery.width() {
        return Err(Error::Widths { queries: queries.width(), gallery: gallery.width() });
    }
    let row_of = |query: &String, truth: &String| {
        gallery
            .find(truth)
            .ok_or_else(|| Error::TruthNotInGallery { query: query.clone(), truth: truth.clone() })
    };
    queries
        .ids()
        .iter()
        .map(|query| {
            let matches = truth.get(query).filter(|matches| !matches.is_empty());
            let matches = matches.ok_or_else(|| Error::NoTruth { query: query.clone() })?;
            let mut rows: Vec<usize> = Vec::with_capacity(matches.len());
            for id in matches {
                let row = row_of(query, id)?;
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
            Ok(rows)
        })
        .collect()
}

/// What is known of a query from its distances to all that is ranked, whose ids are sorted.
///
/// # Shapes
/// `distances`: `[n_gallery]`, `ids` as many; `truth_rows`: at least one, each below that.
pub(crate) fn rank_one(query: &str, distances: &[f64], truth_rows: &[usize], ids: &[String]) -> QueryResult {
    let places = places_of(distances, truth_rows);
    let nearest_match = truth_rows.iter().map(|&row| distances[row]).min_by(f64::total_cmp);
    let truth_distance = nearest_match.unwrap_or(f64::NAN);
    let n_tied = (0..distances.len())
        .filter(|row| distances[*row] == truth_distance && !truth_rows.contains(row))
        .count();
    let mut nearest: Vec<usize> = (0..distances.len()).collect();
    let by_distance_then_id = |&a: &usize, &b: &usize| distances[a].total_cmp(&distances[b]).then(a.cmp(&b));
    if nearest.len() > N_TOP {
        nearest.select_nth_unstable_by(N_TOP - 1, by_distance_then_id);
        nearest.truncate(N_TOP);
    }
    nearest.sort_unstable_by(by_distance_then_id);
    QueryResult {
        query_id: query.to_owned(),
        truth_id: ids[truth_rows[0]].clone(),
        n_matches: truth_rows.len(),
        rank: places[0],
        n_tied,
        average_precision: average_precision(&places),
        truth_distance,
        first_distance: distances[nearest[0]],
        top: nearest.iter().map(|&row| ids[row].clone()).collect(),
        n_gallery: ids.len(),
        closeness: None,
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

    fn same_number(n: usize) -> BTreeMap<String, Vec<String>> {
        (0..n).map(|row| (format!("q{row:03}"), vec![format!("g{row:03}")])).collect()
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
            ("q000".to_owned(), vec!["g000".to_owned()]),
            ("q001".to_owned(), vec!["nowhere".to_owned()]),
        ]);
        assert!(run(&queries, &gallery, &elsewhere).to_string().contains("'nowhere'"));
    }

    /// tests/reference/retrieval.py, made with ranx.
    #[test]
    fn several_matches_equal_ranx() {
        let rows = |text: &str| -> Vec<Vec<usize>> {
            text.lines().map(|line| line.split(',').map(|field| field.parse().unwrap()).collect()).collect()
        };
        let distances = rows(include_str!("../tests/reference/retrieval_distances.csv"));
        let matches = rows(include_str!("../tests/reference/retrieval_matches.csv"));
        let places: Vec<Vec<usize>> = distances
            .iter()
            .zip(&matches)
            .map(|(row, matches)| {
                places_of(&row.iter().map(|&value| value as f64).collect::<Vec<_>>(), matches)
            })
            .collect();
        let mean = |of: &dyn Fn(&[usize]) -> f64| {
            places.iter().map(|places| of(places)).sum::<f64>() / places.len() as f64
        };
        for line in include_str!("../tests/reference/retrieval_scores.csv").lines().skip(1) {
            let (metric, value) = line.split_once(',').unwrap();
            let ours = match metric {
                "mrr" => mean(&|places| 1.0 / places[0] as f64),
                "map" => mean(&average_precision),
                accuracy => {
                    let k: usize = accuracy.strip_prefix("acc@").unwrap().parse().unwrap();
                    mean(&|places| f64::from(u8::from(places[0] <= k)))
                }
            };
            assert!((ours - value.parse::<f64>().unwrap()).abs() < 1e-12, "{line}: {ours}");
        }
    }

    #[test]
    fn several_matches_are_ranked_together() {
        let gallery = embeddings("g", 1, vec![0.0, 10.0, 20.0, 30.0]);
        let queries = embeddings("q", 1, vec![12.0]);
        let matches = |ids: &[&str]| {
            BTreeMap::from([("q000".to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())])
        };
        let run = |truth| rank_queries(&queries, &gallery, &truth, Distance::Mse);
        // From 12: 10, 20, 0, 30. The one that is depicted is at place 3, its fellow at 1.
        let result = run(matches(&["g000", "g001", "g000"])).unwrap().remove(0);
        assert_eq!((result.rank, result.n_matches, result.truth_id.as_str()), (1, 2, "g000"));
        assert_eq!((result.average_precision, result.truth_distance), ((1.0 + 2.0 / 3.0) / 2.0, 4.0));
        assert!(matches!(run(matches(&[])).unwrap_err(), Error::NoTruth { .. }));
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
