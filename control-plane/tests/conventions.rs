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
            assert!(matches!(e.returns, Returns::Page(_)) && sort.values.len() == 2, "{}", e.path);
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
                    let r = api.op("PATCH", path, Some(json!({ field: round }))).await;
                    assert!(matches!(r.status, 200 | 412), "{} {}", r.status, r.body);
                    r.status == 200
                };
                let (a, b) = tokio::join!(change(one), change(other));
                assert!(a || b);
                let now = api.op("GET", path, None).await.data();
                assert!(!a || now[one] == round, "{one} is lost: {now}");
                assert!(!b || now[other] == round, "{other} is lost: {now}");
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
