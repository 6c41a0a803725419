//! STOP, START, HELP and quiet hours in the world of the core: what is said is kept, answered once and obeyed, over kill −9 and power cuts.

use std::sync::Arc;
use std::time::Duration;

use warp_model::{BanId, Currency, Nanos, Wall};
use warp_policy::directory::Payer;
use warp_policy::messaging::optout::Entries;
use warp_policy::messaging::published::Standing;
use warp_policy::messaging::{Entry, PriceList, Scope};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::receipt::MessageState;
use warp_smpp::record::{Outcome, Record, Terms};
use warp_smpp::{Command, Status};

use super::StorageFault;
use super::consent::{OPTED_OUT, OPTED_OUT_ERROR, QUIET, QUIET_ERROR};
use super::jasmin::{JasminReply, Refusal, Submission};
use super::slab::Key;
use super::tests_world::{World, config, submit, text_of};
use crate::config::Config;
use crate::metrics::Consented;

pub(super) const CUSTOMER: u128 = 77;
pub(super) const OURS: &[u8] = b"12025550100";
/// Of New York.
pub(super) const THEIRS: &[u8] = b"12125550123";

pub(super) fn kept(marketing: bool) -> Config {
    let mut config = config();
    config.recorded = true;
    let list = |n| Arc::new(PriceList::new(Currency::USD, ["1", "49"].map(|code| (code, Nanos(n)))));
    if let Some(foo) = config.accounts.first_mut() {
        foo.customer = CUSTOMER;
        foo.brand = "Acme".to_owned();
        foo.marketing = marketing;
        foo.payer = Some(Payer { ban: BanId::from_u128(5), ahead: false });
        foo.sell = vec![list(10)];
    }
    if let Some(vendor) = config.vendors.first_mut() {
        vendor.buy = Some(list(6));
    }
    // Nights pass without traffic.
    config.accounts.iter_mut().for_each(|a| a.timers.inactivity = Duration::ZERO);
    config.vendors.iter_mut().for_each(|v| v.timers.inactivity = Duration::ZERO);
    config
}

pub(super) fn address(text: &[u8]) -> Address<'_> {
    Address { ton: 1, npi: 1, text }
}

pub(super) fn message<'a>(from: &'a [u8], to: &'a [u8]) -> Message<'a> {
    Message { source: address(from), destination: address(to), ..submit(b"hello") }
}

/// What a handset says; the status of the answer to the vendor.
pub(super) fn says(w: &mut World, vendor: Key, text: &[u8]) -> Status {
    let said = Message { registered_delivery: 0, short_message: text, ..message(THEIRS, OURS) };
    w.status(vendor, Command::DELIVER_SM, &Body::Message(said))
}

pub(super) fn sends(w: &mut World, customer: Key, message: Message<'_>) -> Status {
    w.status(customer, Command::SUBMIT_SM, &Body::Message(message))
}

/// The texts that the vendor has got since the last look, taken by it.
pub(super) fn texts(w: &mut World, vendor: Key) -> Vec<String> {
    let got = w.submitted(vendor);
    for (n, one) in got.iter().enumerate() {
        w.reply(vendor, one, Status::ROK, format!("{:x}{n}", w.disk.len()).as_bytes());
    }
    got.iter().map(text_of).collect()
}

pub(super) fn consents(w: &World) -> Vec<(u64, u64, bool)> {
    let read = w.disk.iter().filter_map(|record| match Record::decode(record) {
        Some(Record::Consent { customer: CUSTOMER, sender, recipient, out, .. }) => {
            Some((sender, recipient, out))
        }
        _ => None,
    });
    read.collect()
}

pub(super) fn finals(w: &World) -> Vec<Outcome> {
    let read = w.disk.iter().filter_map(|record| match Record::decode(record) {
        Some(Record::Final { outcome, .. }) => Some(outcome),
        _ => None,
    });
    read.collect()
}

pub(super) const PAIR: (u64, u64) = (12_025_550_100, 12_125_550_123);

