//! The durable steps of a message (RFC 0017), as the SMSC writes them and as whoever reads its topic finds them (RFC 0037). Integers are
//! little-endian, texts have a length before them.
//!
//! The form is read back by later versions: a kind is never given another meaning, and fields are added at the end only.

use warp_model::{Currency, Money, Nanos, Wall};

use crate::receipt::MessageState;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a customer to a handset.
    Terminated,
    /// From a handset to a customer.
    Originated,
}

/// What a final state is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state, final or UNKNOWN.
    pub state: MessageState,
    /// The error of the receipt, 0 to 999.
    pub error: u16,
    /// When it was reached.
    pub at: Wall,
}

/// What a message costs and who pays for it, decided when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Terms {
    /// The customer whose message it is, by the number of its id.
    pub customer: u128,
    /// The billing account that pays, by the number of its id; 0: nobody pays.
    pub ban: u128,
    /// The epoch of the lease that it was paid from; 0: it was not paid ahead.
    pub lease: i64,
    /// Of a part of a longer text the id of the message that stands for the whole; 0: it stands for itself.
    pub whole: u128,
    /// Parts of the whole text, 1 to 255.
    pub parts: u8,
    /// Segments that are paid for: those of the whole text, with the message that stands for it; 0 in its other parts.
    pub segments: u16,
    /// What the customer pays for all of them.
    pub sell: Option<Money>,
    /// What the vendor of the first choice asks for all of them.
    pub buy: Option<Money>,
}

impl Terms {
    /// Appends its bytes to others.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for id in [self.customer, self.ban, self.whole] {
            out.extend_from_slice(&id.to_le_bytes());
        }
        out.extend_from_slice(&self.lease.to_le_bytes());
        out.push(self.parts);
        out.extend_from_slice(&self.segments.to_le_bytes());
        for money in [self.sell, self.buy] {
            put_money(out, money);
        }
    }

    /// Its bytes, and nothing else.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.encode(&mut out);
        out
    }

    /// Back from [`Terms::encode`]. `None`: cut, or there are none.
    pub fn decode(bytes: &[u8]) -> Option<Terms> {
        let mut r = Reader(bytes);
        Some(Terms {
            customer: u128::from_le_bytes(r.array()?),
            ban: u128::from_le_bytes(r.array()?),
            whole: u128::from_le_bytes(r.array()?),
            lease: i64::from_le_bytes(r.array()?),
            parts: r.octet()?,
            segments: u16::from_le_bytes(r.array()?),
            sell: r.money()?,
            buy: r.money()?,
        })
    }
}

/// Three letters and nano-units; no letters: nothing.
fn put_money(out: &mut Vec<u8>, money: Option<Money>) {
    let code = money.map_or([0; 3], |m| m.currency.as_str().as_bytes().try_into().unwrap_or([0; 3]));
    out.extend_from_slice(&code);
    out.extend_from_slice(&money.map_or(0, |m| m.amount.0).to_le_bytes());
}

