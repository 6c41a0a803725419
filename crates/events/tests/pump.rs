//! What the pump keeps besides the records: which calls have ended, and what customers spent today.

mod records;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use warp_events::journal::kind;
use warp_events::pump::Copier;
use warp_events::segment::{self, Header, SegmentKind};
use warp_events::*;
use warp_model::cdr::{CallRating, CallRecord, JournalRecord, RatedSide};
use warp_model::{CallId, Currency, CustomerId, Nanos, TrunkId, Wall};

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Wall(i64::try_from(since.as_micros()).unwrap())
}

fn side(charge: i64) -> RatedSide {
    RatedSide {
        deck_version: "deck_x@1".into(),
        prefix: "1415".into(),
        rate_per_min: Nanos(12_000_000),
        increment_initial_s: 6,
        increment_next_s: 6,
        setup_fee: Nanos(0),
        billable_s: 60,
        charge: Nanos(charge),
        currency: Currency::USD,
        sum: String::new(),
    }
}

fn call(n: u128, setup_at: Wall, charge: Option<i64>) -> Box<CallRecord> {
    Box::new(CallRecord {
        cdr_id: CallId::new(setup_at, n),
        customer_id: Some(CustomerId::from_u128(1)),
        trunk_id: Some(TrunkId::from_u128(n % 2)),
        setup_at,
        answer_at: Some(setup_at),
        end_at: setup_at,
        duration_ms: 60_000,
        rating: charge.map(|c| CallRating { sell: side(c), buy: side(1), margin: None }),
        ..*records::call(n, true)
    })
}

fn options(segment_bytes: u64) -> JournalOptions {
    JournalOptions { segment_bytes, ..JournalOptions::new(EventsMetrics::detached()) }
}

fn topic(dir: &Path, segment_bytes: u64) -> Topic {
    let log_options = LogOptions { segment_bytes, ..LogOptions::new(EventsMetrics::detached()) };
    EventLog::open(dir, log_options).unwrap().topic(TOPIC_CDR_VOICE).unwrap()
}

fn copier(journals: &Path, topic: &Topic) -> Copier {
    Copier::new(journals, topic.clone(), EventsMetrics::detached())
}

/// Records of the topic, none of which was deleted.
fn written(topic: &Topic) -> u64 {
    topic.waiting(&topic.floor()).unwrap()
}

fn records(topic: &Topic) -> Vec<CallRecord> {
    let (mut reader, mut out) = (topic.from_floor(), Vec::new());
    while reader.cursor() != topic.end() {
        for event in reader.next_batch(100).unwrap() {
            out.push(serde_json::from_slice(&record::unpack(&event.value).unwrap()).unwrap());
        }
    }
    out
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = all.filter(|p| p.extension().is_some_and(|e| e == "jrn")).collect();
    all.sort();
    all
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not reached in 30 s");
        std::thread::yield_now();
    }
}

/// A long call keeps its segment; a short one that was answered in the same segment ended in one that is copied and gone.
#[test]
fn f_proc_01_a_byes_record_that_was_copied_and_deleted_beats_a_heartbeats_end() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let topic = topic(&dir.path().join("log"), 1 << 20);
    let mut copier = copier(&journals, &topic);
    let mut journal = Journal::open(&journals, 0, options(16_384)).unwrap();
    let (long, short) = (call(1, Wall(1), None), call(2, Wall(1), Some(5)));
    journal.append(&JournalRecord::Answered(long.clone())).unwrap();
    journal.append(&JournalRecord::Answered(short.clone())).unwrap();
    let first = segments(&journals).remove(0);
    let filler = |journal: &mut Journal, n: u128| {
        journal.append(&JournalRecord::Ended(call(n, Wall(1), None))).unwrap();
    };
    // The end of the short call goes to the second segment …
    let second = segments(&journals).remove(1);
    let mut n = 100;
    while segments(&journals).len() < 3 {
        filler(&mut journal, n);
        n += 1;
    }
    journal.append(&JournalRecord::Ended(short.clone())).unwrap();
    // … which is copied and deleted while the first one stays.
    wait_until(|| {
        filler(&mut journal, n);
        n += 1;
        copier.look().unwrap();
        !second.exists()
    });
    assert!(first.exists());
    let before = written(&topic);
    // kill -9: the files as they are, the copier's memory gone.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&journals).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        std::fs::copy(&entry, copy.join(entry.file_name().unwrap())).unwrap();
    }
    let recovered = recover(&copy, &options(16_384), &mut |_| ()).unwrap();
    let ids: Vec<CallId> = recovered.calls.iter().map(|c| c.cdr_id).collect();
    assert_eq!(ids, [long.cdr_id], "the short call has ended, and its record says when");
    Copier::new(&copy, topic.clone(), EventsMetrics::detached()).look().unwrap();
    let of_short: Vec<bool> =
        records(&topic).iter().filter(|r| r.cdr_id == short.cdr_id).map(|r| r.recovered).collect();
    assert_eq!(of_short, [false]);
    assert!(written(&topic) > before);
}

