//! A vendor that challenges: each try has a number of its own, both sides stay consistent, credentials go nowhere else (RFC 3261 §22.2, T-SIP-10).

use warp_model::Secret;
use warp_policy::directory::{Credentials, DirectoryBuilder};
use warp_sip::digest::{Algorithm, Challenge, Ha1, respond};

use super::tests_static::{addr, line};
use super::tests_world::*;
use super::types::Command;

fn with_credentials(rows: &mut DirectoryBuilder) {
    rows.vendor_trunks[0].credentials = Some(Credentials {
        username: "warp".into(),
        password: Secret::new("secret".into()),
        realm: Some("vendor".into()),
    });
    rows.vendor_trunks[0].allow_refer = true;
}

fn challenge(request: &str, status: &str, nonce: &str, extra: &str) -> String {
    let ask = if status.starts_with("401") { "WWW" } else { "Proxy" };
    let header = format!(
        "{ask}-Authenticate: Digest realm=\"vendor\", nonce=\"{nonce}\", qop=\"auth\", algorithm=MD5{extra}\r\n"
    );
    reply(request, status, "bt", V1, &header, "")
}

/// Whether its credentials are right for this nonce, which has been used so often.
fn is_signed(request: &str, nonce: &str, count: u32) -> bool {
    let name =
        if request.contains("Proxy-Authorization: ") { "Proxy-Authorization" } else { "Authorization" };
    if !request.contains(&format!("\r\n{name}: ")) {
        return false;
    }
    let value = line(request, name);
    let field = |f: &str| value.split_once(&format!("{f}=\"")).unwrap().1.split_once('"').unwrap().0;
    let c = Challenge {
        realm: b"vendor",
        nonce: nonce.as_bytes(),
        algorithm: Algorithm::Md5,
        qop_auth: true,
        opaque: None,
        stale: false,
    };
    let ha1 = Ha1::new(Algorithm::Md5, b"warp", b"vendor", b"secret");
    let mut words = request.split(' ');
    let (method, uri) = (words.next().unwrap(), words.next().unwrap());
    let mut out = vec![];
    respond(
        &c,
        b"warp",
        &ha1,
        method.as_bytes(),
        uri.as_bytes(),
        field("cnonce").as_bytes(),
        count,
        &mut out,
    );
    String::from_utf8(out).unwrap() == value
}

