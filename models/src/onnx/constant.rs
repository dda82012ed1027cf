//! Tensors that stand in an ONNX file: their numbers, whichever of the format's fields they lie in.

use super::proto::{self, BFLOAT16, BOOL, DOUBLE, FLOAT, FLOAT16, INT8, INT16, INT32, INT64, UINT8, UINT16};

/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;

/// A tensor of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    /// `TensorProto.DataType`.
    pub(super) element: i32,
    pub(super) data: Data,
}

/// Its numbers: floats of any width as 32 bits; integers below 64 bits as 32.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Floats(Vec<f32>),
    Ints(Vec<i32>),
    Longs(Vec<i64>),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Data::Floats(values) => values.len(),
            Data::Ints(values) => values.len(),
            Data::Longs(values) => values.len(),
        }
    }
}

impl Constant {
    /// Floats of a shape that they fill.
    pub(super) fn floats(shape: Vec<usize>, values: Vec<f32>) -> Constant {
        Constant { shape, element: FLOAT, data: Data::Floats(values) }
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// The values, where they are floats.
    pub(super) fn as_floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// The one value, where there is one and it is a float.
    pub(super) fn as_float(&self) -> Option<f32> {
        match self.as_floats()? {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The values, where they are integers.
    pub(super) fn as_ints(&self) -> Option<Vec<i64>> {
        match &self.data {
            Data::Floats(_) => None,
            Data::Ints(values) => Some(values.iter().map(|&value| i64::from(value)).collect()),
            Data::Longs(values) => Some(values.clone()),
        }
    }

    /// The values as floats, whatever they are.
    pub(super) fn to_floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Floats(values) => values.clone(),
            Data::Ints(values) => values.iter().map(|&value| value as f32).collect(),
            Data::Longs(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }

    /// The same values in another shape of as many.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Constant {
        Constant { shape, ..self.clone() }
    }

    /// The numbers of a tensor.
    ///
    /// # Errors
    /// What is wrong with it: its values lie elsewhere, are no numbers, or do not fill its shape.
    pub(super) fn of(tensor: proto::TensorProto) -> Result<Constant, String> {
        if tensor.data_location != 0 || !tensor.external_data.is_empty() {
            let place = tensor.external_data.iter().find(|entry| entry.key == "location");
            let place = place.map_or("another file", |entry| entry.value.as_str());
            return Err(format!(
                "its values lie in '{place}' beside the file, which is not read; save the model as one file"
            ));
        }
        if tensor.dims.len() > MAX_RANK {
            return Err(format!("it has {} dimensions, expected at most {MAX_RANK}", tensor.dims.len()));
        }
        let shape = tensor
            .dims
            .iter()
            .map(|&size| usize::try_from(size).ok().filter(|&size| size <= 1 << 31))
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| format!("its shape is {:?}, expected sizes from 0 to 2^31", tensor.dims))?;
        let n_values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let n_values = n_values.ok_or_else(|| format!("its shape {shape:?} has too many values"))?;
        let element = tensor.data_type;
        let data = if tensor.raw_data.is_empty() { of_fields(tensor)? } else { of_bytes(tensor)? };
        if data.len() != n_values {
            return Err(format!("it has {} values, its shape {shape:?} has {n_values}", data.len()));
        }
        Ok(Constant { shape, element, data })
    }
}

/// Values as bytes, little-endian.
fn of_bytes(tensor: proto::TensorProto) -> Result<Data, String> {
    let bytes = tensor.raw_data.as_slice();
    let width = match tensor.data_type {
        UINT8 | INT8 | BOOL => 1,
        UINT16 | INT16 | FLOAT16 | BFLOAT16 => 2,
        FLOAT | INT32 => 4,
        DOUBLE | INT64 => 8,
        other => return Err(not_numbers(other)),
    };
    if !bytes.len().is_multiple_of(width) {
        return Err(format!("it has {} bytes, expected a multiple of {width}", bytes.len()));
    }
    Ok(match tensor.data_type {
        FLOAT => Data::Floats(each(bytes, f32::from_le_bytes)),
        FLOAT16 => Data::Floats(each(bytes, |b| half::f16::from_le_bytes(b).to_f32())),
        BFLOAT16 => Data::Floats(each(bytes, |b| half::bf16::from_le_bytes(b).to_f32())),
        DOUBLE => Data::Floats(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        INT64 => Data::Longs(each(bytes, i64::from_le_bytes)),
        INT32 => Data::Ints(each(bytes, i32::from_le_bytes)),
        INT16 => Data::Ints(each(bytes, |b| i32::from(i16::from_le_bytes(b)))),
        UINT16 => Data::Ints(each(bytes, |b| i32::from(u16::from_le_bytes(b)))),
        INT8 => Data::Ints(each(bytes, |b| i32::from(i8::from_le_bytes(b)))),
        _ => Data::Ints(each(bytes, |b: [u8; 1]| i32::from(b[0]))),
    })
}

/// Values in the fields for their kinds. Halves are the bits of 16-bit numbers among the 32-bit integers.
fn of_fields(tensor: proto::TensorProto) -> Result<Data, String> {
    let bits = |value: i32| u16::try_from(value).map_err(|e| format!("{value} is no 16-bit pattern: {e}"));
    Ok(match tensor.data_type {
        FLOAT => Data::Floats(tensor.float_data),
        DOUBLE => Data::Floats(tensor.double_data.iter().map(|&value| value as f32).collect()),
        FLOAT16 => Data::Floats(
            tensor
                .int32_data
                .into_iter()
                .map(|value| bits(value).map(|bits| half::f16::from_bits(bits).to_f32()))
                .collect::<Result<_, _>>()?,
        ),
        BFLOAT16 => Data::Floats(
            tensor
                .int32_data
                .into_iter()
                .map(|value| bits(value).map(|bits| half::bf16::from_bits(bits).to_f32()))
                .collect::<Result<_, _>>()?,
        ),
        INT64 => Data::Longs(tensor.int64_data),
        UINT8 | INT8 | UINT16 | INT16 | INT32 | BOOL => Data::Ints(tensor.int32_data),
        other => return Err(not_numbers(other)),
    })
}

/// Splits `bytes` into numbers of N bytes.
fn each<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| from(*chunk)).collect()
}

