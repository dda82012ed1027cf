//! The model card: all that must be known to use a model, in `card.json` beside its `model.onnx`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::distance::Distance;
use crate::frame::Frame;
use crate::image::Preprocess;
use crate::{Error, Result, atomic, fingerprint};

/// The version of the card's format that this code writes, and the newest that it reads. Format 2 added the kinds of
/// input and precision, the probe's tolerance, measured accuracy and the licence; a card of format 1 is one of float32
/// input and arithmetic without the rest. Format 3 added the frame.
pub const FORMAT: u32 = 3;
/// The card's name in a model's folder.
pub const CARD: &str = "card.json";
/// The network's name in a model's folder.
pub const MODEL: &str = "model.onnx";
/// The folder of probe images in a model's folder: files `<id>.png`, sorted by id.
pub const PROBE_IMAGES: &str = "probe";
/// The embeddings that torch gave for the probe's images, in a model's folder (ids in `probe.csv` beside it).
pub const PROBE_EMBEDDINGS: &str = "probe.npy";

/// All that must be known to use a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The version of this format.
    pub format: u32,
    /// A name for people, such as `mobilenet_v2 trained on emoji`.
    pub name: String,
    /// The network's name in `sketchfind-models`.
    pub network: String,
    /// How an image becomes the network's input.
    pub preprocess: Preprocess,
    /// How sketches and photos lay on their pages in training; nothing where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// The width D of an embedding.
    pub embedding_width: usize,
    /// The distance that the model was trained for.
    pub distance: Distance,
    /// The ONNX file.
    pub onnx: OnnxFacts,
    /// Where the weights come from.
    pub provenance: Provenance,
    /// What the probe was seen to give at export; nothing where only rounding separates the graph from torch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeFacts>,
    /// Accuracy that was measured with this very file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<Evaluation>,
    /// The terms under which the model may be used, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

/// What the ONNX file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxFacts {
    /// SHA-256 of `model.onnx`: the model's fingerprint.
    pub sha256: String,
    /// The name of the graph's input.
    pub input: String,
    /// What the input is.
    #[serde(default)]
    pub input_kind: InputKind,
    /// The name of the graph's output, float32 `[n, embedding_width]`.
    pub output: String,
    /// The version of ONNX's default operator set.
    pub opset: i64,
    /// The version of ONNX's file format.
    pub ir_version: i64,
    /// The number of weights that the file holds.
    pub n_parameters: u64,
    /// The arithmetic that the graph asks for.
    #[serde(default)]
    pub precision: Precision,
}

/// What a graph takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// float32 `[n, 3, crop, crop]`, scaled and normalised by the caller ([`Preprocess::tensor`]).
    #[default]
    Float32Nchw,
    /// uint8 `[n, crop, crop, 3]`, the pixels of the crop in 0..255 ([`Preprocess::pixels`]); the graph scales and
    /// normalises them itself, so that no caller can do it otherwise.
    Uint8Nhwc,
}

impl InputKind {
    /// The name that cards and options use.
    pub fn name(self) -> &'static str {
        match self {
            InputKind::Float32Nchw => "float32_nchw",
            InputKind::Uint8Nhwc => "uint8_nhwc",
        }
    }
}

/// The arithmetic of a graph. Embeddings come out as float32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// 16-bit floats (IEEE 754 binary16).
    Fp16,
    /// 8-bit integers with scales, as pairs of QuantizeLinear and DequantizeLinear.
    Int8,
}

impl Precision {
    /// The name that cards and options use.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
        }
    }
}

/// What the probe's images gave at export, against the float32 embeddings that are stored with them. Differences are
/// the largest of a component, as a share of the largest component.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFacts {
    /// The difference that the exporter saw when it computed what the graph computes, with its reduced precision.
    pub deviation: f64,
    /// The largest difference with which the model verifies.
    pub tolerance: f64,
}

/// Accuracy on one split of one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The data set's name, for people.
    pub dataset: String,
    /// Its fingerprint ([`crate::dataset::Dataset::fingerprint`]).
    pub dataset_sha256: String,
    /// The split.
    pub split: String,
    /// Queries and gallery photos.
    pub n_queries: usize,
    /// See `n_queries`.
    pub n_gallery: usize,
    /// acc@k in `[0, 1]` by k, with the 95 % interval over queries.
    pub accuracy: Vec<AccuracyAt>,
}

/// acc@k: the share of queries whose own photo is among the first k.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccuracyAt {
    /// k.
    pub k: usize,
    /// The share, in `[0, 1]`.
    pub value: f64,
    /// The ends of its 95 % interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Where a model's weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The program and version that wrote the model.
    pub tool: String,
    /// SHA-256 of the weights that training began with.
    pub initial_weights_sha256: String,
    /// Where those weights come from, in words: package, version, licence.
    pub initial_weights_source: String,
    /// Training, or nothing for a model that was exported without any.
    pub training: Option<Training>,
}

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// The method: `baseline`, ...
    pub method: String,
    /// The fingerprint of the data set ([`crate::dataset::Dataset::fingerprint`]).
    pub dataset_sha256: String,
    /// The number of training photos and sketches, without those held out.
    pub n_photos: usize,
    /// See `n_photos`.
    pub n_sketches: usize,
    /// The seed.
    pub seed: u64,
    /// Epochs and steps done.
    pub epochs: u64,
    /// See `epochs`.
    pub steps: u64,
    /// The checked configuration, as TOML.
    pub config: String,
}

