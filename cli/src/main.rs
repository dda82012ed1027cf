//! `sketchfind`: index galleries, answer sketches, evaluate retrievers. Glue: what was typed becomes one library
//! call, and its result is rendered. Standard output is data, standard error is everything else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use sketchfind::{Device, Framing, IndexSpec};
use sketchfind_core::dataset::Split;
use sketchfind_core::image::DecodeLimits;
use sketchfind_core::terminal;

use exit::Exit;

mod building;
mod calibrate;
mod compare;
mod data;
mod draw;
mod embed;
mod embedding;
mod evaluate;
mod exchange;
mod exit;
mod figures;
mod followed;
mod frames;
mod general;
mod index;
mod info;
mod intake;
mod interrupt;
mod listing;
mod man;
mod model;
mod neighbours;
mod output;
mod paths;
mod photos;
mod progress;
mod query;
mod reembed;
mod serve;
mod sync;
mod verify;
mod weights;

/// Finds the photo that somebody drew.
///
/// Index a folder of photos with a trained model, then ask it with a sketch. Models come from sketchfind-train.
#[derive(Parser)]
#[command(name = "sketchfind", version, after_help = exit::HELP)]
struct Arguments {
    /// Say only what is wrong: no progress, and nothing of what went well.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look at data sets.
    #[command(subcommand)]
    Data(DataCommand),
    /// Bring weights into the project's form.
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Bring models of other makers.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Make galleries and change them.
    #[command(subcommand)]
    Index(IndexCommand),
    /// Rank a gallery's photos for sketches.
    ///
    /// Answers come out as they are found, in the order of the sketches. That nothing is found is an answer: its header is
    /// there, standard error says why, and the exit code is 0.
    Query(Box<query::Options>),
    /// Draw over a folder of photos: a page opens where one draws, and the photos are ranked as one does.
    ///
    /// The photos are taken in with the general model that comes with this program, while the page already answers from those
    /// that are in. Then the folder is followed: new, changed and removed photos appear and go. Nothing is written into it; the
    /// gallery lies among the user's caches, so that the next time begins at once.
    Draw(draw::Options),
    /// Serve a gallery over HTTP: a page to draw on, which ranks as one draws, and a JSON API.
    Serve(serve::Arguments),
    /// Write the embeddings of a data set's split as a NumPy file, with their ids in a CSV file beside it.
    Embed {
        /// The model's folder.
        #[arg(long)]
        model: PathBuf,
        /// The data set: a folder with a manifest.csv, or the manifest.
        #[arg(long)]
        data: PathBuf,
        /// The split.
        #[arg(long, default_value = "test")]
        split: Split,
        /// Which of its images.
        #[arg(long, value_enum, default_value_t = Which::Both)]
        modality: Which,
        /// The file, *.npy.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        frame: frames::MeasuredFrame,
        #[command(flatten)]
        compute: Embedding,
    },
    /// Rank a split's photos for each of its sketches and report acc@k and more, each with n and an interval.
    ///
    /// Options add what else is measured; without them nothing else is computed.
    Eval {
        #[command(flatten)]
        options: Box<evaluate::Options>,
        #[command(flatten)]
        resampling: Resampling,
        #[command(flatten)]
        compute: Embedding,
    },
    /// Compare reports on the same queries two by two: differences, McNemar's and permutation tests, Holm's correction.
    ///
    /// Or compare runs of whatever pipeline, in the format of trec_eval, by the same statistics: those of eval's own run.trec are
    /// those of its report. A larger score is better; photos of equal score count against the run, also where trec_eval would
    /// order them by id; a match that a run does not hold counts as not found.
    Compare {
        #[command(flatten)]
        options: compare::Options,
        #[command(flatten)]
        resampling: Resampling,
    },
    /// Learn how sure one may be of a hit, and from where on nothing fits.
    ///
    /// Of a share of a split's photos, every sketch is asked of the gallery without its own photo. A map from distances to
    /// probabilities is fitted to what was found, and a threshold chosen; how often both err is measured on photos that they
    /// were not learned from. `query --calibration` uses the file. It is for galleries of about the size of the split, and for
    /// askers of whose sketches about as many have no photo.
    Calibrate {
        #[command(flatten)]
        options: calibrate::Options,
        #[command(flatten)]
        resampling: Resampling,
        #[command(flatten)]
        compute: Embedding,
    },
    /// Measure how far one model's space keeps the neighbours of another's: over all triplets of photos, none sampled.
    ///
    /// The same statistics as `eval --reference`, for photos without sketches.
    Neighbours {
        #[command(flatten)]
        options: neighbours::Options,
        #[command(flatten)]
        resampling: Resampling,
        #[command(flatten)]
        compute: Embedding,
    },
    /// Check that this machine computes a model's embeddings as the machine that trained it did.
    Verify {
        /// The model's folder.
        model: PathBuf,
        /// Where to compute: cpu, cuda or cuda:N.
        #[arg(long, default_value = "cpu")]
        device: Device,
    },
    /// Tell what a model, a gallery or a file of weights is; without a path, what this program is.
    Info {
        /// A model's or gallery's folder, or a safetensors file.
        path: Option<PathBuf>,
    },
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of this program or of one of its commands, or write all of them into a folder.
    Man {
        /// The command, such as `index build`.
        command: Vec<String>,
        /// A folder for the pages of all commands.
        #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum DataCommand {
    /// Check a data set: its manifest's laws and every image. Prints counts, and a row for each fault and broken image.
    Check {
        /// The data set: a folder with a manifest.csv, or the manifest.
        data: PathBuf,
    },
    /// Tell a data set's numbers: photos, sketches of each, sizes and formats of files, photos that are there twice.
    Stats {
        /// The data set: a folder with a manifest.csv, or the manifest.
        data: PathBuf,
        /// The form of the answer.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Turn a download into a data set: a folder with its images and one manifest.csv.
    ///
    /// A sketch is paired with the photo that its name says, never by guesswork. The sizes of QMUL's benchmarks are
    /// known, and a difference is said.
    #[command(after_help = data::LAYOUTS)]
    Import {
        /// The layout of the files, or auto.
        layout: String,
        /// The folder that was downloaded and unpacked.
        from: PathBuf,
        /// The data set's folder, new or empty, or a data set, which is replaced.
        #[arg(long)]
        out: PathBuf,
        /// The folder of photos, if they are elsewhere.
        #[arg(long)]
        photos: Option<PathBuf>,
        /// The share of photos that are for testing, where the layout does not say which are.
        #[arg(long)]
        test_share: Option<f64>,
        /// The seed of that choice.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Take edge maps where there are colour photos too.
        #[arg(long)]
        edges: bool,
        /// Leave out sketches without a photo and photos in neither split, and say how many, instead of stopping.
        #[arg(long)]
        leave_out: bool,
        /// Width and height of drawn vector sketches, in pixels.
        #[arg(long, default_value_t = sketchfind_core::strokes::Raster::default().side)]
        side: u32,
    },
}

#[derive(Subcommand)]
enum WeightsCommand {
    /// Convert weights to safetensors with torchvision's names.
    ///
    /// An ONNX file holds its network besides: weights as floats, as 16 bits behind Cast or as 8 behind DequantizeLinear, batch
    /// norms folded or not. Where it is one of ours, its weights get our names. Another graph of the operations that
    /// ours are made of is written as X.network.json beside X.safetensors, and a configuration can name it as its network.
    /// What we have no operation for is refused by its node. Nothing of a file is run.
    Import {
        /// A safetensors file, a PyTorch file, a checkpoint or run of sketchfind-train, an ONNX file, or the folder of a tfjs
        /// layers model of ResNet50.
        from: PathBuf,
        /// The network they are of (see `sketchfind info`), or its file (*.network.json). An ONNX file says itself which.
        #[arg(long, default_value = "auto")]
        network: String,
        /// The linear layer of the file, by its name there, that projects the network's numbers to an embedding, such as
        /// backbone.fc of SSCD. It becomes the projection that a configuration's table 'head' asks for.
        #[arg(long, value_name = "LAYER")]
        projection: Option<String>,
        /// Where they come from: package, version, licence. Kept in the file and in cards.
        #[arg(long)]
        source: String,
        /// The file, *.safetensors.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Make a model's folder of an ONNX file, which every other command then takes.
    ///
    /// The file is looked at before any of it is run: it takes one picture, of three channels, as float32, float16 or uint8,
    /// and gives an embedding, tokens or a map. It is copied as it is, with the files that hold its weights, and what it
    /// gives here for pictures that are made on the spot is kept as the probe. docs/card.md tells of cards and presets.
    Import(Box<model::ImportOptions>),
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Embed photos and keep them as a gallery. An interrupted build goes on when it is asked for again.
    Build(index::BuildOptions),
    /// Bring photos into a gallery: new ones, and those whose file or labels have changed. What would replace another folder's
    /// photos is refused.
    Add(index::AddOptions),
    /// Bring a gallery to what a folder holds: photos are added, replaced and removed. Photos from elsewhere stay.
    Sync(sync::Options),
    /// Embed a gallery's photos anew with another model, from their files. Ids, labels and paths stay. The gallery is
    /// searched as it is until the new one is whole and takes its place; interrupted, the same command goes on. Boxes of
    /// products that were given with --labels are not kept in galleries: build such a gallery anew.
    Reembed(reembed::Options),
    /// Remove photos from a gallery.
    Remove(index::RemoveOptions),
    /// Write a gallery anew without what was removed.
    Compact {
        /// The gallery.
        #[arg(long)]
        gallery: PathBuf,
        /// Choose another index.
        #[arg(long)]
        index: Option<IndexSpec>,
    },
    /// Copy a gallery that may be being written: whole, and as it was acknowledged at one moment. Files that never change are
    /// hard links where the file system can; each of the two may be changed and removed without the other.
    Copy(index::CopyOptions),
    /// List a gallery's photos, sorted by id.
    ///
    /// Columns: id; labels, as a JSON array of texts; product; source, the path of the photo's file; sha256 of that file. The
    /// last three are empty where the gallery was not told.
    List(listing::Options),
    /// Measure how many of the ten nearest a gallery's graph finds, on photos that a seed draws.
    Recall(listing::RecallOptions),
    /// Write a gallery's embeddings to a file that other programs read.
    ///
    /// *.npy is a NumPy matrix with the ids of its rows in a CSV file (row, id) beside it. *.parquet has the columns id,
    /// embedding (a fixed-size list of float32), labels, source, sha256, error, model and product.
    Export(exchange::ExportOptions),
    /// Bring embeddings that another program has made into a gallery, or make a gallery of them.
    ///
    /// The files are those of `index export`; of Parquet's columns only id and embedding are needed. All of it is checked
    /// before anything is changed. Rows with an error are named and left out; the exit code is 5 then. Photos that are there
    /// already stay as they are, so that an interrupted import goes on when it is asked for again.
    Import(exchange::ImportOptions),
}

/// Where and how to compute.
#[derive(clap::Args, Clone, Copy)]
struct Compute {
    /// Where to compute: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Threads of ONNX Runtime; by default all cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl Compute {
    fn options(self) -> sketchfind::EmbedderOptions {
        let mut options = sketchfind::EmbedderOptions::on(self.device);
        options.n_threads = self.threads.map(usize::from);
        options
    }
}

/// Where and how to compute, and what may be spent on reading an image's file.
#[derive(clap::Args, Clone, Copy)]
struct Embedding {
    #[command(flatten)]
    compute: Compute,
    /// The most pixels of an image that is decoded; a larger one is refused before room is made for it.
    #[arg(long, value_name = "N", default_value_t = DecodeLimits::default().max_pixels,
          value_parser = clap::value_parser!(u64).range(1..))]
    max_pixels: u64,
}

impl Embedding {
    fn options(self) -> sketchfind::EmbedderOptions {
        let mut options = self.compute.options();
        options.limits = DecodeLimits { max_pixels: self.max_pixels };
        options
    }
}

/// Where drawings are expected on their pages.
#[derive(clap::Args, Clone, Copy)]
struct DrawingFrame {
    /// How drawings are framed: card, brought to where the model's card says that drawings lie, whatever their page and its
    /// ground; off, taken as they are; or a share of the page's longer side, such as 0.8, that they are to fill.
    #[arg(long = "frame", value_name = "card|off|SHARE", default_value = "card")]
    framing: Framing,
}

/// How intervals are made.
#[derive(clap::Args, Clone, Copy)]
struct Resampling {
    /// Resamples of the bootstrap.
    #[arg(long, default_value_t = sketchfind_eval::Bootstrap::default().samples)]
    samples: usize,
    /// Its seed.
    #[arg(long, default_value_t = sketchfind_eval::Bootstrap::default().seed)]
    seed: u64,
}

impl Resampling {
    fn bootstrap(self) -> sketchfind_eval::Bootstrap {
        sketchfind_eval::Bootstrap {
            samples: self.samples,
            seed: self.seed,
            ..sketchfind_eval::Bootstrap::default()
        }
    }
}

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON array.
    Json,
    /// CSV with a header.
    Csv,
}

