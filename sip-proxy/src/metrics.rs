//! The catalogue of `warp_sip_*` metrics (`ref/metrics-and-dashboards` §2) for what exists.
//!
//! Counting is one relaxed add on the shard's own cells. Counters that the core keeps itself ([`CoreStats`]) are carried over
//! once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use warp_sip::message::{Method as SipMethod, kind_of};
use warp_telemetry::Registry;
use warp_telemetry::health::RequestSeconds;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{
    Counter, Counters, Gauge, Gauges, Histograms, Kind, LATENCY_SECONDS, Label, Sample,
};

use crate::core::overload::FULL;
use crate::core::{CoreStats, MessageKind};

mod calls;

pub(crate) use calls::{CallCounter, CallMetrics};

label_enum! {
    /// SIP methods, of requests and of what responses answer.
    pub enum Method = "method" {
        Invite = "INVITE", Ack = "ACK", Bye = "BYE", Cancel = "CANCEL", Options = "OPTIONS", Register = "REGISTER",
        Prack = "PRACK", Update = "UPDATE", Info = "INFO", Refer = "REFER", Subscribe = "SUBSCRIBE",
        Notify = "NOTIFY", Message = "MESSAGE", Publish = "PUBLISH", Other = "other",
    }
}
label_enum! {
    /// Which way a message goes, seen from WARP.
    pub enum Direction = "direction" { Ingress = "ingress", Egress = "egress" }
}
label_enum! {
    /// The transport that carried the message.
    pub enum Via = "transport" { Udp = "udp", Tcp = "tcp", Tls = "tls", Ws = "ws", Wss = "wss" }
}
label_enum! {
    /// Why a message was dropped.
    pub enum Dropped = "reason" {
        Acl = "acl", RateLimit = "rate_limit", Overload = "overload", Loop = "loop", MaxForwards = "max_forwards",
        Malformed = "malformed", Scanner = "scanner", Stray = "stray", Spoofed = "spoofed",
        Destination = "destination",
    }
}
label_enum! {
    /// What came of digest authentication.
    pub enum Auth = "result" {
        Ok = "ok", Challenge = "challenge", BadCredentials = "bad_credentials", Stale = "stale", Unknown = "unknown",
    }
}
label_enum! {
    /// What came of a REGISTER whose sender had signed in.
    pub enum Register = "result" { Ok = "ok", Refused = "refused" }
}
label_enum! {
    /// What became of a call whose account has money that its node has not yet.
    pub enum CreditWait = "result" { Waited = "waited", Full = "full" }
}
label_enum! {
    /// What could not be read: a message, or where messages of a stream end.
    pub enum ParseError = "reason" { Message = "message", Framing = "framing" }
}
label_enum! {
    /// Which way the repetition went, seen from WARP.
    pub enum Repeated = "direction" { Ingress = "ingress", Egress = "egress" }
}
label_enum! {
    /// Which half of a transaction was repeated.
    pub enum Half = "kind" { Request = "request", Response = "response" }
}
label_enum! {
    /// What a connection speaks; datagrams have none.
    pub enum Stream = "transport" { Tcp = "tcp", Tls = "tls", Ws = "ws", Wss = "wss" }
}
label_enum! {
    /// State of a connection.
    pub enum StreamState = "state" { Connecting = "connecting", Open = "open" }
}
label_enum! {
    /// Which half of a transaction was being worked on.
    pub enum Stage = "stage" { Request = "request", Response = "response" }
}
label_enum! {
    /// What failed below SIP.
    pub enum SocketError = "reason" {
        Receive = "receive", Send = "send", Unreachable = "unreachable", QueueFull = "queue_full",
        Accept = "accept", Descriptors = "descriptors", OpenedFull = "opened_full",
    }
}
label_enum! {
    /// Kinds of transaction: client or server, of INVITE or another.
    pub enum Transaction = "kind" { Ict = "ict", Ist = "ist", Nict = "nict", Nist = "nist" }
}

/// Response codes as a label: each code that is registered, the others by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(u8);

