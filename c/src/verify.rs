//! Whether a model gives here what it gave where it was made.

use std::ffi::c_char;

use crate::border::{give_if_asked, guarded, text};
use crate::retriever::{device_of, skf_options};
use crate::status::skf_status;
use sketchfind::verify;

/// What came of embedding a model's probe anew.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct skf_verification {
    /// Whether the embeddings are those that the model gave where it was made, `relative` being at most `tolerance`.
    pub passed: bool,
    /// The number of images in the probe.
    pub n_images: usize,
    /// The largest absolute difference of a component.
    pub largest_difference: f64,
    /// The largest absolute component of the probe's embeddings.
    pub largest_component: f64,
    /// The difference as a share of the component.
    pub relative: f64,
    /// The largest share that passes.
    pub tolerance: f64,
    /// For members to come: 0.
    pub reserved: [u64; 4],
}

/// Embeds the images that come along with the model in the folder `model` (of a gallery, its folder `model`), and compares with the
/// embeddings that it gave where it was made. A difference is no error, but said in `out`, which may be null. Of `options`,
/// which may be null, `device` and `onnxruntime` count.
///
/// # Safety
/// `model` is a text, `options` is null or points to options, `out` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_verify(
    model: *const c_char,
    options: *const skf_options,
    out: *mut skf_verification,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let (model, given) =
            unsafe { (text(model, "model")?, options.as_ref().copied().unwrap_or_default()) };
        // SAFETY: by this function's contract.
        let found = verify(model, unsafe { device_of(&given) }?)?;
        let verification = skf_verification {
            passed: found.passed,
            n_images: found.n_images,
            largest_difference: found.largest_difference,
            largest_component: found.largest_component,
            relative: found.relative,
            tolerance: found.tolerance,
            reserved: [0; 4],
        };
        // SAFETY: by this function's contract.
        unsafe { give_if_asked(out, verification) }
    })
}
