//! A call that we place, as a state machine: messages and time in, datagrams out.

use std::time::Duration;

use warp_model::Mono;
use warp_sip::digest::{self, Ha1};
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};
use warp_sip::transaction::{Action, Actions, ClientInput, ClientInvite, ClientOther, Timers};

use crate::rtp::Leg;
use crate::spec::{CallResult, CallSpec, EndedBy};
use crate::text::{self, Local, Request};

/// Told once, at the end.
pub type OnEnd = Box<dyn FnOnce(CallResult) + Send>;

/// The dialog that a 2xx made.
struct Dialog {
    target: String,
    routes: Vec<String>,
    to: String,
    ack: Vec<u8>,
    to_tag: Vec<u8>,
}

/// A call that we placed, from its INVITE on.
pub struct Outgoing {
    spec: CallSpec,
    on_end: Option<OnEnd>,
    local: Local,
    call_id: String,
    branch_base: String,
    from: String,
    from_tag: String,
    cseq: u32,
    invite: Option<(ClientInvite, Vec<u8>)>,
    invite_branch: String,
    ack: Vec<u8>,
    other: Option<(ClientOther, Vec<u8>)>,
    dialog: Option<Dialog>,
    started: Mono,
    answered: Option<Mono>,
    cancel_at: Option<Mono>,
    /// CANCEL waits for the first 1xx (RFC 3261 §9.1).
    cancel_wanted: bool,
    cancelled: bool,
    bye_at: Option<Mono>,
    /// When a finished call is forgotten: until then a repeated 200 or BYE is still answered.
    forget_at: Option<Mono>,
    statuses: Vec<u16>,
    pdd: Option<Duration>,
    authenticated: bool,
    /// The media of the call.
    pub leg: Leg,
    /// Datagrams to send, to `spec.to`.
    pub out: Vec<Vec<u8>>,
}

impl Outgoing {
    /// Places the call: the INVITE waits to be sent.
    pub fn start(spec: CallSpec, local: Local, unique: u64, leg: Leg, on_end: OnEnd, now: Mono) -> Outgoing {
        let call_id = format!("{unique:016x}@{}", local.addr.ip());
        let from_tag = format!("{:016x}", unique.rotate_left(23));
        let from = format!("<sip:{}@{}>;tag={from_tag}", spec.caller, local.addr.ip());
        let mut call = Outgoing {
            cancel_at: spec.cancel_after.map(|d| now + d),
            spec,
            on_end: Some(on_end),
            local,
            branch_base: format!("z9hG4bKu{unique:016x}"),
            call_id,
            from,
            from_tag,
            cseq: 0,
            invite: None,
            invite_branch: String::new(),
            ack: Vec::new(),
            other: None,
            dialog: None,
            started: now,
            answered: None,
            cancel_wanted: false,
            cancelled: false,
            bye_at: None,
            forget_at: None,
            statuses: Vec::new(),
            pdd: None,
            authenticated: false,
            leg,
            out: Vec::new(),
        };
        call.send_invite("", now);
        call
    }

    /// The SIP Call-ID of the call.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Whether a message with this Call-ID is of our side of the call (an agent may call itself through a proxy).
    pub fn owns(&self, m: &Message<'_>) -> bool {
        let tag = if m.status().is_some() { m.from_tag() } else { m.to_tag() };
        tag == Some(self.from_tag.as_bytes())
    }

    /// Whether the call is over, told, and can be forgotten.
    pub fn is_gone(&self, now: Mono) -> bool {
        self.on_end.is_none() && self.forget_at.is_none_or(|at| at <= now)
    }

    fn uri(&self) -> String {
        format!("sip:{}@{}", self.spec.called, self.spec.to)
    }

    fn branch(&self, kind: &str) -> String {
        format!("{}{kind}{}", self.branch_base, self.cseq)
    }

    fn send_invite(&mut self, authorization: &str, now: Mono) {
        self.cseq += 1;
        self.invite_branch = self.branch("i");
        let extra = format!(
            "Contact: {}\r\n{authorization}Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n{}",
            self.local.contact(&self.spec.caller),
            self.spec.extra_headers
        );
        let bytes = Request {
            method: "INVITE",
            uri: &self.uri(),
            via: self.local.via(&self.invite_branch),
            from: &self.from,
            to: &format!("<{}>", self.uri()),
            call_id: &self.call_id,
            cseq: self.cseq,
            routes: &[],
            extra: &extra,
            sdp: &text::sdp(self.leg.local()),
        }
        .write();
        let (machine, actions) = ClientInvite::start(self.reliable(), &Timers::default(), now);
        self.invite = Some((machine, bytes));
        self.invite_actions(actions, None, now);
    }

    fn reliable(&self) -> bool {
        self.local.transport.is_reliable()
    }

