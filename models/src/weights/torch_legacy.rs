//! PyTorch's legacy file format (before 1.6): five pickles (a magic number, the protocol's version, facts of the
//! system, the object, the storages' keys), then each storage's length and elements. No pickle code is run.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use sketchfind_core::pickle::{Arguments, Machine, Made, PickleResult, Value, Vocabulary};

use super::safetensors_file::convert;
use super::{Tensor, Weights};
use crate::{Error, Result};

/// 119547037146038801333356 (0x1950a86a20f9469cfc6c), little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Reads a state dictionary, plain or under the key `state_dict` or `model`.
///
/// # Errors
/// [`Error::Core`] where the file cannot be read; [`Error::WeightsFile`] where it is not such a file, is damaged,
/// or holds anything but tensors.
pub fn read(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    parse(&bytes).map_err(|reason| {
        Error::weights_file(path, format!("not a state dictionary in PyTorch's legacy format: {reason}"))
    })
}

/// The type of a storage's elements, by torch's class name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ElementType {
    Float,
    Double,
    Half,
    BFloat16,
    Long,
    Int,
    Short,
    Char,
    Byte,
    Bool,
}

impl ElementType {
    fn by_class(name: &str) -> Option<ElementType> {
        Some(match name {
            "FloatStorage" => ElementType::Float,
            "DoubleStorage" => ElementType::Double,
            "HalfStorage" => ElementType::Half,
            "BFloat16Storage" => ElementType::BFloat16,
            "LongStorage" => ElementType::Long,
            "IntStorage" => ElementType::Int,
            "ShortStorage" => ElementType::Short,
            "CharStorage" => ElementType::Char,
            "ByteStorage" => ElementType::Byte,
            "BoolStorage" => ElementType::Bool,
            _ => return None,
        })
    }

    /// Bytes an element.
    fn size(self) -> usize {
        match self {
            ElementType::Double | ElementType::Long => 8,
            ElementType::Float | ElementType::Int => 4,
            ElementType::Half | ElementType::BFloat16 | ElementType::Short => 2,
            ElementType::Char | ElementType::Byte | ElementType::Bool => 1,
        }
    }
}

/// A tensor as a view of a storage.
#[derive(Debug, PartialEq)]
struct TensorRef {
    storage: Rc<StorageRef>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// A storage, named by its key.
#[derive(Debug, PartialEq)]
struct StorageRef {
    key: String,
    element: ElementType,
}

/// What a file of tensors may name, call and build.
#[derive(Debug)]
struct Torch;

#[derive(Debug)]
enum Object {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageClass(ElementType),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
}

impl Vocabulary for Torch {
    type Object = Object;

    fn global(&self, module: &str, name: &str) -> Option<Object> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Object::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Object::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Object::RebuildParameter),
            ("torch", class) => ElementType::by_class(class).map(Object::StorageClass),
            _ => None,
        }
    }

    fn refusal(&self) -> &'static str {
        "a file of weights holds a state dictionary: torch.save(model.state_dict(), ...)"
    }

    fn call(&self, function: &Object, arguments: Arguments<'_, Torch>) -> PickleResult<Made<Object>> {
        let items = arguments.tuple().unwrap_or_default();
        match (function, items) {
            (Object::OrderedDict, []) => Ok(Made::Dict),
            (Object::RebuildParameter, [tensor, ..])
                if matches!(arguments.object_in(tensor), Some(Object::Tensor(_))) =>
            {
                Ok(Made::Argument(0))
            }
            (Object::RebuildTensor, [storage, Value::Int(offset), shape, strides, ..]) => {
                let Some(Object::Storage(storage)) = arguments.object_in(storage) else {
                    return Err("_rebuild_tensor_v2 is called with something else than a storage".into());
                };
                let (shape, strides) = (sizes(arguments, shape)?, sizes(arguments, strides)?);
                if shape.len() != strides.len() {
                    return Err(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
                }
                let offset =
                    usize::try_from(*offset).map_err(|_negative| format!("a tensor's offset is {offset}"))?;
                Ok(Made::Object(Object::Tensor(Rc::new(TensorRef {
                    storage: storage.clone(),
                    offset,
                    shape,
                    strides,
                }))))
            }
            _ => Err(format!("{function:?} is called with other arguments than torch's")),
        }
    }

    /// A storage from its persistent id: `('storage', class, key, device, n_elements[, view])`.
    fn persistent(&self, id: Arguments<'_, Torch>) -> PickleResult<Object> {
        if let Some([Value::Text(kind), class, Value::Text(key), _, Value::Int(n), view @ ..]) = id.tuple()
            && let Some(Object::StorageClass(element)) = id.object_in(class)
            && &**kind == "storage"
            && matches!(view, [] | [Value::None])
            && *n >= 0
        {
            return Ok(Object::Storage(Rc::new(StorageRef { key: key.to_string(), element: *element })));
        }
        Err("a storage is not described as torch describes one".into())
    }

    /// Attributes of tensors and the like, which nothing reads.
    fn build(&self, _: &Object, _: Arguments<'_, Torch>) -> PickleResult<Option<Object>> {
        Ok(None)
    }
}

