//! The decision written down: inputs, candidates in order with their sums, exclusions with reason and rule, the customer's
//! price, the jurisdiction with its rule, the live figures that were looked at, and the snapshot.
//!
//! One function for the call path (stored with the CDR) and for the route tester. [`replay`] decides again from a record and
//! its snapshot; the outcome is the same.

mod json;
mod rules;

use serde::{Deserialize, Serialize};
use warp_model::hex;
use warp_model::text::ShortText;
use warp_model::{Currency, E164, Nanos, NumberId, TrunkId, VendorId, VendorTrunkId, Wall};

pub use self::rules::RuleRecord;
use crate::bindings::Entry;
use crate::directory::{Strategy, VendorIx, VendorTrunkIx};
use crate::number_plan::dial::DialRules;
use crate::number_plan::{CallerClass, DestinationClass, Jurisdiction, JurisdictionRule};
use crate::rate::{self, Rate, Rounding, margin};
use crate::refusal::{Refusal, Unpriced};
use crate::route::{Call, Offer};
use crate::route::{
    CallInput, Candidate, Decision, Exclusion, Live, VendorTrunkLive, WHOLE, decide, judge, judge_trunk,
    nanos, partition_of, passed_over,
};
use crate::snapshot::{Snapshot, SnapshotId};

/// Version of the stored form.
pub const DECISION_VERSION: u16 = 1;

/// A decision in full. Readers ignore unknown fields; writers only add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The version of this form: [`DECISION_VERSION`].
    pub version: u16,
    /// What it was decided from.
    pub snapshot_id: SnapshotId,
    /// What the decision was asked for.
    pub inputs: Inputs,
    /// The decision in one sentence, for people.
    pub summary: String,
    /// Why there is no way, or absent.
    pub refusal: Option<Refusal>,
    /// The number that was dialled, when it is one.
    pub called: Option<E164>,
    /// The number that was priced: the routing number of a ported one.
    pub routed: Option<E164>,
    /// Class of the destination.
    pub class: Option<DestinationClass>,
    /// The emergency code that was dialled, for example 911.
    pub emergency: Option<u16>,
    /// The caller's number, when it is valid.
    pub caller: Option<E164>,
    /// Class of the caller.
    pub caller_class: Option<CallerClass>,
    /// State of the caller.
    pub orig_state: Option<String>,
    /// State of the number that was priced.
    pub term_state: Option<String>,
    /// Which US price applies.
    pub jurisdiction: Option<Jurisdiction>,
    /// The rule that the jurisdiction was told by.
    pub jurisdiction_rule: Option<JurisdictionRule>,
    /// What the customer pays.
    pub sell: Option<PricedRate>,
    /// The number of ours that was called: the call goes to its customer, without a vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_net: Option<NumberId>,
    /// The block that holds the call; absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<RuleRecord>,
    /// The override that says which partition routes the call; absent: that of the trunk does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden_by: Option<RuleRecord>,
    /// Partition and how it orders.
    pub partition: Option<String>,
    /// The strategy of the partition.
    pub strategy: Option<Strategy>,
    /// Prices are compared for a call of so many seconds.
    pub expected_duration_s: Option<u32>,
    /// The candidates, the first choice first.
    pub candidates: Vec<CandidateRecord>,
    /// Everybody of the partition who is no candidate, in the order they would have come.
    pub excluded: Vec<ExclusionRecord>,
    /// Longest duration in seconds.
    pub max_duration_s: u32,
}

/// What a decision was made from, besides the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Where it came in.
    pub trunk: TrunkId,
    /// As received, at most 257 bytes; bytes that are not ASCII as `%XX`.
    pub caller: String,
    /// The called number as it was received.
    pub called: String,
    /// The time that the call was decided for.
    pub at: Wall,
    /// Hash of the call, in hexadecimal.
    pub call_hash: String,
    /// Routing number of our own dip.
    pub lrn: Option<E164>,
    /// Live figures of the partition's vendor trunks.
    pub live: Vec<LiveRecord>,
}

/// Live figures of one vendor trunk, as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRecord {
    /// The vendor trunk that the figures are of.
    pub vendor_trunk: VendorTrunkId,
    /// Whether it was in rotation.
    pub up: bool,
    /// Calls that were on the trunk.
    pub channels_used: u32,
    /// Another call may start.
    pub cps_ok: bool,
    /// Percent of calls that it takes in its turn; absent: all.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub share: u8,
}

