//! Load generators and comparison runs against Kamailio and rtpengine.
#![forbid(unsafe_code)]

pub mod process;
pub mod relays;
pub mod smpp;
pub mod smshttp;
