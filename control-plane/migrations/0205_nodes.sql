-- Nodes ask one another (RFC 0041): which processes have a proxy, what they are asked, and what they say. Nothing here outlives the
-- second that it is about, so nothing of it is logged: after a crash of PostgreSQL the tables are empty, and processes say again that
-- they are there.

CREATE UNLOGGED TABLE node_processes (
    process     text PRIMARY KEY,
    node        text NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE node_processes IS 'Processes that answer questions; each says every few seconds that it is there.';
CALL operator_table('node_processes');

CREATE UNLOGGED TABLE node_questions (
    id          text PRIMARY KEY,
    asker       text NOT NULL,
    question    jsonb NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN node_questions.asker IS 'The process that asks; it does not answer itself here.';
CALL operator_table('node_questions');

CREATE UNLOGGED TABLE node_answers (
    question_id text NOT NULL REFERENCES node_questions ON DELETE CASCADE,
    process     text NOT NULL,
    answer      jsonb NOT NULL,
    PRIMARY KEY (question_id, process)
);
CALL operator_table('node_answers');

CREATE FUNCTION notify_nodes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('warp_nodes', '');
    RETURN NULL;
END $$;
CREATE TRIGGER asked AFTER INSERT ON node_questions FOR EACH STATEMENT EXECUTE FUNCTION notify_nodes();
