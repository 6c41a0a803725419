//! The relay as a question and an answer: an offer per branch before its INVITE, an answer on each 18x or 2xx with SDP, re-offers
//! in the dialog, and the deletion with the final figures (PRODUCT §6).

use std::net::IpAddr;

use warp_model::{CallId, Mono};
use warp_ng::{AddressFamily, Command, Delete, Dtls, Ice, Reply, RtcpMux, SdpCommand};
use warp_policy::directory::HostPort;
use warp_sip::dialog::Side;
use warp_sip::edit::Edit;
use warp_sip::flow::{Flow, Transport};
use warp_sip::message::{Message, Outline};
use warp_sip::resolve::Wanted;
use warp_sip::session::{BodyError, Session};

use super::call::{Call, Held, Phase, Target};
use super::calls::Calls;
use super::headers;
use super::slab::Id;
use super::table::Owner;
use super::transactions::Transactions;
use super::types::{AskId, AskReply, MediaError, Output, Question};

/// What a call waits for.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ask: AskId,
    pub(crate) deadline: Mono,
    pub(crate) what: Waiting,
}

/// And what goes on with the answer.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// The SDP for a vendor's INVITE.
    BranchOffer,
    /// The SDP of a branch's 18x or 2xx, for the caller.
    BranchAnswer {
        branch: u16,
        flow: Flow,
        bytes: Vec<u8>,
        /// Where everything stands in them.
        outline: Option<Box<Outline>>,
    },
    /// The SDP of a request within the dialog; `owed`: it is the answer in a PRACK to this offer.
    Request {
        side: Side,
        server: Id,
        flow: Flow,
        bytes: Vec<u8>,
        owed: Option<Vec<u8>>,
    },
    /// The SDP of the response to one; `offer`: what it answers, `None` when it is an offer itself.
    Response {
        server: Id,
        flow: Flow,
        bytes: Vec<u8>,
        offer: Option<Vec<u8>>,
    },
    /// The SDP in an ACK (late offer), and the offer that it answers.
    Ack {
        flow: Flow,
        bytes: Vec<u8>,
        offer: Vec<u8>,
    },
    /// What was agreed, told to the relay again: the offer of it, then its answer.
    Restore,
    Restored,
    /// The final figures.
    Figures,
    /// What DNS says of a name of a target that the call wants to go to.
    Name {
        wanted: Wanted,
        host: HostPort,
        target: Target,
    },
}

impl Waiting {
    /// Whose question it is.
    fn owner(&self, call: Id, branch: u16) -> Owner {
        match self {
            Waiting::BranchOffer => Owner::Branch { call, branch },
            Waiting::BranchAnswer { branch, .. } => Owner::Branch { call, branch: *branch },
            Waiting::Request { server, .. } | Waiting::Response { server, .. } => {
                Owner::InDialog { call, server: *server }
            }
            Waiting::Ack { .. }
            | Waiting::Restore
            | Waiting::Restored
            | Waiting::Figures
            | Waiting::Name { .. } => Owner::Call(call),
        }
    }

    /// The message that waits.
    fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Waiting::BranchAnswer { bytes, .. }
            | Waiting::Request { bytes, .. }
            | Waiting::Response { bytes, .. }
            | Waiting::Ack { bytes, .. } => Some(bytes),
            Waiting::BranchOffer
            | Waiting::Restore
            | Waiting::Restored
            | Waiting::Figures
            | Waiting::Name { .. } => None,
        }
    }
}

/// Puts the relay's SDP where the sender's was: the whole body, or its part of a multipart body (`whole`, of [`whole_body`]). An empty one takes
/// the body away.
pub(super) fn put_sdp<'m>(edit: &mut Edit<'m, '_>, sdp: &'m [u8], whole: Option<&'m [u8]>) {
    match whole {
        Some(body) => edit.replace_content(body),
        None => edit.replace_body(b"application/sdp", sdp),
    };
}

/// A multipart body with the relay's SDP in the place of the sender's; `None` when the SDP is all there is, or when it goes.
pub(super) fn whole_body(msg: &Message<'_>, sdp: &[u8]) -> Option<Vec<u8>> {
    if msg.sdp().is_some() || sdp.is_empty() {
        return None;
    }
    Session::of(msg).ok().flatten()?.rebuilt(sdp)
}

