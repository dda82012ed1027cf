//! A picture as a program has it.

use std::path::PathBuf;

use sketchfind_core::frame::{self, decode_sketch, open_sketch};
use sketchfind_core::image::{DecodeLimits, Image, Pixels};
use sketchfind_core::strokes::{Raster, Strokes};

/// A picture that is not decoded or drawn yet. However it is given, it is the same picture: a file, its bytes, and the pixels
/// that another library makes of it, transparency, profile and orientation included.
///
/// ```
/// use std::path::Path;
/// use sketchfind::{DecodeLimits, Picture};
/// let path = Path::new("tests/fixtures/photos/red.png");
/// let of_file = Picture::File(path.to_owned()).photo(DecodeLimits::default())?;
/// let of_bytes = Picture::of_bytes(std::fs::read(path)?).photo(DecodeLimits::default())?;
/// assert_eq!(of_file, of_bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub enum Picture {
    /// A file.
    File(PathBuf),
    /// The bytes of a file.
    Encoded {
        /// The bytes.
        bytes: Vec<u8>,
        /// What errors call it, such as `given as bytes`.
        origin: String,
    },
    /// Pixels.
    Pixels(Pixels),
    /// Pen movements, which are drawn in black on white.
    Strokes(Strokes),
}

impl Picture {
    /// The bytes of a file that has no name.
    pub fn of_bytes(bytes: Vec<u8>) -> Picture {
        Picture::Encoded { bytes, origin: "given as bytes".into() }
    }

    /// The photo that it is.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn photo(self, limits: DecodeLimits) -> sketchfind_core::Result<Image> {
        match self {
            Picture::File(path) => Image::open(&path, limits),
            Picture::Encoded { bytes, origin } => Image::decode(&bytes, &origin, limits),
            Picture::Pixels(pixels) => Ok(Image::of_pixels(pixels)?.0),
            Picture::Strokes(strokes) => strokes.picture(&Raster::default(), None),
        }
    }

    /// The drawing that it is: with a transparent ground it is laid over what shows it. Strokes are moved and scaled before
    /// they are drawn, so that they fill `share` of their page, where it is given; for all else that is
    /// [`frame::sketch`]'s.
    ///
    /// # Errors
    /// Those of [`Image::open`] and [`Strokes::picture`].
    pub fn sketch(self, limits: DecodeLimits, share: Option<f32>) -> sketchfind_core::Result<Image> {
        match self {
            Picture::File(path) => open_sketch(&path, limits),
            Picture::Encoded { bytes, origin } => decode_sketch(&bytes, &origin, limits),
            Picture::Pixels(pixels) => frame::sketch_of_pixels(pixels),
            Picture::Strokes(strokes) => strokes.picture(&Raster::default(), share),
        }
    }

    /// What errors call it.
    pub fn origin(&self) -> String {
        match self {
            Picture::File(path) => format!("'{}'", path.display()),
            Picture::Encoded { origin, .. } => origin.clone(),
            Picture::Pixels(_) => "given as pixels".into(),
            Picture::Strokes(_) => "given as strokes".into(),
        }
    }

    /// The bytes of memory that it holds, about.
    pub fn n_bytes(&self) -> usize {
        match self {
            Picture::File(_) => 0,
            Picture::Encoded { bytes, .. } => bytes.len(),
            Picture::Pixels(pixels) => pixels.n_bytes(),
            Picture::Strokes(strokes) => strokes.n_points() * size_of::<[f32; 2]>(),
        }
    }
}
