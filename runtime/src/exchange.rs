//! Embeddings that come and go as files, so that other programs can make them and read them.
//!
//! Two formats: a NumPy matrix `X.npy` with the ids of its rows in `X.csv` beside it ([`Embeddings::save`]), and, with the
//! feature `parquet`, a Parquet file of one schema:
//!
//! ```text
//! id         string                           unique, not empty
//! embedding  fixed_size_list<float32>[D]      null only where there is an error
//! labels     list<string>                     null: not given; empty: none
//! source     string                           the path of the photo's file
//! sha256     string                           of that file, 64 hexadecimal digits
//! error      string                           why there is no embedding
//! model      string                           the fingerprint of the model, one for all rows
//! product    string                           the product that the photo shows; null: not given; empty: none
//! ```
//!
//! All but the first two may be missing. What is read is checked whole before anything is changed. An import is acknowledged
//! in pieces and may be asked for again: what is in already is left as it is, so that an interrupted one goes on.

#[cfg(feature = "parquet")]
mod parquet;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sketchfind_core::Error as CoreError;
use sketchfind_core::embeddings::Embeddings;

use crate::gallery::Gallery;
use crate::home::{Home, Row};
use crate::{Cancel, Error, Photo, Progress, Result};

/// The bytes of embeddings that are read and acknowledged at once.
const PIECE_BYTES: usize = 16 << 20;

/// The rows of a piece.
fn piece_rows(width: usize) -> usize {
    (PIECE_BYTES / (4 * width.max(1))).clamp(1, 4096)
}

/// The formats, by the ending of a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "npy" => Some(Format::Npy),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// What is said of a name that has neither ending.
const ENDINGS: &str = "expected a name that ends in .npy or .parquet";

/// A row that has no embedding, and says why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedRow {
    /// The photo's id.
    pub id: String,
    /// What the program that wrote the file said.
    pub error: String,
}

/// Some rows of a file.
#[derive(Default)]
struct Piece {
    photos: Vec<Photo>,
    /// `[photos, width]`, row-major.
    values: Vec<f32>,
    /// The width of these embeddings, where there is one at least.
    width: Option<usize>,
    /// The model that the rows name, where they do.
    model_sha256: Option<String>,
    failed: Vec<FailedRow>,
}

/// Reads a file piece by piece; what a piece says of its rows has been checked, but for what takes all of them.
fn read(path: &Path, visit: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
    match Format::of(path) {
        Some(Format::Npy) => {
            let embeddings = Embeddings::load(path)?;
            let (width, n) = (embeddings.width(), piece_rows(embeddings.width()));
            for (ids, values) in embeddings.ids().chunks(n).zip(embeddings.values().chunks(n * width)) {
                let photos: Vec<Photo> = ids.iter().map(Photo::new).collect();
                photos.iter().try_for_each(|photo| photo.check())?;
                visit(Piece { photos, values: values.to_vec(), width: Some(width), ..Piece::default() })?;
            }
            Ok(())
        }
        #[cfg(feature = "parquet")]
        Some(Format::Parquet) => parquet::read(path, visit),
        #[cfg(not(feature = "parquet"))]
        Some(Format::Parquet) => Err(Error::NoParquet { path: path.to_owned() }),
        None => Err(CoreError::malformed(path, ENDINGS).into()),
    }
}

/// Files of embeddings that were read and found to be right: every embedding is finite and as wide as the others, every id
/// stands once, and there is one model at most.
#[derive(Clone, Debug)]
pub struct EmbeddingFiles {
    files: Vec<PathBuf>,
    n_rows: usize,
    width: Option<usize>,
    model_sha256: Option<String>,
    failed: Vec<FailedRow>,
    unread_columns: Vec<String>,
}

