//! A call book of the simplest kind, in place until `core::book` lands: one audio line, no NAT, no re-offers.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use warp_media::forward::packet_limit;
use warp_media::{ClockTable, LocalPort, SourcePolicy, StreamCounters};
use warp_model::{Mono, Now};
use warp_ng::{Command, Reply};

use super::control::CallBook;
use crate::core::Output;
use crate::core::compile::{Media, Side, compile};
use crate::core::ports::{PortPair, Ports};

#[allow(clippy::type_complexity)]
pub(crate) struct Stopgap {
    ports: Box<dyn Ports + Send>,
    shards: u16,
    next: u16,
    calls: BTreeMap<Vec<u8>, (u16, SocketAddr, PortPair, PortPair, Option<SocketAddr>)>,
    out: VecDeque<Output>,
}

impl Stopgap {
    pub(crate) fn new(ports: Box<dyn Ports + Send>, shards: u16) -> Self {
        Self { ports, shards, next: 0, calls: BTreeMap::new(), out: VecDeque::new() }
    }

    fn rewrite(&self, sdp: &str, pair: PortPair) -> Vec<u8> {
        let ip = self.ports.ips()[usize::from(pair.ip)];
        let mut out = String::new();
        for line in sdp.lines() {
            if line.starts_with("c=") {
                out += &format!("c=IN {} {ip}", if ip.is_ipv4() { "IP4" } else { "IP6" });
            } else if let Some(rest) = line.strip_prefix("m=audio ") {
                let rest = rest.split_once(' ').map_or("", |(_, r)| r);
                out += &format!("m=audio {} {rest}", pair.rtp);
            } else {
                out += line;
            }
            out += "\r\n";
        }
        out.into_bytes()
    }
}

fn address(sdp: &str) -> Option<SocketAddr> {
    let ip = sdp.lines().find_map(|l| l.strip_prefix("c=IN IP")?.split(' ').nth(1)?.parse().ok())?;
    let port = sdp.lines().find_map(|l| l.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())?;
    Some(SocketAddr::new(ip, port))
}

fn side(ports: PortPair, at: SocketAddr) -> Side {
    let rtcp = SocketAddr::new(at.ip(), at.port().saturating_add(1));
    Side {
        ports,
        mux: false,
        rtp_to: Some(at),
        rtcp_to: Some(rtcp),
        source: SourcePolicy::Exact(at),
        rtcp_source: SourcePolicy::Exact(rtcp),
        clocks: ClockTable::new(),
        max_packets_per_s: packet_limit(20),
        counters: Arc::new(StreamCounters::default()),
    }
}

impl CallBook for Stopgap {
    fn handle_command(&mut self, command: Command, _: Option<IpAddr>, now: Now) -> Reply {
        match command {
            Command::Ping => Reply::Pong,
            Command::Offer(c) => {
                let sdp = String::from_utf8_lossy(&c.sdp).into_owned();
                let Some(at) = address(&sdp) else { return Reply::error("Failed to parse SDP") };
                let (Some(a), Some(b)) = (self.ports.take(0, now.mono), self.ports.take(0, now.mono)) else {
                    return Reply::error("Ran out of ports");
                };
                self.next = (self.next + 1) % self.shards;
                self.calls.insert(c.call_id, (self.next, at, a, b, None));
                Reply::Sdp { sdp: self.rewrite(&sdp, b), warning: None }
            }
            Command::Answer(c) => {
                let sdp = String::from_utf8_lossy(&c.sdp).into_owned();
                let Some(at) = address(&sdp) else { return Reply::error("Failed to parse SDP") };
                let Some(call) = self.calls.get_mut(&c.call_id) else {
                    return Reply::error("Unknown call-id");
                };
                call.4 = Some(at);
                let (shard, from, a, b, _) = *call;
                for rule in compile(Media::Rtp, &side(a, from), &side(b, at)) {
                    self.out.push_back(Output::Install { shard, rule: Box::new(rule) });
                }
                Reply::Sdp { sdp: self.rewrite(&sdp, a), warning: None }
            }
            Command::Delete(c) => {
                if let Some((shard, _, a, b, _)) = self.calls.remove(&c.call_id) {
                    for pair in [a, b] {
                        for port in [pair.rtp_port(), pair.rtcp_port()] {
                            self.out.push_back(Output::Close { shard, port });
                        }
                        self.ports.give_back(pair, now.mono);
                    }
                }
                Reply::Ok { warning: None }
            }
            Command::Query(_) => Reply::error("Unknown call-id"),
            Command::List { limit } => {
                Reply::Calls(self.calls.keys().take(limit as usize).cloned().collect())
            }
        }
    }
    fn handle_learnt(&mut self, _: LocalPort, _: SocketAddr) {}
    fn handle_timeout(&mut self, _: Now) {}
    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
    fn poll_timeout(&self) -> Option<Mono> {
        None
    }
    fn calls(&self) -> usize {
        self.calls.len()
    }
    fn pairs_used(&self) -> usize {
        (0..self.ports.ips().len()).map(|i| self.ports.usage(i as u8).0).sum()
    }
}
