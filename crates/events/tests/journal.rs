//! Journal, recovery, pump and log together: crashes, full disks, damaged files.

mod records;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use records::call;
use warp_events::journal::{BACKLOG_RECORDS, kind};
use warp_events::pump::Copier;
use warp_events::segment::{self, Item, Scan};
use warp_events::*;
use warp_model::Wall;
use warp_model::cdr::{CDR_VERSION, CallRecord, JournalRecord, Outcome};

const CHILD_DIR: &str = "WARP_EVENTS_TEST_CHILD_DIR";

fn options(segment_bytes: u64) -> JournalOptions {
    JournalOptions { segment_bytes, ..JournalOptions::new(EventsMetrics::detached()) }
}

fn topic(dir: &Path) -> (EventLog, Topic) {
    let log_options = LogOptions { segment_bytes: 64 << 10, ..LogOptions::new(EventsMetrics::detached()) };
    let log = EventLog::open(dir, log_options).unwrap();
    let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
    (log, topic)
}

/// Copies everything and counts the records by id.
fn pumped(journals: &Path, topic: &Topic) -> BTreeMap<String, Vec<CallRecord>> {
    Copier::new(journals, topic.clone(), EventsMetrics::detached()).look().unwrap();
    let mut by_id: BTreeMap<String, Vec<CallRecord>> = BTreeMap::new();
    let mut reader = topic.from_floor();
    loop {
        let batch = reader.next_batch(100).unwrap();
        if batch.is_empty() {
            return by_id;
        }
        for event in batch {
            let record: CallRecord = serde_json::from_slice(&record::unpack(&event.value).unwrap()).unwrap();
            assert_eq!(event.key, record.cdr_id.to_string().into_bytes());
            by_id.entry(record.cdr_id.to_string()).or_default().push(record);
        }
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "jrn"))
        .collect();
    all.sort();
    all
}

