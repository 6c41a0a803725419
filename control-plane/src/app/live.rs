//! Calls in the air, of all nodes: what a customer or an operator sees of them, and the end of one by hand.
//!
//! Each list is a look at that moment: the newest calls that are asked for, how many there are in all, and which nodes did not answer.
//! A customer sees its own calls, without vendor, cost and node.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warp_model::CallId;
use warp_model::id::{CallKind, CustomerKind, TrunkKind, VendorKind};

use super::Ctx;
use super::calls::{CallDirection, FilterDoc};
use super::fault::{Fault, Kind};
use super::input::{Field, Int, Ref, Text};
use super::nodes::{self, NodeReply, Question};
use super::view::Word;
use crate::store::Scope;
use crate::store::types::{Amount, Time};

/// Which calls in the air are meant; what is absent is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// The call with this id.
    pub id: Option<String>,
    /// Calls of this customer.
    pub customer: Option<String>,
    /// Calls over this trunk.
    pub trunk: Option<String>,
    /// Calls that this vendor carries, or is asked to.
    pub vendor: Option<String>,
    /// Calls whose numbers have these digits in them.
    pub number: Option<String>,
}

/// Calls in the air of one node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeCalls {
    /// The newest of them.
    pub calls: Vec<NodeCall>,
    /// How many there are in all of those that were asked for.
    pub found: usize,
    /// A part of the node did not answer in time.
    pub partly: bool,
}

/// What came of a hang-up on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum NodeHangUp {
    /// The call is not here, or not his.
    NotHere,
    /// It is over already.
    Over,
    /// It is a call for help.
    Emergency,
    /// It ends at this moment.
    Ended {
        /// How it stood before that.
        state: String,
    },
}

/// A call in the air, as its node tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields of the view
pub struct NodeCall {
    pub id: String,
    pub sip_call_id: String,
    pub customer_id: Option<String>,
    pub trunk_id: Option<String>,
    pub direction: String,
    pub on_net: bool,
    pub number_id: Option<String>,
    pub caller: String,
    pub called: String,
    pub called_e164: Option<String>,
    pub state: String,
    pub emergency: bool,
    pub setup_at: Time,
    pub answer_at: Option<Time>,
    pub duration_ms: u64,
    pub attempts: u32,
    pub price: Option<Amount>,
    pub cost: Option<Amount>,
    pub vendor_id: Option<String>,
    pub vendor_trunk_id: Option<String>,
    /// The caller asked not to be named to the called side.
    pub private: bool,
    /// The name of the node, put in by whoever asks.
    #[serde(default)]
    pub node: Option<String>,
}

crate::view! {
    /// A call in the air.
    pub struct LiveCall from NodeCall {
        /// The call's id; its record will have the same.
        pub id: String,
        /// The Call-ID of SIP, as the caller made it.
        pub sip_call_id: String,
        /// The customer who pays for it. Null: that is not known yet.
        pub customer_id: Option<String>,
        /// The trunk that it came in on; of an inbound call the one that takes it.
        pub trunk_id: Option<String>,
        /// Which way it goes, seen from the customer.
        pub direction: Word<CallDirection>,
        /// Whether both sides are customers of this carrier: then each has a call of its own.
        pub on_net: bool,
        /// The customer's number that is called. Inbound calls only.
        pub number_id: Option<String>,
        /// The caller as received; of a call to a customer whose caller asked not to be named, `anonymous`.
        pub caller: String,
        /// The number as dialled.
        pub called: String,
        /// The called number in E.164, when it is one.
        pub called_e164: Option<String>,
        /// How the call stands now.
        pub state: Word<LiveState>,
        /// Whether it is a call for help: nobody but its parties ends it.
        pub emergency: bool,
        /// When the INVITE came.
        pub setup_at: Time,
        /// When it was answered. Null: not yet.
        pub answer_at: Option<Time>,
        /// Milliseconds since the answer; 0 before.
        pub duration_ms: u64,
        /// How many vendors, or trunks of the called side, were tried so far.
        pub attempts: u32,
        /// What the customer would pay if it ended now. Null before the answer.
        pub price: Option<Amount>,
        /// What the carrier would pay. Null for customers.
        pub cost: Option<Amount>,
        /// The vendor that carries it, or is tried. Null for customers.
        pub vendor_id: Option<String>,
        /// The vendor trunk that carries it, or is tried. Null for customers.
        pub vendor_trunk_id: Option<String>,
        /// The node that carries it. Null for customers.
        pub node: Option<String>,
    }
}

