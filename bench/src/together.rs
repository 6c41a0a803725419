//! One build with many changes, and the tests once for each of them: what `make mutants` does first, because building is what
//! takes the time. A change that has no switch, or does not compile behind one, has no outcome here and is built alone.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::switches::{Change, MODULE, switch_before, switched};

/// What the tests said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A test failed, as it should.
    Caught,
    /// The tests came to no end.
    TimedOut,
    /// Every test passed: nobody noticed the change.
    Missed,
}

/// A change as `cargo mutants --list --json` gives it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// With line and column.
    pub name: String,
    /// From the workspace's root.
    pub file: String,
    /// The change itself: genre, place, replacement.
    pub change: Change,
}

impl Listed {
    /// Reads one entry of the list; its switch is `number`.
    pub fn of(entry: &Value, number: u32) -> Option<Listed> {
        let start = entry.pointer("/span/start")?;
        let at = |key: &str| start.get(key)?.as_u64()?.try_into().ok();
        Some(Listed {
            name: entry.get("name")?.as_str()?.to_owned(),
            file: entry.get("file")?.as_str()?.to_owned(),
            change: Change {
                number,
                genre: entry.get("genre")?.as_str()?.to_owned(),
                start: (at("line")?, at("column")?),
                replacement: entry.get("replacement")?.as_str()?.to_owned(),
            },
        })
    }
}

/// Where and what to build.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Folder of the changed copy of the work tree.
    pub tree: PathBuf,
    /// Folder of what is built.
    pub build: PathBuf,
    /// The root file of the changed crate.
    pub root: &'a str,
    /// The packages whose tests run.
    pub packages: &'a [&'a str],
}

/// A test program, with the time that it takes when nothing is changed.
struct Program {
    path: PathBuf,
    folder: PathBuf,
    usual: Duration,
}

/// Builds all changes at once and runs the tests for each: name → outcome.
///
/// # Errors
/// The tree cannot be copied or built, or a test fails though nothing is changed.
pub fn run(plan: &Plan<'_>, changes: &[Listed]) -> Result<BTreeMap<String, Outcome>, String> {
    let mut open: Vec<&Listed> = changes.iter().collect();
    let mut programs = loop {
        let texts = write(plan, &mut open)?;
        if open.is_empty() {
            return Ok(BTreeMap::new());
        }
        match build(plan, &texts)? {
            Built::Programs(programs) => break programs,
            Built::Refused(numbers) => open.retain(|c| !numbers.contains(&c.change.number)),
            // An error before the first switch of its file, by what a later one made of a type: all of that file go.
            Built::Unclear(files, why) => {
                let all = open.len();
                open.retain(|c| !files.contains(&c.file));
                if open.len() == all {
                    return Err(why);
                }
            }
        }
    };
    eprintln!("{} of {} changes stand behind switches", open.len(), changes.len());
    for program in &mut programs {
        let begun = Instant::now();
        let (outcome, failed) = program.run(0, Duration::from_secs(900), &[]);
        program.usual = begun.elapsed();
        // What fails on a busy machine must pass alone, as a change must fail alone.
        if outcome != Outcome::Missed
            && (failed.is_empty() || program.run(0, Duration::from_secs(900), &failed).0 != Outcome::Missed)
        {
            let (path, names) = (program.path.display(), failed.join(" "));
            return Err(format!("{path} fails though nothing is changed: {names}"));
        }
    }
    programs.sort_by_key(|p| p.usual);
    let mut outcomes = BTreeMap::new();
    for (at, listed) in open.iter().enumerate() {
        let number = listed.change.number;
        let outcome = programs
            .iter()
            .map(|p| p.run_twice(number, p.usual * 3 + Duration::from_secs(30)))
            .find(|o| *o != Outcome::Missed)
            .unwrap_or(Outcome::Missed);
        eprintln!("{}/{} {outcome:?} {}", at + 1, open.len(), listed.name);
        outcomes.insert(listed.name.clone(), outcome);
    }
    Ok(outcomes)
}

