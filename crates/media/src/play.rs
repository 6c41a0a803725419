//! What we send to a party ourselves: a sound, or telephone events (RFC 0049).
//!
//! A [`Playing`] is data in the pipeline of the port whose packets would go to the party; the shard asks it for a packet
//! every [`TICK`] and sends it by that pipeline's egress, so that SRTP is made by the same step. It allocates nothing.
//! How far it has come stands in it: a rule that is taken away and comes back goes on where it was.
//!
//! All that is played to one party has one [`Voice`]: an SSRC of its own with its sequence and timestamps, which never go
//! back (one keystream of SRTP is never used twice).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use warp_model::Mono;

use crate::g711::{to_pcma, to_pcmu};

/// Time of one packet.
pub const TICK: Duration = Duration::from_millis(20);
/// Samples a second of all that is played.
pub const HZ: u32 = 8_000;
/// Samples of one packet.
pub const SAMPLES: u32 = 160;
/// Bytes of the largest packet: L16.
pub const PACKET_BYTES: usize = 12 + 2 * SAMPLES as usize;
/// How often the end of an event is said (RFC 4733 §2.5.1.4).
const ENDS: u32 = 3;

/// The time of so many samples.
fn to_millis(samples: u64) -> u64 {
    samples.saturating_mul(1_000).checked_div(u64::from(HZ)).unwrap_or(0)
}

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayCodec {
    /// G.711 in its µ-law form.
    Pcmu,
    /// G.711 in its A-law form.
    Pcma,
    /// 16 bits, the high byte first (RFC 3551 §4.5.11), 8,000 a second.
    L16,
}

/// Samples at [`HZ`], one channel.
#[derive(Clone, Debug)]
pub struct Clip(Arc<[i16]>);

impl Clip {
    /// Of its samples; `None` when there is none, or more than 2³¹.
    pub fn new(samples: impl Into<Arc<[i16]>>) -> Option<Self> {
        let samples = samples.into();
        let fits = !samples.is_empty() && i32::try_from(samples.len()).is_ok();
        fits.then_some(Self(samples))
    }

    /// 16-bit values at [`HZ`], in the order of time.
    pub fn samples(&self) -> &[i16] {
        &self.0
    }

    /// Its length in milliseconds.
    pub fn millis(&self) -> u64 {
        to_millis(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }
}

/// How a clip is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    /// How often; 0 = until the time is up.
    pub times: u32,
    /// Milliseconds at most, all passes together; 0 = no limit.
    pub limit_ms: u64,
    /// Where the first pass begins, in milliseconds.
    pub start_ms: u64,
}

#[derive(Debug)]
enum Content {
    Clip { clip: Clip, codec: PlayCodec, start: u64, end: u64 },
    Event { event: u8, volume: u8, ticks: u32 },
}

/// One SSRC of ours towards a party: its sequence and timestamps.
#[derive(Debug)]
pub struct Voice {
    ssrc: u32,
    sequence: AtomicU32,
    timestamp: AtomicU32,
    /// The latest tick, ns.
    at: AtomicU64,
}

impl Voice {
    /// From random bytes. The sequence begins in the lower half (RFC 3711 §3.3.1).
    pub fn new(random: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random;
        Self {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence: AtomicU32::new(u32::from(u16::from_be_bytes([e, f]) & 0x7FFF)),
            timestamp: AtomicU32::new(u32::from_be_bytes([g, h, i, j])),
            at: AtomicU64::new(0),
        }
    }

    /// Names our stream in every packet of it (RFC 3550 §3).
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// A new sound begins: its timestamps stand where the clock is.
    fn begin(&self, now: Mono) {
        let before = Mono(self.at.load(Relaxed));
        if before.0 != 0 {
            let ms = now.since(before).saturating_sub(TICK).as_millis();
            let units = u32::try_from(ms.wrapping_mul(u128::from(HZ) / 1_000) & 0xFFFF_FFFF).unwrap_or(0);
            self.timestamp.fetch_add(units, Relaxed);
        }
    }
}

