//! What a file is, by its first bytes. A name may say anything.

/// Bytes from the beginning of a file that are enough to tell what it is.
pub const HEAD_BYTES: usize = 4096;

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image of a format that is decoded: JPEG, PNG, WebP, GIF, BMP or TIFF.
    Image,
    /// An image of a format that is not decoded, with the format's name.
    OtherImage(&'static str),
    /// Not an image of a format that is known.
    Unknown,
}

impl Kind {
    /// Tells by the first [`HEAD_BYTES`] of a file, or all of them where it has fewer.
    ///
    /// ```
    /// use sketchfind_core::image::Kind;
    /// assert_eq!(Kind::of(b"\xff\xd8\xff\xe0 and so on"), Kind::Image);
    /// assert_eq!(Kind::of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Kind::OtherImage("HEIC"));
    /// assert_eq!(Kind::of(b"BMW, price list"), Kind::Unknown);
    /// ```
    pub fn of(head: &[u8]) -> Kind {
        if [&b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"]
            .iter()
            .any(|m| head.starts_with(m))
        {
            return Kind::Image;
        }
        if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
            return Kind::Image;
        }
        // Two letters are too few to tell a BMP from a text: the length of its second header is one of a few.
        if head.starts_with(b"BM")
            && matches!(number(head, 14, 4, true), Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
        {
            return Kind::Image;
        }
        if let Some(kind) = tiff(head) {
            return kind;
        }
        if head.get(4..8) == Some(b"ftyp") {
            return container(head);
        }
        let others: [(&[u8], &'static str); 15] = [
            (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
            (b"\xff\x0a", "JPEG XL"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
            (b"\xff\x4f\xff\x51", "JPEG 2000"),
            (b"II\xbc\x01", "JPEG XR"),
            (b"8BPS", "Photoshop"),
            (b"gimp xcf", "GIMP"),
            (b"v/1\x01", "OpenEXR"),
            (b"#?RADIANCE", "Radiance HDR"),
            (b"qoif", "QOI"),
            (b"DDS ", "DirectDraw"),
            (b"FUJIFILMCCD-RAW", RAW),
            (b"IIU\0", RAW),
            (b"IIRO", RAW),
            (b"FOVb", RAW),
        ];
        let other = others.iter().find(|(magic, _)| head.starts_with(magic));
        other.map_or(Kind::Unknown, |(_, name)| Kind::OtherImage(name))
    }
}

/// Files of cameras with what the sensor saw.
pub(crate) const RAW: &str = "camera raw";

/// What to do with an image of a format that is not decoded.
pub fn advice(format: &str) -> String {
    format!("its format is {format}, which is not read; convert it to JPEG, PNG or TIFF")
}

/// A number of `n` bytes at a place.
fn number(bytes: &[u8], at: usize, n: usize, is_little: bool) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(n)?)?;
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    Some(if is_little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
}

/// TIFF, and the raw files of cameras that look like it: their first picture is a preview of the size of a stamp.
fn tiff(head: &[u8]) -> Option<Kind> {
    let is_little = match head.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        b"II+\0" | b"MM\0+" => return Some(Kind::OtherImage("BigTIFF")),
        _ => return None,
    };
    if head.get(8..10) == Some(b"CR") {
        return Some(Kind::OtherImage(RAW));
    }
    // The directory of the first picture, where it stands at the beginning: entries of 12 bytes, of which 254 says whether
    // the picture is a smaller version of another, and 50706 is the version of a digital negative.
    let of_tag = |tag: u64| {
        let directory = usize::try_from(number(head, 4, 4, is_little)?).ok()?;
        let n = usize::try_from(number(head, directory, 2, is_little)?).ok()?;
        (0..n).find_map(|entry| {
            let at = directory.checked_add(2 + entry * 12)?;
            if number(head, at, 2, is_little)? != tag {
                return None;
            }
            number(head, at + 8, if number(head, at + 2, 2, is_little)? == 3 { 2 } else { 4 }, is_little)
        })
    };
    let is_preview = of_tag(254).is_some_and(|kind| kind & 1 == 1);
    Some(if is_preview || of_tag(50706).is_some() { Kind::OtherImage(RAW) } else { Kind::Image })
}

/// Containers of ISO's base media format: their brands tell pictures from films.
fn container(head: &[u8]) -> Kind {
    let length = number(head, 0, 4, false).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let end = length.clamp(8, head.len().max(8));
    let brands = || {
        let brands = head.get(8..end.min(head.len())).unwrap_or_default();
        // The second word is a version.
        brands.chunks_exact(4).enumerate().filter(|(place, _)| *place != 1).map(|(_, brand)| brand)
    };
    let has = |wanted: &[&[u8]]| brands().any(|brand| wanted.contains(&brand));
    if has(&[b"avif", b"avis"]) {
        return Kind::OtherImage("AVIF");
    }
    if has(&[b"crx "]) {
        return Kind::OtherImage(RAW);
    }
    if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2"]) {
        return Kind::OtherImage("HEIC");
    }
    Kind::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF whose directory has one entry, of 32 bits.
    fn tiff_with(tag: u16, value: u32, is_little: bool) -> Vec<u8> {
        let mut bytes =
            if is_little { b"II*\0\x08\0\0\0\x01\0".to_vec() } else { b"MM\0*\0\0\0\x08\0\x01".to_vec() };
        if is_little {
            bytes.extend(tag.to_le_bytes().iter().chain(&4_u16.to_le_bytes()));
            bytes.extend(1_u32.to_le_bytes().iter().chain(&value.to_le_bytes()));
        } else {
            bytes.extend(tag.to_be_bytes().iter().chain(&4_u16.to_be_bytes()));
            bytes.extend(1_u32.to_be_bytes().iter().chain(&value.to_be_bytes()));
        }
        bytes
    }

    #[test]
    fn every_format_is_told_by_its_first_bytes() {
        for (head, kind) in [
            (&b"GIF89a"[..], Kind::Image),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Kind::Image),
            (b"RIFF\x10\0\0\0WAVEfmt ", Kind::Unknown),
            (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Kind::Image),
            (b"BM is how this text begins", Kind::Unknown),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", Kind::OtherImage("AVIF")),
            (b"\0\0\0\x18ftypavif\0\0\0\0avif", Kind::OtherImage("AVIF")),
            (b"\0\0\0\x18ftypmsf1\0\0\0\0hevc", Kind::OtherImage("HEIC")),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", Kind::OtherImage(RAW)),
            (b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2avc1mp41", Kind::Unknown),
            (b"\0\0\0\x0cJXL \r\n\x87\n", Kind::OtherImage("JPEG XL")),
            (b"\xff\x0a\xfa\x1f", Kind::OtherImage("JPEG XL")),
            (b"II*\0\x10\0\0\0CR\x02\0", Kind::OtherImage(RAW)),
            (b"II+\0\x08\0\0\0", Kind::OtherImage("BigTIFF")),
            (b"II*\0\xff\xff\xff\xff", Kind::Image),
            (b"<svg xmlns=", Kind::Unknown),
            (b"%PDF-1.7", Kind::Unknown),
            (b"\0\0\0\0ftyp", Kind::Unknown),
            (b"", Kind::Unknown),
        ] {
            assert_eq!(Kind::of(head), kind, "{}", head.escape_ascii());
        }
        for is_little in [true, false] {
            assert_eq!(Kind::of(&tiff_with(254, 0, is_little)), Kind::Image);
            assert_eq!(
                Kind::of(&tiff_with(254, 1, is_little)),
                Kind::OtherImage(RAW),
                "a preview comes first"
            );
            assert_eq!(
                Kind::of(&tiff_with(50706, 0x104, is_little)),
                Kind::OtherImage(RAW),
                "a digital negative"
            );
            assert_eq!(Kind::of(&tiff_with(256, 1, is_little)), Kind::Image);
        }
    }
}
