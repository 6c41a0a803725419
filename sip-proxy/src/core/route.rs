//! Where a request goes: Route processing of RFC 3261 §16.4 and §16.6 steps 2, 6 and 7, next hop, listener, and the
//! destinations that we refuse to send to (T-SIP-05, T-SIP-14). Numeric addresses only; names are ours or nobody's.

use std::borrow::Cow;
use std::net::SocketAddr;

use warp_model::net::{is_private, is_public, is_unicast};
use warp_sip::flow::{Flow, Transport};
use warp_sip::message::Message;
use warp_sip::uri::{Scheme, Uri};

use super::types::{CoreConfig, Listener};

/// A listener with the texts that we write for it.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) listener: Listener,
    /// The address as Via writes it: `192.0.2.1:5060`, `[2001:db8::1]:5060`.
    pub(crate) sent_by: Vec<u8>,
}

impl Ours {
    /// Our address for peers of this listener. Bound to the wildcard with nothing to advertise, it is the one that the message at
    /// hand came to.
    pub(crate) fn sent_by(&self, local: SocketAddr, came: SocketAddr) -> Cow<'_, [u8]> {
        let bind = self.listener.bind;
        if self.listener.advertise.is_some() || !bind.ip().is_unspecified() {
            return Cow::Borrowed(&self.sent_by);
        }
        let ip = if local.ip().is_unspecified() { came.ip() } else { local.ip() };
        Cow::Owned(SocketAddr::new(ip, bind.port()).to_string().into_bytes())
    }

    pub(crate) fn new(listener: Listener) -> Ours {
        let addr = listener.advertise.unwrap_or(listener.bind);
        Ours { listener, sent_by: addr.to_string().into_bytes() }
    }
}

/// Index of the listener that a flow came in by.
pub(crate) fn listener_of(ours: &[Ours], flow: &Flow) -> usize {
    let exact =
        ours.iter().position(|o| o.listener.transport == flow.transport && o.listener.bind == flow.local);
    let loose = || {
        ours.iter().position(|o| {
            o.listener.transport == flow.transport
                && o.listener.bind.is_ipv4() == flow.local.is_ipv4()
                && (o.listener.bind.port() == flow.local.port() || flow.transport.is_reliable())
        })
    };
    exact.or_else(loose).unwrap_or(0)
}

/// Chooses the way out: the listener of the same transport and address family, the incoming one when it fits.
pub(crate) fn way_out(
    ours: &[Ours],
    incoming: usize,
    came: &Flow,
    transport: Transport,
    remote: SocketAddr,
) -> Option<(usize, Flow)> {
    let fits = |o: &Ours| o.listener.transport == transport && o.listener.bind.is_ipv4() == remote.is_ipv4();
    let index = if ours.get(incoming).is_some_and(fits) { incoming } else { ours.iter().position(fits)? };
    let local = if index == incoming && transport == Transport::Udp {
        came.local
    } else {
        ours.get(index)?.listener.bind
    };
    Some((index, Flow::unlinked(transport, local, remote)))
}

/// What RFC 3261 §16.4 makes of Request-URI and Route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// The Request-URI that counts, after strict routing was undone (RFC 3261 §16.4).
    pub(crate) uri: Uri<'a>,
    /// It differs from the received one: a strict router had put ours there, and the real one last in Route.
    pub(crate) strict_before: bool,
    /// Top Route values that name us.
    pub(crate) popped: usize,
    /// First Route value that remains.
    pub(crate) route: Option<Uri<'a>>,
    /// Our cookie in the Record-Route that came back.
    pub(crate) cookie: Option<&'a [u8]>,
    /// The flow of the far side in the lowest of those ([`super::pins`]).
    pub(crate) pin: Option<&'a [u8]>,
    /// No route is left and the Request-URI is us.
    pub(crate) names_us: bool,
}

