//! The decision: where a call goes, in which order, at which prices, or why it goes nowhere.
//!
//! [`decide`] is pure and takes well under a microsecond: it reads one snapshot and the live figures given to it.
//! [`explain`](crate::explain()) writes the same decision down with everything that was excluded.

mod choose;

use std::fmt;

use warp_model::{E164, Wall};

pub(crate) use choose::{Call, Exclusion, Offer, judge, judge_trunk, nanos, passed_over};

pub use crate::bindings::MAX_CANDIDATES;
use crate::bindings::PartitionBinding;
use crate::code::Code;
use crate::directory::{CallBlockIx, OverrideIx, TrunkIx, VendorIx, VendorTrunkIx, Whose};
use crate::lcr::RowIx;
use crate::number_plan::{Caller, DestinationClass, Dialled, Jurisdiction, JurisdictionRule};
use crate::rate::{BuyRate, SellRate};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// What is known of a call when it comes in.
#[derive(Clone, Copy, Debug)]
pub struct CallInput<'a> {
    /// Where it came in.
    pub trunk: TrunkIx,
    /// Caller: user part of P-Asserted-Identity or From, with parameters or without; empty when there is none.
    pub caller: &'a [u8],
    /// Called: user part of the Request-URI.
    pub called: &'a [u8],
    /// The time that the call is decided for.
    pub at: Wall,
    /// Stable hash of the call (of its Call-ID), for weighted shares.
    pub call_hash: u64,
    /// Routing number of a dip made by us; goes before `rn=` of the URI.
    pub lrn: Option<E164>,
}

/// [`VendorTrunkLive::share`] of a trunk with nothing held against it.
pub const WHOLE: u8 = 100;

/// Why a vendor trunk went out of rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum DownCause {
    /// Several calls in a row got no response at all.
    #[default]
    NoResponse,
    /// Several calls in a row could not be sent: refused, unreachable, no connection.
    Unreachable,
    /// It asked for a pause (503 with Retry-After).
    RetryAfter,
}

impl DownCause {
    /// All, in the order of their numbers.
    pub const ALL: [DownCause; 3] = [DownCause::NoResponse, DownCause::Unreachable, DownCause::RetryAfter];

    /// In words, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            DownCause::NoResponse => "no response to several calls in a row",
            DownCause::Unreachable => "several calls in a row could not be sent",
            DownCause::RetryAfter => "it asked for a pause (Retry-After)",
        }
    }
}

/// Live figures of one vendor trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorTrunkLive {
    /// Whether the vendor trunk is in rotation.
    pub up: bool,
    /// Calls on it now.
    pub channels_used: u32,
    /// Another call may start now.
    pub cps_ok: bool,
    /// Percent of calls that it takes in its turn: 100, or less while it comes back after a failure (F-NET-02). The others
    /// find it behind all other candidates.
    pub share: u8,
    /// Why it is out of rotation, or was last; for explanations only.
    pub cause: Option<DownCause>,
}

impl Default for VendorTrunkLive {
    fn default() -> Self {
        VendorTrunkLive { up: true, channels_used: 0, cps_ok: true, share: WHOLE, cause: None }
    }
}

/// The world at the moment of a decision. A vendor trunk without figures counts as up and idle.
#[derive(Clone, Copy, Default)]
pub struct Live<'a> {
    vendor_trunks: &'a [VendorTrunkLive],
    look: Option<&'a dyn Fn(VendorTrunkIx) -> VendorTrunkLive>,
}

impl<'a> Live<'a> {
    /// The figures of all vendor trunks, each at the position of its [`VendorTrunkIx`].
    pub fn new(vendor_trunks: &'a [VendorTrunkLive]) -> Live<'a> {
        Live { vendor_trunks, look: None }
    }

    /// Figures that are looked up as a decision asks for them, because it asks for a few trunks of many. For the same trunk `look` must
    /// always give the same.
    pub fn lazily(look: &'a dyn Fn(VendorTrunkIx) -> VendorTrunkLive) -> Live<'a> {
        Live { look: Some(look), ..Live::default() }
    }

    /// Figures of a vendor trunk.
    pub fn of(&self, ix: VendorTrunkIx) -> VendorTrunkLive {
        match self.look {
            Some(look) => look(ix),
            None => self.vendor_trunks.get(ix.at()).copied().unwrap_or_default(),
        }
    }
}

/// What a decision has looked at, so that its explanation sees the same. Kept from call to call for its capacity; beginning anew costs
/// nothing.
#[derive(Debug, Default)]
pub struct Looked {
    round: u32,
    seen: Vec<(u32, VendorTrunkLive)>,
}

impl Looked {
    /// Forgets everything of the call before, and keeps the memory.
    pub fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.seen.clear();
            self.round = 1;
        }
    }