/// What both sides have agreed on: the caller's description and the callee's.
fn agreed(call: &Call) -> Option<(Vec<u8>, Vec<u8>)> {
    let held = &call.exchange;
    if held.callee.is_empty() {
        return None;
    }
    let caller = match held.caller.is_empty() {
        false => held.caller.clone(),
        true => call.offer()?.to_vec(),
    };
    Some((caller, held.callee.clone()))
}

impl Transactions {
    /// The SDP of a message, when media is anchored. Errors: there may be one that the relay cannot be given, so that media would pass
    /// unanchored.
    pub(super) fn session<'a>(&self, msg: &Message<'a>) -> Result<Option<&'a [u8]>, BodyError> {
        if !self.config.anchor_media {
            return Ok(None);
        }
        Session::of(msg).map(|found| found.map(|s| s.sdp))
    }
}

/// Whoever signals over a WebSocket is taken for a browser (RFC 7118).
fn is_web(flow: Flow) -> bool {
    matches!(flow.transport, Transport::Ws | Transport::Wss)
}

/// An answer is of the form that its offer had: a party on a WebSocket that offered plain RTP gets no more than that.
fn answers(c: &mut SdpCommand) {
    c.ice = c.ice.map(|ice| if ice == Ice::Force { Ice::Default } else { ice });
    (c.transport_protocol, c.rtcp_mux, c.dtls) = (None, RtcpMux::default(), None);
    (c.sdes_off, c.flags.generate_mid) = (false, false);
}

/// Which of the two is a browser: the one whose SDP it is, the one that gets it.
#[derive(Clone, Copy)]
struct Web {
    speaks: bool,
    hears: bool,
}

impl Web {
    /// What the relay is asked for because of it: media as browsers have it (RFC 8829, RFC 8827: DTLS-SRTP, ICE, RTP and RTCP on one
    /// port) towards a browser, plain RTP from a browser towards anybody else. Two that are none agree between themselves.
    fn dress(self, mut c: SdpCommand) -> SdpCommand {
        match self {
            Web { hears: true, .. } => {
                c.transport_protocol = Some(warp_ng::Transport::UdpTlsRtpSavpf);
                c.ice = Some(Ice::Force);
                c.rtcp_mux = RtcpMux { offer: true, require: true, ..RtcpMux::default() };
                c.sdes_off = true;
                c.flags.generate_mid = true;
            }
            Web { speaks: true, .. } => {
                c.transport_protocol = Some(warp_ng::Transport::RtpAvp);
                c.ice = Some(Ice::Remove);
                c.dtls = Some(Dtls::Off);
                c.rtcp_mux = RtcpMux { demux: true, ..RtcpMux::default() };
            }
            Web { .. } => {}
        }
        c
    }
}

impl Calls {
    /// Asks the relay; the call waits.
    pub(super) fn ask_media(
        &mut self,
        call: &mut Call,
        mut command: Command,
        what: Waiting,
        tx: &mut Transactions,
    ) {
        if let Command::Offer(offer) = &mut command {
            headers::hold_to_codecs(call, &mut offer.codec);
            // The relay's Call-ID is the call's public id: the recording is found by it, and names the call by it.
            offer.record = headers::is_recorded(call).then_some(true);
        }
        let ask = self.send_ask(command, tx);
        let owner = what.owner(call.id, call.branches.len().saturating_sub(1) as u16);
        self.asks.insert(ask.0, owner);
        let pending = Some(Pending { ask, deadline: tx.now.mono + tx.config.ask_deadline, what });
        match owner {
            Owner::Branch { branch, .. } => {
                if let Some(b) = call.branches.get_mut(usize::from(branch)) {
                    b.ask = pending;
                }
            }
            _ => call.ask = pending,
        }
    }

    /// Tells the relay; nobody waits.
    fn send_ask(&mut self, mut command: Command, tx: &mut Transactions) -> AskId {
        if let Command::Answer(c) = &mut command {
            answers(c);
        }
        tx.trip();
        self.next_ask += 1;
        let id = AskId(self.next_ask);
        tx.out.push_back(Output::Ask { id, question: Question::Media(command) });
        id
    }

