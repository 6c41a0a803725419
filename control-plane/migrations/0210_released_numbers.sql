-- A number that was released ages for longer than its row is there: who deletes it and makes it again gets no fresh one. What is kept is
-- the number and when it was released, until that is of no matter any more.

CREATE TABLE released_numbers (
    number      text PRIMARY KEY,
    released_at timestamptz NOT NULL
);
COMMENT ON TABLE released_numbers IS 'Numbers that were deleted, and when their last holder lost them; the row of a number that is there says it itself.';
CALL operator_table('released_numbers');

CREATE FUNCTION number_is_gone() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- Whoever takes away the row of a number that somebody has releases it by that.
    since timestamptz := CASE WHEN OLD.state = 'assigned' THEN now() ELSE OLD.released_at END;
BEGIN
    IF since IS NOT NULL THEN
        INSERT INTO released_numbers (number, released_at) VALUES (OLD.number, since)
            ON CONFLICT (number) DO UPDATE SET released_at = greatest(released_numbers.released_at, excluded.released_at);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER released AFTER DELETE ON numbers FOR EACH ROW EXECUTE FUNCTION number_is_gone();
