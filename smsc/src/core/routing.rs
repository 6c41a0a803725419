//! Where messages go: the decisions of [`warp_policy::messaging`] for both directions, and the way from one vendor to the next.

use std::collections::{HashMap, VecDeque};

use warp_model::{Mono, Now, Wall};
use warp_policy::messaging::{Decision, Direction, Input, Table};
use warp_smpp::pdu;
use warp_smpp::receipt::MessageState;
use warp_smpp::session::allowed;
use warp_smpp::text::udh::Concatenation;
use warp_smpp::text::{DataCoding, Udh, decode};
use warp_smpp::tlv::{Tag, Tlvs};
use warp_smpp::{Command, Side};

use super::Core;
use super::commit::Kept;
use super::message::{Places, Step};
use super::slab::Key;
use crate::config::{Destination, Tables};
use warp_smpp::record::{Outcome, Record};

/// Where a message of a customer goes.
pub(super) type Way = Decision<usize>;

/// Which text a part belongs to: whose it is, its addresses, its reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TextOf {
    whose: usize,
    source: Box<[u8]>,
    destination: Box<[u8]>,
    place: Concatenation,
}

/// Routes of texts in parts, for tables that look at the text: the first part that comes decides for all. Bounded in number and time.
#[derive(Debug, Default)]
pub(super) struct Ways {
    by_text: HashMap<TextOf, u16>,
    order: VecDeque<(Mono, TextOf)>,
}

/// Texts whose route is remembered, and how long; further ones are decided part by part.
const TEXTS: usize = 10_000;
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(300);

impl Ways {
    fn of(&mut self, text: &TextOf, now: Mono) -> Option<u16> {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, old)) = self.order.pop_front() else { break };
            self.by_text.remove(&old);
        }
        self.by_text.get(text).copied()
    }

    fn remember(&mut self, text: TextOf, route: u16, now: Mono) {
        if self.by_text.len() < TEXTS && self.by_text.insert(text.clone(), route).is_none() {
            self.order.push_back((now + REMEMBERED, text));
        }
    }
}

/// Tables without a route.
pub(super) fn no_tables() -> Tables {
    (Table::empty(Direction::Terminated), Table::empty(Direction::Originated))
}

/// Which part of a longer text a message is, by its header or its parameters.
pub(super) fn part_of(pdu: &pdu::Message<'_>) -> Option<Concatenation> {
    if pdu.has_udh() {
        let (header, _) = Udh::split(pdu.payload().ok()?)?;
        return header.concatenation();
    }
    sar_of(pdu.tlvs)
}

fn sar_of(tlvs: Tlvs<'_>) -> Option<Concatenation> {
    let Some([high, low]) = tlvs.get(Tag::SAR_MSG_REF_NUM) else { return None };
    let (total, number) = (tlvs.octet(Tag::SAR_TOTAL_SEGMENTS)?, tlvs.octet(Tag::SAR_SEGMENT_SEQNUM)?);
    // The reference has 16 bits; a header's of 16 bits with the same number is not seen beside it.
    let place = Concatenation { reference: u16::from_be_bytes([*high, *low]), total, number, wide: true };
    (number >= 1 && number <= total && total > 1).then_some(place)
}

/// The text of a message without its header, when it is one.
pub(super) fn text_of(pdu: &pdu::Message<'_>) -> Option<String> {
    let payload = pdu.payload().ok()?;
    let (shift, text) = if pdu.has_udh() {
        let (header, text) = Udh::split(payload)?;
        (header.shift(), text)
    } else {
        (Default::default(), payload)
    };
    decode(text, DataCoding(pdu.data_coding).alphabet(), shift)
}

fn seed_of(whose: usize, pdu: &pdu::Message<'_>, part: Option<Concatenation>, id: u128) -> u64 {
    let Some(part) = part else {
        return warp_model::hash::mix((id & u128::from(u64::MAX)) as u64);
    };
    let [high, low] = part.reference.to_be_bytes();
    let bytes = (whose as u64).to_le_bytes().into_iter().chain(pdu.source.text.iter().copied());
    let bytes =
        bytes.chain([0]).chain(pdu.destination.text.iter().copied()).chain([0, high, low, part.total]);
    warp_model::hash::mix(warp_model::hash::fnv1a(bytes))
}

impl Core {
    /// Where a message of a customer goes. `None`: no route fits.
    pub(super) fn route_mt(
        &mut self,
        account: usize,
        pdu: &pdu::Message<'_>,
        tags: &[String],
        id: u128,
        now: Now,
    ) -> Option<Way> {
        if let Some(target) = self.mt.only() {
            return Some(Decision { route: 0, target, reachable: true });
        }
        let part = part_of(pdu);
        let seed = seed_of(account, pdu, part, id);
        let group = self.config.accounts.get(account).and_then(|a| a.group);
        let input = Input {
            account: Some(account),
            group,
            connector: None,
            source: pdu.source.text,
            destination: pdu.destination.text,
            text: None,
            tags,
            at: now.wall,
            seed,
        };
        let vendors = &self.vendors;
        let bound = |vendor: usize| vendors.get(vendor).is_some_and(|v| v.is_bound());
        decide(&self.mt, &mut self.ways, input, account, pdu, part, now.mono, bound)
    }

