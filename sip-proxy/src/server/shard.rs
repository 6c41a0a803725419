//! One shard: a thread with its sockets, its core, its timers, its journal and its mailbox.
//!
//! A wake-up: epoll → read what came, in batches → each message to its core (this one, or through a mailbox the one that its
//! Call-ID names) → carry out outputs in order → due timers → send what was queued, once per socket → sleep until the
//! next event or timer. The clock is read when the thread wakes and once more before it sleeps.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use warp_capture::{EndedCall, Head, Tap};
use warp_events::journal::Journal;
use warp_feed::Subscriber;
use warp_model::cdr::JournalRecord;
use warp_model::{CallId, Mono, Now};
use warp_net::batch::{self, RecvBatch, RecvOutcome};
use warp_net::clock::{Clock, thread_cpu_time};
use warp_net::epoll::{Epoll, Event, Events, Interest};
use warp_net::mailbox::{Mailbox, Sender};
use warp_net::sched;
use warp_net::tcp::TcpListener;
use warp_net::tls::Tls;
use warp_policy::Snapshot;
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::message::{Method, kind_of};
use warp_sip::resolve::LookupError;
use warp_state::store::Asker;
use warp_telemetry::Seldom;

use super::Note;
use super::load::{Full, Load};
use super::media_control::{MediaControl, MediaLink};

use super::resolver::DnsLink;
use super::sockets::{OutBuf, Sockets, UdpPort};
use super::state_mirror::StateLink;
use super::streams::{Quota, Streams};
use super::token::{self, Target};
use super::vendors::VendorWatch;
use super::wire::{is_answer, refuse, via};
use crate::config::Config;
use crate::core::{
    AskId, AskReply, Command, Core, CoreStats, MessageKind, Output, Question, Shared, TransmitBuf,
    is_emergency, shard_of,
};
use crate::metrics::{CallCounter, Direction, Metrics, SocketError, Stage, Transaction};

/// What a shard is made of; everything that can fail has happened before.
pub(crate) struct Parts {
    pub(crate) index: u16,
    pub(crate) config: Arc<Config>,
    pub(crate) seed: [u8; 32],
    pub(crate) shared: Arc<Shared>,
    pub(crate) sockets: Sockets,
    pub(crate) mailbox: Mailbox<Note>,
    /// Of all shards, by their number.
    pub(crate) senders: Vec<Sender<Note>>,
    pub(crate) quota: Arc<Quota>,
    pub(crate) certificate: Option<Arc<Tls>>,
    pub(crate) media: MediaControl,
    pub(crate) state: Option<Asker>,
    pub(crate) dns: DnsLink,
    pub(crate) snapshots: Option<Subscriber<Snapshot>>,
    pub(crate) journal: Option<Journal>,
    pub(crate) tap: Option<Tap>,
    pub(crate) metrics: Metrics,
}

