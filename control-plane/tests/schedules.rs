//! Schedules: each time begins one job, whoever looks and whoever dies; periods join; times that were missed are stated and become what
//! the schedule says.
mod common;

use std::sync::Arc;

use common::{Api, eventually, insert_call, with_api, with_configured_api};
use serde_json::{Value, json};
use warp_control_plane::jobs::{Spool, schedules};
use warp_control_plane::store::Scope;
use warp_control_plane::{Config, Database};

async fn sql(api: &Api, text: &'static str) -> u64 {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    let done = sqlx::query(text).execute(tx.db()).await.unwrap();
    tx.commit().await.unwrap();
    done.rows_affected()
}

async fn number(api: &Api, text: &'static str) -> i64 {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    sqlx::query_scalar(text).fetch_one(tx.db()).await.unwrap()
}

fn daily(name: &str) -> Value {
    json!({
        "name": name, "kind": "call_export", "call_export": { "format": "csv" },
        "every": "day", "at": "02:00", "time_zone": "America/New_York"
    })
}

async fn made(api: &Api, key: &str, body: Value) -> String {
    let made = api.call(key, "POST", "/api/v1/schedules", Some(body)).await.data();
    made["id"].as_str().unwrap().to_owned()
}

/// The jobs of a schedule, the oldest time first.
async fn jobs(api: &Api, key: &str, schedule: &str) -> Vec<Value> {
    let path = format!("/api/v1/jobs?sort=created_at&limit=200&schedule={schedule}");
    let mut all = api.call(key, "GET", &path, None).await.data().as_array().unwrap().clone();
    all.sort_by_key(|j| j["due_at"].as_str().unwrap_or_default().to_owned());
    all
}

#[test]
fn a_schedule_begins_a_job_for_the_period_since_the_one_before_and_each_call_is_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool { dir: folder.path().join("jobs"), node: "n1".into() };
    with_configured_api(
        |c| c.spool = Some(spool),
        |api| async move {
            let (customer, key) = api.customer("Acme").await;
            let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
            let call = insert_call(&api, &customer, trunk["id"].as_str().unwrap()).await;
            let id = made(&api, &key, daily("calls of a day")).await;
            let at = format!("/api/v1/schedules/{id}");
            let before = api.call(&key, "GET", &at, None).await.data();
            assert!(before["next_at"].is_string() && before["last_job_id"].is_null(), "{before}");
            // It is due now, and again.
            let mut rows = Vec::new();
            for n in 1..=2 {
                sql(&api, "UPDATE schedules SET next_at = now()").await;
                let begun = eventually("a job", async || {
                    let all = jobs(&api, &key, &id).await;
                    (all.len() == n).then(|| all[n - 1].clone())
                })
                .await;
                assert_eq!((&begun["name"], &begun["schedule_id"]), (&json!("calls of a day"), &json!(id)));
                assert_eq!(begun["call_export"]["posted_before"], begun["due_at"]);
                // It waits for what was being posted at that time.
                assert_eq!(begun["status"], "queued");
                sql(&api, "UPDATE jobs SET next_at = now() WHERE status = 'queued'").await;
                let job = format!("/api/v1/jobs/{}", begun["id"].as_str().unwrap());
                let done = eventually("its end", async || {
                    let now = api.call(&key, "GET", &job, None).await.data();
                    (now["status"] == "done").then_some(now)
                })
                .await;
                rows.push((done["result"]["rows"].clone(), done["call_export"].clone()));
                let file = api.call(&key, "GET", &format!("{job}/file"), None).await;
                assert_eq!(file.body.contains(&call), n == 1, "{}", file.body);
            }
            assert_eq!(
                (&rows[0].0, &rows[1].0),
                (&json!(1), &json!(0)),
                "the call is in the first file alone"
            );
            assert_eq!(rows[1].1["posted_from"], rows[0].1["posted_before"], "the periods join");
            let now = api.call(&key, "GET", &at, None).await.data();
            assert_eq!((&now["missed"], &now["error"]), (&json!(0), &Value::Null), "{now}");
            assert!(now["next_at"].as_str() > now["last_due_at"].as_str(), "{now}");
            assert!(now["last_job_id"].as_str().unwrap().starts_with("job_"), "{now}");
            // Its jobs stay when it goes.
            assert_eq!(api.call(&key, "DELETE", &at, None).await.status, 200);
            assert_eq!(number(&api, "SELECT count(*) FROM jobs WHERE schedule_id IS NULL").await, 2);
        },
    );
}

