//! Learning rates over time: a factor on every learning rate, a function of the step alone, so that a resumed run
//! follows the same one.

use std::f64::consts::PI;

use crate::config::{Schedule, Train};

/// The factor of `schedule` at a step, from 0, of a run with `steps_per_epoch`.
///
/// - constant: 1.
/// - step: `factor^floor(epoch / every_epochs)`, epochs from 0.
/// - cosine: `end + (1 - end) * (1 + cos(pi * step / n_steps)) / 2` (Loshchilov and Hutter 2017, equation 5, without
///   restarts).
///
/// Each is multiplied by `min(1, (step + 1) / warmup_steps)`.
pub fn factor(schedule: &Schedule, train: &Train, step: u64, steps_per_epoch: u64) -> f64 {
    let base = match *schedule {
        Schedule::Constant {} => 1.0,
        Schedule::Step { every_epochs, factor } => {
            let n_times = step / steps_per_epoch.max(1) / every_epochs.max(1);
            factor.powi(n_times.min(1 << 20) as i32)
        }
        Schedule::Cosine { end } => {
            let n_steps = (train.epochs * steps_per_epoch).max(1);
            end + (1.0 - end) * 0.5 * (1.0 + (PI * step as f64 / n_steps as f64).cos())
        }
    };
    let warmth = (step + 1) as f64 / train.warmup_steps.max(1) as f64;
    base * warmth.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn by_hand() {
        let config =
            Config::parse(include_str!("../configs/chair-v1-mobilenet.toml"), Path::new("x.toml")).unwrap();
        let train = Train { epochs: 4, warmup_steps: 0, ..config.train };
        let constant = Schedule::Constant {};
        let step = Schedule::Step { every_epochs: 2, factor: 0.1 };
        let cosine = Schedule::Cosine { end: 0.2 };
        // 4 epochs of 10 steps: the middle is step 20, three quarters step 30, where the cosine is -sqrt(1/2).
        for (schedule, at, expected) in [
            (constant, 39, 1.0),
            (step, 19, 1.0),
            (step, 20, 0.1),
            (step, 39, 0.1),
            (cosine, 0, 1.0),
            (cosine, 20, 0.6),
            (cosine, 30, 0.2 + 0.4 * (1.0 - 0.5_f64.sqrt())),
        ] {
            assert!((factor(&schedule, &train, at, 10) - expected).abs() < 1e-12, "{schedule:?} at {at}");
        }
        let train = Train { warmup_steps: 5, ..train };
        let warm: Vec<f64> = (0..6).map(|at| factor(&constant, &train, at, 10)).collect();
        assert_eq!(warm, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]);
    }
}
