//! A call record has two writers: serde's, and the one of the call path (`warp_model::json`). What they write is one.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use warp_model::cdr::*;
use warp_model::json::{JsonText, ToJson};
use warp_model::{
    BanId, CallId, Currency, CustomerId, E164, Nanos, NumberId, TrunkId, VendorId, VendorTrunkId, Wall,
};

fn same(value: &(impl ToJson + serde::Serialize)) {
    assert_eq!(JsonText::of(value).get(), serde_json::to_string(value).unwrap());
}

/// With quotes, control characters and what is no ASCII.
fn text() -> impl Strategy<Value = String> {
    let chars = prop_oneof![4 => any::<char>(), 3 => prop::char::range('\0', '\x7f'), 1 => Just('"'), 1 => Just('\\')];
    prop_oneof!["[a-z0-9@.]{0,40}", prop::collection::vec(chars, 0..12).prop_map(String::from_iter)]
}

fn maybe<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(of)
}

fn wall() -> impl Strategy<Value = Wall> {
    any::<i64>().prop_map(Wall)
}

fn nanos() -> impl Strategy<Value = Nanos> {
    prop_oneof![any::<i64>(), -5_000_000_000i64..5_000_000_000].prop_map(Nanos)
}

fn raw_json() -> impl Strategy<Value = Option<JsonText>> {
    maybe(text().prop_map(|t| {
        JsonText::parse(format!("{{\"of\": {}}}", serde_json::to_string(&t).unwrap())).unwrap()
    }))
}

fn ids() -> impl Strategy<Value = (Option<VendorId>, Option<VendorTrunkId>)> {
    (
        maybe(any::<u128>().prop_map(VendorId::from_u128)),
        maybe(any::<u128>().prop_map(VendorTrunkId::from_u128)),
    )
}

prop_compose! {
    fn leg()(
        attempt_no in any::<u16>(), of in ids(), trunk_id in maybe(any::<u128>().prop_map(TrunkId::from_u128)), egress_ip in any::<IpAddr>(), at in (wall(), wall()),
        pdd_ms in any::<Option<u64>>(), sip_code in any::<u16>(), q850 in any::<Option<u8>>(), ended_by in text(),
    ) -> LegRecord {
        LegRecord {
            attempt_no, vendor_id: of.0, vendor_trunk_id: of.1, trunk_id, egress_ip, start_at: at.0, pdd_ms, sip_code, q850,
            end_at: at.1, ended_by,
        }
    }
}

prop_compose! {
    fn side()(
        texts in (text(), text(), text()), amounts in (nanos(), nanos(), nanos()), increments in any::<(u32, u32)>(),
        billable_s in any::<u64>(), currency in "[A-Z]{3}",
    ) -> RatedSide {
        RatedSide {
            deck_version: texts.0, prefix: texts.1, rate_per_min: amounts.0, increment_initial_s: increments.0,
            increment_next_s: increments.1, setup_fee: amounts.1, billable_s, charge: amounts.2,
            currency: currency.parse::<Currency>().unwrap(), sum: texts.2,
        }
    }
}

prop_compose! {
    fn stream()(n in any::<[u64; 4]>(), mos_x100 in any::<Option<u16>>()) -> StreamFigures {
        let [packets, bytes, lost, jitter_us] = n;
        StreamFigures { packets, bytes, lost, jitter_us, mos_x100 }
    }
}

fn rating() -> impl Strategy<Value = CallRating> {
    (side(), side(), maybe(nanos())).prop_map(|(sell, buy, margin)| CallRating { sell, buy, margin })
}

fn figures() -> impl Strategy<Value = MediaFigures> {
    (stream(), stream()).prop_map(|(to_callee, to_caller)| MediaFigures { to_callee, to_caller })
}

fn release_side() -> impl Strategy<Value = ReleaseSide> {
    prop::sample::select(vec![ReleaseSide::Caller, ReleaseSide::Callee, ReleaseSide::System])
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Answered,
        Outcome::Busy,
        Outcome::NoAnswer,
        Outcome::Cancelled,
        Outcome::Rejected,
        Outcome::Failed,
    ])
}

