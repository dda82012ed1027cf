//! From the bytes of an image file to the numbers that a network reads: the one path that training and serving
//! share. Its parameters, [`Preprocess`], live in the model's card.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use ::image as codec;
use codec::{DynamicImage, ImageDecoder, ImageReader};
use fast_image_resize as fir;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod jpeg;
mod kind;
mod pixels;
mod png;
mod preset;
mod profile;
mod webp;

pub(crate) use kind::RAW;
pub use kind::{HEAD_BYTES, Kind, advice};
pub use pixels::{Channels, Pixels, Samples};
pub use preset::Preset;

/// An image of 8-bit red, green and blue, rows from the top, at least 1 x 1 pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// How opaque each pixel of an image is, 0 to 255, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alpha {
    width: u32,
    height: u32,
    values: Vec<u8>,
}

impl Alpha {
    /// The opacities of an image of this size.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the size is zero or does not fit the values.
    pub fn new(width: u32, height: u32, values: Vec<u8>) -> Result<Alpha> {
        let expected = u64::from(width) * u64::from(height);
        if expected == 0 || values.len() as u64 != expected {
            return Err(Error::Mismatch {
                what: "opacities of an image",
                expected: format!("{width} x {height}, above 0"),
                got: values.len().to_string(),
            });
        }
        Ok(Alpha { width, height, values })
    }

    /// The values, row-major.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Resized as [`Preprocess::resized`] does with images.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses.
    pub fn resized(&self, preprocess: &Preprocess) -> Result<Alpha> {
        let grey = self.values.iter().flat_map(|&value| [value; 3]).collect();
        let resized = preprocess.resized(&Image::new(self.width, self.height, grey)?)?;
        let values = resized.pixels.iter().step_by(3).copied().collect();
        Alpha::new(resized.width, resized.height, values)
    }
}

/// What a decoder may spend on one image.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// The most pixels (width times height) that are decoded; a larger image is refused before its pixels are
    /// allocated.
    pub max_pixels: u64,
}

/// 64 megapixels: any ordinary photograph; 192 MiB decoded.
impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_pixels: 1 << 26 }
    }
}

impl DecodeLimits {
    /// The longest file that is read, in bytes: what the most pixels take without compression, 16 bits in each of four
    /// channels, and as much again and a little for what else a file may hold.
    pub fn max_bytes(self) -> u64 {
        self.max_pixels.saturating_mul(16).saturating_add(1 << 20)
    }
}

/// The bytes of a file, or nothing where it has more than `max`.
fn read_at_most(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    use std::io::Read;
    let failed = Error::io("read", path);
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        if length > max {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        // A pipe or a device says that it has no bytes, and a file may grow.
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= max).then_some(bytes))
    };
    read().map_err(failed)
}

/// A decoder of bytes in a format that may spend no more than the limits, or why there is none.
fn open_decoder<'b>(
    bytes: &'b [u8],
    format: codec::ImageFormat,
    limits: DecodeLimits,
) -> std::result::Result<impl ImageDecoder + use<'b>, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Intermediate buffers of 16-bit RGBA take 8 bytes a pixel; twice that is room for any decoder.
    let mut decoder_limits = codec::Limits::default();
    decoder_limits.max_alloc = Some(limits.max_pixels.saturating_mul(16).max(1 << 20));
    reader.limits(decoder_limits);
    reader.into_decoder().map_err(|e| format!("as {format:?}: {e}"))
}

fn too_long(origin: &str, limits: DecodeLimits) -> Error {
    let reason = format!(
        "it is longer than the {} bytes that an image of {} pixels, the limit, may take",
        limits.max_bytes(),
        limits.max_pixels
    );
    Error::Image { origin: origin.to_owned(), reason }
}

