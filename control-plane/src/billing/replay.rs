//! Repeating the decision and the price of a posted call from its snapshot id.

use std::sync::Arc;

use warp_model::CallId;
use warp_model::cdr::CallRecord;
use warp_policy::{Snapshot, SnapshotId};

use super::rerate;
use crate::app::fault::{Fault, Kind};
use crate::app::view::Word;
use crate::app::{Ctx, calls};
use crate::publish::archive;

crate::choice! {
    /// Whether a call's price came out the same.
    pub enum ReplayedRating {
        /// It gave the same price.
        Confirmed = "confirmed",
        /// The price came out differently.
        Mismatch = "mismatch",
        /// There was nothing to rate.
        None = "none",
        /// It could not be tried.
        Unchecked = "unchecked",
    }
}

crate::view! {
    /// What came out when a call was decided and rated again.
    pub struct Replay {
        /// The policy snapshot that decided the call.
        pub snapshot_id: String,
        /// Whether the same candidates came out in the same order, or the same refusal.
        pub same_decision: bool,
        /// Whether the price came out the same.
        pub rating: Word<ReplayedRating>,
    }
}

/// Decides and rates a call again as it was.
pub async fn replay(ctx: &Ctx<'_>, id: CallId) -> Result<Replay, Fault> {
    let gone = |what: &str| Fault::new(Kind::NotFound, format!("{what} of this call is not kept"));
    let detail = calls::get(ctx, id).await?;
    let record: CallRecord =
        serde_json::from_str(&detail.record.value().to_string()).map_err(|_| gone("the record"))?;
    let snapshot_id: SnapshotId = record.snapshot_id.parse().map_err(|_| gone("the snapshot"))?;
    let snapshot: Arc<Snapshot> = match ctx.app.publication.recent(snapshot_id) {
        Some(s) => s,
        None => match archive::load(&ctx.app.store, snapshot_id).await {
            Ok(Some(s)) => Arc::new(s),
            Ok(None) => return Err(gone("the snapshot")),
            Err(e) => {
                tracing::error!(error = %e, snapshot = %snapshot_id, "a kept snapshot cannot be made again");
                return Err(Fault::internal());
            }
        },
    };
    let again = rerate::repeat(&snapshot, &record).ok_or_else(|| gone("the decision"))?;
    Ok(Replay {
        snapshot_id: snapshot_id.to_string(),
        same_decision: again.same_decision,
        rating: again.rating.as_str().to_owned().into(),
    })
}