fn whole() -> u8 {
    WHOLE
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_whole(share: &u8) -> bool {
    *share == WHOLE
}

/// A price with the sum for the expected call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedRate {
    /// The deck and the version of the price: `deck_…@N`.
    pub deck_version: String,
    /// The dial code that priced the call.
    pub prefix: String,
    /// The price per minute, in nano-units of the deck's currency.
    pub rate_per_min: Nanos,
    /// The first increment, in seconds.
    pub increment_initial_s: u32,
    /// Each further increment, in seconds.
    pub increment_next_s: u32,
    /// Once per answered call.
    pub setup_fee: Nanos,
    /// The currency of all amounts here.
    pub currency: Currency,
    /// Of the contract; absent: the usual one.
    #[serde(default, skip_serializing_if = "Rounding::is_default")]
    pub rounding: Rounding,
    /// Price of the expected call.
    pub expected_charge: Nanos,
    /// The sum in words and figures.
    pub sum: String,
}

/// A vendor trunk that may carry the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// The place in the order: 1 is tried first.
    pub rank: u16,
    /// The id of the vendor.
    pub vendor: VendorId,
    /// The vendor's name at that time, for people.
    pub vendor_name: String,
    /// The id of the vendor trunk.
    pub vendor_trunk: VendorTrunkId,
    /// The vendor trunk's name at that time, for people.
    pub vendor_trunk_name: String,
    /// Under a point-of-interconnection policy: the vendor's own jurisdiction …
    pub jurisdiction: Option<Jurisdiction>,
    /// … and its rule.
    pub jurisdiction_rule: Option<JurisdictionRule>,
    /// What it costs; absent for emergency calls.
    pub buy: Option<PricedRate>,
    /// Sell − buy for the expected call, in the currency of the sale.
    pub expected_margin: Option<Nanos>,
    /// What a unit of the vendor's currency is in that one; absent: they are one, or no rate is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Nanos>,
    /// Why it stands behind dearer ones; absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<String>,
}

/// One that is no candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionRecord {
    /// The id of the vendor.
    pub vendor: VendorId,
    /// The vendor's name at that time, for people.
    pub vendor_name: String,
    /// Which trunk, when it is about one.
    pub vendor_trunk: Option<VendorTrunkId>,
    /// Closed list: `no_rate`, `vendor_disabled`, `blocked`, `currency`, `margin`, `no_trunk`, `down`, `channels`, `cps`,
    /// `ramp_up` (coming back, and this call is not in its share yet), `tries` (enough better ones).
    pub reason: String,
    /// The rule behind it: a block's id, the margin, a limit.
    pub rule: String,
    /// What it would have cost per minute.
    pub rate_per_min: Option<Nanos>,
    /// The dial code that was found; `None` = the vendor prices no code of the number.
    pub prefix: Option<String>,
}

