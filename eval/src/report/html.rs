//! A report as one HTML page that needs nothing else: no script, no network.

use std::fmt::Write;

use super::Report;
use crate::accuracy::{QueryResult, accuracy_at};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--accent:#0b5cad;--page:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--line:#3d444d;--accent:#6cb2ff;--page:#0d1117}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}p,caption,figcaption{color:var(--soft)}caption{text-align:left}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:left;padding:.3rem .6rem;\
border-bottom:1px solid var(--line)}td.n,th.n{text-align:right}.wide{overflow-x:auto}figure{margin:0}svg{width:100%;height:auto}\
svg text{fill:var(--soft);font-size:12px}code{word-break:break-all}\
@media print{body{max-width:none}}";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let (provenance, summary) = (report.provenance(), report.summary());
    let mut page = String::new();
    let title = format!("Retrieval of {} with {}", provenance.split, provenance.model);
    put(
        &mut page,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
             <p>{} sketches of {} photos, ranked against a gallery of {}. Ties count against the model.</p>\n",
            summary.n_queries,
            summary.n_photos,
            summary.n_gallery,
            title = escape(&title),
        ),
    );
    put_summary(&mut page, report);
    put_accuracy_curve(&mut page, report);
    put_rank_histogram(&mut page, report);
    put_queries(&mut page, report);
    put(&mut page, format_args!("<h2>Where this comes from</h2>\n<div class=\"wide\"><table>\n"));
    for (name, value) in [
        ("model", &provenance.model),
        ("model, SHA-256", &provenance.model_sha256),
        ("data set, fingerprint", &provenance.dataset_sha256),
        ("split", &provenance.split),
        ("distance", &provenance.distance),
        ("tool", &provenance.tool),
    ] {
        put(
            &mut page,
            format_args!("<tr><th scope=\"row\">{name}</th><td><code>{}</code></td></tr>\n", escape(value)),
        );
    }
    page.push_str("</table></div>\n</main>\n</body>\n</html>\n");
    page
}

fn put_summary(page: &mut String, report: &Report) {
    let summary = report.summary();
    let confidence = 100.0 * summary.bootstrap.confidence;
    put(
        page,
        format_args!(
            "<div class=\"wide\"><table>\n<caption>{confidence:.0} % intervals; {} resamples of {}, seed \
             {}</caption>\n<thead><tr><th scope=\"col\">figure</th><th scope=\"col\" class=\"n\">value</th>\
             <th scope=\"col\" class=\"n\">from</th><th scope=\"col\" class=\"n\">to</th>\
             <th scope=\"col\" class=\"n\">n</th></tr></thead>\n<tbody>\n",
            summary.bootstrap.samples,
            if summary.is_clustered() { "photos with all their sketches" } else { "queries" },
            summary.bootstrap.seed,
        ),
    );
    for estimate in &summary.estimates {
        let show = |value: f64| {
            if estimate.metric.starts_with("acc") {
                format!("{:.2} %", 100.0 * value)
            } else {
                format!("{value:.3}")
            }
        };
        put(
            page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                escape(&estimate.metric),
                show(estimate.value),
                show(estimate.low),
                show(estimate.high),
                estimate.n
            ),
        );
    }
    page.push_str("</tbody></table></div>\n");
}

/// acc@k for k from 1 to the gallery's size, on a logarithmic axis.
fn put_accuracy_curve(page: &mut String, report: &Report) {
    let n_gallery = report.summary().n_gallery.max(2);
    let (left, top, width, height) = (44.0, 12.0, 640.0, 220.0);
    let x = |k: usize| left + width * (k as f64).ln() / (n_gallery as f64).ln();
    let y = |share: f64| top + height * (1.0 - share);
    // At most 200 points: k grows by a factor.
    let mut ks: Vec<usize> =
        (0..=200).map(|step| (n_gallery as f64).powf(f64::from(step) / 200.0).round() as usize).collect();
    ks.dedup();
    let points: Vec<String> =
        ks.iter().map(|&k| format!("{:.1},{:.1}", x(k), y(accuracy_at(report.results(), k)))).collect();
    put(
        page,
        format_args!(
            "<h2>acc@k</h2>\n<figure><svg viewBox=\"0 0 700 270\" role=\"img\" aria-labelledby=\"curve\">\
             <title id=\"curve\">acc@k against k: {:.1} % at 1, {:.1} % at 10</title>\n",
            100.0 * accuracy_at(report.results(), 1),
            100.0 * accuracy_at(report.results(), 10),
        ),
    );
    for percent in [0, 25, 50, 75, 100] {
        let line = y(f64::from(percent) / 100.0);
        put(
            page,
            format_args!(
                "<line x1=\"{left}\" y1=\"{line:.1}\" x2=\"{:.1}\" y2=\"{line:.1}\" stroke=\"var(--line)\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>\n",
                left + width,
                left - 6.0,
                line + 4.0
            ),
        );
    }
    for k in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000].into_iter().filter(|&k| k <= n_gallery) {
        put(
            page,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{k}</text>\n",
                x(k),
                top + height + 18.0
            ),
        );
    }
    put(
        page,
        format_args!(
            "<polyline fill=\"none\" stroke=\"var(--accent)\" stroke-width=\"2.5\" points=\"{}\"/></svg>\
             <figcaption>Share of sketches whose photo is among the first k; k on a logarithmic \
             axis.</figcaption></figure>\n",
            points.join(" ")
        ),
    );
}