/// Which images of a split.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Photos,
    Sketches,
    Both,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => return explain(&usage),
    };
    if arguments.quiet {
        progress::be_quiet();
    }
    match run(arguments.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A reader that has seen enough, such as `head`, is no failure.
            if output::is_closed_pipe(&error) {
                return Exit::Success.into();
            }
            if let Some(usage) = error.downcast_ref::<clap::Error>() {
                return explain(usage);
            }
            progress::warn(&format!("error: {}", sketchfind_core::error::explain(error.as_ref())));
            exit::of_error(&error).into()
        }
    }
}

/// Prints what clap says of wrong usage, or the help that was asked for.
fn explain(usage: &clap::Error) -> ExitCode {
    // What was typed stands in it, such as a file's name that a shell has put there.
    let has_commands =
        std::env::args_os().any(|argument| terminal::has_commands(&argument.to_string_lossy()));
    if usage.use_stderr() && has_commands {
        progress::warn(usage.render().to_string().trim_end());
    } else {
        // With colours where there is a terminal; that nobody reads it is no failure.
        let _ = usage.print();
    }
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
}

fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Data(DataCommand::Check { data }) => data::check(&data),
        Command::Data(DataCommand::Stats { data, format }) => data::stats(&data, format),
        Command::Data(DataCommand::Import {
            layout,
            from,
            out,
            photos,
            test_share,
            seed,
            edges,
            leave_out,
            side,
        }) => {
            let raster =
                sketchfind_core::strokes::Raster { side, ..sketchfind_core::strokes::Raster::default() };
            let options = sketchfind_data::Options { photos, test_share, seed, edges, leave_out, raster };
            data::import(&layout, &from, &out, &options)
        }
        Command::Weights(WeightsCommand::Import { from, network, projection, source, out }) => {
            weights::import(&from, &network, projection.as_deref(), &source, &out)
        }
        Command::Model(ModelCommand::Import(options)) => model::import(&options),
        Command::Index(IndexCommand::Build(options)) => index::build(&options),
        Command::Index(IndexCommand::Add(options)) => index::add(&options),
        Command::Index(IndexCommand::Sync(options)) => sync::sync(&options),
        Command::Index(IndexCommand::Reembed(options)) => reembed::reembed(&options),
        Command::Index(IndexCommand::Remove(options)) => index::remove(&options),
        Command::Index(IndexCommand::Compact { gallery, index }) => index::compact(&gallery, index),
        Command::Index(IndexCommand::Copy(options)) => index::copy(&options),
        Command::Index(IndexCommand::List(options)) => listing::list(&options),
        Command::Index(IndexCommand::Recall(options)) => listing::recall(&options),
        Command::Index(IndexCommand::Export(options)) => exchange::export(&options),
        Command::Index(IndexCommand::Import(options)) => exchange::import(&options),
        Command::Query(options) => query::query(*options),
        Command::Draw(options) => draw::draw(&options),
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Embed { model, data, split, modality, out, frame, compute } => {
            embed::embed(&model, &data, split, modality, &out, frame, compute)
        }
        Command::Eval { options, resampling, compute } => {
            evaluate::evaluate(&options, &resampling.bootstrap(), compute)
        }
        Command::Compare { options, resampling } => compare::compare(&options, &resampling.bootstrap()),
        Command::Calibrate { options, resampling, compute } => {
            calibrate::calibrate(&options, &resampling.bootstrap(), compute)
        }
        Command::Neighbours { options, resampling, compute } => {
            neighbours::neighbours(&options, &resampling.bootstrap(), compute)
        }
        Command::Verify { model, device } => verify::verify(&model, device),
        Command::Info { path } => info::info(path.as_deref()),
        Command::Completions { shell } => {
            // In memory first: it ends the program where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "sketchfind", &mut script);
            output::raw(script)?;
            Ok(Exit::Success)
        }
        Command::Man { command, out } => man::man(Arguments::command(), &command, out.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
