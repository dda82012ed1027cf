//! Takes the released general model into the program, where it lies in the checkout that the program is built from. A program
//! that is built from the package alone looks for it beside itself.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    // As cargo says it when this runs: a build's folder that checkouts share may have this program from another of them.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let zoo = package.join("../models/zoo/general-mobilenet_v2");
    println!("cargo::rerun-if-changed={}", zoo.display());
    let mut files = Vec::new();
    collect(&zoo, Path::new(""), &mut files);
    files.sort();
    let mut code = String::from("const FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let path = zoo.join(&file);
        let _ = writeln!(code, "    ({:?}, include_bytes!({:?})),", file, path);
    }
    code.push_str("];\n");
    if let Some(out) = std::env::var_os("OUT_DIR").map(PathBuf::from) {
        std::fs::write(out.join("general_model.rs"), code).expect("the build's folder can be written");
    }
}

/// The files below `folder`, by their names there; none where there is no such folder.
fn collect(folder: &Path, below: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder.join(below)).into_iter().flatten().flatten() {
        let name = below.join(entry.file_name());
        if entry.path().is_dir() {
            collect(folder, &name, files);
        } else if let Some(name) = name.to_str() {
            files.push(name.replace('\\', "/"));
        }
    }
}
