//! Who is told by HTTP: news of messages of the HTTP door (`dlr-url`), and messages of handsets for HTTP clients. At least once, in
//! turns between customers, each with few calls in the air, so that an end that hangs delays no other one.
//!
//! A call is taken when its answer is 200 with the body `ACK/Jasmin`. Else it is made again after a rest that doubles, until the message
//! is too old. The caller is outside; [`Core::poll_call`] says what to call.

use std::collections::{BTreeSet, VecDeque};

use warp_model::{Mono, Now};
use warp_smpp::Status;
use warp_smpp::receipt::MessageState;
use warp_smpp::text::Udh;

use super::Core;
use super::commit::Kept;
use super::customer::message_of;
use super::door::minute;
use super::jasmin::form_encode;
use super::message::{Message, Step, To, id_text};
use super::slab::Key;
use crate::metrics::CallbackResult;
use warp_smpp::record::{Direction, Record};

/// One HTTP request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// To be given to [`Core::called`].
    pub key: Key,
    /// To be given to [`Core::called`].
    pub lane: usize,
    /// Where the request goes.
    pub url: String,
    /// The form in the body; else behind the question mark.
    pub post: bool,
    /// What is said, as `application/x-www-form-urlencoded`.
    pub form: String,
}

/// What waits to be told, by account; those of HTTP clients, and of accounts that are gone, come last.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    lanes: Vec<Lane>,
    /// Lanes that have something and may call, in the order of their turns.
    turns: VecDeque<usize>,
    in_the_air: usize,
    rests: BTreeSet<(Mono, Key)>,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Key>,
    in_the_air: usize,
    listed: bool,
}

impl Callbacks {
    fn push(&mut self, lane: usize, key: Key) {
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane.saturating_add(1), Lane::default);
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.queue.push_back(key);
        }
        self.list(lane);
    }

    /// Gives a lane its turn, when it has something and may call.
    fn list(&mut self, at: usize) {
        if let Some(lane) = self.lanes.get_mut(at)
            && !lane.listed
            && !lane.queue.is_empty()
            && lane.in_the_air < AT_ONCE_PER_LANE
        {
            lane.listed = true;
            self.turns.push_back(at);
        }
    }

    fn next(&mut self) -> Option<(usize, Key)> {
        if self.in_the_air >= AT_ONCE {
            return None;
        }
        let at = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(at)?;
        lane.listed = false;
        let key = lane.queue.pop_front()?;
        lane.in_the_air = lane.in_the_air.saturating_add(1);
        self.in_the_air = self.in_the_air.saturating_add(1);
        self.list(at);
        Some((at, key))
    }

    fn landed(&mut self, at: usize) {
        self.in_the_air = self.in_the_air.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.in_the_air = lane.in_the_air.saturating_sub(1);
        }
        self.list(at);
    }

    pub(super) fn next_rest(&self) -> Option<Mono> {
        self.rests.first().map(|(at, _)| *at)
    }
}

/// Calls in the air, in all and of one lane.
const AT_ONCE: usize = 128;
const AT_ONCE_PER_LANE: usize = 16;

impl Core {
    /// Something of this message is to be told, unless it is being told.
    pub(super) fn tell(&mut self, key: Key) {
        let lane = self.lane(key);
        let Some(callback) = self.store.get_mut(key).and_then(|m| m.callback.as_mut()) else { return };
        if !callback.busy {
            callback.busy = true;
            self.callbacks.push(lane, key);
        }
    }

    fn lane(&self, key: Key) -> usize {
        let accounts = self.accounts.len();
        let Some(message) = self.store.get(key) else { return accounts };
        match message.callback.as_ref().map(|c| &c.to) {
            Some(To::Client(name)) => {
                let place = self.config.http_clients.iter().position(|c| c.name == **name).unwrap_or(0);
                accounts.saturating_add(1).saturating_add(place)
            }
            _ => message.account().min(accounts),
        }
    }

    /// The next request to make; drain until `None`, then report each by [`Core::called`].
    pub fn poll_call(&mut self) -> Option<Call> {
        loop {
            let (lane, key) = self.callbacks.next()?;
            if let Some(call) = self.call(lane, key) {
                return Some(call);
            }
            // It is over meanwhile: expired.
            self.callbacks.landed(lane);
        }
    }

    fn call(&self, lane: usize, key: Key) -> Option<Call> {
        let message = self.store.get(key)?;
        let callback = message.callback.as_ref()?;
        let (url, post, form) = match &callback.to {
            To::Receipts { url, post, level } => {
                (url.to_string(), *post, self.news(message, *level, callback.told))
            }
            To::Client(name) => {
                let client = self.config.http_clients.iter().find(|c| c.name == **name)?;
                (client.url.clone(), client.post, self.originated_form(key, message)?)
            }
        };
        Some(Call { key, lane, url, post, form })
    }

