//! Changed versions of vector sketches, to measure what a retriever bears: deformed as a whole or locally, clipped, drawn
//! with another pen, with strokes left out. After the robustness study of 'Photo Pre-Training, But for Sketch' (CVPR
//! 2023), which names the kinds; how large a change is, is our choice and stands at each.

use sketchfind_core::random::Stream;

use sketchfind_core::strokes::{Raster, Strokes};

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Turned about the canvas' middle by up to 20 degrees either way.
    Rotation,
    /// Width and height scaled about the canvas' middle, each by 0.75 to 1.25.
    Scale,
    /// Moved by up to a tenth of the canvas along each axis.
    Translation,
    /// Lines of half to twice the width.
    Width,
    /// Bent: points are moved by a smooth field, drawn on a grid of 4 x 4 with up to a twentieth of the canvas along each
    /// axis.
    Local,
    /// Seen through a window of four fifths of the canvas, anywhere; what is outside is lost.
    Clipping,
    /// Strokes drawn at random are kept, this share of them (rounded up) in their order.
    Kept(f64),
}

impl Change {
    /// All deformations.
    pub const DEFORMATIONS: [Change; 6] = [
        Change::Rotation,
        Change::Scale,
        Change::Translation,
        Change::Width,
        Change::Local,
        Change::Clipping,
    ];
    /// Strokes left out, more and more.
    pub const DELETIONS: [Change; 4] =
        [Change::Kept(0.8), Change::Kept(0.6), Change::Kept(0.4), Change::Kept(0.2)];

    /// The name in files.
    pub fn name(self) -> String {
        match self {
            Change::Rotation => "rotation".into(),
            Change::Scale => "scale".into(),
            Change::Translation => "translation".into(),
            Change::Width => "width".into(),
            Change::Local => "local".into(),
            Change::Clipping => "clipping".into(),
            Change::Kept(share) => format!("kept_{share:.2}"),
        }
    }

    /// A version of a sketch and of how it is drawn. The same stream, the same version.
    pub fn apply(self, strokes: &Strokes, raster: &Raster, stream: &mut Stream) -> (Strokes, Raster) {
        let mut between = |low: f64, high: f64| low + (high - low) * stream.unit();
        let [width, height] = strokes.canvas.map(f64::from);
        let (middle_x, middle_y) = (width / 2.0, height / 2.0);
        let moved = |of: &dyn Fn(f64, f64) -> (f64, f64)| {
            let point = |&[x, y]: &[f32; 2]| {
                let (x, y) = of(f64::from(x), f64::from(y));
                [x as f32, y as f32]
            };
            let polylines =
                strokes.polylines.iter().map(|polyline| polyline.iter().map(point).collect()).collect();
            (Strokes { canvas: strokes.canvas, polylines }, *raster)
        };
        match self {
            Change::Rotation => {
                let (sin, cos) = between(-20.0, 20.0).to_radians().sin_cos();
                moved(&|x, y| {
                    let (dx, dy) = (x - middle_x, y - middle_y);
                    (middle_x + cos * dx - sin * dy, middle_y + sin * dx + cos * dy)
                })
            }
            Change::Scale => {
                let (by_x, by_y) = (between(0.75, 1.25), between(0.75, 1.25));
                moved(&|x, y| (middle_x + by_x * (x - middle_x), middle_y + by_y * (y - middle_y)))
            }
            Change::Translation => {
                let (by_x, by_y) = (between(-0.1, 0.1) * width, between(-0.1, 0.1) * height);
                moved(&|x, y| (x + by_x, y + by_y))
            }
            Change::Width => {
                // Halving is as likely as doubling.
                let factor = 2.0_f64.powf(between(-1.0, 1.0)) as f32;
                (strokes.clone(), Raster { line_width: raster.line_width * factor, ..*raster })
            }
            Change::Local => {
                let field: Vec<[f64; 2]> = (0..GRID * GRID)
                    .map(|_| [between(-0.05, 0.05) * width, between(-0.05, 0.05) * height])
                    .collect();
                moved(&|x, y| {
                    let by = field_at(&field, x / width, y / height);
                    (x + by[0], y + by[1])
                })
            }
            Change::Clipping => {
                let (left, top) = (between(0.0, 0.2) * width, between(0.0, 0.2) * height);
                let window = [left, top, left + 0.8 * width, top + 0.8 * height];
                let polylines =
                    strokes.polylines.iter().flat_map(|polyline| clipped(polyline, window)).collect();
                (Strokes { canvas: strokes.canvas, polylines }, *raster)
            }
            Change::Kept(share) => {
                let n = strokes.polylines.len();
                let n_kept = ((share.clamp(0.0, 1.0) * n as f64).ceil() as usize).min(n);
                let mut order: Vec<usize> = (0..n).collect();
                stream.shuffle(&mut order);
                order.truncate(n_kept);
                order.sort_unstable();
                let polylines = order.into_iter().map(|index| strokes.polylines[index].clone()).collect();
                (Strokes { canvas: strokes.canvas, polylines }, *raster)
            }
        }
    }
}

