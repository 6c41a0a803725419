//! The call book: ng commands in, replies and [`Output`] out.
//!
//! Call (Call-ID) → dialogue (offerer, answerer and Via branch) → media line → one port pair towards each party. Forked
//! branches have ports of their own on both sides, so that early media of one never mixes with another's. An offer takes
//! ports; its answer sets the rules of both directions; a re-offer changes nothing until it is answered (RFC 3264 §5).
//!
//! Invariants: pure (time is an argument, ports come from [`Ports`]); an error leaves everything as it was; ports taken =
//! ports of the calls in the book; outputs do not depend on hash order. Full: new calls get `load limit`, calls in
//! progress go on (T-NG-04). Absent on purpose: sockets, cookies, ICE, DTLS and transcoding (such lines are rejected).

mod call;
mod circle;
mod config;
mod dialogues;
mod quality;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_media::LocalPort;
use warp_model::{Mono, Now};
use warp_ng::reply::reasons;
use warp_ng::{AddressFamily, Command, Delete, Query, Reply, SdpCommand};
use warp_sdp::Sdp;

pub use self::config::{BookConfig, Limits};

use self::call::{Call, Dialogue, MediaLine};
use self::dialogues::{check_lengths, find_for_answer, find_for_offer, is_deleted, parse, say};
use self::quality::QualityLog;
use super::negotiate::{
    Class, MuxPlan, OutLine, Signalling, Spoken, is_loop, may_send, outgoing_protocol, read,
};
use super::ports::{PortPair, Ports};
use super::{EndOfCall, EndedStream, Output, StreamKind};

/// Calls looked at for quality in one go.
const SAMPLES: usize = 256;

/// Bytes of a `list` reply at most: it is one datagram.
const LIST_BYTES: usize = 60_000;
/// Figures of a call whose media timed out are kept so long for the `delete` of signalling.
const ENDED_KEPT: Duration = Duration::from_secs(60);

/// See the module.
pub struct Book {
    config: BookConfig,
    ports: Box<dyn Ports + Send>,
    /// By serial number: the order of arrival.
    calls: BTreeMap<u64, Call>,
    // Looked up, never iterated.
    by_id: HashMap<Vec<u8>, u64>,
    by_port: HashMap<LocalPort, u64>,
    timers: BTreeSet<(Mono, u64)>,
    /// When the quality of a call's streams is looked at.
    samples: BTreeSet<(Mono, u64)>,
    out: VecDeque<Output>,
    next: u64,
    /// Calls that are not ended.
    live: usize,
    pairs: usize,
}

impl Book {
    /// An empty book over a supply of ports.
    pub fn new(config: BookConfig, ports: Box<dyn Ports + Send>) -> Self {
        Self {
            config,
            ports,
            calls: BTreeMap::new(),
            by_id: HashMap::new(),
            by_port: HashMap::new(),
            timers: BTreeSet::new(),
            samples: BTreeSet::new(),
            out: VecDeque::new(),
            next: 0,
            live: 0,
            pairs: 0,
        }
    }