/// What the killed child does; nothing when run as an ordinary test.
#[test]
fn child_appends_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let mut journal = Journal::open(Path::new(&dir), 0, options(256 << 10)).unwrap();
    let mut out = std::io::stdout().lock();
    for n in 0u128.. {
        journal.append(&JournalRecord::Answered(call(n, true))).unwrap();
        writeln!(out, "answered {}", call(n, true).cdr_id).unwrap();
        // Two of three calls end; every tenth call was never answered.
        if n % 3 != 0 {
            journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
            writeln!(out, "ended {}", call(n, true).cdr_id).unwrap();
        }
        if n % 10 == 0 {
            let busy = call(n + (1 << 40), false);
            let line = format!("ended {}", busy.cdr_id);
            journal.append(&JournalRecord::Ended(busy)).unwrap();
            writeln!(out, "{line}").unwrap();
        }
        journal.heartbeat(Wall(0)).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn f_proc_01_every_acknowledged_call_is_in_the_ledger_exactly_once_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_appends_until_killed", "--nocapture"])
        .env(CHILD_DIR, dir.path().join("journal"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = BTreeMap::new();
    let mut read = 0;
    while read < 2_500 {
        let line = lines.next().unwrap().unwrap();
        if let Some((what, id)) = line.split_once(' ')
            && id.starts_with("call_")
        {
            acknowledged.insert(id.to_owned(), what.to_owned());
            read += 1;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.map_while(Result::ok) {
        if let Some((what, id)) = line.split_once(' ')
            && id.starts_with("call_")
            && id.len() == 31
        {
            acknowledged.insert(id.to_owned(), what.to_owned());
        }
    }
    let journals = dir.path().join("journal");
    let first = recover(&journals, &options(1 << 20), &mut |call| {
        call.node = "finished".into();
    })
    .unwrap();
    // A crash right after recovery repeats to the same result.
    let second = recover(&journals, &options(1 << 20), &mut |_| ()).unwrap();
    assert!(second.calls.is_empty());
    let (_log, topic) = topic(&dir.path().join("log"));
    let ledger = pumped(&journals, &topic);
    // The kill may have come between the write of an end and the word of it: then the newest call is ended, not recovered.
    let mut ahead = 0;
    for (id, what) in &acknowledged {
        let records = ledger.get(id).unwrap_or_else(|| panic!("{what} {id} is lost"));
        assert_eq!(records.len(), 1, "{id} is doubled");
        if what == "answered" && !records[0].recovered {
            ahead += 1;
            continue;
        }
        assert_eq!(records[0].recovered, what == "answered", "{id}");
        if what == "answered" {
            assert_eq!(records[0].outcome, Outcome::Answered);
            assert_eq!(records[0].internal_code, "process_restart");
            assert_eq!(records[0].node, "finished");
        }
    }
    // The child may have written one record more than it told about.
    assert!(ahead <= 1, "{ahead} ends that nobody was told of");
    assert!(ledger.len() <= acknowledged.len() + 1);
    assert!(first.calls.len() + ahead >= acknowledged.values().filter(|w| *w == "answered").count());
    assert!(segments(&journals).is_empty(), "all copied, all deleted");
}

#[test]
fn recovered_calls_last_until_the_last_heartbeat() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 0, options(1 << 20)).unwrap();
    journal.append(&JournalRecord::Answered(call(1, true))).unwrap();
    journal.heartbeat(Wall(5)).unwrap();
    drop(journal);
    // Rewrite the file with known stamps: answered at 10 s, heartbeat at 73.5 s, as a dead run would leave it.
    let path = segments(dir.path()).remove(0);
    let (header, bytes) = segment::read(&path).unwrap().unwrap();
    let stamps = [10_000_000_000u64, 73_500_000_000];
    let mut out = header.encode().to_vec();
    for (item, stamp) in Scan::new(&header, &bytes).zip(stamps) {
        let Item::Frame(frame) = item else { panic!() };
        let position = out.len() as u64;
        segment::encode_frame(&header, position, frame.kind, stamp, frame.payload, &mut out).unwrap();
    }
    std::fs::write(&path, out).unwrap();
    let recovery = recover(dir.path(), &options(1 << 20), &mut |_| ()).unwrap();
    assert_eq!(recovery.calls.len(), 1);
    let record = &recovery.calls[0];
    assert_eq!(record.duration_ms, 63_500);
    assert_eq!(record.end_at, record.answer_at.unwrap().plus(Duration::from_millis(63_500)));
    assert!(record.recovered);
}

#[test]
fn f_upg_02_fields_of_a_newer_version_pass_and_a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    std::fs::create_dir(&journals).unwrap();
    let header =
        segment::Header { kind: segment::SegmentKind::Journal, shard: 0, run: 5, first: 0, created: Wall(0) };
    // Two calls as a newer version would write them: one that ended, one in the air.
    let newer = |n: u128| {
        let mut json = serde_json::to_value(call(n, true)).unwrap();
        json["version"] = (CDR_VERSION + 1).into();
        json["ocn"] = "9206".into();
        json["fraud"] = serde_json::json!({ "score": [1, 2] });
        serde_json::to_vec(&json).unwrap()
    };
    let mut out = header.encode().to_vec();
    for (kind, n) in [(kind::ANSWERED, 1), (kind::ENDED, 1), (kind::ANSWERED, 2), (200, 3)] {
        let position = out.len() as u64;
        segment::encode_frame(&header, position, kind, position, &newer(n), &mut out).unwrap();
    }
    std::fs::write(journals.join(format!("{:032x}-00000-00000000.jrn", 5)), out).unwrap();
    let recovery = recover(&journals, &options(1 << 20), &mut |_| ()).unwrap();
    assert_eq!((recovery.calls.len(), recovery.damaged), (1, 0));
    let (_log, topic) = topic(&dir.path().join("log"));
    assert_eq!(pumped(&journals, &topic).len(), 2);
    // The finished record is passed on byte for byte.
    let first = topic.from_floor().next_batch(1).unwrap().remove(0);
    assert_eq!(*record::unpack(&first.value).unwrap(), newer(1));
    // A file of another format is named, and nothing is done to it.
    let mut other = header.encode();
    other[8] = 2;
    let crc = crc32c::crc32c(&other[..60]);
    other[60..].copy_from_slice(&crc.to_le_bytes());
    let path = journals.join(format!("{:032x}-00000-00000001.jrn", 5));
    std::fs::write(&path, other).unwrap();
    let refused = recover(&journals, &options(1 << 20), &mut |_| ()).unwrap_err();
    assert!(matches!(refused, EventsError::Version { found: 2, .. }), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), other);
}

