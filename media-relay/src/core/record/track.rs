//! Packets of one leg as samples in time.
//!
//! Time is that of the recording: 8,000 samples a second from its beginning, whether somebody speaks or not. Where a packet
//! stands follows from its RTP timestamp, so that jitter moves nothing, a packet that is lost leaves silence of its length
//! and one out of order goes into its place. A source that is new, or whose timestamps are off the clock by more than
//! [`SLACK`], stands where it came. Bounded: what is not taken yet is never longer than the time since it was, and [`SLACK`].

use std::collections::VecDeque;
use std::time::Duration;

use warp_media::g711::{from_pcma, from_pcmu};
use warp_media::play::{HZ, PlayCodec};

/// How far timestamps may be off the clock.
pub const SLACK: Duration = Duration::from_millis(500);
const SLACK_SAMPLES: u64 = 4_000;
/// Samples of one packet at most.
const PACKET_SAMPLES: usize = 2_048;

/// So many samples last that long.
pub fn samples_of(d: Duration) -> u64 {
    u64::try_from(d.as_micros().saturating_mul(u128::from(HZ)) / 1_000_000).unwrap_or(u64::MAX)
}

/// Who is heard, and where its last packet stands.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    timestamp: u32,
    place: u64,
}

/// The samples of one leg that are not written yet.
#[derive(Debug, Default)]
pub struct Track {
    taken: u64,
    waiting: VecDeque<i16>,
    source: Option<Source>,
    late: u64,
}

/// What one packet says.
#[derive(Clone, Copy, Debug)]
pub struct Speech<'b> {
    /// Whose (RFC 3550 §3).
    pub ssrc: u32,
    /// In units of 8,000 Hz.
    pub timestamp: u32,
    /// How it is written.
    pub codec: PlayCodec,
    /// The samples as they came.
    pub payload: &'b [u8],
}

fn samples<'b>(codec: PlayCodec, payload: &'b [u8]) -> impl Iterator<Item = i16> + 'b {
    let width = if codec == PlayCodec::L16 { 2 } else { 1 };
    payload.chunks_exact(width).take(PACKET_SAMPLES).map(move |bytes| match (codec, bytes) {
        (PlayCodec::Pcmu, [byte]) => from_pcmu(*byte),
        (PlayCodec::Pcma, [byte]) => from_pcma(*byte),
        (PlayCodec::L16, [high, low]) => i16::from_be_bytes([*high, *low]),
        _ => 0,
    })
}

impl Track {
    /// Puts a packet that came `now` samples after the beginning into its place.
    pub fn put(&mut self, speech: Speech<'_>, now: u64) {
        let length = speech.payload.len() / if speech.codec == PlayCodec::L16 { 2 } else { 1 };
        let length = u64::try_from(length.min(PACKET_SAMPLES)).unwrap_or(0);
        // It came when it had been said.
        let came = now.saturating_sub(length);
        let told = self.source.filter(|s| s.ssrc == speech.ssrc).and_then(|s| {
            let ahead = speech.timestamp.wrapping_sub(s.timestamp) as i32;
            s.place.checked_add_signed(i64::from(ahead))
        });
        let place = told.filter(|place| place.abs_diff(came) <= SLACK_SAMPLES).unwrap_or(came);
        // One that comes late says nothing of those that follow.
        if self.source.is_none_or(|s| s.ssrc != speech.ssrc || s.place <= place || told != Some(place)) {
            self.source = Some(Source { ssrc: speech.ssrc, timestamp: speech.timestamp, place });
        }
        let skip = self.taken.saturating_sub(place);
        if skip >= length {
            self.late = self.late.saturating_add(u64::from(length > 0));
            return;
        }
        let begin = usize::try_from(place.max(self.taken).saturating_sub(self.taken)).unwrap_or(0);
        let end = begin.saturating_add(usize::try_from(length.saturating_sub(skip)).unwrap_or(0));
        if self.waiting.len() < end {
            self.waiting.resize(end, 0);
        }
        let skip = usize::try_from(skip).unwrap_or(0);
        let said = samples(speech.codec, speech.payload).skip(skip);
        self.waiting.range_mut(begin..end).zip(said).for_each(|(place, sample)| *place = sample);
    }