fn not_numbers(element: i32) -> String {
    let name = match element {
        0 => "undefined",
        8 => "string",
        12 => "uint32",
        13 => "uint64",
        14 => "complex64",
        15 => "complex128",
        17..=20 => "an 8-bit float",
        21 | 22 => "4-bit integers",
        _ => return format!("its type has the number {element}, which is not known"),
    };
    format!("its type is {name}, expected floats of 16 to 64 bits or integers of 8 to 64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(element: i32, dims: &[i64]) -> proto::TensorProto {
        proto::TensorProto { data_type: element, dims: dims.to_vec(), ..Default::default() }
    }

    #[test]
    fn every_field_that_numbers_lie_in_is_read() {
        let half = i32::from(half::f16::from_f32(-1.5).to_bits());
        let in_ints = proto::TensorProto { int32_data: vec![half, half], ..tensor(FLOAT16, &[2]) };
        assert_eq!(Constant::of(in_ints).unwrap().as_floats(), Some(&[-1.5, -1.5][..]));
        let raw = half::f16::from_f32(-1.5).to_le_bytes().to_vec();
        let in_bytes = proto::TensorProto { raw_data: raw, ..tensor(FLOAT16, &[]) };
        assert_eq!(Constant::of(in_bytes).unwrap().as_float(), Some(-1.5));
        let wide = proto::TensorProto { double_data: vec![0.25], ..tensor(DOUBLE, &[1, 1]) };
        assert_eq!(Constant::of(wide).unwrap().as_float(), Some(0.25));
        let signed = proto::TensorProto { raw_data: vec![0x80, 0x7f], ..tensor(INT8, &[2]) };
        assert_eq!(Constant::of(signed).unwrap().as_ints(), Some(vec![-128, 127]));
    }

    #[test]
    fn what_is_no_tensor_of_numbers_is_refused() {
        let location = proto::StringEntry { key: "location".into(), value: "w.bin".into() };
        let many = vec![i64::from(u32::MAX); 3];
        for (wrong, part) in [
            (proto::TensorProto { data_location: 1, ..tensor(FLOAT, &[1]) }, "another file"),
            (proto::TensorProto { external_data: vec![location], ..tensor(FLOAT, &[1]) }, "'w.bin'"),
            (proto::TensorProto { raw_data: vec![0; 7], ..tensor(FLOAT, &[2]) }, "7 bytes"),
            (proto::TensorProto { raw_data: vec![0; 8], ..tensor(FLOAT, &[3]) }, "2 values"),
            (tensor(FLOAT, &[-1]), "[-1]"),
            (tensor(FLOAT, &[1 << 31, 1 << 31, 1 << 31]), "too many"),
            (tensor(FLOAT, &many), "expected sizes"),
            (tensor(8, &[0]), "string"),
            (tensor(14, &[0]), "complex64"),
            (tensor(FLOAT, &[1; 9]), "9 dimensions"),
        ] {
            let message = Constant::of(wrong).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
