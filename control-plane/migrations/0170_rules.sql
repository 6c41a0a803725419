-- Rules about calls, each for a time: overrides (which partition routes them) and blocks (which are not carried); what currencies are
-- worth in others; how contracts round.

CREATE TABLE overrides (
    id             text PRIMARY KEY,
    partition_id   text NOT NULL REFERENCES partitions,
    trunk_id       text REFERENCES trunks ON DELETE CASCADE,
    customer_id    text REFERENCES customers ON DELETE CASCADE,
    code           text CHECK (code ~ '^[1-9][0-9]{0,14}$'),
    class          text,
    reason         text NOT NULL,
    starts_at      timestamptz,
    ends_at        timestamptz,
    days           text[] NOT NULL DEFAULT '{}',
    hours          text,
    utc_offset_min integer NOT NULL DEFAULT 0 CHECK (utc_offset_min BETWEEN -840 AND 840),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    version        integer NOT NULL DEFAULT 1,
    CHECK (trunk_id IS NULL OR customer_id IS NULL),
    CHECK (code IS NULL OR class IS NULL),
    CHECK (starts_at IS NULL OR ends_at IS NULL OR starts_at < ends_at)
);
CALL operator_table('overrides');
CALL published_table('overrides');
CREATE INDEX overrides_by_trunk ON overrides (trunk_id) WHERE trunk_id IS NOT NULL;
CREATE INDEX overrides_by_customer ON overrides (customer_id) WHERE customer_id IS NOT NULL;

CREATE TABLE blocks (
    id             text PRIMARY KEY,
    trunk_id       text REFERENCES trunks ON DELETE CASCADE,
    customer_id    text REFERENCES customers ON DELETE CASCADE,
    code           text CHECK (code ~ '^[1-9][0-9]{0,14}$'),
    class          text,
    caller_code    text CHECK (caller_code ~ '^[1-9][0-9]{0,14}$'),
    reason         text NOT NULL,
    starts_at      timestamptz,
    ends_at        timestamptz,
    days           text[] NOT NULL DEFAULT '{}',
    hours          text,
    utc_offset_min integer NOT NULL DEFAULT 0 CHECK (utc_offset_min BETWEEN -840 AND 840),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    version        integer NOT NULL DEFAULT 1,
    CHECK (trunk_id IS NULL OR customer_id IS NULL),
    CHECK (code IS NULL OR class IS NULL),
    CHECK (starts_at IS NULL OR ends_at IS NULL OR starts_at < ends_at)
);
CALL operator_table('blocks');
CALL published_table('blocks');
CREATE INDEX blocks_by_trunk ON blocks (trunk_id) WHERE trunk_id IS NOT NULL;
CREATE INDEX blocks_by_customer ON blocks (customer_id) WHERE customer_id IS NOT NULL;

CREATE TABLE exchange_rates (
    id             text PRIMARY KEY,
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    worth          bigint NOT NULL CHECK (worth > 0),
    worth_currency text NOT NULL CHECK (worth_currency ~ '^[A-Z]{3}$'),
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    version        integer NOT NULL DEFAULT 1,
    CHECK (currency <> worth_currency),
    CONSTRAINT exchange_rates_pair_key UNIQUE (currency, worth_currency)
);
COMMENT ON COLUMN exchange_rates.worth IS 'What one unit of currency is worth, in nano-units of worth_currency.';
CALL operator_table('exchange_rates');
CALL published_table('exchange_rates');

ALTER TABLE published_sections DROP CONSTRAINT published_sections_section_check,
    ADD CONSTRAINT published_sections_section_check
        CHECK (section IN ('customers', 'vendors', 'partitions', 'addresses', 'decks', 'inbound', 'numbers', 'rules'));
-- By row: what goes with its trunk or customer and was not there touches nothing.
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON overrides FOR EACH ROW EXECUTE FUNCTION section_changed('rules');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON blocks FOR EACH ROW EXECUTE FUNCTION section_changed('rules');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON exchange_rates FOR EACH ROW EXECUTE FUNCTION section_changed('rules');

ALTER TABLE trunks
    ADD COLUMN rounding_mode text NOT NULL DEFAULT 'half_away_from_zero'
        CHECK (rounding_mode IN ('half_away_from_zero', 'half_even', 'up', 'down')),
    ADD COLUMN rounding_places integer NOT NULL DEFAULT 6 CHECK (rounding_places BETWEEN 0 AND 9),
    ADD COLUMN partial_second text NOT NULL DEFAULT 'up' CHECK (partial_second IN ('up', 'half_up', 'down')),
    ADD COLUMN rounding_level text NOT NULL DEFAULT 'call' CHECK (rounding_level IN ('call', 'line'));
ALTER TABLE vendors
    ADD COLUMN rounding_mode text NOT NULL DEFAULT 'half_away_from_zero'
        CHECK (rounding_mode IN ('half_away_from_zero', 'half_even', 'up', 'down')),
    ADD COLUMN rounding_places integer NOT NULL DEFAULT 6 CHECK (rounding_places BETWEEN 0 AND 9),
    ADD COLUMN partial_second text NOT NULL DEFAULT 'up' CHECK (partial_second IN ('up', 'half_up', 'down')),
    ADD COLUMN rounding_level text NOT NULL DEFAULT 'call' CHECK (rounding_level IN ('call', 'line'));
