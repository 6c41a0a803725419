//! The event log: numbering, group commit, cursors, retention, damaged files.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use warp_events::{Cursor, EventLog, EventsError, EventsMetrics, LogOptions, Topic};
use warp_model::Wall;

fn open(dir: &Path, segment_bytes: u64, keep: Duration) -> Topic {
    let options = LogOptions { segment_bytes, keep, ..LogOptions::new(EventsMetrics::detached()) };
    EventLog::open(dir, options).unwrap().topic("t").unwrap()
}

const DAY: Duration = Duration::from_secs(86_400);

/// Where a consumer stands that has taken every record below this number.
fn at(topic: &Topic, number: u64) -> Cursor {
    let mut reader = topic.from_floor();
    let taken = std::iter::from_fn(|| reader.next_batch(1).unwrap().pop()).take_while(|e| e.offset < number);
    taken.last().map_or(topic.floor(), |e| e.after)
}

/// Records of the topic, none of which was deleted.
fn written(topic: &Topic) -> u64 {
    topic.waiting(&topic.floor()).unwrap()
}

fn values(topic: &Topic, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut reader = topic.reader(&at(topic, from)).unwrap();
    let mut out = Vec::new();
    loop {
        let batch = reader.next_batch(7).unwrap();
        if batch.is_empty() {
            return out;
        }
        out.extend(batch.into_iter().map(|e| (e.offset, e.value)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_appended_is_read_in_order_across_segments_and_restarts(
        batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), 1..8),
        segment_bytes in 512u64..4_000,
        from in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for batch in &batches {
            // Every batch is a new run of the process.
            let topic = open(dir.path(), segment_bytes, DAY);
            let end = topic.append(batch.iter().map(|v| (b"k".as_slice(), v.as_slice()))).unwrap();
            topic.sync(end).unwrap();
            all.extend(batch.iter().cloned());
            prop_assert_eq!(written(&topic), all.len() as u64);
        }
        let topic = open(dir.path(), segment_bytes, DAY);
        let wanted: Vec<_> = all.into_iter().enumerate().map(|(i, v)| (i as u64, v)).collect();
        prop_assert_eq!(&values(&topic, 0), &wanted);
        let from = from.index(wanted.len() + 1);
        prop_assert_eq!(values(&topic, from as u64), &wanted[if from == 0 { 0 } else { from }..]);
    }
}

#[test]
fn records_are_seen_when_they_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 1 << 20, DAY);
    let end = topic.append([(b"k".as_slice(), b"v".as_slice())]).unwrap();
    assert_eq!((end, topic.end()), (1, topic.floor()));
    let mut reader = topic.from_floor();
    assert!(!reader.wait(Duration::ZERO));
    assert!(reader.next_batch(10).unwrap().is_empty());
    topic.sync(end).unwrap();
    assert!(reader.wait(Duration::from_secs(10)));
    let batch = reader.next_batch(10).unwrap();
    assert_eq!(
        (batch[0].offset, batch[0].key.as_slice(), batch[0].value.as_slice()),
        (0, b"k".as_slice(), b"v".as_slice())
    );
    assert_eq!((reader.cursor(), batch[0].after.clone()), (topic.end(), topic.end()));
}

