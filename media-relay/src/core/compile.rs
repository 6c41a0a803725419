//! From the two sides of one media stream to forward rules, one per local port in use.
//!
//! Pure and total: whatever the book knows so far gives rules that let in nobody else. The shard resolves the ports.

use std::net::SocketAddr;
use std::sync::Arc;

use warp_media::pipeline::{Output, Pipeline, StageMaker};
use warp_media::play::Playing;
use warp_media::session::SessionSetup;
use warp_media::{Carries, ClockTable, Egress, ForwardRule, MediaPath, SourcePolicy, StreamCounters};

use super::ports::PortPair;

/// One side of a stream: our ports towards a party, and what we know of the party.
#[derive(Clone, Debug)]
pub struct Side {
    /// Our ports towards it.
    pub ports: PortPair,
    /// RTP and RTCP share the RTP port on this side.
    pub mux: bool,
    /// Where it wants RTP, by its SDP; `None` while unknown, on hold with `0.0.0.0`, or behind a NAT that must be learnt.
    pub rtp_to: Option<SocketAddr>,
    /// Where it wants RTCP: `a=rtcp`, else RTP port + 1; ignored when muxed.
    pub rtcp_to: Option<SocketAddr>,
    /// Who may send RTP to us on this side.
    pub source: SourcePolicy,
    /// Who may send RTCP; ignored when muxed.
    pub rtcp_source: SourcePolicy,
    /// Clocks of what it sends.
    pub clocks: ClockTable,
    /// Packets a second from it; see [`warp_media::packet_limit`].
    pub max_packets_per_s: u32,
    /// Figures of what it sends.
    pub counters: Arc<StreamCounters>,
    /// Opens what comes from it: to the RTP port, to the RTCP port.
    pub unprotect: [Option<Arc<dyn StageMaker>>; 2],
    /// Closes what goes to it: from the RTP port, from the RTCP port.
    pub protect: [Option<Arc<dyn StageMaker>>; 2],
    /// Steps on the RTP that comes from it.
    pub stages: Vec<Arc<dyn StageMaker>>,
    /// The last step on its RTP and RTCP: what is heard is written down.
    pub record: Option<Arc<dyn StageMaker>>,
    /// None of its RTP goes any further.
    pub is_blocked: bool,
    /// What is played to it, and the other one's RTP is not sent meanwhile.
    pub play: Option<Arc<Playing>>,
    /// What the sessions of its two ports begin with.
    pub sessions: [Option<Arc<SessionSetup>>; 2],
}

/// What the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// RTP/AVP and its kin.
    Rtp,
    /// SRTP, the same keys on both sides, not opened here.
    ProtectedRtp,
    /// Anything else over UDP (T.38 UDPTL).
    Raw,
}

impl Side {
    fn rtp_out(&self) -> Egress {
        Egress { port: self.ports.rtp_port(), to: self.rtp_to }
    }

    fn rtcp_out(&self) -> Egress {
        if self.mux {
            return self.rtp_out();
        }
        Egress { port: self.ports.rtcp_port(), to: self.rtcp_to }
    }
}

/// Rules for both sides: RTP port of `a`, RTCP port of `a` unless muxed, then the same of `b`.
pub fn compile(media: Media, a: &Side, b: &Side) -> Vec<ForwardRule> {
    let mut rules = Vec::with_capacity(4);
    side_rules(media, a, b, &mut rules);
    side_rules(media, b, a, &mut rules);
    rules
}

/// Of one port, 0 RTP or 1 RTCP: SRTP on one side or both, or a session; `None`: packets pass as they are.
fn pipeline(from: &Side, component: usize, to: &Side) -> Option<Arc<Pipeline>> {
    let (unprotect, session) = (from.unprotect.get(component)?, from.sessions.get(component)?);
    let [protect, protect_rtcp] = &to.protect;
    let mut stages = if component == 0 { from.stages.clone() } else { Vec::new() };
    stages.extend(from.record.clone().filter(|_| component == 1 || !from.is_blocked));
    let play = to.play.clone().filter(|_| component == 0);
    let is_played = play.is_some();
    if unprotect.is_none() && protect.is_none() && session.is_none() && stages.is_empty() && !is_played {
        return None;
    }
    let protect_rtcp = if to.mux { protect } else { protect_rtcp };
    let out = |path, egress, protect: &Option<Arc<dyn StageMaker>>| Output {
        path,
        egress,
        protect: protect.clone(),
        is_played: is_played && path == MediaPath::Rtp,
    };
    Some(Arc::new(Pipeline {
        unprotect: unprotect.clone(),
        stages,
        outputs: [
            (is_played || !from.is_blocked).then(|| out(MediaPath::Rtp, to.rtp_out(), protect)),
            Some(out(MediaPath::Rtcp, to.rtcp_out(), protect_rtcp)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        session: session.clone(),
        play,
    }))
}

fn side_rules(media: Media, from: &Side, to: &Side, rules: &mut Vec<ForwardRule>) {
    let rule = ForwardRule {
        local: from.ports.rtp_port(),
        carries: match (media, from.mux) {
            (Media::Raw, _) => Carries::Raw,
            (_, true) => Carries::Mux,
            (_, false) => Carries::Rtp,
        },
        protected: media == Media::ProtectedRtp,
        source: from.source,
        rtp: Some(to.rtp_out()).filter(|_| !from.is_blocked),
        rtcp: Some(to.rtcp_out()),
        pipeline: pipeline(from, 0, to),
        companion: None,
        max_packets_per_s: from.max_packets_per_s,
        clocks: from.clocks,
        counters: Arc::clone(&from.counters),
        reverse: Some(Arc::clone(&to.counters)),
    };
    if from.mux || media == Media::Raw {
        rules.push(rule);
        return;
    }
    let only = |path: MediaPath| {
        let mut pipeline = pipeline(from, path as usize, to);
        if let Some(pipeline) = &mut pipeline {
            Arc::make_mut(pipeline).outputs.retain(|o| o.path == path);
        }
        pipeline
    };
    let (rtp_only, rtcp_only) = (only(MediaPath::Rtp), only(MediaPath::Rtcp));
    rules.push(ForwardRule {
        rtcp: None,
        companion: Some(from.ports.rtcp_port()),
        pipeline: rtp_only,
        ..rule.clone()
    });
    rules.push(ForwardRule {
        pipeline: rtcp_only,
        local: from.ports.rtcp_port(),
        carries: Carries::Rtcp,
        source: from.rtcp_source,
        rtp: None,
        companion: Some(from.ports.rtp_port()),
        ..rule
    });
}
