//! Runs of whatever pipeline, read strictly, and what their qrels say of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sketchfind_core::fingerprint;
use sketchfind_core::unicode::{Meant, Names};

use super::lines;
use crate::accuracy::{N_TOP, places_of};
use crate::paired::{difference_of_ids, first_few};
use crate::result::QueryResult;
use crate::{Error, Result};

/// A run as it was read: for each query photos with their scores.
#[derive(Clone, Debug)]
pub struct Run {
    path: PathBuf,
    tag: String,
    sha256: String,
    queries: BTreeMap<String, Ranked>,
}

/// The photos of one query.
#[derive(Clone, Debug)]
struct Ranked {
    /// The line where it begins.
    line: usize,
    /// Photos and their scores, the larger the better.
    scores: Vec<(String, f64)>,
}

impl Run {
    /// What the run calls itself.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Reads a run, `query Q0 photo rank score tag` on each line, in any order of lines. As with trec_eval the scores decide, the
/// larger the better; a rank that says otherwise is refused, since then the score may be a distance.
///
/// # Errors
/// [`Error::ReportFile`] with the line and column of what is no such line: another number of fields, a rank that is no whole
/// number, a score that is no finite one, another tag than that of the first line, a photo that stands there twice for its
/// query, a rank that contradicts a score; also where there is no line at all.
pub fn read_run(path: &Path) -> Result<Run> {
    let text = lines::read(path)?;
    let mut tag: Option<(&str, usize)> = None;
    let mut by_query: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in lines::of(&text) {
        let [query, _, photo, rank, score, own_tag] = line.fields(path, "query Q0 photo rank score tag")?;
        let broken = |field, reason: String| line.broken(path, field, reason);
        let rank_number = rank.text.parse::<u64>();
        let rank_number = rank_number
            .map_err(|e| broken(rank, format!("the rank is '{}', no whole number ({e})", rank.text)))?;
        let value = score.text.parse::<f64>().ok().filter(|value| value.is_finite());
        let value =
            value.ok_or_else(|| broken(score, format!("the score is '{}', no finite number", score.text)))?;
        let (first_tag, of_line) = *tag.get_or_insert((own_tag.text, line.number));
        if own_tag.text != first_tag {
            let reason = format!(
                "the tag is '{}', in line {of_line} '{first_tag}': one file is one run",
                own_tag.text
            );
            return Err(broken(own_tag, reason));
        }
        if let Some(first) = seen.insert((query.text, photo.text), line.number) {
            let reason =
                format!("'{}' stands there twice for '{}', first in line {first}", photo.text, query.text);
            return Err(broken(photo, reason));
        }
        let entry = Entry { line, score, photo: photo.text, rank: rank_number, value };
        by_query.entry(query.text).or_default().push(entry);
    }
    let Some((tag, _)) = tag else {
        return Err(Error::report_file(path, "it has no line, expected 'query Q0 photo rank score tag'"));
    };
    let mut queries = BTreeMap::new();
    for (query, mut entries) in by_query {
        let line = entries.iter().map(|entry| entry.line.number).min().unwrap_or(0);
        entries.sort_by(|a, b| a.rank.cmp(&b.rank).then(b.value.total_cmp(&a.value)));
        let is_against = |pair: &&[Entry<'_>]| pair[0].rank < pair[1].rank && pair[0].value < pair[1].value;
        if let Some([better, worse]) = entries.windows(2).find(is_against) {
            let reason = format!(
                "rank {} has the score {}, rank {} of line {} only {}: the larger score is the better one; is it a distance?",
                worse.rank, worse.value, better.rank, better.line.number, better.value
            );
            return Err(worse.line.broken(path, worse.score, reason));
        }
        let scores = entries.into_iter().map(|entry| (entry.photo.to_owned(), entry.value)).collect();
        queries.insert(query.to_owned(), Ranked { line, scores });
    }
    let sha256 = fingerprint::of_bytes(text.as_bytes());
    Ok(Run { path: path.to_owned(), tag: tag.to_owned(), sha256, queries })
}

/// One line of a run.
struct Entry<'a> {
    line: lines::Line<'a>,
    score: lines::Field<'a>,
    photo: &'a str,
    rank: u64,
    value: f64,
}

/// What a run found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// One result a query of the qrels, in order of ids. A match that the run does not hold has the rank
    /// [`QueryResult::UNRANKED`], counts in no acc@k, and its query's 1 / rank is 0, as with trec_eval; so it has no part in the
    /// average precision. There are no distances.
    pub results: Vec<QueryResult>,
    /// The photos that the run holds, sorted, where it ranks every one of them for every query, and no other run holds more; else
    /// nothing, since then it is cut off, and says not what the gallery was.
    pub gallery: Option<Vec<String>>,
    /// The number of queries of which the run holds no match.
    pub n_unranked: usize,
}