    /// An `offer` or `answer` about this call.
    #[allow(clippy::too_many_arguments)] // the parts of one command
    pub(super) fn sdp_command(
        &self,
        call: &Call,
        branch: Option<u16>,
        from_tag: &[u8],
        to_tag: Option<&[u8]>,
        sdp: &[u8],
        speaker: Side,
        received_from: IpAddr,
    ) -> SdpCommand {
        let directory = &call.snapshot.directory;
        let branch = branch.and_then(|l| call.branches.get(usize::from(l))).or(call.branch());
        // The label says whose media this is: the relay's figures by trunk go by it.
        let (media_ips, label) = match speaker {
            Side::Caller => call.origin.media(directory),
            Side::Callee => branch.and_then(|l| l.target.media(directory)),
        }
        .unzip();
        // Who is called by the other family has media of it too (RFC 6157): the relay's address on his side is of his family.
        let hearer = match speaker {
            Side::Caller => branch.map(|l| &l.flow).or(call.callee_flow.as_ref()),
            Side::Callee => Some(&call.flow),
        };
        let hearer = hearer.map(|flow| flow.remote.ip().to_canonical());
        let crosses = |ip: &IpAddr| ip.is_ipv4() != received_from.to_canonical().is_ipv4();
        let address_family = hearer.filter(crosses).map(|ip| match ip {
            IpAddr::V4(_) => AddressFamily::Ip4,
            IpAddr::V6(_) => AddressFamily::Ip6,
        });
        // While the call rings, silence of the media does not end it.
        let ringing = matches!(call.phase, Phase::Setup | Phase::Ringing);
        let [caller, callee] = [Some(call.flow), branch.map(|b| b.flow)].map(|f| f.is_some_and(is_web));
        let web = match speaker {
            Side::Caller => Web { speaks: caller, hears: callee },
            Side::Callee => Web { speaks: callee, hears: caller },
        };
        let plain = SdpCommand {
            flags: warp_ng::Flags { provisional: ringing, ..warp_ng::Flags::default() },
            to_tag: to_tag.map(<[u8]>::to_vec),
            via_branch: branch.map(|l| l.via_branch.clone()),
            received_from: Some(received_from),
            address_family,
            media_ips: media_ips.unwrap_or_default(),
            label: label.map(String::into_bytes),
            ..SdpCommand::new(call.media_id.clone(), from_tag, sdp)
        };
        web.dress(plain)
    }

    /// Forgets the media of one branch (`branch`), or of the whole call. Nobody waits.
    pub(super) fn delete_media(&mut self, call: &mut Call, branch: Option<u16>, tx: &mut Transactions) {
        let mut delete = Delete { fast: true, ..Delete::call(call.media_id.clone()) };
        match branch.and_then(|l| call.branches.get_mut(usize::from(l))) {
            Some(branch) if branch.offered => {
                branch.offered = false;
                delete.from_tag = Some(call.dialog.caller.tag.clone());
                delete.via_branch = Some(branch.via_branch.clone());
            }
            Some(_) => return,
            None if !call.media_open => return,
            None => call.media_open = false,
        }
        if call.branches.iter().all(|l| !l.offered) {
            call.media_open = false;
        }
        self.send_ask(Command::Delete(delete), tx);
    }

    /// Nobody waits for the relay any more; what it was asked to hold counts as held, so that it will be told to forget it. A request within
    /// the dialog that waited for it is answered with `status` (RFC 3261 §15.1.2: 487 when the call ends); one of its finals that waited
    /// is taken: a 2xx gets its ACK.
    pub(super) fn drop_asks(&mut self, call: &mut Call, status: u16, tx: &mut Transactions) {
        for branch in 0..call.branches.len() {
            self.drop_branch_ask(call, branch, tx);
        }
        if let Some(pending) = call.ask.take() {
            self.asks.remove(&pending.ask.0);
            match &pending.what {
                Waiting::Request { server, .. } => tx.answer(*server, status, "", &[]),
                Waiting::Response { server, flow, bytes, offer } => {
                    self.refuse_in_dialog(call, *server, *flow, offer.is_some(), bytes, status, tx);
                }
                _ => {}
            }
            if let Some(bytes) = pending.what.into_bytes() {
                tx.give_buf(bytes);
            }
        }
    }

