//! Whether a Contact or Route of a peer may lead there (T-SIP-05): within a dialog, the peer's own addresses only where they are private.

use std::net::IpAddr;

use warp_model::net::{is_link_local, is_private, is_unicast};
use warp_policy::Cidr;
use warp_sip::dialog::Side;
use warp_sip::flow::{Flow, Transport};

use super::call::{Call, Origin, Target};

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
    let lists =
        |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(ip) && (!exactly || range.is_host()));
    match party {
        Side::Caller => match call.origin {
            Origin::Trunk(ix) => directory.trunk(ix).is_some_and(|t| lists(&t.acl)),
            Origin::Vendor(ix) => {
                directory.vendor_trunk(ix).is_some_and(|t| t.is_own(ip) || lists(&t.inbound_networks))
            }
        },
        Side::Callee => match call.branch().map(|b| b.target) {
            Some(Target::Vendor(ix)) => directory.vendor_trunk(ix).is_some_and(|trunk| trunk.is_own(ip)),
            Some(Target::Trunk(ix)) => directory.trunk(ix).is_some_and(|t| {
                lists(&t.acl) || t.deliver.addresses.iter().any(|a| a.ip().to_canonical() == ip)
            }),
            Some(Target::User(..)) | None => false,
        },
    }
}
