//! Calls as posted: list, detail with legs, decision and rating. Customers do not see what we pay or whom we buy from.

use std::collections::BTreeMap;

use serde_json::Value;
use warp_model::{CallId, CustomerId, E164, TrunkId, VendorId, Wall};

use super::Ctx;
use super::fault::{Fault, Kind, Problem};
use super::paging::{Page, Paging};
use crate::store::types::{Amount, Json, Time, parse_rfc3339};
use crate::store::{Scope, sql};

crate::record! {
    /// A call.
    pub struct Call {
        /// `call_…`: also its CDR id.
        pub id: String,
        /// Whose; null when it was refused before a trunk was known.
        pub customer_id: Option<String>,
        /// Where it came in.
        pub trunk_id: Option<String>,
        /// Caller as received.
        pub caller: String,
        /// Number as dialled.
        pub called: String,
        /// Caller in E.164.
        pub caller_e164: Option<String>,
        /// Called number in E.164.
        pub called_e164: Option<String>,
        /// `interstate`, `intrastate`, `indeterminate` …
        pub jurisdiction: Option<String>,
        /// INVITE received.
        pub setup_at: Time,
        /// Answered.
        pub answer_at: Option<Time>,
        /// Ended.
        pub end_at: Time,
        /// Post-dial delay.
        pub pdd_ms: Option<i64>,
        /// Answer to end.
        pub duration_ms: i64,
        /// Final SIP status.
        pub sip_code: i32,
        /// Q.850 cause.
        pub q850: Option<i32>,
        /// `caller`, `callee` or `system`.
        pub release_side: String,
        /// Our own reason, when the peer's code does not say all.
        pub internal_code: String,
        /// `answered`, `busy`, `no_answer`, `cancelled`, `rejected` or `failed`.
        pub outcome: String,
        /// The end was reconstructed after a crash.
        pub recovered: bool,
        /// Vendor that carried it (operators only).
        pub vendor_id: Option<String>,
        /// Its trunk (operators only).
        pub vendor_trunk_id: Option<String>,
        /// Rank of that vendor, 1 = first choice.
        pub route_rank: Option<i32>,
        /// What the customer pays.
        pub price: Option<Amount>,
        /// What we pay (operators only).
        pub cost: Option<Amount>,
        /// The difference (operators only).
        pub margin: Option<Amount>,
        /// Seconds after rounding to increments.
        pub billable_s: Option<i64>,
        /// Policy snapshot that decided it.
        pub snapshot_id: String,
        /// `confirmed` when rating it again gave the same price, `mismatch`, `unchecked`, or `none`.
        pub rating_status: String,
    }
}

crate::record! {
    /// The stored record.
    pub struct StoredCall {
        /// The CDR.
        pub record: Json,
    }
}

/// A call with everything that is known about it.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct CallDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub call: Call,
    /// The whole CDR: legs, rating with the sums written out, media figures, decision record.
    pub record: Json,
}

crate::record! {
    /// A record by its call.
    pub struct RecordOf {
        /// Which call.
        pub id: String,
        /// The CDR.
        pub record: Json,
    }
}

/// A call of a list, with the parts of its record that `expand` names.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ListedCall {
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// With `expand=legs`: one entry per vendor that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legs: Option<Json>,
    /// With `expand=rating`: the sums written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<Json>,
    /// With `expand=route`: the decision record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Json>,
}

/// Which parts of a record the list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Expand {
    legs: bool,
    rating: bool,
    route: bool,
}

impl Expand {
    fn read(text: Option<&str>) -> Result<Self, Fault> {
        let mut out = Self::default();
        for word in text.into_iter().flat_map(|t| t.split(',')) {
            match word.trim() {
                "legs" => out.legs = true,
                "rating" => out.rating = true,
                "route" => out.route = true,
                _ => return Err(Fault::new(Kind::InvalidQuery, "expand takes legs, rating and route")),
            }
        }
        Ok(out)
    }

    fn anything(self) -> bool {
        self != Self::default()
    }
}

