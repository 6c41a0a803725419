-- What an object was before a change, beside what it is since then (detail); and whether the change was made with a key of the customer
-- itself: a customer reads who of its own did something, and of the carrier only that it was the carrier.
ALTER TABLE audit_log ADD COLUMN before jsonb;
ALTER TABLE audit_log ADD COLUMN own boolean NOT NULL DEFAULT false;

-- The log is read by what was changed, by whom, of which customer, and when.
CREATE INDEX audit_log_object ON audit_log (object, id);
CREATE INDEX audit_log_actor ON audit_log (actor, id);
CREATE INDEX audit_log_customer ON audit_log (customer_id, id);
CREATE INDEX audit_log_at ON audit_log (at, id);
