//! Terms of trunks and vendor trunks in messages that go there and come back (RFC 0046).

use std::sync::Arc;

use warp_model::{CustomerId, NumberId};
use warp_ng::Command as Ng;
use warp_policy::NumberBook;
use warp_policy::directory::*;
use warp_policy::inbound::{Destination, Number};

use super::tests_static::{at, line, lines};
use super::tests_world::*;

const ASSERTED: &str = "P-Asserted-Identity: <sip:+14155550999@x>\r\n";

fn terms(rows: &mut DirectoryBuilder) -> &mut HeaderTerms {
    rows.trunks[0].caller.trust_asserted = true;
    &mut rows.vendor_trunks[0].headers
}

/// The INVITE as the first vendor gets it, with these terms of its trunk.
fn at_vendor(extra: &str, tweak: Tweak) -> String {
    let mut w = World::new(false, tweak);
    w.give(CUSTOMER, &invite(NUMBER, "c1", extra, ""));
    w.to(V1)
}

/// RFC 3325 §7, §9.1; RFC 3323 §4.1.1.3: a caller who asks for it is not named to a peer outside of our circle, in nothing of the call that
/// goes there; the caller's own side sees what it said.
#[test]
fn t_sip_03_rfc_3325_7_a_private_caller_is_anonymous_to_who_is_not_trusted_all_through_the_call() {
    let mut w = World::new(false, |d| terms(d).trusted = false);
    let private = format!("{ASSERTED}Privacy: id\r\n");
    w.give(CUSTOMER, &invite(NUMBER, "c1", &private, ""));
    let at_v = w.to(V1);
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=at";
    assert_eq!(line(&at_v, "From"), anonymous);
    assert!(!at_v.contains("P-Asserted-Identity") && !at_v.contains("+14155550999"), "{at_v}");
    assert!(!at_v.contains("+14155550100"), "{at_v}");
    let named = format!("<sip:+14155550100@{CUSTOMER}>;tag=at");
    for status in ["180 Ringing", "200 OK"] {
        w.give(V1, &reply(&at_v, status, "bt", V1, "", ""));
        let back = w.to(CUSTOMER);
        assert_eq!(line(&back, "From"), named, "{back}");
    }
    let ok = {
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        w.to(CUSTOMER)
    };
    let ack = inside("ACK", &ok, true, "k", "", "");
    w.give(CUSTOMER, &ack);
    assert_eq!(line(&w.to(V1), "From"), anonymous);
    // A request of the caller's, and its answer.
    w.give(CUSTOMER, &inside("INFO", &ok, true, "i", "", ""));
    let info = w.to(V1);
    assert_eq!(line(&info, "From"), anonymous);
    w.give(V1, &reply(&info, "200 OK", "", V1, "", ""));
    assert_eq!(line(&w.to(CUSTOMER), "From"), named);
    // A request of the callee's: it calls the caller what it knows him by.
    let theirs = inside("INFO", &ok, false, "j", "", "").replace(&named, anonymous);
    w.give(V1, &theirs);
    let info = w.to(CUSTOMER);
    assert_eq!(line(&info, "To"), named);
    w.give(CUSTOMER, &reply(&info, "200 OK", "", CUSTOMER, "", ""));
    assert_eq!(line(&w.to(V1), "To"), anonymous);
    // Our own BYE towards both.
    let id = w.core.calls.list(at(w.ms).mono)[0].cdr_id;
    w.command(super::types::Command::EndCall { cdr_id: id, reason: "operator" });
    let out = w.take();
    let bye = |who: &str| {
        let mut all =
            out.iter().filter(|(to, t)| *to == super::tests_static::addr(who) && t.starts_with("BYE "));
        all.next().map(|(_, t)| t.clone()).unwrap_or_else(|| panic!("{out:#?}"))
    };
    assert_eq!(line(&bye(V1), "From"), anonymous);
    assert_eq!(line(&bye(CUSTOMER), "To"), named);
}

