//! A ranking: a gallery sorted by its distance to one query.

use crate::distance::Distance;
use crate::embeddings::Embeddings;
use crate::{Error, Result};

/// One place of a [`Ranking`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row of the gallery, from 0.
    pub row: usize,
    /// Its distance to the query; finite, never negative.
    pub distance: f64,
}

/// A gallery's rows sorted by distance to one query, nearest first. Finite, sorted, each row at most once; rows of
/// equal distance are in order of their ids (which is the order of rows, see [`Embeddings`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    hits: Vec<Hit>,
}

impl Ranking {
    /// Sorts `hits` into a ranking and keeps the first `k`.
    ///
    /// # Errors
    /// [`Error::NotFinite`] on a distance that is NaN or infinite; [`Error::Mismatch`] on a repeated row.
    pub fn new(mut hits: Vec<Hit>, k: usize) -> Result<Ranking> {
        if let Some(bad) = hits.iter().find(|hit| !hit.distance.is_finite()) {
            return Err(Error::NotFinite { what: "a ranking", row: bad.row, value: bad.distance });
        }
        let by_distance_then_row =
            |a: &Hit, b: &Hit| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row));
        if k < hits.len() && k > 0 {
            hits.select_nth_unstable_by(k - 1, by_distance_then_row);
        }
        hits.truncate(k);
        hits.sort_unstable_by(by_distance_then_row);
        // Two entries of one row have the same distance in any sane index, so they are neighbours here.
        if let Some(pair) = hits.windows(2).find(|pair| pair[0].row == pair[1].row) {
            return Err(Error::Mismatch {
                what: "rows of a ranking",
                expected: "each at most once".into(),
                got: format!("row {} twice", pair[0].row),
            });
        }
        Ok(Ranking { hits })
    }

    /// Ranks the rows of `gallery` by exact distance to `query` and keeps the first `k`.
    ///
    /// # Shapes
    /// `query`: `[D]`, `gallery`: `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the widths differ; [`Error::NotFinite`] where the query is not finite.
    ///
    /// ```
    /// use sketchfind_core::{distance::Distance, embeddings::Embeddings, ranking::Ranking};
    /// let gallery = Embeddings::new(vec!["a".into(), "b".into()], 1, vec![5.0, 1.0])?;
    /// let ranking = Ranking::exact(&[2.0], &gallery, Distance::Mse, 10)?;
    /// assert_eq!(ranking.hits()[0].row, 1); // |2 - 1| < |2 - 5|
    /// # Ok::<(), sketchfind_core::Error>(())
    /// ```
    pub fn exact(query: &[f32], gallery: &Embeddings, distance: Distance, k: usize) -> Result<Ranking> {
        if query.len() != gallery.width() {
            return Err(Error::Mismatch {
                what: "width of the query's embedding",
                expected: gallery.width().to_string(),
                got: query.len().to_string(),
            });
        }
        let hits = gallery
            .rows()
            .enumerate()
            .map(|(row, embedding)| Hit { row, distance: distance.between(query, embedding) })
            .collect();
        Ranking::new(hits, k)
    }

    /// The hits, nearest first.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_row_and_k_cuts() {
        let hits = [2.0, 1.0, 1.0, 0.5].iter().enumerate().map(|(row, &distance)| Hit { row, distance });
        let ranking = Ranking::new(hits.collect(), 3).unwrap();
        assert_eq!(ranking.hits().iter().map(|h| h.row).collect::<Vec<_>>(), [3, 1, 2]);
        assert!(Ranking::new(vec![], 0).unwrap().hits().is_empty());
    }

    #[test]
    fn refuses_nan_and_repeats() {
        assert!(Ranking::new(vec![Hit { row: 0, distance: f64::NAN }], 1).is_err());
        assert!(Ranking::new(vec![Hit { row: 4, distance: 1.0 }; 2], 5).is_err());
    }
}
