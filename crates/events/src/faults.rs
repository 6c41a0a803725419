//! A disk that fails to order, and what journal and log make of it (F-DISK-02).
//!
//! It remembers what a sync made durable. `power_cut` puts that on disk in place of what the kernel showed: the worst that
//! a machine may do. After a failed sync, what it was to write never becomes durable, although the next sync says it worked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use warp_model::Wall;
use warp_model::cdr::{CallRecord, JournalRecord};

#[path = "../tests/records/mod.rs"]
mod records;

use self::records::call;
use crate::disk::Disk;
use crate::journal::UNSYNCED_RECORDS;
use crate::pump::Copier;
use crate::segment::{self, Header};
use crate::*;

mod floor;
mod gathered;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[derive(Default)]
struct Plan {
    create: Option<i32>,
    /// After so many bytes of the frame.
    write: Option<(usize, i32)>,
    sync: Option<i32>,
    remove: Option<i32>,
    /// Called between the steps of small files and deletions, with what was done.
    killed: Option<Box<dyn FnMut(&'static str) + Send>>,
    /// A sync does not come back while this is true.
    stall: bool,
    /// By inode.
    durable: BTreeMap<u64, Vec<u8>>,
    /// Files whose dirty pages were thrown away.
    thrown: BTreeSet<u64>,
    created: usize,
    writes: usize,
    syncs: usize,
    /// Called when a file was made, before its maker can do anything with it.
    peek: Option<Box<dyn FnMut() + Send>>,
    /// Copies of the descriptors of every file that is made, while it is there.
    copies: Option<Vec<File>>,
}

impl Plan {
    /// The inode of a removed file may come again.
    fn made(&mut self, file: &File) {
        let inode = file.metadata().unwrap().ino();
        self.thrown.remove(&inode);
        self.durable.remove(&inode);
        if let Some(copies) = &mut self.copies {
            copies.push(file.try_clone().unwrap());
        }
    }
}

#[derive(Default)]
pub(crate) struct Faults(Mutex<Plan>);

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap()
    }

    pub(crate) fn create(&self, path: &Path, header: &Header, bytes: u64) -> Result<File, EventsError> {
        let mut plan = self.plan();
        if let Some(errno) = plan.create {
            return Err(EventsError::io("allocate", path)(io::Error::from_raw_os_error(errno)));
        }
        plan.created += 1;
        let file = segment::create(path, header, bytes)?;
        plan.made(&file);
        if let Some(peek) = &mut plan.peek {
            peek();
        }
        Ok(file)
    }

    pub(crate) fn made(&self, file: &File) {
        self.plan().made(file);
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), EventsError> {
        match self.plan().remove {
            Some(errno) => Err(EventsError::io("remove", path)(io::Error::from_raw_os_error(errno))),
            None => Ok(()),
        }
    }

    pub(crate) fn step(&self, what: &'static str) {
        if let Some(killed) = &mut self.plan().killed {
            killed(what);
        }
    }

    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut plan = self.plan();
        plan.writes += 1;
        match plan.write {
            None => file.write_all_at(bytes, position),
            Some((part, errno)) => {
                file.write_all_at(bytes.get(..part).unwrap_or(bytes), position)?;
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    pub(crate) fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut plan = self.plan();
        while plan.stall {
            drop(plan);
            std::thread::yield_now();
            plan = self.plan();
        }
        let meta = file.metadata()?;
        plan.syncs += 1;
        if let Some(errno) = plan.sync {
            plan.thrown.insert(meta.ino());
            return Err(io::Error::from_raw_os_error(errno));
        }
        if !plan.thrown.contains(&meta.ino()) {
            let mut bytes = vec![0; meta.len() as usize];
            file.read_exact_at(&mut bytes, 0)?;
            plan.durable.insert(meta.ino(), bytes);
        }
        file.sync_data()
    }

    /// Every file of a folder becomes what was durable of it.
    fn power_cut(&self, dir: &Path) {
        let plan = self.plan();
        for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
            let meta = entry.metadata().unwrap();
            if meta.is_file() {
                let bytes = plan.durable.get(&meta.ino()).cloned().unwrap_or_default();
                let file = File::options().write(true).open(entry.path()).unwrap();
                file.set_len(0).unwrap();
                file.write_all_at(&bytes, 0).unwrap();
            }
        }
    }
}