/// What went to the vendor besides ACKs.
fn at_vendor(w: &mut World) -> String {
    let mut all: Vec<String> = w
        .take()
        .into_iter()
        .filter(|(to, t)| *to == addr(V1) && !t.starts_with("ACK "))
        .map(|(_, t)| t)
        .collect();
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn branch(request: &str) -> &str {
    line(request, "Via").split_once("branch=").unwrap().1
}

/// An answered call whose INVITE was challenged: the 200 as the caller got it, and the INVITE that was accepted.
fn challenged_call(w: &mut World) -> (String, String) {
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    assert!(!first.contains("Authorization"));
    w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n1", ""));
    let sent = w.take();
    assert!(sent[0].1.starts_with("ACK ") && branch(&sent[0].1) == branch(&first), "the 407 is acknowledged");
    assert_eq!(line(&sent[0].1, "CSeq"), "1 ACK");
    let second = sent[1].1.clone();
    assert_eq!((line(&second, "CSeq"), sent.len()), ("2 INVITE", 2));
    assert_ne!(branch(&first), branch(&second));
    assert!(is_signed(&second, "n1", 1), "{second}");
    assert_eq!((body(&second), line(&second, "From")), (body(&first), line(&first, "From")));
    w.give(V1, &reply(&second, "180 Ringing", "bt", V1, "", ""));
    assert_eq!(line(&w.to(CUSTOMER), "CSeq"), "1 INVITE");
    w.give(V1, &reply(&second, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    assert_eq!(line(&ok, "CSeq"), "1 INVITE");
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    let ack = w.to(V1);
    assert_eq!(line(&ack, "CSeq"), "2 ACK");
    assert_eq!(line(&ack, "Proxy-Authorization"), line(&second, "Proxy-Authorization"), "RFC 3261 §22.1");
    (ok, second)
}

fn in_dialog(method: &str, ok: &str, n: u32, extra: &str, sdp: &str) -> String {
    inside(method, ok, true, &format!("{method}{n}"), extra, sdp)
        .replace(&format!("2 {method}"), &format!("{n} {method}"))
        .replace("1 ACK", &format!("{n} ACK"))
}

#[test]
fn each_try_has_a_new_number_and_both_sides_stay_consistent() {
    let mut w = World::new(true, with_credentials);
    let (ok, _) = challenged_call(&mut w);
    // No need to be asked again: the next requests carry credentials, with a rising count.
    w.give(CUSTOMER, &in_dialog("INFO", &ok, 2, "", ""));
    let info = w.to(V1);
    assert_eq!(line(&info, "CSeq"), "3 INFO");
    assert!(is_signed(&info, "n1", 2), "{info}");
    w.give(V1, &reply(&info, "200 OK", "", V1, "", ""));
    assert_eq!(line(&w.to(CUSTOMER), "CSeq"), "2 INFO");
    // A re-INVITE whose nonce is too old: again with the next number, and its ACK follows it.
    w.give(CUSTOMER, &in_dialog("INVITE", &ok, 3, "", SDP));
    let re = w.to(V1);
    assert_eq!(line(&re, "CSeq"), "4 INVITE");
    w.give(V1, &challenge(&re, "407 Proxy Authentication Required", "n2", ", stale=true"));
    let re = at_vendor(&mut w);
    assert_eq!(line(&re, "CSeq"), "5 INVITE");
    assert!(is_signed(&re, "n2", 1));
    w.give(V1, &reply(&re, "200 OK", "", V1, "", SDP));
    let again = w.to(CUSTOMER);
    assert_eq!((line(&again, "CSeq"), body(&again)), ("3 INVITE", format!("relay:{SDP}").as_str()));
    w.give(CUSTOMER, &in_dialog("ACK", &ok, 3, "", ""));
    let ack = w.to(V1);
    assert_eq!(line(&ack, "CSeq"), "5 ACK");
    assert!(ack.contains(line(&re, "Proxy-Authorization")));
    // The first ACK again (its 200 was repeated late): still the number of the first INVITE.
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert_eq!(line(&w.to(V1), "CSeq"), "2 ACK");
    // The vendor's own requests and numbers pass as they are.
    w.give(V1, &inside("INFO", &ok, false, "vi", "", ""));
    let theirs = w.to(CUSTOMER);
    assert_eq!((line(&theirs, "CSeq"), theirs.contains("Authorization")), ("2 INFO", false));
    w.give(CUSTOMER, &reply(&theirs, "200 OK", "", CUSTOMER, "", ""));
    w.take();
    // A BYE that is challenged: the vendor's leg must not stay up.
    w.wait(61_000);
    w.take();
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 4, "", ""));
    let bye = w.to(V1);
    assert_eq!(line(&bye, "CSeq"), "6 BYE");
    w.give(V1, &challenge(&bye, "407 Proxy Authentication Required", "n3", ", stale=true"));
    let bye = w.to(V1);
    assert_eq!(line(&bye, "CSeq"), "7 BYE");
    assert!(is_signed(&bye, "n3", 1));
    w.give(V1, &reply(&bye, "200 OK", "", V1, "", ""));
    let done = w.to(CUSTOMER);
    assert!(done.starts_with("SIP/2.0 200 ") && line(&done, "CSeq") == "4 BYE", "{done}");
    w.nothing_is_left();
    assert_eq!((w.ended.len(), w.ended[0].legs.len(), w.ended[0].legs[0].sip_code), (1, 1, 200));
    one_record(&w, 1, 61, 11_000_000, 1_100_000);
}

/// kamailio#919, drachtio-server#190, sipsorcery#477: nothing was challenged but the BYE, and by a UAS (401).
#[test]
fn a_bye_or_reinvite_alone_may_be_challenged() {
    for (method, sdp) in [("BYE", ""), ("INVITE", SDP), ("UPDATE", SDP), ("INFO", "")] {
        let mut w = World::new(true, with_credentials);
        let (ok, _) = answered(&mut w, SDP);
        if method == "BYE" {
            w.wait(61_000);
            w.take();
        }
        w.give(CUSTOMER, &in_dialog(method, &ok, 2, "", sdp));
        let first = w.to(V1);
        assert_eq!(line(&first, "CSeq"), format!("2 {method}"));
        w.give(V1, &challenge(&first, "401 Unauthorized", "n1", ""));
        let second = at_vendor(&mut w);
        assert_eq!(line(&second, "CSeq"), format!("3 {method}"));
        assert!(is_signed(&second, "n1", 1), "{second}");
        w.give(V1, &reply(&second, "200 OK", "", V1, "", sdp));
        let done = w.to(CUSTOMER);
        assert!(done.starts_with("SIP/2.0 200 ") && line(&done, "CSeq") == format!("2 {method}"), "{done}");
        match method {
            "BYE" => one_record(&w, 1, 61, 11_000_000, 1_100_000),
            "INVITE" => {
                w.give(CUSTOMER, &in_dialog("ACK", &ok, 2, "", ""));
                hangs_up(&mut w, &ok, 3, 1);
            }
            _ => hangs_up(&mut w, &ok, 3, 1),
        }
    }
}

/// Our own BYE is challenged, too: at the end by an operator, for an answer that came too late, and after a restart.
#[test]
fn our_own_byes_answer_challenges() {
    let mut w = World::new(true, with_credentials);
    challenged_call(&mut w);
    let resume = w.answered[0].resume.clone().unwrap();
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "operator" });
    let sent = w.take();
    let bye = |sent: &[(std::net::SocketAddr, String)]| {
        sent.iter().find(|(to, t)| *to == addr(V1) && t.starts_with("BYE ")).unwrap().1.clone()
    };
    let first = bye(&sent);
    assert_eq!(line(&first, "CSeq"), "3 BYE");
    assert!(is_signed(&first, "n1", 2), "{first}");
    assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && line(t, "CSeq") == "1 BYE"), "{sent:?}");
    w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n2", ", stale=true"));
    let second = bye(&w.take());
    assert_eq!(line(&second, "CSeq"), "4 BYE");
    assert!(is_signed(&second, "n2", 1));

    // Another process, which knows the call by its record only.
    let mut w = World::new(true, with_credentials);
    let json = resume;
    let resume = super::Resume::read(&json).unwrap();
    assert_eq!(
        json.get(),
        serde_json::to_string(&resume).unwrap(),
        "its two writers agree, on the realm too"
    );
    assert!(json.get().contains("\"realm\":["), "{json:?}");
    w.command(Command::EndRecovered(Box::new(resume)));
    let first = bye(&w.take());
    assert!(!first.contains("Authorization"));
    w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n3", ""));
    assert!(is_signed(&bye(&w.take()), "n3", 1));

    // A late 200 of a vendor that was given up: its ACK carries the credentials of its INVITE, its BYE may be challenged.
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n1", ""));
    let second = at_vendor(&mut w);
    w.wait(2_100);
    assert!(w.take().iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")));
    w.give(V1, &reply(&second, "200 OK", "bt", V1, "", SDP));
    let sent = w.take();
    assert_eq!(line(&sent[0].1, "CSeq"), "2 ACK");
    assert_eq!(line(&sent[0].1, "Proxy-Authorization"), line(&second, "Proxy-Authorization"));
    let late = bye(&sent);
    assert_eq!(line(&late, "CSeq"), "3 BYE");
    w.give(V1, &challenge(&late, "407 Proxy Authentication Required", "n2", ""));
    assert!(is_signed(&bye(&w.take()), "n2", 1));
}