/// RFC 3323 §5.3: what else names a private caller stays with us, in the INVITE and within the call. A passport (RFC 8225) has the number.
#[test]
fn t_sip_03_rfc_3323_5_3_nothing_else_names_a_private_caller() {
    let personal = "Reply-To: <sip:+14155550999@x>\r\nCall-Info: <https://x/14155550999.vcf>;purpose=card\r\n\
                    Referred-By: <sip:+14155550999@x>\r\nOrganization: 14155550999 Ltd\r\nSubject: 14155550999\r\n\
                    In-Reply-To: 14155550999@x\r\ny: aa.14155550999.cc;info=<https://x>\r\nGeolocation: <cid:14155550999@x>\r\n";
    for (privacy, passes) in [("id", false), ("user;critical", false), ("none", true)] {
        let mut w = World::new(false, |d| terms(d).trusted = false);
        w.give(CUSTOMER, &invite(NUMBER, "c1", &format!("{personal}Privacy: {privacy}\r\n"), ""));
        let at_v = w.to(V1);
        assert_eq!(at_v.matches("14155550999").count(), if passes { 8 } else { 0 }, "{at_v}");
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        let ok = w.to(CUSTOMER);
        w.give(CUSTOMER, &inside("ACK", &ok, true, "k", "", ""));
        w.to(V1);
        w.give(CUSTOMER, &inside("INFO", &ok, true, "i", personal, ""));
        let info = w.to(V1);
        assert_eq!(info.matches("14155550999").count(), if passes { 8 } else { 0 }, "{info}");
        // What the callee says of itself is not concerned.
        w.give(V1, &inside("INFO", &ok, false, "j", "Subject: theirs\r\n", ""));
        assert!(w.to(CUSTOMER).contains("Subject: theirs\r\n"));
    }
}

/// draft-ietf-sip-privacy-04: `privacy` of the caller's value asks for the same as Privacy does, and what was not screened is not said to be.
#[test]
fn t_sip_03_remote_party_id_may_ask_for_privacy() {
    let line_of = |party: &str| {
        format!("Remote-Party-ID: \"Bob\" <sip:+14155550999@x>;party={party};screen=no;privacy=full\r\n")
    };
    let anonymous = |d: &mut DirectoryBuilder| terms(d).trusted = false;
    let at_v = at_vendor(&line_of("calling"), anonymous);
    assert!(!at_v.contains("14155550999") && at_v.contains("anonymous.invalid"), "{at_v}");
    // About the other side.
    let at_v = at_vendor(&line_of("called"), anonymous);
    assert!(!at_v.contains("anonymous.invalid"), "{at_v}");
    let at_v = at_vendor(&line_of("calling"), |d| terms(d).identity = IdentityForm::RemotePartyId);
    let told = "\"Bob\" <sip:+14155550999@x>;party=calling;screen=no;privacy=full";
    assert_eq!(lines(&at_v, "Remote-Party-ID"), [told]);
    // As an asserted identity it needs a header of its own to say so.
    for (privacy, said) in [("", "id"), ("Privacy: header\r\n", "header;id"), ("Privacy: id\r\n", "id")] {
        let extra = format!("{}{privacy}", line_of("calling"));
        let at_v = at_vendor(&extra, |d| terms(d).identity = IdentityForm::PAssertedIdentity);
        assert_eq!(line(&at_v, "P-Asserted-Identity"), "\"Bob\" <sip:+14155550999@x>");
        assert_eq!(lines(&at_v, "Privacy"), [said], "{at_v}");
    }
    // Who answers a call for help may show the number.
    let mut w = World::new(false, |d| {
        terms(d).identity = IdentityForm::RemotePartyId;
        d.emergency_route = vec![d.vendor_trunks[0].id];
    });
    w.give(CUSTOMER, &invite("911", "c1", &line_of("calling"), ""));
    assert!(line(&w.to(V1), "Remote-Party-ID").ends_with(";privacy=off"));
}

