//! Where the vendor trunks of this process's proxy stand, and how an operator puts one back by hand.
//!
//! The figures are live, not rows: they come through a [`Door`] that the composition root opens when there is a proxy.

use std::sync::Arc;

use warp_model::VendorTrunkId;

use super::Ctx;
use super::fault::{Fault, Kind};
use super::resource;
use super::trunks::Registration;
use super::vendor_trunks::VendorTrunks;

/// Gives the phones that a digest user has registered, by his name and realm.
pub type Registrations = Arc<dyn Fn(&str, &str) -> Vec<Registration> + Send + Sync>;

/// Reads and changes the state of the proxy's vendor trunks.
#[derive(Clone)]
pub struct Door {
    /// The name of the node, for people.
    pub node: String,
    /// Where a trunk stands; `None`: the snapshot in force does not have it.
    pub standing: Arc<dyn Fn(VendorTrunkId) -> Option<Standing> + Send + Sync>,
    /// From now on the trunk counts as well; false: the snapshot in force does not have it.
    pub reset: Arc<dyn Fn(VendorTrunkId) -> bool + Send + Sync>,
    /// The phones that a digest user (name, realm) has registered.
    pub registrations: Registrations,
}

/// Where a trunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `up`, `returning`, `down` or `on_trial`.
    pub state: &'static str,
    /// Percent of its calls that it gets.
    pub share: u8,
    /// Why it is out, or was last; while it is not up.
    pub reason: Option<&'static str>,
    /// Seconds until it is tried again; only when it is down.
    pub back_in_s: Option<u64>,
}

/// The health of a vendor trunk, as the proxy sees it now.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct VendorTrunkHealth {
    /// The vendor trunk's id: `vtk_` and 26 characters.
    pub id: String,
    /// `up`: it gets its calls. `returning`: a share of them, more each second. `down`: none. `on_trial`: single calls try whether it
    /// answers.
    pub state: String,
    /// Percent of its calls that it gets now.
    pub share_percent: u8,
    /// Why it is not up.
    pub reason: Option<String>,
    /// Seconds until it is tried again; only when it is down.
    pub back_in_s: Option<u64>,
}

/// Of one trunk. Errors: there is no such trunk, or this process has no proxy.
pub async fn get(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<VendorTrunkHealth, Fault> {
    resource::get::<VendorTrunks>(ctx, id).await?;
    shown(door(ctx)?, id)
}

/// Puts a trunk back: it gets all its calls from the next one on. Stands in the audit log. Errors: as [`get`].
pub async fn reset(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<VendorTrunkHealth, Fault> {
    resource::get::<VendorTrunks>(ctx, id).await?;
    let door = door(ctx)?;
    let before = shown(door, id)?;
    let mut tx = ctx.begin().await?;
    let detail = serde_json::json!({"state": before.state, "reason": before.reason});
    ctx.audit(&mut tx, None, "vendor_trunk.reset", &id.to_string(), Some(detail)).await?;
    tx.commit().await?;
    (door.reset)(id);
    shown(door, id)
}

fn door<'a>(ctx: &'a Ctx<'_>) -> Result<&'a Door, Fault> {
    ctx.app.trunk_door().ok_or_else(|| {
        Fault::new(Kind::Conflict, "this process has no proxy").hint("ask the node that carries the calls")
    })
}

fn shown(door: &Door, id: VendorTrunkId) -> Result<VendorTrunkHealth, Fault> {
    let standing = (door.standing)(id).ok_or_else(|| {
        Fault::new(
            Kind::Conflict,
            "calls do not know this trunk: it or its vendor is disabled, or it is a second old",
        )
    })?;
    Ok(VendorTrunkHealth {
        id: id.to_string(),
        state: standing.state.to_owned(),
        share_percent: standing.share,
        reason: standing.reason.map(str::to_owned),
        back_in_s: standing.back_in_s,
    })
}