/// A sound or an event on its way to a party.
#[derive(Debug)]
pub struct Playing {
    voice: Arc<Voice>,
    payload_type: u8,
    content: Content,
    /// Ticks in all.
    ticks: u32,
    done: AtomicU32,
    /// Timestamp of the event.
    stamp: AtomicU32,
}

/// What a tick brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// A packet of so many bytes.
    Packet(usize),
    /// Nothing yet: a pause.
    Pause,
    /// It is over, and nothing follows.
    Over,
}

impl Playing {
    /// A clip, in a codec of the party under its payload type.
    pub fn clip(voice: Arc<Voice>, clip: Clip, codec: PlayCodec, payload_type: u8, how: Passes) -> Self {
        let length = u64::try_from(clip.0.len()).unwrap_or(u64::MAX);
        let of_ms = |ms: u64| ms.saturating_mul(u64::from(HZ) / 1_000);
        let start = of_ms(how.start_ms).min(length);
        let passes = match (how.times, how.limit_ms) {
            (0, 0) => 1,
            (0, _) => u64::MAX,
            (times, _) => u64::from(times),
        };
        let mut end = length.saturating_mul(passes);
        if how.limit_ms != 0 {
            end = end.min(start.saturating_add(of_ms(how.limit_ms)));
        }
        let ticks = end.saturating_sub(start).div_ceil(u64::from(SAMPLES));
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        Self::of(voice, payload_type, Content::Clip { clip, codec, start, end }, ticks)
    }

    /// A telephone event (RFC 4733 §2.3). `volume`: 0 to 63, dBm0 below nothing.
    pub fn event(
        voice: Arc<Voice>,
        payload_type: u8,
        event: u8,
        volume: u8,
        lasts: Duration,
        pause: Duration,
    ) -> Self {
        let of = |d: Duration| {
            let ticks = d.as_millis().div_ceil(TICK.as_millis().max(1));
            // The duration of an event is a word of 16 bits.
            u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, u32::from(u16::MAX) / SAMPLES)
        };
        let ticks = of(lasts);
        let all = ticks.saturating_add(of(pause).max(ENDS));
        Self::of(voice, payload_type, Content::Event { event, volume: volume.min(63), ticks }, all)
    }

    fn of(voice: Arc<Voice>, payload_type: u8, content: Content, ticks: u32) -> Self {
        let (done, stamp) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { voice, payload_type: payload_type & 0x7F, content, ticks, done, stamp }
    }

    /// Whether a party takes it that has these payload types of codecs, and of events (a bit for each).
    pub fn is_for(&self, codecs: &[Option<(u8, PlayCodec)>], events: u128) -> bool {
        match &self.content {
            Content::Clip { codec, .. } => codecs.contains(&Some((self.payload_type, *codec))),
            Content::Event { .. } => {
                events.checked_shr(u32::from(self.payload_type)).is_some_and(|rest| rest & 1 == 1)
            }
        }
    }

    /// Where a clip stands, in milliseconds from its beginning.
    pub fn position_ms(&self) -> u64 {
        let Content::Clip { clip, start, .. } = &self.content else { return 0 };
        let length = u64::try_from(clip.0.len()).unwrap_or(1).max(1);
        let done = u64::from(self.done.load(Relaxed)).saturating_mul(u64::from(SAMPLES));
        to_millis(start.saturating_add(done).checked_rem(length).unwrap_or(0))
    }

    /// The next tick's packet, written into `out`, which has room for [`PACKET_BYTES`].
    pub fn tick(&self, out: &mut [u8], now: Mono) -> Tick {
        let n = self.done.load(Relaxed);
        if n >= self.ticks {
            return Tick::Over;
        }
        if n == 0 {
            self.voice.begin(now);
        }
        self.done.store(n.wrapping_add(1), Relaxed);
        self.voice.at.store(now.0, Relaxed);
        let clock = self.voice.timestamp.fetch_add(SAMPLES, Relaxed);
        let (stamp, len) = match &self.content {
            Content::Clip { clip, codec, start, end } => {
                let from = start.saturating_add(u64::from(n).saturating_mul(u64::from(SAMPLES)));
                (clock, write_samples(clip, *codec, from, *end, out.get_mut(12..).unwrap_or_default()))
            }
            Content::Event { event, volume, ticks } => {
                if n == 0 {
                    self.stamp.store(clock, Relaxed);
                }
                let last = ticks.saturating_sub(1);
                if n >= last.saturating_add(ENDS) {
                    return Tick::Pause;
                }
                let lasted = n.min(last).saturating_add(1).saturating_mul(SAMPLES);
                let [high, low] = u16::try_from(lasted).unwrap_or(u16::MAX).to_be_bytes();
                let end = if n >= last { 0x80 } else { 0 };
                let Some(payload) = out.get_mut(12..16) else { return Tick::Pause };
                payload.copy_from_slice(&[*event, end | volume, high, low]);
                (self.stamp.load(Relaxed), 4)
            }
        };
        let Some(head) = out.first_chunk_mut::<12>() else { return Tick::Pause };
        let marker = if n == 0 { 0x80 } else { 0 };
        let [s0, s1] = (self.voice.sequence.fetch_add(1, Relaxed) as u16).to_be_bytes();
        let [t0, t1, t2, t3] = stamp.to_be_bytes();
        let [r0, r1, r2, r3] = self.voice.ssrc.to_be_bytes();
        *head = [0x80, marker | self.payload_type, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3];
        Tick::Packet(len.saturating_add(12))
    }
}

