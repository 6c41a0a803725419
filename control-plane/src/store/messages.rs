//! Rows of short messages: written by the reader of the queue, read by lists. Partitions of a day are made and dropped by two functions of
//! the schema (T-PG-01).

use std::collections::HashMap;

use serde_json::Value;
use sqlx::Row as _;
use warp_model::{MessageId, Wall};

use super::sql::statements;
use super::{StoreError, Tx};

/// Length of a day, in microseconds.
const DAY_US: i64 = 86_400_000_000;

/// The day of a moment, counted from 1970 in UTC.
pub fn day_of(at: Wall) -> i32 {
    i32::try_from(at.0.div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// Makes the partitions of a day, if they are not there. False: the day is older than `oldest`.
pub async fn make_day(tx: &mut Tx, day: i32, oldest: i32) -> Result<bool, StoreError> {
    Ok(sqlx::query(MESSAGE_DAY_MAKE).bind(day).bind(oldest).fetch_one(tx.db()).await?.try_get(0)?)
}

/// Drops the partitions of at most eight days before this one; how many days.
pub async fn drop_days(tx: &mut Tx, before: i32) -> Result<i32, StoreError> {
    Ok(sqlx::query(MESSAGE_DAYS_DROP).bind(before).fetch_one(tx.db()).await?.try_get(0)?)
}

/// What is known of a message that more is to be written of.
#[derive(Clone, Debug)]
pub struct Known {
    /// How the message stands now.
    pub status: String,
    /// The last record that is in it.
    pub through: i64,
    /// What its customer pays, in nano-units.
    pub price: Option<i64>,
    /// The currency of that.
    pub currency: String,
    /// Its price was given back.
    pub refunded: bool,
    /// The account that paid.
    pub ban: Option<String>,
    /// The customer whose message it is.
    pub customer: String,
    /// Which way it goes.
    pub direction: String,
    /// A vendor has taken it.
    pub is_carried: bool,
    /// How often it went on to another vendor.
    pub moves: i32,
}

/// The rows of these messages, locked; what is not there, or left, is not among them.
pub async fn lock(tx: &mut Tx, ids: &[String]) -> Result<HashMap<String, Known>, StoreError> {
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(HashMap::new()) };
    let rows = sqlx::query(MESSAGES_LOCK).bind(ids).bind(first).bind(last).fetch_all(tx.db()).await?;
    rows.iter()
        .map(|row| {
            let known = Known {
                status: row.try_get("status")?,
                through: row.try_get("through")?,
                price: row.try_get("price")?,
                currency: row.try_get("currency")?,
                refunded: row.try_get("refunded")?,
                ban: row.try_get("ban_id")?,
                customer: row.try_get("customer_id")?,
                direction: row.try_get("direction")?,
                is_carried: row.try_get("is_carried")?,
                moves: row.try_get("moves")?,
            };
            Ok((row.try_get("id")?, known))
        })
        .collect()
}

/// A message as it was taken, with the steps that were read with it.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The id of the message.
    pub id: String,
    /// The customer whose message it is.
    pub customer: String,
    /// The account that it goes by.
    pub account: String,
    /// Which way it goes.
    pub direction: &'static str,
    /// The address that it is from.
    pub source: String,
    /// The destination; of a number its digits.
    pub destination: String,
    /// Segments that are paid for.
    pub segments: i32,
    /// Parts of the text.
    pub parts: i32,
    /// The data_coding of its PDU.
    pub coding: i32,
    /// What its customer pays, in nano-units.
    pub price: Option<i64>,
    /// The currency of that.
    pub currency: String,
    /// The account that pays.
    pub ban: Option<String>,
    /// The posting that took it in.
    pub posting: Option<String>,
    /// The epoch of the lease that it was paid from.
    pub lease: Option<i64>,
    /// The order of its route.
    pub place: i32,
    /// When it was taken, in microseconds.
    pub at: i64,
}

/// What is written of a message beyond what it was taken with.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// How the message stands now.
    pub status: String,
    /// The error of its end.
    pub error: Option<i32>,
    /// It is not sent before, in microseconds.
    pub not_before: Option<i64>,
    /// It is not sent after, in microseconds.
    pub expires: Option<i64>,
    /// When it ended, in microseconds.
    pub finished: Option<i64>,
    /// What happened, to be added to its timeline.
    pub timeline: Vec<Value>,
    /// The bind that has it.
    pub bind: Option<String>,
    /// The vendor's id of it.
    pub carrier_id: Option<String>,
    /// What that vendor asks.
    pub cost: Option<Value>,
    /// How often it went on to another vendor.
    pub moves: i32,
    /// Its price was given back.
    pub refunded: bool,
    /// The last record that is in it.
    pub through: i64,
    /// When that was written, in microseconds.
    pub updated: i64,
}

