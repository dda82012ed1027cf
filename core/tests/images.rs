//! The pixel path against Pillow, and against damage.

use std::path::{Path, PathBuf};

use sketchfind_core::Error;
use sketchfind_core::image::{DecodeLimits, Image, Preprocess, Preset, ResizeRule};
use sketchfind_core::random::Stream;

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

fn listed(name: &str) -> Vec<String> {
    std::fs::read_to_string(reference(name)).unwrap().lines().map(str::to_owned).collect()
}

fn open(name: &str) -> Image {
    Image::open(reference(name), DecodeLimits::default()).unwrap()
}

/// Lossless formats to the bit; JPEG and lossy WebP within 3 of 255 a channel, as their decoders may round
/// differently.
#[test]
fn every_format_decodes_as_in_pillow() {
    let (names, tiffs) = (listed("decode.txt"), listed("tiff.txt"));
    assert_eq!((names.len(), tiffs.len()), (23, 12));
    for name in names.into_iter().chain(tiffs) {
        let image = open(&name);
        let expected = std::fs::read(reference(&format!("{name}.rgb"))).unwrap();
        let (size, expected) = expected.split_at(8);
        let size: Vec<u32> = size.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        assert_eq!([image.width(), image.height()], [size[0], size[1]], "{name}");
        let tolerance = if name.ends_with(".jpg") || ["lossy.webp", "jpeg.tiff"].contains(&name.as_str()) {
            3
        } else {
            0
        };
        let largest = image.pixels().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(largest <= tolerance, "{name}: {largest} apart, at most {tolerance} is allowed");
    }
}

/// The whole way from a file to the network's input. Pillow's resize and ours both round to 8 bits after each of two
/// passes; they may differ by one level, which is 1 / (255 * 0.224) after normalising.
#[test]
fn the_whole_path_is_within_one_level_of_pillow() {
    for line in listed("resize.txt") {
        let fields: Vec<&str> = line.split(' ').collect();
        let preprocess =
            Preprocess::imagenet(fields[2].parse().unwrap(), fields[3].parse().unwrap()).unwrap();
        let ours = preprocess.tensor(&open(fields[0])).unwrap();
        let bytes = std::fs::read(reference(fields[1])).unwrap();
        let expected: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(ours.len(), expected.len());
        let plane = ours.len() / 3;
        for (index, (a, b)) in ours.iter().zip(&expected).enumerate() {
            let levels = (a - b).abs() * 255.0 * preprocess.std[index / plane];
            assert!(levels < 1.01, "{line}: {levels} levels apart at {index}");
        }
    }
}

/// The presets against Pillow: bicubic and bilinear, by the shorter side and squashed. As above, a value may be off by one
/// level.
#[test]
fn presets_see_what_they_see_in_pillow() {
    let lines = listed("presets.txt");
    assert_eq!(lines.len(), 18);
    let (mut n_values, mut n_off) = (0, 0);
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let preset = Preset::by_name(fields[2]).unwrap();
        let preprocess = preset.preprocess(fields[3].parse().unwrap()).unwrap();
        let ours = preprocess.tensor(&open(fields[0])).unwrap();
        let bytes = std::fs::read(reference(fields[1])).unwrap();
        let expected: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(ours.len(), expected.len(), "{line}");
        let plane = ours.len() / 3;
        for (index, (a, b)) in ours.iter().zip(&expected).enumerate() {
            let levels = (a - b).abs() * 255.0 * preprocess.std[index / plane];
            assert!(levels < 1.01, "{line}: {levels} levels apart at {index}");
            n_values += 1;
            n_off += usize::from(levels > 0.5);
        }
    }
    assert!(50 * n_off < n_values, "{n_off} of {n_values} values");
}

/// What `CenterCrop` cuts from the whole is what is cut from the square in its middle, for every parity of the margins.
#[test]
fn the_square_in_the_middle_has_the_same_centre() {
    for (long, resize, crop) in
        [(20, 10, 10), (21, 10, 7), (21, 11, 7), (22, 11, 8), (23, 12, 7), (19, 14, 11), (15, 14, 11)]
    {
        let preprocess = Preprocess {
            resize_rule: ResizeRule::ShorterSide,
            mean: [0.0; 3],
            std: [1.0; 3],
            divisor: 1.0,
            ..Preprocess::imagenet(resize, crop).unwrap()
        };
        // The shorter side has its size already, so that each pixel says where it lies.
        let wide: Vec<u8> = (0..resize).flat_map(|_| (0..long).flat_map(|x| [x as u8; 3])).collect();
        let seen = preprocess.tensor(&Image::new(long, resize, wide).unwrap()).unwrap();
        let margin = f64::from(long - crop) / 2.0;
        assert_eq!(f64::from(seen[0]), margin.round_ties_even(), "{long} {resize} {crop}");
        let tall: Vec<u8> = (0..long).flat_map(|y| vec![y as u8; 3 * resize as usize]).collect();
        let seen = preprocess.tensor(&Image::new(resize, long, tall).unwrap()).unwrap();
        assert_eq!(f64::from(seen[0]), margin.round_ties_even(), "{long} {resize} {crop}");
    }
}

