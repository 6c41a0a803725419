//! Test only: virtual clock, virtual network, seeded worlds and their checkers.
#![forbid(unsafe_code)]
