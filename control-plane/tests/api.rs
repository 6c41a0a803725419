//! The REST API on a real database.
mod common;

use common::{Api, with_api, with_configured_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::{Access, Audience, Takes};
use warp_control_plane::api::limiter::Limit;
use warp_control_plane::api::openapi;

#[test]
fn openapi_files_are_those_of_the_code() {
    let endpoints = warp_control_plane::api::endpoints();
    for (audience, name) in [(Audience::Customer, "customer"), (Audience::Operator, "admin")] {
        let document = openapi::document(&endpoints, audience);
        assert_eq!(openapi::check(&document), Vec::<String>::new());
        let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
        let path = format!("{}/openapi/{name}.json", env!("CARGO_MANIFEST_DIR"));
        if std::env::var("WARP_WRITE_OPENAPI").is_ok() {
            std::fs::write(&path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == text, "{path} is not what the code says: run with WARP_WRITE_OPENAPI=1");
    }
}

#[test]
fn a_customer_with_trunk_addresses_and_users() {
    with_api(|api| async move {
        let (id, key) = api.customer("Acme").await;
        let me = api.call(&key, "GET", "/api/v1/customer", None).await;
        assert_eq!(me.data()["id"], id.as_str());
        assert_eq!(me.header("etag"), Some("\"1\""));
        let trunk = api
            .call(&key, "POST", "/api/v1/trunks", Some(json!({
                "name": "pbx", "channels": 10, "cps": 2, "max_rate_per_min": { "amount": "0.05", "currency": "USD" }
            })))
            .await
            .data();
        assert_eq!(trunk["max_rate_per_min"], json!({ "amount": "0.05", "currency": "USD" }));
        assert!(
            trunk["limits"]["in_force"]["destinations"].as_array().unwrap().iter().all(|d| d != "premium")
        );
        let path = format!("/api/v1/trunks/{}", trunk["id"].as_str().unwrap());
        let ip =
            api.call(&key, "POST", &format!("{path}/ips"), Some(json!({ "address": "198.51.100.7" }))).await;
        assert_eq!((ip.status, ip.data()["address"].clone()), (201, json!("198.51.100.7/32")));
        let twice = api
            .call(&key, "POST", &format!("{path}/ips"), Some(json!({ "address": "198.51.100.0/28" })))
            .await;
        assert_eq!((twice.status, twice.code().as_str()), (409, "conflict"));
        let user = json!({ "username": "pbx1", "password": "correct horse battery" });
        let made = api.call(&key, "POST", &format!("{path}/credentials"), Some(user)).await;
        assert_eq!(made.status, 201);
        assert!(!made.body.contains("horse"));
        let patch = json!({ "channels": 20, "cps": null });
        let changed = api.call(&key, "PATCH", &path, Some(patch)).await;
        assert_eq!(changed.data()["channels"], 20);
        assert_eq!(
            (changed.data()["cps"].clone(), changed.data()["name"].clone()),
            (Value::Null, json!("pbx"))
        );
        let stale = api
            .send(
                "PATCH",
                &path,
                &[
                    ("Authorization", &format!("Bearer {key}")),
                    ("Content-Type", "application/json"),
                    ("If-Match", "\"1\""),
                ],
                br#"{"channels":5}"#,
            )
            .await;
        assert_eq!((stale.status, stale.code().as_str()), (412, "version_mismatch"));
        let whole = api.call(&key, "PUT", &path, Some(json!({ "name": "pbx", "cps": 7 }))).await;
        assert_eq!((whole.data()["channels"].clone(), whole.data()["cps"].clone()), (Value::Null, json!(7)));
        assert_eq!(api.call(&key, "PUT", &path, Some(json!({ "cps": 7 }))).await.status, 422);
        let gone = format!("{path}/ips?address=198.51.100.7%2F32");
        assert_eq!(api.call(&key, "DELETE", &gone, None).await.status, 200);
        assert_eq!(api.call(&key, "GET", &format!("{path}/ips"), None).await.data(), json!([]));
        assert_eq!(api.call(&key, "DELETE", &path, None).await.status, 200);
        assert_eq!(api.call(&key, "GET", &path, None).await.status, 404);
        let audit = api.op("GET", "/audit?limit=200", None).await.data();
        let actions: Vec<&str> =
            audit.as_array().unwrap().iter().filter_map(|a| a["action"].as_str()).collect();
        for wanted in ["trunk.create", "trunk.update", "trunk.delete", "trunk.ip.add", "key.create"] {
            assert!(actions.contains(&wanted), "{wanted} in {actions:?}");
        }
    });
}

#[test]
fn all_field_problems_come_at_once() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let body = json!({ "name": "", "channels": "many", "media_ips": ["1.2.3.4", "x"], "colour": "red",
            "max_rate_per_min": { "amount": "0.00000000001", "currency": "USD" } });
        let r = api.call(&key, "POST", "/api/v1/trunks", Some(body)).await;
        assert_eq!((r.status, r.code().as_str()), (422, "validation_failed"));
        let fields: Vec<String> = r.json()["error"]["details"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["field"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(fields, ["name", "channels", "max_rate_per_min", "media_ips[1]", "colour"]);
    });
}

#[test]
fn a_deck_upload_names_each_wrong_line_and_versions_are_immutable() {
    with_api(|api| async move {
        let deck =
            api.op("POST", "/rate-decks", Some(json!({ "name": "US sell", "kind": "us" }))).await.data();
        let path = format!("/api/v1/admin/rate-decks/{}/versions", deck["id"].as_str().unwrap());
        let bearer = format!("Bearer {}", api.operator);
        let upload = async |csv: &str| {
            api.send(
                "POST",
                &format!("{path}?activate=true&source_name=us.csv"),
                &[("Authorization", &bearer), ("Content-Type", "text/csv")],
                csv.as_bytes(),
            )
            .await
        };
        let bad = upload("NPANXX,Interstate,Intrastate,Indeterminate\n415555,0.01,0.02,0.02\n41x,0.01,0.02,0.02\n212555,-1,0.02,0.02\n").await;
        assert_eq!((bad.status, bad.code().as_str()), (422, "deck_invalid"));
        let details = bad.json()["error"]["details"].clone();
        let places: Vec<&str> =
            details.as_array().unwrap().iter().filter_map(|d| d["field"].as_str()).collect();
        assert!(
            places.iter().any(|p| p.starts_with("line 3")) && places.iter().any(|p| p.starts_with("line 4")),
            "{places:?}"
        );
        let good = upload("NPANXX,Interstate,Intrastate,Indeterminate\n415555,0.01,0.02,0.02\n").await;
        assert_eq!(
            (good.status, good.data()["number"].clone(), good.data()["row_count"].clone()),
            (201, json!(1), json!(1))
        );
        let again = upload("NPANXX,Interstate,Intrastate,Indeterminate\n415555,0.01,0.02,0.03\n").await;
        assert_eq!(again.data()["number"], 2);
        let id = deck["id"].as_str().unwrap();
        assert_eq!(api.op("GET", &format!("/rate-decks/{id}"), None).await.data()["active_version"], 2);
        let back = api.op("POST", &format!("/rate-decks/{id}/versions/1/activate"), None).await;
        assert_eq!(back.data()["active_version"], 1);
        assert_eq!(api.op("POST", &format!("/rate-decks/{id}/versions/9/activate"), None).await.status, 404);
        let vendor = json!({ "slug": "alpha", "name": "Alpha", "buy_deck_ids": [id] });
        assert_eq!(api.op("POST", "/vendors", Some(vendor)).await.status, 201);
        let used = api.op("DELETE", &format!("/rate-decks/{id}"), None).await;
        assert_eq!((used.status, used.code().as_str()), (409, "in_use"));
    });
}

#[test]
fn a_partial_deck_is_laid_over_the_version_in_force() {
    with_api(|api| async move {
        let deck =
            api.op("POST", "/rate-decks", Some(json!({ "name": "US sell", "kind": "us" }))).await.data();
        let path = format!("/api/v1/admin/rate-decks/{}/versions", deck["id"].as_str().unwrap());
        let bearer = format!("Bearer {}", api.operator);
        let upload = async |query: &str, csv: &str| {
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
            api.send("POST", &format!("{path}?{query}"), &headers, csv.as_bytes()).await
        };
        let delta =
            "NPANXX,Interstate,Intrastate,Change\n415556,0.03,0.03,New\n212555,,,Removed\n303303,,,Removed\n";
        let early = upload("mode=partial", delta).await;
        assert_eq!((early.status, early.code().as_str()), (422, "deck_invalid"));
        let full = "NPANXX,Interstate,Intrastate\n415555,0.01,0.02\n212555,0.01,0.02\n";
        assert_eq!(upload("mode=full&activate=true", full).await.status, 201);
        // What a full file removes by name is not in the version; a mode is one of two.
        assert_eq!(upload("", delta).await.data()["row_count"], 1);
        assert_eq!(upload("mode=some", full).await.code(), "invalid_query");
        let next = upload("mode=partial", delta).await;
        assert_eq!((next.status, next.data()["number"].clone()), (201, json!(3)), "{}", next.body);
        // 415555 stays, 415556 is new, 212555 is over.
        assert_eq!(next.data()["row_count"], 2);
        let notes = next.data()["notes"].to_string();
        assert!(notes.contains("1303303 is ended and was not in the deck"), "{notes}");
    });
}

#[test]
fn vendors_partitions_exclusions_and_the_emergency_route() {
    with_api(|api| async move {
        let vendor =
            api.op("POST", "/vendors", Some(json!({ "slug": "alpha", "name": "Alpha" }))).await.data();
        let vid = vendor["id"].as_str().unwrap();
        let body = json!({ "name": "a1", "addresses": ["127.0.0.1:5080"], "auth_username": "u", "auth_password": "pw-of-ours" });
        let trunk = api.op("POST", &format!("/vendors/{vid}/trunks"), Some(body)).await;
        assert_eq!(trunk.status, 201);
        assert!(!trunk.body.contains("pw-of-ours"));
        let tid = trunk.data()["id"].as_str().unwrap().to_owned();
        let kept = api.op("PATCH", &format!("/vendor-trunks/{tid}"), Some(json!({ "channels": 5 }))).await;
        assert_eq!((kept.status, kept.data()["auth_username"].clone()), (200, json!("u")));
        let partition = json!({ "name": "premium", "strategy": "priority_cost", "vendors": [{ "vendor_id": vid, "priority": 1 }] });
        let partition = api.op("POST", "/partitions", Some(partition)).await.data();
        assert_eq!(partition["vendors"][0]["vendor_id"], vid);
        let pid = partition["id"].as_str().unwrap();
        // A margin per minute is of one currency, and comes back in it.
        let yen = json!({ "name": "yen", "margin_per_min": { "amount": "0.1", "currency": "JPY" } });
        let yen = api.op("POST", "/partitions", Some(yen)).await.data();
        assert_eq!(yen["margin_per_min"], json!({ "amount": "0.1", "currency": "JPY" }));
        assert_eq!(partition["margin_per_min"], json!({ "amount": "0", "currency": "USD" }));
        let changed =
            api.op("PATCH", &format!("/partitions/{pid}"), Some(json!({ "max_candidates": 2 }))).await.data();
        assert_eq!(
            (changed["max_candidates"].clone(), changed["vendors"].as_array().unwrap().len()),
            (json!(2), 1)
        );
        let nested = json!({ "name": "x", "vendors": [{ "vendor_id": "vnd_x", "weight": 0 }] });
        let wrong = api.op("POST", "/partitions", Some(nested)).await;
        assert_eq!(wrong.json()["error"]["details"][0]["field"], "vendors[0].vendor_id");
        let open = json!({ "vendor_id": vid, "kind": "quality", "reason": "MOS" });
        assert_eq!(api.op("POST", "/exclusions", Some(open)).await.status, 422);
        let exclusion = json!({ "vendor_id": vid, "kind": "quality", "reason": "MOS", "code": "44", "ends_at": "2099-01-01T00:00:00Z" });
        assert_eq!(api.op("POST", "/exclusions", Some(exclusion)).await.status, 201);
        let route = api.op("PUT", "/emergency-route", Some(json!({ "vendor_trunk_ids": [tid] }))).await;
        assert_eq!(route.data()["vendor_trunk_ids"], json!([tid]));
        assert_eq!(api.op("DELETE", &format!("/vendor-trunks/{tid}"), None).await.code(), "in_use");
        assert_eq!(api.op("DELETE", &format!("/vendors/{vid}"), None).await.code(), "in_use");
    });
}

#[test]
fn pages_follow_each_other_without_gaps() {
    with_api(|api| async move {
        let (id, key) = api.customer("Acme").await;
        for i in 0..5 {
            let made = api
                .op("POST", &format!("/customers/{id}/trunks"), Some(json!({ "name": format!("t{i}") })))
                .await;
            assert_eq!(made.status, 201);
        }
        let mut seen = Vec::new();
        let mut path = "/api/v1/trunks?limit=2".to_owned();
        loop {
            let page = api.call(&key, "GET", &path, None).await.json();
            seen.extend(
                page["data"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()),
            );
            match page["meta"]["next_cursor"].as_str() {
                Some(cursor) => path = format!("/api/v1/trunks?limit=2&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, ["t4", "t3", "t2", "t1", "t0"]);
        for wrong in
            ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=AAAA", "colour=red", "limit=1&limit=2"]
        {
            let r = api.call(&key, "GET", &format!("/api/v1/trunks?{wrong}"), None).await;
            assert_eq!(r.status, 400, "{wrong}");
        }
    });
}

#[test]
fn t_api_01_and_05_every_endpoint_refuses_no_key_and_the_other_audience() {
    with_configured_api(generous, |api| async move {
        let (_, customer) = api.customer("Acme").await;
        for e in &api.control.app.endpoints {
            let Access::Scope(audience, _) = e.access else { continue };
            let path = filled(e.path);
            let method = e.method.as_str();
            let none = api.send(method, &path, &[], b"").await;
            assert_eq!(none.status, 401, "{method} {path} without a key");
            assert!(none.header("www-authenticate").is_some());
            for wrong in [
                "Basic dTpw",
                "Bearer",
                "Bearer wk_test_0000000000000000000000000000000000000000000000",
                "wk_test_x",
            ] {
                let r = api.send(method, &path, &[("Authorization", wrong)], b"").await;
                assert_eq!(r.status, 401, "{method} {path} with {wrong}");
            }
            let other = if audience == Audience::Customer { &api.operator } else { &customer };
            let r = api.call(other, method, &path, Some(json!({}))).await;
            assert_eq!(
                (r.status, r.code().as_str()),
                (403, "forbidden"),
                "{method} {path} with the other audience"
            );
        }
        let in_query = api.send("GET", &format!("/api/v1/trunks?key={customer}"), &[], b"").await;
        assert_eq!(in_query.status, 401);
    });
}

#[test]
fn t_api_04_no_endpoint_gives_or_changes_what_is_anothers() {
    with_configured_api(generous, |api| async move {
        let (mine, my_key) = api.customer("Mine").await;
        let (_, other_key) = api.customer("Other").await;
        let trunk =
            api.call(&my_key, "POST", "/api/v1/trunks", Some(json!({ "name": "secret-pbx" }))).await.data();
        let trunk = trunk["id"].as_str().unwrap().to_owned();
        let base = format!("/api/v1/trunks/{trunk}");
        api.call(&my_key, "POST", &format!("{base}/ips"), Some(json!({ "address": "192.0.2.1" })))
            .await
            .data();
        let user = json!({ "username": "mine1", "password": "0123456789abc" });
        api.call(&my_key, "POST", &format!("{base}/credentials"), Some(user)).await.data();
        api.op("POST", &format!("/customers/{mine}/bans"), Some(json!({ "name": "main" }))).await.data();
        let call = common::insert_call(&api, &mine, &trunk).await;
        let keys = api.call(&my_key, "GET", "/api/v1/keys", None).await.data();
        let key = keys[0]["id"].as_str().unwrap().to_owned();
        let number = json!({ "number": "+14155550199", "customer_id": mine });
        let number = api.op("POST", "/numbers", Some(number)).await.data()["id"].as_str().unwrap().to_owned();
        let before = snapshot_of(&api, &my_key, &base).await;
        for e in &api.control.app.endpoints {
            if !matches!(e.access, Access::Scope(Audience::Customer, _)) {
                continue;
            }
            let path = e
                .path
                .replace("{trunk_id}", &trunk)
                .replace("{call_id}", &call)
                .replace("{key_id}", &key)
                .replace("{number_id}", &number)
                .replace("{username}", "mine1");
            let query =
                if path.ends_with("/ips") && e.method == "DELETE" { "?address=192.0.2.1" } else { "" };
            let body = match (&e.takes, e.path.rsplit('/').next()) {
                (Takes::Nothing, _) => None,
                (_, Some("ips")) => Some(json!({ "address": "192.0.2.99" })),
                (_, Some("credentials")) => Some(json!({ "username": "evil", "password": "0123456789abc" })),
                (_, Some("inbound")) => Some(json!({ "addresses": ["192.0.2.99:5060"] })),
                (_, Some("rotate")) => Some(json!({ "overlap_s": 0 })),
                (_, Some("hang-up")) => Some(json!({ "reason": "none of yours" })),
                // A tenant in the body is an unknown field.
                (Takes::Json(_), _) => Some(json!({ "name": "x", "customer_id": mine })),
                (Takes::Patch(_), _) => Some(json!({ "name": "taken over" })),
                _ => None,
            };
            let r = api.call(&other_key, e.method.as_str(), &format!("{path}{query}"), body).await;
            let text = format!("{} {path}: {} {}", e.method, r.status, r.body);
            assert!(r.status < 500, "{text}");
            if e.path.contains('{') {
                assert_eq!(r.status, 404, "{text}");
            }
            for leak in [mine.as_str(), trunk.as_str(), "secret-pbx", "192.0.2.1/", "mine1", call.as_str()] {
                assert!(!r.body.contains(leak), "{leak} in {text}");
            }
        }
        assert_eq!(snapshot_of(&api, &my_key, &base).await, before);
        let filter = format!("/api/v1/calls?trunk={trunk}");
        assert_eq!(api.call(&other_key, "GET", &filter, None).await.data(), json!([]));
        assert_eq!(api.call(&my_key, "GET", &filter, None).await.data().as_array().unwrap().len(), 1);
    });
}

#[test]
fn t_api_06_no_body_makes_a_server_error() {
    with_configured_api(generous, |api| async move {
        let (_, customer) = api.customer("Acme").await;
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let long = format!("{{\"name\":\"{}\"}}", "x".repeat(100_000));
        let bodies: Vec<&[u8]> = vec![
            b"", b"null", b"[]", b"{", b"\"x\"", b"123", b"{\"name\":1}", b"{\"name\":{}}", b"{\"a\":1,\"a\":2}",
            b"{\"name\":\"\\u0000\"}", b"\xff\xfe", b"{\"name\":\"\xc3\x28\"}", b"1e999999", deep.as_bytes(), long.as_bytes(),
            b"{\"name\":\"x\",\"channels\":99999999999999999999}", b"{\"name\":\"x\",\"cps\":-1,\"daily_spend\":{\"amount\":\"9999999999999999\",\"currency\":\"USD\"}}",
            b"{\"name\":\"'; DROP TABLE customers; --\"}",
        ];
        for e in api.control.app.endpoints.clone() {
            let Access::Scope(audience, _) = e.access else { continue };
            let key = if audience == Audience::Customer { &customer } else { &api.operator };
            let bearer = format!("Bearer {key}");
            let kind = if matches!(e.takes, Takes::Csv(_)) { "text/csv" } else { "application/json" };
            for body in &bodies {
                let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
                let r = api.send(e.method.as_str(), &filled(e.path), &headers, body).await;
                assert!((200..500).contains(&r.status), "{} {}: {} {}", e.method, e.path, r.status, r.body);
            }
            for strange in [
                "x",
                "%00",
                "..%2f..%2fetc",
                "%ff",
                &"a".repeat(3000),
                "trk_zzzzzzzzzzzzzzzzzzzzzzzzzz",
                "'%20OR%201=1",
            ] {
                if e.path.contains('{') {
                    let path = filled_with(e.path, strange);
                    let r = api.send(e.method.as_str(), &path, &[("Authorization", &bearer)], b"").await;
                    assert!(
                        (400..500).contains(&r.status) || r.status == 200,
                        "{} {path}: {}",
                        e.method,
                        r.status
                    );
                }
            }
        }
        let wrong_type = api
            .send(
                "POST",
                "/api/v1/trunks",
                &[("Authorization", &format!("Bearer {customer}")), ("Content-Type", "text/plain")],
                b"{}",
            )
            .await;
        assert_eq!(wrong_type.status, 415);
    });
}

#[test]
fn t_api_06_sizes_are_limited() {
    with_api(|api| async move {
        let bearer = format!("Bearer {}", api.operator);
        let big = vec![b' '; 1_048_577];
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let r = api.send("POST", "/api/v1/admin/customers", &headers, &big).await;
        assert_eq!((r.status, r.code().as_str()), (413, "body_too_large"));
        let chunked = format!(
            "POST /api/v1/admin/customers HTTP/1.1\r\nHost: t\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            1_048_577,
            " ".repeat(1_048_577)
        );
        assert_eq!(api.raw(chunked.as_bytes()).await.status, 413);
        let header = "x".repeat(20_000);
        let r = api.send("GET", "/api/v1/health", &[("X-Long", &header)], b"").await;
        assert_eq!(r.status, 431);
    });
}

#[test]
fn t_api_08_one_customers_flood_leaves_others_untouched() {
    let slow = |c: &mut warp_control_plane::Config| c.edge.customer_limit = Limit { per_second: 1, burst: 5 };
    with_configured_api(slow, |api| async move {
        let (_, noisy) = api.customer("Noisy").await;
        let (_, calm) = api.customer("Calm").await;
        let mut refused = None;
        for _ in 0..20 {
            let r = api.call(&noisy, "GET", "/api/v1/trunks", None).await;
            if r.status == 429 {
                refused = Some(r);
                break;
            }
            assert_eq!(r.status, 200);
        }
        let r = refused.expect("a limit");
        assert_eq!(r.code(), "rate_limited");
        assert!(r.header("retry-after").is_some() && r.header("ratelimit-limit") == Some("5"));
        assert_eq!(api.call(&calm, "GET", "/api/v1/trunks", None).await.status, 200);
    });
}

#[test]
fn t_api_08_guessing_keys_is_paced() {
    let slow = |c: &mut warp_control_plane::Config| c.edge.address_limit = Limit { per_second: 1, burst: 3 };
    with_configured_api(slow, |api| async move {
        let (_, good) = api.customer("Acme").await;
        assert_eq!(api.call(&good, "GET", "/api/v1/trunks", None).await.status, 200);
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(api.send("GET", "/api/v1/trunks", &[], b"").await.status);
        }
        assert_eq!(statuses, [401, 401, 401, 429, 429]);
        let mut guess = vec![b'0'; 25];
        guess[0] = 7;
        let guess = warp_control_plane::app::keys::format_key(false, &guess.try_into().unwrap());
        assert_eq!(api.call(guess.reveal(), "GET", "/api/v1/trunks", None).await.status, 429);
        assert_eq!(api.call(&good, "GET", "/api/v1/trunks", None).await.status, 200);
    });
}

#[test]
fn t_api_09_errors_tell_no_internals() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        for (method, path) in [
            ("GET", "/api/v1/trunks/x"),
            ("GET", "/nope"),
            ("PATCH", "/api/v1/trunks"),
            ("GET", "/api/v1/trunks?cursor=!!"),
        ] {
            let r = api.call(&key, method, path, None).await;
            let error = r.json();
            assert_eq!(error["success"], false);
            assert!(error["meta"]["request_id"].as_str().is_some_and(|i| i.starts_with("req_")));
            for word in ["sqlx", "postgres", "SELECT", ".rs", "panicked", env!("CARGO_PKG_VERSION")] {
                assert!(!r.body.contains(word), "{word} in {}", r.body);
            }
            assert!(r.header("server").is_none());
        }
        let named = api.send("GET", "/nope", &[("X-Request-Id", "my-id.1")], b"").await;
        assert_eq!(named.header("x-request-id"), Some("my-id.1"));
        let evil = api.send("GET", "/nope", &[("X-Request-Id", "a b<script>")], b"").await;
        assert!(evil.header("x-request-id").is_some_and(|i| i.starts_with("req_")));
    });
}