/// One step of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A message was taken.
    Accepted {
        /// Our id of the message.
        id: u128,
        /// Which way it goes.
        direction: Direction,
        /// The system_id of the account.
        account: &'a [u8],
        /// The name of the vendor.
        vendor: &'a [u8],
        /// When it was taken.
        at: Wall,
        /// It is not sent before.
        not_before: Wall,
        /// It is not sent after.
        expires: Wall,
        /// The body of its submit_sm or deliver_sm.
        body: &'a [u8],
        /// Who is told of it by HTTP; empty: nobody. Records of before the HTTP door end before it.
        callback: &'a [u8],
        /// The order of its route; 0: the default one. Records of before the routes end before it.
        route: u16,
        /// Which of the destinations of a submit_multi it is for, less one. Records of single messages end before it.
        nth: u8,
        /// What it costs ([`Terms`]); empty: nobody keeps accounts of it. Records of before the prices end before it.
        terms: &'a [u8],
    },
    /// The records that follow, so many, say again what stood before: those of a message that lives long, written at the end so that
    /// old segments can go.
    Again {
        /// Our id of the message.
        id: u128,
        /// How many records repeat.
        records: u8,
    },
    /// Its vendor did not take it, or could not deliver it: another one of its route has it from here on.
    Moved {
        /// Our id of the message.
        id: u128,
        /// The name of the other vendor.
        vendor: &'a [u8],
        /// What that one asks for all segments; `None`: nobody keeps accounts. Records of before the prices end before it.
        buy: Option<Money>,
    },
    /// Who is told by HTTP has heard that the vendor took it.
    Told {
        /// Our id of the message.
        id: u128,
    },
    /// It is about to be sent to the vendor.
    Sent {
        /// Our id of the message.
        id: u128,
    },
    /// The vendor took it.
    Carried {
        /// Our id of the message.
        id: u128,
        /// The vendor's, in the form in which receipts are looked for.
        carrier_id: &'a [u8],
    },
    /// The vendor's word about it that is not the last one: ACCEPTD.
    Noticed {
        /// Our id of the message.
        id: u128,
    },
    /// The vendor wants it later, or nobody took it.
    Retry {
        /// Our id of the message.
        id: u128,
        /// It is not sent before.
        until: Wall,
        /// How often it was refused so far.
        attempts: u8,
    },
    /// It is over, and its customer may have to hear so.
    Final {
        /// Our id of the message.
        id: u128,
        /// How the message ended.
        outcome: Outcome,
    },
    /// Nothing is left to do.
    Done {
        /// Our id of the message.
        id: u128,
    },
    /// What a recipient has said of messages of a sender (RFC 0052). It is about no message of the queue.
    Consent {
        /// The message that said it.
        id: u128,
        /// The customer whose sender it is, by the number of its id.
        customer: u128,
        /// The digits of the sender.
        sender: u64,
        /// The recipient: digits of E.164.
        recipient: u64,
        /// It wants no more messages; else it wants them again.
        out: bool,
        /// When it said so.
        at: Wall,
    },
    /// A receipt whose message is not known yet.
    Parked {
        /// The name of the vendor.
        vendor: &'a [u8],
        /// The vendor's id, in the form in which it is looked for.
        carrier_id: &'a [u8],
        /// How the message ended.
        outcome: Outcome,
    },
}

const ACCEPTED: u8 = 1;
const SENT: u8 = 2;
const CARRIED: u8 = 3;
const RETRY: u8 = 4;
const FINAL: u8 = 5;
const DONE: u8 = 6;
const PARKED: u8 = 7;
const TOLD: u8 = 8;
const NOTICED: u8 = 9;
const MOVED: u8 = 10;
const AGAIN: u8 = 11;
const CONSENT: u8 = 12;

