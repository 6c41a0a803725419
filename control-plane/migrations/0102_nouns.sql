-- The owner of the schema is under row-level security too.
SELECT set_config('warp.scope', 'operator', true);

-- Passwords in clear were sealed by the first start of any version with migration 5. One that is still here would be lost.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM vendor_trunks WHERE auth_password IS NOT NULL) THEN
        RAISE EXCEPTION 'vendor trunks have passwords that are not sealed yet'
            USING HINT = 'start the version before this one once: it seals them';
    END IF;
END $$;
ALTER TABLE vendor_trunks DROP CONSTRAINT vendor_trunks_auth_check;
ALTER TABLE vendor_trunks DROP COLUMN auth_password;
ALTER TABLE vendor_trunks ADD CONSTRAINT vendor_trunks_auth_check
    CHECK ((auth_username IS NULL) = (auth_secret IS NULL));

-- Exclusions can be changed, as every declared noun.
ALTER TABLE exclusions ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE exclusions ADD COLUMN version integer NOT NULL DEFAULT 1;
UPDATE exclusions SET updated_at = created_at;

-- Lists that are sorted by the last change, of tables that may be large: of all customers, and of one.
CREATE INDEX trunks_updated ON trunks (updated_at, id);
CREATE INDEX trunks_of_customer_updated ON trunks (customer_id, updated_at, id);
