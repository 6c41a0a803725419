//! A SIP user agent with RTP for demo traffic, load and tests. (The lead writes this package.)
#![forbid(unsafe_code)]
