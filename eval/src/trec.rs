//! Rankings and truths in the formats that trec_eval and ranx read.
//!
//! A *run* has a line for each query and photo, `query Q0 photo rank score tag`; *qrels* a line for each match,
//! `query 0 photo 1`. Those tools order a run by its scores and each breaks ties in its own way, so the score written is
//! not the distance but the number of photos that are ranked behind, plus one: whole, distinct, and in the order in which
//! ties and NaN count against the model. So they give the same acc@k, MRR and mAP.
//!
//! Both are read too, of whatever pipeline: [`read_run`], [`read_qrels`], and [`judge`] makes results of them.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::atomic;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

use crate::accuracy::rows_of_truths;
use crate::{Error, Result};

mod lines;
mod run;

pub use run::{Judged, Run, judge, read_run};

/// The name of a run in a report's folder.
pub const RUN: &str = "run.trec";
/// The name of the truths in a report's folder.
pub const QRELS: &str = "qrels.trec";

/// Writes the first `depth` photos of every query (all, where `depth` is larger) as a run called `tag`, at once whole.
///
/// # Errors
/// Those of [`crate::rank_queries`]; [`Error::TrecId`] where an id or the tag is not one word, which the format
/// cannot hold; [`Error::Core`] where the file cannot be written.
pub fn write_run(
    path: &Path,
    queries: &Embeddings,
    gallery: &Embeddings,
    truth: &BTreeMap<String, Vec<String>>,
    distance: Distance,
    depth: usize,
    tag: &str,
) -> Result<()> {
    let truths = rows_of_truths(queries, gallery, truth)?;
    queries.ids().iter().chain(gallery.ids()).try_for_each(|id| check_word(id))?;
    check_word(tag)?;
    let n_photos = gallery.len();
    atomic::write_file(path, |out| {
        let failed = |e| Error::Core(sketchfind_core::Error::io("write", path)(e));
        for (row, query) in queries.ids().iter().enumerate() {
            let point = queries.row(row).unwrap_or_default();
            let distances: Vec<f64> = gallery.rows().map(|photo| distance.between(point, photo)).collect();
            let order = pessimistic_order(&distances, &truths[row]);
            for (place, &photo) in order.iter().take(depth).enumerate() {
                let (id, score) = (&gallery.ids()[photo], n_photos - place);
                writeln!(out, "{query} Q0 {id} {} {score} {tag}", place + 1).map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// Writes every query's matches, at once whole.
///
/// # Errors
/// [`Error::TrecId`]; [`Error::Core`] where the file cannot be written.
pub fn write_qrels(path: &Path, truth: &BTreeMap<String, Vec<String>>) -> Result<()> {
    truth
        .iter()
        .flat_map(|(query, matches)| std::iter::once(query).chain(matches))
        .try_for_each(|id| check_word(id))?;
    atomic::write_file(path, |out| {
        for (query, matches) in truth {
            for photo in matches {
                let failed = |e| Error::Core(sketchfind_core::Error::io("write", path)(e));
                writeln!(out, "{query} 0 {photo} 1").map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// Reads qrels: for each query the photos whose relevance is above 0, in the file's order.
///
/// # Errors
/// [`Error::ReportFile`] with the line and column of what is not `query 0 photo relevance`, or stands there twice.
pub fn read_qrels(path: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let text = lines::read(path)?;
    let mut truth: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in lines::of(&text) {
        let [query, _, photo, relevance] = line.fields(path, "query 0 photo relevance")?;
        let number: i64 = relevance.text.parse().map_err(|e| {
            line.broken(
                path,
                relevance,
                format!("the relevance is '{}', no whole number ({e})", relevance.text),
            )
        })?;
        if let Some(first) = seen.insert((query.text, photo.text), line.number) {
            let reason =
                format!("'{}' stands there twice for '{}', first in line {first}", photo.text, query.text);
            return Err(line.broken(path, photo, reason));
        }
        let matches = truth.entry(query.text.to_owned()).or_default();
        if number > 0 {
            matches.push(photo.text.to_owned());
        }
    }
    Ok(truth)
}

/// Photos nearest first; matches after all others that are not farther, and those without a distance first (others) or
/// last (matches).
fn pessimistic_order(distances: &[f64], matches: &[usize]) -> Vec<usize> {
    let mut order: Vec<(f64, bool, usize)> = distances
        .iter()
        .enumerate()
        .map(|(photo, &distance)| {
            let is_match = matches.contains(&photo);
            let key = match (distance.is_nan(), is_match) {
                (false, _) => distance,
                (true, false) => f64::NEG_INFINITY,
                (true, true) => f64::INFINITY,
            };
            (key, is_match, photo)
        })
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    order.into_iter().map(|(_, _, photo)| photo).collect()
}

fn check_word(text: &str) -> Result<()> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(Error::TrecId { id: text.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::places_of;
    use proptest::prelude::*;

    proptest! {
        /// A reader of the file finds every match where our own ranking has it.
        #[test]
        fn the_order_is_that_of_the_ranking(
            distances in proptest::collection::vec(prop_oneof![Just(f64::NAN), (0..4_u8).prop_map(f64::from)], 8),
            matches in proptest::collection::btree_set(0..8_usize, 1..4),
        ) {
            let matches: Vec<usize> = matches.into_iter().collect();
            let order = pessimistic_order(&distances, &matches);
            let places: Vec<usize> =
                (0..8).filter(|&place| matches.contains(&order[place])).map(|place| place + 1).collect();
            prop_assert_eq!(places, places_of(&distances, &matches));
        }
    }

    #[test]
    fn files_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let gallery = Embeddings::new(ids(&["a", "b", "c"]), 1, vec![0.0, 2.0, 4.0]).unwrap();
        let queries = Embeddings::new(ids(&["q"]), 1, vec![1.0]).unwrap();
        let truth = BTreeMap::from([("q".to_owned(), ids(&["a", "c"]))]);
        let (run, qrels) = (folder.path().join(RUN), folder.path().join(QRELS));
        write_run(&run, &queries, &gallery, &truth, Distance::Mse, 2, "ours").unwrap();
        // a and b are equally far; a, the match, comes second.
        assert_eq!(std::fs::read_to_string(&run).unwrap(), "q Q0 b 1 3 ours\nq Q0 a 2 2 ours\n");
        write_qrels(&qrels, &truth).unwrap();
        assert_eq!(std::fs::read_to_string(&qrels).unwrap(), "q 0 a 1\nq 0 c 1\n");
        assert_eq!(read_qrels(&qrels).unwrap(), truth);
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(QRELS);
        let spaced = BTreeMap::from([("a sketch".to_owned(), vec!["g".to_owned()])]);
        assert!(write_qrels(&path, &spaced).unwrap_err().to_string().contains("'a sketch'"));
        assert!(!path.exists());
        for (text, part) in [
            ("q 0 g", "line 1, column 6: it has 3 fields, expected 4, 'query 0 photo relevance'"),
            ("\n q 0 g 1 2", "line 2, column 10: it has 5 fields"),
            ("q 0 \u{fc} x", "line 1, column 7: the relevance is 'x'"),
            ("q 0 g 1\n\nq 0 g 0", "line 3, column 5: 'g' stands there twice for 'q', first in line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = read_qrels(&path).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        std::fs::write(&path, b"q 0 g 1\nq 0 \xff 1").unwrap();
        let message = read_qrels(&path).unwrap_err().to_string();
        assert!(message.contains("line 2, column 5: it is not UTF-8"), "{message}");
    }
}
