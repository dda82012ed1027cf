//! Where a drawing lies on its page, and where a model expects it: pages of any shape and ground, with a drawing anywhere
//! on them, become what a model was trained with, dark lines on a white square that they fill to a known share.
//!
//! The ground of a page is a smooth surface, of second order in x and y, fitted to the pixels that lie near it: paper in
//! uneven light has one as well as a white canvas. What differs from it by more than its noise is content. Shares are of
//! the longer side: that of the content's box to that of the page.
//!
//! Photos are framed more rarely: only where a plain ground shows a product that is smaller than nearly all that the model
//! was trained with.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::image::{Alpha, DecodeLimits, Image, Pixels};
use crate::{Error, Result};

mod mask;
mod surface;

use mask::Mask;
use surface::Surface;

/// The longer side, in pixels, at which content is looked for.
const SEARCH_SIDE: u32 = 384;
/// The longest side of what is given to a model, which makes less of it anyway.
const LONGEST_SIDE: f64 = 1024.0;
/// The weakest lines, as a part of the ground's luminance, that are told from an empty page.
const WEAKEST_LINES: f32 = 0.08;
/// The smallest drawing, as a share of its page: what is smaller is taken for nothing.
pub const SMALLEST_DRAWING: f32 = 0.03;
/// The least number of its pixels at the size at which it is looked for.
const FEWEST_PIXELS: usize = 12;
/// A drawing with a smaller share is looked at again, larger: its box is found to a pixel of the small page.
const LOOKED_AT_AGAIN: f32 = 0.3;
/// A page whose content covers more than this part is a picture without a ground.
const MOST_CONTENT: f64 = 0.6;
/// Content is lines where erosion by the gap of [`Mask::joined`] leaves at most this part.
const MOST_SOLID: f64 = 0.25;
/// The width of a photo's border that shows whether its ground is plain, as a share of the longer side, and the part of the
/// border that may differ from it.
const BORDER: f64 = 0.03;
const MOST_OF_BORDER: f64 = 0.25;
/// The standard deviation from which a ground is no plain one, of the whole range.
const MOST_NOISE: f32 = 0.05;

/// How the images lay on their pages that a model was trained with. It stands in the model's card.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// The median share of sketches.
    pub sketch: f32,
    /// The shares of photos, where most had a plain ground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<PhotoFrame>,
}

/// How the products of photos lay on their pages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhotoFrame {
    /// The median share.
    pub typical: f32,
    /// The share that one photo in twenty was below.
    pub least: f32,
}

/// A part of an image, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The left edge.
    pub left: f64,
    /// The upper edge.
    pub top: f64,
    /// The width, above 0.
    pub width: f64,
    /// The height, above 0.
    pub height: f64,
}

impl Frame {
    /// The frame of training images with these shares; nothing without a sketch. Photos without a plain ground have none.
    pub fn of_shares(sketches: Vec<f32>, photos: Vec<Option<f32>>) -> Option<Frame> {
        let n_photos = photos.len();
        let plain: Vec<f32> = photos.into_iter().flatten().collect();
        let photo = if plain.is_empty() || 2 * plain.len() < n_photos {
            None
        } else {
            let [least, typical] = quantiles(plain, [0.05, 0.5]);
            Some(PhotoFrame { typical, least })
        };
        if sketches.is_empty() {
            return None;
        }
        let [sketch] = quantiles(sketches, [0.5]);
        Some(Frame { sketch, photo })
    }

    /// Checks the shares, which may come from a file.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn check(&self) -> Result<()> {
        check_share("frame.sketch", self.sketch)?;
        let Some(photo) = self.photo else { return Ok(()) };
        check_share("frame.photo.typical", photo.typical)?;
        if (0.0..=photo.typical).contains(&photo.least) {
            return Ok(());
        }
        let expected = format!("0 to frame.photo.typical ({})", photo.typical);
        Err(Error::OutOfRange { what: "frame.photo.least", value: photo.least.to_string(), expected })
    }
}

