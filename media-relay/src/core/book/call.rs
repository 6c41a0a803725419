//! What the book keeps of a call: dialogues of two parties, their media lines, their ports; and the statistics of it all.
//!
//! Plain data without sockets or clocks, so that it could be written down and read back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_media::{ForwardRule, LocalPort, SourcePolicy, StreamCounters, StreamSnapshot};
use warp_model::{Mono, Now, Wall};
use warp_ng::{
    CallStats, Counts, IceLite, MediaFlags, MediaStats, SdpCommand, SsrcStats, StreamStats, TagStats,
};

use super::dialogues::METADATA_BYTES;
use super::keep::KeptBack;
use super::keyring::Keyring;
use super::play::{self, Heard};
use super::quality::QualityLog;
use super::record::{Recording, SideTap};
use super::session::Session;
use crate::core::compile::{Side, compile};
use crate::core::negotiate::{Class, MuxPlan, Names, Origin, Spoken, policies};
use crate::core::ports::PortPair;
use crate::core::{EndedStream, StreamKind};

/// One SIP Call-ID.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: Vec<u8>,
    pub(super) shard: u16,
    pub(super) created: Now,
    pub(super) last_signal: Now,
    pub(super) dialogues: Vec<Dialogue>,
    /// When the book looks at it again (its place in the timer table).
    pub(super) look_at: Mono,
    /// DSCP and ECN byte of its packets; `None` is the configured default.
    pub(super) tos: Option<u8>,
    /// Free text of the client.
    pub(super) metadata: Option<Vec<u8>>,
    /// It is looked at for quality from its first answer on.
    pub(super) is_sampled: bool,
    /// Who is told when its media times out: the ng client that set it up, or the address that it named.
    pub(super) client: Option<IpAddr>,
    /// It is being recorded.
    pub(super) recording: Option<Recording>,
    /// The same of all parties, those that come later too.
    pub(super) kept: KeptBack,
    /// Counts answers and groups of dialogues.
    pub(super) counter: u64,
    /// Digests of branches whose dialogues are gone: a repeated `delete` of one means nothing else.
    pub(super) gone: VecDeque<u64>,
    /// Set when media timed out: the last figures, kept for the `delete` that signalling will send.
    pub(super) ended: Option<CallStats>,
}

/// Offerer and answerer of one branch: an early or confirmed dialogue.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) branch: Option<Vec<u8>>,
    /// Dialogues of one group are branches of one offer: they share the ports towards the first party.
    pub(super) group: u64,
    /// The one of its group whose second party the first one hears.
    pub(super) open: bool,
    /// Which of the call's answers was its latest; 0 = none yet.
    pub(super) turn: u64,
    /// The first offerer, then the other.
    pub(super) parties: [Party; 2],
    pub(super) media: Vec<MediaLine>,
    pub(super) answered: bool,
    /// Answered by an 18x only.
    pub(super) early: bool,
    /// The last offer of each party: either may offer at any time, also while the other's waits (glare).
    pub(super) offers: [Option<Offer>; 2],
    pub(super) delete_at: Option<Mono>,
    /// SDP is marked and recognised (flag `loop-protect`).
    pub(super) loop_check: bool,
    /// By party: lines that it does not know of (`sdp-media-remove`).
    pub(super) hidden: [BTreeSet<usize>; 2],
}

/// What a party has offered.
#[derive(Debug)]
pub(super) struct Offer {
    /// Line by line.
    pub(super) said: Vec<Spoken>,
    /// What is negotiated of rtcp-mux, line by line.
    pub(super) mux: Vec<MuxPlan>,
    /// As what each line was offered on.
    pub(super) told: Vec<Class>,
    /// Whether it was offered on with ICE of ours, line by line.
    pub(super) ice: Vec<bool>,
    /// Sides that we only answer the checks of.
    pub(super) lite: IceLite,
    /// It waits for its answer: until then media goes on as before.
    pub(super) pending: bool,
    /// Counts the offers of the dialogue.
    pub(super) number: u32,
    /// Via branch of the message.
    pub(super) branch: Option<Vec<u8>>,
}

