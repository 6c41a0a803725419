-- Calls stand in partitions of a week, by range of cdr_id, whose text order is the time of the INVITE: lists and looks read the weeks
-- that they ask for, and retention drops whole ones. What is here already becomes the oldest partition as it is, and takes every id
-- before the first week. Ids are compared byte by byte (COLLATE "C"), whatever the database does elsewhere.

-- A row that took the place of a reconstructed one is told apart from a new one without a system column, which partitions do not give.
ALTER TABLE calls ADD COLUMN replaced boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN calls.replaced IS 'It took the place of a record whose end was reconstructed.';

-- Weeks are counted from 1970 in UTC.
CREATE FUNCTION call_week_starts(week integer) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    ms bigint := week::bigint * 604800000;
    digits text := '';
BEGIN
    FOR n IN 1..10 LOOP
        digits := substr('0123456789abcdefghjkmnpqrstvwxyz', (ms & 31)::integer + 1, 1) || digits;
        ms := ms >> 5;
    END LOOP;
    RETURN 'call_' || digits || repeat('0', 16);
END $$;
COMMENT ON FUNCTION call_week_starts IS 'No id of a call that began in this week or later is smaller: an id has 48 bits of milliseconds before its 80 others, in base32.';

CREATE TABLE call_partitions (
    name      text PRIMARY KEY,
    from_week integer UNIQUE,
    to_week   integer NOT NULL UNIQUE
);
COMMENT ON TABLE call_partitions IS 'Partitions of calls: weeks from from_week (NULL: from the beginning) to before to_week.';
CALL operator_table('call_partitions');

SELECT set_config('warp.scope', 'operator', true);
DO $$
DECLARE
    newest text := (SELECT max(cdr_id COLLATE "C") FROM calls);
    week integer := floor(extract(epoch FROM now()) / 604800)::integer + 1;
BEGIN
    -- The first week after this one that no call is in.
    WHILE newest >= call_week_starts(week) COLLATE "C" LOOP
        week := week + 1;
    END LOOP;
    INSERT INTO call_partitions (name, to_week) VALUES ('calls_before', week);
END $$;

ALTER TABLE calls RENAME TO calls_before;
ALTER TABLE calls_before ALTER COLUMN cdr_id TYPE text COLLATE "C";
ALTER INDEX calls_pkey RENAME TO calls_before_pkey;
ALTER INDEX calls_by_customer RENAME TO calls_before_by_customer;
ALTER INDEX calls_by_setup RENAME TO calls_before_by_setup;
ALTER INDEX calls_by_trunk RENAME TO calls_before_by_trunk;
ALTER INDEX calls_by_called RENAME TO calls_before_by_called;
ALTER INDEX calls_by_posting RENAME TO calls_before_by_posting;
ALTER INDEX calls_by_customer_and_posting RENAME TO calls_before_by_customer_and_posting;
ALTER INDEX calls_by_sip_call_id RENAME TO calls_before_by_sip_call_id;
ALTER INDEX calls_to_check RENAME TO calls_before_to_check;
ALTER INDEX calls_to_look_at RENAME TO calls_before_to_look_at;

CREATE TABLE calls (LIKE calls_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMMENTS)
    PARTITION BY RANGE (cdr_id);
ALTER TABLE calls ADD PRIMARY KEY (cdr_id);
CALL tenant_table('calls');
CREATE INDEX calls_by_customer ON calls (customer_id, cdr_id DESC);
CREATE INDEX calls_by_trunk ON calls (trunk_id, cdr_id DESC);
CREATE INDEX calls_by_called ON calls (called_e164, cdr_id DESC);
CREATE INDEX calls_by_posting ON calls (posted_at, cdr_id);
CREATE INDEX calls_by_customer_and_posting ON calls (customer_id, posted_at, cdr_id);
CREATE INDEX calls_by_sip_call_id ON calls USING hash (sip_call_id);
CREATE INDEX calls_by_setup ON calls USING brin (setup_at) WITH (pages_per_range = 16, autosummarize = on);
CREATE INDEX calls_to_check ON calls (snapshot_id) WHERE rating_status = 'unchecked';
CREATE INDEX calls_to_look_at ON calls (cdr_id) WHERE rating_status = 'mismatch';
DO $$
BEGIN
    EXECUTE format('ALTER TABLE calls ATTACH PARTITION calls_before FOR VALUES FROM (MINVALUE) TO (%L)',
        call_week_starts((SELECT to_week FROM call_partitions)));
END $$;

-- The run-time role owns nothing and makes no table: these two functions do it for it, and nothing else. They are the owner's.
CREATE FUNCTION call_partition_make(week integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    oldest integer := (SELECT min(to_week) FROM call_partitions);
    made text := 'calls_week_' || week;
BEGIN
    IF EXISTS (SELECT FROM call_partitions p WHERE coalesce(p.from_week, week) <= week AND week < p.to_week) THEN
        RETURN true;
    END IF;
    -- Older than all that are kept: it left, or never was. An identifier's year has four digits.
    IF NOT scope_is_operator() OR week < oldest OR week > 400000 THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('partitions of calls', 0));
    IF to_regclass(made) IS NOT NULL THEN
        RETURN true;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE calls INCLUDING ALL)', made);
    CALL tenant_table(made::regclass);
    -- Reading and writing go on meanwhile.
    EXECUTE format('ALTER TABLE calls ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', made,
        call_week_starts(week), call_week_starts(week + 1));
    INSERT INTO call_partitions (name, from_week, to_week) VALUES (made, week, week + 1);
    RETURN true;
END $$;
COMMENT ON FUNCTION call_partition_make IS 'Makes the partition of a week, if it is not there. False: the week is older than all partitions, or is none.';

CREATE FUNCTION call_partition_drop(dropped text, posted timestamptz) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    newest timestamptz;
BEGIN
    -- Only one whose weeks are all over.
    IF NOT scope_is_operator() OR NOT EXISTS (SELECT FROM call_partitions p WHERE p.name = dropped
            AND p.to_week <= extract(epoch FROM now()) / 604800) THEN
        RETURN false;
    END IF;
    LOCK TABLE calls IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('SELECT max(posted_at) FROM %I', dropped) INTO newest;
    IF newest IS DISTINCT FROM posted THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', dropped);
    DELETE FROM call_partitions WHERE name = dropped;
    RETURN true;
END $$;
COMMENT ON FUNCTION call_partition_drop IS 'Drops a partition whose weeks are over, if nothing was posted to it after this time. False: it stays.';
REVOKE EXECUTE ON FUNCTION call_partition_make, call_partition_drop FROM PUBLIC;
