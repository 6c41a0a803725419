//! SIP users of customers under policy: they register with the secrets of their trunk, are called where they are, and what they call is
//! their customer's, screened, priced and recorded.

use std::sync::Arc;

use warp_model::cdr::Outcome;
use warp_model::{CustomerId, NumberId, TrunkId};
use warp_ng::{Command as Ng, Dtls, Ice, Transport as Secure};
use warp_policy::NumberBook;
use warp_policy::inbound::{Destination, Number, TrunkTarget};
use warp_sip::digest::{self, Ha1};
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::message::Message;

use super::tests_inbound::{FROM_VENDOR, back, calls, numbered};
use super::tests_static::{addr, at, line};
use super::tests_world::*;
use super::types::Listener;

const OURS: &str = "+14155550199";
const PHONE: &str = "198.51.100.77:5066";
const WSS: &str = "198.51.100.1:8443";

/// Calls to the number go to the phones of the user `pbx` of trunk 1.
fn world() -> World {
    let mut w = World::with(true, numbered, |config| {
        let bind = addr(WSS);
        config.listeners.push(Listener { transport: Transport::Wss, bind, advertise: None });
    });
    let target =
        TrunkTarget { trunk: TrunkId::from_u128(1), user: Some("pbx".into()), priority: 0, weight: 1 };
    let book = NumberBook::of(vec![Number {
        id: NumberId::from_u128(9),
        number: OURS.parse().unwrap(),
        customer: CustomerId::from_u128(1),
        sell_decks: vec![],
        destination: Destination::Trunks(vec![target]),
    }]);
    let now = w.core.tx.snapshot.clone().unwrap();
    let next = now.with_numbers(Arc::new(book.unwrap()));
    w.core.handle_snapshot(Arc::new(next), at(w.ms));
    w
}

fn register(user: &str, cseq: u32, contact: &str, more: &str) -> String {
    format!(
        "REGISTER sip:sip.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKr{cseq}{user}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@sip.example.com>;tag=r\r\nTo: <sip:{user}@sip.example.com>\r\nCall-ID: reg-{user}\r\n\
         CSeq: {cseq} REGISTER\r\nContact: <{contact}>\r\nExpires: 600\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// The credentials that answer a challenge.
fn credentials(challenged: &str, method: &str, uri: &str, user: &str, password: &str) -> String {
    let message = Message::parse(challenged.as_bytes()).unwrap();
    let (_, challenge) = digest::best_challenge(&message).expect("a challenge");
    let ha1 = Ha1::new(challenge.algorithm, user.as_bytes(), challenge.realm, password.as_bytes());
    let (mut value, cnonce) = (Vec::new(), b"0a4f113b");
    digest::respond(
        &challenge,
        user.as_bytes(),
        &ha1,
        method.as_bytes(),
        uri.as_bytes(),
        cnonce,
        1,
        &mut value,
    );
    String::from_utf8(value).unwrap()
}

impl World {
    fn by(&mut self, flow: Flow, text: &str) {
        self.ms += 10;
        self.core.handle_message(flow, text.as_bytes(), at(self.ms));
        self.drain();
    }

    /// A phone registers; gives the last answer.
    fn registers(&mut self, flow: Flow, user: &str, password: &str, contact: &str) -> String {
        self.by(flow, &register(user, 1, contact, ""));
        let challenged = self.take().pop().expect("a challenge").1;
        assert!(challenged.starts_with("SIP/2.0 401 "), "{challenged}");
        let uri = "sip:sip.example.com";
        let value = credentials(&challenged, "REGISTER", uri, user, password);
        self.by(flow, &register(user, 2, contact, &format!("Authorization: {value}\r\n")));
        self.take().pop().expect("an answer").1
    }
}

#[test]
fn a_registered_user_of_a_customer_is_called_where_he_is_and_the_call_is_priced() {
    let mut w = world();
    // Nobody there: who calls hears 480, and the record says why.
    w.give(FROM_VENDOR, &calls(OURS, "c0", ""));
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 480 "));
    let ok = w.registers(Flow::udp(addr(US), addr(PHONE)), "pbx", "secret", &format!("sip:pbx@{PHONE}"));
    assert!(ok.starts_with("SIP/2.0 200 ") && line(&ok, "Contact").contains(PHONE), "{ok}");
    let shown = w.core.tx.shared.registered("pbx", "warp", at(w.ms).mono);
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].contact.as_str(), shown[0].source), ("sip:pbx@198.51.100.77:5066", addr(PHONE)));
    assert!((598..=600).contains(&shown[0].expires_in.as_secs()), "{shown:?}");
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    let at_phone = w.to(PHONE);
    assert!(at_phone.starts_with(&format!("INVITE sip:pbx@{PHONE} SIP/2.0\r\n")), "{at_phone}");
    assert_eq!(body(&at_phone), format!("relay:{SDP}"), "its media is anchored");
    w.give(PHONE, &reply(&at_phone, "200 OK", "bt", PHONE, "", SDP));
    let ok = w.to(FROM_VENDOR);
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PHONE)));
    assert!(w.to(PHONE).starts_with("ACK "));
    w.wait(60_000);
    w.take();
    // The phone hangs up, from where it is; it is nobody's listed address.
    let bye = inside("BYE", &ok, false, "bye", "", "").replace(&format!("UDP {V1}"), &format!("UDP {PHONE}"));
    w.give(PHONE, &bye.replace(CUSTOMER, FROM_VENDOR));
    assert!(w.take().iter().any(|(to, t)| *to == addr(FROM_VENDOR) && t.starts_with("BYE ")));
    let r = w.ended.last().unwrap();
    assert_eq!((r.outcome, r.customer_id), (Outcome::Answered, Some(CustomerId::from_u128(1))));
    assert_eq!((r.trunk_id, r.number_id), (Some(TrunkId::from_u128(1)), Some(NumberId::from_u128(9))));
    assert!(r.rating.as_ref().is_some_and(|rating| rating.sell.charge.0 > 0));
}