/// One shard: a thread with its sockets, its core and its journal.
pub(crate) struct Shard {
    pub(super) index: u16,
    pub(super) config: Arc<Config>,
    pub(super) seed: [u8; 32],
    pub(super) shared: Arc<Shared>,
    pub(super) core: Core,
    pub(super) epoll: Epoll,
    pub(super) udp: Vec<UdpPort>,
    pub(super) listeners: Vec<(Transport, TcpListener)>,
    /// Accepting is paused: no descriptors are left.
    pub(super) exhausted: bool,
    pub(super) streams: Streams,
    pub(super) mailbox: Mailbox<Note>,
    /// Taken out of the mailbox, not handled yet.
    pub(super) notes: VecDeque<Note>,
    pub(super) senders: Vec<Sender<Note>>,
    media: MediaLink,
    state: StateLink,
    dns: DnsLink,
    /// Of other nodes' registrations, for the core.
    state_answers: VecDeque<(AskId, warp_state::StateReply)>,
    /// Answers to questions that nobody could be asked.
    unasked: VecDeque<(AskId, AskReply)>,
    snapshots: Option<Subscriber<Snapshot>>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) journal: Option<Journal>,
    /// Where copies of messages go, for pictures of calls.
    tap: Option<Tap>,
    pub(super) metrics: Metrics,
    calls: CallCounter,
    /// The journal refuses new calls, and the cores know.
    unrecorded: bool,
    /// Which vendor trunks are out of rotation, as last said (shard 0).
    vendors: VendorWatch,
    /// A call that must not be connected, because its answer could not be written.
    refused: Option<CallId>,
    /// Such calls whose callers have heard so: the core ends them before it hears of anything else ([`Shard::step_core`]).
    pub(super) unrecorded_calls: Vec<CallId>,
    /// The record that is being written.
    pub(super) in_hand: Option<JournalRecord>,
    /// The connection whose bytes are being read: its framer is out.
    pub(super) reading: Option<LinkId>,
    pub(super) stats: CoreStats,
    full: Full,
    /// TCP connections that wait because the process may open no more files.
    pub(super) no_descriptors: Seldom,
    transactions: [usize; 4],
    pub(super) batch: Option<RecvBatch>,
    pub(super) read_buffer: Option<Box<[u8]>>,
    pub(super) flow_errors: VecDeque<Flow>,
    next_tick: Mono,
    /// Time and CPU time of the last tick.
    last_tick: (Mono, Duration),
    /// Panics since the last tick.
    pub(super) panics: u32,
    requests: bool,
    responses: bool,
    /// Something was queued after the flush: wake at once.
    pub(super) again: bool,
    pub(super) load: Load,
    pub(super) stopping: bool,
}

impl Shard {
    /// Errors: no descriptors, or the media relay's address cannot be used.
    pub(crate) fn new(parts: Parts) -> io::Result<Shard> {
        let epoll = Epoll::new()?;
        epoll.add(&parts.mailbox, token::MAILBOX, Interest::READ.edge())?;
        for (i, port) in parts.sockets.udp.iter().enumerate() {
            epoll.add(&port.socket, token::udp(i), Interest::READ)?;
        }
        for (i, (_, listener)) in parts.sockets.tcp.iter().enumerate() {
            epoll.add(listener, token::listener(i), Interest::READ)?;
        }
        let own = parts.senders.get(usize::from(parts.index)).cloned().ok_or(io::ErrorKind::InvalidInput)?;
        let instance = parts.seed.iter().fold(0_u64, |h, b| h.rotate_left(7) ^ u64::from(*b));
        let seconds = parts.metrics.media_requests.clone();
        let media = MediaLink::new(parts.media, own, parts.index, instance, seconds)?;
        if let Some(socket) = media.socket() {
            epoll.add(socket, token::MEDIA, Interest::READ)?;
        }
        let core_config = Arc::new(parts.config.core.clone());
        let mut core = Core::new(core_config, parts.index, parts.seed, Arc::clone(&parts.shared));
        core.make_room(ROOM);
        let (limits, metrics) = (parts.config.streams, parts.metrics.clone());
        let streams = Streams::new(parts.index, limits, parts.quota, metrics, parts.certificate);
        Ok(Shard {
            index: parts.index,
            config: parts.config,
            seed: parts.seed,
            shared: parts.shared,
            core,
            epoll,
            udp: parts.sockets.udp,
            listeners: parts.sockets.tcp,
            exhausted: false,
            streams,
            mailbox: parts.mailbox,
            notes: VecDeque::new(),
            senders: parts.senders,
            media,
            state: StateLink::new(parts.state, parts.index),
            dns: parts.dns,
            unasked: VecDeque::new(),
            state_answers: VecDeque::new(),
            snapshots: parts.snapshots,
            snapshot: None,
            journal: parts.journal,
            tap: parts.tap,
            calls: CallCounter::new(parts.metrics.calls.clone()),
            metrics: parts.metrics,
            unrecorded: false,
            vendors: VendorWatch::default(),
            refused: None,
            unrecorded_calls: Vec::new(),
            in_hand: None,
            reading: None,
            stats: CoreStats::default(),
            full: Full::default(),
            no_descriptors: Seldom::new(),
            transactions: [0; 4],
            batch: Some(RecvBatch::new(BATCH, DATAGRAM_BYTES)),
            read_buffer: Some(vec![0; READ_BYTES].into_boxed_slice()),
            flow_errors: VecDeque::new(),
            next_tick: Mono(0),
            last_tick: (Mono(0), Duration::ZERO),
            panics: 0,
            requests: false,
            responses: false,
            again: false,
            load: Load::new(Clock::mono()),
            stopping: false,
        })
    }

