-- Leases of processes that are gone are looked for by their log; those that were closed and still hold money are among them.
DROP INDEX credit_leases_by_log;
CREATE INDEX credit_leases_by_log ON credit_leases (log) WHERE NOT closed OR granted > posted;