/// How many queries fall into each band of ranks.
fn put_rank_histogram(page: &mut String, report: &Report) {
    let bands: [(usize, usize); 7] =
        [(1, 1), (2, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, usize::MAX)];
    let counts: Vec<usize> = bands
        .iter()
        .map(|&(low, high)| report.results().iter().filter(|r| (low..=high).contains(&r.rank)).count())
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    page.push_str(
        "<h2>Ranks</h2>\n<figure><svg viewBox=\"0 0 700 220\" role=\"img\" aria-labelledby=\"ranks\">\
         <title id=\"ranks\">Number of sketches by the rank of their photo</title>\n",
    );
    for (index, (&(low, high), &count)) in bands.iter().zip(&counts).enumerate() {
        let (x, height) = (30.0 + 92.0 * index as f64, 160.0 * count as f64 / most);
        let label = match (low, high) {
            (low, high) if low == high => low.to_string(),
            (low, usize::MAX) => format!("from {low}"),
            (low, high) => format!("{low} to {high}"),
        };
        put(
            page,
            format_args!(
                "<rect x=\"{x:.0}\" y=\"{:.1}\" width=\"70\" height=\"{height:.1}\" fill=\"var(--accent)\"/>\
                 <text x=\"{middle:.0}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>\
                 <text x=\"{middle:.0}\" y=\"206\" text-anchor=\"middle\">{label}</text>\n",
                186.0 - height,
                180.0 - height,
                middle = x + 35.0
            ),
        );
    }
    page.push_str("</svg></figure>\n");
}

/// The queries that came out worst, and those whose match was nearest.
fn put_queries(page: &mut String, report: &Report) {
    let mut by_rank: Vec<&QueryResult> = report.results().iter().collect();
    by_rank.sort_by(|a, b| {
        b.rank
            .cmp(&a.rank)
            .then(b.truth_distance.total_cmp(&a.truth_distance))
            .then(a.query_id.cmp(&b.query_id))
    });
    let n_shown = by_rank.len().min(10);
    let best: Vec<&QueryResult> = by_rank.iter().rev().take(n_shown).copied().collect();
    for (title, queries) in [("Worst queries", &by_rank[..n_shown]), ("Best queries", &best[..])] {
        put(
            page,
            format_args!(
                "<h2>{title}</h2>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">sketch</th>\
                 <th scope=\"col\">its photo</th><th scope=\"col\" class=\"n\">rank</th>\
                 <th scope=\"col\">ranked first</th></tr></thead>\n<tbody>\n"
            ),
        );
        for query in queries {
            put(
                page,
                format_args!(
                    "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
                    escape(&query.query_id),
                    escape(&query.truth_id),
                    query.rank,
                    escape(query.top.first().map_or("", String::as_str)),
                ),
            );
        }
        page.push_str("</tbody></table></div>\n");
    }
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_page_is_whole_and_escaped() {
        let page = page(&report(&[1, 3, 2, 500]));
        assert!(page.contains("a &lt;model&gt; &amp; &quot;more&quot;"));
        assert!(!page.contains("<model>") && !page.contains("NaN") && !page.contains("inf"));
        assert!(page.contains("25.00 %") && page.ends_with("</html>\n"));
        for forbidden in ["<script", "http:", "https:", "url("] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for tag in ["table", "svg", "figure", "tr", "td", "th", "tbody", "main"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn a_gallery_of_one_has_a_page() {
        let mut results = crate::summary::tests::with_ranks(&[1], 1);
        results[0].n_gallery = 1;
        let provenance = report(&[1]).provenance().clone();
        let one = Report::new(provenance, results, &crate::Bootstrap::ORDINARY).unwrap();
        assert!(!page(&one).contains("NaN"));
    }
}
