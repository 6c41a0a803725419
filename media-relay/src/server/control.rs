//! The control thread: owns the call book, the ng listener and the port sockets not yet with a shard; carries out what the
//! book asks for, in order. It sees no packet.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warp_media::LocalPort;
use warp_model::{Mono, Now};
use warp_net::clock::Clock;
use warp_net::epoll::{Epoll, Events, Interest};
use warp_net::mailbox::{Mailbox, SendError, Sender};
use warp_ng::statistics::Interface;
use warp_ng::{Command, Reply};

use super::bound::Waiting;
use super::ng_listener::{NgListener, Refused, command_label, result_label};
use super::shard::ToShard;
use crate::core::Output;
use crate::core::book::{Book, Limits};
use crate::core::ledger::{INTERFACES, Ledger, kind_of};
use crate::metrics::Metrics;

/// Commands taken per wake-up.
const COMMANDS: usize = 256;
/// While a shard's mailbox is full, it is tried again this often.
const RETRY: Duration = Duration::from_millis(1);
const MAILBOX_TOKEN: u64 = 0;
const NG_TOKEN: u64 = 1;

/// Takes the answer to a command.
pub(crate) type Answer = Box<dyn FnOnce(Reply) + Send>;

/// What reaches the control thread.
pub(crate) enum ToControl {
    /// A command of this process.
    Command(Box<Command>, Answer),
    /// A shard learnt a peer (NAT).
    Learnt(LocalPort, SocketAddr),
    /// Other limits.
    Limits(Limits),
    /// End everything.
    Stop,
}

struct ShardLink {
    sender: Sender<ToShard>,
    backlog: VecDeque<ToShard>,
}

/// See the module.
pub(crate) struct ControlThread {
    book: Book,
    waiting: Waiting,
    shards: Vec<ShardLink>,
    mailbox: Mailbox<ToControl>,
    ng: Option<NgListener>,
    epoll: Epoll,
    metrics: Metrics,
    ledger: Ledger,
    ports: PortsShown,
    on_timeout: Box<dyn Fn(Vec<u8>) + Send>,
    stopping: bool,
}

