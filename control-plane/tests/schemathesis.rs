//! Contract tests by Schemathesis, a program of others (from PyPI, installed and pinned by `scripts/bootstrap test`): it makes requests
//! of both OpenAPI documents, valid and invalid ones, singly and in chains, and judges each answer by the document. It finds nothing:
//! no server error, no undocumented answer, no valid request refused, no invalid one taken.
//!
//! Every build runs the short form. `WARP_SCHEMATHESIS=long` (`make contract`, and each night) sends many times as much, with another
//! seed each time, which is printed.
mod common;

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Api, OF_STATE, insert_changed_call, with_configured_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::Audience;
use warp_control_plane::api::limiter::Limit;

/// The program, or `None` with a printed line.
fn program(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/schemathesis/bin/schemathesis");
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "Schemathesis is not there, and CI=true");
    println!("skipped: {test}: Schemathesis is not there (scripts/bootstrap test)");
    None
}

fn generous(config: &mut warp_control_plane::Config) {
    let all = Limit { per_second: 1_000_000, burst: 1_000_000 };
    (config.edge.key_limit, config.edge.customer_limit, config.edge.address_limit) = (all, all, all);
}

/// Objects that paths and bodies can name: each name with the values that it may have.
async fn world(api: &Api) -> (Vec<(&'static str, Vec<String>)>, String) {
    let (customer, key) = api.customer("Acme").await;
    // A key that is made is answered beside its secret.
    let id = |data: Value| {
        let object = if data["key"].is_object() { &data["key"] } else { &data };
        object["id"].as_str().unwrap_or_else(|| panic!("no id: {data}")).to_owned()
    };
    let own = async |path: &str, body: Value| {
        let r = api.call(&key, "POST", &format!("/api/v1{path}"), Some(body)).await;
        assert!(r.status < 300, "{path}: {}", r.body);
        id(r.data())
    };
    let carriers = async |path: &str, body: Value| {
        let r = api.op("POST", path, Some(body)).await;
        assert!(r.status < 300, "{path}: {}", r.body);
        id(r.data())
    };
    let range = json!({ "kind": "call_export", "call_export": { "format": "csv" } });
    let hook = json!({ "name": "h", "url": "https://hooks.acme.example/warp", "events": ["balance.low"] });
    let user = |subject: &str, role: &str| json!({ "name": "n", "role": role, "subject": subject });
    let trunk = own("/trunks", json!({ "name": "t" })).await;
    let ban =
        api.op("GET", &format!("/trunks/{trunk}"), None).await.data()["ban_id"].as_str().unwrap().to_owned();
    let access = format!("/api/v1/trunks/{trunk}/credentials");
    let login = json!({ "username": "pbx", "password": "correct horse battery" });
    assert_eq!(api.call(&key, "POST", &access, Some(login)).await.status, 201);
    let webhook = own("/webhooks", hook).await;
    let tested = api.call(&key, "POST", &format!("/api/v1/webhooks/{webhook}/test"), Some(json!({}))).await;
    let delivery = tested.data()["event_id"].as_str().unwrap().to_owned();
    let told = own("/users", user("ada", "engineer")).await;
    let event = id(api.call(&key, "GET", "/api/v1/events?type=user.created", None).await.data()[0].clone());
    let made_key = own("/keys", json!({ "name": "k", "scopes": ["trunks:read"] })).await;
    let job = own("/jobs", range).await;
    let nightly = json!({
        "name": "s", "kind": "call_export", "call_export": {}, "every": "day", "at": "02:00", "time_zone": "UTC"
    });
    let schedule = own("/schedules", nightly).await;
    let body = json!({ "amount": { "amount": "5", "currency": "USD" }, "reason": "r" }).to_string();
    let bearer = format!("Bearer {}", api.operator);
    let headers =
        [("Authorization", &*bearer), ("Content-Type", "application/json"), ("Idempotency-Key", "first")];
    let top_ups = format!("/api/v1/admin/bans/{ban}/top-ups");
    let posting = id(api.send("POST", &top_ups, &headers, body.as_bytes()).await.data());
    let vendor = carriers("/vendors", json!({ "slug": "v", "name": "V" })).await;
    let body = json!({ "name": "v", "addresses": ["127.0.0.1:5080"] });
    let vendor_trunk = carriers(&format!("/vendors/{vendor}/trunks"), body).await;
    let partition = carriers("/partitions", json!({ "name": "p" })).await;
    let rule = carriers("/overrides", json!({ "partition_id": partition, "reason": "r" })).await;
    let block = carriers("/blocks", json!({ "code": "2524", "reason": "r" })).await;
    let worth = json!({ "amount": "1.0842", "currency": "USD" });
    let rate = carriers("/exchange-rates", json!({ "currency": "EUR", "worth": worth, "reason": "r" })).await;
    let body = json!({ "vendor_id": vendor, "kind": "permanent", "reason": "r" });
    let exclusion = carriers("/exclusions", body).await;
    let number = carriers("/numbers", json!({ "number": "+14155550199", "customer_id": customer })).await;
    let operator = carriers("/operators", user("grace", "noc")).await;
    let deck = carriers("/rate-decks", json!({ "name": "d", "kind": "az" })).await;
    let versions = format!("/api/v1/admin/rate-decks/{deck}/versions");
    let csv = [("Authorization", &*bearer), ("Content-Type", "text/csv")];
    let sheet = api.send("POST", &versions, &csv, b"Code,Rate\n44,0.01\n").await;
    assert_eq!(sheet.status, 201, "{}", sheet.body);
    // The record of the tests says less of its decision than one of a proxy, which the document describes.
    let call = insert_changed_call(api, &customer, &trunk, |record| record["decision"] = Value::Null).await;
    let names = [
        ("customer_id", customer),
        ("ban_id", ban),
        ("posting_id", posting),
        ("trunk_id", trunk),
        ("username", "pbx".to_owned()),
        ("webhook_id", webhook),
        ("user_id", told),
        ("key_id", made_key),
        ("job_id", job),
        ("schedule_id", schedule),
        ("vendor_id", vendor),
        ("vendor_trunk_id", vendor_trunk),
        ("partition_id", partition),
        ("override_id", rule),
        ("block_id", block),
        ("exchange_rate_id", rate),
        ("exclusion_id", exclusion),
        ("number_id", number),
        ("operator_id", operator),
        ("deck_id", deck),
        ("number", "1".to_owned()),
        ("lease_number", "1".to_owned()),
        ("call_id", call),
    ];
    let mut out: Vec<(&str, Vec<String>)> = names.into_iter().map(|(name, id)| (name, vec![id])).collect();
    out.push(("event_id", vec![event, delivery]));
    (out, key)
}

/// The settings of a run.
fn settings(names: &[(&str, Vec<String>)], key: &str, long: bool) -> String {
    let (examples, steps) = if long { (200, 12) } else { (3, 4) };
    let mut out = format!(
        "continue-on-failure = true\nworkers = 1\nmax-redirects = 0\nrequest-timeout = 30\n\
         [headers]\nAuthorization = \"Bearer {key}\"\n\
         [generation]\nmax-examples = {examples}\ndatabase = \"none\"\nno-shrink = {}\n\
         [checks]\npositive_data_acceptance.enabled = false\n\
         negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428, 429, 431, 503]\n\
         [phases.stateful]\nmax-steps = {steps}\n\
         [warnings]\nenabled = false\n",
        !long
    );
    if !long {
        out.push_str("[phases.coverage]\nunexpected-methods = [\"TRACE\"]\n");
    }
    let values = |ids: &[String]| ids.iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ");
    for (name, ids) in names {
        out.push_str(&format!("[dictionaries.{name}]\nvalues = [{}]\n", values(ids)));
    }
    let bound = |of: &str, probability: f32| {
        let mut out = String::new();
        for (name, _) in names {
            // The others are made by the schema: objects that are not there.
            out.push_str(&format!(
                "\"path.{name}\" = {{ dictionary = \"{of}{name}\", probability = {probability} }}\n"
            ));
        }
        out
    };
    out.push_str(&format!("[parameters]\n{}", bound("", 0.9)));
    // What is deleted must not be missed by the others: chains make what they delete.
    for (name, ids) in names {
        let prefix = ids[0].split_once('_').map_or("none", |(prefix, _)| prefix);
        out.push_str(&format!(
            "[dictionaries.no_{name}]\nvalues = [\"{prefix}_00000000000000000000000009\"]\n"
        ));
    }
    out.push_str(&format!(
        "[[operations]]\ninclude-method = \"DELETE\"\n[operations.parameters]\n{}",
        bound("no_", 0.5)
    ));
    out
}

/// Runs the program over one document and says what it found.
fn contract(audience: Audience, test: &'static str) {
    let Some(program) = program(test) else { return };
    let long = std::env::var("WARP_SCHEMATHESIS").as_deref() == Ok("long");
    with_configured_api(generous, |api| async move {
        let (names, customers) = world(&api).await;
        let (key, list, document) = match audience {
            Audience::Customer => (customers, "/api/v1/keys", "/api/v1/openapi.json"),
            Audience::Operator => (api.operator.clone(), "/api/v1/admin/keys", "/api/v1/admin/openapi.json"),
        };
        let keys = api.call(&key, "GET", list, None).await.data();
        // The first key that was made is the one that we are.
        let ourselves = keys.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("schemathesis.toml");
        std::fs::write(&config, settings(&names, &key, long)).unwrap();
        let described = api.call(&key, "GET", document, None).await;
        assert_eq!(described.status, 200);
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, &described.body).unwrap();
        let seed = if long { api.control.app.random_id() as u32 } else { 7 };
        println!("schemathesis --seed {seed}");
        let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
        let mut said = tempfile::tempfile().unwrap();
        let mut run = Command::new(program);
        run.arg("--config-file").arg(&config).arg("run").arg(&file);
        run.arg("--url").arg(format!("http://{}", api.control.addr)).args(["--seed", &seed.to_string()]);
        // A stream has no end that could be waited for; tests/events.rs has its tests.
        let mut without = "/events/stream$".to_owned();
        if audience == Audience::Operator && !long {
            // What both documents have is one endpoint with two doors: the short form goes through the customers' one.
            without.push_str("|^/api/v1/admin/(trunks|webhooks|jobs|schedules|users|keys|calls|audit|route|session|events|ledger)(/|$)");
        }
        run.args(["--exclude-path-regex", &without]);
        run.current_dir(folder.path()).env("PYTHONPATH", hooks).env("SCHEMATHESIS_HOOKS", "hooks");
        run.env("WARP_OF_STATE", OF_STATE.join(",")).env("WARP_OWN_KEY", ourselves).env("NO_COLOR", "1");
        run.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said.try_clone().unwrap());
        let ended = tokio::task::spawn_blocking(move || run.status().expect("it runs")).await.unwrap();
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        assert!(ended.success(), "{text}");
        let last: Vec<&str> = text.lines().rev().take(12).collect();
        println!("{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    });
}

#[test]
fn t_api_06_schemathesis_finds_nothing_in_the_customers_document() {
    contract(Audience::Customer, "t_api_06_schemathesis_finds_nothing_in_the_customers_document");
}

#[test]
fn t_api_06_schemathesis_finds_nothing_in_the_operators_document() {
    contract(Audience::Operator, "t_api_06_schemathesis_finds_nothing_in_the_operators_document");
}
