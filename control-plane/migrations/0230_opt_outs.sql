-- Who does not want to hear of whom (RFC 0052). A row is a time for which somebody did not; it is lifted and never deleted, as a proof.

CREATE TABLE opt_outs (
    id                text PRIMARY KEY,
    customer_id       text NOT NULL REFERENCES customers,
    sender            text NOT NULL CHECK (sender ~ '^[1-9][0-9]{2,14}$'),
    recipient         text NOT NULL CHECK (recipient ~ '^[1-9][0-9]{4,14}$'),
    status            text NOT NULL CHECK (status IN ('out', 'lifted')),
    reason            text NOT NULL,
    message_id        text,
    said_at           timestamptz NOT NULL DEFAULT now(),
    lifted_at         timestamptz,
    lifted_message_id text,
    seq               bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    version           integer NOT NULL DEFAULT 1
);
COMMENT ON COLUMN opt_outs.message_id IS 'The message of the handset that said it; NULL: it came by the API.';
COMMENT ON COLUMN opt_outs.seq IS 'The count of changes of messaging with which it was written last: what is published is read from there on.';
CALL tenant_table('opt_outs');
CREATE UNIQUE INDEX opt_outs_once ON opt_outs (customer_id, sender, recipient) WHERE status = 'out';
CREATE INDEX opt_outs_by_recipient ON opt_outs (recipient);
CREATE INDEX opt_outs_by_seq ON opt_outs (seq);

-- The row of the count is locked until the transaction ends: who reads up to a number has read all that is below it.
CREATE FUNCTION opt_out_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'lifted' THEN
        NEW.lifted_at := coalesce(NEW.lifted_at, now());
    END IF;
    UPDATE messaging_version SET version = version + 1 RETURNING version INTO NEW.seq;
    PERFORM pg_notify('warp_change', TG_TABLE_NAME);
    RETURN NEW;
END $$;
CREATE TRIGGER written BEFORE INSERT OR UPDATE ON opt_outs FOR EACH ROW EXECUTE FUNCTION opt_out_written();
