//! Studies: methods x seeds x data sets, each run trained, evaluated on the test split and kept, so that a study that
//! was interrupted goes on where it stopped. Results are one row a run and one row a method.
//!
//! The test split plays no part in training: a run is scored at its last epoch, and at the epoch that was best on
//! held-out training photos. Settings belong to held-out photos too; what a study shows of the test split is for
//! reporting. Its pictures are decoded once a data set, where they fit into `images.memory_mib` too; training images have as
//! much by themselves.
//!
//! ```text
//! OUT/runs.csv                              one row a run and checkpoint
//! OUT/summary.csv                           one row a method, data set and checkpoint, with the paired test against
//!                                           the first method; and of several data sets together, which is named 'all'
//! OUT/runs/<data set>/<method>/seed-<n>/    the run, and its reports test-last/, test-best/, test-initial/
//! OUT/neighbourhood/                        distances between training photos, shared by the runs
//! ```

use sketchfind_core::atomic;

mod options;
mod pictures;
mod plan;
mod rows;
mod summary;
mod trial;

pub use options::{StudyEvent, StudyOptions, StudyOutcome};
pub use plan::{Study, StudyDataset, StudyMethod};
pub use rows::{RUNS, RunRow, SCHEMA, SUMMARY, SummaryRow};

use rows::{Done, write_rows};
use summary::summarise;
use trial::Trials;

use crate::{Error, Result};

/// Runs a study, or what is left of it.
///
/// # Errors
/// Those of [`fit`](crate::fit::fit); [`Error::Run`] where `out` holds something else or runs of other settings.
pub fn study(options: &StudyOptions<'_>, observer: &(dyn Fn(StudyEvent<'_>) + Sync)) -> Result<StudyOutcome> {
    let (study, out) = (options.study, options.out);
    if !atomic::is_free_for(out, RUNS)? && !out.join("runs").is_dir() {
        return Err(Error::run(out, "the folder is not empty and holds no study"));
    }
    let n_runs = study.dataset.iter().map(|set| study.seeds_of(set).len() * study.method.len()).sum();
    let mut all: Vec<Done> = Vec::new();
    let mut number = 0;
    for dataset in &study.dataset {
        let mut trials = Trials::new(study, dataset)?;
        // Seeds outside of methods: what is done at any time can be compared.
        let seeds = study.seeds_of(dataset);
        for &seed in seeds {
            for method in &study.method {
                number += 1;
                let (dataset, method_name) = (&dataset.name, &method.name);
                observer(StudyEvent::Run { number, n_runs, dataset, method: method_name, seed });
                let is_first = method == &study.method[0] && seed == seeds[0];
                let done = match trials.run(options, method, seed, is_first, observer) {
                    Ok(Some(done)) => done,
                    Ok(None) | Err(Error::Interrupted) => return Ok(StudyOutcome::Interrupted),
                    Err(error) => return Err(error),
                };
                for done in &done {
                    observer(StudyEvent::Row(&done.row));
                }
                all.extend(done);
                write_rows(&out.join(RUNS), all.iter().map(|done| &done.row))?;
                write_rows(&out.join(SUMMARY), summarise(study, &all)?.iter())?;
            }
        }
    }
    Ok(StudyOutcome::Finished(summarise(study, &all)?))
}
