//! The stream connections of one shard: accepted under quotas, opened on demand, found by transport and remote address.
//!
//! A connection belongs to the shard that accepted or opened it; its id carries that shard, so that the others find
//! it ([`owner_of`]), and is not given again while the process lives. Bytes queued during a wake-up leave in one write at its end, in order.
//! The table knows bytes and deadlines; what a frame means is the shard's business.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use warp_model::sync::lock;
use warp_model::{GiveBack, Lent, Mono};
use warp_net::epoll::{Epoll, Interest};
use warp_net::tcp::{FlushOutcome, TcpConnection};
use warp_net::tls::{Tls, TlsSession};
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::stream::Framer;
use warp_sip::ws::{self, WebSocket};
use warp_telemetry::Seldom;

use super::token;
use super::wire::stream_kind;
use crate::config::StreamLimits;
use crate::metrics::{Metrics, SocketError, StreamState};

/// One connection with what is read and not framed, and what waits to be written.
pub(super) struct Stream {
    pub(super) connection: TcpConnection,
    /// What stands between the socket and SIP: TLS, then a WebSocket or the framer.
    tls: Option<Box<TlsSession>>,
    pub(super) web: Option<Box<WebSocket>>,
    pub(super) framer: Framer,
    pub(super) flow: Flow,
    /// Bytes that wait for the end of a handshake.
    early: usize,
    /// A WebSocket that has been asked whether it lives.
    pinged: bool,
    deadline: Mono,
    /// Watched for writability.
    watched: bool,
    /// On the list of those to flush.
    dirty: bool,
    /// Close when everything is sent; nothing more is read.
    closing: bool,
    /// Whether the core is told when it ends.
    state: StreamState,
    _permit: Option<Lent<Permit>>,
}

/// The connections of one shard, and how many more it may open.
pub(super) struct Streams {
    shard: u16,
    limits: StreamLimits,
    quota: Arc<Quota>,
    metrics: Metrics,
    certificate: Option<Arc<Tls>>,
    next: u64,
    opened: usize,
    table: HashMap<LinkId, Stream>,
    /// The living ones, oldest first: a peer may have several, and one that ends leaves the others to be found.
    by_remote: HashMap<(Transport, SocketAddr), Vec<LinkId>>,
    dirty: Vec<LinkId>,
    /// Lines about accepted and about opened connections that were not to be had.
    refused: Seldom,
    unopened: Seldom,
}

/// The shard that owns a connection.
pub(super) fn owner_of(link: LinkId) -> u16 {
    (link.0 >> NUMBER_BITS) as u16
}