impl EmbeddingFiles {
    /// Reads the file `path`, or all files of both formats that lie in the folder `path`, in order of their names. `cancel`
    /// is asked between pieces.
    ///
    /// # Errors
    /// [`Error::Core`] with the file and what is wrong in it; [`Error::RepeatedId`]; [`Error::NoParquet`];
    /// [`Error::Cancelled`].
    pub fn open(path: impl AsRef<Path>, cancel: Cancel<'_>) -> Result<EmbeddingFiles> {
        let files = files_at(path.as_ref())?;
        let mut found = EmbeddingFiles {
            files: files.clone(),
            n_rows: 0,
            width: None,
            model_sha256: None,
            failed: Vec::new(),
            unread_columns: Vec::new(),
        };
        let mut file_of: HashMap<String, usize> = HashMap::new();
        for (number, file) in files.iter().enumerate() {
            let malformed = |reason: String| Error::from(CoreError::malformed(file, reason));
            #[cfg(feature = "parquet")]
            if Format::of(file) == Some(Format::Parquet) {
                found.unread_columns.extend(parquet::unread_columns(file)?);
            }
            read(file, &mut |piece| {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let failed = piece.failed.iter().map(|failed| failed.id.as_str());
                for id in piece.photos.iter().map(Photo::id).chain(failed) {
                    if let Some(first) = file_of.insert(id.to_owned(), number) {
                        let (first, second) = (files[first].clone(), file.clone());
                        return Err(Error::RepeatedId { id: id.to_owned(), first, second });
                    }
                }
                if let (Some(width), Some(own)) = (found.width, piece.width)
                    && width != own
                {
                    return Err(malformed(format!("its embeddings are {own} wide, those before {width}")));
                }
                if let (Some(model), Some(own)) = (&found.model_sha256, &piece.model_sha256)
                    && model != own
                {
                    return Err(malformed(format!(
                        "it has embeddings by the model {own}, and others are by {model}"
                    )));
                }
                found.width = found.width.or(piece.width);
                found.model_sha256 = found.model_sha256.take().or(piece.model_sha256);
                found.n_rows += piece.photos.len();
                found.failed.extend(piece.failed);
                Ok(())
            })?;
        }
        found.unread_columns.sort_unstable();
        found.unread_columns.dedup();
        Ok(found)
    }

    /// The number of embeddings.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there is no embedding.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// The width of the embeddings, where there is one at least.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// SHA-256 of the model that made them, where a file says so.
    pub fn model_sha256(&self) -> Option<&str> {
        self.model_sha256.as_deref()
    }

    /// Rows without an embedding, which are not imported.
    pub fn failed(&self) -> &[FailedRow] {
        &self.failed
    }

    /// Columns that the schema does not know and nobody reads.
    pub fn unread_columns(&self) -> &[String] {
        &self.unread_columns
    }

    /// All embeddings, to ask with for example; nothing where there is none.
    ///
    /// # Errors
    /// Those of [`EmbeddingFiles::open`], where a file has changed since.
    pub fn embeddings(&self) -> Result<Option<Embeddings>> {
        let Some(width) = self.width else {
            return Ok(None);
        };
        let (mut ids, mut all) = (Vec::with_capacity(self.n_rows), Vec::with_capacity(self.n_rows * width));
        for file in &self.files {
            read(file, &mut |piece| {
                ids.extend(piece.photos.iter().map(|photo| photo.id().to_owned()));
                all.extend(piece.values);
                Ok(())
            })?;
        }
        Ok(Some(Embeddings::new(ids, width, all)?))
    }

    /// Checks that the embeddings are of the space of `gallery`.
    ///
    /// # Errors
    /// [`Error::Gallery`] where they have another width or are by another model.
    pub fn check_space(&self, gallery: &dyn Home) -> Result<()> {
        let refused = |reason: String| Err(Error::Gallery { path: gallery.place().to_owned(), reason });
        let names: Vec<String> = self.files.iter().map(|file| format!("'{}'", file.display())).collect();
        let files = match names.as_slice() {
            [one] => one.clone(),
            [first, ..] => format!("{first} and others"),
            [] => String::new(),
        };
        let space = gallery.space();
        match self.width {
            Some(width) if width != space.width => {
                return refused(format!("its embeddings are {} wide, those of {files} {width}", space.width));
            }
            _ => {}
        }
        match (&space.model_sha256, &self.model_sha256) {
            (Some(own), Some(other)) if !own.eq_ignore_ascii_case(other) => {
                refused(format!("its embeddings are by the model {own}, those of {files} by {other}"))
            }
            _ => Ok(()),
        }
    }
}

