//! The relay's room for sockets and threads: one control thread with the call book and the ng listener, packet shards,
//! and the threads of ng over TCP, HTTP and WebSocket.

pub(crate) mod bound;
pub(crate) mod callbacks;
pub(crate) mod control;
pub(crate) mod doors;
pub(crate) mod kept;
mod ng_listener;
mod notices;
pub(crate) mod recorder;
pub(crate) mod shard;
mod slots;
pub(crate) mod sounds;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_control;
