//! The same drawing, or photo, on other pages: as people make them and not as data sets hold them.

use sketchfind_core::Result;
use sketchfind_core::image::Image;
use sketchfind_core::random::Stream;

/// A page that a picture may lie on. Sizes are shares of the picture's longer side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// At half its size in the middle of a white page as large as it was.
    HalfSize,
    /// At half its size in the upper left corner.
    Corner,
    /// In the middle of a white page twice as wide.
    WidePage,
    /// On a white page of 5.5 by 7.8 times its size, near the upper left corner.
    LargePage,
    /// Light lines on black.
    DarkGround,
    /// Dark lines on grey.
    GreyGround,
    /// Pale lines on paper in uneven light, with noise.
    ShadowedPencil,
    /// Red lines.
    Red,
    /// Yellow lines.
    Yellow,
    /// Lines two pixels of 256 thicker.
    Thicker,
    /// Lines a pixel of 256 thinner.
    Thinner,
}

impl Page {
    /// The pages that show where a picture lies: for drawings and photos.
    pub const PLACES: [Page; 4] = [Page::HalfSize, Page::Corner, Page::WidePage, Page::LargePage];
    /// The pages that show how it is drawn: for drawings.
    pub const LOOKS: [Page; 7] = [
        Page::DarkGround,
        Page::GreyGround,
        Page::ShadowedPencil,
        Page::Red,
        Page::Yellow,
        Page::Thicker,
        Page::Thinner,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Page::HalfSize => "half_size",
            Page::Corner => "corner",
            Page::WidePage => "wide_page",
            Page::LargePage => "large_page",
            Page::DarkGround => "dark_ground",
            Page::GreyGround => "grey_ground",
            Page::ShadowedPencil => "shadowed_pencil",
            Page::Red => "red",
            Page::Yellow => "yellow",
            Page::Thicker => "thicker",
            Page::Thinner => "thinner",
        }
    }

    /// The picture on this page. What is random is drawn from `stream`.
    ///
    /// # Errors
    /// [`Error::Image`](sketchfind_core::Error::Image) where the resizer refuses.
    pub fn of(self, picture: &Image, stream: &mut Stream) -> Result<Image> {
        let (width, height) = (picture.width(), picture.height());
        let side = width.max(height);
        let scaled = |share: f64| (f64::from(side) * share).round() as u32;
        let half = || picture.thumbnail(side.div_ceil(2));
        let drawn =
            |colour: &dyn Fn(u32, u32, f32) -> [f32; 3]| by_ink(picture, &picture.luminance(), colour);
        match self {
            Page::HalfSize => on_white(&half()?, (width, height), (width / 4, height / 4)),
            Page::Corner => on_white(&half()?, (width, height), (0, 0)),
            Page::WidePage => on_white(picture, (2 * width, height), (width / 2, 0)),
            Page::LargePage => on_white(picture, (scaled(5.5), scaled(7.8)), (scaled(0.8), scaled(1.2))),
            Page::DarkGround => drawn(&|_, _, ink| [ink; 3]),
            Page::GreyGround => drawn(&|_, _, ink| [0.6 * (1.0 - ink); 3]),
            Page::ShadowedPencil => {
                let noise: Vec<f32> = (0..width * height).map(|_| 0.02 * stream.normal() as f32).collect();
                drawn(&|x, y, ink| {
                    let paper = 0.9 - 0.36 * x as f32 / width as f32 - 0.15 * y as f32 / height as f32;
                    [paper * (1.0 - 0.45 * ink) + noise[(y * width + x) as usize]; 3]
                })
            }
            Page::Red => drawn(&|_, _, ink| [1.0 - 0.14 * ink, 1.0 - 0.88 * ink, 1.0 - 0.88 * ink]),
            Page::Yellow => drawn(&|_, _, ink| [1.0 - 0.1 * ink, 1.0 - 0.22 * ink, 1.0 - 0.84 * ink]),
            Page::Thicker | Page::Thinner => {
                // Pixels of a picture of 256.
                let step = i64::from(side.div_ceil(256));
                let reach = if self == Page::Thicker { -step..=step } else { 0..=step };
                let luminance = picture.luminance();
                let extreme = |values: &mut dyn Iterator<Item = f32>| {
                    if self == Page::Thicker {
                        values.fold(1.0, f32::min)
                    } else {
                        values.fold(0.0, f32::max)
                    }
                };
                let near = |x: i64, y: i64| {
                    let x = x.clamp(0, i64::from(width) - 1) as usize;
                    luminance[y.clamp(0, i64::from(height) - 1) as usize * width as usize + x]
                };
                let changed: Vec<f32> = (0..i64::from(height))
                    .flat_map(|y| (0..i64::from(width)).map(move |x| (x, y)))
                    .map(|(x, y)| {
                        let around = reach.clone().flat_map(|dy| reach.clone().map(move |dx| (dx, dy)));
                        extreme(&mut around.map(|(dx, dy)| near(x + dx, y + dy)))
                    })
                    .collect();
                by_ink(picture, &changed, &|_, _, ink| [1.0 - ink; 3])
            }
        }
    }
}

