//! What a message costs and who pays, where accounts are kept (RFC 0037). A message without a price on both sides is not carried; one
//! that is paid ahead takes its price from the purse of its account when it is taken, for good when its record is durable.

use warp_model::text::ShortText;
use warp_model::{Lent, Money, Nanos, Now};
use warp_policy::credit::{Held, Missed};
use warp_policy::messaging::prices::is_within_margin;
use warp_policy::messaging::{Kind, recipient};
use warp_smpp::Status;
use warp_smpp::pdu::{self, Address};
use warp_smpp::record::Terms;
use warp_smpp::text::{DataCoding, Reference, split};

use super::Core;
use super::customer::message_of;
use super::routing::Way;
use super::slab::Key;
use crate::metrics::Unpaid;

/// What all segments of a message cost on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    segments: u16,
    sell: Money,
    buy: Money,
}

impl Price {
    /// What the vendor asks.
    pub(super) fn asked(&self) -> Money {
        self.buy
    }
}

/// Terms that go into a record, and the money that waits for it.
pub(super) type Agreed = (Option<Box<Terms>>, Option<Lent<Held>>);

/// Segments that a message is sent as: one, or as many as its network cuts a longer text into.
pub(super) fn segments_of(pdu: &pdu::Message<'_>) -> u16 {
    let Ok(payload) = pdu.payload() else { return 1 };
    if pdu.has_udh() {
        return 1;
    }
    let alphabet = DataCoding(pdu.data_coding).alphabet();
    let count = split(payload, alphabet, Reference::Udh8, usize::MAX)
        .map_or_else(|needed| needed, |parts| parts.len());
    u16::try_from(count.max(1)).unwrap_or(u16::MAX)
}

fn times(price: Money, segments: u16) -> Option<Money> {
    let amount = price.amount.0.checked_mul(i64::from(segments))?;
    Some(Money { amount: Nanos(amount), ..price })
}

/// The number that a message is for, where accounts are kept; else the address is looked at by nobody, as in Jasmin.
pub(super) struct Recipient(Option<ShortText>);

impl Recipient {
    /// The address with the digits of the number, country code included; without a number as it is.
    pub(super) fn address<'a>(&'a self, written: &Address<'a>) -> Address<'a> {
        match &self.0 {
            Some(number) => {
                let text = number.as_str().trim_start_matches('+').as_bytes();
                Address { ton: 1, npi: 1, text }
            }
            None => *written,
        }
    }
}

impl Core {
    /// Whom a message is for. Errors: ESME_RINVDSTADR; it is no number, so that no price is one of it and nobody may be charged.
    pub(super) fn recipient(&self, to: &Address<'_>) -> Result<Recipient, Status> {
        if !self.config.recorded {
            return Ok(Recipient(None));
        }
        let number = recipient(self.consent.plan(), to.text, to.ton == 1);
        number.map(|number| Recipient(Some(number.text()))).map_err(|_| Status::RINVDSTADR)
    }

    /// The price of a message on its way, and that way: another vendor of the same route when the first choice has no price or is too
    /// dear. Without accounts there is none. Errors: ESME_RINVDSTADR; it has no price, or nobody is cheap enough.
    pub(super) fn price(
        &self,
        account: usize,
        way: Way,
        destination: &[u8],
        segments: u16,
    ) -> Result<(Way, Option<Price>), Status> {
        if !self.config.recorded {
            return Ok((way, None));
        }
        let lists = self.config.accounts.get(account).map(|a| a.sell.as_slice()).unwrap_or_default();
        let sell = lists.iter().find_map(|list| list.of(destination)).map(|(_, price)| price);
        let Some(sell) = sell.and_then(|price| times(price, segments)) else {
            self.metrics.unpaid.inc(Unpaid::NoSellPrice);
            return Err(Status::RINVDSTADR);
        };
        let buy = |vendor| self.buys_for(way.route, vendor, destination, segments, sell);
        let bound = |vendor: usize| self.vendors.get(vendor).is_some_and(|v| v.is_bound());
        let route = self.mt.route(way.route);
        let by_cost = route.is_some_and(|route| route.kind == Kind::LeastCost);
        let mut chosen = (way, buy(way.target).filter(|_| !by_cost));
        if chosen.1.is_none()
            && let Some(route) = route
        {
            let others = || route.targets.iter().filter_map(|v| Some((*v, buy(*v)?)));
            // Of two that ask the same the first one given.
            let best = |reachable: bool| {
                let mut found = others().filter(|(vendor, _)| !reachable || bound(*vendor));
                if by_cost { found.min_by_key(|(_, asks)| asks.amount) } else { found.next() }
            };
            if let Some((target, asks)) = best(true).or_else(|| best(false)) {
                chosen = (Way { target, reachable: bound(target), ..way }, Some(asks));
            }
        }
        match chosen {
            (way, Some(buy)) => Ok((way, Some(Price { segments, sell, buy }))),
            (_, None) => {
                self.metrics.unpaid.inc(Unpaid::NoVendor);
                Err(Status::RINVDSTADR)
            }
        }
    }