crate::view! {
    /// A node that carries calls.
    pub struct LiveNode {
        /// The name of the node.
        pub node: String,
        /// Whether it answered in time. The calls of one that did not are missing here.
        pub answered: bool,
        /// How many of its calls were looked for and found.
        pub calls: usize,
    }
}

crate::view! {
    /// Calls in the air at one moment.
    pub struct LiveCalls {
        /// When the nodes were asked.
        pub at: Time,
        /// How many calls there are of those that were asked for; the list may have fewer.
        pub found: usize,
        /// Whether all nodes have answered. Where one did not, its calls are missing.
        pub complete: bool,
        /// The newest calls, newest first.
        pub calls: Vec<LiveCall>,
        /// The nodes, for operators; empty for customers.
        pub nodes: Vec<LiveNode>,
    }
}

crate::view! {
    /// A call that was hung up.
    pub struct HungUpCall {
        /// The id of the call.
        pub id: String,
        /// How it stood when it was hung up.
        pub state: Word<LiveState>,
        /// What its record will say as `internal_code`: `operator` or `customer`.
        pub internal_code: String,
        /// The node that carried it. Null for customers.
        pub node: Option<String>,
    }
}

crate::choice! {
    /// How a call in the air stands.
    pub enum LiveState {
        /// Its target is being looked for.
        Setup = "setup",
        /// The phone of somebody rings.
        Ringing = "ringing",
        /// Somebody has answered the call.
        Answered = "answered",
    }
}

crate::input! {
    /// Why a call is hung up.
    pub struct HangUpInput {
        /// The reason, in words; it stands in the audit log.
        pub reason: Text<1, 500>,
    }
}

/// How many calls a list has at most.
type Most = Int<1, 500>;

/// Filters of the list.
pub const FILTERS: &[FilterDoc] = &[
    ("call", Ref::<CallKind>::field_schema, "Only the call with this id (call_…)."),
    ("trunk", Ref::<TrunkKind>::field_schema, "Only calls of this trunk (trk_…)."),
    (
        "number",
        Text::<3, 32>::field_schema,
        "Only calls whose caller or called number has these digits in it.",
    ),
    (
        "most",
        Most::field_schema,
        "How many calls are listed at most, the newest ones, 1 to 500; 200 by default.",
    ),
];

/// Filters that only operators have.
pub const OPERATORS_FILTERS: &[FilterDoc] = &[
    (
        "vendor",
        Ref::<VendorKind>::field_schema,
        "Only calls that this vendor carries, or is asked to (vnd_…).",
    ),
    ("customer", Ref::<CustomerKind>::field_schema, "Only calls of this customer (cus_…)."),
];

/// Which calls a list shows, and how many at most.
#[derive(Clone, Debug)]
pub struct LiveFilter {
    which: Which,
    most: usize,
}

impl LiveFilter {
    /// From the texts of a query, by the names of [`FILTERS`] and [`OPERATORS_FILTERS`].
    pub fn read<'q>(scope: Scope, text: impl Fn(&str) -> Option<&'q str>) -> Result<Self, Fault> {
        let mut problems = Vec::new();
        let given = |name: &'static str, whole: bool| {
            let value = text(name)?;
            Some(match whole {
                true => value.parse::<i64>().map_or(Value::Bool(false), Value::from),
                false => Value::from(value),
            })
        };
        let id = given("call", false);
        let id = id.and_then(|v| Ref::<CallKind>::read(Some(&v), "call", &mut problems));
        let trunk = given("trunk", false);
        let trunk = trunk.and_then(|v| Ref::<TrunkKind>::read(Some(&v), "trunk", &mut problems));
        let vendor = given("vendor", false);
        let vendor = vendor.and_then(|v| Ref::<VendorKind>::read(Some(&v), "vendor", &mut problems));
        let customer = given("customer", false);
        let customer = customer.and_then(|v| Ref::<CustomerKind>::read(Some(&v), "customer", &mut problems));
        let number = given("number", false);
        let number = number.and_then(|v| Text::<3, 32>::read(Some(&v), "number", &mut problems));
        let most = given("most", true).and_then(|v| Most::read(Some(&v), "most", &mut problems));
        super::none_wrong(problems)?;
        let which = Which {
            id: id.map(|r| r.0.to_string()),
            trunk: trunk.map(|r| r.0.to_string()),
            number: number.map(|t| t.0),
            vendor: vendor.map(|r| r.0.to_string()),
            // To a customer the operators' parameters do not exist; they were refused before.
            customer: scope.customer().map(|id| id.to_string()).or(customer.map(|r| r.0.to_string())),
        };
        let most = most.and_then(|m| usize::try_from(m.as_i32()).ok()).unwrap_or(MOST);
        Ok(Self { which, most })
    }
}

