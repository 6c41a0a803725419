//! The stream side of a shard: accepting, reading and framing, sending, and what is lost with a connection.

use std::net::{IpAddr, SocketAddr};

use warp_model::Now;
use warp_net::epoll::{Event as Ready, Interest};
use warp_net::tcp::{Accepted, ReadOutcome};
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::message::ResponseDraft;
use warp_sip::stream::{self, Frame};
use warp_sip::ws::Event;

use super::Note;
use super::shard::{ACCEPTS_PER_EVENT, Shard};
use super::streams::owner_of;
use super::token;
use super::wire::{reconnect_address, via};
use crate::core::TransmitBuf;
use crate::metrics::{Direction, ParseError, SocketError};

impl Shard {
    /// On the connection that the flow names; else on one to the same address; else on a new one.
    pub(super) fn transmit_stream(&mut self, flow: Flow, bytes: TransmitBuf, now: Now) {
        let owner = owner_of(flow.link);
        if flow.link.is_some() && owner != self.index && owner < self.config.shards {
            self.tell(owner, Note::Transmit { flow, bytes });
            return;
        }
        let named = Some(flow.link).filter(|id| id.is_some() && !self.streams.is_closing(*id));
        let id = match named.or_else(|| self.streams.to(flow.transport, flow.remote)) {
            Some(id) => Ok(id),
            None => {
                let remote = reconnect_address(&flow, &bytes);
                match self.streams.to(flow.transport, remote) {
                    Some(id) => Ok(id),
                    None => self
                        .streams
                        .open(
                            Flow { remote, ..flow },
                            &self.names_at(flow.transport, remote),
                            &self.epoll,
                            now.mono,
                        )
                        .inspect_err(|error| self.streams.not_opened(error, now.mono)),
                }
            }
        };
        let sent = id.is_ok_and(|id| match self.streams.send(id, &bytes) {
            Some(true) => true,
            // The peer does not read: its connection is of no use to anybody (T-SIP-15).
            Some(false) => {
                let lost = self.streams.remove(id);
                self.lose(lost);
                true
            }
            None => false,
        });
        if !sent {
            self.metrics.socket_errors.inc((SocketError::Send,));
            // Whose message it was may be another shard's core.
            self.lose(Some(flow));
        }
        self.core.recycle(bytes);
    }

    /// The names that the certificate of a peer may have; none: its address.
    fn names_at(&self, transport: Transport, remote: SocketAddr) -> Vec<String> {
        match transport {
            Transport::Tls => self.shared.names_at(remote),
            _ => Vec::new(),
        }
    }

    pub(super) fn close_flow(&mut self, flow: Flow) {
        match owner_of(flow.link) {
            _ if !flow.link.is_some() => {}
            owner if owner == self.index => self.streams.close_after_flush(flow.link),
            owner => self.tell(owner, Note::CloseFlow(flow)),
        }
    }

    pub(super) fn on_listener(&mut self, i: usize, now: Now) {
        for _ in 0..ACCEPTS_PER_EVENT {
            let Some((transport, listener)) = self.listeners.get(i) else { return };
            let transport = *transport;
            match listener.accept(self.config.streams.write_buffer) {
                Accepted::Connection(connection) => {
                    let known = self.is_known(connection.remote_addr().ip());
                    self.streams.accepted(transport, connection, known, &self.epoll, now.mono);
                }
                Accepted::Empty => return,
                Accepted::Failed(_) => self.metrics.socket_errors.inc((SocketError::Accept,)),
                Accepted::Exhausted => {
                    // Level-triggered readiness would spin: look again at the next tick (F-PROC-07).
                    self.metrics.socket_errors.inc((SocketError::Descriptors,));
                    if let Some(times) = self.no_descriptors.due(now.mono) {
                        let shard = self.index;
                        tracing::error!(
                            shard,
                            times,
                            "no descriptors or memory for TCP connections: they wait until one is closed (ulimit -n)"
                        );
                    }
                    self.pause_accepting(true);
                    return;
                }
            }
        }
    }

    pub(super) fn pause_accepting(&mut self, pause: bool) {
        if self.exhausted == pause {
            return;
        }
        self.exhausted = pause;
        let interest = if pause { Interest::NONE } else { Interest::READ };
        for (i, (_, listener)) in self.listeners.iter().enumerate() {
            let _ = self.epoll.modify(listener, token::listener(i), interest);
        }
    }