#[test]
fn t_sms_07_a_stop_is_kept_answered_once_and_obeyed_until_a_start_over_kills() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK, "nobody has said anything yet");
    texts(&mut w, vendor);
    assert_eq!(says(&mut w, vendor, b" Stop. "), Status::ROK);
    assert_eq!(consents(&w), [(PAIR.0, PAIR.1, true)]);
    let said = texts(&mut w, vendor);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("Acme: You are opted out"), "{said:?}");
    assert_eq!(w.deliveries(foo).len(), 1, "the customer gets the STOP as well");
    // Nobody pays for the answer, and what the vendor asks is known.
    let mut answer = w.disk.iter().filter_map(|r| match Record::decode(r) {
        Some(Record::Accepted { terms, .. }) => Terms::decode(terms),
        _ => None,
    });
    let answer = answer.next_back().expect("terms");
    assert_eq!(
        (answer.customer, answer.ban, answer.sell, answer.buy.map(|m| m.amount.0)),
        (CUSTOMER, 0, None, Some(6))
    );
    // Said again it is written down, and answered by nothing.
    says(&mut w, vendor, b"STOP");
    assert_eq!((texts(&mut w, vendor).len(), consents(&w).len()), (0, 2));
    for power_cut in [false, true] {
        w.restart(power_cut);
        let (vendor, foo) = (w.vendor(0), w.customer("foo"));
        w.deliveries(foo);
        assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), OPTED_OUT);
        // Without the 1 of the plan it is the same handset; another sender and another recipient are others.
        let at_home = Address { ton: 0, ..address(b"2125550123") };
        let national = Message { destination: at_home, ..message(b"+12025550100", THEIRS) };
        assert_eq!(sends(&mut w, foo, national), OPTED_OUT);
        assert_eq!(sends(&mut w, foo, message(b"12025550101", THEIRS)), Status::ROK);
        assert_eq!(sends(&mut w, foo, message(OURS, b"12125550124")), Status::ROK);
        assert_eq!(texts(&mut w, vendor).len(), 2);
    }
    // In a request to several, it is named.
    let (vendor, foo) = (w.vendor_links[0].0, w.customer("foo"));
    let to = Submission {
        to: "12125550123".to_owned(),
        from: "12025550100".to_owned(),
        text: b"x".to_vec(),
        parts: std::iter::once(0..1).collect(),
        ..Submission::default()
    };
    w.core.send_for(4, "foo", &to, w.now);
    w.turn();
    assert!(matches!(w.core.poll_answer(), Some((4, JasminReply::Refused(Refusal::OptedOut)))));
    assert_eq!(says(&mut w, vendor, b"START"), Status::ROK);
    let said = texts(&mut w, vendor);
    assert!(said.len() == 1 && said[0].starts_with("Acme: You get messages"), "{said:?}");
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK);
    w.restart(false);
    let foo = w.customer("foo");
    assert_eq!(
        sends(&mut w, foo, message(OURS, THEIRS)),
        Status::ROK,
        "the last word counts after a start as well"
    );
}

/// Nothing counts before it is durable; what the disk refuses comes again from the vendor, and is confirmed once.
#[test]
fn f_disk_01_a_stop_that_cannot_be_kept_is_asked_for_again_and_confirmed_once() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    let stop = Message { registered_delivery: 0, short_message: b"STOP", ..message(THEIRS, OURS) };
    let mut out = Vec::new();
    pdu::encode(&mut out, Command::DELIVER_SM, Status::ROK, 900, &Body::Message(stop)).expect("fits");
    w.core.bytes(vendor, &out, w.now);
    w.core.storage_failed(StorageFault::Full, None);
    w.turn();
    let answer = w.got(vendor).pop().expect("an answer");
    assert_eq!(answer.0.status, Status::RX_T_APPN);
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK, "it was not kept");
    texts(&mut w, vendor);
    assert_eq!(says(&mut w, vendor, b"STOP"), Status::ROK);
    assert_eq!((texts(&mut w, vendor).len(), consents(&w).len()), (1, 1));
    // Twice before the disk has answered: it is answered once.
    let mut w = World::new(kept(false));
    let vendor = w.vendor(0);
    w.syncs = false;
    w.ask(vendor, Command::DELIVER_SM, &Body::Message(stop));
    w.ask(vendor, Command::DELIVER_SM, &Body::Message(stop));
    w.syncs = true;
    w.turn();
    assert_eq!((texts(&mut w, vendor).len(), consents(&w).len()), (1, 2));
}

/// What was taken before the STOP and has not gone yet does not go any more; its sender hears why.
#[test]
fn what_waits_when_its_recipient_opts_out_is_not_sent() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    let at = warp_smpp::time::absolute(w.now.wall.plus(Duration::from_secs(600)));
    let later = Message { schedule: &at, ..message(OURS, THEIRS) };
    assert_eq!(sends(&mut w, foo, later), Status::ROK);
    says(&mut w, vendor, b"UNSUBSCRIBE");
    w.deliveries(foo);
    assert_eq!(texts(&mut w, vendor).len(), 1, "the confirmation");
    w.pass(Duration::from_secs(605));
    assert_eq!(texts(&mut w, vendor), Vec::<String>::new());
    let last = *finals(&w).last().expect("an end");
    assert_eq!((last.state, last.error), (MessageState::Rejected, OPTED_OUT_ERROR));
    let heard = w.deliveries(foo);
    assert!(heard.len() == 1 && text_of(&heard[0]).contains("stat:REJECTD err:901"), "{heard:?}");
}

/// Two machines that answer one another do not go on for ever, and help is for everybody.
#[test]
fn help_is_answered_to_anybody_and_not_again_at_once() {
    let mut w = World::new(kept(false));
    let vendor = w.vendor(0);
    says(&mut w, vendor, b"HELP");
    let said = texts(&mut w, vendor);
    assert!(said.len() == 1 && said[0].starts_with("Acme: Reply STOP"), "{said:?}");
    for word in [&b"help"[..], b"INFO", b"YES", b"please stop"] {
        says(&mut w, vendor, word);
    }
    assert_eq!((texts(&mut w, vendor).len(), consents(&w).len()), (0, 0));
    w.pass(Duration::from_secs(601));
    says(&mut w, vendor, b"HELP");
    assert_eq!(texts(&mut w, vendor).len(), 1);
    assert_eq!(w.metrics.consent.value(Consented::Answered), 2);
}

