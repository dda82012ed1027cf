//! Packs for a machine that has a GPU, and no network: programs, data and scripts that measure in one call.

mod fatbin;
mod half_weights;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::dist::{self, copy, folder, licences, write};
use crate::weights::{Known, Profile};
use crate::{checkout, emoji, fetch, provision, say, weights};

/// The generation of GPUs whose code is packed: H100 and H200.
const GENERATION: u32 = 90;
/// The most that a pack may weigh: with a checkout of 10 MiB it stays below 64.
const MOST_BYTES: u64 = 54 << 20;
/// Pairs of the emoji that are packed where no data set is named: enough for steps of 16, few enough to be small.
const N_TRAIN: usize = 64;
const N_TEST: usize = 32;

/// What runs the parts of either pack.
const SCRIPTS: [&str; 4] =
    ["xtask/gpu/run.sh", "xtask/gpu/run.py", "xtask/gpu/pack.py", "xtask/gpu/material.py"];

/// What a pack measures.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The runtime: verify, embedding a gallery, what ran where.
    Inference,
    /// The trainer: steps, and ResNet50 by meta and baseline on a data set.
    Training,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Inference => "inference",
            Kind::Training => "training",
        }
    }

    /// What the pack brings along of programs. The trainer makes the networks that inference runs.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Kind::Inference => &["sketchfind", "sketchfind-train", "examples/device"],
            Kind::Training => &["sketchfind-train"],
        }
    }

    /// Scripts of the checkout that the pack runs.
    fn scripts(self) -> &'static [&'static str] {
        match self {
            Kind::Inference => &["xtask/gpu/inference.py", "benches/embed_torch.py"],
            Kind::Training => {
                &["xtask/gpu/training.py", "benches/train.py", "trainer/configs/study-resnet50.toml"]
            }
        }
    }
}

/// What is packed.
pub(crate) struct Options<'a> {
    pub(crate) kind: Kind,
    /// The pack's folder, which is not there yet.
    pub(crate) out: &'a Path,
    /// The data set; by default a part of the emoji's.
    pub(crate) data: Option<&'a Path>,
    /// The folder of programs that are built already: a rehearsal, packed quickly, and without what takes long or is not provisioned.
    pub(crate) programs: Option<&'a Path>,
}

/// Makes a pack and says where it is and what it weighs.
pub(crate) fn pack(options: &Options<'_>) -> Result<()> {
    folder(options.out, |pack| {
        fill(pack, options)?;
        let n_bytes = size(pack)?;
        say::line(&format!("it weighs {:.1} MiB", n_bytes as f64 / f64::from(1 << 20)));
        // Programs with checks in them, packed quickly, weigh more than what is taken to a machine.
        if n_bytes > MOST_BYTES && options.programs.is_none() {
            bail!(
                "the pack weighs {n_bytes} bytes, at most {MOST_BYTES} are allowed: name a smaller data set by --data"
            );
        }
        Ok(())
    })
}

fn fill(pack: &Path, options: &Options<'_>) -> Result<()> {
    let &Options { kind, data, programs, .. } = options;
    let root = checkout::root();
    fs::create_dir_all(pack)?;
    for script in SCRIPTS.iter().chain(kind.scripts()) {
        let from = root.join(script);
        copy(&from, &pack.join(from.file_name().context("a script has a name")?))?;
    }
    let data = match data {
        Some(data) => data.to_owned(),
        None => emoji::provide()?,
    };
    take_pairs(&data, &pack.join("data"), options.data.is_none().then_some((N_TRAIN, N_TEST)))?;

    let unpacked = tempfile::tempdir()?;
    let inner = unpacked.path();
    let system = put_programs(kind, programs, &inner.join("bin"))?;
    say::line(&format!("it runs on {system}"));
    write(&pack.join("README.md"), &readme(kind, &system))?;
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root.join(name), &inner.join("licences").join(name))?;
    }
    licences::of_crates(&inner.join("licences/sketchfind-train"), "sketchfind-trainer", "sketchfind-train")?;
    match kind {
        Kind::Inference => {
            licences::of_crates(&inner.join("licences/sketchfind"), "sketchfind-cli", "sketchfind")?;
            dist::model(&inner.join("share"))?;
            put_provider(inner, programs.is_some())?;
        }
        Kind::Training if programs.is_none() => put_weights(pack)?,
        // To compress them takes longer than all the rest.
        Kind::Training => say::line("left out: ResNet50's weights; those of this pack are random"),
    }
    compress("folder", inner, &pack.join("payload.tar.xz"), programs.is_some())
}

