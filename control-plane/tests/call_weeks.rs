//! Partitions of calls: a week each, made ahead, read alone, left as a whole.
mod common;

use common::{event_log, record, with_api, with_database};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use warp_control_plane::billing::consumer::Consumer;
use warp_control_plane::billing::retention::{Expired, Retention, expire, make_ahead};
use warp_control_plane::store::{Scope, Store, call_weeks as weeks, migrate, sql};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::{CallId, CustomerId, TrunkId, Wall};

const WEEK: i32 = 2_000;

async fn owner(store: &Store) -> PgConnection {
    let name = "SELECT current_database()::text";
    let name: String = sqlx::query(name).fetch_one(store.listen_pool()).await.unwrap().get(0);
    let options = common::cluster().unwrap().options(migrate::MIGRATE_ROLE, &name);
    let mut db = options.connect().await.unwrap();
    sqlx::raw_sql("SELECT set_config('warp.scope', 'operator', false)").execute(&mut db).await.unwrap();
    db
}

/// What is before the first week is gone, as after years; then these weeks are made.
async fn only_weeks(store: &Store, of: impl IntoIterator<Item = i32>) {
    let mut db = owner(store).await;
    let gone = "DROP TABLE calls_before; DELETE FROM call_partitions";
    sqlx::raw_sql(gone).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
    for week in of {
        assert!(weeks::make(&mut tx, week).await.unwrap(), "{week}");
    }
    tx.commit().await.unwrap();
}

fn id_in(week: i32, n: u128) -> String {
    CallId::new(weeks::start_of(week).plus(std::time::Duration::from_secs(3_600)), n).to_string()
}

/// A call as the consumer would have written it, with what the tests look at.
async fn insert(store: &Store, id: &str, customer: &str, sell: Option<i64>) {
    let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
    let at = id.parse::<CallId>().unwrap().made_at();
    let row = "INSERT INTO calls (cdr_id, customer_id, sip_call_id, ingress_ip, caller, called, setup_at, end_at, duration_ms,
            sip_code, release_side, internal_code, outcome, recovered, snapshot_id, sell, currency, packed)
        VALUES ($1, $2, $1, '', '', '', ts($3), ts($3), 1, 200, 'caller', '', 'answered', false, '', $4, 'USD', '\\x00')";
    let row = sqlx::query(row).bind(id).bind(customer).bind(at.0).bind(sell);
    row.execute(tx.db()).await.unwrap();
    tx.commit().await.unwrap();
}

fn statement(name: &str) -> &'static str {
    sql::all().find(|(n, _)| *n == name).unwrap().1
}

/// The partitions that a plan reads.
fn read_by(plan: &[String]) -> Vec<String> {
    let words = plan.iter().flat_map(|l| l.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let tables =
        words.filter(|w| w.starts_with("calls_week_") && w[11..].bytes().all(|b| b.is_ascii_digit()));
    let mut tables: Vec<String> = tables.map(str::to_owned).collect();
    tables.sort();
    tables.dedup();
    tables
}

async fn plan(store: &Store, name: &str, values: &[&str], generic: bool) -> Vec<String> {
    let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
    let mode = if generic { "force_generic_plan" } else { "force_custom_plan" };
    let mut script = format!("SET LOCAL plan_cache_mode = {mode}; PREPARE it AS {}; ", statement(name));
    script.push_str(&format!(
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE it({})",
        values.join(", ")
    ));
    script.push_str("; DEALLOCATE it");
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(script)).fetch_all(tx.db()).await.unwrap();
    rows.iter().map(|r| r.get(0)).collect()
}

