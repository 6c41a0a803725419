//! Metrics registry, logging, health and redaction.
#![forbid(unsafe_code)]
