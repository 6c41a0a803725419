//! Call journal and event log on local disk: checksummed segments, group commit, cursors.
#![forbid(unsafe_code)]
