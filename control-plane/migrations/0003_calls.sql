-- The voice ledger's source: one row per call and one per attempt, exactly once by cdr_id. The consumer's cursor is kept
-- here too, in the same transaction as the rows.

CREATE TABLE calls (
    cdr_id          text PRIMARY KEY,
    customer_id     text,
    trunk_id        text,
    sip_call_id     text NOT NULL,
    ingress_ip      text NOT NULL,
    caller          text NOT NULL,
    called          text NOT NULL,
    caller_e164     text,
    called_e164     text,
    jurisdiction    text,
    setup_at        timestamptz NOT NULL,
    progress_at     timestamptz,
    answer_at       timestamptz,
    end_at          timestamptz NOT NULL,
    pdd_ms          bigint,
    duration_ms     bigint NOT NULL,
    sip_code        integer NOT NULL,
    q850            integer,
    release_side    text NOT NULL,
    internal_code   text NOT NULL,
    outcome         text NOT NULL,
    recovered       boolean NOT NULL,
    snapshot_id     text NOT NULL,
    route_rank      integer,
    vendor_id       text,
    vendor_trunk_id text,
    currency        text,
    sell            bigint,
    buy_currency    text,
    buy             bigint,
    margin          bigint,
    billable_s      bigint,
    record          jsonb NOT NULL,
    posted_at       timestamptz NOT NULL DEFAULT now()
);
CALL tenant_table('calls');
CREATE INDEX calls_by_customer ON calls (customer_id, cdr_id DESC);
CREATE INDEX calls_by_setup ON calls (setup_at);
CREATE INDEX calls_by_trunk ON calls (trunk_id, cdr_id DESC);
CREATE INDEX calls_by_called ON calls (called_e164, cdr_id DESC);

CREATE TABLE call_legs (
    cdr_id          text NOT NULL REFERENCES calls ON DELETE CASCADE,
    attempt_no      integer NOT NULL,
    customer_id     text,
    vendor_id       text,
    vendor_trunk_id text,
    egress_ip       text NOT NULL,
    start_at        timestamptz NOT NULL,
    pdd_ms          bigint,
    sip_code        integer NOT NULL,
    q850            integer,
    end_at          timestamptz NOT NULL,
    ended_by        text NOT NULL,
    PRIMARY KEY (cdr_id, attempt_no)
);
CALL tenant_table('call_legs');

-- Records that could not be read or posted: put aside, metered, visible; never silently dropped.
CREATE TABLE cdr_rejects (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position   text NOT NULL,
    reason     text NOT NULL,
    content    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL operator_table('cdr_rejects');

CREATE TABLE event_cursors (
    consumer   text PRIMARY KEY,
    topic      text NOT NULL,
    position   text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL operator_table('event_cursors');
