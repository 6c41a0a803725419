//! Finished calls from the event log to PostgreSQL, exactly once.
mod common;

use common::{event_log, record, with_api, with_database};
use serde_json::json;
use sqlx::Row;
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::metrics::Metrics;
use warp_control_plane::store::{Scope, Store};
use warp_events::TOPIC_CDR_VOICE;
use warp_events::metrics::{Sink, WriteResult};
use warp_model::{CallId, CustomerId, TrunkId, Wall};

fn id(n: u128) -> String {
    CallId::from_u128(n).to_string()
}

fn call(n: u128) -> String {
    record(&id(n), &CustomerId::from_u128(1).to_string(), &TrunkId::from_u128(1).to_string()).to_string()
}

async fn count(store: &Store, table: &'static str) -> i64 {
    let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
    let sql = match table {
        "calls" => "SELECT count(*) FROM calls",
        _ => "SELECT count(*) FROM cdr_rejects",
    };
    sqlx::query(sql).fetch_one(tx.db()).await.unwrap().get(0)
}

async fn drain(consumer: &mut Consumer) -> usize {
    let mut posted = 0;
    while let Step::Posted(n) = consumer.step().await.unwrap() {
        posted += n;
    }
    posted
}

#[test]
fn a_record_is_posted_once_however_often_it_comes() {
    with_database(|store| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        for n in [1, 2, 1, 3, 3] {
            topic.append_durable(id(n).as_bytes(), call(n).as_bytes()).unwrap();
        }
        let consumer = || Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
        assert_eq!(drain(&mut consumer()).await, 5);
        assert_eq!(count(&store, "calls").await, 3);
        // A restart goes on behind what was posted.
        assert_eq!(drain(&mut consumer()).await, 0);
        topic.append_durable(id(4).as_bytes(), call(4).as_bytes()).unwrap();
        assert_eq!(drain(&mut consumer()).await, 1);
        // A lost cursor: everything comes again, nothing is doubled.
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("DELETE FROM log_cursors").execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(drain(&mut consumer()).await, 6);
        assert_eq!(count(&store, "calls").await, 4);
        let counted = |r: WriteResult| log.metrics().cdr_written.value((Sink::Postgres, r));
        assert_eq!((counted(WriteResult::Ok), counted(WriteResult::Duplicate)), (4, 8));
    });
}