#[test]
fn f_time_01_a_wall_clock_that_jumps_changes_no_duration() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 0, options(1 << 20)).unwrap();
    journal.append(&JournalRecord::Answered(call(1, true))).unwrap();
    let hour = 3_600_000_000i64;
    for jump in [0, hour, -hour, 0] {
        journal.heartbeat(Wall(1_700_000_000_000_000 + jump)).unwrap();
    }
    drop(journal);
    let path = segments(dir.path()).remove(0);
    let (header, bytes) = segment::read(&path).unwrap().unwrap();
    // The run's monotonic clock: a second between the signs of life.
    let mut out = header.encode().to_vec();
    for (item, n) in Scan::new(&header, &bytes).zip(0u64..5) {
        let Item::Frame(frame) = item else { panic!() };
        let position = out.len() as u64;
        let stamp = 50_000_000_000 + n * 1_000_000_000;
        segment::encode_frame(&header, position, frame.kind, stamp, frame.payload, &mut out).unwrap();
    }
    std::fs::write(&path, out).unwrap();
    let recovery = recover(dir.path(), &options(1 << 20), &mut |_| ()).unwrap();
    assert_eq!(recovery.calls.len(), 1);
    assert_eq!(recovery.calls[0].duration_ms, 4_000);
}

#[test]
fn f_time_01_a_clock_that_went_back_before_the_restart_doubles_and_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    journal.append(&JournalRecord::Answered(call(1, true))).unwrap();
    journal.heartbeat(Wall(0)).unwrap();
    drop(journal);
    // As a run of an hour ahead would have written it.
    let path = segments(&journals).remove(0);
    let (header, bytes) = segment::read(&path).unwrap().unwrap();
    let ahead = segment::Header { run: header.run + (3_600_000_000u128 << 64), ..header.clone() };
    let mut out = ahead.encode().to_vec();
    for item in Scan::new(&header, &bytes).take(2) {
        let Item::Frame(frame) = item else { panic!() };
        let position = out.len() as u64;
        segment::encode_frame(&ahead, position, frame.kind, frame.stamp, frame.payload, &mut out).unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::write(journals.join(format!("{:032x}-00000-00000000.jrn", ahead.run)), out).unwrap();
    assert_eq!(recover(&journals, &options(1 << 20), &mut |_| ()).unwrap().calls.len(), 1);
    let (_log, topic) = topic(&dir.path().join("log"));
    assert_eq!(pumped(&journals, &topic).len(), 1);
    assert!(segments(&journals).is_empty(), "the end was read after the beginning: nothing is kept");
    assert!(recover(&journals, &options(1 << 20), &mut |_| ()).unwrap().calls.is_empty());
    assert_eq!(topic.waiting(&topic.floor()).unwrap(), 1);
}

#[test]
fn f_disk_03_a_torn_tail_is_put_aside_and_metered() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 0, options(1 << 20)).unwrap();
    for n in 0..5 {
        journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
    }
    drop(journal);
    let path = segments(dir.path()).remove(0);
    let (header, bytes) = segment::read(&path).unwrap().unwrap();
    let ends: Vec<u64> = Scan::new(&header, &bytes)
        .filter_map(|i| match i {
            Item::Frame(f) if f.kind == kind::ENDED => Some(f.end()),
            _ => None,
        })
        .collect();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // The last record is cut in its middle, and what follows is rubbish.
    file.set_len(ends[3] + 30).unwrap();
    file.write_all_at(b"rubbish", ends[3] + 40).unwrap();
    let opts = options(1 << 20);
    let recovery = recover(dir.path(), &opts, &mut |_| ()).unwrap();
    assert_eq!((recovery.records, recovery.damaged), (4, 1));
    assert_eq!(opts.metrics.torn.value(()), 1);
    assert_eq!(opts.metrics.torn_bytes.value(()), 47);
    let aside: Vec<_> = std::fs::read_dir(dir.path().join("torn")).unwrap().collect();
    assert_eq!(aside.len(), 1);
    let (_log, topic) = topic(&dir.path().join("log"));
    assert_eq!(pumped(dir.path(), &topic).len(), 4);
}

