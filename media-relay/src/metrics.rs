//! The metrics of the relay: the catalogue of `warp_media_*` names (`ref/metrics-and-dashboards`).
//!
//! Trunks come as the `label` of ng commands, which our own proxy sets to a trunk's public id. Whatever is not such an id
//! counts under `_other`; so does every trunk beyond [`TRUNKS`]. The relay does not know which trunks exist: the series of
//! one go 15 minutes after its last stream.
//!
//! Shards count in plain numbers while they handle a wake-up and add them here once at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use warp_media::StreamSnapshot;
use warp_model::Mono;
use warp_model::id::{TrunkId, VendorTrunkId};
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{
    Counter, Counters, Gauge, Gauges, Histogram, Histograms, Keyed, OTHER, Registry,
};

use crate::core::exhausted::Exhausted;
use crate::core::ledger::Traffic;
use crate::core::negotiate::Class;
use crate::core::ports::Ports;
use crate::core::{EndedStream, StreamKind};

label_enum! {
    /// Which way a packet goes, seen from WARP.
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
    /// The command of an ng request; `bad` is one that could not be read.
    pub enum NgCommand = "command" {
        Ping = "ping", Offer = "offer", Answer = "answer", Delete = "delete", Query = "query", List = "list",
        Statistics = "statistics", Keep = "keep", Play = "play",
        Record = "record", Bad = "bad",
    }
}
label_enum! {
    /// What a stream was negotiated to carry.
    pub enum Codec = "codec" {
        Pcmu = "pcmu", Pcma = "pcma", G722 = "g722", G729 = "g729", Opus = "opus", Amr = "amr", AmrWb = "amrwb",
        TelephoneEvent = "telephone-event", T38 = "t38", Other = "other",
    }
}
label_enum! {
    /// How a stream is protected, as far as its SDP says.
    pub enum Srtp = "srtp" { None = "none", Sdes = "sdes", Dtls = "dtls" }
}

impl Codec {
    /// Of a negotiated stream.
    pub fn of(kind: &StreamKind) -> Self {
        if kind.class == Class::Raw {
            return Self::T38;
        }
        let name = kind.codec.split(|b| *b == b'/').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_slice() {
            b"pcmu" => Self::Pcmu,
            b"pcma" => Self::Pcma,
            b"g722" => Self::G722,
            b"g729" | b"g729a" => Self::G729,
            b"opus" => Self::Opus,
            b"amr" => Self::Amr,
            b"amr-wb" => Self::AmrWb,
            b"telephone-event" => Self::TelephoneEvent,
            _ => Self::Other,
        }
    }
}

/// Trunks with series of their own.
pub const TRUNKS: usize = 2_000;
/// How often trunks without streams are looked for.
const RETIRE_EVERY: Duration = Duration::from_secs(60);

/// The `trunk` label for what a command says: a public id of a trunk or a vendor trunk, else `_other`.
fn trunk(label: Option<&[u8]>) -> &str {
    let text = label.and_then(|l| std::str::from_utf8(l).ok());
    let is_id = |t: &&str| t.parse::<TrunkId>().is_ok() || t.parse::<VendorTrunkId>().is_ok();
    text.filter(is_id).unwrap_or(OTHER)
}

label_enum! {
    /// How a command ended.
    pub enum NgResult = "result" { Ok = "ok", Error = "error", LoadLimit = "load_limit", Repeated = "repeated" }
}

label_enum! {
    /// What became of a word to `b2b_url`.
    pub enum CallbackResult = "result" { Ok = "ok", Failed = "failed", Dropped = "dropped" }
}

label_enum! {
    /// What offers were refused for the want of.
    pub enum Pool = "pool" {
        Ports = "ports", Descriptors = "descriptors", Sessions = "sessions", Branches = "branches",
        CallPorts = "call_ports", Mailbox = "mailbox",
    }
}

impl Pool {
    /// Of what a refusal says.
    pub fn of(what: Exhausted) -> Self {
        match what {
            Exhausted::Ports => Self::Ports,
            Exhausted::Descriptors => Self::Descriptors,
            Exhausted::Sessions => Self::Sessions,
            Exhausted::Branches => Self::Branches,
            Exhausted::CallPorts => Self::CallPorts,
        }
    }
}

