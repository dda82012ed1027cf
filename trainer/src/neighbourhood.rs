//! The neighbourhood topology of the pre-trained photos, R ('Photo Pre-Training, But for Sketch', CVPR 2023,
//! section 3): for photos i, j, k, which of j and k lies nearer to i in a photo-pre-trained space.
//!
//! R is computed once before training, from the distances of all pairs of training photos. It is never stored as
//! N x N x N: the distances, N (N - 1) / 2 numbers, give every entry on demand (200 MB for 10,000 photos).

use std::path::Path;

use rayon::prelude::*;
use sketchfind_core::distance::Distance;
use sketchfind_core::fingerprint;
use sketchfind_core::image::Preprocess;
use sketchfind_models::network::Network;
use sketchfind_models::weights::{Tensor as WeightTensor, Weights};

use crate::config::{Features, NeighbourhoodSettings};
use crate::embed::for_each_chunk;
use crate::initial::InitialWeights;
use crate::network::TorchNetwork;
use crate::picture::Picture;
use crate::{Error, Result};

/// Features that are kept in memory at once; larger ones are computed again, block against block.
const FEATURE_BYTES: usize = 256 << 20;
/// The name of the tensor in a cached file.
const TENSOR: &str = "distances";
/// The key under which a cached file says what it was computed from.
const SOURCE_KEY: &str = "source_sha256";

/// The distances between all pairs of some photos in a pre-trained space.
#[derive(Clone, Debug, PartialEq)]
pub struct PhotoDistances {
    n_photos: usize,
    /// d(i, j) for i < j: row 0's pairs, then row 1's, ...
    distances: Vec<f32>,
}

impl PhotoDistances {
    /// From the features of photos: distances are mean squared differences.
    ///
    /// # Shapes
    /// `features`: `[n_photos, width]`, row by row.
    pub fn from_features(features: &[f32], width: usize) -> PhotoDistances {
        let rows: Vec<&[f32]> = features.chunks_exact(width.max(1)).collect();
        let mut neighbourhood = PhotoDistances::zeros(rows.len());
        neighbourhood.fill(&rows, 0, &rows, 0);
        neighbourhood
    }

    fn zeros(n_photos: usize) -> PhotoDistances {
        PhotoDistances { n_photos, distances: vec![0.0; n_photos * n_photos.saturating_sub(1) / 2] }
    }

    /// Fills in the distances between photos from `first_i` on and photos from `first_j` on, `first_i <= first_j`.
    fn fill(&mut self, rows_i: &[&[f32]], first_i: usize, rows_j: &[&[f32]], first_j: usize) {
        let mut rest: &mut [f32] = &mut self.distances;
        let mut taken = 0;
        let mut jobs = Vec::new();
        for (offset, row) in rows_i.iter().enumerate() {
            let i = first_i + offset;
            let (from, to) = (first_j.max(i + 1), first_j + rows_j.len());
            if from >= to {
                continue;
            }
            let start = place(self.n_photos, i, from);
            let (_, behind) = rest.split_at_mut(start - taken);
            let (out, behind) = behind.split_at_mut(to - from);
            (rest, taken) = (behind, start + to - from);
            jobs.push((row, &rows_j[from - first_j..], out));
        }
        jobs.into_par_iter().for_each(|(row, others, out)| {
            for (other, out) in others.iter().zip(out) {
                *out = Distance::Mse.between(row, other) as f32;
            }
        });
    }

    /// The number of photos, N.
    pub fn n_photos(&self) -> usize {
        self.n_photos
    }

    /// The mean distance between two different photos, in the unit that margins have too (squared features): margins that
    /// suit one network and image size suit another where this is in proportion. 0 where there are no two photos.
    pub fn mean_distance(&self) -> f64 {
        let sum: f64 = self.distances.iter().copied().map(f64::from).sum();
        sum / self.distances.len().max(1) as f64
    }

