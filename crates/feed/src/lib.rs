//! Snapshots from the control plane to the nodes.
#![forbid(unsafe_code)]