label_enum! {
    /// What a recording is doing.
    pub enum RecordState = "state" { Active = "active", Paused = "paused" }
}

label_enum! {
    /// Why a packet is not in its recording.
    pub enum RecordLoss = "reason" { Ring = "ring", Late = "late", Ended = "ended" }
}

label_enum! {
    /// Why a recording was deleted.
    pub enum RecordGone = "reason" { Age = "age", Bytes = "bytes" }
}

/// A stream of which one side sent at least so many packets (a second of audio) and the other none is one-way.
const ONE_WAY_PACKETS: u64 = 50;

/// Everything the relay counts.
#[derive(Clone)]
pub struct Metrics {
    /// Calls in the book.
    pub sessions: Gauge,
    /// Negotiated media, each direction apart.
    pub streams: Gauges<(Codec, Srtp)>,
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
    /// RTP packets out of order by so much that a usual jitter buffer has played over them, counted when a stream ends.
    pub packets_late: Counters<Direction>,
    /// MOS estimate by trunk, one observation per stream end.
    pub stream_mos: Keyed<Histogram>,
    /// Jitter by trunk, one observation per stream end.
    pub stream_jitter: Keyed<Histogram>,
    /// Loss ratio by trunk, one observation per stream end.
    pub stream_loss: Keyed<Histogram>,
    /// Round trips read from RTCP, one observation per stream end.
    pub rtt: Histogram,
    /// Wake-up to send, one packet in 1,024.
    pub forward_latency: Histograms<PacketPath>,
    /// Streams in which one side only sent media.
    pub one_way_sessions: Counter,
    /// Calls ended because no media came.
    pub silent_timeouts: Counter,
    /// Words to `b2b_url` about them.
    pub callbacks: Counters<CallbackResult>,
    /// Offers refused because every port pair was in use.
    pub ports_exhausted: Counter,
    /// Commands refused because something had run out, by what it was.
    pub exhausted: Counters<Pool>,
    /// Port pairs given before their rest was over, because no rested one was left.
    pub ports_given_early: Counter,
    /// Port pairs in use, with the indexes of the addresses of each interface.
    ports_used: Arc<[(Gauge, Vec<u8>)]>,
    /// ng commands, by command and by result.
    pub ng_requests: Counters<(NgCommand, NgResult)>,
    /// How long they took.
    pub ng_request_seconds: Histograms<(NgCommand, NgResult)>,
    /// Calls that are being recorded.
    pub recordings: Gauges<RecordState>,
    /// Packets that are not in their recording.
    pub record_lost: Counters<RecordLoss>,
    /// Recordings that were deleted.
    pub record_gone: Counters<RecordGone>,
    /// What of recordings could not be written.
    pub record_errors: Counter,
    /// Panics caught in a shard or the control thread (G-1: stays 0).
    pub panics: Counter,
    /// When trunks were last retired, [`Mono`] ns.
    retired: Arc<AtomicU64>,
}

