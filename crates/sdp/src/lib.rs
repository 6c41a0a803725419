//! SDP without I/O: a view that keeps untouched bytes, and minimal-change edits.
#![forbid(unsafe_code)]
