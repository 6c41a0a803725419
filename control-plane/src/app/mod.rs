//! Use cases: one function each, the same for the API, the CLI's in-process use and the demo world. A function takes a
//! [`Ctx`] (on whose behalf) and checked input, and gives an answer or a [`Fault`]. Nothing here knows how it was asked.

pub mod audit;
pub mod bans;
pub mod calendar;
pub mod caller;
pub mod calls;
pub mod customers;
pub mod decks;
pub mod events;
pub mod exchange_rates;
pub mod fault;
pub mod forms;
pub mod headers;
pub mod inbound;
pub mod input;
pub mod jobs;
pub mod keys;
pub mod ladder;
pub mod leases;
pub mod ledger;
pub mod listing;
pub mod live;
pub mod messages;
pub mod messaging;
pub mod nodes;
pub mod numbers;
pub mod opt_outs;
pub mod paging;
pub mod permission;
pub mod record;
pub mod reratings;
pub mod resource;
pub mod rounding;
pub mod route_test;
pub mod routing;
pub mod rules;
pub mod schedules;
pub mod seed;
pub mod sessions;
pub mod trunk_health;
pub mod trunks;
pub mod users;
pub mod vendor_trunks;
pub mod vendors;
pub mod view;
pub mod views;
pub mod webhooks;

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use warp_model::id::Kind as IdKind;
use warp_model::{Currency, CustomerId, Id};

use self::fault::{Fault, Kind, Problem};
use self::input::{Input, List, Ref, merge_patch};
use self::permission::Permissions;
use crate::App;
use crate::store::audit::Difference;
use crate::store::types::Amount;
use crate::store::work::Work;
use crate::store::{Scope, StoreError, Tx, audit as audit_rows, decks as deck_rows};

/// On whose behalf a use case runs.
#[derive(Clone)]
pub struct Ctx<'a> {
    /// The running program, for settings, randomness and metrics.
    pub app: &'a App,
    /// Whose rows the use case sees.
    pub scope: Scope,
    /// Key id, or `system`.
    pub actor: String,
    /// What whoever asks may: nobody makes anybody who may more.
    pub may: Permissions,
    /// For the audit log.
    pub request_id: String,
    /// The transaction that its use cases share, when their answer is kept with their work.
    pub work: Option<Arc<Work>>,
}

impl<'a> Ctx<'a> {
    /// Of the program itself: bootstrap, the demo world.
    pub fn system(app: &'a App, why: &'static str) -> Self {
        Self {
            app,
            scope: Scope::Operator(why),
            actor: "system".into(),
            may: Permissions::all(),
            request_id: why.into(),
            work: None,
        }
    }

    /// A transaction in its scope.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        match &self.work {
            Some(work) => work.begin(self.scope),
            None => self.app.store.begin(self.scope).await,
        }
    }

    /// A new id, made of the wall clock and random bits.
    pub fn new_id<K: IdKind>(&self) -> Id<K> {
        Id::new(self.app.wall(), self.app.random_id())
    }

    /// Writes a line of the audit log, in the same transaction as the change. `detail` is what the object is since then, or what was
    /// done to it.
    pub async fn audit(
        &self,
        tx: &mut Tx,
        customer: Option<CustomerId>,
        action: &str,
        object: &str,
        detail: Option<Value>,
    ) -> Result<(), StoreError> {
        self.audit_change(tx, customer, (action, object), Difference { before: None, detail }).await
    }

    /// The same, with what the object was before.
    pub async fn audit_change(
        &self,
        tx: &mut Tx,
        customer: Option<CustomerId>,
        what: (&str, &str),
        difference: Difference,
    ) -> Result<(), StoreError> {
        let own = self.scope.customer().is_some();
        let actor = audit_rows::Actor { name: &self.actor, own, request_id: &self.request_id };
        audit_rows::insert(tx, customer, actor, what, difference).await
    }

    /// Commits a change that calls depend on and wakes the publisher.
    pub async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await?;
        match &self.work {
            Some(work) => work.note_change(),
            None => self.app.changed.notify_one(),
        }
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

/// Which versions of an object a change is meant for (If-Match).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is now.
    #[default]
    Any,
    /// One of these; an empty list is met by none.
    OneOf(Vec<i32>),
}

impl Expected {
    /// Refuses an object of another version. The row is locked, so nobody changes it between this look and the change.
    pub fn check(&self, version: i32) -> Result<(), Fault> {
        match self {
            Self::OneOf(wanted) if !wanted.contains(&version) => {
                Err(Fault::new(Kind::VersionMismatch, "somebody changed it in the meantime")
                    .hint("read it again and send the new ETag as If-Match"))
            }
            _ => Ok(()),
        }
    }
}

/// What every write of an object ends with: its audit line and the commit, in the transaction of the write.
pub async fn saved<T: Serialize>(
    ctx: &Ctx<'_>,
    mut tx: Tx,
    customer: Option<CustomerId>,
    (action, id): (&str, &str),
    answer: T,
) -> Result<T, Fault> {
    ctx.audit(&mut tx, customer, action, id, serde_json::to_value(&answer).ok()).await?;
    ctx.commit(tx).await?;
    Ok(answer)
}

/// What every deletion ends with.
pub async fn deleted(
    ctx: &Ctx<'_>,
    mut tx: Tx,
    rows: Result<u64, StoreError>,
    (what, id): (&str, &str),
    customer: Option<CustomerId>,
) -> Result<(), Fault> {
    match rows {
        Ok(0) => Err(Fault::not_found(what)),
        Ok(_) => {
            ctx.audit(&mut tx, customer, &format!("{}.delete", what.replace(' ', "_")), id, None).await?;
            Ok(ctx.commit(tx).await?)
        }
        Err(StoreError::Reference(_)) => {
            Err(Fault::new(Kind::InUse, format!("something still refers to this {what}")))
        }
        Err(e) => Err(e.into()),
    }
}

/// Ids of a list, as they are stored.
pub fn ids<K: IdKind, const MAX: usize, const MIN: usize>(list: &List<Ref<K>, MAX, MIN>) -> Vec<String> {
    list.0.iter().map(|r| r.0.to_string()).collect()
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
    let known = deck_rows::currencies(tx, ids).await?;
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

/// Refuses one more of something that is limited (G-2).
pub fn check_count(count: i64, limit: i64, what: &str) -> Result<(), Fault> {
    if count < limit {
        return Ok(());
    }
    Err(Fault::new(Kind::Conflict, format!("there are {count} {what} already, and {limit} at most")))
}

/// Fails when there are problems.
pub fn none_wrong(problems: Vec<Problem>) -> Result<(), Fault> {
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(problems)) }
}
