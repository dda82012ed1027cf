//! SVG files as pen movements: every visible outline in the file's order, curves as short lines.

use std::path::Path;

use usvg::tiny_skia_path::PathSegment;
use usvg::{Group, Node, Tree};

use super::{STEP, line_to, n_steps};
use crate::{Error, Result};
use sketchfind_core::strokes::Strokes;

/// Reads one SVG file. Shapes of any kind are outlines, each subpath one polyline; text and embedded pictures are left
/// out.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] where it is no SVG file or holds no outline.
pub fn read_svg(path: &Path) -> Result<Strokes> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let tree = Tree::from_data(&bytes, &usvg::Options::default())
        .map_err(|e| Error::malformed(path, format!("not an SVG file: {e}")))?;
    let canvas = [tree.size().width(), tree.size().height()];
    let step = STEP * canvas[0].max(canvas[1]);
    let mut polylines = Vec::new();
    add_group(tree.root(), step, &mut polylines);
    polylines.retain(|polyline: &Vec<[f32; 2]>| !polyline.is_empty());
    if polylines.is_empty() {
        return Err(Error::malformed(path, "it holds no outline"));
    }
    Ok(Strokes { canvas, polylines })
}

fn add_group(group: &Group, step: f32, polylines: &mut Vec<Vec<[f32; 2]>>) {
    for node in group.children() {
        match node {
            Node::Group(group) => add_group(group, step, polylines),
            Node::Path(path) if path.is_visible() => {
                let Some(data) = path.data().clone().transform(path.abs_transform()) else { continue };
                for segment in data.segments() {
                    add_segment(segment, step, polylines);
                }
            }
            Node::Path(_) | Node::Image(_) | Node::Text(_) => {}
        }
    }
}

fn add_segment(segment: PathSegment, step: f32, polylines: &mut Vec<Vec<[f32; 2]>>) {
    if let PathSegment::MoveTo(to) = segment {
        polylines.push(vec![[to.x, to.y]]);
        return;
    }
    let Some(polyline) = polylines.last_mut() else { return };
    let Some(&from) = polyline.last() else { return };
    let length = |points: &[[f32; 2]]| {
        points.windows(2).map(|pair| (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1])).sum::<f32>()
    };
    match segment {
        PathSegment::MoveTo(_) => {}
        PathSegment::LineTo(to) => line_to(polyline, [to.x, to.y], step),
        PathSegment::Close => {
            let first = polyline[0];
            line_to(polyline, first, step);
        }
        PathSegment::QuadTo(control, to) => {
            let (control, to) = ([control.x, control.y], [to.x, to.y]);
            let n_steps = n_steps(length(&[from, control, to]), step);
            for index in 1..=n_steps {
                let t = index as f32 / n_steps as f32;
                let weights = [(1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t];
                polyline.push(blend(&weights, &[from, control, to]));
            }
        }
        PathSegment::CubicTo(first, second, to) => {
            let points = [from, [first.x, first.y], [second.x, second.y], [to.x, to.y]];
            let n_steps = n_steps(length(&points), step);
            for index in 1..=n_steps {
                let t = index as f32 / n_steps as f32;
                let s = 1.0 - t;
                polyline.push(blend(&[s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t], &points));
            }
        }
    }
}

fn blend(weights: &[f32], points: &[[f32; 2]]) -> [f32; 2] {
    let along = |axis: usize| weights.iter().zip(points).map(|(weight, point)| weight * point[axis]).sum();
    [along(0), along(1)]
}

#[cfg(test)]
mod tests {
    use crate::vector::read_sketches;

    const CIRCLE_AND_LINE: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 128 64\">\
        <circle cx=\"32\" cy=\"32\" r=\"16\" fill=\"none\" stroke=\"black\"/>\
        <g transform=\"translate(64 0)\"><path d=\"M0 8 L10 8 M0 20 Q5 30 10 20\" fill=\"none\" stroke=\"black\"/></g>\
        </svg>";

    #[test]
    fn outlines_become_polylines_in_order() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/x.svg"), CIRCLE_AND_LINE).unwrap();
        let sketches = read_sketches(folder.path()).unwrap();
        assert_eq!(sketches.keys().collect::<Vec<_>>(), ["a/x"]);
        let strokes = &sketches["a/x"];
        assert_eq!((strokes.canvas, strokes.polylines.len()), ([128.0, 64.0], 3));
        for [x, y] in &strokes.polylines[0] {
            assert!(((x - 32.0).hypot(y - 32.0) - 16.0).abs() < 0.02, "{x} {y} is off the circle");
        }
        let length = |polyline: &[[f32; 2]]| {
            polyline.windows(2).map(|p| (p[1][0] - p[0][0]).hypot(p[1][1] - p[0][1])).sum::<f32>()
        };
        assert!((length(&strokes.polylines[0]) - 2.0 * std::f32::consts::PI * 16.0).abs() < 0.5);
        // A step a unit: eleven points on ten units, in the group's place.
        assert_eq!(strokes.polylines[1].len(), 11);
        assert_eq!((strokes.polylines[1][0], strokes.polylines[1][10]), ([64.0, 8.0], [74.0, 8.0]));
        // The middle of the curve by hand: 0.25 * 20 + 0.5 * 30 + 0.25 * 20.
        assert!(strokes.polylines[2].iter().any(|[x, y]| (x - 69.0).abs() < 0.5 && (y - 25.0).abs() < 0.2));
    }

    #[test]
    fn what_is_no_sketch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_sketches(folder.path()).unwrap_err().to_string().contains("no .svg"));
        let path = folder.path().join("x.svg");
        for (text, part) in [
            ("no svg", "not an SVG"),
            ("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"/>", "no outline"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(read_sketches(&path).unwrap_err().to_string().contains(part), "{text}");
        }
        assert!(read_sketches(&folder.path().join("nowhere.ndjson")).is_err());
    }
}
