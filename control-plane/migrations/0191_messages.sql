-- One row per message with its timeline (RFC 0037), in partitions of a day by range of its id, whose text order is the time at which it was
-- taken. What was written in it stands apart, so that rows can be read by many and texts by few. Both leave after 30 days.

CREATE SCHEMA sms;
GRANT USAGE ON SCHEMA sms TO PUBLIC;

-- Days are counted from 1970 in UTC.
CREATE FUNCTION message_day_starts(day integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    ms bigint := day::bigint * 86400000;
    digits text := '';
BEGIN
    FOR n IN 1..10 LOOP
        digits := substr('0123456789abcdefghjkmnpqrstvwxyz', (ms & 31)::integer + 1, 1) || digits;
        ms := ms >> 5;
    END LOOP;
    RETURN 'msg_' || digits || repeat('0', 16);
END $$;
COMMENT ON FUNCTION message_day_starts IS 'No id of a message that was taken on this day or later is smaller.';

CREATE TABLE sms.messages (
    id           text COLLATE "C" PRIMARY KEY,
    customer_id  text NOT NULL,
    account_id   text NOT NULL,
    direction    text NOT NULL CHECK (direction IN ('from_customer', 'from_handset')),
    status       text NOT NULL,
    source       text NOT NULL,
    destination  text NOT NULL,
    segments     integer NOT NULL,
    parts        integer NOT NULL,
    coding       integer NOT NULL,
    error        integer,
    not_before   timestamptz,
    expires_at   timestamptz,
    finished_at  timestamptz,
    timeline     jsonb NOT NULL,
    currency     text NOT NULL,
    price        bigint,
    refunded     boolean NOT NULL DEFAULT false,
    cost         jsonb,
    ban_id       text,
    posting_id   text,
    lease        bigint,
    bind_id      text,
    carrier_id   text,
    place        integer NOT NULL,
    moves        integer NOT NULL DEFAULT 0,
    dropped_at   timestamptz,
    through      bigint NOT NULL,
    posted_at    timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    version      integer NOT NULL DEFAULT 1
) PARTITION BY RANGE (id);
COMMENT ON COLUMN sms.messages.through IS 'The number of the last record of the queue that is in this row.';
COMMENT ON COLUMN sms.messages.created_at IS 'When the SMSC took it.';
COMMENT ON COLUMN sms.messages.place IS 'The order of the route that it took.';
COMMENT ON COLUMN sms.messages.dropped_at IS 'An operator put it away: it is no dead letter any more.';
CALL tenant_table('sms.messages');
CREATE INDEX messages_by_customer ON sms.messages (customer_id, id DESC);
CREATE INDEX messages_by_destination ON sms.messages (destination, id DESC);
CREATE INDEX messages_dead ON sms.messages (id) WHERE status IN ('failed', 'expired', 'rejected') AND dropped_at IS NULL;

-- The octets as they were sent, of each part, without their header.
CREATE TABLE sms.contents (
    id          text COLLATE "C" NOT NULL,
    part        integer NOT NULL,
    customer_id text NOT NULL,
    coding      integer NOT NULL,
    octets      bytea NOT NULL,
    PRIMARY KEY (id, part)
) PARTITION BY RANGE (id);
CALL tenant_table('sms.contents');

CREATE TABLE message_days (
    day integer PRIMARY KEY
);
COMMENT ON TABLE message_days IS 'Days that have partitions of messages.';
CALL operator_table('message_days');

-- The run-time role owns nothing and makes no table: these two functions do it for it, and nothing else.
CREATE FUNCTION message_day_make(wanted integer, oldest integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    kind text;
BEGIN
    IF EXISTS (SELECT FROM message_days d WHERE d.day = wanted) THEN
        RETURN true;
    END IF;
    -- Older than all that are kept: it left, or never was. An identifier's year has four digits.
    IF NOT scope_is_operator() OR wanted < oldest OR wanted > 2800000 THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('days of messages', 0));
    IF EXISTS (SELECT FROM message_days d WHERE d.day = wanted) THEN
        RETURN true;
    END IF;
    FOREACH kind IN ARRAY ARRAY['messages', 'contents'] LOOP
        EXECUTE format('CREATE TABLE sms.%I (LIKE sms.%I INCLUDING ALL)', kind || '_day_' || wanted, kind);
        CALL tenant_table(format('sms.%I', kind || '_day_' || wanted)::regclass);
        EXECUTE format('ALTER TABLE sms.%I ATTACH PARTITION sms.%I FOR VALUES FROM (%L) TO (%L)', kind, kind || '_day_' || wanted,
            message_day_starts(wanted), message_day_starts(wanted + 1));
    END LOOP;
    INSERT INTO message_days (day) VALUES (wanted);
    RETURN true;
END $$;
COMMENT ON FUNCTION message_day_make IS 'Makes the partitions of a day, if they are not there. False: the day is older than the oldest that is kept, or is none.';

CREATE FUNCTION message_days_drop(before integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone integer;
    dropped integer := 0;
BEGIN
    -- Only days that are over.
    IF NOT scope_is_operator() OR before > extract(epoch FROM now()) / 86400 THEN
        RETURN 0;
    END IF;
    FOR gone IN SELECT d.day FROM message_days d WHERE d.day < before ORDER BY d.day LIMIT 8 LOOP
        EXECUTE format('DROP TABLE sms.%I, sms.%I', 'messages_day_' || gone, 'contents_day_' || gone);
        DELETE FROM message_days d WHERE d.day = gone;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION message_days_drop IS 'Drops the partitions of at most eight days before this one; how many days.';
REVOKE EXECUTE ON FUNCTION message_day_make, message_days_drop FROM PUBLIC;

-- What could not be posted, once, however often it is read.
CREATE TABLE message_rejects (
    position text NOT NULL,
    reason   text NOT NULL,
    content  bytea NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);
CALL operator_table('message_rejects');
