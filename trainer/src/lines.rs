//! Lines drawn from a photo by filters: pseudo-sketches, for training where nobody has drawn.
//!
//! Two kinds, with parameters that a [`Stream`] draws, so that a network meets many hands:
//!
//! - extended difference of Gaussians (Winnemoeller, Kyprianidis, Olsen, 'XDoG: an eXtended difference-of-Gaussians
//!   compendium', 2012, equations 2 and 5): with `D = G(sigma) - tau * G(1.6 sigma)` of the luminance,
//!   scaled to a largest magnitude of 1, a pixel is white where `D >= eps` and `1 + tanh(phi * (D - eps))` elsewhere;
//! - the gradient's length of the blurred luminance, over its 99.5th percentile, between two thresholds that
//!   give dark strokes and drop weak texture.
//!
//! Where a photo is transparent, its outline is an edge even if the product is as white as the ground: luminance is laid
//! over white, or over grey where the product's border is bright. Not over black: the difference of Gaussians would take a
//! black ground for ink.

use sketchfind_core::image::{Alpha, Image};
use sketchfind_core::random::Stream;

/// The second Gaussian's width against the first's: the source's value.
const WIDTHS: f64 = 1.6;
/// The least side of a photo, in pixels, and the least length of the strongest gradient, from 0 to 1 a pixel, from which
/// lines are drawn: below, there is nothing to see.
const MIN_SIDE: u32 = 32;
const MIN_CONTRAST: f32 = 0.02;

/// The ground's luminance behind a bright product that is cut out.
const GREY: f32 = 0.5;

/// A plane of luminance, 0 to 1, rows from the top.
#[derive(Clone, Debug)]
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

/// Lines of `photo`, dark on white, as an image of the same size. A function of the photo and of what `stream` draws.
pub fn draw(photo: &Image, alpha: Option<&Alpha>, stream: &mut Stream) -> Vec<u8> {
    let plane = luminance(photo, alpha);
    let mut between = |low: f64, high: f64| low + (high - low) * stream.unit();
    if between(0.0, 1.0) < 0.5 {
        let (sigma, tau) = (between(0.7, 1.6), between(0.97, 0.99));
        let (phi, eps) = (between(10.0, 60.0), between(-0.02, 0.05));
        xdog(&plane, sigma, tau as f32, phi as f32, eps as f32)
    } else {
        let sigma = between(0.8, 2.0);
        let (gain, least) = (between(0.8, 2.0), between(0.1, 0.35));
        gradient(&plane, sigma, gain as f32, least as f32)
    }
}

/// Why no lines can be drawn from a photo; nothing where they can.
pub fn refusal(original: (u32, u32), photo: &Image, alpha: Option<&Alpha>) -> Option<String> {
    let (width, height) = original;
    if width.min(height) < MIN_SIDE {
        return Some(format!("too small: {width} x {height} pixels, expected at least {MIN_SIDE}"));
    }
    let strongest = gradient_lengths(&blurred(&luminance(photo, alpha), 1.0)).into_iter().fold(0.0, f32::max);
    (strongest < MIN_CONTRAST).then(|| {
        format!(
            "too flat: luminance changes by at most {strongest:.4} a pixel, expected {MIN_CONTRAST} somewhere"
        )
    })
}

/// The photo's luminance over the ground that the module describes.
fn luminance(photo: &Image, alpha: Option<&Alpha>) -> Plane {
    let mut values = photo.luminance();
    if let Some(alpha) = alpha {
        // The pixels lie over white: what is half transparent is the border, brighter than the product itself.
        let (mut sum, mut weight, mut whole, mut area) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
        for (value, &a) in values.iter().zip(alpha.values()) {
            let share = f64::from(a) / 255.0;
            let border = share * (1.0 - share);
            // value = share * own + (1 - share), solved for the product's own luminance.
            let own = (f64::from(*value) - (1.0 - share)).max(0.0);
            sum += border * own / share.max(1e-3);
            weight += border;
            whole += own;
            area += share;
        }
        // No half-transparent pixel at all: look at the whole product.
        let own = if weight > 0.0 { sum / weight } else { whole / area.max(1e-3) };
        if own > 0.5 {
            values.iter_mut().zip(alpha.values()).for_each(|(value, &a)| {
                *value = (*value - (1.0 - GREY) * (1.0 - f32::from(a) / 255.0)).max(0.0);
            });
        }
    }
    Plane { width: photo.width() as usize, height: photo.height() as usize, values }
}

