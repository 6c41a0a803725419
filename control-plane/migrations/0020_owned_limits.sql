-- Each limit of a trunk has an owner; the lower of both counts. The old columns are the carrier's: a limit of before, whoever set
-- it, stays where a customer's key cannot lift it. NULL = this side sets no limit (own_destinations: all that the carrier allows).

ALTER TABLE trunks
    ADD COLUMN own_status text NOT NULL DEFAULT 'active' CHECK (own_status IN ('active', 'disabled')),
    ADD COLUMN own_channels integer CHECK (own_channels >= 0),
    ADD COLUMN own_cps integer CHECK (own_cps >= 0),
    ADD COLUMN own_max_rate_per_min bigint CHECK (own_max_rate_per_min >= 0),
    ADD COLUMN own_daily_spend bigint CHECK (own_daily_spend >= 0),
    ADD COLUMN own_max_duration_s integer CHECK (own_max_duration_s > 0),
    ADD COLUMN own_destinations text[],
    ADD COLUMN own_require_valid_caller boolean NOT NULL DEFAULT false;