/// Checks a share that content is to have.
///
/// # Errors
/// [`Error::OutOfRange`].
pub fn check_share(what: &'static str, share: f32) -> Result<()> {
    if (0.2..=1.0).contains(&share) {
        return Ok(());
    }
    let expected = "0.2 to 1: the longer side of what is drawn, as a share of the page's".into();
    Err(Error::OutOfRange { what, value: share.to_string(), expected })
}

/// Decodes a drawing as [`Image::open`] does, but for a transparent ground, which is laid over white or black,
/// whichever shows what is drawn.
///
/// # Errors
/// Those of [`Image::open`].
pub fn open_sketch(path: &std::path::Path, limits: DecodeLimits) -> Result<Image> {
    let (image, alpha) = Image::open_with_alpha(path, limits)?;
    over_contrast(image, alpha)
}

/// Decodes `bytes` as [`open_sketch`] does; `origin` names them in errors.
///
/// # Errors
/// Those of [`Image::decode`].
pub fn decode_sketch(bytes: &[u8], origin: &str, limits: DecodeLimits) -> Result<Image> {
    let (image, alpha) = Image::decode_with_alpha(bytes, origin, limits)?;
    over_contrast(image, alpha)
}

/// The drawing of pixels, as [`open_sketch`] makes it of a file.
///
/// # Errors
/// Those of [`Image::of_pixels`].
pub fn sketch_of_pixels(pixels: Pixels) -> Result<Image> {
    let (image, alpha) = Image::of_pixels(pixels)?;
    over_contrast(image, alpha)
}

/// Lays what was laid over white over black where it is light itself.
fn over_contrast(image: Image, alpha: Option<Alpha>) -> Result<Image> {
    let Some(alpha) = alpha else { return Ok(image) };
    let over_black = |value: u8, a: u8| value.saturating_sub(255 - a);
    let pixels: Vec<u8> = image
        .pixels()
        .chunks_exact(3)
        .zip(alpha.values())
        .flat_map(|(pixel, &a)| [over_black(pixel[0], a), over_black(pixel[1], a), over_black(pixel[2], a)])
        .collect();
    let black = Image::new(image.width(), image.height(), pixels)?;
    let light: f64 = black.luminance().iter().copied().map(f64::from).sum();
    let area: f64 = alpha.values().iter().map(|&a| f64::from(a) / 255.0).sum();
    Ok(if light > 0.6 * area { black } else { image })
}

/// A drawing as a model was trained with drawings: on a white square of which it fills `share`, in dark lines. What is no
/// drawing of lines keeps its colours; a picture without a ground stays as it is.
///
/// # Errors
/// [`Error::Blank`] where nothing, or next to nothing, is drawn; [`Error::OutOfRange`] for the share; [`Error::Image`]
/// where the resizer refuses.
pub fn sketch(image: &Image, share: f32) -> Result<Image> {
    check_share("frame", share)?;
    let page = Page::of(image)?;
    let region = match page.content() {
        Content::Blank(reason) => return Err(Error::Blank { reason }),
        Content::Everywhere => return Ok(image.clone()),
        Content::Within(region) => region,
    };
    if self::share(image, region) < LOOKED_AT_AGAIN {
        return sketch(&around(image, region)?, share);
    }
    let cut = Cut::of(image, region, f64::from(share))?;
    if !page.is_lines() {
        return cut.with_colours(page.ground_colour());
    }
    let luminance = cut.image.luminance();
    let (width, height) = (f64::from(cut.image.width()), f64::from(cut.image.height()));
    let faint = 0.5 * page.threshold;
    cut.with_values(|x, y| {
        let place = [(f64::from(x) + 0.5) / width, (f64::from(y) + 0.5) / height];
        let own = luminance[y as usize * cut.image.width() as usize + x as usize];
        let contrast = contrast(page.is_dark, own, page.ground.at(place) as f32);
        let ink = ((contrast - faint) / (page.strongest - faint)).clamp(0.0, 1.0);
        (255.0 * (1.0 - ink)) as u8
    })
}

