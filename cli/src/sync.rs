//! `sketchfind index sync`: a gallery as a folder is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sketchfind::home::{self, Look, shown};
use sketchfind::{Access, Error, Photo};
use sketchfind_core::photo_files::id_of;

use crate::exit::Exit;
use crate::index::on_other_source;
use crate::intake::{Gathered, Intake};
use crate::output;
use crate::photos::There;
use crate::progress::say;

/// The arguments of `index sync`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The gallery.
    #[arg(long)]
    gallery: PathBuf,
    /// Change nothing; print what would be added, replaced and removed, as CSV.
    #[arg(long)]
    dry_run: bool,
    /// Remove photos even where most of the folder's are gone, as they are when a disk is not mounted.
    #[arg(long)]
    force: bool,
    /// Replace photos that have come from other files under the same ids, which is refused otherwise.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    intake: Intake,
}

/// What a folder has to do with a gallery.
struct Belonging {
    /// The gallery's photos that come from the folder.
    n_own: usize,
    /// Those of them that the folder does not hold any more.
    gone: Vec<String>,
}

pub(crate) fn sync(options: &Options) -> Result<Exit> {
    let Options { gallery, dry_run, force, replace, intake } = options;
    let folder = &intake.photos;
    let metadata = std::fs::metadata(folder).map_err(sketchfind_core::Error::io("read", folder))?;
    if !metadata.is_dir() {
        let reason = "it is no folder: only with a folder it is known what is gone";
        return Err(sketchfind_core::Error::malformed(folder, reason).into());
    }
    let gathered = intake.gather_any()?;
    if *dry_run {
        let look = home::open(gallery, Access::Read)?.look();
        let belonging = belonging(look.as_ref(), &gathered, folder, &intake.prefix)?;
        return tell(look.as_ref(), &gathered, &belonging, options);
    }
    // Before the model is opened, and before anything is embedded.
    let before = home::open(gallery, Access::Read)?.look();
    let found = belonging(before.as_ref(), &gathered, folder, &intake.prefix)?;
    drop(before);
    refuse_most(&found, gallery, *force)?;
    if found.gone.is_empty() {
        crate::photos::refuse_none(folder, gathered.files.len() + gathered.left_out.len())?;
    }
    let retriever = intake.taking.open(gallery)?;
    let done = intake.taking.ingest(&retriever, &gathered, on_other_source(*replace))?;
    // Once more: this is what is there while nobody else can change it.
    let found = belonging(retriever.look().as_ref(), &gathered, folder, &intake.prefix)?;
    refuse_most(&found, gallery, *force)?;
    let n_removed = retriever.remove(&found.gone)?;
    say(&format!(
        "{} photos added, {} replaced, {n_removed} removed, {} there already, {} left out; the gallery '{}' has {}",
        done.n_added,
        done.n_replaced,
        done.n_unchanged,
        done.broken.len(),
        shown(gallery),
        retriever.len()?
    ));
    let n_own = found.n_own - n_removed;
    if n_own < retriever.len()? {
        say(&format!("{} of them are from elsewhere, and stay as they are", retriever.len()? - n_own));
    }
    crate::building::build_graphs(retriever.gallery())?;
    Ok(Exit::Success)
}

/// Which photos of a gallery come from `folder`: those whose id is what the folder and the prefix make of their path.
fn belonging(look: &dyn Look, gathered: &Gathered, folder: &Path, prefix: &str) -> Result<Belonging> {
    let root = std::path::absolute(folder).map_err(sketchfind_core::Error::io("read", folder))?;
    let canonical = std::fs::canonicalize(folder).map_err(sketchfind_core::Error::io("read", folder))?;
    // A path may lead to the folder by another way than ours.
    let mut is_folder: HashMap<PathBuf, bool> = HashMap::new();
    let mut is_own = |photo: &Photo| {
        let (Some(id), Some(source)) = (photo.id().strip_prefix(prefix), photo.source()) else {
            return false;
        };
        let Some(base) = source.ancestors().nth(id.split('/').count()) else {
            return false;
        };
        source.strip_prefix(base).is_ok_and(|relative| id_of(relative) == id)
            && *is_folder.entry(base.to_owned()).or_insert_with(|| {
                base == root || std::fs::canonicalize(base).is_ok_and(|base| base == canonical)
            })
    };
    let files = gathered.files.iter().map(|file| file.photo.id());
    let left_out = gathered.left_out.iter().map(|file| file.id.as_str());
    let there = There::new(files.chain(left_out), gathered.unseen.iter().map(String::as_str));
    let (mut n_own, mut gone) = (0, Vec::new());
    look.each_photo(&mut |photo| {
        if is_own(photo) {
            n_own += 1;
            if there.lacks(photo.id()) {
                gone.push(photo.id().to_owned());
            }
        }
        Ok(())
    })?;
    Ok(Belonging { n_own, gone })
}

/// Whether more than half of the folder's photos are gone.
fn is_most(found: &Belonging) -> bool {
    found.gone.len() * 2 > found.n_own
}

fn refuse_most(found: &Belonging, gallery: &Path, force: bool) -> Result<()> {
    if force || !is_most(found) {
        return Ok(());
    }
    let reason = format!(
        "{} of the {} photos that it has from there are not there any more, which is what a disk that is not mounted looks \
         like; nothing was removed. --dry-run lists them, --force removes them",
        found.gone.len(),
        found.n_own
    );
    Err(Error::Gallery { path: shown(gallery).into(), reason }.into())
}

/// Prints what would change.
fn tell(look: &dyn Look, gathered: &Gathered, found: &Belonging, options: &Options) -> Result<Exit> {
    let Options { gallery, force, replace, intake, .. } = options;
    let max_bytes = intake.taking.max_bytes();
    let changes = look.changes(&gathered.files, max_bytes)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["change", "id"])?;
    for (change, ids) in [("add", &changes.added), ("replace", &changes.replaced), ("remove", &found.gone)] {
        for id in ids {
            writer.write_record([change, id])?;
        }
    }
    let text = writer.into_inner().context("cannot write CSV")?;
    output::raw(text)?;
    say(&format!(
        "{} photos would be added, {} replaced, {} removed, {} are there already; nothing was changed",
        changes.added.len(),
        changes.replaced.len(),
        found.gone.len(),
        changes.n_unchanged
    ));
    let refusals = [
        refuse_most(found, gallery, *force).err(),
        match replace {
            true => None,
            false => look.check_sources(&gathered.files, max_bytes).err().map(Into::into),
        },
    ];
    for error in refusals.into_iter().flatten() {
        say(&format!("it would be refused: {error}"));
    }
    Ok(Exit::Success)
}