/// Nodes of the bending field along each axis.
const GRID: usize = 4;

/// The field at a place of the canvas, both coordinates from 0 to 1: blended smoothly between the four nodes around it.
fn field_at(field: &[[f64; 2]], x: f64, y: f64) -> [f64; 2] {
    let cell = |position: f64| {
        let position = (position * (GRID - 1) as f64).clamp(0.0, (GRID - 1) as f64);
        let low = (position.floor() as usize).min(GRID - 2);
        let t = position - low as f64;
        // Smoothstep: no kink at a node.
        (low, t * t * (3.0 - 2.0 * t))
    };
    let ((column, s), (row, t)) = (cell(x), cell(y));
    let node = |row: usize, column: usize| field[row * GRID + column];
    [0, 1].map(|axis| {
        let top = (1.0 - s) * node(row, column)[axis] + s * node(row, column + 1)[axis];
        let bottom = (1.0 - s) * node(row + 1, column)[axis] + s * node(row + 1, column + 1)[axis];
        (1.0 - t) * top + t * bottom
    })
}

/// The parts of a polyline inside a window of left, top, right, bottom: each segment is cut at the window's edges (Liang
/// and Barsky 1984).
fn clipped(polyline: &[[f32; 2]], window: [f64; 4]) -> Vec<Vec<[f32; 2]>> {
    let [left, top, right, bottom] = window;
    let is_inside =
        |[x, y]: [f32; 2]| (left..=right).contains(&f64::from(x)) && (top..=bottom).contains(&f64::from(y));
    if let &[point] = polyline {
        return if is_inside(point) { vec![vec![point]] } else { Vec::new() };
    }
    let mut parts: Vec<Vec<[f32; 2]>> = Vec::new();
    let mut is_open = false;
    for pair in polyline.windows(2) {
        let (from, to) = (pair[0].map(f64::from), pair[1].map(f64::from));
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        let mut misses = false;
        for (p, q) in
            [(-dx, from[0] - left), (dx, right - from[0]), (-dy, from[1] - top), (dy, bottom - from[1])]
        {
            if p == 0.0 {
                misses |= q < 0.0;
            } else if p < 0.0 {
                enter = enter.max(q / p);
            } else {
                leave = leave.min(q / p);
            }
        }
        if misses || enter > leave {
            is_open = false;
            continue;
        }
        let at = |t: f64| [(from[0] + t * dx) as f32, (from[1] + t * dy) as f32];
        match parts.last_mut().filter(|_| is_open && enter <= 0.0) {
            Some(part) => part.push(at(leave)),
            None => parts.push(vec![at(enter), at(leave)]),
        }
        is_open = leave >= 1.0;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cross() -> Strokes {
        let line = |of: &dyn Fn(f32) -> [f32; 2]| (0..=100).map(|i| of(i as f32)).collect::<Vec<_>>();
        Strokes {
            canvas: [100.0, 100.0],
            polylines: vec![
                line(&|t| [t, 50.0]),
                line(&|t| [50.0, t]),
                vec![[3.0, 3.0]],
                vec![[90.0, 90.0]],
                vec![[9.0, 9.0]],
            ],
        }
    }

    fn apply(change: Change, seed: u64) -> (Strokes, Raster) {
        change.apply(&cross(), &Raster::default(), &mut Stream::new(seed, "version", &[]))
    }

    #[test]
    fn a_seed_decides_a_version_and_no_version_is_the_original() {
        for change in Change::DEFORMATIONS.into_iter().chain(Change::DELETIONS) {
            for seed in 0..10 {
                let version = apply(change, seed);
                assert_eq!(version, apply(change, seed), "{}", change.name());
                assert!(version != (cross(), Raster::default()), "{} changes nothing", change.name());
                assert!(version.0.draw(&version.1, 1.0).is_ok());
            }
            assert_ne!(apply(change, 1).0.polylines.len(), 0);
        }
        let names: std::collections::BTreeSet<String> =
            Change::DEFORMATIONS.into_iter().chain(Change::DELETIONS).map(Change::name).collect();
        assert_eq!(names.len(), 10);
    }

    #[test]
    fn a_rotation_keeps_lengths_and_the_middle() {
        let (turned, _) = apply(Change::Rotation, 3);
        let distance = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        for (before, after) in cross().polylines.iter().zip(&turned.polylines) {
            for (a, b) in before.iter().zip(after) {
                assert!((distance(*a, [50.0; 2]) - distance(*b, [50.0; 2])).abs() < 1e-3);
            }
        }
        let angle = f64::from(turned.polylines[0][100][1] - 50.0)
            .atan2(f64::from(turned.polylines[0][100][0] - 50.0));
        assert!(angle.to_degrees().abs() <= 20.0 && angle != 0.0);
    }

    #[test]
    fn nothing_is_seen_outside_the_window_and_lines_end_at_it() {
        for seed in 0..20 {
            let (seen, _) = apply(Change::Clipping, seed);
            let length: f32 = seen
                .polylines
                .iter()
                .flat_map(|line| line.windows(2))
                .map(|p| (p[1][0] - p[0][0]).hypot(p[1][1] - p[0][1]))
                .sum();
            // Each of the two lines crosses the whole window: 80 of its 100 units are left.
            assert!((length - 160.0).abs() < 0.01, "{length}");
        }
        // In, out and in again: two parts.
        let parts = clipped(&[[0.0, 5.0], [20.0, 5.0], [20.0, 6.0], [0.0, 6.0]], [0.0, 0.0, 10.0, 10.0]);
        assert_eq!(parts, [vec![[0.0, 5.0], [10.0, 5.0]], vec![[10.0, 6.0], [0.0, 6.0]]]);
        assert_eq!(clipped(&[[5.0, -5.0], [5.0, -1.0]], [0.0, 0.0, 10.0, 10.0]), Vec::<Vec<[f32; 2]>>::new());
    }

    #[test]
    fn a_share_of_strokes_is_kept_in_order() {
        for (share, n) in [(0.2, 1), (0.4, 2), (0.6, 3), (0.8, 4), (1.0, 5), (0.0, 0)] {
            let (kept, _) = apply(Change::Kept(share), 5);
            assert_eq!(kept.polylines.len(), n, "{share}");
            let all = cross().polylines;
            let places: Vec<usize> = kept
                .polylines
                .iter()
                .map(|line| all.iter().position(|other| other == line).unwrap())
                .collect();
            assert!(places.is_sorted());
        }
    }

    #[test]
    fn a_bend_moves_points_a_little_and_keeps_lines_whole() {
        let (bent, _) = apply(Change::Local, 2);
        for (before, after) in cross().polylines.iter().zip(&bent.polylines) {
            for (a, b) in before.iter().zip(after) {
                assert!((a[0] - b[0]).abs() <= 5.01 && (a[1] - b[1]).abs() <= 5.01);
            }
            assert!(after.windows(2).all(|p| (p[1][0] - p[0][0]).hypot(p[1][1] - p[0][1]) < 1.7));
        }
    }
}
