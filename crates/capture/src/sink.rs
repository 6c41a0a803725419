//! The thread that reads what shards hand over: it sorts messages to their calls, keeps what is worth it, sends copies on, and answers.
//!
//! A call that ended waits [`SETTLE`] for its last messages, then its picture is written if it is worth it. It stays in memory for
//! [`LINGER`] more, unless room is needed.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warp_model::Wall;
use warp_sip::message::call_id_of;
use warp_telemetry::Registry;
use warp_telemetry::metrics::{Kind, Sample};

use crate::book::{Book, Refusal, Room};
use crate::channel::{Question, Sought, ToSink};
use crate::entry::{EndedCall, Entry, Head, entries};
use crate::export::{Collector, Export, ExportCounts};
use crate::hep::HepMessage;
use crate::mask::{Mask, mask};
use crate::picture::{Picture, Places, StrangerSeen};
use crate::store::{Shelf, Store};
use crate::tap::{Tap, TapCounts};

/// Which calls are kept after their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Those that failed, that something cut off, or that more than one vendor was tried for.
    #[default]
    Failed,
    /// Every call there is.
    All,
}

/// What is captured, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Which calls are kept.
    pub keep: Keep,
    /// Of the others, one in so many; 0: none.
    pub sample: u32,
    /// What is held in memory.
    pub room: Room,
    /// What is masked in pictures.
    pub mask: Mask,
    /// Where pictures are kept.
    pub shelf: Shelf,
    /// Who gets copies of messages.
    pub collector: Option<Collector>,
    /// What is masked in copies.
    pub collector_mask: Mask,
}

/// The capture of a process: a handle for shards and for those who ask. The thread ends with the last [`Capture::stop`], or with the process.
#[derive(Clone)]
pub struct Capture {
    to: Sender<ToSink>,
    taps: Arc<TapCounts>,
}

/// The thread, while it runs.
pub struct Running {
    capture: Capture,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    kept: AtomicU64,
    not_kept: AtomicU64,
    given_up: AtomicU64,
    bytes: AtomicU64,
    export: Arc<ExportCounts>,
}

/// How long after its end a call waits for its last messages.
pub const SETTLE: Duration = Duration::from_millis(1_500);
/// How long it then stays in memory.
pub const LINGER: Duration = Duration::from_secs(60);
/// Calls that are written in a second at most.
const WRITES_PER_S: u32 = 200;
/// How often the thread looks at what is due.
const LOOK: Duration = Duration::from_millis(250);
/// How often old segments are looked for.
const RETIRE: Duration = Duration::from_secs(60);

impl Running {
    /// Opens the files and starts the thread. Errors: the folder cannot be used, no thread, no socket to the collector.
    pub fn start(config: CaptureConfig, registry: &Registry) -> io::Result<Running> {
        let (to, from) = channel();
        let counts = Arc::new(Counts::default());
        let taps = Arc::<TapCounts>::default();
        let store = Store::open(config.shelf.clone())?;
        let export = match &config.collector {
            Some(at) => Some(Export::start(at, counts.export.clone())?),
            None => None,
        };
        show(registry, &taps, &counts);
        let sink = Sink {
            book: Book::new(config.room),
            store,
            export,
            counts,
            due: VecDeque::new(),
            forget: VecDeque::new(),
            second: (Instant::now(), WRITES_PER_S),
            retired: Instant::now(),
            config,
        };
        let thread = std::thread::Builder::new().name("capture".into()).spawn(move || sink.run(&from))?;
        Ok(Running { capture: Capture { to, taps }, thread: Some(thread) })
    }

