//! Conventions of the API (docs/reference/api.md) that hold for every endpoint.
mod common;

use std::time::Duration;

use common::{Api, insert_call, with_api, with_configured_api};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp_control_plane::api::endpoint::{Access, Audience, Returns};
use warp_control_plane::api::error::Code;
use warp_control_plane::api::limiter::Limit;

fn filled(path: &str) -> String {
    let part = |p| if str::starts_with(p, '{') { "trk_00000000000000000000000000" } else { p };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Every operator endpoint by a customer's key and the other way round: 403; and what an operator does is in the audit log, which
/// nobody can change.
#[test]
fn t_api_05_a_key_of_one_audience_opens_nothing_of_the_other_and_admin_changes_are_audited() {
    with_api(|api| async move {
        let (id, key) = api.customer("Acme").await;
        let mut tried = 0;
        for e in api.control.app.endpoints.clone() {
            let Access::Scope(audience, _) = e.access else { continue };
            let foreign = if audience == Audience::Operator { &key } else { &api.operator };
            let r = api.call(foreign, e.method.as_str(), &filled(e.path), Some(json!({ "name": "x" }))).await;
            assert_eq!((r.status, r.code().as_str()), (403, "forbidden"), "{} {}", e.method, e.path);
            tried += 1;
        }
        assert!(tried > 50, "{tried} endpoints");
        let bearer = format!("Bearer {}", api.operator);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("X-Request-Id", "audit-me"),
        ];
        let path = format!("/api/v1/admin/customers/{id}");
        assert_eq!(api.send("PATCH", &path, &headers, br#"{"channels":7}"#).await.status, 200);
        let log = api.op("GET", "/audit?limit=1", None).await.data();
        let line = &log[0];
        assert_eq!(
            (&line["action"], &line["object"], &line["request_id"], &line["detail"]["channels"]),
            (&json!("customer.update"), &json!(id), &json!("audit-me"), &json!(7))
        );
        assert!(line["actor"].as_str().is_some_and(|a| a.starts_with("key_")), "{line}");
    });
}

#[test]
fn t_api_07_lists_are_sorted_by_a_fixed_list_and_pages_follow_the_order() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        for name in ["a", "b", "c"] {
            let made = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": name }))).await;
            assert_eq!(made.status, 201);
            assert_eq!(made.header("etag"), Some("\"1\""), "what was made has a version too");
        }
        let names = async |query: &str| {
            let mut path = format!("/api/v1/trunks?limit=2{query}");
            let mut all = Vec::new();
            loop {
                let page = api.call(&key, "GET", &path, None).await.json();
                all.extend(
                    page["data"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()),
                );
                match page["meta"]["next_cursor"].as_str() {
                    Some(cursor) => path = format!("/api/v1/trunks?limit=2{query}&cursor={cursor}"),
                    None => return all,
                }
            }
        };
        assert_eq!(names("").await, ["c", "b", "a"]);
        assert_eq!(names("&sort=-created_at").await, ["c", "b", "a"]);
        assert_eq!(names("&sort=created_at").await, ["a", "b", "c"]);
        for wrong in ["name", "id", "-setup_at", "created_at;DROP%20TABLE%20trunks", "created_at,name", ""] {
            let r = api.call(&key, "GET", &format!("/api/v1/trunks?sort={wrong}"), None).await;
            assert_eq!((r.status, r.code().as_str()), (400, "invalid_query"), "{wrong}");
        }
        // Every list that takes `sort` takes it both ways.
        for e in api.control.app.endpoints.clone() {
            let Some(sort) = e.query.iter().find(|q| q.name == "sort") else { continue };
            let both = sort.values.iter().all(|v| {
                let other = v.strip_prefix('-').map_or_else(|| format!("-{v}"), str::to_owned);
                sort.values.contains(&other.as_str())
            });
            assert!(matches!(e.returns, Returns::Page(_)) && both, "{}", e.path);
            let Access::Scope(audience, _) = e.access else { continue };
            let key = if audience == Audience::Operator { &api.operator } else { &key };
            for value in sort.values {
                let r = api.call(key, "GET", &format!("{}?sort={value}", e.path), None).await;
                assert_eq!(r.status, 200, "{} {value}: {}", e.path, r.body);
            }
        }
    });
}

#[test]
fn a_list_of_calls_is_expanded_and_a_customer_sees_its_own_side_only() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let first = insert_call(&api, &customer, trunk["id"].as_str().unwrap()).await;
        let plain = api.call(&key, "GET", "/api/v1/calls", None).await.data();
        assert!(plain[0].get("legs").is_none() && plain[0].get("route").is_none());
        let own = api.call(&key, "GET", "/api/v1/calls?expand=legs,rating,route&sort=setup_at", None).await;
        let call = own.data()[0].clone();
        assert_eq!((&call["id"], &call["legs"][0]["sip_code"]), (&json!(first), &json!(200)));
        assert_eq!(call["rating"]["sell"]["charge"], "0.01");
        assert!(call["route"].is_object() && call["rating"].get("buy").is_none(), "{call}");
        assert!(!own.body.contains("vnd_") && !own.body.contains("192.0.2.80"), "{}", own.body);
        let all = api.op("GET", "/calls?expand=rating", None).await.data();
        assert!(all[0]["rating"]["buy"].is_object() && all[0].get("legs").is_none());
        let wrong = api.call(&key, "GET", "/api/v1/calls?expand=record", None).await;
        assert_eq!(wrong.code(), "invalid_query");
    });
}

