//! Bringing photos into a gallery: which ones, under which ids, with which labels, and what is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sketchfind::{
    BrokenImage, Error, IngestOptions, Ingested, LONGEST_TEXT, OnBroken, OnOtherSource, Photo, PhotoFile,
    Retriever, RetrieverOptions,
};
use sketchfind_core::dataset::Split;
use sketchfind_core::frame::Region;
use sketchfind_core::unicode::{Meant, Names};
use sketchfind_core::work::{Cancel, Progress};

use crate::Embedding;
use crate::interrupt::Interrupt;
use crate::photos::{look, refuse_left_out, refuse_none, say_first};
use crate::progress::Bar;

/// What `index build`, `index add` and `index sync` have in common.
#[derive(clap::Args)]
pub(crate) struct Intake {
    /// A folder of images, searched below, or a data set's manifest, whose column product is the photos' product and whose further columns are labels: column=value. What is an image is told by its content; links are followed.
    #[arg(long)]
    pub(crate) photos: PathBuf,
    /// Of a manifest, only this split.
    #[arg(long)]
    split: Option<Split>,
    /// A beginning for the ids of all these photos, such as 'camera-2/', which tells them from another folder's.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
    /// Leave files and folders alone that match: '*.tmp.jpg' by their name, 'old/**' by their path; may be given several times.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// A label of every photo; may be given several times. Photos that are there already and get none keep theirs.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// A CSV file of labels, with the columns id and label and a row for each label of a photo. An empty label takes a photo's
    /// labels away; photos without a row keep theirs. The column product names the product that a photo shows, which others may
    /// show too; an empty one takes it away. The columns left, top, width and height, in pixels, say where in a photo
    /// the product is, where its ground does not show that. Of label, product and left one is enough.
    #[arg(long = "labels", value_name = "FILE.CSV")]
    labels_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) taking: Taking,
}

/// How photos are read and embedded.
#[derive(clap::Args)]
pub(crate) struct Taking {
    /// Leave out what cannot be read, images and folders, and name it, instead of stopping at the first.
    #[arg(long)]
    skip_broken: bool,
    /// Write what could not be read to this CSV file: id, path, reason.
    #[arg(long, value_name = "FILE.CSV")]
    failures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: Embedding,
}

/// What an [`Intake`] has found.
pub(crate) struct Gathered {
    /// The photos, with their ids and labels.
    pub(crate) files: Vec<PhotoFile>,
    /// What looks like photos and cannot be read.
    pub(crate) left_out: Vec<BrokenImage>,
    /// The ids of folders among these.
    pub(crate) unseen: Vec<String>,
    /// The folder, manifest or gallery that names them.
    pub(crate) from: PathBuf,
}

/// A row of a file of labels.
#[derive(Deserialize)]
struct LabelRow {
    id: String,
    label: Option<String>,
    product: Option<String>,
    left: Option<f64>,
    top: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
}

impl LabelRow {
    /// Where the product is in the photo, if that is told.
    fn region(&self) -> Result<Option<Region>, String> {
        match (self.left, self.top, self.width, self.height) {
            (None, None, None, None) => Ok(None),
            (Some(left), Some(top), Some(width), Some(height)) => {
                Ok(Some(Region { left, top, width, height }))
            }
            _ => Err(format!("the box of '{}' lacks one of left, top, width and height", self.id)),
        }
    }
}

/// A row of a file of failures.
#[derive(Serialize)]
struct FailureRow<'a> {
    id: &'a str,
    path: String,
    reason: &'a str,
}

impl Intake {
    /// The photos with their ids and labels. What cannot be read is refused, or left out as asked.
    pub(crate) fn gather(&self) -> Result<Gathered> {
        let gathered = self.gather_any()?;
        refuse_none(&self.photos, gathered.files.len() + gathered.left_out.len())?;
        Ok(gathered)
    }

