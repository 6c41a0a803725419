//! The figures of the `statistics` command: what has happened since the start, and in the last minute.
//!
//! Pure: told of commands, ends of calls and streams, with the time; asked for the whole. Invariants: bounded (clients at
//! most [`PROXIES`]); nothing here is touched by a packet. Absent on purpose: the metrics, which are another page.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use warp_model::Mono;
use warp_ng::statistics::{
    CommandKind, Current, Interval, IntervalCommand, MosSums, Proxy, RelayStatistics, Totals,
};
use warp_ng::{Command, Kept, PlayAction, RecordAction, Reply};

use super::{EndOfCall, Output};

/// Clients with figures of their own; the commands of more are in the totals only. The reply is one datagram, and one
/// client takes more than a kilobyte of it.
pub const PROXIES: usize = 20;
/// Interfaces that the reply tells of.
pub const INTERFACES: usize = 128;
/// The interval of `intervalstatistics`.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// Packets, bytes and refusals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that were sent on.
    pub packets: u64,
    /// Bytes of the packets that were sent on.
    pub bytes: u64,
    /// Packets that came and were not sent on.
    pub errors: u64,
}

/// The ledger: figures of the relay since its start.
#[derive(Debug)]
pub struct Ledger {
    begun: Mono,
    totals: Totals,
    mos: MosSums,
    media: u64,
    commands: [u64; CommandKind::COUNT],
    proxies: BTreeMap<IpAddr, Proxy>,
    window: Window,
    last_window: Interval,
    /// Traffic when the rates were last worked out, and the rates of then.
    looked_at: (Mono, Traffic),
    rates: Traffic,
}

/// The minute that runs.
#[derive(Debug)]
struct Window {
    from: Mono,
    durations_us: u64,
    sessions: (u64, u64),
    commands: [WindowCommand; CommandKind::COUNT],
}

#[derive(Clone, Copy, Debug, Default)]
struct WindowCommand {
    count: u64,
    sum_us: u64,
    min_us: u64,
    max_us: u64,
    /// Second of the window and commands in it, and the fewest and most of the seconds before.
    second: u64,
    in_second: u64,
    fewest: Option<u64>,
    most: u64,
}

