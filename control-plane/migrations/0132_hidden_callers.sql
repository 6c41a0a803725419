-- Who asks not to be named (RFC 3325) is not named to the customer who is called. The carrier goes on seeing who it was.
ALTER TABLE calls ADD COLUMN caller_hidden boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN calls.caller_hidden IS 'The customer whose call it is may not read who called, nor find the call by that.';
