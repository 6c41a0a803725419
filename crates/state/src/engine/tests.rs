//! The engine by itself: a Redis that answers, is slow, away, or says what makes no sense.

use super::*;
use crate::record::tests::{alice, values};

const DEADLINE: Duration = Duration::from_millis(20);

fn at(ms: u64) -> Now {
    Now { mono: Mono(ms * 1_000_000), wall: crate::record::read_time(b"2026-11-22 06:20:00").unwrap() }
}

fn engine(mode: Mode) -> Engine {
    let mut e = Engine::new(Layout::default(), mode, DEADLINE);
    e.handle_connected();
    walk(&mut e, Vec::new());
    e
}

/// The caller's table has one part with these rows.
fn walk(e: &mut Engine, rows: Vec<Record>) {
    assert_eq!(e.wants_part(), Some(0));
    e.handle_part(Some(rows));
    if e.wants_part().is_some() {
        e.handle_part(None);
    }
}

fn token(id: u64) -> Token {
    Token { shard: 0, id }
}

fn look(id: u64) -> Ask {
    Ask::Look { token: token(id), aor: alice().aor }
}

fn put(id: Option<u64>, record: Record) -> Ask {
    Ask::Write { token: id.map(token), write: Write { puts: vec![record], removed: vec![] } }
}

fn removal(expired: bool) -> Removal {
    let Record { ruid, call_id, cseq, .. } = alice();
    Removal { ruid, call_id, cseq, expired }
}

fn row(record: &Record) -> Reply {
    Reply::List(values(record).into_iter().map(|v| v.map_or(Reply::Nil, Reply::Bytes)).collect())
}

fn answers(e: &mut Engine) -> Vec<(u64, StateReply)> {
    std::iter::from_fn(|| e.poll_answer()).map(|(t, a)| (t.id, a)).collect()
}

fn scripts(e: &mut Engine, now: Now) -> Vec<Script> {
    e.next_batch(now).unwrap_or_default().iter().map(|c| c.script).collect()
}

#[test]
fn a_look_up_gives_what_is_usable_and_alive_and_says_from_when() {
    let mut e = engine(Mode::Through);
    e.handle_ask(look(1), at(0).mono);
    let batch = e.next_batch(at(1)).unwrap();
    assert_eq!(
        (batch[0].script, &batch[0].key[..]),
        (Script::Look, &b"location:usrdom::alice:carrier.test"[..])
    );
    assert_eq!(e.next_batch(at(1)), None, "one batch at a time");
    let other = Record { aor: Aor { username: b"mallory".to_vec(), ..alice().aor }, ..alice() };
    let over = Record { ends: crate::record::Ends::At(Wall(1_000_000)), ..alice() };
    let rows = vec![row(&alice()), row(&other), row(&over), Reply::Int(3), Reply::List(vec![])];
    e.handle_done(vec![Reply::List(rows)], at(2));
    let view = View { batch: 1, floor: 1 };
    assert_eq!(answers(&mut e), [(1, StateReply::Found(Looked { records: vec![alice()], view }))]);
    assert_eq!(e.stats().unusable, 3);
    assert!(!view.must_show(0) && !view.must_show(1) && View { batch: 3, floor: 2 }.must_show(2));
}

/// F-REDIS-01: nobody waits for a Redis that is away, and what was said meanwhile reaches it.
#[test]
fn f_redis_01_away_is_answered_at_once_and_all_is_written_when_it_is_back() {
    let mut e = engine(Mode::Through);
    e.handle_ask(look(1), at(0).mono);
    e.handle_lost(at(0).mono);
    assert_eq!(answers(&mut e), [(1, StateReply::Unavailable)], "what waited, too");
    e.handle_ask(look(2), at(1).mono);
    e.handle_ask(put(Some(3), alice()), at(1).mono);
    let gone = Record { ruid: b"gone".to_vec(), ..alice() };
    let removed = vec![Removal { ruid: gone.ruid.clone(), ..removal(false) }];
    e.handle_ask(Ask::Write { token: None, write: Write { puts: vec![], removed } }, at(1).mono);
    assert_eq!(answers(&mut e), [(2, StateReply::Unavailable), (3, StateReply::Unavailable)]);
    assert_eq!(e.next_batch(at(9)), None);
    assert!(e.is_idle(), "nothing can be done");

    e.handle_connected();
    assert_eq!(e.floor(), 1);
    // Somebody calls before the removal is written: it counts already.
    e.handle_ask(look(4), at(10).mono);
    walk(&mut e, vec![alice()]);
    assert_eq!(e.wants_part(), None);
    let batch = e.next_batch(at(10)).unwrap();
    assert_eq!(
        batch.iter().map(|c| c.script).collect::<Vec<_>>(),
        [Script::Look, Script::Remove, Script::Put]
    );
    assert_eq!(batch[2].args[0], b"1", "the newer of two rows stands");
    e.handle_done(vec![Reply::List(vec![]), Reply::Int(1), Reply::Int(1)], at(11));
    assert_eq!(e.poll_stored(), Some((alice(), 1)));
    assert!(e.is_idle());
}

