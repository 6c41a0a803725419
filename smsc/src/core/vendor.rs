//! Binds to vendors, messages to them, and their answers.

use std::collections::HashMap;
use std::time::Duration;

use warp_model::{Mono, Now};
use warp_smpp::pdu::{self, Body};
use warp_smpp::receipt::{MessageState, id_of_response};
use warp_smpp::{Command, Header, Status};

use super::Core;
use super::commit::{Act, Kept};
use super::customer::message_of;
use super::links::Role;
use super::message::{NEVER, Step, To};
use super::ready::Ready;
use super::slab::Key;
use super::throttle::Bucket;
use crate::config::{InDoubt, OnStatus, Vendor};
use crate::metrics::Handed;
use warp_policy::messaging::published::Standing;
use warp_smpp::record::{Outcome, Record};

#[derive(Debug)]
pub(super) struct VendorState {
    pub(super) ready: Ready,
    pub(super) bucket: Bucket,
    pub(super) binds: Vec<BindState>,
    /// Whose turn it is.
    turn: usize,
    /// Nothing is sent before: the rate is used up, or the vendor said so.
    pub(super) paced_until: Option<Mono>,
    /// Messages that it has, by its id in the form in which receipts are looked for.
    pub(super) carried: HashMap<Box<[u8]>, Key>,
}

#[derive(Debug)]
pub(super) struct BindState {
    pub(super) connection: Option<Key>,
    up: bool,
    try_at: Mono,
    pause: Duration,
}

impl VendorState {
    /// Whether a bind stands.
    pub(super) fn is_bound(&self) -> bool {
        self.binds.iter().any(|bind| bind.up)
    }

    /// How many binds stand.
    pub(super) fn bound(&self) -> usize {
        self.binds.iter().filter(|bind| bind.up).count()
    }

    pub(super) fn new(config: &Vendor) -> VendorState {
        VendorState {
            ready: Ready::new(),
            bucket: Bucket::new(config.rate),
            binds: BindState::all(config),
            turn: 0,
            paced_until: None,
            carried: HashMap::new(),
        }
    }
}

impl BindState {
    /// One for each address; none of a vendor that is closed.
    pub(super) fn all(config: &Vendor) -> Vec<BindState> {
        let bind = || BindState { connection: None, up: false, try_at: Mono(0), pause: config.reconnect };
        let open = config.standing != Standing::Closed;
        config.addresses.iter().filter(|_| open).map(|_| bind()).collect()
    }
}

/// How long a vendor that throttles is left alone.
const SLOW_DOWN: Duration = Duration::from_secs(1);

impl Core {
    /// Opens the binds whose time has come.
    pub(super) fn connect_vendors(&mut self, now: Now) {
        if self.draining {
            return;
        }
        for at in 0..self.vendors.len() {
            let Some(config) = self.config.vendors.get(at) else { continue };
            let (timers, window, addresses) = (config.timers, config.window, config.addresses.clone());
            for (bind, address) in addresses.into_iter().enumerate() {
                let state = self.vendors.get(at).and_then(|v| v.binds.get(bind));
                if state.is_some_and(|b| b.connection.is_none() && now.mono >= b.try_at) {
                    let key = self.open(address, Role::Vendor(at, bind), timers, window, now);
                    if let Some(state) = self.bind_state(at, bind) {
                        state.connection = Some(key);
                    }
                }
            }
        }
    }

    fn bind_state(&mut self, vendor: usize, bind: usize) -> Option<&mut BindState> {
        self.vendors.get_mut(vendor)?.binds.get_mut(bind)
    }

    pub(super) fn vendor_up(&mut self, vendor: usize, bind: usize, key: Key) {
        let first = self.config.vendors.get(vendor).map(|v| v.reconnect);
        let state = self.bind_state(vendor, bind).filter(|s| s.connection == Some(key));
        if let (Some(state), Some(first)) = (state, first) {
            (state.up, state.pause) = (true, first);
        }
    }

