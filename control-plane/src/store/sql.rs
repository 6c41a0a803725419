//! How statements are declared: named constants, in the file of their noun; [`all`] is what the test prepares. Here stand those
//! that belong to no noun.
//!
//! Columns that travel as times are wrapped in `us(…)`, amounts in `amount_text(…)`; parameters are bound, never pasted.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Name and text of every statement of this file.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}
pub(crate) use statements;

/// Name and text of every statement of the control plane.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    use super::{
        audit, calls, customers, housekeeping, idempotency, keys, partitions, published, snapshots, trunks,
        vendors,
    };
    let files = [
        ALL,
        audit::ALL,
        calls::ALL,
        customers::ALL,
        housekeeping::ALL,
        idempotency::ALL,
        keys::ALL,
        partitions::ALL,
        published::ALL,
        snapshots::ALL,
        trunks::ALL,
        vendors::ALL,
    ];
    files.into_iter().flatten().copied()
}

/// Roles of the cluster; several statements, so it is run as a script and not prepared. Repeatable.
pub const MAKE_ROLES: &str = "DO $$
DECLARE r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['warp_migrate', 'warp_app', 'warp_readonly'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', r);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another process made it at the same moment
        END;
    END LOOP;
END $$";

/// Not prepared: it begins a transaction.
pub const BEGIN_CONSISTENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

macro_rules! deck_columns {
    () => {
        "id, name, kind, currency, active_version, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! deck_version_columns {
    () => {
        "deck_id, number, row_count, sha256, source_name, notes, base_number, report, us(activated_at) AS activated_at,
         us(created_at) AS created_at"
    };
}

statements! {
    /// Answers when the database does.
    PING = "SELECT 1";
    /// `$1` = customer or operator, `$2` = customer id. Local to the transaction.
    SET_SCOPE = "SELECT set_config('warp.scope', $1, true), set_config('warp.customer_id', $2, true)";
    /// What the work of one Idempotency-Key can be undone to.
    SAVEPOINT = "SAVEPOINT work";
    /// Undoes it.
    ROLLBACK_TO_SAVEPOINT = "ROLLBACK TO SAVEPOINT work";
    /// For bulk work of one transaction.
    LONG_STATEMENTS = "SELECT set_config('statement_timeout', '60s', true)";
    /// One row when the database exists.
    DATABASE_EXISTS = "SELECT 1 FROM pg_database WHERE datname = $1";
    /// The text of CREATE DATABASE, quoted by PostgreSQL.
    CREATE_DATABASE_TEXT = "SELECT format('CREATE DATABASE %I OWNER warp_migrate', $1::text)";
    /// The text of CREATE DATABASE from a template, quoted by PostgreSQL.
    COPY_DATABASE_TEXT = "SELECT format('CREATE DATABASE %I OWNER warp_migrate TEMPLATE %I', $1::text, $2::text)";
    /// One row when the role exists.
    ROLE_EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = $1";
    /// Whether we are a role that row-level security does not hold.
    ROLE_POWERS = "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user";
    /// Whether our schema is there, and what it says of itself.
    SCHEMA_VERSION = "SELECT to_regclass('public.customers') IS NOT NULL, obj_description(to_regclass('public.customers'), 'pg_class')";
    /// Statement that marks the schema, quoted by PostgreSQL.
    SCHEMA_MARK_TEXT = "SELECT format('COMMENT ON TABLE customers IS %L', $1::text)";
    /// GRANT statements for role `$1` of kind `$2` (app, readonly), quoted by PostgreSQL.
    GRANT_TEXTS = "SELECT format('GRANT %s ON %I.%I TO %I',
            CASE WHEN $2::text = 'readonly' AND c.relname = 'vendor_trunks' THEN
                     (SELECT 'SELECT (' || string_agg(quote_ident(a.attname), ', ') || ')' FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('auth_password', 'auth_secret'))
                 WHEN $2::text = 'readonly' THEN 'SELECT'
                 WHEN c.relname = 'audit_log' THEN 'SELECT, INSERT'
                 ELSE 'SELECT, INSERT, UPDATE, DELETE' END,
            n.nspname, c.relname, $1::text)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'
          AND NOT ($2::text = 'readonly'
                   AND c.relname IN ('api_keys', 'trunk_credentials', 'snapshot_sections', 'idempotency_keys'))
        ORDER BY c.relname";









    /// One page.
    DECK_LIST = concat!("SELECT ", deck_columns!(), " FROM decks
        WHERE ($1::text IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
    /// One.
    DECK_GET = concat!("SELECT ", deck_columns!(), " FROM decks WHERE id = $1");
    /// One, so that two uploads cannot take one version number.
    DECK_LOCK = concat!("SELECT ", deck_columns!(), " FROM decks WHERE id = $1 FOR UPDATE");
    /// New.
    DECK_INSERT = concat!("INSERT INTO decks (id, name, kind, currency) VALUES ($1, $2, $3, $4) RETURNING ", deck_columns!());
    /// Who uses a deck, or has used it: the decisions of calls refer to its versions.
    DECK_USERS = "SELECT (SELECT count(*) FROM deck_versions WHERE deck_id = $1 AND activated_at IS NOT NULL)
        + (SELECT count(*) FROM customers WHERE $1 = ANY(sell_deck_ids))
        + (SELECT count(*) FROM trunks WHERE $1 = ANY(sell_deck_ids))
        + (SELECT count(*) FROM vendors WHERE $1 = ANY(buy_deck_ids))";
    /// Gone with its versions.
    DECK_DELETE = "DELETE FROM decks WHERE id = $1";
    /// Which of these decks exist.
    DECK_KNOWN = "SELECT id, currency FROM decks WHERE id = ANY($1)";
    /// Versions of a deck, newest first.
    DECK_VERSION_LIST = concat!("SELECT ", deck_version_columns!(), " FROM deck_versions
        WHERE deck_id = $1 AND ($2::integer IS NULL OR number < $2) ORDER BY number DESC LIMIT $3");
    /// One version.
    DECK_VERSION_GET = concat!("SELECT ", deck_version_columns!(), " FROM deck_versions WHERE deck_id = $1 AND number = $2");
    /// The next version number.
    DECK_VERSION_NEXT = "SELECT coalesce(max(number), 0) + 1 FROM deck_versions WHERE deck_id = $1";
    /// New version.
    DECK_VERSION_INSERT = concat!("INSERT INTO deck_versions (deck_id, number, row_count, sha256, source_name, notes, content,
            report, base_number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ", deck_version_columns!());
    /// Its canonical bytes.
    DECK_VERSION_CONTENT = "SELECT content FROM deck_versions WHERE deck_id = $1 AND number = $2";
    /// What decides whether a version may come into force.
    DECK_VERSION_STATE = "SELECT v.base_number, us(v.activated_at) AS activated_at, d.active_version
        FROM deck_versions v JOIN decks d ON d.id = v.deck_id WHERE v.deck_id = $1 AND v.number = $2";
    /// Vendors who sell by a deck; two are as many as many.
    DECK_SELLERS = "SELECT id FROM vendors WHERE $1 = ANY(buy_deck_ids) ORDER BY id LIMIT 2";
    /// How an owner's sheets are read.
    SHEET_OPTIONS_GET = "SELECT options FROM sheet_options WHERE owner = $1";
    /// Remembered.
    SHEET_OPTIONS_SET = "INSERT INTO sheet_options (owner, options) VALUES ($1, $2)
        ON CONFLICT (owner) DO UPDATE SET options = excluded.options, updated_at = now()";
    /// This version is in force from now on.
    DECK_ACTIVATE = concat!("UPDATE decks SET active_version = $2, updated_at = now(), version = version + 1
        WHERE id = $1 AND EXISTS (SELECT FROM deck_versions WHERE deck_id = $1 AND number = $2) RETURNING ", deck_columns!());
    /// Remembers when.
    DECK_VERSION_ACTIVATED = "UPDATE deck_versions SET activated_at = now() WHERE deck_id = $1 AND number = $2";


    /// For the rest of the transaction each statement is planned for its values: a filter that is absent costs no index.
    PLAN_FOR_VALUES = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)";
    /// CDRs, each exactly once: one array per column. The id of each row that was written comes back, and whether it is new:
    /// a record with a real end takes the place of one whose end was reconstructed, as long as that is not billed.
    CALLS_INSERT = "INSERT INTO calls (
            cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, caller_e164, called_e164,
            jurisdiction, setup_at, progress_at, answer_at, end_at, pdd_ms, duration_ms, sip_code, q850,
            release_side, internal_code, outcome, recovered, snapshot_id, route_rank, vendor_id, vendor_trunk_id,
            currency, sell, buy_currency, buy, margin, billable_s, packed, rating_status)
        SELECT
            cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, caller_e164, called_e164,
            jurisdiction, ts(setup_at), ts(progress_at), ts(answer_at), ts(end_at), pdd_ms, duration_ms, sip_code,
            q850, release_side, internal_code, outcome, recovered, snapshot_id, route_rank, vendor_id,
            vendor_trunk_id, currency, sell, buy_currency, buy, margin, billable_s, packed, rating_status
        FROM unnest(
                $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
                $16::bigint[], $17::integer[], $18::integer[], $19::text[], $20::text[], $21::text[], $22::boolean[],
                $23::text[], $24::integer[], $25::text[], $26::text[], $27::text[], $28::bigint[], $29::text[],
                $30::bigint[], $31::bigint[], $32::bigint[], $33::bytea[], $34::text[]) AS n (
            cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, caller_e164, called_e164,
            jurisdiction, setup_at, progress_at, answer_at, end_at, pdd_ms, duration_ms, sip_code, q850,
            release_side, internal_code, outcome, recovered, snapshot_id, route_rank, vendor_id, vendor_trunk_id,
            currency, sell, buy_currency, buy, margin, billable_s, packed, rating_status)
        ON CONFLICT (cdr_id) DO UPDATE SET
            customer_id = excluded.customer_id, trunk_id = excluded.trunk_id, sip_call_id = excluded.sip_call_id,
            ingress_ip = excluded.ingress_ip, caller = excluded.caller, called = excluded.called,
            caller_e164 = excluded.caller_e164, called_e164 = excluded.called_e164,
            jurisdiction = excluded.jurisdiction, setup_at = excluded.setup_at, progress_at = excluded.progress_at,
            answer_at = excluded.answer_at, end_at = excluded.end_at, pdd_ms = excluded.pdd_ms,
            duration_ms = excluded.duration_ms, sip_code = excluded.sip_code, q850 = excluded.q850,
            release_side = excluded.release_side, internal_code = excluded.internal_code, outcome = excluded.outcome,
            recovered = excluded.recovered, snapshot_id = excluded.snapshot_id, route_rank = excluded.route_rank,
            vendor_id = excluded.vendor_id, vendor_trunk_id = excluded.vendor_trunk_id, currency = excluded.currency,
            sell = excluded.sell, buy_currency = excluded.buy_currency, buy = excluded.buy, margin = excluded.margin,
            billable_s = excluded.billable_s, packed = excluded.packed, rating_status = excluded.rating_status,
            record = NULL, posted_at = excluded.posted_at
        WHERE calls.recovered AND NOT excluded.recovered AND calls.billed_at IS NULL
        RETURNING cdr_id, xmax = 0";
    /// Snapshots of calls that were not rated again when they were posted.
    UNCHECKED_SNAPSHOTS = "SELECT DISTINCT snapshot_id FROM calls WHERE rating_status = 'unchecked' AND snapshot_id <> ALL($1)
        LIMIT 100";
    /// Such calls of one snapshot.
    UNCHECKED_CALLS = "SELECT cdr_id AS id, coalesce(packed, convert_to(record::text, 'UTF8')) AS record FROM calls
        WHERE rating_status = 'unchecked' AND snapshot_id = $1 LIMIT 200";
    /// What rating them again said; one array per column.
    RATING_CHECKED = "UPDATE calls SET rating_status = n.verdict FROM unnest($1::text[], $2::text[]) AS n (id, verdict)
        WHERE calls.cdr_id = n.id AND calls.rating_status = 'unchecked'";
    /// Calls that are older than the retention: `$1` and `$2` say the same moment as an id and as a time, `$3` after this id,
    /// `$4` rows at most. What is priced and not billed stays unless `$5` says that it may go.
    CALLS_EXPIRE = "WITH old AS (
            SELECT cdr_id FROM calls WHERE cdr_id < $1 AND setup_at < ts($2) AND cdr_id > $3
              AND (billed_at IS NOT NULL OR coalesce(sell, 0) = 0 OR $5) ORDER BY cdr_id LIMIT $4),
        gone AS (DELETE FROM calls USING old WHERE calls.cdr_id = old.cdr_id
            RETURNING calls.cdr_id, calls.billed_at IS NULL AND coalesce(calls.sell, 0) <> 0 AS unbilled)
        SELECT count(*), max(cdr_id), count(*) FILTER (WHERE unbilled) FROM gone";
    /// Calls that stay beyond the retention because they are priced and not billed.
    CALLS_OVERDUE = "SELECT count(*) FROM calls WHERE cdr_id < $1 AND setup_at < ts($2) AND billed_at IS NULL
        AND coalesce(sell, 0) <> 0";
    /// CDRs refer to these snapshots.
    SNAPSHOT_USED = "UPDATE snapshots SET used = true WHERE id = ANY($1) AND NOT used";
    /// A record that cannot be posted; once, however often it is read.
    REJECT_INSERT = "INSERT INTO cdr_rejects (position, reason, content) SELECT $1::text, $2::text, $3::bytea
        WHERE NOT EXISTS (SELECT FROM cdr_rejects WHERE position = $1::text AND content = $3::bytea)";
    /// Where a consumer stands.
    CURSOR_GET = "SELECT position FROM event_cursors WHERE consumer = $1";
    /// It stands here now.
    CURSOR_SET = "INSERT INTO event_cursors (consumer, topic, position) VALUES ($1, $2, $3)
        ON CONFLICT (consumer) DO UPDATE SET position = excluded.position, updated_at = now()";

    /// Whether the key is needed for anything that is stored.
    SEALED_COUNT = "SELECT count(*) FROM vendor_trunks WHERE auth_secret IS NOT NULL";
    /// Passwords that an earlier version stored in clear.
    CLEAR_PASSWORDS = "SELECT id, auth_password FROM vendor_trunks WHERE auth_password IS NOT NULL FOR UPDATE";
    /// One of them, sealed.
    SEAL_PASSWORD = "UPDATE vendor_trunks SET auth_secret = $2, auth_password = NULL WHERE id = $1";
    /// Directories of snapshots that an earlier version kept in clear: JSON begins with a brace.
    CLEAR_SECTIONS = "SELECT sha256 FROM snapshot_sections WHERE kind = 'directory' AND substr(content, 1, 1) = '\\x7b'::bytea";
    /// One of them, sealed.
    SEAL_SECTION = "UPDATE snapshot_sections SET content = $2 WHERE sha256 = $1";

}