fn xdog(plane: &Plane, sigma: f64, tau: f32, phi: f32, eps: f32) -> Vec<u8> {
    let (narrow, wide) = (blurred(plane, sigma), blurred(plane, sigma * WIDTHS));
    let difference: Vec<f32> = narrow.values.iter().zip(&wide.values).map(|(a, b)| a - tau * b).collect();
    let largest = difference.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
    difference
        .into_iter()
        .map(|value| {
            let value = value / largest;
            let light = if value >= eps { 1.0 } else { 1.0 + (phi * (value - eps)).tanh() };
            (light.clamp(0.0, 1.0) * 255.0) as u8
        })
        .collect()
}

fn gradient(plane: &Plane, sigma: f64, gain: f32, least: f32) -> Vec<u8> {
    let mut lengths = gradient_lengths(&blurred(plane, sigma));
    let mut sorted = lengths.clone();
    let place = sorted.len() * 995 / 1000;
    let (_, strong, _) = sorted.select_nth_unstable_by(place.min(lengths.len() - 1), f32::total_cmp);
    let strong = *strong + 1e-6;
    lengths.iter_mut().for_each(|length| *length /= strong);
    lengths
        .into_iter()
        .map(|length| (255.0 * (1.0 - (length * gain - least).clamp(0.0, 1.0))) as u8)
        .collect()
}

/// Lengths of forward differences; the last row and column have no neighbour and differ by nothing.
fn gradient_lengths(plane: &Plane) -> Vec<f32> {
    let (width, height) = (plane.width, plane.height);
    let mut lengths = Vec::with_capacity(plane.values.len());
    for y in 0..height {
        let row = &plane.values[y * width..][..width];
        let below = &plane.values[(y + 1).min(height - 1) * width..][..width];
        for x in 0..width {
            let (dx, dy) = (row[(x + 1).min(width - 1)] - row[x], below[x] - row[x]);
            lengths.push((dx * dx + dy * dy).sqrt());
        }
    }
    lengths
}

/// Convolved with a Gaussian of `sigma` pixels, cut off at four sigma, the border mirrored.
fn blurred(plane: &Plane, sigma: f64) -> Plane {
    let reach = (4.0 * sigma).ceil() as usize;
    let mut kernel: Vec<f32> = (0..=2 * reach)
        .map(|at| (-0.5 * ((at as f64 - reach as f64) / sigma).powi(2)).exp() as f32)
        .collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|weight| *weight /= sum);
    // Across, then down: both along rows of memory, so that the compiler can use vectors.
    let (width, height) = (plane.width, plane.height);
    let mut across = vec![0.0; plane.values.len()];
    let mut padded = vec![0.0; width + 2 * reach];
    for (row, out) in plane.values.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        for (at, value) in padded.iter_mut().enumerate() {
            *value = row[mirrored(at as isize - reach as isize, width)];
        }
        for (at, weight) in kernel.iter().enumerate() {
            out.iter_mut().zip(&padded[at..]).for_each(|(out, value)| *out += weight * value);
        }
    }
    let mut values = vec![0.0; plane.values.len()];
    for (y, out) in values.chunks_exact_mut(width).enumerate() {
        for (at, weight) in kernel.iter().enumerate() {
            let row = mirrored((y + at) as isize - reach as isize, height) * width;
            out.iter_mut().zip(&across[row..row + width]).for_each(|(out, value)| *out += weight * value);
        }
    }
    Plane { width, height, values }
}

