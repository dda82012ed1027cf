//! Memory that is kept instead of being given back and asked for again.

/// Tells glibc's allocator to keep what tensors free. By default each large tensor is mapped anew and unmapped, and
/// the system clears its pages every time: on two cores that was 40 % of the time of a training step. Called once,
/// before the first tensor. Elsewhere than with glibc it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set_allocator_options();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn set_allocator_options() {
    // SAFETY: mallopt only sets numbers in the allocator; a value that it refuses changes nothing.
    unsafe {
        // Nothing is mapped on its own, however large, and nothing is trimmed from the heap's top.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
