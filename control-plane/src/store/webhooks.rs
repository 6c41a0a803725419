//! Rows of webhooks besides those of the declared noun: secrets, deliveries, and how far events are handed over.

use sqlx::Row;
use warp_model::{EventId, Secret, Wall};

use super::seal::{Seal, webhook_place};
use super::sql::statements;
use super::types::Time;
use super::{StoreError, Tx};
use crate::app::paging::Paging;
use crate::app::webhooks::WebhookId;

crate::row! {
    /// What became of an event at a webhook.
    pub struct DeliveryRow {
        webhook_id: String,
        event_id: String,
        customer_id: Option<String>,
        kind: String,
        body: String,
        status: String,
        attempts: i32,
        next_at: Time,
        last_status: Option<i32>,
        last_ms: Option<i32>,
        last_error: Option<String>,
        last_answer: Option<String>,
        finished_at: Option<Time>,
        created_at: Time,
    }
}

crate::row! {
    /// A webhook that is sent to.
    pub struct EndpointRow {
        id: String,
        customer_id: Option<String>,
        url: String,
        events: Vec<String>,
    }
}

crate::row! {
    /// A delivery that somebody tries now.
    pub struct ClaimRow {
        event_id: String,
        kind: String,
        body: String,
        /// How often it was tried, this time included: whoever tries it knows by it that he still may say what came of it.
        attempts: i32,
        /// How long it has been due, in milliseconds.
        age_ms: i64,
    }
}

/// A delivery to make.
pub struct NewDelivery {
    /// The webhook to send to.
    pub webhook: String,
    /// The customer of the webhook; `None`: it is the carrier's.
    pub customer: Option<String>,
    /// The event that is sent.
    pub event: String,
    /// The name of the event.
    pub kind: String,
    /// What is sent, to the byte.
    pub body: String,
}

/// What came of an attempt.
pub struct Attempt<'a> {
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// Why there was no answer.
    pub error: &'a str,
    /// The first bytes of the answer.
    pub answer: &'a str,
}

/// Makes deliveries; one that is there already stays as it is. Gives how many are new.
pub async fn insert(tx: &mut Tx, new: &[NewDelivery]) -> Result<u64, StoreError> {
    if new.is_empty() {
        return Ok(0);
    }
    let column = |of: fn(&NewDelivery) -> &str| new.iter().map(of).collect::<Vec<_>>();
    let query = sqlx::query(DELIVERIES_INSERT)
        .bind(column(|d| &d.webhook))
        .bind(new.iter().map(|d| d.customer.as_deref()).collect::<Vec<_>>())
        .bind(column(|d| &d.event))
        .bind(column(|d| &d.kind))
        .bind(column(|d| &d.body));
    tx.run(query).await
}

/// The active webhooks of these customers, and those of the carrier.
pub async fn of_customers(tx: &mut Tx, customers: &[String]) -> Result<Vec<EndpointRow>, StoreError> {
    tx.all(sqlx::query(WEBHOOKS_OF).bind(customers)).await
}

/// How many webhooks this customer has, or the carrier (`None`).
pub async fn count(tx: &mut Tx, customer: Option<&str>) -> Result<i64, StoreError> {
    Ok(sqlx::query(WEBHOOKS_COUNT).bind(customer).fetch_one(tx.db()).await?.try_get(0)?)
}

