//! The file of `routes=FILE` (TOML): further vendors, accounts, groups and HTTP clients of the profile, and the routes between them.
//! `loadtests/README.md` has its keys. `warp route --sms` explains by the same file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::value::Datetime;
use warp_model::{Currency, Money, Nanos, Secret};
use warp_policy::messaging::calendar;
use warp_policy::messaging::{Filter, Kind, Pattern, Route};
use warp_smsc::{Account, Config, Destination, HttpClient, Vendor};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    vendor: Vec<VendorTable>,
    #[serde(default)]
    account: Vec<AccountTable>,
    #[serde(default)]
    http: Vec<HttpTable>,
    #[serde(default)]
    mt: Vec<RouteTable>,
    #[serde(default)]
    mo: Vec<RouteTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorTable {
    name: String,
    system_id: String,
    password: String,
    addresses: Vec<SocketAddr>,
    #[serde(default)]
    system_type: String,
    tls: Option<String>,
    window: Option<usize>,
    rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountTable {
    user: String,
    password: Option<String>,
    secret: Option<String>,
    group: Option<String>,
    rate: Option<u32>,
    sources: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTable {
    name: String,
    url: String,
    #[serde(default)]
    get: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    order: u16,
    kind: Option<Chosen>,
    to: Vec<String>,
    #[serde(default)]
    transparent: bool,
    user: Option<String>,
    group: Option<String>,
    connector: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    text: Option<String>,
    days: Option<[Datetime; 2]>,
    times: Option<[Datetime; 2]>,
    tag: Option<String>,
    #[serde(default)]
    cost: BTreeMap<String, Nanos>,
    rate: Option<Nanos>,
    currency: Option<Currency>,
    #[serde(default)]
    next_when_undelivered: bool,
    next_without_receipt_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Chosen {
    Static,
    Random,
    Failover,
    LeastCost,
}

/// Reads a file, and adds what it has to a configuration. Errors: what is wrong, and where.
pub(crate) fn read(path: &Path, config: &mut Config) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&text, config).map_err(|e| format!("{}: {e}", path.display()))
}

fn parse(text: &str, config: &mut Config) -> Result<(), String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    config.groups.extend(file.groups);
    for vendor in file.vendor {
        let mut added = Vendor::new(&vendor.name, &vendor.system_id, &vendor.password, vendor.addresses);
        added.reconnect_max = Duration::from_secs(1);
        (added.system_type, added.rate) = (vendor.system_type, vendor.rate);
        added.tls = vendor.tls;
        added.window = vendor.window.unwrap_or(added.window);
        config.vendors.push(added);
    }
    for account in file.account {
        let group = account.group.as_deref().map(|name| place(&config.groups, |g| g == name, "group", name));
        if account.password.is_some() == account.secret.is_some() {
            return Err(format!("account {:?} needs either a password or a secret", account.user));
        }
        let mut added = Account::new(&account.user, &account.password.unwrap_or_default());
        added.secret = account.secret.map(Secret::new);
        (added.rate, added.sources, added.group) = (account.rate, account.sources, group.transpose()?);
        config.accounts.push(added);
    }
    for client in file.http {
        config.http_clients.push(HttpClient { name: client.name, url: client.url, post: !client.get });
    }
    for table in file.mt {
        let vendor = |name: &str| vendor(config, name.strip_prefix("smppc(").map_or(name, closed));
        let route = route(config, &table, vendor)?;
        if route.order == 0 {
            config.mt_default = None;
        }
        config.mt.push(route);
    }
    for table in file.mo {
        let route = route(config, &table, |name| destination(config, name))?;
        if route.order == 0 {
            config.mo_default = None;
        }
        config.mo.push(route);
    }
    Ok(())
}

fn closed(name: &str) -> &str {
    name.strip_suffix(')').unwrap_or(name)
}

fn place<T>(all: &[T], is: impl Fn(&T) -> bool, what: &str, name: &str) -> Result<usize, String> {
    all.iter().position(is).ok_or_else(|| format!("there is no {what} {name:?}"))
}

