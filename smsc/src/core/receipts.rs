//! What vendors deliver: receipts, and messages of handsets.

use std::collections::{HashMap, HashSet, VecDeque};

use warp_model::{Mono, Now};
use warp_smpp::pdu::{self, Body};
use warp_smpp::receipt::{self, MessageState, id_of_receipt};
use warp_smpp::text::Udh;
use warp_smpp::tlv::Tag;
use warp_smpp::{Command, Header, Status};

use super::Core;
use super::commit::{Act, Kept};
use super::customer::body_of;
use super::message::{Callback, Message, NEVER, NOBODY, Places, Step, To};
use super::slab::Key;
use crate::config::Destination;
use crate::metrics::{Metrics, ReceiptResult, Taken};
use warp_smpp::record::{Direction, Outcome, Record};

/// Receipts whose message is not known yet: their response is still to come. Bounded in number and time.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// Messages that are over: a second receipt of theirs is none. The newest of each vendor's ids, bounded.
    over: HashSet<(usize, Vec<u8>)>,
    over_order: VecDeque<(usize, Vec<u8>)>,
    by_id: HashMap<(usize, Vec<u8>), Outcome>,
    order: VecDeque<(Mono, u64, (usize, Vec<u8>))>,
    /// Number of the next record, as far as it is known: records of parked receipts are not older.
    since: u64,
}

impl Parked {
    pub(super) fn park(&mut self, vendor: usize, carrier_id: Vec<u8>, outcome: Outcome, until: Mono) {
        let key = (vendor, carrier_id);
        self.by_id.insert(key.clone(), outcome);
        self.order.push_back((until, self.since, key));
    }

    pub(super) fn take(&mut self, vendor: usize, carrier_id: &[u8]) -> Option<Outcome> {
        if self.by_id.is_empty() {
            return None;
        }
        self.by_id.remove(&(vendor, carrier_id.to_vec()))
    }

    /// Whether a receipt of this id is parked.
    pub(super) fn holds(&self, vendor: usize, carrier_id: &[u8]) -> bool {
        self.by_id.contains_key(&(vendor, carrier_id.to_vec()))
    }

    /// The message of this id is over.
    pub(super) fn over(&mut self, vendor: usize, carrier_id: &[u8]) {
        let key = (vendor, carrier_id.to_vec());
        if self.over.insert(key.clone()) {
            self.over_order.push_back(key);
        }
        if self.over_order.len() > REMEMBERED
            && let Some(oldest) = self.over_order.pop_front()
        {
            self.over.remove(&oldest);
        }
    }

    /// Whether the message of this id is over. A vendor that gives an id again means another message.
    pub(super) fn is_over(&self, vendor: usize, carrier_id: &[u8]) -> bool {
        self.over.contains(&(vendor, carrier_id.to_vec()))
    }

    /// The vendor has given this id to a message.
    pub(super) fn given(&mut self, vendor: usize, carrier_id: &[u8]) {
        if !self.over.is_empty() {
            self.over.remove(&(vendor, carrier_id.to_vec()));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn expire(&mut self, now: Now, metrics: &Metrics) {
        while self.order.front().is_some_and(|(until, _, _)| *until <= now.mono) {
            let Some((_, _, key)) = self.order.pop_front() else { return };
            if self.by_id.remove(&key).is_some() {
                metrics.receipts.inc(ReceiptResult::Unmatched);
            }
        }
    }

    /// The topic has so many records: what is parked from now on is not older.
    pub(super) fn at(&mut self, number: u64) {
        self.since = number;
    }

    /// The number of the oldest record that a parked receipt needs.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.order.front().map(|(_, since, _)| *since)
    }
}

/// Ids of messages that are over and remembered; older ones look unknown, and their second receipt is parked until it is given up.
const REMEMBERED: usize = 50_000;

impl Core {
    pub(super) fn vendor_request(&mut self, key: Key, vendor: usize, header: &Header, body: &[u8], now: Now) {
        let message = match pdu::decode(header, body) {
            Ok(Body::Message(message)) => message,
            Ok(Body::Data(data)) => pdu::Message {
                service_type: data.service_type,
                source: data.source,
                destination: data.destination,
                esm_class: data.esm_class,
                registered_delivery: data.registered_delivery,
                data_coding: data.data_coding,
                tlvs: data.tlvs,
                ..pdu::Message::default()
            },
            Ok(_) => return self.answer(key, header, Status::RINVCMDID),
            Err(error) => {
                self.metrics.malformed.inc(());
                return self.answer(key, header, error.status);
            }
        };
        // Some carriers forget the bits of the receipt and send its parameters all the same.
        let kind = message.esm_class & 0x3C;
        let is_receipt = matches!(kind, 0x04 | 0x20) || message.tlvs.get(Tag::RECEIPTED_MESSAGE_ID).is_some();
        if is_receipt {
            self.receipt(key, vendor, header, &message, now);
        } else {
            self.originated(key, vendor, header, &message, now);
        }
    }

