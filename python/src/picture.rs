//! A picture as Python has it: a path, a file's bytes, a file that is open, an array, an image of PIL, strokes.

use std::path::PathBuf;

use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};
use sketchfind::Picture;
use sketchfind_core::image::{Channels, Pixels, Samples};

use crate::errors::{BadImage, raised};
use crate::strokes;

const EXPECTED: &str = "a picture is a path, a file's bytes, a file that is open for reading bytes, an array \
                        [height, width], [height, width, 3] or [height, width, 4], an image of PIL, or Strokes";

/// How far floats may be beyond 0 and 1: resizing and other arithmetic leaves as much.
const ROUNDING: f64 = 1e-6;

/// The picture that `value` is; a file has at most `max_bytes` bytes.
pub(crate) fn of(value: &Bound<'_, PyAny>, max_bytes: u64) -> PyResult<Picture> {
    if value.is_instance_of::<PyString>() {
        return Ok(Picture::File(value.extract()?));
    }
    if let Some(bytes) = bytes_of(value)? {
        return Ok(Picture::of_bytes(bytes));
    }
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        return of_array(array).map(Picture::Pixels);
    }
    if is_pil(value)? {
        return of_pil(value).map(Picture::Pixels);
    }
    if let Some(strokes) = strokes::of(value)? {
        return Ok(Picture::Strokes(strokes));
    }
    if let Ok(path) = value.extract::<PathBuf>() {
        return Ok(Picture::File(path));
    }
    if value.hasattr("read")? {
        return read(value, max_bytes).map(Picture::of_bytes);
    }
    Err(PyTypeError::new_err(format!("{EXPECTED}, not {}", value.get_type().name()?)))
}

/// Whether `value` is one picture and no list of them, though Python would iterate some of these too.
pub(crate) fn is_one_picture(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(array) = value.cast::<PyUntypedArray>() {
        // An array of four dimensions is a list of pictures.
        return Ok(array.ndim() != 4);
    }
    Ok(value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>()
        || is_pil(value)?
        || strokes::is_strokes(value)?
        || value.hasattr("__fspath__")?
        || value.hasattr("read")?)
}

/// The bytes of a file, as one of Python's types for them.
fn bytes_of(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Some(bytes.as_bytes().to_vec()));
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(Some(bytes.to_vec()));
    }
    let Ok(view) = value.cast::<PyMemoryView>() else { return Ok(None) };
    let (n_dimensions, item): (usize, usize) =
        (view.getattr("ndim")?.extract()?, view.getattr("itemsize")?.extract()?);
    if (n_dimensions, item) != (1, 1) {
        return Err(PyValueError::new_err(format!(
            "a memoryview holds a file's bytes, in one dimension; this one has {n_dimensions} of items of {item} bytes. \
             Give numpy.asarray(view) for pixels"
        )));
    }
    view.call_method0("tobytes")?.extract().map(Some)
}

/// What is left to be read of a file.
fn read(file: &Bound<'_, PyAny>, max_bytes: u64) -> PyResult<Vec<u8>> {
    // One more shows that it is too long, which the decoder then says.
    let read = file.call_method1("read", (max_bytes.saturating_add(1),))?;
    let Some(bytes) = bytes_of(&read)? else {
        let kind = read.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "the file gives {kind} where bytes were expected; open it in binary mode"
        )));
    };
    if bytes.is_empty() {
        return Err(BadImage::new_err("the file has nothing to read: it is empty, or at its end (seek(0))"));
    }
    Ok(bytes)
}

fn refused<T>(words: String) -> PyResult<T> {
    Err(PyValueError::new_err(words))
}

fn pixels(width: usize, height: usize, channels: Channels, samples: Samples) -> PyResult<Pixels> {
    let side = |n: usize| u32::try_from(n).map_err(|error| PyValueError::new_err(error.to_string()));
    Pixels::new(side(width)?, side(height)?, channels, samples).map_err(|error| raised(error.into()))
}

fn of_array(array: &Bound<'_, PyUntypedArray>) -> PyResult<Pixels> {
    let shape = array.shape();
    let (height, width, channels) = match *shape {
        [height, width] | [height, width, 1] => (height, width, Channels::Grey),
        [height, width, 3] => (height, width, Channels::Rgb),
        [height, width, 4] => (height, width, Channels::Rgba),
        [1 | 3 | 4, _, _] => {
            return refused(format!(
                "a picture is an array [height, width, 3], this one is {shape:?}; move its first axis to the end \
                 (numpy.moveaxis(array, 0, -1))"
            ));
        }
        _ => {
            return refused(format!(
                "a picture is an array [height, width], [height, width, 3] or [height, width, 4], this one is {shape:?}"
            ));
        }
    };
    if height == 0 || width == 0 {
        return refused(format!("a picture has pixels, this array is {shape:?}"));
    }
    pixels(width, height, channels, samples_of(array)?)
}

fn samples_of(array: &Bound<'_, PyUntypedArray>) -> PyResult<Samples> {
    let kind = array.dtype();
    let (letter, size) = (kind.getattr("kind")?.extract::<String>()?, kind.getattr("itemsize")?.extract()?);
    // In the machine's order of bytes; halves and long doubles as what Rust has.
    let of_type = |name: &str| array.call_method1("astype", (name,));
    Ok(match (letter.as_str(), size) {
        ("u", 1_usize) => Samples::Eight(values(array, |value: u8| value)?),
        ("u", 2) => Samples::Sixteen(values(&of_type("uint16")?, |value: u16| value)?),
        ("b", _) => Samples::Eight(values(array, |value: bool| if value { u8::MAX } else { 0 })?),
        ("f", 2 | 4) => levels(&of_type("float32")?, |value: f32| f64::from(value))?,
        ("f", _) => levels(&of_type("float64")?, |value: f64| value)?,
        _ => {
            return Err(PyTypeError::new_err(format!(
                "the numbers of a picture are uint8, uint16, bool, or floats from 0 to 1, not {kind}"
            )));
        }
    })
}

