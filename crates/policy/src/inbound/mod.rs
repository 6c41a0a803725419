//! Inbound calls (origination): whose the called number is, where it goes, and what it costs both sides.
//!
//! [`decide_inbound`] is pure like [`decide`](crate::decide()): it reads one snapshot. A call that cannot be rated on both sides is refused
//! before anything rings (PRODUCT §2.10); only the call back to somebody who called for help is never refused for money.

mod explain;
mod json;

use warp_model::hash::mix;
use warp_model::{E164, Wall};

pub use explain::{
    DIRECTION_INBOUND, InboundInputs, InboundRecord, TargetRecord, explain_inbound, rate_inbound_record,
    replay_inbound,
};

use crate::code::Code;
use crate::directory::{CustomerIx, Directory, InboundTerms, PricedBy, TrunkIx, VendorTrunkIx};
use crate::number_plan::{Caller, DestinationClass, DialRules, Dialled, Jurisdiction, JurisdictionRule};
pub use crate::numbers::{Destination, MAX_TARGETS, Number, NumberBook, Page, TrunkTarget};
use crate::rate::{BuyRate, Rate, Rounding, SellRate};
use crate::refusal::Refusal;
use crate::route::MAX_DURATION_S;
use crate::snapshot::Snapshot;

/// Who brings a call to one of our numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brings {
    /// A vendor, by this trunk of its own.
    Vendor(VendorTrunkIx),
    /// A customer of ours, by this trunk: no vendor is paid.
    Trunk(TrunkIx),
}

/// What is known of an inbound call when it comes in.
#[derive(Clone, Copy, Debug)]
pub struct InboundInput<'a> {
    /// Who brings the call to us.
    pub from: Brings,
    /// Caller: user part of P-Asserted-Identity or From; empty when there is none.
    pub caller: &'a [u8],
    /// Called: user part of the Request-URI.
    pub called: &'a [u8],
    /// The time that the call is decided for.
    pub at: Wall,
    /// Stable hash of the call (of its Call-ID), for weighted shares.
    pub call_hash: u64,
    /// The number called for help lately: this may be the call back, which no limit and no price holds up.
    pub callback: bool,
}

/// A trunk that may take a call, and the place of its digest user whose phones are called, when it is one of them.
pub type Choice = (TrunkIx, Option<u16>);

/// Trunks in the order in which they are tried, without allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    list: [Option<Choice>; MAX_TARGETS],
    len: usize,
}

impl Targets {
    fn push(&mut self, ix: TrunkIx, user: Option<u16>) {
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = Some((ix, user));
            self.len += 1;
        }
    }

    /// How many trunks there are, 0 to [`MAX_TARGETS`].
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no trunk.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `i`-th choice, from 0: a trunk, and the place of its digest user whose phones are called, when it is one of them.
    pub fn get(&self, i: usize) -> Option<Choice> {
        *self.list.get(i)?
    }

    /// The choices as [`Targets::get`] gives them, the first one first.
    pub fn all(&self) -> impl Iterator<Item = Choice> + '_ {
        self.list.iter().flatten().copied()
    }

    /// The trunks, the first choice first.
    pub fn iter(&self) -> impl Iterator<Item = TrunkIx> + '_ {
        self.all().map(|(ix, _)| ix)
    }
}

/// What was decided of an inbound call, with the facts that its record keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundDecision {
    /// The trunks in order, or why the call is refused.
    pub result: Result<Targets, Refusal>,
    /// The number that was called, when it is one.
    pub called: Option<E164>,
    /// Who has the number.
    pub customer: Option<CustomerIx>,
    /// The caller's number, as it was judged.
    pub caller: Option<Caller>,
    /// What kind of number was called.
    pub class: Option<DestinationClass>,
    /// Of both prices; `None` where none applies.
    pub jurisdiction: Option<Jurisdiction>,
    /// Which rule decided it.
    pub jurisdiction_rule: Option<JurisdictionRule>,
    /// What the customer pays for the call.
    pub sell: Option<SellRate>,
    /// What the vendor charges for it.
    pub buy: Option<BuyRate>,
    /// It may be the call back to somebody who called for help: no limit holds it, and it need not be priced.
    pub callback: bool,
    /// Longest duration in seconds: the smallest limit of the customer and of its trunks in question, or 4 h.
    pub max_duration_s: u32,
}

