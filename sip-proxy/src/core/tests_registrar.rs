//! The registrar, driven by bytes: phones register with digest, and requests for them go to where they are.

use std::net::SocketAddr;
use std::sync::Arc;

use warp_sip::digest::{self, Algorithm, Ha1};
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::message::Message;

use super::tests_static::{addr, at, line, lines, response};
use super::types::{Accounts, Bounds, RegistrarConfig};
use super::*;

const US: &str = "127.0.0.1:5060";
const CALLER: &str = "127.0.0.1:5071";
const PHONE: &str = "127.0.0.1:5081";
const DESK: &str = "127.0.0.1:5082";
const STRANGER: &str = "192.0.2.66:5060";

pub(super) struct World {
    pub(super) core: Core,
    pub(super) ms: u64,
    n: u32,
    /// What was asked of other nodes' registrations.
    pub(super) asked: Vec<(AskId, Question)>,
}

impl World {
    fn new() -> World {
        World::with(|_| ())
    }

    pub(super) fn with(configure: fn(&mut CoreConfig)) -> World {
        let listener = |transport| Listener { transport, bind: addr(US), advertise: None };
        let settings = RegistrarConfig {
            domain: "carrier.test".into(),
            accounts: Accounts::Derived { prefix: "pw-".into() },
            bounds: Bounds::default(),
            trusted: vec!["127.0.0.1".parse().unwrap()],
            shared: None,
        };
        let listeners = vec![listener(Transport::Udp), listener(Transport::Tcp)];
        let mut config = CoreConfig::new(Mode::Registrar(settings), listeners);
        config.domains = vec!["carrier.test".into()];
        config.realm = Realm { name: "carrier.test".into(), sha256: true, md5: true };
        configure(&mut config);
        let shared = Arc::new(Shared::new([3; 32]));
        World { core: Core::new(Arc::new(config), 0, [9; 32], shared), ms: 0, n: 0, asked: vec![] }
    }

    pub(super) fn sent(&mut self) -> Vec<(Flow, String)> {
        let mut all = vec![];
        while let Some(o) = self.core.poll_output() {
            if let Output::Ask { id, question } = o {
                self.asked.push((id, question));
                continue;
            }
            if let Output::Transmit { flow, bytes } = o {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                if !text.starts_with("SIP/2.0 100 ") {
                    all.push((flow, text));
                }
                self.core.recycle(bytes);
            }
        }
        all
    }

    pub(super) fn give_by(&mut self, flow: Flow, text: &str) -> Vec<(Flow, String)> {
        self.ms += 10;
        self.core.handle_message(flow, text.as_bytes(), at(self.ms));
        self.sent()
    }

    pub(super) fn give(&mut self, from: &str, text: &str) -> Vec<(SocketAddr, String)> {
        let all = self.give_by(Flow::udp(addr(US), addr(from)), text);
        all.into_iter().map(|(flow, text)| (flow.remote, text)).collect()
    }

    pub(super) fn wait(&mut self, ms: u64) -> Vec<(Flow, String)> {
        let (end, mut all) = (self.ms + ms, vec![]);
        while let Some(next) = self.core.poll_timeout().filter(|n| *n <= at(end).mono) {
            self.ms = self.ms.max((next.0 - at(0).mono.0).div_ceil(1_000_000));
            self.core.handle_timeout(at(self.ms));
            all.append(&mut self.sent());
        }
        self.ms = end;
        all
    }

    /// REGISTER of a user, signed; gives the final answer.
    pub(super) fn register_by(&mut self, flow: Flow, user: &str, more: &str) -> String {
        self.register_as(flow, user, user, &format!("pw-{user}"), Algorithm::Sha256, more)
    }

