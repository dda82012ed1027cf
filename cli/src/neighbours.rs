//! `sketchfind neighbours`, and the comparison of two spaces that `eval` shares.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind::Embedder;
use sketchfind_core::dataset::{Modality, Split};
use sketchfind_core::embed::Embed;
use sketchfind_core::fingerprint;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_eval::Bootstrap;
use sketchfind_eval::neighbours::{Neighbourhood, SketchAnchors, Space, neighbourhood};
use sketchfind_eval::report::{self, Provenance, Reference};

use crate::Embedding;
use crate::embedding::Watched;
use crate::exit::Exit;
use crate::figures::render_neighbours;
use crate::interrupt::Interrupt;
use crate::photos::photos_of;
use crate::progress::{Bar, say};

/// Two spaces and what they hold.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The model whose space is studied: its folder.
    #[arg(long)]
    model: PathBuf,
    /// The model whose space says how photos lie to each other: its folder.
    #[arg(long)]
    reference: PathBuf,
    /// A folder of images, searched below, or a data set's manifest.
    #[arg(long)]
    photos: PathBuf,
    /// Of a manifest, only this split.
    #[arg(long)]
    split: Option<Split>,
    /// The folder for neighbours.csv and anchors.csv.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn neighbours(options: &Options, bootstrap: &Bootstrap, compute: Embedding) -> Result<Exit> {
    let Options { model, reference, photos, split, out } = options;
    // What can be refused is refused before anything is embedded.
    report::check_neighbours_free(out)?;
    bootstrap.check()?;
    let files = photos_of(photos, *split)?;
    let (mut of_reference, mut of_model) =
        (Embedder::open(reference, compute.options())?, Embedder::open(model, compute.options())?);
    let pictures: Vec<(&str, &Path)> = files.iter().map(|(id, path)| (id.as_str(), path.as_path())).collect();
    let embed = |network: &mut Embedder, note| {
        Watched { network, note }.embeddings(
            Modality::Photo,
            &pictures,
            Progress::default(),
            Cancel::default(),
        )
    };
    let in_reference = embed(&mut of_reference, ", reference")?;
    let in_model = embed(&mut of_model, "")?;
    let distance = of_model.distance();
    let found = compare(
        Space { photos: &in_reference, distance: of_reference.distance() },
        Space { photos: &in_model, distance },
        None,
        bootstrap,
    )?;
    let provenance = Provenance {
        tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION")).into(),
        model: of_model.card().name.clone(),
        model_sha256: of_model.card().fingerprint(),
        dataset_sha256: fingerprint_of(&files)?,
        split: split.map(|split| split.to_string()).unwrap_or_default(),
        distance: distance.to_string(),
    };
    let named = Reference {
        model: of_reference.card().name.clone(),
        model_sha256: of_reference.card().fingerprint(),
    };
    report::write_neighbours(out, &provenance, &named, &found)?;
    render_neighbours(&found)?;
    say(&format!("{} and anchors.csv written to '{}'", report::NEIGHBOURS, out.display()));
    Ok(Exit::Success)
}

/// Compares two spaces with progress, until interrupted.
pub(crate) fn compare(
    reference: Space<'_>,
    studied: Space<'_>,
    sketches: Option<SketchAnchors<'_>>,
    bootstrap: &Bootstrap,
) -> Result<Neighbourhood> {
    let interrupt = Interrupt::listen()?;
    let bar = Bar::new(studied.photos.len(), "comparing neighbours");
    let found = neighbourhood(
        reference,
        studied,
        sketches,
        bootstrap,
        Progress::new(&|n_done| bar.set(n_done)),
        Cancel::new(&|| interrupt.is_set()),
    )?;
    bar.finish();
    Ok(found)
}

/// A fingerprint of photos under their ids, wherever they lie.
fn fingerprint_of(files: &[(String, PathBuf)]) -> Result<String> {
    let mut lines = Vec::with_capacity(files.len());
    for (id, path) in files {
        let path: &Path = path;
        lines.push(format!("photo\t{id}\t{}\n", fingerprint::of_file(path)?));
    }
    lines.sort_unstable();
    Ok(fingerprint::of_bytes(lines.concat().as_bytes()))
}
