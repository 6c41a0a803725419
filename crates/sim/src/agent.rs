//! Callers and vendors of the virtual world: just enough SIP over UDP, in code of their own.
//!
//! They follow RFC 3261 §17 timers (T1 = 500 ms, T2 = 4 s, 64·T1) so that lost datagrams are repaired, and keep what they
//! saw: the world's checker compares it with the journal of the proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use warp_model::Mono;

use crate::net::Datagram;
pub use crate::text::Parsed;
use crate::text::{inner, respond, respond_with};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(32);

/// A client transaction of an agent: what to send again, and when.
#[derive(Clone, Debug)]
struct Pending {
    bytes: Vec<u8>,
    next: Mono,
    interval: Duration,
    ends: Mono,
    invite: bool,
}

impl Pending {
    fn new(bytes: Vec<u8>, now: Mono, invite: bool) -> Pending {
        Pending { bytes, next: now + T1, interval: T1, ends: now + TIMEOUT, invite }
    }

    /// The same, never repeated on a connection.
    fn over(stream: bool, bytes: Vec<u8>, now: Mono, invite: bool) -> Pending {
        let pending = Pending::new(bytes, now, invite);
        Pending { next: if stream { pending.ends } else { pending.next }, ..pending }
    }

    /// Moves to the next retransmission.
    fn advance(&mut self) {
        self.interval = if self.invite { self.interval * 2 } else { (self.interval * 2).min(T2) };
        self.next += self.interval;
    }
}

/// What the caller does with its call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallPlan {
    /// Answered: BYE after this long.
    pub talk: Duration,
    /// Not answered yet after this long: CANCEL.
    pub cancel_after: Option<Duration>,
    /// The callee hangs up instead of the caller.
    pub callee_hangs_up: bool,
    /// Whether it speaks TCP.
    pub stream: bool,
    /// Signs in as [`crate::carrier::USER`] when it is challenged.
    pub signs_in: bool,
    /// Answered: a re-INVITE with another SDP after this long.
    pub reinvite_after: Option<Duration>,
}

/// One call, from the caller's side.
#[derive(Debug)]
pub struct Caller {
    /// The address that it sends from.
    pub addr: SocketAddr,
    proxy: SocketAddr,
    number: u64,
    plan: CallPlan,
    called: String,
    invite: Option<Pending>,
    other: Option<Pending>,
    invite_bytes: Vec<u8>,
    /// Number and branch of the INVITE under way.
    cseq: u32,
    branch: &'static str,
    /// The 2xx that made the dialog, and the re-INVITE in it.
    ok: Option<Parsed>,
    re: Option<Pending>,
    reinvite_at: Option<Mono>,
    re_acks: Vec<(u32, Vec<u8>)>,
    /// Final statuses of re-INVITEs.
    pub re_finals: Vec<u16>,
    cancel_at: Option<Mono>,
    bye_at: Option<Mono>,
    ack: Option<Vec<u8>>,
    cancelled: bool,
    /// Final statuses seen to the INVITE, without repeats.
    pub finals: Vec<u16>,
    /// To tags of 2xx.
    pub answered_tags: Vec<String>,
    /// It got a final answer to its BYE, or a BYE from the other side.
    pub ended: bool,
    /// The caller gave up waiting for an answer.
    pub timed_out: bool,
    /// What it wants to send.
    pub out: Vec<Datagram>,
}

impl Caller {
    /// A call that starts now.
    pub fn start(
        number: u64,
        addr: SocketAddr,
        proxy: SocketAddr,
        called: &str,
        plan: CallPlan,
        now: Mono,
    ) -> Caller {
        let mut caller = Caller {
            addr,
            proxy,
            number,
            called: called.to_owned(),
            invite: None,
            other: None,
            cseq: 1,
            branch: "i",
            ok: None,
            re: None,
            reinvite_at: None,
            re_acks: Vec::new(),
            re_finals: Vec::new(),
            cancel_at: plan.cancel_after.map(|d| now + d),
            bye_at: None,
            ack: None,
            cancelled: false,
            finals: Vec::new(),
            answered_tags: Vec::new(),
            ended: false,
            timed_out: false,
            out: Vec::new(),
            invite_bytes: Vec::new(),
            plan,
        };
        caller.invite("", now);
        caller
    }

