//! What every variant of the event log does: one suite, run on the local segments; Kafka runs through it when it comes.
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
    assert_eq!(topic.floor(), topic.end(), "appended, not durable");
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
