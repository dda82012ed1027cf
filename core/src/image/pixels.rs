//! Pixels as programs hold them, which become an image as those of a file do.

use ::image as codec;
use codec::{DynamicImage, ImageBuffer};

use super::{Alpha, Image, upright_srgb};
use crate::{Error, Result};

/// What the numbers of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One number: grey.
    Grey,
    /// Two: grey and opacity.
    GreyAlpha,
    /// Three: red, green and blue.
    Rgb,
    /// Four: red, green, blue and opacity.
    Rgba,
    /// Four: cyan, magenta, yellow and black, more is more ink.
    Cmyk,
}

impl Channels {
    /// How many numbers a pixel has.
    pub fn count(self) -> usize {
        match self {
            Channels::Grey => 1,
            Channels::GreyAlpha => 2,
            Channels::Rgb => 3,
            Channels::Rgba | Channels::Cmyk => 4,
        }
    }
}

/// The numbers of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    /// Of 8 bits, 0 to 255.
    Eight(Vec<u8>),
    /// Of 16 bits, 0 to 65535.
    Sixteen(Vec<u16>),
}

impl Samples {
    fn len(&self) -> usize {
        match self {
            Samples::Eight(values) => values.len(),
            Samples::Sixteen(values) => values.len(),
        }
    }
}

/// A picture that another library has decoded, with what its file said of colours and orientation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    width: u32,
    height: u32,
    channels: Channels,
    samples: Samples,
    profile: Option<Vec<u8>>,
    orientation: u8,
}

impl Pixels {
    /// Pixels, rows from the top.
    ///
    /// # Shapes
    /// `samples`: `[height, width, channels]`, row-major.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the size is zero or does not fit the samples.
    pub fn new(width: u32, height: u32, channels: Channels, samples: Samples) -> Result<Pixels> {
        let expected = u64::from(width) * u64::from(height) * channels.count() as u64;
        if expected == 0 || samples.len() as u64 != expected {
            return Err(Error::Mismatch {
                what: "numbers of a picture",
                expected: format!("{width} x {height} x {}, above 0", channels.count()),
                got: samples.len().to_string(),
            });
        }
        Ok(Pixels { width, height, channels, samples, profile: None, orientation: 1 })
    }

    /// The same pixels with the ICC profile that their colours are of.
    #[must_use]
    pub fn with_profile(mut self, profile: Vec<u8>) -> Pixels {
        self.profile = Some(profile);
        self
    }

    /// The same pixels with the orientation of EXIF, 1 to 8, that they are to be turned by; another number turns nothing.
    #[must_use]
    pub fn with_orientation(mut self, exif: u8) -> Pixels {
        self.orientation = exif;
        self
    }

    /// The bytes of memory that the numbers take.
    pub fn n_bytes(&self) -> usize {
        match &self.samples {
            Samples::Eight(values) => values.len(),
            Samples::Sixteen(values) => values.len() * 2,
        }
    }

    fn into_dynamic(self) -> Option<DynamicImage> {
        let (width, height) = (self.width, self.height);
        macro_rules! buffer {
            ($values:expr) => {
                ImageBuffer::from_raw(width, height, $values)
            };
        }
        Some(match (self.channels, self.samples) {
            (Channels::Grey, Samples::Eight(values)) => DynamicImage::ImageLuma8(buffer!(values)?),
            (Channels::GreyAlpha, Samples::Eight(values)) => DynamicImage::ImageLumaA8(buffer!(values)?),
            (Channels::Rgb, Samples::Eight(values)) => DynamicImage::ImageRgb8(buffer!(values)?),
            (Channels::Rgba, Samples::Eight(values)) => DynamicImage::ImageRgba8(buffer!(values)?),
            (Channels::Cmyk, Samples::Eight(values)) => {
                DynamicImage::ImageRgb8(buffer!(of_inks(&values, u8::MAX.into()))?)
            }
            (Channels::Grey, Samples::Sixteen(values)) => DynamicImage::ImageLuma16(buffer!(values)?),
            (Channels::GreyAlpha, Samples::Sixteen(values)) => DynamicImage::ImageLumaA16(buffer!(values)?),
            (Channels::Rgb, Samples::Sixteen(values)) => DynamicImage::ImageRgb16(buffer!(values)?),
            (Channels::Rgba, Samples::Sixteen(values)) => DynamicImage::ImageRgba16(buffer!(values)?),
            (Channels::Cmyk, Samples::Sixteen(values)) => {
                DynamicImage::ImageRgb16(buffer!(of_inks(&values, u16::MAX.into()))?)
            }
        })
    }
}

