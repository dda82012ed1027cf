//! The contact sheet: queries with their sketch, their photo, and the photos that were found.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::contents::{Extras, Picture, Report};
use super::text::{escape, put};
use crate::result::QueryResult;

/// Queries of each kind.
const N_QUERIES: usize = 6;
/// Photos that were found, of each query.
const N_HITS: usize = 5;
/// The most that all pictures of a page may weigh, in bytes of JPEG. What comes later is shown by name only.
const MAX_BYTES: usize = 2_000_000;

/// The ids of sketches and photos that a report's page shows pictures of.
pub fn pictured(report: &Report, against: Option<&Report>) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut add = |result: &QueryResult| {
        ids.insert(result.query_id.clone());
        ids.insert(result.truth_id.clone());
        ids.extend(result.top.iter().take(N_HITS).cloned());
    };
    for (_, _, results) in kinds(report) {
        results.into_iter().for_each(&mut add);
    }
    if let Some(against) = against {
        for (_, pairs) in differing_queries(report, against) {
            for (ours, theirs) in pairs {
                add(ours);
                add(theirs);
            }
        }
    }
    ids
}

/// Best, typical and worst queries, each with an id and a heading.
fn kinds(report: &Report) -> [(&'static str, &'static str, Vec<&QueryResult>); 3] {
    let mut by_rank: Vec<&QueryResult> = report.results().iter().collect();
    by_rank.sort_by(|a, b| {
        let by_distance = a.truth_distance.total_cmp(&b.truth_distance);
        a.rank.cmp(&b.rank).then(by_distance).then(a.query_id.cmp(&b.query_id))
    });
    let n = by_rank.len();
    let n_shown = N_QUERIES.min(n);
    let middle = (n - n_shown) / 2;
    [
        ("best", "Best: ranked first or nearly, and nearest", by_rank[..n_shown].to_vec()),
        ("typical", "Typical: around the median rank", by_rank[middle..middle + n_shown].to_vec()),
        ("worst", "Worst: ranked last", by_rank.iter().rev().take(n_shown).copied().collect()),
    ]
}

type Pairs<'a> = Vec<(&'a QueryResult, &'a QueryResult)>;

/// Queries that one model finds and the other does not, those first where the other is farthest off.
fn differing_queries<'a>(report: &'a Report, against: &'a Report) -> [(&'static str, Pairs<'a>); 2] {
    let theirs: BTreeMap<&str, &QueryResult> =
        against.results().iter().map(|result| (result.query_id.as_str(), result)).collect();
    let pairs: Pairs<'a> = report
        .results()
        .iter()
        .filter_map(|ours| theirs.get(ours.query_id.as_str()).map(|theirs| (ours, *theirs)))
        .collect();
    let pick = |is_wanted: fn(&QueryResult, &QueryResult) -> bool| -> Pairs<'a> {
        let mut picked: Pairs<'a> =
            pairs.iter().copied().filter(|(ours, theirs)| is_wanted(ours, theirs)).collect();
        picked.sort_by_key(|(ours, theirs)| {
            (std::cmp::Reverse(ours.rank.max(theirs.rank)), ours.query_id.clone())
        });
        picked.truncate(N_QUERIES);
        picked
    };
    [
        ("Only this model ranks the photo first", pick(|ours, theirs| ours.rank == 1 && theirs.rank > 1)),
        ("Only the other ranks the photo first", pick(|ours, theirs| ours.rank > 1 && theirs.rank == 1)),
    ]
}

/// Writes pictures until the page is heavy enough.
struct Sheet<'a> {
    pictures: &'a BTreeMap<String, Picture>,
    n_bytes: usize,
    n_without: usize,
}