/// Figures of `statistics` and nothing else are kept for these.
pub fn kind_of(command: &Command) -> CommandKind {
    match command {
        Command::Ping => CommandKind::Ping,
        Command::Offer(_) => CommandKind::Offer,
        Command::Answer(_) => CommandKind::Answer,
        Command::Delete(_) => CommandKind::Delete,
        Command::Query(_) => CommandKind::Query,
        Command::Keep(c) => match (c.what.what, c.what.ends) {
            (Kept::Media, false) => CommandKind::BlockMedia,
            (Kept::Media, true) => CommandKind::UnblockMedia,
            (Kept::Voice, false) => CommandKind::SilenceMedia,
            (Kept::Voice, true) => CommandKind::UnsilenceMedia,
            (Kept::Dtmf, false) => CommandKind::BlockDtmf,
            (Kept::Dtmf, true) => CommandKind::UnblockDtmf,
        },
        Command::Play(c) => match c.what {
            PlayAction::Media { .. } => CommandKind::PlayMedia,
            PlayAction::Stop => CommandKind::StopMedia,
            PlayAction::Dtmf { .. } => CommandKind::PlayDtmf,
        },
        Command::Record(c) => match c.what {
            RecordAction::Start => CommandKind::StartRecording,
            RecordAction::Pause | RecordAction::Stop => CommandKind::StopRecording,
        },
        Command::List { .. } => CommandKind::List,
        Command::Statistics => CommandKind::Statistics,
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

impl WindowCommand {
    fn add(&mut self, second: u64, us: u64) {
        self.close_seconds(second);
        self.in_second = self.in_second.saturating_add(1);
        self.min_us = if self.count == 0 { us } else { self.min_us.min(us) };
        self.max_us = self.max_us.max(us);
        self.sum_us = self.sum_us.saturating_add(us);
        self.count = self.count.saturating_add(1);
    }

    /// Seconds before `second` are over.
    fn close_seconds(&mut self, second: u64) {
        if second <= self.second {
            return;
        }
        let idle_between = second.saturating_sub(self.second) > 1;
        let fewest = self.fewest.map_or(self.in_second, |f| f.min(self.in_second));
        self.fewest = Some(if idle_between { 0 } else { fewest });
        self.most = self.most.max(self.in_second);
        (self.second, self.in_second) = (second, 0);
    }

    fn close(mut self) -> IntervalCommand {
        self.close_seconds(INTERVAL.as_secs());
        IntervalCommand {
            delay_us: (self.min_us, self.max_us, self.sum_us.checked_div(self.count).unwrap_or(0)),
            per_s: (self.fewest.unwrap_or(0), self.most, self.count / INTERVAL.as_secs().max(1)),
        }
    }
}

impl Window {
    fn new(from: Mono, sessions: u64) -> Self {
        Self { from, durations_us: 0, sessions: (sessions, sessions), commands: Default::default() }
    }
}

impl Ledger {
    /// A ledger that begins at `now`, with nothing in it.
    pub fn new(now: Mono) -> Self {
        Self {
            begun: now,
            totals: Totals::default(),
            mos: MosSums::default(),
            media: 0,
            commands: [0; CommandKind::COUNT],
            proxies: BTreeMap::new(),
            window: Window::new(now, 0),
            last_window: Interval::default(),
            looked_at: (now, Traffic::default()),
            rates: Traffic::default(),
        }
    }

    /// Closes the minutes that are over; `sessions` is how many calls there were all the while.
    fn advance(&mut self, sessions: u64, now: Mono) {
        let over = now.since(self.window.from).as_secs() / INTERVAL.as_secs().max(1);
        if over == 0 {
            return;
        }
        let next = self.window.from + INTERVAL.saturating_mul(u32::try_from(over).unwrap_or(u32::MAX));
        let done = std::mem::replace(&mut self.window, Window::new(next, sessions));
        self.last_window = if over == 1 {
            Interval {
                durations_us: done.durations_us,
                sessions: done.sessions,
                commands: done.commands.map(WindowCommand::close),
            }
        } else {
            // The last whole minute was one without anything.
            Interval { sessions: (sessions, sessions), ..Interval::default() }
        };
    }

    /// A command has been carried out. `from`: its client, `None` for this process. `sessions`: calls before and after.
    pub fn command(
        &mut self,
        kind: CommandKind,
        from: Option<IpAddr>,
        reply: &Reply,
        took: Duration,
        sessions: (u64, u64),
        now: Mono,
    ) {
        self.advance(sessions.0, now);
        let (low, high) = self.window.sessions;
        self.window.sessions = (low.min(sessions.1), high.max(sessions.1));
        let us = micros(took);
        let second = now.since(self.window.from).as_secs();
        if let Some(window) = self.window.commands.get_mut(kind.index()) {
            window.add(second, us);
        }
        bump(&mut self.commands, kind, 1);
        if let Some(proxy) = self.proxy(from) {
            bump(&mut proxy.counts, kind, 1);
            bump(&mut proxy.durations_us, kind, us);
        }
        if !reply.is_ok() {
            self.refused(from);
        }
        if matches!(reply, Reply::LoadLimit { .. }) && kind == CommandKind::Offer {
            self.totals.rejected = self.totals.rejected.saturating_add(1);
        }
    }

    /// A client was answered with an error.
    pub fn refused(&mut self, from: Option<IpAddr>) {
        if let Some(proxy) = self.proxy(from) {
            proxy.errors = proxy.errors.saturating_add(1);
        }
    }

    fn proxy(&mut self, from: Option<IpAddr>) -> Option<&mut Proxy> {
        let from = from?;
        if self.proxies.len() >= PROXIES && !self.proxies.contains_key(&from) {
            return None;
        }
        Some(self.proxies.entry(from).or_insert_with(|| Proxy::new(from)))
    }

    /// What the book said: ends of calls and streams, kinds of media.
    pub fn output(&mut self, output: &Output, sessions: u64, now: Mono) {
        match output {
            Output::CallEnded { why, lasted } => {
                self.advance(sessions.saturating_add(1), now);
                self.window.sessions.0 = self.window.sessions.0.min(sessions);
                self.window.durations_us = self.window.durations_us.saturating_add(micros(*lasted));
                self.totals.managed = self.totals.managed.saturating_add(1);
                self.totals.durations.add(micros(*lasted));
                let count = match why {
                    EndOfCall::Deleted => &mut self.totals.terminated,
                    EndOfCall::Silent => &mut self.totals.timeout,
                    EndOfCall::SilentOnHold => &mut self.totals.silent_timeout,
                    EndOfCall::NeverAnswered => &mut self.totals.offer_timeout,
                };
                *count = count.saturating_add(1);
            }
            Output::StreamEnded(stream) => {
                let [a, b] = &stream.figures;
                match (a.packets, b.packets) {
                    // A branch that lost: what its offerer sent counts where it was answered.
                    _ if stream.shared => {}
                    (0, 0) => self.totals.zero_way = self.totals.zero_way.saturating_add(1),
                    (0, _) | (_, 0) => self.totals.one_way = self.totals.one_way.saturating_add(1),
                    _ => {}
                }
                for figures in stream.figures.iter().filter(|f| f.mos_x100 > 0) {
                    self.mos.add(u64::from(figures.mos_x100));
                }
            }
            Output::StreamKind { from, to } => match (from, to) {
                (None, Some(_)) => self.media = self.media.saturating_add(1),
                (Some(_), None) => self.media = self.media.saturating_sub(1),
                _ => {}
            },
            Output::Install { .. }
            | Output::Close { .. }
            | Output::TimedOut { .. }
            | Output::Mark { .. }
            | Output::Record(_) => {}
        }
    }

    /// The whole, interfaces apart. Rates are means since the last look, at least a second apart.
    pub fn statistics(&mut self, traffic: Traffic, sessions: u64, now: Mono) -> RelayStatistics {
        self.advance(sessions, now);
        let (since, before) = self.looked_at;
        let ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        if ms >= 1_000 {
            let rate = |now: u64, then: u64| {
                now.saturating_sub(then).saturating_mul(1_000).checked_div(ms).unwrap_or(0)
            };
            self.rates = Traffic {
                packets: rate(traffic.packets, before.packets),
                bytes: rate(traffic.bytes, before.bytes),
                errors: rate(traffic.errors, before.errors),
            };
            self.looked_at = (now, traffic);
        }
        RelayStatistics {
            current: Current {
                sessions,
                packets_per_s: self.rates.packets,
                bytes_per_s: self.rates.bytes,
                errors_per_s: self.rates.errors,
                media: self.media,
            },
            totals: Totals {
                uptime_s: now.since(self.begun).as_secs(),
                packets: traffic.packets,
                bytes: traffic.bytes,
                errors: traffic.errors,
                ..self.totals
            },
            interval: self.last_window,
            mos: self.mos,
            proxies: self.proxies.values().copied().collect(),
            commands: self.commands,
            interfaces: Vec::new(),
        }
    }
}

fn bump(counts: &mut [u64; CommandKind::COUNT], kind: CommandKind, by: u64) {
    if let Some(count) = counts.get_mut(kind.index()) {
        *count = count.saturating_add(by);
    }
}

#[cfg(test)]
mod tests {
    use warp_media::StreamSnapshot;

    use super::*;
    use crate::core::EndedStream;

    fn at(s: u64) -> Mono {
        Mono(s * 1_000_000_000)
    }

    const OK: Reply = Reply::Ok { warning: None };

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn commands_are_counted_by_client_and_in_all() {
        let mut l = Ledger::new(at(0));
        let us = Duration::from_micros;
        l.command(CommandKind::Offer, ip(1), &OK, us(100), (0, 1), at(1));
        l.command(
            CommandKind::Offer,
            ip(2),
            &Reply::LoadLimit { message: "x".into() },
            us(300),
            (1, 1),
            at(1),
        );
        l.command(CommandKind::Offer, None, &OK, us(200), (1, 2), at(3));
        l.command(CommandKind::Ping, ip(1), &OK, us(5), (2, 2), at(3));
        l.refused(ip(1));
        let s = l.statistics(Traffic::default(), 2, at(4));
        assert_eq!((s.commands[CommandKind::Offer.index()], s.totals.rejected), (3, 1));
        let [one, two] = s.proxies.as_slice() else { panic!("{:?}", s.proxies) };
        assert_eq!((one.counts[0], one.counts[1], one.durations_us[1], one.errors), (1, 1, 100, 1));
        assert_eq!((two.counts[1], two.errors), (1, 1));
        assert_eq!(s.interval, Interval::default(), "no minute is over");
        // The minute: 2, 0, 1 … commands in its seconds, 100 to 300 µs.
        let s = l.statistics(Traffic::default(), 2, at(60));
        let offers = s.interval.commands[CommandKind::Offer.index()];
        assert_eq!((offers.delay_us, offers.per_s), ((100, 300, 200), (0, 2, 0)));
        assert_eq!(s.interval.sessions, (0, 2));
        // A minute later there was nothing in it.
        let s = l.statistics(Traffic::default(), 2, at(185));
        assert_eq!(s.interval, Interval { sessions: (2, 2), ..Interval::default() });
    }

    #[test]
    fn t_ng_04_clients_are_bounded() {
        let mut l = Ledger::new(at(0));
        for i in 0..3_000u32 {
            let from = Some(IpAddr::from(i.to_be_bytes()));
            l.command(CommandKind::Ping, from, &OK, Duration::ZERO, (0, 0), at(0));
        }
        let s = l.statistics(Traffic::default(), 0, at(0));
        assert_eq!((s.proxies.len(), s.commands[0]), (PROXIES, 3_000));
    }

    #[test]
    fn ends_and_rates() {
        let mut l = Ledger::new(at(0));
        for (why, lasted) in [
            (EndOfCall::Deleted, 10),
            (EndOfCall::Deleted, 20),
            (EndOfCall::Silent, 60),
            (EndOfCall::SilentOnHold, 3_600),
            (EndOfCall::NeverAnswered, 30),
        ] {
            l.output(&Output::CallEnded { why, lasted: Duration::from_secs(lasted) }, 0, at(1));
        }
        let heard = StreamSnapshot { packets: 9, mos_x100: 420, ..StreamSnapshot::default() };
        for figures in [[heard, heard], [heard, StreamSnapshot::default()], Default::default()] {
            let ended = EndedStream { figures, labels: [None, None], shared: false };
            l.output(&Output::StreamEnded(Box::new(ended)), 0, at(1));
        }
        let traffic = Traffic { packets: 500, bytes: 86_000, errors: 10 };
        let s = l.statistics(traffic, 0, at(5));
        let t = &s.totals;
        assert_eq!((t.managed, t.terminated, t.timeout, t.silent_timeout, t.offer_timeout), (5, 2, 1, 1, 1));
        assert_eq!((t.zero_way, t.one_way, t.uptime_s, t.packets), (1, 1, 5, 500));
        assert_eq!((t.bytes, t.errors), (86_000, 10));
        assert_eq!(t.durations.sum, 3_720_000_000);
        assert_eq!((s.mos.count, s.mos.sum), (3, 1_260));
        assert_eq!(
            (s.current.packets_per_s, s.current.bytes_per_s, s.current.errors_per_s),
            (100, 17_200, 2)
        );
        // Looked at again within the second: the same rates, not those of a few packets.
        let later = Mono(at(5).0 + 500_000_000);
        assert_eq!(l.statistics(Traffic { packets: 510, ..traffic }, 0, later).current, s.current);
    }

    #[test]
    fn a_minute_is_told_by_its_seconds() {
        let mut l = Ledger::new(at(100));
        let us = Duration::from_micros;
        for second in 0..60 {
            for n in 0..if second == 30 { 5 } else { 2 } {
                l.command(CommandKind::Ping, None, &OK, us(10 + second + n), (3, 3), at(100 + second));
            }
        }
        // The last moment of the minute is of it, the next one not.
        assert_eq!(l.statistics(Traffic::default(), 3, Mono(at(160).0 - 1)).interval, Interval::default());
        l.command(CommandKind::Ping, None, &OK, us(9_000), (3, 4), at(160));
        let s = l.statistics(Traffic::default(), 4, at(161));
        let pings = s.interval.commands[CommandKind::Ping.index()];
        // 123 commands of 10 to 70 µs, 4,929 together (by hand: 59 seconds of 2·(10 + s) + 1, and 5·40 + 10).
        assert_eq!((pings.delay_us, pings.per_s), ((10, 70, 40), (2, 5, 2)));
        assert_eq!(s.interval.sessions, (0, 3), "it began with none");
        let s = l.statistics(Traffic::default(), 4, at(220));
        let pings = s.interval.commands[CommandKind::Ping.index()];
        assert_eq!((pings.delay_us, pings.per_s), ((9_000, 9_000, 9_000), (0, 1, 0)));
        assert_eq!((s.interval.sessions, s.commands[0], s.totals.uptime_s), ((3, 4), 124, 120));
    }

    #[test]
    fn calls_that_end_and_streams_that_begin_show_in_their_minute() {
        let mut l = Ledger::new(at(0));
        l.command(CommandKind::Offer, None, &OK, Duration::ZERO, (0, 2), at(1));
        for (lasted, left) in [(10, 1), (5, 0)] {
            let why = EndOfCall::Deleted;
            l.output(&Output::CallEnded { why, lasted: Duration::from_secs(lasted) }, left, at(20));
        }
        let kind = |from, to| Output::StreamKind { from, to };
        let audio = || {
            Some(crate::core::StreamKind {
                codec: b"PCMU/8000".to_vec(),
                class: crate::core::negotiate::Class::Rtp,
            })
        };
        for output in [kind(None, audio()), kind(None, audio()), kind(audio(), audio()), kind(audio(), None)]
        {
            l.output(&output, 0, at(30));
        }
        let heard = StreamSnapshot { packets: 9, ..StreamSnapshot::default() };
        let lost =
            EndedStream { figures: [heard, StreamSnapshot::default()], labels: [None, None], shared: true };
        l.output(&Output::StreamEnded(Box::new(lost)), 0, at(30));
        let s = l.statistics(Traffic::default(), 0, at(60));
        assert_eq!((s.interval.durations_us, s.interval.sessions), (15_000_000, (0, 2)));
        assert_eq!((s.current.media, s.totals.one_way, s.totals.zero_way, s.mos.count), (1, 0, 0, 0));
        // Rates are of a second at least: of a whole one they are new.
        let s = l.statistics(Traffic { packets: 70, bytes: 700, errors: 7 }, 0, at(61));
        assert_eq!((s.current.packets_per_s, s.current.bytes_per_s, s.current.errors_per_s), (70, 700, 7));
    }

    #[test]
    fn each_command_has_its_kind() {
        let list = Command::List { limit: 1 };
        assert_eq!(kind_of(&Command::Ping), CommandKind::Ping);
        assert_eq!(kind_of(&list), CommandKind::List);
        assert_eq!(kind_of(&Command::Statistics), CommandKind::Statistics);
    }
}
