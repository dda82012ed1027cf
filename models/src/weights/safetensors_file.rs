//! Safetensors files in and out.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sketchfind_core::atomic;

use super::{Tensor, Weights, mistaken};
use crate::{Error, Result};

/// All notes go under this one key of the file's header, as JSON: the header's own map has no order, and the same
/// weights must give the same bytes.
const METADATA_KEY: &str = "sketchfind";

pub(super) fn load(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
    let not_one = |reason: String| {
        let what = mistaken::for_weights(&bytes).or_else(|| cut_off(&bytes));
        Error::weights_file(path, format!("not a safetensors file: {}", what.unwrap_or(reason)))
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| not_one(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| not_one(e.to_string()))?;
    let mut metadata = BTreeMap::new();
    for (key, value) in header.metadata().iter().flatten().collect::<BTreeMap<_, _>>() {
        if key == METADATA_KEY {
            let notes: BTreeMap<String, String> =
                serde_json::from_str(value).map_err(|e| not_one(format!("its notes: {e}")))?;
            metadata.extend(notes);
        } else {
            metadata.insert(key.clone(), value.clone());
        }
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let values = values_of(&view).ok_or_else(|| {
            let reason = format!(
                "tensor '{name}' is of type {:?}; expected F32, F16, BF16, F64 or an integer type",
                view.dtype()
            );
            Error::weights_file(path, reason)
        })?;
        tensors.insert(name, Tensor::new(view.shape().to_vec(), values)?);
    }
    Ok(Weights { tensors, metadata })
}

/// Says of a file that is shorter than its own header says how much is there.
fn cut_off(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let n_header = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    if !rest.starts_with(b"{") {
        return None;
    }
    let end = match rest.get(..n_header) {
        // Beyond what a header may have the length is none.
        None if n_header > 100_000_000 => return None,
        None => n_header,
        Some(header) => {
            let header: serde_json::Value = serde_json::from_slice(header).ok()?;
            let entries = header.as_object()?.values();
            let ends = entries.filter_map(|entry| entry.get("data_offsets")?.get(1)?.as_u64());
            n_header.checked_add(usize::try_from(ends.max()?).ok()?)?
        }
    };
    let expected = end.checked_add(8)?;
    let n_bytes = bytes.len();
    (n_bytes < expected).then(|| format!("it is cut off: {n_bytes} bytes of at least {expected} are there"))
}

pub(super) fn save(weights: &Weights, path: &Path) -> Result<()> {
    let unwritable = |reason: String| Error::weights_file(path, format!("cannot be written: {reason}"));
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = weights
        .iter()
        .map(|(name, tensor)| {
            let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, tensor.shape.as_slice(), bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.to_vec(), bytes).map(|view| (*name, view))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| unwritable(e.to_string()))?;
    let notes = serde_json::to_string(&weights.metadata).map_err(|e| unwritable(e.to_string()))?;
    let header = HashMap::from([(METADATA_KEY.to_owned(), notes)]);
    let file = safetensors::serialize(views, Some(header)).map_err(|e| unwritable(e.to_string()))?;
    Ok(atomic::write_bytes(path, &file)?)
}

/// A view's values as float32, or nothing for a type that is no number of at most 64 bits.
fn values_of(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => convert(bytes, f32::from_le_bytes),
        Dtype::F16 => convert(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => convert(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        Dtype::F64 => convert(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::I64 => convert(bytes, |b| i64::from_le_bytes(b) as f32),
        Dtype::I32 => convert(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::I16 => convert(bytes, |b| f32::from(i16::from_le_bytes(b))),
        Dtype::I8 => convert(bytes, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U8 | Dtype::BOOL => convert(bytes, |b: [u8; 1]| f32::from(b[0])),
        _ => return None,
    })
}

/// Splits `bytes` into numbers of N bytes; what is left over at the end is ignored, as readers check lengths.
pub(super) fn convert<const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| from(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Head, Network};

    #[test]
    fn files_come_back_as_they_were_and_are_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        let weights = Weights::random(&network, 3).with_metadata("licence", "MIT").with_metadata("zeta", "1");
        weights.save(&a).unwrap();
        weights.save(&b).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        assert_eq!(Weights::load(&a).unwrap(), weights);
    }

    #[test]
    fn other_types_become_float32() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let half: Vec<u8> =
            [1.5_f32, -2.0].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
        let views = [("h", TensorView::new(Dtype::F16, vec![2], &half).unwrap())];
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        assert_eq!(Weights::load(&path).unwrap().get("h").unwrap().values, [1.5, -2.0]);
    }

    #[test]
    fn damage_gives_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let mut tensors = BTreeMap::new();
        tensors.insert("t".to_owned(), Tensor::new(vec![4], vec![1.0; 4]).unwrap());
        Weights::new(tensors).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let message = Weights::load(&path).unwrap_err().to_string();
            assert!(message.contains("x.safetensors"), "{message}");
            assert!(message.contains("cut off") || end <= 8, "{end} bytes: {message}");
        }
    }
}
