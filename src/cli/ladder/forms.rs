//! A ladder as Mermaid, as SVG, as pcap, and what differs between two of its messages.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::super::Failure;
use super::text::{label, order};

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn messages(ladder: &Value) -> &[Value] {
    ladder["messages"].as_array().map_or(&[][..], Vec::as_slice)
}

fn lane_name(lane: &Value) -> String {
    match text(lane, "side") {
        "us" => "WARP".to_owned(),
        side => format!("{side} {}", text(lane, "address")),
    }
}

/// A sequence diagram of Mermaid.
pub(super) fn mermaid(ladder: &Value) -> String {
    let mut out = String::from("sequenceDiagram\n");
    // What a peer has written cannot end a line or begin a comment of the diagram.
    let plain = |s: &str| s.replace([';', '#', '\n', '\r', '%'], " ");
    for lane in order(ladder) {
        let _ = writeln!(out, "    participant L{lane} as {}", plain(&lane_name(&ladder["lanes"][lane])));
    }
    for message in messages(ladder) {
        let arrow = if message["status"].is_null() { "->>" } else { "-->>" };
        let again = if message["repeats"].is_null() { "" } else { " (again)" };
        let _ = writeln!(
            out,
            "    L{}{arrow}L{}: {}{again}",
            message["from"],
            message["to"],
            plain(&label(message))
        );
    }
    out
}

/// A picture that stands alone.
pub(super) fn svg(ladder: &Value) -> String {
    const COLUMN: usize = 220;
    const ROW: usize = 34;
    const TOP: usize = 64;
    let order = order(ladder);
    let messages = messages(ladder);
    let (width, height) = (order.len().max(1) * COLUMN + 90, TOP + (messages.len() + 1) * ROW);
    let x = |lane: &Value| {
        let lane = lane.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        90 + order.iter().position(|l| *l == lane).unwrap_or(0) * COLUMN + COLUMN / 2
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <defs><marker id=\"h\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0 L8 4 L0 8 z\" fill=\"context-stroke\"/></marker></defs>\n",
        escaped(text(ladder, "sip_call_id"))
    );
    for (i, lane) in order.iter().enumerate() {
        let at = 90 + i * COLUMN + COLUMN / 2;
        let _ = writeln!(
            out,
            "<line x1=\"{at}\" y1=\"{}\" x2=\"{at}\" y2=\"{height}\" stroke=\"#999999\"/>\n\
             <text x=\"{at}\" y=\"30\" text-anchor=\"middle\">{}</text>",
            TOP - 20,
            escaped(&lane_name(&ladder["lanes"][*lane]))
        );
    }
    for (i, message) in messages.iter().enumerate() {
        let y = TOP + i * ROW + ROW / 2;
        let (from, to) = (x(&message["from"]), x(&message["to"]));
        let colour = match message["status"].as_i64() {
            None => "#1864ab",
            Some(..200) => "#495057",
            Some(200..300) => "#2b8a3e",
            Some(300..500) => "#a35a00",
            Some(_) => "#c92a2a",
        };
        let again = if message["repeats"].is_null() { "" } else { " stroke-dasharray=\"4 3\"" };
        let after = message["after_us"].as_u64().unwrap_or(0);
        let _ = writeln!(
            out,
            "<text x=\"4\" y=\"{}\" fill=\"#495057\">{}.{:03} s</text>\n\
             <line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"1.5\" marker-end=\"url(#h)\"{again}/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
            y + 4,
            after / 1_000_000,
            after / 1_000 % 1_000,
            from.midpoint(to),
            y - 5,
            escaped(&label(message))
        );
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A file of captured packets: IP without a link layer (LINKTYPE_RAW, 101), each message as a datagram.
pub(super) fn pcap(ladder: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    // Magic, version 2.4, time zone and accuracy, longest packet, link type.
    for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 262_144, 101] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for message in messages(ladder) {
        let address = |name: &str| text(message, name).parse::<SocketAddr>().ok();
        let (Some(from), Some(to)) = (address("source"), address("destination")) else { continue };
        // The first time says the millisecond; the others are told to the microsecond after it.
        let us = micros(text(&messages(ladder)[0], "at")) + message["after_us"].as_u64().unwrap_or(0);
        let packet = datagram(from, to, text(message, "text").as_bytes());
        let length = u32::try_from(packet.len()).unwrap_or(0);
        for word in [
            u32::try_from(us / 1_000_000).unwrap_or(0),
            u32::try_from(us % 1_000_000).unwrap_or(0),
            length,
            length,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&packet);
    }
    out
}

/// Microseconds since 1970 of an RFC 3339 time.
fn micros(at: &str) -> u64 {
    let wall = warp_control_plane::store::types::parse_rfc3339(at);
    wall.and_then(|w| u64::try_from(w.0).ok()).unwrap_or(0)
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    // The largest payload of a datagram; what a stream carried may be longer, and is cut as a capture with a limit cuts it.
    let payload = payload.get(..65_000).unwrap_or(payload);
    let udp_length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(payload.len() + 48);
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&(udp_length + 20).to_be_bytes());
            out.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
            out.extend_from_slice(&a.octets());
            out.extend_from_slice(&b.octets());
            let sum = checksum(&out);
            out.splice(10..12, sum.to_be_bytes());
        }
        (a, b) => {
            let wide = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&udp_length.to_be_bytes());
            out.extend_from_slice(&[17, 64]);
            out.extend_from_slice(&wide(a).octets());
            out.extend_from_slice(&wide(b).octets());
        }
    }
    out.extend_from_slice(&from.port().to_be_bytes());
    out.extend_from_slice(&to.port().to_be_bytes());
    out.extend_from_slice(&udp_length.to_be_bytes());
    // No checksum: the message was masked, so none could be that of the network.
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(payload);
    out
}

