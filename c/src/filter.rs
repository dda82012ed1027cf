//! Which photos a query may find.

use std::ffi::c_char;

use crate::border::{free, give_handle, guarded, texts};
use crate::status::{bad, skf_status};
use sketchfind::Filter;

/// Which photos a query may find: those that meet every condition.
pub struct skf_filter(pub(crate) Filter);

/// A filter that every photo passes; skf_filter_free frees it. Null only where memory is short.
#[unsafe(no_mangle)]
pub extern "C" fn skf_filter_new() -> *mut skf_filter {
    let mut made = std::ptr::null_mut();
    // SAFETY: the place is ours.
    guarded(|| unsafe { give_handle(&raw mut made, skf_filter(Filter::everything())) });
    made
}

/// Lets only photos of these ids pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `ids` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_only_ids(
    filter: *mut skf_filter,
    ids: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, ids, n, |filter, ids| filter.only_ids(ids.iter().copied())) }
}

/// Lets no photo of these ids pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `ids` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_without_ids(
    filter: *mut skf_filter,
    ids: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, ids, n, |filter, ids| filter.without_ids(ids.iter().copied())) }
}

/// Lets only photos of these products pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `products` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_only_products(
    filter: *mut skf_filter,
    products: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, products, n, |filter, products| filter.only_products(products.iter().copied())) }
}

/// Lets no photo of these products pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `products` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_without_products(
    filter: *mut skf_filter,
    products: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe {
        narrow(filter, products, n, |filter, products| filter.without_products(products.iter().copied()))
    }
}

/// Lets only photos with at least one of these labels pass. A second call is a second condition.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_any_label(
    filter: *mut skf_filter,
    labels: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, labels, n, |filter, labels| filter.any_label(labels.iter().copied())) }
}

/// Lets only photos with every one of these labels pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_every_label(
    filter: *mut skf_filter,
    labels: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, labels, n, |filter, labels| filter.every_label(labels.iter().copied())) }
}

/// Lets no photo with one of these labels pass.
///
/// # Safety
/// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_without_label(
    filter: *mut skf_filter,
    labels: *const *const c_char,
    n: usize,
) -> skf_status {
    // SAFETY: by this function's contract.
    unsafe { narrow(filter, labels, n, |filter, labels| filter.without_label(labels.iter().copied())) }
}

/// # Safety
/// `filter` is null or a live handle that nobody else uses, `given` points to `n` texts.
unsafe fn narrow(
    filter: *mut skf_filter,
    given: *const *const c_char,
    n: usize,
    how: impl FnOnce(Filter, &[&str]) -> Filter,
) -> skf_status {
    guarded(|| {
        // SAFETY: by this function's contract.
        let filter = unsafe { filter.as_mut() }.ok_or_else(|| bad("filter is null"))?;
        // SAFETY: by this function's contract.
        let given = unsafe { texts(given, n, "texts") }?;
        filter.0 = how(std::mem::take(&mut filter.0), &given);
        Ok(())
    })
}

/// Frees a filter. Null is nothing to free.
///
/// # Safety
/// `filter` is null or was given out by skf_filter_new, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skf_filter_free(filter: *mut skf_filter) {
    // SAFETY: by this function's contract.
    unsafe { free(filter) };
}