fn answered(n: u128) -> JournalRecord {
    JournalRecord::Answered(call(n, true))
}

fn ended(n: u128) -> JournalRecord {
    JournalRecord::Ended(call(n, true))
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not reached in 30 s");
        std::thread::yield_now();
    }
}

struct Rig {
    folder: tempfile::TempDir,
    faults: Arc<Faults>,
    options: JournalOptions,
}

impl Rig {
    fn new() -> Rig {
        let faults = Arc::new(Faults::default());
        let options = JournalOptions {
            segment_bytes: 64 << 10,
            disk: Disk::faulty(&faults),
            ..JournalOptions::new(EventsMetrics::detached())
        };
        Rig { folder: tempfile::tempdir().unwrap(), faults, options }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("journal")
    }

    fn open(&self) -> Journal {
        Journal::open(&self.dir(), 0, self.options.clone()).unwrap()
    }

    /// As after a power cut: what a consumer that drops doubles by id gets, with how each call ended.
    fn ledger_after_power_cut(&self, journal: Journal) -> BTreeMap<String, bool> {
        self.faults.power_cut(&self.dir());
        let copy = self.folder.path().join("after");
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(self.dir()).unwrap().map(|e| e.unwrap()) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        }
        // The dead process, out of the way.
        drop(journal);
        self.ledger(&copy)
    }

    fn ledger(&self, dir: &Path) -> BTreeMap<String, bool> {
        let options = JournalOptions::new(EventsMetrics::detached());
        recover(dir, &JournalOptions { segment_bytes: 64 << 10, ..options }, &mut |_| ()).unwrap();
        let log_options =
            LogOptions { segment_bytes: 64 << 10, ..LogOptions::new(EventsMetrics::detached()) };
        let log = EventLog::open(&self.folder.path().join("log"), log_options).unwrap();
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        Copier::new(dir, topic.clone(), EventsMetrics::detached()).look().unwrap();
        let mut ledger = BTreeMap::new();
        let mut reader = topic.from_floor();
        while topic.end() != reader.cursor() {
            for event in reader.next_batch(100).unwrap() {
                let record: CallRecord =
                    serde_json::from_slice(&crate::record::unpack(&event.value).unwrap()).unwrap();
                let double = ledger.insert(record.cdr_id.to_string(), record.recovered);
                assert!(double.is_none_or(|before| before == record.recovered), "two ends that differ");
            }
        }
        ledger
    }
}

fn id(n: u128) -> String {
    call(n, true).cdr_id.to_string()
}

#[test]
fn f_disk_02_a_failed_or_short_write_acknowledges_nothing_and_heals_without_a_restart() {
    for fault in [(0, EIO), (0, ENOSPC), (1, EIO), (30, EIO), (400, ENOSPC)] {
        let rig = Rig::new();
        let mut journal = rig.open();
        for n in 0..4 {
            journal.append(&answered(n)).unwrap();
        }
        journal.append(&ended(0)).unwrap();
        rig.faults.plan().write = Some(fault);
        // A new call is refused, also the ones after it; the end of a running one waits in memory.
        assert!(journal.append(&answered(10)).is_err());
        assert!(!journal.accepting());
        assert!(journal.append(&ended(1)).is_err());
        assert_eq!(rig.options.metrics.backlog.value(()), 1);
        let made = rig.faults.plan().created;
        for _ in 0..50 {
            assert!(journal.heartbeat(Wall(0)).is_err());
            assert!(!journal.accepting(), "the disk is still ill");
        }
        assert!(rig.faults.plan().created <= made + 1, "a failing disk eats no segment per try");
        rig.faults.plan().write = None;
        // The heartbeat of the next second is the probe.
        wait_until(|| {
            journal.heartbeat(Wall(0)).unwrap();
            journal.accepting()
        });
        assert_eq!(rig.options.metrics.backlog.value(()), 0);
        journal.append(&answered(11)).unwrap();
        journal.append(&ended(11)).unwrap();
        journal.append(&ended(2)).unwrap();
        drop(journal);
        let ledger = rig.ledger(&rig.dir());
        let want: BTreeMap<String, bool> =
            [(id(0), false), (id(1), false), (id(2), false), (id(3), true), (id(11), false)].into();
        assert_eq!(ledger, want, "{fault:?}");
    }
}

