//! What every process says about itself: build, start, CPU, memory, descriptors, panics.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metrics::{Counter, Kind, Registry, Sample};

static PANICS: OnceLock<Counter> = OnceLock::new();

/// What was built, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The version of the program.
    pub version: &'static str,
    /// Of the source, when the build was told.
    pub revision: &'static str,
    /// Version of the compiler.
    pub rustc: &'static str,
}

/// Registers `warp_build_info`, `warp_start_time_seconds`, `process_*` and `warp_panics_total`, and counts panics from
/// now on (the first registry of a process gets them).
pub fn register(registry: &Registry, build: Build, role: &str) {
    let role = role.to_owned();
    registry.observe(
        Kind::Gauge,
        "warp_build_info",
        "Always 1; the version and the revision are in the labels.",
        &["version", "revision", "rustc", "role"],
        move || {
            vec![Sample::number(
                vec![
                    ("version", build.version.to_owned()),
                    ("revision", build.revision.to_owned()),
                    ("rustc", build.rustc.to_owned()),
                    ("role", role.clone()),
                ],
                1.0,
            )]
        },
    );
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    registry
        .float_gauge(
            "warp_start_time_seconds",
            "When the process started, in seconds since 1970 (Unix time).",
        )
        .set(started);
    registry
        .float_gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970 (Unix time).",
        )
        .set(started);
    let panics =
        registry.counter("warp_panics_total", "Faults of ours that a thread of the process survived.");
    if PANICS.set(panics).is_ok() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some(panics) = PANICS.get() {
                panics.inc(());
            }
            before(info);
        }));
    }
    observed(
        registry,
        Kind::Counter,
        "process_cpu_seconds_total",
        "CPU time used by the process, user and system, in seconds.",
        || stat_fields().map(|s| (s.0 + s.1) as f64 / 100.0),
    );
    observed(registry, Kind::Gauge, "process_threads", "Threads that the process has now.", || {
        stat_fields().map(|s| s.2 as f64)
    });
    observed(
        registry,
        Kind::Gauge,
        "process_virtual_memory_bytes",
        "Virtual memory of the process, in bytes.",
        || stat_fields().map(|s| s.3 as f64),
    );
    observed(
        registry,
        Kind::Gauge,
        "process_resident_memory_bytes",
        "Memory that the process occupies, in bytes.",
        || stat_fields().map(|s| s.4 as f64 * 4_096.0),
    );
    observed(registry, Kind::Gauge, "process_open_fds", "Open files and sockets of the process.", || {
        std::fs::read_dir("/proc/self/fd").ok().map(|d| d.count() as f64)
    });
    observed(
        registry,
        Kind::Gauge,
        "process_max_fds",
        "Most files and sockets that the process may have open.",
        max_fds,
    );
}

fn observed(registry: &Registry, kind: Kind, name: &'static str, help: &'static str, f: fn() -> Option<f64>) {
    registry.observe(kind, name, help, &[], move || {
        f().map(|n| Sample::number(Vec::new(), n)).into_iter().collect()
    });
}

/// utime and stime (ticks of 10 ms, as on every Linux this runs on), threads, virtual bytes, resident pages.
fn stat_fields() -> Option<(u64, u64, u64, u64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted after the command name, which may hold spaces and brackets: proc(5).
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |n: usize| rest.split_ascii_whitespace().nth(n)?.parse::<u64>().ok();
    Some((field(11)?, field(12)?, field(17)?, field(20)?, field(21)?))
}

/// Soft limit of open descriptors of this process.
pub fn max_fds() -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_describes_itself() {
        let registry = Registry::new();
        register(&registry, Build { version: "0.1.0", revision: "test", rustc: "1.2.3" }, "sip");
        let text = registry.render();
        for name in [
            "warp_build_info{version=\"0.1.0\",revision=\"test\",rustc=\"1.2.3\",role=\"sip\"} 1",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_cpu_seconds_total ",
            "warp_panics_total 0",
        ] {
            assert!(text.contains(name), "{name} missing in\n{text}");
        }
    }
}
