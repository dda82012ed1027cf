//! Files and folders that appear whole or not at all.
//!
//! Everything is written beside its destination, synced, and renamed into place, so that a crash at any moment
//! leaves either the old state or the new one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Writes `path` atomically: `fill` writes into a temporary file in the same folder, which then replaces `path`.
///
/// # Errors
/// [`Error::Io`] where the folder cannot be written; any error of `fill`, in which case `path` is unchanged.
pub fn write_file<E: From<Error>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let parent = parent_of(path);
    fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
    let temporary = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(&parent)
        .map_err(Error::io("create a temporary file in", &parent))?;
    let mut buffered = std::io::BufWriter::new(temporary);
    fill(&mut buffered)?;
    let temporary = buffered.into_inner().map_err(|e| Error::io("write", path)(e.into_error()))?;
    temporary.as_file().sync_all().map_err(Error::io("write", path))?;
    // A temporary file is private by default; what is published is as readable as any other file.
    make_readable(temporary.as_file()).map_err(Error::io("write", path))?;
    temporary.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    sync_folder(&parent)?;
    Ok(())
}

/// Writes `bytes` to `path` atomically.
///
/// # Errors
/// [`Error::Io`]; `path` is then unchanged.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file(path, |out| out.write_all(bytes).map_err(Error::io("write", path)))
}

/// Builds the folder `path` atomically: `fill` fills a temporary folder beside it, which then becomes `path`.
/// An existing folder at `path` is replaced in one step where the system can, and only removed afterwards.
///
/// # Errors
/// [`Error::Io`]; any error of `fill`. Either way an existing folder at `path` stays as it was.
pub fn write_folder<T, E: From<Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let parent = parent_of(path);
    fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
    let temporary = tempfile::Builder::new()
        .prefix(".partial-")
        .tempdir_in(&parent)
        .map_err(Error::io("create a temporary folder in", &parent))?;
    let filled = temporary.path().join("new");
    fs::create_dir(&filled).map_err(Error::io("create", &filled))?;
    let value = fill(&filled)?;
    sync_tree(&filled)?;
    if path.exists() {
        replace_folder(path, &filled, &temporary.path().join("old"))?;
    } else {
        fs::rename(&filled, path).map_err(Error::io("write", path))?;
    }
    sync_folder(&parent)?;
    Ok(value)
}

/// Moves the folder `from`, which is whole, to `to` on the same file system. An existing folder at `to` is replaced in
/// one step where the system can, and only removed afterwards.
///
/// # Errors
/// [`Error::Io`]; an existing folder at `to` then stays as it was.
pub fn move_folder(from: &Path, to: &Path) -> Result<()> {
    let parent = parent_of(to);
    if to.exists() {
        let temporary = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(&parent)
            .map_err(Error::io("create a temporary folder in", &parent))?;
        let (new, old) = (temporary.path().join("new"), temporary.path().join("old"));
        fs::rename(from, &new).map_err(Error::io("move", from))?;
        if let Err(error) = replace_folder(to, &new, &old) {
            fs::rename(&new, from).map_err(Error::io("restore", from))?;
            return Err(error);
        }
    } else {
        fs::rename(from, to).map_err(Error::io("write", to))?;
    }
    sync_folder(&parent)
}

/// Whether a folder may be written at `path`: nothing is there, or an empty folder, or one that holds a file called
/// `marker` and so is of the kind that is to be written. Anything else is somebody's.
///
/// # Errors
/// [`Error::Io`] where `path` cannot be looked at; it is an error too where it is a file.
pub fn is_free_for(path: &Path, marker: &str) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(path.join(marker).is_file() || entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::io("read the folder", path)(error)),
    }
}

/// Puts the folder `new` in the place of `path`. Linux exchanges the two in one step; elsewhere the old folder is moved
/// to `old` first, and a crash between the two moves leaves it there.
fn replace_folder(path: &Path, new: &Path, old: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
        // Some file systems cannot exchange.
    }
    fs::rename(path, old).map_err(Error::io("replace", path))?;
    if let Err(source) = fs::rename(new, path) {
        // Put the old folder back: it held what the user had.
        fs::rename(old, path).map_err(Error::io("restore", path))?;
        return Err(Error::Io { action: "write", path: path.to_owned(), source });
    }
    Ok(())
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))
}

fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|f| f.sync_all()).map_err(Error::io("sync", &path))?;
        }
    }
    sync_folder(folder)
}

#[cfg(unix)]
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value.txt");
        write_bytes(&path, b"old").unwrap();
        let failed: Result<()> = write_file(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(Error::malformed(Path::new("x"), "stop"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_is_ours_or_empty_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        assert!(is_free_for(&path, "marker").unwrap());
        fs::create_dir(&path).unwrap();
        assert!(is_free_for(&path, "marker").unwrap());
        write_bytes(&path.join("thesis.tex"), b"years of work").unwrap();
        assert!(!is_free_for(&path, "marker").unwrap());
        write_bytes(&path.join("marker"), b"").unwrap();
        assert!(is_free_for(&path, "marker").unwrap());
        assert!(is_free_for(&path.join("thesis.tex"), "marker").is_err());
    }

    #[test]
    fn a_folder_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        write_folder::<_, Error>(&path, |new| write_bytes(&new.join("a"), b"1")).unwrap();
        write_folder::<_, Error>(&path, |new| write_bytes(&new.join("b"), b"2")).unwrap();
        assert!(!path.join("a").exists() && path.join("b").exists());
        let failed: Result<()> = write_folder(&path, |new| {
            write_bytes(&new.join("c"), b"3")?;
            Err(Error::malformed(Path::new("x"), "stop"))
        });
        assert!(failed.is_err());
        assert!(path.join("b").exists() && !path.join("c").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
