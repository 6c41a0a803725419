//! Requests and answers against what Jasmin 0.12 does (its `validation.py`, `send.py`, `rate.py`, `balance.py`, and a run of it).

use proptest::prelude::*;

use super::args::{Request, read};
use super::{Form, JasminReply, JasminRequest, Refusal, Submission, What};

fn get(path: &str, query: &str) -> Result<JasminRequest, Refusal> {
    let query = query.as_bytes();
    read(&Request { path, query, content_type: "", authorization: "", body: b"" }, 5)
}

fn sent(query: &str) -> Submission {
    match get("/send", query).map(|ask| ask.what) {
        Ok(What::Send(message)) => *message,
        other => panic!("{query}: {other:?}"),
    }
}

fn said(path: &str, query: &str) -> String {
    match get(path, query) {
        Err(why) => format!("{} {}", why.status(), why.text()),
        Ok(ask) => panic!("{query}: {ask:?}"),
    }
}

const WHO: &str = "username=foo&password=bar";

#[test]
fn wrong_arguments_are_refused_with_jasmins_words() {
    for (query, text) in [
        ("", "Mandatory argument [to] is not found."),
        ("username=foo&password=bar&content=x", "Mandatory argument [to] is not found."),
        ("to=49170&password=bar&content=x", "Mandatory argument [username] is not found."),
        ("to=49170&username=foo&content=x", "Mandatory argument [password] is not found."),
        ("to=49170&username=foo&password=bar", "content or hex-content not present."),
        ("to=49170&username=foo&password=bar&content=x&too=1", "Argument [too] is unknown."),
        ("to=49x&username=foo&password=bar&content=x", "Argument [to] has an invalid value: [49x]."),
        (
            "to=1&username=foo&password=12345678901234567&content=x",
            "Argument [password] has an invalid value: [***].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&coding=11",
            "Argument [coding] has an invalid value: [11].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&priority=4",
            "Argument [priority] has an invalid value: [4].",
        ),
        ("to=1&username=foo&password=bar&content=x&sdt=1", "Argument [sdt] has an invalid value: [1]."),
        (
            "to=1&username=foo&password=bar&content=x&validity-period=-1",
            "Argument [validity-period] has an invalid value: [-1].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&dlr=maybe",
            "Argument [dlr] has an invalid value: [maybe].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&dlr-url=ftp://x",
            "Argument [dlr-url] has an invalid value: [ftp://x].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&dlr-level=4",
            "Argument [dlr-level] has an invalid value: [4].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&dlr-method=PUT",
            "Argument [dlr-method] has an invalid value: [PUT].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&tags=a%20b",
            "Argument [tags] has an invalid value: [a b].",
        ),
        (
            "to=1&username=foo&password=bar&content=x&hex-content=00",
            "content and hex-content cannot be used both in same request.",
        ),
        ("to=1&username=foo&password=bar&hex-content=0g", "Invalid hex-content data: 'b'0g''"),
        ("to=1&username=foo&password=bar&hex-content=000", "Invalid hex-content data: 'b'000''"),
    ] {
        assert_eq!(said("/send", query), format!("400 {text}"), "{query}");
    }
    let nothing = "400 Mandatory arguments not found, please refer to the HTTPAPI specifications.";
    assert_eq!(said("/balance", ""), nothing);
    assert_eq!(said("/balance", "to=1"), "400 Argument [to] is unknown.");
    assert_eq!(said("/rate", "to=1&username=foo&password=bar&dlr=yes"), "400 Argument [dlr] is unknown.");
}

#[test]
fn a_message_is_understood_with_its_defaults() {
    let m = sent(&format!("{WHO}&to=%2B49170&content=Hello+World"));
    assert_eq!((m.to.as_str(), m.from.as_str(), m.coding, m.priority), ("49170", "", 0, 0));
    assert_eq!((m.text.as_slice(), m.parts.first(), m.parts.len()), (&b"Hello World"[..], Some(&(0..11)), 1));
    assert_eq!((m.receipts, m.validity_minutes, m.schedule), (None, None, String::new()));
    let m = sent(&format!(
        "{WHO}&to=1&from=ACME&content=x&priority=3&validity-period=30&sdt=000000000100000R&tags=a,b-2"
    ));
    assert_eq!((m.from.as_str(), m.priority, m.validity_minutes), ("ACME", 3, Some(30)));
    assert_eq!((m.schedule.as_str(), m.tags), ("000000000100000R", vec!["a".to_owned(), "b-2".to_owned()]));
    // Asking where to is asking for receipts, of level 1 by POST.
    let m = sent(&format!("{WHO}&to=1&content=x&dlr=no&dlr-url=http://a.example/b"));
    let receipts = m.receipts.expect("receipts");
    assert_eq!((receipts.level, receipts.post, receipts.url.as_str()), (1, true, "http://a.example/b"));
    let m = sent(&format!("{WHO}&to=1&content=x&dlr-level=3&dlr-method=get&dlr-url=http://a.example/b"));
    let receipts = m.receipts.expect("receipts");
    assert_eq!((receipts.level, receipts.post), (3, false));
}