/// How a vendor writes our numbers: E.164 with or without a plus, or as a national number. No technical prefix.
static VENDOR_RULES: DialRules = DialRules {
    strip: Vec::new(),
    strip_required: false,
    nanp_home: true,
    international: Vec::new(),
    bare_e164: true,
    trust_rn: false,
};

/// The number of ours that a vendor's Request-URI names; `None` when it is nobody's here.
pub fn number_called<'s>(snapshot: &'s Snapshot, called: &[u8]) -> Option<&'s Number> {
    match snapshot.number_plan.dialled(called, &VENDOR_RULES) {
        Ok(Dialled::Number { number, .. }) => snapshot.numbers.find(number),
        _ => None,
    }
}

/// Whose call it is that comes from an address of a vendor and of a customer at once. Our number: the vendor's. Else it is the customer's
/// when it is a call for help, or begins with a technical prefix of the trunk; else nobody's, and it is refused as the vendor's.
pub fn is_customers(snapshot: &Snapshot, trunk: TrunkIx, called: &[u8]) -> bool {
    if number_called(snapshot, called).is_some() {
        return false;
    }
    let Some(row) = snapshot.directory.trunk(trunk) else {
        return false;
    };
    if matches!(snapshot.number_plan.dialled(called, &row.dial), Ok(Dialled::Emergency(_))) {
        return true;
    }
    row.dial.strip.iter().any(|prefix| called.starts_with(prefix.as_bytes()))
}

/// Decides a call to one of our numbers.
///
/// In: an immutable snapshot and the call. Out: the trunks in order with the prices of both sides, or a refusal. Pure: the same inputs give
/// the same decision, always. No allocation.
pub fn decide_inbound(snapshot: &Snapshot, input: &InboundInput<'_>) -> InboundDecision {
    let mut out = InboundDecision {
        result: Err(Refusal::NumberNotHere),
        called: None,
        customer: None,
        caller: None,
        class: None,
        jurisdiction: None,
        jurisdiction_rule: None,
        sell: None,
        buy: None,
        callback: input.callback,
        max_duration_s: MAX_DURATION_S,
    };
    out.result = decide_into(snapshot, input, &mut out);
    out
}

fn decide_into(
    snapshot: &Snapshot,
    input: &InboundInput<'_>,
    out: &mut InboundDecision,
) -> Result<Targets, Refusal> {
    let (directory, plan) = (&snapshot.directory, &snapshot.number_plan);
    let rules = match input.from {
        Brings::Vendor(_) => Some(&VENDOR_RULES),
        Brings::Trunk(ix) => directory.trunk(ix).map(|t| &t.dial),
    };
    let dialled = rules.map(|rules| plan.dialled(input.called, rules));
    let Some(Ok(Dialled::Number { number: called, .. })) = dialled else {
        return Err(Refusal::NumberNotHere);
    };
    out.called = Some(called);
    let caller = plan.caller(input.caller, Some(called));
    out.caller = Some(caller);
    let number = snapshot.numbers.find(called).ok_or(Refusal::NumberNotHere)?;
    let class = plan.class(called).ok_or(Refusal::NumberNotHere)?;
    out.class = Some(class);
    let (jurisdiction, rule) = plan.jurisdiction(&caller, called, class);
    (out.jurisdiction, out.jurisdiction_rule) = (jurisdiction, Some(rule));

    let customer_ix = directory.customer_ix(number.customer).ok_or(Refusal::NoDestination)?;
    let customer = directory.customer(customer_ix).ok_or(Refusal::NoDestination)?;
    out.customer = Some(customer_ix);
    let (targets, rounding) = targets(directory, number, customer_ix, input.call_hash, out);

    let vendor_ix = match input.from {
        Brings::Vendor(ix) => directory.vendor_of(ix),
        Brings::Trunk(_) => None,
    };
    let vendor = vendor_ix.and_then(|v| directory.vendor(v));
    let lists = &snapshot.bindings;
    let priced = |column: Option<usize>, terms: &InboundTerms, rounding: Rounding| {
        price(snapshot, column?, terms.priced_by, called, caller.number, jurisdiction, rounding)
    };
    let sell = match number.sell_decks.is_empty() {
        true => lists.inbound_sell(customer_ix),
        false => lists.list(&number.sell_decks),
    };
    // A number's own list is a price for that number, or for a group of such numbers, unless the customer's are by caller.
    out.sell = priced(sell, &customer.inbound, rounding);
    out.buy = vendor_ix.zip(vendor).and_then(|(ix, v)| priced(lists.inbound_buy(ix), &v.inbound, v.rounding));

    // Whether or not somebody pays for it (47 CFR §9.10: the call back to who called for help).
    let help = input.callback;
    if !customer.enabled && !help {
        return Err(Refusal::NoDestination);
    }
    if targets.is_empty() {
        return Err(Refusal::NoDestination);
    }
    let unpaid = out.buy.is_none() && matches!(input.from, Brings::Vendor(_));
    if (out.sell.is_none() || unpaid) && !help {
        return Err(Refusal::RatingFailed);
    }
    Ok(targets)
}

