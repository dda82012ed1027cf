//! Finding and loading the ONNX Runtime library.
//!
//! The library is opened at run time, so that a product chooses its own build of it (processor only, CUDA)
//! and this crate builds without it. Its version is read before anything else of it is called: `ort` hangs or
//! panics on a library that is too old (pykeio/ort#608).
//!
//! Nothing of a process that uses this crate is reported to ONNX Runtime's maker, see [`init`].

mod telemetry;

use std::collections::VecDeque;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::{Error, Result};

pub(crate) use telemetry::{OFF, VARIABLE, told};

/// The ONNX Runtime that this process has loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrtInfo {
    /// The library's file with links resolved, or its bare name where the system's loader found it.
    pub path: PathBuf,
    /// Its version, such as `1.30.0`.
    pub version: String,
}

struct Loaded {
    info: OrtInfo,
    environment: Environment,
}

static LOADED: OnceLock<Loaded> = OnceLock::new();
/// Held while loading: two threads must not load two libraries.
static LOADING: Mutex<()> = Mutex::new(());

/// Loads ONNX Runtime, unless this process has it already. Opening an [`Embedder`](crate::Embedder) does so
/// too; call this first to name a library, or to learn which one is used.
///
/// The first of these that there is decides, and is an error where it cannot be used:
/// 1. `explicit`;
/// 2. the environment variable `ORT_DYLIB_PATH` (a path, or a bare name for the system's loader);
/// 3. `libonnxruntime.so` (`.dylib`, `onnxruntime.dll`) beside the executable, and in `../lib` of its folder;
/// 4. whatever the system's loader finds under that name.
///
/// ONNX Runtime's own builds report to their maker, and leave files in the user's cache and the temporary folder, unless
/// they find `ORT_DISABLE_TELEMETRY=1` in the environment when they start. This crate sets it before `main`, and so also for
/// processes that are started from here. It cannot where the crate comes into a process that has threads already, as part of a
/// shared library that is loaded late: then it is for that process to set the variable, before it starts or before its first
/// thread does, and without it ONNX Runtime is refused. Python's wheel sets it when it is imported.
///
/// # Errors
/// [`Error::OrtMissing`] with every place looked at; [`Error::OrtUnusable`]; [`Error::OrtTooOld`];
/// [`Error::OrtTelemetry`] where telemetry is not off and cannot be switched off; [`Error::OrtAlreadyLoaded`] where `explicit` is not the library that is loaded already. After an error
/// another call may try again.
///
/// ```
/// let library = sketchfind::native::init(None)?;
/// assert!(library.version.starts_with("1."));
/// # Ok::<(), sketchfind::Error>(())
/// ```
pub fn init(explicit: Option<&Path>) -> Result<&'static OrtInfo> {
    let info = &load(explicit)?.info;
    match explicit {
        Some(asked) if resolved(asked) != info.path => {
            Err(Error::OrtAlreadyLoaded { loaded: info.path.clone(), asked: asked.to_owned() })
        }
        _ => Ok(info),
    }
}

/// The process's ONNX Runtime environment, loading the library where that has not happened yet.
pub(crate) fn environment() -> Result<(&'static Environment, &'static OrtInfo)> {
    load(None).map(|loaded| (&loaded.environment, &loaded.info))
}

fn load(explicit: Option<&Path>) -> Result<&'static Loaded> {
    if let Some(loaded) = LOADED.get() {
        return Ok(loaded);
    }
    let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have been first.
    if let Some(loaded) = LOADED.get() {
        return Ok(loaded);
    }
    let is_silent = telemetry::switch_off();
    let info = find(&places(explicit, std::env::var_os("ORT_DYLIB_PATH"), std::env::current_exe().ok()))?;
    telemetry::check(is_silent, &info.path)?;
    let unusable = |reason: String| Error::OrtUnusable { path: info.path.clone(), reason };
    let mut builder = ort::init_from(&info.path)
        .map_err(|e| unusable(e.to_string()))?
        .with_name("sketchfind")
        // For Windows, whose telemetry no variable switches off; elsewhere this alone would come too late.
        .with_telemetry(false);
    // ONNX Runtime writes its messages to stderr, which belongs to the product. They are kept for our own
    // errors instead, unless the user asks for them in ONNX Runtime's own way.
    let quiet = std::env::var_os("ORT_LOG").is_none();
    if quiet {
        builder = builder.with_logger(Arc::new(|level, _, _, _, message| remember(level, message)));
    }
    let environment = builder.build().map_err(|e| unusable(e.to_string()))?;
    if quiet {
        // With a logger of its own an environment starts at the level of every message.
        environment.set_log_level(LogLevel::Error);
    }
    Ok(LOADED.get_or_init(|| Loaded { info, environment }))
}

