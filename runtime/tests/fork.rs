//! A process that forks: its child neither hangs nor takes anything from it.

// There is no fork without unsafe code.
#![allow(unsafe_code)]

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sketchfind::{
    Access, Cancel, Embedder, EmbedderOptions, Error, Filter, Gallery, GalleryOptions, HnswParameters,
    IndexSpec, OnBroken, Photo, PhotoFile, Progress, Retriever, RetrieverOptions,
};
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::Image;

use crate::fixture;
use crate::store::{embedding, id};

/// What tells a run of this test binary that it is the process that forks, and where its gallery is.
const GALLERY: &str = "SKETCHFIND_TEST_FORK";
/// How long a process may take before it counts as one that hangs.
const LONGEST: Duration = Duration::from_secs(100);
/// Enough for a graph.
const N: usize = 1_100;

fn start(test: &str, gallery: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("fork::{test}"), "--exact", "--nocapture", "--test-threads=1"]);
    command.env(GALLERY, gallery).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a process and gives what it wrote to standard error; one that hangs is killed.
#[track_caller]
fn assert_succeeds(mut child: Child) {
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if started.elapsed() > LONGEST => {
                child.kill().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {text}");
}

/// Runs `work` in a child made by fork; 0 where it did not panic. The child ends at once, as those of Python's
/// multiprocessing do.
fn in_child(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child runs on the one thread that forked. That it may do more than a child of a process with threads should
    // is what is tested here.
    match unsafe { libc::fork() } {
        0 => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends the process without running what the parent would run at its end.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        child => child,
    }
}

#[track_caller]
fn assert_child_succeeds(child: libc::pid_t) {
    assert!(child > 0, "no child was made");
    let started = Instant::now();
    let mut status = 0;
    // SAFETY: the number is that of a child, and the place for its status is there.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if started.elapsed() > LONGEST / 2 {
            // SAFETY: it is our own child, which was not waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(status, 0, "the child failed");
}

fn make(path: &Path) {
    let values = (0..N).flat_map(embedding).collect();
    let embeddings = Embeddings::new((0..N).map(id).collect(), 3, values).unwrap();
    let parameters = HnswParameters { m: 4, ef_construction: 20, ef_search: 20 };
    let options = GalleryOptions::with_index(IndexSpec::Hnsw(parameters), "test");
    Gallery::create(path, fixture("mean8"), &embeddings, None, &options).unwrap();
}

#[track_caller]
fn assert_forked<T>(result: sketchfind::Result<T>, words: &str) {
    match result {
        Err(error @ Error::Forked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(words) && text.contains("open it in this process"), "{text}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a child may use it"),
    }
}

#[test]
fn a_child_is_refused_by_name_and_takes_nothing_from_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    make(&path);
    assert_succeeds(start("the_process_that_forks", &path));
    let gallery = Gallery::open(&path).unwrap();
    assert!(gallery.snapshot().photo("of the parent").is_some());
    assert!(gallery.snapshot().photo(&id(5)).is_none(), "an acknowledged removal is gone");
}