    fn register_as(
        &mut self,
        flow: Flow,
        aor: &str,
        user: &str,
        password: &str,
        algorithm: Algorithm,
        more: &str,
    ) -> String {
        let first = self.register_text(flow, aor, more);
        let challenged = self.give_by(flow, &first).remove(0).1;
        assert!(challenged.starts_with("SIP/2.0 401 "), "{challenged}");
        let offered = challenged.clone();
        let message = Message::parse(offered.as_bytes()).unwrap();
        let challenge = message
            .lines_of(warp_sip::header::Header::WwwAuthenticate)
            .map(|v| digest::Challenge::parse(v).unwrap())
            .find(|c| c.algorithm == algorithm)
            .expect("the algorithm is offered");
        let ha1 = Ha1::new(algorithm, user.as_bytes(), b"carrier.test", password.as_bytes());
        let mut value = b"Authorization: ".to_vec();
        digest::respond(
            &challenge,
            user.as_bytes(),
            &ha1,
            b"REGISTER",
            b"sip:carrier.test",
            b"cn",
            1,
            &mut value,
        );
        let signed = format!("{more}{}\r\n", String::from_utf8(value).unwrap());
        let again = self.register_text(flow, aor, &signed);
        let mut all = self.give_by(flow, &again);
        if all.is_empty() && !self.asked.is_empty() {
            return String::new(); // it waits for other nodes
        }
        assert_eq!(all.len(), 1, "{all:#?}");
        assert_eq!(all[0].0, flow);
        all.remove(0).1
    }

    fn register_text(&mut self, flow: Flow, aor: &str, more: &str) -> String {
        self.n += 1;
        let n = self.n;
        format!(
            "REGISTER sip:carrier.test SIP/2.0\r\nVia: SIP/2.0/{} {};branch=z9hG4bKr{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{aor}@carrier.test>;tag=r{n}\r\nTo: <sip:{aor}@carrier.test>\r\nCall-ID: reg-{}\r\n\
             CSeq: {n} REGISTER\r\n{more}Content-Length: 0\r\n\r\n",
            flow.transport.token(),
            flow.remote,
            flow.remote.port(),
        )
    }

    fn register(&mut self, from: &str, user: &str, more: &str) -> String {
        let more = format!("Contact: <sip:{user}@{from}>{more}");
        self.register_by(Flow::udp(addr(US), addr(from)), user, &more)
    }

    fn invite(&mut self, uri: &str) -> Vec<(SocketAddr, String)> {
        let text = request("INVITE", uri, CALLER, "");
        self.give(CALLER, &text)
    }

    /// After all timers nothing is left but bindings.
    fn nothing_is_left(&mut self) {
        self.wait(400_000);
        assert_eq!(self.core.transactions(), (0, 0));
        assert_eq!(self.core.registrar.as_ref().unwrap().forks.len(), 0);
    }
}

pub(super) fn request(method: &str, uri: &str, from: &str, more: &str) -> String {
    let number = if matches!(method, "INVITE" | "ACK" | "CANCEL") { 1 } else { 2 };
    let branch = if matches!(method, "INVITE" | "CANCEL") { "INVITE" } else { method };
    let to = if more.contains("\r\nTo: ") || more.starts_with("To: ") {
        String::new()
    } else {
        format!("To: <{uri}>\r\n")
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:c@{from}>;tag=ct\r\nCall-ID: call-1\r\nCSeq: {number} {method}\r\nContact: <sip:c@{from}>\r\n\
         {to}{more}Content-Length: 0\r\n\r\n"
    )
}

fn with_tag(text: String, tag: &str) -> String {
    text.replace(";tag=bt", &format!(";tag={tag}"))
}

