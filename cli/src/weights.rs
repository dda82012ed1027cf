//! `sketchfind weights import`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sketchfind_core::atomic;
use sketchfind_core::image::Preprocess;
use sketchfind_models::network::file::{Described, SUFFIX};
use sketchfind_models::network::{Head, Network};
use sketchfind_models::onnx::import::{self, Imported};
use sketchfind_models::weights::{self, Weights};

use crate::exit::Exit;
use crate::progress::{say, warn};

/// A network's name that leaves it to the file to say which it is of.
const AUTO: &str = "auto";

pub(crate) fn import(
    from: &Path,
    network: &str,
    projection: Option<&str>,
    source: &str,
    out: &Path,
) -> Result<Exit> {
    if from.is_file() && weights::is_onnx_file(from)? {
        if projection.is_some() {
            bail!(
                "--projection: the graph of the ONNX file '{}' says itself which layer is one",
                from.display()
            );
        }
        return import_onnx(from, network, source, out);
    }
    if from.is_file() {
        weights::refuse_what_is_none(from)?;
    }
    if network == AUTO {
        bail!("'{}' is no ONNX file: which network it is of must be said with --network", from.display());
    }
    let weights = fitting(from, network, projection, out)?.with_metadata("source", source);
    weights.save(out)?;
    say(&format!("{} tensors of {network} written to '{}'", weights.len(), out.display()));
    Ok(Exit::Success)
}

/// The weights of a file for a network, with what was left out told. Where they do not fit, all differences are written
/// beside the output, if they are more than a message has room for.
fn fitting(from: &Path, network: &str, projection: Option<&str>, out: &Path) -> Result<Weights> {
    let error = match weights::import_projected(from, network, projection) {
        Ok(weights) => {
            if let Some(note) = weights::import_note(&weights) {
                say(&format!("note: {note}"));
            }
            return Ok(weights);
        }
        Err(error) => error,
    };
    let Some(differences) = error.differences().filter(|_| error.n_differences_untold() > 0) else {
        return Err(error.into());
    };
    let mut name =
        out.file_name().with_context(|| format!("'{}' is no file's name", out.display()))?.to_owned();
    name.push(".differences.txt");
    let list = out.with_file_name(name);
    // The error matters more than the list of it.
    match atomic::write_bytes(&list, differences.as_bytes()) {
        Ok(()) => say(&format!("all differences are listed in '{}'", list.display())),
        Err(unwritten) => say(&format!("the list of all differences is not written: {unwritten}")),
    }
    Err(error.into())
}

fn import_onnx(from: &Path, network: &str, source: &str, out: &Path) -> Result<Exit> {
    let is_file = sketchfind_models::network::file::is_file(network);
    if is_file {
        let weights = fitting(from, network, None, out)?.with_metadata("source", source);
        weights.save(out)?;
        say(&format!("{} tensors of '{network}' written to '{}'", weights.len(), out.display()));
        return Ok(Exit::Success);
    }
    let imported = import::read(from, (network != AUTO).then_some(network))?;
    say_input(&imported);
    let Imported { network, weights, known, input, .. } = imported;
    let weights = weights.with_metadata("source", source).with_metadata("network", network.name());
    let Some(known) = known else {
        let path = description_beside(out)?;
        // The weights last: who finds them finds the description.
        Described { network: network.clone(), input }.save(&path)?;
        weights.save(out)?;
        say(&format!(
            "a network of {} operations, {} values, embeddings of {} numbers, is none of ours: written to '{}', its {} \
             tensors to '{}'; name the first as `network` in a configuration, the second as `weights`",
            network.nodes().len(),
            network.n_parameters(),
            network.output_width(),
            path.display(),
            weights.len(),
            out.display()
        ));
        return Ok(Exit::Success);
    };
    weights.save(out)?;
    let name = &known.name;
    let what = match (known.head, known.is_projected) {
        (Head::Classifier, _) => format!("{name} with its classifier"),
        (Head::Embedding, true) => format!("{name} with a projection"),
        (Head::Embedding, false) => name.clone(),
    };
    say(&format!("{} tensors of {what} written to '{}'", weights.len(), out.display()));
    if let Some(p) = known.gem {
        say(&format!(
            "the graph pools by a generalised mean with p = {p}, which a configuration's table [head] has"
        ));
    }
    if known.is_normalised {
        say("the graph divides its output by its length, which is no part of the weights");
    }
    Ok(Exit::Success)
}

/// Says what images the network expects, where that is not what everybody takes for granted.
fn say_input(imported: &Imported) {
    let (mean, std) = (imported.input.mean, imported.input.std);
    if imported.normalises {
        say(&format!("the graph normalises images itself: mean {mean:?}, std {std:?}, which is left out"));
        let usual = imported.known.as_ref().and_then(|known| Network::input_of(&known.name).ok());
        if usual.is_some_and(|usual| !imported.input.is_normalised_like(&usual)) {
            warn(
                "these are not the network's own, with which training would normalise: the weights expect other numbers",
            );
        }
    } else if imported.known.is_none() {
        let imagenet = (Preprocess::IMAGENET_MEAN, Preprocess::IMAGENET_STD);
        say(&format!(
            "the graph takes normalised images and does not say how: mean {:?}, std {:?} are assumed",
            imagenet.0, imagenet.1
        ));
    }
}

/// `x.network.json` beside `x.safetensors`.
fn description_beside(out: &Path) -> Result<PathBuf> {
    let stem = out.file_stem().with_context(|| format!("'{}' is no file's name", out.display()))?;
    let mut name = stem.to_os_string();
    name.push(SUFFIX);
    Ok(out.with_file_name(name))
}
