//! The two clocks, read at the edge and handed to the cores as [`Now`]; and a thread's own CPU time for benches.
//!
//! All threads of a process share the origin of `Mono` (the kernel's `CLOCK_MONOTONIC`), so a time stamped on one
//! shard means the same on another.
#![allow(unsafe_code)]

use std::time::Duration;

use warp_model::{Mono, Now, Wall};

/// Reads the machine's clocks. Without state: one origin for the whole process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// Both clocks, one after the other (two vDSO reads, about 50 ns). Call once per wake-up.
    pub fn now() -> Now {
        Now { mono: Clock::mono(), wall: Clock::wall() }
    }

    /// `CLOCK_MONOTONIC` in nanoseconds since the machine's boot.
    pub fn mono() -> Mono {
        let ts = read(libc::CLOCK_MONOTONIC);
        Mono((ts.tv_sec as u64) * 1_000_000_000 + ts.tv_nsec as u64)
    }

    /// `CLOCK_REALTIME` in microseconds since the Unix epoch.
    pub fn wall() -> Wall {
        let ts = read(libc::CLOCK_REALTIME);
        Wall(ts.tv_sec * 1_000_000 + ts.tv_nsec / 1_000)
    }
}

/// CPU time (user + system) that the calling thread has used so far.
pub fn thread_cpu_time() -> Duration {
    duration(read(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// CPU time (user + system) of all threads of this process so far.
pub fn process_cpu_time() -> Duration {
    duration(read(libc::CLOCK_PROCESS_CPUTIME_ID))
}

fn duration(ts: libc::timespec) -> Duration {
    Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32)
}

/// One `clock_gettime`. The four clocks used here exist on every Linux, so it cannot fail; were it to, time is zero.
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, exclusively borrowed timespec for the length of the call.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward_and_agree_with_std() {
        let a = Clock::now();
        let b = Clock::now();
        assert!(b.mono >= a.mono);
        let std_us =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
        assert!((std_us - b.wall.0).abs() < 60_000_000);
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = thread_cpu_time();
        let mut x = 1_u64;
        while thread_cpu_time() == before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(process_cpu_time() >= thread_cpu_time());
    }
}