#[test]
fn t_api_10_one_idempotency_key_is_one_request() {
    with_api(|api| async move {
        let bearer = format!("Bearer {}", api.operator);
        let post = async |path: &str, key: &str, body: Value| {
            let headers = [
                ("Authorization", bearer.as_str()),
                ("Content-Type", "application/json"),
                ("Idempotency-Key", key),
            ];
            api.send("POST", &format!("/api/v1/admin{path}"), &headers, body.to_string().as_bytes()).await
        };
        let first = post("/customers", "k1", json!({ "name": "Once" })).await;
        let second = post("/customers", "k1", json!({ "name": "Once" })).await;
        assert_eq!((first.status, second.status), (201, 201));
        assert_eq!(first.data()["id"], second.data()["id"]);
        let other = post("/customers", "k1", json!({ "name": "Twice" })).await;
        assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"));
        let wrong = post("/customers", "k2", json!({ "name": "" })).await;
        let again = post("/customers", "k2", json!({ "name": "" })).await;
        assert_eq!((wrong.status, again.status), (422, 422));
        let key = post("/keys", "k3", json!({ "name": "x" })).await;
        assert_eq!(key.status, 201);
        let repeated = post("/keys", "k3", json!({ "name": "x" })).await;
        assert_eq!(repeated.status, 409);
        assert!(!repeated.body.contains("wk_"));
        assert_eq!(api.op("GET", "/customers", None).await.data().as_array().unwrap().len(), 1);
    });
}

