//! How far one space keeps the neighbours of another: statistics over all triplets of photos.
//!
//! A *reference* space holds every photo (that of the photo-pre-trained network), a *studied* space the same photos and
//! perhaps their sketches (that of the trained model). Seen from an anchor i, every pair (j, k) of other photos has an
//! order in both spaces. The anchor in the studied space is photo i itself, or a sketch of it in its place: the latter is
//! what the method's neighbourhood loss trains.
//!
//! All N (N - 1) (N - 2) / 2 triplets are counted, none is sampled: per anchor, the pairs that two rows of distances order
//! alike are counted by merging ([`order`]), in O(N log N). Memory is that of a block of rows for each thread, never
//! N x N.
//!
//! What counts how, per anchor:
//!
//! - **agreement**: of the pairs that the reference orders, the share that the studied space orders the same. A pair that
//!   only the studied space ties counts against it; a pair that the reference ties has no order to keep and is counted
//!   apart. A collapsed space scores 0.
//! - **tau-b** (Kendall 1945) and **rho** (Spearman, ranks averaged over ties) of the two rows; 0 where the studied row
//!   is constant, nothing where the reference's is.
//! - **displacement**: the mean difference of a photo's two ranks, ties averaged.
//! - **overlap at k**: the share of the reference's first k (ties by id) that stay among the first k; one that ties with
//!   photos beyond k does not.
//! - **hubness at k**: the skewness (third standardised moment) of how often each photo is among the first k of an
//!   anchor, ties by id: large where few photos are everybody's neighbours.
//!
//! Distances are computed in f64 as |a|^2 + |b|^2 - 2ab by matrix products, so equal rows tie exactly, and an order is
//! that of [`Distance::between`] wherever distances differ by more than about 1e-13 of the squared norms.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::work::{Cancel, Progress};

use crate::bootstrap::{Groups, central_interval};
use crate::estimate::{Bootstrap, Estimate, IntervalMethod, Resampled};
use crate::{Error, Result};

pub mod order;
pub(crate) mod rows;

use order::{Comparer, PairCounts};
use rows::Rows;

/// A space of photos.
#[derive(Clone, Copy, Debug)]
pub struct Space<'a> {
    /// The photos' embeddings, `[N, D]`.
    pub photos: &'a Embeddings,
    /// The space's distance.
    pub distance: Distance,
}

/// Sketches in the studied space.
#[derive(Clone, Copy, Debug)]
pub struct SketchAnchors<'a> {
    /// Their embeddings, as wide as the studied photos'.
    pub sketches: &'a Embeddings,
    /// The photo of each.
    pub photo_of: &'a BTreeMap<String, String>,
}

/// Which k overlap and hubness are measured at.
pub const CUTOFFS: [usize; 3] = [1, 5, 10];

/// What stands in the studied space for an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnchorKind {
    /// The photo.
    Photo,
    /// A sketch of it.
    Sketch,
}

impl AnchorKind {
    /// The name in CSV files.
    pub fn name(self) -> &'static str {
        match self {
            AnchorKind::Photo => "photo",
            AnchorKind::Sketch => "sketch",
        }
    }
}

/// The statistics of one anchor.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    /// What stands for it in the studied space.
    pub kind: AnchorKind,
    /// Its id: of the photo or of the sketch.
    pub id: String,
    /// The id of the photo.
    pub photo: String,
    /// How its pairs are ordered.
    pub pairs: PairCounts,
    /// Spearman's rho.
    pub rho: Option<f64>,
    /// The mean displacement, in ranks.
    pub displacement: f64,
    /// The overlap at each of [`CUTOFFS`].
    pub overlap: [f64; CUTOFFS.len()],
}

/// How often each photo is a near neighbour.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrences {
    /// `reference`, `photo` (studied space, photos as anchors) or `sketch` (sketches as anchors).
    pub anchors: &'static str,
    /// For each of [`CUTOFFS`], for each photo, the number of anchors that have it among their first k.
    pub counts: [Vec<u32>; CUTOFFS.len()],
}

