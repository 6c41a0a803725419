//! RTP and RTCP without I/O: headers, forward rules, quality figures.
#![forbid(unsafe_code)]