#[test]
fn f_disk_02_what_a_failed_sync_lost_is_written_again_and_no_call_is_taken_until_then() {
    let rig = Rig::new();
    let mut journal = rig.open();
    journal.append(&answered(0)).unwrap();
    rig.faults.plan().sync = Some(EIO);
    for n in 1..5 {
        // Whether these are still taken depends on how soon the syncer comes; what is taken counts.
        journal.append(&answered(n)).unwrap();
    }
    journal.append(&ended(1)).unwrap();
    wait_until(|| !journal.accepting());
    let errors = |rig: &Rig| rig.faults.plan().thrown.len();
    assert!(errors(&rig) > 0);
    // Writing works: the ends of running calls go on, and still no new call.
    for _ in 0..20 {
        journal.heartbeat(Wall(0)).unwrap();
        assert!(!journal.accepting(), "no sync has worked yet");
    }
    journal.append(&ended(2)).unwrap();
    assert!(rig.faults.plan().created <= 5, "a failing disk eats no segment per try");
    rig.faults.plan().sync = None;
    wait_until(|| {
        journal.heartbeat(Wall(0)).unwrap();
        journal.accepting()
    });
    // From here on everything that was acknowledged is durable, whatever the kernel threw away.
    let ledger = rig.ledger_after_power_cut(journal);
    let want: BTreeMap<String, bool> =
        [(id(0), true), (id(1), false), (id(2), false), (id(3), true), (id(4), true)].into();
    assert_eq!(ledger, want);
}

#[test]
fn f_disk_02_a_sync_that_does_not_come_back_loses_nothing_and_no_call_is_taken_when_too_much_waits() {
    let mut rig = Rig::new();
    rig.options.segment_bytes = 16 << 20;
    rig.options.limit_bytes = 1 << 30;
    let mut journal = rig.open();
    rig.faults.plan().stall = true;
    let mut taken = 0;
    while journal.append(&answered(taken)).is_ok() {
        taken += 1;
        assert!(taken <= UNSYNCED_RECORDS as u128, "no end to what is taken");
    }
    // What was written before the sync began may have been forgotten by then.
    assert!(taken >= UNSYNCED_RECORDS as u128, "{taken}");
    assert!(!journal.accepting());
    // The ends of running calls are written, and none is forgotten.
    for n in 0..100 {
        journal.append(&ended(n)).unwrap();
    }
    assert!(journal.append(&answered(taken)).is_err());
    // Then the disk says that it failed: all of it is written once more.
    {
        let mut plan = rig.faults.plan();
        plan.sync = Some(EIO);
        plan.stall = false;
    }
    wait_until(|| !rig.faults.plan().thrown.is_empty());
    rig.faults.plan().sync = None;
    wait_until(|| {
        let _ = journal.heartbeat(Wall(0));
        journal.accepting()
    });
    let ledger = rig.ledger_after_power_cut(journal);
    assert_eq!(ledger.len() as u128, taken);
    assert_eq!(ledger.values().filter(|recovered| !**recovered).count(), 100);
}

/// What waited for a slow disk is not kept for ever: some buffers are, for the next records.
#[test]
fn f_disk_02_a_burst_leaves_a_bounded_number_of_buffers() {
    use crate::journal::SPARE_BUFFERS;
    let mut rig = Rig::new();
    rig.options.segment_bytes = 16 << 20;
    let mut journal = rig.open();
    rig.faults.plan().stall = true;
    for n in 0..4 * SPARE_BUFFERS as u128 {
        journal.append(&answered(n)).unwrap();
    }
    rig.faults.plan().stall = false;
    wait_until(|| {
        journal.heartbeat(Wall(0)).unwrap();
        journal.spare_buffers() >= SPARE_BUFFERS
    });
    for n in 0..2 * SPARE_BUFFERS {
        journal.heartbeat(Wall(i64::try_from(n).unwrap())).unwrap();
        assert!(journal.spare_buffers() <= SPARE_BUFFERS, "{}", journal.spare_buffers());
    }
}