/// Writes a decision down.
///
/// Give it the inputs and live figures that the decision was made with; it goes over the partition once more, without the
/// short cuts of [`decide`], and allocates.
pub fn explain(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    decision: &Decision,
) -> DecisionRecord {
    let directory = &snapshot.directory;
    let trunk = directory.trunk(input.trunk);
    let partition = partition_of(snapshot, input.trunk, decision.overridden_by);
    let partition_row = partition.and_then(|p| directory.partition(p.ix));
    let expected_ms = partition.map_or(180_000, |p| p.expected_ms);
    let priced = |r: &Rate| priced(snapshot, r, expected_ms);
    let sell = decision.sell.as_ref().and_then(priced);
    let caller = decision.caller;
    let mut excluded = Vec::new();
    let mut looked_at: Vec<VendorTrunkIx> = Vec::new();
    if decision.emergency.is_some() {
        looked_at.extend(directory.emergency_route());
    } else if let Some(p) = partition {
        for e in &p.entries {
            looked_at.extend(directory.trunks_of_vendor(e.vendor));
        }
        if !decision.on_net {
            exclusions(snapshot, input, live, decision, &mut excluded);
        }
    }
    looked_at.sort_unstable();
    looked_at.dedup();
    let call = call_of(snapshot, input, decision);
    let candidates = match &decision.result {
        Ok(list) => list
            .iter()
            .filter_map(|c| candidate(snapshot, input, live, c, call.as_ref(), sell.as_ref(), expected_ms))
            .collect(),
        Err(_) => Vec::new(),
    };
    let mut record = DecisionRecord {
        version: DECISION_VERSION,
        snapshot_id: snapshot.id,
        inputs: Inputs {
            trunk: trunk.map_or(TrunkId::from_u128(0), |t| t.id),
            caller: escaped(input.caller),
            called: escaped(input.called),
            at: input.at,
            call_hash: hex::encode(&input.call_hash.to_be_bytes()),
            lrn: input.lrn,
            live: looked_at
                .iter()
                .filter_map(|ix| {
                    let l = live.of(*ix);
                    Some(LiveRecord {
                        vendor_trunk: directory.vendor_trunk(*ix)?.id,
                        up: l.up,
                        channels_used: l.channels_used,
                        cps_ok: l.cps_ok,
                        share: l.share,
                    })
                })
                .collect(),
        },
        summary: String::new(),
        refusal: decision.result.err(),
        called: decision.called,
        routed: decision.routed,
        class: decision.class,
        emergency: decision.emergency,
        caller: caller.and_then(|c| c.number),
        caller_class: caller.map(|c| c.class),
        orig_state: caller.and_then(|c| c.state).map(|s| s.to_string()),
        term_state: decision.routed.and_then(|n| snapshot.number_plan.term_state(n)).map(|s| s.to_string()),
        jurisdiction: decision.jurisdiction,
        jurisdiction_rule: decision.jurisdiction_rule,
        sell,
        on_net: decision
            .called
            .filter(|_| decision.on_net)
            .and_then(|n| snapshot.numbers.find(n))
            .map(|n| n.id),
        blocked_by: rules::blocked_by(directory, decision),
        overridden_by: rules::overridden_by(directory, decision),
        partition: partition_row.map(|p| p.name.clone()),
        strategy: partition_row.map(|p| p.strategy),
        expected_duration_s: partition_row.map(|p| p.expected_duration_s),
        candidates,
        excluded,
        max_duration_s: decision.max_duration_s,
    };
    let nobody = partition.is_none_or(|p| p.entries.is_empty() && p.unbound.is_empty());
    record.summary = summary(&record, trunk.map(|t| &t.dial), nobody);
    record
}

/// Decides again from a record. `None`: the snapshot does not know the record's trunk, so it is another one.
///
/// With the snapshot that the record names, the decision is the one that was recorded.
pub fn replay(snapshot: &Snapshot, record: &DecisionRecord) -> Option<Decision> {
    let directory = &snapshot.directory;
    let caller = unescaped(&record.inputs.caller);
    let called = unescaped(&record.inputs.called);
    let mut live: Vec<VendorTrunkLive> = vec![VendorTrunkLive::default(); directory.vendor_trunks().count()];
    for l in &record.inputs.live {
        let ix = directory.vendor_trunk_ix(l.vendor_trunk)?;
        *live.get_mut(ix.at())? = VendorTrunkLive {
            up: l.up,
            channels_used: l.channels_used,
            cps_ok: l.cps_ok,
            share: l.share,
            cause: None,
        };
    }
    let input = CallInput {
        trunk: directory.trunk_ix(record.inputs.trunk)?,
        caller: &caller,
        called: &called,
        at: record.inputs.at,
        call_hash: u64::from_str_radix(&record.inputs.call_hash, 16).ok()?,
        lrn: record.inputs.lrn,
    };
    Some(decide(snapshot, &input, &Live::new(&live)))
}

fn call_of<'a>(snapshot: &'a Snapshot, input: &CallInput<'_>, decision: &Decision) -> Option<Call<'a>> {
    let partition = partition_of(snapshot, input.trunk, decision.overridden_by)?;
    let sell = decision.sell.as_ref()?;
    let block = snapshot.lcr.block(decision.row?)?;
    Call::new(snapshot, partition, input, decision, block, sell)
}

