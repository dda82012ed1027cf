//! Exit codes, which scripts may rely on.

use std::process::ExitCode;

/// How a run of `sketchfind` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for was done.
    Success = 0,
    /// Something failed that is not the input's fault: a disk, a native library, a device.
    Failure = 1,
    /// The input is not what it should be: a data set, an image, a model, a gallery, a report.
    BadInput = 3,
    /// A check that was asked for did not pass: `verify`, `data check`.
    CheckFailed = 4,
    /// Done, but for inputs that could not be read or say that they failed, and were left out: `query --skip-broken`,
    /// `query --embeddings`, `index import`.
    SomeLeftOut = 5,
    /// Interrupted by Ctrl-C or SIGTERM; nothing half-made was left.
    Interrupted = 130,
}

/// The paragraph of `--help` that lists them. Code 2 is clap's, for wrong usage.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done; that nothing was found is an answer too, and is said
    1  failed for a reason outside the input: disk, database, native library, device
    2  wrong usage
    3  the input is not what it should be: data set, image, model, gallery (one without a model is asked with embeddings
       alone), embeddings, report
    4  a check that was asked for did not pass: verify, data check
    5  done, but for inputs that were left out: query --skip-broken, and rows with an error that index import and
       query --embeddings have read
  130  interrupted; nothing half-made was left, and index build, add and import go on where they were";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The code for an error, by the first of its causes that says whose fault it is.
pub(crate) fn of_error(error: &anyhow::Error) -> Exit {
    use sketchfind_core::Error as Core;
    for cause in error.chain() {
        if let Some(runtime) = cause.downcast_ref::<sketchfind::Error>() {
            return of_runtime(runtime);
        }
        if let Some(serve) = cause.downcast_ref::<sketchfind_serve::Error>() {
            return of_serve(serve);
        }
        if let Some(core) = cause.downcast_ref::<Core>() {
            return of_core(core);
        }
        if let Some(models) = cause.downcast_ref::<sketchfind_models::Error>() {
            return match models {
                sketchfind_models::Error::Core(core) => of_core(core),
                _ => Exit::BadInput,
            };
        }
        if let Some(eval) = cause.downcast_ref::<sketchfind_eval::Error>() {
            return match eval {
                sketchfind_eval::Error::Core(core) => of_core(core),
                sketchfind_eval::Error::Cancelled => Exit::Interrupted,
                _ => Exit::BadInput,
            };
        }
    }
    Exit::Failure
}

fn of_core(error: &sketchfind_core::Error) -> Exit {
    match error {
        // A path that the user named and that is not there is input; a disk that fails is not.
        sketchfind_core::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Exit::BadInput
        }
        sketchfind_core::Error::Io { .. } => Exit::Failure,
        _ => Exit::BadInput,
    }
}

fn of_runtime(error: &sketchfind::Error) -> Exit {
    use sketchfind::Error;
    match error {
        Error::Core(core) | Error::BrokenPicture { source: core, .. } => of_core(core),
        Error::Cancelled => Exit::Interrupted,
        // A model that does not load is not what it should be; a device that fails is not the model's fault.
        Error::Inference { action: "load", .. }
        | Error::Graph { .. }
        | Error::BrokenImage { .. }
        | Error::RepeatedId { .. }
        | Error::PhotoExists { .. }
        | Error::OtherSource { .. }
        | Error::OtherModel { .. }
        | Error::NoModel { .. }
        | Error::NoParquet { .. }
        | Error::NoPostgres { .. }
        | Error::OnlyFolder { .. }
        | Error::NoGallery { .. }
        | Error::Database { is_passing: false, .. }
        | Error::Gallery { .. } => Exit::BadInput,
        _ => Exit::Failure,
    }
}

fn of_serve(error: &sketchfind_serve::Error) -> Exit {
    use sketchfind_serve::Error;
    match error {
        Error::Runtime(runtime) => of_runtime(runtime),
        Error::Core(core) => of_core(core),
        Error::Changes { .. }
        | Error::Limit { .. }
        | Error::Token { .. }
        | Error::TokenFile { .. }
        | Error::Teach { .. } => Exit::BadInput,
        _ => Exit::Failure,
    }
}
