//! What the relay decides, without I/O: ports, calls, negotiation, and their compilation to forward rules.
//!
//! Time, randomness and sockets come from outside. The server asks nothing of this room but values.

pub mod compile;
pub mod ports;
