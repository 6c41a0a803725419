//! Finished records that are written together: by one write, in their order, and each kept when that write fails.

use super::*;
use crate::metrics::{Sink, WriteResult};

/// RFC 0005: the ends of one turn cost one system call, and what comes after them is written after them.
#[test]
fn ends_that_were_gathered_go_by_one_write_before_whatever_follows() {
    let rig = Rig::new();
    let mut journal = rig.open();
    for n in 0..3 {
        journal.append(&answered(n)).unwrap();
    }
    let written = |rig: &Rig| rig.faults.plan().writes;
    let before = written(&rig);
    for n in 0..3 {
        journal.gather(&call(n, true));
    }
    assert_eq!(
        (written(&rig), rig.options.metrics.cdr_written.value((Sink::Journal, WriteResult::Ok))),
        (before, 0)
    );
    journal.write_gathered().unwrap();
    assert_eq!(
        (written(&rig), rig.options.metrics.cdr_written.value((Sink::Journal, WriteResult::Ok))),
        (before + 1, 3)
    );
    journal.write_gathered().unwrap();
    assert_eq!(written(&rig), before + 1, "nothing is left");
    // An answer, a sign of life and the end of the journal write first what was gathered before them.
    journal.append(&answered(3)).unwrap();
    journal.gather(&call(3, true));
    journal.append(&answered(4)).unwrap();
    journal.gather(&call(4, true));
    journal.heartbeat(Wall(0)).unwrap();
    journal.append(&answered(5)).unwrap();
    journal.gather(&call(5, true));
    assert_eq!(written(&rig), before + 7);
    drop(journal);
    let ledger = rig.ledger(&rig.dir());
    assert_eq!(ledger, (0..6).map(|n| (id(n), false)).collect());
}

/// However many there are, and wherever their segment ends.
#[test]
fn gathered_ends_cross_into_the_next_segment_whole() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let long = |n| CallRecord { node: "n".repeat(1_500), ..*call(n, true) };
    let before = rig.faults.plan().writes;
    for n in 0..100 {
        journal.gather(&long(n));
    }
    assert!(rig.faults.plan().writes > before, "what waits is bounded");
    journal.write_gathered().unwrap();
    let writes = rig.faults.plan().writes - before;
    assert!(rig.faults.plan().created > 2, "a further segment was needed");
    assert!((3..=6).contains(&writes), "{writes}");
    drop(journal);
    assert_eq!(rig.ledger(&rig.dir()), (0..100).map(|n| (id(n), false)).collect());
}

/// F-DISK-02: also when the write ended in the middle of one of them.
#[test]
fn f_disk_02_gathered_ends_that_cannot_be_written_are_kept_and_written_once_when_the_disk_is_back() {
    for fault in [(0, EIO), (700, EIO), (1_500, ENOSPC)] {
        let rig = Rig::new();
        let mut journal = rig.open();
        for n in 0..3 {
            journal.append(&answered(n)).unwrap();
        }
        rig.faults.plan().write = Some(fault);
        for n in 0..3 {
            journal.gather(&call(n, true));
        }
        assert!(journal.write_gathered().is_err());
        assert!(!journal.accepting());
        assert_eq!(rig.options.metrics.backlog.value(()), 3);
        assert!(journal.append(&answered(9)).is_err());
        rig.faults.plan().write = None;
        wait_until(|| {
            journal.heartbeat(Wall(0)).unwrap();
            journal.accepting()
        });
        assert_eq!(rig.options.metrics.backlog.value(()), 0);
        drop(journal);
        assert_eq!(rig.ledger(&rig.dir()), (0..3).map(|n| (id(n), false)).collect(), "{fault:?}");
    }
}

/// F-DISK-02: what a failed sync lost is written again, of records that were written together too.
#[test]
fn f_disk_02_gathered_ends_survive_a_failed_sync_and_a_power_cut() {
    let rig = Rig::new();
    let mut journal = rig.open();
    for n in 0..3 {
        journal.append(&answered(n)).unwrap();
    }
    rig.faults.plan().sync = Some(EIO);
    for n in 0..3 {
        journal.gather(&call(n, true));
    }
    journal.write_gathered().unwrap();
    wait_until(|| !journal.accepting());
    rig.faults.plan().sync = None;
    wait_until(|| {
        journal.heartbeat(Wall(0)).unwrap();
        journal.accepting()
    });
    assert_eq!(rig.ledger_after_power_cut(journal), (0..3).map(|n| (id(n), false)).collect());
}