    /// Finals of requests within the dialog that waited behind a question: their transactions have them already, so nobody would repeat
    /// them. Their askers are answered with `status`.
    pub(super) fn drop_held_finals(&mut self, call: &mut Call, status: u16, tx: &mut Transactions) {
        for held in std::mem::take(&mut call.held) {
            match held {
                Held::InDialog { server, offered, flow, bytes } => {
                    self.refuse_in_dialog(call, server, flow, offered, &bytes, status, tx);
                    tx.give_buf(bytes);
                }
                Held::Branch { bytes, .. } => tx.give_buf(bytes),
                Held::Request { .. } => call.held.push_back(held),
            }
        }
    }

    /// The same for one branch.
    pub(super) fn drop_branch_ask(&mut self, call: &mut Call, branch: usize, tx: &mut Transactions) {
        let Some(b) = call.branches.get_mut(branch) else {
            return;
        };
        let Some(pending) = b.ask.take() else {
            return;
        };
        self.asks.remove(&pending.ask.0);
        if matches!(pending.what, Waiting::BranchOffer) {
            b.offered = true;
            call.media_open = true;
        }
        if let Some(bytes) = pending.what.into_bytes() {
            tx.give_buf(bytes);
        }
    }

    /// Forgets the media of a call that only the relay still knows.
    pub(super) fn delete_call_media(&mut self, media_id: &[u8], tx: &mut Transactions) {
        self.send_ask(Command::Delete(Delete { fast: true, ..Delete::call(media_id) }), tx);
    }

    /// Ends the media of an answered call and waits for its figures. False: there is none, or the relay is busy with it.
    pub(super) fn ask_figures(&mut self, call: &mut Call, tx: &mut Transactions) -> bool {
        if !call.media_open {
            return false;
        }
        call.media_open = false;
        call.branches.iter_mut().for_each(|l| l.offered = false);
        // The caller's tag is in every dialogue of the call; rtpengine gives figures only when one is named.
        let from_tag = Some(call.dialog.caller.tag.clone());
        let delete = Delete { from_tag, ..Delete::call(call.media_id.clone()) };
        self.ask_media(call, Command::Delete(delete), Waiting::Figures, tx);
        true
    }

    pub(super) fn on_answer(&mut self, ask: AskId, answer: AskReply, tx: &mut Transactions) {
        let answer = match answer {
            AskReply::Media(answer) => Some(answer),
            AskReply::Located(wanted, found) => {
                self.learn_name(&wanted, found, tx);
                None
            }
        };
        let Some(owner) = self.asks.remove(&ask.0) else {
            return;
        };
        let (id, branch) = match owner {
            Owner::Branch { call, branch } => (call, Some(branch)),
            Owner::InDialog { call, .. } | Owner::Call(call) => (call, None),
            // They ask nothing yet.
            Owner::Server(_) | Owner::Fork { .. } | Owner::Probe(_) | Owner::Ours => return,
        };
        self.with_call(id, tx, |calls, call, tx| {
            let asked = match branch {
                Some(branch) => call.branches.get_mut(usize::from(branch)).map(|b| &mut b.ask),
                None => Some(&mut call.ask),
            };
            if let Some(pending) = asked.and_then(|a| a.take_if(|p| p.ask == ask)) {
                calls.answered(call, pending.what, answer, tx);
            }
        });
    }

    /// The answer to what a call has asked; `None`: what DNS says is known now.
    fn answered(
        &mut self,
        call: &mut Call,
        what: Waiting,
        answer: Option<Result<Reply, MediaError>>,
        tx: &mut Transactions,
    ) {
        match what {
            Waiting::Name { wanted, host, target } => self.name_answered(call, &wanted, &host, target, tx),
            what => self.media_answered(call, what, answer.unwrap_or(Err(MediaError::Timeout)), tx),
        }
    }

