//! Tells the linker where libtorch is at run time, so that programs and tests start with nothing exported.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let folder = std::env::var("LIBTORCH").unwrap_or_default();
    let provisioned =
        std::env::var("CARGO_MANIFEST_DIR").map(|here| format!("{here}/../.provision/libtorch"));
    let same = |a: &str, b: &str| match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    if provisioned.is_ok_and(|provisioned| same(&folder, &provisioned)) {
        // Relative to target/<profile>/ and target/<profile>/deps/, so that the checkout can be moved.
        for up in ["../..", "../../.."] {
            println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{up}/.provision/libtorch/lib");
        }
    }
    // The build's own libtorch last: right for one that the user named, and for a target folder elsewhere.
    if !folder.is_empty() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}/lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath-link,{folder}/lib");
    }
}
