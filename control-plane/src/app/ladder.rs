//! The messages of a call as a picture, and who was refused (RFC 0044). Both are with the nodes: nothing of it is in PostgreSQL.
//!
//! A customer sees what went between him and the platform. What went between the platform and vendors, and what cannot be told to be his,
//! is the carrier's.

use serde::{Deserialize, Serialize};
use warp_model::CallId;
use warp_model::Wall;

use super::Ctx;
use super::calls::FilterDoc;
use super::fault::{Fault, Kind};
use super::input::{Field, Ip};
use super::nodes::{self, NodeReply, Question};
use super::view::Word;
use crate::store::calls as rows;
use crate::store::types::Time;

/// The messages of a call, as its node has them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields of the view
pub struct NodeLadder {
    pub sip_call_id: String,
    pub owners: Vec<NodeOwner>,
    pub over: bool,
    pub begun: bool,
    pub missing: u32,
    pub numbers_masked: bool,
    pub lanes: Vec<NodeLane>,
    pub arrows: Vec<NodeArrow>,
}

/// Whose call of a Call-ID it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeOwner {
    /// The id of the call.
    pub id: String,
    /// The customer whose it is.
    pub customer: Option<String>,
    /// He is the called side.
    pub inbound: bool,
}

/// A party, as its node has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeLane {
    /// Its address; empty for the platform itself.
    pub address: String,
    /// `us`, `caller`, `called` or `unknown`.
    pub side: String,
}

/// A message, as its node has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields of the view
pub struct NodeArrow {
    pub at_us: i64,
    pub from: usize,
    pub to: usize,
    pub side: String,
    pub transport: String,
    pub method: String,
    pub status: Option<u16>,
    pub reason: String,
    pub cseq: u32,
    pub sdp: bool,
    pub repeats: Option<usize>,
    pub local: String,
    pub remote: String,
    pub text: String,
}

/// Who was refused, as a node has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields of the view
pub struct NodeRefused {
    pub remote: String,
    pub transport: String,
    pub at_us: i64,
    pub requests: u64,
    pub method: String,
    pub uri: String,
    pub from: String,
    pub agent: String,
    pub status: Option<u16>,
}

crate::choice! {
    /// Which side of a call a party is of.
    pub enum LaneSide {
        /// It is the platform itself.
        Us = "us",
        /// Whoever began the call.
        Caller = "caller",
        /// Whoever was called by it.
        Called = "called",
        /// It cannot be told.
        Unknown = "unknown",
    }
}

crate::view! {
    /// A party of a ladder: a vertical line.
    pub struct LadderLane {
        /// Which side it is of.
        pub side: Word<LaneSide>,
        /// Its address and port; empty for the platform, which may have several.
        pub address: String,
    }
}

crate::view! {
    /// A message of a ladder: an arrow.
    pub struct LadderMessage {
        /// When it was read or sent.
        pub at: Time,
        /// Microseconds since the first message.
        pub after_us: u64,
        /// From which lane, by its place in the list, from 0.
        pub from: usize,
        /// To which lane, counted the same.
        pub to: usize,
        /// What it travelled by: `UDP`, `TCP`, `TLS`, `WS` or `WSS`.
        pub transport: String,
        /// The method of a request; of a response that of the request which it answers.
        pub method: String,
        /// The status of a response. Null: it is a request.
        pub status: Option<i32>,
        /// The reason phrase of a response; empty for a request.
        pub reason: String,
        /// The number in CSeq.
        pub cseq: u32,
        /// Whether it has a session description.
        pub sdp: bool,
        /// It is the same message again as this earlier one, by its place in the list, from 0. Null: it is none.
        pub repeats: Option<usize>,
        /// The address and port that it came from.
        pub source: String,
        /// The address and port that it went to.
        pub destination: String,
        /// The message as it travelled, with what is masked as `*`.
        pub text: String,
    }
}

crate::view! {
    /// The messages of a call as a picture.
    pub struct Ladder {
        /// The id of the call.
        pub id: String,
        /// The Call-ID of SIP.
        pub sip_call_id: String,
        /// Whether the call is over. Else further messages may come.
        pub over: bool,
        /// Whether the first message is there. Else there was no room for the beginning of the call.
        pub begun: bool,
        /// How many messages there was no room for.
        pub missing: u32,
        /// Whether the middle of telephone numbers is masked, and not only credentials and keys.
        pub numbers_masked: bool,
        /// The parties; the first one is the platform.
        pub lanes: Vec<LadderLane>,
        /// The messages, in their order.
        pub messages: Vec<LadderMessage>,
        /// The node that carried the call. Null for customers.
        pub node: Option<String>,
    }
}

