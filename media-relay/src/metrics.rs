//! The metrics of the relay: the catalogue of `warp_media_*` names (`ref/metrics-and-dashboards`).
//!
//! Shards count in plain numbers while they handle a wake-up and add them here once at its end.

use std::time::Duration;

use warp_media::StreamSnapshot;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counter, Counters, Gauge, Histogram, Histograms, Registry};

label_enum! {
    /// Seen from WARP.
    pub enum Direction = "direction" { Ingress = "ingress", Egress = "egress" }
}
label_enum! {
    /// Which way a packet took.
    pub enum PacketPath = "path" { Kernel = "kernel", User = "user" }
}
label_enum! {
    /// Why a packet was not passed on.
    pub enum PacketError = "reason" {
        NoSession = "no_session", BadSsrc = "bad_ssrc", BadSource = "bad_source", SrtpAuth = "srtp_auth",
        SrtpReplay = "srtp_replay", Socket = "socket", Mtu = "mtu", Malformed = "malformed", Kind = "kind",
        Rate = "rate",
    }
}
label_enum! {
    /// ng commands.
    pub enum NgCommand = "command" {
        Ping = "ping", Offer = "offer", Answer = "answer", Delete = "delete", Query = "query", List = "list",
        Bad = "bad",
    }
}
label_enum! {
    /// How a command ended.
    pub enum NgResult = "result" { Ok = "ok", Error = "error", LoadLimit = "load_limit", Repeated = "repeated" }
}

/// A stream of which one side sent at least so many packets (a second of audio) and the other none is one-way.
const ONE_WAY_PACKETS: u64 = 50;

/// Everything the relay counts.
#[derive(Clone)]
pub struct Metrics {
    /// Calls in the book.
    pub sessions: Gauge,
    /// Local ports with a rule.
    pub streams: Gauge,
    /// Packets by direction and path.
    pub packets: Counters<(Direction, PacketPath)>,
    /// Bytes by direction and path.
    pub bytes: Counters<(Direction, PacketPath)>,
    /// Packets not passed on.
    pub packet_errors: Counters<PacketError>,
    /// RTP packets lost before us, counted when a stream ends.
    pub packets_lost: Counters<Direction>,
    /// RTP packets out of order, counted when a stream ends.
    pub packets_reordered: Counters<Direction>,
    /// RTP packets seen twice, counted when a stream ends.
    pub packets_duplicate: Counters<Direction>,
    /// MOS estimate, one observation per stream end.
    pub stream_mos: Histogram,
    /// Jitter, one observation per stream end.
    pub stream_jitter: Histogram,
    /// Loss ratio, one observation per stream end.
    pub stream_loss: Histogram,
    /// Round trips read from RTCP, one observation per stream end.
    pub rtt: Histogram,
    /// Wake-up to send, one packet in 1,024.
    pub forward_latency: Histograms<PacketPath>,
    /// Streams in which one side only sent media.
    pub one_way_sessions: Counter,
    /// Calls ended because no media came.
    pub silent_timeouts: Counter,
    /// Port pairs in use.
    pub ports_used: Gauge,
    /// Port pairs there are.
    pub ports: Gauge,
    /// ng commands.
    pub ng_requests: Counters<(NgCommand, NgResult)>,
    /// How long they took.
    pub ng_request_seconds: Histograms<NgCommand>,
    /// Panics caught in a shard or the control thread (G-1: stays 0).
    pub panics: Counter,
}

impl Metrics {
    /// Register all names at zero.
    pub fn new(r: &Registry) -> Self {
        const MOS: &[f64] = &[1.0, 2.0, 2.5, 3.0, 3.3, 3.6, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4];
        const JITTER: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1];
        const LOSS: &[f64] = &[0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1];
        const RTT: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
        const FORWARD: &[f64] =
            &[0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005];
        Self {
            sessions: r.gauge("warp_media_sessions", "Calls that the relay holds."),
            streams: r.gauge("warp_media_streams", "Local ports with a forward rule."),
            packets: r.counters("warp_media_packets_total", "RTP and RTCP packets received and sent on."),
            bytes: r.counters("warp_media_bytes_total", "Bytes of those packets (UDP payload)."),
            packet_errors: r.counters("warp_media_packet_errors_total", "Packets not passed on, by reason."),
            packets_lost: r
                .counters("warp_media_packets_lost_total", "RTP packets lost before they came here."),
            packets_reordered: r.counters("warp_media_packets_reordered_total", "RTP packets out of order."),
            packets_duplicate: r.counters("warp_media_packets_duplicate_total", "RTP packets seen twice."),
            stream_mos: r.histogram("warp_media_stream_mos", "Estimated MOS of ended streams.", MOS),
            stream_jitter: r.histogram(
                "warp_media_stream_jitter_seconds",
                "Jitter of ended streams.",
                JITTER,
            ),
            stream_loss: r.histogram("warp_media_stream_loss_ratio", "Loss of ended streams.", LOSS),
            rtt: r.histogram("warp_media_rtt_seconds", "Round trips from RTCP.", RTT),
            forward_latency: r.histograms(
                "warp_media_forward_latency_seconds",
                "Wake-up to packet sent, one in 1,024.",
                FORWARD,
            ),
            one_way_sessions: r
                .counter("warp_media_one_way_sessions_total", "Streams with media of one side only."),
            silent_timeouts: r.counter("warp_media_silent_timeouts_total", "Calls ended for want of media."),
            ports_used: r.gauge("warp_media_ports_used", "Port pairs in use."),
            ports: r.gauge("warp_media_ports", "Port pairs of the range, over all addresses."),
            ng_requests: r.counters("warp_media_ng_requests_total", "ng commands by result."),
            ng_request_seconds: r.histograms(
                "warp_media_ng_request_seconds",
                "Time to carry out an ng command.",
                warp_telemetry::metrics::LATENCY_SECONDS,
            ),
            panics: r.counter("warp_media_panics_total", "Panics caught in a thread of the relay."),
        }
    }

    /// A stream has ended: count the figures of both directions.
    pub fn stream_ended(&self, both: &[StreamSnapshot; 2]) {
        let [a, b] = both.each_ref().map(|s| s.packets);
        if (a == 0 && b >= ONE_WAY_PACKETS) || (b == 0 && a >= ONE_WAY_PACKETS) {
            self.one_way_sessions.inc(());
        }
        for direction in both {
            self.direction_ended(direction);
        }
    }

    fn direction_ended(&self, s: &StreamSnapshot) {
        if s.packets == 0 {
            return;
        }
        self.packets_lost.add(Direction::Ingress, s.lost);
        self.packets_reordered.add(Direction::Ingress, s.reordered);
        self.packets_duplicate.add(Direction::Ingress, s.duplicates);
        self.stream_mos.observe_value((), f64::from(s.mos_x100) / 100.0);
        self.stream_jitter.observe((), Duration::from_micros(u64::from(s.jitter_us)));
        self.stream_loss.observe_value((), f64::from(s.loss_x10000) / 10_000.0);
        if s.rtt_us > 0 {
            self.rtt.observe((), Duration::from_micros(u64::from(s.rtt_us)));
        }
    }
}
