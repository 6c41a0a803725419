//! Connections: their sessions, their bytes in and out, whose they are.

use std::net::SocketAddr;
use std::time::Duration;

use warp_model::{Mono, Now};
use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu;
use warp_smpp::session::{Action, Incoming, Timers};
use warp_smpp::{Command, Header, Session, Side, State, Status};

use super::slab::Key;
use super::{Core, Output};
use crate::metrics::{BindResult, Peer};

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Somebody who has not bound.
    Stranger,
    /// A bind of the account of this place.
    Customer(usize),
    /// A bind to a vendor: its place, and the place of the bind.
    Vendor(usize, usize),
}

/// The token of a request to bind; no message has it.
pub(super) const BIND: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) remote: SocketAddr,
    pub(super) role: Role,
    pub(super) session: Session,
    framer: Framer,
    pub(super) out: Vec<u8>,
    dirty: bool,
    /// Its requests wait unread since then.
    full_since: Option<Mono>,
    /// A refused bind is answered then.
    pub(super) refusal: Option<(Mono, Command, u32)>,
    /// Its password is being checked.
    pub(super) checking: bool,
}

/// How long requests over the window wait unread before they are throttled.
const FULL_FOR: Duration = Duration::from_secs(1);

impl Core {
    /// A customer's connection was accepted. `None`: there are too many, close it.
    pub fn accepted(&mut self, remote: SocketAddr, now: Now) -> Option<Key> {
        let limits = self.config.limits;
        let from_there = self.per_source.entry(remote.ip()).or_insert(0);
        if self.draining || self.customers >= limits.connections || *from_there >= limits.per_source {
            if *from_there == 0 {
                self.per_source.remove(&remote.ip());
            }
            return None;
        }
        *from_there = from_there.saturating_add(1);
        self.customers = self.customers.saturating_add(1);
        Some(self.connections.insert(Connection {
            remote,
            role: Role::Stranger,
            // One request before the bind is enough.
            session: Session::new(Side::Smsc, Timers::default(), 1, 1, now.mono),
            framer: Framer::new(PDU_BYTES),
            out: Vec::new(),
            dirty: false,
            full_since: None,
            refusal: None,
            checking: false,
        }))
    }

    /// A connection to a vendor is wanted.
    pub(super) fn open(
        &mut self,
        remote: SocketAddr,
        role: Role,
        timers: Timers,
        window: usize,
        now: Now,
    ) -> Key {
        let key = self.connections.insert(Connection {
            remote,
            role,
            session: Session::new(Side::Esme, timers, window, VENDOR_REQUESTS, now.mono),
            framer: Framer::new(PDU_BYTES),
            out: Vec::new(),
            dirty: false,
            full_since: None,
            refusal: None,
            checking: false,
        });
        if let Role::Vendor(vendor, _) = role {
            self.outputs.push_back(Output::Connect(key, remote, vendor));
        }
        key
    }

    /// Bytes arrived on a connection.
    pub fn bytes(&mut self, key: Key, bytes: &[u8], now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.framer.push(bytes);
        self.frames(key, now);
        self.settle(key, now);
    }

    /// Whether the owner is to read from it: not while its window is full.
    pub fn wants_read(&self, key: Key) -> bool {
        self.connections.get(key).is_some_and(|c| c.full_since.is_none())
    }

