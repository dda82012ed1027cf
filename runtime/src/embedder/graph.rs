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
    let kind = card.onnx.input_kind;
    let element = match kind {
        InputKind::Float32Nchw | InputKind::Float32Nhwc => TensorElementType::Float32,
        InputKind::Float16Nchw | InputKind::Float16Nhwc => TensorElementType::Float16,
        InputKind::Uint8Nchw | InputKind::Uint8Nhwc => TensorElementType::Uint8,
    };
    let batch = card.onnx.batch.map_or(Size::Open, |batch| Size::Fixed(as_size(batch)));
    let shape = kind.shape(batch, Size::Fixed(crop), Size::Fixed(3));
    check_tensor(input, &[element], &shape, "its input", model)?;
    let Some(output) = session.outputs().iter().find(|output| output.name() == card.onnx.output) else {
        return Err(differs(model, "its list of outputs", &card.onnx.output, names(session.outputs())));
    };
    let floats = [TensorElementType::Float32, TensorElementType::Float16];
    check_tensor(output, &floats, &output_shape(card, batch), "its output", model)
}

/// The output that a card expects, of `n` images.
pub(super) fn output_in_words(card: &Card, n: &str) -> String {
    in_words(&output_shape(card, Size::Open), n)
}

fn output_shape(card: &Card, batch: Size) -> Vec<Size> {
    let mut shape = vec![Size::Any; card.onnx.pooling.rank()];
    shape[0] = batch;
    shape[card.onnx.pooling.axis()] = Size::Fixed(as_size(card.embedding_width));
    shape
}

fn as_size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What a card says of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    /// The batch, where it has to be open.
    Open,
    /// What the card fixes, which may be open in the graph.
    Fixed(i64),
    /// What is pooled away.
    Any,
}

fn in_words(shape: &[Size], n: &str) -> String {
    let size = |size: &Size| match size {
        Size::Open => n.to_owned(),
        Size::Fixed(size) => size.to_string(),
        Size::Any => "any".to_owned(),
    };
    format!("[{}]", shape.iter().map(size).collect::<Vec<_>>().join(", "))
}

/// Checks one tensor, of any of the types.
fn check_tensor(
    outlet: &Outlet,
    elements: &[TensorElementType],
    expected: &[Size],
    what: &'static str,
    model: &Path,
) -> Result<()> {
    let expected_in_words = || format!("{} {}", element_name(elements[0]), in_words(expected, "n"));
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(differs(model, what, expected_in_words(), outlet.dtype()));
    };
    let is_open = |size: i64| size < 0;
    let fits = elements.contains(ty)
        && shape.len() == expected.len()
        && shape.iter().zip(expected).all(|(&size, &expected)| match expected {
            Size::Open => is_open(size),
            Size::Fixed(expected) => is_open(size) || size == expected,
            Size::Any => true,
        });
    if fits {
        return Ok(());
    }
    let sizes: Vec<String> =
        shape.iter().map(|&size| if is_open(size) { "?".into() } else { size.to_string() }).collect();
    Err(differs(model, what, expected_in_words(), format!("{ty} [{}]", sizes.join(", "))))
}

fn element_name(element: TensorElementType) -> String {
    match element {
        TensorElementType::Float32 => "float32".into(),
        TensorElementType::Float16 => "float16".into(),
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