/// What each of `runs` found of the matches in `qrels`, which name each query's own photo first: queries of one photo are
/// resampled together. Photos of equal score are ordered as [`rank_of`](crate::rank_of) does, a match behind all others; no
/// other rule, such as trec_eval's by id, says more of a pipeline.
///
/// # Errors
/// [`Error::Empty`] without queries; [`Error::NoTruth`] where one has no match; [`Error::ReportFile`] where a run lacks a query
/// of the qrels, or has one that they do not have; [`Error::NotComparable`] where runs that are not cut off rank other photos;
/// [`Error::TruthNotInGallery`] where a match is not among these.
pub fn judge(runs: &[Run], qrels: &BTreeMap<String, Vec<String>>) -> Result<Vec<Judged>> {
    if qrels.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    if let Some((query, _)) = qrels.iter().find(|(_, matches)| matches.is_empty()) {
        return Err(Error::NoTruth { query: query.clone() });
    }
    let queries = Names::new(qrels.keys().map(String::as_str));
    let ranked = runs.iter().map(|run| run.by_queries(&queries, qrels)).collect::<Result<Vec<_>>>()?;
    let of_run = |run: &Run| -> BTreeSet<String> {
        run.queries.values().flat_map(|ranked| &ranked.scores).map(|(photo, _)| photo.clone()).collect()
    };
    let photos: Vec<BTreeSet<String>> = runs.iter().map(of_run).collect();
    // A run of fewer photos than another is cut off, though a collapsed model may have the same few for every query.
    let most = photos.iter().map(BTreeSet::len).max().unwrap_or(0);
    let is_whole = |(run, photos): &(&Run, &BTreeSet<String>)| {
        photos.len() == most && run.queries.values().all(|ranked| ranked.scores.len() == most)
    };
    let whole: Vec<bool> = runs.iter().zip(&photos).map(|both| is_whole(&both)).collect();
    let mut of_whole = photos.iter().zip(&whole).filter(|(_, whole)| **whole).map(|(photos, _)| photos);
    if let Some(first) = of_whole.next()
        && let Some(other) = of_whole.find(|other| *other != first)
    {
        let [first, other] = [first, other].map(|ids| ids.iter().cloned().collect::<Vec<_>>());
        let reason = format!("photos of runs {}", difference_of_ids(&first, &other));
        return Err(Error::NotComparable { reason });
    }
    let known = photos.iter().flatten().map(String::as_str).collect::<BTreeSet<_>>();
    let names = Names::new(known.iter().copied());
    // Ids are the same in every form of Unicode.
    let meant = |id: &String| match names.meant_by(id) {
        Meant::One(known) => known.to_owned(),
        _ => id.clone(),
    };
    let truth: BTreeMap<&str, Vec<String>> =
        qrels.iter().map(|(query, ids)| (query.as_str(), ids.iter().map(meant).collect())).collect();
    let matches = truth.values().flatten().map(String::as_str);
    let n_gallery = known.iter().copied().chain(matches).collect::<BTreeSet<_>>().len();
    let mut judged = Vec::with_capacity(runs.len());
    for ((ranked, photos), whole) in ranked.iter().zip(&photos).zip(whole) {
        if whole {
            let absent = |ids: &Vec<String>| ids.iter().find(|id| !photos.contains(*id)).cloned();
            if let Some((query, truth)) = truth.iter().find_map(|(query, ids)| Some((query, absent(ids)?))) {
                return Err(Error::TruthNotInGallery { query: (*query).to_owned(), truth });
            }
        }
        let results: Vec<QueryResult> = truth
            .iter()
            .map(|(query, matches)| result_of(query, matches, &ranked[*query].scores, n_gallery))
            .collect();
        let n_unranked = results.iter().filter(|one| one.rank == QueryResult::UNRANKED).count();
        let gallery = whole.then(|| photos.iter().cloned().collect());
        judged.push(Judged { results, gallery, n_unranked });
    }
    Ok(judged)
}