#[test]
fn if_match_guards_every_change_and_put_replaces() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let body = json!({ "name": "t", "channels": 3 });
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(body)).await.data();
        let path = format!("/api/v1/trunks/{}", trunk["id"].as_str().unwrap());
        let bearer = format!("Bearer {key}");
        let change = async |method: &str, version: &str, body: Value| {
            let headers = [
                ("Authorization", bearer.as_str()),
                ("Content-Type", "application/json"),
                ("If-Match", version),
            ];
            api.send(method, &path, &headers, body.to_string().as_bytes()).await
        };
        for (method, version) in [("PATCH", "\"9\""), ("PUT", "\"9\""), ("PATCH", "W/\"1\""), ("PATCH", "x")]
        {
            let r = change(method, version, json!({ "name": "u" })).await;
            assert_eq!((r.status, r.code().as_str()), (412, "version_mismatch"), "{method} {version}");
        }
        let replaced = change("PUT", "\"1\"", json!({ "name": "u" })).await;
        assert_eq!(
            (replaced.data()["channels"].clone(), replaced.header("etag")),
            (Value::Null, Some("\"2\""))
        );
        assert_eq!(change("PATCH", "\"1\"", json!({ "name": "v" })).await.status, 412, "somebody was faster");
        assert_eq!(change("PATCH", "*", json!({ "name": "v" })).await.data()["version"], 3);
        // A list is met by any of its tags; weak and foreign ones are met by nothing (RFC 9110 §13.1.1).
        assert_eq!(change("PATCH", "\"1\", \"3\"", json!({ "name": "w" })).await.data()["version"], 4);
        for list in ["\"1\", \"3\"", "W/\"4\", \"x\"", ","] {
            assert_eq!(change("PATCH", list, json!({ "name": "x" })).await.status, 412, "{list}");
        }
        let long = change("PATCH", &"\"9\",".repeat(65), json!({ "name": "x" })).await;
        assert_eq!((long.status, long.code().as_str()), (400, "bad_request"), "longer than is published");
        assert_eq!(change("DELETE", "\"3\"", Value::Null).await.status, 412, "a deletion is a change too");
        assert_eq!(change("PATCH", "\"4\",\"5\"", json!({ "name": "w" })).await.data()["version"], 5);
        // All wrong fields at once.
        let wrong = change("PATCH", "*", json!({ "name": "", "channels": "x", "nmae": 1, "cps": -1 })).await;
        let error = wrong.json()["error"].clone();
        assert_eq!(error["code"], "validation_failed");
        let fields: Vec<&str> =
            error["details"].as_array().unwrap().iter().map(|d| d["field"].as_str().unwrap()).collect();
        assert!(fields.contains(&"nmae"), "{fields:?}");
        let wrong = change("PATCH", "*", json!({ "name": "", "channels": "x", "cps": -1 })).await.json();
        assert_eq!(wrong["error"]["details"].as_array().unwrap().len(), 3, "{wrong}");
    });
}

/// Two people change different fields of one object at the same moment: what was answered with 200 is not lost.
#[test]
fn changes_at_the_same_moment_lose_nothing() {
    let generous = |c: &mut warp_control_plane::Config| {
        c.edge.key_limit = Limit { per_second: 10_000, burst: 10_000 };
    };
    with_configured_api(generous, |api| async move {
        let (customer, _) = api.customer("Acme").await;
        let partition = api.op("POST", "/partitions", Some(json!({ "name": "p" }))).await.data();
        let path = |kind: &str, id: &Value| format!("/{kind}/{}", id["id"].as_str().unwrap());
        let objects = [
            (format!("/customers/{customer}"), "channels", "cps"),
            (path("partitions", &partition), "max_candidates", "expected_duration_s"),
        ];
        for (path, one, other) in &objects {
            for round in 1..=8 {
                let change = async |field: &str| {
                    // Without If-Match both are wanted, so both succeed.
                    let r = api.op("PATCH", path, Some(json!({ field: round }))).await;
                    assert_eq!(r.status, 200, "{}", r.body);
                };
                tokio::join!(change(one), change(other));
                let now = api.op("GET", path, None).await.data();
                assert_eq!((&now[one], &now[other]), (&json!(round), &json!(round)), "{now}");
            }
        }
    });
}