    pub(super) fn vendor_lost(&mut self, vendor: usize, bind: usize, key: Key, now: Now) {
        let Some(config) = self.config.vendors.get(vendor) else { return };
        let longest = config.reconnect_max;
        // Up to a tenth more, so that many binds do not come back at one moment.
        let jitter = self.random.below(100);
        // A bind of before other settings is nobody's any more.
        if let Some(state) = self.bind_state(vendor, bind).filter(|s| s.connection == Some(key)) {
            let pause = state.pause;
            let jitter = (pause / 1_000).saturating_mul(u32::try_from(jitter).unwrap_or(0));
            state.try_at = now.mono + pause.saturating_add(jitter);
            state.pause = pause.saturating_mul(2).min(longest);
            (state.connection, state.up) = (None, false);
        }
    }

    /// A message is durable: to its vendor, now or at its time.
    pub(super) fn let_go(&mut self, key: Key, now: Now) {
        let Some(message) = self.store.get_mut(key) else { return };
        if message.step != Step::Storing {
            return;
        }
        if message.not_before > now.wall {
            message.step = Step::Waiting;
            let due = message.not_before.min(message.expires);
            return self.store.set_due(key, due);
        }
        self.ready(key, false);
    }

    /// Puts a message into the queue of its vendor; `first`: it was taken out of it, and is the next of its account.
    pub(super) fn ready(&mut self, key: Key, first: bool) {
        let Some(message) = self.store.get_mut(key) else { return };
        message.step = Step::Ready;
        let (account, vendor, priority, expires) =
            (message.account(), message.vendor(), message.priority, message.expires);
        // One whose account is gone takes turns with the others of that kind.
        let account = account.min(self.accounts.len());
        if let Some(vendor) = self.vendors.get_mut(vendor) {
            if first {
                vendor.ready.push_front(account, priority, key);
            } else {
                vendor.ready.push(account, priority, key);
            }
        }
        self.store.set_due(key, expires);
    }

    /// Sends to a vendor what its binds, its rate and its windows allow.
    pub(super) fn pump_vendor(&mut self, at: usize, now: Now) {
        let standing = self.config.vendors.get(at).map(|v| v.standing);
        if self.draining || standing != Some(Standing::Active) {
            return;
        }
        let Some(vendor) = self.vendors.get_mut(at) else { return };
        if vendor.paced_until.is_some_and(|until| until > now.mono) {
            return;
        }
        vendor.paced_until = None;
        while let Some(connection) = self.bind_with_room(at) {
            let Some(vendor) = self.vendors.get_mut(at) else { return };
            let Some(key) = vendor.ready.pop() else { return };
            // What was cancelled or has expired is still in the queue.
            let message = self.store.get(key).filter(|m| m.step == Step::Ready && m.vendor() == at);
            let Some(message) = message else { continue };
            if message.expires <= now.wall {
                self.expire(key, now);
                continue;
            }
            if !self.still_allowed(key, now) {
                continue;
            }
            let (Some(vendor), Some(message)) = (self.vendors.get_mut(at), self.store.get(key)) else {
                return;
            };
            if let Err(until) = vendor.bucket.take(now.mono) {
                vendor.paced_until = Some(until);
                let (account, priority) = (message.account().min(self.accounts.len()), message.priority);
                vendor.ready.push_front(account, priority, key);
                return;
            }
            self.send(connection, key, now);
        }
    }

    /// A bind that may send now, by turns.
    fn bind_with_room(&mut self, at: usize) -> Option<Key> {
        let vendor = self.vendors.get_mut(at)?;
        let count = vendor.binds.len();
        for step in 0..count {
            let turn = vendor.turn.wrapping_add(step) % count;
            let Some(bind) = vendor.binds.get(turn).filter(|b| b.up) else { continue };
            let Some(key) = bind.connection else { continue };
            if self.connections.get(key).is_some_and(|c| c.session.room() > 0) {
                vendor.turn = turn.wrapping_add(1) % count;
                return Some(key);
            }
        }
        None
    }

