//! Registrations shared with Kamailio through Redis, in the layout of its `usrloc` over `db_redis` (RFC 0036).
//!
//! Code map: [`record`] one contact as the fields of its hash · [`layout`] which keys a record has · [`script`] the three steps that Redis
//! does whole · [`engine`] what is asked when, what is owed, and when Redis is left alone: pure · [`store`] the thread and the client
//! (fred, named nowhere else).
//!
//! Invariants: nobody waits here; a question has one answer, at once when Redis is away or slow. `KEYS` is never sent. What Redis says is
//! as little believed as what a stranger says: lengths, numbers and times are checked, and a record that is wrong is passed over alone.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod engine;
pub mod layout;
pub mod record;
pub mod script;
pub mod store;

pub use engine::{Ask, Looked, Mode, Removal, StateReply, Token, View, Write};
pub use layout::Layout;
pub use record::{Aor, Record};
pub use store::{Hooks, Options, Store};