#[test]
fn concurrent_writers_share_syncs_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 8_192, DAY);
    let writers: Vec<_> = (0..8u8)
        .map(|w| {
            let topic = topic.clone();
            std::thread::spawn(move || {
                (0..50u8).map(|i| topic.append_durable(&[w], &[w, i]).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut numbers: Vec<u64> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
    let seen = values(&topic, 0);
    assert_eq!(seen.len(), 400);
    for w in 0..8u8 {
        let of_writer: Vec<u8> = seen.iter().filter(|(_, v)| v[0] == w).map(|(_, v)| v[1]).collect();
        assert_eq!(of_writer, (0..50).collect::<Vec<_>>(), "order of one writer");
    }
}

#[test]
fn large_records_are_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 4 << 20, DAY);
    let large = vec![0xAB; 900_000];
    for _ in 0..3 {
        topic.append_durable(b"k", b"small").unwrap();
        topic.append_durable(b"k", &large).unwrap();
    }
    let lens: Vec<usize> = values(&topic, 0).iter().map(|(_, v)| v.len()).collect();
    assert_eq!(lens, [5, 900_000, 5, 900_000, 5, 900_000]);
    assert!(matches!(topic.append_durable(b"k", &vec![0; 2 << 20]), Err(EventsError::TooLarge { .. })));
    assert_eq!(topic.append_durable(b"k", b"after").unwrap(), 6);
}

#[test]
fn retention_waits_for_every_consumer() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = EventsMetrics::detached();
    let options = LogOptions { segment_bytes: 512, keep: Duration::ZERO, ..LogOptions::new(metrics.clone()) };
    let topic = EventLog::open(dir.path(), options).unwrap().topic("t").unwrap();
    topic.hold("postgres");
    for i in 0..100u8 {
        topic.append_durable(b"k", &[i; 40]).unwrap();
    }
    let far = Wall(i64::MAX);
    assert_eq!(topic.retain(far), 0);
    assert_eq!(values(&topic, 0).len(), 100);
    let (early, half) = (at(&topic, 1), at(&topic, 50));
    topic.reader(&half).unwrap().acknowledge("postgres");
    assert!(topic.retain(far) > 0);
    let floor = topic.from_floor().next_batch(1).unwrap()[0].offset;
    assert!(floor > 0 && floor <= 50);
    assert_eq!((topic.waiting(&half).unwrap(), values(&topic, 50).len()), (50, 50));
    let mut behind = topic.reader(&early).unwrap();
    for _ in 0..2 {
        let gone = behind.next_batch(1);
        assert!(
            matches!(gone, Err(EventsError::Gone { floor: f, missed }) if f == topic.floor() && missed == floor - 1)
        );
    }
    assert_eq!(topic.waiting(&early).unwrap(), 100 - floor);
    assert_eq!((behind.skip_to_floor(), behind.skip_to_floor()), (floor - 1, 0));
    assert_eq!(metrics.missed.value(()), floor - 1);
    assert_eq!(behind.next_batch(1).unwrap()[0].offset, floor);
}

#[test]
fn numbers_go_on_when_a_retention_took_every_record() {
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 512, Duration::ZERO);
    for i in 0..20u8 {
        topic.append_durable(b"k", &[i; 40]).unwrap();
    }
    let early = at(&topic, 19).to_string();
    drop(topic);
    // The newest segment is empty: all that hold records may go.
    let topic = open(dir.path(), 512, Duration::ZERO);
    assert!(topic.retain(Wall(i64::MAX)) > 0);
    let end = topic.end();
    assert_eq!(topic.floor(), end);
    drop(topic);
    for _ in 0..2 {
        drop(open(dir.path(), 512, Duration::ZERO));
        let topic = open(dir.path(), 512, Duration::ZERO);
        assert_eq!((topic.floor(), topic.end()), (end.clone(), end.clone()));
        let gone = topic.reader(&topic.cursor(&early).unwrap()).unwrap().next_batch(1);
        assert!(matches!(gone, Err(EventsError::Gone { floor, missed: 1 }) if floor == end));
    }
    let topic = open(dir.path(), 512, Duration::ZERO);
    assert_eq!(topic.append_durable(b"k", b"next").unwrap(), 20);
    assert_eq!(values(&topic, 0), [(20, b"next".to_vec())]);
}

fn newest_segment(dir: &Path) -> std::path::PathBuf {
    let logs = std::fs::read_dir(dir.join("t")).unwrap().map(|e| e.unwrap().path());
    logs.filter(|p| p.extension().is_some_and(|e| e == "log")).max().unwrap()
}

/// What was durable and read is gone: the newest segment's header is damaged.
fn without_its_end(dir: &Path) {
    let file = std::fs::File::options().write(true).open(newest_segment(dir)).unwrap();
    file.write_all_at(b"!", 20).unwrap();
}

/// The last records of the newest segment are gone without a trace: the disk gives zeros where they stood.
fn with_its_end_zeroed(dir: &Path) {
    let newest = newest_segment(dir);
    let bytes = std::fs::read(&newest).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let file = std::fs::File::options().write(true).open(newest).unwrap();
    // Two of them stay: each frame is 20 + 8 + 2 + 1 + 4 bytes.
    file.write_all_at(&vec![0; used - 64 - 2 * 35], 64 + 2 * 35).unwrap();
}

