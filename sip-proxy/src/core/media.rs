//! The relay as a question and an answer: an offer per branch before its INVITE, an answer on each 18x or 2xx with SDP, re-offers
//! in the dialog, and the deletion with the final figures (PRODUCT §6).

use std::net::IpAddr;

use warp_model::Mono;
use warp_ng::{Command, Delete, Reply, SdpCommand};
use warp_sip::dialog::Side;
use warp_sip::edit::Edit;
use warp_sip::flow::Flow;
use warp_sip::message::Message;
use warp_sip::session::{BodyError, Session};

use super::call::{Call, Phase};
use super::calls::Calls;
use super::slab::Id;
use super::transactions::Transactions;
use super::types::{Answer, AskId, MediaError, Output, Question};

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
    BranchAnswer { branch: u16, flow: Flow, bytes: Vec<u8> },
    /// The SDP of a request within the dialog.
    Request { side: Side, server: Id, flow: Flow, bytes: Vec<u8> },
    /// The SDP of the response to one.
    Response { server: Id, flow: Flow, bytes: Vec<u8> },
    /// The SDP in an ACK (late offer).
    Ack { flow: Flow, bytes: Vec<u8> },
    /// The final figures.
    Figures,
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

impl Calls {
    /// Asks the relay; the call waits.
    pub(super) fn ask_media(
        &mut self,
        call: &mut Call,
        command: Command,
        what: Waiting,
        tx: &mut Transactions,
    ) {
        let ask = self.send_ask(command, tx);
        self.asks.insert(ask.0, call.id);
        call.ask = Some(Pending { ask, deadline: tx.now.mono + tx.config.ask_deadline, what });
    }

    /// Tells the relay; nobody waits.
    fn send_ask(&mut self, command: Command, tx: &mut Transactions) -> AskId {
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
            Side::Caller => directory.trunk(call.trunk).map(|t| (t.media_ips.clone(), t.id.to_string())),
            Side::Callee => branch
                .and_then(|l| l.vendor_trunk(directory))
                .map(|t| (t.media_ips.clone(), t.id.to_string())),
        }
        .unzip();
        // While the call rings, silence of the media does not end it.
        let ringing = matches!(call.phase, Phase::Setup | Phase::Ringing);
        SdpCommand {
            flags: warp_ng::Flags { provisional: ringing, ..warp_ng::Flags::default() },
            to_tag: to_tag.map(<[u8]>::to_vec),
            via_branch: branch.map(|l| l.via_branch.clone()),
            received_from: Some(received_from),
            media_ips: media_ips.unwrap_or_default(),
            label: label.map(String::into_bytes),
            ..SdpCommand::new(call.dialog.call_id.clone(), from_tag, sdp)
        }
    }

    /// Forgets the media of one branch (`branch`), or of the whole call. Nobody waits.
    pub(super) fn delete_media(&mut self, call: &mut Call, branch: Option<u16>, tx: &mut Transactions) {
        let mut delete = Delete { fast: true, ..Delete::call(call.dialog.call_id.clone()) };
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

    /// Nobody waits for the relay any more; what it was asked to hold counts as held, so that it will be told to forget it.
    pub(super) fn drop_ask(&mut self, call: &mut Call, tx: &mut Transactions) {
        let Some(pending) = call.ask.take() else {
            return;
        };
        self.asks.remove(&pending.ask.0);
        if matches!(pending.what, Waiting::BranchOffer)
            && let Some(branch) = call.branches.last_mut()
        {
            branch.offered = true;
            call.media_open = true;
        }
        if let Waiting::BranchAnswer { bytes, .. }
        | Waiting::Request { bytes, .. }
        | Waiting::Response { bytes, .. }
        | Waiting::Ack { bytes, .. } = pending.what
        {
            tx.give_buf(bytes);
        }
    }

    /// Forgets the media of a call that only the relay still knows.
    pub(super) fn delete_call_media(&mut self, call_id: &[u8], tx: &mut Transactions) {
        self.send_ask(Command::Delete(Delete { fast: true, ..Delete::call(call_id) }), tx);
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
        let delete = Delete { from_tag, ..Delete::call(call.dialog.call_id.clone()) };
        self.ask_media(call, Command::Delete(delete), Waiting::Figures, tx);
        true
    }

    pub(super) fn on_answer(&mut self, ask: AskId, answer: Answer, tx: &mut Transactions) {
        let Some(id) = self.asks.remove(&ask.0) else {
            return;
        };
        let Answer::Media(answer) = answer;
        self.with_call(id, tx, |calls, call, tx| {
            let Some(pending) = call.ask.take_if(|p| p.ask == ask) else {
                return;
            };
            calls.media_answered(call, pending.what, answer, tx);
        });
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
            Waiting::BranchOffer => match sdp {
                Some(sdp) => {
                    let branch = call.branches.len().saturating_sub(1);
                    if let Some(branch) = call.branches.last_mut() {
                        branch.offered = true;
                        let trunk = branch.vendor_trunk(&call.snapshot.directory);
                        if trunk.is_some_and(|t| t.credentials.is_some()) {
                            branch.sdp.clone_from(&sdp);
                        }
                    }
                    call.media_open = true;
                    self.send_branch(call, branch as u16, Some(&sdp), tx);
                }
                None => {
                    self.branch_over(call, 0, None, code, tx);
                    self.refuse_call(call, status, "", code, if refused { 65 } else { 47 }, None, tx);
                }
            },
            Waiting::BranchAnswer { branch, flow, bytes } => {
                self.branch_answered_by_relay(call, branch, flow, &bytes, sdp, tx);
                tx.give_buf(bytes);
            }
            Waiting::Request { side, server, flow, bytes } => {
                match sdp {
                    Some(sdp) => self.forward_in_dialog(call, side, server, flow, &bytes, Some(&sdp), tx),
                    None => tx.answer(server, status, "", &[]),
                }
                tx.give_buf(bytes);
            }
            Waiting::Response { server, flow, bytes } => {
                match sdp {
                    Some(sdp) => self.pass_in_dialog(call, server, &bytes, Some(&sdp), tx),
                    None => self.refuse_in_dialog(call, server, flow, &bytes, status, tx),
                }
                tx.give_buf(bytes);
            }
            Waiting::Ack { flow, bytes } => {
                match sdp {
                    Some(sdp) => self.forward_call_ack(call, flow, &bytes, Some(&sdp), tx),
                    None => self.ack_without_media(call, flow, &bytes, tx),
                }
                tx.give_buf(bytes);
            }
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
    pub(super) fn ask_overdue(&mut self, call: &mut Call, tx: &mut Transactions) {
        if let Some(pending) = call.ask.take_if(|p| p.deadline <= tx.now.mono) {
            self.asks.remove(&pending.ask.0);

            self.media_answered(call, pending.what, Err(MediaError::Timeout), tx);
        }
    }

    /// The relay has seen no media for too long (T-RTP-10).
    pub(super) fn media_timeout(&mut self, sip_call_id: &[u8], tx: &mut Transactions) {
        let hit = self
            .all
            .iter()
            .find(|(_, c)| c.dialog.call_id == sip_call_id && c.phase == Phase::Answered)
            .map(|(id, _)| id);
        if let Some(id) = hit {
            self.end_call(id, "media_timeout", tx);
        }
    }
}
