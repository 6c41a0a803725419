//! Rating again: calls that a wrong price list has priced get another version of their price by the lists in force now, and the ledger the
//! difference. What was recorded and posted stays as it is.

use std::collections::BTreeMap;

use warp_model::cdr::{CallRating as Rated, CallRecord, Direction};
use warp_model::id::{CallKind, CustomerKind, PostingKind, TrunkKind};
use warp_model::{CallId, CustomerId, Nanos, PostingId};
use warp_policy::{Code, DecisionRecord, rate_again};

use super::Ctx;
use super::calls;
use super::fault::{Fault, Kind, Problem};
use super::input::{Ref, Text};
use super::none_wrong;
use super::record::CallRating;
use super::view::{Shaped, Sometimes};
use crate::store::ledger::{self, NewPosting};
use crate::store::reratings::{self as rows, Asked, NewRating, Priced, RatingRow};
use crate::store::types::{Amount, Time};

/// Calls of one request: each may want an index of its own time.
const MOST: i64 = 200;

crate::input! {
    /// Which calls are rated again. Inbound calls and calls whose end was reconstructed are left out, and named.
    pub struct RerateInput {
        /// Only calls that began at this time or later.
        pub setup_from: Time,
        /// Only calls that began before this time.
        pub setup_before: Time,
        /// Only calls of this customer.
        pub customer_id: Option<Ref<CustomerKind>>,
        /// Only calls of this trunk.
        pub trunk_id: Option<Ref<TrunkKind>>,
        /// Only calls after this one: `next_after` of the answer before. One request takes 200 calls at most.
        pub after: Option<Ref<CallKind>>,
        /// Why, in words; it stands with each price and posting.
        pub reason: Text<1, 500>,
        /// Only say what would come of it; false when absent.
        pub dry_run: Option<bool>,
    }
}

crate::view! {
    /// A call that keeps its price.
    pub struct RerateSkipped {
        /// The call that keeps its price.
        pub call_id: String,
        /// Why: `inbound`, `no_account`, `no_decision`, `currency`, `not_priced`, `no_trunk`, `no_vendor_trunk`, `no_sell_price`,
        /// `no_buy_price` or `out_of_range`.
        pub why: String,
    }
}

crate::view! {
    /// What rating again means for one billing account.
    pub struct RerateAccount {
        /// The account that paid for the calls.
        pub ban_id: String,
        /// The customer whose account it is.
        pub customer_id: String,
        /// Its calls that have another price.
        pub calls: i32,
        /// What they cost more than before; negative is given back.
        pub difference: Amount,
        /// The posting of the difference. Null: it comes to nothing, or nothing was written.
        pub posting_id: Option<String>,
    }
}

crate::view! {
    /// What came of rating calls again.
    pub struct Rerating {
        /// Calls that were looked at.
        pub looked_at: i32,
        /// Calls whose price on either side is another one.
        pub changed: i32,
        /// Calls that keep their price, by what stands against it.
        pub skipped: Vec<RerateSkipped>,
        /// What it means for each billing account.
        pub accounts: Vec<RerateAccount>,
        /// More calls may follow: ask again with `after`. Null: these were all.
        pub next_after: Option<String>,
        /// Whether nothing was written.
        pub dry_run: bool,
    }
}

crate::view! {
    /// A later version of the price of a call.
    pub struct CallPrice {
        /// The version, from 2; the first stands with the call. The highest counts.
        pub version: i32,
        /// What the customer pays.
        pub price: Amount,
        /// What the carrier pays. Only operators see it.
        pub cost: Sometimes<Amount>,
        /// What is left, in the currency of the sale. Only operators see it.
        pub margin: Sometimes<Option<Amount>>,
        /// What the customer pays more than by the version before.
        pub difference: Amount,
        /// The sums written out. Customers see their side.
        pub rating: Shaped<CallRating>,
        /// The posting that took the difference in. Null: there was none to take.
        pub posting_id: Option<String>,
        /// Why the call was rated again.
        pub reason: String,
        /// The key that asked for it. Only operators see it.
        pub actor: Sometimes<String>,
        /// When it was rated again.
        pub created_at: Time,
    }
}

crate::view! {
    /// The later versions of the price of a call.
    pub struct CallPrices {
        /// The oldest first. Empty: the call was never rated again.
        pub versions: Vec<CallPrice>,
    }
}

