//! The rows of a report's CSV files: header and row come from one struct, so that they cannot differ. What is unknown is
//! empty. `docs/report-files.md` tells what each column means; a change of columns raises [`super::csv_files::SCHEMA`].

use serde::{Deserialize, Serialize};

/// A row of `queries.csv`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct QueryRow {
    pub(super) schema: u32,
    pub(super) query_id: String,
    pub(super) truth_id: String,
    #[serde(default = "one")]
    pub(super) n_matches: usize,
    pub(super) rank: usize,
    pub(super) n_tied: usize,
    /// Of a file of schema 1, whose queries have one match, 1 / rank.
    #[serde(default)]
    pub(super) average_precision: Option<f64>,
    pub(super) truth_distance: f64,
    pub(super) first_id: String,
    pub(super) first_distance: f64,
    /// Ids joined by `|`; one within an id is written `\|`, a backslash `\\`.
    pub(super) top: String,
    #[serde(default)]
    pub(super) smoothness: Option<f64>,
    #[serde(default)]
    pub(super) fidelity: Option<f64>,
    pub(super) n_gallery: usize,
    pub(super) split: String,
    pub(super) distance: String,
    pub(super) model: String,
    pub(super) model_sha256: String,
    #[serde(default)]
    pub(super) reference: String,
    #[serde(default)]
    pub(super) reference_sha256: String,
    pub(super) dataset_sha256: String,
    pub(super) tool: String,
}

fn one() -> usize {
    1
}

/// A row of `gallery.csv`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GalleryRow {
    pub(super) schema: u32,
    pub(super) photo_id: String,
    pub(super) split: String,
    pub(super) dataset_sha256: String,
}

/// A row of `summary.csv`.
#[derive(Debug, Serialize)]
pub(super) struct SummaryRow<'a> {
    pub(super) schema: u32,
    pub(super) metric: String,
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) n: usize,
    pub(super) n_photos: usize,
    pub(super) n_gallery: usize,
    pub(super) interval: &'static str,
    pub(super) resampled: &'static str,
    pub(super) n_resampled: usize,
    pub(super) confidence: f64,
    pub(super) samples: usize,
    pub(super) seed: u64,
    pub(super) ties: &'static str,
    /// The column whose label the row's queries share; empty where it is over all.
    pub(super) label_column: String,
    pub(super) label: String,
    pub(super) split: &'a str,
    pub(super) distance: &'a str,
    pub(super) model: &'a str,
    pub(super) model_sha256: &'a str,
    pub(super) reference: &'a str,
    pub(super) reference_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
    pub(super) tool: &'a str,
}

/// What is read back of a row of `summary.csv`.
#[derive(Debug, Deserialize)]
pub(super) struct FigureRow {
    pub(super) metric: String,
    #[serde(default)]
    pub(super) label_column: String,
}

/// A row of `neighbours.csv`.
#[derive(Debug, Serialize)]
pub(super) struct NeighbourRow<'a> {
    pub(super) schema: u32,
    pub(super) metric: &'a str,
    pub(super) anchors: &'static str,
    pub(super) value: Option<f64>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) n: usize,
    pub(super) n_undefined: usize,
    pub(super) n_photos: usize,
    pub(super) n_triplets: Option<u64>,
    pub(super) n_concordant: Option<u64>,
    pub(super) n_discordant: Option<u64>,
    pub(super) n_tied_reference: Option<u64>,
    pub(super) n_tied_studied: Option<u64>,
    pub(super) n_tied_both: Option<u64>,
    pub(super) interval: &'static str,
    pub(super) resampled: &'static str,
    pub(super) n_resampled: usize,
    pub(super) confidence: f64,
    pub(super) samples: usize,
    pub(super) seed: u64,
    pub(super) split: &'a str,
    pub(super) distance: &'a str,
    pub(super) model: &'a str,
    pub(super) model_sha256: &'a str,
    pub(super) reference: &'a str,
    pub(super) reference_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
    pub(super) tool: &'a str,
}

