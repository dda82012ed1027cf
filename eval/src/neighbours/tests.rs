//! Against a naive count of all triplets, against SciPy, and the properties that hold for any spaces.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sketchfind_core::random::Stream;
use sketchfind_core::work::{Cancel, Progress};

use super::*;

const QUICK: Bootstrap = Bootstrap { samples: 20, seed: 1, confidence: 0.95 };

fn embeddings(prefix: &str, width: usize, values: Vec<f32>) -> Embeddings {
    let ids = (0..values.len() / width).map(|row| format!("{prefix}{row:05}")).collect();
    Embeddings::new(ids, width, values).unwrap()
}

fn space(photos: &Embeddings, distance: Distance) -> Space<'_> {
    Space { photos, distance }
}

/// Values from a small set, so that ties are common and distances exact.
fn small_values(n: usize) -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec((0..4_u8).prop_map(f32::from), n)
}

/// All triplets of one anchor, by three loops and the definition.
fn naive(reference: &[f64], studied: &[f64], anchor: usize) -> PairCounts {
    let mut pairs = PairCounts::default();
    for j in 0..reference.len() {
        for k in j + 1..reference.len() {
            if j == anchor || k == anchor {
                continue;
            }
            let (x, y) = (reference[j] - reference[k], studied[j] - studied[k]);
            pairs.n += 1;
            match (x == 0.0, y == 0.0) {
                (true, true) => pairs.n_tied_both += 1,
                (true, false) => pairs.n_tied_reference += 1,
                (false, true) => pairs.n_tied_studied += 1,
                (false, false) if (x > 0.0) == (y > 0.0) => pairs.n_concordant += 1,
                (false, false) => pairs.n_discordant += 1,
            }
        }
    }
    pairs
}

proptest! {
    #[test]
    fn equals_a_naive_count_of_all_triplets_with_ties(
        reference in small_values(3 * 13),
        studied in small_values(2 * 13),
        drawn in small_values(2 * 5),
    ) {
        let (reference, studied) = (embeddings("p", 3, reference), embeddings("p", 2, studied));
        let sketches = embeddings("s", 2, drawn);
        // Sketches 0 to 4 are of photos 0, 0, 3, 6, 12.
        let photos = [0, 0, 3, 6, 12];
        let photo_of: BTreeMap<String, String> = sketches
            .ids()
            .iter()
            .zip(photos)
            .map(|(sketch, photo)| (sketch.clone(), format!("p{photo:05}")))
            .collect();
        let anchors = SketchAnchors { sketches: &sketches, photo_of: &photo_of };
        let found = neighbourhood(
            space(&reference, Distance::Mse),
            space(&studied, Distance::Mse),
            Some(anchors),
            &QUICK,
            Progress::default(), Cancel::default(),
        ).unwrap();
        prop_assert_eq!(found.anchors.len(), 13 + 5);
        let row = |of: &Embeddings, to: &Embeddings, point: usize| -> Vec<f64> {
            to.rows().map(|photo| Distance::Mse.between(of.row(point).unwrap(), photo)).collect()
        };
        for photo in 0..13 {
            let expected = naive(&row(&reference, &reference, photo), &row(&studied, &studied, photo), photo);
            prop_assert_eq!(found.anchors[photo].pairs, expected);
        }
        for (sketch, photo) in photos.into_iter().enumerate() {
            let expected = naive(&row(&reference, &reference, photo), &row(&sketches, &studied, sketch), photo);
            prop_assert_eq!(found.anchors[13 + sketch].pairs, expected);
            prop_assert_eq!(&found.anchors[13 + sketch].photo, &format!("p{photo:05}"));
        }
    }

    #[test]
    fn the_order_of_photos_does_not_matter_where_nothing_ties(seed in 0..1000_u64) {
        let mut stream = Stream::new(seed, "spaces", &[]);
        let mut values = |n| (0..n).map(|_| stream.unit() as f32).collect::<Vec<f32>>();
        let (reference, studied) = (values(2 * 9), values(3 * 9));
        let run = |backward: bool| {
            let turned = |values: &[f32], width: usize| -> Embeddings {
                let mut ids: Vec<String> = (0..9).map(|row| format!("p{row}")).collect();
                let mut rows: Vec<Vec<f32>> = values.chunks(width).map(<[f32]>::to_vec).collect();
                if backward {
                    // Other ids for the same photos: another order of rows.
                    ids.reverse();
                    rows.reverse();
                    ids = ids.iter().map(|id| format!("p{}", 8 - id[1..].parse::<usize>().unwrap())).collect();
                }
                Embeddings::new(ids, width, rows.concat()).unwrap()
            };
            let (reference, studied) = (turned(&reference, 2), turned(&studied, 3));
            neighbourhood(space(&reference, Distance::Mse), space(&studied, Distance::Cosine), None, &QUICK, Progress::default(), Cancel::default())
                .unwrap()
        };
        let (forward, backward) = (run(false), run(true));
        for (a, b) in forward.estimates.iter().zip(&backward.estimates) {
            prop_assert!((a.estimate.value - b.estimate.value).abs() < 1e-12, "{:?} {:?}", a, b);
        }
    }
}

