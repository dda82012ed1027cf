//! Batches of triplets: a sketch, its photo, another photo. What a batch holds is a function of the seed, the epoch
//! and the step alone, so that it is the same on any number of workers and after a resumed run.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;
use sketchfind_core::image::{Crop, Preprocess};
use sketchfind_core::random::Stream;

use crate::config::{Config, Pairs as PairMode, Sampling};
use crate::data::Pairs;
use crate::loss::TopologyPairs;
use crate::neighbourhood::Neighbourhood;
use crate::{Error, Result};

/// Batches that wait for the step; more only take memory.
const N_AHEAD: usize = 2;

/// The images of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step within its epoch, from 0.
    pub step: u64,
    /// The number of triplets, B.
    pub n_triplets: usize,
    /// `[3 * B, 3, crop, crop]`: the B sketches, then their photos, then the negatives.
    pub values: Vec<f32>,
    /// What L_NT asks about, for the methods that have it. Anchors are triplets, photos are the batch's 2 * B.
    pub topology: Option<TopologyPairs>,
}

/// The entries of one triplet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triplet {
    /// Index of the sketch.
    pub sketch: usize,
    /// Index of its photo.
    pub positive: usize,
    /// Index of another photo, never the sketch's own.
    pub negative: usize,
    /// How each is cropped and flipped.
    pub crops: [Crop; 3],
}

/// Draws batches from the training pairs.
#[derive(Clone, Debug)]
pub struct Sampler {
    pairs: Arc<Pairs>,
    preprocess: Preprocess,
    seed: u64,
    batch: usize,
    flip: bool,
    pair_mode: PairMode,
    topology: Option<Topology>,
}

/// How the pairs of L_NT are drawn.
#[derive(Clone, Debug)]
struct Topology {
    neighbourhood: Arc<Neighbourhood>,
    n_pairs: usize,
    sampling: Sampling,
}

