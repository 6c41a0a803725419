//! API keys through their life: the one that follows another, and the one that is made when the last was lost (T-API-12).

mod common;

use common::{Api, with_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::{Access, Audience};
use warp_control_plane::app::keys;
use warp_control_plane::app::permission::{OperatorRole, Permission, Role};
use warp_control_plane::store::{Store, StoreError, migrate};
use warp_control_plane::{Config, Database};
use warp_model::Secret;

#[test]
fn t_api_12_a_key_is_followed_by_another_one_and_both_live_meanwhile() {
    with_api(|api| async move {
        let (id, _) = api.customer("Acme").await;
        let body = json!({ "name": "pbx", "scopes": ["trunks:read"], "ip_allow": ["127.0.0.0/24"], "expires_in_days": 30 });
        let old = made(&api, &format!("/customers/{id}/keys"), body).await;
        let next = made(&api, &rotation(&old), json!({})).await;
        for field in ["name", "scopes", "ip_allow", "expires_at", "customer_id"] {
            assert_eq!(next["key"][field], old["key"][field], "{field}");
        }
        assert_ne!(next["secret"], old["secret"]);
        for key in [&old, &next] {
            assert_eq!(reads(&api, key).await, 200, "both live during the overlap");
        }
        let seen = api.op("GET", &format!("/keys/{}", text(&old, "id")), None).await.data();
        assert_eq!(seen["replaced_by"], next["key"]["id"]);
        let left = seen["expires_at"].as_str().unwrap() < old["key"]["expires_at"].as_str().unwrap();
        assert!(left, "one day, not thirty: {seen}");
        let twice = api.op("POST", &rotation(&old), Some(json!({}))).await;
        assert_eq!((twice.status, twice.code().as_str()), (409, "conflict"), "two live keys, not three");
        // Without overlap the old one ends at once.
        let last = made(&api, &rotation(&next), json!({ "overlap_s": 0 })).await;
        assert_eq!((reads(&api, &next).await, reads(&api, &last).await), (401, 200));
        assert_eq!(api.op("POST", &rotation(&next), Some(json!({}))).await.status, 409);
        for wrong in [json!({ "overlap_s": 604_801 }), json!({ "overlap_s": -1 }), json!({ "days": 1 })] {
            assert_eq!(api.op("POST", &rotation(&last), Some(wrong.clone())).await.status, 422, "{wrong}");
        }
        let audit = api.op("GET", "/audit", None).await.data();
        let lines = audit.as_array().unwrap().iter().filter(|l| l["action"] == "key.rotate");
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["object"], old["key"]["id"]);
        assert_eq!(lines[1]["detail"]["replaced_by"], next["key"]["id"]);
        for key in [&old, &next, &last] {
            assert!(
                !audit.to_string().contains(key["secret"].as_str().unwrap()),
                "a secret is in the audit log"
            );
        }
    });
}

#[test]
fn t_api_12_nobody_rotates_a_key_that_may_more_than_himself() {
    with_api(|api| async move {
        let clerk = api.key_alone(None, json!({ "name": "clerk", "scopes": ["keys:write"] })).await;
        let strong = made(&api, "/keys", json!({ "name": "strong" })).await;
        let (id, _) = api.customer("Acme").await;
        let customers = made(&api, &format!("/customers/{id}/keys"), json!({ "name": "pbx" })).await;
        let secret = clerk["secret"].as_str().unwrap();
        for key in [&strong, &customers] {
            let path = format!("/api/v1/admin{}", rotation(key));
            let r = api.call(secret, "POST", &path, Some(json!({}))).await;
            assert_eq!((r.status, r.code().as_str()), (403, "forbidden"), "{}", r.body);
        }
        let own = format!("/api/v1/admin{}", rotation(&clerk));
        assert_eq!(api.call(secret, "POST", &own, Some(json!({}))).await.status, 201, "itself it may");
        // Another customer's key looks like one that never was.
        let (_, other) = api.customer("Other").await;
        let path = format!("/api/v1/keys/{}/rotate", text(&customers, "id"));
        assert_eq!(api.call(&other, "POST", &path, Some(json!({}))).await.status, 404);
        // Who is bound to an address does not make a key that is not.
        let bound = json!({ "name": "bound", "scopes": ["keys:write"], "ip_allow": ["127.0.0.1"] });
        let bound = api.key_alone(None, bound).await;
        let weak = api.key_alone(None, json!({ "name": "weak", "scopes": ["keys:write"] })).await;
        let path = format!("/api/v1/admin{}", rotation(&weak));
        let r = api.call(bound["secret"].as_str().unwrap(), "POST", &path, Some(json!({}))).await;
        assert_eq!(r.status, 403, "{}", r.body);
    });
}