    /// What was seen of a trunk since [`Looked::begin`], or what `look` sees now.
    pub fn at(&mut self, ix: VendorTrunkIx, look: impl FnOnce() -> VendorTrunkLive) -> VendorTrunkLive {
        if self.seen.len() <= ix.at() {
            self.seen.resize(ix.at().saturating_add(1), (0, VendorTrunkLive::default()));
        }
        match self.seen.get_mut(ix.at()) {
            Some((round, live)) if *round == self.round => *live,
            Some(slot) => {
                *slot = (self.round, look());
                slot.1
            }
            None => look(),
        }
    }
}

/// One way to carry the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where to send it.
    pub vendor_trunk: VendorTrunkIx,
    /// The vendor that the trunk is of.
    pub vendor: VendorIx,
    /// What it costs; `None` only for emergency calls, which are not rated.
    pub buy: Option<BuyRate>,
    /// The vendor's jurisdiction, which differs from the call's under a point-of-interconnection policy.
    pub jurisdiction: Option<Jurisdiction>,
    /// 1 = first choice.
    pub rank: u16,
}

/// Up to [`MAX_CANDIDATES`], in order, without allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    list: [Option<Candidate>; MAX_CANDIDATES],
    len: usize,
}

impl Candidates {
    pub(crate) fn new() -> Candidates {
        Candidates { list: [None; MAX_CANDIDATES], len: 0 }
    }

