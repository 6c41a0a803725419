//! Offers: a new branch, or a re-offer of either party at any time. Ports are taken here; rules of an answered dialogue change
//! only with the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use warp_media::keying::{DigestKind, Fingerprint};
use warp_media::srtp::CryptoLine;
use warp_model::Now;
use warp_ng::reply::reasons;
use warp_ng::{AddressFamily, Dtls, Ice, Reply, SdpCommand};
use warp_sdp::Sdp;

use super::Book;
use super::call::{Call, Dialogue, MediaLine, Offer};
use super::dialogues::{Style, check_lengths, find_for_offer, parse, refused, say};
use super::keyring::{Keyring, suites, written};
use super::quality::QualityLog;
use super::taken::Taken;
use crate::core::codecs::{codecs, kept_formats};
use crate::core::exhausted::Exhausted;
use crate::core::negotiate::{Class, MuxPlan, Origin, OutLine, Signalling, Spoken, is_loop, may_send, read};
use crate::core::ports::PortPair;
use crate::core::protocol::{Means, outgoing_protocol};
use crate::core::secure::{Setup, dtls_lines, ice_lines};

/// A port pair that an offer needs: media line, side, local address.
type Wanted = (usize, usize, u8);

impl Book {
    pub(super) fn offer(&mut self, c: &SdpCommand, now: Now) -> Result<Reply, Reply> {
        let sdp = parse(&c.sdp)?;
        check_lengths(c)?;
        if c.flags.loop_protect && is_loop(&sdp, &self.config.instance) {
            return Ok(Reply::Sdp { sdp: c.sdp.clone(), warning: None, recordings: Vec::new() });
        }
        let mut lent = Taken::for_offer(self, &c.call_id, now)?;
        let Some((serial, book, call)) = lent.parts() else {
            return Err(Reply::error(reasons::UNKNOWN_CALL_ID));
        };
        book.offer_in(serial, call, c, &sdp, now)
    }

    /// What an SDP says. Our own address as others see it is our own other leg: media for it stays on this machine.
    pub(super) fn read_all(&self, sdp: &Sdp<'_>, c: &SdpCommand) -> Vec<Spoken> {
        let local = |to: SocketAddr| {
            let port = self.own_port(to)?;
            Some(SocketAddr::new(*self.ports.ips().get(usize::from(port.ip))?, port.port))
        };
        let signalling = Signalling::of(c, &self.own);
        let one = |m| {
            let mut said = read(&m, signalling);
            said.rtp = said.rtp.map(|to| local(to).unwrap_or(to));
            said.rtcp = said.rtcp.map(|to| local(to).unwrap_or(to));
            said
        };
        sdp.media().map(one).collect()
    }

