//! A map of the embedding space: photos and sketches in the plane, neighbours near each other (t-SNE, van der Maaten and
//! Hinton 2008; the crate `bhtsne` computes it).
//!
//! A map is for looking, not for measuring: distances between far clusters mean nothing, and no figure is read from it.

use std::collections::BTreeMap;

use sketchfind_core::distance::Distance;
use sketchfind_core::embeddings::Embeddings;
use sketchfind_core::random::Stream;

use crate::neighbours::rows::Rows;
use crate::{Error, Result};

/// Photos that a map shows at most, each with one of its sketches.
pub const MAX_PHOTOS: usize = 300;
/// How many neighbours a point heeds, roughly; fewer where there are few points.
const PERPLEXITY: f32 = 20.0;
const EPOCHS: usize = 500;
/// Barnes and Hut's trade of accuracy for speed, as usual.
const THETA: f32 = 0.5;

/// A point of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct MapPoint {
    /// The id of the photo or sketch.
    pub id: String,
    /// The id of the photo: its own, or that of the sketch.
    pub photo: String,
    /// Whether it is a sketch.
    pub is_sketch: bool,
    /// Its place, each coordinate in `[0, 1]`.
    pub place: [f32; 2],
}

/// Photos and sketches in the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingMap {
    /// The points: photos by id, then sketches by id.
    pub points: Vec<MapPoint>,
    /// Photos that are left out because there are more than [`MAX_PHOTOS`]; the others are drawn at random.
    pub n_photos_left_out: usize,
}

