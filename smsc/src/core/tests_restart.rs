//! What a crash leaves: nothing acknowledged is lost, and what is doubled is bounded and marked (F-PROC-03, RFC 0017).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use warp_model::hash::SplitMix;
use warp_smpp::pdu::{self, Body};
use warp_smpp::{Command, Status};

use super::Key;
use super::tests_world::{Got, World, config, id_of, submit, text_of, vendor_at};
use crate::config::InDoubt;

const S: Duration = Duration::from_secs(1);

#[test]
fn f_proc_03_each_step_survives_a_restart() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let ids: Vec<String> = (0..4).map(|n| w.submit(customer, &format!("m{n}"))).collect();
    let sent = w.submitted(vendor);
    // 0 is in doubt, 1 carried, 2 over and not told, 3 refused for now.
    w.reply(vendor, &sent[1], Status::ROK, b"c1");
    w.reply(vendor, &sent[2], Status::ROK, b"c2");
    w.reply(vendor, &sent[3], Status::RMSGQFUL, b"");
    w.receipt(vendor, "c2", "DELIVRD");
    w.receipt(vendor, "c9", "DELIVRD");
    w.restart(false);
    assert_eq!((w.waiting(), w.metrics.possible_duplicates.value(())), (4, 1));
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.turn();
    let told = w.deliveries(customer);
    assert!(text_of(&told[0]).contains(&ids[2]) && told.len() == 1, "the receipt that was not told");
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["m0"], "only what is in doubt is sent again");
    w.receipt(vendor, "c1", "UNDELIV");
    assert!(text_of(&w.deliveries(customer)[0]).contains(&ids[1]), "the map of ids survived");
    w.reply(vendor, &sent[0], Status::ROK, b"c9");
    assert!(text_of(&w.deliveries(customer)[0]).contains(&ids[0]), "a parked receipt survived");
    w.pass(181 * S);
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["m3"], "the time of a retry survived");
    w.reply(vendor, &sent[0], Status::ROK, b"c3");
    w.receipt(vendor, "c3", "DELIVRD");
    assert_eq!(w.deliveries(customer).len(), 1);
    assert_eq!(w.waiting(), 0);
    w.restart(false);
    assert_eq!(w.waiting(), 0);
}

#[test]
fn what_is_in_doubt_may_end_as_unknown_instead() {
    let mut config = config();
    config.vendors[0].in_doubt = InDoubt::MarkUnknown;
    let mut w = World::new(config);
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let id = w.submit(customer, "once");
    assert_eq!(w.submitted(vendor).len(), 1);
    w.restart(false);
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    assert!(w.submitted(vendor).is_empty());
    let got = w.deliveries(customer);
    assert!(text_of(&got[0]).contains(&id) && text_of(&got[0]).contains("stat:UNKNOWN"));
}

#[test]
fn a_long_liver_is_written_again_so_that_old_records_can_go() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let sleeper = w.submit(customer, "sleeper");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::ROK, b"s");
    assert_eq!(w.core.oldest(w.disk.len() as u64), 0);
    // As if very many records of others had come after it.
    let gone = 300_000;
    w.disk.resize(gone, Vec::new());
    w.core.appended(gone as u64);
    let end = w.disk.len() as u64;
    assert_eq!(w.core.oldest(end), 0, "it is needed until it stands again");
    w.turn();
    let needed = w.core.oldest(w.disk.len() as u64);
    assert!(needed >= end, "{needed}");
    w.disk.iter_mut().take(needed as usize).for_each(Vec::clear);
    w.restart(false);
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.receipt(vendor, "s", "DELIVRD");
    assert!(text_of(&w.deliveries(customer)[0]).contains(&sleeper));
}

