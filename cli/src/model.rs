//! `sketchfind model import`: an ONNX file from elsewhere becomes a model's folder, which every other command takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use sketchfind::{Embedder, EmbedderOptions};
use sketchfind_core::card::{
    self, Card, ExternalFile, OnnxFacts, Pooling, Precision, ProbeFacts, Provenance, SketchSide,
};
use sketchfind_core::dataset::Modality;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::image::{Image, Preprocess};
use sketchfind_core::{Error, atomic, fingerprint};
use sketchfind_models::onnx::fit::{Fit, Wishes, fit};
use sketchfind_models::onnx::inspect::{self, Inspected};

use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::progress::{say, warn};
use prepared::Prepared;

mod prepared;
mod probe;

/// What is imported and how.
#[derive(clap::Args)]
pub(crate) struct ImportOptions {
    /// The ONNX file. Files beside it that hold its weights are taken along.
    from: PathBuf,
    /// The model's folder, new or empty, or a model, which is replaced.
    #[arg(long)]
    out: PathBuf,
    /// How pictures are prepared: imagenet, clip, siglip, or a JSON file with what a card has as `preprocess`, or a
    /// preprocessor_config.json of Hugging Face. Without it as for imagenet, which is said.
    #[arg(long, value_name = "NAME|FILE")]
    preprocess: Option<String>,
    /// The ONNX file for sketches, where photos and sketches have networks of their own with one space of embeddings.
    #[arg(long, value_name = "FILE")]
    sketch_model: Option<PathBuf>,
    /// How sketches are prepared for it; as photos are, unless this is given.
    #[arg(long, value_name = "NAME|FILE", requires = "sketch_model")]
    sketch_preprocess: Option<String>,
    /// The distance between embeddings: mse or cosine.
    #[arg(long, value_name = "mse|cosine", default_value_t = Distance::Cosine)]
    distance: Distance,
    /// The output that is the embedding, where there are several.
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// How an output of tokens or of a map becomes one embedding.
    #[arg(long, value_parser = pooling_named, value_name = "class_token|mean_of_tokens|mean_of_patches|mean_of_map|mean_of_map_nhwc")]
    pooling: Option<Pooling>,
    /// Whether channels come before height and width or behind them, where the file leaves it open.
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    /// Width and height of a picture in pixels, where the file leaves them open.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8192))]
    side: Option<u32>,
    /// Bring embeddings to unit length, where the graph does not and the distance is not cosine.
    #[arg(long)]
    unit_length: bool,
    /// A name for people; the file's, unless this is given.
    #[arg(long)]
    name: Option<String>,
    /// Where the weights come from, in words. Kept in the card.
    #[arg(long, default_value = "")]
    source: String,
    /// The terms under which the model may be used, in words. Kept in the card.
    #[arg(long)]
    licence: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    Nchw,
    Nhwc,
}

fn pooling_named(name: &str) -> Result<Pooling, String> {
    let names: Vec<&str> = Pooling::ALL.iter().map(|pooling| pooling.name()).collect();
    Pooling::ALL
        .into_iter()
        .find(|pooling| pooling.name() == name)
        .ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

pub(crate) fn import(options: &ImportOptions) -> Result<Exit> {
    let ImportOptions { from, out, sketch_model, .. } = options;
    if !atomic::is_free_for(out, card::CARD)? {
        let reason =
            "something else than a model is there, which will not be overwritten; choose another folder";
        return Err(Error::malformed(out, reason).into());
    }
    let of_photos = Side::read(from, options.preprocess.as_deref(), options)?;
    let of_sketches = sketch_model.as_ref().map(|from| {
        let preprocess = options.sketch_preprocess.as_deref().or(options.preprocess.as_deref());
        Side::read(from, preprocess, options)
    });
    let of_sketches = of_sketches.transpose()?;
    if let Some(of_sketches) = &of_sketches
        && of_sketches.fit.width != of_photos.fit.width
    {
        bail!(Error::Mismatch {
            what: "width of the embeddings of sketches",
            expected: format!("{}, that of photos", of_photos.fit.width),
            got: of_sketches.fit.width.to_string(),
        });
    }
    let mut card = card_of(options, &of_photos, of_sketches.as_ref())?;
    let interrupt = Interrupt::listen()?;
    let probe = probe::pictures()?;
    let sides = [(&of_photos, card::MODEL), (of_sketches.as_ref().unwrap_or(&of_photos), card::SKETCH_MODEL)];
    let n_sides = 1 + usize::from(of_sketches.is_some());
    atomic::write_folder(out, |new| {
        for (side, name) in &sides[..n_sides] {
            side.write(new, name, &interrupt)?;
        }
        for (id, image) in &probe {
            atomic::write_bytes(&new.join(card::PROBE_IMAGES).join(format!("{id}.png")), &image.to_png()?)?;
        }
        // What was copied is what is run, and what its card says of it.
        card.save(new)?;
        let unusable = |path: &Path| format!("'{}' cannot be run", path.display());
        let mut embedder =
            Embedder::open(new, EmbedderOptions::cpu()).with_context(|| unusable(of_photos.path))?;
        let embed = |embedder: &mut Embedder, side: &Side<'_>, name: &str| {
            let embeddings = embeddings(embedder, &probe).with_context(|| unusable(side.path))?;
            check(&embeddings, embedder, &probe).map_err(|reason| refused(side.path, reason))?;
            embeddings.save(&new.join(name))?;
            Ok::<_, anyhow::Error>(())
        };
        embed(&mut embedder, &of_photos, card::PROBE_EMBEDDINGS)?;
        if let Some(of_sketches) = &of_sketches {
            embed(embedder.of(Modality::Sketch), of_sketches, card::SKETCH_PROBE_EMBEDDINGS)?;
        }
        card.probe = probe_facts(&card);
        card.save(new)?;
        refuse_where(&interrupt)
    })?;
    tell(&card, &of_photos, of_sketches.as_ref(), out);
    Ok(Exit::Success)
}

