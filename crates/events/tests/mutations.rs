//! Seeded mutations of journal and log files: a record is whole or absent, never another one, and nothing panics.

mod records;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use records::call;
use warp_events::pump::Copier;
use warp_events::*;
use warp_model::Wall;
use warp_model::cdr::{CallRecord, JournalRecord};
use warp_model::hash::SplitMix;

struct Rng(SplitMix);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        (self.0.draw() % n.max(1) as u64) as usize
    }
}

fn mutated(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.0.draw() as u8,
            // Torn.
            2 => bytes.truncate(at),
            // A sector of zeros, or of another place of the file.
            3 => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
            }
            4 => {
                let from = rng.below(bytes.len());
                let piece = bytes[from..(from + 600).min(bytes.len())].to_vec();
                let end = (at + piece.len()).min(bytes.len());
                let len = end - at;
                bytes[at..end].copy_from_slice(&piece[..len]);
            }
            // Shifted.
            _ => {
                bytes.insert(at, rng.0.draw() as u8);
            }
        }
    }
    bytes
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    all.sort();
    all
}

fn journal_options() -> JournalOptions {
    JournalOptions { segment_bytes: 32 << 10, ..JournalOptions::new(EventsMetrics::detached()) }
}

fn log_options() -> LogOptions {
    LogOptions { segment_bytes: 8 << 10, ..LogOptions::new(EventsMetrics::detached()) }
}

#[test]
fn f_disk_03_a_mutated_journal_gives_written_records_only_and_each_call_once() {
    let made = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(made.path(), 0, journal_options()).unwrap();
    for n in 0..8 {
        journal.append(&JournalRecord::Answered(call(n, true))).unwrap();
        if n % 2 == 0 {
            journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
        }
        journal.heartbeat(Wall(0)).unwrap();
    }
    drop(journal);
    let path = files(made.path(), "jrn").remove(0);
    let good = std::fs::read(&path).unwrap();
    let used = good.iter().rposition(|b| *b != 0).unwrap() + 200;
    let good = &good[..used];
    let written: BTreeMap<String, CallRecord> =
        (0..8).map(|n| (call(n, true).cdr_id.to_string(), *call(n, true))).collect();
    let mut rng = Rng(SplitMix::new(0x10C4));
    let mut lost = 0;
    for round in 0..150 {
        let dir = tempfile::tempdir().unwrap();
        let journals = dir.path().join("journal");
        std::fs::create_dir(&journals).unwrap();
        std::fs::write(journals.join(path.file_name().unwrap()), mutated(&mut rng, good)).unwrap();
        match recover(&journals, &journal_options(), &mut |_| ()) {
            Ok(_) => {}
            // A version that nobody knows is refused, and the file stays.
            Err(EventsError::Version { .. }) => continue,
            Err(error) => panic!("{round}: {error}"),
        }
        let log = EventLog::open(&dir.path().join("log"), log_options()).unwrap();
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        Copier::new(&journals, topic.clone(), EventsMetrics::detached()).look().unwrap();
        let mut seen = BTreeMap::new();
        for event in topic.from_floor().next_batch(1_000).unwrap() {
            let record: CallRecord = serde_json::from_slice(&record::unpack(&event.value).unwrap()).unwrap();
            let id = record.cdr_id.to_string();
            let want = written.get(&id).unwrap_or_else(|| panic!("{round}: {id} was never written"));
            assert_eq!((&record.sip_call_id, &record.called), (&want.sip_call_id, &want.called));
            assert!(seen.insert(id, record.recovered).is_none(), "{round}: doubled");
        }
        lost += written.len() - seen.len();
        // A second start changes nothing.
        assert!(recover(&journals, &journal_options(), &mut |_| ()).unwrap().calls.is_empty(), "{round}");
    }
    assert!(lost > 100, "the mutations hit: {lost}");
}

#[test]
fn f_disk_03_a_mutated_log_gives_written_records_only_in_order() {
    let made = tempfile::tempdir().unwrap();
    let topic = EventLog::open(made.path(), log_options()).unwrap().topic("t").unwrap();
    let value = |n: u64| format!("record {n} {}", "x".repeat((n * 37 % 300) as usize));
    for n in 0..150 {
        topic.append_durable(b"k", value(n).as_bytes()).unwrap();
    }
    drop(topic);
    let segments = files(&made.path().join("t"), "log");
    assert!(segments.len() > 2);
    let mut rng = Rng(SplitMix::new(0x106));
    let mut lost = 0;
    for round in 0..300 {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t");
        std::fs::create_dir(&folder).unwrap();
        let victim = rng.below(segments.len());
        for (i, path) in segments.iter().enumerate() {
            let bytes = std::fs::read(path).unwrap();
            let bytes = if i == victim { mutated(&mut rng, &bytes) } else { bytes };
            std::fs::write(folder.join(path.file_name().unwrap()), bytes).unwrap();
        }
        let log = EventLog::open(dir.path(), log_options()).unwrap();
        let topic = match log.topic("t") {
            Ok(topic) => topic,
            Err(EventsError::Version { .. }) => continue,
            Err(error) => panic!("{round}: {error}"),
        };
        let mut reader = topic.from_floor();
        let mut last = None;
        let mut count = 0;
        while reader.cursor() != topic.end() {
            for event in reader.next_batch(17).unwrap() {
                assert!(last.is_none_or(|l| l < event.offset), "{round}: out of order");
                last = Some(event.offset);
                assert_eq!(event.value, value(event.offset).as_bytes(), "{round}");
                count += 1;
            }
        }
        lost += 150 - count;
        // Numbers go on behind everything that was read.
        let number = topic.append_durable(b"k", b"next").unwrap();
        assert!(last.is_none_or(|l| l < number), "{round}");
    }
    assert!(lost > 100, "the mutations hit: {lost}");
}
