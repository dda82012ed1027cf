//! The table of metrics: what every figure is called and measured in, what it is over, and which way is better. Summaries,
//! comparisons, reports and programs read it; a new metric of queries is a line in it, and one of anything else a line and
//! the file that measures it.

use crate::result::{Closeness, QueryResult};

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share in `[0, 1]`; people read it as per cent.
    Share,
    /// Places of a ranking.
    Ranks,
    /// The reference network's own distance.
    Distance,
    /// A number without a unit.
    Number,
}

/// Which of two values speaks for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The larger.
    Higher,
    /// The smaller.
    Lower,
}

/// What a figure is over.
#[derive(Clone, Copy, Debug)]
pub enum Over {
    /// Queries: for each k that is asked for, the share of those of which this holds.
    ShareAt(fn(&QueryResult, usize) -> bool),
    /// Queries: the mean of this value.
    Mean(fn(&QueryResult) -> f64),
    /// Queries: the same, where some query has several matches; else there is no such figure.
    MeanOfSeveral(fn(&QueryResult) -> f64),
    /// Queries: the median of this value.
    Median(fn(&QueryResult) -> f64),
    /// Queries that a reference network was asked about: the mean of this value.
    MeanInReference(fn(&Closeness) -> f64),
    /// Something else: anchors, triplets, steps, versions of sketches. The file that measures it says how.
    Other,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in files; what stands in `<>` differs from figure to figure.
    pub name: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// What it is over.
    pub over: Over,
    /// Whether two models are compared by it, query by query.
    pub is_compared: bool,
}

/// The name of acc@k.
pub const ACCURACY: &str = "acc@<k>";

/// The metrics, in the order of files.
pub const METRICS: [Metric; 27] = [
    compared(ACCURACY, Unit::Share, Better::Higher, Over::ShareAt(|result, k| result.rank <= k)),
    compared("mrr", Unit::Number, Better::Higher, Over::Mean(QueryResult::reciprocal_rank)),
    metric("map", Unit::Number, Better::Higher, Over::MeanOfSeveral(|result| result.average_precision)),
    metric("mean_rank", Unit::Ranks, Better::Lower, Over::Mean(|result| result.rank as f64)),
    metric("mean_rank_percentile", Unit::Share, Better::Higher, Over::Mean(QueryResult::rank_percentile)),
    metric("acc@k_area", Unit::Share, Better::Higher, Over::Mean(QueryResult::area_under_accuracy)),
    metric("median_rank", Unit::Ranks, Better::Lower, Over::Median(|result| result.rank as f64)),
    metric("median_rank_percentile", Unit::Share, Better::Higher, Over::Median(QueryResult::rank_percentile)),
    metric("smoothness@10", Unit::Distance, Better::Lower, Over::MeanInReference(|found| found.smoothness)),
    metric("fidelity@5", Unit::Distance, Better::Lower, Over::MeanInReference(|found| found.fidelity)),
    metric("human_agreement", Unit::Share, Better::Higher, Over::Other),
    metric("early_rank_percentile_area", Unit::Share, Better::Higher, Over::Other),
    metric("early_reciprocal_rank_area", Unit::Share, Better::Higher, Over::Other),
    metric("acc@1_<change>", Unit::Share, Better::Higher, Over::Other),
    metric("acc@1_drop_<change>", Unit::Share, Better::Lower, Over::Other),
    metric("false_answers", Unit::Share, Better::Lower, Over::Other),
    metric("false_nothings", Unit::Share, Better::Lower, Over::Other),
    metric("wrong_answers", Unit::Share, Better::Lower, Over::Other),
    metric("brier_first", Unit::Number, Better::Lower, Over::Other),
    metric("brier_answer", Unit::Number, Better::Lower, Over::Other),
    metric("answer_auc", Unit::Number, Better::Higher, Over::Other),
    metric("triplet_agreement", Unit::Share, Better::Higher, Over::Other),
    metric("kendall_tau_b", Unit::Number, Better::Higher, Over::Other),
    metric("spearman_rho", Unit::Number, Better::Higher, Over::Other),
    metric("mean_displacement", Unit::Ranks, Better::Lower, Over::Other),
    metric("overlap@<k>", Unit::Share, Better::Higher, Over::Other),
    metric("hubness@<k>", Unit::Number, Better::Lower, Over::Other),
];