    /// Sends the first INVITE, or the same with credentials.
    fn invite(&mut self, credentials: &str, now: Mono) {
        let (addr, proxy, called) = (self.addr, self.proxy, &self.called);
        let (number, branch, cseq) = (self.number, self.branch, self.cseq);
        let sdp = sdp_of(addr, 40_000);
        let invite = format!(
            "INVITE sip:{called}@{proxy} SIP/2.0\r\nVia: {};branch=z9hG4bKc{number}{branch}\r\n\
             From: <sip:12025550100@{addr}>;tag=caller{number}\r\nTo: <sip:{called}@{proxy}>\r\n\
             Call-ID: call{number}@sim\r\nCSeq: {cseq} INVITE\r\nContact: <sip:c@{addr}{}>\r\nMax-Forwards: 70\r\n\
             {credentials}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            self.via(),
            if self.plan.stream { ";transport=tcp" } else { "" },
            sdp.len()
        )
        .into_bytes();
        self.invite = Some(Pending::over(self.plan.stream, invite.clone(), now, true));
        self.invite_bytes.clone_from(&invite);
        self.send(invite);
    }

    fn via(&self) -> String {
        format!("SIP/2.0/{} {}", if self.plan.stream { "TCP" } else { "UDP" }, self.addr)
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.out.push(Datagram { from: self.addr, to: self.proxy, bytes, stream: self.plan.stream });
    }

    /// A datagram from the proxy.
    pub fn handle(&mut self, bytes: &[u8], now: Mono) {
        let m = Parsed::read(bytes);
        match m.status() {
            0 => self.handle_request(&m),
            status => self.handle_response(status, &m, now),
        }
    }

    fn handle_request(&mut self, m: &Parsed) {
        if m.start.starts_with("BYE ") {
            self.ended = true;
            self.bye_at = None;
            self.reinvite_at = None;
            self.re = None;
            self.other = None;
            let ok = respond(m, "200 OK", None, "");
            self.send(ok);
        }
    }

    fn handle_response(&mut self, status: u16, m: &Parsed, now: Mono) {
        if m.method() == "INVITE" && m.cseq() > self.cseq {
            self.re_answered(status, m, now);
            return;
        }
        match (m.method(), status) {
            // Of the INVITE without credentials.
            ("INVITE", _) if m.cseq() < self.cseq => {}
            ("INVITE", 407) if self.plan.signs_in && self.branch == "i" => {
                self.refused_ack(m);
                let credentials = crate::carrier::credentials(
                    m.get("proxy-authenticate"),
                    &format!("sip:{}@{}", self.called, self.proxy),
                );
                (self.cseq, self.branch) = (2, "j");
                if self.cancelled {
                    return; // it gave up in the meantime
                }
                self.invite(&credentials, now);
            }
            ("INVITE", 100..200) => {
                // Timer A stops; the call may ring for long.
                if let Some(p) = self.invite.as_mut() {
                    p.ends = now + Duration::from_secs(300);
                    p.next = p.ends;
                }
            }
            ("INVITE", 200..300) => self.answered(status, m, now),
            ("INVITE", _) => {
                self.invite = None;
                if !self.finals.contains(&status) {
                    self.finals.push(status);
                }
                self.cancel_at = None;
                self.refused_ack(m);
            }
            ("BYE", 200..) => {
                self.other = None;
                self.ended = true;
            }
            ("CANCEL", 200..) => self.other = None,
            _ => {}
        }
    }

