//! Training images as they differ from what is in their files: one function of what a [`Stream`] draws.
//!
//! Geometry. A view maps places of the crop, from -1 to 1 across and down, to places of the picture:
//! `q = A p + t + e(p)`, with `A` a rotation, a scale, an aspect and a flip around the centre, `t` a shift, and `e` for
//! sketches a smooth displacement (elastic distortion; Simard, Steinkraus, Platt, 'Best Practices for Convolutional
//! Neural Networks Applied to Visual Document Analysis', 2003), here a cubic spline through 6 x 6 normal displacements.
//! Pixels are interpolated bilinearly; what lies outside of the picture is white.
//!
//! Marks. Lines of sketches become thicker by the darkest of 3 x 3 pixels (never thinner: most would be gone); a
//! rectangle of up to two fifths of the side is left out.
//!
//! Colours. Photos lose them, have their channels exchanged and their range changed, or are replaced by their lines.

use sketchfind_core::image::{Crop, Image, Preprocess, luma};
use sketchfind_core::random::Stream;

use crate::Result;
use crate::config::Augmentation;
use crate::lines;
use crate::picture::Picture;

/// Displacements of an elastic distortion, across and down.
const N_KNOTS: usize = 6;
/// The largest side of what is left out of a sketch, as a share of the side.
const MAX_ERASED: f64 = 0.4;

/// How an image is moved, turned and scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Radians.
    angle: f64,
    scale: f64,
    aspect: f64,
    /// In halves of the side.
    shift: [f64; 2],
    flip: bool,
}

impl Geometry {
    /// Draws one within the bounds of the settings.
    pub fn draw(settings: &Augmentation, may_flip: bool, stream: &mut Stream) -> Geometry {
        let mut around = |most: f64| most * (2.0 * stream.unit() - 1.0);
        let angle = around(settings.rotation).to_radians();
        let scale = 1.0 + around(settings.scale);
        let aspect = 1.0 + around(settings.aspect);
        let shift = [around(settings.shift), around(settings.shift)].map(|share| 2.0 * share);
        // Drawn even if unused, so that the setting changes flips only.
        let coin = stream.coin();
        Geometry { angle, scale, aspect, shift, flip: coin && may_flip }
    }
}

/// A sketch as it is trained on: `picture` is a drawing, or a photo whose lines are drawn first.
///
/// # Shapes
/// `out`: `[3, crop, crop]`, normalised.
///
/// # Errors
/// [`crate::Error::Core`] where the picture was resized otherwise.
pub fn sketch(
    picture: &Picture,
    is_pseudo: bool,
    geometry: Geometry,
    settings: &Augmentation,
    preprocess: &Preprocess,
    stream: &mut Stream,
    out: &mut [f32],
) -> Result<()> {
    let drawn = if is_pseudo { Some(drawn(picture, stream)?) } else { None };
    let image = drawn.as_ref().unwrap_or(&picture.image);
    let bend = (settings.elastic > 0.0).then(|| Bend::draw(settings.elastic, stream));
    let mut view = warped(image, geometry, bend.as_ref(), preprocess)?;
    let side = preprocess.crop as usize;
    if stream.unit() < settings.thicker {
        view = with_thicker_lines(&view, side);
    }
    if stream.unit() < settings.erase {
        erase(&mut view, side, stream);
    }
    write(view, preprocess, out)
}

/// A photo as it is trained on; `has_lines` where lines can be drawn from it.
///
/// # Shapes
/// `out`: `[3, crop, crop]`, normalised.
///
/// # Errors
/// [`crate::Error::Core`] where the picture was resized otherwise.
pub fn photo(
    picture: &Picture,
    has_lines: bool,
    geometry: Geometry,
    settings: &Augmentation,
    preprocess: &Preprocess,
    stream: &mut Stream,
    out: &mut [f32],
) -> Result<()> {
    // All are drawn, so that one share does not move what another decides.
    let [lines, grey, colour] = [(); 3].map(|()| stream.unit());
    if lines < settings.lines && has_lines {
        return write(warped(&drawn(picture, stream)?, geometry, None, preprocess)?, preprocess, out);
    }
    let mut view = warped(&picture.image, geometry, None, preprocess)?;
    if grey < settings.grey {
        for pixel in view.chunks_exact_mut(3) {
            let luma = luma([pixel[0], pixel[1], pixel[2]]);
            pixel.fill(luma.round() as u8);
        }
    } else if colour < settings.colour {
        recolour(&mut view, stream);
    }
    write(view, preprocess, out)
}

