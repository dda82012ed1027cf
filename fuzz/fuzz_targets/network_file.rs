//! Any text as the description of a network: one that is accepted is written and read back as it is.

#![no_main]

use sketchfind_models::network::file::Described;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(described) = Described::parse(text) else { return };
    let _ = described.network.n_parameters();
    let written = described.to_json().expect("a network can be written");
    assert_eq!(Described::parse(&written).expect("what is written can be read"), described);
});