#[test]
fn f_disk_01_full_disk_refuses_new_calls_ends_running_ones_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let opts = JournalOptions { limit_bytes: 2 * 16_384, ..options(16_384) };
    let mut journal = Journal::open(&journals, 0, opts.clone()).unwrap();
    assert!(journal.accepting());
    let watch = journal.watch();
    // Fill the first segment: the spare is taken into use and no further one can be made.
    let mut n = 0;
    wait_until(|| {
        if journal.append(&JournalRecord::Answered(call(n, true))).is_ok() {
            n += 1;
        }
        !watch.accepting()
    });
    // Running calls still end, in the reserved segment.
    let reserved = 5;
    for i in 0..reserved {
        journal.append(&JournalRecord::Ended(call(i, true))).unwrap();
    }
    // Beyond it a finished record waits in memory.
    let mut held = 0;
    for i in reserved..n {
        if journal.append(&JournalRecord::Ended(call(i, true))).is_err() {
            held += 1;
        }
    }
    assert!(held > 0 && held < BACKLOG_RECORDS as u128);
    assert_eq!(opts.metrics.backlog.value(()), held as i64);
    assert_eq!(opts.metrics.refusing.value(()), 1);
    assert!(matches!(journal.append(&JournalRecord::Answered(call(999, true))), Err(EventsError::Full)));
    // Somebody makes space: here the pump, which deletes what is copied and closed.
    let (_log, topic) = topic(&dir.path().join("log"));
    let mut copier = Copier::new(&journals, topic.clone(), EventsMetrics::detached());
    copier.look().unwrap();
    let first = segments(&journals);
    if first.len() == 2 {
        // Calls answered in the first segment are still open for the pump: their ends are in memory. An operator helps.
        std::fs::rename(&first[0], dir.path().join("moved")).unwrap();
    }
    wait_until(|| {
        // Signs of life only as long as something waits: thousands of them would fill each segment that comes free.
        if opts.metrics.backlog.value(()) > 0 {
            let _ = journal.heartbeat(Wall(0));
        }
        copier.look().unwrap();
        watch.accepting() && opts.metrics.backlog.value(()) == 0
    });
    assert_eq!(opts.metrics.refusing.value(()), 0);
    drop(journal);
    assert_eq!(pumped(&journals, &topic).len(), n as usize);
}

/// A file system of its own, of so many bytes; `None` where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|s| s.success()).then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn f_disk_01_on_a_real_full_file_system_running_calls_end_and_new_ones_wait_for_space() {
    let Some(disk) = SmallDisk::mount(1 << 20) else {
        println!("skipped: f_disk_01 on a real file system: only root may mount one");
        return;
    };
    let journals = disk.0.path().join("journal");
    let opts = options(256 << 10);
    let mut journal = Journal::open(&journals, 0, opts.clone()).unwrap();
    // Somebody else fills the disk to the last byte.
    let filler = disk.0.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[1; 4_096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // Calls come and go in the space that was there; nine of ten end at once.
    let (mut running, mut n) = (Vec::new(), 0);
    while journal.append(&JournalRecord::Answered(call(n, true))).is_ok() {
        if n % 10 == 0 {
            running.push(n);
        } else {
            journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
        }
        n += 1;
    }
    assert!(!journal.accepting());
    assert!(running.len() > 3, "{running:?}");
    assert!(matches!(journal.append(&JournalRecord::Answered(call(n, true))), Err(EventsError::Full)));
    // Every one of them ends with a record, in reserved blocks: none waits in memory.
    for call_number in &running {
        journal.append(&JournalRecord::Ended(call(*call_number, true))).unwrap();
    }
    assert_eq!(opts.metrics.backlog.value(()), 0);
    // The log that the pump would copy to lies on the same disk: nothing is lost by that.
    let log_dir = disk.0.path().join("log");
    let log = EventLog::open(
        &log_dir,
        LogOptions { segment_bytes: 64 << 10, ..LogOptions::new(EventsMetrics::detached()) },
    );
    assert!(log.is_err() || log.is_ok_and(|l| l.topic(TOPIC_CDR_VOICE).is_err()));
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    wait_until(|| journal.accepting());
    journal.append(&JournalRecord::Answered(call(n, true))).unwrap();
    journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
    drop(journal);
    let recovery = recover(&journals, &options(64 << 10), &mut |_| ()).unwrap();
    assert_eq!((recovery.calls.len(), recovery.damaged), (0, 0));
    let elsewhere = tempfile::tempdir().unwrap();
    let (_log, topic) = topic(elsewhere.path());
    let ledger = pumped(&journals, &topic);
    assert_eq!(ledger.len() as u128, n + 1);
    assert!(ledger.values().all(|records| records.len() == 1));
}

