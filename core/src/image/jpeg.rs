//! Whether a JPEG file is whole. Decoders fill what is missing of a cut file with grey and say nothing, so a half
//! download would become a wrong embedding. The end marker does not tell: it may be missing where every pixel is there,
//! and a tool that repairs files may have put one behind half of the pixels. So the compressed data are walked through
//! (ITU-T T.81, annexes B, F and G): their codes are read and counted, no pixel is computed.

mod scan;

use scan::{Component, HuffmanTable, Scan, ScanEnd};

/// The Huffman tables that are in force: of DC, then of AC coefficients.
type Tables = [[Option<HuffmanTable>; 4]; 2];

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
const RESTART_INTERVAL: u8 = 0xdd;
/// Where a colour profile is.
const APP2: u8 = 0xe2;

/// What a walk through a JPEG file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// How far the image's data go.
    pub(super) extent: Extent,
    /// Whether a colour profile stands before the image's data.
    pub(super) has_profile: bool,
}

/// How far an image's data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// To the last pixel, and an end marker follows; or so say the markers of a file whose coding is not walked through or
    /// is damaged inside, which is the decoder's to judge.
    Whole,
    /// To the last pixel, at this byte of the file; there is no end marker.
    WithoutEnd(usize),
    /// Less far than the last pixel.
    Cut,
}

/// An image's data with an end marker: without one, decoders may take the last pixels for missing.
pub(super) fn with_end(data: &[u8]) -> Vec<u8> {
    [data, &[0xff, END_OF_IMAGE]].concat()
}

/// Walks through a file that begins as a JPEG does.
pub(super) fn walk(bytes: &[u8]) -> Walked {
    // A download that reserved its space first ends in zeros, which are codes too and would pass for pixels. One or two
    // may be an image's last codes.
    let n_zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let content = if n_zeros > 2 { &bytes[..bytes.len() - n_zeros] } else { bytes };
    let mut has_profile = false;
    let extent = Walk::new(content).follow(&mut has_profile);
    Walked { extent, has_profile }
}

/// The image as its frame header describes it, and what was read of it.
struct Frame {
    is_progressive: bool,
    width: u32,
    height: u32,
    components: Vec<Component>,
}

impl Frame {
    /// A baseline, extended or progressive frame of Huffman codes; nothing for another, or for one that contradicts itself.
    fn parse(marker: u8, header: &[u8]) -> Option<Frame> {
        let &[_precision, h1, h0, w1, w0, n, ref components @ ..] = header else {
            return None;
        };
        let height = u32::from(u16::from_be_bytes([h1, h0]));
        let width = u32::from(u16::from_be_bytes([w1, w0]));
        let (components, _) = components.as_chunks::<3>();
        let components: Option<Vec<Component>> =
            components.iter().take(usize::from(n)).map(|&[id, sizes, _]| Component::new(id, sizes)).collect();
        let components = components.filter(|found| found.len() == usize::from(n) && (1..=4).contains(&n))?;
        // A height of zero stands behind the first scan, which hardly a decoder reads.
        let is_walked = matches!(marker, 0xc0..=0xc2) && width > 0 && height > 0;
        is_walked.then_some(Frame { is_progressive: marker == 0xc2, width, height, components })
    }

    /// Whether every coefficient of every component was read to its last bit.
    fn is_complete(&self) -> bool {
        self.components.iter().all(Component::is_complete)
    }
}

