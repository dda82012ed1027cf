//! The model card: all that must be known to use a model, in `card.json` beside its `model.onnx`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::distance::Distance;
use crate::image::Preprocess;
use crate::{Error, Result, atomic, fingerprint};

/// The version of the card's format that this code writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
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
    /// The width D of an embedding.
    pub embedding_width: usize,
    /// The distance that the model was trained for.
    pub distance: Distance,
    /// The ONNX file.
    pub onnx: OnnxFacts,
    /// Where the weights come from.
    pub provenance: Provenance,
}

/// What the ONNX file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxFacts {
    /// SHA-256 of `model.onnx`: the model's fingerprint.
    pub sha256: String,
    /// The name of the graph's input, float32 `[n, 3, crop, crop]`.
    pub input: String,
    /// The name of the graph's output, float32 `[n, embedding_width]`.
    pub output: String,
    /// The version of ONNX's default operator set.
    pub opset: i64,
    /// The version of ONNX's file format.
    pub ir_version: i64,
    /// The number of weights that the file holds.
    pub n_parameters: u64,
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
        /// Read first, so that a newer card is called newer and not malformed.
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let path = folder.join(CARD);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let FormatOnly { format } = serde_json::from_str(&text)
            .map_err(|e| Error::malformed(&path, format!("not a model card: {e}")))?;
        if format == 0 || format > FORMAT {
            return Err(Error::malformed(
                &path,
                format!("its format is {format}; this version of sketchfind reads 1 to {FORMAT}"),
            ));
        }
        let card: Card = serde_json::from_str(&text)
            .map_err(|e| Error::malformed(&path, format!("not a model card of format {format}: {e}")))?;
        card.preprocess.check()?;
        if card.embedding_width == 0 {
            return Err(Error::malformed(&path, "embedding_width is 0, expected above 0"));
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
        let mut text =
            serde_json::to_string_pretty(self).map_err(|e| Error::malformed(&path, e.to_string()))?;
        text.push('\n');
        atomic::write_bytes(&path, text.as_bytes())
    }
}