impl Code {
    /// Of a status line.
    pub fn of(status: u16) -> Code {
        let index = match CODES.binary_search(&status) {
            Ok(i) => i,
            Err(_) => CODES.len() + usize::from((status / 100).clamp(1, 6) - 1),
        };
        Code(index as u8)
    }
}

impl Label for Code {
    const NAME: &'static str = "code";
    const VALUES: &'static [&'static str] = CODE_TEXTS;
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Handles of all metrics of the proxy. Clones count into the same cells.
#[derive(Clone)]
#[allow(missing_docs)] // each is named and described below
pub struct Metrics {
    pub requests: Counters<(Method, Direction, Via)>,
    pub responses: Counters<(Method, Code, Direction)>,
    pub retransmissions: Counters<(Repeated, Half)>,
    pub dropped: Counters<(Dropped,)>,
    pub auth: Counters<(Auth,)>,
    pub transactions: Gauges<(Transaction,)>,
    pub calls_started: Counter,
    pub calls_answered: Counter,
    pub calls_ended: Counter,
    pub registrations: Gauge,
    pub register: Counters<(Register,)>,
    pub failovers: Counter,
    pub credit_waits: Counters<(CreditWait,)>,
    pub challenges_unanswered: Counter,
    pub timeouts: Counter,
    pub media_failures: Counter,
    pub dns_failures: Counter,
    pub media_requests: RequestSeconds,
    pub latency: Histograms<(Stage,)>,
    pub connections: Gauges<(Stream, StreamState)>,
    pub streams_refused: Counter,
    pub streams_timed_out: Counter,
    pub parse_errors: Counters<(ParseError,)>,
    pub socket_errors: Counters<(SocketError,)>,
    pub handed_over: Counter,
    pub mailbox_full: Counter,
    pub journal_errors: Counter,
    pub panics: Counter,
    pub(crate) calls: CallMetrics,
    pub(crate) busy: Arc<Busy>,
    pub(crate) overload: Arc<Level>,
}

impl Metrics {
    /// Registers the catalogue; once per registry.
    pub fn register(r: &Registry) -> Metrics {
        Metrics {
            requests: r.counters("warp_sip_requests_total", "SIP requests received and sent."),
            responses: r.counters("warp_sip_responses_total", "SIP responses received and sent."),
            retransmissions: r.counters(
                "warp_sip_retransmissions_total",
                "Messages repeated by peers (ingress) and by us (egress).",
            ),
            dropped: r.counters("warp_sip_dropped_total", "Requests and responses dropped, or refused without keeping anything, by reason."),
            auth: r.counters("warp_sip_auth_total", "Passwords and challenges (SIP digest) of calls that begin, by result."),
            transactions: r.gauges("warp_sip_transactions", "SIP transactions that are open now, by kind: client or server, of INVITE or of another method."),
            calls_started: r.counter("warp_sip_call_starts_total", "Calls that were begun by an INVITE."),
            calls_answered: r.counter("warp_sip_call_answers_total", "Calls that the called side answered."),
            calls_ended: r.counter("warp_sip_call_ends_total", "Calls that ended, answered or not."),
            registrations: r.gauge("warp_sip_registrations", "Contacts of registered users that this node holds."),
            register: r.counters("warp_sip_register_total", "REGISTER requests of users who had signed in, by result."),
            failovers: r.counter("warp_sip_failovers_total", "Calls that the first vendor did not carry and that went on to a further one."),
            credit_waits: r.counters(
                "warp_sip_credit_waits_total",
                "Calls of prepaid accounts whose money had yet to be fetched to this node: they waited for it, or were refused at once because too many waited already (full).",
            ),
            challenges_unanswered: r.counter(
                "warp_sip_vendor_challenges_unanswered_total",
                "Requests for credentials (401, 407) of vendors that could not be answered: none are configured, they are for another realm or wrong, or the request went to an address that is not the trunk's. After a BYE the vendor may go on counting the call.",
            ),
            timeouts: r.counter("warp_sip_timeouts_total", "Requests that nobody answered."),
            media_requests: warp_telemetry::health::request_seconds(r, "media"),
            dns_failures: r.counter(
                "warp_sip_dns_failures_total",
                "Look-ups of a peer's name that DNS did not answer in time; the last good answer is used meanwhile.",
            ),
            media_failures: r
                .counter("warp_sip_media_failures_total", "Commands to the media relay that failed or were not answered in time."),
            latency: r.histograms(
                "warp_sip_proxy_latency_seconds",
                "Time inside the proxy in seconds: from reading messages to the last one sent, one observation for each batch.",
                LATENCY_SECONDS,
            ),
            connections: r.gauges("warp_sip_connections", "Connections that are open, by transport and state."),
            streams_refused: r
                .counter("warp_sip_streams_refused_total", "TCP connections refused because their source, or all together, had too many."),
            streams_timed_out: r.counter(
                "warp_sip_streams_timed_out_total",
                "Connections closed: no first message, idle, or not established in time.",
            ),
            parse_errors: r.counters(
                "warp_sip_parse_errors_total",
                "What could not be read as SIP: a message, or where messages of a connection end (then it is closed).",
            ),
            socket_errors: r
                .counters("warp_sip_socket_errors_total", "Errors of sockets, by what failed; listening for calls goes on."),
            handed_over: r.counter("warp_sip_handed_over_total", "Messages that came to one thread and belong to another, and were passed on."),
            mailbox_full: r
                .counter("warp_sip_mailbox_full_total", "Messages dropped because a thread did not keep up; peers repeat them."),
            journal_errors: r
                .counter("warp_sip_journal_errors_total", "Call records that could not be written to disk."),
            panics: r.counter("warp_sip_panics_total", "Faults of ours that a thread of the proxy survived."),
            calls: CallMetrics::register(r),
            busy: Busy::register(r),
            overload: Level::register(r),
        }
    }