prop_compose! {
    fn call()(
        who in (any::<u128>(), any::<Option<u128>>(), any::<Option<u128>>(), any::<IpAddr>(), maybe(text())),
        numbers in (text(), text(), text(), maybe(text()), maybe(text()), maybe(text())),
        times in (wall(), maybe(wall()), maybe(wall()), wall(), any::<Option<u64>>(), any::<u64>()),
        end in (any::<u16>(), any::<Option<u8>>(), release_side(), text(), outcome(), any::<bool>()),
        way in (text(), any::<Option<u16>>(), ids(), prop::collection::vec(leg(), 0..3), text()),
        rest in (maybe(rating()), maybe(figures()), raw_json(), raw_json(), any::<u16>()),
        inbound in maybe(any::<u128>()),
        paid in any::<Option<(u128, Option<i64>, u64)>>(),
    ) -> CallRecord {
        CallRecord {
            cdr_id: CallId::from_u128(who.0), version: rest.4, sip_call_id: numbers.0,
            customer_id: who.1.map(CustomerId::from_u128), trunk_id: who.2.map(TrunkId::from_u128),
            direction: if inbound.is_some() { Direction::Inbound } else { Direction::Outbound },
            on_net: end.5 && inbound.is_some(),
            number_id: inbound.map(NumberId::from_u128),
            ingress_ip: who.3, ingress_user: who.4, caller: numbers.1, private: inbound.is_some_and(|n| n % 2 == 0), called: numbers.2, caller_e164: numbers.3,
            called_e164: numbers.4, jurisdiction: numbers.5, setup_at: times.0, progress_at: times.1,
            answer_at: times.2, end_at: times.3, pdd_ms: times.4, duration_ms: times.5, sip_code: end.0,
            q850: end.1, release_side: end.2, internal_code: end.3, outcome: end.4, recovered: end.5,
            snapshot_id: way.0, route_rank: way.1, vendor_id: way.2.0, vendor_trunk_id: way.2.1, rating: rest.0,
            media: rest.1, decision: rest.2, legs: way.3, node: way.4, paid: paid.map(|(ban, lease, over_ms)| Paid { ban_id: BanId::from_u128(ban), lease, over_ms }),
            resume: rest.3,
        }
    }
}

proptest! {
    #[test]
    fn a_call_record_is_written_as_serde_writes_it(call in call()) {
        same(&call);
        // And what was written is read.
        let back: CallRecord = serde_json::from_str(JsonText::of(&call).get()).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), serde_json::to_string(&call).unwrap());
    }

    #[test]
    fn numbers_and_addresses_are_written_as_serde_writes_them(
        n in 100u64..1_000_000_000_000_000, addr in any::<SocketAddr>(), t in text(), list in any::<Vec<u8>>(),
    ) {
        same(&E164::from_value(n).unwrap());
        same(&addr);
        same(&t);
        same(&list);
    }

    #[test]
    fn bytes_of_sip_are_written_as_serde_writes_them(
        one in prop_oneof!["[ -~]{0,20}".prop_map(String::into_bytes), any::<Vec<u8>>()],
    ) {
        #[derive(serde::Serialize)]
        struct Both {
            #[serde(with = "warp_model::text::bytes")]
            one: Vec<u8>,
            #[serde(with = "warp_model::text::byte_list")]
            all: Vec<Vec<u8>>,
        }
        use warp_model::json;
        warp_model::json_object!(Both { one by(json::bytes), all by(json::byte_list) });
        same(&Both { all: vec![one.clone(), Vec::new()], one });
    }
}

#[test]
fn json_that_is_carried_is_what_it_was_and_no_other_text_is_taken() {
    let text = JsonText::parse("{\"a\": [1, 2]}".into()).unwrap();
    assert_eq!(serde_json::to_string(&text).unwrap(), "{\"a\": [1, 2]}");
    let back: JsonText = serde_json::from_str("{\"a\": [1, 2]}").unwrap();
    assert_eq!(back.get(), text.get());
    assert!(JsonText::parse("{\"a\": ".into()).is_err());
    assert!(std::ptr::eq(text.get(), text.clone().get()), "a copy shares the text");
}
