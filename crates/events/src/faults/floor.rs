//! The floor of a topic through kills, power cuts and failing disks, at each step of a retention.

use super::*;

const RECORDS: u64 = 400;
const FAR: Wall = Wall(i64::MAX);

fn filled(dir: &Path, faults: &Arc<Faults>) -> Topic {
    let topic = topic(dir, faults);
    for n in 0..RECORDS {
        topic.append_durable(b"k", format!("{n} {}", "x".repeat(100)).as_bytes()).unwrap();
    }
    topic.acknowledged("c", RECORDS - 50);
    topic
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Opens what a kill left behind: everything from the floor on is there, and nothing below it. Gives the floor.
fn whole_from_floor(dir: &Path) -> u64 {
    let topic = topic(dir, &Arc::default());
    let floor = topic.floor_number();
    let end = topic.end_number();
    assert!(end >= RECORDS);
    let mut reader = topic.from_floor();
    for number in floor..RECORDS {
        let event = reader.next_batch(1).unwrap().remove(0);
        assert_eq!(event.offset, number);
        assert!(event.value.starts_with(format!("{number} ").as_bytes()));
    }
    if let Some(before) = floor.checked_sub(1).filter(|n| *n > 0) {
        let gone = topic.reader_at(before).next_batch(1);
        assert!(matches!(gone, Err(EventsError::Gone { floor: at, missed: 1 }) if at == topic.floor()));
    }
    // What the retention had begun is finished.
    let firsts: Vec<u64> = segments(&dir.join("t"))
        .iter()
        .map(|p| p.file_stem().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(firsts.first(), Some(&floor), "{firsts:?}");
    assert_eq!(topic.append_durable(b"k", b"next").unwrap(), end);
    let next = reader.next_batch(9).unwrap();
    assert_eq!(
        next.iter().map(|e| (e.offset, e.value.as_slice())).collect::<Vec<_>>(),
        [(end, &b"next"[..])]
    );
    floor
}

#[test]
fn f_proc_04_a_kill_at_any_step_of_a_retention_leaves_no_hole_and_the_floor_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let topic = filled(dir.path(), &faults);
    let kills = Arc::new(Mutex::new(Vec::new()));
    let (kept, from, to) = (kills.clone(), dir.path().join("t"), dir.path().to_owned());
    faults.plan().killed = Some(Box::new(move |step| {
        let mut kills = kept.lock().unwrap();
        let copy = to.join(format!("kill-{}", kills.len()));
        copied(&from, &copy.join("t"));
        kills.push((step, copy));
    }));
    let deleted = topic.retain(FAR);
    faults.plan().killed = None;
    assert!(deleted >= 3, "{deleted}");
    let kills = std::mem::take(&mut *kills.lock().unwrap());
    let steps: Vec<&str> = kills.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps[..2], ["replace", "replaced"]);
    assert_eq!(steps[2..], vec!["removed"; deleted]);

    // A power cut may keep one deletion and forget those before it.
    let (_, recorded) = &kills[1];
    let below = segments(&recorded.join("t")).len() - segments(&dir.path().join("t")).len();
    assert_eq!(below, deleted);
    for only in 0..below {
        let copy = dir.path().join(format!("cut-{only}"));
        copied(&recorded.join("t"), &copy.join("t"));
        std::fs::remove_file(&segments(&copy.join("t"))[only]).unwrap();
        assert_eq!(whole_from_floor(&copy), topic.floor_number(), "only deletion {only} is durable");
    }

    let floors: Vec<u64> = kills.iter().map(|(_, copy)| whole_from_floor(copy)).collect();
    assert_eq!(floors[0], 0, "nothing is recorded yet, and nothing is gone");
    assert!(floors[1..].iter().all(|floor| *floor == topic.floor_number()), "{floors:?}");
    assert!(topic.floor_number() > 0 && topic.floor_number() <= RECORDS - 50);
}

#[test]
fn f_disk_02_a_retention_whose_floor_cannot_be_written_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let topic = filled(dir.path(), &faults);
    let before = segments(&dir.path().join("t"));
    for (write, sync) in [(Some((0, ENOSPC)), None), (Some((5, EIO)), None), (None, Some(EIO))] {
        faults.plan().write = write;
        faults.plan().sync = sync;
        assert_eq!(topic.retain(FAR), 0);
        assert_eq!((topic.floor_number(), segments(&dir.path().join("t"))), (0, before.clone()));
        assert_eq!(topic.reader_at(1).next_batch(1).unwrap().len(), 1);
    }
    faults.plan().write = None;
    faults.plan().sync = None;
    assert!(topic.retain(FAR) > 0);
    assert!(topic.floor_number() > 0);
}

#[test]
fn f_disk_02_segments_that_cannot_be_deleted_are_not_read_and_go_later() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let topic = filled(dir.path(), &faults);
    let before = segments(&dir.path().join("t")).len();
    faults.plan().remove = Some(EIO);
    assert_eq!(topic.retain(FAR), 0);
    let floor = topic.floor_number();
    assert!(floor > 0, "told, although the files are there");
    assert!(matches!(topic.reader_at(floor - 1).next_batch(1), Err(EventsError::Gone { missed: 1, .. })));
    assert_eq!(topic.from_floor().next_batch(1).unwrap()[0].offset, floor);
    assert_eq!(topic.since(Wall(0)), floor);
    assert_eq!(segments(&dir.path().join("t")).len(), before);
    // Also not after a start with the same disk.
    drop(topic);
    let topic = self::topic(dir.path(), &faults);
    assert_eq!((topic.floor_number(), topic.end_number()), (floor, RECORDS));
    assert_eq!(topic.from_floor().next_batch(1).unwrap()[0].offset, floor);
    faults.plan().remove = None;
    topic.acknowledged("c", RECORDS - 50);
    assert!(topic.retain(FAR) >= 3);
    assert_eq!(topic.floor_number(), floor);
}
