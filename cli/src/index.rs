//! `sketchfind index build`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind_core::dataset::{Dataset, Split, image_files};
use sketchfind_runtime::{Embedder, Gallery, GalleryOptions, IndexKind, IndexSpec, OnBroken};

use crate::Compute;
use crate::embed::embed_files;
use crate::exit::Exit;
use crate::progress::say;

/// The arguments of `index build`.
pub(crate) struct Options {
    pub(crate) model: PathBuf,
    pub(crate) photos: PathBuf,
    pub(crate) split: Option<Split>,
    pub(crate) out: PathBuf,
    pub(crate) index: IndexKind,
    pub(crate) skip_broken: bool,
    pub(crate) compute: Compute,
}

pub(crate) fn build(options: &Options) -> Result<Exit> {
    let files = photo_files(&options.photos, options.split)?;
    let mut embedder = Embedder::open(&options.model, options.compute.options())?;
    let on_broken = if options.skip_broken { OnBroken::Skip } else { OnBroken::Refuse };
    let embedded = embed_files(&mut embedder, &files, on_broken, "embedding photos")?;
    for broken in &embedded.broken {
        say(&format!("left out: {}: {}", broken.path.display(), broken.reason));
    }
    let sources: BTreeMap<String, PathBuf> = files
        .into_iter()
        .filter(|(id, _)| embedded.embeddings.find(id).is_some())
        .map(|(id, path)| Ok((id, absolute(&path)?)))
        .collect::<Result<_>>()?;
    let gallery_options = GalleryOptions {
        index: IndexSpec::ordinary(options.index),
        tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION")).into(),
    };
    Gallery::create(&options.out, &options.model, &embedded.embeddings, Some(&sources), &gallery_options)?;
    say(&format!(
        "gallery of {} photos written to '{}'{}",
        embedded.embeddings.len(),
        options.out.display(),
        match embedded.broken.len() {
            0 => String::new(),
            n => format!("; {n} images left out"),
        }
    ));
    Ok(Exit::Success)
}

/// The ids and files of photos: all images below a folder, under their relative paths, or a manifest's photos. A
/// folder is read as a folder even where a manifest lies in it: a data set is asked for by its manifest.
fn photo_files(photos: &Path, split: Option<Split>) -> Result<Vec<(String, PathBuf)>> {
    if photos.is_dir() {
        if split.is_some() {
            let reason = "--split needs a data set's manifest, this is a folder of images";
            return Err(sketchfind_core::Error::malformed(photos, reason).into());
        }
        let files = image_files(photos)?;
        if files.is_empty() {
            let reason = "no image file (jpg, jpeg, png, webp, gif, bmp) lies below it";
            return Err(sketchfind_core::Error::malformed(photos, reason).into());
        }
        let id = |file: &Path| file.to_string_lossy().replace('\\', "/");
        return Ok(files.iter().map(|file| (id(file), photos.join(file))).collect());
    }
    let dataset = Dataset::load(photos)?;
    let wanted = dataset.photos().iter().filter(|photo| split.is_none_or(|split| photo.split == split));
    Ok(wanted.map(|photo| (photo.id.clone(), photo.path.clone())).collect())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path).map_err(sketchfind_core::Error::io("read", path))?)
}