impl Metrics {
    /// Register all names at zero. `interfaces` names the addresses of `ports`, by position.
    pub fn new(r: &Registry, interfaces: &[String], ports: &dyn Ports) -> Self {
        const MOS: &[f64] = &[1.0, 2.0, 2.5, 3.0, 3.3, 3.6, 3.8, 4.0, 4.1, 4.2, 4.3, 4.4];
        const JITTER: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1];
        const LOSS: &[f64] = &[0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1];
        const RTT: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
        const FORWARD: &[f64] =
            &[0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005];
        let by_trunk = |name, help, bounds| {
            let family: Keyed<Histogram> = r.keyed(name, help, "trunk", TRUNKS, bounds);
            family.of(OTHER);
            family
        };
        Self {
            sessions: r.gauge("warp_media_sessions", "Calls whose media the relay carries now."),
            streams: r.gauges(
                "warp_media_streams",
                "Media streams agreed on now, each direction by itself, by codec.",
            ),
            packets: r.counters("warp_media_packets_total", "RTP and RTCP packets received and sent on."),
            bytes: r.counters(
                "warp_media_bytes_total",
                "Bytes of RTP and RTCP packets received and sent on, without the heads of UDP and IP.",
            ),
            packet_errors: r.counters("warp_media_packet_errors_total", "Packets not passed on, by reason."),
            packets_lost: r
                .counters("warp_media_packets_lost_total", "RTP packets lost before they came here."),
            packets_reordered: r
                .counters("warp_media_packets_reordered_total", "RTP packets that came out of order."),
            packets_duplicate: r
                .counters("warp_media_packets_duplicate_total", "RTP packets that came twice."),
            packets_late: r.counters(
                "warp_media_packets_late_total",
                "RTP packets five or more places behind, too late for a usual jitter buffer.",
            ),
            stream_mos: by_trunk(
                "warp_media_stream_mos",
                "Estimated quality of ended streams, 1 (bad) to 4.5 (as good as a telephone gets).",
                MOS,
            ),
            stream_jitter: by_trunk("warp_media_stream_jitter_seconds", "Jitter of ended streams, in seconds.", JITTER),
            stream_loss: by_trunk("warp_media_stream_loss_ratio", "Share of the packets of ended streams that were lost, from 0 to 1.", LOSS),
            rtt: r.histogram(
                "warp_media_rtt_seconds",
                "Round-trip times that the phones report by RTCP, in seconds.",
                RTT,
            ),
            forward_latency: r.histograms(
                "warp_media_forward_latency_seconds",
                "Time from reading a packet to sending it on, of one packet in 1,024, in seconds.",
                FORWARD,
            ),
            one_way_sessions: r.counter(
                "warp_media_one_way_sessions_total",
                "Ended calls in which one side sent media and the other none.",
            ),
            silent_timeouts: r
                .counter("warp_media_silent_timeouts_total", "Calls ended because no media came any more."),
            callbacks: r.counters(
                "warp_media_timeout_callbacks_total",
                "XML-RPC calls that tell the address given as b2b_url of a call without media, by what became of them.",
            ),
            ports_exhausted: r.counter(
                "warp_media_ports_exhausted_total",
                "Offers refused because every media port was in use.",
            ),
            exhausted: r.counters(
                "warp_media_exhausted_total",
                "Commands refused because something of the relay had run out, by what it was.",
            ),
            ports_given_early: r.counter(
                "warp_media_ports_given_early_total",
                "Port pairs given again before their ten seconds of rest, because no rested pair was left.",
            ),
            ports_used: port_gauges(r, interfaces, ports),
            ng_requests: r.counters("warp_media_ng_requests_total", "Commands of the ng control protocol, by what they were and how they ended."),
            ng_request_seconds: r.histograms(
                "warp_media_ng_request_seconds",
                "Time to carry out a command of the ng control protocol, in seconds.",
                warp_telemetry::metrics::LATENCY_SECONDS,
            ),
            recordings: r.gauges("warp_media_recordings", "Calls that are being recorded now, or whose recording pauses."),
            record_lost: r.counters(
                "warp_media_recording_packets_lost_total",
                "Packets of recorded calls that are not in the recording, by reason. The calls had them.",
            ),
            record_gone: r.counters(
                "warp_media_recordings_deleted_total",
                "Recordings deleted because they were too old, or all of them too large.",
            ),
            record_errors: r.counter(
                "warp_media_recording_errors_total",
                "Times that something of a recording could not be written: a full disk, a folder without rights.",
            ),
            panics: r
                .counter("warp_media_panics_total", "Faults of ours that a thread of the relay survived."),
            retired: Arc::default(),
        }
    }

    /// Packets sent on, and those not passed on, since the start.
    pub fn traffic(&self) -> Traffic {
        let sent = |family: &Counters<(Direction, PacketPath)>| {
            PacketPath::ALL.iter().map(|path| family.value((Direction::Egress, *path))).sum()
        };
        let (packets, bytes) = (sent(&self.packets), sent(&self.bytes));
        Traffic { packets, bytes, errors: self.packet_errors.total() }
    }

    /// `by` more streams of this kind; nothing when there is none.
    pub fn streams_changed(&self, kind: Option<&StreamKind>, by: i64) {
        if let Some(kind) = kind {
            let srtp = if kind.class == Class::Srtp { Srtp::Sdes } else { Srtp::None };
            self.streams.add((Codec::of(kind), srtp), by);
        }
    }

    /// So many calls are being recorded, and the recordings of so many pause.
    pub fn recordings(&self, active: usize, paused: usize) {
        for (state, count) in [(RecordState::Active, active), (RecordState::Paused, paused)] {
            self.recordings.set(state, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Port pairs in use now.
    pub fn ports_in_use(&self, ports: &dyn Ports) {
        for (gauge, addresses) in &*self.ports_used {
            let used: usize = addresses.iter().map(|ip| ports.usage(*ip).0).sum();
            gauge.set((), i64::try_from(used).unwrap_or(i64::MAX));
        }
    }

    /// A stream has ended: count the figures of both directions.
    pub fn stream_ended(&self, stream: &EndedStream, now: Mono) {
        let both = &stream.figures;
        let [a, b] = both.each_ref().map(|s| s.packets);
        let one_way = (a == 0 && b >= ONE_WAY_PACKETS) || (b == 0 && a >= ONE_WAY_PACKETS);
        // What the offerer sent to a branch that lost counts where the call was answered.
        if one_way && !stream.shared {
            self.one_way_sessions.inc(());
        }
        for (direction, label) in both.iter().zip(&stream.labels) {
            self.direction_ended(direction, trunk(label.as_deref()));
        }
        if now.since(Mono(self.retired.load(Ordering::Relaxed))) >= RETIRE_EVERY {
            self.retired.store(now.0, Ordering::Relaxed);
            for family in [&self.stream_mos, &self.stream_jitter, &self.stream_loss] {
                family.retire(|_| false, now);
            }
        }
    }

    fn direction_ended(&self, s: &StreamSnapshot, trunk: &str) {
        // Fax has no sequence numbers to judge by.
        if s.expected == 0 {
            return;
        }
        self.packets_late.add(Direction::Ingress, s.late);
        self.packets_lost.add(Direction::Ingress, s.lost);
        self.packets_reordered.add(Direction::Ingress, s.reordered);
        self.packets_duplicate.add(Direction::Ingress, s.duplicates);
        self.stream_mos.of(trunk).observe_value((), f64::from(s.mos_x100) / 100.0);
        self.stream_jitter.of(trunk).observe((), Duration::from_micros(u64::from(s.jitter_us)));
        self.stream_loss.of(trunk).observe_value((), f64::from(s.loss_x10000) / 10_000.0);
        if s.rtt_us > 0 {
            self.rtt.observe((), Duration::from_micros(u64::from(s.rtt_us)));
        }
    }
}

/// Sets the gauge of ports there are, and makes the one of those in use, by interface.
fn port_gauges(r: &Registry, interfaces: &[String], ports: &dyn Ports) -> Arc<[(Gauge, Vec<u8>)]> {
    let cap = interfaces.len().max(1);
    let used: Keyed<Gauge> =
        r.keyed("warp_media_ports_used", "Port pairs in use on an interface.", "interface", cap, ());
    let all: Keyed<Gauge> = r.keyed(
        "warp_media_ports",
        "Port pairs that there are on an interface: one for each party of a call.",
        "interface",
        cap,
        (),
    );
    let mut by_name: std::collections::BTreeMap<&str, Vec<u8>> = std::collections::BTreeMap::new();
    for (name, ip) in interfaces.iter().zip(0..=u8::MAX) {
        by_name.entry(name).or_default().push(ip);
    }
    let gauge = |(name, addresses): (&str, Vec<u8>)| {
        let pairs: usize = addresses.iter().map(|ip| ports.usage(*ip).1).sum();
        all.of(name).set((), i64::try_from(pairs).unwrap_or(i64::MAX));
        (used.of(name), addresses)
    };
    by_name.into_iter().map(gauge).collect()
}