#[test]
fn reads_of_calls_read_the_weeks_that_they_ask_for() {
    with_database(|store| async move {
        only_weeks(&store, WEEK..WEEK + 8).await;
        let customer = CustomerId::from_u128(1).to_string();
        for week in WEEK..WEEK + 8 {
            for n in 0..20 {
                insert(&store, &id_in(week, n), &customer, None).await;
            }
        }
        let one = |week: i32| vec![format!("calls_week_{week}")];
        let quoted = |id: String| format!("'{id}'");
        let (third, sixth) = (quoted(id_in(WEEK + 3, 5)), quoted(id_in(WEEK + 6, 5)));
        for generic in [false, true] {
            let by_id = plan(&store, "CALL_GET", &[&third], generic).await;
            assert_eq!(read_by(&by_id), one(WEEK + 3), "{by_id:#?}");
            let of_a_page = plan(&store, "CALL_RECORDS", &[&format!("ARRAY[{third}]")], false).await;
            assert_eq!(read_by(&of_a_page), one(WEEK + 3), "{of_a_page:#?}");
            // A page with the window that the store gives it: the week before its cursor, and the one of it.
            let mut values = vec!["NULL"; 18];
            let from = quoted(id_in(WEEK + 5, 0));
            (values[0], values[1], values[15], values[17]) = (&sixth, "51", "false", &from);
            let page = plan(&store, "CALL_LIST", &values, false).await;
            let two: Vec<String> = (WEEK + 5..WEEK + 7).flat_map(one).collect();
            assert_eq!(read_by(&page), two, "{page:#?}");
        }
        // What writes a batch looks for reconstructed ones among the weeks of its ids alone, whatever its arrays hold.
        let mut values = vec!["'{}'"; 39];
        values.extend([third.as_str(), third.as_str()]);
        let batch = plan(&store, "CALLS_INSERT", &values, true).await;
        assert_eq!(read_by(&batch), one(WEEK + 3), "{batch:#?}");
    });
}

