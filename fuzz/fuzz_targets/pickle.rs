//! Any bytes as the pickle inside of a PyTorch file, without an archive around it: what is searched is the stack machine
//! and what torch's vocabulary makes of its calls.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sketchfind_models::weights::torch::parse_pickle(bytes);
});
