//! What every variant of the event log does: one suite, run on the local segments and on Apache Kafka.
//!
//! A variant is a [`Variant`]: it opens the log, and makes it forget its oldest records as its retention does. All else goes
//! through the methods that consumers and writers use. Order is asked of records of one key only.

use std::collections::BTreeMap;
use std::time::Duration;

use warp_events::{Cursor, Event, EventLog, EventsError, EventsMetrics, LogOptions, Topic};
use warp_model::Wall;

/// A variant of the log under test. Each value of it is a log of its own.
trait Variant {
    /// The topic `t`. Called again, it opens what a process left behind that was killed.
    fn open(&self) -> Topic;
    /// Deletes the oldest records, some but not all, unless a consumer wants them.
    fn delete_oldest(&self, topic: &Topic);
    /// The counter of missed records.
    fn missed(&self) -> u64;
}

/// The whole suite.
fn conforms<V: Variant>(make: impl Fn() -> V) {
    records_are_read_in_order_when_they_are_durable(&make());
    a_stored_cursor_goes_on_after_a_kill(&make());
    what_is_behind_the_floor_is_gone_and_said_so(&make());
    nothing_goes_that_a_consumer_wants(&make());
    a_log_refuses_the_cursor_of_another(&make(), &make());
    writers_at_once_lose_and_double_nothing(&make());
    a_reader_is_woken(&make());
    a_place_beyond_the_end_is_said_so(&make());
    a_record_is_read_as_it_was_written(&make());
}

fn put(topic: &Topic, values: std::ops::Range<u32>) {
    let values: Vec<String> = values.map(|n| format!("{n} {}", "x".repeat(100))).collect();
    let end = topic.append(values.iter().map(|v| (&b"k"[..], v.as_bytes()))).unwrap();
    topic.sync(end).unwrap();
}

/// The value of a record that [`put`] wrote.
fn value(event: &Event) -> u32 {
    std::str::from_utf8(&event.value).unwrap().split_once(' ').unwrap().0.parse().unwrap()
}

fn read(topic: &Topic, from: &Cursor) -> Vec<Event> {
    let mut reader = topic.reader(from).unwrap();
    let mut out = Vec::new();
    loop {
        let batch = reader.next_batch(7).unwrap();
        assert!(batch.len() <= 7);
        let Some(last) = batch.last() else {
            assert_eq!(reader.cursor(), topic.end(), "nothing new means that it is at the end");
            return out;
        };
        assert_eq!(reader.cursor(), last.after);
        out.extend(batch);
    }
}

