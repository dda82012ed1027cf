//! One suite for every kind of index, and how near the approximate one comes to the truth.

// A test that unwraps says what it expected by failing there.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::random::Stream;
use sketchfind_core::ranking::Ranking;
use sketchfind_index::{
    BuiltGraph, ExactIndex, HnswIndex, HnswParameters, Index, IndexKind, IndexSpec, Matrix, recall_at_k,
};

/// Asserts that a message has every part.
#[track_caller]
fn assert_says(error: impl std::fmt::Display, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

const DISTANCES: [Distance; 2] = [Distance::Mse, Distance::Cosine];

fn embeddings(width: usize, values: Vec<f32>) -> Arc<Embeddings> {
    let ids = (0..values.len() / width).map(|row| format!("{row:06}")).collect();
    Arc::new(Embeddings::new(ids, width, values).unwrap())
}

fn uniform(seed: u64, n: usize, width: usize) -> Arc<Embeddings> {
    let mut stream = Stream::new(seed, "index", &[]);
    embeddings(width, (0..n * width).map(|_| (stream.unit() * 2.0 - 1.0) as f32).collect())
}

/// `n` rows around `n_clusters` centres, `spread` apart from them where centres are 1 apart, in an order that
/// mixes the clusters or keeps each together.
fn clustered(
    seed: u64,
    n: usize,
    n_clusters: usize,
    width: usize,
    spread: f64,
    mixed: bool,
) -> Arc<Embeddings> {
    let centres = uniform(seed, n_clusters, width);
    let mut stream = Stream::new(seed, "around", &[]);
    let values = (0..n).flat_map(|row| {
        let cluster = if mixed { row % n_clusters } else { row * n_clusters / n };
        let centre = centres.row(cluster).unwrap().to_vec();
        let noise: Vec<f64> = (0..width).map(|_| (stream.unit() * 2.0 - 1.0) * spread).collect();
        centre.into_iter().zip(noise).map(|(c, e)| (f64::from(c) + e) as f32)
    });
    embeddings(width, values.collect())
}

/// Runs `check` on every kind of index for every distance.
fn on_every_kind(embeddings: &Arc<Embeddings>, check: impl Fn(&dyn Index)) {
    for kind in IndexKind::ALL {
        for distance in DISTANCES {
            let index = IndexSpec::from(kind).build(Arc::clone(embeddings), distance).unwrap();
            assert_eq!((index.kind(), index.distance(), index.len()), (kind, distance, embeddings.len()));
            check(index.as_ref());
        }
    }
}

/// What every ranking obeys, whatever the index.
#[track_caller]
fn assert_lawful(index: &dyn Index, query: &[f32], k: usize) -> Ranking {
    let ranking = index.search(query, k).unwrap();
    let hits = ranking.hits();
    assert_eq!(hits.len(), k.min(index.len()), "{}", index.kind());
    for hit in hits {
        assert!(hit.distance.is_finite() && hit.distance >= 0.0);
        let row = index.matrix().row(hit.row).unwrap();
        assert_eq!(hit.distance, index.distance().between(query, row), "{}", index.kind());
    }
    assert!(
        hits.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)),
        "{}: {hits:?}",
        index.kind()
    );
    ranking
}

#[test]
fn every_kind_conforms() {
    on_every_kind(&embeddings(3, vec![]), |index| {
        assert!(index.is_empty());
        assert!(index.search(&[1.0, 2.0, 3.0], 5).unwrap().hits().is_empty());
    });
    on_every_kind(&embeddings(3, vec![1.0, -2.0, 3.0]), |index| {
        for k in [0, 1, 2, usize::MAX] {
            assert_lawful(index, &[0.5, 0.0, -1.0], k);
        }
    });
    let rows = uniform(1, 500, 12);
    on_every_kind(&rows, |index| {
        for k in [0, 1, 10, 64, 65, 249, 250, 499, 500, 501, usize::MAX] {
            assert_lawful(index, rows.row(7).unwrap(), k);
        }
        // A row is its own nearest, and found from anywhere.
        for (row, query) in rows.rows().enumerate() {
            assert_eq!(assert_lawful(index, query, 3).hits()[0].row, row, "{}", index.kind());
        }
        // Far outside, and as small as can be.
        assert_lawful(index, &[f32::MAX; 12], 10);
        assert_lawful(index, &[-f32::MAX; 12], 10);
        assert_lawful(index, &[f32::from_bits(1); 12], 10);
        assert_lawful(index, &[0.0; 12], 10);
        for width in [0, 11, 13] {
            assert_says(
                index.search(&vec![0.0; width], 1).unwrap_err(),
                &["width", "12", &width.to_string()],
            );
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut query = vec![0.0; 12];
            query[4] = bad;
            assert_says(index.search(&query, 1).unwrap_err(), &["query", "component 4", "finite"]);
        }
    });
}

