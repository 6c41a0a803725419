//! The control thread: owns the call book, the ng listener and the port sockets not yet with a shard; carries out what the
//! book asks for, in order. It sees no packet.
//!
//! A panic costs the command that it happens in: its client gets an error, what the command had taken goes back (the book's
//! `taken`), and the listener, the mailbox and the commands behind it are served as before. The bar for the counter is 0 (G-1).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_media::LocalPort;
use warp_media::play::Playing;
use warp_model::{Mono, Now};
use warp_net::clock::Clock;
use warp_net::epoll::{Epoll, Events, Interest};
use warp_net::mailbox::{Mailbox, SendError, Sender};
use warp_net::media::SharedSocket;
use warp_ng::statistics::Interface;
use warp_ng::{Command, Reply};
use warp_telemetry::metrics::Label;

use super::bound::{Handed, Waiting};
use super::callbacks::{Callbacks, Told};
use super::kept::Stand;
use super::ng_listener::{NgListener, Refused, command_label, result_label};
use super::notices::{Budget, Notices};
use super::recorder::ToRecorder;
use super::shard::ToShard;
use super::sounds::Sounds;
use crate::core::Output;
use crate::core::book::{Book, NO_FOLDER, RelayLimits};
use crate::core::exhausted::Exhausted;
use crate::core::ledger::{INTERFACES, Ledger, kind_of};
use crate::metrics::{Metrics, NgCommand, Pool};

/// Commands taken per wake-up.
const COMMANDS: usize = 256;
/// While a shard's mailbox is full, it is tried again this often.
const RETRY: Duration = Duration::from_millis(1);
/// So many messages, or so old ones, wake a shard up also when nothing came for it.
const UNTOLD: usize = 128;
const UNTOLD_FOR: Duration = Duration::from_millis(50);
/// With fewer pairs than this to spare on an address, shards hear at once which are free.
const SPARE_PAIRS: usize = 64;
/// To the client of a command that panicked.
const PANICKED: &str = "Internal error";
const MAILBOX_TOKEN: u64 = 0;
const NG_TOKEN: u64 = 1;

/// Takes the answer to a command.
pub(crate) type Answer = Box<dyn FnOnce(Reply) + Send>;

/// What reaches the control thread.
pub(crate) enum ToControl {
    /// A command of this process, or of an ng client at this address.
    Command(Box<Command>, Option<IpAddr>, Answer),
    /// A shard learnt a peer (NAT).
    Learnt(LocalPort, SocketAddr),
    /// A shard has played it on this port to its end.
    Played(LocalPort, Arc<Playing>),
    /// Other limits.
    Limits(RelayLimits),
    /// End everything.
    Stop,
}

/// A shard, and what it has not been told. What may wait for its next packet is put into its mailbox without a wake-up
/// ([`super::kept`]): a wake-up costs as much as a command.
struct ShardLink {
    sender: Sender<ToShard>,
    backlog: VecDeque<ToShard>,
    /// Ports that need no wake-up for what is in the backlog, unless something came for them meanwhile.
    kept: Vec<Arc<SharedSocket>>,
    /// What is in the backlog cannot wait.
    is_urgent: bool,
    /// In the mailbox without a wake-up, and since when the first of them.
    untold: usize,
    since: Option<Mono>,
}

/// The thread that carries out commands: the book, and what the shards are told.
pub(crate) struct ControlThread {
    desk: Desk,
    mailbox: Mailbox<ToControl>,
    ng: Option<NgListener>,
    epoll: Epoll,
    stopping: bool,
}

/// Where commands are carried out; apart from the doors by which they come in.
struct Desk {
    book: Book,
    waiting: Waiting,
    shards: Vec<ShardLink>,
    metrics: Metrics,
    ledger: Ledger,
    ports: PortsShown,
    on_timeout: Box<dyn Fn(Vec<u8>, Mono) + Send>,
    callbacks: Option<Callbacks>,
    refusals: Budget,
    notices: Notices,
    given_early: u64,
    sounds: Sounds,
    recorder: Option<ToRecorder>,
}

/// What `statistics` says of the interfaces besides their use.
pub(crate) struct PortsShown {
    /// Names by address.
    pub(crate) names: Vec<String>,
    /// The UDP ports that the relay may lend, first and last.
    pub(crate) range: (u16, u16),
}

