-- Jobs (RFC 0019): work that takes longer than a request. Whoever takes one up holds it by a lease and an epoch: a worker that was late
-- or dead says nothing of a job that another one has taken up since.

CREATE TABLE jobs (
    id          text PRIMARY KEY,
    customer_id text REFERENCES customers ON DELETE CASCADE,
    name        text,
    kind        text NOT NULL CHECK (kind IN ('call_export')),
    call_export jsonb,
    status      text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    attempts    integer NOT NULL DEFAULT 0,
    percent     integer NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    next_at     timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz,
    epoch       integer NOT NULL DEFAULT 0,
    node        text,
    error       text,
    result      jsonb,
    file        jsonb,
    started_at  timestamptz,
    finished_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    version     integer NOT NULL DEFAULT 1,
    CHECK ((kind = 'call_export') = (call_export IS NOT NULL)),
    CHECK ((status = 'running') = (lease_until IS NOT NULL))
);
COMMENT ON COLUMN jobs.customer_id IS 'Whose it is: its rows are read in the scope of this customer; NULL = the carrier''s own.';
COMMENT ON COLUMN jobs.epoch IS 'Rises each time that the job is taken up, cancelled or begun anew; part of the name of its file.';
COMMENT ON COLUMN jobs.next_at IS 'Not before then is it taken up.';
CREATE INDEX jobs_of_customer ON jobs (customer_id, id);
CREATE INDEX jobs_open ON jobs (next_at) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_by_change ON jobs (updated_at, id);
CALL tenant_table('jobs');
