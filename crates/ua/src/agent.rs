//! The agent's thread: sockets, epoll, dispatch of messages to calls.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use warp_model::hash::SplitMix;
use warp_model::{Mono, Now};
use warp_net::clock::Clock;
use warp_net::epoll::{Epoll, Events, Interest};
use warp_net::mailbox::{self, Mailbox, Sender};
use warp_net::udp::{Received, UdpOptions, UdpSocket};
use warp_sip::flow::Transport;
use warp_sip::message::{Message, Method};

use crate::incoming::Incoming;
use crate::outgoing::{OnEnd, Outgoing};
use crate::rtp::Leg;
use crate::spec::{AgentConfig, Behaviour, CallResult, CallSpec};
use crate::streams::Streams;
use crate::text::{self, Local};

const TOKEN_MAILBOX: u64 = 1;
const TOKEN_UDP: u64 = 2;
const TOKEN_LEGS: u64 = 1 << 40;

enum Command {
    Call(Box<CallSpec>, OnEnd),
    Stop,
}

/// A running user agent. Dropping it stops its thread.
pub struct Agent {
    addr: SocketAddr,
    mailbox: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Binds its sockets and starts its thread. Errors: address in use, out of descriptors.
    pub fn start(config: AgentConfig) -> io::Result<Agent> {
        let (udp, streams) = bind(config.local)?;
        let addr = udp.local_addr();
        let (sender, mailbox) = mailbox::mailbox(65_536)?;
        let worker = Worker::new(config, udp, streams, mailbox)?;
        let thread = std::thread::Builder::new().name("ua".into()).spawn(move || worker.run())?;
        Ok(Agent { addr, mailbox: sender, thread: Some(thread) })
    }

    /// Its SIP address, for UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Places a call; `on_end` is told once, on the agent's thread.
    pub fn call_with(&self, spec: CallSpec, on_end: impl FnOnce(CallResult) + Send + 'static) {
        // A full mailbox is 65,536 calls not yet begun: the call is dropped, and so is `on_end`.
        let _ = self.mailbox.send(Command::Call(Box::new(spec), Box::new(on_end)));
    }

