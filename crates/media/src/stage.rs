//! One step on a packet: what a pipeline is made of, what SRTP is, and what the keys of a handshake become.

use std::fmt::Debug;

use warp_model::Mono;

use crate::packet::RoomyPacket;
use crate::port::{DropReason, MediaPath};

/// One step on a packet, with what it remembers from packet to packet.
pub trait Stage: Send + Debug {
    /// Changes the packet, or says why it ends here.
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, now: Mono) -> Result<(), DropReason>;
}

/// Makes the stage of a rule. A newer rule that names the same one (the same `Arc`) keeps the running stage.
pub trait StageMaker: Send + Sync + Debug {
    /// A stage at its beginning.
    fn make(&self) -> Box<dyn Stage>;
}
