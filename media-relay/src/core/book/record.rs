//! The recording of a call: `start recording`, `stop recording`, `pause recording`, and `record-call` (RFC 0054).
//!
//! Each side of a media line that has ports is a leg: what its party sends, as the other one hears it, in the clear. Branches
//! share the leg of the ports that they share. Rules carry the tap of a leg, so that re-offers, holds and forks change
//! nothing, and go without while the recording pauses. Who writes it down is told by [`Output::Record`], in order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use warp_media::pipeline::StageMaker;
use warp_media::play::PlayCodec;
use warp_media::tap::{Ring, Tap};
use warp_model::{Now, Wall};
use warp_ng::reply::reasons;
use warp_ng::{Record, RecordAction, Reply, SdpCommand};

use super::Book;
use super::call::{Call, Dialogue, MediaLine, Party};
use super::config::KeySource;
use super::dialogues::{METADATA_BYTES, digest};
use super::taken::Taken;
use crate::core::Output;
use crate::core::negotiate::{Class, Spoken};
use crate::core::ports::PortPair;
use crate::core::record::{Begin, LEGS, Leg, PLAYS, RecordOrder, Said, leg_number};

/// Why nothing comes of a wish to record.
pub(crate) const NO_FOLDER: &str = "nothing is recorded: no folder of recordings is configured (record)";
const NAMES: &str = "names of files are kept as metadata only: recordings have names of their own";
const SEALED: &str = "SRTP that passes unopened is recorded as it is, in the pcap file only";
const FOREIGN: &str = "speech in other codecs than PCMU, PCMA and L16 is recorded in the pcap file only";

/// Where recordings go, if anywhere.
#[derive(Clone, Debug, Default)]
pub struct Recordings {
    /// The rings of the shards, by number; none: nothing is recorded.
    pub rings: Vec<Arc<Ring>>,
    /// What a client is told of a recording: this, its name, and `ending`.
    pub folder: String,
    /// `.pcap`, or `.json` where there is none.
    pub ending: &'static str,
}

/// The recording of a call.
#[derive(Debug)]
pub(super) struct Recording {
    number: u64,
    name: String,
    paused: bool,
    /// Legs so far.
    legs: u64,
}

/// The tap on what one party sends on one media line.
#[derive(Clone, Debug, Default)]
pub(super) struct SideTap {
    stage: Option<Arc<dyn StageMaker>>,
    leg: u64,
    is_on: bool,
    /// What was told of the leg.
    told: Option<Arc<Leg>>,
}

impl SideTap {
    /// The last stage on what the party sends; `None`: nothing is recorded now.
    pub(super) fn stage(&self) -> Option<Arc<dyn StageMaker>> {
        self.stage.clone().filter(|_| self.is_on)
    }
}

/// `rec-20261201T153631-5a334f33005f162f`: the time in UTC, and who guesses it must guess 64 bits.
fn name(at: Wall, call_id: &[u8], number: u64, keys: KeySource) -> String {
    let mut random = [0; 8];
    if !(keys.0)(&mut random) {
        random = digest(&[call_id, &at.0.to_le_bytes(), &number.to_le_bytes()].concat()).to_le_bytes();
    }
    let time: String = at.to_string().chars().take(19).filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("rec-{time}-{:016x}", u64::from_le_bytes(random))
}

/// Payload types of what a party sends: those that the other one named, then its own.
fn plays(spoken: &Spoken, other: Option<&Spoken>) -> [Option<(u8, PlayCodec)>; PLAYS] {
    let both = other.into_iter().chain([spoken]).flat_map(|s| s.plays).flatten();
    let mut found: [Option<(u8, PlayCodec)>; PLAYS] = [None; PLAYS];
    for (pt, codec) in both {
        if !found.iter().flatten().any(|(known, _)| *known == pt)
            && let Some(free) = found.iter_mut().find(|f| f.is_none())
        {
            *free = Some((pt, codec));
        }
    }
    found
}

