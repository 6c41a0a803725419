//! `proxy_step`: whole cores fed with seeded mutations of good messages, in both modes, over UDP and TCP (T-SIP-01, G-1, G-2):
//! no panic, a bounded number of outputs for each input, and everything dies out afterwards.

use warp_model::Mono;
use warp_sip::flow::{Flow, Transport};

use super::tests_static::{self, addr, at};
use super::tests_world::{CUSTOMER, SDP, US, V1, World, inside, invite, reply};
use super::types::{AskReply, MediaError, Output};
use super::{Core, random::Rng};

/// Bytes that mean something to a SIP parser.
const BITS: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b";lr",
    b"<",
    b">",
    b"\"",
    b",",
    b";",
    b":",
    b"@",
    b"%00",
    b"sip:",
    b"tag=",
    b";branch=z9hG4bK",
    b"4294967296",
    b"-1",
    b"[::1]",
    b"255.255.255.255",
    b"SIP/2.0",
    b"INVITE",
    b"Route: <sip:x;lr>\r\n",
    b" \t",
    b"Max-Forwards: 0\r\n",
];

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.u64() % 4 {
        let at = rng.u64() as usize % (bytes.len() + 1);
        match rng.u64() % 6 {
            0 if at < bytes.len() => bytes[at] = rng.u64() as u8,
            1 => bytes.truncate(at.max(1)),
            2 => {
                let bit = BITS[rng.u64() as usize % BITS.len()];
                bytes.splice(at..at, bit.iter().copied());
            }
            3 if at < bytes.len() => {
                let end = (at + rng.u64() as usize % 40).min(bytes.len());
                bytes.drain(at..end);
            }
            4 if at < bytes.len() => {
                let end = (at + rng.u64() as usize % 200).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << (rng.u64() % 8),
            _ => {}
        }
    }
}

/// The same message with its SDP as one part of a multipart body.
fn in_a_part(text: &str) -> String {
    let Some((head, body)) = text.split_once("\r\n\r\n").filter(|(_, b)| *b == SDP) else {
        return text.to_owned();
    };
    let head = head.replace("application/sdp", "multipart/mixed;boundary=b1");
    let length = format!("Content-Length: {}", body.len());
    let body = format!("--b1\r\nContent-Type: application/sdp\r\n\r\n{body}\r\n--b1--\r\n");
    format!("{}\r\n\r\n{body}", head.replace(&length, &format!("Content-Length: {}", body.len())))
}

fn drain(core: &mut Core, ms: u64, sent: &mut Vec<String>) -> usize {
    let mut outputs = 0;
    loop {
        let mut asked = vec![];
        while let Some(o) = core.poll_output() {
            outputs += 1;
            assert!(outputs < 64, "one input, a flood of outputs");
            match o {
                Output::Transmit { bytes, .. } => {
                    assert!(bytes.len() < 80_000);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let names = ["From", "To", "Call-ID", "CSeq"];
                    let plain = |n: &&str| text.lines().any(|l| l.starts_with(&format!("{n}: ")));
                    if sent.len() < 64 && names.iter().all(plain) {
                        sent.push(text);
                    }
                    core.recycle(bytes);
                }
                Output::Ask { id, .. } => asked.push(id),
                _ => {}
            }
        }
        if asked.is_empty() {
            return outputs;
        }
        for (n, id) in asked.into_iter().enumerate() {
            let sdp = warp_ng::Reply::Sdp { sdp: b"v=0\r\n".to_vec(), warning: None, recordings: Vec::new() };
            let answer = if n % 3 == 2 { Err(MediaError::Timeout) } else { Ok(sdp) };
            core.handle_answer(id, AskReply::Media(answer), at(ms));
        }
    }
}

fn fuzz(mut core: Core, sources: [&str; 3], rounds: u64) {
    let mut rng = Rng::new([77; 32], 1);
    let mut sent: Vec<String> = vec![];
    for round in 0..rounds {
        let ms = round * 7;
        let call = format!("f{}", round / 3);
        let first = invite("+14155550123", &call, "", if round % 2 == 0 { SDP } else { "" });
        // A good INVITE now and then, so that there is something to hit; the rest is derived from what the core sent.
        let mut text = match rng.u64() % 5 {
            0 => first,
            1 => first.replace("INVITE", "OPTIONS"),
            _ => match sent.get(rng.u64() as usize % sent.len().max(1)) {
                Some(m) if m.starts_with("INVITE ") => {
                    let status = ["100 Trying", "183 Progress", "200 OK", "486 Busy", "503 No"];
                    reply(m, status[rng.u64() as usize % 5], "bt", V1, "", SDP)
                }
                Some(m) if m.starts_with("SIP/2.0 2") && m.contains(" INVITE\r\n") => {
                    let method = ["ACK", "BYE", "INVITE", "UPDATE", "INFO"][rng.u64() as usize % 5];
                    inside(method, m, true, &format!("in{round}"), "", SDP)
                }
                Some(m) if !m.starts_with("SIP/2.0") => reply(m, "200 OK", "bt", V1, "", ""),
                _ => first,
            },
        };
        if rng.u64().is_multiple_of(4) {
            text = in_a_part(&text);
        }
        let mut text = text.into_bytes();
        if !rng.u64().is_multiple_of(4) {
            mutate(&mut text, &mut rng);
        }
        if sent.len() > 48 {
            sent.drain(..24);
        }
        let mut flow = Flow::udp(addr(US), addr(sources[rng.u64() as usize % 3]));
        if rng.u64().is_multiple_of(4) {
            flow.transport = Transport::Tcp;
            flow.link = warp_sip::flow::LinkId(9);
        }
        core.handle_message(flow, &text, at(ms));
        drain(&mut core, ms, &mut sent);
        if rng.u64().is_multiple_of(50) {
            core.handle_flow_error(flow, at(ms));
            drain(&mut core, ms, &mut sent);
        }
        core.handle_timeout(at(ms));
        drain_any(&mut core, ms, &mut sent);
    }
    let mut ms = rounds * 7;
    let end = at(ms).mono.0 + 5 * 3_600_000_000_000;
    while let Some(Mono(next)) = core.poll_timeout().filter(|n| n.0 < end) {
        ms = ms.max((next - at(0).mono.0).div_ceil(1_000_000));
        core.handle_timeout(at(ms));
        drain_any(&mut core, ms, &mut sent);
    }
    assert_eq!(core.transactions(), (0, 0));
    assert_eq!(core.live_calls(), 0);
    assert!(core.calls.asks.is_empty());
}

/// A time-out may be that of many transactions at once.
fn drain_any(core: &mut Core, ms: u64, sent: &mut Vec<String>) {
    while !core.tx.out.is_empty() {
        let rest = core.tx.out.split_off(core.tx.out.len().min(32));
        drain(core, ms, sent);
        core.tx.out.extend(rest);
    }
}

#[test]
fn t_sip_01_mutations_into_the_policy_core() {
    let w = World::new(true, |_| ());
    fuzz(w.core, [CUSTOMER, V1, "198.18.0.9:5060"], 10_000);
}

#[test]
fn t_sip_01_mutations_into_the_static_core() {
    fuzz(tests_static::core(), [tests_static::A, tests_static::B, "198.18.0.9:5060"], 10_000);
}