/// Puts the programs into `bin`, without their symbols, and returns the systems that they run on.
fn put_programs(kind: Kind, built: Option<&Path>, bin: &Path) -> Result<String> {
    let from = match built {
        Some(built) => std::path::absolute(built)?,
        None => {
            provision::libtorch()?;
            provision::onnxruntime()?;
            let packages = ["--package", "sketchfind-cli", "--package", "sketchfind-trainer"];
            checkout::run(checkout::cargo().args(["build", "--release"]).args(packages))?;
            let example = ["--package", "sketchfind", "--example", "device"];
            checkout::run(checkout::cargo().args(["build", "--release"]).args(example))?;
            checkout::target("release")
        }
    };
    fs::create_dir_all(bin)?;
    let mut packed = Vec::new();
    for program in kind.programs() {
        let program = from.join(program);
        let to = bin.join(program.file_name().context("a program has a name")?);
        let mut strip = checkout::command("strip");
        checkout::run(strip.arg("-o").arg(&to).arg(&program))
            .with_context(|| format!("cannot pack '{}'", program.display()))?;
        packed.push(to);
    }
    dist::system(&packed.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

/// Puts ONNX Runtime for CUDA into the folder `lib`, and its licences beside it. A rehearsal does without where it is not there.
fn put_provider(inner: &Path, is_rehearsal: bool) -> Result<()> {
    let package = fetch::package("onnxruntime-gpu")?;
    if is_rehearsal && !package.is_fetched() {
        say::line("left out: the CUDA execution provider, because onnxruntime-gpu is not provisioned");
        return Ok(());
    }
    package.unpack(inner, |member| {
        let (folder, name) = member.rsplit_once('/')?;
        match (folder, name) {
            ("onnxruntime", "LICENSE" | "ThirdPartyNotices.txt") => {
                Some(Path::new("licences/onnxruntime-gpu").join(name))
            }
            ("onnxruntime/capi", name)
                if name.starts_with("libonnxruntime.so.")
                    || name == "libonnxruntime_providers_shared.so"
                    || name == "libonnxruntime_providers_cuda.so" =>
            {
                Some(Path::new("lib").join(name))
            }
            _ => None,
        }
    })?;
    let provider = inner.join("lib/libonnxruntime_providers_cuda.so");
    let mut library = fs::read(&provider).with_context(|| format!("cannot read '{}'", provider.display()))?;
    let pruned = fatbin::prune(&mut library, GENERATION, true)
        .with_context(|| format!("cannot prune '{}'", provider.display()))?;
    let megabytes = |n_bytes: u64| n_bytes as f64 / 1e6;
    for (generation, n_bytes) in &pruned.before {
        say::line(&format!(
            "   the CUDA execution provider for sm_{generation}: {:.1} MB",
            megabytes(*n_bytes)
        ));
    }
    say::line(&format!("   of which {:.1} MB for sm_{GENERATION} are packed", megabytes(pruned.n_left)));
    Ok(fs::write(&provider, library)?)
}

/// Puts ResNet50's photo-pre-trained weights into the pack, in 16 bits and without its classifier.
fn put_weights(pack: &Path) -> Result<()> {
    const NAME: &str = "resnet50_v1.safetensors";
    let path = weights::provide(Known::Resnet50, Profile::Release)?;
    let weights = fs::read(&path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let halved = half_weights::halved(&weights, "fc.")
        .with_context(|| format!("cannot halve '{}'", path.display()))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(NAME);
    fs::write(&file, halved)?;
    compress("numbers", &file, &pack.join(format!("{NAME}.xz")), false)
}

fn compress(what: &str, from: &Path, to: &Path, is_quick: bool) -> Result<()> {
    let mut python = checkout::command("python3");
    python.arg("xtask/gpu/compress.py").arg(what).arg(from).arg(to);
    if is_quick {
        python.arg("--quick");
    }
    checkout::run(&mut python)
}

/// Copies a data set: all of it, or so many instances of each split.
fn take_pairs(data: &Path, to: &Path, most: Option<(usize, usize)>) -> Result<()> {
    let from = if data.is_file() { data.parent().unwrap_or(data).to_owned() } else { data.to_owned() };
    let manifest = if data.is_file() { data.to_owned() } else { data.join("manifest.csv") };
    let mut reader =
        csv::Reader::from_path(&manifest).with_context(|| format!("cannot read '{}'", manifest.display()))?;
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header == name);
        found.with_context(|| format!("'{}' has no column {name}", manifest.display()))
    };
    let (instance, split, path) = (column("instance")?, column("split")?, column("path")?);
    fs::create_dir_all(to)?;
    let mut writer = csv::Writer::from_path(to.join("manifest.csv"))?;
    writer.write_record(&headers)?;
    let (mut train, mut test) = (BTreeSet::new(), BTreeSet::new());
    for row in reader.records() {
        let row = row.with_context(|| format!("'{}'", manifest.display()))?;
        if let Some((n_train, n_test)) = most {
            let (taken, n) = if &row[split] == "train" { (&mut train, n_train) } else { (&mut test, n_test) };
            if taken.len() == n && !taken.contains(&row[instance]) {
                continue;
            }
            taken.insert(row[instance].to_owned());
        }
        let relative = PathBuf::from(&row[path]);
        if relative.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            bail!(
                "'{}': the path '{}' leads out of the data set, and cannot be packed",
                manifest.display(),
                &row[path]
            );
        }
        copy(&from.join(&relative), &to.join(&relative))?;
        writer.write_record(&row)?;
    }
    writer.flush()?;
    let licences = from.join("LICENCES.md");
    if licences.is_file() { copy(&licences, &to.join("LICENCES.md")) } else { Ok(()) }
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut n_bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        n_bytes += if path.is_dir() { size(&path)? } else { path.metadata()?.len() };
    }
    Ok(n_bytes)
}

