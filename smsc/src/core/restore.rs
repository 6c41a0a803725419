//! The state after a start: the records of the topic in order, then what becomes of each message.

use warp_model::Now;
use warp_policy::messaging::{Entry, Scope};

use super::Core;
use super::customer::message_of;
use super::message::{Callback, Message, NEVER, NOBODY, Places, Step};
use warp_smpp::record::{Direction, Record, Terms};

impl Core {
    /// One record of the topic, in order. A damaged one is none and is counted by the log.
    pub fn restore(&mut self, number: u64, bytes: &[u8], now: Now) {
        let Some(record) = Record::decode(bytes) else { return };
        match record {
            Record::Accepted {
                id,
                direction,
                account,
                vendor,
                at,
                not_before,
                expires,
                body,
                callback,
                route,
                nth,
                terms,
            } => {
                // One that was written again: what follows says the same again.
                if let Some(key) = self.store.find(id) {
                    self.store.remove(key);
                }
                let read = message_of(body);
                let account = self.by_name.get(account).copied();
                let named = self.config.vendors.iter().position(|v| v.name.as_bytes() == vendor);
                let key = self.store.insert(Message {
                    id,
                    direction,
                    // One whose vendor is gone takes the way that is configured now.
                    places: Places::new(
                        account.unwrap_or(NOBODY),
                        named.or(self.config.mt_default).unwrap_or(NOBODY),
                    ),
                    at,
                    not_before,
                    expires,
                    due: NEVER,
                    priority: read.map_or(0, |m| m.priority.min(3)),
                    registered: read.map_or(0, |m| m.registered_delivery),
                    attempts: 0,
                    route,
                    moves: 0,
                    nth,
                    step: Step::Waiting,
                    noticed: false,
                    outcome: None,
                    carrier_id: None,
                    record: number,
                    body: body.into(),
                    callback: Callback::decode(callback),
                    terms: Terms::decode(terms).map(Box::new),
                });
                self.store.restored(key, number);
            }
            Record::Moved { id, vendor, .. } => {
                let place = self.config.vendors.iter().position(|v| v.name.as_bytes() == vendor);
                self.restored(id, |m| {
                    // One whose vendor is gone stays where it was.
                    m.places = Places::new(m.account(), place.unwrap_or(m.vendor()));
                    m.moved();
                    m.step = Step::Waiting;
                });
            }
            // A step that was written again after a fault may stand behind a later one.
            Record::Sent { id } => {
                self.part_went(id);
                self.restored(id, |m| {
                    if m.step != Step::Carried {
                        m.step = Step::Sent;
                    }
                });
            }
            Record::Carried { id, carrier_id } => self.restored(id, |m| {
                (m.step, m.carrier_id) = (Step::Carried, Some(carrier_id.into()));
            }),
            Record::Retry { id, until, attempts } => self.restored(id, |m| {
                (m.step, m.not_before, m.attempts) = (Step::Waiting, until, attempts);
            }),
            Record::Noticed { id } => self.restored(id, |m| m.noticed = true),
            Record::Told { id } => self.restored(id, |m| {
                if let Some(callback) = &mut m.callback {
                    callback.told = true;
                }
            }),
            Record::Final { id, outcome } => self.restored(id, |m| m.outcome = Some(outcome)),
            Record::Consent { id, customer, sender, recipient, out, at } => {
                let scope = Scope::Number(customer, sender);
                self.consent.restored(Entry { scope, recipient, out, at, message: id });
            }
            // What follows is read as what stood before, which it says again.
            Record::Again { .. } => {}
            Record::Done { id } => {
                if let Some(key) = self.store.find(id) {
                    self.store.remove(key);
                }
            }
            Record::Parked { vendor, carrier_id, outcome } => {
                let place = self.config.vendors.iter().position(|v| v.name.as_bytes() == vendor);
                let age = u64::try_from(now.wall.0.saturating_sub(outcome.at.0)).unwrap_or(0);
                let left =
                    self.config.limits.parked_for.saturating_sub(std::time::Duration::from_micros(age));
                if let Some(vendor) = place.filter(|_| !left.is_zero()) {
                    self.parked.at(number);
                    self.parked.park(vendor, carrier_id.to_vec(), outcome, now.mono + left);
                }
            }
        }
    }

    fn restored(&mut self, id: u128, change: impl FnOnce(&mut Message)) {
        if let Some(message) = self.store.find(id).and_then(|key| self.store.get_mut(key)) {
            change(message);
        }
    }

    /// All records were read: everything goes on. Gives how many messages there are.
    pub fn restored_all(&mut self, now: Now) -> usize {
        let mut doubtful = Vec::new();
        for key in self.store.by_age() {
            let Some(message) = self.store.get_mut(key) else { continue };
            let vendor = message.vendor();
            let (step, outcome) = (message.step, message.outcome);
            if outcome.is_some() || message.direction == Direction::Originated {
                self.deliver_restored(key, now);
                continue;
            }
            match step {
                Step::Sent => doubtful.push((vendor, key)),
                Step::Carried => {
                    let carrier_id = message.carrier_id.clone().unwrap_or_default();
                    if let Some(outcome) = self.parked.take(vendor, &carrier_id)
                        && self.said(key, outcome, now)
                    {
                        continue;
                    }
                    if let Some(vendor) = self.vendors.get_mut(vendor) {
                        vendor.carried.insert(carrier_id, key);
                    }
                    let due = self.receipt_due(key, now);
                    self.store.set_due(key, due);
                    self.tell_carried(key);
                }
                _ => {
                    message.step = Step::Storing;
                    self.let_go(key, now);
                }
            }
        }
        // They were the first of their accounts: they are again, the oldest in front.
        for (vendor, key) in doubtful.into_iter().rev() {
            self.in_doubt(vendor, key, now);
        }
        self.store.len()
    }
}
