//! One step: a batch becomes an update of the network. Each kind of step is a file that follows its formula in
//! 'Photo Pre-Training, But for Sketch' (Li, Pang, Song; CVPR 2023):
//!
//! - [`baseline`]: L_FG alone;
//! - [`multitask`]: the weighted sum of L_FG and L_NT (equation 5);
//! - [`meta`]: Algorithm 1, first order (equation 9);
//! - [`meta_full`]: with the second-order term (equation 8).

use sketchfind_core::distance::Distance;
use tch::Tensor;

use crate::batches::Batch;
use crate::config::{Anchor, Config, Method, NeighbourhoodSettings};
use crate::loss::{self, Embedded, LossValue};
use crate::network::{TorchNetwork, copied};
use crate::optimiser::{Optimiser, norm};
use crate::teacher::Teacher;
use crate::{Error, Result};

pub mod baseline;
pub mod meta;
pub mod meta_full;
pub mod multitask;

/// What a step tells of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// L_FG before the update.
    pub loss: f64,
    /// The share of its triplets within the margin.
    pub active: f64,
    /// L_NT, where the method has it: before the update, or after the virtual step of a meta method.
    pub topology_loss: Option<f64>,
    /// The share of its triplets within the margin.
    pub topology_active: Option<f64>,
    /// The teacher's loss times its weight, where there is a teacher.
    pub teacher_loss: Option<f64>,
}

/// Takes one step with learning rates multiplied by `rate_factor`. `step` and `epoch`, both from 1, are for an error.
///
/// # Errors
/// [`Error::NotFinite`] where a loss or gradient is not a number, before anything is updated; [`Error::Torch`].
pub fn step(
    config: &Config,
    network: &mut TorchNetwork,
    optimiser: &mut Optimiser,
    batch: &Batch,
    teacher: Option<&Teacher>,
    rate_factor: f64,
    (epoch, step): (u64, u64),
) -> Result<StepOutcome> {
    let images = images(config, network, batch)?;
    let teacher = match teacher {
        Some(teacher) => Some((teacher, teacher.embed(&images)?)),
        None => None,
    };
    let objective = Objective { config, batch, images, teacher, rate_factor };
    let (gradients, outcome) = gradients(&objective, network)?;
    for loss in [Some(outcome.loss), outcome.topology_loss, outcome.teacher_loss].into_iter().flatten() {
        if !loss.is_finite() {
            return Err(Error::NotFinite { what: "the loss", step, epoch, value: loss });
        }
    }
    let value = norm(&gradients)?;
    if !value.is_finite() {
        return Err(Error::NotFinite { what: "the gradient's norm", step, epoch, value });
    }
    optimiser.update(network.trained_mut(), &gradients, value, rate_factor * config.train.learning_rate)?;
    Ok(outcome)
}

/// L_FG of a batch, without gradients.
///
/// # Errors
/// [`Error::Torch`].
pub(crate) fn retrieval_loss(config: &Config, network: &TorchNetwork, batch: &Batch) -> Result<f64> {
    tch::no_grad(|| {
        let images = images(config, network, batch)?;
        let objective = Objective { config, batch, images, teacher: None, rate_factor: 1.0 };
        value(&objective.fine_grained(&objective.embed_nearby(network)?)?.loss)
    })
}

/// L_FG's gradient on a batch.
///
/// # Errors
/// [`Error::Torch`].
pub(crate) fn retrieval_gradient(
    config: &Config,
    network: &TorchNetwork,
    batch: &Batch,
) -> Result<Vec<Tensor>> {
    let images = images(config, network, batch)?;
    let objective = Objective { config, batch, images, teacher: None, rate_factor: 1.0 };
    gradient(&objective.fine_grained(&objective.embed(network)?)?.loss, network)
}

/// What the optimiser receives: the gradient of the method, one file each.
fn gradients(objective: &Objective<'_>, network: &mut TorchNetwork) -> Result<(Vec<Tensor>, StepOutcome)> {
    match &objective.config.method {
        Method::Baseline => baseline::gradients(objective, network),
        Method::Multitask(settings) => multitask::gradients(objective, settings, network),
        Method::Meta(settings) => meta::gradients(objective, settings, network),
        Method::MetaFull(settings) => meta_full::gradients(objective, settings, network),
    }
}