fn records_are_read_in_order_when_they_are_durable(log: &impl Variant) {
    let topic = log.open();
    assert_eq!(topic.floor(), topic.end());
    assert!(read(&topic, &topic.floor()).is_empty());
    let number = topic.append([(&b"k"[..], &b"0 first"[..])]).unwrap();
    topic.sync(number).unwrap();
    topic.sync(number).unwrap();
    put(&topic, 1..50);
    let all = read(&topic, &topic.floor());
    assert_eq!(all.iter().map(value).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert!(all.iter().all(|e| e.key == b"k" && e.at.0 > 0));
    assert!(all.windows(2).all(|w| w[0].after != w[1].after));
    assert_eq!(topic.waiting(&topic.floor()).unwrap(), 50);
    for (n, event) in all.iter().enumerate() {
        assert_eq!(topic.waiting(&event.after).unwrap(), 49 - n as u64);
        assert_eq!(read(&topic, &event.after), all[n + 1..]);
    }
    let mut reader = topic.from_floor();
    assert_eq!(reader.next_batch(3).unwrap(), all[..3]);
    reader.seek(&all[9].after).unwrap();
    assert_eq!(reader.next_batch(3).unwrap(), all[10..13]);
    assert!(matches!(topic.append([(&b"k"[..], &vec![0; 2 << 20][..])]), Err(EventsError::TooLarge { .. })));
    put(&topic, 50..51);
    assert_eq!(read(&topic, &all[49].after).iter().map(value).collect::<Vec<_>>(), [50]);
}

fn a_stored_cursor_goes_on_after_a_kill(log: &impl Variant) {
    let topic = log.open();
    put(&topic, 0..20);
    let all = read(&topic, &topic.floor());
    let (name, floor, end) = (topic.log(), topic.floor().to_string(), topic.end().to_string());
    let texts: Vec<String> = all.iter().map(|e| e.after.to_string()).collect();
    drop(topic);
    let topic = log.open();
    assert_eq!(topic.log(), name);
    for (n, text) in texts.iter().enumerate() {
        let cursor = topic.cursor(text).unwrap();
        assert_eq!((&cursor, &cursor.to_string()), (&all[n].after, text));
        assert_eq!(read(&topic, &cursor), all[n + 1..]);
    }
    assert_eq!(read(&topic, &topic.cursor(&floor).unwrap()), all);
    assert_eq!(topic.cursor(&end).unwrap(), topic.end());
    put(&topic, 20..21);
    assert_eq!(read(&topic, &topic.cursor(&end).unwrap()).iter().map(value).collect::<Vec<_>>(), [20]);
    for text in ["", "w2:t:0:0:0", "w1:t:0", "nonsense"] {
        assert!(matches!(topic.cursor(text), Err(EventsError::NoCursor)), "{text}");
    }
}

fn what_is_behind_the_floor_is_gone_and_said_so(log: &impl Variant) {
    let mut topic = log.open();
    put(&topic, 0..200);
    let start = topic.floor();
    let all = read(&topic, &start);
    log.delete_oldest(&topic);
    for round in 0..2 {
        let floor = topic.floor();
        assert_ne!(floor, start);
        let kept = read(&topic, &floor);
        let gone = all.len() - kept.len();
        assert!(gone > 1 && !kept.is_empty());
        assert_eq!(kept, all[gone..]);
        assert_eq!(floor, all[gone - 1].after);
        for behind in [0, gone / 2, gone - 2] {
            let text = all[behind].after.to_string();
            let mut reader = topic.reader(&topic.cursor(&text).unwrap()).unwrap();
            let lost = (gone - 1 - behind) as u64;
            for _ in 0..2 {
                match reader.next_batch(5) {
                    Err(EventsError::Gone { floor: at, missed }) => {
                        assert_eq!((at, missed), (floor.clone(), lost))
                    }
                    other => panic!("round {round}, {behind}: {other:?}"),
                }
            }
            let before = log.missed();
            assert_eq!((reader.skip_to_floor(), reader.skip_to_floor()), (lost, 0));
            assert_eq!((log.missed() - before, reader.cursor()), (lost, floor.clone()));
            assert_eq!(reader.next_batch(5).unwrap(), kept[..5]);
            assert_eq!(topic.waiting(&all[behind].after).unwrap(), kept.len() as u64);
        }
        drop(topic);
        topic = log.open();
        assert_eq!(topic.floor(), floor, "also after a kill");
    }
}

fn nothing_goes_that_a_consumer_wants(log: &impl Variant) {
    let topic = log.open();
    topic.hold("slow");
    put(&topic, 0..200);
    let (start, all) = (topic.floor(), read(&topic, &topic.floor()));
    topic.reader(&topic.end()).unwrap().acknowledge("fast");
    log.delete_oldest(&topic);
    assert_eq!(topic.floor(), start);
    topic.reader(&all[99].after).unwrap().acknowledge("slow");
    log.delete_oldest(&topic);
    assert_ne!(topic.floor(), start);
    assert_eq!(read(&topic, &all[99].after), all[100..]);
}

fn a_log_refuses_the_cursor_of_another(log: &impl Variant, other: &impl Variant) {
    let (topic, other) = (log.open(), other.open());
    put(&topic, 0..10);
    put(&other, 0..10);
    assert_ne!(topic.log(), other.log());
    for cursor in [other.floor(), other.end(), read(&other, &other.floor())[4].after.clone()] {
        let foreign = |refused: Result<(), EventsError>| match refused {
            Err(EventsError::Foreign { log }) => assert_eq!(log, topic.log()),
            taken => panic!("{cursor}: {taken:?}"),
        };
        foreign(topic.cursor(&cursor.to_string()).map(drop));
        foreign(topic.reader(&cursor).map(drop));
        foreign(topic.waiting(&cursor).map(drop));
        let mut reader = topic.from_floor();
        foreign(reader.seek(&cursor));
        assert_eq!(reader.cursor(), topic.floor(), "it stays");
        assert!(cursor != topic.floor() && cursor != topic.end());
    }
}

fn writers_at_once_lose_and_double_nothing(log: &impl Variant) {
    let topic = log.open();
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let topic = topic.clone();
            scope.spawn(move || {
                for n in 0..25u8 {
                    let end = topic.append([(&[writer][..], &[n][..])]).unwrap();
                    topic.sync(end).unwrap();
                }
            });
        }
    });
    drop(topic);
    let topic = log.open();
    let mut by_key: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for event in read(&topic, &topic.floor()) {
        by_key.entry(event.key).or_default().extend(event.value);
    }
    assert_eq!(by_key.len(), 4);
    assert!(by_key.values().all(|seen| *seen == (0..25).collect::<Vec<u8>>()), "{by_key:?}");
}

