//! The ng control protocol without I/O: bencode, JSON, typed commands and replies.
#![forbid(unsafe_code)]
