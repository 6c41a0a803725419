-- A margin per minute has a currency of its own: it was taken for the customer's, whichever that was.
ALTER TABLE partitions ADD COLUMN margin_currency text NOT NULL DEFAULT 'USD' CHECK (margin_currency ~ '^[A-Z]{3}$');