#[test]
fn equal_rows_come_in_order_of_their_ids() {
    // 300 times the same row amid others: more than any list of neighbours holds.
    let mut values = uniform(2, 200, 4).values().to_vec();
    values.extend([0.25_f32, 0.5, -0.5, 1.0].repeat(300));
    let rows = embeddings(4, values);
    on_every_kind(&rows, |index| {
        let ranking = assert_lawful(index, &[0.25, 0.5, -0.5, 1.0], 240);
        let found: Vec<usize> = ranking.hits().iter().map(|hit| hit.row).collect();
        assert_eq!(found, (200..440).collect::<Vec<_>>(), "{}", index.kind());
    });
    // Nothing but one row.
    on_every_kind(&embeddings(2, vec![3.0; 2 * 1000]), |index| {
        let ranking = assert_lawful(index, &[3.0, 3.0], 100);
        assert!(ranking.hits().iter().map(|hit| hit.row).eq(0..100), "{}", index.kind());
    });
}

#[test]
fn zero_rows_are_as_far_as_core_says() {
    let mut values = uniform(3, 300, 4).values().to_vec();
    values.extend([0.0; 4 * 3]);
    values.extend([-0.0; 4]);
    let rows = embeddings(4, values);
    on_every_kind(&rows, |index| {
        for query in [&[1.0, 1.0, 0.0, 0.0], &[0.0; 4], &[-0.0; 4]] {
            let ranking = assert_lawful(index, query, 10);
            let exact = Ranking::exact(query, &rows, index.distance(), 10).unwrap();
            assert_eq!(ranking, exact, "{} {}", index.kind(), index.distance());
        }
    });
    on_every_kind(&embeddings(4, vec![0.0; 4 * 50]), |index| {
        assert_lawful(index, &[1.0, 2.0, 3.0, 4.0], 7);
    });
}

#[test]
fn huge_and_tiny_numbers_are_found_too() {
    for scale in [f32::MAX, 1e30, 1e-20, 1e-38] {
        let values = uniform(4, 300, 6).values().iter().map(|value| value * scale).collect();
        let rows = embeddings(6, values);
        on_every_kind(&rows, |index| {
            for row in [0, 13, 299] {
                assert_eq!(assert_lawful(index, rows.row(row).unwrap(), 5).hits()[0].row, row, "{scale}");
            }
        });
    }
}

#[test]
fn a_large_matrix_in_blocks_gives_what_one_pass_gives() {
    // Three blocks of 2^20 components and a bit.
    let rows = uniform(5, 3_200, 1024);
    let index = ExactIndex::new(Arc::clone(&rows), Distance::Mse);
    for k in [0, 1, 7, 3_000, 4_000] {
        let query = rows.row(1_700).unwrap();
        assert_eq!(index.search(query, k).unwrap(), Ranking::exact(query, &rows, Distance::Mse, k).unwrap());
    }
}

/// What looking at every row in float64 gives.
fn naive(index: &ExactIndex, query: &[f32], k: usize) -> Vec<(usize, f64)> {
    let distances = index.matrix().rows().map(|row| index.distance().between(query, row));
    let mut hits: Vec<(usize, f64)> = distances.enumerate().collect();
    hits.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    hits.truncate(k);
    hits
}

/// One query at a time and all together give what the naive search gives, to the last bit.
#[track_caller]
fn assert_exact(rows: &Arc<Embeddings>, queries: &[f32], k: usize) {
    for distance in DISTANCES {
        let index = ExactIndex::new(Arc::clone(rows), distance);
        let together = index.search_batch(queries, k).unwrap();
        // Which looks at its rows in 8 bits first.
        let prepared = ExactIndex::new(Arc::clone(rows), distance);
        prepared.prepare();
        assert_eq!(prepared.search_batch(queries, k).unwrap(), together, "{distance}, k {k}, prepared");
        for (query, ranking) in queries.chunks_exact(rows.width()).zip(&together) {
            let as_pairs = |ranking: &Ranking| -> Vec<(usize, f64)> {
                ranking.hits().iter().map(|hit| (hit.row, hit.distance)).collect()
            };
            let expected = naive(&index, query, k);
            assert_eq!(as_pairs(&index.search(query, k).unwrap()), expected, "{distance}, k {k}");
            assert_eq!(
                as_pairs(&prepared.search(query, k).unwrap()),
                expected,
                "{distance}, k {k}, prepared"
            );
            assert_eq!(as_pairs(ranking), expected, "{distance}, k {k}, together");
        }
        assert_eq!(together.len(), queries.len() / rows.width());
    }
}

