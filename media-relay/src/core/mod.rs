//! What the relay decides, without I/O: ports, calls, negotiation, and their compilation to forward rules.
//!
//! Time, randomness and sockets come from outside ([`ports::Ports`]); what must be done comes out as [`Output`], in order.

use warp_media::{ForwardRule, LocalPort, StreamSnapshot};

pub mod book;
pub mod compile;
pub mod negotiate;
pub mod ports;

/// What the call book asks the server to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Give a shard a rule, first or newer. All ports of one call go to one shard. A port whose rule lets in nobody
    /// costs nothing.
    Install {
        /// Shard, below the configured number of threads.
        shard: u16,
        /// The rule; `rule.local` is one of the pair's two ports.
        rule: Box<ForwardRule>,
    },
    /// Take the rule away and close the socket. The book gives the pair back to [`ports::Ports`] itself.
    Close {
        /// Shard that has the port.
        shard: u16,
        /// Which port.
        port: LocalPort,
    },
    /// A call had no media for too long and is gone from the book: signalling must end it (T-RTP-10).
    TimedOut {
        /// SIP Call-ID.
        call_id: Vec<u8>,
    },
    /// A stream has ended: the last figures of its two directions, for the metrics.
    StreamEnded(Box<[StreamSnapshot; 2]>),
}
