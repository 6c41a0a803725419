//! Callers and vendors of the virtual world: just enough SIP over UDP, in code of their own.
//!
//! They follow RFC 3261 §17 timers (T1 = 500 ms, T2 = 4 s, 64·T1) so that lost datagrams are repaired, and keep what they
//! saw: the world's checker compares it with the journal of the proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use warp_model::Mono;

use crate::net::Datagram;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(32);

/// A message, split into what an agent needs.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// Start line.
    pub start: String,
    /// All header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Parsed {
    /// Reads a message; agents only get what the proxy sent, so a broken one is a failed test.
    pub fn read(bytes: &[u8]) -> Parsed {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or("").to_owned();
        let headers = lines
            .map(|l| {
                let (n, v) = l.split_once(':').unwrap_or_else(|| panic!("header line {l:?} in\n{text}"));
                (n.trim().to_lowercase(), v.trim().to_owned())
            })
            .collect();
        Parsed { start, headers, body: body.to_owned() }
    }

    /// First value of a header.
    pub fn get(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All values of a header.
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Status of a response, 0 of a request.
    pub fn status(&self) -> u16 {
        self.start.strip_prefix("SIP/2.0 ").and_then(|s| s.get(..3)?.parse().ok()).unwrap_or(0)
    }

    /// Method, of a request or of the CSeq.
    pub fn method(&self) -> &str {
        self.get("cseq").split_whitespace().nth(1).unwrap_or("")
    }

    /// Branch of the top Via.
    pub fn branch(&self) -> &str {
        param(self.get("via"), "branch").unwrap_or("")
    }

    /// Tag of To.
    pub fn to_tag(&self) -> Option<&str> {
        param(self.get("to"), "tag")
    }
}

fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The URI between angle brackets.
fn inner(value: &str) -> &str {
    value.split_once('<').and_then(|(_, r)| r.split_once('>')).map_or(value, |(u, _)| u)
}

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

    /// Moves to the next retransmission.
    fn advance(&mut self) {
        self.interval = if self.invite { self.interval * 2 } else { (self.interval * 2).min(T2) };
        self.next += self.interval;
    }
}

/// What the caller does with its call.
#[derive(Clone, Copy, Debug)]
pub struct CallPlan {
    /// Answered: BYE after this long.
    pub talk: Duration,
    /// Not answered yet after this long: CANCEL.
    pub cancel_after: Option<Duration>,
    /// The callee hangs up instead of the caller.
    pub callee_hangs_up: bool,
}

