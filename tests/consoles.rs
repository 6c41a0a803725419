//! The consoles in a real browser: Debian's Chromium walks both portals of a real `warp dev`, every page in light, dark and narrow, with
//! axe, then the journeys of `ui/e2e/journeys.mjs`. Screenshots are left in `target/ui`.

mod stack;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use stack::{poll_until, signal_pid, tail};

/// A demo world of its own.
struct Dev {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Dev {
    fn start() -> Dev {
        let dir = tempfile::tempdir().expect("tempdir");
        let log = dir.path().join("stderr.log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_warp"))
            .args(["dev", "--json", "--cps", "10"])
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
        let said: Option<serde_json::Value> = poll_until(Duration::from_secs(90), || {
            lines.try_recv().ok().and_then(|line| serde_json::from_str(&line).ok())
        });
        let said = said.unwrap_or_else(|| panic!("no banner\n{}", tail(&log)));
        let url = said["api"].as_str().expect("where the API is").trim_end_matches("/api/v1/").to_owned();
        Dev { child, url, _dir: dir }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        signal_pid(self.child.id(), "TERM");
        if poll_until(Duration::from_secs(20), || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Node.js that the consoles were built with; the reason why there can be no walk.
fn node() -> Result<PathBuf, &'static str> {
    let out = Command::new(root().join("scripts/ui"))
        .arg("node")
        .output()
        .map_err(|_| "scripts/ui does not run")?;
    if !out.status.success() {
        return Err("there is no Node.js of version 20.19 or newer");
    }
    if !root().join("ui/node_modules/playwright-core").is_dir() {
        return Err("the packages of ui/ are not installed");
    }
    let browsers = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    if std::env::var_os("CHROMIUM").is_none() && !browsers.iter().any(|at| Path::new(at).exists()) {
        return Err("there is no Chromium");
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))
}

fn get(url: &str) -> (u16, String, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(url).call().expect("an answer");
    let policy =
        answer.headers().get("content-security-policy").map_or("", |v| v.to_str().expect("text")).to_owned();
    (answer.status().as_u16(), policy, answer.body_mut().read_to_string().expect("a body"))
}

#[test]
fn t_web_01_a_browser_walks_both_portals_and_their_journeys() {
    let dev = Dev::start();
    // With or without the consoles in it, the program answers.
    let (status, policy, page) = get(&format!("{}/console/", dev.url));
    assert_eq!(status, 200);
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(
        get(&format!("{}/console/no-such.js", dev.url)).0,
        if page.contains("scripts/ui build") { 200 } else { 404 }
    );
    if page.contains("scripts/ui build") {
        println!("skipped: this program was built without the consoles (scripts/ui build)");
        return;
    }
    let node = match node() {
        Ok(node) => node,
        Err(why) => {
            println!("skipped: the walk through the consoles: {why}");
            return;
        }
    };
    let out = Command::new(node)
        .arg(root().join("ui/e2e/walk.mjs"))
        .arg(&dev.url)
        .arg(root().join("target/ui"))
        .output()
        .expect("node runs");
    let (said, faults) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    println!("{said}");
    assert!(out.status.success(), "{said}\n{faults}");
}