/// A line of a pixel's width is no reason to take all memory.
#[test]
fn what_is_too_long_for_its_shorter_side_is_refused() {
    let preprocess = Preset::by_name("clip").unwrap().preprocess(224).unwrap();
    let line = |length: u32| Image::new(1, length, vec![0; 3 * length as usize]).unwrap();
    assert_eq!(preprocess.resized(&line(100)).unwrap().height(), 224);
    let message = preprocess.resized(&line(100_000)).unwrap_err().to_string();
    assert!(message.contains("1 x 100000 pixels") && message.contains("67108864"), "{message}");
}

#[test]
fn layouts_and_divisors_are_the_same_pixels() {
    let image = Image::new(9, 7, (0..9 * 7 * 3).map(|n| (n * 41 % 256) as u8).collect()).unwrap();
    let preprocess = Preset::by_name("siglip").unwrap().preprocess(8).unwrap();
    let (first, last) =
        (preprocess.tensor(&image).unwrap(), preprocess.tensor_channels_last(&image).unwrap());
    let (last_u8, first_u8) =
        (preprocess.pixels(&image).unwrap(), preprocess.pixels_channels_first(&image).unwrap());
    let raw = Preprocess { divisor: 1.0, mean: [0.0; 3], std: [1.0; 3], ..preprocess };
    let raw = raw.tensor(&image).unwrap();
    for channel in 0..3 {
        for place in 0..64 {
            let (a, b) = (channel * 64 + place, place * 3 + channel);
            assert_eq!(first[a], last[b]);
            assert_eq!((first_u8[a], raw[a]), (last_u8[b], f32::from(last_u8[b])));
            assert_eq!(first[a], (f32::from(last_u8[b]) / 255.0 - 0.5) / 0.5);
        }
    }
}

#[test]
fn only_the_first_frame_of_a_gif_is_read() {
    assert_eq!((open("frames.gif").width(), open("frames.gif").height()), (21, 13));
}

/// Every format, cut at every byte and with bytes changed: an image or an error, never a panic; an error names the
/// origin.
#[test]
fn damage_never_panics() {
    let limits = DecodeLimits { max_pixels: 1 << 16 };
    let mut stream = Stream::new(1, "damage", &[]);
    for name in [listed("decode.txt"), listed("tiff.txt")].concat() {
        let whole = std::fs::read(reference(&name)).unwrap();
        let check = |bytes: &[u8]| {
            if let Err(error) = Image::decode(bytes, &format!("'{name}'"), limits) {
                assert!(error.to_string().contains(&name), "{error}");
            }
        };
        (0..whole.len()).step_by(3).for_each(|end| check(&whole[..end]));
        for _ in 0..200 {
            let mut bytes = whole.clone();
            for _ in 0..=stream.below(4) {
                let position = stream.below(bytes.len());
                bytes[position] = stream.bits() as u8;
            }
            check(&bytes);
        }
    }
}

#[test]
fn what_is_no_image_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, part) in [
        ("empty.png", &b""[..], "it is empty"),
        ("text.jpg", b"hello, I am a text", "not a JPEG, PNG, WebP, GIF, BMP or TIFF"),
        ("palette.tiff", &std::fs::read(reference("palette.tiff")).unwrap(), "as Tiff"),
        ("cut.png", &std::fs::read(reference("rgb.png")).unwrap()[..40], "as Png"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = Image::open(&path, DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, Error::Image { .. }));
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(part), "{message}");
    }
    assert!(matches!(
        Image::open(folder.path().join("nowhere.png"), DecodeLimits::default()).unwrap_err(),
        Error::Io { .. }
    ));
}