/// Lists that are published count, and a later word of the handset counts more, whichever comes first.
#[test]
fn a_published_list_is_laid_over_what_was_said_by_its_times() {
    let mut w = World::new(kept(false));
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    let entry = |out, at: Wall| {
        let scope = Scope::Number(CUSTOMER, PAIR.0);
        Entry { scope, recipient: PAIR.1, out, at, message: 0 }
    };
    let publish = |w: &mut World, entries: &[(u64, Entry)]| {
        let mut wanted = kept(false);
        let piece =
            |(through, entry): &(u64, Entry)| Arc::new(Entries { through: *through, entries: vec![*entry] });
        wanted.opt_outs = entries.iter().map(piece).collect();
        w.core.configure(wanted, w.now).expect("settings");
    };
    let t0 = w.now.wall;
    publish(&mut w, &[(5, entry(true, t0))]);
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), OPTED_OUT);
    w.pass(Duration::from_secs(60));
    says(&mut w, vendor, b"START");
    // The row of that comes later than another publication, which still has the older one.
    publish(&mut w, &[(5, entry(true, t0)), (6, entry(true, t0))]);
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK);
    w.pass(Duration::from_secs(60));
    let t2 = w.now.wall;
    publish(&mut w, &[(7, entry(true, t2))]);
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), OPTED_OUT);
    // Of another customer it says nothing.
    let of_another = Entry { scope: Scope::Number(78, PAIR.0), out: true, ..entry(true, t2) };
    publish(&mut w, &[(8, entry(false, t2)), (9, of_another)]);
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK);
}

/// The clock of the tests says 02:34 in New York (the hours are 8:00 to 21:00): marketing waits, and other messages do not.
#[test]
fn marketing_waits_for_the_recipients_day_over_a_kill_and_is_refused_when_it_cannot() {
    let mut w = World::new(kept(true));
    let night = Wall::from_unix_ms(1_795_246_440_000);
    w.now.wall = night;
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK);
    let held = w.disk.iter().find_map(|r| match Record::decode(r) {
        Some(Record::Retry { until, attempts: 0, .. }) => Some(until),
        _ => None,
    });
    let opens = held.expect("it is said that it waits");
    assert_eq!((opens.0 / 1_000_000).rem_euclid(86_400), 13 * 3_600, "8:00 in winter");
    // It is not valid for so long.
    let until = warp_smpp::time::absolute(night.plus(Duration::from_secs(3_600)));
    assert_eq!(sends(&mut w, foo, Message { validity: &until, ..message(OURS, THEIRS) }), QUIET);
    // Nobody's law that we know.
    assert_eq!(sends(&mut w, foo, message(OURS, b"491701234567")), Status::ROK);
    assert_eq!(texts(&mut w, vendor).len(), 1);
    w.restart(false);
    let vendor = w.vendor(0);
    w.pass(Duration::from_secs(1_800));
    assert_eq!(texts(&mut w, vendor).len(), 0);
    let wait = u64::try_from((opens.0 - w.now.wall.0) / 1_000_000).expect("it is to come");
    w.pass(Duration::from_secs(wait + 1));
    assert_eq!(texts(&mut w, vendor), ["hello"]);
}

/// What waited for its vendor until the night came waits on; what is not valid until the morning ends, and says why.
#[test]
fn marketing_that_is_late_is_looked_at_again_before_it_goes() {
    let paused = |standing| {
        let mut config = kept(true);
        config.vendors.iter_mut().for_each(|v| v.standing = standing);
        config
    };
    let mut w = World::new(paused(Standing::Paused));
    // 20:59 in New York.
    w.now.wall = Wall::from_unix_ms(1_795_226_340_000);
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    let until = warp_smpp::time::absolute(w.now.wall.plus(Duration::from_secs(7_200)));
    assert_eq!(sends(&mut w, foo, Message { validity: &until, ..message(OURS, THEIRS) }), Status::ROK);
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK);
    w.pass(Duration::from_secs(300));
    w.core.configure(paused(Standing::Active), w.now).expect("settings");
    w.turn();
    assert_eq!(texts(&mut w, vendor).len(), 0, "the night has come");
    let ends = finals(&w);
    assert!(
        ends.len() == 1 && ends[0].error == QUIET_ERROR && ends[0].state == MessageState::Rejected,
        "{ends:?}"
    );
    assert_eq!(w.metrics.consent.value(Consented::Held), 1);
}

/// Jasmin looks at no text; without accounts that are kept, neither do we.
#[test]
fn the_launch_profile_knows_no_keywords() {
    let mut w = World::new(config());
    let (vendor, foo) = (w.vendor(0), w.customer("foo"));
    says(&mut w, vendor, b"STOP");
    assert_eq!((texts(&mut w, vendor).len(), consents(&w).len()), (0, 0));
    assert_eq!(sends(&mut w, foo, message(OURS, THEIRS)), Status::ROK);
}
