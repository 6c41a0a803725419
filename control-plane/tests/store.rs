//! The store against a real, private PostgreSQL.
mod common;

use sqlx::Row;
use warp_control_plane::store::{Scope, Store, StoreError, migrate, sql};

#[test]
fn every_statement_can_be_prepared() {
    common::with_database(|store: Store| async move {
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        for (name, text) in sql::all() {
            use sqlx::{Executor, SqlSafeStr};
            let prepared = tx.db().prepare(text.into_sql_str()).await;
            assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
        }
    });
}

#[test]
fn t_api_04_row_level_security_is_enabled_and_forced_on_every_table() {
    common::with_database(|store: Store| async move {
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let rows = sqlx::query(
            "SELECT c.relname::text, c.relrowsecurity, c.relforcerowsecurity,
                    (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid),
                    pg_get_userbyid(c.relowner)::text
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'",
        )
        .fetch_all(tx.db())
        .await
        .unwrap();
        assert!(rows.len() > 15, "{} tables", rows.len());
        for row in rows {
            let name: String = row.get(0);
            assert!(
                row.get::<bool, _>(1) && row.get::<bool, _>(2),
                "{name}: row-level security is not forced"
            );
            assert_eq!(row.get::<i64, _>(3), 1, "{name}: wants exactly one policy");
            assert_eq!(row.get::<String, _>(4), migrate::MIGRATE_ROLE, "{name}");
        }
    });
}

#[test]
fn t_pg_01_the_run_time_role_has_no_power_over_the_schema() {
    common::with_database(|store: Store| async move {
        for statement in [
            "CREATE TABLE mine (a int)",
            "ALTER TABLE customers DISABLE ROW LEVEL SECURITY",
            "DROP POLICY tenant ON customers",
            "UPDATE audit_log SET action = 'x'",
            "DELETE FROM audit_log",
            "TRUNCATE customers",
            "SET ROLE warp_migrate",
            "SELECT * FROM pg_authid",
            "COPY customers TO PROGRAM 'true'",
        ] {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            let done = sqlx::query(statement).execute(tx.db()).await;
            assert!(done.is_err(), "the app role could: {statement}");
        }
    });
}

#[test]
fn t_api_04_without_a_scope_no_row_is_seen() {
    common::with_database(|store: Store| async move {
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query(
            "INSERT INTO customers (id, name, status, currency) VALUES ('cus_x', 'X', 'active', 'USD')",
        )
        .execute(tx.db())
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let count = "SELECT count(*) FROM customers";
        let bare: i64 = sqlx::query(count).fetch_one(store.listen_pool()).await.unwrap().get(0);
        assert_eq!(bare, 0);
        let other = warp_model::CustomerId::from_u128(7);
        let mut tx = store.begin(Scope::Customer(other)).await.unwrap();
        assert_eq!(sqlx::query(count).fetch_one(tx.db()).await.unwrap().get::<i64, _>(0), 0);
    });
}

#[test]
fn t_pg_01_the_read_only_role_reads_no_secret_and_writes_nothing() {
    common::with_database(|store: Store| async move {
        use sqlx::{ConnectOptions, Connection};
        let name: String = sqlx::query("SELECT current_database()::text")
            .fetch_one(store.listen_pool())
            .await
            .unwrap()
            .get(0);
        let options = common::cluster().unwrap().options(migrate::READONLY_ROLE, &name);
        let mut db = options.connect().await.unwrap();
        for allowed in ["SELECT * FROM calls", "SELECT name FROM vendor_trunks", "SELECT * FROM trunks"] {
            assert!(sqlx::query(allowed).execute(&mut db).await.is_ok(), "{allowed}");
        }
        for refused in [
            "SELECT * FROM api_keys",
            "SELECT * FROM trunk_credentials",
            "SELECT auth_secret FROM vendor_trunks",
            "SELECT * FROM snapshot_sections",
            "SELECT * FROM sessions",
            "DELETE FROM calls",
            "INSERT INTO decks (id, name, kind, currency) VALUES ('x', 'x', 'us', 'USD')",
        ] {
            assert!(sqlx::query(refused).execute(&mut db).await.is_err(), "{refused}");
        }
        db.close().await.unwrap();
    });
}

#[test]
fn t_api_07_a_slow_statement_ends() {
    common::with_database(|store: Store| async move {
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let e = sqlx::query("SELECT pg_sleep(60)").execute(tx.db()).await.unwrap_err();
        assert!(matches!(StoreError::from(e), StoreError::TooSlow));
    });
}