/// RFC 3325 §5: an identity is what somebody asserts; PRODUCT §6: a name that breaks its grammar is in no header that asserts one.
#[test]
fn t_sip_17_no_identity_is_made_of_an_anonymous_from_or_of_a_broken_name() {
    let from = |name: &str, form: IdentityForm| {
        let mut w = World::new(false, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        terms(&mut rows).identity = form;
        w.change(rows);
        let plain = format!("<sip:+14155550100@{CUSTOMER}>;tag=at");
        let text = invite(NUMBER, "c1", "P-Preferred-Identity: <sip:+14155550777@x>\r\n", "");
        assert!(text.contains(&plain));
        w.give(CUSTOMER, &text.replace(&plain, &format!("{name};tag=at")));
        w.to(V1)
    };
    let forms = [
        (IdentityForm::PAssertedIdentity, "P-Asserted-Identity"),
        (IdentityForm::RemotePartyId, "Remote-Party-ID"),
    ];
    for (form, header) in forms {
        for name in [
            "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
            "<sip:+14155550100@anonymous.invalid>",
            "<sip:Restricted@x>",
        ] {
            let at_v = from(name, form);
            assert!(lines(&at_v, header).is_empty(), "{at_v}");
        }
        let at_v = from("sip:+19005550000@x, James <sip:+14155550100@x>", form);
        assert_eq!(lines(&at_v, header).len(), 1, "{at_v}");
        assert!(line(&at_v, header).starts_with("<sip:+14155550100@x>"), "{at_v}");
    }
    // What one would like to be called goes no further, whatever the form is (RFC 3325 §9.2).
    for form in [IdentityForm::None, IdentityForm::PAssertedIdentity] {
        let at_v = from("<sip:+14155550100@x>", form);
        assert!(!at_v.contains("14155550777"), "{at_v}");
    }
}

/// Carriers tell each other who calls: a vendor is within the circle unless its trunk says otherwise.
#[test]
fn a_vendor_within_the_circle_is_told_who_calls_and_that_he_is_not_to_be_shown() {
    let private = format!("{ASSERTED}Privacy: id\r\n");
    let at_v = at_vendor(&private, |d| {
        terms(d);
    });
    assert_eq!(line(&at_v, "P-Asserted-Identity"), "<sip:+14155550999@x>");
    assert_eq!((line(&at_v, "Privacy"), line(&at_v, "From").contains("+14155550100")), ("id", true));
    // Who asked for nothing is named to anybody.
    let at_v = at_vendor(ASSERTED, |d| terms(d).trusted = false);
    assert_eq!(line(&at_v, "P-Asserted-Identity"), "<sip:+14155550999@x>");
    assert_eq!(line(&at_v, "From"), format!("<sip:+14155550100@{CUSTOMER}>;tag=at"));
}

/// Who answers a call for help must be able to call back.
#[test]
fn an_emergency_call_names_its_caller_whatever_he_asked_for() {
    let mut w = World::new(false, |d| {
        terms(d).trusted = false;
        d.emergency_route = vec![d.vendor_trunks[0].id];
    });
    w.give(CUSTOMER, &invite("911", "c1", &format!("{ASSERTED}Privacy: id\r\n"), ""));
    let at_v = w.to(V1);
    assert_eq!(line(&at_v, "P-Asserted-Identity"), "<sip:+14155550999@x>");
    assert!(line(&at_v, "From").contains("+14155550100"), "{at_v}");
}

/// T-SIP-17: what a peer asserts comes from whom we believe, or is a number that the calling customer has.
#[test]
fn t_sip_17_an_identity_is_written_of_whom_we_believe_or_of_the_customers_own_number() {
    for (form, header) in [
        (IdentityForm::PAssertedIdentity, "P-Asserted-Identity"),
        (IdentityForm::RemotePartyId, "Remote-Party-ID"),
    ] {
        for (believed, owned, extra, expected) in [
            (true, false, ASSERTED, Some("<sip:+14155550999@x>")),
            (true, false, "Remote-Party-ID: \"A\" <sip:77@x>;privacy=off\r\n", Some("\"A\" <sip:77@x>")),
            (true, false, "", Some("<sip:+14155550100@192.0.2.10:5060>")),
            (false, false, ASSERTED, None),
            (false, false, "P-Preferred-Identity: <sip:+14155550999@x>\r\n", None),
            // From is one of his numbers; what he asserts beside it is still not believed.
            (false, true, ASSERTED, Some("<sip:+14155550100@198.51.100.1:5060;user=phone>")),
        ] {
            let mut w = World::new(false, |_| ());
            let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
            rows.trunks[0].caller.trust_asserted = believed;
            rows.vendor_trunks[0].headers.identity = form;
            w.change(rows);
            if owned {
                let number = Number {
                    id: NumberId::from_u128(1),
                    number: "+14155550100".parse().unwrap(),
                    customer: CustomerId::from_u128(1),
                    sell_decks: vec![],
                    destination: Destination::Nowhere,
                };
                let book = NumberBook::of(vec![number]).unwrap();
                let next = w.core.tx.snapshot.clone().unwrap().with_numbers(Arc::new(book));
                w.core.handle_snapshot(Arc::new(next), at(w.ms));
            }
            w.give(CUSTOMER, &invite(NUMBER, "c1", extra, ""));
            let at_v = w.to(V1);
            let suffix = if header.starts_with('R') { ";party=calling;screen=yes;privacy=off" } else { "" };
            let got = lines(&at_v, header);
            let expected: Vec<String> = expected.iter().map(|e| format!("{e}{suffix}")).collect();
            assert_eq!(got, expected, "{form:?} {believed} {owned} {extra}\n{at_v}");
            let others = ["P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity"];
            for other in others.iter().filter(|o| **o != header) {
                assert!(lines(&at_v, other).is_empty(), "{at_v}");
            }
        }
    }
    let at_v =
        at_vendor(&format!("{ASSERTED}P-Charge-Info: <sip:1@x>\r\nRemote-Party-ID: <sip:2@x>\r\n"), |d| {
            terms(d).identity = IdentityForm::None;
        });
    for name in ["P-Asserted-Identity", "P-Charge-Info", "Remote-Party-ID"] {
        assert!(lines(&at_v, name).is_empty(), "{at_v}");
    }
}

#[test]
fn the_callers_number_is_written_in_the_format_of_the_trunk() {
    for (format, written) in [
        (NumberFormat::PlusE164, "+14155550999"),
        (NumberFormat::E164, "14155550999"),
        (NumberFormat::National, "4155550999"),
    ] {
        let mut w = World::new(false, |d| {
            terms(d).identity = IdentityForm::PAssertedIdentity;
        });
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        rows.vendor_trunks[0].headers.caller_format = Some(format);
        w.change(rows);
        w.give(CUSTOMER, &invite(NUMBER, "c1", ASSERTED, ""));
        let at_v = w.to(V1);
        let asserted = format!("<sip:{written}@198.51.100.1:5060;user=phone>");
        assert_eq!(line(&at_v, "P-Asserted-Identity"), asserted);
        let from = line(&at_v, "From");
        assert_eq!(from, format!("<sip:{}@{CUSTOMER}>;tag=at", written.replace("999", "100")));
        w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, "", ""));
        let out = w.take();
        let busy = out.iter().find(|(to, _)| *to == super::tests_static::addr(CUSTOMER)).unwrap();
        assert_eq!(line(&busy.1, "From"), format!("<sip:+14155550100@{CUSTOMER}>;tag=at"));
    }
    // What is no number with its country code stays as it is: a name, an extension, a number of one city, a call for help.
    for user in ["bob", "1001", "5550100", "911"] {
        let format: [Tweak; 3] = [
            |d| terms(d).caller_format = Some(NumberFormat::E164),
            |d| terms(d).caller_format = Some(NumberFormat::PlusE164),
            |d| terms(d).caller_format = Some(NumberFormat::National),
        ];
        for tweak in format {
            let mut w = World::new(false, tweak);
            let text =
                invite(NUMBER, "c1", "", "").replace("<sip:+14155550100@", &format!("\"Bob\" <sip:{user}@"));
            w.give(CUSTOMER, &text);
            assert_eq!(line(&w.to(V1), "From"), format!("\"Bob\" <sip:{user}@{CUSTOMER}>;tag=at"));
        }
    }
    // RFC 3966 §5.1.5: a number within a context is none of the world's.
    let at_v = at_vendor("P-Asserted-Identity: <tel:555-0100;phone-context=+1415>\r\n", |d| {
        terms(d).identity = IdentityForm::PAssertedIdentity;
    });
    assert_eq!(line(&at_v, "P-Asserted-Identity"), "<tel:555-0100;phone-context=+1415>");
}

