//! Answers: they set the rules of both directions, and open their branch.
//!
//! An answer that leaves lines out, or has some too many, still answers the call (the other side has picked up): what is missing
//! is refused, what is too much is left out. One that is not owed (the 200 behind an 18x, when an offer of the other side was
//! made and answered since) is translated and changes no media (RFC 3261 §13.2.1, RFC 6337 §3.1.1).

use std::net::SocketAddr;
use std::sync::Arc;

use warp_media::ice::Candidate;
use warp_media::srtp::CryptoLine;
use warp_model::Now;
use warp_ng::reply::reasons;
use warp_ng::{Dtls, Ice, Reply, SdpCommand};
use warp_sdp::Sdp;

use super::call::{Call, Dialogue, MediaLine, MediaSide};
use super::dialogues::{Style, check_lengths, find_for_answer, parse, refused, say};
use super::keyring::{Keyring, may_use, written};
use super::offer::section;
use super::session::{Session, Settled};
use super::taken::Taken;
use super::{Book, quality};
use crate::core::negotiate::{Class, Origin, OutLine, Spoken, may_send};
use crate::core::ports::PortPair;
use crate::core::secure::{Setup, ice_lines};
use crate::core::{Output, StreamKind};

/// Who is answered, and what both said, line by line.
struct Round<'a> {
    asker: usize,
    offered: &'a [Spoken],
    answered: &'a [Spoken],
    /// By line: what is agreed on keys.
    keys: &'a [Agreed],
}

/// What the two sides of one line agree on: SRTP between us and one of them, or neither.
#[derive(Clone, Debug, Default)]
struct Agreed {
    /// The asker's line, and ours in the answer to it.
    asker: Option<(CryptoLine, CryptoLine)>,
    /// The answerer's line, and ours that it answers.
    answerer: Option<(CryptoLine, CryptoLine)>,
}

