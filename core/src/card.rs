//! The model card: all that must be known to use a model, in `card.json` beside its `model.onnx`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::distance::Distance;
use crate::frame::Frame;
use crate::image::Preprocess;
use crate::{Error, Result, atomic, fingerprint};

/// The version of the card's format that this code writes, and the newest that it reads. Format 2 added the kinds of
/// input and precision, the probe's tolerance, measured accuracy and the licence; a card of format 1 is one of float32
/// input and arithmetic without the rest. Format 3 added the frame. Format 4 added what files from elsewhere need: more kinds
/// of input, fixed batches, pooling, unit length, external data, the rule and kind of a resize, a network for sketches.
/// `docs/card.md` has every field.
pub const FORMAT: u32 = 4;
/// The card's name in a model's folder.
pub const CARD: &str = "card.json";
/// The network's name in a model's folder.
pub const MODEL: &str = "model.onnx";
/// The name of the network for sketches in a model's folder, where photos and sketches have networks of their own.
pub const SKETCH_MODEL: &str = "sketch.onnx";
/// What a card calls the network of a file from elsewhere.
pub const IMPORTED: &str = "imported";
/// The folder of probe images in a model's folder: files `<id>.png`, sorted by id.
pub const PROBE_IMAGES: &str = "probe";
/// The embeddings that torch gave for the probe's images, or for a file from elsewhere ONNX Runtime where it was imported; in
/// a model's folder (ids in `probe.csv` beside it).
pub const PROBE_EMBEDDINGS: &str = "probe.npy";
/// The embeddings of the same images by the network for sketches (ids in `probe_sketch.csv` beside it).
pub const SKETCH_PROBE_EMBEDDINGS: &str = "probe_sketch.npy";

/// All that must be known to use a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The version of this format.
    pub format: u32,
    /// A name for people, such as `mobilenet_v2 trained on emoji`.
    pub name: String,
    /// The network's name in `sketchfind-models`, or [`IMPORTED`].
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
    /// The network for sketches, where they have one of their own; without it both go through the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<SketchSide>,
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

/// A network for sketches, whose embeddings lie in the same space as those of photos.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SketchSide {
    /// How a sketch becomes its input.
    pub preprocess: Preprocess,
    /// The ONNX file, `sketch.onnx`.
    pub onnx: OnnxFacts,
}

/// What the ONNX file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxFacts {
    /// SHA-256 of the file.
    pub sha256: String,
    /// The name of the graph's input.
    pub input: String,
    /// What the input is.
    #[serde(default)]
    pub input_kind: InputKind,
    /// The number of images that the graph takes at once, where it takes no other; nothing where it takes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// The name of the graph's output, of 32-bit or 16-bit floats: `[n, embedding_width]`, or as [`OnnxFacts::pooling`] says.
    pub output: String,
    /// How an output of tokens or of a map becomes one embedding.
    #[serde(default, skip_serializing_if = "Pooling::is_none")]
    pub pooling: Pooling,
    /// Whether embeddings are brought to unit length behind the graph; one of zeros stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unit_length: bool,
    /// The files beside it that hold weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_data: Vec<ExternalFile>,
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

/// A file that holds weights of an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalFile {
    /// Its path below the model's folder, with `/` between folders.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
}

/// Whether a path leads from a folder into it, on every system, and not to what a model's folder holds besides: some folders
/// and a file by their plain names.
pub fn is_plain_path(path: &str) -> bool {
    let is_ours = |first: &str| {
        let name = first.to_ascii_lowercase();
        let reserved = [CARD, MODEL, SKETCH_MODEL, PROBE_IMAGES, PROBE_EMBEDDINGS, SKETCH_PROBE_EMBEDDINGS];
        reserved.contains(&name.as_str()) || name == "probe.csv" || name == "probe_sketch.csv"
    };
    let is_plain = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.contains(['\\', ':']) && !part.chars().any(char::is_control)
    };
    path.split('/').all(is_plain) && !path.split('/').next().is_some_and(is_ours)
}

