//! Whether a model gives here the embeddings that it gave where it was exported.

use std::collections::BTreeSet;
use std::path::Path;

use sketchfind_core::Error as CoreError;
use sketchfind_core::card::{PROBE_EMBEDDINGS, PROBE_IMAGES, SKETCH_PROBE_EMBEDDINGS};
use sketchfind_core::dataset::Modality;
use sketchfind_core::embeddings::Embeddings;

use crate::{Cancel, Device, Embedder, EmbedderOptions, OnBroken, Progress, Result};

/// The largest difference that passes for a graph in float32, as a share of the largest component: float32 holds 7
/// digits, and networks of a hundred layers, summed in another order by another library, agree to 5. A graph of lower
/// precision states in its card what it was seen to differ by and what passes.
pub const TOLERANCE: f64 = 1e-4;

/// What came of re-embedding a model's probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verification {
    /// The number of images in the probe.
    pub n_images: usize,
    /// The largest absolute difference of a component between here and the probe's embeddings.
    pub largest_difference: f64,
    /// The largest absolute component of the probe's embeddings.
    pub largest_component: f64,
    /// `largest_difference / largest_component`.
    pub relative: f64,
    /// The `relative` that was seen at export, for a graph of lower precision than float32.
    pub deviation_at_export: Option<f64>,
    /// The largest `relative` that passes: the card's, or [`TOLERANCE`].
    pub tolerance: f64,
    /// Whether it passes.
    pub passed: bool,
}

/// Embeds the probe's images (files `probe/<id>.png`) of the model in `model_dir` on `device` and compares
/// with the embeddings stored beside them (`probe.npy`, `probe.csv`). Where sketches have a network of their own, it embeds the
/// same images, to be compared with `probe_sketch.npy`; what is told is the worse of both.
///
/// # Errors
/// Those of [`Embedder::open`] and [`Embedder::embed_files`]; [`Error::Core`](crate::Error::Core) with the
/// file where the probe is missing or its images, ids and width do not fit each other. A difference is no
/// error: see [`Verification::passed`].
///
/// ```
/// use std::path::Path;
/// use sketchfind::{Device, verify};
/// let verification = verify(Path::new("tests/fixtures/conv16"), Device::Cpu)?;
/// assert!(verification.passed, "{verification:?}");
/// # Ok::<(), sketchfind::Error>(())
/// ```
pub fn verify(model_dir: impl AsRef<Path>, device: Device) -> Result<Verification> {
    let model_dir = model_dir.as_ref();
    let mut embedder = Embedder::open(model_dir, EmbedderOptions::on(device))?;
    let of_photos = verify_side(&mut embedder, model_dir, PROBE_EMBEDDINGS)?;
    if embedder.card().sketch.is_none() {
        return Ok(of_photos);
    }
    let of_sketches = verify_side(embedder.of(Modality::Sketch), model_dir, SKETCH_PROBE_EMBEDDINGS)?;
    Ok(if of_sketches.relative > of_photos.relative { of_sketches } else { of_photos })
}

/// Compares what one network gives for the probe's images with the embeddings in the file of this name.
fn verify_side(embedder: &mut Embedder, model_dir: &Path, embeddings: &str) -> Result<Verification> {
    let (folder, npy) = (model_dir.join(PROBE_IMAGES), model_dir.join(embeddings));
    let stored = Embeddings::load(&npy)?;
    let width = embedder.card().embedding_width;
    if stored.width() != width {
        let reason = format!("its embeddings are {} wide, the model's card says {width}", stored.width());
        return Err(CoreError::malformed(&npy, reason).into());
    }
    let largest_component = stored.values().iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    if largest_component == 0.0 {
        let reason = format!("{} embeddings without a component other than 0 prove nothing", stored.len());
        return Err(CoreError::malformed(&npy, reason).into());
    }
    let images = probe_images(&folder)?;
    let ids: BTreeSet<&String> = stored.ids().iter().collect();
    if let Some(id) = images.iter().collect::<BTreeSet<_>>().symmetric_difference(&ids).next() {
        let reason = if images.contains(*id) {
            format!("the image '{id}.png' has no embedding in '{}'", npy.display())
        } else {
            format!("there is no image '{id}.png' for the embedding in '{}'", npy.display())
        };
        return Err(CoreError::malformed(&folder, reason).into());
    }
    let files: Vec<_> = images.into_iter().map(|id| (id.clone(), folder.join(format!("{id}.png")))).collect();
    let embedded = embedder.embed_files(&files, OnBroken::Refuse, Progress::default(), Cancel::default())?;
    // Both are sorted by the same ids, so that rows correspond.
    let largest_difference = embedded
        .embeddings
        .values()
        .iter()
        .zip(stored.values())
        .map(|(&here, &there)| (f64::from(here) - f64::from(there)).abs())
        .fold(0.0, f64::max);
    let relative = largest_difference / largest_component;
    let probe = embedder.card().probe;
    let tolerance = probe.map_or(TOLERANCE, |probe| probe.tolerance);
    Ok(Verification {
        n_images: files.len(),
        largest_difference,
        largest_component,
        relative,
        deviation_at_export: probe.map(|probe| probe.deviation),
        tolerance,
        passed: relative <= tolerance,
    })
}

/// The ids of the images in a probe's folder: the names of its `.png` files without the ending.
fn probe_images(folder: &Path) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(CoreError::io("read", folder))? {
        let path = entry.map_err(CoreError::io("read", folder))?.path();
        if path.extension().is_none_or(|ending| ending != "png") {
            continue;
        }
        let id = path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| {
            CoreError::malformed(folder, format!("the name of '{}' is not UTF-8", path.display()))
        })?;
        ids.insert(id.to_owned());
    }
    Ok(ids)
}