    /// Tells the relay again what both sides have agreed on, because it was told an offer since that came to nothing. False: there is
    /// nothing to tell.
    pub(super) fn restore_media(&mut self, call: &mut Call, tx: &mut Transactions) -> bool {
        let ended = call.phase == Phase::Over || !call.media_open;
        let Some((caller, _)) = agreed(call).filter(|_| !ended) else {
            return false;
        };
        let (from, to) = (call.dialog.caller.tag.clone(), call.dialog.callee.tag.clone());
        let ip = call.flow.remote.ip();
        let offer = self.sdp_command(call, None, &from, Some(&to), &caller, Side::Caller, ip);
        self.ask_media(call, Command::Offer(offer), Waiting::Restore, tx);
        true
    }

    /// A 2xx brought no description, because the exchange ended in an 18x (RFC 3261 §13.2.1, RFC 6337 §2.1). The relay was told so provisionally:
    /// to it the call rings, and its silence ends nothing (T-RTP-10). It hears the answer again, for good. Nobody waits.
    pub(super) fn answer_for_good(&mut self, call: &mut Call, tx: &mut Transactions) {
        let held = &mut call.exchange;
        if !held.early && !call.late_offer && held.callee.is_empty() {
            held.callee = std::mem::take(&mut held.heard);
        }
        let sdp = if call.late_offer { &held.caller } else { &held.callee }.clone();
        let Some(flow) = call.callee_flow.filter(|_| call.media_open && !sdp.is_empty()) else {
            return;
        };
        let (caller, callee) = (call.dialog.caller.tag.clone(), call.dialog.callee.tag.clone());
        let (from, to, side, ip) = match call.late_offer {
            true => (callee, caller, Side::Caller, call.flow.remote.ip()),
            false => (caller, callee, Side::Callee, flow.remote.ip()),
        };
        let answer = self.sdp_command(call, None, &from, Some(&to), &sdp, side, ip);
        self.send_ask(Command::Answer(answer), tx);
    }

    fn restore_answer(&mut self, call: &mut Call, tx: &mut Transactions) {
        let (Some((_, callee)), Some(flow)) = (agreed(call), call.callee_flow) else {
            return;
        };
        let (from, to) = (call.dialog.caller.tag.clone(), call.dialog.callee.tag.clone());
        let ip = flow.remote.ip();
        let answer = self.sdp_command(call, None, &from, Some(&to), &callee, Side::Callee, ip);
        self.ask_media(call, Command::Answer(answer), Waiting::Restored, tx);
    }

