//! Any bytes as a PyTorch file, in the zip or the legacy format.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sketchfind_models::weights::torch::parse(bytes);
});