/// A browser has no address: calls take its connection, and so does what follows within the call.
#[test]
fn a_browser_is_called_by_its_own_connection() {
    let mut w = world();
    let flow =
        Flow { link: LinkId(7), ..Flow::unlinked(Transport::Wss, addr(WSS), addr("203.0.113.200:50000")) };
    let ok = w.registers(flow, "pbx", "secret", "sip:x8f2@k3j.invalid;transport=ws");
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    let (to, at_phone) = w.take().into_iter().find(|(_, t)| t.starts_with("INVITE ")).expect("an INVITE");
    assert_eq!(to, flow.remote);
    assert!(
        at_phone.starts_with("INVITE sip:x8f2@k3j.invalid;transport=ws SIP/2.0\r\nVia: SIP/2.0/WSS "),
        "{at_phone}"
    );
    w.by(flow, &reply(&at_phone, "200 OK", "bt", "k3j.invalid", "", SDP));
    let ok = w.to(FROM_VENDOR);
    assert!(ok.starts_with("SIP/2.0 200 "));
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, "k3j.invalid")));
    let (to, ack) = w.take().pop().unwrap();
    assert!(to == flow.remote && ack.starts_with("ACK "), "{to} {ack}");
}

/// RFC 8829, RFC 8827: a browser is offered DTLS-SRTP with ICE on one port, and whoever calls it hears nothing of that.
#[test]
fn a_browser_that_is_called_is_offered_media_as_browsers_have_it() {
    let mut w = world();
    let flow =
        Flow { link: LinkId(7), ..Flow::unlinked(Transport::Wss, addr(WSS), addr("203.0.113.200:50000")) };
    w.registers(flow, "pbx", "secret", "sip:x8f2@k3j.invalid;transport=ws");
    w.questions();
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert_eq!(offer.transport_protocol, Some(Secure::UdpTlsRtpSavpf));
    assert_eq!((offer.ice, offer.sdes_off, offer.flags.generate_mid), (Some(Ice::Force), true, true));
    assert!(offer.rtcp_mux.offer && offer.rtcp_mux.require);
    let at_phone = w.take().into_iter().find(|(_, t)| t.starts_with("INVITE ")).expect("an INVITE").1;
    w.by(flow, &reply(&at_phone, "200 OK", "bt", "k3j.invalid", "", SDP));
    let Ng::Answer(answer) = w.questions().remove(0) else { panic!() };
    assert_eq!((answer.transport_protocol, answer.ice), (None, Some(Ice::Remove)));
    // It offers anew: the other one is told of plain RTP, and its answer is of the form that the browser has.
    let ok = w.to(FROM_VENDOR);
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, "k3j.invalid")));
    w.take();
    let again = inside("INVITE", &ok, false, "re", "Contact: <sip:x8f2@k3j.invalid;transport=ws>\r\n", SDP);
    w.by(flow, &again.replace(&format!("UDP {V1}"), "WSS k3j.invalid").replace(CUSTOMER, FROM_VENDOR));
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert_eq!((offer.transport_protocol, offer.ice), (Some(Secure::RtpAvp), Some(Ice::Remove)));
    let (_, at_vendor) = w.take().into_iter().find(|(_, t)| t.starts_with("INVITE ")).expect("a re-INVITE");
    w.give(FROM_VENDOR, &reply(&at_vendor, "200 OK", "", FROM_VENDOR, "", SDP));
    let Ng::Answer(answer) = w.questions().remove(0) else { panic!() };
    assert_eq!((answer.transport_protocol, answer.ice), (None, Some(Ice::Default)));
}