/// One SIP tag (RFC 3261 §19.3).
#[derive(Debug, Default)]
pub(super) struct Party {
    /// `None` before its first answer.
    pub(super) tag: Option<Vec<u8>>,
    /// Earlier tags of the same branch (forks behind the next hop).
    pub(super) aliases: Vec<Vec<u8>>,
    pub(super) label: Option<Vec<u8>>,
    /// What of its media the other one does not get.
    pub(super) kept: KeptBack,
    /// Logical interface of its ports, as `direction` named it.
    pub(super) interface: Option<Vec<u8>>,
    pub(super) created: Wall,
    /// `o=` version of the last SDP sent to it, and a digest of its text.
    pub(super) sent: Option<(u64, u64)>,
    /// What it was told first.
    pub(super) names: Option<Names>,
}

/// What is agreed on one `m=` line.
#[derive(Debug, Default)]
pub(super) struct MediaLine {
    pub(super) sides: [MediaSide; 2],
    /// What it carries since its answer.
    pub(super) kind: Option<StreamKind>,
}

/// One party's half of a media line.
#[derive(Debug)]
pub(super) struct MediaSide {
    /// Our ports towards the party.
    pub(super) pair: Option<PortPair>,
    pub(super) spoken: Option<Spoken>,
    /// RTCP is muxed towards the party.
    pub(super) mux: bool,
    /// What the party calls the section, by its own `a=mid` or by the first that it was told.
    pub(super) mid: Option<Arc<[u8]>>,
    /// Who may send RTP, RTCP.
    pub(super) sources: [SourcePolicy; 2],
    epoch: u32,
    /// SDPs of the party so far.
    said: u32,
    learnt: Option<SocketAddr>,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) quality: QualityLog,
    /// Keys of SRTP towards the party.
    pub(super) keys: Keyring,
    /// ICE and DTLS with the party.
    pub(super) session: Session,
    /// What is played to the party.
    pub(super) heard: Heard,
    /// On what the party sends.
    pub(super) tap: SideTap,
}

impl Default for MediaSide {
    fn default() -> Self {
        Self {
            pair: None,
            spoken: None,
            mux: false,
            mid: None,
            sources: [SourcePolicy::Nobody; 2],
            epoch: 0,
            said: 0,
            learnt: None,
            counters: Arc::default(),
            quality: QualityLog::default(),
            keys: Keyring::default(),
            session: Session::default(),
            heard: Heard::default(),
            tap: SideTap::default(),
        }
    }
}

/// Earlier tags that a party is known by, besides its present one.
const MAX_ALIASES: usize = 16;

impl Party {
    pub(super) fn is(&self, tag: &[u8]) -> bool {
        self.tag.as_deref() == Some(tag) || self.aliases.iter().any(|a| a == tag)
    }

    /// Takes a tag; the old one becomes an alias.
    pub(super) fn rename(&mut self, tag: &[u8], now: Now) {
        if self.tag.as_deref() == Some(tag) {
            return;
        }
        self.aliases.retain(|a| a != tag);
        match self.tag.replace(tag.to_vec()) {
            Some(old) => {
                // A peer that forks without end keeps only its latest few names.
                if self.aliases.len() >= MAX_ALIASES {
                    self.aliases.remove(0);
                }
                self.aliases.push(old);
            }
            None => self.created = now.wall,
        }
    }
}

impl MediaSide {
    /// New SDP of the party. Learning starts again only when its address, or who may be learnt from, has changed; otherwise a
    /// lock stays until it is earned anew ([`warp_media::learn`]).
    pub(super) fn speak(&mut self, spoken: Spoken, reset: bool) {
        let same = self.spoken.as_ref().is_some_and(|old| {
            old.rtp == spoken.rtp && old.rtcp == spoken.rtcp && old.origin == spoken.origin
        });
        if (!same && spoken.rtp.is_some()) || reset {
            self.epoch = self.epoch.wrapping_add(1);
            self.learnt = None;
        }
        self.said = self.said.wrapping_add(1);
        self.mid = spoken.mid.clone().or(self.mid.take());
        self.sources = policies(&spoken, self.epoch, self.sources);
        self.spoken = Some(spoken);
    }