#[test]
fn t_api_08_x_forwarded_for_counts_only_from_trusted_proxies() {
    let narrow = Limit { per_second: 1, burst: 2 };
    let guess = async |api: &Api, forwarded: &[&str]| {
        let headers: Vec<(&str, &str)> = forwarded.iter().map(|f| ("X-Forwarded-For", *f)).collect();
        api.send("GET", "/api/v1/trunks", &headers, b"").await.status
    };
    // Nobody is trusted: the header says nothing, and one address makes all these guesses.
    with_configured_api(
        |c| c.edge.address_limit = narrow,
        |api| async move {
            let mut seen = Vec::new();
            for i in 0..4 {
                seen.push(guess(&api, &[&format!("203.0.113.{i}")]).await);
            }
            assert_eq!(seen, [401, 401, 429, 429]);
        },
    );
    // Behind a proxy each speaker has its own bucket; what a speaker writes in front of its address does not help it.
    let behind = |c: &mut warp_control_plane::Config| {
        c.edge.address_limit = narrow;
        c.edge.trusted_proxies = vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    };
    with_configured_api(behind, |api| async move {
        let one = ["198.51.100.1, 203.0.113.7, 10.1.2.3"];
        assert_eq!(guess(&api, &one).await, 401);
        assert_eq!(
            guess(&api, &["9.9.9.9", "203.0.113.7:4711 , 10.9.9.9"]).await,
            401,
            "two lines are one list"
        );
        assert_eq!(guess(&api, &["8.8.8.8, ::ffff:203.0.113.7"]).await, 429, "the same speaker");
        assert_eq!(guess(&api, &["203.0.113.8"]).await, 401, "another one is untouched");
        assert_eq!(guess(&api, &["203.0.113.9, nonsense"]).await, 401, "unreadable: the proxy itself");
        // An IPv6 speaker has a /64 to write from.
        let v6: Vec<u16> =
            [guess(&api, &["2001:db8:0:7::1"]).await, guess(&api, &["2001:db8:0:7:8::2"]).await].to_vec();
        assert_eq!(
            (v6, guess(&api, &["2001:db8:0:7::3"]).await),
            (vec![401, 401], 429),
            "one /64 is one speaker"
        );
        assert_eq!(guess(&api, &["2001:db8:0:8::1"]).await, 401, "another /64 is untouched");
        // A key that is bound to an address sees the speaker's.
        let (id, _) = api.customer("Acme").await;
        let bound = json!({ "name": "k", "ip_allow": ["203.0.113.50"] });
        let made = api.op("POST", &format!("/customers/{id}/keys"), Some(bound)).await.data();
        let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
        for (from, status) in [("203.0.113.50", 200), ("203.0.113.51", 401), ("203.0.113.50, 192.0.2.1", 401)]
        {
            let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", from)];
            assert_eq!(api.send("GET", "/api/v1/trunks", &headers, b"").await.status, status, "{from}");
        }
    });
}

#[test]
fn t_api_11_slow_heads_and_bodies_end_and_others_do_not_wait_for_them() {
    let brisk = |c: &mut warp_control_plane::Config| {
        c.edge.head_timeout = Duration::from_millis(200);
        c.edge.body_timeout = Duration::from_millis(200);
    };
    with_configured_api(brisk, |api| async move {
        let connect = async |bytes: &str| {
            let mut stream = tokio::net::TcpStream::connect(api.control.addr).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            stream
        };
        let ended = async |mut stream: tokio::net::TcpStream| {
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text).await;
            String::from_utf8_lossy(&text).into_owned()
        };
        // A head without an end, and nothing at all.
        let heads = [connect("GET /api/v1/health HTTP/1.1\r\nHost: t\r\nX-Slow: ").await, connect("").await];
        let bearer = format!("Authorization: Bearer {}", api.operator);
        let body = connect(&format!(
            "POST /api/v1/admin/customers HTTP/1.1\r\nHost: t\r\n{bearer}\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{{\"name\":"
        ))
        .await;
        assert_eq!(api.send("GET", "/api/v1/health", &[], b"").await.status, 200);
        for head in heads {
            let text = ended(head).await;
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
        }
        let text = ended(body).await;
        assert!(text.starts_with("HTTP/1.1 408") && text.contains("request_timeout"), "{text}");
        assert!(text.contains("connection: close"), "{text}");
        assert_eq!(api.op("GET", "/customers", None).await.data(), json!([]));
    });
}

