//! The recorder: the thread that writes recordings down (RFC 0054).
//!
//! It empties the rings of the shards every few milliseconds, puts speech into its place in time ([`Track`]) and writes what
//! is old enough ([`LAG`]) at its place in each file. No packet, command or call waits for it: what it cannot write is lost
//! to the recording, counted, and told once in ten seconds. A disk that is full is tried again with each piece, so that the
//! recording goes on when there is room, with silence where there was none.
//!
//! Order: what the book says comes by a channel before the rule that taps reaches its shard; so the end of a ring is looked at
//! first, then the channel is read, then the ring up to there. An end waits for the next round.

pub(crate) mod keeper;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use warp_media::tap::{Ring, Tapped};
use warp_model::Mono;
use warp_net::clock::Clock;
use warp_telemetry::Seldom;

use crate::core::record::{RecordOrder, recording_of};
use crate::metrics::{Metrics, RecordLoss};
use written::Written;

/// How often rings are emptied while something is recorded.
const TICK: Duration = Duration::from_millis(10);
/// How often samples are written.
const FLUSH: Duration = Duration::from_millis(300);
/// Samples are written when they are so old: a packet may come so late. With [`FLUSH`] and [`TICK`] less than a second.
const LAG: Duration = Duration::from_millis(600);
/// Orders that may wait; beyond, no recording begins. Those of recordings that have begun are always taken.
const ORDERS: usize = 50_000;

/// What is written of each recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) legs: bool,
    pub(crate) mixed: bool,
    pub(crate) pcap: bool,
}

/// The way to the recorder.
pub(crate) struct ToRecorder {
    orders: Sender<Option<RecordOrder>>,
    waiting: Arc<AtomicUsize>,
    trouble: Arc<Trouble>,
}

impl ToRecorder {
    /// Says it to the recorder.
    pub(crate) fn tell(&self, order: RecordOrder) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if matches!(order, RecordOrder::Begin(_)) && waiting >= ORDERS {
            return self.trouble.tell("a recording", &std::io::Error::other("the recorder is behind"));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.orders.send(Some(order));
    }

    /// All recordings end, and the thread.
    pub(crate) fn stop(&self) {
        let _ = self.orders.send(None);
    }
}

/// What could not be written: counted, and told once in ten seconds.
pub(crate) struct Trouble {
    metrics: Metrics,
    line: Seldom,
}

impl Trouble {
    /// Nothing has gone wrong yet.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, line: Seldom::new() }
    }

    /// `what` could not be written or read.
    pub(crate) fn tell(&self, what: &str, error: &std::io::Error) {
        self.metrics.record_errors.inc(());
        if let Some(times) = self.line.due(Clock::mono()) {
            tracing::error!(what, %error, times, "recordings: not written; calls go on");
        }
    }
}

/// The thread that writes recordings.
pub(crate) struct Recorder {
    folder: PathBuf,
    kinds: Kinds,
    rings: Vec<Arc<Ring>>,
    orders: Receiver<Option<RecordOrder>>,
    waiting: Arc<AtomicUsize>,
    metrics: Metrics,
    trouble: Arc<Trouble>,
    recordings: BTreeMap<u64, Written>,
    /// Ends of this round, which wait for what is still in the rings, and of the one before.
    ends: Vec<(u64, Mono)>,
    due: Vec<(u64, Mono)>,
    flushed: Mono,
    stopping: bool,
}

/// A recorder into this folder, and the way to it.
pub(crate) fn recorder(
    folder: PathBuf,
    kinds: Kinds,
    rings: Vec<Arc<Ring>>,
    trouble: Arc<Trouble>,
) -> (ToRecorder, Recorder) {
    let (sender, orders) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let metrics = trouble.metrics.clone();
    let to = ToRecorder { orders: sender, waiting: Arc::clone(&waiting), trouble: Arc::clone(&trouble) };
    let recorder = Recorder {
        folder,
        kinds,
        rings,
        orders,
        waiting,
        metrics,
        trouble,
        recordings: BTreeMap::new(),
        ends: Vec::new(),
        due: Vec::new(),
        flushed: Mono(0),
        stopping: false,
    };
    (to, recorder)
}

