//! The variant of a topic that Apache Kafka keeps: one topic of one partition, `PREFIX` + our name.
//!
//! One partition, because a cursor is one number, and because one broker takes many times what a platform writes. What we
//! promise of a record rests on settings of the topic, which we make and check ([`check`]): as many replicas as the operator
//! wants, `min.insync.replicas`, no unclean election, no compaction. While one of them is weaker, or too few replicas are in
//! step, nothing is written: a broker that acknowledges what a single failure can lose is worse than one that refuses
//! (F-KAFKA-02). The producer ([`producer`]) is idempotent and waits for all replicas in step.
//!
//! Kafka away is no error of the start: a thread looks after it and says how it is to readiness (never required: calls go on)
//! and to `warp_dependency_up`. Until then appending fails at once, and the journals keep the records (F-KAFKA-01).
//! Retention is ours too: the topic is made without a limit of age, and what every registered consumer has acknowledged and
//! what is older than the retention is deleted by a node that has consumers. An operator's own limits are taken: what goes
//! before it was read is [`EventsError::Gone`], and counted.

mod check;
mod fetch;
mod producer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sha2::Digest;
use warp_model::Wall;
use warp_model::sync::lock;
use warp_telemetry::health::{Part, RequestSeconds};

use crate::error::EventsError;
use crate::journal::wall;
pub(super) use fetch::Fetcher;

/// The partition that is written to and read.
const PARTITION: i32 = 0;
/// Longest wait for one answer of a broker.
const REQUEST: Duration = Duration::from_secs(3);
/// How often the thread looks how Kafka is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while it is not well.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often settings are checked and old records deleted.
const TEND_EVERY: Duration = Duration::from_secs(60);
/// A waiting reader asks for the end at most so often.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Withdrawn records that are remembered, in ranges.
const WITHDRAWN: usize = 1_000;

/// Where Kafka is, and what is asked of it.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `HOST:PORT` of some brokers; the others are learnt from them.
    pub servers: Vec<String>,
    /// Before the name of each topic.
    pub prefix: String,
    /// Copies of each record, on as many brokers.
    pub replicas: u16,
    /// How many of them must have a record before it counts as written.
    pub min_in_sync: u16,
    /// Longest wait until records are durable.
    pub timeout: Duration,
    /// Further settings of the client library by name: TLS and credentials.
    pub settings: Vec<(String, String)>,
    /// Told how Kafka is.
    pub part: Option<Part>,
    /// Time until records are durable.
    pub seconds: Option<RequestSeconds>,
}

impl KafkaOptions {
    /// Three copies of which two are awaited, within 30 s.
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            prefix: "warp.".to_owned(),
            replicas: 3,
            min_in_sync: 2,
            timeout: Duration::from_secs(30),
            settings: Vec::new(),
            part: None,
            seconds: None,
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.servers.join(","))
            .set("client.id", "warp")
            .set("allow.auto.create.topics", "false")
            .set("socket.connection.setup.timeout.ms", "3000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log.connection.close", "false");
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config
    }

    /// Refuses what the client library does not take, in words.
    /// Errors: the name of the setting and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        self.client().create_native_config().map(drop).map_err(|error| match error {
            // Its value may be a secret.
            KafkaError::ClientConfig(_, _, name, _) => {
                format!("{name} is not taken, or not this value of it")
            }
            other => other.to_string(),
        })
    }

    /// Looks at our topic `name` without making or changing anything: what was found, in a sentence.
    /// Errors: in words, why no record could be written.
    pub fn examine(&self, name: &str) -> Result<String, String> {
        self.check()?;
        check::examine(&Shared::new(name, self, Duration::MAX))
    }
}

/// One topic in Kafka.
pub(super) struct Kafka {
    shared: Arc<Shared>,
    tender: Option<JoinHandle<()>>,
}

/// What the topic, its producer's answers and its readers share.
struct Shared {
    /// In Kafka.
    topic: String,
    options: KafkaOptions,
    keep: Duration,
    state: Mutex<State>,
    changed: Condvar,
    producer: Mutex<Option<producer::Producer>>,
    /// Asks for places; one question at a time.
    asker: Mutex<Option<BaseConsumer<Quiet>>>,
    /// Consumers of readers that are gone.
    idle: Mutex<Vec<BaseConsumer<Quiet>>>,
}

struct State {
    /// Number of the oldest record.
    low: u64,
    /// Number after the newest one that is durable.
    high: u64,
    /// Both were said once.
    known: bool,
    asked: Option<Instant>,
    /// Why nothing is written now: appending fails at once.
    down: Option<String>,
    /// Why the last records were not written; the next ones are tried.
    unwritten: Option<String>,
    /// Records that were handed to the producer.
    handed: u64,
    /// All below are durable or withdrawn.
    delivered: u64,
    /// Number after the newest record of this process that is durable.
    ours: u64,
    /// Of the records handed over, those that were never said to be durable; oldest first.
    withdrawn: Vec<Range<u64>>,
    /// What withdrew records that are no longer remembered.
    forgotten: u64,
    /// Which producer's answers count.
    generation: u64,
    /// What the producer of this generation said first.
    failed: Option<String>,
    consumers: BTreeMap<String, u64>,
    /// Records were withdrawn: the topic is to be looked at.
    suspect: bool,
    stop: bool,
}