/// A request hidden in the body of another one is never answered, two lengths get 400 with the envelope, and the connection ends.
#[test]
fn t_api_11_a_smuggled_request_is_not_read() {
    let patient = |c: &mut warp_control_plane::Config| c.edge.head_timeout = Duration::from_secs(600);
    with_configured_api(patient, |api| async move {
        let hidden = "GET /api/v1/health HTTP/1.1\r\nHost: t\r\n\r\n";
        // Those that hyper would take get our own answer; the others it refuses by itself.
        for (lengths, ours) in [
            (format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", hidden.len() + 5), true),
            (format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", hidden.len() + 5), true),
            ("Content-Length: 5\r\nContent-Length: 5\r\n".to_owned(), true),
            ("Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(), false),
            ("Transfer-Encoding: xchunked\r\n".to_owned(), false),
        ] {
            let request = format!(
                "POST /api/v1/admin/customers HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{lengths}\r\n0\r\n\r\n{hidden}",
                api.operator
            );
            // A connection that stays open would be read for ten minutes.
            let reply = tokio::time::timeout(Duration::from_secs(30), api.raw(request.as_bytes())).await;
            let reply = reply.unwrap_or_else(|_| panic!("the connection stays open: {lengths}"));
            assert_eq!(reply.status, 400, "{lengths}: {}", reply.head);
            if ours {
                assert!(reply.body.contains("stated twice"), "{lengths}: {}", reply.body);
                assert_eq!(reply.header("connection"), Some("close"), "{lengths}");
            }
            assert!(
                !reply.body.contains("HTTP/1.1") && !reply.body.contains("snapshot_id"),
                "{}",
                reply.body
            );
        }
    });
}

/// Each list takes `limit`, and each page of it has a cursor to the next.
#[test]
fn limit_works_on_every_list() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let trunk = trunk["id"].as_str().unwrap().to_owned();
        for (i, address) in ["198.51.100.9", "198.51.100.128/25", "2001:db8::/64"].iter().enumerate() {
            let at = format!("/api/v1/trunks/{trunk}/ips");
            assert_eq!(api.call(&key, "POST", &at, Some(json!({ "address": address }))).await.status, 201);
            let user = json!({ "username": format!("u{i}+a.b"), "password": "correct horse battery" });
            let at = format!("/api/v1/trunks/{trunk}/credentials");
            assert_eq!(api.call(&key, "POST", &at, Some(user)).await.status, 201);
        }
        let made = api.op("POST", "/rate-decks", Some(json!({ "name": "d", "kind": "az" }))).await.data();
        let deck = made["id"].as_str().unwrap().to_owned();
        let bearer = format!("Bearer {}", api.operator);
        let csv = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
        let versions = format!("/api/v1/admin/rate-decks/{deck}/versions");
        let sheet = b"Code,Rate\n44,0.01\n33,0.01\n";
        assert_eq!(api.send("POST", &versions, &csv, sheet).await.status, 201);
        let hook = json!({ "name": "h", "url": "https://hooks.example/1", "events": ["key.created"] });
        let made = api.call(&key, "POST", "/api/v1/webhooks", Some(hook)).await;
        let webhook = made.data()["id"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
        let mut lists = 0;
        for e in api.control.app.endpoints.clone() {
            let Access::Scope(audience, _) = e.access else { continue };
            if !matches!(e.returns, Returns::Page(_)) {
                continue;
            }
            let key = if audience == Audience::Operator { &api.operator } else { &key };
            let path = e.path.replace("{trunk_id}", &trunk).replace("{customer_id}", &customer);
            let path = path.replace("{deck_id}", &deck).replace("{webhook_id}", &webhook);
            let path = path.replace("{number}", "1");
            assert!(!path.contains('{'), "{path}: this test makes no such object, so it would try nothing");
            for (limit, wanted) in [("1", 200), ("200", 200), ("0", 400), ("201", 400), ("x", 400)] {
                let r = api.call(key, "GET", &format!("{path}?limit={limit}"), None).await;
                assert_eq!(r.status, wanted, "{path}?limit={limit}: {}", r.body);
                assert!(wanted != 200 || limit != "1" || r.data().as_array().unwrap().len() <= 1, "{path}");
            }
            lists += 1;
        }
        assert!(lists > 15, "{lists} lists");
        for (list, field) in [("ips", "address"), ("credentials", "username")] {
            let base = format!("/api/v1/trunks/{trunk}/{list}?limit=1");
            let (mut path, mut seen) = (base.clone(), Vec::new());
            loop {
                let page = api.call(&key, "GET", &path, None).await.json();
                seen.extend(
                    page["data"].as_array().unwrap().iter().map(|x| x[field].as_str().unwrap().to_owned()),
                );
                match page["meta"]["next_cursor"].as_str() {
                    Some(cursor) => path = format!("{base}&cursor={cursor}"),
                    None => break,
                }
            }
            assert_eq!(seen.len(), 3, "{list}: {seen:?}");
        }
        let wrong = api.call(&key, "GET", &format!("/api/v1/trunks/{trunk}/ips?cursor=eHh4"), None).await;
        assert_eq!(wrong.code(), "invalid_cursor");
    });
}

/// Whether a path is one of an endpoint's.
fn is_of(path: &str, template: &str) -> bool {
    let (path, template) = (path.split('?').next().unwrap_or(path), template);
    path.split('/').count() == template.split('/').count()
        && path.split('/').zip(template.split('/')).all(|(p, t)| t.starts_with('{') || p == t)
}

/// What was made says where it can be read, and there it can: by every endpoint that is published with a 201.
#[test]
fn each_201_carries_a_location_that_leads_to_what_was_made() {
    with_api(|api| async move {
        let (own, key) = api.customer("Own").await;
        let seen = std::cell::RefCell::new(Vec::<String>::new());
        static ONCE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        // By whom, where, with what body; which member says what it is. Gives that member's value.
        let make = async |secret: &str, path: &str, kind: &str, body: String, field: &str| {
            let once = format!("k{}", ONCE.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let bearer = format!("Bearer {secret}");
            let money = ["/top-ups", "/adjustments", "/reversal"].iter().any(|end| path.ends_with(end));
            let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", kind)];
            headers.extend(money.then_some(("Idempotency-Key", once.as_str())));
            let r = api.send("POST", path, &headers, body.as_bytes()).await;
            assert_eq!(r.status, 201, "{path}: {}", r.body);
            let at = r.header("location").unwrap_or_else(|| panic!("{path}: no Location")).to_owned();
            let there = api.call(secret, "GET", &at, None).await;
            assert_eq!(there.status, 200, "{path}: {at}: {}", there.body);
            let there = there.data();
            let there = if there.is_array() { there[0].clone() } else { there };
            let data = r.data();
            let data = if data["key"].is_object() { data["key"].clone() } else { data };
            assert!(!data[field].is_null(), "{path}: no {field} in {data}");
            assert_eq!(there[field], data[field], "{path}: {at}");
            seen.borrow_mut().push(path.to_owned());
            let value = &data[field];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        let json_of = "application/json";
        let by_operator = async |path: &str, body: Value, field: &str| {
            make(&api.operator, &format!("/api/v1/admin{path}"), json_of, body.to_string(), field).await
        };
        let by_customer = async |path: &str, body: Value, field: &str| {
            make(&key, &format!("/api/v1{path}"), json_of, body.to_string(), field).await
        };
        let user = json!({ "username": "a+b", "password": "correct horse battery" });
        let engineer = |subject: &str| json!({ "email": "ada@acme.example", "name": "Ada", "role": "engineer", "subject": subject });
        let hook = json!({
            "name": "billing", "url": "https://hooks.acme.example/warp", "events": ["balance.low"]
        });

        let customer = by_operator("/customers", json!({ "name": "Acme" }), "id").await;
        let of_customer = |list: &str| format!("/customers/{customer}/{list}");
        by_operator(&of_customer("bans"), json!({ "name": "b" }), "id").await;
        by_operator(&of_customer("keys"), json!({ "name": "k" }), "id").await;
        by_operator(&of_customer("users"), engineer("auth0|1"), "id").await;
        by_operator(&of_customer("views"), json!({ "reason": "ticket 4711" }), "id").await;
        let webhook = by_operator(&of_customer("webhooks"), hook.clone(), "id").await;
        by_operator(&format!("/webhooks/{webhook}/test"), json!({}), "event_id").await;
        by_operator("/webhooks", hook.clone(), "id").await;
        let trunk = by_operator(&of_customer("trunks"), json!({ "name": "t" }), "id").await;
        by_operator(&format!("/trunks/{trunk}/ips"), json!({ "address": "2001:db8::/64" }), "address").await;
        by_operator(&format!("/trunks/{trunk}/credentials"), user.clone(), "username").await;
        let ban = api.op("GET", &format!("/trunks/{trunk}"), None).await.data()["ban_id"].clone();
        let of_ban = |list: &str| format!("/bans/{}/{list}", ban.as_str().unwrap());
        let money = json!({ "amount": { "amount": "5", "currency": "USD" }, "reason": "wire 17" });
        by_operator(&of_ban("top-ups"), money.clone(), "id").await;
        let mut debit = money;
        debit["direction"] = json!("debit");
        let posting = by_operator(&of_ban("adjustments"), debit, "id").await;
        by_operator(&format!("/ledger/{posting}/reversal"), json!({ "reason": "by mistake" }), "id").await;
        let made = by_operator("/keys", json!({ "name": "k" }), "id").await;
        by_operator(&format!("/keys/{made}/rotate"), json!({}), "id").await;
        let operator = json!({
            "email": "grace@carrier.example", "name": "Grace", "role": "noc", "subject": "auth0|2"
        });
        by_operator("/operators", operator, "id").await;
        let range = json!({ "setup_from": "2026-11-01T00:00:00Z", "setup_before": "2026-11-02T00:00:00Z" });
        let mut job = json!({ "name": "calls of a day", "kind": "call_export", "call_export": range });
        job["call_export"]["format"] = json!("csv");
        by_operator("/jobs", job.clone(), "id").await;
        let nightly = json!({
            "name": "s", "kind": "call_export", "call_export": {}, "every": "day", "at": "02:00", "time_zone": "UTC"
        });
        by_operator("/schedules", nightly.clone(), "id").await;
        let vendor = by_operator("/vendors", json!({ "slug": "v", "name": "V" }), "id").await;
        let body = json!({ "name": "t", "addresses": ["127.0.0.1:5060"] });
        by_operator(&format!("/vendors/{vendor}/trunks"), body, "id").await;
        let partition = by_operator("/partitions", json!({ "name": "p" }), "id").await;
        by_operator("/overrides", json!({ "partition_id": partition, "reason": "r" }), "id").await;
        by_operator("/blocks", json!({ "code": "2524", "reason": "r" }), "id").await;
        let worth = json!({ "amount": "1.0842", "currency": "USD" });
        by_operator("/exchange-rates", json!({ "currency": "EUR", "worth": worth, "reason": "r" }), "id")
            .await;
        let body = json!({ "vendor_id": vendor, "kind": "permanent", "reason": "r" });
        by_operator("/exclusions", body, "id").await;
        by_operator("/numbers", json!({ "number": "+14155550199", "customer_id": customer }), "id").await;
        let account = json!({ "name": "a", "system_id": "a-1", "password": "a-secret" });
        by_operator(&format!("/customers/{customer}/smpp-accounts"), account, "id").await;
        let opt_out = json!({ "sender": "+12025550100", "recipient": "+14155550124", "reason": "r" });
        by_operator(&format!("/customers/{customer}/opt-outs"), opt_out, "id").await;
        let bind = json!({ "name": "b", "addresses": ["192.0.2.1:2775"], "system_id": "warp" });
        let bind = by_operator(&format!("/vendors/{vendor}/binds"), bind, "id").await;
        let route = json!({ "direction": "from_customer", "place": 0, "targets": [bind], "reason": "r" });
        by_operator("/message-routes", route, "id").await;
        let price = json!({ "code": "1", "price": { "amount": "0.01", "currency": "USD" } });
        by_operator("/message-prices", price, "id").await;
        let deck = by_operator("/rate-decks", json!({ "name": "d", "kind": "az" }), "id").await;
        let versions = format!("/api/v1/admin/rate-decks/{deck}/versions");
        make(&api.operator, &versions, "text/csv", "Code,Rate\n44,0.01\n".to_owned(), "number").await;

        let opt_out = json!({ "sender": "+12025550100", "recipient": "+14155550125", "reason": "r" });
        by_customer("/opt-outs", opt_out, "id").await;
        let trunk = by_customer("/trunks", json!({ "name": "t" }), "id").await;
        by_customer(&format!("/trunks/{trunk}/ips"), json!({ "address": "198.51.100.9" }), "address").await;
        by_customer(
            &format!("/trunks/{trunk}/credentials"),
            json!({ "username": "c", "password": "correct horse battery" }),
            "username",
        )
        .await;
        let made = by_customer("/keys", json!({ "name": "k" }), "id").await;
        by_customer(&format!("/keys/{made}/rotate"), json!({}), "id").await;
        by_customer("/users", engineer("auth0|3"), "id").await;
        by_customer("/jobs", job, "id").await;
        by_customer("/schedules", nightly, "id").await;
        let webhook = by_customer("/webhooks", hook, "id").await;
        by_customer(&format!("/webhooks/{webhook}/test"), json!({}), "event_id").await;

        // None that is published was left out.
        let seen = seen.into_inner();
        let left_out: Vec<String> = api
            .control
            .app
            .endpoints
            .iter()
            .filter(|e| matches!(e.returns, Returns::One(201, _)))
            .filter(|e| !seen.iter().any(|path| is_of(path, e.path)))
            .map(|e| format!("{} {}", e.method, e.path))
            .collect();
        assert_eq!(left_out, Vec::<String>::new());

        let foreign = api.customer("Other").await.1;
        for (list, customer) in [("bans", &customer), ("keys", &customer), ("keys", &own)] {
            let id =
                api.op("GET", &format!("/customers/{customer}/{list}"), None).await.data()[0]["id"].clone();
            let path = format!("/api/v1/{list}/{}", id.as_str().unwrap());
            assert_eq!(api.call(&foreign, "GET", &path, None).await.status, 404, "{path}");
        }
    });
}

#[test]
fn values_that_mean_nothing_are_422_with_their_field() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        for filter in [
            "outcome=lost",
            "outcome=",
            "direction=sideways",
            "direction=",
            "code=abc",
            "code=99",
            "code=700",
            "trunk=x",
            "called=bob",
            "caller=sip:x",
            "setup_at[gte]=yesterday",
            "setup_at[lt]=1",
            "posted_at[gte]=x",
            "call_id=",
            "call_id=%20",
        ] {
            let r = api.call(&key, "GET", &format!("/api/v1/calls?{filter}"), None).await;
            let name = filter.split('=').next().unwrap();
            assert_eq!((r.status, r.code().as_str()), (422, "validation_failed"), "{filter}");
            assert_eq!(r.json()["error"]["field"], name, "{filter}");
        }
        for path in [
            "/calls?vendor=x",
            "/calls?customer=x",
            "/trunks?customer=x",
            "/vendor-trunks?vendor=1",
            "/bans?customer=y",
        ] {
            assert_eq!(api.op("GET", path, None).await.status, 422, "{path}");
        }
        let two = api.op("GET", "/calls?code=x&outcome=y", None).await.json();
        assert_eq!(two["error"]["details"].as_array().unwrap().len(), 2, "all at once: {two}");
        for blank in [" ", "\u{200b}\u{a0}", "\u{3164}"] {
            for (path, body) in [
                ("/customers".to_owned(), json!({ "name": blank })),
                ("/partitions".to_owned(), json!({ "name": blank })),
                ("/vendors".to_owned(), json!({ "slug": "v", "name": blank })),
                ("/keys".to_owned(), json!({ "name": blank })),
                (format!("/customers/{customer}/trunks"), json!({ "name": blank })),
            ] {
                assert_eq!(api.op("POST", &path, Some(body)).await.status, 422, "{path} {blank:?}");
            }
        }
        for currency in ["XXX", "ABC", "usd", "DEM"] {
            let body = json!({ "name": "c", "currency": currency });
            assert_eq!(api.op("POST", "/customers", Some(body)).await.status, 422, "{currency}");
            let body = json!({ "name": "p", "margin_per_min": { "amount": "1", "currency": currency } });
            assert_eq!(api.op("POST", "/partitions", Some(body)).await.status, 422, "{currency}");
        }
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let trunk = trunk["id"].as_str().unwrap().to_owned();
        let vendor = api.op("POST", "/vendors", Some(json!({ "slug": "v", "name": "V" }))).await.data();
        let vendor = vendor["id"].as_str().unwrap().to_owned();
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "ff02::1",
            "::ffff:192.0.2.1",
            "::1.2.3.4",
        ] {
            let acl = json!({ "address": ip });
            let socket = if ip.contains(':') { format!("[{ip}]:5060") } else { format!("{ip}:5060") };
            for (path, body) in [
                (format!("/trunks/{trunk}/ips"), acl),
                (format!("/customers/{customer}/trunks"), json!({ "name": "m", "media_ips": [ip] })),
                (format!("/vendors/{vendor}/trunks"), json!({ "name": "a", "addresses": [socket] })),
                (
                    format!("/vendors/{vendor}/trunks"),
                    json!({ "name": "a", "addresses": ["127.0.0.1:5060"], "media_ips": [ip] }),
                ),
                (
                    format!("/vendors/{vendor}/trunks"),
                    json!({ "name": "a", "addresses": ["127.0.0.1:5060"], "signalling_ips": [ip] }),
                ),
                ("/keys".to_owned(), json!({ "name": "k", "ip_allow": [ip] })),
            ] {
                assert_eq!(api.op("POST", &path, Some(body.clone())).await.status, 422, "{path} {body}");
            }
        }
        for network in ["0.0.0.0/24", "224.0.0.0/24", "::ffff:0.0.0.0/96", "::/64"] {
            let r =
                api.op("POST", &format!("/trunks/{trunk}/ips"), Some(json!({ "address": network }))).await;
            assert_eq!(r.status, 422, "{network}");
        }
    });
}

