//! The composition root as a library, so that whole-stack tests and the binary start the same thing.
//!
//! `config` (layers → typed) · `consoles` (the portals, embedded) · `wire` (who gets which handle) · `run` (start, reload, drain, stop) · `launch` (the launch
//! contract of load tools) · `cli` (subcommands) · `dev` (the demo world). Absent on purpose: anything that a product does.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
mod consoles;
#[cfg(feature = "dev")]
pub mod dev;
pub mod doctor;
pub mod launch;
pub mod run;
pub mod signals;
pub mod wire;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this program was built from, and by what.
pub const BUILD: warp_telemetry::process::Build = warp_telemetry::process::Build {
    version: VERSION,
    revision: env!("WARP_REVISION"),
    rustc: env!("WARP_RUSTC"),
};
