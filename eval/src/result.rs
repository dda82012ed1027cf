//! What is known of one query after the gallery was ranked for it.

/// Where one query's match was ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The query's id.
    pub query_id: String,
    /// The id of the photo that it depicts: its match, or the first of several. Queries of one photo are resampled
    /// together.
    pub truth_id: String,
    /// How many photos of the gallery are matches, at least 1.
    pub n_matches: usize,
    /// The rank of the first match, from 1; ties count against the model (see [`rank_of`](crate::rank_of)).
    pub rank: usize,
    /// How many photos that are no match are exactly as far as the nearest match.
    pub n_tied: usize,
    /// The average precision over all matches (see
    /// [`average_precision`](crate::accuracy::average_precision)); 1 / rank for a single one.
    pub average_precision: f64,
    /// The distance to the nearest match.
    pub truth_distance: f64,
    /// The distance to the nearest photo.
    pub first_distance: f64,
    /// The ids of the nearest photos, at most [`N_TOP`](crate::accuracy::N_TOP), nearest first, ties by id.
    pub top: Vec<String>,
    /// The number of photos that were ranked.
    pub n_gallery: usize,
    /// What a fixed photo network says of the photos that were found, where it was asked.
    pub closeness: Option<Closeness>,
}

impl QueryResult {
    /// The rank of a match that a run of somebody's pipeline does not hold ([`trec::judge`](crate::trec::judge)): behind all.
    /// What ranks a whole gallery never gives it.
    pub const UNRANKED: usize = usize::MAX;

    /// 1 / rank, and 0 where the match is nowhere in the ranking.
    pub fn reciprocal_rank(&self) -> f64 {
        if self.rank == QueryResult::UNRANKED { 0.0 } else { 1.0 / self.rank as f64 }
    }

    /// The share of the other photos that the match is ranked before, `(N - rank) / (N - 1)`, in `[0, 1]`: 1 for the
    /// first place, 0 for the last (the ranking percentile of Bhunia et al., CVPR 2020). 1 in a gallery of one.
    pub fn rank_percentile(&self) -> f64 {
        match self.n_gallery {
            0 | 1 => 1.0,
            n => (n - self.rank.min(n)) as f64 / (n - 1) as f64,
        }
    }

    /// The area under acc@k over k from 1 to N of this query alone, `(N - rank + 1) / N`.
    pub fn area_under_accuracy(&self) -> f64 {
        (self.n_gallery + 1).saturating_sub(self.rank) as f64 / self.n_gallery.max(1) as f64
    }
}

/// What a fixed photo network says of the photos that one query found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closeness {
    /// The mean distance over pairs of the first [`N_SMOOTH`](crate::closeness::N_SMOOTH) photos; 0 in a gallery of one.
    pub smoothness: f64,
    /// The mean distance between the query's own photo and each of the first
    /// [`N_FAITHFUL`](crate::closeness::N_FAITHFUL), itself included where it is among them.
    pub fidelity: f64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::QueryResult;

    /// Results with the given ranks; `n_sketches` queries a photo.
    pub(crate) fn with_ranks(ranks: &[usize], n_sketches: usize) -> Vec<QueryResult> {
        let result = |(index, &rank): (usize, &usize)| QueryResult {
            query_id: format!("q{index:05}"),
            truth_id: format!("g{:05}", index / n_sketches),
            rank,
            n_tied: 0,
            truth_distance: 1.0,
            first_distance: 0.5,
            top: vec!["g00000".into()],
            n_gallery: 1000,
            n_matches: 1,
            average_precision: 1.0 / rank as f64,
            closeness: None,
        };
        ranks.iter().enumerate().map(result).collect()
    }
}
