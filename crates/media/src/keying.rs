//! Keys that two ends agree on beside the media (DTLS-SRTP, RFC 5763): fingerprints, the slot that keys come in, and the
//! stages that wait for it.
//!
//! The handshake itself is a [`Handshake`] that `warp_dtls` makes: its library draws randomness by itself, and cores link
//! none. Invariants: a slot is filled once; stages read it without a lock; until then nothing is let through, in neither
//! direction.

use std::fmt::{Debug, Write};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use warp_model::Mono;

use crate::packet::RoomyPacket;
use crate::port::{DropReason, MediaPath};
use crate::srtp::{CryptoLine, SrtpMaker};
use crate::stage::{Stage, StageMaker};

/// Digests that a fingerprint may be made with (RFC 8122 §5); MD5 and MD2 are not among them (T-RTP-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestKind {
    /// The hash `sha-1`, of older peers.
    Sha1,
    /// The hash `sha-224` of FIPS 180-4.
    Sha224,
    /// The hash `sha-256`, ours by default.
    Sha256,
    /// The hash `sha-384` of FIPS 180-4.
    Sha384,
    /// The hash `sha-512` of FIPS 180-4.
    Sha512,
}

impl DigestKind {
    const ALL: [(Self, &'static str, usize); 5] = [
        (Self::Sha1, "sha-1", 20),
        (Self::Sha224, "sha-224", 28),
        (Self::Sha256, "sha-256", 32),
        (Self::Sha384, "sha-384", 48),
        (Self::Sha512, "sha-512", 64),
    ];

    fn digest(self, certificate: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1::Sha1::digest(certificate).to_vec(),
            Self::Sha224 => Sha224::digest(certificate).to_vec(),
            Self::Sha256 => Sha256::digest(certificate).to_vec(),
            Self::Sha384 => Sha384::digest(certificate).to_vec(),
            Self::Sha512 => Sha512::digest(certificate).to_vec(),
        }
    }
}

/// What `a=fingerprint` says of a certificate (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    kind: DigestKind,
    digest: Vec<u8>,
}

impl Fingerprint {
    /// Reads the attribute's value. `None`: another hash, or not as many bytes as it has.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (name, digits) = text.trim().split_once(' ')?;
        let (kind, _, length) = DigestKind::ALL.into_iter().find(|(_, n, _)| name.eq_ignore_ascii_case(n))?;
        let digest: Option<Vec<u8>> = digits
            .trim()
            .split(':')
            .map(|pair| {
                u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2 && !pair.starts_with('+'))
            })
            .collect();
        digest.filter(|d| d.len() == length).map(|digest| Self { kind, digest })
    }

    /// Of a certificate, in DER.
    pub fn of(kind: DigestKind, certificate: &[u8]) -> Self {
        Self { kind, digest: kind.digest(certificate) }
    }

    /// True when it is this certificate's.
    pub fn fits(&self, certificate: &[u8]) -> bool {
        self.kind.digest(certificate) == self.digest
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name =
            DigestKind::ALL.into_iter().find(|(k, ..)| *k == self.kind).map_or("", |(_, name, _)| name);
        f.write_str(name)?;
        for (byte, sign) in self.digest.iter().zip(std::iter::once(' ').chain(std::iter::repeat(':'))) {
            f.write_char(sign)?;
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

/// The keys of an association, when it has made them.
#[derive(Debug, Default)]
pub struct KeySlot {
    made: OnceLock<[SrtpMaker; 2]>,
}

impl KeySlot {
    /// True when the handshake is done.
    pub fn is_filled(&self) -> bool {
        self.made.get().is_some()
    }

    /// What the peer sends is protected by the first key, what it is sent by the second. False: it was filled before, or the
    /// keys are none of their suites'.
    pub fn fill(&self, theirs: &CryptoLine, ours: &CryptoLine) -> bool {
        let made = SrtpMaker::unprotect(theirs).zip(SrtpMaker::protect(ours));
        made.is_some_and(|(opens, closes)| self.made.set([opens, closes]).is_ok())
    }

    fn maker(&self, seals: bool) -> Option<&SrtpMaker> {
        let [opens, closes] = self.made.get()?;
        Some(if seals { closes } else { opens })
    }
}

/// Makes stages that wait for the keys of a slot: until then nothing is let through.
#[derive(Debug)]
pub struct SlotMaker {
    slot: Arc<KeySlot>,
    seals: bool,
}

impl SlotMaker {
    /// First step for what the peer sends, last step for what it is sent.
    pub fn both(slot: &Arc<KeySlot>) -> [Arc<dyn StageMaker>; 2] {
        [false, true].map(|seals| Arc::new(Self { slot: Arc::clone(slot), seals }) as Arc<dyn StageMaker>)
    }
}

impl StageMaker for SlotMaker {
    fn make(&self) -> Box<dyn Stage> {
        Box::new(SlotStage { slot: Arc::clone(&self.slot), seals: self.seals, stage: None })
    }
}

#[derive(Debug)]
struct SlotStage {
    slot: Arc<KeySlot>,
    seals: bool,
    stage: Option<Box<dyn Stage>>,
}

impl Stage for SlotStage {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, now: Mono) -> Result<(), DropReason> {
        if let Some(stage) = &mut self.stage {
            return stage.run(packet, path, now);
        }
        // Once in its life: the first packet behind the handshake makes it.
        let waits = if self.seals { DropReason::NoDestination } else { DropReason::SrtpAuth };
        let maker = self.slot.maker(self.seals).ok_or(waits)?;
        self.stage.insert(maker.make()).run(packet, path, now)
    }
}

/// What became of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on as before.
    UnderWay,
    /// Both ends have finished: the key of what the peer sends, and of what it is sent.
    Done(Box<[CryptoLine; 2]>),
    /// It has failed, or the peer has closed it.
    Ended,
}

