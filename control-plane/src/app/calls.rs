//! Calls as posted: list, detail with legs, decision and rating. Customers do not see what we pay or whom we buy from.

use std::collections::BTreeMap;

use serde_json::Value;
use warp_model::{CallId, CustomerId, E164, TrunkId, VendorId, Wall};

use super::Ctx;
use super::fault::{Fault, Kind, Problem};
use super::paging::{Order, Page, Paging, encode_cursor};
use super::record::{CallLeg, CallRating, CallRecord, DecisionRecord};
use super::view::{Shaped, Sometimes, Word};
use crate::store::Scope;
use crate::store::calls::{self as rows, CallOrder, CallQuery, CallRow, RecordRow};
use crate::store::types::{Amount, Time, parse_rfc3339};

macro_rules! call {
    ($(#[doc = $top:literal])* $name:ident { $($(#[doc = $doc:literal])* $more:ident: $ty:ty,)* }) => {
        crate::view! {
            $(#[doc = $top])*
            pub struct $name {
                /// The call's id, also the key of its record everywhere.
                pub id: String,
                /// The customer. Null: the call was refused before a trunk was known.
                pub customer_id: Option<String>,
                /// The trunk that the call came in on.
                pub trunk_id: Option<String>,
                /// The caller as received.
                pub caller: String,
                /// The number as dialled.
                pub called: String,
                /// The caller in E.164.
                pub caller_e164: Option<String>,
                /// The called number in E.164.
                pub called_e164: Option<String>,
                /// Which of the US prices applied.
                pub jurisdiction: Option<Word<JurisdictionName>>,
                /// When the INVITE came.
                pub setup_at: Time,
                /// When it was answered.
                pub answer_at: Option<Time>,
                /// When it ended.
                pub end_at: Time,
                /// Post-dial delay: from the INVITE to the first ringing, in milliseconds.
                pub pdd_ms: Option<i64>,
                /// From answer to end, in milliseconds.
                pub duration_ms: i64,
                /// The final SIP status.
                pub sip_code: i32,
                /// The Q.850 cause.
                pub q850: Option<i32>,
                /// Who ended the call.
                pub release_side: Word<ReleaseSideName>,
                /// Our own reason, when the SIP status does not say all. Empty otherwise.
                pub internal_code: String,
                /// How the call ended.
                pub outcome: Word<CallOutcome>,
                /// Whether the end was reconstructed after a crash.
                pub recovered: bool,
                /// The vendor that carried it. Null for customers.
                pub vendor_id: Option<String>,
                /// The vendor trunk that carried it. Null for customers.
                pub vendor_trunk_id: Option<String>,
                /// The rank of the vendor that carried it; 1 is the first choice.
                pub route_rank: Option<i32>,
                /// What the customer pays.
                pub price: Option<Amount>,
                /// What the carrier pays. Null for customers.
                pub cost: Option<Amount>,
                /// The difference. Null for customers, and when the currencies differ.
                pub margin: Option<Amount>,
                /// The seconds that are paid for, after rounding to increments.
                pub billable_s: Option<i64>,
                /// The policy snapshot that decided the call.
                pub snapshot_id: String,
                /// Whether rating the call again gave the same price.
                pub rating_status: Word<RatingStatus>,
                /// When the record became readable here. Later records have later times.
                pub posted_at: Time,
                $($(#[doc = $doc])* pub $more: $ty,)*
            }
        }

        impl $name {
            fn new(row: CallRow, $($more: $ty),*) -> Self {
                Self {
                    id: row.id,
                    customer_id: row.customer_id,
                    trunk_id: row.trunk_id,
                    caller: row.caller,
                    called: row.called,
                    caller_e164: row.caller_e164,
                    called_e164: row.called_e164,
                    jurisdiction: row.jurisdiction.map(Word::from),
                    setup_at: row.setup_at,
                    answer_at: row.answer_at,
                    end_at: row.end_at,
                    pdd_ms: row.pdd_ms,
                    duration_ms: row.duration_ms,
                    sip_code: row.sip_code,
                    q850: row.q850,
                    release_side: row.release_side.into(),
                    internal_code: row.internal_code,
                    outcome: row.outcome.into(),
                    recovered: row.recovered,
                    vendor_id: row.vendor_id,
                    vendor_trunk_id: row.vendor_trunk_id,
                    route_rank: row.route_rank,
                    price: row.price,
                    cost: row.cost,
                    margin: row.margin,
                    billable_s: row.billable_s,
                    snapshot_id: row.snapshot_id,
                    rating_status: row.rating_status.into(),
                    posted_at: row.posted_at,
                    $($more,)*
                }
            }
        }
    };
}

call! {
    /// A call of a list, with the parts of its record that `expand` names.
    ListedCall {
        /// With `expand=legs`: one entry per vendor that was tried.
        legs: Sometimes<Shaped<Vec<CallLeg>>>,
        /// With `expand=rating`: what the call costs, with the sums written out.
        rating: Sometimes<Shaped<Option<CallRating>>>,
        /// With `expand=route`: how the call was decided.
        route: Sometimes<Shaped<Option<DecisionRecord>>>,
    }
}

call! {
    /// A call with everything that is known about it.
    CallDetail {
        /// The whole record: legs, rating with the sums written out, media figures, decision.
        record: Shaped<CallRecord>,
    }
}

crate::choice! {
    /// Which of the US prices applies.
    pub enum JurisdictionName {
        /// From one state to another.
        Interstate = "interstate",
        /// Within one state.
        Intrastate = "intrastate",
        /// Within one local area.
        Local = "local",
        /// It cannot be told.
        Indeterminate = "indeterminate",
    }
}

crate::choice! {
    /// Who ended a call.
    pub enum ReleaseSideName {
        /// The caller.
        Caller = "caller",
        /// The called side.
        Callee = "callee",
        /// The platform.
        System = "system",
    }
}

crate::choice! {
    /// Whether rating a call again gave the same price.
    pub enum RatingStatus {
        /// There is nothing to pay.
        None = "none",
        /// It did.
        Confirmed = "confirmed",
        /// It did not; the carrier looks at it.
        Mismatch = "mismatch",
        /// It was not tried yet.
        Unchecked = "unchecked",
    }
}

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
    ("posted_at[gte]", "string", "Only calls whose record became readable at or after this time (RFC 3339)."),
    ("posted_at[lt]", "string", "Only calls whose record became readable before this time (RFC 3339)."),
    ("call_id", "string", "Only calls with this SIP Call-ID."),
];

/// Filters that only operators have.
pub const OPERATORS_FILTERS: &[(&str, &str, &str)] = &[
    ("vendor", "string", "Only calls that this vendor carried (vnd_…)."),
    ("customer", "string", "Only calls of this customer (cus_…)."),
];

/// What a list of calls can be sorted by.
pub const SORTS: &[&str] = &["-setup_at", "setup_at", "-posted_at", "posted_at"];

/// Which calls a list shows, and in which order.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    query: CallQuery,
    order: CallOrder,
    expand: Expand,
}

impl CallFilter {
    /// From the texts of a query, by the names of [`FILTERS`], `expand` and `sort`. A value that means nothing is a problem of
    /// its field: a list that is not what was asked for would be worse than none.
    pub fn read<'q>(scope: Scope, text: impl Fn(&str) -> Option<&'q str>) -> Result<Self, Fault> {
        // To a customer these parameters do not exist.
        if scope.customer().is_some() && OPERATORS_FILTERS.iter().any(|(n, _, _)| text(n).is_some()) {
            let message = "vendor and customer are filters for operators";
            return Err(Fault::new(Kind::InvalidQuery, message));
        }
        let expand = Expand::read(text("expand"))?;
        let order = match text("sort") {
            Some("posted_at" | "-posted_at") => CallOrder::Posted,
            _ => CallOrder::Setup,
        };
        let mut problems = Vec::new();
        let mut given = Given { text, problems: &mut problems };
        let number = "must be a phone number";
        let time = "must be an RFC 3339 time such as 2026-01-31T12:00:00Z";
        let words = format!("must be one of {}", CallOutcome::WORDS.join(", "));
        let moment = |t: &str| parse_rfc3339(t).map(|Wall(us)| us);
        let query = CallQuery {
            trunk: given.read("trunk", "must be the id of a trunk (trk_…)", |t| {
                t.parse::<TrunkId>().ok().map(|id| id.to_string())
            }),
            code: given.read("code", "must be a SIP status, 100 to 699", |t| {
                t.parse().ok().filter(|n| (100..=699).contains(n))
            }),
            outcome: given.read("outcome", &words, |t| CallOutcome::parse(t).map(CallOutcome::as_str)),
            called: given.read("called", number, any_writing),
            caller: given.read("caller", number, any_writing),
            setup_from: given.read("setup_at[gte]", time, moment),
            setup_before: given.read("setup_at[lt]", time, moment),
            posted_from: given.read("posted_at[gte]", time, moment),
            posted_before: given.read("posted_at[lt]", time, moment),
            sip_call_id: given
                .read("call_id", "must not be empty", |t| (!t.trim().is_empty()).then(|| t.to_owned())),
            vendor: given.read("vendor", "must be the id of a vendor (vnd_…)", |t| {
                t.parse::<VendorId>().ok().map(|id| id.to_string())
            }),
            // For a tenant this says again what row-level security does, so that its index is used.
            customer: given
                .read("customer", "must be the id of a customer (cus_…)", |t| {
                    t.parse::<CustomerId>().ok().map(|id| id.to_string())
                })
                .or(scope.customer().map(|id| id.to_string())),
        };
        super::none_wrong(problems)?;
        Ok(Self { query, order, expand })
    }
}

struct Given<'p, F> {
    text: F,
    problems: &'p mut Vec<Problem>,
}