#[test]
fn segments_stay_while_a_call_answered_in_them_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let (_log, topic) = topic(&dir.path().join("log"));
    let mut copier = Copier::new(&journals, topic.clone(), EventsMetrics::detached());
    let mut journal = Journal::open(&journals, 0, options(16_384)).unwrap();
    journal.append(&JournalRecord::Answered(call(0, true))).unwrap();
    let first = segments(&journals).remove(0);
    for n in 1..100 {
        journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
        copier.look().unwrap();
    }
    // The others go once what was copied of them is durable.
    wait_until(|| {
        copier.look().unwrap();
        segments(&journals).len() <= 4
    });
    assert!(first.exists());
    journal.append(&JournalRecord::Ended(call(0, true))).unwrap();
    wait_until(|| {
        copier.look().unwrap();
        !first.exists()
    });
    assert_eq!(topic.waiting(&topic.floor()).unwrap(), 100);
}

#[test]
fn the_pump_copies_while_the_journal_is_written_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let metrics = EventsMetrics::detached();
    {
        let (_log, topic) = topic(&dir.path().join("log"));
        let mut journal = Journal::open(&journals, 7, options(32 << 10)).unwrap();
        let pump = Pump::start(&journals, topic.clone(), PumpOptions::default(), metrics.clone()).unwrap();
        let mut reader = topic.from_floor();
        for n in 0..300 {
            journal.append(&JournalRecord::Ended(call(n, true))).unwrap();
        }
        let mut seen = 0;
        while seen < 300 {
            assert!(reader.wait(Duration::from_secs(20)), "{seen}");
            seen += reader.next_batch(1_000).unwrap().len();
        }
        drop(journal);
        drop(pump);
    }
    assert!(segments(&journals).is_empty());
    let (_log, topic) = topic(&dir.path().join("log"));
    assert_eq!(topic.waiting(&topic.floor()).unwrap(), 300);
    let mut journal = Journal::open(&journals, 7, options(32 << 10)).unwrap();
    journal.append(&JournalRecord::Ended(call(300, true))).unwrap();
    drop(journal);
    let ledger = pumped(&journals, &topic);
    assert_eq!(ledger.len(), 301);
    assert!(ledger.values().all(|records| records.len() == 1));
}

#[test]
fn recovery_refuses_journals_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), 0, options(16_384)).unwrap();
    assert!(recover(dir.path(), &options(16_384), &mut |_| ()).is_err());
    drop(journal);
    assert!(recover(dir.path(), &options(16_384), &mut |_| ()).is_ok());
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not reached in 30 s");
        std::thread::yield_now();
    }
}

#[test]
fn records_are_counted_by_kind_and_only_ends_are_call_records() {
    use warp_events::metrics::{RecordKind, Sink, WriteResult};
    let dir = tempfile::tempdir().unwrap();
    let opts = options(1 << 20);
    let mut journal = Journal::open(dir.path(), 0, opts.clone()).unwrap();
    journal.append(&JournalRecord::Answered(call(1, true))).unwrap();
    journal.append(&JournalRecord::Answered(call(2, true))).unwrap();
    journal.append(&JournalRecord::Ended(call(1, true))).unwrap();
    journal.heartbeat(Wall(0)).unwrap();
    let m = &opts.metrics;
    let counted =
        [RecordKind::Answered, RecordKind::Ended, RecordKind::Heartbeat].map(|k| m.journal_records.value(k));
    assert_eq!(counted, [2, 1, 1]);
    assert_eq!(m.cdr_written.value((Sink::Journal, WriteResult::Ok)), 1);
    assert_eq!((m.backlog.value(()), m.refusing.value(())), (0, 0));
}

/// A run's number is its time, its process and which journal of the process it is: two journals never share one.
#[test]
fn a_run_is_told_apart_by_time_process_and_count() {
    let (before, pid) =
        (std::time::UNIX_EPOCH.elapsed().unwrap().as_micros(), u128::from(std::process::id()));
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        let _journal = Journal::open(dir.path(), 0, options(16_384)).unwrap();
        let first = segments(dir.path()).remove(0);
        let name = first.file_name().unwrap().to_str().unwrap();
        u128::from_str_radix(&name[..32], 16).unwrap()
    };
    let (a, b) = (run(), run());
    let after = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    for run in [a, b] {
        assert!((before..=after).contains(&(run >> 64)), "{run:x}");
        assert_eq!((run >> 32) & 0xFFFF_FFFF, pid, "{run:x}");
    }
    // Other tests of this process open journals too.
    let count = |run: u128| run & 0xFFFF_FFFF;
    assert!(count(a) < count(b) && count(b) < 10_000, "{a:x} {b:x}");
}

