//! Batches: sketches, their photos, and where the loss asks for it another photo each. What a batch holds is a function
//! of the seed, the epoch and the step alone, so that it is the same on any number of workers and after a resumed run.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;
use sketchfind_core::image::{Crop, Preprocess};
use sketchfind_core::random::Stream;

use crate::Result;
use crate::augment::{self, Geometry};
use crate::config::{Augmentation, Config, Pairs as PairMode, Sampling};
use crate::data::Pairs;
use crate::loss::TopologyPairs;
use crate::neighbourhood::PhotoDistances;

/// Batches that wait for the step; more only take memory.
const N_AHEAD: usize = 2;

/// The images of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step within its epoch, from 0.
    pub step: u64,
    /// Sketches, each with its photo: B.
    pub n_pairs: usize,
    /// Photos that were drawn as negatives, one for each sketch, or none: B or 0.
    pub n_negatives: usize,
    /// `[2 * B + n_negatives, 3, crop, crop]`: the B sketches, then their photos, then the negatives.
    pub values: Vec<f32>,
    /// Which photo each sketch is of; two sketches of one batch may be of the same.
    pub photos: Vec<i64>,
    /// What L_NT asks about, for the methods that have it. Anchors are sketches, photos are the batch's `B + n_negatives`.
    pub topology: Option<TopologyPairs>,
}

impl Batch {
    /// The images that pass through the network in a step.
    pub fn n_images(&self) -> usize {
        2 * self.n_pairs + self.n_negatives
    }
}

/// A sketch of a batch, its photo, and another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sketch.
    pub sketch: SketchOf,
    /// Index of its photo.
    pub positive: usize,
    /// Index of another photo, never the sketch's own, where the loss has one drawn.
    pub negative: Option<usize>,
}

/// Where a sketch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SketchOf {
    /// A person: the index of the sketch.
    Person(usize),
    /// Its photo, whose lines are drawn.
    Photo,
}

/// How the images of an entry are cropped or moved.
#[derive(Clone, Copy, Debug, PartialEq)]
enum View {
    Crop(Crop),
    Moved(Geometry, Augmentation),
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
    draws_negatives: bool,
    augmentation: Option<Augmentation>,
    pseudo_share: f64,
    topology: Option<Topology>,
}

/// How the pairs of L_NT are drawn.
#[derive(Clone, Debug)]
struct Topology {
    neighbourhood: Arc<PhotoDistances>,
    n_pairs: usize,
    sampling: Sampling,
}

impl Sampler {
    /// A sampler of `pairs`, which hold at least 2 photos and 1 sketch or photo to draw lines from.
    ///
    /// # Errors
    /// Those of [`Preprocess::check`].
    pub fn new(pairs: Arc<Pairs>, config: &Config) -> Result<Sampler> {
        Ok(Sampler {
            preprocess: config.preprocess()?,
            seed: config.seed,
            batch: config.train.batch.min(n_queries(&pairs)),
            flip: config.images.flip,
            pair_mode: config.images.pairs,
            draws_negatives: config.loss.rule().draws_negatives(),
            augmentation: config.augmentation,
            pseudo_share: config.pseudo_sketches.map_or(0.0, |pseudo| pseudo.share),
            pairs,
            topology: None,
        })
    }

    /// Has batches come with pairs of L_NT, as many as the configuration says. `neighbourhood` is of the training
    /// photos, in their order.
    pub fn with_topology(mut self, neighbourhood: Arc<PhotoDistances>, config: &Config) -> Sampler {
        self.topology = config.method.neighbourhood().map(|settings| Topology {
            neighbourhood,
            n_pairs: settings.pairs,
            sampling: settings.sampling,
        });
        self
    }

