//! The consoles in a real browser: Debian's Chromium walks both portals of a real `warp dev`, every page in light, dark and narrow, with
//! axe, then the journeys of `ui/e2e/journeys.mjs`. Screenshots are left in `target/ui`.

mod stack;

use std::path::{Path, PathBuf};
use std::process::Command;

use stack::dev::DevWorld;

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
    let dev = DevWorld::start(10);
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
