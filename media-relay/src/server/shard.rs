//! A packet shard: one thread, its epoll, its sockets, its rules. Both sides of a call are on one shard.
//!
//! Per packet: one recvfrom (without the source, where the socket is connected and nothing older waits: 4 % less), one rule,
//! one send; no allocation, no lock, no log line, no clock (the time is read once per wake-up). What a wake-up finds is
//! received in small lots and then sent on (5 % less: two short paths instead of one long, and receivers on this machine are
//! woken less often). Rules and sockets come by mailbox from the control thread; what is learnt goes back the same way.
//!
//! Each packet lies in the lot with room around it. A rule with a pipeline changes it there and copies it for its further
//! receivers; a plain one sends it as it came. What is for us and not for the far side goes to the shard's session machine.
//! A port whose call has ended keeps its socket while it rests, without a rule ([`super::kept`]). Rules for kept sockets come
//! without a wake-up: whatever wakes the shard, it reads its mailbox before the packet. Sockets are connected at their first packet.
//! Nothing here walks over the ports: a rule names the ports that send to its peer and the RTCP port beside it, and sockets
//! of learnt peers are looked after in a queue ([`Watch`]).
//!
//! Tried and left out, because none measured better by more than the noise: edge-triggered epoll (loses the second of two
//! packets that came together), prefetching the next rule, pinning. A nap of 1 ms that gathers packets saved 8 % and costs
//! up to 1 ms of delay: not taken (`bench/results/rtp-relay-fifo.json`).

mod players;
mod sessions;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_media::packet::{HEAD_ROOM, RoomyPacket, TAIL_ROOM};
use warp_media::play::Playing;
use warp_media::session::{SessionMachine, Source};
use warp_media::{
    Carries, DropReason, ForwardRule, Judgement, LearntPeer, LocalPort, MediaPath, RuleState, SourcePolicy,
};
use warp_model::Mono;
use warp_net::clock::Clock;
use warp_net::epoll::{Epoll, Event, Events, Interest};
use warp_net::mailbox::{Mailbox, Sender};
use warp_net::media::MediaSocket;
use warp_net::udp::{Received, Sent};

use super::control::ToControl;
use super::kept::{Keep, STRAYS, Stand};
use super::slots::Slots;
use crate::metrics::{Direction, Metrics, PacketError, PacketPath};

/// Largest datagram read: a UDP payload has at most 65,507 bytes.
const BUFFER_BYTES: usize = 65_536;
/// The receive lot: as many bytes as may wait, and behind them the largest datagram with its room, twice (a copy for a further
/// receiver).
const LOT_BYTES: usize = BUFFER_BYTES + 2 * (HEAD_ROOM + BUFFER_BYTES + TAIL_ROOM);
/// Events taken per wake-up.
const EVENTS: usize = 512;
/// Control messages taken per wake-up, so that a burst of set-ups does not hold up media.
const MESSAGES: usize = 64;
/// The same for those that came without a wake-up: no more than so many wait before there is one, beside a burst of others.
const MESSAGES_UNTOLD: usize = 256;
/// One packet in this many is timed.
const SAMPLE: u64 = 1_024;
/// Packets received before they are sent on: the first waits while the others are read, some 50 µs by estimate. 16 measured the
/// same, 64 a little dearer (`bench/results/steps-2026-11-28.json`).
const GATHER: usize = 32;
/// Packets read at one event of a socket that was connected just now.
const CATCH_UP: usize = 64;
/// A learnt peer's socket is looked at this often while it is connected: one that is silent is no longer the only one heard
/// ([`RuleState::only_source`]).
const WATCH_EVERY: Duration = Duration::from_millis(500);
const MAILBOX_TOKEN: u64 = u64::MAX;

/// What the control thread tells a shard. By value: what one thread allocates and another frees makes both wait for each other.
#[allow(clippy::large_enum_variant)] // the mailbox has room for the largest once, and nothing is copied but the message
pub(crate) enum ToShard {
    /// A bound socket for a port; silent until a rule comes.
    Open(LocalPort, MediaSocket),
    /// A rule for an opened port, first or newer.
    Install(ForwardRule),
    /// Mark what the port sends with this DSCP and ECN byte.
    Mark(LocalPort, u8),
    /// The port's call has ended: it has no rule any more, and its socket is kept or closed.
    Close(LocalPort),
    /// Let go of the port's socket: another shard has it, or nobody wants it.
    Leave(LocalPort),
    /// End the thread.
    Stop,
}