    /// Counts nowhere: for tests.
    pub fn detached() -> Metrics {
        Metrics::register(&Registry::new())
    }

    /// One message, received or sent, by its first line and, for responses, its CSeq.
    pub(crate) fn message(&self, bytes: &[u8], direction: Direction, via: Via) -> Stage {
        self.message_of(kind_of(bytes), direction, via)
    }

    /// The same of a message that somebody has read; `None`: it does not begin as SIP does.
    pub(crate) fn message_of(&self, kind: Option<MessageKind>, direction: Direction, via: Via) -> Stage {
        match kind {
            Some((Some(status), method)) => {
                self.responses.inc((label_of(method), Code::of(status), direction));
                Stage::Response
            }
            Some((None, method)) => {
                self.requests.inc((label_of(method), direction, via));
                Stage::Request
            }
            None => {
                self.requests.inc((Method::Other, direction, via));
                Stage::Request
            }
        }
    }

    /// Carries over what a core counted since `last`.
    pub(crate) fn carry(&self, last: &CoreStats, now: &CoreStats) {
        let d = |a: u64, b: u64| b.wrapping_sub(a);
        self.dropped.add((Dropped::Malformed,), d(last.malformed, now.malformed));
        self.parse_errors.add((ParseError::Message,), d(last.malformed, now.malformed));
        self.dropped.add((Dropped::RateLimit,), d(last.stranger_dropped, now.stranger_dropped));
        self.dropped.add((Dropped::Scanner,), d(last.scanner_dropped, now.scanner_dropped));
        self.dropped.add((Dropped::Stray,), d(last.stray, now.stray));
        self.dropped.add((Dropped::Spoofed,), d(last.spoofed, now.spoofed));
        self.dropped.add((Dropped::Destination,), d(last.refused_destination, now.refused_destination));
        self.dropped.add((Dropped::Loop,), d(last.loops, now.loops));
        self.dropped.add((Dropped::Overload,), d(last.table_full, now.table_full));
        self.dropped.add((Dropped::Overload,), d(last.shed, now.shed));
        self.dropped.add((Dropped::Overload,), d(last.held_full, now.held_full));
        self.dropped.add((Dropped::MaxForwards,), d(last.max_forwards, now.max_forwards));
        self.dropped.add((Dropped::Acl,), d(last.acl, now.acl));
        for (label, before, after) in [
            ((Repeated::Ingress, Half::Request), last.repeated_requests_in, now.repeated_requests_in),
            ((Repeated::Ingress, Half::Response), last.repeated_responses_in, now.repeated_responses_in),
            ((Repeated::Egress, Half::Request), last.repeated_requests_out, now.repeated_requests_out),
            ((Repeated::Egress, Half::Response), last.repeated_responses_out, now.repeated_responses_out),
        ] {
            self.retransmissions.add(label, d(before, after));
        }
        for (result, before, after) in [
            (Auth::Ok, last.auth_ok, now.auth_ok),
            (Auth::Challenge, last.auth_challenge, now.auth_challenge),
            (Auth::BadCredentials, last.auth_bad_credentials, now.auth_bad_credentials),
            (Auth::Stale, last.auth_stale, now.auth_stale),
            (Auth::Unknown, last.auth_unknown, now.auth_unknown),
        ] {
            self.auth.add((result,), d(before, after));
        }
        self.calls_started.add((), d(last.calls_started, now.calls_started));
        self.calls_answered.add((), d(last.calls_answered, now.calls_answered));
        self.calls_ended.add((), d(last.calls_ended, now.calls_ended));
        self.register.add((Register::Ok,), d(last.registrations, now.registrations));
        self.register.add((Register::Refused,), d(last.registrations_refused, now.registrations_refused));
        self.failovers.add((), d(last.failovers, now.failovers));
        self.credit_waits.add((CreditWait::Waited,), d(last.credit_waits, now.credit_waits));
        self.credit_waits.add((CreditWait::Full,), d(last.credit_waits_full, now.credit_waits_full));
        self.challenges_unanswered.add((), d(last.challenges_unanswered, now.challenges_unanswered));
        self.timeouts.add((), d(last.timeouts, now.timeouts));
        self.dns_failures.add((), d(last.dns_failures, now.dns_failures));
        self.media_failures.add((), d(last.media_failures, now.media_failures));
    }
}

