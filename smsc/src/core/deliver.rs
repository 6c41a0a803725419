//! What customers get: receipts of their messages, and messages of handsets, on any bind of theirs that receives. While none does they
//! wait, up to a limit in time.

use std::collections::VecDeque;
use std::time::Duration;

use warp_model::Now;
use warp_policy::messaging::Senders;
use warp_smpp::pdu::{self, Body};
use warp_smpp::receipt;
use warp_smpp::receipt::MessageState;
use warp_smpp::session::allowed;
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Side, Status};

use super::Core;
use super::commit::{Act, Kept};
use super::customer::message_of;
use super::message::{Message, Step};
use super::slab::Key;
use super::throttle::Bucket;
use crate::config::Account;
use crate::metrics::DeliveryResult;
use warp_smpp::record::{Direction, Outcome, Record};

#[derive(Debug)]
pub(super) struct AccountState {
    pub(super) bucket: Bucket,
    /// The source addresses that it may use; `None`: any.
    pub(super) senders: Option<Senders>,
    /// Its connections, in the order of their binds.
    pub(super) binds: Vec<Key>,
    turn: usize,
    pub(super) queue: VecDeque<Key>,
    /// The next round looks at it.
    pub(super) woken: bool,
}

impl AccountState {
    pub(super) fn new(config: &Account) -> AccountState {
        AccountState {
            bucket: Bucket::new(config.rate),
            senders: config.sources.as_ref().map(Senders::new),
            binds: Vec::new(),
            turn: 0,
            queue: VecDeque::new(),
            woken: false,
        }
    }
}

/// How long a delivery rests that a customer could not take.
const LATER: Duration = Duration::from_secs(10);

impl Core {
    /// A receipt or a message of a handset is durable: to its customer.
    pub(super) fn deliverable(&mut self, key: Key, now: Now) {
        let keep = self.config.limits.keep_for_customer;
        let Some(message) = self.store.get_mut(key) else { return };
        if !matches!(message.step, Step::Storing | Step::Over) {
            return;
        }
        message.step = Step::Deliverable;
        message.expires = message.outcome.map_or(message.at, |o| o.at).plus(keep);
        let (account, expires) = (message.account(), message.expires);
        let by_http = message.callback.is_some();
        self.store.set_due(key, expires);
        if by_http {
            return self.tell_whole(key, now);
        }
        self.queue_delivery(account, key, false);
    }

    /// Puts something into the queue of an account, and wakes that.
    fn queue_delivery(&mut self, account: usize, key: Key, first: bool) {
        if let Some(state) = self.accounts.get_mut(account) {
            if first {
                state.queue.push_front(key);
            } else {
                state.queue.push_back(key);
            }
        }
        self.wake_account(account);
    }

    /// The next round looks whether something can be delivered to this account: something came, or a bind has room.
    pub(super) fn wake_account(&mut self, account: usize) {
        if let Some(state) = self.accounts.get_mut(account)
            && !state.woken
            && !state.queue.is_empty()
        {
            state.woken = true;
            self.waking.push(account);
        }
    }

    /// The end of a message could not be written: it is written again, and what waited for it waits for that.
    pub(super) fn over_again(&mut self, key: Key) {
        if self.store.get(key).is_some_and(|m| m.step == Step::Over) {
            self.store.commit.wait(Act::Over { message: key });
        }
    }

    pub(super) fn pump_account(&mut self, at: usize, now: Now) {
        if self.draining {
            return;
        }
        while self.accounts.get(at).is_some_and(|a| !a.queue.is_empty()) {
            let Some(connection) = self.receiver(at) else { return };
            let Some(key) = self.accounts.get_mut(at).and_then(|a| a.queue.pop_front()) else { return };
            self.deliver(connection, key, now);
        }
    }

    /// A bind of the account that may receive now, by turns.
    fn receiver(&mut self, at: usize) -> Option<Key> {
        let account = self.accounts.get_mut(at)?;
        let count = account.binds.len();
        for step in 0..count {
            let turn = account.turn.wrapping_add(step) % count;
            let key = *account.binds.get(turn)?;
            let takes = self.connections.get(key).is_some_and(|c| {
                c.session.room() > 0 && allowed(Command::DELIVER_SM, c.session.state(), Side::Smsc)
            });
            if takes {
                account.turn = turn.wrapping_add(1) % count;
                return Some(key);
            }
        }
        None
    }

    fn deliver(&mut self, connection: Key, key: Key, now: Now) {
        let (Some(message), Some(link)) = (self.store.get_mut(key), self.connections.get_mut(connection))
        else {
            return;
        };
        if message.step != Step::Deliverable {
            return;
        }
        let Ok(sequence) = link.session.request(Command::DELIVER_SM, key.as_u64(), now.mono) else { return };
        message.step = Step::Delivering;
        let written = match message.direction {
            Direction::Originated => write_originated(&mut link.out, sequence, message),
            Direction::Terminated => write_receipt(&mut link.out, sequence, message),
        };
        if written.is_none() {
            // It was read when it was taken, so that this does not happen; a request without bytes would wait for its timer.
            tracing::error!("a message cannot be written for its customer");
        }
        self.write(connection, |_| ());
    }

