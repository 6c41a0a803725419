//! The core's thread: its sockets, its wake-ups.
//!
//! A wake-up: epoll → read what came → the core → one append to the topic → what was written goes out → sleep until the next event or
//! timer.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{mpsc as async_mpsc, oneshot};
use warp_events::Topic;
use warp_model::{Mono, Now};
use warp_net::clock::Clock;
use warp_net::epoll::{Epoll, Event, Events, Interest};
use warp_net::mailbox::Mailbox;
use warp_net::tcp::{Accepted, FlushOutcome, ReadOutcome, TcpConnection, TcpListener};
use warp_net::tls::{Tls, TlsClient, TlsSession};

use super::{Note, fault_of};
use crate::CONSUMER;
use crate::core::jasmin::JasminReply;
use crate::core::{Call, Check, Core, Key, Output, StorageFault};

/// What the thread is made of; everything that can fail has happened before.
pub(super) struct Parts {
    pub(super) core: Core,
    pub(super) topic: Topic,
    pub(super) listener: Option<TcpListener>,
    pub(super) listener_tls: Option<TcpListener>,
    pub(super) tls: Secured,
    pub(super) mailbox: Mailbox<Note>,
    pub(super) commit: mpsc::Sender<u64>,
    pub(super) checks: mpsc::Sender<Check>,
    pub(super) end: u64,
    pub(super) write_buffer: usize,
    pub(super) calls: async_mpsc::UnboundedSender<Call>,
}

pub(super) struct Shard {
    parts: Parts,
    epoll: Epoll,
    links: HashMap<Key, Link>,
    /// Links whose window was full: they are read again when it is not.
    unread: Vec<Key>,
    buffer: Vec<u8>,
    /// What TLS has opened of one read, and sealed of one write.
    plain: Vec<u8>,
    sealed: Vec<u8>,
    /// Where answers to requests of the HTTP door go, by token.
    asked: HashMap<u64, oneshot::Sender<JasminReply>>,
    next_token: u64,
    next_housekeeping: Mono,
    /// Accepting rests until then: there are no descriptors left.
    accept_after: Option<Mono>,
    ends_at: Option<Mono>,
}

/// Our two sides of TLS.
pub(super) struct Secured {
    /// For customers that bind.
    pub(super) server: Option<Tls>,
    /// For vendors that are bound to.
    pub(super) client: Option<TlsClient>,
}