    /// Takes PDUs that are whole, as long as the window allows.
    fn frames(&mut self, key: Key, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut framer = std::mem::replace(&mut connection.framer, Framer::new(PDU_BYTES));
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            if connection.session.is_full() && connection.session.state().is_bound() {
                let since = *connection.full_since.get_or_insert(now.mono);
                // For a second they wait; then each is answered that it is one too many.
                if now.mono < since + FULL_FOR {
                    break;
                }
            } else {
                connection.full_since = None;
            }
            match framer.poll_frame() {
                Some(Frame::Pdu(header, body)) => self.pdu(key, &header, body, now),
                Some(Frame::Broken { sequence }) => {
                    self.metrics.malformed.inc(());
                    self.write(key, |out| {
                        pdu::header_only(out, Command::GENERIC_NACK, Status::RINVCMDLEN, sequence);
                    });
                    self.close(key, now);
                    return;
                }
                None => break,
            }
        }
        if let Some(connection) = self.connections.get_mut(key) {
            let partial = framer.is_partial() && !framer.has_frame();
            connection.session.partial(partial, now.mono);
            connection.framer = framer;
        }
    }

    fn pdu(&mut self, key: Key, header: &Header, body: &[u8], now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let role = connection.role;
        let strays = connection.session.strays();
        let incoming = connection.session.handle(header, now.mono);
        self.metrics.strays.add((), connection.session.strays().saturating_sub(strays));
        match incoming {
            Incoming::Reply(status) => self.reply(key, header, status),
            Incoming::Bind(state) => self.bind(key, header, body, state, now),
            Incoming::Request => match role {
                Role::Customer(account) => self.customer_request(key, account, header, body, now),
                Role::Vendor(vendor, _) => self.vendor_request(key, vendor, header, body, now),
                // Without a bind the machine gives no request.
                Role::Stranger => self.answer(key, header, Status::RINVBNDSTS),
            },
            Incoming::Answer { token: BIND, .. } => self.vendor_bound(key, header),
            Incoming::Answer { token, .. } => match role {
                Role::Vendor(vendor, _) => {
                    self.vendor_answered(vendor, Key::from_u64(token), header, body, now)
                }
                Role::Customer(account) => {
                    self.delivery_answered(Key::from_u64(token), header.status, now);
                    self.wake_account(account);
                }
                Role::Stranger => {}
            },
            Incoming::Notice | Incoming::Unbinding | Incoming::Ignored => {}
        }
    }

    /// Answers a request that the session had let through.
    pub(super) fn answer(&mut self, key: Key, header: &Header, status: Status) {
        self.reply(key, header, status);
        self.answered(key);
    }

    /// A request was answered: there is room for another.
    pub(super) fn answered(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.answered();
            if connection.full_since.is_some() {
                // What waits is read when the round is over.
                self.mark(key);
            }
        }
    }

    fn reply(&mut self, key: Key, header: &Header, status: Status) {
        self.metrics.malformed.add((), u64::from(status == Status::RINVCMDID));
        let (command, sequence) = (header.command, header.sequence);
        self.write(key, |out| pdu::reply(out, command, status, sequence));
    }

    /// Appends to what is sent on a connection. `false`: it is gone.
    pub(super) fn write(&mut self, key: Key, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        put(&mut connection.out);
        self.mark(key);
        true
    }

    fn mark(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Hands what is to be sent on each connection to `send`, which is to take it out. Call it after the batch was appended.
    pub fn take_dirty(&mut self, now: Now, mut send: impl FnMut(Key, &mut Vec<u8>)) {
        while let Some(key) = self.dirty.pop() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.dirty = false;
            if connection.full_since.is_some() && !connection.session.is_full() {
                self.frames(key, now);
                self.settle(key, now);
            }
            if let Some(connection) = self.connections.get_mut(key)
                && !connection.out.is_empty()
            {
                send(key, &mut connection.out);
            }
        }
        for (key, mut bytes) in self.last_words.drain(..) {
            send(key, &mut bytes);
        }
    }

    /// Does what the session wants by now.
    pub(super) fn settle(&mut self, key: Key, now: Now) {
        if let Some(connection) = self.connections.get_mut(key) {
            if let Some((at, command, sequence)) = connection.refusal
                && now.mono >= at
            {
                connection.refusal = None;
                self.write(key, |out| pdu::reply(out, command, Status::RINVPASWD, sequence));
            } else if connection.full_since.is_some_and(|since| now.mono >= since + FULL_FOR) {
                self.frames(key, now);
            }
        }
        let mut closing = false;
        while !closing {
            // The newest first: each goes back to the front, so that the oldest is the first again (F-NET-06).
            let mut expired = Vec::new();
            while let Some(connection) = self.connections.get_mut(key) {
                let Some(action) = connection.session.poll(now.mono) else { break };
                match action {
                    Action::Enquire(n) => {
                        pdu::header_only(&mut connection.out, Command::ENQUIRE_LINK, Status::ROK, n);
                    }
                    Action::Unbind(n) => {
                        pdu::header_only(&mut connection.out, Command::UNBIND, Status::ROK, n);
                    }
                    Action::UnbindAnswered(n) => {
                        pdu::reply(&mut connection.out, Command::UNBIND, Status::ROK, n);
                    }
                    Action::Expired { token, .. } => expired.push(token),
                    Action::Close(_) => closing = true,
                }
                self.mark(key);
            }
            if expired.is_empty() {
                break;
            }
            for token in expired.into_iter().rev() {
                self.unanswered(key, token, now);
            }
        }
        if closing {
            self.forget(key, now);
            self.outputs.push_back(Output::Close(key));
        }
    }

    /// An own request has no answer.
    fn unanswered(&mut self, key: Key, token: u64, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let role = connection.role;
        if token == BIND {
            // A vendor that does not answer a bind is no vendor.
            connection.session.lost();
            return;
        }
        match role {
            Role::Vendor(vendor, _) => self.vendor_unanswered(vendor, Key::from_u64(token), now),
            Role::Customer(_) => self.delivery_unanswered(Key::from_u64(token)),
            Role::Stranger => {}
        }
    }

    /// The connection broke, or could not be made.
    pub fn closed(&mut self, key: Key, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.session.lost();
        let tokens: Vec<u64> = std::iter::from_fn(|| match connection.session.poll(now.mono)? {
            Action::Expired { token, .. } => Some(token),
            _ => None,
        })
        .collect();
        for token in tokens.into_iter().rev() {
            self.unanswered(key, token, now);
        }
        self.forget(key, now);
    }

    /// Ends a connection from our side, after what is to be sent.
    pub(super) fn close(&mut self, key: Key, now: Now) {
        self.closed(key, now);
        self.outputs.push_back(Output::Close(key));
    }

    /// Begins to unbind a session.
    pub(super) fn unbind(&mut self, key: Key, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(sequence) = connection.session.unbind(now.mono) {
            self.write(key, |out| pdu::header_only(out, Command::UNBIND, Status::ROK, sequence));
        }
        self.settle(key, now);
    }

    fn forget(&mut self, key: Key, now: Now) {
        let Some(connection) = self.connections.remove(key) else { return };
        if !connection.out.is_empty() {
            self.last_words.push((key, connection.out));
        }
        match connection.role {
            Role::Vendor(vendor, bind) => return self.vendor_lost(vendor, bind, key, now),
            Role::Customer(account) => self.customer_lost(account, key),
            Role::Stranger => {}
        }
        self.customers = self.customers.saturating_sub(1);
        let ip = connection.remote.ip();
        if let Some(count) = self.per_source.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_source.remove(&ip);
            }
        }
    }

    /// A vendor's connection stands: bind.
    pub fn connected(&mut self, key: Key, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Role::Vendor(vendor, _) = connection.role else { return };
        let Ok(sequence) = connection.session.request(Command::BIND_TRANSCEIVER, BIND, now.mono) else {
            return;
        };
        let Some(config) = self.config.vendors.get(vendor) else { return };
        let bind = pdu::Body::Bind(pdu::Bind {
            system_id: config.system_id.as_bytes(),
            password: config.password.reveal().as_bytes(),
            system_type: config.system_type.as_bytes(),
            interface_version: 0x34,
            range: pdu::Address::default(),
        });
        if pdu::encode(&mut connection.out, Command::BIND_TRANSCEIVER, Status::ROK, sequence, &bind).is_err()
        {
            tracing::error!(vendor = %config.name, "system_id, password or system_type is too long for SMPP");
        }
        self.mark(key);
    }

    fn vendor_bound(&mut self, key: Key, header: &Header) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Role::Vendor(vendor, bind) = connection.role else { return };
        if connection.session.state() != State::BoundTrx {
            self.metrics.binds.inc((Peer::Vendor, BindResult::Refused));
            let name = self.config.vendors.get(vendor).map_or("", |v| v.name.as_str());
            tracing::warn!(vendor = name, status = %header.status, "the vendor refuses the bind");
            connection.session.lost();
            return;
        }
        self.metrics.binds.inc((Peer::Vendor, BindResult::Bound));
        self.vendor_up(vendor, bind, key);
    }
}

/// Deliveries of one vendor's bind without our answer: each waits for the disk.
const VENDOR_REQUESTS: usize = 1_000;