#[test]
fn t_api_12_who_owns_the_schema_recovers_a_key_that_manages_keys_for_a_day() {
    with_api(|api| async move {
        let app = &api.control.app;
        let name = database(&app.store).await;
        let shown = |api: &Api| {
            let text = api.control.registry().render();
            text.lines().find_map(|l| l.strip_prefix("warp_keys_recovered_total ").map(str::to_owned))
        };
        assert_eq!(shown(&api).as_deref(), Some("0"));
        // Neither the app role by itself nor as if it were the owner.
        for migrate in [None, Some(url(migrate::APP_ROLE, &name)), Some(url(migrate::READONLY_ROLE, &name))] {
            let database = Database::Url { app: url(migrate::APP_ROLE, &name), migrate };
            let refused = Store::open_as_owner(&database).await;
            assert!(matches!(&refused, Err(StoreError::Schema(_) | StoreError::Internal(_))), "{refused:?}");
        }
        let owner = Database::Url {
            app: url(migrate::APP_ROLE, &name),
            migrate: Some(url(migrate::MIGRATE_ROLE, &name)),
        };
        let store = Store::open_as_owner(&owner).await.unwrap();
        let recovered = keys::recover(&store, false, "local:uid 0", app.wall()).await.unwrap();
        store.leave().await;
        let secret = recovered.secret.as_str();
        let ends = recovered.key.expires_at.as_ref().unwrap().0;
        assert!(ends <= app.wall().plus(keys::RECOVERED_LIVES) && ends > app.wall(), "{ends}");
        for (method, path) in
            [("GET", "/customers"), ("GET", "/audit"), ("POST", "/partitions"), ("GET", "/vendors")]
        {
            let r =
                api.call(secret, method, &format!("/api/v1/admin{path}"), Some(json!({ "name": "x" }))).await;
            assert_eq!(r.status, 403, "{method} {path}: {}", r.body);
        }
        // What was lost is made with it.
        let strong =
            api.call(secret, "POST", "/api/v1/admin/keys", Some(json!({ "name": "new first" }))).await.data();
        let strong = strong["secret"].as_str().unwrap();
        assert_eq!(api.call(strong, "GET", "/api/v1/admin/customers", None).await.status, 200);
        let audit = api.op("GET", "/audit", None).await.data();
        let line = audit.as_array().unwrap().iter().find(|l| l["action"] == "key.recover").unwrap();
        assert_eq!((&line["actor"], &line["object"]), (&json!("local:uid 0"), &json!(recovered.key.id)));
        assert_eq!(shown(&api).as_deref(), Some("1"), "counted at its first use");
    });
}

/// A private cluster is started for it and left as it was found.
#[test]
fn a_private_cluster_is_only_looked_for_and_never_made() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = dir.path().join("pg");
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = Config::new(Database::Private { dir: wanted.clone() }, listen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(Store::open_as_owner(&config.database));
    assert!(matches!(&opened, Err(StoreError::Schema(_))), "{opened:?}");
    assert!(!wanted.exists());
}

async fn made(api: &Api, path: &str, body: Value) -> Value {
    api.op("POST", path, Some(body)).await.data()
}

fn rotation(made: &Value) -> String {
    format!("/keys/{}/rotate", text(made, "id"))
}

fn text<'v>(made: &'v Value, name: &str) -> &'v str {
    made["key"][name].as_str().unwrap()
}

