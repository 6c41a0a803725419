//! The two steps of a pipeline: what comes is authenticated and decrypted, what goes is encrypted and tagged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use warp_model::Mono;

use super::SOURCES;
use super::cipher::SessionKeys;
use super::sdes::CryptoLine;
use super::window::Window;
use crate::packet::RoomyPacket;
use crate::port::{DropReason, MediaPath};
use crate::stage::{Stage, StageMaker};

/// Highest SRTCP index (31 bits); a key that has come so far is used up (RFC 3711 §9.2).
const LAST_RTCP: u32 = 0x7FFF_FFFF;
/// Bit of the SRTCP word that says "encrypted".
const ENCRYPTED: u32 = 0x8000_0000;

/// Makes the stages of one master key in one direction.
#[derive(Debug)]
pub struct SrtpMaker {
    keys: SessionKeys,
    mki: Vec<u8>,
    is_ours: bool,
    /// The next SRTCP index, shared by all stages of a key of ours.
    next_rtcp: Arc<AtomicU32>,
}

impl SrtpMaker {
    /// For what the author of a line sends to us.
    pub fn unprotect(line: &CryptoLine) -> Option<Self> {
        Self::of(line, false)
    }

    /// For what we send under a line of ours.
    pub fn protect(line: &CryptoLine) -> Option<Self> {
        Self::of(line, true)
    }

    fn of(line: &CryptoLine, is_ours: bool) -> Option<Self> {
        let keys = SessionKeys::derive(line.suite, line.master())?;
        let mki = if is_ours { Vec::new() } else { line.mki().to_vec() };
        Some(Self { keys, mki, is_ours, next_rtcp: Arc::default() })
    }
}

impl StageMaker for SrtpMaker {
    fn make(&self) -> Box<dyn Stage> {
        let sources = Sources::default();
        if self.is_ours {
            let next_rtcp = Arc::clone(&self.next_rtcp);
            Box::new(Protect { keys: self.keys.clone(), sources, next_rtcp })
        } else {
            let mki = self.mki.clone();
            Box::new(Unprotect { keys: self.keys.clone(), mki, sources, rtcp: Sources::default() })
        }
    }
}

/// What is known of one source.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    ssrc: u32,
    window: Window,
    /// When it was last heard, by count of packets; 0 = nobody is here.
    heard: u64,
}

/// Windows by SSRC.
#[derive(Debug)]
struct Sources {
    table: [Source; SOURCES],
    /// Where the last one stood: nearly all packets are of one source.
    last: usize,
    count: u64,
}

impl Default for Sources {
    fn default() -> Self {
        Self { table: [Source::default(); SOURCES], last: 0, count: 0 }
    }
}

impl Sources {
    fn find(&self, ssrc: u32) -> Option<usize> {
        let is = |s: &Source| s.heard != 0 && s.ssrc == ssrc;
        if self.table.get(self.last).is_some_and(is) {
            return Some(self.last);
        }
        self.table.iter().position(is)
    }

    fn window(&self, ssrc: u32) -> Window {
        self.find(ssrc).and_then(|at| self.table.get(at)).map(|s| s.window).unwrap_or_default()
    }

    /// Room for one more without forgetting another.
    fn has_room_for(&self, ssrc: u32) -> bool {
        self.find(ssrc).is_some() || self.table.iter().any(|s| s.heard == 0)
    }

    /// It came and was authentic. A new source takes the place of the one longest not heard.
    fn take(&mut self, ssrc: u32, index: u64) {
        self.count = self.count.saturating_add(1);
        let at = self.find(ssrc).or_else(|| {
            let oldest = self.table.iter().enumerate().min_by_key(|(_, s)| s.heard)?.0;
            *self.table.get_mut(oldest)? = Source { ssrc, ..Source::default() };
            Some(oldest)
        });
        let Some(at) = at else { return };
        self.last = at;
        if let Some(source) = self.table.get_mut(at) {
            source.window.take(index);
            source.heard = self.count;
        }
    }
}

/// Length of the RTP header with its CSRCs and its extension, sequence number and SSRC (RFC 3550 §5.1). `None`: it is not whole.
fn rtp_header(packet: &[u8]) -> Option<(usize, u16, u32)> {
    let head = packet.first_chunk::<12>()?;
    let [first, _, s0, s1, _, _, _, _, ssrc @ ..] = *head;
    let mut length = usize::from(first & 0x0F).checked_mul(4)?.checked_add(12)?;
    if first & 0x10 != 0 {
        let words = packet.get(length..)?.first_chunk::<4>()?;
        let count = usize::from(u16::from_be_bytes([words[2], words[3]]));
        length = count.checked_mul(4)?.checked_add(4)?.checked_add(length)?;
    }
    (packet.len() >= length).then_some((length, u16::from_be_bytes([s0, s1]), u32::from_be_bytes(ssrc)))
}

/// What became of a packet; `None`: it is not whole, or has not the tag that it should.
type Step = Option<Result<(), DropReason>>;

const AGAIN: Step = Some(Err(DropReason::SrtpReplay));
const DONE: Step = Some(Ok(()));

/// Authenticates and decrypts in place; what fails is dropped as [`DropReason::SrtpAuth`] or [`DropReason::SrtpReplay`].
#[derive(Debug)]
pub struct Unprotect {
    keys: SessionKeys,
    /// Identifier of the key that each packet carries behind its ciphertext; empty = none.
    mki: Vec<u8>,
    sources: Sources,
    rtcp: Sources,
}

