-- Schedules (RFC 0033): jobs that are begun at times of a calendar, each time once.

CREATE TABLE schedules (
    id             text PRIMARY KEY,
    customer_id    text REFERENCES customers ON DELETE CASCADE,
    name           text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('call_export')),
    call_export    jsonb,
    period_of      text NOT NULL CHECK (period_of IN ('posted', 'setup')),
    every          text NOT NULL CHECK (every IN ('hour', 'day', 'week', 'month')),
    at             text NOT NULL CHECK (at ~ '^[0-2][0-9]:[0-5][0-9]$'),
    day            integer CHECK (day BETWEEN 1 AND 31),
    time_zone      text NOT NULL,
    missed_runs    text NOT NULL CHECK (missed_runs IN ('each', 'one', 'skip')),
    status         text NOT NULL CHECK (status IN ('active', 'paused')),
    next_at        timestamptz,
    look_at        timestamptz,
    covered_until  timestamptz,
    last_due_at    timestamptz,
    last_job_id    text,
    missed         integer NOT NULL DEFAULT 0,
    last_missed_at timestamptz,
    error          text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    version        integer NOT NULL DEFAULT 1,
    CHECK ((kind = 'call_export') = (call_export IS NOT NULL)),
    CHECK ((status = 'active') = (next_at IS NOT NULL))
);
COMMENT ON COLUMN schedules.next_at IS 'The time that comes next; NULL = it is paused.';
COMMENT ON COLUMN schedules.look_at IS 'Not before then is it looked at again: its job could not be begun.';
COMMENT ON COLUMN schedules.covered_until IS 'Where the period of the last job ended; the next one begins there.';
CREATE INDEX schedules_of_customer ON schedules (customer_id, id);
CREATE INDEX schedules_due ON schedules (next_at) WHERE status = 'active';
CALL tenant_table('schedules');

-- Whose time a job was begun for. Of each time there is one job, whoever begins it.
ALTER TABLE jobs ADD COLUMN schedule_id text REFERENCES schedules ON DELETE SET NULL, ADD COLUMN due_at timestamptz;
CREATE UNIQUE INDEX jobs_of_schedule ON jobs (schedule_id, due_at);
