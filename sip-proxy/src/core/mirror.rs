//! Registrations as other nodes know them (RFC 0036): a binding as a row of Kamailio's `location`, a row as a binding, and how the two are
//! brought together.
//!
//! Our rows carry a Path that leads to us, with the phone's flow in it where only that leads there. A row of another node that says that its
//! phone is behind an address translation or on a connection is reached through that node, by a Route to the row's `socket`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warp_model::{Mono, Now};
use warp_sip::flow::{Flow, Transport};
use warp_sip::header::{NameAddr, Values};
use warp_sip::registrar::{Binding, Bindings};
use warp_sip::uri::Uri;
use warp_state::record::Ends;
use warp_state::{Aor, Looked, Record, Removal};

use super::pins;
use super::random::Keyed;
use super::route::{self, Ours};
use super::types::CoreConfig;

/// [`Binding::mark`] of what another node wrote. Less: the batch in which we wrote it; 0: not yet.
pub(crate) const FOREIGN: u64 = u64::MAX;

/// The columns of an address of record of `domain`.
pub(super) fn columns_of(aor: &[u8], domain: &str) -> Aor {
    let user = aor.strip_suffix(domain.as_bytes()).and_then(|a| a.strip_suffix(b"@")).unwrap_or(aor);
    Aor { username: user.to_vec(), domain: domain.as_bytes().to_vec() }
}

/// Where other nodes reach this one: the UDP listener of the phone's family, else the first of it.
fn listener_for<'a>(ours: &'a [Ours], flow: &Flow) -> Option<&'a Ours> {
    let fits = |o: &&Ours| o.listener.bind.is_ipv4() == flow.remote.is_ipv4();
    ours.iter().filter(fits).min_by_key(|o| o.listener.transport != Transport::Udp)
}

/// What writes rows.
pub(super) struct Writer<'a> {
    pub(super) ours: &'a [Ours],
    pub(super) keyed: &'a Keyed,
    pub(super) server_id: u32,
    pub(super) now: Now,
}

impl Writer<'_> {
    /// A binding of ours as a row.
    pub(super) fn record(&self, aor: Aor, b: &Binding) -> Record {
        let (mut path, mut socket) = (b.path.clone(), Vec::new());
        if let Some(o) = listener_for(self.ours, &b.flow) {
            let at = o.sent_by(b.flow.local, b.flow.local);
            let transport = o.listener.transport;
            let mut own = [b"<sip:", &at[..]].concat();
            if transport != Transport::Udp {
                own.extend_from_slice(format!(";transport={}", transport.param()).as_bytes());
            }
            own.extend_from_slice(b";lr");
            let by_flow = b.pinned || Uri::parse(&b.contact).ok().and_then(|u| route::resolve(&u)).is_none();
            if by_flow && b.path.is_empty() {
                own.extend_from_slice(b";f=");
                own.extend_from_slice(&pins::path_text(self.keyed, &b.flow));
            }
            own.push(b'>');
            if !path.is_empty() {
                own.extend_from_slice(b", ");
            }
            own.append(&mut path);
            path = own;
            socket = [transport.param().as_bytes(), b":", &at[..]].concat();
        }
        let ago = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(0);
        Record {
            ruid: b.ruid.clone(),
            aor,
            contact: b.contact.clone(),
            received: Vec::new(),
            path,
            ends: match b.expires {
                Mono(u64::MAX) => Ends::Never,
                at => Ends::At(self.now.wall.plus(at.since(self.now.mono))),
            },
            q: b.q,
            call_id: b.call_id.clone(),
            cseq: b.cseq,
            modified: warp_model::Wall(self.now.wall.0.saturating_sub(ago(self.now.mono.since(b.made)))),
            cflags: 0,
            user_agent: b.user_agent.clone(),
            socket,
            methods: (b.methods != u32::MAX).then_some(b.methods),
            instance: b.instance.clone(),
            reg_id: b.reg_id,
            server_id: self.server_id,
            connection: None,
            keepalive: 0,
        }
    }
}

/// A binding that goes.
pub(super) fn removal_of(b: &Binding, now: Mono) -> Removal {
    Removal { ruid: b.ruid.clone(), call_id: b.call_id.clone(), cseq: b.cseq, expired: b.expires <= now }
}

/// What reads rows.
pub(super) struct Reader<'a> {
    pub(super) ours: &'a [Ours],
    pub(super) config: &'a CoreConfig,
    pub(super) keyed: &'a Keyed,
    pub(super) now: Now,
}

