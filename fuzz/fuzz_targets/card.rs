//! Any text as a model's card; a card that is read can be written and is read again as the same.

#![no_main]

use std::path::Path;

use sketchfind_core::card::Card;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let path = Path::new("card.json");
    if let Ok(card) = Card::parse(text, path) {
        let written = card.to_json().expect("a card can be written");
        assert_eq!(Card::parse(&written, path).expect("what was written is read"), card);
    }
});