/// Writes the tree with its switches; changes that can have none leave `open`. Gives the changed files' texts.
fn write(plan: &Plan<'_>, open: &mut Vec<&Listed>) -> Result<BTreeMap<String, String>, String> {
    let out = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "-z"])
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    let mut by_file: BTreeMap<&str, Vec<Change>> = BTreeMap::new();
    for listed in open.iter() {
        by_file.entry(&listed.file).or_default().push(listed.change.clone());
    }
    link_peers(&plan.tree)?;
    let mut left = Vec::new();
    let mut texts = BTreeMap::new();
    for file in out.stdout.split(|b| *b == 0) {
        let Ok(file) = std::str::from_utf8(file) else { continue };
        let Ok(mut bytes) = std::fs::read(file) else { continue };
        let changes = by_file.get(file);
        if changes.is_some() || file == plan.root {
            let mut text = String::from_utf8(bytes).map_err(|_| format!("{file}: no UTF-8"))?;
            if let Some(changes) = changes {
                let done = switched(&text, changes).map_err(|e| format!("{file}: {e}"))?;
                text = done.text;
                left.extend(done.left);
            }
            if file == plan.root {
                text.push_str(MODULE);
            }
            texts.insert(file.to_owned(), text.clone());
            bytes = text.into_bytes();
        }
        let to = plan.tree.join(file);
        // What stays as it was keeps its time, so that it is not built again.
        if std::fs::read(&to).ok().as_ref() != Some(&bytes) {
            let folder = to.parent().unwrap_or(&plan.tree);
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&to, &bytes))
                .and_then(|()| std::fs::set_permissions(&to, std::fs::metadata(file)?.permissions()))
                .map_err(|e| format!("{}: {e}", to.display()))?;
        }
    }
    open.retain(|c| !left.contains(&c.change.number));
    Ok(texts)
}

/// The copy finds the peers that `scripts/bootstrap test` fetched where a work tree has them; without them a test would skip
/// itself, and notice nothing.
fn link_peers(tree: &Path) -> Result<(), String> {
    let (from, to) = (Path::new("target/peers"), tree.join("target/peers"));
    if !from.is_dir() || to.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(tree.join("target"))
        .and_then(|()| std::os::unix::fs::symlink(std::path::absolute(from)?, &to))
        .map_err(|e| format!("{}: {e}", to.display()))
}

/// The features that `make test` builds these packages with: a change in code that was left out would be noticed by nobody.
pub fn features(packages: &[&str]) -> Vec<String> {
    let with_kafka = ["warp-events", "warp-control-plane", "warp-platform"];
    let of = |p: &&&str| with_kafka.contains(*p);
    packages.iter().filter(of).map(|p| format!("--features={p}/kafka")).collect()
}

enum Built {
    Programs(Vec<Program>),
    /// Does not compile, because of these.
    Refused(BTreeSet<u32>),
    /// Does not compile, and the compiler points at no switch: the files that it names, and what it says.
    Unclear(BTreeSet<String>, String),
}

fn build(plan: &Plan<'_>, texts: &BTreeMap<String, String>) -> Result<Built, String> {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--no-run", "--profile", "ci", "--message-format", "json"])
        .current_dir(&plan.tree)
        .env("CARGO_TARGET_DIR", &plan.build)
        .env("CARGO_INCREMENTAL", "1");
    for package in plan.packages {
        command.args(["-p", package]);
    }
    command.args(features(plan.packages));
    let out = command.output().map_err(|e| format!("cargo test: {e}"))?;
    let mut programs = Vec::new();
    let mut refused = BTreeSet::new();
    // Where the errors are and how the compiler words them, for those that stand behind no switch.
    let (mut files, mut other) = (BTreeSet::new(), String::new());
    for line in out.stdout.split(|b| *b == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { continue };
        match message["reason"].as_str() {
            Some("compiler-artifact") if message["profile"]["test"] == true => {
                if let (Some(path), Some(manifest)) =
                    (message["executable"].as_str(), message["manifest_path"].as_str())
                {
                    programs.push(Program {
                        path: path.into(),
                        folder: Path::new(manifest).parent().unwrap_or(&plan.tree).to_owned(),
                        usual: Duration::ZERO,
                    });
                }
            }
            Some("compiler-message") if message["message"]["level"] == "error" => {
                refused.extend(blamed(&message["message"], texts));
                let spans = message["message"]["spans"].as_array();
                let names = spans.into_iter().flatten().filter_map(|s| s["file_name"].as_str());
                files.extend(names.map(str::to_owned));
                other += message["message"]["rendered"].as_str().unwrap_or_default();
            }
            _ => {}
        }
    }
    if out.status.success() {
        return Ok(Built::Programs(programs));
    }
    if refused.is_empty() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Ok(Built::Unclear(files, format!("cargo test: {other}{said}")));
    }
    eprintln!("{} changes do not compile", refused.len());
    Ok(Built::Refused(refused))
}