async fn reads(api: &Api, made: &Value) -> u16 {
    api.call(made["secret"].as_str().unwrap(), "GET", "/api/v1/trunks", None).await.status
}

async fn database(store: &Store) -> String {
    use sqlx::Row;
    let asked = sqlx::query("SELECT current_database()::text");
    asked.fetch_one(store.listen_pool()).await.unwrap().get(0)
}

/// As an administrator writes it, over the socket of the test's cluster.
fn url(role: &str, database: &str) -> Secret<String> {
    let options = common::cluster().unwrap().options(role, database);
    let socket = options.get_socket().unwrap().display().to_string().replace('/', "%2F");
    Secret::new(format!("postgres://{role}@localhost:{}/{database}?host={socket}", options.get_port()))
}

#[test]
fn t_api_05_support_looks_through_a_customers_eyes_and_the_audit_names_both() {
    with_api(|api| async move {
        let (mine, key) = api.customer("Mine").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let (support, token) = api.person(Role::Operator(OperatorRole::Support), None).await;
        let path = format!("/api/v1/admin/customers/{mine}/views");
        for wrong in [json!({}), json!({ "reason": "" }), json!({ "reason": "x" })] {
            assert_eq!(api.call(&token, "POST", &path, Some(wrong)).await.status, 422);
        }
        let made = api.call(&token, "POST", &path, Some(json!({ "reason": "ticket 4711" }))).await.data();
        let secret = made["secret"].as_str().unwrap();
        assert_eq!(api.call(secret, "GET", "/api/v1/customer", None).await.data()["id"], mine.as_str());
        let at = format!("/api/v1/trunks/{}", trunk["id"].as_str().unwrap());
        assert_eq!(api.call(secret, "GET", &at, None).await.data()["name"], "t");
        // It only reads, whatever the endpoint, and only this customer.
        for e in &api.control.app.endpoints {
            let Access::Scope(Audience::Customer, p) = e.access else { continue };
            let computes = p == Permission::RouteTest;
            if e.method == "GET" || computes {
                continue;
            }
            let path = e.path.replace("{trunk_id}", trunk["id"].as_str().unwrap());
            let r = api.call(secret, e.method.as_str(), &path, Some(json!({ "name": "x" }))).await;
            assert_eq!(r.status, 403, "{} {path}: {}", e.method, r.body);
        }
        assert_eq!(api.call(secret, "GET", "/api/v1/admin/customers", None).await.status, 403);
        let ends = made["key"]["expires_at"].as_str().unwrap().to_owned();
        let latest = api.control.app.wall().plus(std::time::Duration::from_secs(30 * 60)).to_string();
        assert!(ends <= latest, "{ends} is after {latest}");
        // The log names who looked, at whom and why; the customer sees it among its keys.
        let audit = api.op("GET", "/audit", None).await.data();
        let line = audit.as_array().unwrap().iter().find(|l| l["action"] == "view.start").unwrap();
        assert_eq!((&line["actor"], &line["customer_id"]), (&json!(support), &json!(mine)));
        assert_eq!(line["detail"]["reason"], "ticket 4711");
        let keys = api.call(&key, "GET", "/api/v1/keys", None).await.data();
        assert!(keys.as_array().unwrap().iter().any(|k| k["viewer"] == support.as_str()), "{keys}");
        // A key that follows this one is no key of the customer's own either, and ends with it.
        let rotate = format!("/keys/{}/rotate", made["key"]["id"].as_str().unwrap());
        let next = api.op("POST", &rotate, Some(json!({}))).await.data();
        assert_eq!(
            (&next["key"]["viewer"], &next["key"]["expires_at"]),
            (&json!(support), &json!(ends)),
            "{next}"
        );
        // Who may not look does not, and there is no such view of nobody.
        let (_, noc) = api.person(Role::Operator(OperatorRole::Noc), None).await;
        let body = json!({ "reason": "just so" });
        assert_eq!(api.call(&noc, "POST", &path, Some(body.clone())).await.status, 403);
        let nobody = path.replace(&mine, "cus_00000000000000000000000000");
        assert_eq!(api.call(&token, "POST", &nobody, Some(body)).await.status, 404);
    });
}
