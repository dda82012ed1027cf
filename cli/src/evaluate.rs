//! `sketchfind eval`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use sketchfind::{Embedder, Framing};
use sketchfind_core::dataset::{Dataset, Modality, Split};
use sketchfind_core::distance::Distance;
use sketchfind_core::embed::Embed;
use sketchfind_core::work::{Cancel, Progress};
use sketchfind_eval::evaluate::photo_of_sketches;
use sketchfind_eval::neighbours::{SketchAnchors, Space};
use sketchfind_eval::products::rank_products;
use sketchfind_eval::ready::Ready;
use sketchfind_eval::report::{Extras, Provenance, Reference, Report};
use sketchfind_eval::summary::summarise_by;
use sketchfind_eval::{Answers, Bootstrap, Questions, trec};

use crate::embedding::Watched;
use crate::exit::Exit;
use crate::frames::{self, MeasuredFrame};
use crate::progress::say;
use crate::{Embedding, figures, neighbours, output};

mod human;
mod labels;
mod pages;
mod pictures;
mod products;
mod qrels;
mod strokes;

/// What is evaluated, and what is measured besides.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The model's folder.
    #[arg(long, required_unless_present = "embeddings")]
    model: Option<PathBuf>,
    /// In place of a model, embeddings that are there: a NumPy file of the split's sketches and one of its photos, float32, each
    /// with its ids in a CSV of row,id beside it, as `embed` writes them. One of each sketch and photo, and none besides.
    #[arg(long, num_args = 2, value_names = ["SKETCHES.npy", "PHOTOS.npy"], requires = "distance",
          conflicts_with_all = ["model", "strokes", "pages", "framing"])]
    embeddings: Option<Vec<PathBuf>>,
    /// The distance by which these embeddings are compared: mse or cosine.
    #[arg(long, value_name = "mse|cosine", requires = "embeddings")]
    distance: Option<Distance>,
    /// What the report calls them; by default by their files.
    #[arg(long, requires = "embeddings")]
    name: Option<String>,
    /// The data set: a folder with a manifest.csv, or the manifest.
    #[arg(long, visible_alias = "manifest")]
    data: PathBuf,
    /// The split.
    #[arg(long, default_value = "test")]
    split: Split,
    /// The report's folder: summary.csv, queries.csv, gallery.csv, report.html, and what options add.
    #[arg(long)]
    out: PathBuf,
    /// The k of acc@k.
    #[arg(short, value_delimiter = ',', default_values_t = sketchfind_eval::summary::ACCURACY_CUTOFFS, value_name = "K,...")]
    k: Vec<usize>,
    /// Several matches a sketch: a qrels file (query 0 photo relevance) in place of the manifest's pairs. Adds mAP.
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// Rank products: photos that share a value of the manifest's column product are one, as near as the nearest of them, and
    /// a sketch has found what it depicts when its product is first. A product goes by the id of its first photo.
    #[arg(long, conflicts_with_all = ["pages", "strokes", "trec"])]
    by_product: bool,
    /// Also by label: a column of the file of labels, for sketches or their photos. May be given several times.
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// The file of labels, a CSV with a column id; by default labels.csv beside the manifest.
    #[arg(long, value_name = "CSV", requires = "label")]
    labels: Option<PathBuf>,
    /// A fixed photo network's folder: neighbourhood-ranking statistics against its space, smoothness and fidelity in it.
    #[arg(long, value_name = "MODEL")]
    reference: Option<PathBuf>,
    /// Agreement with people: a CSV of split,sketch,nearer,farther.
    #[arg(long, value_name = "CSV")]
    human: Option<PathBuf>,
    /// Vector sketches under the data set's names: QMUL's coordinate file, QuickDraw's ndjson, or a folder of SVG files.
    #[arg(long, value_name = "FILE", conflicts_with = "framing")]
    strokes: Option<PathBuf>,
    /// Rank while sketches are drawn, in this many steps; 20 if no number is given.
    #[arg(long, value_name = "STEPS", requires = "strokes", num_args = 0..=1, default_missing_value = "20",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    on_the_fly: Option<u16>,
    /// Rank deformed sketches and such with fewer strokes, in this many versions of each; 10 if no number is given.
    #[arg(long, value_name = "VERSIONS", requires = "strokes", num_args = 0..=1, default_missing_value = "10",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    robustness: Option<u16>,
    /// Rank drawings and photos on other pages too: at half size, in a corner, on a wide or a large page; drawings also on dark
    /// and grey ground, in pencil on shadowed paper, in colours, with thicker and thinner lines. As they are, and brought into
    /// the frame that the model's card states. Adds pages.csv.
    #[arg(long, conflicts_with = "framing")]
    pages: bool,
    #[command(flatten)]
    frame: MeasuredFrame,
    /// Also write run.trec and qrels.trec, with this many photos a sketch; 1000 if no number is given.
    #[arg(long, value_name = "DEPTH", num_args = 0..=1, default_missing_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..))]
    trec: Option<u32>,
    /// Another report on the same data, to show side by side in report.html.
    #[arg(long, value_name = "REPORT")]
    against: Option<PathBuf>,
}

