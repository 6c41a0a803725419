-- Webhooks of the carrier itself (RFC 0016): they belong to no customer, and events of all customers may be sent there. No tenant sees them.

ALTER TABLE webhooks ALTER COLUMN customer_id DROP NOT NULL;
COMMENT ON COLUMN webhooks.customer_id IS 'Whose it is; NULL = the carrier''s own.';
ALTER TABLE webhook_deliveries ALTER COLUMN customer_id DROP NOT NULL;