impl<'a> Plan<'a> {
    /// `None` when URIs do not parse (the checks have answered that before).
    pub(crate) fn of(config: &CoreConfig, came: &Flow, msg: &Message<'a>) -> Option<Plan<'a>> {
        // The address that it was sent to is ours, whatever it is called.
        let port = |u: &Uri<'_>| {
            let secure = u.scheme == Scheme::Sips
                || u.params.value(b"transport").is_some_and(|t| t.eq_ignore_ascii_case(b"tls"));
            u.port.unwrap_or(if secure { 5061 } else { 5060 })
        };
        let here =
            |u: &Uri<'_>| port(u) == came.local.port() && u.ip() == Some(came.local.ip().to_canonical());
        let is_us = |u: &Uri<'_>| {
            matches!(u.scheme, Scheme::Sip | Scheme::Sips)
                && (config.is_us(u.ip(), u.host, Some(port(u))) || here(u))
        };
        let target = msg.request_uri()?;
        // Within a dialog it is what its peer's Contact said, however odd.
        let read = if msg.to_tag().is_some() { Uri::parse_target } else { Uri::parse };
        let mut uri = read(target).ok()?;
        let (mut cookie, mut pin) = (None, None);
        let mut strict_before = false;
        let mut routes = msg.routes().filter_map(|r| r.uri().ok()).peekable();
        if routes.peek().is_some() && uri.params.has(b"w") && uri.is_loose() && is_us(&uri) {
            cookie = uri.params.value(b"w");
            pin = uri.params.value(b"f");
            if let Some(last) = msg.routes().last().and_then(|r| r.uri().ok()) {
                uri = last;
                strict_before = true;
            }
        }
        let left = if strict_before { msg.routes().count() - 1 } else { usize::MAX };
        let mut routes = routes.take(left).peekable();
        let mut popped = 0;
        while let Some(r) = routes.next_if(is_us) {
            cookie = cookie.or_else(|| r.params.value(b"w"));
            pin = r.params.value(b"f");
            popped += 1;
        }
        let route = routes.next();
        Some(Plan {
            uri,
            strict_before,
            popped,
            route,
            cookie,
            pin,
            // A telephone number without a host is for whoever gets it (RFC 3261 §16.5, RFC 3966), and so is a call for help (RFC 5031).
            names_us: route.is_none()
                && (uri.scheme == Scheme::Tel || uri.is_emergency_service() || is_us(&uri)),
        })
    }

    /// The Request-URI that the copy of a request carries.
    pub(crate) fn sent_as(&self, msg: &Message<'a>) -> &'a [u8] {
        match self.route {
            Some(route) if !route.is_loose() => route.raw,
            _ if self.strict_before => self.uri.raw,
            _ => msg.request_uri().unwrap_or(b""),
        }
    }

    /// The next route is a strict router: it gets the Request-URI.
    pub(crate) fn strict_after(&self) -> bool {
        self.route.is_some_and(|r| !r.is_loose())
    }

    /// The URI that decides where the request goes.
    pub(crate) fn next(&self) -> Uri<'a> {
        self.route.unwrap_or(self.uri)
    }
}

/// Transport and address of a URI (RFC 3263 §4 for numeric hosts). `None`: a name, or a scheme that we do not carry.
pub(crate) fn resolve(uri: &Uri<'_>) -> Option<(Transport, SocketAddr)> {
    let named = match uri.params.value(b"transport") {
        Some(t) => Some(Transport::from_token(t)?),
        None => None,
    };
    let transport = match (uri.scheme, named) {
        (Scheme::Sip, named) => named.unwrap_or(Transport::Udp),
        // Encrypted on each hop (RFC 3261 §26.2.2); `transport=tcp` with it means TLS over TCP.
        (Scheme::Sips, None | Some(Transport::Tcp | Transport::Tls)) => Transport::Tls,
        (Scheme::Sips, Some(Transport::Ws | Transport::Wss)) => Transport::Wss,
        _ => return None,
    };
    let port = uri.port.unwrap_or(transport.default_port());
    Some((transport, SocketAddr::new(uri.ip()?, port)))
}

