-- Which day's spend limits were told to be reached: once for a trunk and a day of its customer.

CREATE TABLE spend_limits_told (
    trunk_id    text NOT NULL REFERENCES trunks ON DELETE CASCADE,
    customer_id text NOT NULL,
    day         date NOT NULL,
    PRIMARY KEY (trunk_id, day)
);
CALL tenant_table('spend_limits_told');