fn readme(kind: Kind, system: &str) -> String {
    format!(
        "# sketchfind on a GPU: {}\n\nMade by `cargo xtask gpu pack`. On the machine with the GPU:\n\n\
         ```sh\nOUT=results sh run.sh\n```\n\nIt runs on {system}. It needs Python 3.11.4 or later with PyTorch 2.11 for CUDA 13 and the nvidia packages that \
         come with it, and no network. `sh run.sh --help` tells its options, docs/gpu.md of the repository what each file of \
         results holds. Licences are in `payload.tar.xz`, of the pictures in `data`.\n",
        kind.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_set(folder: &Path, path_of_last: &str) {
        let mut manifest = "id,modality,instance,split,path\n".to_owned();
        for (number, split) in ["train", "test", "train", "train"].iter().enumerate() {
            for modality in ["photo", "sketch"] {
                let path =
                    if number == 3 { path_of_last.to_owned() } else { format!("{modality}/{number}.png") };
                manifest += &format!("{modality}/{number},{modality},{number},{split},{path}\n");
                write(&folder.join(&path), "a picture").unwrap();
            }
        }
        write(&folder.join("manifest.csv"), &manifest).unwrap();
        write(&folder.join("LICENCES.md"), "terms").unwrap();
    }

    #[test]
    fn a_part_of_a_data_set_has_whole_pairs_and_its_terms() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        data_set(&from, "last.png");
        take_pairs(&from, &to, Some((2, 1))).unwrap();
        let manifest = fs::read_to_string(to.join("manifest.csv")).unwrap();
        let ids: Vec<&str> = manifest.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(ids, ["photo/0", "sketch/0", "photo/1", "sketch/1", "photo/2", "sketch/2"]);
        assert!(to.join("sketch/2.png").is_file() && !to.join("last.png").exists());
        assert!(to.join("LICENCES.md").is_file());
        assert_eq!(size(&to).unwrap(), 6 * 9 + 5 + manifest.len() as u64);
        // All of it, named by its manifest.
        take_pairs(&from.join("manifest.csv"), &place.path().join("whole"), None).unwrap();
        assert!(place.path().join("whole/last.png").is_file());
    }

    #[test]
    fn a_picture_outside_of_its_data_set_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        data_set(&from, "../elsewhere.png");
        let message = take_pairs(&from, &place.path().join("to"), None).unwrap_err().to_string();
        assert!(message.contains("'../elsewhere.png' leads out"), "{message}");
    }
}
