-- What a call is decided from: vendors and their trunks, partitions, customers' trunks, blocks and exclusions.

CREATE TABLE vendors (
    id              text PRIMARY KEY,
    slug            text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
    name            text NOT NULL,
    status          text NOT NULL CHECK (status IN ('active', 'suspended')),
    buy_deck_ids    text[] NOT NULL DEFAULT '{}',
    interconnection text CHECK (interconnection ~ '^[A-Z]{2}$'),
    demo            boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    version         integer NOT NULL DEFAULT 1
);
CALL operator_table('vendors');
CALL published_table('vendors');

CREATE TABLE vendor_trunks (
    id            text PRIMARY KEY,
    vendor_id     text NOT NULL REFERENCES vendors,
    name          text NOT NULL,
    status        text NOT NULL CHECK (status IN ('active', 'disabled')),
    transport     text NOT NULL CHECK (transport IN ('udp', 'tcp')),
    addresses     text[] NOT NULL CHECK (cardinality(addresses) BETWEEN 1 AND 16),
    channels      integer CHECK (channels >= 0),
    cps           integer CHECK (cps >= 0),
    tech_prefix   text NOT NULL DEFAULT '' CHECK (tech_prefix ~ '^[0-9*#]{0,15}$'),
    number_format text NOT NULL CHECK (number_format IN ('plus_e164', 'e164', 'national')),
    media_ips     text[] NOT NULL DEFAULT '{}',
    priority      integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 1000),
    weight        integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1000),
    auth_username text,
    auth_password text,
    auth_realm    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    version       integer NOT NULL DEFAULT 1,
    UNIQUE (vendor_id, name),
    CHECK ((auth_username IS NULL) = (auth_password IS NULL))
);
CALL operator_table('vendor_trunks');
CALL published_table('vendor_trunks');

-- Where emergency calls go, in order.
CREATE TABLE emergency_route (
    position        integer PRIMARY KEY CHECK (position BETWEEN 1 AND 16),
    vendor_trunk_id text NOT NULL UNIQUE REFERENCES vendor_trunks
);
CALL operator_table('emergency_route');
CALL published_table('emergency_route');

CREATE TABLE partition_vendors (
    partition_id text NOT NULL REFERENCES partitions ON DELETE CASCADE,
    vendor_id    text NOT NULL REFERENCES vendors,
    priority     integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
    weight       integer NOT NULL CHECK (weight BETWEEN 0 AND 1000),
    PRIMARY KEY (partition_id, vendor_id)
);
CALL operator_table('partition_vendors');
CALL published_table('partition_vendors');

CREATE TABLE trunks (
    id                   text PRIMARY KEY,
    customer_id          text NOT NULL REFERENCES customers,
    ban_id               text,
    name                 text NOT NULL,
    status               text NOT NULL CHECK (status IN ('active', 'disabled')),
    channels             integer CHECK (channels >= 0),
    cps                  integer CHECK (cps >= 0),
    max_rate_per_min     bigint CHECK (max_rate_per_min >= 0),
    daily_spend          bigint CHECK (daily_spend >= 0),
    max_duration_s       integer CHECK (max_duration_s > 0),
    destinations         text[] NOT NULL,
    media_ips            text[] NOT NULL DEFAULT '{}',
    strip_prefixes       text[] NOT NULL DEFAULT '{}',
    strip_required       boolean NOT NULL DEFAULT false,
    require_valid_caller boolean NOT NULL DEFAULT false,
    trust_asserted       boolean NOT NULL DEFAULT false,
    sell_deck_ids        text[] NOT NULL DEFAULT '{}',
    partition_id         text REFERENCES partitions,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    version              integer NOT NULL DEFAULT 1,
    UNIQUE (customer_id, id),
    UNIQUE (customer_id, name),
    FOREIGN KEY (customer_id, ban_id) REFERENCES bans (customer_id, id)
);
CALL tenant_table('trunks');
CALL published_table('trunks');

-- IP ACL: one address belongs to one trunk of the whole platform.
CREATE TABLE trunk_ips (
    customer_id text NOT NULL,
    trunk_id    text NOT NULL,
    address     inet NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (trunk_id, address),
    FOREIGN KEY (customer_id, trunk_id) REFERENCES trunks (customer_id, id) ON DELETE CASCADE,
    EXCLUDE USING gist (address inet_ops WITH &&)
);
CALL tenant_table('trunk_ips');
CALL published_table('trunk_ips');

-- Digest users: HA1 values only (RFC 2617, RFC 8760), never the password.
CREATE TABLE trunk_credentials (
    customer_id text NOT NULL,
    trunk_id    text NOT NULL,
    username    text NOT NULL PRIMARY KEY,
    realm       text NOT NULL,
    ha1_md5     text NOT NULL CHECK (ha1_md5 ~ '^[0-9a-f]{32}$'),
    ha1_sha256  text NOT NULL CHECK (ha1_sha256 ~ '^[0-9a-f]{64}$'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (customer_id, trunk_id) REFERENCES trunks (customer_id, id) ON DELETE CASCADE
);
CREATE INDEX trunk_credentials_trunk ON trunk_credentials (trunk_id);
CALL tenant_table('trunk_credentials');
CALL published_table('trunk_credentials');

-- Vendors that must not be used: for all destinations, or below a dial code, for a time.
CREATE TABLE exclusions (
    id         text PRIMARY KEY,
    vendor_id  text NOT NULL REFERENCES vendors,
    code       text CHECK (code ~ '^[0-9]{1,15}$'),
    kind       text NOT NULL CHECK (kind IN ('quality', 'dispute', 'temporary', 'permanent')),
    reason     text NOT NULL,
    starts_at  timestamptz,
    ends_at    timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'permanent') = (ends_at IS NULL)),
    CHECK (starts_at IS NULL OR ends_at IS NULL OR starts_at < ends_at)
);
CALL operator_table('exclusions');
CALL published_table('exclusions');

-- Every published snapshot, so that the decision of a CDR can be repeated (sections are content-addressed).
CREATE TABLE snapshots (
    id         text PRIMARY KEY,
    manifest   jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL operator_table('snapshots');
CREATE INDEX snapshots_age ON snapshots (created_at);
CREATE TABLE snapshot_sections (
    sha256     text PRIMARY KEY,
    kind       text NOT NULL,
    content    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL operator_table('snapshot_sections');