impl Record<'_> {
    /// Appends its bytes to a batch.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
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
                head(out, ACCEPTED, id);
                out.push(match direction {
                    Direction::Terminated => 0,
                    Direction::Originated => 1,
                });
                for wall in [at, not_before, expires] {
                    out.extend_from_slice(&wall.0.to_le_bytes());
                }
                for text in [account, vendor, body] {
                    put(out, text);
                }
                let with_terms = !terms.is_empty();
                if !callback.is_empty() || route != 0 || nth != 0 || with_terms {
                    put(out, callback);
                }
                if route != 0 || nth != 0 || with_terms {
                    out.extend_from_slice(&route.to_le_bytes());
                }
                if nth != 0 || with_terms {
                    out.push(nth);
                }
                if with_terms {
                    put(out, terms);
                }
            }
            Record::Again { id, records } => {
                head(out, AGAIN, id);
                out.push(records);
            }
            Record::Told { id } => head(out, TOLD, id),
            Record::Noticed { id } => head(out, NOTICED, id),
            Record::Moved { id, vendor, buy } => {
                head(out, MOVED, id);
                put(out, vendor);
                if buy.is_some() {
                    put_money(out, buy);
                }
            }
            Record::Sent { id } => head(out, SENT, id),
            Record::Carried { id, carrier_id } => {
                head(out, CARRIED, id);
                put(out, carrier_id);
            }
            Record::Retry { id, until, attempts } => {
                head(out, RETRY, id);
                out.extend_from_slice(&until.0.to_le_bytes());
                out.push(attempts);
            }
            Record::Final { id, outcome } => {
                head(out, FINAL, id);
                put_outcome(out, outcome);
            }
            Record::Done { id } => head(out, DONE, id),
            Record::Consent { id, customer, sender, recipient, out: is_out, at } => {
                head(out, CONSENT, id);
                out.extend_from_slice(&customer.to_le_bytes());
                out.extend_from_slice(&sender.to_le_bytes());
                out.extend_from_slice(&recipient.to_le_bytes());
                out.push(u8::from(is_out));
                out.extend_from_slice(&at.0.to_le_bytes());
            }
            Record::Parked { vendor, carrier_id, outcome } => {
                out.push(PARKED);
                put_outcome(out, outcome);
                put(out, vendor);
                put(out, carrier_id);
            }
        }
    }

    /// Reads one. `None`: cut, or of a kind that this version does not know.
    pub fn decode(bytes: &[u8]) -> Option<Record<'_>> {
        let mut r = Reader(bytes);
        let kind = r.octet()?;
        if kind == PARKED {
            let outcome = r.outcome()?;
            return Some(Record::Parked { outcome, vendor: r.text()?, carrier_id: r.text()? });
        }
        let id = u128::from_le_bytes(r.array()?);
        Some(match kind {
            ACCEPTED => Record::Accepted {
                id,
                direction: match r.octet()? {
                    0 => Direction::Terminated,
                    1 => Direction::Originated,
                    _ => return None,
                },
                at: r.wall()?,
                not_before: r.wall()?,
                expires: r.wall()?,
                account: r.text()?,
                vendor: r.text()?,
                body: r.text()?,
                callback: if r.0.is_empty() { &[] } else { r.text()? },
                route: if r.0.is_empty() { 0 } else { u16::from_le_bytes(r.array()?) },
                nth: if r.0.is_empty() { 0 } else { r.octet()? },
                terms: if r.0.is_empty() { &[] } else { r.text()? },
            },
            AGAIN => Record::Again { id, records: r.octet()? },
            TOLD => Record::Told { id },
            NOTICED => Record::Noticed { id },
            MOVED => {
                Record::Moved { id, vendor: r.text()?, buy: if r.0.is_empty() { None } else { r.money()? } }
            }
            SENT => Record::Sent { id },
            CARRIED => Record::Carried { id, carrier_id: r.text()? },
            RETRY => Record::Retry { id, until: r.wall()?, attempts: r.octet()? },
            FINAL => Record::Final { id, outcome: r.outcome()? },
            DONE => Record::Done { id },
            CONSENT => Record::Consent {
                id,
                customer: u128::from_le_bytes(r.array()?),
                sender: u64::from_le_bytes(r.array()?),
                recipient: u64::from_le_bytes(r.array()?),
                out: r.octet()? != 0,
                at: r.wall()?,
            },
            _ => return None,
        })
    }
}

fn head(out: &mut Vec<u8>, kind: u8, id: u128) {
    out.push(kind);
    out.extend_from_slice(&id.to_le_bytes());
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    // A body is bounded by the largest PDU, which is more than 16 bits hold.
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text);
}