impl Sampler {
    /// A sampler of `pairs`, which hold at least 2 photos and 1 sketch.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn new(pairs: Arc<Pairs>, config: &Config) -> Result<Sampler> {
        Ok(Sampler {
            preprocess: config.preprocess()?,
            seed: config.seed,
            batch: config.train.batch.min(pairs.sketches.len()),
            flip: config.images.flip,
            pair_mode: config.images.pairs,
            pairs,
            topology: None,
        })
    }

    /// Has batches come with pairs of L_NT, as many as the configuration says. `neighbourhood` is of the training
    /// photos, in their order.
    pub fn with_topology(mut self, neighbourhood: Arc<Neighbourhood>, config: &Config) -> Sampler {
        self.topology = config.topology().map(|settings| Topology {
            neighbourhood,
            n_pairs: settings.pairs,
            sampling: settings.sampling,
        });
        self
    }

    /// Steps in an epoch: the training sketches over the batch, rounded down. An epoch passes over the sketches in
    /// random order; those that do not fill a batch are left out of it, others in each epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.pairs.sketches.len() / self.batch) as u64
    }

    /// The triplets of one step. Epochs and steps from 0.
    pub fn triplets(&self, epoch: u64, step: u64) -> Vec<Triplet> {
        let mut order: Vec<usize> = (0..self.pairs.sketches.len()).collect();
        Stream::new(self.seed, "order", &[epoch]).shuffle(&mut order);
        let start = step as usize * self.batch;
        order[start..start + self.batch]
            .iter()
            .enumerate()
            .map(|(slot, &sketch)| {
                let indices = [epoch, step, slot as u64];
                let positive = self.pairs.sketches[sketch].1;
                // Uniform over the other photos: draw from one fewer and step over the sketch's own.
                let drawn = Stream::new(self.seed, "negative", &indices).below(self.pairs.photos.len() - 1);
                let negative = if drawn >= positive { drawn + 1 } else { drawn };
                let mut stream = Stream::new(self.seed, "augmentation", &indices);
                let of_sketch = self.draw_crop(&mut stream);
                let of_positive = match self.pair_mode {
                    PairMode::Alike => of_sketch,
                    PairMode::Independent => self.draw_crop(&mut stream),
                };
                let crops = [of_sketch, of_positive, self.draw_crop(&mut stream)];
                Triplet { sketch, positive, negative, crops }
            })
            .collect()
    }

    /// The pairs of L_NT for one step's triplets. For a sketch of photo i, K pairs of photos of the batch, each of two
    /// photos that are neither each other nor i; whether i itself may be in a pair is left open by the source, and
    /// here it may not, so that L_NT never asks what L_FG asks. A sketch whose batch has no two other photos has no
    /// pairs.
    fn topology_pairs(
        &self,
        topology: &Topology,
        triplets: &[Triplet],
        (epoch, step): (u64, u64),
    ) -> TopologyPairs {
        let mut pairs = TopologyPairs::default();
        // In the order of the batch's values behind the sketches.
        let photos: Vec<usize> = triplets
            .iter()
            .map(|triplet| triplet.positive)
            .chain(triplets.iter().map(|triplet| triplet.negative))
            .collect();
        for (slot, triplet) in triplets.iter().enumerate() {
            let own = triplet.positive;
            // The same photo may be in the batch several times, cropped differently.
            let others: Vec<usize> = (0..photos.len()).filter(|&place| photos[place] != own).collect();
            if others.iter().all(|&place| photos[place] == photos[others[0]]) {
                continue;
            }
            let distance = |place: usize| topology.neighbourhood.distance(own, photos[place]);
            let nearest = others
                .iter()
                .copied()
                .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
                .unwrap_or_default();
            let mut stream = Stream::new(self.seed, "topology", &[epoch, step, slot as u64]);
            for _ in 0..topology.n_pairs {
                let first = match topology.sampling {
                    Sampling::Random => others[stream.below(others.len())],
                    Sampling::Nearest => nearest,
                };
                // Another photo is there, so this ends.
                let second = loop {
                    let place = others[stream.below(others.len())];
                    if photos[place] != photos[first] {
                        break place;
                    }
                };
                pairs.anchors.push(slot as i64);
                pairs.first.push(first as i64);
                pairs.second.push(second as i64);
                pairs.signs.push(topology.neighbourhood.sign(own, photos[first], photos[second]));
            }
        }
        pairs
    }

    fn draw_crop(&self, stream: &mut Stream) -> Crop {
        let n_offsets = (self.preprocess.resize - self.preprocess.crop + 1) as usize;
        let (left, top) = (stream.below(n_offsets) as u32, stream.below(n_offsets) as u32);
        // Drawn even if unused, so that the setting changes flips only.
        let coin = stream.coin();
        Crop { left, top, flip: coin && self.flip }
    }

    /// The images of one step.
    ///
    /// # Errors
    /// [`Error::Core`] where an image was resized otherwise.
    pub fn batch(&self, epoch: u64, step: u64) -> Result<Batch> {
        let triplets = self.triplets(epoch, step);
        let n_triplets = triplets.len();
        let mut values = vec![0.0; 3 * n_triplets * self.preprocess.tensor_len()];
        values
            .par_chunks_exact_mut(self.preprocess.tensor_len())
            .enumerate()
            .try_for_each(|(index, out)| {
                let (role, triplet) = (index / n_triplets, &triplets[index % n_triplets]);
                let picture = match role {
                    0 => &self.pairs.sketches[triplet.sketch].0,
                    1 => &self.pairs.photos[triplet.positive],
                    _ => &self.pairs.photos[triplet.negative],
                };
                self.preprocess.write_tensor(&picture.image, triplet.crops[role], out)
            })
            .map_err(Error::from)?;
        let topology =
            self.topology.as_ref().map(|topology| self.topology_pairs(topology, &triplets, (epoch, step)));
        Ok(Batch { step, n_triplets, values, topology })
    }

    /// The batches of an epoch from `first_step` on, made on a worker thread ahead of their use. Dropping the
    /// receiver ends the worker.
    pub fn epoch(&self, epoch: u64, first_step: u64) -> Receiver<Result<Batch>> {
        let (sender, receiver) = sync_channel(N_AHEAD);
        let sampler = self.clone();
        std::thread::spawn(move || {
            for step in first_step..sampler.steps_per_epoch() {
                if sender.send(sampler.batch(epoch, step)).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Picture;
    use sketchfind_core::image::Rgb8Image;
    use std::path::Path;

    fn config(edit: impl Fn(&mut Config)) -> Config {
        let text = include_str!("../configs/demo.toml");
        let mut config = Config::parse(text, Path::new("demo.toml")).unwrap();
        (config.images.resize, config.images.crop, config.train.batch) = (10, 8, 4);
        config.images.pairs = PairMode::Independent;
        edit(&mut config);
        config
    }

    /// Five photos with two sketches each; every image is of one grey that tells which it is.
    fn pairs() -> Arc<Pairs> {
        let picture =
            |id: String, grey: u8| Picture { id, image: Rgb8Image::new(10, 10, vec![grey; 300]).unwrap() };
        let photos = (0..5).map(|i| picture(format!("p{i}"), 100 + i)).collect();
        let sketches = (0..10).map(|i| (picture(format!("s{i}"), i), usize::from(i) / 2)).collect();
        Arc::new(Pairs { photos, sketches })
    }

    #[test]
    fn a_negative_is_never_the_sketchs_own_and_all_others_are_drawn() {
        let sampler = Sampler::new(pairs(), &config(|_| {})).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 2);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..60 {
            let mut sketches = Vec::new();
            for step in 0..2 {
                for triplet in sampler.triplets(epoch, step) {
                    assert_eq!(triplet.positive, triplet.sketch / 2);
                    assert_ne!(triplet.negative, triplet.positive);
                    seen.insert((triplet.positive, triplet.negative));
                    sketches.push(triplet.sketch);
                }
            }
            sketches.sort_unstable();
            sketches.dedup();
            assert_eq!(sketches.len(), 8, "a sketch at most once an epoch");
        }
        assert_eq!(seen.len(), 5 * 4);
    }

    #[test]
    fn the_same_seed_gives_the_same_batches_in_any_order_and_on_any_number_of_workers() {
        let sampler = Sampler::new(pairs(), &config(|_| {})).unwrap();
        let straight: Vec<Batch> = sampler.epoch(3, 0).iter().map(|batch| batch.unwrap()).collect();
        assert_eq!(straight.len(), 2);
        let resumed: Vec<Batch> = sampler.epoch(3, 1).iter().map(|batch| batch.unwrap()).collect();
        assert_eq!(straight[1..], resumed);
        let one_worker = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one_worker.install(|| sampler.batch(3, 1).unwrap()), straight[1]);
        let other = Sampler::new(pairs(), &config(|config| config.seed = 2)).unwrap();
        assert_ne!(other.batch(3, 1).unwrap(), straight[1]);
    }

    #[test]
    fn each_image_stands_where_it_should() {
        let sampler = Sampler::new(pairs(), &config(|_| {})).unwrap();
        let (triplets, batch) = (sampler.triplets(0, 0), sampler.batch(0, 0).unwrap());
        let red = |index: usize| batch.values[index * 3 * 64];
        let expected = |grey: usize| (grey as f32 / 255.0 - 0.485) / 0.229;
        for (slot, triplet) in triplets.iter().enumerate() {
            assert_eq!(red(slot), expected(triplet.sketch));
            assert_eq!(red(4 + slot), expected(100 + triplet.positive));
            assert_eq!(red(8 + slot), expected(100 + triplet.negative));
        }
    }

    #[test]
    fn settings_of_augmentation() {
        let alike = Sampler::new(pairs(), &config(|config| config.images.pairs = PairMode::Alike)).unwrap();
        assert!(alike.triplets(0, 0).iter().all(|t| t.crops[0] == t.crops[1]));
        let apart = Sampler::new(pairs(), &config(|_| {})).unwrap();
        assert!(apart.triplets(0, 0).iter().any(|t| t.crops[0] != t.crops[1]));
        let unflipped = Sampler::new(pairs(), &config(|config| config.images.flip = false)).unwrap();
        assert!(unflipped.triplets(0, 0).iter().all(|t| t.crops.iter().all(|crop| !crop.flip)));
        let of = |sampler: &Sampler| {
            (0..40).flat_map(|epoch| sampler.triplets(epoch, 0)).map(|t| t.crops[0]).collect::<Vec<_>>()
        };
        let n_flipped = of(&apart).iter().filter(|crop| crop.flip).count();
        assert!((50..110).contains(&n_flipped), "{n_flipped} of 160");
        assert!((0..3).all(|offset| of(&apart).iter().any(|crop| crop.left == offset)));
    }

    #[test]
    fn a_batch_larger_than_the_data_is_all_of_it() {
        let sampler = Sampler::new(pairs(), &config(|config| config.train.batch = 64)).unwrap();
        assert_eq!((sampler.steps_per_epoch(), sampler.triplets(0, 0).len()), (1, 10));
    }

    fn topology_config(sampling: &str) -> Config {
        let text = include_str!("../configs/paper/chair-v1-meta.toml")
            .replace("sampling = \"random\"", &format!("sampling = \"{sampling}\""));
        let mut config = Config::parse(&text, Path::new("meta.toml")).unwrap();
        (config.images.resize, config.images.crop, config.train.batch) = (10, 8, 4);
        config
    }

    /// Photo i at i on a line: distances without ties.
    fn line() -> Arc<Neighbourhood> {
        Arc::new(Neighbourhood::from_features(&[0.0, 1.0, 2.1, 3.3, 4.6], 1))
    }

    #[test]
    fn topology_pairs_are_of_other_photos_with_the_sign_of_their_distances() {
        let config = topology_config("random");
        let sampler = Sampler::new(pairs(), &config).unwrap().with_topology(line(), &config);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..40 {
            let triplets = sampler.triplets(epoch, 0);
            let photo = |place: i64| {
                let (place, n) = (place as usize, triplets.len());
                if place < n { triplets[place].positive } else { triplets[place - n].negative }
            };
            let pairs = sampler.batch(epoch, 0).unwrap().topology.unwrap();
            assert_eq!(pairs, sampler.batch(epoch, 0).unwrap().topology.unwrap());
            for z in 0..pairs.signs.len() {
                let own = triplets[pairs.anchors[z] as usize].positive;
                let (first, second) = (photo(pairs.first[z]), photo(pairs.second[z]));
                assert!(first != second && first != own && second != own);
                let at = [0.0_f32, 1.0, 2.1, 3.3, 4.6];
                let is_first_nearer = (at[own] - at[first]).abs() < (at[own] - at[second]).abs();
                assert_eq!(pairs.signs[z], if is_first_nearer { 1.0 } else { -1.0 });
                seen.insert((own, first, second));
            }
        }
        assert_eq!(seen.len(), 5 * 4 * 3, "every triplet is drawn");
    }

    #[test]
    fn nearest_sampling_takes_the_nearest_photo_of_the_batch() {
        let config = topology_config("nearest");
        let sampler = Sampler::new(pairs(), &config).unwrap().with_topology(line(), &config);
        for epoch in 0..20 {
            let pairs = sampler.batch(epoch, 0).unwrap().topology.unwrap();
            assert!(!pairs.signs.is_empty());
            assert!(pairs.signs.iter().all(|&sign| sign == 1.0));
        }
    }
}
