//! What turns pictures into embeddings, in whichever runtime: so that whoever measures a network need not know which.

use crate::dataset::Modality;
use crate::distance::Distance;
use crate::embeddings::Embeddings;

/// A network that runs.
pub trait Embed {
    /// What a picture is given as: a file's path, or pixels that were decoded.
    type Picture: ?Sized;
    /// What can go wrong.
    type Error;

    /// The distance by which its embeddings are compared.
    fn distance(&self) -> Distance;

    /// The embeddings of `pictures`, which are all photos or all sketches, each under its id. `go_on` is told after each
    /// batch how many are done, and says whether the others are still wanted.
    ///
    /// # Shapes
    /// `pictures`: `[n]` of distinct ids; returns `[n, D]`.
    ///
    /// # Errors
    /// Of the first picture in the list that cannot be embedded, by its id; where the others are not wanted; where an
    /// embedding is not finite.
    fn embeddings(
        &mut self,
        modality: Modality,
        pictures: &[(&str, &Self::Picture)],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Embeddings, Self::Error>;
}
