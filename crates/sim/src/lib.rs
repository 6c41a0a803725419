//! Test only: worlds in virtual time around the same cores that production runs.
//!
//! A [`net::Network`] delivers datagrams with loss, duplication and reordering; [`agent`]s are callers and vendors that
//! speak just enough SIP, in code of their own (they share no parser with the proxy, so that an error cannot hide in both);
//! [`world::World`] steps everything from one seed and keeps the ledger that the invariants are checked against.
//! A failing seed replays exactly. Nothing here opens a socket or reads a clock.
#![forbid(unsafe_code)]

pub mod agent;
pub mod carrier;
pub mod net;
pub mod rng;
pub mod spoof;
mod text;
pub mod world;
