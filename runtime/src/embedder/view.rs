//! How much of a picture is embedded.

use sketchfind_core::frame::{self, PhotoFrame, Region};
use sketchfind_core::image::Image;

/// How much of a picture is embedded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum View {
    /// All of it.
    Whole,
    /// The product, where the frame says so.
    Framed(PhotoFrame),
    /// A part that was told, filling a share of a square.
    Around(Region, f32),
    /// A drawing, filling a share of its page, or as it is.
    Sketch(Option<f32>),
}

impl View {
    pub(crate) fn of(self, photo: Image) -> sketchfind_core::Result<Image> {
        match self {
            View::Whole | View::Sketch(None) => Ok(photo),
            View::Sketch(Some(share)) => frame::sketch(&photo, share),
            View::Framed(frame) => frame::photo(&photo, &frame),
            View::Around(region, share) => frame::photo_around(&photo, region, share),
        }
    }
}
