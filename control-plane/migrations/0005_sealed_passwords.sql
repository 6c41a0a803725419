-- Passwords that we send to vendors are sealed (see store/seal.rs). The program seals the old ones at its start and empties
-- auth_password, which stays for that only.

ALTER TABLE vendor_trunks ADD COLUMN auth_secret bytea;
ALTER TABLE vendor_trunks DROP CONSTRAINT vendor_trunks_check;
ALTER TABLE vendor_trunks ADD CONSTRAINT vendor_trunks_auth_check
    CHECK ((auth_username IS NULL) = (auth_password IS NULL AND auth_secret IS NULL));