    /// Places a call; the receiver gets its result.
    pub fn call(&self, spec: CallSpec) -> mpsc::Receiver<CallResult> {
        let (tx, rx) = mpsc::channel();
        self.call_with(spec, move |result| {
            let _ = tx.send(result);
        });
        rx
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.mailbox.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// UDP and TCP on one port: with port 0 a few tries until both are free.
fn bind(local: SocketAddr) -> io::Result<(UdpSocket, Streams)> {
    let options = UdpOptions { receive_buffer: Some(1 << 20), ..UdpOptions::default() };
    let mut last = None;
    for _ in 0..32 {
        let udp = UdpSocket::bind(local, &options)?;
        match Streams::bind(udp.local_addr()) {
            Ok(streams) => return Ok((udp, streams)),
            Err(e) if local.port() == 0 => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// Where answers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Udp(SocketAddr),
    Stream(u32),
}

enum Call {
    Out(Box<Outgoing>),
    In(Box<Incoming>),
}

struct Slot {
    call: Call,
    route: Route,
    /// Token of its media socket.
    leg: u64,
}

struct Worker {
    config: AgentConfig,
    udp: UdpSocket,
    streams: Streams,
    mailbox: Mailbox<Command>,
    epoll: Epoll,
    /// By Call-ID; an agent that calls itself through a proxy has two of one Call-ID, told apart by direction.
    calls: HashMap<(Vec<u8>, bool), Slot>,
    legs: HashMap<u64, (Vec<u8>, bool)>,
    unique: SplitMix,
    next_leg: u64,
    stopping: bool,
}

impl Worker {
    fn new(
        config: AgentConfig,
        udp: UdpSocket,
        streams: Streams,
        mailbox: Mailbox<Command>,
    ) -> io::Result<Worker> {
        let epoll = Epoll::new()?;
        epoll.add(&udp, TOKEN_UDP, Interest::READ)?;
        epoll.add(&mailbox, TOKEN_MAILBOX, Interest::READ.edge())?;
        streams.watch(&epoll)?;
        Ok(Worker {
            unique: SplitMix::new(config.seed),
            config,
            udp,
            streams,
            mailbox,
            epoll,
            calls: HashMap::new(),
            legs: HashMap::new(),
            next_leg: TOKEN_LEGS,
            stopping: false,
        })
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0u8; 65_536];
        while !self.stopping {
            let now = Clock::now();
            let timeout = self.next_at().map(|at| at - now.mono);
            if self.epoll.wait(&mut events, timeout).is_err() {
                break;
            }
            let now = Clock::now();
            for event in events.iter() {
                match event.token {
                    TOKEN_MAILBOX => self.drain_mailbox(now),
                    TOKEN_UDP => self.drain_udp(&mut buffer, now),
                    leg if leg >= TOKEN_LEGS => {
                        if let Some(slot) = self.legs.get(&leg).and_then(|key| self.calls.get_mut(key)) {
                            slot.leg_mut().drain(&mut buffer);
                        }
                    }
                    stream => {
                        let mut messages = Vec::new();
                        self.streams.handle_event(&self.epoll, stream, &mut buffer, &mut messages);
                        for (connection, bytes) in messages {
                            self.handle_message(&bytes, Route::Stream(connection), now);
                        }
                    }
                }
            }
            self.handle_timeouts(now.mono);
        }
        let now = Clock::mono();
        for slot in self.calls.values_mut() {
            if let Call::Out(call) = &mut slot.call {
                call.abandon(now);
            }
        }
    }

    fn next_at(&self) -> Option<Mono> {
        self.calls.values().filter_map(|s| s.next_at()).min()
    }

    fn unique(&mut self) -> u64 {
        self.unique.draw()
    }

    fn drain_mailbox(&mut self, now: Now) {
        let mut commands = Vec::new();
        self.mailbox.drain(1_024, |c| commands.push(c));
        for command in commands {
            match command {
                Command::Call(spec, on_end) => self.place(*spec, on_end, now.mono),
                Command::Stop => self.stopping = true,
            }
        }
    }

    fn drain_udp(&mut self, buffer: &mut [u8], now: Now) {
        // A bound per wake-up, so that media keeps its rhythm under a flood.
        for _ in 0..256 {
            match self.udp.recv_from(buffer) {
                Received::Datagram { len, from } => {
                    let bytes = buffer.get(..len).unwrap_or(b"").to_vec();
                    self.handle_message(&bytes, Route::Udp(from), now);
                }
                Received::Empty => return,
                Received::Error(_) => {}
            }
        }
    }

    fn local(&self, transport: Transport) -> Local {
        Local { addr: self.udp.local_addr(), transport }
    }

    /// A media socket, watched.
    fn leg(&mut self, key: &(Vec<u8>, bool)) -> io::Result<(Leg, u64)> {
        let ssrc = self.unique() as u32;
        let leg = Leg::open(self.config.media_ip, ssrc)?;
        self.next_leg += 1;
        self.epoll.add(leg.socket(), self.next_leg, Interest::READ)?;
        self.legs.insert(self.next_leg, key.clone());
        Ok((leg, self.next_leg))
    }

    fn place(&mut self, spec: CallSpec, on_end: OnEnd, now: Mono) {
        let route = match spec.transport {
            Transport::Udp => Route::Udp(spec.to),
            _ => match self.streams.connection_to(spec.to, &self.epoll) {
                Ok(connection) => Route::Stream(connection),
                // Nothing was sent: the result channel closes, which the caller sees.
                Err(_) => return,
            },
        };
        let unique = self.unique();
        let local = self.local(spec.transport);
        let key = (format!("{unique:016x}@{}", local.addr.ip()).into_bytes(), false);
        let Ok((leg, token)) = self.leg(&key) else { return };
        let call = Outgoing::start(spec, local, unique, leg, on_end, now);
        debug_assert_eq!(call.call_id().as_bytes(), key.0);
        let mut slot = Slot { call: Call::Out(Box::new(call)), route, leg: token };
        flush(&mut slot, &self.udp, &mut self.streams, &self.epoll);
        self.calls.insert(key, slot);
    }

    fn handle_message(&mut self, bytes: &[u8], route: Route, now: Now) {
        let Ok(m) = Message::parse(bytes) else { return };
        let id = m.call_id().to_vec();
        let (out_key, in_key) = ((id.clone(), false), (id, true));
        let is_out = matches!(self.calls.get(&out_key).map(|s| &s.call), Some(Call::Out(c)) if c.owns(&m));
        let key = if is_out { out_key } else { in_key };
        if let Some(slot) = self.calls.get_mut(&key) {
            // Answers follow the newest request (a proxy may have several sockets).
            if m.status().is_none() && matches!(slot.call, Call::In(_)) {
                slot.route = route;
            }
            match &mut slot.call {
                Call::Out(call) => call.handle_message(&m, now.mono),
                Call::In(call) => call.handle_message(&m, now.mono),
            }
            flush(slot, &self.udp, &mut self.streams, &self.epoll);
            return;
        }
        self.handle_stray(&m, route, key, now.mono);
    }

    /// A message of no known call: a new INVITE, an OPTIONS, or late news.
    fn handle_stray(&mut self, m: &Message<'_>, route: Route, key: (Vec<u8>, bool), now: Mono) {
        if m.status().is_some() {
            return;
        }
        match m.method() {
            Method::Invite => {}
            Method::Ack => return,
            Method::Options => {
                let bytes = text::response(m, 200, "OK", Some("ua"), "", "");
                return send(route, &bytes, &self.udp, &mut self.streams, &self.epoll);
            }
            _ => {
                let bytes = text::response(m, 481, "Call/Transaction Does Not Exist", Some("ua"), "", "");
                return send(route, &bytes, &self.udp, &mut self.streams, &self.epoll);
            }
        }
        let user = m.request_uri().and_then(|u| {
            let rest = u.splitn(2, |b| *b == b':').nth(1)?;
            Some(String::from_utf8_lossy(rest.split(|b| matches!(b, b'@' | b';')).next()?).into_owned())
        });
        let behaviour = (self.config.rule)(&user.unwrap_or_default());
        if behaviour == Behaviour::Silent {
            return;
        }
        let transport = if matches!(route, Route::Udp(_)) { Transport::Udp } else { Transport::Tcp };
        let local = self.local(transport);
        let unique = self.unique();
        let Ok((leg, token)) = self.leg(&key) else { return };
        let call = Incoming::start(m, behaviour, local, unique, leg, now);
        let mut slot = Slot { call: Call::In(Box::new(call)), route, leg: token };
        flush(&mut slot, &self.udp, &mut self.streams, &self.epoll);
        self.calls.insert(key, slot);
    }

    fn handle_timeouts(&mut self, now: Mono) {
        let (udp, streams, epoll, legs) = (&self.udp, &mut self.streams, &self.epoll, &mut self.legs);
        self.calls.retain(|_, slot| {
            if slot.next_at().is_some_and(|at| at <= now) {
                match &mut slot.call {
                    Call::Out(call) => call.handle_timeout(now),
                    Call::In(call) => call.handle_timeout(now),
                }
                flush(slot, udp, streams, epoll);
            }
            let gone = match &slot.call {
                Call::Out(call) => call.is_gone(now),
                Call::In(call) => call.is_gone(now),
            };
            if gone {
                legs.remove(&slot.leg);
            }
            !gone
        });
    }
}

impl Slot {
    fn next_at(&self) -> Option<Mono> {
        match &self.call {
            Call::Out(call) => call.next_at(),
            Call::In(call) => call.next_at(),
        }
    }

    fn leg_mut(&mut self) -> &mut Leg {
        match &mut self.call {
            Call::Out(call) => &mut call.leg,
            Call::In(call) => &mut call.leg,
        }
    }
}

/// Sends what a call wants to send.
fn flush(slot: &mut Slot, udp: &UdpSocket, streams: &mut Streams, epoll: &Epoll) {
    let out = match &mut slot.call {
        Call::Out(call) => std::mem::take(&mut call.out),
        Call::In(call) => std::mem::take(&mut call.out),
    };
    for bytes in out {
        send(slot.route, &bytes, udp, streams, epoll);
    }
}

fn send(route: Route, bytes: &[u8], udp: &UdpSocket, streams: &mut Streams, epoll: &Epoll) {
    match route {
        // A full send buffer is a lost datagram: the transaction repeats it.
        Route::Udp(to) => {
            udp.send_to(bytes, to);
        }
        Route::Stream(connection) => streams.send(connection, bytes, epoll),
    }
}
