//! The consoles that the build script embedded: the files of `ui/dist`, as its table lists them; none when they were not built.

use warp_control_plane::api::consoles::{Consoles, File};

include!(concat!(env!("OUT_DIR"), "/consoles.rs"));

/// Both portals, as they were built.
pub const ALL: Consoles = Consoles(FILES);

/// Whether this program has them.
pub fn are_built_in() -> bool {
    !ALL.0.is_empty()
}