pub(crate) fn evaluate(options: &Options, bootstrap: &Bootstrap, compute: Embedding) -> Result<Exit> {
    let Options { split, out, .. } = options;
    let dataset = Dataset::load(&options.data)?;
    // What can be refused is refused before anything is embedded.
    sketchfind_eval::report::check_free(out)?;
    bootstrap.check()?;
    let photo_of = photo_of_sketches(&dataset, *split);
    let mut questions = Questions::of_split(&dataset, *split);
    if let Some(path) = &options.qrels {
        questions.truth = qrels::read(path, &dataset, *split, &photo_of)?;
    }
    let truth = &questions.truth;
    let products = options.by_product.then(|| products::read(&dataset, *split)).transpose()?;
    let labels = labels::read(&options.label, options.labels.as_deref(), &dataset, *split)?;
    let people = options.human.as_ref().map(|path| human::read(path, &dataset, *split)).transpose()?;
    let drawn = options.strokes.as_ref().map(|path| strokes::read(path, &dataset, *split)).transpose()?;
    let against = options.against.as_ref().map(|folder| Report::read(folder, bootstrap)).transpose()?;
    let mut reference =
        options.reference.as_ref().map(|model| Embedder::open(model, compute.options())).transpose()?;

    let mut measured = Measured::open(options, compute)?;
    let frame = match &measured {
        Measured::Network { embedder, model } if options.pages => Some(frames::of_card(embedder, model)?),
        _ => None,
    };
    let Answers { gallery, queries, results } = measured.answer(&questions, options.frame)?;
    let distance = measured.distance();
    let (ranked, results) = match &products {
        None => (gallery.ids().to_vec(), results),
        Some(product_of) => {
            let ranked = rank_products(&queries, &gallery, truth, product_of, distance)?;
            (ranked.products, ranked.results)
        }
    };
    let provenance = Provenance {
        dataset_sha256: dataset.fingerprint()?,
        split: if options.by_product { format!("{split}, by product") } else { split.to_string() },
        ..measured.provenance(options.frame.framing)
    };
    let tag = provenance.model.replace(char::is_whitespace, "-");
    let mut report = Report::at(provenance, results, &options.k, bootstrap)?.with_gallery(&ranked)?;
    if let Some(against) = &against {
        sketchfind_eval::report::check_comparable(&report, against)?;
    }
    let mut extras = Extras { against, ..Extras::default() };
    for (column, labels) in &labels {
        extras.labels.extend(summarise_by(report.results(), column, labels, &options.k, bootstrap)?);
    }
    if let Some(reference) = &mut reference {
        let mut watched = Watched { network: reference, note: ", reference" };
        let photos =
            watched.embeddings(Modality::Photo, &questions.photos, Progress::default(), Cancel::default())?;
        let space = Space { photos: &photos, distance: watched.distance() };
        let named =
            Reference { model: reference.card().name.clone(), model_sha256: reference.card().fingerprint() };
        report = report.with_reference(named, space)?;
        let anchors = SketchAnchors { sketches: &queries, photo_of: &photo_of };
        let studied = Space { photos: &gallery, distance };
        extras.neighbours = Some(neighbours::compare(space, studied, Some(anchors), bootstrap)?);
    }
    if let Some(triplets) = &people {
        extras.human =
            Some(sketchfind_eval::human::agreement(triplets, &queries, &gallery, distance, bootstrap)?);
    }
    if let (Some(drawn), Measured::Network { embedder, .. }) = (&drawn, &mut measured) {
        let mut retrieval = strokes::Retrieval { embedder, gallery: &gallery, truth, drawn, bootstrap };
        if let Some(n_steps) = options.on_the_fly {
            extras.early = Some(retrieval.on_the_fly(usize::from(n_steps))?);
        }
        if let Some(n_versions) = options.robustness {
            extras.robustness = retrieval.robustness(usize::from(n_versions))?;
        }
    }
    let on_pages = match (frame, &mut measured) {
        (Some(frame), Measured::Network { embedder, .. }) => pages::Retrieval {
            embedder,
            photos: &questions.photos,
            sketches: &questions.sketches,
            gallery: &gallery,
            queries: &queries,
            truth,
            cutoffs: &options.k,
            bootstrap,
        }
        .measure(frame)?,
        _ => Vec::new(),
    };
    extras.map =
        sketchfind_eval::map::embedding_map(&gallery, &queries, &photo_of, distance, bootstrap.seed)?;
    extras.pictures = pictures::small(&dataset, &report, extras.against.as_ref())?;
    report.write_with(out, &extras, |new| {
        if options.pages {
            pages::write(&on_pages, new)?;
        }
        if let Some(depth) = options.trec {
            let run = new.join(trec::RUN);
            trec::write_run(&run, &queries, &gallery, truth, distance, depth as usize, &tag)?;
            trec::write_qrels(&new.join(trec::QRELS), truth)?;
        }
        Ok(())
    })?;
    render(&report, &extras)?;
    if options.pages {
        output::lines(output::table(&pages::table(&on_pages), &[2, 3, 4]))?;
    }
    say(&format!("report written to '{}'", out.join(sketchfind_eval::report::HTML).display()));
    Ok(Exit::Success)
}

