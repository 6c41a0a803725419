//! Who does not want to hear of whom, and at which hours (RFC 0052): the cores of `policy::messaging::{optout, quiet}` at work.
//!
//! A STOP is kept with the message that said it: an entry in the queue, which counts when it is durable. The control plane makes a row of it
//! and publishes all rows, so that the queue need not keep entries for ever; of a pair the latest entry counts, wherever it came from.
//!
//! Only where accounts are kept: Jasmin looks at no text, and neither does the launch profile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use warp_model::{E164, Mono, Now, Wall};
use warp_policy::NumberPlan;
use warp_policy::messaging::optout::{Confirmation, Entries, number};
use warp_policy::messaging::{Entry, Keywords, OptOuts, QuietHours, Scope, Zones};
use warp_smpp::Status;
use warp_smpp::pdu::{self, Address};
use warp_smpp::receipt::MessageState;
use warp_smpp::record::{Outcome, Record, Terms};
use warp_smpp::text::alphabet::encode_best;

use super::Core;
use super::commit::{Act, Kept, Waits};
use super::customer::{Times, body_of, message_of};
use super::message::Step;
use super::routing::{part_of, text_of};
use super::slab::Key;
use crate::metrics::Consented;

/// The recipient has opted out of messages from this sender (of the vendor's own range, SMPP 3.4 §5.1.3).
pub const OPTED_OUT: Status = Status(0x0450);
/// Marketing whose validity ends before the recipient's quiet hours do.
pub const QUIET: Status = Status(0x0451);
/// The error of a message that was taken, and whose recipient opted out before it was sent.
pub const OPTED_OUT_ERROR: u16 = 901;
/// The error of marketing that was taken, and whose validity ends within quiet hours.
pub const QUIET_ERROR: u16 = 902;

/// Who was answered of late, at most: further ones are not answered until there is room again.
const ANSWERED: usize = 10_000;
/// How long nobody is told the same again.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Consent {
    list: OptOuts,
    /// The published entries that are in the list.
    through: u64,
    keywords: Keywords,
    hours: QuietHours,
    plan: NumberPlan,
    /// Entries on their way to the disk.
    pending: HashMap<usize, Entry>,
    next: usize,
    /// Who was told of help, or that messages come, of late: two machines that answer one another stop so.
    answered: HashMap<(Scope, u64), Mono>,
}

impl Default for Consent {
    fn default() -> Self {
        Consent {
            list: OptOuts::default(),
            through: 0,
            keywords: Keywords::default(),
            hours: QuietHours::default(),
            plan: NumberPlan::seed(),
            pending: HashMap::new(),
            next: 0,
            answered: HashMap::new(),
        }
    }
}

impl Consent {
    /// The plan of numbers that recipients are read by.
    pub(super) fn plan(&self) -> &NumberPlan {
        &self.plan
    }

    /// What was published; what is known already is passed over.
    pub(super) fn take(&mut self, published: &[Arc<Entries>]) {
        for chunk in published.iter().filter(|chunk| chunk.through > self.through) {
            chunk.entries.iter().for_each(|entry| self.list.apply(*entry));
        }
        self.through = published.iter().map(|chunk| chunk.through).fold(self.through, u64::max);
    }

    /// An entry of the queue, at a start.
    pub(super) fn restored(&mut self, entry: Entry) {
        self.list.apply(entry);
    }

    /// When marketing may go to somebody; `None`: never.
    fn opens(&self, recipient: u64, from: Wall) -> Option<Wall> {
        let number = E164::from_value(recipient);
        match number.and_then(|number| Zones::of(number, &self.plan)) {
            Some(zones) => self.hours.from(zones, from),
            // Not of the plan whose law it is.
            None => Some(from),
        }
    }

    /// Whether somebody was told the same a moment ago, or nobody can be remembered any more.
    fn was_answered(&mut self, scope: Scope, recipient: u64, now: Mono) -> bool {
        if self.answered.len() >= ANSWERED {
            self.answered.retain(|_, until| *until > now);
        }
        let pair = (scope, recipient);
        if self.answered.get(&pair).is_some_and(|until| *until > now) || self.answered.len() >= ANSWERED {
            return true;
        }
        self.answered.insert(pair, now + AGAIN_AFTER);
        false
    }
}

