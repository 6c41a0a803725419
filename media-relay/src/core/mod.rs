//! What the relay decides, without I/O: ports, calls, negotiation, and their compilation to forward rules.
//!
//! Time, randomness and sockets come from outside ([`ports::Ports`]); what must be done comes out as [`Output`], in order.

use std::net::IpAddr;
use std::time::Duration;

use warp_media::{ForwardRule, LocalPort, StreamSnapshot};
use warp_model::Mono;

use negotiate::Class;

pub mod book;
pub mod callback;
mod codecs;
pub mod compile;
pub mod exhausted;
pub mod ledger;
pub mod negotiate;
pub mod ports;
pub mod protocol;
pub mod record;
mod rendering;
pub mod secure;
pub mod sound;

/// What the call book asks the server to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Give a shard a rule, first or newer. All ports of one call go to one shard. A port that lets in nobody has no rule.
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
        /// The local port to close.
        port: LocalPort,
    },
    /// A call had no media for too long and is gone from the book: signalling must end it (T-RTP-10).
    TimedOut {
        /// Call-ID of the call.
        call_id: Vec<u8>,
        /// The ng client that set it up, or the address that it named (`xmlrpc-callback`); `None`: this process.
        client: Option<IpAddr>,
        /// Tags of its answered dialogues: of the first offerer and of the other.
        tags: Vec<[Vec<u8>; 2]>,
        /// When the time-out was due: the last packet and the patience with silence. This value may come later; nobody pays for that.
        due: Mono,
    },
    /// Mark what a port sends from now on.
    Mark {
        /// Shard that has the port.
        shard: u16,
        /// The local port that sends.
        port: LocalPort,
        /// DSCP and ECN byte; `None` is the configured default.
        tos: Option<u8>,
    },
    /// The two directions of a media line are of another kind now: for the gauge of streams.
    StreamKind {
        /// What they were; `None` when they begin.
        from: Option<StreamKind>,
        /// What they are; `None` when they end.
        to: Option<StreamKind>,
    },
    /// A call is recorded, or no more: a word for the recorder.
    Record(record::RecordOrder),
    /// A stream has ended.
    StreamEnded(Box<EndedStream>),
    /// A call is gone from the book, once for each.
    CallEnded {
        /// Why the call is gone.
        why: EndOfCall,
        /// Since its first offer.
        lasted: Duration,
    },
}

/// What a negotiated media line carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKind {
    /// As in `a=rtpmap`, for example `PCMU/8000`; empty when there is none.
    pub codec: Vec<u8>,
    /// Plain, protected or other.
    pub class: Class,
}

/// The last figures of the two directions of a stream: what the first offerer sent, then what the other one sent.
#[derive(Clone, Debug)]
pub struct EndedStream {
    /// Figures by who sent: the first offerer, then the other one.
    pub figures: [StreamSnapshot; 2],
    /// Labels of the senders.
    pub labels: [Option<Vec<u8>>; 2],
    /// A branch whose ports towards the first offerer go on with another one: that side's figures are not here (zeros).
    pub shared: bool,
}

/// Why a call is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfCall {
    /// A `delete` command ended it.
    Deleted,
    /// Answered, and no packet for the media time-out.
    Silent,
    /// The same on hold.
    SilentOnHold,
    /// Offered and never answered.
    NeverAnswered,
}