    pub(super) fn learn(&mut self, peer: SocketAddr) {
        self.learnt = Some(peer);
    }

    /// The same ports and the same party, for another branch of its offer.
    pub(super) fn shared(&self) -> Self {
        Self {
            pair: self.pair,
            spoken: self.spoken.clone(),
            mux: false,
            mid: self.mid.clone(),
            sources: self.sources,
            epoch: self.epoch,
            said: self.said,
            learnt: self.learnt,
            counters: Arc::clone(&self.counters),
            quality: QualityLog::default(),
            keys: self.keys.shared(),
            session: self.session.clone(),
            // A voice of ours belongs to one dialogue, as its keys do.
            heard: Heard::default(),
            tap: self.tap.clone(),
        }
    }

    /// It has keys of ours.
    pub(super) fn protects(&self) -> bool {
        self.session.protect(0).is_some() || self.keys.protect().is_some()
    }

    /// `on_hold`: the line's silence says nothing.
    fn side(&self, on_hold: bool) -> Option<Side> {
        let spoken = self.spoken.as_ref();
        // Behind a NAT the SDP's address is of no use: wait until the peer's packets show another.
        let behind_nat = spoken.is_some_and(|s| matches!(s.origin, Origin::Nat(_)));
        // With ICE nothing is sent to an address that has not passed a check.
        let checked = self.session.is_checked();
        let known = |at: Option<SocketAddr>| at.filter(|_| !behind_nat && !checked);
        let sources = if checked { [SourcePolicy::Checked; 2] } else { self.sources };
        let [source, rtcp_source] = sources.map(|s| s.at(self.said, on_hold));
        Some(Side {
            ports: self.pair?,
            mux: self.mux,
            rtp_to: known(spoken.and_then(|s| s.rtp)),
            rtcp_to: known(spoken.and_then(|s| s.rtcp)),
            source,
            rtcp_source,
            clocks: spoken.map(|s| s.clocks).unwrap_or_default(),
            max_packets_per_s: spoken.map_or(0, |s| s.max_packets_per_s),
            counters: Arc::clone(&self.counters),
            unprotect: [0, 1].map(|c| self.session.unprotect(c).or_else(|| self.keys.unprotect())),
            protect: [0, 1].map(|c| self.session.protect(c).or_else(|| self.keys.protect())),
            sessions: [0, 1].map(|c| self.session.setup(c)),
            stages: Vec::new(),
            record: self.tap.stage(),
            is_blocked: false,
            play: play::heard_by(self),
        })
    }
}

impl Side {
    /// What of the party's media goes no further.
    fn keep(&mut self, kept: KeptBack, of: &MediaSide) {
        self.is_blocked = kept.media;
        self.stages = kept.stages(of.spoken.as_ref().map_or(0, |s| s.events));
    }
}

impl MediaLine {
    /// Rules for all its ports; none when it has no ports.
    pub(super) fn rules(&self, kept: [KeptBack; 2]) -> Vec<ForwardRule> {
        let [a, b] = &self.sides;
        let on_hold = self.is_held();
        match (a.side(on_hold), b.side(on_hold)) {
            (Some(mut side_a), Some(mut side_b)) => {
                // `a=ptime` is what its author wants to receive (RFC 8866 §6.4): either side may send at the faster of both.
                let limit = side_a.max_packets_per_s.max(side_b.max_packets_per_s);
                (side_a.max_packets_per_s, side_b.max_packets_per_s) = (limit, limit);
                let [kept_a, kept_b] = kept;
                side_a.keep(kept_a, a);
                side_b.keep(kept_b, b);
                compile(self.class().media(), &side_a, &side_b)
            }
            _ => Vec::new(),
        }
    }

