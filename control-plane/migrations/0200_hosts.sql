-- Peers by name (RFC 3263): a vendor trunk, or the side of a customer's trunk that takes calls, has names besides addresses, which a node
-- looks up in DNS; and TLS as a transport, or the one that DNS says. The triggers of 0023 and 0110 publish both.

ALTER TABLE vendor_trunks
    ADD COLUMN hosts text[] NOT NULL DEFAULT '{}' CHECK (cardinality(hosts) <= 4),
    DROP CONSTRAINT vendor_trunks_addresses_check,
    ADD CONSTRAINT vendor_trunks_addresses_check CHECK (cardinality(addresses) <= 16 AND cardinality(addresses) + cardinality(hosts) >= 1),
    DROP CONSTRAINT vendor_trunks_transport_check,
    ADD CONSTRAINT vendor_trunks_transport_check CHECK (transport IN ('udp', 'tcp', 'tls', 'auto'));
COMMENT ON COLUMN vendor_trunks.hosts IS 'Names of its platform, with or without port, that are looked up in DNS; they come before the addresses.';

ALTER TABLE trunk_inbound
    ADD COLUMN hosts text[] NOT NULL DEFAULT '{}' CHECK (cardinality(hosts) <= 4),
    DROP CONSTRAINT trunk_inbound_transport_check,
    ADD CONSTRAINT trunk_inbound_transport_check CHECK (transport IN ('udp', 'tcp', 'tls', 'auto'));
COMMENT ON COLUMN trunk_inbound.hosts IS 'Names that are looked up in DNS; they come before the addresses.';