/// Knobs of the packet path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Connect sockets to their only peer.
    pub(crate) connect: bool,
    /// Bind the thread to this CPU.
    pub(crate) cpu: Option<usize>,
}

/// A port. In the order of use by a packet: see [`RuleState`].
#[repr(C)]
struct Entry {
    socket: MediaSocket,
    generation: u32,
    port: LocalPort,
    watched: bool,
    /// In the queue of [`Watch`]es.
    looked_after: bool,
    /// Connected, and all that came in before has been read: the kernel lets in nobody but the peer.
    only_peer: bool,
    /// Its next packet, in or out, is not a usual one: it has no rule, is at rest, or is to be connected.
    is_special: bool,
    /// In use by a call; else kept.
    is_open: bool,
    /// To be connected at its next packet.
    connect_due: bool,
    /// Datagrams that are read and forgotten until it is closed.
    strays: u8,
    /// How many calls it has had: what was noted about an earlier one is void.
    life: u32,
    /// Slots of the two egress ports, checked by port on use.
    out: [u32; 2],
    state: Option<RuleState>,
    /// What is played to the receiver of this port's packets.
    playing: Option<Arc<Playing>>,
}

impl Entry {
    fn settle(&mut self) {
        self.is_special = !self.is_open || self.connect_due || self.state.is_none();
    }

    /// Connects it to its only source, when that is due.
    #[cold]
    fn connect(&mut self, now: Mono) {
        if std::mem::take(&mut self.connect_due) {
            let only = self.state.as_ref().and_then(|state| state.only_source(now));
            // Without a route the socket stays open to all and the rule alone checks the source.
            let _ = self.socket.set_peer(only);
            self.settle();
        }
    }

    /// The kernel need not say whose packet it is where it lets in only one peer's.
    #[inline]
    fn receive(&self, buffer: &mut [u8]) -> Received {
        match self.only_peer {
            true => self.socket.recv_from_peer(buffer),
            false => self.socket.recv(buffer),
        }
    }
}

/// A packet that was let in, in the shard's buffer, and where it goes.
struct Packet {
    slot: usize,
    at: usize,
    len: usize,
    dest: SocketAddr,
    out_port: LocalPort,
    path: MediaPath,
}

/// When a learnt peer's socket is looked at again. All wait equally long, so that the queue is in order.
struct Watch {
    due: Mono,
    slot: u32,
    generation: u32,
    life: u32,
}

#[derive(Default)]
struct Tally {
    received: u64,
    received_bytes: u64,
    sent: u64,
    sent_bytes: u64,
    socket_errors: u64,
    drops: [u64; DropReason::COUNT],
}

impl Tally {
    fn drop(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason.index()) {
            *count += 1;
        }
    }
}

/// One thread of packets: its sockets, its rules and its epoll.
pub(crate) struct Shard {
    epoll: Epoll,
    mailbox: Mailbox<ToShard>,
    /// Taken out and carried out; empty in between.
    messages: Vec<ToShard>,
    control: Sender<ToControl>,
    metrics: Metrics,
    tuning: Tuning,
    keep: Arc<Keep>,
    entries: Slots<Entry>,
    by_port: HashMap<LocalPort, u32>,
    generation: u32,
    watches: VecDeque<Watch>,
    /// What is played: when its next packet is due. All wait equally long, so that the queue is in order.
    players: VecDeque<players::Due>,
    sessions: SessionMachine,
    /// Packets that wait to be sent, one behind the other; behind them room for the largest.
    buffer: Box<[u8]>,
    filled: usize,
    waiting: Vec<Packet>,
    tally: Tally,
    packets: u64,
    /// Something came for a port without a rule, which may be in the mailbox.
    rules_wanted: bool,
    stopping: bool,
}