/// RFC 5806, RFC 7044, RFC 7544.
#[test]
fn diversions_pass_are_converted_or_dropped_and_only_of_whom_we_believe() {
    let diversion = "Diversion: <sip:+14155550111@x>;reason=user-busy\r\n";
    let history = "History-Info: <sip:+14155550111@x>;index=1, <sip:b@x;cause=486>;index=1.1\r\n";
    let cases: [(Tweak, &str, &str, &str); 6] = [
        (
            |d| d.trunks[0].caller.trust_asserted = true,
            diversion,
            "<sip:+14155550111@x>;reason=user-busy",
            "",
        ),
        (|d| terms(d).diversion = DiversionForm::None, diversion, "", ""),
        (|d| terms(d).diversion = DiversionForm::None, history, "", ""),
        (
            |d| terms(d).diversion = DiversionForm::HistoryInfo,
            diversion,
            "",
            "<sip:+14155550111@x>;index=1, <sip:+14155550123@203.0.113.1:5060;cause=486>;index=1.1",
        ),
        (
            |d| terms(d).diversion = DiversionForm::Diversion,
            history,
            "<sip:+14155550111@x>;reason=user-busy;counter=1;privacy=off",
            "",
        ),
        // Nobody believes this trunk.
        (|d| d.vendor_trunks[0].headers.diversion = DiversionForm::HistoryInfo, diversion, "", ""),
    ];
    for (tweak, extra, as_diversion, as_history) in cases {
        let at_v = at_vendor(extra, tweak);
        assert_eq!(lines(&at_v, "Diversion").concat(), as_diversion, "{at_v}");
        assert_eq!(lines(&at_v, "History-Info").concat(), as_history, "{at_v}");
    }
}

