//! How the linker makes the shared library of the C interface.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    if std::env::var_os("CARGO_FEATURE_CAPI").is_none() || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    // For the programs of this package too, to which it makes no difference: of a library alone it may be said where a package
    // is always one. The number is `SKF_ABI` of src/capi/version.rs; a test compares them.
    for argument in [
        "-Wl,-soname,libsketchfind.so.0",
        // What crates and the standard library export for themselves is nobody else's, and could be taken for a program's own.
        "-Wl,--exclude-libs,ALL",
        // ONNX Runtime may lie beside the library.
        "-Wl,-rpath,$ORIGIN",
    ] {
        println!("cargo::rustc-link-arg={argument}");
    }
}