    fn offer_in(
        &mut self,
        serial: u64,
        call: &mut Call,
        c: &SdpCommand,
        sdp: &Sdp<'_>,
        now: Now,
    ) -> Result<Reply, Reply> {
        let mut spoken = self.read_all(sdp, c);
        for (said, media) in spoken.iter_mut().zip(sdp.media()) {
            let kept = kept_formats(&media, &c.codec);
            said.codecs = codecs(&media, kept.as_deref());
        }
        let found = find_for_offer(&call.dialogues, c, &spoken);
        if let Some((dialogue, me)) = found.and_then(|(at, me)| Some((call.dialogues.get(at)?, me))) {
            spoken = dialogue.with_hidden(me, spoken);
        }
        let relayed = self.relayable(&spoken, c)?;
        // What is not offered on is refused here, whatever its answer says.
        for (said, _) in spoken.iter_mut().zip(&relayed).filter(|(_, protocol)| protocol.is_none()) {
            (said.rejected, said.rtp, said.rtcp) = (true, None, None);
        }
        // Worked on outside the call, so that an error leaves the call as it was.
        let mut new = match found {
            Some(_) => None,
            None if call.dialogues.len() >= self.config.max_branches_per_call => {
                return Err(Exhausted::Branches.reply());
            }
            None => {
                let name = c.direction.as_ref().map(|(mine, _)| mine.as_slice());
                let ip = |said: &Spoken| name.and_then(|name| self.interface(Some(name), said.ipv4));
                let ips: Vec<Option<u8>> = spoken.iter().map(ip).collect();
                Some(call.branch(c, &spoken, &ips, now))
            }
        };
        let used = call.ports();
        let (at, me) = found.unwrap_or((call.dialogues.len(), 0));
        let other = 1 - me;
        let invalid = || Reply::error(reasons::INVALID_DIALOGUE);
        let dialogue = new.as_ref().or_else(|| call.dialogues.get(at)).ok_or_else(invalid)?;
        if self.is_circle(&spoken, call, dialogue) {
            return Err(refused(reasons::BAD_SDP, "media would come back to where it came from"));
        }
        let wanted = self.wanted_ports(&spoken, &relayed, dialogue, me, c)?;
        if used.saturating_add(wanted.len().saturating_mul(2)) > self.config.max_ports_per_call {
            return Err(Exhausted::CallPorts.reply());
        }
        let told: Vec<Class> = spoken
            .iter()
            .zip(&relayed)
            .map(|(said, protocol)| match protocol {
                Some(p) if p.as_bytes() != &*said.protocol => Class::of(p.as_bytes()),
                _ => said.class,
            })
            .collect();
        let shown = self.keys_to_show(&spoken, &told, dialogue, other, c)?;
        let mut taken = Vec::with_capacity(wanted.len());
        for (line, side, ip) in wanted {
            taken.push((line, side, self.take_pair(serial, ip, now)?));
        }
        // Nothing fails from here on.
        if let Some(new) = new.take() {
            if let Some(branch) = &new.branch {
                call.is_back(branch);
            }
            call.dialogues.push(new);
        }
        let dialogue = call.dialogues.get_mut(at).ok_or_else(invalid)?;
        if spoken.len() > dialogue.media.len() {
            dialogue.media.resize_with(spoken.len(), MediaLine::default);
        }
        let new_pairs: Vec<PortPair> = taken.iter().map(|(_, _, pair)| *pair).collect();
        for (line, side, pair) in taken {
            if let Some(side) = dialogue.media.get_mut(line).and_then(|l| l.sides.get_mut(side)) {
                side.pair = Some(pair);
                side.counters = Default::default();
                side.quality = QualityLog::default();
                side.keys.clear();
                side.session.clear();
            }
        }
        let muxes = |line: usize| {
            let side = dialogue.media.get(line).and_then(|l| l.sides.get(other));
            dialogue.answered && side.is_some_and(|s| s.mux && s.pair.is_some())
        };
        let plan = |(line, said): (usize, &Spoken)| {
            let plan = MuxPlan::offer(said.mux, c.rtcp_mux).again(muxes(line), c.rtcp_mux);
            plan.kept(said.mux && said.class == Class::Dtls)
        };
        let plans: Vec<MuxPlan> = spoken.iter().enumerate().map(plan).collect();
        let mut lines = Vec::with_capacity(spoken.len());
        for (at, ((((said, protocol), line), plan), (told, shown))) in spoken
            .iter()
            .zip(&relayed)
            .zip(&mut dialogue.media)
            .zip(&plans)
            .zip(told.iter().zip(shown))
            .enumerate()
        {
            if !dialogue.answered
                && let Some(side) = line.sides.get_mut(me)
            {
                side.speak(said.clone(), c.flags.reset);
                // Early media is opened, too. Which key is used is said again by the answer.
                match said.crypto.first().filter(|_| said.class == Class::Srtp && *told != Class::Srtp) {
                    Some(key) => side.keys.hear(key),
                    None => side.keys.clear(),
                }
                match said.class {
                    Class::Dtls => side.session.close(),
                    _ => side.session.open(),
                }
                // Branches that share the ports show the same.
                if said.ice.is_some() {
                    side.session.prepare_ice(self.config.keys);
                }
            }
            let keys: Vec<String> = shown.iter().map(|key| written(key, c)).collect();
            if let Some(side) = line.sides.get_mut(other).filter(|_| !shown.is_empty()) {
                side.keys.show(shown);
            }
            let pair = line.sides.get(other).and_then(|s| s.pair).filter(|_| protocol.is_some());
            let is_muxed =
                dialogue.answered && line.sides.get(other).is_some_and(|s| s.mux && s.pair.is_some());
            lines.push(self.out_line(said, pair, protocol.clone(), c.media_address, |rtp, rtcp| {
                // Where it is muxed already there is no other port to speak of (RFC 5761 §5.1.1).
                (if plan.required || plan.sent && is_muxed { rtp } else { rtcp }, plan.sent)
            }));
            let side = line.sides.get_mut(other);
            if let (Some(out), Some(side), Some(pair)) = (lines.last_mut(), side, pair) {
                (out.class, out.keys) = (*told, keys);
                if *told == Class::Dtls {
                    out.keys = self.certificate_lines(Setup::ActPass);
                }
                let with_ice = wants_ice(said, c.ice) && side.session.prepare_ice(self.config.keys);
                if let Some(ours) = side.session.credentials().filter(|_| with_ice) {
                    let ports = [pair.rtp_port().port, pair.rtcp_port().port];
                    let count = if plan.required || plan.sent && is_muxed { 1 } else { 2 };
                    let ports = ports.get(..count).unwrap_or_default();
                    out.lite = c.ice_lite.forward;
                    out.ice = ice_lines(ours, out.ip, ports, false);
                }
            } else if let Some(out) = lines.last_mut() {
                out.class = *told;
            }
            if let (Some(out), Some(side)) = (lines.last_mut(), line.sides.get_mut(other))
                && dialogue.answered
            {
                out.mid = side.mid.clone();
            }
            if let Some(side) = line.sides.get_mut(other) {
                let told = said.mid.clone().or_else(|| c.flags.generate_mid.then(|| number(at, &spoken)));
                side.mid = side.mid.take().or(told);
            }
        }
        let ice: Vec<bool> = lines.iter().map(|line| !line.ice.is_empty()).collect();
        dialogue.hide_new(other, &spoken, &c.media_remove);
        let (lines, missing) = dialogue.in_places(me, lines, &spoken);
        let style = Style { instance: &self.config.instance, canonical: self.canonical };
        let said = spoken.clone();
        let number = dialogue.last_offer().saturating_add(1);
        let branch = c.via_branch.clone();
        if let Some(offer) = dialogue.offers.get_mut(me) {
            let lite = c.ice_lite;
            *offer = Some(Offer { said, told, ice, lite, mux: plans, pending: true, number, branch });
        }
        name(dialogue, me, c, now);
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
            [a, b] if me == 0 => say(a, b, sdp, &lines, c, style, &missing),
            [a, b] => say(b, a, sdp, &lines, c, style, &missing),
        };
        let is_first = !dialogue.answered;
        call.last_signal = now;
        call.take_metadata(c);
        let warning = self.record_by_flag(call, c, now);
        self.tap(call);
        if is_first {
            self.install(call, at);
        }
        self.mark(call, c.tos, &new_pairs);
        self.taken.clear();
        Ok(Reply::Sdp { sdp: text, warning: warning.map(Into::into), recordings: self.recordings(call) })
    }

    /// For each line: the protocol to offer on, or `None` when the line is or becomes rejected. An error when nothing of
    /// a living SDP is left.
    fn relayable(&self, spoken: &[Spoken], c: &SdpCommand) -> Result<Vec<Option<String>>, Reply> {
        let handshakes = self.config.dtls.is_some() && c.dtls != Some(Dtls::Off);
        let means = Means { sdes: !suites(c).is_empty(), handshakes, opens: false };
        let relayed: Vec<Option<String>> = spoken
            .iter()
            .map(|said| {
                // See `hidden`: it is left out, or refused where the other side knows of it (RFC 3264 §8).
                if said.rejected
                    || said.class == Class::Foreign
                    || c.media_remove.iter().any(|kind| **kind == *said.kind)
                {
                    return None;
                }
                let opens = match said.class {
                    Class::Dtls => self.config.dtls.is_some() && said.dtls.is_some(),
                    _ => !said.crypto.is_empty(),
                };
                let means = Means { opens, ..means };
                outgoing_protocol(said.class, &said.protocol, c.transport_protocol, means).map(str::to_owned)
            })
            .collect();
        let living = spoken.iter().position(|s| !s.rejected);
        if let Some(at) = living.filter(|_| relayed.iter().all(Option::is_none)) {
            let protocol = spoken.get(at).map(|s| &*s.protocol).unwrap_or_default();
            let why =
                format!("{}: {} cannot be relayed as asked", section(at, spoken), protocol.escape_ascii());
            return Err(refused(reasons::REWRITING_SDP, why));
        }
        Ok(relayed)
    }

    /// For each line: the keys that the other side gets to see; none where it is offered no protection of ours.
    fn keys_to_show(
        &self,
        spoken: &[Spoken],
        told: &[Class],
        dialogue: &Dialogue,
        other: usize,
        c: &SdpCommand,
    ) -> Result<Vec<Vec<CryptoLine>>, Reply> {
        let suites = suites(c);
        let none = Keyring::default();
        let lines = spoken.iter().zip(told).enumerate().map(|(at, (said, told))| {
            if said.rejected || said.class == Class::Srtp || *told != Class::Srtp {
                return Ok(Vec::new());
            }
            let side = dialogue.media.get(at).and_then(|l| l.sides.get(other));
            let keys = side.filter(|s| s.pair.is_some()).map_or(&none, |s| &s.keys);
            keys.lines(&suites, self.config.keys)
                .ok_or_else(|| refused(reasons::REWRITING_SDP, format!("{}: no keys", section(at, spoken))))
        });
        lines.collect()
    }

    /// The pairs that an offer needs and its dialogue does not have yet. An error when media would go where it may not.
    fn wanted_ports(
        &self,
        spoken: &[Spoken],
        relayed: &[Option<String>],
        dialogue: &Dialogue,
        me: usize,
        c: &SdpCommand,
    ) -> Result<Vec<Wanted>, Reply> {
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
            let no_family = || {
                let why = format!("{}: no local address of its family", section(at, spoken));
                refused(reasons::REWRITING_SDP, why)
            };
            let line = dialogue.media.get(at);
            let pair = |side: usize| line.and_then(|l| l.sides.get(side)).and_then(|s| s.pair);
            let ip = match pair(me) {
                Some(pair) => pair.ip,
                None => self.interface(my_name, said.ipv4).ok_or_else(no_family)?,
            };
            if said.ice.is_none() {
                self.check_target(ip, at, spoken, dialogue)?;
            }
            if pair(me).is_none() {
                wanted.push((at, me, ip));
            }
            if pair(1 - me).is_none() {
                let ipv4 = match c.address_family {
                    Some(AddressFamily::Ip4) => true,
                    Some(AddressFamily::Ip6) => false,
                    None => said.ipv4,
                };
                let wish = self.interface(other_name, ipv4);
                let other = wish.or_else(|| self.interface(other_name, said.ipv4).filter(|_| self.ours));
                wanted.push((at, 1 - me, other.ok_or_else(no_family)?));
            }
        }
        Ok(wanted)
    }

    /// T-NG-06: would we send where nobody may be sent to, or to ourselves in a circle?
    ///
    /// Our own address is our own other leg: only a port that is lent, and to another dialogue. A port beyond our range is some
    /// other program's on this machine, or of another machine behind the address that we show.
    pub(super) fn check_target(
        &self,
        ip: u8,
        at: usize,
        spoken: &[Spoken],
        dialogue: &Dialogue,
    ) -> Result<(), Reply> {
        let Some(said) = spoken.get(at) else { return Ok(()) };
        let local = *self.ports.ips().get(usize::from(ip)).ok_or(Reply::error(reasons::BAD_SDP))?;
        let targets = [said.rtp, said.rtcp.filter(|_| said.class != Class::Raw)];
        let may = |to: SocketAddr| match self.own_port(to) {
            Some(port) => !dialogue.pairs().any(|p| p.rtp_port() == port || p.rtcp_port() == port),
            None => may_send(local, to, &self.config.forbidden) && !self.is_unlent(to),
        };
        let bad = targets.into_iter().flatten().find(|to| !may(*to));
        match bad.filter(|_| !matches!(said.origin, Origin::Nat(_))) {
            Some(to) => {
                let why = format!("{}: media is not sent to {to}", section(at, spoken));
                Err(refused(reasons::BAD_SDP, why))
            }
            None => Ok(()),
        }
    }

    /// Our certificate, as SDP says it.
    pub(super) fn certificate_lines(&self, setup: Setup) -> Vec<String> {
        let certificate = self.config.dtls.as_ref().map(|maker| maker.certificate());
        certificate.map(|c| dtls_lines(setup, &Fingerprint::of(DigestKind::Sha256, c))).unwrap_or_default()
    }

    /// A port of our range, by an address of ours, that nobody has. Loopback is everybody's on this machine.
    fn is_unlent(&self, to: SocketAddr) -> bool {
        !warp_model::net::is_loopback(to.ip()) && self.own.contains(&to.ip()) && self.ports.has(to.port())
    }

    /// One line of an outgoing SDP; `rtcp` picks the port of `a=rtcp` (from RTP and RTCP port) and whether to mux.
    pub(super) fn out_line(
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
            keys: Vec::new(),
            ice: Vec::new(),
            lite: false,
            mid: None,
            offered: None,
            remove: false,
        }
    }
}

