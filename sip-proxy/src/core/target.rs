//! Both ends of a call: where its INVITE came from, and where a branch of it leads.

use std::net::{IpAddr, SocketAddr};

use warp_policy::directory::{HostPort, Transport as Reached};
use warp_policy::{Directory, TrunkIx, VendorTrunkIx};
use warp_sip::flow::Transport;

/// Where a branch leads: what kind of peer is asked, and who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A vendor's trunk, bought for this call.
    Vendor(VendorTrunkIx),
    /// The phones of a digest user of a customer's trunk, where they have registered: the trunk, and the user's place in its list.
    User(TrunkIx, u16),
    /// A customer's trunk, for its inbound numbers.
    Trunk(TrunkIx),
}

/// Whose call it is: where its INVITE came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A customer's trunk.
    Trunk(TrunkIx),
    /// A vendor's trunk: the call is for one of our numbers.
    Vendor(VendorTrunkIx),
}

impl Origin {
    /// The customer's trunk that calls.
    pub(crate) fn trunk(self) -> Option<TrunkIx> {
        match self {
            Origin::Trunk(ix) => Some(ix),
            Origin::Vendor(_) => None,
        }
    }

    /// Further addresses that its media may come from, and the label of its media at the relay.
    pub(crate) fn media(self, directory: &Directory) -> Option<(Vec<IpAddr>, String)> {
        match self {
            Origin::Trunk(ix) => directory.trunk(ix).map(|t| (t.media_ips.clone(), t.id.to_string())),
            Origin::Vendor(ix) => directory.vendor_trunk(ix).map(|t| (t.media_ips.clone(), t.id.to_string())),
        }
    }

    /// Whether what it asserts of callers goes on: the platform believes its vendors, and trunks where their contract says so.
    pub(crate) fn is_trusted(self, directory: &Directory) -> bool {
        match self {
            Origin::Trunk(ix) => directory.trunk(ix).is_some_and(|t| t.caller.trust_asserted),
            Origin::Vendor(_) => true,
        }
    }
}

impl Target {
    /// The vendor trunk, for what only vendors have: buying price, credentials, health.
    pub(crate) fn vendor(self) -> Option<VendorTrunkIx> {
        match self {
            Target::Vendor(ix) => Some(ix),
            Target::User(..) | Target::Trunk(_) => None,
        }
    }

    /// The customer's trunk, when it is one, or that of the user.
    pub(crate) fn trunk(self) -> Option<TrunkIx> {
        match self {
            Target::Trunk(ix) | Target::User(ix, _) => Some(ix),
            Target::Vendor(_) => None,
        }
    }

    /// Its addresses, in order, and the transport that they are reached by.
    pub(crate) fn addresses(self, directory: &Directory) -> Option<(&[SocketAddr], Transport)> {
        let (addresses, transport) = match self {
            Target::Vendor(ix) => {
                directory.vendor_trunk(ix).map(|t| (t.addresses.as_slice(), t.transport))?
            }
            Target::Trunk(ix) => {
                directory.trunk(ix).map(|t| (t.deliver.addresses.as_slice(), t.deliver.transport))?
            }
            Target::User(..) => return None,
        };
        Some((addresses, named(transport).unwrap_or(Transport::Udp)))
    }

    /// Its names, in order, and the transport that they are reached by; `None`: DNS says it.
    pub(crate) fn hosts(self, directory: &Directory) -> (&[HostPort], Option<Transport>) {
        let of = match self {
            Target::Vendor(ix) => directory.vendor_trunk(ix).map(|t| (t.hosts.as_slice(), t.transport)),
            Target::Trunk(ix) => {
                directory.trunk(ix).map(|t| (t.deliver.hosts.as_slice(), t.deliver.transport))
            }
            Target::User(..) => None,
        };
        let (hosts, transport) = of.unwrap_or((&[], Reached::Udp));
        (hosts, named(transport))
    }

    /// Further addresses that its media may come from, and the label of its media at the relay.
    pub(crate) fn media(self, directory: &Directory) -> Option<(Vec<IpAddr>, String)> {
        match self {
            Target::Vendor(ix) => Origin::Vendor(ix).media(directory),
            Target::Trunk(ix) | Target::User(ix, _) => Origin::Trunk(ix).media(directory),
        }
    }
}

/// The transport that a trunk names; `None`: it is left to DNS.
pub(crate) fn named(transport: Reached) -> Option<Transport> {
    match transport {
        Reached::Udp => Some(Transport::Udp),
        Reached::Tcp => Some(Transport::Tcp),
        Reached::Tls => Some(Transport::Tls),
        Reached::Auto => None,
    }
}
