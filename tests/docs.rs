//! The commands of the documentation, run as a reader would run them: every `sh` block of the README and of `docs/`
//! against a living `warp dev`. What a test cannot run (another machine, a database of the reader) stands in a block of another
//! language.

mod stack;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stack::poll_until;
use stack::sipp::{Sipp, Transport};

/// `warp dev` in a folder of its own; ended politely, so that its PostgreSQL ends too.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        stack::signal_pid(self.0.id(), "INT");
        if poll_until(Duration::from_secs(15), || self.0.try_wait().ok().flatten()).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[test]
fn commands_of_the_docs_work() {
    let dir = tempfile::tempdir().expect("tempdir");
    let log = dir.path().join("dev.log");
    let out = std::fs::File::create(&log).expect("log");
    let child = Command::new(env!("CARGO_BIN_EXE_warp"))
        .arg("dev")
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("clone"))
        .stderr(out)
        .spawn()
        .expect("warp dev starts");
    let _dev = Dev(child);
    let up = poll_until(Duration::from_secs(60), || {
        std::fs::read_to_string(&log).ok().filter(|t| t.contains("✓ demo call 1")).map(|_| ())
    });
    assert!(up.is_some(), "no completed demo call:\n{}", stack::tail(&log));

    let bin = Path::new(env!("CARGO_BIN_EXE_warp")).parent().expect("folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A reader works in the checkout.
    std::os::unix::fs::symlink(root.join("loadtests"), dir.path().join("loadtests")).expect("link");
    let makefile = std::fs::read_to_string(root.join("Makefile")).expect("Makefile");
    let mut ran = 0;
    let mut by_northwind = false;
    for page in pages(root) {
        let text = std::fs::read_to_string(&page).expect("page");
        for block in blocks(&text) {
            if block.contains("\nsipp ") && !stack::have("sipp", "the quickstart's SIPp line") {
                continue;
            }
            let mut script = String::from(PREAMBLE);
            for line in block.lines() {
                // `make …` is what runs this test: the target must exist.
                if let Some(target) = line.strip_prefix("make ").and_then(|l| l.split_whitespace().next()) {
                    assert!(makefile.contains(&format!("\n{target}:")), "{}: make {target}", page.display());
                    continue;
                }
                script.push_str(line);
                script.push('\n');
            }
            let out = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &script])
                .env("PATH", &path)
                .current_dir(dir.path())
                .output()
                .expect("bash runs");
            assert!(
                out.status.success(),
                "{}:\n{block}\n--\n{}{}\n-- {}",
                page.display(),
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr),
                stack::tail(&log)
            );
            by_northwind |= String::from_utf8_lossy(&out.stdout).contains("Northwind Telecom is first of 1");
            ran += 1;
        }
    }
    assert!(ran >= 4, "only {ran} blocks found");
    assert!(by_northwind, "the first customer's call has no vendor");
    // What was made from nothing carries.
    let said = |args: &[&str]| {
        let mut warp = Command::new(env!("CARGO_BIN_EXE_warp"));
        let out = warp.args(args).current_dir(dir.path()).output().expect("warp runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let message = poll_until(Duration::from_secs(10), || {
        let list = said(&["messages", "list", "--customer", "Bakery"]);
        list.contains("358401234567").then_some(list)
    });
    assert!(message.is_some(), "no message of the bakery");
}

/// systemd understands each word of the unit, and finds it hardened: below 2.5 of 10, where 9.6 is a service that says nothing.
#[test]
fn the_unit_of_systemd_is_understood_and_hardened() {
    if !stack::have("systemd-analyze", "the_unit_of_systemd_is_understood_and_hardened") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = std::fs::read_to_string(root.join("deploy/systemd/warp.service")).expect("the unit");
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("warp.service");
    // It looks for the program.
    std::fs::write(&path, unit.replace("/usr/local/bin/warp", env!("CARGO_BIN_EXE_warp"))).expect("a copy");
    let ask = |args: &[&str]| {
        let out =
            Command::new("systemd-analyze").args(args).arg(&path).output().expect("systemd-analyze runs");
        let said =
            [&out.stdout[..], &out.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
        (out.status.success(), said)
    };
    let (good, said) = ask(&["verify"]);
    assert!(good && !said.contains("warp.service:"), "{said}");
    let (good, said) = ask(&["security", "--offline=true", "--threshold=25"]);
    assert!(good, "{said}");
}

/// The vendor of the quickstart: who asks whether it is there is told so, and the next call is answered as before.
#[test]
fn the_vendor_of_the_quickstart_answers_options_too() {
    if !stack::have("sipp", "the_vendor_of_the_quickstart_answers_options_too") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], stack::free_port()));
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", at, Transport::Udp, stack::free_port(), 10);
    let us = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    us.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let me = us.local_addr().expect("bound");
    let ask = |method: &str, call: u32| {
        let text = format!(
            "{method} sip:v@{at} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{call}{method}\r\nFrom: <sip:a@{me}>;tag=1\r\n\
             To: <sip:v@{at}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\nContact: <sip:a@{me}>\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n"
        );
        us.send_to(text.as_bytes(), at).expect("sent");
        let mut answer = [0; 4_096];
        let n = us.recv(&mut answer).unwrap_or_else(|why| panic!("no answer to {method}: {why}"));
        String::from_utf8_lossy(&answer[..n]).into_owned()
    };
    for call in [1, 2] {
        let answer = ask("OPTIONS", call);
        assert!(answer.starts_with("SIP/2.0 200 ") && answer.contains("1 OPTIONS"), "{answer}");
    }
    assert!(ask("INVITE", 3).starts_with("SIP/2.0 180 "));
}

/// What the pages leave open: `tail` ends after its first line, `call_…` is the newest call that there is. What a block has begun
/// in the background ends with it, also when the block fails.
const PREAMBLE: &str = r#"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
warp() {
    local last args=()
    last=$(command warp calls list --json | grep -o 'call_[0-9a-z]*' | head -n 1 || true)
    for a in "$@"; do args+=("${a/call_…/$last}"); done
    case "$*" in
        "calls tail"*) { timeout 20 "$(type -P warp)" "${args[@]}" || true; } | { read -r first && echo "$first"; } ;;
        # In the background: the job is the server itself, not a shell around it.
        serve* | launch*) exec "$(type -P warp)" "${args[@]}" ;;
        *) command warp "${args[@]}" ;;
    esac
}
"#;

fn pages(root: &Path) -> Vec<PathBuf> {
    let mut out = vec![root.join("README.md")];
    let mut open = vec![root.join("docs")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("docs") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// The `sh` blocks of a page.
fn blocks(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        match (&mut current, line) {
            (None, "```sh") => current = Some(String::new()),
            (Some(block), "```") => {
                out.push(std::mem::take(block));
                current = None;
            }
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    out
}
