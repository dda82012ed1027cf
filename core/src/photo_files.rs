//! A folder -> its photos, and what was left out and why.
//!
//! What is a photo is decided by its content. A file that is called like an image and is none is given out too: whoever
//! decodes it says what is wrong. Files that are plainly no images are left alone, and so are hidden files and folders, what
//! storage devices and archive tools create, and what this project's programs have written below the folder. The folder
//! itself was named, and is taken whatever it is.
//!
//! Links are followed. A folder that is reached twice is taken once, under its own path before that of a link, so that links
//! in a circle end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::image::{HEAD_BYTES, Kind, RAW, advice};
use crate::unicode::nfc;
use crate::{Error, Result};

/// What a folder holds.
#[derive(Clone, Debug, Default)]
pub struct PhotoFiles {
    /// Its photos, sorted by path.
    pub photos: Vec<PhotoFile>,
    /// What looks like photos and cannot be read, sorted by path.
    pub left_out: Vec<LeftOut>,
    /// Folders that are none of the folder's photos, in words, sorted.
    pub passed_over: Vec<String>,
}

/// A photo in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoFile {
    /// [`id_of`] its path.
    pub id: String,
    /// Its path relative to the folder.
    pub path: PathBuf,
}

/// A file or folder that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// [`id_of`] its path.
    pub id: String,
    /// Its path relative to the folder.
    pub path: PathBuf,
    /// Why, and what to do.
    pub reason: String,
    /// Whether there may be photos below it.
    pub is_folder: bool,
}

/// Patterns of ids that are left alone.
#[derive(Clone, Debug, Default)]
pub struct Exclude(GlobSet);

impl Exclude {
    /// Leaves nothing alone.
    pub fn nothing() -> Exclude {
        Exclude::default()
    }

    /// Leaves alone what one of `patterns` matches: `*` stands for anything but a slash, `**` for anything. A pattern without
    /// a slash is for the names of files and folders at any depth, one with a slash for paths from the folder on. With a
    /// folder all below it is left alone.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the pattern that is none.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Exclude> {
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            let refused = |e: globset::Error| Error::OutOfRange {
                what: "a pattern of files to exclude",
                value: format!("'{pattern}'"),
                expected: format!("a glob such as '*.tmp.jpg' or 'old/**': {}", e.kind()),
            };
            let trimmed = pattern.trim_start_matches("./").trim_end_matches('/');
            let anchored = match trimmed.strip_prefix('/') {
                Some(from_the_folder) => from_the_folder.to_owned(),
                None if trimmed.contains('/') => trimmed.to_owned(),
                None => format!("**/{trimmed}"),
            };
            globs.add(GlobBuilder::new(&nfc(&anchored)).literal_separator(true).build().map_err(refused)?);
        }
        let built = globs.build().map_err(|e| Error::OutOfRange {
            what: "patterns of files to exclude",
            value: patterns.len().to_string(),
            expected: e.to_string(),
        })?;
        Ok(Exclude(built))
    }

    /// Whether this id, of a file or folder, is left alone.
    pub fn matches(&self, id: &str) -> bool {
        !self.0.is_empty() && self.0.is_match(nfc(id).as_ref())
    }
}

impl PhotoFiles {
    /// Looks through `folder`.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder itself cannot be read.
    pub fn below(folder: &Path, exclude: &Exclude) -> Result<PhotoFiles> {
        let identity = fs::metadata(folder).and_then(|metadata| identity(folder, &metadata));
        let mut walk = Walk {
            folder,
            exclude,
            seen: HashSet::from([identity.map_err(Error::io("read", folder))?]),
            pending: vec![PathBuf::new()],
            links: BTreeSet::new(),
            found: PhotoFiles::default(),
        };
        walk.walk()?;
        let mut found = walk.found;
        found.photos.sort_by(|a, b| a.path.cmp(&b.path));
        found.left_out.sort_by(|a, b| a.path.cmp(&b.path));
        found.passed_over.sort();
        Ok(found)
    }

