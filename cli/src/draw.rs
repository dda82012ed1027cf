//! `sketchfind draw`: a page to draw on, over any folder of photos.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use sketchfind::EmbedderOptions;

use crate::exit::Exit;
use crate::followed::Followed;
use crate::progress::{say, warn};
use crate::serve;

/// The arguments of `draw`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The folder of photos, searched below. What is an image is told by its content; links are followed.
    folder: PathBuf,
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, default_value = serve::ADDRESS)]
    address: SocketAddr,
    /// Do not open a browser.
    #[arg(long)]
    no_browser: bool,
    /// Another model's folder, in the place of the general model that comes with this program.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Keep drawings, where you agree on the page, with the photos that they belong to: in this folder, as a data set for
    /// `sketchfind-train fit`.
    #[arg(long, value_name = "FOLDER")]
    teach: Option<PathBuf>,
}

pub(crate) fn draw(options: &Options) -> Result<Exit> {
    let Options { folder, address, no_browser, model, teach } = options;
    serve::listen_to(Some(serve::Log::Quiet));
    let followed = Followed::begin(folder, model.as_deref())?;
    let mut served = sketchfind_serve::Options::new(followed.gallery().to_owned(), EmbedderOptions::cpu());
    served.address = *address;
    served.teach.clone_from(teach);
    let ended = sketchfind_serve::serve(served, |address| {
        serve::print(address);
        if !no_browser {
            open(&format!("http://{address}/"));
        }
    });
    followed.end();
    ended?;
    Ok(Exit::Success)
}

/// Opens the page in the user's browser, where there is one. Where there is none the address was printed.
fn open(page: &str) {
    // Without a screen the system's opener may begin a browser for terminals in this one.
    let has_screen = !cfg!(all(unix, not(target_os = "macos")))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !has_screen {
        say("there is no screen for a browser: open that address in one");
    } else if let Err(error) = open::that_detached(page) {
        warn(&format!("no browser can be opened: {error}"));
    }
}
