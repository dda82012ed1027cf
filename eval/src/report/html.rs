//! A report as one HTML page that needs nothing else: no script, no network. Pictures are data URIs of bounded size.
//! Readable on a phone, printable, and without sight: every figure has a text that says what it shows.

use super::contents::{Extras, Report};
use crate::attribution::attribute;
use crate::estimate::Estimate;
use crate::metrics::{self, ACCURACY, unit_of};
use crate::neighbours::Neighbourhood;
use crate::summary::Summary;

mod charts;
mod sheet;
mod text;

pub use sheet::pictured;
use text::{escape, put};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--accent:#0b5cad;--second:#a8480c;\
--good:#116329;--page:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--line:#3d444d;--accent:#6cb2ff;--second:#ffa657;\
--good:#56d364;--page:#0d1117}}\
*{box-sizing:border-box}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:64rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.2rem;margin-top:2.2rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}\
p,caption,figcaption,dt{color:var(--soft)}caption{text-align:left;padding-bottom:.3rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:left;padding:.3rem .6rem;\
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}tbody th{font-weight:400}\
td.n,th.n{text-align:right;white-space:nowrap}.wide{overflow-x:auto}figure{margin:0}\
svg{width:100%;max-width:44rem;height:auto;display:block}svg text{fill:var(--soft);font:13px system-ui,sans-serif}\
code{overflow-wrap:anywhere}a{color:var(--accent)}nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;list-style:none}\
.query{border-top:1px solid var(--line);padding:.6rem 0;break-inside:avoid}.query p{margin:.1rem 0 .4rem}\
.row{display:flex;flex-wrap:wrap;gap:.5rem;margin:0;padding:0;list-style:none}\
.row li{width:6.2rem;font-size:.8rem;line-height:1.25;overflow-wrap:anywhere}\
.row img,.row .none{display:block;width:6rem;height:6rem;object-fit:contain;background:#fff;border:2px solid var(--line);\
border-radius:4px;margin-bottom:.2rem}.row .none{color:#57606a;display:flex;align-items:center;justify-content:center;\
text-align:center}.row .true img,.row .true .none{border:4px solid var(--good)}.row .own img{border-style:dashed}\
.mark{color:var(--good);font-weight:700}\
@media(max-width:36rem){th,td{padding:.3rem .25rem;font-size:.85rem}.row li{width:5.2rem}.row img,.row .none{width:5rem;\
height:5rem}}\
@media print{body{max-width:none;padding:0}nav{display:none}h2{break-after:avoid}figure,tr{break-inside:avoid}\
.wide{overflow:visible}}";

/// The page.
pub(super) fn page(report: &Report, extras: &Extras) -> String {
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
    // Sections are made first, so that the list of contents names those that are there.
    let mut sections: Vec<(&str, &str, String)> = vec![
        ("figures", "Figures", figures(report, extras)),
        ("accuracy", "acc@k", charts::accuracy_curve(report, extras.against.as_ref())),
        ("ranks", "Ranks", charts::rank_histogram(report)),
    ];
    if !extras.labels.is_empty() {
        sections.push(("labels", "By label", labels(extras)));
    }
    sections.push(("sheet", "Best, typical and worst queries", sheet::contact_sheet(report, extras)));
    if let Some(against) = &extras.against {
        let title = "Side by side with another model";
        sections.push(("against", title, side_by_side(report, against, extras)));
    }
    if let Some(map) = &extras.map {
        sections.push(("map", "Map of the embedding space", charts::map(map, report)));
    }
    if let Some(neighbours) = &extras.neighbours {
        sections.push(("neighbours", "Neighbours kept", neighbourhood(neighbours, report)));
    }
    if let Some(early) = &extras.early {
        sections.push(("early", "While the sketch is drawn", charts::early(early)));
    }
    if !extras.robustness.is_empty() {
        sections.push(("robustness", "When the sketch is changed", robustness(extras)));
    }
    sections.push(("origin", "Where this comes from", origin(report)));
    page.push_str("<nav aria-label=\"Contents\"><ul>\n");
    for (id, title, _) in &sections {
        put(&mut page, format_args!("<li><a href=\"#{id}\">{title}</a></li>\n"));
    }
    page.push_str("</ul></nav>\n");
    for (id, title, body) in &sections {
        put(&mut page, format_args!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}</section>\n"));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn estimate_rows(page: &mut String, estimates: &[&Estimate]) {
    for estimate in estimates {
        let unit = unit_of(&estimate.metric);
        put(
            page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{} to {}</td>\
                 <td class=\"n\">{}</td><td>{} {}</td></tr>\n",
                escape(&estimate.metric),
                unit.shown(estimate.value),
                unit.shown(estimate.low),
                unit.shown(estimate.high),
                estimate.n,
                estimate.n_resampled,
                estimate.resampled.name(),
            ),
        );
    }
}