fn refuse_where(interrupt: &Interrupt) -> Result<()> {
    if interrupt.is_set() { Err(sketchfind::Error::Cancelled.into()) } else { Ok(()) }
}

/// How pictures are prepared where nobody says it.
const USUAL: &str = "imagenet";

/// A file that was looked at, before any of it is run.
struct Side<'p> {
    path: &'p Path,
    bytes: Vec<u8>,
    file: Inspected,
    fit: Fit,
    preprocess: Preprocess,
    /// The files beside it, and where they lie now.
    external: Vec<(ExternalFile, PathBuf)>,
}

impl<'p> Side<'p> {
    fn read(path: &'p Path, told: Option<&str>, options: &ImportOptions) -> Result<Side<'p>> {
        let (file, bytes) = inspect::read(path)?;
        let prepared = Prepared::of(told.unwrap_or(USUAL))?;
        let wishes = Wishes {
            output: options.output.clone(),
            pooling: options.pooling,
            channels_last: options.layout.map(|layout| matches!(layout, Layout::Nhwc)),
            side: options.side.or(prepared.side()),
        };
        let mut fit = fit(&file, &wishes).map_err(|reason| refused(path, reason))?;
        if told.is_none() {
            fit.assumed.push(format!("that pictures are prepared as for {USUAL} (--preprocess {USUAL})"));
        }
        let preprocess = prepared.for_side(fit.side)?;
        if preprocess.crop != fit.side {
            let reason = format!(
                "it takes pictures of {0} x {0} pixels, --preprocess makes them {1} x {1}",
                fit.side, preprocess.crop
            );
            return Err(refused(path, reason).into());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let external = file.external.keys().map(|name| {
            let from = folder.join(name);
            Ok((ExternalFile { path: name.clone(), sha256: fingerprint::of_file(&from)? }, from))
        });
        let external = external.collect::<Result<Vec<_>>>()?;
        Ok(Side { path, bytes, file, fit, preprocess, external })
    }

    fn facts(&self, unit_length: bool) -> OnnxFacts {
        let external = self.external.iter().map(|(file, _)| file.clone()).collect();
        self.fit.facts(&self.file, fingerprint::of_bytes(&self.bytes), external, unit_length)
    }

    /// Writes the file as it is and what it needs.
    fn write(&self, folder: &Path, name: &str, interrupt: &Interrupt) -> Result<()> {
        atomic::write_bytes(&folder.join(name), &self.bytes)?;
        for (file, from) in &self.external {
            refuse_where(interrupt)?;
            let to = folder.join(&file.path);
            if to.exists() {
                // Of the other side: the same where it has the same contents.
                if fingerprint::of_file(&to)? != file.sha256 {
                    let reason =
                        format!("the files of photos and of sketches both keep weights in '{}'", file.path);
                    return Err(refused(self.path, reason).into());
                }
                continue;
            }
            let mut source = std::fs::File::open(from).map_err(Error::io("read", from))?;
            atomic::write_file(&to, |target| {
                std::io::copy(&mut source, target).map(drop).map_err(Error::io("copy", from))
            })?;
        }
        Ok(())
    }
}

fn refused(path: &Path, reason: String) -> sketchfind_models::Error {
    sketchfind_models::Error::OnnxFile { path: path.to_owned(), reason }
}

fn card_of(options: &ImportOptions, of_photos: &Side<'_>, of_sketches: Option<&Side<'_>>) -> Result<Card> {
    let stem = options.from.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let source = match options.source.as_str() {
        "" if of_photos.file.producer.is_empty() => "not told".to_owned(),
        "" => format!("not told; written by {}", of_photos.file.producer),
        told => told.to_owned(),
    };
    let onnx = of_photos.facts(options.unit_length);
    Ok(Card {
        format: card::FORMAT,
        name: options.name.clone().unwrap_or(stem),
        network: card::IMPORTED.into(),
        preprocess: of_photos.preprocess.clone(),
        frame: None,
        embedding_width: of_photos.fit.width,
        distance: options.distance,
        sketch: of_sketches.map(|side| SketchSide {
            preprocess: side.preprocess.clone(),
            onnx: side.facts(options.unit_length),
        }),
        provenance: Provenance {
            tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION"), ", model import").into(),
            initial_weights_sha256: onnx.sha256.clone(),
            initial_weights_source: source,
            training: None,
        },
        onnx,
        probe: None,
        evaluations: Vec::new(),
        licence: options.licence.clone(),
    })
}

/// What may differ between machines where the arithmetic is coarser than 32 bits: kernels round at other places. Nothing was
/// seen to differ here, as the file's own outputs are what is kept.
fn probe_facts(card: &Card) -> Option<ProbeFacts> {
    let of_sketches = card.sketch.iter().map(|sketch| sketch.onnx.precision);
    let precisions: Vec<Precision> = of_sketches.chain([card.onnx.precision]).collect();
    let tolerance = if precisions.contains(&Precision::Int8) {
        0.05
    } else if precisions.contains(&Precision::Fp16) {
        0.01
    } else {
        return None;
    };
    Some(ProbeFacts { deviation: 0.0, tolerance })
}

fn embeddings(embedder: &mut Embedder, probe: &BTreeMap<String, Image>) -> Result<Embeddings> {
    let images: Vec<Image> = probe.values().cloned().collect();
    let width = embedder.card().embedding_width;
    Ok(Embeddings::new(probe.keys().cloned().collect(), width, embedder.embed(&images)?)?)
}

/// Refuses a graph whose embedding of a picture is another where the picture is alone, as of one that was written as it is
/// trained; warns of one that gives all pictures the same.
fn check(
    embeddings: &Embeddings,
    embedder: &mut Embedder,
    probe: &BTreeMap<String, Image>,
) -> Result<(), String> {
    let largest = embeddings.values().iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 {
        return Err("it gives nothing but zeros for every picture of the probe".into());
    }
    let allowed = match embedder.card().onnx.precision {
        Precision::Fp32 => 1e-3,
        Precision::Fp16 => 2e-2,
        Precision::Int8 => 1e-1,
    };
    for (image, together) in probe.values().zip(embeddings.rows()) {
        let alone = embedder.embed(std::slice::from_ref(image)).map_err(|e| e.to_string())?;
        let off = alone.iter().zip(together).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        if off > allowed * largest {
            return Err(format!(
                "a picture's embedding is off by {:.1e} of the largest component where the picture is alone; expected the same \
                 in any batch: was it exported as it is trained?",
                off / largest
            ));
        }
    }
    let first = embeddings.row(0).unwrap_or_default();
    if embeddings.rows().all(|row| row == first) {
        warn("warning: the model gives all pictures of the probe the same embedding");
    }
    Ok(())
}

/// Says what was made and what was taken for granted.
fn tell(card: &Card, of_photos: &Side<'_>, of_sketches: Option<&Side<'_>>, out: &Path) {
    for (what, side) in [("photos", Some(of_photos)), ("sketches", of_sketches)] {
        let Some(side) = side else { continue };
        say(&format!(
            "{what}: '{}' takes {} of {2} x {2} pixels{3} as '{4}', gives {5} numbers as '{6}'{7}",
            side.path.display(),
            side.fit.input_kind.name(),
            side.fit.side,
            side.fit.batch.map_or(String::new(), |batch| format!(", {batch} at once,")),
            side.fit.input,
            side.fit.width,
            side.fit.output,
            if side.fit.pooling == Pooling::None {
                String::new()
            } else {
                format!(", pooled as {}", side.fit.pooling.name())
            },
        ));
        for assumed in &side.fit.assumed {
            say(&format!("{what}: the file does not say, and it is taken for granted, {assumed}"));
        }
    }
    say(&format!(
        "model '{}' written to '{}': {} numbers, compared by {}; prove it elsewhere with `sketchfind verify`",
        card.name,
        out.display(),
        card.embedding_width,
        card.distance
    ));
}