    /// The thread's life: until [`Note::Stop`].
    pub(crate) fn run(mut self) {
        if self.config.pin_shards {
            let cpus = sched::available_cpus();
            let cpu = cpus.get(usize::from(self.index) % cpus.len().max(1)).copied();
            if let Some(Err(error)) = cpu.map(sched::pin_to_cpu) {
                tracing::warn!(shard = self.index, %error, "cannot keep the shard on its CPU");
            }
        }
        let mut events = Events::with_capacity(EVENTS);
        self.guarded(|shard| shard.take_snapshot(Clock::now()));
        while !self.stopping {
            // All of it, the look at the clock included: whatever panics, the sockets stay open and are read again (F-PROC-05).
            self.guarded(|shard| shard.turn(&mut events));
        }
        self.media.submit_lazy(Clock::mono());
        if let Some(tap) = &mut self.tap {
            tap.hand_over();
        }
        self.carry_stats();
    }

    /// Sleeps until something happens, and handles it.
    pub(super) fn turn(&mut self, events: &mut Events) {
        let before = Clock::mono();
        let timeout = match std::mem::take(&mut self.again) {
            true => Duration::ZERO,
            false => self.next_deadline().since(before),
        };
        if let Err(error) = self.epoll.wait(events, Some(timeout)) {
            // Only a descriptor that is no epoll fails so.
            tracing::error!(shard = self.index, %error, "epoll failed");
            self.stopping = true;
            return;
        }
        let now = Clock::now();
        self.wake_up(events, now);
        self.load.left_over(events.len() == EVENTS);
        if let Some(level) = self.load.woke(self.index, now.mono, now.mono.since(before), &self.metrics) {
            self.core.set_overload(level);
        }
    }

