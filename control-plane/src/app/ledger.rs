//! The ledger of billing accounts: what was posted and what an account has; top-ups, adjustments and reversals by operators. Nothing is
//! ever changed in it: what was wrong is taken back by another posting.

use warp_model::id::{BanKind, CustomerKind, PostingKind};
use warp_model::{BanId, CustomerId, Nanos, PostingId};

use super::bans::{self, BanMode};
use super::calls::FilterDoc;
use super::fault::{Fault, Kind, Problem};
use super::input::{Field, Ref, Text};
use super::paging::{Page, Paging};
use super::view::Word;
use super::{Ctx, nanos, none_wrong, resource};
use crate::noun::ban::BanRow;
use crate::store::ledger::{self as rows, BalanceRow, NewPosting, PostingRow};
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx};

crate::view! {
    /// A posting of the ledger: one movement of the balance of a billing account, with its counterpart on another book.
    pub struct Posting from PostingRow {
        /// The posting's id: `pst_` and 26 characters.
        pub id: String,
        /// The customer whose account it is.
        pub customer_id: String,
        /// The billing account whose money it is.
        pub ban_id: String,
        /// What it is about.
        pub kind: Word<PostingSort>,
        /// What it does to the balance: negative takes.
        pub amount: Amount,
        /// How many calls it took in, or that have another price by it. Null: it is about no calls.
        pub calls: Option<i32>,
        /// The reason of it, in words.
        pub reason: String,
        /// The posting that this one takes back.
        pub reverses: Option<String>,
        /// The posting that took this one back.
        pub reversed_by: Option<String>,
        /// The key that made it, or `system`.
        pub actor: String,
        /// When it was made.
        pub created_at: Time,
    }
}

crate::choice! {
    /// What a posting is about.
    pub enum PostingSort {
        /// Prices of calls, of one batch of records.
        Usage = "usage",
        /// Money that came in.
        TopUp = "top_up",
        /// A correction by the carrier.
        Adjustment = "adjustment",
        /// It takes another posting back.
        Reversal = "reversal",
        /// The difference of calls that were rated again.
        Rerating = "rerating",
    }
}

crate::choice! {
    /// Which way an adjustment goes.
    pub enum Direction {
        /// The account gets the amount.
        Credit = "credit",
        /// The account pays the amount.
        Debit = "debit",
    }
}

crate::input! {
    /// Money that came in for a billing account.
    pub struct TopUpInput {
        /// How much, in the currency of the account; more than nothing.
        pub amount: Amount,
        /// Why, in words: the number of the payment.
        pub reason: Text<1, 500>,
    }
}

crate::input! {
    /// A correction of a balance.
    pub struct AdjustmentInput {
        /// How much, in the currency of the account; more than nothing.
        pub amount: Amount,
        /// Which way it goes.
        pub direction: Direction,
        /// The reason of it, in words.
        pub reason: Text<1, 500>,
    }
}

crate::input! {
    /// Why a posting is taken back.
    pub struct ReversalInput {
        /// The reason of it, in words.
        pub reason: Text<1, 500>,
    }
}

crate::view! {
    /// What a billing account has, and how far it may go.
    pub struct Balance from BalanceRow {
        /// The billing account whose money it is.
        pub ban_id: String,
        /// The customer that it belongs to.
        pub customer_id: String,
        /// Whether it pays before or after its calls.
        pub mode: Word<BanMode>,
        /// What it has; negative is what it owes.
        pub balance: Amount,
        /// What is lent to nodes for calls that run and for the next ones, and is not in the balance yet.
        pub held: Amount,
        /// How far a postpaid account may owe. Null: any amount, or nothing when it is prepaid.
        pub credit_limit: Option<Amount>,
        /// What calls may still use beyond what is held. Null: there is no limit.
        pub free: Option<Amount>,
    }
}

/// What a list of postings is filtered by.
pub const FILTERS: &[FilterDoc] =
    &[("ban", Ref::<BanKind>::field_schema, "Only postings of this billing account (ban_…).")];

/// The filter that operators have besides.
pub const OPERATORS_FILTERS: &[FilterDoc] =
    &[("customer", Ref::<CustomerKind>::field_schema, "Only postings of this customer (cus_…).")];

/// One page of postings, newest first unless the paging says otherwise.
pub async fn list<'q>(
    ctx: &Ctx<'_>,
    text: impl Fn(&str) -> Option<&'q str>,
    paging: &Paging,
) -> Result<Page<Posting>, Fault> {
    let mut problems = Vec::new();
    let given = |name: &str| text(name).map(serde_json::Value::from);
    let ban = given("ban").and_then(|v| Ref::<BanKind>::read(Some(&v), "ban", &mut problems));
    let asked =
        given("customer").and_then(|v| Ref::<CustomerKind>::read(Some(&v), "customer", &mut problems));
    none_wrong(problems)?;
    // Row-level security says the same again.
    let customer = ctx.scope.customer().or(asked.map(|c| c.0));
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, ban.map(|b| b.0), customer, paging).await?;
    Ok(Page::of(rows, paging.limit, |p| &p.id).map(Posting::from))
}