#[test]
fn t_api_11_a_length_stated_twice_is_refused() {
    with_api(|api| async move {
        let bearer = format!("Bearer {}", api.operator);
        let head = format!(
            "POST /api/v1/admin/customers HTTP/1.1\r\nHost: t\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n"
        );
        for lengths in [
            "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 12\r\nContent-Length: 13\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Content-Length: +12\r\n",
            "Content-Length: 1e1\r\n",
        ] {
            let r = api.raw(format!("{head}{lengths}\r\n{{\"name\":\"a\"}}").as_bytes()).await;
            assert_eq!(r.status, 400, "{lengths:?}: {}", r.head);
        }
        assert_eq!(api.op("GET", "/customers", None).await.data(), json!([]));
    });
}

#[test]
fn t_api_12_keys_are_hashed_scoped_bound_to_addresses_and_can_be_revoked() {
    with_api(|api| async move {
        let (id, key) = api.customer("Acme").await;
        let make =
            async |body: Value| api.op("POST", &format!("/customers/{id}/keys"), Some(body)).await.data();
        let reader = json!({ "name": "reader", "scopes": ["trunks:read", "keys:write"] });
        let reader = api.key_alone(Some(&id), reader).await;
        let secret = reader["secret"].as_str().unwrap();
        assert!(secret.starts_with("wk_test_"));
        assert_eq!(api.call(secret, "GET", "/api/v1/trunks", None).await.status, 200);
        assert_eq!(
            api.call(secret, "POST", "/api/v1/trunks", Some(json!({ "name": "x" }))).await.status,
            403
        );
        let more = api.call(secret, "POST", "/api/v1/keys", Some(json!({ "name": "more" }))).await;
        assert_eq!(more.status, 403, "a key made one that may more than itself");
        // Nor one for more addresses, nor one that lives longer; a key of an operator does not lend more than it has.
        let bound = json!({ "name": "bound", "ip_allow": ["127.0.0.0/24"], "expires_in_days": 10 });
        let bound = api.key_alone(Some(&id), bound).await["secret"].as_str().unwrap().to_owned();
        for (body, status) in [
            (json!({ "name": "n", "expires_in_days": 9 }), 403),
            (json!({ "name": "n", "expires_in_days": 9, "ip_allow": ["127.0.0.0/24", "198.51.100.1"] }), 403),
            (json!({ "name": "n", "ip_allow": ["127.0.0.1"] }), 403),
            (json!({ "name": "n", "ip_allow": ["127.0.0.1"], "expires_in_days": 11 }), 403),
            (json!({ "name": "n", "ip_allow": ["127.0.0.1", "127.0.0.128/25"], "expires_in_days": 9 }), 201),
        ] {
            let made = api.call(&bound, "POST", "/api/v1/keys", Some(body.clone())).await;
            assert_eq!(made.status, status, "{body}");
        }
        let clerk = api.key_alone(None, json!({ "name": "clerk", "scopes": ["keys:write"] })).await;
        let clerk = clerk["secret"].as_str().unwrap();
        let path = format!("/api/v1/admin/customers/{id}/keys");
        for (scopes, status) in
            [(json!([]), 403), (json!(["trunks:write"]), 403), (json!(["keys:write"]), 201)]
        {
            let made = api.call(clerk, "POST", &path, Some(json!({ "name": "n", "scopes": scopes }))).await;
            assert_eq!(made.status, status, "{scopes}");
        }
        let elsewhere = make(json!({ "name": "elsewhere", "ip_allow": ["203.0.113.9"] })).await;
        assert_eq!(
            api.call(elsewhere["secret"].as_str().unwrap(), "GET", "/api/v1/trunks", None).await.status,
            401
        );
        let listed = api.call(&key, "GET", "/api/v1/keys", None).await;
        assert!(
            !listed.body.contains(secret) && listed.body.contains(reader["key"]["hint"].as_str().unwrap())
        );
        let reader_id = reader["key"]["id"].as_str().unwrap();
        assert_eq!(api.call(&key, "DELETE", &format!("/api/v1/keys/{reader_id}"), None).await.status, 200);
        assert_eq!(api.call(secret, "GET", "/api/v1/trunks", None).await.status, 401);
        let suspended =
            api.op("PATCH", &format!("/customers/{id}"), Some(json!({ "status": "suspended" }))).await;
        assert_eq!(suspended.status, 200);
        assert_eq!(api.call(&key, "GET", "/api/v1/trunks", None).await.status, 401);
    });
}

