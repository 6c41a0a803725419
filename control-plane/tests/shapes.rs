//! What is published is what is answered: living answers are held against the OpenAPI documents, and their texts are read.
mod common;

use common::{insert_call, with_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::Audience;
use warp_control_plane::api::openapi;

/// What of a value is not as a schema says; unknown fields are faults too, because somebody forgot to publish them.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let target = document.pointer(target.trim_start_matches('#')).unwrap_or(&Value::Null);
        return faults(document, target, value, at, out);
    }
    if value.is_null() && (schema["nullable"] == true || schema.get("type").is_none()) {
        return;
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        faults(document, part, value, at, out);
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        out.push(format!("{at}: {value} is not in {words:?}"));
    }
    let fits = match schema["type"].as_str() {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("type {other}"),
    };
    if !fits {
        out.push(format!("{at}: {value} is no {}", schema["type"]));
        return;
    }
    for item in value.as_array().into_iter().flatten() {
        faults(document, &schema["items"], item, &format!("{at}[]"), out);
    }
    let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            out.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, field) in fields {
        match properties.get(name) {
            Some(schema) => faults(document, schema, field, &format!("{at}.{name}"), out),
            None => out.push(format!("{at}: {name} is not published")),
        }
    }
}

fn check(document: &Value, name: &str, value: &Value) {
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "{name} is not published");
    let mut out = Vec::new();
    faults(document, schema, value, name, &mut out);
    assert!(out.is_empty(), "{}\n{value:#}", out.join("\n"));
}

#[test]
fn objects_records_and_decisions_are_as_published() {
    with_api(|api| async move {
        let endpoints = &api.control.app.endpoints;
        let operator = openapi::document(endpoints, Audience::Operator);
        let customers = openapi::document(endpoints, Audience::Customer);
        let (customer, key) = api.customer("Acme").await;
        let vendor = api.op("POST", "/vendors", Some(json!({ "slug": "v", "name": "V" }))).await.data();
        let vid = vendor["id"].as_str().unwrap().to_owned();
        check(&operator, "Vendor", &vendor);
        let body = json!({ "name": "t", "addresses": ["127.0.0.1:5080"] });
        let made = api.op("POST", &format!("/vendors/{vid}/trunks"), Some(body)).await.data();
        check(&operator, "VendorTrunk", &made);
        let partition = json!({ "name": "p", "vendors": [{ "vendor_id": vid }] });
        let partition = api.op("POST", "/partitions", Some(partition)).await.data();
        check(&operator, "Partition", &partition);
        let body =
            json!({ "partition_id": partition["id"], "daily_spend": { "amount": "5", "currency": "USD" } });
        let changed = api.op("PATCH", &format!("/customers/{customer}"), Some(body)).await.data();
        check(&operator, "Customer", &changed);
        let exclusion = json!({ "vendor_id": vid, "kind": "permanent", "reason": "r" });
        let rule =
            json!({ "partition_id": partition["id"], "class": "domestic", "days": ["mon"], "reason": "r" });
        check(&operator, "Override", &api.op("POST", "/overrides", Some(rule)).await.data());
        let rule = json!({ "caller_code": "1999", "hours": "08:00-18:00", "reason": "r" });
        check(&operator, "Block", &api.op("POST", "/blocks", Some(rule)).await.data());
        let rate =
            json!({ "currency": "EUR", "worth": { "amount": "1.08", "currency": "USD" }, "reason": "r" });
        check(&operator, "ExchangeRate", &api.op("POST", "/exchange-rates", Some(rate)).await.data());
        check(&operator, "Exclusion", &api.op("POST", "/exclusions", Some(exclusion)).await.data());
        let ban =
            api.op("POST", &format!("/customers/{customer}/bans"), Some(json!({ "name": "b" }))).await.data();
        check(&operator, "Ban", &ban);
        check(&operator, "NewApiKey", &api.op("POST", "/keys", Some(json!({ "name": "k" }))).await.data());
        let trunk = json!({ "name": "t", "destinations": ["domestic"], "cps": 3 });
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(trunk)).await.data();
        check(&customers, "Trunk", &trunk);
        let tid = trunk["id"].as_str().unwrap().to_owned();
        for line in api.op("GET", "/audit?limit=200", None).await.data().as_array().unwrap() {
            check(&operator, "AuditEntry", line);
        }
        // A decision, as the call path makes it.
        common::eventually("the trunk live", || async {
            api.control.app.publication.latest().directory.trunk_ix(tid.parse().unwrap())
        })
        .await;
        let call = json!({ "trunk_id": tid, "to": "+14155550123", "from": "+12125550100" });
        let seen = api.op("POST", "/route", Some(call.clone())).await.data();
        check(&operator, "RouteResult", &seen);
        assert!(seen["decision"]["inputs"]["live"].is_array(), "{seen}");
        check(&customers, "RouteResult", &api.call(&key, "POST", "/api/v1/route", Some(call)).await.data());
        // A record, as the consumer posts it; the decision in it is the real one.
        let id = insert_call(&api, &customer, &tid).await;
        let mut detail = api.op("GET", &format!("/calls/{id}"), None).await.data();
        detail["record"]["decision"] = seen["decision"].clone();
        check(&operator, "CallDetail", &detail);
        let listed = api.op("GET", "/calls?expand=legs,rating", None).await.data();
        check(&operator, "ListedCall", &listed[0]);
        let mut own = api.call(&key, "GET", &format!("/api/v1/calls/{id}"), None).await.data();
        own["record"]["decision"] = Value::Null;
        check(&customers, "CallDetail", &own);
        let own = api.call(&key, "GET", "/api/v1/calls?expand=legs,rating", None).await.data();
        check(&customers, "ListedCall", &own[0]);
    });
}

/// Each text that a customer reads is a sentence: it begins large (or with code) and ends with a full stop.
#[test]
fn published_descriptions_are_sentences() {
    let endpoints = warp_control_plane::api::endpoints();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for audience in [Audience::Customer, Audience::Operator] {
        let document = openapi::document(&endpoints, audience);
        let mut look = |at: String, text: Option<&str>| {
            seen += 1;
            let Some(text) = text else { return wrong.push(format!("{at}: no description")) };
            let begins = text.chars().next().is_some_and(|c| c.is_uppercase() || c.is_numeric() || c == '`');
            if !(begins && text.trim_end().ends_with(['.', ')']) && text.split_whitespace().count() >= 3) {
                wrong.push(format!("{at}: {text:?}"));
            }
        };
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            if ["Meta", "Error"].contains(&name.as_str()) {
                continue;
            }
            look(name.clone(), schema["description"].as_str());
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                look(format!("{name}.{field}"), schema["description"].as_str());
            }
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for p in
                    operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] != "path")
                {
                    look(format!("{method} {path} {}", p["name"]), p["description"].as_str());
                }
            }
        }
    }
    assert!(seen > 300, "{seen} texts");
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
}
