//! Redirections of vendors (3xx): followed where the trunk says so, to the vendor's own addresses and with the number that was priced; never
//! shown to a customer (PRODUCT §6). Everything else is the next candidate's turn.

use warp_sip::flow::Flow;
use warp_sip::message::Message;
use warp_sip::uri::Uri;

use super::call::{Call, Target};
use super::failover::BRANCHES;
use super::transactions::Transactions;
use super::{cdr, route};

/// Where a redirection leads that may be followed, as a further branch of the same trunk: the first of its Contacts that names an own
/// address of the vendor which was not tried yet, and either no user or the one that was dialled there. A place in the trunk's list of
/// addresses, or `u16::MAX` for one of its `signalling_ips`.
pub(super) fn followed(
    call: &Call,
    branch: u16,
    status: u16,
    msg: &Message<'_>,
    tx: &Transactions,
) -> Option<(Target, (u16, Flow))> {
    let target = call.branches.get(usize::from(branch))?.target;
    let ix = target.vendor().filter(|_| (300..400).contains(&status) && call.branches.len() < BRANCHES)?;
    let trunk = call.snapshot.directory.vendor_trunk(ix).filter(|t| t.follow_redirects)?;
    let transport = call.branches.get(usize::from(branch))?.flow.transport;
    let dialled = cdr::number_for(call, trunk);
    let incoming = route::listener_of(&tx.ours, &call.flow);
    let way = msg.contacts().find_map(|contact| {
        let uri = Uri::parse(contact.uri).ok()?;
        let (over, remote) = route::resolve(&uri)?;
        let tried = call.branches.iter().any(|b| b.target == target && b.flow.remote == remote);
        let same_number = uri.user.is_none_or(|user| user == dialled.as_bytes());
        if tried
            || !same_number
            || over != transport
            || !(trunk.is_own(remote.ip()) || call.is_found(target, remote.ip()))
        {
            return None;
        }
        let (_, flow) = route::way_out(&tx.ours, incoming, &call.flow, transport, remote)?;
        let place = trunk.addresses.iter().position(|a| *a == remote);
        let place = place.and_then(|n| u16::try_from(n).ok()).unwrap_or(u16::MAX);
        (!route::is_refused(&tx.config, &flow)).then_some((place, flow))
    })?;
    Some((target, way))
}

/// What a final of a vendor says about the call when all have failed: where it would have gone instead says nothing, and what it
/// wants of timers that the caller does not know says nothing to him.
pub(super) fn as_heard(status: u16) -> u16 {
    if (300..400).contains(&status) || status == 422 { 503 } else { status }
}
