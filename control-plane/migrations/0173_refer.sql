-- Whether a REFER within a call passes on to a vendor: with it the vendor's end places a call that nobody has priced. The trigger of
-- 0023 on vendor_trunks publishes it. What stood before let them pass; from now on nobody's does who has not been asked.

ALTER TABLE vendor_trunks ADD COLUMN allow_refer boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN vendor_trunks.allow_refer IS 'A REFER within a call is passed on to this trunk; else it is refused with 403.';