crate::view! {
    /// An address without an account that wanted something of a node.
    pub struct RefusedSource {
        /// Its address and port.
        pub address: String,
        /// How it came: `UDP`, `TCP`, `TLS`, `WS` or `WSS`.
        pub transport: String,
        /// When its last request came.
        pub at: Time,
        /// How many requests of it were seen.
        pub requests: u64,
        /// The method of the last one.
        pub method: String,
        /// The Request-URI of that one.
        pub uri: String,
        /// Whom it said that it was.
        pub from: String,
        /// What it says that it is (User-Agent); empty: it says nothing.
        pub agent: String,
        /// What it was answered. Null: nothing, as scanners and floods are.
        pub status: Option<i32>,
        /// The node that it came to.
        pub node: String,
    }
}

crate::view! {
    /// Addresses without an account that came last, the last first.
    pub struct RefusedSources {
        /// The addresses; of each node the last two hundred.
        pub sources: Vec<RefusedSource>,
        /// Nodes that did not answer.
        pub silent: Vec<String>,
    }
}

/// The messages of a call, in the air or over. Errors: there is no such call of this customer; its messages were not kept; no node that
/// answers has them, and one did not answer.
pub async fn get(ctx: &Ctx<'_>, id: CallId) -> Result<Ladder, Fault> {
    let answers = nodes::ask(ctx.app, &Question::Ladder { id: id.to_string() }).await?;
    let found = answers.said.into_iter().find_map(|(node, reply)| match reply {
        NodeReply::Ladder { ladder: Some(ladder) } => Some((node, ladder)),
        _ => None,
    });
    let customer = ctx.scope.customer().map(|c| c.to_string());
    if let Some((node, ladder)) = found {
        let owner = ladder.owners.iter().find(|o| o.id == id.to_string());
        let inbound = owner.is_some_and(|o| o.inbound);
        return match (&customer, owner.and_then(|o| o.customer.as_ref())) {
            (None, _) => Ok(shown(id, ladder, Some(node))),
            (Some(mine), Some(his)) if mine == his => Ok(shown(id, own_side(ladder, inbound), None)),
            _ => Err(Fault::not_found("call")),
        };
    }
    if !answers.silent.is_empty() {
        let message = match customer {
            None => format!(
                "no node that answers has its messages, and {} did not answer",
                answers.silent.join(", ")
            ),
            Some(_) => "a node did not answer, and it may have the messages of this call".to_owned(),
        };
        return Err(Fault { retry_after_s: Some(5), ..Fault::new(Kind::Unavailable, message) });
    }
    let mut tx = ctx.begin().await?;
    match rows::get(&mut tx, id).await? {
        None => Err(Fault::not_found("call")),
        Some(_) => Err(Fault::new(Kind::NotFound, "the messages of this call were not kept").hint(
            "calls that failed are kept for some days, of the others a sample: capture.calls, capture.sample and capture.keep say which",
        )),
    }
}

/// What went between a customer and the platform.
fn own_side(mut ladder: NodeLadder, inbound: bool) -> NodeLadder {
    let side = if inbound { LaneSide::Called } else { LaneSide::Caller }.as_str();
    let mut lanes: Vec<Option<usize>> = Vec::new();
    let mut kept = Vec::new();
    for (index, lane) in ladder.lanes.into_iter().enumerate() {
        let stays = index == 0 || lane.side == side;
        lanes.push(stays.then_some(kept.len()));
        if stays {
            kept.push(lane);
        }
    }
    let mut places: Vec<Option<usize>> = Vec::new();
    let mut arrows: Vec<NodeArrow> = Vec::new();
    for arrow in ladder.arrows {
        let of = |lane: usize| lanes.get(lane).copied().flatten();
        let ends = of(arrow.from).zip(of(arrow.to)).filter(|_| arrow.side == side);
        places.push(ends.map(|_| arrows.len()));
        if let Some((from, to)) = ends {
            let repeats = arrow.repeats.and_then(|at| places.get(at).copied().flatten());
            arrows.push(NodeArrow { from, to, repeats, ..arrow });
        }
    }
    (ladder.lanes, ladder.arrows) = (kept, arrows);
    ladder
}