impl Book {
    pub(super) fn answer(&mut self, c: &SdpCommand, now: Now) -> Result<Reply, Reply> {
        let sdp = parse(&c.sdp)?;
        check_lengths(c)?;
        let unknown = || Reply::error(reasons::UNKNOWN_CALL_ID);
        let serial = *self.by_id.get(&c.call_id).ok_or_else(unknown)?;
        if self.calls.get(serial).is_none_or(|c| c.ended.is_some()) {
            return Err(unknown());
        }
        let mut lent = Taken::of(self, serial, now).ok_or_else(unknown)?;
        let (_, book, call) = lent.parts().ok_or_else(unknown)?;
        let done = book.answer_in(call, c, &sdp, now);
        if done.is_ok() && !std::mem::replace(&mut call.is_sampled, true) {
            book.samples.insert((now.mono + quality::INTERVAL, serial));
        }
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
        let (at, asker) = find_for_answer(&call.dialogues, c, to_tag).ok_or_else(invalid)?;
        let me = 1 - asker;
        let dialogue = call.dialogues.get(at).ok_or_else(invalid)?;
        let spoken = dialogue.with_hidden(me, self.read_all(sdp, c));
        let offer = dialogue.offers.get(asker).and_then(Option::as_ref).ok_or_else(invalid)?;
        let is_owed = offer.pending || offer.number == dialogue.last_offer();
        let was_pending = offer.pending;
        check_fits(&spoken, &offer.said, &offer.told)?;
        let keys = self.agree(&spoken, dialogue, asker, c)?;
        if is_owed && self.is_circle(&spoken, call, dialogue) {
            return Err(refused(reasons::BAD_SDP, "media would come back to where it came from"));
        }
        for (i, (said, line)) in spoken.iter().zip(&dialogue.media).enumerate().filter(|_| is_owed) {
            let pair = |side: usize| line.sides.get(side).and_then(|s| s.pair);
            let by_ice = said.ice.is_some() && offer.ice.get(i) == Some(&true);
            if let Some(pair) = pair(me).filter(|_| !said.rejected && !by_ice) {
                self.check_target(pair.ip, i, &spoken, dialogue)?;
            }
            // Where it is told to do without checks, the address of its SDP counts after all.
            let is_open = offer.said.get(i).is_some_and(|o| o.ice.is_some()) && c.ice == Some(Ice::Remove);
            if let Some(pair) = pair(asker).filter(|_| is_open && !said.rejected) {
                self.check_target(pair.ip, i, &offer.said, dialogue)?;
            }
        }
        // Nothing can fail from here on.
        let (offered, plans) = (offer.said.clone(), offer.mux.clone());
        let (told, shown, lite) = (offer.told.clone(), offer.ice.clone(), offer.lite);
        let kept = call.pairs_elsewhere(at);
        let shard = call.shard;
        let dialogue = call.dialogues.get_mut(at).ok_or_else(invalid)?;
        let labels = dialogue.labels();
        let is_reoffer = was_pending && dialogue.answered;
        let round = Round { asker, offered: &offered, answered: &spoken, keys: &keys };
        let mut lines = Vec::with_capacity(spoken.len());
        for (i, line) in dialogue.media.iter_mut().enumerate() {
            let both = round
                .answered
                .get(i)
                .zip(round.offered.get(i))
                .filter(|(a, o)| {
                    !a.rejected && !o.rejected && !c.media_remove.iter().any(|kind| **kind == *a.kind)
                })
                // A line that was refused before stays so until it is offered again.
                .filter(|_| line.sides.iter().all(|s| s.pair.is_some()));
            if is_owed && both.is_none() {
                self.release(shard, &labels, std::slice::from_mut(line), &kept, now);
            }
            if let Some((answer, offer)) = both.filter(|_| is_owed) {
                let mux = plans.get(i).copied().unwrap_or_default().answer(answer.mux);
                for (side, mux) in [(asker, mux.0), (me, mux.1)] {
                    if let Some(side) = line.sides.get_mut(side) {
                        side.mux = mux;
                    }
                }
                if let Some(side) = line.sides.get_mut(asker).filter(|_| is_reoffer) {
                    side.speak(offer.clone(), false);
                }
                if let Some(side) = line.sides.get_mut(me) {
                    side.speak(answer.clone(), c.flags.reset);
                }
                let agreed = keys.get(i).cloned().unwrap_or_default();
                for (side, agreed) in [(asker, agreed.asker), (me, agreed.answerer)] {
                    let Some(side) = line.sides.get_mut(side) else { continue };
                    match agreed {
                        Some((theirs, ours)) => side.keys.agree(&theirs, ours),
                        None => side.keys.clear(),
                    }
                }
                let asks = Settled {
                    ice: offer.ice.clone().filter(|_| c.ice != Some(Ice::Remove)),
                    offerer: true,
                    dtls: offer.dtls.clone().filter(|_| offer.class == Class::Dtls).map(|said| (said, true)),
                };
                let answers = Settled {
                    ice: answer.ice.clone().filter(|_| shown.get(i) == Some(&true)),
                    offerer: false,
                    dtls: answer
                        .dtls
                        .clone()
                        .filter(|_| told.get(i) == Some(&Class::Dtls))
                        .map(|s| (s, true)),
                };
                let wish = c.dtls != Some(Dtls::Passive);
                for (side, settled, wish, lite) in
                    [(asker, asks, wish, lite.backward), (me, answers, true, lite.forward)]
                {
                    if let Some(side) = line.sides.get_mut(side) {
                        self.settle(side, settled, wish, lite);
                    }
                }
                self.change_kind(line, asker, answer);
            }
            lines.extend(self.answer_line(&round, i, line, both.is_some(), c));
        }
        // Lines that the offer did not have.
        for extra in spoken.get(lines.len()..).unwrap_or_default() {
            let line = self.out_line(extra, None, None, c.media_address, |_, rtcp| (rtcp, false));
            lines.push(OutLine { remove: true, ..line });
        }
        if let Some(party) = dialogue.parties.get_mut(me) {
            party.rename(to_tag, now);
        }
        // A 200 may come after its 18x, an 18x of a re-INVITE makes nothing early again.
        dialogue.early = c.flags.provisional && (dialogue.early || !dialogue.answered);
        dialogue.answered = true;
        if let Some(Some(offer)) = dialogue.offers.get_mut(asker) {
            offer.pending = false;
        }
        dialogue.delete_at = None;
        let (lines, mut missing) = dialogue.in_places(me, lines, &spoken);
        let untold = dialogue.hidden.get(asker);
        let left_out = offered.iter().enumerate().skip(spoken.len());
        let left_out = left_out.filter(|(i, _)| !untold.is_some_and(|h| h.contains(i)));
        missing.extend(left_out.map(|(_, said)| (usize::MAX, said)));
        let style = Style { instance: &self.config.instance, canonical: self.canonical };
        let text = match &mut dialogue.parties {
            [a, b] if me == 0 => say(a, b, sdp, &lines, c, style, &missing),
            [a, b] => say(b, a, sdp, &lines, c, style, &missing),
        };
        call.last_signal = now;
        call.take_metadata(c);
        let warning = self.record_by_flag(call, c, now);
        self.tap(call);
        self.open(call, at);
        self.mark(call, c.tos, &[]);
        Ok(Reply::Sdp { sdp: text, warning: warning.map(Into::into), recordings: self.recordings(call) })
    }