/// Red, green and blue of inks, as JPEG's decoder has it: each is what its ink and black let through. TIFF's does the same, but
/// rounds down.
fn of_inks<T: Copy + Into<u64> + TryFrom<u64> + Default>(inks: &[T], most: u64) -> Vec<T> {
    let through = |ink: T, black: T| {
        let product = (most - ink.into()) * (most - black.into());
        // At most `most`, which fits.
        T::try_from((product + most / 2) / most).unwrap_or_default()
    };
    let pixels = inks.chunks_exact(4);
    pixels.flat_map(|pixel| [0, 1, 2].map(|ink| through(pixel[ink], pixel[3]))).collect()
}

impl Image {
    /// The image of pixels, as [`Image::open`] makes it of a file's: turned upright, in sRGB, 8 bits a channel, transparency laid
    /// over white. With the transparency, if there is any.
    ///
    /// ```
    /// use sketchfind_core::image::{Channels, Image, Pixels, Samples};
    /// let half_red = Pixels::new(1, 1, Channels::Rgba, Samples::Eight(vec![255, 0, 0, 128]))?;
    /// let (image, alpha) = Image::of_pixels(half_red)?;
    /// assert_eq!((image.pixels(), alpha.unwrap().values()), ([255, 127, 127].as_slice(), [128].as_slice()));
    /// # Ok::<(), sketchfind_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Image`], which pixels that were made have no cause for.
    pub fn of_pixels(mut pixels: Pixels) -> Result<(Image, Option<Alpha>)> {
        let profile = pixels.profile.take();
        let orientation = codec::metadata::Orientation::from_exif(pixels.orientation)
            .unwrap_or(codec::metadata::Orientation::NoTransforms);
        let decoded = pixels.into_dynamic().ok_or_else(|| Error::Image {
            origin: "given as pixels".into(),
            reason: "its numbers do not fit its size".into(),
        })?;
        upright_srgb(decoded, profile.as_deref(), orientation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DecodeLimits;
    use super::*;

    fn encoded(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, codec::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// Every layout, by the decoder of a file and as pixels.
    #[test]
    fn pixels_are_the_picture_that_their_file_is() {
        let eight = |n: usize| (0..6 * n).map(|i| (i * 37 % 256) as u8).collect::<Vec<u8>>();
        let sixteen = |n: usize| (0..6 * n).map(|i| (i * 9973 % 65536) as u16).collect::<Vec<u16>>();
        for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
            for samples in
                [Samples::Eight(eight(channels.count())), Samples::Sixteen(sixteen(channels.count()))]
            {
                let pixels = Pixels::new(3, 2, channels, samples).unwrap();
                let file = encoded(&pixels.clone().into_dynamic().unwrap());
                let expected = Image::decode_with_alpha(&file, "a test", DecodeLimits::default()).unwrap();
                assert_eq!(Image::of_pixels(pixels.clone()).unwrap(), expected, "{pixels:?}");
            }
        }
    }

    #[test]
    fn inks_are_let_through() {
        let image = |inks: [u8; 4]| {
            let pixels = Pixels::new(1, 1, Channels::Cmyk, Samples::Eight(inks.to_vec())).unwrap();
            Image::of_pixels(pixels).unwrap().0.pixels().to_vec()
        };
        assert_eq!(image([0, 0, 0, 0]), [255, 255, 255]);
        assert_eq!(image([255, 0, 0, 0]), [0, 255, 255]);
        assert_eq!(image([0, 0, 0, 255]), [0, 0, 0]);
        assert_eq!(image([0, 128, 255, 128]), [127, 63, 0]);
        let deep = Samples::Sixteen(vec![0, 65535, 0, 0]);
        let deep = Image::of_pixels(Pixels::new(1, 1, Channels::Cmyk, deep).unwrap()).unwrap();
        assert_eq!(deep.0.pixels(), [255, 0, 255]);
    }

    #[test]
    fn pixels_are_turned_as_exif_says() {
        let pixels = Pixels::new(2, 1, Channels::Grey, Samples::Eight(vec![10, 20])).unwrap();
        let image = |exif| Image::of_pixels(pixels.clone().with_orientation(exif)).unwrap().0;
        assert_eq!(image(1).pixels(), [10, 10, 10, 20, 20, 20]);
        assert_eq!(image(3).pixels(), [20, 20, 20, 10, 10, 10]);
        assert_eq!((image(6).width(), image(6).height()), (1, 2));
        // Cameras write nonsense too.
        assert_eq!(image(0), image(1));
        assert_eq!(image(99), image(1));
    }

    #[test]
    fn numbers_fit_their_size() {
        for (width, height, n) in [(0, 1, 0), (1, 0, 0), (1, 1, 2), (2, 2, 13)] {
            let error = Pixels::new(width, height, Channels::Rgb, Samples::Eight(vec![0; n])).unwrap_err();
            assert!(error.to_string().contains(&format!("{width} x {height} x 3")), "{error}");
        }
    }
}