    /// Goes on with what waited for the relay.
    pub(super) fn media_answered(
        &mut self,
        call: &mut Call,
        what: Waiting,
        answer: Result<Reply, MediaError>,
        tx: &mut Transactions,
    ) {
        // A relay that did not answer may have done it all the same: what it holds must be forgotten.
        if answer.is_err()
            && matches!(what, Waiting::BranchOffer)
            && let Some(branch) = call.branches.last_mut()
        {
            branch.offered = true;
        }
        if let Waiting::Request { server, .. } | Waiting::Response { server, .. } = &what {
            tx.begun = Some(*server);
        }
        let failed = answer.is_err();
        let (sdp, figures, refused) = match answer {
            Ok(Reply::Sdp { sdp, .. }) => (Some(sdp), None, false),
            Ok(Reply::Stats(stats)) => (None, Some(stats), false),
            Ok(Reply::Error { reason }) => (None, None, warp_ng::reply::reasons::is_of_sdp(&reason)),
            _ => (None, None, false),
        };
        if sdp.is_none() && !matches!(what, Waiting::Figures) {
            tx.stats.media_failures += 1;
        }
        // Whose SDP is refused is told 488; a relay that fails is our trouble.
        let (status, code) = if refused { (488, "media_refused") } else { (503, "media_unavailable") };
        match what {
            // Not the relay's to answer.
            Waiting::Name { .. } => {}
            Waiting::BranchOffer => match sdp {
                Some(sdp) => {
                    let branch = call.branches.len().saturating_sub(1);
                    if let Some(branch) = call.branches.last_mut() {
                        branch.offered = true;
                    }
                    call.media_open = true;
                    self.send_branch(call, branch as u16, Some(&sdp), tx);
                }
                None => {
                    self.branch_over(call, 0, None, code, tx);
                    self.refuse_call(call, status, "", code, if refused { 65 } else { 47 }, None, tx);
                }
            },
            Waiting::BranchAnswer { branch, flow, bytes, outline } => {
                if let Some(msg) = Outline::message(outline.as_deref(), &bytes) {
                    self.branch_answered_by_relay(call, branch, flow, &msg, sdp, tx);
                }
                tx.give_buf(bytes);
            }
            Waiting::Request { side, server, flow, bytes, owed } => {
                match sdp {
                    Some(sdp) => {
                        let offers = owed.is_none();
                        match owed {
                            Some(offer) => self.late_answer(call, side, &offer, &bytes, tx),
                            None => call.exchange.offered(),
                        }
                        if let Ok(msg) = Message::parse(&bytes) {
                            self.forward_in_dialog(
                                call,
                                side,
                                server,
                                flow,
                                &msg,
                                None,
                                Some((&sdp, offers)),
                                tx,
                            );
                        }
                    }
                    None => {
                        // It may have done it all the same.
                        call.exchange.dirty |= failed;
                        call.exchange.restore |= failed && call.exchange.open == 0;
                        tx.answer(server, status, "", &[]);
                    }
                }
                tx.give_buf(bytes);
            }
            Waiting::Response { server, flow, bytes, offer } => {
                match sdp {
                    Some(sdp) => {
                        if let Ok(msg) = Message::parse(&bytes) {
                            self.in_dialog_agreed(call, server, &msg, offer, tx);
                            self.pass_in_dialog(call, server, &msg, Some(&sdp), tx);
                        }
                    }
                    None => {
                        // It may have taken a late offer all the same.
                        call.exchange.dirty |= failed;
                        self.refuse_in_dialog(call, server, flow, offer.is_some(), &bytes, status, tx);
                    }
                }
                tx.give_buf(bytes);
            }
            Waiting::Ack { flow, bytes, offer } => {
                if let Ok(msg) = Message::parse(&bytes) {
                    match sdp {
                        Some(sdp) => {
                            call.exchange.acked = Some((msg.cseq().0, sdp.clone()));
                            let by_caller = msg.from_tag().is_some_and(|t| t == call.dialog.caller.tag);
                            let side = if by_caller { Side::Caller } else { Side::Callee };
                            self.late_answer(call, side, &offer, &bytes, tx);
                            self.forward_call_ack(call, flow, &msg, Some(&sdp), tx);
                        }
                        None => self.ack_without_media(call, flow, &msg, tx),
                    }
                }
                tx.give_buf(bytes);
            }
            Waiting::Restore => match sdp {
                Some(_) => self.restore_answer(call, tx),
                None => call.exchange.dirty = false,
            },
            Waiting::Restored => call.exchange.dirty = false,
            Waiting::Figures => {
                let tags = [&call.dialog.caller.tag, &call.dialog.callee.tag];
                let media = figures.map(|s| warp_model::cdr::MediaFigures {
                    to_callee: s.figures_from(tags[0]),
                    to_caller: s.figures_from(tags[1]),
                });
                if let Some(r) = &mut call.record {
                    r.media = media;
                }
                self.write_ended(call, tx);
            }
        }
    }

    /// The relay took too long.
    pub(super) fn asks_overdue(&mut self, call: &mut Call, tx: &mut Transactions) {
        let now = tx.now.mono;
        let asked = call.branches.iter_mut().map(|b| &mut b.ask).chain([&mut call.ask]);
        let late: Vec<Pending> = asked.filter_map(|a| a.take_if(|p| p.deadline <= now)).collect();
        for pending in late {
            self.asks.remove(&pending.ask.0);
            self.answered(call, pending.what, None, tx);
        }
    }

    /// The relay has seen no media for too long (T-RTP-10). The call ended when that was `due`: what came after it is nobody's to pay.
    pub(super) fn media_timeout(&mut self, media_id: &[u8], due: Mono, tx: &mut Transactions) {
        let cdr_id = std::str::from_utf8(media_id).ok().and_then(|text| text.parse::<CallId>().ok());
        let hit = cdr_id.and_then(|id| self.by_cdr.get(&id.as_u128()).copied());
        if let Some(id) = hit.filter(|id| self.all.get(*id).is_some_and(|c| c.phase == Phase::Answered)) {
            self.with_call(id, tx, |_, call, _| call.ends_at = call.ends_at.min(due));
            self.end_call(id, "media_timeout", tx);
        }
    }
}