#[test]
fn a_phone_registers_and_is_called_and_hangs_up() {
    let mut w = World::new();
    let ok = w.register(PHONE, "alice", ";q=0.5\r\nExpires: 120\r\n");
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    assert_eq!(lines(&ok, "Contact"), [format!("<sip:alice@{PHONE}>;q=0.500;expires=120")]);

    for uri in ["sip:alice@carrier.test", "sip:alice@127.0.0.1:5060", "sip:%61lice@carrier.test"] {
        let mut w = World::new();
        w.register(PHONE, "alice", "\r\n");
        let at_phone = w.invite(uri);
        assert_eq!((at_phone.len(), at_phone[0].0), (1, addr(PHONE)), "{uri}: {at_phone:#?}");
        let invite = &at_phone[0].1;
        assert!(invite.starts_with(&format!("INVITE sip:alice@{PHONE} SIP/2.0\r\n")), "{invite}");
        assert_eq!(lines(invite, "Record-Route").len(), 1, "no flow is needed: {invite}");
        let ok = w.give(PHONE, &response(invite, "200 OK", PHONE));
        assert_eq!((ok.len(), ok[0].0), (1, addr(CALLER)));
        let routes: String =
            lines(&ok[0].1, "Record-Route").iter().map(|r| format!("Route: {r}\r\n")).collect();
        let to = format!("To: {}\r\n", line(&ok[0].1, "To"));
        for method in ["ACK", "BYE"] {
            let text = request(method, &format!("sip:b@{PHONE}"), CALLER, &format!("{to}{routes}"));
            let there = w.give(CALLER, &text);
            assert_eq!((there.len(), there[0].0), (1, addr(PHONE)), "{method}");
            if method == "BYE" {
                assert_eq!(w.give(PHONE, &response(&there[0].1, "200 OK", PHONE))[0].0, addr(CALLER));
            }
        }
        // The phone repeats its 2xx until it has the ACK: each goes back.
        assert_eq!(w.give(PHONE, &response(invite, "200 OK", PHONE))[0].0, addr(CALLER));
        w.nothing_is_left();
    }
}

/// RFC 3261 §10.3, RFC 7616: digest by SHA-256 or MD5; a wrong password, another one's name and an unknown domain are refused alike.
#[test]
fn t_sip_08_who_registers_is_who_he_says() {
    let mut w = World::new();
    let flow = Flow::udp(addr(US), addr(PHONE));
    let contact = format!("Contact: <sip:x@{PHONE}>\r\n");
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        let ok = w.register_as(flow, "alice", "alice", "pw-alice", algorithm, &contact);
        assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    }
    let wrong = w.register_as(flow, "bob", "bob", "pw-alice", Algorithm::Md5, &contact);
    assert!(wrong.starts_with("SIP/2.0 403 "), "{wrong}");
    let anothers = w.register_as(flow, "bob", "alice", "pw-alice", Algorithm::Md5, &contact);
    assert!(anothers.starts_with("SIP/2.0 403 "), "{anothers}");
    assert!(w.invite("sip:bob@carrier.test")[0].1.starts_with("SIP/2.0 480 "));
    assert!(w.invite("sip:alice@elsewhere.test")[0].1.starts_with("SIP/2.0 404 "), "a name that is not ours");
}

/// T-SIP-09: the same signed REGISTER again, as another transaction, is stale.
#[test]
fn t_sip_09_a_signed_register_is_good_once() {
    let mut w = World::new();
    let flow = Flow::udp(addr(US), addr(PHONE));
    let text = w.register_text(flow, "alice", "");
    let offered = w.give_by(flow, &text).remove(0).1;
    let message = Message::parse(offered.as_bytes()).unwrap();
    let (_, challenge) = digest::best_challenge(&message).unwrap();
    let ha1 = Ha1::new(challenge.algorithm, b"alice", b"carrier.test", b"pw-alice");
    let mut value = b"Authorization: ".to_vec();
    digest::respond(&challenge, b"alice", &ha1, b"REGISTER", b"sip:carrier.test", b"cn", 1, &mut value);
    let signed = format!("{}\r\n", String::from_utf8(value).unwrap());
    let first = w.register_text(flow, "alice", &signed);
    assert!(w.give_by(flow, &first)[0].1.starts_with("SIP/2.0 200 "));
    assert!(w.give_by(flow, &first)[0].1.starts_with("SIP/2.0 200 "), "a repetition is answered as before");
    let replay = w.register_text(flow, "alice", &signed);
    let answer = w.give_by(flow, &replay).remove(0).1;
    assert!(answer.starts_with("SIP/2.0 401 ") && answer.contains("stale=true"), "{answer}");
}