impl Card {
    /// Reads the card of the model in `folder` and checks it, without looking at the network's file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] where it is no card of a known format; [`Error::OutOfRange`].
    pub fn load(folder: &Path) -> Result<Card> {
        let path = folder.join(CARD);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Card::parse(&text, &path)
    }

    /// Reads a card's text as [`Card::load`] does; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`].
    pub fn parse(text: &str, path: &Path) -> Result<Card> {
        /// Read first, so that a newer card is called newer and not malformed.
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let FormatOnly { format } = serde_json::from_str(text)
            .map_err(|e| Error::malformed(path, format!("not a model card: {e}")))?;
        if format == 0 || format > FORMAT {
            return Err(Error::malformed(
                path,
                format!("its format is {format}; this version of sketchfind reads 1 to {FORMAT}"),
            ));
        }
        let card: Card = serde_json::from_str(text)
            .map_err(|e| Error::malformed(path, format!("not a model card of format {format}: {e}")))?;
        card.preprocess.check()?;
        card.frame.map_or(Ok(()), |frame| frame.check())?;
        if card.embedding_width == 0 {
            return Err(Error::malformed(path, "embedding_width is 0, expected above 0"));
        }
        if let Some(probe) = &card.probe {
            for (what, value) in [("deviation", probe.deviation), ("tolerance", probe.tolerance)] {
                if !(0.0..=1.0).contains(&value) {
                    let reason = format!("probe.{what} is {value}, expected 0 to 1");
                    return Err(Error::malformed(path, reason));
                }
            }
        }
        Ok(card)
    }

    /// Reads the card as [`Card::load`] does and checks that the network's file is the one it speaks of.
    ///
    /// # Errors
    /// Those of [`Card::load`]; [`Error::Malformed`] where the file's SHA-256 differs.
    pub fn load_with_model(folder: &Path) -> Result<Card> {
        let card = Card::load(folder)?;
        let path = folder.join(MODEL);
        let sha256 = fingerprint::of_file(&path)?;
        if sha256 != card.onnx.sha256 {
            return Err(Error::malformed(
                &path,
                format!("its sha256 is {sha256}, the card beside it expects {}", card.onnx.sha256),
            ));
        }
        Ok(card)
    }

    /// Writes the card into `folder`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(CARD);
        let text = self.to_json().map_err(|e| Error::malformed(&path, e.to_string()))?;
        atomic::write_bytes(&path, text.as_bytes())
    }

    /// The card's text.
    ///
    /// # Errors
    /// Those of serde_json.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PhotoFrame;

    const OF_FORMAT_1: &str = include_str!("../../runtime/tests/fixtures/mean8/card.json");

    fn load(text: &str) -> Result<Card> {
        Card::parse(text, Path::new("card.json"))
    }

    #[test]
    fn a_card_of_format_1_is_one_of_float32() {
        let card = load(OF_FORMAT_1).unwrap();
        assert_eq!(card.format, 1);
        assert_eq!((card.onnx.input_kind, card.onnx.precision), (InputKind::Float32Nchw, Precision::Fp32));
        assert_eq!((card.probe, card.frame, card.licence, card.evaluations.len()), (None, None, None, 0));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut card = load(OF_FORMAT_1).unwrap();
        card.format = FORMAT;
        card.onnx.input_kind = InputKind::Uint8Nhwc;
        card.onnx.precision = Precision::Int8;
        card.probe = Some(ProbeFacts { deviation: 0.031_25, tolerance: 0.062_5 });
        card.licence = Some("MIT".into());
        card.frame = Some(Frame { sketch: 0.875, photo: Some(PhotoFrame { typical: 0.875, least: 0.75 }) });
        card.evaluations.push(Evaluation {
            dataset: "emoji".into(),
            dataset_sha256: "0".repeat(64),
            split: "test".into(),
            n_queries: 400,
            n_gallery: 400,
            accuracy: vec![AccuracyAt { k: 1, value: 0.1, low: 0.05, high: 0.15 }],
        });
        let folder = tempfile::tempdir().unwrap();
        card.save(folder.path()).unwrap();
        assert_eq!(Card::load(folder.path()).unwrap(), card);
        let text = std::fs::read_to_string(folder.path().join(CARD)).unwrap();
        for part in ["\"uint8_nhwc\"", "\"int8\"", "\"format\": 3"] {
            assert!(text.contains(part), "{text}");
        }
        for (from, to, part) in [
            ("0.0625", "1.5", "probe.tolerance is 1.5"),
            ("\"uint8_nhwc\"", "\"uint8_nchw\"", "uint8_nchw"),
            ("\"format\": 3", "\"format\": 4", "its format is 4"),
            ("\"least\": 0.75", "\"least\": 0.95", "frame.photo.least is 0.95"),
            ("\"sketch\": 0.875", "\"sketch\": 1.5", "frame.sketch is 1.5"),
            ("\"licence\"", "\"license\"", "license"),
        ] {
            let message = load(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