    /// The same for a branch that is not open: what comes in is judged and goes nowhere. Without `front` the ports towards
    /// the first party are left out: they belong to another branch.
    pub(super) fn closed_rules(&self, front: bool) -> Vec<ForwardRule> {
        let mut rules = self.rules([KeptBack::default(); 2]);
        let first = self.sides.first().and_then(|s| s.pair);
        let is_first = |rule: &ForwardRule| {
            first.is_some_and(|p| rule.local == p.rtp_port() || rule.local == p.rtcp_port())
        };
        rules.retain(|rule| front || !is_first(rule));
        for rule in &mut rules {
            (rule.rtp, rule.rtcp, rule.reverse) = (None, None, None);
            // What comes must be authentic all the same.
            if let Some(pipeline) = &mut rule.pipeline {
                let pipeline = Arc::make_mut(pipeline);
                pipeline.outputs.clear();
                pipeline.stages.clear();
                pipeline.play = None;
            }
        }
        rules
    }

    /// SRTP is opened or made here, on one side or both.
    pub(super) fn has_keys(&self) -> bool {
        self.sides.iter().any(|s| s.keys.is_on() || s.session.is_closed())
    }

    fn class(&self) -> Class {
        if self.has_keys() {
            return Class::Rtp;
        }
        self.sides.iter().find_map(|s| s.spoken.as_ref()).map_or(Class::Rtp, |s| s.class)
    }

    /// Its last figures. `shared`: the first side goes on elsewhere.
    pub(super) fn ended(&self, labels: [Option<Vec<u8>>; 2], shared: bool) -> EndedStream {
        let [a, b] = self.sides.each_ref().map(|s| s.counters.snapshot(0));
        EndedStream { figures: [if shared { StreamSnapshot::default() } else { a }, b], labels, shared }
    }

    fn is_two_way(&self) -> bool {
        self.sides.iter().all(|s| s.counters.packets.load(std::sync::atomic::Ordering::Relaxed) > 0)
    }

    fn is_held(&self) -> bool {
        let spoken = |s: &MediaSide| s.spoken.as_ref().is_none_or(|s| !s.direction.receives());
        self.sides.iter().any(spoken)
    }
}

impl Dialogue {
    pub(super) fn new(branch: Option<Vec<u8>>, from: &[u8], to: Option<&[u8]>, now: Now) -> Self {
        let party = |tag: Option<&[u8]>| Party {
            tag: tag.map(<[u8]>::to_vec),
            created: now.wall,
            ..Party::default()
        };
        Self {
            branch,
            group: 0,
            open: false,
            turn: 0,
            parties: [party(Some(from)), party(to)],
            media: Vec::new(),
            answered: false,
            early: false,
            offers: [None, None],
            delete_at: None,
            loop_check: false,
            hidden: Default::default(),
        }
    }

    /// Labels of the two parties.
    pub(super) fn labels(&self) -> [Option<Vec<u8>>; 2] {
        self.parties.each_ref().map(|p| p.label.clone())
    }

    /// True when the first SDP of this branch, or an offer that may still be answered, came with it.
    pub(super) fn knows(&self, branch: &[u8]) -> bool {
        let is = |known: &Option<Vec<u8>>| known.as_deref() == Some(branch);
        is(&self.branch) || self.offers.iter().flatten().any(|o| is(&o.branch))
    }

    /// An offer of this party waits for its answer.
    pub(super) fn has_asked(&self, party: usize) -> bool {
        self.offers.get(party).and_then(Option::as_ref).is_some_and(|o| o.pending)
    }

    /// Number of its latest offer.
    pub(super) fn last_offer(&self) -> u32 {
        self.offers.iter().flatten().map(|o| o.number).max().unwrap_or(0)
    }

    /// Which party has this tag.
    pub(super) fn party(&self, tag: &[u8]) -> Option<usize> {
        self.parties.iter().position(|p| p.is(tag))
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = PortPair> {
        self.media.iter().flat_map(|m| &m.sides).filter_map(|s| s.pair)
    }

    fn is_held(&self) -> bool {
        let mut live = self.media.iter().filter(|m| m.sides.iter().all(|s| s.pair.is_some())).peekable();
        live.peek().is_none() || live.all(MediaLine::is_held)
    }
}

/// With more sources than this a reply has no list of them and no `stats_out`; what each party sent is with its streams.
const AVERAGES: usize = 16;
/// Of more branches than this only the sums are in a reply.
const BRANCHES: usize = 20;
/// With more sources than this it has the average MOS of each only.
const PROGRESSIONS: usize = 8;

impl Call {
    /// Looks at the quality of each stream.
    pub(super) fn look_at_quality(&mut self, now: Now) {
        for line in self.dialogues.iter_mut().flat_map(|d| &mut d.media) {
            let [a, b] = &mut line.sides;
            let (from_a, from_b) = (a.counters.snapshot(0), b.counters.snapshot(0));
            a.quality.look(&from_a, from_b.rtt_us, now.wall);
            b.quality.look(&from_b, from_a.rtt_us, now.wall);
        }
    }

