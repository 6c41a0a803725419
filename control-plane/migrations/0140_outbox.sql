-- Events (RFC 0016): a row is written in the transaction that makes the fact. Its place is given when that transaction ends, under the
-- lock of one row: so what becomes readable later has a later place, however long a transaction ran, and a reader that goes on from the
-- last place that it saw misses nothing. The lock is taken last and held for the commit alone, so it waits for nobody and nobody waits long.

CREATE TABLE outbox (
    id          text PRIMARY KEY,
    customer_id text,
    type        text NOT NULL,
    data        jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    position    bigint UNIQUE
);
COMMENT ON COLUMN outbox.position IS 'The place of the event among all of them; NULL only within the transaction that writes it.';
CREATE INDEX outbox_of_customer ON outbox (customer_id, position);
CREATE INDEX outbox_by_age ON outbox (created_at);
CALL tenant_table('outbox');

CREATE TABLE outbox_clock (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL DEFAULT 0
);
INSERT INTO outbox_clock DEFAULT VALUES;
ALTER TABLE outbox_clock ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox_clock FORCE ROW LEVEL SECURITY;
-- A customer's change makes events too.
CREATE POLICY anybody ON outbox_clock USING (scope_is_operator() OR scope_customer() IS NOT NULL)
    WITH CHECK (scope_is_operator() OR scope_customer() IS NOT NULL);

CREATE FUNCTION event_takes_its_place() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    place bigint;
BEGIN
    UPDATE outbox_clock SET position = position + 1 RETURNING position INTO STRICT place;
    UPDATE outbox SET position = place WHERE id = NEW.id;
    PERFORM pg_notify('warp_events', '');
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER place AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION event_takes_its_place();

CREATE FUNCTION event_stays_as_it_is() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.position IS NOT NULL OR (OLD.id, OLD.customer_id, OLD.type, OLD.data, OLD.created_at)
        IS DISTINCT FROM (NEW.id, NEW.customer_id, NEW.type, NEW.data, NEW.created_at) THEN
        RAISE EXCEPTION 'an event does not change' USING ERRCODE = 'check_violation', CONSTRAINT = 'event_stays_as_it_is';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stays BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION event_stays_as_it_is();

-- An account tells once that it crosses a line, by the posting that makes it cross; it tells again when it was on the other side meanwhile.
ALTER TABLE bans ADD COLUMN low_balance bigint CHECK (low_balance >= 0);
COMMENT ON COLUMN bans.low_balance IS 'The event balance.low is told when the balance falls below it, in nano-units; NULL = never.';
ALTER TABLE ban_balances
    ADD COLUMN is_low boolean NOT NULL DEFAULT false,
    ADD COLUMN is_spent boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN ban_balances.is_low IS 'balance.low was told, and the balance has not been at the line or above since then.';
COMMENT ON COLUMN ban_balances.is_spent IS 'limit.reached was told, and there has been no credit again since then.';

-- An account that is new has crossed nothing; nor have those that are here already.
CREATE OR REPLACE FUNCTION ban_has_a_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ban_balances (ban_id, customer_id, is_low, is_spent)
    VALUES (NEW.id, NEW.customer_id, coalesce(NEW.low_balance > 0, false), NEW.mode = 'prepaid' OR coalesce(NEW.credit_limit = 0, false))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
SELECT set_config('warp.scope', 'operator', true);
UPDATE ban_balances a SET is_spent = true FROM bans b WHERE b.id = a.ban_id
    AND CASE WHEN b.mode = 'prepaid' THEN a.balance <= 0 ELSE a.balance + b.credit_limit <= 0 END;

-- Where vendor trunks stood when each node was looked at last: a change is an event.
CREATE TABLE vendor_trunk_standings (
    node            text NOT NULL,
    vendor_trunk_id text NOT NULL REFERENCES vendor_trunks ON DELETE CASCADE,
    down            boolean NOT NULL,
    since           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, vendor_trunk_id)
);
CALL operator_table('vendor_trunk_standings');
