//! Pictures for the probe of a model from elsewhere: made on the spot, always the same.

use std::collections::BTreeMap;

use anyhow::Result;
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_core::strokes::{Raster, Strokes};

/// Pictures of each kind.
const N_EACH: u64 = 4;

/// Coloured pictures of several shapes and drawings on white, under their ids.
pub(super) fn pictures() -> Result<BTreeMap<String, Image>> {
    let mut pictures = BTreeMap::new();
    for number in 0..N_EACH {
        pictures.insert(format!("colours{number}"), colours(number)?);
        pictures.insert(format!("drawing{number}"), drawing(number)?);
    }
    Ok(pictures)
}

/// A ground that changes smoothly from corner to corner, and some discs on it.
fn colours(number: u64) -> Result<Image> {
    let mut stream = Stream::new(1, "probe of colours", &[number]);
    let (width, height) = [(240, 240), (256, 192), (180, 250), (300, 160)][number as usize % 4];
    let mut colour = || [stream.unit(), stream.unit(), stream.unit()].map(|value| 255.0 * value);
    let corners = [colour(), colour(), colour(), colour()];
    let fills = [colour(), colour(), colour()];
    let discs = fills.map(|fill| {
        let radius = (0.1 + 0.2 * stream.unit()) * f64::from(height);
        (stream.unit() * f64::from(width), stream.unit() * f64::from(height), radius, fill)
    });
    let mut pixels = Vec::with_capacity(3 * (width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let (right, down) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let inside = |&&(cx, cy, radius, _): &&(f64, f64, f64, [f64; 3])| {
                (f64::from(x) - cx).powi(2) + (f64::from(y) - cy).powi(2) < radius * radius
            };
            let disc = discs.iter().find(inside);
            for channel in 0..3 {
                let between =
                    |left: usize| corners[left][channel] * (1.0 - right) + corners[left + 1][channel] * right;
                let ground = between(0) * (1.0 - down) + between(2) * down;
                pixels.push(disc.map_or(ground, |(_, _, _, fill)| fill[channel]) as u8);
            }
        }
    }
    Ok(Image::new(width, height, pixels)?)
}

/// Some lines of several points.
fn drawing(number: u64) -> Result<Image> {
    let mut stream = Stream::new(1, "probe of drawings", &[number]);
    let polylines = (0..4 + number)
        .map(|_| {
            (0..6).map(|_| [stream.unit(), stream.unit()].map(|at| (20.0 + 216.0 * at) as f32)).collect()
        })
        .collect();
    Ok(Strokes { canvas: [256.0; 2], polylines }.draw(&Raster::default(), 1.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_always_the_same_and_its_pictures_differ() {
        let (once, again) = (pictures().unwrap(), pictures().unwrap());
        assert_eq!(once, again);
        assert_eq!(once.len(), 8);
        let all: Vec<_> = once.values().collect();
        assert!(all.iter().enumerate().all(|(n, picture)| !all[..n].contains(picture)));
    }
}