    /// The latest `metadata` stays.
    pub(super) fn take_metadata(&mut self, c: &SdpCommand) {
        if c.metadata.as_ref().is_some_and(|m| m.len() <= METADATA_BYTES) {
            self.metadata.clone_from(&c.metadata);
        }
    }

    /// Ports in use, RTP and RTCP counted apart, shared ones once.
    pub(super) fn ports(&self) -> usize {
        let pairs: BTreeSet<PortPair> = self.dialogues.iter().flat_map(Dialogue::pairs).collect();
        pairs.len().saturating_mul(2)
    }

    /// Any dialogue has been answered for good: we were told so, or both parties have sent media (the 200 after a reliable
    /// 18x need not carry SDP).
    pub(super) fn is_answered(&self) -> bool {
        self.dialogues.iter().any(|d| d.answered && (!d.early || d.media.iter().any(MediaLine::is_two_way)))
    }

    /// Every answered dialogue is on hold (or has no media left).
    pub(super) fn is_held(&self) -> bool {
        self.dialogues.iter().filter(|d| d.answered).all(Dialogue::is_held)
    }

    /// The latest of: last signalling, last packet that was let in.
    pub(super) fn last_activity(&self) -> Mono {
        self.dialogues
            .iter()
            .flat_map(|d| &d.media)
            .flat_map(|m| &m.sides)
            .map(|s| Mono(s.counters.last_packet_ns.load(std::sync::atomic::Ordering::Relaxed)))
            .fold(self.last_signal.mono, Mono::max)
    }

    /// A shard learnt who sends to this port; branches that share it share that.
    pub(super) fn learn(&mut self, port: LocalPort, peer: SocketAddr) {
        self.dialogues
            .iter_mut()
            .flat_map(|d| &mut d.media)
            .flat_map(|m| &mut m.sides)
            .filter(|s| s.pair.is_some_and(|p| p.rtp_port() == port))
            .for_each(|s| s.learn(peer));
    }

