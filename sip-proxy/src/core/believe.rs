//! Whether a Contact or Route of a peer may lead there (T-SIP-05): within a dialog, the peer's own addresses only where they are private.

use std::net::IpAddr;

use warp_model::net::{is_link_local, is_private, is_unicast};
use warp_sip::dialog::Side;
use warp_sip::flow::{Flow, Transport};

use super::call::Call;

/// What a party wrote as its target or nearest route, against where it spoke from.
///
/// A public address is honoured as written. A private one means something to its own side only: behind a NAT it is of no use, and a
/// peer could have us send into a network that is not its own. It is believed of a peer that is itself private, within the prefixes of
/// its trunk or its `signalling_ips`; a stream is opened to listed addresses only. Our listeners are nobody's target
/// ([`super::route::is_refused`]), link-local addresses neither.
pub(super) fn may_lead(call: &Call, to: Side, learnt: &Flow, transport: Transport, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let spoke = learnt.remote.ip().to_canonical();
    if ip == spoke || !is_private(ip) {
        return is_unicast(ip);
    }
    is_private(spoke) && !is_link_local(ip) && is_own(call, to, transport.is_reliable(), ip)
}

/// Whether the trunk of a party lists an address; `exactly`: by itself, not within a network.
fn is_own(call: &Call, party: Side, exactly: bool, ip: IpAddr) -> bool {
    let directory = &call.snapshot.directory;
    match party {
        Side::Caller => directory
            .trunk(call.trunk)
            .is_some_and(|t| t.acl.iter().any(|range| range.contains(ip) && (!exactly || range.is_host()))),
        Side::Callee => {
            call.branch().and_then(|b| b.vendor_trunk(directory)).is_some_and(|trunk| trunk.is_own(ip))
        }
    }
}