/// The topic's files as they are now: of an open log, what a kill leaves behind.
fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("t")).unwrap();
    for entry in std::fs::read_dir(dir.join("t")).unwrap().map(|e| e.unwrap()) {
        std::fs::copy(entry.path(), copy.path().join("t").join(entry.file_name())).unwrap();
    }
    copy
}

/// What happens to a topic's folder, and its name.
type Damage = (&'static str, fn(&Path));

#[test]
fn f_disk_03_no_number_is_given_again_by_a_log_that_lost_its_end() {
    let made = tempfile::tempdir().unwrap();
    let topic = open(made.path(), 1 << 20, DAY);
    topic.append_durable(b"k", b"0").unwrap();
    drop(topic);
    let topic = open(made.path(), 1 << 20, DAY);
    for _ in 0..5 {
        topic.append_durable(b"k", b"seen").unwrap();
    }
    let (whole, lost, read_all) = (at(&topic, 1), at(&topic, 4).to_string(), at(&topic, 6).to_string());
    let kill = copied(made.path());
    drop(topic);
    let orderly = copied(made.path());
    let damages: [Damage; 4] = [
        ("nothing", |_| ()),
        ("header", without_its_end),
        ("zeros", with_its_end_zeroed),
        ("file", |dir| std::fs::remove_file(newest_segment(dir)).unwrap()),
    ];
    for (what, damage) in damages {
        for (end, hole) in [(&kill, true), (&orderly, false)] {
            let dir = copied(end.path());
            damage(dir.path());
            for start in 0..3 {
                let topic = open(dir.path(), 1 << 20, DAY);
                let number = topic.append_durable(b"k", b"new").unwrap();
                assert!(number >= 6, "{what}, start {start}: {number} was given before");
                assert!(hole || number == 6 + start, "{what}, start {start}: {number} after an orderly end");
                for stored in [&read_all, &lost, "6 k"] {
                    let Ok(cursor) = topic.cursor(stored) else {
                        assert!(stored == "6 k" && what != "nothing", "{what}: {stored}");
                        continue;
                    };
                    let mut news = topic.reader(&cursor).unwrap().next_batch(9).unwrap();
                    news.retain(|e| e.value != b"seen");
                    let news: Vec<&[u8]> = news.iter().map(|e| e.value.as_slice()).collect();
                    assert_eq!(news, vec![b"new"; start as usize + 1], "{what}, start {start}: {stored}");
                }
                assert_eq!(topic.cursor(&whole.to_string()).unwrap(), whole);
            }
        }
    }
}

#[test]
fn f_disk_01_a_full_log_refuses_and_keeps_what_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 1_024,
        keep: Duration::ZERO,
        limit_bytes: 4_096,
        ..LogOptions::new(EventsMetrics::detached())
    };
    let topic = EventLog::open(dir.path(), options).unwrap().topic("t").unwrap();
    topic.hold("postgres");
    let mut written = 0;
    let refused = loop {
        match topic.append_durable(b"k", &[7; 100]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100);
    };
    assert!(matches!(refused, EventsError::Full));
    assert_eq!(values(&topic, 0).len(), written);
    topic.reader(&topic.end()).unwrap().acknowledge("postgres");
    assert_eq!(topic.append_durable(b"k", b"again").unwrap(), written as u64);
}

#[test]
fn f_disk_03_a_damaged_record_costs_itself_only() {
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 1 << 20, DAY);
    for i in 0..10u8 {
        topic.append_durable(b"k", &[i; 50]).unwrap();
    }
    drop(topic);
    let path = dir.path().join("t/00000000000000000000.log");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    // In the payload of record 4: each frame is 20 + 8 + 2 + 1 + 50 bytes.
    file.write_all_at(b"!", 64 + 4 * 81 + 60).unwrap();
    let topic = open(dir.path(), 1 << 20, DAY);
    let numbers: Vec<u64> = values(&topic, 0).iter().map(|(n, _)| *n).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(topic.append_durable(b"k", b"next").unwrap(), 10);
}