    /// Statistics, of all parties or of the dialogues that `only` picks.
    pub(super) fn stats(&self, ips: &[IpAddr], now: Now, only: impl Fn(&Dialogue) -> bool) -> CallStats {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let mut stats = CallStats {
            created: self.created.wall,
            last_signal: self.last_signal.wall,
            metadata: self.metadata.clone(),
            ..CallStats::default()
        };
        let mut ssrcs: BTreeMap<u32, SsrcStats> = BTreeMap::new();
        let mut picked: Vec<&Dialogue> = self.dialogues.iter().filter(|d| only(d)).collect();
        if picked.len() > BRANCHES {
            // Those that were answered are told first.
            picked.sort_by_key(|d| (!d.open, !d.answered));
        }
        // Ports that several branches share are told once, with the branch that is open.
        let mut told: BTreeMap<PortPair, usize> = BTreeMap::new();
        for (at, dialogue) in picked.iter().enumerate() {
            for pair in dialogue.pairs() {
                let teller = told.entry(pair).or_insert(at);
                if dialogue.open {
                    *teller = at;
                }
            }
        }
        for (at, dialogue) in picked.into_iter().enumerate() {
            if at >= BRANCHES {
                let figures =
                    dialogue.media.iter().filter_map(|l| Some(l.sides.get(1)?.counters.snapshot(0)));
                for figures in figures {
                    stats.rtp = stats.rtp.plus(rtp_counts(&figures));
                    stats.rtcp = stats.rtcp.plus(rtcp_counts(&figures));
                }
                continue;
            }
            for (me, party) in dialogue.parties.iter().enumerate() {
                let other = dialogue.parties.get(1 - me);
                // The branch tells the called parties apart, as in the original.
                party_stats(&mut stats, party, other, dialogue.branch.as_ref().filter(|_| me == 1));
                let loop_check = dialogue.loop_check;
                for (index, line) in dialogue.media.iter().enumerate() {
                    let pair = line.sides.get(me).and_then(|s| s.pair);
                    if pair.and_then(|p| told.get(&p)).is_some_and(|teller| *teller != at) {
                        continue;
                    }
                    let place = Place { party, me, index, ips, now, loop_check };
                    line_stats(&mut stats, &mut ssrcs, place, line);
                }
            }
        }
        stats.ssrcs = ssrcs.into_values().collect();
        shorten(&mut stats);
        stats
    }
}

/// A reply is one datagram, and has no more elements than a reader takes.
fn shorten(stats: &mut CallStats) {
    if stats.ssrcs.len() > AVERAGES {
        stats.ssrcs.clear();
        let medias = stats.tags.iter_mut().flat_map(|t| &mut t.medias);
        medias.flat_map(|m| &mut m.streams).for_each(|s| s.sent = Counts::default());
    }
    if stats.ssrcs.len() > PROGRESSIONS {
        for source in &mut stats.ssrcs {
            source.progression.clear();
            (source.lowest, source.highest) = (None, None);
        }
    }
}

fn party_stats(stats: &mut CallStats, party: &Party, other: Option<&Party>, branch: Option<&Vec<u8>>) {
    let tag = party.tag.clone().unwrap_or_default();
    let peer = other.and_then(|p| p.tag.clone());
    match stats.tags.iter_mut().find(|t| t.tag == tag) {
        Some(known) => {
            known.peers.extend(peer.filter(|p| !known.peers.contains(p)));
        }
        None => stats.tags.push(TagStats {
            tag,
            via_branch: branch.cloned(),
            label: party.label.clone(),
            created: party.created,
            peers: peer.into_iter().collect(),
            medias: Vec::new(),
        }),
    }
}

struct Place<'p> {
    party: &'p Party,
    me: usize,
    index: usize,
    ips: &'p [IpAddr],
    now: Now,
    loop_check: bool,
}

fn line_stats(
    stats: &mut CallStats,
    ssrcs: &mut BTreeMap<u32, SsrcStats>,
    place: Place<'_>,
    line: &MediaLine,
) {
    let (Some(side), Some(far)) = (line.sides.get(place.me), line.sides.get(1 - place.me)) else {
        return;
    };
    let (mine, theirs) = (side.counters.snapshot(0), far.counters.snapshot(0));
    stats.rtp = stats.rtp.plus(rtp_counts(&mine));
    stats.rtcp = stats.rtcp.plus(rtcp_counts(&mine));
    let source = (mine.expected > 0).then(|| side.quality.source(&mine, theirs.rtt_us, place.now.wall));
    if let Some(source) = source.clone() {
        ssrcs.entry(mine.ssrc).or_insert(source);
    }
    let tag = place.party.tag.as_deref().unwrap_or_default();
    let Some(entry) = stats.tags.iter_mut().find(|t| t.tag == tag) else { return };
    let spoken = side.spoken.as_ref();
    entry.medias.push(MediaStats {
        index: u32::try_from(place.index).unwrap_or(0).saturating_add(1),
        kind: spoken.map(|s| s.kind.to_vec()).unwrap_or_default(),
        protocol: spoken.map(|s| s.protocol.to_vec()).unwrap_or_default(),
        codec: spoken.map(|s| s.codec.to_vec()).unwrap_or_default(),
        flags: MediaFlags {
            initialized: side.spoken.is_some() && far.spoken.is_some(),
            rtcp_mux: side.mux,
            passthrough: line.class() == Class::Srtp,
            sdes: side.keys.is_on(),
            dtls: side.session.is_closed(),
            ice: side.session.is_checked(),
            ice_controlling: side.session.is_controlling(),
            asymmetric: spoken.is_some_and(|s| s.asymmetric),
            loop_check: place.loop_check,
            send: spoken.is_some_and(|s| s.direction.receives()),
            recv: spoken.is_some_and(|s| s.direction.sends()),
        },
        streams: streams(side, &mine, &theirs, source, &place),
    });
}

