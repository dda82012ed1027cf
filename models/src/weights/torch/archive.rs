//! PyTorch's zip format (1.6 and later): an archive of uncompressed records in one folder, `data.pkl` with the object and
//! `data/<key>` with each storage's elements.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use sketchfind_pickle::{Machine, PickleResult};
use zip::{CompressionMethod, ZipArchive};

use super::super::{Weights, mistaken};
use super::vocabulary::{Torch, assemble, state_dictionary};

/// The tensors of a state dictionary.
pub(super) fn parse(bytes: &[u8]) -> PickleResult<Weights> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| {
        format!(
            "it is cut off or damaged: the archive's directory, which stands at its end, is not there ({e})"
        )
    })?;
    // Records may share bytes, so that a small file could ask for a large memory; torch's do not.
    let mut records = Records { archive, folder: String::new(), budget: bytes.len() as u64 };
    records.folder = records.find_folder()?;
    if let Some(order) = records.read("byteorder")?
        && order.trim_ascii() != b"little"
    {
        let order = String::from_utf8_lossy(&order).into_owned();
        return Err(format!("its byte order is '{}', expected 'little'", order.trim()));
    }
    let pickle = records.read("data.pkl")?.ok_or("it has no record 'data.pkl'")?;
    let mut machine = Machine::new(&pickle, Torch);
    let object = machine.next_pickle().map_err(|reason| records.explain(reason))?;
    let state = state_dictionary(&machine, &object).map_err(|reason| records.explain(reason))?;
    let mut storages = BTreeMap::new();
    for (name, tensor) in &state {
        let storage = &tensor.storage;
        if storages.contains_key(&storage.key) {
            continue;
        }
        let data = records
            .read(&format!("data/{}", storage.key))?
            .ok_or_else(|| format!("the storage '{}' of tensor '{name}' is missing", storage.key))?;
        if data.len() % storage.element.size() != 0 {
            return Err(format!(
                "the storage '{}' has {} bytes, expected a multiple of {}",
                storage.key,
                data.len(),
                storage.element.size()
            ));
        }
        storages.insert(storage.key.clone(), storage.element.values(&data));
    }
    assemble(state, &storages, bytes.len())
}

/// The records of an archive.
struct Records<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// The one folder that they lie in.
    folder: String,
    /// Bytes that may still be read.
    budget: u64,
}

