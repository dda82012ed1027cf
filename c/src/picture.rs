//! Pictures and drawings as programs have them: files, pixels, strokes.

use sketchfind_core::frame::{decode_sketch, sketch_of_pixels};
use sketchfind_core::image::{Channels, DecodeLimits, Image, Pixels, Samples};
use sketchfind_core::strokes::Strokes;

use crate::border::{array, check_reserve, handle};
use crate::retriever::skf_retriever;
use crate::status::{Outcome, bad};

/// What the bytes of an image are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum skf_format {
    /// A file: JPEG, PNG, WebP, GIF, BMP or TIFF, which of them its content says.
    SKF_ENCODED = 0,
    /// Pixels of grey.
    SKF_GREY8 = 1,
    /// Pixels of red, green and blue.
    SKF_RGB8 = 2,
    /// Pixels of red, green, blue and opacity, by which the colours are not multiplied.
    SKF_RGBA8 = 3,
}

/// An image: a file's bytes, or pixels in sRGB, rows from the top. All zeros besides the bytes is a file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_image {
    /// The bytes.
    pub bytes: *const u8,
    /// How many there are.
    pub n_bytes: usize,
    /// What they are: a value of skf_format.
    pub format: u32,
    /// Of pixels, the width.
    pub width: u32,
    /// Of pixels, the height.
    pub height: u32,
    /// Of pixels, the bytes from the start of a row to the next; 0 where rows lie close together.
    pub stride: usize,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// Nothing.
impl Default for skf_image {
    fn default() -> skf_image {
        skf_image {
            bytes: std::ptr::null(),
            n_bytes: 0,
            format: skf_format::SKF_ENCODED as u32,
            width: 0,
            height: 0,
            stride: 0,
            reserved: [0; 4],
        }
    }
}

/// A drawing as pen movements. It is drawn in black on white, as evaluation and the server draw strokes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_strokes {
    /// The width of the page, in the unit of the points, 1 to 100000.
    pub width: f64,
    /// Its height.
    pub height: f64,
    /// The points of all polylines in the order in which they were drawn, x and y of each; y grows downwards.
    pub points: *const f64,
    /// The number of points, half of that of the numbers.
    pub n_points: usize,
    /// For each time that the pen was down, how many of the points were drawn.
    pub lengths: *const usize,
    /// The number of lengths.
    pub n_polylines: usize,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// An empty page without a size.
impl Default for skf_strokes {
    fn default() -> skf_strokes {
        skf_strokes {
            width: 0.0,
            height: 0.0,
            points: std::ptr::null(),
            n_points: 0,
            lengths: std::ptr::null(),
            n_polylines: 0,
            reserved: [0; 4],
        }
    }
}

/// What is searched with: an image or strokes; the other one is null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_sketch {
    /// The image.
    pub image: *const skf_image,
    /// Or the strokes.
    pub strokes: *const skf_strokes,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// Neither.
impl Default for skf_sketch {
    fn default() -> skf_sketch {
        skf_sketch { image: std::ptr::null(), strokes: std::ptr::null(), reserved: [0; 4] }
    }
}

/// An image that was checked.
enum Given<'a> {
    File(&'a [u8]),
    Pixels(Pixels),
}

