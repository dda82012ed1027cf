//! Embedding a list of image files: a broken file is named, never a panic.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sketchfind_core::embeddings::Embeddings;

use super::Embedder;
use super::stream::{Batch, Done, Job, reason};
use crate::embedder::View;
use crate::{Cancel, Error, Picture, Progress, Result};

/// What to do with a file of a list that is no image, is damaged, empty or cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBroken {
    /// Stop with an error that names the first one of the list.
    #[default]
    Refuse,
    /// Leave it out and report it.
    Skip,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenImage {
    /// Its id.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; names the file.
    pub reason: String,
}

/// What came of a list of files.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The embeddings of the files that are images, under their ids.
    pub embeddings: Embeddings,
    /// The files that were left out, in the order of the list.
    pub broken: Vec<BrokenImage>,
}

impl Embedder {
    /// The embeddings of the images in `files`, pairs of an id and a path. Decoding and inference overlap on all of the
    /// embedder's threads; the results are the same on any number of them, and in order. While it runs, a long list takes
    /// a session of the model for each thread, eight at most.
    ///
    /// `progress` is told, after each batch, how many files are done so far, broken ones included.
    /// `cancel` is asked before each batch.
    ///
    /// # Errors
    /// [`Error::RepeatedId`] before any file is opened; [`Error::BrokenImage`] for the first broken file of
    /// the list with [`OnBroken::Refuse`]; [`Error::Cancelled`]; [`Error::Inference`]; [`Error::Core`] where
    /// an id is empty or an embedding is not finite.
    pub fn embed_files(
        &mut self,
        files: &[(String, PathBuf)],
        on_broken: OnBroken,
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embedded> {
        check_ids(files)?;
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut ids = Vec::with_capacity(files.len());
        let mut values = Vec::with_capacity(files.len() * self.card.embedding_width);
        let (mut broken, mut n_done) = (Vec::new(), 0);
        let mut rest = files.chunks(self.options.batch);
        let mut next = |_n: usize| {
            let files = rest.next()?;
            let job = |path: &PathBuf| Job { picture: Picture::File(path.clone()), view: View::Whole };
            let jobs = files.iter().map(|(_, path)| job(path)).collect();
            Some(Batch { jobs, parcel: files })
        };
        self.stream(files.len(), &mut next, &mut |done: Done<&[(String, PathBuf)]>| {
            n_done += done.parcel.len();
            for (outcome, (id, path)) in done.outcomes.into_iter().zip(done.parcel) {
                match outcome {
                    Ok(()) => ids.push(id.clone()),
                    Err(error) if on_broken == OnBroken::Skip => {
                        let reason = reason(path, &error);
                        broken.push(BrokenImage { id: id.clone(), path: path.clone(), reason });
                    }
                    Err(error) => {
                        let reason = reason(path, &error);
                        return Err(Error::BrokenImage { id: id.clone(), path: path.clone(), reason });
                    }
                }
            }
            values.extend_from_slice(&done.values);
            progress.tell(n_done);
            if n_done < files.len() && cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        })?;
        Ok(Embedded { embeddings: Embeddings::new(ids, self.card.embedding_width, values)?, broken })
    }
}

/// Refuses a list with an id that stands there twice.
fn check_ids(files: &[(String, PathBuf)]) -> Result<()> {
    let mut first_of: HashMap<&str, &Path> = HashMap::with_capacity(files.len());
    for (id, path) in files {
        if let Some(first) = first_of.insert(id, path) {
            let (id, first, second) = (id.clone(), first.to_owned(), path.clone());
            return Err(Error::RepeatedId { id, first, second });
        }
    }
    Ok(())
}
