//! Delivery receipts (SMPP 3.4 appendix B): read in the dialects of the field, written in the standard text.

use warp_model::Wall;

use crate::time;
use crate::tlv::{Tag, Tlvs};

/// The state of a message (§5.2.28; SCHEDULED and SKIPPED: 5.0 §4.7.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageState {
    /// 0: waits for its time.
    Scheduled,
    /// 1: on its way.
    Enroute,
    /// 2: at the handset.
    Delivered,
    /// 3: its validity is over.
    Expired,
    /// 4: was deleted or cancelled.
    Deleted,
    /// 5: cannot be delivered.
    Undeliverable,
    /// 6: was read on behalf of the subscriber.
    Accepted,
    /// 7: nobody knows its state.
    Unknown,
    /// 8: was rejected on its way.
    Rejected,
    /// 9: was accepted and not transmitted on purpose.
    Skipped,
}

const STATES: [(MessageState, &str); 10] = [
    (MessageState::Scheduled, "SCHEDLD"),
    (MessageState::Enroute, "ENROUTE"),
    (MessageState::Delivered, "DELIVRD"),
    (MessageState::Expired, "EXPIRED"),
    (MessageState::Deleted, "DELETED"),
    (MessageState::Undeliverable, "UNDELIV"),
    (MessageState::Accepted, "ACCEPTD"),
    (MessageState::Unknown, "UNKNOWN"),
    (MessageState::Rejected, "REJECTD"),
    (MessageState::Skipped, "SKIPPED"),
];

impl MessageState {
    /// From the value of message_state.
    pub fn from_octet(n: u8) -> Option<MessageState> {
        STATES.get(usize::from(n)).map(|(state, _)| *state)
    }

    /// The value of message_state.
    pub fn octet(self) -> u8 {
        STATES.iter().position(|(s, _)| *s == self).and_then(|at| u8::try_from(at).ok()).unwrap_or(7)
    }

    /// The seven letters of `stat:`.
    pub fn stat(self) -> &'static str {
        STATES.iter().find(|(s, _)| *s == self).map_or("UNKNOWN", |(_, stat)| stat)
    }

    /// From the letters of `stat:`: in any case, short or written out.
    pub fn from_stat(text: &[u8]) -> Option<MessageState> {
        let same = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
        if let Some((state, _)) = STATES.iter().find(|(_, stat)| same(stat)) {
            return Some(*state);
        }
        Some(match () {
            () if same("DELIVERED") => MessageState::Delivered,
            () if same("UNDELIVERABLE") || same("UNDELIVERED") || same("FAILED") => {
                MessageState::Undeliverable
            }
            () if same("ACCEPTED") => MessageState::Accepted,
            () if same("REJECTED") => MessageState::Rejected,
            () if same("SCHEDULED") => MessageState::Scheduled,
            () if same("BUFFERED") || same("BUFFRED") => MessageState::Enroute,
            () => return None,
        })
    }

    /// Whether nothing follows after it: a final state is never overwritten.
    pub fn is_final(self) -> bool {
        !matches!(
            self,
            MessageState::Scheduled | MessageState::Enroute | MessageState::Accepted | MessageState::Unknown
        )
    }
}

/// A receipt as it was read. What was not told is `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Receipt<'a> {
    /// The id that the sender of the receipt gave the message; never empty.
    pub id: &'a [u8],
    /// Messages that were submitted.
    pub submitted: Option<u32>,
    /// Messages that were delivered.
    pub delivered: Option<u32>,
    /// When the message was submitted, as the sender's clock and zone have it.
    pub submit_date: Option<Wall>,
    /// When it reached this state.
    pub done_date: Option<Wall>,
    /// The state, when it is one that is known.
    pub state: Option<MessageState>,
    /// The error as it was written: mostly three digits.
    pub error: &'a [u8],
    /// The beginning of the text.
    pub text: &'a [u8],
    /// The network's own error: the kind of network and its code.
    pub network_error: Option<(u8, u16)>,
}

/// Reads a receipt from the text and the optional parameters of a deliver_sm or data_sm. Where both are there and differ, the
/// parameters are right. `None`: no id can be found, so that it is about nothing.
pub fn read<'a>(text: &'a [u8], tlvs: Tlvs<'a>) -> Option<Receipt<'a>> {
    let mut receipt = Receipt::default();
    for (name, value) in Fields(text) {
        match name {
            Name::Id => receipt.id = value,
            Name::Sub => receipt.submitted = number(value),
            Name::Dlvrd => receipt.delivered = number(value),
            Name::SubmitDate => receipt.submit_date = time::parse_receipt(value),
            Name::DoneDate => receipt.done_date = time::parse_receipt(value),
            Name::Stat => receipt.state = MessageState::from_stat(value),
            Name::Err => receipt.error = value,
            Name::Text => receipt.text = value,
        }
    }
    if let Some(id) = tlvs.text(Tag::RECEIPTED_MESSAGE_ID).filter(|id| !id.is_empty()) {
        receipt.id = id;
    }
    if let Some(state) = tlvs.octet(Tag::MESSAGE_STATE).and_then(MessageState::from_octet) {
        receipt.state = Some(state);
    }
    if let Some([kind, high, low]) = tlvs.get(Tag::NETWORK_ERROR_CODE) {
        receipt.network_error = Some((*kind, u16::from_be_bytes([*high, *low])));
    }
    (!receipt.id.is_empty()).then_some(receipt)
}

