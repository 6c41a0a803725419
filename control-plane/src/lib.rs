//! The control plane: REST API, PostgreSQL store, snapshot publisher, CDR posting.
//!
//! Layers, top to bottom: `api` (the HTTP edge: limits, keys, envelope, OpenAPI) → `app` (one function per use case) →
//! `store` (rows), `publish` (rows → policy snapshot), `billing` (event log → rows). What can be computed sits in
//! `warp_policy`. No call ever waits for anything in here: calls are decided from the last published snapshot.
#![forbid(unsafe_code)]

pub mod store;
