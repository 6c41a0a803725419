//! The `warp` binary: subcommands only; what they do lives in the products.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    warp_platform::cli::main()
}
