//! What goes into a model: floats that were normalised here, or pixels that its graph normalises.

use half::f16;
use sketchfind_core::card::{Card, InputKind};
use sketchfind_core::image::{Image, Preprocess};

/// Values of one image or of a batch, as the card's input kind has them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    /// float32.
    Floats(Vec<f32>),
    /// float16.
    Halves(Vec<f16>),
    /// uint8.
    Pixels(Vec<u8>),
}

impl Input {
    /// No image yet.
    pub(super) fn empty(kind: InputKind) -> Input {
        match kind {
            InputKind::Float32Nchw | InputKind::Float32Nhwc => Input::Floats(Vec::new()),
            InputKind::Float16Nchw | InputKind::Float16Nhwc => Input::Halves(Vec::new()),
            InputKind::Uint8Nchw | InputKind::Uint8Nhwc => Input::Pixels(Vec::new()),
        }
    }

    /// One image.
    pub(super) fn of(
        kind: InputKind,
        preprocess: &Preprocess,
        image: &Image,
    ) -> sketchfind_core::Result<Input> {
        let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect();
        Ok(match kind {
            InputKind::Float32Nchw => Input::Floats(preprocess.tensor(image)?),
            InputKind::Float32Nhwc => Input::Floats(preprocess.tensor_channels_last(image)?),
            InputKind::Float16Nchw => Input::Halves(halves(preprocess.tensor(image)?)),
            InputKind::Float16Nhwc => Input::Halves(halves(preprocess.tensor_channels_last(image)?)),
            InputKind::Uint8Nchw => Input::Pixels(preprocess.pixels_channels_first(image)?),
            InputKind::Uint8Nhwc => Input::Pixels(preprocess.pixels(image)?),
        })
    }

    /// Appends another of the same kind, as all of one card are.
    pub(super) fn append(&mut self, other: &Input) {
        match (self, other) {
            (Input::Floats(all), Input::Floats(more)) => all.extend_from_slice(more),
            (Input::Halves(all), Input::Halves(more)) => all.extend_from_slice(more),
            (Input::Pixels(all), Input::Pixels(more)) => all.extend_from_slice(more),
            (all, more) => debug_assert!(false, "{all:?} and {more:?} are of different cards"),
        }
    }

    /// As many values as `len` from `start` on; zeros where there are no more.
    pub(super) fn part(&self, start: usize, len: usize) -> Input {
        match self {
            Input::Floats(all) => Input::Floats(padded(all, start, len)),
            Input::Halves(all) => Input::Halves(padded(all, start, len)),
            Input::Pixels(all) => Input::Pixels(padded(all, start, len)),
        }
    }
}

fn padded<T: Copy + Default>(all: &[T], start: usize, len: usize) -> Vec<T> {
    let mut part: Vec<T> = all.iter().skip(start).take(len).copied().collect();
    part.resize(len, T::default());
    part
}

/// The shape of `n` images in a graph's input.
pub(super) fn shape(card: &Card, n: usize) -> [usize; 4] {
    card.onnx.input_kind.shape(n, card.preprocess.crop as usize, 3)
}
