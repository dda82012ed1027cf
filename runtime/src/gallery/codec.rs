//! Numbers and photos as bytes, little-endian, and back without trusting them.

use std::path::PathBuf;

use crate::Photo;

/// What is wrong with bytes, in words.
pub(super) type Result<T> = std::result::Result<T, String>;

/// A photo's content is known.
const HAS_CONTENT: u8 = 1;
/// A photo has a product; in galleries of format [`FIRST_WITH_PRODUCTS`](super::manifest::FIRST_WITH_PRODUCTS) and later.
const HAS_PRODUCT: u8 = 2;

/// Writes a text: its length in 32 bits, its bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    // Texts are at most 4096 bytes long: `Photo::check`.
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Writes a photo: id, labels, path, content and product. A byte says whether there is a path, another which of the last two
/// are there.
pub(super) fn put_photo(out: &mut Vec<u8>, photo: &Photo) {
    put_text(out, photo.id());
    out.extend_from_slice(&(photo.labels().len() as u32).to_le_bytes());
    for label in photo.labels() {
        put_text(out, label);
    }
    out.push(u8::from(photo.source().is_some()));
    if let Some(source) = photo.source() {
        let source = source.as_os_str().as_encoded_bytes();
        out.extend_from_slice(&(source.len() as u32).to_le_bytes());
        out.extend_from_slice(source);
    }
    let has = |is_there: bool, bit: u8| if is_there { bit } else { 0 };
    out.push(has(photo.content().is_some(), HAS_CONTENT) | has(photo.product().is_some(), HAS_PRODUCT));
    if let Some(content) = photo.content() {
        out.extend_from_slice(content);
    }
    if let Some(product) = photo.product() {
        put_text(out, product);
    }
}

/// Takes values off the front of bytes that may hold anything.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    /// The bytes that are left.
    pub(super) fn n_left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(n) else {
            return Err(format!("{n} bytes are expected where {} are left", self.bytes.len()));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_length| format!("{N} bytes are expected"))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things of which each takes at least `least` bytes, so that no more is allocated than is there.
    pub(super) fn count(&mut self, least: usize) -> Result<usize> {
        let n = self.u32()? as usize;
        if n.checked_mul(least).is_none_or(|needed| needed > self.n_left()) {
            return Err(format!("{n} entries are announced where {} bytes are left", self.n_left()));
        }
        Ok(n)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        let n = self.count(1)?;
        std::str::from_utf8(self.bytes(n)?).map_err(|e| format!("a text is not UTF-8: {e}"))
    }

    /// `n` numbers, appended.
    pub(super) fn floats(&mut self, n: usize, out: &mut Vec<f32>) -> Result<()> {
        let bytes = self.bytes(n.checked_mul(4).ok_or("too many numbers")?)?;
        out.extend(bytes.as_chunks::<4>().0.iter().map(|&number| f32::from_le_bytes(number)));
        Ok(())
    }

    pub(super) fn photo(&mut self) -> Result<Photo> {
        let mut photo = Photo::new(self.text()?);
        let n_labels = self.count(4)?;
        for _ in 0..n_labels {
            photo = photo.with_labels([self.text()?]);
        }
        if self.bits(1)? != 0 {
            photo = photo.with_source(self.path()?);
        }
        let there = self.bits(HAS_CONTENT | HAS_PRODUCT)?;
        if there & HAS_CONTENT != 0 {
            photo = photo.with_content(self.array()?);
        }
        if there & HAS_PRODUCT != 0 {
            let product = self.text()?;
            if product.is_empty() {
                return Err("a photo's product is empty".into());
            }
            photo = photo.with_product(product);
        }
        photo.check().map_err(|e| e.to_string())?;
        Ok(photo)
    }

    /// A path, which is UTF-8 where the system has no others.
    fn path(&mut self) -> Result<PathBuf> {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let n = self.count(1)?;
            Ok(PathBuf::from(std::ffi::OsStr::from_bytes(self.bytes(n)?)))
        }
        #[cfg(not(unix))]
        self.text().map(PathBuf::from)
    }

    /// A byte that has none but the bits of `known`.
    fn bits(&mut self, known: u8) -> Result<u8> {
        match self.u8()? {
            bits if bits & !known == 0 => Ok(bits),
            other => Err(format!("a byte is {other}, expected 0 to {known}")),
        }
    }

    pub(super) fn end(&self) -> Result<()> {
        match self.bytes.len() {
            0 => Ok(()),
            n => Err(format!("{n} bytes are left over")),
        }
    }
}