/// Where a library may be.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file that somebody named, and the words for who did. It has to be there.
    Named(PathBuf, &'static str),
    /// A file that may be there.
    Possible(PathBuf),
    /// A bare name that somebody set for the system's loader.
    NamedForLoader(PathBuf),
    /// The bare name that is tried last.
    Loader(PathBuf),
}

/// Every place to look at, in order.
fn places(explicit: Option<&Path>, variable: Option<OsString>, executable: Option<PathBuf>) -> Vec<Place> {
    if let Some(path) = explicit {
        return vec![Place::Named(path.to_owned(), "given by the program")];
    }
    if let Some(path) = variable.filter(|value| !value.is_empty()).map(PathBuf::from) {
        let is_bare_name = path.components().count() == 1 && !path.exists();
        return vec![if is_bare_name {
            Place::NamedForLoader(path)
        } else {
            Place::Named(path, "set by ORT_DYLIB_PATH")
        }];
    }
    let name = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    let mut places = Vec::new();
    // A program may be started through a link, in which case its libraries are where the link points.
    let executable = executable.map(|path| resolved(&path));
    if let Some(folder) = executable.as_deref().and_then(Path::parent) {
        places.push(Place::Possible(folder.join(&name)));
        places.extend(folder.parent().map(|above| Place::Possible(above.join("lib").join(&name))));
    }
    places.push(Place::Loader(PathBuf::from(name)));
    places
}

/// The first library that is there, checked.
fn find(places: &[Place]) -> Result<OrtInfo> {
    let mut looked_at = Vec::new();
    for place in places {
        match place {
            Place::Named(path, by) if !path.exists() => {
                looked_at.push(format!("'{}' ({by})", path.display()));
            }
            Place::Possible(path) if !path.exists() => looked_at.push(format!("'{}'", path.display())),
            // With links resolved: ONNX Runtime looks for its providers beside the path that it was opened
            // by.
            Place::Named(path, _) | Place::Possible(path) => return inspect(&resolved(path)),
            Place::NamedForLoader(name) => return inspect(name),
            Place::Loader(name) => match inspect(name) {
                Err(Error::OrtUnusable { reason, .. }) => {
                    looked_at.push(format!("the system's loader ({reason})"))
                }
                other => return other,
            },
        }
    }
    Err(Error::OrtMissing { looked_at })
}

/// The path with its links resolved, or as it is where it does not exist.
fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens a library, reads its version and checks it.
fn inspect(path: &Path) -> Result<OrtInfo> {
    let unusable = |reason: String| Error::OrtUnusable { path: path.to_owned(), reason };
    let version = version_of(path).map_err(unusable)?;
    let needed = ort::MINOR_VERSION;
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), Some(minor)) if minor >= needed => Ok(OrtInfo { path: path.to_owned(), version }),
        (Some(0 | 1), Some(_)) => {
            Err(Error::OrtTooOld { path: path.to_owned(), found: version, needed: format!("1.{needed}") })
        }
        _ => Err(unusable(format!("its version is '{version}', expected 1.{needed} or newer"))),
    }
}