/// The posting with this id. Errors: there is none that the scope sees.
pub async fn get(ctx: &Ctx<'_>, id: PostingId) -> Result<Posting, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(known(rows::get(&mut tx, id).await?)?.into())
}

fn known(row: Option<PostingRow>) -> Result<PostingRow, Fault> {
    row.ok_or_else(|| Fault::not_found("posting"))
}

/// What a billing account has. Errors: there is none that the scope sees.
pub async fn balance(ctx: &Ctx<'_>, ban: BanId) -> Result<Balance, Fault> {
    let mut tx = ctx.begin().await?;
    let row = rows::balance(&mut tx, ban).await?;
    Ok(row.ok_or_else(|| Fault::not_found(crate::noun::ban::BAN.called))?.into())
}

/// Money came in. `key` is made once per account (Idempotency-Key).
pub async fn top_up(ctx: &Ctx<'_>, ban: BanId, key: &str, input: TopUpInput) -> Result<Posting, Fault> {
    let movement = Movement { kind: "top_up", against: "cash", debit: false };
    moved(ctx, ban, key, (input.amount, &input.reason.0), movement).await
}

/// A balance is corrected. `key` is made once per account (Idempotency-Key).
pub async fn adjust(ctx: &Ctx<'_>, ban: BanId, key: &str, input: AdjustmentInput) -> Result<Posting, Fault> {
    let movement =
        Movement { kind: "adjustment", against: "adjustments", debit: input.direction == Direction::Debit };
    moved(ctx, ban, key, (input.amount, &input.reason.0), movement).await
}

struct Movement {
    kind: &'static str,
    against: &'static str,
    debit: bool,
}

async fn moved(
    ctx: &Ctx<'_>,
    ban: BanId,
    key: &str,
    (amount, reason): (Amount, &str),
    movement: Movement,
) -> Result<Posting, Fault> {
    let mut tx = ctx.begin().await?;
    let account: BanRow = resource::read(&mut tx, ban).await?;
    let mut problems = Vec::new();
    let currency = account.currency.parse().unwrap_or(warp_model::Currency::USD);
    let amount = nanos(Some(amount), currency, "amount", &mut problems).unwrap_or(0);
    if amount == 0 {
        problems.push(Problem::new("amount", "contradicts", "nothing moves no money"));
    }
    none_wrong(problems)?;
    let id: PostingId = ctx.new_id::<PostingKind>();
    let posting = NewPosting {
        id,
        customer: bans::owner(&account)?,
        ban: &account.id,
        kind: movement.kind,
        key,
        currency: &account.currency,
        amount: Nanos(if movement.debit { amount.saturating_neg() } else { amount }),
        against: movement.against,
        calls: None,
        reason,
        reverses: None,
        actor: &ctx.actor,
    };
    posted(ctx, tx, &posting).await
}

/// Takes a posting back, whole and once. Errors: it is usage, a reversal itself, or was taken back already.
pub async fn reverse(
    ctx: &Ctx<'_>,
    id: PostingId,
    key: &str,
    input: ReversalInput,
) -> Result<Posting, Fault> {
    let mut tx = ctx.begin().await?;
    let first = known(rows::get(&mut tx, id).await?)?;
    if !matches!(first.kind.as_str(), "top_up" | "adjustment") {
        let message = format!("a posting of kind {} is not reversed; make an adjustment", first.kind);
        return Err(Fault::new(Kind::Conflict, message));
    }
    if first.reversed_by.is_some() {
        return Err(Fault::new(Kind::Conflict, "this posting was taken back already"));
    }
    let against = rows::against(&mut tx, id).await?.unwrap_or_default();
    let money = first.amount.0;
    let read = first.customer_id.parse();
    let customer: CustomerId =
        read.map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?;
    let posting = NewPosting {
        id: ctx.new_id::<PostingKind>(),
        customer,
        ban: &first.ban_id,
        kind: "reversal",
        key,
        currency: money.currency.as_str(),
        amount: Nanos(money.amount.0.saturating_neg()),
        against: &against,
        calls: None,
        reason: &input.reason.0,
        reverses: Some(id),
        actor: &ctx.actor,
    };
    posted(ctx, tx, &posting).await
}

async fn posted(ctx: &Ctx<'_>, mut tx: Tx, posting: &NewPosting<'_>) -> Result<Posting, Fault> {
    if !rows::post(&mut tx, posting).await? {
        let message = "this Idempotency-Key was used for another posting of the account";
        return Err(Fault::new(Kind::Conflict, message));
    }
    let made: Posting = known(rows::get(&mut tx, posting.id).await?)?.into();
    let detail = serde_json::to_value(&made).ok();
    let action = format!("ledger.{}", posting.kind);
    ctx.audit(&mut tx, Some(posting.customer), &action, &made.id, detail).await?;
    tx.commit().await?;
    Ok(made)
}