impl<'a> Sheet<'a> {
    fn new(extras: &'a Extras) -> Sheet<'a> {
        Sheet { pictures: &extras.pictures, n_bytes: 0, n_without: 0 }
    }

    /// An item of a row: the picture, or a box in its place, and what stands below it.
    fn put_item(&mut self, page: &mut String, class: &str, id: &str, alt: &str, below: &str) {
        put(page, format_args!("<li class=\"{class}\">"));
        match self.pictures.get(id).filter(|picture| self.n_bytes + picture.jpeg.len() <= MAX_BYTES) {
            Some(picture) => {
                self.n_bytes += picture.jpeg.len();
                put(
                    page,
                    format_args!(
                        "<img src=\"data:image/jpeg;base64,{}\" width=\"{}\" height=\"{}\" alt=\"{}\">",
                        STANDARD.encode(&picture.jpeg),
                        picture.size[0],
                        picture.size[1],
                        escape(alt)
                    ),
                );
            }
            None => {
                self.n_without += 1;
                page.push_str("<span class=\"none\">no picture</span>");
            }
        }
        put(page, format_args!("{below}</li>\n"));
    }

    /// The photos that a query found, the true one marked.
    fn put_hits(&mut self, page: &mut String, result: &QueryResult) {
        for (place, id) in result.top.iter().take(N_HITS).enumerate() {
            let is_true = *id == result.truth_id;
            let place = place + 1;
            let (alt, mark) = if is_true {
                (
                    format!("photo {id}, found at place {place}: the true one"),
                    "<span class=\"mark\">✓ true</span> ",
                )
            } else {
                (format!("photo {id}, found at place {place}"), "")
            };
            let below = format!("{place}. {mark}{}", escape(id));
            self.put_item(page, if is_true { "true" } else { "hit" }, id, &alt, &below);
        }
    }

    fn put_query(&mut self, page: &mut String, result: &QueryResult) {
        let (sketch, photo) = (&result.query_id, &result.truth_id);
        self.put_item(
            page,
            "own",
            sketch,
            &format!("sketch {sketch}"),
            &format!("sketch {}", escape(sketch)),
        );
        let below = format!("<span class=\"mark\">its photo</span> {}", escape(photo));
        self.put_item(page, "true", photo, &format!("photo {photo}, which the sketch is of"), &below);
    }

    fn put_end(&self, page: &mut String) {
        if self.n_without > 0 && self.n_bytes > 0 {
            put(
                page,
                format_args!(
                    "<p>{} pictures are left out, so that the page stays below {} MB.</p>\n",
                    self.n_without,
                    4 * MAX_BYTES / 3_000_000
                ),
            );
        }
    }
}

/// Best, typical and worst queries: sketch, true photo, and the first photos that were found.
pub(super) fn contact_sheet(report: &Report, extras: &Extras) -> String {
    let mut page = String::from("<p>The true photo has a thick green frame and the mark ✓.</p>\n");
    let mut sheet = Sheet::new(extras);
    for (id, title, results) in kinds(report) {
        put(&mut page, format_args!("<h3 id=\"{id}\">{title}</h3>\n"));
        for result in results {
            put(
                &mut page,
                format_args!(
                    "<div class=\"query\"><p>{}: rank {} of {}{}</p>\n<ul class=\"row\">\n",
                    escape(&result.query_id),
                    result.rank,
                    result.n_gallery,
                    if result.n_tied > 0 { format!(", tied with {}", result.n_tied) } else { String::new() }
                ),
            );
            sheet.put_query(&mut page, result);
            sheet.put_hits(&mut page, result);
            page.push_str("</ul></div>\n");
        }
    }
    sheet.put_end(&mut page);
    page
}

/// Queries on which two models differ, with what each found.
pub(super) fn differing(report: &Report, against: &Report, extras: &Extras) -> String {
    let mut page = String::new();
    let mut sheet = Sheet::new(extras);
    for (title, pairs) in differing_queries(report, against) {
        put(&mut page, format_args!("<h3>{title}</h3>\n"));
        if pairs.is_empty() {
            page.push_str("<p>No query.</p>\n");
        }
        for (ours, theirs) in pairs {
            put(
                &mut page,
                format_args!(
                    "<div class=\"query\"><p>{}: rank {} here, {} there</p>\n<ul class=\"row\">\n",
                    escape(&ours.query_id),
                    ours.rank,
                    theirs.rank
                ),
            );
            sheet.put_query(&mut page, ours);
            page.push_str("</ul><p>here</p>\n<ul class=\"row\">\n");
            sheet.put_hits(&mut page, ours);
            page.push_str("</ul><p>there</p>\n<ul class=\"row\">\n");
            sheet.put_hits(&mut page, theirs);
            page.push_str("</ul></div>\n");
        }
    }
    sheet.put_end(&mut page);
    page
}