fn put_outcome(out: &mut Vec<u8>, outcome: Outcome) {
    out.push(outcome.state.octet());
    out.extend_from_slice(&outcome.error.to_le_bytes());
    out.extend_from_slice(&outcome.at.0.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn octet(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    fn wall(&mut self) -> Option<Wall> {
        self.array().map(i64::from_le_bytes).map(Wall)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    /// The outer `None`: cut, or no currency.
    fn money(&mut self) -> Option<Option<Money>> {
        let code: [u8; 3] = self.array()?;
        let amount = Nanos(i64::from_le_bytes(self.array()?));
        if code == [0; 3] {
            return Some(None);
        }
        let currency: Currency = std::str::from_utf8(&code).ok()?.parse().ok()?;
        Some(Some(Money { amount, currency }))
    }

    fn outcome(&mut self) -> Option<Outcome> {
        Some(Outcome {
            state: MessageState::from_octet(self.octet()?)?,
            error: u16::from_le_bytes(self.array()?),
            at: self.wall()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..limit)
    }

    proptest! {
        #[test]
        fn every_step_is_read_back_and_a_cut_one_is_none(
            id in any::<u128>(), a in bytes(20), b in bytes(20), body in bytes(300), t in any::<[i64; 3]>(), n in any::<u8>(),
            error in any::<u16>(), state in 0u8..10, cut in any::<prop::sample::Index>(),
        ) {
            let outcome = Outcome { state: MessageState::from_octet(state).unwrap(), error, at: Wall(t[0]) };
            let direction = if n % 2 == 0 { Direction::Terminated } else { Direction::Originated };
            let (at, not_before, expires) = (Wall(t[0]), Wall(t[1]), Wall(t[2]));
            let plain = Record::Accepted {
                id, direction, account: &a, vendor: &b, at, not_before, expires, body: &body, callback: &[], route: 0, nth: 0, terms: &[],
            };
            let mut out = Vec::new();
            plain.encode(&mut out);
            prop_assert_eq!(Record::decode(&out), Some(plain), "as before the HTTP door");
            let callback = [&[1, 2, 3], a.as_slice()].concat();
            let price = Money { amount: Nanos(t[1]), currency: Currency::USD };
            let agreed = Terms {
                customer: id, ban: id.rotate_left(9), lease: t[2], whole: id.rotate_left(5), parts: n, segments: error,
                sell: Some(price), buy: None,
            };
            let mut terms = Vec::new();
            agreed.encode(&mut terms);
            prop_assert_eq!(Terms::decode(&terms), Some(agreed));
            prop_assert_eq!(Terms::decode(&terms[..cut.index(terms.len())]), None);
            let with_route = Record::Accepted {
                id, direction, account: &a, vendor: &b, at, not_before, expires, body: &body, callback: &callback, route: u16::from(n).max(1), nth: n, terms: &[],
            };
            let as_before = |cut: Option<Record<'_>>| match cut {
                Some(Record::Accepted { terms: [], id: same, .. } | Record::Moved { buy: None, id: same, .. }) => same == id,
                _ => false,
            };
            for record in [
                Record::Told { id },
                Record::Accepted {
                    id, direction, account: &a, vendor: &b, at, not_before, expires, body: &body, callback: &callback, route: 0, nth: 0, terms: &[],
                },
                with_route,
                Record::Accepted {
                    id, direction, account: &a, vendor: &b, at, not_before, expires, body: &body, callback: &[], route: 258, nth: 0, terms: &[],
                },
                Record::Accepted {
                    id, direction, account: &a, vendor: &b, at, not_before, expires, body: &body, callback: &[], route: 0, nth: 0, terms: &terms,
                },
                Record::Again { id, records: n },
                Record::Moved { id, vendor: &b, buy: Some(price) },
                Record::Noticed { id },
                Record::Moved { id, vendor: &b, buy: None },
                Record::Sent { id },
                Record::Carried { id, carrier_id: &a },
                Record::Retry { id, until: at, attempts: n },
                Record::Final { id, outcome },
                Record::Done { id },
                Record::Consent { id, customer: id.rotate_left(3), sender: 9, recipient: u64::MAX, out: n % 2 == 0, at },
                Record::Parked { vendor: &a, carrier_id: &b, outcome },
            ] {
                let mut out = Vec::new();
                record.encode(&mut out);
                prop_assert_eq!(Record::decode(&out), Some(record));
                // One that ends where older ones do reads as an older one; the log gives whole records only.
                let cut = Record::decode(&out[..cut.index(out.len())]);
                prop_assert!(cut.is_none() || as_before(cut), "{:?}", cut);
            }
        }
    }
}