/// Nothing happens here in an ordinary run of the tests.
#[test]
fn the_process_that_forks() {
    let Some(path) = std::env::var_os(GALLERY) else { return };
    let path = Path::new(&path);
    let how = RetrieverOptions::cpu().with_sessions(2).writable();
    let mut opened = Some(Retriever::open(path, how).unwrap());
    let retriever = opened.as_ref().unwrap();
    let mut embedder = Embedder::open(fixture("mean8"), EmbedderOptions::cpu().with_threads(2)).unwrap();
    let red = Image::new(2, 2, [255, 0, 0].repeat(4)).unwrap();
    let expected = embedder.embed(std::slice::from_ref(&red)).unwrap();
    let found = retriever.query(&red, 3).unwrap();
    let snapshot = retriever.gallery().folder().unwrap().snapshot();
    retriever.remove(&[id(5)]).unwrap();

    // All of it in the child, as a pool's worker finds it.
    let child = in_child(|| {
        let retriever = opened.as_ref().unwrap();
        // The model alone goes on: it is loaded anew.
        assert_eq!(embedder.embed(std::slice::from_ref(&red)).unwrap(), expected);
        let files =
            [("a".to_owned(), fixture("photos/red.png")), ("b".to_owned(), fixture("photos/blue.png"))];
        let (progress, cancel) = (Progress::default(), Cancel::default());
        let embedded = embedder.embed_files(&files, OnBroken::Refuse, progress, cancel).unwrap();
        assert_eq!(embedded.embeddings.len(), 2);

        let gallery = "the gallery '";
        assert_forked(retriever.query(&red, 3), gallery);
        assert_forked(retriever.query_batch(std::slice::from_ref(&red), 3, &Filter::everything()), gallery);
        assert_forked(retriever.query_embedding(&[0.0; 3], 1, &Filter::everything()), "a snapshot");
        assert_forked(snapshot.search(&[0.0; 3], 1, &Filter::everything()), "a snapshot");
        assert_forked(retriever.embed_photos(std::slice::from_ref(&red)), gallery);
        assert_forked(retriever.add(Photo::new("of the child"), &red), gallery);
        assert_forked(retriever.replace(Photo::new(id(1)), &red), gallery);
        assert_forked(retriever.remove(&[id(1)]), gallery);
        let file = PhotoFile::new(Photo::new("file"), fixture("photos/red.png"));
        assert_forked(retriever.ingest(&[file], OnBroken::Refuse, progress, cancel), gallery);
        assert_forked(retriever.refresh(), gallery);
        assert_forked(retriever.compact(Default::default(), Default::default()), gallery);
        assert_forked(retriever.measure_costs(), gallery);
        assert_forked(retriever.gallery().folder().unwrap().checkpoint(), gallery);
        let file = path.with_extension("npy");
        assert_forked(retriever.gallery().export(&file, progress, cancel), gallery);
        assert_forked(retriever.check_process(), gallery);
        assert_forked(retriever.gallery().set_index(IndexSpec::Exact), gallery);
        assert_forked(retriever.gallery().build_index(progress, cancel), gallery);
        assert_forked(retriever.gallery().measure_recall(Default::default(), Default::default()), gallery);
        // It neither waits for threads that are not there nor unlocks what the parent has locked.
        drop(opened.take());
        drop(std::mem::replace(
            &mut embedder,
            Embedder::open(fixture("mean8"), EmbedderOptions::cpu()).unwrap(),
        ));
        assert!(matches!(Gallery::open_with(path, Access::Write), Err(Error::Locked { .. })));
        // What it opens itself it may use, with threads of its own: a graph is built and searched.
        let own = Retriever::open(path, EmbedderOptions::cpu()).unwrap();
        own.gallery().build_index(progress, cancel).unwrap();
        assert_eq!(own.gallery().n_lacking_graph(), 0);
        assert_eq!(own.query(&red, 3).unwrap()[0].distance, found[0].distance);
        // And so may a child of it.
        let grandchild = in_child(|| assert_forked(own.query(&red, 1), "the gallery '"));
        assert_child_succeeds(grandchild);
    });
    assert_child_succeeds(child);
    // The parent goes on as if nothing had been: the child has had a copy.
    let retriever = opened.as_ref().unwrap();
    let refused = Gallery::open_with(path, Access::Write);
    assert!(matches!(refused, Err(Error::Locked { .. })), "the child unlocked it");
    assert_eq!(retriever.query(&red, 3).unwrap().len(), 3);
    retriever.add(Photo::new("of the parent"), &red).unwrap();
    // A child that is killed, and one that only ends.
    let child = in_child(|| std::thread::sleep(LONGEST));
    // SAFETY: it is our own child.
    unsafe { libc::kill(child, libc::SIGKILL) };
    assert_child_succeeds(in_child(|| ()));
    assert!(matches!(Gallery::open_with(path, Access::Write), Err(Error::Locked { .. })));
    retriever.replace(Photo::new("of the parent").with_labels(["still"]), &red).unwrap();
}

#[test]
fn a_lock_ends_with_the_process_that_took_it_and_not_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    make(&path);
    let child = start("the_process_that_leaves_a_child_behind", &path);
    assert_succeeds(child);
    let writer = Gallery::open_with(&path, Access::Write);
    let orphan: libc::pid_t = std::fs::read_to_string(path.with_extension("child")).unwrap().parse().unwrap();
    // SAFETY: asks whether the process is there, and then ends it: it sleeps for longer than this test takes.
    let was_there = unsafe { libc::kill(orphan, 0) == 0 && libc::kill(orphan, libc::SIGKILL) == 0 };
    assert!(was_there);
    assert_eq!(writer.unwrap().len(), N);
}

/// Nothing happens here in an ordinary run of the tests.
#[test]
fn the_process_that_leaves_a_child_behind() {
    let Some(path) = std::env::var_os(GALLERY) else { return };
    let path = Path::new(&path);
    let gallery = Gallery::open_with(path, Access::Write).unwrap();
    let child = in_child(|| {
        // So that whoever reads what the parent writes sees its end.
        // SAFETY: standard input, output and error, which nobody uses any more.
        unsafe {
            for file in 0..3 {
                libc::close(file);
            }
        }
        std::thread::sleep(LONGEST);
    });
    std::fs::write(path.with_extension("child"), child.to_string()).unwrap();
    assert_eq!(gallery.len(), N);
    // SAFETY: ends the process as a kill does, without unlocking anything.
    unsafe { libc::_exit(0) };
}
