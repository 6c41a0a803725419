//! How statements are declared: named constants, in the file of their noun; [`all`] is what the test prepares. Here stand those
//! that belong to no noun.
//!
//! Columns that travel as times are wrapped in `us(…)`, amounts in `amount_text(…)`; parameters are bound, never pasted.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $text;)*
        /// Name and text of every statement of this file.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}
pub(crate) use statements;

/// Name and text of every statement of the control plane.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    use super::{
        audit, call_weeks, calls, credit, decks, housekeeping, idempotency, jobs, keys, ledger, messages,
        messaging, nodes, nouns, numbers, outbox, partitions, posting, published, reratings, retention,
        rules, schedules, sessions, snapshots, standings, trunks, users, vendors, webhooks,
    };
    let files = [
        ALL,
        audit::ALL,
        call_weeks::ALL,
        calls::ALL,
        credit::ALL,
        decks::ALL,
        housekeeping::ALL,
        idempotency::ALL,
        jobs::ALL,
        keys::ALL,
        ledger::ALL,
        messages::ALL,
        messaging::ALL,
        nodes::ALL,
        numbers::ALL,
        outbox::ALL,
        partitions::ALL,
        posting::ALL,
        published::ALL,
        reratings::ALL,
        retention::ALL,
        rules::ALL,
        schedules::ALL,
        sessions::ALL,
        snapshots::ALL,
        standings::ALL,
        trunks::ALL,
        users::ALL,
        vendors::ALL,
        webhooks::ALL,
    ];
    files.into_iter().flatten().copied().chain(nouns::all())
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

/// Not prepared, as the next ones: it begins a transaction.
pub const BEGIN: &str = "BEGIN";

/// Begins one in the scope of an operator, in one round trip: most transactions are of the program itself. Nothing in it is from outside.
pub const BEGIN_AS_OPERATOR: &str =
    "BEGIN; SELECT set_config('warp.scope', 'operator', true), set_config('warp.customer_id', '', true)";

/// Begins one that sees one moment of all tables.
pub const BEGIN_CONSISTENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

statements! {
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
    /// Whether we are the role that owns the schema, or one that stands for it.
    OWNS_SCHEMA = "SELECT pg_has_role(current_user, c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = 'api_keys'::regclass";
    /// Whether our schema is there, and what it says of itself.
    SCHEMA_VERSION = "SELECT to_regclass('public.customers') IS NOT NULL, obj_description(to_regclass('public.customers'), 'pg_class')";
    /// Statement that marks the schema, quoted by PostgreSQL.
    SCHEMA_MARK_TEXT = "SELECT format('COMMENT ON TABLE customers IS %L', $1::text)";
    /// GRANT statements for role `$1` of kind `$2` (app, readonly), quoted by PostgreSQL.
    GRANT_TEXTS = "SELECT format('GRANT %s ON %I.%I TO %I',
            CASE WHEN $2::text = 'readonly' AND c.relname = 'vendor_trunks' THEN
                     (SELECT 'SELECT (' || string_agg(quote_ident(a.attname), ', ') || ')' FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'auth_secret')
                 WHEN $2::text = 'readonly' THEN 'SELECT'
                 WHEN c.relname IN ('audit_log', 'ledger_postings', 'ledger_lines') THEN 'SELECT, INSERT'
                 ELSE 'SELECT, INSERT, UPDATE, DELETE' END,
            n.nspname, c.relname, $1::text)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('public', 'sms') AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations' AND NOT c.relispartition
          AND NOT ($2::text = 'readonly'
                   AND c.relname IN ('api_keys', 'trunk_credentials', 'snapshot_sections', 'idempotency_keys', 'sessions', 'webhooks',
                       'smpp_accounts', 'vendor_binds', 'contents', 'message_rejects'))
        UNION ALL SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, $1::text)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'public' AND p.prosecdef AND $2::text = 'app'
        ORDER BY 1";
    /// For the rest of the transaction each statement is planned for its values: a filter that is absent costs no index.
    PLAN_FOR_VALUES = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)";
    /// Whether the key is needed for anything that is stored.
    SEALED_COUNT = "SELECT (SELECT count(*) FROM vendor_trunks WHERE auth_secret IS NOT NULL)
        + (SELECT count(*) FROM webhooks WHERE secret_sealed IS NOT NULL)
        + (SELECT count(*) FROM smpp_accounts WHERE secret IS NOT NULL)
        + (SELECT count(*) FROM vendor_binds WHERE password IS NOT NULL)";
    /// Directories of snapshots that an earlier version kept in clear: JSON begins with a brace.
    CLEAR_SECTIONS = "SELECT sha256 FROM snapshot_sections WHERE kind = 'directory' AND substr(content, 1, 1) = '\\x7b'::bytea";
    /// One of them, sealed.
    SEAL_SECTION = "UPDATE snapshot_sections SET content = $2 WHERE sha256 = $1";
}