/// The nonce is too old at once (RFC 7616 §3.3): again, and not for ever. Without `stale` the credentials are wrong: the next vendor.
#[test]
fn stale_nonces_are_answered_and_wrong_credentials_are_not() {
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let mut at_v = w.to(V1);
    for n in 1..=3 {
        let stale = if n == 1 { "" } else { ", stale=TRUE" };
        w.give(V1, &challenge(&at_v, "407 Proxy Authentication Required", &format!("n{n}"), stale));
        at_v = at_vendor(&mut w);
        assert_eq!(line(&at_v, "CSeq"), format!("{} INVITE", n + 1));
        assert!(is_signed(&at_v, &format!("n{n}"), 1));
    }
    w.give(V1, &challenge(&at_v, "407 Proxy Authentication Required", "n4", ", stale=true"));
    let sent = w.take();
    let (_, next) =
        sent.iter().find(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")).expect("the next");
    w.give(V2, &reply(next, "200 OK", "bt", V2, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    hangs_up(&mut w, &ok, 2, 2);

    // The second stale one is accepted: the vendor that was asked first carries the call, once.
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let mut at_v = w.to(V1);
    for stale in ["", ", stale=true"] {
        w.give(V1, &challenge(&at_v, "407 Proxy Authentication Required", &format!("n{stale}"), stale));
        at_v = at_vendor(&mut w);
    }
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    hangs_up(&mut w, &ok, 2, 1);

    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n1", ""));
    let second = at_vendor(&mut w);
    w.give(V1, &challenge(&second, "407 Proxy Authentication Required", "n2", ""));
    assert!(w.take().iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")));
    assert_eq!(w.core.calls.all.iter().next().unwrap().1.branches.len(), 2);
}

#[test]
fn a_next_nonce_is_used_for_the_next_request() {
    let mut w = World::new(true, with_credentials);
    let (ok, _) = challenged_call(&mut w);
    w.give(CUSTOMER, &in_dialog("INFO", &ok, 2, "", ""));
    let info = w.to(V1);
    let next = "Proxy-Authentication-Info: nextnonce=\"n9\", qop=auth\r\n";
    w.give(V1, &reply(&info, "200 OK", "", V1, next, ""));
    w.take();
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 3, "", ""));
    assert!(is_signed(&w.to(V1), "n9", 1));
}

/// RAck and `Event: refer;id=` name numbers: each side reads its own.
#[test]
fn numbers_within_headers_are_translated() {
    let mut w = World::new(false, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.to(V1);
    w.give(V1, &challenge(&first, "401 Unauthorized", "n1", ""));
    let second = at_vendor(&mut w);
    w.give(V1, &reply(&second, "180 Ringing", "bt", V1, "Require: 100rel\r\nRSeq: 9\r\n", ""));
    let ring = w.to(CUSTOMER);
    w.give(CUSTOMER, &in_dialog("PRACK", &ring, 2, "RAck: 9 1 INVITE\r\n", ""));
    let prack = w.to(V1);
    assert_eq!((line(&prack, "CSeq"), line(&prack, "RAck")), ("3 PRACK", "9 2 INVITE"));
    // Challenged itself.
    w.give(V1, &challenge(&prack, "401 Unauthorized", "n2", ", stale=true"));
    let prack = w.to(V1);
    assert_eq!((line(&prack, "CSeq"), line(&prack, "RAck")), ("4 PRACK", "9 2 INVITE"));
    w.give(V1, &reply(&prack, "200 OK", "", V1, "", ""));
    assert_eq!(line(&w.to(CUSTOMER), "CSeq"), "2 PRACK");
    w.give(V1, &reply(&second, "200 OK", "bt", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert_eq!(line(&w.to(V1), "CSeq"), "2 ACK");
    w.give(CUSTOMER, &in_dialog("REFER", &ok, 3, "Refer-To: <sip:x@y>\r\n", ""));
    let refer = w.to(V1);
    assert_eq!(line(&refer, "CSeq"), "5 REFER");
    w.give(V1, &reply(&refer, "202 Accepted", "", V1, "", ""));
    w.take();
    w.give(V1, &inside("NOTIFY", &ok, false, "n1", "Event: refer;id=5\r\n", ""));
    let notify = w.to(CUSTOMER);
    assert_eq!((line(&notify, "Event"), line(&notify, "CSeq")), ("refer;id=3", "2 NOTIFY"));
    w.give(CUSTOMER, &in_dialog("SUBSCRIBE", &ok, 4, "Event: refer;id=3\r\nExpires: 0\r\n", ""));
    let end = w.to(V1);
    assert_eq!((line(&end, "Event"), line(&end, "CSeq")), ("refer;id=5", "6 SUBSCRIBE"));
}

#[test]
fn t_sip_10_credentials_go_to_the_trunks_addresses_and_realm_only() {
    // Another realm; of two challenges the one of our realm counts, though it is the weaker.
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    let other =
        "Proxy-Authenticate: Digest realm=\"elsewhere\", nonce=\"x\", qop=\"auth\", algorithm=SHA-256\r\n";
    let both = format!("{other}Proxy-Authenticate: Digest realm=\"vendor\", nonce=\"n1\", qop=\"auth\"\r\n");
    w.give(V1, &reply(&at_v, "407 Proxy Authentication Required", "bt", V1, &both, ""));
    assert!(is_signed(&at_vendor(&mut w), "n1", 1));
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "407 Proxy Authentication Required", "bt", V1, other, ""));
    assert!(w.take().iter().all(|(_, t)| !t.contains("Authorization")));

    // No realm is configured: the first one of the dialog, and no second one.
    let mut w = World::new(true, |rows| {
        with_credentials(rows);
        rows.vendor_trunks[0].credentials.as_mut().unwrap().realm = None;
    });
    let (ok, _) = challenged_call(&mut w);
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 2, "", ""));
    let bye = w.to(V1);
    let asked = reply(&bye, "407 Proxy Authentication Required", "", V1, other, "");
    w.give(V1, &asked);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));

    // The dialog leads to somebody who is not of the trunk.
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    let elsewhere = "203.0.113.77:5060";
    w.give(V1, &reply(&at_v, "200 OK", "bt", elsewhere, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 2, "", ""));
    let bye = w.to(elsewhere);
    w.give(elsewhere, &challenge(&bye, "407 Proxy Authentication Required", "n1", ""));
    assert!(w.take().iter().all(|(_, t)| !t.contains("Authorization: ")));

    // What the vendor asked of the caller, and the caller challenges, is not ours to answer.
    let mut w = World::new(true, with_credentials);
    let (ok, _) = challenged_call(&mut w);
    w.give(V1, &inside("BYE", &ok, false, "vb", "", ""));
    let bye = w.to(CUSTOMER);
    w.give(CUSTOMER, &challenge(&bye, "407 Proxy Authentication Required", "n1", ""));
    assert!(w.to(V1).starts_with("SIP/2.0 200 "));
}