fn figures(report: &Report, extras: &Extras) -> String {
    let summary = report.summary();
    let mut page = String::new();
    put(
        &mut page,
        format_args!(
            "<p>{:.0} % intervals: Wilson's for shares of independent queries, else the bootstrap with {} resamples, seed {}. \
             What is resampled stands in the last column: photos are drawn with all their sketches.</p>\n\
             <div class=\"wide\"><table>\n<caption>over all sketches</caption>\n<thead><tr><th scope=\"col\">figure</th>\
             <th scope=\"col\" class=\"n\">value</th><th scope=\"col\" class=\"n\">interval</th><th scope=\"col\" \
             class=\"n\">n</th><th scope=\"col\">resampled</th></tr></thead>\n<tbody>\n",
            100.0 * summary.bootstrap.confidence,
            summary.bootstrap.samples,
            summary.bootstrap.seed,
        ),
    );
    let closeness = report.closeness();
    let estimates: Vec<&Estimate> =
        summary.estimates.iter().chain(&closeness).chain(extras.estimates()).collect();
    estimate_rows(&mut page, &estimates);
    page.push_str("</tbody></table></div>\n");
    if let Some(human) = &extras.human {
        put(
            &mut page,
            format_args!(
                "<p>human_agreement: the share of {} judgements of which of two photos looks more like a sketch that the \
                 model shares; {} ties count against it.</p>\n",
                human.agreement.n, human.n_tied
            ),
        );
    }
    if !closeness.is_empty() {
        page.push_str(
            "<p>smoothness@10: the mean distance between the first ten photos; fidelity@5: that between the true photo and \
             the first five; both in the features of the reference network, smaller is closer.</p>\n",
        );
    }
    page
}

/// The metrics that stand in the tables by label.
const BY_LABEL: [&str; 3] = [ACCURACY, "mrr", "acc@k_area"];

fn labels(extras: &Extras) -> String {
    let mut page = String::new();
    let mut column = "";
    for part in &extras.labels {
        let is_shown =
            |one: &&Estimate| metrics::of(&one.metric).is_some_and(|it| BY_LABEL.contains(&it.name));
        let metrics = || part.summary.estimates.iter().filter(is_shown);
        if part.column != column {
            if !column.is_empty() {
                page.push_str("</tbody></table></div>\n");
            }
            column = &part.column;
            put(
                &mut page,
                format_args!(
                    "<div class=\"wide\"><table>\n<caption>by {}; the gallery stays whole</caption>\n<thead><tr>\
                     <th scope=\"col\">label</th><th scope=\"col\" class=\"n\">n</th>",
                    escape(column)
                ),
            );
            for estimate in metrics() {
                put(
                    &mut page,
                    format_args!("<th scope=\"col\" class=\"n\">{}</th>", escape(&estimate.metric)),
                );
            }
            page.push_str("</tr></thead>\n<tbody>\n");
        }
        put(
            &mut page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td>",
                escape(&part.label),
                part.summary.n_queries
            ),
        );
        for estimate in metrics() {
            let show = |value| unit_of(&estimate.metric).shown(value);
            put(
                &mut page,
                format_args!(
                    "<td class=\"n\">{} ({} to {})</td>",
                    show(estimate.value),
                    show(estimate.low),
                    show(estimate.high)
                ),
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
    page
}

fn neighbourhood(neighbours: &Neighbourhood, report: &Report) -> String {
    let mut page = String::new();
    let reference = report.reference().map_or("the reference", |reference| &reference.model);
    put(
        &mut page,
        format_args!(
            "<p>How far the neighbours of {} photos in the space of {} are neighbours here too, over all triplets. Anchors \
             are the photos, and sketches in their place.</p>\n<div class=\"wide\"><table>\n<caption>means over anchors, \
             bootstrap over photos; ties here count against the model</caption>\n<thead><tr><th scope=\"col\">figure</th>\
             <th scope=\"col\">anchors</th><th scope=\"col\" class=\"n\">value</th><th scope=\"col\" class=\"n\">interval</th>\
             <th scope=\"col\" class=\"n\">n</th></tr></thead>\n<tbody>\n",
            neighbours.n_photos,
            escape(reference),
        ),
    );
    for one in &neighbours.estimates {
        let show = |value| unit_of(&one.estimate.metric).shown(value);
        put(
            &mut page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{} to {}</td>\
                 <td class=\"n\">{}</td></tr>\n",
                one.estimate.metric,
                one.anchors,
                show(one.estimate.value),
                show(one.estimate.low),
                show(one.estimate.high),
                one.estimate.n
            ),
        );
    }
    page.push_str("</tbody></table></div>\n");
    for one in neighbours.estimates.iter().filter(|one| one.pairs.is_some()) {
        if let Some(pairs) = one.pairs {
            put(
                &mut page,
                format_args!(
                    "<p>{} triplets with {} anchors: {} in the same order, {} in the other, {} tied by the reference, {} tied \
                     here, {} tied by both.</p>\n",
                    pairs.n,
                    one.anchors,
                    pairs.n_concordant,
                    pairs.n_discordant,
                    pairs.n_tied_reference,
                    pairs.n_tied_studied,
                    pairs.n_tied_both
                ),
            );
        }
    }
    page
}

fn robustness(extras: &Extras) -> String {
    let mut page = String::from(
        "<div class=\"wide\"><table>\n<caption>acc@1 over all versions of all sketches, and how much is lost</caption>\n\
         <thead><tr><th scope=\"col\">change</th><th scope=\"col\" class=\"n\">versions</th><th scope=\"col\" class=\"n\">\
         acc@1</th><th scope=\"col\" class=\"n\">lost, points</th><th scope=\"col\" class=\"n\">interval</th>\
         <th scope=\"col\" class=\"n\">n</th></tr></thead>\n<tbody>\n",
    );
    for one in &extras.robustness {
        put(
            &mut page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.2}</td>\
                 <td class=\"n\">{:.2} to {:.2}</td><td class=\"n\">{}</td></tr>\n",
                escape(&one.change),
                one.n_versions,
                unit_of(&one.acc1.metric).shown(one.acc1.value),
                100.0 * one.drop.value,
                100.0 * one.drop.low,
                100.0 * one.drop.high,
                one.drop.n
            ),
        );
    }
    page.push_str("</tbody></table></div>\n");
    page
}

