//! Both ends of a call: where its INVITE came from, and where a branch of it leads.

use std::net::{IpAddr, SocketAddr};

use warp_policy::{Directory, TrunkIx, VendorTrunkIx};
use warp_sip::flow::Transport;

/// Where a branch leads: what kind of peer is asked, and who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A vendor's trunk, bought for this call.
    Vendor(VendorTrunkIx),
    /// A contact that a user of ours has registered.
    #[allow(dead_code)] // made by the registrar's lookup, which is not built yet
    Contact(u64),
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
            Target::Contact(_) | Target::Trunk(_) => None,
        }
    }

    /// The customer's trunk, when it is one.
    pub(crate) fn trunk(self) -> Option<TrunkIx> {
        match self {
            Target::Trunk(ix) => Some(ix),
            Target::Contact(_) | Target::Vendor(_) => None,
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
            Target::Contact(_) => return None,
        };
        let transport = match transport {
            warp_policy::directory::Transport::Udp => Transport::Udp,
            warp_policy::directory::Transport::Tcp => Transport::Tcp,
        };
        Some((addresses, transport))
    }

    /// Further addresses that its media may come from, and the label of its media at the relay.
    pub(crate) fn media(self, directory: &Directory) -> Option<(Vec<IpAddr>, String)> {
        match self {
            Target::Vendor(ix) => Origin::Vendor(ix).media(directory),
            Target::Trunk(ix) => Origin::Trunk(ix).media(directory),
            Target::Contact(_) => None,
        }
    }
}
