//! Embedding a folder of JPEG files against a Python pipeline and against ONNX Runtime alone, all in one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::checkout::{self, provisioned};
use crate::weights::{Known, Profile};
use crate::{emoji, fetch, provision, say, weights};

/// Files of a folder, at least.
const N_FILES: usize = 2_000;
/// Seconds or so that a session without files is measured for.
const BARE_SECS: f64 = 6.0;

/// A network, how often the whole folder goes through it, and the images a second or so that it does.
const NETWORKS: [(Known, &str, usize, f64); 2] =
    [(Known::MobilenetV2, "mobilenet_v2", 3, 200.0), (Known::Resnet50, "resnet50_v1", 1, 25.0)];
const RESIZE: &str = "256";
const CROP: &str = "224";

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    /// One session of all threads, on random pixels.
    Bare,
    /// As many sessions as threads, of one each, on random pixels.
    BareSessions,
    Ours,
    /// Pillow, NumPy and onnxruntime: decode a batch, run it.
    Python,
    /// The same with a pool of threads that decodes ahead.
    PythonAhead,
}

impl Contender {
    const ALL: [Contender; 5] = [
        Contender::Bare,
        Contender::BareSessions,
        Contender::Ours,
        Contender::Python,
        Contender::PythonAhead,
    ];

    fn name(self, n_threads: usize) -> String {
        match self {
            Contender::Bare => format!("ONNX Runtime alone, one session of {n_threads} threads, no files"),
            Contender::BareSessions => format!("the same, {n_threads} sessions of one thread"),
            Contender::Ours => "`sketchfind index build`".into(),
            Contender::Python => "Pillow + NumPy + onnxruntime".into(),
            Contender::PythonAhead => format!("the same, {n_threads} threads decode ahead"),
        }
    }
}

/// What is given to each contender.
struct Case<'a> {
    python: &'a Path,
    photos: &'a Path,
    model: PathBuf,
    n_files: usize,
    n_threads: usize,
    /// Images without files.
    n_bare: usize,
    scratch: &'a Path,
}

/// Prints a table of images a second from a folder to embeddings on the disk.
pub(crate) fn run() -> Result<()> {
    fetch::check_machine()?;
    provision::onnxruntime()?;
    let build = ["build", "--release", "--package", "sketchfind-cli"];
    checkout::run(checkout::cargo().args(build))?;
    let python = provision::embed_python()?;
    let scratch = provisioned("bench/embed");
    fs::create_dir_all(&scratch)?;
    let photos = photos(&python, &scratch)?;
    let n_files = count_jpeg(&photos)?;
    let n_threads = std::thread::available_parallelism()?.get();
    let mut table =
        vec!["| network | | images / s | of ONNX Runtime alone | processor ms an image |".to_owned()];
    table.push("| --- | --- | --- | --- | --- |".into());
    for (known, network, n_rounds, about) in NETWORKS {
        let model = export(known, network)?;
        let n_bare = (BARE_SECS * about) as usize;
        let case =
            Case { python: &python, photos: &photos, model, n_files, n_threads, n_bare, scratch: &scratch };
        let mut figures = vec![Vec::new(); Contender::ALL.len()];
        for round in 1..=n_rounds {
            for (contender, figures) in Contender::ALL.into_iter().zip(&mut figures) {
                say::line(&format!(
                    "== {network}, round {round} of {n_rounds}: {}",
                    contender.name(n_threads)
                ));
                let figure = case.measure(contender)?;
                say::line(&format!("   {:.1} images / s", figure.per_sec));
                figures.push(figure);
            }
        }
        let medians: Vec<Figure> =
            figures.iter().map(|rounds| Figure::median(rounds)).collect::<Result<_>>()?;
        for (contender, figure) in Contender::ALL.into_iter().zip(&medians) {
            table.push(format!(
                "| {network} | {} | {:.1} | {:.2} | {:.2} |",
                contender.name(n_threads),
                figure.per_sec,
                figure.per_sec / medians[0].per_sec,
                1000.0 * figure.cpu_secs
            ));
        }
        let [_, _, ours, python, ahead] = medians.as_slice() else { bail!("a contender is missing") };
        say::line(&format!(
            "{network}: {:.2} times the Python pipeline, {:.2} times the one that decodes ahead",
            ours.per_sec / python.per_sec,
            ours.per_sec / ahead.per_sec
        ));
    }
    say::line(&format!("{n_files} files of '{}', {n_threads} threads", photos.display()));
    say::result(&table.join("\n"));
    Ok(())
}

