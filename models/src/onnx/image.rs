//! What a graph does to its input before the first layer: channels are moved, bytes become floats, and a mean and a
//! deviation are taken off. All of it is one factor and one shift for each channel.

use super::constant::Constant;
use super::proto::UINT8;
use super::read::Input;

/// The graph's input on its way to the first layer: `factor * x + shift`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Image {
    /// `[n, h, w, 3]` and not `[n, 3, h, w]`.
    pub(super) channels_last: bool,
    pub(super) factor: [f64; 3],
    pub(super) shift: [f64; 3],
    /// The graph takes bytes.
    pub(super) is_bytes: bool,
}

impl Image {
    /// A graph's input as it comes in.
    ///
    /// # Errors
    /// Where it is no batch of images of three channels.
    pub(super) fn of(input: &Input) -> Result<Image, String> {
        use super::proto::{BFLOAT16, DOUBLE, FLOAT, FLOAT16};
        let refuse = |reason: &str| {
            let shape: Vec<String> =
                input.shape.iter().map(|size| size.map_or("?".into(), |size| size.to_string())).collect();
            format!("its input '{}', [{}], {reason}", input.name, shape.join(", "))
        };
        let is_bytes = match input.element {
            UINT8 => true,
            FLOAT | FLOAT16 | DOUBLE | BFLOAT16 => false,
            _ => return Err(refuse("is neither floats nor bytes (uint8)")),
        };
        let is_three = |size: Option<usize>| size.is_none_or(|size| size == 3);
        let channels_last = match input.shape[..] {
            [_, Some(3), _, _] => false,
            [_, _, _, Some(3)] => true,
            [_, channels, _, _] if is_three(channels) => false,
            [] => false,
            _ => return Err(refuse("is no batch of images of three channels")),
        };
        Ok(Image { channels_last, factor: [1.0; 3], shift: [0.0; 3], is_bytes })
    }

    /// Adds a number to each channel.
    pub(super) fn plus(mut self, numbers: &[f32], sign: f64) -> Image {
        self.shift.iter_mut().zip(numbers).for_each(|(shift, &number)| *shift += sign * f64::from(number));
        self
    }

    /// Multiplies each channel by a number.
    pub(super) fn times(mut self, numbers: impl Iterator<Item = f64>) -> Image {
        for (channel, number) in numbers.enumerate().take(3) {
            self.factor[channel] *= number;
            self.shift[channel] *= number;
        }
        self
    }

    /// Three numbers, one a channel, as a constant has them that meets the image.
    pub(super) fn channels_of(&self, constant: &Constant) -> Option<Vec<f32>> {
        channels_of(constant, 4, if self.channels_last { 3 } else { 1 }, 3)
    }

    /// Mean and deviation of `(p / 255 - mean) / std` for pixels `p`, or nothing where the graph does nothing to floats:
    /// then it is for its owner to know what they are.
    ///
    /// Floats that the graph shifts or scales may be of 0 to 1 or of 0 to 255: those that it divides by more than 10 or
    /// takes more than 10 off are taken for the latter.
    pub(super) fn normalisation(&self) -> Option<([f32; 3], [f32; 3])> {
        let is_plain = self.factor == [1.0; 3] && self.shift == [0.0; 3];
        if is_plain && !self.is_bytes {
            return None;
        }
        let in_bytes = self.is_bytes
            || (0..3).any(|c| self.factor[c].abs() < 0.1 || (self.shift[c] / self.factor[c]).abs() > 10.0);
        let white = if in_bytes { 255.0 } else { 1.0 };
        let std = self.factor.map(|factor| 1.0 / (white * factor));
        let mean = [0, 1, 2].map(|c| -self.shift[c] * std[c]);
        Some((mean.map(|x| x as f32), std.map(|x| x as f32)))
    }

    /// Whether every number is one to compute with.
    pub(super) fn is_finite(&self) -> bool {
        self.factor.iter().all(|factor| factor.is_finite() && *factor > 0.0)
            && self.shift.iter().all(|shift| shift.is_finite())
    }
}

/// The numbers of a constant, one for each of `width` channels, where it has the same everywhere else: what broadcasting
/// gives a tensor of `rank` dimensions whose channels are the dimension `axis`.
pub(super) fn channels_of(constant: &Constant, rank: usize, axis: usize, width: usize) -> Option<Vec<f32>> {
    let shape = &constant.shape;
    if shape.len() > rank || constant.len() == 0 {
        return None;
    }
    let values = constant.as_floats()?;
    // How far apart channels lie, and how many the constant has.
    let (n_channels, stride) = match (shape.len() + axis).checked_sub(rank) {
        Some(place) => (shape[place], shape[place + 1..].iter().product::<usize>()),
        None => (1, values.len()),
    };
    if n_channels != 1 && n_channels != width {
        return None;
    }
    let found: Vec<f32> = (0..n_channels).map(|channel| values[channel * stride]).collect();
    let is_same = values.iter().enumerate().all(|(at, value)| found[at / stride % n_channels] == *value);
    is_same.then(|| if n_channels == 1 { vec![found[0]; width] } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_meet_channels_wherever_these_are() {
        let of = |shape: &[usize], values: &[f32], axis| {
            channels_of(&Constant::floats(shape.to_vec(), values.to_vec()), 4, axis, 3)
        };
        let numbers = Some(vec![1.0, 2.0, 3.0]);
        assert_eq!(of(&[3, 1, 1], &[1.0, 2.0, 3.0], 1), numbers);
        assert_eq!(of(&[1, 3, 1, 1], &[1.0, 2.0, 3.0], 1), numbers);
        assert_eq!(of(&[3], &[1.0, 2.0, 3.0], 3), numbers);
        // A row of two pixels.
        assert_eq!(of(&[2, 3], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0], 3), numbers);
        assert_eq!(of(&[], &[4.0], 1), Some(vec![4.0; 3]));
        // A number for each column is none for each channel.
        assert_eq!(of(&[3], &[1.0, 2.0, 3.0], 1), None);
        assert_eq!(of(&[2, 3], &[1.0, 2.0, 3.0, 1.0, 2.0, 4.0], 3), None);
        assert_eq!(of(&[0], &[], 3), None);
    }

    #[test]
    fn pixels_are_told_from_floats_by_what_is_done_to_them() {
        let plain = Image { channels_last: false, factor: [1.0; 3], shift: [0.0; 3], is_bytes: false };
        assert_eq!(plain.normalisation(), None);
        let half = plain.clone().plus(&[0.5; 3], -1.0).times([2.0; 3].into_iter());
        assert_eq!(half.normalisation(), Some(([0.5; 3], [0.5; 3])));
        let bytes = plain.plus(&[127.5; 3], -1.0).times([1.0 / 127.5; 3].into_iter());
        assert_eq!(bytes.normalisation(), Some(([0.5; 3], [0.5; 3])));
    }
}
