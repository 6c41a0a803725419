//! SIPp as a peer: one process per role, in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::poll_until;

/// UDP (`u1`) or TCP (`t1`), as SIPp's `-t` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A SIPp process and its folder.
pub struct Sipp {
    child: Child,
    dir: PathBuf,
    name: String,
}

/// What the calling side does.
pub struct Calls<'a> {
    /// File name under `loadtests/sipp`.
    pub scenario: &'a str,
    pub to: SocketAddr,
    pub local: SocketAddr,
    pub transport: Transport,
    pub caller: &'a str,
    pub called: &'a str,
    pub talk: Duration,
    pub count: u32,
    pub per_second: u32,
    /// Digest user and password.
    pub auth: Option<(&'a str, &'a str)>,
}

impl Sipp {
    /// A vendor that plays `scenario` for `count` calls; RTP is echoed on `media_port`.
    pub fn vendor(
        dir: &Path,
        scenario: &str,
        local: SocketAddr,
        transport: Transport,
        media_port: u16,
        count: u32,
    ) -> Sipp {
        let mut cmd = command(dir, scenario, "vendor", local, transport);
        cmd.args(["-mp", &media_port.to_string(), "-rtp_echo", "-m", &count.to_string()]);
        let sipp = spawn(cmd, dir, &format!("vendor-{}", local.port()));
        sipp.await_listening(local, transport);
        sipp
    }

    /// Places calls; await the end with [`Sipp::finish`].
    pub fn calls(dir: &Path, calls: &Calls<'_>) -> Sipp {
        let folder = dir.join(format!("customer-{}", calls.local.port()));
        std::fs::create_dir_all(&folder).expect("folder");
        std::fs::write(folder.join("voice.ulaw"), [0xFFu8; 16_000]).expect("voice");
        let mut cmd = command(dir, calls.scenario, "customer", calls.local, calls.transport);
        cmd.arg(calls.to.to_string())
            .args(["-s", calls.called, "-key", "caller", calls.caller])
            .args(["-d", &calls.talk.as_millis().to_string()])
            .args(["-m", &calls.count.to_string(), "-r", &calls.per_second.to_string()])
            .args(["-mp", &super::free_port().to_string()]);
        if let Some((user, password)) = calls.auth {
            cmd.args(["-au", user, "-ap", password]);
        }
        spawn(cmd, dir, &format!("customer-{}", calls.local.port()))
    }

    /// A phone that is at `contact` registers as `user` with the password `pw-USER`, for so many seconds; 0: no more.
    pub fn register(dir: &Path, to: SocketAddr, user: &str, contact: SocketAddr, expires: u32) -> Sipp {
        let local = SocketAddr::new(to.ip(), super::free_port());
        let mut cmd = command(dir, "register.xml", "phone", local, Transport::Udp);
        cmd.arg(to.to_string()).args([
            "-m",
            "1",
            "-au",
            user,
            "-ap",
            &format!("pw-{user}"),
            "-key",
            "user",
            user,
        ]);
        cmd.args(["-key", "contact", &contact.to_string(), "-key", "expires", &expires.to_string()]);
        spawn(cmd, dir, &format!("phone-{}", local.port()))
    }

    /// Waits for the end; panics with SIPp's own report when a call failed.
    pub fn finish(mut self, within: Duration) {
        let status = poll_until(within, || self.child.try_wait().expect("wait"));
        match status {
            Some(s) if s.success() => {}
            other => {
                let report = self.report();
                panic!("SIPp {}: {other:?} within {within:?}\n{report}", self.name);
            }
        }
    }

    /// True while it runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its screen and errors.
    pub fn report(&self) -> String {
        let folder = self.dir.join(&self.name);
        let mut text = super::tail(&folder.join("screen.log"));
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with("errors.log") {
                text.push_str(&super::tail(&entry.path()));
            }
        }
        text
    }

    fn await_listening(&self, local: SocketAddr, transport: Transport) {
        let (file, port) = match (transport, local.is_ipv6()) {
            (Transport::Udp, false) => ("/proc/net/udp", local.port()),
            (Transport::Udp, true) => ("/proc/net/udp6", local.port()),
            (Transport::Tcp, false) => ("/proc/net/tcp", local.port()),
            (Transport::Tcp, true) => ("/proc/net/tcp6", local.port()),
        };
        let wanted = format!(":{port:04X} ");
        let up = poll_until(Duration::from_secs(10), || {
            std::fs::read_to_string(file).unwrap_or_default().contains(&wanted).then_some(())
        });
        assert!(up.is_some(), "SIPp {} does not listen on {local}\n{}", self.name, self.report());
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, scenario: &str, role: &str, local: SocketAddr, transport: Transport) -> Command {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtests/sipp");
    let mut cmd = Command::new("sipp");
    cmd.arg("-sf")
        .arg(scenarios.join(scenario))
        .args(["-i", &local.ip().to_string(), "-p", &local.port().to_string()])
        .args(["-t", if transport == Transport::Udp { "u1" } else { "t1" }])
        .args(["-nostdin", "-trace_err", "-timeout", "60"])
        .current_dir(folder(dir, role, local.port()));
    cmd
}

fn folder(dir: &Path, role: &str, port: u16) -> PathBuf {
    let folder = dir.join(format!("{role}-{port}"));
    std::fs::create_dir_all(&folder).expect("folder");
    folder
}

fn spawn(mut cmd: Command, dir: &Path, name: &str) -> Sipp {
    let screen = std::fs::File::create(dir.join(name).join("screen.log")).expect("screen log");
    let child = cmd
        .stdin(Stdio::null())
        .stdout(screen.try_clone().expect("clone"))
        .stderr(screen)
        .spawn()
        .expect("sipp starts");
    Sipp { child, dir: dir.to_owned(), name: name.to_owned() }
}
