-- The first answer to an Idempotency-Key is kept whole, with its headers, in the transaction of the work that it answers for. A
-- claim without an answer cannot be any more: those of before go, because their requests may be tried again.

DELETE FROM idempotency_keys WHERE status IS NULL;
ALTER TABLE idempotency_keys
    ADD COLUMN headers jsonb NOT NULL DEFAULT '[]',
    ALTER COLUMN status SET NOT NULL;
