//! Whether a loaded graph is the one that its card describes.

use std::path::Path;

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};
use sketchfind_core::card::{Card, InputKind};

use crate::{Error, Result};

/// Checks names, element types and shapes of a graph's input and output.
///
/// # Errors
/// [`Error::Graph`] with the part that differs.
pub(super) fn check(session: &Session, card: &Card, model: &Path) -> Result<()> {
    let crop = i64::from(card.preprocess.crop);
    let [input] = session.inputs() else {
        return Err(differs(model, "its list of inputs", &card.onnx.input, names(session.inputs())));
    };
    if input.name() != card.onnx.input {
        return Err(differs(model, "its input", &card.onnx.input, input.name()));
    }
    let (element, shape) = match card.onnx.input_kind {
        InputKind::Float32Nchw => (TensorElementType::Float32, [None, Some(3), Some(crop), Some(crop)]),
        InputKind::Uint8Nhwc => (TensorElementType::Uint8, [None, Some(crop), Some(crop), Some(3)]),
    };
    check_tensor(input, element, &shape, "its input", model)?;
    let Some(output) = session.outputs().iter().find(|output| output.name() == card.onnx.output) else {
        return Err(differs(model, "its list of outputs", &card.onnx.output, names(session.outputs())));
    };
    let width = i64::try_from(card.embedding_width).unwrap_or(i64::MAX);
    check_tensor(output, TensorElementType::Float32, &[None, Some(width)], "its output", model)
}

/// Checks one tensor. `None` stands for the batch, which has to be open; what the card fixes may be open in
/// the graph.
fn check_tensor(
    outlet: &Outlet,
    element: TensorElementType,
    expected: &[Option<i64>],
    what: &'static str,
    model: &Path,
) -> Result<()> {
    let in_words = || {
        let sizes: Vec<String> =
            expected.iter().map(|size| size.map_or("n".into(), |size| size.to_string())).collect();
        format!("{} [{}]", element_name(element), sizes.join(", "))
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(differs(model, what, in_words(), outlet.dtype()));
    };
    let is_open = |size: i64| size < 0;
    let fits = *ty == element
        && shape.len() == expected.len()
        && shape.iter().zip(expected).all(|(&size, &expected)| match expected {
            None => is_open(size),
            Some(expected) => is_open(size) || size == expected,
        });
    if fits {
        return Ok(());
    }
    let sizes: Vec<String> =
        shape.iter().map(|&size| if is_open(size) { "?".into() } else { size.to_string() }).collect();
    Err(differs(model, what, in_words(), format!("{ty} [{}]", sizes.join(", "))))
}

fn element_name(element: TensorElementType) -> String {
    match element {
        TensorElementType::Float32 => "float32".into(),
        TensorElementType::Uint8 => "uint8".into(),
        other => other.to_string(),
    }
}

fn names(outlets: &[Outlet]) -> String {
    let names: Vec<String> = outlets.iter().map(|outlet| format!("'{}'", outlet.name())).collect();
    format!("[{}]", names.join(", "))
}

fn differs(
    model: &Path,
    what: &'static str,
    expected: impl std::fmt::Display,
    got: impl std::fmt::Display,
) -> Error {
    Error::Graph { path: model.to_owned(), what, expected: format!("{expected}"), got: format!("{got}") }
}
