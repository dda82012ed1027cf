//! Vector sketches: polylines on a canvas, in the order in which they were drawn, and their pictures.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::frame::SMALLEST_DRAWING;
use sketchfind_core::image::Image;
use sketchfind_pickle::{Arguments, Machine, Made, PickleResult, Value, Vocabulary};
use tiny_skia::{Color, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Stroke, Transform};

use crate::{Error, Result};

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

/// The canvas of QMUL's coordinate files.
const QMUL_CANVAS: [f32; 2] = [256.0, 256.0];

/// Reads a coordinate file of QMUL's V2 sets: a pickled dictionary of names to arrays `[points, 3]` of x, y on a
/// canvas of 256 x 256, and a flag that is 1 where the pen is lifted after the point. No pickle code is run.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] with what is not such a file.
pub fn read_coordinates(path: &Path) -> Result<BTreeMap<String, Strokes>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    parse_coordinates(&bytes)
        .map_err(|reason| Error::malformed(path, format!("not a coordinate file: {reason}")))
}

fn parse_coordinates(bytes: &[u8]) -> PickleResult<BTreeMap<String, Strokes>> {
    let mut machine = Machine::new(bytes, NumPy);
    let value = machine.next_pickle()?;
    let entries = machine.dict(&value).ok_or("it holds no dictionary")?;
    let mut sketches = BTreeMap::new();
    for (key, value) in entries {
        let Value::Text(name) = key else {
            return Err(format!("a name is {key:?}, expected text"));
        };
        let Some(Object::Array { shape, values }) = machine.object(value) else {
            return Err(format!("'{name}' is no array of numbers"));
        };
        let &[_, 3] = &shape[..] else {
            return Err(format!("'{name}' has the shape {shape:?}, expected [points, 3]"));
        };
        let strokes = strokes_of(values).map_err(|reason| format!("'{name}': {reason}"))?;
        if sketches.insert(name.to_string(), strokes).is_some() {
            return Err(format!("'{name}' stands there twice"));
        }
    }
    Ok(sketches)
}

/// Parts rows of x, y, lifted into polylines.
fn strokes_of(values: &[f64]) -> std::result::Result<Strokes, String> {
    let mut polylines = vec![Vec::new()];
    for row in values.chunks_exact(3) {
        let (x, y, lifted) = (row[0] as f32, row[1] as f32, row[2]);
        if !(x.is_finite() && y.is_finite()) || !(lifted == 0.0 || lifted == 1.0) {
            return Err(format!("a point is {row:?}, expected finite x and y and a flag of 0 or 1"));
        }
        if let Some(polyline) = polylines.last_mut() {
            polyline.push([x, y]);
        }
        if lifted == 1.0 {
            polylines.push(Vec::new());
        }
    }
    polylines.retain(|polyline| !polyline.is_empty());
    Ok(Strokes { canvas: QMUL_CANVAS, polylines })
}

/// What a file of NumPy arrays may name, call and build.
#[derive(Debug)]
struct NumPy;

#[derive(Debug)]
enum Object {
    Reconstruct,
    /// Makes an array at once, in protocol 5.
    FromBuffer,
    /// Makes bytes of Latin-1 text: Python 3 in the protocols of Python 2.
    Encode,
    BytesClass,
    ArrayClass,
    DtypeClass,
    /// A dtype before and after its byte order is known.
    Dtype {
        code: String,
        is_little_endian: bool,
    },
    /// An array that has no state yet.
    EmptyArray,
    Array {
        shape: Vec<usize>,
        values: Vec<f64>,
    },
}

impl Vocabulary for NumPy {
    type Object = Object;