#[test]
fn texts_are_coded_and_cut() {
    // UTF-8 to GSM 03.38, unknown characters become question marks; an extension counts two.
    assert_eq!(sent(&format!("{WHO}&to=1&content=%40%E2%82%AC%E4%BD%A0")).text, [0x00, 0x1B, 0x65, b'?']);
    assert_eq!(said("/send", &format!("{WHO}&to=1&content=%FF")).get(..3), Some("400"), "no UTF-8");
    // Other codings are as they come.
    assert_eq!(sent(&format!("{WHO}&to=1&coding=8&content=%4F%60%FF%FF")).text, [0x4F, 0x60, 0xFF, 0xFF]);
    assert_eq!(sent(&format!("{WHO}&to=1&coding=8&hex-content=4f60FFff")).text, [0x4F, 0x60, 0xFF, 0xFF]);
    let parts = |n: usize, coding: u8| {
        let query = format!("{WHO}&to=1&coding={coding}&content={}", "a".repeat(n));
        sent(&query).parts.iter().map(|r| r.len()).collect::<Vec<_>>()
    };
    assert_eq!(parts(160, 0), [160]);
    assert_eq!(parts(161, 0), [153, 8]);
    assert_eq!(parts(140, 8), [140]);
    assert_eq!(parts(142, 8), [134, 8]);
    assert_eq!(parts(141, 3), [134, 7]);
    assert_eq!(parts(765, 0).len(), 5);
    let long = said("/send", &format!("{WHO}&to=1&content={}", "a".repeat(766)));
    assert_eq!(long, "400 The content needs 6 parts, more than the 5 that are allowed.");
}