/// After a failed sync an answer is written again, with a later stamp.
#[test]
fn an_answer_that_was_written_twice_lasts_from_the_first_time_on() {
    let dir = tempfile::tempdir().unwrap();
    let header = Header { kind: SegmentKind::Journal, shard: 0, run: 1 << 64, first: 0, created: Wall(1) };
    let mut bytes = header.encode().to_vec();
    let answered = serde_json::to_vec(&*call(1, Wall(1), None)).unwrap();
    for (what, stamp_s, payload) in [
        (kind::ANSWERED, 1, &answered[..]),
        (kind::ANSWERED, 5, &answered[..]),
        (kind::HEARTBEAT, 11, &[0; 8][..]),
    ] {
        let position = bytes.len() as u64;
        segment::encode_frame(&header, position, what, stamp_s * 1_000_000_000, payload, &mut bytes).unwrap();
    }
    std::fs::write(dir.path().join(format!("{:032x}-00000-00000000.jrn", 1u128 << 64)), bytes).unwrap();
    let recovered = recover(dir.path(), &options(16_384), &mut |_| ()).unwrap();
    let durations: Vec<u64> = recovered.calls.iter().map(|c| c.duration_ms).collect();
    assert_eq!(durations, [10_000]);
}

#[test]
fn large_and_many_records_are_copied_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let topic = topic(&dir.path().join("log"), 1 << 20);
    let mut journal = Journal::open(&journals, 0, options(4 << 20)).unwrap();
    let mut copier = copier(&journals, &topic);
    let mut want = Vec::new();
    for n in 0..400u128 {
        let mut record = call(n, Wall(1), None);
        if n % 100 == 50 {
            record.sip_call_id = "x".repeat(900_000 / (1 + n as usize / 100));
        }
        want.push((record.cdr_id, record.sip_call_id.len()));
        journal.append(&JournalRecord::Ended(record)).unwrap();
        if n % 37 == 0 {
            copier.look().unwrap();
        }
    }
    copier.look().unwrap();
    let got: Vec<_> = records(&topic).iter().map(|r| (r.cdr_id, r.sip_call_id.len())).collect();
    assert_eq!(got, want);
    drop(journal);
    copier.look().unwrap();
    assert!(segments(&journals).is_empty());
}

fn sums(spent: &[Spent]) -> Vec<(u128, i64)> {
    let mut by_trunk = std::collections::BTreeMap::new();
    for s in spent {
        assert_eq!(s.customer, CustomerId::from_u128(1));
        *by_trunk.entry(s.trunk.as_u128()).or_insert(0) += s.amount.0;
    }
    by_trunk.into_iter().collect()
}

