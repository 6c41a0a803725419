//! Credit that calls are paid from, without a database on their path (RFC 0014): the bank side, which PostgreSQL's rows are read into and
//! written from under a row lock, and the node side, which calls take from without waiting.
//!
//! An account's money is lent to nodes in **leases**. Promise: what was posted and what is lent together never exceed the balance and the
//! credit of an account, whatever dies or is cut off. It holds because money is added to a lease only after the bank has written it down,
//! taken off a lease on the node before the bank hears of it, and because nobody but the node itself, or an operator, says that a lease
//! is over: the bank never takes unspent money back from a node that it cannot hear.
//!
//! - A lease is of one account, one process of a node and one **epoch**; an account's epochs only grow, so that what an old process still
//!   says of its lease concerns no newer one (fencing).
//! - A lease ends on the node's monotonic clock, counted from before its request left, and so never later than at the bank. Calls that are
//!   paid from it are cut then. It may be extended until then.
//! - The money of a lease that ended stays lent until its node says what its calls have cost ([`bank::Account::close`]), which the records
//!   then confirm as they are posted; of a process that is lost, until its records are posted or an operator releases it.

pub mod bank;
pub mod purse;

pub use bank::{Account, Grant, Lease, LeaseRequest};
pub use purse::{Held, Missed, Place, Purse, WAITING_IN_ALL, WAITING_OF_ACCOUNT, Waiting, Wallet};
