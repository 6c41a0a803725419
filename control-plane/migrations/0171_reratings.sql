-- Rating again: a call that was priced wrong gets another version of its price, and the difference is posted. Neither the call nor a
-- posting is changed.

CREATE TABLE call_ratings (
    cdr_id       text NOT NULL,
    version      integer NOT NULL CHECK (version >= 2),
    customer_id  text NOT NULL,
    ban_id       text,
    sell         bigint NOT NULL,
    currency     text NOT NULL,
    buy          bigint NOT NULL,
    buy_currency text NOT NULL,
    margin       bigint,
    difference   bigint NOT NULL,
    rating       jsonb NOT NULL,
    posting_id   text REFERENCES ledger_postings,
    reason       text NOT NULL,
    actor        text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cdr_id, version)
);
COMMENT ON TABLE call_ratings IS 'Later versions of the prices of calls; the first stands with the call. The highest one counts.';
COMMENT ON COLUMN call_ratings.difference IS 'What the customer pays more than by the version before, in nano-units.';
CALL tenant_table('call_ratings');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON call_ratings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE ledger_postings DROP CONSTRAINT ledger_postings_kind_check,
    ADD CONSTRAINT ledger_postings_kind_check
        CHECK (kind IN ('usage', 'top_up', 'adjustment', 'reversal', 'rerating'));
ALTER TABLE ledger_postings DROP CONSTRAINT ledger_postings_check1,
    ADD CONSTRAINT ledger_postings_usage_check CHECK ((kind IN ('usage', 'rerating')) = (calls IS NOT NULL));
