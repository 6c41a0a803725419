//! Rows that the reader of the event log writes: calls, each once, its cursor, and what cannot be posted; and the price check of
//! calls that were posted before their snapshot was at hand.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::Row;
use warp_model::cdr::{CallRecord, ReleaseSide};
use warp_model::{CallId, PostingId, Wall};

use super::outbox::tell;
use super::sql::statements;
use super::types::Amount;
use super::{StoreError, Tx};
use crate::app::events::catalogue::{LimitReached, ReachedLimit};

/// A record on its way into the ledger.
pub struct Posting<'a> {
    /// The record, for its columns.
    pub record: CallRecord,
    /// The whole of it, packed.
    pub packed: Cow<'a, [u8]>,
    /// What rating it again said: `none`, `confirmed`, `mismatch` or `unchecked`.
    pub rating_status: &'static str,
    /// The account that pays for it, and the posting of this batch that takes it in; `None`: it costs nothing, or nobody is there to pay.
    pub paid_by: Option<(String, PostingId)>,
}

/// What became of a record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The record was not there before.
    New,
    /// It took the place of one whose end was reconstructed.
    Instead(Before),
}

/// What was posted of a call whose end was reconstructed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// What it had cost, in nano-units.
    pub cost: i64,
    /// The account that had paid for it, and its currency; `None`: nobody had.
    pub paid_by: Option<(String, String)>,
}

/// What the calls of a batch refer to. What is gone is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Trunks: the account that pays, and the customer.
    pub trunks: HashMap<String, (String, String)>,
    /// Accounts: the customer whose each is.
    pub bans: HashMap<String, String>,
    /// Customers: the first of their accounts.
    pub customers: HashMap<String, String>,
    /// Customers that have an active webhook.
    pub webhooks: HashSet<String>,
    /// Whether an active webhook of the carrier asks for calls.
    pub carriers_webhook: bool,
}

/// Asks for trunks, accounts and customers at once, and which of the customers have webhooks.
pub async fn known(
    tx: &mut Tx,
    trunks: Vec<String>,
    bans: Vec<String>,
    customers: Vec<String>,
) -> Result<Known, StoreError> {
    let mut known = Known::default();
    let rows = sqlx::query(BATCH_KNOWN).bind(trunks).bind(bans).bind(customers).fetch_all(tx.db()).await?;
    for row in &rows {
        let (kind, id): (&str, String) = (row.try_get(0)?, row.try_get(1)?);
        match kind {
            "trunk" => drop(known.trunks.insert(id, (row.try_get(2)?, row.try_get(3)?))),
            "ban" => drop(known.bans.insert(id, row.try_get(3)?)),
            "customer" => drop(known.customers.insert(id, row.try_get(2)?)),
            "carrier" => known.carriers_webhook = true,
            _ => drop(known.webhooks.insert(id)),
        }
    }
    Ok(known)
}

/// What is written at the end of a batch: what the calls of each lease (account and epoch) have cost, which snapshots calls refer to
/// from now on, and where the consumer stands in the log.
pub async fn end(
    tx: &mut Tx,
    leases: &BTreeMap<(String, i64), i64>,
    snapshots: &[String],
    (consumer, log, position): (&str, &str, &str),
) -> Result<(), StoreError> {
    let query = sqlx::query(BATCH_END)
        .bind(consumer)
        .bind(log)
        .bind(position)
        .bind(leases.keys().map(|(ban, _)| ban.as_str()).collect::<Vec<_>>())
        .bind(leases.keys().map(|(_, epoch)| *epoch).collect::<Vec<_>>())
        .bind(leases.values().copied().collect::<Vec<_>>())
        .bind(snapshots);
    tx.run(query).await?;
    Ok(())
}