/// Filters of the list: name, type and what it says.
pub const FILTERS: &[(&str, &str, &str)] = &[
    ("trunk", "string", "Only calls of this trunk (trk_…)."),
    ("code", "integer", "Only calls with this final SIP status, 100 to 699."),
    ("outcome", "string", "Only calls that ended so."),
    ("called", "string", "Only calls to this number, in any usual writing."),
    ("caller", "string", "Only calls from this number, in any usual writing."),
    ("setup_at[gte]", "string", "Only calls that began at or after this time (RFC 3339)."),
    ("setup_at[lt]", "string", "Only calls that began before this time (RFC 3339)."),
    ("call_id", "string", "Only calls with this SIP Call-ID."),
    ("vendor", "string", "Only calls that this vendor carried (operators only)."),
    ("customer", "string", "Only calls of this customer (operators only)."),
];

crate::choice! {
    /// How a call ended.
    pub enum CallOutcome {
        /// Somebody answered.
        Answered = "answered",
        /// The called side was busy.
        Busy = "busy",
        /// Nobody answered.
        NoAnswer = "no_answer",
        /// The caller gave up before.
        Cancelled = "cancelled",
        /// We or the called side refused it.
        Rejected = "rejected",
        /// It failed on the way.
        Failed = "failed",
    }
}

/// Which calls a list shows.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Of this trunk.
    pub trunk: Option<TrunkId>,
    /// With this final SIP status.
    pub code: Option<i32>,
    /// That ended so.
    pub outcome: Option<CallOutcome>,
    /// To this number, E.164 with `+`.
    pub called: Option<String>,
    /// From this number, E.164 with `+`.
    pub caller: Option<String>,
    /// Begun at or after this time.
    pub setup_from: Option<Wall>,
    /// Begun before this time.
    pub setup_before: Option<Wall>,
    /// With this SIP Call-ID.
    pub sip_call_id: Option<String>,
    /// That this vendor carried.
    pub vendor: Option<VendorId>,
    /// Of this customer.
    pub customer: Option<CustomerId>,
    /// Parts of the record to add.
    expand: Expand,
}

impl CallFilter {
    /// From the texts of a query, by the names of [`FILTERS`]. A value that means nothing is a problem of its field: a list
    /// that is not what was asked for would be worse than none.
    pub fn read<'q>(
        scope: Scope,
        text: impl Fn(&str) -> Option<&'q str>,
        expand: Option<&str>,
    ) -> Result<Self, Fault> {
        // To a customer these parameters do not exist.
        if scope.customer().is_some() && ["vendor", "customer"].iter().any(|n| text(n).is_some()) {
            let message = "vendor and customer are filters for operators";
            return Err(Fault::new(Kind::InvalidQuery, message));
        }
        let mut problems = Vec::new();
        let mut out = Self { expand: Expand::read(expand)?, ..Self::default() };
        out.trunk =
            parsed(&text, "trunk", "must be the id of a trunk (trk_…)", &mut problems, |t| t.parse().ok());
        let status = |t: &str| t.parse().ok().filter(|n| (100..=699).contains(n));
        out.code = parsed(&text, "code", "must be a SIP status, 100 to 699", &mut problems, status);
        let words = format!("must be one of {}", CallOutcome::WORDS.join(", "));
        out.outcome = parsed(&text, "outcome", &words, &mut problems, CallOutcome::parse);
        let number = "must be a phone number";
        out.called = parsed(&text, "called", number, &mut problems, any_writing);
        out.caller = parsed(&text, "caller", number, &mut problems, any_writing);
        let time = "must be an RFC 3339 time such as 2026-01-31T12:00:00Z";
        out.setup_from = parsed(&text, "setup_at[gte]", time, &mut problems, parse_rfc3339);
        out.setup_before = parsed(&text, "setup_at[lt]", time, &mut problems, parse_rfc3339);
        let named = |t: &str| (!t.trim().is_empty()).then(|| t.to_owned());
        out.sip_call_id = parsed(&text, "call_id", "must not be empty", &mut problems, named);
        let vendor = "must be the id of a vendor (vnd_…)";
        out.vendor = parsed(&text, "vendor", vendor, &mut problems, |t| t.parse().ok());
        let customer = "must be the id of a customer (cus_…)";
        out.customer = parsed(&text, "customer", customer, &mut problems, |t| t.parse().ok());
        super::none_wrong(problems)?;
        Ok(out)
    }
}

