//! Cells: per shard a dense row of atomics; each thread adds in the row of its shard.
//!
//! Rows are whole cache lines, so that two shards never write the same line. Threads get their shard round robin.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Rows of every family. More threads than this share rows, which costs contention, never counts.
pub const SHARDS: usize = 8;

const LINE: usize = 8;

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

/// `SHARDS` rows of `len` cells.
pub(super) struct Cells {
    len: usize,
    rows: [Box<[Line]>; SHARDS],
}

impl Cells {
    pub(super) fn new(len: usize) -> Self {
        Self {
            len,
            rows: std::array::from_fn(|_| (0..len.div_ceil(LINE)).map(|_| Line::default()).collect()),
        }
    }

    fn cell(&self, shard: usize, index: usize) -> Option<&AtomicU64> {
        self.rows[shard % SHARDS].get(index / LINE).map(|line| &line.0[index % LINE])
    }

    /// Adds in the row of this thread, wrapping. An index out of range does nothing.
    pub(super) fn add(&self, index: usize, n: u64) {
        if let Some(cell) = self.cell(shard_of_thread(), index) {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Sets the value: the first row takes it, the others become zero.
    pub(super) fn set(&self, index: usize, value: u64) {
        for shard in 0..SHARDS {
            if let Some(cell) = self.cell(shard, index) {
                cell.store(if shard == 0 { value } else { 0 }, Ordering::Relaxed);
            }
        }
    }

    /// Sum over the rows, wrapping.
    pub(super) fn sum(&self, index: usize) -> u64 {
        (0..SHARDS)
            .filter_map(|shard| self.cell(shard, index))
            .fold(0u64, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    // A thread in its last destructors has no cell any more: it shares row 0.
    SHARD
        .try_with(|shard| {
            let mut mine = shard.get();
            if mine == usize::MAX {
                mine = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
                shard.set(mine);
            }
            mine
        })
        .unwrap_or(0)
}
