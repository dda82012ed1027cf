//! The library for C and C++ as a folder that can be moved anywhere: library, headers, ONNX Runtime, a model, licences,
//! examples, and what pkg-config and CMake want to know. Its paths are relative.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{checkout, fetch, provision, say};

/// The package that the library is made of.
const PACKAGE: &str = "sketchfind-c";

/// The released model that comes along.
const MODEL: &str = "general-mobilenet_v2";

const README: &str = "\
# sketchfind for C and C++

Find the photos that a drawing shows. This folder can be moved: nothing in it knows where it lies.

| | |
| --- | --- |
| `include/sketchfind.h`, `sketchfind.hpp` | the interface in C, and a header above it for C++17 |
| `lib/libsketchfind.so` | the library |
| `lib/libonnxruntime.so` | ONNX Runtime, which the library finds beside itself; `skf_options.onnxruntime` or the environment variable `ORT_DYLIB_PATH` names another |
| `share/sketchfind/model` | a model for line drawings of products, see `CARD.md` there |
| `lib/pkgconfig`, `lib/cmake` | for pkg-config and `find_package(sketchfind)` |
| `examples` | a program in C, and one in C++ |
| `licences` | of all that is in here |

```sh
here=$PWD
c++ -std=c++17 examples/cpp/shop.cpp -o shop -I$here/include -L$here/lib -lsketchfind -Wl,-rpath,$here/lib
./shop share/sketchfind/model /tmp/gallery

PKG_CONFIG_PATH=$here/lib/pkgconfig
cc examples/c/find.c -o find $(pkg-config --cflags --libs sketchfind) -Wl,-rpath,$(pkg-config --variable=libdir sketchfind)

cmake -S examples/cpp -B build -DCMAKE_PREFIX_PATH=$here && cmake --build build
```

A program that is shipped with the library beside itself is linked with `-Wl,-rpath,'$ORIGIN'`. Programs run with later
libraries of the same number, the one behind `.so`.
";

const PKG_CONFIG: &str = "\
prefix=${pcfiledir}/../..
libdir=${prefix}/lib
includedir=${prefix}/include
modeldir=${prefix}/share/sketchfind/model

Name: sketchfind
Description: Finds the photos that a drawing shows
Version: @VERSION@
Cflags: -I${includedir}
Libs: -L${libdir} -lsketchfind
";