/// How busy each shard's thread was in the last second: `warp_worker_busy_ratio{worker}`.
pub(crate) struct Busy([AtomicU64; WORKERS]);

impl Busy {
    fn register(r: &Registry) -> Arc<Busy> {
        let busy = Arc::new(Busy(std::array::from_fn(|_| AtomicU64::new(u64::MAX))));
        let seen = Arc::clone(&busy);
        r.observe(
            Kind::Gauge,
            "warp_worker_busy_ratio",
            "Share of the last second that a worker's thread spent on a CPU, from 0 to 1.",
            &["worker"],
            move || {
                let of = |(i, share): (usize, &AtomicU64)| {
                    let share = share.load(Ordering::Relaxed);
                    let labels = vec![("worker", format!("sip-{i}"))];
                    (share != u64::MAX).then(|| Sample::number(labels, share as f64 / 1e6))
                };
                seen.0.iter().enumerate().filter_map(of).collect()
            },
        );
        busy
    }

    /// Sets the share of one worker, in millionths.
    pub(crate) fn set(&self, worker: u16, share: u64) {
        if let Some(cell) = self.0.get(usize::from(worker)) {
            cell.store(share, Ordering::Relaxed);
        }
    }
}

/// Share of new calls that overload control refuses, of the shard that refuses most: `warp_sip_overload_level_ratio`.
pub(crate) struct Level([AtomicU32; WORKERS]);

impl Level {
    fn register(r: &Registry) -> Arc<Level> {
        let level = Arc::new(Level(std::array::from_fn(|_| AtomicU32::new(0))));
        let seen = Arc::clone(&level);
        r.observe(
            Kind::Gauge,
            "warp_sip_overload_level_ratio",
            "Share of new calls refused by overload control, from 0 to 1; 0 when calm.",
            &[],
            move || {
                let most = seen.0.iter().map(|l| l.load(Ordering::Relaxed)).max().unwrap_or(0);
                vec![Sample::number(vec![], f64::from(most) / f64::from(FULL))]
            },
        );
        level
    }

