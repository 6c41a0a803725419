//! Who does not want to hear of whom, and at which hours (RFC 0052): the cores of `policy::messaging::{optout, quiet}` at work.
//!
//! A STOP is kept with the message that said it: an entry in the queue, which counts when it is durable. The control plane makes a row of it
//! and publishes all rows, so that the queue need not keep entries for ever; of a pair the latest entry counts, wherever it came from.
//!
//! Only where accounts are kept: Jasmin looks at no text, and neither does the launch profile.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use warp_model::{E164, Mono, Now, Wall};
use warp_policy::NumberPlan;
use warp_policy::messaging::optout::{Confirmation, Entries, may_be_listed, number};
use warp_policy::messaging::{Entry, Keywords, OptOuts, QuietHours, Scope, Zones};
use warp_smpp::Status;
use warp_smpp::pdu::{self, Address};
use warp_smpp::receipt::MessageState;
use warp_smpp::record::{Outcome, Record, Terms};
use warp_smpp::text::alphabet::encode_best;

use super::Core;
use super::commit::{Act, Kept, Waits};
use super::customer::{Times, body_of, message_of};
use super::message::{Message, Step};
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
/// The error of a message that nobody can look at again: its account is gone, and with it whether it is marketing.
pub const GONE_ERROR: u16 = 903;
/// The error of a confirmation that is not true any more.
pub const OVERTAKEN_ERROR: u16 = 904;

/// Who was answered of late, at most: further ones are not answered until there is room again.
const ANSWERED: usize = 10_000;
/// The same for one customer, so that a flood for one takes no answers from the others.
const ANSWERED_FOR_ONE: usize = 1_000;
/// How long nobody is told the same again.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// How long a confirmation is worth something.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(300);

/// Texts of several parts of which is known what was decided: of older ones each part is looked at for itself.
const TEXTS: usize = 10_000;

/// What was decided of the texts that go out in parts: once for all parts of each.
#[derive(Debug, Default)]
struct Texts {
    /// `None`: it goes, because its first part went; else the error that it ends with.
    decided: HashMap<u128, Option<u16>>,
    order: VecDeque<u128>,
}

impl Texts {
    fn decide(&mut self, text: u128, what: Option<u16>) {
        if self.decided.insert(text, what).is_some() {
            return;
        }
        self.order.push_back(text);
        if self.order.len() > TEXTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.decided.remove(&oldest);
        }
    }
}

/// The text of which a message is a part, by the message that stands for it. `None`: it is one by itself.
fn text_in_parts(message: &Message) -> Option<u128> {
    let terms = message.terms.as_ref().filter(|terms| terms.parts > 1)?;
    Some(if terms.whole == 0 { message.id } else { terms.whole })
}

/// An answer of a kind to a recipient of a sender.
type Told = (Scope, u64, Confirmation);

/// Who was told what of late: two machines that answer one another stop so.
#[derive(Debug, Default)]
struct Answered {
    until: HashMap<Told, Mono>,
    /// The same in the order of their ends, which is that of their beginnings.
    order: VecDeque<(Mono, Told)>,
    shares: HashMap<u128, usize>,
}

fn customer_of(scope: Scope) -> u128 {
    match scope {
        Scope::Number(id, _) | Scope::Campaign(id) | Scope::Brand(id) => id,
    }
}