impl Core {
    /// Whether a message may go, and when at the earliest: marketing waits for the end of the recipient's quiet hours.
    /// Errors: [`OPTED_OUT`], [`QUIET`].
    pub(super) fn allowed(
        &self,
        account: usize,
        source: &[u8],
        destination: &[u8],
        times: &Times,
        now: Now,
    ) -> Result<Wall, Status> {
        let from = times.not_before.max(now.wall);
        let Some(config) = self.config.accounts.get(account).filter(|_| self.config.recorded) else {
            return Ok(times.not_before);
        };
        if self.consent.list.is_empty() && !config.marketing {
            return Ok(times.not_before);
        }
        let Some(recipient) = number(destination) else { return Ok(times.not_before) };
        if let Some(sender) = number(source)
            && self.consent.list.forbids(&[Scope::Number(config.customer, sender)], recipient).is_some()
        {
            self.metrics.consent.inc(Consented::OptedOut);
            return Err(OPTED_OUT);
        }
        if !config.marketing {
            return Ok(times.not_before);
        }
        match self.consent.opens(recipient, from) {
            Some(opens) if opens == from => Ok(times.not_before),
            Some(opens) if opens < times.expires => {
                self.metrics.consent.inc(Consented::Held);
                Ok(opens)
            }
            _ => {
                self.metrics.consent.inc(Consented::Quiet);
                Err(QUIET)
            }
        }
    }

    /// Says in the records that a message waits for the day of its recipient.
    pub(super) fn held(&mut self, key: Key) {
        if let Some(message) = self.store.get(key) {
            let held = Record::Retry { id: message.id, until: message.not_before, attempts: 0 };
            self.store.commit.add(&held, Kept::Fact, None);
        }
    }

    /// Looks again before a message goes to a vendor: its recipient may have opted out since, or the night may have come. `false`: it does
    /// not go now.
    pub(super) fn still_allowed(&mut self, key: Key, now: Now) -> bool {
        let Some(message) = self.store.get(key).filter(|_| self.config.recorded) else { return true };
        // What is answered to a keyword is wanted, and nobody pays for it.
        if message.terms.as_ref().is_none_or(|terms| terms.ban == 0) {
            return true;
        }
        let marketing = self.config.accounts.get(message.account()).is_some_and(|a| a.marketing);
        if self.consent.list.is_empty() && !marketing {
            return true;
        }
        let times = Times { not_before: now.wall, expires: message.expires };
        let Some(pdu) = message_of(&message.body) else { return true };
        let verdict = self.allowed(message.account(), pdu.source.text, pdu.destination.text, &times, now);
        let (error, at) = match verdict {
            Ok(at) if at <= now.wall => return true,
            Ok(at) => {
                if let Some(message) = self.store.get_mut(key) {
                    (message.step, message.not_before) = (Step::Waiting, at);
                }
                self.held(key);
                self.store.set_due(key, at);
                return false;
            }
            Err(OPTED_OUT) => (OPTED_OUT_ERROR, now.wall),
            Err(_) => (QUIET_ERROR, now.wall),
        };
        self.finish(key, Outcome { state: MessageState::Rejected, error, at });
        false
    }

    /// A message of a handset was taken: when it is a keyword, what it asks for is done.
    pub(super) fn keyword(&mut self, message: u128, account: usize, pdu: &pdu::Message<'_>, now: Now) {
        let Some(config) = self.config.accounts.get(account).filter(|_| self.config.recorded) else { return };
        let (Some(sender), Some(recipient)) = (number(pdu.destination.text), number(pdu.source.text)) else {
            return;
        };
        if part_of(pdu).is_some_and(|part| part.total > 1) {
            return;
        }
        let text = text_of(pdu);
        let Some(keyword) = text.as_deref().and_then(|text| self.consent.keywords.read(text)) else { return };
        let customer = config.customer;
        let scope = Scope::Number(customer, sender);
        let about = |entry: &&Entry| entry.scope == scope && entry.recipient == recipient;
        let Some(reaction) = self.consent.list.react(keyword, scope, recipient, now.wall, message) else {
            return;
        };
        // The same was said a moment ago, and is on its way to the disk.
        if reaction.entry.is_some_and(|entry| {
            self.consent.pending.values().filter(about).any(|pending| pending.out == entry.out)
        }) {
            return;
        }
        let again = reaction.entry.is_none() && reaction.answer != Confirmation::None;
        if !(again && self.consent.was_answered(scope, recipient, now.mono)) {
            self.confirm(account, pdu, reaction.answer, now);
        }
        if let Some(entry) = reaction.entry {
            self.metrics.consent.inc(if entry.out { Consented::Stop } else { Consented::Start });
            self.consent.next = self.consent.next.wrapping_add(1);
            let place = self.consent.next;
            self.consent.pending.insert(place, entry);
            let (out, at) = (entry.out, entry.at);
            let record = Record::Consent { id: message, customer, sender, recipient, out, at };
            // It goes the way of the message: when the disk takes neither, the vendor brings both again.
            self.store.commit.add(&record, Kept::Offer, Some(Act::Consent { place }));
        }
    }

