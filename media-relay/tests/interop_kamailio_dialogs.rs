//! Whole dialogues through a real Kamailio with the flag strings of public configurations: both BYEs, hold, a late offer, an
//! UPDATE of the callee before its 200, private media beside the signalling (issue "Sound ground" §3).

mod kamailio;
mod programs;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use kamailio::{Kamailio, header, sip_with};
use programs::{audio_port, has, rtp, socket, wait_for};
use warp_media_relay::{Config, Relay, start};
use warp_ng::{Command, Reply};
use warp_telemetry::metrics::Registry;

/// `CALLEE`, and the flags of requests, replies and BYEs are put in.
const KAMAILIO: &str = r#"

request_route {
    if (has_totag()) {
        if (is_method("BYE")) rtpengine_manage("GONE");
        if (has_body("application/sdp")) {
            rtpengine_manage("ASKED");
            t_on_reply("ANSWER");
        }
        loose_route();
        t_relay();
        exit;
    }
    if (is_method("INVITE")) {
        record_route();
        $du = "sip:127.0.0.1:CALLEE";
        if (has_body("application/sdp")) rtpengine_manage("ASKED");
        t_on_reply("ANSWER");
        t_relay();
    }
    exit;
}

onreply_route[ANSWER] {
    if (has_body("application/sdp")) rtpengine_manage("SAID");
}
"#;

/// Flags of requests, replies and BYEs.
#[derive(Clone, Copy)]
struct FlagStrings {
    asked: &'static str,
    said: &'static str,
    gone: &'static str,
}

struct World {
    kamailio: Kamailio,
    relay: Relay,
    caller: Party,
    callee: Party,
}

/// One end: its signalling and its media, which may have an address of its own.
struct Party {
    signalling: UdpSocket,
    media: UdpSocket,
    ssrc: u32,
    sent: u16,
}

impl Party {
    fn new(media: IpAddr, ssrc: u32) -> Party {
        let media = UdpSocket::bind((media, 0)).unwrap();
        media.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Party { signalling: socket(), media, ssrc, sent: 0 }
    }

    fn port(&self) -> u16 {
        self.signalling.local_addr().unwrap().port()
    }

    fn sdp(&self, more: &str) -> String {
        let at = self.media.local_addr().unwrap();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n{more}",
            at.port(),
            ip = at.ip(),
        )
    }
}

fn world(flags: FlagStrings, media: [IpAddr; 2], first_port: u16) -> World {
    let config = Config {
        ng: Some("127.0.0.1:0".parse().unwrap()),
        ports: first_port..=first_port + 199,
        // A `delete` ends the call now, so that what is left was never deleted.
        delete_delay_s: 0,
        ..Config::default()
    };
    let relay = start(config, [7; 32], &Registry::new(), Box::new(|_, _| ())).unwrap();
    let [a, b] = media;
    let (caller, callee) = (Party::new(a, 7), Party::new(b, 9));
    let text = KAMAILIO
        .replace("CALLEE", &callee.port().to_string())
        .replace("ASKED", flags.asked)
        .replace("SAID", flags.said)
        .replace("GONE", flags.gone);
    let kamailio = Kamailio::start(relay.ng_addr().unwrap().port(), &text);
    World { kamailio, relay, caller, callee }
}

/// A dialogue: what its messages need.
struct Dialog {
    id: String,
    /// The INVITE as the callee got it.
    invite: String,
    cseq: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Caller,
    Callee,
}

impl World {
    fn party(&self, side: Side) -> &Party {
        if side == Side::Caller { &self.caller } else { &self.callee }
    }

    fn send(&self, side: Side, message: &str) {
        let to = ("127.0.0.1", self.kamailio.sip);
        self.party(side).signalling.send_to(message.as_bytes(), to).unwrap();
    }

    fn calls(&self) -> usize {
        match self.relay.control().ask(Command::List { limit: 100 }) {
            Reply::Calls(calls) => calls.len(),
            other => panic!("{other:?}"),
        }
    }