#[test]
fn what_a_register_may_not_ask_for_is_refused() {
    let mut w = World::new();
    let brief = w.register(PHONE, "alice", ";expires=10\r\n");
    assert!(brief.starts_with("SIP/2.0 423 ") && line(&brief, "Min-Expires") == "60", "{brief}");
    let unknown = w.register(PHONE, "alice", "\r\nRequire: path, gruu\r\n");
    assert!(unknown.starts_with("SIP/2.0 420 ") && line(&unknown, "Unsupported") == "gruu", "{unknown}");
    let path = w.register(PHONE, "alice", "\r\nRequire: path\r\nPath: <sip:127.0.0.1:5090;lr>\r\n");
    assert!(path.starts_with("SIP/2.0 200 ") && line(&path, "Path") == "<sip:127.0.0.1:5090;lr>", "{path}");
    let at_edge = w.invite("sip:alice@carrier.test");
    assert_eq!(at_edge[0].0, addr("127.0.0.1:5090"), "RFC 3327: by way of the Path");
    assert_eq!(lines(&at_edge[0].1, "Route"), ["<sip:127.0.0.1:5090;lr>"]);
}

#[test]
fn unregistered_by_contact_by_star_and_by_time() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", ";expires=60\r\n");
    assert_eq!(w.invite("sip:alice@carrier.test").len(), 2);
    w.wait(200_000);
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", ";expires=60\r\n");
    let gone = w.register(PHONE, "alice", ";expires=0\r\n");
    assert_eq!(lines(&gone, "Contact").len(), 1, "{gone}");
    w.wait(60_000);
    assert!(w.invite("sip:alice@carrier.test")[0].1.starts_with("SIP/2.0 480 "));
    w.wait(200_000);
    assert_eq!(w.core.tx.shared.locations.len(), 0);
    assert_eq!(w.core.poll_timeout(), None, "nothing is swept where nobody is");

    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    let flow = Flow::udp(addr(US), addr(PHONE));
    let ok = w.register_by(flow, "alice", "Contact: *\r\nExpires: 0\r\n");
    assert!(ok.starts_with("SIP/2.0 200 ") && lines(&ok, "Contact").is_empty(), "{ok}");
    assert_eq!(w.core.tx.shared.locations.len(), 0);
}

/// RFC 3261 §16.7: all contacts of one preference ring; the first who answers has the call, the others are cancelled.
#[test]
fn all_contacts_ring_and_the_first_to_answer_has_the_call() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    let both = w.invite("sip:alice@carrier.test");
    assert_eq!(both.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [addr(PHONE), addr(DESK)]);
    assert_eq!(w.give(PHONE, &response(&both[0].1, "180 Ringing", PHONE))[0].0, addr(CALLER));
    w.give(DESK, &with_tag(response(&both[1].1, "180 Ringing", DESK), "dt"));
    let out = w.give(DESK, &with_tag(response(&both[1].1, "200 OK", DESK), "dt"));
    let cancel = out.iter().find(|(to, _)| *to == addr(PHONE)).expect("a CANCEL");
    assert!(cancel.1.starts_with("CANCEL "));
    let ok = out.iter().find(|(to, _)| *to == addr(CALLER)).expect("a 200");
    assert!(ok.1.starts_with("SIP/2.0 200 ") && ok.1.contains("tag=dt"));
    w.give(PHONE, &response(&cancel.1, "200 OK", PHONE));
    let end = w.give(PHONE, &response(&both[0].1, "487 Request Terminated", PHONE));
    assert!(end.iter().all(|(to, text)| *to == addr(PHONE) && text.starts_with("ACK ")), "{end:#?}");
    w.nothing_is_left();
}

/// RFC 0007: a second phone that answers at the same time gets ACK and BYE from us, and the caller hears of one only.
#[test]
fn a_second_2xx_is_ended_by_us() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    let both = w.invite("sip:alice@carrier.test");
    w.give(DESK, &with_tag(response(&both[1].1, "200 OK", DESK), "dt"));
    let late = w.give(PHONE, &response(&both[0].1, "200 OK", PHONE));
    let what: Vec<(SocketAddr, &str)> =
        late.iter().map(|(to, text)| (*to, text.split(' ').next().unwrap())).collect();
    assert_eq!(what, [(addr(PHONE), "ACK"), (addr(PHONE), "BYE")], "{late:#?}");
}