fn shown(id: CallId, ladder: NodeLadder, node: Option<String>) -> Ladder {
    let first = ladder.arrows.first().map_or(0, |a| a.at_us);
    let message = |a: NodeArrow| {
        let ours = a.to == 0;
        let (source, destination) = if ours { (a.remote, a.local) } else { (a.local, a.remote) };
        LadderMessage {
            at: Time(Wall(a.at_us)),
            after_us: u64::try_from(a.at_us.saturating_sub(first)).unwrap_or(0),
            from: a.from,
            to: a.to,
            transport: a.transport,
            method: a.method,
            status: a.status.map(i32::from),
            reason: a.reason,
            cseq: a.cseq,
            sdp: a.sdp,
            repeats: a.repeats,
            source,
            destination,
            text: a.text,
        }
    };
    Ladder {
        id: id.to_string(),
        sip_call_id: ladder.sip_call_id,
        over: ladder.over,
        begun: ladder.begun,
        missing: ladder.missing,
        numbers_masked: ladder.numbers_masked,
        lanes: ladder
            .lanes
            .into_iter()
            .map(|l| LadderLane { side: l.side.into(), address: l.address })
            .collect(),
        messages: ladder.arrows.into_iter().map(message).collect(),
        node,
    }
}

/// What a list of refused sources is filtered by.
pub const FILTERS: &[FilterDoc] = &[("address", Ip::field_schema, "Only this address.")];

/// Addresses without an account that wanted something, of all nodes.
pub async fn refused(ctx: &Ctx<'_>, address: Option<&str>) -> Result<RefusedSources, Fault> {
    let mut problems = Vec::new();
    let value = address.map(serde_json::Value::from);
    let address = value.and_then(|v| Ip::read(Some(&v), "address", &mut problems));
    super::none_wrong(problems)?;
    let ip = address.map(|a| a.0.to_string());
    let answers = nodes::ask(ctx.app, &Question::Refused { ip }).await?;
    let mut sources = Vec::new();
    for (node, reply) in answers.said {
        let NodeReply::Refused { seen } = reply else { continue };
        sources.extend(seen.into_iter().map(|s| RefusedSource {
            address: s.remote,
            transport: s.transport,
            at: Time(Wall(s.at_us)),
            requests: s.requests,
            method: s.method,
            uri: s.uri,
            from: s.from,
            agent: s.agent,
            status: s.status.map(i32::from),
            node: node.clone(),
        }));
    }
    sources.sort_by_key(|s| std::cmp::Reverse(s.at.0));
    Ok(RefusedSources { sources, silent: answers.silent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> NodeLadder {
        let lane = |address: &str, side: &str| NodeLane { address: address.into(), side: side.into() };
        let arrow = |from, to, side: &str, repeats| NodeArrow {
            at_us: 5,
            from,
            to,
            side: side.into(),
            transport: "UDP".into(),
            method: "INVITE".into(),
            status: None,
            reason: String::new(),
            cseq: 1,
            sdp: false,
            repeats,
            local: "l".into(),
            remote: "r".into(),
            text: side.to_owned(),
        };
        NodeLadder {
            lanes: vec![lane("", "us"), lane("v1", "called"), lane("pbx", "caller"), lane("x", "unknown")],
            arrows: vec![
                arrow(2, 0, "caller", None),
                arrow(0, 1, "called", None),
                arrow(0, 1, "called", Some(1)),
                arrow(2, 0, "caller", Some(0)),
                arrow(3, 0, "unknown", Some(0)),
            ],
            ..NodeLadder::default()
        }
    }

    #[test]
    fn a_customer_sees_its_own_side_and_nothing_that_may_be_another_ones() {
        let own = own_side(ladder(), false);
        let lanes: Vec<_> = own.lanes.iter().map(|l| l.address.as_str()).collect();
        assert_eq!(lanes, ["", "pbx"]);
        let arrows: Vec<_> = own.arrows.iter().map(|a| (a.from, a.to, a.repeats)).collect();
        assert_eq!(arrows, [(1, 0, None), (1, 0, Some(0))]);
        let called = own_side(ladder(), true);
        let arrows: Vec<_> = called.arrows.iter().map(|a| (a.from, a.to, a.repeats)).collect();
        assert_eq!(arrows, [(0, 1, None), (0, 1, Some(0))]);
        assert!(called.lanes.iter().all(|l| l.address != "pbx"));
    }
}