fn random(seed: u64, prefix: &str, n: usize, width: usize) -> Embeddings {
    let mut stream = Stream::new(seed, "random space", &[]);
    embeddings(prefix, width, (0..n * width).map(|_| (stream.unit() - 0.5) as f32).collect())
}

#[test]
fn a_space_agrees_with_itself_and_with_its_scaled_copy() {
    let photos = random(1, "p", 300, 17);
    let scaled = embeddings("p", 17, photos.values().iter().map(|value| 4.0 * value).collect());
    let found = neighbourhood(
        space(&photos, Distance::Mse),
        space(&scaled, Distance::Mse),
        None,
        &QUICK,
        Progress::default(),
        Cancel::default(),
    )
    .unwrap();
    for (metric, expected) in [
        ("triplet_agreement", 1.0),
        ("kendall_tau_b", 1.0),
        ("spearman_rho", 1.0),
        ("mean_displacement", 0.0),
        ("overlap@1", 1.0),
        ("overlap@10", 1.0),
    ] {
        let one = found.get("photo", metric).unwrap();
        assert!((one.estimate.value - expected).abs() < 1e-12, "{metric}: {}", one.estimate.value);
        assert_eq!((one.estimate.n, one.n_undefined), (300, 0));
    }
    let total = found.get("photo", "triplet_agreement").unwrap().pairs.unwrap();
    assert_eq!(total.n, 300 * 299 * 298 / 2);
    assert!(found.get("sketch", "triplet_agreement").is_none());
}

#[test]
fn a_collapsed_space_scores_zero_and_noise_one_half() {
    let photos = random(1, "p", 200, 8);
    let run = |studied: &Embeddings| {
        let found = neighbourhood(
            space(&photos, Distance::Mse),
            space(studied, Distance::Mse),
            None,
            &QUICK,
            Progress::default(),
            Cancel::default(),
        )
        .unwrap();
        ["triplet_agreement", "kendall_tau_b", "spearman_rho", "overlap@10"]
            .map(|metric| found.get("photo", metric).unwrap().estimate.value)
    };
    assert_eq!(run(&embeddings("p", 3, vec![0.25; 600])), [0.0; 4]);
    let [agreement, tau, rho, overlap] = run(&random(2, "p", 200, 8));
    assert!((agreement - 0.5).abs() < 0.03 && tau.abs() < 0.06 && rho.abs() < 0.08 && overlap < 0.12);
}

/// Photos that are the same to the bit tie in every row, wherever they stand in the blocks of the matrix product.
#[test]
fn equal_photos_tie_exactly() {
    for distance in [Distance::Mse, Distance::Cosine] {
        let n = 700;
        let base = random(3, "p", n, 37);
        let mut values = base.values().to_vec();
        // Photo 3 again at 150, 255, 256, 511 and 699.
        for copy in [150, 255, 256, 511, 699] {
            values.copy_within(3 * 37..4 * 37, copy * 37);
        }
        let photos = embeddings("p", 37, values);
        let found = neighbourhood(
            space(&photos, distance),
            space(&photos, distance),
            None,
            &QUICK,
            Progress::default(),
            Cancel::default(),
        );
        for anchor in found.unwrap().anchors {
            let is_copy = ["p00003", "p00150", "p00255", "p00256", "p00511", "p00699"].contains(&&*anchor.id);
            let n_copies = if is_copy { 5 } else { 6 };
            assert_eq!(anchor.pairs.n_tied_both, n_copies * (n_copies - 1) / 2, "{}", anchor.id);
            assert_eq!(anchor.pairs.n_discordant, 0);
        }
    }
}

