//! Addresses and mails: what is taken, what is refused, and that nothing of others gets into a header.
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn letter<'a>(from: &'a Mailbox, to: &'a Address, body: &'a str, code: Option<&'a str>) -> Letter<'a> {
    Letter { from, to, kind: if code.is_some() { "webhook.confirm" } else { "user.created" }, body, code }
}

fn sent(body: &Value, code: Option<&str>) -> (String, String) {
    let from: Mailbox = "Ringer <no-reply@ringer.tel>".parse().unwrap();
    let to = Address::parse("mailto:ops@example.com").unwrap();
    let body = body.to_string();
    let bytes = message(&letter(&from, &to, &body, code)).unwrap().formatted();
    let text = String::from_utf8(bytes).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), rest.to_owned())
}

fn event(name: &str) -> Value {
    json!({
        "id": "evt_06f7jv8c1gdyzv3n1v8d5h2k4m", "type": "user.created", "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "created_at": "2026-11-30T12:00:00.000Z",
        "data": { "name": name, "role": "engineer", "status": "active", "user_id": "usr_1",
                  "credit": { "amount": "5", "currency": "USD" } }
    })
}

#[test]
fn a_mail_goes_to_one_plain_address() {
    for good in ["mailto:ops@example.com", "MAILTO:a.b+c_d-e@mail.example.co.uk", "mailto:1@a-b.example"] {
        assert!(Address::parse(good).is_ok(), "{good}");
    }
    let long = format!("mailto:{}@example.com", "a".repeat(65));
    for bad in [
        "ops@example.com",
        "mailto:",
        "mailto:ops",
        "mailto:@example.com",
        "mailto:ops@",
        "mailto:ops@localhost",
        "mailto:ops@127.0.0.1",
        "mailto:ops@[127.0.0.1]",
        "mailto:a@example.com,b@example.com",
        "mailto:a@example.com?subject=x",
        "mailto:a%0d%0aBcc:b@example.com",
        "mailto:a@example.com\r\nBcc: b@example.com",
        "mailto:a b@example.com",
        "mailto:\"a\"@example.com",
        "mailto:.a@example.com",
        "mailto:a..b@example.com",
        "mailto:a@-x.example",
        "mailto:a@x-.example",
        "mailto:a@example.c0m",
        "mailto:ü@example.com",
        "mailto:a@b@example.com",
        &long,
    ] {
        assert!(Address::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_mail_says_what_happened_and_is_the_same_mail_when_it_comes_again() {
    let (head, body) = sent(&event("Ada"), None);
    // As it is written for the way, without the breaks of its long lines (RFC 2045 §6.7).
    let body = body.replace("=\r\n", "");
    for line in [
        "From: Ringer <no-reply@ringer.tel>",
        "To: ops@example.com",
        "Subject: [WARP] user.created",
        "Message-ID: <evt_06f7jv8c1gdyzv3n1v8d5h2k4m@ringer.tel>",
        "Auto-Submitted: auto-generated",
        "Content-Type: text/plain; charset=utf-8",
    ] {
        assert!(head.split("\r\n").any(|l| l == line), "{line}: {head}");
    }
    assert!(head.contains("\r\nDate: "), "{head}");
    for line in ["A user was made.", "name: Ada", "credit: 5 USD", "customer cus_06f7jv8bxm3e7s0q9tk4w1n2pr"]
    {
        assert!(body.contains(line), "{line}: {body}");
    }
    let id = |head: &str| head.split("\r\n").find(|l| l.starts_with("Message-ID")).unwrap().to_owned();
    assert_eq!(id(&head), id(&sent(&event("Ada"), None).0));
}

#[test]
fn a_mail_that_asks_for_agreement_has_the_code_and_nothing_of_whoever_asked() {
    let asked = json!({ "id": "evt_1", "type": "webhook.confirm", "customer_id": "cus_1", "data": { "webhook_id": "whk_1", "name": "BUY NOW" } });
    let (_, body) = sent(&asked, Some("abcde12345"));
    assert!(body.contains("warp webhooks confirm whk_1 abcde12345") && !body.contains("BUY"), "{body}");
}

proptest! {
    #[test]
    fn nothing_of_an_event_gets_into_a_header(name in "\\PC{0,40}", cut in any::<[u8; 3]>()) {
        // Line ends of every kind, and what looks like a header behind them.
        let evil = format!("{name}\r\nBcc: b@example.com\n.\r\nSubject: x{}", String::from_utf8_lossy(&cut));
        let mut told = event(&evil);
        told["id"] = format!("evt_1\r\nBcc: {evil}").into();
        told["customer_id"] = evil.clone().into();
        let (head, _) = sent(&told, None);
        let names: Vec<&str> = head.split("\r\n").filter_map(|l| l.split_once(": ").map(|(n, _)| n)).collect();
        let expected = ["From", "To", "Subject", "Message-ID", "Auto-Submitted", "Content-Type", "Date", "Content-Transfer-Encoding"];
        for name in &names {
            prop_assert!(expected.contains(name), "{}", head);
        }
        prop_assert!(!head.contains("b@example.com"), "{}", head);
    }

    #[test]
    fn any_text_is_an_address_or_none_without_panic(text in "\\PC{0,60}", local in "[a-z.+_-]{0,8}", host in "[a-z.-]{0,12}") {
        let _ = Address::parse(&text);
        if let Ok(a) = Address::parse(&format!("mailto:{local}@{host}")) {
            prop_assert!(a.as_str().parse::<lettre::Address>().is_ok(), "{}", a.as_str());
        }
    }
}
