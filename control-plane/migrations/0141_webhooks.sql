-- Webhooks (RFC 0016): where a customer wants its events to be sent, and what became of each of them.

CREATE TABLE webhooks (
    id                  text PRIMARY KEY,
    customer_id         text NOT NULL REFERENCES customers ON DELETE CASCADE,
    name                text NOT NULL,
    url                 text NOT NULL,
    events              text[] NOT NULL,
    status              text NOT NULL CHECK (status IN ('active', 'disabled')),
    secret_sealed       bytea,
    secret_before       bytea,
    secret_before_until timestamptz,
    failing_since       timestamptz,
    disabled_at         timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    version             integer NOT NULL DEFAULT 1
);
COMMENT ON COLUMN webhooks.events IS 'Names of events; empty = all that there are.';
COMMENT ON COLUMN webhooks.failing_since IS 'No delivery was taken since then; NULL = the last one was.';
CREATE INDEX webhooks_of_customer ON webhooks (customer_id, id);
CALL tenant_table('webhooks');

CREATE TABLE webhook_deliveries (
    webhook_id  text NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    event_id    text NOT NULL,
    customer_id text NOT NULL,
    type        text NOT NULL,
    body        text NOT NULL,
    status      text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts    integer NOT NULL DEFAULT 0,
    due_since   timestamptz NOT NULL DEFAULT now(),
    next_at     timestamptz NOT NULL DEFAULT now(),
    last_status integer,
    last_ms     integer,
    last_error  text,
    last_answer text,
    finished_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (webhook_id, event_id)
);
COMMENT ON COLUMN webhook_deliveries.body IS 'What is sent and signed, to the byte.';
COMMENT ON COLUMN webhook_deliveries.next_at IS 'When it is tried next; while it is tried, when it is given up that whoever tries it is still there.';
COMMENT ON COLUMN webhook_deliveries.due_since IS 'Since when it is tried: a replay begins anew.';
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE status = 'waiting';
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);
CALL tenant_table('webhook_deliveries');

-- How far the events are handed over to webhooks. Its row is also the lock of whoever does it.
CREATE TABLE webhook_cursor (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);
SELECT set_config('warp.scope', 'operator', true);
INSERT INTO webhook_cursor (position) SELECT position FROM outbox_clock;
CALL operator_table('webhook_cursor');
