//! The control plane on a runtime of its own: nothing on the call path shares its threads.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use warp_control_plane::app::trunk_health::{Door, Standing};
use warp_control_plane::{ControlPlane, Edge, LiveFigures};
use warp_events::EventLog;
use warp_feed::Publisher;
use warp_policy::Snapshot;
use warp_sip_proxy::Commander;
use warp_sip_proxy::core::TrunkState;
use warp_telemetry::Registry;
use warp_telemetry::health::Part;

use crate::config::Config;

/// A running control plane. Dropping it stops listener, tasks and the private PostgreSQL cluster.
pub(super) struct ControlThread {
    runtime: Option<tokio::runtime::Runtime>,
    control: Option<ControlPlane>,
    addr: SocketAddr,
}

impl ControlThread {
    pub(super) fn start(
        config: &Config,
        publisher: Publisher<Snapshot>,
        live: LiveFigures,
        events: Option<EventLog>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("api")
            .enable_all()
            .build()
            .context("runtime")?;
        let handles =
            warp_control_plane::Handles { publisher, live: Some(live), events, registry: registry.clone() };
        let started = warp_control_plane::start(config.api.control_plane(config), handles);
        let control = runtime.block_on(started).context("control plane")?;
        Ok(Self { addr: control.addr, runtime: Some(runtime), control: Some(control) })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on this part says whether the database answers.
    pub(super) fn report_health_to(&self, part: Part) {
        if let Some(control) = &self.control {
            control.app.report_health_to(part);
        }
    }

    /// Other limits at the edge, from the next request on.
    pub(super) fn configure(&self, edge: Edge) {
        if let Some(control) = &self.control {
            control.app.configure(edge);
        }
    }

    /// From now on the API knows where the vendor trunks of this proxy stand, and puts them back.
    pub(super) fn vendor_trunks_of(&self, proxy: Commander) {
        let Some(control) = &self.control else { return };
        let of_reset = proxy.clone();
        control.app.vendor_trunks_through(Door {
            standing: Arc::new(move |id| proxy.vendor_trunk(id).map(standing)),
            reset: Arc::new(move |id| of_reset.reset_vendor_trunk(id)),
        });
    }

    /// The operator's key that was made because there was none.
    pub(super) fn first_key(&self) -> Option<String> {
        let key = self.control.as_ref()?.operator_key.as_ref()?;
        Some(key.reveal().clone())
    }

    /// The key of the first start when this is it, otherwise a new one.
    pub(super) fn operator_key(&self) -> anyhow::Result<String> {
        let (Some(runtime), Some(control)) = (&self.runtime, &self.control) else {
            anyhow::bail!("the control plane has stopped");
        };
        if let Some(key) = &control.operator_key {
            return Ok(key.reveal().clone());
        }
        use warp_control_plane::app::{Ctx, keys};
        let ctx = Ctx::system(&control.app, "a new operator's key");
        let made = runtime.block_on(keys::create(&ctx, None, keys::ApiKeyInput::everything("warp")));
        Ok(made.map_err(|e| anyhow::anyhow!("operator's key: {e}"))?.secret)
    }
}

/// The proxy's words in those of the API.
fn standing(state: TrunkState) -> Standing {
    let (state, share, reason, back_in_s) = match state {
        TrunkState::Up => ("up", 100, None, None),
        TrunkState::Returning(share) => ("returning", share, None, None),
        TrunkState::Down(left, why) => ("down", 0, Some(why.as_str()), Some(left.as_secs())),
        TrunkState::OnTrial(why) => ("on_trial", 0, Some(why.as_str()), None),
    };
    Standing { state, share, reason, back_in_s }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        if let (Some(runtime), Some(control)) = (self.runtime.take(), self.control.take()) {
            runtime.block_on(control.stop());
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
        }
    }
}