/// RFC 3261 §16.6: contacts of a lower preference are asked when the higher ones have failed, and the best answer of all goes back.
#[test]
fn lower_preferences_are_asked_in_turn_and_the_best_answer_goes_back() {
    let mut w = World::new();
    w.register(PHONE, "alice", ";q=0.9\r\n");
    w.register(DESK, "alice", ";q=0.1\r\n");
    let first = w.invite("sip:alice@carrier.test");
    assert_eq!((first.len(), first[0].0), (1, addr(PHONE)));
    let second = w.give(PHONE, &response(&first[0].1, "486 Busy Here", PHONE));
    let at_desk = second.iter().find(|(to, _)| *to == addr(DESK)).expect("the next one");
    assert!(second.iter().all(|(to, _)| *to != addr(CALLER)));
    let end = w.give(DESK, &response(&at_desk.1, "500 No", DESK));
    let back = end.iter().find(|(to, _)| *to == addr(CALLER)).expect("a final");
    assert!(back.1.starts_with("SIP/2.0 486 "), "4xx before 5xx: {}", back.1);
    w.give(
        CALLER,
        &request("ACK", "sip:alice@carrier.test", CALLER, &format!("To: {}\r\n", line(&back.1, "To"))),
    );
    w.nothing_is_left();
}

/// RFC 3261 §16.7 step 5: after a 6xx nobody else is asked, and who rings is cancelled.
#[test]
fn a_6xx_ends_the_search() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    w.register("127.0.0.1:5083", "alice", ";q=0.1\r\n");
    let both = w.invite("sip:alice@carrier.test");
    assert_eq!(both.len(), 2);
    w.give(DESK, &response(&both[1].1, "180 Ringing", DESK));
    let out = w.give(PHONE, &response(&both[0].1, "603 Decline", PHONE));
    assert!(out.iter().any(|(to, text)| *to == addr(DESK) && text.starts_with("CANCEL ")), "{out:#?}");
    let end = w.give(DESK, &response(&both[1].1, "487 Request Terminated", DESK));
    assert!(end.iter().any(|(to, text)| *to == addr(CALLER) && text.starts_with("SIP/2.0 603 ")), "{end:#?}");
    assert!(end.iter().all(|(to, _)| *to != addr("127.0.0.1:5083")));
}

#[test]
fn the_caller_takes_back_what_rings_everywhere() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    let both = w.invite("sip:alice@carrier.test");
    w.give(PHONE, &response(&both[0].1, "180 Ringing", PHONE));
    let cancel = request("CANCEL", "sip:alice@carrier.test", CALLER, "");
    let out = w.give(CALLER, &cancel);
    let of = |out: &[(SocketAddr, String)], to: &str| {
        let mine = out.iter().filter(|(a, _)| *a == addr(to));
        mine.map(|(_, t)| t.split("\r\n").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&out, CALLER), ["SIP/2.0 200 OK"]);
    assert_eq!(of(&out, PHONE), [format!("CANCEL sip:alice@{PHONE} SIP/2.0")]);
    assert!(of(&out, DESK).is_empty(), "RFC 3261 §9.1: not before a 1xx");
    w.give(PHONE, &response(&both[0].1, "487 Request Terminated", PHONE));
    let out = w.give(DESK, &response(&both[1].1, "180 Ringing", DESK));
    assert_eq!(of(&out, DESK), [format!("CANCEL sip:alice@{DESK} SIP/2.0")]);
    let out = w.give(DESK, &response(&both[1].1, "487 Request Terminated", DESK));
    assert_eq!(of(&out, CALLER), ["SIP/2.0 487 Request Terminated"]);
    w.nothing_is_left();
}

