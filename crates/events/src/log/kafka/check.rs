//! The topic in Kafka: made when it is missing, and held against what our promise needs.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{PARTITION, Quiet, REQUEST, Shared};
use crate::segment::PAYLOAD_BYTES;

/// Largest message: a record and what Kafka puts around it.
pub(super) const MESSAGE_BYTES: usize = PAYLOAD_BYTES + (64 << 10);

/// Errors: in words, why nothing may be written to the topic.
pub(super) fn topic(shared: &Shared) -> Result<(), String> {
    let name = &shared.topic;
    let (replicas, in_sync, _) = match partition(shared)? {
        Some(found) => found,
        None => {
            create(shared)?;
            // The brokers tell each other.
            let deadline = Instant::now() + REQUEST;
            loop {
                if let Some(found) = partition(shared)? {
                    break found;
                }
                if Instant::now() >= deadline {
                    return Err(format!("topic {name} was made and is not there yet"));
                }
                std::thread::park_timeout(super::LOOK_AGAIN);
            }
        }
    };
    hold(shared, replicas, in_sync)
}

/// What was found, in a sentence. Makes nothing. Errors: as of [`topic`].
pub(super) fn examine(shared: &Shared) -> Result<String, String> {
    let name = &shared.topic;
    match partition(shared)? {
        None => Ok(format!("Kafka answers; topic {name} is made at the first start")),
        Some((replicas, in_sync, leader)) => {
            hold(shared, replicas, in_sync)?;
            Ok(format!("topic {name} has {replicas} replicas, {in_sync} in step, led by broker {leader}"))
        }
    }
}

/// Errors: in words, what is weaker than our promise needs.
fn hold(shared: &Shared, replicas: usize, in_sync: usize) -> Result<(), String> {
    let (name, options) = (&shared.topic, &shared.options);
    if replicas < usize::from(options.replicas) {
        return Err(format!("topic {name} has {replicas} replicas, {} are wanted", options.replicas));
    }
    settings(shared)?;
    if in_sync < usize::from(options.min_in_sync) {
        return Err(format!(
            "topic {name}: {in_sync} replicas are in step, {} are needed",
            options.min_in_sync
        ));
    }
    Ok(())
}

/// How many replicas the partition has, how many of them are in step, and the broker that leads them; `None`: there is no topic.
fn partition(shared: &Shared) -> Result<Option<(usize, usize, i32)>, String> {
    let metadata = shared.asking(|c| c.fetch_metadata(Some(&shared.topic), REQUEST))?;
    let Some(topic) = metadata.topics().iter().find(|t| t.name() == shared.topic) else { return Ok(None) };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
        Some(error) => return Err(format!("topic {}: {error}", shared.topic)),
    }
    match topic.partitions() {
        [] => Ok(None),
        [one] if one.id() == PARTITION => {
            if one.leader() < 0 {
                return Err(format!("topic {}: the partition has no leader", shared.topic));
            }
            Ok(Some((one.replicas().len(), one.isr().len(), one.leader())))
        }
        many => Err(format!("topic {} has {} partitions, it needs one", shared.topic, many.len())),
    }
}

fn create(shared: &Shared) -> Result<(), String> {
    let options = &shared.options;
    let (min, max) = (options.min_in_sync.to_string(), MESSAGE_BYTES.to_string());
    let topic = NewTopic::new(&shared.topic, 1, TopicReplication::Fixed(options.replicas.into()))
        .set("cleanup.policy", "delete")
        .set("min.insync.replicas", &min)
        .set("unclean.leader.election.enable", "false")
        .set("max.message.bytes", &max)
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1");
    let admin = admin(shared)?;
    let made = block_on(admin.create_topics([&topic], &asked())).map_err(|e| e.to_string())?;
    match made.into_iter().next() {
        None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((name, error))) => Err(format!("topic {name} cannot be made: {error}")),
    }
}

/// A topic that somebody else made, or changed, may be weaker than what we answer for.
fn settings(shared: &Shared) -> Result<(), String> {
    let (name, options) = (&shared.topic, &shared.options);
    let admin = admin(shared)?;
    let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic(name)], &asked()))
        .map_err(|e| e.to_string())?;
    let found = match described.into_iter().next() {
        Some(Ok(found)) => found,
        Some(Err(error)) => return Err(format!("topic {name} is not described: {error}")),
        None => return Err(format!("topic {name} is not described")),
    };
    let value = |key: &str| found.get(key).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let number = |key: &str| value(key).parse::<u64>().unwrap_or(0);
    let weak =
        |key: &str, want: String| Err(format!("topic {name}: {key} is {}, it must be {want}", value(key)));
    if number("min.insync.replicas") < u64::from(options.min_in_sync) {
        return weak("min.insync.replicas", format!("{} or more", options.min_in_sync));
    }
    if value("cleanup.policy") != "delete" {
        return weak("cleanup.policy", "delete".to_owned());
    }
    if value("unclean.leader.election.enable") != "false" {
        return weak("unclean.leader.election.enable", "false".to_owned());
    }
    if number("max.message.bytes") < MESSAGE_BYTES as u64 {
        return weak("max.message.bytes", format!("{MESSAGE_BYTES} or more"));
    }
    Ok(())
}

/// Deletes the records below this number.
pub(super) fn delete_below(shared: &Shared, number: u64) -> Result<(), String> {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(i64::try_from(number).map_err(|e| e.to_string())?);
    list.add_partition_offset(&shared.topic, PARTITION, offset).map_err(|e| e.to_string())?;
    let answer = block_on(admin(shared)?.delete_records(&list, &asked())).map_err(|e| e.to_string())?;
    match answer.find_partition(&shared.topic, PARTITION).map(|p| p.error()) {
        Some(Err(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn admin(shared: &Shared) -> Result<AdminClient<Quiet>, String> {
    AdminClient::from_config_and_context(&shared.options.client(), Quiet).map_err(|e| e.to_string())
}

fn asked() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST))
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The answer of the client library's other thread, which always comes: each question has an end of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