/// Each call counts once: its price, its cost, its seconds; another currency is another series and no dollars, what it cost counts in the
/// currency that was paid in, a refusal by rating is a failure.
#[test]
fn posted_calls_count_in_the_business_figures() {
    with_database(|store| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let registry = warp_telemetry::Registry::new();
        let metrics = Metrics::new(&registry);
        let changed = |n: u128, change: &dyn Fn(&mut serde_json::Value)| {
            let mut value: serde_json::Value = serde_json::from_str(&call(n)).unwrap();
            change(&mut value);
            topic.append_durable(id(n).as_bytes(), value.to_string().as_bytes()).unwrap();
        };
        for n in [1, 2, 1] {
            changed(n, &|v| {
                v["rating"]["sell"]["charge"] = json!("1.25");
                v["rating"]["sell"]["billable_s"] = json!(66);
                v["rating"]["buy"]["charge"] = json!("0.4");
                v["rating"]["buy"]["billable_s"] = json!(61);
            });
        }
        changed(3, &|v| {
            v["rating"]["sell"]["currency"] = json!("EUR");
            v["rating"]["sell"]["billable_s"] = json!(6);
            v["rating"]["buy"]["billable_s"] = json!(1);
            v["rating"]["sell"]["charge"] = json!("3.5");
            v["rating"]["buy"]["charge"] = json!("2");
            v["decision"] = json!({ "candidates": [
                { "buy": { "currency": "GBP" }, "exchange": "9" },
                { "buy": { "currency": "USD" }, "exchange": "0.9" }
            ] });
        });
        changed(4, &|v| {
            v["rating"] = json!(null);
            v["internal_code"] = json!("rating_failed");
        });
        assert_eq!(drain(&mut Consumer::new(store, &log, "t", metrics).unwrap()).await, 5);
        let text = registry.render();
        let (customer, vendor) = (CustomerId::from_u128(1), &call(1));
        let vendor = serde_json::from_str::<serde_json::Value>(vendor).unwrap()["vendor_id"].clone();
        let vendor = vendor.as_str().unwrap();
        for line in [
            format!("warp_revenue_dollars_total{{customer=\"{customer}\"}} 2.5"),
            format!("warp_billed_seconds_total{{customer=\"{customer}\"}} 138"),
            format!("warp_revenue_total{{customer=\"{customer}\",currency=\"USD\"}} 2.5"),
            format!("warp_revenue_total{{customer=\"{customer}\",currency=\"EUR\"}} 3.5"),
            format!("warp_cost_dollars_total{{vendor=\"{vendor}\"}} 2.8"),
            format!("warp_cost_total{{vendor=\"{vendor}\",currency=\"USD\"}} 2.8"),
            "warp_cost_of_revenue_total{currency=\"USD\"} 0.8".to_owned(),
            "warp_cost_of_revenue_total{currency=\"EUR\"} 1.8".to_owned(),
            format!("warp_cost_seconds_total{{vendor=\"{vendor}\"}} 123"),
            "warp_rating_failures_total{reason=\"refused\"} 1".to_owned(),
            "warp_rating_failures_total{reason=\"mismatch\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    });
}

#[test]
fn another_event_log_is_read_from_its_beginning() {
    with_database(|store| async move {
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        for round in 0..2u128 {
            let dir = tempfile::tempdir().unwrap();
            let log = event_log(dir.path());
            let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
            for n in 0..3 {
                let n = round * 10 + n;
                topic.append_durable(id(n).as_bytes(), call(n).as_bytes()).unwrap();
            }
            let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
            assert_eq!(drain(&mut consumer).await, 3, "round {round}");
        }
        assert_eq!(count(&store, "calls").await, 6);
    });
}

#[test]
fn logs_that_one_consumer_reads_keep_a_cursor_each() {
    with_database(|store| async move {
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for round in 0..3u128 {
            for (node, dir) in dirs.iter().enumerate() {
                let log = event_log(dir.path());
                let n = round * 10 + node as u128;
                log.topic(TOPIC_CDR_VOICE)
                    .unwrap()
                    .append_durable(id(n).as_bytes(), call(n).as_bytes())
                    .unwrap();
                let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
                assert_eq!(drain(&mut consumer).await, 1, "node {node}, round {round}");
            }
        }
        assert_eq!(count(&store, "calls").await, 6);
    });
}

#[test]
fn f_upg_01_a_cursor_of_the_version_before_is_carried_over_by_the_log_that_it_is_of() {
    with_database(|store| async move {
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        for n in 1..=5 {
            topic.append_durable(id(n).as_bytes(), call(n).as_bytes()).unwrap();
        }
        // As migration 3 has it, and as the version before wrote it.
        let before = async |consumer: &str, position: String| {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            let statement = "INSERT INTO event_cursors (consumer, topic, position) VALUES ($1, $2, $3)
                ON CONFLICT (consumer) DO UPDATE SET position = excluded.position, updated_at = now()";
            let statement = sqlx::query(statement).bind(consumer).bind(TOPIC_CDR_VOICE).bind(position);
            statement.execute(tx.db()).await.unwrap();
            tx.commit().await.unwrap();
        };
        let consumer = |name: &str| Consumer::new(store.clone(), &log, name, metrics.clone()).unwrap();
        before("own", format!("3 {}", id(3))).await;
        assert_eq!(drain(&mut consumer("own")).await, 2);
        // From then on its own cursor counts, whatever a node of the version before writes.
        before("own", format!("1 {}", id(1))).await;
        assert_eq!(drain(&mut consumer("own")).await, 0);
        // One of another log, one that lies beyond the end, one that nobody can read.
        for (name, position) in [
            ("other", format!("3 {}", id(9))),
            ("beyond", format!("9 {}", id(9))),
            ("none", "w2:x".to_owned()),
        ] {
            before(name, position).await;
            assert_eq!(drain(&mut consumer(name)).await, 5, "{name}");
            assert_eq!(drain(&mut consumer(name)).await, 0, "{name}");
        }
        assert_eq!(count(&store, "calls").await, 5);
    });
}

#[test]
fn a_consumer_that_is_behind_the_floor_goes_on_there_and_counts_what_it_missed() {
    with_database(|store| async move {
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        let dir = tempfile::tempdir().unwrap();
        let counted = warp_events::EventsMetrics::detached();
        let open = || {
            let options = warp_events::LogOptions {
                segment_bytes: 16 << 10,
                keep: std::time::Duration::ZERO,
                ..warp_events::LogOptions::new(counted.clone())
            };
            warp_events::EventLog::open(dir.path(), options).unwrap()
        };
        let append = |log: &warp_events::EventLog, numbers: std::ops::Range<u128>| {
            let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
            for n in numbers {
                topic.append_durable(id(n).as_bytes(), call(n).as_bytes()).unwrap();
            }
            topic
        };
        let log = open();
        append(&log, 0..3);
        assert_eq!(drain(&mut Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap()).await, 3);
        drop(log);
        // A run that does not know of the consumer.
        let log = open();
        let topic = append(&log, 3..100);
        topic.retain(warp_model::Wall(i64::MAX));
        let kept = topic.waiting(&topic.floor()).unwrap();
        assert!(kept < 97, "{kept}");
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
        assert_eq!(consumer.step().await.unwrap(), Step::Idle, "it hears that records are gone");
        assert_eq!(counted.missed.value(()), 97 - kept);
        assert_eq!(drain(&mut consumer).await as u64, kept);
        assert_eq!(count(&store, "calls").await as u64, 3 + kept);
        assert_eq!(counted.missed.value(()), 97 - kept, "once");
        // What it has may go.
        append(&log, 100..101);
        assert_eq!(drain(&mut consumer).await, 1);
    });
}

/// F-KAFKA-01: what was posted once may have left by retention, and comes again when a log is read from its beginning.
#[test]
fn f_kafka_01_a_record_older_than_the_kept_ones_is_put_aside_and_never_in_the_ledger() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let app = &api.control.app;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let keep = i64::try_from(app.config.retention.keep.as_micros()).unwrap();
        let append = |age: i64, n: u128| {
            let at = Wall(app.wall().0 - age);
            let id = CallId::new(at, n).to_string();
            let mut call = record(&id, &customer, trunk["id"].as_str().unwrap());
            call["setup_at"] = json!(at.0);
            topic.append_durable(id.as_bytes(), call.to_string().as_bytes()).unwrap();
        };
        let minute = 60_000_000;
        append(keep + minute, 1);
        append(keep - minute, 2);
        append(0, 3);
        let consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        let mut consumer = consumer.rating_again(app.clone());
        assert_eq!(drain(&mut consumer).await, 3);
        let store = &app.store;
        assert_eq!((count(store, "calls").await, count(store, "cdr_rejects").await), (2, 1));
        let errors = log.metrics().cdr_written.value((Sink::Postgres, WriteResult::Error));
        assert_eq!(errors, 1, "it is counted");
        let balance = format!("/bans/{}/balance", trunk["ban_id"].as_str().unwrap());
        let seen = api.op("GET", &balance, None).await.data();
        assert_eq!(seen["balance"]["amount"].as_str(), Some("-0.02"), "two of a cent each");
        common::audit(&api).await;
    });
}

