//! libtorch runs every described network as torchvision and the papers have it.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

use sketchfind_models::network::{Head, Network};
use sketchfind_tests::reference;
use sketchfind_trainer::config::{BatchNorm, TrainingPrecision};
use sketchfind_trainer::network::{TorchNetwork, to_values};

/// Outputs of `tests/reference/make_backbones.py`; with those that ONNX Runtime is held against, the two engines agree
/// within twice the tolerance.
#[test]
fn every_network_gives_what_the_reference_gave() {
    for output in reference::outputs() {
        let head = if output.head == "scores" { Head::Classifier } else { Head::Embedding };
        let network = Network::by_name(&output.network, head).unwrap();
        let torch = TorchNetwork::new(&network, &reference::weights(&network), tch::Device::Cpu).unwrap();
        let torch = torch.with_arithmetic(TrainingPrecision::Fp32, true).unwrap();
        let side = output.side as i64;
        let image = tch::Tensor::from_slice(&reference::image(output.side)).reshape([1, 3, side, side]);
        let ours = tch::no_grad(|| torch.forward(&image, BatchNorm::Frozen)).unwrap();
        let found = reference::disagreement(&to_values(&ours).unwrap(), &output.values);
        assert!(found < 5e-5, "{}, {}: {found}", output.network, output.head);
    }
}