#[test]
fn json_bodies_and_forms_are_the_same_as_queries() {
    let body = |kind: &str, body: &str, query: &str| {
        let query = query.as_bytes();
        let request =
            Request { path: "/send", query, content_type: kind, authorization: "", body: body.as_bytes() };
        read(&request, 5)
    };
    let json = r#"{"username":"foo","password":"bar","to":49170,"content":"h\u00e9","dlr_level":2,"dlr-url":"http://a/",
        "custom_tlvs":[["0x3000",null,"COctetString","ab"],[12289,2,"Int2",7]]}"#;
    let Ok(JasminRequest { who, what: What::Send(m) }) = body("application/json; charset=utf-8", json, "")
    else {
        panic!()
    };
    assert_eq!((who.user.as_str(), who.password.reveal().as_str(), m.to.as_str()), ("foo", "bar", "49170"));
    assert_eq!((m.text.as_slice(), m.receipts.as_ref().map(|r| r.level)), (&[b'h', 0x05][..], Some(2)));
    assert_eq!(m.tlvs, [0x30, 0, 0, 3, b'a', b'b', 0, 0x30, 1, 0, 2, 0, 7]);
    let form = body("application/x-www-form-urlencoded", "to=1&content=x", WHO);
    assert!(matches!(form, Ok(JasminRequest { what: What::Send(_), .. })));
    for bad in ["[]", "{", "7", "\u{0}", r#"{"username":"foo","password":"bar","to":[1],"content":"x"}"#] {
        let Err(why) = body("application/json", bad, "") else { continue };
        assert_eq!(why.status(), 400, "{bad}");
    }
    for bad in
        [r#"[[1]]"#, r#"[["x",1,"Int1",1]]"#, r#"[[5000,1,"Int1",256]]"#, r#"[[1060,1,"Int1",1]]"#, "{}", "x"]
    {
        let json =
            format!(r#"{{"username":"foo","password":"bar","to":"1","content":"x","custom_tlvs":{bad}}}"#);
        assert!(body("application/json", &json, "").is_err(), "{bad}");
    }
}

#[test]
fn the_rest_api_takes_basic_credentials() {
    let ask = |authorization: &str, path: &str| {
        let body = br#"{"to":"1","content":"x"}"#;
        read(&Request { path, query: b"", content_type: "application/json", authorization, body }, 5)
    };
    let Ok(JasminRequest { who, what: What::Send(_) }) = ask("Basic Zm9vOmJhcjpiYXo=", "/secure/send") else {
        panic!()
    };
    assert_eq!((who.user.as_str(), who.password.reveal().as_str()), ("foo", "bar:baz"));
    for bad in ["", "Basic", "Basic !", "Bearer Zm9vOmJhcg==", "Basic Zm9v"] {
        assert_eq!(ask(bad, "/secure/send").map(|_| ()).map_err(|e| e.status()), Err(401), "{bad}");
    }
}

#[test]
fn answers_are_written_as_jasmin_writes_them() {
    let id = 0x0190_c8f4_1234_7abc_8def_0123_4567_89ab;
    let write = |answer: JasminReply, form| {
        let (status, kind, body) = answer.write(form);
        format!("{status} {kind} {body}")
    };
    let sent = JasminReply::Sent(id);
    assert_eq!(
        write(sent.clone(), Form::Quoted),
        "200 text/plain Success \"0190c8f4-1234-7abc-8def-0123456789ab\""
    );
    let rest = r#"200 application/json {"data": "Success \"0190c8f4-1234-7abc-8def-0123456789ab\""}"#;
    assert_eq!(write(sent, Form::Rest), rest);
    let balance = r#"{"balance": "ND", "sms_count": "ND"}"#;
    assert_eq!(write(JasminReply::Balance, Form::Json), format!("200 application/json {balance}"));
    assert_eq!(
        write(JasminReply::Balance, Form::Rest),
        format!(r#"200 application/json {{"data": {balance}}}"#)
    );
    let rate = r#"200 application/json {"unit_rate": 0.0, "submit_sm_count": 2}"#;
    assert_eq!(write(JasminReply::Rate { parts: 2, unit: warp_model::Nanos::ZERO }, Form::Json), rate);
    let refused = |why| JasminReply::Refused(why);
    let who = "Authentication failure for username:foo";
    let wrong = Refusal::Authentication("foo".to_owned());
    assert_eq!(write(refused(wrong.clone()), Form::Quoted), format!("403 text/plain Error \"{who}\""));
    assert_eq!(write(refused(wrong.clone()), Form::Json), format!("403 application/json \"{who}\""));
    assert_eq!(write(refused(wrong), Form::Rest), format!(r#"403 application/json {{"message": "{who}"}}"#));
    for (why, text) in [
        (Refusal::Throughput, "403 text/plain Error \"User throughput exceeded\""),
        (Refusal::NoRoute, "412 text/plain Error \"No route found\""),
        (
            Refusal::Storage,
            "500 text/plain Error \"Cannot send submit_sm, check SMPPClientManagerPB log file for details\"",
        ),
    ] {
        assert_eq!(write(refused(why), Form::Quoted), text);
    }
}

#[test]
fn a_password_is_printed_by_nobody() {
    let ask = get("/send", "username=foo&password=s3cr3t&to=1&content=x").expect("understood");
    assert!(!format!("{ask:?}").contains("s3cr3t"));
}

proptest! {
    /// Whatever comes is understood or refused, and what is understood can be sent.
    #[test]
    fn t_sms_hostile_requests_are_values(
        query in prop::collection::vec(any::<u8>(), 0..200), body in prop::collection::vec(any::<u8>(), 0..200),
        json in any::<bool>(), path in prop::sample::select(vec!["/send", "/rate", "/balance", "/secure/send"]),
        header in "\\PC{0,40}",
    ) {
        let query = [b"username=foo&password=bar&to=1&content=x&", query.as_slice()].concat();
        let content_type = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        let request = Request { path, query: &query, content_type, authorization: &header, body: &body };
        if let Ok(JasminRequest { what: What::Send(m), .. }) = read(&request, 5) {
            prop_assert!(m.parts.len() <= 5 && m.parts.iter().all(|r| m.text.get(r.clone()).is_some()));
            prop_assert!(warp_smpp::tlv::Tlvs::parse(&m.tlvs).is_some());
        }
    }
}