#[test]
fn a_record_that_cannot_be_read_stops_nothing() {
    with_database(|store| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        topic.append_durable(b"x", b"not json").unwrap();
        topic
            .append_durable(id(1).as_bytes(), call(1).replace("abc@host", "nul\\u0000@host").as_bytes())
            .unwrap();
        topic.append_durable(b"y", b"\xff\xfe").unwrap();
        topic.append_durable(id(2).as_bytes(), call(2).as_bytes()).unwrap();
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
        assert_eq!(drain(&mut consumer).await, 4);
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (2, 2));
        assert_eq!(log.metrics().cdr_written.value((Sink::Postgres, WriteResult::Error)), 2);
    });
}

#[test]
fn f_proc_04_a_crash_between_single_postings_loses_and_doubles_nothing() {
    with_database(|store| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        for n in 1..=5 {
            topic.append_durable(id(n).as_bytes(), call(n).as_bytes()).unwrap();
        }
        // A database that refuses call 2 for good, and call 4 for the moment.
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let name: String = sqlx::query("SELECT current_database()").fetch_one(tx.db()).await.unwrap().get(0);
        drop(tx);
        let options = store.cluster().unwrap().options("warp_super", &name);
        use sqlx::ConnectOptions;
        let mut owner = options.connect().await.unwrap();
        let refuse = format!(
            "CREATE TABLE for_the_moment (x int);
             GRANT SELECT ON for_the_moment TO PUBLIC;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.cdr_id = '{}' THEN RAISE check_violation; END IF;
               IF NEW.cdr_id = '{}' AND EXISTS (SELECT FROM for_the_moment) THEN RAISE serialization_failure; END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION refuse();
             INSERT INTO for_the_moment VALUES (1)",
            id(2),
            id(4)
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(refuse)).execute(&mut owner).await.unwrap();
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
        assert!(consumer.step().await.unwrap_err().may_pass());
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (2, 1));
        // The process dies here; the next one has the stored cursor only.
        drop(consumer);
        sqlx::raw_sql("DELETE FROM for_the_moment").execute(&mut owner).await.unwrap();
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
        drain(&mut consumer).await;
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (4, 1));
        // A schema that does not fit is no record's fault: the records wait, none is put aside.
        sqlx::raw_sql("ALTER TABLE calls RENAME COLUMN caller TO renamed").execute(&mut owner).await.unwrap();
        topic.append_durable(id(6).as_bytes(), call(6).as_bytes()).unwrap();
        assert!(consumer.step().await.is_err());
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (4, 1));
        sqlx::raw_sql("ALTER TABLE calls RENAME COLUMN renamed TO caller").execute(&mut owner).await.unwrap();
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap();
        drain(&mut consumer).await;
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (5, 1));
        // A wiped cursor puts nothing aside twice.
        sqlx::raw_sql("DELETE FROM log_cursors").execute(&mut owner).await.unwrap();
        drain(&mut Consumer::new(store.clone(), &log, "t", metrics.clone()).unwrap()).await;
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (5, 1));
    });
}