/// One packet's samples from place `from` on, over the end of a pass; silence behind `end`. Gives the bytes.
fn write_samples(clip: &Clip, codec: PlayCodec, from: u64, end: u64, out: &mut [u8]) -> usize {
    let length = u64::try_from(clip.0.len()).unwrap_or(1).max(1);
    let sample = |at: u64| {
        let place = at.checked_rem(length).and_then(|place| usize::try_from(place).ok());
        place.filter(|_| at < end).and_then(|place| clip.0.get(place)).copied().unwrap_or(0)
    };
    let samples = (from..from.saturating_add(u64::from(SAMPLES))).map(sample);
    match codec {
        PlayCodec::Pcmu => out.iter_mut().zip(samples).map(|(byte, s)| *byte = to_pcmu(s)).count(),
        PlayCodec::Pcma => out.iter_mut().zip(samples).map(|(byte, s)| *byte = to_pcma(s)).count(),
        PlayCodec::L16 => {
            let words = out.chunks_exact_mut(2).zip(samples);
            words.map(|(word, s)| word.copy_from_slice(&s.to_be_bytes())).count().saturating_mul(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711::from_pcmu;
    use crate::rtp::RtpView;

    const MS: u64 = 1_000_000;

    fn voice() -> Arc<Voice> {
        Arc::new(Voice::new([0, 0, 0, 7, 0xFF, 0xFE, 0, 0, 1, 0]))
    }

    /// All packets, with the tick of each.
    fn all(playing: &Playing, from_ms: u64) -> Vec<(u64, Vec<u8>)> {
        let mut out = [0; PACKET_BYTES];
        let mut packets = Vec::new();
        for n in 0.. {
            match playing.tick(&mut out, Mono((from_ms + n * 20) * MS)) {
                Tick::Packet(len) => packets.push((n, out[..len].to_vec())),
                Tick::Pause => {}
                Tick::Over => break,
            }
        }
        packets
    }

    fn ramp(samples: usize) -> Clip {
        Clip::new((0..samples).map(|n| (n % 4_000) as i16 * 8).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_clip_is_one_stream_of_20_ms_with_a_marker_at_its_beginning() {
        let voice = voice();
        let clip = ramp(400);
        assert_eq!(clip.millis(), 50);
        let how = Passes { times: 1, ..Passes::default() };
        for (at, first_stamp) in [(1_000, 256), (9_000, 256 + 8_000 * 8)] {
            let playing = Playing::clip(Arc::clone(&voice), clip.clone(), PlayCodec::Pcmu, 0, how);
            let packets = all(&playing, at);
            assert_eq!(packets.len(), 3);
            for (n, packet) in &packets {
                let rtp = RtpView::parse(packet).unwrap();
                assert_eq!((rtp.ssrc(), rtp.payload_type(), rtp.payload().len()), (7, 0, 160));
                assert_eq!(packet[1] & 0x80 != 0, *n == 0, "marker");
                assert_eq!(rtp.timestamp(), first_stamp + *n as u32 * 160);
                let second = if at == 1_000 { 0 } else { 3 };
                assert_eq!(rtp.sequence(), 0x7FFE + second + *n as u16);
            }
            // Behind the end there is silence.
            let last = RtpView::parse(&packets[2].1).unwrap().payload().to_vec();
            assert!(
                last[..80]
                    .iter()
                    .enumerate()
                    .all(|(n, b)| (i32::from(from_pcmu(*b)) - (320 + n as i32) * 8).abs() < 90)
            );
            assert!(last[80..].iter().all(|b| *b == 0xFF));
        }
    }

    #[test]
    fn passes_limit_and_start_say_how_long_it_is() {
        let count = |times, limit_ms, start_ms| {
            let how = Passes { times, limit_ms, start_ms };
            let playing = Playing::clip(voice(), ramp(400), PlayCodec::Pcma, 8, how);
            let packets = all(&playing, 0).len();
            (packets, playing.position_ms())
        };
        assert_eq!(count(0, 0, 0).0, 3);
        assert_eq!(count(2, 0, 0).0, 5, "passes follow each other without a gap");
        assert_eq!(count(4, 60, 0).0, 3);
        assert_eq!(count(0, 1_000, 0).0, 50, "as often as the time lets it");
        assert_eq!(count(1, 0, 30).0, 1);
        assert_eq!(count(2, 0, 30).0, 4);
        assert_eq!(count(1, 0, 5_000).0, 0, "nothing behind the end");
        let playing = Playing::clip(voice(), ramp(8_000), PlayCodec::L16, 96, Passes::default());
        let mut out = [0; PACKET_BYTES];
        assert_eq!(playing.tick(&mut out, Mono(0)), Tick::Packet(PACKET_BYTES));
        assert_eq!((&out[12..18], playing.position_ms()), (&[0, 0, 0, 8, 0, 16][..], 20));
    }

    /// RFC 4733 §2.5.1: one timestamp, a duration that grows, the end said three times, then the pause.
    #[test]
    fn an_event_grows_and_its_end_is_said_three_times() {
        let (lasts, pause) = (Duration::from_millis(100), Duration::from_millis(100));
        let playing = Playing::event(voice(), 101, 5, 10, lasts, pause);
        let packets = all(&playing, 0);
        let said: Vec<(u64, Vec<u8>)> = packets.iter().map(|(n, p)| (*n, p[12..].to_vec())).collect();
        let word = |n: u16| (n * 160).to_be_bytes();
        let expect = |n: u64, e: u8, d: u16| (n, vec![5, e | 10, word(d)[0], word(d)[1]]);
        assert_eq!(
            said,
            [
                expect(0, 0, 1),
                expect(1, 0, 2),
                expect(2, 0, 3),
                expect(3, 0, 4),
                expect(4, 0x80, 5),
                expect(5, 0x80, 5),
                expect(6, 0x80, 5)
            ]
        );
        for (n, (_, packet)) in packets.iter().enumerate() {
            assert_eq!((packet[1], &packet[4..8]), (if n == 0 { 0xE5 } else { 101 }, &[0, 0, 1, 0][..]));
        }
        assert_eq!(playing.done.load(Relaxed), 10, "the pause is waited for");
    }
}
