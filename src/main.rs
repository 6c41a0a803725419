//! The `warp` binary: subcommands only; what they do lives in the products.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// How glibc's allocator shall ask for memory: in large pages (the prefix index is read at random, and they save a tenth of
/// a decision), and for tables of a megabyte and more straight from the system, so that the memory of a deck that was
/// replaced goes back to it. Figures: `bench/results/lcr-*.json`.
const ALLOCATOR: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1048576");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).take(2).collect();
    let holds_an_index = matches!(
        words.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ["dev" | "serve", ..] | ["launch", "all"]
    );
    if holds_an_index {
        begin_again_with_allocator_settings();
    }
    warp_platform::cli::main()
}

/// glibc reads its settings before `main`, so the process replaces itself once, with the same id, arguments and files. An
/// operator's own setting wins; where the replacement fails, WARP runs all the same.
fn begin_again_with_allocator_settings() {
    let (name, value) = ALLOCATOR;
    if std::env::var_os(name).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Returns only when it failed.
        let _ = Command::new(program).args(std::env::args_os().skip(1)).env(name, value).exec();
    }
}
