-- Further nodes of a vendor's platform, and whether its redirections are followed. The trigger of 0023 on vendor_trunks publishes
-- both; what stood before has neither, as the code took it until now.

ALTER TABLE vendor_trunks
    ADD COLUMN signalling_ips text[] NOT NULL DEFAULT '{}' CHECK (cardinality(signalling_ips) <= 32),
    ADD COLUMN follow_redirects boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN vendor_trunks.signalling_ips IS 'Addresses, without port, that requests of a call may come from and go to besides where its INVITEs go.';
COMMENT ON COLUMN vendor_trunks.follow_redirects IS 'A 3xx of this trunk is followed to its own addresses; else it is the next candidate''s turn.';
