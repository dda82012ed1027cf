//! Any bytes as an ONNX file: a graph that is accepted has all its weights, and its description can be read back.

#![no_main]

use sketchfind_models::network::file::Described;
use sketchfind_models::onnx::import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(imported) = import::parse(bytes, "fuzzed", None) else { return };
    imported.weights.check_fit(&imported.network).expect("an accepted graph has its weights");
    if imported.known.is_none() && imported.input.std.iter().all(|std| std.is_finite() && *std > 0.0) {
        let described = Described { network: imported.network, input: imported.input };
        let text = described.to_json().expect("a network can be written");
        assert_eq!(Described::parse(&text).expect("what is written can be read"), described);
    }
});
