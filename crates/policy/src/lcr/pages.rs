//! Large tables of the index, in memory of their own that the kernel is asked to back with large pages.
//!
//! A decision reads a few lines anywhere in a hundred megabytes; with pages of 4 KiB it waits for the address as long as for
//! the line. Memory that was mapped also goes back to the system whole when an index is replaced. Both are wishes: where
//! the kernel grants neither, the table is an ordinary one.

use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Bytes, zero at first; they begin on a cache line when they are mapped.
#[derive(Default)]
pub(super) struct Pages(Store);

#[derive(Default)]
enum Store {
    #[default]
    Empty,
    Mapped(MmapMut),
    Heap(Vec<u8>),
}

impl Pages {
    /// Pages that hold `len` zeros.
    pub(super) fn zeroed(len: usize) -> Pages {
        if len == 0 {
            return Pages::default();
        }
        match MmapMut::map_anon(len) {
            Ok(map) => {
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Pages(Store::Mapped(map))
            }
            Err(_) => Pages(Store::Heap(vec![0; len])),
        }
    }

    /// A copy of bytes.
    pub(super) fn copy_of(bytes: &[u8]) -> Pages {
        let mut pages = Pages::zeroed(bytes.len());
        pages.copy_from_slice(bytes);
        pages
    }
}

impl Deref for Pages {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Empty => &[],
            Store::Mapped(map) => map,
            Store::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Store::Empty => &mut [],
            Store::Mapped(map) => map,
            Store::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_zero_and_keeps_what_is_written() {
        for len in [0, 1, 64, 5_000_000] {
            let mut pages = Pages::zeroed(len);
            assert_eq!(pages.len(), len);
            assert!(pages.iter().all(|b| *b == 0));
            if let Some(last) = pages.last_mut() {
                *last = 7;
            }
            let copy = Pages::copy_of(&pages);
            assert_eq!(*copy, *pages);
        }
    }
}