/// RFC 5806 `privacy`, RFC 7044 §10.1.2: who diverted and asks for it is not named outside of the circle, and as private within it.
#[test]
fn t_sip_03_a_private_diversion_is_shown_to_nobody_outside() {
    let private = [
        "Diversion: <sip:+14155550111@x>;reason=user-busy;privacy=full\r\n",
        "Privacy: history\r\nHistory-Info: <sip:+14155550111@x>;index=1, <sip:b@x;cause=486>;index=1.1\r\n",
        "History-Info: <sip:+14155550111@x?Privacy=history>;index=1, <sip:b@x;cause=486>;index=1.1\r\n",
    ];
    for extra in private {
        let at_v = at_vendor(extra, |d| terms(d).trusted = false);
        assert!(!at_v.contains("14155550111"), "{at_v}");
        let at_v = at_vendor(extra, |d| terms(d).diversion = DiversionForm::Diversion);
        assert!(line(&at_v, "Diversion").ends_with(";privacy=full"), "{at_v}");
    }
    for open in [
        "Diversion: <sip:+14155550111@x>;reason=user-busy;privacy=off\r\n",
        "Diversion: <sip:+14155550111@x>\r\n",
    ] {
        assert!(at_vendor(open, |d| terms(d).trusted = false).contains("14155550111"));
    }
}

/// RFC 3326: what a customer hears of causes.
#[test]
fn the_reason_of_a_failure_passes_is_made_or_is_left_out() {
    let q850 = "Reason: Q.850;cause=17;text=\"busy\"\r\n";
    for (form, said, heard) in [
        (ReasonForm::AsReceived, q850, "Q.850;cause=17;text=\"busy\""),
        (ReasonForm::AsReceived, "", ""),
        (ReasonForm::Always, q850, "Q.850;cause=17;text=\"busy\""),
        (ReasonForm::Always, "", "Q.850;cause=17"),
        // Each protocol has its own (RFC 3326 §2).
        (ReasonForm::Always, "Reason: SIP;cause=486\r\n", "SIP;cause=486, Q.850;cause=17"),
        (
            ReasonForm::Always,
            "Reason: STIR;cause=438;text=\"Invalid\"\r\n",
            "STIR;cause=438;text=\"Invalid\", Q.850;cause=17",
        ),
        (ReasonForm::None, q850, ""),
    ] {
        let mut w = World::new(false, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        rows.trunks[0].headers.reason = form;
        w.change(rows);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, said, ""));
        let out = w.take();
        let busy = out.iter().find(|(to, _)| *to == super::tests_static::addr(CUSTOMER)).unwrap();
        assert_eq!(lines(&busy.1, "Reason").concat(), heard, "{form:?} {said}\n{}", busy.1);
    }
}

