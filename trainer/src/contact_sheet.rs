//! A picture of what the network is taught: sketches as they are trained on, each beside its photo, so that a person
//! sees what augmentation and pseudo-sketches make of the images.

use std::path::{Path, PathBuf};

use sketchfind_core::atomic;
use sketchfind_core::image::{Image, Preprocess};

use crate::Result;
use crate::batches::Sampler;

/// The picture's name in a run's folder.
pub const CONTACT_SHEET: &str = "contact-sheet.png";
/// Pairs beside each other, and rows of them.
const COLUMNS: usize = 4;
const ROWS: usize = 6;
/// Pixels between pairs.
const GAP: usize = 8;

/// Writes the first pairs of the first epoch into the run's folder and returns the file: in each pair the sketch on the
/// left and its photo on the right.
///
/// # Errors
/// [`crate::Error::Core`] where the file cannot be written.
pub fn write(run: &Path, sampler: &Sampler, preprocess: &Preprocess) -> Result<PathBuf> {
    let side = preprocess.crop as usize;
    let (width, height) = (COLUMNS * (2 * side + GAP) + GAP, ROWS * (side + GAP) + GAP);
    let mut pixels = vec![128_u8; width * height * 3];
    let mut place = 0;
    'steps: for step in 0..sampler.steps_per_epoch() {
        let batch = sampler.batch(0, step)?;
        for slot in 0..batch.n_pairs {
            if place == COLUMNS * ROWS {
                break 'steps;
            }
            let (column, row) = (place % COLUMNS, place / COLUMNS);
            for role in 0..2 {
                let start = (role * batch.n_pairs + slot) * preprocess.tensor_len();
                let image = &batch.values[start..start + preprocess.tensor_len()];
                let left = GAP + column * (2 * side + GAP) + role * side;
                let top = GAP + row * (side + GAP);
                paste(image, preprocess, &mut pixels, width, (left, top));
            }
            place += 1;
        }
    }
    let path = run.join(CONTACT_SHEET);
    let image = Image::new(width as u32, height as u32, pixels)?;
    atomic::write_bytes(&path, &image.to_png()?)?;
    Ok(path)
}

/// Puts a normalised image `[3, crop, crop]` back into pixels.
fn paste(
    image: &[f32],
    preprocess: &Preprocess,
    pixels: &mut [u8],
    width: usize,
    (left, top): (usize, usize),
) {
    let side = preprocess.crop as usize;
    for y in 0..side {
        for x in 0..side {
            for channel in 0..3 {
                let value = image[(channel * side + y) * side + x];
                let value = value * preprocess.std[channel] + preprocess.mean[channel];
                pixels[((top + y) * width + left + x) * 3 + channel] = (value * 255.0).round() as u8;
            }
        }
    }
}