/// A full page is read from its weeks alone, another one goes on beyond them: none is missed and none comes twice.
#[test]
fn pages_of_calls_go_on_over_the_edges_of_weeks() {
    with_api(|api| async move {
        let store = &api.control.app.store;
        let now = weeks::week_of(api.control.app.wall());
        only_weeks(store, now - 8..now).await;
        let customer = CustomerId::from_u128(1).to_string();
        let mut all = Vec::new();
        for week in now - 8..now {
            for n in 0..5 {
                all.push(id_in(week, n));
                insert(store, &id_in(week, n), &customer, None).await;
            }
        }
        for (sort, newest_first) in [("-setup_at", true), ("setup_at", false)] {
            let (mut seen, mut cursor): (Vec<String>, String) = (Vec::new(), String::new());
            loop {
                let page = api.op("GET", &format!("/calls?limit=7&sort={sort}{cursor}"), None).await.json();
                let ids = page["data"].as_array().unwrap_or_else(|| panic!("{page}"));
                seen.extend(ids.iter().map(|c| c["id"].as_str().unwrap().to_owned()));
                let Some(next) = page["meta"]["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            if newest_first {
                seen.reverse();
            }
            assert_eq!(seen, all, "{sort}");
        }
    });
}

#[test]
fn t_api_04_partitions_show_a_customer_its_own_calls_and_are_no_way_around() {
    with_database(|store| async move {
        only_weeks(&store, [WEEK]).await;
        let (mine, other) = (CustomerId::from_u128(1), CustomerId::from_u128(2));
        insert(&store, &id_in(WEEK, 1), &mine.to_string(), None).await;
        insert(&store, &id_in(WEEK, 2), &other.to_string(), None).await;
        let mut tx = store.begin(Scope::Customer(mine)).await.unwrap();
        let rows = sqlx::query("SELECT cdr_id FROM calls").fetch_all(tx.db()).await.unwrap();
        assert_eq!(rows.iter().map(|r| r.get(0)).collect::<Vec<String>>(), [id_in(WEEK, 1)]);
        assert!(!weeks::make(&mut tx, WEEK + 1).await.unwrap(), "a customer's scope makes no table");
        drop(tx);
        // The partition itself: forced row-level security, and no right of the run-time role.
        let mut db = owner(&store).await;
        let forced =
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = 'calls_week_2000'";
        assert!(sqlx::query(forced).fetch_one(&mut db).await.unwrap().get::<bool, _>(0));
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        assert!(sqlx::query("SELECT * FROM calls_week_2000").execute(tx.db()).await.is_err());
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        assert!(sqlx::query("DROP TABLE calls_week_2000").execute(tx.db()).await.is_err());
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let mut week = weeks::all(&mut tx).await.unwrap().remove(0);
        week.name = "customers".into();
        assert!(
            !weeks::drop_over(&mut tx, &week, None).await.unwrap(),
            "only partitions of calls are dropped"
        );
    });
}

#[test]
fn weeks_are_made_ahead_once_and_a_call_beyond_them_makes_its_own() {
    with_api(|api| async move {
        let app = &api.control.app;
        make_ahead(app).await.unwrap();
        make_ahead(app).await.unwrap();
        let mut tx = app.store.begin(Scope::Operator("test")).await.unwrap();
        let now = weeks::week_of(app.wall());
        let last = weeks::all(&mut tx).await.unwrap().last().unwrap().to_week;
        assert_eq!(last, now + 5, "this week and four more");
        drop(tx);
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let (customer, trunk) = (CustomerId::from_u128(1).to_string(), TrunkId::from_u128(1).to_string());
        let ids = [id_in(now + 100, 1), id_in(now, 2), id_in(1, 3)];
        for id in &ids {
            let text = record(id, &customer, &trunk).to_string();
            topic.append_durable(id.as_bytes(), text.as_bytes()).unwrap();
        }
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        consumer.step().await.unwrap();
        let mut tx = app.store.begin(Scope::Operator("test")).await.unwrap();
        let rows = sqlx::query("SELECT cdr_id, tableoid::regclass::text FROM calls ORDER BY 1 DESC");
        let rows = rows.fetch_all(tx.db()).await.unwrap();
        let rows: Vec<(String, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
        let place = |week: i32| format!("calls_week_{week}");
        assert_eq!(rows[0], (ids[0].clone(), place(now + 100)), "a clock that was wrong");
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert_eq!(rows[2], (ids[2].clone(), "calls_before".into()));
    });
}

#[test]
fn f_kafka_01_a_record_older_than_the_partitions_is_put_aside_and_never_in_the_ledger() {
    with_database(|store| async move {
        only_weeks(&store, [WEEK, WEEK + 1]).await;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let (customer, trunk) = (CustomerId::from_u128(1).to_string(), TrunkId::from_u128(1).to_string());
        for id in [id_in(WEEK - 1, 1), id_in(WEEK + 1, 2)] {
            let text = record(&id, &customer, &trunk).to_string();
            topic.append_durable(id.as_bytes(), text.as_bytes()).unwrap();
        }
        let registry = warp_telemetry::Registry::new();
        let metrics = warp_control_plane::metrics::Metrics::new(&registry);
        let mut consumer = Consumer::new(store.clone(), &log, "t", metrics).unwrap();
        consumer.step().await.unwrap();
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let rows = sqlx::query("SELECT cdr_id FROM calls").fetch_all(tx.db()).await.unwrap();
        assert_eq!(rows.iter().map(|r| r.get(0)).collect::<Vec<String>>(), [id_in(WEEK + 1, 2)]);
        let aside = sqlx::query("SELECT reason FROM cdr_rejects").fetch_all(tx.db()).await.unwrap();
        assert_eq!(
            aside.iter().map(|r| r.get(0)).collect::<Vec<String>>(),
            ["older than the partitions of calls"]
        );
    });
}

#[test]
fn a_week_leaves_as_a_whole_when_all_in_it_may_go() {
    with_api(|api| async move {
        let app = &api.control.app;
        let store = &app.store;
        let now = weeks::week_of(app.wall());
        only_weeks(store, now - 10..now + 1).await;
        let customer = CustomerId::from_u128(1).to_string();
        // Free; priced and on no bill; of the week in which the keeping ends; of today.
        for (week, sell) in
            [(now - 10, Some(0)), (now - 9, Some(5)), (now - 9, None), (now - 8, None), (now, None)]
        {
            insert(store, &id_in(week, u128::from(sell == Some(5))), &customer, sell).await;
        }
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let since = app.wall().0 - weeks::start_of(now - 8).0 - 2 * 86_400_000_000;
        let keep = std::time::Duration::from_micros(u64::try_from(since).unwrap());
        let done = expire(app, Retention { keep, unbilled_too: false }, &stop).await.unwrap();
        assert_eq!(
            done,
            Expired { gone: 2, unbilled: 0, overdue: 1 },
            "one by its week, one beside a call that stays"
        );
        let partitions = async || {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            let all = weeks::all(&mut tx).await.unwrap();
            all.iter().map(|p| p.to_week - 1).collect::<Vec<_>>()
        };
        assert_eq!(partitions().await, (now - 9..=now).collect::<Vec<_>>());
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let rows = sqlx::query("SELECT cdr_id FROM calls ORDER BY 1").fetch_all(tx.db()).await.unwrap();
        let left: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
        assert_eq!(
            left,
            [id_in(now - 9, 1), id_in(now - 8, 0), id_in(now, 0)],
            "a begun week waits for its end"
        );
        drop(tx);
        let done = expire(app, Retention { keep, unbilled_too: true }, &stop).await.unwrap();
        assert_eq!(done, Expired { gone: 1, unbilled: 1, overdue: 0 });
        assert_eq!(partitions().await, (now - 8..=now).collect::<Vec<_>>());
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        assert!(!weeks::make(&mut tx, now - 10).await.unwrap(), "what has left does not come back");
    });
}

#[test]
fn nothing_is_dropped_that_something_was_posted_to_meanwhile() {
    with_database(|store| async move {
        only_weeks(&store, [WEEK, WEEK + 1]).await;
        let customer = CustomerId::from_u128(1).to_string();
        insert(&store, &id_in(WEEK, 1), &customer, None).await;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let week = weeks::all(&mut tx).await.unwrap().remove(0);
        let content = weeks::content(&mut tx, &week, Wall(i64::MAX / 4), false).await.unwrap();
        assert_eq!((content.calls, content.kept), (1, 0));
        drop(tx);
        insert(&store, &id_in(WEEK, 2), &customer, Some(7)).await;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        assert!(!weeks::drop_over(&mut tx, &week, content.posted).await.unwrap());
        let content = weeks::content(&mut tx, &week, Wall(i64::MAX / 4), true).await.unwrap();
        assert!(weeks::drop_over(&mut tx, &week, content.posted).await.unwrap());
    });
}

/// F-UPG-01: calls that were there before the partitions are found as before.
#[test]
fn f_upg_01_calls_of_a_version_before_stand_in_the_oldest_partition() {
    let Some(cluster) = common::cluster() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        migrate::bootstrap(&cluster.options("warp_super", "postgres"), "before").await.unwrap();
        let mut db = cluster.options(migrate::MIGRATE_ROLE, "before").connect().await.unwrap();
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let mut files: Vec<_> = folder.map(|e| e.unwrap().path()).collect();
        files.sort();
        let run = async |db: &mut PgConnection, path: &std::path::Path| {
            let text = std::fs::read_to_string(path).unwrap();
            let text = format!("BEGIN; {text}; COMMIT");
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(db).await;
            done.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        };
        let at = files.iter().position(|f| f.to_string_lossy().contains("0155_")).unwrap();
        for file in &files[..at] {
            run(&mut db, file).await;
        }
        let ahead = 3 * 604_800;
        let row = "SELECT set_config('warp.scope', 'operator', false);
            INSERT INTO calls (cdr_id, sip_call_id, ingress_ip, caller, called, setup_at, end_at, duration_ms, sip_code,
                release_side, internal_code, outcome, recovered, snapshot_id, record)
            SELECT id, 'a@b', '', '', '', now(), now(), 1, 200, 'caller', '', 'answered', false, '', '{}' FROM unnest(ARRAY[";
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + ahead;
        let newest = CallId::new(Wall(i64::try_from(now).unwrap() * 1_000_000), 1).to_string();
        let text = format!("{row}'{}', '{newest}']) AS id", CallId::from_u128(5));
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut db).await.unwrap();
        for file in &files[at..] {
            run(&mut db, file).await;
        }
        let rows = "SELECT cdr_id, tableoid::regclass::text FROM calls WHERE sip_call_id = 'a@b' ORDER BY 1";
        let rows = sqlx::query(rows).fetch_all(&mut db).await.unwrap();
        let rows: Vec<(String, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
        let old = || "calls_before".to_owned();
        assert_eq!(rows, [(CallId::from_u128(5).to_string(), old()), (newest.clone(), old())]);
        // A clock that was three weeks ahead: the first week of its own is the one after.
        let first = weeks::week_of(newest.parse::<CallId>().unwrap().made_at()) + 1;
        let to: i32 = sqlx::query("SELECT to_week FROM call_partitions").fetch_one(&mut db).await.unwrap().get(0);
        assert_eq!(to, first);
        let text = "SELECT call_week_starts($1)";
        let starts: String = sqlx::query(text).bind(first).fetch_one(&mut db).await.unwrap().get(0);
        assert_eq!(starts, weeks::first_id(first));
        db.close().await.unwrap();
    });
}