#[test]
fn a_reader_gives_no_more_than_was_asked_for_and_goes_where_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 1 << 20, DAY);
    for i in 0..10u8 {
        topic.append_durable(b"k", &[i; 50]).unwrap();
    }
    drop(topic);
    let path = dir.path().join("t/00000000000000000000.log");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"!", 64 + 4 * 81 + 60).unwrap();
    let topic = open(dir.path(), 1 << 20, DAY);
    let mut reader = topic.from_floor();
    let mut one_by_one = Vec::new();
    while reader.cursor() != topic.end() {
        let batch = reader.next_batch(1).unwrap();
        assert!(batch.len() <= 1, "{} of one, behind the damage too", batch.len());
        one_by_one.extend(batch.iter().map(|e| e.offset));
    }
    assert_eq!(one_by_one, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    reader.seek(&at(&topic, 7)).unwrap();
    assert_eq!(reader.cursor(), at(&topic, 7));
    let offsets: Vec<u64> = reader.next_batch(2).unwrap().iter().map(|e| e.offset).collect();
    assert_eq!((offsets, reader.cursor()), (vec![7, 8], at(&topic, 9)));
}

/// What was never written to is removed; one byte behind the header is put aside and counted.
#[test]
fn f_disk_03_a_segment_without_a_whole_record_is_removed_or_put_aside() {
    use warp_events::segment::{Header, SegmentKind};
    let header = Header { kind: SegmentKind::Topic, shard: 0, run: 7, first: 0, created: Wall(1) };
    for (tail, torn, bytes) in
        [(&[0u8; 40][..], 0, 0), (&[1, 0, 0, 0][..], 1, 1), (&[0, 0, 0, 9, 0][..], 1, 4)]
    {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("00000000000000000000.log"), [&header.encode()[..], tail].concat())
            .unwrap();
        let metrics = EventsMetrics::detached();
        let topic = EventLog::open(dir.path(), LogOptions::new(metrics.clone())).unwrap().topic("t").unwrap();
        assert_eq!((metrics.torn.value(()), metrics.torn_bytes.value(())), (torn, bytes), "{tail:?}");
        let aside = std::fs::read_dir(folder.join("torn")).map_or(0, |d| d.count());
        assert_eq!(aside as u64, torn);
        assert_eq!(topic.append_durable(b"k", b"v").unwrap(), 0);
    }
}

/// The newest segment's header is gone and its records are not: the file is put aside as any other, not removed.
#[test]
fn f_disk_03_a_segment_whose_header_is_damaged_is_put_aside_with_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("t");
    let path = folder.join("00000000000000000000.log");
    let topic = open(dir.path(), 1 << 20, DAY);
    for i in 1..=3u8 {
        topic.append_durable(b"k", &[i; 50]).unwrap();
    }
    drop(topic);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"!", 20).unwrap();
    let damaged = std::fs::read(&path).unwrap();
    let metrics = EventsMetrics::detached();
    let topic = EventLog::open(dir.path(), LogOptions::new(metrics.clone())).unwrap().topic("t").unwrap();
    assert_eq!(topic.end(), topic.floor());
    // Header, and three frames of 20 + 8 + 2 + 1 + 50 bytes.
    assert_eq!((metrics.torn.value(()), metrics.torn_bytes.value(())), (1, 64 + 3 * 81));
    let aside: Vec<_> = std::fs::read_dir(folder.join("torn")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(std::fs::read(&aside[0]).unwrap(), damaged);
}

#[test]
fn errors_say_what_was_tried_and_with_what() {
    let said = |e: EventsError| e.to_string();
    let path = || std::path::PathBuf::from("a.jrn");
    assert_eq!(said(EventsError::Full), "no space left for the journal or event log");
    assert_eq!(said(EventsError::TooLarge { bytes: 5 }), "record of 5 bytes is too large");
    assert_eq!(said(EventsError::Version { path: path(), found: 9 }), "a.jrn: unknown format version 9");
    let dir = tempfile::tempdir().unwrap();
    let topic = open(dir.path(), 1 << 20, DAY);
    let (floor, log) = (topic.floor(), topic.log());
    assert_eq!(
        said(EventsError::Gone { floor: floor.clone(), missed: 7 }),
        format!("7 records were deleted before they were read; the oldest stands at {floor}")
    );
    assert_eq!(
        said(EventsError::Ahead { end: floor.clone() }),
        format!("the cursor lies beyond the end of the log, {floor}")
    );
    assert_eq!(
        said(EventsError::Foreign { log: log.clone() }),
        format!("the cursor is not one of the log {log}")
    );
    assert_eq!(said(EventsError::NoCursor), "no cursor of an event log, or one of a newer version");
    let error = std::io::Error::other("boom");
    assert_eq!(said(EventsError::Io { what: "write", path: path(), error }), "write a.jrn: boom");
}