impl ControlThread {
    /// With everything it needs.
    pub(crate) fn new(
        book: Book,
        waiting: Waiting,
        shards: Vec<Sender<ToShard>>,
        mailbox: Mailbox<ToControl>,
        metrics: Metrics,
        ports: PortsShown,
        on_timeout: Box<dyn Fn(Vec<u8>, Mono) + Send>,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&mailbox, MAILBOX_TOKEN, Interest::READ.edge())?;
        let shards = shards.into_iter().map(ShardLink::new).collect();
        let ledger = Ledger::new(Clock::mono());
        let desk = Desk {
            book,
            waiting,
            shards,
            metrics,
            ledger,
            ports,
            on_timeout,
            callbacks: None,
            refusals: Budget::default(),
            notices: Notices::default(),
            given_early: 0,
            sounds: Sounds::default(),
            recorder: None,
        };
        Ok(Self { desk, mailbox, ng: None, epoll, stopping: false })
    }

    /// Also listen for ng over UDP. Returns where.
    pub(crate) fn listen(
        &mut self,
        at: SocketAddr,
        config: &crate::config::Config,
    ) -> std::io::Result<SocketAddr> {
        let ng = NgListener::bind(at, config, &self.epoll, NG_TOKEN)?;
        Ok(self.ng.insert(ng).local_addr())
    }

    /// Sounds come from there.
    pub(crate) fn play_from(&mut self, sounds: Sounds) {
        self.desk.sounds = sounds;
    }

    /// Recordings are written down there.
    pub(crate) fn record_to(&mut self, recorder: ToRecorder) {
        self.desk.recorder = Some(recorder);
    }

    /// Also tell ng clients of calls whose media timed out.
    pub(crate) fn tell_clients(&mut self, callbacks: Callbacks) {
        self.desk.callbacks = Some(callbacks);
    }

    /// Runs until [`ToControl::Stop`]; then stops the shards.
    pub(crate) fn run(&mut self) {
        let mut events = Events::with_capacity(8);
        while !self.stopping {
            self.wake_up(&mut events);
        }
        let shards = &mut self.desk.shards;
        for shard in shards.iter_mut() {
            shard.push(ToShard::Stop, true);
        }
        while shards.iter_mut().any(|s| !s.flush(Clock::mono())) {
            std::thread::sleep(RETRY);
        }
        if let Some(recorder) = &self.desk.recorder {
            recorder.stop();
        }
    }

    fn wake_up(&mut self, events: &mut Events) {
        let has_more = self.ng.as_ref().is_some_and(NgListener::has_more);
        let timeout = if has_more { Some(Duration::ZERO) } else { self.desk.timeout() };
        if self.epoll.wait(events, timeout).is_err() {
            std::thread::sleep(RETRY);
        }
        let now = Clock::now();
        let metrics = self.desk.metrics.clone();
        let mut ng_waits = has_more;
        for event in events.iter() {
            match event.token {
                NG_TOKEN => ng_waits = true,
                _ => self.take_messages(now),
            }
        }
        if ng_waits {
            guarded(&metrics, || self.serve_ng(now));
        }
        let desk = &mut self.desk;
        for work in [Book::handle_timeout, Book::handle_samples] {
            guarded(&metrics, || work(&mut desk.book, now));
        }
        guarded(&metrics, || desk.carry_out());
        let now = Clock::mono();
        for shard in &mut desk.shards {
            shard.flush(now);
        }
    }

    fn serve_ng(&mut self, now: Now) {
        let (desk, Some(ng)) = (&mut self.desk, &mut self.ng) else { return };
        let metrics = desk.metrics.clone();
        ng.serve(&metrics, now.mono, |command, from| match command {
            Ok(command) => desk.command(command, Some(from.ip()), now),
            Err(Refused(reason)) => {
                desk.ledger.refused(Some(from.ip()));
                Reply::error(reason)
            }
        });
    }

    fn take_messages(&mut self, now: Now) {
        let mut messages = Vec::new();
        self.mailbox.drain(COMMANDS, |m| messages.push(m));
        let metrics = self.desk.metrics.clone();
        // Each by itself: what waits behind one that panics is taken all the same.
        for message in messages {
            guarded(&metrics, || self.take_message(message, now));
        }
    }

    fn take_message(&mut self, message: ToControl, now: Now) {
        let desk = &mut self.desk;
        match message {
            // The answer is carried out here, and is not ours.
            ToControl::Command(command, from, answer) => answer(desk.command(*command, from, now)),
            ToControl::Learnt(port, peer) => desk.book.handle_learnt(port, peer),
            ToControl::Played(port, playing) => desk.book.handle_played(port, &playing, now),
            ToControl::Limits(limits) => desk.book.set_limits(&limits),
            ToControl::Stop => self.stopping = true,
        }
    }
}

