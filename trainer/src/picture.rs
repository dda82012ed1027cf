//! An image in memory, as training keeps it.

use sketchfind_core::image::{Alpha, Image};

/// An image and its id.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The id in the data set.
    pub id: String,
    /// The pixels, resized as the configuration says.
    pub image: Image,
    /// How opaque they are, where lines are to be drawn from a photo that is transparent somewhere.
    pub alpha: Option<Alpha>,
}