/// Lays out photos and one sketch of each. The same for the same seed; nothing with fewer than eight points.
///
/// # Errors
/// [`Error::Widths`]; [`Error::Core`] where an id is of a photo and a sketch at once.
pub fn embedding_map(
    photos: &Embeddings,
    sketches: &Embeddings,
    photo_of: &BTreeMap<String, String>,
    distance: Distance,
    seed: u64,
) -> Result<Option<EmbeddingMap>> {
    if photos.width() != sketches.width() {
        return Err(Error::Widths { queries: sketches.width(), gallery: photos.width() });
    }
    let mut chosen: Vec<usize> = (0..photos.len()).collect();
    Stream::new(seed, "photos of the map", &[]).shuffle(&mut chosen);
    chosen.truncate(MAX_PHOTOS);
    chosen.sort_unstable();
    let mut first_sketch: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, id) in sketches.ids().iter().enumerate() {
        if let Some(photo) = photo_of.get(id) {
            first_sketch.entry(photo).or_insert(row);
        }
    }
    let mut points: Vec<(MapPoint, &[f32])> = Vec::new();
    for &row in &chosen {
        let id = photos.ids()[row].clone();
        let point = MapPoint { photo: id.clone(), id, is_sketch: false, place: [0.5; 2] };
        points.push((point, photos.row(row).unwrap_or_default()));
    }
    for &row in &chosen {
        let photo = photos.ids()[row].clone();
        if let Some(&sketch) = first_sketch.get(photo.as_str()) {
            let id = sketches.ids()[sketch].clone();
            let point = MapPoint { id, photo, is_sketch: true, place: [0.5; 2] };
            points.push((point, sketches.row(sketch).unwrap_or_default()));
        }
    }
    let n_points = points.len();
    if n_points < 8 {
        return Ok(None);
    }
    // One space of all points, in the order of the list.
    let names = (0..n_points).map(|index| format!("{index:06}")).collect();
    let values = points.iter().flat_map(|(_, row)| row.iter().copied()).collect();
    let space = Embeddings::new(names, photos.width(), values)?;
    let perplexity = PERPLEXITY.min(((n_points - 1) / 3) as f32);
    let n_neighbours = (3.0 * perplexity) as usize;
    let distances = Rows::new(&space, distance).to_all(space.rows());
    let neighbours: Vec<Vec<bhtsne::Neighbor<f32>>> = (0..n_points)
        .map(|point| {
            let row = distances.row(point);
            let mut others: Vec<usize> = (0..n_points).filter(|&other| other != point).collect();
            others.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]).then(a.cmp(&b)));
            let neighbour = |&other: &usize| bhtsne::Neighbor {
                index: other,
                // Both distances grow as the square of a length.
                distance: row[other].sqrt() as f32,
            };
            others.iter().take(n_neighbours).map(neighbour).collect()
        })
        .collect();
    let mut stream = Stream::new(seed, "places of the map", &[]);
    let start: Vec<f32> = (0..2 * n_points).map(|_| 1e-2 * (stream.unit() as f32 - 0.5)).collect();
    let rows: Vec<usize> = (0..n_points).collect();
    // On one thread, because several add up in an order of their own each time, and the layout is another then.
    let Ok(alone) = rayon::ThreadPoolBuilder::new().num_threads(1).build() else {
        return Ok(None); // a machine without a thread to spare has no map
    };
    let places = alone.install(|| {
        bhtsne::tSNE::<f32, usize, 2>::new(&rows)
            .perplexity(perplexity)
            .epochs(EPOCHS)
            .initial_embedding(start)
            .barnes_hut_with_neighbors(THETA, &neighbours)
            .embedding()
    });
    if places.iter().any(|value| !value.is_finite()) {
        // Points that all coincide have no layout.
        return Ok(None);
    }
    let range = |axis: usize| {
        let values = || places.iter().skip(axis).step_by(2).copied();
        (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max))
    };
    let ranges = [range(0), range(1)];
    let points = points
        .into_iter()
        .zip(places.as_chunks::<2>().0)
        .map(|((point, _), place)| {
            let scaled = |axis: usize| {
                let (low, high) = ranges[axis];
                if high > low { (place[axis] - low) / (high - low) } else { 0.5 }
            };
            MapPoint { place: [scaled(0), scaled(1)], ..point }
        })
        .collect();
    Ok(Some(EmbeddingMap { points, n_photos_left_out: photos.len() - chosen.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clusters far apart, photos and sketches in both.
    fn clusters(n: usize) -> (Embeddings, Embeddings, BTreeMap<String, String>) {
        let mut stream = Stream::new(4, "clusters", &[]);
        let mut rows = |prefix: &str| {
            let ids = (0..n).map(|i| format!("{prefix}{i:04}")).collect();
            let values = (0..n)
                .flat_map(|i| [if i % 2 == 0 { 0.0 } else { 50.0 }, 0.0, 0.0])
                .map(|centre| centre + stream.unit() as f32)
                .collect();
            Embeddings::new(ids, 3, values).unwrap()
        };
        let (photos, sketches) = (rows("p"), rows("s"));
        let photo_of = (0..n).map(|i| (format!("s{i:04}"), format!("p{i:04}"))).collect();
        (photos, sketches, photo_of)
    }

    #[test]
    fn clusters_stay_apart_and_a_seed_decides_all() {
        let (photos, sketches, photo_of) = clusters(40);
        let run = |seed| embedding_map(&photos, &sketches, &photo_of, Distance::Mse, seed).unwrap().unwrap();
        let map = run(1);
        assert_eq!((map.points.len(), map.n_photos_left_out), (80, 0));
        assert_eq!(map, run(1));
        assert_ne!(map, run(2));
        // A point's nearest other point on the map is of its own cluster, but for a few.
        let number = |point: &MapPoint| point.photo[1..].parse::<usize>().unwrap() % 2;
        let n_apart = map
            .points
            .iter()
            .filter(|point| {
                let gap = |other: &&MapPoint| {
                    (point.place[0] - other.place[0]).hypot(point.place[1] - other.place[1])
                };
                let others = map.points.iter().filter(|other| other.id != point.id);
                let nearest = others.min_by(|a, b| gap(a).total_cmp(&gap(b))).unwrap();
                number(nearest) == number(point)
            })
            .count();
        assert!(n_apart >= 76, "{n_apart} of 80");
        assert!(map.points.iter().all(|point| point.place.iter().all(|value| (0.0..=1.0).contains(value))));
    }

    #[test]
    fn large_sets_are_drawn_from_and_small_or_collapsed_ones_are_no_failure() {
        let (photos, sketches, photo_of) = clusters(MAX_PHOTOS + 10);
        let map = embedding_map(&photos, &sketches, &photo_of, Distance::Mse, 1).unwrap().unwrap();
        assert_eq!((map.points.len(), map.n_photos_left_out), (2 * MAX_PHOTOS, 10));
        let (photos, sketches, photo_of) = clusters(3);
        assert_eq!(embedding_map(&photos, &sketches, &photo_of, Distance::Mse, 1).unwrap(), None);
        let same = |prefix: &str| {
            Embeddings::new((0..20).map(|i| format!("{prefix}{i:04}")).collect(), 2, vec![0.5; 40]).unwrap()
        };
        let (_, _, photo_of) = clusters(20);
        embedding_map(&same("p"), &same("s"), &photo_of, Distance::Mse, 1).unwrap();
    }
}
