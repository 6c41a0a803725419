//! What runs out is told: one line in ten seconds with how much of it there is, whatever it is (F-PROC-07). Alone in its program, because
//! the log of a program is one, and so is the number of files that it may open.

mod common;

#[path = "../../crates/telemetry/tests/caught/mod.rs"]
mod caught;

use std::process::Command as Program;

use caught::CaughtLog;
use common::{Phone, World, offer};
use warp_ng::{Command, Reply};

/// Offers of new calls; how many were refused.
fn refused(world: &World, calls: std::ops::Range<u32>) -> usize {
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    let ask = |n: u32| world.relay.control().ask(Command::Offer(offer(&format!("c{n}"), &sdp)));
    calls.filter(|n| !matches!(ask(*n), Reply::Sdp { .. })).count()
}

/// The only line since the last look that is about something that ran out.
fn only(log: &CaughtLog, what: &str) -> String {
    let lines = log.take();
    assert_eq!(lines.len(), 1, "{what}: {lines:#?}");
    assert!(lines[0].contains(what), "{what}: {lines:#?}");
    lines[0].clone()
}

#[test]
fn f_proc_07_what_a_relay_runs_out_of_is_one_line_and_counted_by_its_name() {
    let log = CaughtLog::of_program(tracing::Level::WARN);
    let counted =
        |world: &World, pool: &str| world.metric(&format!("warp_media_exhausted_total{{pool=\"{pool}\"}}"));

    // Eight ports are two calls.
    let world = World::new(|c| c.ports = 19_100..=19_107);
    assert_eq!(refused(&world, 0..30), 28);
    let line = only(&log, "media ports are exhausted");
    for fact in ["ERROR ", "used=4", "total=4", "resting=0", "times=1"] {
        assert!(line.contains(fact), "{fact}: {line}");
    }
    assert_eq!((counted(&world, "ports"), counted(&world, "descriptors")), (28.0, 0.0));
    drop(world);

    // Half of the ports are another program's: nothing rests.
    let taken: Vec<_> = (19_114..=19_117)
        .map(|port| std::net::UdpSocket::bind(("127.0.0.1", port)).expect("a free port"))
        .collect();
    let world = World::new(|c| c.ports = 19_110..=19_117);
    assert_eq!(refused(&world, 0..10), 9);
    let line = only(&log, "media ports are exhausted");
    for fact in ["used=2", "total=4", "resting=0", "elsewhere=2"] {
        assert!(line.contains(fact), "{fact}: {line}");
    }
    drop((world, taken));

    let world = World::new(|c| (c.ports, c.max_calls) = (19_200..=19_999, 3));
    assert_eq!(refused(&world, 0..30), 27);
    let line = only(&log, "media sessions are exhausted");
    assert!(line.contains("limit=3") && line.contains("calls=3"), "{line}");
    assert_eq!((counted(&world, "sessions"), counted(&world, "ports")), (27.0, 0.0));
    drop(world);

    // One call with ever more branches.
    let world = World::new(|c| c.ports = 19_200..=19_999);
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    let fork = |n: u32| {
        let mut c = offer("fork", &sdp);
        c.from_tag = format!("t{n}").into_bytes();
        c.via_branch = Some(format!("z9hG4bK{n}").into_bytes());
        matches!(world.relay.control().ask(Command::Offer(c)), Reply::LoadLimit { .. })
    };
    assert_eq!((0..80).filter(|n| fork(*n)).count(), 16, "64 branches");
    assert!(only(&log, "more branches than it may have").contains("limit=64"));
    assert_eq!(counted(&world, "branches"), 16.0);
    drop(world);

    // Ports are free, and sockets for them are not to be had.
    let world = World::new(|c| c.ports = 20_000..=31_999);
    assert_eq!(refused(&world, 0..3), 0);
    let soft = |limit: &str| {
        let pid = std::process::id().to_string();
        let done = Program::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status();
        assert!(done.expect("prlimit runs").success());
    };
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let control = world.relay.control();
    let offers: Vec<_> = (10..40).map(|n| Command::Offer(offer(&format!("d{n}"), &sdp))).collect();
    soft(&(open + 9).to_string());
    let refused = offers.into_iter().filter(|c| !matches!(control.ask(c.clone()), Reply::Sdp { .. })).count();
    soft("1024");
    assert!((20..30).contains(&refused), "{refused}");
    let line = only(&log, "no descriptors for media ports");
    assert!(line.contains("ulimit -n") && line.contains("ERROR "), "{line}");
    assert_eq!((counted(&world, "descriptors"), counted(&world, "ports")), (refused as f64, 0.0));
    // With descriptors it goes on.
    let again = control.ask(Command::Offer(offer("again", &sdp)));
    assert!(matches!(again, Reply::Sdp { .. }), "{again:?}");
}