/// The files that `path` names.
fn files_at(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(CoreError::io("read", path))? {
        let file = entry.map_err(CoreError::io("read", path))?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
        if Format::of(&file).is_some() && !is_hidden {
            files.push(file);
        }
    }
    files.sort_unstable();
    if files.is_empty() {
        let reason = "no file in it has a name that ends in .npy or .parquet";
        return Err(CoreError::malformed(path, reason).into());
    }
    Ok(files)
}

/// How embeddings are brought into a gallery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Whether a photo that is there already with another embedding is replaced. Otherwise that is refused.
    pub replace: bool,
}

impl ImportOptions {
    /// The same with photos replaced that have other embeddings.
    #[must_use]
    pub fn replacing(mut self) -> ImportOptions {
        self.replace = true;
        self
    }
}

/// What came of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Photos that are new.
    pub n_added: usize,
    /// Photos whose embedding, product, labels, path or content are others now.
    pub n_replaced: usize,
    /// Photos that are there already, as the files have them.
    pub n_unchanged: usize,
}

/// What came of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Photos that were written.
    pub n_photos: usize,
    /// The ids of photos whose path is no text, and was left out.
    pub without_source: Vec<String>,
}

/// A row of a file beside what a gallery has under its id.
enum Compared {
    New(Photo),
    /// As it is to become, and whether its embedding changes.
    Other {
        photo: Photo,
        has_other_embedding: bool,
    },
    Same,
}

fn compare(there: Option<&Row>, photo: Photo, row: &[f32]) -> Compared {
    let Some(Row { photo: before, embedding }) = there else {
        return Compared::New(photo);
    };
    let has_other_embedding = embedding != row;
    let mut photo = photo.in_place_of(before);
    if let (None, Some(content), false) = (photo.content(), before.content(), has_other_embedding) {
        photo = photo.with_content(*content);
    }
    if has_other_embedding || photo != *before {
        return Compared::Other { photo, has_other_embedding };
    }
    Compared::Same
}

/// The photos of `piece` with their embeddings, each beside what `gallery` has under its id.
fn compared(gallery: &dyn Home, piece: Piece) -> Result<Vec<(Compared, Vec<f32>)>> {
    let look = gallery.look();
    let ids: Vec<&str> = piece.photos.iter().map(Photo::id).collect();
    let there = look.rows(&ids)?;
    let rows = piece.values.chunks_exact(look.width());
    let all = piece.photos.into_iter().zip(rows).zip(&there);
    Ok(all.map(|((photo, row), there)| (compare(there.as_ref(), photo, row), row.to_vec())).collect())
}