    /// The distance between photos `i` and `j`, both below [`PhotoDistances::n_photos`].
    pub fn distance(&self, i: usize, j: usize) -> f32 {
        match i.cmp(&j) {
            std::cmp::Ordering::Less => self.distances[place(self.n_photos, i, j)],
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Greater => self.distances[place(self.n_photos, j, i)],
        }
    }

    /// R as the loss has it: +1 where `d(i, j) <= d(i, k)`, -1 where it is greater. Equal distances count as +1, as
    /// in the source's equation 2; statistics of neighbourhoods keep them apart.
    pub fn sign(&self, i: usize, j: usize, k: usize) -> f32 {
        if self.distance(i, j) <= self.distance(i, k) { 1.0 } else { -1.0 }
    }

    /// Computes the distances of `photos` in the space of `network`, or reads them from `cache`, where they lie
    /// under the fingerprint of everything that they depend on. `progress` is told of embedded photos;
    /// its error ends the work.
    ///
    /// # Errors
    /// [`Error::Core`] where a file cannot be read or written; [`Error::Run`] where a cached file is another's;
    /// [`Error::Torch`].
    pub fn compute_or_load(
        source: &Source<'_>,
        photos: &[Picture],
        cache: &Path,
        progress: &dyn Fn(usize, usize) -> Result<()>,
    ) -> Result<PhotoDistances> {
        let path = cache.join(format!("{}.safetensors", &source.fingerprint(photos)[..32]));
        if path.is_file() {
            return PhotoDistances::load(&path, &source.fingerprint(photos), photos.len());
        }
        let neighbourhood = source.compute(photos, FEATURE_BYTES, progress)?;
        std::fs::create_dir_all(cache).map_err(sketchfind_core::Error::io("make the folder", cache))?;
        let tensor = WeightTensor::new(vec![neighbourhood.distances.len()], neighbourhood.distances.clone())?;
        let tensors = std::collections::BTreeMap::from([(TENSOR.to_owned(), tensor)]);
        Weights::new(tensors).with_metadata(SOURCE_KEY, &source.fingerprint(photos)).save(&path)?;
        Ok(neighbourhood)
    }

    fn load(path: &Path, source_sha256: &str, n_photos: usize) -> Result<PhotoDistances> {
        let file = Weights::load(path)?;
        let refuse = |what: &str| {
            Error::run(
                path,
                format!("not the distances of these photos ({what}); remove it, it is made again"),
            )
        };
        if file.metadata().get(SOURCE_KEY).map(String::as_str) != Some(source_sha256) {
            return Err(refuse("its source differs"));
        }
        let tensor = file.get(TENSOR).ok_or_else(|| refuse("it has no tensor 'distances'"))?;
        let expected = n_photos * n_photos.saturating_sub(1) / 2;
        if tensor.values.len() != expected || !tensor.values.iter().all(|value| value.is_finite()) {
            return Err(refuse(&format!("expected {expected} finite numbers")));
        }
        Ok(PhotoDistances { n_photos, distances: tensor.values.clone() })
    }
}

/// Where `d(i, j)`, i < j, stands.
fn place(n_photos: usize, i: usize, j: usize) -> usize {
    i * (2 * n_photos - i - 1) / 2 + (j - i - 1)
}

/// The space that R comes from.
#[derive(Debug)]
pub struct Source<'a> {
    /// The network before any training on sketches.
    pub network: &'a TorchNetwork,
    /// Its weights' fingerprint, see [`InitialWeights::sha256`].
    pub weights_sha256: &'a str,
    /// How photos become its input: the centre crop, as in evaluation.
    pub preprocess: &'a Preprocess,
    /// Which of its features.
    pub features: Features,
}