/// A filter's value; a text that cannot be read is a problem.
fn parsed<'q, T>(
    text: impl Fn(&str) -> Option<&'q str>,
    name: &str,
    message: &str,
    problems: &mut Vec<Problem>,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let value = read(text(name)?);
    if value.is_none() {
        problems.push(Problem::new(name, "invalid", message));
    }
    value
}

/// Newest first, or as `paging` says.
pub async fn list(ctx: &Ctx<'_>, filter: &CallFilter, paging: &Paging) -> Result<Page<ListedCall>, Fault> {
    let expand = filter.expand;
    let operator = ctx.scope.customer().is_none();
    let mut tx = ctx.begin().await?;
    tx.plan_for_values().await?;
    let statement = paging.statement(sql::CALL_LIST, sql::CALL_LIST_OLDEST);
    let query = sqlx::query(statement)
        .bind(paging.after.as_deref())
        .bind(paging.rows())
        .bind(filter.trunk.map(|t| t.to_string()))
        .bind(filter.code)
        .bind(filter.outcome.map(CallOutcome::as_str))
        .bind(filter.called.as_deref())
        .bind(filter.caller.as_deref())
        .bind(filter.setup_from.map(|w| w.0))
        .bind(filter.setup_before.map(|w| w.0))
        .bind(filter.sip_call_id.as_deref())
        .bind(filter.vendor.map(|v| v.to_string()))
        // For a tenant this says again what row-level security does, so that its index is used.
        .bind(ctx.scope.customer().or(filter.customer).map(|c| c.to_string()));
    let mut rows: Vec<Call> = tx.all(query).await?;
    if !operator {
        rows.iter_mut().for_each(conceal);
    }
    let page = Page::of(rows, paging.limit, |c: &Call| &c.id);
    let mut records: BTreeMap<String, Value> = BTreeMap::new();
    if expand.anything() {
        let ids: Vec<&str> = page.items.iter().map(|c| c.id.as_str()).collect();
        let found: Vec<RecordOf> = tx.all(sqlx::query(sql::CALL_RECORDS).bind(ids)).await?;
        for RecordOf { id, mut record } in found {
            if !operator {
                conceal_record(&mut record.0);
            }
            records.insert(id, record.0);
        }
    }
    let items = page.items.into_iter().map(|call| {
        let mut record = records.remove(&call.id);
        let mut part = |wanted: bool, name: &str| wanted.then(|| Json(taken(record.as_mut(), name)));
        ListedCall {
            legs: part(expand.legs, "legs"),
            rating: part(expand.rating, "rating"),
            route: part(expand.route, "decision"),
            call,
        }
    });
    Ok(Page { items: items.collect(), next: page.next })
}

/// A part of a record; null when it is not there.
fn taken(record: Option<&mut Value>, name: &str) -> Value {
    record.and_then(|r| r.get_mut(name)).map_or(Value::Null, Value::take)
}

/// One, with its whole record.
pub async fn get(ctx: &Ctx<'_>, id: CallId) -> Result<CallDetail, Fault> {
    use crate::store::FromRow;
    let mut tx = ctx.begin().await?;
    let row = sqlx::query(sql::CALL_GET).bind(id.to_string()).fetch_optional(tx.db()).await;
    let row = row.map_err(crate::store::StoreError::from)?.ok_or_else(|| Fault::not_found("call"))?;
    let mut call = Call::from_row(&row).map_err(crate::store::StoreError::from)?;
    let mut record = StoredCall::from_row(&row).map_err(crate::store::StoreError::from)?.record;
    if ctx.scope.customer().is_some() {
        conceal(&mut call);
        conceal_record(&mut record.0);
    }
    Ok(CallDetail { call, record })
}

