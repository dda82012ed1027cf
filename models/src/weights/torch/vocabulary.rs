//! What a pickle of torch's tensors may name, call and build, and what becomes of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use sketchfind_pickle::{Arguments, Machine, Made, PickleResult, Value, Vocabulary};

use super::super::safetensors_file::convert;
use super::super::{Tensor, Weights};

/// The type of a storage's elements, by torch's class name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ElementType {
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
    pub(super) fn size(self) -> usize {
        match self {
            ElementType::Double | ElementType::Long => 8,
            ElementType::Float | ElementType::Int => 4,
            ElementType::Half | ElementType::BFloat16 | ElementType::Short => 2,
            ElementType::Char | ElementType::Byte | ElementType::Bool => 1,
        }
    }

    /// Elements as float32.
    pub(super) fn values(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            ElementType::Float => convert(bytes, f32::from_le_bytes),
            ElementType::Double => convert(bytes, |b| f64::from_le_bytes(b) as f32),
            ElementType::Half => convert(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            ElementType::BFloat16 => convert(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
            ElementType::Long => convert(bytes, |b| i64::from_le_bytes(b) as f32),
            ElementType::Int => convert(bytes, |b| i32::from_le_bytes(b) as f32),
            ElementType::Short => convert(bytes, |b| f32::from(i16::from_le_bytes(b))),
            ElementType::Char => convert(bytes, |b| f32::from(i8::from_le_bytes(b))),
            ElementType::Byte | ElementType::Bool => convert(bytes, |b: [u8; 1]| f32::from(b[0])),
        }
    }
}

/// A tensor as a view of a storage.
#[derive(Debug, PartialEq)]
pub(super) struct TensorRef {
    pub(super) storage: Rc<StorageRef>,
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

/// A storage, named by its key.
#[derive(Debug, PartialEq)]
pub(super) struct StorageRef {
    pub(super) key: String,
    pub(super) element: ElementType,
}

/// What a file of tensors may name, call and build.
#[derive(Debug)]
pub(super) struct Torch;

#[derive(Debug)]
pub(super) enum Object {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageClass(ElementType),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
    /// The class of a TorchScript module. Its code lies elsewhere in the archive and is not read.
    ModuleClass,
    /// A TorchScript module and the dictionary of its attributes.
    Module(Option<Value>),
    /// What TorchScript calls to say of which type a list or dictionary is.
    TypeTag,
}

impl Vocabulary for Torch {
    type Object = Object;

    fn global(&self, module: &str, name: &str) -> Option<Object> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Object::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Object::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Object::RebuildParameter),
            (
                "torch.jit._pickle",
                "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist"
                | "restore_type_tag",
            ) => Some(Object::TypeTag),
            (module, _) if module == "__torch__" || module.starts_with("__torch__.") => {
                Some(Object::ModuleClass)
            }
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
            (Object::ModuleClass, []) => Ok(Made::Object(Object::Module(None))),
            (Object::TypeTag, [_, ..]) => Ok(Made::Argument(0)),
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

    /// Attributes: a module's are kept; those of tensors and the like are read by nothing.
    fn build(&self, object: &Object, state: Arguments<'_, Torch>) -> PickleResult<Option<Object>> {
        match (object, state.value()) {
            (Object::Module(None), attributes @ Value::Dict(_)) => {
                Ok(Some(Object::Module(Some(attributes.clone()))))
            }
            (Object::Module(_), _) => Err("a module has other attributes than a dictionary of them".into()),
            _ => Ok(None),
        }
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

/// Under which keys training code keeps a state dictionary beside its epoch and optimiser.
const NESTED: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "network"];

/// The entries of the state dictionary: text to tensor. Of a TorchScript module, its tensors and those of the modules in it, with
/// the names that `state_dict()` gives them.
pub(super) fn state_dictionary<'m>(
    machine: &'m Machine<'_, Torch>,
    object: &Value,
) -> PickleResult<Vec<(String, &'m TensorRef)>> {
    if matches!(machine.object(object), Some(Object::Module(_))) {
        return tensors_of_module(machine, object);
    }
    let mut entries = machine.dict(object).ok_or("it holds no dictionary")?;
    for nested in NESTED {
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

/// The tensors of a state dictionary out of their storages' values; `n_bytes` is the file's length.
pub(super) fn assemble(
    state: Vec<(String, &TensorRef)>,
    storages: &BTreeMap<String, Vec<f32>>,
    n_bytes: usize,
) -> PickleResult<Weights> {
    let mut tensors = BTreeMap::new();
    // Views may overlap, so a small file could ask for a large memory: more than this is no file of weights.
    let mut budget = n_bytes.saturating_mul(8);
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

/// The values of a strided view, row-major.
fn gather(view: &TensorRef, storage: &[f32], budget: &mut usize) -> PickleResult<Vec<f32>> {
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

/// How many attributes are looked at, and how deep modules may lie in modules: more than any network has. Modules may be shared,
/// so that a small file could name very many.
const MOST_ATTRIBUTES: usize = 1_000_000;
const MOST_LEVELS: usize = 64;

fn tensors_of_module<'m>(
    machine: &'m Machine<'_, Torch>,
    module: &Value,
) -> PickleResult<Vec<(String, &'m TensorRef)>> {
    let mut tensors = Vec::new();
    let mut n_attributes = 0;
    let mut pending = vec![(String::new(), 0, module.clone())];
    while let Some((prefix, level, module)) = pending.pop() {
        let Some(Object::Module(Some(attributes))) = machine.object(&module) else { continue };
        for (name, value) in machine.dict(attributes).unwrap_or_default() {
            n_attributes += 1;
            if level > MOST_LEVELS || n_attributes > MOST_ATTRIBUTES {
                return Err("its modules lie deeper in each other, or are more, than a network's".into());
            }
            let Value::Text(name) = name else {
                return Err(format!("a module's attribute is called {name:?}, expected text"));
            };
            match machine.object(value) {
                Some(Object::Tensor(tensor)) => tensors.push((format!("{prefix}{name}"), &**tensor)),
                Some(Object::Module(_)) => {
                    pending.push((format!("{prefix}{name}."), level + 1, value.clone()));
                }
                _ => {}
            }
        }
    }
    if tensors.is_empty() {
        return Err("no tensor in it has a name; a module that was frozen has lost them".into());
    }
    Ok(tensors)
}
