//! Roles and migrations. Three roles (T-PG-01): `warp_migrate` owns the schema, `warp_app` works under row-level security,
//! `warp_readonly` may look. None is a superuser or may bypass row-level security.
//!
//! Migrations are files of `control-plane/migrations`, embedded, applied by sqlx's migrator in order; an applied file
//! never changes (its checksum is checked).

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row, SqlSafeStr};

use super::StoreError;
use super::sql;

/// The role that owns the schema.
pub const MIGRATE_ROLE: &str = "warp_migrate";
/// The program at run time.
pub const APP_ROLE: &str = "warp_app";
/// The role of people and reports, which reads only.
pub const READONLY_ROLE: &str = "warp_readonly";
/// Database of the private cluster.
pub const DATABASE: &str = "warp";

/// Stands before the numbers of the applied migrations (`1,2,3,…`) in the comment of the table `customers`.
const SCHEMA_MARK: &str = "WARP schema ";

const FILES: &[(i64, &str, &str)] = &[
    (1, "foundation", include_str!("../../migrations/0001_foundation.sql")),
    (2, "routing", include_str!("../../migrations/0002_routing.sql")),
    (3, "calls", include_str!("../../migrations/0003_calls.sql")),
    (4, "rating check", include_str!("../../migrations/0004_rating_check.sql")),
    (5, "sealed passwords", include_str!("../../migrations/0005_sealed_passwords.sql")),
    (10, "rate sheets", include_str!("../../migrations/0010_rate_sheets.sql")),
    (20, "owned limits", include_str!("../../migrations/0020_owned_limits.sql")),
    (21, "idempotency", include_str!("../../migrations/0021_idempotency.sql")),
    (22, "posting time", include_str!("../../migrations/0022_posting_time.sql")),
    (23, "sections", include_str!("../../migrations/0023_sections.sql")),
    (30, "call storage", include_str!("../../migrations/0030_call_storage.sql")),
    (50, "margin currency", include_str!("../../migrations/0050_margin_currency.sql")),
    (55, "vendor nodes", include_str!("../../migrations/0055_vendor_nodes.sql")),
    (60, "log cursors", include_str!("../../migrations/0060_log_cursors.sql")),
    (70, "key rotation", include_str!("../../migrations/0070_key_rotation.sql")),
    (71, "users", include_str!("../../migrations/0071_users.sql")),
    (72, "views", include_str!("../../migrations/0072_views.sql")),
    (100, "bans", include_str!("../../migrations/0100_bans.sql")),
    (101, "ledger", include_str!("../../migrations/0101_ledger.sql")),
    (102, "nouns", include_str!("../../migrations/0102_nouns.sql")),
    (110, "inbound", include_str!("../../migrations/0110_inbound.sql")),
    (120, "audit", include_str!("../../migrations/0120_audit.sql")),
    (130, "credit", include_str!("../../migrations/0130_credit.sql")),
    (131, "leases_of_logs", include_str!("../../migrations/0131_leases_of_logs.sql")),
    (132, "hidden_callers", include_str!("../../migrations/0132_hidden_callers.sql")),
    (135, "sessions", include_str!("../../migrations/0135_sessions.sql")),
    (140, "outbox", include_str!("../../migrations/0140_outbox.sql")),
    (141, "webhooks", include_str!("../../migrations/0141_webhooks.sql")),
    (150, "jobs", include_str!("../../migrations/0150_jobs.sql")),
    (155, "call partitions", include_str!("../../migrations/0155_call_partitions.sql")),
    (170, "rules", include_str!("../../migrations/0170_rules.sql")),
    (171, "reratings", include_str!("../../migrations/0171_reratings.sql")),
    (172, "spend limits told", include_str!("../../migrations/0172_spend_limits_told.sql")),
    (173, "refer", include_str!("../../migrations/0173_refer.sql")),
    (180, "carriers webhooks", include_str!("../../migrations/0180_carriers_webhooks.sql")),
    (181, "mail", include_str!("../../migrations/0181_mail.sql")),
    (182, "schedules", include_str!("../../migrations/0182_schedules.sql")),
    (190, "messaging", include_str!("../../migrations/0190_messaging.sql")),
    (191, "messages", include_str!("../../migrations/0191_messages.sql")),
    (200, "hosts", include_str!("../../migrations/0200_hosts.sql")),
    (205, "nodes", include_str!("../../migrations/0205_nodes.sql")),
    (210, "released_numbers", include_str!("../../migrations/0210_released_numbers.sql")),
    (220, "headers", include_str!("../../migrations/0220_headers.sql")),
    (221, "session timers", include_str!("../../migrations/0221_session_timers.sql")),
    (230, "opt_outs", include_str!("../../migrations/0230_opt_outs.sql")),
    (243, "recording", include_str!("../../migrations/0243_recording.sql")),
];