/// The statistics of a studied space against a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbourhood {
    /// Photos, N.
    pub n_photos: usize,
    /// Photo anchors by id, then sketch anchors by id.
    pub anchors: Vec<Anchor>,
    /// How often photos are near neighbours, in both spaces.
    pub occurrences: Vec<Occurrences>,
    /// The figures, with intervals.
    pub estimates: Vec<NeighbourEstimate>,
    /// What intervals were made with.
    pub bootstrap: Bootstrap,
}

/// A figure over all anchors of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct NeighbourEstimate {
    /// What anchors it is over: `photo`, `sketch`, or `reference` for hubness there.
    pub anchors: &'static str,
    /// The figure. Its n is the number of anchors that have a value; for hubness the number of photos.
    pub estimate: Estimate,
    /// The number of anchors that have none, because the reference does not order their photos.
    pub n_undefined: usize,
    /// Sums over all anchors, for the agreement.
    pub pairs: Option<PairCounts>,
}

impl Neighbourhood {
    /// The figure called `metric` over `anchors`.
    pub fn get(&self, anchors: &str, metric: &str) -> Option<&NeighbourEstimate> {
        self.estimates.iter().find(|one| one.anchors == anchors && one.estimate.metric == metric)
    }
}

/// Rows of distances that are computed at once: enough for fast matrix products, few enough for memory.
const BLOCK: usize = 128;

/// Computes all statistics. `progress` is told how many anchor photos are done; `cancel` is asked every hundred or so.
///
/// # Errors
/// [`Error::Cancelled`]; [`Error::TooFewPhotos`] with less than three; [`Error::NotComparable`] where the spaces hold other photos;
/// [`Error::Widths`]; [`Error::NoTruth`] and [`Error::TruthNotInGallery`] for a sketch without its photo;
/// [`Error::OutOfRange`] on settings of the bootstrap.
pub fn neighbourhood(
    reference: Space<'_>,
    studied: Space<'_>,
    sketches: Option<SketchAnchors<'_>>,
    bootstrap: &Bootstrap,
    progress: Progress<'_>,
    cancel: Cancel<'_>,
) -> Result<Neighbourhood> {
    bootstrap.check()?;
    let ids = reference.photos.ids();
    check_same_photos(ids, studied.photos.ids())?;
    let n_photos = ids.len();
    if n_photos < 3 {
        return Err(Error::TooFewPhotos { n: n_photos });
    }
    // The sketches of each photo, as rows of their embeddings.
    let mut sketches_of: Vec<Vec<usize>> = vec![Vec::new(); n_photos];
    if let Some(SketchAnchors { sketches, photo_of }) = sketches {
        if sketches.width() != studied.photos.width() {
            return Err(Error::Widths { queries: sketches.width(), gallery: studied.photos.width() });
        }
        for (row, id) in sketches.ids().iter().enumerate() {
            let photo = photo_of.get(id).ok_or_else(|| Error::NoTruth { query: id.clone() })?;
            let missing = || Error::TruthNotInGallery { query: id.clone(), truth: photo.clone() };
            sketches_of[reference.photos.find(photo).ok_or_else(missing)?].push(row);
        }
    }
    let (in_reference, in_studied) =
        (Rows::new(reference.photos, reference.distance), Rows::new(studied.photos, studied.distance));
    let counters = [(); 3].map(|()| Counter::new(n_photos));
    let n_done = AtomicUsize::new(0);
    let blocks: Vec<Vec<Anchor>> = (0..n_photos.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let rows = block * BLOCK..((block + 1) * BLOCK).min(n_photos);
            let of_reference = in_reference.to_all(rows.clone().filter_map(|i| reference.photos.row(i)));
            let of_studied = in_studied.to_all(rows.clone().filter_map(|i| studied.photos.row(i)));
            let mut comparer = Comparer::new(n_photos);
            let mut anchors = Vec::new();
            // Sketches go in blocks of their own, as a photo may have many.
            let drawn: Vec<(usize, usize)> = rows
                .clone()
                .flat_map(|photo| sketches_of[photo].iter().map(move |&sketch| (photo, sketch)))
                .collect();
            let mut of_photo: Vec<Vec<Anchor>> = vec![Vec::new(); rows.len()];
            for (within, photo) in rows.clone().enumerate() {
                comparer.set_reference(of_reference.row(within), photo);
                counters[0].add(comparer.reference_order());
                comparer.compare(of_studied.row(within));
                counters[1].add(comparer.studied_order());
                anchors.push(anchor(&comparer, AnchorKind::Photo, &ids[photo], &ids[photo]));
            }
            if let Some(SketchAnchors { sketches, .. }) = sketches {
                for drawn in drawn.chunks(BLOCK) {
                    let of_sketches =
                        in_studied.to_all(drawn.iter().filter_map(|&(_, sketch)| sketches.row(sketch)));
                    let mut current = usize::MAX;
                    for (within, &(photo, sketch)) in drawn.iter().enumerate() {
                        if photo != current {
                            comparer.set_reference(of_reference.row(photo - rows.start), photo);
                            current = photo;
                        }
                        comparer.compare(of_sketches.row(within));
                        counters[2].add(comparer.studied_order());
                        let id = &sketches.ids()[sketch];
                        of_photo[photo - rows.start].push(anchor(
                            &comparer,
                            AnchorKind::Sketch,
                            id,
                            &ids[photo],
                        ));
                    }
                }
            }
            anchors.extend(of_photo.into_iter().flatten());
            progress.tell(rows.len() + n_done.fetch_add(rows.len(), Ordering::Relaxed));
            Ok(anchors)
        })
        .collect::<Result<_>>()?;
    let mut anchors: Vec<Anchor> = blocks.into_iter().flatten().collect();
    anchors.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    let mut occurrences: Vec<Occurrences> = ["reference", "photo", "sketch"]
        .into_iter()
        .zip(counters)
        .map(|(anchors, counter)| Occurrences { anchors, counts: counter.into_counts() })
        .collect();
    if !anchors.iter().any(|anchor| anchor.kind == AnchorKind::Sketch) {
        occurrences.pop();
    }
    let estimates = summarise(&anchors, &occurrences, bootstrap);
    Ok(Neighbourhood { n_photos, anchors, occurrences, estimates, bootstrap: *bootstrap })
}