    /// INVITE, until it has come through.
    fn invite(&self, id: &str, sdp: &str) -> Dialog {
        let (me, port) = (self.caller.port(), self.kamailio.sip);
        let invite = format!(
            "INVITE sip:123@127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{me};branch=z9hG4bK-{id}\r\nMax-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=ft1\r\nTo: <sip:123@127.0.0.1>\r\nCall-ID: {id}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:{me}>\r\n{}",
            content(sdp),
        );
        let end = std::time::Instant::now() + programs::DEADLINE;
        let mut buffer = vec![0; 65_536];
        loop {
            assert!(std::time::Instant::now() < end, "the INVITE never came through Kamailio");
            self.send(Side::Caller, &invite);
            if let Ok(n) = self.callee.signalling.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                if text.starts_with("INVITE ") && text.contains(&format!("Call-ID: {id}\r\n")) {
                    return Dialog { id: id.to_owned(), invite: text, cseq: 1 };
                }
            }
        }
    }

    /// An answer of `side` to `request`, as the other side gets it.
    fn respond(&self, side: Side, request: &str, status: &str, sdp: &str) -> String {
        let copied: String = ["Via", "From", "Call-ID", "CSeq", "Record-Route"]
            .into_iter()
            .flat_map(|name| header(request, name))
            .map(|l| format!("{l}\r\n"))
            .collect();
        let to = header(request, "To")[0];
        let tag = if to.contains("tag=") { "" } else { ";tag=tt1" };
        let me = self.party(side).port();
        let message = format!(
            "SIP/2.0 {status}\r\n{copied}{to}{tag}\r\nContact: <sip:x@127.0.0.1:{me}>\r\n{}",
            content(sdp)
        );
        self.send(side, &message);
        let other = if side == Side::Caller { Side::Callee } else { Side::Caller };
        let cseq = header(request, "CSeq")[0];
        sip_with(&self.party(other).signalling, &format!("SIP/2.0 {status}"), cseq)
    }

    /// A request of `side` within the dialogue, with a branch of its own, as the other side gets it.
    fn request(&self, d: &mut Dialog, side: Side, method: &str, sdp: &str) -> String {
        if method != "ACK" {
            d.cseq += 1;
        }
        let cseq = if method == "ACK" && d.cseq == 1 { 1 } else { d.cseq };
        let route = header(&d.invite, "Record-Route")[0].replace("Record-Route", "Route");
        let (me, other) = (
            self.party(side).port(),
            self.party(if side == Side::Caller { Side::Callee } else { Side::Caller }),
        );
        let ends = match side {
            Side::Caller => "From: <sip:a@127.0.0.1>;tag=ft1\r\nTo: <sip:123@127.0.0.1>;tag=tt1",
            Side::Callee => "From: <sip:123@127.0.0.1>;tag=tt1\r\nTo: <sip:a@127.0.0.1>;tag=ft1",
        };
        let message = format!(
            "{method} sip:x@127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{me};branch=z9hG4bK-{}-{method}-{cseq}\r\nMax-Forwards: 70\r\n{route}\r\n{ends}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@127.0.0.1:{me}>\r\n{}",
            other.port(),
            d.id,
            d.id,
            content(sdp),
        );
        self.send(side, &message);
        sip_with(&other.signalling, &format!("{method} "), &format!("CSeq: {cseq} {method}"))
    }

    /// Ten packets each way, all heard, and through these ports of the relay.
    fn media(&mut self, to_callee: u16, to_caller: u16) {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let pairs = [
            (&self.caller, to_caller, &self.callee, to_callee),
            (&self.callee, to_callee, &self.caller, to_caller),
        ];
        for (from, through, to, out_of) in pairs {
            for n in from.sent + 1..=from.sent + 10 {
                from.media.send_to(&rtp(from.ssrc, n), at(through)).unwrap();
                wait_for(&to.media, "a packet of the other side", |p, source| {
                    (p == rtp(from.ssrc, n)).then(|| assert_eq!(source, at(out_of)))
                });
            }
        }
        self.caller.sent += 10;
        self.callee.sent += 10;
    }

    /// BYE, after which the relay has no call left.
    fn bye(&self, d: &mut Dialog, side: Side, what: &str) {
        self.request(d, side, "BYE", "");
        assert_eq!(self.calls(), 0, "{what}: the call is still there");
    }
}

/// A body with what stands before it.
fn content(sdp: &str) -> String {
    let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{kind}Content-Length: {}\r\n\r\n{sdp}", sdp.len())
}

/// A call that is answered at once: the relay's ports towards callee and caller.
fn answered(w: &mut World, id: &str) -> (Dialog, u16, u16) {
    let mut d = w.invite(id, &w.caller.sdp(""));
    let at_caller = w.respond(Side::Callee, &d.invite.clone(), "200 OK", &w.callee.sdp(""));
    w.request(&mut d, Side::Caller, "ACK", "");
    let ports = (audio_port(&d.invite), audio_port(&at_caller));
    w.media(ports.0, ports.1);
    (d, ports.0, ports.1)
}