impl Streams {
    pub(super) fn new(
        shard: u16,
        limits: StreamLimits,
        quota: Arc<Quota>,
        metrics: Metrics,
        certificate: Option<Arc<Tls>>,
    ) -> Streams {
        Streams {
            certificate,
            shard,
            limits,
            quota,
            metrics,
            next: 0,
            opened: 0,
            table: HashMap::new(),
            by_remote: HashMap::new(),
            dirty: Vec::new(),
            refused: Seldom::new(),
            unopened: Seldom::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn get(&mut self, id: LinkId) -> Option<&mut Stream> {
        self.table.get_mut(&id)
    }

    /// The newest connection of that transport to `remote` that still takes messages.
    pub(super) fn to(&self, transport: Transport, remote: SocketAddr) -> Option<LinkId> {
        self.by_remote.get(&(transport, remote))?.iter().rev().copied().find(|id| !self.is_closing(*id))
    }

    /// Takes an accepted connection in, or refuses it (T-SIP-15). `known`: its source has an account.
    pub(super) fn accepted(
        &mut self,
        transport: Transport,
        connection: TcpConnection,
        known: bool,
        epoll: &Epoll,
        now: Mono,
    ) {
        let (local, remote) = (connection.local_addr(), connection.remote_addr());
        let Some(permit) = Quota::admit(&self.quota, remote.ip(), known) else {
            self.metrics.streams_refused.inc(());
            if let Some(times) = self.refused.due(now) {
                let StreamLimits { per_stranger, per_known, total, .. } = self.limits;
                tracing::warn!(
                    shard = self.shard, source = %remote.ip(), known, per_stranger, per_known, total, times,
                    "TCP connections are refused: their source, or all together, have as many as they may"
                );
            }
            return;
        };
        let deadline = now + self.limits.first_message;
        let flow = Flow::unlinked(transport, local, remote);
        let tls = match (transport.is_secure(), &self.certificate) {
            (false, _) => None,
            // A listener for TLS has a certificate; without a session the connection is dropped.
            (true, certificate) => match certificate.as_ref().map(|c| c.accept()) {
                Some(Ok(session)) => Some(Box::new(session)),
                Some(Err(_)) | None => return,
            },
        };
        self.insert((connection, tls), flow, StreamState::Open, deadline, Some(permit), epoll);
    }

    /// Opens a connection to `flow.remote` and gives its number. `flow.local` stays our address in its messages. `names`: those that the
    /// peer was found by, of which the first must stand in its certificate; without one its address must.
    pub(super) fn open(
        &mut self,
        flow: Flow,
        names: &[String],
        epoll: &Epoll,
        now: Mono,
    ) -> io::Result<LinkId> {
        if self.opened >= self.limits.opened {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let ip = Some(flow.local.ip()).filter(|ip| ip.is_ipv4() == flow.remote.is_ipv4());
        let tls = match flow.transport {
            // Nobody listens behind a WebSocket (RFC 7118 §5.3).
            Transport::Udp | Transport::Ws | Transport::Wss => return Err(io::ErrorKind::Unsupported.into()),
            Transport::Tcp => None,
            Transport::Tls => {
                let certificate = self.certificate.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                let session = match names.first() {
                    Some(name) => certificate.connect_to(name),
                    None => certificate.connect(flow.remote.ip()),
                };
                Some(Box::new(session.map_err(io::Error::other)?))
            }
        };
        let connection = TcpConnection::connect(flow.remote, ip, self.limits.write_buffer)?;
        let deadline = now + self.limits.connect;
        let id = self.insert((connection, tls), flow, StreamState::Connecting, deadline, None, epoll);
        if let Some(id) = id {
            // Its first words.
            self.write(id, b"");
        }
        id.ok_or_else(|| io::ErrorKind::QuotaExceeded.into())
    }

    /// Counts and tells that a connection to a peer was not to be had, when we have run out of something.
    pub(super) fn not_opened(&self, error: &io::Error, now: Mono) {
        let reason = match error.kind() {
            io::ErrorKind::QuotaExceeded => SocketError::OpenedFull,
            _ if warp_net::lacks_descriptors(error) => SocketError::Descriptors,
            _ => return,
        };
        self.metrics.socket_errors.inc((reason,));
        if let Some(times) = self.unopened.due(now) {
            tracing::error!(
                shard = self.shard, opened = self.opened, limit = self.limits.opened, %error, times,
                "no more TCP connections to peers can be opened: requests to them fail"
            );
        }
    }

    fn insert(
        &mut self,
        (connection, tls): (TcpConnection, Option<Box<TlsSession>>),
        flow: Flow,
        state: StreamState,
        deadline: Mono,
        permit: Option<Lent<Permit>>,
        epoll: &Epoll,
    ) -> Option<LinkId> {
        let id = self.new_id();
        let watched = connection.wants_write();
        let interest = if watched { Interest::READ_WRITE } else { Interest::READ };
        epoll.add(&connection, token::stream(id), interest).ok()?;
        if permit.is_none() {
            self.opened += 1;
        }
        self.metrics.connections.inc((stream_kind(flow.transport), state));
        let flow = Flow { link: id, ..flow };
        let framer = Framer::new();
        let stream = Stream {
            connection,
            tls,
            web: matches!(flow.transport, Transport::Ws | Transport::Wss).then(Box::default),
            framer,
            early: 0,
            pinged: false,
            flow,
            deadline,
            watched,
            dirty: false,
            closing: false,
            state,
            _permit: permit,
        };
        self.table.insert(id, stream);
        self.by_remote.entry((flow.transport, flow.remote)).or_default().push(id);
        Some(id)
    }

    fn new_id(&mut self) -> LinkId {
        // 2^48 connections of one shard are more than a process lives to see.
        self.next = (self.next + 1) & NUMBER_MASK;
        LinkId((u64::from(self.shard) << NUMBER_BITS) | self.next)
    }

    /// Queues one message on connection `id`; it leaves with [`flush`](Streams::flush). `None`: no such connection, or a WebSocket
    /// that is not open. `Some(false)`: the peer does not read; the caller closes it.
    pub(super) fn send(&mut self, id: LinkId, message: &[u8]) -> Option<bool> {
        let stream = self.table.get(&id)?;
        let Some(web) = &stream.web else {
            return self.write(id, message);
        };
        if !web.is_open() {
            return None;
        }
        let mut framed = Vec::with_capacity(message.len() + 10);
        ws::write_message(message, &mut framed);
        self.write(id, &framed)
    }

    /// Queues bytes as they are, below a WebSocket and above TLS.
    pub(super) fn write(&mut self, id: LinkId, bytes: &[u8]) -> Option<bool> {
        let limit = self.limits.write_buffer;
        let stream = self.table.get_mut(&id).filter(|s| !s.closing)?;
        let queued = match &mut stream.tls {
            None => stream.connection.queue(bytes),
            Some(tls) => {
                if tls.is_handshaking() {
                    stream.early += bytes.len();
                }
                let mut sealed = Vec::new();
                if stream.early <= limit {
                    tls.send(bytes);
                    tls.take_output(&mut sealed);
                }
                stream.early <= limit && stream.connection.queue(&sealed)
            }
        };
        if !queued {
            return Some(false);
        }
        if !stream.dirty {
            stream.dirty = true;
            self.dirty.push(id);
        }
        Some(true)
    }

    /// Takes the TLS off what came on connection `id`; without TLS, gives it back as it is. `Err`: nothing more comes, because the peer
    /// said so, or (true) because it is no TLS or broken.
    pub(super) fn decrypt<'b>(
        &mut self,
        id: LinkId,
        bytes: &'b [u8],
        plain: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], bool> {
        let Some(stream) = self.table.get_mut(&id) else { return Ok(b"") };
        let Some(tls) = &mut stream.tls else { return Ok(bytes) };
        let received = tls.receive(bytes, plain);
        if !tls.is_handshaking() {
            stream.early = 0;
        }
        let full = self.write(id, b"") == Some(false);
        match received {
            Ok(false) if !full => Ok(plain),
            // What came before the end counts; the end of the connection itself is seen next.
            Ok(true) if !plain.is_empty() => Ok(plain),
            Ok(ended) => Err(!ended),
            Err(_) => Err(true),
        }
    }

    /// Sends what can be sent at once, and forgets and closes `id`; gives its flow when the core should hear of the loss.
    pub(super) fn end(&mut self, id: LinkId) -> Option<Flow> {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.connection.flush();
        }
        self.remove(id)
    }

    /// A whole message or a keep-alive came: not idle.
    pub(super) fn heard(&mut self, id: LinkId, now: Mono) {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.pinged = false;
            stream.deadline = now + self.limits.idle;
        }
    }

