//! A call book on a desk: commands in, SDP and rules out.
#![allow(dead_code)] // each test file uses its part

use std::net::{IpAddr, SocketAddr};

use warp_media::ForwardRule;
use warp_media_relay::core::Output;
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_model::{Mono, Now, Wall};
use warp_ng::{CallStats, Command, Reply, SdpCommand};

pub const EPOCH_US: i64 = 1_700_000_000_000_000;

pub fn at(s: u64) -> Now {
    Now { mono: Mono(s * 1_000_000_000), wall: Wall(EPOCH_US + s as i64 * 1_000_000) }
}
pub fn ip(t: &str) -> IpAddr {
    t.parse().unwrap()
}
pub fn sock(t: &str) -> SocketAddr {
    t.parse().unwrap()
}

/// A book on 203.0.113.9, 2001:db8::9.
pub fn book() -> Book {
    book_with(BookConfig::default(), 30_000..=30_999)
}

pub fn book_with(config: BookConfig, ports: std::ops::RangeInclusive<u16>) -> Book {
    let pool = PortPool::new(&[ip("203.0.113.9"), ip("2001:db8::9")], ports, 42).unwrap();
    Book::new(config, Box::new(pool))
}

pub fn sdp(at: &str, port: u16, more: &str) -> String {
    let family = if at.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {at}\r\ns=-\r\nc=IN {family} {at}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
    )
}

pub fn offer(call: &str, from: &str, sdp: impl AsRef<str>) -> SdpCommand {
    SdpCommand::new(call, from, sdp.as_ref())
}

pub fn answer(call: &str, from: &str, to: &str, sdp: impl AsRef<str>) -> SdpCommand {
    SdpCommand { to_tag: Some(to.into()), ..SdpCommand::new(call, from, sdp.as_ref()) }
}

pub fn run(book: &mut Book, command: Command, now: Now) -> Reply {
    book.handle_command(command, None, now)
}

pub fn text(reply: Reply) -> String {
    match reply {
        Reply::Sdp { sdp, .. } => String::from_utf8(sdp).unwrap(),
        other => panic!("no SDP: {other:?}"),
    }
}

pub fn reason(reply: Reply) -> String {
    match reply {
        // What stands behind the known text says where and why.
        Reply::Error { reason } => reason.split(": ").next().unwrap().to_owned(),
        other => panic!("no error: {other:?}"),
    }
}

pub fn stats(reply: Reply) -> CallStats {
    match reply {
        Reply::Stats(stats) => *stats,
        other => panic!("no statistics: {other:?}"),
    }
}

/// Our port in an SDP.
pub fn port(sdp: &str) -> u16 {
    sdp.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// All rules that the book has installed since it was last asked, in their order.
pub fn rules(book: &mut Book) -> Vec<ForwardRule> {
    let installed = |output| match output {
        Output::Install { rule, .. } => Some(*rule),
        _ => None,
    };
    std::iter::from_fn(|| book.poll_output()).filter_map(installed).collect()
}

/// The last rule of each port that the book has installed and not closed.
#[derive(Default)]
pub struct Rules(pub std::collections::BTreeMap<(u8, u16), ForwardRule>);

impl Rules {
    pub fn drain(&mut self, book: &mut Book) -> Vec<Vec<u8>> {
        let mut timed_out = Vec::new();
        while let Some(output) = book.poll_output() {
            match output {
                Output::Install { shard, rule } => {
                    assert_eq!(shard, 0);
                    self.0.insert((rule.local.ip, rule.local.port), *rule);
                }
                Output::Close { port, .. } => {
                    self.0.remove(&(port.ip, port.port));
                }
                Output::TimedOut { call_id, .. } => timed_out.push(call_id),
                Output::StreamEnded(_)
                | Output::StreamKind { .. }
                | Output::Mark { .. }
                | Output::Record(_)
                | Output::CallEnded { .. } => {}
            }
        }
        timed_out
    }
    pub fn has(&self, port: u16) -> bool {
        self.0.keys().any(|(_, p)| *p == port)
    }
    pub fn at(&self, port: u16) -> &ForwardRule {
        self.0.iter().find(|((_, p), _)| *p == port).unwrap().1
    }
}
