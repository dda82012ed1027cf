//! Times search against faiss, hnswlib and usearch: exact and by graphs at equal recall.
//!
//! `SKETCHFIND_SEARCH_ROWS` makes the larger matrix smaller than 100,000 rows, and the other likewise, for a trial;
//! `SKETCHFIND_BENCH_PART` is `embed`, `exact`, `graphs` or `latency` where only that part of `bench runtime` is wanted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::checkout::{self, provisioned};
use crate::weights::Known;
use crate::{bench_embed, emoji, fetch, provision, say};

const N_ROWS: usize = 100_000;
const N_QUERIES: usize = 1_000;
/// The model, the photos and the starts of the program by which one sketch's time is measured.
const ZOO: &str = "models/zoo/general-mobilenet_v2";
const N_PHOTOS: usize = 10_000;
const N_COLD: usize = 11;
/// Width, and what share of [`N_ROWS`] has it.
const MATRICES: [(usize, usize); 2] = [(512, 1), (2048, 5)];
/// Ours and the peer's runs of exact search take turns this many times, so that a slow minute meets both.
const N_ROUNDS: usize = 2;
/// Each with 16 neighbours and 200 candidates in building: ours by its ordinary parameters, the peers in `benches/search.py`.
const GRAPHS: [&str; 4] = ["hnsw", "hnswlib", "faiss-hnsw", "usearch"];

