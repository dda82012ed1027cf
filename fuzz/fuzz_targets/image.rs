//! Any bytes as an image's file, through the whole path to a network's input.

#![no_main]

use sketchfind_core::image::{DecodeLimits, Image, Preprocess};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = DecodeLimits { max_pixels: 1 << 16 };
    if let Ok(image) = Image::decode(bytes, "fuzzed", limits) {
        assert!(u64::from(image.width()) * u64::from(image.height()) <= limits.max_pixels);
        let preprocess = Preprocess::imagenet(24, 16).expect("the sizes are in range");
        assert_eq!(
            preprocess.pixels(&image).expect("any image can be resized").len(),
            preprocess.tensor_len()
        );
    }
});
