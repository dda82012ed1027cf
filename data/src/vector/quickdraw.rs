//! QuickDraw's ndjson: a line of JSON for each drawing, raw or simplified.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{STEP, line_to};
use crate::{Error, Result};
use sketchfind_core::strokes::Strokes;

/// What is read of a line; `drawing` holds a stroke's x, its y and, in raw files, times.
#[derive(Deserialize)]
struct Line {
    key_id: KeyId,
    drawing: Vec<Vec<Vec<f32>>>,
}

/// Written as text, or as a number by some tools.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeyId {
    Text(String),
    Number(u64),
}

/// The canvas of simplified drawings, whose coordinates are 0 to 255.
const SIMPLIFIED: f32 = 256.0;

/// Reads all drawings of a file by their `key_id`. Simplified drawings, which keep only corners, get points along their
/// lines; raw ones, in the pixels of whatever screen they were drawn on, get a canvas that they fill but for a margin of a
/// twentieth.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] with the line that is no drawing, or whose id stands there twice.
pub fn read_quickdraw(path: &Path) -> Result<BTreeMap<String, Strokes>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let mut sketches = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let broken = |reason: String| Error::malformed(path, format!("line {}: {reason}", index + 1));
        let line: Line =
            serde_json::from_str(line).map_err(|e| broken(format!("not a QuickDraw drawing: {e}")))?;
        let name = match line.key_id {
            KeyId::Text(text) => text,
            KeyId::Number(number) => number.to_string(),
        };
        let strokes = strokes_of(&line.drawing).map_err(|reason| broken(format!("'{name}': {reason}")))?;
        if sketches.insert(name.clone(), strokes).is_some() {
            return Err(broken(format!("the key_id '{name}' stands there twice")));
        }
    }
    Ok(sketches)
}

fn strokes_of(drawing: &[Vec<Vec<f32>>]) -> std::result::Result<Strokes, String> {
    let mut polylines: Vec<Vec<[f32; 2]>> = Vec::new();
    for stroke in drawing {
        let ([x, y] | [x, y, _]) = &stroke[..] else {
            return Err(format!(
                "a stroke has {} lists, expected x and y, and times in raw files",
                stroke.len()
            ));
        };
        if x.len() != y.len() {
            return Err(format!("a stroke has {} x and {} y", x.len(), y.len()));
        }
        let points: Vec<[f32; 2]> = x.iter().zip(y).map(|(&x, &y)| [x, y]).collect();
        if points.iter().flatten().any(|value| !value.is_finite()) {
            return Err("a point is not finite".into());
        }
        if !points.is_empty() {
            polylines.push(points);
        }
    }
    let is_raw = drawing.iter().any(|stroke| stroke.len() == 3);
    let values = || polylines.iter().flatten().flatten();
    if !is_raw && values().all(|value| (0.0..SIMPLIFIED).contains(value)) {
        let dense = polylines
            .iter()
            .map(|points| {
                let mut polyline = Vec::new();
                points.iter().for_each(|&point| line_to(&mut polyline, point, STEP * SIMPLIFIED));
                polyline
            })
            .collect();
        return Ok(Strokes { canvas: [SIMPLIFIED; 2], polylines: dense });
    }
    let bound = |axis: usize, better: fn(f32, f32) -> f32| {
        polylines.iter().flatten().map(|point| point[axis]).reduce(better).unwrap_or(0.0)
    };
    let low = [bound(0, f32::min), bound(1, f32::min)];
    let high = [bound(0, f32::max), bound(1, f32::max)];
    // A dot has no size of its own.
    let side = (high[0] - low[0]).max(high[1] - low[1]).max(1.0);
    let margin = side / 20.0;
    for point in polylines.iter_mut().flatten() {
        for axis in [0, 1] {
            point[axis] += margin - low[axis] + (side - (high[axis] - low[axis])) / 2.0;
        }
    }
    Ok(Strokes { canvas: [side + 2.0 * margin; 2], polylines })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Strokes>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shoes.ndjson");
        std::fs::write(&path, text).unwrap();
        read_quickdraw(&path)
    }

    #[test]
    fn simplified_and_raw_drawings() {
        let sketches = read(
            "{\"word\":\"shoe\",\"key_id\":\"1\",\"drawing\":[[[0,4],[0,0]],[[8],[9]]]}\n\
             {\"key_id\":2,\"drawing\":[[[100.5,300.5],[50,60],[0,17]]]}\n\n",
        )
        .unwrap();
        // Steps of 2 on a canvas of 256.
        assert_eq!(sketches["1"].polylines, [vec![[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], vec![[8.0, 9.0]]]);
        assert_eq!(sketches["1"].canvas, [256.0, 256.0]);
        // 200 wide and 10 high: a canvas of 220, in its middle.
        assert_eq!(sketches["2"].canvas, [220.0, 220.0]);
        assert_eq!(sketches["2"].polylines, [vec![[10.0, 105.0], [210.0, 115.0]]]);
    }

    #[test]
    fn what_is_no_drawing_is_named_with_its_line() {
        for (text, part) in [
            ("{\"key_id\":\"1\",\"drawing\":[[[0],[0,1]]]}", "1 x and 2 y"),
            ("{\"key_id\":\"1\",\"drawing\":[[[0]]]}", "1 lists"),
            ("{\"key_id\":\"1\",\"drawing\":[]}\n{", "line 2"),
            ("{\"key_id\":\"1\",\"drawing\":[]}\n{\"key_id\":\"1\",\"drawing\":[]}", "twice"),
            ("{\"drawing\":[]}", "key_id"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("shoes.ndjson"), "{message}");
        }
    }
}
