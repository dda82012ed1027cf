//! A pickle reader that runs nothing. Python's pickle format is a program for a stack machine; this one honours
//! only the opcodes that build numbers, text, bytes and containers, and refuses every other opcode. What the program
//! may name and call is a [`Vocabulary`] of its reader: torch's tensors for weights, NumPy's arrays for coordinates.
//! Every other name is refused. All protocols are read, 0 to 5, as Python 2 and 3 write them. Opcodes: Python's
//! `pickletools` documentation.
//!
//! Containers and objects live in lists beside the stack and values refer to them by index, so that a value is small,
//! is shared as in Python, and dropping one never recurses, however deep a hostile file nests it.

use std::collections::BTreeMap;
use std::rc::Rc;

mod text;

/// A failure: what is wrong, at which byte of the stream.
pub type PickleResult<T> = Result<T, String>;

/// What a pickle may name, call and build.
pub trait Vocabulary: Sized {
    /// What only this vocabulary makes: classes, functions, tensors, arrays, ...
    type Object: std::fmt::Debug;

    /// The object behind a global name; nothing for one that is refused.
    fn global(&self, module: &str, name: &str) -> Option<Self::Object>;

    /// Why a name is refused, in words for the user.
    fn refusal(&self) -> &'static str;

    /// Calls an object.
    ///
    /// # Errors
    /// What is wrong with the call.
    fn call(
        &self,
        function: &Self::Object,
        arguments: Arguments<'_, Self>,
    ) -> PickleResult<Made<Self::Object>>;

    /// The object behind a persistent id.
    ///
    /// # Errors
    /// What is wrong with the id.
    fn persistent(&self, id: Arguments<'_, Self>) -> PickleResult<Self::Object>;

    /// Gives an object its state.
    ///
    /// # Errors
    /// What is wrong with the state.
    fn build(&self, object: &Self::Object, state: Arguments<'_, Self>) -> PickleResult<Option<Self::Object>>;
}

/// What a call makes.
#[derive(Debug)]
pub enum Made<O> {
    /// An object.
    Object(O),
    /// An object that is there already: the argument of this number.
    Argument(usize),
    /// An empty dictionary.
    Dict,
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A value and the machine that it belongs to, for a vocabulary to look into.
#[derive(Debug)]
pub struct Arguments<'m, V: Vocabulary> {
    machine: &'m Contents<V::Object>,
    value: &'m Value,
}

impl<'m, V: Vocabulary> Clone for Arguments<'m, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: Vocabulary> Copy for Arguments<'_, V> {}

impl<'m, V: Vocabulary> Arguments<'m, V> {
    /// The value.
    pub fn value(&self) -> &'m Value {
        self.value
    }

    /// The items of a tuple; nothing where it is something else.
    pub fn tuple(&self) -> Option<&'m [Value]> {
        self.machine.tuple(self.value)
    }

    /// The items of a tuple among the items.
    pub fn tuple_in(&self, value: &Value) -> Option<&'m [Value]> {
        self.machine.tuple(value)
    }

    /// The object among the items.
    pub fn object_in(&self, value: &Value) -> Option<&'m V::Object> {
        self.machine.object(value)
    }
}

/// A value. Containers and objects are shared, as in Python, through their index.
#[derive(Clone, Debug)]
pub enum Value {
    /// None.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A longer integer, little-endian bytes.
    Long(Rc<[u8]>),
    /// A float.
    Float(f64),
    /// Text.
    Text(Rc<str>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A tuple; see [`Machine::tuple`].
    Tuple(usize),
    /// A list; see [`Machine::list`].
    List(usize),
    /// A dictionary; see [`Machine::dict`].
    Dict(usize),
    /// What only the vocabulary makes; see [`Machine::object`].
    Object(usize),
}

/// What the values of a machine refer to.
#[derive(Debug)]
struct Contents<O> {
    tuples: Vec<Vec<Value>>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    objects: Vec<O>,
}

impl<O> Contents<O> {
    fn tuple(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::Tuple(index) => self.tuples.get(*index).map(Vec::as_slice),
            _ => None,
        }
    }

    fn object(&self, value: &Value) -> Option<&O> {
        match value {
            Value::Object(index) => self.objects.get(*index),
            _ => None,
        }
    }

    fn new_tuple(&mut self, items: Vec<Value>) -> Value {
        self.tuples.push(items);
        Value::Tuple(self.tuples.len() - 1)
    }

    fn new_list(&mut self, items: Vec<Value>) -> Value {
        self.lists.push(items);
        Value::List(self.lists.len() - 1)
    }

    fn new_dict(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    fn new_object(&mut self, object: O) -> Value {
        self.objects.push(object);
        Value::Object(self.objects.len() - 1)
    }
}

/// A stack machine over a byte stream that may hold several pickles one after another.
#[derive(Debug)]
pub struct Machine<'a, V: Vocabulary> {
    bytes: &'a [u8],
    position: usize,
    vocabulary: V,
    contents: Contents<V::Object>,
}