/// A picture's lines as an image of the same size.
///
/// # Errors
/// [`crate::Error::Core`] never, for the size is the picture's.
pub fn drawn(picture: &Picture, stream: &mut Stream) -> Result<Image> {
    let lines = lines::draw(&picture.image, picture.alpha.as_ref(), stream);
    let pixels = lines.into_iter().flat_map(|value| [value; 3]).collect();
    Ok(Image::new(picture.image.width(), picture.image.height(), pixels)?)
}

/// A smooth displacement: normal numbers at 6 x 6 places, a cubic (Catmull-Rom) between them.
struct Bend([[[f64; 2]; N_KNOTS]; N_KNOTS]);

impl Bend {
    fn draw(deviation: f64, stream: &mut Stream) -> Bend {
        // Places are from -1 to 1, so that a share of the side is twice as much.
        Bend(
            [(); N_KNOTS]
                .map(|()| [(); N_KNOTS].map(|()| [(); 2].map(|()| 2.0 * deviation * stream.normal()))),
        )
    }

    /// The displacements of the knots' columns along one row, whose height is `v`, from -1 to 1, in pixels of which there
    /// are `to_pixels` in a half of the picture.
    fn row(&self, v: f64, to_pixels: [f64; 2]) -> [[f32; 2]; N_KNOTS] {
        let taps = taps(v);
        std::array::from_fn(|column| {
            std::array::from_fn(|part| {
                let bent: f64 = taps.iter().map(|&(row, weight)| weight * self.0[row][column][part]).sum();
                (bent * to_pixels[part]) as f32
            })
        })
    }
}

/// The weight of each knot for a place from -1 to 1.
fn knot_weights(place: f64) -> [f32; N_KNOTS] {
    let mut weights = [0.0; N_KNOTS];
    taps(place).iter().for_each(|&(knot, weight)| weights[knot] += weight as f32);
    weights
}

/// The knots that a place from -1 to 1 lies between, with their weights.
fn taps(place: f64) -> [(usize, f64); 4] {
    let at = (place + 1.0) / 2.0 * (N_KNOTS - 1) as f64;
    let first = at.floor().clamp(0.0, (N_KNOTS - 2) as f64);
    let t = at - first;
    let weights = [
        -0.5 * t + t * t - 0.5 * t * t * t,
        1.0 - 2.5 * t * t + 1.5 * t * t * t,
        0.5 * t + 2.0 * t * t - 1.5 * t * t * t,
        -0.5 * t * t + 0.5 * t * t * t,
    ];
    std::array::from_fn(|tap| {
        let knot = (first as isize + tap as isize - 1).clamp(0, N_KNOTS as isize - 1);
        (knot as usize, weights[tap])
    })
}