    /// Looks through a listing, of a store whose files are not opened for that: `paths` are those of all files below a folder,
    /// relative to it and with slashes. What is left alone by its name is left alone here too; all else is given out, and
    /// whoever decodes it says what is no photo.
    ///
    /// ```
    /// use sketchfind_core::photo_files::{Exclude, PhotoFiles};
    /// let files = ["boots/17.jpg", "boots/17.txt", ".trash/18.jpg", "old.gallery/gallery.json", "old.gallery/model/probe/1.png"];
    /// let found = PhotoFiles::listed(files, &Exclude::nothing());
    /// assert_eq!(found.photos.len(), 1);
    /// assert_eq!(found.passed_over, ["'old.gallery': it is a gallery"]);
    /// ```
    pub fn listed<'a>(paths: impl IntoIterator<Item = &'a str>, exclude: &Exclude) -> PhotoFiles {
        let mut names_of: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
        let mut found = PhotoFiles::default();
        for path in paths.into_iter().map(Path::new) {
            for part in path.ancestors() {
                if let (Some(folder), Some(name)) = (part.parent(), part.file_name()) {
                    names_of.entry(folder.to_owned()).or_default().insert(name.to_owned());
                }
            }
            let id = id_of(path);
            found.photos.push(PhotoFile { id, path: path.to_owned() });
        }
        let mut passed_over: BTreeMap<&Path, String> = BTreeMap::new();
        for (folder, names) in &names_of {
            let names: Vec<OsString> = names.iter().cloned().collect();
            let is_seen = folder.as_os_str().is_empty()
                || folder.ancestors().any(|above| passed_over.contains_key(above));
            if let Some(what) = own_product_of(&names).filter(|_| !is_seen) {
                passed_over.insert(folder, format!("'{}': {what}", folder.display()));
            }
        }
        let is_foreign_part = |path: &Path| path.iter().any(is_foreign);
        let is_below_own = |path: &Path| path.ancestors().skip(1).any(|part| passed_over.contains_key(part));
        found.photos.retain(|photo| {
            let parts = photo.path.ancestors().filter(|part| !part.as_os_str().is_empty());
            let is_excluded = parts.map(id_of).any(|id| exclude.matches(&id));
            !is_excluded
                && !is_foreign_part(&photo.path)
                && !is_below_own(&photo.path)
                && !is_plainly_no_image(&photo.path)
        });
        found.photos.sort_by(|a, b| a.path.cmp(&b.path));
        found.passed_over = passed_over.into_values().collect();
        found
    }

    /// The same, if nothing of it cannot be read.
    ///
    /// # Errors
    /// [`Error::Dataset`] with what cannot be read in `folder`.
    pub fn complete(self, folder: &Path) -> Result<PhotoFiles> {
        let Some(first) = self.left_out.first() else {
            return Ok(self);
        };
        let (n, name) = (self.left_out.len(), first.path.display());
        let more = if n > 1 { format!(", and {} more cannot be read", n - 1) } else { String::new() };
        let reason = format!("'{name}' in it cannot be read: {}{more}", first.reason);
        Err(Error::Dataset { path: folder.to_owned(), reason })
    }
}

struct Walk<'a> {
    folder: &'a Path,
    exclude: &'a Exclude,
    /// The folders that were reached.
    seen: HashSet<Identity>,
    /// Folders to read, relative to the folder.
    pending: Vec<PathBuf>,
    /// Links to folders, for when all folders that are none are read.
    links: BTreeSet<PathBuf>,
    found: PhotoFiles,
}