impl Reader<'_> {
    /// A row as a binding. `None`: nobody can be called by it.
    fn binding(&self, record: &Record) -> Option<Binding> {
        let contact = Uri::parse(&record.contact).ok()?;
        let mut path: Vec<&[u8]> = Values::new(&record.path).filter(|v| !v.is_empty()).collect();
        let mut pinned = None;
        let mut of_ours = false;
        while let Some(first) = path.first().copied() {
            let named = NameAddr::parse(first).ok()?;
            let uri = named.uri().ok()?;
            if !self.config.is_us(uri.ip(), uri.host, uri.port) {
                break;
            }
            // Written by us, or by who was here before.
            of_ours = true;
            let flow = uri.params.value(b"f");
            pinned = pinned.or_else(|| pins::path_flow(self.keyed, self.ours, flow?, true));
            path.remove(0);
        }
        let mut path = path.join(&b", "[..]);
        if path.is_empty() && !of_ours && pinned.is_none() {
            match self.node_of(record) {
                Node::Nobody => {}
                Node::Us(flow) => pinned = Some(flow),
                Node::Other(route) => path = route,
                Node::Unreachable => return None,
            }
        }
        let anywhere = self.ours.first()?.listener.bind;
        let flow = match (pinned, route::resolve(&contact)) {
            (Some((_, flow)), _) => flow,
            (None, Some((transport, remote))) => Flow::unlinked(transport, anywhere, remote),
            // A name, and no hop that could know it.
            (None, None) if path.is_empty() => return None,
            (None, None) => Flow::unlinked(Transport::Udp, anywhere, anywhere),
        };
        let expires = match record.ends {
            Ends::Never => Mono(u64::MAX),
            Ends::At(at) => {
                let left = u64::try_from(at.0.saturating_sub(self.now.wall.0)).unwrap_or(0);
                self.now.mono + Duration::from_micros(left)
            }
        };
        Some(Binding {
            contact: record.contact.clone(),
            q: record.q,
            expires,
            call_id: record.call_id.clone(),
            cseq: record.cseq,
            path,
            flow,
            pinned: pinned.is_some(),
            instance: record.instance.clone(),
            reg_id: record.reg_id,
            user_agent: record.user_agent.clone(),
            methods: record.methods.unwrap_or(u32::MAX),
            ruid: record.ruid.clone(),
            made: self.now.mono,
            mark: FOREIGN,
        })
    }

    /// Through whom the phone of a row without a Path is reached.
    fn node_of(&self, record: &Record) -> Node {
        let at = socket_of(&record.socket);
        let connected =
            record.connection.is_some() || at.is_some_and(|(transport, _)| transport.is_reliable());
        if record.received.is_empty() && !connected {
            return Node::Nobody;
        }
        let received = Uri::parse(&record.received).ok().and_then(|u| route::resolve(&u));
        match at {
            Some((_, at)) if self.config.is_us(Some(at.ip()), b"", Some(at.port())) => {
                // Who had this address before kept the way through the translation open; now it is ours.
                let flow = received.filter(|(transport, _)| *transport == Transport::Udp).and_then(
                    |(transport, remote)| {
                        let came = Flow::unlinked(transport, at, remote);
                        let incoming = route::listener_of(self.ours, &came);
                        route::way_out(self.ours, incoming, &came, transport, remote)
                    },
                );
                flow.map_or(Node::Nobody, Node::Us)
            }
            // Nobody is connected to by WebSocket, and its node did not say where else it is.
            Some((Transport::Ws | Transport::Wss, _)) => Node::Unreachable,
            Some((transport, at)) => {
                let mut route = format!("<sip:{at}").into_bytes();
                if transport != Transport::Udp {
                    route.extend_from_slice(format!(";transport={}", transport.param()).as_bytes());
                }
                route.extend_from_slice(b";lr");
                if received.is_some() {
                    route.extend_from_slice(b";received=");
                    escape(&record.received, &mut route);
                }
                route.push(b'>');
                Node::Other(route)
            }
            // Its node is not known: perhaps the phone can be reached from here.
            None => Node::Nobody,
        }
    }

    /// Takes in what a look-up found. Ours stands while it is not written, or was written after the look-up; else Redis is right. What we
    /// know and it does not is gone when it must have been shown ([`warp_state::View::must_show`]), else it was lost and stays.
    pub(super) fn merge(&self, held: &mut Bindings, looked: &Looked) {
        let view = looked.view;
        let yields = |b: &Binding| b.mark == FOREIGN || (b.mark > 0 && b.mark < view.batch);
        let found: Vec<Binding> = looked.records.iter().filter_map(|r| self.binding(r)).collect();
        let held = held.edit();
        held.retain(|b| {
            let gone = b.mark == FOREIGN || (b.mark > 0 && view.must_show(b.mark));
            !gone || looked.records.iter().any(|r| r.ruid == b.ruid)
        });
        for theirs in found {
            let same_id = held.iter().position(|b| b.ruid == theirs.ruid);
            let same = same_id.or_else(|| held.iter().position(|b| b.contact == theirs.contact));
            match same.and_then(|n| held.get_mut(n)) {
                None => held.push(theirs),
                // The same REGISTER: we know its flow, they do not.
                Some(ours)
                    if ours.mark != FOREIGN && ours.call_id == theirs.call_id && ours.cseq >= theirs.cseq => {
                }
                Some(ours) if yields(ours) => *ours = theirs,
                Some(_) => {}
            }
        }
    }
}

/// Who stands between us and a phone that another node knows.
enum Node {
    /// Nobody in between.
    Nobody,
    /// This one: by that flow.
    Us((usize, Flow)),
    /// Another: by that Route.
    Other(Vec<u8>),
    /// Another, which cannot be reached.
    Unreachable,
}

/// Reads a socket as Kamailio writes it: `proto:address:port`.
fn socket_of(text: &[u8]) -> Option<(Transport, SocketAddr)> {
    let text = std::str::from_utf8(text).ok()?;
    let (transport, rest) = text.split_once(':')?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let ip: IpAddr = host.parse().ok()?;
    Some((Transport::from_token(transport.as_bytes())?, SocketAddr::new(ip, port.parse().ok()?)))
}

/// As the value of a URI parameter (RFC 3261 §25.1 `paramchar`).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for b in text {
        match b {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'!'
            | b'~'
            | b'*'
            | b'\''
            | b'('
            | b')' => {
                out.push(*b);
            }
            b'[' | b']' | b'/' | b':' | b'+' | b'$' => out.push(*b),
            _ => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
}
