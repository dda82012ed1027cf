//! PyTorch's legacy file format (before 1.6): five pickles (a magic number, the protocol's version, facts of the
//! system, the object, the storages' keys), then each storage's length and elements.

use std::collections::BTreeMap;

use sketchfind_pickle::{Machine, PickleResult, Value};

use super::super::Weights;
use super::vocabulary::{ElementType, Torch, assemble, state_dictionary};

/// 119547037046138801333356 (0x1950a86a20f9469cfc6c), little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// The tensors of a state dictionary.
pub(super) fn parse(bytes: &[u8]) -> PickleResult<Weights> {
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
        .collect::<PickleResult<_>>()?;
    let state = state_dictionary(&machine, &object)?;
    let elements: BTreeMap<&str, ElementType> =
        state.iter().map(|(_, tensor)| (tensor.storage.key.as_str(), tensor.storage.element)).collect();
    let storages = read_storages(&bytes[machine.position()..], &keys, &elements)?;
    assemble(state, &storages, bytes.len())
}

/// The storages' bytes by key, converted to float32.
fn read_storages(
    mut bytes: &[u8],
    keys: &[String],
    elements: &BTreeMap<&str, ElementType>,
) -> PickleResult<BTreeMap<String, Vec<f32>>> {
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
        storages.insert(key.clone(), element.values(data));
        bytes = rest;
    }
    Ok(storages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sketchfind_core::random::Stream;

    /// A state dictionary as `torch.save` of version 1.5 lays it out, written by `tests/reference/make_legacy.py`:
    /// `a` is [[1, 2, 3], [4, 5, 6]] float, `b` its transpose (a view of the same storage), `n` a long 7.
    const SMALL: &[u8] = include_bytes!("../../../tests/reference/small_legacy.pth");

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
