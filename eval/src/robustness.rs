//! Robustness: what is lost when sketches are deformed, clipped, or drawn with fewer strokes.
//!
//! Each sketch has several seeded versions of each kind of change, which `sketchfind-data` draws; here their acc@1 is set
//! against that of the sketches as they are. After 'Photo Pre-Training, But for Sketch' (CVPR 2023).

use crate::bootstrap::Groups;
use crate::estimate::{Bootstrap, Estimate};
use crate::paired::check_same_questions;
use crate::result::QueryResult;
use crate::{Error, Result};

/// The results of all versions of one kind of change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The change: `rotation`, `local`, `kept_0.60`, ...
    pub change: String,
    /// The results of each version, each of all sketches.
    pub versions: Vec<Vec<QueryResult>>,
}

/// What one kind of change costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Robustness {
    /// The change.
    pub change: String,
    /// Versions of each sketch.
    pub n_versions: usize,
    /// acc@1 over all versions of all sketches.
    pub acc1: Estimate,
    /// acc@1 of the sketches as they are, less that. Its interval is of the paired difference.
    pub drop: Estimate,
}

/// The drop of acc@1 under each change. Intervals resample photos, each with all its sketches and their versions.
///
/// # Errors
/// [`Error::Empty`] without queries or versions; [`Error::NotComparable`] where a version is of other queries or another
/// gallery; [`Error::OutOfRange`] on settings of the bootstrap.
pub fn robustness(
    original: &[QueryResult],
    changes: &[Changed],
    bootstrap: &Bootstrap,
) -> Result<Vec<Robustness>> {
    bootstrap.check()?;
    if original.is_empty() {
        return Err(Error::Empty { what: "query" });
    }
    let groups = Groups::by_photo(original);
    let right = |result: &QueryResult| f64::from(u8::from(result.rank == 1));
    let measure = |changed: &Changed| -> Result<Robustness> {
        if changed.versions.is_empty() {
            return Err(Error::Empty { what: "version of a sketch" });
        }
        for version in &changed.versions {
            check_same_questions(original, version)?;
        }
        let n_versions = changed.versions.len();
        let share = |query: usize| {
            changed.versions.iter().map(|version| right(&version[query])).sum::<f64>() / n_versions as f64
        };
        let acc1: Vec<Option<f64>> = (0..original.len()).map(|query| Some(share(query))).collect();
        let drop: Vec<Option<f64>> =
            original.iter().zip(&acc1).map(|(result, acc1)| acc1.map(|acc1| right(result) - acc1)).collect();
        let change = &changed.change;
        let columns = vec![(format!("acc@1_{change}"), acc1), (format!("acc@1_drop_{change}"), drop)];
        let mut estimates = groups.mean_estimates(bootstrap, change, columns).into_iter();
        match (estimates.next(), estimates.next()) {
            (Some(acc1), Some(drop)) => Ok(Robustness { change: change.clone(), n_versions, acc1, drop }),
            _ => Err(Error::Empty { what: "version of a sketch" }),
        }
    };
    changes.iter().map(measure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::with_ranks;

    #[test]
    fn a_drop_by_hand() {
        let original = with_ranks(&[1, 1, 2, 1], 2);
        let versions = vec![with_ranks(&[1, 2, 2, 1], 2), with_ranks(&[2, 2, 1, 1], 2)];
        let changes = [Changed { change: "rotation".into(), versions }];
        let found = robustness(&original, &changes, &Bootstrap::default()).unwrap();
        // Of eight, four are right; of the four originals, three.
        assert_eq!((found[0].acc1.value, found[0].drop.value), (0.5, 0.25));
        assert_eq!((found[0].n_versions, found[0].drop.n, found[0].drop.n_resampled), (2, 4, 2));
        assert!(found[0].drop.low <= 0.25 && 0.25 <= found[0].drop.high);
    }

    #[test]
    fn other_queries_are_refused() {
        let original = with_ranks(&[1, 1], 1);
        let run = |versions| {
            robustness(&original, &[Changed { change: "x".into(), versions }], &Bootstrap::default())
        };
        assert!(run(vec![with_ranks(&[1], 1)]).is_err());
        assert!(run(vec![]).is_err());
        assert!(robustness(&[], &[], &Bootstrap::default()).is_err());
    }
}
