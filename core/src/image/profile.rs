//! Colour profiles. Phones and cameras write Display P3, Adobe RGB or ProPhoto, whose numbers are other colours than those
//! of sRGB, and networks are trained on sRGB. What says sRGB, or nothing, stays as it is to the bit.

use ::image::DynamicImage;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// How far a profile's colours may be from sRGB's, in levels of 255, to be called that. The many profiles of this name are
/// within one or two, short ones with simpler curves within three; those of wider gamuts are ten and more apart.
const SAME_WITHIN: u8 = 3;

/// Brings an image with this ICC profile to sRGB (colorimetric, or as the profile's own table has it; what sRGB cannot show
/// is clipped). Left as they are: what is sRGB already; grey images and images of inks, whose profiles tell of paper and
/// not of colours; and those whose profile cannot be read, as every viewer does.
pub(super) fn to_srgb(image: DynamicImage, profile: &[u8]) -> DynamicImage {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else {
        return image;
    };
    if profile.color_space != DataColorSpace::Rgb || !image.color().has_color() || is_srgb(&profile) {
        return image;
    }
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let layout = if image.color().has_alpha() { Layout::Rgba } else { Layout::Rgb };
    // In the image's own depth: eight bits of a wide gamut are too few to choose eight bits of sRGB from.
    macro_rules! converted {
        ($pixels:expr, $create:ident, $wrap:path) => {{
            let mut pixels = $pixels;
            let mut out = vec![0; pixels.len()];
            let transform = profile.$create(layout, &srgb, layout, options);
            if transform.is_ok_and(|transform| transform.transform(&pixels, &mut out).is_ok()) {
                pixels.copy_from_slice(&out);
            }
            $wrap(pixels)
        }};
    }
    match image {
        DynamicImage::ImageRgb8(pixels) => {
            converted!(pixels, create_transform_8bit, DynamicImage::ImageRgb8)
        }
        DynamicImage::ImageRgba8(pixels) => {
            converted!(pixels, create_transform_8bit, DynamicImage::ImageRgba8)
        }
        DynamicImage::ImageRgb16(pixels) => {
            converted!(pixels, create_transform_16bit, DynamicImage::ImageRgb16)
        }
        DynamicImage::ImageRgba16(pixels) => {
            converted!(pixels, create_transform_16bit, DynamicImage::ImageRgba16)
        }
        // Floats are not among what is decoded.
        other => other,
    }
}

/// Whether a profile's colours are sRGB's, as seen on some of each kind: greys, and mixtures of a few levels.
fn is_srgb(profile: &ColorProfile) -> bool {
    let levels = [0, 32, 64, 128, 192, 255];
    let greys = (0..=255).step_by(5).map(|level| [level; 3]);
    let mixed = levels.iter().flat_map(|&r| levels.iter().map(move |&g| (r, g)));
    let mixed = mixed.flat_map(|(r, g)| levels.iter().map(move |&b| [r, g, b]));
    let colours: Vec<u8> = greys.chain(mixed).flatten().collect();
    let mut out = vec![0; colours.len()];
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let transform = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options);
    transform.is_ok_and(|transform| transform.transform(&colours, &mut out).is_ok())
        && colours.iter().zip(&out).all(|(before, after)| before.abs_diff(*after) <= SAME_WITHIN)
}
