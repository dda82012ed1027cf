//! What goes into a model: floats that were normalised here, or pixels that its graph normalises.

use sketchfind_core::card::{Card, InputKind};
use sketchfind_core::image::{Image, Preprocess};

/// Values of one image or of a batch, as the card's input kind has them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    /// float32, `[n, 3, crop, crop]`.
    Floats(Vec<f32>),
    /// uint8, `[n, crop, crop, 3]`.
    Pixels(Vec<u8>),
}

impl Input {
    /// No image yet.
    pub(super) fn empty(kind: InputKind) -> Input {
        match kind {
            InputKind::Float32Nchw => Input::Floats(Vec::new()),
            InputKind::Uint8Nhwc => Input::Pixels(Vec::new()),
        }
    }

    /// One image.
    pub(super) fn of(
        kind: InputKind,
        preprocess: &Preprocess,
        image: &Image,
    ) -> sketchfind_core::Result<Input> {
        Ok(match kind {
            InputKind::Float32Nchw => Input::Floats(preprocess.tensor(image)?),
            InputKind::Uint8Nhwc => Input::Pixels(preprocess.pixels(image)?),
        })
    }

    /// Appends another of the same kind, as all of one card are.
    pub(super) fn append(&mut self, other: &Input) {
        match (self, other) {
            (Input::Floats(all), Input::Floats(more)) => all.extend_from_slice(more),
            (Input::Pixels(all), Input::Pixels(more)) => all.extend_from_slice(more),
            (all, more) => debug_assert!(false, "{all:?} and {more:?} are of different cards"),
        }
    }
}

/// The shape of `n` images in a graph's input.
pub(super) fn shape(card: &Card, n: usize) -> [usize; 4] {
    let crop = card.preprocess.crop as usize;
    match card.onnx.input_kind {
        InputKind::Float32Nchw => [n, 3, crop, crop],
        InputKind::Uint8Nhwc => [n, crop, crop, 3],
    }
}
