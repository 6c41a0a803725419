//! Writing: records are handed to the client library in order, and count when every replica in step has them.
//!
//! What is handed over gets a count. Answers come in the order of the counts, because the producer is idempotent and writes
//! to one partition. With the first failure everything that waits is withdrawn, and the producer is thrown away with what it
//! still has: its answers no longer count. A record may have been written all the same: appending is at least once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use warp_model::sync::lock;
use warp_telemetry::health::RequestResult;

use super::{Kafka, PARTITION, Quiet, Shared, State, WITHDRAWN, away, check};
use crate::error::EventsError;
use crate::journal::wall;
use crate::segment::PAYLOAD_BYTES;

pub(super) type Producer = ThreadedProducer<Delivery>;

/// Records that wait in the client library, at most.
const QUEUED: &str = "20000";
/// Their bytes, at most, in KiB.
const QUEUED_KBYTES: &str = "65536";
/// What a record has besides key and value: the same measure as that of a segment's frame.
const AROUND: usize = 10;

/// Takes the answers of one producer.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    generation: u64,
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        Quiet.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext for Delivery {
    /// The record's count.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, count: usize) {
        let mut state = lock(&self.shared.state);
        if state.generation != self.generation || state.failed.is_some() {
            return;
        }
        match result {
            Ok(message) if state.delivered == count as u64 => {
                let after = u64::try_from(message.offset()).unwrap_or(0).saturating_add(1);
                state.delivered += 1;
                state.unwritten = None;
                state.ours = after;
                state.high = state.high.max(after);
            }
            Ok(_) => state.failed = Some("answers came out of order".to_owned()),
            Err((error, _)) => state.failed = Some(error.to_string()),
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl State {
    /// What waits for an answer never counts.
    fn withdraw(&mut self, why: &str) {
        self.unwritten = Some(why.to_owned());
        let lost = self.delivered..self.handed;
        self.generation += 1;
        self.failed = None;
        self.suspect = true;
        self.delivered = self.handed;
        if lost.is_empty() {
            return;
        }
        match self.withdrawn.last_mut().filter(|last| last.end == lost.start) {
            Some(last) => last.end = lost.end,
            None => self.withdrawn.push(lost),
        }
        if self.withdrawn.len() > WITHDRAWN {
            self.forgotten = self.withdrawn.remove(0).end;
        }
    }

    /// Whether the last record below this count was withdrawn, or nobody knows any more.
    fn is_withdrawn(&self, handed: u64) -> bool {
        handed.checked_sub(1).is_some_and(|last| {
            last < self.forgotten || self.withdrawn.iter().any(|lost| lost.contains(&last))
        })
    }
}

impl Kafka {
    /// Hands over records and gives the count of all that were handed over so far.
    pub(in crate::log) fn append<'a>(
        &self,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<u64, EventsError> {
        let shared = &self.shared;
        let mut slot = lock(&shared.producer);
        if let Some(why) = lock(&shared.state).down.clone() {
            return Err(away(why));
        }
        let producer = match slot.take() {
            Some(producer) => producer,
            None => producer(shared).map_err(away)?,
        };
        let producer = slot.insert(producer);
        let ms = wall().0.div_euclid(1_000);
        let deadline = Instant::now() + shared.options.timeout;
        for (key, value) in records {
            let bytes = key.len().saturating_add(value.len()).saturating_add(AROUND);
            if bytes > PAYLOAD_BYTES || u16::try_from(key.len()).is_err() {
                return Err(EventsError::TooLarge { bytes });
            }
            let count = lock(&shared.state).handed;
            let count = usize::try_from(count).map_err(|e| away(e.to_string()))?;
            loop {
                let record = BaseRecord::with_opaque_to(&shared.topic, count)
                    .partition(PARTITION)
                    .key(key)
                    .payload(value)
                    .timestamp(ms);
                // Counted before its answer can come.
                lock(&shared.state).handed += 1;
                let Err((error, _)) = producer.send(record) else { break };
                lock(&shared.state).handed -= 1;
                let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                let before = lock(&shared.state).delivered;
                let room = |state: &mut State| state.delivered > before || state.failed.is_some();
                if !full || !shared.wait_until(deadline, room) || lock(&shared.state).failed.is_some() {
                    lock(&shared.state).withdraw(&error.to_string());
                    *slot = None;
                    return Err(away(error.to_string()));
                }
            }
        }
        Ok(lock(&shared.state).handed)
    }

    /// Returns when all that was handed over before this count is durable; gives the number after the newest record of this
    /// process that is.
    pub(in crate::log) fn sync(&self, handed: u64) -> Result<u64, EventsError> {
        let shared = &self.shared;
        let began = Instant::now();
        // The client library gives up by itself; this is for the case that it does not.
        let deadline = began + shared.options.timeout + Duration::from_secs(5);
        let mut done = None;
        shared.wait_until(deadline, |state| {
            if state.is_withdrawn(handed) {
                done = Some(Err("an earlier attempt to write these records failed".to_owned()));
            } else if state.delivered >= handed {
                done = Some(Ok(state.ours));
            } else if let Some(why) = state.failed.clone() {
                done = Some(Err(why));
            }
            done.is_some()
        });
        let done = done.unwrap_or_else(|| Err("no answer".to_owned()));
        if let Some(seconds) = &shared.options.seconds {
            let result = if done.is_ok() { RequestResult::Ok } else { RequestResult::Error };
            seconds.observe((result,), began.elapsed());
        }
        done.map_err(|why| {
            let producer = {
                let mut slot = lock(&shared.producer);
                let mut state = lock(&shared.state);
                // Somebody else may have withdrawn them, and gone on with another producer.
                match state.is_withdrawn(handed) {
                    true => None,
                    false => {
                        state.withdraw(&why);
                        slot.take()
                    }
                }
            };
            drop(producer);
            away(why)
        })
    }
}

fn producer(shared: &Arc<Shared>) -> Result<Producer, String> {
    let mut config = shared.options.client();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "2")
        .set("message.timeout.ms", shared.options.timeout.as_millis().to_string())
        .set("message.max.bytes", check::MESSAGE_BYTES.to_string())
        .set("queue.buffering.max.messages", QUEUED)
        .set("queue.buffering.max.kbytes", QUEUED_KBYTES)
        // A record is packed already.
        .set("compression.type", "none");
    let delivery = Delivery { shared: shared.clone(), generation: lock(&shared.state).generation };
    ThreadedProducer::from_config_and_context(&config, delivery).map_err(|e| e.to_string())
}