    /// A message of this call from the other side.
    pub fn handle_message(&mut self, m: &Message<'_>, now: Mono) {
        let Some(status) = m.status() else { return self.handle_request(m, now) };
        match m.method_of_cseq() {
            Method::Invite if m.top_via().branch == Some(self.invite_branch.as_bytes()) => {
                let Some((machine, _)) = self.invite.as_mut() else { return self.again(status, m) };
                let actions = machine.on_input(ClientInput::Response(status), &Timers::default(), now);
                self.invite_actions(actions, Some(m), now);
            }
            Method::Bye | Method::Cancel => {
                let Some((machine, _)) = self.other.as_mut() else { return };
                let actions = machine.on_input(ClientInput::Response(status), &Timers::default(), now);
                self.other_actions(actions, m.method_of_cseq() == Method::Bye, now);
            }
            _ => {}
        }
    }

    /// A 2xx after the transaction is gone: the ACK was lost.
    fn again(&mut self, status: u16, m: &Message<'_>) {
        if let Some(d) = self.dialog.as_ref()
            && (200..300).contains(&status)
            && m.to_tag() == Some(&d.to_tag)
        {
            self.out.push(d.ack.clone());
        }
    }

    fn handle_request(&mut self, m: &Message<'_>, now: Mono) {
        let (status, reason) = match m.method() {
            Method::Ack => return,
            Method::Bye => {
                self.finish(EndedBy::Them, now);
                (200, "OK")
            }
            Method::Options => (200, "OK"),
            _ => (501, "Not Implemented"),
        };
        self.out.push(text::response(m, status, reason, None, "", ""));
    }

    fn invite_actions(&mut self, actions: Actions, m: Option<&Message<'_>>, now: Mono) {
        for action in actions {
            match (action, m) {
                (Action::Send | Action::Resend, _) => {
                    if let Some((_, bytes)) = &self.invite {
                        self.out.push(bytes.clone());
                    }
                }
                (Action::Ack, m) => {
                    if let Some(m) = m {
                        self.ack = self.failure_ack(m);
                    }
                    self.out.push(self.ack.clone());
                }
                (Action::PassUp, Some(m)) => self.handle_invite_response(m, now),
                (Action::TimedOut | Action::TransportFailed, _) => {
                    self.note(408);
                    self.finish(EndedBy::NotAnswered, now);
                }
                (Action::Terminated, _) => self.invite = None,
                (Action::PassUp, None) => {}
            }
        }
    }

    fn failure_ack(&self, m: &Message<'_>) -> Vec<u8> {
        Request {
            method: "ACK",
            uri: &self.uri(),
            via: self.local.via(&self.invite_branch),
            from: &self.from,
            to: &lossy(m.header(Header::To).unwrap_or(b"")),
            call_id: &self.call_id,
            cseq: self.cseq,
            routes: &[],
            extra: "",
            sdp: "",
        }
        .write()
    }

    fn note(&mut self, status: u16) {
        if self.statuses.last() != Some(&status) {
            self.statuses.push(status);
        }
    }

    fn handle_invite_response(&mut self, m: &Message<'_>, now: Mono) {
        let status = m.status().unwrap_or(0);
        if let (200..300, Some(d)) = (status, self.dialog.as_ref()) {
            if m.to_tag() == Some(&d.to_tag) {
                self.out.push(d.ack.clone());
            }
            return;
        }
        self.note(status);
        if status > 100 && status < 300 && self.pdd.is_none() {
            self.pdd = Some(now - self.started);
        }
        match status {
            100..200 => {
                if let Some(sdp) = m.sdp() {
                    self.leg.set_remote(text::media_address(sdp));
                }
                if self.cancel_wanted {
                    self.send_cancel(now);
                }
            }
            200..300 => self.answered(m, now),
            401 | 407 if !self.authenticated && self.spec.credentials.is_some() => {
                self.authenticated = true;
                match self.authorization(m) {
                    Some(line) => self.send_invite(&line, now),
                    None => self.finish(EndedBy::NotAnswered, now),
                }
            }
            _ => self.finish(EndedBy::NotAnswered, now),
        }
    }

    fn authorization(&self, m: &Message<'_>) -> Option<String> {
        let c = self.spec.credentials.as_ref()?;
        let (header, challenge) = digest::best_challenge(m)?;
        let (user, password) = (c.user.as_bytes(), c.password.reveal().as_bytes());
        let ha1 = Ha1::new(challenge.algorithm, user, challenge.realm, password);
        let (uri, cnonce) = (self.uri(), self.branch_base.as_bytes());
        let mut value = Vec::new();
        digest::respond(&challenge, user, &ha1, b"INVITE", uri.as_bytes(), cnonce, 1, &mut value);
        Some(format!("{}: {}\r\n", header.name(), lossy(&value)))
    }

