//! What the runtime around the cores needs to know. The core's own part is [`CoreConfig`].

use std::net::SocketAddr;
use std::time::Duration;

use warp_model::limits;
pub use warp_net::tls::TlsFiles;

use crate::core::CoreConfig;

/// Configuration of a proxy: its core and the runtime around it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The core, with the listeners. Port 0 lets the system choose; the core is told what it chose.
    pub core: CoreConfig,
    /// Threads, each with its own sockets, core and timers; 1 to 255. With more than one, sockets share their address
    /// (`SO_REUSEPORT`).
    pub shards: u16,
    /// Keep each shard on a CPU of its own (shard `n` on the `n`-th that the process may use).
    pub pin_shards: bool,
    /// `SO_RCVBUF` and `SO_SNDBUF` of UDP sockets in bytes; 4 MiB. The kernel may give less.
    pub socket_buffer: usize,
    /// Datagrams that wait for a full socket; beyond: dropped and counted. Peers retransmit.
    pub udp_queue: usize,
    /// Messages that wait in a shard's mailbox; beyond: dropped and counted. Peers retransmit.
    pub mailbox: usize,
    /// How much connections may hold and how long.
    pub streams: StreamLimits,
    /// The certificate of the listeners for TLS and WSS, and whom we trust where we connect by TLS.
    pub tls: Option<TlsFiles>,
    /// Where names of peers are looked up.
    pub dns: Dns,
    /// The web sites whose scripts may connect by WebSocket, such as `https://console.example.com`; empty: all (T-SIP-20).
    pub web_origins: Vec<String>,
}

/// Which DNS servers are asked, and how long (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The servers, in order; empty: those of this machine (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// How long one question may take before it is asked again, or of the next server; 1 s.
    pub timeout: Duration,
    /// How long all questions about one name may take; 4 s.
    pub give_up: Duration,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns { servers: Vec::new(), timeout: Duration::from_secs(1), give_up: Duration::from_secs(4) }
    }
}

/// Limits of connections (`ref/threats-and-faults` §1, T-SIP-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Accepted connections of one stranger; refused at accept beyond.
    pub per_stranger: u32,
    /// Accepted connections of one known peer.
    pub per_known: u32,
    /// Accepted connections of all; strangers get at most three quarters of it.
    pub total: u32,
    /// Opened connections of one shard; beyond: the send fails.
    pub opened: usize,
    /// Until the first whole message.
    pub first_message: Duration,
    /// Without a whole message or a keep-alive.
    pub idle: Duration,
    /// Until a connection that we open is established.
    pub connect: Duration,
    /// Bytes that wait for a peer that does not read; beyond: closed.
    pub write_buffer: usize,
}

/// Where registrations are shared with other nodes (RFC 0036).
#[derive(Clone)]
pub struct State {
    /// Which Redis, and how.
    pub options: warp_state::Options,
    /// How long Redis takes.
    pub seconds: Option<warp_telemetry::health::RequestSeconds>,
    /// Where it is told whether Redis can be reached.
    pub health: Option<warp_telemetry::health::Part>,
}

impl Config {
    /// Defaults around a core.
    pub fn new(core: CoreConfig) -> Config {
        Config {
            core,
            shards: 1,
            pin_shards: false,
            socket_buffer: 4 << 20,
            udp_queue: 16_384,
            mailbox: 65_536,
            streams: StreamLimits::default(),
            tls: None,
            dns: Dns::default(),
            web_origins: Vec::new(),
        }
    }
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            per_stranger: limits::SIP_STREAMS_PER_SOURCE as u32,
            per_known: 1_024,
            total: limits::SIP_STREAMS as u32,
            opened: 4_096,
            first_message: Duration::from_secs(limits::SIP_STREAM_FIRST_MESSAGE_S),
            idle: Duration::from_secs(limits::SIP_STREAM_IDLE_S),
            connect: Duration::from_secs(5),
            write_buffer: 1 << 20,
        }
    }
}
