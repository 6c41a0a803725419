//! Figures of one received stream, written by one shard thread and read by anybody.
//!
//! Relaxed atomics with a single writer: a store is a plain move, so a packet costs no locked instruction. Readers see
//! values that are each right, but not of one instant together.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::port::DropReason;
use crate::quality::{Impairment, mos_x100};

/// Live figures of what one local port (or port pair when muxed) received. Shared as `Arc` by shard and book.
///
/// The first cache line is what every packet writes.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct StreamCounters {
    /// RTP packets passed on (or counted on a held stream).
    pub packets: AtomicU64,
    /// RTP bytes, headers of RTP included, UDP and IP not.
    pub bytes: AtomicU64,
    /// RTP packets expected so far by sequence numbers, over all SSRCs (RFC 3550 A.3).
    pub expected: AtomicU64,
    /// RTP packets received that count against `expected`.
    pub received: AtomicU64,
    /// Latest packet of any accepted kind, `Mono` ns; 0 = none yet.
    pub last_packet_ns: AtomicU64,
    /// Sequence number of the latest packet, without its cycles.
    pub sequence: AtomicU32,
    /// RTP timestamp of the latest packet.
    pub timestamp: AtomicU32,
    /// Interarrival jitter, microseconds (RFC 3550 A.8).
    pub jitter_us: AtomicU32,
    /// Largest jitter seen, microseconds.
    pub jitter_max_us: AtomicU32,
    /// SSRC of the latest RTP packet that was let in.
    pub ssrc: AtomicU32,
    /// Payload type of the latest packet, 0 to 127.
    pub payload_type: AtomicU32,
    /// RTCP datagrams that were let in.
    pub rtcp_packets: AtomicU64,
    /// Bytes of those, UDP and IP headers not counted.
    pub rtcp_bytes: AtomicU64,
    /// Packets the socket would not send.
    pub send_errors: AtomicU64,
    /// Packets dropped, by reason.
    pub drops: [AtomicU64; DropReason::COUNT],
    /// Packets whose sequence number had come before.
    pub duplicates: AtomicU64,
    /// Packets that came after a later one.
    pub reordered: AtomicU64,
    /// Those of them that are [`crate::quality::LATE_PLACES`] or more behind.
    pub late: AtomicU64,
    /// Round trip between us and the receiver of this stream, microseconds; 0 = not known.
    pub rtt_us: AtomicU32,
    /// Latest sender report that passed: middle 32 bits of its NTP time, and when. For the round trip.
    pub(crate) sr_ntp_middle: AtomicU32,
    pub(crate) sr_at_ns: AtomicU64,
    /// First RTP packet, [`warp_model::Mono`] ns; 0 = none yet.
    pub first_packet_ns: AtomicU64,
    /// RTCP BYE packets seen. They end nothing (T-RTP-08).
    pub rtcp_byes: AtomicU64,
    /// Sender of the latest RTCP packet.
    pub rtcp_ssrc: AtomicU32,
}

/// Add to a counter of which this thread is the only writer.
#[inline]
pub fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// A plain copy of [`StreamCounters`], with the derived figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSnapshot {
    /// RTP packets that were let in.
    pub packets: u64,
    /// Bytes of those, RTP headers counted, UDP and IP not.
    pub bytes: u64,
    /// RTCP datagrams that were let in.
    pub rtcp_packets: u64,
    /// Bytes of those, UDP and IP headers not counted.
    pub rtcp_bytes: u64,
    /// Drops of all reasons but `NoDestination`, and send errors.
    pub errors: u64,
    /// RTP packets expected by sequence numbers.
    pub expected: u64,
    /// RTP packets lost (expected − received, never below 0).
    pub lost: u64,
    /// Packets whose sequence number had come before.
    pub duplicates: u64,
    /// Packets out of order.
    pub reordered: u64,
    /// Packets so far behind that a usual jitter buffer has played over them.
    pub late: u64,
    /// Interarrival jitter in microseconds (RFC 3550 §6.4.1).
    pub jitter_us: u32,
    /// Largest jitter in microseconds.
    pub jitter_max_us: u32,
    /// Round trip in microseconds, 0 = not known.
    pub rtt_us: u32,
    /// SSRC of the latest RTP packet that was let in.
    pub ssrc: u32,
    /// Sender of the latest RTCP packet.
    pub rtcp_ssrc: u32,
    /// Payload type of the latest packet, 0 to 127.
    pub payload_type: u8,
    /// Sequence number of the latest packet, without its cycles.
    pub sequence: u16,
    /// RTP timestamp of the latest packet.
    pub timestamp: u32,
    /// First RTP packet, `Mono` ns, 0 = none.
    pub first_packet_ns: u64,
    /// Latest packet, `Mono` ns, 0 = none.
    pub last_packet_ns: u64,
    /// Lost per 10,000 expected.
    pub loss_x10000: u32,
    /// Estimated MOS × 100 (E-model); 0 when no packet with a sequence number came.
    pub mos_x100: u16,
}

impl StreamCounters {
    /// Packets dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.index()).map_or(0, |c| c.load(Relaxed))
    }

    /// A copy of everything, with loss and MOS worked out. `rtt_far_us` adds the other leg's round trip (0 if unknown).
    pub fn snapshot(&self, rtt_far_us: u32) -> StreamSnapshot {
        let expected = self.expected.load(Relaxed);
        let lost = expected.saturating_sub(self.received.load(Relaxed));
        let loss_x10000 =
            u32::try_from(lost.saturating_mul(10_000).checked_div(expected).unwrap_or(0)).unwrap_or(10_000);
        let packets = self.packets.load(Relaxed);
        let (jitter_us, rtt_us) = (self.jitter_us.load(Relaxed), self.rtt_us.load(Relaxed));
        let mos = mos_x100(Impairment { loss_x10000, jitter_us, rtt_us: rtt_us.saturating_add(rtt_far_us) });
        StreamSnapshot {
            packets,
            bytes: self.bytes.load(Relaxed),
            rtcp_packets: self.rtcp_packets.load(Relaxed),
            rtcp_bytes: self.rtcp_bytes.load(Relaxed),
            errors: DropReason::ALL
                .into_iter()
                .filter(|r| *r != DropReason::NoDestination)
                .map(|r| self.dropped(r))
                .fold(self.send_errors.load(Relaxed), u64::saturating_add),
            expected,
            lost,
            duplicates: self.duplicates.load(Relaxed),
            reordered: self.reordered.load(Relaxed),
            late: self.late.load(Relaxed),
            jitter_us,
            jitter_max_us: self.jitter_max_us.load(Relaxed),
            rtt_us,
            ssrc: self.ssrc.load(Relaxed),
            rtcp_ssrc: self.rtcp_ssrc.load(Relaxed),
            payload_type: (self.payload_type.load(Relaxed) & 0x7F) as u8,
            sequence: (self.sequence.load(Relaxed) & 0xFFFF) as u16,
            timestamp: self.timestamp.load(Relaxed),
            first_packet_ns: self.first_packet_ns.load(Relaxed),
            last_packet_ns: self.last_packet_ns.load(Relaxed),
            loss_x10000,
            mos_x100: if expected == 0 { 0 } else { mos },
        }
    }
}