    fn global(&self, module: &str, name: &str) -> Option<Object> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Some(Object::Reconstruct),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Some(Object::FromBuffer),
            ("_codecs", "encode") => Some(Object::Encode),
            ("__builtin__" | "builtins", "bytes" | "bytearray") => Some(Object::BytesClass),
            ("numpy", "ndarray") => Some(Object::ArrayClass),
            ("numpy", "dtype") => Some(Object::DtypeClass),
            _ => None,
        }
    }

    fn refusal(&self) -> &'static str {
        "a coordinate file holds arrays of numbers only"
    }

    fn call(&self, function: &Object, arguments: Arguments<'_, NumPy>) -> PickleResult<Made<Object>> {
        match (function, arguments.tuple().unwrap_or_default()) {
            (Object::Reconstruct, [class, ..])
                if matches!(arguments.object_in(class), Some(Object::ArrayClass)) =>
            {
                Ok(Made::Object(Object::EmptyArray))
            }
            (Object::DtypeClass, [Value::Text(code), ..]) => {
                Ok(Made::Object(Object::Dtype { code: code.to_string(), is_little_endian: true }))
            }
            (Object::FromBuffer, [buffer, dtype, shape, Value::Text(order)]) => {
                array(arguments, shape, dtype, &**order == "F", buffer).map(Made::Object)
            }
            (Object::Encode, [Value::Text(text), Value::Text(encoding)]) => {
                latin_1(text, encoding).map(Made::Bytes)
            }
            (Object::BytesClass, []) => Ok(Made::Bytes(Vec::new())),
            (Object::BytesClass, [Value::Bytes(bytes)]) => Ok(Made::Bytes(bytes.to_vec())),
            (Object::BytesClass, [Value::Text(text), Value::Text(encoding)]) => {
                latin_1(text, encoding).map(Made::Bytes)
            }
            _ => Err(format!("{function:?} is called with other arguments than NumPy's")),
        }
    }

    fn persistent(&self, _: Arguments<'_, NumPy>) -> PickleResult<Object> {
        Err("a persistent id, which NumPy's arrays have none of".into())
    }

    fn build(&self, object: &Object, state: Arguments<'_, NumPy>) -> PickleResult<Option<Object>> {
        match (object, state.tuple().unwrap_or_default()) {
            (Object::Dtype { code, .. }, [_, Value::Text(order), ..]) => Ok(Some(Object::Dtype {
                code: code.clone(),
                is_little_endian: matches!(&**order, "<" | "|"),
            })),
            (Object::EmptyArray, [_, shape, dtype, Value::Bool(is_fortran), bytes]) => {
                array(state, shape, dtype, *is_fortran, bytes).map(Some)
            }
            _ => Err(format!("{object:?} has another state than NumPy's")),
        }
    }
}