/// Customers, a vendor with two binds, and crashes at any moment, by a seed. Every text is one message.
struct Run {
    w: World,
    random: SplitMix,
    customer: Key,
    vendors: Vec<Key>,
    /// Texts that were answered ESME_ROK, by our id.
    acknowledged: BTreeMap<String, String>,
    asked: BTreeMap<u32, String>,
    /// How often the vendor got each text.
    carried: BTreeMap<String, u32>,
    /// Answers and receipts that the vendor still owes.
    owed: Vec<(Key, Got)>,
    receipts: Vec<String>,
    told: BTreeSet<String>,
    made: u32,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut config = config();
        config.vendors[0].addresses = vec![vendor_at(1), vendor_at(2)];
        config.vendors[0].window = 5;
        let mut run = Run {
            w: World::new(config),
            random: SplitMix::new(seed),
            customer: Key::from_u64(0),
            vendors: Vec::new(),
            acknowledged: BTreeMap::new(),
            asked: BTreeMap::new(),
            carried: BTreeMap::new(),
            owed: Vec::new(),
            receipts: Vec::new(),
            told: BTreeSet::new(),
            made: 0,
        };
        run.come_up();
        run
    }

    fn come_up(&mut self) {
        self.w.syncs = true;
        self.w.turn();
        self.customer = self.w.customer("foo");
        self.vendors = vec![self.w.vendor(0), self.w.vendor(1)];
        self.w.syncs = false;
        self.asked.clear();
        self.owed.clear();
    }

    fn look(&mut self) {
        for got in self.w.got(self.customer) {
            if got.0.command == Command::DELIVER_SM {
                let id = text_of(&got)[3..39].to_owned();
                // The answer may be the last thing before a crash.
                self.w.reply(self.customer, &got, Status::ROK, b"");
                self.told.insert(id);
            } else if let Some(text) = self.asked.remove(&got.0.sequence)
                && got.0.status.is_ok()
            {
                self.acknowledged.insert(id_of(&got), text);
            }
        }
        for vendor in self.vendors.clone() {
            for got in self.w.submitted(vendor) {
                *self.carried.entry(text_of(&got)).or_default() += 1;
                self.owed.push((vendor, got));
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => {
                self.made += 1;
                let text = format!("text {}", self.made);
                let sequence =
                    self.w.ask(self.customer, Command::SUBMIT_SM, &Body::Message(submit(text.as_bytes())));
                self.asked.insert(sequence, text);
            }
            4 | 5 => self.w.sync(),
            6 | 7 if !self.owed.is_empty() => {
                let at = self.random.below(self.owed.len() as u64) as usize;
                let (vendor, got) = self.owed.swap_remove(at);
                let id = format!("{:X}", 0x1000 + self.receipts.len());
                // Sometimes the receipt is faster.
                if self.random.below(4) == 0 {
                    self.w.receipt(vendor, &id, "DELIVRD");
                    self.w.reply(vendor, &got, Status::ROK, id.as_bytes());
                } else {
                    self.w.reply(vendor, &got, Status::ROK, id.as_bytes());
                }
                self.receipts.push(id);
            }
            8 if !self.receipts.is_empty() => {
                let at = self.random.below(self.receipts.len() as u64) as usize;
                let id = self.receipts[at].clone();
                let vendor = self.vendors[self.random.below(2) as usize];
                self.w.receipt(vendor, &id, "DELIVRD");
            }
            _ => self.w.turn(),
        }
        self.look();
    }

    /// Everything that is owed is answered, until nothing moves.
    fn settle(&mut self) {
        self.w.syncs = true;
        for _ in 0..1_000 {
            self.w.turn();
            self.look();
            for (vendor, got) in std::mem::take(&mut self.owed) {
                let id = format!("{:X}", 0x1000 + self.receipts.len());
                self.w.reply(vendor, &got, Status::ROK, id.as_bytes());
                self.receipts.push(id);
            }
            for id in self.receipts.clone() {
                self.w.receipt(self.vendors[0], &id, "DELIVRD");
            }
            self.look();
            if self.w.waiting() == 0 && self.owed.is_empty() {
                break;
            }
        }
    }
}

#[test]
fn f_proc_03_crashes_at_any_moment_lose_nothing_that_was_acknowledged() {
    for seed in 0..60 {
        let power_cut = seed % 3 == 0;
        let mut run = Run::new(seed);
        let mut doubled_at_most = 0;
        for _ in 0..4 {
            for _ in 0..run.random.below(120) {
                run.step();
            }
            run.w.restart(power_cut);
            // Window × binds for each crash.
            doubled_at_most += 10;
            run.come_up();
        }
        run.settle();
        for (id, text) in &run.acknowledged {
            assert!(run.carried.contains_key(text), "seed {seed}: {text:?} was acknowledged and is lost");
            assert!(run.told.contains(id), "seed {seed}: no receipt of {text:?}");
        }
        let doubled: u32 = run.carried.values().map(|n| n - 1).sum();
        let marked = run.w.metrics.possible_duplicates.value(());
        // A power cut also takes steps that were written and not synced.
        if !power_cut {
            assert!(doubled <= doubled_at_most, "seed {seed}: {doubled} doubled");
            assert!(u64::from(doubled) <= marked, "seed {seed}: {doubled} doubled, {marked} marked");
        }
        assert_eq!(run.w.waiting(), 0, "seed {seed}");
    }
}

/// A bind that is answered before the crash is nothing to the next process: sequence numbers and links begin anew.
#[test]
fn a_late_answer_of_an_earlier_life_is_a_stray() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.submit(customer, "x");
    let sent = w.submitted(vendor).remove(0);
    w.restart(false);
    let vendor = w.vendor(0);
    let again = w.submitted(vendor);
    assert_eq!(again.len(), 1);
    let mut out = Vec::new();
    let body = Body::MessageId { id: b"1", tlvs: Default::default() };
    pdu::encode(&mut out, Command::SUBMIT_SM.response(), Status::ROK, sent.0.sequence + 500, &body).unwrap();
    w.raw(vendor, &out);
    assert_eq!((w.metrics.strays.value(()), w.waiting()), (1, 1));
}
