//! `sketchfind index`: make galleries and change them.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sketchfind::gallery::MANIFEST;
use sketchfind::home::{self, shown};
use sketchfind::{Access, Error, Framing, Gallery, IndexSpec, OnExisting, OnOtherSource};
use sketchfind_core::unicode::{Meant, Names};

use crate::building::{Building, How, build_graphs, build_index};
use crate::exit::Exit;
use crate::general;
use crate::intake::Intake;
use crate::progress::say;

/// The arguments of `index build`.
#[derive(clap::Args)]
pub(crate) struct BuildOptions {
    /// The model's folder; by default the general model that comes with this program.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The gallery's folder; a gallery there is replaced once the new one is whole.
    #[arg(long)]
    out: PathBuf,
    /// The index: exact ranks by comparing with every photo, hnsw by a graph, approximately; auto is exact as long as that
    /// takes no longer than embedding a sketch, and hnsw for larger galleries.
    #[arg(long, default_value = "auto")]
    index: IndexSpec,
    /// Begin anew, though an unfinished build is there that could go on. One with another model is begun anew in any case.
    #[arg(long)]
    fresh: bool,
    /// How photos are framed, now and when others are added: card, where a plain ground shows a product that is smaller than
    /// nearly all that the model was trained with, it is cut out as the model's card says; off, never; or a share such as 0.8
    /// of the page's longer side that products are to fill at least.
    #[arg(long, value_name = "card|off|SHARE", default_value = "card")]
    frame: Framing,
    #[command(flatten)]
    intake: Intake,
}

/// The arguments of `index add`.
#[derive(clap::Args)]
pub(crate) struct AddOptions {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// Replace photos that have come from other files under the same ids, which is refused otherwise.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    intake: Intake,
}

/// The arguments of `index remove`.
#[derive(clap::Args)]
pub(crate) struct RemoveOptions {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// A file of ids, one a line; - is standard input.
    #[arg(long = "ids", value_name = "FILE", required_unless_present = "ids")]
    list: Option<PathBuf>,
    /// The ids of photos; - alone is a list on standard input, one a line. If one is unknown, nothing is removed.
    #[arg(id = "ids", value_name = "ID")]
    ids: Vec<String>,
}

/// The arguments of `index copy`.
#[derive(clap::Args)]
pub(crate) struct CopyOptions {
    /// The gallery.
    from: PathBuf,
    /// The copy's folder.
    to: PathBuf,
    /// Replace a gallery that is there, once the copy is whole; that is refused otherwise.
    #[arg(long)]
    replace: bool,
}

pub(crate) fn build(options: &BuildOptions) -> Result<Exit> {
    let BuildOptions { model, out, index, fresh, frame, intake } = options;
    let model = general::named_or_general(model.as_deref())?;
    let mut gathered = intake.gather()?;
    for file in &mut gathered.files {
        // A new gallery has no earlier labels and products that could be kept, and an unfinished one is to become the same.
        let product = file.photo.product().unwrap_or_default().to_owned();
        file.photo = file.photo.clone().with_labels(Vec::<String>::new()).with_product(product);
    }
    let how = How { model: &model, index: *index, frame: *frame, fresh: *fresh, taking: &intake.taking };
    let building = Building::at(out)?;
    let (done, n) = building.fill(&gathered, &how)?;
    building.install()?;
    let left_out = match done.broken.len() {
        0 => String::new(),
        n => format!("; {n} images left out"),
    };
    say(&format!("gallery of {n} photos written to '{}'{left_out}", out.display()));
    Ok(Exit::Success)
}

pub(crate) fn add(options: &AddOptions) -> Result<Exit> {
    let AddOptions { gallery, replace, intake } = options;
    let gathered = intake.gather()?;
    let retriever = intake.taking.open(gallery)?;
    let done = intake.taking.ingest(&retriever, &gathered, on_other_source(*replace))?;
    say(&format!(
        "{} photos added, {} replaced, {} there already, {} left out; the gallery '{}' has {}",
        done.n_added,
        done.n_replaced,
        done.n_unchanged,
        done.broken.len(),
        shown(gallery),
        retriever.len()?
    ));
    build_graphs(retriever.gallery())?;
    Ok(Exit::Success)
}

pub(crate) fn on_other_source(replace: bool) -> OnOtherSource {
    if replace { OnOtherSource::Replace } else { OnOtherSource::Refuse }
}

pub(crate) fn remove(options: &RemoveOptions) -> Result<Exit> {
    let RemoveOptions { gallery: path, list, ids } = options;
    let mut wanted = Vec::new();
    match ids.as_slice() {
        [dash] if dash == "-" => wanted.extend(listed(Path::new("-"))?),
        ids => wanted.extend(ids.iter().cloned()),
    }
    if let Some(list) = list {
        wanted.extend(listed(list)?);
    }
    let gallery = home::open(path, Access::Write)?;
    let there = gallery.look().ids_in_any_form(&wanted.iter().map(String::as_str).collect::<Vec<_>>())?;
    let names = Names::new(there.iter().map(String::as_str));
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for id in &wanted {
        match names.meant_by(id) {
            Meant::One(id) => found.push(id),
            Meant::None => unknown.push(format!("it has no photo '{id}'")),
            Meant::Several(a, b) => {
                let (a, b) = (a.escape_unicode(), b.escape_unicode());
                unknown.push(format!("'{id}' may be either of two of its photos, '{a}' and '{b}'"));
            }
        }
    }
    if let Some(first) = unknown.first() {
        crate::photos::say_first(unknown.iter().cloned());
        let n = unknown.len();
        let more = if n > 1 { format!(", nor {} more of those to remove", n - 1) } else { String::new() };
        let reason = format!("{first}{more}; nothing was removed");
        return Err(Error::Gallery { path: gallery.place().to_owned(), reason }.into());
    }
    let n = gallery.remove(&found)?;
    say(&format!("{n} photos removed; the gallery has {}", gallery.look().len()?));
    Ok(Exit::Success)
}

/// The ids in a file or on standard input, one a line.
fn listed(path: &Path) -> Result<Vec<String>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(sketchfind_core::Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let line =
            1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        sketchfind_core::Error::malformed(path, format!("line {line} of the ids is not UTF-8"))
    })?;
    // Some editors put a byte order mark before the first line.
    let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

pub(crate) fn copy(options: &CopyOptions) -> Result<Exit> {
    let CopyOptions { from, to, replace } = options;
    let on_existing = if *replace { OnExisting::Replace } else { OnExisting::Refuse };
    let copied = Gallery::copy(from, to, on_existing);
    let copied = if !replace && to.join(MANIFEST).is_file() {
        copied.context("--replace replaces it")?
    } else {
        copied?
    };
    say(&format!(
        "gallery of {} photos copied to '{}'; {} of its {} files are shared with the original",
        copied.n_photos,
        to.display(),
        copied.n_shared,
        copied.n_shared + copied.n_own
    ));
    Ok(Exit::Success)
}

pub(crate) fn compact(path: &Path, index: Option<IndexSpec>) -> Result<Exit> {
    let gallery = home::open(path, Access::Write)?;
    if let Some(index) = index {
        gallery.set_index(index)?;
    }
    let n_removed = gallery.folder().map_or(0, |folder| folder.snapshot().n_removed());
    gallery.compact_files()?;
    build_index(gallery.as_ref())?;
    say(&format!(
        "'{}' has {} photos; {} take no space any more",
        shown(path),
        gallery.look().len()?,
        if gallery.folder().is_some() {
            format!("{n_removed} removed ones")
        } else {
            "removed ones".to_owned()
        }
    ));
    Ok(Exit::Success)
}