struct Link {
    connection: TcpConnection,
    /// What stands between the socket and SMPP.
    tls: Option<Box<TlsSession>>,
    interest: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Watch {
    read: bool,
    write: bool,
}

impl Watch {
    fn interest(self) -> Interest {
        match (self.read, self.write) {
            (true, true) => Interest::READ_WRITE,
            (true, false) => Interest::READ,
            (false, true) => Interest::WRITE,
            (false, false) => Interest::NONE,
        }
    }
}

const MAILBOX: u64 = 0;
const LISTENER: u64 = 1;
const LISTENER_TLS: u64 = 2;
/// Bytes of one read.
const READ: usize = 65_536;
/// Connections that are accepted in one wake-up.
const ACCEPTS: usize = 64;
const HOUSEKEEPING: Duration = Duration::from_secs(1);

impl Shard {
    pub(super) fn new(parts: Parts) -> io::Result<Shard> {
        let epoll = Epoll::new()?;
        epoll.add(&parts.mailbox, MAILBOX, Interest::READ.edge())?;
        if let Some(listener) = &parts.listener {
            epoll.add(listener, LISTENER, Interest::READ)?;
        }
        if let Some(listener) = &parts.listener_tls {
            epoll.add(listener, LISTENER_TLS, Interest::READ)?;
        }
        Ok(Shard {
            parts,
            epoll,
            links: HashMap::new(),
            unread: Vec::new(),
            buffer: vec![0; READ],
            plain: Vec::new(),
            sealed: Vec::new(),
            asked: HashMap::new(),
            next_token: 0,
            next_housekeeping: Mono(0),
            accept_after: None,
            ends_at: None,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut stop = false;
        while !stop {
            let before = Clock::now();
            let wait = self.parts.core.deadline(before).since(before.mono);
            if let Err(error) = self.epoll.wait(&mut events, Some(wait)) {
                tracing::error!(%error, "epoll");
            }
            let now = Clock::now();
            for event in events.iter() {
                self.on_event(event, &mut stop, now);
            }
            if now.mono >= self.parts.core.deadline(now) {
                self.parts.core.timeout(now);
            }
            self.finish(now);
            self.housekeeping(now);
            if let Some(at) = self.ends_at {
                stop |= now.mono >= at || (self.parts.core.is_drained() && self.links.is_empty());
            }
        }
    }

    fn on_event(&mut self, event: Event, stop: &mut bool, now: Now) {
        match event.token {
            MAILBOX => self.notes(stop, now),
            LISTENER | LISTENER_TLS => self.accept(event.token == LISTENER_TLS, now),
            token => self.on_link(Key::from_u64(token), event, now),
        }
    }

    fn notes(&mut self, stop: &mut bool, now: Now) {
        let Parts { mailbox, core, .. } = &mut self.parts;
        let (ends_at, asked, next_token) = (&mut self.ends_at, &mut self.asked, &mut self.next_token);
        mailbox.drain(usize::MAX, |note| match note {
            Note::Durable(number) => core.durable(number, now),
            Note::Failed(below, fault) => core.storage_failed(fault, Some(below)),
            Note::Ask { source, ask, reply } => {
                *next_token = next_token.wrapping_add(1);
                asked.insert(*next_token, reply);
                core.ask(*next_token, source, &ask, now);
            }
            Note::Send { account, message, reply } => {
                *next_token = next_token.wrapping_add(1);
                asked.insert(*next_token, reply);
                core.send_for(*next_token, &account, &message, now);
            }
            Note::Configure(config) => {
                if let Err(error) = core.configure(*config, now) {
                    tracing::error!(%error, "routes of messages cannot be carried out: those of before stay");
                }
            }
            // Who has gone hears nothing.
            Note::Queues(reply) => drop(reply.send(core.queues())),
            Note::Checked { token, right } => core.checked(token, right, now),
            Note::Called { key, lane, taken } => core.called(key, lane, taken, now),
            Note::Drain(at_most) => {
                *ends_at = Some(now.mono + at_most);
                core.drain(now);
            }
            Note::Stop => *stop = true,
        });
    }

    fn accept(&mut self, secured: bool, now: Now) {
        if self.accept_after.is_some_and(|at| now.mono < at) {
            return;
        }
        for _ in 0..ACCEPTS {
            let Parts { listener, listener_tls, .. } = &self.parts;
            let (listener, token) = if secured { (listener_tls, LISTENER_TLS) } else { (listener, LISTENER) };
            let Some(listener) = listener else { return };
            match listener.accept(self.parts.write_buffer) {
                Accepted::Connection(connection) => {
                    let tls = match (secured, &self.parts.tls.server) {
                        (false, _) => None,
                        (true, Some(server)) => match server.accept() {
                            Ok(session) => Some(Box::new(session)),
                            Err(error) => {
                                tracing::warn!(%error, "a connection by TLS cannot be accepted");
                                continue;
                            }
                        },
                        (true, None) => continue,
                    };
                    // Who is one too many is dropped here, which closes it.
                    if let Some(key) = self.parts.core.accepted(connection.remote_addr(), now)
                        && !self.watch(key, connection, tls)
                    {
                        self.parts.core.closed(key, now);
                    }
                }
                Accepted::Empty => return,
                Accepted::Exhausted => {
                    // The listener stays readable: without a rest this would be a busy loop (F-PROC-07).
                    self.accept_after = Some(now.mono + HOUSEKEEPING);
                    let _ = self.epoll.modify(listener, token, Interest::NONE);
                    return;
                }
                Accepted::Failed(_) => {}
            }
        }
    }

    fn watch(&mut self, key: Key, connection: TcpConnection, tls: Option<Box<TlsSession>>) -> bool {
        let interest = Watch { read: true, write: connection.wants_write() };
        if self.epoll.add(&connection, key.as_u64(), interest.interest()).is_err() {
            return false;
        }
        self.links.insert(key, Link { connection, tls, interest });
        true
    }

    fn on_link(&mut self, key: Key, event: Event, now: Now) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if event.writable() || (link.connection.is_connecting() && (event.error() || event.hang_up())) {
            let connecting = link.connection.is_connecting();
            match link.connection.flush() {
                FlushOutcome::Failed(_) => return self.lost(key, now),
                FlushOutcome::Done | FlushOutcome::Pending => {}
            }
            if connecting && !link.connection.is_connecting() {
                // Our bind waits within TLS for the end of the handshake, which begins now.
                if !seal(link, &[], &mut self.sealed) {
                    return self.lost(key, now);
                }
                self.parts.core.connected(key, now);
            }
        }
        if event.readable() || event.error() || event.hang_up() {
            self.read(key, now);
        }
        self.rewatch(key);
    }

    fn read(&mut self, key: Key, now: Now) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.connection.is_connecting() {
            return;
        }
        match link.connection.read(&mut self.buffer) {
            ReadOutcome::Bytes(count) => {
                let mut bytes = self.buffer.get(..count).unwrap_or_default();
                let mut ended = false;
                if let Some(tls) = &mut link.tls {
                    self.plain.clear();
                    let received = tls.receive(bytes, &mut self.plain);
                    // What the handshake answers, or why it ends, goes out at once.
                    let sent = seal(link, &[], &mut self.sealed);
                    ended = received.unwrap_or(true) || !sent;
                    bytes = &self.plain;
                }
                if !bytes.is_empty() {
                    self.parts.core.bytes(key, bytes, now);
                }
                if ended {
                    return self.lost(key, now);
                }
                if !self.parts.core.wants_read(key) {
                    self.unread.push(key);
                }
            }
            ReadOutcome::Empty => {}
            ReadOutcome::Closed | ReadOutcome::Failed(_) => self.lost(key, now),
        }
    }

