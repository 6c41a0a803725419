//! Reading the audit log: who did what to which object, with what it was before and is since then. Operators read all of it; a
//! customer reads the lines of its own objects, as far as its API has such objects and their fields.

use utoipa::openapi::{RefOr, Schema};
use warp_model::id::CustomerKind;

use super::Ctx;
use super::caller::Audience;
use super::fault::{Fault, Problem};
use super::input::{Field, Ref, Text};
use super::paging::{Page, Paging};
use crate::noun::{self, Noun};
use crate::store::audit::{self as rows, AuditQuery, AuditRow};
use crate::store::types::{Json, Time};

crate::view! {
    /// One line of the audit log: who did what to which object.
    pub struct AuditEntry from AuditRow {
        /// The line's number; lines are numbered in the order of writing.
        pub id: i64,
        /// The customer that the change concerns.
        pub customer_id: Option<String>,
        /// The key or user who did it, or `system`. To a customer who is none of its own is `carrier`.
        pub actor: String,
        /// What was done, for example `trunk.update`.
        pub action: String,
        /// The object that was changed.
        pub object: String,
        /// The request that it was done in.
        pub request_id: String,
        /// What the object was before the change, where that is known. Of a secret only whether it was set.
        pub before: Option<Json>,
        /// What the object is since then, or what was done to it, where that is known. Of a secret only whether it is set.
        pub detail: Option<Json>,
        /// When it was done.
        pub at: Time,
    }
}

/// A filter of the log: its name, the form of its values, what it says.
pub type FilterDoc = (&'static str, fn() -> RefOr<Schema>, &'static str);

/// A word of an action, or an id.
type Word = Text<1, 128>;

/// Filters that both audiences have.
pub const FILTERS: &[FilterDoc] = &[
    ("object", Word::field_schema, "Only lines of this object, by its id (trk_…)."),
    ("actor", Word::field_schema, "Only what this key (key_…) or user did."),
    ("action", Word::field_schema, "Only this action, for example `trunk.update`."),
    ("at[gte]", Time::field_schema, "Only what was done at or after this time (RFC 3339)."),
    ("at[lt]", Time::field_schema, "Only what was done before this time (RFC 3339)."),
];

/// Filters that operators have besides.
pub const OPERATORS_FILTERS: &[FilterDoc] =
    &[("customer", Ref::<CustomerKind>::field_schema, "Only what concerns this customer (cus_…).")];

/// What a customer reads of besides declared nouns.
const CUSTOMERS_TOO: &[&str] = &["key", "message", "session", "call"];

/// What a query asks for. Errors: all filters that mean nothing, at once.
pub fn which<'q>(ctx: &Ctx<'_>, text: impl Fn(&str) -> Option<&'q str>) -> Result<AuditQuery, Fault> {
    fn read<T: Field>(name: &str, text: Option<&str>, problems: &mut Vec<Problem>) -> Option<T> {
        T::read(Some(&text?.into()), name, problems)
    }
    let mut problems = Vec::new();
    let mut word = |name| read::<Word>(name, text(name), &mut problems).map(|w| w.0);
    let (object, actor, action) = (word("object"), word("actor"), word("action"));
    let mut moment = |name| read::<Time>(name, text(name), &mut problems).map(|t| t.0.0);
    let (from, until) = (moment("at[gte]"), moment("at[lt]"));
    let customer = read::<Ref<CustomerKind>>("customer", text("customer"), &mut problems);
    super::none_wrong(problems)?;
    let own = ctx.scope.customer();
    // Row-level security says the same again.
    let customer = own.or(customer.map(|c| c.0)).map(|c| c.to_string());
    Ok(AuditQuery { object, actor, customer, action, from, until, kinds: own.map(|_| customers_kinds()) })
}

/// The kinds of objects that a customer reads of: those that its API has.
fn customers_kinds() -> Vec<String> {
    let declared = noun::ALL.iter().filter(|noun| noun.who.has(Audience::Customer)).map(|noun| noun.one);
    declared.chain(CUSTOMERS_TOO.iter().copied()).map(str::to_owned).collect()
}

/// One page of the audit log, newest first.
pub async fn list(ctx: &Ctx<'_>, which: &AuditQuery, paging: &Paging) -> Result<Page<AuditEntry>, Fault> {
    let before = paging.number_after();
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, which, before, paging.rows()).await?;
    let keyed: Vec<(String, AuditRow)> = rows.into_iter().map(|r| (r.id.to_string(), r)).collect();
    let customer = ctx.scope.customer().is_some();
    Ok(Page::of(keyed, paging.limit, |(key, _)| key).map(|(_, mut row)| {
        if customer {
            conceal(&mut row);
        }
        row.into()
    }))
}

/// Takes from a line what a customer does not see: which of the carrier's keys it was, and the fields of operators.
fn conceal(row: &mut AuditRow) {
    if !row.own {
        row.actor = "carrier".to_owned();
    }
    let kind = row.action.split('.').next();
    if !row.own && kind == Some("call") {
        // Why the carrier hung up is the carrier's own.
        (row.before, row.detail) = (None, None);
    }
    let noun: Option<&Noun> = noun::ALL.iter().copied().find(|noun| Some(noun.one) == kind);
    if let Some(noun) = noun {
        for part in [&mut row.before, &mut row.detail] {
            *part = part.take().map(|json| Json(noun.answered_log(Audience::Customer, json.0)));
        }
    }
}
