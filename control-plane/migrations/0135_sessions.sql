-- Sessions of browsers. The browser holds a secret of which only the hash stands here; the tokens of the issuer (to ask for new ones, and
-- to sign out there) are sealed. Whose session it is says the person's row, at each request: role, status and identity.

CREATE TABLE sessions (
    id               text PRIMARY KEY,
    customer_id      text REFERENCES customers ON DELETE CASCADE,
    audience         text NOT NULL CHECK (audience IN ('customer', 'operator')),
    user_id          text NOT NULL,
    issuer           text NOT NULL,
    subject          text NOT NULL,
    organisation     text NOT NULL DEFAULT '',
    hash             bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    tokens           bytea NOT NULL,
    second_factor_at timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_used_at     timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    vouched_until    timestamptz NOT NULL,
    asked_at         timestamptz,
    CHECK ((audience = 'operator') = (customer_id IS NULL))
);
CALL tenant_table('sessions');
CREATE INDEX sessions_user ON sessions (user_id, created_at);
CREATE INDEX sessions_customer ON sessions (customer_id);
CREATE INDEX sessions_end ON sessions (expires_at);
COMMENT ON COLUMN sessions.hash IS 'SHA-256 of the secret in the cookie.';
COMMENT ON COLUMN sessions.tokens IS 'Refresh token and ID token of the issuer, sealed for this row.';
COMMENT ON COLUMN sessions.vouched_until IS 'When the issuer must be asked again: the end of the access token that it gave last.';
COMMENT ON COLUMN sessions.asked_at IS 'When a process began to ask the issuer; NULL: nobody asks. A refresh token works once, so one process asks.';
