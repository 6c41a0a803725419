//! What a rule does beyond straight forwarding: `receive → unprotect? → stages → egress list {port, to, protect?}`.
//!
//! A [`Pipeline`] is plain data in a rule; the shard that runs the rule makes the [`Stage`]s of it. A stage changes the
//! packet in place, in the room that the receive lot leaves around it ([`crate::packet::RoomyPacket`]), and allocates nothing.
//! Rules without a pipeline never come here. SRTP is the first ([`crate::srtp`], RFC 0011, RFC 0027).

use std::net::SocketAddr;
use std::sync::Arc;

use warp_model::Mono;

use crate::packet::RoomyPacket;
use crate::play::Playing;
use crate::port::{DropReason, Egress, LocalPort, MediaPath};
use crate::session::SessionSetup;
pub use crate::stage::{Stage, StageMaker};

/// One entry of the egress list.
#[derive(Clone, Debug)]
pub struct Output {
    /// What of the port's packets goes there.
    pub path: MediaPath,
    /// Our port and the receiver.
    pub egress: Egress,
    /// Last step, for this receiver only.
    pub protect: Option<Arc<dyn StageMaker>>,
    /// Not for what comes in: we speak there ourselves ([`Pipeline::play`]).
    pub is_played: bool,
}

/// Steps of one rule.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// First step, before anything is read, learnt or counted: what it refuses has not come (T-RTP-05).
    pub unprotect: Option<Arc<dyn StageMaker>>,
    /// Further steps, in order, for all receivers.
    pub stages: Vec<Arc<dyn StageMaker>>,
    /// Receivers. They stand for [`crate::ForwardRule::rtp`] and `rtcp`, which are not used then.
    pub outputs: Vec<Output>,
    /// What the port's session begins with (RFC 0042); `None`: the port has none.
    pub session: Option<Arc<SessionSetup>>,
    /// What is played to the receiver of the played output (RFC 0049).
    pub play: Option<Arc<Playing>>,
}

/// A stage and what made it.
#[derive(Debug)]
struct Running {
    maker: Arc<dyn StageMaker>,
    stage: Box<dyn Stage>,
}

impl Running {
    /// The running one of `before` when it is of the same maker.
    fn of(maker: &Arc<dyn StageMaker>, before: &mut Vec<Running>) -> Self {
        match before.iter().position(|r| Arc::ptr_eq(&r.maker, maker)) {
            Some(at) => before.swap_remove(at),
            None => Self { maker: Arc::clone(maker), stage: maker.make() },
        }
    }
}

#[derive(Debug)]
struct RunningOutput {
    path: MediaPath,
    port: LocalPort,
    to: Option<SocketAddr>,
    dest: Option<SocketAddr>,
    protect: Option<Running>,
    is_played: bool,
}

/// A pipeline at work.
#[derive(Debug)]
pub(crate) struct RunningPipeline {
    unprotect: Option<Running>,
    stages: Vec<Running>,
    outputs: Vec<RunningOutput>,
}

impl RunningPipeline {
    /// Of the rule's data; stages that go on are taken over from `before`.
    pub(crate) fn new(data: &Pipeline, before: Option<RunningPipeline>) -> Self {
        let mut old: Vec<Running> = Vec::new();
        if let Some(before) = before {
            old.extend(before.unprotect);
            old.extend(before.stages);
            old.extend(before.outputs.into_iter().filter_map(|o| o.protect));
        }
        let mut running = |maker: &Arc<dyn StageMaker>| Running::of(maker, &mut old);
        Self {
            unprotect: data.unprotect.as_ref().map(&mut running),
            stages: data.stages.iter().map(&mut running).collect(),
            outputs: data
                .outputs
                .iter()
                .map(|o| RunningOutput {
                    path: o.path,
                    port: o.egress.port,
                    to: o.egress.to,
                    dest: o.egress.to,
                    protect: o.protect.as_ref().map(&mut running),
                    is_played: o.is_played,
                })
                .collect(),
        }
    }

    pub(crate) fn unprotect(
        &mut self,
        packet: &mut RoomyPacket<'_>,
        path: MediaPath,
        now: Mono,
    ) -> Result<(), DropReason> {
        match &mut self.unprotect {
            Some(step) => step.stage.run(packet, path, now),
            None => Ok(()),
        }
    }

    pub(crate) fn stages(
        &mut self,
        packet: &mut RoomyPacket<'_>,
        path: MediaPath,
        now: Mono,
    ) -> Result<(), DropReason> {
        self.stages.iter_mut().try_for_each(|step| step.stage.run(packet, path, now))
    }

    /// The next receiver of one path that is known, from place `at` on.
    pub(crate) fn next_receiver(&self, path: MediaPath, at: usize) -> Option<usize> {
        let rest = self.outputs.get(at..)?;
        let found = rest.iter().position(|o| o.path == path && o.dest.is_some() && !o.is_played)?;
        at.checked_add(found)
    }

    /// The receiver that we play to, when it is known where it is.
    pub(crate) fn played_receiver(&self) -> Option<usize> {
        self.outputs.iter().position(|o| o.is_played && o.dest.is_some())
    }

    /// The last step for one receiver, on its own copy of the packet: from which port, to whom.
    pub(crate) fn protect(
        &mut self,
        at: usize,
        packet: &mut RoomyPacket<'_>,
        now: Mono,
    ) -> Result<(LocalPort, SocketAddr), DropReason> {
        let output = self.outputs.get_mut(at).ok_or(DropReason::NoDestination)?;
        let dest = output.dest.ok_or(DropReason::NoDestination)?;
        if let Some(step) = &mut output.protect {
            step.stage.run(packet, output.path, now)?;
        }
        Ok((output.port, dest))
    }

    /// `port` has heard its peer (`None`: has none any more).
    pub(crate) fn set_destination(&mut self, port: LocalPort, peer: Option<SocketAddr>) {
        for output in self.outputs.iter_mut().filter(|o| o.port == port) {
            output.dest = peer.or(output.to);
        }
    }
}