/// Makes the roles and the database of a private cluster, as its superuser. Doing it again changes nothing.
pub async fn bootstrap(superuser: &PgConnectOptions, database: &str) -> Result<(), StoreError> {
    let mut db = superuser.connect().await?;
    sqlx::raw_sql(sql::MAKE_ROLES).execute(&mut db).await?;
    let exists = sqlx::query(sql::DATABASE_EXISTS).bind(database).fetch_optional(&mut db).await?;
    if exists.is_none() {
        let statement = sqlx::query(sql::CREATE_DATABASE_TEXT).bind(database).fetch_one(&mut db).await?;
        let text: String = statement.try_get(0)?;
        // The text comes from PostgreSQL's own format('%I'), with our own constant or a test's generated name.
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut db).await?;
    }
    db.close().await?;
    Ok(())
}

/// Makes a database as a copy of another one that nobody is connected to (tests: migrating once is enough).
pub async fn copy(superuser: &PgConnectOptions, template: &str, database: &str) -> Result<(), StoreError> {
    let mut db = superuser.connect().await?;
    let row = sqlx::query(sql::COPY_DATABASE_TEXT).bind(database).bind(template).fetch_one(&mut db).await?;
    let text: String = row.try_get(0)?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut db).await?;
    db.close().await?;
    Ok(())
}

/// Applies the migrations as the owner of the schema and grants the other two roles what they need.
/// `app_role` is the role of `DATABASE_URL`, which need not be [`APP_ROLE`].
pub async fn migrate(owner: &PgConnectOptions, app_role: &str) -> Result<(), StoreError> {
    let mut db = owner.connect().await?;
    migrator().run(&mut db).await.map_err(|e| StoreError::Migration(e.to_string()))?;
    // Readable for every role, unlike the migrator's own table.
    let mark = sqlx::query(sql::SCHEMA_MARK_TEXT).bind(format!("{SCHEMA_MARK}{}", joined(&needed())));
    let text: String = mark.fetch_one(&mut db).await?.try_get(0)?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut db).await?;
    grant(&mut db, app_role, "app").await?;
    let readonly = sqlx::query(sql::ROLE_EXISTS).bind(READONLY_ROLE).fetch_optional(&mut db).await?;
    if readonly.is_some() {
        grant(&mut db, READONLY_ROLE, "readonly").await?;
    }
    db.close().await?;
    Ok(())
}

/// The migrations that this program works with, in order.
fn needed() -> Vec<i64> {
    FILES.iter().map(|(version, ..)| *version).collect()
}

fn joined(versions: &[i64]) -> String {
    versions.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// Refuses a database without our schema, or one that lacks any of our migrations, and says the cure. The numbers are compared
/// one by one: a branch may have brought a high number before a lower one. Further numbers are taken: nodes of two versions
/// work side by side during an upgrade (F-UPG-01).
pub async fn check_schema(db: &mut PgConnection, place: &str) -> Result<(), StoreError> {
    let row = sqlx::query(sql::SCHEMA_VERSION).fetch_one(db).await?;
    let (there, said): (bool, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let what = match (there, applied(said.as_deref())) {
        (false, _) => "is empty: it has no WARP schema".to_owned(),
        (true, None) => "has an older WARP schema that does not say its migrations".to_owned(),
        (true, Some(applied)) => {
            let lacking: Vec<i64> = needed().into_iter().filter(|v| !applied.contains(v)).collect();
            if lacking.is_empty() {
                return Ok(());
            }
            format!("has an older WARP schema: it lacks the migrations {}", joined(&lacking))
        }
    };
    Err(StoreError::Schema(format!(
        "the database at {place} {what}. Start once with api.migrate_url = \"postgres://OWNER:PASSWORD@HOST/DATABASE\", a role that may \
         create tables there; the schema is then made or brought up to date. Without DATABASE_URL, WARP runs a PostgreSQL of its own."
    )))
}

/// The numbers that a mark names; `None` when it is none of ours.
fn applied(mark: Option<&str>) -> Option<Vec<i64>> {
    mark?.strip_prefix(SCHEMA_MARK)?.split(',').map(|n| n.parse().ok()).collect()
}

/// Refuses a run-time role that could step over the walls (T-PG-01).
pub async fn check_role(db: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::query(sql::ROLE_POWERS).fetch_one(db).await?;
    let (superuser, bypass): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if superuser || bypass {
        return Err(StoreError::PowerfulRole);
    }
    Ok(())
}

async fn grant(db: &mut PgConnection, role: &str, kind: &str) -> Result<(), StoreError> {
    let rows = sqlx::query(sql::GRANT_TEXTS).bind(role).bind(kind).fetch_all(&mut *db).await?;
    for row in rows {
        let text: String = row.try_get(0)?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *db).await?;
    }
    Ok(())
}

fn migrator() -> Migrator {
    Migrator::with_migrations(
        FILES
            .iter()
            .map(|(version, name, text)| {
                Migration::new(*version, (*name).into(), MigrationType::Simple, text.into_sql_str(), false)
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_migrations_is_in_the_list_in_order() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
        let mut files: Vec<String> = folder.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<String> =
            FILES.iter().map(|(n, name, _)| format!("{n:04}_{}.sql", name.replace(' ', "_"))).collect();
        assert_eq!(files, listed);
    }
}
