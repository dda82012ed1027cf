//! Beyond one machine: what workers of Ray give against `sketchfind index build` on the same photos, and what a node adds.

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::checkout::{self, provisioned};
use crate::weights::Known;
use crate::{bench_embed, fetch, provision, say, wheel};

/// Rounds, so that a slow minute of the machine meets all.
const N_ROUNDS: usize = 3;
/// Processors of `index build`, and nodes of Ray with one each.
const SIZES: [usize; 2] = [1, 2];

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Embedding by Ray Data.
    Ray,
}

/// Measures all parts, or one.
pub(crate) fn run(only: Option<Part>) -> Result<()> {
    fetch::check_machine()?;
    if only.is_none_or(|part| part == Part::Ray) {
        ray()?;
    }
    Ok(())
}

/// Images a second of a whole run, and, for Ray, without what its workers take to start.
#[derive(Clone, Copy)]
struct Figure {
    whole: f64,
    steady: Option<f64>,
}

fn ray() -> Result<()> {
    provision::onnxruntime()?;
    checkout::run(checkout::cargo().args(["build", "--release", "--package", "sketchfind-cli"]))?;
    let python = provision::ray_python()?;
    wheel::install_into(&wheel::build(true)?, &python)?;
    let scratch = provisioned("bench/scale");
    fs::create_dir_all(&scratch)?;
    let photos = bench_embed::photos(&provision::embed_python()?, &scratch)?;
    let n_photos = bench_embed::count_jpeg(&photos)?;
    let model = bench_embed::export(Known::MobilenetV2, "mobilenet_v2")?;

    let mut figures: Vec<(String, Vec<Figure>)> = Vec::new();
    for n in SIZES {
        figures.push((format!("`sketchfind index build --threads {n}`"), Vec::new()));
    }
    for n in SIZES {
        figures.push((format!("Ray, {n} node{} of one processor", if n > 1 { "s" } else { "" }), Vec::new()));
    }
    for round in 1..=N_ROUNDS {
        for (place, (name, own)) in figures.iter_mut().enumerate() {
            say::line(&format!("== round {round} of {N_ROUNDS}: {name}"));
            let (n, out) = (SIZES[place % SIZES.len()].to_string(), scratch.join("out"));
            if out.exists() {
                fs::remove_dir_all(&out)?;
            }
            own.push(if place < SIZES.len() {
                let mut build = checkout::command(checkout::target("release").join("sketchfind"));
                build.args(["index", "build", "--fresh", "--threads", &n]).arg("--model").arg(&model);
                let started = Instant::now();
                checkout::run(build.arg("--photos").arg(&photos).arg("--out").arg(out.join("gallery")))?;
                Figure { whole: n_photos as f64 / started.elapsed().as_secs_f64(), steady: None }
            } else {
                let mut embed = checkout::command(&python);
                embed.arg("benches/ray_embed.py").arg(&model).arg(&photos).arg(&out).args(["--nodes", &n]);
                let said = checkout::output(&mut embed)?;
                let numbers: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
                let &[secs, steady, n_embedded] = numbers.as_slice() else {
                    bail!("Ray's run said '{said}'")
                };
                Figure { whole: n_embedded / secs, steady: Some(steady) }
            });
        }
    }
    let mut table = vec!["| | images / s, the whole run | once workers run |".to_owned()];
    table.push("| --- | --- | --- |".into());
    for (name, own) in &figures {
        let whole = median(own.iter().map(|figure| figure.whole));
        let steady = median(own.iter().filter_map(|figure| figure.steady));
        let steady = steady.map_or_else(String::new, |steady| format!("{steady:.1}"));
        table.push(format!("| {name} | {:.1} | {steady} |", whole.unwrap_or_default()));
    }
    say::line(&format!("{n_photos} files of '{}'", photos.display()));
    say::result(&table.join("\n"));
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