/// E.164 with `+` from any usual writing of a US or international number; `None` when it is no number.
fn any_writing(text: &str) -> Option<String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit() || "+-. ()/".contains(c)) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.strip_prefix("011") {
        Some(rest) if !text.trim_start().starts_with('+') => rest.to_owned(),
        _ if digits.len() == 10 && !text.trim_start().starts_with('+') => format!("1{digits}"),
        _ => digits,
    };
    digits.parse::<E164>().ok().map(|n| n.to_string())
}

fn conceal(call: &mut Call) {
    call.vendor_id = None;
    call.vendor_trunk_id = None;
    call.cost = None;
    call.margin = None;
}

/// Takes the carrier's buying side out of a record: only what a customer may see is kept, by name.
pub fn conceal_record(record: &mut Value) {
    let keep = |value: &mut Value, hidden: &[&str]| {
        if let Value::Object(map) = value {
            map.retain(|key, _| !hidden.contains(&key.as_str()));
        }
    };
    keep(record, &["vendor_id", "vendor_trunk_id", "node"]);
    if let Some(decision) = record.get_mut("decision") {
        conceal_decision(decision);
    }
    if let Some(rating) = record.get_mut("rating") {
        keep(rating, &["buy", "margin"]);
    }
    if let Some(Value::Array(legs)) = record.get_mut("legs") {
        for leg in legs {
            keep(leg, &["vendor_id", "vendor_trunk_id", "egress_ip"]);
        }
    }
}

/// The same for a decision record: what a customer may see of it, by name; candidates and exclusions keep their rank and
/// reason, not who they are and what they cost.
pub fn conceal_decision(decision: &mut Value) {
    const SHOWN: &[&str] = &[
        "version",
        "snapshot_id",
        "inputs",
        "refusal",
        "called",
        "routed",
        "class",
        "emergency",
        "caller",
        "caller_class",
        "orig_state",
        "term_state",
        "jurisdiction",
        "jurisdiction_rule",
        "sell",
        "candidates",
        "excluded",
        "max_duration_s",
    ];
    const INPUTS: &[&str] = &["trunk", "caller", "called", "at", "call_hash", "lrn"];
    let only = |value: &mut Value, shown: &[&str]| match value {
        Value::Object(map) => map.retain(|key, _| shown.contains(&key.as_str())),
        other => *other = Value::Null,
    };
    only(decision, SHOWN);
    if let Some(inputs) = decision.get_mut("inputs") {
        only(inputs, INPUTS);
    }
    for (name, shown) in [("candidates", &["rank", "jurisdiction"] as &[&str]), ("excluded", &["reason"])] {
        if let Some(Value::Array(items)) = decision.get_mut(name) {
            items.iter_mut().for_each(|item| only(item, shown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_any_writing() {
        for text in ["+1 415 555 0123", "(415) 555-0123", "4155550123", "14155550123"] {
            assert_eq!(any_writing(text).as_deref(), Some("+14155550123"), "{text}");
        }
        assert_eq!(any_writing("011 44 20 7123 4567").as_deref(), Some("+442071234567"));
        assert_eq!(any_writing("+442071234567").as_deref(), Some("+442071234567"));
        for wrong in ["", "sip:bob", "+", "12345678901234567", "41555 x"] {
            assert_eq!(any_writing(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_buying_side_is_not_shown() {
        let mut record = serde_json::json!({
            "cdr_id": "call_1", "vendor_id": "vnd_1", "decision": { "candidates": [{ "rank": 1, "vendor": "v", "buy": 1 }], "summary": "alpha" },
            "rating": { "sell": 1, "buy": 2, "margin": 3 }, "legs": [{ "attempt_no": 1, "vendor_id": "vnd_1", "egress_ip": "1.2.3.4" }]
        });
        conceal_record(&mut record);
        assert_eq!(
            record,
            serde_json::json!({ "cdr_id": "call_1", "decision": { "candidates": [{ "rank": 1 }] }, "rating": { "sell": 1 }, "legs": [{ "attempt_no": 1 }] })
        );
    }
}
