//! Benches of the pure functions, the deck generator, results with machine facts.
#![forbid(unsafe_code)]

pub mod deckgen;
pub mod facts;
pub mod switches;
pub mod together;