    /// Adds one; false when full.
    pub(crate) fn push(&mut self, c: Candidate) -> bool {
        match self.list.get_mut(self.len) {
            Some(slot) => {
                *slot = Some(c);
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// How many candidates there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no candidate.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `i`-th choice, from 0.
    pub fn get(&self, i: usize) -> Option<&Candidate> {
        self.list.get(i)?.as_ref()
    }

    /// The candidates, the first choice first.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.list.iter().flatten()
    }
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What was decided, with the facts that a CDR keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Ways in order, or why there is none.
    pub result: Result<Candidates, Refusal>,
    /// The number that was dialled, when it is one.
    pub called: Option<E164>,
    /// The number that was priced and routed: the routing number of a ported one.
    pub routed: Option<E164>,
    /// The emergency code, when it is an emergency call: no commercial check applies, nothing is rated.
    pub emergency: Option<u16>,
    /// What kind of destination.
    pub class: Option<DestinationClass>,
    /// The caller's number, as it was judged.
    pub caller: Option<Caller>,
    /// Of the sell price; `None` where none applies.
    pub jurisdiction: Option<Jurisdiction>,
    /// Which rule decided it.
    pub jurisdiction_rule: Option<JurisdictionRule>,
    /// What the customer pays; present in every decision that carries a rated call.
    pub sell: Option<SellRate>,
    /// The number is one of ours: the call goes to its customer, and no vendor is asked.
    pub on_net: bool,
    /// The block that holds the call; of this snapshot.
    pub blocked_by: Option<CallBlockIx>,
    /// The override that routes the call; of this snapshot.
    pub overridden_by: Option<OverrideIx>,
    /// Row of the index; holds for this snapshot only.
    pub row: Option<RowIx>,
    /// Longest duration in seconds: the smaller limit of trunk and customer, or 4 h.
    pub max_duration_s: u32,
}

/// Longest call when no limit says otherwise (T-SIP-06).
pub const MAX_DURATION_S: u32 = 4 * 3_600;

/// Decides a call.
///
/// In: an immutable snapshot, the call, live figures. Out: candidates in order with their prices, or a refusal. Pure: the
/// same inputs give the same decision, always. No allocation unless a partition has more than 32 vendors.
pub fn decide(snapshot: &Snapshot, input: &CallInput<'_>, live: &Live<'_>) -> Decision {
    let mut decision = Decision {
        result: Err(Refusal::TrunkDisabled),
        called: None,
        routed: None,
        emergency: None,
        class: None,
        caller: None,
        jurisdiction: None,
        jurisdiction_rule: None,
        sell: None,
        on_net: false,
        blocked_by: None,
        overridden_by: None,
        row: None,
        max_duration_s: MAX_DURATION_S,
    };
    let mut list = Candidates::new();
    let outcome = decide_into(snapshot, input, live, &mut decision, &mut list);
    decision.result = match outcome {
        Ok(()) => Ok(list),
        Err(refusal) => Err(refusal),
    };
    decision
}

fn decide_into(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    out: &mut Decision,
    list: &mut Candidates,
) -> Result<(), Refusal> {
    let directory = &snapshot.directory;
    let plan = &snapshot.number_plan;
    let trunk = directory.trunk(input.trunk).ok_or(Refusal::TrunkDisabled)?;
    let customer = directory
        .customer_of(input.trunk)
        .and_then(|c| directory.customer(c))
        .ok_or(Refusal::TrunkDisabled)?;
    out.max_duration_s = [trunk.limits.max_duration_s, customer.limits.max_duration_s]
        .into_iter()
        .flatten()
        .fold(MAX_DURATION_S, u32::min);

    let dialled = plan.dialled(input.called, &trunk.dial);
    // An emergency call passes even from a trunk that is switched off for money reasons, and no limit of a customer cuts it short.
    if let Ok(Dialled::Emergency(code)) = dialled {
        out.emergency = Some(code);
        out.max_duration_s = MAX_DURATION_S;
        out.caller = Some(plan.caller(input.caller, None));
        return emergency(snapshot, live, list);
    }
    if !trunk.enabled || !customer.enabled {
        return Err(Refusal::TrunkDisabled);
    }
    let (number, rn) = match dialled? {
        Dialled::Number { number, rn, .. } => (number, rn),
        Dialled::Service(_) | Dialled::Emergency(_) => return Err(Refusal::ServiceCode),
    };
    out.called = Some(number);
    let class = plan.class(number).ok_or(Refusal::UnassignedNumber)?;
    out.class = Some(class);
    // Toll-free numbers are never dipped (§1).
    let routed = match class {
        DestinationClass::TollFree => number,
        _ => input.lrn.or(rn).filter(|n| n.nanp().is_some()).unwrap_or(number),
    };
    out.routed = Some(routed);
    // Looked up before it is needed: memory answers while the caller is read.
    let row = snapshot.lcr.find(routed);
    let block = row.and_then(|r| snapshot.lcr.block_of(routed, r));
    let caller = plan.caller(input.caller, Some(number));
    out.caller = Some(caller);
    if !trunk.destinations.contains(class) {
        return Err(Refusal::DestinationBlocked);
    }
    let whose = Whose { trunk: trunk.id, customer: customer.id };
    let from = caller.number.map(Code::whole);
    out.blocked_by = directory.call_block_of(whose, Code::whole(number), class, from, input.at);
    if out.blocked_by.is_some() {
        return Err(Refusal::CallBlocked);
    }
    if trunk.caller.require_valid && caller.number.is_none() {
        return Err(Refusal::InvalidCaller);
    }
    let (jurisdiction, rule) = plan.jurisdiction(&caller, routed, class);
    out.jurisdiction = jurisdiction;
    out.jurisdiction_rule = Some(rule);

    out.on_net = snapshot.numbers.find(number).is_some();
    let (Some(row), Some(block)) = (row, block) else {
        return Err(if out.on_net { Refusal::RatingFailed } else { Refusal::NoRoute });
    };
    out.row = Some(row);
    let whole = Code::whole(routed);
    if !out.on_net {
        out.overridden_by = directory.override_of(whose, whole, class, input.at);
    }
    let partition = partition_of(snapshot, input.trunk, out.overridden_by).ok_or(Refusal::NoRoute)?;
    out.sell = snapshot
        .bindings
        .sell_column(input.trunk)
        .and_then(|c| snapshot.lcr.sell_rate(c, row, whole, jurisdiction, trunk.rounding));
    let sell = match out.sell {
        Some(s) => s,
        // Nobody offers it: unroutable. Somebody does: it cannot be rated, and is not carried (T-SIP-07).
        None => {
            return Err(if out.on_net || choose::anyone_offers(&block, partition) {
                Refusal::RatingFailed
            } else {
                Refusal::NoRoute
            });
        }
    };
    let cap = [trunk.limits.max_rate_per_min, customer.limits.max_rate_per_min];
    if cap.into_iter().flatten().any(|c| sell.rate_per_min > c) {
        return Err(Refusal::MaxRate);
    }
    // What the customer pays does not depend on who carries the call; here nobody has to.
    if out.on_net {
        return Ok(());
    }
    choose::candidates(snapshot, input, live, partition, block, out, &sell, list)
}

/// The partition that routes a call: that of the override, else that of the trunk.
pub(crate) fn partition_of(
    snapshot: &Snapshot,
    trunk: TrunkIx,
    by: Option<OverrideIx>,
) -> Option<&PartitionBinding> {
    match by {
        None => snapshot.bindings.partition_of(trunk),
        Some(ix) => snapshot.bindings.partition(snapshot.directory.partition_of_override(ix)?),
    }
}

/// Trunks of the emergency route that are up, then those that are not, or that are switched off: trying is better than not trying.
fn emergency(snapshot: &Snapshot, live: &Live<'_>, out: &mut Candidates) -> Result<(), Refusal> {
    let directory = &snapshot.directory;
    let route = directory.emergency_route();
    let enabled = |ix: VendorTrunkIx| {
        directory.vendor_trunk(ix).is_some_and(|t| t.enabled)
            && directory.vendor_of(ix).and_then(|v| directory.vendor(v)).is_some_and(|v| v.enabled)
    };
    for want_up in [true, false] {
        for ix in route {
            if (live.of(*ix).up && enabled(*ix)) == want_up
                && let Some(vendor) = snapshot.directory.vendor_of(*ix)
            {
                let rank = out.len() as u16 + 1;
                out.push(Candidate { vendor_trunk: *ix, vendor, buy: None, jurisdiction: None, rank });
            }
        }
    }
    if out.is_empty() { Err(Refusal::NoEmergencyRoute) } else { Ok(()) }
}
