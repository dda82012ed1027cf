//! `sketchfind index reembed`: a gallery's photos, embedded by another model.

use std::path::PathBuf;

use anyhow::Result;
use sketchfind::{Error, Framing, Gallery, PhotoFile};

use crate::building::{Building, How};
use crate::exit::Exit;
use crate::intake::{Gathered, Taking};
use crate::photos::say_first;
use crate::progress::say;

/// The arguments of `index reembed`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// The folder of the other model.
    #[arg(long)]
    model: PathBuf,
    /// Begin anew, though an unfinished one is there that could go on.
    #[arg(long)]
    fresh: bool,
    /// How photos are framed, as with `index build`.
    #[arg(long, value_name = "card|off|SHARE", default_value = "card")]
    frame: Framing,
    #[command(flatten)]
    taking: Taking,
}

pub(crate) fn reembed(options: &Options) -> Result<Exit> {
    let Options { gallery: path, model, fresh, frame, taking } = options;
    let gallery = Gallery::open(path)?;
    let building = Building::at(path)?;
    let mut fresh = *fresh;
    let (done, n) = loop {
        let gathered = gather(&gallery)?;
        let how = How { model, index: gallery.index(), frame: *frame, fresh, taking };
        let filled = building.fill(&gathered, &how)?;
        if building.install_over(&gallery)? {
            break filled;
        }
        // Somebody has added or removed photos meanwhile: what was done is known, and only the rest is embedded.
        say("the gallery was changed meanwhile; its changes are taken over");
        fresh = false;
    };
    let left_out = match done.broken.len() {
        0 => String::new(),
        n => format!("; {n} photos whose files cannot be read were left out"),
    };
    say(&format!(
        "{n} photos of '{}' are embedded by the model in '{}'{left_out}",
        path.display(),
        model.display()
    ));
    Ok(Exit::Success)
}

/// The photos of a gallery with the files that they came from.
fn gather(gallery: &Gallery) -> Result<Gathered> {
    let (mut files, mut without) = (Vec::new(), Vec::new());
    for (photo, _) in gallery.snapshot().photos() {
        match photo.source() {
            Some(source) => files.push(PhotoFile::new(photo.clone(), source)),
            None => without.push(photo.id().to_owned()),
        }
    }
    if let Some(first) = without.first() {
        say_first(without.iter().map(|id| format!("no file: {id}")));
        let n = without.len();
        let reason = format!(
            "it does not know the files of {n} of its photos, of which '{first}' is one, and cannot embed them anew; remove them, \
             or add them from files with --replace"
        );
        return Err(Error::Gallery { path: gallery.path().to_owned(), reason }.into());
    }
    Ok(Gathered { files, left_out: vec![], unseen: vec![], from: gallery.path().to_owned() })
}
