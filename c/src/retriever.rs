//! A gallery, with its model where it has one: made, opened, followed, closed.

use std::ffi::c_char;
use std::path::Path;
use std::time::Duration;

use sketchfind_core::card::Card;
use sketchfind_core::image::DecodeLimits;

use crate::border::{check_reserve, free, give_handle, give_if_asked, guarded, handle, text, text_or_none};
use crate::status::{Outcome, bad, skf_status};
use sketchfind::{
    Calibration, Device, EmbedderOptions, Framing, Gallery, GalleryOptions, IndexKind, IndexSpec, Retriever,
    RetrieverOptions, native,
};

/// The index of a gallery.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum skf_index {
    /// Compares with every photo.
    SKF_EXACT = 0,
    /// Follows a graph; approximate.
    SKF_HNSW = 1,
    /// Exact as long as that costs no more than embedding a sketch, then the graph.
    SKF_AUTO = 2,
}

/// How a gallery is opened. All zeros, as in `skf_options options = {0}`, are the ordinary options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_options {
    /// Whether photos may be added and removed: one process at a time.
    pub writable: bool,
    /// How many images may be in the model at a time; 0 for one.
    pub sessions: u32,
    /// Threads of each session; 0 for a fair share of the cores.
    pub threads: u32,
    /// The share of its page, 0.2 to 1, that a drawing is made to fill before it is embedded; 0 for what the model's card
    /// says, below 0 to take drawings as they are.
    pub frame: f32,
    /// The most pixels of an image that is decoded; 0 for 64 megapixels.
    pub max_pixels: u64,
    /// The path of ONNX Runtime's library, a text. Null for that of the environment variable ORT_DYLIB_PATH, or one beside the
    /// program or this library, or the system's. A process has one: another path than that of the first call is an error.
    pub onnxruntime: *const c_char,
    /// Where the model runs, a text: `cpu`, `cuda` or `cuda:N`. Null for the processor.
    pub device: *const c_char,
    /// How often to look for what other processes have written to the gallery, in milliseconds, 10 to a day; 0 to look only where
    /// skf_refresh is called.
    pub follow_ms: u64,
    /// The file of a calibration (`sketchfind calibrate`), a text, by which hits and answers have scores. Null for none.
    pub calibration: *const c_char,
    /// Whether it is opened for writing by turns, in the place of `writable`: the lock is held while a change is made, which begins
    /// with what others have written. SKF_LOCKED where somebody else is writing right then.
    pub by_turns: bool,
    /// For members to come: 0.
    pub reserved: [u64; 5],
}

/// The ordinary options.
impl Default for skf_options {
    fn default() -> skf_options {
        skf_options {
            writable: false,
            sessions: 0,
            threads: 0,
            frame: 0.0,
            max_pixels: 0,
            onnxruntime: std::ptr::null(),
            device: std::ptr::null(),
            follow_ms: 0,
            calibration: std::ptr::null(),
            by_turns: false,
            reserved: [0; 5],
        }
    }
}

/// A gallery, with its model where it has one.
pub struct skf_retriever {
    pub(crate) retriever: Retriever,
    pub(crate) limits: DecodeLimits,
}

/// Makes an empty gallery at `path` of the model in the folder `model`, with an index of skf_index. A gallery that is
/// there is replaced. Photos are framed as the model's card says.
///
/// # Safety
/// `path` and `model` are texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_create(path: *const c_char, model: *const c_char, index: u32) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (path, model) = unsafe { (text(path, "path")?, text(model, "model")?) };
        let index = index_of(index)?;
        let photo_frame = Framing::Card.of_photos(Card::load(Path::new(model))?.frame)?;
        let options = GalleryOptions::with_index(index, TOOL).with_photo_frame(photo_frame);
        Ok(Gallery::create_empty(Path::new(path), Path::new(model), &options)?)
    })
}

/// What a gallery says that made it.
pub(crate) const TOOL: &str = concat!("sketchfind ", env!("CARGO_PKG_VERSION"));

/// The index that a value of skf_index is.
pub(crate) fn index_of(index: u32) -> Outcome<IndexSpec> {
    const EXACT: u32 = skf_index::SKF_EXACT as u32;
    const HNSW: u32 = skf_index::SKF_HNSW as u32;
    const AUTO: u32 = skf_index::SKF_AUTO as u32;
    match index {
        EXACT => Ok(IndexSpec::Exact),
        HNSW => Ok(IndexSpec::from(IndexKind::Hnsw)),
        AUTO => Ok(IndexSpec::Auto),
        other => Err(bad(format!("index is {other}, expected a value of skf_index"))),
    }
}

