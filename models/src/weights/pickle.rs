//! A pickle reader that runs nothing. Python's pickle format is a program for a stack machine; this one honours
//! only the opcodes that build numbers, text, containers and tensors, and refuses every other opcode and every
//! global name that it does not know, by name. Opcodes: Python's `pickletools` documentation.

use std::collections::BTreeMap;
use std::rc::Rc;

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
}

/// A tensor as a view of a storage.
#[derive(Debug, PartialEq)]
pub(super) struct TensorRef {
    pub(super) storage: Rc<StorageRef>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A storage, named by its key.
#[derive(Debug, PartialEq)]
pub(super) struct StorageRef {
    pub(super) key: String,
    pub(super) element: ElementType,
    pub(super) n_elements: usize,
}

/// A value. Containers are shared, as in Python, through their index in [`Machine::containers`].
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian bytes: the file's magic number.
    Long(Rc<[u8]>),
    /// A number that nothing here reads.
    Float,
    Text(Rc<str>),
    Tuple(Rc<[Value]>),
    List(usize),
    Dict(usize),
    Global(Global),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
}

/// The names that may be called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageClass(ElementType),
}

/// The parts of a list or a dictionary.
#[derive(Debug)]
pub(super) enum Container {
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
}

/// A failure: what is wrong, at which byte of the stream.
pub(super) type PickleResult<T> = Result<T, String>;

