//! QMUL's coordinate files: pickled arrays of pen movements, as strokes.

use std::collections::BTreeMap;
use std::path::Path;

use sketchfind_core::strokes::Strokes;
use sketchfind_pickle::{Arguments, Machine, Made, PickleResult, Value, Vocabulary};

use crate::{Error, Result};

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
}
