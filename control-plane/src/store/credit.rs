//! Rows of leases of credit: an account is read as a whole under the lock of its balance's row, changed by `policy::credit`, and written.

use sqlx::Row;
use warp_model::{BanId, Nanos, Wall};
use warp_policy::credit::{Account, Lease};

use super::sql::statements;
use super::types::{Amount, Time};
use super::{StoreError, Tx};

/// Who has leases: a process of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name of the node, for people.
    pub node: String,
    /// The process, of which no other one has the name.
    pub process: String,
    /// The event log that its records come by.
    pub log: String,
}

/// An account under its lock.
pub struct Locked {
    /// The account with the leases that hold money, or may get more.
    pub account: Account,
    /// What the bank's clock says.
    pub now: Wall,
    before: Vec<Lease>,
    epoch: i64,
}

crate::row! {
    /// A lease as operators see it.
    pub struct LeaseRow {
        number: i64,
        ban_id: String,
        epoch: i64,
        customer_id: String,
        node: String,
        granted: Amount,
        posted: Amount,
        held: Amount,
        expires_at: Time,
        closed: bool,
        created_at: Time,
    }
}

/// Reads an account and locks it until the transaction ends. `None`: there is none.
pub async fn lock(tx: &mut Tx, ban: BanId) -> Result<Option<Locked>, StoreError> {
    let id = ban.to_string();
    let Some(row) = sqlx::query(CREDIT_LOCK).bind(&id).fetch_optional(tx.db()).await? else {
        return Ok(None);
    };
    let (balance, credit): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let (epoch, now): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    let rows = sqlx::query(CREDIT_LEASES).bind(&id).fetch_all(tx.db()).await?;
    let lease = |r: &sqlx::postgres::PgRow| {
        Ok::<_, sqlx::Error>(Lease {
            epoch: r.try_get(0)?,
            node: r.try_get(1)?,
            granted: Nanos(r.try_get(2)?),
            posted: Nanos(r.try_get(3)?),
            expires_at: Wall(r.try_get(4)?),
            closed: r.try_get(5)?,
        })
    };
    let leases = rows.iter().map(lease).collect::<Result<Vec<_>, _>>()?;
    // Without a limit there is always enough, and no sum of it overflows.
    let credit = Nanos(credit.unwrap_or(i64::MAX / 4));
    let account = Account { balance: Nanos(balance), credit, epoch, leases: leases.clone() };
    Ok(Some(Locked { account, now: Wall(now), before: leases, epoch }))
}

/// Writes what has changed. `holder` has the new leases, whose node is its process.
pub async fn write(
    tx: &mut Tx,
    ban: BanId,
    locked: &Locked,
    holder: Option<&Holder>,
) -> Result<(), StoreError> {
    let id = ban.to_string();
    if locked.account.epoch != locked.epoch {
        tx.run(sqlx::query(CREDIT_EPOCH).bind(&id).bind(locked.account.epoch)).await?;
    }
    for lease in &locked.account.leases {
        if locked.before.contains(lease) {
            continue;
        }
        let holder_of = holder.map(|h| (h.node.as_str(), h.process.as_str(), h.log.as_str()));
        let (node, process, log) = holder_of.unwrap_or_default();
        let query = sqlx::query(LEASE_WRITE)
            .bind(&id)
            .bind(lease.epoch)
            .bind(node)
            .bind(process)
            .bind(log)
            .bind(lease.granted.0)
            .bind(lease.expires_at.0)
            .bind(lease.closed);
        tx.run(query).await?;
    }
    Ok(())
}

/// The leases, as account and epoch, of processes that had this event log before `process` did, that have ended and still hold money. One
/// that its process had closed is among them: what it said its calls had cost may never be posted, when it died before it wrote that down.
pub async fn lost(tx: &mut Tx, holder: &Holder) -> Result<Vec<(String, i64)>, StoreError> {
    let query = sqlx::query(LEASES_LOST).bind(&holder.log).bind(&holder.process);
    let rows = query.fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?)
}

/// Leases that hold money or may get more, of one account or of all, newest first, before a number.
pub async fn list(
    tx: &mut Tx,
    ban: Option<BanId>,
    before: Option<i64>,
    rows: i64,
) -> Result<Vec<LeaseRow>, StoreError> {
    tx.all(sqlx::query(LEASES_LIST).bind(ban.map(|b| b.to_string())).bind(before).bind(rows)).await
}

/// The lease with this number, however it stands.
pub async fn get(tx: &mut Tx, number: i64) -> Result<Option<LeaseRow>, StoreError> {
    tx.first(sqlx::query(LEASE_GET).bind(number)).await
}

macro_rules! leases {
    ($rest:literal) => {
        concat!(
            "SELECT l.number, l.ban_id, l.epoch, l.customer_id, l.node, amount_text(l.granted, b.currency) AS granted,
                amount_text(l.posted, b.currency) AS posted,
                amount_text(greatest(l.granted - l.posted, 0), b.currency) AS held, us(l.expires_at) AS expires_at,
                l.closed, us(l.created_at) AS created_at
            FROM credit_leases l JOIN bans b ON b.id = l.ban_id WHERE ",
            $rest
        )
    };
}

statements! {
    /// An account, locked: balance, how far it may owe, last epoch, and the clock.
    CREDIT_LOCK = "SELECT a.balance, CASE WHEN b.mode = 'prepaid' THEN 0 ELSE b.credit_limit END, a.epoch, us(clock_timestamp())
        FROM ban_balances a JOIN bans b ON b.id = a.ban_id WHERE a.ban_id = $1 FOR UPDATE OF a";
    /// Its leases that hold money, or may get more.
    CREDIT_LEASES = "SELECT epoch, process, granted, posted, us(expires_at), closed FROM credit_leases
        WHERE ban_id = $1 AND (NOT closed OR granted > posted) ORDER BY epoch";
    /// A lease was given.
    CREDIT_EPOCH = "UPDATE ban_balances SET epoch = $2 WHERE ban_id = $1";
    /// A lease, new or changed.
    LEASE_WRITE = "INSERT INTO credit_leases (ban_id, epoch, customer_id, node, process, log, granted, expires_at, closed)
        SELECT b.id, $2, b.customer_id, $3, $4, $5, $6, ts($7), $8 FROM bans b WHERE b.id = $1
        ON CONFLICT (ban_id, epoch) DO UPDATE SET granted = excluded.granted, expires_at = excluded.expires_at, closed = excluded.closed";
    /// Leases of processes that are gone.
    LEASES_LOST = "SELECT ban_id, epoch FROM credit_leases
        WHERE log = $1 AND process <> $2 AND (NOT closed OR granted > posted) AND expires_at <= clock_timestamp()
        ORDER BY ban_id, epoch LIMIT 1000";
    /// One page: `$1` account or NULL.
    LEASES_LIST = leases!("(l.granted > l.posted OR NOT l.closed) AND ($1::text IS NULL OR l.ban_id = $1)
        AND ($2::bigint IS NULL OR l.number < $2) ORDER BY l.number DESC LIMIT $3");
    /// The lease with this number.
    LEASE_GET = leases!("l.number = $1");
}