impl Image {
    /// An image of `pixels`, `[height, width, 3]` row-major.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the size is zero or does not fit the pixels.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Image> {
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || pixels.len() as u64 != expected {
            return Err(Error::Mismatch {
                what: "bytes of an RGB image",
                expected: format!("{width} x {height} x 3, above 0"),
                got: pixels.len().to_string(),
            });
        }
        Ok(Image { width, height, pixels })
    }

    /// Decodes a file: JPEG, PNG, WebP, GIF (first frame), BMP or TIFF (first page), recognised by its content. EXIF orientation is
    /// applied, colours of another profile become sRGB, transparency is laid over white, grey becomes RGB, 16 bits a
    /// channel become 8. A file whose pixels are all there is read, though its end is missing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Image`] with the path where it is no such image, is damaged, or is over the limits.
    pub fn open(path: impl AsRef<Path>, limits: DecodeLimits) -> Result<Image> {
        let path = path.as_ref();
        let origin = format!("'{}'", path.display());
        let bytes = read_at_most(path, limits.max_bytes())?.ok_or_else(|| too_long(&origin, limits))?;
        Image::decode(&bytes, &origin, limits)
    }

    /// Decodes `bytes` as [`Image::open`] does; `origin` names them in errors.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn decode(bytes: &[u8], origin: &str, limits: DecodeLimits) -> Result<Image> {
        Ok(Image::decode_with_alpha(bytes, origin, limits)?.0)
    }

    /// As [`Image::open`], with the transparency that was laid over white, if the file has any.
    ///
    /// # Errors
    /// Those of [`Image::open`].
    pub fn open_with_alpha(path: &Path, limits: DecodeLimits) -> Result<(Image, Option<Alpha>)> {
        let origin = format!("'{}'", path.display());
        let bytes = read_at_most(path, limits.max_bytes())?.ok_or_else(|| too_long(&origin, limits))?;
        Image::decode_with_alpha(&bytes, &origin, limits)
    }

    /// As [`Image::decode`], with the transparency that was laid over white, if the image has any.
    ///
    /// # Errors
    /// Those of [`Image::decode`].
    pub fn decode_with_alpha(
        bytes: &[u8],
        origin: &str,
        limits: DecodeLimits,
    ) -> Result<(Image, Option<Alpha>)> {
        let error = |reason: String| Error::Image { origin: origin.to_owned(), reason };
        if bytes.is_empty() {
            return Err(error("it is empty".into()));
        }
        if bytes.len() as u64 > limits.max_bytes() {
            return Err(too_long(origin, limits));
        }
        if let Kind::OtherImage(format) = Kind::of(&bytes[..bytes.len().min(HEAD_BYTES)]) {
            return Err(error(advice(format)));
        }
        let Ok(format) = codec::guess_format(bytes) else {
            return Err(error("it is not a JPEG, PNG, WebP, GIF, BMP or TIFF file".into()));
        };
        let cut =
            || error(format!("as {format:?}: it is cut off: its data end before the image's last pixel"));
        let bytes = match format {
            codec::ImageFormat::Png => png::with_end(bytes),
            codec::ImageFormat::WebP if webp::is_cut(bytes) => return Err(cut()),
            _ => Cow::Borrowed(bytes),
        };
        let with_end;
        let mut decoder = open_decoder(&bytes, format, limits).map_err(error)?;
        let (width, height) = decoder.dimensions();
        let n_pixels = u64::from(width) * u64::from(height);
        if n_pixels == 0 {
            return Err(error(format!("its size is {width} x {height}")));
        }
        if n_pixels > limits.max_pixels {
            return Err(error(format!(
                "its size of {width} x {height} is over the limit of {} pixels",
                limits.max_pixels
            )));
        }
        // After the size was checked, for the walk remembers something of each block of pixels.
        let walked = (format == codec::ImageFormat::Jpeg).then(|| jpeg::walk(&bytes));
        match walked.map(|walked| walked.extent) {
            Some(jpeg::Extent::Cut) => return Err(cut()),
            Some(jpeg::Extent::WithoutEnd(end)) => {
                with_end = jpeg::with_end(&bytes[..end]);
                decoder = open_decoder(&with_end, format, limits).map_err(error)?;
            }
            Some(jpeg::Extent::Whole) | None => {}
        }
        // A JPEG's decoder reads the headers anew when it is asked.
        let may_have_profile = walked.is_none_or(|walked| walked.has_profile);
        let profile = if may_have_profile { decoder.icc_profile().ok().flatten() } else { None };
        // A broken orientation tag must not cost the image: it is decoration of the file, not its content.
        let orientation = decoder.orientation().unwrap_or(codec::metadata::Orientation::NoTransforms);
        let decoded =
            DynamicImage::from_decoder(decoder).map_err(|e| error(format!("as {format:?}: {e}")))?;
        upright_srgb(decoded, profile.as_deref(), orientation)
    }

    /// The width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `[height, width, 3]` row-major.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The luminance of each pixel ([`luma`]), 0 to 1.
    ///
    /// # Shapes
    /// Returns `[height, width]`, row-major.
    pub fn luminance(&self) -> Vec<f32> {
        self.pixels.chunks_exact(3).map(|pixel| luma([pixel[0], pixel[1], pixel[2]]) / 255.0).collect()
    }

    /// The image scaled down to fit a square of `side` pixels, its shape kept; as it is where it fits already.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses.
    pub fn thumbnail(&self, side: u32) -> Result<Image> {
        let longer = self.width.max(self.height);
        if longer <= side.max(1) {
            return Ok(self.clone());
        }
        let scaled = |size: u32| {
            let rounded =
                (u64::from(size) * u64::from(side.max(1)) + u64::from(longer) / 2) / u64::from(longer);
            // Below `side`, as the size is at most the longer one.
            rounded.max(1) as u32
        };
        resized_to(self, scaled(self.width), scaled(self.height), Interpolation::BilinearAntialias)
    }

    /// The image as the bytes of a JPEG file of a quality of 1 to 100.
    ///
    /// # Errors
    /// [`Error::Image`] where the encoder refuses.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        codec::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode(&self.pixels, self.width, self.height, codec::ExtendedColorType::Rgb8)
            .map_err(|e| Error::Image { origin: "to be written as JPEG".into(), reason: e.to_string() })?;
        Ok(bytes)
    }

    /// The image as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::Image`] where the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        use codec::ImageEncoder;
        let mut bytes = Vec::new();
        codec::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(&self.pixels, self.width, self.height, codec::ExtendedColorType::Rgb8)
            .map_err(|e| Error::Image { origin: "to be written as PNG".into(), reason: e.to_string() })?;
        Ok(bytes)
    }
}