/// Whether we refuse to send there (T-SIP-14): nobody, everybody, ourselves, or inside from a public interface.
pub(crate) fn is_refused(config: &CoreConfig, flow: &Flow) -> bool {
    let (ip, local) = (flow.remote.ip().to_canonical(), flow.local.ip().to_canonical());
    !is_unicast(ip)
        || flow.remote.port() == 0
        || config.is_us(Some(ip), b"", Some(flow.remote.port()))
        || (ip.is_loopback() && !local.is_loopback() && !local.is_unspecified())
        || (is_private(ip) && is_public(local))
}

/// Whether later requests of a dialog reach the sender of this one by its flow alone: browsers and TLS clients accept no connections; the
/// phones of a registrar that are behind an address translation have no address of their own (RFC 5626 §5).
pub(crate) fn is_pinned(config: &CoreConfig, msg: &Message<'_>, came: &Flow) -> bool {
    match came.transport {
        Transport::Ws | Transport::Wss | Transport::Tls => true,
        Transport::Tcp | Transport::Udp => config.mode.is_registrar() && is_translated(msg, came),
    }
}

/// The sender's own address is another than the one that we see.
fn is_translated(msg: &Message<'_>, came: &Flow) -> bool {
    let elsewhere = |ip, port: Option<u16>| {
        ip != Some(came.remote.ip()) || port.unwrap_or(came.transport.default_port()) != came.remote.port()
    };
    let via = msg.top_via();
    let contact = msg.contacts().next().and_then(|c| c.uri().ok());
    msg.vias().nth(1).is_none()
        && match came.transport.is_reliable() {
            // The port of a connection is its client's choice and says nothing.
            true => contact.is_none_or(|uri| uri.ip() != Some(came.remote.ip())),
            false => elsewhere(via.ip(), via.port) && contact.is_none_or(|uri| elsewhere(uri.ip(), uri.port)),
        }
}

/// Where responses to a request go (RFC 3261 §18.2.2, RFC 3581 §4): to its source, at the source port when rport is asked for, else
/// at the port of sent-by. `maddr` is not followed (T-SIP-14). On streams: the same connection.
pub(crate) fn reply_flow(msg: &Message<'_>, flow: &Flow) -> Flow {
    if flow.transport.is_reliable() {
        return *flow;
    }
    let via = msg.top_via();
    let port = match via.rport {
        Some(_) => flow.remote.port(),
        None => via.port.unwrap_or(flow.transport.default_port()),
    };
    Flow { remote: SocketAddr::new(flow.remote.ip(), port), ..*flow }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transport and family count as much as the port, and of a stream the port does not: its local one may be any.
    #[test]
    fn a_flow_belongs_to_a_listener_of_its_own_kind() {
        let (udp, tcp) = (Transport::Udp, Transport::Tcp);
        let rows = [(tcp, "0.0.0.0:5060"), (udp, "[::]:5060"), (udp, "0.0.0.0:5070"), (udp, "0.0.0.0:5060")];
        let ours: Vec<Ours> = rows
            .iter()
            .map(|(transport, bind)| {
                Ours::new(Listener { transport: *transport, bind: bind.parse().unwrap(), advertise: None })
            })
            .collect();
        for (transport, local, index) in [
            (udp, "192.0.2.1:5060", 3),
            (udp, "192.0.2.1:5070", 2),
            (udp, "[2001:db8::1]:5060", 1),
            (udp, "0.0.0.0:5060", 3),
            (tcp, "192.0.2.1:40000", 0),
            (udp, "192.0.2.1:6000", 0),
        ] {
            let remote = if local.starts_with('[') { "[2001:db8::2]:5060" } else { "192.0.2.2:5060" };
            let flow = Flow::unlinked(transport, local.parse().unwrap(), remote.parse().unwrap());
            assert_eq!(listener_of(&ours, &flow), index, "{local}");
        }
    }
}
