//! How pictures are prepared, from a JSON file: what a card has as `preprocess`, or a `preprocessor_config.json` of Hugging Face.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use sketchfind_core::Error;
use sketchfind_core::image::{Interpolation, Preprocess, Preset, ResizeRule};

/// How pictures are prepared.
pub(super) enum Prepared {
    /// As for a family of models, at the side that a file takes.
    Preset(Preset),
    /// As a file says.
    File(Preprocess),
}

impl Prepared {
    /// By a preset's name or a file's.
    ///
    /// # Errors
    /// Where it is neither, or the file does not say how pictures are prepared.
    pub(super) fn of(told: &str) -> Result<Prepared> {
        if let Some(preset) = Preset::by_name(told) {
            return Ok(Prepared::Preset(preset));
        }
        let path = Path::new(told);
        let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name).collect();
        let text = std::fs::read_to_string(path)
            .map_err(Error::io("read", path))
            .with_context(|| format!("--preprocess is none of {}, and no file", names.join(", ")))?;
        let preprocess = parse(&text).map_err(|reason| Error::malformed(path, reason))?;
        preprocess.check()?;
        Ok(Prepared::File(preprocess))
    }

    /// The side of the pictures that it makes, where it says that itself.
    pub(super) fn side(&self) -> Option<u32> {
        match self {
            Prepared::Preset(_) => None,
            Prepared::File(preprocess) => Some(preprocess.crop),
        }
    }

    /// The way to pictures of `side`; a file's own way, whatever that is.
    ///
    /// # Errors
    /// Those of [`Preset::preprocess`].
    pub(super) fn for_side(self, side: u32) -> Result<Preprocess> {
        Ok(match self {
            Prepared::Preset(preset) => preset.preprocess(side)?,
            Prepared::File(preprocess) => preprocess,
        })
    }
}

fn parse(text: &str) -> Result<Preprocess, String> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("no JSON: {e}"))?;
    if ["image_mean", "image_processor_type", "feature_extractor_type"]
        .iter()
        .any(|key| json.get(key).is_some())
    {
        let config = Config::deserialize(json);
        return config.map_err(|e| format!("not a preprocessor_config.json: {e}"))?.preprocess();
    }
    Preprocess::deserialize(json).map_err(|e| format!("not what a card has as 'preprocess': {e}"))
}

/// The part of a `preprocessor_config.json` that says how pictures are prepared, by the names and defaults of the image
/// processors of huggingface/transformers. What else there is does not bear on pixels.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "yes")]
    do_resize: bool,
    size: Option<Size>,
    resample: Option<i64>,
    #[serde(default)]
    do_center_crop: bool,
    crop_size: Option<Size>,
    crop_pct: Option<f64>,
    #[serde(default = "yes")]
    do_rescale: bool,
    rescale_factor: Option<f64>,
    #[serde(default = "yes")]
    do_normalize: bool,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    #[serde(default)]
    do_pad: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(u32),
    Shortest { shortest_edge: u32 },
    Sides { height: u32, width: u32 },
}

impl Config {
    fn preprocess(&self) -> Result<Preprocess, String> {
        let refused = |reason: &str| Err(format!("of its preprocessor_config.json {reason}"));
        if !self.do_resize {
            return refused("'do_resize' is false, expected pictures of any size");
        }
        if self.do_pad || self.crop_pct.is_some() {
            return refused(
                "'do_pad' or 'crop_pct' is set, which no card can say; write what it means as a card's 'preprocess'",
            );
        }
        let (resize, resize_rule) = match self.size {
            Some(Size::Sides { height, width }) if height == width => (height, ResizeRule::Squash),
            Some(Size::Shortest { shortest_edge }) => (shortest_edge, ResizeRule::ShorterSide),
            // Older files have one number: the shorter side where a square is cut out, both sides where none is.
            Some(Size::Side(side)) if self.do_center_crop => (side, ResizeRule::ShorterSide),
            Some(Size::Side(side)) => (side, ResizeRule::Squash),
            Some(Size::Sides { .. }) => return refused("'size' is no square"),
            None => return refused("there is no 'size'"),
        };
        let crop = match (self.do_center_crop, self.crop_size) {
            (false, _) | (true, None) => resize,
            (true, Some(Size::Side(side))) => side,
            (true, Some(Size::Sides { height, width })) if height == width => height,
            (true, Some(_)) => return refused("'crop_size' is no square"),
        };
        let interpolation = match self.resample {
            Some(2) => Interpolation::BilinearAntialias,
            Some(3) => Interpolation::BicubicAntialias,
            _ => return refused("'resample' is neither 2, bilinear, nor 3, bicubic"),
        };
        let divisor = match (self.do_rescale, self.rescale_factor) {
            (false, _) => 1.0,
            (true, None) => 255.0,
            // 1/255 as a decimal number is meant as the division.
            (true, Some(factor)) if (factor * 255.0 - 1.0).abs() < 1e-6 => 255.0,
            (true, Some(factor)) => (1.0 / factor) as f32,
        };
        let (mean, std) = match (self.do_normalize, self.image_mean, self.image_std) {
            (false, ..) => ([0.0; 3], [1.0; 3]),
            (true, Some(mean), Some(std)) => (mean, std),
            _ => return refused("'image_mean' or 'image_std' is missing"),
        };
        Ok(Preprocess { resize, resize_rule, crop, interpolation, divisor, mean, std })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As openai/clip-vit-base-patch32 and google/siglip-base-patch16-224 have them.
    #[test]
    fn the_files_of_clip_and_siglip_say_what_the_presets_say() {
        let clip = r#"{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224}"#;
        assert_eq!(parse(clip).unwrap(), Preset::by_name("clip").unwrap().preprocess(224).unwrap());
        let newer = clip
            .replace("\"size\": 224", "\"size\": {\"shortest_edge\": 224}")
            .replace("\"crop_size\": 224", "\"crop_size\": {\"height\": 224, \"width\": 224}");
        assert_eq!(parse(&newer).unwrap(), parse(clip).unwrap());
        let siglip = r#"{"do_convert_rgb": null, "do_normalize": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5],
            "processor_class": "SiglipProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
            "size": {"height": 224, "width": 224}}"#;
        assert_eq!(parse(siglip).unwrap(), Preset::by_name("siglip").unwrap().preprocess(224).unwrap());
        let own = serde_json::to_string(&parse(siglip).unwrap()).unwrap();
        assert_eq!(parse(&own).unwrap(), parse(siglip).unwrap());
        for (from, to, part) in [
            ("\"resample\": 3", "\"resample\": 1", "'resample'"),
            ("\"width\": 224", "\"width\": 225", "no square"),
            ("\"do_resize\": true", "\"do_resize\": false", "'do_resize'"),
            ("\"image_std\": [0.5, 0.5, 0.5],", "", "'image_std'"),
            ("\"do_convert_rgb\": null", "\"do_pad\": true", "'do_pad'"),
            ("0.5, 0.5, 0.5", "0.5, 0.5", "preprocessor_config"),
        ] {
            let message = parse(&siglip.replacen(from, to, 1)).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