/// RFC 3261 §16.7 step 7: what any phone asks for is asked of the caller.
#[test]
fn challenges_of_all_phones_reach_the_caller() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    let both = w.invite("sip:alice@carrier.test");
    let challenge = |text: String, realm: &str| {
        text.replace(
            "Contact:",
            &format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"1\"\r\nContact:"),
        )
    };
    w.give(PHONE, &challenge(response(&both[0].1, "401 Unauthorized", PHONE), "one"));
    let end = w.give(DESK, &challenge(response(&both[1].1, "401 Unauthorized", DESK), "two"));
    let back = &end.iter().find(|(to, _)| *to == addr(CALLER)).expect("a final").1;
    assert_eq!(lines(back, "WWW-Authenticate").len(), 2, "{back}");
}

#[test]
fn a_phone_that_is_silent_costs_the_others_nothing() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", ";q=0.1\r\n");
    w.invite("sip:alice@carrier.test");
    let out = w.wait(32_100);
    let at_desk = out.iter().find(|(flow, _)| flow.remote == addr(DESK)).expect("the next one is asked");
    let ok = w.give(DESK, &response(&at_desk.1, "200 OK", DESK));
    assert!(ok.iter().any(|(to, text)| *to == addr(CALLER) && text.starts_with("SIP/2.0 200 ")));
    // And alone: 408.
    let mut w = World::new();
    w.register(PHONE, "bob", "\r\n");
    w.invite("sip:bob@carrier.test");
    let out = w.wait(32_100);
    assert!(
        out.iter().any(|(flow, t)| flow.remote == addr(CALLER) && t.starts_with("SIP/2.0 408 ")),
        "{out:#?}"
    );
}

/// RFC 3261 §9.2: who takes his call back hears that, whatever phones had not said before.
#[test]
fn who_takes_his_call_back_hears_487_after_silent_phones_too() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", ";q=0.1\r\n");
    w.invite("sip:alice@carrier.test");
    let out = w.wait(32_100);
    let at_desk = out.iter().find(|(flow, _)| flow.remote == addr(DESK)).expect("the next one is asked");
    w.give(DESK, &response(&at_desk.1, "180 Ringing", DESK));
    w.give(CALLER, &request("CANCEL", "sip:alice@carrier.test", CALLER, ""));
    let out = w.wait(40_000);
    let finals: Vec<&str> = out
        .iter()
        .filter(|(flow, t)| flow.remote == addr(CALLER) && t.contains("CSeq: 1 INVITE"))
        .filter_map(|(_, t)| t.get(8..11))
        .collect();
    assert!(!finals.is_empty() && finals.iter().all(|code| *code == "487"), "{finals:?}");
}

/// A phone behind an address translation: called where its REGISTER came from, and so are later requests of its dialogs.
#[test]
fn a_translated_phone_is_reached_by_its_flow() {
    let mut w = World::new();
    let inside = "10.0.0.7:5060";
    let flow = Flow::udp(addr(US), addr(PHONE));
    w.register_by(flow, "alice", &format!("Contact: <sip:alice@{inside}>\r\n"));
    let there = w.invite("sip:alice@carrier.test");
    assert_eq!(there[0].0, addr(PHONE));
    assert!(there[0].1.starts_with(&format!("INVITE sip:alice@{inside} SIP/2.0\r\n")), "its own name stays");
    assert_eq!(lines(&there[0].1, "Record-Route").len(), 2);
    let ok = w.give(PHONE, &response(&there[0].1, "200 OK", inside)).remove(0).1;
    let routes: Vec<String> = lines(&ok, "Record-Route").iter().rev().map(|r| (*r).to_owned()).collect();
    let routes: String = routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
    let to = format!("To: {}\r\n", line(&ok, "To"));
    let bye = request("BYE", &format!("sip:alice@{inside}"), CALLER, &format!("{to}{routes}"));
    let out = w.give(CALLER, &bye);
    assert_eq!(out[0].0, addr(PHONE), "{out:#?}");
    // A flow that is not of our making is none: the target is 10.0.0.7, which a proxy on loopback may send to.
    let forged = bye.replace("z9hG4bKBYE", "z9hG4bKother").replacen(";f=0", ";f=1", 1);
    assert_ne!(forged, bye);
    let out = w.give(CALLER, &forged);
    assert_ne!(out[0].0, addr(PHONE), "{out:#?}");
}