#[test]
fn customers_cannot_change_prices_routing_or_risky_destinations() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let partition = api.op("POST", "/partitions", Some(json!({ "name": "p" }))).await.data();
        for field in [
            json!({ "partition_id": partition["id"] }),
            json!({ "destinations": ["domestic", "premium"] }),
            json!({ "trust_asserted": true }),
            json!({ "identity_trusted": true }),
            json!({ "identity_form": "p_asserted_identity" }),
            json!({ "header_rules": ["add X-Account: 4711"] }),
            json!({ "codecs": ["PCMU"] }),
            json!({ "session_expires_s": 1800 }),
            json!({ "session_min_s": 120 }),
            json!({ "recording": true }),
        ] {
            let mut body = json!({ "name": "t" });
            body.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
            let r = api.call(&key, "POST", "/api/v1/trunks", Some(body)).await;
            assert_eq!((r.status, r.code().as_str()), (403, "forbidden"), "{field}");
        }
    });
}

#[test]
fn requests_are_metered_by_template() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        api.call(&key, "GET", "/api/v1/trunks/trk_x", None).await;
        let text = api.control.registry().render();
        let line = r#"warp_http_requests_total{route="/api/v1/trunks/{trunk_id}",method="GET",status_class="4xx"} 1"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("warp_http_panics_total 0"));
    });
}