#[test]
fn t_api_07_statements_are_constants_with_bound_parameters() {
    fn files(dir: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                files(&path, out);
            } else {
                out.push(path);
            }
        }
    }
    let mut all = Vec::new();
    files(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut all);
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("sqlx::query(") {
            let rest = text[at + "sqlx::query(".len()..].trim_start();
            let name = rest
                .split([')', '\n'])
                .next()
                .unwrap_or("")
                .trim_start_matches("store::")
                .trim_start_matches("sql::");
            let named = name.len() > 2 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            let constant = named
                || rest.starts_with("statement)")
                || rest.starts_with("paging.statement(")
                || rest.starts_with("super::EMERGENCY");
            let doc = text[..at].rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with("//"));
            assert!(constant || doc, "{}: {}", path.display(), &rest[..rest.len().min(40)]);
        }
        let asserted = text.matches("AssertSqlSafe").count();
        assert!(asserted == 0 || path.ends_with("store/migrate.rs"), "{}", path.display());
    }
}

#[test]
fn f_pg_03_an_exhausted_pool_answers_after_a_bounded_wait() {
    common::with_database(|store: Store| async move {
        let mut held = Vec::new();
        for _ in 0..warp_control_plane::store::POOL_CONNECTIONS {
            held.push(store.begin(Scope::Operator("test")).await.unwrap());
        }
        let refused = store.begin(Scope::Operator("test")).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        held.pop();
        assert!(store.begin(Scope::Operator("test")).await.is_ok());
    });
}

/// Connections are not tried before they are lent: what the server has closed is found out by beginning, and another one is taken.
#[test]
fn f_pg_01_connections_that_the_server_closed_are_replaced_without_an_error() {
    common::with_database(|store: Store| async move {
        let mut held = Vec::new();
        for _ in 0..warp_control_plane::store::POOL_CONNECTIONS {
            held.push(store.begin(Scope::Operator("test")).await.unwrap());
        }
        let mut pids = Vec::new();
        for tx in &mut held {
            let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(tx.db()).await.unwrap();
            pids.push(row.get::<i32, _>(0));
        }
        let database: String =
            sqlx::query("SELECT current_database()::text").fetch_one(held[0].db()).await.unwrap().get(0);
        for tx in held {
            tx.commit().await.unwrap();
        }
        // Given back, so that they are idle when they are closed.
        common::eventually("all connections idle", || async {
            (store.listen_pool().num_idle() == pids.len()).then_some(())
        })
        .await;
        let power = common::cluster().unwrap().options("warp_super", &database);
        let mut power = sqlx::ConnectOptions::connect(&power).await.unwrap();
        for pid in &pids {
            let closed = sqlx::query("SELECT pg_terminate_backend($1)").bind(pid);
            closed.execute(&mut power).await.unwrap();
        }
        for _ in 0..2 {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            let row = sqlx::query("SELECT pg_backend_pid(), scope_is_operator()").fetch_one(tx.db()).await;
            let row = row.unwrap();
            assert!(!pids.contains(&row.get::<i32, _>(0)), "a connection that was closed");
            assert!(row.get::<bool, _>(1), "the scope is set by what begins the transaction");
        }
        assert!(store.is_up().await);
    });
}