fn a_reader_is_woken(log: &impl Variant) {
    let topic = log.open();
    let reader = topic.from_floor();
    assert!(!reader.wait(Duration::ZERO));
    std::thread::scope(|scope| {
        scope.spawn(|| put(&topic, 0..3));
        assert!(reader.wait_for(3, Duration::from_secs(60)));
    });
    assert!(!reader.wait_for(4, Duration::ZERO));
}

fn a_place_beyond_the_end_is_said_so(log: &impl Variant) {
    let topic = log.open();
    put(&topic, 0..3);
    let beyond = topic.cursor(&format!("w1:{}:999:00000000", topic.log())).unwrap();
    let mut reader = topic.reader(&beyond).unwrap();
    for _ in 0..2 {
        assert!(matches!(reader.next_batch(1), Err(EventsError::Ahead { end }) if end == topic.end()));
    }
    assert_eq!(topic.waiting(&beyond).unwrap(), 0);
    // Another record stands before it than the one that it was made behind.
    let last = read(&topic, &topic.floor()).pop().unwrap().after.to_string();
    let other = format!("{}:0badcafe", last.rsplit_once(':').unwrap().0);
    assert!(matches!(topic.cursor(&other), Err(EventsError::Foreign { .. })));
    topic.cursor(&last).unwrap();
}

fn a_record_is_read_as_it_was_written(log: &impl Variant) {
    let topic = log.open();
    let sizes = [0, 1, 900_000, 3, 900_000, 900_000];
    let value = |n: usize| (0..sizes[n]).map(|at| (at * 31 + n) as u8).collect::<Vec<u8>>();
    for n in 0..sizes.len() {
        topic.append_durable(&[n as u8, 0, b'\n', 255], &value(n)).unwrap();
    }
    let mut topic = topic;
    for _ in 0..2 {
        let events = read(&topic, &topic.floor());
        assert_eq!(events.len(), sizes.len());
        for (n, event) in events.iter().enumerate() {
            assert!(event.value == value(n) && event.key == [n as u8, 0, b'\n', 255], "record {n}");
        }
        drop(topic);
        topic = log.open();
    }
}

/// The local segments, small ones.
struct Segments {
    dir: tempfile::TempDir,
    metrics: EventsMetrics,
}

impl Variant for Segments {
    fn open(&self) -> Topic {
        let options = LogOptions {
            segment_bytes: 4 << 10,
            keep: Duration::from_secs(86_400),
            ..LogOptions::new(self.metrics.clone())
        };
        EventLog::open(self.dir.path(), options).unwrap().topic("t").unwrap()
    }

    fn delete_oldest(&self, topic: &Topic) {
        topic.retain(Wall(i64::MAX));
    }

    fn missed(&self) -> u64 {
        self.metrics.missed.value(())
    }
}

#[test]
fn the_local_segments_conform() {
    conforms(|| Segments { dir: tempfile::tempdir().unwrap(), metrics: EventsMetrics::detached() });
}

#[cfg(feature = "kafka")]
mod brokers;

