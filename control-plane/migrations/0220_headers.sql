-- How messages of calls are written towards a peer (RFC 0046): who is told who calls, and how; what is said of diversions and causes; headers
-- that are added or taken away; codecs. The triggers of 0023 publish both tables. A vendor that stood there before is within our circle of
-- trust, as it was until now; a customer's trunk is not.

ALTER TABLE vendor_trunks
    ADD COLUMN identity_trusted boolean NOT NULL DEFAULT true,
    ADD COLUMN identity_form text NOT NULL DEFAULT 'as_received'
        CHECK (identity_form IN ('as_received', 'p_asserted_identity', 'remote_party_id', 'none')),
    ADD COLUMN caller_format text NOT NULL DEFAULT 'as_received' CHECK (caller_format IN ('as_received', 'plus_e164', 'e164', 'national')),
    ADD COLUMN diversion_form text NOT NULL DEFAULT 'as_received'
        CHECK (diversion_form IN ('as_received', 'diversion', 'history_info', 'none')),
    ADD COLUMN reason_form text NOT NULL DEFAULT 'as_received' CHECK (reason_form IN ('as_received', 'always', 'none')),
    ADD COLUMN header_rules text[] NOT NULL DEFAULT '{}' CHECK (cardinality(header_rules) <= 8),
    ADD COLUMN codecs text[] NOT NULL DEFAULT '{}' CHECK (cardinality(codecs) <= 16);
COMMENT ON COLUMN vendor_trunks.identity_trusted IS 'It is told who calls also where the caller asked for privacy (RFC 3324).';
COMMENT ON COLUMN vendor_trunks.header_rules IS 'remove NAME, add NAME: VALUE, set NAME: VALUE; for each message of a call that goes to it.';

ALTER TABLE trunks
    ADD COLUMN identity_trusted boolean NOT NULL DEFAULT false,
    ADD COLUMN identity_form text NOT NULL DEFAULT 'as_received'
        CHECK (identity_form IN ('as_received', 'p_asserted_identity', 'remote_party_id', 'none')),
    ADD COLUMN caller_format text NOT NULL DEFAULT 'as_received' CHECK (caller_format IN ('as_received', 'plus_e164', 'e164', 'national')),
    ADD COLUMN diversion_form text NOT NULL DEFAULT 'as_received'
        CHECK (diversion_form IN ('as_received', 'diversion', 'history_info', 'none')),
    ADD COLUMN reason_form text NOT NULL DEFAULT 'as_received' CHECK (reason_form IN ('as_received', 'always', 'none')),
    ADD COLUMN header_rules text[] NOT NULL DEFAULT '{}' CHECK (cardinality(header_rules) <= 8),
    ADD COLUMN codecs text[] NOT NULL DEFAULT '{}' CHECK (cardinality(codecs) <= 16);
COMMENT ON COLUMN trunks.identity_trusted IS 'It is told who calls also where the caller asked for privacy (RFC 3324).';
COMMENT ON COLUMN trunks.header_rules IS 'remove NAME, add NAME: VALUE, set NAME: VALUE; for each message of a call that goes to it.';
