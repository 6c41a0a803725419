//! The other doors of ng: TCP, HTTP and WebSocket (`ref/ng-protocol.md` §1). A thread for each door and for each connection, at
//! most [`CONNECTIONS`]; commands go to the control thread as those of this process do, with the client's address.
//!
//! Any web page can post to loopback: HTTP and WebSocket refuse a foreign `Origin`, a `Host` that is a name other than
//! `localhost` (DNS rebinding), and content types that a page may send without asking. What is refused is counted as `bad`.

mod http;
mod websocket;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use warp_model::limits::NG_BYTES;
use warp_model::{GiveBack, Lent, Mono};
use warp_net::clock::Clock;
use warp_net::mailbox::{SendError, Sender};
use warp_ng::codec::{Frame, Framer, NgError, decode_request, encode_reply};
use warp_ng::cookie::Channel;
use warp_ng::reply::reasons;
use warp_ng::{Command, CookieCache, Reply};

use super::control::ToControl;
use super::ng_listener::{command_label, too_large};
use crate::config::Config;
use crate::metrics::{Metrics, NgCommand, NgResult};

/// Connections of all doors at once; one more is closed at once.
const CONNECTIONS: usize = 64;
/// How often a waiting connection looks whether the relay stops.
const LOOK: Duration = Duration::from_millis(250);
/// A connection that says nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(600);

/// What a door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Http,
}

/// The open doors.
#[derive(Debug)]
pub(crate) struct Doors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Where ng is taken over TCP.
    pub(crate) tcp: Option<SocketAddr>,
    /// Where it is taken over HTTP and WebSocket.
    pub(crate) http: Option<SocketAddr>,
}

/// What all connections have.
struct Shared {
    control: Sender<ToControl>,
    metrics: Metrics,
    config: Config,
    cookies: Mutex<CookieCache>,
    connections: AtomicUsize,
    stop: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// A place among the connections.
struct Place(Arc<Shared>);

impl GiveBack for Place {
    fn give_back(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Doors {
    /// Opens those that the configuration has.
    pub(crate) fn open(config: &Config, control: Sender<ToControl>, metrics: Metrics) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            control,
            metrics,
            config: config.clone(),
            cookies: Mutex::default(),
            connections: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut doors = Self { shared, threads: Vec::new(), tcp: None, http: None };
        for (kind, at) in [(Kind::Tcp, config.ng_tcp), (Kind::Http, config.http)] {
            let Some(at) = at else { continue };
            let listener = TcpListener::bind(at)?;
            let bound = Some(listener.local_addr()?);
            match kind {
                Kind::Tcp => doors.tcp = bound,
                Kind::Http => doors.http = bound,
            }
            let shared = Arc::clone(&doors.shared);
            let run = move || accept(&listener, kind, &shared);
            doors.threads.push(std::thread::Builder::new().name("ng-door".into()).spawn(run)?);
        }
        Ok(doors)
    }

    /// Closes them; connections end by themselves within a moment.
    pub(crate) fn close(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for at in [self.tcp, self.http].into_iter().flatten() {
            // Wakes the thread that waits for a connection.
            drop(TcpStream::connect_timeout(&at, LOOK));
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, kind: Kind, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else {
            // No descriptors: wait a moment, as the loop would spin.
            std::thread::park_timeout(LOOK);
            continue;
        };
        let Ok(from) = stream.peer_addr() else { continue };
        let is_full = shared.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS;
        let place = Lent::new(Place(Arc::clone(shared)));
        if is_full || !shared.config.ng_allows(from.ip().to_canonical()) {
            shared.bad();
            continue;
        }
        let shared = Arc::clone(shared);
        let run = move || {
            let _place = place;
            let Ok(mut client) = Client::new(stream, from, shared) else { return };
            // Ends with the connection, whoever ended it.
            let _ = match kind {
                Kind::Tcp => client.messages(),
                Kind::Http => http::serve(&mut client),
            };
        };
        // Without a thread the connection closes and its place is free.
        let _ = std::thread::Builder::new().name("ng-client".into()).spawn(run);
    }
}

impl Shared {
    fn bad(&self) {
        self.metrics.ng_requests.inc((NgCommand::Bad, NgResult::Error));
    }

    /// Carries out one command and waits for its answer.
    fn ask(&self, command: Command, from: IpAddr) -> Reply {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        let answer = Box::new(move |reply| drop(tx.send(reply)));
        match self.control.send(ToControl::Command(Box::new(command), Some(from), answer)) {
            Err(SendError::Full(_)) => Reply::LoadLimit { message: reasons::LIMIT_LOAD.into() },
            Err(SendError::Closed(_)) => Reply::error("relay stopped"),
            Ok(()) => rx.recv().unwrap_or(Reply::error("relay stopped")),
        }
    }

    fn cookies<R>(&self, with: impl FnOnce(&mut CookieCache, Mono) -> R) -> R {
        with(&mut self.cookies.lock().unwrap_or_else(PoisonError::into_inner), Clock::mono())
    }

    /// The reply to `COOKIE SP DOCUMENT`, with its cookie; `None`: there is nothing to answer to. `remember` is the client
    /// whose repeated cookies get the stored answer.
    fn reply(&self, message: &[u8], from: SocketAddr, remember: Option<SocketAddr>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let request = match decode_request(message) {
            Ok(request) => request,
            Err(NgError::NoCookie) => {
                self.bad();
                return None;
            }
            Err(NgError::Bad { cookie, encoding, reason }) => {
                self.bad();
                encode_reply(cookie, encoding, false, &Reply::error(reason), &mut out);
                return Some(out);
            }
        };
        let kept = |source| self.cookies(|c, now| c.repeat(Channel::Tcp, source, request.cookie, now));
        if let Some(kept) = remember.and_then(kept) {
            let name = command_label(&request.command);
            self.metrics.ng_requests.inc((name, NgResult::Repeated));
            return Some(kept.to_vec());
        }
        let reply = self.ask(request.command, from.ip());
        let (cookie, encoding) = (request.cookie, request.encoding);
        encode_reply(cookie, encoding, request.load_limit, &reply, &mut out);
        if out.len() > NG_BYTES {
            out.clear();
            encode_reply(cookie, encoding, request.load_limit, &too_large(&reply), &mut out);
        }
        if let Some(source) = remember {
            self.cookies(|c, now| c.keep(Channel::Tcp, source, cookie, &out, now));
        }
        Some(out)
    }
}

/// One connection, with what was read and not used.
struct Client {
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    buffer: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream, from: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, from, shared, buffer: Vec::new() })
    }

    /// Reads some more. Errors: the end, silence for too long, the relay stops.
    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0u8; 8_192];
        let begun = Clock::mono();
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    self.buffer.extend_from_slice(piece.get(..n).unwrap_or_default());
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    let is_late = Clock::mono().since(begun) > IDLE;
                    if is_late || self.shared.stop.load(Ordering::Acquire) {
                        return Err(e);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes so many bytes that were read, or reads until there are as many.
    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Plain TCP: one message after the other.
    fn messages(&mut self) -> io::Result<()> {
        let mut framer = Framer::default();
        loop {
            match framer.scan(&self.buffer) {
                Frame::Partial => self.fill()?,
                Frame::Broken => {
                    self.shared.bad();
                    return Ok(());
                }
                Frame::Whole(from, to) => {
                    let message = self.take(to)?;
                    let message = message.get(from..).unwrap_or_default();
                    if let Some(reply) = self.shared.reply(message, self.from, Some(self.from)) {
                        self.send(&reply)?;
                    }
                    framer = Framer::default();
                }
            }
        }
    }
}