/// Whether events are to be handed over, and whether a delivery is due.
pub async fn look(tx: &mut Tx) -> Result<(bool, bool), StoreError> {
    let row = sqlx::query(WEBHOOKS_LOOK).fetch_one(tx.db()).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// How far events are handed over, locked until the transaction ends; `None`: somebody else does it now.
pub async fn cursor(tx: &mut Tx) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query(HANDED_OVER).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// They are handed over up to this place.
pub async fn set_cursor(tx: &mut Tx, place: i64) -> Result<(), StoreError> {
    tx.run(sqlx::query(HAND_OVER).bind(place)).await?;
    Ok(())
}

/// Active webhooks with something to send now, but for those in `busy`.
pub async fn due(tx: &mut Tx, busy: Vec<String>, most: i64) -> Result<Vec<EndpointRow>, StoreError> {
    tx.all(sqlx::query(WEBHOOKS_DUE).bind(busy).bind(most)).await
}

/// How many deliveries wait.
pub async fn pending(tx: &mut Tx) -> Result<i64, StoreError> {
    Ok(sqlx::query(DELIVERIES_PENDING).fetch_one(tx.db()).await?.try_get(0)?)
}

/// Takes deliveries of a webhook that are due, for so many seconds.
pub async fn claim(tx: &mut Tx, webhook: &str, most: i64, lease_s: i64) -> Result<Vec<ClaimRow>, StoreError> {
    tx.all(sqlx::query(DELIVERIES_CLAIM).bind(webhook).bind(most).bind(lease_s)).await
}

/// The endpoint has taken a delivery. False: somebody else has tried it meanwhile, and says what came of it.
pub async fn delivered(
    tx: &mut Tx,
    webhook: &str,
    claim: &ClaimRow,
    attempt: &Attempt<'_>,
) -> Result<bool, StoreError> {
    Ok(ended(tx, webhook, claim, attempt, ("delivered", None)).await? && works(tx, webhook).await?)
}

async fn works(tx: &mut Tx, webhook: &str) -> Result<bool, StoreError> {
    tx.run(sqlx::query(WEBHOOK_WORKS).bind(webhook)).await?;
    Ok(true)
}

/// It has not; it is tried again after a pause, or never (`None`). False: as above.
pub async fn failed(
    tx: &mut Tx,
    webhook: &str,
    claim: &ClaimRow,
    attempt: &Attempt<'_>,
    pause_ms: Option<i64>,
) -> Result<bool, StoreError> {
    let status = if pause_ms.is_some() { "waiting" } else { "dead" };
    if !ended(tx, webhook, claim, attempt, (status, pause_ms)).await? {
        return Ok(false);
    }
    tx.run(sqlx::query(WEBHOOK_FAILS).bind(webhook)).await?;
    Ok(true)
}

async fn ended(
    tx: &mut Tx,
    webhook: &str,
    claim: &ClaimRow,
    attempt: &Attempt<'_>,
    (status, pause_ms): (&str, Option<i64>),
) -> Result<bool, StoreError> {
    let some = |text: &str| (!text.is_empty()).then(|| super::posting::clean(text));
    let query = sqlx::query(DELIVERY_ENDED)
        .bind(webhook)
        .bind(&claim.event_id)
        .bind(claim.attempts)
        .bind(status)
        .bind(pause_ms.unwrap_or(0))
        .bind(attempt.status.map(i32::from))
        .bind(i32::try_from(attempt.took_ms).unwrap_or(i32::MAX))
        .bind(some(attempt.error))
        .bind(attempt.status.map(|_| super::posting::clean(attempt.answer)));
    Ok(tx.run(query).await? > 0)
}

/// Disables a webhook that has failed for so many seconds; gives since when it had, when it did so now.
pub async fn disable(tx: &mut Tx, webhook: &str, fails_s: i64) -> Result<Option<Time>, StoreError> {
    let row = sqlx::query(WEBHOOK_DISABLE).bind(webhook).bind(fails_s).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// It has not failed yet.
pub async fn revive(tx: &mut Tx, webhook: WebhookId) -> Result<(), StoreError> {
    tx.run(sqlx::query(WEBHOOK_REVIVE).bind(webhook.to_string())).await?;
    Ok(())
}

/// Whether the reader of this URL agreed that mail comes there, and whether it was asked.
pub async fn agreed(tx: &mut Tx, webhook: WebhookId, url: &str) -> Result<(bool, bool), StoreError> {
    let query = sqlx::query(WEBHOOK_AGREED).bind(webhook.to_string()).bind(url);
    let row = query.fetch_optional(tx.db()).await?;
    row.map_or(Ok((false, false)), |row| Ok((row.try_get(0)?, row.try_get(1)?)))
}

/// The reader of its URL is asked now, for this customer.
pub async fn asked(tx: &mut Tx, webhook: WebhookId, customer: &str) -> Result<(), StoreError> {
    tx.run(sqlx::query(WEBHOOK_ASKED).bind(webhook.to_string())).await?;
    tx.run(sqlx::query(ASKS).bind(customer)).await?;
    Ok(())
}

/// How many readers this customer has asked within a day.
pub async fn asked_lately(tx: &mut Tx, customer: &str) -> Result<i64, StoreError> {
    Ok(sqlx::query(ASKED_LATELY).bind(customer).fetch_one(tx.db()).await?.try_get(0)?)
}

/// The reader of its URL agrees; how many waited for that.
pub async fn confirm(tx: &mut Tx, webhook: WebhookId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(WEBHOOK_CONFIRM).bind(webhook.to_string())).await
}

/// The secrets that sign now, the newest first. Errors: one does not open with this key.
pub async fn secrets(
    tx: &mut Tx,
    webhook: impl std::fmt::Display,
    seal: &Seal,
) -> Result<Vec<Secret<String>>, StoreError> {
    let id = webhook.to_string();
    let Some(row) = sqlx::query(WEBHOOK_SECRETS).bind(&id).fetch_optional(tx.db()).await? else {
        return Ok(Vec::new());
    };
    let sealed: [Option<Vec<u8>>; 2] = [row.try_get(0)?, row.try_get(1)?];
    let open = |bytes: Vec<u8>| {
        let closed = |e| StoreError::Internal(format!("the secret of {id}: {e}"));
        let clear = seal.unseal(&webhook_place(&id), &bytes).map_err(closed)?;
        let text = std::str::from_utf8(clear.reveal()).map(str::to_owned);
        Ok(Secret::new(text.map_err(|_| StoreError::Internal(format!("the secret of {id} is no text")))?))
    };
    sealed.into_iter().flatten().map(open).collect()
}

/// Another secret; the one before signs until then.
pub async fn roll(tx: &mut Tx, webhook: WebhookId, sealed: Vec<u8>, until: Wall) -> Result<(), StoreError> {
    tx.run(sqlx::query(WEBHOOK_ROLL).bind(webhook.to_string()).bind(sealed).bind(until.0)).await?;
    Ok(())
}

/// One page of deliveries of a webhook, by the ids of their events.
pub async fn list(
    tx: &mut Tx,
    webhook: WebhookId,
    status: Option<&str>,
    paging: &Paging,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let query = sqlx::query(DELIVERIES_LIST)
        .bind(webhook.to_string())
        .bind(status)
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// What became of an event at a webhook, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, webhook: WebhookId, event: EventId) -> Result<Option<DeliveryRow>, StoreError> {
    tx.first(sqlx::query(DELIVERY_GET).bind(webhook.to_string()).bind(event.to_string())).await
}

/// A delivery begins anew; how many there were.
pub async fn again(tx: &mut Tx, webhook: WebhookId, event: EventId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(DELIVERY_AGAIN).bind(webhook.to_string()).bind(event.to_string())).await
}