/// # Safety
/// The image's bytes are as it says, and live for `'a`.
unsafe fn given<'a>(image: &skf_image) -> Outcome<Given<'a>> {
    check_reserve(&image.reserved, "an image")?;
    // SAFETY: by this function's contract.
    let bytes = unsafe { array(image.bytes, image.n_bytes, "bytes") }?;
    const ENCODED: u32 = skf_format::SKF_ENCODED as u32;
    const GREY: u32 = skf_format::SKF_GREY8 as u32;
    const RGB: u32 = skf_format::SKF_RGB8 as u32;
    const RGBA: u32 = skf_format::SKF_RGBA8 as u32;
    let channels = match image.format {
        ENCODED if (image.width, image.height, image.stride) == (0, 0, 0) => return Ok(Given::File(bytes)),
        ENCODED => {
            return Err(bad(
                "an image is a file's bytes and has a width, height or stride; set format for pixels",
            ));
        }
        GREY => Channels::Grey,
        RGB => Channels::Rgb,
        RGBA => Channels::Rgba,
        other => return Err(bad(format!("an image's format is {other}, expected a value of skf_format"))),
    };
    let (width, height) = (image.width, image.height);
    if width == 0 || height == 0 {
        return Err(bad(format!("an image's size is {width} x {height}, expected at least 1 x 1")));
    }
    let row = width as usize * channels.count();
    let stride = if image.stride == 0 { row } else { image.stride };
    if stride < row {
        return Err(bad(format!(
            "an image's stride is {stride}, expected 0 or at least the {row} bytes of a row"
        )));
    }
    // The last row need not be filled up.
    let needed = stride.checked_mul(height as usize - 1).and_then(|before| before.checked_add(row));
    if needed.is_none_or(|needed| bytes.len() < needed) {
        return Err(bad(format!(
            "an image has {} bytes, too few for {width} x {height} pixels of {} with a stride of {stride}",
            bytes.len(),
            channels.count()
        )));
    }
    let rows = bytes.chunks(stride).take(height as usize);
    let samples = rows.flat_map(|bytes| bytes[..row].iter().copied()).collect();
    Ok(Given::Pixels(Pixels::new(width, height, channels, Samples::Eight(samples))?))
}

/// The picture of an image, which errors call by `origin`.
///
/// # Safety
/// `image` is null or points to an image whose bytes are as it says.
pub(crate) unsafe fn picture(image: *const skf_image, origin: &str, limits: DecodeLimits) -> Outcome<Image> {
    // SAFETY: by this function's contract.
    let given = unsafe { given(handle(image, "image")?) }?;
    Ok(match given {
        Given::File(bytes) => Image::decode(bytes, origin, limits)?,
        Given::Pixels(pixels) => Image::of_pixels(pixels)?.0,
    })
}

/// The picture of a drawing.
///
/// # Safety
/// Of the sketch's pointers each is null or points to a value whose pointers are as it says.
pub(crate) unsafe fn drawing(sketch: &skf_sketch, retriever: &skf_retriever) -> Outcome<Image> {
    check_reserve(&sketch.reserved, "a sketch")?;
    match (sketch.image.is_null(), sketch.strokes.is_null()) {
        (false, true) => {
            // SAFETY: by this function's contract.
            let given = unsafe { given(handle(sketch.image, "image")?) }?;
            Ok(match given {
                Given::File(bytes) => decode_sketch(bytes, "given as bytes", retriever.limits)?,
                Given::Pixels(pixels) => sketch_of_pixels(pixels)?,
            })
        }
        (true, false) => {
            // SAFETY: by this function's contract.
            let strokes = unsafe { strokes(handle(sketch.strokes, "strokes")?) }?;
            Ok(retriever.retriever.drawn(&strokes)?)
        }
        _ => Err(bad("a sketch is an image or strokes, expected one of them, and null for the other")),
    }
}

/// # Safety
/// The pointers are null or as the struct says.
unsafe fn strokes(given: &skf_strokes) -> Outcome<Strokes> {
    check_reserve(&given.reserved, "strokes")?;
    // SAFETY: by this function's contract.
    let points = unsafe { array(given.points.cast::<[f64; 2]>(), given.n_points, "points") }?;
    // SAFETY: by this function's contract.
    let lengths = unsafe { array(given.lengths, given.n_polylines, "lengths") }?;
    let mut rest = points;
    let mut polylines = Vec::with_capacity(lengths.len());
    for (place, &length) in lengths.iter().enumerate() {
        let (polyline, behind) = rest.split_at_checked(length).ok_or_else(|| {
            bad(format!(
                "polyline {} of strokes has {length} points, but only {} of {} are left",
                place + 1,
                rest.len(),
                points.len()
            ))
        })?;
        polylines.push(polyline.to_vec());
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(bad(format!("{} points of strokes are in none of the polylines", rest.len())));
    }
    Ok(Strokes::drawn([given.width, given.height], &polylines)?)
}