    /// A handle for shards and readers.
    pub fn capture(&self) -> Capture {
        self.capture.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.capture.to.send(ToSink::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Capture {
    /// Where one more shard writes its messages.
    pub fn tap(&self) -> Tap {
        Tap::new(self.to.clone(), self.taps.clone())
    }

    /// The messages of a call; `None`: none are held, or the thread did not answer in time. What is still in the buffers of shards is not
    /// among them.
    pub fn picture(&self, sought: Sought, wait: Duration) -> Option<Picture> {
        let (tell, hear) = channel();
        self.to.send(ToSink::Ask(Question::Picture(sought, tell))).ok()?;
        hear.recv_timeout(wait).ok().flatten()
    }

    /// What a stranger wanted, or the last of all of them.
    pub fn strangers(&self, ip: Option<IpAddr>, wait: Duration) -> Vec<StrangerSeen> {
        let (tell, hear) = channel();
        if self.to.send(ToSink::Ask(Question::Strangers(ip, tell))).is_err() {
            return Vec::new();
        }
        hear.recv_timeout(wait).unwrap_or_default()
    }
}

fn show(registry: &Registry, taps: &Arc<TapCounts>, counts: &Arc<Counts>) {
    let of = |read: &AtomicU64, label: &'static str, word: &str| {
        Sample::number(vec![(label, word.to_owned())], read.load(Ordering::Relaxed) as f64)
    };
    let taps = taps.clone();
    registry.observe(
        Kind::Counter,
        "warp_capture_messages_total",
        "SIP messages that were captured for pictures of calls, or dropped because the capture was too slow for them.",
        &["result"],
        move || vec![of(&taps.seen, "result", "seen"), of(&taps.dropped, "result", "dropped")],
    );
    let calls = counts.clone();
    registry.observe(
        Kind::Counter,
        "warp_capture_calls_total",
        "Calls whose messages were kept after their end, that could not be kept, or that made room in memory for others.",
        &["result"],
        move || {
            vec![
                of(&calls.kept, "result", "kept"),
                of(&calls.not_kept, "result", "failed"),
                of(&calls.given_up, "result", "given_up"),
            ]
        },
    );
    let held = counts.clone();
    registry.observe(
        Kind::Gauge,
        "warp_capture_bytes",
        "Bytes of kept pictures of calls on the disk of this node.",
        &[],
        move || vec![Sample::number(Vec::new(), held.bytes.load(Ordering::Relaxed) as f64)],
    );
    let hep = counts.clone();
    registry.observe(
        Kind::Counter,
        "warp_hep_sent_total",
        "Copies of SIP messages that were sent to the HEP collector, or could not be.",
        &["result"],
        move || vec![of(&hep.export.sent, "result", "sent"), of(&hep.export.failed, "result", "failed")],
    );
}

struct Sink {
    config: CaptureConfig,
    book: Book,
    store: Store,
    export: Option<Export>,
    counts: Arc<Counts>,
    /// Calls that ended, by when they are settled.
    due: VecDeque<(Instant, u128, String)>,
    /// Calls that are settled, by when they go.
    forget: VecDeque<(Instant, String)>,
    second: (Instant, u32),
    retired: Instant,
}

impl Sink {
    fn run(mut self, from: &Receiver<ToSink>) {
        loop {
            match from.recv_timeout(LOOK) {
                Ok(ToSink::Batch(mut buf, back)) => {
                    self.read(&buf);
                    buf.clear();
                    let _ = back.send(buf);
                }
                Ok(ToSink::Ask(question)) => self.answer(question),
                Ok(ToSink::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    // What ended in the last moment is kept like any other.
                    self.settle(None);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.settle(Some(Instant::now()));
        }
    }

    fn read(&mut self, buf: &[u8]) {
        for entry in entries(buf) {
            match entry {
                Entry::Message(head, bytes) => {
                    self.book.message(&head, bytes);
                    self.copy(&head, bytes);
                }
                Entry::Ended(_, call) => self.ended(call),
            }
        }
        self.counts.given_up.store(self.book.given_up, Ordering::Relaxed);
    }

    fn copy(&mut self, head: &Head, bytes: &[u8]) {
        let Some(export) = &mut self.export else { return };
        if head.stranger {
            return;
        }
        let mut masked = bytes.to_vec();
        mask(&mut masked, self.config.collector_mask);
        let (from, to) = match head.ingress {
            true => (head.remote, head.local),
            false => (head.local, head.remote),
        };
        let correlation = call_id_of(bytes).unwrap_or_default();
        let message =
            HepMessage { at: head.at, transport: head.transport, from, to, correlation, payload: &masked };
        export.send(&message);
    }

    fn ended(&mut self, call: EndedCall) {
        let (id, sip_call_id) = (call.id, call.sip_call_id.clone());
        if self.book.ended(call) {
            self.due.push_back((Instant::now() + SETTLE, id, sip_call_id));
        }
    }

    /// Writes what is due, and forgets what is old; `None`: everything is due.
    fn settle(&mut self, now: Option<Instant>) {
        let is_due = |at: &Instant| now.is_none_or(|now| *at <= now);
        while let Some((_, id, key)) = self.due.pop_front_if(|(at, ..)| is_due(at)) {
            self.keep(id, &key);
            self.book.is_over(key.as_bytes());
            self.forget.push_back((Instant::now() + LINGER, key));
        }
        while let Some((_, key)) = self.forget.pop_front_if(|(at, _)| now.is_some_and(|now| *at <= now)) {
            // One that is in the air again (a Call-ID is used twice) is forgotten as well: its beginning is that of another call.
            self.book.forget(key.as_bytes());
        }
        if now.is_some_and(|now| now.duration_since(self.retired) >= RETIRE) {
            self.retired = Instant::now();
            self.store.retire(wall_now());
        }
        self.counts.bytes.store(self.store.held().1, Ordering::Relaxed);
    }

    fn is_worth(&self, call: &EndedCall) -> bool {
        let sampled = || self.config.sample > 0 && call.id.is_multiple_of(u128::from(self.config.sample));
        self.config.keep == Keep::All || !call.well || call.failover || sampled()
    }

    fn keep(&mut self, id: u128, key: &str) {
        let Some(talk) = self.book.by_call_id(key.as_bytes()) else { return };
        // Both sides of a call between customers come here; the first one has written for both.
        if self.store.has(id) {
            return;
        }
        if !talk.ended.iter().any(|call| self.is_worth(call)) {
            return;
        }
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), WRITES_PER_S);
        }
        let picture = Picture::of(talk, key, &Places::of_ended(&talk.ended), Vec::new(), self.config.mask);
        let written = match self.second.1 {
            0 => false,
            _ => match self.store.put(&picture, wall_now()) {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%error, "the messages of a call cannot be kept");
                    false
                }
            },
        };
        self.second.1 = self.second.1.saturating_sub(1);
        let counter = if written { &self.counts.kept } else { &self.counts.not_kept };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Picture(sought, reply) => {
                let _ = reply.send(self.picture(sought));
            }
            Question::Strangers(ip, reply) => {
                let seen = match ip {
                    Some(ip) => self.book.stranger_at(ip).into_iter().map(told).collect(),
                    None => self.book.strangers(STRANGERS).map(told).collect(),
                };
                let _ = reply.send(seen);
            }
        }
    }

    fn picture(&mut self, sought: Sought) -> Option<Picture> {
        let how = self.config.mask;
        match sought {
            Sought::InTheAir { sip_call_id, owners, origin, targets } => {
                let talk = self.book.by_call_id(sip_call_id.as_bytes())?;
                let places = Places { origin: vec![origin], targets };
                Some(Picture { over: false, ..Picture::of(talk, &sip_call_id, &places, owners, how) })
            }
            Sought::Over(id) => match self.book.by_id(id) {
                Some(talk) => {
                    let key = talk.ended.first().map_or("", |c| c.sip_call_id.as_str());
                    Some(Picture::of(talk, key, &Places::of_ended(&talk.ended), Vec::new(), how))
                }
                None => self.store.get(id),
            },
        }
    }
}

/// Strangers of a list.
const STRANGERS: usize = 200;

fn told(seen: &Refusal) -> StrangerSeen {
    StrangerSeen {
        remote: seen.remote.to_string(),
        transport: seen.transport.token().to_owned(),
        at_us: seen.at.0,
        requests: seen.requests,
        method: seen.method.clone(),
        uri: seen.uri.clone(),
        from: seen.from.clone(),
        agent: seen.agent.clone(),
        status: seen.status,
    }
}

fn wall_now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