    /// Sets the level of one worker, from 0 to [`FULL`].
    pub(crate) fn set(&self, worker: u16, level: u32) {
        if let Some(cell) = self.0.get(usize::from(worker)) {
            cell.store(level, Ordering::Relaxed);
        }
    }
}

/// Workers beyond this have no series.
const WORKERS: usize = 64;

fn label_of(method: SipMethod) -> Method {
    match method {
        SipMethod::Invite => Method::Invite,
        SipMethod::Ack => Method::Ack,
        SipMethod::Bye => Method::Bye,
        SipMethod::Cancel => Method::Cancel,
        SipMethod::Options => Method::Options,
        SipMethod::Register => Method::Register,
        SipMethod::Prack => Method::Prack,
        SipMethod::Update => Method::Update,
        SipMethod::Info => Method::Info,
        SipMethod::Refer => Method::Refer,
        SipMethod::Subscribe => Method::Subscribe,
        SipMethod::Notify => Method::Notify,
        SipMethod::Message => Method::Message,
        SipMethod::Publish => Method::Publish,
        SipMethod::Other => Method::Other,
    }
}

/// Codes with a series of their own, rising.
const CODES: &[u16] = &[
    100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406,
    407, 408, 410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437,
    438, 439, 440, 469, 470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502,
    503, 504, 505, 513, 555, 580, 600, 603, 604, 606, 607, 608,
];
const CODE_TEXTS: &[&str] = &[
    "100", "180", "181", "182", "183", "199", "200", "202", "204", "300", "301", "302", "305", "380", "400",
    "401", "402", "403", "404", "405", "406", "407", "408", "410", "412", "413", "414", "415", "416", "417",
    "420", "421", "422", "423", "424", "425", "428", "429", "430", "433", "436", "437", "438", "439", "440",
    "469", "470", "480", "481", "482", "483", "484", "485", "486", "487", "488", "489", "491", "493", "494",
    "500", "501", "502", "503", "504", "505", "513", "555", "580", "600", "603", "604", "606", "607", "608",
    "1xx", "2xx", "3xx", "4xx", "5xx", "6xx",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_text() {
        assert_eq!(CODES.len() + 6, CODE_TEXTS.len());
        for (code, text) in CODES.iter().zip(CODE_TEXTS) {
            assert_eq!(&code.to_string(), text);
            assert_eq!(CODE_TEXTS[Code::of(*code).index()], *text);
        }
        assert_eq!(CODE_TEXTS[Code::of(499).index()], "4xx");
        assert_eq!(CODE_TEXTS[Code::of(101).index()], "1xx");
        assert_eq!(CODE_TEXTS[Code::of(999).index()], "6xx");
    }

    #[test]
    fn every_label_value_of_the_catalogue_is_there_before_its_first_event() {
        let registry = Registry::new();
        let m = Metrics::register(&registry);
        let text = registry.render();
        let mut expected = vec!["warp_sip_overload_level_ratio 0".to_owned()];
        for reason in ["acl", "rate_limit", "overload", "loop", "max_forwards", "malformed", "scanner"] {
            expected.push(format!("warp_sip_dropped_total{{reason=\"{reason}\"}} 0"));
        }
        for (direction, kind) in
            [("ingress", "request"), ("ingress", "response"), ("egress", "request"), ("egress", "response")]
        {
            expected.push(format!(
                "warp_sip_retransmissions_total{{direction=\"{direction}\",kind=\"{kind}\"}} 0"
            ));
        }
        for state in ["connecting", "open"] {
            expected.push(format!("warp_sip_connections{{transport=\"tcp\",state=\"{state}\"}} 0"));
        }
        for kind in ["ict", "ist", "nict", "nist"] {
            expected.push(format!("warp_sip_transactions{{kind=\"{kind}\"}} 0"));
        }
        for state in ["early", "confirmed"] {
            expected.push(format!("warp_sip_dialogs{{state=\"{state}\"}} 0"));
        }
        for result in ["ok", "challenge", "bad_credentials", "stale", "unknown"] {
            expected.push(format!("warp_sip_auth_total{{result=\"{result}\"}} 0"));
        }
        for stage in ["request", "response"] {
            for le in ["0.000025", "0.05", "+Inf"] {
                expected.push(format!(
                    "warp_sip_proxy_latency_seconds_bucket{{stage=\"{stage}\",le=\"{le}\"}} 0"
                ));
            }
        }
        for line in expected {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
        // What the core counts arrives under its own name.
        let counted = CoreStats {
            loops: 1,
            max_forwards: 2,
            acl: 3,
            repeated_requests_in: 4,
            repeated_responses_in: 5,
            repeated_requests_out: 6,
            repeated_responses_out: 7,
            ..CoreStats::default()
        };
        m.carry(&CoreStats::default(), &counted);
        let text = registry.render();
        for line in [
            "warp_sip_dropped_total{reason=\"loop\"} 1",
            "warp_sip_dropped_total{reason=\"max_forwards\"} 2",
            "warp_sip_dropped_total{reason=\"acl\"} 3",
            "warp_sip_retransmissions_total{direction=\"ingress\",kind=\"request\"} 4",
            "warp_sip_retransmissions_total{direction=\"ingress\",kind=\"response\"} 5",
            "warp_sip_retransmissions_total{direction=\"egress\",kind=\"request\"} 6",
            "warp_sip_retransmissions_total{direction=\"egress\",kind=\"response\"} 7",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}");
        }
    }

    #[test]
    fn f_load_01_the_level_is_that_of_the_worst_shard() {
        let registry = Registry::new();
        let m = Metrics::register(&registry);
        let says =
            |n: &str| assert!(registry.render().contains(&format!("warp_sip_overload_level_ratio {n}\n")));
        says("0");
        m.overload.set(0, FULL / 4);
        m.overload.set(3, FULL / 2);
        says("0.5");
        m.overload.set(3, 0);
        says("0.25");
        m.carry(&CoreStats::default(), &CoreStats { shed: 3, ..CoreStats::default() });
        assert!(registry.render().contains("warp_sip_dropped_total{reason=\"overload\"} 3\n"));
    }

    #[test]
    fn messages_are_counted_by_their_first_line_and_cseq() {
        let registry = Registry::new();
        let m = Metrics::register(&registry);
        m.message(b"INVITE sip:1@h SIP/2.0\r\n\r\n", Direction::Ingress, Via::Udp);
        m.message(b"SIP/2.0 486 Busy\r\nCSeq: 1 INVITE\r\n\r\n", Direction::Egress, Via::Tcp);
        m.message(b"SIP/2.0 200 OK\r\ncseq :2\t BYE \r\n\r\n", Direction::Egress, Via::Tcp);
        // What stands in a body, in a fold or in another header is no CSeq.
        for hidden in [
            "Content-Length: 17\r\n\r\n\nCSeq: 1 MESSAGE",
            "Subject: x\r\n CSeq: 1 MESSAGE\r\n\r\n",
            "X-CSeq: 1 MESSAGE\r\n\r\n",
        ] {
            m.message(format!("SIP/2.0 404 No\r\n{hidden}").as_bytes(), Direction::Ingress, Via::Udp);
        }
        m.message(b"\0\xff", Direction::Ingress, Via::Udp);
        let text = registry.render();
        for line in [
            "warp_sip_requests_total{method=\"INVITE\",direction=\"ingress\",transport=\"udp\"} 1",
            "warp_sip_responses_total{method=\"INVITE\",code=\"486\",direction=\"egress\"} 1",
            "warp_sip_responses_total{method=\"BYE\",code=\"200\",direction=\"egress\"} 1",
            "warp_sip_requests_total{method=\"other\",direction=\"ingress\",transport=\"udp\"} 1",
            "warp_sip_dropped_total{reason=\"scanner\"} 0",
            "warp_sip_responses_total{method=\"other\",code=\"404\",direction=\"ingress\"} 3",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert!(!text.contains("method=\"MESSAGE\",code=\"404\""), "{text}");
    }
}
