//! Registrations that are shared with other nodes, driven by bytes and by what Redis would say.

use std::sync::Arc;
use std::time::Duration;

use warp_sip::flow::{Flow, LinkId, Transport};
use warp_state::record::{Ends, read_time};
use warp_state::{Looked, Record, StateReply as Said, View, Write};

use super::tests_registrar::{World, request};
use super::tests_static::{addr, at, lines};
use super::types::{Mode, SharedRegistrations};
use super::*;

const PHONE: &str = "127.0.0.1:5081";
const DESK: &str = "127.0.0.1:5082";
const CALLER: &str = "127.0.0.1:5071";
const NODE: &str = "127.0.0.9:5060";

fn world(through: bool) -> World {
    World::with(if through { shared_through } else { shared_behind })
}

fn shared_through(config: &mut CoreConfig) {
    share(config, true);
}

fn shared_behind(config: &mut CoreConfig) {
    share(config, false);
}

fn share(config: &mut CoreConfig, through: bool) {
    let Mode::Registrar(settings) = &mut config.mode else { panic!() };
    settings.shared =
        Some(SharedRegistrations { through, server_id: 3, deadline: Duration::from_millis(20) });
    settings.trusted.push("127.0.0.0/8".parse().unwrap());
}

fn tcp(remote: &str) -> Flow {
    Flow { link: LinkId(7), ..Flow::unlinked(Transport::Tcp, addr("127.0.0.1:5060"), addr(remote)) }
}

fn row(user: &str, contact: &str) -> Record {
    Record {
        ruid: format!("uloc-7-{contact}").into_bytes(),
        aor: warp_state::Aor { username: user.into(), domain: b"carrier.test".to_vec() },
        contact: contact.as_bytes().to_vec(),
        received: vec![],
        path: vec![],
        ends: Ends::At(read_time(b"2090-01-01 00:00:00").unwrap()),
        q: None,
        call_id: b"theirs".to_vec(),
        cseq: 1,
        modified: read_time(b"2026-01-01 00:00:00").unwrap(),
        cflags: 0,
        user_agent: vec![],
        socket: format!("udp:{NODE}").into_bytes(),
        methods: None,
        instance: vec![],
        reg_id: 0,
        server_id: 7,
        connection: None,
        keepalive: 0,
    }
}

fn found(records: Vec<Record>, batch: u64) -> Said {
    Said::Found(Looked { records, view: View { batch, floor: 1 } })
}

impl World {
    fn question(&mut self) -> (AskId, Question) {
        self.asked.remove(0)
    }

