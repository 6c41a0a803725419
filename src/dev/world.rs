//! The demo world's rows, made through the public API like anybody's: found by name first, so that a start after a kill in
//! the middle of seeding goes on where it stopped.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::decks::{self, Deck};
use super::secrets::Secrets;
use crate::cli::Failure;
use crate::cli::client::Client;

/// A vendor of the demo world.
pub(super) struct Vendor {
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    /// Address of its user agent; port 5070 when it is free.
    pub(super) ip: [u8; 4],
    pub(super) deck: Deck,
}

/// alpha is good and mostly cheapest, beta is good, gamma is cheap and fails, delta is slow.
pub(super) const VENDORS: [Vendor; 4] = [
    Vendor {
        slug: "alpha",
        name: "Alpha Carrier",
        ip: [127, 0, 1, 1],
        deck: Deck { name: "Alpha", level: 100, salt: 1 },
    },
    Vendor {
        slug: "beta",
        name: "Beta Networks",
        ip: [127, 0, 1, 2],
        deck: Deck { name: "Beta", level: 106, salt: 2 },
    },
    Vendor {
        slug: "gamma",
        name: "Gamma Bargain",
        ip: [127, 0, 1, 3],
        deck: Deck { name: "Gamma", level: 101, salt: 3 },
    },
    Vendor {
        slug: "delta",
        name: "Delta Slow",
        ip: [127, 0, 1, 4],
        deck: Deck { name: "Delta", level: 108, salt: 4 },
    },
];

/// What customers pay by.
const SELL: Deck = Deck { name: "Retail", level: 190, salt: 9 };

/// A trunk of the demo world.
pub(super) struct Trunk {
    pub(super) customer: &'static str,
    pub(super) name: &'static str,
    /// Source address of its calls.
    pub(super) ip: [u8; 4],
    /// Digest user; without one the address is in the trunk's ACL.
    pub(super) user: Option<&'static str>,
    /// Caller number of its calls.
    pub(super) caller: &'static str,
    pub(super) channels: u32,
    pub(super) cps: u32,
}

const fn trunk(
    customer: &'static str,
    name: &'static str,
    ip: [u8; 4],
    user: Option<&'static str>,
    caller: &'static str,
) -> Trunk {
    Trunk { customer, name, ip, user, caller, channels: 2_000, cps: 200 }
}

/// Three customers with two trunks each, by IP ACL and by digest.
pub(super) const TRUNKS: [Trunk; 6] = [
    trunk("Acme Voice", "acme-east", [127, 0, 2, 1], None, "+12025550100"),
    trunk("Acme Voice", "acme-pbx", [127, 0, 2, 2], Some("demo1001"), "+12125550111"),
    trunk("Bluebird Telecom", "bluebird-core", [127, 0, 2, 3], None, "+13055550120"),
    trunk("Bluebird Telecom", "bluebird-west", [127, 0, 2, 4], None, "+17135550133"),
    trunk("Cobalt Cloud", "cobalt-app", [127, 0, 2, 5], Some("demo1002"), "+16175550140"),
    trunk("Cobalt Cloud", "cobalt-ivr", [127, 0, 2, 6], None, "+13125550155"),
];

/// What the rest of the dev world needs to know of the rows.
pub(super) struct Seeded {
    /// Id of the first customer.
    pub(super) customer: String,
    /// Id of its first trunk.
    pub(super) trunk: String,
}