/// The price of one side: of the caller's number when the list is by caller and there is one, else of the called number.
fn price(
    snapshot: &Snapshot,
    column: usize,
    by: PricedBy,
    called: E164,
    caller: Option<E164>,
    jurisdiction: Option<Jurisdiction>,
    rounding: Rounding,
) -> Option<Rate> {
    let of = |number: E164| {
        let row = snapshot.lcr.find(number)?;
        snapshot.lcr.sell_rate(column, row, Code::whole(number), jurisdiction, rounding)
    };
    match (by, caller) {
        (PricedBy::Caller, Some(caller)) => of(caller),
        _ => of(called),
    }
}

/// The trunks that take the call, in order, and how the customer's charge is rounded (as its first trunk says).
fn targets(
    directory: &Directory,
    number: &Number,
    customer: CustomerIx,
    call_hash: u64,
    out: &mut InboundDecision,
) -> (Targets, Rounding) {
    let mut list = Targets::default();
    let mut rounding = Rounding::default();
    let limit = directory.customer(customer).and_then(|c| c.limits.max_duration_s);
    out.max_duration_s = limit.map_or(MAX_DURATION_S, |l| l.min(MAX_DURATION_S));
    let Destination::Trunks(targets) = &number.destination else {
        return (list, rounding);
    };
    let usable = |t: &TrunkTarget| {
        let ix = directory.trunk_ix(t.trunk)?;
        let row = directory.trunk(ix)?;
        // Whatever a row says, a number never leads to somebody else's trunk.
        let own = directory.customer_of(ix) == Some(customer);
        let user = match &t.user {
            Some(name) => Some(u16::try_from(row.digest.iter().position(|u| u.username == *name)?).ok()?),
            None => None,
        };
        let taken = user.is_some() || !row.deliver.is_none();
        (own && (row.enabled || out.callback) && taken).then_some((ix, user))
    };
    let mut left: [Option<(Choice, u16, u16)>; MAX_TARGETS] = [None; MAX_TARGETS];
    for (slot, target) in left.iter_mut().zip(targets) {
        *slot = usable(target).map(|choice| (choice, target.priority, target.weight.max(1)));
    }
    let mut draw = mix(call_hash);
    while let Some(first) = left.iter().flatten().map(|(_, priority, _)| *priority).min() {
        let weight = left.iter().flatten().filter(|t| t.1 == first).map(|t| u64::from(t.2)).sum::<u64>();
        let mut place = draw.checked_rem(weight).unwrap_or(0);
        draw = mix(draw);
        let drawn = left.iter_mut().find(|slot| match slot {
            Some((_, priority, weight)) if *priority == first => {
                let here = place < u64::from(*weight);
                place = place.saturating_sub(u64::from(*weight));
                here
            }
            _ => false,
        });
        let Some(((ix, user), ..)) = drawn.and_then(Option::take) else {
            break;
        };
        if let Some(row) = directory.trunk(ix) {
            if list.is_empty() {
                rounding = row.rounding;
            }
            out.max_duration_s =
                row.limits.max_duration_s.map_or(out.max_duration_s, |l| l.min(out.max_duration_s));
        }
        list.push(ix, user);
    }
    if out.callback {
        out.max_duration_s = MAX_DURATION_S;
    }
    (list, rounding)
}