impl Walk<'_> {
    fn walk(&mut self) -> Result<()> {
        loop {
            if let Some(relative) = self.pending.pop() {
                self.read_folder(&relative)?;
            } else if let Some(link) = self.links.pop_first() {
                self.enter(link);
            } else {
                return Ok(());
            }
        }
    }

    /// Takes a folder in, if it was not reached before.
    fn enter(&mut self, relative: PathBuf) {
        let path = self.folder.join(&relative);
        let identity = fs::metadata(&path).and_then(|metadata| identity(&path, &metadata));
        match identity.map(|identity| self.seen.insert(identity)) {
            Ok(true) => self.pending.push(relative),
            Ok(false) => self.pass_over(&relative, "the same folder is reached by another path"),
            Err(error) => self.leave_out(relative, error.to_string(), true),
        }
    }

    fn read_folder(&mut self, relative: &Path) -> Result<()> {
        let here = self.folder.join(relative);
        let is_named = relative.as_os_str().is_empty();
        let entries = match fs::read_dir(&here) {
            Ok(entries) => entries,
            Err(error) if is_named => return Err(Error::io("read", &here)(error)),
            Err(error) => {
                self.leave_out(relative.to_owned(), error.to_string(), true);
                return Ok(());
            }
        };
        let mut names: Vec<OsString> = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) if is_named => return Err(Error::io("read", &here)(error)),
                // What was seen of it is taken; what was not may be photos.
                Err(error) => {
                    self.leave_out(
                        relative.to_owned(),
                        format!("it cannot be read to its end: {error}"),
                        true,
                    );
                    break;
                }
            }
        }
        names.sort_unstable();
        if let Some(what) = own_product(&here, &names).filter(|_| !is_named) {
            self.pass_over(relative, what);
            return Ok(());
        }
        for name in names {
            let path = relative.join(&name);
            if is_foreign(&name) || self.exclude.matches(&id_of(&path)) {
                continue;
            }
            self.look_at(path);
        }
        Ok(())
    }

    /// Decides about something in a folder.
    fn look_at(&mut self, relative: PathBuf) {
        let path = self.folder.join(&relative);
        let own = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return self.leave_out_if_photo(relative, &error.to_string()),
        };
        let metadata = if own.is_symlink() { fs::metadata(&path) } else { Ok(own.clone()) };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                // Behind it may be a folder of photos on a disk that is not there.
                if !is_plainly_no_image(&relative) {
                    let to = fs::read_link(&path).unwrap_or_default();
                    let reason = format!("it is a link to '{}', which cannot be read: {error}", to.display());
                    self.leave_out(relative, reason, true);
                }
                return;
            }
        };
        if metadata.is_dir() {
            if is_kept_by_server(&path) {
                self.pass_over(&relative, "it holds the photos that a server keeps for its gallery");
            } else if own.is_symlink() {
                self.links.insert(relative);
            } else {
                self.enter(relative);
            }
        } else if metadata.is_file() {
            self.look_into(relative, &path);
        } else if has_image_ending(&relative) {
            self.leave_out(relative, "it is no file, but a pipe, socket or device".into(), false);
        }
    }

    /// Decides about a file, by its content.
    fn look_into(&mut self, relative: PathBuf, path: &Path) {
        let mut head = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head));
        if let Err(error) = read {
            return self.leave_out_if_photo(relative, &error.to_string());
        }
        match Kind::of(&head) {
            // Some raw files give nothing away at their beginning but their name.
            Kind::Image if has_ending(&relative, &RAW_ENDINGS) && !head.starts_with(b"\xff\xd8") => {
                self.leave_out(relative, advice(RAW), false);
            }
            Kind::OtherImage(format) => self.leave_out(relative, advice(format), false),
            Kind::Unknown if !has_image_ending(&relative) => {}
            Kind::Image | Kind::Unknown => {
                let id = id_of(&relative);
                self.found.photos.push(PhotoFile { id, path: relative });
            }
        }
    }

    fn leave_out_if_photo(&mut self, relative: PathBuf, reason: &str) {
        if !is_plainly_no_image(&relative) {
            self.leave_out(relative, reason.to_owned(), false);
        }
    }

    fn leave_out(&mut self, path: PathBuf, reason: String, is_folder: bool) {
        let id = id_of(&path);
        self.found.left_out.push(LeftOut { id, path, reason, is_folder });
    }

    fn pass_over(&mut self, relative: &Path, why: &str) {
        self.found.passed_over.push(format!("'{}': {why}", self.folder.join(relative).display()));
    }
}