/// A region with a margin of half of its longer side, as far as the page goes: of it a drawing fills half.
fn around(image: &Image, region: Region) -> Result<Image> {
    let margin = 0.5 * region.width.max(region.height);
    let part = |start: f64, length: f64, n: u32| {
        let from = (start - margin).floor().max(0.0) as usize;
        from..((start + length + margin).ceil() as usize).min(n as usize)
    };
    let columns = part(region.left, region.width, image.width());
    let rows = part(region.top, region.height, image.height());
    let size = (columns.len() as u32, rows.len() as u32);
    let width = image.width() as usize;
    let pixels =
        rows.flat_map(|y| &image.pixels()[3 * (y * width + columns.start)..3 * (y * width + columns.end)]);
    Image::new(size.0, size.1, pixels.copied().collect())
}

/// The share of a drawing on its page; nothing where there is none, or no ground.
///
/// # Errors
/// [`Error::Image`] where the resizer refuses.
pub fn share_of_sketch(image: &Image) -> Result<Option<f32>> {
    Ok(match Page::of(image)?.content() {
        Content::Within(region) => Some(share(image, region)),
        Content::Blank(_) | Content::Everywhere => None,
    })
}

/// The share of the product in a photo with a plain ground; nothing in another.
///
/// # Errors
/// [`Error::Image`] where the resizer refuses.
pub fn share_of_photo(image: &Image) -> Result<Option<f32>> {
    Ok(product(image)?.map(|(region, _)| share(image, region)))
}

/// A photo as a model was trained with photos: cut to a square around the product, where a plain ground shows one that is
/// smaller than those of training; else as it is.
///
/// # Errors
/// [`Error::Image`] where the resizer refuses.
pub fn photo(image: &Image, frame: &PhotoFrame) -> Result<Image> {
    match product(image)? {
        Some((region, ground)) if share(image, region) < frame.least => {
            Cut::of(image, region, f64::from(frame.typical))?.with_colours(ground)
        }
        _ => Ok(image.clone()),
    }
}

/// A photo cut to a square around the product in `region`, of which it fills `share`. Beyond the photo's edges the colour is
/// that of its border.
///
/// # Errors
/// [`Error::OutOfRange`] where the region is not within the image; [`Error::Image`] where the resizer refuses.
pub fn photo_around(image: &Image, region: Region, share: f32) -> Result<Image> {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let Region { left, top, width: w, height: h } = region;
    if !(left >= 0.0 && top >= 0.0 && w > 0.0 && h > 0.0 && left + w <= width && top + h <= height) {
        return Err(Error::OutOfRange {
            what: "the box of a photo",
            value: format!("left {left}, top {top}, width {w}, height {h}"),
            expected: format!("a part of its {width} x {height} pixels"),
        });
    }
    let small = image.thumbnail(SEARCH_SIDE)?;
    let ground = median_colour(&small, &border(&small));
    Cut::of(image, region, f64::from(share))?.with_colours(ground)
}

fn share(image: &Image, region: Region) -> f32 {
    (region.width.max(region.height) / f64::from(image.width().max(image.height()))) as f32
}

/// What lies on a page.
enum Content {
    /// Nothing, and why that is thought.
    Blank(String),
    /// Something in this part.
    Within(Region),
    /// Something all over it.
    Everywhere,
}

/// A page with something drawn on it, looked at when small.
struct Page<'i> {
    ground: Surface,
    /// Whether lines are darker than the ground.
    is_dark: bool,
    /// The contrast from which a pixel is ink, and that of the strongest lines.
    threshold: f32,
    strongest: f32,
    ink: Mask,
    image: &'i Image,
    small: Image,
}

