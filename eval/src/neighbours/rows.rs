//! Distances from some points to all photos of a space, by matrix products of blocks.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;

/// Photos whose numbers are widened to f64 at once.
const PANEL: usize = 256;

/// A space that distances are computed in.
pub(crate) struct Rows<'a> {
    photos: &'a Embeddings,
    distance: Distance,
    /// The squared norm of each photo, `[N]`.
    norms: Vec<f64>,
}

/// Distances, `[n_points, N]`.
pub(crate) struct Distances(Array2<f64>);

impl Distances {
    /// The distances of one point to all photos, `[N]`.
    pub(crate) fn row(&self, point: usize) -> &[f64] {
        let n = self.0.ncols();
        self.0.as_slice().and_then(|all| all.get(point * n..(point + 1) * n)).unwrap_or_default()
    }
}

impl<'a> Rows<'a> {
    pub(crate) fn new(photos: &'a Embeddings, distance: Distance) -> Rows<'a> {
        let mut wide = vec![0.0; photos.width()];
        let norms = photos.rows().map(|row| widen(row, &mut wide, distance)).collect();
        Rows { photos, distance, norms }
    }

    /// The distances of `points` to every photo.
    ///
    /// # Shapes
    /// `points`: `[n_points]` rows as wide as the photos; returns `[n_points, N]`.
    pub(crate) fn to_all<'b>(&self, points: impl Iterator<Item = &'b [f32]>) -> Distances {
        let points: Vec<&[f32]> = points.collect();
        let (n_points, n_photos, width) = (points.len(), self.photos.len(), self.photos.width());
        let mut point_norms = Vec::with_capacity(n_points);
        let mut wide_points = vec![0.0; n_points * width];
        for (point, wide) in points.iter().zip(wide_points.chunks_exact_mut(width)) {
            point_norms.push(widen(point, wide, self.distance));
        }
        let mut out = Array2::zeros((n_points, n_photos));
        // The shapes fit by construction; an empty result would be seen at once.
        let Ok(wide_points) = ArrayView2::from_shape((n_points, width), &wide_points) else {
            return Distances(out);
        };
        let mut panel = vec![0.0; PANEL.min(n_photos) * width];
        for start in (0..n_photos).step_by(PANEL) {
            let end = (start + PANEL).min(n_photos);
            for (row, wide) in (start..end).zip(panel.chunks_exact_mut(width)) {
                widen(self.photos.row(row).unwrap_or_default(), wide, self.distance);
            }
            let n_panel = end - start;
            let Ok(photos) = ArrayView2::from_shape((n_panel, width), &panel[..n_panel * width]) else {
                continue;
            };
            general_mat_mul(1.0, &wide_points, &photos.t(), 0.0, &mut out.slice_mut(s![.., start..end]));
        }
        for (mut row, point_norm) in out.rows_mut().into_iter().zip(point_norms) {
            for (value, photo_norm) in row.iter_mut().zip(&self.norms) {
                *value = match self.distance {
                    Distance::Mse => ((point_norm + photo_norm - 2.0 * *value) / width as f64).max(0.0),
                    // Rows are of length 1 or 0; a zero vector is at distance 1 from everything.
                    Distance::Cosine => (1.0 - *value).clamp(0.0, 2.0),
                };
            }
        }
        Distances(out)
    }
}

/// Widens a row to f64, to length 1 where the distance is of directions, and returns its squared norm.
fn widen(row: &[f32], wide: &mut [f64], distance: Distance) -> f64 {
    let mut norm = 0.0;
    for (wide, &value) in wide.iter_mut().zip(row) {
        *wide = f64::from(value);
        norm += *wide * *wide;
    }
    if distance == Distance::Cosine && norm > 0.0 {
        let length = norm.sqrt();
        wide.iter_mut().for_each(|value| *value /= length);
    }
    norm
}