pub(crate) fn vendor(config: &Config, name: &str) -> Result<usize, String> {
    place(&config.vendors, |v| v.name == name, "vendor", name)
}

pub(crate) fn account(config: &Config, name: &str) -> Result<usize, String> {
    place(&config.accounts, |a| a.system_id == name, "account", name)
}

/// `smpps(USER)` or `http(NAME)`, as Jasmin writes them.
fn destination(config: &Config, name: &str) -> Result<Destination, String> {
    if let Some(user) = name.strip_prefix("smpps(") {
        return account(config, closed(user)).map(Destination::Account);
    }
    if let Some(client) = name.strip_prefix("http(") {
        let client = closed(client);
        return place(&config.http_clients, |c| c.name == client, "HTTP client", client)
            .map(Destination::Http);
    }
    Err(format!("{name:?} is neither smpps(USER) nor http(NAME)"))
}

fn route<T: Copy>(
    config: &Config,
    table: &RouteTable,
    target: impl Fn(&str) -> Result<T, String>,
) -> Result<Route<T>, String> {
    let order = table.order;
    let of = |what: String| format!("route {order}: {what}");
    let targets = table.to.iter().map(|name| target(name)).collect::<Result<Vec<T>, _>>().map_err(of)?;
    let kind = match table.kind {
        None if targets.len() > 1 => {
            return Err(of("kind is needed: random, failover or least-cost".to_owned()));
        }
        None | Some(Chosen::Static) => Kind::Static,
        Some(Chosen::Random) => Kind::RandomRoundRobin,
        Some(Chosen::Failover) => Kind::Failover,
        Some(Chosen::LeastCost) => Kind::LeastCost,
    };
    let currency = table.currency.unwrap_or(Currency::USD);
    let mut route = Route::of(order, kind, targets, filters(config, table).map_err(of)?);
    if kind == Kind::LeastCost || !table.cost.is_empty() {
        for name in &table.to {
            let cost = table.cost.get(name).ok_or_else(|| of(format!("cost has no {name:?}")))?;
            route.costs.push(Money { amount: *cost, currency });
        }
    }
    route.rate = table.rate.map(|amount| Money { amount, currency });
    route.next_when_undelivered = table.next_when_undelivered;
    route.next_without_receipt = table.next_without_receipt_s.map(Duration::from_secs);
    Ok(route)
}

fn filters(config: &Config, table: &RouteTable) -> Result<Vec<Filter>, String> {
    let pattern = |text: &String| Pattern::new(text).map_err(|e| e.to_string());
    let mut all = Vec::new();
    if table.transparent {
        all.push(Filter::Transparent);
    }
    if let Some(name) = &table.user {
        all.push(Filter::User(account(config, name)?));
    }
    if let Some(name) = &table.group {
        all.push(Filter::Group(place(&config.groups, |g| g == name, "group", name)?));
    }
    if let Some(name) = &table.connector {
        all.push(Filter::Connector(vendor(config, name)?));
    }
    if let Some(text) = &table.source {
        all.push(Filter::Source(pattern(text)?));
    }
    if let Some(text) = &table.destination {
        all.push(Filter::Destination(pattern(text)?));
    }
    if let Some(text) = &table.text {
        all.push(Filter::Text(pattern(text)?));
    }
    if let Some([from, to]) = &table.days {
        all.push(Filter::Dates(day(from)?, day(to)?));
    }
    if let Some([from, to]) = &table.times {
        all.push(Filter::Times(second(from)?, second(to)?));
    }
    if let Some(tag) = &table.tag {
        all.push(Filter::Tag(tag.clone()));
    }
    Ok(all)
}

fn day(at: &Datetime) -> Result<i64, String> {
    match (at.date, at.time) {
        (Some(date), None) => Ok(calendar::days(date.year.into(), date.month.into(), date.day.into())),
        _ => Err(format!("days: {at} is no date such as 2026-11-30")),
    }
}