/// Looks as long as there is something to do; how many schedules were looked at.
async fn looks(app: Arc<warp_control_plane::App>) -> usize {
    let mut looked = 0;
    while let n @ 1.. = schedules::begin_due(&app).await.unwrap() {
        looked += n;
    }
    looked
}

#[test]
fn two_nodes_begin_each_time_of_each_schedule_once() {
    common::with_database(|store| async move {
        let start = async || {
            let config = Config::new(Database::Private { dir: "".into() }, "127.0.0.1:0".parse().unwrap());
            warp_control_plane::start_on(store.clone(), config, common::handles()).await.unwrap()
        };
        let first = start().await;
        let operator = first.operator_key.as_ref().unwrap().reveal().clone();
        let second = start().await;
        let api = Api { control: first, operator };
        for n in 0..3 {
            let (_, key) = api.customer(&format!("c{n}")).await;
            for s in 0..5 {
                made(&api, &key, daily(&format!("s{s}"))).await;
            }
        }
        // Four times of each: one that is due, and three that nobody could begin.
        sql(
            &api,
            "UPDATE schedules SET next_at = date_trunc('minute', now()) - interval '3 days 10 minutes'",
        )
        .await;
        let (one, two) = tokio::join!(
            tokio::spawn(looks(api.control.app.clone())),
            tokio::spawn(looks(second.app.clone()))
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one > 0 && two > 0, "both had something to do: {one} and {two}");
        let all = number(&api, "SELECT count(*) FROM jobs").await;
        let times = number(&api, "SELECT count(DISTINCT (schedule_id, due_at)) FROM jobs").await;
        assert_eq!((all, times, all as usize), (60, 60, one + two), "15 schedules, four times each");
        assert_eq!(number(&api, "SELECT count(*) FROM schedules WHERE next_at <= now()").await, 0);
        second.stop_tasks().await;
        api.control.stop_tasks().await;
    });
}