impl Answered {
    /// Whether this may be said: it was not a moment ago, and it can be remembered. It is remembered.
    fn may(&mut self, told: Told, now: Mono) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            let Some((until, old)) = self.order.pop_front() else { break };
            if self.until.get(&old) == Some(&until) {
                self.forget(old);
            }
        }
        let share = self.shares.entry(customer_of(told.0)).or_default();
        // What was forgotten before its end is still in the order.
        if self.until.contains_key(&told) || *share >= ANSWERED_FOR_ONE || self.order.len() >= ANSWERED {
            return false;
        }
        *share = share.saturating_add(1);
        let until = now + AGAIN_AFTER;
        self.until.insert(told, until);
        self.order.push_back((until, told));
        true
    }

    /// It was not said after all.
    fn forget(&mut self, told: Told) {
        let customer = customer_of(told.0);
        if self.until.remove(&told).is_some()
            && let Some(share) = self.shares.get_mut(&customer)
        {
            *share = share.saturating_sub(1);
            if *share == 0 {
                self.shares.remove(&customer);
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Consent {
    list: OptOuts,
    /// The published entries that are in the list.
    through: u64,
    keywords: Keywords,
    hours: QuietHours,
    plan: NumberPlan,
    /// Entries on their way to the disk, each with what was answered to it.
    pending: HashMap<usize, (Entry, Option<Told>)>,
    /// Of a pair the places of those, in order.
    of_pair: HashMap<(Scope, u64), Vec<usize>>,
    next: usize,
    answered: Answered,
    texts: Texts,
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
            of_pair: HashMap::new(),
            next: 0,
            answered: Answered::default(),
            texts: Texts::default(),
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

    /// What was said last of a pair and is not durable yet.
    fn pending(&self, scope: Scope, recipient: u64) -> Option<Entry> {
        let last = self.of_pair.get(&(scope, recipient))?.last()?;
        self.pending.get(last).map(|(entry, _)| *entry)
    }

    /// An entry is on its way no more.
    fn arrived(&mut self, place: usize) -> Option<(Entry, Option<Told>)> {
        let (entry, told) = self.pending.remove(&place)?;
        let pair = (entry.scope, entry.recipient);
        if let Some(places) = self.of_pair.get_mut(&pair) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.of_pair.remove(&pair);
            }
        }
        Some((entry, told))
    }

    /// Whether a confirmation of this text says something else than was said last.
    fn contradicts(&self, text: &[u8], scope: Scope, recipient: u64) -> bool {
        let said = self.pending(scope, recipient).or_else(|| self.list.last(scope, recipient));
        let has = |part: &str| text.windows(part.len()).any(|w| w == part.as_bytes());
        said.is_some_and(|entry| if entry.out { has(IN_WORDS) } else { has(OUT_WORDS) })
    }

    /// What a sender is called in the list. Its own number is compared as the country writes it, whatever the address says of it: both
    /// sides of a message leave its 1 away.
    fn sender(&self, address: &Address<'_>) -> Option<u64> {
        number(&self.plan, address.text, false)
    }

    /// What a handset is called in the list: as routes and prices read it.
    fn handset(&self, address: &Address<'_>) -> Option<u64> {
        number(&self.plan, address.text, address.ton == 1)
    }
}

/// Whether a sender looks like a number and is none as we read it: seven digits and more with something between or around them that is no
/// letter. Nobody could be sure that it is not the one that was refused.
fn is_disguised(source: &[u8]) -> bool {
    let plain = source.strip_prefix(b"+").unwrap_or(source);
    let digits = source.iter().filter(|b| b.is_ascii_digit()).count();
    let has_letter = source.iter().any(|b| b.is_ascii_alphabetic());
    digits >= 7
        && !has_letter
        && (!plain.iter().all(u8::is_ascii_digit) || plain.len() > 15 || plain.starts_with(b"0"))
}

impl Core {
    /// Whether a message may go, and when at the earliest: marketing waits for the end of the recipient's quiet hours.
    /// Errors: [`OPTED_OUT`], [`QUIET`], ESME_RINVSRCADR: a number in a form that cannot be compared.
    pub(super) fn allowed(
        &self,
        account: usize,
        source: &Address<'_>,
        destination: &Address<'_>,
        times: &Times,
        now: Now,
    ) -> Result<Wall, Status> {
        let from = times.not_before.max(now.wall);
        let Some(config) = self.config.accounts.get(account).filter(|_| self.config.recorded) else {
            return Ok(times.not_before);
        };
        if is_disguised(source.text) {
            return Err(Status::RINVSRCADR);
        }
        if self.consent.list.is_empty() && !config.marketing {
            return Ok(times.not_before);
        }
        let Some(recipient) = self.consent.handset(destination) else { return Ok(times.not_before) };
        // Ten digits may be meant with the code of another country: who opted out of either is left alone.
        let senders = [self.consent.sender(source), self.consent.handset(source)];
        if senders
            .into_iter()
            .flatten()
            .any(|n| self.consent.list.forbids(&[Scope::Number(config.customer, n)], recipient).is_some())
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
        let Some(terms) = message.terms.as_ref() else { return true };
        let Some(pdu) = message_of(&message.body) else { return true };
        // What is answered to a keyword is wanted, and nobody pays for it; while it is true.
        if terms.ban == 0 {
            let pair = self.consent.sender(&pdu.source).zip(self.consent.handset(&pdu.destination));
            let overtaken = pair.is_some_and(|(sender, recipient)| {
                let scope = Scope::Number(terms.customer, sender);
                self.consent.contradicts(pdu.short_message, scope, recipient)
            });
            if overtaken {
                let state = MessageState::Rejected;
                self.finish(key, Outcome { state, error: OVERTAKEN_ERROR, at: now.wall });
            }
            return !overtaken;
        }
        let Some(config) = self.config.accounts.get(message.account()) else {
            let state = MessageState::Rejected;
            self.finish(key, Outcome { state, error: GONE_ERROR, at: now.wall });
            return false;
        };
        // Half a text helps nobody: what was decided of one part holds for the others.
        let text = text_in_parts(message);
        match text.and_then(|text| self.consent.texts.decided.get(&text)).copied() {
            Some(None) => return true,
            Some(Some(error)) => {
                self.finish(key, Outcome { state: MessageState::Rejected, error, at: now.wall });
                return false;
            }
            None => {}
        }
        if self.consent.list.is_empty() && !config.marketing {
            self.decide(text, None);
            return true;
        }
        let times = Times { not_before: now.wall, expires: message.expires };
        let verdict = self.allowed(message.account(), &pdu.source, &pdu.destination, &times, now);
        let (error, at) = match verdict {
            Ok(at) if at <= now.wall => {
                self.decide(text, None);
                return true;
            }
            Ok(at) => {
                if let Some(message) = self.store.get_mut(key) {
                    (message.step, message.not_before) = (Step::Waiting, at);
                }
                self.held(key);
                self.store.set_due(key, at);
                return false;
            }
            // It was taken in this form before that was looked at.
            Err(OPTED_OUT | Status::RINVSRCADR) => (OPTED_OUT_ERROR, now.wall),
            Err(_) => (QUIET_ERROR, now.wall),
        };
        self.decide(text, Some(error));
        self.finish(key, Outcome { state: MessageState::Rejected, error, at });
        false
    }

    fn decide(&mut self, text: Option<u128>, what: Option<u16>) {
        if let Some(text) = text {
            self.consent.texts.decide(text, what);
        }
    }

    /// A part of a text was with its vendor before a start: the others follow.
    pub(super) fn part_went(&mut self, id: u128) {
        let message = self.store.find(id).and_then(|key| self.store.get(key));
        self.decide(message.and_then(text_in_parts), None);
    }

    /// A message of a handset was taken: when it is a keyword, what it asks for is done.
    pub(super) fn keyword(&mut self, message: u128, account: usize, pdu: &pdu::Message<'_>, now: Now) {
        let Some(config) = self.config.accounts.get(account).filter(|_| self.config.recorded) else { return };
        let pair = self.consent.sender(&pdu.destination).zip(self.consent.handset(&pdu.source));
        let Some((sender, recipient)) = pair.filter(|(s, r)| may_be_listed(*s, *r)) else { return };
        if part_of(pdu).is_some_and(|part| part.total > 1) {
            return;
        }
        let text = text_of(pdu);
        let Some(keyword) = text.as_deref().and_then(|text| self.consent.keywords.read(text)) else { return };
        let customer = config.customer;
        let scope = Scope::Number(customer, sender);
        let pending = self.consent.pending(scope, recipient);
        let pair = (scope, recipient);
        let Some(reaction) = self.consent.list.react(keyword, pair, pending, now.wall, message) else {
            return;
        };
        let told = (scope, recipient, reaction.answer);
        let told = (reaction.answer != Confirmation::None && self.consent.answered.may(told, now.mono))
            .then_some(told);
        if told.is_some() {
            self.confirm(account, pair, reaction.answer, now);
        }
        if let Some(entry) = reaction.entry {
            self.metrics.consent.inc(if entry.out { Consented::Stop } else { Consented::Start });
            self.consent.next = self.consent.next.wrapping_add(1);
            let place = self.consent.next;
            self.consent.pending.insert(place, (entry, told));
            self.consent.of_pair.entry(pair).or_default().push(place);
            let (out, at) = (entry.out, entry.at);
            let record = Record::Consent { id: message, customer, sender, recipient, out, at };
            // It goes the way of the message: when the disk takes neither, the vendor brings both again.
            self.store.commit.add(&record, Kept::Offer, Some(Act::Consent { place }));
        }
    }

    /// An entry is durable: it counts.
    pub(super) fn consented(&mut self, place: usize) {
        if let Some((entry, _)) = self.consent.arrived(place) {
            self.consent.list.apply(entry);
        }
    }

    /// An entry could not be kept, nor could what was answered to it.
    pub(super) fn not_consented(&mut self, place: usize) {
        if let Some((_, Some(told))) = self.consent.arrived(place) {
            self.consent.answered.forget(told);
        }
    }

    /// Answers a keyword: one message the other way, which nobody pays for. Without a route or a price it is not sent, and that is counted.
    fn confirm(&mut self, account: usize, (scope, to): (Scope, u64), answer: Confirmation, now: Now) {
        let brand = self.config.accounts.get(account).map(|a| a.brand.as_str()).unwrap_or_default();
        let Some(text) = words(answer, brand) else { return };
        let mut octets = Vec::new();
        let coding = encode_best(&text, &mut octets);
        let Scope::Number(customer, from) = scope else { return };
        // Both as they are in the list: whole numbers, however the vendor wrote them; a short code is of no country (SMPP 3.4 §5.2.5).
        let kind = |digits: &str| Address { ton: u8::from(digits.len() > 6), npi: 1, text: &[] };
        let (from, to) = (from.to_string(), to.to_string());
        let expires = now.wall.plus(CONFIRMED_WITHIN);
        let validity = warp_smpp::time::absolute(expires);
        let reply = pdu::Message {
            source: Address { text: from.as_bytes(), ..kind(&from) },
            destination: Address { text: to.as_bytes(), ..kind(&to) },
            validity: &validity,
            data_coding: coding.0,
            short_message: &octets,
            ..pdu::Message::default()
        };
        let id = self.new_id(now.wall);
        let way = self.route_mt(account, &reply, &[], id, now).ok_or(Status::RINVDSTADR);
        let priced = way.and_then(|way| self.price(account, way, to.as_bytes(), 1));
        let (Ok((way, price)), Ok(body)) = (priced, body_of(&reply)) else {
            return self.metrics.consent.inc(Consented::Unanswered);
        };
        let terms = Terms {
            customer,
            parts: 1,
            segments: 1,
            buy: price.map(|price| price.asked()),
            ..Terms::default()
        };
        let times = Times { not_before: now.wall, expires };
        self.metrics.consent.inc(Consented::Answered);
        let flags = (3, 0);
        let terms = Some(Box::new(terms));
        self.place((id, 0), account, way, flags, &times, body, None, terms, Waits::Nobody, now);
    }
}

/// What only the answer to a STOP says.
const OUT_WORDS: &str = "You are opted out";
/// What only the answer to a START says.
const IN_WORDS: &str = "You get messages from this number again";

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
                "{brand}: {OUT_WORDS} and will get no more messages from this number. Reply START to get them again."
            )
        }
        Confirmation::OptedIn => {
            format!("{brand}: {IN_WORDS}. Reply HELP for help, STOP to end them.")
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
