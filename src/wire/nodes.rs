//! What this process answers when nodes are asked (RFC 0041): its calls in the air, the end of one by hand, the messages of one, and who was
//! refused.

use std::sync::Arc;
use std::time::Duration;

use warp_capture::{Capture, Owner, Picture, Side, Sought, StrangerSeen};
use warp_control_plane::app::ladder::{NodeArrow, NodeLadder, NodeLane, NodeOwner, NodeRefused};
use warp_control_plane::app::live::{NodeCall, NodeCalls, NodeHangUp, Which};
use warp_control_plane::app::nodes::{ANSWER_WAIT, Door, NodeReply, Question};
use warp_control_plane::store::types::{Amount, Time};
use warp_model::cdr::Direction;
use warp_model::{CallId, CustomerId};
use warp_sip_proxy::Commander;
use warp_sip_proxy::core::{HangUpBy, HungUp, LiveCall, LookFor};

/// The door to the proxy of this process.
pub(super) fn door(node: &str, proxy: Commander, pictures: Option<Capture>) -> Door {
    let answer = move |question: &Question| answer(&proxy, pictures.as_ref(), question);
    Door { node: node.to_owned(), answer: Arc::new(answer) }
}

fn answer(proxy: &Commander, pictures: Option<&Capture>, question: &Question) -> NodeReply {
    match question {
        Question::Calls { which, most } => {
            let Some(which) = look_for(which) else { return NodeReply::Calls(NodeCalls::default()) };
            let seen = proxy.look_at_calls(&which, (*most).min(MOST), ANSWER_WAIT);
            NodeReply::Calls(NodeCalls {
                calls: seen.calls.into_iter().map(told).collect(),
                found: seen.found,
                partly: seen.silent > 0,
            })
        }
        Question::HangUp { id, customer } => {
            let not_here = NodeReply::HungUp { came: NodeHangUp::NotHere };
            let Ok(id) = id.parse() else { return not_here };
            let customer = customer.as_deref().map(str::parse::<CustomerId>).transpose();
            let Ok(customer) = customer else { return not_here };
            let by = if customer.is_some() { HangUpBy::Customer } else { HangUpBy::Operator };
            match proxy.hang_up(id, customer, by, ANSWER_WAIT) {
                None => NodeReply::Unknown,
                Some(came) => NodeReply::HungUp { came: came_of(came) },
            }
        }
        Question::Ladder { id } => {
            let picture = pictures.zip(id.parse().ok()).and_then(|(p, id)| picture(proxy, p, id));
            NodeReply::Ladder { ladder: picture.map(drawn) }
        }
        Question::Refused { ip } => {
            let ip = ip.as_deref().map(str::parse).transpose();
            let (Some(pictures), Ok(ip)) = (pictures, ip) else {
                return NodeReply::Refused { seen: Vec::new() };
            };
            proxy.hand_over_captures(HAND_OVER);
            let seen = pictures.strangers(ip, HAND_OVER).into_iter().map(refused).collect();
            NodeReply::Refused { seen }
        }
    }
}

/// How long shards take to hand over what they captured, and the capture to answer.
const HAND_OVER: Duration = Duration::from_millis(400);

/// The messages of a call: of one in the air by its Call-ID and its addresses, of another one by what is kept.
fn picture(proxy: &Commander, pictures: &Capture, id: CallId) -> Option<Picture> {
    let own = LookFor { id: Some(id), ..LookFor::default() };
    let call = proxy.look_at_calls(&own, 1, HAND_OVER).calls.pop();
    proxy.hand_over_captures(HAND_OVER);
    let sought = match call {
        None => Sought::Over(id.as_u128()),
        Some(call) => Sought::InTheAir {
            sip_call_id: call.sip_call_id,
            owners: vec![Owner {
                id: id.as_u128(),
                customer: call.customer_id.map(|c| c.as_u128()),
                inbound: call.direction == Direction::Inbound,
            }],
            origin: call.origin,
            targets: call.targets,
        },
    };
    pictures.picture(sought, HAND_OVER)
}