/// What is measured: a model, or embeddings that somebody has made with one.
enum Measured<'a> {
    Network { embedder: Box<Embedder>, model: &'a Path },
    Ready { embeddings: Ready, name: String },
}

impl<'a> Measured<'a> {
    fn open(options: &'a Options, compute: Embedding) -> Result<Measured<'a>> {
        let Options { model, embeddings, distance, name, .. } = options;
        match (model, embeddings.as_deref(), distance) {
            (Some(model), ..) => {
                Ok(Measured::Network { embedder: Box::new(Embedder::open(model, compute.options())?), model })
            }
            (None, Some([sketches, photos]), Some(distance)) => {
                let by_files = || format!("embeddings '{}', '{}'", sketches.display(), photos.display());
                let name = name.clone().unwrap_or_else(by_files);
                Ok(Measured::Ready { embeddings: Ready::load(sketches, photos, *distance)?, name })
            }
            // Which clap does not let through.
            _ => anyhow::bail!("expected --model, or --embeddings and --distance"),
        }
    }

    fn answer(&mut self, questions: &Questions<'_, Path>, frame: MeasuredFrame) -> Result<Answers> {
        match self {
            Measured::Network { embedder, model } => {
                // A broken image stops an evaluation: leaving it out would change what is measured.
                let mut framed = frame.on(embedder, model)?;
                sketchfind_eval::evaluate(questions, &mut Watched { network: &mut framed, note: "" })
            }
            Measured::Ready { embeddings, .. } => Ok(sketchfind_eval::evaluate(questions, embeddings)?),
        }
    }

    fn distance(&self) -> Distance {
        match self {
            Measured::Network { embedder, .. } => embedder.distance(),
            Measured::Ready { embeddings, .. } => embeddings.distance(),
        }
    }

    /// Whose report it is, without the data set.
    fn provenance(&self, framing: Framing) -> Provenance {
        let (model, model_sha256) = match self {
            // What was measured is the model behind its framing.
            Measured::Network { embedder, .. } => {
                let card = embedder.card();
                let model = match framing {
                    Framing::Off => card.name.clone(),
                    framing => format!("{}, pictures framed ({framing})", card.name),
                };
                (model, card.fingerprint())
            }
            Measured::Ready { embeddings, name } => (name.clone(), embeddings.sha256().to_owned()),
        };
        Provenance {
            tool: concat!("sketchfind ", env!("CARGO_PKG_VERSION")).into(),
            model,
            model_sha256,
            dataset_sha256: String::new(),
            split: String::new(),
            distance: self.distance().to_string(),
        }
    }
}

fn render(report: &Report, extras: &Extras) -> Result<()> {
    let summary = report.summary();
    output::lines([format!(
        "{} on {}: {} sketches of {} photos, gallery of {}",
        report.provenance().model,
        report.provenance().split,
        summary.n_queries,
        summary.n_photos,
        summary.n_gallery
    )])?;
    let mut estimates = summary.estimates.clone();
    estimates.extend(report.closeness());
    estimates.extend(extras.human.iter().map(|human| human.agreement.clone()));
    estimates.extend(extras.early.iter().flat_map(|early| early.areas.clone()));
    estimates.extend(extras.robustness.iter().map(|change| change.drop.clone()));
    let over_all = estimates.into_iter().map(|estimate| (estimate.metric.clone(), estimate));
    let by_label = extras.labels.iter().flat_map(|part| {
        let figures = part.summary.estimates.iter().filter(|estimate| figures::is_accuracy(estimate));
        figures.map(|one| (format!("{} {}={}", one.metric, part.column, part.label), one.clone()))
    });
    figures::render("metric", &summary.bootstrap, over_all.chain(by_label))?;
    extras.neighbours.as_ref().map_or(Ok(()), figures::render_neighbours)
}