    /// ACK for a final that is no 2xx: of the INVITE's transaction (RFC 3261 §17.1.1.3).
    fn refused_ack(&mut self, m: &Parsed) {
        let ack = format!(
            "ACK sip:{}@{} SIP/2.0\r\nVia: {};branch={}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            self.called,
            self.proxy,
            self.via(),
            m.branch(),
            m.get("from"),
            m.get("to"),
            m.get("call-id"),
            m.cseq(),
        );
        self.send(ack.into_bytes());
    }

    /// The answer to a re-INVITE.
    fn re_answered(&mut self, status: u16, m: &Parsed, now: Mono) {
        match status {
            100..200 => {
                if let Some(p) = self.re.as_mut() {
                    p.next = p.ends;
                }
            }
            200..300 => {
                self.re = None;
                if !self.re_finals.contains(&status) {
                    self.re_finals.push(status);
                }
                let known = self.re_acks.iter().find(|(n, _)| *n == m.cseq()).map(|(_, ack)| ack.clone());
                let ack = known.unwrap_or_else(|| {
                    let ack = self.in_dialog(m, "ACK", m.cseq(), "ra", "");
                    self.re_acks.push((m.cseq(), ack.clone()));
                    ack
                });
                self.send(ack);
            }
            _ => {
                self.re = None;
                if !self.re_finals.contains(&status) {
                    self.re_finals.push(status);
                }
                self.refused_ack(m);
            }
        }
        let _ = now;
    }

    fn answered(&mut self, status: u16, m: &Parsed, now: Mono) {
        self.invite = None;
        self.cancel_at = None;
        let tag = m.to_tag().unwrap_or("").to_owned();
        if self.answered_tags.contains(&tag) {
            // A repeated 200: the ACK was lost.
            if let Some(ack) = self.ack.clone() {
                self.send(ack);
            }
            return;
        }
        self.answered_tags.push(tag);
        if !self.finals.contains(&status) {
            self.finals.push(status);
        }
        let ack = self.in_dialog(m, "ACK", self.cseq, "a", "");
        self.ack = Some(ack.clone());
        self.send(ack);
        self.ok = Some(m.clone());
        self.reinvite_at = self.plan.reinvite_after.filter(|_| !self.cancelled).map(|d| now + d);
        let talk = if self.cancelled { Duration::ZERO } else { self.plan.talk };
        if !self.plan.callee_hangs_up || self.cancelled {
            self.bye_at = Some(now + talk);
        }
        // Behind every re-INVITE.
        let bye = self.in_dialog(m, "BYE", self.cseq + 2, "b", "");
        self.invite_bytes = bye; // what bye_at sends
    }

