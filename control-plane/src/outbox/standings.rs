//! The state of vendor trunks as events: what the proxy of this process sees is compared with what its node saw last, and a change is
//! written together with its event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use warp_model::VendorTrunkId;
use warp_policy::SnapshotId;

use crate::App;
use crate::app::events::catalogue::{VendorDown, VendorTrunkDown, VendorTrunkUp, VendorUp};
use crate::app::trunk_health::Standing;
use crate::store::outbox::tell;
use crate::store::standings::{self as rows, StandingRow};
use crate::store::{Scope, StoreError};

/// How often the trunks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often they are compared with the rows though this process sees no change: somebody may have changed those.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Looks until told to stop. PostgreSQL is asked when something has changed, and now and then.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut compared: Option<(Seen, Instant)> = None;
    while tokio::time::timeout(LOOK_EVERY, stop.wait_for(|s| *s)).await.is_err() {
        let Some(now) = seen(&app) else { continue };
        if compared.as_ref().is_some_and(|(then, at)| *then == now && at.elapsed() < READ_EVERY) {
            continue;
        }
        compared = match look(&app).await {
            // What has changed meanwhile is looked at again.
            Ok(()) => seen(&app).filter(|after| *after == now).map(|seen| (seen, Instant::now())),
            Err(error) => {
                tracing::debug!(%error, "the state of vendor trunks waits for PostgreSQL");
                None
            }
        };
    }
}

/// How the vendor trunks of a snapshot stand: whether each is down, of those that calls know.
type Seen = (SnapshotId, Vec<(VendorTrunkId, Option<bool>)>);

/// What a process with a proxy sees now.
fn seen(app: &App) -> Option<Seen> {
    let door = app.trunk_door()?;
    let snapshot = app.publication.latest();
    let trunks = snapshot.directory.vendor_trunks();
    let trunks = trunks.map(|(_, trunk)| (trunk.id, (door.standing)(trunk.id).map(|s| is_down(&s))));
    Some((snapshot.id, trunks.collect()))
}

fn is_down(standing: &Standing) -> bool {
    matches!(standing.state, "down" | "on_trial")
}

/// One look at all trunks. A process without a proxy sees nothing.
pub async fn look(app: &App) -> Result<(), StoreError> {
    let Some(door) = app.trunk_door() else { return Ok(()) };
    let node = &door.node;
    let mut tx = app.store.begin(Scope::Operator("vendor trunks")).await?;
    let before = rows::all(&mut tx, node).await?;
    let mut vendors: BTreeMap<String, Vendor> = BTreeMap::new();
    let mut changed = false;
    for row in before {
        let standing = row.id.parse().ok().and_then(|id| (door.standing)(id));
        // A trunk that calls do not know (disabled, or a second old) stands where it stood.
        let is_down = standing.as_ref().map_or(row.down, is_down);
        let vendor = vendors.entry(row.vendor_id.clone()).or_default();
        vendor.name.clone_from(&row.vendor_name);
        if standing.is_some() {
            vendor.were_down.push(row.down);
            vendor.are_down.push(is_down);
        }
        if is_down == row.down {
            continue;
        }
        changed = true;
        rows::set(&mut tx, node, &row.id, is_down).await?;
        let StandingRow { id, vendor_id, name, .. } = row;
        let node = node.clone();
        if is_down {
            let reason = standing.and_then(|s| s.reason).map(str::to_owned);
            let event = VendorTrunkDown { vendor_id, vendor_trunk_id: id, name, node, reason };
            tell(&mut tx, None, event).await?;
        } else {
            tell(&mut tx, None, VendorTrunkUp { vendor_id, vendor_trunk_id: id, name, node }).await?;
        }
    }
    if !changed {
        return Ok(());
    }
    for (vendor_id, Vendor { name, were_down, are_down }) in vendors {
        let all = |list: &[bool]| !list.is_empty() && list.iter().all(|down| *down);
        let node = node.clone();
        match (all(&were_down), all(&are_down)) {
            (false, true) => tell(&mut tx, None, VendorDown { vendor_id, name, node }).await?,
            (true, false) => tell(&mut tx, None, VendorUp { vendor_id, name, node }).await?,
            _ => {}
        }
    }
    tx.commit().await
}

/// The trunks of a vendor that calls know, before and after.
#[derive(Default)]
struct Vendor {
    name: String,
    were_down: Vec<bool>,
    are_down: Vec<bool>,
}