/// An index before or behind a row, mirrored into it: `-1` is `0`, `n` is `n - 1`.
fn mirrored(index: isize, n: usize) -> usize {
    let period = 2 * n as isize;
    let within = index.rem_euclid(period);
    (if within < n as isize { within } else { period - 1 - within }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dark square on a light ground.
    fn square(side: u32, ground: u8, product: u8) -> Image {
        let inside = side / 4..side * 3 / 4;
        let pixels = (0..side * side)
            .flat_map(|at| {
                let (x, y) = (at % side, at / side);
                [if inside.contains(&x) && inside.contains(&y) { product } else { ground }; 3]
            })
            .collect();
        Image::new(side, side, pixels).unwrap()
    }

    fn darkness(lines: &[u8], side: usize, of: impl Fn(usize, usize) -> bool) -> f64 {
        let chosen: Vec<f64> = (0..side * side)
            .filter(|at| of(at % side, at / side))
            .map(|at| f64::from(255 - lines[at]))
            .collect();
        chosen.iter().sum::<f64>() / chosen.len() as f64
    }

    #[test]
    fn lines_are_where_the_edges_are() {
        let photo = square(64, 240, 40);
        for seed in 0..20 {
            let lines = draw(&photo, None, &mut Stream::new(seed, "lines", &[]));
            let near = |x: usize, y: usize| {
                let to_edge = |v: usize| v.abs_diff(16).min(v.abs_diff(48));
                to_edge(x).min(to_edge(y)) <= 2 && (14..50).contains(&x) && (14..50).contains(&y)
            };
            let (on, off) = (darkness(&lines, 64, near), darkness(&lines, 64, |x, y| x < 8 || y < 8));
            assert!(on > 40.0 && on > 3.0 * off, "seed {seed}: {on} on the edges, {off} far from them");
        }
    }

    #[test]
    fn the_same_draw_gives_the_same_lines_and_another_others() {
        let photo = square(48, 250, 90);
        let of = |seed| draw(&photo, None, &mut Stream::new(seed, "lines", &[]));
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    /// A white product on a transparent ground looks like nothing over white, and has an outline all the same.
    #[test]
    fn a_white_product_on_a_transparent_ground_has_an_outline() {
        let side = 64;
        let photo = square(side, 255, 255);
        let mask = square(side, 0, 255);
        // A soft border, as cut-out products have.
        let alpha: Vec<u8> = mask.pixels().chunks_exact(3).map(|pixel| pixel[0]).collect();
        let soft = blurred(
            &Plane { width: 64, height: 64, values: alpha.iter().map(|&a| f32::from(a) / 255.0).collect() },
            1.0,
        );
        let alpha = Alpha::new(side, side, soft.values.iter().map(|a| (a * 255.0) as u8).collect()).unwrap();
        assert!(refusal((64, 64), &photo, None).unwrap().contains("too flat"));
        // Cut out with a hard edge, no pixel is half transparent.
        let hard = mask.pixels().chunks_exact(3).map(|pixel| pixel[0]).collect();
        let hard = Alpha::new(side, side, hard).unwrap();
        assert_eq!(refusal((64, 64), &photo, Some(&hard)), None);
        assert_eq!(refusal((64, 64), &photo, Some(&alpha)), None);
        let lines = draw(&photo, Some(&alpha), &mut Stream::new(1, "lines", &[]));
        let middle = darkness(&lines, 64, |x, y| (30..34).contains(&x) && (15..18).contains(&y));
        assert!(middle > 30.0, "{middle}");
    }

    /// Whatever is drawn with, the ground stays paper.
    #[test]
    fn the_ground_of_a_bright_product_is_not_ink() {
        let side = 64;
        let mask = square(side, 0, 255);
        let alpha = mask.pixels().chunks_exact(3).map(|pixel| pixel[0]).collect();
        let alpha = Alpha::new(side, side, alpha).unwrap();
        for product in [150, 200, 255] {
            for seed in 0..40 {
                let lines =
                    draw(&square(side, 255, product), Some(&alpha), &mut Stream::new(seed, "lines", &[]));
                let ground = darkness(&lines, 64, |x, y| x < 6 || y < 6);
                assert!(ground < 30.0, "product {product}, seed {seed}: {ground}");
            }
        }
    }

    #[test]
    fn what_gives_no_lines_is_refused() {
        let photo = square(64, 240, 40);
        assert_eq!(refusal((64, 64), &photo, None), None);
        assert!(refusal((31, 400), &photo, None).unwrap().contains("31 x 400"));
        assert!(refusal((64, 64), &square(64, 200, 201), None).unwrap().contains("too flat"));
    }

    #[test]
    fn a_blur_keeps_the_mean_and_equals_the_double_sum() {
        let mut stream = Stream::new(1, "plane", &[]);
        let plane = Plane { width: 7, height: 5, values: (0..35).map(|_| stream.unit() as f32).collect() };
        let ours = blurred(&plane, 1.1);
        let weight = |d: isize| (-0.5 * (d as f64 / 1.1).powi(2)).exp();
        let norm: f64 = (-5..=5).map(weight).sum();
        for y in 0..5_isize {
            for x in 0..7_isize {
                let mut sum = 0.0;
                for dy in -5..=5 {
                    for dx in -5..=5 {
                        let at = mirrored(y + dy, 5) * 7 + mirrored(x + dx, 7);
                        sum += weight(dy) * weight(dx) / norm / norm * f64::from(plane.values[at]);
                    }
                }
                assert!((sum - f64::from(ours.values[(y * 7 + x) as usize])).abs() < 1e-5);
            }
        }
    }
}