/// The two losses on one batch.
#[derive(Debug)]
pub struct Objective<'a> {
    config: &'a Config,
    batch: &'a Batch,
    /// `[n_images, 3, crop, crop]`: the batch's values on the network's device.
    images: Tensor,
    /// The teacher, and its embeddings of the images.
    teacher: Option<(&'a Teacher, Tensor)>,
    /// The schedule's factor on the learning rates.
    rate_factor: f64,
}

impl Objective<'_> {
    /// Passes sketches, photos and negatives, if there are any, through the one encoder as one batch; in training mode
    /// they therefore share one set of batch statistics.
    ///
    /// # Shapes
    /// Returns `[n_images, D]`.
    fn embed(&self, network: &TorchNetwork) -> Result<Tensor> {
        comparable(network, &network.forward(&self.images, self.config.train.batch_norm)?)
    }

    /// As [`Objective::embed`], at a point that a meta method only looks at. It lies so near to theta_n that most of its
    /// weights round to the same bf16 numbers, so this is computed in 32 bits.
    ///
    /// # Shapes
    /// Returns `[n_images, D]`.
    fn embed_nearby(&self, network: &TorchNetwork) -> Result<Tensor> {
        comparable(network, &network.forward_exactly(&self.images, self.config.train.batch_norm)?)
    }

    /// L_FG of the batch's embeddings, and what the teacher asks besides.
    fn retrieval(&self, embeddings: &Tensor) -> Result<Retrieval> {
        let value = self.fine_grained(embeddings)?;
        let of_teacher = match &self.teacher {
            Some((teacher, own)) => Some(teacher.loss(embeddings, own)?),
            None => None,
        };
        let loss = match &of_teacher {
            Some(of_teacher) => value.loss.f_add(of_teacher)?,
            None => value.loss.shallow_clone(),
        };
        Ok(Retrieval { loss, value, of_teacher })
    }

    /// L_FG of the batch's embeddings.
    fn fine_grained(&self, embeddings: &Tensor) -> Result<LossValue> {
        let n = self.batch.n_pairs as i64;
        self.config.loss.rule().of(&Embedded {
            sketches: embeddings.f_narrow(0, 0, n)?,
            positives: embeddings.f_narrow(0, n, n)?,
            negatives: embeddings.f_narrow(0, 2 * n, self.batch.n_negatives as i64)?,
            photos: &self.batch.photos,
        })
    }

    /// L_NT of the batch's embeddings.
    fn topology(&self, embeddings: &Tensor, settings: &NeighbourhoodSettings) -> Result<LossValue> {
        let n = self.batch.n_pairs as i64;
        let anchors = match settings.anchor {
            Anchor::Sketch => embeddings.f_narrow(0, 0, n)?,
            Anchor::Photo => embeddings.f_narrow(0, n, n)?,
        };
        let photos = embeddings.f_narrow(0, n, n + self.batch.n_negatives as i64)?;
        match &self.batch.topology {
            Some(pairs) => loss::topology(&anchors, &photos, pairs, settings.margin),
            None => loss::topology(&anchors, &photos, &loss::TopologyPairs::default(), settings.margin),
        }
    }
}

/// What is asked of retrieval at one point.
struct Retrieval {
    /// L_FG and the teacher's loss, which gradients flow through.
    loss: Tensor,
    /// L_FG.
    value: LossValue,
    /// The teacher's loss times its weight.
    of_teacher: Option<Tensor>,
}

/// Embeddings as the losses want them.
///
/// The losses compare by mean squared difference. A network whose embeddings are normalised is compared by
/// `1 - cos(a, b) = |a - b|^2 / 2`, so its embeddings are scaled by `sqrt(D / 2)`, which makes the one the other.
fn comparable(network: &TorchNetwork, embeddings: &Tensor) -> Result<Tensor> {
    Ok(match network.network().distance() {
        Distance::Mse => embeddings.shallow_clone(),
        Distance::Cosine => {
            embeddings.f_mul_scalar((network.network().output_width() as f64 / 2.0).sqrt())?
        }
    })
}

/// The gradient of a loss with respect to the network's trained tensors.
fn gradient(loss: &Tensor, network: &TorchNetwork) -> Result<Vec<Tensor>> {
    Ok(Tensor::f_run_backward(&[loss], network.trained(), false, false)?)
}

fn value(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.f_double_value(&[])?)
}

fn outcome(retrieval: &Retrieval, topology: Option<&LossValue>) -> Result<StepOutcome> {
    Ok(StepOutcome {
        loss: value(&retrieval.value.loss)?,
        active: value(&retrieval.value.active)?,
        teacher_loss: retrieval.of_teacher.as_ref().map(value).transpose()?,
        topology_loss: topology.map(|t| value(&t.loss)).transpose()?,
        topology_active: topology.map(|t| value(&t.active)).transpose()?,
    })
}