/// One handshake with one peer, and what follows it: datagrams and times in, datagrams out.
pub trait Handshake: Send + Debug {
    /// A datagram of the peer.
    fn handle(&mut self, datagram: &[u8], now: Mono) -> Progress;
    /// Sends again what is due.
    fn handle_timeout(&mut self, now: Mono) -> Progress;
    /// When to call [`Handshake::handle_timeout`].
    fn poll_timeout(&self) -> Option<Mono>;
    /// A datagram to send.
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
}

/// Makes handshakes under one certificate.
pub trait HandshakeMaker: Send + Sync + Debug {
    /// One at its beginning; an active one has its first flight to send. The peer's certificate must have one of the
    /// fingerprints. `None`: it cannot be.
    fn make(&self, active: bool, fingerprints: &[Fingerprint], now: Mono) -> Option<Box<dyn Handshake>>;
    /// The certificate, in DER.
    fn certificate(&self) -> &[u8];
}

/// What the handshakes of one port begin with.
#[derive(Clone, Debug)]
pub struct DtlsSetup {
    /// Our certificate and its key.
    pub maker: Arc<dyn HandshakeMaker>,
    /// We send the first flight.
    pub active: bool,
    /// The peer's certificate has one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// Where the keys go.
    pub slot: Arc<KeySlot>,
}

impl PartialEq for DtlsSetup {
    fn eq(&self, other: &Self) -> bool {
        self.active == other.active
            && self.fingerprints == other.fingerprints
            && Arc::ptr_eq(&self.slot, &other.slot)
    }
}

impl DtlsSetup {
    /// Begins the next handshake.
    pub fn begin(&self, now: Mono) -> Option<Box<dyn Handshake>> {
        self.maker.make(self.active, &self.fingerprints, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8122 §5: the name of a hash, and as many pairs of hexadecimal digits as it has bytes.
    #[test]
    fn t_rtp_12_fingerprints_are_whole_or_none() {
        let pairs = |n: usize| vec!["AB"; n].join(":");
        for (name, length) in
            [("sha-1", 20), ("SHA-224", 28), ("sha-256", 32), ("Sha-384", 48), ("sha-512", 64)]
        {
            let text = format!(" {name} {} ", pairs(length));
            let read = Fingerprint::parse(text.as_bytes()).expect(name);
            assert_eq!(read.to_string(), format!("{} {}", name.to_ascii_lowercase(), pairs(length)));
            for bad in [pairs(length - 1), pairs(length + 1), vec!["A"; length].join(":")] {
                assert_eq!(Fingerprint::parse(format!("{name} {bad}").as_bytes()), None, "{name} {bad}");
            }
        }
        let last = |pair: &str| format!("sha-1 {}:{pair}", pairs(19));
        assert!(Fingerprint::parse(last("0f").as_bytes()).is_some());
        for bad in ["+A", "ABC", "A", "", "G0", " A"] {
            assert_eq!(Fingerprint::parse(last(bad).as_bytes()), None, "{bad}");
        }
        for bad in [&b"sha-1"[..], b"md5 AB", b"\xff", b""] {
            assert_eq!(Fingerprint::parse(bad), None);
        }
        let of = Fingerprint::of(DigestKind::Sha256, b"certificate");
        assert!(of.fits(b"certificate") && !of.fits(b"another"));
    }
}