fn streams(
    side: &MediaSide,
    mine: &StreamSnapshot,
    theirs: &StreamSnapshot,
    source: Option<SsrcStats>,
    place: &Place<'_>,
) -> Vec<StreamStats> {
    let Some(pair) = side.pair else { return Vec::new() };
    let Some(ip) = place.ips.get(usize::from(pair.ip)).copied() else { return Vec::new() };
    let spoken = side.spoken.as_ref();
    let last_packet = (mine.last_packet_ns > 0).then(|| wall_of(Mono(mine.last_packet_ns), place.now));
    let mut out = vec![StreamStats {
        local: SocketAddr::new(ip, pair.rtp_port().port),
        endpoint: side.learnt.or(spoken.and_then(|s| s.rtp)),
        advertised: spoken.and_then(|s| s.rtp),
        last_packet,
        ssrc: (mine.packets > 0).then_some(mine.ssrc),
        rtcp: false,
        confirmed: mine.packets > 0,
        received: rtp_counts(mine),
        sent: rtp_counts(theirs),
        source: source.map(|s| SsrcStats { progression: Vec::new(), ..s }),
    }];
    if !side.mux {
        out.push(StreamStats {
            local: SocketAddr::new(ip, pair.rtcp_port().port),
            endpoint: spoken.and_then(|s| s.rtcp),
            advertised: spoken.and_then(|s| s.rtcp),
            last_packet: last_packet.filter(|_| mine.rtcp_packets > 0),
            ssrc: (mine.rtcp_packets > 0).then_some(mine.rtcp_ssrc),
            rtcp: true,
            confirmed: mine.rtcp_packets > 0,
            received: rtcp_counts(mine),
            sent: rtcp_counts(theirs),
            source: None,
        });
    }
    out
}

/// The wall clock's reading at a point of the monotonic one.
fn wall_of(at: Mono, now: Now) -> Wall {
    let ago: Duration = now.mono.since(at);
    Wall(now.wall.0.saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)))
}

fn rtp_counts(s: &StreamSnapshot) -> Counts {
    Counts { packets: s.packets, bytes: s.bytes, errors: s.errors }
}

