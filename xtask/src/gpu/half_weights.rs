//! Weights in half as many bytes: numbers of 32 bits in a safetensors file as the nearest of 16.

use anyhow::{Context, Result, bail};
use half::f16;
use serde_json::{Map, Value};

/// The same file with every `F32` tensor of more than one dimension in `F16`; those of one, such as the statistics of batch norms,
/// which 16 bits do not hold well, stay. Tensors whose names begin with `without` are left out.
///
/// # Errors
/// Where it is no safetensors file, or a number does not fit into 16 bits.
pub(super) fn halved(file: &[u8], without: &str) -> Result<Vec<u8>> {
    let len = file
        .first_chunk()
        .map(|len| u64::from_le_bytes(*len))
        .context("it is shorter than a header's length")?;
    let start =
        usize::try_from(len).ok().and_then(|len| len.checked_add(8)).context("its header has no length")?;
    let header = file.get(8..start).context("it is shorter than its header")?;
    let header: Map<String, Value> = serde_json::from_slice(header).context("its header is not JSON")?;
    let (mut new_header, mut values) = (Map::new(), Vec::with_capacity(file.len() / 2));
    // Metadata comes first in the order of safetensors' own writers, and has no values.
    for (name, tensor) in &header {
        if name == "__metadata__" {
            new_header.insert(name.clone(), tensor.clone());
            continue;
        }
        if name.starts_with(without) {
            continue;
        }
        let offset = |index: usize| {
            let offset =
                tensor["data_offsets"][index].as_u64().and_then(|offset| usize::try_from(offset).ok());
            offset
                .and_then(|offset| start.checked_add(offset))
                .with_context(|| format!("tensor '{name}' lies nowhere"))
        };
        let bytes = file
            .get(offset(0)?..offset(1)?)
            .with_context(|| format!("tensor '{name}' lies beyond the end"))?;
        let n_dimensions = tensor["shape"].as_array().map_or(0, Vec::len);
        let (begin, mut new) = (values.len(), tensor.clone());
        if tensor["dtype"] == "F32" && n_dimensions > 1 {
            for number in bytes.chunks_exact(4) {
                let number = f32::from_le_bytes(number.try_into().context("four bytes")?);
                let half = f16::from_f32(number);
                if !half.is_finite() {
                    bail!("tensor '{name}' holds {number}, which does not fit into 16 bits");
                }
                values.extend(half.to_le_bytes());
            }
            new["dtype"] = "F16".into();
        } else {
            values.extend(bytes);
        }
        new["data_offsets"] = vec![begin, values.len()].into();
        new_header.insert(name.clone(), new);
    }
    let mut header = serde_json::to_vec(&new_header)?;
    // Values begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(values);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        file
    }

    #[test]
    fn kernels_are_halved_and_what_is_of_one_dimension_stays() {
        let header = r#"{"__metadata__":{"source":"x"},
            "a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},
            "aa.last":{"dtype":"F32","shape":[1,1],"data_offsets":[12,16]}}"#;
        let halved = halved(&file(header, &[1.5, -0.1, 0.1, 7.0]), "aa.").unwrap();
        let len = u64::from_le_bytes(*halved.first_chunk().unwrap()) as usize;
        let found: Value = serde_json::from_slice(&halved[8..8 + len]).unwrap();
        assert_eq!(found["__metadata__"]["source"], "x");
        assert!(found.get("aa.last").is_none());
        assert_eq!(found["a"], serde_json::json!({"dtype": "F16", "shape": [2, 1], "data_offsets": [0, 4]}));
        assert_eq!(found["b"], serde_json::json!({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}));
        let values = &halved[8 + len..];
        assert_eq!(values[..2], f16::from_f32(1.5).to_le_bytes());
        assert_eq!(values[2..4], f16::from_f32(-0.1).to_le_bytes());
        assert_eq!(values[4..], 0.1_f32.to_le_bytes());
        assert_eq!(len % 8, 0);
    }

    #[test]
    fn what_cannot_be_halved_is_named() {
        let header = r#"{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
        let says = |file: &[u8]| format!("{:#}", halved(file, "fc.").unwrap_err());
        assert!(says(&file(header, &[1e6])).contains("'a' holds 1000000"));
        assert!(says(&file(header, &[])).contains("'a' lies beyond the end"));
        assert!(says(&file("[", &[])).contains("not JSON"));
        assert!(says(b"short").contains("header's length"));
    }
}