    fn send(&mut self, connection: Key, key: Key, now: Now) {
        let (Some(message), Some(link)) = (self.store.get_mut(key), self.connections.get_mut(connection))
        else {
            return;
        };
        let Some(mut pdu) = message_of(&message.body) else { return };
        let Ok(sequence) = link.session.request(Command::SUBMIT_SM, key.as_u64(), now.mono) else { return };
        // The time was kept here; the rest of the validity is the vendor's.
        let validity = warp_smpp::time::absolute(message.expires);
        pdu.schedule = &[];
        if !pdu.validity.is_empty() {
            pdu.validity = &validity;
        }
        // A receipt of every end is asked for where any is wanted: which the customer hears of is decided here.
        pdu.registered_delivery =
            u8::from(message.wants_any() || (self.config.recorded && message.callback.is_none()));
        // It was encoded once when it was taken.
        let _ = pdu::encode(&mut link.out, Command::SUBMIT_SM, Status::ROK, sequence, &Body::Message(pdu));
        message.step = Step::Sent;
        let id = message.id;
        self.store.commit.add(&Record::Sent { id }, Kept::Fact, None);
        self.write(connection, |_| ());
    }

    pub(super) fn vendor_answered(
        &mut self,
        vendor: usize,
        key: Key,
        header: &Header,
        body: &[u8],
        now: Now,
    ) {
        let Some(message) = self.store.get_mut(key).filter(|m| m.step == Step::Sent) else { return };
        if header.status.is_ok() {
            self.metrics.handed.inc(Handed::Accepted);
            let id = match pdu::decode(header, body) {
                Ok(Body::MessageId { id, .. }) => id,
                _ => b"",
            };
            if message.wants_any() || (self.config.recorded && message.callback.is_none()) {
                return self.carried(vendor, key, id, now);
            }
            if message.callback.is_none() {
                return self.done(key);
            }
            // Who is told by HTTP, and only of this.
            let outcome = Outcome { state: MessageState::Accepted, error: 0, at: now.wall };
            return self.finish(key, outcome);
        }
        let status = header.status;
        let config = self.config.vendors.get(vendor);
        let special = config.and_then(|c| c.on_status.iter().find(|(known, _)| *known == status));
        let special = special.map(|(_, meaning)| *meaning);
        let attempts = message.attempts;
        let meaning = special.filter(|m| *m != OnStatus::Next).unwrap_or_else(|| OnStatus::usual(status));
        let next = match (special, meaning) {
            (Some(OnStatus::Next), _) => true,
            // What is tried again here first goes on when its tries are used up.
            (Some(OnStatus::Retry { most, .. }), _) => attempts >= most,
            (Some(_), _) => false,
            (None, _) => OnStatus::usually_next(status),
        };
        if next && self.move_on(key, now) {
            return self.metrics.handed.inc(Handed::Moved);
        }
        let Some(message) = self.store.get_mut(key) else { return };
        match meaning {
            OnStatus::SlowDown => {
                self.metrics.handed.inc(Handed::Retried);
                self.ready(key, true);
                if let Some(vendor) = self.vendors.get_mut(vendor) {
                    vendor.paced_until = Some(now.mono + SLOW_DOWN);
                }
            }
            OnStatus::Retry { after, most } if message.attempts < most => {
                self.metrics.handed.inc(Handed::Retried);
                message.attempts = message.attempts.saturating_add(1);
                message.step = Step::Waiting;
                message.not_before = now.wall.plus(after);
                let (until, attempts) = (message.not_before, message.attempts);
                let (id, due) = (message.id, until.min(message.expires));
                self.store.commit.add(&Record::Retry { id, until, attempts }, Kept::Fact, None);
                self.store.set_due(key, due);
            }
            _ => {
                self.metrics.handed.inc(Handed::Refused);
                let error = u16::try_from(status.0.min(999)).unwrap_or(999);
                self.finish(key, Outcome { state: MessageState::Undeliverable, error, at: now.wall });
            }
        }
    }

    /// The vendor has it, and will say what becomes of it.
    fn carried(&mut self, vendor: usize, key: Key, id: &[u8], now: Now) {
        let form = self.config.vendors.get(vendor).map(|v| v.ids).unwrap_or_default();
        let carrier_id = id_of_response(id, form);
        let Some(message) = self.store.get_mut(key) else { return };
        message.step = Step::Carried;
        message.carrier_id = Some(carrier_id.clone().into());
        let id = message.id;
        let due = self.receipt_due(key, now);
        self.store.commit.add(&Record::Carried { id, carrier_id: &carrier_id }, Kept::Fact, None);
        self.store.set_due(key, due);
        self.parked.given(vendor, &carrier_id);
        // A receipt that was faster than the response.
        if let Some(outcome) = self.parked.take(vendor, &carrier_id) {
            self.metrics.receipts.inc(crate::metrics::ReceiptResult::Matched);
            if self.said(key, outcome, now) {
                return self.parked.over(vendor, &carrier_id);
            }
        }
        if let Some(vendor) = self.vendors.get_mut(vendor) {
            vendor.carried.insert(carrier_id.into(), key);
        }
        self.tell_carried(key);
    }