fn every_dialogue(w: &mut World, what: &str) {
    for side in [Side::Caller, Side::Callee] {
        let (mut d, ..) = answered(w, &format!("bye{}", side as u8));
        w.bye(&mut d, side, what);
    }
    // Hold and resume, of either side, then the BYE.
    for side in [Side::Caller, Side::Callee] {
        let other = if side == Side::Caller { Side::Callee } else { Side::Caller };
        let (mut d, to_callee, to_caller) = answered(w, &format!("hold{}", side as u8));
        for direction in ["a=sendonly\r\n", ""] {
            let offer = w.party(side).sdp(direction);
            let again = w.request(&mut d, side, "INVITE", &offer);
            let reply = w.party(other).sdp(if direction.is_empty() { "" } else { "a=recvonly\r\n" });
            let ok = w.respond(other, &again, "200 OK", &reply);
            w.request(&mut d, side, "ACK", "");
            let ports = if side == Side::Caller { (to_callee, to_caller) } else { (to_caller, to_callee) };
            assert_eq!((audio_port(&again), audio_port(&ok)), ports, "{what}: ports stay");
        }
        w.media(to_callee, to_caller);
        w.bye(&mut d, Side::Caller, what);
    }
    // The callee's UPDATE before its 200, which repeats its SDP.
    let mut d = w.invite("update", &w.caller.sdp(""));
    let invite = d.invite.clone();
    let at_caller = w.respond(Side::Callee, &invite, "183 Session Progress", &w.callee.sdp(""));
    let (to_callee, to_caller) = (audio_port(&invite), audio_port(&at_caller));
    let update = w.request(&mut d, Side::Callee, "UPDATE", &w.callee.sdp("a=ptime:20\r\n"));
    w.respond(Side::Caller, &update, "200 OK", &w.caller.sdp(""));
    let ok = w.respond(Side::Callee, &invite, "200 OK", &w.callee.sdp(""));
    assert_eq!(audio_port(&ok), to_caller, "{what}: the caller never sees the callee's own port");
    d.cseq = 1;
    w.request(&mut d, Side::Caller, "ACK", "");
    w.media(to_callee, to_caller);
    d.cseq = 5;
    w.bye(&mut d, Side::Caller, what);
    // A late offer: the 200 offers, the ACK answers.
    let mut d = w.invite("late", "");
    let at_caller = w.respond(Side::Callee, &d.invite.clone(), "200 OK", &w.callee.sdp(""));
    let ack = w.request(&mut d, Side::Caller, "ACK", &w.caller.sdp(""));
    w.media(audio_port(&ack), audio_port(&at_caller));
    w.bye(&mut d, Side::Caller, what);
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST); 2];

#[test]
fn kamailio_with_the_branch_flags_of_public_configurations() {
    if !has("kamailio", "kamailio_with_the_branch_flags_of_public_configurations") {
        return;
    }
    let strings = [
        ("via-branch=auto", "via-branch=auto", "via-branch=auto"),
        ("via-branch=1", "via-branch=2", ""),
        ("via-branch=1", "via-branch=1", "via-branch=1"),
        ("", "", ""),
        ("to-tag via-branch=auto", "to-tag via-branch=auto", "to-tag via-branch=auto"),
    ];
    for (i, (asked, said, gone)) in (0u16..).zip(strings) {
        let flags = FlagStrings { asked, said, gone };
        let mut w = world(flags, LOOPBACK, 36_400 + 200 * i);
        every_dialogue(&mut w, &format!("`{asked}` in requests, `{said}` in replies, `{gone}` in BYEs"));
    }
}

#[test]
fn kamailio_with_private_media_beside_the_signalling() {
    if !has("kamailio", "kamailio_with_private_media_beside_the_signalling") {
        return;
    }
    // Loopback counts as private: the signalling is at 127.0.0.1, the media elsewhere.
    let media = ["127.0.10.1".parse().unwrap(), "127.0.10.2".parse().unwrap()];
    for (i, flags) in (0u16..).zip(["trust-address replace-origin", "replace-origin"]) {
        let flags = FlagStrings { asked: flags, said: flags, gone: "" };
        let mut w = world(flags, media, 37_400 + 200 * i);
        every_dialogue(&mut w, flags.asked);
    }
}