    fn look(&mut self) -> AskId {
        match self.question() {
            (id, Question::Look(_)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn written(&mut self) -> (AskId, Write, bool) {
        match self.question() {
            (id, Question::Write { write, wait }) => (id, write, wait),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, id: AskId, said: Said) -> Vec<(Flow, String)> {
        self.core.handle_state(id, &said, at(self.ms));
        self.sent()
    }

    /// A whole registration, which is in Redis afterwards in the batch of this number.
    fn put(&mut self, flow: Flow, user: &str, more: &str, batch: u64) -> Record {
        assert_eq!(self.register_by(flow, user, more), "");
        let id = self.look();
        let none = self.say(id, found(vec![], batch));
        assert!(none.is_empty(), "{none:?}");
        let (id, write, wait) = self.written();
        assert!(wait);
        let granted = self.say(id, Said::Stored).remove(0).1;
        assert!(granted.starts_with("SIP/2.0 200 "), "{granted}");
        self.core.tx.shared.stored(&write.puts[0], batch);
        write.puts[0].clone()
    }

    fn call(&mut self, user: &str) -> AskId {
        let branch = format!("z9hG4bK{}", self.ms);
        let text = request("INVITE", &format!("sip:{user}@carrier.test"), CALLER, "")
            .replace("z9hG4bKINVITE", &branch);
        assert_eq!(self.give(CALLER, &text), []);
        self.look()
    }
}

#[test]
fn a_register_is_answered_when_it_is_written_and_our_row_leads_to_us() {
    let mut w = world(true);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    let row = w.put(flow, "bob", &format!("Contact: <sip:bob@{PHONE}>;q=0.5\r\nAllow: INVITE\r\n"), 1);
    assert_eq!((&row.aor.username[..], &row.aor.domain[..]), (&b"bob"[..], &b"carrier.test"[..]));
    assert_eq!(row.path, b"<sip:127.0.0.1:5060;lr>");
    assert_eq!(row.socket, b"udp:127.0.0.1:5060");
    assert_eq!((row.q, row.methods, row.server_id, row.received.len()), (Some(500), Some(1), 3, 0));
    // A phone on a connection: the way is in the Path, and whoever comes by it reaches the phone.
    let desk = w.put(tcp(DESK), "desk", "Contact: <sip:desk@10.0.0.7:5090;transport=tcp>\r\n", 2);
    let path = String::from_utf8(desk.path).unwrap();
    assert!(path.starts_with("<sip:127.0.0.1:5060;lr;f="), "{path}");
    let text = request("INVITE", "sip:desk@10.0.0.7:5090;transport=tcp", NODE, &format!("Route: {path}\r\n"));
    let all = w.give_by(Flow::udp(addr("127.0.0.1:5060"), addr(NODE)), &text);
    assert_eq!(all.iter().map(|(f, _)| *f).collect::<Vec<_>>(), [tcp(DESK)]);
    assert!(all[0].1.starts_with("INVITE sip:desk@10.0.0.7:5090;transport=tcp SIP/2.0\r\n"));
    assert!(
        lines(&all[0].1, "Record-Route").iter().any(|l| l.contains(";f=")),
        "later requests take it, too"
    );
    // Nobody makes us send to a flow of his choice: a path that is not ours is no path, for a connection not even from another node.
    let forged = format!("{}0000000000000000>", &path[..path.len() - 17]);
    let text = request("INVITE", "sip:desk@127.0.0.1:5099", NODE, &format!("Route: {forged}\r\n"))
        .replace("z9hG4bK", "z9hG4bKx");
    let all = w.give_by(Flow::udp(addr("127.0.0.1:5060"), addr(NODE)), &text);
    assert_eq!(all[0].0.remote, addr("127.0.0.1:5099"));
}

/// F-REDIS-04: what Redis does not say in time is not waited for.
#[test]
fn f_redis_04_no_request_waits_longer_than_the_deadline() {
    let mut w = world(true);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    let more = format!("Contact: <sip:bob@{PHONE}>\r\n");
    assert_eq!(w.register_by(flow, "bob", &more), "");
    let id = w.look();
    assert_eq!(w.wait(10), []);
    let granted = w.wait(10).remove(0).1;
    assert!(granted.starts_with("SIP/2.0 200 "), "{granted}");
    assert!(!w.written().2, "nobody waits for the second question");
    assert!(w.say(id, found(vec![], 1)).is_empty(), "too late");
    // The first question was answered, the second is not: both together have one deadline.
    assert_eq!(w.register_by(flow, "bob", &more), "");
    w.ms += 6;
    let id = w.look();
    assert!(w.say(id, found(vec![], 1)).is_empty());
    assert!(w.written().2);
    assert_eq!(w.wait(4), []);
    assert!(w.wait(10)[0].1.starts_with("SIP/2.0 200 "));
    // A call: memory serves.
    w.call("bob");
    let all = w.wait(20);
    assert_eq!(all[0].0.remote, addr(PHONE));
    // And who has never registered here is not found, at once when Redis says "not now".
    let id = w.call("nobody");
    assert!(w.say(id, Said::Unavailable)[0].1.starts_with("SIP/2.0 480 "));
    assert_eq!(w.core.registrar.as_ref().unwrap().waiting(), 0);
}

#[test]
fn behind_answers_at_once() {
    let mut w = world(false);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    assert_eq!(w.register_by(flow, "bob", &format!("Contact: <sip:bob@{PHONE}>\r\n")), "");
    let id = w.look();
    let granted = w.say(id, found(vec![], 1)).remove(0).1;
    assert!(granted.starts_with("SIP/2.0 200 "), "{granted}");
    let (_, write, wait) = w.written();
    assert_eq!((write.puts.len(), wait), (1, false));
}

#[test]
fn a_phone_of_another_node_is_called_where_it_is_or_by_way_of_its_node() {
    let mut w = world(true);
    let plain = row("eve", "sip:eve@127.0.0.1:5083");
    let nat = Record {
        received: b"sip:192.0.2.9:1024;transport=tcp".to_vec(),
        connection: Some(4),
        cflags: 64,
        ..row("eve", "sip:eve@10.0.0.5:5060")
    };
    let path = Record { path: b"<sip:127.0.0.8:5070;lr>".to_vec(), ..row("eve", "sip:eve@10.0.0.6:5060") };
    let id = w.call("eve");
    let all = w.say(id, found(vec![plain, nat, path], 1));
    let mut went: Vec<(String, String)> =
        all.iter().map(|(f, t)| (f.remote.to_string(), lines(t, "Route").join(","))).collect();
    went.sort();
    let by_node = format!("<sip:{NODE};lr;received=sip:192.0.2.9:1024%3Btransport%3Dtcp>");
    assert_eq!(
        went,
        [
            ("127.0.0.1:5083".to_owned(), String::new()),
            ("127.0.0.8:5070".to_owned(), "<sip:127.0.0.8:5070;lr>".to_owned()),
            (NODE.to_owned(), by_node),
        ]
    );
    let nat = all.iter().find(|(f, _)| f.remote == addr(NODE)).unwrap();
    assert!(nat.1.starts_with("INVITE sip:eve@10.0.0.5:5060 SIP/2.0\r\n"));
    // Nobody can be reached by WebSocket through another node, nor where we do not send.
    let web = Record {
        socket: b"ws:127.0.0.9:80".to_vec(),
        connection: Some(1),
        ..row("web", "sip:x@127.0.0.1:1")
    };
    let wide = row("web", "sip:x@255.255.255.255:5060");
    let text = request("INVITE", "sip:web@carrier.test", CALLER, "").replace("z9hG4bK", "z9hG4bKw");
    assert_eq!(w.give(CALLER, &text), []);
    let id = w.look();
    assert!(w.say(id, found(vec![web, wide], 2))[0].1.starts_with("SIP/2.0 480 "));
}

/// Whoever takes a Kamailio's place at its address has its phones.
#[test]
fn rows_of_who_was_here_before_lead_to_the_phones() {
    let mut w = world(true);
    let before = Record {
        socket: b"udp:127.0.0.1:5060".to_vec(),
        received: b"sip:127.0.0.1:5084".to_vec(),
        ..row("eve", "sip:eve@10.0.0.5:5060")
    };
    let id = w.call("eve");
    let all = w.say(id, found(vec![before], 1));
    assert_eq!((all.len(), all[0].0.remote), (1, addr("127.0.0.1:5084")));
    assert!(lines(&all[0].1, "Route").is_empty());
    // Or a WARP that was restarted: its own Path is not a way to somebody else.
    let mut w = world(true);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    let row = w.put(flow, "bob", "Contact: <sip:bob@10.1.1.1:5060>\r\n", 1);
    w.core = Core::new(w.core.config().clone(), 0, [8; 32], Arc::new(Shared::new([8; 32])));
    let id = w.call("bob");
    let all = w.say(id, found(vec![row], 1));
    assert_eq!((all.len(), all[0].0.remote), (1, addr(PHONE)));
    assert!(lines(&all[0].1, "Route").is_empty());
}

#[test]
fn what_another_node_removed_is_gone_and_what_redis_lost_is_not() {
    for (batch, floor, calls) in [(1, 1, 1), (2, 1, 0), (3, 2, 1)] {
        let mut w = world(true);
        let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
        w.put(flow, "bob", &format!("Contact: <sip:bob@{PHONE}>\r\n"), 1);
        let id = w.call("bob");
        let all = w.say(id, Said::Found(Looked { records: vec![], view: View { batch, floor } }));
        let invites = all.iter().filter(|(_, t)| t.starts_with("INVITE ")).count();
        assert_eq!(invites, calls, "look-up {batch}, floor {floor}, written in 1");
    }
}

#[test]
fn a_phone_that_moves_between_nodes_is_one_contact() {
    let mut w = world(true);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    let contact = format!("sip:bob@{PHONE}");
    assert_eq!(w.register_by(flow, "bob", &format!("Contact: <{contact}>\r\n")), "");
    let theirs = row("bob", &contact);
    let id = w.look();
    assert!(w.say(id, found(vec![theirs.clone(), row("bob", "sip:bob@127.0.0.1:5085")], 1)).is_empty());
    let (id, write, _) = w.written();
    assert_eq!(write.puts.iter().map(|r| &r.ruid).collect::<Vec<_>>(), [&theirs.ruid], "its id is kept");
    let granted = w.say(id, Said::Stored).remove(0).1;
    assert_eq!(lines(&granted, "Contact").len(), 2, "the 200 names both: {granted}");
    // It unregisters here what it registered there, and what others wrote goes with `*`.
    assert_eq!(w.register_by(flow, "bob", "Contact: *\r\nExpires: 0\r\n"), "");
    let id = w.look();
    assert!(w.say(id, found(vec![theirs, row("bob", "sip:bob@127.0.0.1:5085")], 2)).is_empty());
    let (_, write, _) = w.written();
    assert_eq!(write.removed.len(), 2);
    assert!(write.removed.iter().all(|r| !r.expired));
}

#[test]
fn expired_contacts_are_removed_from_redis_only_when_they_are_over_there_as_well() {
    let mut w = world(true);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    w.put(flow, "bob", &format!("Contact: <sip:bob@{PHONE}>;expires=60\r\n"), 1);
    w.wait(130_000);
    let (_, write, wait) = w.written();
    assert_eq!((write.removed.len(), write.removed[0].expired, wait), (1, true, false));
}

#[test]
fn a_call_that_is_taken_back_while_it_waits_goes_nowhere() {
    let mut w = world(true);
    let flow = Flow::udp(addr("127.0.0.1:5060"), addr(PHONE));
    w.put(flow, "bob", &format!("Contact: <sip:bob@{PHONE}>\r\n"), 1);
    let text = request("INVITE", "sip:bob@carrier.test", CALLER, "");
    assert_eq!(w.give(CALLER, &text), []);
    assert_eq!(w.give(CALLER, &text), [], "a repetition asks nothing");
    let id = w.look();
    let answers = w.give(CALLER, &request("CANCEL", "sip:bob@carrier.test", CALLER, ""));
    let status: Vec<&str> = answers.iter().map(|(_, t)| &t[8..11]).collect();
    assert_eq!(status, ["200", "487"]);
    assert!(w.say(id, found(vec![], 2)).is_empty());
}