    /// A request inside the dialog that a 2xx made (RFC 3261 §12.2.1.1, loose routes only).
    fn in_dialog(&self, m: &Parsed, method: &str, cseq: u32, branch: &str, sdp: &str) -> Vec<u8> {
        let routes: String = m.all("record-route").rev().map(|r| format!("Route: {r}\r\n")).collect();
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {} SIP/2.0\r\nVia: {};branch=z9hG4bKc{}{branch}\r\n{routes}From: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:c@{}>\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {}\r\n\r\n{sdp}",
            inner(m.get("contact")),
            self.via(),
            self.number,
            m.get("from"),
            m.get("to"),
            m.get("call-id"),
            self.addr,
            sdp.len()
        )
        .into_bytes()
    }

    /// Retransmissions, CANCEL and BYE that are due.
    pub fn handle_timeout(&mut self, now: Mono) {
        if self.cancel_at.is_some_and(|at| at <= now) {
            self.cancel_at = None;
            self.cancelled = true;
            let text = String::from_utf8_lossy(&self.invite_bytes).into_owned();
            let head = text.split("\r\n\r\n").next().unwrap_or("");
            let mut cancel = String::new();
            for line in head.split("\r\n") {
                let lower = line.to_lowercase();
                if lower.starts_with("invite ") {
                    cancel.push_str(&line.replacen("INVITE", "CANCEL", 1));
                } else if lower.starts_with("cseq") {
                    cancel.push_str(&format!("CSeq: {} CANCEL", self.cseq));
                } else if lower.starts_with("content")
                    || lower.starts_with("contact")
                    || lower.starts_with("proxy-auth")
                {
                    continue;
                } else {
                    cancel.push_str(line);
                }
                cancel.push_str("\r\n");
            }
            cancel.push_str("Content-Length: 0\r\n\r\n");
            self.other = Some(Pending::over(self.plan.stream, cancel.clone().into_bytes(), now, false));
            self.send(cancel.into_bytes());
        }
        if self.bye_at.is_some_and(|at| at <= now) {
            self.bye_at = None;
            let bye = self.invite_bytes.clone();
            self.other = Some(Pending::over(self.plan.stream, bye.clone(), now, false));
            self.reinvite_at = None;
            self.re = None;
            self.send(bye);
        }
        if self.reinvite_at.is_some_and(|at| at <= now)
            && let Some(ok) = self.ok.clone()
        {
            self.reinvite_at = None;
            let re = self.in_dialog(&ok, "INVITE", self.cseq + 1, "r", &sdp_of(self.addr, 41_000));
            self.re = Some(Pending::over(self.plan.stream, re.clone(), now, true));
            self.send(re);
        }
        for which in 0..3 {
            let slot = match which {
                0 => &mut self.invite,
                1 => &mut self.other,
                _ => &mut self.re,
            };
            let Some(p) = slot else { continue };
            if p.ends <= now {
                *slot = None;
                self.timed_out |= which < 2;
                self.ended |= which == 1;
            } else if p.next <= now {
                p.advance();
                let bytes = p.bytes.clone();
                self.send(bytes);
            }
        }
    }

    /// When [`Caller::handle_timeout`] is due.
    pub fn next_at(&self) -> Option<Mono> {
        let pending = [&self.invite, &self.other, &self.re];
        pending
            .into_iter()
            .flatten()
            .map(|p| p.next.min(p.ends))
            .chain(self.cancel_at)
            .chain(self.bye_at)
            .chain(self.reinvite_at)
            .min()
    }
}