    fn answered(&mut self, m: &Message<'_>, now: Mono) {
        self.answered = Some(now);
        self.cancel_at = None;
        let contact = m.contacts().next().map_or_else(|| self.uri(), |c| lossy(c.uri));
        let mut routes: Vec<String> = m.record_routes().map(|r| lossy(r.raw)).collect();
        routes.reverse();
        let to = lossy(m.header(Header::To).unwrap_or(b""));
        let ack = Request {
            method: "ACK",
            uri: &contact,
            via: self.local.via(&self.branch("a")),
            from: &self.from,
            to: &to,
            call_id: &self.call_id,
            cseq: self.cseq,
            routes: &routes,
            extra: "",
            sdp: "",
        }
        .write();
        self.out.push(ack.clone());
        let to_tag = m.to_tag().unwrap_or(b"").to_vec();
        self.dialog = Some(Dialog { target: contact, routes, to, ack, to_tag });
        if let Some(sdp) = m.sdp() {
            self.leg.set_remote(text::media_address(sdp));
        }
        if self.spec.rtp {
            self.leg.start(now);
        }
        // Crossed with our CANCEL: hang up at once.
        self.bye_at = Some(if self.cancelled { now } else { now + self.spec.talk });
    }

    fn send_cancel(&mut self, now: Mono) {
        self.cancel_wanted = false;
        self.cancelled = true;
        let bytes = Request {
            method: "CANCEL",
            uri: &self.uri(),
            via: self.local.via(&self.invite_branch),
            from: &self.from,
            to: &format!("<{}>", self.uri()),
            call_id: &self.call_id,
            cseq: self.cseq,
            routes: &[],
            extra: "",
            sdp: "",
        }
        .write();
        self.send_other(bytes, false, now);
    }

    fn send_bye(&mut self, now: Mono) {
        self.leg.stop();
        let Some(d) = self.dialog.as_ref() else { return };
        self.cseq += 1;
        let bytes = Request {
            method: "BYE",
            uri: &d.target,
            via: self.local.via(&self.branch("b")),
            from: &self.from,
            to: &d.to,
            call_id: &self.call_id,
            cseq: self.cseq,
            routes: &d.routes,
            extra: "",
            sdp: "",
        }
        .write();
        self.send_other(bytes, true, now);
    }

    fn send_other(&mut self, bytes: Vec<u8>, bye: bool, now: Mono) {
        let (machine, actions) = ClientOther::start(self.reliable(), &Timers::default(), now);
        self.other = Some((machine, bytes));
        self.other_actions(actions, bye, now);
    }

    fn other_actions(&mut self, actions: Actions, bye: bool, now: Mono) {
        for action in actions {
            match action {
                Action::Send | Action::Resend => {
                    if let Some((_, bytes)) = &self.other {
                        self.out.push(bytes.clone());
                    }
                }
                Action::PassUp if bye => self.finish(EndedBy::Us, now),
                Action::TimedOut | Action::TransportFailed if bye => self.finish(EndedBy::Lost, now),
                Action::Terminated => self.other = None,
                _ => {}
            }
        }
    }

    /// Reports the result once; the call stays for stragglers.
    fn finish(&mut self, ended_by: EndedBy, now: Mono) {
        self.leg.stop();
        self.bye_at = None;
        self.cancel_at = None;
        let Some(on_end) = self.on_end.take() else { return };
        self.forget_at = Some(now + Duration::from_secs(5));
        let ended_by = if self.answered.is_none() { EndedBy::NotAnswered } else { ended_by };
        on_end(CallResult {
            call_id: self.call_id.clone(),
            status: self.statuses.iter().rev().copied().find(|s| *s >= 200).unwrap_or(408),
            statuses: std::mem::take(&mut self.statuses),
            pdd: self.pdd,
            setup: self.answered.map(|at| at - self.started),
            talk: self.answered.map_or(Duration::ZERO, |at| now - at),
            rtp_sent: self.leg.sent,
            rtp_received: self.leg.received,
            ended_by,
        });
    }

    /// The agent stops: the result is what is known.
    pub fn abandon(&mut self, now: Mono) {
        self.finish(EndedBy::Lost, now);
    }

    /// What is due: media, retransmissions, CANCEL, BYE.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.leg.handle_timeout(now);
        if self.cancel_at.is_some_and(|at| at <= now) {
            self.cancel_at = None;
            match self.statuses.iter().any(|s| (100..200).contains(s)) {
                true => self.send_cancel(now),
                false => self.cancel_wanted = true,
            }
        }
        if self.bye_at.is_some_and(|at| at <= now) {
            self.bye_at = None;
            self.send_bye(now);
        }
        if let Some((machine, _)) = self.invite.as_mut() {
            let actions = machine.on_timeout(&Timers::default(), now);
            self.invite_actions(actions, None, now);
        }
        if let Some((machine, _)) = self.other.as_mut() {
            let actions = machine.on_timeout(&Timers::default(), now);
            self.other_actions(actions, self.answered.is_some(), now);
        }
    }

    /// When [`Outgoing::handle_timeout`] is due.
    pub fn next_at(&self) -> Option<Mono> {
        [
            self.leg.next_at(),
            self.cancel_at,
            self.bye_at,
            self.forget_at,
            self.invite.as_ref().and_then(|(m, _)| m.next_timeout()),
            self.other.as_ref().and_then(|(m, _)| m.next_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