fn images(config: &Config, network: &TorchNetwork, batch: &Batch) -> Result<Tensor> {
    let (n, side) = (batch.n_images() as i64, i64::from(config.images.crop));
    Ok(Tensor::f_from_slice(&batch.values)?.f_reshape([n, 3, side, side])?.f_to_device(network.device())?)
}

/// The network's tensors at theta_n, kept while a step computes at other points.
pub(crate) struct Place {
    trained: Vec<Tensor>,
    statistics: Vec<Tensor>,
}

impl Place {
    pub(crate) fn remember(network: &TorchNetwork) -> Result<Place> {
        let copies = |tensors: &[Tensor]| tensors.iter().map(copied).collect::<Result<Vec<_>>>();
        Ok(Place { trained: copies(network.trained())?, statistics: copies(network.statistics())? })
    }

    /// Moves the network to `theta_n + by * direction`.
    pub(crate) fn move_to(&self, network: &mut TorchNetwork, direction: &[Tensor], by: f64) -> Result<()> {
        tch::no_grad(|| {
            for ((tensor, own), direction) in
                network.trained_mut().iter_mut().zip(&self.trained).zip(direction)
            {
                tensor.f_copy_(&own.f_add(&direction.f_mul_scalar(by)?)?)?;
            }
            Ok(())
        })
    }