/// What the client library says goes to the log, quietly: how Kafka is says [`Kafka`] itself, once.
#[derive(Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, message: &str) {
        tracing::debug!(fac, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Quiet {}

impl Kafka {
    /// The topic of our name `name`, with the id of its log. Waits a few seconds for Kafka, then goes on without it.
    pub(super) fn open(
        name: &str,
        options: &KafkaOptions,
        keep: Duration,
    ) -> Result<(Kafka, u128), EventsError> {
        options.check().map_err(away)?;
        let shared = Arc::new(Shared::new(name, options, keep));
        // The name is all that is known while Kafka is away. Another cluster's records show by the mark in the cursor.
        let digest = sha2::Sha256::digest(shared.topic.as_bytes());
        let id = digest.first_chunk::<16>().copied().map_or(0, u128::from_be_bytes);
        let tended = shared.clone();
        let tender = std::thread::Builder::new()
            .name("kafka-tender".to_owned())
            .spawn(move || tended.tend())
            .map_err(|e| away(format!("no thread: {e}")))?;
        let kafka = Kafka { shared, tender: Some(tender) };
        kafka.shared.wait_until(Instant::now() + REQUEST, |state| state.down.is_none());
        Ok((kafka, id))
    }

    pub(super) fn end_number(&self) -> u64 {
        lock(&self.shared.state).high
    }

    pub(super) fn floor_number(&self) -> u64 {
        lock(&self.shared.state).low
    }

    pub(super) fn acknowledged(&self, consumer: &str, number: u64) {
        lock(&self.shared.state).consumers.insert(consumer.to_owned(), number);
    }

    /// Asks where the oldest and the newest record are. Errors: no answer.
    pub(super) fn ask(&self) -> Result<(), EventsError> {
        self.shared.ask().map_err(away)
    }

    /// Asks if nobody has asked yet. Errors: no answer.
    pub(super) fn ready(&self) -> Result<(), EventsError> {
        let known = lock(&self.shared.state).known;
        if known { Ok(()) } else { self.ask() }
    }

    /// Waits until every record below this number is durable. False when the time was up before.
    pub(super) fn wait_until(&self, number: u64, deadline: Instant) -> bool {
        let shared = &self.shared;
        loop {
            {
                let state = lock(&shared.state);
                if state.high >= number {
                    return true;
                }
                let now = Instant::now();
                if now >= deadline {
                    return false;
                }
                let asked = state.asked.map_or(ASK_EVERY, |asked| now.duration_since(asked));
                if state.down.is_some() || asked < ASK_EVERY {
                    let pause = ASK_EVERY.saturating_sub(asked).max(Duration::from_millis(1));
                    let pause = pause.min(deadline.saturating_duration_since(now));
                    drop(shared.changed.wait_timeout(state, pause));
                    continue;
                }
            }
            // Its failure is the tender's to tell.
            if shared.ask().is_err() {
                lock(&shared.state).asked = Some(Instant::now());
            }
        }
    }

    /// The number from which on records were written at `at` or later.
    pub(super) fn since(&self, at: Wall) -> u64 {
        match self.shared.offset_at(at) {
            Ok(number) => number,
            // More than is wanted; reading says what is wrong.
            Err(why) => {
                tracing::debug!(why, "kafka was not asked for the records of a time");
                self.floor_number()
            }
        }
    }

    /// Deletes what is older than the retention and acknowledged by every consumer; 1 when something was.
    pub(super) fn retain(&self, now: Wall) -> usize {
        self.shared.retain(now)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
        if let Some(tender) = self.tender.take() {
            let _ = tender.join();
        }
        // Its answers hold the shared state: it goes first.
        let producer = lock(&self.shared.producer).take();
        drop(producer);
    }
}

impl Shared {
    fn new(name: &str, options: &KafkaOptions, keep: Duration) -> Shared {
        Shared {
            options: options.clone(),
            keep,
            state: Mutex::new(State {
                low: 0,
                high: 0,
                known: false,
                asked: None,
                down: Some("not asked yet".to_owned()),
                unwritten: None,
                handed: 0,
                delivered: 0,
                ours: 0,
                withdrawn: Vec::new(),
                forgotten: 0,
                generation: 0,
                failed: None,
                consumers: BTreeMap::new(),
                suspect: false,
                stop: false,
            }),
            changed: Condvar::new(),
            producer: Mutex::new(None),
            asker: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
            topic: format!("{}{name}", options.prefix),
        }
    }

    /// Looks how Kafka is until the topic is dropped.
    fn tend(&self) {
        let mut tended: Option<Instant> = None;
        let mut told = lock(&self.state).down.clone();
        loop {
            if std::mem::take(&mut lock(&self.state).suspect) {
                tended = None;
            }
            let looked = match tended {
                Some(at) if at.elapsed() < TEND_EVERY => self.ask(),
                _ => check::topic(self).and_then(|()| self.ask()).inspect(|()| {
                    tended = Some(Instant::now());
                    self.retain(wall());
                }),
            };
            if looked.is_err() {
                // What was checked may be another cluster when it is back.
                tended = None;
            }
            let pause = if looked.is_ok() { LOOK_EVERY } else { LOOK_AGAIN };
            self.say(looked, &mut told);
            if self.wait_until(Instant::now() + pause, |state| state.stop) {
                return;
            }
        }
    }

    /// Tells readiness and who waits how Kafka is; the log when that changed.
    fn say(&self, looked: Result<(), String>, told: &mut Option<String>) {
        let why = {
            let mut state = lock(&self.state);
            state.down = looked.err();
            state.down.clone().or_else(|| state.unwritten.clone())
        };
        self.changed.notify_all();
        match (&self.options.part, &why) {
            (Some(part), None) => part.up(),
            (Some(part), Some(why)) => part.down(why.clone()),
            (None, _) => {}
        }
        if *told != why {
            let topic = &self.topic;
            match &why {
                None => tracing::info!(topic, "kafka takes records"),
                Some(why) => tracing::warn!(topic, why, "kafka takes no records; the journals keep them"),
            }
            *told = why;
        }
    }

    /// Waits until this holds. False when the time was up before.
    fn wait_until(&self, deadline: Instant, mut holds: impl FnMut(&mut State) -> bool) -> bool {
        let mut state = lock(&self.state);
        loop {
            if holds(&mut state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// A consumer, made when it is first needed.
    fn consumer(&self) -> Result<BaseConsumer<Quiet>, String> {
        let mut config = self.options.client();
        config
            // Its name only: it joins no group, and where it stands is kept by whoever reads.
            .set("group.id", "warp")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // A reader that goes elsewhere waits for the answer to its last question.
            .set("fetch.wait.max.ms", "100")
            // What it fetches ahead, so that memory is bounded.
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.message.max.bytes", check::MESSAGE_BYTES.to_string());
        BaseConsumer::from_config_and_context(&config, Quiet).map_err(|e| e.to_string())
    }

    /// Asks a question of its own connection.
    fn asking<T>(
        &self,
        question: impl FnOnce(&BaseConsumer<Quiet>) -> Result<T, KafkaError>,
    ) -> Result<T, String> {
        let mut asker = lock(&self.asker);
        let consumer = match asker.take() {
            Some(consumer) => consumer,
            None => self.consumer()?,
        };
        let consumer = asker.insert(consumer);
        // What it has to say on its own would be kept for ever.
        while consumer.poll(Duration::ZERO).is_some() {}
        question(consumer).map_err(|e| e.to_string())
    }

    fn ask(&self) -> Result<(), String> {
        let before = lock(&self.state).high;
        let (low, high) = self.asking(|c| c.fetch_watermarks(&self.topic, PARTITION, REQUEST))?;
        let (low, high) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
        let mut state = lock(&self.state);
        state.low = low;
        state.known = true;
        state.asked = Some(Instant::now());
        if high < before {
            tracing::error!(topic = self.topic, before, high, "kafka lost records that it had acknowledged");
            state.high = high;
        } else {
            // Records of ours may have come in between.
            state.high = state.high.max(high);
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Number of the first record of this time or later; the end when there is none.
    fn offset_at(&self, at: Wall) -> Result<u64, String> {
        let mut wanted = TopicPartitionList::new();
        let ms = at.0.div_euclid(1_000).max(0);
        wanted.add_partition_offset(&self.topic, PARTITION, Offset::Offset(ms)).map_err(|e| e.to_string())?;
        let answer = self.asking(|c| c.offsets_for_times(wanted, REQUEST))?;
        let found = answer.find_partition(&self.topic, PARTITION).map(|p| p.offset());
        let state = lock(&self.state);
        Ok(match found {
            Some(Offset::Offset(number)) => u64::try_from(number).unwrap_or(0).max(state.low),
            _ => state.high,
        })
    }

    fn retain(&self, now: Wall) -> usize {
        let keep = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        let old = match self.offset_at(Wall(now.0.saturating_sub(keep))) {
            Ok(old) => old,
            Err(why) => {
                tracing::debug!(why, "kafka keeps old records: it does not say which they are");
                return 0;
            }
        };
        let (below, low) = {
            let state = lock(&self.state);
            // A node without consumers does not know what others still want.
            let wanted = state.consumers.values().copied().min().unwrap_or(0);
            (old.min(wanted), state.low)
        };
        if below <= low {
            return 0;
        }
        match check::delete_below(self, below).and_then(|()| self.ask()) {
            Ok(()) => 1,
            Err(why) => {
                tracing::warn!(topic = self.topic, why, "kafka does not delete old records");
                0
            }
        }
    }
}

/// Kafka does not do what it should, in words.
fn away(why: impl Into<String>) -> EventsError {
    EventsError::Away { why: why.into() }
}
