//! Headers: their names, and the values that a proxy or user agent looks into. All are views into the message's bytes.
//!
//! Invariant: a value is never read by two different parsers (T-SIP-03). Absent on purpose: headers that are only passed on.

mod name;
mod name_addr;
mod reason;
mod via;

pub use crate::lex::{self, Malformed};
pub use crate::params::{ParamIter, Params};
pub use name::Header;
pub use name_addr::NameAddr;
pub use reason::Reason;
pub use via::{BRANCH_COOKIE, Via};

/// The values of a comma-separated list, over one or more header lines, in order; stops at the first malformed one.
#[derive(Clone, Debug)]
pub struct Values<'a>(Option<&'a [u8]>);

impl<'a> Values<'a> {
    /// Of one line's value.
    pub fn new(line: &'a [u8]) -> Values<'a> {
        Values(Some(line))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let (value, rest) = lex::split_comma(self.0?).ok()?;
        self.0 = rest;
        Some(value)
    }
}