    /// A call was made: whether it was taken.
    pub fn called(&mut self, key: Key, lane: usize, taken: bool, now: Now) {
        self.callbacks.landed(lane);
        self.metrics.callbacks.inc(if taken { CallbackResult::Taken } else { CallbackResult::Retried });
        let Some(message) = self.store.get_mut(key) else { return };
        let Some(callback) = message.callback.as_mut() else { return };
        if !taken {
            let rest = self.config.callbacks.rest.saturating_mul(1u32 << callback.attempts.min(10));
            callback.attempts = callback.attempts.saturating_add(1);
            self.callbacks.rests.insert((now.mono + rest.min(LONGEST_REST), key));
            return;
        }
        (callback.busy, callback.attempts) = (false, 0);
        let over = message.step == Step::Deliverable;
        let more = match &callback.to {
            To::Receipts { level: 3, .. } if !callback.told => !refused(message),
            _ => false,
        };
        if over && !more {
            return self.done(key);
        }
        let id = message.id;
        if let Some(callback) = message.callback.as_mut() {
            callback.told = true;
        }
        self.store.commit.add(&Record::Told { id }, Kept::Fact, None);
        if over {
            self.tell(key);
        }
    }

    /// Rests that are over.
    pub(super) fn wake_callbacks(&mut self, now: Now) {
        while let Some((at, key)) = self.callbacks.rests.first().copied() {
            if at > now.mono {
                return;
            }
            self.callbacks.rests.pop_first();
            if self.store.get(key).is_some_and(|m| m.callback.is_some()) {
                let lane = self.lane(key);
                self.callbacks.push(lane, key);
            }
        }
    }

    /// `id`, `level`, `message_status`, `connector`; of an end also what its receipt says.
    fn news(&self, message: &Message, level: u8, told: bool) -> String {
        let id = id_text(message.id);
        let vendor = self.config.vendors.get(message.vendor()).map_or("", |v| v.name.as_str());
        let first = level == 1 || (level == 3 && !told);
        if first {
            let status = match message.outcome.filter(|_| refused(message)) {
                None => "ESME_ROK".to_owned(),
                Some(outcome) if outcome.state == MessageState::Expired => Status::RINVEXPIRY.to_string(),
                Some(outcome) if outcome.state == MessageState::Undeliverable && outcome.error != 0 => {
                    Status(u32::from(outcome.error)).to_string()
                }
                Some(_) => Status::RSUBMITFAIL.to_string(),
            };
            let pairs: [(&str, &[u8]); 4] = [
                ("id", &id),
                ("message_status", status.as_bytes()),
                ("level", b"1"),
                ("connector", vendor.as_bytes()),
            ];
            return form_encode(pairs.into_iter());
        }
        let outcome = message.outcome;
        let state = outcome.map_or(MessageState::Unknown, |o| o.state);
        let taken = minute(message.at);
        let done = minute(outcome.map_or(message.at, |o| o.at));
        let delivered: &[u8] = if state == MessageState::Delivered { b"001" } else { b"000" };
        let error = format!("{:03}", outcome.map_or(0, |o| o.error));
        let sent = message_of(&message.body);
        let text =
            sent.filter(|m| m.data_coding == 0).and_then(|m| m.payload().ok().map(|p| (m.has_udh(), p)));
        let text = text.map_or(&[][..], |(udh, p)| if udh { Udh::split(p).map_or(p, |(_, t)| t) } else { p });
        let pairs: [(&str, &[u8]); 11] = [
            ("id", &id),
            ("message_status", state.stat().as_bytes()),
            ("level", b"2"),
            ("connector", vendor.as_bytes()),
            ("id_smsc", message.carrier_id.as_deref().unwrap_or_default()),
            ("subdate", taken.as_bytes()),
            ("donedate", done.as_bytes()),
            ("sub", b"001"),
            ("dlvrd", delivered),
            ("err", error.as_bytes()),
            ("text", text.get(..20).unwrap_or(text)),
        ];
        form_encode(pairs.into_iter())
    }

    /// A message of a handset, as Jasmin's HTTP clients get it.
    fn originated_form(&self, key: Key, message: &Message) -> Option<String> {
        let pdu = message_of(&message.body)?;
        let text = self.whole_text(key, message);
        let id = id_text(message.id);
        let vendor = self.config.vendors.get(message.vendor()).map_or("", |v| v.name.as_str());
        let (priority, coding) = (pdu.priority.to_string(), pdu.data_coding.to_string());
        let binary = warp_model::hex::encode(&text);
        let pairs: [(&str, &[u8]); 9] = [
            ("id", &id),
            ("from", pdu.source.text),
            ("to", pdu.destination.text),
            ("origin-connector", vendor.as_bytes()),
            ("content", &text),
            ("binary", binary.as_bytes()),
            ("priority", priority.as_bytes()),
            ("coding", coding.as_bytes()),
            ("validity", pdu.validity),
        ];
        let without_validity = pdu.validity.is_empty();
        Some(form_encode(pairs.into_iter().filter(|(name, _)| *name != "validity" || !without_validity)))
    }
}

/// The message came to its end without having been with a vendor.
fn refused(message: &Message) -> bool {
    message.direction == Direction::Terminated
        && message.carrier_id.is_none()
        && message.outcome.is_some_and(|o| o.state != MessageState::Accepted)
}

/// The longest rest between two calls.
const LONGEST_REST: std::time::Duration = std::time::Duration::from_secs(3_600);
