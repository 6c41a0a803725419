//! Each rule of a directory at its limit and one step beyond, and every lookup with its own value.

mod world;

use std::net::SocketAddr;

use warp_model::{CustomerId, Nanos, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_policy::directory::*;
use world::*;

/// The errors of the usual rows with one change.
fn errors(change: impl FnOnce(&mut DirectoryBuilder)) -> Vec<String> {
    let mut r = rows();
    change(&mut r);
    match r.build() {
        Ok(_) => Vec::new(),
        Err(list) => list.iter().map(ToString::to_string).collect(),
    }
}

fn block(id: &str, vendor: u128) -> Block {
    Block {
        id: id.into(),
        vendor: VendorId::from_u128(vendor),
        code: None,
        from: None,
        until: None,
        reason: "dispute".into(),
    }
}

#[test]
fn figures_at_their_limits_and_one_beyond() {
    type Set = fn(&mut DirectoryBuilder, u32);
    let rules: [(Set, &[u32], &[u32], &str); 5] = [
        (|r, n| r.trunks[0].rounding.places = n as u8, &[0, 9], &[10], "9 decimal places"),
        (|r, n| r.partitions[0].max_candidates = n as u8, &[1, 8], &[0, 9], "1 to 8 tries"),
        (|r, n| r.partitions[0].expected_duration_s = n, &[1, 86_400], &[0, 86_401], "1 second to a day"),
        (|r, n| r.partitions[0].margin.bps = n, &[0, 10_000], &[10_001], "hundredths of a percent"),
        (|r, n| r.partitions[0].vendors[1].weight = n as u16, &[1, 65_535], &[0], "weights are at least 1"),
    ];
    for (set, good, bad, words) in rules {
        for n in good {
            assert_eq!(errors(|r| set(r, *n)), [""; 0], "{words}: {n}");
        }
        for n in bad {
            let found = errors(|r| set(r, *n));
            assert!(found.len() == 1 && found[0].contains(words), "{n}: {found:?}");
        }
    }
}

#[test]
fn a_partition_has_at_most_1024_vendors_and_a_directory_65535() {
    let with = |vendors: u128, in_partition: u128| {
        errors(|r| {
            r.vendors.extend((4..=vendors).map(|n| vendor(n, "v", &[])));
            r.partitions[0] = partition(&(1..=in_partition).collect::<Vec<_>>());
        })
    };
    assert_eq!(with(1_025, 1_024), [""; 0]);
    assert_eq!(with(1_025, 1_025), ["partition premium: at most 1,024 vendors"]);
    assert_eq!(with(65_535, 3), [""; 0]);
    assert_eq!(with(65_536, 3), ["directory: more than 65,535 vendors or partitions"]);
}

#[test]
fn names_that_point_nowhere_or_stand_twice() {
    let nobody = VendorId::from_u128(77);
    let unknown = |change: fn(&mut DirectoryBuilder)| errors(change).join("; ");
    assert!(unknown(|r| r.vendor_trunks[0].vendor = VendorId::from_u128(77)).contains("unknown vendor"));
    assert!(
        unknown(|r| r.partitions[0].vendors[0].vendor = VendorId::from_u128(77)).contains("unknown or twice")
    );
    assert!(
        unknown(|r| r.partitions[0].vendors[1].vendor = r.partitions[0].vendors[0].vendor)
            .contains("unknown or twice")
    );
    let of_block = errors(|r| r.blocks.push(block("b1", 77)));
    assert_eq!(of_block, [format!("block b1: unknown vendor {nobody}")]);
    let of_route = errors(|r| r.emergency_route.push(VendorTrunkId::from_u128(9)));
    assert!(of_route[0].starts_with("emergency route: unknown vendor trunk"), "{of_route:?}");
    // Each kind of row twice.
    type Double = fn(&mut DirectoryBuilder);
    let doubles: [Double; 6] = [
        |r| r.customers.push(r.customers[0].clone()),
        |r| r.trunks.push(Trunk { acl: vec![], ..r.trunks[0].clone() }),
        |r| r.vendors.push(r.vendors[0].clone()),
        |r| r.vendor_trunks.push(r.vendor_trunks[0].clone()),
        |r| r.partitions.push(r.partitions[0].clone()),
        |r| r.blocks = vec![block("b1", 1), block("b1", 1)],
    ];
    for (i, double) in doubles.into_iter().enumerate() {
        let found = errors(double);
        assert!(found.len() == 1 && found[0].ends_with(": twice"), "{i}: {found:?}");
    }
}

#[test]
fn digest_users_have_a_name_of_their_own() {
    let user = |name: &str| DigestUser { username: name.into(), ha1: Ha1s::default() };
    assert_eq!(errors(|r| r.trunks[0].digest = vec![user("a"), user("b")]), [""; 0]);
    for names in [["", "b"], ["a", "a"]] {
        let found = errors(|r| r.trunks[0].digest = names.map(user).to_vec());
        assert!(found.len() == 1 && found[0].contains("twice or empty"), "{names:?}: {found:?}");
    }
}

#[test]
fn dial_prefixes_are_1_to_16_digits_stars_and_hashes() {
    for good in ["9", "*67#", "0123456789012345"] {
        assert_eq!(errors(|r| r.trunks[0].dial.strip = vec![good.into()]), [""; 0], "{good}");
        assert_eq!(errors(|r| r.trunks[0].dial.international = vec![good.into()]), [""; 0], "{good}");
    }
    for bad in ["", "01234567890123456", "+", "9a", "9 "] {
        let strip = errors(|r| r.trunks[0].dial.strip = vec![bad.into()]);
        let international = errors(|r| r.trunks[0].dial.international = vec![bad.into()]);
        for found in [strip, international] {
            assert!(found.len() == 1 && found[0].contains("not a dial prefix"), "{bad}: {found:?}");
        }
    }
}

#[test]
fn addresses_that_cannot_be_sent_to() {
    for bad in ["0.0.0.0:5060", "[::]:5060", "224.0.0.1:5060", "198.51.100.1:0"] {
        let address: SocketAddr = bad.parse().unwrap();
        let found = errors(|r| r.vendor_trunks[0].addresses = vec![address]);
        assert!(found.len() == 1 && found[0].contains("cannot be sent to"), "{bad}: {found:?}");
    }
}

/// Three trunks of two vendors, rows out of order.
fn directory() -> Directory {
    let mut r = rows();
    r.customers.push(Customer { id: CustomerId::from_u128(2), name: "second".into(), ..customer() });
    r.trunks.push(Trunk {
        id: TrunkId::from_u128(2),
        customer: CustomerId::from_u128(2),
        name: "other".into(),
        partition: "basic".into(),
        acl: vec!["203.0.113.7".parse().unwrap()],
        ..trunk()
    });
    r.partitions.push(Partition { name: "basic".into(), ..partition(&[1]) });
    // Of alpha: trunk 1 (priority 0, weight 1), 4 (priority 0, weight 5), 5 (off), 6 (priority 1, weight 9).
    r.vendor_trunks.push(VendorTrunk { weight: 5, ..vendor_trunk(4, 1) });
    r.vendor_trunks.push(VendorTrunk { enabled: false, ..vendor_trunk(5, 1) });
    r.vendor_trunks.push(VendorTrunk { priority: 1, weight: 9, ..vendor_trunk(6, 1) });
    // Alpha and beta share an address; alpha signals from another node too.
    r.vendor_trunks[1].addresses.push("198.51.100.1:5070".parse().unwrap());
    r.vendor_trunks[0].signalling_ips = vec!["::ffff:198.51.100.99".parse().unwrap()];
    r.blocks = vec![block("b2", 2), block("b1", 2), block("b3", 3)];
    r.emergency_route = [3, 1].map(VendorTrunkId::from_u128).to_vec();
    r.vendor_trunks.reverse();
    r.trunks.reverse();
    r.customers.reverse();
    r.build().unwrap()
}

#[test]
fn every_lookup_gives_its_own_row() {
    let d = directory();
    for n in [1u128, 2] {
        let (customer, trunk) = (CustomerId::from_u128(n), TrunkId::from_u128(n));
        let ix = d.customer_ix(customer).unwrap();
        assert_eq!((ix, d.customer(ix).unwrap().id), (CustomerIx(n as u32 - 1), customer));
        let ix = d.trunk_ix(trunk).unwrap();
        assert_eq!((ix, d.trunk(ix).unwrap().id), (TrunkIx(n as u32 - 1), trunk));
        assert_eq!(d.customer_of(ix), d.customer_ix(customer));
        let name = ["premium", "basic"][n as usize - 1];
        assert_eq!(d.partition(d.partition_of(ix).unwrap()).unwrap().name, name);
    }
    for n in [1u128, 2, 3] {
        let ix = d.vendor_ix(VendorId::from_u128(n)).unwrap();
        assert_eq!((ix.at(), d.vendor(ix).unwrap().id), (n as usize - 1, VendorId::from_u128(n)));
    }
    for (n, vendor) in [(1u128, 1u128), (2, 2), (3, 3), (4, 1), (5, 1), (6, 1)] {
        let ix = d.vendor_trunk_ix(VendorTrunkId::from_u128(n)).unwrap();
        assert_eq!(d.vendor_trunk(ix).unwrap().id, VendorTrunkId::from_u128(n));
        assert_eq!(d.vendor_of(ix), d.vendor_ix(VendorId::from_u128(vendor)));
    }
    assert_eq!(d.customer_ix(CustomerId::from_u128(3)), None);
    assert_eq!(d.trunk_ix(TrunkId::from_u128(3)), None);
    assert_eq!(d.vendor_ix(VendorId::from_u128(4)), None);
    assert_eq!(d.vendor_trunk_ix(VendorTrunkId::from_u128(7)), None);
    assert_eq!((d.customers().count(), d.trunks().count()), (2, 2));
    assert_eq!((d.vendors().count(), d.vendor_trunks().count()), (3, 6));
    assert_eq!(d.trunks().map(|(ix, t)| (ix.0, t.id.as_u128())).collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    assert_eq!(d.trunk_by_ip("203.0.113.7".parse().unwrap()), Some(TrunkIx(1)));
}

#[test]
fn trunks_of_a_vendor_come_by_priority_then_weight_and_only_when_enabled() {
    let d = directory();
    let of = |n: u128| -> Vec<u128> {
        let ix = d.vendor_ix(VendorId::from_u128(n)).unwrap();
        d.trunks_of_vendor(ix).iter().map(|t| d.vendor_trunk(*t).unwrap().id.as_u128()).collect()
    };
    assert_eq!((of(1), of(2)), (vec![4, 1, 6], vec![2]));
    let blocks = |n: u128| -> Vec<&str> {
        let ix = d.vendor_ix(VendorId::from_u128(n)).unwrap();
        d.blocks_of_vendor(ix).map(|b| b.id.as_str()).collect()
    };
    assert_eq!((blocks(1), blocks(2), blocks(3)), (vec![], vec!["b1", "b2"], vec!["b3"]));
    let route: Vec<u128> =
        d.emergency_route().iter().map(|t| d.vendor_trunk(*t).unwrap().id.as_u128()).collect();
    assert_eq!(route, [3, 1]);
}

#[test]
fn vendors_are_known_by_every_address_of_theirs() {
    let d = directory();
    let by = |ip: &str| -> Vec<u128> {
        let list = d.vendor_trunks_by_ip(ip.parse().unwrap());
        list.iter().map(|t| d.vendor_trunk(*t).unwrap().id.as_u128()).collect()
    };
    assert_eq!(by("198.51.100.1"), [1, 2]);
    assert_eq!(by("::ffff:198.51.100.1"), by("198.51.100.1"), "written as IPv6");
    assert_eq!((by("198.51.100.99"), by("198.51.100.2")), (vec![1], vec![2]));
    assert_eq!(by("198.51.100.7"), [0; 0]);
    assert!(d.is_vendor_ip("198.51.100.99".parse().unwrap()));
    assert!(!d.is_vendor_ip("198.51.100.7".parse().unwrap()));
    let addresses: Vec<String> = d.vendor_addresses().map(|a| a.to_string()).collect();
    assert_eq!(addresses.len(), 7);
    assert_eq!(addresses[..3], ["198.51.100.1:5060", "198.51.100.2:5060", "198.51.100.1:5070"]);
    let ix = d.vendor_trunk_ix(VendorTrunkId::from_u128(1)).unwrap();
    let alpha = d.vendor_trunk(ix).unwrap();
    for (ip, own) in [
        ("198.51.100.1", true),
        ("::ffff:198.51.100.1", true),
        ("198.51.100.99", true),
        ("198.51.100.2", false),
    ] {
        assert_eq!(alpha.is_own(ip.parse().unwrap()), own, "{ip}");
    }
}

#[test]
fn what_a_row_leaves_out_has_the_documented_value() {
    let vendor = VendorId::from_u128(1);
    let p: Partition =
        serde_json::from_value(serde_json::json!({"name": "p", "vendors": [{"vendor": vendor}]})).unwrap();
    assert_eq!((p.max_candidates, p.expected_duration_s, p.loss_ok), (4, 180, false));
    assert_eq!((p.strategy, p.margin), (Strategy::Cost, Margin::default()));
    assert_eq!((p.margin.per_min, p.margin.bps, p.margin.currency), (Nanos(0), 0, warp_model::Currency::USD));
    assert_eq!((p.vendors[0].weight, p.vendors[0].priority), (1, 0));
    let t: VendorTrunk = serde_json::from_value(serde_json::json!({
        "id": VendorTrunkId::from_u128(1), "vendor": vendor, "name": "t", "enabled": true, "addresses": [],
        "credentials": {"username": "u", "password": "open sesame"},
    }))
    .unwrap();
    assert_eq!((t.weight, t.priority, t.follow_redirects, t.allow_refer), (1, 0, false, false));
    // Nodes need the secret; nothing that is printed shows it.
    let text = serde_json::to_string(&t).unwrap();
    assert!(text.contains("open sesame") && !format!("{t:?}").contains("sesame"), "{text}");
    let back: VendorTrunk = serde_json::from_str(&text).unwrap();
    assert_eq!(back, t);
    let ha1 = r#"{"realm":"r","md5":"0123","sha256":"4567"}"#;
    let keys: Ha1s = serde_json::from_str(ha1).unwrap();
    assert_eq!(serde_json::to_string(&keys).unwrap(), ha1);
    assert_eq!(keys.md5.unwrap().reveal(), "0123");
    assert_eq!(serde_json::to_string(&Ha1s::default()).unwrap(), r#"{"realm":""}"#);
}

#[test]
fn a_block_holds_from_its_first_to_before_its_last_moment() {
    let number = "14155550123".parse().unwrap();
    let mut b = block("b", 1);
    assert!(b.holds(number, Wall(i64::MIN)) && b.holds(number, Wall(i64::MAX)));
    (b.from, b.until) = (Some(Wall(10)), Some(Wall(20)));
    for (at, holds) in [(9, false), (10, true), (19, true), (20, false)] {
        assert_eq!(b.holds(number, Wall(at)), holds, "{at}");
    }
    b.code = Some("1415".parse().unwrap());
    assert!(b.holds(number, Wall(10)));
    b.code = Some("1416".parse().unwrap());
    assert!(!b.holds(number, Wall(10)));
}