    fn lost(&mut self, key: Key, now: Now) {
        self.links.remove(&key);
        self.parts.core.closed(key, now);
    }

    /// Watches a link for what is wanted of it now.
    fn rewatch(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let wanted = Watch { read: self.parts.core.wants_read(key), write: link.connection.wants_write() };
        if wanted != link.interest
            && self.epoll.modify(&link.connection, key.as_u64(), wanted.interest()).is_ok()
        {
            link.interest = wanted;
        }
    }

    /// Ends a wake-up: sends what can be sent, appends the records of it, and lets the bytes go. What that lets be read makes a further
    /// round.
    fn finish(&mut self, now: Now) {
        loop {
            self.parts.core.round(now);
            let appended = self.append();
            self.flush(now);
            self.outputs(now);
            if self.parts.core.batch().is_empty() || !appended {
                return;
            }
        }
    }

    /// `false`: the disk did not take it.
    fn append(&mut self) -> bool {
        let Parts { core, topic, commit, end, .. } = &mut self.parts;
        if core.batch().is_empty() {
            return true;
        }
        let none: &[u8] = &[];
        let records = core.batch().records().map(|record| (none, record));
        match topic.append(records) {
            Ok(after) => {
                *end = after;
                core.appended(after);
                // Its receiver lives as long as this thread.
                let _ = commit.send(after);
                true
            }
            Err(error) => {
                let fault = fault_of(&error);
                if fault == StorageFault::Broken {
                    tracing::error!(%error, "the queue cannot be written");
                }
                core.storage_failed(fault, None);
                false
            }
        }
    }