/// Real brokers, a topic of its own for each value.
#[cfg(feature = "kafka")]
mod kafka {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, Weak};
    use std::time::Instant;

    use warp_events::KafkaOptions;

    use super::brokers::Brokers;
    use super::*;

    /// One broker for the tests that run at the same time.
    fn broker() -> Option<Arc<Brokers>> {
        static ONE: Mutex<Weak<Brokers>> = Mutex::new(Weak::new());
        let mut one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(brokers) = one.upgrade() {
            return Some(brokers);
        }
        let brokers = Arc::new(Brokers::start(1)?);
        *one = Arc::downgrade(&brokers);
        Some(brokers)
    }

    fn alone(brokers: &Brokers, prefix: &str) -> KafkaOptions {
        KafkaOptions {
            prefix: prefix.to_owned(),
            replicas: 1,
            min_in_sync: 1,
            ..KafkaOptions::new(brokers.servers())
        }
    }

    fn log(options: &KafkaOptions) -> Topic {
        let log = EventLog::kafka(options.clone(), LogOptions::new(EventsMetrics::detached()));
        well(log.unwrap().topic("t").unwrap())
    }

    /// A topic is there before Kafka is, which takes its time on a busy machine.
    fn well(topic: Topic) -> Topic {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match topic.append(std::iter::empty()) {
                Ok(_) => return topic,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    #[test]
    fn f_kafka_02_a_topic_that_is_weaker_than_the_promise_is_not_written_to() {
        let Some(brokers) = broker() else { return };
        let weak = alone(&brokers, "weak.");
        assert!(weak.examine("t").unwrap().contains("is made at the first start"));
        let topic = log(&weak);
        topic.append_durable(b"k", b"v").unwrap();
        assert!(weak.examine("t").unwrap().contains("1 replicas, 1 in step, led by broker 1"));
        for (options, why) in [
            (
                KafkaOptions { min_in_sync: 2, ..weak.clone() },
                "min.insync.replicas is 1, it must be 2 or more",
            ),
            (KafkaOptions { replicas: 3, ..weak.clone() }, "has 1 replicas, 3 are wanted"),
        ] {
            let said = options.examine("t").unwrap_err();
            assert!(said.contains(why), "{said}");
            let strict = EventLog::kafka(options, LogOptions::new(EventsMetrics::detached()));
            let strict = strict.unwrap().topic("t").unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let Err(EventsError::Away { why: said }) = strict.append_durable(b"k", b"not written") else {
                    panic!("it was written");
                };
                if said.contains(why) {
                    break;
                }
                assert!(Instant::now() < deadline, "{said}");
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        assert_eq!(read(&topic, &topic.floor()).len(), 1);
    }

    #[test]
    fn what_another_process_wrote_is_read_without_being_told() {
        let Some(brokers) = broker() else { return };
        let (ours, theirs) = (log(&alone(&brokers, "two.")), log(&alone(&brokers, "two.")));
        let reader = ours.from_floor();
        put(&theirs, 0..3);
        assert!(reader.wait_for(3, Duration::from_secs(60)));
        assert_eq!(read(&ours, &ours.floor()).iter().map(value).collect::<Vec<_>>(), [0, 1, 2]);
        put(&ours, 3..4);
        assert!(theirs.from_floor().wait_for(4, Duration::from_secs(60)));
        assert_eq!(read(&theirs, &theirs.floor()).iter().map(value).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    struct OnKafka {
        options: KafkaOptions,
        metrics: EventsMetrics,
    }

    impl Variant for OnKafka {
        fn open(&self) -> Topic {
            let options =
                LogOptions { keep: Duration::from_secs(86_400), ..LogOptions::new(self.metrics.clone()) };
            well(EventLog::kafka(self.options.clone(), options).unwrap().topic("t").unwrap())
        }

        fn delete_oldest(&self, topic: &Topic) {
            let all = read(topic, &topic.floor());
            topic.reader(&all[all.len() / 2].after).unwrap().acknowledge("reads half");
            topic.retain(Wall(i64::MAX));
        }

        fn missed(&self) -> u64 {
            self.metrics.missed.value(())
        }
    }

    #[test]
    fn kafka_conforms() {
        let Some(brokers) = broker() else { return };
        let made = AtomicUsize::new(0);
        conforms(|| OnKafka {
            options: alone(&brokers, &format!("log{}.", made.fetch_add(1, Ordering::Relaxed))),
            metrics: EventsMetrics::detached(),
        });
    }
}
