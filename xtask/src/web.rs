//! The drawing page: its compiler, its compiled files, and a browser that tests drive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::checkout::{self, provisioned};
use crate::{fetch, provision, say, stage};

/// The page's folder.
const WEB: &str = "serve/web";
/// Where Debian puts Chromium.
const INSTALLED: &str = "/usr/bin/chromium";

/// The page's tools out of npm (TypeScript, playwright-core), as its lock file has them: each with a hash. Returns their
/// folder, which holds `node_modules`.
pub(crate) fn tools() -> Result<PathBuf> {
    let folder = provisioned("web");
    let web = checkout::root().join(WEB);
    let lock =
        fs::read_to_string(web.join("package-lock.json")).context("cannot read the page's lock file")?;
    let key = stage::key(&["web 1", &lock]);
    if stage::is_current(&folder, &key) {
        return Ok(folder);
    }
    fetch::check_machine()?;
    stage::folder(&folder, &key, "the page's compiler and the browser's driver (npm, 13 MB)", |new| {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(web.join(file), new.join(file))?;
        }
        let mut npm = checkout::command("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]).current_dir(new);
        checkout::run(npm.stdout(std::io::stderr()))
    })?;
    Ok(folder)
}

/// Compiles the page into `out`.
fn compile(out: &Path) -> Result<()> {
    let compiler = tools()?.join("node_modules/typescript/bin/tsc");
    let mut node = checkout::command("node");
    node.arg(compiler).arg("--project").arg(WEB).arg("--outDir").arg(out);
    checkout::run(node.stdout(std::io::stderr())).context("the page does not compile")
}

/// Compiles the page into the files that the program holds.
pub(crate) fn build() -> Result<()> {
    let built = checkout::root().join(WEB).join("built");
    if built.exists() {
        fs::remove_dir_all(&built)?;
    }
    compile(&built)
}

/// Checks that the compiled files that are kept are what the compiler makes of the page now.
pub(crate) fn check() -> Result<()> {
    let fresh = tempfile::tempdir()?;
    compile(fresh.path())?;
    let built = checkout::root().join(WEB).join("built");
    let [kept, made] = [&built, fresh.path()].map(files);
    let (kept, made) = (kept?, made?);
    if kept == made {
        return Ok(());
    }
    let differs = |name: &&String| kept.get(*name) != made.get(*name);
    let names: std::collections::BTreeSet<&String> = kept.keys().chain(made.keys()).filter(differs).collect();
    let names = names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    bail!("{WEB}/built is not what {WEB}/src compiles to: {names}. `cargo xtask page` compiles it")
}

fn files(folder: &Path) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read '{}'", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, fs::read(&path)?);
    }
    Ok(files)
}

/// A Chromium: the one that SKETCHFIND_CHROMIUM names, Debian's, or one out of npm with the libraries that it needs.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("SKETCHFIND_CHROMIUM").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    if Path::new(INSTALLED).exists() {
        return Ok(PathBuf::from(INSTALLED));
    }
    let folder = provisioned("chromium");
    let package = fetch::package("@sparticuz/chromium")?;
    let key = stage::key(&["chromium 3", &package.sha256]);
    stage::folder(&folder, &key, "headless Chromium (68 MB to fetch, 210 MB on disk)", |new| {
        package.unpack(new, |member| match member {
            "bin/chromium.br" | "bin/al2023.tar.br" | "bin/fonts.tar.br" => {
                member.strip_prefix("bin/").map(PathBuf::from)
            }
            _ => None,
        })?;
        // Node knows Brotli, and is needed for the tests anyway.
        for name in ["chromium", "al2023.tar", "fonts.tar"] {
            let mut node = checkout::command("node");
            node.args(["--eval", DECOMPRESS]).arg(new.join(format!("{name}.br"))).arg(new.join(name));
            checkout::run(&mut node)?;
            fs::remove_file(new.join(format!("{name}.br")))?;
        }
        for name in ["al2023.tar", "fonts.tar"] {
            tar::Archive::new(fs::File::open(new.join(name))?).unpack(new)?;
            fs::remove_file(new.join(name))?;
        }
        // It is started with its own libraries and fonts, which are beside it. The package's own list of fonts names folders
        // of the service that the package was made for; a browser that finds no font at all crashes at the first letter. Of
        // fontconfig's folders only that of fonts may be relative to the list: that of caches follows XDG_CACHE_HOME.
        fs::write(new.join("fonts.conf"), FONTS)?;
        let start = new.join("start");
        fs::write(&start, START)?;
        executable(&new.join("chromium"))?;
        executable(&start)
    })?;
    Ok(folder.join("start"))
}

const DECOMPRESS: &str = "const [from, to] = process.argv.slice(1); const fs = require('fs'); \
                          fs.writeFileSync(to, require('zlib').brotliDecompressSync(fs.readFileSync(from)))";

const FONTS: &str = "<?xml version=\"1.0\"?>\n\
                     <!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n\
                     <fontconfig>\n\
                     <dir prefix=\"relative\">fonts</dir>\n\
                     <cachedir prefix=\"xdg\">fontconfig</cachedir>\n\
                     </fontconfig>\n";

const START: &str = "#!/bin/sh\n\
                     here=$(dirname \"$(readlink -f \"$0\")\")\n\
                     export LD_LIBRARY_PATH=$here/lib FONTCONFIG_PATH=$here XDG_CACHE_HOME=$here/cache\n\
                     exec \"$here/chromium\" \"$@\"\n";

#[cfg(unix)]
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Ok(())
}

/// What tests of the page are told: where its tools, a browser and, for slow tests, the API's tester are. A part that
/// cannot be had is left out, and the tests that need it say so.
pub(crate) fn surroundings(is_slow: bool) -> Vec<(&'static str, PathBuf)> {
    type Provide = fn() -> Result<PathBuf>;
    let mut wanted: Vec<(&str, Provide)> = vec![("SKETCHFIND_WEB", tools), ("SKETCHFIND_CHROMIUM", chromium)];
    if is_slow {
        wanted.push(("SKETCHFIND_SCHEMATHESIS", provision::schemathesis));
    }
    let mut found = Vec::new();
    for (variable, provide) in wanted {
        match provide() {
            Ok(path) => found.push((variable, path)),
            Err(error) => say::line(&format!("   no {variable}: {error:#}")),
        }
    }
    found
}
