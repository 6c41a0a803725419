-- Every trunk has a billing account. A customer begins with one, whose id has the digits of the customer's own: it is older than all
-- others that the customer gets, and the first one pays for what names none.

ALTER TABLE bans
    ADD COLUMN credit_limit bigint CHECK (credit_limit >= 0),
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD CONSTRAINT bans_prepaid_has_no_credit CHECK (mode = 'postpaid' OR credit_limit IS NULL);
COMMENT ON COLUMN bans.credit_limit IS 'How far a postpaid account may owe, in nano-units; NULL = any amount. A prepaid one owes nothing.';

CREATE FUNCTION default_ban(customer text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text := (SELECT min(id) FROM bans WHERE customer_id = customer);
BEGIN
    IF found IS NULL THEN
        found := 'ban_' || substr(customer, 5);
        INSERT INTO bans (id, customer_id, name, currency, cycle_day, terms_days, mode)
        SELECT found, id, 'main', currency, 1, 30, 'postpaid' FROM customers WHERE id = customer;
    END IF;
    RETURN found;
END $$;
COMMENT ON FUNCTION default_ban IS 'The first billing account of a customer; it is made when there is none.';

CREATE FUNCTION customer_has_a_ban() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM default_ban(NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER ban AFTER INSERT ON customers FOR EACH ROW EXECUTE FUNCTION customer_has_a_ban();

CREATE FUNCTION trunk_has_a_ban() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.ban_id IS NULL THEN
        NEW.ban_id := default_ban(NEW.customer_id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ban BEFORE INSERT OR UPDATE OF ban_id ON trunks FOR EACH ROW EXECUTE FUNCTION trunk_has_a_ban();

SELECT set_config('warp.scope', 'operator', true);
SELECT default_ban(id) FROM customers;
UPDATE trunks SET ban_id = default_ban(customer_id) WHERE ban_id IS NULL;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE trunks ALTER COLUMN ban_id SET NOT NULL;
CREATE INDEX trunks_by_ban ON trunks (ban_id);
CREATE INDEX bans_by_customer ON bans (customer_id, id);