/// All numbers of an array, row-major, whatever its strides.
fn values<T: numpy::Element + Copy, U>(array: &Bound<'_, PyAny>, of: impl Fn(T) -> U) -> PyResult<Vec<U>> {
    let array: PyReadonlyArrayDyn<'_, T> = array.extract()?;
    let view = array.as_array();
    Ok(match view.as_slice() {
        Some(values) => values.iter().copied().map(of).collect(),
        None => view.iter().copied().map(of).collect(),
    })
}

/// Floats from 0 to 1 in 8 bits.
fn levels<T: numpy::Element + Copy>(
    array: &Bound<'_, PyAny>,
    of: impl Fn(T) -> f64 + Copy,
) -> PyResult<Samples> {
    let outside = std::cell::Cell::new(None);
    let level = |value: T| {
        let value = of(value);
        // NaN is in no range.
        if !(-ROUNDING..=1.0 + ROUNDING).contains(&value) && outside.get().is_none() {
            outside.set(Some(value));
        }
        (value * 255.0).round() as u8
    };
    let levels = values(array, level)?;
    match outside.get() {
        None => Ok(Samples::Eight(levels)),
        Some(value) if value.is_nan() => refused("a picture of floats has NaN in it, expected 0 to 1".into()),
        Some(value) => refused(format!(
            "a picture of floats has {value} in it, expected 0 to 1; for numbers up to 255 give uint8"
        )),
    }
}

/// Whether `value` is an image of PIL, which nobody can have who has not imported it.
fn is_pil(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let modules = value.py().import("sys")?.getattr("modules")?;
    match modules.call_method1("get", ("PIL.Image",))? {
        module if module.is_none() => Ok(false),
        module => value.is_instance(&module.getattr("Image")?),
    }
}

/// The EXIF tag of orientation.
const ORIENTATION: u16 = 0x0112;

fn of_pil(image: &Bound<'_, PyAny>) -> PyResult<Pixels> {
    // Some formats say only then what they are.
    image.call_method0("load")?;
    let info = image.getattr("info")?;
    let mode: String = image.getattr("mode")?.extract()?;
    let convert = |to: &str| image.call_method1("convert", (to,));
    let has_key = info.contains("transparency")?;
    // As a file's decoder has it: a colour that stands for none is transparency.
    let (image_of_mode, mode) = match mode.as_str() {
        "1" | "L" | "P" | "RGB" | "PA" if has_key || mode == "PA" => (convert("RGBA")?, "RGBA"),
        "1" => (convert("L")?, "L"),
        "La" => (convert("LA")?, "LA"),
        "RGBa" => (convert("RGBA")?, "RGBA"),
        "L" | "LA" | "RGB" | "RGBA" | "CMYK" | "I" | "F" => (image.clone(), mode.as_str()),
        deep if deep.starts_with("I;16") => (image.clone(), deep),
        _ => (convert("RGB")?, "RGB"),
    };
    let (width, height): (usize, usize) = image.getattr("size")?.extract()?;
    if width == 0 || height == 0 {
        return refused(format!("a picture has pixels, this image is {width} x {height}"));
    }
    let data = image_of_mode.call_method0("tobytes")?;
    let bytes = data.cast::<PyBytes>()?.as_bytes();
    let eight = |channels| pixels(width, height, channels, Samples::Eight(bytes.to_vec()));
    let mut picture = match mode {
        "L" => eight(Channels::Grey),
        "LA" => eight(Channels::GreyAlpha),
        "RGBA" => eight(Channels::Rgba),
        "CMYK" => eight(Channels::Cmyk),
        "I" => pixels(width, height, Channels::Grey, Samples::Sixteen(of_integers(bytes)?)),
        "F" => {
            let numpy = image.py().import("numpy")?;
            of_array(numpy.call_method1("asarray", (image,))?.cast::<PyUntypedArray>()?)
        }
        deep if deep.starts_with("I;16") => {
            let of: fn([u8; 2]) -> u16 = match deep {
                "I;16B" => u16::from_be_bytes,
                "I;16N" => u16::from_ne_bytes,
                _ => u16::from_le_bytes,
            };
            let values = bytes.as_chunks::<2>().0.iter().map(|&pair| of(pair));
            pixels(width, height, Channels::Grey, Samples::Sixteen(values.collect()))
        }
        _ => eight(Channels::Rgb),
    }?;
    if let Ok(profile) = info.call_method1("get", ("icc_profile",))?.extract::<Vec<u8>>() {
        picture = picture.with_profile(profile);
    }
    let exif = image.call_method0("getexif")?;
    if let Ok(orientation) = exif.call_method1("get", (ORIENTATION,))?.extract::<u8>() {
        picture = picture.with_orientation(orientation);
    }
    Ok(picture)
}

/// PIL's mode for integers, in which it has grey pictures of 16 bits.
fn of_integers(bytes: &[u8]) -> PyResult<Vec<u16>> {
    let of = |&bytes: &[u8; 4]| {
        let value = i32::from_ne_bytes(bytes);
        u16::try_from(value).map_err(|_outside| {
            PyValueError::new_err(format!(
                "an image of PIL's mode I is a picture of 16 bits, this one has {value} in it, expected 0 to 65535"
            ))
        })
    };
    bytes.as_chunks::<4>().0.iter().map(of).collect()
}