/// The address that the program prints when it starts leads somewhere, and from there on to everything else.
#[test]
fn the_address_of_the_api_says_where_things_are() {
    with_api(|api| async move {
        for address in ["/api/v1/", "/api/v1", "/"] {
            let index = api.send("GET", address, &[], b"").await;
            assert_eq!(
                (index.status, index.header("content-type")),
                (200, Some("application/json")),
                "{address}"
            );
            let links = index.data()["links"].as_array().expect("links").clone();
            assert!(links.len() >= 5, "{links:?}");
            for link in links {
                assert!(link["what"].as_str().is_some_and(|what| what.ends_with('.')), "{link}");
                let to = link["href"].as_str().expect("a path").to_owned();
                let bearer = format!("Bearer {}", api.operator);
                let needs_key = to.contains("/admin/");
                let headers: &[(&str, &str)] = if needs_key { &[("Authorization", &bearer)] } else { &[] };
                let found = api.send("GET", &to, headers, b"").await;
                assert_eq!(found.status, 200, "{address} leads to {to}");
            }
        }
        let wrong = api.send("POST", "/api/v1/", &[], b"").await;
        assert_eq!(wrong.status, 405, "{}", wrong.body);
        assert_eq!(api.send("GET", "/api/v2/", &[], b"").await.status, 404);
    });
}