#[test]
fn a_database_without_our_schema_or_with_an_older_one_is_refused_with_the_cure() {
    use warp_control_plane::Database;
    use warp_control_plane::store::migrate;
    use warp_model::Secret;
    let Some(cluster) = common::cluster() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let name = "empty_database";
        migrate::bootstrap(&cluster.options("warp_super", "postgres"), name).await.unwrap();
        let url = |role: &str| {
            let options = cluster.options(role, name);
            let socket = options.get_socket().unwrap().display().to_string().replace('/', "%2F");
            Secret::new(format!("postgres://{role}@localhost:{}/{name}?host={socket}", options.get_port()))
        };
        let open = async |migrate: bool| {
            let migrate = migrate.then(|| url(migrate::MIGRATE_ROLE));
            Store::open(&Database::Url { app: url(migrate::APP_ROLE), migrate }).await
        };
        let Err(why) = open(false).await else { panic!("empty") };
        let why = why.to_string();
        assert!(why.contains("is empty") && why.contains("api.migrate_url") && why.contains(name), "{why}");
        assert!(!why.contains("relation"), "{why}");
        open(true).await.unwrap().disconnect().await;
        open(false).await.unwrap().disconnect().await;
        use sqlx::ConnectOptions;
        let mut owner = cluster.options(migrate::MIGRATE_ROLE, name).connect().await.unwrap();
        // A mark names every migration. One that has the newest and lacks one below it is not whole, nor is one that names the
        // newest only, as an earlier version wrote it.
        let mark = async |owner: &mut sqlx::PgConnection| -> String {
            let query = "SELECT obj_description('customers'::regclass, 'pg_class')";
            sqlx::query_scalar(query).fetch_one(owner).await.unwrap()
        };
        let whole = mark(&mut owner).await;
        let (without_23, newest) = (whole.replace(",23,", ","), whole.rsplit(',').next().unwrap().to_owned());
        assert!(without_23 != whole && newest.parse::<i64>().unwrap() > 23, "{whole}");
        for (mark, lacks) in [
            (without_23.clone(), "lacks the migrations 23."),
            (format!("{without_23},9999"), "lacks the migrations 23."),
            ("WARP schema 1,2,3,4,5".to_owned(), "lacks the migrations 10,20,21,22,23,"),
            (format!("WARP schema {newest}"), "lacks the migrations 1,2,3,4,5,10,20,21,22,23"),
        ] {
            let text = format!("COMMENT ON TABLE customers IS '{mark}'");
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut owner).await.unwrap();
            let Err(why) = open(false).await else { panic!("{mark} is taken as whole") };
            let why = why.to_string();
            assert!(why.contains(lacks) && why.contains("api.migrate_url"), "{why}");
        }
        // A node of an older version works on what a newer one has made.
        let text = format!("COMMENT ON TABLE customers IS '{whole},9999'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut owner).await.unwrap();
        open(false).await.unwrap().disconnect().await;
        sqlx::raw_sql("COMMENT ON TABLE customers IS NULL").execute(&mut owner).await.unwrap();
        let Err(why) = open(false).await else { panic!("before the mark") };
        let why = why.to_string();
        assert!(why.contains("an older WARP schema"), "{why}");
        open(true).await.unwrap().disconnect().await;
        open(false).await.unwrap().disconnect().await;
    });
}

/// A database of before the passwords were sealed, whose passwords nobody sealed since: they would be gone with their column.
#[test]
fn passwords_that_are_not_sealed_yet_are_not_dropped() {
    use sqlx::{ConnectOptions, Connection};
    common::with_database(|store: Store| async move {
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(tx.db()).await.unwrap();
        drop(tx);
        let cluster = common::cluster().unwrap();
        let mut db = cluster.options("warp_super", &name).connect().await.unwrap();
        let before = "DELETE FROM _sqlx_migrations WHERE version = 102;
            DROP INDEX trunks_updated, trunks_of_customer_updated;
            ALTER TABLE exclusions DROP COLUMN updated_at, DROP COLUMN version;
            ALTER TABLE vendor_trunks DROP CONSTRAINT vendor_trunks_auth_check, ADD COLUMN auth_password text,
                ADD CONSTRAINT vendor_trunks_auth_check
                    CHECK ((auth_username IS NULL) = (auth_password IS NULL AND auth_secret IS NULL));
            SELECT set_config('warp.scope', 'operator', false);
            INSERT INTO vendors (id, slug, name, status) VALUES ('v', 'v', 'v', 'active');
            INSERT INTO vendor_trunks (id, vendor_id, name, status, transport, addresses, number_format, auth_username,
                auth_password) VALUES ('t', 'v', 't', 'active', 'udp', '{192.0.2.1:5060}', 'e164', 'u', 'clear')";
        sqlx::raw_sql(before).execute(&mut db).await.unwrap();
        let owner = cluster.options(migrate::MIGRATE_ROLE, &name);
        let refused = migrate::migrate(&owner, migrate::APP_ROLE).await.unwrap_err().to_string();
        assert!(refused.contains("not sealed yet"), "{refused}");
        let kept: String =
            sqlx::query_scalar("SELECT auth_password FROM vendor_trunks").fetch_one(&mut db).await.unwrap();
        assert_eq!(kept, "clear");
        let sealed = "UPDATE vendor_trunks SET auth_password = NULL, auth_secret = 'x'";
        sqlx::query(sealed).execute(&mut db).await.unwrap();
        migrate::migrate(&owner, migrate::APP_ROLE).await.unwrap();
        db.close().await.unwrap();
    });
}