/// The deliveries of a range of time that stand so begin anew, 10,000 at most; how many.
pub async fn range_again(
    tx: &mut Tx,
    webhook: WebhookId,
    (from, until): (Wall, Wall),
    status: &str,
) -> Result<u64, StoreError> {
    let query = sqlx::query(DELIVERIES_AGAIN)
        .bind(webhook.to_string())
        .bind(from.0)
        .bind(until.0)
        .bind(status)
        .bind(crate::app::webhooks::REPLAYED);
    tx.run(query).await
}

macro_rules! deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT webhook_id, event_id, customer_id, type AS kind, body, status, attempts, us(next_at) AS next_at, last_status,
                last_ms, last_error, last_answer, us(finished_at) AS finished_at, us(created_at) AS created_at
            FROM webhook_deliveries WHERE webhook_id = $1 AND ",
            $rest
        )
    };
}

macro_rules! anew {
    () => {
        "UPDATE webhook_deliveries SET status = 'waiting', attempts = 0, due_since = now(), next_at = now(), finished_at = NULL "
    };
}

statements! {
    /// Deliveries, one array per column.
    DELIVERIES_INSERT = "INSERT INTO webhook_deliveries (webhook_id, customer_id, event_id, type, body)
        SELECT n.webhook, n.customer, n.event, n.kind, n.body
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS n (webhook, customer, event, kind, body)
        ON CONFLICT DO NOTHING";
    /// Active webhooks of customers, and those of the carrier.
    WEBHOOKS_OF = "SELECT id, customer_id, url, events FROM webhooks
        WHERE (customer_id = ANY($1) OR customer_id IS NULL) AND status = 'active'";
    /// How many a customer has, or the carrier.
    WEBHOOKS_COUNT = "SELECT count(*) FROM webhooks WHERE customer_id IS NOT DISTINCT FROM $1::text";
    /// Whether there are events behind what is handed over, and deliveries that are due.
    WEBHOOKS_LOOK = "SELECT (SELECT position FROM outbox_clock) > (SELECT position FROM webhook_cursor),
        EXISTS (SELECT FROM webhooks w WHERE w.status <> 'disabled'
            AND EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.status = 'waiting' AND d.next_at <= now()
                AND (w.status = 'active' OR d.type = 'webhook.confirm')))";
    /// How far events are handed over.
    HANDED_OVER = "SELECT position FROM webhook_cursor FOR UPDATE SKIP LOCKED";
    /// They are up to here.
    HAND_OVER = "UPDATE webhook_cursor SET position = $1";
    /// Webhooks with something to send, `$1` not among them; to one that is not confirmed, its question. By chance: so none waits for ever when there are more than `$2`.
    WEBHOOKS_DUE = "SELECT w.id, w.customer_id, w.url, w.events FROM webhooks w WHERE w.status <> 'disabled' AND w.id <> ALL($1::text[])
            AND EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.status = 'waiting' AND d.next_at <= now()
                AND (w.status = 'active' OR d.type = 'webhook.confirm'))
        ORDER BY random() LIMIT $2";
    /// How many wait.
    DELIVERIES_PENDING = "SELECT count(*) FROM webhook_deliveries WHERE status = 'waiting'";
    /// Takes up to `$2` deliveries of webhook `$1` for `$3` seconds.
    DELIVERIES_CLAIM = "UPDATE webhook_deliveries d SET attempts = d.attempts + 1, next_at = now() + $3::bigint * interval '1 second'
        FROM (SELECT event_id FROM webhook_deliveries WHERE webhook_id = $1 AND status = 'waiting' AND next_at <= now()
                AND (type = 'webhook.confirm' OR (SELECT w.status FROM webhooks w WHERE w.id = $1) = 'active')
              ORDER BY next_at, event_id LIMIT $2 FOR UPDATE SKIP LOCKED) n
        WHERE d.webhook_id = $1 AND d.event_id = n.event_id
        RETURNING d.event_id, d.type AS kind, d.body, d.attempts,
            (extract(epoch FROM now() - d.due_since) * 1000)::bigint AS age_ms";
    /// What came of attempt `$3`; nothing when there was another one meanwhile.
    DELIVERY_ENDED = "UPDATE webhook_deliveries SET status = $4, next_at = now() + $5::bigint * interval '1 millisecond',
            last_status = $6, last_ms = $7, last_error = $8, last_answer = $9,
            finished_at = CASE WHEN $4 <> 'waiting' THEN now() END
        WHERE webhook_id = $1 AND event_id = $2 AND attempts = $3 AND status = 'waiting'";
    /// A delivery was taken.
    WEBHOOK_WORKS = "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
    /// None was.
    WEBHOOK_FAILS = "UPDATE webhooks SET failing_since = now() WHERE id = $1 AND failing_since IS NULL";
    /// A webhook that failed for `$2` seconds is sent nothing any more.
    WEBHOOK_DISABLE = "UPDATE webhooks SET status = 'disabled', disabled_at = now(), updated_at = now(), version = version + 1
        WHERE id = $1 AND status = 'active' AND failing_since <= now() - $2::bigint * interval '1 second' RETURNING us(failing_since)";
    /// Whether the reader of `$2` agreed, and whether it was asked.
    WEBHOOK_AGREED = "SELECT confirmed_url IS NOT DISTINCT FROM $2::text, asked_url IS NOT DISTINCT FROM $2::text FROM webhooks WHERE id = $1";
    /// Its reader is asked now.
    WEBHOOK_ASKED = "UPDATE webhooks SET asked_url = url WHERE id = $1";
    /// Its reader agrees.
    WEBHOOK_CONFIRM = "UPDATE webhooks SET status = 'active', confirmed_url = url, updated_at = now(), version = version + 1
        WHERE id = $1 AND status = 'unconfirmed'";
    /// How many readers this customer has asked within a day.
    ASKED_LATELY = "SELECT count(*) FROM mail_confirmations WHERE customer_id = $1 AND at > now() - interval '1 day'";
    /// It asks one more.
    ASKS = "INSERT INTO mail_confirmations (customer_id) VALUES ($1)";
    /// Who was asked longer ago counts no more.
    ASKED_EXPIRE = "DELETE FROM mail_confirmations WHERE at < now() - interval '2 days'";
    /// It begins anew.
    WEBHOOK_REVIVE = "UPDATE webhooks SET failing_since = NULL, disabled_at = NULL
        WHERE id = $1 AND (disabled_at IS NOT NULL OR (failing_since IS NOT NULL AND status = 'disabled'))";
    /// The secrets that sign.
    WEBHOOK_SECRETS = "SELECT secret_sealed, CASE WHEN secret_before_until > now() THEN secret_before END FROM webhooks WHERE id = $1";
    /// Another secret, `$2`; the one before signs until `$3`.
    WEBHOOK_ROLL = "UPDATE webhooks SET secret_before = secret_sealed, secret_before_until = ts($3), secret_sealed = $2,
            updated_at = now(), version = version + 1 WHERE id = $1";
    /// One page of deliveries.
    DELIVERIES_LIST = deliveries!("($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR event_id < $3)
        ORDER BY event_id DESC LIMIT $4");
    /// One delivery.
    DELIVERY_GET = deliveries!("event_id = $2");
    /// It begins anew.
    DELIVERY_AGAIN = concat!(anew!(), "WHERE webhook_id = $1 AND event_id = $2");
    /// Those of a range do.
    DELIVERIES_AGAIN = concat!(anew!(), "WHERE webhook_id = $1 AND event_id IN (
        SELECT event_id FROM webhook_deliveries WHERE webhook_id = $1 AND created_at >= ts($2) AND created_at < ts($3) AND status = $4
        ORDER BY event_id LIMIT $5)");
}
