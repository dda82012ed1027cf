//! How many of the nearest a graph finds.

use sketchfind_index::Query;

use crate::home::{Look, Row};
use crate::{Cancel, Error, Filter, Match, Progress, Recall, Result, SearchOptions};

/// How many of the nearest are looked at.
const K: usize = 10;
/// Photos that are asked for at once.
const AT_ONCE: usize = 16;

/// How many of the ten nearest a graph finds, for photos of a sample that each ask for the others. `progress` is told photos of
/// the sample; `cancel` is asked between a few of them.
///
/// # Errors
/// Those of [`Look::search`]; [`Error::Cancelled`].
pub(crate) fn measured(
    look: &dyn Look,
    sample: &[Row],
    progress: Progress<'_>,
    cancel: Cancel<'_>,
) -> Result<Recall> {
    let queries = sample.iter().map(|row| Query::new(&row.embedding, look.width()));
    let queries = queries.collect::<std::result::Result<Vec<_>, _>>()?;
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for some in queries.chunks(AT_ONCE) {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let search = |options| look.search(some, K + 1, &Filter::everything(), options);
        expected.extend(search(SearchOptions::exact())?);
        found.extend(search(SearchOptions::default())?);
        progress.tell(found.len());
    }
    let (mut n_nearest, mut n_found) = (0, 0);
    for ((row, expected), found) in sample.iter().zip(&expected).zip(&found) {
        let others = |matches: &[Match]| -> Vec<f64> {
            let others = matches.iter().filter(|found| found.id != row.photo.id());
            others.take(K).map(|found| found.distance).collect()
        };
        let expected = others(expected);
        if let Some(farthest) = expected.last() {
            // As near as the farthest of them, so that equal distances do not count against a graph.
            n_found += others(found).iter().filter(|distance| *distance <= farthest).count() as u64;
            n_nearest += expected.len() as u64;
        }
    }
    let (n_queries, n_photos) = (sample.len() as u64, look.len()? as u64);
    Ok(Recall { k: K as u64, n_queries, n_photos, n_nearest, n_found })
}