/// An array of what NumPy keeps of one. `values` holds the others.
fn array(
    values: Arguments<'_, NumPy>,
    shape: &Value,
    dtype: &Value,
    is_fortran: bool,
    bytes: &Value,
) -> PickleResult<Object> {
    let bytes = match bytes {
        Value::Bytes(bytes) => &bytes[..],
        // Bytes of Python 2 that happen to be text.
        Value::Text(text) => text.as_bytes(),
        _ => return Err("an array's numbers are no bytes".into()),
    };
    let Some(Object::Dtype { code, is_little_endian: true }) = values.object_in(dtype) else {
        return Err("an array's numbers are not little-endian".into());
    };
    let size = |value: &Value| match value {
        Value::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let shape: Option<Vec<usize>> = values.tuple_in(shape).and_then(|items| items.iter().map(size).collect());
    let shape = shape.ok_or("an array's shape is not whole numbers from 0")?;
    let values = numbers(code, bytes)?;
    let n_values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if n_values != Some(values.len()) {
        return Err(format!("an array of shape {shape:?} has {} numbers", values.len()));
    }
    let values = match shape[..] {
        // Columns one after another.
        [n_rows, n_columns] if is_fortran => {
            (0..values.len()).map(|at| values[at / n_columns + n_rows * (at % n_columns)]).collect()
        }
        _ if is_fortran && shape.iter().filter(|&&size| size > 1).count() > 1 => {
            return Err("an array of more than two dimensions lies in Fortran's order, expected C's".into());
        }
        _ => values,
    };
    Ok(Object::Array { shape, values })
}

/// The bytes that a text stands for.
fn latin_1(text: &str, encoding: &str) -> PickleResult<Vec<u8>> {
    if !matches!(encoding, "latin1" | "latin-1") {
        return Err(format!("bytes are given as text in '{encoding}', expected 'latin1'"));
    }
    let bytes: std::result::Result<Vec<u8>, _> =
        text.chars().map(|character| u8::try_from(u32::from(character))).collect();
    bytes.map_err(|_large| "a text that stands for bytes has other characters than Latin-1's".into())
}

fn numbers(code: &str, bytes: &[u8]) -> PickleResult<Vec<f64>> {
    fn convert<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f64) -> Option<Vec<f64>> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        rest.is_empty().then(|| chunks.iter().map(|chunk| of(*chunk)).collect())
    }
    let values = match code {
        "f8" => convert(bytes, f64::from_le_bytes),
        "f4" => convert(bytes, |b| f64::from(f32::from_le_bytes(b))),
        "i8" => convert(bytes, |b| i64::from_le_bytes(b) as f64),
        "i4" => convert(bytes, |b| f64::from(i32::from_le_bytes(b))),
        "i2" => convert(bytes, |b| f64::from(i16::from_le_bytes(b))),
        "u1" => convert(bytes, |b: [u8; 1]| f64::from(b[0])),
        other => {
            return Err(format!(
                "an array's numbers are of type '{other}', expected f8, f4, i8, i4, i2 or u1"
            ));
        }
    };
    values.ok_or_else(|| "an array's bytes are cut off".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    /// Two sketches, written by tests/fixtures/make_coordinates.py.
    const SMALL: &[u8] = include_bytes!("../tests/fixtures/coordinates.pickle");

    #[test]
    fn reads_what_numpy_wrote() {
        let sketches = parse_coordinates(SMALL).unwrap();
        assert_eq!(sketches.keys().collect::<Vec<_>>(), ["/test/boot_2", "/train/shoe_1"]);
        let shoe = &sketches["/train/shoe_1"];
        assert_eq!(shoe.canvas, [256.0, 256.0]);
        assert_eq!(shoe.polylines, [vec![[10.0, 20.0], [30.5, 40.0]], vec![[50.0, 60.0]]]);
        assert_eq!(sketches["/test/boot_2"].n_points(), 3);
    }

    /// The same sketches in every protocol, by Python 2 and 3, with NumPy 1 and 2.
    fn every_protocol() -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/coordinates");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let mut found: Vec<_> = files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect();
        found.sort();
        assert_eq!(found.len(), 3 + 6 + 6);
        found
    }

    #[test]
    fn every_protocol_of_python_gives_the_same_sketches() {
        for (name, bytes) in every_protocol() {
            let sketches = parse_coordinates(&bytes).unwrap_or_else(|reason| panic!("{name}: {reason}"));
            assert_eq!(sketches.len(), 6, "{name}");
            for (key, strokes) in parse_coordinates(SMALL).unwrap() {
                assert_eq!(sketches[&key], strokes, "{name}: {key}");
            }
            for (key, polylines) in [
                ("/train/text_1", vec![vec![[0.0, 1.0], [2.0, 3.0]]]),
                ("/train/columns_1", vec![vec![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]),
                ("/train/käse_€_1", vec![vec![[200.0, 10.0], [92.0, 39.0]]]),
                ("/test/empty_1", vec![]),
            ] {
                assert_eq!(sketches[key].polylines, polylines, "{name}: {key}");
            }
        }
    }

    #[test]
    fn what_is_no_data_is_refused_in_every_protocol() {
        for (bytes, part) in [
            (&b"(dp0\nS'a'\ncos\nsystem\n(S'ls'\ntRs."[..], "'os.system'"),
            (b"(S'ls'\nios\nsystem\n.", "opcode 0x69"),
            (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-7\x86R.", "'utf-7'"),
            (b"\x80\x05\x97.", "outside of the file"),
            (b"\x80\x06N.", "protocol 6"),
        ] {
            let message = parse_coordinates(bytes).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn damage_and_code_are_refused_and_never_panic() {
        for (name, bytes) in every_protocol() {
            for end in 0..bytes.len() {
                assert!(parse_coordinates(&bytes[..end]).is_err(), "{name} cut at {end}");
            }
        }
        for end in 0..SMALL.len() {
            assert!(parse_coordinates(&SMALL[..end]).is_err(), "cut at {end}");
        }
        let mut stream = Stream::new(1, "mutations", &[]);
        for (_, whole) in every_protocol() {
            for _ in 0..3_000 {
                let mut bytes = whole.clone();
                for _ in 0..=stream.below(3) {
                    let position = stream.below(bytes.len());
                    bytes[position] = stream.bits() as u8;
                }
                let _ = parse_coordinates(&bytes);
            }
        }
        let message = parse_coordinates(b"\x80\x02cos\nsystem\n.").unwrap_err();
        assert!(message.contains("'os.system'"), "{message}");
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
