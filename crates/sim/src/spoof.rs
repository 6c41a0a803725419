//! Somebody who overhears everything and speaks from a third address (T-SIP-11): with right Call-IDs, tags and branches, and for nothing.

use std::net::SocketAddr;

use crate::agent::Parsed;
use crate::net::Datagram;
use crate::rng::Rng;

/// The spoofer: it hears every message and forges its own.
#[derive(Debug)]
pub struct Spoofer {
    /// Where it speaks from: no trunk and no vendor is there.
    pub addr: SocketAddr,
    proxy: SocketAddr,
    /// Of a thousand messages overheard, how many it answers with a forged one.
    pub per_mille: u64,
    /// How many forgeries were sent.
    pub sent: u64,
}

impl Spoofer {
    /// A spoofer that is silent until it is told how often to speak.
    pub fn new(addr: SocketAddr, proxy: SocketAddr) -> Spoofer {
        Spoofer { addr, proxy, per_mille: 0, sent: 0 }
    }

    /// Overhears a message that the proxy sends. What it makes of it reaches the proxy before any true answer could.
    pub fn overhear(&mut self, bytes: &[u8], rng: &mut Rng) -> Option<Datagram> {
        if self.per_mille == 0 || !rng.chance(self.per_mille) {
            return None;
        }
        let m = Parsed::read(bytes);
        let forged = match (m.status(), m.method()) {
            // The callee's answer to an INVITE of the proxy, or its refusal: our branch, from the wrong address.
            (0, "INVITE") => self.response(&m, ["200 OK", "603 Decline", "302 Moved"][rng.below(3) as usize]),
            (0, "BYE") => self.response(&m, "481 Gone"),
            // A CANCEL of the caller's INVITE, with the branch that the caller chose.
            (100..=199, "INVITE") if rng.chance(500) => {
                self.request(&m, "CANCEL", m.get("via"), m.cseq(), false)
            }
            // An end of the call, or another target for it, in either party's name.
            (_, "INVITE") if m.to_tag().is_some() => {
                let via = format!("SIP/2.0/UDP {};branch=z9hG4bKs{}", self.addr, rng.below(u64::MAX));
                let method = ["BYE", "INVITE", "INFO"][rng.below(3) as usize];
                self.request(&m, method, &via, 900, rng.chance(500))
            }
            _ => return None,
        };
        self.sent += 1;
        Some(Datagram { from: self.addr, to: self.proxy, bytes: forged.into_bytes(), stream: false })
    }

    fn request(&self, m: &Parsed, method: &str, via: &str, cseq: u32, swapped: bool) -> String {
        let (from, to) = if swapped { ("to", "from") } else { ("from", "to") };
        let to = if method == "CANCEL" { m.get(to).split(";tag=").next().unwrap_or("") } else { m.get(to) };
        format!(
            "{method} sip:x@{} SIP/2.0\r\nVia: {via}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:evil@{}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            self.proxy,
            m.get(from),
            m.get("call-id"),
            self.addr
        )
    }

    fn response(&self, m: &Parsed, status: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["via", "record-route", "from", "call-id", "cseq"] {
            m.all(name).for_each(|value| text.push_str(&format!("{name}: {value}\r\n")));
        }
        let tag = if m.to_tag().is_some() { "" } else { ";tag=evil" };
        text.push_str(&format!(
            "to: {}{tag}\r\nContact: <sip:evil@{}>\r\nContent-Length: 0\r\n\r\n",
            m.get("to"),
            self.addr
        ));
        text
    }
}
