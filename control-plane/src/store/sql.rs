//! Every SQL statement of the control plane, as a named constant; [`ALL`] is what the test prepares.
//!
//! Columns that travel as times are wrapped in `us(…)`, amounts in `amount_text(…)`; parameters are bound, never pasted.

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Name and text of every statement.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
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

statements! {
    /// Answers when the database does.
    PING = "SELECT 1";
    /// `$1` = customer or operator, `$2` = customer id. Local to the transaction.
    SET_SCOPE = "SELECT set_config('warp.scope', $1, true), set_config('warp.customer_id', $2, true)";
    /// For bulk work of one transaction.
    LONG_STATEMENTS = "SELECT set_config('statement_timeout', '60s', true)";
    /// One row when the database exists.
    DATABASE_EXISTS = "SELECT 1 FROM pg_database WHERE datname = $1";
    /// The text of CREATE DATABASE, quoted by PostgreSQL.
    CREATE_DATABASE_TEXT = "SELECT format('CREATE DATABASE %I OWNER warp_migrate', $1::text)";
    /// One row when the role exists.
    ROLE_EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = $1";
    /// Whether we are a role that row-level security does not hold.
    ROLE_POWERS = "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user";
    /// GRANT statements for role `$1` of kind `$2` (app, readonly), quoted by PostgreSQL.
    GRANT_TEXTS = "SELECT format('GRANT %s ON %I.%I TO %I',
            CASE WHEN $2::text = 'readonly' THEN 'SELECT'
                 WHEN c.relname = 'audit_log' THEN 'SELECT, INSERT'
                 ELSE 'SELECT, INSERT, UPDATE, DELETE' END,
            n.nspname, c.relname, $1::text)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'
        ORDER BY c.relname";
}
