//! `warp route`.

use clap::Args;

use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct RouteArgs {}

pub(super) fn run(_args: &RouteArgs, _common: &Common) -> Result<u8, Failure> {
    Err(Failure::new("not wired yet"))
}
