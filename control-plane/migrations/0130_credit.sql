-- Credit by leases (RFC 0014). The row of an account's balance is also the lock that its leases change under.

ALTER TABLE ban_balances ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN ban_balances.epoch IS 'The last lease that was given: grows, so that what an old process says of its own concerns no newer one.';

CREATE TABLE credit_leases (
    number      bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    ban_id      text NOT NULL REFERENCES bans,
    epoch       bigint NOT NULL,
    customer_id text NOT NULL,
    node        text NOT NULL,
    process     text NOT NULL,
    log         text NOT NULL,
    granted     bigint NOT NULL CHECK (granted >= 0),
    posted      bigint NOT NULL DEFAULT 0,
    expires_at  timestamptz NOT NULL,
    closed      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ban_id, epoch)
);
CALL tenant_table('credit_leases');
COMMENT ON TABLE credit_leases IS 'Money of an account that is lent to one process of a node; granted - posted may still be posted.';
COMMENT ON COLUMN credit_leases.log IS 'The event log that the records of its calls come by: what names the node for good.';
CREATE INDEX credit_leases_open ON credit_leases (ban_id) WHERE NOT closed OR granted > posted;
CREATE INDEX credit_leases_by_log ON credit_leases (log) WHERE NOT closed;

CREATE FUNCTION ban_has_a_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ban_balances (ban_id, customer_id) VALUES (NEW.id, NEW.customer_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER balance AFTER INSERT ON bans FOR EACH ROW EXECUTE FUNCTION ban_has_a_balance();
SELECT set_config('warp.scope', 'operator', true);
INSERT INTO ban_balances (ban_id, customer_id) SELECT id, customer_id FROM bans ON CONFLICT DO NOTHING;

-- Whether a trunk's calls are paid ahead stands in the snapshot.
CALL published_table('bans');
CREATE TRIGGER section AFTER UPDATE ON bans FOR EACH ROW EXECUTE FUNCTION customer_changed();
