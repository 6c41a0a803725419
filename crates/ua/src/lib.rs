//! A SIP user agent with RTP for demo traffic, load and tests.
#![forbid(unsafe_code)]