#[test]
fn a_posted_call_is_listed_found_and_detailed() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "pbx" }))).await.data();
        let trunk = trunk["id"].as_str().unwrap();
        let call = common::insert_call(&api, &customer, trunk).await;
        let listed = api
            .call(&key, "GET", "/api/v1/calls?code=200&called=(415)%20555-0123&outcome=answered", None)
            .await;
        let row = listed.data()[0].clone();
        assert_eq!(
            (row["id"].as_str(), row["price"].clone()),
            (Some(call.as_str()), json!({ "amount": "0.01", "currency": "USD" }))
        );
        assert_eq!((row["vendor_id"].clone(), row["cost"].clone()), (json!(null), json!(null)));
        assert_eq!(row["setup_at"], "2026-11-22T13:14:45.000Z");
        for (direction, found) in [("outbound", 1), ("inbound", 0)] {
            let some = api.call(&key, "GET", &format!("/api/v1/calls?direction={direction}"), None).await;
            assert_eq!(some.data().as_array().map(Vec::len), Some(found), "{direction}");
        }
        let none = api.call(&key, "GET", "/api/v1/calls?setup_at[gte]=2027-01-01T00:00:00Z", None).await;
        assert_eq!(none.data(), json!([]));
        assert_eq!(api.call(&key, "GET", "/api/v1/calls?vendor=x", None).await.status, 400);
        let detail = api.op("GET", &format!("/calls/{call}"), None).await.data();
        assert_eq!(detail["record"]["legs"][0]["egress_ip"], "192.0.2.80");
        assert_eq!(detail["record"]["rating"]["buy"]["charge"], "0.01");
        let own = api.call(&key, "GET", &format!("/api/v1/calls/{call}"), None).await.data();
        assert!(
            own["record"]["rating"].get("buy").is_none()
                && own["record"]["legs"][0].get("egress_ip").is_none()
        );
        assert_eq!(own["record"]["rating"]["sell"]["sum"], "60 s");
    });
}

