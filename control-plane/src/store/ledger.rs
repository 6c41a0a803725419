//! Rows of the ledger: postings with their two lines, and balances. Nothing here changes or deletes one (grants and a trigger say the
//! same); the triggers of the schema refuse what is not balanced and keep the balances.

use sqlx::Row;
use warp_model::{BanId, CustomerId, Nanos, PostingId};

use super::outbox::tell;
use super::sql::statements;
use super::types::{Amount, Time};
use super::{StoreError, Tx};
use crate::app::events::catalogue::{BalanceLow, LimitReached, ReachedLimit};
use crate::app::paging::Paging;

crate::row! {
    /// A posting as it is stored.
    pub struct PostingRow {
        id: String,
        customer_id: String,
        ban_id: String,
        kind: String,
        amount: Amount,
        /// How many calls a usage posting took in.
        calls: Option<i32>,
        reason: String,
        /// The posting that this one takes back.
        reverses: Option<String>,
        /// The posting that took this one back.
        reversed_by: Option<String>,
        actor: String,
        created_at: Time,
    }
}

crate::row! {
    /// What an account has, and how far it may go.
    pub struct BalanceRow {
        ban_id: String,
        customer_id: String,
        mode: String,
        balance: Amount,
        held: Amount,
        credit_limit: Option<Amount>,
        free: Option<Amount>,
    }
}

/// A posting to write. Its second line is the negative of the first.
pub struct NewPosting<'a> {
    /// The id of the posting.
    pub id: PostingId,
    /// The customer whose account it is.
    pub customer: CustomerId,
    /// The account, by its id.
    pub ban: &'a str,
    /// The kind as a word: `usage`, `top_up`, `adjustment`, `reversal` or `rerating`.
    pub kind: &'static str,
    /// Made once per account.
    pub key: &'a str,
    /// The ISO 4217 code; that of the account, else the transaction is refused at its end.
    pub currency: &'a str,
    /// What it does to the balance, in nano-units.
    pub amount: Nanos,
    /// The account of the other line: `revenue`, `cash` or `adjustments`.
    pub against: &'a str,
    /// How many calls it takes in, of usage and of rating again only.
    pub calls: Option<i32>,
    /// The reason of it, for people.
    pub reason: &'a str,
    /// The posting that it takes back.
    pub reverses: Option<PostingId>,
    /// Who made it: a key, or `system`.
    pub actor: &'a str,
}

crate::row! {
    /// An account that has just crossed a line, and now stands so.
    pub struct CrossingRow {
        ban_id: String,
        customer_id: String,
        mode: String,
        balance: Amount,
        low_balance: Option<Amount>,
        credit_limit: Option<Amount>,
        /// It fell below its line.
        became_low: bool,
        /// It has nothing left.
        became_spent: bool,
    }
}

/// Tells of the lines that accounts have crossed since this was asked last: by the rows of their balances, which the transaction holds or takes.
pub async fn tell_of_lines(tx: &mut Tx, bans: &[&str]) -> Result<(), StoreError> {
    let crossed: Vec<CrossingRow> = tx.all(sqlx::query(BALANCE_CROSS).bind(bans)).await?;
    for row in crossed {
        let customer = row.customer_id.parse().ok();
        let (ban_id, balance, credit_limit) = (row.ban_id, row.balance, row.credit_limit);
        if let Some(low_balance) = row.low_balance.filter(|_| row.became_low) {
            let mode = row.mode.clone().into();
            tell(tx, customer, BalanceLow { ban_id: ban_id.clone(), mode, balance, low_balance }).await?;
        }
        if row.became_spent {
            let limit = ReachedLimit::Credit.as_str().to_owned().into();
            let mode = row.mode.into();
            let (trunk_id, daily_spend) = (None, None);
            let reached = LimitReached { limit, ban_id, mode, balance, credit_limit, trunk_id, daily_spend };
            tell(tx, customer, reached).await?;
        }
    }
    Ok(())
}

/// Writes a posting and its lines, and tells of the lines that the balance has crossed by it. False: the account has a posting of this key already, and nothing was written.
pub async fn post(tx: &mut Tx, posting: &NewPosting<'_>) -> Result<bool, StoreError> {
    Ok(post_all(tx, std::slice::from_ref(posting)).await? == 1)
}