/// What a graph takes: the type of its numbers and the order of its axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// float32 `[n, 3, crop, crop]`, scaled and normalised by the caller ([`Preprocess::tensor`]).
    #[default]
    Float32Nchw,
    /// float32 `[n, crop, crop, 3]`, scaled and normalised by the caller ([`Preprocess::tensor_channels_last`]).
    Float32Nhwc,
    /// The first rounded to 16-bit floats.
    Float16Nchw,
    /// The second rounded to 16-bit floats.
    Float16Nhwc,
    /// uint8 `[n, 3, crop, crop]`, the pixels of the crop in 0..255 ([`Preprocess::pixels_channels_first`]), which the graph
    /// scales and normalises itself.
    Uint8Nchw,
    /// uint8 `[n, crop, crop, 3]`, the pixels of the crop in 0..255 ([`Preprocess::pixels`]); the graph scales and
    /// normalises them itself, so that no caller can do it otherwise.
    Uint8Nhwc,
}

impl InputKind {
    /// The name that cards and options use.
    pub fn name(self) -> &'static str {
        match self {
            InputKind::Float32Nchw => "float32_nchw",
            InputKind::Float32Nhwc => "float32_nhwc",
            InputKind::Float16Nchw => "float16_nchw",
            InputKind::Float16Nhwc => "float16_nhwc",
            InputKind::Uint8Nchw => "uint8_nchw",
            InputKind::Uint8Nhwc => "uint8_nhwc",
        }
    }

    /// Whether the three channels are the last axis, and not the second.
    pub fn is_channels_last(self) -> bool {
        matches!(self, InputKind::Float32Nhwc | InputKind::Float16Nhwc | InputKind::Uint8Nhwc)
    }

    /// Whether it takes pixels as they are.
    pub fn is_pixels(self) -> bool {
        matches!(self, InputKind::Uint8Nchw | InputKind::Uint8Nhwc)
    }

    /// The shape of `n` images of `side` x `side` pixels.
    pub fn shape<T>(self, n: T, side: T, channels: T) -> [T; 4]
    where
        T: Copy,
    {
        match self.is_channels_last() {
            true => [n, side, side, channels],
            false => [n, channels, side, side],
        }
    }
}

/// How a graph's output becomes one embedding of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// It is one: `[n, D]`.
    #[default]
    None,
    /// `[n, T, D]`: the first token, which is the class token of vision transformers.
    ClassToken,
    /// `[n, T, D]`: the mean of all tokens.
    MeanOfTokens,
    /// `[n, T, D]`: the mean of all tokens but the first.
    MeanOfPatches,
    /// `[n, D, H, W]`: the average over the map.
    MeanOfMap,
    /// `[n, H, W, D]`: the average over a map with channels last.
    MeanOfMapNhwc,
}

impl Pooling {
    /// All of them.
    pub const ALL: [Pooling; 6] = [
        Pooling::None,
        Pooling::ClassToken,
        Pooling::MeanOfTokens,
        Pooling::MeanOfPatches,
        Pooling::MeanOfMap,
        Pooling::MeanOfMapNhwc,
    ];

