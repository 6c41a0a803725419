//! Rows of posted calls, for reading. They are written by the consumer of the event log.

use warp_model::{CallId, Wall};

use super::sql::statements;
use super::types::{Amount, Json, Time};
use super::{Query, StoreError, Tx, call_weeks};
use crate::app::paging::{Order, Paging};

crate::row! {
    /// A call as it is stored.
    pub struct CallRow {
        id: String,
        customer_id: Option<String>,
        trunk_id: Option<String>,
        direction: String,
        number_id: Option<String>,
        caller: String,
        called: String,
        caller_e164: Option<String>,
        /// The customer may not read who called.
        caller_hidden: bool,
        called_e164: Option<String>,
        jurisdiction: Option<String>,
        setup_at: Time,
        answer_at: Option<Time>,
        end_at: Time,
        pdd_ms: Option<i64>,
        duration_ms: i64,
        sip_code: i32,
        q850: Option<i32>,
        release_side: String,
        internal_code: String,
        outcome: String,
        recovered: bool,
        vendor_id: Option<String>,
        vendor_trunk_id: Option<String>,
        route_rank: Option<i32>,
        price: Option<Amount>,
        cost: Option<Amount>,
        margin: Option<Amount>,
        /// Which version of the price it is: more than 1 when it was rated again.
        price_version: i32,
        billable_s: Option<i64>,
        snapshot_id: String,
        /// Whether rating it again gave the same.
        rating_status: String,
        /// When the record became readable here.
        posted_at: Time,
    }
}

crate::row! {
    /// A record by its call.
    pub struct RecordRow {
        id: String,
        record: Json,
    }
}

/// What a list shows; each `None` is no condition.
#[derive(Clone, Debug, Default)]
pub struct CallQuery {
    /// The id of the trunk that they came in on: `trk_…`.
    pub trunk: Option<String>,
    /// The final SIP status, as the customer got it.
    pub code: Option<i32>,
    /// How the call ended, as a word.
    pub outcome: Option<&'static str>,
    /// Which way they went, as a word.
    pub direction: Option<&'static str>,
    /// The called number, E.164 with `+`.
    pub called: Option<String>,
    /// The caller's number, E.164 with `+`.
    pub caller: Option<String>,
    /// Begun at or after, microseconds.
    pub setup_from: Option<i64>,
    /// Only calls that began before this, in microseconds since 1970.
    pub setup_before: Option<i64>,
    /// The SIP Call-ID of the INVITE.
    pub sip_call_id: Option<String>,
    /// The id of the vendor that carried them: `vnd_…`.
    pub vendor: Option<String>,
    /// The id of their customer: `cus_…`.
    pub customer: Option<String>,
    /// Posted at or after, microseconds.
    pub posted_from: Option<i64>,
    /// Only calls that were posted before this, in microseconds since 1970.
    pub posted_before: Option<i64>,
}

/// By what a list of calls is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallOrder {
    /// By id, which carries the time of the INVITE.
    #[default]
    Setup,
    /// By when the record became readable.
    Posted,
}

/// One page. Ordered by posting, `after` names the last row as (posted_at, id): every row that becomes readable later comes
/// after it, so that a reader that goes on from there misses none.
pub async fn list(
    tx: &mut Tx,
    q: &CallQuery,
    order: CallOrder,
    after: Option<(Option<i64>, &str)>,
    paging: &Paging,
) -> Result<Vec<CallRow>, StoreError> {
    tx.plan_for_values().await?;
    let customers = tx.scope().customer().is_some();
    let statement = match (order, paging.order) {
        (CallOrder::Setup, Order::NewestFirst) => CALL_LIST,
        (CallOrder::Setup, Order::OldestFirst) => CALL_LIST_OLDEST,
        (CallOrder::Posted, Order::NewestFirst) => CALL_LIST_POSTED,
        (CallOrder::Posted, Order::OldestFirst) => CALL_LIST_POSTED_OLDEST,
    };
    // The newest calls are in the newest partitions: most pages are full of them, and nothing else is planned for.
    if let (CallOrder::Setup, Order::NewestFirst) = (order, paging.order) {
        let from = recent(after, crate::wall_now());
        let page = tx.all(page(statement, q, after, paging, customers, Some(from))).await?;
        if i64::try_from(page.len()).is_ok_and(|n| n >= paging.rows()) {
            return Ok(page);
        }
    }
    tx.all(page(statement, q, after, paging, customers, None)).await
}

/// The smallest id of the week that a page begins in and of the one before.
fn recent(after: Option<(Option<i64>, &str)>, now: Wall) -> String {
    let newest = after.and_then(|(_, id)| id.parse::<CallId>().ok()).map_or(now, |id| id.made_at());
    call_weeks::first_id(call_weeks::week_of(newest).saturating_sub(1))
}

fn page<'q>(
    statement: &'static str,
    q: &'q CallQuery,
    after: Option<(Option<i64>, &'q str)>,
    paging: &Paging,
    customers: bool,
    from: Option<String>,
) -> Query<'q> {
    sqlx::query(statement)
        .bind(after.map(|a| a.1))
        .bind(paging.rows())
        .bind(q.trunk.as_deref())
        .bind(q.code)
        .bind(q.outcome)
        .bind(q.called.as_deref())
        .bind(q.caller.as_deref())
        .bind(q.setup_from)
        .bind(q.setup_before)
        .bind(q.sip_call_id.as_deref())
        .bind(q.vendor.as_deref())
        .bind(q.customer.as_deref())
        .bind(q.posted_from)
        .bind(q.posted_before)
        .bind(after.and_then(|a| a.0))
        .bind(customers)
        .bind(q.direction)
        .bind(from)
}

