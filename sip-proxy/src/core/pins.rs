//! Flows in our Record-Route: a side of a dialog that can be reached by one connection, or through its address translation, and in no
//! other way (RFC 5626 §5.3). The text is `LINK T PORT ADDRESS PORT MAC` in hexadecimal: connection, transport, our port, their address and
//! port, and a keyed hash over these and the Call-ID, so that nobody makes us send to a flow of his choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use warp_sip::flow::{Flow, LinkId, Transport};

use super::random::Keyed;
use super::reject::{hex, unhex};
use super::route::{Ours, Plan};
use super::transactions::Transactions;

const TRANSPORTS: [Transport; 5] =
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
/// Digits of the connection, the transport and our port.
const HEAD: usize = 16 + 1 + 4;
const MAC: usize = 16;

/// The text for a flow, good for whoever says the same words.
fn text_of(keyed: &Keyed, flow: &Flow, label: &[u8], word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + 32 + 4 + MAC);
    let mut put = |n: u128, digits: usize| {
        let from = out.len();
        out.resize(from + digits, b'0');
        if let Some(to) = out.get_mut(from..) {
            hex(n, to);
        }
    };
    put(u128::from(flow.link.0), 16);
    put(TRANSPORTS.iter().position(|t| *t == flow.transport).unwrap_or(0) as u128, 1);
    put(u128::from(flow.local.port()), 4);
    match flow.remote.ip().to_canonical() {
        IpAddr::V4(ip) => put(u128::from(u32::from(ip)), 8),
        IpAddr::V6(ip) => put(u128::from(ip), 32),
    }
    put(u128::from(flow.remote.port()), 4);
    let mac = keyed.hash64(&[label, &out, word]);
    let from = out.len();
    out.resize(from + MAC, b'0');
    if let Some(to) = out.get_mut(from..) {
        hex(u128::from(mac), to);
    }
    out
}

/// The text for the flow of a registered phone, in the Path that other nodes are told (RFC 0036).
pub(super) fn path_text(keyed: &Keyed, flow: &Flow) -> Vec<u8> {
    text_of(keyed, flow, b"path", b"")
}

/// The flow of such a text, and the listener that it belongs to. `None`: not of our making, by `keyed`; of an earlier process of this node
/// a datagram's flow is still good for `believed` ones, who may make us send anywhere. A connection is not: its number means another now.
pub(super) fn path_flow(keyed: &Keyed, ours: &[Ours], text: &[u8], believed: bool) -> Option<(usize, Flow)> {
    let (body, mac) = text.split_last_chunk::<MAC>()?;
    let made_here = unhex(mac)? == keyed.hash64(&[b"path", body, b""]);
    read(body, ours).filter(|(_, flow)| made_here || (believed && flow.transport == Transport::Udp))
}

impl Transactions {
    /// The text for a flow in a dialog of this Call-ID.
    pub(super) fn pin_of(&self, flow: &Flow, call_id: &[u8]) -> Vec<u8> {
        text_of(&self.shared.keyed, flow, b"pin", call_id)
    }

    /// The flow that a request within a dialog names, and the listener that it belongs to. `None`: none, or not of our making.
    pub(super) fn pinned(&self, plan: &Plan<'_>, call_id: &[u8]) -> Option<(usize, Flow)> {
        let (body, mac) = plan.pin?.split_last_chunk::<MAC>()?;
        if unhex(mac)? != self.shared.keyed.hash64(&[b"pin", body, call_id]) {
            return None;
        }
        read(body, &self.ours)
    }

    /// The flow that a request outside of a dialog names, because a registered phone's Path does.
    pub(super) fn pinned_by_path(&self, plan: &Plan<'_>, believed: bool) -> Option<(usize, Flow)> {
        path_flow(&self.shared.keyed, &self.ours, plan.pin?, believed)
    }
}

fn read(body: &[u8], ours: &[Ours]) -> Option<(usize, Flow)> {
    let link = LinkId(unhex(body.get(..16)?)?);
    let transport = *TRANSPORTS.get(usize::try_from(unhex(body.get(16..17)?)?).ok()?)?;
    let port = u16::try_from(unhex(body.get(17..HEAD)?)?).ok()?;
    let (address, remote_port) = body.get(HEAD..)?.split_last_chunk::<4>()?;
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(u32::try_from(unhex(address)?).ok()?).into(),
        32 => {
            let (high, low) = (unhex(address.get(..16)?)?, unhex(address.get(16..)?)?);
            Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()
        }
        _ => return None,
    };
    let remote = SocketAddr::new(ip, u16::try_from(unhex(remote_port)?).ok()?);
    let fits = |bind: SocketAddr| bind.port() == port && bind.is_ipv4() == remote.is_ipv4();
    let index = ours
        .iter()
        .position(|o| o.listener.transport == transport && fits(o.listener.bind))
        .or_else(|| ours.iter().position(|o| o.listener.transport == transport))?;
    let local = ours.get(index)?.listener.bind;
    Some((index, Flow { transport, local, remote, link }))
}
