//! Other people's programs as peers: found, started on loopback in a temporary folder, ended with the test.
#![allow(dead_code)] // each test file uses its part

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// True when a program is installed; otherwise prints the `skipped: …` line that the summary counts, or fails in CI.
pub fn has(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([std::path::PathBuf::from("/usr/sbin")])
        .any(|dir| dir.join(program).is_file());
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed");
        println!("skipped: {test}: {program} is not installed");
    }
    found
}

/// A running program; ended when dropped.
pub struct Program(Child);

impl Program {
    /// Starts it with its output thrown away.
    pub fn start(program: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Program(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}")))
    }

    /// Whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGTERM first: both programs have children that they end themselves.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let end = Instant::now() + Duration::from_secs(5);
        while self.is_running() && Instant::now() < end {
            std::thread::yield_now();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A UDP socket on a free loopback port that gives up reading after a short while.
pub fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// A UDP port that was free a moment ago.
pub fn free_port() -> u16 {
    socket().local_addr().unwrap().port()
}

/// Reads until `wanted` takes a datagram; panics with `what` when none comes.
pub fn wait_for<T>(
    socket: &UdpSocket,
    what: &str,
    mut wanted: impl FnMut(&[u8], SocketAddr) -> Option<T>,
) -> T {
    let end = Instant::now() + DEADLINE;
    let mut buffer = vec![0; 65_536];
    loop {
        assert!(Instant::now() < end, "never came: {what}");
        if let Ok((n, from)) = socket.recv_from(&mut buffer)
            && let Some(found) = wanted(&buffer[..n], from)
        {
            return found;
        }
    }
}

/// An RTP packet of 160 bytes of PCMU.
pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xFF; 160]);
    packet
}

/// The first `m=audio` port of an SDP (or a SIP message with one).
pub fn audio_port(text: &str) -> u16 {
    let rest = text.split("m=audio ").nth(1).unwrap_or_else(|| panic!("no audio in {text}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}