/// The records of these calls.
pub async fn records(tx: &mut Tx, ids: Vec<&str>) -> Result<Vec<RecordRow>, StoreError> {
    tx.all(sqlx::query(CALL_RECORDS).bind(ids)).await
}

/// One, with its whole record.
pub async fn get(tx: &mut Tx, id: CallId) -> Result<Option<(CallRow, Json)>, StoreError> {
    use super::FromRow;
    let row = sqlx::query(CALL_GET).bind(id.to_string()).fetch_optional(tx.db()).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((CallRow::from_row(&row)?, RecordRow::from_row(&row)?.record)))
}

macro_rules! call_columns {
    () => {
        "cdr_id AS id, customer_id, trunk_id, direction, number_id, caller, called, caller_e164, caller_hidden, called_e164, jurisdiction,
         us(setup_at) AS setup_at, us(answer_at) AS answer_at, us(end_at) AS end_at, pdd_ms, duration_ms, sip_code, q850,
         release_side, internal_code, outcome, recovered, vendor_id, vendor_trunk_id, route_rank,
         amount_text(coalesce(now_sell, sell), currency) AS price,
         amount_text(coalesce(now_buy, buy), coalesce(now_buy_currency, buy_currency)) AS cost,
         amount_text(CASE WHEN now_version IS NULL THEN margin ELSE now_margin END, currency) AS margin,
         coalesce(now_version, 1) AS price_version, billable_s, snapshot_id,
         rating_status, us(posted_at) AS posted_at"
    };
}

/// Calls with the version of their price that counts: the highest one (RFC 0031).
macro_rules! calls_with_prices {
    () => {
        " FROM calls LEFT JOIN LATERAL (SELECT version AS now_version, sell AS now_sell, buy AS now_buy,
            buy_currency AS now_buy_currency, margin AS now_margin
          FROM call_ratings AS later WHERE later.cdr_id = calls.cdr_id ORDER BY version DESC LIMIT 1) AS now_priced ON true"
    };
}

macro_rules! call_page {
    ($after:expr, $order:expr) => {
        concat!(
            "SELECT ",
            call_columns!(),
            calls_with_prices!(),
            "
        WHERE ",
            $after,
            "
          AND ($3::text IS NULL OR trunk_id = $3) AND ($4::integer IS NULL OR sip_code = $4)
          AND ($5::text IS NULL OR outcome = $5) AND ($6::text IS NULL OR called_e164 = $6)
          AND ($7::text IS NULL OR caller_e164 = $7 AND NOT ($16::boolean AND caller_hidden)) AND ($8::bigint IS NULL OR setup_at >= ts($8))
          AND ($9::bigint IS NULL OR setup_at < ts($9)) AND ($10::text IS NULL OR sip_call_id = $10)
          AND ($11::text IS NULL OR vendor_id = $11) AND ($12::text IS NULL OR customer_id = $12)
          AND ($17::text IS NULL OR direction = $17) AND ($18::text IS NULL OR cdr_id >= $18)
          AND ($13::bigint IS NULL OR posted_at >= ts($13)) AND ($14::bigint IS NULL OR posted_at < ts($14))
        ORDER BY ",
            $order,
            " LIMIT $2"
        )
    };
}

statements! {
    /// One page of calls: `$1` before this id, `$2` rows, then the filters, each NULL when absent; `$15` is for the order of posting; `$17` is a filter too; `$16`: a customer
    /// reads, and finds no call by a caller who is hidden; `$18`: this id or later.
    CALL_LIST = call_page!("($1::text IS NULL OR cdr_id < $1) AND $15::bigint IS NULL", "cdr_id DESC");
    /// The same, oldest first: `$1` after this id.
    CALL_LIST_OLDEST = call_page!("($1::text IS NULL OR cdr_id > $1) AND $15::bigint IS NULL", "cdr_id");
    /// By posting, newest first: before the moment `$15` and the id `$1`.
    CALL_LIST_POSTED = call_page!("($1::text IS NULL OR (posted_at, cdr_id) < (ts($15::bigint), $1))", "posted_at DESC, cdr_id DESC");
    /// By posting, oldest first: after the moment `$15` and the id `$1`.
    CALL_LIST_POSTED_OLDEST = call_page!("($1::text IS NULL OR (posted_at, cdr_id) > (ts($15::bigint), $1))", "posted_at, cdr_id");
    /// The records of these calls. JSON of before is given as bytes too.
    CALL_RECORDS = "SELECT cdr_id AS id, coalesce(packed, convert_to(record::text, 'UTF8')) AS record FROM calls
        WHERE cdr_id = ANY($1)";
    /// One, with the whole record.
    CALL_GET = concat!("SELECT ", call_columns!(), ", coalesce(packed, convert_to(record::text, 'UTF8')) AS record",
        calls_with_prices!(), " WHERE cdr_id = $1");
}