fn sizes(arguments: Arguments<'_, Torch>, value: &Value) -> PickleResult<Vec<usize>> {
    let size = |value: &Value| match value {
        Value::Int(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    arguments
        .tuple_in(value)
        .and_then(|items| items.iter().map(size).collect())
        .ok_or_else(|| "a tensor's shape or strides are not whole numbers from 0".into())
}

fn parse(bytes: &[u8]) -> std::result::Result<Weights, String> {
    let mut machine = Machine::new(bytes, Torch);
    match machine.next_pickle()? {
        Value::Long(magic) if *magic == MAGIC => {}
        _ => return Err("it does not begin with torch's magic number".into()),
    }
    match machine.next_pickle()? {
        Value::Int(PROTOCOL) => {}
        other => return Err(format!("its protocol is {other:?}, expected {PROTOCOL}")),
    }
    let system = machine.next_pickle()?;
    let is_little_endian = machine.dict(&system).unwrap_or_default().iter().any(|(key, value)| {
        matches!((key, value), (Value::Text(key), Value::Bool(true)) if &**key == "little_endian")
    });
    if !is_little_endian {
        return Err("it was not written on a little-endian machine".into());
    }
    let object = machine.next_pickle()?;
    let keys = machine.next_pickle()?;
    let keys: Vec<String> = machine
        .list(&keys)
        .ok_or("the list of storages is missing")?
        .iter()
        .map(|key| match key {
            Value::Text(key) => Ok(key.to_string()),
            other => Err(format!("a storage's key is {other:?}, expected text")),
        })
        .collect::<std::result::Result<_, _>>()?;
    let state = state_dictionary(&machine, &object)?;
    let elements: BTreeMap<&str, ElementType> =
        state.iter().map(|(_, tensor)| (tensor.storage.key.as_str(), tensor.storage.element)).collect();
    let storages = read_storages(&bytes[machine.position()..], &keys, &elements)?;
    let mut tensors = BTreeMap::new();
    // Views may overlap, so a small file could ask for a large memory: more than this is no file of weights.
    let mut budget = bytes.len().saturating_mul(8);
    for (name, view) in state {
        let storage = storages
            .get(view.storage.key.as_str())
            .ok_or_else(|| format!("the storage '{}' of tensor '{name}' is missing", view.storage.key))?;
        let values = gather(view, storage, &mut budget).map_err(|e| format!("tensor '{name}': {e}"))?;
        let tensor = Tensor::new(view.shape.clone(), values).map_err(|e| e.to_string())?;
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(format!("the tensor '{name}' stands there twice"));
        }
    }
    if tensors.is_empty() {
        return Err("it holds no tensor".into());
    }
    Ok(Weights::new(tensors))
}

/// The entries of the state dictionary: text to tensor.
fn state_dictionary<'m>(
    machine: &'m Machine<'_, Torch>,
    object: &Value,
) -> std::result::Result<Vec<(String, &'m TensorRef)>, String> {
    let mut entries = machine.dict(object).ok_or("it holds no dictionary")?;
    for nested in ["state_dict", "model"] {
        let found = entries.iter().find(|(key, _)| matches!(key, Value::Text(key) if &**key == nested));
        if let Some(inner) = found.and_then(|(_, value)| machine.dict(value)) {
            entries = inner;
            break;
        }
    }
    entries
        .iter()
        .map(|(key, value)| match (key, machine.object(value)) {
            (Value::Text(name), Some(Object::Tensor(tensor))) => Ok((name.to_string(), &**tensor)),
            (key, _) => Err(format!("the entry {key:?} is not a tensor under a name")),
        })
        .collect()
}

