//! The ground of a page as a smooth surface.

use super::quantiles;

/// A surface of second order over a page, whose sides run from 0 to 1.
pub(super) struct Surface([f64; 6]);

/// Pixels that a surface is fitted to at most, about: many more make it no better and take their time.
const MOST_FITTED: usize = 1 << 14;

/// A pixel that a surface is fitted to.
struct Pixel {
    terms: [f64; 6],
    value: f64,
    is_near: bool,
}

impl Surface {
    /// The surface nearest to most of `values`, first to those of `sample`, then to whatever lies near it: least squares,
    /// again and again without what is further off than 2.5 standard deviations, these by the median. And its noise.
    pub(super) fn fit(values: &[f32], width: usize, sample: &[bool]) -> (Surface, f32) {
        let height = values.len() / width;
        let step = (1..).find(|step| values.len() / (step * step) <= MOST_FITTED).unwrap_or(1);
        let at_steps = |n: usize| (0..n).step_by(step);
        let mut pixels: Vec<Pixel> = at_steps(height)
            .flat_map(|y| at_steps(width).map(move |x| (x, y)))
            .map(|(x, y)| {
                let place = [(x as f64 + 0.5) / width as f64, (y as f64 + 0.5) / height as f64];
                let at = y * width + x;
                Pixel { terms: Surface::terms(place), value: f64::from(values[at]), is_near: sample[at] }
            })
            .collect();
        let mut surface = Surface([0.0; 6]);
        let mut noise = 0.0;
        for _ in 0..6 {
            let Some(next) = Surface::least_squares(&pixels) else { break };
            surface = next;
            let distance = |pixel: &Pixel| (pixel.value - surface.of_terms(pixel.terms)).abs() as f32;
            let of_near = pixels.iter().filter(|pixel| pixel.is_near).map(distance);
            let [median] = quantiles(of_near.collect(), [0.5]);
            noise = 1.4826 * median;
            let most = 0.02_f32.max(2.5 * noise);
            let nearer: Vec<bool> = pixels.iter().map(|pixel| distance(pixel) < most).collect();
            if nearer.iter().filter(|&&is_near| is_near).count() * 5 < pixels.len() {
                break;
            }
            pixels.iter_mut().zip(nearer).for_each(|(pixel, is_near)| pixel.is_near = is_near);
        }
        (surface, noise.max(1.0 / 255.0))
    }

    fn terms([x, y]: [f64; 2]) -> [f64; 6] {
        let (x, y) = (2.0 * x - 1.0, 2.0 * y - 1.0);
        [1.0, x, y, x * x, x * y, y * y]
    }

    /// The normal equations of the pixels that are near, by elimination; nothing where they have no single solution.
    fn least_squares(pixels: &[Pixel]) -> Option<Surface> {
        let mut rows = [[0.0_f64; 7]; 6];
        let mut n = 0.0;
        for Pixel { terms, value, .. } in pixels.iter().filter(|pixel| pixel.is_near) {
            n += 1.0;
            for (row, term) in rows.iter_mut().zip(terms) {
                row.iter_mut().zip(terms).for_each(|(sum, other)| *sum += term * other);
                row[6] += term * value;
            }
        }
        if n == 0.0 {
            return None;
        }
        // A page of few rows or columns does not determine every term; a little weight on each keeps them near 0.
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

    fn of_terms(&self, terms: [f64; 6]) -> f64 {
        terms.iter().zip(self.0).map(|(term, factor)| term * factor).sum()
    }

    pub(super) fn at(&self, place: [f64; 2]) -> f64 {
        self.of_terms(Surface::terms(place))
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
