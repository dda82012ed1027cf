//! The library for C and C++: library, headers, ONNX Runtime, a model, licences, examples, and what pkg-config and CMake want to
//! know. Paths in it are relative.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::licences;
use super::{built, copy, copy_folder, folder, model, onnx_runtime, write};
use crate::{checkout, provision};

/// The package that the library is made of, and its file.
const PACKAGE: &str = "sketchfind-c";
const MADE: &str = "libsketchfind_c.so";

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

/// Makes the folder `out`, which is not there yet, with the library of this file, or else one that is built for it.
pub(crate) fn library(out: &Path, file: Option<&Path>) -> Result<()> {
    folder(out, |folder| fill(folder, &built(PACKAGE, MADE, file)?))
}

fn fill(folder: &Path, file: &Path) -> Result<()> {
    let root = checkout::root();
    let version = env!("CARGO_PKG_VERSION");
    let header = fs::read_to_string(root.join("c/include/sketchfind.h"))
        .context("cannot read c/include/sketchfind.h")?;
    let abi = header.lines().find_map(|line| line.strip_prefix("#define SKF_ABI "));
    let abi = abi.context("sketchfind.h does not define SKF_ABI")?;

    let lib = folder.join("lib");
    copy(file, &lib.join(format!("libsketchfind.so.{version}")))?;
    provision::link(&format!("libsketchfind.so.{version}"), &lib.join(format!("libsketchfind.so.{abi}")))?;
    provision::link(&format!("libsketchfind.so.{abi}"), &lib.join("libsketchfind.so"))?;
    onnx_runtime(&lib)?;

    for name in ["sketchfind.h", "sketchfind.hpp"] {
        copy(&root.join("c/include").join(name), &folder.join("include").join(name))?;
    }
    model(&folder.join("share"))?;
    copy_folder(&root.join("examples/c"), &folder.join("examples/c"))?;
    copy_folder(&root.join("examples/cpp"), &folder.join("examples/cpp"))?;
    let of_version = |text: &str| text.replace("@VERSION@", version).replace("@ABI@", abi);
    write(&folder.join("README.md"), README)?;
    write(&lib.join("pkgconfig/sketchfind.pc"), &of_version(PKG_CONFIG))?;
    write(&lib.join("cmake/sketchfind/sketchfind-config.cmake"), &of_version(CMAKE))?;
    write(&lib.join("cmake/sketchfind/sketchfind-config-version.cmake"), &of_version(CMAKE_VERSION))?;
    licences::of_all(&folder.join("licences"), PACKAGE, "libsketchfind.so")
}
