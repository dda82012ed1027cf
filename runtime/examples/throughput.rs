//! Images a second of models, in turns: `throughput [--batch N] [--threads N] [--secs S] MODEL_DIR...` prints a line of
//! CSV for each model: folder, precision, bytes of its file, images a second (the median of five turns).

// A program at the rim: it prints.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use sketchfind_core::card::MODEL;
use sketchfind_core::image::Rgb8Image;
use sketchfind_core::random::Stream;
use sketchfind_runtime::{Embedder, EmbedderOptions};

/// Every model has this many turns, so that a slow minute of the machine meets all.
const N_TURNS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut options, mut secs, mut models) = (EmbedderOptions::cpu(), 2.0_f64, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--batch" => options.batch = value()?.parse()?,
            "--threads" => options.n_threads = Some(value()?.parse()?),
            "--secs" => secs = value()?.parse()?,
            _ => models.push(PathBuf::from(argument)),
        }
    }
    let mut runs = models.iter().map(|model| Run::new(model, &options)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..N_TURNS {
        for run in &mut runs {
            run.turn(secs)?;
        }
    }
    println!("model,precision,bytes,images_per_second");
    for run in &mut runs {
        run.rates.sort_by(f64::total_cmp);
        let bytes = std::fs::metadata(run.model.join(MODEL))?.len();
        let precision = run.embedder.card().onnx.precision.name();
        println!("{},{precision},{bytes},{:.2}", run.model.display(), run.rates[N_TURNS / 2]);
    }
    Ok(())
}

struct Run {
    model: PathBuf,
    embedder: Embedder,
    images: Vec<Rgb8Image>,
    rates: Vec<f64>,
}

impl Run {
    fn new(model: &Path, options: &EmbedderOptions) -> Result<Run, Box<dyn std::error::Error>> {
        let mut embedder = Embedder::open(model, options.clone())?;
        // Noise of the size that images are resized to: what is timed is the network, not the decoder.
        let side = embedder.card().preprocess.resize;
        let mut stream = Stream::new(1, "throughput", &[]);
        let mut pixels = || (0..side * side * 3).map(|_| stream.below(256) as u8).collect();
        let images = (0..options.batch)
            .map(|_| Rgb8Image::new(side, side, pixels()))
            .collect::<Result<Vec<_>, _>>()?;
        embedder.embed(&images)?; // warms up
        Ok(Run { model: model.to_owned(), embedder, images, rates: Vec::new() })
    }

    fn turn(&mut self, secs: f64) -> Result<(), Box<dyn std::error::Error>> {
        let (started, mut n_images) = (Instant::now(), 0);
        while started.elapsed().as_secs_f64() < secs {
            self.embedder.embed(&self.images)?;
            n_images += self.images.len();
        }
        self.rates.push(n_images as f64 / started.elapsed().as_secs_f64());
        Ok(())
    }
}
