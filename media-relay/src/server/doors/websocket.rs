//! WebSocket (RFC 6455) for ng: sub-protocol `ng.rtpengine.com` with a cookie before each document, `ng-plain.rtpengine.com`
//! without. One message a request; each reply is a message of the same kind.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use warp_model::limits::NG_BYTES;

use super::Client;
use super::http::{Head, reply};

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer to a handshake, and whether documents come without a cookie. `None`: not one that we speak.
pub(super) fn accept(head: &Head) -> Option<(String, bool)> {
    let is = |name, word| head.lists(name, word);
    if !is("connection", "upgrade") || head.field("sec-websocket-version") != Some("13") {
        return None;
    }
    let (protocol, plain) = match is("sec-websocket-protocol", "ng.rtpengine.com") {
        true => ("ng.rtpengine.com", false),
        false if is("sec-websocket-protocol", "ng-plain.rtpengine.com") => ("ng-plain.rtpengine.com", true),
        false => return None,
    };
    let key = head.field("sec-websocket-key").filter(|k| STANDARD.decode(k).is_ok_and(|k| k.len() == 16))?;
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{GUID}")));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    Some((answer, plain))
}

/// Status codes of a close (RFC 6455 §7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// Messages until one side closes.
pub(super) fn serve(client: &mut Client, plain: bool) -> io::Result<()> {
    // The message at hand, and its kind (1 text, 2 binary).
    let (mut message, mut kind) = (Vec::new(), 0u8);
    loop {
        let head = client.take(2)?;
        let [first, second] = *head.as_slice() else { return Ok(()) };
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0F);
        // A client masks, and no extension was agreed on (§5.1, §5.2).
        if second & 0x80 == 0 || first & 0x70 != 0 {
            return close(client, PROTOCOL_ERROR);
        }
        let length = match second & 0x7F {
            126 => client.take(2)?.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)),
            127 => client.take(8)?.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)),
            n => u64::from(n),
        };
        let length = usize::try_from(length).ok().filter(|n| *n <= NG_BYTES);
        let Some(length) = length else { return close(client, TOO_BIG) };
        let mask = client.take(4)?;
        let mut payload = client.take(length)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match opcode {
            0x8 => return close(client, NORMAL),
            0x9 if is_last && length < 126 => {
                frame(client, 0xA, &payload)?;
                continue;
            }
            0xA => continue,
            0x0 if kind != 0 => {}
            0x1 | 0x2 if kind == 0 => kind = opcode,
            _ => return close(client, PROTOCOL_ERROR),
        }
        if message.len().saturating_add(payload.len()) > NG_BYTES {
            return close(client, TOO_BIG);
        }
        message.extend_from_slice(&payload);
        if is_last {
            if let Some(reply) = reply(client, &message, plain) {
                frame(client, kind, &reply)?;
            }
            (message, kind) = (Vec::new(), 0);
        }
    }
}

fn frame(client: &mut Client, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut out = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(long)) => {
            out.push(126);
            out.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&u64::try_from(payload.len()).unwrap_or(0).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    client.send(&out)
}

fn close(client: &mut Client, status: u16) -> io::Result<()> {
    frame(client, 0x8, &status.to_be_bytes())
}