    pub(super) fn delivery_answered(&mut self, key: Key, status: Status, now: Now) {
        let Some(message) = self.store.get_mut(key).filter(|m| m.step == Step::Delivering) else { return };
        match status {
            Status::ROK => {
                self.metrics.deliveries.inc(DeliveryResult::Taken);
                self.originated_over(key, MessageState::Delivered, now);
                self.done(key);
            }
            Status::RX_T_APPN | Status::RMSGQFUL | Status::RTHROTTLED | Status::RSYSERR => {
                self.metrics.deliveries.inc(DeliveryResult::Retried);
                message.step = Step::DeliverLater;
                let due = now.wall.plus(LATER).min(message.expires);
                self.store.set_due(key, due);
            }
            _ => {
                self.metrics.deliveries.inc(DeliveryResult::Refused);
                self.originated_over(key, MessageState::Rejected, now);
                self.done(key);
            }
        }
    }

    /// How a message of a handset ended, where accounts are kept. Of a receipt it is the message's end that counts, which was written.
    fn originated_over(&mut self, key: Key, state: MessageState, now: Now) {
        let Some(message) = self.store.get(key).filter(|m| m.direction == Direction::Originated) else {
            return;
        };
        if self.config.recorded {
            let outcome = Outcome { state, error: 0, at: now.wall };
            self.store.commit.add(&Record::Final { id: message.id, outcome }, Kept::Fact, None);
        }
    }

    /// No answer came: it is delivered again, at least once is what is promised.
    pub(super) fn delivery_unanswered(&mut self, key: Key) {
        let Some(message) = self.store.get_mut(key).filter(|m| m.step == Step::Delivering) else { return };
        self.metrics.deliveries.inc(DeliveryResult::Retried);
        message.step = Step::Deliverable;
        let (account, expires) = (message.account(), message.expires);
        self.store.set_due(key, expires);
        self.queue_delivery(account, key, true);
    }

    /// The timer of a delivery has come.
    pub(super) fn delivery_due(&mut self, key: Key, now: Now) {
        let Some(message) = self.store.get_mut(key) else { return };
        if message.expires <= now.wall {
            self.metrics.deliveries.inc(DeliveryResult::Expired);
            self.originated_over(key, MessageState::Expired, now);
            return self.done(key);
        }
        let expires = message.expires;
        if message.step == Step::DeliverLater {
            message.step = Step::Deliverable;
            let account = message.account();
            self.queue_delivery(account, key, false);
        }
        self.store.set_due(key, expires);
    }

    /// A message that was delivered, and perhaps not taken, when the process ended.
    pub(super) fn deliver_restored(&mut self, key: Key, now: Now) {
        if let Some(message) = self.store.get_mut(key) {
            message.step = Step::Over;
        }
        self.deliverable(key, now);
    }
}

fn write_originated(out: &mut Vec<u8>, sequence: u32, message: &Message) -> Option<()> {
    let mut pdu = message_of(&message.body)?;
    // A handset asks for nothing of ours.
    (pdu.schedule, pdu.validity, pdu.registered_delivery, pdu.replace_if_present) = (&[], &[], 0, 0);
    pdu::encode(out, Command::DELIVER_SM, Status::ROK, sequence, &Body::Message(pdu)).ok()
}

/// The receipt: addresses the other way round, the standard text, and the parameters (SMPP 3.4 appendix B, §4.6.1).
fn write_receipt(out: &mut Vec<u8>, sequence: u32, message: &Message) -> Option<()> {
    let outcome = message.outcome?;
    let sent = message_of(&message.body)?;
    let id = message.public_id();
    let text = sent.payload().ok().filter(|_| !sent.has_udh() && sent.data_coding == 0).unwrap_or_default();
    let mut written = Vec::with_capacity(160);
    receipt::write(&mut written, &id, outcome.state, message.at, outcome.at, outcome.error, text);
    let mut optional = Vec::with_capacity(64);
    let mut id_value = [0u8; 37];
    id_value.iter_mut().zip(id).for_each(|(to, from)| *to = from);
    tlv::push(&mut optional, Tag::RECEIPTED_MESSAGE_ID, &id_value);
    tlv::push(&mut optional, Tag::MESSAGE_STATE, &[outcome.state.octet()]);
    let pdu = pdu::Message {
        service_type: sent.service_type,
        source: sent.destination,
        destination: sent.source,
        esm_class: 0x04,
        short_message: &written,
        tlvs: Tlvs::parse(&optional)?,
        ..pdu::Message::default()
    };
    pdu::encode(out, Command::DELIVER_SM, Status::ROK, sequence, &Body::Message(pdu)).ok()
}
