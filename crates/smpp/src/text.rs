//! The text of short messages: alphabets (3GPP TS 23.038), user data headers (TS 23.040 §9.2.3.24), splitting and joining.

pub mod alphabet;
pub mod coding;
pub mod gsm;
pub mod join;
pub mod split;
pub mod udh;

pub use alphabet::{decode, encode_best, encode_gsm};
pub use coding::{Alphabet, DataCoding};
pub use join::{Joined, Joiner, Part};
pub use split::{Reference, split};
pub use udh::Udh;
