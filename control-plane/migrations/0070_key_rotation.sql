-- A key that another one follows, and keys that were made on the machine itself when the last one was lost.

ALTER TABLE api_keys
    ADD COLUMN replaced_by text REFERENCES api_keys,
    ADD COLUMN recovered boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN api_keys.replaced_by IS 'The key that follows it; both live until expires_at of this one.';
COMMENT ON COLUMN api_keys.recovered IS 'Made by `warp keys recover`: it manages keys only, and ends after 24 hours.';
