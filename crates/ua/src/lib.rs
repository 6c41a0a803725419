//! A SIP user agent with RTP: callers and answering sides for demo traffic, load and tests.
//!
//! One [`Agent`] is one thread with one SIP address (UDP and TCP) that drives many calls, each with a media socket of its
//! own that sends PCMU every 20 ms and counts what comes back. Calls are placed with [`Agent::call`]; calls that arrive are
//! treated as a rule says ([`Behaviour`]). Retransmissions are those of `warp_sip::transaction`.
//!
//! Absent on purpose: registration, re-INVITE, codecs (the payload is silence), anything a phone's user would see.
#![forbid(unsafe_code)]

mod agent;
mod incoming;
mod outgoing;
mod rtp;
mod spec;
mod streams;
mod text;

pub use agent::Agent;
pub use spec::{AgentConfig, Behaviour, CallResult, CallSpec, Credentials, EndedBy, Rule};