    /// Takes the next `count` samples, silence where nothing was said. False: all of them are silence, and `out` is empty.
    pub fn take(&mut self, count: usize, out: &mut Vec<i16>) -> bool {
        out.clear();
        self.taken = self.taken.saturating_add(u64::try_from(count).unwrap_or(0));
        let there = count.min(self.waiting.len());
        if there == 0 {
            return false;
        }
        out.extend(self.waiting.drain(..there));
        out.resize(count, 0);
        true
    }

    /// Packets that came after their place had been written.
    pub fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_media::g711::to_pcmu;

    /// 20 ms of one value.
    fn put(track: &mut Track, ssrc: u32, timestamp: u32, value: i16, now_ms: u64) {
        let payload = [to_pcmu(value); 160];
        let speech = Speech { ssrc, timestamp, codec: PlayCodec::Pcmu, payload: &payload };
        track.put(speech, now_ms * 8);
    }

    /// The values of so many packets' time from where it stands.
    fn taken(track: &mut Track, packets: usize) -> Vec<i32> {
        let mut out = Vec::new();
        let mut all = Vec::new();
        for _ in 0..packets {
            if !track.take(160, &mut out) {
                out = vec![0; 160];
            }
            assert!(out.iter().all(|s| *s == out[0]), "one packet's place: {out:?}");
            all.push((f64::from(out[0]) / 1_000.0).round() as i32);
        }
        all
    }

    #[test]
    fn lost_late_and_doubled_packets_leave_everything_else_in_its_place() {
        let mut track = Track::default();
        // 1, 2, lost, 5 before 4, 4 twice; the network is late by up to 60 ms.
        for (n, came) in [(1u32, 20), (2, 95), (5, 100), (4, 110), (4, 111), (6, 180)] {
            put(&mut track, 7, 1_000 + n * 160, n as i16 * 1_000, came);
        }
        assert_eq!(taken(&mut track, 8), [1, 2, 0, 4, 5, 6, 0, 0]);
        // Too late: its place is written.
        put(&mut track, 7, 1_000 + 3 * 160, 3_000, 200);
        assert_eq!(track.late(), 1);
        put(&mut track, 7, 1_000 + 9 * 160, 9_000, 200);
        assert_eq!(taken(&mut track, 2), [9, 0]);
    }

    #[test]
    fn a_pause_is_as_long_as_it_was() {
        let mut track = Track::default();
        put(&mut track, 7, 0, 1_000, 1_020);
        assert_eq!(taken(&mut track, 52)[49..], [0, 1, 0]);
        // Silence suppression: the timestamps go on with the clock.
        put(&mut track, 7, 8_000 * 4, 2_000, 5_020);
        let all = taken(&mut track, 200);
        assert_eq!(all.iter().position(|v| *v == 2), Some(250 - 52));
        // A source that starts its timestamps anew stands where it came.
        put(&mut track, 7, 77, 3_000, 6_020);
        let all = taken(&mut track, 50);
        assert_eq!(all.iter().position(|v| *v == 3), Some(300 - 252));
    }

    #[test]
    fn another_source_stands_where_it_came_and_timestamps_may_wrap() {
        let mut track = Track::default();
        put(&mut track, 7, u32::MAX - 159, 1_000, 20);
        put(&mut track, 7, 0, 2_000, 41);
        put(&mut track, 8, 999_999, 3_000, 60);
        put(&mut track, 8, 999_999 + 160, 4_000, 85);
        assert_eq!(taken(&mut track, 4), [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_stranger_to_all_rules_sends_stays_within_bounds() {
        let mut track = Track::default();
        let mut random = 5u32;
        for n in 0..50_000u64 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            put(&mut track, random >> 30, random.rotate_left(7), 1, n / 10);
            assert!(track.waiting.len() as u64 <= n / 10 * 8 + SLACK_SAMPLES + 160);
        }
        let mut out = Vec::new();
        track.take(usize::from(u16::MAX), &mut out);
        let speech = Speech { ssrc: 1, timestamp: 2, codec: PlayCodec::L16, payload: &[0x12, 0x34, 0x56] };
        let mut track = Track::default();
        track.put(speech, 1);
        assert!(track.take(2, &mut out));
        assert_eq!(out, [0x1234, 0]);
        track.put(Speech { payload: &[], ..speech }, 1);
        assert_eq!(track.late(), 0);
    }

    #[test]
    fn a_time_has_its_samples() {
        assert_eq!(samples_of(Duration::from_millis(20)), 160);
        assert_eq!(samples_of(SLACK), SLACK_SAMPLES);
        assert_eq!(samples_of(Duration::from_micros(999_999)), 7_999);
    }
}
