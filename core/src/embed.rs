//! What turns pictures into embeddings, in whichever runtime: so that whoever measures a network need not know which.

use crate::dataset::Modality;
use crate::distance::Distance;
use crate::embeddings::Embeddings;
use crate::work::{Cancel, Progress};

/// A network that runs.
pub trait Embed {
    /// What a picture is given as: a file's path, or pixels that were decoded.
    type Picture: ?Sized;
    /// What can go wrong.
    type Error;

    /// The distance by which its embeddings are compared.
    fn distance(&self) -> Distance;

    /// The embeddings of `pictures`, which are all photos or all sketches, each under its id. `progress` is told
    /// after each batch how many are done; `cancel` is asked between batches.
    ///
    /// # Shapes
    /// `pictures`: `[n]` of distinct ids; returns `[n, D]`.
    ///
    /// # Errors
    /// Of the first picture in the list that cannot be embedded, by its id; where it was cancelled; where an
    /// embedding is not finite.
    fn embeddings(
        &mut self,
        modality: Modality,
        pictures: &[(&str, &Self::Picture)],
        progress: Progress<'_>,
        cancel: Cancel<'_>,
    ) -> Result<Embeddings, Self::Error>;
}
