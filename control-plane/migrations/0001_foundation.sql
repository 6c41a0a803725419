-- Helpers, and the two walls that every table stands behind (T-API-04): ROW LEVEL SECURITY is enabled and forced, the
-- policy reads the scope that a transaction sets with SET LOCAL. No scope, no row.

CREATE FUNCTION us(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM t) * 1000000)::bigint $$;
COMMENT ON FUNCTION us IS 'Microseconds since 1970: how times travel to the program.';

CREATE FUNCTION ts(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT timestamptz 'epoch' + us * interval '1 microsecond' $$;

CREATE FUNCTION amount_text(nanos bigint, currency text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT nanos::text || ' ' || currency $$;
COMMENT ON FUNCTION amount_text IS 'Nano-units and currency: how amounts travel to the program.';

CREATE FUNCTION scope_customer() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('warp.customer_id', true), '') $$;

CREATE FUNCTION scope_is_operator() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT coalesce(current_setting('warp.scope', true), '') = 'operator' $$;

-- A table whose rows belong to a customer (column customer_id; NULL = only operators see it).
CREATE PROCEDURE tenant_table(name regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %s USING (customer_id = scope_customer() OR scope_is_operator())
                    WITH CHECK (customer_id = scope_customer() OR scope_is_operator())', name);
END $$;

-- A table that only operators (and the program itself, with the operator scope) see.
CREATE PROCEDURE operator_table(name regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY operator ON %s USING (scope_is_operator()) WITH CHECK (scope_is_operator())', name);
END $$;

-- A table whose change makes a new policy snapshot: the publisher listens on warp_change.
CREATE FUNCTION notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('warp_change', TG_TABLE_NAME);
    RETURN NULL;
END $$;

CREATE PROCEDURE published_table(name regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION notify_change()', name);
END $$;

-- Rate decks. A version is immutable: its rows are kept in the canonical form of policy::deck, by content address.
CREATE TABLE decks (
    id              text PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    kind            text NOT NULL CHECK (kind IN ('us', 'az')),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    active_version  integer,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    version         integer NOT NULL DEFAULT 1
);
CALL operator_table('decks');
CALL published_table('decks');

CREATE TABLE deck_versions (
    deck_id      text NOT NULL REFERENCES decks ON DELETE CASCADE,
    number       integer NOT NULL CHECK (number > 0),
    row_count    integer NOT NULL,
    sha256       text NOT NULL,
    source_name  text NOT NULL,
    notes        text[] NOT NULL,
    content      bytea NOT NULL,
    activated_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deck_id, number)
);
ALTER TABLE deck_versions ALTER COLUMN content SET STORAGE EXTERNAL;
ALTER TABLE decks ADD FOREIGN KEY (id, active_version) REFERENCES deck_versions (deck_id, number) DEFERRABLE INITIALLY DEFERRED;
CALL operator_table('deck_versions');

-- A partition: a set of vendors and how to choose among them. The customer's price does not depend on it.
CREATE TABLE partitions (
    id                  text PRIMARY KEY,
    name                text NOT NULL UNIQUE,
    strategy            text NOT NULL CHECK (strategy IN ('cost', 'priority_cost', 'weighted_share')),
    max_candidates      integer NOT NULL CHECK (max_candidates BETWEEN 1 AND 8),
    expected_duration_s integer NOT NULL CHECK (expected_duration_s BETWEEN 1 AND 86400),
    margin_per_min      bigint NOT NULL,
    margin_bps          integer NOT NULL CHECK (margin_bps BETWEEN 0 AND 10000),
    loss_ok             boolean NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    version             integer NOT NULL DEFAULT 1
);
CALL operator_table('partitions');
CALL published_table('partitions');

-- Customers: tenants. The tenant column of this table is its own id. Decks and partition are the defaults of its trunks.
CREATE TABLE customers (
    id               text PRIMARY KEY,
    customer_id      text NOT NULL GENERATED ALWAYS AS (id) STORED,
    name             text NOT NULL,
    status           text NOT NULL CHECK (status IN ('active', 'suspended')),
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    channels         integer CHECK (channels >= 0),
    cps              integer CHECK (cps >= 0),
    max_rate_per_min bigint CHECK (max_rate_per_min >= 0),
    daily_spend      bigint CHECK (daily_spend >= 0),
    utc_offset_min   integer NOT NULL DEFAULT 0 CHECK (utc_offset_min BETWEEN -840 AND 840),
    sell_deck_ids    text[] NOT NULL DEFAULT '{}',
    partition_id     text REFERENCES partitions,
    demo             boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    version          integer NOT NULL DEFAULT 1
);
CALL tenant_table('customers');
CALL published_table('customers');

-- Billing account numbers: the unit of cycle, terms and invoice.
CREATE TABLE bans (
    id          text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers,
    name        text NOT NULL,
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    cycle_day   integer NOT NULL CHECK (cycle_day BETWEEN 1 AND 28),
    terms_days  integer NOT NULL CHECK (terms_days IN (0, 15, 30, 60)),
    mode        text NOT NULL CHECK (mode IN ('prepaid', 'postpaid')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (customer_id, id)
);
CALL tenant_table('bans');

-- API keys: only a hash is kept (T-API-12).
CREATE TABLE api_keys (
    id           text PRIMARY KEY,
    customer_id  text REFERENCES customers,
    audience     text NOT NULL CHECK (audience IN ('customer', 'operator')),
    name         text NOT NULL,
    hint         text NOT NULL,
    hash         bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes       text[] NOT NULL,
    ip_allow     text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CHECK ((audience = 'operator') = (customer_id IS NULL))
);
CALL tenant_table('api_keys');

-- Who changed what. The app role may only add.
CREATE TABLE audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text,
    actor       text NOT NULL,
    action      text NOT NULL,
    object      text NOT NULL,
    request_id  text NOT NULL,
    detail      jsonb,
    at          timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('audit_log');
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'append-only table';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- First answers of POST requests with an Idempotency-Key, for 24 hours (T-API-10).
CREATE TABLE idempotency_keys (
    key_id      text NOT NULL,
    key         text NOT NULL,
    customer_id text,
    request     bytea NOT NULL,
    status      integer,
    body        text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, key)
);
CALL tenant_table('idempotency_keys');
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
