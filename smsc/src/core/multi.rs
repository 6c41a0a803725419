//! submit_multi (SMPP 3.4 §4.5): one message for up to 254 destinations, each a message of its own from there on. They have one id for the
//! customer: receipts bear it, with the destination that they are about; cancel_sm means all that still wait.
//!
//! The answer comes when all are durable: they stand in one batch. What is refused of them is named in it, with its reason.

use warp_model::Now;
use warp_smpp::pdu::{self, Address, Body, Destination, Multi, MultiResp, Unsuccessful};
use warp_smpp::{Command, Header, Status};

use super::Core;
use super::commit::Waits;
use super::slab::Key;

/// Bits of an id that tell the destinations of one request apart.
const NTH: u128 = 0xFF;

impl Core {
    pub(super) fn submit_multi(
        &mut self,
        key: Key,
        account: usize,
        header: &Header,
        multi: &Multi<'_>,
        now: Now,
    ) {
        let base = self.new_id(now.wall) & !NTH;
        let count = usize::from(multi.destinations.count());
        let mut refused = Vec::new();
        let mut nth = 0u8;
        let mut last = None;
        for (at, destination) in (1usize..).zip(multi.destinations.iter()) {
            let (address, taken) = match destination {
                Destination::Address(address) => {
                    let message = pdu::Message { destination: address, ..multi.message };
                    let id = (base | u128::from(nth), nth);
                    let taken = self.try_submit(id, account, &message, Waits::Nobody, now);
                    (address, self.count_submit(taken))
                }
                // This SMSC keeps no lists.
                Destination::List(name) => {
                    (Address { text: name, ..Address::default() }, Err(Status::RINVDLNAME))
                }
            };
            match taken {
                Ok(message) => {
                    (last, nth) = (Some(message), nth.saturating_add(1));
                }
                Err(status) => {
                    // It was read from a field of this length.
                    let _ = pdu::push_unsuccessful(&mut refused, &Unsuccessful { address, status });
                    if at == count && last.is_none() {
                        return self.answer_refused(key, header.sequence, &refused, status);
                    }
                }
            }
        }
        if last.is_none() {
            return self.answer_refused(key, header.sequence, &refused, Status::RSUBMITFAIL);
        }
        if !refused.is_empty() {
            self.refused.insert((key, header.sequence), refused);
        }
        // All of them are in the batch that is gathered: who waits for the last waits for all.
        self.store.commit.waits(Waits::Multi { connection: key, sequence: header.sequence });
    }

    /// All destinations were refused: the status is that of the last, for clients that read no list.
    fn answer_refused(&mut self, key: Key, sequence: u32, refused: &[u8], status: Status) {
        self.write(key, |out| {
            let body = Body::MultiResp(MultiResp::new(b"", refused));
            let _ = pdu::encode(out, Command::SUBMIT_MULTI.response(), status, sequence, &body);
        });
        self.answered(key);
    }

    /// The messages of a submit_multi are durable.
    pub(super) fn answer_multi(&mut self, key: Key, sequence: u32, message: Key) {
        let refused = self.refused.remove(&(key, sequence)).unwrap_or_default();
        let Some(id) = self.store.get(message).map(|m| m.public_id()) else { return };
        self.write(key, |out| {
            let body = Body::MultiResp(MultiResp::new(&id, &refused));
            let _ = pdu::encode(out, Command::SUBMIT_MULTI.response(), Status::ROK, sequence, &body);
        });
        self.answered(key);
    }

    /// They could not be kept.
    pub(super) fn refuse_multi(&mut self, key: Key, sequence: u32, status: Status) {
        self.refused.remove(&(key, sequence));
        self.write(key, |out| pdu::reply(out, Command::SUBMIT_MULTI, status, sequence));
        self.answered(key);
    }

    /// A message, and the others of its submit_multi that are not done.
    pub(super) fn same_id(&self, key: Key) -> Vec<Key> {
        let Some(message) = self.store.get(key) else { return Vec::new() };
        let (id, account) = (message.id, message.account());
        if id & NTH != 0 {
            return vec![key];
        }
        let others = (1..=254u8).filter_map(|nth| {
            let key = self.store.find(id | u128::from(nth))?;
            let other = self.store.get(key)?;
            (other.nth == nth && other.account() == account).then_some(key)
        });
        std::iter::once(key).chain(others).collect()
    }
}