/// ITU-R BT.601's luma of red, green and blue, 0 to 255.
pub fn luma([red, green, blue]: [u8; 3]) -> f32 {
    0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
}

/// The image at `width` x `height` pixels.
fn resized_to(image: &Image, width: u32, height: u32, interpolation: Interpolation) -> Result<Image> {
    match interpolation {
        Interpolation::BilinearAntialias => convolved(image, width, height, fir::FilterType::Bilinear),
        Interpolation::BicubicAntialias => {
            // The cubic with a = -0.5, which is Pillow's and torchvision's. It overshoots, and each of its two passes clips to
            // 8 bits, so that their order shows: across first, as there (but for tall pictures since Pillow 13). In one call
            // the library goes down first.
            let across = convolved(image, width, image.height, fir::FilterType::CatmullRom)?;
            convolved(&across, width, height, fir::FilterType::CatmullRom)
        }
    }
}

fn convolved(image: &Image, width: u32, height: u32, filter: fir::FilterType) -> Result<Image> {
    let error = |reason: String| Error::Image { origin: "being resized".into(), reason };
    // The typed form: the dynamic one compiles every pixel type and filter of the library into this crate,
    // which takes minutes.
    let source = fir::images::TypedImageRef::<fir::pixels::U8x3>::from_buffer(
        image.width,
        image.height,
        &image.pixels,
    )
    .map_err(|e| error(e.to_string()))?;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let mut target = fir::images::TypedImage::<fir::pixels::U8x3>::from_buffer(width, height, &mut pixels)
        .map_err(|e| error(e.to_string()))?;
    let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(filter));
    fir::Resizer::new().resize_typed(&source, &mut target, &options).map_err(|e| error(e.to_string()))?;
    Image::new(width, height, pixels)
}