/// A reader that goes on from the last cursor misses no record, even one whose posting began earlier and ended later.
#[test]
fn records_are_read_without_gaps_by_when_they_were_posted() {
    use warp_control_plane::store::Scope;
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let trunk = trunk["id"].as_str().unwrap().to_owned();
        let insert = "INSERT INTO calls (cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, setup_at, end_at,
                duration_ms, sip_code, release_side, internal_code, outcome, recovered, snapshot_id, record)
            VALUES ($1, $2, $3, 'x', '192.0.2.1', '1', '2', now(), now(), 0, 486, 'callee', '', 'busy', false, 's', '{}')";
        let id = || warp_model::CallId::new(api.control.app.wall(), api.control.app.random_id()).to_string();
        let post = async |tx: &mut warp_control_plane::store::Tx, id: &str| {
            let query = sqlx::query(insert).bind(id.to_owned()).bind(customer.clone()).bind(trunk.clone());
            tx.run(query).await.unwrap();
        };
        let store = api.control.app.store.clone();
        let (first, early, late) = (id(), id(), id());
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        post(&mut tx, &first).await;
        tx.commit().await.unwrap();
        // Two posters: one begins earlier …
        let mut slow = store.begin(Scope::Operator("test")).await.unwrap();
        post(&mut slow, &early).await;
        let fast = {
            let (store, insert, late) = (store.clone(), insert, late.clone());
            let (customer, trunk) = (customer.clone(), trunk.clone());
            tokio::spawn(async move {
                // … and the other would be readable before it, with a later time, if it did not have to wait.
                loop {
                    let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
                    let query =
                        sqlx::query(insert).bind(late.clone()).bind(customer.clone()).bind(trunk.clone());
                    match tx.run(query).await {
                        Ok(_) => return tx.commit().await.unwrap(),
                        Err(e) => assert!(e.may_pass(), "{e}"),
                    }
                }
            })
        };
        let read = async |cursor: Option<&str>| {
            let mut path = "/api/v1/calls?sort=posted_at&limit=1".to_owned();
            let (mut ids, mut last) = (Vec::new(), cursor.map(str::to_owned));
            if let Some(c) = cursor {
                path = format!("{path}&cursor={c}");
            }
            loop {
                let page = api.call(&key, "GET", &path, None).await.json();
                ids.extend(
                    page["data"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()),
                );
                last = page["meta"]["last_cursor"].as_str().map(str::to_owned).or(last);
                match page["meta"]["next_cursor"].as_str() {
                    Some(next) => path = format!("/api/v1/calls?sort=posted_at&limit=1&cursor={next}"),
                    None => return (ids, last.unwrap()),
                }
            }
        };
        let (seen, cursor) = read(None).await;
        assert_eq!(seen, std::slice::from_ref(&first));
        slow.commit().await.unwrap();
        fast.await.unwrap();
        let (seen, cursor) = read(Some(&cursor)).await;
        assert_eq!(seen, [early.clone(), late.clone()], "a record that was posted slowly is missed");
        assert_eq!(read(Some(&cursor)).await.0, Vec::<String>::new());
        // Who wants only what comes from now on begins behind the newest.
        let page = api.call(&key, "GET", "/api/v1/calls?sort=-posted_at", None).await.json();
        assert_eq!(page["meta"]["last_cursor"], cursor.as_str());
        let second = api.call(&key, "GET", "/api/v1/calls?sort=-posted_at&limit=1", None).await.json();
        let next = second["meta"]["next_cursor"].as_str().unwrap();
        let path = format!("/api/v1/calls?sort=-posted_at&limit=1&cursor={next}");
        let older = api.call(&key, "GET", &path, None).await.json();
        assert!(older["meta"]["last_cursor"].is_null(), "a further page knows nothing of what is newest");
        assert_eq!(older["data"][0]["id"], early.as_str());
        // A cursor of one order is one of the other too.
        let by_setup = format!("/api/v1/calls?sort=setup_at&cursor={cursor}");
        assert_eq!(api.call(&key, "GET", &by_setup, None).await.status, 200);
        let newest = page["data"].clone();
        let ids: Vec<&str> = newest.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [late.as_str(), early.as_str(), first.as_str()]);
        let from = newest[0]["posted_at"].as_str().unwrap();
        let since = api.call(&key, "GET", &format!("/api/v1/calls?posted_at[gte]={from}"), None).await.data();
        assert!(since.as_array().unwrap().iter().any(|c| c["id"] == late.as_str()));
        let wrong = api.call(&key, "GET", "/api/v1/calls?sort=posted_at&cursor=Y2FsbF8x", None).await;
        assert_eq!(wrong.code(), "invalid_cursor");
    });
}

