//! Reading: a consumer that is assigned to the partition and joins no group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use warp_model::Wall;
use warp_model::sync::lock;

use super::{Kafka, PARTITION, Quiet, Shared, away};
use crate::cursor::{Cursor, LogName, mark};
use crate::log::Event;
use crate::log::reader::{At, Stop};

/// Longest wait for records that are known to be there.
const FETCH: Duration = Duration::from_secs(10);
/// Consumers of readers that are gone, kept for the next ones.
const IDLE: usize = 2;

/// What a reader has open.
#[derive(Default)]
pub(in crate::log) struct Fetcher {
    open: Option<Open>,
}

struct Open {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    consumer: Option<BaseConsumer<Quiet>>,
    /// Number of the record that it gives next.
    next: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let mut idle = lock(&self.shared.idle);
        if idle.len() < IDLE && consumer.unassign().is_ok() {
            idle.push(consumer);
        }
    }
}

impl Fetcher {
    /// Up to `max` records below `end` into `out`; `at` moves behind them.
    pub(in crate::log) fn read(
        &mut self,
        kafka: &Kafka,
        log: &Arc<LogName>,
        at: &mut At,
        end: u64,
        max: usize,
        out: &mut Vec<Event>,
    ) -> Result<(), Stop> {
        if at.next < kafka.floor_number() {
            return Err(Stop::Gone);
        }
        let deadline = Instant::now() + FETCH;
        let mut said = None;
        while out.len() < max && at.next < end {
            let open = self.assigned(&kafka.shared, at.next).map_err(away)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let polled = open.consumer.as_ref().and_then(|consumer| consumer.poll(left));
            match polled {
                Some(Ok(message)) => {
                    let Some(event) = event(log, &message).filter(|e| e.offset >= at.next) else { continue };
                    *at = At::after(&event);
                    open.next = at.next;
                    out.push(event);
                }
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                ))) => {
                    self.open = None;
                    kafka.ask()?;
                    // Retention was faster, or the log lost its end: the reader looks again.
                    return if at.next < kafka.floor_number() { Err(Stop::Gone) } else { Ok(()) };
                }
                Some(Err(error)) => said = Some(error.to_string()),
                None if out.is_empty() => {
                    self.open = None;
                    let why = said.unwrap_or_else(|| "records that are there do not come".to_owned());
                    return Err(Stop::Failed(away(why)));
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A consumer that gives this record next.
    fn assigned(&mut self, shared: &Arc<Shared>, next: u64) -> Result<&mut Open, String> {
        let mut open = match self.open.take() {
            Some(open) if open.next == next => return Ok(self.open.insert(open)),
            Some(open) => open,
            None => {
                let consumer = match lock(&shared.idle).pop() {
                    Some(consumer) => consumer,
                    None => shared.consumer()?,
                };
                Open { shared: shared.clone(), consumer: Some(consumer), next }
            }
        };
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(next).map_err(|e| e.to_string())?);
        list.add_partition_offset(&shared.topic, PARTITION, offset).map_err(|e| e.to_string())?;
        if let Some(consumer) = &open.consumer {
            consumer.assign(&list).map_err(|e| e.to_string())?;
        }
        open.next = next;
        Ok(self.open.insert(open))
    }
}

fn event(log: &Arc<LogName>, message: &BorrowedMessage<'_>) -> Option<Event> {
    let offset = u64::try_from(message.offset()).ok()?;
    let at = Wall(message.timestamp().to_millis().unwrap_or(0).saturating_mul(1_000));
    let key = message.key().unwrap_or_default();
    let after = Cursor { log: log.clone(), next: offset.checked_add(1)?, mark: mark(offset, at, key) };
    let value = message.payload().unwrap_or_default().to_vec();
    Some(Event { offset, after, at, key: key.to_vec(), value })
}
