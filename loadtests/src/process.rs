//! What a process has cost, from `/proc`.

use anyhow::{Context, Result};

/// CPU time of a process.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// In user space, seconds.
    pub user_s: f64,
    /// In the kernel, seconds.
    pub system_s: f64,
    /// Run time of all threads by the scheduler, in finer steps than the two above.
    pub run_s: f64,
    /// How often its threads went to sleep, all together.
    pub sleeps: u64,
    /// Resident memory of the process, in KiB.
    pub rss_kb: u64,
}

impl Cpu {
    /// Of a running process. Errors: it is gone.
    pub fn of(pid: u32) -> Result<Self> {
        // The kernel shows these times in hundredths of a second on every architecture (USER_HZ).
        const USER_HZ: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let rest = stat.rsplit_once(')').context("stat")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks =
            |i: usize| -> Result<f64> { Ok(fields.get(i).context("stat")?.parse::<f64>()? / USER_HZ) };
        let (mut run_ns, mut sleeps) = (0, 0);
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = task?.path();
            let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
            sleeps += status
                .lines()
                .find_map(|l| l.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
                .unwrap_or(0);
            let text = std::fs::read_to_string(folder.join("schedstat")).unwrap_or_default();
            run_ns += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rss_kb = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        Ok(Self { user_s: ticks(11)?, system_s: ticks(12)?, run_s: run_ns as f64 / 1e9, sleeps, rss_kb })
    }
}