/// Every way of coding a JPEG that is at hand.
fn jpegs() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(reference("jpegs"))
        .unwrap()
        .map(|entry| format!("jpegs/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    names.extend(["colour.jpg", "progressive.jpg", "grey.jpg", "orientation6.jpg"].map(str::to_owned));
    names
}

const END_OF_JPEG: &[u8] = &[0xff, 0xd9];
const END_OF_PNG: &[u8] = b"\0\0\0\0IEND\xaeB\x60\x82";
const END_OF_GIF: &[u8] = b";";

fn decoded(bytes: &[u8]) -> Result<Image, Error> {
    Image::decode(bytes, "given", DecodeLimits::default())
}

/// A decoder that fills what is missing with grey would make a wrong embedding of it. Whatever stands behind the cut: the
/// file's end, an end marker that a tool put there, or the zeros of a download that reserved its space first.
#[test]
fn a_jpeg_that_is_cut_is_refused_wherever_it_is_cut_and_whatever_follows() {
    for name in jpegs() {
        let whole = std::fs::read(reference(&name)).unwrap();
        assert!(whole.ends_with(END_OF_JPEG) && decoded(&whole).is_ok(), "{name}");
        for length in 0..whole.len() - END_OF_JPEG.len() {
            let cut = &whole[..length];
            let zeros = vec![0; whole.len() - length];
            for (what, rest) in [("", &[][..]), ("an end marker", END_OF_JPEG), ("zeros", &zeros)] {
                let read = decoded(&[cut, rest].concat());
                assert!(read.is_err(), "{length} of {} bytes of {name} and {what}", whole.len());
            }
        }
        let message = decoded(&whole[..whole.len() - 9]).unwrap_err().to_string();
        assert!(message.contains("cut off"), "{message}");
    }
}

#[test]
fn a_jpeg_without_its_end_marker_has_all_its_pixels() {
    for name in jpegs() {
        let whole = std::fs::read(reference(&name)).unwrap();
        let data = &whole[..whole.len() - END_OF_JPEG.len()];
        let expected = decoded(&whole).unwrap();
        let zeros = [data, &[0; 512]].concat();
        for (what, bytes) in [("nothing", data), ("half of it", &whole[..whole.len() - 1]), ("zeros", &zeros)]
        {
            assert!(decoded(bytes).unwrap() == expected, "{name} with {what} in place of its end marker");
        }
        // What a camera puts behind the end does not matter, such as a second image.
        assert!(decoded(&[&whole, &whole[..40]].concat()).unwrap() == expected, "{name}");
    }
}

/// A PNG's pixels end before its last chunk, a GIF's before its last byte.
#[test]
fn other_formats_are_cut_where_their_pixels_are() {
    for (name, end) in [
        ("rgb.png", END_OF_PNG),
        ("palette.png", END_OF_PNG),
        ("grey16.png", END_OF_PNG),
        ("frames.gif", END_OF_GIF),
        ("lossy.webp", &[]),
        ("lossless.webp", &[]),
        ("lossless_alpha.webp", &[]),
        ("rgb.bmp", &[]),
    ] {
        let whole = std::fs::read(reference(name)).unwrap();
        let expected = decoded(&whole).unwrap();
        assert!(whole.ends_with(end));
        let n_needed = match name {
            // A chunk of an odd length has a byte behind it that is nothing.
            "lossless_alpha.webp" => whole.len() - 1,
            _ => whole.len() - end.len(),
        };
        assert!(decoded(&whole[..n_needed]).is_ok_and(|image| image == expected), "{name} without its end");
        for length in 0..n_needed {
            for rest in [&[][..], end] {
                let read = decoded(&[&whole[..length], rest].concat());
                // Of a second frame nothing is read.
                let has_frame = name == "frames.gif" && read.as_ref().is_ok_and(|image| *image == expected);
                assert!(
                    read.is_err() || has_frame,
                    "{length} of {} bytes of {name} and {rest:?}",
                    whole.len()
                );
            }
        }
    }
    for name in ["rgb.tiff", "lzw.tif"] {
        let whole = std::fs::read(reference(name)).unwrap();
        assert!(decoded(&whole).is_ok());
        for length in 0..whole.len() - 1 {
            assert!(decoded(&whole[..length]).is_err(), "{length} of {} bytes of {name}", whole.len());
        }
    }
    let gif = std::fs::read(reference("frames.gif")).unwrap();
    assert!(decoded(&gif[..gif.len() / 3]).is_err());
}

/// A file of a few bytes that claims 60,000 x 60,000 pixels is refused for its size, before they are allocated.
#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let mut bmp = b"BM".to_vec();
    bmp.extend([0; 8]);
    bmp.extend(54_u32.to_le_bytes());
    bmp.extend(40_u32.to_le_bytes());
    bmp.extend(60_000_i32.to_le_bytes());
    bmp.extend(60_000_i32.to_le_bytes());
    bmp.extend([1, 0, 24, 0]);
    bmp.extend([0; 24]);
    let message = Image::decode(&bmp, "'bomb'", DecodeLimits::default()).unwrap_err().to_string();
    assert!(message.contains("60000 x 60000") && message.contains("limit"), "{message}");
    let limits = DecodeLimits { max_pixels: 100 };
    let png = std::fs::read(reference("rgb.png")).unwrap();
    let message = Image::decode(&png, "'rgb.png'", limits).unwrap_err().to_string();
    assert!(message.contains("21 x 13") && message.contains("100 pixels"), "{message}");
}