impl Unprotect {
    fn rtp(&mut self, packet: &mut RoomyPacket<'_>) -> Step {
        let (header, sequence, ssrc) = rtp_header(packet.bytes())?;
        let window = self.sources.window(ssrc);
        let index = window.index_of(sequence)?;
        if !window.is_new(index) {
            return AGAIN;
        }
        let tag = self.keys.rtp_tag();
        // Behind the tag of GCM (RFC 7714 §8), before any other (RFC 3711 §3.1).
        self.cut_mki(packet, if self.keys.is_gcm() { 0 } else { tag })?;
        // Nothing but a header and a tag is a packet too; less is none.
        let payload = packet.bytes().len().checked_sub(header)?;
        payload.checked_sub(tag)?;
        self.keys.open_rtp(packet.bytes_mut(), header, ssrc, index)?;
        packet.cut_tail(tag).then_some(())?;
        self.sources.take(ssrc, index);
        DONE
    }

    fn rtcp(&mut self, packet: &mut RoomyPacket<'_>) -> Step {
        let tag = self.keys.rtcp_tag();
        // With GCM the word stands behind the tag, and the identifier behind the word (RFC 7714 §9); else word,
        // identifier, tag (RFC 3711 §3.4).
        let behind = if self.keys.is_gcm() { 0 } else { tag };
        self.cut_mki(packet, behind)?;
        let length = packet.bytes().len();
        let trailer = tag.checked_add(4)?;
        let end = length.checked_sub(trailer).filter(|end| *end >= 8)?;
        let (body, trailer) = packet.bytes_mut().split_at_mut_checked(end)?;
        let (word, tag) = match self.keys.is_gcm() {
            true => (trailer.last_chunk::<4>()?, trailer.get(..tag)?),
            false => (trailer.first_chunk::<4>()?, trailer.get(4..)?),
        };
        let word = u32::from_be_bytes(*word);
        let ssrc = u32::from_be_bytes(*body.get(4..)?.first_chunk()?);
        let index = u64::from(word & LAST_RTCP);
        if !self.rtcp.window(ssrc).is_new(index) {
            return AGAIN;
        }
        self.keys.open_rtcp(body, word, tag)?;
        let cut = length.checked_sub(end)?;
        packet.cut_tail(cut).then_some(())?;
        self.rtcp.take(ssrc, index);
        DONE
    }

    /// Takes the identifier out, which stands before the last `behind` bytes.
    fn cut_mki(&self, packet: &mut RoomyPacket<'_>, behind: usize) -> Option<()> {
        if self.mki.is_empty() {
            return Some(());
        }
        let bytes = packet.bytes_mut();
        let end = bytes.len().checked_sub(behind)?;
        let start = end.checked_sub(self.mki.len())?;
        (bytes.get(start..end)? == self.mki).then_some(())?;
        bytes.copy_within(end.., start);
        packet.cut_tail(self.mki.len()).then_some(())
    }
}

impl Stage for Unprotect {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, _now: Mono) -> Result<(), DropReason> {
        let opened = match path {
            MediaPath::Rtp => self.rtp(packet),
            MediaPath::Rtcp => self.rtcp(packet),
        };
        opened.unwrap_or(Err(DropReason::SrtpAuth))
    }
}

/// Encrypts and tags in place.
#[derive(Debug)]
pub struct Protect {
    keys: SessionKeys,
    sources: Sources,
    next_rtcp: Arc<AtomicU32>,
}

impl Protect {
    fn rtp(&mut self, packet: &mut RoomyPacket<'_>) -> Step {
        let (header, sequence, ssrc) = rtp_header(packet.bytes())?;
        let window = self.sources.window(ssrc);
        // A second packet under one index would use its keystream again.
        let index = window.index_of(sequence)?;
        if !window.is_new(index) {
            return AGAIN;
        }
        self.sources.has_room_for(ssrc).then_some(())?;
        packet.grow_tail(self.keys.rtp_tag())?;
        self.keys.seal_rtp(packet.bytes_mut(), header, ssrc, index)?;
        self.sources.take(ssrc, index);
        DONE
    }

    fn rtcp(&mut self, packet: &mut RoomyPacket<'_>) -> Step {
        packet.bytes().get(..8)?;
        let (length, tag) = (packet.bytes().len(), self.keys.rtcp_tag());
        let step = |n: u32| n.checked_add(1).filter(|n| *n <= LAST_RTCP);
        let index = self.next_rtcp.fetch_update(Relaxed, Relaxed, step).ok()?;
        let word = index | ENCRYPTED;
        packet.grow_tail(tag.checked_add(4)?)?;
        let (body, trailer) = packet.bytes_mut().split_at_mut_checked(length)?;
        let (word_at, tag_at) = match self.keys.is_gcm() {
            true => (tag, 0),
            false => (0, 4),
        };
        trailer.get_mut(word_at..)?.first_chunk_mut::<4>()?.copy_from_slice(&word.to_be_bytes());
        let tag_end = tag.checked_add(tag_at)?;
        self.keys.seal_rtcp(body, word, trailer.get_mut(tag_at..tag_end)?)?;
        DONE
    }
}

impl Stage for Protect {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, _now: Mono) -> Result<(), DropReason> {
        let sealed = match path {
            MediaPath::Rtp => self.rtp(packet),
            MediaPath::Rtcp => self.rtcp(packet),
        };
        sealed.unwrap_or(Err(DropReason::Malformed))
    }
}