    /// Who gets a message of a handset. `None`: no route fits.
    pub(super) fn route_mo(
        &mut self,
        vendor: usize,
        pdu: &pdu::Message<'_>,
        now: Now,
    ) -> Option<Decision<Destination>> {
        if let Some(target) = self.mo.only() {
            return Some(Decision { route: 0, target, reachable: true });
        }
        let part = part_of(pdu);
        // Vendors and accounts do not meet in one table of texts.
        let whose = usize::MAX.saturating_sub(vendor);
        let id = u128::from(self.random.draw());
        let input = Input {
            account: None,
            group: None,
            connector: Some(vendor),
            source: pdu.source.text,
            destination: pdu.destination.text,
            text: None,
            tags: &[],
            at: now.wall,
            seed: seed_of(whose, pdu, part, id),
        };
        let (accounts, connections) = (&self.accounts, &self.connections);
        let bound =
            |target| match target {
                Destination::Http(_) => true,
                Destination::Account(account) => accounts.get(account).is_some_and(|account| {
                    account.binds.iter().filter_map(|bind| connections.get(*bind)).any(|connection| {
                        allowed(Command::DELIVER_SM, connection.session.state(), Side::Smsc)
                    })
                }),
            };
        decide(&self.mo, &mut self.ways, input, whose, pdu, part, now.mono, bound)
    }

    /// Gives a message to the next vendor of its route that can be reached. `false`: there is none, or its validity is over.
    pub(super) fn move_on(&mut self, key: Key, now: Now) -> bool {
        let Some(message) = self.store.get(key) else { return false };
        let (from, route, moves) = (message.vendor(), message.route, message.moves);
        if message.expires <= now.wall || message.outcome.is_some() {
            return false;
        }
        let vendors = &self.vendors;
        let priced = |vendor: usize| self.buys(key, route, vendor);
        let bound =
            |vendor: usize| vendors.get(vendor).is_some_and(|v| v.is_bound()) && priced(vendor).is_some();
        let Some(to) = self.mt.next(route, from, moves, bound) else { return false };
        let buy = priced(to).flatten();
        let Some(message) = self.store.get_mut(key) else { return false };
        if let (Some(carrier_id), Some(vendor)) = (&message.carrier_id, self.vendors.get_mut(from)) {
            vendor.carried.remove(carrier_id);
        }
        message.places = Places::new(message.account(), to);
        message.moved();
        let id = message.id;
        let name = self.config.vendors.get(to).map_or("", |v| v.name.as_str());
        self.store.commit.add(&Record::Moved { id, vendor: name.as_bytes(), buy }, Kept::Fact, None);
        self.ready(key, false);
        true
    }

    /// Whether a message goes on to another vendor though this one had it to its end.
    pub(super) fn goes_on(&mut self, key: Key, outcome: Outcome, now: Now) -> bool {
        let undelivered = matches!(outcome.state, MessageState::Undeliverable | MessageState::Rejected);
        let route = self.store.get(key).and_then(|m| self.mt.route(m.route));
        let wants = undelivered && route.is_some_and(|route| route.next_when_undelivered);
        wants && self.move_on(key, now)
    }

    /// When the receipt of a message is given up, or no longer waited for at this vendor.
    pub(super) fn receipt_due(&self, key: Key, now: Now) -> Wall {
        let Some(message) = self.store.get(key) else { return now.wall };
        let last = message.expires.plus(self.config.limits.receipt_wait);
        let patience = self.mt.route(message.route).and_then(|route| route.next_without_receipt);
        patience.map_or(last, |patience| now.wall.plus(patience).min(last))
    }

    /// The vendor has said nothing for as long as its route waits: the next one gets it, or it is waited for to the end.
    /// `false`: the end has come.
    pub(super) fn silent(&mut self, key: Key, now: Now) -> bool {
        let Some(message) = self.store.get(key).filter(|m| m.step == Step::Carried) else { return false };
        let last = message.expires.plus(self.config.limits.receipt_wait);
        let carrier_id = message.carrier_id.clone().unwrap_or_default();
        let vendor = message.vendor();
        if now.wall >= last {
            return false;
        }
        if self.move_on(key, now) {
            // A late receipt of this vendor is about nothing that is waited for.
            self.parked.over(vendor, &carrier_id);
        } else {
            self.store.set_due(key, last);
        }
        true
    }
}

#[allow(clippy::too_many_arguments, reason = "the two directions share it")]
fn decide<T: warp_policy::messaging::Target>(
    table: &Table<T>,
    ways: &mut Ways,
    input: Input<'_>,
    whose: usize,
    pdu: &pdu::Message<'_>,
    part: Option<Concatenation>,
    now: Mono,
    bound: impl Fn(T) -> bool,
) -> Option<Decision<T>> {
    if !table.needs_text() {
        return table.decide(&input, bound);
    }
    let of = part.map(|place| TextOf {
        whose,
        source: pdu.source.text.into(),
        destination: pdu.destination.text.into(),
        place: Concatenation { number: 0, ..place },
    });
    if let Some(route) = of.as_ref().and_then(|of| ways.of(of, now))
        && let Some(decision) = table.decide_by(route, input.seed, &bound)
    {
        return Some(decision);
    }
    let text = text_of(pdu);
    let decision = table.decide(&Input { text: text.as_deref(), ..input }, bound)?;
    if let Some(of) = of {
        ways.remember(of, decision.route, now);
    }
    Some(decision)
}
