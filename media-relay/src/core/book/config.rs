//! Limits and habits of the book, and the part of them that a running relay takes anew.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_media::keying::HandshakeMaker;

use super::record::Recordings;

/// Limits and habits of the book.
#[derive(Clone, Debug)]
pub struct BookConfig {
    /// Packet shards; calls are dealt to them in turn.
    pub shards: u16,
    /// What SDP says instead of the local addresses, by position; empty = the addresses themselves.
    pub advertise: Vec<IpAddr>,
    /// Logical names of the local addresses, by position; several may share one. Empty = the addresses themselves.
    pub interfaces: Vec<String>,
    /// Calls at most (T-NG-04).
    pub max_calls: usize,
    /// Ports of one call at most, RTP and RTCP counted apart (T-NG-04).
    pub max_ports_per_call: usize,
    /// Branches of one call at most that are there at once (T-NG-04).
    pub max_branches_per_call: usize,
    /// An answered call without any packet ends after this (T-RTP-10).
    pub media_timeout: Duration,
    /// The same on hold.
    pub hold_timeout: Duration,
    /// A call that is never answered ends after this.
    pub offer_timeout: Duration,
    /// How long media flows on after a `delete` that does not say.
    pub delete_delay: Duration,
    /// Addresses that media is never sent to: our control ports (T-NG-06).
    pub forbidden: Vec<SocketAddr>,
    /// Our mark in loop-protected SDP.
    pub instance: String,
    /// Where keys of SRTP come from.
    pub keys: KeySource,
    /// Handshakes of DTLS under the relay's certificate; `None`: there are none.
    pub dtls: Option<Arc<dyn HandshakeMaker>>,
    /// Where recordings go, if anywhere.
    pub recordings: Recordings,
    /// ng clients get SDP in the canonical rendering; this process gets the transparent one always.
    pub canonical: bool,
}

impl Default for BookConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            advertise: Vec::new(),
            interfaces: Vec::new(),
            max_calls: 20_000,
            max_ports_per_call: 512,
            max_branches_per_call: 64,
            media_timeout: Duration::from_secs(60),
            hold_timeout: Duration::from_secs(3_600),
            offer_timeout: Duration::from_secs(3_600),
            delete_delay: Duration::from_secs(30),
            forbidden: Vec::new(),
            instance: "warp".to_owned(),
            keys: KeySource::default(),
            dtls: None,
            recordings: Recordings::default(),
            canonical: true,
        }
    }
}

/// Fills a buffer with random bytes that nobody can guess; false when there are none. The operating system's at work
/// (T-RTP-12), a made-up row in tests. By default there are none, and SRTP is refused.
#[derive(Clone, Copy, Debug)]
pub struct KeySource(pub fn(&mut [u8]) -> bool);

impl Default for KeySource {
    fn default() -> Self {
        Self(|_| false)
    }
}

/// The part of [`BookConfig`] that a running relay takes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Calls at most, as [`BookConfig::max_calls`].
    pub max_calls: usize,
    /// An answered call without any packet ends after this, as [`BookConfig::media_timeout`].
    pub media_timeout: Duration,
    /// The same on hold, as [`BookConfig::hold_timeout`].
    pub hold_timeout: Duration,
    /// A call that is never answered ends after this, as [`BookConfig::offer_timeout`].
    pub offer_timeout: Duration,
    /// How long media flows on after a `delete` that does not say, as [`BookConfig::delete_delay`].
    pub delete_delay: Duration,
}