/// The checksum of an IPv4 header (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|w| match *w {
        [a, b] => u32::from(u16::from_be_bytes([a, b])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

/// Lines that only one of two messages has, by their numbers, from 1.
pub(super) fn diff(ladder: &Value, two: &[usize]) -> Result<String, Failure> {
    let all = messages(ladder);
    let lines = |number: usize| -> Result<Vec<&str>, Failure> {
        let message = number.checked_sub(1).and_then(|i| all.get(i));
        let wrong = || {
            Failure::new(format!("there is no message {number}"))
                .with_code(2)
                .hint(format!("1 to {}", all.len()))
        };
        Ok(text(message.ok_or_else(wrong)?, "text").lines().collect())
    };
    let [a, b] = two else { return Err(Failure::new("two numbers").with_code(2)) };
    let (a, b) = (lines(*a)?, lines(*b)?);
    // The longest common run of lines, by the table of its lengths: messages have some dozens of lines.
    let mut table = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[i][j] =
                if a[i] == b[j] { table[i + 1][j + 1] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (mark, line) = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if x == y => {
                (i, j) = (i + 1, j + 1);
                (' ', *x)
            }
            (Some(x), y) if y.is_none() || table[i + 1][j] >= table[i][j + 1] => {
                i += 1;
                ('-', *x)
            }
            (_, Some(y)) => {
                j += 1;
                ('+', *y)
            }
            (_, None) => break,
        };
        let _ = writeln!(out, "{mark} {line}");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::ladder;
    use super::*;

    #[test]
    fn mermaid_and_svg_have_each_message_and_nothing_that_a_peer_wrote_leaves_its_place() {
        let mut ladder = ladder();
        ladder["messages"][2]["reason"] = "</text><script>;\n%% x".into();
        let diagram = mermaid(&ladder);
        assert!(diagram.contains("participant L1 as caller 192.0.2.10:5060\n"), "{diagram}");
        assert!(
            diagram.contains("    L1->>L0: INVITE SDP\n")
                && diagram.contains("L0->>L3: INVITE SDP (again)\n")
        );
        assert_eq!(diagram.lines().count(), 1 + 4 + 7, "{diagram}");
        let picture = svg(&ladder);
        assert!(!picture.contains("<script>") && picture.contains("&lt;script&gt;"));
        assert_eq!(picture.matches("marker-end").count(), 7);
        assert_eq!(picture.matches("stroke-dasharray").count(), 1);
    }

    #[test]
    fn a_pcap_has_each_message_as_a_datagram_of_its_addresses() {
        let mut ladder = ladder();
        for m in ladder["messages"].as_array_mut().unwrap() {
            m["destination"] = "198.51.100.1:5060".into();
        }
        let file = pcap(&ladder);
        assert_eq!(&file[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(file[20..24], 101_u32.to_le_bytes());
        let first = &file[24..];
        let length = u32::from_le_bytes(first[8..12].try_into().unwrap()) as usize;
        assert_eq!(u32::from_le_bytes(first[..4].try_into().unwrap()), 1_796_112_000);
        let packet = &first[16..16 + length];
        assert_eq!((packet[0], packet[9], &packet[12..16]), (0x45, 17, &[192, 0, 2, 10][..]));
        assert_eq!(checksum(&packet[..20]), 0, "the header's checksum is right");
        assert_eq!(u16::from_be_bytes([packet[22], packet[23]]), 5_060);
        assert!(packet[28..].starts_with(b"INVITE"));
        let six = datagram("[2001:db8::1]:5061".parse().unwrap(), "192.0.2.1:5060".parse().unwrap(), b"x");
        assert_eq!((six[0], six[6], six.len()), (0x60, 17, 49));
    }

    #[test]
    fn a_diff_names_the_lines_that_only_one_has() {
        let ladder = ladder();
        assert_eq!(diff(&ladder, &[1, 2]).unwrap(), "  INVITE\n  A: <1>\n- B: 0\n+ B: 90\n  \n");
        assert!(diff(&ladder, &[4, 4]).unwrap().lines().all(|l| l.starts_with("  ")));
        assert_eq!(diff(&ladder, &[1, 9]).unwrap_err().code, 2);
    }
}
