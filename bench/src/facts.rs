//! What a figure was measured on. Every results file carries it.

use std::process::Command;

use serde::Serialize;

/// The machine and the code.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The model of the CPU, from /proc/cpuinfo.
    pub cpu: String,
    /// Usable by this process.
    pub cores: usize,
    /// Total memory in MiB.
    pub memory_mib: u64,
    /// The kernel and its release: `uname -sr`.
    pub kernel: String,
    /// The compiler and its version: `rustc -V`.
    pub rustc: String,
    /// The date in UTC.
    pub date: String,
    /// Git commit, with `+` when the tree was changed.
    pub commit: String,
    /// Load average when the run began: other work on the machine.
    pub load_average: String,
}

impl Facts {
    /// Reads the facts of this machine now.
    pub fn read() -> Facts {
        let field = |file: &str, name: &str| {
            std::fs::read_to_string(file)
                .unwrap_or_default()
                .lines()
                .find_map(|l| {
                    let (k, v) = l.split_once(':')?;
                    (k.trim() == name).then(|| v.trim().to_owned())
                })
                .unwrap_or_default()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let changed = !run("git", &["status", "--porcelain", "-uno"]).is_empty();
        Facts {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_mib: kib / 1_024,
            kernel: run("uname", &["-sr"]),
            rustc: run("rustc", &["-V"]),
            date: run("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            commit: run("git", &["rev-parse", "--short", "HEAD"]) + if changed { "+" } else { "" },
            load_average: std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned(),
        }
    }
}

fn run(program: &str, args: &[&str]) -> String {
    Command::new(program)
        .args(args)
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// A field of /proc/self/status in MiB, for example `VmRSS`.
pub fn memory_mib(field: &str) -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|v| v.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(0.0, |kib| kib / 1_024.0)
}