fn no_realm(rows: &mut DirectoryBuilder) {
    with_credentials(rows);
    rows.vendor_trunks[0].credentials.as_mut().unwrap().realm = None;
}

/// Without a configured realm the one that challenges the INVITE is the vendor's. What challenges only later in a call may be the called
/// party, and could guess at the password with our answer.
#[test]
fn t_sip_10_without_a_configured_realm_only_the_one_of_the_invite_is_answered() {
    let is_answered = |sent: &[(std::net::SocketAddr, String)]| {
        sent.iter().any(|(_, t)| t.contains("\r\nAuthorization: ") || t.contains("\r\nProxy-Authorization: "))
    };
    // The INVITE was let in as it was: nobody gets credentials in this call, not even for our own BYE.
    for method in ["BYE", "INFO", "INVITE"] {
        let mut w = World::new(true, no_realm);
        let (ok, _) = answered(&mut w, SDP);
        w.give(CUSTOMER, &in_dialog(method, &ok, 2, "", if method == "INVITE" { SDP } else { "" }));
        let at_v = w.to(V1);
        w.give(V1, &challenge(&at_v, "401 Unauthorized", "n1", ""));
        assert!(!is_answered(&w.take()), "{method}");
    }
    let our_bye = |w: &mut World| {
        let cdr_id = w.answered[0].cdr_id;
        w.command(Command::EndCall { cdr_id, reason: "operator" });
        w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("BYE ")).unwrap().1
    };
    let elsewhere = |request: &str| {
        challenge(request, "407 Proxy Authentication Required", "x", ", stale=true")
            .replace("\"vendor\"", "\"elsewhere\"")
    };
    let mut w = World::new(true, no_realm);
    answered(&mut w, SDP);
    let bye = our_bye(&mut w);
    w.give(V1, &challenge(&bye, "407 Proxy Authentication Required", "n1", ""));
    assert!(!is_answered(&w.take()));
    // The INVITE was challenged: its realm, and no other one, also for what we send ourselves.
    let mut w = World::new(true, no_realm);
    challenged_call(&mut w);
    let resume = w.answered[0].resume.clone().unwrap();
    let bye = our_bye(&mut w);
    w.give(V1, &elsewhere(&bye));
    assert!(!is_answered(&w.take()));
    let mut w = World::new(true, no_realm);
    challenged_call(&mut w);
    let bye = our_bye(&mut w);
    w.give(V1, &challenge(&bye, "407 Proxy Authentication Required", "n2", ", stale=true"));
    assert!(is_signed(&w.to(V1), "n2", 1));
    // After a restart the record tells it.
    for (ask, answered) in
        [(elsewhere as fn(&str) -> String, false), (|r| challenge(r, "401 Unauthorized", "n3", ""), true)]
    {
        let mut w = World::new(true, no_realm);
        let resume = super::Resume::read(&resume).unwrap();
        w.command(Command::EndRecovered(Box::new(resume)));
        let bye = w.take().into_iter().find(|(to, _)| *to == addr(V1)).unwrap().1;
        w.give(V1, &ask(&bye));
        assert_eq!(is_answered(&w.take()), answered);
    }
    // And for an answer that came too late.
    for (ask, answered) in
        [(elsewhere as fn(&str) -> String, false), (|r| challenge(r, "401 Unauthorized", "n3", ""), true)]
    {
        let mut w = World::new(true, no_realm);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let first = w.to(V1);
        w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n1", ""));
        let second = at_vendor(&mut w);
        w.wait(2_100);
        w.take();
        w.give(V1, &reply(&second, "200 OK", "bt", V1, "", SDP));
        let bye = w.take().into_iter().find(|(_, t)| t.starts_with("BYE ")).unwrap().1;
        w.give(V1, &ask(&bye));
        assert_eq!(is_answered(&w.take()), answered);
    }
}