impl Run {
    /// What it ranked for each query of the qrels, under the names that these have there.
    fn by_queries<'a>(
        &'a self,
        names: &Names<'a>,
        qrels: &'a BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<&'a str, &'a Ranked>> {
        let mut found: BTreeMap<&str, &Ranked> = BTreeMap::new();
        for (query, ranked) in &self.queries {
            let Meant::One(known) = names.meant_by(query) else {
                let reason = format!("line {}: the qrels have no query '{query}'", ranked.line);
                return Err(Error::report_file(&self.path, reason));
            };
            if let Some(other) = found.insert(known, ranked) {
                let reason = format!(
                    "the query '{known}' stands there in two forms of Unicode, in line {} and {}",
                    other.line, ranked.line
                );
                return Err(Error::report_file(&self.path, reason));
            }
        }
        let missing: Vec<&str> =
            qrels.keys().map(String::as_str).filter(|query| !found.contains_key(query)).collect();
        if !missing.is_empty() {
            let (n, of, some) = (missing.len(), qrels.len(), first_few(&missing));
            let reason = format!("it has no line for {n} of the {of} queries of the qrels ({some})");
            return Err(Error::report_file(&self.path, reason));
        }
        Ok(found)
    }
}

fn result_of(query: &str, matches: &[String], scores: &[(String, f64)], n_gallery: usize) -> QueryResult {
    let distances: Vec<f64> = scores.iter().map(|(_, score)| -score).collect();
    let rows: Vec<usize> = (0..scores.len()).filter(|&row| matches.contains(&scores[row].0)).collect();
    let places = if rows.is_empty() { Vec::new() } else { places_of(&distances, &rows) };
    let best = rows.iter().map(|&row| distances[row]).min_by(f64::total_cmp);
    let n_tied = (0..scores.len()).filter(|row| Some(distances[*row]) == best && !rows.contains(row)).count();
    let precisions = places.iter().zip(1..).map(|(&place, nth)| f64::from(nth) / place as f64);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]).then_with(|| scores[a].0.cmp(&scores[b].0)));
    QueryResult {
        query_id: query.to_owned(),
        truth_id: matches.first().cloned().unwrap_or_default(),
        n_matches: matches.len(),
        rank: places.first().copied().unwrap_or(QueryResult::UNRANKED),
        n_tied,
        average_precision: precisions.sum::<f64>() / matches.len() as f64,
        truth_distance: f64::NAN,
        first_distance: f64::NAN,
        top: order.into_iter().take(N_TOP).map(|row| scores[row].0.clone()).collect(),
        n_gallery,
        closeness: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_qrels;
    use super::*;
    use crate::estimate::Bootstrap;
    use crate::paired::compare;
    use crate::summary::summarise_at;

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn scores_decide_and_ties_count_against_the_run() {
        let folder = tempfile::tempdir().unwrap();
        // Lines in any order; ranks that say nothing; b is as good as a, the match, and so before it.
        let run =
            written(folder.path(), "r", "q Q0 a 1 0.5 x\np Q0 c 1 -1e3 x\nq Q0 b 1 0.5 x\nq Q0 c 1 0.75 x\n");
        let qrels = BTreeMap::from([
            ("p".to_owned(), vec!["a".to_owned()]),
            ("q".to_owned(), vec!["a".to_owned(), "z".to_owned()]),
        ]);
        let judged = judge(&[read_run(&run).unwrap()], &qrels).unwrap().remove(0);
        let [p, q] = &judged.results[..] else { panic!("{judged:?}") };
        assert_eq!((q.rank, q.n_tied, q.n_matches, q.n_gallery), (3, 1, 2, 4));
        assert_eq!(q.top, ["c", "a", "b"]);
        // One of two matches is found, at place 3.
        assert!((q.average_precision - 1.0 / 3.0 / 2.0).abs() < 1e-15);
        assert_eq!((p.rank, p.reciprocal_rank(), p.average_precision), (QueryResult::UNRANKED, 0.0, 0.0));
        assert_eq!((judged.n_unranked, judged.gallery), (1, None));
        let summary = summarise_at(&judged.results, &[3, 1000], &Bootstrap::default()).unwrap();
        assert_eq!(summary.get("acc@3").unwrap().value, 0.5);
        assert_eq!(summary.get("acc@1000").unwrap().value, 0.5);
        assert_eq!(summary.get("mrr").unwrap().value, 1.0 / 6.0);
    }

    #[test]
    fn what_is_no_run_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for (text, part) in [
            ("", "it has no line"),
            ("q Q0 g 1 2", "line 1, column 11: it has 5 fields, expected 6"),
            ("q Q0 a b 1 2 t", "line 1, column 14: it has 7 fields"),
            ("q Q0 g first 2 t", "line 1, column 8: the rank is 'first'"),
            ("q Q0 g -1 2 t", "line 1, column 8: the rank is '-1'"),
            ("q Q0 g 1 NaN t", "line 1, column 10: the score is 'NaN'"),
            ("q Q0 g 1 inf t", "line 1, column 10: the score is 'inf'"),
            ("q Q0 g 1 2 t\nq Q0 h 2 1 u", "line 2, column 12: the tag is 'u', in line 1 't'"),
            (
                "q Q0 g 1 2 t\n\nq Q0 g 2 1 t",
                "line 3, column 6: 'g' stands there twice for 'q', first in line 1",
            ),
            (
                "q Q0 g 1 0.1 t\nq Q0 h 2 0.2 t",
                "line 2, column 10: rank 2 has the score 0.2, rank 1 of line 1 only 0.1",
            ),
        ] {
            let message = read_run(&written(folder.path(), "r.trec", text)).unwrap_err().to_string();
            assert!(message.contains("r.trec") && message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn queries_and_photos_must_be_those_of_the_qrels() {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str, text: &str| read_run(&written(folder.path(), name, text)).unwrap();
        let qrels = BTreeMap::from([
            ("caf\u{e9}".to_owned(), vec!["a".to_owned()]),
            ("q".to_owned(), vec!["b".to_owned()]),
        ]);
        let refused = |runs: &[Run]| judge(runs, &qrels).unwrap_err().to_string();
        let whole = "q Q0 a 1 2 t\nq Q0 b 2 1 t\ncafe\u{301} Q0 a 1 2 t\ncafe\u{301} Q0 b 2 1 t\n";
        let good = run("good", whole);
        let judged = judge(std::slice::from_ref(&good), &qrels).unwrap().remove(0);
        assert_eq!(judged.gallery.unwrap(), ["a", "b"]);
        assert_eq!(judged.results.iter().map(|one| one.rank).collect::<Vec<_>>(), [1, 2]);
        let message = refused(&[good.clone(), run("fewer", "q Q0 a 1 2 t\n")]);
        assert!(
            message.contains("fewer") && message.contains("1 of the 2 queries of the qrels (caf"),
            "{message}"
        );
        let message = refused(&[run("more", &format!("\nother Q0 a 1 1 t\n{whole}"))]);
        assert!(
            message.contains("more") && message.contains("line 2: the qrels have no query 'other'"),
            "{message}"
        );
        let message = refused(&[run("twice", &format!("caf\u{e9} Q0 a 1 2 t\n{whole}"))]);
        assert!(message.contains("two forms of Unicode, in line 4 and 1"), "{message}");
        let message = refused(&[good, run("other", &whole.replace(" b ", " z "))]);
        assert!(message.contains("only in the first: 1 (b); only in the second: 1 (z)"), "{message}");
        let message = refused(&[run("lost", &whole.replace(" b ", " z "))]);
        assert!(message.contains("'q' has the match 'b', which is not in the gallery"), "{message}");
        // The same photo for every query, and fewer than another run has: it is cut off.
        let cut = run("cut", "q Q0 a 1 2 t\ncafe\u{301} Q0 a 1 2 t\n");
        let judged = judge(&[run("again", whole), cut], &qrels).unwrap();
        assert_eq!((judged[1].gallery.as_ref(), judged[1].n_unranked), (None, 1));
        let none = BTreeMap::from([("q".to_owned(), Vec::new())]);
        assert!(matches!(judge(&[], &none).unwrap_err(), Error::NoTruth { .. }));
        assert!(matches!(judge(&[], &BTreeMap::new()).unwrap_err(), Error::Empty { .. }));
    }

    /// tests/reference/runs.py, made with ranx: two runs that are cut off, and scores of each.
    #[test]
    fn runs_equal_ranx() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
        let runs = ["runs_a.trec", "runs_b.trec"].map(|name| read_run(&folder.join(name)).unwrap());
        let judged = judge(&runs, &read_qrels(&folder.join("runs_qrels.trec")).unwrap()).unwrap();
        assert!(judged.iter().all(|one| one.n_unranked > 0 && one.gallery.is_none()));
        let bootstrap = Bootstrap { samples: 50, ..Bootstrap::default() };
        let summaries: Vec<_> =
            judged.iter().map(|one| summarise_at(&one.results, &[1, 5, 10], &bootstrap).unwrap()).collect();
        let mut n_lines = 0;
        for line in include_str!("../../tests/reference/runs_scores.csv").lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let summary = &summaries[usize::from(fields[0] == "b")];
            let ours = summary.get(fields[1]).unwrap().value;
            assert!((ours - fields[2].parse::<f64>().unwrap()).abs() < 1e-12, "{line}: {ours}");
            n_lines += 1;
        }
        assert_eq!(n_lines, 10);
        let [a, b] = &judged[..] else { panic!("{judged:?}") };
        let difference = compare(&a.results, &b.results, &[1, 5], &bootstrap).unwrap();
        let mrr = difference.get("mrr").unwrap().estimate.value;
        let expected = summaries[1].get("mrr").unwrap().value - summaries[0].get("mrr").unwrap().value;
        assert!((mrr - expected).abs() < 1e-12);
    }
}
