//! The thread that makes what a journal has written durable, and keeps a spare segment ready.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{RETRY_EVERY, Shared};
use crate::error::EventsError;
use crate::segment;

const SYNC_EVERY: Duration = Duration::from_millis(20);

impl Shared {
    pub(super) fn sync_until_stopped(&self) {
        let mut reported = false;
        loop {
            let stop = self.stop.load(Ordering::Acquire);
            let began = Instant::now();
            let worked = self.sync_once();
            let prepared = {
                let mut files = self.files();
                let missing = files.spare.is_none() && !stop;
                if missing { self.prepare(&mut files) } else { Ok(()) }
            };
            match prepared {
                Ok(()) => {
                    reported = false;
                    if !self.ill.load(Ordering::Acquire) && !self.waits_for_sync.load(Ordering::Acquire) {
                        self.set_accepting(true);
                    }
                }
                Err(error) => {
                    self.set_accepting(false);
                    if !reported {
                        self.count(&error);
                        reported = true;
                    }
                }
            }
            if stop && !worked {
                return;
            }
            let pause = if worked { SYNC_EVERY } else { RETRY_EVERY };
            self.rest(began + pause, worked);
        }
    }

    /// Until `deadline`, or the first write when nothing was written before, or the stop.
    fn rest(&self, deadline: Instant, whole: bool) {
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if left.is_zero() || self.stop.load(Ordering::Acquire) {
                return;
            }
            std::thread::park_timeout(left);
            if !whole {
                return;
            }
        }
    }

    fn sync_once(&self) -> bool {
        // What was written before the files are taken is in them.
        let (files, written) = {
            let mut files = self.files();
            let written = self.written.load(Ordering::Acquire);
            let dirty = self.dirty.swap(false, Ordering::AcqRel);
            let mut all: Vec<_> = files.to_sync.drain(..).collect();
            if dirty && !files.current_lost {
                all.push(files.current.clone());
            }
            let good = self.lost.load(Ordering::Acquire) == self.rewritten.load(Ordering::Acquire);
            (all, good.then_some(written))
        };
        let mut whole = true;
        if !files.is_empty()
            && self.new_name.swap(false, Ordering::AcqRel)
            && let Err(error) = segment::sync_dir(&self.dir)
        {
            whole = false;
            self.new_name.store(true, Ordering::Release);
            self.fall_ill();
            self.count(&error);
        }
        for file in &files {
            let began = Instant::now();
            if let Err(error) = self.options.disk.sync_data(file) {
                whole = false;
                let mut now = self.files();
                now.current_lost |= Arc::ptr_eq(&now.current, file);
                // With the lock held: a rotation that comes now goes to a segment that is newer than this failure.
                self.failed.store(true, Ordering::Relaxed);
                self.lost.fetch_add(1, Ordering::AcqRel);
                drop(now);
                self.fall_ill();
                self.count(&EventsError::io("sync journal in", &self.dir)(error));
            }
            let metrics = &self.options.metrics;
            metrics.sync_seconds.observe((), began.elapsed());
        }
        if whole
            && !files.is_empty()
            && let Some(written) = written
        {
            self.synced.fetch_max(written, Ordering::AcqRel);
            // Not while the segment that failed is still in use: nothing has been written since.
            if !self.failed.load(Ordering::Relaxed) {
                self.ill.store(false, Ordering::Release);
            }
        }
        !files.is_empty()
    }
}
