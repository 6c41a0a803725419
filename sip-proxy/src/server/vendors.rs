//! Says when a vendor trunk goes out of rotation, why, and when it is back: one look a second at what the calls have found out.

use std::collections::BTreeSet;

use warp_model::{Mono, VendorTrunkId};
use warp_policy::Directory;

use crate::core::{Shared, TrunkState};
use crate::metrics::CallCounter;

/// Who was out at the last look.
#[derive(Debug, Default)]
pub(super) struct VendorWatch {
    out: BTreeSet<VendorTrunkId>,
}

impl VendorWatch {
    /// Looks at all trunks: sets their series, and says what has changed.
    pub(super) fn look(&mut self, directory: &Directory, shared: &Shared, calls: &CallCounter, now: Mono) {
        for (_, trunk) in directory.vendor_trunks() {
            let state = shared.vendor_trunk(trunk.id, now).unwrap_or(TrunkState::Up);
            let up = matches!(state, TrunkState::Up | TrunkState::Returning(_));
            calls.trunk_up(trunk.id, up);
            match state {
                TrunkState::Down(left, cause) if self.out.insert(trunk.id) => tracing::warn!(
                    vendor_trunk = %trunk.id,
                    name = trunk.name,
                    for_s = left.as_secs().max(1),
                    "vendor trunk is out of rotation: {}",
                    cause.as_str()
                ),
                _ if up && self.out.remove(&trunk.id) => {
                    tracing::info!(vendor_trunk = %trunk.id, name = trunk.name, "vendor trunk is back in rotation");
                }
                _ => {}
            }
        }
        self.out.retain(|id| directory.vendor_trunk_ix(*id).is_some());
    }
}
