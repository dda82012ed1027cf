//! What the tensors of a head begin as, where a photo-pre-trained network has none.

use sketchfind_core::random::Stream;

use super::{Tensor, Weights};
use crate::Result;
use crate::network::{HeadSpec, Network, Op, PROJECTION, ProjectionStart};

/// The tensors that `head` adds to a network, as training begins with them; `network` has the head.
///
/// # Errors
/// [`crate::Error::TensorShape`] never, for shapes are the network's own.
pub fn of_head(network: &Network, head: &HeadSpec, seed: u64) -> Result<Weights> {
    let mut weights = Weights::default();
    for node in network.nodes() {
        match &node.op {
            Op::Gem { p, name: Some(name), .. } => {
                weights.insert(name, Tensor::new(vec![1], vec![*p as f32])?);
            }
            Op::Linear { name, in_features, out_features, bias }
                if PROJECTION[0].strip_suffix(".weight") == Some(name.as_str()) =>
            {
                let start = head.projection.map_or(ProjectionStart::Random, |projection| projection.start);
                let mut stream = Stream::new(seed, PROJECTION[0], &[]);
                let mut draw = |n: usize| (0..n).map(|_| stream.normal()).collect::<Vec<f64>>();
                let values = match start {
                    ProjectionStart::Random => {
                        let deviation = (2.0 / (*in_features).max(1) as f64).sqrt();
                        let values = draw(in_features * out_features);
                        values.into_iter().map(|value| (value * deviation) as f32).collect()
                    }
                    ProjectionStart::Orthogonal if out_features <= in_features => {
                        let rows = orthonormal(draw(in_features * out_features), *in_features);
                        rows.into_iter().map(|value| value as f32).collect()
                    }
                    ProjectionStart::Orthogonal => {
                        let columns = orthonormal(draw(in_features * out_features), *out_features);
                        let value = |index: usize| {
                            let (row, column) = (index / in_features, index % in_features);
                            columns[column * out_features + row] as f32
                        };
                        (0..in_features * out_features).map(value).collect()
                    }
                };
                weights.insert(PROJECTION[0], Tensor::new(vec![*out_features, *in_features], values)?);
                if *bias {
                    weights
                        .insert(PROJECTION[1], Tensor::new(vec![*out_features], vec![0.0; *out_features])?);
                }
            }
            _ => {}
        }
    }
    Ok(weights)
}

/// Rows of `width` numbers made orthogonal to each other and of unit length, one after another (Gram and Schmidt, each
/// row twice, so that rounding does not add up).
fn orthonormal(mut values: Vec<f64>, width: usize) -> Vec<f64> {
    for index in 0..values.len() / width.max(1) {
        let (done, rest) = values.split_at_mut(index * width);
        let row = &mut rest[..width];
        for _ in 0..2 {
            for other in done.chunks_exact(width) {
                let dot: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|value| *value /= length);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Head, Pooling, Projection};

    fn spec(width: usize, start: ProjectionStart) -> HeadSpec {
        let projection = Projection { width, bias: true, start };
        HeadSpec {
            pooling: Pooling::Gem { p: 2.5, learn: true, cells: 1 },
            projection: Some(projection),
            normalise: true,
        }
    }

    /// The products of all pairs of rows, or of columns where there are more rows.
    #[test]
    fn an_orthogonal_projection_is_orthogonal_either_way() {
        let network = Network::by_name("resnet18", Head::Embedding).unwrap();
        for width in [96, 600] {
            let head = spec(width, ProjectionStart::Orthogonal);
            let network = network.with_head(&head).unwrap();
            let weights = of_head(&network, &head, 3).unwrap();
            assert_eq!(weights.get("gem.p").unwrap().values, [2.5]);
            assert!(weights.get("projection.bias").unwrap().values.iter().all(|&value| value == 0.0));
            let matrix = weights.get("projection.weight").unwrap();
            assert_eq!(matrix.shape, [width, 512]);
            let at = |row: usize, column: usize| f64::from(matrix.values[row * 512 + column]);
            let n = width.min(512);
            for (a, b) in [(0, 0), (0, 1), (n - 1, n - 1), (n - 1, n / 2)] {
                let dot: f64 = match width < 512 {
                    true => (0..512).map(|column| at(a, column) * at(b, column)).sum(),
                    false => (0..width).map(|row| at(row, a) * at(row, b)).sum(),
                };
                let expected = if a == b { 1.0 } else { 0.0 };
                assert!((dot - expected).abs() < 1e-6, "{width}: {a} {b} {dot}");
            }
        }
    }

    #[test]
    fn a_random_projection_has_the_variance_of_he() {
        let head = spec(64, ProjectionStart::Random);
        let network = Network::by_name("resnet18", Head::Embedding).unwrap().with_head(&head).unwrap();
        let values = &of_head(&network, &head, 3).unwrap().get("projection.weight").unwrap().values.clone();
        let variance =
            values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((variance * 512.0 / 2.0 - 1.0).abs() < 0.05, "{variance}");
    }
}