    /// One line of the answer as the asker gets it; `None`: the answer has no such line.
    fn answer_line(
        &self,
        round: &Round<'_>,
        i: usize,
        line: &MediaLine,
        is_taken: bool,
        c: &SdpCommand,
    ) -> Option<OutLine> {
        let answer = round.answered.get(i)?;
        let Some(offer) = round.offered.get(i) else {
            let line = self.out_line(answer, None, None, c.media_address, |_, rtcp| (rtcp, false));
            return Some(OutLine { remove: true, ..line });
        };
        if !is_taken {
            return Some(self.out_line(answer, None, None, c.media_address, |_, rtcp| (rtcp, false)));
        }
        let asker = line.sides.get(round.asker);
        let (pair, mux) = (asker.and_then(|s| s.pair), asker.is_some_and(|s| s.mux));
        let protocol = String::from_utf8(offer.protocol.to_vec()).ok();
        let out = self.out_line(answer, pair, protocol, c.media_address, |rtp, rtcp| {
            (if mux { rtp } else { rtcp }, mux)
        });
        let agreed = round.keys.get(i).and_then(|k| k.asker.as_ref());
        let mut keys: Vec<String> = agreed.map(|(_, ours)| written(ours, c)).into_iter().collect();
        let session = asker.map(|s| &s.session);
        if let Some(active) = session.and_then(Session::active).filter(|_| offer.class == Class::Dtls) {
            keys = self.certificate_lines(if active { Setup::Active } else { Setup::Passive });
        }
        let ours = session.filter(|s| s.is_checked()).and_then(Session::credentials);
        let ice = ours.zip(pair).map(|(ours, pair)| {
            let ports = [pair.rtp_port().port, pair.rtcp_port().port];
            let ports = ports.get(..if mux { 1 } else { 2 }).unwrap_or_default();
            ice_lines(ours, out.ip, ports, offer.ice.as_ref().is_some_and(|said| said.trickle))
        });
        let lite = ice.is_some() && session.is_some_and(Session::is_lite);
        // The asker's own name for the section, of this offer or of an earlier one.
        let mid = offer.mid.clone().or(asker.and_then(|s| s.mid.clone()));
        let offered = Some(Arc::clone(&offer.codecs));
        let ice = ice.unwrap_or_default();
        let drop_mid = mid.is_none();
        Some(OutLine { drop_mid, class: offer.class, keys, ice, lite, mid, offered, ..out })
    }

    /// ICE and DTLS of one side, as both said it. `wish`: we begin the handshake where the party leaves it to us.
    fn settle(&self, side: &mut MediaSide, mut settled: Settled, wish: bool, lite: bool) {
        if let Some(said) = &settled.ice {
            side.session.restart(said, self.config.keys);
        }
        settled.ice = settled.ice.filter(|_| side.session.credentials().is_some());
        let spoken = side.spoken.as_ref();
        // Behind a NAT nobody is where the SDP says: the party must begin.
        let is_hidden = settled.ice.is_none() && spoken.is_some_and(|s| matches!(s.origin, Origin::Nat(_)));
        if let Some((said, active)) = &mut settled.dtls {
            *active = side.session.begins(said, wish && !is_hidden);
        }
        let peers = spoken.map_or([None; 2], |s| [s.rtp, s.rtcp]).map(|at| at.filter(|_| !is_hidden));
        let ip = side.pair.map(|p| p.ip);
        let said = settled.ice.clone();
        let candidates = [0, 1].map(|c| self.candidates(ip, said.as_ref().and_then(|s| s.candidates.get(c))));
        side.session.settle(&settled, self.config.dtls.as_ref(), candidates, peers, lite);
    }

