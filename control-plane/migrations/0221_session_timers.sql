-- Session timers (RFC 4028, RFC 0047): how often calls of a peer are refreshed, and the least interval that it may ask for. The triggers of
-- 0023 publish both tables.

ALTER TABLE vendor_trunks
    ADD COLUMN session_expires_s integer CHECK (session_expires_s BETWEEN 90 AND 86400),
    ADD COLUMN session_min_s integer CHECK (session_min_s BETWEEN 90 AND 86400);
COMMENT ON COLUMN vendor_trunks.session_expires_s IS 'Its calls are refreshed at least this often, in seconds, or end. NULL: nobody is asked to.';
COMMENT ON COLUMN vendor_trunks.session_min_s IS 'The least interval that it may ask for, in seconds. NULL: whatever it likes.';

ALTER TABLE trunks
    ADD COLUMN session_expires_s integer CHECK (session_expires_s BETWEEN 90 AND 86400),
    ADD COLUMN session_min_s integer CHECK (session_min_s BETWEEN 90 AND 86400);
COMMENT ON COLUMN trunks.session_expires_s IS 'Its calls are refreshed at least this often, in seconds, or end. NULL: nobody is asked to.';
COMMENT ON COLUMN trunks.session_min_s IS 'The least interval that it may ask for, in seconds. NULL: whatever it likes.';