fn anchor(comparer: &Comparer, kind: AnchorKind, id: &str, photo: &str) -> Anchor {
    Anchor {
        kind,
        id: id.to_owned(),
        photo: photo.to_owned(),
        pairs: comparer.pairs(),
        rho: comparer.rho(),
        displacement: comparer.displacement(),
        overlap: CUTOFFS.map(|k| comparer.overlap(k)),
    }
}

fn check_same_photos(reference: &[String], studied: &[String]) -> Result<()> {
    if reference == studied {
        return Ok(());
    }
    let difference = crate::paired::difference_of_ids(reference, studied);
    Err(Error::NotComparable {
        reason: format!("photos of the reference and the studied space {difference}"),
    })
}

/// Counts how often each photo is among the first k of an anchor.
struct Counter([Vec<AtomicU32>; CUTOFFS.len()]);

impl Counter {
    fn new(n_photos: usize) -> Counter {
        Counter([(); CUTOFFS.len()].map(|()| (0..n_photos).map(|_| AtomicU32::new(0)).collect()))
    }

    /// Adds one anchor, whose photos are given nearest first.
    fn add(&self, mut order: impl Iterator<Item = usize>) {
        for place in 0..CUTOFFS[CUTOFFS.len() - 1] {
            let Some(photo) = order.next() else { return };
            for (k, counts) in CUTOFFS.iter().zip(&self.0) {
                if place < *k {
                    counts[photo].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn into_counts(self) -> [Vec<u32>; CUTOFFS.len()] {
        self.0.map(|counts| counts.into_iter().map(AtomicU32::into_inner).collect())
    }
}

/// The population skewness, m3 / m2^(3/2), of counts; 0 where all are equal.
///
/// ```
/// use sketchfind_eval::neighbours::skewness;
/// // By hand: mean 1, m2 = 2, m3 = 2; 2 / 2^1.5.
/// assert!((skewness(&[0, 0, 3]) - 1.0 / 2.0_f64.sqrt()).abs() < 1e-15);
/// ```
pub fn skewness(counts: &[u32]) -> f64 {
    let power = |power: i32| counts.iter().map(|&count| f64::from(count).powi(power)).sum();
    skewness_of_sums(counts.len() as f64, [power(1), power(2), power(3)])
}

/// The skewness of n counts from the sums of their first three powers, which are whole numbers, so that the variance is
/// exactly 0 where it is.
fn skewness_of_sums(n: f64, [sum, squares, cubes]: [f64; 3]) -> f64 {
    let (mean, variance) = (sum / n, (n * squares - sum * sum) / (n * n));
    if variance <= 0.0 {
        return 0.0;
    }
    let third = cubes / n - 3.0 * mean * squares / n + 2.0 * mean.powi(3);
    third / variance.powf(1.5)
}

fn summarise(
    anchors: &[Anchor],
    occurrences: &[Occurrences],
    bootstrap: &Bootstrap,
) -> Vec<NeighbourEstimate> {
    let mut estimates = Vec::new();
    for kind in [AnchorKind::Photo, AnchorKind::Sketch] {
        let of_kind: Vec<&Anchor> = anchors.iter().filter(|anchor| anchor.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let mut columns: Vec<(String, Vec<Option<f64>>)> = vec![
            ("triplet_agreement".into(), of_kind.iter().map(|a| a.pairs.agreement()).collect()),
            ("kendall_tau_b".into(), of_kind.iter().map(|a| a.pairs.tau_b()).collect()),
            ("spearman_rho".into(), of_kind.iter().map(|a| a.rho).collect()),
            ("mean_displacement".into(), of_kind.iter().map(|a| Some(a.displacement)).collect()),
        ];
        for (index, k) in CUTOFFS.iter().enumerate() {
            columns.push((format!("overlap@{k}"), of_kind.iter().map(|a| Some(a.overlap[index])).collect()));
        }
        let groups = Groups::by_key(of_kind.iter().map(|anchor| anchor.photo.as_str()));
        let total = of_kind.iter().fold(PairCounts::default(), |sum, anchor| sum.plus(anchor.pairs));
        let name = format!("neighbours of {}", kind.name());
        estimates.extend(groups.mean_estimates(bootstrap, &name, columns).into_iter().map(|estimate| {
            NeighbourEstimate {
                anchors: kind.name(),
                pairs: (estimate.metric == "triplet_agreement").then_some(total),
                n_undefined: of_kind.len() - estimate.n,
                estimate: Estimate { resampled: Resampled::Photos, ..estimate },
            }
        }));
    }
    estimates.extend(hubness(occurrences, bootstrap));
    estimates
}

/// The skewness of each list of counts. The interval resamples the photos that are counted, with their counts.
fn hubness(occurrences: &[Occurrences], bootstrap: &Bootstrap) -> Vec<NeighbourEstimate> {
    let lists: Vec<(&'static str, usize, &[u32])> = occurrences
        .iter()
        .flat_map(|of| CUTOFFS.iter().zip(&of.counts).map(|(&k, counts)| (of.anchors, k, counts.as_slice())))
        .collect();
    let n_photos = lists.first().map_or(0, |(_, _, counts)| counts.len());
    let totals: Vec<f64> = (0..n_photos)
        .flat_map(|photo| {
            lists.iter().flat_map(move |(_, _, counts)| {
                let count = f64::from(counts[photo]);
                [count, count.powi(2), count.powi(3)]
            })
        })
        .collect();
    let groups = Groups::singles(n_photos);
    let resampled = groups.resampled_totals(bootstrap, "hubness", &totals, |sums| {
        let sums = sums.as_chunks::<3>().0.iter();
        sums.map(|sums| skewness_of_sums(n_photos as f64, *sums)).collect::<Vec<f64>>()
    });
    let estimate = |(index, &(anchors, k, counts)): (usize, &(&'static str, usize, &[u32]))| {
        let mut values: Vec<f64> = resampled.iter().map(|values| values[index]).collect();
        let (low, high) = central_interval(&mut values, bootstrap.confidence);
        NeighbourEstimate {
            anchors,
            estimate: Estimate {
                metric: format!("hubness@{k}"),
                value: skewness(counts),
                low,
                high,
                n: n_photos,
                n_resampled: n_photos,
                resampled: Resampled::Photos,
                interval: IntervalMethod::PercentileBootstrap,
            },
            n_undefined: 0,
            pairs: None,
        }
    };
    lists.iter().enumerate().map(estimate).collect()
}

#[cfg(test)]
mod tests;