/// The version that a library calls itself, through the two functions that every version of ONNX Runtime has.
// The foreign interface of ONNX Runtime can only be reached by unsafe code.
#[allow(unsafe_code)]
fn version_of(path: &Path) -> std::result::Result<String, String> {
    // SAFETY: opening a library runs its initialisers. It is the user's own choice of library, and is loaded
    // for good right after this.
    let library =
        unsafe { libloading::Library::new(path) }.map_err(|e| sketchfind_core::error::explain(&e))?;
    // Never closed: a library that has started threads or thread-local values must not be unmapped.
    let library = std::mem::ManuallyDrop::new(library);
    // SAFETY: `OrtGetApiBase` has had this one signature in every version of ONNX Runtime's C API.
    let get_base = unsafe {
        library.get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    }
    .map_err(|_source| "it does not export OrtGetApiBase, so it is not ONNX Runtime".to_owned())?;
    // SAFETY: the function takes nothing and returns a pointer to a constant that lives as long as the
    // library, which is for good; `as_ref` checks for null.
    let base = unsafe { get_base().as_ref() }.ok_or("OrtGetApiBase returned nothing")?;
    // SAFETY: the second member of `OrtApiBase` is this function in every version.
    let version = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err("it has no version".into());
    }
    // SAFETY: not null, and documented to be a null-terminated constant.
    Ok(unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned())
}

/// The last messages of ONNX Runtime: it tells the reason of a failure, such as which library a provider
/// lacks, in its log only.
static MESSAGES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
const N_MESSAGES: usize = 4;

fn remember(level: LogLevel, message: &str) {
    if level >= LogLevel::Error {
        let mut messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        messages.truncate(N_MESSAGES - 1);
        messages.push_front(message.trim().to_owned());
    }
}