/// Who is told no reasons hears none of a CANCEL either, nor of a refusal of our own.
#[test]
fn no_reason_means_none_in_a_cancel_and_in_our_own_refusals() {
    for (form, told) in [(ReasonForm::AsReceived, 1), (ReasonForm::None, 0)] {
        let mut w = World::new(false, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        rows.vendor_trunks[0].headers.reason = form;
        rows.trunks[0].headers.reason = form;
        w.change(rows);
        let first = invite(NUMBER, "c1", "", "");
        w.give(CUSTOMER, &first);
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        w.take();
        let why = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\nContent-Length";
        w.give(CUSTOMER, &first.replace("INVITE", "CANCEL").replace("Content-Length", why));
        let cancel = w.to(V1);
        assert!(cancel.starts_with("CANCEL "), "{cancel}");
        assert_eq!(lines(&cancel, "Reason").len(), told, "{form:?} {cancel}");
        w.take();
        // Nor with announcements, nor within the call.
        let reason = "Reason: Q.850;cause=1\r\n";
        w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, reason, ""));
        let early = w.to(CUSTOMER);
        assert_eq!(lines(&early, "Reason").len(), told, "{form:?} {early}");
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        let ok = w.to(CUSTOMER);
        w.give(CUSTOMER, &inside("ACK", &ok, true, "k", "", ""));
        w.to(V1);
        w.give(CUSTOMER, &inside("INFO", &ok, true, "i", "", ""));
        let info = w.to(V1);
        w.give(V1, &reply(&info, "488 Not Here", "", V1, reason, ""));
        let refused = w.to(CUSTOMER);
        assert_eq!(lines(&refused, "Reason").len(), told, "{form:?} {refused}");
        w.give(CUSTOMER, &invite("+9990", "c2", "", ""));
        let out = w.take();
        let refused = &out.iter().find(|(_, t)| t.starts_with("SIP/2.0 4")).unwrap().1;
        assert_eq!(lines(refused, "Reason").len(), told, "{form:?} {refused}");
    }
}

fn rules(rows: &mut DirectoryBuilder, vendor: &[&str], customer: &[&str]) {
    let parse = |list: &[&str]| list.iter().map(|r| r.parse().unwrap()).collect();
    rows.vendor_trunks[0].headers.rules = parse(vendor);
    rows.trunks[0].headers.rules = parse(customer);
}

/// Rules hold for every message of a call that goes to the peer, and for none that goes elsewhere.
#[test]
fn rules_add_set_and_remove_headers_of_what_goes_to_their_peer() {
    let mut w = World::new(false, |d| {
        rules(
            d,
            &["add X-Account: 4711", "add User-Agent: WARP", "remove x-secret"],
            &["remove Server", "add X-Ours: 1"],
        );
    });
    let extra = "User-Agent: PBX\r\nX-Secret: 1\r\nX-SECRET : 2\r\nX-Account: 1\r\n";
    w.give(CUSTOMER, &invite(NUMBER, "c1", extra, ""));
    let at_v = w.to(V1);
    assert_eq!((lines(&at_v, "User-Agent"), lines(&at_v, "X-Account")), (vec!["WARP"], vec!["1", "4711"]));
    assert!(!at_v.to_lowercase().contains("x-secret") && !at_v.contains("X-Ours"), "{at_v}");
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "Server: vendor 3\r\n", ""));
    let ringing = w.to(CUSTOMER);
    assert!(
        !ringing.contains("Server") && ringing.contains("X-Ours: 1\r\n") && !ringing.contains("4711"),
        "{ringing}"
    );
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "Server: vendor 3\r\n", ""));
    let ok = w.to(CUSTOMER);
    assert!(!ok.contains("Server") && ok.contains("X-Ours: 1\r\n"), "{ok}");
    w.give(CUSTOMER, &inside("ACK", &ok, true, "k", extra, ""));
    let ack = w.to(V1);
    assert_eq!((lines(&ack, "User-Agent"), ack.contains("X-Account: 4711\r\n")), (vec!["WARP"], true));
    w.give(V1, &inside("INFO", &ok, false, "j", "Server: vendor 3\r\n", ""));
    let info = w.to(CUSTOMER);
    assert!(!info.contains("Server") && info.contains("X-Ours: 1\r\n"), "{info}");
    w.give(CUSTOMER, &reply(&info, "200 OK", "", CUSTOMER, extra, ""));
    let answer = w.to(V1);
    assert_eq!(lines(&answer, "User-Agent"), ["WARP"]);
    assert!(
        answer.contains("X-Account: 4711\r\n") && !answer.to_lowercase().contains("x-secret"),
        "{answer}"
    );
}

