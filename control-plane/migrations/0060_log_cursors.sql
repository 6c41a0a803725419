-- Where consumers stand, by consumer and log: each node has an event log of its own, and one consumer reads several. The position
-- names its log too, and the log refuses another's. `event_cursors` (by consumer only) stays for nodes of the version before, which
-- go on writing it during an upgrade; a log that has no row here goes on at the one there, if the record that it names is its own.

CREATE TABLE log_cursors (
    consumer   text NOT NULL,
    log        text NOT NULL,
    position   text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, log)
);
CALL operator_table('log_cursors');
COMMENT ON COLUMN log_cursors.log IS 'TOPIC:ID of the log.';
COMMENT ON COLUMN log_cursors.position IS 'Text of the cursor; only the log can read it.';
COMMENT ON TABLE event_cursors IS 'Cursors of versions that kept one per consumer; read once, when a log has none in log_cursors.';