/// One call, from the caller's side.
#[derive(Debug)]
pub struct Caller {
    /// Its address.
    pub addr: SocketAddr,
    proxy: SocketAddr,
    number: u64,
    plan: CallPlan,
    called: String,
    invite: Option<Pending>,
    other: Option<Pending>,
    invite_bytes: Vec<u8>,
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
    /// Gave up waiting.
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
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n",
            ip = addr.ip()
        );
        let invite = format!(
            "INVITE sip:{called}@{proxy} SIP/2.0\r\nVia: SIP/2.0/UDP {addr};branch=z9hG4bKc{number}i\r\n\
             From: <sip:12025550100@{addr}>;tag=caller{number}\r\nTo: <sip:{called}@{proxy}>\r\n\
             Call-ID: call{number}@sim\r\nCSeq: 1 INVITE\r\nContact: <sip:c@{addr}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
        .into_bytes();
        Caller {
            addr,
            proxy,
            number,
            called: called.to_owned(),
            invite: Some(Pending::new(invite.clone(), now, true)),
            other: None,
            cancel_at: plan.cancel_after.map(|d| now + d),
            bye_at: None,
            ack: None,
            cancelled: false,
            finals: Vec::new(),
            answered_tags: Vec::new(),
            ended: false,
            timed_out: false,
            out: vec![Datagram { from: addr, to: proxy, bytes: invite.clone() }],
            invite_bytes: invite,
            plan,
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.out.push(Datagram { from: self.addr, to: self.proxy, bytes });
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
            self.other = None;
            let ok = respond(m, "200 OK", None, "");
            self.send(ok);
        }
    }

    fn handle_response(&mut self, status: u16, m: &Parsed, now: Mono) {
        match (m.method(), status) {
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
                let ack = format!(
                    "ACK sip:{}@{} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKc{}i\r\nFrom: {}\r\nTo: {}\r\n\
                     Call-ID: {}\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                    self.called,
                    self.proxy,
                    self.addr,
                    self.number,
                    m.get("from"),
                    m.get("to"),
                    m.get("call-id")
                );
                self.send(ack.into_bytes());
            }
            ("BYE", 200..) => {
                self.other = None;
                self.ended = true;
            }
            ("CANCEL", 200..) => self.other = None,
            _ => {}
        }
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
        let ack = self.in_dialog(m, "ACK", 1, "a");
        self.ack = Some(ack.clone());
        self.send(ack);
        let talk = if self.cancelled { Duration::ZERO } else { self.plan.talk };
        if !self.plan.callee_hangs_up || self.cancelled {
            self.bye_at = Some(now + talk);
        }
        let bye = self.in_dialog(m, "BYE", 2, "b");
        self.invite_bytes = bye; // what bye_at sends
    }

    /// A request inside the dialog that a 2xx made (RFC 3261 §12.2.1.1, loose routes only).
    fn in_dialog(&self, m: &Parsed, method: &str, cseq: u32, branch: &str) -> Vec<u8> {
        let routes: String = m.all("record-route").rev().map(|r| format!("Route: {r}\r\n")).collect();
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKc{}{branch}\r\n{routes}From: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            inner(m.get("contact")),
            self.addr,
            self.number,
            m.get("from"),
            m.get("to"),
            m.get("call-id")
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
                    cancel.push_str("CSeq: 1 CANCEL");
                } else if lower.starts_with("content") || lower.starts_with("contact") {
                    continue;
                } else {
                    cancel.push_str(line);
                }
                cancel.push_str("\r\n");
            }
            cancel.push_str("Content-Length: 0\r\n\r\n");
            self.other = Some(Pending::new(cancel.clone().into_bytes(), now, false));
            self.send(cancel.into_bytes());
        }
        if self.bye_at.is_some_and(|at| at <= now) {
            self.bye_at = None;
            let bye = self.invite_bytes.clone();
            self.other = Some(Pending::new(bye.clone(), now, false));
            self.send(bye);
        }
        for invite in [true, false] {
            let slot = if invite { &mut self.invite } else { &mut self.other };
            let Some(p) = slot else { continue };
            if p.ends <= now {
                *slot = None;
                self.timed_out = true;
                self.ended |= !invite;
            } else if p.next <= now {
                p.advance();
                let bytes = p.bytes.clone();
                self.send(bytes);
            }
        }
    }

    /// When [`Caller::handle_timeout`] is due.
    pub fn next_at(&self) -> Option<Mono> {
        let pending = [&self.invite, &self.other];
        pending
            .into_iter()
            .flatten()
            .map(|p| p.next.min(p.ends))
            .chain(self.cancel_at)
            .chain(self.bye_at)
            .min()
    }
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
    /// Never says anything.
    Silent,
}

/// One call, from the vendor's side; key: Call-ID.
#[derive(Debug)]
struct Incoming {
    invite: Parsed,
    invite_raw: Vec<u8>,
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
    /// Its address.
    pub addr: SocketAddr,
    behaviour: Behaviour,
    callee_talk: Duration,
    calls: BTreeMap<String, Incoming>,
    /// INVITE branches seen, with the bytes of the first: a repeat must be byte for byte the same.
    branches: BTreeMap<String, Vec<u8>>,
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
                .find(|c| c.invite.branch() == branch)
                .and_then(|c| c.last.as_ref().map(|p| (c.from, p.bytes.clone())));
            if let Some((to, bytes)) = again {
                self.send(to, bytes);
            }
            return;
        }
        self.branches.insert(branch, raw.to_vec());
        let port = self.addr.port();
        let id = m.get("call-id").to_owned();
        let mut call = Incoming {
            invite_raw: raw.to_vec(),
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
        self.out.push(Datagram { from: self.addr, to, bytes });
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

/// A response to `m`; `tag` goes into To when it has none.
fn respond(m: &Parsed, status: &str, tag: Option<u16>, extra: &str) -> Vec<u8> {
    respond_with(m, status, tag, extra, "")
}

fn respond_with(m: &Parsed, status: &str, tag: Option<u16>, extra: &str, body: &str) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["via", "record-route", "from", "to", "call-id", "cseq"] {
        for value in m.all(name) {
            match (name, tag) {
                ("to", Some(tag)) if !value.contains(";tag=") => {
                    // One tag per branch: forks of one call differ, repeats do not.
                    let branch = m.branch();
                    text.push_str(&format!(
                        "to: {value};tag=v{tag}x{}\r\n",
                        &branch[branch.len().saturating_sub(12)..]
                    ));
                }
                _ => text.push_str(&format!("{name}: {value}\r\n")),
            }
        }
    }
    text.push_str(extra);
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
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