    /// What a vendor asks for a message of this route. `None`: it has no price, or asks more than the message is sold for.
    fn buys_for(&self, route: u16, vendor: usize, to: &[u8], segments: u16, sell: Money) -> Option<Money> {
        let list = self.config.vendors.get(vendor)?.buy.as_ref()?;
        let buy = times(list.of(to)?.1, segments)?;
        let loss_ok = self.mt.route(route).is_some_and(|route| route.loss_ok);
        is_within_margin(sell, buy, loss_ok).then_some(buy)
    }

    /// What another vendor asks for a message that was taken. The outer `None`: it may not have it; the inner one: nobody keeps accounts.
    pub(super) fn buys(&self, key: Key, route: u16, vendor: usize) -> Option<Option<Money>> {
        let message = self.store.get(key)?;
        let Some(terms) = &message.terms else { return Some(None) };
        let destination = message_of(&message.body)?.destination;
        let number = self.recipient(&destination).ok()?;
        let to = number.address(&destination).text;
        // A part of a longer text goes where the others go, and costs with the one that stands for it.
        let Some(sell) = terms.sell else { return Some(None) };
        self.buys_for(route, vendor, to, terms.segments, sell).map(Some)
    }

    /// Takes the price from whoever pays. Errors: ESME_RSUBMITFAIL, there is no money; ESME_RTHROTTLED, it comes in a moment.
    pub(super) fn pay(
        &self,
        account: usize,
        price: Option<Price>,
        parts: u8,
        now: Now,
    ) -> Result<Agreed, Status> {
        let (Some(price), Some(config)) = (price, self.config.accounts.get(account)) else {
            return Ok((None, None));
        };
        let mut terms = Terms {
            customer: config.customer,
            ban: config.payer.map_or(0, |p| p.ban.as_u128()),
            parts,
            segments: price.segments,
            sell: Some(price.sell),
            buy: Some(price.buy),
            ..Terms::default()
        };
        let Some(payer) = config.payer.filter(|p| p.ahead && price.sell.amount.0 > 0) else {
            return Ok((Some(Box::new(terms)), None));
        };
        let place = self.config.wallet.place(payer.ban);
        let amount = price.sell.amount;
        place.comes(amount);
        match place.hold(amount, now.mono) {
            Some(held) => {
                terms.lease = held.purse().epoch();
                Ok((Some(Box::new(terms)), Some(held)))
            }
            None => {
                place.miss(Missed { want: amount, need: amount });
                // The bank is asked several times a second for what was missed: an older answer may be from before money was paid in.
                let since = warp_model::Mono(now.mono.0.saturating_sub(1_000_000_000));
                if place.may_get(amount, since) {
                    self.metrics.unpaid.inc(Unpaid::Later);
                    return Err(Status::RTHROTTLED);
                }
                self.metrics.unpaid.inc(Unpaid::NoCredit);
                Err(Status::RSUBMITFAIL)
            }
        }
    }

    /// The money of a message waits until its record is durable.
    pub(super) fn holds(&mut self, key: Key, held: Option<Lent<Held>>) {
        if let Some(held) = held {
            self.held.insert(key, held);
        }
    }

    /// The record of a message is durable: what it holds is spent.
    pub(super) fn paid(&mut self, key: Key) {
        if self.held.is_empty() {
            return;
        }
        if let Some(held) = self.held.remove(&key) {
            let amount = held.amount();
            Held::settle(held, amount);
        }
    }

    /// Whose a message of a handset is.
    pub(super) fn terms_of_originated(&self, account: usize) -> Option<Box<Terms>> {
        let config = self.config.accounts.get(account).filter(|_| self.config.recorded)?;
        Some(Box::new(Terms {
            customer: config.customer,
            ban: config.payer.map_or(0, |p| p.ban.as_u128()),
            parts: 1,
            segments: 1,
            ..Terms::default()
        }))
    }
}
