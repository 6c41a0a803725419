-- An operator looks through a customer's eyes: a key of the customer that only reads, for half an hour.

ALTER TABLE api_keys ADD COLUMN viewer text;
COMMENT ON COLUMN api_keys.viewer IS 'The operator who looks through the eyes of the customer with this key; NULL for every other key.';