/// A node is killed while it begins jobs; another one goes on: none is missing, none is there twice.
#[test]
fn a_node_that_is_killed_has_begun_a_time_whole_or_not_at_all() {
    if let Ok(database) = std::env::var("SCHEDULE_CHILD") {
        return child(&database);
    }
    let Some(cluster) = common::cluster() else { return };
    common::with_database(|store| async move {
        let config = Config::new(Database::Private { dir: "".into() }, "127.0.0.1:0".parse().unwrap());
        let control = warp_control_plane::start_on(store.clone(), config, common::handles()).await.unwrap();
        let operator = control.operator_key.as_ref().unwrap().reveal().clone();
        let api = Api { control, operator };
        let (_, key) = api.customer("Acme").await;
        made(&api, &key, daily("s")).await;
        // Each hour of 7 days, of which the customer's jobs end at once, so that they hold up none.
        sql(
            &api,
            "UPDATE schedules SET every = 'hour', next_at = date_trunc('hour', now()) - interval '7 days', at = '00:00'",
        )
        .await;
        let place: (String,) =
            sqlx::query_as("SELECT current_database()::text").fetch_one(store.listen_pool()).await.unwrap();
        let options = cluster.options("warp_app", &place.0);
        let socket = options.get_socket().expect("a socket").display().to_string();
        let url =
            format!("postgres://warp_app@localhost/{}?host={socket}&port={}", place.0, options.get_port());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_node_that_is_killed_has_begun_a_time_whole_or_not_at_all", "--nocapture"])
            .env("SCHEDULE_CHILD", url)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("some jobs of the child", async || {
            sql(&api, "UPDATE jobs SET status = 'cancelled' WHERE status = 'queued'").await;
            (number(&api, "SELECT count(*) FROM jobs").await > 25).then_some(())
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        let of_child = number(&api, "SELECT count(*) FROM jobs").await;
        let last = number(&api, "SELECT us(next_at) FROM schedules").await;
        let app = &api.control.app;
        eventually("the others", async || {
            sql(&api, "UPDATE jobs SET status = 'cancelled' WHERE status = 'queued'").await;
            sql(&api, "UPDATE schedules SET look_at = NULL").await;
            schedules::begin_due(app).await.unwrap();
            (number(&api, "SELECT count(*) FROM schedules WHERE next_at <= now()").await == 0).then_some(())
        })
        .await;
        let all = number(&api, "SELECT count(*) FROM jobs").await;
        assert!(of_child < all, "it was killed in the middle: {of_child} of {all}, {last}");
        let hours = "SELECT count(DISTINCT due_at) - (extract(epoch FROM max(due_at) - min(due_at)) / 3600)::bigint FROM jobs";
        assert_eq!(number(&api, hours).await, 1, "each hour from the first to the last");
        assert_eq!(number(&api, "SELECT count(DISTINCT due_at) FROM jobs").await, all);
        let gaps = "SELECT count(*) FROM (SELECT call_export->>'posted_from' AS f, lag(call_export->>'posted_before') OVER (ORDER BY due_at) AS l
            FROM jobs) x WHERE l <> f";
        assert_eq!(number(&api, gaps).await, 0, "the periods join over the death");
        api.control.stop_tasks().await;
    });
}

/// Begins jobs until it is killed.
fn child(url: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = Database::Url { app: warp_model::Secret::new(url.to_owned()), migrate: None };
        let config = Config::new(database, "127.0.0.1:0".parse().unwrap());
        let control = warp_control_plane::start(config, common::handles()).await.unwrap();
        loop {
            let mut tx = control.app.store.begin(Scope::Operator("test")).await.unwrap();
            sqlx::query("UPDATE schedules SET look_at = NULL").execute(tx.db()).await.unwrap();
            tx.commit().await.unwrap();
            schedules::begin_due(&control.app).await.unwrap();
        }
    });
}

#[test]
fn times_that_were_missed_become_what_the_schedule_says_and_are_told() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let mut ids = Vec::new();
        for missed_runs in ["each", "one", "skip"] {
            let mut body = daily(missed_runs);
            (body["missed_runs"], body["time_zone"]) = (json!(missed_runs), json!("UTC"));
            ids.push(made(&api, &key, body).await);
        }
        // Those of three days, and that of an hour ago.
        let past =
            "UPDATE schedules SET at = to_char(now() AT TIME ZONE 'UTC' - interval '1 hour', 'HH24:MI'),
            next_at = date_trunc('minute', now()) - interval '3 days 1 hour'";
        sql(&api, past).await;
        while schedules::begin_due(&api.control.app).await.unwrap() > 0 {}
        let mut seen = Vec::new();
        for id in &ids {
            let now = api.call(&key, "GET", &format!("/api/v1/schedules/{id}"), None).await.data();
            assert!(now["last_missed_at"].is_string(), "{now}");
            seen.push((jobs(&api, &key, id).await.len(), now["missed"].as_i64().unwrap()));
        }
        assert_eq!(seen, [(4, 4), (1, 4), (0, 4)], "jobs and missed times of each, one and skip");
        let one = jobs(&api, &key, &ids[1]).await.remove(0);
        let days = |j: &Value| {
            let time = |n: &str| {
                warp_control_plane::store::types::parse_rfc3339(j["call_export"][n].as_str().unwrap())
            };
            (time("posted_before").unwrap().0 - time("posted_from").unwrap().0) / 86_400_000_000
        };
        assert_eq!(days(&one), 4, "one job for all of them");
        let events = api.call(&key, "GET", "/api/v1/events?type=schedule.missed", None).await.data();
        let of =
            |id: &str| events.as_array().unwrap().iter().filter(|e| e["data"]["schedule_id"] == id).count();
        assert_eq!((of(&ids[0]), of(&ids[1]), of(&ids[2])), (4, 1, 1), "{events}");
        // One that is paused misses nothing, and begins with its next time when it goes on.
        let at = format!("/api/v1/schedules/{}", ids[0]);
        let paused = api.call(&key, "PATCH", &at, Some(json!({ "status": "paused" }))).await.data();
        assert!(paused["next_at"].is_null(), "{paused}");
        let active = api.call(&key, "PATCH", &at, Some(json!({ "status": "active" }))).await.data();
        assert!(active["next_at"].is_string() && active["missed"] == 4, "{active}");
        // A change that leaves its calendar alone takes no time from it that is due.
        sql(&api, "UPDATE schedules SET next_at = date_trunc('minute', now()) - interval '1 minute'").await;
        api.call(&key, "PATCH", &at, Some(json!({ "name": "another" }))).await.data();
        assert_eq!(schedules::begin_due(&api.control.app).await.unwrap(), 3);
        assert_eq!(jobs(&api, &key, &ids[0]).await.len(), 5);
    });
}