/// Does it, unless it panics: that is counted and goes no further.
fn guarded<R>(metrics: &Metrics, work: impl FnOnce() -> R) -> Option<R> {
    let done = caught(work);
    if done.is_none() {
        metrics.panics.inc(());
    }
    done
}

/// Runs work that may panic; `None`: it did.
fn caught<R>(work: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

impl Desk {
    fn timeout(&self) -> Option<Duration> {
        if self.shards.iter().any(|s| !s.backlog.is_empty()) {
            return Some(RETRY);
        }
        let untold = self.shards.iter().filter_map(|s| s.since).map(|at| at + UNTOLD_FOR).min();
        let next = [self.book.poll_timeout(), self.book.poll_sample(), untold].into_iter().flatten().min();
        next.map(|at| at.since(Clock::mono()))
    }

    /// Carries out one command with all that follows from it: when the answer is given, the rules are on their way.
    fn command(&mut self, command: Command, from: Option<IpAddr>, now: Now) -> Reply {
        let name = command_label(&command);
        let kind = kind_of(&command);
        let call_id = match &command {
            Command::Offer(c) | Command::Answer(c) => Some(c.call_id.clone()),
            _ => None,
        };
        let (begun, sessions) = (Clock::mono(), self.sessions());
        let done = caught(|| match command {
            Command::Statistics => self.statistics(now.mono),
            Command::Play(c) => {
                let sounds = &mut self.sounds;
                self.book.handle_play(&c, &mut |sound| sounds.load(sound), now)
            }
            command => self.book.handle_command(command, from, now),
        });
        let reply = done.unwrap_or_else(|| {
            self.metrics.panics.inc(());
            Reply::error(PANICKED)
        });
        if caught(|| self.carry_out()).is_none() {
            self.metrics.panics.inc(());
        }
        let labels = (name, result_label(&reply));
        let took = Clock::mono().since(begun);
        self.metrics.ng_requests.inc(labels);
        self.metrics.ng_request_seconds.observe(labels, took);
        self.ledger.command(kind, from, &reply, took, (sessions, self.sessions()), now.mono);
        if let Reply::Ok { warning: Some(warning) } | Reply::Sdp { warning: Some(warning), .. } = &reply
            && warning == NO_FOLDER
        {
            self.metrics.record_errors.inc(());
            if let Some(times) = self.notices.due(NO_FOLDER.as_bytes(), now.mono) {
                tracing::error!(
                    times,
                    "calls are to be recorded, and no folder is configured (media.record): they go on unrecorded"
                );
            }
        }
        if let Some(what) = Exhausted::of(&reply) {
            self.log_exhausted(what, now.mono);
        } else if let (Reply::Error { reason } | Reply::LoadLimit { message: reason }, Some(call_id)) =
            (&reply, call_id)
        {
            self.log_refusal(name, &call_id, reason, from, now.mono);
        }
        reply
    }

    /// Counts that something has run out, and says so once in ten seconds: what it was, and how much of it there is.
    fn log_exhausted(&mut self, what: Exhausted, now: Mono) {
        let pool = Pool::of(what);
        self.metrics.exhausted.inc(pool);
        if what == Exhausted::Ports {
            self.metrics.ports_exhausted.inc(());
        }
        let Some(times) = self.notices.due(pool.as_str().as_bytes(), now) else { return };
        let limits = self.book.config();
        match what {
            Exhausted::Ports => {
                let ports = self.book.ports();
                for ((name, address), ip) in self.ports.names.iter().zip(ports.ips()).zip(0..=u8::MAX) {
                    let (used, total) = ports.usage(ip);
                    let resting = ports.resting(ip, now);
                    let (elsewhere, given_early) = (ports.elsewhere(ip, now), ports.given_early());
                    tracing::error!(
                        interface = %name, %address, used, resting, elsewhere, total, given_early, times,
                        "media ports are exhausted: port pairs in use, resting, used by another program, and in all"
                    );
                }
            }
            Exhausted::Descriptors => {
                let ports = self.book.pairs_used().saturating_mul(2);
                tracing::error!(
                    ports,
                    times,
                    "no descriptors for media ports: ports are free, but the process may open no more files for them (ulimit -n)"
                );
            }
            Exhausted::Sessions => {
                let (calls, limit) = (self.book.calls(), limits.max_calls);
                tracing::error!(calls, limit, times, "media sessions are exhausted: max_calls is reached");
            }
            Exhausted::Branches => {
                let limit = limits.max_branches_per_call;
                tracing::warn!(limit, times, "a call wants more branches than it may have");
            }
            Exhausted::CallPorts => {
                let limit = limits.max_ports_per_call;
                tracing::warn!(limit, times, "a call wants more media ports than it may have");
            }
        }
    }

    /// Says once why an offer or answer was refused.
    fn log_refusal(
        &mut self,
        command: NgCommand,
        call_id: &[u8],
        reason: &str,
        from: Option<IpAddr>,
        now: Mono,
    ) {
        if let Some(left_out) = self.refusals.due(now) {
            let (command, call_id) = (command.as_str(), call_id.escape_ascii());
            match from {
                Some(from) => tracing::warn!(command, %call_id, %reason, %from, left_out, "ng refused"),
                None => tracing::warn!(command, %call_id, %reason, left_out, "media refused"),
            }
        }
    }

    fn sessions(&self) -> u64 {
        u64::try_from(self.book.calls()).unwrap_or(u64::MAX)
    }

    fn statistics(&mut self, now: Mono) -> Reply {
        let mut all = self.ledger.statistics(self.metrics.traffic(), self.sessions(), now);
        let ports = self.book.ports();
        let count = |pairs: usize| u64::try_from(pairs).unwrap_or(u64::MAX).saturating_mul(2);
        let shown = self.ports.names.iter().zip(ports.ips()).zip(0..=u8::MAX).take(INTERFACES);
        for ((name, address), ip) in shown {
            let (used, total) = ports.usage(ip);
            all.interfaces.push(Interface {
                name: name.clone(),
                address: *address,
                ports: self.ports.range,
                used: count(used),
                total: count(total),
                last: ports.last(ip),
            });
        }
        Reply::Statistics(Box::new(all))
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.book.poll_output() {
            self.ledger.output(&output, self.sessions(), Clock::mono());
            match output {
                Output::Install { shard, rule } => {
                    let port = rule.local;
                    let mut at_once = true;
                    match self.waiting.take(port, shard) {
                        Handed::Known => {}
                        Handed::Open(socket) => self.tell(shard, ToShard::Open(port, socket), true),
                        Handed::Moved(from, socket) => {
                            self.tell(from, ToShard::Leave(port), true);
                            self.tell(shard, ToShard::Open(port, socket), true);
                        }
                        Handed::Kept(socket) => {
                            at_once = false;
                            if let Some(link) = self.shards.get_mut(usize::from(shard)) {
                                link.kept.push(socket);
                            }
                        }
                    }
                    self.tell(shard, ToShard::Install(*rule), at_once);
                }
                Output::Close { shard, port } => {
                    // Its next packet wakes the shard up, which reads this first.
                    let (used, all) = self.book.ports().usage(port.ip);
                    self.tell(shard, ToShard::Close(port), all - used.min(all) < SPARE_PAIRS);
                }
                Output::TimedOut { call_id, client, tags, due } => {
                    self.metrics.silent_timeouts.inc(());
                    if let (Some(callbacks), Some(client)) = (&self.callbacks, client) {
                        callbacks.tell(Told { client, call_id: call_id.clone(), tags });
                    }
                    guarded(&self.metrics, || (self.on_timeout)(call_id, due));
                }
                Output::Mark { shard, port, tos } => {
                    if let Some(tos) = self.waiting.mark(port, tos) {
                        self.tell(shard, ToShard::Mark(port, tos), false);
                    }
                }
                Output::StreamKind { from, to } => {
                    self.metrics.streams_changed(from.as_ref(), -2);
                    self.metrics.streams_changed(to.as_ref(), 2);
                }
                Output::Record(order) => {
                    if let Some(recorder) = &self.recorder {
                        recorder.tell(order);
                    }
                }
                Output::StreamEnded(stream) => self.metrics.stream_ended(&stream, Clock::mono()),
                Output::CallEnded { .. } => {}
            }
        }
        for (shard, port) in self.waiting.take_leaving() {
            self.tell(shard, ToShard::Leave(port), true);
        }
        let (is_behind, now) = (self.waiting.is_behind(), Clock::mono());
        for shard in &mut self.shards {
            shard.is_urgent |= is_behind;
            shard.flush(now);
        }
        self.metrics.sessions.set((), self.book.calls() as i64);
        let ports = self.book.ports();
        self.metrics.ports_in_use(ports);
        let early = ports.given_early();
        self.metrics.ports_given_early.add((), early.saturating_sub(self.given_early));
        self.given_early = early;
    }

    /// `at_once`: not only with its next packet.
    fn tell(&mut self, shard: u16, message: ToShard, at_once: bool) {
        if let Some(link) = self.shards.get_mut(usize::from(shard)) {
            link.push(message, at_once);
        }
    }
}

impl ShardLink {
    fn new(sender: Sender<ToShard>) -> Self {
        let (backlog, kept) = (VecDeque::new(), Vec::new());
        Self { sender, backlog, kept, is_urgent: false, untold: 0, since: None }
    }

    fn push(&mut self, message: ToShard, at_once: bool) {
        self.is_urgent |= at_once;
        if self.backlog.is_empty() {
            self.put(message);
        } else {
            self.backlog.push_back(message);
        }
    }

    /// Puts it into the mailbox, or where the next is taken from; false: it does not fit.
    fn put(&mut self, message: ToShard) -> bool {
        match self.sender.put(message) {
            Ok(()) => self.untold += 1,
            Err(SendError::Full(message)) => {
                self.backlog.push_front(message);
                return false;
            }
            Err(SendError::Closed(_)) => self.backlog.clear(),
        }
        true
    }

    /// Sends what fits, in order, and wakes the shard when it must know; true when nothing is left. The backlog is bounded by
    /// the book's calls.
    fn flush(&mut self, now: Mono) -> bool {
        while let Some(message) = self.backlog.pop_front() {
            if !self.put(message) {
                break;
            }
        }
        if self.untold > 0 {
            self.since.get_or_insert(now);
        }
        // The shard looks into its mailbox after it has left a port unwatched, and we look at the port after the rule is there:
        // one of the two sees the other.
        let unwatched = self.kept.drain(..).any(|socket| Stand::of(&socket) == Stand::LentUnwatched);
        let is_due = self.untold >= UNTOLD || self.since.is_some_and(|at| now.since(at) >= UNTOLD_FOR);
        if self.is_urgent || unwatched || is_due || !self.backlog.is_empty() {
            self.sender.wake();
            (self.is_urgent, self.untold, self.since) = (false, 0, None);
        }
        self.backlog.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::book::BookConfig;
    use crate::core::ports::PortPool;
    use crate::server::bound::BoundPorts;
    use crate::server::kept::Keep;
    use warp_net::mailbox::mailbox;
    use warp_net::media::MediaSocket;
    use warp_ng::{Delete, SdpCommand};
    use warp_telemetry::metrics::Registry;

    /// A desk whose only shard is played by the test.
    struct World {
        desk: Desk,
        inbox: Mailbox<ToShard>,
        epoll: Epoll,
        keep: Arc<Keep>,
        /// What the shard has.
        sockets: Vec<MediaSocket>,
    }

    impl World {
        fn new() -> World {
            let ip: IpAddr = [127, 0, 0, 1].into();
            // Just two pairs to spare beyond those of which shards hear at once.
            let range = (18_100, 18_100 + 2 * (SPARE_PAIRS as u16 + 4) - 1);
            let pool = PortPool::new(&[ip], range.0..=range.1, 5).unwrap();
            let metrics = Metrics::new(&Registry::new(), &["127.0.0.1".to_owned()], &pool);
            let keep = Arc::new(Keep::new(1_000));
            let (ports, waiting) = BoundPorts::new(pool, 0, Arc::clone(&keep));
            let (sender, inbox) = mailbox(1_024).unwrap();
            let epoll = Epoll::new().unwrap();
            epoll.add(&inbox, MAILBOX_TOKEN, Interest::READ.edge()).unwrap();
            let desk = Desk {
                book: Book::new(BookConfig::default(), Box::new(ports)),
                waiting,
                shards: vec![ShardLink::new(sender)],
                metrics,
                ledger: Ledger::new(Mono(0)),
                ports: PortsShown { names: vec!["127.0.0.1".to_owned()], range },
                on_timeout: Box::new(|_, _| ()),
                callbacks: None,
                refusals: Budget::default(),
                notices: Notices::default(),
                given_early: 0,
                sounds: Sounds::default(),
                recorder: None,
            };
            World { desk, inbox, epoll, keep, sockets: Vec::new() }
        }

        /// Carries a command out; gives whether the shard was woken up by it. `came`: something comes for each port that it lends,
        /// before the shard has the rule.
        fn run(&mut self, command: Command, came: bool) -> bool {
            // Only what this command tells may wake the shard, not the age of what was told before.
            self.desk.shards[0].since = None;
            if came {
                assert!(self.desk.book.handle_command(command, None, Clock::now()).is_ok());
                for socket in &self.sockets {
                    Stand::Lent.step(socket.shared(), Stand::LentUnwatched);
                }
                self.desk.carry_out();
            } else {
                assert!(self.desk.command(command, None, Clock::now()).is_ok());
            }
            let mut events = Events::with_capacity(1);
            self.epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
            !events.is_empty()
        }

        /// What the shard reads; gives the ports of its rules.
        fn read(&mut self) -> Vec<LocalPort> {
            let mut installed = Vec::new();
            let (sockets, keep) = (&mut self.sockets, &self.keep);
            self.inbox.drain(1_024, |message| match message {
                ToShard::Open(_, socket) => sockets.push(socket),
                ToShard::Install(rule) => {
                    installed.push(rule.local);
                    Stand::Busy.set(of(sockets, rule.local).expect("its socket came first").word());
                }
                ToShard::Close(port) => {
                    if let Some(socket) = of(sockets, port).filter(|s| Stand::of(s) == Stand::Busy) {
                        assert!(keep.take());
                        Stand::Resting.set(socket.word());
                    }
                }
                _ => {}
            });
            installed
        }
    }

    fn of(sockets: &[MediaSocket], port: LocalPort) -> Option<&SharedSocket> {
        let is_it = |s: &&MediaSocket| s.local_addr().is_ok_and(|at| at.port() == port.port);
        sockets.iter().find(is_it).map(|s| &**s.shared())
    }

    fn delete(call: &str) -> Command {
        Command::Delete(Delete::call(call))
    }

    fn sdp(call: &str, port: u16) -> SdpCommand {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        );
        SdpCommand::new(call, "f", text)
    }

    fn answer(call: &str) -> Command {
        Command::Answer(SdpCommand { to_tag: Some("t".into()), ..sdp(call, 5_000) })
    }

    /// RFC 0006: the first rule of a kept port waits for the port's next packet. One that came before the rule may be the last for
    /// a while, so then the shard is woken up.
    #[test]
    fn a_rule_waits_for_the_next_packet_unless_one_came_before_it() {
        let mut world = World::new();
        // Each pair is used once, so that its sockets are kept.
        for n in 0..SPARE_PAIRS + 4 {
            let call = format!("before-{n}");
            world.run(Command::Offer(sdp(&call, 4_000)), false);
            world.run(answer(&call), false);
            world.run(delete(&call), false);
            world.read();
        }
        for (call, came) in [("silent", false), ("early", true), ("silent again", false)] {
            assert_eq!(world.run(Command::Offer(sdp(call, 4_000)), came), came, "{call}");
            assert!(!world.read().is_empty(), "{call}: when it is answered, its rules are on their way");
            assert!(world.run(answer(call), false), "{call}: rules that the shard has are changed at once");
            assert!(!world.read().is_empty(), "{call}");
            assert!(!world.run(delete(call), false), "{call}: an end waits as well");
            world.read();
        }
    }
}
