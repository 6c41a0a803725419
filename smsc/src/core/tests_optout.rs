//! The edges of opt-outs (RFC 0052): words that cross one another, numbers in other forms, floods, and what is left of an account.

use std::sync::Arc;
use std::time::Duration;

use warp_policy::messaging::optout::Entries;
use warp_policy::messaging::{Entry, Scope};
use warp_smpp::pdu::{Address, Body, Message};
use warp_smpp::receipt::MessageState;
use warp_smpp::{Command, Status};

use super::consent::{GONE_ERROR, OPTED_OUT, OPTED_OUT_ERROR, OVERTAKEN_ERROR};
use super::jasmin::Submission;
use super::slab::Key;
use super::tests_consent::{
    CUSTOMER, OURS, PAIR, THEIRS, consents, finals, kept, message, says, sends, texts,
};
use super::tests_world::{World, config, submit};
use crate::config::Config;
use warp_policy::messaging::published::Standing;

fn from(ton: u8, handset: &[u8], sender: &[u8], word: &[u8], w: &mut World, vendor: Key) {
    let said = Message {
        registered_delivery: 0,
        source: Address { ton, npi: 1, text: handset },
        destination: Address { ton, npi: 1, text: sender },
        ..submit(word)
    };
    w.status(vendor, Command::DELIVER_SM, &Body::Message(said));
}

fn paused(standing: Standing) -> Config {
    let mut config = kept(false);
    config.vendors.iter_mut().for_each(|v| v.standing = standing);
    config
}

/// The last word counts, though none of them is durable yet when the next one comes; all of them are kept.
#[test]
fn t_sms_07_words_that_follow_one_another_before_the_disk_are_all_kept_and_the_last_counts() {
    for (words, last) in
        [(&[&b"STOP"[..], b"START", b"STOP"][..], OPTED_OUT), (&[b"STOP", b"START"], Status::ROK)]
    {
        let mut w = World::new(kept(false));
        let (vendor, foo) = (w.vendor(0), w.customer("foo"));
        w.syncs = false;
        for word in words {
            let said = Message { registered_delivery: 0, short_message: word, ..message(THEIRS, OURS) };
            w.ask(vendor, Command::DELIVER_SM, &Body::Message(said));
        }
        w.syncs = true;
        w.turn();
        assert_eq!(consents(&w).len(), words.len());
        assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), last, "{words:?}");
        w.restart(true);
        let foo = w.customer("foo");
        assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), last, "{words:?}");
    }
}

/// A word is kept though it says nothing new here: the other one may be known to another node only. Should its row come later, times count.
#[test]
fn a_word_that_changes_nothing_here_counts_against_an_older_one_of_elsewhere() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    let before = w.now.wall;
    w.pass(Duration::from_secs(1));
    says(&mut w, vendor, b"START");
    assert_eq!(consents(&w), [(PAIR.0, PAIR.1, false)]);
    let scope = Scope::Number(CUSTOMER, PAIR.0);
    let entry = Entry { scope, recipient: PAIR.1, out: true, at: before, message: 0 };
    let mut wanted = kept(false);
    wanted.opt_outs = vec![Arc::new(Entries { through: 1, entries: vec![entry] })];
    w.core.configure(wanted, w.now).expect("settings");
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK, "the START was later");
}

/// A number is in the list as it is routed and priced: of ten digits with a country code too.
#[test]
fn a_stop_of_a_number_of_ten_digits_abroad_is_one_of_that_number() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    from(1, b"4915123456", OURS, b"STOP", &mut w, vendor);
    assert_eq!(consents(&w), [(PAIR.0, 4_915_123_456, true)]);
    texts(&mut w, vendor);
    assert_eq!(sends(&mut w, foo, message(OURS, b"4915123456")), OPTED_OUT);
    assert_eq!(sends(&mut w, foo, message(OURS, b"+4915123456")), OPTED_OUT);
    // Of Switzerland: without the mark of the address it would be somebody of California.
    from(1, b"4155550123", OURS, b"STOP", &mut w, vendor);
    assert_eq!(consents(&w).last(), Some(&(PAIR.0, 4_155_550_123, true)));
    texts(&mut w, vendor);
    assert_eq!(sends(&mut w, foo, message(OURS, b"4155550123")), OPTED_OUT);
    // Written without its code it is somebody at home.
    from(0, b"2125550123", b"2025550100", b"STOP", &mut w, vendor);
    assert_eq!(consents(&w).last(), Some(&(PAIR.0, PAIR.1, true)));
    // The answer goes to the whole number, from the whole number, and is priced so.
    let got = w.submitted(vendor);
    assert_eq!(got.len(), 1);
    let Ok(Body::Message(answer)) = warp_smpp::pdu::decode(&got[0].0, &got[0].1) else { panic!("{got:?}") };
    assert_eq!((answer.source.ton, answer.source.text), (1, OURS));
    assert_eq!((answer.destination.ton, answer.destination.text), (1, THEIRS));
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), OPTED_OUT);
}

/// Each word is kept; each kind of answer is given once in ten minutes, and to a thousand handsets of a customer.
#[test]
fn a_flood_of_words_is_kept_and_answered_within_bounds() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    let mut said = 0;
    for _ in 0..10 {
        for word in [&b"STOP"[..], b"START"] {
            says(&mut w, vendor, word);
            w.deliveries(foo);
            said += texts(&mut w, vendor).len();
        }
    }
    assert_eq!((said, consents(&w).len()), (2, 20));
    w.pass(Duration::from_secs(601));
    says(&mut w, vendor, b"STOP");
    assert_eq!(texts(&mut w, vendor).len(), 1, "later it is told again");
}

