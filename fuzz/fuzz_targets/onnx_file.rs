//! Any bytes as an ONNX file: a graph that is accepted has all its weights, and its description can be read back; files that it
//! needs lie beside it.

#![no_main]

use sketchfind_core::card::is_plain_path;
use sketchfind_models::network::file::Described;
use sketchfind_models::onnx::fit::{Wishes, fit};
use sketchfind_models::onnx::{import, inspect};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = inspect::parse(bytes) {
        assert!(file.external.keys().all(|path| is_plain_path(path)));
        let _ = fit(&file, &Wishes::default());
    }
    let Ok(imported) = import::parse(bytes, "fuzzed", None) else { return };
    imported.weights.check_fit(&imported.network).expect("an accepted graph has its weights");
    if imported.known.is_none() && imported.input.std.iter().all(|std| std.is_finite() && *std > 0.0) {
        let described = Described { network: imported.network, input: imported.input };
        let text = described.to_json().expect("a network can be written");
        assert_eq!(Described::parse(&text).expect("what is written can be read"), described);
    }
});
