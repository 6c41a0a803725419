//! What goes to the thread that reads: buffers of shards, and questions.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Sender;

use crate::picture::{Owner, Picture, StrangerSeen};

/// What reaches the thread.
pub(crate) enum ToSink {
    /// A buffer of a shard, and where it goes back to.
    Batch(Vec<u8>, Sender<Vec<u8>>),
    /// A question that waits for its answer.
    Ask(Question),
    /// The end of the thread.
    Stop,
}

/// What somebody asks, and where the answer goes.
pub(crate) enum Question {
    Picture(Sought, Sender<Option<Picture>>),
    Strangers(Option<IpAddr>, Sender<Vec<StrangerSeen>>),
}

/// Which call somebody wants a picture of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// One that is over, by its public id.
    Over(u128),
    /// One in the air.
    InTheAir {
        /// Its Call-ID of SIP.
        sip_call_id: String,
        /// Its sides as they are now.
        owners: Vec<Owner>,
        /// Where its INVITE came from.
        origin: SocketAddr,
        /// Where its branches lead.
        targets: Vec<SocketAddr>,
    },
}