impl Page<'_> {
    fn of(image: &Image) -> Result<Page<'_>> {
        let small = image.thumbnail(SEARCH_SIDE)?;
        let luminance = small.luminance();
        let (width, height) = (small.width() as usize, small.height() as usize);
        let (ground, noise) = Surface::fit(&luminance, width, &border(&small));
        let grounds = ground.values(width, height);
        let beyond = 0.05_f32.max(4.0 * noise);
        let (mut darker, mut lighter) = (0.0_f64, 0.0_f64);
        for (own, ground) in luminance.iter().zip(&grounds) {
            darker += f64::from((ground - own - beyond).max(0.0));
            lighter += f64::from((own - ground - beyond).max(0.0));
        }
        let is_dark = darker >= lighter;
        let contrasts: Vec<f32> =
            luminance.iter().zip(&grounds).map(|(&own, &ground)| contrast(is_dark, own, ground)).collect();
        let largest = contrasts.iter().copied().fold(0.0, f32::max);
        let [strong] = quantiles(contrasts.clone(), [0.995]);
        let strongest = strong.max(0.5 * largest);
        let threshold = 0.06_f32.max(5.0 * noise).max(0.3 * strongest);
        let is_set = contrasts.iter().map(|&contrast| contrast > threshold).collect();
        let ink = Mask { width, is_set, weights: contrasts };
        Ok(Page { ground, is_dark, threshold, strongest, ink, image, small })
    }

    fn content(&self) -> Content {
        if self.strongest < WEAKEST_LINES {
            return Content::Blank(format!(
                "its strongest lines differ from the ground by {:.0} %, expected {:.0} % or more",
                100.0 * self.strongest,
                100.0 * WEAKEST_LINES
            ));
        }
        let n_pixels = self.ink.is_set.iter().filter(|&&is_set| is_set).count();
        let region = if n_pixels < FEWEST_PIXELS { None } else { self.ink.region() };
        let Some(region) = region else {
            return Content::Blank(format!("only {n_pixels} pixels differ from the ground, expected more"));
        };
        if n_pixels as f64 > MOST_CONTENT * self.ink.is_set.len() as f64 {
            return Content::Everywhere;
        }
        let region = enlarged(region, &self.small, self.image);
        let share = share(self.image, region);
        if share < SMALLEST_DRAWING {
            return Content::Blank(format!(
                "what is drawn fills {:.1} % of its page's longer side, expected {:.0} % or more",
                100.0 * share,
                100.0 * SMALLEST_DRAWING
            ));
        }
        Content::Within(region)
    }

    fn is_lines(&self) -> bool {
        let n = |mask: &[bool]| mask.iter().filter(|&&is_set| is_set).count() as f64;
        n(&self.ink.eroded()) <= MOST_SOLID * n(&self.ink.is_set)
    }

    /// The colour of what is not content.
    fn ground_colour(&self) -> [u8; 3] {
        let is_ground: Vec<bool> = self.ink.is_set.iter().map(|is_ink| !is_ink).collect();
        median_colour(&self.small, &is_ground)
    }
}

/// How much a luminance differs from its ground towards ink, as a part of the ground's distance from ink, 0 to 1.
fn contrast(is_dark: bool, own: f32, ground: f32) -> f32 {
    let (own, ground) = if is_dark { (own, ground) } else { (1.0 - own, 1.0 - ground) };
    ((ground - own) / ground.max(0.1)).clamp(0.0, 1.0)
}

/// The product on a plain ground, and the ground's colour.
fn product(image: &Image) -> Result<Option<(Region, [u8; 3])>> {
    let small = image.thumbnail(SEARCH_SIDE)?;
    let (width, height) = (small.width() as usize, small.height() as usize);
    let on_border = border(&small);
    let mut is_set = vec![false; width * height];
    let mut colour = [0; 3];
    for (channel, value) in colour.iter_mut().enumerate() {
        let plane: Vec<f32> =
            small.pixels().chunks_exact(3).map(|pixel| f32::from(pixel[channel]) / 255.0).collect();
        let (ground, noise) = Surface::fit(&plane, width, &on_border);
        if noise > MOST_NOISE {
            return Ok(None);
        }
        let beyond = 0.04_f32.max(5.0 * noise);
        let grounds = ground.values(width, height);
        for ((is_set, own), ground) in is_set.iter_mut().zip(&plane).zip(&grounds) {
            *is_set |= (own - ground).abs() > beyond;
        }
        let of_border = grounds.iter().zip(&on_border).filter(|(_, on)| **on);
        *value =
            median_of(of_border.map(|(ground, _)| (255.0 * ground.clamp(0.0, 1.0)).round() as u8).collect());
    }
    let n_border = on_border.iter().filter(|&&on| on).count() as f64;
    let n_other = on_border.iter().zip(&is_set).filter(|(on, is_set)| **on && **is_set).count() as f64;
    if n_other > MOST_OF_BORDER * n_border {
        return Ok(None);
    }
    let mask = Mask { width, weights: vec![1.0; is_set.len()], is_set };
    Ok(mask.region().map(|region| (enlarged(region, &small, image), colour)))
}