/// Prints a table of exact search and one of graphs.
pub(crate) fn run() -> Result<()> {
    if !["exact", "graphs", "latency"].into_iter().any(is_wanted) {
        return Ok(());
    }
    fetch::check_machine()?;
    let n_rows = match std::env::var("SKETCHFIND_SEARCH_ROWS") {
        Ok(rows) => rows.parse().with_context(|| format!("SKETCHFIND_SEARCH_ROWS is '{rows}'"))?,
        Err(_) => N_ROWS,
    };
    let example = ["build", "--release", "--package", "sketchfind", "--example", "search"];
    checkout::run(checkout::cargo().args(example))?;
    let bench = Bench {
        ours: checkout::target("release").join("examples/search"),
        python: provision::search_python()?,
    };
    let started = Instant::now();
    let mut exact = vec![
        "| matrix | threads | ours prepares | queries | ours, queries / s | faiss IndexFlat | ours / faiss |"
            .to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".into(),
    ];
    let mut graphs = vec![
        "| matrix | index | build, two threads | memory beside the rows | recall@10 | ef | one thread, queries / s | two |"
            .to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- | --- |".into(),
    ];
    for (width, share) in MATRICES {
        let rows = n_rows / share;
        let folder = bench.data(rows, width)?;
        let name = format!("{rows} x {width}");
        for threads in [1, 2].into_iter().filter(|_| is_wanted("exact")) {
            let (mut ours, mut theirs) = (Rates::default(), Rates::default());
            for round in 1..=N_ROUNDS {
                say::line(&format!("== exact, {name}, {threads} threads, round {round} of {N_ROUNDS}"));
                ours.take(&bench.ours("exact", &folder, width, threads)?)?;
                theirs.take(&bench.theirs("faiss-flat", &folder, width, threads)?)?;
            }
            // What is made before the first search, where faiss makes nothing.
            let mib = ours.memory / f64::from(1 << 20);
            let prepared = format!("{:.1} s, {mib:.0} MiB", ours.prepare);
            for (what, ours, theirs) in
                [("1,000 together", ours.batch, theirs.batch), ("one by one", ours.one, theirs.one)]
            {
                let ratio = ours / theirs;
                let row = format!(
                    "| {name} | {threads} | {prepared} | {what} | {ours:.0} | {theirs:.0} | {ratio:.2} |"
                );
                say::line(&row);
                exact.push(row);
            }
        }
        for index in GRAPHS.into_iter().filter(|_| is_wanted("graphs")) {
            say::line(&format!("== {index}, {name}"));
            let measured = match index {
                "hnsw" => bench.ours(index, &folder, width, 2)?,
                _ => bench.theirs(index, &folder, width, 2)?,
            };
            // Said at once: what follows may take minutes, and may be stopped.
            say::line(&measured.to_string());
            let (build, memory) = (number(&measured["build"])?, number(&measured["memory"])?);
            for point in measured["points"].as_array().context("no points were measured")? {
                graphs.push(format!(
                    "| {name} | {} | {build:.1} s | {:.0} MiB | {:.4} | {} | {:.0} | {:.0} |",
                    if index == "hnsw" { "ours" } else { index },
                    memory / f64::from(1 << 20),
                    number(&point["recall"])?,
                    point["ef"],
                    number(&point["rates"][0])?,
                    number(&point["rates"][1])?
                ));
            }
        }
    }
    for (part, table) in [("exact", exact), ("graphs", graphs)] {
        if is_wanted(part) {
            say::result(&format!("{}\n", table.join("\n")));
        }
    }
    if is_wanted("latency") {
        say::result(&bench.latency()?);
    }
    say::line(&format!("in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Whether a part of `bench runtime` is to be measured.
pub(crate) fn is_wanted(part: &str) -> bool {
    std::env::var("SKETCHFIND_BENCH_PART").is_ok_and(|wanted| wanted == part)
        || std::env::var_os("SKETCHFIND_BENCH_PART").is_none()
}

#[derive(Default)]
struct Rates {
    batch: f64,
    one: f64,
    /// Seconds and bytes of the last preparation; faiss has none.
    prepare: f64,
    memory: f64,
}

impl Rates {
    /// Keeps the better one of each.
    fn take(&mut self, measured: &Value) -> Result<()> {
        self.batch = self.batch.max(number(&measured["batch"])?);
        self.one = self.one.max(number(&measured["one"])?);
        self.prepare = measured["prepare"].as_f64().unwrap_or(0.0);
        self.memory = measured["memory"].as_f64().unwrap_or(0.0);
        Ok(())
    }
}

struct Bench {
    ours: PathBuf,
    python: PathBuf,
}

impl Bench {
    /// The folder of a matrix and queries, made where they are not there.
    fn data(&self, rows: usize, width: usize) -> Result<PathBuf> {
        let folder = provisioned(&format!("bench/search/{rows}x{width}"));
        let n_bytes = |name: &str| folder.join(name).metadata().map_or(0, |file| file.len());
        let expected = |n: usize| (n * width * 4) as u64;
        if n_bytes("base.f32") != expected(rows) || n_bytes("queries.f32") != expected(N_QUERIES) {
            fs::create_dir_all(&folder)?;
            let mut make = checkout::command(&self.ours);
            make.arg("make").arg(&folder).args([rows, width, N_QUERIES].map(|number| number.to_string()));
            checkout::run(&mut make)?;
        }
        Ok(folder)
    }

    /// How long one sketch takes: in a process that runs, and in one that has to start.
    fn latency(&self) -> Result<String> {
        checkout::run(checkout::cargo().args(["build", "--release", "--package", "sketchfind-cli"]))?;
        provision::onnxruntime()?;
        let mut table = vec![
            "| model | embedding, p50 | p99 | search, p50 | p99 | search / embedding, p50 | a process, median | longest |"
                .to_owned(),
            "| --- | --- | --- | --- | --- | --- | --- | --- |".into(),
        ];
        let networks = [(Known::MobilenetV2, "mobilenet_v2"), (Known::Resnet50, "resnet50_v1")];
        let mut models = vec![("the released MobileNetV2, 128 x 128".to_owned(), PathBuf::from(ZOO))];
        for (known, network) in networks {
            models.push((format!("{network}, 224 x 224"), bench_embed::export(known, network)?));
        }
        for (name, model) in models {
            say::line(&format!("== one sketch: {name}"));
            table.push(self.latency_with(&name, &model)?);
        }
        Ok(table.join("\n"))
    }

    fn latency_with(&self, name: &str, model: &Path) -> Result<String> {
        let gallery = provisioned("bench/search/gallery");
        let emoji = emoji::provide()?;
        let sketches = emoji.join("sketch");
        let mut make = checkout::command(&self.ours);
        make.arg("gallery").args([model, &gallery, &emoji.join("photo")]).arg(N_PHOTOS.to_string());
        checkout::run(&mut make)?;
        let mut warm = checkout::command(&self.ours);
        warm.arg("latency").arg(&gallery).arg(&sketches);
        let warm: Value = serde_json::from_str(&checkout::output(&mut warm)?)?;
        let first = fs::read_dir(&sketches)?.filter_map(|entry| Some(entry.ok()?.path())).min();
        let first = first.context("no sketch is there")?;
        let mut cold = Vec::new();
        for _ in 0..N_COLD {
            let started = Instant::now();
            let mut query = checkout::command(checkout::target("release").join("sketchfind"));
            checkout::output(query.args(["query", "--gallery"]).arg(&gallery).arg(&first))?;
            cold.push(started.elapsed().as_secs_f64());
        }
        cold.sort_by(f64::total_cmp);
        let secs = |what: &str, place: usize| number(&warm[what][place]);
        Ok(format!(
            "| {name} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {:.1} % | {:.0} ms | {:.0} ms |",
            1000.0 * secs("embedding", 0)?,
            1000.0 * secs("embedding", 1)?,
            1000.0 * secs("search", 0)?,
            1000.0 * secs("search", 1)?,
            100.0 * secs("search", 0)? / secs("embedding", 0)?,
            1000.0 * cold[N_COLD / 2],
            1000.0 * cold[N_COLD - 1]
        ))
    }

    fn ours(&self, what: &str, folder: &Path, width: usize, threads: usize) -> Result<Value> {
        let mut ours = checkout::command(&self.ours);
        ours.arg(what).arg(folder).args([width, threads].map(|number| number.to_string()));
        Ok(serde_json::from_str(&checkout::output(&mut ours)?)?)
    }

    fn theirs(&self, what: &str, folder: &Path, width: usize, threads: usize) -> Result<Value> {
        let mut peer = checkout::command(&self.python);
        peer.args(["benches/search.py", what]).arg(folder);
        peer.args([width, threads].map(|number| number.to_string()));
        // A second pool of threads behind the first would take turns with it.
        peer.env("OMP_NUM_THREADS", threads.to_string()).env("OPENBLAS_NUM_THREADS", threads.to_string());
        Ok(serde_json::from_str(&checkout::output(&mut peer)?)?)
    }
}

fn number(value: &Value) -> Result<f64> {
    match value.as_f64() {
        Some(number) => Ok(number),
        None => bail!("'{value}' is no number"),
    }
}