fn exclusions(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    decision: &Decision,
    out: &mut Vec<ExclusionRecord>,
) {
    let directory = &snapshot.directory;
    let Some(call) = call_of(snapshot, input, decision) else {
        return;
    };
    if decision.refusal_before_routes() {
        return;
    }
    let mut offers: Vec<(&Entry, Offer)> = Vec::new();
    call.each(|at, slot| {
        if let Some(entry) = call.partition.entries.get(at)
            && let Some(offer) = call.offer(entry, slot)
        {
            offers.push((entry, offer));
        }
    });
    offers.sort_by_key(|(_, o)| o.key);
    let chosen = |ix: VendorTrunkIx| match &decision.result {
        Ok(list) => list.iter().any(|c| c.vendor_trunk == ix),
        Err(_) => false,
    };
    for (entry, offer) in &offers {
        let buy = snapshot.lcr.buy_rate(
            entry.column,
            call.block.row,
            crate::code::Code::whole(call.routed),
            offer.jurisdiction,
            entry.rounding,
        );
        let mut note = |trunk: Option<VendorTrunkIx>, reason: &str, rule: String| {
            let Some(v) = directory.vendor(entry.vendor) else {
                return;
            };
            out.push(ExclusionRecord {
                vendor: v.id,
                vendor_name: v.name.clone(),
                vendor_trunk: trunk.and_then(|t| directory.vendor_trunk(t)).map(|t| t.id),
                reason: reason.to_owned(),
                rule,
                rate_per_min: Some(nanos(offer)),
                prefix: buy.map(|b| b.code.to_string()),
            });
        };
        match judge(&call, entry, offer) {
            Some(e) => {
                note(None, reason(e), rule(&call, entry, offer, e));
                continue;
            }
            None if directory.trunks_of_vendor(entry.vendor).is_empty() => {
                note(None, reason(Exclusion::NoTrunk), String::new());
            }
            None => {}
        }
        for ix in directory.trunks_of_vendor(entry.vendor) {
            if chosen(*ix) {
                continue;
            }
            match judge_trunk(snapshot, live, *ix) {
                Some(e) => {
                    let limits = directory.vendor_trunk(*ix).map(|t| t.limits);
                    let limit = match e {
                        Exclusion::Channels => limits.and_then(|l| l.channels),
                        Exclusion::Cps => limits.and_then(|l| l.cps),
                        _ => None,
                    };
                    let rule = match (e, live.of(*ix).cause) {
                        (Exclusion::Down, Some(cause)) => cause.as_str().to_owned(),
                        _ => limit.map(|l| format!("limit {l}")).unwrap_or_default(),
                    };
                    note(Some(*ix), reason(e), rule);
                }
                None if passed_over(snapshot, live, *ix, input.call_hash) => {
                    note(Some(*ix), "ramp_up", takes(live.of(*ix).share));
                }
                None => note(Some(*ix), "tries", format!("at most {} tries", call.partition.max_candidates)),
            }
        }
    }
    let mut others: Vec<(VendorIx, &str)> = Vec::new();
    for e in &call.partition.entries {
        if !offers.iter().any(|(o, _)| o.vendor == e.vendor) {
            others.push((e.vendor, "no_rate"));
        }
    }
    for v in &call.partition.unbound {
        let enabled = directory.vendor(*v).is_some_and(|v| v.enabled);
        others.push((*v, if enabled { "no_rate" } else { "vendor_disabled" }));
    }
    others.sort();
    for (v, reason) in others {
        if let Some(v) = directory.vendor(v) {
            out.push(ExclusionRecord {
                vendor: v.id,
                vendor_name: v.name.clone(),
                vendor_trunk: None,
                reason: reason.to_owned(),
                rule: String::new(),
                rate_per_min: None,
                prefix: None,
            });
        }
    }
}

impl Decision {
    /// Refused before vendors were looked at.
    fn refusal_before_routes(&self) -> bool {
        matches!(
            self.result,
            Err(r) if !matches!(r, Refusal::NoRoute | Refusal::NoRouteAvailable | Refusal::NoRouteAtMargin)
        )
    }
}

/// Of a trunk that is coming back.
fn takes(share: u8) -> String {
    format!("takes {share} % of calls while it comes back")
}

fn reason(e: Exclusion) -> &'static str {
    match e {
        Exclusion::Blocked(_) => "blocked",
        Exclusion::Currency => "currency",
        Exclusion::Margin => "margin",
        Exclusion::NoTrunk => "no_trunk",
        Exclusion::Down => "down",
        Exclusion::Channels => "channels",
        Exclusion::Cps => "cps",
    }
}