const MOST: usize = 200;

/// Calls in the air now.
pub async fn list(ctx: &Ctx<'_>, filter: &LiveFilter) -> Result<LiveCalls, Fault> {
    let question = Question::Calls { which: filter.which.clone(), most: filter.most };
    let answers = nodes::ask(ctx.app, &question).await?;
    let operator = ctx.scope.customer().is_none();
    let mut complete = answers.silent.is_empty();
    let mut found = 0_usize;
    let mut calls: Vec<NodeCall> = Vec::new();
    let mut shown = Vec::new();
    for (node, reply) in answers.said {
        let NodeReply::Calls(of) = reply else { continue };
        complete &= !of.partly;
        found = found.saturating_add(of.found);
        shown.push(LiveNode { node: node.clone(), answered: !of.partly, calls: of.found });
        calls.extend(of.calls.into_iter().map(|c| NodeCall { node: Some(node.clone()), ..c }));
    }
    shown.extend(answers.silent.into_iter().map(|node| LiveNode { node, answered: false, calls: 0 }));
    calls.sort_by(|a, b| (b.setup_at.0, &b.id).cmp(&(a.setup_at.0, &a.id)));
    calls.truncate(filter.most);
    if !operator {
        shown.clear();
        calls.iter_mut().for_each(conceal);
    }
    Ok(LiveCalls {
        at: Time(ctx.app.wall()),
        found,
        complete,
        calls: calls.into_iter().map(LiveCall::from).collect(),
        nodes: shown,
    })
}

/// Takes out what is the carrier's own business, and who called where he asked not to be named.
fn conceal(call: &mut NodeCall) {
    (call.cost, call.vendor_id, call.vendor_trunk_id, call.node) = (None, None, None, None);
    if call.private && call.direction == CallDirection::Inbound.as_str() {
        call.caller = super::calls::ANONYMOUS.to_owned();
    }
}

/// Ends a call by BYE both ways (by CANCEL before its answer), wherever it is carried. It stands in the audit log before it is done.
/// Errors: no node that answers has such a call of this customer; it is over; it is a call for help.
pub async fn hang_up(ctx: &Ctx<'_>, id: CallId, input: HangUpInput) -> Result<HungUpCall, Fault> {
    let customer = ctx.scope.customer();
    let which =
        Which { id: Some(id.to_string()), customer: customer.map(|c| c.to_string()), ..Which::default() };
    let look = nodes::ask(ctx.app, &Question::Calls { which, most: 1 }).await?;
    let found = look.said.into_iter().find_map(|(node, reply)| match reply {
        NodeReply::Calls(of) => of.calls.into_iter().next().map(|call| (node, call)),
        _ => None,
    });
    let Some((_, call)) = found else { return Err(not_in_the_air(&look.silent)) };
    // A transaction of its own, and before the deed: whoever hangs up is known, whatever happens then.
    let mut tx = ctx.app.store.begin(ctx.scope).await?;
    let owner = call.customer_id.as_deref().and_then(|c| c.parse().ok());
    let detail = json!({ "reason": input.reason.0, "state": call.state, "duration_ms": call.duration_ms });
    ctx.audit(&mut tx, owner, "call.hang_up", &id.to_string(), Some(detail)).await?;
    tx.commit().await?;
    let question = Question::HangUp { id: id.to_string(), customer: customer.map(|c| c.to_string()) };
    let answers = nodes::ask(ctx.app, &question).await?;
    let mut over = false;
    for (node, reply) in answers.said {
        let NodeReply::HungUp { came } = reply else { continue };
        match came {
            NodeHangUp::NotHere => {}
            NodeHangUp::Over => over = true,
            NodeHangUp::Emergency => {
                return Err(Fault::new(Kind::Conflict, "this is a call for help: its parties end it"));
            }
            NodeHangUp::Ended { state } => {
                return Ok(HungUpCall {
                    id: id.to_string(),
                    state: state.into(),
                    internal_code: if customer.is_some() { "customer" } else { "operator" }.to_owned(),
                    node: customer.is_none().then_some(node),
                });
            }
        }
    }
    match over {
        true => Err(Fault::new(Kind::Conflict, "the call has just ended by itself")),
        false => Err(not_in_the_air(&answers.silent)),
    }
}

fn not_in_the_air(silent: &[String]) -> Fault {
    if silent.is_empty() {
        let message = "there is no such call in the air";
        return Fault::new(Kind::NotFound, message).hint("one that has ended is among the calls");
    }
    let message = format!("no node that answers has this call, and {} did not answer", silent.join(", "));
    Fault { retry_after_s: Some(5), ..Fault::new(Kind::Unavailable, message) }
}