/// Most rules and the longest values fit into one message beside all else that is edited.
#[test]
fn t_sip_03_as_many_rules_as_there_may_be_fit() {
    let text = format!("set X-Longest-Name-That-A-Header-May-Have-in: {}", "v".repeat(150));
    let mut w = World::new(false, |_| ());
    let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
    let t = &mut rows.vendor_trunks[0].headers;
    t.rules = vec![text[..text.len()].replace("-in:", ":").parse().unwrap(); MAX_HEADER_RULES];
    t.identity = IdentityForm::RemotePartyId;
    t.diversion = DiversionForm::HistoryInfo;
    t.reason = ReasonForm::None;
    t.caller_format = Some(NumberFormat::National);
    rows.trunks[0].caller.trust_asserted = true;
    w.change(rows);
    let extra = format!(
        "{ASSERTED}Diversion: <sip:a@x>;reason=unknown\r\nReason: SIP;cause=200\r\nP-Charge-Info: <sip:1@x>\r\n"
    );
    w.give(CUSTOMER, &invite(NUMBER, "c1", &extra, ""));
    let at_v = w.to(V1);
    assert_eq!(at_v.matches("X-Longest-Name").count(), MAX_HEADER_RULES, "{at_v}");
    assert_eq!((lines(&at_v, "Reason").len(), lines(&at_v, "History-Info").len()), (0, 1));
}

/// What both sides are held to is what the relay is told to leave in an offer.
#[test]
fn codecs_of_both_peers_bound_what_is_offered() {
    for (customer, vendor, kept) in [
        (vec![], vec![], None),
        (vec!["PCMU"], vec![], Some(vec!["PCMU", "telephone-event"])),
        (vec![], vec!["G729", "PCMA"], Some(vec!["G729", "PCMA", "telephone-event"])),
        (vec!["pcma/8000", "PCMU"], vec!["G729", "PCMA"], Some(vec!["PCMA", "telephone-event"])),
    ] {
        let mut w = World::new(true, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        rows.trunks[0].headers.codecs = customer.iter().map(|c: &&str| c.to_string()).collect();
        rows.vendor_trunks[0].headers.codecs = vendor.iter().map(|c: &&str| c.to_string()).collect();
        w.change(rows);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let asked = w.questions();
        let Some(Ng::Offer(offer)) = asked.first() else { panic!("{asked:?}") };
        let strip: &[Vec<u8>] = if kept.is_some() { &[b"all".to_vec()] } else { &[] };
        assert_eq!(offer.codec.strip, strip);
        let kept: Vec<Vec<u8>> = kept.unwrap_or_default().iter().map(|k| k.as_bytes().to_vec()).collect();
        assert_eq!(offer.codec.except, kept);
    }
}

/// RFC 0054: a call of which either side is to be recorded is offered so to the relay, with every offer of it; others are not.
#[test]
fn what_either_peer_has_recorded_the_relay_is_told_to_record() {
    for (customer, vendor) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut w = World::new(true, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        rows.trunks[0].headers.recording = customer;
        rows.vendor_trunks[0].headers.recording = vendor;
        w.change(rows);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let asked = w.questions();
        let Some(Ng::Offer(offer)) = asked.first() else { panic!("{asked:?}") };
        assert_eq!(offer.record, (customer || vendor).then_some(true));
        assert!(String::from_utf8_lossy(&offer.call_id).starts_with("call_"), "the public id of the call");
    }
}