/// The row of a call: recovered, charge, packed bytes, plain record.
async fn row(store: &Store, n: u128) -> (bool, Option<i64>, Vec<u8>, bool) {
    let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
    let statement = "SELECT recovered, sell, packed, record IS NULL FROM calls WHERE cdr_id = $1";
    let row = sqlx::query(statement).bind(id(n)).fetch_one(tx.db()).await.unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

fn changed(n: u128, change: &dyn Fn(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_str(&call(n)).unwrap();
    change(&mut value);
    value.to_string()
}

#[test]
fn a_real_end_takes_the_place_of_a_reconstructed_one_and_never_the_other_way_round() {
    with_database(|store| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        let append = |n: u128, recovered: bool, charge: &str| {
            let text = changed(n, &|v| {
                v["recovered"] = json!(recovered);
                v["rating"]["sell"]["charge"] = json!(charge);
            });
            topic.append_durable(id(n).as_bytes(), text.as_bytes()).unwrap();
        };
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics).unwrap();
        // In one batch, both orders.
        append(1, true, "9");
        append(1, false, "1");
        append(2, false, "1");
        append(2, true, "9");
        // In batches of their own.
        append(3, true, "9");
        append(4, false, "1");
        append(5, true, "9");
        drain(&mut consumer).await;
        assert_eq!(row(&store, 3).await.1, Some(9_000_000_000));
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let billed = "UPDATE calls SET billed_at = now() WHERE cdr_id = $1";
        sqlx::query(billed).bind(id(5)).execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        append(3, false, "1");
        append(4, true, "9");
        append(5, false, "1");
        drain(&mut consumer).await;
        for n in 1..=4 {
            let (recovered, charge, packed, _) = row(&store, n).await;
            assert_eq!((recovered, charge), (false, Some(1_000_000_000)), "call {n}");
            let record: serde_json::Value =
                serde_json::from_slice(&warp_events::record::unpack(&packed).unwrap()).unwrap();
            assert_eq!(record["recovered"], false, "the record goes with its row");
        }
        assert_eq!(row(&store, 5).await.1, Some(9_000_000_000), "what is billed is not changed any more");
        assert_eq!(count(&store, "calls").await, 5);
        let counted = |r: WriteResult| log.metrics().cdr_written.value((Sink::Postgres, r));
        assert_eq!((counted(WriteResult::Ok), counted(WriteResult::Duplicate)), (6, 4));
    });
}

#[test]
fn f_upg_02_packed_and_plain_records_of_one_log_are_posted_and_read_alike() {
    with_api(|api| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let store = api.control.app.store.clone();
        let nul = call(3).replace("abc@host", "nul\\u0000@host");
        topic.append_durable(id(1).as_bytes(), call(1).as_bytes()).unwrap();
        let mut packer = warp_events::record::Packer::default();
        topic.append_durable(id(2).as_bytes(), &packer.pack(call(2).as_bytes())).unwrap();
        topic.append_durable(id(3).as_bytes(), &packer.pack(nul.as_bytes())).unwrap();
        // Packed by a version that is not made yet.
        let mut newer = packer.pack(call(4).as_bytes());
        newer[0] = 7;
        topic.append_durable(id(4).as_bytes(), &newer).unwrap();
        // As a version before kept it.
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let old = "INSERT INTO calls (cdr_id, sip_call_id, ingress_ip, caller, called, setup_at, end_at, duration_ms, sip_code,
                release_side, internal_code, outcome, recovered, snapshot_id, record)
            VALUES ($1, 'old', '', '', '', now(), now(), 1, 200, 'caller', '', 'answered', false, '', $2)";
        let record: serde_json::Value = serde_json::from_str(&call(5)).unwrap();
        sqlx::query(old).bind(id(5)).bind(&record).execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        let mut consumer = Consumer::new(store.clone(), &log, "t", api.control.app.metrics.clone()).unwrap();
        assert_eq!(drain(&mut consumer).await, 4);
        assert_eq!((count(&store, "calls").await, count(&store, "cdr_rejects").await), (4, 1));
        for n in [1, 2, 3] {
            let (_, _, packed, no_plain) = row(&store, n).await;
            assert!(no_plain && packed.len() < call(n).len() / 2, "{n}: {} bytes", packed.len());
        }
        for n in [1, 2, 3, 5] {
            let want = if n == 3 { nul.clone() } else { call(n) };
            let want: serde_json::Value = serde_json::from_str(&want).unwrap();
            let detail = api.op("GET", &format!("/calls/{}", id(n)), None).await.data();
            assert_eq!(detail["record"], want, "call {n}");
        }
        let listed = api.op("GET", "/calls?expand=legs,rating", None).await.data();
        assert_eq!(listed.as_array().unwrap().len(), 4);
        assert!(
            listed.as_array().unwrap().iter().all(|c| c["legs"][0]["egress_ip"] == "192.0.2.80"),
            "{listed}"
        );
    });
}