/// What the frame header says of the way to walk.
enum FrameKind {
    Walked(Frame),
    /// Coded arithmetically, without loss, in a hierarchy, or damaged.
    Other,
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<FrameKind>,
    tables: Tables,
    /// MCUs between two restart markers; 0 where there are none.
    interval: usize,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Walk<'a> {
        Walk { bytes, at: 0, frame: None, tables: Tables::default(), interval: 0 }
    }

    fn follow(&mut self, has_profile: &mut bool) -> Extent {
        while let Some(marker) = self.next_marker() {
            match marker {
                END_OF_IMAGE => return if self.lacks_data() { Extent::Cut } else { Extent::Whole },
                // Start of image, restart markers, TEM: without a length.
                0x01 | 0xd0..=START_OF_IMAGE => continue,
                _ => {}
            }
            let Some(segment) = self.segment() else {
                return Extent::Cut;
            };
            match marker {
                APP2 => *has_profile |= segment.starts_with(b"ICC_PROFILE\0"),
                HUFFMAN_TABLES if HuffmanTable::read_all(segment, &mut self.tables).is_none() => {
                    self.frame = Some(FrameKind::Other);
                }
                HUFFMAN_TABLES => {}
                RESTART_INTERVAL => {
                    if let &[high, low, ..] = segment {
                        self.interval = usize::from(u16::from_be_bytes([high, low]));
                    }
                }
                0xc0..=0xcf if !matches!(marker, 0xc8 | 0xcc) => {
                    let frame = if self.frame.is_none() { Frame::parse(marker, segment) } else { None };
                    self.frame = Some(frame.map_or(FrameKind::Other, FrameKind::Walked));
                }
                START_OF_SCAN => {
                    let Some(FrameKind::Walked(frame)) = &mut self.frame else {
                        continue;
                    };
                    let scan = Scan::parse(segment, frame, &self.tables, self.interval);
                    match scan.map_or(ScanEnd::Damaged, |scan| scan.walk(frame, self.bytes, self.at)) {
                        ScanEnd::Complete(end) => self.at = end,
                        ScanEnd::Cut => return Extent::Cut,
                        ScanEnd::Damaged => self.frame = Some(FrameKind::Other),
                    }
                }
                _ => {}
            }
        }
        // No marker follows. What is left may be the first byte of the end marker, and no more.
        let is_complete = matches!(&self.frame, Some(FrameKind::Walked(frame)) if frame.is_complete());
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if is_complete && rest.iter().all(|&byte| byte == 0xff) {
            return Extent::WithoutEnd(self.at);
        }
        Extent::Cut
    }

    /// The next marker, and the position behind it: 0xff, perhaps several, and a byte that is neither 0 (a stuffed 0xff of
    /// compressed data) nor 0xff. Where there is none, the position stays.
    fn next_marker(&mut self) -> Option<u8> {
        let mut at = self.at;
        loop {
            at += self.bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
            match *self.bytes.get(at)? {
                0x00 => at += 1,
                0xff => {}
                marker => {
                    self.at = at + 1;
                    return Some(marker);
                }
            }
        }
    }

    /// The content of the segment here, and the position behind it. The length counts its own two bytes.
    fn segment(&mut self) -> Option<&'a [u8]> {
        let bytes = self.bytes;
        let &[high, low] = bytes.get(self.at..)?.first_chunk::<2>()?;
        let end = self.at + usize::from(u16::from_be_bytes([high, low]));
        let segment = bytes.get(self.at + 2..end)?;
        self.at = end;
        Some(segment)
    }

    /// Whether a frame that is walked through lacks something.
    fn lacks_data(&self) -> bool {
        matches!(&self.frame, Some(FrameKind::Walked(frame)) if !frame.is_complete())
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, walk};

    const SMALL: &[u8] = include_bytes!("../../tests/reference/jpegs/subsampled.jpg");

    /// The place of a marker in a file whose segments hold no such bytes.
    fn place_of(marker: u8) -> usize {
        SMALL.windows(2).position(|pair| pair == [0xff, marker]).unwrap()
    }

    #[test]
    fn a_profile_is_seen_where_it_stands_before_the_pixels() {
        assert!(!walk(SMALL).has_profile);
        let segment = b"\xff\xe2\x00\x10ICC_PROFILE\0\x01\x01";
        let with_profile = [&SMALL[..2], segment, &SMALL[2..]].concat();
        assert!(walk(&with_profile).has_profile);
        assert!(!walk(&[SMALL, segment].concat()).has_profile);
    }

    /// Of a coding that is not walked through the end marker decides, as of codes that there are none of: what is damaged
    /// inside is for the decoder to say.
    #[test]
    fn what_cannot_be_walked_through_is_judged_by_its_markers() {
        let mut arithmetic = SMALL.to_vec();
        arithmetic[place_of(0xc0) + 1] = 0xc9;
        let mut damaged = SMALL.to_vec();
        let tables = place_of(0xc4);
        damaged[tables + 4] = 0x33; // a fourth table in place of the first
        for bytes in [arithmetic, damaged] {
            assert_eq!(walk(&bytes).extent, Extent::Whole);
            assert_eq!(walk(&bytes[..bytes.len() - 2]).extent, Extent::Cut);
        }
    }
}