/// The other nodes of a trunk's platform are its own: they may ask for its credentials.
#[test]
fn t_sip_10_a_listed_node_of_the_vendor_may_challenge() {
    let mut w = World::new(true, |rows| {
        with_credentials(rows);
        rows.vendor_trunks[0].signalling_ips = vec!["203.0.113.77".parse().unwrap()];
    });
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    let node = "203.0.113.77:5060";
    w.give(V1, &reply(&at_v, "200 OK", "bt", node, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 2, "", ""));
    let bye = w.to(node);
    w.give(node, &challenge(&bye, "407 Proxy Authentication Required", "n1", ""));
    assert!(is_signed(&w.to(node), "n1", 1));
}

/// A customer has no credentials for a vendor, and what he sends is stripped of them: he never hears a challenge. Who hangs up has hung
/// up; everything else is refused and changes nothing.
#[test]
fn a_challenge_that_nobody_can_answer_never_reaches_the_customer() {
    fn another_realm(rows: &mut DirectoryBuilder) {
        with_credentials(rows);
        rows.vendor_trunks[0].credentials.as_mut().unwrap().realm = Some("ours".into());
    }
    fn with_refer(rows: &mut DirectoryBuilder) {
        rows.vendor_trunks[0].allow_refer = true;
    }
    for tweak in [with_refer as Tweak, another_realm] {
        for status in ["401 Unauthorized", "407 Proxy Authentication Required"] {
            for (method, sdp) in [("INVITE", SDP), ("UPDATE", SDP), ("INFO", ""), ("REFER", ""), ("BYE", "")]
            {
                let mut w = World::new(true, tweak);
                let (ok, _) = answered(&mut w, SDP);
                w.questions();
                w.give(CUSTOMER, &in_dialog(method, &ok, 2, "", sdp));
                let at_v = w.to(V1);
                w.give(V1, &challenge(&at_v, status, "n1", ""));
                let out = w.take();
                let heard = out.iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1.clone();
                let says = if method == "BYE" { "SIP/2.0 200 " } else { "SIP/2.0 403 " };
                assert!(heard.starts_with(says) && !heard.contains("Authenticate"), "{method}: {heard}");
                assert_eq!(line(&heard, "CSeq"), format!("2 {method}"));
                assert!(out.iter().all(|(_, t)| !t.contains("Authorization: ")), "{out:#?}");
                assert_eq!(w.core.stats().challenges_unanswered, 1);
                if method != "BYE" {
                    // Media is as it was, and the call goes on.
                    let told: Vec<Vec<u8>> = w.questions().into_iter().filter_map(told).collect();
                    let last: Vec<&[u8]> = told.iter().rev().take(2).rev().map(Vec::as_slice).collect();
                    assert_eq!(
                        last,
                        if sdp.is_empty() { vec![] } else { vec![SDP.as_bytes(); 2] },
                        "{method}"
                    );
                    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
                    w.give(CUSTOMER, &in_dialog("BYE", &ok, 3, "", ""));
                    let bye = w.to(V1);
                    w.give(V1, &reply(&bye, "200 OK", "", V1, "", ""));
                    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
                }
                assert_eq!(
                    (w.ended.len(), w.ended[0].release_side),
                    (1, warp_model::cdr::ReleaseSide::Caller)
                );
                w.nothing_is_left();
                // What the vendor still sends in that dialog ends it there (RFC 3261 §12.2.1.2).
                w.give(V1, &inside("INVITE", &ok, false, "late", "", SDP));
                assert!(w.to(V1).starts_with("SIP/2.0 481 "));
            }
        }
    }
}

