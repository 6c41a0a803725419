//! The bodies of PDUs, read in place and written into a given buffer (SMPP 3.4 §4).
//!
//! [`decode`] checks what has a form: lengths, ends of texts, the optional part. What values mean is for those who use them. A body that is
//! wrong gives a [`BodyError`] with the status of the answer; the PDU behind it is not touched (T-SMS-02).

mod bodies;
mod read;
mod write;

pub use bodies::{
    Address, Alert, Bind, BindResp, Body, Cancel, Data, Destination, Destinations, Message, Multi, MultiResp,
    Outbind, Query, QueryResp, Replace, Unsuccessful,
};
pub use read::{BodyError, decode};
pub use write::{TooLong, encode, header_only, push_destination, push_unsuccessful, reply};

/// Longest short_message in octets (5.0 allows 255; carriers do not).
pub const SHORT_MESSAGE_BYTES: usize = 254;
/// Longest password that is read, NUL included: the field knows longer ones than the nine of the specification.
pub const PASSWORD_BYTES: usize = 65;
/// Most destinations of a submit_multi (§4.5.1).
pub const DESTINATIONS: usize = 254;