impl Recorder {
    /// Runs until it is told to stop; then it completes what is there.
    pub(crate) fn run(&mut self) {
        while !self.stopping {
            // G-1: a panic costs one round. The bar for the counter is 0.
            let round = std::panic::AssertUnwindSafe(|| self.round());
            if std::panic::catch_unwind(round).is_err() {
                self.metrics.panics.inc(());
            }
        }
        let now = Clock::mono();
        let left: Vec<u64> = self.recordings.keys().copied().collect();
        self.empty_rings(self.ring_ends());
        self.due.append(&mut self.ends);
        self.due.extend(left.into_iter().map(|recording| (recording, now)));
        self.end_what_is_due();
    }

    fn ring_ends(&self) -> Vec<usize> {
        self.rings.iter().map(|ring| ring.end()).collect()
    }

    fn round(&mut self) {
        let is_idle = self.recordings.is_empty() && self.due.is_empty();
        let first = match is_idle {
            true => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => self.orders.recv_timeout(TICK),
        };
        let ends = self.ring_ends();
        match first {
            Ok(order) => self.take(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
        while let Ok(order) = self.orders.try_recv() {
            self.take(order);
        }
        self.empty_rings(ends);
        self.end_what_is_due();
        self.due.append(&mut self.ends);
        let now = Clock::mono();
        if now.since(self.flushed) >= FLUSH {
            self.flushed = now;
            let until = Mono(now.0.saturating_sub(u64::try_from(LAG.as_nanos()).unwrap_or(0)));
            for recording in self.recordings.values_mut() {
                recording.flush(until, &self.trouble);
            }
        }
    }

    fn take(&mut self, order: Option<RecordOrder>) {
        let Some(order) = order else {
            self.stopping = true;
            return;
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match order {
            RecordOrder::Begin(begin) => {
                let number = begin.recording;
                let written = Written::new(*begin, &self.folder, self.kinds, &self.trouble);
                self.recordings.insert(number, written);
            }
            RecordOrder::Leg(leg) => {
                if let Some(recording) = self.recordings.get_mut(&recording_of(leg.leg)) {
                    recording.leg(*leg);
                }
            }
            RecordOrder::Said(said) => {
                if let Some(recording) = self.recordings.get_mut(&said.recording) {
                    recording.said(*said);
                }
            }
            RecordOrder::Pause { recording, is_on, at } => {
                if let Some(recording) = self.recordings.get_mut(&recording) {
                    recording.pause(is_on, at);
                }
            }
            RecordOrder::End { recording, at } => self.ends.push((recording, at)),
        }
        self.count();
    }

    fn count(&self) {
        let paused = self.recordings.values().filter(|r| r.is_paused()).count();
        let active = self.recordings.len().saturating_sub(paused);
        self.metrics.recordings(active, paused);
    }

    fn empty_rings(&mut self, ends: Vec<usize>) {
        let (recordings, metrics) = (&mut self.recordings, &self.metrics);
        let mut strays = 0;
        for (ring, end) in self.rings.iter().zip(ends) {
            ring.take(end, |packet: Tapped<'_>| match recordings.get_mut(&recording_of(packet.leg)) {
                Some(recording) => recording.packet(packet),
                None => strays += 1,
            });
            let lost = ring.take_lost();
            if lost > 0 {
                metrics.record_lost.add(RecordLoss::Ring, lost);
                self.trouble
                    .tell("packets", &std::io::Error::other("the recorder was too slow for the ring"));
            }
        }
        if strays > 0 {
            // Of a recording that has just ended, or never began.
            metrics.record_lost.add(RecordLoss::Ended, strays);
        }
    }

    fn end_what_is_due(&mut self) {
        while let Some((number, at)) = self.due.pop() {
            if let Some(mut recording) = self.recordings.remove(&number) {
                let late = recording.end(at, &self.trouble);
                self.metrics.record_lost.add(RecordLoss::Late, late);
            }
        }
        self.count();
    }
}

/// Names of legs by number, for a quick look.
pub(super) type LegNumbers = HashMap<u64, usize>;
