//! A data set that is drawn on the spot: coloured shapes as photos, their outlines as sketches.

use std::path::Path;

use sketchfind_core::dataset::{Dataset, MANIFEST, ManifestRow, Modality, Split, write_manifest};
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;
use sketchfind_core::{Result, atomic};

const SIDE: usize = 48;

/// Draws `n_train` and `n_test` instances into `folder`, with one or two sketches each; the same seed, the same
/// bytes.
///
/// # Errors
/// Where the folder cannot be written.
pub fn dataset(folder: &Path, n_train: usize, n_test: usize, seed: u64) -> Result<Dataset> {
    let mut rows = Vec::new();
    for number in 0..n_train + n_test {
        let instance = format!("{number:03}");
        let split = if number < n_train { Split::Train } else { Split::Test };
        let mut add = |modality, id: String, image: &Image| {
            let path = format!("{id}.png");
            let row = ManifestRow {
                id,
                modality,
                instance: instance.clone(),
                split,
                path: path.clone().into(),
                further: Vec::new(),
            };
            rows.push(row);
            atomic::write_bytes(&folder.join(path), &image.to_png()?)
        };
        let shape = Shape::draw(&mut Stream::new(seed, "shape", &[number as u64]));
        add(Modality::Photo, format!("photo/{instance}"), &shape.photo(seed ^ number as u64)?)?;
        for sketch in 0..=number % 2 {
            let id = format!("sketch/{instance}-{}", sketch + 1);
            add(Modality::Sketch, id, &shape.sketch(sketch as f64)?)?;
        }
    }
    write_manifest(&folder.join(MANIFEST), &rows)?;
    Dataset::load(folder)
}

/// A star with a number of points, a size, a depth, a turn and a colour.
struct Shape {
    n_points: f64,
    size: f64,
    depth: f64,
    turn: f64,
    colour: [u8; 3],
}

impl Shape {
    fn draw(stream: &mut Stream) -> Shape {
        Shape {
            n_points: 2.0 + stream.below(5) as f64,
            size: 10.0 + 8.0 * stream.unit(),
            depth: 0.1 + 0.5 * stream.unit(),
            turn: stream.unit() * std::f64::consts::TAU,
            colour: std::array::from_fn(|_| 40 + stream.below(160) as u8),
        }
    }

    /// How far inside of the outline a pixel is, in pixels; negative outside.
    fn inside(&self, x: usize, y: usize, shift: f64) -> f64 {
        let (dx, dy) = (x as f64 - 23.5 - shift, y as f64 - 23.5 + shift);
        let angle = dy.atan2(dx) + self.turn;
        let radius = self.size * (1.0 + self.depth * (self.n_points * angle).cos()) / (1.0 + self.depth);
        radius - dx.hypot(dy)
    }

    fn photo(&self, seed: u64) -> Result<Image> {
        let mut noise = Stream::new(seed, "noise", &[]);
        let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
        for position in 0..SIDE * SIDE {
            let is_inside = self.inside(position % SIDE, position / SIDE, 0.0) > 0.0;
            let grain = noise.below(20) as u8;
            pixels.extend(self.colour.map(|c| if is_inside { c + grain } else { 235 - grain }));
        }
        Image::new(SIDE as u32, SIDE as u32, pixels)
    }

    fn sketch(&self, shift: f64) -> Result<Image> {
        let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
        for position in 0..SIDE * SIDE {
            let is_line = self.inside(position % SIDE, position / SIDE, shift).abs() < 1.0;
            pixels.extend([if is_line { 0 } else { 255 }; 3]);
        }
        Image::new(SIDE as u32, SIDE as u32, pixels)
    }
}
