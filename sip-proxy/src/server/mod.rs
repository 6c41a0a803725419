//! The sharded runtime: sockets, threads, journals around the cores (RFC 0006).
//!
//! Code map: [`shard`] the loop of one thread · [`guard`] its panics · [`streams`] and [`stream_events`] its connections · [`media_control`] its questions to the
//! media relay · [`resolver`] (and [`dns_message`]) their questions to DNS · [`state_mirror`] its questions to other nodes' registrations · [`sockets`] binding · [`load`] overload control ·
//! [`wire`] the little it knows of SIP itself · [`janitor`] frees old snapshots · [`certificates`] reads them again.
//!
//! Invariants:
//! - Outputs of a core are carried out in order; a record is in the journal (write(2) has returned) before the message
//!   after it leaves.
//! - Messages of one call are handled by one core in the order in which their source sent them, and messages to one
//!   destination leave in the order in which the core made them.
//! - One reading of the clock, one send call per socket and wake-up; no lock, no allocation per message but the copy of
//!   one that is handed to another shard.
//! - No error of the network and no panic ends a listener (F-NET-05, F-PROC-05). A panic in a core is caught, metered, and costs the
//!   message that caused it and the call that it happened in (G-1); a core that keeps panicking is replaced, and each of its calls
//!   ends with a record and with BYE.

pub(crate) mod certificates;
mod dns_message;
mod guard;
pub(crate) mod janitor;
mod load;
pub(crate) mod media_control;
pub(crate) mod resolver;
pub(crate) mod shard;
pub(crate) mod sockets;
pub(crate) mod state_mirror;
mod stream_events;
mod streams;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_dns;
#[cfg(test)]
mod tests_journal;
#[cfg(test)]
mod tests_replaced;
mod vendors;
mod wire;

use warp_sip::flow::Flow;
use warp_sip::resolve::{LookupError, Servers, Wanted};

use crate::core::{AskId, Command, TransmitBuf};

pub(crate) use streams::Quota;

/// What a shard finds in its mailbox.
pub(crate) enum Note {
    /// A message that the kernel gave to another shard.
    Message {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Bytes for a connection that this shard owns.
    Transmit {
        /// The connection.
        flow: Flow,
        /// The bytes.
        bytes: TransmitBuf,
    },
    /// A connection of another shard broke.
    FlowError(Flow),
    /// Close a connection of this shard.
    CloseFlow(Flow),
    /// An in-process media relay has answered question number so-and-so.
    MediaReply(u64, warp_ng::Reply),
    /// What other nodes know of somebody, or that changes are written: the answer to question number so-and-so.
    StateAnswer(u64, warp_state::StateReply),
    /// Hand over what was captured so far, and drop this: somebody waits for it.
    HandOver(std::sync::mpsc::Sender<()>),
    /// What DNS says of a name: the answer to a question.
    Located(AskId, Wanted, Result<Servers, LookupError>),
    /// There is a new policy snapshot.
    Snapshot,
    /// Of an operator or another part of the process.
    Command(Command),
    /// End the thread.
    Stop,
}

/// Tokens of a shard's epoll.
pub(crate) mod token {
    use warp_sip::flow::LinkId;

    pub(crate) const MAILBOX: u64 = 0;
    pub(crate) const MEDIA: u64 = 1;
    /// The kind stands above the 60 bits of a number.
    const KIND: u64 = 15 << 60;
    const UDP: u64 = 1 << 60;
    const LISTENER: u64 = 2 << 60;
    const STREAM: u64 = 3 << 60;

    /// What an event is about.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Target {
        Mailbox,
        Media,
        Udp(usize),
        Listener(usize),
        Stream(LinkId),
    }

    pub(crate) fn udp(index: usize) -> u64 {
        UDP | index as u64
    }
    pub(crate) fn listener(index: usize) -> u64 {
        LISTENER | index as u64
    }
    pub(crate) fn stream(id: LinkId) -> u64 {
        STREAM | (id.0 & !KIND)
    }
    pub(crate) fn target(token: u64) -> Target {
        let low = token & !KIND;
        match token & KIND {
            UDP => Target::Udp(low as usize),
            LISTENER => Target::Listener(low as usize),
            STREAM => Target::Stream(LinkId(low)),
            _ if low == MEDIA => Target::Media,
            _ => Target::Mailbox,
        }
    }
}
