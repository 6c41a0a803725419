-- Mail as a destination of webhooks (RFC 0032): a webhook whose URL is mailto:ADDRESS. A customer's is sent nothing but a code before
-- whoever reads there has agreed.

ALTER TABLE webhooks DROP CONSTRAINT webhooks_status_check;
ALTER TABLE webhooks ADD CONSTRAINT webhooks_status_check CHECK (status IN ('active', 'disabled', 'unconfirmed'));
ALTER TABLE webhooks ADD COLUMN asked_url text, ADD COLUMN confirmed_url text;
COMMENT ON COLUMN webhooks.asked_url IS 'The URL that a code was sent to last.';
COMMENT ON COLUMN webhooks.confirmed_url IS 'The URL whose reader agreed.';

-- Mails that asked for agreement, so that nobody asks many addresses: their webhooks may be gone by then.
CREATE TABLE mail_confirmations (
    customer_id text NOT NULL,
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mail_confirmations_of_customer ON mail_confirmations (customer_id, at);
CALL tenant_table('mail_confirmations');
