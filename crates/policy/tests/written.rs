//! A decision record, of a call out or in, has two writers: serde's, and the one of the call path (`warp_model::json`). What they write is one.

use proptest::prelude::*;
use proptest::sample::select;
use warp_model::json::{JsonText, ToJson};
use warp_model::{Currency, CustomerId, E164, Nanos, NumberId, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_policy::directory::{Level, Strategy as Order};
use warp_policy::explain::*;
use warp_policy::inbound::{Destination, InboundInputs, InboundRecord, TargetRecord, TrunkTarget};
use warp_policy::number_plan::{CallerClass, DestinationClass, Jurisdiction, JurisdictionRule};
use warp_policy::rate::{PartialSecond, Rounding, RoundingLevel, RoundingMode};
use warp_policy::{Refusal, SnapshotId};

fn same(value: &(impl ToJson + serde::Serialize)) {
    assert_eq!(JsonText::of(value).get(), serde_json::to_string(value).unwrap());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9@×. ]{0,30}", prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter)]
}

fn maybe<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(of)
}

fn nanos() -> impl Strategy<Value = Nanos> {
    any::<i64>().prop_map(Nanos)
}

fn number() -> impl Strategy<Value = Option<E164>> {
    maybe((100u64..1_000_000_000_000_000).prop_map(|n| E164::from_value(n).unwrap()))
}

fn trunk() -> impl Strategy<Value = VendorTrunkId> {
    any::<u128>().prop_map(VendorTrunkId::from_u128)
}

fn jurisdiction() -> impl Strategy<Value = (Option<Jurisdiction>, Option<JurisdictionRule>)> {
    (maybe(select(&JURISDICTIONS[..])), maybe(select(&RULES[..])))
}

const JURISDICTIONS: [Jurisdiction; 3] =
    [Jurisdiction::Interstate, Jurisdiction::Intrastate, Jurisdiction::Indeterminate];
const RULES: [JurisdictionRule; 12] = [
    JurisdictionRule::SameState,
    JurisdictionRule::DifferentState,
    JurisdictionRule::CallerMissing,
    JurisdictionRule::CallerInvalid,
    JurisdictionRule::CallerTollFree,
    JurisdictionRule::CallerNonGeographic,
    JurisdictionRule::CallerForeign,
    JurisdictionRule::CalledUnknown,
    JurisdictionRule::CalledTollFree,
    JurisdictionRule::NotApplicable,
    JurisdictionRule::InterconnectionSameState,
    JurisdictionRule::InterconnectionDifferentState,
];
const CALLERS: [CallerClass; 6] = [
    CallerClass::Domestic,
    CallerClass::DomesticTollFree,
    CallerClass::International,
    CallerClass::NonGeographic,
    CallerClass::Invalid,
    CallerClass::Missing,
];
const ORDERS: [Order; 3] = [Order::Cost, Order::PriorityCost, Order::WeightedShare];
const LEVELS: [Level; 4] = [Level::Trunk, Level::Customer, Level::Route, Level::Default];
const MODES: [RoundingMode; 4] =
    [RoundingMode::HalfAwayFromZero, RoundingMode::HalfEven, RoundingMode::Up, RoundingMode::Down];
const SECONDS: [PartialSecond; 3] = [PartialSecond::Up, PartialSecond::HalfUp, PartialSecond::Down];

prop_compose! {
    fn rounding()(mode in select(&MODES[..]), places in 0u8..10, partial_second in select(&SECONDS[..]),
        level in select(&[RoundingLevel::Call, RoundingLevel::Line][..]))
    -> Rounding {
        Rounding { mode, places, partial_second, level }
    }
}

prop_compose! {
    fn priced()(
        texts in (text(), text(), text()), amounts in (nanos(), nanos(), nanos()), increments in any::<(u32, u32)>(),
        rounding in prop_oneof![Just(Rounding::default()), rounding()],
    ) -> PricedRate {
        PricedRate {
            deck_version: texts.0, prefix: texts.1, rate_per_min: amounts.0, increment_initial_s: increments.0,
            increment_next_s: increments.1, setup_fee: amounts.1, currency: Currency::USD, rounding,
            expected_charge: amounts.2, sum: texts.2,
        }
    }
}

