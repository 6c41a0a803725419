//! STUN messages of connectivity checks (RFC 8489, RFC 8445 §7): read in place, written whole.
//!
//! Binding requests, their answers and indications, with short-term credentials (MESSAGE-INTEGRITY, HMAC-SHA1) and
//! FINGERPRINT. Invariants: every length that a message states is checked; nothing of a message is believed before
//! [`StunView::is_from`] has said whose it is. Absent on purpose: long-term credentials, TURN, other methods.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;

/// What each message carries (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;
/// Bytes of the header.
const HEADER: usize = 20;
/// Attributes that one message may have; more is not a check.
const ATTRIBUTES: usize = 32;
/// Bytes of MESSAGE-INTEGRITY with its head.
const INTEGRITY: usize = 24;
/// Bytes of FINGERPRINT with its head.
const FINGERPRINT: usize = 8;
/// What the CRC of FINGERPRINT is combined with (RFC 8489 §14.7).
const FINGERPRINT_MASK: u32 = 0x5354_554E;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT_TYPE: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;
/// Types below 0x8000 that a reader must understand, and that we may pass over: addresses, realm and nonce, and what newer
/// integrity brings.
const HARMLESS: [u16; 6] = [0x0001, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E];

/// A transaction's name: 96 bits.
pub type TransactionId = [u8; 12];

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunKind {
    /// A request that wants an answer.
    Request,
    /// A keep-alive, which nobody answers.
    Indication,
    /// An answer that mirrors the address.
    Success,
    /// An answer that says why not.
    Error,
}

impl StunKind {
    fn of(kind: u16) -> Option<Self> {
        match kind {
            0x0001 => Some(Self::Request),
            0x0011 => Some(Self::Indication),
            0x0101 => Some(Self::Success),
            0x0111 => Some(Self::Error),
            _ => None,
        }
    }

    fn code(self) -> u16 {
        match self {
            Self::Request => 0x0001,
            Self::Indication => 0x0011,
            Self::Success => 0x0101,
            Self::Error => 0x0111,
        }
    }
}

/// The role that the author of a check has, with its tie-breaker (RFC 8445 §7.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It decides on the pair.
    Controlling(u64),
    /// It follows the other's choice.
    Controlled(u64),
}

/// A message of method Binding, in place.
#[derive(Clone, Copy, Debug)]
pub struct StunView<'a> {
    bytes: &'a [u8],
    kind: StunKind,
}

