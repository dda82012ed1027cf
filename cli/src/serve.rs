//! `sketchfind serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use sketchfind::Calibration;
use sketchfind_serve::{Options, Token};

use crate::exit::Exit;
use crate::followed::Followed;
use crate::progress::{is_quiet, say};
use crate::{Compute, DrawingFrame, output};

/// Where servers listen by default.
pub(crate) const ADDRESS: &str = "127.0.0.1:7878";

/// The variable that may hold the token: what stands on a command line, every user of the machine can read.
const TOKEN: &str = "SKETCHFIND_TOKEN";

/// The arguments of `serve`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The gallery, made by `index build`.
    #[arg(long, required_unless_present_any = ["openapi", "photos"])]
    gallery: Option<PathBuf>,
    /// A folder of photos in the place of a gallery: it is taken in and followed, as `draw` does.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["gallery", "token_file"])]
    photos: Option<PathBuf>,
    /// Print the description of the API (OpenAPI 3.1) and serve nothing.
    #[arg(long)]
    openapi: bool,
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = ADDRESS)]
    address: SocketAddr,
    /// A file with the token that allows clients to add and remove photos; or set SKETCHFIND_TOKEN. Without a token
    /// there are no changes.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Another name by which clients may call the server, such as that of a proxy. May be repeated.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Most bytes of a request's body.
    #[arg(long, value_name = "BYTES")]
    max_body: Option<usize>,
    /// Most pixels of an image.
    #[arg(long, value_name = "PIXELS")]
    max_pixels: Option<u64>,
    /// The width of a drawing's lines, in pixels of a picture of 256: that of the sketches that the model was trained
    /// with. Vector sketches that `data import` has drawn have 2.
    #[arg(long, value_name = "PIXELS", default_value_t = 2.0, value_parser = line_width)]
    line_width: f32,
    /// Sketches that may be in the model at a time, the cores shared out between them. One answers soonest; one a core
    /// answers the most.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    sessions: u16,
    /// Queries that are computed at once; more wait in line. By default two for each core.
    #[arg(long, value_name = "N")]
    max_queries: Option<usize>,
    /// Queries that wait in line for their turn; more get 503. 0: none waits. By default 64.
    #[arg(long, value_name = "N")]
    queue: Option<usize>,
    /// How long a query waits in line before it gets 503, in seconds. By default 10, or two thirds of a shorter --timeout.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    queue_time: Option<u64>,
    /// Most photos of one answer.
    #[arg(long, value_name = "K")]
    max_k: Option<u32>,
    /// Time for one request, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: Option<u64>,
    /// The form of the log on standard error: one line for each request, without its query, ids or headers. By default
    /// text on a terminal, json elsewhere, and with --quiet quiet.
    #[arg(long, value_enum)]
    log: Option<Log>,
    /// A file that `calibrate` wrote, of the gallery's model: hits have a score, and a query may ask for one, `min_score`. A
    /// gallery of another model that takes its place is not served then.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Let the page's people teach: drawings that they agree to are kept in this folder with the photos that they belong to, as
    /// a data set for `sketchfind-train fit`; at most 10,000.
    #[arg(long, value_name = "FOLDER")]
    teach: Option<PathBuf>,
    #[command(flatten)]
    frame: DrawingFrame,
    #[command(flatten)]
    compute: Compute,
}

/// The form of the log.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    /// For people: key=value.
    Text,
    /// For programs: one JSON object a line.
    Json,
    /// Warnings and errors only, as text.
    Quiet,
}

pub(crate) fn serve(arguments: Arguments) -> Result<Exit> {
    if arguments.openapi {
        output::raw(sketchfind_serve::openapi())?;
        return Ok(Exit::Success);
    }
    let mut options = Options::new(arguments.gallery.unwrap_or_default(), arguments.compute.options());
    options.address = arguments.address;
    options.framing = arguments.frame.framing;
    options.calibration = arguments.calibration.map(Calibration::load).transpose()?;
    options.teach = arguments.teach;
    options.raster.line_width = arguments.line_width / 256.0;
    options.sessions = usize::from(arguments.sessions);
    options.hosts = arguments.allow_host;
    options.token = match arguments.token_file {
        Some(path) => Some(Token::read(&path)?),
        // What clients add would not be in the folder.
        None if arguments.photos.is_some() => None,
        None => std::env::var(TOKEN)
            .ok()
            .filter(|text| !text.is_empty())
            .map(|text| Token::new(&text, &format!("in {TOKEN}")))
            .transpose()?,
    };
    let limits = &mut options.limits;
    limits.body = arguments.max_body.unwrap_or(limits.body);
    limits.pixels = arguments.max_pixels.unwrap_or(limits.pixels);
    limits.queries = arguments.max_queries.unwrap_or(limits.queries);
    limits.k = arguments.max_k.unwrap_or(limits.k);
    limits.waiting_queries = arguments.queue.unwrap_or(limits.waiting_queries);
    limits.request = arguments.timeout.map_or(limits.request, Duration::from_secs);
    limits.wait = match arguments.queue_time {
        Some(seconds) => Duration::from_secs(seconds),
        None => limits.wait.min(limits.request * 2 / 3),
    };
    listen_to(arguments.log);
    // When nothing can be refused any more.
    let followed = arguments.photos.as_deref().map(|folder| Followed::begin(folder, None)).transpose()?;
    followed.iter().for_each(|followed| options.gallery = followed.gallery().to_owned());
    let ended = sketchfind_serve::serve(options, print);
    followed.into_iter().for_each(Followed::end);
    ended?;
    Ok(Exit::Success)
}

/// Prints where a server listens: on standard output, so that a script that let the system choose the port can read it.
pub(crate) fn print(address: SocketAddr) {
    if output::stream(format!("http://{address}/\n").as_bytes()).is_err() {
        say(&format!("listening on http://{address}/"));
    }
}

fn line_width(text: &str) -> Result<f32, String> {
    let width: f32 = text.parse().map_err(|_malformed| format!("'{text}' is no number"))?;
    if (0.25..=64.0).contains(&width) { Ok(width) } else { Err("expected 0.25 to 64 pixels".into()) }
}

/// Writes what the server tells to standard error.
pub(crate) fn listen_to(log: Option<Log>) {
    let ordinary = match std::io::stderr().is_terminal() {
        _ if is_quiet() => Log::Quiet,
        true => Log::Text,
        false => Log::Json,
    };
    let log = log.unwrap_or(ordinary);
    let level = if log == Log::Quiet { tracing::Level::WARN } else { tracing::Level::INFO };
    let builder =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(level);
    // It fails only where another one listens already.
    let _ = match log {
        Log::Json => builder.json().flatten_event(true).try_init(),
        Log::Text | Log::Quiet => builder.compact().try_init(),
    };
}