    /// Moves the network back to theta_n, to the bit. Batch norms' running statistics too: they follow the batch once,
    /// as seen from theta_n, and not from points that training only looked at (ours; the source does not say).
    pub(crate) fn go_back(&self, network: &mut TorchNetwork) -> Result<()> {
        tch::no_grad(|| {
            for (tensor, own) in network.trained_mut().iter_mut().zip(&self.trained) {
                tensor.f_copy_(own)?;
            }
            for (tensor, own) in network.statistics().iter().zip(&self.statistics) {
                tensor.shallow_clone().f_copy_(own)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, BatchNorm, MethodName};
    use crate::loss::TopologyPairs;
    use crate::network::tests::small_network;
    use sketchfind_models::weights::{Tensor as WeightTensor, Weights};
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    const ETA_S: f64 = 0.05;
    const ETA_T: f64 = 0.03;

    /// What tests/reference/make_updates.py wrote.
    fn reference() -> Weights {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/updates.safetensors");
        Weights::load(&path).unwrap()
    }

    fn settings(method: MethodName, momentum: f64, batch_norm: BatchNorm) -> Config {
        let text = include_str!("../configs/paper/chair-v1-meta.toml");
        let mut config = Config::parse(text, &PathBuf::from("meta.toml")).unwrap();
        (config.images.resize, config.images.crop) = (16, 16);
        config.train.batch_norm = batch_norm;
        config.train.learning_rate = ETA_S;
        config.optimiser = config::Optimiser::Sgd { momentum };
        let mut topology = config.method.neighbourhood().unwrap().clone();
        (topology.margin, topology.alpha, topology.beta) = (0.05, 0.7, 1.3);
        (topology.eta_s, topology.eta_t) = (ETA_S, ETA_T);
        config.method = Method::new(method, Some(topology)).unwrap();
        config
    }

    fn batch(reference: &Weights) -> Batch {
        let values = |name: &str| reference.get(name).unwrap().values.clone();
        let indices = |name: &str| values(name).iter().map(|&value| value as i64).collect::<Vec<i64>>();
        let topology = TopologyPairs {
            anchors: indices("anchors"),
            first: indices("first"),
            second: indices("second"),
            signs: values("signs"),
        };
        Batch {
            step: 0,
            n_pairs: 4,
            n_negatives: 4,
            values: values("images"),
            photos: (0..4).collect(),
            topology: Some(topology),
        }
    }

    fn network(reference: &Weights) -> TorchNetwork {
        let description = small_network();
        let start: BTreeMap<String, WeightTensor> = description
            .parameters()
            .into_iter()
            .map(|p| (p.name.clone(), reference.get(&format!("start.{}", p.name)).unwrap().clone()))
            .collect();
        TorchNetwork::new(&description, &Weights::new(start), tch::Device::Cpu).unwrap()
    }

    fn objective<'a>(config: &'a Config, batch: &'a Batch, network: &TorchNetwork) -> Objective<'a> {
        let images = images(config, network, batch).unwrap().to_kind(network.trained()[0].kind());
        Objective { config, batch, images, teacher: None, rate_factor: 1.0 }
    }

    fn gradients_of(config: &Config, batch: &Batch, network: &mut TorchNetwork) -> Vec<Tensor> {
        let objective = objective(config, batch, network);
        super::gradients(&objective, network).unwrap().0
    }

    /// The trained tensors' names, in the order of their gradients.
    fn trained_names() -> Vec<String> {
        let parameters = small_network().parameters();
        let is_trained = |kind| kind == sketchfind_models::network::ParameterKind::Trained;
        parameters.into_iter().filter(|p| is_trained(p.kind)).map(|p| p.name).collect()
    }

    fn expected(reference: &Weights, case: &str, what: &str) -> Vec<Tensor> {
        trained_names()
            .iter()
            .map(|name| {
                let tensor = reference.get(&format!("{case}.{what}.{name}")).unwrap();
                let shape: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
                Tensor::from_slice(&tensor.values).reshape(shape).to_kind(tch::Kind::Double)
            })
            .collect()
    }

    /// The length of the difference over all tensors, as a share of the length.
    fn relative_difference(ours: &[Tensor], theirs: &[Tensor]) -> f64 {
        let differences: Vec<Tensor> = ours.iter().zip(theirs).map(|(a, b)| a.detach() - b).collect();
        norm_of(&differences) / norm_of(theirs)
    }

    fn norm_of(tensors: &[Tensor]) -> f64 {
        crate::optimiser::norm(tensors).unwrap()
    }

    #[test]
    fn gradients_and_updates_equal_pytorchs() {
        let reference = reference();
        let batch = batch(&reference);
        for (method, name) in [
            (MethodName::Baseline, "baseline"),
            (MethodName::Multitask, "multitask"),
            (MethodName::Meta, "meta"),
            (MethodName::MetaFull, "meta_full"),
        ] {
            for (batch_norm, mode) in [(BatchNorm::Frozen, "frozen"), (BatchNorm::Training, "training")] {
                for momentum in [0.0, 0.9] {
                    let case = format!("{name}.{momentum:?}.{mode}");
                    let config = settings(method, momentum, batch_norm);
                    // In the 32 bits that training uses.
                    let gradients = gradients_of(&config, &batch, &mut network(&reference));
                    let difference =
                        relative_difference(&gradients, &expected(&reference, &case, "gradient"));
                    assert!(difference < 1e-5, "{case}: gradient off by {difference}");
                    // Three steps in 64 bits, so that rounding does not hide behind small updates.
                    let mut torch = network(&reference).in_double();
                    let start: Vec<Tensor> = torch.trained().iter().map(|t| t.detach().copy()).collect();
                    let mut optimiser =
                        Optimiser::new(config.optimiser, &config.train, torch.trained()).unwrap();
                    for _ in 0..3 {
                        let gradients = gradients_of(&config, &batch, &mut torch);
                        optimiser
                            .update(torch.trained_mut(), &gradients, norm(&gradients).unwrap(), ETA_S)
                            .unwrap();
                    }
                    let updates: Vec<Tensor> =
                        torch.trained().iter().zip(&start).map(|(now, start)| now.detach() - start).collect();
                    let difference = relative_difference(&updates, &expected(&reference, &case, "update"));
                    assert!(difference < 1e-5, "{case}: update off by {difference}");
                }
            }
        }
    }

    /// A virtual step is smaller than what bf16 can tell of a weight; the meta step must see it all the same.
    #[test]
    fn a_virtual_step_is_seen_in_bf16_too() {
        let reference = reference();
        let batch = batch(&reference);
        let config = settings(MethodName::Meta, 0.0, BatchNorm::Frozen);
        let topology =
            &NeighbourhoodSettings { eta_s: 1e-3, ..config.method.neighbourhood().unwrap().clone() };
        let after = |precision| {
            let mut torch = network(&reference).with_arithmetic(precision, false).unwrap();
            let objective = objective(&config, &batch, &torch);
            let (_, outcome) = meta::gradients(&objective, topology, &mut torch).unwrap();
            outcome.topology_loss.unwrap()
        };
        let torch = network(&reference);
        let here = objective(&config, &batch, &torch);
        let before = value(&here.topology(&here.embed(&torch).unwrap(), topology).unwrap().loss).unwrap();
        let (fp32, bf16) = (after(config::TrainingPrecision::Fp32), after(config::TrainingPrecision::Bf16));
        assert!((fp32 - bf16).abs() < 0.1 * (fp32 - before).abs(), "{before} to {fp32}, in bf16 {bf16}");
    }

    /// A network that normalises is compared by cosine, at theta_n and nearby alike.
    #[test]
    fn nearby_points_are_compared_as_theta_n_is() {
        use sketchfind_models::network::{Network, Node, Op};
        let reference = reference();
        let batch = batch(&reference);
        let config = settings(MethodName::Meta, 0.0, BatchNorm::Frozen);
        let mut nodes = small_network().nodes().to_vec();
        nodes.push(Node { op: Op::L2Normalise, inputs: vec![nodes.len() - 1] });
        let description = Network::new("normalised", nodes).unwrap();
        let weights = Weights::random(&description, 1);
        let torch = TorchNetwork::new(&description, &weights, tch::Device::Cpu).unwrap();
        assert_eq!(description.distance(), Distance::Cosine);
        let objective = objective(&config, &batch, &torch);
        let (here, nearby) = (objective.embed(&torch).unwrap(), objective.embed_nearby(&torch).unwrap());
        assert_eq!((here - nearby).abs().max().double_value(&[]), 0.0);
    }

    /// The second-order term, by central differences, against autograd's: its direction, sign and size.
    #[test]
    fn the_full_meta_gradient_is_that_of_autograd() {
        let reference = reference();
        let batch = batch(&reference);
        for (batch_norm, mode) in [(BatchNorm::Frozen, "frozen"), (BatchNorm::Training, "training")] {
            let exact = expected(&reference, &format!("meta_full.0.0.{mode}"), "exact");
            let config = settings(MethodName::MetaFull, 0.0, batch_norm);
            let topology = config.method.neighbourhood().unwrap();
            let torch = || network(&reference).in_double();
            let objective = objective(&config, &batch, &torch());
            let (first_order, _) = meta::gradients(&objective, topology, &mut torch()).unwrap();
            // So short, in 64 bits, that no rectifier of the small network changes its mind within it.
            let (full, _) =
                meta_full::with_difference_step(&objective, topology, &mut torch(), 1e-6).unwrap();
            let second_order = relative_difference(&first_order, &exact);
            let left = relative_difference(&full, &exact);
            assert!(second_order > 1e-3, "{mode}: the term is too small to be seen, {second_order}");
            assert!(left < 1e-4 * second_order, "{mode}: {left} of {second_order} is left");
        }
    }

    /// Algorithm 1 with plain SGD: theta_n+1 = theta_tmp - eta_t * g_bar.
    #[test]
    fn plain_meta_is_the_virtual_step_and_then_one_on_the_topology() {
        let reference = reference();
        let batch = batch(&reference);
        let config = settings(MethodName::Meta, 0.0, BatchNorm::Frozen);
        let mut torch = network(&reference).in_double();
        let objective = objective(&config, &batch, &torch);
        let settings = config.method.neighbourhood().unwrap();
        let first = meta::FirstOrder::compute(&objective, settings, &mut torch).unwrap();
        // The network is at theta_tmp now.
        let expected: Vec<Tensor> = torch
            .trained()
            .iter()
            .zip(&first.g_bar)
            .map(|(theta_tmp, g_bar)| theta_tmp.detach() - g_bar * ETA_T)
            .collect();
        let mut torch = network(&reference).in_double();
        let gradients = gradients_of(&config, &batch, &mut torch);
        let mut optimiser = Optimiser::new(config.optimiser, &config.train, torch.trained()).unwrap();
        optimiser.update(torch.trained_mut(), &gradients, norm(&gradients).unwrap(), ETA_S).unwrap();
        assert!(relative_difference(torch.trained(), &expected) < 1e-14);
    }

    #[test]
    fn a_meta_step_leaves_the_network_at_theta_n_to_the_bit_until_the_update() {
        let reference = reference();
        let batch = batch(&reference);
        for method in [MethodName::Meta, MethodName::MetaFull] {
            let config = settings(method, 0.9, BatchNorm::Training);
            let mut torch = network(&reference);
            let _ = gradients_of(&config, &batch, &mut torch);
            let meta_weights = torch.weights().unwrap();
            // The running statistics have followed the batch once, as in a baseline step.
            let mut baseline = network(&reference);
            let _ = gradients_of(
                &settings(MethodName::Baseline, 0.9, BatchNorm::Training),
                &batch,
                &mut baseline,
            );
            assert!(meta_weights.iter().eq(baseline.weights().unwrap().iter()));
        }
    }
}
