//! The control plane: REST API, PostgreSQL store, snapshot publisher, CDR posting.
#![forbid(unsafe_code)]
