//! The carrier of the virtual world: one customer with an IP-ACL trunk, three vendors in order of cost, and their decks.

use std::net::SocketAddr;
use std::sync::Arc;

use warp_model::{Currency, CustomerId, DeckId, Nanos, Secret, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row};
use warp_policy::directory::{
    Customer, DigestUser, DirectoryBuilder, Ha1s, Limits, Partition, PartitionVendor, Strategy, Transport,
    Trunk, Vendor, VendorTrunk,
};
use warp_policy::{LcrIndex, NumberPlan, RateList, Snapshot};
use warp_sip::digest::{self, Algorithm, Challenge, Ha1};

/// A snapshot in which `customer` (a network such as `10.0.2.0/24`) may call +1415 and +44 through `vendors`, the first
/// being the cheapest.
pub fn snapshot(customer: &str, vendors: &[SocketAddr]) -> Snapshot {
    let sell = deck(100, &[("1415", 12_000_000), ("44", 40_000_000)]);
    let mut rows = DirectoryBuilder::default()
        .customer(Customer {
            id: CustomerId::from_u128(1),
            name: "sim".into(),
            enabled: true,
            limits: Limits::default(),
            utc_offset_min: 0,
            inbound: Default::default(),
        })
        .trunk(Trunk {
            id: TrunkId::from_u128(1),
            customer: CustomerId::from_u128(1),
            name: "sim".into(),
            enabled: true,
            limits: Limits::default(),
            destinations: Default::default(),
            sell_decks: vec![DeckId::from_u128(100)],
            partition: "all".into(),
            acl: vec![customer.parse().expect("a network")],
            digest: vec![DigestUser {
                username: USER.into(),
                ha1: Ha1s { realm: REALM.into(), md5: None, sha256: Some(Secret::new(ha1_hex())) },
            }],
            media_ips: Vec::new(),
            dial: Default::default(),
            caller: Default::default(),
            rounding: Default::default(),
            deliver: Default::default(),
            payer: None,
            headers: Default::default(),
        })
        .partition(Partition {
            name: "all".into(),
            strategy: Strategy::Cost,
            vendors: (1..=vendors.len() as u128)
                .map(|n| PartitionVendor { vendor: VendorId::from_u128(n), priority: 0, weight: 1 })
                .collect(),
            max_candidates: 4,
            expected_duration_s: 180,
            margin: Default::default(),
            loss_ok: false,
        });
    let mut buy = Vec::new();
    for (i, addr) in vendors.iter().enumerate() {
        let n = i as u128 + 1;
        let rate = 2_000_000 + 1_000_000 * i as i64;
        buy.push(RateList { decks: vec![deck(n, &[("1415", rate), ("44", rate * 3)])] });
        rows = rows
            .vendor(Vendor {
                id: VendorId::from_u128(n),
                name: format!("vendor-{n}"),
                enabled: true,
                buy_decks: vec![DeckId::from_u128(n)],
                interconnection: None,
                rounding: Default::default(),
                inbound: Default::default(),
            })
            .vendor_trunk(VendorTrunk {
                id: VendorTrunkId::from_u128(n),
                vendor: VendorId::from_u128(n),
                name: format!("vendor-{n}"),
                enabled: true,
                hosts: Vec::new(),
                addresses: vec![*addr],
                transport: Transport::Udp,
                limits: Limits::default(),
                credentials: None,
                tech_prefix: String::new(),
                number_format: Default::default(),
                media_ips: Vec::new(),
                signalling_ips: Vec::new(),
                headers: warp_policy::directory::HeaderTerms::of_a_carrier(),
                follow_redirects: false,
                allow_refer: false,
                inbound_networks: Vec::new(),
                priority: 0,
                weight: 1,
            });
    }
    let plan = NumberPlan::seed();
    let index =
        LcrIndex::build(&buy, &[RateList { decks: vec![sell] }], &plan, Wall(0)).expect("decks build");
    let directory = rows.build().expect("rows are consistent");
    Snapshot::new(Arc::new(directory), Arc::new(index), Arc::new(plan))
}

/// A user of the trunk, wherever it calls from, and its secret.
pub const USER: &str = "pbx";
const SECRET: &[u8] = b"correct-horse";
/// Of the proxy's default configuration.
const REALM: &str = "warp";

fn ha1_hex() -> String {
    let ha1 = Ha1::new(Algorithm::Sha256, USER.as_bytes(), REALM.as_bytes(), SECRET);
    String::from_utf8_lossy(ha1.reveal()).into_owned()
}

/// The header line that answers a challenge for an INVITE to `uri`.
pub fn credentials(challenge: &str, uri: &str) -> String {
    let challenge = Challenge::parse(challenge.as_bytes()).expect("a challenge of the proxy");
    let ha1 = Ha1::new(challenge.algorithm, USER.as_bytes(), challenge.realm, SECRET);
    let mut value = Vec::new();
    digest::respond(&challenge, USER.as_bytes(), &ha1, b"INVITE", uri.as_bytes(), b"sim", 1, &mut value);
    format!("Proxy-Authorization: {}\r\n", String::from_utf8_lossy(&value))
}

/// A deck with one rate for all jurisdictions, in nanos a minute.
fn deck(n: u128, rows: &[(&str, i64)]) -> Arc<Deck> {
    let meta = DeckMeta {
        id: DeckId::from_u128(n),
        version: 1,
        name: format!("deck {n}"),
        kind: DeckKind::Us,
        currency: Currency::USD,
    };
    let rows = rows
        .iter()
        .map(|(code, rate)| Row {
            code: code.parse().expect("a code"),
            rates: [Nanos(*rate); 3],
            terms: DeckKind::Us.usual_terms(),
            from: None,
            until: None,
            blocked: false,
        })
        .collect();
    Arc::new(Deck::new(meta, rows).expect("a deck"))
}
