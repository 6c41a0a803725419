//! The `warp` binary: subcommands only; what they do lives in the products.
#![forbid(unsafe_code)]

fn main() {
    println!("warp {}", env!("CARGO_PKG_VERSION"));
}
