//! SIP without I/O: messages, transactions, dialogs, proxying, digest.
#![forbid(unsafe_code)]