fn second(at: &Datetime) -> Result<u32, String> {
    match (at.date, at.time) {
        (None, Some(time)) => {
            let second = time.second;
            Ok(u32::from(time.hour) * 3_600 + u32::from(time.minute) * 60 + u32::from(second))
        }
        _ => Err(format!("times: {at} is no time such as 08:00:00")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            accounts: vec![Account::new("foo", "bar")],
            vendors: vec![Vendor::new("SIM", "SIM", "sim", vec![])],
            mt_default: Some(0),
            mo_default: Some(Destination::Account(0)),
            ..Config::new("WARP")
        }
    }

    const WHOLE: &str = r#"
        groups = ["retail"]
        [[vendor]]
        name = "B"
        system_id = "B"
        password = "b"
        addresses = ["127.0.0.1:2776"]
        rate = 10
        [[account]]
        user = "shop"
        password = "s"
        group = "retail"
        sources = ["12345"]
        [[http]]
        name = "mo"
        url = "http://127.0.0.1/mo"
        [[mt]]
        order = 20
        kind = "least-cost"
        to = ["SIM", "B"]
        cost = { SIM = "0.004", B = "0.0032" }
        rate = "0.01"
        group = "retail"
        destination = "^49"
        days = [2026-11-30, 2026-12-05]
        times = [08:00:00, 18:30:00]
        tag = "gold"
        next_when_undelivered = true
        next_without_receipt_s = 60
        [[mt]]
        order = 0
        to = ["smppc(B)"]
        [[mo]]
        order = 10
        kind = "failover"
        to = ["smpps(shop)", "http(mo)"]
        connector = "B"
    "#;

    #[test]
    fn a_whole_file_is_read() {
        let mut c = config();
        parse(WHOLE, &mut c).unwrap();
        assert_eq!((c.vendors.len(), c.accounts[1].group, c.mt_default), (2, Some(0), None));
        let route = &c.mt[0];
        assert_eq!((route.order, route.kind, &*route.targets), (20, Kind::LeastCost, &[0, 1][..]));
        let pattern = Pattern::new("^49").unwrap();
        assert_eq!(
            route.filters,
            [
                Filter::Group(0),
                Filter::Destination(pattern),
                Filter::Dates(20_787, 20_792),
                Filter::Times(28_800, 66_600),
                Filter::Tag("gold".to_owned()),
            ]
        );
        assert_eq!(route.costs.iter().map(|c| c.amount.0).collect::<Vec<_>>(), [4_000_000, 3_200_000]);
        assert_eq!(
            (route.next_when_undelivered, route.next_without_receipt),
            (true, Some(Duration::from_secs(60)))
        );
        assert_eq!(c.mo[0].targets, [Destination::Account(1), Destination::Http(0)]);
        assert_eq!((c.mo[0].filters.as_slice(), c.mo_default.is_some()), (&[Filter::Connector(1)][..], true));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, word) in [
            ("[[mt]]\norder = 1\nto = [\"X\"]\ntransparent = true", "route 1: there is no vendor \"X\""),
            ("[[mt]]\norder = 1\nto = [\"SIM\"]\nuser = \"x\"", "route 1: there is no account \"x\""),
            ("[[mt]]\norder = 1\nto = [\"SIM\", \"SIM\"]", "kind is needed"),
            ("[[mt]]\norder = 1\nto = [\"SIM\"]\ndestination = \"(\"", "the pattern \"(\""),
            ("[[mt]]\norder = 1\nto = [\"SIM\"]\ndays = [08:00:00, 2026-11-30]", "no date"),
            ("[[mt]]\norder = 1\nto = [\"SIM\"]\ntimes = [2026-11-30, 08:00:00]", "no time"),
            (
                "[[mt]]\norder = 1\nkind = \"least-cost\"\nto = [\"SIM\"]\ntransparent = true",
                "cost has no \"SIM\"",
            ),
            ("[[mo]]\norder = 1\nto = [\"SIM\"]", "neither smpps(USER) nor http(NAME)"),
            ("[[mt]]\norder = 1\nto = [\"SIM\"]\ndestinaton = \"4\"", "destinaton"),
            ("[[account]]\nuser = \"x\"\npassword = \"y\"\ngroup = \"g\"", "there is no group \"g\""),
        ] {
            let error = parse(text, &mut config()).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