impl<'a> StunView<'a> {
    /// Checks the header, the length of every attribute, and FINGERPRINT where there is one. `None`: no message of ours.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.first_chunk::<8>()?;
        let [k0, k1, l0, l1, cookie @ ..] = *head;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let is_whole = length.is_multiple_of(4) && bytes.len() == length.checked_add(HEADER)?;
        if !is_whole || u32::from_be_bytes(cookie) != MAGIC_COOKIE {
            return None;
        }
        let view = Self { bytes, kind: StunKind::of(u16::from_be_bytes([k0, k1]))? };
        let (mut at, mut count) = (HEADER, 0usize);
        while at < bytes.len() {
            count = count.checked_add(1).filter(|n| *n <= ATTRIBUTES)?;
            let (kind, value, next) = attribute_at(bytes, at)?;
            if kind == FINGERPRINT_TYPE {
                let crc = u32::from_be_bytes(*value.first_chunk()?);
                if value.len() != 4 || next != bytes.len() || crc != fingerprint(bytes.get(..at)?) {
                    return None;
                }
            }
            at = next;
        }
        Some(view)
    }

    /// Request, indication, success or error.
    pub fn kind(&self) -> StunKind {
        self.kind
    }

    /// The transaction that it belongs to.
    pub fn transaction(&self) -> TransactionId {
        self.bytes.get(8..HEADER).and_then(|b| b.first_chunk()).copied().unwrap_or_default()
    }

    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8], usize)> + use<'a> {
        let bytes = self.bytes;
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let begin = at;
            let (kind, value, next) = attribute_at(bytes, at)?;
            at = next;
            Some((kind, value, begin))
        })
    }

    /// The value of an attribute; what stands behind MESSAGE-INTEGRITY is nobody's word (RFC 8489 §14.5).
    fn get(&self, wanted: u16) -> Option<&'a [u8]> {
        let believed = self.attributes().take_while(|(kind, ..)| *kind != MESSAGE_INTEGRITY);
        believed.into_iter().find(|(kind, ..)| *kind == wanted).map(|(_, value, _)| value)
    }

    /// True when it carries a MESSAGE-INTEGRITY made with this password.
    pub fn is_from(&self, password: &[u8]) -> bool {
        let Some((_, tag, at)) = self.attributes().find(|(kind, ..)| *kind == MESSAGE_INTEGRITY) else {
            return false;
        };
        let Some(signed) = self.bytes.get(..at) else { return false };
        integrity(signed, password).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }

    /// The USERNAME of a request.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.get(USERNAME)
    }

    /// PRIORITY that a peer-reflexive candidate would have.
    pub fn priority(&self) -> Option<u32> {
        self.get(PRIORITY)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    }

    /// Whether it nominates its pair.
    pub fn nominates(&self) -> bool {
        self.get(USE_CANDIDATE).is_some()
    }

    /// The role that the author has.
    pub fn role(&self) -> Option<Role> {
        let tie = |kind| self.get(kind)?.first_chunk().map(|b| u64::from_be_bytes(*b));
        tie(ICE_CONTROLLING).map(Role::Controlling).or_else(|| tie(ICE_CONTROLLED).map(Role::Controlled))
    }

    /// The code of an error response: 487 is a role conflict.
    pub fn error_code(&self) -> Option<u16> {
        let [_, _, class, number] = *self.get(ERROR_CODE)?.first_chunk::<4>()?;
        u16::from(class & 7).checked_mul(100)?.checked_add(u16::from(number))
    }

    /// The first attribute that a reader must understand and we do not (RFC 8489 §6.3.1).
    pub fn unknown(&self) -> Option<u16> {
        let known = [
            USERNAME,
            MESSAGE_INTEGRITY,
            ERROR_CODE,
            UNKNOWN_ATTRIBUTES,
            XOR_MAPPED_ADDRESS,
            PRIORITY,
            USE_CANDIDATE,
        ];
        self.attributes()
            .map(|(kind, ..)| kind)
            .find(|kind| *kind < 0x8000 && !known.contains(kind) && !HARMLESS.contains(kind))
    }
}

/// Type and value of the attribute at `at`, and where the next one begins.
fn attribute_at(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let [k0, k1, l0, l1] = *rest.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let value = rest.get(4..)?.get(..length)?;
    let next = at.checked_add(4)?.checked_add(length.checked_next_multiple_of(4)?)?;
    (next <= bytes.len()).then_some((u16::from_be_bytes([k0, k1]), value, next))
}

/// HMAC over all that stands before MESSAGE-INTEGRITY, with the length as if the message ended behind it.
fn integrity(signed: &[u8], password: &[u8]) -> Option<Hmac<Sha1>> {
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(password).ok()?;
    let length = signed.len().checked_sub(HEADER)?.checked_add(INTEGRITY)?;
    mac.update(signed.get(..2)?);
    mac.update(&u16::try_from(length).ok()?.to_be_bytes());
    mac.update(signed.get(4..)?);
    Some(mac)
}

/// CRC-32 (ITU-T V.42) of what stands before FINGERPRINT, with the length as it will be.
fn fingerprint(before: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in before {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let bit = crc & 1;
            crc = (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(bit));
        }
    }
    !crc ^ FINGERPRINT_MASK
}

/// A message that is being written.
#[derive(Debug)]
pub struct StunWriter {
    bytes: Vec<u8>,
}