/// The same of several, in two statements however many they are; gives how many were written. Balances change in the order that is given:
/// whoever posts to several accounts at once gives them in the order of their ids, so that two that do so do not wait for each other.
pub async fn post_all(tx: &mut Tx, postings: &[NewPosting<'_>]) -> Result<usize, StoreError> {
    if postings.is_empty() {
        return Ok(0);
    }
    macro_rules! column {
        (|$p:ident| $value:expr) => {
            postings.iter().map(|$p| $value).collect::<Vec<_>>()
        };
    }
    let query = sqlx::query(LEDGER_POST)
        .bind(column!(|p| p.id.to_string()))
        .bind(column!(|p| p.customer.to_string()))
        .bind(column!(|p| p.ban))
        .bind(column!(|p| p.kind))
        .bind(column!(|p| p.key))
        .bind(column!(|p| p.currency))
        .bind(column!(|p| p.amount.0))
        .bind(column!(|p| p.calls))
        .bind(column!(|p| p.reason))
        .bind(column!(|p| p.reverses.map(|id| id.to_string())))
        .bind(column!(|p| p.actor))
        .bind(column!(|p| p.against));
    // Two lines each.
    let posted = usize::try_from(tx.run(query).await? / 2).unwrap_or(usize::MAX);
    if posted > 0 {
        tell_of_lines(tx, &column!(|p| p.ban)).await?;
    }
    Ok(posted)
}

/// One page of postings, of one account or of one customer or of all.
pub async fn list(
    tx: &mut Tx,
    ban: Option<BanId>,
    customer: Option<CustomerId>,
    paging: &Paging,
) -> Result<Vec<PostingRow>, StoreError> {
    let query = sqlx::query(paging.statement(LEDGER_LIST, LEDGER_LIST_OLDEST))
        .bind(ban.map(|b| b.to_string()))
        .bind(customer.map(|c| c.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// The posting with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: PostingId) -> Result<Option<PostingRow>, StoreError> {
    tx.first(sqlx::query(LEDGER_GET).bind(id.to_string())).await
}

/// Which account the other line of a posting is on.
pub async fn against(tx: &mut Tx, id: PostingId) -> Result<Option<String>, StoreError> {
    let row = sqlx::query(LEDGER_AGAINST).bind(id.to_string()).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// The balance of an account, or `None` when the scope sees none.
pub async fn balance(tx: &mut Tx, ban: BanId) -> Result<Option<BalanceRow>, StoreError> {
    tx.first(sqlx::query(BALANCE_GET).bind(ban.to_string())).await
}

macro_rules! postings {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.customer_id, p.ban_id, p.kind, amount_text(p.amount, p.currency) AS amount, p.calls,
                p.reason, p.reverses, r.id AS reversed_by, p.actor, us(p.created_at) AS created_at
            FROM ledger_postings p LEFT JOIN ledger_postings r ON r.reverses = p.id WHERE ",
            $rest
        )
    };
}

statements! {
    /// Postings with their lines, one array per column, but for those whose account has one of this key: `$12` is the account of the other line.
    LEDGER_POST = "WITH n AS (
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::integer[],
                $9::text[], $10::text[], $11::text[], $12::text[])
                AS n (id, customer_id, ban_id, kind, key, currency, amount, calls, reason, reverses, actor, against)),
        posting AS (
            INSERT INTO ledger_postings (id, customer_id, ban_id, kind, key, currency, amount, calls, reason, reverses, actor)
            SELECT id, customer_id, ban_id, kind, key, currency, amount, calls, reason, reverses, actor FROM n
            ON CONFLICT (ban_id, key) DO NOTHING
            RETURNING id, customer_id, ban_id, amount)
        INSERT INTO ledger_lines (posting_id, customer_id, ban_id, account, amount)
        SELECT id, customer_id, ban_id, 'balance', amount FROM posting
        UNION ALL SELECT p.id, p.customer_id, p.ban_id, n.against, -p.amount FROM posting p JOIN n USING (id)";
    /// One page: `$1` account or NULL, `$2` customer or NULL.
    LEDGER_LIST = postings!("($1::text IS NULL OR p.ban_id = $1) AND ($2::text IS NULL OR p.customer_id = $2)
        AND ($3::text IS NULL OR p.id < $3) ORDER BY p.id DESC LIMIT $4");
    /// The same, oldest first.
    LEDGER_LIST_OLDEST = postings!("($1::text IS NULL OR p.ban_id = $1) AND ($2::text IS NULL OR p.customer_id = $2)
        AND ($3::text IS NULL OR p.id > $3) ORDER BY p.id LIMIT $4");
    /// The posting with this id.
    LEDGER_GET = postings!("p.id = $1");
    /// The account of its other line.
    LEDGER_AGAINST = "SELECT account FROM ledger_lines WHERE posting_id = $1 AND account <> 'balance'";
    /// Accounts `$1` are where their balances say since then; a row for each that has crossed a line.
    BALANCE_CROSS = "UPDATE ban_balances a SET is_low = n.low, is_spent = n.spent FROM (
            SELECT x.ban_id, x.is_low, x.is_spent, x.balance, b.customer_id, b.mode, b.currency, b.low_balance, b.credit_limit,
                coalesce(x.balance < b.low_balance, false) AS low,
                coalesce(CASE WHEN b.mode = 'prepaid' THEN x.balance <= 0 ELSE x.balance + b.credit_limit <= 0 END, false) AS spent
            FROM ban_balances x JOIN bans b ON b.id = x.ban_id WHERE x.ban_id = ANY($1::text[]) ORDER BY x.ban_id FOR UPDATE OF x) n
        WHERE a.ban_id = n.ban_id AND (n.low, n.spent) IS DISTINCT FROM (n.is_low, n.is_spent)
        RETURNING n.ban_id, n.customer_id, n.mode, amount_text(n.balance, n.currency) AS balance,
            amount_text(n.low_balance, n.currency) AS low_balance, amount_text(n.credit_limit, n.currency) AS credit_limit,
            n.low AND NOT n.is_low AS became_low, n.spent AND NOT n.is_spent AS became_spent";
    /// The balance of an account.
    BALANCE_GET = "SELECT b.id AS ban_id, b.customer_id, b.mode, amount_text(coalesce(a.balance, 0), b.currency) AS balance,
            amount_text(h.held, b.currency) AS held, amount_text(b.credit_limit, b.currency) AS credit_limit,
            CASE WHEN b.mode = 'prepaid' OR b.credit_limit IS NOT NULL
                 THEN amount_text(coalesce(a.balance, 0) + coalesce(b.credit_limit, 0) - h.held, b.currency) END AS free
        FROM bans b LEFT JOIN ban_balances a ON a.ban_id = b.id,
            LATERAL (SELECT coalesce(sum(greatest(l.granted - l.posted, 0)), 0)::bigint AS held FROM credit_leases l
                     WHERE l.ban_id = b.id AND l.granted > l.posted) h
        WHERE b.id = $1";
}
