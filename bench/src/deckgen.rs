//! The deck generator: vendors' decks and calls of any size from a seed, the same for everyone.
//!
//! The world of codes is that of a US carrier: every exchange of the area codes of the number plan, thousands blocks below
//! them, Canada, and destinations abroad. Each vendor has the wanted share of it, drawn by chance, at prices of its own.

use std::sync::Arc;

use warp_model::hash::SplitMix;
use warp_model::{Currency, CustomerId, DeckId, E164, Nanos, TrunkId, VendorId, VendorTrunkId};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row, Terms};
use warp_policy::directory::{
    Customer, DirectoryBuilder, Limits, Margin, NumberFormat, Partition, PartitionVendor, Strategy,
    Transport, Trunk, Vendor, VendorTrunk,
};
use warp_policy::number_plan::NpaClass;
use warp_policy::{Code, NumberPlan, Rounding};

/// The codes that decks are drawn from.
#[derive(Clone, Debug)]
pub struct World {
    /// US exchanges as `NPANXX` (0 to 999,999).
    pub exchanges: Vec<u32>,
    /// All codes that there are, sorted.
    pub codes: Vec<Code>,
    /// Those outside country code 1.
    pub abroad: Vec<Code>,
}

impl World {
    /// A world of about `size` codes: US and Canadian exchanges, a fiftieth abroad, the rest thousands blocks. When `size`
    /// is smaller than the number of exchanges, some of those only.
    pub fn new(plan: &NumberPlan, size: usize, seed: u64) -> World {
        let mut rng = SplitMix::new(seed);
        let (mut us, mut canada) = (Vec::new(), Vec::new());
        for npa in 200..1_000u16 {
            let info = plan.npa(npa);
            if info.class != NpaClass::Geographic {
                continue;
            }
            for nxx in (200..1_000u32).filter(|n| n % 100 != 11) {
                let list = if info.us { &mut us } else { &mut canada };
                list.push(u32::from(npa) * 1_000 + nxx);
            }
        }
        let mut abroad = Vec::new();
        let countries = [
            "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47",
            "48", "49", "51", "52", "54", "55", "56", "57", "60", "61", "62", "63", "64", "65", "66", "7",
            "81", "82", "84", "86", "90", "91", "92", "94", "98", "212", "213", "216", "234", "254", "351",
            "352", "353", "358", "370", "380", "420", "421", "502", "503", "506", "507", "591", "593", "595",
            "598", "852", "880", "886", "961", "962", "965", "966", "971", "972", "974",
        ];
        for c in countries {
            abroad.push(c.parse::<Code>().unwrap_or_default());
        }
        while abroad.len() < size / 50 {
            let country = abroad[rng.below(countries.len() as u64) as usize];
            let more = 1 + rng.below(4) as usize;
            let digits = rng.below(10u64.pow(more as u32));
            let value = country.value() * 10u64.pow(more as u32) + digits;
            abroad.push(Code::of(value, country.len() + more));
            if abroad.len() == size / 50 {
                abroad.sort_unstable();
                abroad.dedup();
                // Countries are drawn from the first entries: keep them there.
                abroad.sort_by_key(|c| (c.len() > 3 || !countries.contains(&c.to_string().as_str()), *c));
            }
        }
        let exchanges: Vec<u32> = if us.len() + canada.len() + abroad.len() > size {
            let want = size.saturating_sub(abroad.len());
            sample(&us, want, &mut rng)
        } else {
            us
        };
        let mut codes: Vec<Code> = exchanges.iter().map(|n| Code::npanxx(*n)).collect();
        codes.extend(&abroad);
        if codes.len() + canada.len() <= size {
            codes.extend(canada.iter().map(|n| Code::npanxx(*n)));
        }
        let blocks: Vec<u64> = (0..exchanges.len() as u64 * 10).collect();
        for b in sample(&blocks, size.saturating_sub(codes.len()), &mut rng) {
            let exchange = exchanges[(b / 10) as usize];
            codes.push(Code::of(10_000_000 + u64::from(exchange) * 10 + b % 10, 8));
        }
        codes.sort_unstable();
        codes.dedup();
        World { exchanges, codes, abroad }
    }

    /// Vendor `n`'s deck: exactly `rows` of the codes (all when there are fewer), prices around a vendor's own level; one
    /// deck in eight rows abroad bills by 60/60, one in a hundred has a set-up fee.
    pub fn vendor_deck(&self, n: u64, rows: usize, seed: u64) -> Arc<Deck> {
        let mut rng = SplitMix::new(seed ^ (n + 1).wrapping_mul(0xA076_1D64_78BD_642F));
        let level = 700 + rng.below(600);
        let codes = sample(&self.codes, rows, &mut rng);
        let rows = codes
            .into_iter()
            .map(|code| {
                let home = code.npa().is_some();
                let base = if home { 5_000 + rng.below(35_000) } else { 50_000 + rng.below(3_000_000) };
                let inter = (base * level / 1_000) as i64 * 100;
                let (intra, other) = if home {
                    (inter + rng.below(4_000) as i64 * 1_000, inter + rng.below(6_000) as i64 * 1_000)
                } else {
                    (inter, inter)
                };
                let mut terms = if home {
                    Terms::of(6, 6)
                } else if rng.below(8) == 0 {
                    Terms::of(60, 60)
                } else {
                    Terms::of(1, 1)
                };
                if !home && rng.below(100) == 0 {
                    terms.setup_fee = Nanos(1_000_000);
                }
                Row {
                    code,
                    rates: [Nanos(inter), Nanos(intra), Nanos(other)],
                    terms,
                    from: None,
                    until: None,
                    blocked: false,
                }
            })
            .collect();
        deck(n as u128 + 1, format!("vendor {n}"), rows)
    }