/// The call is forgotten when the vendor challenges at last.
#[test]
fn a_challenge_after_the_call_was_forgotten_is_not_passed_on() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 2, "", ""));
    let bye = w.to(V1);
    w.give(V1, &reply(&bye, "200 OK", "", V1, "", ""));
    w.take();
    // Once more, before the call is forgotten, and answered after it.
    w.wait(30_000);
    w.give(CUSTOMER, &in_dialog("BYE", &ok, 3, "", ""));
    let again = w.to(V1);
    w.wait(3_000);
    w.take();
    assert_eq!(w.core.calls.all.len(), 0);
    w.give(V1, &challenge(&again, "407 Proxy Authentication Required", "n1", ""));
    let heard = w.to(CUSTOMER);
    assert!(heard.starts_with("SIP/2.0 200 ") && !heard.contains("Authenticate"), "{heard}");
    w.nothing_is_left();
}

/// The description that the relay is told.
fn told(question: warp_ng::Command) -> Option<Vec<u8>> {
    match question {
        warp_ng::Command::Offer(c) | warp_ng::Command::Answer(c) => Some(c.sdp.to_vec()),
        _ => None,
    }
}

/// A caller that has given up is not called for again.
#[test]
fn a_challenge_after_the_cancel_ends_the_call() {
    let mut w = World::new(true, with_credentials);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "100 Trying", "", V1, "", ""));
    let cancel =
        invite(NUMBER, "c1", "", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    w.give(CUSTOMER, &cancel);
    w.take();
    w.give(V1, &challenge(&at_v, "407 Proxy Authentication Required", "n1", ""));
    let sent = w.take();
    assert!(sent.iter().all(|(_, t)| !t.starts_with("INVITE ")), "{sent:?}");
    assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 487 ")));
    w.nothing_is_left();
}