    /// Whether an address belongs to a peer with an account.
    pub(super) fn is_known(&self, ip: IpAddr) -> bool {
        self.config.core.is_known(self.snapshot.as_deref(), ip)
    }

    pub(super) fn on_stream(&mut self, id: LinkId, event: Ready, now: Now) {
        if event.writable() || event.error() {
            self.streams.writable(id);
        }
        if !event.readable() || self.streams.is_closing(id) {
            return;
        }
        let Some(mut buffer) = self.read_buffer.take() else { return };
        let outcome = match self.streams.get(id) {
            Some(stream) if !stream.connection.is_connecting() => stream.connection.read(&mut buffer),
            // Not established: flush finds out.
            _ => ReadOutcome::Empty,
        };
        match outcome {
            ReadOutcome::Bytes(n) => {
                self.load.left_over(n == buffer.len());
                self.on_bytes(id, buffer.get(..n).unwrap_or_default(), now);
            }
            ReadOutcome::Empty => {}
            ReadOutcome::Closed | ReadOutcome::Failed(_) => {
                let lost = self.streams.remove(id);
                self.lose(lost);
                self.settle(now);
                self.pause_accepting(false);
            }
        }
        self.read_buffer = Some(buffer);
    }

    fn on_bytes(&mut self, id: LinkId, bytes: &[u8], now: Now) {
        let mut plain = Vec::new();
        let bytes = match self.streams.decrypt(id, bytes, &mut plain) {
            Ok(bytes) => bytes,
            Err(fault) => {
                if fault {
                    self.metrics.parse_errors.inc((ParseError::Framing,));
                }
                self.end_stream(id, now);
                return;
            }
        };
        let Some(stream) = self.streams.get(id) else { return };
        let flow = stream.flow;
        if let Some(web) = &mut stream.web {
            let (mut events, mut out) = (Vec::new(), Vec::new());
            let ended = web.receive(bytes, &self.config.web_origins, &mut events, &mut out).is_err();
            self.streams.write(id, &out);
            for event in events {
                self.streams.heard(id, now.mono);
                if let Event::Message(message) = event {
                    self.on_message(flow, &message, now);
                }
                if self.streams.is_closing(id) {
                    return;
                }
            }
            if ended {
                self.end_stream(id, now);
            }
            return;
        }
        let mut framer = std::mem::take(&mut stream.framer);
        // Without its framer nobody knows where the next message begins: a panic now ends this connection.
        self.reading = Some(id);
        framer.push(bytes);
        while let Some(frame) = framer.poll_frame() {
            match frame {
                Frame::Message(message) => {
                    self.streams.heard(id, now.mono);
                    self.on_message(flow, message, now);
                }
                Frame::Ping => {
                    self.streams.heard(id, now.mono);
                    self.streams.send(id, stream::PONG);
                }
                Frame::Broken { head, error } => {
                    self.metrics.parse_errors.inc((ParseError::Framing,));
                    let mut answer = Vec::new();
                    if let Some(status) = error.status
                        && ResponseDraft::new(status).broken(head, &error, &mut answer)
                    {
                        self.metrics.message(&answer, Direction::Egress, via(flow.transport));
                        self.streams.send(id, &answer);
                    }
                    self.streams.close_after_flush(id);
                }
            }
            if self.streams.is_closing(id) {
                break;
            }
        }
        self.reading = None;
        if let Some(stream) = self.streams.get(id) {
            stream.framer = framer;
        }
    }

    /// Nothing more is read of a connection: it is closed, after what can be sent at once.
    fn end_stream(&mut self, id: LinkId, now: Now) {
        let lost = self.streams.end(id);
        self.lose(lost);
        self.settle(now);
        self.pause_accepting(false);
    }

    /// A connection is gone: every core may have transactions on it.
    pub(super) fn lose(&mut self, flow: Option<Flow>) {
        let Some(flow) = flow else { return };
        self.flow_errors.push_back(flow);
        for other in 0..self.config.shards {
            if other != self.index {
                self.tell(other, Note::FlowError(flow));
            }
        }
    }
}