impl<'a, V: Vocabulary> Machine<'a, V> {
    /// A machine at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8], vocabulary: V) -> Machine<'a, V> {
        let contents =
            Contents { tuples: Vec::new(), lists: Vec::new(), dicts: Vec::new(), objects: Vec::new() };
        Machine { bytes, position: 0, vocabulary, contents }
    }

    /// The byte after the last pickle that was read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The items of a tuple; nothing where the value is something else.
    pub fn tuple(&self, value: &Value) -> Option<&[Value]> {
        self.contents.tuple(value)
    }

    /// The entries of a dictionary; nothing where the value is something else.
    pub fn dict(&self, value: &Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(index) => self.contents.dicts.get(*index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The items of a list; nothing where the value is something else.
    pub fn list(&self, value: &Value) -> Option<&[Value]> {
        match value {
            Value::List(index) => self.contents.lists.get(*index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// What the vocabulary made; nothing where the value is something else.
    pub fn object(&self, value: &Value) -> Option<&V::Object> {
        self.contents.object(value)
    }

    /// Reads one pickle and returns its value.
    ///
    /// # Errors
    /// The opcode, name or byte that is refused or missing.
    pub fn next_pickle(&mut self) -> PickleResult<Value> {
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
                // POP_MARK, DUP
                b'1' => {
                    since_mark(&mut stack, &mut marks, at)?;
                }
                b'2' => stack.push(top(&stack, at)?.clone()),
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
                // LONG4
                0x8b => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    let bytes = self.take(length)?;
                    stack.push(long(bytes));
                }
                // INT, LONG, FLOAT, STRING, UNICODE: a line of text each
                b'I' => stack.push(self.value_of_line(at, text::int)?),
                b'L' => stack.push(self.value_of_line(at, text::long)?),
                b'F' => stack.push(self.value_of_line(at, text::float)?),
                b'S' => stack.push(self.value_of_line(at, text::string)?),
                b'V' => stack.push(self.value_of_line(at, text::unicode)?),
                // BINFLOAT, big-endian
                b'G' => stack.push(Value::Float(f64::from_be_bytes(self.array()?))),
                // BINBYTES, SHORT_BINBYTES
                b'B' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    stack.push(Value::Bytes(self.take(length)?.into()));
                }
                b'C' => {
                    let length = usize::from(self.take(1)?[0]);
                    stack.push(Value::Bytes(self.take(length)?.into()));
                }
                // BINBYTES8, BYTEARRAY8
                0x8e | 0x96 => {
                    let length = self.length_of_64_bits()?;
                    stack.push(Value::Bytes(self.take(length)?.into()));
                }
                // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    stack.push(self.text(length, at)?);
                }
                0x8c => {
                    let length = usize::from(self.take(1)?[0]);
                    stack.push(self.text(length, at)?);
                }
                0x8d => {
                    let length = self.length_of_64_bits()?;
                    stack.push(self.text(length, at)?);
                }
                // BINSTRING, SHORT_BINSTRING: of Python 2
                b'T' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    stack.push(text::text_or_bytes(self.take(length)?.to_vec()));
                }
                b'U' => {
                    let length = usize::from(self.take(1)?[0]);
                    stack.push(text::text_or_bytes(self.take(length)?.to_vec()));
                }
                b')' => stack.push(self.contents.new_tuple(Vec::new())),
                b't' => {
                    let items = since_mark(&mut stack, &mut marks, at)?;
                    stack.push(self.contents.new_tuple(items));
                }
                // TUPLE1, TUPLE2, TUPLE3
                0x85..=0x87 => {
                    let n_items = usize::from(opcode - 0x84);
                    let start = stack.len().checked_sub(n_items).ok_or_else(|| underflow(at))?;
                    let items: Vec<Value> = stack.drain(start..).collect();
                    stack.push(self.contents.new_tuple(items));
                }
                // EMPTY_LIST, EMPTY_SET: a set's order is that of the file
                b']' | 0x8f => stack.push(self.contents.new_list(Vec::new())),
                b'}' => stack.push(self.contents.new_dict()),
                // LIST, FROZENSET, DICT: of all since the mark
                b'l' | 0x91 => {
                    let items = since_mark(&mut stack, &mut marks, at)?;
                    stack.push(self.contents.new_list(items));
                }
                b'd' => {
                    let items = since_mark(&mut stack, &mut marks, at)?;
                    stack.push(self.contents.new_dict());
                    self.set_items(&stack, items, at)?;
                }
                b'a' => {
                    let item = pop(&mut stack, at)?;
                    self.append(&stack, vec![item], at)?;
                }
                // APPENDS, ADDITEMS
                b'e' | 0x90 => {
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
                // PUT, GET: a line of text
                b'p' => {
                    let index = text::place(self.line(at)?).map_err(|e| format!("at byte {at}: {e}"))?;
                    memo.insert(index, top(&stack, at)?.clone());
                }
                b'g' => {
                    let index = text::place(self.line(at)?).map_err(|e| format!("at byte {at}: {e}"))?;
                    stack.push(recall(&memo, index, at)?);
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
                    let module = self.name(at)?;
                    let name = self.name(at)?;
                    stack.push(self.global(&module, &name, at)?);
                }
                // STACK_GLOBAL
                0x93 => {
                    let (name, module) = (pop(&mut stack, at)?, pop(&mut stack, at)?);
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err(format!("a global at byte {at} is not named by text"));
                    };
                    stack.push(self.global(&module, &name, at)?);
                }
                // BINPERSID
                b'Q' => {
                    let id = pop(&mut stack, at)?;
                    let id = Arguments { machine: &self.contents, value: &id };
                    let object = self.vocabulary.persistent(id).map_err(|e| format!("at byte {at}: {e}"))?;
                    stack.push(self.contents.new_object(object));
                }
                // NEXT_BUFFER, READONLY_BUFFER
                0x97 | 0x98 => {
                    return Err(format!("what byte {at} is of lies in a buffer outside of the file"));
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let (arguments, function) = (pop(&mut stack, at)?, pop(&mut stack, at)?);
                    let value = self.call(&function, &arguments, at)?;
                    stack.push(value);
                }
                // BUILD: attributes of an object. Those of a container, such as a state dictionary's `_metadata`, are
                // read by nothing.
                b'b' => {
                    let state = pop(&mut stack, at)?;
                    if let Value::Object(index) = *top(&stack, at)?
                        && let Some(object) = self.contents.objects.get(index)
                    {
                        let state = Arguments { machine: &self.contents, value: &state };
                        let built = self.vocabulary.build(object, state);
                        if let Some(built) = built.map_err(|e| format!("at byte {at}: {e}"))? {
                            self.contents.objects[index] = built;
                        }
                    }
                }
                other => {
                    return Err(format!(
                        "opcode 0x{other:02x} at byte {at} is not one that builds data, and is refused"
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

    /// The line here, without its end.
    fn line(&mut self, at: usize) -> PickleResult<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| format!("the line at byte {at} has no end"))?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    fn value_of_line(
        &mut self,
        at: usize,
        parse: impl Fn(&[u8]) -> PickleResult<Value>,
    ) -> PickleResult<Value> {
        let line = self.line(at)?;
        // On Windows, Python 2 wrote text files where it was not asked for bytes.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        parse(line).map_err(|reason| format!("at byte {at}: {reason}"))
    }

    /// A module's or a function's name: a short line.
    fn name(&mut self, at: usize) -> PickleResult<String> {
        let line = self.line(at)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > 255 {
            return Err(format!("the name at byte {at} has {} bytes, expected at most 255", line.len()));
        }
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn length_of_64_bits(&mut self) -> PickleResult<usize> {
        // A length that this machine's memory cannot have is longer than the file.
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    fn append(&mut self, stack: &[Value], items: Vec<Value>, at: usize) -> PickleResult<()> {
        if let Value::List(index) = top(stack, at)?
            && let Some(list) = self.contents.lists.get_mut(*index)
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
            && let Some(entries) = self.contents.dicts.get_mut(*index)
        {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
            return Ok(());
        }
        Err(format!("something other than a dictionary is filled at byte {at}"))
    }

    fn global(&mut self, module: &str, name: &str, at: usize) -> PickleResult<Value> {
        match self.vocabulary.global(module, name) {
            Some(object) => Ok(self.contents.new_object(object)),
            None => Err(format!(
                "it asks for '{module}.{name}' at byte {at}, which is refused ({})",
                self.vocabulary.refusal()
            )),
        }
    }

    fn call(&mut self, function: &Value, arguments: &Value, at: usize) -> PickleResult<Value> {
        let Some(function) = self.contents.object(function) else {
            return Err(format!("something that is no function is called at byte {at}"));
        };
        let values = Arguments { machine: &self.contents, value: arguments };
        match self.vocabulary.call(function, values).map_err(|e| format!("at byte {at}: {e}"))? {
            Made::Object(object) => Ok(self.contents.new_object(object)),
            Made::Dict => Ok(self.contents.new_dict()),
            Made::Bytes(bytes) => Ok(Value::Bytes(bytes.into())),
            Made::Argument(index) => {
                let items = self.contents.tuple(arguments).unwrap_or_default();
                items.get(index).cloned().ok_or_else(|| underflow(at))
            }
        }
    }
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