/// The crop's pixels, `[crop, crop, 3]`.
fn warped(
    image: &Image,
    geometry: Geometry,
    bend: Option<&Bend>,
    preprocess: &Preprocess,
) -> Result<Vec<u8>> {
    let side = preprocess.crop as usize;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = image.pixels();
    // The crop is the picture's centre.
    let share = f64::from(preprocess.crop) / f64::from(preprocess.resize);
    let (sin, cos) = geometry.angle.sin_cos();
    let across = if geometry.flip { -1.0 } else { 1.0 } * geometry.aspect / geometry.scale * share;
    let down = share / geometry.scale;
    let matrix = [[cos * across, -sin * down], [sin * across, cos * down]];
    // Places of pixels, 32-bit: a thousandth of a pixel is more than enough.
    let place = |index: usize| (2.0 * index as f64 + 1.0) / side as f64 - 1.0;
    let knots: Vec<[f32; N_KNOTS]> = match bend {
        Some(_) => (0..side).map(|x| knot_weights(place(x))).collect(),
        None => Vec::new(),
    };
    let to_pixels = [width, height].map(|size| size as f64 / 2.0);
    let step = [0, 1].map(|k| (matrix[k][0] * 2.0 / side as f64 * to_pixels[k]) as f32);
    let mut view = vec![0; side * side * 3];
    for (y, row) in view.chunks_exact_mut(side * 3).enumerate() {
        let v = place(y);
        let bent = bend.map(|bend| bend.row(v, to_pixels));
        let start = [0, 1].map(|k| {
            let q = matrix[k][0] * place(0) + matrix[k][1] * v + geometry.shift[k];
            ((q + 1.0) * to_pixels[k] - 0.5) as f32
        });
        for (x, out) in row.chunks_exact_mut(3).enumerate() {
            let mut at_pixel = [0, 1].map(|k| start[k] + step[k] * x as f32);
            if let Some(bent) = &bent {
                for (weight, bent) in knots[x].iter().zip(bent) {
                    at_pixel[0] += weight * bent[0];
                    at_pixel[1] += weight * bent[1];
                }
            }
            out.copy_from_slice(&at(pixels, width, height, at_pixel[0], at_pixel[1]));
        }
    }
    Ok(view)
}

/// The colour at a place, bilinearly; white outside.
fn at(pixels: &[u8], width: usize, height: usize, x: f32, y: f32) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let (left, top) = (left as i32, top as i32);
    if left >= 0 && top >= 0 && (left as usize) + 1 < width && (top as usize) + 1 < height {
        let start = (top as usize * width + left as usize) * 3;
        let (above, below) = (&pixels[start..start + 6], &pixels[start + width * 3..start + width * 3 + 6]);
        return std::array::from_fn(|c| {
            let upper = f32::from(above[c]) * (1.0 - fx) + f32::from(above[c + 3]) * fx;
            let lower = f32::from(below[c]) * (1.0 - fx) + f32::from(below[c + 3]) * fx;
            (upper * (1.0 - fy) + lower * fy + 0.5) as u8
        });
    }
    let of = |x: i32, y: i32, c: usize| {
        let is_inside = x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height;
        if is_inside { f32::from(pixels[(y as usize * width + x as usize) * 3 + c]) } else { 255.0 }
    };
    std::array::from_fn(|c| {
        let upper = of(left, top, c) * (1.0 - fx) + of(left + 1, top, c) * fx;
        let lower = of(left, top + 1, c) * (1.0 - fx) + of(left + 1, top + 1, c) * fx;
        (upper * (1.0 - fy) + lower * fy + 0.5) as u8
    })
}

/// The darkest of each 3 x 3 pixels: rows, then columns.
fn with_thicker_lines(view: &[u8], side: usize) -> Vec<u8> {
    let pass = |view: &[u8], step: usize, index: &dyn Fn(usize) -> usize| -> Vec<u8> {
        (0..view.len())
            .map(|place| {
                let at = index(place);
                let before = if at > 0 { view[place - step] } else { view[place] };
                let behind = if at + 1 < side { view[place + step] } else { view[place] };
                view[place].min(before).min(behind)
            })
            .collect()
    };
    let across = pass(view, 3, &|place| place / 3 % side);
    pass(&across, 3 * side, &|place| place / (3 * side))
}

/// Leaves a rectangle white.
fn erase(view: &mut [u8], side: usize, stream: &mut Stream) {
    let mut length = || ((0.1 + (MAX_ERASED - 0.1) * stream.unit()) * side as f64) as usize;
    let (width, height) = (length().max(1), length().max(1));
    let (left, top) = (stream.below(side - width + 1), stream.below(side - height + 1));
    for y in top..top + height {
        view[(y * side + left) * 3..(y * side + left + width) * 3].fill(u8::MAX);
    }
}

