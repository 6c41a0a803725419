//! The dashboards, rules and alerts of `deploy/`, asked of a real Prometheus that scrapes a real `warp dev`: each query is understood, each
//! metric in it exists, and each panel but those that show faults only has something to show. The rules have unit tests of promtool.

mod stack;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use stack::dev::DevWorld;
use stack::{have, poll_until, signal_pid, tail};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn run(program: &str, args: &[&str], dir: &Path) -> Output {
    Command::new(program).args(args).current_dir(dir).output().expect("it runs")
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Title and query of each target of each panel of each dashboard.
fn panels() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(deploy().join("grafana")).expect("deploy/grafana") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let board: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("readable")).expect("JSON");
        let name = board["title"].as_str().expect("a title").to_owned();
        for panel in board["panels"].as_array().expect("panels") {
            let title = format!("{name}: {}", panel["title"].as_str().expect("a title"));
            assert!(panel["description"].as_str().is_some_and(|d| d.ends_with('.')), "{title}: says nothing");
            assert!(!panel["fieldConfig"]["defaults"]["unit"].is_null(), "{title}: has no unit");
            let link = panel["links"][0]["url"].as_str().unwrap_or_default();
            assert!(link.starts_with("${console}/admin"), "{title}: leads nowhere");
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
                all.push((title.clone(), target["expr"].as_str().expect("a query").replace("$trunk", ".*")));
            }
        }
    }
    all
}

/// The queries of a file of rules: what stands behind `expr:`.
fn rules(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(deploy().join("prometheus").join(file)).expect("readable");
    let quoted = |expr: &str| match expr.strip_prefix('\'').and_then(|e| e.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => expr.to_owned(),
    };
    let exprs = text.lines().filter_map(|line| line.trim().strip_prefix("expr: ").map(quoted));
    exprs.map(|expr| (file.to_owned(), expr)).collect()
}

/// The names of metrics in a query.
fn metrics_of(expr: &str) -> BTreeSet<&str> {
    expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|w| w.starts_with("warp_") || w.starts_with("warp:") || w.starts_with("process_"))
        .collect()
}

struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    fn start(dir: &Path, target: &str) -> Prometheus {
        let rules = deploy().join("prometheus");
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files:\n  - {rules}/rules.yml\n  - {rules}/alerts.yml\n\
             scrape_configs:\n  - job_name: warp\n    static_configs:\n      - targets: [\"{target}\"]\n",
            rules = rules.display()
        );
        std::fs::write(dir.join("prometheus.yml"), config).expect("writable");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("prometheus.log")).expect("log"))
            .spawn()
            .expect("prometheus starts");
        Prometheus { child, url: format!("http://127.0.0.1:{port}") }
    }

    /// How many series the answer has. Errors: what Prometheus says of the query.
    fn ask(&self, expr: &str) -> Result<usize, String> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let answer = agent.get(format!("{}/api/v1/query", self.url)).query("query", expr).call();
        let text = answer.and_then(|mut a| a.body_mut().read_to_string()).map_err(|e| e.to_string())?;
        let value: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        if value["status"] != "success" {
            return Err(value["error"].to_string());
        }
        Ok(value["data"]["result"].as_array().map_or(0, Vec::len))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        signal_pid(self.child.id(), "TERM");
        if poll_until(Duration::from_secs(10), || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn each_alert_fires_and_is_silent_where_it_should_and_has_a_runbook() {
    let alerts = std::fs::read_to_string(deploy().join("prometheus/alerts.yml")).expect("alerts");
    let tests = std::fs::read_to_string(deploy().join("prometheus/tests.yml")).expect("tests");
    let names: Vec<&str> = alerts.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        let runbook = deploy().join(format!("../docs/runbooks/{name}.md"));
        let text = std::fs::read_to_string(&runbook).unwrap_or_default();
        assert!(text.contains("## Look") && text.contains("## Do"), "{name}: no runbook");
        assert!(
            alerts.contains(&format!("runbook_url: docs/runbooks/{name}.md")),
            "{name}: does not name it"
        );
        for case in ["fires", "is silent"] {
            assert!(
                tests.contains(&format!("name: {name} {case}\n")),
                "{name}: nothing proves that it {case}"
            );
        }
    }
    if !have("promtool", "rules_are_tested_by_promtool") {
        return;
    }
    let dir = deploy().join("prometheus");
    for args in [
        &["check", "rules", "rules.yml", "alerts.yml"][..],
        &["test", "rules", "tests.yml"],
        &["check", "config", "prometheus.yml"],
    ] {
        let out = run("promtool", args, &dir);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
    }
}

#[test]
fn dashboards_are_what_their_maker_writes() {
    if !have("python3", "dashboards_are_made_again") {
        return;
    }
    let out = run("python3", &["make.py", "--check"], &deploy().join("grafana"));
    assert!(out.status.success(), "{}", said(&out));
}

#[test]
fn every_query_is_answered_by_a_prometheus_that_scrapes_the_demo_world() {
    if !have("prometheus", "queries_are_asked_of_prometheus") {
        return;
    }
    let dev = DevWorld::start(20);
    let dir = tempfile::tempdir().expect("tempdir");
    let target = dev.metrics.trim_start_matches("http://").trim_end_matches("/metrics");
    let prometheus = Prometheus::start(dir.path(), target);
    let log = dir.path().join("prometheus.log");
    let (panels, mut all) = (panels(), panels());
    all.extend(rules("rules.yml"));
    all.extend(rules("alerts.yml"));
    assert!(panels.len() > 60 && all.len() > panels.len() + 25, "{} of {}", panels.len(), all.len());

    // Understood, whatever there is yet.
    let up = poll_until(Duration::from_secs(30), || prometheus.ask("up == 1").ok().filter(|n| *n == 1));
    assert!(up.is_some(), "Prometheus does not see the node\n{}", tail(&log));
    for (of, expr) in &all {
        if let Err(why) = prometheus.ask(expr) {
            panic!("{of}: {expr}: {why}");
        }
    }
    // Every metric that a query names exists, the recorded ones too.
    let names: BTreeSet<&str> = all.iter().flat_map(|(_, expr)| metrics_of(expr)).collect();
    let mut missing: Vec<&str> = names.into_iter().collect();
    let found = poll_until(Duration::from_secs(90), || {
        missing.retain(|name| prometheus.ask(&format!("count({name})")) == Ok(0));
        missing.is_empty().then_some(())
    });
    assert!(found.is_some(), "no such metric: {missing:?}\n{}", tail(&log));
    // Every panel has something to show, but those that show only what is wrong.
    let mut empty: Vec<&(String, String)> = panels.iter().filter(|(_, e)| !e.ends_with("== 0")).collect();
    let shown = poll_until(Duration::from_secs(60), || {
        empty.retain(|(_, expr)| prometheus.ask(expr) == Ok(0));
        empty.is_empty().then_some(())
    });
    assert!(shown.is_some(), "nothing to show: {empty:#?}");
}
