-- Inbound numbers: whose each number is and where its calls go; what inbound calls are sold and bought for; where a vendor's calls come
-- from, and where a trunk takes its own.

CREATE TABLE numbers (
    id           text PRIMARY KEY,
    number       text NOT NULL UNIQUE CHECK (number ~ '^\+[1-9][0-9]{2,14}$'),
    vendor_id    text REFERENCES vendors,
    customer_id  text REFERENCES customers,
    state        text NOT NULL CHECK (state IN ('inventory', 'assigned', 'ageing')),
    sell_deck_id text REFERENCES decks,
    targets      text[] NOT NULL DEFAULT '{}' CHECK (cardinality(targets) <= 8),
    cnam         text CHECK (cnam ~ '^[ -~]{1,15}$'),
    e911_address text CHECK (length(e911_address) BETWEEN 1 AND 200),
    released_at  timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    version      integer NOT NULL DEFAULT 1,
    CHECK ((state = 'assigned') = (customer_id IS NOT NULL)),
    CHECK ((state = 'ageing') = (released_at IS NOT NULL)),
    CHECK (state = 'assigned' OR cardinality(targets) = 0)
);
COMMENT ON COLUMN numbers.vendor_id IS 'Who brings its calls; NULL = a number of a block of our own.';
COMMENT ON COLUMN numbers.sell_deck_id IS 'What its calls are sold by; NULL = the inbound decks of the customer.';
COMMENT ON COLUMN numbers.targets IS 'Trunks of the customer: id, priority and weight, with blanks between.';
CALL tenant_table('numbers');
CALL published_table('numbers');
CREATE INDEX numbers_by_customer ON numbers (customer_id, id);

CREATE FUNCTION number_page(number text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT (substr(number, 2)::bigint % 64)::integer $$;
COMMENT ON FUNCTION number_page IS 'The page of the policy snapshot that a number stands on.';
CREATE INDEX numbers_by_page ON numbers (number_page(number)) WHERE state = 'assigned';

-- A trunk that calls of a number go to is not deleted under it.
CREATE FUNCTION trunk_is_no_target() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM numbers n, unnest(n.targets) AS t
               WHERE n.customer_id = OLD.customer_id AND split_part(t, ' ', 1) = OLD.id) THEN
        RAISE foreign_key_violation USING MESSAGE = 'calls of a number go to this trunk';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER targets BEFORE DELETE ON trunks FOR EACH ROW EXECUTE FUNCTION trunk_is_no_target();

CREATE TABLE customer_inbound (
    customer_id text PRIMARY KEY REFERENCES customers ON DELETE CASCADE,
    deck_ids    text[] NOT NULL CHECK (cardinality(deck_ids) <= 16),
    priced_by   text NOT NULL CHECK (priced_by IN ('called', 'caller'))
);
CALL tenant_table('customer_inbound');
CALL published_table('customer_inbound');

CREATE TABLE vendor_inbound (
    vendor_id text PRIMARY KEY REFERENCES vendors ON DELETE CASCADE,
    deck_ids  text[] NOT NULL CHECK (cardinality(deck_ids) <= 16),
    priced_by text NOT NULL CHECK (priced_by IN ('called', 'caller'))
);
CALL operator_table('vendor_inbound');
CALL published_table('vendor_inbound');

-- One network is one vendor trunk's: whoever brings a call is billed for by it.
CREATE TABLE vendor_trunk_networks (
    network         cidr PRIMARY KEY,
    vendor_trunk_id text NOT NULL REFERENCES vendor_trunks ON DELETE CASCADE
);
CALL operator_table('vendor_trunk_networks');
CALL published_table('vendor_trunk_networks');
CREATE INDEX vendor_trunk_networks_by_trunk ON vendor_trunk_networks (vendor_trunk_id);

CREATE TABLE trunk_inbound (
    trunk_id      text PRIMARY KEY REFERENCES trunks ON DELETE CASCADE,
    customer_id   text NOT NULL REFERENCES customers,
    addresses     text[] NOT NULL CHECK (cardinality(addresses) <= 16),
    transport     text NOT NULL CHECK (transport IN ('udp', 'tcp')),
    number_format text NOT NULL CHECK (number_format IN ('plus_e164', 'e164', 'national'))
);
CALL tenant_table('trunk_inbound');
CALL published_table('trunk_inbound');

-- Numbers stand on 64 pages of the snapshot by their last digits; everything else about inbound calls is one section.
ALTER TABLE published_sections DROP CONSTRAINT published_sections_section_check,
    ADD CONSTRAINT published_sections_section_check
        CHECK (section IN ('customers', 'vendors', 'partitions', 'addresses', 'decks', 'inbound', 'numbers'));

CREATE FUNCTION number_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state = 'assigned' THEN
        PERFORM raise_section('numbers', number_page(OLD.number));
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'assigned' AND (TG_OP = 'INSERT' OR OLD.state <> 'assigned' OR OLD.number <> NEW.number) THEN
        PERFORM raise_section('numbers', number_page(NEW.number));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON numbers FOR EACH ROW EXECUTE FUNCTION number_changed();
-- By row: what goes with its trunk or vendor and was not there touches nothing.
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON customer_inbound FOR EACH ROW EXECUTE FUNCTION section_changed('inbound');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON vendor_inbound FOR EACH ROW EXECUTE FUNCTION section_changed('inbound');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON vendor_trunk_networks FOR EACH ROW EXECUTE FUNCTION section_changed('inbound');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON trunk_inbound FOR EACH ROW EXECUTE FUNCTION section_changed('inbound');

ALTER TABLE calls ADD COLUMN direction text NOT NULL DEFAULT 'outbound' CHECK (direction IN ('outbound', 'inbound')),
    ADD COLUMN number_id text;
COMMENT ON COLUMN calls.direction IS 'Seen from the customer who pays for the call.';
COMMENT ON COLUMN calls.number_id IS 'The number of ours that was called; inbound calls only.';
