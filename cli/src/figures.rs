//! Figures with their intervals as lines of a table on standard output.

use anyhow::Result;
use sketchfind_eval::metrics::{self, unit_of};
use sketchfind_eval::neighbours::Neighbourhood;
use sketchfind_eval::{Bootstrap, Estimate};

use crate::output;

/// A table of figures, each under its name.
pub(crate) fn render(
    title: &str,
    bootstrap: &Bootstrap,
    figures: impl IntoIterator<Item = (String, Estimate)>,
) -> Result<()> {
    let interval = format!("{:.0} % interval", 100.0 * bootstrap.confidence);
    let mut rows = vec![vec![title.to_owned(), "value".into(), interval, "n".into()]];
    rows.extend(figures.into_iter().map(|(name, estimate)| {
        let (value, interval) = shown(&estimate);
        vec![name, value, interval, estimate.n.to_string()]
    }));
    output::lines(output::table(&rows, &[1, 2, 3]))
}

/// The statistics of two spaces.
pub(crate) fn render_neighbours(found: &Neighbourhood) -> Result<()> {
    let figures = found.estimates.iter().map(|one| {
        let estimate = one.estimate.clone();
        (format!("{} {}", one.anchors, estimate.metric), estimate)
    });
    render("neighbours, by anchors", &found.bootstrap, figures)
}

/// A figure and its interval as people read them.
pub(crate) fn shown(estimate: &Estimate) -> (String, String) {
    let unit = unit_of(&estimate.metric);
    (unit.shown(estimate.value), format!("{} to {}", unit.shown(estimate.low), unit.shown(estimate.high)))
}

/// Whether a figure is acc@k.
pub(crate) fn is_accuracy(estimate: &Estimate) -> bool {
    metrics::of(&estimate.metric).is_some_and(|metric| metric.name == metrics::ACCURACY)
}
