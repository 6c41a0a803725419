//! The SIP proxy: protocol meets policy in core, sockets live in server.
#![forbid(unsafe_code)]

pub mod core;