/// The id of a photo: its path relative to the folder, with slashes, and lossless, so that no two files have one id.
///
/// A name is its own id as it is, if it is UTF-8. Of one that is not, each byte that is at fault is written `%E9`, and each
/// `%` as `%25`; a name that looks as if that had been done to it has its `%` written so too.
///
/// ```
/// use std::path::Path;
/// use sketchfind_core::photo_files::id_of;
/// assert_eq!(id_of(Path::new("boots/50% off, caf\u{e9} %20.jpg")), "boots/50% off, caf\u{e9} %20.jpg");
/// # #[cfg(unix)] {
/// use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
/// assert_eq!(id_of(Path::new(OsStr::from_bytes(b"caf\xe9 5%.jpg"))), "caf%E9 5%25.jpg");
/// assert_eq!(id_of(Path::new("caf%E9 5%.jpg")), "caf%25E9 5%25.jpg");
/// assert_eq!(id_of(Path::new(r"a\b.jpg")), r"a\b.jpg");
/// # }
/// ```
pub fn id_of(relative: &Path) -> String {
    let names: Vec<String> = relative.iter().map(id_of_name).collect();
    names.join("/")
}

fn id_of_name(name: &OsStr) -> String {
    let bytes = name.as_encoded_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !looks_escaped(text) => text.to_owned(),
        _ => escaped(bytes),
    }
}

/// Whether a text may be what comes of escaping a name, perhaps several times. Ids of names that were escaped are such texts,
/// ids that are names as they are never.
fn looks_escaped(text: &str) -> bool {
    let mut bytes = text.as_bytes().to_vec();
    // Each round is shorter than the one before.
    while let Some(unescaped) = unescaped(&bytes) {
        if std::str::from_utf8(&unescaped).is_err() {
            return true;
        }
        bytes = unescaped;
    }
    false
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Takes back what [`escaped`] does; nothing where there is nothing to take back.
fn unescaped(bytes: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some((&byte, after)) = rest.split_first() {
        let written = match after {
            [high, low, ..] if byte == b'%' => {
                digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low)
            }
            _ => None,
        };
        match written.filter(|&written| written == b'%' || written >= 0x80) {
            Some(written) => {
                out.push(written);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    (out.len() < bytes.len()).then_some(out)
}

/// What tells a folder from every other.
#[cfg(unix)]
type Identity = (u64, u64);
/// What tells a folder from every other.
#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(unix)]
fn identity(_path: &Path, metadata: &Metadata) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path, _metadata: &Metadata) -> std::io::Result<Identity> {
    fs::canonicalize(path)
}

/// What this project's programs have written.
fn own_product(here: &Path, names: &[OsString]) -> Option<&'static str> {
    // A model's probe, where it was taken out of its model.
    let is_probe =
        || here.ends_with("probe") && here.parent().is_some_and(|model| model.join("card.json").is_file());
    own_product_of(names).or_else(|| is_probe().then_some("it is a model's probe"))
}

/// What this project's programs have written, by the sorted names in a folder, which have to be there together.
fn own_product_of(names: &[OsString]) -> Option<&'static str> {
    const PRODUCTS: [(&[&str], &str); 6] = [
        (&["gallery.json", "model"], "it is a gallery"),
        (&["card.json", "model.onnx"], "it is a model"),
        (&["run.json", "config.toml"], "it is a training run"),
        (&["state.json", "weights.safetensors"], "it is a training run's checkpoint"),
        (&["report.html", "queries.csv"], "it is a report"),
        (&["manifest.csv", "taught.lock"], "it is drawings that a server keeps"),
    ];
    let has = |wanted: &str| names.binary_search_by(|name| name.as_os_str().cmp(OsStr::new(wanted))).is_ok();
    PRODUCTS.iter().find(|(wanted, _)| wanted.iter().all(|name| has(name))).map(|(_, what)| *what)
}

/// Whether a folder is the one beside a gallery in which a server keeps the photos that clients add.
fn is_kept_by_server(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "photos")
        && path.with_extension("").join("gallery.json").is_file()
}