/// A description of audio at an address.
fn sdp_of(addr: SocketAddr, port: u16) -> String {
    let ip = addr.ip();
    format!(
        "v=0\r\no=- 1 {port} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

/// What a vendor does with every call it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// 180, then 200 after this long.
    Answer(Duration),
    /// Refuses with this status.
    Refuse(u16),
    /// 180 and nothing more.
    Ring,
    /// The vendor never says anything.
    Silent,
}

/// One call, from the vendor's side; key: Call-ID.
#[derive(Debug)]
struct Incoming {
    invite: Parsed,
    invite_raw: Vec<u8>,
    /// Branch of its latest re-INVITE.
    re_branch: String,
    from: SocketAddr,
    answer_at: Option<Mono>,
    hang_up_at: Option<Mono>,
    /// Final response and its retransmission until ACK.
    last: Option<Pending>,
    bye: Option<Pending>,
    answered: bool,
    acked: bool,
    ended: bool,
}

/// A vendor: a user agent server for many calls.
#[derive(Debug)]
pub struct Vendor {
    /// The address that it listens on.
    pub addr: SocketAddr,
    behaviour: Behaviour,
    callee_talk: Duration,
    calls: BTreeMap<String, Incoming>,
    /// INVITE branches seen, with the bytes of the first: a repeat must be byte for byte the same.
    branches: BTreeMap<String, Vec<u8>>,
    /// How many re-INVITEs it has answered.
    pub reinvited: u64,
    /// Broken rules, in words.
    pub faults: Vec<String>,
    /// What it wants to send.
    pub out: Vec<Datagram>,
}

impl Vendor {
    /// A vendor; `callee_talk` is used when the called number ends in 9 (the callee hangs up).
    pub fn new(addr: SocketAddr, behaviour: Behaviour, callee_talk: Duration) -> Vendor {
        Vendor {
            addr,
            behaviour,
            callee_talk,
            calls: BTreeMap::new(),
            branches: BTreeMap::new(),
            reinvited: 0,
            faults: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Call-IDs that were answered here.
    pub fn answered(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter(|(_, c)| c.answered).map(|(id, _)| id.as_str())
    }

    /// Call-IDs answered here whose end was never seen.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter(|(_, c)| c.answered && !c.ended).map(|(id, _)| id.as_str())
    }

    /// A datagram from the proxy.
    pub fn handle(&mut self, from: SocketAddr, bytes: &[u8], now: Mono) {
        if self.behaviour == Behaviour::Silent {
            return;
        }
        let m = Parsed::read(bytes);
        if m.status() > 0 {
            // The answer to our BYE.
            if let Some(c) = self.calls.get_mut(m.get("call-id")) {
                c.bye = None;
                c.ended = true;
            }
            return;
        }
        match m.start.split(' ').next().unwrap_or("") {
            "INVITE" => self.handle_invite(from, m, bytes, now),
            "ACK" => {
                if let Some(c) = self.calls.get_mut(m.get("call-id")) {
                    c.acked = true;
                    c.last = None;
                }
            }
            "BYE" => {
                if let Some(c) = self.calls.get_mut(m.get("call-id")) {
                    c.ended = true;
                    c.hang_up_at = None;
                    c.last = None;
                    c.bye = None;
                }
                let ok = respond(&m, "200 OK", None, "");
                self.send(from, ok);
            }
            "CANCEL" => {
                let ok = respond(&m, "200 OK", None, "");
                self.send(from, ok);
                let id = m.get("call-id").to_owned();
                if let Some(c) = self.calls.get_mut(&id)
                    && !c.answered
                    && c.last.is_none()
                {
                    c.answer_at = None;
                    let bytes = respond(&c.invite, "487 Request Terminated", Some(self.addr.port()), "");
                    c.last = Some(Pending::new(bytes.clone(), now, false));
                    let to = c.from;
                    self.send(to, bytes);
                }
            }
            "OPTIONS" => {
                let ok = respond(&m, "200 OK", None, "");
                self.send(from, ok);
            }
            other => self.faults.push(format!("vendor got {other}")),
        }
    }

    fn handle_invite(&mut self, from: SocketAddr, m: Parsed, raw: &[u8], now: Mono) {
        let branch = m.branch().to_owned();
        if let Some(first) = self.branches.get(&branch) {
            if first != raw {
                self.faults.push(format!("branch {branch}: a second INVITE with other bytes"));
            }
            // A repeat: answer again what was answered last.
            let again = self
                .calls
                .values()
                .find(|c| c.invite.branch() == branch || c.re_branch == branch)
                .and_then(|c| c.last.as_ref().map(|p| (c.from, p.bytes.clone())));
            if let Some((to, bytes)) = again {
                self.send(to, bytes);
            }
            return;
        }
        self.branches.insert(branch.clone(), raw.to_vec());
        let port = self.addr.port();
        let id = m.get("call-id").to_owned();
        if m.to_tag().is_some() {
            // A re-INVITE: answered at once, and repeated until its ACK.
            let sdp = sdp_of(self.addr, 51_000);
            let bytes = match self.calls.get_mut(&id).filter(|c| c.answered && !c.ended) {
                Some(c) => {
                    let extra = format!("{}Content-Type: application/sdp\r\n", contact(self.addr));
                    let bytes = respond_with(&m, "200 OK", None, &extra, &sdp);
                    c.re_branch = branch;
                    c.last = Some(Pending::new(bytes.clone(), now, false));
                    self.reinvited += 1;
                    bytes
                }
                None => respond(&m, "481 Gone", None, ""),
            };
            self.send(from, bytes);
            return;
        }
        let mut call = Incoming {
            invite_raw: raw.to_vec(),
            re_branch: String::new(),
            from,
            answer_at: None,
            hang_up_at: None,
            last: None,
            bye: None,
            answered: false,
            acked: false,
            ended: false,
            invite: m,
        };
        match self.behaviour {
            Behaviour::Refuse(status) => {
                let bytes = respond(&call.invite, &format!("{status} No"), Some(port), "");
                call.last = Some(Pending::new(bytes.clone(), now, false));
                self.send(from, bytes);
            }
            Behaviour::Answer(after) => {
                let bytes = respond(&call.invite, "180 Ringing", Some(port), &contact(self.addr));
                call.answer_at = Some(now + after);
                self.send(from, bytes);
            }
            Behaviour::Ring => {
                let bytes = respond(&call.invite, "180 Ringing", Some(port), &contact(self.addr));
                self.send(from, bytes);
            }
            Behaviour::Silent => {}
        }
        self.calls.insert(id, call);
    }

    fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.out.push(Datagram { from: self.addr, to, bytes, stream: false });
    }

    /// Answers, hang-ups and retransmissions that are due.
    pub fn handle_timeout(&mut self, now: Mono) {
        let (addr, talk) = (self.addr, self.callee_talk);
        let mut out = Vec::new();
        for c in self.calls.values_mut() {
            if c.answer_at.is_some_and(|at| at <= now) {
                c.answer_at = None;
                c.answered = true;
                let sdp = format!(
                    "v=0\r\no=- 2 2 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 50000 RTP/AVP 0\r\n",
                    ip = addr.ip()
                );
                let extra = format!("{}Content-Type: application/sdp\r\n", contact(addr));
                let bytes = respond_with(&c.invite, "200 OK", Some(addr.port()), &extra, &sdp);
                c.last = Some(Pending::new(bytes.clone(), now, false));
                out.push((c.from, bytes));
                if inner(c.invite.get("to")).split('@').next().is_some_and(|u| u.ends_with('9')) {
                    c.hang_up_at = Some(now + talk);
                }
            }
            if c.hang_up_at.is_some_and(|at| at <= now) {
                c.hang_up_at = None;
                let bye = bye_of(&c.invite, addr);
                c.bye = Some(Pending::new(bye.clone(), now, false));
                out.push((c.from, bye));
            }
            for bye in [false, true] {
                let slot = if bye { &mut c.bye } else { &mut c.last };
                let Some(p) = slot else { continue };
                if p.ends <= now {
                    *slot = None;
                    // RFC 3261 §13.3.1.4: no ACK for 64·T1, the callee ends the call; §17.1.2: no answer to BYE.
                    c.ended |= bye || c.answered;
                } else if p.next <= now {
                    p.advance();
                    out.push((c.from, p.bytes.clone()));
                }
            }
        }
        for (to, bytes) in out {
            self.send(to, bytes);
        }
    }

    /// When [`Vendor::handle_timeout`] is due.
    pub fn next_at(&self) -> Option<Mono> {
        self.calls
            .values()
            .flat_map(|c| {
                [&c.last, &c.bye]
                    .into_iter()
                    .flatten()
                    .map(|p| p.next.min(p.ends))
                    .chain(c.answer_at)
                    .chain(c.hang_up_at)
            })
            .min()
    }

    /// The INVITE as it arrived, by Call-ID.
    pub fn invite_of(&self, call_id: &str) -> Option<&[u8]> {
        self.calls.get(call_id).map(|c| c.invite_raw.as_slice())
    }
}

fn contact(addr: SocketAddr) -> String {
    format!("Contact: <sip:vendor@{addr}>\r\n")
}

/// The callee's BYE: the INVITE's route set forwards, tags swapped.
fn bye_of(invite: &Parsed, addr: SocketAddr) -> Vec<u8> {
    let ok = Parsed::read(&respond(invite, "200 OK", Some(addr.port()), ""));
    let routes: String = invite.all("record-route").map(|r| format!("Route: {r}\r\n")).collect();
    format!(
        "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {addr};branch=z9hG4bKv{}\r\n{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        inner(invite.get("contact")),
        invite.branch(),
        ok.get("to"),
        ok.get("from"),
        ok.get("call-id")
    )
    .into_bytes()
}