#[test]
fn a_schedule_whose_owner_has_too_many_jobs_waits_and_says_so() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let job = json!({ "kind": "call_export", "call_export": {} });
        for _ in 0..20 {
            assert_eq!(api.call(&key, "POST", "/api/v1/jobs", Some(job.clone())).await.status, 201);
        }
        let id = made(&api, &key, daily("s")).await;
        sql(&api, "UPDATE schedules SET next_at = now()").await;
        let at = format!("/api/v1/schedules/{id}");
        assert_eq!(schedules::begin_due(&api.control.app).await.unwrap(), 1, "it is looked at once and left");
        let now = api.call(&key, "GET", &at, None).await.data();
        assert_eq!(now["error"], "there are 20 jobs that are not over");
        sql(&api, "UPDATE jobs SET status = 'cancelled'").await;
        sql(&api, "UPDATE schedules SET look_at = now()").await;
        assert_eq!(schedules::begin_due(&api.control.app).await.unwrap(), 1);
        let now = api.call(&key, "GET", &at, None).await.data();
        assert!(now["error"].is_null() && now["last_job_id"].is_string(), "{now}");
    });
}

#[test]
fn what_is_no_time_of_a_calendar_is_refused_with_its_field() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        for (change, field, code) in [
            (json!({ "time_zone": "Mars/Olympus" }), "time_zone", "no_such_object"),
            (json!({ "time_zone": "../../etc/passwd" }), "time_zone", "invalid"),
            (json!({ "at": "24:00" }), "at", "invalid"),
            (json!({ "at": "2:00" }), "at", "invalid"),
            (json!({ "every": "week" }), "day", "belongs_together"),
            (json!({ "every": "week", "day": 8 }), "day", "contradicts"),
            (json!({ "every": "month", "day": 32 }), "day", "out_of_range"),
            (json!({ "day": 1 }), "day", "contradicts"),
            (
                json!({ "call_export": { "posted_from": "2026-01-01T00:00:00Z" } }),
                "call_export.posted_from",
                "contradicts",
            ),
            (
                json!({ "call_export": { "vendor_id": "vnd_00000000000000000000000001" } }),
                "call_export.vendor_id",
                "operators_only",
            ),
        ] {
            let mut body = daily("s");
            for (name, value) in change.as_object().unwrap() {
                body[name] = value.clone();
            }
            let r = api.call(&key, "POST", "/api/v1/schedules", Some(body)).await;
            let details = r.json()["error"]["details"].clone();
            let said = (r.status, &details[0]["field"], &details[0]["code"]);
            assert_eq!(said, (422, &json!(field), &json!(code)), "{change}: {}", r.body);
        }
        // Who may not read calls has none exported.
        let scopes = json!({ "name": "k", "scopes": ["jobs:read", "jobs:write"] });
        let poor = api.call(&key, "POST", "/api/v1/keys", Some(scopes)).await.data();
        let r =
            api.call(poor["secret"].as_str().unwrap(), "POST", "/api/v1/schedules", Some(daily("s"))).await;
        assert_eq!(r.status, 403, "{}", r.body);
    });
}