impl Records<'_> {
    /// The folder with the record `data.pkl`.
    fn find_folder(&self) -> PickleResult<String> {
        let folders: BTreeSet<String> = self
            .archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.strip_suffix("/data.pkl")?.to_owned()))
            .filter(|folder| !folder.contains('/'))
            .collect();
        let mut folders = folders.into_iter();
        match (folders.next(), folders.next()) {
            (Some(folder), None) => Ok(folder),
            (None, _) => {
                let names: Vec<String> =
                    self.archive.file_names().filter_map(|name| Some(name.ok()?.to_string())).collect();
                Err(mistaken::for_zip(names.iter().map(String::as_str)))
            }
            (Some(first), Some(second)) => {
                Err(format!("it has more than one record 'data.pkl', in '{first}' and '{second}'"))
            }
        }
    }

    /// A record's bytes, checked against its checksum; nothing where there is no such record.
    fn read(&mut self, name: &str) -> PickleResult<Option<Vec<u8>>> {
        let Some(index) = self.archive.index_for_name(&format!("{}/{name}", self.folder)) else {
            return Ok(None);
        };
        let failed = |e: &dyn std::fmt::Display| format!("its record '{name}': {e}");
        let record = self.archive.by_index(index).map_err(|e| failed(&e))?;
        if record.compression() != CompressionMethod::Stored {
            return Err(failed(&"it is compressed, which torch's are not"));
        }
        let size = record.size();
        self.budget = self
            .budget
            .checked_sub(size)
            .ok_or_else(|| failed(&"the records are larger than the file that holds them"))?;
        let mut bytes = Vec::new();
        // One more than its size: the checksum is compared where the record ends.
        record.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
        if bytes.len() as u64 != size {
            return Err(failed(&format!("it ends after {} of {size} bytes", bytes.len())));
        }
        Ok(Some(bytes))
    }

    /// A reason, with what the archive is instead where that can be told.
    fn explain(&self, reason: String) -> String {
        if self.archive.index_for_name(&format!("{}/constants.pkl", self.folder)).is_some() {
            return format!(
                "it is a TorchScript archive: {reason}; the file of weights that it was made from, or one of \
                 model.state_dict(), is read"
            );
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use sketchfind_core::random::Stream;

    /// Both written by `tests/reference/make_zip.py` with torch.
    const SMALL: &[u8] = include_bytes!("../../../tests/reference/small_zip.pth");
    const SCRIPT: &[u8] = include_bytes!("../../../tests/reference/script.pth");
    const FROZEN: &[u8] = include_bytes!("../../../tests/reference/frozen.pth");

    #[test]
    fn reads_views_types_and_parameters_of_a_training_checkpoint() {
        let weights = parse(SMALL).unwrap().without_prefix("module.");
        let values = |name: &str| weights.get(name).unwrap().values.clone();
        assert_eq!(values("a"), [2.0, 3.0, 6.0, 7.0]);
        assert_eq!(weights.get("b").unwrap().shape, [4, 3]);
        assert_eq!(values("b")[..4], [1.0, 5.0, 9.0, 2.0]);
        assert_eq!(values("half"), [0.5, -2.0]);
        assert_eq!(values("bfloat16"), [1.5]);
        assert_eq!(values("n"), [7.0]);
        assert_eq!(values("parameter"), [3.25]);
        assert_eq!(weights.len(), 6);
    }

    #[test]
    fn every_truncation_is_refused() {
        for end in 0..SMALL.len() {
            assert!(parse(&SMALL[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_module_of_torchscript_has_the_names_of_its_state_dictionary() {
        let weights = parse(SCRIPT).unwrap();
        let names: Vec<&str> = weights.iter().map(|(name, _)| name).collect();
        let norm = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"];
        let expected = norm.map(|name| format!("backbone.1.{name}"));
        assert_eq!(names, [&["backbone.0.weight".to_owned()], &expected[..], &["scale".to_owned()]].concat());
        assert_eq!(weights.get("backbone.0.weight").unwrap().values, [1.0, 2.0]);
        assert_eq!(weights.get("backbone.0.weight").unwrap().shape, [2, 1, 1, 1]);
        assert_eq!(weights.get("backbone.1.running_var").unwrap().values, [0.5, 0.25]);
        assert_eq!(weights.get("scale").unwrap().values, [8.0]);
    }

    #[test]
    fn a_frozen_module_is_refused_in_words() {
        let message = parse(FROZEN).unwrap_err();
        assert!(message.contains("TorchScript") && message.contains("frozen"), "{message}");
        assert!(message.contains("state_dict()"), "{message}");
    }

    #[test]
    fn a_flipped_bit_of_the_data_is_refused() {
        let place = SMALL.windows(4).position(|bytes| bytes == 3.25_f32.to_le_bytes()).unwrap();
        let mut bytes = SMALL.to_vec();
        bytes[place] ^= 1;
        let message = parse(&bytes).unwrap_err();
        assert!(message.contains("data/") && message.to_lowercase().contains("checksum"), "{message}");
    }

    #[test]
    fn another_byte_order_is_refused() {
        let place = SMALL.windows(6).position(|bytes| bytes == b"little").unwrap();
        let mut bytes = SMALL.to_vec();
        bytes[place..place + 6].copy_from_slice(b"big   ");
        assert!(parse(&bytes).is_err());
    }

    #[test]
    fn mutations_never_panic() {
        let mut stream = Stream::new(1, "mutations", &[]);
        for turn in 0..20_000 {
            let mut bytes = [SMALL, SCRIPT][turn % 2].to_vec();
            for _ in 0..=stream.below(3) {
                let position = stream.below(bytes.len());
                bytes[position] = stream.bits() as u8;
            }
            // Either answer is right; a panic or a runaway allocation is not.
            let _ = parse(&bytes);
        }
    }
}