/// Writes calls in one statement; those that were there already are not among what it gives.
pub async fn insert(tx: &mut Tx, batch: &[&Posting<'_>]) -> Result<HashMap<CallId, Written>, StoreError> {
    if batch.is_empty() {
        return Ok(HashMap::new());
    }
    macro_rules! column {
        (|$r:ident| $value:expr) => {
            batch.iter().map(|Posting { record: $r, .. }| $value).collect::<Vec<_>>()
        };
    }
    let us = |w: Option<Wall>| w.map(|w| w.0);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let ids = batch.iter().map(|p| p.record.cdr_id);
    let query = sqlx::query(CALLS_INSERT)
        .bind(column!(|r| r.cdr_id.to_string()))
        .bind(column!(|r| r.customer_id.map(|x| x.to_string())))
        .bind(column!(|r| r.trunk_id.map(|x| x.to_string())))
        .bind(column!(|r| clean(&r.sip_call_id)))
        .bind(column!(|r| r.ingress_ip.to_string()))
        .bind(column!(|r| clean(&r.caller)))
        .bind(column!(|r| clean(&r.called)))
        .bind(column!(|r| r.caller_e164.as_deref().map(clean)))
        .bind(column!(|r| r.called_e164.as_deref().map(clean)))
        .bind(column!(|r| r.jurisdiction.as_deref().map(clean)))
        .bind(column!(|r| r.setup_at.0))
        .bind(column!(|r| us(r.progress_at)))
        .bind(column!(|r| us(r.answer_at)))
        .bind(column!(|r| r.end_at.0))
        .bind(column!(|r| r.pdd_ms.map(signed)))
        .bind(column!(|r| signed(r.duration_ms)))
        .bind(column!(|r| i32::from(r.sip_code)))
        .bind(column!(|r| r.q850.map(i32::from)))
        .bind(column!(|r| match r.release_side {
            ReleaseSide::Caller => "caller",
            ReleaseSide::Callee => "callee",
            ReleaseSide::System => "system",
        }))
        .bind(column!(|r| clean(&r.internal_code)))
        .bind(column!(|r| r.outcome.as_str()))
        .bind(column!(|r| r.recovered))
        .bind(column!(|r| clean(&r.snapshot_id)))
        .bind(column!(|r| r.route_rank.map(i32::from)))
        .bind(column!(|r| r.vendor_id.map(|x| x.to_string())))
        .bind(column!(|r| r.vendor_trunk_id.map(|x| x.to_string())))
        .bind(column!(|r| r.rating.as_ref().map(|x| x.sell.currency.as_str().to_owned())))
        .bind(column!(|r| r.rating.as_ref().map(|x| x.sell.charge.0)))
        .bind(column!(|r| r.rating.as_ref().map(|x| x.buy.currency.as_str().to_owned())))
        .bind(column!(|r| r.rating.as_ref().map(|x| x.buy.charge.0)))
        .bind(column!(|r| r.rating.as_ref().and_then(|x| x.margin).map(|m| m.0)))
        .bind(column!(|r| r.rating.as_ref().map(|x| signed(x.sell.billable_s))))
        .bind(batch.iter().map(|p| p.packed.as_ref()).collect::<Vec<&[u8]>>())
        .bind(batch.iter().map(|p| p.rating_status).collect::<Vec<_>>())
        .bind(batch.iter().map(|p| p.paid_by.as_ref().map(|(ban, _)| ban.as_str())).collect::<Vec<_>>())
        .bind(batch.iter().map(|p| p.paid_by.as_ref().map(|(_, id)| id.to_string())).collect::<Vec<_>>())
        .bind(column!(|r| r.direction.as_str()))
        .bind(column!(|r| r.number_id.map(|n| n.to_string())))
        .bind(column!(|r| r.hides_caller()))
        .bind(ids.clone().min().map(|id| id.to_string()))
        .bind(ids.max().map(|id| id.to_string()));
    let rows = query.fetch_all(tx.db()).await?;
    rows.iter()
        .map(|row| {
            let (id, new): (&str, bool) = (row.try_get(0)?, row.try_get(1)?);
            let id: CallId =
                id.parse().map_err(|_| StoreError::Internal(format!("{id} is no id of a call")))?;
            if new {
                return Ok((id, Written::New));
            }
            // What it had cost is read by the same statement. Not there: the row came while the statement ran; the batch is tried again.
            let cost: i64 = row.try_get::<Option<i64>, _>(2)?.ok_or(StoreError::Serialization)?;
            let (ban, currency): (Option<String>, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
            Ok((id, Written::Instead(Before { cost, paid_by: ban.zip(currency) })))
        })
        .collect()
}

crate::row! {
    /// A trunk whose spend of the day was just refused more, and the account that pays for it.
    pub struct SpentRow {
        trunk_id: String,
        customer_id: String,
        ban_id: String,
        mode: String,
        balance: Amount,
        credit_limit: Option<Amount>,
        daily_spend: Option<Amount>,
    }
}

/// Tells of the spend limits that refused calls of a batch, each once for a trunk and a day. Most batches have none.
pub async fn tell_of_spend(
    tx: &mut Tx,
    batch: &[&Posting<'_>],
    written: &HashMap<CallId, Written>,
) -> Result<(), StoreError> {
    let is_new = |r: &CallRecord| written.get(&r.cdr_id) == Some(&Written::New);
    let refused = batch.iter().map(|p| &p.record).filter(|r| is_new(r) && r.internal_code == DAILY_SPEND);
    let of: Vec<(String, i64)> =
        refused.filter_map(|r| Some((r.trunk_id?.to_string(), r.setup_at.0))).collect();
    if of.is_empty() {
        return Ok(());
    }
    let (trunks, at): (Vec<String>, Vec<i64>) = of.into_iter().unzip();
    let rows: Vec<SpentRow> = tx.all(sqlx::query(SPEND_TELL).bind(trunks).bind(at)).await?;
    for row in rows {
        let customer = row.customer_id.parse().ok();
        let reached = LimitReached {
            limit: ReachedLimit::DailySpend.as_str().to_owned().into(),
            ban_id: row.ban_id,
            mode: row.mode.into(),
            balance: row.balance,
            credit_limit: row.credit_limit,
            trunk_id: Some(row.trunk_id),
            daily_spend: row.daily_spend,
        };
        tell(tx, customer, reached).await?;
    }
    Ok(())
}

/// The refusal of policy, as records have it.
const DAILY_SPEND: &str = "daily_spend";

/// PostgreSQL's text knows no zero character; a peer may have sent one.
pub fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A record that cannot be posted is put aside, once, however often it is read. `offset` is its number in the event log.
pub async fn put_aside(tx: &mut Tx, offset: u64, reason: &str, content: &[u8]) -> Result<(), StoreError> {
    let query = sqlx::query(REJECT_INSERT).bind(offset.to_string()).bind(clean(reason)).bind(content);
    tx.run(query).await?;
    Ok(())
}

/// Where a consumer stands in a log; `None` = it has not begun there.
pub async fn cursor(tx: &mut Tx, consumer: &str, log: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query(CURSOR_GET).bind(consumer).bind(log).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// Where a consumer stood in some log of a topic, as versions before kept it; the log knows whether it is its own.
pub async fn cursor_of_before(
    tx: &mut Tx,
    consumer: &str,
    topic: &'static str,
) -> Result<Option<String>, StoreError> {
    let row = sqlx::query(CURSOR_OF_BEFORE).bind(consumer).bind(topic).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// Snapshots of calls that were not rated again when they were posted, but for those in `known`; 100 at most.
pub async fn unchecked_snapshots(tx: &mut Tx, known: Vec<&str>) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(UNCHECKED_SNAPSHOTS).bind(known).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
}

/// Such calls of one snapshot, with their records; 200 at most.
pub async fn unchecked(tx: &mut Tx, snapshot: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let rows = sqlx::query(UNCHECKED_CALLS).bind(snapshot).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?)
}

/// What rating calls again said: their ids, and a word for each.
pub async fn rating_checked(tx: &mut Tx, ids: &[String], words: Vec<&str>) -> Result<(), StoreError> {
    tx.run(sqlx::query(RATING_CHECKED).bind(ids).bind(words)).await?;
    Ok(())
}

statements! {
    /// CDRs, each exactly once: one array per column. The id of each row that was written comes back, and whether it is new:
    /// a record with a real end takes the place of one whose end was reconstructed, as long as that is not billed. `$40` and `$41` are
    /// the smallest and the largest id: only the partitions between them are read.
    CALLS_INSERT = "WITH before AS (
            SELECT cdr_id, coalesce(sell, 0) AS sell, ban_id, currency FROM calls
            WHERE cdr_id = ANY($1::text[]) AND recovered AND cdr_id >= $40 AND cdr_id <= $41)
        INSERT INTO calls (
            cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, caller_e164, called_e164,
            jurisdiction, setup_at, progress_at, answer_at, end_at, pdd_ms, duration_ms, sip_code, q850,
            release_side, internal_code, outcome, recovered, snapshot_id, route_rank, vendor_id, vendor_trunk_id,
            currency, sell, buy_currency, buy, margin, billable_s, packed, rating_status, ban_id, posting_id, direction, number_id,
            caller_hidden)
        SELECT
            cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, caller_e164, called_e164,
            jurisdiction, ts(setup_at), ts(progress_at), ts(answer_at), ts(end_at), pdd_ms, duration_ms, sip_code,
            q850, release_side, internal_code, outcome, recovered, snapshot_id, route_rank, vendor_id,
            vendor_trunk_id, currency, sell, buy_currency, buy, margin, billable_s, packed, rating_status, ban_id, posting_id, direction, number_id,
            caller_hidden
        FROM unnest(
                $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
                $16::bigint[], $17::integer[], $18::integer[], $19::text[], $20::text[], $21::text[], $22::boolean[],
                $23::text[], $24::integer[], $25::text[], $26::text[], $27::text[], $28::bigint[], $29::text[],
                $30::bigint[], $31::bigint[], $32::bigint[], $33::bytea[], $34::text[], $35::text[], $36::text[], $37::text[], $38::text[],
                $39::boolean[]) AS n (
            cdr_id, customer_id, trunk_id, sip_call_id, ingress_ip, caller, called, caller_e164, called_e164,
            jurisdiction, setup_at, progress_at, answer_at, end_at, pdd_ms, duration_ms, sip_code, q850,
            release_side, internal_code, outcome, recovered, snapshot_id, route_rank, vendor_id, vendor_trunk_id,
            currency, sell, buy_currency, buy, margin, billable_s, packed, rating_status, ban_id, posting_id, direction, number_id,
            caller_hidden)
        ON CONFLICT (cdr_id) DO UPDATE SET
            customer_id = excluded.customer_id, trunk_id = excluded.trunk_id, sip_call_id = excluded.sip_call_id,
            ingress_ip = excluded.ingress_ip, caller = excluded.caller, called = excluded.called,
            caller_e164 = excluded.caller_e164, called_e164 = excluded.called_e164,
            jurisdiction = excluded.jurisdiction, setup_at = excluded.setup_at, progress_at = excluded.progress_at,
            answer_at = excluded.answer_at, end_at = excluded.end_at, pdd_ms = excluded.pdd_ms,
            duration_ms = excluded.duration_ms, sip_code = excluded.sip_code, q850 = excluded.q850,
            release_side = excluded.release_side, internal_code = excluded.internal_code, outcome = excluded.outcome,
            recovered = excluded.recovered, snapshot_id = excluded.snapshot_id, route_rank = excluded.route_rank,
            vendor_id = excluded.vendor_id, vendor_trunk_id = excluded.vendor_trunk_id, currency = excluded.currency,
            sell = excluded.sell, buy_currency = excluded.buy_currency, buy = excluded.buy, margin = excluded.margin,
            billable_s = excluded.billable_s, packed = excluded.packed, rating_status = excluded.rating_status,
            direction = excluded.direction, number_id = excluded.number_id, caller_hidden = excluded.caller_hidden,
            ban_id = excluded.ban_id, posting_id = excluded.posting_id, record = NULL, posted_at = excluded.posted_at,
            replaced = true
        WHERE calls.recovered AND NOT excluded.recovered AND calls.billed_at IS NULL
        RETURNING cdr_id, NOT replaced, (SELECT b.sell FROM before b WHERE b.cdr_id = calls.cdr_id),
            (SELECT b.ban_id FROM before b WHERE b.cdr_id = calls.cdr_id), (SELECT b.currency FROM before b WHERE b.cdr_id = calls.cdr_id)";
    /// Snapshots of calls that were not rated again when they were posted.
    UNCHECKED_SNAPSHOTS = "SELECT DISTINCT snapshot_id FROM calls WHERE rating_status = 'unchecked' AND snapshot_id <> ALL($1)
        LIMIT 100";
    /// Such calls of one snapshot.
    UNCHECKED_CALLS = "SELECT cdr_id AS id, coalesce(packed, convert_to(record::text, 'UTF8')) AS record FROM calls
        WHERE rating_status = 'unchecked' AND snapshot_id = $1 LIMIT 200";
    /// What rating them again said; one array per column.
    RATING_CHECKED = "UPDATE calls SET rating_status = n.verdict FROM unnest($1::text[], $2::text[]) AS n (id, verdict)
        WHERE calls.cdr_id = n.id AND calls.rating_status = 'unchecked'";
    /// Trunks `$1`, accounts `$2` and customers `$3` of a batch.
    BATCH_KNOWN = "SELECT 'trunk', id, ban_id, customer_id FROM trunks WHERE id = ANY($1::text[])
        UNION ALL SELECT 'ban', id, id, customer_id FROM bans WHERE id = ANY($2::text[])
        UNION ALL SELECT 'customer', customer_id, min(id), customer_id FROM bans WHERE customer_id = ANY($3::text[]) GROUP BY customer_id
        UNION ALL SELECT 'webhook', customer_id, NULL, customer_id FROM webhooks
            WHERE customer_id = ANY($3::text[]) AND status = 'active'
        UNION ALL (SELECT 'carrier', id, NULL, NULL FROM webhooks
            WHERE customer_id IS NULL AND status = 'active' AND events && ARRAY['call.completed', 'call.failed'] LIMIT 1)";
    /// The end of a batch, in one round trip: what calls of leases have cost (`$4` to `$6`, one array per column), snapshots that calls
    /// refer to now (`$7`), and where consumer `$1` stands in log `$2`.
    BATCH_END = "WITH leases AS (
            UPDATE credit_leases l SET posted = l.posted + n.cost FROM unnest($4::text[], $5::bigint[], $6::bigint[]) AS n (ban_id, epoch, cost)
            WHERE l.ban_id = n.ban_id AND l.epoch = n.epoch),
        used AS (UPDATE snapshots SET used = true WHERE id = ANY($7::text[]) AND NOT used)
        INSERT INTO log_cursors (consumer, log, position) VALUES ($1, $2, $3)
        ON CONFLICT (consumer, log) DO UPDATE SET position = excluded.position, updated_at = now()";
    /// Trunks `$1` whose calls of the times `$2` the spend of a day refused: those of which it was not told yet.
    SPEND_TELL = "WITH told AS (
            INSERT INTO spend_limits_told (trunk_id, customer_id, day)
            SELECT DISTINCT t.id, t.customer_id, ((ts(n.at) AT TIME ZONE 'UTC') + make_interval(mins => c.utc_offset_min))::date
            FROM unnest($1::text[], $2::bigint[]) AS n (trunk_id, at) JOIN trunks t ON t.id = n.trunk_id
                JOIN customers c ON c.id = t.customer_id
            ON CONFLICT DO NOTHING RETURNING trunk_id),
        gone AS (DELETE FROM spend_limits_told WHERE day < (now() AT TIME ZONE 'UTC')::date - 8)
        SELECT t.id AS trunk_id, t.customer_id, b.id AS ban_id, b.mode, amount_text(coalesce(a.balance, 0), b.currency) AS balance,
            amount_text(b.credit_limit, b.currency) AS credit_limit,
            amount_text(least(t.daily_spend, t.own_daily_spend, c.daily_spend), b.currency) AS daily_spend
        FROM told JOIN trunks t ON t.id = told.trunk_id JOIN customers c ON c.id = t.customer_id JOIN bans b ON b.id = t.ban_id
            LEFT JOIN ban_balances a ON a.ban_id = b.id";
    /// A record that cannot be posted; once, however often it is read.
    REJECT_INSERT = "INSERT INTO cdr_rejects (position, reason, content) SELECT $1::text, $2::text, $3::bytea
        WHERE NOT EXISTS (SELECT FROM cdr_rejects WHERE position = $1::text AND content = $3::bytea)";
    /// Where a consumer stands in a log.
    CURSOR_GET = "SELECT position FROM log_cursors WHERE consumer = $1 AND log = $2";
    /// Where it stood when there was one cursor per consumer.
    CURSOR_OF_BEFORE = "SELECT position FROM event_cursors WHERE consumer = $1 AND topic = $2";
}