/// What is told of the leg of a party on a line.
fn describe(
    dialogue: &Dialogue,
    party: &Party,
    line: &MediaLine,
    me: usize,
    media: usize,
    to: SocketAddr,
) -> Option<Leg> {
    let spoken = line.sides.get(me)?.spoken.as_ref()?;
    let other = line.sides.get(1usize.checked_sub(me)?).and_then(|s| s.spoken.as_ref());
    Some(Leg {
        leg: 0,
        tag: party.tag.clone().unwrap_or_default(),
        label: party.label.clone(),
        branch: dialogue.branch.clone().filter(|_| me == 1),
        media: u32::try_from(media).unwrap_or(0).saturating_add(1),
        kind: spoken.kind.to_vec(),
        codec: spoken.codec.to_vec(),
        is_sealed: spoken.class == Class::Srtp && !line.has_keys(),
        plays: plays(spoken, other),
        from: spoken.rtp,
        to: Some(to),
    })
}

impl Call {
    /// Trouble of its recording that the client should know of.
    fn record_warning(&self, wishes: &[(&'static str, Vec<u8>)]) -> Option<&'static str> {
        let legs = || {
            let sides = self.dialogues.iter().flat_map(|d| &d.media).flat_map(|l| &l.sides);
            sides.filter_map(|s| s.tap.told.as_ref())
        };
        let is_foreign =
            |leg: &&Arc<Leg>| leg.kind == b"audio" && !leg.codec.is_empty() && leg.plays[0].is_none();
        if !wishes.is_empty() {
            Some(NAMES)
        } else if legs().any(|leg| leg.is_sealed) {
            Some(SEALED)
        } else {
            legs().find(is_foreign).map(|_| FOREIGN)
        }
    }
}

impl Book {
    /// Carries out a command about a recording.
    pub(super) fn record(&mut self, c: &Record, now: Now) -> Result<Reply, Reply> {
        let unknown = || Reply::error(reasons::UNKNOWN_CALL_ID);
        let serial = *self.by_id.get(&c.call_id).ok_or_else(unknown)?;
        if self.calls.get(serial).is_none_or(|call| call.ended.is_some()) {
            return Err(unknown());
        }
        let mut lent = Taken::of(self, serial, now).ok_or_else(unknown)?;
        let (_, book, call) = lent.parts().ok_or_else(unknown)?;
        if c.metadata.as_ref().is_some_and(|m| m.len() <= METADATA_BYTES) {
            call.metadata.clone_from(&c.metadata);
        }
        let warning = book.set_recording(call, c.what, &c.file_names, now);
        if c.metadata.is_some() || !c.file_names.is_empty() {
            book.say(call, c.file_names.clone());
        }
        Ok(Reply::Ok { warning: warning.map(Into::into) })
    }

    /// The same by `record-call` of an offer or answer. Gives a warning, if there is one.
    pub(super) fn record_by_flag(
        &mut self,
        call: &mut Call,
        c: &SdpCommand,
        now: Now,
    ) -> Option<&'static str> {
        let warning = match c.record {
            // A script says it with every offer: what was paused is not gone on with by that.
            Some(true) if call.recording.is_some() => call.record_warning(&c.file_names),
            Some(true) => self.set_recording(call, RecordAction::Start, &c.file_names, now),
            Some(false) => self.set_recording(call, RecordAction::Stop, &c.file_names, now),
            None => None,
        };
        if call.recording.is_some() && (c.metadata.is_some() || !c.file_names.is_empty()) {
            self.say(call, c.file_names.clone());
        }
        warning.or_else(|| (!c.file_names.is_empty() && c.record.is_none()).then_some(NAMES))
    }

    /// What a client is told of where the call is recorded.
    pub(super) fn recordings(&self, call: &Call) -> Vec<Vec<u8>> {
        let Recordings { folder, ending, .. } = &self.config.recordings;
        let path = |r: &Recording| format!("{folder}/{}{ending}", r.name).into_bytes();
        call.recording.iter().map(path).collect()
    }

    fn say(&mut self, call: &Call, file_names: Vec<(&'static str, Vec<u8>)>) {
        if let Some(recording) = &call.recording {
            let said = Said { recording: recording.number, metadata: call.metadata.clone(), file_names };
            self.out.push_back(Output::Record(RecordOrder::Said(Box::new(said))));
        }
    }

    fn set_recording(
        &mut self,
        call: &mut Call,
        what: RecordAction,
        file_names: &[(&'static str, Vec<u8>)],
        now: Now,
    ) -> Option<&'static str> {
        match (what, &mut call.recording) {
            (RecordAction::Start, _) if self.config.recordings.rings.is_empty() => return Some(NO_FOLDER),
            (RecordAction::Start, Some(recording)) if !recording.paused => {
                return call.record_warning(file_names);
            }
            (RecordAction::Start, Some(recording)) => {
                recording.paused = false;
                let order = RecordOrder::Pause { recording: recording.number, is_on: false, at: now.mono };
                self.out.push_back(Output::Record(order));
            }
            (RecordAction::Start, none) => {
                let number = self.next_recording;
                self.next_recording = self.next_recording.wrapping_add(1);
                let name = name(now.wall, &call.id, number, self.config.keys);
                *none = Some(Recording { number, name: name.clone(), paused: false, legs: 0 });
                let begin = Begin { recording: number, name, call_id: call.id.clone(), at: now };
                self.out.push_back(Output::Record(RecordOrder::Begin(Box::new(begin))));
                if call.metadata.is_some() {
                    self.say(call, Vec::new());
                }
            }
            (RecordAction::Pause, Some(recording)) if !recording.paused => {
                recording.paused = true;
                let order = RecordOrder::Pause { recording: recording.number, is_on: true, at: now.mono };
                self.out.push_back(Output::Record(order));
            }
            (RecordAction::Stop, Some(_)) => self.end_recording(call, now),
            (RecordAction::Pause | RecordAction::Stop, _) => return None,
        }
        self.tap(call);
        for at in 0..call.dialogues.len() {
            self.install(call, at);
        }
        match what {
            RecordAction::Start => call.record_warning(file_names),
            _ => None,
        }
    }

    /// The recording of a call is over, if there is one.
    pub(super) fn end_recording(&mut self, call: &mut Call, now: Now) {
        let Some(recording) = call.recording.take() else { return };
        for side in call.dialogues.iter_mut().flat_map(|d| &mut d.media).flat_map(|l| &mut l.sides) {
            side.tap = SideTap::default();
        }
        let order = RecordOrder::End { recording: recording.number, at: now.mono };
        self.out.push_back(Output::Record(order));
    }

    /// Sees that each side of a recorded call has its tap, and that its recorder knows what the legs are.
    pub(super) fn tap(&mut self, call: &mut Call) {
        let Some(recording) = &mut call.recording else { return };
        let Some(ring) = self.config.recordings.rings.get(usize::from(call.shard)) else { return };
        let mut taps: BTreeMap<PortPair, SideTap> = BTreeMap::new();
        for side in call.dialogues.iter().flat_map(|d| &d.media).flat_map(|l| &l.sides) {
            if let Some(pair) = side.pair.filter(|_| side.tap.stage.is_some()) {
                taps.insert(pair, side.tap.clone());
            }
        }
        for dialogue in &mut call.dialogues {
            let mut found = Vec::new();
            for (media, line) in dialogue.media.iter().enumerate() {
                for (me, (side, party)) in line.sides.iter().zip(&dialogue.parties).enumerate() {
                    let Some(pair) = side.pair else { continue };
                    let Some(ip) = self.ports.ips().get(usize::from(pair.ip)).copied() else { continue };
                    let to = SocketAddr::new(ip, pair.rtp_port().port);
                    let Some(leg) = describe(dialogue, party, line, me, media, to) else { continue };
                    let tap = match taps.entry(pair) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(_) if recording.legs >= LEGS => continue,
                        Entry::Vacant(new) => {
                            let leg = leg_number(recording.number, recording.legs);
                            recording.legs = recording.legs.saturating_add(1);
                            let tap = Tap { leg, ring: Arc::clone(ring) };
                            new.insert(SideTap { stage: Some(Arc::new(tap)), leg, is_on: true, told: None })
                        }
                    };
                    tap.is_on = !recording.paused;
                    let leg = Leg { leg: tap.leg, ..leg };
                    if tap.told.as_deref() != Some(&leg) {
                        tap.told = Some(Arc::new(leg.clone()));
                        self.out.push_back(Output::Record(RecordOrder::Leg(Box::new(leg))));
                    }
                    found.push((media, me, tap.clone()));
                }
            }
            for (media, me, tap) in found {
                if let Some(side) = dialogue.media.get_mut(media).and_then(|l| l.sides.get_mut(me)) {
                    side.tap = tap;
                }
            }
        }
    }
}
