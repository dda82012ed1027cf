//! What every call does at the border: arguments are checked, panics stop, results are given out.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::AssertUnwindSafe;

use crate::status::{Failure, Outcome, bad, skf_status};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// The message of this thread's last call that did not return SKF_OK, or an empty text. It lives until the thread's next
/// call.
#[unsafe(no_mangle)]
pub extern "C" fn skf_last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Runs `work` and turns whatever comes of it into a code; a panic goes no further.
pub(crate) fn guarded(work: impl FnOnce() -> Outcome<()>) -> skf_status {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Failure(skf_status::SKF_INTERNAL, format!("a defect of sketchfind: {words}")))
    });
    let (status, message) = match outcome {
        Ok(()) => (skf_status::SKF_OK, String::new()),
        Err(Failure(status, message)) => (status, message),
    };
    let message = CString::new(message.replace('\0', "?")).unwrap_or_default();
    // At a thread's end its message may be gone already; the code is what counts.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = message);
    status
}

/// A text argument.
///
/// # Safety
/// `text` is null or points to bytes that end with a zero and live for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Outcome<&'a str> {
    if text.is_null() {
        return Err(bad(format!("{what} is null")));
    }
    // SAFETY: not null, and by this function's contract a C string.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_utf8| bad(format!("{what} is not UTF-8")))
}

/// A text argument that may be left out.
///
/// # Safety
/// That of [`text`].
pub(crate) unsafe fn text_or_none<'a>(given: *const c_char, what: &str) -> Outcome<Option<&'a str>> {
    // SAFETY: by this function's contract.
    if given.is_null() { Ok(None) } else { unsafe { text(given, what) }.map(Some) }
}

/// An array of texts.
///
/// # Safety
/// `texts` is null or points to `n` texts as of [`text`], which all live for `'a`.
pub(crate) unsafe fn texts<'a>(texts: *const *const c_char, n: usize, what: &str) -> Outcome<Vec<&'a str>> {
    // SAFETY: by this function's contract.
    let texts = unsafe { array(texts, n, what) }?;
    // SAFETY: by this function's contract.
    texts.iter().map(|&each| unsafe { text(each, &format!("one of {what}")) }).collect()
}

/// An array argument; null is an empty one where `n` is 0.
///
/// # Safety
/// `start` is null or points to `n` values that live for `'a`.
pub(crate) unsafe fn array<'a, T>(start: *const T, n: usize, what: &str) -> Outcome<&'a [T]> {
    if n == 0 {
        return Ok(&[]);
    }
    let too_long = n.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize);
    if start.is_null() || too_long || !start.is_aligned() {
        return Err(bad(format!("{what} is null, misaligned or too long")));
    }
    // SAFETY: not null, aligned, of a size that exists, and by this function's contract that many values.
    Ok(unsafe { std::slice::from_raw_parts(start, n) })
}

/// A handle argument.
///
/// # Safety
/// `handle` is null or a live handle that this library gave out.
pub(crate) unsafe fn handle<'a, T>(handle: *const T, what: &str) -> Outcome<&'a T> {
    // SAFETY: null is checked here; otherwise by this function's contract.
    unsafe { handle.as_ref() }.ok_or_else(|| bad(format!("{what} is null")))
}

/// Members of a struct that are in reserve: what is there was meant for a later version.
pub(crate) fn check_reserve(reserved: &[u64], what: &str) -> Outcome<()> {
    if reserved.iter().all(|&value| value == 0) {
        return Ok(());
    }
    Err(bad(format!(
        "{what} has a value in reserve that is not 0: it is of a later version than this library, {}, or was not set to 0",
        env!("CARGO_PKG_VERSION")
    )))
}

/// Room for what is given out.
///
/// # Safety
/// `out` is null or points to `n` values that may be written.
pub(crate) unsafe fn room<'a, T>(
    out: *mut T,
    n: usize,
    expected: usize,
) -> Outcome<&'a mut [std::mem::MaybeUninit<T>]> {
    if out.is_null() || n != expected {
        return Err(bad(format!("there is room for {n} numbers, expected {expected}")));
    }
    if n == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not null, and by this function's contract that many values, which need not be initialised.
    Ok(unsafe { std::slice::from_raw_parts_mut(out.cast(), n) })
}

/// Gives a value out.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give<T>(out: *mut T, value: T) -> Outcome<()> {
    if out.is_null() {
        return Err(bad("the place for the result is null"));
    }
    // SAFETY: not null, and by this function's contract writable.
    unsafe { out.write(value) };
    Ok(())
}

/// Gives a value out where somebody wants it.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give_if_asked<T>(out: *mut T, value: T) -> Outcome<()> {
    // SAFETY: by this function's contract.
    if out.is_null() { Ok(()) } else { unsafe { give(out, value) } }
}

/// Gives a handle out, which [`free`] frees.
///
/// # Safety
/// `out` is null or may be written.
pub(crate) unsafe fn give_handle<T>(out: *mut *mut T, value: T) -> Outcome<()> {
    let handle = Box::into_raw(Box::new(value));
    // SAFETY: by this function's contract.
    unsafe { give(out, handle) }.inspect_err(|_| {
        // SAFETY: made above, and given to nobody.
        drop(unsafe { Box::from_raw(handle) });
    })
}

/// Frees a handle.
///
/// # Safety
/// `handle` is null or came out of [`give_handle`] and is used by nobody.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: not null, and by this function's contract.
        let owned = unsafe { Box::from_raw(handle) };
        guarded(|| {
            drop(owned);
            Ok(())
        });
    }
}

/// Texts that are given out, which live as long as this.
#[derive(Default)]
pub(crate) struct Texts {
    // Their bytes stay where they are when a CString, or an array of pointers, is moved.
    texts: Vec<CString>,
    arrays: Vec<Box<[*const c_char]>>,
}

impl Texts {
    /// The address of a copy of `text`.
    pub(crate) fn keep(&mut self, text: &str) -> Outcome<*const c_char> {
        let text = CString::new(text).map_err(|_zero| bad(format!("the text {text:?} has a zero byte")))?;
        let start = text.as_ptr();
        self.texts.push(text);
        Ok(start)
    }

    /// The address of copies of `texts`, not null though there are none, and how many there are.
    pub(crate) fn keep_all<'t>(
        &mut self,
        texts: impl IntoIterator<Item = &'t String>,
    ) -> Outcome<(*const *const c_char, usize)> {
        let kept: Box<[_]> = texts.into_iter().map(|text| self.keep(text)).collect::<Outcome<_>>()?;
        let (start, n) = (kept.as_ptr(), kept.len());
        self.arrays.push(kept);
        Ok((start, n))
    }

    /// The address of a copy of `text`; null where there is none.
    pub(crate) fn keep_if_any(&mut self, text: Option<&str>) -> Outcome<*const c_char> {
        text.map_or(Ok(std::ptr::null()), |text| self.keep(text))
    }

    /// The address of a copy of a path; null where there is none, or it is no text.
    pub(crate) fn keep_path(&mut self, path: Option<&std::path::Path>) -> Outcome<*const c_char> {
        self.keep_if_any(path.and_then(std::path::Path::to_str))
    }
}