/// CANCEL of a re-INVITE that was challenged is about its second try.
#[test]
fn the_cancel_of_a_challenged_reinvite_has_the_branch_of_its_second_try() {
    let mut w = World::new(true, with_credentials);
    let (ok, _) = challenged_call(&mut w);
    w.give(CUSTOMER, &in_dialog("INVITE", &ok, 2, "", SDP));
    let first = w.to(V1);
    w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n2", ", stale=true"));
    let second = at_vendor(&mut w);
    w.give(V1, &reply(&second, "180 Ringing", "", V1, "", ""));
    w.take();
    let again = in_dialog("INVITE", &ok, 2, "", "");
    w.give(CUSTOMER, &again.replace("INVITE sip", "CANCEL sip").replace("2 INVITE", "2 CANCEL"));
    let cancel = at_vendor(&mut w);
    assert!(cancel.starts_with("CANCEL ") && branch(&cancel) == branch(&second), "{cancel}");
    assert_eq!(line(&cancel, "CSeq").replace("CANCEL", "INVITE"), line(&second, "CSeq"));
}

/// F-NET-02: who challenges is alive, so the silence before it does not add up with the one after it.
#[test]
fn f_net_02_a_challenge_is_a_sign_of_life() {
    for challenged in [false, true] {
        let mut w = World::with(false, with_credentials, |c| c.trunk_down_after = 2);
        for n in 0..2 {
            w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
            let first = w.to(V1);
            if challenged && n == 1 {
                w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n1", ""));
            }
            w.wait(2_100);
            w.take();
        }
        let id = warp_model::VendorTrunkId::from_u128(1);
        let state = w.core.tx.shared.vendor_trunk(id, super::tests_static::at(w.ms).mono).unwrap();
        assert_eq!(state == super::health::TrunkState::Up, challenged, "{state:?}");
    }
}