#[test]
fn exact_search_of_many_is_exact_search_of_each() {
    // Widths that fill no vector of any processor, and numbers of rows and queries that fill no block.
    for (width, n_rows, n_queries) in
        [(1, 300, 5), (7, 1_003, 17), (33, 999, 49), (130, 2_050, 100), (5_000, 90, 4)]
    {
        let rows = uniform(20, n_rows, width);
        for k in [1, 10, 100] {
            assert_exact(&rows, uniform(21, n_queries, width).values(), k);
        }
    }
    let rows = uniform(22, 4_000, 600);
    assert_exact(&rows, uniform(23, 1_100, 600).values().get(..600 * 7).unwrap(), 10);
    let index = ExactIndex::new(Arc::clone(&rows), Distance::Mse);
    assert!(index.search_batch(&[], 3).unwrap().is_empty());
    assert_says(index.search_batch(&[0.0; 601], 3).unwrap_err(), &["queries", "600", "601"]);
    let mut queries = vec![0.0; 1_200];
    queries[700] = f32::NAN;
    assert_says(index.search_batch(&queries, 3).unwrap_err(), &["component 100", "finite"]);
}

#[test]
fn a_large_matrix_is_searched_alike_before_and_after_it_is_seen_otherwise() {
    // Large enough to be written in 8 bits, on a thread, while the first searches go on.
    let rows = clustered(26, 4_200, 60, 256, 0.4, true);
    let queries = clustered(27, 60, 60, 256, 0.5, true);
    for distance in DISTANCES {
        let index = ExactIndex::new(Arc::clone(&rows), distance);
        for query in queries.rows() {
            let found = index.search(query, 10).unwrap();
            assert_eq!(found, Ranking::exact(query, &rows, distance, 10).unwrap());
        }
        let expected = index.search_batch(queries.values(), 10).unwrap();
        for _ in 0..20 {
            assert_eq!(index.search_batch(queries.values(), 10).unwrap(), expected);
        }
    }
}

/// `n` rows that lie near a plane of `n_directions`, in clusters.
fn near_a_plane(seed: u64, n: usize, width: usize, n_directions: usize, off: f64) -> Arc<Embeddings> {
    let directions = uniform(30, n_directions, width);
    let shares = clustered(seed, n, 40, n_directions, 0.3, true);
    let mut stream = Stream::new(seed, "off the plane", &[]);
    let mut values = Vec::new();
    for row in shares.rows() {
        for k in 0..width {
            let of_direction =
                |(&share, direction): (&f32, &[f32])| f64::from(share) * f64::from(direction[k]);
            let inside: f64 = row.iter().zip(directions.rows()).map(of_direction).sum();
            values.push((inside + 0.5 + off * (stream.unit() * 2.0 - 1.0)) as f32);
        }
    }
    embeddings(width, values)
}

#[test]
fn rows_near_a_plane_are_searched_exactly() {
    let rows = near_a_plane(31, 2_300, 300, 12, 0.2);
    let queries = near_a_plane(32, 50, 300, 12, 0.6);
    for k in [1, 10, 200, 2_200] {
        assert_exact(&rows, queries.values(), k);
    }
    // Rows in the plane, of which float32 leaves nothing outside, and all rows twice.
    let twice = near_a_plane(33, 1_100, 256, 5, 0.0);
    let twice = embeddings(256, [twice.values(), twice.values()].concat());
    let queries =
        [twice.values().get(..256 * 20).unwrap(), near_a_plane(34, 20, 256, 5, 0.1).values()].concat();
    for k in [1, 3, 30] {
        assert_exact(&twice, &queries, k);
    }
}