/// A stack machine over a byte stream that may hold several pickles one after another.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    pub(super) containers: Vec<Container>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Machine<'a> {
        Machine { bytes, position: 0, containers: Vec::new() }
    }

    /// The byte after the last pickle that was read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The entries of a dictionary.
    pub(super) fn dict(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(index) => match self.containers.get(*index)? {
                Container::Dict(entries) => Some(entries),
                Container::List(_) => None,
            },
            _ => None,
        }
    }

    /// The items of a list.
    pub(super) fn list(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::List(index) => match self.containers.get(*index)? {
                Container::List(items) => Some(items),
                Container::Dict(_) => None,
            },
            _ => None,
        }
    }

    /// Reads one pickle and returns its value.
    pub(super) fn next_pickle(&mut self) -> PickleResult<Value> {
        let mut stack: Vec<Value> = Vec::new();
        let mut marks: Vec<usize> = Vec::new();
        let mut memo: BTreeMap<u32, Value> = BTreeMap::new();
        loop {
            let at = self.position;
            let opcode = self.take(1)?[0];
            match opcode {
                // PROTO
                0x80 => {
                    let version = self.take(1)?[0];
                    if version > 5 {
                        return Err(format!("pickle protocol {version} at byte {at}, expected at most 5"));
                    }
                }
                // FRAME: a hint on lengths.
                0x95 => {
                    self.take(8)?;
                }
                b'.' => return pop(&mut stack, at),
                b'(' => marks.push(stack.len()),
                b'0' => {
                    pop(&mut stack, at)?;
                }
                b'N' => stack.push(Value::None),
                0x88 => stack.push(Value::Bool(true)),
                0x89 => stack.push(Value::Bool(false)),
                b'K' => stack.push(Value::Int(i64::from(self.take(1)?[0]))),
                b'M' => stack.push(Value::Int(i64::from(u16::from_le_bytes(self.array()?)))),
                b'J' => stack.push(Value::Int(i64::from(i32::from_le_bytes(self.array()?)))),
                // LONG1
                0x8a => {
                    let length = usize::from(self.take(1)?[0]);
                    let bytes = self.take(length)?;
                    stack.push(long(bytes));
                }
                b'G' => {
                    self.take(8)?;
                    stack.push(Value::Float);
                }
                // BINUNICODE, SHORT_BINUNICODE, and the byte strings of Python 2
                b'X' | b'T' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    stack.push(self.text(length, at)?);
                }
                0x8c | b'U' => {
                    let length = usize::from(self.take(1)?[0]);
                    stack.push(self.text(length, at)?);
                }
                b')' => stack.push(Value::Tuple(Rc::new([]))),
                b't' => {
                    let items = since_mark(&mut stack, &mut marks, at)?;
                    stack.push(Value::Tuple(items.into()));
                }
                // TUPLE1, TUPLE2, TUPLE3
                0x85..=0x87 => {
                    let n_items = usize::from(opcode - 0x84);
                    let start = stack.len().checked_sub(n_items).ok_or_else(|| underflow(at))?;
                    let items: Vec<Value> = stack.drain(start..).collect();
                    stack.push(Value::Tuple(items.into()));
                }
                b']' => {
                    self.containers.push(Container::List(Vec::new()));
                    stack.push(Value::List(self.containers.len() - 1));
                }
                b'}' => stack.push(self.new_dict()),
                b'a' => {
                    let item = pop(&mut stack, at)?;
                    self.append(&stack, vec![item], at)?;
                }
                b'e' => {
                    let items = since_mark(&mut stack, &mut marks, at)?;
                    self.append(&stack, items, at)?;
                }
                b's' => {
                    let value = pop(&mut stack, at)?;
                    let key = pop(&mut stack, at)?;
                    self.set_items(&stack, vec![key, value], at)?;
                }
                b'u' => {
                    let items = since_mark(&mut stack, &mut marks, at)?;
                    self.set_items(&stack, items, at)?;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => {
                    let index = u32::from(self.take(1)?[0]);
                    memo.insert(index, top(&stack, at)?.clone());
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    memo.insert(index, top(&stack, at)?.clone());
                }
                0x94 => {
                    memo.insert(memo.len() as u32, top(&stack, at)?.clone());
                }
                b'h' => {
                    let index = u32::from(self.take(1)?[0]);
                    stack.push(recall(&memo, index, at)?);
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    stack.push(recall(&memo, index, at)?);
                }
                // GLOBAL: two lines
                b'c' => {
                    let module = self.line(at)?;
                    let name = self.line(at)?;
                    stack.push(Value::Global(global(&module, &name, at)?));
                }
                // STACK_GLOBAL
                0x93 => {
                    let (name, module) = (pop(&mut stack, at)?, pop(&mut stack, at)?);
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err(format!("a global at byte {at} is not named by text"));
                    };
                    stack.push(Value::Global(global(&module, &name, at)?));
                }
                // BINPERSID
                b'Q' => {
                    let id = pop(&mut stack, at)?;
                    stack.push(storage(&id, at)?);
                }
                b'R' => {
                    let (arguments, function) = (pop(&mut stack, at)?, pop(&mut stack, at)?);
                    let value = self.call(&function, &arguments, at)?;
                    stack.push(value);
                }
                // BUILD: attributes of an object, such as a state dictionary's `_metadata`. Nothing reads them.
                b'b' => {
                    pop(&mut stack, at)?;
                    top(&stack, at)?;
                }
                other => {
                    return Err(format!(
                        "opcode 0x{other:02x} at byte {at} is not one that builds tensors, and is refused"
                    ));
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> PickleResult<&'a [u8]> {
        let end = self.position.checked_add(length).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!(
                "it ends at byte {} where {length} more are expected at {}",
                self.bytes.len(),
                self.position
            ));
        };
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> PickleResult<[u8; N]> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    fn text(&mut self, length: usize, at: usize) -> PickleResult<Value> {
        let text = std::str::from_utf8(self.take(length)?);
        Ok(Value::Text(text.map_err(|_not_utf8| format!("text at byte {at} is not UTF-8"))?.into()))
    }

    fn line(&mut self, at: usize) -> PickleResult<String> {
        // A module's or function's name is short; a stream without a line's end must not be searched whole.
        let rest = &self.bytes[self.position..];
        let length = rest.iter().take(256).position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| format!("the name at byte {at} has no end"))?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.position += length + 1;
        Ok(text)
    }

    fn new_dict(&mut self) -> Value {
        self.containers.push(Container::Dict(Vec::new()));
        Value::Dict(self.containers.len() - 1)
    }

    fn append(&mut self, stack: &[Value], items: Vec<Value>, at: usize) -> PickleResult<()> {
        if let Value::List(index) = top(stack, at)?
            && let Some(Container::List(list)) = self.containers.get_mut(*index)
        {
            list.extend(items);
            return Ok(());
        }
        Err(format!("something other than a list is appended to at byte {at}"))
    }

    fn set_items(&mut self, stack: &[Value], items: Vec<Value>, at: usize) -> PickleResult<()> {
        if !items.len().is_multiple_of(2) {
            return Err(format!("a key without a value at byte {at}"));
        }
        if let Value::Dict(index) = top(stack, at)?
            && let Some(Container::Dict(entries)) = self.containers.get_mut(*index)
        {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
            return Ok(());
        }
        Err(format!("something other than a dictionary is filled at byte {at}"))
    }

    fn call(&mut self, function: &Value, arguments: &Value, at: usize) -> PickleResult<Value> {
        let bad =
            |what: &str| Err(format!("{what} is called with other arguments than torch's at byte {at}"));
        let Value::Tuple(arguments) = arguments else {
            return bad("something");
        };
        match function {
            Value::Global(Global::OrderedDict) if arguments.is_empty() => Ok(self.new_dict()),
            Value::Global(Global::OrderedDict) => bad("OrderedDict"),
            Value::Global(Global::RebuildParameter) => match arguments.first() {
                Some(Value::Tensor(tensor)) => Ok(Value::Tensor(tensor.clone())),
                _ => bad("_rebuild_parameter"),
            },
            Value::Global(Global::RebuildTensor) => match &arguments[..] {
                [
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    ..,
                ] => {
                    let (shape, strides) = (sizes(shape, at)?, sizes(strides, at)?);
                    if shape.len() != strides.len() {
                        return bad("_rebuild_tensor_v2");
                    }
                    let offset = usize::try_from(*offset)
                        .map_err(|_negative| format!("a tensor's offset at byte {at} is {offset}"))?;
                    Ok(Value::Tensor(Rc::new(TensorRef { storage: storage.clone(), offset, shape, strides })))
                }
                _ => bad("_rebuild_tensor_v2"),
            },
            _ => Err(format!("something that is no function of torch's is called at byte {at}")),
        }
    }
}