/// RFC 5626: a phone on TCP is reached by the connection that it registered by, the caller's BYE as well.
#[test]
fn a_phone_on_a_connection_is_reached_by_it() {
    let mut w = World::new();
    let flow = Flow { link: LinkId(7), ..Flow::unlinked(Transport::Tcp, addr(US), addr("127.0.0.1:40001")) };
    let more = "Supported: outbound, path\r\n\
                Contact: <sip:alice@127.0.0.1:5099;transport=tcp>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n";
    let ok = w.register_by(flow, "alice", more);
    assert_eq!(line(&ok, "Require"), "outbound");
    let text = request("INVITE", "sip:alice@carrier.test", CALLER, "");
    let there = w.give_by(Flow::udp(addr(US), addr(CALLER)), &text);
    assert_eq!(there[0].0, flow);
    let ok = w.give_by(flow, &response(&there[0].1, "200 OK", "127.0.0.1:5099"));
    let routes: Vec<&str> = lines(&ok[0].1, "Record-Route").into_iter().rev().collect();
    let routes: String = routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
    let to = format!("To: {}\r\n", line(&ok[0].1, "To"));
    let bye = request("BYE", "sip:alice@127.0.0.1:5099;transport=tcp", CALLER, &format!("{to}{routes}"));
    let out = w.give_by(Flow::udp(addr(US), addr(CALLER)), &bye);
    assert_eq!(out[0].0, flow, "{out:#?}");
    // And from the phone to the caller, who has no flow of his own.
    let back: String = lines(&there[0].1, "Record-Route").iter().map(|r| format!("Route: {r}\r\n")).collect();
    let bye = request("BYE", &format!("sip:c@{CALLER}"), "127.0.0.1:5099", &format!("{to}{back}"))
        .replace("z9hG4bKBYE", "z9hG4bKphone");
    let out = w.give_by(flow, &bye);
    assert_eq!(out[0].0.remote, addr(CALLER), "{out:#?}");
}

/// RFC 3261 §18.1.1: the Via of each branch names the listener that it leaves by, so that its response comes back there.
#[test]
fn a_branch_names_the_listener_that_it_leaves_by() {
    let mut w = World::with(|c| c.listeners[1].bind = addr("127.0.0.1:5062"));
    let flow = Flow {
        link: LinkId(7),
        ..Flow::unlinked(Transport::Tcp, addr("127.0.0.1:5062"), addr("127.0.0.1:40001"))
    };
    let more = "Supported: outbound, path\r\n\
                Contact: <sip:alice@127.0.0.1:5099;transport=tcp>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n";
    w.register_by(flow, "alice", more);
    let text = request("INVITE", "sip:alice@carrier.test", CALLER, "");
    let there = w.give_by(Flow::udp(addr(US), addr(CALLER)), &text);
    assert_eq!(there[0].0, flow);
    let via = lines(&there[0].1, "Via")[0];
    assert!(via.starts_with("SIP/2.0/TCP 127.0.0.1:5062;"), "{via}");
}