    /// Whether connection `id` is only there to send its last bytes.
    pub(super) fn is_closing(&self, id: LinkId) -> bool {
        self.table.get(&id).is_none_or(|s| s.closing)
    }

    /// Close `id` after what is queued.
    pub(super) fn close_after_flush(&mut self, id: LinkId) {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.closing = true;
            if !stream.dirty {
                stream.dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// `id` can be written: it goes out with the next [`flush`](Streams::flush).
    pub(super) fn writable(&mut self, id: LinkId) {
        if let Some(stream) = self.table.get_mut(&id)
            && !stream.dirty
        {
            stream.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Sends what this wake-up queued. `lost` gets the flow of each connection that broke or could not be made.
    pub(super) fn flush(&mut self, epoll: &Epoll, now: Mono, mut lost: impl FnMut(Flow)) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(stream) = self.table.get_mut(&id) else { continue };
            stream.dirty = false;
            let outcome = stream.connection.flush();
            if stream.state == StreamState::Connecting && !stream.connection.is_connecting() {
                stream.state = StreamState::Open;
                if stream.tls.is_none() {
                    stream.deadline = now + self.limits.idle;
                }
                let kind = stream_kind(stream.flow.transport);
                self.metrics.connections.dec((kind, StreamState::Connecting));
                self.metrics.connections.inc((kind, StreamState::Open));
            }
            match outcome {
                FlushOutcome::Failed(_) => {
                    if let Some(flow) = self.remove(id) {
                        lost(flow);
                    }
                }
                FlushOutcome::Done if stream.closing => {
                    self.remove(id);
                }
                FlushOutcome::Done | FlushOutcome::Pending => {
                    let want = stream.connection.wants_write();
                    if want != stream.watched {
                        let interest = if want { Interest::READ_WRITE } else { Interest::READ };
                        if epoll.modify(&stream.connection, token::stream(id), interest).is_ok() {
                            stream.watched = want;
                        }
                    }
                }
            }
        }
    }

    /// Forgets and closes `id`; gives its flow when the core should hear of the loss.
    pub(super) fn remove(&mut self, id: LinkId) -> Option<Flow> {
        let stream = self.table.remove(&id)?;
        let key = (stream.flow.transport, stream.flow.remote);
        if let Some(there) = self.by_remote.get_mut(&key) {
            there.retain(|other| *other != id);
            if there.is_empty() {
                self.by_remote.remove(&key);
            }
        }
        if stream._permit.is_none() {
            self.opened = self.opened.saturating_sub(1);
        }
        self.metrics.connections.dec((stream_kind(stream.flow.transport), stream.state));
        (!stream.closing).then_some(stream.flow)
    }

    /// Closes what is over its deadline: no first message, idle, not connected in time, not drained after the close.
    /// Called about once a second.
    pub(super) fn sweep(&mut self, now: Mono, mut lost: impl FnMut(Flow)) {
        // A browser sends nothing while nothing happens, but answers when it is asked (T-SIP-20).
        let silent = now + self.limits.idle / 2;
        let asked: Vec<LinkId> = self
            .table
            .iter_mut()
            .filter(|(_, s)| s.web.as_ref().is_some_and(|w| w.is_open()) && s.deadline <= silent && !s.pinged)
            .map(|(id, s)| {
                s.pinged = true;
                *id
            })
            .collect();
        let mut ping = Vec::new();
        ws::write_ping(&mut ping);
        for id in asked {
            let _ = self.write(id, &ping);
        }
        let mut late: Vec<LinkId> =
            self.table.iter().filter(|(_, s)| s.deadline <= now).map(|(id, _)| *id).collect();
        late.sort_unstable();
        for id in late {
            self.metrics.streams_timed_out.inc(());
            if let Some(flow) = self.remove(id) {
                lost(flow);
            }
        }
    }
}

/// How many accepted connections there are, in the whole process. Touched at accept and close only.
pub(crate) struct Quota {
    limits: StreamLimits,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: u32,
    strangers: u32,
    by_source: HashMap<IpAddr, u32>,
}

/// Room for one connection.
struct Permit {
    quota: Arc<Quota>,
    source: IpAddr,
    known: bool,
}

impl Quota {
    pub(crate) fn new(limits: StreamLimits) -> Quota {
        Quota { limits, counts: Mutex::new(Counts::default()) }
    }

    fn admit(quota: &Arc<Quota>, source: IpAddr, known: bool) -> Option<Lent<Permit>> {
        let limits = &quota.limits;
        let mut counts = lock(&quota.counts);
        let of_source = counts.by_source.get(&source).copied().unwrap_or(0);
        let per_source = if known { limits.per_known } else { limits.per_stranger };
        let strangers_full = !known && counts.strangers >= limits.total - limits.total / 4;
        if counts.total >= limits.total || strangers_full || of_source >= per_source {
            return None;
        }
        counts.total += 1;
        counts.strangers += u32::from(!known);
        counts.by_source.insert(source, of_source + 1);
        Some(Lent::new(Permit { quota: Arc::clone(quota), source, known }))
    }
}

impl GiveBack for Permit {
    fn give_back(&mut self) {
        let mut counts = lock(&self.quota.counts);
        counts.total = counts.total.saturating_sub(1);
        counts.strangers = counts.strangers.saturating_sub(u32::from(!self.known));
        if let Some(n) = counts.by_source.get_mut(&self.source) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

/// A shard's number is at most 255: above the 48 bits of the count, and below the kind of an epoll token.
const NUMBER_BITS: u32 = 48;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// T-SIP-15: strangers fill at most their own share and three quarters of the whole; known peers still get in.
    #[test]
    fn t_sip_15_a_quarter_of_the_streams_is_kept_for_known_peers() {
        let limits = StreamLimits { per_stranger: 3, per_known: 5, total: 12, ..StreamLimits::default() };
        let quota = Arc::new(Quota::new(limits));
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let mut held: Vec<Lent<Permit>> = (0..3).filter_map(|_| Quota::admit(&quota, ip(1), false)).collect();
        assert_eq!(held.len(), 3);
        assert!(Quota::admit(&quota, ip(1), false).is_none(), "one stranger's share");
        for n in 2..10 {
            held.extend((0..3).filter_map(|_| Quota::admit(&quota, ip(n), false)));
        }
        assert_eq!(held.len(), 9, "three quarters");
        let known: Vec<Lent<Permit>> = (0..9).filter_map(|_| Quota::admit(&quota, ip(200), true)).collect();
        assert_eq!(known.len(), 3, "the kept quarter, then the whole is full");
        held.truncate(8);
        assert!(Quota::admit(&quota, ip(100), false).is_some(), "room was given back");
        drop((held, known));
        assert!(lock(&quota.counts).by_source.is_empty());
        // By an unwind as well, before the connection is in the table.
        let step = std::panic::AssertUnwindSafe(|| {
            let _permit = Quota::admit(&quota, ip(1), false);
            panic!("meant");
        });
        assert!(std::panic::catch_unwind(step).is_err());
        let counts = lock(&quota.counts);
        assert_eq!((counts.total, counts.strangers, counts.by_source.len()), (0, 0, 0));
    }

    /// `ref/threats-and-faults` §1: an idle connection costs at most 8 KiB; its buffers are empty and unallocated.
    #[test]
    fn t_sip_15_an_idle_connection_is_small() {
        assert!(std::mem::size_of::<Stream>() <= 1_024);
        assert_eq!(Framer::new().memory(), 0);
    }

    #[test]
    fn ids_name_their_shard_and_are_not_given_again() {
        let limits = StreamLimits::default();
        let mut streams = Streams::new(7, limits, Arc::new(Quota::new(limits)), Metrics::detached(), None);
        let ids: Vec<LinkId> = (0..3).map(|_| streams.new_id()).collect();
        assert!(ids.iter().all(|id| owner_of(*id) == 7 && id.is_some()));
        assert!(ids.is_sorted() && ids[0] != ids[1], "{ids:?}");
        assert_eq!(token::target(token::stream(ids[2])), token::Target::Stream(ids[2]));
    }

    /// Two connections of one address are both found, the newer first; another transport's are not.
    #[test]
    fn connections_are_found_by_transport_and_address() {
        let limits = StreamLimits::default();
        let mut streams = Streams::new(0, limits, Arc::new(Quota::new(limits)), Metrics::detached(), None);
        let (epoll, now) = (Epoll::new().unwrap(), Mono(0));
        let listener = warp_net::tcp::TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let (us, remote) = ("127.0.0.1:5060".parse().unwrap(), listener.local_addr());
        let flow = Flow::unlinked(Transport::Tcp, us, remote);
        let first = streams.open(flow, &[], &epoll, now).unwrap();
        let second = streams.open(flow, &[], &epoll, now).unwrap();
        assert_eq!(streams.to(Transport::Tcp, remote), Some(second));
        assert_eq!((streams.to(Transport::Tls, remote), streams.to(Transport::Tcp, us)), (None, None));
        assert_eq!(streams.remove(second), Some(Flow { link: second, ..flow }));
        assert_eq!(streams.to(Transport::Tcp, remote), Some(first), "the older one is there still");
        streams.close_after_flush(first);
        assert_eq!(streams.to(Transport::Tcp, remote), None, "and takes nothing once it is closing");
        streams.remove(first);
        assert!(streams.by_remote.is_empty() && streams.table.is_empty());
    }
}