/// The switch that an error of the compiler is about.
fn blamed(message: &Value, texts: &BTreeMap<String, String>) -> Option<u32> {
    let mut spans: Vec<&Value> = message["spans"].as_array()?.iter().collect();
    spans.sort_by_key(|s| s["is_primary"] != true);
    spans.iter().find_map(|span| {
        let text = texts.get(span["file_name"].as_str()?)?;
        let at = |key: &str| usize::try_from(span[key].as_u64()?).ok();
        switch_before(text, at("byte_start")?).or_else(|| switch_before(text, at("byte_end")?))
    })
}

impl Program {
    /// With one change on. What fails must fail again, alone: a machine that does other work makes a test fail by chance, and
    /// that notices no change.
    fn run_twice(&self, number: u32, at_most: Duration) -> Outcome {
        match self.run(number, at_most, &[]) {
            (Outcome::Missed, _) => Outcome::Missed,
            (Outcome::TimedOut, _) => self.run(number, at_most * 2, &[]).0,
            (Outcome::Caught, failed) => match self.run(number, at_most, &failed).0 {
                Outcome::Missed => {
                    eprintln!("failed once only: {}", failed.join(" "));
                    self.run(number, at_most, &[]).0
                }
                again => again,
            },
        }
    }

    /// With one change on (0: none), the named tests or all; and the tests that failed.
    fn run(&self, number: u32, at_most: Duration, only: &[String]) -> (Outcome, Vec<String>) {
        let said = self.path.with_extension(format!("said-{}", std::process::id()));
        let Ok(out) = std::fs::File::create(&said) else { return (Outcome::TimedOut, Vec::new()) };
        // A change may ask for memory without end; a browser reserves places without end, which costs nothing.
        let child = Command::new("sh")
            .args(["-c", "ulimit -d 12000000; exec \"$0\" -q \"$@\""])
            .arg(&self.path)
            .args(only)
            .args((!only.is_empty()).then_some("--exact"))
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("WARP_MUTANT", number.to_string())
            .env("PROPTEST_CASES", "64")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let Ok(mut child) = child else { return (Outcome::Caught, Vec::new()) };
        let begun = Instant::now();
        let outcome = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break Outcome::Missed,
                Ok(Some(_)) | Err(_) => break Outcome::Caught,
                Ok(None) if begun.elapsed() > at_most => break Outcome::TimedOut,
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if outcome != Outcome::Missed {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
            let _ = child.wait();
        }
        let text = std::fs::read(&said).unwrap_or_default();
        let _ = std::fs::remove_file(&said);
        (outcome, failed_tests(&String::from_utf8_lossy(&text)))
    }
}

/// The names under the last `failures:` of what a test program printed.
fn failed_tests(said: &str) -> Vec<String> {
    let Some((_, list)) = said.rsplit_once("\nfailures:\n") else { return Vec::new() };
    let names = list.lines().map_while(|l| l.strip_prefix("    "));
    names.filter(|n| !n.contains(' ')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_built_with_the_features_of_the_whole_test() {
        assert_eq!(features(&["warp-sip", "warp-events"]), ["--features=warp-events/kafka"]);
        let script = include_str!("../../scripts/test");
        assert!(script.contains("--features kafka"), "{script}");
    }

    #[test]
    fn the_tests_that_failed_are_those_of_the_last_list() {
        let said = "running 3 tests\n..F\nfailures:\n\n---- a::b stdout ----\n    printed by a test\n\nfailures:\n    a::b\n    c\n\ntest result: FAILED. 1 passed\n";
        assert_eq!(failed_tests(said), ["a::b", "c"]);
        assert_eq!(failed_tests("running 1 test\n.\ntest result: ok.\n"), Vec::<String>::new());
    }
}