/// The storages' bytes by key, converted to float32.
fn read_storages(
    mut bytes: &[u8],
    keys: &[String],
    elements: &BTreeMap<&str, ElementType>,
) -> std::result::Result<BTreeMap<String, Vec<f32>>, String> {
    let mut storages = BTreeMap::new();
    for key in keys {
        let element = *elements
            .get(key.as_str())
            .ok_or_else(|| format!("no tensor uses the storage '{key}', so its type is unknown"))?;
        let cut = || format!("the storage '{key}' is cut off");
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        let n_bytes = usize::try_from(u64::from_le_bytes(*length))
            .ok()
            .and_then(|n| n.checked_mul(element.size()))
            .filter(|&n| n <= rest.len())
            .ok_or_else(cut)?;
        let (data, rest) = rest.split_at(n_bytes);
        let values = match element {
            ElementType::Float => convert(data, f32::from_le_bytes),
            ElementType::Double => convert(data, |b| f64::from_le_bytes(b) as f32),
            ElementType::Half => convert(data, |b| half::f16::from_le_bytes(b).to_f32()),
            ElementType::BFloat16 => convert(data, |b| half::bf16::from_le_bytes(b).to_f32()),
            ElementType::Long => convert(data, |b| i64::from_le_bytes(b) as f32),
            ElementType::Int => convert(data, |b| i32::from_le_bytes(b) as f32),
            ElementType::Short => convert(data, |b| f32::from(i16::from_le_bytes(b))),
            ElementType::Char => convert(data, |b| f32::from(i8::from_le_bytes(b))),
            ElementType::Byte | ElementType::Bool => convert(data, |b: [u8; 1]| f32::from(b[0])),
        };
        storages.insert(key.clone(), values);
        bytes = rest;
    }
    Ok(storages)
}

/// The values of a strided view, row-major.
fn gather(view: &TensorRef, storage: &[f32], budget: &mut usize) -> std::result::Result<Vec<f32>, String> {
    let n_values = view.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let last = view.shape.iter().zip(&view.strides).try_fold(view.offset, |sum, (&size, &stride)| {
        size.saturating_sub(1).checked_mul(stride).and_then(|step| sum.checked_add(step))
    });
    let (Some(n_values), Some(last)) = (n_values, last) else {
        return Err(format!("its shape {:?} overflows", view.shape));
    };
    if n_values == 0 {
        return Ok(Vec::new());
    }
    if last >= storage.len() {
        return Err(format!("it reaches element {last} of a storage of {}", storage.len()));
    }
    *budget =
        budget.checked_sub(n_values).ok_or("the tensors are far larger than the file that holds them")?;
    let mut values = Vec::with_capacity(n_values);
    let mut index = vec![0_usize; view.shape.len()];
    for _ in 0..n_values {
        let position = index.iter().zip(&view.strides).map(|(i, stride)| i * stride).sum::<usize>();
        values.push(storage[view.offset + position]);
        for dimension in (0..index.len()).rev() {
            index[dimension] += 1;
            if index[dimension] < view.shape[dimension] {
                break;
            }
            index[dimension] = 0;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    /// A state dictionary as `torch.save` of version 1.5 lays it out, written by `tests/reference/make_legacy.py`:
    /// `a` is [[1, 2, 3], [4, 5, 6]] float, `b` its transpose (a view of the same storage), `n` a long 7.
    const SMALL: &[u8] = include_bytes!("../../tests/reference/small_legacy.pth");

    #[test]
    fn reads_views_and_types() {
        let weights = parse(SMALL).unwrap();
        assert_eq!(weights.get("a").unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(weights.get("b").unwrap().shape, [3, 2]);
        assert_eq!(weights.get("b").unwrap().values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(weights.get("n").unwrap().values, [7.0]);
        assert_eq!(weights.len(), 3);
    }

    #[test]
    fn every_truncation_is_refused() {
        for end in 0..SMALL.len() {
            assert!(parse(&SMALL[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn mutations_never_panic() {
        let mut stream = Stream::new(1, "mutations", &[]);
        for _ in 0..20_000 {
            let mut bytes = SMALL.to_vec();
            for _ in 0..=stream.below(3) {
                let position = stream.below(bytes.len());
                bytes[position] = stream.bits() as u8;
            }
            // Either answer is right; a panic or a runaway allocation is not.
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn code_is_refused_by_name() {
        // The classic attack: c os system, (S'..' t R
        let mut bytes = b"\x80\x02cos\nsystem\n".to_vec();
        bytes.extend_from_slice(b"X\x02\x00\x00\x00ls\x85R.");
        let message = parse(&bytes).unwrap_err();
        assert!(message.contains("'os.system'"), "{message}");
    }

    /// A million tuples, each in the next: dropped without recursion.
    #[test]
    fn deep_nesting_is_no_trouble() {
        let mut bytes = b"\x80\x02N".to_vec();
        bytes.extend(std::iter::repeat_n(0x85, 1_000_000));
        bytes.push(b'.');
        assert!(parse(&bytes).is_err());
    }
}