/// Exchanges the channels and changes the range of each, white staying white: most products stand on white.
fn recolour(view: &mut [u8], stream: &mut Stream) {
    let mut order = [0, 1, 2];
    stream.shuffle(&mut order);
    let gains: [f32; 3] = [(); 3].map(|()| 0.5 + stream.unit() as f32);
    for pixel in view.chunks_exact_mut(3) {
        let old = [pixel[0], pixel[1], pixel[2]];
        for (channel, value) in pixel.iter_mut().enumerate() {
            let darkness = f32::from(255 - old[order[channel]]) * gains[channel];
            *value = 255 - darkness.min(255.0) as u8;
        }
    }
}

fn write(view: Vec<u8>, preprocess: &Preprocess, out: &mut [f32]) -> Result<()> {
    let view = Image::new(preprocess.crop, preprocess.crop, view)?;
    let whole = Preprocess { resize: preprocess.crop, ..preprocess.clone() };
    Ok(whole.write_tensor(&view, Crop { left: 0, top: 0, flip: false }, out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Augmentation = Augmentation {
        rotation: 0.0,
        scale: 0.0,
        aspect: 0.0,
        shift: 0.0,
        elastic: 0.0,
        thicker: 0.0,
        erase: 0.0,
        grey: 0.0,
        colour: 0.0,
        lines: 0.0,
    };

    /// Every pixel of another colour, smooth enough to be interpolated.
    fn picture(side: u32) -> Picture {
        let pixels = (0..side * side)
            .flat_map(|at| [(at % side * 5) as u8, (at / side * 5) as u8, 255 - (at % side * 3) as u8])
            .collect();
        Picture { id: "x".into(), image: Image::new(side, side, pixels).unwrap(), alpha: None }
    }

    fn of_photo(settings: &Augmentation, may_flip: bool, seed: u64) -> Vec<f32> {
        let preprocess = Preprocess::imagenet(40, 32).unwrap();
        let mut stream = Stream::new(seed, "augmentation", &[]);
        let geometry = Geometry::draw(settings, may_flip, &mut stream);
        let mut out = vec![0.0; preprocess.tensor_len()];
        photo(&picture(40), true, geometry, settings, &preprocess, &mut stream, &mut out).unwrap();
        out
    }

    fn evaluated() -> Vec<f32> {
        let preprocess = Preprocess::imagenet(40, 32).unwrap();
        let mut out = vec![0.0; preprocess.tensor_len()];
        preprocess.write_tensor(&picture(40).image, preprocess.centre_crop(), &mut out).unwrap();
        out
    }

    #[test]
    fn without_any_amount_a_view_is_what_evaluation_sees() {
        assert_eq!(of_photo(&NONE, false, 1), evaluated());
        let preprocess = Preprocess::imagenet(40, 32).unwrap();
        let mut stream = Stream::new(1, "augmentation", &[]);
        let geometry = Geometry::draw(&NONE, false, &mut stream);
        let mut out = vec![0.0; preprocess.tensor_len()];
        sketch(&picture(40), false, geometry, &NONE, &preprocess, &mut stream, &mut out).unwrap();
        assert_eq!(out, evaluated());
    }

    #[test]
    fn a_flip_mirrors_and_half_of_all_are_flipped() {
        let mut mirrored = evaluated();
        mirrored.chunks_exact_mut(32).for_each(<[f32]>::reverse);
        let n_flipped = (0..100).filter(|&seed| of_photo(&NONE, true, seed) == mirrored).count();
        let n_straight = (0..100).filter(|&seed| of_photo(&NONE, true, seed) == evaluated()).count();
        assert_eq!(n_flipped + n_straight, 100);
        assert!((30..70).contains(&n_flipped), "{n_flipped}");
    }

    #[test]
    fn each_amount_changes_something_and_nothing_is_drawn_twice_alike() {
        let amounts: [(&str, Augmentation); 8] = [
            ("rotation", Augmentation { rotation: 20.0, ..NONE }),
            ("scale", Augmentation { scale: 0.2, ..NONE }),
            ("aspect", Augmentation { aspect: 0.2, ..NONE }),
            ("shift", Augmentation { shift: 0.1, ..NONE }),
            ("grey", Augmentation { grey: 1.0, ..NONE }),
            ("colour", Augmentation { colour: 1.0, ..NONE }),
            ("lines", Augmentation { lines: 1.0, ..NONE }),
            ("rotation and shift", Augmentation { rotation: 20.0, shift: 0.1, ..NONE }),
        ];
        for (name, settings) in amounts {
            let view = of_photo(&settings, false, 1);
            assert_ne!(view, evaluated(), "{name}");
            assert_eq!(view, of_photo(&settings, false, 1), "{name}");
            assert!(name == "grey" || view != of_photo(&settings, false, 2), "{name}");
            assert!(view.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_quarter_turn_turns_by_a_quarter() {
        let preprocess = Preprocess::imagenet(40, 40).unwrap();
        let geometry = Geometry {
            angle: std::f64::consts::FRAC_PI_2,
            scale: 1.0,
            aspect: 1.0,
            shift: [0.0; 2],
            flip: false,
        };
        let (image, turned) = (picture(40).image, warped(&picture(40).image, geometry, None, &preprocess));
        let turned = turned.unwrap();
        // (u, v) -> (-v, u): the pixel at column x and row y comes from column 39 - y, row x.
        for (x, y) in [(0, 0), (3, 30), (39, 17)] {
            let (from, to) = ((x * 40 + 39 - y) * 3, (y * 40 + x) * 3);
            assert_eq!(turned[to..to + 3], image.pixels()[from..from + 3], "{x} {y}");
        }
    }

    #[test]
    fn sketches_bend_lose_parts_and_change_their_lines() {
        let preprocess = Preprocess::imagenet(64, 64).unwrap();
        let mut pixels = vec![255_u8; 64 * 64 * 3];
        (0..64).for_each(|y| pixels[(y * 64 + 32) * 3..(y * 64 + 33) * 3].fill(0));
        let line = Picture { id: "x".into(), image: Image::new(64, 64, pixels).unwrap(), alpha: None };
        let ink = |settings: &Augmentation, seed: u64| -> f32 {
            let mut stream = Stream::new(seed, "augmentation", &[]);
            let geometry = Geometry::draw(settings, false, &mut stream);
            let mut out = vec![0.0; preprocess.tensor_len()];
            sketch(&line, false, geometry, settings, &preprocess, &mut stream, &mut out).unwrap();
            out[..64 * 64].iter().map(|value| (2.2489 - value) * 0.229 * 255.0 / 64.0).sum()
        };
        let one = ink(&NONE, 1);
        assert!((one - 255.0).abs() < 1.0, "a line of one pixel: {one}");
        let thick = ink(&Augmentation { thicker: 1.0, ..NONE }, 1);
        assert!((thick - 765.0).abs() < 2.0, "a line of three pixels: {thick}");
        let erased: Vec<f32> = (0..40).map(|seed| ink(&Augmentation { erase: 1.0, ..NONE }, seed)).collect();
        assert!(erased.iter().any(|ink| *ink < 240.0) && erased.iter().all(|ink| *ink > 140.0), "{erased:?}");
        // Bent, the line is where it was not, and of about the same length.
        let bent = Augmentation { elastic: 0.02, ..NONE };
        assert!((0..10).all(|seed| (ink(&bent, seed) - 255.0).abs() < 60.0));
    }

    #[test]
    fn the_spline_passes_through_its_knots() {
        for knot in 0..N_KNOTS {
            let place = 2.0 * knot as f64 / (N_KNOTS - 1) as f64 - 1.0;
            let weight: f64 = taps(place).iter().filter(|tap| tap.0 == knot).map(|tap| tap.1).sum();
            assert!((weight - 1.0).abs() < 1e-9, "{knot}: {:?}", taps(place));
        }
        for place in [-1.0, -0.37, 0.0, 0.99] {
            assert!((taps(place).iter().map(|tap| tap.1).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
