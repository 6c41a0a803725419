//! SIP over TCP: one listener, connections both ways, whole messages out of byte streams.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use warp_net::epoll::{Epoll, Interest};
use warp_net::tcp::{Accepted, FlushOutcome, ReadOutcome, TcpConnection, TcpListener};
use warp_sip::stream::{Frame, Framer, PONG};

/// Streams use tokens from here on, up to those of media legs.
pub(crate) const TOKEN_STREAMS: u64 = 1 << 20;

/// Bytes that may wait for one peer. When full: the connection is closed.
const WRITE_LIMIT: usize = 1 << 20;

struct Stream {
    connection: TcpConnection,
    framer: Framer,
}

/// All connections of one agent.
pub(crate) struct Streams {
    listener: TcpListener,
    streams: BTreeMap<u32, Stream>,
    next: u32,
}

impl Streams {
    /// Begins to listen on `local`.
    pub(crate) fn bind(local: SocketAddr) -> io::Result<Streams> {
        Ok(Streams { listener: TcpListener::bind(local, false)?, streams: BTreeMap::new(), next: 0 })
    }

    /// Has its listener watched.
    pub(crate) fn watch(&self, epoll: &Epoll) -> io::Result<()> {
        epoll.add(&self.listener, TOKEN_STREAMS, Interest::READ)
    }

    /// The connection to `remote`, opened when there is none.
    pub(crate) fn connection_to(&mut self, remote: SocketAddr, epoll: &Epoll) -> io::Result<u32> {
        if let Some((id, _)) = self.streams.iter().find(|(_, s)| s.connection.remote_addr() == remote) {
            return Ok(*id);
        }
        let connection = TcpConnection::connect(remote, None, WRITE_LIMIT)?;
        self.add(connection, Interest::READ_WRITE, epoll)
    }

    fn add(&mut self, connection: TcpConnection, interest: Interest, epoll: &Epoll) -> io::Result<u32> {
        self.next += 1;
        epoll.add(&connection, TOKEN_STREAMS + u64::from(self.next), interest)?;
        self.streams.insert(self.next, Stream { connection, framer: Framer::new() });
        Ok(self.next)
    }

    /// Queues and sends; a peer that does not read loses its connection.
    pub(crate) fn send(&mut self, id: u32, bytes: &[u8], epoll: &Epoll) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.connection.queue(bytes) {
            self.streams.remove(&id);
            return;
        }
        self.flush(id, epoll);
    }

    fn flush(&mut self, id: u32, epoll: &Epoll) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match stream.connection.flush() {
            FlushOutcome::Failed(_) => {
                self.streams.remove(&id);
            }
            _ => {
                let interest =
                    if stream.connection.wants_write() { Interest::READ_WRITE } else { Interest::READ };
                let _ = epoll.modify(&stream.connection, TOKEN_STREAMS + u64::from(id), interest);
            }
        }
    }

    /// Accepts, reads, writes; whole messages go to `out` with their connection.
    pub(crate) fn handle_event(
        &mut self,
        epoll: &Epoll,
        token: u64,
        buffer: &mut [u8],
        out: &mut Vec<(u32, Vec<u8>)>,
    ) {
        if token == TOKEN_STREAMS {
            while let Accepted::Connection(connection) = self.listener.accept(WRITE_LIMIT) {
                let _ = self.add(connection, Interest::READ, epoll);
            }
            return;
        }
        let id = (token - TOKEN_STREAMS) as u32;
        self.flush(id, epoll);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let alive = match stream.connection.read(buffer) {
            ReadOutcome::Bytes(n) => {
                stream.framer.push(buffer.get(..n).unwrap_or(b""));
                let mut alive = true;
                while let Some(frame) = stream.framer.poll_frame() {
                    match frame {
                        Frame::Message(bytes) => out.push((id, bytes.to_vec())),
                        Frame::Ping => alive = stream.connection.queue(PONG),
                        Frame::Broken { .. } => alive = false,
                    }
                }
                alive
            }
            ReadOutcome::Empty => true,
            ReadOutcome::Closed | ReadOutcome::Failed(_) => false,
        };
        if !alive {
            self.streams.remove(&id);
        }
    }
}
