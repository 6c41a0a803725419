//! The decision of an inbound call written down, decided again, and rated from what was written.

use serde::{Deserialize, Serialize};
use warp_model::cdr::CallRating;
use warp_model::{CustomerId, E164, Nanos, NumberId, TrunkId, VendorId, VendorTrunkId, Wall};

use super::{Brings, Destination, InboundDecision, InboundInput, Number, TrunkTarget, decide_inbound};
use crate::explain::{PricedRate, escaped, priced, unescaped};
use crate::number_plan::{CallerClass, DestinationClass, Jurisdiction, JurisdictionRule};
use crate::rate::rate_on_net;
use crate::recorded::{RecordedError, rate_of};
use crate::refusal::{Refusal, Unpriced};
use crate::snapshot::{Snapshot, SnapshotId};

/// Version of the stored form.
const VERSION: u16 = 1;

/// The word by which a record of an inbound decision is told from one of an outbound decision.
pub const DIRECTION_INBOUND: &str = "inbound";

/// Prices of a record are shown for a call of so many milliseconds.
const EXPECTED_MS: u64 = 180_000;

/// A decision of an inbound call in full. Readers ignore unknown fields; writers only add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundRecord {
    /// The version of this form: 1.
    pub version: u16,
    /// The word [`DIRECTION_INBOUND`], always.
    pub direction: String,
    /// What it was decided from.
    pub snapshot_id: SnapshotId,
    /// What the decision was asked for.
    pub inputs: InboundInputs,
    /// The decision in one sentence, for people.
    pub summary: String,
    /// Why the call is refused, or absent.
    pub refusal: Option<Refusal>,
    /// The vendor that brought the call.
    pub vendor: Option<VendorId>,
    /// That vendor's name at the time, for people.
    pub vendor_name: String,
    /// The number that was called, when it is one.
    pub called: Option<E164>,
    /// The number of our inventory, when it is one of ours.
    pub number: Option<NumberId>,
    /// Who has the number.
    pub customer: Option<CustomerId>,
    /// Class of the called number.
    pub class: Option<DestinationClass>,
    /// The caller's number, when it is valid.
    pub caller: Option<E164>,
    /// Class of the caller.
    pub caller_class: Option<CallerClass>,
    /// State of the caller.
    pub orig_state: Option<String>,
    /// State of the called number.
    pub term_state: Option<String>,
    /// Which US price applies.
    pub jurisdiction: Option<Jurisdiction>,
    /// The rule that the jurisdiction was told by.
    pub jurisdiction_rule: Option<JurisdictionRule>,
    /// What the customer pays.
    pub sell: Option<PricedRate>,
    /// What the vendor charges.
    pub buy: Option<PricedRate>,
    /// What a unit of the vendor's currency is in the customer's; absent: they are one, or no rate is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Nanos>,
    /// Where the number leads, as it was configured.
    pub destination: Option<Destination>,
    /// The trunks in the order in which they are tried.
    pub targets: Vec<TargetRecord>,
    /// Trunks of the destination that take no call now: off, without an address, or not the customer's.
    pub unusable: Vec<TrunkId>,
    /// Longest duration in seconds.
    pub max_duration_s: u32,
}

/// What an inbound decision was made from, besides the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundInputs {
    /// The vendor trunk that it came from; absent: a customer of ours called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_trunk: Option<VendorTrunkId>,
    /// The trunk of the customer who called. Its own customer's business: only operators see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkId>,
    /// As received, at most 257 bytes; bytes that are not ASCII as `%XX`.
    pub caller: String,
    /// The called number as it was received.
    pub called: String,
    /// The time that the call was decided for.
    pub at: Wall,
    /// Hash of the call, in hexadecimal.
    pub call_hash: String,
    /// The number had called for help lately.
    #[serde(default)]
    pub callback: bool,
}

/// A trunk that may take the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// The place in the order: 1 is tried first.
    pub rank: u16,
    /// The id of the trunk.
    pub trunk: TrunkId,
    /// The trunk's name at that time, for people.
    pub trunk_name: String,
    /// The user of the trunk whose phones are called; absent: the trunk itself is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Writes an inbound decision down. Give it the input that the decision was made with.
