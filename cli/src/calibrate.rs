//! `sketchfind calibrate`.

use std::path::PathBuf;

use anyhow::Result;
use sketchfind::{Access, Calibration, Embedder, Framing, home};
use sketchfind_core::Error;
use sketchfind_core::calibration::{Learned, Measured};
use sketchfind_core::dataset::Modality;
use sketchfind_core::dataset::{Dataset, Split};
use sketchfind_core::embed::Embed;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_eval::calibrate::{CalibrationOptions, Learnt, calibrate as learn};
use sketchfind_eval::evaluate::photo_of_sketches;
use sketchfind_eval::report::{self, Provenance};
use sketchfind_eval::{Bootstrap, Questions};

use crate::embedding::Watched;
use crate::exit::Exit;
use crate::frames::Framed;
use crate::progress::say;
use crate::{Embedding, figures, output};

/// What is learned, from what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The model's folder.
    #[arg(long, required_unless_present = "gallery")]
    model: Option<PathBuf>,
    /// A gallery, for its model and the frame of its photos. What is found in it is not looked at.
    #[arg(long, conflicts_with_all = ["model", "frame"])]
    gallery: Option<PathBuf>,
    /// The data set: a folder with a manifest.csv, or the manifest. Its photos are the gallery, its sketches the queries.
    #[arg(long)]
    data: PathBuf,
    /// The split; the model must not have been trained on it.
    #[arg(long, default_value = "test")]
    split: Split,
    /// The share of photos whose sketches are asked of the gallery without them.
    #[arg(long, value_name = "SHARE", default_value_t = CalibrationOptions::default().without)]
    without: f64,
    /// How many of the sketches without their photo may be answered all the same; the threshold is chosen by it.
    #[arg(long, value_name = "SHARE", default_value_t = CalibrationOptions::default().false_answers)]
    false_answers: f64,
    /// The parts of cross-validation, by which it is measured how often that errs.
    #[arg(long, value_name = "N", default_value_t = CalibrationOptions::default().n_folds)]
    folds: usize,
    /// How drawings and photos are framed before they are embedded: card, as `query` and `index build` do; off, not at all; or
    /// a share of the page's longer side, such as 0.8, that they are to fill. A calibration is for queries that do the same.
    #[arg(long, value_name = "card|off|SHARE", default_value = "card")]
    frame: Framing,
    /// The file, *.json.
    #[arg(long)]
    out: PathBuf,
    /// Also write what was measured, as calibration.csv, reliability.csv and answers.csv, into this folder.
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
}

pub(crate) fn calibrate(options: &Options, bootstrap: &Bootstrap, compute: Embedding) -> Result<Exit> {
    let Options { split, out, .. } = options;
    if out.extension().is_none_or(|ending| ending != "json") {
        let reason = format!("--out is '{}', expected a name that ends in .json", out.display());
        return Err(Error::malformed(out, reason).into());
    }
    if let Some(folder) = &options.report {
        report::check_calibration_free(folder)?;
    }
    bootstrap.check()?;
    let how = CalibrationOptions {
        without: options.without,
        false_answers: options.false_answers,
        n_folds: options.folds,
        seed: bootstrap.seed,
    };
    how.check()?;
    let dataset = Dataset::load(&options.data)?;
    let photo_of = photo_of_sketches(&dataset, *split);
    let questions = Questions::of_split(&dataset, *split);
    let (mut embedder, photo_frame) = match (&options.model, &options.gallery) {
        (None, Some(gallery)) => {
            let gallery = home::open(gallery, Access::Read)?;
            let model = gallery.model_dir();
            let model =
                model.ok_or_else(|| sketchfind::Error::NoModel { path: gallery.place().to_owned() })?;
            (Embedder::open(model, compute.options())?, gallery.photo_frame())
        }
        (model, _) => {
            let model = model.as_deref().unwrap_or(std::path::Path::new(""));
            let embedder = Embedder::open(model, compute.options())?;
            let photo_frame = options.frame.of_photos(embedder.card().frame)?;
            (embedder, photo_frame)
        }
    };
    let card = embedder.card().clone();
    let sketch_share = options.frame.share(card.frame)?;
    let mut framed = Framed::new(&mut embedder, sketch_share, photo_frame);
    let mut network = Watched { network: &mut framed, note: "" };
    let mut embed =
        |modality, pictures| network.embeddings(modality, pictures, Progress::default(), Cancel::default());
    let gallery = embed(Modality::Photo, &questions.photos)?;
    let queries = embed(Modality::Sketch, &questions.sketches)?;
    let learnt = learn(&queries, &gallery, &photo_of, card.distance, &how, bootstrap)?;
    let provenance = Provenance {
        tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION")).into(),
        model: card.name.clone(),
        model_sha256: card.fingerprint(),
        dataset_sha256: dataset.fingerprint()?,
        split: split.to_string(),
        distance: card.distance.to_string(),
    };
    let calibration = Calibration {
        tool: provenance.tool.clone(),
        model: provenance.model.clone(),
        model_sha256: provenance.model_sha256.clone(),
        distance: card.distance,
        sketch_share,
        photo_frame,
        map: learnt.map,
        min_score: learnt.min_score,
        false_answers: how.false_answers,
        learned: Learned {
            dataset_sha256: provenance.dataset_sha256.clone(),
            split: provenance.split.clone(),
            n_photos: learnt.n_photos,
            n_sketches: learnt.judged.len(),
            n_without: learnt.n_without,
            without: how.without,
            n_folds: how.n_folds,
            seed: how.seed,
            confidence: bootstrap.confidence,
        },
        measured: measured(&learnt),
    };
    if let Some(folder) = &options.report {
        report::write_calibration(folder, &provenance, &learnt, &how, bootstrap)?;
    }
    calibration.save(out)?;
    render(&learnt, &how, bootstrap)?;
    say(&format!("calibration written to '{}'", out.display()));
    Ok(Exit::Success)
}

fn measured(learnt: &Learnt) -> Vec<Measured> {
    let known = |value: f64| (!value.is_nan()).then_some(value);
    let one = |estimate: &sketchfind_eval::Estimate| Measured {
        metric: estimate.metric.clone(),
        value: known(estimate.value),
        low: known(estimate.low),
        high: known(estimate.high),
        n: estimate.n,
    };
    learnt.estimates.iter().map(one).collect()
}

fn render(learnt: &Learnt, how: &CalibrationOptions, bootstrap: &Bootstrap) -> Result<()> {
    output::lines([
        format!(
            "{} sketches, a gallery of {} photos; {} of them asked without their own photo",
            learnt.judged.len(),
            learnt.n_photos,
            learnt.n_without
        ),
        format!(
            "threshold {:.4}: at most {:.0} % of sketches without their photo are to be answered",
            learnt.min_score,
            100.0 * how.false_answers
        ),
        format!("measured on photos that were not learned from, in {} parts:", how.n_folds),
    ])?;
    let estimates = learnt.estimates.iter().map(|one| (one.metric.clone(), one.clone()));
    figures::render("metric", bootstrap, estimates)
}
