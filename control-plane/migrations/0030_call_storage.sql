-- What one call costs on disk. The record is kept packed (warp_events::record), about a sixth of its JSON; the attempts are in it,
-- so their own table goes. Rows of before keep their JSON in `record`: one of the two is there.

ALTER TABLE calls ALTER COLUMN record DROP NOT NULL;
ALTER TABLE calls ADD COLUMN packed bytea;
ALTER TABLE calls ALTER COLUMN packed SET STORAGE EXTERNAL; -- it is compressed: PostgreSQL shall not try again
ALTER TABLE calls ADD CONSTRAINT calls_have_a_record CHECK (record IS NOT NULL OR packed IS NOT NULL);
COMMENT ON COLUMN calls.packed IS 'The whole CDR, packed by WARP (form byte, dictionary, length, Zstandard); read it by the API.';

DROP TABLE call_legs;

-- Found by SIP Call-ID: equality only, so a hash of four bytes a row is enough.
CREATE INDEX calls_by_sip_call_id ON calls USING hash (sip_call_id);

-- Rows come in the order of their time, nearly: a summary per block range serves the time filters.
DROP INDEX calls_by_setup;
CREATE INDEX calls_by_setup ON calls USING brin (setup_at) WITH (pages_per_range = 16, autosummarize = on);

-- Calls whose snapshot was not at hand when they were posted; rated again when it is (they are few).
CREATE INDEX calls_to_check ON calls (snapshot_id) WHERE rating_status = 'unchecked';

-- Retention: a call that has a price and is not billed never leaves silently.
ALTER TABLE calls ADD COLUMN billed_at timestamptz;
COMMENT ON COLUMN calls.billed_at IS 'When a bill took it in; NULL = not yet. Retention leaves priced calls that are not billed.';
