-- Which sections of the policy snapshot a change touches. A trigger raises the version of exactly those, in the transaction of the
-- change; the publisher reads again what has another version than it knows. Customers with their trunks and digest users stand on
-- 64 pages; vendors, partitions, addresses and decks are one section each.

CREATE TABLE published_sections (
    section text NOT NULL CHECK (section IN ('customers', 'vendors', 'partitions', 'addresses', 'decks')),
    page    integer NOT NULL CHECK (page BETWEEN 0 AND 63),
    version bigint NOT NULL,
    PRIMARY KEY (section, page)
);
ALTER TABLE published_sections ENABLE ROW LEVEL SECURITY;
ALTER TABLE published_sections FORCE ROW LEVEL SECURITY;
-- Versions are nobody's secret: a customer's change raises them too.
CREATE POLICY anybody ON published_sections USING (scope_is_operator() OR scope_customer() IS NOT NULL)
    WITH CHECK (scope_is_operator() OR scope_customer() IS NOT NULL);

CREATE FUNCTION customer_page(id text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT get_byte(decode(md5(id), 'hex'), 0) % 64 $$;
COMMENT ON FUNCTION customer_page IS 'The page of the policy snapshot that a customer stands on.';
CREATE INDEX customers_by_page ON customers (customer_page(id));
CREATE INDEX trunks_by_page ON trunks (customer_page(customer_id));
CREATE INDEX trunk_credentials_by_page ON trunk_credentials (customer_page(customer_id));

CREATE FUNCTION raise_section(name text, on_page integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO published_sections AS s (section, page, version) VALUES (name, on_page, 1)
    ON CONFLICT (section, page) DO UPDATE SET version = s.version + 1
$$;

CREATE FUNCTION section_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM raise_section(TG_ARGV[0], 0);
    RETURN NULL;
END $$;

CREATE FUNCTION customer_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM raise_section('customers', customer_page(OLD.customer_id));
    END IF;
    IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.customer_id <> OLD.customer_id) THEN
        PERFORM raise_section('customers', customer_page(NEW.customer_id));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON customers FOR EACH ROW EXECUTE FUNCTION customer_changed();
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON trunks FOR EACH ROW EXECUTE FUNCTION customer_changed();
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON trunk_credentials FOR EACH ROW EXECUTE FUNCTION customer_changed();
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON trunk_ips FOR EACH STATEMENT EXECUTE FUNCTION section_changed('addresses');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON vendors FOR EACH STATEMENT EXECUTE FUNCTION section_changed('vendors');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON vendor_trunks FOR EACH STATEMENT EXECUTE FUNCTION section_changed('vendors');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON exclusions FOR EACH STATEMENT EXECUTE FUNCTION section_changed('vendors');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON emergency_route FOR EACH STATEMENT EXECUTE FUNCTION section_changed('vendors');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON partitions FOR EACH STATEMENT EXECUTE FUNCTION section_changed('partitions');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON partition_vendors FOR EACH STATEMENT EXECUTE FUNCTION section_changed('partitions');
CREATE TRIGGER section AFTER INSERT OR UPDATE OR DELETE ON decks FOR EACH STATEMENT EXECUTE FUNCTION section_changed('decks');
