//! A small world for the decision tests: one customer, three vendors, two decks each where it matters.
#![allow(dead_code)]

use std::sync::Arc;

use warp_model::{Currency, CustomerId, DeckId, Nanos, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row};
use warp_policy::directory::*;
use warp_policy::*;

pub fn deck(n: u128, kind: DeckKind, rows: &[(&str, [i64; 3])]) -> Arc<Deck> {
    let rows = rows
        .iter()
        .map(|(code, rates)| Row {
            code: code.parse().unwrap(),
            rates: rates.map(Nanos),
            terms: kind.usual_terms(),
            from: None,
            until: None,
            blocked: false,
        })
        .collect();
    deck_of(n, kind, rows)
}

pub fn deck_of(n: u128, kind: DeckKind, rows: Vec<Row>) -> Arc<Deck> {
    let meta = DeckMeta {
        id: DeckId::from_u128(n),
        version: 1,
        name: format!("deck {n}"),
        kind,
        currency: Currency::USD,
    };
    Arc::new(Deck::new(meta, rows).unwrap())
}

pub fn list(decks: &[&Arc<Deck>]) -> RateList {
    RateList { decks: decks.iter().map(|d| (*d).clone()).collect() }
}

pub fn vendor(n: u128, name: &str, decks: &[u128]) -> Vendor {
    Vendor {
        id: VendorId::from_u128(n),
        name: name.into(),
        enabled: true,
        buy_decks: decks.iter().map(|d| DeckId::from_u128(*d)).collect(),
        interconnection: None,
        rounding: Rounding::default(),
        inbound: Default::default(),
    }
}

pub fn vendor_trunk(n: u128, vendor: u128) -> VendorTrunk {
    VendorTrunk {
        id: VendorTrunkId::from_u128(n),
        vendor: VendorId::from_u128(vendor),
        name: format!("vtk {n}"),
        enabled: true,
        hosts: Vec::new(),
        addresses: vec![format!("198.51.100.{n}:5060").parse().unwrap()],
        transport: Transport::Udp,
        limits: Limits::default(),
        credentials: None,
        tech_prefix: String::new(),
        number_format: NumberFormat::PlusE164,
        media_ips: vec![],
        signalling_ips: Vec::new(),
        headers: warp_policy::directory::HeaderTerms::of_a_carrier(),
        follow_redirects: false,
        allow_refer: false,
        inbound_networks: Vec::new(),
        priority: 0,
        weight: 1,
    }
}

pub fn partition(vendors: &[u128]) -> Partition {
    Partition {
        name: "premium".into(),
        strategy: Strategy::Cost,
        vendors: vendors
            .iter()
            .map(|v| PartitionVendor { vendor: VendorId::from_u128(*v), priority: 0, weight: 1 })
            .collect(),
        max_candidates: 4,
        expected_duration_s: 180,
        margin: Margin::default(),
        loss_ok: false,
    }
}

pub fn trunk() -> Trunk {
    Trunk {
        id: TrunkId::from_u128(1),
        customer: CustomerId::from_u128(1),
        name: "main".into(),
        enabled: true,
        limits: Limits::default(),
        destinations: Default::default(),
        sell_decks: vec![DeckId::from_u128(100)],
        partition: "premium".into(),
        acl: vec!["192.0.2.0/24".parse().unwrap()],
        digest: vec![],
        media_ips: vec![],
        dial: Default::default(),
        caller: Default::default(),
        rounding: Rounding::default(),
        deliver: Default::default(),
        payer: None,
        headers: Default::default(),
    }
}

pub fn customer() -> Customer {
    Customer {
        id: CustomerId::from_u128(1),
        name: "acme".into(),
        enabled: true,
        limits: Limits::default(),
        utc_offset_min: 0,
        inbound: Default::default(),
    }
}

/// Alpha 1 (0.003 … NPANXX 415555 cheaper), beta 2 (0.002 inter, dear intra), gamma 3 (A–Z and 1).
pub fn rows() -> DirectoryBuilder {
    DirectoryBuilder::default()
        .customer(customer())
        .trunk(trunk())
        .vendor(vendor(1, "alpha", &[1]))
        .vendor(vendor(2, "beta", &[2]))
        .vendor(vendor(3, "gamma", &[3]))
        .vendor_trunk(vendor_trunk(1, 1))
        .vendor_trunk(vendor_trunk(2, 2))
        .vendor_trunk(vendor_trunk(3, 3))
        .partition(partition(&[1, 2, 3]))
}

pub fn index() -> LcrIndex {
    let m = 1_000_000;
    let alpha = deck(
        1,
        DeckKind::Us,
        &[
            ("1415", [3 * m, 3 * m, 3 * m]),
            ("1415555", [m, 5 * m, 5 * m]),
            ("14155550", [m / 2, 6 * m, 6 * m]),
        ],
    );
    let beta = deck(2, DeckKind::Us, &[("1415", [2 * m, 8 * m, 8 * m]), ("1204", [2 * m, 3 * m, m])]);
    let gamma = deck(
        3,
        DeckKind::Az,
        &[("1", [4 * m; 3]), ("44", [9 * m; 3]), ("4420", [7 * m; 3]), ("881", [6_000 * m; 3])],
    );
    let sell = deck(
        100,
        DeckKind::Us,
        &[
            ("1", [10 * m, 12 * m, 12 * m]),
            ("1204", [10 * m; 3]),
            ("44", [20 * m; 3]),
            ("881", [9_000 * m; 3]),
            ("1876", [300 * m; 3]),
        ],
    );
    LcrIndex::build(
        &[list(&[&alpha]), list(&[&beta]), list(&[&gamma])],
        &[list(&[&sell])],
        &NumberPlan::seed(),
        Wall(0),
    )
    .unwrap()
}

pub fn snapshot_of(rows: DirectoryBuilder) -> Snapshot {
    Snapshot::new(Arc::new(rows.build().unwrap()), Arc::new(index()), Arc::new(NumberPlan::seed()))
}

pub fn input<'a>(caller: &'a str, called: &'a str) -> CallInput<'a> {
    CallInput {
        trunk: TrunkIx(0),
        caller: caller.as_bytes(),
        called: called.as_bytes(),
        at: Wall(0),
        call_hash: 42,
        lrn: None,
    }
}

/// Vendor names in order, or the refusal's code.
pub fn decided(s: &Snapshot, i: &CallInput<'_>, live: &Live<'_>) -> String {
    let d = decide(s, i, live);
    // Whatever is decided is explained and replays.
    let record = explain(s, i, live, &d);
    assert_eq!(replay(s, &record).unwrap(), d);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(warp_model::json::JsonText::of(&record).get(), text, "as the call path writes it");
    let back: DecisionRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(back, record);
    match d.result {
        Err(r) => r.code().to_owned(),
        Ok(list) => list
            .iter()
            .map(|c| {
                let name = &s.directory.vendor(c.vendor).unwrap().name;
                let buy = c.buy.map(|b| format!("@{}", b.code)).unwrap_or_default();
                format!("{name}{buy}")
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}