/// A disk that refuses the very first record: nothing of its segment is used up, so none is left for it.
#[test]
fn f_disk_02_an_empty_segment_is_never_left() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let made = rig.faults.plan().created;
    rig.faults.plan().write = Some((0, EIO));
    // Twice the time after which a segment with records in it would be left.
    let begun = Instant::now();
    wait_until(|| {
        assert!(journal.append(&answered(1)).is_err());
        begun.elapsed() > Duration::from_millis(2_100)
    });
    assert_eq!(rig.faults.plan().created, made);
}

#[test]
fn f_disk_01_no_space_for_a_further_segment_refuses_new_calls_and_heals() {
    let rig = Rig::new();
    let mut journal = rig.open();
    rig.faults.plan().create = Some(ENOSPC);
    let mut taken = 0;
    while journal.append(&answered(taken)).is_ok() {
        taken += 1;
    }
    assert!(!journal.accepting());
    // Every running call ends in the space that was reserved: no record is larger than the one that began the call.
    journal.append(&ended(0)).unwrap();
    rig.faults.plan().create = None;
    wait_until(|| journal.accepting());
    journal.append(&answered(taken)).unwrap();
    for n in 1..=taken {
        journal.append(&ended(n)).unwrap();
    }
    drop(journal);
    let ledger = rig.ledger(&rig.dir());
    assert_eq!(ledger.len() as u128, taken + 1);
    assert!(ledger.values().all(|recovered| !recovered));
}

#[test]
fn the_pump_never_takes_a_segment_that_is_being_made_for_a_finished_one() {
    let rig = Rig::new();
    std::fs::create_dir_all(rig.dir()).unwrap();
    let log_options = LogOptions { segment_bytes: 64 << 10, ..LogOptions::new(EventsMetrics::detached()) };
    let log = EventLog::open(&rig.folder.path().join("log"), log_options).unwrap();
    let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
    let pump = Arc::new(Mutex::new(Copier::new(&rig.dir(), topic.clone(), EventsMetrics::detached())));
    let looking = pump.clone();
    rig.faults.plan().peek = Some(Box::new(move || {
        looking.lock().unwrap().look().unwrap();
    }));
    let mut journal = rig.open();
    let calls = 400;
    for n in 0..calls {
        // While no further segment is there yet, the record waits in memory.
        let _ = journal.append(&ended(n));
        wait_until(|| journal.accepting());
    }
    assert!(rig.faults.plan().created > 4);
    drop(journal);
    rig.faults.plan().peek = None;
    pump.lock().unwrap().look().unwrap();
    assert_eq!(topic.end_number() as u128, calls);
    // What a kill left half made goes at the next start.
    let half = rig.dir().join(format!("{:032x}-00000-00000009.jrn.new", 7));
    std::fs::write(&half, [0; 100]).unwrap();
    recover(&rig.dir(), &rig.options, &mut |_| ()).unwrap();
    assert!(!half.exists());
}

/// A process that another thread is starting has copies of the descriptors until it runs its program: what was closed
/// meanwhile is finished all the same, for recovery and for the pump.
#[test]
fn f_disk_02_what_the_pump_copied_before_a_failed_sync_is_copied_again() {
    let rig = Rig::new();
    let of_log = Arc::new(Faults::default());
    let topic = topic(&rig.folder.path().join("log"), &of_log);
    let mut shards = [rig.open(), Journal::open(&rig.dir(), 1, rig.options.clone()).unwrap()];
    let mut copier = Copier::new(&rig.dir(), topic.clone(), EventsMetrics::detached());
    let jrn = || crate::journal::list(&rig.dir()).unwrap().len();
    for round in 0..2 {
        for n in 0..4 {
            let n = round * 4 + n;
            for record in [answered(n), ended(n)] {
                shards[n as usize % 2].append(&record).unwrap();
            }
        }
        let (before, shown) = (jrn(), topic.end_number());
        if round == 1 {
            // What is read to its end and finished is kept too.
            shards
                .iter_mut()
                .for_each(|shard| *shard = Journal::open(&rig.dir(), 2, rig.options.clone()).unwrap());
        }
        of_log.plan().sync = Some(EIO);
        for _ in 0..2 {
            assert!(copier.look().is_err());
            assert_eq!(topic.end_number(), shown, "nothing is shown");
            assert!(jrn() >= before);
        }
        of_log.plan().sync = None;
        let syncs = of_log.plan().syncs;
        assert_eq!(copier.look().unwrap(), 4);
        assert_eq!(of_log.plan().syncs - syncs, 1, "one sync for all shards");
        assert_eq!(copier.look().unwrap(), 0);
        assert_eq!(of_log.plan().syncs - syncs, 1, "none without records");
    }
    let all = topic.from_floor().next_batch(100).unwrap();
    let keys: Vec<String> = all.into_iter().map(|e| String::from_utf8(e.key).unwrap()).collect();
    assert_eq!(keys.len(), 8);
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), (0..8).map(id).collect());
}