impl StunWriter {
    /// Begins a message of that kind.
    pub fn new(kind: StunKind, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&kind.code().to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        let length = u16::try_from(value.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        self
    }

    /// USERNAME: the reader's fragment, a colon, and the author's.
    pub fn username(self, theirs: &str, ours: &str) -> Self {
        self.attribute(USERNAME, format!("{theirs}:{ours}").as_bytes())
    }

    /// PRIORITY of the candidate that the check may find.
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(PRIORITY, &priority.to_be_bytes())
    }

    /// The role of the author.
    pub fn role(self, role: Role) -> Self {
        match role {
            Role::Controlling(tie) => self.attribute(ICE_CONTROLLING, &tie.to_be_bytes()),
            Role::Controlled(tie) => self.attribute(ICE_CONTROLLED, &tie.to_be_bytes()),
        }
    }

    /// Nominates the pair, where that is wanted.
    pub fn use_candidate(self, wanted: bool) -> Self {
        if wanted { self.attribute(USE_CANDIDATE, &[]) } else { self }
    }

    /// XOR-MAPPED-ADDRESS: where the request came from.
    pub fn mapped(self, from: SocketAddr) -> Self {
        let cookie = MAGIC_COOKIE.to_be_bytes();
        let port = from.port() ^ u16::from_be_bytes([cookie[0], cookie[1]]);
        let mut value = vec![0, if from.is_ipv4() { 1 } else { 2 }];
        value.extend_from_slice(&port.to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => value.extend_from_slice(&(u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes()),
            IpAddr::V6(ip) => {
                let mask = self.bytes.get(4..HEADER).and_then(|b| b.first_chunk::<16>()).copied();
                let mask = u128::from_be_bytes(mask.unwrap_or_default());
                value.extend_from_slice(&(u128::from(ip) ^ mask).to_be_bytes());
            }
        }
        self.attribute(XOR_MAPPED_ADDRESS, &value)
    }

    /// ERROR-CODE without a reason phrase.
    pub fn error(self, code: u16) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(5);
        let number = u8::try_from(code % 100).unwrap_or(0);
        self.attribute(ERROR_CODE, &[0, 0, class, number])
    }

    /// UNKNOWN-ATTRIBUTES of one type.
    pub fn unknown(self, kind: u16) -> Self {
        self.attribute(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes())
    }

    fn set_length(&mut self, behind: usize) {
        let length = self.bytes.len().saturating_add(behind).saturating_sub(HEADER);
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        }
    }

    /// Ends it with MESSAGE-INTEGRITY by this password, and FINGERPRINT.
    pub fn signed(mut self, password: &[u8]) -> Vec<u8> {
        let tag = integrity(&self.bytes, password).map(|mac| mac.finalize().into_bytes());
        if let Some(tag) = tag {
            self = self.attribute(MESSAGE_INTEGRITY, &tag);
        }
        self.with_fingerprint()
    }

    /// Ends it with FINGERPRINT alone.
    pub fn with_fingerprint(mut self) -> Vec<u8> {
        self.set_length(FINGERPRINT);
        let crc = fingerprint(&self.bytes);
        self.attribute(FINGERPRINT_TYPE, &crc.to_be_bytes()).bytes
    }
}

/// The address that a success response mirrors.
pub fn mapped_address(view: &StunView<'_>) -> Option<SocketAddr> {
    let value = view.get(XOR_MAPPED_ADDRESS)?;
    let [_, family, p0, p1] = *value.first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0, p1]) ^ u16::try_from(MAGIC_COOKIE >> 16).ok()?;
    let rest = value.get(4..)?;
    let ip = match (family, rest.len()) {
        (1, 4) => Ipv4Addr::from(u32::from_be_bytes(*rest.first_chunk()?) ^ MAGIC_COOKIE).into(),
        (2, 16) => {
            let mask = u128::from_be_bytes(*view.bytes.get(4..HEADER)?.first_chunk()?);
            Ipv6Addr::from(u128::from_be_bytes(*rest.first_chunk()?) ^ mask).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
#[path = "tests_stun.rs"]
mod tests;
