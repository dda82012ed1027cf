//! The ground of a page as a smooth surface.

use super::quantiles;

/// A surface of second order over a page, whose sides run from 0 to 1.
pub(super) struct Surface([f64; 6]);

impl Surface {
    /// The surface nearest to most of `values`, first to those of `sample`, then to whatever lies near it: least squares,
    /// again and again without what is further off than 2.5 standard deviations, these by the median. And its noise.
    pub(super) fn fit(values: &[f32], width: usize, sample: &[bool]) -> (Surface, f32) {
        let height = values.len() / width;
        let mut near = sample.to_vec();
        let mut surface = Surface([0.0; 6]);
        let mut noise = 0.0;
        for _ in 0..6 {
            let Some(next) = Surface::least_squares(values, width, &near) else { break };
            surface = next;
            let distances: Vec<f32> = values
                .iter()
                .zip(surface.values(width, height))
                .map(|(own, ground)| (own - ground).abs())
                .collect();
            let of_near =
                distances.iter().zip(&near).filter(|(_, near)| **near).map(|(distance, _)| *distance);
            let [median] = quantiles(of_near.collect(), [0.5]);
            noise = 1.4826 * median;
            let most = 0.02_f32.max(2.5 * noise);
            let nearer: Vec<bool> = distances.iter().map(|&distance| distance < most).collect();
            if nearer.iter().filter(|&&is_near| is_near).count() * 5 < values.len() {
                break;
            }
            near = nearer;
        }
        (surface, noise.max(1.0 / 255.0))
    }

    fn terms([x, y]: [f64; 2]) -> [f64; 6] {
        let (x, y) = (2.0 * x - 1.0, 2.0 * y - 1.0);
        [1.0, x, y, x * x, x * y, y * y]
    }

    /// The normal equations, by elimination; nothing where they have no single solution.
    fn least_squares(values: &[f32], width: usize, sample: &[bool]) -> Option<Surface> {
        let height = values.len() / width;
        let mut rows = [[0.0_f64; 7]; 6];
        for (at, _) in sample.iter().enumerate().filter(|(_, is_in)| **is_in) {
            let place =
                [((at % width) as f64 + 0.5) / width as f64, ((at / width) as f64 + 0.5) / height as f64];
            let terms = Surface::terms(place);
            for (row, term) in rows.iter_mut().zip(terms) {
                row.iter_mut().zip(terms).for_each(|(sum, other)| *sum += term * other);
                row[6] += term * f64::from(values[at]);
            }
        }
        // A page of few rows or columns does not determine every term; a little weight on each keeps them near 0.
        let n = sample.iter().filter(|&&is_in| is_in).count() as f64;
        if n == 0.0 {
            return None;
        }
        rows.iter_mut().enumerate().for_each(|(at, row)| row[at] += 1e-9 * n);
        for pivot in 0..6 {
            let largest =
                (pivot..6).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))?;
            rows.swap(pivot, largest);
            let by = rows[pivot];
            for (_, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
                let factor = row[pivot] / by[pivot];
                row.iter_mut().zip(by).for_each(|(value, by)| *value -= factor * by);
            }
        }
        let mut terms = [0.0; 6];
        terms.iter_mut().enumerate().for_each(|(at, term)| *term = rows[at][6] / rows[at][at]);
        terms.iter().all(|term| term.is_finite()).then_some(Surface(terms))
    }

    pub(super) fn at(&self, place: [f64; 2]) -> f64 {
        Surface::terms(place).iter().zip(self.0).map(|(term, factor)| term * factor).sum()
    }

    pub(super) fn values(&self, width: usize, height: usize) -> Vec<f32> {
        (0..width * height)
            .map(|at| {
                let x = ((at % width) as f64 + 0.5) / width as f64;
                self.at([x, ((at / width) as f64 + 0.5) / height as f64]) as f32
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surface_of_second_order_is_found_under_what_lies_on_it() {
        let truth = Surface([0.7, 0.1, -0.05, 0.04, 0.02, -0.1]);
        let (width, height) = (50, 30);
        let mut values = truth.values(width, height);
        for (at, value) in values.iter_mut().enumerate() {
            if at % 5 == 0 {
                *value -= 0.4;
            }
        }
        let (found, noise) = Surface::fit(&values, width, &vec![true; values.len()]);
        for (found, truth) in found.0.iter().zip(truth.0) {
            assert!((found - truth).abs() < 1e-4, "{found} {truth}");
        }
        assert!(noise < 0.01, "{noise}");
    }

    #[test]
    fn a_page_of_one_row_has_a_ground() {
        let (surface, _) = Surface::fit(&[0.5; 7], 7, &[true; 7]);
        assert!((surface.at([0.3, 0.5]) - 0.5).abs() < 1e-3);
    }
}