impl<'q, F: Fn(&str) -> Option<&'q str>> Given<'_, F> {
    /// A filter's value; a text that cannot be read is a problem.
    fn read<T>(&mut self, name: &str, message: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = read((self.text)(name)?);
        if value.is_none() {
            self.problems.push(Problem::new(name, "invalid", message));
        }
        value
    }
}

/// Calls, in the order that the filter and `paging` say.
pub async fn list(ctx: &Ctx<'_>, filter: &CallFilter, paging: &Paging) -> Result<Page<ListedCall>, Fault> {
    let (expand, posted) = (filter.expand, filter.order == CallOrder::Posted);
    let operator = ctx.scope.customer().is_none();
    let after = match paging.after.as_deref() {
        None => None,
        Some(cursor) if posted => Some(posted_cursor(cursor)?),
        Some(id) => Some((None, id)),
    };
    let mut tx = ctx.begin().await?;
    let mut rows = rows::list(&mut tx, &filter.query, filter.order, after, paging).await?;
    if !operator {
        rows.iter_mut().for_each(conceal);
    }
    let keyed: Vec<(String, CallRow)> = rows.into_iter().map(|r| (cursor_of(&r, posted), r)).collect();
    let page = Page::of(keyed, paging.limit, |(key, _)| key);
    // A list in the order of posting grows at its end: here is where to read on later.
    let last = match page.items.last() {
        Some((key, _)) => Some(key.as_str()),
        None => paging.after.as_deref(),
    };
    let last = last.filter(|_| posted && paging.order == Order::OldestFirst).map(encode_cursor);
    let mut records: BTreeMap<String, Value> = BTreeMap::new();
    if expand.anything() {
        let ids: Vec<&str> = page.items.iter().map(|(_, c)| c.id.as_str()).collect();
        for RecordRow { id, mut record } in rows::records(&mut tx, ids).await? {
            if !operator {
                conceal_record(&mut record.0);
            }
            records.insert(id, record.0);
        }
    }
    let page = page.map(|(_, row)| {
        let mut record = records.remove(&row.id);
        let mut part = |wanted: bool, name: &str| wanted.then(|| taken(record.as_mut(), name));
        let legs = part(expand.legs, "legs").map(Shaped::from);
        let rating = part(expand.rating, "rating").map(Shaped::from);
        let route = part(expand.route, "decision").map(Shaped::from);
        ListedCall::new(row, Sometimes(legs), Sometimes(rating), Sometimes(route))
    });
    Ok(Page { last, ..page })
}

