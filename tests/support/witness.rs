//! A program in a fresh home, and what it does there: files, sockets, names that it looks up.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs::succeed;
use crate::surroundings::checkout;

/// A home, a temporary folder and a folder to work in, all empty, and a tracer that stands beside programs run in them.
pub struct Witness {
    folder: TempDir,
}

/// What a program may do about sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// Nothing.
    None,
    /// One on which it listens, and those of the clients that come.
    Server,
}

/// Files by which names are looked up.
const NAMES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/host.conf"];

impl Witness {
    /// Compiles the tracer.
    ///
    /// # Panics
    /// Where there is no C++ compiler.
    pub fn new() -> Witness {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        for name in ["home", "temporary", "work"] {
            std::fs::create_dir(folder.path().join(name)).unwrap_or_else(|error| panic!("{error}"));
        }
        let mut compiler = Command::new("c++");
        compiler.args(["-std=c++17", "-O1", "-o"]);
        compiler.arg(folder.path().join("witness")).arg(checkout().join("tests/support/witness.cpp"));
        succeed(&mut compiler);
        Witness { folder }
    }

    /// The folder to work in, where programs are asked to write.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The program with its arguments and variables, but in the fresh home, and watched.
    pub fn watch(&self, command: &Command) -> Command {
        let mut watched = Command::new(self.folder.path().join("witness"));
        watched.arg(self.log()).arg(command.get_program()).args(command.get_args()).current_dir(self.work());
        watched.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let [home, temporary] = ["home", "temporary"].map(|name| self.folder.path().join(name));
        watched.env("HOME", home).env("TMPDIR", temporary);
        watched
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Checks what the program that was run last did: that it wrote nowhere but under `written`, made no other sockets
    /// than `sockets`, looked no name up, and left home and temporary folder empty.
    ///
    /// # Panics
    /// Where it did more; says what.
    pub fn saw_nothing_else(&self, written: &[&Path], sockets: Sockets) {
        let log = std::fs::read_to_string(self.log()).unwrap_or_else(|error| panic!("{error}"));
        assert!(log.lines().any(|deed| deed.starts_with("read ")), "the witness saw nothing");
        let (mut wrong, mut n_listening) = (Vec::new(), 0);
        for deed in log.lines() {
            let (what, which) = deed.split_once(' ').unwrap_or((deed, ""));
            let is_fine = match what {
                "read" => !NAMES.contains(&which),
                "write" => {
                    which == "/dev/null" || written.iter().any(|path| Path::new(which).starts_with(path))
                }
                "socket" | "listen" => {
                    n_listening += usize::from(what == "listen");
                    sockets == Sockets::Server
                }
                _ => false,
            };
            if !is_fine {
                wrong.push(deed);
            }
        }
        let n_sockets = log.lines().filter(|deed| deed.starts_with("socket ")).count();
        assert!(
            n_sockets == n_listening,
            "{n_sockets} sockets, of which {n_listening} listen:\n{}",
            wrong.join("\n")
        );
        assert!(wrong.is_empty(), "it did what it was not asked for:\n{}", wrong.join("\n"));
        for name in ["home", "temporary"] {
            let left: Vec<_> = std::fs::read_dir(self.folder.path().join(name))
                .unwrap_or_else(|error| panic!("{error}"))
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| !written.iter().any(|written| path.starts_with(written)))
                .collect();
            assert!(left.is_empty(), "it left {left:?}");
        }
    }
}

impl Default for Witness {
    fn default() -> Witness {
        Witness::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::{as_a_person_has_it, run};

    fn does(script: &str) -> Result<(), String> {
        let witness = Witness::new();
        let mut shell = Command::new("/bin/sh");
        let said = run(&mut witness.watch(as_a_person_has_it(shell.args(["-c", script]))));
        assert_eq!(said.code, Some(7), "{}{}", said.out, said.err);
        let seen = || witness.saw_nothing_else(&[&witness.work()], Sockets::None);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(seen))
            .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
    }

    #[test]
    fn a_witness_tells_what_was_not_asked_for() {
        does("echo fine > asked; cat asked > /dev/null; mkdir -p made/deep; mv asked made/; exit 7").unwrap();
        for (script, part) in [
            ("echo > \"$HOME/left\"; exit 7", "write "),
            ("mkdir \"$HOME/left\" && rmdir \"$HOME/left\"; exit 7", "home/left"),
            ("cd \"$TMPDIR\"; echo > log & wait; exit 7", "temporary/log"),
            ("ln -s /nowhere \"$TMPDIR/link\"; exit 7", "temporary/link"),
            ("cat /etc/hosts > /dev/null; exit 7", "read /etc/hosts"),
            ("getent ahosts localhost > /dev/null; exit 7", "socket"),
        ] {
            let error = does(script).unwrap_err();
            assert!(error.contains(part), "{script}: {error}");
        }
    }
}