#[test]
fn t_sip_06_what_was_spent_today_survives_a_restart_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let log = dir.path().join("log");
    let today = now();
    let yesterday = Wall(today.0 - 25 * 3_600_000_000);
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    for n in 0..10 {
        journal.append(&JournalRecord::Ended(call(n, today, Some(100)))).unwrap();
    }
    // Not today, not answered, and not over.
    journal.append(&JournalRecord::Ended(call(20, yesterday, Some(1_000_000)))).unwrap();
    journal.append(&JournalRecord::Ended(call(21, today, None))).unwrap();
    journal.append(&JournalRecord::Answered(call(22, today, None))).unwrap();
    let spend = |topic: &Topic| {
        let mut copier = copier(&journals, topic);
        copier.look().unwrap();
        sums(&copier.spent())
    };
    let want = vec![(0, 500), (1, 500)];
    assert_eq!(spend(&topic(&log, 1 << 20)), want);
    // kill -9 before anything was saved: the records are copied again, and count once.
    assert!(!journals.join("pump.cursor").exists());
    assert_eq!(spend(&topic(&log, 1 << 20)), want);
    // A start in good order, twice; the second one begins at the checkpoint.
    for _ in 0..2 {
        let topic = topic(&log, 1 << 20);
        let pump = Pump::start(&journals, topic, PumpOptions::default(), EventsMetrics::detached()).unwrap();
        assert_eq!(sums(pump.spent()), want);
    }
    assert!(journals.join("spend.state").exists());
    journal.append(&JournalRecord::Ended(call(30, today, Some(7)))).unwrap();
    assert_eq!(spend(&topic(&log, 1 << 20)), [(0, 507), (1, 500)]);
    // A damaged checkpoint, one of a newer version, a lost cursor: the event log knows.
    std::fs::write(journals.join("spend.state"), "spend-v1 00000000\ncursor 3 x\n").unwrap();
    assert_eq!(spend(&topic(&log, 1 << 20)), [(0, 507), (1, 500)]);
    std::fs::write(journals.join("spend.state"), "spend-v2 00000000\n").unwrap();
    std::fs::remove_file(journals.join("pump.cursor")).unwrap();
    assert_eq!(spend(&topic(&log, 1 << 20)), [(0, 507), (1, 500)]);
    // The journals are gone: all of it is in the log.
    drop(journal);
    assert_eq!(spend(&topic(&log, 1 << 20)), [(0, 507), (1, 500)]);
}

/// A call that was cut off by the crash costs what recovery says it costs, and that counts like any other price of the day.
#[test]
fn t_sip_06_the_price_of_a_call_that_a_crash_cut_off_counts_for_the_day() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let topic = topic(&dir.path().join("log"), 1 << 20);
    let today = now();
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    journal.append(&JournalRecord::Ended(call(0, today, Some(100)))).unwrap();
    for n in [2, 4] {
        journal.append(&JournalRecord::Answered(call(n, today, None))).unwrap();
    }
    // One of them ended, and the process died before the other one did.
    journal.append(&JournalRecord::Ended(call(4, today, Some(1_000)))).unwrap();
    drop(journal);
    let mut priced = Vec::new();
    let recovered = recover(&journals, &options(1 << 20), &mut |call| {
        priced.push(call.cdr_id);
        call.rating = Some(CallRating { sell: side(20_000), buy: side(1), margin: None });
    })
    .unwrap();
    assert_eq!((recovered.calls.len(), priced), (1, vec![CallId::new(today, 2)]));
    for _ in 0..2 {
        let mut copier = copier(&journals, &topic);
        copier.look().unwrap();
        assert_eq!(sums(&copier.spent()), [(0, 21_100)]);
    }
    let ends = records(&topic).into_iter().filter(|r| r.recovered).count();
    assert_eq!(ends, 1);
}

/// Who takes the end of the topic for the end of what a dead process did must wait until its journals were read.
#[test]
fn f_proc_01_a_topic_is_behind_until_the_journals_of_earlier_runs_were_copied_once() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    journal.append(&JournalRecord::Ended(call(1, now(), Some(50)))).unwrap();
    drop(journal);
    let topic = topic(&dir.path().join("log"), 1 << 20);
    // The folder cannot be read: a file is in its place.
    let away = dir.path().join("away");
    std::fs::rename(&journals, &away).unwrap();
    std::fs::write(&journals, "no folder").unwrap();
    let pump =
        Pump::start(&journals, topic.clone(), PumpOptions::default(), EventsMetrics::detached()).unwrap();
    assert!(topic.is_behind());
    std::fs::remove_file(&journals).unwrap();
    std::fs::rename(&away, &journals).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while topic.is_behind() {
        assert!(std::time::Instant::now() < end, "still behind");
        std::thread::yield_now();
    }
    assert_eq!(topic.from_floor().next_batch(10).unwrap().len(), 1, "then its record is there");
    drop(pump);
    let pump =
        Pump::start(&journals, topic.clone(), PumpOptions::default(), EventsMetrics::detached()).unwrap();
    assert!(!topic.is_behind(), "a start that reads them at once is never behind");
    drop(pump);
}

