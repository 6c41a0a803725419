//! What arrives while a question is open waits, in its order, and is judged by what the answer made (issue: nothing is tested against state
//! that is still being made).

use warp_model::cdr::ReleaseSide;
use warp_ng::{Command as Ng, Reply};

use super::tests_static::{addr, line};
use super::tests_world::*;
use super::types::AskId;

/// The vendor has the INVITE, the relay is asked by hand from now on.
fn invited() -> (World, String) {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.questions();
    w.relay = false;
    (w, at_v)
}

fn next_question(w: &mut World) -> AskId {
    w.asked.pop_front().expect("a question").0
}

fn say(w: &mut World, text: &str) {
    let id = next_question(w);
    w.answer(id, Ok(Reply::Sdp { sdp: text.as_bytes().to_vec(), warning: None, recordings: Vec::new() }));
}

fn firsts(w: &mut World) -> Vec<String> {
    w.take().iter().map(|(to, t)| format!("{to} {}", &t[..11])).collect()
}

/// What the vendor sends in a dialog that the caller does not know yet.
fn from_vendor(method: &str, at_v: &str, branch: &str, extra: &str, sdp: &str) -> String {
    let ok = reply(at_v, "200 OK", "bt", V1, "", "");
    inside(method, &ok, false, branch, extra, sdp)
}

#[test]
fn a_bye_on_the_heels_of_a_200_ends_the_call() {
    let (mut w, at_v) = invited();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    w.give(V1, &from_vendor("BYE", &at_v, "b1", "", ""));
    // A repetition of it waits as well, and is one.
    w.give(V1, &from_vendor("BYE", &at_v, "b1", "", ""));
    assert!(w.take().is_empty(), "no 481");
    say(&mut w, "v=0\r\n");
    let sent = firsts(&mut w);
    assert_eq!(sent, [format!("{CUSTOMER} SIP/2.0 200"), format!("{CUSTOMER} BYE sip:x@1")], "{sent:?}");
    w.relay = true;
    w.drain();
    w.nothing_is_left();
    assert_eq!((w.answered.len(), w.ended.len()), (1, 1));
    assert_eq!(w.ended[0].release_side, ReleaseSide::Callee);
    assert_eq!((w.ended[0].internal_code.as_str(), w.ended[0].sip_code), ("", 200));
    // It was answered and is over in the same moment: an answered call costs its first increment, or nothing when it has no time.
    one_record(&w, 1, 0, 1_000_000, 100_000);
}

#[test]
fn a_reinvite_before_the_ack_goes_to_the_caller() {
    let (mut w, at_v) = invited();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    w.give(V1, &from_vendor("INVITE", &at_v, "r1", &format!("Contact: <sip:b@{V1}>\r\n"), SDP));
    say(&mut w, "v=0\r\n");
    let sent = firsts(&mut w);
    assert_eq!(sent.last().unwrap(), &format!("{V1} SIP/2.0 100"), "{sent:?}");
    say(&mut w, "v=1\r\n");
    let again = w.to(CUSTOMER);
    assert!(again.starts_with("INVITE ") && body(&again) == "v=1\r\n", "{again}");
    // The call goes on by it, and is one call.
    w.relay = true;
    let first = sent.iter().find(|s| s.starts_with(CUSTOMER)).expect("the 200 of the first INVITE");
    assert!(first.ends_with("SIP/2.0 200"), "{first}");
    w.give(CUSTOMER, &reply(&again, "200 OK", "", CUSTOMER, "", SDP));
    assert!(w.to(V1).starts_with("SIP/2.0 200 "));
    w.give(V1, &from_vendor("ACK", &at_v, "r2", "", "").replace("CSeq: 1", "CSeq: 2"));
    assert!(w.to(CUSTOMER).starts_with("ACK "));
    let ok = reply(&at_v, "200 OK", "bt", V1, "", "");
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a1", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    hangs_up(&mut w, &ok, 2, 1);
}

/// Behind a request that itself asks, the next ones wait on; nothing overtakes.
#[test]
fn requests_wait_for_one_another() {
    let (mut w, at_v) = invited();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    w.give(V1, &from_vendor("UPDATE", &at_v, "u1", "", SDP));
    w.give(V1, &from_vendor("INFO", &at_v, "i1", "", "").replace("CSeq: 2", "CSeq: 3"));
    w.give(V1, &from_vendor("BYE", &at_v, "b1", "", "").replace("CSeq: 2", "CSeq: 4"));
    say(&mut w, "v=0\r\n");
    assert_eq!(firsts(&mut w), [format!("{CUSTOMER} SIP/2.0 200")]);
    say(&mut w, "v=1\r\n");
    let methods: Vec<String> =
        w.take().iter().map(|(_, t)| t.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["UPDATE", "INFO", "BYE"]);
}