/// Which pixels of an image lie on its border.
fn border(image: &Image) -> Vec<bool> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let wide = ((BORDER * width.max(height) as f64).round() as usize).max(1);
    let near = |at: usize, n: usize| at < wide || at + wide >= n;
    (0..width * height).map(|at| near(at % width, width) || near(at / width, height)).collect()
}

/// A region of the small image, in the whole one.
fn enlarged(region: Region, small: &Image, image: &Image) -> Region {
    let x = f64::from(image.width()) / f64::from(small.width());
    let y = f64::from(image.height()) / f64::from(small.height());
    Region { left: region.left * x, top: region.top * y, width: region.width * x, height: region.height * y }
}

/// A square around a region, which may reach beyond the image that it is cut from.
struct Cut<'i> {
    image: Cow<'i, Image>,
    left: i64,
    top: i64,
    side: u32,
}

impl Cut<'_> {
    fn of(image: &Image, region: Region, share: f64) -> Result<Cut<'_>> {
        let side = region.width.max(region.height) / share;
        let longer = f64::from(image.width().max(image.height()));
        let image = match LONGEST_SIDE / side {
            scale if scale < 1.0 => Cow::Owned(image.thumbnail((longer * scale).round().max(1.0) as u32)?),
            _ => Cow::Borrowed(image),
        };
        let scale = f64::from(image.width().max(image.height())) / longer;
        let corner = |start: f64, length: f64| ((start + (length - side) / 2.0) * scale).round() as i64;
        Ok(Cut {
            left: corner(region.left, region.width),
            top: corner(region.top, region.height),
            side: ((side * scale).round() as u32).max(1),
            image,
        })
    }

    /// The square with the image's own pixels, and `ground` beyond it.
    fn with_colours(&self, ground: [u8; 3]) -> Result<Image> {
        let pixels = self.image.pixels();
        let width = self.image.width() as usize;
        let colour = |x: u32, y: u32| {
            let at = 3 * (y as usize * width + x as usize);
            [pixels[at], pixels[at + 1], pixels[at + 2]]
        };
        self.filled(|place| place.map_or(ground, |(x, y)| colour(x, y)))
    }

    /// The square in grey, with `value` of each pixel, and white beyond it.
    fn with_values(&self, value: impl Fn(u32, u32) -> u8) -> Result<Image> {
        self.filled(|place| [place.map_or(255, |(x, y)| value(x, y)); 3])
    }

    fn filled(&self, colour: impl Fn(Option<(u32, u32)>) -> [u8; 3]) -> Result<Image> {
        let within =
            |start: i64, at: u32, n: u32| u32::try_from(start + i64::from(at)).ok().filter(|&at| at < n);
        let mut pixels = Vec::with_capacity(3 * self.side as usize * self.side as usize);
        for y in 0..self.side {
            let y = within(self.top, y, self.image.height());
            for x in 0..self.side {
                let x = within(self.left, x, self.image.width());
                pixels.extend(colour(x.zip(y)));
            }
        }
        Image::new(self.side, self.side, pixels)
    }
}

/// The values at shares of the list as if it were sorted, each the nearest; 0 of an empty one.
fn quantiles<const N: usize>(mut values: Vec<f32>, shares: [f64; N]) -> [f32; N] {
    let Some(last) = values.len().checked_sub(1) else { return [0.0; N] };
    shares
        .map(|share| *values.select_nth_unstable_by((share * last as f64).round() as usize, f32::total_cmp).1)
}

/// For each channel the median of the pixels that are `of` it.
fn median_colour(image: &Image, of: &[bool]) -> [u8; 3] {
    [0, 1, 2].map(|channel| {
        let pixels = image.pixels().chunks_exact(3).zip(of).filter(|(_, is_of)| **is_of);
        median_of(pixels.map(|(pixel, _)| pixel[channel]).collect())
    })
}