#[test]
fn request_ids_are_echoed_or_made_and_limits_are_told_on_every_answer() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let bearer = format!("Bearer {key}");
        let send = async |id: &str| {
            api.send("GET", "/api/v1/trunks", &[("Authorization", &bearer), ("X-Request-Id", id)], b"").await
        };
        let given = send("trace-7_A.b").await;
        assert_eq!(given.header("x-request-id"), Some("trace-7_A.b"));
        assert_eq!(given.json()["meta"]["request_id"], "trace-7_A.b");
        let long = "r".repeat(65);
        for wrong in ["", "a b", "a\tb", "<b>", "\u{e9}", "a%0d%0aSet-Cookie:x", long.as_str()] {
            let r = send(wrong).await;
            assert!(r.header("x-request-id").is_some_and(|i| i.starts_with("req_")), "{wrong:?}: {}", r.head);
        }
        for name in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            assert!(given.header(name).is_some_and(|v| v.parse::<u64>().is_ok()), "{name}: {}", given.head);
        }
    });
}

/// docs/reference/errors.md has exactly the closed list of codes.
#[test]
fn the_page_of_errors_is_that_of_the_code() {
    let mut text = String::from(
        "# Error codes\n\nMade from the code and compared by a test. Every error answer is \
         `{\"success\":false,\"error\":{\"code\",\"message\",\"doc_url\",…},\"meta\":{\"timestamp\",\"request_id\"}}`; a running \
         system serves this list at `/api/docs/errors`.\n\n| code | status | meaning |\n| --- | --- | --- |\n",
    );
    for code in Code::ALL {
        text.push_str(&format!("| `{}` | {} | {} |\n", code.as_str(), code.status(), code.meaning()));
    }
    let path = format!("{}/../docs/reference/errors.md", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("WARP_WRITE_OPENAPI").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "docs/reference/errors.md is not what the code says: run with WARP_WRITE_OPENAPI=1"
    );
}