#[test]
fn what_is_owed_to_be_removed_is_not_found() {
    let mut e = engine(Mode::Through);
    e.handle_ask(look(1), at(0).mono);
    e.next_batch(at(0)).unwrap();
    let write = Write { puts: vec![], removed: vec![removal(false)] };
    e.handle_ask(Ask::Write { token: None, write }, at(30).mono);
    let newer = Record { cseq: 2, ruid: b"warp-1-2a".to_vec(), ..alice() };
    e.handle_done(vec![Reply::List(vec![row(&alice())])], at(31));
    assert!(matches!(&answers(&mut e)[..], [(1, StateReply::Found(l))] if l.records.is_empty()));
    e.handle_ask(look(2), at(32).mono);
    e.owed.insert(b"warp-1-2a".to_vec(), removal(false));
    e.next_batch(at(32)).unwrap();
    e.owed.insert(b"warp-1-2a".to_vec(), removal(false));
    e.handle_done(vec![Reply::List(vec![row(&newer)]), Reply::Failed], at(33));
    assert!(
        matches!(&answers(&mut e)[..], [(2, StateReply::Found(l))] if l.records.len() == 1),
        "a newer one is"
    );
}

/// F-REDIS-04: a slow one costs a question its deadline, and after three it is left alone for five seconds.
#[test]
fn f_redis_04_a_slow_redis_is_left_alone() {
    let mut e = engine(Mode::Through);
    let mut ms = 0;
    for n in 0..3 {
        e.handle_ask(look(n), at(ms).mono);
        assert_eq!(scripts(&mut e, at(ms)), [Script::Look]);
        // Who comes while it is late does not wait at all; who waited behind it is told.
        e.handle_ask(look(100), at(ms + 1).mono);
        assert_eq!(e.poll_timeout(), Some(at(ms + 20).mono));
        e.handle_timeout(at(ms + 20).mono);
        e.handle_ask(look(101), at(ms + 21).mono);
        assert_eq!(answers(&mut e), [(100, StateReply::Unavailable), (101, StateReply::Unavailable)]);
        e.handle_done(vec![Reply::List(vec![])], at(ms + 200));
        assert_eq!(answers(&mut e).len(), 1, "late, but true");
        ms += 200;
    }
    assert_eq!(e.stats().opened, 1);
    e.handle_ask(put(Some(1), alice()), at(ms + 4_999).mono);
    assert_eq!(answers(&mut e), [(1, StateReply::Unavailable)]);
    assert_eq!(e.next_batch(at(ms + 4_999)), None);
    assert_eq!(e.poll_timeout(), Some(at(ms + 5_000).mono));
    e.handle_timeout(at(ms + 5_000).mono);
    walk(&mut e, vec![alice()]);
    assert_eq!(scripts(&mut e, at(ms + 5_000)), [Script::Put]);
    e.handle_done(vec![Reply::Int(1)], at(ms + 5_001));
    assert_eq!(e.poll_stored().unwrap().0, alice());
}