    fn receipt(&mut self, key: Key, vendor: usize, header: &Header, message: &pdu::Message<'_>, now: Now) {
        let text = message.payload().unwrap_or_default();
        let text = if message.has_udh() { Udh::split(text).map_or(text, |(_, text)| text) } else { text };
        let Some(receipt) = receipt::read(text, message.tlvs) else {
            // It is about nothing that can be known: it is taken, or it would come for ever.
            self.metrics.receipts.inc(ReceiptResult::Malformed);
            return self.answer(key, header, Status::ROK);
        };
        // A state that is not the end changes nothing here, but for ACCEPTD, after which some vendors say nothing more.
        let Some(state) = receipt.state.filter(|state| state.is_final() || *state == MessageState::Accepted)
        else {
            return self.answer(key, header, Status::ROK);
        };
        let form = self.config.vendors.get(vendor).map(|v| v.ids).unwrap_or_default();
        let carrier_id = id_of_receipt(receipt.id, form);
        let error = receipt
            .network_error
            .map(|(_, code)| code)
            .or_else(|| std::str::from_utf8(receipt.error).ok()?.parse().ok())
            .unwrap_or(0)
            .min(999);
        let outcome = Outcome { state, error, at: now.wall };
        let data = header.command == Command::DATA_SM;
        let act = Act::Receipt { connection: key, sequence: header.sequence, data };
        let found = self.vendors.get(vendor).and_then(|v| v.carried.get(carrier_id.as_slice())).copied();
        if let Some(message) = found {
            self.metrics.receipts.inc(ReceiptResult::Matched);
            if self.said(message, outcome, now) {
                self.parked.over(vendor, &carrier_id);
            }
            // Its own record: when the write fails, the vendor is asked for the receipt again.
            return self.store.commit.wait(act);
        }
        if self.parked.is_over(vendor, &carrier_id) {
            self.metrics.receipts.inc(ReceiptResult::Duplicate);
            // The first one may still be on its way to the disk.
            return self.store.commit.wait(act);
        }
        if state == MessageState::Accepted && self.parked.holds(vendor, &carrier_id) {
            // What is parked says more, or the same.
            self.metrics.receipts.inc(ReceiptResult::Duplicate);
            return self.store.commit.wait(act);
        }
        if self.parked.len() >= self.config.limits.parked {
            self.metrics.receipts.inc(ReceiptResult::Full);
            return self.answer(key, header, Status::RX_T_APPN);
        }
        self.metrics.receipts.inc(ReceiptResult::Parked);
        let name = self.config.vendors.get(vendor).map_or("", |v| v.name.as_str());
        let record = Record::Parked { vendor: name.as_bytes(), carrier_id: &carrier_id, outcome };
        self.store.commit.add(&record, Kept::Fact, Some(act));
        self.parked.park(vendor, carrier_id, outcome, now.mono + self.config.limits.parked_for);
    }

    /// What a vendor says of a message that it has; whether that is its end. ACCEPTD is not: the end mostly follows.
    pub(super) fn said(&mut self, key: Key, outcome: Outcome, now: Now) -> bool {
        if outcome.state != MessageState::Accepted {
            if !self.goes_on(key, outcome, now) {
                self.finish(key, outcome);
            }
            return true;
        }
        if let Some(message) = self.store.get_mut(key).filter(|m| !m.noticed) {
            message.noticed = true;
            let id = message.id;
            self.store.commit.add(&Record::Noticed { id }, Kept::Fact, None);
        }
        false
    }

    /// A message of a handset: to the account that it is routed to.
    fn originated(&mut self, key: Key, vendor: usize, header: &Header, pdu: &pdu::Message<'_>, now: Now) {
        let way = self.route_mo(vendor, pdu, now);
        let refusal = match (pdu.payload(), &way) {
            (Err(status), _) => Some((status, Taken::Malformed)),
            (Ok(payload), _) if pdu.has_udh() && Udh::split(payload).is_none() => {
                Some((Status::RINVMSGLEN, Taken::Malformed))
            }
            (Ok(_), None) => Some((Status::RX_P_APPN, Taken::Refused)),
            (Ok(_), Some(_)) if self.store.len() >= self.config.limits.messages => {
                Some((Status::RX_T_APPN, Taken::Full))
            }
            _ => None,
        };
        if let Some((status, counted)) = refusal {
            self.metrics.mobile_originated.inc(counted);
            return self.answer(key, header, status);
        }
        let body = match body_of(pdu) {
            Ok(body) => body,
            Err(status) => return self.answer(key, header, status),
        };
        self.metrics.mobile_originated.inc(Taken::Accepted);
        let route = way.map_or(0, |way| way.route);
        let (account, callback) = match way.map(|way| way.target) {
            Some(Destination::Account(account)) => (account, None),
            Some(Destination::Http(client)) => {
                let client = self.config.http_clients.get(client);
                (NOBODY, client.map(|c| Callback::new(To::Client(c.name.as_str().into()))))
            }
            None => (NOBODY, None),
        };
        let id = self.new_id(now.wall);
        let message = self.store.insert(Message {
            id,
            direction: Direction::Originated,
            places: Places::new(account, vendor),
            at: now.wall,
            not_before: now.wall,
            expires: now.wall.plus(self.config.limits.keep_for_customer),
            due: NEVER,
            priority: 0,
            registered: 0,
            attempts: 0,
            route,
            moves: 0,
            nth: 0,
            step: Step::Storing,
            noticed: false,
            outcome: None,
            carrier_id: None,
            record: 0,
            body,
            callback,
            terms: self.terms_of_originated(account),
        });
        let data = header.command == Command::DATA_SM;
        let act = Act::Originated { message, connection: key, sequence: header.sequence, data };
        let to = account;
        let account = self.config.accounts.get(account).map_or("", |a| a.name.as_str());
        let vendor = self.config.vendors.get(vendor).map_or("", |v| v.name.as_str());
        self.store.write_accepted(message, account.as_bytes(), vendor.as_bytes(), Some(act));
        self.keyword(id, to, pdu, now);
    }

    /// Answers a delivery of a vendor that waited for the disk.
    pub(super) fn answer_delivery(&mut self, key: Key, sequence: u32, data: bool, status: Status) {
        let command = if data { Command::DATA_SM } else { Command::DELIVER_SM };
        self.write(key, |out| pdu::reply(out, command, status, sequence));
        self.answered(key);
    }
}
