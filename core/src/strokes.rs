//! Vector sketches: polylines on a canvas, in the order in which they were drawn, and their pictures.

use tiny_skia::{Color, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Stroke, Transform};

use crate::frame::SMALLEST_DRAWING;
use crate::image::Image;
use crate::{Error, Result};

/// The largest number that a canvas or a point of a drawing may have. Larger ones would only lose digits.
pub const LARGEST: f64 = 100_000.0;

/// A sketch as pen movements.
#[derive(Clone, Debug, PartialEq)]
pub struct Strokes {
    /// The canvas, width and height, in the unit of the points.
    pub canvas: [f32; 2],
    /// One list of points x, y for each time that the pen was down, in drawing order.
    pub polylines: Vec<Vec<[f32; 2]>>,
}

/// How a vector sketch is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raster {
    /// Width and height of the picture, in pixels.
    pub side: u32,
    /// The line's width, as a share of the picture's side.
    pub line_width: f32,
}

/// 256 pixels, lines of 1/128 of the side: two pixels, as the pictures of QMUL's sets have them.
impl Default for Raster {
    fn default() -> Self {
        Raster { side: 256, line_width: 1.0 / 128.0 }
    }
}

impl Strokes {
    /// What somebody has drawn: points x, y on a page of a width and height, y growing downwards, one list of them for each
    /// time that the pen was down.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where a side of the page is not 1 to [`LARGEST`], a coordinate not within [`LARGEST`] of 0, or
    /// there is no polyline or one without a point.
    ///
    /// ```
    /// use sketchfind_core::strokes::{Raster, Strokes};
    /// let drawing = Strokes::drawn([512.0, 512.0], &[vec![[100.0, 100.0], [400.0, 120.0], [250.0, 400.0]]])?;
    /// let picture = drawing.picture(&Raster::default(), None)?;
    /// assert_eq!((picture.width(), picture.height()), (256, 256));
    /// # Ok::<(), sketchfind_core::Error>(())
    /// ```
    pub fn drawn(canvas: [f64; 2], polylines: &[Vec<[f64; 2]>]) -> Result<Strokes> {
        let refused = |what: &'static str, value: String, expected: String| {
            Err(Error::OutOfRange { what, value, expected })
        };
        if let Some(side) = canvas.iter().find(|side| !(1.0..=LARGEST).contains(*side)) {
            let what = "a side of a drawing's canvas";
            return refused(what, format!("{side:?}"), format!("1 to {LARGEST}"));
        }
        if polylines.is_empty() {
            return refused("number of a drawing's polylines", "0".into(), "at least 1".into());
        }
        if let Some(place) = polylines.iter().position(Vec::is_empty) {
            let (value, expected) = (format!("0 in polyline {}", place + 1), "at least 1".into());
            return refused("number of points of a drawing's polyline", value, expected);
        }
        let values = || polylines.iter().flatten().flatten();
        if let Some(value) = values().find(|value| !(-LARGEST..=LARGEST).contains(*value)) {
            let what = "a coordinate of a drawing";
            return refused(what, format!("{value:?}"), format!("-{LARGEST} to {LARGEST}"));
        }
        let narrow = |point: &[f64; 2]| point.map(|value| value as f32);
        Ok(Strokes {
            canvas: narrow(&canvas),
            polylines: polylines.iter().map(|polyline| polyline.iter().map(narrow).collect()).collect(),
        })
    }

    /// The number of points.
    pub fn n_points(&self) -> usize {
        self.polylines.iter().map(Vec::len).sum()
    }

    /// The same strokes on a square canvas around them, whose longer side they fill to `share`; points beyond the canvas do
    /// not count. Strokes that fill next to nothing of their canvas stay as they are.
    #[must_use]
    pub fn framed(&self, share: f32) -> Strokes {
        let within = |point: &[f32; 2]| (0..2).all(|axis| (0.0..=self.canvas[axis]).contains(&point[axis]));
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for point in self.polylines.iter().flatten().filter(|point| within(point)) {
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let extent = (high[0] - low[0]).max(high[1] - low[1]);
        // Minus infinity where there is no point.
        if extent < SMALLEST_DRAWING * self.canvas[0].max(self.canvas[1]) {
            return self.clone();
        }
        let side = extent / share;
        let corner = [0, 1].map(|axis| (low[axis] + high[axis] - side) / 2.0);
        let moved = |point: &[f32; 2]| [point[0] - corner[0], point[1] - corner[1]];
        let polylines = self.polylines.iter().map(|line| line.iter().map(moved).collect()).collect();
        Strokes { canvas: [side; 2], polylines }
    }

    /// The picture of all strokes, in their frame where `share` says one ([`Strokes::framed`]). To frame strokes is sharper
    /// than to frame what is drawn of them.
    ///
    /// # Errors
    /// Those of [`Strokes::draw`].
    pub fn picture(&self, raster: &Raster, share: Option<f32>) -> Result<Image> {
        match share {
            Some(share) => self.framed(share).draw(raster, 1.0),
            None => self.draw(raster, 1.0),
        }
    }

    /// The sketch as far as it was drawn after a share of its points, rounded up; 1 for all of it.
    pub fn drawn_until(&self, share: f64) -> Strokes {
        let mut left = (share.clamp(0.0, 1.0) * self.n_points() as f64).ceil() as usize;
        let mut polylines = Vec::new();
        for polyline in &self.polylines {
            if left == 0 {
                break;
            }
            let n_taken = polyline.len().min(left);
            polylines.push(polyline[..n_taken].to_vec());
            left -= n_taken;
        }
        Strokes { canvas: self.canvas, polylines }
    }

    /// Draws the first `share` of the sketch in black on white, anti-aliased, with round caps and joins. The canvas is
    /// scaled to fit the picture and centred. A single point is a dot.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where the picture's side or the canvas is empty or too large, or a point is not finite.
    pub fn draw(&self, raster: &Raster, share: f64) -> Result<Image> {
        let side = raster.side;
        let out_of_range = |what: &'static str, value: String, expected: &str| Error::OutOfRange {
            what,
            value,
            expected: expected.into(),
        };
        let bad_side = || out_of_range("side of a drawing", side.to_string(), "1 to 2048 pixels");
        if !(1..=2048).contains(&side) {
            return Err(bad_side());
        }
        let is_usable = |size: f32| size.is_finite() && size > 0.0;
        if !self.canvas.iter().all(|&size| is_usable(size)) || !is_usable(raster.line_width) {
            let value = format!("{:?}, line width {}", self.canvas, raster.line_width);
            return Err(out_of_range("canvas of a sketch", value, "finite sizes above 0"));
        }
        let points = || self.polylines.iter().flatten();
        if let Some(point) = points().find(|point| !point.iter().all(|value| value.is_finite())) {
            return Err(out_of_range("point of a sketch", format!("{point:?}"), "finite numbers"));
        }
        let fine_side = side * OVERSAMPLING;
        let mut pixmap = Pixmap::new(fine_side, fine_side).ok_or_else(bad_side)?;
        pixmap.fill(Color::WHITE);
        let scale = fine_side as f32 / self.canvas[0].max(self.canvas[1]);
        let shift = |size: f32| (fine_side as f32 - scale * size) / 2.0;
        let transform =
            Transform::from_scale(scale, scale).post_translate(shift(self.canvas[0]), shift(self.canvas[1]));
        let mut paint = Paint { anti_alias: true, ..Paint::default() };
        paint.set_color(Color::BLACK);
        let stroke = Stroke {
            width: raster.line_width * fine_side as f32 / scale,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        for polyline in self.drawn_until(share).polylines {
            let mut path = PathBuilder::new();
            match polyline[..] {
                [] => continue,
                // A line without length has no caps; a dot is a disc.
                [[x, y]] => {
                    path.push_circle(x, y, stroke.width / 2.0);
                    if let Some(path) = path.finish() {
                        pixmap.fill_path(&path, &paint, tiny_skia::FillRule::Winding, transform, None);
                    }
                    continue;
                }
                [[x, y], ..] => path.move_to(x, y),
            }
            polyline[1..].iter().for_each(|&[x, y]| path.line_to(x, y));
            if let Some(path) = path.finish() {
                pixmap.stroke_path(&path, &paint, &stroke, transform, None);
            }
        }
        Image::new(side, side, averaged(pixmap.data(), side as usize))
    }
}

