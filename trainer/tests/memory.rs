//! The neighbourhood topology of many photos stays within its memory. Alone in its process, whose peak it measures.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says what it expected by failing there")]

use sketchfind_core::image::{Image, Preprocess};
use sketchfind_core::random::Stream;
use sketchfind_models::network::Network;
use sketchfind_models::network::builder::Builder;
use sketchfind_models::weights::Weights;
use sketchfind_trainer::config::Features;
use sketchfind_trainer::neighbourhood::{PhotoDistances, Source};
use sketchfind_trainer::network::TorchNetwork;
use sketchfind_trainer::picture::Picture;

/// The most memory that this process has had at once, in bytes, where the system tells it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// 10,000 photos under 1 GiB computed, kept on disk and read back.
#[test]
fn ten_thousand_photos_fit_in_a_gibibyte() {
    let n_photos = 10_000;
    let mut b = Builder::new();
    let x = b.conv("conv", b.input(), 3, 16, 3, 2, 1, 1, true);
    b.global_avg_pool(x);
    let network = Network::new("small", b.finish()).unwrap();
    let torch = TorchNetwork::new(&network, &Weights::random(&network, 1), tch::Device::Cpu).unwrap();
    let mut stream = Stream::new(1, "photos", &[]);
    let photos: Vec<Picture> = (0..n_photos)
        .map(|index| {
            let pixels = (0..8 * 8 * 3).map(|_| stream.below(256) as u8).collect();
            Picture { id: format!("{index:05}"), image: Image::new(8, 8, pixels).unwrap(), alpha: None }
        })
        .collect();
    let preprocess = Preprocess::imagenet(8, 8).unwrap();
    let source =
        Source { network: &torch, weights_sha256: "w", preprocess: &preprocess, features: Features::Pooled };
    let cache = tempfile::tempdir().unwrap();
    let before = peak();
    let run = || PhotoDistances::compute_or_load(&source, &photos, cache.path(), &|_, _| Ok(())).unwrap();
    let computed = run();
    let loaded = run();
    assert_eq!(computed.n_photos(), n_photos);
    for _ in 0..1000 {
        let [i, j, k] = [0; 3].map(|_| stream.below(n_photos));
        assert_eq!(computed.sign(i, j, k), loaded.sign(i, j, k));
        assert_eq!(computed.distance(i, j), loaded.distance(j, i));
    }
    drop(computed);
    if let (Some(before), Some(after)) = (before, peak()) {
        // Two of them stood beside each other.
        let taken = after - before;
        assert!(taken < 1 << 30, "{} MiB", taken >> 20);
    }
}
