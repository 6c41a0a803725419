-- The ledger: double entry, append-only, one book per billing account. A posting is made once by its key; its lines sum up to nothing; the
-- balance of an account is the sum of its lines `balance`, kept beside it in the same transaction. Debts are negative.

CREATE TABLE ledger_postings (
    id          text PRIMARY KEY,
    customer_id text NOT NULL,
    ban_id      text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('usage', 'top_up', 'adjustment', 'reversal')),
    key         text NOT NULL,
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount      bigint NOT NULL,
    calls       integer CHECK (calls > 0),
    reason      text NOT NULL,
    reverses    text UNIQUE REFERENCES ledger_postings,
    actor       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (ban_id, key),
    FOREIGN KEY (customer_id, ban_id) REFERENCES bans (customer_id, id),
    CHECK ((kind = 'reversal') = (reverses IS NOT NULL)),
    CHECK ((kind = 'usage') = (calls IS NOT NULL))
);
COMMENT ON COLUMN ledger_postings.amount IS 'What the posting does to the balance, in nano-units: usage takes, a top-up gives.';
COMMENT ON COLUMN ledger_postings.key IS 'Made once per account: the same key again is the same posting.';
CREATE INDEX ledger_postings_of_ban ON ledger_postings (ban_id, id);
CREATE INDEX ledger_postings_of_customer ON ledger_postings (customer_id, id);
CALL tenant_table('ledger_postings');

CREATE TABLE ledger_lines (
    posting_id  text NOT NULL REFERENCES ledger_postings,
    customer_id text NOT NULL,
    ban_id      text NOT NULL,
    account     text NOT NULL CHECK (account IN ('balance', 'revenue', 'cash', 'adjustments')),
    amount      bigint NOT NULL,
    PRIMARY KEY (posting_id, account)
);
CALL tenant_table('ledger_lines');
CREATE INDEX ledger_lines_of_ban ON ledger_lines (ban_id) WHERE account = 'balance';

CREATE TABLE ban_balances (
    ban_id      text PRIMARY KEY REFERENCES bans ON DELETE CASCADE,
    customer_id text NOT NULL,
    balance     bigint NOT NULL DEFAULT 0
);
CALL tenant_table('ban_balances');
COMMENT ON TABLE ban_balances IS 'The sum of the lines `balance` of each account; only the trigger on ledger_lines writes it.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_lines FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION ledger_is_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines integer;
    total numeric;
    on_balance bigint;
    stated bigint;
BEGIN
    SELECT count(*), sum(amount), max(amount) FILTER (WHERE account = 'balance') INTO lines, total, on_balance
    FROM ledger_lines WHERE posting_id = NEW.id;
    IF lines <> 2 OR total <> 0 OR on_balance IS DISTINCT FROM NEW.amount THEN
        RAISE EXCEPTION 'posting % is not balanced', NEW.id USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_is_balanced';
    END IF;
    IF NOT EXISTS (SELECT FROM bans WHERE id = NEW.ban_id AND currency = NEW.currency) THEN
        RAISE EXCEPTION 'posting % is in %, its account is not', NEW.id, NEW.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_currency';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_postings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger_is_balanced();

CREATE FUNCTION ledger_moves_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ban_balances AS b (ban_id, customer_id, balance) VALUES (NEW.ban_id, NEW.customer_id, NEW.amount)
    ON CONFLICT (ban_id) DO UPDATE SET balance = b.balance + excluded.balance;
    RETURN NULL;
END $$;
CREATE TRIGGER balance AFTER INSERT ON ledger_lines FOR EACH ROW WHEN (NEW.account = 'balance')
    EXECUTE FUNCTION ledger_moves_balance();

-- Which posting took a call in; NULL = it cost nothing, or is of before the ledger, or its customer is gone.
ALTER TABLE calls ADD COLUMN ban_id text, ADD COLUMN posting_id text;