#[test]
fn rows_of_any_size_among_ordinary_ones_are_searched_exactly() {
    // Rows without a direction, tiny ones and huge ones among ordinary ones, as rows and as queries.
    let ordinary = near_a_plane(35, 1_500, 256, 9, 0.1);
    let mut values = ordinary.values().to_vec();
    let scales = [0.0, 1e-38, 1e-20, 1e-6, 1e3, 1e6, 1e15];
    for (number, row) in values.chunks_exact_mut(256).enumerate().filter(|(number, _)| number % 50 == 7) {
        row.iter_mut().for_each(|value| *value *= scales[number / 50 % scales.len()]);
    }
    let queries: Vec<f32> =
        values.chunks_exact(256).skip(7).step_by(25).take(48).flatten().copied().collect();
    for with_huge in [false, true] {
        let rows: Vec<f32> = values
            .chunks_exact(256)
            .filter(|row| with_huge || row.iter().all(|value| value.abs() < 1e4))
            .flatten()
            .copied()
            .collect();
        for k in [1, 10] {
            assert_exact(&embeddings(256, rows.clone()), &queries, k);
        }
    }
}

#[test]
fn rows_that_float32_cannot_tell_apart_are_ordered_by_the_distance_itself() {
    // Far from the origin and a hair apart: float32's product loses all that tells them apart.
    let mut stream = Stream::new(24, "hair", &[]);
    let near = |stream: &mut Stream| 1000.0 + (stream.below(3) as f32) * 6.2e-5;
    let values: Vec<f32> = (0..2_000 * 24).map(|_| near(&mut stream)).collect();
    let queries: Vec<f32> = (0..8 * 24).map(|_| near(&mut stream)).collect();
    assert_exact(&embeddings(24, values), &queries, 10);
}

#[test]
fn magnitudes_from_the_smallest_to_the_largest_are_searched_exactly() {
    let mut stream = Stream::new(25, "magnitudes", &[]);
    let mut of_any_size = |n: usize| -> Vec<f32> {
        let scales = [0.0, 1e-45, 1e-38, 1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e18, 1e30, 1e38];
        let rows = (0..n).flat_map(|_| {
            let scale = scales[stream.below(scales.len())];
            (0..20).map(|_| ((stream.unit() * 6.0 - 3.0) * scale) as f32).collect::<Vec<_>>()
        });
        rows.collect()
    };
    let (values, queries) = (of_any_size(700), of_any_size(60));
    assert_exact(&embeddings(20, values), &queries, 25);
}

