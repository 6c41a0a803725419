//! An answer that the call journal could not take (F-DISK-01): the shard told the caller 503 in the place of the 200, so no
//! call came to be, and nobody pays for one.

use warp_model::cdr::{Outcome, ReleaseSide};
use warp_sip::dialog::Side;

use super::call::Phase;
use super::calls::Calls;
use super::slab::Id;
use super::transactions::Transactions;

/// Reason of such an end, and its `internal_code`.
pub(super) const UNRECORDED: &str = "journal";

/// What the caller was told.
const STATUS: u16 = 503;
/// Q.850: temporary failure.
const CAUSE: u8 = 41;

impl Calls {
    /// Ends a call whose answer is not recorded. The vendor's 2xx gets its ACK (RFC 3261 §13.2.2.4), then BYE; the caller has
    /// its final answer. The record is that of a failed call without a price, and what was reserved is given back.
    pub(super) fn end_unrecorded(&mut self, id: Id, tx: &mut Transactions) {
        self.with_call(id, tx, |calls, call, tx| {
            if call.phase != Phase::Answered {
                return;
            }
            calls.ack_callee(call, tx);
            calls.send_bye(call, Side::Callee, tx);
            calls.drop_asks(call, 487, tx);
            if let Some(record) = &mut call.record {
                record.answer_at = None;
                record.duration_ms = 0;
                record.rating = None;
            }
            if let Some(branch) = call.branches.last_mut() {
                branch.open = false;
                branch.reservation = None;
            }
            let system = ReleaseSide::System;
            calls.close_unanswered(call, STATUS, Some(CAUSE), Outcome::Failed, system, UNRECORDED, tx);
        });
    }
}
