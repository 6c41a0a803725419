//! Calls as posted: list, detail with legs, decision and rating. Customers do not see what we pay or whom we buy from.

use std::collections::BTreeMap;

use serde_json::Value;
use warp_model::{CallId, E164, Wall};

use super::Ctx;
use crate::api::endpoint::{Page, Paging, Request};
use crate::api::error::{ApiError, Code};
use crate::store::sql;
use crate::store::types::{Amount, Json, Time, parse_rfc3339};

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
    fn read(text: Option<&str>) -> Result<Self, ApiError> {
        let mut out = Self::default();
        for word in text.into_iter().flat_map(|t| t.split(',')) {
            match word.trim() {
                "legs" => out.legs = true,
                "rating" => out.rating = true,
                "route" => out.route = true,
                _ => return Err(ApiError::new(Code::InvalidQuery, "expand takes legs, rating and route")),
            }
        }
        Ok(out)
    }

    fn anything(self) -> bool {
        self != Self::default()
    }
}

/// Filters of the list.
pub const FILTERS: &[(&str, &str, &str)] = &[
    ("trunk", "string", "Only this trunk (trk_…)."),
    ("code", "integer", "Only this final SIP status."),
    ("outcome", "string", "Only answered, busy, no_answer, cancelled, rejected or failed."),
    ("called", "string", "Only this called number, in any usual writing."),
    ("caller", "string", "Only this caller, in any usual writing."),
    ("setup_at[gte]", "string", "Begun at or after this time (RFC 3339)."),
    ("setup_at[lt]", "string", "Begun before this time (RFC 3339)."),
    ("call_id", "string", "Only this SIP Call-ID."),
    ("vendor", "string", "Only calls that this vendor carried (operators only)."),
    ("customer", "string", "Only this customer (operators only)."),
];

/// Newest first.
pub async fn list(ctx: &Ctx<'_>, request: &Request, paging: &Paging) -> Result<Page<ListedCall>, ApiError> {
    let expand = Expand::read(request.query("expand"))?;
    let operator = ctx.scope.customer().is_none();
    let text = |name: &str| request.query(name).map(str::to_owned);
    let wrong = |m: &str| ApiError::new(Code::InvalidQuery, m);
    let code = request
        .query("code")
        .map(|t| t.parse::<i32>().map_err(|_| wrong("code must be a number")))
        .transpose()?;
    let time = |name: &str| {
        let read =
            |t: &str| parse_rfc3339(t).map(|Wall(us)| us).ok_or_else(|| wrong("times must be RFC 3339"));
        request.query(name).map(read).transpose()
    };
    let (from, to) = (time("setup_at[gte]")?, time("setup_at[lt]")?);
    if !operator && (text("vendor").is_some() || text("customer").is_some()) {
        return Err(wrong("vendor and customer are filters for operators"));
    }
    let mut tx = ctx.begin().await?;
    let statement = paging.statement(sql::CALL_LIST, sql::CALL_LIST_OLDEST);
    let query = sqlx::query(statement)
        .bind(paging.after.as_deref())
        .bind(paging.rows())
        .bind(text("trunk"))
        .bind(code)
        .bind(text("outcome"))
        .bind(text("called").map(|n| any_writing(&n)))
        .bind(text("caller").map(|n| any_writing(&n)))
        .bind(from)
        .bind(to)
        .bind(text("call_id"))
        .bind(text("vendor"))
        // For a tenant this says again what row-level security does, so that its index is used.
        .bind(ctx.scope.customer().map(|c| c.to_string()).or(text("customer")));
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
pub async fn get(ctx: &Ctx<'_>, id: CallId) -> Result<CallDetail, ApiError> {
    use crate::store::FromRow;
    let mut tx = ctx.begin().await?;
    let row = sqlx::query(sql::CALL_GET).bind(id.to_string()).fetch_optional(tx.db()).await;
    let row = row.map_err(crate::store::StoreError::from)?.ok_or_else(|| ApiError::not_found("call"))?;
    let mut call = Call::from_row(&row).map_err(crate::store::StoreError::from)?;
    let mut record = StoredCall::from_row(&row).map_err(crate::store::StoreError::from)?.record;
    if ctx.scope.customer().is_some() {
        conceal(&mut call);
        conceal_record(&mut record.0);
    }
    Ok(CallDetail { call, record })
}

/// E.164 with `+` from any usual writing of a US or international number.
fn any_writing(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.strip_prefix("011") {
        Some(rest) if !text.trim_start().starts_with('+') => rest.to_owned(),
        _ if digits.len() == 10 && !text.trim_start().starts_with('+') => format!("1{digits}"),
        _ => digits,
    };
    digits.parse::<E164>().map_or(digits, |n| n.to_string())
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
            assert_eq!(any_writing(text), "+14155550123", "{text}");
        }
        assert_eq!(any_writing("011 44 20 7123 4567"), "+442071234567");
        assert_eq!(any_writing("+442071234567"), "+442071234567");
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