    /// A customer's deck: prices by area code at home and by country abroad.
    pub fn sell_deck(&self, seed: u64) -> Arc<Deck> {
        let mut rng = SplitMix::new(seed);
        let mut heads: Vec<Code> = self
            .codes
            .iter()
            .map(|c| if c.npa().is_some() { c.head(4) } else { *c })
            .filter(|c| c.npa().is_some() || c.len() <= 3)
            .collect();
        heads.sort_unstable();
        heads.dedup();
        let rows = heads
            .into_iter()
            .map(|code| {
                let base =
                    if code.npa().is_some() { 8_000_000 + rng.below(2_000_000) as i64 } else { 500_000_000 };
                Row {
                    code,
                    rates: [Nanos(base), Nanos(base * 3 / 2), Nanos(base * 3 / 2)],
                    terms: if code.npa().is_some() { Terms::of(6, 6) } else { Terms::of(1, 1) },
                    from: None,
                    until: None,
                    blocked: false,
                }
            })
            .collect();
        deck(SELL, "sell".into(), rows)
    }

    /// A number to call: `domestic` in a hundred at home.
    pub fn called(&self, domestic: u64, rng: &mut SplitMix) -> E164 {
        let text = if rng.below(100) < domestic || self.abroad.is_empty() {
            let n = self.exchanges[rng.below(self.exchanges.len() as u64) as usize];
            format!("1{n:06}{:04}", rng.below(10_000))
        } else {
            let c = self.abroad[rng.below(self.abroad.len() as u64) as usize];
            format!("{c}{:08}", rng.below(100_000_000))
        };
        let text = text.get(..text.len().min(15)).unwrap_or("12025550100");
        text.parse().unwrap_or_else(|_| self.caller(rng))
    }

    /// A number to call from.
    pub fn caller(&self, rng: &mut SplitMix) -> E164 {
        let n = self.exchanges[rng.below(self.exchanges.len() as u64) as usize];
        format!("1{n:06}{:04}", rng.below(10_000))
            .parse()
            .unwrap_or_else(|_| unreachable!("eleven digits are a number"))
    }
}

const SELL: u128 = 1 << 64;

fn deck(id: u128, name: String, rows: Vec<Row>) -> Arc<Deck> {
    let meta =
        DeckMeta { id: DeckId::from_u128(id), version: 1, name, kind: DeckKind::Us, currency: Currency::USD };
    match Deck::new(meta, rows) {
        Ok(d) => Arc::new(d),
        Err(e) => unreachable!("a generated deck is valid: {e}"),
    }
}

/// `want` of the items in order, each equally likely.
fn sample<T: Copy>(items: &[T], want: usize, rng: &mut SplitMix) -> Vec<T> {
    let mut out = Vec::with_capacity(want.min(items.len()));
    for (i, item) in items.iter().enumerate() {
        let missing = want.saturating_sub(out.len()) as u64;
        if rng.below((items.len() - i) as u64) < missing {
            out.push(*item);
        }
    }
    out
}

/// One customer with one trunk; `vendors` vendors with one trunk each, all in one partition by cost.
pub fn directory(vendors: u64, max_candidates: u8) -> DirectoryBuilder {
    let customer = CustomerId::from_u128(1);
    let vendor_id = |n: u64| VendorId::from_u128(u128::from(n) + 1);
    DirectoryBuilder {
        customers: vec![Customer {
            id: customer,
            name: "customer".into(),
            enabled: true,
            limits: Limits::default(),
            utc_offset_min: 0,
            inbound: Default::default(),
        }],
        trunks: vec![Trunk {
            id: TrunkId::from_u128(1),
            customer,
            name: "trunk".into(),
            enabled: true,
            limits: Limits::default(),
            destinations: Default::default(),
            sell_decks: vec![DeckId::from_u128(SELL)],
            partition: "all".into(),
            acl: Vec::new(),
            digest: Vec::new(),
            media_ips: Vec::new(),
            dial: Default::default(),
            caller: Default::default(),
            rounding: Rounding::default(),
            deliver: Default::default(),
            payer: None,
            headers: Default::default(),
        }],
        vendors: (0..vendors)
            .map(|n| Vendor {
                id: vendor_id(n),
                name: format!("vendor {n}"),
                enabled: true,
                buy_decks: vec![DeckId::from_u128(u128::from(n) + 1)],
                interconnection: None,
                rounding: Rounding::default(),
                inbound: Default::default(),
            })
            .collect(),
        vendor_trunks: (0..vendors)
            .map(|n| VendorTrunk {
                id: VendorTrunkId::from_u128(u128::from(n) + 1),
                vendor: vendor_id(n),
                name: format!("vendor trunk {n}"),
                enabled: true,
                hosts: Vec::new(),
                addresses: vec![std::net::SocketAddr::from(([127, 0, 0, 1], 5060))],
                transport: Transport::Udp,
                limits: Limits { channels: Some(10_000), cps: Some(1_000), ..Limits::default() },
                credentials: None,
                tech_prefix: String::new(),
                number_format: NumberFormat::PlusE164,
                media_ips: Vec::new(),
                signalling_ips: Vec::new(),
                headers: warp_policy::directory::HeaderTerms::of_a_carrier(),
                follow_redirects: false,
                allow_refer: false,
                inbound_networks: Vec::new(),
                priority: 0,
                weight: 1,
            })
            .collect(),
        partitions: vec![Partition {
            name: "all".into(),
            strategy: Strategy::Cost,
            vendors: (0..vendors)
                .map(|n| PartitionVendor { vendor: vendor_id(n), priority: 0, weight: 1 })
                .collect(),
            max_candidates,
            expected_duration_s: 180,
            margin: Margin::default(),
            loss_ok: false,
        }],
        ..DirectoryBuilder::default()
    }
}