    /// Other limits, for what begins and for what is looked at from now on. Sockets, addresses and shards stay.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.config.max_calls = limits.max_calls;
        self.config.media_timeout = limits.media_timeout;
        self.config.hold_timeout = limits.hold_timeout;
        self.config.offer_timeout = limits.offer_timeout;
        self.config.delete_delay = limits.delete_delay;
    }

    /// Carries out one command. `_from` is the ng client; which clients may speak is the listener's affair.
    pub fn handle_command(&mut self, command: Command, _from: Option<IpAddr>, now: Now) -> Reply {
        match command {
            Command::Ping => Reply::Pong,
            Command::Offer(c) => self.offer(&c, now).unwrap_or_else(|refused| refused),
            Command::Answer(c) => self.answer(&c, now).unwrap_or_else(|refused| refused),
            Command::Delete(c) => self.delete(&c, now),
            Command::Query(c) => self.query(&c, now),
            // Of the whole relay, and the book is only a part of it.
            Command::Statistics => Reply::error(reasons::NO_HANDLER),
            Command::List { limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let mut room = LIST_BYTES;
                let live = self.calls.values().filter(|c| c.ended.is_none());
                let named = live.take(limit).map_while(|c| {
                    // What stands around an id is shorter than this in either notation.
                    room = room.checked_sub(c.id.len().saturating_add(8))?;
                    Some(c.id.clone())
                });
                Reply::Calls(named.collect())
            }
        }
    }

    /// A shard learnt the address of a party behind a NAT; only statistics need it here.
    pub fn handle_learnt(&mut self, port: LocalPort, peer: SocketAddr) {
        let call = self.by_port.get(&port).and_then(|serial| self.calls.get_mut(serial));
        if let Some(side) = call.and_then(|c| c.side_of(port)) {
            side.learn(peer);
        }
    }

    /// Deletes what is due, ends calls without media (T-RTP-10).
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, serial)) = self.timers.first().copied() {
            if at > now.mono {
                break;
            }
            self.timers.pop_first();
            if let Some(call) = self.calls.remove(&serial) {
                self.look_at(serial, call, now);
            }
        }
    }

    /// Looks at the quality of the streams that are due: some of them, so that commands need not wait for many calls.
    pub fn handle_samples(&mut self, now: Now) {
        for _ in 0..SAMPLES {
            let Some((at, serial)) = self.samples.first().copied().filter(|(at, _)| *at <= now.mono) else {
                return;
            };
            self.samples.remove(&(at, serial));
            if let Some(call) = self.calls.get_mut(&serial).filter(|c| c.ended.is_none()) {
                call.look_at_quality(now);
                self.samples.insert((now.mono + quality::INTERVAL, serial));
            }
        }
    }

    /// When to call [`Book::handle_samples`].
    pub fn poll_sample(&self) -> Option<Mono> {
        self.samples.first().map(|(at, _)| *at)
    }

    /// What to do next; drain after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Book::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Calls that are not ended.
    pub fn calls(&self) -> usize {
        self.live
    }

    /// Port pairs in use.
    pub fn pairs_used(&self) -> usize {
        self.pairs
    }

    /// The supply of ports.
    pub fn ports(&self) -> &dyn Ports {
        &*self.ports
    }

    fn look_at(&mut self, serial: u64, mut call: Call, now: Now) {
        if call.ended.is_some() {
            self.by_id.remove(&call.id);
            return;
        }
        let due = |d: &Dialogue| d.delete_at.is_some_and(|at| at <= now.mono);
        for mut dialogue in call.dialogues.extract_if(.., |d| due(d)) {
            self.release_dialogue(call.shard, &mut dialogue, now);
        }
        if call.dialogues.is_empty() {
            return self.forget(&call, now);
        }
        if call.last_activity() + self.patience(&call) <= now.mono {
            call.ended = Some(call.stats(self.ports.ips(), now, |_| true));
            let why = if !call.is_answered() {
                EndOfCall::NeverAnswered
            } else if call.is_held() {
                EndOfCall::SilentOnHold
            } else {
                EndOfCall::Silent
            };
            for dialogue in &mut call.dialogues {
                self.release_dialogue(call.shard, dialogue, now);
            }
            call.dialogues.clear();
            self.live = self.live.saturating_sub(1);
            self.out.push_back(Output::CallEnded { why, lasted: now.mono.since(call.created.mono) });
            self.out.push_back(Output::TimedOut { call_id: call.id.clone() });
        }
        self.put_back(serial, call, now);
    }

    fn patience(&self, call: &Call) -> Duration {
        if !call.is_answered() {
            self.config.offer_timeout
        } else if call.is_held() {
            self.config.hold_timeout
        } else {
            self.config.media_timeout
        }
    }

    /// Takes a call out of the book, to be put back by [`Book::put_back`].
    fn take(&mut self, serial: u64) -> Option<Call> {
        let call = self.calls.remove(&serial)?;
        self.timers.remove(&(call.look_at, serial));
        Some(call)
    }

    fn put_back(&mut self, serial: u64, mut call: Call, now: Now) {
        call.look_at = match &call.ended {
            Some(_) => now.mono + ENDED_KEPT,
            None => {
                let silence = call.last_activity() + self.patience(&call);
                call.dialogues.iter().filter_map(|d| d.delete_at).fold(silence, Mono::min)
            }
        };
        self.timers.insert((call.look_at, serial));
        self.calls.insert(serial, call);
    }

    fn forget(&mut self, call: &Call, now: Now) {
        self.by_id.remove(&call.id);
        self.live = self.live.saturating_sub(1);
        let lasted = now.mono.since(call.created.mono);
        self.out.push_back(Output::CallEnded { why: EndOfCall::Deleted, lasted });
    }

    fn release_dialogue(&mut self, shard: u16, dialogue: &mut Dialogue, now: Now) {
        let labels = dialogue.labels();
        self.release(shard, &labels, &mut dialogue.media, now);
    }

    /// Closes the ports of media lines and gives them back. `labels` are those of the two parties.
    fn release(&mut self, shard: u16, labels: &[Option<Vec<u8>>; 2], lines: &mut [MediaLine], now: Now) {
        for line in lines {
            let mut ended = false;
            for side in &mut line.sides {
                let Some(pair) = side.pair.take() else { continue };
                for port in [pair.rtp_port(), pair.rtcp_port()] {
                    self.by_port.remove(&port);
                    self.out.push_back(Output::Close { shard, port });
                }
                self.ports.give_back(pair, now.mono);
                self.pairs = self.pairs.saturating_sub(1);
                ended = true;
            }
            if ended {
                let [a, b] = &line.sides;
                let figures = [a, b].map(|s| s.counters.snapshot(0));
                self.out.push_back(Output::StreamEnded(Box::new(EndedStream {
                    figures,
                    labels: labels.clone(),
                })));
                if let Some(from) = line.kind.take() {
                    self.out.push_back(Output::StreamKind { from: Some(from), to: None });
                }
            }
        }
    }

    fn install(&mut self, shard: u16, lines: &[MediaLine]) {
        for rule in lines.iter().flat_map(MediaLine::rules) {
            self.out.push_back(Output::Install { shard, rule: Box::new(rule) });
        }
    }

    /// The address that SDP shows for a pair.
    fn advertised(&self, ip: u8, media_address: Option<IpAddr>) -> Option<IpAddr> {
        let at = usize::from(ip);
        let local = *self.ports.ips().get(at)?;
        let shown = self.config.advertise.get(at).copied().unwrap_or(local);
        Some(media_address.filter(|ip| ip.is_ipv4() == shown.is_ipv4()).unwrap_or(shown))
    }

    /// Index of the local address to use: the first of the family on the logical interface `name`, or the one that `name`
    /// spells; else the first of the family, as for every unknown name.
    fn interface(&self, name: Option<&[u8]>, ipv4: bool) -> Option<u8> {
        let ips = self.ports.ips();
        let text = name.and_then(|n| std::str::from_utf8(n).ok());
        let spelt = text.and_then(|n| n.parse::<IpAddr>().ok());
        let of_family = |ip: &IpAddr| ip.is_ipv4() == ipv4;
        let named = |at: usize| text.is_some() && self.config.interfaces.get(at).map(String::as_str) == text;
        let find = |fits: &dyn Fn(usize, &IpAddr) -> bool| {
            ips.iter().enumerate().position(|(at, ip)| of_family(ip) && fits(at, ip))
        };
        let at = find(&|at, _| named(at))
            .or_else(|| find(&|_, ip| Some(*ip) == spelt))
            .or_else(|| find(&|_, _| true))?;
        u8::try_from(at).ok()
    }

    /// Takes over the marking that a command asks for and tells the ports: all of the call when it has changed, else those
    /// just taken, which carry the default.
    fn mark(&mut self, call: &mut Call, tos: Option<i64>, taken: &[PortPair]) {
        let before = call.tos;
        match tos.map(u8::try_from) {
            Some(Ok(tos)) => call.tos = Some(tos),
            Some(Err(_)) if tos.is_some_and(|t| t > 255) => call.tos = None,
            _ => {}
        }
        let pairs: Vec<PortPair> = if call.tos != before {
            call.dialogues.iter().flat_map(Dialogue::pairs).collect()
        } else if call.tos.is_some() {
            taken.to_vec()
        } else {
            return;
        };
        for port in pairs.into_iter().flat_map(|p| [p.rtp_port(), p.rtcp_port()]) {
            self.out.push_back(Output::Mark { shard: call.shard, port, tos: call.tos });
        }
    }

    fn offer(&mut self, c: &SdpCommand, now: Now) -> Result<Reply, Reply> {
        let sdp = parse(&c.sdp)?;
        check_lengths(c)?;
        if c.flags.loop_protect && is_loop(&sdp, &self.config.instance) {
            return Ok(Reply::Sdp { sdp: c.sdp.clone(), warning: None });
        }
        let known = self.by_id.get(&c.call_id).copied();
        let known = known.and_then(|serial| Some((serial, self.take(serial)?)));
        let (serial, mut call, is_new) = match known {
            Some((serial, call)) if call.ended.is_none() => (serial, call, false),
            other => {
                if other.is_some() {
                    self.by_id.remove(&c.call_id);
                }
                if self.live >= self.config.max_calls {
                    return Err(Reply::LoadLimit { message: reasons::LIMIT_SESSIONS.into() });
                }
                let serial = self.next;
                self.next = self.next.wrapping_add(1);
                (serial, self.new_call(serial, &c.call_id, now), true)
            }
        };
        let done = self.offer_in(serial, &mut call, c, &sdp, now);
        if done.is_err() && is_new {
            return done;
        }
        if is_new {
            self.live = self.live.saturating_add(1);
            self.by_id.insert(c.call_id.clone(), serial);
        }
        self.put_back(serial, call, now);
        done
    }

    fn new_call(&self, serial: u64, id: &[u8], now: Now) -> Call {
        let shard = serial.checked_rem(u64::from(self.config.shards)).unwrap_or(0);
        Call {
            id: id.to_vec(),
            shard: u16::try_from(shard).unwrap_or(0),
            created: now,
            last_signal: now,
            dialogues: Vec::new(),
            look_at: now.mono,
            ended: None,
            tos: None,
            metadata: None,
            is_sampled: false,
        }
    }

    fn offer_in(
        &mut self,
        serial: u64,
        call: &mut Call,
        c: &SdpCommand,
        sdp: &Sdp<'_>,
        now: Now,
    ) -> Result<Reply, Reply> {
        let spoken: Vec<Spoken> = sdp.media().map(|m| read(&m, Signalling::of(c))).collect();
        let found = find_for_offer(&call.dialogues, c);
        if self.is_circle(&spoken, call, found.map(|(at, _)| at)) {
            return Err(Reply::error(reasons::BAD_SDP));
        }
        let fresh = || (Dialogue::new(c.via_branch.clone(), &c.from_tag, c.to_tag.as_deref(), now), 0);
        // Worked on outside the call, so that an error leaves the call as it was.
        let (mut new, me) = match found {
            Some((_, me)) => (None, me),
            None => {
                let (dialogue, me) = fresh();
                (Some(dialogue), me)
            }
        };
        let other = 1 - me;
        let used = call.ports();
        let dialogue = match (&mut new, found) {
            (Some(dialogue), _) => dialogue,
            (None, Some((at, _))) => {
                call.dialogues.get_mut(at).ok_or(Reply::error(reasons::INVALID_DIALOGUE))?
            }
            (None, None) => return Err(Reply::error(reasons::INVALID_DIALOGUE)),
        };
        let relayed = self.relayable(&spoken, c)?;
        let taken = self.take_ports(&spoken, &relayed, dialogue, me, c, used, now)?;
        if spoken.len() > dialogue.media.len() {
            dialogue.media.resize_with(spoken.len(), MediaLine::default);
        }
        let new_pairs: Vec<PortPair> = taken.iter().map(|(_, _, pair)| *pair).collect();
        for (line, side, pair) in taken {
            if let Some(side) = dialogue.media.get_mut(line).and_then(|l| l.sides.get_mut(side)) {
                side.pair = Some(pair);
                side.counters = Arc::default();
                side.quality = QualityLog::default();
            }
            self.by_port.insert(pair.rtp_port(), serial);
            self.by_port.insert(pair.rtcp_port(), serial);
            self.pairs = self.pairs.saturating_add(1);
        }
        let mut lines = Vec::with_capacity(spoken.len());
        for ((said, protocol), line) in spoken.iter().zip(&relayed).zip(&mut dialogue.media) {
            line.mux = MuxPlan::offer(said.mux, c.rtcp_mux);
            if !dialogue.answered
                && let Some(side) = line.sides.get_mut(me)
            {
                side.speak(said.clone(), c.flags.reset);
            }
            let pair = line.sides.get(other).and_then(|s| s.pair).filter(|_| protocol.is_some());
            lines.push(self.out_line(said, pair, protocol.clone(), c.media_address, |rtp, rtcp| {
                (if line.mux.required { rtp } else { rtcp }, line.mux.sent)
            }));
        }
        dialogue.pending = dialogue.answered;
        dialogue.offered = spoken;
        dialogue.offerer = me;
        dialogue.delete_at = None;
        dialogue.loop_check |= c.flags.loop_protect;
        if let Some((mine, theirs)) = &c.direction {
            for (party, name) in [(me, mine), (other, theirs)] {
                if let Some(party) = dialogue.parties.get_mut(party) {
                    party.interface = Some(name.clone());
                }
            }
        }
        let text = match &mut dialogue.parties {
            [a, b] if me == 0 => say(a, b, sdp, &lines, c, &self.config.instance),
            [a, b] => say(b, a, sdp, &lines, c, &self.config.instance),
        };
        if !dialogue.answered {
            self.install(call.shard, &dialogue.media);
        }
        call.dialogues.extend(new);
        call.last_signal = now;
        call.take_metadata(c);
        self.mark(call, c.tos, &new_pairs);
        Ok(Reply::Sdp { sdp: text, warning: None })
    }

    /// For each line: the protocol to offer on, or `None` when the line is or becomes rejected. An error when nothing of
    /// a living SDP is left.
    fn relayable(&self, spoken: &[Spoken], c: &SdpCommand) -> Result<Vec<Option<String>>, Reply> {
        let relayed: Vec<Option<String>> = spoken
            .iter()
            .map(|said| {
                // "Removed" is offered on as rejected: both sides count the same lines (RFC 3264 §8).
                if said.rejected || said.class == Class::Foreign || c.media_remove.contains(&said.kind) {
                    return None;
                }
                outgoing_protocol(&said.protocol, c.transport_protocol).map(str::to_owned)
            })
            .collect();
        let living = spoken.iter().any(|s| !s.rejected);
        if living && relayed.iter().all(Option::is_none) {
            return Err(Reply::error(reasons::REWRITING_SDP));
        }
        Ok(relayed)
    }

    /// Takes the ports that an offer needs and does not have yet: all of them, or none and an error.
    #[allow(clippy::too_many_arguments)]
    fn take_ports(
        &mut self,
        spoken: &[Spoken],
        relayed: &[Option<String>],
        dialogue: &Dialogue,
        me: usize,
        c: &SdpCommand,
        used: usize,
        now: Now,
    ) -> Result<Vec<(usize, usize, PortPair)>, Reply> {
        let bad = || Reply::error(reasons::REWRITING_SDP);
        // Remembered for the dialogue: a later offer need not say it again.
        let known = |party: usize| dialogue.parties.get(party).and_then(|p| p.interface.as_deref());
        let (my_name, other_name) = match &c.direction {
            Some((a, b)) => (Some(a.as_slice()), Some(b.as_slice())),
            None => (known(me), known(1 - me)),
        };
        let mut wanted = Vec::new();
        for (at, said) in
            spoken.iter().enumerate().filter(|(at, _)| relayed.get(*at).is_some_and(Option::is_some))
        {
            let line = dialogue.media.get(at);
            let pair = |side: usize| line.and_then(|l| l.sides.get(side)).and_then(|s| s.pair);
            let ip = match pair(me) {
                Some(pair) => pair.ip,
                None => self.interface(my_name, said.ipv4).ok_or_else(bad)?,
            };
            self.check_target(ip, said, dialogue)?;
            if pair(me).is_none() {
                wanted.push((at, me, ip));
            }
            if pair(1 - me).is_none() {
                let ipv4 = match c.address_family {
                    Some(AddressFamily::Ip4) => true,
                    Some(AddressFamily::Ip6) => false,
                    None => said.ipv4,
                };
                wanted.push((at, 1 - me, self.interface(other_name, ipv4).ok_or_else(bad)?));
            }
        }
        if used.saturating_add(wanted.len().saturating_mul(2)) > self.config.max_ports_per_call {
            return Err(Reply::LoadLimit { message: reasons::LIMIT_LOAD.into() });
        }
        let mut taken = Vec::with_capacity(wanted.len());
        for (at, side, ip) in wanted {
            match self.ports.take(ip, now.mono) {
                Some(pair) => taken.push((at, side, pair)),
                None => {
                    for (_, _, pair) in taken {
                        self.ports.give_back(pair, now.mono);
                    }
                    return Err(Reply::error(reasons::OUT_OF_PORTS));
                }
            }
        }
        Ok(taken)
    }

    /// T-NG-06: would we send where nobody may be sent to, or to ourselves in a circle?
    fn check_target(&self, ip: u8, said: &Spoken, dialogue: &Dialogue) -> Result<(), Reply> {
        let bad = || Reply::error(reasons::BAD_SDP);
        let local = *self.ports.ips().get(usize::from(ip)).ok_or_else(bad)?;
        let nat = matches!(said.origin, super::negotiate::Origin::Nat(_));
        let targets = [said.rtp, said.rtcp.filter(|_| said.class != Class::Raw)];
        // The other branch of a call that comes through us twice may well be our own port; this dialogue's may not.
        let is_own = |to: SocketAddr| {
            dialogue.pairs().any(|p| {
                let own = [self.ports.ips().get(usize::from(p.ip)).copied(), self.advertised(p.ip, None)];
                own.contains(&Some(to.ip()))
                    && (p.rtp_port().port == to.port() || p.rtcp_port().port == to.port())
            })
        };
        let may = |to: SocketAddr| may_send(local, to, &self.config.forbidden) && !is_own(to);
        if !nat && !targets.into_iter().flatten().all(may) {
            return Err(bad());
        }
        Ok(())
    }

    /// One line of an outgoing SDP; `rtcp` picks the port of `a=rtcp` (from RTP and RTCP port) and whether to mux.
    fn out_line(
        &self,
        said: &Spoken,
        pair: Option<PortPair>,
        protocol: Option<String>,
        media_address: Option<IpAddr>,
        rtcp: impl FnOnce(u16, u16) -> (u16, bool),
    ) -> OutLine {
        let ip = pair.map_or(0, |p| p.ip);
        let (rtcp_port, mux) = match pair {
            Some(p) if said.class != Class::Raw => {
                let (port, mux) = rtcp(p.rtp_port().port, p.rtcp_port().port);
                (Some(port), mux)
            }
            _ => (None, false),
        };
        OutLine {
            port: pair.map_or(0, |p| p.rtp),
            ip: self.advertised(ip, media_address).unwrap_or(IpAddr::from([0, 0, 0, 0])),
            rtcp_port,
            mux,
            protocol,
            class: said.class,
            zero: said.zero,
            direction: said.direction,
            drop_mid: false,
        }
    }

    fn answer(&mut self, c: &SdpCommand, now: Now) -> Result<Reply, Reply> {
        let sdp = parse(&c.sdp)?;
        check_lengths(c)?;
        let unknown = || Reply::error(reasons::UNKNOWN_CALL_ID);
        let serial = *self.by_id.get(&c.call_id).ok_or_else(unknown)?;
        let mut call = self.take(serial).ok_or_else(unknown)?;
        let done =
            if call.ended.is_some() { Err(unknown()) } else { self.answer_in(&mut call, c, &sdp, now) };
        if done.is_ok() && !std::mem::replace(&mut call.is_sampled, true) {
            self.samples.insert((now.mono + quality::INTERVAL, serial));
        }
        self.put_back(serial, call, now);
        done
    }

    fn answer_in(
        &mut self,
        call: &mut Call,
        c: &SdpCommand,
        sdp: &Sdp<'_>,
        now: Now,
    ) -> Result<Reply, Reply> {
        let to_tag = c.to_tag.as_deref().ok_or(Reply::error(reasons::NO_TO_TAG))?;
        let invalid = || Reply::error(reasons::INVALID_DIALOGUE);
        let (at, offerer) = find_for_answer(&call.dialogues, c, to_tag).ok_or_else(invalid)?;
        let me = 1 - offerer;
        let spoken: Vec<Spoken> = sdp.media().map(|m| read(&m, Signalling::of(c))).collect();
        if self.is_circle(&spoken, call, Some(at)) {
            return Err(Reply::error(reasons::BAD_SDP));
        }
        let dialogue = call.dialogues.get_mut(at).ok_or_else(invalid)?;
        if dialogue.offerer != offerer {
            return Err(invalid());
        }
        // RFC 3264 §6: as many lines as the offer, of the same kinds and protocols.
        let fits = spoken.len() == dialogue.offered.len()
            && spoken.iter().zip(&dialogue.offered).all(|(answer, offer)| {
                answer.kind == offer.kind
                    && (answer.rejected || offer.rejected || answer.class == offer.class)
            });
        if !fits {
            return Err(Reply::error(reasons::REWRITING_SDP));
        }
        for (said, line) in spoken.iter().zip(&dialogue.media) {
            if let Some(pair) = line.sides.get(me).and_then(|s| s.pair).filter(|_| !said.rejected) {
                self.check_target(pair.ip, said, dialogue)?;
            }
        }
        // Nothing can fail from here on.
        let offered = dialogue.offered.clone();
        let trunks = dialogue.labels();
        let mut lines = Vec::with_capacity(spoken.len());
        for (i, line) in dialogue.media.iter_mut().enumerate() {
            let both = spoken
                .get(i)
                .zip(offered.get(i))
                .filter(|(a, o)| !a.rejected && !o.rejected && !c.media_remove.contains(&a.kind));
            let Some((answer, offer)) = both else {
                self.release(call.shard, &trunks, std::slice::from_mut(line), now);
                if let Some(answer) = spoken.get(i) {
                    lines.push(self.out_line(answer, None, None, c.media_address, |_, rtcp| (rtcp, false)));
                }
                continue;
            };
            let (mux_offerer, mux_answerer) = line.mux.answer(answer.mux);
            if let Some(side) = line.sides.get_mut(offerer) {
                side.mux = mux_offerer;
                if dialogue.pending {
                    side.speak(offer.clone(), false);
                }
            }
            if let Some(side) = line.sides.get_mut(me) {
                side.mux = mux_answerer;
                side.speak(answer.clone(), c.flags.reset);
            }
            let pair = line.sides.get(offerer).and_then(|s| s.pair);
            let protocol = String::from_utf8(offer.protocol.clone()).ok();
            let out = self.out_line(answer, pair, protocol, c.media_address, |rtp, rtcp| {
                (if mux_offerer { rtp } else { rtcp }, mux_offerer)
            });
            lines.push(OutLine { drop_mid: !offer.has_mid, ..out });
            let kind = StreamKind { codec: answer.codec.clone(), class: answer.class };
            if pair.is_some() && line.kind.as_ref() != Some(&kind) {
                let from = line.kind.replace(kind.clone());
                self.out.push_back(Output::StreamKind { from, to: Some(kind) });
            }
        }
        if let Some(party) = dialogue.parties.get_mut(me) {
            party.rename(to_tag, now);
        }
        // A 200 may come after its 18x, an 18x of a re-INVITE makes nothing early again.
        dialogue.early = c.flags.provisional && (dialogue.early || !dialogue.answered);
        dialogue.answered = true;
        dialogue.pending = false;
        dialogue.delete_at = None;
        let text = match &mut dialogue.parties {
            [a, b] if me == 0 => say(a, b, sdp, &lines, c, &self.config.instance),
            [a, b] => say(b, a, sdp, &lines, c, &self.config.instance),
        };
        self.install(call.shard, &dialogue.media);
        call.last_signal = now;
        call.take_metadata(c);
        self.mark(call, c.tos, &[]);
        Ok(Reply::Sdp { sdp: text, warning: None })
    }

    fn delete(&mut self, c: &Delete, now: Now) -> Reply {
        let unknown = || {
            if c.fatal {
                Reply::error(reasons::NOT_FOUND)
            } else {
                Reply::Ok { warning: Some(reasons::NOT_FOUND.into()) }
            }
        };
        let Some(serial) = self.by_id.get(&c.call_id).copied() else { return unknown() };
        let Some(mut call) = self.take(serial) else { return unknown() };
        if call.ended.is_none() && !call.dialogues.iter().any(|d| is_deleted(d, c)) {
            self.put_back(serial, call, now);
            return unknown();
        }
        let stats = call.stats(self.ports.ips(), now, |_| true);
        let reply = if c.fast { Reply::Ok { warning: None } } else { Reply::Stats(Box::new(stats)) };
        if call.ended.is_some() {
            self.by_id.remove(&call.id);
            return reply;
        }
        let delay = c.delete_delay.map_or(self.config.delete_delay, Duration::from_secs);
        if delay.is_zero() {
            for mut dialogue in call.dialogues.extract_if(.., |d| is_deleted(d, c)) {
                self.release_dialogue(call.shard, &mut dialogue, now);
            }
        } else {
            for dialogue in call.dialogues.iter_mut().filter(|d| is_deleted(d, c)) {
                dialogue.delete_at = Some(now.mono + delay);
            }
        }
        if call.dialogues.is_empty() {
            self.forget(&call, now);
        } else {
            self.put_back(serial, call, now);
        }
        reply
    }

    fn query(&self, c: &Query, now: Now) -> Reply {
        let call = self.by_id.get(&c.call_id).and_then(|serial| self.calls.get(serial));
        let Some(call) = call else {
            return Reply::error(reasons::UNKNOWN_CALL_ID);
        };
        let has = |d: &Dialogue, tag: &Option<Vec<u8>>| tag.as_deref().is_none_or(|t| d.party(t).is_some());
        let meant = |d: &Dialogue| has(d, &c.from_tag) && has(d, &c.to_tag);
        Reply::Stats(Box::new(call.stats(self.ports.ips(), now, meant)))
    }
}
