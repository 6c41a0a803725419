-- People: users of customers, and the carrier's own. Who somebody is, an issuer says (its name and the subject there; for users of
-- customers also the organisation that they sign in through, '' for none); what they may, their role here. Uniqueness is a customer's
-- own: whether another one has bound a subject is not told, and a later binding takes nobody away from where he comes in.

CREATE TABLE users (
    id           text PRIMARY KEY,
    customer_id  text NOT NULL REFERENCES customers,
    name         text NOT NULL,
    email        text,
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'engineer', 'billing', 'read_only')),
    status       text NOT NULL CHECK (status IN ('active', 'disabled')),
    issuer       text NOT NULL,
    subject      text NOT NULL,
    organisation text NOT NULL DEFAULT '',
    last_seen_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    version      integer NOT NULL DEFAULT 1,
    CONSTRAINT users_identity UNIQUE (issuer, subject, organisation, customer_id)
);
CALL tenant_table('users');
CREATE INDEX users_customer ON users (customer_id, id);

CREATE TABLE operators (
    id           text PRIMARY KEY,
    name         text NOT NULL,
    email        text,
    role         text NOT NULL CHECK (role IN ('admin', 'routing', 'billing', 'noc', 'support', 'read_only')),
    status       text NOT NULL CHECK (status IN ('active', 'disabled')),
    issuer       text NOT NULL,
    subject      text NOT NULL,
    last_seen_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    version      integer NOT NULL DEFAULT 1,
    CONSTRAINT operators_identity UNIQUE (issuer, subject)
);
CALL operator_table('operators');

-- What keys of before could, they can: until now every key with keys:write managed keys alone.
SELECT set_config('warp.scope', 'operator', true);
UPDATE api_keys SET scopes = scopes || '{sensitive:unattended}'
    WHERE revoked_at IS NULL AND NOT recovered AND scopes && '{*,keys:write}' AND NOT scopes @> '{sensitive:unattended}';