/// Where all pixels end, those of files and others: colours in sRGB, turned upright, 8 bits, transparency over white and
/// apart.
fn upright_srgb(
    mut decoded: DynamicImage,
    profile: Option<&[u8]>,
    orientation: codec::metadata::Orientation,
) -> Result<(Image, Option<Alpha>)> {
    if let Some(profile) = profile {
        decoded = profile::to_srgb(decoded, profile);
    }
    decoded.apply_orientation(orientation);
    let (width, height) = (decoded.width(), decoded.height());
    if !decoded.color().has_alpha() {
        return Ok((Image::new(width, height, decoded.into_rgb8().into_raw())?, None));
    }
    let rgba = decoded.into_rgba8();
    let alpha: Vec<u8> = rgba.pixels().map(|pixel| pixel.0[3]).collect();
    let is_opaque = alpha.iter().all(|&value| value == u8::MAX);
    let alpha = if is_opaque { None } else { Some(Alpha::new(width, height, alpha)?) };
    Ok((Image::new(width, height, over_white(&rgba))?, alpha))
}

/// Lays RGBA over white: `out = (a * c + (255 - a) * 255) / 255`, rounded.
fn over_white(rgba: &codec::RgbaImage) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.pixels() {
        let alpha = u32::from(pixel.0[3]);
        for &channel in &pixel.0[..3] {
            let blended = alpha * u32::from(channel) + (255 - alpha) * 255;
            pixels.push(((blended + 127) / 255) as u8);
        }
    }
    pixels
}

/// How pixels are interpolated when an image is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Bilinear with the kernel widened when shrinking, as PIL does (and torchvision with `antialias=True`).
    BilinearAntialias,
    /// Bicubic (a = -0.5) with the kernel widened when shrinking, as PIL does.
    BicubicAntialias,
}

/// How an image of any shape becomes a square of the side that it is resized to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    /// All of it, the aspect ratio not kept ('Photo Pre-Training, But for Sketch', supplementary).
    #[default]
    Squash,
    /// The shorter side is brought to it and the aspect ratio kept; of the longer side the middle is seen. As torchvision's
    /// `Resize` of one number and `CenterCrop` do it: the longer side is rounded down.
    ShorterSide,
}

impl ResizeRule {
    fn is_default(&self) -> bool {
        *self == ResizeRule::default()
    }
}

/// The way from an image to a network's input: resize, crop a square, scale, normalise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Width and height in pixels of the square that the image is resized to ('Photo Pre-Training, But for Sketch',
    /// supplementary: 299 x 299).
    pub resize: u32,
    /// How an image that is no square becomes one.
    #[serde(default, skip_serializing_if = "ResizeRule::is_default")]
    pub resize_rule: ResizeRule,
    /// Width and height in pixels of the crop that the network sees; at most `resize` (there: 256 x 256).
    pub crop: u32,
    /// The interpolation of the resize.
    pub interpolation: Interpolation,
    /// Divides the values 0 to 255, before mean and deviation: 255 for networks that expect 0 to 1.
    #[serde(default = "white", skip_serializing_if = "is_white")]
    pub divisor: f32,
    /// Subtracted from each channel after that, in the order R, G, B.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
}

/// The usual divisor: 0 to 255 become 0 to 1.
fn white() -> f32 {
    255.0
}

/// Whether a divisor is the usual one, which cards leave out.
fn is_white(divisor: &f32) -> bool {
    *divisor == white()
}

/// The most pixels of an image that was resized by its shorter side: what is very long is refused before room is made for it.
const MOST_RESIZED: u64 = 1 << 26;

/// Where the crop lies in the resized image, and whether it is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Pixels left of the crop.
    pub left: u32,
    /// Pixels above the crop.
    pub top: u32,
    /// Whether the crop is flipped horizontally.
    pub flip: bool,
}

