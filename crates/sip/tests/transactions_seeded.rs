//! Random inputs in random order at random times: what must hold for each transaction machine whatever happens.

use proptest::prelude::*;
use warp_model::Mono;
use warp_sip::transaction::*;

/// One step: which input, which status, how long after the last.
type Step = (u8, u16, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0u8..6, 100u16..700, 0u64..40_000_000_000), 1..60)
}

proptest! {
    /// At most one final response per server transaction (several 2xx only to INVITE, never mixed with 300–699).
    #[test]
    fn server_invite_sends_one_kind_of_final(steps in steps(), reliable: bool) {
        let t = Timers::default();
        let mut now = Mono(0);
        let mut m = ServerInvite::start(reliable);
        let (mut finals, mut oks, mut last_sent) = (0, 0, 0u16);
        for (what, status, wait) in steps {
            now = Mono(now.0 + wait);
            let input = match what {
                0 => ServerInput::Request,
                1 => ServerInput::Ack,
                2 => ServerInput::TransportError,
                _ => ServerInput::Respond(status),
            };
            let first = m.on_timeout(&t, now);
            let done = m.on_input(input, &t, now);
            if done.contains(Action::Send) {
                last_sent = status;
                if (200..300).contains(&status) { oks += 1 }
                if status >= 300 { finals += 1 }
            }
            for a in [first, done] {
                if a.contains(Action::Resend) {
                    prop_assert!(!(200..300).contains(&last_sent), "a 2xx is repeated by the callee, not by us");
                }
            }
            prop_assert!(finals <= 1 && (finals == 0 || oks == 0));
            if let Some(at) = m.next_timeout() {
                prop_assert!(at.since(now) <= t.t1_64());
            }
        }
        let over = ends_by_itself(now, |n| { m.on_timeout(&t, n); m.next_timeout() }, t);
        prop_assert!(over, "it ends by itself");
    }

    #[test]
    fn server_other_sends_one_final(steps in steps(), reliable: bool) {
        let t = Timers::default();
        let mut now = Mono(0);
        let mut m = ServerOther::start(reliable);
        let mut finals = 0;
        for (what, status, wait) in steps {
            now = Mono(now.0 + wait);
            m.on_timeout(&t, now);
            let input = match what {
                0 => ServerInput::Request,
                1 => ServerInput::Ack,
                2 => ServerInput::TransportError,
                _ => ServerInput::Respond(status),
            };
            if m.on_input(input, &t, now).contains(Action::Send) && status >= 200 {
                finals += 1;
            }
            prop_assert!(finals <= 1);
        }
        let over = ends_by_itself(now, |n| { m.on_timeout(&t, n); m.next_timeout() }, t);
        prop_assert!(over, "it ends by itself");
    }

    /// A client passes up at most one kind of final; ACK only after 300–699; the end comes within its timers.
    #[test]
    fn client_invite_passes_one_kind_of_final(steps in steps(), reliable: bool) {
        let t = Timers::default();
        let mut now = Mono(0);
        let (mut m, _) = ClientInvite::start(reliable, &t, now);
        let (mut failures, mut oks, mut acks, mut over) = (0, 0, 0, 0);
        for (what, status, wait) in steps {
            now = Mono(now.0 + wait);
            let first = m.on_timeout(&t, now);
            let input = if what == 0 { ClientInput::TransportError } else { ClientInput::Response(status) };
            let done = m.on_input(input, &t, now);
            for a in first.into_iter().chain(done) {
                match a {
                    Action::PassUp if (200..300).contains(&status) => oks += 1,
                    Action::PassUp if status >= 300 => failures += 1,
                    Action::Ack => acks += 1,
                    Action::Terminated => over += 1,
                    _ => {}
                }
            }
            prop_assert!(failures <= 1 && (failures == 0 || oks == 0));
            prop_assert!(acks == 0 || failures == 1);
            prop_assert!(over <= 1);
            if let Some(at) = m.next_timeout() {
                prop_assert!(at.since(now) <= t.t1_64());
            }
        }
    }

    #[test]
    fn client_other_passes_one_final(steps in steps(), reliable: bool) {
        let t = Timers::default();
        let mut now = Mono(0);
        let (mut m, _) = ClientOther::start(reliable, &t, now);
        let (mut finals, mut over) = (0, 0);
        for (what, status, wait) in steps {
            now = Mono(now.0 + wait);
            let first = m.on_timeout(&t, now);
            let input = if what == 0 { ClientInput::TransportError } else { ClientInput::Response(status) };
            let done = m.on_input(input, &t, now);
            for a in first.into_iter().chain(done) {
                match a {
                    Action::PassUp if status >= 200 => finals += 1,
                    Action::Terminated => over += 1,
                    _ => {}
                }
            }
            prop_assert!(finals <= 1 && over <= 1);
        }
        let over = ends_by_itself(now, |n| { m.on_timeout(&t, n); m.next_timeout() }, t);
        prop_assert!(over, "it ends by itself");
    }
}

/// Whatever timers run, they run out: no more than 20 firings and 64·T1 from now on.
fn ends_by_itself(now: Mono, mut fire: impl FnMut(Mono) -> Option<Mono>, t: Timers) -> bool {
    let mut at = now;
    for _ in 0..20 {
        match fire(at) {
            Some(next) if next.since(now) <= t.t1_64() => at = next,
            Some(_) => return false,
            None => return true,
        }
    }
    false
}