fn rtcp_counts(s: &StreamSnapshot) -> Counts {
    Counts { packets: s.rtcp_packets, bytes: s.rtcp_bytes, errors: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight sources are told with their history, sixteen with their averages; of more none is told, nor what each party was sent.
    #[test]
    fn a_reply_tells_less_of_each_source_when_there_are_many() {
        let side = MediaSide { pair: Some(PortPair { ip: 0, rtp: 30_000 }), ..MediaSide::default() };
        let ips: [IpAddr; 1] = [[192, 0, 2, 1].into()];
        let (none, some) =
            (StreamSnapshot::default(), StreamSnapshot { packets: 5, ..StreamSnapshot::default() });
        for (sources, kept, histories, sent) in
            [(8, 8, true, 5), (9, 9, false, 5), (16, 16, false, 5), (17, 0, false, 0)]
        {
            let party = Party::default();
            let place =
                Place { party: &party, me: 0, index: 0, ips: &ips, now: Now::default(), loop_check: false };
            let streams = streams(&side, &none, &some, None, &place);
            let medias = vec![MediaStats { streams, ..MediaStats::default() }];
            let at = Some(warp_ng::MosFigures::default());
            let source = |ssrc| SsrcStats {
                ssrc,
                progression: vec![warp_ng::MosFigures::default()],
                lowest: at,
                highest: at,
                ..SsrcStats::default()
            };
            let mut stats = CallStats {
                tags: vec![TagStats { medias, ..TagStats::default() }],
                ssrcs: (0..sources).map(source).collect(),
                ..CallStats::default()
            };
            shorten(&mut stats);
            assert_eq!(stats.ssrcs.len(), kept, "{sources}");
            for s in &stats.ssrcs {
                let history = [!s.progression.is_empty(), s.lowest.is_some(), s.highest.is_some()];
                assert_eq!(history, [histories; 3], "{sources}");
            }
            assert_eq!(stats.tags[0].medias[0].streams[0].sent.packets, sent, "{sources}");
        }
    }

    /// What a query tells of a line's ports: RTP and RTCP each by its own packets, and nothing of what has not come.
    #[test]
    fn a_stream_is_told_by_its_own_packets() {
        let mut side = MediaSide { pair: Some(PortPair { ip: 0, rtp: 30_000 }), ..MediaSide::default() };
        let ips: [IpAddr; 1] = [[192, 0, 2, 1].into()];
        let now = Now { mono: Mono(60_000_000_000), wall: Wall(1_000_000_000) };
        let tell = |side: &MediaSide, mine: &StreamSnapshot| {
            let theirs = StreamSnapshot {
                packets: 5,
                bytes: 500,
                rtcp_packets: 2,
                rtcp_bytes: 80,
                ..StreamSnapshot::default()
            };
            let party = Party::default();
            let place = Place { party: &party, me: 0, index: 0, ips: &ips, now, loop_check: false };
            streams(side, mine, &theirs, None, &place)
        };
        let counts = |packets, bytes, errors| Counts { packets, bytes, errors };
        let of = |s: &StreamStats| {
            (s.rtcp, s.local.port(), s.last_packet, s.ssrc, s.confirmed, s.received, s.sent)
        };
        let silent = tell(&side, &StreamSnapshot::default());
        let sent = [counts(5, 500, 0), counts(2, 80, 0)];
        assert_eq!(
            silent.iter().map(of).collect::<Vec<_>>(),
            [
                (false, 30_000, None, None, false, counts(0, 0, 0), sent[0]),
                (true, 30_001, None, None, false, counts(0, 0, 0), sent[1]),
            ]
        );
        // The last packet came 20 s ago.
        let at = Some(Wall(1_000_000_000 - 20_000_000));
        let rtp = StreamSnapshot {
            packets: 7,
            bytes: 700,
            errors: 1,
            ssrc: 11,
            rtcp_ssrc: 12,
            last_packet_ns: 40_000_000_000,
            ..StreamSnapshot::default()
        };
        assert_eq!(
            tell(&side, &rtp).iter().map(of).collect::<Vec<_>>(),
            [
                (false, 30_000, at, Some(11), true, counts(7, 700, 1), sent[0]),
                (true, 30_001, None, None, false, counts(0, 0, 0), sent[1]),
            ]
        );
        let rtcp = StreamSnapshot { packets: 0, rtcp_packets: 3, rtcp_bytes: 90, ..rtp };
        let told = tell(&side, &rtcp);
        assert_eq!((told[0].ssrc, told[0].confirmed), (None, false));
        assert_eq!(of(&told[1]), (true, 30_001, at, Some(12), true, counts(3, 90, 0), sent[1]));
        side.mux = true;
        assert_eq!(tell(&side, &rtcp).len(), 1, "RTCP has no port of its own");
    }

    #[test]
    fn t_ng_04_a_party_that_changes_its_tag_without_end_is_known_by_the_latest_ones() {
        let name = |n: usize| format!("tag{n}").into_bytes();
        let at = |s: i64| Now { mono: Mono(s as u64 * 1_000_000_000), wall: Wall(s * 1_000_000) };
        let mut party = Party::default();
        for n in 0..40 {
            party.rename(&name(n), at(n as i64 + 1));
        }
        let known: Vec<usize> = (0..41).filter(|n| party.is(&name(*n))).collect();
        assert_eq!(known, (39 - MAX_ALIASES..40).collect::<Vec<_>>());
        assert_eq!(
            (party.aliases.len(), party.created),
            (MAX_ALIASES, at(1).wall),
            "it is as old as its first name"
        );
        // An old name that comes back costs no other.
        party.rename(&name(30), at(50));
        let known: Vec<usize> = (0..41).filter(|n| party.is(&name(*n))).collect();
        assert_eq!(known, (39 - MAX_ALIASES..40).collect::<Vec<_>>());
        assert_eq!(party.aliases.len(), MAX_ALIASES);
    }
}
