//! The `warp` binary: subcommands only; what they do lives in the products.
#![forbid(unsafe_code)]

/// Calls allocate and free their parts on the threads of their shards; that of glibc grows each thread's heap by a system call
/// for every few pages, and gives them back as often.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    warp_platform::cli::main()
}
