//! Distances between embeddings. Which one applies is a property of the model and stands in its card.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A distance between two embeddings of the same width. Smaller is more alike; never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// Mean squared difference, `(1/D) * sum_k (a_k - b_k)^2`: the distance of 'Photo Pre-Training, But for
    /// Sketch' (CVPR 2023), on raw features.
    Mse,
    /// `1 - cos(a, b)`, in `[0, 2]`. A zero vector has no direction and is at distance 1 (orthogonal) from
    /// everything: never a best score.
    Cosine,
}

impl Distance {
    /// The name that cards and CSV files use.
    pub fn name(self) -> &'static str {
        match self {
            Distance::Mse => "mse",
            Distance::Cosine => "cosine",
        }
    }

    /// The distance between `a` and `b`, accumulated in f64 (so that the order of summation does not decide a
    /// ranking). NaN or infinite where a component is.
    ///
    /// # Shapes
    /// `a`: `[D]`, `b`: `[D]`. Where the widths differ the shorter decides; callers check widths at their door.
    ///
    /// ```
    /// use sketchfind_core::distance::Distance;
    /// // By hand: ((1-3)^2 + (2-2)^2) / 2 = 2.
    /// assert_eq!(Distance::Mse.between(&[1.0, 2.0], &[3.0, 2.0]), 2.0);
    /// assert_eq!(Distance::Cosine.between(&[1.0, 0.0], &[0.0, 5.0]), 1.0);
    /// assert_eq!(Distance::Cosine.between(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
    /// ```
    pub fn between(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Distance::Mse => {
                let sum = sum_lanes(a, b, |x, y| (x - y) * (x - y));
                sum / a.len().min(b.len()).max(1) as f64
            }
            Distance::Cosine => {
                let dot = sum_lanes(a, b, |x, y| x * y);
                let norms = (sum_lanes(a, a, |x, y| x * y) * sum_lanes(b, b, |x, y| x * y)).sqrt();
                // Not `norms > 0.0`: a NaN must come out as NaN, not as orthogonal.
                if norms == 0.0 { 1.0 } else { (1.0 - dot / norms).clamp(0.0, 2.0) }
            }
        }
    }
}

impl std::fmt::Display for Distance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The name that cards and CSV files use.
///
/// ```
/// use sketchfind_core::distance::Distance;
/// assert_eq!("cosine".parse::<Distance>()?, Distance::Cosine);
/// assert!("euclidean".parse::<Distance>().is_err());
/// # Ok::<(), sketchfind_core::Error>(())
/// ```
impl std::str::FromStr for Distance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Distance> {
        let known = [Distance::Mse, Distance::Cosine];
        known.into_iter().find(|distance| distance.name() == text).ok_or_else(|| Error::OutOfRange {
            what: "distance",
            value: format!("'{text}'"),
            expected: "'mse' or 'cosine'".into(),
        })
    }
}

/// Sum of `term` over pairs of components, in eight independent lanes that the compiler can vectorise.
fn sum_lanes(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut lanes = [0.0_f64; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(&x, &y)| term(f64::from(x), f64::from(y)))
        .sum();
    for (a8, b8) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += term(f64::from(a8[lane]), f64::from(b8[lane]));
        }
    }
    lanes.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn vector(stream: &mut Stream, width: usize) -> Vec<f32> {
        (0..width).map(|_| (stream.unit() * 4.0 - 2.0) as f32).collect()
    }

    #[test]
    fn equals_the_naive_formulas() {
        let mut stream = Stream::new(1, "distance", &[]);
        for width in [1, 7, 8, 9, 64, 1280] {
            let (a, b) = (vector(&mut stream, width), vector(&mut stream, width));
            let mse = a.iter().zip(&b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>()
                / width as f64;
            assert!((Distance::Mse.between(&a, &b) - mse).abs() <= 1e-12 * mse);
            let dot: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let cosine = 1.0 - dot / (norm(&a) * norm(&b));
            assert!((Distance::Cosine.between(&a, &b) - cosine).abs() <= 1e-12);
        }
    }

    #[test]
    fn never_negative_and_zero_on_itself() {
        let mut stream = Stream::new(2, "distance", &[]);
        for _ in 0..200 {
            let a = vector(&mut stream, 33);
            assert_eq!(Distance::Mse.between(&a, &a), 0.0);
            let cosine = Distance::Cosine.between(&a, &a);
            assert!((0.0..1e-12).contains(&cosine), "{cosine}");
        }
    }

    #[test]
    fn nan_is_never_a_distance_that_wins() {
        let bad = [f32::NAN, 1.0];
        assert!(Distance::Mse.between(&bad, &[1.0, 1.0]).is_nan());
        assert!(Distance::Cosine.between(&bad, &[1.0, 1.0]).is_nan());
    }
}