/// Makes what is missing; `vendors` are the addresses of the vendors' agents.
pub(super) fn seed(
    client: &Client,
    secrets: &mut Secrets,
    vendors: &[SocketAddr],
) -> Result<Seeded, Failure> {
    let sell = deck_pair(client, &SELL)?;
    let mut partition = Vec::new();
    for (vendor, at) in VENDORS.iter().zip(vendors) {
        let decks = deck_pair(client, &vendor.deck)?;
        let body = json!({"slug": vendor.slug, "name": vendor.name, "buy_deck_ids": decks});
        let id = ensure(client, "/admin/vendors", "slug", vendor.slug, "/admin/vendors", body)?;
        let trunks = format!("/admin/vendor-trunks?vendor={id}");
        let body = json!({"name": "main", "addresses": [at.to_string()], "channels": 5_000, "cps": 1_000});
        let trunk = ensure(client, &trunks, "name", "main", &format!("/admin/vendors/{id}/trunks"), body)?;
        let at_trunk = format!("/admin/vendor-trunks/{trunk}");
        if client.get(&at_trunk)?["addresses"] != json!([at.to_string()]) {
            client.json("PATCH", &at_trunk, &json!({"addresses": [at.to_string()]}))?;
        }
        partition.push(json!({"vendor_id": id}));
    }
    let body = json!({"name": "Standard", "strategy": "cost", "max_candidates": 4, "vendors": partition});
    let partition = ensure(client, "/admin/partitions", "name", "Standard", "/admin/partitions", body)?;
    let mut first = None;
    for t in &TRUNKS {
        let body =
            json!({"name": t.customer, "sell_deck_ids": sell, "partition_id": partition, "channels": 4_000});
        let customer = ensure(client, "/admin/customers", "name", t.customer, "/admin/customers", body)?;
        let body = json!({
            "name": t.name, "channels": t.channels, "cps": t.cps,
            "destinations": ["domestic", "toll_free", "canada", "us_territory", "international"],
        });
        let list = format!("/admin/trunks?customer={customer}");
        let id = ensure(client, &list, "name", t.name, &format!("/admin/customers/{customer}/trunks"), body)?;
        match t.user {
            None => {
                let ip = std::net::IpAddr::from(t.ip).to_string();
                let ips = format!("/admin/trunks/{id}/ips");
                let known = client.page(&ips)?.items;
                if !known.iter().any(|k| k["address"].as_str().is_some_and(|a| a.starts_with(&ip))) {
                    client.json("POST", &ips, &json!({"address": ip}))?;
                }
            }
            Some(user) => credential(client, secrets, &id, user)?,
        }
        first.get_or_insert(Seeded { customer, trunk: id });
    }
    let seeded = first.ok_or_else(|| Failure::new("the demo world has no trunk"))?;
    customer_key(client, secrets, &seeded.customer)?;
    Ok(seeded)
}

/// Makes the caller number of each trunk one that can be called: the first vendor brings its calls, the trunk's own agent takes them.
/// `phones` are the addresses of those agents, `brings` that of the vendor's.
pub(super) fn numbers(client: &Client, phones: &[SocketAddr], brings: SocketAddr) -> Result<(), Failure> {
    let put = |path: &str, body: Value| client.json("PUT", path, &body);
    let found = |list: &str, field: &str, value: &str| -> Result<String, Failure> {
        let row = client.find(list, |row| row[field] == value)?;
        row.as_ref().map_or_else(|| Err(Failure::new(format!("{value} is not in {list}"))), id_of)
    };
    let vendor = found("/admin/vendors", "slug", VENDORS[0].slug)?;
    let terms = |deck: String| json!({"deck_ids": [deck]});
    put(&format!("/admin/vendors/{vendor}/inbound"), terms(inbound_deck(client, "Inbound cost", "0.0012")?))?;
    let trunk = found(&format!("/admin/vendor-trunks?vendor={vendor}"), "name", "main")?;
    let networks = json!({"networks": [brings.ip().to_string()]});
    put(&format!("/admin/vendor-trunks/{trunk}/inbound"), networks)?;
    let sell = inbound_deck(client, "Inbound retail", "0.004")?;
    for (t, phone) in TRUNKS.iter().zip(phones) {
        let customer = found("/admin/customers", "name", t.customer)?;
        put(&format!("/admin/customers/{customer}/inbound"), terms(sell.clone()))?;
        let trunk = found(&format!("/admin/trunks?customer={customer}"), "name", t.name)?;
        let addresses = json!({"addresses": [phone.to_string()]});
        put(&format!("/admin/trunks/{trunk}/inbound"), addresses)?;
        let list = format!("/admin/numbers?number={}", t.caller.replace('+', "%2B"));
        let body = json!({"number": t.caller, "vendor_id": vendor, "customer_id": customer});
        let number = ensure(client, &list, "number", t.caller, "/admin/numbers", body)?;
        let path = format!("/admin/numbers/{number}");
        let now = client.get(&path)?;
        // Whoever has led it elsewhere since, or taken it back, meant it.
        if now["customer_id"] == customer.as_str() && now["targets"] == json!([]) {
            client.json("PATCH", &path, &json!({"targets": [{"trunk_id": trunk}]}))?;
        }
    }
    Ok(())
}