/// The last segment that the disk has room for takes answers in its first quarter; the rest is for ends.
#[test]
fn f_disk_01_three_quarters_of_the_last_segment_are_kept_for_ends() {
    const SIZE: u64 = 16_384;
    let dir = tempfile::tempdir().unwrap();
    let opts = JournalOptions { limit_bytes: 2 * SIZE, ..options(SIZE) };
    let mut journal = Journal::open(dir.path(), 0, opts).unwrap();
    let mut n = 0;
    while journal.append(&JournalRecord::Answered(call(n, true))).is_ok() {
        n += 1;
    }
    let both = segments(dir.path());
    assert_eq!(both.len(), 2);
    let (header, bytes) = segment::read(&both[1]).unwrap().unwrap();
    let frames: Vec<(u64, u64)> = Scan::new(&header, &bytes)
        .map(|item| match item {
            Item::Frame(frame) => (frame.position, frame.end()),
            Item::Damaged(range) => panic!("{range:?}"),
        })
        .collect();
    let (begins, ends) = *frames.last().unwrap();
    assert!(begins <= SIZE / 4 && ends > SIZE / 4, "the last answer: {begins}..{ends}");
    let ended = (0..n).take_while(|i| journal.append(&JournalRecord::Ended(call(*i, true))).is_ok()).count();
    let fit = (SIZE - ends) / (ends - begins);
    assert!(ended as u64 + 2 >= fit, "{ended} ends of about {fit}");
}

/// Recovery writes the ends of calls only: it asks for two small segments, however large those of the shards are.
#[test]
fn f_disk_01_recovery_needs_no_room_for_large_segments() {
    let dir = tempfile::tempdir().unwrap();
    let opts = JournalOptions { limit_bytes: 56 << 20, ..options(24 << 20) };
    let mut journal = Journal::open(dir.path(), 0, opts.clone()).unwrap();
    journal.append(&JournalRecord::Answered(call(1, true))).unwrap();
    drop(journal);
    assert_eq!(recover(dir.path(), &opts, &mut |_| ()).unwrap().calls.len(), 1);
}

/// Bytes that are no record, a record that is no call, a file without a header: each is one damaged place.
#[test]
fn f_disk_03_recovery_counts_what_it_read_and_what_it_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let header =
        segment::Header { kind: segment::SegmentKind::Journal, shard: 0, run: 5, first: 0, created: Wall(0) };
    let name = |first: u32| dir.path().join(format!("{:032x}-00000-{first:08}.jrn", 5));
    let mut out = header.encode().to_vec();
    let good = serde_json::to_vec(&call(1, true)).unwrap();
    for (kind, payload) in
        [(kind::ANSWERED, &good[..]), (kind::ENDED, b"{}"), (kind::ENDED, b"[1]"), (kind::ENDED, &good)]
    {
        let position = out.len() as u64;
        segment::encode_frame(&header, position, kind, position, payload, &mut out).unwrap();
    }
    std::fs::write(name(0), &out).unwrap();
    let opts = options(1 << 20);
    let recovery = recover(dir.path(), &opts, &mut |_| ()).unwrap();
    assert_eq!((recovery.calls.len(), recovery.records, recovery.damaged), (0, 4, 2));
    assert_eq!(opts.metrics.torn.value(()), 2);
    out.extend_from_slice(&[7; 30]);
    std::fs::write(name(0), &out).unwrap();
    std::fs::write(name(1), b"no header").unwrap();
    let recovery = recover(dir.path(), &options(1 << 20), &mut |_| ()).unwrap();
    assert_eq!((recovery.calls.len(), recovery.records, recovery.damaged), (0, 4, 4));
    assert!(!name(1).exists());
}

/// A node that never ran has nothing to recover; a folder that cannot be read is an error, not a node that never ran.
#[test]
fn f_disk_02_a_folder_that_is_not_there_is_empty_and_one_that_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = recover(&dir.path().join("none"), &options(16_384), &mut |_| ()).unwrap();
    assert_eq!((nothing.calls.len(), nothing.records, nothing.damaged), (0, 0, 0));
    let file = dir.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let refused = recover(&file, &options(16_384), &mut |_| ()).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("list {}", file.display())), "{refused}");
}