#[derive(Clone, Copy)]
enum Name {
    Id,
    Sub,
    Dlvrd,
    SubmitDate,
    DoneDate,
    Stat,
    Err,
    Text,
}

const NAMES: [(&[u8], Name); 9] = [
    (b"id:", Name::Id),
    (b"sub:", Name::Sub),
    (b"dlvrd:", Name::Dlvrd),
    (b"submit date:", Name::SubmitDate),
    (b"done date:", Name::DoneDate),
    (b"stat:", Name::Stat),
    (b"err:", Name::Err),
    (b"text:", Name::Text),
    // Some leave out the blank.
    (b"submitdate:", Name::SubmitDate),
];

/// Walks `name:value` pairs: names in any case, in any order, values to the next blank or in quotes. `text:` takes the rest.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (Name, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
            let found = NAMES.iter().find_map(|(word, name)| {
                let head = rest.get(..word.len())?;
                head.eq_ignore_ascii_case(word).then_some((*name, word.len()))
            });
            let Some((name, length)) = found else {
                // A word that is none of ours.
                let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
                self.0 = rest.get(end..).unwrap_or_default();
                continue;
            };
            let value = rest.get(length..).unwrap_or_default();
            if matches!(name, Name::Text) {
                self.0 = &[];
                return Some((name, value));
            }
            let quote = value.first().copied().filter(|b| matches!(b, b'"' | b'\''));
            let value = if quote.is_some() { value.get(1..).unwrap_or_default() } else { value };
            let ends = |b: &u8| quote.map_or(b.is_ascii_whitespace() || *b == 0, |q| *b == q);
            let end = value.iter().position(ends).unwrap_or(value.len());
            let (value, rest) = value.split_at_checked(end).unwrap_or_default();
            self.0 = if quote.is_some() { rest.get(1..).unwrap_or_default() } else { rest };
            return Some((name, value));
        }
    }
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Appends the standard text: all fields, one blank between them. `text` is the beginning of the message, of which 20 octets are taken;
/// what is not ASCII in it is left out, as the receipt is in the default alphabet.
pub fn write(
    out: &mut Vec<u8>,
    id: &[u8],
    state: MessageState,
    submitted: Wall,
    done: Wall,
    error: u16,
    text: &[u8],
) {
    let delivered: &[u8] = if state == MessageState::Delivered { b"001" } else { b"000" };
    let error = error.min(999);
    let digits = [error / 100, error / 10 % 10, error % 10].map(|d| b'0' + u8::try_from(d).unwrap_or(0));
    for part in [
        b"id:",
        id,
        b" sub:001 dlvrd:",
        delivered,
        b" submit date:",
        &time::of_receipt(submitted),
        b" done date:",
        &time::of_receipt(done),
        b" stat:",
        state.stat().as_bytes(),
        b" err:",
        &digits,
        b" text:",
    ] {
        out.extend_from_slice(part);
    }
    out.extend(text.iter().take(20).filter(|b| matches!(b, b' '..=b'~')));
}

/// How the id of a receipt is to be held against that of a response (a setting of the connector).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdForm {
    /// Both are written alike.
    #[default]
    AsGiven,
    /// The response has hexadecimal digits, the receipt decimal ones.
    ResponseHex,
    /// The response has decimal digits, the receipt hexadecimal ones.
    ResponseDecimal,
}

/// The form in which the id of a response is kept: upper case, without leading zeros.
pub fn id_of_response(id: &[u8], form: IdForm) -> Vec<u8> {
    match form {
        IdForm::AsGiven => plain(id),
        IdForm::ResponseHex => from_radix(id, 16),
        IdForm::ResponseDecimal => from_radix(id, 10),
    }
}

/// The form in which the id of a receipt is looked for.
pub fn id_of_receipt(id: &[u8], form: IdForm) -> Vec<u8> {
    match form {
        IdForm::AsGiven => plain(id),
        IdForm::ResponseHex => from_radix(id, 10),
        IdForm::ResponseDecimal => from_radix(id, 16),
    }
}

fn plain(id: &[u8]) -> Vec<u8> {
    let zeros = id.iter().take_while(|b| **b == b'0').count();
    let rest = id.get(zeros..).unwrap_or_default();
    // An id of zeros alone is one zero.
    let rest = if rest.is_empty() { id.get(..id.len().min(1)).unwrap_or_default() } else { rest };
    rest.to_ascii_uppercase()
}

/// A number as its decimal digits; what is no number of this radix stays a text.
fn from_radix(id: &[u8], radix: u32) -> Vec<u8> {
    let number = std::str::from_utf8(id).ok().and_then(|text| u128::from_str_radix(text, radix).ok());
    number.map_or_else(|| plain(id), |n| n.to_string().into_bytes())
}
