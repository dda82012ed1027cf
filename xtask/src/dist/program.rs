//! The program: one folder with all that it needs, which runs from anywhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::glibc::newest;
use super::licences;
use super::{built, copy, folder, model, onnx_runtime, write};
use crate::{checkout, say};

const PACKAGE: &str = "sketchfind-cli";

const README: &str = "\
# sketchfind @VERSION@

Finds the photos that a drawing shows. Draw over any folder of photos:

```sh
bin/sketchfind draw FOLDER
```

Nothing is installed: this folder can lie anywhere, and `bin/sketchfind` can be linked to from a folder of your path. It runs on
@SYSTEM@.

| | |
| --- | --- |
| `bin/sketchfind` | the program; `bin/sketchfind help` |
| `lib/libonnxruntime.so` | ONNX Runtime, which the program finds there; the environment variable `ORT_DYLIB_PATH` names another |
| `share/sketchfind/model` | the model that is used where none is named, see `CARD.md` there |
| `share/man` | manual pages: `man -M share/man sketchfind` |
| `share/bash-completion`, `share/zsh`, `share/fish` | completions for shells |
| `licences` | of all that is in here |

Nobody is told what you do with it, and no network is used.
";

/// Where shells look for completions below a `share`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/sketchfind"),
    ("zsh", "zsh/site-functions/_sketchfind"),
    ("fish", "fish/vendor_completions.d/sketchfind.fish"),
];

/// Makes the folder `out`, which is not there yet, with the program of this file, or else one that is built for it.
pub(crate) fn program(out: &Path, file: Option<&Path>) -> Result<()> {
    folder(out, |folder| fill(folder, &built(PACKAGE, "sketchfind", file)?))
}

fn fill(folder: &Path, file: &Path) -> Result<()> {
    let program = folder.join("bin/sketchfind");
    copy(file, &program)?;
    let library = onnx_runtime(&folder.join("lib"))?;
    let share = folder.join("share");
    model(&share)?;
    // What it says of itself, as it lies there.
    let man = share.join("man/man1");
    checkout::output(Command::new(&program).args(["man", "--quiet", "--out"]).arg(&man))?;
    for (shell, place) in COMPLETIONS {
        write(&share.join(place), &checkout::output(Command::new(&program).args(["completions", shell]))?)?;
    }
    let system = system(&[&program, &library])?;
    say::line(&format!("it runs on {system}"));
    write(
        &folder.join("README.md"),
        &README.replace("@VERSION@", env!("CARGO_PKG_VERSION")).replace("@SYSTEM@", &system),
    )?;
    licences::of_all(&folder.join("licences"), PACKAGE, "bin/sketchfind")
}

/// The systems that these files run on, in words.
pub(crate) fn system(files: &[&Path]) -> Result<String> {
    let glibc = newest(files, "GLIBC_")?.context("the program asks for no version of glibc")?;
    let cxx = newest(files, "GLIBCXX_")?
        .map(|version| format!(" and libstdc++ with GLIBCXX_{version} or later"))
        .unwrap_or_default();
    Ok(format!("Linux ({}) with glibc {glibc} or later{cxx}", std::env::consts::ARCH))
}
