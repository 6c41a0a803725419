//! Policy without I/O: number plan, rate decks, screening, LCR, rating, snapshot, explain.
#![forbid(unsafe_code)]