fn median_of(mut values: Vec<u8>) -> u8 {
    let middle = values.len() / 2;
    if values.is_empty() { 255 } else { *values.select_nth_unstable(middle).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as people draw them, a house with a door and a round window, on a page of `width` x `height`: `at` is the
    /// drawing's corner, `side` its longer side; `value` says what becomes of the ink at a place, 0 to 1.
    fn page(
        (width, height): (u32, u32),
        at: (f64, f64),
        side: f64,
        value: impl Fn(f64, f64, f64) -> [f64; 3],
    ) -> Image {
        let segments = [
            ([0.1, 0.4], [0.1, 1.0]),
            ([0.1, 1.0], [0.9, 1.0]),
            ([0.9, 1.0], [0.9, 0.4]),
            ([0.0, 0.45], [0.5, 0.0]),
            ([0.5, 0.0], [1.0, 0.45]),
            ([0.4, 1.0], [0.4, 0.7]),
            ([0.4, 0.7], [0.6, 0.7]),
        ];
        let to_segment = |[x, y]: [f64; 2], ([ax, ay], [bx, by]): ([f64; 2], [f64; 2])| {
            let (dx, dy) = (bx - ax, by - ay);
            let t = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            (x - ax - t * dx).hypot(y - ay - t * dy)
        };
        let half_width = (side / 128.0).max(0.8);
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let place = [(f64::from(x) + 0.5 - at.0) / side, (f64::from(y) + 0.5 - at.1) / side];
                let ring = ((place[0] - 0.5).hypot(place[1] - 0.4) - 0.12).abs();
                let distance = segments.iter().map(|&s| to_segment(place, s)).fold(ring, f64::min) * side;
                let ink = (half_width + 0.5 - distance).clamp(0.0, 1.0);
                let colour = value(f64::from(x) / f64::from(width), f64::from(y) / f64::from(height), ink);
                pixels.extend(colour.map(|value| (255.0 * value.clamp(0.0, 1.0)).round() as u8));
            }
        }
        Image::new(width, height, pixels).unwrap()
    }

    fn clean(_: f64, _: f64, ink: f64) -> [f64; 3] {
        [1.0 - ink; 3]
    }

    /// Numbers that look like noise, of a place.
    fn noise(x: f64, y: f64) -> f64 {
        ((x * 7919.0 + y * 104_729.0).sin() * 43_758.545).fract()
    }

    /// The mean difference of two images at 64 x 64 pixels, of 255.
    fn difference(a: &Image, b: &Image) -> f64 {
        let small = |image: &Image| {
            crate::image::Preprocess::imagenet(64, 64).unwrap().resized(image).unwrap().pixels().to_vec()
        };
        let (a, b) = (small(a), small(b));
        a.iter().zip(&b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
    }

    #[test]
    fn wherever_and_however_it_is_drawn_it_is_the_same_drawing() {
        let expected = page((256, 256), (16.0, 16.0), 224.0, clean);
        // With half a line at each end.
        let share = 228.0 / 256.0;
        let as_drawn = difference(&sketch(&expected, share).unwrap(), &expected);
        assert!(as_drawn < 6.0, "{as_drawn}");
        let other = page((256, 256), (16.0, 90.0), 150.0, clean);
        assert!(difference(&other, &expected) > 12.0, "the test could not tell");
        let shadowed = |x: f64, y: f64, ink: f64| {
            let paper = 0.9 - 0.4 * x - 0.15 * y * y;
            [paper * (1.0 - 0.5 * ink) + 0.02 * noise(x, y); 3]
        };
        let on_grey = |_: f64, _: f64, ink: f64| [0.55 - 0.5 * ink; 3];
        let on_black = |_: f64, _: f64, ink: f64| [ink; 3];
        let on_blue = |_: f64, _: f64, ink: f64| [0.1 + 0.9 * ink, 0.2 + 0.8 * ink, 0.4 + 0.6 * ink];
        let yellow = |_: f64, _: f64, ink: f64| [1.0 - 0.1 * ink, 1.0 - 0.2 * ink, 1.0 - 0.9 * ink];
        let red = |_: f64, _: f64, ink: f64| [1.0 - 0.1 * ink, 1.0 - 0.9 * ink, 1.0 - 0.9 * ink];
        let specks = |x: f64, y: f64, ink: f64| {
            let is_speck = (x - 0.02).hypot(y - 0.03) < 0.004 || (x - 0.97).hypot(y - 0.9) < 0.004;
            [1.0 - ink.max(if is_speck { 0.8 } else { 0.0 }); 3]
        };
        let pages: Vec<(&str, Image)> = vec![
            ("half size", page((256, 256), (70.0, 70.0), 112.0, clean)),
            ("in a corner", page((256, 256), (1.0, 1.0), 112.0, clean)),
            ("on a wide page", page((512, 256), (144.0, 16.0), 224.0, clean)),
            ("on a high page", page((300, 900), (10.0, 600.0), 224.0, clean)),
            ("small on a large page", page((1400, 2000), (216.0, 316.0), 224.0, clean)),
            ("large", page((2000, 2000), (100.0, 100.0), 1800.0, clean)),
            ("a shadow", page((640, 480), (200.0, 100.0), 300.0, shadowed)),
            ("on grey", page((256, 256), (16.0, 16.0), 224.0, on_grey)),
            ("on black", page((400, 256), (100.0, 30.0), 200.0, on_black)),
            ("on blue", page((400, 256), (100.0, 30.0), 200.0, on_blue)),
            ("in yellow", page((256, 256), (60.0, 60.0), 150.0, yellow)),
            ("in red", page((256, 256), (60.0, 60.0), 150.0, red)),
            ("with specks", page((500, 500), (120.0, 120.0), 260.0, specks)),
        ];
        for (name, page) in pages {
            let framed = sketch(&page, share).unwrap();
            assert_eq!(framed.width(), framed.height(), "{name}");
            assert!(framed.width() <= 1024, "{name}");
            let found = difference(&framed, &expected);
            assert!(found < 8.0, "{name}: differs by {found}");
            let corner = framed.pixels()[0];
            assert!(corner > 250, "{name}: the ground is {corner}");
        }
    }

    #[test]
    fn light_lines_on_a_transparent_ground_are_seen() {
        let on_white = page((128, 128), (20.0, 20.0), 90.0, clean);
        let ink: Vec<u8> = on_white.pixels().chunks_exact(3).map(|pixel| 255 - pixel[0]).collect();
        let png = |line: u8| {
            let rgba: Vec<u8> = ink.iter().flat_map(|&a| [line, line, line, a]).collect();
            let mut bytes = Vec::new();
            use ::image::ImageEncoder;
            ::image::codecs::png::PngEncoder::new(&mut bytes)
                .write_image(&rgba, 128, 128, ::image::ExtendedColorType::Rgba8)
                .unwrap();
            bytes
        };
        let read = |line| decode_sketch(&png(line), "a test", DecodeLimits::default()).unwrap();
        let expected = sketch(&read(0), 0.8).unwrap();
        for line in [200, 255] {
            assert!(difference(&sketch(&read(line), 0.8).unwrap(), &expected) < 3.0, "{line}");
        }
        // Laid over white, as photos are, white lines are gone.
        let photo = Image::decode(&png(255), "a test", DecodeLimits::default()).unwrap();
        assert!(matches!(sketch(&photo, 0.8), Err(Error::Blank { .. })));
    }

    #[test]
    fn what_shows_nothing_is_refused() {
        let flat = |value: f64| page((200, 100), (0.0, 0.0), 1.0, move |_, _, _| [value; 3]);
        let faint = |_: f64, _: f64, ink: f64| [0.95 - 0.04 * ink; 3];
        let dusty = |x: f64, y: f64, _: f64| [0.8 + 0.02 * noise(x, y); 3];
        let shaded = |x: f64, y: f64, _: f64| [0.9 - 0.5 * x - 0.2 * y; 3];
        let dot = |x: f64, y: f64, _: f64| [if (x - 0.5).hypot(y - 0.5) < 0.008 { 0.0 } else { 1.0 }; 3];
        for (name, page) in [
            ("white", flat(1.0)),
            ("black", flat(0.0)),
            ("grey", flat(0.5)),
            ("faint", page((200, 200), (20.0, 20.0), 150.0, faint)),
            ("noise", page((300, 200), (0.0, 0.0), 1.0, dusty)),
            ("a shadow", page((300, 200), (0.0, 0.0), 1.0, shaded)),
            ("a dot", page((400, 400), (0.0, 0.0), 1.0, dot)),
            ("one pixel", Image::new(1, 1, vec![255; 3]).unwrap()),
        ] {
            let found = sketch(&page, 0.9);
            assert!(matches!(found, Err(Error::Blank { .. })), "{name}: {found:?}");
            assert_eq!(share_of_sketch(&page).unwrap(), None, "{name}");
        }
    }

    /// A disc of radius `radius` in the middle of a page, in colours.
    fn product_on(ground: impl Fn(f64, f64) -> [f64; 3], radius: f64) -> Image {
        page((600, 400), (0.0, 0.0), 1.0, move |x, y, _| {
            let is_product = ((x - 0.5) * 1.5).hypot(y - 0.5) < radius;
            if is_product { [0.7, 0.2 + 0.3 * y, 0.1] } else { ground(x, y) }
        })
    }

    #[test]
    fn a_filled_picture_keeps_its_colours() {
        let framed = sketch(&product_on(|_, _| [0.9; 3], 0.1), 0.8).unwrap();
        let side = framed.width();
        let middle = framed.pixels()[3 * (side / 2 * side + side / 2) as usize..][..3].to_vec();
        assert!(middle[0] > 150 && middle[2] < 60, "{middle:?}");
        assert_eq!(framed.pixels()[..3], [230; 3]);
        assert!((f64::from(side) * 0.8 - 80.0).abs() < 5.0, "{side}");
    }

    #[test]
    fn a_small_product_is_cut_out_and_others_are_left() {
        let frame = PhotoFrame { typical: 0.8, least: 0.5 };
        let plain = |x: f64, _: f64| [0.95 - 0.1 * x; 3];
        let small = product_on(plain, 0.1);
        let share = share_of_photo(&small).unwrap().unwrap();
        assert!((share - 80.0 / 600.0).abs() < 0.02, "{share}");
        let framed = photo(&small, &frame).unwrap();
        assert_eq!(framed.width(), framed.height());
        let found = share_of_photo(&framed).unwrap().unwrap();
        assert!((found - 0.8).abs() < 0.05, "{found}");
        for left in [product_on(plain, 0.4), product_on(|x, y| [noise(x, y), noise(y, x), 0.5], 0.1)] {
            assert!(photo(&left, &frame).unwrap() == left);
        }
        // Where the ground is not plain, somebody says where the product is.
        let busy = product_on(|x, y| [noise(x, y), noise(y, x), 0.5], 0.1);
        assert_eq!(share_of_photo(&busy).unwrap(), None);
        let region = Region { left: 260.0, top: 160.0, width: 80.0, height: 80.0 };
        let framed = photo_around(&busy, region, 0.8).unwrap();
        assert_eq!((framed.width(), framed.height()), (100, 100));
        for bad in
            [(-1.0, 0.0, 9.0, 9.0), (0.0, 0.0, 0.0, 9.0), (0.0, 0.0, 601.0, 9.0), (0.0, f64::NAN, 9.0, 9.0)]
        {
            let region = Region { left: bad.0, top: bad.1, width: bad.2, height: bad.3 };
            let message = photo_around(&busy, region, 0.8).unwrap_err().to_string();
            assert!(message.contains("600 x 400"), "{message}");
        }
    }

    #[test]
    fn a_frame_is_the_median_of_its_shares() {
        let of =
            |sketches: &[f32], photos: &[Option<f32>]| Frame::of_shares(sketches.to_vec(), photos.to_vec());
        assert_eq!(of(&[], &[Some(0.5)]), None);
        let frame = of(&[0.7, 0.9, 0.8], &[None, Some(0.6), Some(0.9)]).unwrap();
        assert_eq!(frame, Frame { sketch: 0.8, photo: Some(PhotoFrame { typical: 0.9, least: 0.6 }) });
        assert_eq!(of(&[0.7], &[None, None, Some(0.6)]).unwrap().photo, None);
        assert!(sketch(&page((64, 64), (8.0, 8.0), 48.0, clean), 0.1).is_err());
    }
}