/// Forgets the messages so far, so that [`explain`] speaks of what comes next.
pub(crate) fn forget_messages() {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// An error's words with ONNX Runtime's messages since [`forget_messages`] that it does not contain.
pub(crate) fn explain(error: &dyn std::fmt::Display) -> String {
    let mut text = error.to_string();
    for message in MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).iter().rev() {
        if !text.contains(message.as_str()) {
            text.push_str("; ");
            text.push_str(message);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> String {
        format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")
    }

    #[test]
    fn what_somebody_names_is_the_only_place() {
        let variable = Some(OsString::from("/b/libonnxruntime.so"));
        let exe = Some(PathBuf::from("/x/target/debug/deps/runtime"));
        let explicit = places(Some(Path::new("/a/lib.so")), variable.clone(), exe.clone());
        assert_eq!(explicit, [Place::Named("/a/lib.so".into(), "given by the program")]);
        let set = places(None, variable, exe.clone());
        assert_eq!(set, [Place::Named("/b/libonnxruntime.so".into(), "set by ORT_DYLIB_PATH")]);
        let bare = places(None, Some("libother.so".into()), exe);
        assert_eq!(bare, [Place::NamedForLoader("libother.so".into())]);
    }

    #[test]
    fn a_program_looks_beside_itself_and_in_no_folder_further_above() {
        let found = places(None, Some("".into()), Some("/x/bin/sketchfind".into()));
        let expected = [
            Place::Possible(Path::new("/x/bin").join(name())),
            Place::Possible(Path::new("/x/lib").join(name())),
            Place::Loader(name().into()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_library_lists_every_place_and_the_way_out() {
        let nowhere = [
            Place::Possible("/nowhere/a.so".into()),
            Place::Named("/nowhere/b.so".into(), "set by ORT_DYLIB_PATH"),
            Place::Loader("libsketchfind-does-not-exist.so".into()),
        ];
        let message = find(&nowhere).unwrap_err().to_string();
        for part in [
            "/nowhere/a.so",
            "/nowhere/b.so' (set by",
            "system's loader",
            "cargo xtask provision",
            "ORT_DYLIB_PATH to",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn why_a_library_does_not_load_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = folder.path().join(name());
        std::fs::write(&garbage, b"not a library").unwrap();
        let error = find(&[Place::Possible(garbage.clone())]).unwrap_err();
        assert!(matches!(&error, Error::OrtUnusable { path: p, .. } if p == &resolved(&garbage)), "{error}");
        // The loader's own words, which differ from system to system.
        let words = libloading_says(&garbage);
        assert!(!words.is_empty() && error.to_string().contains(&words), "{error}; expected {words}");
        if cfg!(target_os = "linux") {
            let needs = library_that_needs(folder.path(), "libsketchfind-nowhere.so");
            let error = find(&[Place::Possible(needs)]).unwrap_err();
            assert!(error.to_string().contains("libsketchfind-nowhere.so"), "{error}");
            let error = find(&[Place::Loader("libsketchfind-nowhere.so".into())]).unwrap_err();
            assert!(error.to_string().contains("No such file"), "{error}");
        }
    }

    #[allow(unsafe_code)]
    fn libloading_says(path: &Path) -> String {
        // SAFETY: the file is no library, so nothing of it runs.
        let error = unsafe { libloading::Library::new(path) }.unwrap_err();
        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
    }

    /// A library that needs another one, which is gone.
    fn library_that_needs(folder: &Path, other: &str) -> PathBuf {
        let source = folder.join("needs.rs");
        let code = "#[link(name = \"sketchfind-nowhere\")] unsafe extern \"C\" { safe fn nowhere(); }
                    #[unsafe(no_mangle)] pub extern \"C\" fn needed() { nowhere() }";
        std::fs::write(&source, code).unwrap();
        let other_source = folder.join("other.rs");
        std::fs::write(&other_source, "#[unsafe(no_mangle)] pub extern \"C\" fn nowhere() {}").unwrap();
        let path = folder.join("libneeds.so");
        compile(&other_source, &folder.join(other), &[]);
        compile(&source, &path, &["-L".as_ref(), folder.as_os_str()]);
        std::fs::remove_file(folder.join(other)).unwrap();
        path
    }

    fn compile(source: &Path, to: &Path, arguments: &[&std::ffi::OsStr]) {
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let status = std::process::Command::new(rustc)
            .args(["--crate-type=cdylib", "--crate-name=made", "--edition=2024", "-o"])
            .args([to, source])
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// A library that calls itself ONNX Runtime of some version, and can do nothing else.
    fn library_of_version(folder: &Path, version: &str) -> PathBuf {
        let (source, path) = (folder.join("old.rs"), folder.join(format!("{version}-{}", name())));
        let code = format!(
            "#[repr(C)] pub struct Base {{ api: extern \"system\" fn(u32) -> *const u8,
                                         version: extern \"system\" fn() -> *const u8 }}
             extern \"system\" fn api(_: u32) -> *const u8 {{ std::ptr::null() }}
             extern \"system\" fn version() -> *const u8 {{ c\"{version}\".as_ptr().cast() }}
             static BASE: Base = Base {{ api, version }};
             #[unsafe(no_mangle)] pub extern \"system\" fn OrtGetApiBase() -> *const Base {{ &BASE }}"
        );
        std::fs::write(&source, code).unwrap();
        compile(&source, &path, &[]);
        path
    }

    #[test]
    fn a_library_that_is_too_old_is_told_from_one_that_will_do() {
        let folder = tempfile::tempdir().unwrap();
        for (version, words) in [
            ("1.23.2", Some("found ONNX Runtime 1.23.2 at '")),
            ("0.5.0", Some("needs >= 1.24")),
            ("2.0.0", Some("its version is '2.0.0', expected 1.24 or newer")),
            ("rubbish", Some("its version is 'rubbish'")),
            ("1.24.0", None),
        ] {
            let path = library_of_version(folder.path(), version);
            let found = find(&[Place::Named(path.clone(), "given by the program")]);
            match words {
                Some(words) => {
                    let message = found.unwrap_err().to_string();
                    assert!(message.contains(words) && message.contains(version), "{message}");
                    assert!(message.contains(&path.file_name().unwrap().display().to_string()), "{message}");
                }
                None => {
                    assert_eq!(found.unwrap(), OrtInfo { path: resolved(&path), version: version.into() })
                }
            }
        }
    }

    #[test]
    fn messages_are_kept_once_and_the_oldest_go() {
        forget_messages();
        for number in 0..6 {
            remember(LogLevel::Error, &format!("message {number}\n"));
        }
        remember(LogLevel::Warning, "a warning");
        let text = explain(&"it failed: message 5");
        assert_eq!(text, "it failed: message 5; message 2; message 3; message 4");
    }
}