#[test]
fn f_proc_01_a_closed_journal_is_finished_while_another_process_is_being_started() {
    let rig = Rig::new();
    rig.faults.plan().copies = Some(Vec::new());
    let mut journal = rig.open();
    let mut calls = 0;
    while crate::journal::list(&rig.dir()).unwrap().len() < 4 {
        journal.append(&answered(calls)).unwrap();
        calls += 1;
    }
    drop(journal);
    let recovered = recover(&rig.dir(), &rig.options, &mut |_| ()).unwrap();
    assert_eq!(recovered.calls.len() as u128, calls);
}

#[test]
fn f_proc_07_without_descriptors_running_calls_end_and_new_ones_wait() {
    const EMFILE: i32 = 24;
    let rig = Rig::new();
    let mut journal = rig.open();
    rig.faults.plan().create = Some(EMFILE);
    let mut taken = 0;
    while journal.append(&answered(taken)).is_ok() {
        taken += 1;
    }
    assert!(!journal.accepting());
    journal.append(&ended(0)).unwrap();
    assert_eq!(rig.options.metrics.refusing.value(()), 1);
    rig.faults.plan().create = None;
    wait_until(|| journal.accepting());
    for n in 1..taken {
        journal.append(&ended(n)).unwrap();
    }
    drop(journal);
    assert_eq!(rig.ledger(&rig.dir()).len() as u128, taken);
}

#[test]
fn f_proc_06_what_waits_in_memory_for_a_dead_disk_is_bounded_and_the_rest_is_counted() {
    use crate::journal::BACKLOG_RECORDS;
    use crate::metrics::{Sink, WriteResult};
    let rig = Rig::new();
    let mut journal = rig.open();
    rig.faults.plan().write = Some((0, EIO));
    let over = 50;
    for n in 0..BACKLOG_RECORDS + over {
        assert!(journal.append(&ended(n as u128)).is_err());
    }
    let metrics = &rig.options.metrics;
    assert_eq!(metrics.backlog.value(()), BACKLOG_RECORDS as i64);
    assert_eq!(metrics.cdr_written.value((Sink::Journal, WriteResult::Error)), over as u64);
    rig.faults.plan().write = None;
    // 64 KiB segments: the syncer prepares one after the other.
    wait_until(|| {
        let _ = journal.heartbeat(Wall(0));
        metrics.backlog.value(()) == 0
    });
    drop(journal);
    assert_eq!(rig.ledger(&rig.dir()).len(), BACKLOG_RECORDS);
}

fn topic(dir: &Path, faults: &Arc<Faults>) -> Topic {
    let options = LogOptions {
        segment_bytes: 8 << 10,
        disk: Disk::faulty(faults),
        ..LogOptions::new(EventsMetrics::detached())
    };
    EventLog::open(dir, options).unwrap().topic("t").unwrap()
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut logs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

fn values(reader: &mut Reader) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        let batch = reader.next_batch(7).unwrap();
        if batch.is_empty() {
            return out;
        }
        out.extend(batch.into_iter().map(|e| String::from_utf8(e.value).unwrap()));
    }
}

