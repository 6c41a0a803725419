//! Use cases: one function each, the same for the API, the CLI's in-process use and the demo world. A function takes a
//! [`Ctx`] (on whose behalf) and checked input, and gives an answer or a [`Fault`]. Nothing here knows how it was asked.

pub mod audit;
pub mod caller;
pub mod calls;
pub mod customers;
pub mod decks;
pub mod fault;
pub mod input;
pub mod keys;
pub mod paging;
pub mod replay;
pub mod route_test;
pub mod routing;
pub mod seed;
pub mod trunk_health;
pub mod trunks;
pub mod vendors;

use serde::Serialize;
use serde_json::Value;
use warp_model::id::Kind as IdKind;
use warp_model::{Currency, CustomerId, Id};

use self::fault::{Fault, Kind, Problem};
use self::input::{Input, List, Ref, merge_patch};
use crate::App;
use crate::store::types::Amount;
use crate::store::{Scope, StoreError, Tx, sql};

/// On whose behalf a use case runs.
#[derive(Clone)]
pub struct Ctx<'a> {
    /// The program.
    pub app: &'a App,
    /// Whose rows.
    pub scope: Scope,
    /// Key id, or `system`.
    pub actor: String,
    /// For the audit log.
    pub request_id: String,
}

impl<'a> Ctx<'a> {
    /// Of the program itself: bootstrap, the demo world.
    pub fn system(app: &'a App, why: &'static str) -> Self {
        Self { app, scope: Scope::Operator(why), actor: "system".into(), request_id: why.into() }
    }

    /// A transaction in its scope.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.app.store.begin(self.scope).await
    }

    /// A new id.
    pub fn new_id<K: IdKind>(&self) -> Id<K> {
        Id::new(self.app.wall(), self.app.random_id())
    }

    /// Writes a line of the audit log, in the same transaction as the change.
    pub async fn audit(
        &self,
        tx: &mut Tx,
        customer: Option<CustomerId>,
        action: &str,
        object: &str,
        detail: Option<Value>,
    ) -> Result<(), StoreError> {
        tx.run(
            sqlx::query(sql::AUDIT_INSERT)
                .bind(customer.map(|c| c.to_string()))
                .bind(&self.actor)
                .bind(action)
                .bind(object)
                .bind(&self.request_id)
                .bind(detail),
        )
        .await?;
        Ok(())
    }

    /// Commits a change that calls depend on and wakes the publisher.
    pub async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await?;
        self.app.changed.notify_one();
        Ok(())
    }
}

/// How an object changes.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// PATCH: a JSON merge patch (RFC 7396).
    Patch(&'a Value),
    /// PUT: the whole object; what is absent gets its default.
    Replace(&'a Value),
}

/// The object after a change, checked like a new one.
pub fn patched<I: Input>(current: &impl Serialize, change: Change<'_>) -> Result<I, Fault> {
    let patch = match change {
        Change::Replace(whole) => return I::from_json(whole),
        Change::Patch(patch) => patch,
    };
    let fields = input::object(patch)?;
    let mut problems = Vec::new();
    input::unknown(fields, I::FIELDS, &mut problems);
    if !problems.is_empty() {
        return Err(Fault::fields(problems));
    }
    let mut whole = serde_json::to_value(current).map_err(|e| {
        tracing::error!(error = %e, "an object cannot be written as JSON");
        Fault::new(Kind::Internal, "something went wrong on our side")
    })?;
    if let Value::Object(map) = &mut whole {
        map.retain(|key, value| I::FIELDS.contains(&key.as_str()) && !value.is_null());
    }
    merge_patch(&mut whole, patch);
    I::from_json(&whole)
}

/// What every write of an object ends with: its audit line and the commit, in the transaction of the write. `noun` and whether the
/// row was changed name the action. Nothing happens when no row was touched.
pub async fn saved<T: Serialize>(
    ctx: &Ctx<'_>,
    mut tx: Tx,
    customer: Option<CustomerId>,
    noun: &str,
    changed: bool,
    (id, row): (&str, Option<T>),
) -> Result<Option<T>, Fault> {
    if let Some(row) = &row {
        let action = format!("{noun}.{}", if changed { "update" } else { "create" });
        ctx.audit(&mut tx, customer, &action, id, serde_json::to_value(row).ok()).await?;
        ctx.commit(tx).await?;
    }
    Ok(row)
}

/// Ids of a list, as they are stored.
pub fn ids<K: IdKind, const MAX: usize>(list: &List<Ref<K>, MAX>) -> Vec<String> {
    list.0.iter().map(|r| r.0.to_string()).collect()
}

/// What an UPDATE that touched no row means: another version, or nothing there.
pub fn not_updated(exists: bool, what: &str) -> Fault {
    if exists {
        Fault::new(Kind::VersionMismatch, "somebody changed it in the meantime")
            .hint("read it again and send the new ETag as If-Match")
    } else {
        Fault::not_found(what)
    }
}

/// Nano-units of an amount that must be in this currency.
pub fn nanos(
    amount: Option<Amount>,
    currency: Currency,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<i64> {
    let money = amount?.0;
    if money.currency != currency {
        problems.push(Problem::new(field, "currency_mismatch", format!("must be in {currency}")));
    }
    Some(money.amount.0)
}

/// Refuses ids of decks that do not exist (lists of ids have no foreign key), or whose prices are in another currency.
pub async fn check_decks(
    tx: &mut Tx,
    ids: &[String],
    currency: Option<Currency>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    use sqlx::Row;
    let rows = sqlx::query(sql::DECK_KNOWN).bind(ids).fetch_all(tx.db()).await?;
    let mut known: Vec<(String, String)> = Vec::with_capacity(rows.len());
    for row in &rows {
        known.push((row.try_get(0)?, row.try_get(1)?));
    }
    // A vendor's decks need no given currency, but one among them.
    let mut wanted = currency.map(|c| c.as_str().to_owned());
    for (i, id) in ids.iter().enumerate() {
        let at = format!("{field}[{i}]");
        match known.iter().find(|(k, _)| k == id) {
            None => problems.push(Problem::new(at, "no_such_object", "there is no such deck")),
            Some((_, c)) => {
                if wanted.get_or_insert_with(|| c.clone()) != c {
                    problems.push(Problem::new(at, "currency_mismatch", format!("this deck is in {c}")));
                }
            }
        }
    }
    Ok(())
}

/// Refuses one more of something that is limited (G-2). `statement` counts what `owner` has.
pub async fn check_count(
    tx: &mut Tx,
    statement: &'static str,
    owner: Option<String>,
    limit: i64,
    what: &str,
) -> Result<(), Fault> {
    use sqlx::Row;
    let row = sqlx::query(statement).bind(owner).fetch_one(tx.db()).await.map_err(StoreError::from)?;
    let count: i64 = row.try_get(0).map_err(StoreError::from)?;
    if count < limit {
        return Ok(());
    }
    Err(Fault::new(Kind::Conflict, format!("there are {count} {what} already, and {limit} at most")))
}

/// Fails when there are problems.
pub fn none_wrong(problems: Vec<Problem>) -> Result<(), Fault> {
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(problems)) }
}