    /// Those of a party's candidates that may be sent to (T-NG-06), as this machine reaches them.
    fn candidates(&self, ip: Option<u8>, said: Option<&Vec<Candidate>>) -> Vec<Candidate> {
        let local = ip.and_then(|ip| self.ports.ips().get(usize::from(ip)).copied());
        let Some((local, said)) = local.zip(said) else { return Vec::new() };
        let there = |candidate: &Candidate| {
            let own = self.own_port(candidate.address);
            let own =
                own.and_then(|p| Some(SocketAddr::new(*self.ports.ips().get(usize::from(p.ip))?, p.port)));
            Candidate { address: own.unwrap_or(candidate.address), ..*candidate }
        };
        let may = |c: &Candidate| may_send(local, c.address, &self.config.forbidden);
        said.iter().map(there).filter(may).collect()
    }

    /// The keys of each line. An error where a protected side has none that we can use.
    fn agree(
        &self,
        answered: &[Spoken],
        dialogue: &Dialogue,
        asker: usize,
        c: &SdpCommand,
    ) -> Result<Vec<Agreed>, Reply> {
        let none = Keyring::default();
        let Some(offer) = dialogue.offers.get(asker).and_then(Option::as_ref) else { return Ok(Vec::new()) };
        let lines = answered.iter().enumerate().map(|(at, answer)| {
            let (Some(said), Some(told)) = (offer.said.get(at), offer.told.get(at)) else {
                return Ok(Agreed::default());
            };
            if answer.rejected || said.rejected {
                return Ok(Agreed::default());
            }
            let ring = |side: usize| {
                let side = dialogue.media.get(at).and_then(|l| l.sides.get(side));
                side.map_or(&none, |s| &s.keys)
            };
            let no_key = || {
                let why = format!("{}: no key of those that were offered", section(at, answered));
                refused(reasons::REWRITING_SDP, why)
            };
            match (said.class, *told) {
                (_, Class::Dtls) if answer.dtls.is_none() => {
                    let why = format!("{}: no fingerprint of a certificate", section(at, answered));
                    Err(refused(reasons::REWRITING_SDP, why))
                }
                (Class::Srtp, Class::Rtp | Class::Dtls) => {
                    let theirs = said.crypto.iter().find(|l| may_use(c, l.suite)).ok_or_else(no_key)?;
                    let ours = ring(asker).answer(theirs, self.config.keys).ok_or_else(no_key)?;
                    Ok(Agreed { asker: Some((theirs.clone(), ours)), answerer: None })
                }
                (Class::Rtp | Class::Dtls, Class::Srtp) => {
                    let ring = ring(1 - asker);
                    let both = answer.crypto.iter().find_map(|l| Some((l, ring.answered_by(l)?)));
                    let (theirs, ours) = both.ok_or_else(no_key)?;
                    Ok(Agreed { asker: None, answerer: Some((theirs.clone(), ours.clone())) })
                }
                _ => Ok(Agreed::default()),
            }
        });
        lines.collect()
    }

    /// Tells what a line carries from now on.
    fn change_kind(&mut self, line: &mut MediaLine, asker: usize, answer: &Spoken) {
        let pair: Option<PortPair> = line.sides.get(asker).and_then(|s| s.pair);
        let class = if line.has_keys() { Class::Srtp } else { answer.class };
        let kind = StreamKind { codec: answer.codec.to_vec(), class };
        if pair.is_some() && line.kind.as_ref() != Some(&kind) {
            let from = line.kind.replace(kind.clone());
            self.out.push_back(Output::StreamKind { from, to: Some(kind) });
        }
    }
}

/// RFC 3264 §6: lines of the same kinds and protocols as in the offer, as far as both have them; one of them must be left.
/// `told`: what each line was offered on as.
fn check_fits(answered: &[Spoken], offered: &[Spoken], told: &[Class]) -> Result<(), Reply> {
    let both = answered.iter().zip(offered.iter().zip(told)).enumerate();
    let unlike = both.clone().find(|(_, (answer, (offer, told)))| {
        answer.kind != offer.kind || (!answer.rejected && !offer.rejected && answer.class != **told)
    });
    let Some((at, (answer, (offer, _)))) = unlike else { return Ok(()) };
    let name = |s: &Spoken| format!("{} {}", s.kind.escape_ascii(), s.protocol.escape_ascii());
    let why = format!("{}: {} answers an offer of {}", section(at, answered), name(answer), name(offer));
    Err(refused(reasons::REWRITING_SDP, why))
}