pub fn explain_inbound(
    snapshot: &Snapshot,
    input: &InboundInput<'_>,
    decision: &InboundDecision,
) -> InboundRecord {
    let directory = &snapshot.directory;
    let (vendor_trunk, trunk) = match input.from {
        Brings::Vendor(ix) => (Some(ix), None),
        Brings::Trunk(ix) => (None, directory.trunk(ix).map(|t| t.id)),
    };
    let vendor = vendor_trunk.and_then(|ix| directory.vendor(directory.vendor_of(ix)?));
    let number = decision.called.and_then(|n| snapshot.numbers.find(n));
    let caller = decision.caller;
    let targets: Vec<TargetRecord> = decision
        .result
        .iter()
        .flat_map(|list| list.all())
        .zip(1..)
        .filter_map(|((ix, user), rank)| {
            let row = directory.trunk(ix)?;
            let user = user.and_then(|at| row.digest.get(usize::from(at))).map(|u| u.username.clone());
            Some(TargetRecord { rank, trunk: row.id, trunk_name: row.name.clone(), user })
        })
        .collect();
    let listed = match number.map(|n| &n.destination) {
        Some(Destination::Trunks(list)) => list.as_slice(),
        _ => &[],
    };
    let used = |t: &&TrunkTarget| targets.iter().any(|k| k.trunk == t.trunk && k.user == t.user);
    let unusable = listed.iter().filter(|t| !used(t)).map(|t| t.trunk);
    let mut record = InboundRecord {
        version: VERSION,
        direction: DIRECTION_INBOUND.to_owned(),
        snapshot_id: snapshot.id,
        inputs: InboundInputs {
            vendor_trunk: vendor_trunk.and_then(|ix| directory.vendor_trunk(ix)).map(|t| t.id),
            trunk,
            caller: escaped(input.caller),
            called: escaped(input.called),
            at: input.at,
            call_hash: format!("{:016x}", input.call_hash),
            callback: input.callback,
        },
        summary: String::new(),
        refusal: decision.result.err(),
        vendor: vendor.map(|v| v.id),
        vendor_name: vendor.map(|v| v.name.clone()).unwrap_or_default(),
        called: decision.called,
        number: number.map(|n| n.id),
        customer: number.map(|n| n.customer),
        class: decision.class,
        caller: caller.and_then(|c| c.number),
        caller_class: caller.map(|c| c.class),
        orig_state: caller.and_then(|c| c.state).map(|s| s.to_string()),
        term_state: decision.called.and_then(|n| snapshot.number_plan.term_state(n)).map(|s| s.to_string()),
        jurisdiction: decision.jurisdiction,
        jurisdiction_rule: decision.jurisdiction_rule,
        sell: decision.sell.and_then(|r| priced(snapshot, &r, EXPECTED_MS)),
        buy: decision.buy.and_then(|r| priced(snapshot, &r, EXPECTED_MS)),
        exchange: decision
            .sell
            .zip(decision.buy)
            .and_then(|(sell, buy)| directory.exchange(buy.currency, sell.currency)),
        destination: number.map(|n| n.destination.clone()),
        unusable: unusable.collect(),
        targets,
        max_duration_s: decision.max_duration_s,
    };
    record.summary = summary(&record, number);
    record
}

fn summary(r: &InboundRecord, number: Option<&Number>) -> String {
    match r.refusal {
        Some(Refusal::RatingFailed) => {
            // A customer's call to our number has no vendor.
            let bought = r.buy.is_some() || r.inputs.trunk.is_some();
            let why = Unpriced::of(true, r.sell.is_some(), bought);
            format!("Inbound call refused: {}.", why.meaning())
        }
        Some(why) => format!("Inbound call refused ({why}): {}.", why.meaning()),
        None => {
            let first = r.targets.first().map(|t| t.trunk_name.as_str()).unwrap_or_default();
            let number = number.map(|n| n.number.to_string()).unwrap_or_default();
            let kind = r.jurisdiction.map(|j| format!(", {}", j.as_str())).unwrap_or_default();
            let price = |p: &Option<PricedRate>| match p {
                Some(p) => format!("{} {}/min", p.rate_per_min, p.currency),
                None => "no price".to_owned(),
            };
            let (count, sold) = (r.targets.len(), price(&r.sell));
            if r.inputs.trunk.is_some() {
                return format!(
                    "Call of a customer to {number} goes to trunk {first}, first of {count}{kind}; sold for {sold}, no vendor."
                );
            }
            format!(
                "Inbound call of {} to {number} goes to trunk {first}, first of {count}{kind}; sold for {sold}, bought for {}.",
                r.vendor_name,
                price(&r.buy)
            )
        }
    }
}

/// Decides again from a record. `None`: the snapshot does not know the record's vendor trunk, so it is another one.
pub fn replay_inbound(snapshot: &Snapshot, record: &InboundRecord) -> Option<InboundDecision> {
    let (caller, called) = (unescaped(&record.inputs.caller), unescaped(&record.inputs.called));
    let directory = &snapshot.directory;
    let from = match (record.inputs.vendor_trunk, record.inputs.trunk) {
        (Some(id), _) => Brings::Vendor(directory.vendor_trunk_ix(id)?),
        (None, Some(id)) => Brings::Trunk(directory.trunk_ix(id)?),
        (None, None) => return None,
    };
    let input = InboundInput {
        from,
        caller: &caller,
        called: &called,
        at: record.inputs.at,
        call_hash: u64::from_str_radix(&record.inputs.call_hash, 16).ok()?,
        callback: record.inputs.callback,
    };
    Some(decide_inbound(snapshot, &input))
}

/// Prices an answered inbound call of `duration_ms` by the rates of its decision. `Ok(None)`: a call back to somebody who called for help
/// that had no price. Errors: see [`RecordedError`].
pub fn rate_inbound_record(
    record: &InboundRecord,
    duration_ms: u64,
) -> Result<Option<CallRating>, RecordedError> {
    if let (Some(sell), Some(_)) = (&record.sell, record.inputs.trunk) {
        return Ok(Some(rate_on_net((&rate_of(sell)?, sell.deck_version.clone()), duration_ms)?));
    }
    let (sell, buy) = match (&record.sell, &record.buy) {
        (Some(sell), Some(buy)) => (sell, buy),
        _ if record.inputs.callback => return Ok(None),
        (None, _) => return Err(RecordedError::NoSellPrice),
        (_, None) => return Err(RecordedError::NoBuyPrice),
    };
    let rating = crate::rate::rate_sides(
        (&rate_of(sell)?, sell.deck_version.clone()),
        (&rate_of(buy)?, buy.deck_version.clone()),
        duration_ms,
        record.exchange,
    )?;
    Ok(Some(rating))
}