/// The ACK of a late offer brings the answer while the relay is still asked about an offer that came before it: it waits its turn, and
/// its answer reaches the relay and the vendor. Behind it nothing overtakes.
#[test]
fn an_ack_with_an_answer_waits_for_the_question_before_it() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    // The caller asks for an offer (a re-INVITE without a body), the vendor makes it.
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "late", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "", V1, "", SDP));
    let offered = w.to(CUSTOMER);
    assert_eq!(body(&offered), format!("relay:{SDP}"));
    w.questions();
    w.relay = false;
    // An INFO does not ask; the vendor's UPDATE does, and its question stands open.
    w.give(V1, &inside("UPDATE", &ok, false, "upd", "", SDP));
    let asked = w.asked.len();
    let ack = inside("ACK", &ok, true, "late-ack", "", SDP).replace("CSeq: 1 ACK", "CSeq: 2 ACK");
    w.give(CUSTOMER, &ack);
    w.give(CUSTOMER, &inside("INFO", &ok, true, "info", "", "").replace("CSeq: 2", "CSeq: 3"));
    let early = firsts(&mut w);
    assert!(early.iter().all(|m| !m.contains(" ACK ") && !m.contains(" INFO ")), "{early:?}");
    assert_eq!((asked, w.asked.len()), (1, 1), "one question at a time");
    say(&mut w, "v=1\r\n");
    w.take();
    assert_eq!(w.asked.len(), 1, "now the answer in the ACK is asked about");
    assert!(matches!(&w.asked[0].1, Ng::Answer(a) if a.sdp == SDP.as_bytes() && a.from_tag == b"bt"));
    say(&mut w, "v=2\r\n");
    let sent = w.take();
    let to_vendor: Vec<&str> =
        sent.iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| t.split(' ').next().unwrap()).collect();
    assert_eq!(to_vendor, ["ACK", "INFO"], "{sent:?}");
    let ack = &sent.iter().find(|(_, t)| t.starts_with("ACK ")).unwrap().1;
    assert_eq!((body(ack), line(ack, "CSeq")), ("v=2\r\n", "2 ACK"));
    w.relay = true;
    w.drain();
    hangs_up(&mut w, &ok, 4, 1);
}

#[test]
fn t_sip_11_who_may_not_speak_does_not_wait() {
    let (mut w, at_v) = invited();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let bye = from_vendor("BYE", &at_v, "b1", "", "");
    w.give("203.0.113.9:5060", &bye);
    assert!(w.take()[0].1.starts_with("SIP/2.0 481 "));
    // From the right address with a wrong tag: it waits, and is 481 then.
    w.give(V1, &bye.replace("tag=bt", "tag=other"));
    assert!(w.take().is_empty());
    say(&mut w, "v=0\r\n");
    let sent = firsts(&mut w);
    assert_eq!(sent, [format!("{CUSTOMER} SIP/2.0 200"), format!("{V1} SIP/2.0 481")]);
    assert_eq!(w.core.live_calls(), 1);
}

/// RFC 3262 §4: each early dialog of a fork behind the vendor has its own PRACK, answered by its own callee.
#[test]
fn prack_of_each_of_several_early_dialogs_finds_its_callee() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", ""));
    let at_v = w.to(V1);
    let mut rings = vec![];
    for (n, tag) in ["b1", "b2", "b3"].iter().enumerate() {
        let contact = format!("203.0.113.1:508{n}");
        w.give(V1, &reply(&at_v, "180 Ringing", tag, &contact, "Require: 100rel\r\nRSeq: 1\r\n", ""));
        rings.push(w.to(CUSTOMER));
    }
    for n in [1, 0, 2] {
        let prack = inside("PRACK", &rings[n], true, &format!("p{n}"), "RAck: 1 1 INVITE\r\n", "");
        w.give(CUSTOMER, &prack.replace("CSeq: 2", &format!("CSeq: {}", n + 2)));
        let sent = w.take();
        let (to, there) = sent.iter().find(|(_, t)| t.starts_with("PRACK ")).expect("passed on");
        assert_eq!((*to, line(there, "To")), (addr(&format!("203.0.113.1:508{n}")), line(&rings[n], "To")));
        w.give(V1, &reply(there, "200 OK", "", V1, "", ""));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    }
    // The second one answers: BYE goes there, and the others are no dialogs any more.
    w.give(V1, &reply(&at_v, "200 OK", "b2", "203.0.113.1:5081", "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.take().iter().all(|(to, t)| *to == addr("203.0.113.1:5081") && t.starts_with("ACK ")));
    w.give(CUSTOMER, &inside("PRACK", &rings[0], true, "p9", "RAck: 2 1 INVITE\r\n", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 481 "));
    w.wait(61_000);
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.take().iter().any(|(to, t)| *to == addr("203.0.113.1:5081") && t.starts_with("BYE ")));
    w.nothing_is_left();
    one_record(&w, 1, 61, 11_000_000, 1_100_000);
}

/// An early dialog of a vendor that failed is over with it.
#[test]
fn early_dialogs_end_with_their_branch() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "b1", V1, "Require: 100rel\r\nRSeq: 1\r\n", ""));
    let ring = w.to(CUSTOMER);
    w.give(V1, &reply(&at_v, "503 Gone", "b1", V1, "", ""));
    w.take();
    w.give(CUSTOMER, &inside("PRACK", &ring, true, "p1", "RAck: 1 1 INVITE\r\n", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 481 "));
}
