//! The figures that are drawn: curves, bars, the map. Each has a title that says in words what it shows, and a table or
//! caption beside it.

use super::super::contents::Report;
use super::text::{escape, put};
use crate::accuracy::accuracy_at;
use crate::early::EarlyRetrieval;
use crate::map::EmbeddingMap;
use crate::metrics::unit_of;

// The frame of a chart in its own units; text is 13 of them, so that it stays readable on a phone.
const LEFT: f64 = 46.0;
const TOP: f64 = 12.0;
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 200.0;

/// The height of a share from 0 to 1 in a chart.
fn y(share: f64) -> f64 {
    TOP + HEIGHT * (1.0 - share)
}

fn begin(page: &mut String, id: &str, title: &str) {
    put(
        page,
        format_args!(
            "<figure><svg viewBox=\"0 0 440 250\" role=\"img\" aria-labelledby=\"{id}-title\">\
             <title id=\"{id}-title\">{}</title>\n",
            escape(title)
        ),
    );
}

fn percent_lines(page: &mut String) {
    for percent in [0, 25, 50, 75, 100] {
        let line = y(f64::from(percent) / 100.0);
        put(
            page,
            format_args!(
                "<line x1=\"{LEFT}\" y1=\"{line:.1}\" x2=\"{:.1}\" y2=\"{line:.1}\" stroke=\"var(--line)\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>\n",
                LEFT + WIDTH,
                LEFT - 5.0,
                line + 4.0
            ),
        );
    }
}

fn below(page: &mut String, x: f64, text: &str) {
    put(
        page,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>\n",
            TOP + HEIGHT + 18.0
        ),
    );
}

fn polyline(page: &mut String, points: &[(f64, f64)], colour: &str, dashes: &str) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(
        page,
        format_args!(
            "<polyline fill=\"none\" stroke=\"var(--{colour})\" stroke-width=\"2.5\" stroke-dasharray=\"{dashes}\" \
             points=\"{}\"/>\n",
            points.join(" ")
        ),
    );
}

/// acc@k for k from 1 to the gallery's size, on a logarithmic axis; another model's beside it, dashed.
pub(super) fn accuracy_curve(report: &Report, against: Option<&Report>) -> String {
    let mut page = String::new();
    let n_gallery = report.summary().n_gallery.max(2);
    let x = |k: usize| LEFT + WIDTH * (k as f64).ln() / (n_gallery as f64).ln();
    // At most 200 points: k grows by a factor.
    let mut ks: Vec<usize> =
        (0..=200).map(|step| (n_gallery as f64).powf(f64::from(step) / 200.0).round() as usize).collect();
    ks.dedup();
    let at = |report: &Report, k| 100.0 * accuracy_at(report.results(), k);
    let title = format!("acc@k against k: {:.1} % at 1, {:.1} % at 10", at(report, 1), at(report, 10));
    begin(&mut page, "curve", &title);
    percent_lines(&mut page);
    let mut last_x = f64::NEG_INFINITY;
    for k in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000] {
        if k <= n_gallery && x(k) - last_x > 26.0 {
            below(&mut page, x(k), &k.to_string());
            last_x = x(k);
        }
    }
    let curve = |report: &Report| -> Vec<(f64, f64)> {
        ks.iter().map(|&k| (x(k), y(accuracy_at(report.results(), k)))).collect()
    };
    if let Some(against) = against {
        polyline(&mut page, &curve(against), "second", "6 4");
    }
    polyline(&mut page, &curve(report), "accent", "none");
    page.push_str(
        "</svg><figcaption>Share of sketches whose photo is among the first k; k on a logarithmic axis.",
    );
    if let Some(against) = against {
        put(
            &mut page,
            format_args!(
                " Full line: this model. Dashed: {}, {:.1} % at 1, {:.1} % at 10.",
                escape(&against.provenance().model),
                at(against, 1),
                at(against, 10)
            ),
        );
    }
    page.push_str("</figcaption></figure>\n<details><summary>The curve as a table</summary>\n<table>\n<thead><tr>\
                   <th scope=\"col\" class=\"n\">k</th><th scope=\"col\" class=\"n\">acc@k</th></tr></thead>\n<tbody>\n");
    for k in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].into_iter().filter(|&k| k <= n_gallery) {
        put(
            &mut page,
            format_args!("<tr><td class=\"n\">{k}</td><td class=\"n\">{:.2} %</td></tr>\n", at(report, k)),
        );
    }
    page.push_str("</tbody></table></details>\n");
    page
}

/// How many queries fall into each band of ranks.
pub(super) fn rank_histogram(report: &Report) -> String {
    let mut page = String::new();
    let bands: [(usize, usize); 7] =
        [(1, 1), (2, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, usize::MAX)];
    let label = |&(low, high): &(usize, usize)| match (low, high) {
        (low, high) if low == high => low.to_string(),
        (low, usize::MAX) => format!("{low}+"),
        (low, high) => format!("{low}-{high}"),
    };
    let counts: Vec<usize> = bands
        .iter()
        .map(|&(low, high)| report.results().iter().filter(|r| (low..=high).contains(&r.rank)).count())
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let said: Vec<String> =
        bands.iter().zip(&counts).map(|(band, count)| format!("{count} at rank {}", label(band))).collect();
    begin(&mut page, "bars", &format!("Sketches by the rank of their photo: {}", said.join(", ")));
    let step = WIDTH / bands.len() as f64;
    for (index, (band, &count)) in bands.iter().zip(&counts).enumerate() {
        let height = (HEIGHT - 24.0) * count as f64 / most;
        let left = LEFT + step * index as f64;
        put(
            &mut page,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"var(--accent)\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>\n",
                left + 4.0,
                y(0.0) - height,
                step - 8.0,
                left + step / 2.0,
                y(0.0) - height - 5.0
            ),
        );
        below(&mut page, left + step / 2.0, &label(band));
    }
    page.push_str("</svg><figcaption>Number of sketches by the rank of their photo.</figcaption></figure>\n");
    page
}

