//! `warp calls list|show|tail`.

use clap::Args;

use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct CallsArgs {}

pub(super) fn run(_args: &CallsArgs, _common: &Common) -> Result<u8, Failure> {
    Err(Failure::new("not wired yet"))
}