    /// An entry is durable: it counts.
    pub(super) fn consented(&mut self, place: usize) {
        if let Some(entry) = self.consent.pending.remove(&place) {
            self.consent.list.apply(entry);
        }
    }

    /// An entry could not be kept.
    pub(super) fn not_consented(&mut self, place: usize) {
        self.consent.pending.remove(&place);
    }

    /// Answers a keyword: one message the other way, which nobody pays for. Without a route or a price it is not sent, and that is counted.
    fn confirm(&mut self, account: usize, asked: &pdu::Message<'_>, answer: Confirmation, now: Now) {
        let brand = self.config.accounts.get(account).map(|a| a.brand.as_str()).unwrap_or_default();
        let Some(text) = words(answer, brand) else { return };
        let mut octets = Vec::new();
        let coding = encode_best(&text, &mut octets);
        let kind = |text: &[u8]| Address { ton: u8::from(text.len() > 6), npi: 1, text: &[] };
        let (from, to) = (asked.destination.text, asked.source.text);
        let digits = |text: &'_ [u8]| text.strip_prefix(b"+").unwrap_or(text).to_vec();
        let (from, to) = (digits(from), digits(to));
        let reply = pdu::Message {
            source: Address { text: &from, ..kind(&from) },
            destination: Address { text: &to, ..kind(&to) },
            data_coding: coding.0,
            short_message: &octets,
            ..pdu::Message::default()
        };
        let id = self.new_id(now.wall);
        let way = self.route_mt(account, &reply, &[], id, now).ok_or(Status::RINVDSTADR);
        let priced = way.and_then(|way| self.price(account, way, &to, 1));
        let (Ok((way, price)), Ok(body)) = (priced, body_of(&reply)) else {
            return self.metrics.consent.inc(Consented::Unanswered);
        };
        let customer = self.config.accounts.get(account).map_or(0, |a| a.customer);
        let terms = Terms {
            customer,
            parts: 1,
            segments: 1,
            buy: price.map(|price| price.asked()),
            ..Terms::default()
        };
        let times = Times { not_before: now.wall, expires: now.wall.plus(self.config.limits.validity) };
        self.metrics.consent.inc(Consented::Answered);
        let flags = (3, 0);
        let terms = Some(Box::new(terms));
        self.place((id, 0), account, way, flags, &times, body, None, terms, Waits::Nobody, now);
    }
}

/// What is said, in one segment: the brand, and nothing that sells. `None`: nothing is.
fn words(answer: Confirmation, brand: &str) -> Option<String> {
    // Characters of the brand that take one place in every alphabet.
    let mut brand: String =
        brand.chars().filter(|c| c.is_ascii_alphanumeric() || " .,&'-".contains(*c)).take(32).collect();
    if brand.trim().is_empty() {
        brand = "This number".to_owned();
    }
    let brand = brand.trim();
    Some(match answer {
        Confirmation::None => return None,
        Confirmation::OptedOut => {
            format!(
                "{brand}: You are opted out and will get no more messages from this number. Reply START to get them again."
            )
        }
        Confirmation::OptedIn => {
            format!(
                "{brand}: You get messages from this number again. Reply HELP for help, STOP to end them."
            )
        }
        Confirmation::Help => {
            format!(
                "{brand}: Reply STOP to get no more messages from this number, START to get them again. Rates of your network may apply."
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_one_segment_whatever_the_brand_is() {
        for brand in ["Acme", "", "日本語", &"W".repeat(300), "a\u{20AC}[b]"] {
            for answer in [Confirmation::OptedOut, Confirmation::OptedIn, Confirmation::Help] {
                let text = words(answer, brand).expect("it says something");
                let mut octets = Vec::new();
                assert_eq!(encode_best(&text, &mut octets).0, 0, "{text}");
                assert!(octets.len() <= 160, "{} {text}", octets.len());
            }
        }
    }
}