#[test]
fn f_disk_02_the_log_never_shows_what_a_sync_failed_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let topic = topic(dir.path(), &faults);
    for n in 0..10 {
        topic.append_durable(b"k", format!("good {n}").as_bytes()).unwrap();
    }
    let mut reader = topic.from_floor();
    assert_eq!(values(&mut reader).len(), 10);
    let late = topic.append([(&b"k"[..], &b"withdrawn"[..])]).unwrap();
    faults.plan().sync = Some(EIO);
    for _ in 0..20 {
        assert!(topic.append_durable(b"k", b"lost").is_err());
        assert_eq!(topic.end_number(), 10);
        assert!(values(&mut reader).is_empty());
    }
    // No segment is left behind for each try.
    assert!(segments(&dir.path().join("t")).len() <= 3);
    faults.plan().sync = None;
    let number = topic.append_durable(b"k", b"again").unwrap();
    assert!(number >= late, "a number never names two records");
    assert!(topic.sync(late).is_err(), "its file was synced in vain: the caller must append it again");
    assert_eq!(values(&mut reader), ["again"]);
    assert_eq!(reader.number(), number + 1);
    assert_eq!(values(&mut topic.from_floor()).len(), 11);
    drop((topic, reader));
    faults.power_cut(&dir.path().join("t"));
    let reopened = self::topic(dir.path(), &faults);
    assert_eq!(reopened.end_number(), number + 1);
    let all = values(&mut reopened.from_floor());
    assert_eq!(all.len(), 11, "{all:?}");
    assert_eq!(all.last().map(String::as_str), Some("again"));
}

#[test]
fn f_disk_02_what_an_earlier_sync_failed_to_write_stays_withdrawn_after_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let topic = topic(dir.path(), &faults);
    for n in 0..3 {
        topic.append_durable(b"k", format!("good {n}").as_bytes()).unwrap();
        topic.append([(&b"k"[..], &b"withdrawn"[..])]).unwrap();
        faults.plan().sync = Some(EIO);
        assert!(topic.append_durable(b"k", b"lost").is_err());
        faults.plan().sync = None;
    }
    topic.append_durable(b"k", b"last").unwrap();
    assert_eq!(values(&mut topic.from_floor()), ["good 0", "good 1", "good 2", "last"]);
}

#[test]
fn f_disk_02_a_short_write_leaves_nothing_that_a_reader_could_take_for_a_record() {
    for part in [0, 25, 60, 200] {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let topic = topic(dir.path(), &faults);
        topic.append_durable(b"k", b"first").unwrap();
        faults.plan().write = Some((part, EIO));
        // Five records in one write: some of them whole on disk, none of them acknowledged.
        let five = ["a", "b", "c", "d", "e"].map(|v| (&b"k"[..], v.as_bytes()));
        for _ in 0..10 {
            assert!(topic.append(five).is_err());
        }
        faults.plan().write = None;
        for n in 0..8 {
            topic.append_durable(b"k", format!("later {n}").as_bytes()).unwrap();
        }
        let want: Vec<String> =
            std::iter::once("first".to_owned()).chain((0..8).map(|n| format!("later {n}"))).collect();
        assert_eq!(values(&mut topic.from_floor()), want);
        drop(topic);
        let reopened = self::topic(dir.path(), &faults);
        assert_eq!((reopened.end_number(), values(&mut reopened.from_floor())), (9, want), "{part}");
        assert_eq!(reopened.append_durable(b"k", b"on").unwrap(), 9);
    }
}

#[test]
fn f_disk_01_a_full_disk_stops_the_log_and_it_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let topic = topic(dir.path(), &faults);
    faults.plan().create = Some(ENOSPC);
    let mut n = 0;
    let full = loop {
        match topic.append_durable(b"k", format!("{n}").as_bytes()) {
            Ok(number) => assert_eq!(number, n),
            Err(error) => break error,
        }
        n += 1;
    };
    assert!(matches!(full, EventsError::Full));
    assert!(topic.append_durable(b"k", b"x").is_err());
    faults.plan().create = None;
    assert_eq!(topic.append_durable(b"k", b"on").unwrap(), n);
    assert_eq!(values(&mut topic.from_floor()).len() as u64, n + 1);
}