/// Photos as circles, sketches as crosses, each joined to its photo; wrong ones in the second colour.
pub(super) fn map(map: &EmbeddingMap, report: &Report) -> String {
    let mut page = String::new();
    let n_sketches = map.points.iter().filter(|point| point.is_sketch).count();
    let n_photos = map.points.len() - n_sketches;
    let title = format!(
        "Map of {n_photos} photos (circles) and {n_sketches} of their sketches (crosses), each joined to its photo"
    );
    put(
        &mut page,
        format_args!(
            "<figure><svg viewBox=\"0 0 440 440\" role=\"img\" aria-labelledby=\"map-title\"><title \
             id=\"map-title\">{title}</title>\n"
        ),
    );
    let place = |place: [f32; 2]| place.map(|value| 12.0 + 416.0 * f64::from(value));
    let photo_places: std::collections::BTreeMap<&str, [f64; 2]> = map
        .points
        .iter()
        .filter(|point| !point.is_sketch)
        .map(|point| (point.id.as_str(), place(point.place)))
        .collect();
    let is_right = |id: &str| report.results().iter().any(|result| result.query_id == id && result.rank == 1);
    let mut n_right = 0;
    for point in map.points.iter().filter(|point| point.is_sketch) {
        let [x, y] = place(point.place);
        let right = is_right(&point.id);
        n_right += usize::from(right);
        let colour = if right { "good" } else { "second" };
        if let Some([to_x, to_y]) = photo_places.get(point.photo.as_str()) {
            put(
                &mut page,
                format_args!(
                    "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\" stroke=\"var(--line)\"/>\n"
                ),
            );
        }
        put(
            &mut page,
            format_args!(
                "<path d=\"M{:.1} {:.1}l6 6m0 -6l-6 6\" stroke=\"var(--{colour})\" stroke-width=\"1.5\"><title>{}\
                 </title></path>\n",
                x - 3.0,
                y - 3.0,
                escape(&point.id)
            ),
        );
    }
    for point in map.points.iter().filter(|point| !point.is_sketch) {
        let [x, y] = place(point.place);
        put(
            &mut page,
            format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"none\" stroke=\"var(--accent)\" \
                 stroke-width=\"1.5\"><title>{}</title></circle>\n",
                escape(&point.id)
            ),
        );
    }
    put(
        &mut page,
        format_args!(
            "</svg><figcaption>t-SNE of the model's space. Circles: photos. Crosses: one sketch of each, {n_right} of \
             {n_sketches} (green) with their photo ranked first. Only near neighbours mean something; no figure is read \
             from a map.{}</figcaption></figure>\n",
            if map.n_photos_left_out > 0 {
                format!(" {} photos are left out, drawn at random.", map.n_photos_left_out)
            } else {
                String::new()
            }
        ),
    );
    page
}

/// Rank percentile and 1 / rank against the share drawn.
pub(super) fn early(early: &EarlyRetrieval) -> String {
    let mut page = String::new();
    let said: Vec<String> = early
        .areas
        .iter()
        .map(|area| format!("{} {}", area.metric, unit_of(&area.metric).shown(area.value)))
        .collect();
    begin(
        &mut page,
        "early-chart",
        &format!("Rank percentile and 1 / rank against the share of the sketch drawn: {}", said.join(", ")),
    );
    percent_lines(&mut page);
    let x = |share: f64| LEFT + WIDTH * share;
    for percent in [0, 25, 50, 75, 100] {
        below(&mut page, x(f64::from(percent) / 100.0), &format!("{percent} %"));
    }
    let curve = |of: fn(&crate::early::EarlyStep) -> f64| -> Vec<(f64, f64)> {
        early.steps.iter().map(|step| (x(step.share), y(of(step)))).collect()
    };
    polyline(&mut page, &curve(|step| step.rank_percentile), "accent", "none");
    polyline(&mut page, &curve(|step| step.reciprocal_rank), "second", "6 4");
    page.push_str(
        "</svg><figcaption>Full line: mean rank percentile. Dashed: mean of 1 / rank. Across: the share of the sketch that \
         is drawn.</figcaption></figure>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\" class=\"n\">drawn</th>\
         <th scope=\"col\" class=\"n\">acc@1</th><th scope=\"col\" class=\"n\">acc@10</th><th scope=\"col\" \
         class=\"n\">rank percentile</th><th scope=\"col\" class=\"n\">1 / rank</th></tr></thead>\n<tbody>\n",
    );
    // A tenth of the steps or so is enough to read.
    let every = early.steps.len().div_ceil(10).max(1);
    for (index, step) in early.steps.iter().enumerate() {
        if (index + 1) % every != 0 && index + 1 != early.steps.len() {
            continue;
        }
        put(
            &mut page,
            format_args!(
                "<tr><td class=\"n\">{:.0} %</td><td class=\"n\">{:.2} %</td><td class=\"n\">{:.2} %</td><td \
                 class=\"n\">{:.2} %</td><td class=\"n\">{:.3}</td></tr>\n",
                100.0 * step.share,
                100.0 * step.acc1,
                100.0 * step.acc10,
                100.0 * step.rank_percentile,
                step.reciprocal_rank
            ),
        );
    }
    page.push_str("</tbody></table></div>\n");
    page
}
