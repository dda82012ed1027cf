//! Photos as browsers get them: the file as it is, or made small and kept for a while.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sketchfind_core::fingerprint;
use sketchfind_core::image::{DecodeLimits, Image};

use crate::Limits;
use crate::gate::{Gate, on_thread};
use crate::problem::Problem;

/// The sizes that are made: the longer side, in pixels. Any size would let a client fill the cache with one photo.
pub(crate) const SIZES: [u32; 4] = [160, 320, 640, 1280];

/// A photo as bytes.
#[derive(Clone)]
pub(crate) struct PhotoFile {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: &'static str,
    pub(crate) etag: String,
}

/// Reads photos, and keeps the small ones.
pub(crate) struct PhotoFiles {
    gate: Gate,
    largest_file: u64,
    small: Arc<Cache<Key, PhotoFile, Weight>>,
}

/// A small photo of a file as it is now: a file that changes is made small again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    path: PathBuf,
    size: u32,
    changed: Option<SystemTime>,
    length: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, PhotoFile> for Weight {
    fn weight(&self, key: &Key, photo: &PhotoFile) -> u64 {
        (photo.bytes.len() + key.path.as_os_str().len() + 128) as u64
    }
}

impl PhotoFiles {
    pub(crate) fn new(limits: &Limits) -> PhotoFiles {
        // A small photo has some 12 KiB.
        let n_expected = usize::try_from(limits.photo_cache / (12 << 10)).unwrap_or(usize::MAX).max(16);
        PhotoFiles {
            gate: Gate::new(limits.photos, limits.waiting_photos, limits.request),
            largest_file: limits.photo_file,
            small: Arc::new(Cache::with_weighter(n_expected, limits.photo_cache, Weight)),
        }
    }

    /// Bytes of small photos that are kept.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.small.weight()
    }

    /// The photo in the file at `path`, with its longer side at most `size` pixels, or as it is.
    ///
    /// # Errors
    /// 404 where the file is gone or no image; 503 where too many others are waiting.
    pub(crate) async fn get(&self, path: PathBuf, size: Option<u32>) -> Result<PhotoFile, Problem> {
        let pass = self.gate.enter().await?;
        let largest_file = self.largest_file;
        let Some(size) = size else {
            return on_thread(pass, move |_| whole(&path, largest_file)).await;
        };
        // The cache is asked on the thread too: whether the file is still there, only the disk knows.
        let small = Arc::clone(&self.small);
        on_thread(pass, move |abandoned| {
            let metadata = std::fs::metadata(&path).map_err(|error| gone(&error))?;
            let key = Key { size, changed: metadata.modified().ok(), length: metadata.len(), path };
            if let Some(photo) = small.get(&key) {
                return Ok(photo);
            }
            abandoned.check()?;
            let photo = smaller(&key.path, size)?;
            small.insert(key, photo.clone());
            Ok(photo)
        })
        .await
    }
}

fn gone(error: &std::io::Error) -> Problem {
    tracing::warn!(error = %error, "a photo's file cannot be read");
    Problem::absent("photo_file_gone", "the gallery knows the photo, but its file is not where it was")
}

fn no_image() -> Problem {
    Problem::absent("photo_file_broken", "the gallery knows the photo, but its file is no image any more")
}

/// The file as it is, if it is an image.
fn whole(path: &Path, largest_file: u64) -> Result<PhotoFile, Problem> {
    let file = File::open(path).map_err(|error| gone(&error))?;
    let mut bytes = Vec::new();
    file.take(largest_file + 1).read_to_end(&mut bytes).map_err(|error| gone(&error))?;
    if bytes.len() as u64 > largest_file {
        let detail = format!("its file has more than {largest_file} bytes; ask for a size");
        return Err(Problem::new(axum::http::StatusCode::NOT_FOUND, "photo_file_large", detail));
    }
    let media_type = match image::guess_format(&bytes) {
        Ok(ImageFormat::Jpeg) => "image/jpeg",
        Ok(ImageFormat::Png) => "image/png",
        Ok(ImageFormat::WebP) => "image/webp",
        Ok(ImageFormat::Gif) => "image/gif",
        Ok(ImageFormat::Bmp) => "image/bmp",
        // Which no browser shows.
        Ok(ImageFormat::Tiff) => return smaller(path, u32::MAX),
        _ => return Err(no_image()),
    };
    Ok(photo_file(bytes, media_type))
}

/// A JPEG of the file with its longer side at most `size` pixels.
fn smaller(path: &Path, size: u32) -> Result<PhotoFile, Problem> {
    let photo = Image::open(path, DecodeLimits::default()).map_err(|error| {
        tracing::warn!(error = %error, "a photo cannot be made small");
        no_image()
    })?;
    let (width, height) = (photo.width(), photo.height());
    let longer = width.max(height);
    let scaled = |side: u32| {
        let scaled = (u64::from(side) * u64::from(size)).div_ceil(u64::from(longer));
        u32::try_from(scaled).unwrap_or(size).clamp(1, size)
    };
    let (width, height, pixels) = if longer <= size {
        (width, height, photo.pixels().to_vec())
    } else {
        let whole = image::ImageBuffer::<image::Rgb<u8>, &[u8]>::from_raw(width, height, photo.pixels())
            .ok_or_else(no_image)?;
        // Averages over blocks first: a triangle filter over a whole photo of 16 megapixels takes half a second.
        let (fine_width, fine_height) = (scaled(width) * 2, scaled(height) * 2);
        let small = if fine_width < width && fine_height < height {
            let fine = imageops::thumbnail(&whole, fine_width, fine_height);
            imageops::resize(&fine, scaled(width), scaled(height), FilterType::Triangle)
        } else {
            imageops::resize(&whole, scaled(width), scaled(height), FilterType::Triangle)
        };
        (small.width(), small.height(), small.into_raw())
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85)
        .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|error| Problem::internal(&error))?;
    Ok(photo_file(bytes, "image/jpeg"))
}

fn photo_file(bytes: Vec<u8>, media_type: &'static str) -> PhotoFile {
    let etag = format!("\"{}\"", &fingerprint::of_bytes(&bytes)[..32]);
    PhotoFile { bytes: Bytes::from(bytes), media_type, etag }
}
