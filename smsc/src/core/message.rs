//! A message between its acceptance and its end.

use warp_model::Wall;
use warp_smpp::receipt::MessageState;

use warp_smpp::record::{Direction, Outcome, Terms};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its record is not durable yet.
    Storing,
    /// Waits for its time: scheduled, or the vendor wants it later.
    Waiting,
    /// In the queue of its vendor.
    Ready,
    /// With the vendor, without an answer.
    Sent,
    /// The vendor has it; its receipt is waited for.
    Carried,
    /// It is over, and that is not durable yet.
    Over,
    /// In the queue of its account: a receipt, or a message of a handset.
    Deliverable,
    /// The customer wants it later.
    DeliverLater,
    /// With the customer, without an answer.
    Delivering,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: u128,
    pub(crate) direction: Direction,
    /// Its account and its vendor.
    pub(crate) places: Places,
    pub(crate) at: Wall,
    pub(crate) not_before: Wall,
    pub(crate) expires: Wall,
    /// When its timer looks at it; [`NEVER`]: it has none.
    pub(crate) due: Wall,
    /// The priority of its PDU, 0 to 3.
    pub(crate) priority: u8,
    /// registered_delivery of its PDU.
    pub(crate) registered: u8,
    /// How often the vendor refused it.
    pub(crate) attempts: u8,
    /// The order of its route (RFC 0034).
    pub(crate) route: u16,
    /// How often it went on to another vendor of that route.
    pub(crate) moves: u8,
    /// Which of the destinations of a submit_multi it is for, less one: all of them have one id for their customer.
    pub(crate) nth: u8,
    pub(crate) step: Step,
    /// The vendor said ACCEPTD, which is not its last word: when no other comes, the message ends so.
    pub(crate) noticed: bool,
    pub(crate) outcome: Option<Outcome>,
    /// The vendor's id, in the form in which receipts are looked for.
    pub(crate) carrier_id: Option<Box<[u8]>>,
    /// Number of the record that took it; 0 while it has none.
    pub(crate) record: u64,
    /// The body of its submit_sm or deliver_sm.
    pub(crate) body: Box<[u8]>,
    /// Who is told of it by HTTP instead of by a bind.
    pub(crate) callback: Option<Box<Callback>>,
    /// What it costs, where accounts are kept.
    pub(crate) terms: Option<Box<Terms>>,
}

/// Who is told by HTTP, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callback {
    pub(crate) to: To,
    /// That the vendor took it was told; only level 3 tells more after that.
    pub(crate) told: bool,
    /// Calls in a row that were not taken.
    pub(crate) attempts: u8,
    /// It is queued, in the air, or rests.
    pub(crate) busy: bool,
}

/// Where a message is told by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// News of a message of the HTTP door, at the URL that came with it.
    Receipts { level: u8, post: bool, url: Box<str> },
    /// A message of a handset, at the HTTP client of this name.
    Client(Box<str>),
}

fn wide(place: u32) -> usize {
    if place == u32::MAX { NOBODY } else { place as usize }
}

impl Callback {
    pub(crate) fn new(to: To) -> Box<Callback> {
        Box::new(Callback { to, told: false, attempts: 0, busy: false })
    }

    /// The form of a record: kind, then what it is made of.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match &self.to {
            To::Receipts { level, post, url } => {
                let mut out = vec![1, *level, u8::from(*post)];
                out.extend_from_slice(url.as_bytes());
                out
            }
            To::Client(name) => {
                let mut out = vec![2];
                out.extend_from_slice(name.as_bytes());
                out
            }
        }
    }

    /// Back from [`Callback::encode`]. `None`: there is none, or one that this version does not know.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Box<Callback>> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Box::from);
        Some(Callback::new(match bytes {
            [1, level, post, url @ ..] => To::Receipts { level: *level, post: *post != 0, url: text(url)? },
            [2, name @ ..] => To::Client(text(name)?),
            _ => return None,
        }))
    }
}

/// The places of a message's account and vendor, in half the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    account: u32,
    vendor: u32,
}

impl Places {
    pub(crate) fn new(account: usize, vendor: usize) -> Places {
        let narrow = |place| u32::try_from(place).unwrap_or(u32::MAX);
        Places { account: narrow(account), vendor: narrow(vendor) }
    }
}

/// Place of an account or vendor that is not configured.
pub(crate) const NOBODY: usize = usize::MAX;
/// The time of a timer that does not run.
pub(crate) const NEVER: Wall = Wall(i64::MAX);

impl Message {
    /// Place of its account; [`NOBODY`]: it is no longer configured.
    pub(crate) fn account(&self) -> usize {
        wide(self.places.account)
    }

    /// Place of its vendor; [`NOBODY`]: it is no longer configured.
    pub(crate) fn vendor(&self) -> usize {
        wide(self.places.vendor)
    }

    /// Its id as its customer has it.
    pub(crate) fn public_id(&self) -> [u8; 36] {
        id_text(self.id.wrapping_sub(u128::from(self.nth)))
    }

    /// Another vendor has it from here on: what the one before said of it is over.
    pub(crate) fn moved(&mut self) {
        self.moves = self.moves.saturating_add(1);
        (self.attempts, self.noticed, self.carrier_id) = (0, false, None);
    }

    /// Whether its customer wants to hear of this end (SMPP 3.4 §5.2.17; 3: 5.0 §4.7.21).
    pub(crate) fn wants(&self, state: MessageState) -> bool {
        if self.callback.is_some() {
            return true;
        }
        let delivered = state == MessageState::Delivered;
        self.direction == Direction::Terminated
            && match self.registered & 0x03 {
                0 => false,
                1 => true,
                2 => !delivered,
                _ => delivered,
            }
    }

    /// Whether its customer wants to hear of any end.
    pub(crate) fn wants_any(&self) -> bool {
        self.direction == Direction::Terminated && self.registered & 0x03 != 0
    }

    /// The state that a query is answered with.
    pub(crate) fn state(&self) -> MessageState {
        match (self.outcome, self.step) {
            (Some(outcome), _) => outcome.state,
            (None, Step::Waiting) => MessageState::Scheduled,
            (None, _) => MessageState::Enroute,
        }
    }
}

/// Our id as both doors write it: 36 characters with hyphens (RFC 9562 §4).
pub(crate) fn id_text(id: u128) -> [u8; 36] {
    let mut out = [b'-'; 36];
    let mut shift = 128u32;
    for (at, place) in out.iter_mut().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            continue;
        }
        shift = shift.saturating_sub(4);
        *place = warp_model::hex::digit(((id >> shift) & 0xF) as u8);
    }
    out
}

/// Back from [`id_text`], in any case. `None`: not of the form.
pub(crate) fn id_from_text(text: &[u8]) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let mut id = 0u128;
    for (at, c) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *c != b'-' {
                return None;
            }
            continue;
        }
        id = id << 4 | u128::from(warp_model::hex::value(c.to_ascii_lowercase())?);
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids() {
        let id = 0x0190_c8f4_1234_7abc_8def_0123_4567_89ab;
        assert_eq!(&id_text(id), b"0190c8f4-1234-7abc-8def-0123456789ab");
        assert_eq!(id_from_text(b"0190C8F4-1234-7abc-8def-0123456789ab"), Some(id));
        for bad in [&b"0190c8f4-1234-7abc-8def-0123456789a"[..], b"0190c8f4x1234-7abc-8def-0123456789ab", b""]
        {
            assert_eq!(id_from_text(bad), None);
        }
    }
}
