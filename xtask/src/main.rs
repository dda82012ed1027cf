//! The chores of this repository: provisioning, demo, tests. Depends on nothing of ours, so that it builds before
//! any native library is there.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

mod bench;
mod bench_embed;
mod bench_neighbours;
mod bench_precision;
mod bench_scale;
mod bench_search;
mod bench_serve;
mod book;
mod chart;
mod check;
mod checkout;
mod circles;
mod demo;
mod dist;
mod emoji;
mod fetch;
mod gpu;
mod pages;
mod plots;
mod provision;
mod pythons;
mod say;
mod semver;
mod skipped;
mod slowest;
mod stage;
mod targets;
mod test;
mod tidy;
mod web;
mod weights;
mod wheel;

/// The chores of this repository.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train, export, index, query and evaluate on a data set that the registries hold. Finished stages are kept.
    Demo {
        /// Do every stage again.
        #[arg(long)]
        fresh: bool,
    },
    /// Check what takes minutes: formatting, rules of the house, lints, unit tests.
    ///
    /// It provisions nothing and asks no network once cargo has the crates. Without libtorch the trainer is left out, and
    /// that is said at the end. `test` tests all.
    Check,
    /// Check that library, server and program compile for every other target that rustup has.
    Targets,
    /// Compare the libraries that are published with an earlier commit, by cargo-semver-checks.
    Semver {
        /// The commit.
        #[arg(long, default_value = semver::BASELINE)]
        baseline: String,
    },
    /// Provision what is missing and run every test, doctest, lint and check.
    Test,
    /// Put the native libraries into the checkout.
    Provision {
        /// What to provision; without it libtorch and onnxruntime.
        what: Vec<Native>,
    },
    /// Provide photo-pre-trained weights as safetensors.
    Weights {
        /// The network.
        network: weights::Known,
    },
    /// Provide a data set.
    Data {
        /// The data set.
        name: DataSet,
    },
    /// Measure against a peer in one run; the peer is installed into the checkout.
    Bench {
        /// What is measured.
        what: Bench,
        /// For `precision`: the data set's folder; by default the emoji's.
        #[arg(long)]
        data: Option<std::path::PathBuf>,
        /// For `scale`: this part alone.
        #[arg(long)]
        only: Option<bench_scale::Part>,
    },
    /// Compile the drawing page into the files that the program holds.
    Page,
    /// Build the documents as a book into target/book.
    Book,
    /// Draw the pictures of the documents from the figures of studies and benchmarks.
    Plots,
    /// Build the Python wheel into target/wheels.
    Wheel {
        /// Build it without optimisation and run its tests in a fresh environment.
        #[arg(long)]
        test: bool,
    },
    /// Make a folder that products take along; it can be moved.
    Dist {
        /// What is in it.
        what: Dist,
        /// The folder, which is not there yet.
        #[arg(long)]
        out: std::path::PathBuf,
        /// Take this file, which is built already, in the place of one that is built now.
        #[arg(long)]
        built: Option<std::path::PathBuf>,
    },
    /// Measure on a machine that has a GPU and no network (docs/gpu.md).
    Gpu {
        #[command(subcommand)]
        command: Gpu,
    },
    /// Check the rules of the house: dependency edges, headers, forbidden words, links of the documents.
    Tidy,
}

/// A thing that can be provisioned.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Native {
    /// For the trainer.
    Libtorch,
    /// For the runtime.
    Onnxruntime,
    /// A virtual environment with packages that tests compare with.
    Python,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// Training steps against a plain PyTorch script.
    Train,
    /// The server: from a stroke's end to the new ranking, and under more clients than it can serve.
    Serve,
    /// Neighbourhood-ranking statistics against SciPy's Kendall tau.
    Neighbours,
    /// The library that products embed: a folder of photos to embeddings, against a Python pipeline; search, against
    /// faiss, hnswlib and usearch.
    Runtime,
    /// Exported models in 32, 16 and 8 bits: bytes, images a second and acc@1, and Python's onnxruntime.
    Precision,
    /// Beyond one machine: photos embedded by Ray Data, against `index build`.
    Scale,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dist {
    /// The library for C and C++, with headers, ONNX Runtime, a model, licences and examples.
    Library,
    /// The program, with ONNX Runtime, a model, licences, completions and manual pages.
    Program,
}

#[derive(Subcommand)]
enum Gpu {
    /// Make a folder to take to that machine: programs, data and run.sh, which measures in one call.
    Pack {
        /// What it measures.
        what: gpu::Kind,
        /// The folder, which is not there yet.
        #[arg(long)]
        out: std::path::PathBuf,
        /// The data set that comes along, a folder with a manifest.csv; by default a part of the emoji's.
        #[arg(long)]
        data: Option<std::path::PathBuf>,
        /// A rehearsal: the programs of this folder, such as target/debug, without ResNet50's weights, and without ONNX Runtime for
        /// CUDA where that is not provisioned.
        #[arg(long)]
        programs: Option<std::path::PathBuf>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum DataSet {
    /// Line drawings of emoji, and renderings of them by other artists.
    Emoji,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo { fresh } => demo::run(fresh),
        Command::Check => check::run(),
        Command::Targets => targets::run(),
        Command::Semver { baseline } => semver::run(&baseline),
        Command::Test => test::run(),
        Command::Provision { what } => {
            let what = if what.is_empty() { vec![Native::Libtorch, Native::Onnxruntime] } else { what };
            what.into_iter().try_for_each(|what| match what {
                Native::Libtorch => provision::libtorch(),
                Native::Onnxruntime => provision::onnxruntime(),
                Native::Python => provision::python().map(drop),
            })
        }
        Command::Weights { network } => weights::provide(network, weights::Profile::Release).map(drop),
        Command::Data { name: DataSet::Emoji } => emoji::provide().map(drop),
        Command::Bench { what: Bench::Scale, data: None, only } => bench_scale::run(only),
        Command::Bench { only: Some(_), .. } => anyhow::bail!("--only belongs to `bench scale`"),
        Command::Bench { what: Bench::Precision, data, .. } => bench_precision::run(data.as_deref()),
        Command::Bench { data: Some(_), .. } => anyhow::bail!("--data belongs to `bench precision`"),
        Command::Bench { what: Bench::Train, .. } => bench::train(),
        Command::Bench { what: Bench::Serve, .. } => bench_serve::run(),
        Command::Bench { what: Bench::Neighbours, .. } => bench_neighbours::run(),
        Command::Bench { what: Bench::Runtime, .. } => {
            if bench_search::is_wanted("embed") {
                bench_embed::run()?;
            }
            bench_search::run()
        }
        Command::Page => web::build(),
        Command::Book => book::build(),
        Command::Plots => plots::draw(),
        Command::Wheel { test: true } => wheel::test(&wheel::install()?),
        Command::Wheel { test: false } => {
            say::result(&wheel::build(true)?.display().to_string());
            Ok(())
        }
        Command::Dist { what: Dist::Library, out, built } => dist::library(&out, built.as_deref()),
        Command::Dist { what: Dist::Program, out, built } => dist::program(&out, built.as_deref()),
        Command::Gpu { command: Gpu::Pack { what, out, data, programs } } => gpu::pack(&gpu::Options {
            kind: what,
            out: &out,
            data: data.as_deref(),
            programs: programs.as_deref(),
        }),
        Command::Tidy => tidy::run(),
    }
}