/// Files of every format whose header says 10,000 x 10,000 pixels: 100 megapixels are over the ordinary limit.
#[test]
fn a_hundred_megapixels_are_refused_in_every_format() {
    let side = 10_000_u16;
    let (little, big) = (side.to_le_bytes(), side.to_be_bytes());
    let patched = |name: &str, at: &[usize], bytes: &[u8]| {
        let mut file = std::fs::read(reference(name)).unwrap();
        at.iter().for_each(|&at| file[at..at + bytes.len()].copy_from_slice(bytes));
        file
    };
    // The frame header of a JPEG: marker, length, precision, height, width.
    let frame = |name: &str, marker: u8| {
        let file = std::fs::read(reference(name)).unwrap();
        let at = file.windows(2).position(|pair| pair == [0xff, marker]).unwrap() + 5;
        patched(name, &[at, at + 2], &big)
    };
    let mut png = patched("rgb.png", &[18, 22], &big);
    let checksum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    for (name, file) in [
        ("baseline JPEG", frame("colour.jpg", 0xc0)),
        ("progressive JPEG", frame("progressive.jpg", 0xc2)),
        ("PNG", png),
        ("GIF", patched("frames.gif", &[6, 8], &little)),
        ("BMP", patched("rgb.bmp", &[18, 22], &little)),
        ("WebP", patched("lossy.webp", &[26, 28], &little)),
    ] {
        let message = Image::decode(&file, name, DecodeLimits::default()).unwrap_err().to_string();
        assert!(message.contains("10000 x 10000") && message.contains("limit of 67108864"), "{message}");
    }
}

/// The checksum of a PNG's chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn the_limit_is_the_callers() {
    for name in ["rgb.png", "rgb.bmp", "colour.jpg", "lossy.webp", "frames.gif"] {
        let image = open(name);
        let n_pixels = u64::from(image.width()) * u64::from(image.height());
        let decode = |max_pixels| Image::open(reference(name), DecodeLimits { max_pixels });
        assert_eq!(decode(n_pixels).unwrap(), image);
        let message = decode(n_pixels - 1).unwrap_err().to_string();
        assert!(
            message.contains(name) && message.contains(&format!("limit of {}", n_pixels - 1)),
            "{message}"
        );
    }
    // A file that is longer than any image of so many pixels is not read.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.jpg");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let message = Image::open(&path, DecodeLimits::default()).unwrap_err().to_string();
    assert!(message.contains("long.jpg") && message.contains("longer"), "{message}");
}

/// torchvision's CenterCrop takes `int(round((size - crop) / 2.0))`, and Python rounds halves to even.
#[test]
fn the_centre_crop_is_torchvisions() {
    for (resize, crop, offset) in
        [(299, 256, 22), (150, 128, 11), (10, 7, 2), (10, 9, 0), (7, 2, 2), (9, 2, 4), (5, 5, 0)]
    {
        assert_eq!(Preprocess::imagenet(resize, crop).unwrap().centre_crop().left, offset, "{resize} {crop}");
    }
}

#[test]
fn a_flipped_crop_is_mirrored() {
    let preprocess = Preprocess::imagenet(4, 3).unwrap();
    let pixels = (0..48).collect();
    let image = Image::new(4, 4, pixels).unwrap();
    let tensor = |flip| {
        let mut out = vec![0.0; 27];
        let crop = sketchfind_core::image::Crop { left: 1, top: 0, flip };
        preprocess.write_tensor(&image, crop, &mut out).unwrap();
        out
    };
    let (straight, flipped) = (tensor(false), tensor(true));
    for (a, b) in straight.chunks(3).zip(flipped.chunks(3)) {
        assert_eq!([a[0], a[1], a[2]], [b[2], b[1], b[0]]);
    }
    // By hand: the first red value of the crop is pixel 1's, 3 of 255.
    assert_eq!(straight[0], (3.0 / 255.0 - 0.485) / 0.229);
}