#[test]
fn a_checkpoint_of_another_log_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let today = now();
    for round in 0..2u128 {
        let topic = topic(&dir.path().join(format!("log{round}")), 1 << 20);
        let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
        for n in 0..4 {
            journal.append(&JournalRecord::Ended(call(round * 10 + n, today, Some(50)))).unwrap();
        }
        drop(journal);
        let pump = Pump::start(&journals, topic, PumpOptions::default(), EventsMetrics::detached()).unwrap();
        assert_eq!(
            sums(pump.spent()),
            [(0, 100), (1, 100)],
            "round {round}: what the log of this round tells"
        );
    }
}

#[test]
fn the_quarter_hour_of_the_invite_is_what_counts() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let topic = topic(&dir.path().join("log"), 1 << 20);
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    let quarter = 900_000_000;
    let start = now().0.div_euclid(quarter) * quarter - 4 * quarter;
    for (n, at) in [(0, start), (2, start + quarter - 1), (4, start + quarter)] {
        journal.append(&JournalRecord::Ended(call(n, Wall(at), Some(1)))).unwrap();
    }
    let mut copier = copier(&journals, &topic);
    copier.look().unwrap();
    let got: Vec<(i64, i64)> = copier.spent().iter().map(|s| (s.at.0, s.amount.0)).collect();
    assert_eq!(got, [(start + quarter - 1_000_000, 2), (start + 2 * quarter - 1_000_000, 1)]);
}

/// Retention has taken the oldest records: the sums of the checkpoint hold, and without one the log tells what it still has.
#[test]
fn t_sip_06_a_checkpoint_tells_what_the_log_no_longer_holds() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let log = dir.path().join("log");
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    for n in 0..200 {
        journal.append(&JournalRecord::Ended(call(n, now(), Some(1)))).unwrap();
    }
    drop(journal);
    {
        let topic = topic(&log, 16 << 10);
        let pump =
            Pump::start(&journals, topic.clone(), PumpOptions::default(), EventsMetrics::detached()).unwrap();
        wait_until(|| written(&topic) == 200);
        drop(pump);
    }
    let folder = log.join(TOPIC_CDR_VOICE);
    let mut parts: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .collect();
    parts.sort();
    assert!(parts.len() > 2, "{parts:?}");
    std::fs::remove_file(&parts[0]).unwrap();
    let spent = || sums(&copier(&journals, &topic(&log, 16 << 10)).spent());
    assert_eq!(spent(), [(0, 100), (1, 100)]);
    std::fs::remove_file(journals.join("spend.state")).unwrap();
    let left: i64 = spent().iter().map(|(_, amount)| amount).sum();
    let second: i64 = parts[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(left, 200 - second);
}

/// A segment that is copied and cannot be deleted is an error that the next look meets again, until somebody has helped.
#[test]
fn f_disk_02_a_segment_that_cannot_be_deleted_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join("journal");
    let topic = topic(&dir.path().join("log"), 1 << 20);
    let mut copier = copier(&journals, &topic);
    let mut journal = Journal::open(&journals, 0, options(1 << 20)).unwrap();
    journal.append(&JournalRecord::Ended(call(0, now(), None))).unwrap();
    assert_eq!(copier.look().unwrap(), 1);
    let path = segments(&journals).remove(0);
    drop(journal);
    // A folder in its place: no user may delete that as a file, root neither.
    std::fs::rename(&path, dir.path().join("moved")).unwrap();
    std::fs::create_dir(&path).unwrap();
    for _ in 0..2 {
        let refused = copier.look().unwrap_err().to_string();
        assert!(refused.starts_with(&format!("delete {}", path.display())), "{refused}");
    }
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(copier.look().unwrap(), 0);
    assert_eq!(written(&topic), 1);
}