/// Rows of tests/reference/neighbours.py, made with SciPy.
#[test]
fn equals_scipy() {
    let read = |text: &str| -> Vec<Vec<f64>> {
        text.lines()
            .skip(1)
            .map(|line| line.split(',').map(|field| field.parse().unwrap()).collect())
            .collect()
    };
    let points = read(include_str!("../../tests/reference/neighbours_points.csv"));
    let column = |from: usize, to: usize| -> Vec<f32> {
        points.iter().flat_map(|row| row[from..to].iter().map(|&value| value as f32)).collect()
    };
    let (reference, studied) = (embeddings("p", 3, column(0, 3)), embeddings("p", 2, column(3, 5)));
    let found = neighbourhood(
        space(&reference, Distance::Mse),
        space(&studied, Distance::Mse),
        None,
        &QUICK,
        Progress::default(),
        Cancel::default(),
    )
    .unwrap();
    let expected = read(include_str!("../../tests/reference/neighbours_anchors.csv"));
    assert_eq!(expected.len(), found.anchors.len());
    let mut n_with_ties = 0;
    for (anchor, row) in found.anchors.iter().zip(&expected) {
        assert!((anchor.pairs.tau_b().unwrap() - row[0]).abs() < 1e-12, "{anchor:?}");
        assert!((anchor.rho.unwrap() - row[1]).abs() < 1e-12, "{anchor:?}");
        assert!((anchor.displacement - row[2]).abs() < 1e-12, "{anchor:?}");
        n_with_ties += usize::from(anchor.pairs.n_tied_both + anchor.pairs.n_tied_reference > 0);
    }
    assert!(n_with_ties > 10, "{n_with_ties} anchors have ties");
    for line in include_str!("../../tests/reference/neighbours_hubness.csv").lines().skip(1) {
        let (space, rest) = line.split_once(',').unwrap();
        let (k, skew) = rest.split_once(',').unwrap();
        let one = found.get(space, &format!("hubness@{k}")).unwrap();
        assert!((one.estimate.value - skew.parse::<f64>().unwrap()).abs() < 1e-9, "{line}: {one:?}");
    }
}

#[test]
fn it_can_be_cancelled() {
    let photos = random(1, "p", 300, 2);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0;
    let space = space(&photos, Distance::Mse);
    let found = neighbourhood(space, space, None, &QUICK, Progress::default(), Cancel::new(&stop));
    assert!(matches!(found, Err(Error::Cancelled)), "{found:?}");
}

#[test]
fn each_bad_input_has_its_error() {
    let photos = random(1, "p", 5, 2);
    let run = |studied: &Embeddings, sketches: Option<SketchAnchors<'_>>| {
        neighbourhood(
            space(&photos, Distance::Mse),
            space(studied, Distance::Mse),
            sketches,
            &QUICK,
            Progress::default(),
            Cancel::default(),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(run(&random(1, "p", 4, 2), None).contains("only in the first: 1 (p00004)"));
    let few = random(1, "p", 2, 2);
    let error = neighbourhood(
        space(&few, Distance::Mse),
        space(&few, Distance::Mse),
        None,
        &QUICK,
        Progress::default(),
        Cancel::default(),
    );
    assert!(error.unwrap_err().to_string().contains("at least 3"));
    let wide = random(1, "s", 1, 3);
    let narrow = random(1, "s", 1, 2);
    let nothing = BTreeMap::new();
    let elsewhere = BTreeMap::from([("s00000".to_owned(), "q".to_owned())]);
    let sketches = |sketches, photo_of| Some(SketchAnchors { sketches, photo_of });
    assert!(run(&photos, sketches(&wide, &nothing)).contains("3 wide"));
    assert!(run(&photos, sketches(&narrow, &nothing)).contains("'s00000' has no match"));
    assert!(run(&photos, sketches(&narrow, &elsewhere)).contains("'q'"));
}