/// Names that are hidden, or that storage devices, systems and archive tools give to what is theirs.
fn is_foreign(name: &OsStr) -> bool {
    const NAMES: [&str; 15] = [
        "lost+found",
        "$RECYCLE.BIN",
        "RECYCLER",
        "RECYCLED",
        "System Volume Information",
        "__MACOSX",
        "@eaDir",
        "@tmp",
        "@Recycle",
        "@Recently-Snapshot",
        "#recycle",
        "#snapshot",
        "Network Trash Folder",
        "Temporary Items",
        "TheVolumeSettingsFolder",
    ];
    name.as_encoded_bytes().starts_with(b".")
        || NAMES.iter().any(|foreign| name.eq_ignore_ascii_case(foreign))
}

const RAW_ENDINGS: [&str; 12] =
    ["cr2", "cr3", "nef", "nrw", "arw", "srf", "dng", "orf", "rw2", "raf", "pef", "srw"];

fn has_image_ending(path: &Path) -> bool {
    const ENDINGS: [&str; 28] = [
        "jpg", "jpeg", "jpe", "jfif", "jif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif",
        "heic", "heif", "hif", "jxl", "jp2", "j2k", "jpf", "jxr", "qoi", "exr", "pnm", "ppm", "pgm", "pbm",
        "tga",
    ];
    has_ending(path, &ENDINGS) || has_ending(path, &RAW_ENDINGS)
}

/// Whether a file that cannot be opened is no photo all the same, by its name.
fn is_plainly_no_image(path: &Path) -> bool {
    const ENDINGS: [&str; 26] = [
        "txt", "csv", "tsv", "json", "xml", "html", "htm", "md", "pdf", "doc", "docx", "xls", "xlsx", "odt",
        "ods", "ini", "db", "log", "toml", "yaml", "yml", "zip", "tar", "gz", "py", "sh",
    ];
    has_ending(path, &ENDINGS)
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|own| endings.iter().any(|ending| own.eq_ignore_ascii_case(ending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn no_two_names_have_one_id() {
        use std::os::unix::ffi::OsStrExt;
        // All names of up to four pieces, of which escaping is made.
        let pieces: [&[u8]; 8] = [b"a", b"%", b"25", b"E9", b"C3", b"A9", b"\xe9", b"\xc3\xa9"];
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::from([Vec::new()]);
        for _ in 0..5 {
            let longer: Vec<_> =
                names.iter().flat_map(|name| pieces.map(|piece| [name.as_slice(), piece].concat())).collect();
            names.extend(longer);
        }
        let ids: BTreeSet<String> = names.iter().map(|name| id_of_name(OsStr::from_bytes(name))).collect();
        assert_eq!(ids.len(), names.len());
    }

    #[test]
    fn ordinary_names_are_their_own_ids() {
        for name in
            ["a.jpg", "100%.jpg", "%20.jpg", "caf%C3%A9.jpg", "%25.jpg", "a%2.jpg", "\u{301}.png", "a\nb.gif"]
        {
            assert_eq!(id_of(Path::new(name)), name);
        }
    }

    #[test]
    fn patterns_are_for_names_or_for_paths() {
        let matches = |pattern: &str, id: &str| Exclude::new(&[pattern]).unwrap().matches(id);
        for (pattern, yes, no) in [
            ("*.png", "a/b.png", "a.png/b.jpg"),
            ("thumbs", "a/thumbs", "a/thumbs2"),
            ("thumbs/", "thumbs", "a"),
            ("a/*.jpg", "a/b.jpg", "a/b/c.jpg"),
            ("a/**", "a/b/c.jpg", "b/a/c.jpg"),
            ("/old", "old", "a/old"),
            ("./a/b", "a/b", "b"),
            ("caf\u{e9}*", "cafe\u{301}.jpg", "cafe.jpg"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        let error = Exclude::new(&["a[b"]).unwrap_err().to_string();
        assert!(error.contains("'a[b'"), "{error}");
        assert!(!Exclude::nothing().matches("a"));
    }
}