impl Preprocess {
    /// ImageNet's channel means, R, G, B, as torchvision's models expect them.
    pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    /// ImageNet's channel standard deviations, R, G, B.
    pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// Resize to `resize`, crop to `crop`, normalise with ImageNet's statistics.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn imagenet(resize: u32, crop: u32) -> Result<Preprocess> {
        let preprocess = Preprocess {
            resize,
            resize_rule: ResizeRule::Squash,
            crop,
            interpolation: Interpolation::BilinearAntialias,
            divisor: white(),
            mean: Preprocess::IMAGENET_MEAN,
            std: Preprocess::IMAGENET_STD,
        };
        preprocess.check()?;
        Ok(preprocess)
    }

    /// Checks the parameters, which may come from a file.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where sizes are zero or above 8192, the crop is larger than the image, a mean is not
    /// finite, or a divisor or standard deviation not above zero.
    pub fn check(&self) -> Result<()> {
        let out_of_range = |what, value: String, expected: &str| {
            Err(Error::OutOfRange { what, value, expected: expected.to_owned() })
        };
        if self.resize == 0 || self.resize > 8192 {
            return out_of_range("preprocess.resize", self.resize.to_string(), "1 to 8192 pixels");
        }
        if self.crop == 0 || self.crop > self.resize {
            let expected = format!("1 to preprocess.resize ({})", self.resize);
            return out_of_range("preprocess.crop", self.crop.to_string(), &expected);
        }
        if !(self.divisor.is_finite() && self.divisor > 0.0) {
            return out_of_range("preprocess.divisor", self.divisor.to_string(), "a number above 0");
        }
        if self.mean.iter().any(|m| !m.is_finite()) {
            return out_of_range("preprocess.mean", format!("{:?}", self.mean), "finite numbers");
        }
        if self.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return out_of_range("preprocess.std", format!("{:?}", self.std), "numbers above 0");
        }
        Ok(())
    }

    /// The image as a square of `resize` x `resize` pixels, by the rule of the resize.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses, or the image is so long that by its shorter side it would take more than
    /// 2^26 pixels.
    pub fn resized(&self, image: &Image) -> Result<Image> {
        if image.width == self.resize && image.height == self.resize {
            return Ok(image.clone());
        }
        match self.resize_rule {
            ResizeRule::Squash => resized_to(image, self.resize, self.resize, self.interpolation),
            ResizeRule::ShorterSide => self.by_shorter_side(image),
        }
    }

    /// The square in the middle of the image whose shorter side was brought to `resize`: the one of which
    /// [`Preprocess::centre_crop`] is what `CenterCrop` cuts from the whole.
    fn by_shorter_side(&self, image: &Image) -> Result<Image> {
        let (resize, shorter) = (u64::from(self.resize), u64::from(image.width.min(image.height)));
        let longer = u64::from(image.width.max(image.height)) * resize / shorter;
        let longer = u32::try_from(longer).ok().filter(|&longer| u64::from(longer) * resize <= MOST_RESIZED);
        let longer = longer.ok_or_else(|| Error::Image {
            origin: "being resized".into(),
            reason: format!(
                "{} x {} pixels with the shorter side brought to {resize} are over the limit of {MOST_RESIZED} pixels",
                image.width, image.height
            ),
        })?;
        let start = half_to_even(longer - self.crop) - self.centre_crop().left;
        let (width, height, left, top) = match image.width <= image.height {
            true => (self.resize, longer, 0, start),
            false => (longer, self.resize, start, 0),
        };
        let resized = resized_to(image, width, height, self.interpolation)?;
        let mut pixels = Vec::with_capacity(3 * (self.resize as usize).pow(2));
        for y in top..top + self.resize {
            let start = (y as usize * width as usize + left as usize) * 3;
            pixels.extend_from_slice(&resized.pixels[start..start + 3 * self.resize as usize]);
        }
        Image::new(self.resize, self.resize, pixels)
    }

    /// The crop that evaluation takes: the centre, `round((resize - crop) / 2)` from the left and the top, not
    /// flipped. Halves round to even, as in torchvision's `CenterCrop`.
    pub fn centre_crop(&self) -> Crop {
        let offset = half_to_even(self.resize - self.crop);
        Crop { left: offset, top: offset, flip: false }
    }

    /// Writes a crop of a resized image as network input: channels first, normalised.
    ///
    /// # Shapes
    /// `resized`: `resize` x `resize`; `out`: `[3, crop, crop]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where `resized`, `crop` or `out` have other sizes.
    pub fn write_tensor(&self, resized: &Image, crop: Crop, out: &mut [f32]) -> Result<()> {
        let side = self.crop as usize;
        let fits = |offset: u32| offset <= self.resize - self.crop;
        if (resized.width, resized.height) != (self.resize, self.resize)
            || !fits(crop.left)
            || !fits(crop.top)
            || out.len() != 3 * side * side
        {
            return Err(Error::Mismatch {
                what: "input of a crop",
                expected: format!("an image of {0} x {0} and {1} values", self.resize, 3 * side * side),
                got: format!(
                    "{} x {} at ({}, {}) and {} values",
                    resized.width,
                    resized.height,
                    crop.left,
                    crop.top,
                    out.len()
                ),
            });
        }
        for (channel, plane) in out.chunks_exact_mut(side * side).enumerate() {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            // 256 possible values: looked up, so that training and serving cannot differ by a rounding.
            let table: [f32; 256] = std::array::from_fn(|value| (value as f32 / self.divisor - mean) / std);
            for (y, row) in plane.chunks_exact_mut(side).enumerate() {
                let start = ((crop.top as usize + y) * self.resize as usize + crop.left as usize) * 3;
                let source = &resized.pixels[start..start + 3 * side];
                let values = source.iter().skip(channel).step_by(3).map(|&value| table[usize::from(value)]);
                if crop.flip {
                    row.iter_mut().rev().zip(values).for_each(|(to, value)| *to = value);
                } else {
                    row.iter_mut().zip(values).for_each(|(to, value)| *to = value);
                }
            }
        }
        Ok(())
    }

    /// The whole way of evaluation and serving: resize, centre crop, normalise.
    ///
    /// # Shapes
    /// Returns `[3, crop, crop]`.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses.
    pub fn tensor(&self, image: &Image) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.tensor_len()];
        self.write_tensor(&self.resized(image)?, self.centre_crop(), &mut out)?;
        Ok(out)
    }

    /// The way of evaluation and serving for networks that normalise by themselves: resize, centre crop.
    ///
    /// # Shapes
    /// Returns `[crop, crop, 3]`, in 0..255.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses.
    pub fn pixels(&self, image: &Image) -> Result<Vec<u8>> {
        let resized = self.resized(image)?;
        let crop = self.centre_crop();
        let mut out = Vec::with_capacity(self.tensor_len());
        for y in 0..self.crop {
            let start = ((crop.top + y) as usize * self.resize as usize + crop.left as usize) * 3;
            out.extend_from_slice(&resized.pixels[start..start + 3 * self.crop as usize]);
        }
        Ok(out)
    }

    /// [`Preprocess::tensor`] with channels last.
    ///
    /// # Shapes
    /// Returns `[crop, crop, 3]`.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses.
    pub fn tensor_channels_last(&self, image: &Image) -> Result<Vec<f32>> {
        let planes = self.tensor(image)?;
        let side = planes.len() / 3;
        Ok((0..planes.len()).map(|place| planes[place % 3 * side + place / 3]).collect())
    }

    /// [`Preprocess::pixels`] with channels first.
    ///
    /// # Shapes
    /// Returns `[3, crop, crop]`, in 0..255.
    ///
    /// # Errors
    /// [`Error::Image`] where the resizer refuses.
    pub fn pixels_channels_first(&self, image: &Image) -> Result<Vec<u8>> {
        let pixels = self.pixels(image)?;
        Ok((0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect())
    }

    /// The number of values in one input, `3 * crop * crop`.
    pub fn tensor_len(&self) -> usize {
        3 * self.crop as usize * self.crop as usize
    }
}

/// Half of `margin`; halves round to even.
fn half_to_even(margin: u32) -> u32 {
    let half = margin / 2;
    if margin % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}