/// T-SIP-14: of what a challenge says as much is kept as is usual, and no byte more.
#[test]
fn t_sip_14_a_challenge_of_kilobytes_is_not_answered() {
    for (length, answered) in [(1_024, true), (1_025, false)] {
        let mut w = World::new(false, with_credentials);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let first = w.to(V1);
        let nonce = "n".repeat(length);
        w.give(V1, &challenge(&first, "407 Proxy Authentication Required", &nonce, ""));
        assert_eq!(w.take().iter().any(|(_, t)| is_signed(t, &nonce, 1)), answered, "{length}");
    }
}

/// T-SIP-10: the ACK to a callee that is none of the vendor's own nodes carries no credentials.
#[test]
fn t_sip_10_an_ack_to_elsewhere_is_not_signed() {
    for (node, signed) in [(V1, true), ("198.18.0.9:5060", false)] {
        let mut w = World::new(false, with_credentials);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let first = w.to(V1);
        w.give(V1, &challenge(&first, "407 Proxy Authentication Required", "n1", ""));
        let second = at_vendor(&mut w);
        w.give(V1, &reply(&second, "200 OK", "bt", node, "", ""));
        let ok = w.to(CUSTOMER);
        w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
        assert_eq!(w.to(node).contains("Proxy-Authorization: "), signed, "{node}");
    }
}