    /// Everything that one wake-up does.
    fn wake_up(&mut self, events: &Events, now: Now) {
        // What a panic cut off.
        self.on_notes(now);
        for i in 0..events.len() {
            if let Some(event) = events.at(i) {
                self.on_event(event, now);
            }
        }
        // Replies that came without a wake-up, because nobody waits for them.
        if self.media.has_lazy() && self.mailbox.has_news() {
            self.on_mailbox(now);
        }
        if self.core.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.with_core(now, |core| core.handle_timeout(now));
        }
        if self.media.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.media.handle_timeout(now.mono);
            self.settle(now);
        }
        if self.next_tick <= now.mono {
            self.tick(now);
        }
        self.flush(now);
    }

    fn next_deadline(&self) -> Mono {
        [self.core.poll_timeout(), self.media.poll_timeout()]
            .into_iter()
            .flatten()
            .fold(self.next_tick, Mono::min)
    }

    fn on_event(&mut self, event: Event, now: Now) {
        match token::target(event.token) {
            Target::Udp(i) => self.on_udp(i, event, now),
            Target::Stream(id) => self.on_stream(id, event, now),
            Target::Mailbox => self.on_mailbox(now),
            Target::Listener(i) => self.on_listener(i, now),
            Target::Media => {
                self.media.handle_readable();
                self.settle(now);
            }
        }
    }

    // ---- UDP

    fn on_udp(&mut self, i: usize, event: Event, now: Now) {
        if event.error() {
            self.take_reports(i, now);
        }
        if event.writable()
            && let Some(port) = self.udp.get_mut(i)
            && port.blocked
        {
            port.blocked = false;
            let _ = self.epoll.modify(&port.socket, token::udp(i), Interest::READ);
        }
        if !event.readable() {
            return;
        }
        let Some(mut batch) = self.batch.take() else { return };
        for round in 1..=BATCHES_PER_EVENT {
            let Some(port) = self.udp.get(i) else { break };
            let local = port.socket.local_addr();
            match batch.recv(&port.socket) {
                RecvOutcome::Datagrams(n) => {
                    for k in 0..n {
                        if let Some((bytes, remote)) = batch.datagram(k) {
                            self.on_message(Flow::udp(local, remote), bytes, now);
                        }
                    }
                    if n < batch.capacity() {
                        break;
                    }
                    self.load.left_over(round == BATCHES_PER_EVENT);
                }
                RecvOutcome::Empty => break,
                RecvOutcome::Error(_) => self.metrics.socket_errors.inc((SocketError::Receive,)),
            }
        }
        self.batch = Some(batch);
    }

    /// ICMP errors about what we sent from port `i`.
    fn take_reports(&mut self, i: usize, now: Now) {
        for _ in 0..REPORTS_PER_EVENT {
            let Some(port) = self.udp.get(i) else { return };
            let Some(report) = batch::take_report(&port.socket) else { break };
            self.metrics.socket_errors.inc((SocketError::Unreachable,));
            self.flow_errors.push_back(Flow::udp(port.socket.local_addr(), report.to));
        }
        self.settle(now);
    }

    // ---- messages

    /// A whole message: to its core, here or on another shard.
    pub(super) fn on_message(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        // Keep-alives (RFC 5626 §4.4.1) and other noise that nobody answers on UDP.
        if bytes.len() <= 4 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        if self.tap.is_some() {
            // Before what is made of it, so that both stand in their order.
            self.capture(&flow, bytes, kind_of(bytes), Direction::Ingress, now);
        }
        let owner = shard_of(bytes, self.config.shards);
        let mut read = None;
        if owner == self.index {
            self.with_core(now, |core| core.handle_message(flow, bytes, now));
            read = self.core.take_read();
        } else {
            self.metrics.handed_over.inc(());
            self.tell(owner, Note::Message { flow, bytes: bytes.to_vec() });
        }
        // What the core has read need not be read again to be counted.
        let kind = read.or_else(|| kind_of(bytes));
        match self.metrics.message_of(kind, Direction::Ingress, via(flow.transport)) {
            Stage::Request => self.requests = true,
            Stage::Response => self.responses = true,
        }
    }

    pub(super) fn run_outputs(&mut self, now: Now) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.transmit(flow, bytes, now),
                Output::Ask { id, question: Question::Media(command) } => {
                    self.media.ask(id, command, now.mono);
                }
                Output::Ask { id, question: Question::Locate(wanted) } => {
                    if let Some((id, wanted)) = self.dns.ask(id, wanted) {
                        self.unasked.push_back((id, AskReply::Located(wanted, Err(LookupError::Failed))));
                    }
                }
                Output::Ask { id, question: Question::Look(aor) } => {
                    self.state_answers.extend(self.state.look(id, aor));
                }
                Output::Ask { id, question: Question::Write { write, wait } } => {
                    self.state_answers.extend(self.state.write(id, write, wait));
                }
                Output::Journal(record) => {
                    self.in_hand = Some(record);
                    self.write_journal();
                }
                Output::CloseFlow(flow) => self.close_flow(flow),
            }
        }
    }

    /// Gives the core the answers and errors that its own outputs caused, until there are none.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            if let Some((id, answer)) = self.media.take_answer() {
                self.answer(id, answer, now);
            } else if let Some((id, answer)) = self.unasked.pop_front() {
                self.answer(id, answer, now);
            } else if let Some((id, answer)) = self.state_answers.pop_front() {
                self.step_core(now, |core| core.handle_state(id, &answer, now));
            } else if let Some(flow) = self.flow_errors.pop_front() {
                self.step_core(now, |core| core.handle_flow_error(flow, now));
            } else {
                return;
            }
        }
    }

    fn answer(&mut self, id: AskId, answer: AskReply, now: Now) {
        self.step_core(now, |core| core.handle_answer(id, answer, now));
    }

    /// Writes the record in hand before anything that follows it leaves: an `Answered` one at once, an `Ended` one with the others of this
    /// turn. An answer that cannot be written is not passed on: the message
    /// after it (the 200) becomes a 503 and the call is ended (F-DISK-01). Ended records are kept by the journal. It stays in hand until
    /// it is written: after a panic on the way it is written again.
    pub(super) fn write_journal(&mut self) {
        let Some(record) = &self.in_hand else { return };
        self.calls.record(record);
        if let (Some(tap), JournalRecord::Ended(call)) = (&mut self.tap, record) {
            tap.ended(call.end_at, &EndedCall::of(call), Clock::mono());
        }
        match (&mut self.journal, record) {
            (None, _) => {}
            (Some(journal), JournalRecord::Ended(call)) => journal.gather(call),
            (Some(journal), JournalRecord::Answered(call)) => {
                if let Err(error) = journal.append(record) {
                    self.metrics.journal_errors.inc(());
                    tracing::error!(shard = self.index, %error, "the call journal cannot be written");
                    // Nobody pays for an emergency call, and it is not hung up for want of a record: its end is kept in memory until it can be written.
                    if !is_emergency(call) {
                        self.refused = Some(call.cdr_id);
                    }
                }
            }
        }
        self.in_hand = None;
        self.watch_journal();
    }

    /// Writes the records of the calls that are over since the last turn, before anything leaves that was made after them.
    fn write_ended(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if let Err(error) = journal.write_gathered() {
            self.metrics.journal_errors.inc(());
            tracing::error!(shard = self.index, %error, "the call journal cannot be written; finished records are kept in memory");
            self.watch_journal();
        }
    }

    /// Tells the cores whether new calls may be taken.
    fn watch_journal(&mut self) {
        let failing = self.journal.as_ref().is_some_and(|j| !j.accepting());
        if failing != self.unrecorded {
            self.unrecorded = failing;
            self.shared.unrecorded(failing);
            tracing::warn!(shard = self.index, failing, "call journal: new calls are refused while it fails");
        }
    }

    // ---- sending

    fn transmit(&mut self, flow: Flow, bytes: TransmitBuf, now: Now) {
        // The 200 that belongs to the record; what goes out before it is not about it.
        let bytes = match self.refused.take_if(|_| is_answer(&bytes)) {
            None => bytes,
            Some(cdr_id) => {
                self.unrecorded_calls.push(cdr_id);
                refuse(bytes)
            }
        };
        let kind = bytes.answers.map(|(status, method)| (Some(status), method)).or_else(|| kind_of(&bytes));
        self.metrics.message_of(kind, Direction::Egress, via(flow.transport));
        self.capture(&flow, &bytes, kind, Direction::Egress, now);
        match flow.transport {
            Transport::Udp => self.transmit_udp(flow, bytes),
            _ => self.transmit_stream(flow, bytes, now),
        }
    }

    /// A copy for pictures of calls, when somebody wants them: of what may be part of a call, and of what strangers want.
    #[inline]
    fn capture(
        &mut self,
        flow: &Flow,
        bytes: &[u8],
        kind: Option<MessageKind>,
        direction: Direction,
        now: Now,
    ) {
        let Some(tap) = &mut self.tap else { return };
        let stranger = self.core.is_stranger(flow.remote.ip());
        // Signs of life and registrations of peers are no calls.
        let no_call = matches!(kind, None | Some((_, Method::Options | Method::Register)));
        if stranger || !no_call {
            let head = Head::of(now.wall, flow, direction == Direction::Ingress, stranger);
            tap.message(&head, bytes, now.mono);
        }
    }

    fn transmit_udp(&mut self, flow: Flow, bytes: TransmitBuf) {
        let exact = self.udp.iter().position(|p| p.socket.local_addr() == flow.local);
        let fits = |p: &UdpPort| p.socket.local_addr().is_ipv4() == flow.remote.is_ipv4();
        let port = exact.or_else(|| self.udp.iter().position(fits));
        let Some(port) = port.and_then(|i| self.udp.get_mut(i)) else {
            self.metrics.socket_errors.inc((SocketError::Send,));
            self.flow_errors.push_back(flow);
            self.core.recycle(bytes);
            return;
        };
        if let Err(OutBuf(bytes)) = port.out.push(flow.remote, OutBuf(bytes)) {
            self.metrics.socket_errors.inc((SocketError::QueueFull,));
            self.core.recycle(bytes);
        }
    }

    /// Sends what this wake-up queued.
    pub(super) fn flush(&mut self, now: Now) {
        self.write_ended();
        if let Some(tap) = &mut self.tap {
            tap.turn(now.mono);
        }
        for i in 0..self.udp.len() {
            let Some(port) = self.udp.get_mut(i) else { continue };
            if port.out.is_empty() || port.blocked {
                continue;
            }
            let local = port.socket.local_addr();
            let (core, errors, metrics) = (&mut self.core, &mut self.flow_errors, &self.metrics);
            let flushed = port.out.flush(
                &port.socket,
                |to, _| {
                    metrics.socket_errors.inc((SocketError::Send,));
                    errors.push_back(Flow::udp(local, to));
                },
                |OutBuf(bytes)| core.recycle(bytes),
            );
            if flushed.full && self.epoll.modify(&port.socket, token::udp(i), Interest::READ_WRITE).is_ok() {
                port.blocked = true;
            }
        }
        let mut lost = Vec::new();
        self.streams.flush(&self.epoll, now.mono, |flow| lost.push(flow));
        for flow in lost {
            self.lose(Some(flow));
        }
        if !self.flow_errors.is_empty() {
            // What the core does about it leaves with the next wake-up, which is now.
            self.settle(now);
            self.again = true;
        }
        if self.requests || self.responses {
            let spent = Clock::mono().since(now.mono);
            for (any, stage) in [(self.requests, Stage::Request), (self.responses, Stage::Response)] {
                if any {
                    self.metrics.latency.observe((stage,), spent);
                }
            }
            (self.requests, self.responses) = (false, false);
        }
    }

    // ---- mailbox, timers

    pub(super) fn tell(&self, shard: u16, note: Note) {
        let Some(sender) = self.senders.get(usize::from(shard)) else { return };
        if sender.send(note).is_err() {
            self.metrics.mailbox_full.inc(());
        }
    }

    pub(super) fn on_mailbox(&mut self, now: Now) {
        let notes = &mut self.notes;
        self.mailbox.drain(NOTES_PER_EVENT, |note| notes.push_back(note));
        self.load.left_over(self.notes.len() >= NOTES_PER_EVENT);
        // Whatever happens to the notes before it, an end is an end.
        self.stopping |= self.notes.iter().any(|note| matches!(note, Note::Stop));
        self.on_notes(now);
    }

    /// One by one, so that a panic costs the note at hand and the others wait for the next turn.
    pub(super) fn on_notes(&mut self, now: Now) {
        while let Some(note) = self.notes.pop_front() {
            self.on_note(note, now);
        }
    }

    fn on_note(&mut self, note: Note, now: Now) {
        match note {
            Note::Message { flow, bytes } => {
                self.with_core(now, |core| core.handle_message(flow, &bytes, now));
            }
            Note::Transmit { flow, bytes } => self.transmit_stream(flow, bytes, now),
            Note::FlowError(flow) => {
                self.flow_errors.push_back(flow);
                self.settle(now);
            }
            Note::CloseFlow(flow) => self.close_flow(flow),
            Note::MediaReply(number, reply) => {
                self.media.handle_reply(number, reply);
                self.settle(now);
            }
            Note::StateAnswer(id, answer) => {
                self.state_answers.push_back((AskId(id), answer));
                self.settle(now);
            }
            Note::HandOver(waiting) => {
                if let Some(tap) = &mut self.tap {
                    tap.hand_over();
                }
                drop(waiting);
            }
            Note::Located(id, wanted, found) => {
                self.answer(id, AskReply::Located(wanted, found), now);
                self.settle(now);
            }
            Note::Snapshot => self.take_snapshot(now),
            Note::Command(command) => self.command(command, now),
            Note::Stop => {}
        }
    }

    fn command(&mut self, command: Command, now: Now) {
        self.with_core(now, |core| core.handle_command(command, now));
    }

    pub(super) fn take_snapshot(&mut self, now: Now) {
        let Some(snapshots) = &self.snapshots else { return };
        let latest = snapshots.latest();
        if self.snapshot.as_ref().is_some_and(|held| Arc::ptr_eq(held, &latest)) {
            return;
        }
        self.calls.snapshot(&latest, self.index == 0, now.mono);
        self.snapshot = Some(Arc::clone(&latest));
        self.with_core(now, |core| core.handle_snapshot(latest, now));
    }

    /// About once a second: heartbeat of the journal, deadlines of streams, counters.
    fn tick(&mut self, now: Now) {
        self.next_tick = now.mono + TICK;
        let cpu = thread_cpu_time();
        let passed = now.mono.since(self.last_tick.0).as_micros().max(1);
        let spent = cpu.saturating_sub(self.last_tick.1).as_micros();
        let share = u64::try_from(spent * 1_000_000 / passed).unwrap_or(1_000_000);
        self.metrics.busy.set(self.index, share.min(1_000_000));
        self.last_tick = (now.mono, cpu);
        self.panics = 0;
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.heartbeat(now.wall)
        {
            self.metrics.journal_errors.inc(());
            tracing::warn!(shard = self.index, %error, "no heartbeat in the call journal");
        }
        if !self.streams.is_empty() {
            let mut lost = Vec::new();
            self.streams.sweep(now.mono, |flow| lost.push(flow));
            for flow in lost {
                self.lose(Some(flow));
            }
            self.settle(now);
        }
        self.pause_accepting(false);
        // A note that a full mailbox refused is made good here.
        self.take_snapshot(now);
        self.watch_journal();
        self.calls.tick(self.core.live_calls());
        self.core.take_probe_times().for_each(|(id, took)| self.calls.probed(id, took));
        if self.index == 0
            && let Some(snapshot) = &self.snapshot
        {
            self.vendors.look(&snapshot.directory, &self.shared, &self.calls, now.mono);
        }
        if self.index == 0 {
            self.metrics.registrations.set((), self.shared.registrations() as i64);
        }
        self.carry_stats();
    }

    /// As while a batch is being worked on.
    #[cfg(test)]
    pub(super) fn without_buffers(&mut self, step: impl FnOnce()) {
        let (batch, buffer) = (self.batch.take(), self.read_buffer.take());
        assert!(batch.is_some() && buffer.is_some());
        step();
        (self.batch, self.read_buffer) = (batch, buffer);
    }

    #[cfg(test)]
    pub(super) fn media(&mut self) -> &mut MediaLink {
        &mut self.media
    }

    #[cfg(test)]
    pub(super) fn core_stats(&self) -> CoreStats {
        self.core.stats()
    }

    pub(super) fn carry_stats(&mut self) {
        let stats = self.core.stats();
        self.metrics.carry(&self.stats, &stats);
        let refused = stats.table_full.wrapping_sub(self.stats.table_full);
        if let Some(refused) = self.full.due(refused, Clock::mono()) {
            let shard = self.index;
            tracing::warn!(shard, refused, "no room for more transactions or calls: requests are refused");
        }
        self.stats = stats;
        let kinds = self.core.transaction_kinds();
        let labels = [Transaction::Ict, Transaction::Ist, Transaction::Nict, Transaction::Nist];
        for ((kind, was), is) in labels.into_iter().zip(self.transactions).zip(kinds) {
            self.metrics.transactions.add((kind,), is as i64 - was as i64);
        }
        self.transactions = kinds;
    }
}

/// Datagrams of one receive call.
pub(super) const BATCH: usize = 32;
/// Every UDP datagram fits: 65,507 bytes at most.
pub(super) const DATAGRAM_BYTES: usize = 65_536;
pub(super) const READ_BYTES: usize = 65_536;
/// Transactions of each side that memory is ready for at the start: about 60 calls a second, for the 32 s that they are kept.
const ROOM: usize = 4_096;
const EVENTS: usize = 256;
/// Bounds that keep one busy source from starving the others within a wake-up; what is left is reported again.
const BATCHES_PER_EVENT: usize = 4;
const REPORTS_PER_EVENT: usize = 32;
pub(super) const ACCEPTS_PER_EVENT: usize = 64;
const NOTES_PER_EVENT: usize = 1_024;
const TICK: Duration = Duration::from_secs(1);
