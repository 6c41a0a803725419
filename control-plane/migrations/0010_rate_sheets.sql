-- A version keeps the report that was shown when it was made, and the version that its rows were taken from where it has rows
-- of another one: a partial sheet, or a full one that begins later.
ALTER TABLE deck_versions ADD COLUMN report jsonb;
ALTER TABLE deck_versions ADD COLUMN base_number integer;

-- How a vendor's sheets are to be read. Owner: the vendor who sells by the deck, or the deck itself.
CREATE TABLE sheet_options (
    owner      text PRIMARY KEY,
    options    jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL operator_table('sheet_options');
