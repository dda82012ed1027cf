//! Which pixels of a page are content, and the groups that they form.

use super::Region;

/// The part of a page's mass from which a group of strokes belongs to the drawing and is no speck.
const LEAST_GROUP: f64 = 0.02;

/// A set of pixels, each with a weight.
pub(super) struct Mask {
    pub(super) width: usize,
    pub(super) is_set: Vec<bool>,
    pub(super) weights: Vec<f32>,
}

impl Mask {
    fn height(&self) -> usize {
        self.is_set.len() / self.width
    }

    /// Half of the widest gap between strokes of one group, in pixels.
    fn reach(&self) -> usize {
        ((0.015 * self.width.max(self.height()) as f64).round() as usize).max(1)
    }

    /// The box around all groups of pixels that are more than specks.
    pub(super) fn region(&self) -> Option<Region> {
        let groups = self.groups();
        let n_groups = groups.iter().copied().max().unwrap_or(0);
        let mut masses = vec![0.0_f64; n_groups + 1];
        for (at, &group) in groups.iter().enumerate() {
            if self.is_set[at] {
                masses[group] += f64::from(self.weights[at]);
            }
        }
        let least = LEAST_GROUP * masses.iter().sum::<f64>();
        let kept = |at: usize| self.is_set[at] && masses[groups[at]] >= least;
        let places =
            || (0..self.is_set.len()).filter(|&at| kept(at)).map(|at| (at % self.width, at / self.width));
        let (left, right) = (places().map(|p| p.0).min()?, places().map(|p| p.0).max()?);
        let (top, bottom) = (places().map(|p| p.1).min()?, places().map(|p| p.1).max()?);
        Some(Region {
            left: left as f64,
            top: top as f64,
            width: (right + 1 - left) as f64,
            height: (bottom + 1 - top) as f64,
        })
    }

    /// The number of each pixel's group, from 1: groups are joined across small gaps.
    fn groups(&self) -> Vec<usize> {
        let (width, height) = (self.width, self.height());
        let joined = self.joined();
        let mut groups = vec![0; joined.len()];
        let mut n_groups = 0;
        let mut todo = Vec::new();
        for start in 0..joined.len() {
            if !joined[start] || groups[start] != 0 {
                continue;
            }
            n_groups += 1;
            groups[start] = n_groups;
            todo.push(start);
            while let Some(at) = todo.pop() {
                let (x, y) = (at % width, at / width);
                for y in y.saturating_sub(1)..(y + 2).min(height) {
                    for x in x.saturating_sub(1)..(x + 2).min(width) {
                        let next = y * width + x;
                        if joined[next] && groups[next] == 0 {
                            groups[next] = n_groups;
                            todo.push(next);
                        }
                    }
                }
            }
        }
        groups
    }

    /// The pixels within reach of one that is set.
    fn joined(&self) -> Vec<bool> {
        self.spread(true)
    }

    /// The pixels with none within reach that is not set.
    pub(super) fn eroded(&self) -> Vec<bool> {
        self.spread(false).into_iter().map(|is_near| !is_near).collect()
    }

    /// The pixels of the square around each pixel that is `wanted`, across, then down.
    fn spread(&self, wanted: bool) -> Vec<bool> {
        let (width, height, reach) = (self.width, self.height(), self.reach());
        let along = |source: &dyn Fn(usize) -> bool, n: usize, target: &mut dyn FnMut(usize)| {
            let mut last = None;
            for at in 0..n + reach {
                if at < n && source(at) {
                    last = Some(at);
                }
                if at >= reach && last.is_some_and(|last| last + 2 * reach >= at) {
                    target(at - reach);
                }
            }
        };
        let mut across = vec![false; self.is_set.len()];
        for y in 0..height {
            along(&|x| self.is_set[y * width + x] == wanted, width, &mut |x| across[y * width + x] = true);
        }
        let mut down = vec![false; self.is_set.len()];
        for x in 0..width {
            along(&|y| across[y * width + x], height, &mut |y| down[y * width + x] = true);
        }
        down
    }
}
