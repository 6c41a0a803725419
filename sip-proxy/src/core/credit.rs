//! Taking the limits of a decided call, and calls that wait a moment for money that their account has at the bank and their node not yet
//! (RFC 0014). The purse of a node that had no such call is small by design, and a refusal would lose a call that is paid.

use std::time::Duration;

use warp_policy::rate::SellRate;
use warp_policy::{Refusal, TrunkIx};
use warp_sip::transaction::NEVER;

use super::call::{Call, Origin};
use super::calls::Calls;
use super::cdr;
use super::transactions::Transactions;

/// How long a call waits, all its waiting together: a few looks of the agent, which borrows the money.
const CREDIT_WAIT: Duration = Duration::from_millis(800);
/// How often it looks whether the money is there.
const CREDIT_LOOK: Duration = Duration::from_millis(50);

impl Calls {
    /// Takes the limits of a decided call, then asks the first vendor; or refuses it, unless it waits for money.
    pub(super) fn admit(&mut self, call: &mut Call, trunk: TrunkIx, tx: &mut Transactions) {
        let Some(decision) = &call.decision else { return };
        let (result, on_net) = (decision.result, decision.on_net);
        // Limits are taken when it is known what the first minute costs (T-SIP-06); an emergency call passes them all.
        let sell = decision.sell.filter(|_| decision.emergency.is_none());
        let admitted = result.map(|_| ()).and_then(|()| call.bound.admit(trunk, sell.as_ref(), tx.now));
        match admitted {
            Ok(reservation) => {
                call.waits = None;
                call.reservation = Some(reservation);
                cdr::paid_by(call, trunk);
                match on_net {
                    true => self.deliver_on_net(call, trunk, tx),
                    false => self.next_vendor(call, tx),
                }
            }
            Err(Refusal::NoCredit) if waits(call, trunk, sell.as_ref(), tx) => {}
            Err(refusal) => self.refuse_by_policy(call, refusal, tx),
        }
    }

    /// The money that a call waits for may be there now.
    pub(super) fn admit_again(&mut self, call: &mut Call, tx: &mut Transactions) {
        if call.waits.is_none() || call.pay_at > tx.now.mono {
            return;
        }
        call.pay_at = NEVER;
        match (call.origin, &call.inbound) {
            // Its own side was admitted, or is a vendor's: the money is the called customer's.
            (_, Some(_)) | (Origin::Vendor(_), None) => self.next_trunk(call, tx),
            (Origin::Trunk(trunk), None) => self.admit(call, trunk, tx),
        }
    }
}

/// Whether a call that the account of this trunk has no money for on this node waits for it. Not when the bank has none either, when it has
/// waited long enough, or when too many calls wait: then it is refused as without money.
pub(super) fn waits(call: &mut Call, trunk: TrunkIx, sell: Option<&SellRate>, tx: &mut Transactions) -> bool {
    let now = tx.now.mono;
    let may =
        sell.is_some_and(|sell| call.bound.may_get_credit(trunk, sell, call.began)) && now < call.wait_until;
    if may && call.waits.is_none() {
        call.waits = call.bound.wait_for_credit(trunk);
        match &call.waits {
            None => tx.stats.credit_waits_full += 1,
            Some(_) => {
                tx.stats.credit_waits += 1;
                call.wait_until = call.wait_until.min(now + CREDIT_WAIT);
            }
        }
    }
    if !may || call.waits.is_none() {
        call.waits = None;
        return false;
    }
    call.pay_at = now + CREDIT_LOOK;
    true
}