/// Writes messages that are new.
pub async fn insert(tx: &mut Tx, all: &[(NewMessage, Progress)]) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$m:ident, $p:ident| $value:expr) => {
            all.iter().map(|($m, $p)| $value).collect::<Vec<_>>()
        };
    }
    let query = sqlx::query(MESSAGES_INSERT)
        .bind(column!(|m, _p| m.id.as_str()))
        .bind(column!(|m, _p| m.customer.as_str()))
        .bind(column!(|m, _p| m.account.as_str()))
        .bind(column!(|m, _p| m.direction))
        .bind(column!(|_m, p| p.status.as_str()))
        .bind(column!(|m, _p| m.source.as_str()))
        .bind(column!(|m, _p| m.destination.as_str()))
        .bind(column!(|m, _p| m.segments))
        .bind(column!(|m, _p| m.parts))
        .bind(column!(|m, _p| m.coding))
        .bind(column!(|_m, p| p.error))
        .bind(column!(|_m, p| p.not_before))
        .bind(column!(|_m, p| p.expires))
        .bind(column!(|_m, p| p.finished))
        .bind(column!(|_m, p| Value::from(p.timeline.clone())))
        .bind(column!(|m, _p| m.currency.as_str()))
        .bind(column!(|m, _p| m.price))
        .bind(column!(|_m, p| p.refunded))
        .bind(column!(|_m, p| p.cost.clone()))
        .bind(column!(|m, _p| m.ban.as_deref()))
        .bind(column!(|m, _p| m.posting.as_deref()))
        .bind(column!(|m, _p| m.lease))
        .bind(column!(|_m, p| p.bind.as_deref()))
        .bind(column!(|_m, p| p.carrier_id.as_deref()))
        .bind(column!(|m, _p| m.place))
        .bind(column!(|_m, p| p.moves))
        .bind(column!(|_m, p| p.through))
        .bind(column!(|m, _p| m.at))
        .bind(column!(|_m, p| p.updated));
    tx.run(query).await?;
    Ok(())
}

/// Writes what happened to messages that are there.
pub async fn update(tx: &mut Tx, all: &[(String, Progress)]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (all.iter().map(|(id, _)| id).min(), all.iter().map(|(id, _)| id).max())
    else {
        return Ok(());
    };
    macro_rules! column {
        (|$p:ident| $value:expr) => {
            all.iter().map(|(_, $p)| $value).collect::<Vec<_>>()
        };
    }
    let query = sqlx::query(MESSAGES_UPDATE)
        .bind(all.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
        .bind(column!(|p| p.status.as_str()))
        .bind(column!(|p| p.error))
        .bind(column!(|p| p.not_before))
        .bind(column!(|p| p.expires))
        .bind(column!(|p| p.finished))
        .bind(column!(|p| Value::from(p.timeline.clone())))
        .bind(column!(|p| p.bind.as_deref()))
        .bind(column!(|p| p.carrier_id.as_deref()))
        .bind(column!(|p| p.cost.clone()))
        .bind(column!(|p| p.moves))
        .bind(column!(|p| p.refunded))
        .bind(column!(|p| p.through))
        .bind(column!(|p| p.updated))
        .bind(first)
        .bind(last);
    tx.run(query).await?;
    Ok(())
}

/// The octets of one part.
#[derive(Clone, Debug)]
pub struct Content {
    /// The message whose text it is of.
    pub id: String,
    /// Which part, 1 to 255.
    pub part: i32,
    /// The customer whose text it is.
    pub customer: String,
    /// The data_coding of its PDU.
    pub coding: i32,
    /// The text without its header.
    pub octets: Vec<u8>,
}

/// Writes texts; those that are there stay.
pub async fn insert_contents(tx: &mut Tx, all: &[Content]) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(CONTENTS_INSERT)
        .bind(all.iter().map(|c| c.id.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|c| c.part).collect::<Vec<_>>())
        .bind(all.iter().map(|c| c.customer.as_str()).collect::<Vec<_>>())
        .bind(all.iter().map(|c| c.coding).collect::<Vec<_>>())
        .bind(all.iter().map(|c| c.octets.as_slice()).collect::<Vec<_>>());
    tx.run(query).await?;
    Ok(())
}