const fn metric(name: &'static str, unit: Unit, better: Better, over: Over) -> Metric {
    Metric { name, unit, better, over, is_compared: false }
}

const fn compared(name: &'static str, unit: Unit, better: Better, over: Over) -> Metric {
    Metric { is_compared: true, ..metric(name, unit, better, over) }
}

/// The line of a figure: the one of its name, or the longest that it begins as.
///
/// ```
/// use sketchfind_eval::metrics;
/// let name = |figure| metrics::of(figure).map(|metric| metric.name);
/// assert_eq!([name("acc@5"), name("acc@k_area")], [Some("acc@<k>"), Some("acc@k_area")]);
/// assert_eq!(name("acc@1_drop_rotation"), Some("acc@1_drop_<change>"));
/// assert_eq!(name("loss"), None);
/// ```
pub fn of(figure: &str) -> Option<&'static Metric> {
    let beginning = |metric: &Metric| metric.name.split_once('<').map(|(beginning, _)| beginning);
    METRICS.iter().find(|metric| metric.name == figure).or_else(|| {
        let alike =
            METRICS.iter().filter(|metric| beginning(metric).is_some_and(|it| figure.starts_with(it)));
        alike.max_by_key(|metric| metric.name.len())
    })
}

/// The k of a figure that is called acc@k.
pub(crate) fn cutoff_of(figure: &str) -> Option<usize> {
    figure.strip_prefix("acc@")?.parse().ok()
}

/// The unit of a figure; one that stands in no line has none.
pub fn unit_of(figure: &str) -> Unit {
    of(figure).map_or(Unit::Number, |metric| metric.unit)
}

impl Unit {
    /// A value as people read it.
    ///
    /// ```
    /// use sketchfind_eval::metrics::unit_of;
    /// assert_eq!(unit_of("mean_rank_percentile").shown(0.994), "99.40 %");
    /// assert_eq!([unit_of("mrr").shown(0.994), unit_of("mrr").shown(0.0012)], ["0.994", "1.20e-3"]);
    /// ```
    pub fn shown(self, value: f64) -> String {
        match (self, value.abs()) {
            (_, size) if size.is_nan() => "unknown".into(),
            (Unit::Share, _) => format!("{:.2} %", 100.0 * value),
            (_, size) if size > 0.0 && size < 0.01 => format!("{value:.2e}"),
            _ => format!("{value:.3}"),
        }
    }

    /// A difference of two values as people read it: of shares in points.
    pub fn shown_difference(self, difference: f64) -> String {
        match self {
            Unit::Share => format!("{:+.2} points", 100.0 * difference),
            _ => format!("{difference:+.4}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    /// The lines and `docs/report-files.md` say the same.
    #[test]
    fn the_documentation_has_every_line() {
        let text = include_str!("../../docs/report-files.md");
        for metric in &METRICS {
            let line =
                format!("| `{}` | {:?} | {:?} |", metric.name, metric.unit, metric.better).to_lowercase();
            assert_eq!(text.lines().filter(|row| row.starts_with(&line)).count(), 1, "{line}");
        }
    }

    /// A photo at the first place is better than one at the last, by every metric of queries.
    #[test]
    fn better_is_what_finds_more() {
        let results = with_ranks(&[1, 900], 1);
        for metric in &METRICS {
            let [first, last] = [&results[0], &results[1]].map(|result| match metric.over {
                Over::ShareAt(of) => f64::from(u8::from(of(result, 1))),
                Over::Mean(of) | Over::MeanOfSeveral(of) | Over::Median(of) => of(result),
                Over::MeanInReference(_) | Over::Other => f64::NAN,
            });
            let is_higher = !first.is_nan() && first > last;
            assert!(first.is_nan() || is_higher == (metric.better == Better::Higher), "{}", metric.name);
        }
    }
}