impl dyn Home + '_ {
    /// Brings the embeddings of `files` into this gallery: photos that are new, and those whose products, labels or paths are others.
    /// What a file does not say of a photo stays as it is.
    ///
    /// What can be refused is refused before anything is changed. Then every few thousand photos are acknowledged:
    /// whoever is interrupted asks again, and it goes on. `progress` is told the rows that are done; `cancel` is asked
    /// between pieces.
    ///
    /// # Errors
    /// [`Error::Gallery`] where the embeddings are of another space; [`Error::PhotoExists`] where a photo is there with
    /// another embedding and is not to be replaced; those of [`Home::replace`]; [`Error::Cancelled`].
    pub fn import(
        &self,
        files: &EmbeddingFiles,
        options: ImportOptions,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Imported> {
        files.check_space(self)?;
        if !options.replace && !self.look().is_empty()? {
            for file in &files.files {
                read(file, &mut |piece| {
                    if cancel.is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    for (compared, _) in compared(self, piece)? {
                        if let Compared::Other { photo, has_other_embedding: true } = compared {
                            return Err(Error::PhotoExists { id: photo.id().to_owned() });
                        }
                    }
                    Ok(())
                })?;
            }
        }
        let (mut done, mut n_done) = (Imported::default(), 0);
        for file in &files.files {
            read(file, &mut |piece| {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                n_done += piece.photos.len();
                let (mut photos, mut values) = (Vec::new(), Vec::new());
                for (compared, row) in compared(self, piece)? {
                    photos.push(match compared {
                        Compared::Same => {
                            done.n_unchanged += 1;
                            continue;
                        }
                        Compared::New(photo) => {
                            done.n_added += 1;
                            photo
                        }
                        Compared::Other { photo, .. } => {
                            done.n_replaced += 1;
                            photo
                        }
                    });
                    values.extend(row);
                }
                self.replace(photos, values)?;
                progress.tell(n_done);
                Ok(())
            })?;
        }
        Ok(done)
    }

    /// Writes the embeddings of this gallery to a file, whole or not at all: `X.npy` with the ids in `X.csv` beside it, or
    /// `X.parquet` with labels, paths, contents and the model too. `progress` is told the photos that are done.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use sketchfind::{Access, Cancel, Distance, EmbeddingFiles, EmbeddingSpace, Gallery, GalleryOptions, ImportOptions, Photo, Progress};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("gallery");
    /// # let options = GalleryOptions::exact("docs 1.0");
    /// # Gallery::create_without_model(&path, &EmbeddingSpace::new(1, Distance::Mse), &options)?;
    /// let gallery = Gallery::open_with(&path, Access::Write)?;
    /// gallery.add(vec![Photo::new("a"), Photo::new("b")], vec![1.0, 2.0])?;
    /// let file = folder.path().join("embeddings.npy");
    /// gallery.export(&file, Progress::default(), Cancel::default())?;
    /// gallery.remove(&["b"])?;
    /// let files = EmbeddingFiles::open(&file, Cancel::default())?;
    /// let done = gallery.import(&files, ImportOptions::default(), Progress::default(), Cancel::default())?;
    /// assert_eq!((done.n_added, done.n_unchanged), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Core`] where the name ends otherwise or the file cannot be written; [`Error::NoParquet`];
    /// [`Error::Cancelled`].
    pub fn export(
        &self,
        path: impl AsRef<Path>,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Exported> {
        self.check_process()?;
        let (path, look) = (path.as_ref(), self.look());
        match Format::of(path) {
            Some(Format::Npy) => {
                let (mut ids, mut values) = (Vec::new(), Vec::new());
                look.each_row(&mut |photo, row| {
                    ids.push(photo.id().to_owned());
                    values.extend_from_slice(row);
                    if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
                })?;
                let n_photos = ids.len();
                Embeddings::new(ids, look.width(), values)?.save(path)?;
                progress.tell(n_photos);
                Ok(Exported { n_photos, ..Exported::default() })
            }
            #[cfg(feature = "parquet")]
            Some(Format::Parquet) => {
                parquet::write(path, look.as_ref(), self.space().model_sha256.as_deref(), progress, cancel)
            }
            #[cfg(not(feature = "parquet"))]
            Some(Format::Parquet) => Err(Error::NoParquet { path: path.to_owned() }),
            None => Err(CoreError::malformed(path, ENDINGS).into()),
        }
    }
}

impl Gallery {
    /// [`Home::import`](trait.Home.html#method.import) into this gallery.
    ///
    /// # Errors
    /// As there.
    pub fn import(
        &self,
        files: &EmbeddingFiles,
        options: ImportOptions,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Imported> {
        (self as &dyn Home).import(files, options, progress, cancel)
    }

    /// [`Home::export`](trait.Home.html#method.export) of this gallery.
    ///
    /// # Errors
    /// As there.
    pub fn export(
        &self,
        path: impl AsRef<Path>,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Exported> {
        (self as &dyn Home).export(path, progress, cancel)
    }
}
