//! An answered call whose caller does not confirm it, and whom the requests of a dialog name when their sender names us.

use std::time::Duration;

use warp_model::Mono;
use warp_sip::dialog::Side;
use warp_sip::message::Message;
use warp_sip::transaction::NEVER;

use super::call::{Call, Phase};
use super::route::Plan;
use super::slab::Id;
use super::transactions::Transactions;

/// How long a caller that has cancelled may take to hang up what was answered all the same (RFC 3261 §15). Many never do, and nobody hears
/// the callee then.
const CROSSED: Duration = Duration::from_secs(4);

/// `internal_code` of a call whose 2xx nobody acknowledged.
pub(super) const NO_ACK: &str = "no_ack";
/// How an attempt ended whose 2xx had no tag, however often it came.
pub(super) const NO_TAG: &str = "no_tag";
/// `internal_code` of a call that was answered while its caller gave up.
const CANCELLED: &str = "cancelled";

/// When an answered call ends that its caller has not confirmed: a callee may end it after 64·T1 without an ACK (RFC 3261 §13.3.1.4), and
/// where it does not, its 2xx has reached nobody who would ever hang up. A call for help is left to those who answered it.
pub(super) fn confirm_by(call: &Call, tx: &Transactions) -> Mono {
    let timers = &tx.config.timers;
    match (call.emergency().is_some(), call.cancelled) {
        (true, _) => NEVER,
        (false, true) => tx.now.mono + CROSSED,
        (false, false) => tx.now.mono + timers.t1_64() + timers.t4,
    }
}

/// The ACK of the caller goes on.
pub(super) fn acknowledged(call: &mut Call) {
    call.acked = true;
    if !call.cancelled {
        call.confirm_by = NEVER;
    }
}

/// The reason to end an answered call that nobody has confirmed in time.
pub(super) fn unconfirmed(call: &Call, now: Mono) -> Option<&'static str> {
    let late = call.phase == Phase::Answered && call.confirm_by <= now;
    late.then_some(if call.cancelled { CANCELLED } else { NO_ACK })
}

/// The Request-URI of a request towards `to` whose sender names us instead of its peer (he does not know Record-Route, or was told no
/// Contact): what the peer wants to be called. `None`: as it came.
pub(super) fn instead_of_us(call: &Call, to: Side, plan: &Plan<'_>) -> Option<Vec<u8>> {
    let target = &call.dialog.party(to).target;
    (plan.names_us && !plan.strict_before && !target.is_empty()).then(|| target.clone())
}

/// Whom a callee's dialog names that has given no Contact (RFC 3261 §12.1.1 has it give one): the URI that it was called by.
pub(super) fn called_by(client: Option<Id>, tx: &Transactions) -> Vec<u8> {
    let txn = client.and_then(|client| tx.table.clients.get(client));
    let uri = txn.and_then(|t| Message::parse(&t.request).ok()?.request_uri().map(<[u8]>::to_vec));
    uri.unwrap_or_default()
}
