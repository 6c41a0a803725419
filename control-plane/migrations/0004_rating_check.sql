-- Whether the price of a call was confirmed by rating it again when it was posted, and which snapshots CDRs refer to.

ALTER TABLE calls ADD COLUMN rating_status text NOT NULL DEFAULT 'unchecked'
    CHECK (rating_status IN ('none', 'confirmed', 'mismatch', 'unchecked'));
CREATE INDEX calls_to_look_at ON calls (cdr_id) WHERE rating_status = 'mismatch';

-- A snapshot that no CDR refers to may go after a while; one that was used stays as long as its CDRs.
ALTER TABLE snapshots ADD COLUMN used boolean NOT NULL DEFAULT false;
