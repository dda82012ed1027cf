//! Lists of files: as arguments, or one a line in a file or on standard input.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind_core::Error;

/// What stands for standard input in the place of a file. A file of that name is called `./-`.
pub(crate) const STANDARD_INPUT: &str = "-";
/// The longest line of a list, in bytes: no path is longer, and what is longer is no list.
const LONGEST_LINE: u64 = 1 << 16;

/// Paths as they come, one by one: a list may be longer than memory, and may be written while it is read.
pub(crate) type Paths = Box<dyn Iterator<Item = Result<PathBuf>>>;

/// The paths of `list` where there is one, else `given`.
///
/// # Errors
/// Where the list cannot be opened, or standard input is named twice; each item, where the list cannot be read on.
pub(crate) fn listed_or(given: Vec<PathBuf>, list: Option<&Path>) -> Result<Paths> {
    let Some(list) = list else {
        let n_standard_input = given.iter().filter(|path| *path == Path::new(STANDARD_INPUT)).count();
        if n_standard_input > 1 {
            let reason = format!("standard input holds one image, and was named {n_standard_input} times");
            return Err(Error::malformed(Path::new(STANDARD_INPUT), reason).into());
        }
        return Ok(Box::new(given.into_iter().map(Ok)));
    };
    if list == Path::new(STANDARD_INPUT) {
        return Ok(Box::new(Lines { reader: BufReader::new(std::io::stdin()), name: list.to_owned(), n: 0 }));
    }
    let file = File::open(list).map_err(Error::io("read", list))?;
    Ok(Box::new(Lines { reader: BufReader::new(file), name: list.to_owned(), n: 0 }))
}

/// The lines of a list that are not empty.
struct Lines<R> {
    reader: BufReader<R>,
    name: PathBuf,
    /// The number of lines that were read.
    n: usize,
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Result<PathBuf>;

    fn next(&mut self) -> Option<Result<PathBuf>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LONGEST_LINE + 1).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(Error::io("read", &self.name)(error).into())),
            }
            self.n += 1;
            if line.len() as u64 > LONGEST_LINE {
                let reason = format!("line {} has more than {LONGEST_LINE} bytes, expected a path", self.n);
                return Some(Err(Error::malformed(&self.name, reason).into()));
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            if line == STANDARD_INPUT.as_bytes() {
                let reason = format!("line {} is '-', which is no file's name; './-' is", self.n);
                return Some(Err(Error::malformed(&self.name, reason).into()));
            }
            return Some(self.path(line));
        }
    }
}

impl<R> Lines<R> {
    /// The path that a line holds.
    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere a path is text")]
    fn path(&self, line: &[u8]) -> Result<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(line)))
    }

    /// The path that a line holds.
    #[cfg(not(unix))]
    fn path(&self, line: &[u8]) -> Result<PathBuf> {
        match std::str::from_utf8(line) {
            Ok(line) => Ok(PathBuf::from(line)),
            Err(error) => Err(Error::malformed(&self.name, format!("line {}: {error}", self.n)).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<std::result::Result<PathBuf, String>> {
        let lines = Lines { reader: BufReader::new(text), name: "list".into(), n: 0 };
        lines.map(|line| line.map_err(|error| format!("{error:#}"))).collect()
    }

    #[test]
    fn a_line_is_a_path() {
        let expected: Vec<_> = ["a b.png", " c", "d\t"].map(|path| Ok(PathBuf::from(path))).to_vec();
        assert_eq!(read(b"a b.png\r\n\n c\nd\t"), expected);
        assert!(read(b"").is_empty() && read(b"\n\r\n").is_empty());
        let long = [vec![b'x'; LONGEST_LINE as usize + 1], b"\n".to_vec()].concat();
        assert!(read(&long)[0].as_ref().is_err_and(|error| error.contains("line 1 has more than")));
        assert!(read(b"a\n-\n")[1].as_ref().is_err_and(|error| error.contains("line 2 is '-'")));
        #[cfg(unix)]
        assert_eq!(read(b"\xff.png")[0].as_ref().unwrap().as_os_str().as_encoded_bytes(), b"\xff.png");
    }
}