/// Both models' figures, where they differ, and who is to blame.
fn side_by_side(report: &Report, against: &Report, extras: &Extras) -> String {
    let mut page = String::new();
    let names = [report, against].map(|one| escape(&one.provenance().model));
    let value = |summary: &Summary, metric: &str| {
        summary.get(metric).map_or(String::from("-"), |estimate| {
            let show = |value| unit_of(metric).shown(value);
            format!("{} ({} to {})", show(estimate.value), show(estimate.low), show(estimate.high))
        })
    };
    put(
        &mut page,
        format_args!(
            "<div class=\"wide\"><table>\n<caption>this model and the other, on the same sketches and photos</caption>\n\
             <thead><tr><th scope=\"col\">figure</th><th scope=\"col\" class=\"n\">{}</th><th scope=\"col\" class=\"n\">{}</th>\
             </tr></thead>\n<tbody>\n",
            names[0], names[1]
        ),
    );
    for estimate in &report.summary().estimates {
        put(
            &mut page,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                escape(&estimate.metric),
                value(report.summary(), &estimate.metric),
                value(against.summary(), &estimate.metric)
            ),
        );
    }
    page.push_str("</tbody></table></div>\n");
    let bootstrap = &report.summary().bootstrap;
    if let Ok(test) = crate::paired::compare(against.results(), report.results(), &[1], bootstrap)
        && let Some(acc1) = test.get("acc@1")
    {
        put(
            &mut page,
            format_args!(
                "<p>acc@1 of this model less that of the other: {:+.2} points ({:+.2} to {:+.2}, paired bootstrap over {}); \
                 permutation test p = {}; only the other right {}, only this one right {}, McNemar's exact test p = {}.</p>\n",
                100.0 * acc1.estimate.value,
                100.0 * acc1.estimate.low,
                100.0 * acc1.estimate.high,
                acc1.estimate.resampled.name(),
                p_value(acc1.p_value),
                test.mcnemar.n_only_a,
                test.mcnemar.n_only_b,
                p_value(test.mcnemar.p_value)
            ),
        );
    }
    if let Ok(attributions) = attribute(against.results(), report.results()) {
        let n_sketch =
            attributions.iter().filter(|one| one.blame == crate::attribution::Blame::PoorSketch).count();
        put(
            &mut page,
            format_args!(
                "<p>Of {} wrong retrievals of this model, {} speak of a poor sketch and {} of a weak model (by smoothness and \
                 fidelity; mixed cases by the other model's smoothness).</p>\n",
                attributions.len(),
                n_sketch,
                attributions.len() - n_sketch
            ),
        );
    }
    page.push_str(&sheet::differing(report, against, extras));
    page
}

fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}

fn origin(report: &Report) -> String {
    let provenance = report.provenance();
    let mut page = String::from("<div class=\"wide\"><table>\n<tbody>\n");
    let reference = report.reference();
    let rows = [
        ("model", Some(&provenance.model)),
        ("model, SHA-256", Some(&provenance.model_sha256)),
        ("reference", reference.map(|reference| &reference.model)),
        ("reference, SHA-256", reference.map(|reference| &reference.model_sha256)),
        ("data set, fingerprint", Some(&provenance.dataset_sha256)),
        ("split", Some(&provenance.split)),
        ("distance", Some(&provenance.distance)),
        ("tool", Some(&provenance.tool)),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            put(
                &mut page,
                format_args!(
                    "<tr><th scope=\"row\">{name}</th><td><code>{}</code></td></tr>\n",
                    escape(value)
                ),
            );
        }
    }
    page.push_str("</tbody></table></div>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::super::contents::Picture;
    use super::super::tests::report;
    use super::*;
    use crate::Bootstrap;
    use crate::summary::summarise_by;

    fn check(page: &str) {
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        assert!(!page.contains("<model>") && !page.contains("NaN") && !page.contains(" inf"));
        for forbidden in ["<script", "http:", "https:", "url(", "<link", "@import"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for tag in [
            "table", "svg", "figure", "tr", "td", "th", "tbody", "thead", "main", "ul", "li", "p", "div",
            "section", "nav", "details", "text", "h2", "h3", "a",
        ] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert_eq!(page.matches("<img ").count(), page.matches(" alt=\"").count());
        assert_eq!(page.matches("<svg ").count(), page.matches("role=\"img\"").count());
        for id in page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id} stands there twice");
        }
    }

    #[test]
    fn the_page_is_whole_and_escaped() {
        let page = page(&report(&[1, 3, 2, 500]), &Extras::default());
        check(&page);
        assert!(page.contains("a &lt;model&gt; &amp; &quot;more&quot;"));
        assert!(page.contains("25.00 %"));
    }

    #[test]
    fn pictures_are_shown_marked_and_bounded() {
        let report = report(&[1, 3, 2, 500]);
        let ids = pictured(&report, None);
        assert!(ids.contains("q00000") && ids.contains("g00003"));
        let picture = |n| Picture { jpeg: vec![0xff; n], size: [8, 8] };
        let extras = |n| Extras {
            pictures: ids.iter().map(|id| (id.clone(), picture(n))).collect(),
            ..Extras::default()
        };
        let small = page(&report, &extras(100));
        check(&small);
        assert!(small.contains("src=\"data:image/jpeg;base64,/") && small.contains("class=\"true\""));
        let large = page(&report, &extras(1_000_000));
        check(&large);
        assert!(large.len() < 4_000_000 && large.contains("no picture"), "{}", large.len());
    }

    #[test]
    fn every_part_has_its_section() {
        let (one, other) = (report(&[1, 3, 2, 500]), report(&[2, 1, 2, 1]));
        let labels = one.results().iter().map(|r| (r.query_id.clone(), "x<y".to_owned())).collect();
        let steps = [one.results().to_vec(), other.results().to_vec()];
        let bootstrap = Bootstrap { samples: 20, ..Bootstrap::default() };
        let point = |id: &str, is_sketch| crate::map::MapPoint {
            id: id.into(),
            photo: "g00000".into(),
            is_sketch,
            place: [0.25, 0.75],
        };
        let extras = Extras {
            labels: summarise_by(one.results(), "style", &labels, &[1], &bootstrap).unwrap(),
            early: Some(crate::early::early_retrieval(&steps, &bootstrap).unwrap()),
            map: Some(crate::map::EmbeddingMap {
                points: vec![point("g00000", false), point("q00000", true)],
                n_photos_left_out: 3,
            }),
            against: Some(other),
            ..Extras::default()
        };
        let page = page(&one, &extras);
        check(&page);
        for part in ["x&lt;y", "While the sketch is drawn", "Map of", "Side by side", "3 photos are left out"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_gallery_of_one_has_a_page() {
        let mut results = crate::result::tests::with_ranks(&[1], 1);
        results[0].n_gallery = 1;
        let provenance = report(&[1]).provenance().clone();
        let one = Report::new(provenance, results, &Bootstrap::default()).unwrap();
        check(&page(&one, &Extras::default()));
    }
}