const CMAKE: &str = "\
# Gives the target sketchfind::sketchfind, and the folder of the model that came along.
get_filename_component(_sketchfind_prefix \"${CMAKE_CURRENT_LIST_DIR}/../../..\" ABSOLUTE)
if(NOT TARGET sketchfind::sketchfind)
  add_library(sketchfind::sketchfind SHARED IMPORTED)
  set_target_properties(sketchfind::sketchfind PROPERTIES
    IMPORTED_LOCATION \"${_sketchfind_prefix}/lib/libsketchfind.so.@ABI@\"
    IMPORTED_SONAME \"libsketchfind.so.@ABI@\"
    INTERFACE_INCLUDE_DIRECTORIES \"${_sketchfind_prefix}/include\")
endif()
set(sketchfind_MODEL_DIR \"${_sketchfind_prefix}/share/sketchfind/model\")
unset(_sketchfind_prefix)
";

const CMAKE_VERSION: &str = "\
# A library is good for every version up to its own that begins with the same number.
set(PACKAGE_VERSION \"@VERSION@\")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION
    OR (PACKAGE_FIND_VERSION AND NOT PACKAGE_VERSION MATCHES \"^${PACKAGE_FIND_VERSION_MAJOR}[.]\"))
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
";

/// Makes the folder `out`, which is not there yet, with a library that is built for it, or that is `built` already.
pub(crate) fn library(out: &Path, built: Option<&Path>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(
            "the library's folder is made on Linux alone so far: elsewhere libraries have other names and other paths"
        );
    }
    let out = std::path::absolute(out)?;
    if out.exists() {
        bail!("'{}' is there already; remove it first, or name another folder", out.display());
    }
    provision::onnxruntime()?;
    let built = built.map_or_else(build, |built| Ok(built.to_owned()))?;
    let parent = out.parent().context("the folder has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create '{}'", parent.display()))?;
    // Whole or not at all.
    let partial = tempfile::Builder::new()
        .prefix(".partial-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to '{}'", parent.display()))?;
    let folder = partial.path().join("new");
    fill(&folder, &built)?;
    fs::rename(&folder, &out).with_context(|| format!("cannot write '{}'", out.display()))?;
    say::result(&out.display().to_string());
    Ok(())
}

/// Builds the shared library and returns its file.
fn build() -> Result<PathBuf> {
    let mut cargo = checkout::cargo();
    cargo.args(["build", "--quiet", "--release", "--package", PACKAGE]);
    checkout::run(&mut cargo).context("cannot build the library")?;
    Ok(checkout::target("release").join("libsketchfind_c.so"))
}

fn fill(folder: &Path, built: &Path) -> Result<()> {
    let root = checkout::root();
    let version = env!("CARGO_PKG_VERSION");
    let header = fs::read_to_string(root.join("c/include/sketchfind.h"))
        .context("cannot read c/include/sketchfind.h")?;
    let abi = header.lines().find_map(|line| line.strip_prefix("#define SKF_ABI "));
    let abi = abi.context("sketchfind.h does not define SKF_ABI")?;

    let lib = folder.join("lib");
    copy(built, &lib.join(format!("libsketchfind.so.{version}")))?;
    provision::link(&format!("libsketchfind.so.{version}"), &lib.join(format!("libsketchfind.so.{abi}")))?;
    provision::link(&format!("libsketchfind.so.{abi}"), &lib.join("libsketchfind.so"))?;
    let onnx_runtime = onnx_runtime()?;
    let name = onnx_runtime.file_name().context("a library is a file")?.to_string_lossy().into_owned();
    copy(&onnx_runtime, &lib.join(&name))?;
    if name != "libonnxruntime.so" {
        provision::link(&name, &lib.join("libonnxruntime.so"))?;
    }

    for name in ["sketchfind.h", "sketchfind.hpp"] {
        copy(&root.join("c/include").join(name), &folder.join("include").join(name))?;
    }
    copy_folder(&root.join("models/zoo").join(MODEL), &folder.join("share/sketchfind/model"))?;
    copy_folder(&root.join("examples/c"), &folder.join("examples/c"))?;
    copy_folder(&root.join("examples/cpp"), &folder.join("examples/cpp"))?;
    let of_version = |text: &str| text.replace("@VERSION@", version).replace("@ABI@", abi);
    write(&folder.join("README.md"), README)?;
    write(&lib.join("pkgconfig/sketchfind.pc"), &of_version(PKG_CONFIG))?;
    write(&lib.join("cmake/sketchfind/sketchfind-config.cmake"), &of_version(CMAKE))?;
    write(&lib.join("cmake/sketchfind/sketchfind-config-version.cmake"), &of_version(CMAKE_VERSION))?;
    licences(&folder.join("licences"))
}

/// ONNX Runtime's file, with links resolved.
fn onnx_runtime() -> Result<PathBuf> {
    let set = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = set.unwrap_or_else(|| checkout::provisioned("onnxruntime/lib/libonnxruntime.so"));
    path.canonicalize().with_context(|| format!("there is no ONNX Runtime at '{}'", path.display()))
}

/// The licences of all that is in the folder: ours, ONNX Runtime's, and those of the crates that are linked into the library.
fn licences(folder: &Path) -> Result<()> {
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&checkout::root().join(name), &folder.join(name))?;
    }
    fetch::package("onnxruntime")?.unpack(folder, |member| match member {
        "onnxruntime/LICENSE" | "onnxruntime/ThirdPartyNotices.txt" => Some(PathBuf::from(member)),
        _ => None,
    })?;
    let mut table = String::from(
        "# What is linked into libsketchfind.so\n\nEach with its licence; the texts that it comes with are in the folder of its name. \
         Besides these, Rust's standard library (MIT OR Apache-2.0).\n\n| crate | version | licence |\n| --- | --- | --- |\n",
    );
    let metadata =
        checkout::output(checkout::cargo().args(["metadata", "--quiet", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let linked = linked()?;
    let mut n_found = 0;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        // Ours are under the licences above.
        if !linked.contains(&format!("{name} v{version}")) || package["source"].is_null() {
            continue;
        }
        n_found += 1;
        table.push_str(&format!("| {name} | {version} | {} |\n", text("license")));
        let source = Path::new(text("manifest_path")).parent().context("a manifest lies in a folder")?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            if entry.path().is_file() && is_licence(&entry.file_name().to_string_lossy()) {
                copy(&entry.path(), &folder.join(format!("{name}-{version}")).join(entry.file_name()))?;
            }
        }
    }
    if n_found < 10 {
        bail!("only {n_found} crates of `cargo tree` are in `cargo metadata`");
    }
    write(&folder.join("README.md"), &table)
}

/// The crates that are linked into the library, as `name vVERSION`.
fn linked() -> Result<BTreeSet<String>> {
    let mut tree = checkout::cargo();
    tree.args(["tree", "--quiet", "--package", PACKAGE, "--edges", "normal"]);
    let tree = checkout::output(tree.args(["--prefix", "none", "--format", "{p}"]))?;
    let first_two = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(tree.lines().map(first_two).collect())
}

fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["licen", "unlicen", "copying", "copyright", "notice"].iter().any(|start| name.starts_with(start))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy '{}' to '{}'", from.display(), to.display()))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read '{}'", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)
        } else {
            copy(&entry.path(), &target)
        }?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_known_by_their_names() {
        for name in [
            "LICENSE",
            "LICENSE-MIT",
            "license.txt",
            "LICENCE.md",
            "COPYING",
            "UNLICENSE",
            "NOTICE",
            "COPYRIGHT",
        ] {
            assert!(is_licence(name), "{name}");
        }
        for name in ["README.md", "Cargo.toml", "src", "lib.rs", "CHANGELOG.md"] {
            assert!(!is_licence(name), "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_there_stays_as_it_is() {
        let there = tempfile::tempdir().unwrap();
        fs::write(there.path().join("mine"), "kept").unwrap();
        let message = library(there.path(), None).unwrap_err().to_string();
        assert!(message.contains("is there already"), "{message}");
        assert_eq!(fs::read_to_string(there.path().join("mine")).unwrap(), "kept");
    }
}
