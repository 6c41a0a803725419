//! Nobody makes a shard walk: what an event costs does not grow with the calls in the air. Counted in entries looked at, not in time.

use std::sync::Arc;

use warp_ng::Command as Ng;
use warp_sip::flow::{Flow, LinkId, Transport as Hop};

use super::tests_static::{addr, at};
use super::tests_world::*;
use super::types::{Command, Listener};

/// Entries of calls and transactions that were looked at so far.
fn looks(w: &World) -> u64 {
    w.core.calls.all.looks() + w.core.tx.table.servers.looks() + w.core.tx.table.clients.looks()
}

/// What each event of one shard looks at while `n` other calls ring.
fn costs(n: usize) -> Vec<(&'static str, u64)> {
    let mut w = World::with(
        true,
        |_| (),
        |c| c.listeners.push(Listener { transport: Hop::Tcp, bind: addr(US), advertise: None }),
    );
    // All within one millisecond, so that no timer of theirs is due while one event is looked at.
    for i in 0..n {
        let flow = Flow::udp(w.us, addr(CUSTOMER));
        w.core.handle_message(flow, invite(NUMBER, &format!("other{i}"), "", SDP).as_bytes(), at(w.ms));
        w.drain();
        for (to, text) in w.take() {
            if to == addr(V1) && text.starts_with("INVITE ") {
                let ringing = reply(&text, "180 Ringing", "bt", V1, "", "");
                w.core.handle_message(Flow::udp(w.us, to), ringing.as_bytes(), at(w.ms));
                w.drain();
            }
        }
        w.take();
    }
    assert_eq!(w.core.live_calls(), n);
    let mut found = Vec::new();
    let mut before = looks(&w);
    let mut step = |w: &World, name: &'static str| {
        let now = looks(w);
        found.push((name, now - before));
        before = now;
    };

    assert_eq!((w.core.live_calls(), w.core.transactions().0, w.core.transaction_kinds()[1]), (n, n, n));
    step(&w, "live counts");
    w.ms += 1;
    w.core.handle_timeout(at(w.ms));
    step(&w, "time passes");
    let snapshot = w.core.tx.snapshot.clone().unwrap();
    w.core.handle_snapshot(snapshot, at(w.ms));
    step(&w, "a new snapshot");

    w.asked.clear();
    w.give(CUSTOMER, &invite(NUMBER, "mine", "", SDP));
    step(&w, "an INVITE");
    let media_id = match &w.asked.front().unwrap().1 {
        Ng::Offer(c) => c.call_id.clone(),
        other => panic!("{other:?}"),
    };
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    step(&w, "its answer");
    w.take();
    w.command(Command::MediaTimeout { media_id, due: super::tests_static::at(w.ms).mono });
    assert_eq!(w.ended.len(), 1, "it ended");
    step(&w, "a media time-out");
    w.take();

    w.give(CUSTOMER, &invite(NUMBER, "next", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    w.take();
    step(&w, "another call");
    let (cdr_id, reason) = (w.answered.last().unwrap().cdr_id, "operator");
    w.command(Command::EndCall { cdr_id, reason });
    assert_eq!(w.ended.len(), 2, "it ended");
    w.take();
    step(&w, "the end of a call by its id");

    let flow = |link| Flow { transport: Hop::Tcp, link: LinkId(link), ..Flow::udp(addr(US), addr(CUSTOMER)) };
    for i in 0..3 {
        let text = invite(NUMBER, &format!("tcp{i}"), "", SDP).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        w.core.handle_message(flow(7), text.as_bytes(), at(w.ms));
        w.drain();
    }
    w.take();
    step(&w, "three calls over a connection");
    w.core.handle_flow_error(flow(7), at(w.ms));
    w.drain();
    assert!(w.core.calls.by_link.is_empty(), "it is forgotten");
    step(&w, "their connection closes");
    w.core.handle_flow_error(flow(8), at(w.ms));
    step(&w, "a connection closes that carried nothing");
    let shared = Arc::clone(&w.core.tx.shared);
    assert_eq!(
        shared
            .usage
            .bind(&w.core.tx.snapshot.clone().unwrap().directory)
            .vendor_trunk_channels(warp_policy::directory::VendorTrunkIx(0))
            .map(|c| c as usize),
        Some(n + 3)
    );
    step(&w, "channels of a vendor");
    found
}

/// Issue 6 §4: a closed connection, a media time-out, an INVITE, the live counts and the end of a call cost what they are about.
#[test]
fn no_event_walks_over_the_calls_in_the_air() {
    let (few, many) = (costs(5), costs(2_000));
    assert_eq!(few, many, "what is looked at grows with the calls in the air");
    assert!(few.iter().all(|(_, looks)| *looks < 100), "{few:?}");
}