/// Opens the gallery at `path` and gives it out; skf_close frees it. `options` may be null. Of a gallery without a model the
/// options of a model's matters count for nothing; a calibration, which is of a model, is SKF_NO_MODEL.
///
/// # Safety
/// `path` is a text, `options` is null or points to options, `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_open(
    path: *const c_char,
    options: *const skf_options,
    out: *mut *mut skf_retriever,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (path, given) = unsafe { (text(path, "path")?, options.as_ref().copied().unwrap_or_default()) };
        // SAFETY: by this function's contract.
        let options = unsafe { options_of(&given) }?;
        let limits = options.embedder.limits;
        let retriever = Retriever::open(Path::new(path), options)?;
        // SAFETY: by this function's contract.
        unsafe { give_handle(out, skf_retriever { retriever, limits }) }
    })
}

/// Checks options, reads the calibration, and loads ONNX Runtime where they say which.
///
/// # Safety
/// Its texts are null or texts.
unsafe fn options_of(given: &skf_options) -> Outcome<RetrieverOptions> {
    // SAFETY: by this function's contract.
    let device = unsafe { device_of(given) }?;
    let mut options =
        RetrieverOptions::new(EmbedderOptions::on(device)).with_sessions(given.sessions.max(1) as usize);
    match (given.writable, given.by_turns) {
        (true, true) => return Err(bad("writable and by_turns are set, expected one of them")),
        (true, false) => options = options.writable(),
        (false, true) => options = options.by_turns(),
        (false, false) => {}
    }
    if given.threads > 0 {
        options.embedder.n_threads = Some(given.threads as usize);
    }
    if given.max_pixels > 0 {
        options.embedder.limits = DecodeLimits { max_pixels: given.max_pixels };
    }
    if given.follow_ms > 0 {
        options = options.following(Duration::from_millis(given.follow_ms));
    }
    if given.frame != 0.0 {
        options.framing = if given.frame < 0.0 { Framing::Off } else { Framing::Share(given.frame) };
    }
    // SAFETY: by this function's contract.
    if let Some(path) = unsafe { text_or_none(given.calibration, "calibration") }? {
        options = options.with_calibration(Calibration::load(path)?);
    }
    Ok(options)
}

/// Where options say that models run, in ONNX Runtime, which is loaded where they say which.
///
/// # Safety
/// Their texts are null or texts.
pub(crate) unsafe fn device_of(given: &skf_options) -> Outcome<Device> {
    check_reserve(&given.reserved, "skf_options")?;
    // SAFETY: by this function's contract.
    let (device, library) =
        unsafe { (text_or_none(given.device, "device")?, text_or_none(given.onnxruntime, "onnxruntime")?) };
    let device = device.map_or(Ok(Device::Cpu), str::parse)?;
    if let Some(library) = library {
        native::init(Some(Path::new(library)))?;
    }
    Ok(device)
}

/// Closes a gallery. Null is nothing to close.
///
/// # Safety
/// `retriever` is null or was given out by skf_open, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_close(retriever: *mut skf_retriever) {
    // SAFETY: by this function's contract.
    unsafe { free(retriever) };
}

/// The number of photos; 0 for null.
///
/// # Safety
/// `retriever` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_len(retriever: *const skf_retriever) -> usize {
    // SAFETY: by this function's contract.
    unsafe { retriever.as_ref() }.map_or(0, |retriever| retriever.retriever.len().unwrap_or(0))
}

/// The width of an embedding; 0 for null.
///
/// # Safety
/// `retriever` is null or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_width(retriever: *const skf_retriever) -> usize {
    // SAFETY: by this function's contract.
    unsafe { retriever.as_ref() }.map_or(0, |retriever| retriever.retriever.width())
}

/// Sees what other processes have written since the gallery was opened for reading; `is_new` is told whether there was
/// anything, unless it is null. SKF_BAD_FILE where the gallery was replaced by one of another model, which has to be opened
/// anew.
///
/// # Safety
/// `retriever` is a live handle, `is_new` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_refresh(retriever: *const skf_retriever, is_new: *mut bool) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let found = unsafe { handle(retriever, "retriever") }?.retriever.refresh()?;
        // SAFETY: by this function's contract.
        unsafe { give_if_asked(is_new, found) }
    })
}
