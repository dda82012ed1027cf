//! How the linker makes the shared library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "linux") {
        return;
    }
    for argument in [
        // The number is `SKF_ABI` of src/version.rs; a test compares them.
        "-Wl,-soname,libsketchfind.so.0",
        // What crates and the standard library export for themselves is nobody else's, and could be taken for a program's own.
        "-Wl,--exclude-libs,ALL",
        // ONNX Runtime may lie beside the library.
        "-Wl,-rpath,$ORIGIN",
    ] {
        println!("cargo::rustc-link-arg-cdylib={argument}");
    }
}
