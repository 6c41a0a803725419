//! One recording on disk: `NAME.json` (`NAME.recording.json` until it is complete), `NAME-1.wav` … for its legs,
//! `NAME-mix.wav`, `NAME.pcap`.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use warp_media::MediaPath;
use warp_media::play::HZ;
use warp_media::rtp::RtpView;
use warp_media::tap::Tapped;
use warp_model::{Mono, Now, Wall};

use super::{Kinds, LegNumbers, Trouble};
use crate::core::record::files::{WAV_HEAD, pcap_head, pcap_packet, wav_head};
use crate::core::record::track::{Speech, Track, samples_of};
use crate::core::record::{Begin, Leg, Said};

/// What the metadata of a recording that is being written are called behind its name.
pub(super) const OPEN: &str = ".recording.json";
/// Samples written in one piece.
const PIECE: u64 = HZ as u64;
/// Bytes of packets that wait for the disk; beyond, packets are lost.
const PCAP_WAITING: usize = 1 << 20;
/// Stretches without recording that are told.
const PAUSES: usize = 100;

/// A file that grows at its end; a piece that could not be written is written again or stays out as a whole.
#[derive(Debug)]
struct Growing {
    file: File,
    name: String,
    bytes: u64,
}

impl Growing {
    /// A new file, of this user only. Links and files that are there are refused.
    fn create(folder: &Path, name: String, head: &[u8]) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(&name))?;
        file.write_all_at(head, 0)?;
        Ok(Self { file, name, bytes: head.len() as u64 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.bytes)?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// A WAV file of which some piece may be missing: silence is there then.
#[derive(Debug)]
struct Wav {
    file: File,
    name: String,
}

impl Wav {
    fn create(folder: &Path, name: String) -> io::Result<Self> {
        let Growing { file, name, .. } = Growing::create(folder, name, &wav_head(0))?;
        Ok(Self { file, name })
    }

    /// Samples from place `at` on.
    fn write(&self, at: u64, samples: &[i16]) -> io::Result<()> {
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        self.file.write_all_at(&bytes, place(at))
    }

    /// It is at least so many samples long; silence where nothing was written.
    fn reach(&self, samples: u64) -> io::Result<()> {
        self.file.set_len(place(samples))
    }

    fn finish(&self, samples: u64) -> io::Result<()> {
        self.reach(samples)?;
        self.file.write_all_at(&wav_head(samples.saturating_mul(2)), 0)
    }
}

/// Where a sample stands in a WAV file.
fn place(sample: u64) -> u64 {
    sample.saturating_mul(2).saturating_add(WAV_HEAD as u64)
}

#[derive(Debug)]
struct WrittenLeg {
    about: Leg,
    track: Track,
    file: Option<Wav>,
    /// It has said something that can be written.
    has_spoken: bool,
    packets: u64,
    unreadable: u64,
}

/// A recording that is being written.
#[derive(Debug)]
pub(super) struct Written {
    folder: PathBuf,
    kinds: Kinds,
    name: String,
    call_id: Vec<u8>,
    begun: Now,
    said: Option<Said>,
    legs: Vec<WrittenLeg>,
    numbers: LegNumbers,
    mixed: Option<Wav>,
    pcap: Option<Growing>,
    packets: Vec<u8>,
    unwritten: u64,
    /// Samples written.
    done: u64,
    paused: Option<Mono>,
    pauses: Vec<(u64, u64)>,
    ended: Option<Mono>,
    is_changed: bool,
}

impl Written {
    /// Begins it: its metadata are on disk from now on.
    pub(super) fn new(begin: Begin, folder: &Path, kinds: Kinds, trouble: &Trouble) -> Self {
        let Begin { name, call_id, at, .. } = begin;
        let mut new = Self {
            folder: folder.to_owned(),
            kinds,
            name,
            call_id,
            begun: at,
            said: None,
            legs: Vec::new(),
            numbers: LegNumbers::new(),
            mixed: None,
            pcap: None,
            packets: Vec::new(),
            unwritten: 0,
            done: 0,
            paused: None,
            pauses: Vec::new(),
            ended: None,
            is_changed: false,
        };
        new.describe(trouble);
        new
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn leg(&mut self, about: Leg) {
        self.is_changed = true;
        match self.numbers.get(&about.leg).and_then(|at| self.legs.get_mut(*at)) {
            Some(known) => known.about = about,
            None => {
                self.numbers.insert(about.leg, self.legs.len());
                let track = Track::default();
                self.legs.push(WrittenLeg {
                    about,
                    track,
                    file: None,
                    has_spoken: false,
                    packets: 0,
                    unreadable: 0,
                });
                // It begins with the recording.
                let mut none = Vec::new();
                if let Some(leg) = self.legs.last_mut() {
                    leg.track.take(usize::try_from(self.done).unwrap_or(0), &mut none);
                }
            }
        }
    }

    pub(super) fn said(&mut self, said: Said) {
        (self.said, self.is_changed) = (Some(said), true);
    }

    pub(super) fn pause(&mut self, is_on: bool, at: Mono) {
        self.is_changed = true;
        match (is_on, self.paused) {
            (true, None) => self.paused = Some(at),
            (false, Some(since)) => {
                self.paused = None;
                let pause = (self.millis(since), self.millis(at));
                if self.pauses.len() < PAUSES {
                    self.pauses.push(pause);
                }
            }
            _ => {}
        }
    }

    fn millis(&self, at: Mono) -> u64 {
        u64::try_from(at.since(self.begun.mono).as_millis()).unwrap_or(u64::MAX)
    }

    /// One packet of one of its legs.
    pub(super) fn packet(&mut self, packet: Tapped<'_>) {
        let Some(leg) = self.numbers.get(&packet.leg).and_then(|at| self.legs.get_mut(*at)) else { return };
        leg.packets = leg.packets.saturating_add(1);
        if self.kinds.pcap {
            if self.packets.len() < PCAP_WAITING {
                let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
                let (from, mut to) = (leg.about.from.unwrap_or(nowhere), leg.about.to.unwrap_or(nowhere));
                if packet.path == MediaPath::Rtcp {
                    to.set_port(to.port().saturating_add(1));
                }
                let since = i64::try_from(packet.at.since(self.begun.mono).as_micros()).unwrap_or(i64::MAX);
                let at_us = self.begun.wall.0.saturating_add(since);
                pcap_packet(&mut self.packets, at_us, from, to, packet.length, packet.bytes);
            } else {
                self.unwritten = self.unwritten.saturating_add(1);
            }
        }
        if packet.path == MediaPath::Rtcp || leg.about.is_sealed {
            return;
        }
        let Ok(rtp) = RtpView::parse(packet.bytes) else { return };
        let known = leg.about.plays.iter().flatten().find(|(pt, _)| *pt == rtp.payload_type());
        let Some((_, codec)) = known else {
            leg.unreadable = leg.unreadable.saturating_add(1);
            return;
        };
        let speech =
            Speech { ssrc: rtp.ssrc(), timestamp: rtp.timestamp(), codec: *codec, payload: rtp.payload() };
        leg.track.put(speech, samples_of(packet.at.since(self.begun.mono)));
        leg.has_spoken = true;
    }

    /// Writes everything that stands before `until`.
    pub(super) fn flush(&mut self, until: Mono, trouble: &Trouble) {
        self.write_packets(trouble);
        let until = samples_of(until.since(self.begun.mono));
        let (mut samples, mut sum) = (Vec::new(), Vec::new());
        while self.done < until {
            let count = (until.saturating_sub(self.done)).min(PIECE);
            self.piece(usize::try_from(count).unwrap_or(0), &mut samples, &mut sum, trouble);
            self.done = self.done.saturating_add(count);
        }
        for wav in self.legs.iter().filter_map(|l| l.file.as_ref()).chain(&self.mixed) {
            if let Err(error) = wav.reach(self.done) {
                trouble.tell(&wav.name, &error);
            }
        }
        if self.is_changed {
            self.describe(trouble);
        }
    }

    fn piece(&mut self, count: usize, samples: &mut Vec<i16>, sum: &mut Vec<i32>, trouble: &Trouble) {
        sum.clear();
        sum.resize(count, 0);
        let mut is_silent = true;
        for (at, leg) in self.legs.iter_mut().enumerate() {
            if !leg.track.take(count, samples) {
                continue;
            }
            is_silent = false;
            sum.iter_mut().zip(samples.iter()).for_each(|(sum, s)| *sum = sum.saturating_add(i32::from(*s)));
            if !self.kinds.legs {
                continue;
            }
            let name = || format!("{}-{}.wav", self.name, at.saturating_add(1));
            self.is_changed |= leg.file.is_none();
            let wrote = open(&mut leg.file, &self.folder, name).and_then(|wav| wav.write(self.done, samples));
            if let Err(error) = wrote {
                trouble.tell("a leg", &error);
            }
        }
        if is_silent || !self.kinds.mixed {
            return;
        }
        let clamp = |s: &i32| i16::try_from(*s).unwrap_or(if *s < 0 { i16::MIN } else { i16::MAX });
        samples.clear();
        samples.extend(sum.iter().map(clamp));
        let name = || format!("{}-mix.wav", self.name);
        self.is_changed |= self.mixed.is_none();
        let wrote = open(&mut self.mixed, &self.folder, name).and_then(|wav| wav.write(self.done, samples));
        if let Err(error) = wrote {
            trouble.tell("a mix", &error);
        }
    }

    fn write_packets(&mut self, trouble: &Trouble) {
        if self.packets.is_empty() {
            return;
        }
        if self.pcap.is_none() {
            match Growing::create(&self.folder, format!("{}.pcap", self.name), &pcap_head()) {
                Ok(file) => (self.pcap, self.is_changed) = (Some(file), true),
                Err(error) => trouble.tell("a pcap file", &error),
            }
        }
        let Some(pcap) = &mut self.pcap else { return };
        match pcap.append(&self.packets) {
            Ok(()) => self.packets.clear(),
            Err(error) => trouble.tell(&pcap.name, &error),
        }
    }

    /// Completes its files. Gives how many packets came too late for their place.
    pub(super) fn end(&mut self, at: Mono, trouble: &Trouble) -> u64 {
        if self.paused.is_some() {
            self.pause(false, at);
        }
        self.flush(at, trouble);
        for wav in self.legs.iter().filter_map(|l| l.file.as_ref()).chain(&self.mixed) {
            if let Err(error) = wav.finish(self.done) {
                trouble.tell(&wav.name, &error);
            }
        }
        if let Some(pcap) = &self.pcap
            && let Err(error) = pcap.file.set_len(pcap.bytes)
        {
            trouble.tell(&pcap.name, &error);
        }
        self.ended = Some(at);
        self.describe(trouble);
        self.legs.iter().fold(0, |sum, leg| sum.saturating_add(leg.track.late()))
    }

    /// Writes its metadata, in the place of what was there before.
    fn describe(&mut self, trouble: &Trouble) {
        self.is_changed = false;
        let open = format!("{}{OPEN}", self.name);
        let wrote = match self.ended {
            None => put(&self.folder, &open, &self.metadata()),
            Some(_) => put(&self.folder, &format!("{}.json", self.name), &self.metadata()).and_then(|()| {
                match std::fs::remove_file(self.folder.join(open)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }),
        };
        if let Err(error) = wrote {
            // It is tried again with the next piece.
            self.is_changed = true;
            trouble.tell("metadata", &error);
        }
    }

    fn metadata(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let wall = |at: Mono| {
            let micros = i64::try_from(at.since(self.begun.mono).as_micros()).unwrap_or(i64::MAX);
            Wall(self.begun.wall.0.saturating_add(micros)).to_string()
        };
        let legs = self.legs.iter().map(|leg| {
            let about = &leg.about;
            let unread = leg.unreadable > 0 && !leg.has_spoken;
            json!({
                "file": leg.file.as_ref().map(|f| &f.name),
                "tag": text(&about.tag),
                "label": about.label.as_deref().map(text),
                "branch": about.branch.as_deref().map(text),
                "media": about.media,
                "kind": text(&about.kind),
                "codec": text(&about.codec),
                "from": about.from,
                "to": about.to,
                "packets": leg.packets,
                "unreadable": leg.unreadable,
                "late": leg.track.late(),
                "warning": match (about.is_sealed, unread) {
                    (true, _) => Some("SRTP that passed unopened: in the pcap file only, as it was"),
                    (false, true) => Some("not PCMU, PCMA or L16 at 8000 Hz: in the pcap file only"),
                    (false, false) => None,
                },
            })
        });
        let names = self.said.iter().flat_map(|s| &s.file_names);
        let named: serde_json::Map<String, Value> =
            names.map(|(key, name)| ((*key).to_owned(), text(name).into())).collect();
        json!({
            "version": 1,
            "name": self.name,
            "state": if self.ended.is_some() { "complete" } else { "recording" },
            "call_id": text(&self.call_id),
            "metadata": self.said.as_ref().and_then(|s| s.metadata.as_deref()).map(text),
            "said_by_client": named,
            "begun": self.begun.wall.to_string(),
            "ended": self.ended.map(wall),
            "duration_ms": self.ended.map(|at| self.millis(at)),
            "pauses_ms": self.pauses,
            "legs": legs.collect::<Vec<_>>(),
            "mixed": self.mixed.as_ref().map(|f| &f.name),
            "pcap": self.pcap.as_ref().map(|f| &f.name),
            "packets_unwritten": self.unwritten,
        })
    }
}

fn open<'w>(wav: &'w mut Option<Wav>, folder: &Path, name: impl Fn() -> String) -> io::Result<&'w Wav> {
    if wav.is_none() {
        *wav = Some(Wav::create(folder, name())?);
    }
    wav.as_ref().ok_or(io::ErrorKind::NotFound.into())
}

/// A JSON file in the place of the one before: whole, or as it was.
pub(super) fn put(folder: &Path, name: &str, value: &Value) -> io::Result<()> {
    let new = folder.join(format!(".{name}.new"));
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all_at(&text, 0)?;
    std::fs::rename(&new, folder.join(name))
}