/// Whether the other side is offered checks of ICE: as the command says, else as the offer itself does.
fn wants_ice(said: &Spoken, wanted: Option<Ice>) -> bool {
    let asked = match wanted {
        Some(Ice::Remove) => false,
        Some(Ice::Force | Ice::ForceRelay | Ice::Optional) => true,
        None | Some(Ice::Default) => said.ice.is_some(),
    };
    asked && said.class != Class::Raw
}

/// What a section without a name is called with `generate-mid`: as [`crate::core::negotiate`] writes it.
fn number(at: usize, spoken: &[Spoken]) -> Arc<[u8]> {
    let mut number = at.saturating_add(1);
    while spoken.iter().any(|s| s.mid.as_deref() == Some(number.to_string().as_bytes())) {
        number = number.saturating_add(100);
    }
    number.to_string().into_bytes().into()
}

/// Tags that an offer tells: a party may have had no name before.
fn name(dialogue: &mut Dialogue, me: usize, c: &SdpCommand, now: Now) {
    let tags = [(me, Some(&c.from_tag)), (1 - me, c.to_tag.as_ref())];
    for (party, tag) in tags {
        if let (Some(party), Some(tag)) = (dialogue.parties.get_mut(party), tag)
            && party.tag.is_none()
        {
            party.rename(tag, now);
        }
    }
}

/// A media section for a person: its place, counted from 1, and its kind.
pub(super) fn section(at: usize, spoken: &[Spoken]) -> String {
    let kind = spoken.get(at).map(|s| &*s.kind).unwrap_or_default();
    format!("section {} ({})", at.saturating_add(1), kind.escape_ascii())
}
