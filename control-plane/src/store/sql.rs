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

/// Not prepared: it begins a transaction.
pub const BEGIN_CONSISTENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

macro_rules! key_columns {
    () => {
        "id, customer_id, audience, name, hint, scopes, ip_allow, us(created_at) AS created_at, us(expires_at) AS expires_at,
         us(last_used_at) AS last_used_at, us(revoked_at) AS revoked_at"
    };
}
macro_rules! customer_columns {
    () => {
        "id, name, status, currency, channels, cps, amount_text(max_rate_per_min, currency) AS max_rate_per_min,
         amount_text(daily_spend, currency) AS daily_spend, utc_offset_min, sell_deck_ids, partition_id,
         us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! ban_columns {
    () => {
        "id, customer_id, name, currency, cycle_day, terms_days, mode, us(created_at) AS created_at"
    };
}
macro_rules! trunk_columns {
    () => {
        "t.id, t.customer_id, t.ban_id, t.name, t.status, t.channels, t.cps,
         amount_text(t.max_rate_per_min, c.currency) AS max_rate_per_min,
         amount_text(t.daily_spend, c.currency) AS daily_spend, t.max_duration_s, t.destinations, t.media_ips,
         t.strip_prefixes, t.strip_required, t.require_valid_caller, t.trust_asserted, t.sell_deck_ids, t.partition_id,
         us(t.created_at) AS created_at, us(t.updated_at) AS updated_at, t.version"
    };
}
macro_rules! vendor_columns {
    () => {
        "id, slug, name, status, buy_deck_ids, interconnection, us(created_at) AS created_at,
         us(updated_at) AS updated_at, version"
    };
}
macro_rules! vendor_trunk_columns {
    () => {
        "id, vendor_id, name, status, transport, addresses, channels, cps, tech_prefix, number_format, media_ips, priority,
         weight, auth_username, auth_realm, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! partition_columns {
    () => {
        "id, name, strategy, max_candidates, expected_duration_s, amount_text(margin_per_min, 'USD') AS margin_per_min,
         margin_bps, loss_ok, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
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
macro_rules! exclusion_columns {
    () => {
        "id, vendor_id, code, kind, reason, us(starts_at) AS starts_at, us(ends_at) AS ends_at,
         us(created_at) AS created_at"
    };
}
macro_rules! call_columns {
    () => {
        "cdr_id AS id, customer_id, trunk_id, caller, called, caller_e164, called_e164, jurisdiction,
         us(setup_at) AS setup_at, us(answer_at) AS answer_at, us(end_at) AS end_at, pdd_ms, duration_ms, sip_code, q850,
         release_side, internal_code, outcome, recovered, vendor_id, vendor_trunk_id, route_rank,
         amount_text(sell, currency) AS price, amount_text(buy, buy_currency) AS cost,
         amount_text(margin, currency) AS margin, billable_s, snapshot_id,
         rating_status"
    };
}

// Pages in either order: what comes after the last row seen, and which way.
macro_rules! call_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            call_columns!(),
            " FROM calls
        WHERE ($1::text IS NULL OR cdr_id ",
            $after,
            " $1)
          AND ($3::text IS NULL OR trunk_id = $3) AND ($4::integer IS NULL OR sip_code = $4)
          AND ($5::text IS NULL OR outcome = $5) AND ($6::text IS NULL OR called_e164 = $6)
          AND ($7::text IS NULL OR caller_e164 = $7) AND ($8::bigint IS NULL OR setup_at >= ts($8))
          AND ($9::bigint IS NULL OR setup_at < ts($9)) AND ($10::text IS NULL OR sip_call_id = $10)
          AND ($11::text IS NULL OR vendor_id = $11) AND ($12::text IS NULL OR customer_id = $12)
        ORDER BY cdr_id ",
            $order,
            " LIMIT $2"
        )
    };
}
macro_rules! customer_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            customer_columns!(),
            " FROM customers
        WHERE ($1::text IS NULL OR id ",
            $after,
            " $1) ORDER BY id ",
            $order,
            " LIMIT $2"
        )
    };
}
macro_rules! trunk_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            trunk_columns!(),
            " FROM trunks t JOIN customers c ON c.id = t.customer_id
        WHERE ($1::text IS NULL OR t.customer_id = $1) AND ($2::text IS NULL OR t.id ",
            $after,
            " $2) ORDER BY t.id ",
            $order,
            " LIMIT $3"
        )
    };
}
macro_rules! vendor_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            vendor_columns!(),
            " FROM vendors
        WHERE ($1::text IS NULL OR id ",
            $after,
            " $1) ORDER BY id ",
            $order,
            " LIMIT $2"
        )
    };
}
macro_rules! vendor_trunk_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            vendor_trunk_columns!(),
            " FROM vendor_trunks
        WHERE ($1::text IS NULL OR vendor_id = $1) AND ($2::text IS NULL OR id ",
            $after,
            " $2) ORDER BY id ",
            $order,
            " LIMIT $3"
        )
    };
}

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

    /// Audit line.
    AUDIT_INSERT = "INSERT INTO audit_log (customer_id, actor, action, object, request_id, detail)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// `$1` before this id, `$2` rows.
    AUDIT_LIST = "SELECT id, customer_id, actor, action, object, request_id, detail, us(at) AS at FROM audit_log
        WHERE ($1::bigint IS NULL OR id < $1) ORDER BY id DESC LIMIT $2";

    /// Claims a key; an expired claim is taken over.
    IDEMPOTENCY_CLAIM = "INSERT INTO idempotency_keys (key_id, key, customer_id, request) VALUES ($1, $2, $3, $4)
        ON CONFLICT (key_id, key) DO UPDATE SET request = excluded.request, status = NULL, body = NULL, created_at = now()
        WHERE idempotency_keys.created_at < now() - interval '24 hours'";
    /// The first request and its answer.
    IDEMPOTENCY_FIND = "SELECT request, status, body FROM idempotency_keys WHERE key_id = $1 AND key = $2";
    /// Keeps the answer.
    IDEMPOTENCY_KEEP = "UPDATE idempotency_keys SET status = $3, body = $4 WHERE key_id = $1 AND key = $2";
    /// The request may be tried again.
    IDEMPOTENCY_FORGET = "DELETE FROM idempotency_keys WHERE key_id = $1 AND key = $2";
    /// Housekeeping.
    IDEMPOTENCY_EXPIRE = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'";

    /// New key.
    KEY_INSERT = concat!("INSERT INTO api_keys (id, customer_id, audience, name, hint, hash, scopes, ip_allow, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::integer * interval '1 day') RETURNING ", key_columns!());
    /// Keys of one customer, or (`$1` NULL) of operators.
    KEY_LIST = concat!("SELECT ", key_columns!(), " FROM api_keys
        WHERE customer_id IS NOT DISTINCT FROM $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3");
    /// Ends a key.
    KEY_REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL";
    /// Live key by hash `$1`, used from address `$2`.
    KEY_FIND = "SELECT k.id, k.customer_id, k.scopes,
            (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute') AS touch
        FROM api_keys k LEFT JOIN customers c ON c.id = k.customer_id
        WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
          AND (k.customer_id IS NULL OR c.status = 'active')
          AND (cardinality(k.ip_allow) = 0
               OR EXISTS (SELECT FROM unnest(k.ip_allow) AS a WHERE $2::text::inet <<= a::inet))";
    /// Last use, to the minute.
    KEY_TOUCH = "UPDATE api_keys SET last_used_at = now() WHERE id = $1";
    /// How many live operator keys there are.
    KEY_OPERATORS = "SELECT count(*) FROM api_keys WHERE audience = 'operator' AND revoked_at IS NULL";

    /// One page.
    CUSTOMER_LIST = customer_page!("<", "DESC");
    /// The same, oldest first.
    CUSTOMER_LIST_OLDEST = customer_page!(">", "ASC");
    /// One.
    CUSTOMER_GET = concat!("SELECT ", customer_columns!(), " FROM customers WHERE id = $1");
    /// New.
    CUSTOMER_INSERT = concat!("INSERT INTO customers (id, name, status, currency, channels, cps, max_rate_per_min,
            daily_spend, utc_offset_min, sell_deck_ids, partition_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING ", customer_columns!());
    /// Replaces; `$12` = wanted version or NULL. The currency stays.
    CUSTOMER_UPDATE = concat!("UPDATE customers SET name = $2, status = $3, channels = $5, cps = $6, max_rate_per_min = $7,
            daily_spend = $8, utc_offset_min = $9, sell_deck_ids = $10, partition_id = $11, updated_at = now(),
            version = version + 1
        WHERE id = $1 AND currency = $4 AND ($12::integer IS NULL OR version = $12) RETURNING ", customer_columns!());

    /// New billing account.
    BAN_INSERT = concat!("INSERT INTO bans (id, customer_id, name, currency, cycle_day, terms_days, mode)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ", ban_columns!());
    /// One page; `$1` = customer or NULL.
    BAN_LIST = concat!("SELECT ", ban_columns!(), " FROM bans
        WHERE ($1::text IS NULL OR customer_id = $1) AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3");

    /// One page; `$1` = customer or NULL.
    TRUNK_LIST = trunk_page!("<", "DESC");
    /// The same, oldest first.
    TRUNK_LIST_OLDEST = trunk_page!(">", "ASC");
    /// One.
    TRUNK_GET = concat!("SELECT ", trunk_columns!(), " FROM trunks t JOIN customers c ON c.id = t.customer_id
        WHERE t.id = $1");
    /// New.
    TRUNK_INSERT = concat!("WITH t AS (INSERT INTO trunks (id, customer_id, ban_id, name, status, channels, cps,
            max_rate_per_min, daily_spend, max_duration_s, destinations, media_ips, strip_prefixes, strip_required,
            require_valid_caller, trust_asserted, sell_deck_ids, partition_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) RETURNING *)
        SELECT ", trunk_columns!(), " FROM t JOIN customers c ON c.id = t.customer_id");
    /// Replaces; `$19` = wanted version or NULL.
    TRUNK_UPDATE = concat!("WITH t AS (UPDATE trunks SET ban_id = $3, name = $4, status = $5, channels = $6, cps = $7,
            max_rate_per_min = $8, daily_spend = $9, max_duration_s = $10, destinations = $11, media_ips = $12,
            strip_prefixes = $13, strip_required = $14, require_valid_caller = $15, trust_asserted = $16,
            sell_deck_ids = $17, partition_id = $18, updated_at = now(), version = version + 1
        WHERE id = $1 AND customer_id = $2 AND ($19::integer IS NULL OR version = $19) RETURNING *)
        SELECT ", trunk_columns!(), " FROM t JOIN customers c ON c.id = t.customer_id");
    /// Gone, with its addresses and users.
    TRUNK_DELETE = "DELETE FROM trunks WHERE id = $1 RETURNING customer_id";
    /// Whose it is.
    TRUNK_OWNER = "SELECT t.customer_id, c.currency FROM trunks t JOIN customers c ON c.id = t.customer_id WHERE t.id = $1";
    /// Addresses of a trunk.
    TRUNK_IP_LIST = "SELECT host(address) || '/' || masklen(address) AS address, us(created_at) AS created_at
        FROM trunk_ips WHERE trunk_id = $1 ORDER BY address";
    /// One more.
    TRUNK_IP_INSERT = "INSERT INTO trunk_ips (customer_id, trunk_id, address) VALUES ($1, $2, $3::text::inet)
        RETURNING host(address) || '/' || masklen(address) AS address, us(created_at) AS created_at";
    /// One less.
    TRUNK_IP_DELETE = "DELETE FROM trunk_ips WHERE trunk_id = $1 AND address = $2::text::inet";
    /// How many it has.
    TRUNK_IP_COUNT = "SELECT count(*) FROM trunk_ips WHERE trunk_id = $1";
    /// How many trunks a customer has.
    TRUNK_COUNT = "SELECT count(*) FROM trunks WHERE customer_id = $1";
    /// How many digest users a trunk has.
    CREDENTIAL_COUNT = "SELECT count(*) FROM trunk_credentials WHERE trunk_id = $1";
    /// How many live keys a customer, or (`$1` NULL) operators have.
    KEY_COUNT = "SELECT count(*) FROM api_keys WHERE customer_id IS NOT DISTINCT FROM $1 AND revoked_at IS NULL";
    /// Digest users of a trunk.
    CREDENTIAL_LIST = "SELECT username, realm, us(created_at) AS created_at FROM trunk_credentials
        WHERE trunk_id = $1 ORDER BY username";
    /// One more.
    CREDENTIAL_INSERT = "INSERT INTO trunk_credentials (customer_id, trunk_id, username, realm, ha1_md5, ha1_sha256)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING username, realm, us(created_at) AS created_at";
    /// One less.
    CREDENTIAL_DELETE = "DELETE FROM trunk_credentials WHERE trunk_id = $1 AND username = $2";

    /// One page.
    VENDOR_LIST = vendor_page!("<", "DESC");
    /// The same, oldest first.
    VENDOR_LIST_OLDEST = vendor_page!(">", "ASC");
    /// One.
    VENDOR_GET = concat!("SELECT ", vendor_columns!(), " FROM vendors WHERE id = $1");
    /// New.
    VENDOR_INSERT = concat!("INSERT INTO vendors (id, slug, name, status, buy_deck_ids, interconnection)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING ", vendor_columns!());
    /// Replaces; `$7` = wanted version or NULL.
    VENDOR_UPDATE = concat!("UPDATE vendors SET slug = $2, name = $3, status = $4, buy_deck_ids = $5, interconnection = $6,
            updated_at = now(), version = version + 1
        WHERE id = $1 AND ($7::integer IS NULL OR version = $7) RETURNING ", vendor_columns!());
    /// Gone, unless something refers to it.
    VENDOR_DELETE = "DELETE FROM vendors WHERE id = $1";
    /// One page; `$1` = vendor or NULL.
    VENDOR_TRUNK_LIST = vendor_trunk_page!("<", "DESC");
    /// The same, oldest first.
    VENDOR_TRUNK_LIST_OLDEST = vendor_trunk_page!(">", "ASC");
    /// One.
    VENDOR_TRUNK_GET = concat!("SELECT ", vendor_trunk_columns!(), " FROM vendor_trunks WHERE id = $1");
    /// New.
    VENDOR_TRUNK_INSERT = concat!("INSERT INTO vendor_trunks (id, vendor_id, name, status, transport, addresses, channels,
            cps, tech_prefix, number_format, media_ips, priority, weight, auth_username, auth_secret, auth_realm)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) RETURNING ", vendor_trunk_columns!());
    /// Replaces; a NULL password keeps the old one while there is a user; `$17` = wanted version or NULL.
    VENDOR_TRUNK_UPDATE = concat!("UPDATE vendor_trunks SET name = $3, status = $4, transport = $5, addresses = $6,
            channels = $7, cps = $8, tech_prefix = $9, number_format = $10, media_ips = $11, priority = $12, weight = $13,
            auth_username = $14,
            auth_secret = CASE WHEN $14::text IS NULL THEN NULL ELSE coalesce($15, auth_secret) END, auth_password = NULL,
            auth_realm = $16, updated_at = now(), version = version + 1
        WHERE id = $1 AND vendor_id = $2 AND ($17::integer IS NULL OR version = $17) RETURNING ", vendor_trunk_columns!());
    /// Gone.
    VENDOR_TRUNK_DELETE = "DELETE FROM vendor_trunks WHERE id = $1";
    /// Emergency route, in order.
    EMERGENCY_LIST = "SELECT vendor_trunk_id FROM emergency_route ORDER BY position";
    /// Empties it.
    EMERGENCY_CLEAR = "DELETE FROM emergency_route";
    /// Fills it in order.
    EMERGENCY_FILL = "INSERT INTO emergency_route (position, vendor_trunk_id)
        SELECT n, id FROM unnest($1::text[]) WITH ORDINALITY AS x(id, n)";

    /// One page.
    PARTITION_LIST = concat!("SELECT ", partition_columns!(), " FROM partitions
        WHERE ($1::text IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
    /// One.
    PARTITION_GET = concat!("SELECT ", partition_columns!(), " FROM partitions WHERE id = $1");
    /// New.
    PARTITION_INSERT = concat!("INSERT INTO partitions (id, name, strategy, max_candidates, expected_duration_s,
            margin_per_min, margin_bps, loss_ok)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ", partition_columns!());
    /// Replaces; `$9` = wanted version or NULL.
    PARTITION_UPDATE = concat!("UPDATE partitions SET name = $2, strategy = $3, max_candidates = $4,
            expected_duration_s = $5, margin_per_min = $6, margin_bps = $7, loss_ok = $8, updated_at = now(),
            version = version + 1
        WHERE id = $1 AND ($9::integer IS NULL OR version = $9) RETURNING ", partition_columns!());
    /// Gone, unless a trunk or customer uses it.
    PARTITION_DELETE = "DELETE FROM partitions WHERE id = $1";
    /// Its vendors.
    PARTITION_VENDOR_LIST = "SELECT partition_id, vendor_id, priority, weight FROM partition_vendors
        WHERE partition_id = ANY($1) ORDER BY partition_id, priority, vendor_id";
    /// Empties it.
    PARTITION_VENDOR_CLEAR = "DELETE FROM partition_vendors WHERE partition_id = $1";
    /// Fills it.
    PARTITION_VENDOR_FILL = "INSERT INTO partition_vendors (partition_id, vendor_id, priority, weight)
        SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::integer[])";

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
        WHERE deck_id = $1 ORDER BY number DESC LIMIT 200");
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

    /// One page.
    EXCLUSION_LIST = concat!("SELECT ", exclusion_columns!(), " FROM exclusions
        WHERE ($1::text IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
    /// New.
    EXCLUSION_INSERT = concat!("INSERT INTO exclusions (id, vendor_id, code, kind, reason, starts_at, ends_at)
        VALUES ($1, $2, $3, $4, $5, ts($6), ts($7)) RETURNING ", exclusion_columns!());
    /// Gone.
    EXCLUSION_DELETE = "DELETE FROM exclusions WHERE id = $1";

    /// For the rest of the transaction each statement is planned for its values: a filter that is absent costs no index.
    PLAN_FOR_VALUES = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)";
    /// One page of calls: `$1` before this id, `$2` rows, then the filters, each NULL when absent.
    CALL_LIST = call_page!("<", "DESC");
    /// The same, oldest first: `$1` after this id.
    CALL_LIST_OLDEST = call_page!(">", "ASC");
    /// The records of these calls. JSON of before is given as bytes too.
    CALL_RECORDS = "SELECT cdr_id AS id, coalesce(packed, convert_to(record::text, 'UTF8')) AS record FROM calls
        WHERE cdr_id = ANY($1)";
    /// One, with the whole record.
    CALL_GET = concat!("SELECT ", call_columns!(), ", coalesce(packed, convert_to(record::text, 'UTF8')) AS record
        FROM calls WHERE cdr_id = $1");
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
    /// Snapshots that no CDR refers to go after 7 days (the event log keeps records no longer) …
    SNAPSHOT_EXPIRE = "DELETE FROM snapshots WHERE NOT used AND created_at < now() - interval '7 days'";
    /// … and with them the sections that nobody needs any more.
    SECTION_EXPIRE = "DELETE FROM snapshot_sections x WHERE x.created_at < now() - interval '7 days'
        AND NOT EXISTS (SELECT FROM snapshots s
                        WHERE x.sha256 IN (s.manifest->>'directory', s.manifest->>'number_plan'))";
    /// A record that cannot be posted; once, however often it is read.
    REJECT_INSERT = "INSERT INTO cdr_rejects (position, reason, content) SELECT $1::text, $2::text, $3::bytea
        WHERE NOT EXISTS (SELECT FROM cdr_rejects WHERE position = $1::text AND content = $3::bytea)";
    /// Where a consumer stands.
    CURSOR_GET = "SELECT position FROM event_cursors WHERE consumer = $1";
    /// It stands here now.
    CURSOR_SET = "INSERT INTO event_cursors (consumer, topic, position) VALUES ($1, $2, $3)
        ON CONFLICT (consumer) DO UPDATE SET position = excluded.position, updated_at = now()";

    /// A published snapshot's manifest.
    SNAPSHOT_INSERT = "INSERT INTO snapshots (id, manifest) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    /// Manifest of a snapshot.
    SNAPSHOT_GET = "SELECT manifest FROM snapshots WHERE id = $1";
    /// A section, once.
    SECTION_INSERT = "INSERT INTO snapshot_sections (sha256, kind, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    /// Which of these sections are stored.
    SECTION_KNOWN = "SELECT sha256 FROM snapshot_sections WHERE sha256 = ANY($1)";
    /// A section.
    SECTION_GET = "SELECT content FROM snapshot_sections WHERE sha256 = $1";
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

    /// Rows of the policy directory.
    PUBLISH_CUSTOMERS = "SELECT id, name, status, channels, cps, max_rate_per_min, daily_spend, utc_offset_min
        FROM customers ORDER BY id";
    /// With what they inherit from their customer.
    PUBLISH_TRUNKS = "SELECT t.id, t.customer_id, t.name, t.status, t.channels, t.cps, t.max_rate_per_min, t.daily_spend,
            t.max_duration_s, t.destinations, t.media_ips, t.strip_prefixes, t.strip_required, t.require_valid_caller,
            t.trust_asserted,
            CASE WHEN cardinality(t.sell_deck_ids) > 0 THEN t.sell_deck_ids ELSE c.sell_deck_ids END AS sell_deck_ids,
            p.name AS partition
        FROM trunks t JOIN customers c ON c.id = t.customer_id
        LEFT JOIN partitions p ON p.id = coalesce(t.partition_id, c.partition_id) ORDER BY t.id";
    /// IP ACLs.
    PUBLISH_IPS = "SELECT trunk_id, host(address) || '/' || masklen(address) AS address FROM trunk_ips ORDER BY address";
    /// Digest users.
    PUBLISH_CREDENTIALS = "SELECT trunk_id, username, realm, ha1_md5, ha1_sha256 FROM trunk_credentials ORDER BY username";
    /// Vendors.
    PUBLISH_VENDORS = "SELECT id, name, status, buy_deck_ids, interconnection FROM vendors ORDER BY id";
    /// Their trunks.
    PUBLISH_VENDOR_TRUNKS = "SELECT id, vendor_id, name, status, transport, addresses, channels, cps, tech_prefix,
            number_format, media_ips, priority, weight, auth_username, auth_secret, auth_realm
        FROM vendor_trunks ORDER BY id";
    /// Partitions.
    PUBLISH_PARTITIONS = "SELECT id, name, strategy, max_candidates, expected_duration_s, margin_per_min, margin_bps, loss_ok
        FROM partitions ORDER BY id";
    /// Their vendors.
    PUBLISH_PARTITION_VENDORS = "SELECT partition_id, vendor_id, priority, weight FROM partition_vendors
        ORDER BY partition_id, priority, vendor_id";
    /// Exclusions that have not ended.
    PUBLISH_EXCLUSIONS = "SELECT id, vendor_id, code, reason, us(starts_at) AS starts_at, us(ends_at) AS ends_at
        FROM exclusions WHERE ends_at IS NULL OR ends_at > now() ORDER BY id";
    /// Active versions of the decks that somebody uses.
    PUBLISH_DECKS = "SELECT d.id, d.active_version AS number, v.sha256 FROM decks d
        JOIN deck_versions v ON v.deck_id = d.id AND v.number = d.active_version
        WHERE EXISTS (SELECT FROM customers WHERE d.id = ANY(sell_deck_ids))
           OR EXISTS (SELECT FROM trunks WHERE d.id = ANY(sell_deck_ids))
           OR EXISTS (SELECT FROM vendors WHERE d.id = ANY(buy_deck_ids)) ORDER BY d.id";
}
