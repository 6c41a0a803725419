//! Events of calls: made by the reader of the event log that posts the calls, in its transaction, and only for webhooks that want them.
//! They are no rows of the outbox: the event log has every call already.

use std::collections::{HashMap, HashSet};

use warp_model::cdr::{CallRecord, Outcome};
use warp_model::{CallId, EventId};

use crate::app::events::EventView;
use crate::app::events::catalogue::{CallCompleted, CallFailed, Event};
use crate::store::posting::{Posting, Written, clean};
use crate::store::types::{Amount, Json, Time};
use crate::store::{StoreError, Tx};

/// Makes deliveries of the calls of a batch that were written for the first time. Only customers in `wanting` have webhooks for them;
/// with `carriers` the carrier has one.
pub(crate) async fn told(
    tx: &mut Tx,
    batch: &[&Posting<'_>],
    written: &HashMap<CallId, Written>,
    wanting: &HashSet<String>,
    carriers: bool,
) -> Result<(), StoreError> {
    if wanting.is_empty() && !carriers {
        return Ok(());
    }
    let wants = |r: &CallRecord| carriers || r.customer_id.is_some_and(|c| wanting.contains(&c.to_string()));
    let new = |r: &CallRecord| written.get(&r.cdr_id) == Some(&Written::New);
    let records = batch.iter().map(|p| &p.record).filter(|r| wants(r) && new(r));
    let events: Vec<EventView> = records.map(event).collect();
    super::insert(tx, &events).await
}

/// A call as an event. Its id is made of the call's, so that it is the same whoever makes it.
fn event(r: &CallRecord) -> EventView {
    let text = |t: &Option<String>| t.as_deref().map(clean);
    let event: Event = if r.outcome == Outcome::Answered {
        CallCompleted {
            call_id: r.cdr_id.to_string(),
            trunk_id: r.trunk_id.map(|t| t.to_string()),
            direction: r.direction.as_str().to_owned().into(),
            caller: text(&r.caller_e164).unwrap_or_else(|| clean(&r.caller)),
            called: text(&r.called_e164).unwrap_or_else(|| clean(&r.called)),
            setup_at: Time(r.setup_at),
            answer_at: r.answer_at.map(Time),
            end_at: Time(r.end_at),
            duration_ms: i64::try_from(r.duration_ms).unwrap_or(i64::MAX),
            price: r.rating.as_ref().map(|x| Amount(x.sell.charge.of(x.sell.currency))),
        }
        .into()
    } else {
        CallFailed {
            call_id: r.cdr_id.to_string(),
            trunk_id: r.trunk_id.map(|t| t.to_string()),
            direction: r.direction.as_str().to_owned().into(),
            caller: text(&r.caller_e164).unwrap_or_else(|| clean(&r.caller)),
            called: text(&r.called_e164).unwrap_or_else(|| clean(&r.called)),
            setup_at: Time(r.setup_at),
            end_at: Time(r.end_at),
            outcome: r.outcome.as_str().to_owned().into(),
            sip_code: i32::from(r.sip_code),
            internal_code: clean(&r.internal_code),
        }
        .into()
    };
    EventView {
        id: EventId::from_u128(r.cdr_id.as_u128()).to_string(),
        r#type: event.entry().name.to_owned(),
        customer_id: r.customer_id.map(|c| c.to_string()),
        created_at: Time(r.end_at),
        data: Json(event.data()),
    }
}