    /// Steps in an epoch: the training sketches, and the photos that have none but lines, over the batch, rounded down.
    /// An epoch passes over them in random order; those that do not fill a batch are left out of it, others in each epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (n_queries(&self.pairs) / self.batch) as u64
    }

    /// The entries of one step. Epochs and steps from 0.
    pub fn entries(&self, epoch: u64, step: u64) -> Vec<Entry> {
        let n_sketches = self.pairs.sketches.len();
        let mut order: Vec<usize> = (0..n_queries(&self.pairs)).collect();
        Stream::new(self.seed, "order", &[epoch]).shuffle(&mut order);
        let start = step as usize * self.batch;
        order[start..start + self.batch]
            .iter()
            .enumerate()
            .map(|(slot, &query)| {
                let indices = [epoch, step, slot as u64];
                let (sketch, positive) = match query.checked_sub(n_sketches) {
                    Some(index) => (SketchOf::Photo, self.pairs.without_sketch[index]),
                    None => {
                        let photo = self.pairs.sketches[query].1;
                        let drawn = Stream::new(self.seed, "pseudo-sketch", &indices).unit();
                        let is_pseudo =
                            drawn < self.pseudo_share && !self.pairs.without_lines.contains(&photo);
                        (if is_pseudo { SketchOf::Photo } else { SketchOf::Person(query) }, photo)
                    }
                };
                // Uniform over the other photos: draw from one fewer and step over the sketch's own.
                let negative = self.draws_negatives.then(|| {
                    let n_others = self.pairs.photos.len() - 1;
                    let drawn = Stream::new(self.seed, "negative", &indices).below(n_others);
                    if drawn >= positive { drawn + 1 } else { drawn }
                });
                Entry { sketch, positive, negative }
            })
            .collect()
    }

    /// How sketch, photo and negative of one entry are cropped or moved.
    fn views(&self, indices: [u64; 3]) -> [View; 3] {
        let mut stream = Stream::new(self.seed, "augmentation", &indices);
        let mut draw = || match &self.augmentation {
            None => View::Crop(self.draw_crop(&mut stream)),
            Some(settings) => View::Moved(Geometry::draw(settings, self.flip, &mut stream), *settings),
        };
        let of_sketch = draw();
        let of_positive = match self.pair_mode {
            PairMode::Alike => of_sketch,
            PairMode::Independent => draw(),
        };
        [of_sketch, of_positive, draw()]
    }

    /// The pairs of L_NT for one step's entries. For a sketch of photo i, K pairs of photos of the batch, each of two
    /// photos that are neither each other nor i; whether i itself may be in a pair is left open by the source, and
    /// here it may not, so that L_NT never asks what L_FG asks. A sketch whose batch has no two other photos has no
    /// pairs.
    fn topology_pairs(
        &self,
        topology: &Topology,
        entries: &[Entry],
        (epoch, step): (u64, u64),
    ) -> TopologyPairs {
        let mut pairs = TopologyPairs::default();
        // In the order of the batch's values behind the sketches.
        let photos: Vec<usize> = entries
            .iter()
            .map(|entry| entry.positive)
            .chain(entries.iter().filter_map(|entry| entry.negative))
            .collect();
        for (slot, entry) in entries.iter().enumerate() {
            let own = entry.positive;
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
    /// [`crate::Error::Core`] where an image was resized otherwise.
    pub fn batch(&self, epoch: u64, step: u64) -> Result<Batch> {
        let entries = self.entries(epoch, step);
        let n_pairs = entries.len();
        let n_negatives = if self.draws_negatives { n_pairs } else { 0 };
        let mut values = vec![0.0; (2 * n_pairs + n_negatives) * self.preprocess.tensor_len()];
        values.par_chunks_exact_mut(self.preprocess.tensor_len()).enumerate().try_for_each(
            |(index, out)| {
                let (role, slot) = (index / n_pairs, index % n_pairs);
                self.write(role, &entries[slot], [epoch, step, slot as u64], out)
            },
        )?;
        let topology =
            self.topology.as_ref().map(|topology| self.topology_pairs(topology, &entries, (epoch, step)));
        let photos = entries.iter().map(|entry| entry.positive as i64).collect();
        Ok(Batch { step, n_pairs, n_negatives, values, photos, topology })
    }

    /// Writes one image of an entry: its sketch (role 0), its photo (1) or its negative (2).
    fn write(&self, role: usize, entry: &Entry, indices: [u64; 3], out: &mut [f32]) -> Result<()> {
        let index = entry.negative.filter(|_| role == 2).unwrap_or(entry.positive);
        let photo = &self.pairs.photos[index];
        let mut stream = Stream::new(self.seed, ["sketch", "photo", "negative photo"][role], &indices);
        let (picture, is_pseudo) = match (role, entry.sketch) {
            (0, SketchOf::Person(sketch)) => (&self.pairs.sketches[sketch].0, false),
            (0, SketchOf::Photo) => (photo, true),
            _ => (photo, false),
        };
        let preprocess = &self.preprocess;
        match self.views(indices)[role] {
            View::Moved(geometry, settings) if role == 0 => {
                augment::sketch(picture, is_pseudo, geometry, &settings, preprocess, &mut stream, out)
            }
            View::Moved(geometry, settings) => {
                let has_lines = !self.pairs.without_lines.contains(&index);
                augment::photo(picture, has_lines, geometry, &settings, preprocess, &mut stream, out)
            }
            View::Crop(crop) if is_pseudo => {
                Ok(preprocess.write_tensor(&augment::drawn(picture, &mut stream)?, crop, out)?)
            }
            View::Crop(crop) => Ok(preprocess.write_tensor(&picture.image, crop, out)?),
        }
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

/// What an epoch passes over: sketches, and photos whose lines stand for one.
fn n_queries(pairs: &Pairs) -> usize {
    pairs.sketches.len() + pairs.without_sketch.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::loss::{Contrastive, Loss, Negatives, Triplet};
    use crate::picture::Picture;
    use sketchfind_core::image::Image;
    use std::path::Path;

    fn config(edit: impl Fn(&mut Config)) -> Config {
        let text = include_str!("../configs/chair-v1-mobilenet.toml");
        let mut config = Config::parse(text, Path::new("x.toml")).unwrap();
        (config.images.resize, config.images.crop, config.train.batch) = (10, 8, 4);
        config.images.pairs = PairMode::Independent;
        edit(&mut config);
        config
    }

    /// Five photos with two sketches each; every image is of one grey that tells which it is.
    fn pairs() -> Arc<Pairs> {
        let picture = |id: String, grey: u8| Picture {
            id,
            image: Image::new(10, 10, vec![grey; 300]).unwrap(),
            alpha: None,
        };
        let photos = (0..5).map(|i| picture(format!("p{i}"), 100 + i)).collect();
        let sketches = (0..10).map(|i| (picture(format!("s{i}"), i), usize::from(i) / 2)).collect();
        Arc::new(Pairs { photos, sketches, ..Pairs::default() })
    }

    fn person(entry: &Entry) -> usize {
        match entry.sketch {
            SketchOf::Person(sketch) => sketch,
            SketchOf::Photo => panic!("a pseudo-sketch"),
        }
    }

    #[test]
    fn a_negative_is_never_the_sketchs_own_and_all_others_are_drawn() {
        let sampler = Sampler::new(pairs(), &config(|_| {})).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 2);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..60 {
            let mut sketches = Vec::new();
            for step in 0..2 {
                for entry in sampler.entries(epoch, step) {
                    let (sketch, negative) = (person(&entry), entry.negative.unwrap());
                    assert_eq!(entry.positive, sketch / 2);
                    assert_ne!(negative, entry.positive);
                    seen.insert((entry.positive, negative));
                    sketches.push(sketch);
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
        let (entries, batch) = (sampler.entries(0, 0), sampler.batch(0, 0).unwrap());
        assert_eq!((batch.n_pairs, batch.n_negatives, batch.n_images()), (4, 4, 12));
        let red = |index: usize| batch.values[index * 3 * 64];
        let expected = |grey: usize| (grey as f32 / 255.0 - 0.485) / 0.229;
        for (slot, entry) in entries.iter().enumerate() {
            assert_eq!(red(slot), expected(person(entry)));
            assert_eq!(red(4 + slot), expected(100 + entry.positive));
            assert_eq!(red(8 + slot), expected(100 + entry.negative.unwrap()));
            assert_eq!(batch.photos[slot], entry.positive as i64);
        }
    }

    /// Where negatives come from the batch, nothing else is embedded.
    #[test]
    fn no_third_image_is_made_where_the_loss_has_no_use_for_one() {
        let contrastive = Loss::Contrastive(Contrastive { temperature: 0.1, same_modality: false });
        let hardest = Loss::Triplet(Triplet { margin: 0.1, negatives: Negatives::Hardest });
        for loss in [contrastive, hardest] {
            let sampler = Sampler::new(pairs(), &config(|config| config.loss = loss)).unwrap();
            let batch = sampler.batch(0, 0).unwrap();
            assert_eq!((batch.n_pairs, batch.n_negatives, batch.n_images()), (4, 0, 8));
            assert_eq!(batch.values.len(), 8 * 3 * 64);
            assert!(sampler.entries(0, 0).iter().all(|entry| entry.negative.is_none()));
        }
    }

    /// Photos without a sketch, and a share of the sketches, are drawn from photos; without the table none is.
    #[test]
    fn pseudo_sketches_are_drawn_for_their_share() {
        let with_lines = |share: Option<f64>, without_sketch: Vec<usize>| {
            let config = config(|config| {
                config.pseudo_sketches = share.map(|share| config::PseudoSketches { share });
            });
            let pairs = Pairs { without_sketch, ..(*pairs()).clone() };
            Sampler::new(Arc::new(pairs), &config).unwrap()
        };
        let count = |sampler: &Sampler| {
            let n_steps = sampler.steps_per_epoch();
            let entries = (0..50).flat_map(|epoch| (0..n_steps).map(move |step| (epoch, step)));
            let entries: Vec<Entry> =
                entries.flat_map(|(epoch, step)| sampler.entries(epoch, step)).collect();
            let n_pseudo = entries.iter().filter(|entry| entry.sketch == SketchOf::Photo).count();
            (n_pseudo, entries.len())
        };
        assert_eq!(count(&with_lines(None, vec![])), (0, 400));
        assert_eq!(count(&with_lines(Some(0.0), vec![])), (0, 400));
        assert_eq!(count(&with_lines(Some(1.0), vec![])), (400, 400));
        // A photo that is too flat for lines keeps its two sketches.
        let flat = Pairs { without_lines: [2].into(), ..(*pairs()).clone() };
        let all = config(|config| config.pseudo_sketches = Some(config::PseudoSketches { share: 1.0 }));
        let sampler = Sampler::new(Arc::new(flat), &all).unwrap();
        let entries: Vec<Entry> = (0..50).flat_map(|epoch| sampler.entries(epoch, 0)).collect();
        assert!(entries.iter().all(|entry| (entry.sketch == SketchOf::Photo) == (entry.positive != 2)));
        let (n_pseudo, n) = count(&with_lines(Some(0.3), vec![]));
        assert!((80..160).contains(&n_pseudo) && n == 400, "{n_pseudo}");
        // Two photos besides the ten sketches: a sixth of all queries.
        let (n_pseudo, n) = count(&with_lines(Some(0.0), vec![1, 4]));
        assert!((70..130).contains(&n_pseudo) && n == 600, "{n_pseudo}");
        let alone = Pairs { sketches: Vec::new(), without_sketch: (0..5).collect(), ..(*pairs()).clone() };
        let alone = Sampler::new(Arc::new(alone), &config(|_| {})).unwrap();
        assert_eq!((alone.steps_per_epoch(), alone.batch(0, 0).unwrap().n_pairs), (1, 4));
    }

    #[test]
    fn settings_of_augmentation() {
        let alike = Sampler::new(pairs(), &config(|config| config.images.pairs = PairMode::Alike)).unwrap();
        let views = |sampler: &Sampler, epoch: u64| {
            (0..4).map(|slot| sampler.views([epoch, 0, slot])).collect::<Vec<_>>()
        };
        let crop = |view: &View| match view {
            View::Crop(crop) => *crop,
            View::Moved(..) => panic!("moved"),
        };
        assert!(views(&alike, 0).iter().all(|view| view[0] == view[1]));
        let apart = Sampler::new(pairs(), &config(|_| {})).unwrap();
        assert!(views(&apart, 0).iter().any(|view| view[0] != view[1]));
        let unflipped = Sampler::new(pairs(), &config(|config| config.images.flip = false)).unwrap();
        assert!(views(&unflipped, 0).iter().flatten().all(|view| !crop(view).flip));
        let of = |sampler: &Sampler| {
            (0..40).flat_map(|epoch| views(sampler, epoch)).map(|view| crop(&view[0])).collect::<Vec<_>>()
        };
        let n_flipped = of(&apart).iter().filter(|crop| crop.flip).count();
        assert!((50..110).contains(&n_flipped), "{n_flipped} of 160");
        assert!((0..3).all(|offset| of(&apart).iter().any(|crop| crop.left == offset)));
    }

    #[test]
    fn a_batch_larger_than_the_data_is_all_of_it() {
        let sampler = Sampler::new(pairs(), &config(|config| config.train.batch = 64)).unwrap();
        assert_eq!((sampler.steps_per_epoch(), sampler.entries(0, 0).len()), (1, 10));
    }

    fn topology_config(sampling: &str) -> Config {
        let text = include_str!("../configs/paper/chair-v1-meta.toml")
            .replace("sampling = \"random\"", &format!("sampling = \"{sampling}\""));
        let mut config = Config::parse(&text, Path::new("meta.toml")).unwrap();
        (config.images.resize, config.images.crop, config.train.batch) = (10, 8, 4);
        config
    }

    /// Photo i at i on a line: distances without ties.
    fn line() -> Arc<PhotoDistances> {
        Arc::new(PhotoDistances::from_features(&[0.0, 1.0, 2.1, 3.3, 4.6], 1))
    }

    #[test]
    fn topology_pairs_are_of_other_photos_with_the_sign_of_their_distances() {
        let config = topology_config("random");
        let sampler = Sampler::new(pairs(), &config).unwrap().with_topology(line(), &config);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..40 {
            let entries = sampler.entries(epoch, 0);
            let photo = |place: i64| {
                let (place, n) = (place as usize, entries.len());
                if place < n { entries[place].positive } else { entries[place - n].negative.unwrap() }
            };
            let pairs = sampler.batch(epoch, 0).unwrap().topology.unwrap();
            assert_eq!(pairs, sampler.batch(epoch, 0).unwrap().topology.unwrap());
            for z in 0..pairs.signs.len() {
                let own = entries[pairs.anchors[z] as usize].positive;
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