/// The pixels that a network normalises by itself are those that the other path normalises here, to the bit.
#[test]
fn pixels_and_tensors_are_of_one_path() {
    for (resize, crop) in [(13, 9), (12, 7), (8, 8)] {
        let preprocess = Preprocess::imagenet(resize, crop).unwrap();
        let image = Image::new(17, 11, (0..17 * 11 * 3).map(|n| (n * 37 % 256) as u8).collect()).unwrap();
        let (pixels, tensor) = (preprocess.pixels(&image).unwrap(), preprocess.tensor(&image).unwrap());
        let area = (crop * crop) as usize;
        assert_eq!(pixels.len(), 3 * area);
        for (place, rgb) in pixels.chunks(3).enumerate() {
            for (channel, &value) in rgb.iter().enumerate() {
                let (mean, std) = (preprocess.mean[channel], preprocess.std[channel]);
                let normalised = (f32::from(value) / 255.0 - mean) / std;
                assert_eq!(tensor[channel * area + place], normalised);
            }
        }
    }
}

fn same_as_reference(names: &str, tolerance: impl Fn(&str) -> u8) {
    let names = listed(names);
    assert!(names.len() >= 8);
    for name in names {
        let image = open(&format!("profiles/{name}"));
        let expected = std::fs::read(reference(&format!("profiles/{name}.rgb"))).unwrap();
        let (size, expected) = expected.split_at(8);
        assert_eq!(size, [image.width().to_le_bytes(), image.height().to_le_bytes()].concat(), "{name}");
        let largest = image.pixels().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(largest <= tolerance(&name), "{name}: {largest} apart");
    }
}

/// As LittleCMS does it, within one level; of a JPEG besides what its decoders may differ by.
#[test]
fn colours_of_wide_gamuts_become_srgb() {
    same_as_reference("profiles/converted.txt", |name| if name.ends_with(".jpg") { 4 } else { 1 });
    // They are other colours than the numbers say without the profile.
    let without = open("profiles/no_profile.png");
    for name in ["display_p3.png", "adobe_rgb.png", "pro_photo.png"] {
        let with = open(&format!("profiles/{name}"));
        let largest = with.pixels().iter().zip(without.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(largest > 20, "{name}: {largest}");
    }
}

#[test]
fn what_is_srgb_or_has_no_profile_of_its_colours_stays_to_the_bit() {
    same_as_reference("profiles/kept.txt", |_| 0);
}

/// A profile is a file of its own, from anywhere: bytes of it are changed, in a PNG whose checksums fit.
#[test]
fn damaged_profiles_never_panic_and_never_cost_the_image() {
    let icc = std::fs::read(reference("profiles/display_p3.icc")).unwrap();
    let png = std::fs::read(reference("rgb.png")).unwrap();
    let with_profile = |icc: &[u8]| {
        // Behind the header: a keyword, no compression to speak of (one stored block), the checksum of zlib.
        let (a, b) = icc.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65521;
            (a, (b + a) % 65521)
        });
        let n = icc.len() as u16;
        let mut content = b"iCCPx\0\0\x78\x01\x01".to_vec();
        content.extend(n.to_le_bytes().into_iter().chain((!n).to_le_bytes()));
        content.extend(icc.iter().copied().chain((b << 16 | a).to_be_bytes()));
        let length = (content.len() as u32 - 4).to_be_bytes();
        let checksum = crc32(&content).to_be_bytes();
        [&png[..33], &length, &content, &checksum, &png[33..]].concat()
    };
    let (plain, whole) = (decoded(&png).unwrap(), decoded(&with_profile(&icc)).unwrap());
    assert!(plain != whole, "the profile is found");
    (0..icc.len()).for_each(|end| {
        decoded(&with_profile(&icc[..end])).unwrap();
    });
    let mut stream = Stream::new(1, "profiles", &[]);
    for _ in 0..3000 {
        let mut icc = icc.clone();
        for _ in 0..=stream.below(4) {
            let position = stream.below(icc.len());
            icc[position] = stream.bits() as u8;
        }
        decoded(&with_profile(&icc)).unwrap();
    }
}
