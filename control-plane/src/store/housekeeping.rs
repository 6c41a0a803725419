//! What has expired goes.

use super::sql::statements;
use super::{StoreError, Tx};

/// Deletes first answers, sessions, snapshots, sections, events, deliveries and jobs that nobody needs any more.
pub async fn expire(tx: &mut Tx) -> Result<(), StoreError> {
    for statement in [
        IDEMPOTENCY_EXPIRE,
        SESSION_EXPIRE,
        SNAPSHOT_EXPIRE,
        SECTION_EXPIRE,
        EVENTS_EXPIRE,
        DELIVERIES_DIE,
        DELIVERIES_EXPIRE,
        super::webhooks::ASKED_EXPIRE,
        super::jobs::JOB_FILES_EXPIRE,
        super::jobs::JOBS_EXPIRE,
    ] {
        tx.run(sqlx::query(statement)).await?;
    }
    Ok(())
}

statements! {
    /// Events are kept for 30 days, and longer while they are not handed over to webhooks.
    EVENTS_EXPIRE = "DELETE FROM outbox WHERE created_at < now() - interval '30 days' AND position <= (SELECT position FROM webhook_cursor)";
    /// What waits at a webhook that is disabled is not tried for longer than anything else …
    DELIVERIES_DIE = "UPDATE webhook_deliveries SET status = 'dead', finished_at = now()
        WHERE status = 'waiting' AND due_since < now() - interval '25 hours' AND next_at < now()";
    /// … and is kept as long as events are.
    DELIVERIES_EXPIRE = "DELETE FROM webhook_deliveries WHERE created_at < now() - interval '30 days'";
    /// First answers are kept for 24 hours.
    IDEMPOTENCY_EXPIRE = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'";
    /// Sessions that are over.
    SESSION_EXPIRE = "DELETE FROM sessions WHERE expires_at < now()";
    /// Snapshots that no CDR refers to go after 7 days (the event log keeps records no longer) …
    SNAPSHOT_EXPIRE = "DELETE FROM snapshots WHERE NOT used AND created_at < now() - interval '7 days'";
    /// … and with them the sections that nobody needs any more.
    SECTION_EXPIRE = "DELETE FROM snapshot_sections x WHERE x.created_at < now() - interval '7 days'
        AND x.sha256 NOT IN (SELECT s.manifest->>'directory' FROM snapshots s UNION SELECT s.manifest->>'number_plan' FROM snapshots s
            UNION SELECT v.value FROM snapshots s, jsonb_each_text(coalesce(s.manifest->'sections', '{}')) AS v)";
}