/// Key of a row in the order of its list.
fn cursor_of(row: &CallRow, posted: bool) -> String {
    if posted { format!("{} {}", row.posted_at.0.0, row.id) } else { row.id.clone() }
}

/// The last row seen in the order of posting: moment and id.
fn posted_cursor(cursor: &str) -> Result<(Option<i64>, &str), Fault> {
    let read = cursor.split_once(' ').and_then(|(at, id)| Some((Some(at.parse().ok()?), id)));
    read.ok_or_else(|| Fault::new(Kind::InvalidCursor, "cursor must be a value of meta.next_cursor"))
}

/// A part of a record; null when it is not there.
fn taken(record: Option<&mut Value>, name: &str) -> Value {
    record.and_then(|r| r.get_mut(name)).map_or(Value::Null, Value::take)
}

/// One, with its whole record.
pub async fn get(ctx: &Ctx<'_>, id: CallId) -> Result<CallDetail, Fault> {
    let mut tx = ctx.begin().await?;
    let (mut call, mut record) = rows::get(&mut tx, id).await?.ok_or_else(|| Fault::not_found("call"))?;
    if ctx.scope.customer().is_some() {
        conceal(&mut call);
        conceal_record(&mut record.0);
    }
    Ok(CallDetail::new(call, record.0.into()))
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

fn conceal(call: &mut CallRow) {
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