prop_compose! {
    fn live()(vendor_trunk in trunk(), up in any::<bool>(), channels_used in any::<u32>(), cps_ok in any::<bool>(),
        share in prop_oneof![Just(100u8), any::<u8>()]) -> LiveRecord {
        LiveRecord { vendor_trunk, up, channels_used, cps_ok, share }
    }
}

prop_compose! {
    fn candidate()(
        rank in any::<u16>(), vendor in any::<u128>(), vendor_trunk in trunk(), names in (text(), text()),
        told in jurisdiction(), buy in maybe(priced()), expected_margin in maybe(nanos()), exchange in maybe(nanos()),
        passed_over in maybe(text()),
    ) -> CandidateRecord {
        CandidateRecord {
            rank, vendor: VendorId::from_u128(vendor), vendor_name: names.0, vendor_trunk, vendor_trunk_name: names.1,
            jurisdiction: told.0, jurisdiction_rule: told.1, buy, expected_margin, exchange, passed_over,
        }
    }
}

prop_compose! {
    fn exclusion()(
        vendor in any::<u128>(), vendor_trunk in maybe(trunk()), texts in (text(), text(), text()),
        rate_per_min in maybe(nanos()), prefix in maybe(text()),
    ) -> ExclusionRecord {
        ExclusionRecord {
            vendor: VendorId::from_u128(vendor), vendor_name: texts.0, vendor_trunk, reason: texts.1, rule: texts.2,
            rate_per_min, prefix,
        }
    }
}

prop_compose! {
    fn inputs()(
        trunk in any::<u128>(), texts in (text(), text(), text()), at in any::<i64>(), lrn in number(),
        live in prop::collection::vec(live(), 0..4),
    ) -> Inputs {
        Inputs {
            trunk: TrunkId::from_u128(trunk), caller: texts.0, called: texts.1, at: Wall(at), call_hash: texts.2, lrn,
            live,
        }
    }
}

prop_compose! {
    fn rule()(texts in (text(), text()), level in select(&LEVELS[..])) -> RuleRecord {
        RuleRecord { id: texts.0, level, reason: texts.1 }
    }
}

prop_compose! {
    fn record()(
        head in (any::<u16>(), any::<u128>(), inputs(), text(), maybe(select(&Refusal::ALL[..]))),
        numbers in (number(), number(), number(), any::<Option<u16>>()),
        told in (maybe(select(&DestinationClass::ALL[..])), maybe(select(&CALLERS[..])), maybe(text()), maybe(text()), jurisdiction()),
        order in (maybe(priced()), maybe(text()), maybe(select(&ORDERS[..])), any::<Option<u32>>(), any::<u32>()),
        lists in (prop::collection::vec(candidate(), 0..3), prop::collection::vec(exclusion(), 0..3)),
        rules in (maybe(rule()), maybe(rule())),
    ) -> DecisionRecord {
        DecisionRecord {
            version: head.0, snapshot_id: format!("{:032x}", head.1).parse::<SnapshotId>().unwrap(), inputs: head.2,
            summary: head.3, refusal: head.4, called: numbers.0, routed: numbers.1, class: told.0, emergency: numbers.3,
            caller: numbers.2, caller_class: told.1, orig_state: told.2, term_state: told.3, jurisdiction: told.4.0,
            jurisdiction_rule: told.4.1, sell: order.0,
            on_net: numbers.3.map(|n| NumberId::from_u128(n.into())), blocked_by: rules.0, overridden_by: rules.1,
            partition: order.1, strategy: order.2,
            expected_duration_s: order.3, candidates: lists.0, excluded: lists.1, max_duration_s: order.4,
        }
    }
}

fn destination() -> impl Strategy<Value = Destination> {
    let target = any::<(u128, Option<String>, u16, u16)>().prop_map(|(trunk, user, priority, weight)| {
        TrunkTarget { trunk: TrunkId::from_u128(trunk), user, priority, weight }
    });
    prop_oneof![Just(Destination::Nowhere), prop::collection::vec(target, 0..3).prop_map(Destination::Trunks)]
}

