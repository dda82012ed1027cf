//! From a graph's output to embeddings: pooled and brought to unit length, as the card says.

use sketchfind_core::card::{Card, Pooling};

/// Appends the embeddings of the first `n` images of an output; nothing where its shape is not one of the card.
///
/// # Shapes
/// `values`: `shape`, row-major; appends `[n, embedding_width]`.
pub(super) fn append(
    card: &Card,
    shape: &[usize],
    values: &[f32],
    n: usize,
    embeddings: &mut Vec<f32>,
) -> Option<()> {
    let (pooling, width) = (card.onnx.pooling, card.embedding_width);
    let has_shape = shape.len() == pooling.rank()
        && shape.get(pooling.axis()) == Some(&width)
        && shape.first().is_some_and(|&n_images| n_images >= n)
        && shape.iter().product::<usize>() == values.len();
    if !has_shape {
        return None;
    }
    let n_places = shape[1..].iter().product::<usize>() / width;
    let from = usize::from(pooling == Pooling::MeanOfPatches);
    if n_places <= from {
        return None;
    }
    let start = embeddings.len();
    for image in values.chunks_exact(n_places * width).take(n) {
        match pooling {
            Pooling::None | Pooling::ClassToken => embeddings.extend_from_slice(&image[..width]),
            Pooling::MeanOfTokens | Pooling::MeanOfPatches | Pooling::MeanOfMapNhwc => {
                let rows = &image[from * width..];
                let of_axis = |axis: usize| mean(rows[axis..].iter().step_by(width));
                embeddings.extend((0..width).map(of_axis));
            }
            Pooling::MeanOfMap => embeddings.extend(image.chunks_exact(n_places).map(|map| mean(map.iter()))),
        }
    }
    if card.onnx.unit_length {
        embeddings[start..].chunks_exact_mut(width).for_each(to_unit_length);
    }
    Some(())
}

/// Of at least one value, summed in 64 bits.
fn mean<'v>(values: impl ExactSizeIterator<Item = &'v f32>) -> f32 {
    let n = values.len() as f64;
    (values.map(|&value| f64::from(value)).sum::<f64>() / n) as f32
}

fn to_unit_length(embedding: &mut [f32]) {
    let length = embedding.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        embedding.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn card(pooling: Pooling, unit_length: bool) -> Card {
        let text = include_str!("../../tests/fixtures/mean8/card.json");
        let mut card = Card::parse(text, Path::new("card.json")).unwrap();
        card.embedding_width = 2;
        (card.onnx.pooling, card.onnx.unit_length) = (pooling, unit_length);
        card
    }

    fn pooled(card: &Card, shape: &[usize], n: usize) -> Option<Vec<f32>> {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|value| value as f32).collect();
        let mut embeddings = vec![7.0];
        append(card, shape, &values, n, &mut embeddings)?;
        Some(embeddings.split_off(1))
    }

    /// By hand, of 0, 1, 2, ...
    #[test]
    fn every_pooling_is_what_it_says() {
        for (pooling, shape, expected) in [
            (Pooling::None, &[2, 2][..], [0.0, 1.0, 2.0, 3.0]),
            (Pooling::ClassToken, &[2, 3, 2], [0.0, 1.0, 6.0, 7.0]),
            (Pooling::MeanOfTokens, &[2, 3, 2], [2.0, 3.0, 8.0, 9.0]),
            (Pooling::MeanOfPatches, &[2, 3, 2], [3.0, 4.0, 9.0, 10.0]),
            (Pooling::MeanOfMap, &[2, 2, 1, 3], [1.0, 4.0, 7.0, 10.0]),
            (Pooling::MeanOfMapNhwc, &[2, 1, 3, 2], [2.0, 3.0, 8.0, 9.0]),
        ] {
            let card = card(pooling, false);
            assert_eq!(pooled(&card, shape, 2).unwrap(), expected, "{pooling:?}");
            // What a fixed batch was filled up with is left out.
            assert_eq!(pooled(&card, shape, 1).unwrap(), expected[..2], "{pooling:?}");
            assert_eq!(pooled(&card, shape, 3), None);
            assert_eq!(pooled(&card, &[shape, &[1]].concat(), 2), None);
        }
        assert_eq!(pooled(&card(Pooling::MeanOfPatches, false), &[1, 1, 2], 1), None);
        assert_eq!(pooled(&card(Pooling::MeanOfTokens, false), &[1, 0, 2], 1), None);
        assert_eq!(pooled(&card(Pooling::MeanOfTokens, false), &[1, 2, 3], 1), None);
    }

    #[test]
    fn unit_length_leaves_zeros_alone() {
        let card = card(Pooling::None, true);
        let mut embeddings = vec![];
        append(&card, &[2, 2], &[3.0, -4.0, 0.0, 0.0], 2, &mut embeddings).unwrap();
        assert_eq!(embeddings, [0.6, -0.8, 0.0, 0.0]);
    }
}