/// Hits, their order and distances to the bit: what is found does not change from one version to the next. The graph is small
/// enough to be built in order.
#[test]
fn hits_are_those_of_the_golden_file() {
    let mut lines = String::new();
    for (width, n) in [(48, 3_000), (512, 2_200)] {
        let rows = clustered(41, n, 60, width, 0.4, true);
        let queries = clustered(42, 12, 60, width, 0.6, true);
        for distance in DISTANCES {
            for kind in IndexKind::ALL {
                let index = IndexSpec::from(kind).build(Arc::clone(&rows), distance).unwrap();
                for (number, ranking) in index.search_batch(queries.values(), 10).unwrap().iter().enumerate()
                {
                    let hits: Vec<String> = ranking
                        .hits()
                        .iter()
                        .map(|hit| format!("{}:{:016x}", hit.row, hit.distance.to_bits()))
                        .collect();
                    lines += &format!("{n}x{width} {distance} {kind} {number} {}\n", hits.join(" "));
                }
            }
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_hits.txt");
    if std::env::var_os("SKETCHFIND_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, &lines).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (ours, golden) in lines.lines().zip(expected.lines()) {
        assert_eq!(ours, golden);
    }
    assert_eq!(lines.lines().count(), expected.lines().count());
}

/// Compares with exact search, and searches for every row. At most one row in a hundred may be apart.
fn check_recall(rows: &Arc<Embeddings>, queries: &Embeddings, floor: f64) {
    for distance in DISTANCES {
        let exact = ExactIndex::new(Arc::clone(rows), distance);
        let hnsw = HnswIndex::build(Arc::clone(rows), distance, HnswParameters::default()).unwrap();
        let recall = recall_at_k(&hnsw, &exact, queries, 10).unwrap();
        assert!(recall >= floor, "{distance}: recall@10 is {recall}, {} apart", hnsw.n_apart());
        assert!(
            hnsw.n_apart() * 100 <= rows.len(),
            "{distance}: {} of {} are apart",
            hnsw.n_apart(),
            rows.len()
        );
        for (row, query) in rows.rows().enumerate() {
            assert_eq!(hnsw.search(query, 1).unwrap().hits()[0].row, row);
        }
    }
}

#[test]
fn the_graph_finds_nearly_all_in_clusters() {
    let rows = clustered(6, 2_000, 100, 32, 0.2, true);
    check_recall(&rows, &clustered(7, 200, 200, 32, 0.2, true), 0.98);
    // Queries near the rows, too.
    let near = rows.rows().step_by(10).flat_map(|row| row.iter().map(|value| value + 0.03));
    check_recall(&rows, &embeddings(32, near.collect()), 0.98);
}

#[test]
fn the_graph_finds_nearly_all_of_a_large_gallery() {
    if std::env::var_os("SKETCHFIND_SLOW_TESTS").is_none_or(|value| value != "1") {
        eprintln!("not run: set SKETCHFIND_SLOW_TESTS=1");
        return;
    }
    // Groups of look-alikes, each kept together by its ids, as the photos of a shop are.
    let rows = clustered(11, 20_000, 100, 128, 0.3, false);
    let near = rows.rows().step_by(100).flat_map(|row| row.iter().map(|value| value + 0.05));
    check_recall(&rows, &embeddings(128, near.collect()), 0.95);
}

#[test]
fn the_graph_finds_nearly_all_in_few_tight_clusters_that_come_one_after_another() {
    // The worst case for lists of neighbours that keep the nearest only: each cluster fills them. Inserted in
    // this order, whole clusters get lost.
    let rows = clustered(8, 2_000, 10, 16, 0.001, false);
    let queries = rows.rows().step_by(10).flat_map(|row| row.iter().map(|value| value + 0.0003));
    check_recall(&rows, &embeddings(16, queries.collect()), 0.98);
}

/// So few neighbours and candidates that rows get lost and different graphs miss different rows.
const FEW: HnswParameters = HnswParameters { m: 3, ef_construction: 4, ef_search: 2 };

#[test]
fn a_row_that_the_graph_has_lost_is_found_all_the_same() {
    let rows = clustered(9, 1_500, 50, 16, 0.3, true);
    for distance in DISTANCES {
        let index = HnswIndex::build(Arc::clone(&rows), distance, FEW).unwrap();
        assert!(index.n_apart() > 0, "the test proves nothing: the graph finds everything");
        for (row, query) in rows.rows().enumerate() {
            assert_eq!(assert_lawful(&index, query, 2).hits()[0].row, row);
        }
    }
}

#[test]
fn the_same_matrix_gives_the_same_graph() {
    let rows = clustered(9, 1_500, 50, 16, 0.3, true);
    let build = || HnswIndex::build(Arc::clone(&rows), Distance::Mse, FEW).unwrap();
    let (a, b) = (build(), build());
    assert_eq!(a.n_apart(), b.n_apart());
    let exact = ExactIndex::new(Arc::clone(&rows), Distance::Mse);
    let queries = uniform(10, 300, 16);
    let mut n_missed = 0;
    for query in queries.rows() {
        let found = a.search(query, 2).unwrap();
        assert_eq!(found, b.search(query, 2).unwrap());
        n_missed += usize::from(found != exact.search(query, 2).unwrap());
    }
    assert!(n_missed > 0, "the test proves nothing: both graphs find everything");
}

#[test]
fn a_graph_that_does_not_fit_its_matrix_is_refused() {
    let rows = clustered(9, 1_500, 50, 16, 0.3, true);
    let index = HnswIndex::build(Arc::clone(&rows), Distance::Mse, FEW).unwrap();
    let again = |rows: &Arc<Embeddings>, change: &dyn Fn(&mut BuiltGraph)| {
        let mut built = index.built().clone();
        change(&mut built);
        HnswIndex::of_built_graph(Matrix::from(Arc::clone(rows)), Distance::Mse, FEW, built)
    };
    let same = again(&rows, &|_| ()).unwrap();
    let query = rows.row(7).unwrap();
    assert_eq!(same.search(query, 5).unwrap(), index.search(query, 5).unwrap());
    assert!(again(&uniform(1, 1_499, 16), &|_| ()).is_none());
    assert!(again(&rows, &|built| built.graph.layers[0].neighbours[3] = 1_500).is_none());
    assert!(again(&rows, &|built| built.rows[0] = built.rows[1]).is_none());
    assert!(again(&rows, &|built| built.starts.truncate(9)).is_none());
}

#[test]
fn recall_counts_what_is_found() {
    // By hand: rows 0, 1, 2, 3 on a line, the other index knows only 0 and 3 and the query is at 0.
    let line = embeddings(1, vec![0.0, 1.0, 2.0, 3.0]);
    let gaps = embeddings(1, vec![0.0, 3.0]);
    let (truth, poor) = (ExactIndex::new(line, Distance::Mse), ExactIndex::new(gaps, Distance::Mse));
    let query = embeddings(1, vec![0.0]);
    assert_eq!(recall_at_k(&poor, &truth, &query, 1).unwrap(), 1.0);
    assert_eq!(recall_at_k(&poor, &truth, &query, 2).unwrap(), 0.5);
    assert_eq!(recall_at_k(&poor, &truth, &query, 0).unwrap(), 1.0);
    assert_eq!(recall_at_k(&truth, &truth, &query, 4).unwrap(), 1.0);
    assert!(recall_at_k(&truth, &truth, &embeddings(2, vec![0.0; 2]), 1).is_err());
}

#[test]
fn parameters_that_hnsw_rs_would_exit_on_are_refused() {
    let ordinary = HnswParameters::default();
    let bad = [
        (HnswParameters { m: 0, ..ordinary }, "m is 0"),
        (HnswParameters { m: 1, ..ordinary }, "m is 1"),
        (HnswParameters { m: 256, ef_construction: 300, ..ordinary }, "m is 256, expected 2 to 255"),
        (HnswParameters { ef_construction: 15, ..ordinary }, "ef_construction is 15, expected 16 to"),
        (HnswParameters { ef_search: 0, ..ordinary }, "ef_search is 0"),
        (HnswParameters { ef_search: usize::MAX, ..ordinary }, "ef_search is"),
    ];
    for (parameters, words) in bad {
        let result = HnswIndex::build(uniform(1, 10, 2), Distance::Mse, parameters);
        assert_says(result.map(|_| ()).unwrap_err(), &[words]);
    }
    let extreme = HnswParameters { m: 255, ef_construction: 255, ef_search: 1 };
    let index = HnswIndex::build(uniform(1, 600, 2), Distance::Mse, extreme).unwrap();
    assert_lawful(&index, &[0.0, 0.0], 5);
    assert_says("tree".parse::<IndexSpec>().unwrap_err(), &["'tree'", "'auto'", "'hnsw'"]);
    assert_eq!("hnsw".parse::<IndexSpec>().unwrap(), IndexSpec::from(IndexKind::Hnsw));
    assert_eq!("auto".parse::<IndexSpec>().unwrap(), IndexSpec::Auto);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    /// Few values and many rows, so that whole groups of rows tie at the k-th place.
    #[test]
    fn exact_search_keeps_ties_in_order(
        rows in proptest::collection::vec(proptest::collection::vec(-1_i8..=1, 4), 100..400),
        queries in proptest::collection::vec(proptest::collection::vec(-2_i8..=2, 4), 1..9),
        k in 1_usize..40,
        scale in proptest::sample::select(vec![1.0_f32, 1e-3, 1e4, 1e-20, 3.3e37]),
    ) {
        let scaled = |rows: &[Vec<i8>]| rows.concat().iter().map(|&v| f32::from(v) * scale).collect::<Vec<_>>();
        assert_exact(&embeddings(4, scaled(&rows)), &scaled(&queries), k);
    }

    /// Matrices of few values, so that equal rows, zero rows and ties of distance are common.
    #[test]
    fn any_matrix_is_searched_lawfully(
        rows in proptest::collection::vec(proptest::collection::vec(-2_i8..=2, 3), 0..120),
        query in proptest::collection::vec(-3_i8..=3, 3),
        k in 0_usize..130,
    ) {
        let as_floats = |values: &[i8]| values.iter().map(|&value| f32::from(value)).collect::<Vec<_>>();
        let rows = embeddings(3, as_floats(&rows.concat()));
        let query = as_floats(&query);
        on_every_kind(&rows, |index| {
            let ranking = assert_lawful(index, &query, k);
            // As few distinct rows as here are all among the graph's candidates.
            assert_eq!(ranking, Ranking::exact(&query, &rows, index.distance(), k).unwrap(), "{}", index.kind());
        });
    }
}