fn global(module: &str, name: &str, at: usize) -> PickleResult<Global> {
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", class) if ElementType::by_class(class).is_some() => {
            ElementType::by_class(class).map(Global::StorageClass).ok_or_else(|| underflow(at))
        }
        _ => Err(format!(
            "it asks for '{module}.{name}' at byte {at}, which builds no tensor and is refused (a file of weights \
             holds a state dictionary: torch.save(model.state_dict(), ...))"
        )),
    }
}

/// A storage from its persistent id: `('storage', class, key, device, n_elements[, view])`.
fn storage(id: &Value, at: usize) -> PickleResult<Value> {
    if let Value::Tuple(parts) = id
        && let [
            Value::Text(kind),
            Value::Global(Global::StorageClass(element)),
            Value::Text(key),
            _,
            Value::Int(n),
            view @ ..,
        ] = &parts[..]
        && &**kind == "storage"
        && matches!(view, [] | [Value::None])
        && let Ok(n_elements) = usize::try_from(*n)
    {
        let key = key.to_string();
        return Ok(Value::Storage(Rc::new(StorageRef { key, element: *element, n_elements })));
    }
    Err(format!("the storage at byte {at} is not described as torch describes one"))
}

fn sizes(values: &[Value], at: usize) -> PickleResult<Vec<usize>> {
    values
        .iter()
        .map(|value| match value {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("a tensor's shape or strides at byte {at} are not whole numbers from 0"))
}

/// A little-endian two's-complement integer of any length.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.into());
    }
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut extended = [fill; 8];
    extended[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(extended))
}

fn underflow(at: usize) -> String {
    format!("it takes a value that is not there at byte {at}")
}

fn pop(stack: &mut Vec<Value>, at: usize) -> PickleResult<Value> {
    stack.pop().ok_or_else(|| underflow(at))
}

fn top(stack: &[Value], at: usize) -> PickleResult<&Value> {
    stack.last().ok_or_else(|| underflow(at))
}

fn recall(memo: &BTreeMap<u32, Value>, index: u32, at: usize) -> PickleResult<Value> {
    memo.get(&index).cloned().ok_or_else(|| underflow(at))
}

fn since_mark(stack: &mut Vec<Value>, marks: &mut Vec<usize>, at: usize) -> PickleResult<Vec<Value>> {
    let mark = marks.pop().filter(|&mark| mark <= stack.len()).ok_or_else(|| underflow(at))?;
    Ok(stack.drain(mark..).collect())
}
