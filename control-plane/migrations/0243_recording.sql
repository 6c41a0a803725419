-- Recording (RFC 0054): whether the relay records the calls of a peer. The triggers of 0023 publish both tables.

ALTER TABLE vendor_trunks ADD COLUMN recording boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN vendor_trunks.recording IS 'Whether calls to and from it are recorded.';

ALTER TABLE trunks ADD COLUMN recording boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN trunks.recording IS 'Whether calls to and from it are recorded.';
