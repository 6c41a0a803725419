-- Messaging (RFC 0037): accounts that customers send and receive by, binds to vendors, routes, and prices of one segment.

CREATE TABLE smpp_accounts (
    id             text PRIMARY KEY,
    customer_id    text NOT NULL REFERENCES customers,
    ban_id         text,
    name           text NOT NULL,
    status         text NOT NULL CHECK (status IN ('active', 'disabled')),
    system_id      text NOT NULL CHECK (system_id ~ '^[!-~]{1,15}$'),
    secret         bytea,
    messages_per_s integer CHECK (messages_per_s BETWEEN 1 AND 100000),
    binds          integer NOT NULL CHECK (binds BETWEEN 1 AND 1000),
    send_window    integer NOT NULL CHECK (send_window BETWEEN 1 AND 10000),
    senders        text[],
    group_name     text,
    marketing      boolean NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    version        integer NOT NULL DEFAULT 1,
    CONSTRAINT smpp_accounts_system_id_key UNIQUE (system_id),
    CONSTRAINT smpp_accounts_name_key UNIQUE (customer_id, name),
    FOREIGN KEY (customer_id, ban_id) REFERENCES bans (customer_id, id)
);
COMMENT ON COLUMN smpp_accounts.secret IS 'The hash of its password by argon2id, sealed; NULL: it does not bind.';
COMMENT ON COLUMN smpp_accounts.senders IS 'Source addresses that it may use; NULL: any.';
COMMENT ON COLUMN smpp_accounts.ban_id IS 'Never NULL: what is written without one gets the first of its customer.';
CALL tenant_table('smpp_accounts');
CREATE INDEX smpp_accounts_by_ban ON smpp_accounts (ban_id);
CREATE FUNCTION smpp_account_ban() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ban_id := coalesce(NEW.ban_id, default_ban(NEW.customer_id));
    RETURN NEW;
END $$;
CREATE TRIGGER ban BEFORE INSERT OR UPDATE ON smpp_accounts FOR EACH ROW EXECUTE FUNCTION smpp_account_ban();

CREATE TABLE vendor_binds (
    id             text PRIMARY KEY,
    vendor_id      text NOT NULL REFERENCES vendors,
    name           text NOT NULL,
    status         text NOT NULL CHECK (status IN ('active', 'paused', 'disabled')),
    addresses      text[] NOT NULL CHECK (cardinality(addresses) BETWEEN 1 AND 64),
    tls_name       text,
    system_id      text NOT NULL CHECK (system_id ~ '^[!-~]{1,15}$'),
    password       bytea,
    system_type    text NOT NULL CHECK (length(system_type) <= 12),
    send_window    integer NOT NULL CHECK (send_window BETWEEN 1 AND 10000),
    messages_per_s integer CHECK (messages_per_s BETWEEN 1 AND 100000),
    message_ids    text NOT NULL CHECK (message_ids IN ('as_given', 'hex_then_decimal', 'decimal_then_hex')),
    in_doubt       text NOT NULL CHECK (in_doubt IN ('send_again', 'mark_unknown')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    version        integer NOT NULL DEFAULT 1,
    CONSTRAINT vendor_binds_name_key UNIQUE (vendor_id, name)
);
COMMENT ON COLUMN vendor_binds.password IS 'Sealed.';
CALL operator_table('vendor_binds');

CREATE TABLE message_routes (
    id                     text PRIMARY KEY,
    direction              text NOT NULL CHECK (direction IN ('from_customer', 'from_handset')),
    place                  integer NOT NULL CHECK (place BETWEEN 0 AND 65535),
    kind                   text NOT NULL CHECK (kind IN ('static', 'random', 'failover', 'least_cost')),
    targets                text[] NOT NULL CHECK (cardinality(targets) BETWEEN 1 AND 64),
    account_id             text REFERENCES smpp_accounts ON DELETE CASCADE,
    group_name             text,
    bind_id                text REFERENCES vendor_binds ON DELETE CASCADE,
    source                 text,
    destination            text,
    message                text,
    tag                    text,
    next_when_undelivered  boolean NOT NULL,
    next_without_receipt_s integer CHECK (next_without_receipt_s BETWEEN 1 AND 604800),
    loss_ok                boolean NOT NULL,
    reason                 text NOT NULL,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    version                integer NOT NULL DEFAULT 1,
    CONSTRAINT message_routes_place_key UNIQUE (direction, place)
);
COMMENT ON COLUMN message_routes.place IS 'The highest is looked at first; 0 is the default route.';
COMMENT ON COLUMN message_routes.targets IS 'Ids of binds (from customers) or of accounts (from handsets), in the order of their turns.';
CALL operator_table('message_routes');

CREATE TABLE message_prices (
    id          text PRIMARY KEY,
    customer_id text REFERENCES customers ON DELETE CASCADE,
    vendor_id   text REFERENCES vendors ON DELETE CASCADE,
    code        text NOT NULL CHECK (code ~ '^[1-9][0-9]{0,14}$'),
    price       bigint NOT NULL CHECK (price >= 0),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    version     integer NOT NULL DEFAULT 1,
    CHECK (customer_id IS NULL OR vendor_id IS NULL)
);
COMMENT ON TABLE message_prices IS 'What one segment costs: of a vendor what it asks, of a customer what it pays; of neither what all customers pay that have no price of their own.';
CREATE UNIQUE INDEX message_prices_once ON message_prices (coalesce(customer_id, ''), coalesce(vendor_id, ''), currency, code);
CALL operator_table('message_prices');

-- A change of what an SMSC decides by is told as those of calls are; its own count says whether it must be read again.
CREATE TABLE messaging_version (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);
INSERT INTO messaging_version (version) VALUES (1);
ALTER TABLE messaging_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE messaging_version FORCE ROW LEVEL SECURITY;
-- A number is nobody's secret: a customer's change raises it too.
CREATE POLICY anybody ON messaging_version USING (scope_is_operator() OR scope_customer() IS NOT NULL)
    WITH CHECK (scope_is_operator() OR scope_customer() IS NOT NULL);
CREATE FUNCTION messaging_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE messaging_version SET version = version + 1;
    PERFORM pg_notify('warp_change', TG_TABLE_NAME);
    RETURN NULL;
END $$;
CREATE TRIGGER messaging AFTER INSERT OR UPDATE OR DELETE ON smpp_accounts FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
CREATE TRIGGER messaging AFTER INSERT OR UPDATE OR DELETE ON vendor_binds FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
CREATE TRIGGER messaging AFTER INSERT OR UPDATE OR DELETE ON message_routes FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
CREATE TRIGGER messaging AFTER INSERT OR UPDATE OR DELETE ON message_prices FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
-- Who is suspended sends nothing, and how an account pays is its billing account's.
CREATE TRIGGER messaging AFTER UPDATE OF status, currency ON customers FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
CREATE TRIGGER messaging AFTER UPDATE OF mode, credit_limit ON bans FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
CREATE TRIGGER messaging AFTER UPDATE OF status ON vendors FOR EACH STATEMENT EXECUTE FUNCTION messaging_changed();
