//! Idempotency keys (T-API-10): the work and its answer are kept together, whoever leaves; a replay is the first answer.
mod common;

use common::{Api, Reply, eventually, with_api};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use warp_control_plane::store::Scope;

async fn post(api: &Api, path: &str, idempotency: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {}", api.operator);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", idempotency),
    ];
    api.send("POST", &format!("/api/v1/admin{path}"), &headers, body.to_string().as_bytes()).await
}

/// What must be equal: status line, body and every header but Date and the rate limits.
fn essence(r: &Reply) -> (u16, String, Vec<String>) {
    let apart = |l: &&str| {
        let name = l.split(':').next().unwrap_or("").to_ascii_lowercase();
        name != "date" && !name.starts_with("ratelimit-")
    };
    let mut headers: Vec<String> = r.head.lines().skip(1).filter(apart).map(str::to_owned).collect();
    headers.sort();
    (r.status, r.body.clone(), headers)
}

#[test]
fn t_api_10_a_replay_is_the_first_answer_to_the_byte_with_status_and_headers() {
    with_api(|api| async move {
        let body = json!({ "name": "Acme" });
        let first = post(&api, "/customers", "k1", &body).await;
        assert_eq!(first.status, 201);
        assert!(first.header("location").is_some_and(|l| l.starts_with("/api/v1/admin/customers/cus_")));
        let again = post(&api, "/customers", "k1", &body).await;
        assert_eq!(essence(&first), essence(&again));
        assert_eq!(again.header("etag"), Some("\"1\""));
        // Refusals that say how the work ended are first answers too.
        let slug = json!({ "slug": "alpha", "name": "Alpha" });
        assert_eq!(post(&api, "/vendors", "v1", &slug).await.status, 201);
        let taken = post(&api, "/vendors", "v2", &slug).await;
        assert_eq!((taken.status, taken.code().as_str()), (409, "conflict"));
        assert_eq!(essence(&taken), essence(&post(&api, "/vendors", "v2", &slug).await));
        assert_eq!(api.op("GET", "/customers", None).await.data().as_array().unwrap().len(), 1);
        // Another request with the same key is refused; so is the replay of a secret.
        let other = post(&api, "/customers", "k1", &json!({ "name": "Other" })).await;
        assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"));
        assert_eq!(post(&api, "/keys", "s1", &json!({ "name": "k" })).await.status, 201);
        let secret = post(&api, "/keys", "s1", &json!({ "name": "k" })).await;
        assert_eq!((secret.status, secret.code().as_str()), (409, "idempotency_conflict"));
        assert!(!secret.body.contains("wk_"), "{}", secret.body);
    });
}

#[test]
fn t_api_10_a_422_does_not_burn_the_key() {
    with_api(|api| async move {
        for _ in 0..2 {
            assert_eq!(post(&api, "/customers", "k", &json!({ "name": "" })).await.status, 422);
        }
        assert_eq!(post(&api, "/customers", "k", &json!({ "name": "Acme" })).await.status, 201);
    });
}

/// The client sends its request and leaves at once. The work is done once, and its answer is there for the next try.
#[test]
fn t_api_10_a_key_survives_the_client_that_leaves() {
    with_api(|api| async move {
        let body = json!({ "name": "Acme" }).to_string();
        for round in 0..10 {
            let request = format!(
                "POST /api/v1/admin/customers HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: gone{round}\r\nContent-Length: {}\r\n\r\n{body}",
                api.operator,
                body.len()
            );
            let mut stream = tokio::net::TcpStream::connect(api.control.addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            drop(stream);
        }
        // Whatever of the ten was received, each key ends with one customer and its first answer, never with "being worked on".
        for round in 0..10 {
            let answer = eventually("the answer of a key whose client left", || async {
                let r = post(&api, "/customers", &format!("gone{round}"), &json!({ "name": "Acme" })).await;
                Some(r).filter(|r| r.code() != "idempotency_conflict")
            })
            .await;
            assert_eq!(answer.status, 201, "{}", answer.body);
        }
        let customers = api.op("GET", "/customers?limit=200", None).await.data();
        assert_eq!(customers.as_array().unwrap().len(), 10, "a customer was made twice");
    });
}

/// The same request many times at the same moment: one does the work, the others are told so or get its answer.
#[test]
fn t_api_10_the_same_request_at_the_same_moment_is_done_once() {
    with_api(|api| async move {
        let body = json!({ "name": "Acme" });
        let tries = (0..8).map(|_| {
            let (api, body) = (api.clone(), body.clone());
            tokio::spawn(async move { post(&api, "/customers", "same", &body).await.status })
        });
        let mut made = 0;
        for t in tries.collect::<Vec<_>>() {
            match t.await.unwrap() {
                201 => made += 1,
                status => assert_eq!(status, 409),
            }
        }
        assert!(made >= 1);
        let customers = api.op("GET", "/customers", None).await.data();
        assert_eq!(customers.as_array().unwrap().len(), 1);
    });
}

/// Work and answer are one transaction: what cannot be kept is not done, and what is not done is not kept.
#[test]
fn t_api_10_the_work_and_its_answer_are_kept_together() {
    with_api(|api| async move {
        let count = async |api: &Api, what: &'static str| {
            use sqlx::Row;
            let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
            let row = sqlx::query(what).fetch_one(tx.db()).await.unwrap();
            row.get::<i64, _>(0)
        };
        // Nobody can keep an answer: a row of the same key stands in an open transaction of another connection.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("LOCK TABLE idempotency_keys IN SHARE MODE").execute(tx.db()).await.unwrap();
        let refused = post(&api, "/customers", "k", &json!({ "name": "Acme" })).await;
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert_eq!(count(&api, "SELECT count(*) FROM customers").await, 0, "work without its answer");
        drop(tx);
        // The key is free as soon as PostgreSQL has taken back what was refused; until then it is being worked on.
        let answer = eventually("the key of refused work", || async {
            let r = post(&api, "/customers", "k", &json!({ "name": "Acme" })).await;
            Some(r).filter(|r| r.code() != "idempotency_conflict")
        })
        .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(count(&api, "SELECT count(*) FROM customers").await, 1);
        // A refusal leaves nothing of its work behind.
        let body = json!({ "name": "p", "vendors": [{ "vendor_id": "vnd_00000000000000000000000001" }] });
        assert_eq!(post(&api, "/partitions", "p", &body).await.status, 422);
        assert_eq!(count(&api, "SELECT count(*) FROM partitions").await, 0);
        assert_eq!(count(&api, "SELECT count(*) FROM idempotency_keys").await, 1);
    });
}