/// The answer to a word that another word followed is not sent any more, and none is sent after five minutes.
#[test]
fn a_confirmation_that_is_not_true_any_more_or_is_old_ends() {
    let mut w = World::new(paused(Standing::Paused));
    let vendor = w.vendor(0);
    says(&mut w, vendor, b"STOP");
    says(&mut w, vendor, b"START");
    w.core.configure(paused(Standing::Active), w.now).expect("settings");
    w.turn();
    let sent = texts(&mut w, vendor);
    assert!(sent.len() == 1 && sent[0].contains("You get messages"), "{sent:?}");
    let ends = finals(&w);
    assert!(
        ends.iter().any(|end| end.error == OVERTAKEN_ERROR && end.state == MessageState::Rejected),
        "{ends:?}"
    );
    let mut w = World::new(paused(Standing::Paused));
    let vendor = w.vendor(0);
    says(&mut w, vendor, b"STOP");
    w.pass(Duration::from_secs(301));
    w.core.configure(paused(Standing::Active), w.now).expect("settings");
    w.turn();
    assert_eq!(texts(&mut w, vendor), Vec::<String>::new(), "it is too old");
}

/// A number with something between its digits could be any number: it is refused (ESME_RINVSRCADR), and names are names.
#[test]
fn t_sms_07_a_sender_in_disguise_is_refused() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    says(&mut w, vendor, b"STOP");
    texts(&mut w, vendor);
    for source in
        [&b"1-202-555-0100"[..], b"(202) 555-0100", b"12025550100 ", b"012025550100", b"++12025550100"]
    {
        let sent = sends(&mut w, foo, message(source, THEIRS));
        assert_eq!(sent, Status::RINVSRCADR, "{}", String::from_utf8_lossy(source));
    }
    for source in [&b"Acme"[..], b"Acme 24", b"80-80", b"Shop1234567"] {
        let sent = sends(&mut w, foo, message(source, THEIRS));
        assert_eq!(sent, Status::ROK, "{}", String::from_utf8_lossy(source));
    }
    let mut w = World::new(config());
    let foo = w.customer("foo");
    w.vendor(0);
    assert_eq!(sends(&mut w, foo, message(b"1-202-555-0100", THEIRS)), Status::ROK, "Jasmin looks at none");
}

/// Who may not stand in the list is no keyword's sender: a short code does not opt out (the row of it would be refused).
#[test]
fn a_stop_of_a_short_code_is_an_ordinary_message() {
    let mut w = World::new(kept(false));
    let vendor = w.vendor(0);
    from(0, b"1234", OURS, b"STOP", &mut w, vendor);
    from(0, THEIRS, b"12", b"STOP", &mut w, vendor);
    assert_eq!((texts(&mut w, vendor).len(), consents(&w).len()), (0, 0));
}

/// What waits for its time when its account is gone with a start cannot be looked at: it ends, and says why.
#[test]
fn what_is_left_of_an_account_that_is_gone_ends() {
    let mut w = World::new(kept(true));
    w.now.wall = warp_model::Wall::from_unix_ms(1_795_246_440_000);
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK, "it waits for the day");
    assert_eq!(texts(&mut w, vendor).len(), 0);
    let mut without = kept(true);
    without.accounts.iter_mut().filter(|a| a.name == "foo").for_each(|a| a.name = "another".to_owned());
    w.config = Arc::new(without);
    w.restart(false);
    let vendor = w.vendor(0);
    w.pass(Duration::from_secs(9 * 3_600));
    assert_eq!(texts(&mut w, vendor), Vec::<String>::new());
    let last = *finals(&w).last().expect("an end");
    assert_eq!((last.state, last.error), (MessageState::Rejected, GONE_ERROR));
}

/// A text in parts is judged once: when the first part went, the others follow; when it did not, none goes.
#[test]
fn a_stop_between_the_parts_of_a_text_does_not_cut_it() {
    let narrow = |standing| {
        let mut config = paused(standing);
        config.vendors.iter_mut().for_each(|v| v.window = 1);
        config
    };
    let text = Submission {
        to: "12125550123".to_owned(),
        from: "12025550100".to_owned(),
        text: b"abc".to_vec(),
        parts: vec![0..1, 1..2, 2..3],
        ..Submission::default()
    };
    let all = |w: &mut World, vendor: Key| {
        let mut all = Vec::new();
        loop {
            let some = texts(w, vendor);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    };
    let is_part = |text: &String| !text.contains("opted out");
    let mut w = World::new(narrow(Standing::Active));
    let vendor = w.vendor(0);
    w.core.send_for(4, "foo", &text, w.now);
    w.turn();
    says(&mut w, vendor, b"STOP");
    let sent = all(&mut w, vendor);
    assert_eq!(sent.iter().filter(|text| is_part(text)).count(), 3, "{sent:?}");
    assert_eq!(finals(&w).iter().filter(|end| end.error == OPTED_OUT_ERROR).count(), 0);
    let mut w = World::new(narrow(Standing::Paused));
    let vendor = w.vendor(0);
    w.core.send_for(4, "foo", &text, w.now);
    w.turn();
    says(&mut w, vendor, b"STOP");
    w.core.configure(narrow(Standing::Active), w.now).expect("settings");
    w.turn();
    let sent = all(&mut w, vendor);
    assert_eq!(sent.iter().filter(|text| is_part(text)).count(), 0, "{sent:?}");
    assert_eq!(finals(&w).iter().filter(|end| end.error == OPTED_OUT_ERROR).count(), 3);
}
