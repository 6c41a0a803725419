//! The route tester: the same `warp_policy::decide` and `explain` as in the call path, on the published snapshot. Nothing
//! is dialled.

use serde_json::Value;
use warp_model::TrunkId;
use warp_model::id::TrunkKind;
use warp_policy::number_plan::{DestinationClass, Dialled};
use warp_policy::{CallInput, Code, DecisionRecord, Live, Snapshot, decide, explain};

use super::fault::Fault;
use super::input::{DialString, Ref};
use super::record::DecisionRecord as DecisionShape;
use super::trunks::Trunks;
use super::view::Shaped;
use super::{Ctx, calls, resource};
use crate::store::types::Time;

crate::input! {
    /// A call to think through. Nothing is dialled.
    pub struct RouteInput {
        /// The trunk that the call would come in on.
        pub trunk_id: Ref<TrunkKind>,
        /// The called number as it would be dialled.
        pub to: DialString,
        /// The caller; none when absent.
        pub from: Option<DialString>,
        /// When the call would come; now when absent. Prices are those of that time, by the deck versions in force now.
        pub at: Option<Time>,
    }
}

crate::view! {
    /// How a call would go.
    pub struct RouteResult {
        /// The decision: candidates in order, exclusions with their rules, prices with the sums written out.
        pub decision: Shaped<DecisionShape>,
    }
}

/// Decides where a call would go, and explains why. Errors: an unknown trunk, or a number that is none.
pub async fn test(ctx: &Ctx<'_>, input: RouteInput) -> Result<RouteResult, Fault> {
    let id: TrunkId = input.trunk_id.0;
    // Row-level security says whether the caller may know this trunk at all.
    resource::get::<Trunks>(ctx, id).await?;
    let record = decide_at(ctx, id, &input).await?;
    let mut decision = serde_json::to_value(&record).unwrap_or(Value::Null);
    if ctx.scope.customer().is_some() {
        calls::conceal_decision(&mut decision);
    }
    Ok(RouteResult { decision: decision.into() })
}

async fn decide_at(ctx: &Ctx<'_>, id: TrunkId, input: &RouteInput) -> Result<DecisionRecord, Fault> {
    let mut snapshot = ctx.app.publication.latest();
    if let Some(Time(at)) = input.at
        && let Some(number) = priced_number(&snapshot, id, input.to.0.as_bytes())
    {
        snapshot = ctx.app.publication.snapshot_at(at, number).await.map_err(|e| {
            tracing::error!(error = %e, "no snapshot for the time of a route test");
            Fault::internal()
        })?;
    }
    let trunk = snapshot.directory.trunk_ix(id);
    // Made a moment ago: the snapshot that knows it is on its way.
    let trunk = trunk.ok_or_else(|| {
        let message = "this trunk is not live yet, try again in a second";
        Fault { retry_after_s: Some(1), ..Fault::new(super::fault::Kind::Unavailable, message) }
    })?;
    let figures = ctx.app.live.as_ref().map(|live| live(&snapshot)).unwrap_or_default();
    let live = Live::new(&figures);
    let call = CallInput {
        trunk,
        caller: input.from.as_ref().map_or(b"", |n| n.0.as_bytes()),
        called: input.to.0.as_bytes(),
        at: input.at.map_or(ctx.app.wall(), |t| t.0),
        call_hash: 0,
        lrn: None,
    };
    let begun = std::time::Instant::now();
    let decision = decide(&snapshot, &call, &live);
    ctx.app.metrics.business.decided(begun.elapsed());
    Ok(explain(&snapshot, &call, &live, &decision))
}

/// The number that prices the call: the routing number of a ported one, but never of a toll-free one.
fn priced_number(snapshot: &Snapshot, trunk: TrunkId, to: &[u8]) -> Option<Code> {
    let trunk = snapshot.directory.trunk(snapshot.directory.trunk_ix(trunk)?)?;
    let plan = &snapshot.number_plan;
    let Ok(Dialled::Number { number, rn, .. }) = plan.dialled(to, &trunk.dial) else { return None };
    let toll_free = plan.class(number) == Some(DestinationClass::TollFree);
    let routed = rn.filter(|n| n.nanp().is_some() && !toll_free).unwrap_or(number);
    Some(Code::whole(routed))
}