    fn flush(&mut self, now: Now) {
        let mut touched = Vec::new();
        let mut broken = Vec::new();
        let (links, sealed) = (&mut self.links, &mut self.sealed);
        self.parts.core.take_dirty(now, |key, out| {
            if let Some(link) = links.get_mut(&key) {
                if seal(link, out, sealed) {
                    touched.push(key);
                } else {
                    broken.push(key);
                }
            }
            out.clear();
        });
        for key in broken {
            self.lost(key, now);
        }
        let unread = std::mem::take(&mut self.unread);
        for key in touched.into_iter().chain(unread) {
            self.rewatch(key);
            if self.links.contains_key(&key) && !self.parts.core.wants_read(key) {
                self.unread.push(key);
            }
        }
        self.unread.sort_unstable();
        self.unread.dedup();
    }

    fn outputs(&mut self, now: Now) {
        while let Some((token, answer)) = self.parts.core.poll_answer() {
            if let Some(reply) = self.asked.remove(&token) {
                // Who has gone hears nothing; the message stands all the same.
                let _ = reply.send(answer);
            }
        }
        while let Some(check) = self.parts.core.poll_check() {
            // Its threads live as long as this one.
            let _ = self.parts.checks.send(check);
        }
        while let Some(call) = self.parts.core.poll_call() {
            // As many as the core has in the air; the other thread lives as long as this one.
            let _ = self.parts.calls.send(call);
        }
        while let Some(output) = self.parts.core.poll() {
            match output {
                Output::Connect(key, remote, vendor) => {
                    let config = Arc::clone(self.parts.core.config());
                    let name = config.vendors.get(vendor).and_then(|v| v.tls.as_deref());
                    let session = match (name, &self.parts.tls.client) {
                        (None, _) => Some(None),
                        // The name was tried at the start.
                        (Some(name), Some(client)) => client.connect(name).ok().map(|s| Some(Box::new(s))),
                        (Some(_), None) => None,
                    };
                    let opened = TcpConnection::connect(remote, None, self.parts.write_buffer).ok();
                    let watched = session
                        .zip(opened)
                        .is_some_and(|(session, connection)| self.watch(key, connection, session));
                    if !watched {
                        self.parts.core.closed(key, now);
                    }
                }
                // What was to be sent is with the kernel, as far as the peer reads.
                Output::Close(key) => {
                    if let Some(mut link) = self.links.remove(&key)
                        && let Some(tls) = &mut link.tls
                    {
                        tls.close();
                        seal(&mut link, &[], &mut self.sealed);
                    }
                }
            }
        }
    }

    fn housekeeping(&mut self, now: Now) {
        if now.mono < self.next_housekeeping {
            return;
        }
        self.next_housekeeping = now.mono + HOUSEKEEPING;
        if self.accept_after.take().is_some() {
            let Parts { listener, listener_tls, .. } = &self.parts;
            for (listener, token) in [(listener, LISTENER), (listener_tls, LISTENER_TLS)] {
                if let Some(listener) = listener {
                    let _ = self.epoll.modify(listener, token, Interest::READ);
                }
            }
        }
        if let Some(Err(error)) = self.parts.tls.server.as_ref().map(Tls::reload) {
            tracing::warn!(%error, "the certificate cannot be read again: the former one stays");
        }
        let Parts { core, topic, end, .. } = &mut self.parts;
        let needed = core.oldest(*end);
        topic.release(CONSUMER, needed);
        topic.retain(now.wall);
    }
}

/// Gives bytes to a connection, sealed where it has TLS, and to the kernel once it stands. `false`: it is broken, or its buffer is full.
fn seal(link: &mut Link, plain: &[u8], sealed: &mut Vec<u8>) -> bool {
    let connection = &mut link.connection;
    let queued = match &mut link.tls {
        None => connection.queue(plain),
        Some(tls) => {
            if !plain.is_empty() {
                tls.send(plain);
            }
            sealed.clear();
            tls.take_output(sealed);
            connection.queue(sealed)
        }
    };
    queued && (connection.is_connecting() || !matches!(connection.flush(), FlushOutcome::Failed(_)))
}
