//! Which library this is.

use std::ffi::{CStr, c_char};

/// The version of the binary interface, and the number in the name of the shared library, libsketchfind.so.0: a program runs
/// with every library of the number that it was built with, and that is as new as the header or newer.
pub const SKF_ABI: u32 = 0;

/// The version of this library.
#[unsafe(no_mangle)]
pub extern "C" fn skf_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// The SKF_ABI of this library, to be compared with the header's by a program that loads it late.
#[unsafe(no_mangle)]
pub extern "C" fn skf_abi() -> u32 {
    SKF_ABI
}