/// T-SIP-05: who is no known peer signs in before he calls, and then calls our users only.
#[test]
fn t_sip_05_a_stranger_signs_in_and_calls_nobody_else() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    let call =
        request("INVITE", "sip:alice@carrier.test", STRANGER, &format!("X-Room: {}\r\n", "x".repeat(200)));
    let asked = w.give(STRANGER, &call);
    assert!(asked[0].1.starts_with("SIP/2.0 407 "), "{asked:#?}");
    let offered = asked[0].1.clone();
    let message = Message::parse(offered.as_bytes()).unwrap();
    let (_, challenge) = digest::best_challenge(&message).unwrap();
    let ha1 = Ha1::new(challenge.algorithm, b"bob", b"carrier.test", b"pw-bob");
    let mut value = b"Proxy-Authorization: ".to_vec();
    digest::respond(&challenge, b"bob", &ha1, b"INVITE", b"sip:alice@carrier.test", b"cn", 1, &mut value);
    let signed = format!("{}\r\n", String::from_utf8(value).unwrap());
    let text =
        request("INVITE", "sip:alice@carrier.test", STRANGER, &signed).replace("z9hG4bKINVITE", "z9hG4bK2");
    let there = w.give(STRANGER, &text);
    assert_eq!(there[0].0, addr(PHONE), "{there:#?}");
    assert!(!there[0].1.contains("Proxy-Authorization"), "T-SIP-10: nobody else needs them");
    let world =
        request("INVITE", "sip:x@127.0.0.9:5060", STRANGER, &signed).replace("z9hG4bKINVITE", "z9hG4bK3");
    let refused = w.give(STRANGER, &world);
    assert!(refused.len() == 1 && refused[0].1.starts_with("SIP/2.0 403 "), "{refused:#?}");
    let inside = request("BYE", "sip:x@127.0.0.9:5060", STRANGER, "To: <sip:x@y>;tag=1\r\n");
    let refused = w.give(STRANGER, &inside);
    assert!(refused.len() == 1 && refused[0].1.starts_with("SIP/2.0 403 "), "{refused:#?}");
}

/// T-SIP-14: a contact that leads to ourselves, or to everybody, is not followed.
#[test]
fn t_sip_14_a_contact_that_leads_back_to_us_is_no_way() {
    let mut w = World::new();
    for contact in ["sip:alice@224.0.0.1:5060", "sip:alice@127.0.0.1:5060"] {
        // By way of another proxy: the contact is taken as it says.
        let flow = Flow::udp(addr(US), addr(PHONE));
        let more = format!("Path: <sip:127.0.0.1:5060;lr>\r\nContact: <{contact}>\r\n");
        w.register_by(flow, "alice", &more);
    }
    let out = w.invite("sip:alice@carrier.test");
    assert!(out.len() == 1 && out[0].1.starts_with("SIP/2.0 480 "), "{out:#?}");
}

/// Requests other than INVITE fork as well; who does not answer is not told of (RFC 4320).
#[test]
fn a_message_reaches_all_contacts_and_one_answer_goes_back() {
    let mut w = World::new();
    w.register(PHONE, "alice", "\r\n");
    w.register(DESK, "alice", "\r\n");
    let both = w.give(CALLER, &request("MESSAGE", "sip:alice@carrier.test", CALLER, ""));
    assert_eq!(both.len(), 2);
    let ok = w.give(DESK, &response(&both[1].1, "200 OK", DESK));
    assert_eq!((ok.len(), ok[0].0), (1, addr(CALLER)));
    assert!(
        w.give(PHONE, &response(&both[0].1, "202 Accepted", PHONE)).iter().all(|(to, _)| *to != addr(CALLER))
    );
    w.nothing_is_left();
}

/// RFC 5393 §5.3.3.1: branches that are open together share the breadth of their request; those without a share come after them.
#[test]
fn rfc_5393_branches_share_the_breadth_of_their_request() {
    for (said, first, second) in
        [("", vec!["20"; 3], vec![]), ("Max-Breadth: 2\r\n", vec!["1"; 2], vec!["2"])]
    {
        let mut w = World::new();
        for port in [5081, 5082, 5083] {
            assert!(w.register(&format!("127.0.0.1:{port}"), "bob", "\r\n").starts_with("SIP/2.0 200 "));
        }
        let all = w.give(CALLER, &request("INVITE", "sip:bob@carrier.test", CALLER, said));
        let breadths = |all: &[(SocketAddr, String)]| {
            let invites = all.iter().filter(|(_, t)| t.starts_with("INVITE "));
            invites.map(|(_, t)| lines(t, "Max-Breadth").join(",")).collect::<Vec<_>>()
        };
        assert_eq!(breadths(&all), first, "{said}");
        let mut later = Vec::new();
        for (at, invite) in &all {
            later.extend(w.give(&at.to_string(), &response(invite, "486 Busy Here", &at.to_string())));
        }
        assert_eq!(breadths(&later), second, "{said}");
    }
}
