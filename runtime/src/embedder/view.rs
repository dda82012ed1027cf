//! How much of a photo is embedded.

use sketchfind_core::frame::{self, PhotoFrame, Region};
use sketchfind_core::image::Image;

/// How much of a photo is embedded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum View {
    /// All of it.
    Whole,
    /// The product, where the frame says so.
    Framed(PhotoFrame),
    /// A part that was told, filling a share of a square.
    Around(Region, f32),
}

impl View {
    pub(crate) fn of(self, photo: Image) -> sketchfind_core::Result<Image> {
        match self {
            View::Whole => Ok(photo),
            View::Framed(frame) => frame::photo(&photo, &frame),
            View::Around(region, share) => frame::photo_around(&photo, region, share),
        }
    }
}