/// What messages of the demo world go by: a bind to the twin carrier, prices, a route, and an SMPP account for each customer.
pub(super) fn messaging(client: &Client, secrets: &mut Secrets, twin: SocketAddr) -> Result<(), Failure> {
    let vendor = client.find("/admin/vendors", |row| row["slug"] == VENDORS[0].slug)?;
    let vendor = id_of(&vendor.ok_or_else(|| Failure::new("the demo world has no vendor"))?)?;
    // Two connections: one of them dies now and then.
    let addresses = json!([twin.to_string(), twin.to_string()]);
    let body = json!({
        "name": "twin", "addresses": addresses, "system_id": super::carrier::SYSTEM_ID, "password": "demo",
        "message_ids": "hex_then_decimal",
    });
    let list = format!("/admin/vendor-binds?vendor={vendor}");
    let bind = ensure(client, &list, "name", "twin", &format!("/admin/vendors/{vendor}/binds"), body)?;
    let at_bind = format!("/admin/vendor-binds/{bind}");
    if client.get(&at_bind)?["addresses"] != addresses {
        client.json("PATCH", &at_bind, &json!({"addresses": addresses}))?;
    }
    for (list, more, amount) in [
        (format!("/admin/message-prices?vendor={vendor}"), json!({"vendor_id": vendor}), "0.0031"),
        ("/admin/message-prices".to_owned(), json!({}), "0.0075"),
    ] {
        for code in ["1", "44"] {
            let there =
                client.find(&list, |row| row["code"] == code && row["vendor_id"] == more["vendor_id"])?;
            if there.is_none() {
                let mut body = json!({"code": code, "price": {"amount": amount, "currency": "USD"}});
                if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
                    body.extend(more.clone());
                }
                client.json("POST", "/admin/message-prices", &body)?;
            }
        }
    }
    if client
        .find("/admin/message-routes", |row| row["direction"] == "from_customer" && row["place"] == 0)?
        .is_none()
    {
        let body = json!({"direction": "from_customer", "place": 0, "targets": [bind], "reason": "demo"});
        client.json("POST", "/admin/message-routes", &body)?;
    }
    let mut customers: Vec<&str> = TRUNKS.iter().map(|t| t.customer).collect();
    customers.dedup();
    for (n, name) in (1..).zip(customers) {
        let customer = client.find("/admin/customers", |row| row["name"] == name)?;
        let customer = id_of(&customer.ok_or_else(|| Failure::new(format!("there is no customer {name}")))?)?;
        let system_id = format!("demo{n}");
        let list = format!("/admin/smpp-accounts?customer={customer}");
        if client.find(&list, |row| row["system_id"] == system_id.as_str())?.is_none() {
            let password = secrets.smpp_password(&system_id)?;
            let body = json!({"name": "demo", "system_id": system_id, "password": password});
            client.json("POST", &format!("/admin/customers/{customer}/smpp-accounts"), &body)?;
        }
    }
    Ok(())
}