/// `picture` at `at` on a white page.
fn on_white(picture: &Image, (width, height): (u32, u32), at: (u32, u32)) -> Result<Image> {
    let mut pixels = vec![255; 3 * width as usize * height as usize];
    let row_bytes = 3 * picture.width() as usize;
    for (y, row) in picture.pixels().chunks_exact(row_bytes).enumerate() {
        let start = 3 * ((at.1 as usize + y) * width as usize + at.0 as usize);
        pixels[start..start + row_bytes].copy_from_slice(row);
    }
    Image::new(width, height, pixels)
}

/// A page by its ink, 1 where the picture is black: `colour` of a place and its ink, red, green and blue from 0 to 1.
fn by_ink(picture: &Image, luminance: &[f32], colour: &dyn Fn(u32, u32, f32) -> [f32; 3]) -> Result<Image> {
    let width = picture.width();
    let pixels = luminance.iter().zip(0_u32..).flat_map(|(luminance, at)| {
        let colour = colour(at % width, at / width, 1.0 - luminance);
        colour.map(|value| (255.0 * value.clamp(0.0, 1.0)).round() as u8)
    });
    Image::new(width, picture.height(), pixels.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white page with a black bar across it, four pixels thick.
    fn bar() -> Image {
        let pixels = (0..64 * 64).flat_map(|at| [if (30..34).contains(&(at / 64)) { 0 } else { 255 }; 3]);
        Image::new(64, 64, pixels.collect()).unwrap()
    }

    fn of(page: Page) -> Image {
        page.of(&bar(), &mut Stream::new(1, "pages", &[])).unwrap()
    }

    fn ink(image: &Image) -> f64 {
        image.luminance().iter().map(|&value| 1.0 - f64::from(value)).sum()
    }

    #[test]
    fn pictures_lie_where_their_page_says() {
        let size = |page| (of(page).width(), of(page).height());
        assert_eq!(Page::PLACES.map(size), [(64, 64), (64, 64), (128, 64), (352, 499)]);
        let all = ink(&bar());
        for (page, share) in Page::PLACES.into_iter().zip([0.25, 0.25, 1.0, 1.0]) {
            assert!((ink(&of(page)) - share * all).abs() < 0.02 * all, "{page:?}");
        }
        let dark = |page, x: usize, y: usize| of(page).luminance()[y * of(page).width() as usize + x] < 0.5;
        assert!(dark(Page::HalfSize, 20, 32) && !dark(Page::HalfSize, 5, 32));
        assert!(dark(Page::Corner, 5, 16) && !dark(Page::Corner, 40, 16));
        assert!(dark(Page::WidePage, 40, 32) && !dark(Page::WidePage, 20, 32));
        assert!(dark(Page::LargePage, 60, 109) && !dark(Page::LargePage, 20, 109));
    }

    #[test]
    fn lines_look_as_their_page_says() {
        let pixel = |page: Page, y: usize| of(page).pixels()[3 * (y * 64 + 32)..][..3].to_vec();
        assert_eq!((pixel(Page::DarkGround, 10), pixel(Page::DarkGround, 32)), (vec![0; 3], vec![255; 3]));
        assert_eq!((pixel(Page::GreyGround, 10), pixel(Page::GreyGround, 32)), (vec![153; 3], vec![0; 3]));
        assert_eq!(pixel(Page::Red, 32), [219, 31, 31]);
        assert_eq!(pixel(Page::Yellow, 10), [255; 3]);
        let thickness = |page| of(page).luminance().iter().filter(|&&value| value < 0.5).count() / 64;
        assert_eq!((thickness(Page::Thicker), thickness(Page::Thinner)), (6, 3));
        let (light, shadow) =
            (of(Page::ShadowedPencil).luminance()[0], of(Page::ShadowedPencil).luminance()[64 * 64 - 1]);
        assert!(light > 0.8 && shadow < 0.5, "{light} {shadow}");
    }
}