impl<'a> Source<'a> {
    /// The source that `settings` describe.
    pub fn new(
        settings: &NeighbourhoodSettings,
        network: &'a TorchNetwork,
        initial: &'a InitialWeights,
        preprocess: &'a Preprocess,
    ) -> Source<'a> {
        Source { network, weights_sha256: &initial.sha256, preprocess, features: settings.features }
    }

    /// A fingerprint of everything that the distances of `photos` depend on.
    pub fn fingerprint(&self, photos: &[Picture]) -> String {
        let description = self.network.network();
        // Of a network of ours the name says all; a file may call any graph so.
        let network = match Network::names().contains(&description.name()) {
            true => description.name().to_owned(),
            false => format!("{} {:?}", description.name(), description.nodes()),
        };
        let weights = self.weights_sha256;
        let mut text =
            format!("format 1\n{network}\n{weights}\n{:?}\n{:?}\n", self.preprocess, self.features);
        for photo in photos {
            let pixels = fingerprint::of_bytes(photo.image.pixels());
            text.push_str(&format!("{}\t{pixels}\n", photo.id));
        }
        fingerprint::of_bytes(text.as_bytes())
    }

    /// Computes the distances with at most `feature_bytes` of features in memory, twice that where they do not all
    /// fit: then block meets block, and later blocks are embedded again for each earlier one.
    fn compute(
        &self,
        photos: &[Picture],
        feature_bytes: usize,
        progress: &dyn Fn(usize, usize) -> Result<()>,
    ) -> Result<PhotoDistances> {
        let mut neighbourhood = PhotoDistances::zeros(photos.len());
        let Some(first) = photos.first() else {
            return Ok(neighbourhood);
        };
        let width = self.embed(std::slice::from_ref(first), &mut |_| Ok(()))?.len();
        let block = (feature_bytes / (4 * width.max(1))).clamp(1, photos.len());
        let n_blocks = photos.len().div_ceil(block);
        let n_embeddings: usize = (0..n_blocks).map(|i| photos.len() - i * block).sum();
        let mut n_done = 0;
        for first_i in (0..photos.len()).step_by(block) {
            let mut features_i: Option<Vec<f32>> = None;
            for first_j in (first_i..photos.len()).step_by(block) {
                let of_block = &photos[first_j..photos.len().min(first_j + block)];
                let features_j = self.embed(of_block, &mut |n_rows| {
                    n_done += n_rows;
                    progress(n_done, n_embeddings)
                })?;
                let rows_j: Vec<&[f32]> = features_j.chunks_exact(width).collect();
                match &features_i {
                    None => {
                        neighbourhood.fill(&rows_j, first_i, &rows_j, first_j);
                        features_i = Some(features_j);
                    }
                    Some(features_i) => {
                        let rows_i: Vec<&[f32]> = features_i.chunks_exact(width).collect();
                        neighbourhood.fill(&rows_i, first_i, &rows_j, first_j);
                    }
                }
            }
        }
        if neighbourhood.distances.iter().all(|distance| distance.is_finite()) {
            Ok(neighbourhood)
        } else {
            Err(Error::run(
                Path::new(self.network.network().name()),
                "its features of the training photos are not finite",
            ))
        }
    }

    /// Features, row by row. `tell` hears how many photos were added.
    fn embed(&self, photos: &[Picture], tell: &mut dyn FnMut(usize) -> Result<()>) -> Result<Vec<f32>> {
        let pictures: Vec<&Picture> = photos.iter().collect();
        let mut values = Vec::new();
        for_each_chunk(self.network, &pictures, self.preprocess, self.features, |n_rows, features| {
            values.extend(features);
            tell(n_rows)
        })?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::small_network;
    use sketchfind_core::image::Image;
    use sketchfind_core::random::Stream;
    use sketchfind_models::network::Network;

    fn features(n_photos: usize, width: usize) -> Vec<f32> {
        let mut stream = Stream::new(3, "features", &[]);
        // Few values, so that equal distances occur.
        (0..n_photos * width).map(|_| stream.below(3) as f32).collect()
    }

    /// R against the definition, over all triplets, ties included.
    #[test]
    fn equals_brute_force_ties_included() {
        let (n, width) = (17, 5);
        let features = features(n, width);
        let neighbourhood = PhotoDistances::from_features(&features, width);
        assert_eq!(neighbourhood.n_photos(), n);
        let (mut sum, mut n_pairs) = (0.0, 0.0);
        let row = |i: usize| &features[i * width..(i + 1) * width];
        let d = |i: usize, j: usize| -> f32 {
            row(i).iter().zip(row(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / width as f32
        };
        let mut n_ties = 0;
        for i in 0..n {
            for j in 0..n {
                assert!((neighbourhood.distance(i, j) - d(i, j)).abs() < 1e-6);
                if i != j {
                    sum += f64::from(d(i, j));
                    n_pairs += 1.0;
                }
                for k in 0..n {
                    let expected = if d(i, j) > d(i, k) { -1.0 } else { 1.0 };
                    assert_eq!(neighbourhood.sign(i, j, k), expected, "{i} {j} {k}");
                    n_ties += usize::from(j != k && d(i, j) == d(i, k));
                }
            }
        }
        assert!(n_ties > 100, "{n_ties}");
        assert!((neighbourhood.mean_distance() - sum / n_pairs).abs() < 1e-6);
        assert_eq!(PhotoDistances::from_features(&features[..width], width).mean_distance(), 0.0);
    }

    fn photos(n: usize, side: u32) -> Vec<Picture> {
        (0..n)
            .map(|index| {
                let mut stream = Stream::new(9, "photo", &[index as u64]);
                let pixels = (0..side * side * 3).map(|_| stream.below(256) as u8).collect();
                Picture {
                    id: format!("p{index:02}"),
                    image: Image::new(side, side, pixels).unwrap(),
                    alpha: None,
                }
            })
            .collect()
    }

    fn network() -> (Network, Weights) {
        let network = small_network();
        let weights = Weights::random(&network, 1);
        (network, weights)
    }

    #[test]
    fn blocks_that_do_not_fit_together_give_the_same_distances() {
        let (network, weights) = network();
        let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let preprocess = Preprocess::imagenet(20, 16).unwrap();
        for (features, width) in [(Features::Pooled, 5), (Features::Flattened, 8 * 4 * 4)] {
            let source = Source { network: &torch, weights_sha256: "w", preprocess: &preprocess, features };
            let photos = photos(11, 20);
            let whole = source.compute(&photos, usize::MAX, &|_, _| Ok(())).unwrap();
            assert_eq!(source.embed(&photos, &mut |_| Ok(())).unwrap().len(), 11 * width);
            for rows in [1, 3, 4, 10] {
                let blocked = source.compute(&photos, rows * 4 * width, &|_, _| Ok(())).unwrap();
                for (a, b) in whole.distances.iter().zip(&blocked.distances) {
                    assert!((a - b).abs() <= 1e-4 * a.abs(), "{features:?}, {rows} rows: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_cached_file_is_used_for_the_same_photos_only_and_refused_when_damaged() {
        let (network, weights) = network();
        let torch = TorchNetwork::new(&network, &weights, tch::Device::Cpu).unwrap();
        let preprocess = Preprocess::imagenet(20, 16).unwrap();
        let source = Source {
            network: &torch,
            weights_sha256: "w",
            preprocess: &preprocess,
            features: Features::Pooled,
        };
        let folder = tempfile::tempdir().unwrap();
        let n_embedded = std::cell::Cell::new(0);
        let run = |photos: &[Picture]| {
            PhotoDistances::compute_or_load(&source, photos, folder.path(), &|n, _| {
                n_embedded.set(n);
                Ok(())
            })
        };
        let photos = photos(6, 20);
        let first = run(&photos).unwrap();
        assert_eq!(n_embedded.replace(0), 6);
        assert_eq!(run(&photos).unwrap(), first);
        assert_eq!(n_embedded.get(), 0);
        let _ = run(&photos[..5]).unwrap();
        assert_eq!(n_embedded.get(), 5);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        }
        let error = run(&photos).unwrap_err().to_string();
        assert!(error.contains(".safetensors"), "{error}");
    }
}