    /// The vendor has it: tells who wants both that and the end.
    pub(super) fn tell_carried(&mut self, key: Key) {
        let callback = self.store.get(key).and_then(|m| m.callback.as_ref());
        if callback.is_some_and(|c| !c.told && matches!(c.to, To::Receipts { level: 3, .. })) {
            self.tell(key);
        }
    }

    /// The vendor may have it, and nobody knows: the link or its answer is missing.
    pub(super) fn vendor_unanswered(&mut self, vendor: usize, key: Key, now: Now) {
        if self.store.get(key).is_none_or(|m| m.step != Step::Sent) {
            return;
        }
        self.metrics.handed.inc(Handed::Unanswered);
        self.in_doubt(vendor, key, now);
    }

    pub(super) fn in_doubt(&mut self, vendor: usize, key: Key, now: Now) {
        match self.config.vendors.get(vendor).map(|v| v.in_doubt).unwrap_or_default() {
            InDoubt::SendAgain => {
                self.metrics.possible_duplicates.inc(());
                if let Some(message) = self.store.get(key) {
                    let id = super::message::id_text(message.id);
                    tracing::warn!(
                        message = %String::from_utf8_lossy(&id),
                        "sent again: the vendor may have it already"
                    );
                }
                self.ready(key, true);
            }
            InDoubt::MarkUnknown => {
                self.finish(key, Outcome { state: MessageState::Unknown, error: 0, at: now.wall });
            }
        }
    }

    /// Its timer has come.
    pub(super) fn on_due(&mut self, key: Key, now: Now) {
        if self.silent(key, now) {
            return;
        }
        let Some(message) = self.store.get(key) else { return };
        match message.step {
            Step::Waiting | Step::Ready if message.expires <= now.wall => self.expire(key, now),
            Step::Waiting => self.ready(key, false),
            Step::Carried => {
                // The vendor never said, or not more than ACCEPTD: its customer hears that.
                let state = if message.noticed { MessageState::Accepted } else { MessageState::Unknown };
                self.metrics.receipts.inc(crate::metrics::ReceiptResult::Unmatched);
                self.finish(key, Outcome { state, error: 0, at: now.wall });
            }
            Step::Deliverable | Step::DeliverLater => self.delivery_due(key, now),
            Step::Storing | Step::Ready | Step::Sent | Step::Over | Step::Delivering => {}
        }
    }

    fn expire(&mut self, key: Key, now: Now) {
        self.metrics.expired.inc(());
        self.finish(key, Outcome { state: MessageState::Expired, error: 0, at: now.wall });
    }

    /// A message is over. Its customer hears of it when that is durable, if it wants to; a second end is none.
    pub(super) fn finish(&mut self, key: Key, outcome: Outcome) {
        let Some(message) = self.store.get_mut(key).filter(|m| m.outcome.is_none()) else { return };
        message.outcome = Some(outcome);
        let (id, vendor, wants) = (message.id, message.vendor(), message.wants(outcome.state));
        if let (Some(carrier_id), Some(vendor)) = (&message.carrier_id, self.vendors.get_mut(vendor)) {
            vendor.carried.remove(carrier_id);
        }
        if message.callback.is_none() {
            message.carrier_id = None;
        }
        if !wants {
            if self.config.recorded {
                self.store.commit.add(&Record::Final { id, outcome }, Kept::Fact, None);
            }
            return self.done(key);
        }
        message.step = Step::Over;
        self.store.commit.add(&Record::Final { id, outcome }, Kept::Fact, Some(Act::Over { message: key }));
        self.store.set_due(key, NEVER);
    }

    /// Nothing is left to do for a message.
    pub(super) fn done(&mut self, key: Key) {
        // What stands for a whole text takes its parts with it.
        self.parts_done(key);
        if let Some(message) = self.store.remove(key) {
            self.store.commit.add(&Record::Done { id: message.id }, Kept::Fact, None);
        }
    }
}
