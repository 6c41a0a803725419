//! A call that arrives, as a state machine: messages and time in, datagrams out.

use std::time::Duration;

use warp_model::Mono;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};
use warp_sip::transaction::{Action, Actions, ClientInput, ClientOther, ServerInput, ServerInvite, Timers};

use crate::rtp::Leg;
use crate::spec::Behaviour;
use crate::text::{self, Local, Request};

/// A call that came in, from its INVITE on.
pub struct Incoming {
    behaviour: Behaviour,
    local: Local,
    /// The INVITE as it arrived: what responses and the BYE are made from.
    invite: Vec<u8>,
    tag: String,
    server: Option<ServerInvite>,
    last: Vec<u8>,
    ring_at: Option<Mono>,
    final_at: Option<Mono>,
    hang_up_at: Option<Mono>,
    /// The 200 is repeated by the user agent until ACK (RFC 3261 §13.3.1.4).
    repeat: Option<(Mono, Duration, Mono)>,
    answered: bool,
    bye: Option<(ClientOther, Vec<u8>)>,
    ended_at: Option<Mono>,
    /// The media of the call.
    pub leg: Leg,
    /// Messages to send to where the INVITE came from.
    pub out: Vec<Vec<u8>>,
}

impl Incoming {
    /// An INVITE has come; [`Behaviour::Silent`] calls are never made.
    pub fn start(
        invite: &Message<'_>,
        behaviour: Behaviour,
        local: Local,
        unique: u64,
        mut leg: Leg,
        now: Mono,
    ) -> Incoming {
        if let Some(sdp) = invite.sdp() {
            leg.set_remote(text::media_address(sdp));
        }
        let (ring_at, final_at) = match &behaviour {
            Behaviour::Answer { ring, answer, .. } => (Some(now + *ring), Some(now + *answer)),
            Behaviour::Refuse { after, .. } => (None, Some(now + *after)),
            Behaviour::Ring => (Some(now), None),
            Behaviour::Silent => (None, None),
        };
        let mut call = Incoming {
            behaviour,
            local,
            invite: invite.bytes().to_vec(),
            tag: format!("{:016x}", unique.rotate_left(31)),
            server: Some(ServerInvite::start(local.transport.is_reliable())),
            last: Vec::new(),
            ring_at,
            final_at,
            hang_up_at: None,
            repeat: None,
            answered: false,
            bye: None,
            ended_at: None,
            leg,
            out: Vec::new(),
        };
        call.respond(100, "Trying", "", "", now);
        call.handle_timeout(now);
        call
    }

    /// Whether the call is over and can be forgotten: it ended five seconds ago.
    pub fn is_gone(&self, now: Mono) -> bool {
        self.ended_at.is_some_and(|at| at + Duration::from_secs(5) <= now)
    }

    fn respond(&mut self, status: u16, reason: &str, extra: &str, sdp: &str, now: Mono) {
        let tag = (status > 100).then_some(self.tag.as_str());
        let Ok(invite) = Message::parse(&self.invite) else { return };
        self.last = text::response(&invite, status, reason, tag, extra, sdp);
        if let Some(server) = self.server.as_mut() {
            let actions = server.on_input(ServerInput::Respond(status), &Timers::default(), now);
            self.server_actions(actions, now);
        }
    }

    fn server_actions(&mut self, actions: Actions, now: Mono) {
        for action in actions {
            match action {
                Action::Send | Action::Resend => self.out.push(self.last.clone()),
                Action::Terminated => {
                    self.server = None;
                    if !self.answered {
                        self.end(now);
                    }
                }
                _ => {}
            }
        }
    }

    fn end(&mut self, now: Mono) {
        self.leg.stop();
        self.hang_up_at = None;
        self.repeat = None;
        self.ended_at.get_or_insert(now);
    }

    /// A message of this call.
    pub fn handle_message(&mut self, m: &Message<'_>, now: Mono) {
        if let Some(status) = m.status() {
            if let Some((machine, _)) = self.bye.as_mut() {
                let actions = machine.on_input(ClientInput::Response(status), &Timers::default(), now);
                self.bye_actions(actions, now);
            }
            return;
        }
        let input = match m.method() {
            Method::Invite => ServerInput::Request,
            Method::Ack => {
                self.repeat = None;
                ServerInput::Ack
            }
            Method::Bye => {
                self.out.push(text::response(m, 200, "OK", None, "", ""));
                self.end(now);
                return;
            }
            Method::Cancel => {
                self.out.push(text::response(m, 200, "OK", Some(&self.tag.clone()), "", ""));
                if self.ring_at.is_some() || self.final_at.is_some() || self.behaviour == Behaviour::Ring {
                    self.ring_at = None;
                    self.final_at = None;
                    self.respond(487, "Request Terminated", "", "", now);
                }
                return;
            }
            _ => {
                self.out.push(text::response(m, 200, "OK", None, "", ""));
                return;
            }
        };
        if let Some(server) = self.server.as_mut() {
            let actions = server.on_input(input, &Timers::default(), now);
            self.server_actions(actions, now);
        }
    }