/// The same the other way round: what a browser calls is offered plain RTP.
#[test]
fn what_a_browser_calls_is_offered_plain_media() {
    let mut w = world();
    let flow =
        Flow { link: LinkId(7), ..Flow::unlinked(Transport::Wss, addr(WSS), addr("203.0.113.200:50000")) };
    w.registers(flow, "pbx", "secret", "sip:x8f2@k3j.invalid;transport=ws");
    let call = invite(NUMBER, "out", "", SDP).replace(&format!("UDP {CUSTOMER}"), "WSS k3j.invalid");
    w.by(flow, &call);
    let challenged = w.take().pop().expect("a challenge").1;
    let value = credentials(&challenged, "INVITE", &format!("sip:{NUMBER}@{US}"), "pbx", "secret");
    let signed = call
        .replace("CSeq: 1 ", "CSeq: 2 ")
        .replace("z9hG4bKout", "z9hG4bKout2")
        .replace("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\nProxy-Authorization: {value}\r\n"));
    w.questions();
    w.by(flow, &signed);
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert_eq!((offer.transport_protocol, offer.ice), (Some(Secure::RtpAvp), Some(Ice::Remove)));
    assert!(offer.rtcp_mux.demux && offer.dtls == Some(Dtls::Off));
    let at_v =
        w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("INVITE ")).expect("a vendor").1;
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let Ng::Answer(answer) = w.questions().remove(0) else { panic!() };
    assert_eq!((answer.ice, answer.rtcp_mux, answer.dtls), (Some(Ice::Default), Default::default(), None));
}

/// What a registered user calls is his customer's call.
#[test]
fn a_users_call_is_his_customers() {
    let mut w = world();
    let flow = Flow::udp(addr(US), addr(PHONE));
    w.registers(flow, "pbx", "secret", &format!("sip:pbx@{PHONE}"));
    let call = invite(NUMBER, "out", "", "").replace(CUSTOMER, PHONE);
    w.by(flow, &call);
    let challenged = w.to(PHONE);
    assert!(challenged.starts_with("SIP/2.0 407 "), "{challenged}");
    let uri = format!("sip:{NUMBER}@{US}");
    let value = credentials(&challenged, "INVITE", &uri, "pbx", "secret");
    let signed = call
        .replace("CSeq: 1 ", "CSeq: 2 ")
        .replace("z9hG4bKout", "z9hG4bKout2")
        .replace("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\nProxy-Authorization: {value}\r\n"));
    w.by(flow, &signed);
    let at_v =
        w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("INVITE ")).expect("a vendor").1;
    assert!(!at_v.contains("Proxy-Authorization"));
    w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, "", ""));
    let r = w.ended.last().unwrap();
    assert_eq!((r.trunk_id, r.ingress_user.as_deref()), (Some(TrunkId::from_u128(1)), Some("pbx")));
}

/// T-SIP-08: a wrong password, a name that nobody has, and somebody else's address of record end alike, and nobody is registered.
#[test]
fn t_sip_08_nobody_registers_without_a_right_password_or_for_somebody_else() {
    let flow = Flow::udp(addr(US), addr(PHONE));
    for (user, password) in [("pbx", "wrong"), ("nobody", "secret")] {
        let mut w = world();
        let refused = w.registers(flow, user, password, &format!("sip:x@{PHONE}"));
        assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
        assert_eq!(w.core.tx.shared.registrations(), 0);
    }
    let mut w = world();
    w.by(flow, &register("other", 1, &format!("sip:x@{PHONE}"), ""));
    let challenged = w.to(PHONE);
    let uri = "sip:sip.example.com";
    let value = credentials(&challenged, "REGISTER", uri, "pbx", "secret");
    w.by(flow, &register("other", 2, &format!("sip:x@{PHONE}"), &format!("Authorization: {value}\r\n")));
    assert!(w.to(PHONE).starts_with("SIP/2.0 403 "));
    assert_eq!(w.core.tx.shared.registrations(), 0);
    // Whose trunk is switched off does not register either.
    let mut w = World::new(false, |rows| rows.trunks[0].enabled = false);
    let refused = w.registers(flow, "pbx", "secret", &format!("sip:x@{PHONE}"));
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
}
