//! A `warp dev` of a test's own, in a folder of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::{poll_until, signal_pid, tail};

/// A running demo world; it ends with this.
pub struct DevWorld {
    child: Child,
    /// Where the API and the consoles are: `http://127.0.0.1:8080`.
    pub url: String,
    /// Where the metrics are.
    pub metrics: String,
    _dir: tempfile::TempDir,
}

impl DevWorld {
    /// Starts it with so many demo calls a second, and waits until it is ready.
    pub fn start(cps: u32) -> DevWorld {
        let dir = tempfile::tempdir().expect("tempdir");
        let log = dir.path().join("stderr.log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_warp"))
            .args(["dev", "--json", "--cps", &cps.to_string()])
            .current_dir(dir.path())
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("log"))
            .spawn()
            .expect("warp dev starts");
        let stdout = child.stdout.take().expect("piped");
        let (tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tx.send(line);
            }
        });
        let said: Option<Value> = poll_until(Duration::from_secs(90), || {
            lines.try_recv().ok().and_then(|line| serde_json::from_str(&line).ok())
        });
        let said = said.unwrap_or_else(|| panic!("no banner\n{}", tail(&log)));
        let text =
            |name: &str| said[name].as_str().unwrap_or_else(|| panic!("no {name} in {said}")).to_owned();
        let url = text("api").trim_end_matches("/api/v1/").to_owned();
        DevWorld { child, url, metrics: text("metrics"), _dir: dir }
    }
}

impl Drop for DevWorld {
    fn drop(&mut self) {
        signal_pid(self.child.id(), "TERM");
        if poll_until(Duration::from_secs(20), || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