fn rule(call: &Call<'_>, entry: &Entry, offer: &Offer, e: Exclusion) -> String {
    let directory = &call.snapshot.directory;
    match e {
        Exclusion::Blocked(i) => directory
            .blocks_of_vendor(entry.vendor)
            .nth(i)
            .map(|b| format!("block {}: {}", b.id, b.reason))
            .unwrap_or_default(),
        Exclusion::Currency => format!("{} bought, {} sold", entry.currency, call.sell.currency),
        Exclusion::Margin if !margin_is_comparable(call) => {
            let m = call.partition.margin;
            format!("must leave {} {} a minute, sold in {}", m.per_min, m.currency, call.sell.currency)
        }
        Exclusion::Margin => {
            let m = call.partition.margin;
            let unit = match call.exchange(entry.currency) {
                Some(rate) => format!(" (1 {} = {rate} {})", entry.currency, call.sell.currency),
                None => String::new(),
            };
            let minute = |x60: i128| Nanos(i64::try_from(x60 / 60).unwrap_or(i64::MAX));
            format!(
                "a call of {} s costs {}{unit}, sold for {}; must leave {} a minute and {} bps",
                call.partition.expected_ms / 1_000,
                minute(i128::from(offer.cost_x60)),
                minute(call.sell_x60),
                m.per_min,
                m.bps
            )
        }
        _ => String::new(),
    }
}

fn margin_is_comparable(call: &Call<'_>) -> bool {
    let m = call.partition.margin;
    m.fits(call.sell.currency) || call.snapshot.directory.exchange(m.currency, call.sell.currency).is_some()
}

pub(crate) fn priced(snapshot: &Snapshot, r: &Rate, expected_ms: u64) -> Option<PricedRate> {
    let label = snapshot.lcr.deck(r.deck)?.label();
    let side = rate::rate_side(r, label, expected_ms).ok()?;
    Some(PricedRate {
        deck_version: side.deck_version,
        prefix: side.prefix,
        rate_per_min: side.rate_per_min,
        increment_initial_s: side.increment_initial_s,
        increment_next_s: side.increment_next_s,
        setup_fee: side.setup_fee,
        currency: side.currency,
        rounding: r.rounding,
        expected_charge: side.charge,
        sum: side.sum,
    })
}

fn candidate(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    c: &Candidate,
    call: Option<&Call<'_>>,
    sell: Option<&PricedRate>,
    expected_ms: u64,
) -> Option<CandidateRecord> {
    let vendor = snapshot.directory.vendor(c.vendor)?;
    let trunk = snapshot.directory.vendor_trunk(c.vendor_trunk)?;
    let buy = c.buy.as_ref().and_then(|b| priced(snapshot, b, expected_ms));
    let exchange =
        sell.zip(buy.as_ref()).and_then(|(s, b)| snapshot.directory.exchange(b.currency, s.currency));
    let own = vendor.interconnection.and_then(|_| {
        let call = call?;
        let entry = call.partition.entries.iter().find(|e| e.vendor == c.vendor)?;
        call.jurisdiction_of(entry).1
    });
    Some(CandidateRecord {
        rank: c.rank,
        vendor: vendor.id,
        vendor_name: vendor.name.clone(),
        vendor_trunk: trunk.id,
        vendor_trunk_name: trunk.name.clone(),
        jurisdiction: c.jurisdiction,
        jurisdiction_rule: own,
        expected_margin: sell.zip(buy.as_ref()).and_then(|(s, b)| {
            margin(s.expected_charge.of(s.currency), b.expected_charge.of(b.currency), exchange)
        }),
        exchange,
        // An emergency route's order is its own.
        passed_over: c
            .buy
            .filter(|_| passed_over(snapshot, live, c.vendor_trunk, input.call_hash))
            .map(|_| takes(live.of(c.vendor_trunk).share)),
        buy,
    })
}

/// What a refusal means for this call, as the end of a sentence. `nobody`: the trunk has no vendors to choose from.
fn because(r: &DecisionRecord, why: Refusal, dial: Option<&DialRules>, nobody: bool) -> String {
    match why {
        Refusal::InvalidNumber => {
            let abroad: Vec<&str> =
                dial.into_iter().flat_map(|d| &d.international).map(String::as_str).collect();
            let strip: Vec<&str> = dial
                .filter(|d| d.strip_required)
                .into_iter()
                .flat_map(|d| &d.strip)
                .map(String::as_str)
                .collect();
            let prefix = if strip.is_empty() {
                String::new()
            } else {
                format!(", and every number with {}", strip.join(" or "))
            };
            format!(
                "\"{}\" is no number by the dial rules of the trunk; those of other countries begin with {}{prefix}",
                r.inputs.called,
                std::iter::once("+").chain(abroad).collect::<Vec<_>>().join(" or ")
            )
        }
        Refusal::DestinationBlocked => match r.class {
            Some(class) => format!("the trunk may not call the class {}", class.as_str()),
            None => why.meaning().to_owned(),
        },
        Refusal::CallBlocked => match &r.blocked_by {
            Some(rule) => format!("{}: {}", rule.id, rule.reason),
            None => why.meaning().to_owned(),
        },
        // Refused thus whatever the decks say.
        Refusal::NoRoute if nobody => {
            "there are no vendors to choose from, as neither the trunk nor its customer has a partition with vendors".into()
        }
        _ => why.meaning().to_owned(),
    }
}