/// tiny-skia covers a pixel in steps of a quarter from line to line; a drawing is averaged from finer pixels, so that a
/// thin line has its width wherever it lies.
const OVERSAMPLING: u32 = 4;

/// Means over blocks of fine grey RGBA pixels, rounded, as RGB.
fn averaged(fine: &[u8], side: usize) -> Vec<u8> {
    let block = OVERSAMPLING as usize;
    let n_samples = (block * block) as u32;
    let mut pixels = Vec::with_capacity(side * side * 3);
    for y in 0..side {
        for x in 0..side {
            let mut sum = n_samples / 2;
            for row in y * block..(y + 1) * block {
                let start = (row * side * block + x * block) * 4;
                // White below, so that red is grey and not premultiplied.
                sum +=
                    fine[start..start + block * 4].iter().step_by(4).map(|&red| u32::from(red)).sum::<u32>();
            }
            pixels.extend([(sum / n_samples) as u8; 3]);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_checked() {
        let drawn = Strokes::drawn([10.0, 20.5], &[vec![[1.0, 2.0]], vec![[3.0, 4.0], [5.5, -6.0]]]).unwrap();
        assert_eq!(drawn.canvas, [10.0, 20.5]);
        assert_eq!(drawn.polylines[1], [[3.0, 4.0], [5.5, -6.0]]);
        let (page, dot) = ([9.0, 9.0], vec![vec![[1.0, 2.0]]]);
        let at = |x: f64| vec![vec![[1.0, 2.0], [x, 2.0]]];
        for (canvas, polylines, reason) in [
            ([0.0, 1.0], dot.clone(), "a side of a drawing's canvas is 0"),
            ([1.0, 1e300], dot.clone(), "a side of a drawing's canvas is 1e300"),
            ([f64::NAN, 9.0], dot, "a side of a drawing's canvas is NaN"),
            (page, vec![], "number of a drawing's polylines is 0"),
            (
                page,
                vec![vec![[1.0, 2.0]], vec![]],
                "number of points of a drawing's polyline is 0 in polyline 2",
            ),
            (page, at(100_001.0), "a coordinate of a drawing is 100001"),
            (page, at(f64::NEG_INFINITY), "a coordinate of a drawing is -inf"),
            (page, at(f64::NAN), "a coordinate of a drawing is NaN"),
        ] {
            let message = Strokes::drawn(canvas, &polylines).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    /// What is drawn in its frame is where it would be were it drawn there, however small it was.
    #[test]
    fn a_picture_is_framed_before_it_is_drawn() {
        let square = |at: f64, side: f64| {
            let corners = [[at, at], [at + side, at], [at + side, at + side], [at, at + side], [at, at]];
            Strokes::drawn([400.0, 300.0], &[corners.to_vec()]).unwrap()
        };
        let raster = Raster::default();
        let small = square(20.0, 30.0).picture(&raster, Some(0.75)).unwrap();
        assert_eq!(small, square(100.0, 150.0).picture(&raster, Some(0.75)).unwrap());
        assert_ne!(small, square(20.0, 30.0).picture(&raster, None).unwrap());
        assert_eq!(
            square(20.0, 30.0).picture(&raster, None).unwrap(),
            square(20.0, 30.0).draw(&raster, 1.0).unwrap()
        );
    }

    #[test]
    fn a_part_of_a_sketch_is_its_first_points() {
        let line = |from: usize, to: usize| (from..to).map(|i| [i as f32, 0.0]).collect::<Vec<_>>();
        let strokes = Strokes { canvas: [10.0, 10.0], polylines: vec![line(0, 3), line(3, 10)] };
        for (share, lengths) in [(0.0, vec![]), (0.25, vec![3]), (0.31, vec![3, 1]), (1.0, vec![3, 7])] {
            let part = strokes.drawn_until(share);
            assert_eq!(part.polylines.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{share}");
        }
    }

    /// A horizontal line covers its length times its width, with two half discs at its ends.
    #[test]
    fn a_line_covers_the_area_that_it_should() {
        let strokes = Strokes { canvas: [100.0, 50.0], polylines: vec![vec![[20.0, 25.0], [80.0, 25.0]]] };
        for (side, line_width) in [(200, 0.02), (64, 0.05), (333, 0.013)] {
            let image = strokes.draw(&Raster { side, line_width }, 1.0).unwrap();
            let scale = f64::from(side) / 100.0;
            let width = f64::from(line_width) * f64::from(side);
            let expected = 60.0 * scale * width + std::f64::consts::PI * (width / 2.0).powi(2);
            let covered: f64 =
                image.pixels().chunks_exact(3).map(|rgb| 1.0 - f64::from(rgb[0]) / 255.0).sum();
            assert!((covered - expected).abs() < 0.02 * expected, "{covered} {expected}");
            // In the middle of the picture: the canvas is wider than high.
            let row = |y: u32| {
                let start = (y * side * 3) as usize;
                image.pixels()[start..start + 3 * side as usize]
                    .iter()
                    .map(|&v| 255 - u32::from(v))
                    .sum::<u32>()
            };
            let heaviest = (0..side).max_by_key(|&y| row(y)).unwrap();
            assert!(heaviest.abs_diff(side / 2) <= 1, "{heaviest} of {side}");
        }
    }

    #[test]
    fn a_dot_is_seen_and_what_cannot_be_drawn_is_refused() {
        let strokes = |point| Strokes { canvas: [10.0, 10.0], polylines: vec![vec![point]] };
        let dot = strokes([5.0, 5.0]).draw(&Raster::default(), 1.0).unwrap();
        let darkest = dot.pixels().iter().min();
        assert!(darkest.is_some_and(|&value| value < 64), "{darkest:?}");
        assert!(strokes([f32::NAN, 5.0]).draw(&Raster::default(), 1.0).is_err());
        assert!(strokes([5.0, 5.0]).draw(&Raster { side: 0, ..Raster::default() }, 1.0).is_err());
        let flat = Strokes { canvas: [0.0, 10.0], polylines: Vec::new() };
        assert!(flat.draw(&Raster::default(), 1.0).is_err());
    }
}