/// The later versions of the price of a call. Errors: there is no such call that the scope sees.
pub async fn prices(ctx: &Ctx<'_>, id: CallId) -> Result<CallPrices, Fault> {
    calls::get(ctx, id).await?;
    let customers = ctx.scope.customer().is_some();
    let mut tx = ctx.begin().await?;
    let versions = rows::of_call(&mut tx, id).await?;
    Ok(CallPrices { versions: versions.into_iter().map(|row| seen(row, customers)).collect() })
}

fn seen(row: RatingRow, customers: bool) -> CallPrice {
    let mut rating = row.rating.0;
    if customers && let Some(map) = rating.as_object_mut() {
        map.retain(|side, _| side == "sell");
    }
    CallPrice {
        version: row.version,
        price: row.price,
        cost: Sometimes((!customers).then_some(row.cost)),
        margin: Sometimes((!customers).then_some(row.margin)),
        difference: row.difference,
        rating: rating.into(),
        posting_id: row.posting_id,
        reason: row.reason,
        actor: Sometimes((!customers).then_some(row.actor)),
        created_at: row.created_at,
    }
}

/// Rates calls again by the price lists in force now, as they stood when each call began. `key` is made once per account
/// (Idempotency-Key). Errors: a range that is none; a key that was used.
pub async fn rerate(ctx: &Ctx<'_>, key: &str, input: RerateInput) -> Result<Rerating, Fault> {
    if input.setup_before <= input.setup_from {
        none_wrong(vec![Problem::new("setup_before", "contradicts", "must be after setup_from")])?;
    }
    let dry_run = input.dry_run.unwrap_or(false);
    let asked = Asked {
        setup_from: input.setup_from.0.0,
        setup_before: input.setup_before.0.0,
        customer: input.customer_id.map(|c| c.0.to_string()),
        trunk: input.trunk_id.map(|t| t.0.to_string()),
        after: input.after.map(|c| c.0.to_string()),
        limit: MOST,
    };
    let mut tx = ctx.begin().await?;
    rows::alone(&mut tx).await?;
    let found = rows::priced(&mut tx, &asked).await?;
    let full = i64::try_from(found.len()).is_ok_and(|n| n >= MOST);
    let next_after = found.last().filter(|_| full).map(|call| call.id.to_string());
    let looked_at = count(found.len());
    let (mut skipped, mut changed) = (Vec::new(), Vec::new());
    for call in found {
        match again(ctx, &call).await {
            Ok(Some(rating)) => changed.push((call, rating)),
            Ok(None) => {}
            Err(Against::Why(why)) => {
                skipped.push(RerateSkipped { call_id: call.id.to_string(), why: why.to_owned() });
            }
            Err(Against::Fault(fault)) => return Err(fault),
        }
    }
    let mut accounts = accounts(ctx, &changed)?;
    let all = count(changed.len());
    if !dry_run {
        post(ctx, &mut tx, key, &input.reason.0, &mut accounts).await?;
        let new: Vec<NewRating> =
            changed.into_iter().filter_map(|(c, r)| version(c, &r, &accounts)).collect();
        rows::write(&mut tx, &new, &input.reason.0, &ctx.actor).await?;
        ctx.commit(tx).await?;
    }
    let accounts = accounts.into_values().map(|a| a.view).collect();
    Ok(Rerating { looked_at, changed: all, skipped, accounts, next_after, dry_run })
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Why a call keeps its price.
enum Against {
    Why(&'static str),
    Fault(Fault),
}

/// The price of a call by the lists of now; `None`: the same as it is.
async fn again(ctx: &Ctx<'_>, call: &Priced) -> Result<Option<Rated>, Against> {
    if call.ban.is_none() {
        return Err(Against::Why("no_account"));
    }
    let record = warp_events::record::unpack(&call.packed).ok();
    let record: Option<CallRecord> = record.and_then(|json| serde_json::from_slice(&json).ok());
    let record = record.ok_or(Against::Why("no_decision"))?;
    if record.direction == Direction::Inbound {
        return Err(Against::Why("inbound"));
    }
    let decision: Option<DecisionRecord> =
        record.decision.as_ref().and_then(|d| serde_json::from_str(d.get()).ok());
    let decision = decision.ok_or(Against::Why("no_decision"))?;
    let number = decision.routed.map(Code::whole).ok_or(Against::Why("not_priced"))?;
    let snapshot = ctx.app.publication.snapshot_at(decision.inputs.at, number).await.map_err(|e| {
        tracing::error!(error = %e, call = %call.id, "no snapshot for the time of a call that is rated again");
        Against::Fault(Fault::internal())
    })?;
    let rating = rate_again(&snapshot, &decision, record.vendor_trunk_id, record.duration_ms)
        .map_err(|e| Against::Why(e.code()))?;
    if rating.sell.currency.as_str() != call.currency {
        return Err(Against::Why("currency"));
    }
    let same = rating.sell.charge == call.sell && rating.buy.charge == call.buy;
    Ok((!same).then_some(rating))
}

/// What one account pays more.
struct Account {
    view: RerateAccount,
    customer: CustomerId,
    posting: Option<PostingId>,
}

fn accounts(ctx: &Ctx<'_>, changed: &[(Priced, Rated)]) -> Result<BTreeMap<String, Account>, Fault> {
    let mut out: BTreeMap<String, Account> = BTreeMap::new();
    for (call, rating) in changed {
        let Some(ban) = &call.ban else { continue };
        let more = rating.sell.charge.checked_sub(call.sell);
        let account = out.entry(ban.clone()).or_insert_with(|| Account {
            view: RerateAccount {
                ban_id: ban.clone(),
                customer_id: call.customer.to_string(),
                calls: 0,
                difference: Amount(Nanos::ZERO.of(rating.sell.currency)),
                posting_id: None,
            },
            customer: call.customer,
            posting: None,
        });
        let sum = more.and_then(|more| account.view.difference.0.amount.checked_add(more));
        let sum =
            sum.ok_or_else(|| Fault::new(Kind::Conflict, "the differences have no sum: take fewer calls"))?;
        account.view.difference.0.amount = sum;
        account.view.calls = account.view.calls.saturating_add(1);
    }
    for account in out.values_mut() {
        let moves = account.view.difference.0.amount != Nanos::ZERO;
        account.posting = moves.then(|| ctx.new_id::<PostingKind>());
    }
    Ok(out)
}

/// Posts the difference of each account, in the order of their ids.
async fn post(
    ctx: &Ctx<'_>,
    tx: &mut crate::store::Tx,
    key: &str,
    reason: &str,
    accounts: &mut BTreeMap<String, Account>,
) -> Result<(), Fault> {
    let currencies: Vec<String> =
        accounts.values().map(|a| a.view.difference.0.currency.to_string()).collect();
    let postings: Vec<NewPosting<'_>> = accounts
        .iter()
        .zip(&currencies)
        .filter_map(|((ban, account), currency)| {
            Some(NewPosting {
                id: account.posting?,
                customer: account.customer,
                ban,
                kind: "rerating",
                key,
                currency,
                amount: Nanos(account.view.difference.0.amount.0.saturating_neg()),
                against: "revenue",
                calls: Some(account.view.calls),
                reason,
                reverses: None,
                actor: &ctx.actor,
            })
        })
        .collect();
    if ledger::post_all(tx, &postings).await? != postings.len() {
        let message = "this Idempotency-Key was used for another posting of an account";
        return Err(Fault::new(Kind::Conflict, message));
    }
    for account in accounts.values_mut() {
        let Some(id) = account.posting else { continue };
        account.view.posting_id = Some(id.to_string());
        let detail = serde_json::to_value(&account.view).ok();
        ctx.audit(tx, Some(account.customer), "ledger.rerating", &id.to_string(), detail).await?;
    }
    Ok(())
}

fn version(call: Priced, rating: &Rated, accounts: &BTreeMap<String, Account>) -> Option<NewRating> {
    let moved = rating.sell.charge != call.sell;
    let posting = accounts.get(call.ban.as_deref()?).and_then(|a| a.posting).filter(|_| moved);
    Some(NewRating {
        sell: rating.sell.charge,
        currency: rating.sell.currency.to_string(),
        buy: rating.buy.charge,
        buy_currency: rating.buy.currency.to_string(),
        margin: rating.margin,
        rating: serde_json::to_value(rating).ok()?,
        posting,
        call,
    })
}