fn drawn(picture: Picture) -> NodeLadder {
    let side = |side: Side, ours: bool| {
        match (side, ours) {
            (_, true) => "us",
            (Side::Origin, _) => "caller",
            (Side::Target, _) => "called",
            (Side::Unknown, _) => "unknown",
        }
        .to_owned()
    };
    let owner = |o: Owner| NodeOwner {
        id: CallId::from_u128(o.id).to_string(),
        customer: o.customer.map(|c| CustomerId::from_u128(c).to_string()),
        inbound: o.inbound,
    };
    let lanes = picture.lanes.into_iter().enumerate();
    NodeLadder {
        sip_call_id: picture.sip_call_id,
        owners: picture.owners.into_iter().map(owner).collect(),
        over: picture.over,
        begun: picture.begun,
        missing: picture.missing,
        numbers_masked: picture.numbers_masked,
        lanes: lanes.map(|(i, l)| NodeLane { side: side(l.side, i == 0), address: l.address }).collect(),
        arrows: picture
            .arrows
            .into_iter()
            .map(|a| NodeArrow {
                at_us: a.at_us,
                from: a.from,
                to: a.to,
                side: side(a.side, false),
                transport: a.transport,
                method: a.method,
                status: a.status,
                reason: a.reason,
                cseq: a.cseq,
                sdp: a.sdp,
                repeats: a.repeats,
                local: a.local,
                remote: a.remote,
                text: a.text,
            })
            .collect(),
    }
}

fn refused(seen: StrangerSeen) -> NodeRefused {
    NodeRefused {
        remote: seen.remote,
        transport: seen.transport,
        at_us: seen.at_us,
        requests: seen.requests,
        method: seen.method,
        uri: seen.uri,
        from: seen.from,
        agent: seen.agent,
        status: seen.status,
    }
}

/// Calls that an answer has at most, whatever was asked for.
const MOST: usize = 500;

/// `None`: an id is none, so nothing is found.
fn look_for(which: &Which) -> Option<LookFor> {
    fn id<T: std::str::FromStr>(text: Option<&String>) -> Option<Option<T>> {
        text.map(|t| t.parse()).transpose().ok()
    }
    Some(LookFor {
        id: id(which.id.as_ref())?,
        sip_call_id: None,
        customer: id(which.customer.as_ref())?,
        trunk: id(which.trunk.as_ref())?,
        vendor: id(which.vendor.as_ref())?,
        number: which.number.clone(),
    })
}

fn came_of(came: HungUp) -> NodeHangUp {
    match came {
        HungUp::NotHere => NodeHangUp::NotHere,
        HungUp::Over => NodeHangUp::Over,
        HungUp::Emergency => NodeHangUp::Emergency,
        HungUp::Ended(state) => NodeHangUp::Ended { state: state.to_owned() },
    }
}

fn told(call: LiveCall) -> NodeCall {
    NodeCall {
        id: call.cdr_id.to_string(),
        sip_call_id: call.sip_call_id,
        customer_id: call.customer_id.map(|id| id.to_string()),
        trunk_id: call.trunk_id.map(|id| id.to_string()),
        direction: match call.direction {
            Direction::Outbound => "outbound",
            Direction::Inbound => "inbound",
        }
        .to_owned(),
        on_net: call.on_net,
        number_id: call.number_id.map(|id| id.to_string()),
        caller: call.caller,
        called: call.called,
        called_e164: call.called_e164,
        state: call.state.to_owned(),
        emergency: call.emergency,
        setup_at: Time(call.setup_at),
        answer_at: call.answer_at.map(Time),
        duration_ms: call.duration_ms,
        attempts: call.attempts.into(),
        price: call.price.map(Amount),
        cost: call.cost.map(Amount),
        vendor_id: call.vendor_id.map(|id| id.to_string()),
        vendor_trunk_id: call.vendor_trunk_id.map(|id| id.to_string()),
        private: call.private,
        node: None,
    }
}
