//! The points of a graph: what is written of a matrix's rows in 8 bits, or the rows themselves where that does not tell
//! neighbours apart.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sketchfind_core::distance::Distance;

use crate::codes::{CodedQuery, Codes};
use crate::kernel::{ARCH, prefetch, squares};
use crate::{Among, ExactIndex, Index, Matrix, Query, Result};

/// Rows of which it is asked how far their neighbours are.
const N_ASKED: usize = 64;
/// The neighbour that is meant: nearer ones, of which a graph's search has many times as many, need no order.
const NEIGHBOUR: usize = 10;

/// The numbers of rows that a graph is built of and searched in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowFormat {
    /// 8 bits a component.
    #[default]
    Int8,
    /// float32.
    Float32,
}

impl RowFormat {
    /// What the rows of a matrix need: of some rows it is asked whether their neighbours are nearer than twice what 8 bits
    /// lose of two rows, so that their order would be left to chance; they need float32 where that is so for more than a tenth.
    ///
    /// # Errors
    /// Those of exact search, which rows of the matrix give no cause for.
    pub(super) fn for_rows(matrix: &Matrix, distance: Distance, codes: &Codes) -> Result<RowFormat> {
        let n = matrix.len();
        let asked: Vec<usize> = (0..n.min(N_ASKED)).map(|place| place * n / n.min(N_ASKED)).collect();
        let rows = asked.iter().filter_map(|&row| matrix.row(row));
        let queries = rows.map(|row| Query::new(row, matrix.width())).collect::<Result<Vec<_>>>()?;
        let exact = ExactIndex::new(matrix.clone(), distance);
        let found = exact.nearest_each(&queries, NEIGHBOUR + 1, Among::All)?;
        let square = |hit: f64| match distance {
            Distance::Mse => hit * matrix.width() as f64,
            Distance::Cosine => 2.0 * hit,
        };
        let is_lost = |(&row, ranking): (&usize, &sketchfind_core::ranking::Ranking)| {
            let farthest = ranking.hits().last().map_or(0.0, |hit| square(hit.distance).sqrt());
            // Equal rows are equal in float32 too.
            farthest > 0.0 && farthest < 4.0 * codes.lost(row as u32)
        };
        let n_lost = asked.iter().zip(&found).filter(|&pair| is_lost(pair)).count();
        Ok(if n_lost * 10 > asked.len() { RowFormat::Float32 } else { RowFormat::Int8 })
    }
}

/// A matrix's rows in float32 less their centre, as multiples of the unit of [`Codes`].
#[derive(Debug)]
pub(super) struct Floats {
    width: usize,
    values: Vec<f32>,
}

impl Floats {
    pub(super) fn new(matrix: &Matrix, codes: &Codes) -> Floats {
        let width = matrix.width();
        let mut values = vec![0.0; matrix.values().len()];
        let rows = matrix.values().par_chunks_exact(width).with_min_len(64);
        values.par_chunks_exact_mut(width).zip(rows).for_each(|(out, row)| codes.centred(row, out));
        Floats { width, values }
    }

    #[inline(always)]
    fn row(&self, row: u32) -> &[f32] {
        &self.values[row as usize * self.width..][..self.width]
    }
}

/// A matrix's rows as a graph compares them.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointRows<'a> {
    pub(super) codes: &'a Codes,
    /// There where rows are compared in float32.
    pub(super) floats: Option<&'a Floats>,
}

/// A query in the format of the rows.
pub(super) struct PointQuery {
    coded: CodedQuery,
    floats: Vec<f32>,
}

impl PointRows<'_> {
    /// A query, or nothing where no row can be told from another by it.
    pub(super) fn query(&self, query: &[f32]) -> Option<PointQuery> {
        let coded = self.codes.query(query)?;
        let mut floats = Vec::new();
        if self.floats.is_some() {
            floats.resize(query.len(), 0.0);
            self.codes.centred(query, &mut floats);
        }
        Some(PointQuery { coded, floats })
    }

    /// A row as a query.
    pub(super) fn query_of_row(&self, row: u32) -> PointQuery {
        let floats = self.floats.map_or_else(Vec::new, |floats| floats.row(row).to_vec());
        PointQuery { coded: self.codes.query_of_row(row), floats }
    }

    /// All that a graph knows of a row: rows with equal bytes are one point.
    #[inline(always)]
    pub(super) fn bytes_of(&self, row: u32) -> &[u8] {
        match self.floats {
            Some(floats) => bytemuck::cast_slice(floats.row(row)),
            None => self.codes.bytes_of(row),
        }
    }

    /// What orders as the distance between a query and a row does.
    #[inline(always)]
    pub(super) fn against_query<S: Simd>(&self, simd: S, query: &PointQuery, row: u32) -> f32 {
        match self.floats {
            Some(floats) => squares(simd, &query.floats, floats.row(row)),
            None => self.codes.against_query(simd, &query.coded, row),
        }
    }

    /// The squared distance between two rows.
    #[inline(always)]
    pub(super) fn between<S: Simd>(&self, simd: S, a: u32, b: u32) -> f32 {
        match self.floats {
            Some(floats) => squares(simd, floats.row(a), floats.row(b)),
            None => self.codes.between(simd, a, b),
        }
    }

    /// [`PointRows::between`] where nothing else is vectorised.
    pub(super) fn distance_between(&self, a: u32, b: u32) -> f32 {
        struct Between<'a>(PointRows<'a>, u32, u32);
        impl WithSimd for Between<'_> {
            type Output = f32;
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                self.0.between(simd, self.1, self.2)
            }
        }
        ARCH.dispatch(Between(*self, a, b))
    }

    /// Asks the processor to fetch a row.
    #[inline(always)]
    pub(super) fn prefetch(&self, row: u32) {
        prefetch(self.bytes_of(row));
    }
}