    fn bye_actions(&mut self, actions: Actions, now: Mono) {
        for action in actions {
            match action {
                Action::Send | Action::Resend => {
                    if let Some((_, bytes)) = &self.bye {
                        self.out.push(bytes.clone());
                    }
                }
                Action::PassUp | Action::TimedOut | Action::TransportFailed => self.end(now),
                Action::Terminated => self.bye = None,
                Action::Ack => {}
            }
        }
    }

    /// What is due: media, ringing, the answer, repeats of it, our BYE.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.leg.handle_timeout(now);
        if self.ring_at.is_some_and(|at| at <= now) {
            self.ring_at = None;
            let contact = format!("Contact: {}\r\n", self.local.contact("ua"));
            if matches!(self.behaviour, Behaviour::Answer { early_media: true, .. }) {
                let sdp = text::sdp(self.leg.local());
                self.respond(183, "Session Progress", &contact, &sdp, now);
                self.leg.start(now);
            } else {
                self.respond(180, "Ringing", &contact, "", now);
            }
        }
        if self.final_at.is_some_and(|at| at <= now) {
            self.final_at = None;
            self.final_response(now);
        }
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up_at = None;
            self.send_bye(now);
        }
        if let Some((at, interval, ends)) = self.repeat
            && at <= now
        {
            if ends <= now {
                self.repeat = None;
                self.send_bye(now);
            } else {
                let interval = (interval * 2).min(Duration::from_secs(4));
                self.repeat = Some((now + interval, interval, ends));
                self.out.push(self.last.clone());
            }
        }
        if let Some(server) = self.server.as_mut() {
            let actions = server.on_timeout(&Timers::default(), now);
            self.server_actions(actions, now);
        }
        if let Some((machine, _)) = self.bye.as_mut() {
            let actions = machine.on_timeout(&Timers::default(), now);
            self.bye_actions(actions, now);
        }
    }

    fn final_response(&mut self, now: Mono) {
        match self.behaviour.clone() {
            Behaviour::Answer { hang_up, rtp, .. } => {
                self.answered = true;
                let contact = format!("Contact: {}\r\n", self.local.contact("ua"));
                let sdp = text::sdp(self.leg.local());
                self.respond(200, "OK", &contact, &sdp, now);
                let t1 = Duration::from_millis(500);
                self.repeat = Some((now + t1, t1, now + t1 * 64));
                self.hang_up_at = hang_up.map(|d| now + d);
                if rtp {
                    self.leg.start(now);
                } else {
                    self.leg.stop();
                }
            }
            Behaviour::Refuse { status, q850, .. } => {
                let reason = q850.map_or(String::new(), |c| format!("Reason: Q.850;cause={c}\r\n"));
                self.respond(status, "Refused", &reason, "", now);
            }
            Behaviour::Ring | Behaviour::Silent => {}
        }
    }

    fn send_bye(&mut self, now: Mono) {
        self.leg.stop();
        let Ok(invite) = Message::parse(&self.invite) else { return };
        let text_of = |h: Header| String::from_utf8_lossy(invite.header(h).unwrap_or(b"")).into_owned();
        let target =
            invite.contacts().next().map_or(String::new(), |c| String::from_utf8_lossy(c.uri).into_owned());
        let routes: Vec<String> =
            invite.record_routes().map(|r| String::from_utf8_lossy(r.raw).into_owned()).collect();
        let bytes = Request {
            method: "BYE",
            uri: &target,
            via: self.local.via(&format!("z9hG4bKb{}", self.tag)),
            from: &format!("{};tag={}", text_of(Header::To), self.tag),
            to: &text_of(Header::From),
            call_id: &text_of(Header::CallId),
            cseq: 1,
            routes: &routes,
            extra: "",
            sdp: "",
        }
        .write();
        let (machine, actions) =
            ClientOther::start(self.local.transport.is_reliable(), &Timers::default(), now);
        self.bye = Some((machine, bytes));
        self.bye_actions(actions, now);
    }

    /// When [`Incoming::handle_timeout`] is due.
    pub fn next_at(&self) -> Option<Mono> {
        [
            self.leg.next_at(),
            self.ring_at,
            self.final_at,
            self.hang_up_at,
            self.repeat.map(|(at, ..)| at),
            self.ended_at.map(|at| at + Duration::from_secs(5)),
            self.server.as_ref().and_then(|m| m.next_timeout()),
            self.bye.as_ref().and_then(|(m, _)| m.next_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