/// The parts of a text, in order: coding and octets of each.
pub async fn contents(tx: &mut Tx, id: MessageId) -> Result<Vec<(i32, Vec<u8>)>, StoreError> {
    let rows = sqlx::query(CONTENTS_OF).bind(id.to_string()).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?)
}

/// A record that cannot be posted is put aside, once, however often it is read. `position` is its number in the queue.
pub async fn put_aside(tx: &mut Tx, position: u64, reason: &str, content: &[u8]) -> Result<(), StoreError> {
    let query = sqlx::query(MESSAGE_REJECT)
        .bind(position.to_string())
        .bind(super::posting::clean(reason))
        .bind(content);
    tx.run(query).await?;
    Ok(())
}

statements! {
    /// Makes the partitions of day `$1`, unless it is older than `$2`.
    MESSAGE_DAY_MAKE = "SELECT message_day_make($1, $2)";
    /// Drops days before `$1`.
    MESSAGE_DAYS_DROP = "SELECT message_days_drop($1)";
    /// Messages `$1`, the smallest id `$2` and the largest `$3`: only the partitions between them are read.
    MESSAGES_LOCK = "SELECT id, status, through, price, currency, refunded, ban_id, customer_id, direction, carrier_id IS NOT NULL AS is_carried, moves
        FROM sms.messages WHERE id = ANY($1::text[]) AND id >= $2 AND id <= $3 FOR UPDATE";
    /// Messages: one array per column.
    MESSAGES_INSERT = "INSERT INTO sms.messages (id, customer_id, account_id, direction, status, source, destination, segments, parts, coding,
            error, not_before, expires_at, finished_at, timeline, currency, price, refunded, cost, ban_id, posting_id, lease, bind_id,
            carrier_id, place, moves, through, created_at, updated_at)
        SELECT id, customer_id, account_id, direction, status, source, destination, segments, parts, coding,
            error, ts(not_before), ts(expires_at), ts(finished_at), timeline, currency, price, refunded, cost, ban_id, posting_id, lease,
            bind_id, carrier_id, place, moves, through, ts(created_at), ts(updated_at)
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::integer[],
            $10::integer[], $11::integer[], $12::bigint[], $13::bigint[], $14::bigint[], $15::jsonb[], $16::text[], $17::bigint[],
            $18::boolean[], $19::jsonb[], $20::text[], $21::text[], $22::bigint[], $23::text[], $24::text[], $25::integer[], $26::integer[],
            $27::bigint[], $28::bigint[], $29::bigint[]) AS n (id, customer_id, account_id, direction, status, source, destination, segments,
            parts, coding, error, not_before, expires_at, finished_at, timeline, currency, price, refunded, cost, ban_id, posting_id, lease,
            bind_id, carrier_id, place, moves, through, created_at, updated_at)";
    /// What happened to messages: one array per column; then the smallest and the largest id.
    MESSAGES_UPDATE = "UPDATE sms.messages m SET status = n.status, error = coalesce(n.error, m.error),
            not_before = coalesce(ts(n.not_before), m.not_before), expires_at = coalesce(ts(n.expires_at), m.expires_at),
            finished_at = coalesce(ts(n.finished_at), m.finished_at), timeline = m.timeline || n.timeline,
            bind_id = coalesce(n.bind_id, m.bind_id), carrier_id = coalesce(n.carrier_id, m.carrier_id), cost = coalesce(n.cost, m.cost),
            moves = n.moves, refunded = m.refunded OR n.refunded, through = n.through, updated_at = ts(n.updated_at), version = m.version + 1
        FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::jsonb[], $8::text[], $9::text[],
            $10::jsonb[], $11::integer[], $12::boolean[], $13::bigint[], $14::bigint[]) AS n (id, status, error, not_before, expires_at,
            finished_at, timeline, bind_id, carrier_id, cost, moves, refunded, through, updated_at)
        WHERE m.id = n.id AND m.id >= $15 AND m.id <= $16";
    /// Texts: one array per column.
    CONTENTS_INSERT = "INSERT INTO sms.contents (id, part, customer_id, coding, octets)
        SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::bytea[]) ON CONFLICT (id, part) DO NOTHING";
    /// The text of message `$1`.
    CONTENTS_OF = "SELECT coding, octets FROM sms.contents WHERE id = $1 ORDER BY part";
    /// A record that cannot be posted; once, however often it is read.
    MESSAGE_REJECT = "INSERT INTO message_rejects (position, reason, content) SELECT $1::text, $2::text, $3::bytea
        WHERE NOT EXISTS (SELECT FROM message_rejects WHERE position = $1::text AND content = $3::bytea)";
}