#[test]
fn a_call_is_found_by_its_sip_call_id_through_an_index() {
    with_database(|store| async move {
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let many = "INSERT INTO calls (cdr_id, sip_call_id, ingress_ip, caller, called, setup_at, end_at, duration_ms, sip_code,
                release_side, internal_code, outcome, recovered, snapshot_id, record)
            SELECT 'call_00' || n, n || '@pbx', '', '', '', now(), now(), 1, 200, 'caller', '', 'answered', false, '', '{}'
            FROM generate_series(1, 5000) n";
        sqlx::query(many).execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        let list = warp_control_plane::store::sql::all().find(|(name, _)| *name == "CALL_LIST").unwrap().1;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        tx.plan_for_values().await.unwrap();
        let explain = format!("EXPLAIN {list}");
        // Seven times: a plan for any value would be made after five.
        for _ in 0..7 {
            let none = || Option::<String>::None;
            let query =
                sqlx::query(sqlx::AssertSqlSafe(explain.clone())).bind(none()).bind(51i64).bind(none());
            let query = query.bind(Option::<i32>::None).bind(none()).bind(none()).bind(none());
            let query = query
                .bind(Option::<i64>::None)
                .bind(Option::<i64>::None)
                .bind("77@pbx")
                .bind(none())
                .bind(none())
                .bind(Option::<i64>::None)
                .bind(Option::<i64>::None)
                .bind(Option::<i64>::None)
                .bind(false)
                .bind(none())
                .bind(none());
            let rows = query.fetch_all(tx.db()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
            assert!(plan.iter().any(|l| l.contains("by_sip_call_id")), "{plan:#?}");
        }
    });
}

#[test]
fn calls_leave_by_retention_and_what_is_on_no_bill_never_silently() {
    use warp_control_plane::billing::retention::{Expired, Retention, expire};
    with_api(|api| async move {
        let app = &api.control.app;
        let store = &app.store;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let day = 86_400_000_000;
        let now = app.wall().0;
        // Old: free, refused, billed, unbilled; and one of yesterday.
        let calls = [(1, 100, "0"), (2, 100, ""), (3, 100, "1"), (4, 100, "1"), (5, 1, "0")];
        let mut ids = Vec::new();
        for (n, age, charge) in calls {
            let at = warp_model::Wall(now - age * day);
            let cdr_id = CallId::new(at, n).to_string();
            let text = changed(n, &|v| {
                v["cdr_id"] = json!(cdr_id);
                v["setup_at"] = json!(at.0);
                match charge {
                    "" => v["rating"] = json!(null),
                    charge => v["rating"]["sell"]["charge"] = json!(charge),
                }
            });
            topic.append_durable(cdr_id.as_bytes(), text.as_bytes()).unwrap();
            ids.push(cdr_id);
        }
        drain(&mut Consumer::new(store.clone(), &log, "t", app.metrics.clone()).unwrap()).await;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let billed = "UPDATE calls SET billed_at = now() WHERE cdr_id = $1";
        sqlx::query(billed).bind(&ids[2]).execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let days = |n: u64| std::time::Duration::from_secs(n * 86_400);
        let retention = |keep, unbilled_too| Retention { keep, unbilled_too };
        let done = expire(app, retention(days(200), true), &stop).await.unwrap();
        assert_eq!(done, Expired::default(), "nothing is so old");
        let done = expire(app, retention(days(50), false), &stop).await.unwrap();
        assert_eq!(done, Expired { gone: 3, unbilled: 0, overdue: 1 });
        assert_eq!(app.metrics.calls_overdue.value(()), 1);
        let left = api.op("GET", "/calls", None).await.data();
        let left: Vec<&str> = left.as_array().unwrap().iter().filter_map(|c| c["id"].as_str()).collect();
        assert_eq!(left, [&ids[4], &ids[3]]);
        let done = expire(app, retention(days(50), true), &stop).await.unwrap();
        assert_eq!(done, Expired { gone: 1, unbilled: 1, overdue: 0 });
        assert_eq!(count(store, "calls").await, 1);
    });
}