/// A row of `anchors.csv`.
#[derive(Debug, Serialize)]
pub(super) struct AnchorRow<'a> {
    pub(super) schema: u32,
    pub(super) anchors: &'static str,
    pub(super) anchor_id: &'a str,
    pub(super) photo_id: &'a str,
    pub(super) n_pairs: u64,
    pub(super) n_concordant: u64,
    pub(super) n_discordant: u64,
    pub(super) n_tied_reference: u64,
    pub(super) n_tied_studied: u64,
    pub(super) n_tied_both: u64,
    pub(super) agreement: Option<f64>,
    pub(super) tau_b: Option<f64>,
    pub(super) rho: Option<f64>,
    pub(super) displacement: f64,
    pub(super) overlap_1: f64,
    pub(super) overlap_5: f64,
    pub(super) overlap_10: f64,
    pub(super) model_sha256: &'a str,
    pub(super) reference_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
}

/// A row of `early.csv`.
#[derive(Debug, Serialize)]
pub(super) struct EarlyRow<'a> {
    pub(super) schema: u32,
    pub(super) share: f64,
    pub(super) acc_1: f64,
    pub(super) acc_5: f64,
    pub(super) acc_10: f64,
    pub(super) rank_percentile: f64,
    pub(super) reciprocal_rank: f64,
    pub(super) n: usize,
    pub(super) model_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
    pub(super) split: &'a str,
}

/// A row of `robustness.csv`.
#[derive(Debug, Serialize)]
pub(super) struct RobustnessRow<'a> {
    pub(super) schema: u32,
    pub(super) change: &'a str,
    pub(super) n_versions: usize,
    pub(super) acc_1: f64,
    pub(super) acc_1_low: f64,
    pub(super) acc_1_high: f64,
    pub(super) drop: f64,
    pub(super) drop_low: f64,
    pub(super) drop_high: f64,
    pub(super) n: usize,
    pub(super) resampled: &'static str,
    pub(super) n_resampled: usize,
    pub(super) confidence: f64,
    pub(super) samples: usize,
    pub(super) seed: u64,
    pub(super) model_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
    pub(super) split: &'a str,
}

/// A row of `comparison.csv`.
#[derive(Debug, Serialize)]
pub(super) struct ComparisonRow<'a> {
    pub(super) schema: u32,
    pub(super) metric: &'a str,
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) n: usize,
    pub(super) resampled: &'static str,
    pub(super) n_resampled: usize,
    pub(super) confidence: f64,
    pub(super) samples: usize,
    pub(super) seed: u64,
    pub(super) permutation_p_value: f64,
    pub(super) permutation_p_holm: f64,
    pub(super) n_only_a: Option<usize>,
    pub(super) n_only_b: Option<usize>,
    pub(super) mcnemar_p_value: Option<f64>,
    pub(super) mcnemar_p_holm: Option<f64>,
    pub(super) n_comparisons: usize,
    pub(super) split: &'a str,
    pub(super) model_a: &'a str,
    pub(super) model_a_sha256: &'a str,
    pub(super) model_b: &'a str,
    pub(super) model_b_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
    pub(super) tool: &'a str,
}

/// A row of `attribution.csv`.
#[derive(Debug, Serialize)]
pub(super) struct AttributionRow<'a> {
    pub(super) schema: u32,
    pub(super) baseline: &'a str,
    pub(super) model: &'a str,
    pub(super) query_id: &'a str,
    pub(super) rank: usize,
    pub(super) baseline_rank: usize,
    pub(super) smoothness: f64,
    pub(super) fidelity: f64,
    pub(super) baseline_smoothness: f64,
    pub(super) is_mixed: bool,
    pub(super) blame: &'static str,
    pub(super) baseline_sha256: &'a str,
    pub(super) model_sha256: &'a str,
    pub(super) dataset_sha256: &'a str,
}