/// A photo-pre-trained network, exported as it is deployed: uint8 pixels, 256 -> 224, fp32.
pub(crate) fn export(known: Known, network: &str) -> Result<PathBuf> {
    let build = ["build", "--release", "--package", "sketchfind-models", "--example", "export"];
    checkout::run(checkout::cargo().args(build))?;
    let weights = weights::provide(known, Profile::Release)?;
    let folder = provisioned("bench/embed");
    fs::create_dir_all(&folder)?;
    let model = folder.join(network);
    let mut export = checkout::command(checkout::target("release").join("examples/export"));
    checkout::run(export.arg(network).arg(&weights).args([RESIZE, CROP]).arg(&model))?;
    Ok(model)
}

/// Images a second, and seconds of processor time an image.
#[derive(Clone, Copy)]
struct Figure {
    per_sec: f64,
    cpu_secs: f64,
}

impl Figure {
    /// The medians of each.
    fn median(figures: &[Figure]) -> Result<Figure> {
        let median = |of: fn(&Figure) -> f64| -> Result<f64> {
            let mut values: Vec<f64> = figures.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().context("nothing was measured")
        };
        Ok(Figure { per_sec: median(|figure| figure.per_sec)?, cpu_secs: median(|figure| figure.cpu_secs)? })
    }
}

impl Case<'_> {
    fn measure(&self, contender: Contender) -> Result<Figure> {
        let (out, threads) = (self.scratch.join("out"), self.n_threads.to_string());
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        fs::create_dir_all(&out)?;
        let mut peer = checkout::command(self.python);
        peer.arg("benches/embed.py");
        match contender {
            Contender::Bare | Contender::BareSessions => {
                peer.arg("bare").arg(&self.model).args(["--threads", &threads]);
                peer.args(["--images", &self.n_bare.to_string()]);
                if contender == Contender::BareSessions {
                    peer.arg("--sessions");
                }
                let said = checkout::output(&mut peer)?;
                let numbers: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
                let &[per_sec, cpu_secs] = numbers.as_slice() else { bail!("the peer said '{said}'") };
                Ok(Figure { per_sec, cpu_secs })
            }
            Contender::Ours => {
                let mut ours = checkout::command(checkout::target("release").join("sketchfind"));
                ours.args(["index", "build", "--fresh", "--threads", &threads]);
                ours.arg("--model").arg(&self.model).arg("--photos").arg(self.photos);
                self.whole(ours.arg("--out").arg(out.join("gallery")))
            }
            Contender::Python | Contender::PythonAhead => {
                peer.arg("files").arg(&self.model).arg(self.photos).arg(out.join("embeddings.npy"));
                peer.args(["--threads", &threads]);
                if contender == Contender::PythonAhead {
                    peer.arg("--ahead");
                }
                self.whole(&mut peer)
            }
        }
    }

    /// A program from its start to its end.
    fn whole(&self, program: &mut std::process::Command) -> Result<Figure> {
        let (started, used) = (Instant::now(), children_secs()?);
        checkout::run(program)?;
        let (secs, used) = (started.elapsed().as_secs_f64(), children_secs()? - used);
        Ok(Figure { per_sec: self.n_files as f64 / secs, cpu_secs: used / self.n_files as f64 })
    }
}

/// Seconds of processor time that programs took which this one has started and which have ended.
fn children_secs() -> Result<f64> {
    let said = fs::read_to_string("/proc/self/stat").context("processor time is read as Linux gives it")?;
    // Behind the program's name in brackets, `cutime` and `cstime` are the 14th and 15th field, in hundredths.
    let fields: Vec<&str> = said.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let of = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a field is missing")?.parse()?) };
    Ok((of(13)? + of(14)?) / 100.0)
}

/// Real photos where they are beside the checkout, the demo's renderings otherwise.
pub(crate) fn photos(python: &Path, scratch: &Path) -> Result<PathBuf> {
    let shared = std::env::var_os("SKETCHFIND_SHARED_DATA")
        .map_or_else(|| checkout::root().join("../shared/data"), PathBuf::from)
        .join("shoe-v2-photos");
    if shared.is_dir() {
        return Ok(shared);
    }
    let renderings = scratch.join("renderings");
    if !renderings.is_dir() || count_jpeg(&renderings)? < N_FILES {
        if renderings.exists() {
            fs::remove_dir_all(&renderings)?;
        }
        let emoji = emoji::provide()?.join("photo");
        let mut jpeg = checkout::command(python);
        jpeg.args(["benches/embed.py", "jpeg"]).arg(emoji).arg(&renderings);
        checkout::run(jpeg.args(["--images", &N_FILES.to_string()]))?;
    }
    Ok(renderings)
}

/// The JPEG files of a folder.
pub(crate) fn count_jpeg(folder: &Path) -> Result<usize> {
    let mut n = 0;
    for entry in fs::read_dir(folder)? {
        n += usize::from(entry?.path().extension().is_some_and(|ending| ending == "jpg"));
    }
    Ok(n)
}
