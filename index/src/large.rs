//! Memory that is read all over the place: in large pages where the system has them, because the processor otherwise looks
//! up in tables, which are out of its reach themselves, where each row's page lies.

use memmap2::MmapMut;

/// Bytes from which on large pages are asked for: several of them.
const LARGE_FROM: usize = 1 << 23;

/// Bytes, zero at first.
#[derive(Debug)]
pub(super) enum Large {
    Vec(Vec<u8>),
    Mapped(MmapMut),
}

impl Large {
    pub(super) fn zeros(n: usize) -> Large {
        if n >= LARGE_FROM
            && let Ok(mapped) = MmapMut::map_anon(n)
        {
            // Only a wish: where there are no large pages, small ones do.
            #[cfg(target_os = "linux")]
            drop(mapped.advise(memmap2::Advice::HugePage));
            return Large::Mapped(mapped);
        }
        Large::Vec(vec![0; n])
    }

    #[inline(always)]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Large::Vec(bytes) => bytes,
            Large::Mapped(bytes) => bytes,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Large::Vec(bytes) => bytes,
            Large::Mapped(bytes) => bytes,
        }
    }
}
