//! What becomes of short messages: where each goes ([`route`]), who may send from which number ([`senders`]), who does not want to hear
//! of whom ([`optout`]), and at which hours ([`quiet`]); whom one is for ([`recipient`](mod@recipient)), what a segment costs ([`prices`]); what a control plane publishes of all that
//! ([`published`]). RFCs 0034, 0035 and 0037.
//!
//! Routes are those that Jasmin's users know: an order, filters that all must fit, and a kind (static, random round robin, failover,
//! least cost). A filter is data: none of them runs code of anybody, and a pattern costs time in proportion to the text.
//!
//! The caller decodes PDUs and knows which targets can be reached now; both are arguments. Nothing here allocates for a decision.

pub mod calendar;
pub mod explain;
pub mod optout;
pub mod pattern;
pub mod prices;
pub mod published;
pub mod quiet;
pub mod recipient;
pub mod route;
pub mod senders;

pub use explain::{Explanation, explain};
pub use optout::{Entries, Entry, Keyword, Keywords, OptOuts, Reaction, Scope};
pub use pattern::{Pattern, PatternError};
pub use prices::PriceList;
pub use published::Messaging;
pub use quiet::{QuietHours, Zones};
pub use recipient::recipient;
pub use route::{Decision, Direction, Filter, Input, Kind, Route, RouteError, Table, Target};
pub use senders::Senders;