    /// The name that cards and options use.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::None => "none",
            Pooling::ClassToken => "class_token",
            Pooling::MeanOfTokens => "mean_of_tokens",
            Pooling::MeanOfPatches => "mean_of_patches",
            Pooling::MeanOfMap => "mean_of_map",
            Pooling::MeanOfMapNhwc => "mean_of_map_nhwc",
        }
    }

    /// The number of axes of the output that it takes.
    pub fn rank(self) -> usize {
        match self {
            Pooling::None => 2,
            Pooling::ClassToken | Pooling::MeanOfTokens | Pooling::MeanOfPatches => 3,
            Pooling::MeanOfMap | Pooling::MeanOfMapNhwc => 4,
        }
    }

    /// The axis of the output that is the embedding.
    pub fn axis(self) -> usize {
        match self {
            Pooling::None | Pooling::MeanOfMap => 1,
            Pooling::ClassToken | Pooling::MeanOfTokens | Pooling::MeanOfPatches => 2,
            Pooling::MeanOfMapNhwc => 3,
        }
    }

    fn is_none(&self) -> bool {
        *self == Pooling::None
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

impl OnnxFacts {
    /// Checks what may come from a file; `what` is the field that it stands in.
    fn check(&self, what: &str) -> std::result::Result<(), String> {
        if let Some(batch) = self.batch.filter(|batch| !(1..=MOST_BATCH).contains(batch)) {
            return Err(format!("{what}.batch is {batch}, expected 1 to {MOST_BATCH} images"));
        }
        match self.external_data.iter().find(|file| !is_plain_path(&file.path)) {
            None => Ok(()),
            Some(file) => Err(format!(
                "{what}.external_data has the path '{}', expected one below the folder",
                file.path
            )),
        }
    }
}

/// The most images that a graph may take at once.
pub const MOST_BATCH: usize = 4096;

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
        card.onnx.check("onnx").map_err(|reason| Error::malformed(path, reason))?;
        if let Some(sketch) = &card.sketch {
            sketch.preprocess.check()?;
            sketch.onnx.check("sketch.onnx").map_err(|reason| Error::malformed(path, reason))?;
        }
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

    /// Reads the card as [`Card::load`] does and checks that the networks' files are those it speaks of.
    ///
    /// # Errors
    /// Those of [`Card::load`]; [`Error::Malformed`] where a file's SHA-256 differs.
    pub fn load_with_model(folder: &Path) -> Result<Card> {
        let card = Card::load(folder)?;
        for (name, expected) in card.files() {
            let path = folder.join(&name);
            let sha256 = fingerprint::of_file(&path)?;
            if sha256 != expected {
                let reason = format!("its sha256 is {sha256}, the card beside it expects {expected}");
                return Err(Error::malformed(&path, reason));
            }
        }
        Ok(card)
    }

    /// The files that the networks are made of, by their paths below the model's folder, with their SHA-256.
    pub fn files(&self) -> BTreeMap<String, String> {
        let sides =
            [Some((MODEL, &self.onnx)), self.sketch.as_ref().map(|sketch| (SKETCH_MODEL, &sketch.onnx))];
        let mut files = BTreeMap::new();
        for (name, onnx) in sides.into_iter().flatten() {
            files.insert(name.to_owned(), onnx.sha256.clone());
            files.extend(onnx.external_data.iter().map(|file| (file.path.clone(), file.sha256.clone())));
        }
        files
    }

    /// What models are told apart by: SHA-256 of `model.onnx`, or, for a file from elsewhere, of all in the card that decides
    /// what an embedding is. The same file may have been imported in several ways, and its weights may lie beside it.
    pub fn fingerprint(&self) -> String {
        if self.network != IMPORTED {
            return self.onnx.sha256.clone();
        }
        /// In one order, whatever features serde_json is built with. Fields that a later format adds are left out where
        /// they say nothing, so that fingerprints stay what they are.
        #[derive(Serialize)]
        struct Parts<'c> {
            preprocess: &'c Preprocess,
            onnx: &'c OnnxFacts,
            sketch: &'c Option<SketchSide>,
        }
        let parts = Parts { preprocess: &self.preprocess, onnx: &self.onnx, sketch: &self.sketch };
        // Structs of numbers and texts always have a text.
        fingerprint::of_bytes(&serde_json::to_vec(&parts).unwrap_or_default())
    }

    /// The card of the network for sketches, as if photos went through it too; nothing where they do.
    pub fn of_sketches(&self) -> Option<Card> {
        let SketchSide { preprocess, onnx } = self.sketch.clone()?;
        Some(Card { preprocess, onnx, sketch: None, ..self.clone() })
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
    use crate::image::Preset;

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
        for part in ["\"uint8_nhwc\"", "\"int8\"", "\"format\": 4"] {
            assert!(text.contains(part), "{text}");
        }
        for (from, to, part) in [
            ("0.0625", "1.5", "probe.tolerance is 1.5"),
            ("\"uint8_nhwc\"", "\"uint8_chwn\"", "uint8_chwn"),
            ("\"format\": 4", "\"format\": 5", "its format is 5"),
            ("\"least\": 0.75", "\"least\": 0.95", "frame.photo.least is 0.95"),
            ("\"sketch\": 0.875", "\"sketch\": 1.5", "frame.sketch is 1.5"),
            ("\"licence\"", "\"license\"", "license"),
        ] {
            let message = load(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_files_from_elsewhere_need_is_written_read_and_checked() {
        let plain = load(OF_FORMAT_1).unwrap();
        let external = |path: &str| ExternalFile { path: path.into(), sha256: "1".repeat(64) };
        let mut card = Card { format: FORMAT, network: IMPORTED.into(), ..plain.clone() };
        card.preprocess = Preset::by_name("clip").unwrap().preprocess(8).unwrap();
        card.preprocess.divisor = 127.5;
        card.onnx.input_kind = InputKind::Float16Nhwc;
        card.onnx.batch = Some(4);
        card.onnx.pooling = Pooling::MeanOfPatches;
        card.onnx.unit_length = true;
        card.onnx.external_data = vec![external("weights/w.bin")];
        card.sketch = Some(SketchSide { preprocess: plain.preprocess.clone(), onnx: plain.onnx.clone() });
        let text = card.to_json().unwrap();
        assert_eq!(load(&text).unwrap(), card);
        let files: Vec<String> = card.files().into_keys().collect();
        assert_eq!(files, [MODEL, SKETCH_MODEL, "weights/w.bin"]);
        assert_eq!(card.of_sketches().unwrap().onnx, plain.onnx);
        for (from, to, part) in [
            ("\"batch\": 4", "\"batch\": 0", "onnx.batch is 0"),
            ("\"divisor\": 127.5", "\"divisor\": 0.0", "preprocess.divisor is 0"),
            ("mean_of_patches", "mean_of_patch", "mean_of_patch"),
            ("shorter_side", "longer_side", "longer_side"),
            ("weights/w.bin", "../w.bin", "'../w.bin'"),
            ("weights/w.bin", "/w.bin", "'/w.bin'"),
            ("weights/w.bin", "Card.json", "'Card.json'"),
        ] {
            let message = load(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    /// One file that was imported in two ways gives other embeddings; a model of ours is told apart by its file alone.
    #[test]
    fn a_fingerprint_covers_what_decides_an_embedding() {
        let ours = load(OF_FORMAT_1).unwrap();
        assert_eq!(ours.fingerprint(), ours.onnx.sha256);
        let card = Card { network: IMPORTED.into(), ..ours.clone() };
        let changes: [fn(&mut Card); 6] = [
            |card| card.onnx.pooling = Pooling::ClassToken,
            |card| card.onnx.unit_length = true,
            |card| card.onnx.output = "other".into(),
            |card| card.preprocess.resize += 1,
            |card| {
                card.onnx.external_data = vec![ExternalFile { path: "w".into(), sha256: "2".repeat(64) }];
            },
            |card| {
                let SketchSide { .. } = card
                    .sketch
                    .insert(SketchSide { preprocess: card.preprocess.clone(), onnx: card.onnx.clone() });
            },
        ];
        let mut all = std::collections::BTreeSet::from([card.fingerprint()]);
        for change in changes {
            let mut other = card.clone();
            change(&mut other);
            assert!(all.insert(other.fingerprint()));
        }
        assert_eq!(Card { name: "renamed".into(), ..card.clone() }.fingerprint(), card.fingerprint());
    }

    #[test]
    fn paths_stay_inside_a_models_folder() {
        for good in ["w.bin", "a/b.bin", "model.onnx.data", "weights..bin", "probes/x"] {
            assert!(is_plain_path(good), "{good}");
        }
        for bad in [
            "",
            "/w",
            "../w",
            "a/../w",
            "a//w",
            "./w",
            "a\\w",
            "C:w",
            "a\nw",
            "card.json",
            "MODEL.ONNX",
            "probe/x",
            "probe.npy",
            "sketch.onnx",
            "a/",
        ] {
            assert!(!is_plain_path(bad), "{bad}");
        }
    }
}
