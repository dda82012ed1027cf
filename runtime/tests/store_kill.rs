//! A writing process is killed, or its disk is full: what it said was done is there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sketchfind::{Gallery, Photo};
use sketchfind_core::random::Stream;

use crate::store::{embedding, empty, id, write};

/// What tells a run of this test binary that it is the writing process, and where to write.
const GALLERY: &str = "SKETCHFIND_TEST_WRITER";

/// Starts this test binary as a process that runs [`the_writing_process`] alone.
fn start(gallery: &Path, shell: Option<&str>) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = match shell {
        None => Command::new(program),
        Some(script) => {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(program);
            command
        }
    };
    command.args(["store_kill::the_writing_process", "--exact", "--nocapture"]);
    command.env(GALLERY, gallery).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Adds photos and now and then removes one or compacts, and says each when it is done, until it is killed or fails.
/// Nothing happens here in an ordinary run of the tests.
#[test]
fn the_writing_process() {
    let Some(path) = std::env::var_os(GALLERY) else {
        return;
    };
    let gallery = write(Path::new(&path));
    let first = gallery.snapshot().photos().last().map_or(0, |(photo, _)| number_of(photo.id()) + 1);
    for number in first..first + 100_000 {
        if let Err(error) = gallery.add(vec![Photo::new(id(number))], embedding(number)) {
            println!("\nfailed {error}");
            let again = gallery.add(vec![Photo::new(id(number))], embedding(number));
            println!("\nagain {}", again.is_err());
            return;
        }
        println!("\nadded {number}");
        if number % 3 == 0 {
            gallery.remove(&[id(number)]).unwrap();
            println!("\nremoved {number}");
        }
        if number % 7 == 0 && gallery.checkpoint().is_err() {
            println!("\nno checkpoint");
        }
        if number % 31 == 0 && gallery.compact(Default::default(), Default::default()).is_err() {
            println!("\nnot compacted");
        }
    }
}

fn number_of(id: &str) -> usize {
    id.trim_start_matches("photo ").parse().unwrap()
}

/// What a process has said, as numbers of photos: all that were added, and those removed of them.
fn said(child: &mut Child, until: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>, Vec<String>) {
    let (mut added, mut removed, mut other) = (vec![], vec![], vec![]);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        // A line that was cut off by the kill says nothing.
        match line.split_once(' ') {
            Some(("added", number)) => added.extend(number.parse::<usize>()),
            Some(("removed", number)) => removed.extend(number.parse::<usize>()),
            _ => other.push(line),
        }
        if until(added.len()) {
            child.kill().unwrap();
        }
    }
    (added, removed, other)
}

#[test]
fn killing_the_writer_loses_nothing_that_it_acknowledged() {
    let n_kills =
        if std::env::var_os("SKETCHFIND_SLOW_TESTS").is_some_and(|value| value == "1") { 100 } else { 12 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    drop(empty(&path));
    let mut stream = Stream::new(3, "kills", &[]);
    let mut n_total = 0;
    let mut expected = std::collections::BTreeSet::new();
    for round in 0..n_kills {
        let mut child = start(&path, None);
        // By count, so that it dies in the middle of work however slow the machine is; a moment later, so that it does
        // not always die where it speaks.
        let (n, pause) = (1 + stream.below(40), Duration::from_micros(stream.below(900) as u64));
        let (added, removed, _) = said(&mut child, |n_added| {
            if n_added == n {
                std::thread::sleep(pause);
            }
            n_added >= n
        });
        child.wait().unwrap();
        n_total += added.len();
        expected.extend(&added);
        expected.retain(|number| !removed.contains(number));
        let gallery = Gallery::open(&path).unwrap();
        let snapshot = gallery.snapshot();
        let found: std::collections::BTreeSet<usize> =
            snapshot.photos().map(|(photo, _)| number_of(photo.id())).collect();
        // At most one change was under way.
        let last = added.last().copied().unwrap_or(0);
        let difference: Vec<&usize> = expected.symmetric_difference(&found).collect();
        assert!(difference.len() <= 1, "round {round}: {difference:?} of {added:?}");
        for &&number in &difference {
            let added_unsaid = found.contains(&number) && number > last;
            let removed_unsaid = !found.contains(&number) && number == last && number % 3 == 0;
            assert!(added_unsaid || removed_unsaid, "round {round}: {number}, last was {last}");
        }
        for (photo, row) in snapshot.photos() {
            assert_eq!(row, embedding(number_of(photo.id())));
        }
        expected = found;
    }
    assert!(n_total > n_kills, "only {n_total} photos were added");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_changes_nothing() {
    // No file of the process may grow beyond a size, which the system says as it says that a disk is full: in the
    // middle of a write.
    for n_blocks in [9, 10, 12, 17, 24, 40] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        drop(empty(&path));
        // Blocks of 512 bytes.
        let mut child =
            start(&path, Some(&format!("trap '' XFSZ; ulimit -f {n_blocks}; exec \"$0\" \"$@\"")));
        let (added, removed, other) = said(&mut child, |_| false);
        child.wait().unwrap();
        assert!(other.iter().any(|line| line.starts_with("failed cannot write '")), "{other:?}");
        assert!(other.iter().any(|line| line == "again true"), "{other:?}");
        let gallery = write(&path);
        assert_eq!(gallery.len(), added.len() - removed.len(), "{n_blocks}");
        gallery.add(vec![Photo::new("more")], embedding(0)).unwrap();
        gallery.compact(Default::default(), Default::default()).unwrap();
        assert_eq!(Gallery::open(&path).unwrap().len(), added.len() - removed.len() + 1);
    }
}