/// What `statistics` says of the interfaces besides their use.
pub(crate) struct PortsShown {
    /// Names by address.
    pub(crate) names: Vec<String>,
    /// The range.
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
        on_timeout: Box<dyn Fn(Vec<u8>) + Send>,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&mailbox, MAILBOX_TOKEN, Interest::READ.edge())?;
        let shards =
            shards.into_iter().map(|sender| ShardLink { sender, backlog: VecDeque::new() }).collect();
        let ledger = Ledger::new(Clock::mono());
        Ok(Self {
            book,
            waiting,
            shards,
            mailbox,
            ng: None,
            epoll,
            metrics,
            ledger,
            ports,
            on_timeout,
            stopping: false,
        })
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

    /// Runs until [`ToControl::Stop`]; then stops the shards.
    pub(crate) fn run(&mut self) {
        let mut events = Events::with_capacity(8);
        while !self.stopping {
            let wake_up = std::panic::AssertUnwindSafe(|| self.wake_up(&mut events));
            if std::panic::catch_unwind(wake_up).is_err() {
                self.metrics.panics.inc(());
            }
        }
        for shard in &mut self.shards {
            shard.backlog.push_back(ToShard::Stop);
        }
        while self.shards.iter_mut().any(|s| !s.flush()) {
            std::thread::sleep(RETRY);
        }
    }

    fn wake_up(&mut self, events: &mut Events) {
        let timeout = self.timeout();
        if self.epoll.wait(events, timeout).is_err() {
            std::thread::sleep(RETRY);
        }
        let now = Clock::now();
        for event in events.iter() {
            match event.token {
                NG_TOKEN => self.serve_ng(now),
                _ => self.take_messages(now),
            }
        }
        self.book.handle_timeout(now);
        self.book.handle_samples(now);
        self.carry_out();
        for shard in &mut self.shards {
            shard.flush();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.shards.iter().any(|s| !s.backlog.is_empty()) {
            return Some(RETRY);
        }
        let next = [self.book.poll_timeout(), self.book.poll_sample()].into_iter().flatten().min();
        next.map(|at| at.since(Clock::mono()))
    }

    fn serve_ng(&mut self, now: Now) {
        let Some(mut ng) = self.ng.take() else { return };
        let metrics = self.metrics.clone();
        ng.serve(&metrics, now.mono, |command, from| match command {
            Ok(command) => self.command(command, Some(from.ip()), now),
            Err(Refused(reason)) => {
                self.ledger.refused(Some(from.ip()));
                Reply::error(reason)
            }
        });
        self.ng = Some(ng);
    }

    fn take_messages(&mut self, now: Now) {
        let mut messages = Vec::new();
        self.mailbox.drain(COMMANDS, |m| messages.push(m));
        for message in messages {
            match message {
                ToControl::Command(command, answer) => answer(self.command(*command, None, now)),
                ToControl::Learnt(port, peer) => self.book.handle_learnt(port, peer),
                ToControl::Limits(limits) => self.book.set_limits(&limits),
                ToControl::Stop => self.stopping = true,
            }
        }
    }

    /// Carries out one command with all that follows from it: when the answer is given, the rules are on their way.
    fn command(&mut self, command: Command, from: Option<IpAddr>, now: Now) -> Reply {
        let name = command_label(&command);
        let kind = kind_of(&command);
        let (begun, sessions) = (Clock::mono(), self.sessions());
        let reply = match command {
            Command::Statistics => self.statistics(now.mono),
            command => self.book.handle_command(command, from, now),
        };
        self.carry_out();
        let labels = (name, result_label(&reply));
        let took = Clock::mono().since(begun);
        self.metrics.ng_requests.inc(labels);
        self.metrics.ng_request_seconds.observe(labels, took);
        self.ledger.command(kind, from, &reply, took, (sessions, self.sessions()), now.mono);
        reply
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
                    if let Some(socket) = self.waiting.take(port) {
                        self.tell(shard, ToShard::Open(port, socket));
                    }
                    self.tell(shard, ToShard::Install(rule));
                }
                Output::Close { shard, port } => {
                    drop(self.waiting.take(port));
                    self.tell(shard, ToShard::Close(port));
                }
                Output::TimedOut { call_id } => {
                    self.metrics.silent_timeouts.inc(());
                    (self.on_timeout)(call_id);
                }
                Output::Mark { shard, port, tos } => {
                    if let Some(tos) = self.waiting.mark(port, tos) {
                        self.tell(shard, ToShard::Mark(port, tos));
                    }
                }
                Output::StreamKind { from, to } => {
                    self.metrics.streams_changed(from.as_ref(), -2);
                    self.metrics.streams_changed(to.as_ref(), 2);
                }
                Output::StreamEnded(stream) => self.metrics.stream_ended(&stream, Clock::mono()),
                Output::CallEnded { .. } => {}
            }
        }
        self.metrics.sessions.set((), self.book.calls() as i64);
        self.metrics.ports_in_use(self.book.ports());
    }

    fn tell(&mut self, shard: u16, message: ToShard) {
        if let Some(link) = self.shards.get_mut(usize::from(shard)) {
            link.backlog.push_back(message);
            link.flush();
        }
    }
}

impl ShardLink {
    /// Sends what fits, in order; true when nothing is left. The backlog is bounded by the book's calls.
    fn flush(&mut self) -> bool {
        while let Some(message) = self.backlog.pop_front() {
            match self.sender.send(message) {
                Ok(()) => {}
                Err(SendError::Full(message)) => {
                    self.backlog.push_front(message);
                    return false;
                }
                Err(SendError::Closed(_)) => self.backlog.clear(),
            }
        }
        true
    }
}