prop_compose! {
    fn inbound_inputs()(
        ids in any::<(Option<u128>, Option<u128>)>(), texts in (text(), text(), text()), at in any::<i64>(),
        callback in any::<bool>(),
    ) -> InboundInputs {
        InboundInputs {
            vendor_trunk: ids.0.map(VendorTrunkId::from_u128), trunk: ids.1.map(TrunkId::from_u128),
            caller: texts.0, called: texts.1, at: Wall(at), call_hash: texts.2, callback,
        }
    }
}

prop_compose! {
    fn inbound_record()(
        head in (any::<u16>(), text(), any::<u128>(), inbound_inputs(), text(), maybe(select(&Refusal::ALL[..]))),
        who in any::<(Option<u128>, Option<u128>, Option<u128>)>(), names in (text(), maybe(text()), maybe(text())),
        numbers in (number(), number()),
        told in (maybe(select(&DestinationClass::ALL[..])), maybe(select(&CALLERS[..])), jurisdiction()),
        prices in (maybe(priced()), maybe(priced())), destination in maybe(destination()),
        exchange in maybe(nanos()), targets in prop::collection::vec((any::<u16>(), any::<u128>(), text()), 0..3),
        unusable in prop::collection::vec(any::<u128>(), 0..3), max_duration_s in any::<u32>(),
    ) -> InboundRecord {
        InboundRecord {
            version: head.0, direction: head.1, snapshot_id: format!("{:032x}", head.2).parse::<SnapshotId>().unwrap(),
            inputs: head.3, summary: head.4, refusal: head.5, vendor: who.0.map(VendorId::from_u128),
            vendor_name: names.0, called: numbers.0, number: who.1.map(NumberId::from_u128),
            customer: who.2.map(CustomerId::from_u128), class: told.0, caller: numbers.1, caller_class: told.1,
            orig_state: names.1, term_state: names.2, jurisdiction: told.2.0, jurisdiction_rule: told.2.1,
            sell: prices.0, buy: prices.1, exchange, destination,
            targets: targets.into_iter().map(|(rank, trunk, trunk_name)| TargetRecord {
                rank, trunk: TrunkId::from_u128(trunk), trunk_name, user: (rank % 2 == 0).then(|| format!("u\"{rank}")),
            }).collect(),
            unusable: unusable.into_iter().map(TrunkId::from_u128).collect(), max_duration_s,
        }
    }
}

proptest! {
    #[test]
    fn an_inbound_decision_record_is_written_as_serde_writes_it(record in inbound_record()) {
        same(&record);
    }

    #[test]
    fn a_decision_record_is_written_as_serde_writes_it(record in record()) {
        same(&record);
    }
}

#[test]
fn every_word_of_a_decision_is_the_one_of_serde() {
    RULES.iter().for_each(same);
    JURISDICTIONS.iter().for_each(same);
    CALLERS.iter().for_each(same);
    ORDERS.iter().for_each(same);
    MODES.iter().for_each(same);
    LEVELS.iter().for_each(same);
    [RoundingLevel::Call, RoundingLevel::Line].iter().for_each(same);
    SECONDS.iter().for_each(same);
    Refusal::ALL.iter().for_each(same);
    DestinationClass::ALL.iter().for_each(same);
}

/// Each call writes one: in a buffer that is there already, so that only the text that is kept is allocated.
#[test]
fn a_decision_that_is_written_allocates_its_text_and_nothing_else() {
    let rounding = Rounding { mode: RoundingMode::Up, ..Rounding::default() };
    let sell = PricedRate {
        deck_version: "deck_x@1".into(),
        prefix: "1415".into(),
        rate_per_min: Nanos(12_300_000),
        increment_initial_s: 6,
        increment_next_s: 6,
        setup_fee: Nanos(-1),
        currency: Currency::USD,
        rounding,
        expected_charge: Nanos(i64::MAX),
        sum: "180 s × 0.0123 / 60 = 0.0369 USD".into(),
    };
    let mut buffer = Vec::with_capacity(4_096);
    let mut text = None;
    let written = allocation_counter::measure(|| text = Some(JsonText::with(&sell, &mut buffer)));
    assert_eq!(written.count_total, 1);
    assert_eq!(text.unwrap().get(), serde_json::to_string(&sell).unwrap());
}