fn summary(r: &DecisionRecord, dial: Option<&DialRules>, nobody: bool) -> String {
    if let Some(code) = r.emergency {
        return match r.candidates.first() {
            Some(c) => format!("Emergency call {code}: goes to {} without commercial checks.", c.vendor_name),
            None => format!("Emergency call {code}: refused, no emergency route is configured."),
        };
    }
    if let (None, Some(number), Some(sell)) = (r.refusal, r.on_net, &r.sell) {
        let price = format!("{} {}/min", sell.rate_per_min, sell.currency);
        return format!("Goes to {number}, a number of ours, without a vendor; sold for {price}.");
    }
    let out = |reason: &str| r.excluded.iter().filter(|e| e.reason == reason).count();
    match (&r.refusal, r.candidates.first()) {
        (Some(Refusal::RatingFailed), _) => {
            let why = Unpriced::of(false, r.sell.is_some(), false);
            let offered = match (why, r.on_net) {
                (Unpriced::Customer, None) => "vendors offer the destination, ",
                (Unpriced::Customer, Some(_)) => "the number is one of ours, ",
                _ => "",
            };
            format!("Refused: {offered}{}.", why.meaning())
        }
        (Some(why), _) if !r.excluded.is_empty() => format!(
            "Refused ({why}): {} without a rate, {} below the margin, {} down, full or blocked.",
            out("no_rate"),
            out("margin"),
            out("down") + out("channels") + out("cps") + out("blocked")
        ),
        (Some(why), _) => format!("Refused ({why}): {}.", because(r, *why, dial, nobody)),
        (None, Some(first)) => {
            // Of each call: without the formatting machinery.
            let mut text = String::with_capacity(128 + first.vendor_name.len());
            let number = |n: usize, text: &mut String| {
                let mut digits = ShortText::default();
                digits.push_number(n as u64, 1);
                text.push_str(digits.as_str());
            };
            text.push_str(&first.vendor_name);
            text.push_str(" is first of ");
            number(r.candidates.len(), &mut text);
            text.push_str(" candidates");
            if let Some(b) = &first.buy {
                text.push_str(" at ");
                text.push_str(b.rate_per_min.text().as_str());
                text.push(' ');
                text.push_str(b.currency.as_str());
                text.push_str("/min for prefix ");
                text.push_str(&b.prefix);
            }
            if let Some(j) = r.jurisdiction {
                text.push_str(", ");
                text.push_str(j.as_str());
            }
            if let Some(rule) = &r.overridden_by {
                text.push_str(", by override ");
                text.push_str(&rule.id);
            }
            text.push_str("; ");
            number(r.excluded.iter().filter(|e| e.reason != "tries").count(), &mut text);
            text.push_str(" excluded.");
            text
        }
        (None, None) => String::new(),
    }
}

/// Bytes as printable ASCII: everything else, and `%`, as `%XX`. Cut one byte after what may be a number, so that a text
/// that was too long still is.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let most = crate::number_plan::dial::MAX_USER_BYTES + 1;
    let bytes = bytes.get(..most).unwrap_or(bytes);
    // Nearly all are digits.
    if let Ok(plain) = std::str::from_utf8(bytes)
        && plain.bytes().all(|b| matches!(b, 0x20..=0x7E) && b != b'%')
    {
        return plain.to_owned();
    }
    let mut out = String::new();
    for b in bytes {
        match b {
            b'%' => out.push_str("%25"),
            0x20..=0x7E => out.push(char::from(*b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let hex = tail
            .split_at_checked(2)
            .and_then(|(h, after)| Some((std::str::from_utf8(h).ok()?, after)))
            .and_then(|(h, after)| Some((u8::from_str_radix(h, 16).ok()?, after)));
        match (first, hex) {
            (b'%', Some((b, after))) => {
                out.push(b);
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    out
}