    /// [`Intake::gather`], also where there is no photo.
    pub(crate) fn gather_any(&self) -> Result<Gathered> {
        let mut found = look(&self.photos, self.split, &self.exclude)?;
        for broken in &mut found.left_out {
            broken.id.insert_str(0, &self.prefix);
        }
        let mut named = Vec::with_capacity(found.files.len());
        for (own, path) in found.files {
            let id = format!("{}{own}", self.prefix);
            if id.len() <= LONGEST_TEXT {
                let labels = found.labels.remove(&own).unwrap_or_default();
                named.push((id, path, labels, found.products.remove(&own)));
            } else {
                let reason = format!("its id would have {} bytes, at most {LONGEST_TEXT} are kept", id.len());
                found.left_out.push(BrokenImage { id, path, reason });
            }
        }
        if !self.taking.skip_broken && !found.left_out.is_empty() {
            self.taking.write_failures(&found.left_out)?;
            refuse_left_out(&self.photos, &found.left_out).context("--skip-broken leaves it out")?;
        }
        let mut files = Vec::with_capacity(named.len());
        for (id, path, mut labels, product) in named {
            let source = std::path::absolute(&path).map_err(sketchfind_core::Error::io("read", &path))?;
            let mut photo = Photo::new(id).with_source(source);
            labels.extend(self.labels.iter().cloned());
            if !labels.is_empty() {
                photo = photo.with_labels(labels);
            }
            if let Some(product) = product {
                photo = photo.with_product(product);
            }
            files.push(PhotoFile::new(photo, path));
        }
        self.add_labels(&mut files, &found.left_out)?;
        let unseen = found.unseen.into_iter().map(|id| format!("{}{id}", self.prefix)).collect();
        Ok(Gathered { files, left_out: found.left_out, unseen, from: self.photos.clone() })
    }

    /// Gives photos the labels, products and boxes of the file of labels. Its ids are those of the photos, with or without the prefix, in any form
    /// of Unicode.
    fn add_labels(&self, files: &mut [PhotoFile], left_out: &[BrokenImage]) -> Result<()> {
        let Some(path) = &self.labels_file else {
            return Ok(());
        };
        let malformed = |reason: String| sketchfind_core::Error::malformed(path, reason);
        let bytes = std::fs::read(path).map_err(sketchfind_core::Error::io("read", path))?;
        let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut products: BTreeMap<String, String> = BTreeMap::new();
        let mut regions: BTreeMap<String, Region> = BTreeMap::new();
        {
            let known = || {
                files.iter().map(|file| file.photo.id()).chain(left_out.iter().map(|file| file.id.as_str()))
            };
            let names = Names::new(known());
            let mut reader = csv::Reader::from_reader(bytes.as_slice());
            let headers = reader.headers().map_err(|e| malformed(e.to_string()))?;
            let has = |column: &str| headers.iter().any(|header| header == column);
            let (has_labels, has_products) = (has("label"), has("product"));
            if !has_labels && !has_products && !has("left") {
                let reason = "it has neither a column label nor product nor left, top, width and height";
                return Err(malformed(reason.into()).into());
            }
            for row in reader.deserialize() {
                let row: LabelRow = row.map_err(|e: csv::Error| malformed(e.to_string()))?;
                let region = row.region().map_err(malformed)?;
                let LabelRow { id, label, product, .. } = row;
                let id = match (names.meant_by(&id), names.meant_by(&format!("{}{id}", self.prefix))) {
                    (Meant::One(meant), _) | (Meant::None, Meant::One(meant)) => meant,
                    (Meant::None, Meant::None) => {
                        let reason = format!("it has labels for '{id}', which is none of the photos");
                        return Err(malformed(reason).into());
                    }
                    (Meant::Several(a, b), _) | (_, Meant::Several(a, b)) => {
                        let reason = format!(
                            "'{id}' may be either of two photos, whose ids are '{a}' ({}) and '{b}' ({})",
                            a.escape_unicode(),
                            b.escape_unicode()
                        );
                        return Err(malformed(reason).into());
                    }
                };
                if let Some(region) = region
                    && regions.insert(id.to_owned(), region).is_some_and(|other| other != region)
                {
                    return Err(malformed(format!("it has two boxes for '{id}'")).into());
                }
                if has_products {
                    // Of a photo's several rows one may name it.
                    let own = products.entry(id.to_owned()).or_default();
                    match product {
                        Some(other) if !own.is_empty() && *own != other => {
                            let reason = format!("it has two products for '{id}', '{own}' and '{other}'");
                            return Err(malformed(reason).into());
                        }
                        Some(product) => *own = product,
                        None => {}
                    }
                }
                if has_labels {
                    labels.entry(id.to_owned()).or_default().extend(label);
                }
            }
        }
        for file in files {
            file.region = regions.remove(file.photo.id());
            if let Some(labels) = labels.remove(file.photo.id()) {
                file.photo = file.photo.clone().with_labels(labels);
            }
            if let Some(product) = products.remove(file.photo.id()) {
                file.photo = file.photo.clone().with_product(product);
            }
        }
        Ok(())
    }
}

