//! How well-known families of models see images: data, with their sources.

use super::{Interpolation, Preprocess, ResizeRule};
use crate::{Error, Result};

/// A family of models that share a way from an image to the network's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// The name that options use.
    pub name: &'static str,
    /// Where the numbers are from.
    pub source: &'static str,
    /// Of the side of a crop of 224 pixels, the side that images are resized to.
    resize_for_224: u32,
    resize_rule: ResizeRule,
    interpolation: Interpolation,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 3] = [
        Preset {
            name: "imagenet",
            source: "torchvision, transforms.ImageClassification(crop_size=224, resize_size=256)",
            resize_for_224: 256,
            resize_rule: ResizeRule::ShorterSide,
            interpolation: Interpolation::BilinearAntialias,
            mean: Preprocess::IMAGENET_MEAN,
            std: Preprocess::IMAGENET_STD,
        },
        Preset {
            name: "clip",
            source: "openai/CLIP, clip/clip.py, _transform",
            resize_for_224: 224,
            resize_rule: ResizeRule::ShorterSide,
            interpolation: Interpolation::BicubicAntialias,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        },
        Preset {
            name: "siglip",
            source: "huggingface/transformers, SiglipImageProcessor",
            resize_for_224: 224,
            resize_rule: ResizeRule::Squash,
            interpolation: Interpolation::BicubicAntialias,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
    ];

    /// The preset called `name`.
    pub fn by_name(name: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|preset| preset.name == name)
    }

    /// The way to a network's input of `side` x `side` pixels.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where the side is zero, or the image would be resized to more than 8192 pixels.
    ///
    /// ```
    /// use sketchfind_core::image::Preset;
    /// let preprocess = Preset::by_name("imagenet").unwrap().preprocess(224)?;
    /// assert_eq!((preprocess.resize, preprocess.crop), (256, 224));
    /// # Ok::<(), sketchfind_core::Error>(())
    /// ```
    pub fn preprocess(&self, side: u32) -> Result<Preprocess> {
        let resize = (u64::from(side) * u64::from(self.resize_for_224) + 112) / 224;
        let resize = u32::try_from(resize).map_err(|e| Error::OutOfRange {
            what: "side of a preset",
            value: side.to_string(),
            expected: format!("at most 8192 pixels ({e})"),
        })?;
        let preprocess = Preprocess {
            resize,
            resize_rule: self.resize_rule,
            crop: side,
            interpolation: self.interpolation,
            divisor: super::white(),
            mean: self.mean,
            std: self.std,
        };
        preprocess.check()?;
        Ok(preprocess)
    }
}
