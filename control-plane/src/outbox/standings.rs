//! The state of vendor trunks as events: what the proxy of this process sees is compared with what its node saw last, and a change is
//! written together with its event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::App;
use crate::app::events::catalogue::{VendorDown, VendorTrunkDown, VendorTrunkUp, VendorUp};
use crate::store::outbox::tell;
use crate::store::standings::{self as rows, StandingRow};
use crate::store::{Scope, StoreError};

/// How often the trunks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until told to stop.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    while tokio::time::timeout(LOOK_EVERY, stop.wait_for(|s| *s)).await.is_err() {
        if let Err(error) = look(&app).await {
            tracing::debug!(%error, "the state of vendor trunks waits for PostgreSQL");
        }
    }
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
        let is_down = standing.map_or(row.down, |s| matches!(s.state, "down" | "on_trial"));
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