#[test]
fn documentation_is_served() {
    with_api(|api| async move {
        let page = api.send("GET", "/api/docs", &[], b"").await;
        assert!(page.status == 200 && page.body.contains("/api/v1/trunks"));
        assert!(page.header("content-security-policy").is_some());
        let errors = api.send("GET", "/api/docs/errors", &[], b"").await;
        assert!(errors.body.contains("validation_failed"));
        // From each page to the others, and from both documents to the page.
        let link = |to: &str| format!("<a href=\"{to}\">");
        for to in ["/api/v1/openapi.json", "/api/v1/admin/openapi.json", "/api/docs/errors"] {
            assert!(page.body.contains(&link(to)), "{to}: {}", page.body);
        }
        assert!(errors.body.contains(&link("/api/docs")), "{}", errors.body);
        for (path, key) in
            [("/api/v1/openapi.json", ""), ("/api/v1/admin/openapi.json", api.operator.as_str())]
        {
            let bearer = format!("Bearer {key}");
            let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("Authorization", &bearer)] };
            let document = api.send("GET", path, headers, b"").await.json();
            assert_eq!(document["externalDocs"]["url"], "/api/docs", "{path}");
        }
        let spec = api.send("GET", "/api/v1/openapi.json", &[], b"").await;
        assert_eq!(spec.json()["openapi"], "3.0.3");
        assert!(!spec.body.contains("/api/v1/admin"));
        let health = api.send("GET", "/api/v1/health", &[], b"").await;
        assert_eq!(health.data()["status"], "ok");
    });
}

fn generous(config: &mut warp_control_plane::Config) {
    let all = Limit { per_second: 100_000, burst: 100_000 };
    let e = &mut config.edge;
    (e.key_limit, e.customer_limit, e.address_limit) = (all, all, all);
}

fn filled(path: &str) -> String {
    filled_with(path, "trk_00000000000000000000000000")
}

fn filled_with(path: &str, with: &str) -> String {
    path.split('/').map(|p| if p.starts_with('{') { with } else { p }).collect::<Vec<_>>().join("/")
}

/// What the owner sees of a trunk.
async fn snapshot_of(api: &Api, key: &str, base: &str) -> Vec<String> {
    let mut out = Vec::new();
    for rest in ["", "/ips", "/credentials"] {
        out.push(api.call(key, "GET", &format!("{base}{rest}"), None).await.data().to_string());
    }
    out.push(api.call(key, "GET", "/api/v1/keys", None).await.data().as_array().unwrap().len().to_string());
    out
}
