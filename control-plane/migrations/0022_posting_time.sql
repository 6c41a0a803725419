-- Records can be read without gaps by when they were posted: posted_at is given under a lock that is held until the transaction
-- ends, and always grows. So what becomes readable later has a later time, whichever way the clock goes and however many post.

CREATE TABLE posting_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    at  timestamptz NOT NULL
);
SELECT set_config('warp.scope', 'operator', true);
INSERT INTO posting_clock (at) SELECT greatest(now(), max(posted_at)) FROM calls;
CALL operator_table('posting_clock');

CREATE FUNCTION posting_time() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    known text := current_setting('warp.posting_time', true);
    given timestamptz;
BEGIN
    IF coalesce(known, '') <> '' THEN
        RETURN known::timestamptz;
    END IF;
    UPDATE posting_clock SET at = greatest(clock_timestamp(), at + interval '1 microsecond') RETURNING at INTO given;
    PERFORM set_config('warp.posting_time', given::text, true);
    RETURN given;
END $$;
COMMENT ON FUNCTION posting_time IS 'One time per transaction, later than that of every transaction that ended before.';

ALTER TABLE calls ALTER COLUMN posted_at SET DEFAULT posting_time();
CREATE INDEX calls_by_posting ON calls (posted_at, cdr_id);
CREATE INDEX calls_by_customer_and_posting ON calls (customer_id, posted_at, cdr_id);
