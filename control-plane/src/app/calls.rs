//! Calls as posted: list, detail with legs, decision and rating. Customers do not see what we pay or whom we buy from.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};
use warp_model::CallId;
use warp_model::id::{CustomerKind, TrunkKind, VendorKind};

use super::Ctx;
use super::fault::{Fault, Kind, Problem};
use super::input::{Field, Int, Phone, Ref, SipCallId};
use super::paging::{Order, Page, Paging, encode_cursor};
use super::record::{CallLeg, CallRating, CallRecord, DecisionRecord};
use super::view::{Shaped, Sometimes, Word};
use crate::store::Scope;
use crate::store::calls::{self as rows, CallOrder, CallQuery, CallRow, RecordRow};
use crate::store::types::{Amount, Time};

macro_rules! call {
    ($(#[doc = $top:literal])* $name:ident { $($(#[doc = $doc:literal])* $more:ident: $ty:ty,)* }) => {
        crate::view! {
            $(#[doc = $top])*
            pub struct $name from CallRow {
                /// The call's id, also the key of its record everywhere.
                pub id: String,
                /// The customer. Null: the call was refused before a trunk was known.
                pub customer_id: Option<String>,
                /// The trunk that the call came in on; of an inbound call the one that took it, or was tried last.
                pub trunk_id: Option<String>,
                /// Which way the call went, seen from the customer.
                pub direction: Word<CallDirection>,
                /// The customer's number that was called. Inbound calls only.
                pub number_id: Option<String>,
                /// The caller as received; of a call to a customer whose caller asked not to be named, `anonymous`.
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
                /// When the call ended.
                pub end_at: Time,
                /// Post-dial delay: from the INVITE to the first ringing, in milliseconds.
                pub pdd_ms: Option<i64>,
                /// From answer to end, in milliseconds.
                pub duration_ms: i64,
                /// The final SIP status.
                pub sip_code: i32,
                /// The cause of Q.850, 1 to 127.
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
                /// What the customer pays, by the version of the price that counts.
                pub price: Option<Amount>,
                /// What the carrier pays. Null for customers.
                pub cost: Option<Amount>,
                /// Price less cost, in the price's currency; a cost in another currency by the exchange rate of the call. Null for customers, and where there was no such rate.
                pub margin: Option<Amount>,
                /// Which version of its price this is: 1 as it was priced at first, more when it was rated again. The versions stand under `/calls/{id}/prices`.
                pub price_version: i32,
                /// The seconds that are paid for, after rounding to increments.
                pub billable_s: Option<i64>,
                /// The policy snapshot that decided the call.
                pub snapshot_id: String,
                /// Whether rating the call again gave the same price.
                pub rating_status: Word<RatingStatus>,
                /// When the record became readable here. Later records have later times.
                pub posted_at: Time,
            } with {
                $($(#[doc = $doc])* pub $more: $ty,)*
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
        /// Both numbers are within one state.
        Intrastate = "intrastate",
        /// Within one local area.
        Local = "local",
        /// It cannot be told.
        Indeterminate = "indeterminate",
    }
}

crate::choice! {
    /// Which way a call goes, seen from the customer who pays for it.
    pub enum CallDirection {
        /// The customer calls somebody.
        Outbound = "outbound",
        /// Somebody calls a number of the customer.
        Inbound = "inbound",
    }
}

crate::choice! {
    /// Who ended a call.
    pub enum ReleaseSideName {
        /// The caller hung up or gave up.
        Caller = "caller",
        /// The called side ended it.
        Callee = "callee",
        /// The platform ended it: a limit, a failure, an operator.
        System = "system",
    }
}

crate::choice! {
    /// Whether rating a call again gave the same price.
    pub enum RatingStatus {
        /// There is nothing to pay.
        None = "none",
        /// It gave the same price.
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
        /// Somebody answered the call.
        Answered = "answered",
        /// The called side was busy.
        Busy = "busy",
        /// It rang, and nobody answered in time.
        NoAnswer = "no_answer",
        /// The caller gave up before.
        Cancelled = "cancelled",
        /// We or the called side refused it.
        Rejected = "rejected",
        /// It failed on the way, for example because a target was switched off.
        Failed = "failed",
    }
}

crate::choice! {
    /// Which parts of a record the list can show.
    pub enum Part {
        /// The attempts, one for each vendor that was tried.
        Legs = "legs",
        /// The price, with the sums written out.
        Rating = "rating",
        /// The decision, with what was excluded and why.
        Route = "route",
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
    /// From words with commas between them, each once.
    fn read(text: Option<&str>) -> Result<Self, Fault> {
        let mut out = Self::default();
        for word in text.into_iter().flat_map(|t| t.split(',')) {
            let shown = match Part::parse(word) {
                Some(Part::Legs) => &mut out.legs,
                Some(Part::Rating) => &mut out.rating,
                Some(Part::Route) => &mut out.route,
                None => return Err(Self::wrong()),
            };
            if std::mem::replace(shown, true) {
                return Err(Self::wrong());
            }
        }
        Ok(out)
    }

    fn wrong() -> Fault {
        let message = format!("expand takes {}, each once", Part::WORDS.join(", "));
        Fault::new(Kind::InvalidQuery, message)
    }

    fn anything(self) -> bool {
        self != Self::default()
    }
}

/// The published form of `expand`.
pub fn expand_schema() -> RefOr<Schema> {
    let words = super::input::words_schema(Part::WORDS);
    ArrayBuilder::new()
        .items(words)
        .min_items(Some(1))
        .max_items(Some(Part::WORDS.len()))
        .unique_items(true)
        .into()
}

/// A filter of a list: its name, the form of its values, what it says.
pub type FilterDoc = (&'static str, fn() -> RefOr<Schema>, &'static str);

/// A SIP status.
type Status = Int<100, 699>;

/// Filters of the list.
pub const FILTERS: &[FilterDoc] = &[
    ("trunk", Ref::<TrunkKind>::field_schema, "Only calls of this trunk (trk_…)."),
    ("code", Status::field_schema, "Only calls with this final SIP status, 100 to 699."),
    ("outcome", CallOutcome::field_schema, "Only calls that ended so."),
    ("direction", CallDirection::field_schema, "Only calls that went this way, seen from the customer."),
    ("called", Phone::field_schema, "Only calls to this number, in any usual writing."),
    ("caller", Phone::field_schema, "Only calls from this number, in any usual writing."),
    ("setup_at[gte]", Time::field_schema, "Only calls that began at or after this time (RFC 3339)."),
    ("setup_at[lt]", Time::field_schema, "Only calls that began before this time (RFC 3339)."),
    (
        "posted_at[gte]",
        Time::field_schema,
        "Only calls whose record became readable at or after this time (RFC 3339).",
    ),
    (
        "posted_at[lt]",
        Time::field_schema,
        "Only calls whose record became readable before this time (RFC 3339).",
    ),
    ("call_id", SipCallId::field_schema, "Only calls with this SIP Call-ID."),
];

/// Filters that only operators have.
pub const OPERATORS_FILTERS: &[FilterDoc] = &[
    ("vendor", Ref::<VendorKind>::field_schema, "Only calls that this vendor carried (vnd_…)."),
    ("customer", Ref::<CustomerKind>::field_schema, "Only calls of this customer (cus_…)."),
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
        let moment = |t: Time| t.0.0;
        let query = CallQuery {
            trunk: given.read("trunk").map(|Ref::<TrunkKind>(id)| id.to_string()),
            code: given.whole("code").map(Status::as_i32),
            outcome: given.read("outcome").map(CallOutcome::as_str),
            direction: given.read("direction").map(CallDirection::as_str),
            called: given.read("called").map(|Phone(number)| number),
            caller: given.read("caller").map(|Phone(number)| number),
            setup_from: given.read("setup_at[gte]").map(moment),
            setup_before: given.read("setup_at[lt]").map(moment),
            posted_from: given.read("posted_at[gte]").map(moment),
            posted_before: given.read("posted_at[lt]").map(moment),
            sip_call_id: given.read("call_id").map(|SipCallId(text)| text),
            vendor: given.read("vendor").map(|Ref::<VendorKind>(id)| id.to_string()),
            // For a tenant this says again what row-level security does, so that its index is used.
            customer: given
                .read("customer")
                .map(|Ref::<CustomerKind>(id)| id.to_string())
                .or(scope.customer().map(|id| id.to_string())),
        };
        super::none_wrong(problems)?;
        Ok(Self { query, order, expand })
    }
}

/// The texts of a query, read as fields of an input are; what cannot be read is a problem.
struct Given<'p, F> {
    text: F,
    problems: &'p mut Vec<Problem>,
}

impl<'q, F: Fn(&str) -> Option<&'q str>> Given<'_, F> {
    fn read<T: Field>(&mut self, name: &str) -> Option<T> {
        let text = Value::from((self.text)(name)?);
        T::read(Some(&text), name, self.problems)
    }

    /// The same for a whole number, whose text in a query is that of JSON.
    fn whole<T: Field>(&mut self, name: &str) -> Option<T> {
        let number = (self.text)(name)?.parse::<i64>().map_or(Value::Bool(false), Value::from);
        T::read(Some(&number), name, self.problems)
    }
}

/// Calls, in the order that the filter and `paging` say.
pub async fn list(ctx: &Ctx<'_>, filter: &CallFilter, paging: &Paging) -> Result<Page<ListedCall>, Fault> {
    let (expand, posted) = (filter.expand, filter.order == CallOrder::Posted);
    let operator = ctx.scope.customer().is_none();
    let after = paging.after.as_deref().and_then(|cursor| {
        let (at, id) = cursor.split_once('.')?;
        // The moment is for the order of posting only.
        Some((at.parse().ok().filter(|_| posted), id))
    });
    let mut tx = ctx.begin().await?;
    let mut rows = rows::list(&mut tx, &filter.query, filter.order, after, paging).await?;
    if !operator {
        rows.iter_mut().for_each(conceal);
    }
    let keyed: Vec<(String, CallRow)> = rows.into_iter().map(|r| (cursor_of(&r), r)).collect();
    let page = Page::of(keyed, paging.limit, |(key, _)| key);
    // A list in the order of posting grows at its end: here is where to read on later. Newest first, that is the first row.
    let last = match (paging.order, page.items.first(), page.items.last()) {
        (Order::OldestFirst, _, Some((key, _))) => Some(key.as_str()),
        (Order::OldestFirst, _, None) => paging.after.as_deref(),
        (Order::NewestFirst, Some((key, _)), _) if paging.after.is_none() => Some(key.as_str()),
        (Order::NewestFirst, ..) => None,
    };
    let last = last.filter(|_| posted).map(encode_cursor);
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
        ListedCall::of(row, Sometimes(legs), Sometimes(rating), Sometimes(route))
    });
    Ok(Page { last, ..page })
}

/// Key of a row in either order.
pub(crate) fn cursor_of(row: &CallRow) -> String {
    format!("{}.{}", row.posted_at.0.0, row.id)
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
    Ok(CallDetail::of(call, record.0.into()))
}

/// Takes from a row what a customer does not see: the buying side, and a caller who is hidden.
pub(crate) fn conceal(call: &mut CallRow) {
    call.vendor_id = None;
    call.vendor_trunk_id = None;
    call.cost = None;
    call.margin = None;
    if call.caller_hidden {
        call.caller = ANONYMOUS.to_owned();
        call.caller_e164 = None;
    }
}

/// Stands where a customer who is called may not read who called (RFC 3325 §7).
pub const ANONYMOUS: &str = "anonymous";

/// Takes the carrier's buying side out of a record: only what a customer may see is kept, by name.
pub fn conceal_record(record: &mut Value) {
    let keep = |value: &mut Value, hidden: &[&str]| {
        if let Value::Object(map) = value {
            map.retain(|key, _| !hidden.contains(&key.as_str()));
        }
    };
    keep(record, &["vendor_id", "vendor_trunk_id", "node"]);
    // Of an inbound call it is the vendor's.
    if record.get("direction").is_some_and(|d| d == CallDirection::Inbound.as_str()) {
        keep(record, &["ingress_ip"]);
        if record.get("private") == Some(&Value::Bool(true)) {
            conceal_caller(record);
        }
    }
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

/// Takes out of a record who called: the number, what follows from it, and the code of a price that was found by it.
fn conceal_caller(record: &mut Value) {
    let called = record.get("called_e164").and_then(Value::as_str).unwrap_or_default();
    let called = called.trim_start_matches('+').to_owned();
    let put = |value: Option<&mut Value>, names: &[&str], shown: Value| {
        if let Some(Value::Object(map)) = value {
            map.iter_mut()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .for_each(|(_, v)| *v = shown.clone());
        }
    };
    let by_caller = |price: &Value| {
        price.get("prefix").and_then(Value::as_str).is_some_and(|prefix| !called.starts_with(prefix))
    };
    put(Some(&mut *record), &["caller"], ANONYMOUS.into());
    put(Some(&mut *record), &["caller_e164"], Value::Null);
    put(record.pointer_mut("/decision"), &["caller", "caller_class", "orig_state"], Value::Null);
    put(record.pointer_mut("/decision/inputs"), &["caller"], ANONYMOUS.into());
    for price in ["/rating/sell", "/decision/sell"] {
        let price = record.pointer_mut(price).filter(|price| by_caller(price));
        put(price, &["prefix"], "".into());
    }
}

/// The same for a decision record: what a customer may see of it, by name; candidates and exclusions keep their rank and
/// reason, not who they are and what they cost.
pub fn conceal_decision(decision: &mut Value) {
    const SHOWN: &[&str] = &[
        "version",
        "direction",
        "number",
        "targets",
        "unusable",
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
    const INPUTS: &[&str] = &["trunk", "callback", "caller", "called", "at", "call_hash", "lrn"];
    let only = |value: &mut Value, shown: &[&str]| match value {
        Value::Object(map) => map.retain(|key, _| shown.contains(&key.as_str())),
        other => *other = Value::Null,
    };
    // Of a call from a customer of ours to another one, the caller's trunk is the caller's business.
    let inbound = decision.get("direction").is_some();
    only(decision, SHOWN);
    if let Some(inputs) = decision.get_mut("inputs") {
        if inbound && let Value::Object(map) = inputs {
            map.remove("trunk");
        }
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
        // Nor of an inbound call, whose INVITE came from the vendor.
        let mut record = serde_json::json!({
            "cdr_id": "call_1", "direction": "inbound", "ingress_ip": "1.2.3.4", "number_id": "num_1", "vendor_id": "vnd_1",
            "decision": { "direction": "inbound", "inputs": { "vendor_trunk": "vtk_1", "callback": false }, "vendor": "vnd_1",
                "vendor_name": "v", "summary": "v", "buy": 1, "sell": 2, "targets": [{ "rank": 1, "trunk": "trk_1" }] },
            "legs": [{ "attempt_no": 1, "trunk_id": "trk_1", "egress_ip": "1.2.3.4" }]
        });
        conceal_record(&mut record);
        assert_eq!(
            record,
            serde_json::json!({ "cdr_id": "call_1", "direction": "inbound", "number_id": "num_1",
                "decision": { "direction": "inbound", "inputs": { "callback": false }, "sell": 2, "targets": [{ "rank": 1, "trunk": "trk_1" }] },
                "legs": [{ "attempt_no": 1, "trunk_id": "trk_1" }] })
        );
    }
}