impl Shard {
    /// A shard that reads `mailbox` and reports to `control`.
    pub(crate) fn new(
        mailbox: Mailbox<ToShard>,
        control: Sender<ToControl>,
        metrics: Metrics,
        tuning: Tuning,
        keep: Arc<Keep>,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&mailbox, MAILBOX_TOKEN, Interest::READ.edge())?;
        Ok(Self {
            epoll,
            mailbox,
            messages: Vec::with_capacity(MESSAGES),
            control,
            metrics,
            tuning,
            keep,
            entries: Slots::new(),
            by_port: HashMap::new(),
            generation: 0,
            watches: VecDeque::new(),
            players: VecDeque::new(),
            sessions: SessionMachine::default(),
            buffer: vec![0; LOT_BYTES].into_boxed_slice(),
            filled: 0,
            waiting: Vec::with_capacity(GATHER),
            tally: Tally::default(),
            packets: 0,
            rules_wanted: false,
            stopping: false,
        })
    }

    /// Ports looked at so far.
    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.entries.looks()
    }

    /// Runs until it is told [`ToShard::Stop`].
    pub(crate) fn run(&mut self) {
        if let Some(cpu) = self.tuning.cpu {
            // Pinning is an optimisation; a container may forbid it.
            let _ = warp_net::sched::pin_to_cpu(cpu);
        }
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopping {
            // G-1: a panic ends one wake-up, not the shard. The bar for the counter is 0.
            let wake_up = std::panic::AssertUnwindSafe(|| self.wake_up(&mut events));
            if std::panic::catch_unwind(wake_up).is_err() {
                self.metrics.panics.inc(());
            }
        }
    }

    pub(super) fn wake_up(&mut self, events: &mut Events) {
        let [watch, play] = [self.watches.front().map(|w| w.due), self.players.front().map(|p| p.due)];
        let due = [watch, play, self.sessions.poll_timeout()];
        let timeout = due.into_iter().flatten().min().map(|due| due.since(Clock::mono()));
        if self.epoll.wait(events, timeout).is_err() {
            // Only a bad descriptor of our own could do this; do not spin on it.
            std::thread::sleep(Duration::from_millis(1));
            return;
        }
        let now = Clock::mono();
        if self.mailbox.has_news() {
            // What was told before this packet was sent counts for it.
            self.take_messages(MESSAGES_UNTOLD, now);
        }
        for event in events.iter() {
            if event.token == MAILBOX_TOKEN {
                // What was received under the rules of before leaves under them.
                self.send_waiting(now);
                self.take_messages(MESSAGES, now);
            } else {
                self.take_packet(event, now);
            }
        }
        self.send_waiting(now);
        if std::mem::take(&mut self.rules_wanted) && self.mailbox.has_news() {
            self.take_messages(MESSAGES, now);
        }
        self.look_after_sockets(now);
        self.play(now);
        if self.sessions.poll_timeout().is_some_and(|due| due <= now) {
            self.look_after_sessions(now);
        }
        self.end_of_wake_up();
    }

    fn end_of_wake_up(&mut self) {
        let t = std::mem::take(&mut self.tally);
        if t.received > 0 {
            self.metrics.packets.add((Direction::Ingress, PacketPath::User), t.received);
            self.metrics.bytes.add((Direction::Ingress, PacketPath::User), t.received_bytes);
            self.metrics.packets.add((Direction::Egress, PacketPath::User), t.sent);
            self.metrics.bytes.add((Direction::Egress, PacketPath::User), t.sent_bytes);
        }
        for (reason, count) in DropReason::ALL.into_iter().zip(t.drops) {
            if count > 0 {
                self.metrics.packet_errors.add(label(reason), count);
            }
        }
        if t.socket_errors > 0 {
            self.metrics.packet_errors.add(PacketError::Socket, t.socket_errors);
        }
    }

    fn take_messages(&mut self, most: usize, now: Mono) {
        let mut messages = std::mem::take(&mut self.messages);
        self.mailbox.drain(most, |m| messages.push(m));
        for message in messages.drain(..) {
            // Each by itself (G-1): what waits behind one that panics belongs to other calls.
            let taken = std::panic::AssertUnwindSafe(|| self.take_message(message, now));
            if std::panic::catch_unwind(taken).is_err() {
                self.metrics.panics.inc(());
            }
        }
        self.messages = messages;
    }

    fn take_message(&mut self, message: ToShard, now: Mono) {
        match message {
            ToShard::Open(port, socket) => self.open(port, socket),
            ToShard::Install(rule) => self.install(rule, now),
            ToShard::Mark(port, tos) => {
                // A wish: without it the call still works.
                let _ = self.entry_of(port).map(|entry| entry.socket.set_tos(tos));
            }
            ToShard::Close(port) => self.close(port),
            ToShard::Leave(port) => self.leave(port),
            ToShard::Stop => self.stopping = true,
        }
    }

    fn open(&mut self, port: LocalPort, socket: MediaSocket) {
        self.leave(port);
        Stand::Busy.set(socket.shared().word());
        self.generation = self.generation.wrapping_add(1);
        let entry = Entry {
            generation: self.generation,
            port,
            watched: false,
            looked_after: false,
            socket,
            only_peer: false,
            is_special: true,
            is_open: true,
            connect_due: false,
            strays: 0,
            life: 0,
            state: None,
            playing: None,
            out: [u32::MAX; 2],
        };
        let slot = self.entries.insert(entry);
        self.by_port.insert(port, slot);
    }

    /// Its call has ended. From now on nothing passes; the socket is kept where there is room.
    fn close(&mut self, port: LocalPort) {
        let Some(entry) = self.entry_of(port) else { return };
        // Not for a port that was lent and given back before it had a rule: it rests already, or is another call's.
        if !entry.is_open {
            return;
        }
        (entry.is_open, entry.connect_due, entry.only_peer, entry.looked_after) =
            (false, false, false, false);
        (entry.state, entry.playing, entry.strays) = (None, None, STRAYS);
        entry.life = entry.life.wrapping_add(1);
        entry.settle();
        self.sessions.remove(port);
        let Some(entry) = self.entry_of(port) else { return };
        // One that nobody watches would fill with what nobody reads.
        if !entry.watched || entry.socket.set_peer(None).is_err() || !self.keep.take() {
            return self.leave(port);
        }
        if let Some(entry) = self.entry_of(port) {
            Stand::Resting.set(entry.socket.shared().word());
        }
    }

    /// Takes a port out, whatever it is; its socket is closed unless another shard has it now.
    fn leave(&mut self, port: LocalPort) {
        let Some(slot) = self.by_port.remove(&port) else { return };
        self.sessions.remove(port);
        if let Some(entry) = self.entries.remove(slot)
            && entry.watched
        {
            // Somebody else may hold the socket. Pending events of this wake-up fail the generation check.
            let _ = self.epoll.delete(&entry.socket);
        }
    }

    /// Something came for a port that has no rule. False: it is still there.
    #[cold]
    fn on_stray(&mut self, slot: usize) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let (port, socket) = (entry.port, entry.socket.shared());
        if Stand::of(socket) == Stand::Resting {
            if let Some(left) = entry.strays.checked_sub(1) {
                entry.strays = left;
                if socket.drain(1) > 0 {
                    self.tally.drop(DropReason::NoDestination);
                }
                return;
            }
            if Stand::Resting.step(socket, Stand::Gone) {
                self.keep.give_back();
                return self.leave(port);
            }
        }
        // It waits for the rule that is on its way.
        let _ = self.epoll.delete(&entry.socket);
        entry.watched = false;
        Stand::Lent.step(entry.socket.shared(), Stand::LentUnwatched);
        self.rules_wanted = true;
    }

    fn install(&mut self, rule: ForwardRule, now: Mono) {
        let port = rule.local;
        // What was learnt before by the ports that this one sends from, and by the RTP port beside it.
        let from = egress_ports(&rule);
        let destinations: Vec<_> = from.iter().map(|p| (*p, self.destination_of(*p))).collect();
        let beside = rule.companion.filter(|_| rule.carries == Carries::Rtcp);
        let companion = beside.and_then(|rtp| self.locked_peer_of(rtp));
        let session = rule.pipeline.as_ref().and_then(|p| p.session.clone());
        let play = rule.pipeline.as_ref().and_then(|p| p.play.clone());
        let Some(entry) = self.entry_of(port) else { return };
        let state = match entry.state.take() {
            Some(mut state) => {
                state.replace(rule);
                state
            }
            None => RuleState::new(rule),
        };
        let state = entry.state.insert(state);
        if !entry.is_open {
            entry.is_open = true;
            Stand::Busy.set(entry.socket.shared().word());
        }
        for (from, peer) in destinations {
            state.set_destination(from, peer);
        }
        if let Some(lock) = companion {
            state.companion_locked(lock);
        }
        self.tell_senders(port);
        self.arm(port, now);
        self.sessions.install(port, session.as_ref(), now);
        self.carry_out(now);
        self.install_player(port, play, now);
    }

    /// Watches the port when somebody may send to it, and has it connected to its only peer at the next packet: a call that
    /// ends without media costs no connection. Packets that came before are judged by the rule like all others: those of the
    /// peer sent while the answer was on its way are media.
    fn arm(&mut self, port: LocalPort, now: Mono) {
        let connect = self.tuning.connect;
        let Some(&slot) = self.by_port.get(&port) else { return };
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        let Some(state) = &entry.state else { return };
        // A report comes every few seconds: connecting its socket costs more than it saves.
        if connect && state.rule().carries != Carries::Rtcp {
            let only = state.only_source(now);
            entry.connect_due = false;
            if entry.socket.peer() != only {
                // The peer of before must not keep the new one out.
                let _ = entry.socket.set_peer(None);
                (entry.only_peer, entry.connect_due) = (false, only.is_some());
            }
            if state.is_locked() && !std::mem::replace(&mut entry.looked_after, true) {
                let due = now + WATCH_EVERY;
                self.watches.push_back(Watch { due, slot, generation: entry.generation, life: entry.life });
            }
        }
        let wanted = state.rule().source != SourcePolicy::Nobody;
        entry.settle();
        if wanted != entry.watched {
            let token = u64::from(slot) | u64::from(entry.generation) << 32;
            let changed = if wanted {
                self.epoll.add(&entry.socket, token, Interest::READ)
            } else {
                self.epoll.delete(&entry.socket)
            };
            entry.watched = wanted && changed.is_ok();
        }
    }

    /// Sockets of learnt peers that are due: connected while the peer speaks, open while it is silent.
    fn look_after_sockets(&mut self, now: Mono) {
        while self.watches.front().is_some_and(|w| w.due <= now) {
            let Some(watch) = self.watches.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(watch.slot as usize) else { continue };
            if (entry.generation, entry.life) != (watch.generation, watch.life) {
                continue;
            }
            entry.looked_after = false;
            let port = entry.port;
            // Puts it back into the queue while there is a lock.
            self.arm(port, now);
        }
    }

    fn entry_of(&mut self, port: LocalPort) -> Option<&mut Entry> {
        let slot = *self.by_port.get(&port)?;
        self.entries.get_mut(slot as usize)
    }

    /// Where the party behind a port was heard.
    fn destination_of(&mut self, port: LocalPort) -> Option<SocketAddr> {
        self.entry_of(port)?.state.as_ref()?.destination()
    }

    fn locked_peer_of(&mut self, port: LocalPort) -> Option<LearntPeer> {
        self.entry_of(port)?.state.as_ref()?.learnt().filter(|l| l.locked)
    }

    /// Tells the ports that send from `port` where its party is now. They are those that `port` itself sends from: the two
    /// directions of a stream are each other's way out.
    fn tell_senders(&mut self, port: LocalPort) {
        let Some(state) = self.entry_of(port).and_then(|e| e.state.as_ref()) else { return };
        let (peer, senders) = (state.destination(), egress_ports(state.rule()));
        for sender in senders {
            if let Some(state) = self.entry_of(sender).and_then(|e| e.state.as_mut()) {
                state.set_destination(port, peer);
            }
        }
    }

    fn take_packet(&mut self, event: Event, now: Mono) {
        let (slot, generation) = (event.token as u32 as usize, (event.token >> 32) as u32);
        // One packet an event; after a connect all that waits, until nothing is left of what came in before it.
        for _ in 0..CATCH_UP {
            let Some(entry) = self.entries.get_mut(slot) else { return };
            if entry.generation != generation {
                return;
            }
            if entry.is_special {
                if entry.state.is_none() {
                    return self.on_stray(slot);
                }
                entry.connect(now);
            }
            let at = self.filled + HEAD_ROOM;
            let room = self.buffer.get_mut(at..at + BUFFER_BYTES).unwrap_or_default();
            let (len, from) = match entry.receive(room) {
                Received::Datagram { len, from } => (len, from),
                Received::Empty => {
                    entry.only_peer = entry.socket.peer().is_some();
                    return;
                }
                Received::Error(_) => {
                    self.tally.socket_errors += 1;
                    return;
                }
            };
            let catching_up = entry.socket.peer().is_some() && !entry.only_peer;
            self.on_packet(slot, at, len, from, now);
            if !catching_up {
                return;
            }
        }
    }

    #[inline]
    fn on_packet(&mut self, slot: usize, at: usize, len: usize, from: SocketAddr, now: Mono) {
        let Some(Entry { state: Some(state), .. }) = self.entries.get_mut(slot) else { return };
        self.tally.received += 1;
        self.tally.received_bytes += len as u64;
        let (judgement, at, len) = if state.has_pipeline() {
            let end = at + len;
            let lot = self.buffer.get_mut(self.filled..end + TAIL_ROOM).unwrap_or_default();
            let Some(mut packet) = RoomyPacket::new(lot, HEAD_ROOM, HEAD_ROOM + len) else { return };
            let judgement = state.apply_pipeline(&mut packet, from, now);
            let range = packet.range();
            (judgement, self.filled + range.start, range.len())
        } else {
            let Some(packet) = self.buffer.get(at..at + len) else { return };
            (state.apply(packet, from, now), at, len)
        };
        let news = state.take_news();
        match judgement {
            Judgement::Forward { dest, out_port, path } => {
                self.waiting.push(Packet { slot, at, len, dest, out_port, path });
                self.fill(at + len, now);
            }
            Judgement::Drop(reason) => self.tally.drop(reason),
            Judgement::Fan(path) => self.fan_out(slot, at, len, path, now),
            Judgement::Session { class, expected } => {
                let allowed = expected || state.may_come(from);
                self.hand_to_session(
                    slot,
                    (at, len),
                    class,
                    Source { address: from, expected, allowed },
                    now,
                );
            }
        }
        if news.is_some() {
            self.peer_learnt(slot, now);
        }
    }

    /// The lot is filled up to `end`.
    #[inline]
    fn fill(&mut self, end: usize, now: Mono) {
        // The next one begins on a cache line of its own.
        self.filled = (end + TAIL_ROOM).next_multiple_of(64);
        if self.waiting.len() >= GATHER || self.filled > BUFFER_BYTES {
            self.send_waiting(now);
        }
    }

    /// One packet for each entry of the egress list: each gets a copy of its own behind the original, so that its last step
    /// changes no other's.
    #[cold]
    fn fan_out(&mut self, slot: usize, at: usize, len: usize, path: MediaPath, now: Mono) {
        let (mut at, mut receiver) = (at, 0);
        self.filled = (at + len + TAIL_ROOM).next_multiple_of(64);
        loop {
            if self.waiting.len() >= GATHER || self.filled + HEAD_ROOM + len + TAIL_ROOM > LOT_BYTES {
                self.send_waiting(now);
                self.buffer.copy_within(at..at + len, HEAD_ROOM);
                at = HEAD_ROOM;
                self.filled = (at + len + TAIL_ROOM).next_multiple_of(64);
            }
            let Some(Entry { state: Some(state), .. }) = self.entries.get_mut(slot) else { return };
            let Some(next) = state.next_receiver(path, receiver) else { break };
            receiver = next + 1;
            let begin = self.filled;
            self.buffer.copy_within(at..at + len, begin + HEAD_ROOM);
            let lot = self.buffer.get_mut(begin..begin + HEAD_ROOM + len + TAIL_ROOM).unwrap_or_default();
            let Some(mut packet) = RoomyPacket::new(lot, HEAD_ROOM, HEAD_ROOM + len) else { break };
            match state.protect(next, &mut packet, now) {
                Ok((out_port, dest)) => {
                    let range = packet.range();
                    let (at, len) = (begin + range.start, range.len());
                    self.waiting.push(Packet { slot, at, len, dest, out_port, path });
                    self.filled = (at + len + TAIL_ROOM).next_multiple_of(64);
                }
                Err(reason) => self.tally.drop(reason),
            }
        }
        if self.filled > BUFFER_BYTES {
            self.send_waiting(now);
        }
    }

    /// Sends what was received and judged, in its order.
    fn send_waiting(&mut self, now: Mono) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for packet in waiting.drain(..) {
            self.send(packet, now);
        }
        self.waiting = waiting;
        self.filled = 0;
    }

    fn send(&mut self, packet: Packet, now: Mono) {
        let Packet { slot, at, len, dest, out_port: port, path } = packet;
        let mut out = match self.entries.get(slot) {
            Some(entry) => entry.out[path as usize],
            _ => return,
        };
        if !matches!(self.entries.get(out as usize), Some(entry) if entry.port == port) {
            // First packet, or the far port was opened anew: find it once.
            out = self.by_port.get(&port).copied().unwrap_or(u32::MAX);
            if let Some(entry) = self.entries.get_mut(slot) {
                entry.out[path as usize] = out;
            }
        }
        let out = match self.entries.get_mut(out as usize) {
            Some(entry) if entry.is_open => entry,
            _ => {
                self.tally.drops[DropReason::NoDestination.index()] += 1;
                return;
            }
        };
        if out.is_special {
            out.connect(now);
        }
        let Some(packet) = self.buffer.get(at..at + len) else { return };
        match out.socket.send(packet, dest) {
            Sent::Done => {
                self.tally.sent += 1;
                self.tally.sent_bytes += len as u64;
                self.packets = self.packets.wrapping_add(1);
                if self.packets.is_multiple_of(SAMPLE) {
                    let took = Clock::mono().since(now);
                    self.metrics.forward_latency.observe(PacketPath::User, took);
                }
            }
            Sent::Full | Sent::Failed(_) => {
                self.tally.socket_errors += 1;
                if let Some(Entry { state: Some(state), .. }) = self.entries.get(slot) {
                    warp_media::counters::bump(&state.rule().counters.send_errors, 1);
                }
            }
        }
    }

    /// A port has heard its peer: tell the ports that send to it, the RTCP port beside it and the control thread, and connect
    /// it when it is locked.
    #[cold]
    fn peer_learnt(&mut self, slot: usize, now: Mono) {
        let Some(Entry { port, state: Some(state), .. }) = self.entries.get(slot) else { return };
        let (port, companion, carries) = (*port, state.rule().companion, state.rule().carries);
        let Some(peer) = state.learnt() else { return };
        self.tell_senders(port);
        if peer.locked
            && carries != Carries::Rtcp
            && let Some(entry) = companion.and_then(|c| self.entry_of(c))
            && let Some(state) = &mut entry.state
        {
            state.companion_locked(peer);
        }
        self.arm(port, now);
        if let Some(companion) = companion {
            self.arm(companion, now);
        }
        // A full mailbox loses only the display of a learnt address in `query`.
        let _ = self.control.send(ToControl::Learnt(port, peer.address));
    }
}

/// Our ports that a rule sends from.
fn egress_ports(rule: &ForwardRule) -> Vec<LocalPort> {
    let piped = rule.pipeline.iter().flat_map(|p| p.outputs.iter().map(|o| o.egress));
    let mut ports: Vec<LocalPort> =
        rule.rtp.into_iter().chain(rule.rtcp).chain(piped).map(|e| e.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn label(reason: DropReason) -> PacketError {
    match reason {
        DropReason::Malformed => PacketError::Malformed,
        DropReason::Kind => PacketError::Kind,
        DropReason::Source => PacketError::BadSource,
        DropReason::Rate => PacketError::Rate,
        DropReason::NoDestination => PacketError::NoSession,
        DropReason::SrtpAuth => PacketError::SrtpAuth,
        DropReason::SrtpReplay => PacketError::SrtpReplay,
    }
}