/// F-REDIS-03: after a fail-over nothing that was written before counts as written.
#[test]
fn f_redis_03_what_was_written_before_a_reconnect_is_written_again() {
    let mut e = engine(Mode::Through);
    e.handle_ask(put(Some(1), alice()), at(0).mono);
    assert_eq!(scripts(&mut e, at(0)), [Script::Put]);
    e.handle_done(vec![Reply::Int(1)], at(1));
    assert_eq!(answers(&mut e), [(1, StateReply::Stored)]);
    assert_eq!(e.poll_stored(), Some((alice(), 1)));
    e.handle_lost(at(2).mono);
    e.handle_connected();
    assert_eq!((e.floor(), e.wants_part()), (2, Some(0)));
    e.handle_part(Some(vec![alice()]));
    e.handle_part(None);
    e.handle_ask(look(2), at(3).mono);
    assert_eq!(scripts(&mut e, at(3)), [Script::Look, Script::Put]);
    e.handle_done(vec![Reply::List(vec![]), Reply::Int(1)], at(4));
    let [(2, StateReply::Found(looked))] = &answers(&mut e)[..] else { panic!() };
    assert!(!looked.view.must_show(1), "that it is not there says nothing: it may be lost");
}

/// F-REDIS-02, and a Redis that lies: replies of the wrong kind are no replies; what was to be written is owed.
#[test]
fn f_redis_02_replies_that_make_no_sense_change_nothing() {
    let mut e = engine(Mode::Through);
    e.handle_ask(look(1), at(0).mono);
    e.handle_ask(put(Some(2), alice()), at(0).mono);
    let write = Write { puts: vec![], removed: vec![removal(true)] };
    e.handle_ask(Ask::Write { token: None, write }, at(0).mono);
    let batch = e.next_batch(at(0)).unwrap();
    assert_eq!(batch[2].args[2], b"2026-11-22 06:20:00", "only when it is over");
    e.handle_done(vec![Reply::Bytes(b"OK".to_vec()), Reply::Nil], at(1));
    assert_eq!(answers(&mut e), [(1, StateReply::Unavailable), (2, StateReply::Unavailable)]);
    assert_eq!(e.poll_stored(), None);
    e.handle_timeout(at(1_001).mono);
    walk(&mut e, vec![alice()]);
    assert_eq!(scripts(&mut e, at(1_001)), [Script::Remove, Script::Put]);
}

#[test]
fn behind_means_once_a_second_and_the_last_word_counts() {
    let mut e = engine(Mode::Behind);
    e.handle_ask(put(None, alice()), at(0).mono);
    e.handle_ask(put(None, Record { cseq: 2, ..alice() }), at(500).mono);
    assert_eq!(e.next_batch(at(999)), None);
    assert_eq!(e.poll_timeout(), Some(at(1_000).mono));
    let batch = e.next_batch(at(1_000)).unwrap();
    assert_eq!(batch.len(), 1);
    assert!(batch[0].args.windows(2).any(|w| w == [b"cseq".to_vec(), b"2".to_vec()]));
    e.handle_done(vec![Reply::Int(1)], at(1_001));
    // At the end at once.
    e.handle_ask(put(None, alice()), at(1_100).mono);
    assert!(!e.is_idle());
    e.finish();
    assert_eq!(scripts(&mut e, at(1_101)), [Script::Put]);
    e.handle_done(vec![Reply::Int(1)], at(1_102));
    assert!(e.is_idle());
    // While it is away, what was gathered is owed, and no timer runs in vain.
    let mut e = engine(Mode::Behind);
    e.handle_ask(put(None, alice()), at(0).mono);
    e.handle_lost(at(1).mono);
    e.handle_timeout(at(1_000).mono);
    assert_eq!(e.poll_timeout(), None);
}

#[test]
fn a_row_that_may_not_be_written_is_not_and_its_asker_is_answered() {
    let mut e = engine(Mode::Through);
    e.handle_ask(put(Some(1), Record { contact: b"sip:a\nb".to_vec(), ..alice() }), at(0).mono);
    assert_eq!(e.next_batch(at(0)), None);
    assert_eq!((answers(&mut e), e.stats().unusable), (vec![(1, StateReply::Stored)], 1));
    assert_eq!(e.poll_stored(), None);
}

#[test]
fn the_queue_has_an_end() {
    let mut e = engine(Mode::Through);
    for id in 0..=WAITING as u64 {
        e.handle_ask(look(id), at(0).mono);
    }
    assert_eq!(answers(&mut e), [(WAITING as u64, StateReply::Unavailable)]);
    assert_eq!(e.next_batch(at(1)).unwrap().len(), URGENT);
}