impl Taking {
    pub(crate) fn open(&self, gallery: &Path) -> Result<Retriever> {
        // A graph is built when the photos are in, where it can be watched.
        let how = RetrieverOptions::new(self.compute.options()).writable().without_building_graphs();
        Ok(Retriever::open(gallery, how)?)
    }

    /// The longest file that is read.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.compute.options().limits.max_bytes()
    }

    /// Brings files into a gallery with progress, until interrupted, and reports what could not be read.
    pub(crate) fn ingest(
        &self,
        retriever: &Retriever,
        gathered: &Gathered,
        on_other_source: OnOtherSource,
    ) -> Result<Ingested> {
        let (files, left_out) = (&gathered.files, &gathered.left_out);
        let interrupt = Interrupt::listen()?;
        let bar = Bar::new(files.len(), "embedding photos");
        let on_broken = if self.skip_broken { OnBroken::Skip } else { OnBroken::Refuse };
        let options = IngestOptions::from(on_broken).with_other_sources(on_other_source);
        let done = retriever.ingest(
            files,
            options,
            Progress::new(&|n_done| bar.set(n_done)),
            Cancel::new(&|| interrupt.is_set()),
        );
        let mut done = match done {
            Ok(done) => done,
            Err(Error::BrokenImage { id, path, reason }) => {
                let broken = BrokenImage { id: id.clone(), path: path.clone(), reason: reason.clone() };
                self.write_failures(&[left_out.as_slice(), &[broken]].concat())?;
                return Err(Error::BrokenImage { id, path, reason }.into());
            }
            Err(error @ Error::OtherSource { .. }) => {
                let hint = "--prefix gives this folder's photos ids of their own; --replace replaces those that are there";
                return Err(anyhow::Error::new(error).context(hint));
            }
            Err(error) => return Err(error.into()),
        };
        bar.finish();
        done.broken.splice(0..0, left_out.iter().cloned());
        say_first(
            done.broken
                .iter()
                .map(|broken| format!("left out: {}: {}", broken.path.display(), broken.reason)),
        );
        self.write_failures(&done.broken)?;
        // Where some are broken they are left out; where all are, something else is wrong than a file.
        let n_all = files.len() + left_out.len();
        if let (Some(first), true) = (done.broken.first(), done.broken.len() == n_all) {
            let reason = format!("none of its {n_all} images can be read; the first: {}", first.reason);
            return Err(sketchfind_core::Error::malformed(&gathered.from, reason).into());
        }
        Ok(done)
    }

    fn write_failures(&self, broken: &[BrokenImage]) -> Result<()> {
        let Some(path) = &self.failures else {
            return Ok(());
        };
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        writer.write_record(["id", "path", "reason"])?;
        for BrokenImage { id, path, reason } in broken {
            writer.serialize(FailureRow { id, path: path.display().to_string(), reason })?;
        }
        let bytes = writer.into_inner().context("cannot write CSV")?;
        Ok(sketchfind_core::atomic::write_bytes(path, &bytes)?)
    }
}