/// A deck with one price for the area codes of the numbers, in force.
fn inbound_deck(client: &Client, name: &str, rate: &str) -> Result<String, Failure> {
    let body = json!({"name": name, "kind": "us"});
    let id = ensure(client, "/admin/rate-decks", "name", name, "/admin/rate-decks", body)?;
    if client.get(&format!("/admin/rate-decks/{id}"))?["active_version"].is_null() {
        let mut csv = String::from("Prefix,Interstate,Intrastate,Indeterminate,Increment\n");
        for t in &TRUNKS {
            csv.push_str(&format!("{},{rate},{rate},{rate},6/6\n", t.caller.get(1..5).unwrap_or_default()));
        }
        let path = format!("/admin/rate-decks/{id}/versions?activate=true&source_name=demo-inbound.csv");
        client.csv(&path, csv)?;
    }
    Ok(id)
}

/// One customer with a key, nothing else.
pub(super) fn bare(client: &Client, secrets: &mut Secrets) -> Result<String, Failure> {
    let body = json!({"name": "Launch"});
    let customer = ensure(client, "/admin/customers", "name", "Launch", "/admin/customers", body)?;
    customer_key(client, secrets, &customer)?;
    Ok(customer)
}

/// The customer's key is made once; its secret is shown once and kept in `secrets.toml`.
fn customer_key(client: &Client, secrets: &mut Secrets, customer: &str) -> Result<(), Failure> {
    if secrets.get("api", "customer_key").is_some()
        && secrets.get("api", "customer").as_deref() == Some(customer)
    {
        return Ok(());
    }
    let made = client.json("POST", &format!("/admin/customers/{customer}/keys"), &json!({"name": "demo"}))?;
    let secret = made["secret"].as_str().ok_or_else(|| Failure::new("the API gave no key"))?;
    secrets.set("api", "customer", customer)?;
    secrets.set("api", "customer_key", secret)
}

/// The digest user with the password of `secrets.toml`, set anew when the file was lost.
fn credential(client: &Client, secrets: &mut Secrets, trunk: &str, user: &str) -> Result<(), Failure> {
    let list = format!("/admin/trunks/{trunk}/credentials");
    let exists = client.page(&list)?.items.iter().any(|c| c["username"] == user);
    if exists && secrets.get("sip", user).is_some() {
        return Ok(());
    }
    if exists {
        client.delete(&format!("{list}/{user}"))?;
    }
    let password = secrets.password("sip", user)?;
    client.json("POST", &list, &json!({"username": user, "password": password}))?;
    Ok(())
}

/// A US deck and a world deck, with their first version in force.
fn deck_pair(client: &Client, deck: &Deck) -> Result<[String; 2], Failure> {
    let one = |kind: &str, csv: fn(&Deck) -> String| -> Result<String, Failure> {
        let name = format!("{} {}", deck.name, if kind == "us" { "US" } else { "A-Z" });
        let body = json!({"name": name, "kind": kind});
        let id = ensure(client, "/admin/rate-decks", "name", &name, "/admin/rate-decks", body)?;
        if client.get(&format!("/admin/rate-decks/{id}"))?["active_version"].is_null() {
            let path = format!("/admin/rate-decks/{id}/versions?activate=true&source_name=demo-{kind}.csv");
            client.csv(&path, csv(deck))?;
        }
        Ok(id)
    };
    Ok([one("us", decks::us)?, one("az", decks::world)?])
}

/// Id of the row whose `field` is `value`, made from `body` when there is none.
fn ensure(
    client: &Client,
    list: &str,
    field: &str,
    value: &str,
    create: &str,
    body: Value,
) -> Result<String, Failure> {
    match client.find(list, |row| row[field] == value)? {
        Some(row) => id_of(&row),
        None => id_of(&client.json("POST", create, &body)?),
    }
}

fn id_of(row: &Value) -> Result<String, Failure> {
    let id = row["id"].as_str();
    id.map(str::to_owned).ok_or_else(|| Failure::new(format!("the API gave no id: {row}")))
}
