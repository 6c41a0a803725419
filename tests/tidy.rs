//! The house rules as a test: who may import whom, which words a core may not contain, how long a file may grow.
//!
//! The import table is ARCHITECTURE-GUIDE §3. A package without a row fails, so that a new room states its walls first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/help.rs"]
mod help;
#[path = "tidy/timers.rs"]
mod timers;
#[path = "tidy/walls.rs"]
mod walls;

/// One package's walls.
struct Row {
    package: &'static str,
    /// What of ours it may import directly.
    may: &'static [&'static str],
    /// What it must not link, even through others.
    never: &'static [&'static str],
}

/// What a core must not link.
const CORE: &[&str] = &["tokio", "mio", "socket2", "sqlx", "axum", "ureq", "rand", "getrandom"];
/// What an adapter must not link: it carries bytes or model values.
const ADAPTER: &[&str] = &["warp-sip", "warp-sdp", "warp-ng", "warp-media", "warp-policy"];

const M: &str = "warp-model";
const ROWS: &[Row] = &[
    Row { package: M, may: &[], never: CORE },
    Row { package: "warp-sip", may: &[M], never: CORE },
    Row { package: "warp-sdp", may: &[M], never: CORE },
    Row { package: "warp-media", may: &[M], never: CORE },
    Row { package: "warp-ng", may: &[M], never: CORE },
    // The handshake of DTLS: a library that draws randomness by itself.
    Row {
        package: "warp-dtls",
        may: &[M, "warp-media"],
        never: &["tokio", "mio", "socket2", "sqlx", "axum"],
    },
    Row { package: "warp-smpp", may: &[M], never: CORE },
    Row { package: "warp-policy", may: &[M], never: CORE },
    Row { package: "warp-telemetry", may: &[M], never: ADAPTER },
    Row { package: "warp-net", may: &[M, "warp-telemetry"], never: ADAPTER },
    Row { package: "warp-events", may: &[M, "warp-telemetry"], never: ADAPTER },
    Row { package: "warp-feed", may: &[M, "warp-telemetry"], never: ADAPTER },
    Row { package: "warp-state", may: &[M, "warp-telemetry"], never: ADAPTER },
    // It reads messages of calls by the one parser there is, and decides nothing about them.
    Row {
        package: "warp-capture",
        may: &[M, "warp-sip", "warp-telemetry"],
        never: &["warp-sdp", "warp-ng", "warp-media", "warp-policy", "sqlx"],
    },
    Row {
        package: "warp-sip-proxy",
        may: &[
            M,
            "warp-sip",
            "warp-sdp",
            "warp-ng",
            "warp-policy",
            "warp-net",
            "warp-events",
            "warp-feed",
            "warp-state",
            "warp-capture",
            "warp-telemetry",
        ],
        never: &["warp-media", "sqlx", "warp-media-relay", "warp-control-plane"],
    },
    Row {
        package: "warp-media-relay",
        may: &[
            M,
            "warp-sdp",
            "warp-media",
            "warp-dtls",
            "warp-ng",
            "warp-net",
            "warp-events",
            "warp-telemetry",
        ],
        never: &["warp-policy", "warp-feed", "warp-sip", "sqlx", "warp-sip-proxy", "warp-control-plane"],
    },
    Row {
        package: "warp-smsc",
        may: &[M, "warp-smpp", "warp-policy", "warp-net", "warp-events", "warp-feed", "warp-telemetry"],
        never: &[
            "warp-sip",
            "warp-sdp",
            "warp-media",
            "warp-ng",
            "sqlx",
            "warp-sip-proxy",
            "warp-media-relay",
            "warp-control-plane",
        ],
    },
    Row {
        package: "warp-control-plane",
        may: &[M, "warp-policy", "warp-smpp", "warp-events", "warp-feed", "warp-telemetry"],
        never: &[
            "warp-sip",
            "warp-sdp",
            "warp-media",
            "warp-ng",
            "warp-net",
            "warp-sip-proxy",
            "warp-media-relay",
        ],
    },
    // Test worlds: whatever they exercise.
    Row {
        package: "warp-sim",
        may: &[M, "warp-sip", "warp-sdp", "warp-ng", "warp-policy", "warp-media", "warp-sip-proxy"],
        never: &["sqlx"],
    },
    // The demo user agent: protocol cores and the I/O crate, no business.
    Row {
        package: "warp-ua",
        may: &[M, "warp-sip", "warp-sdp", "warp-media", "warp-net"],
        never: &["warp-policy", "sqlx", "axum"],
    },
    Row {
        package: "warp-bench",
        may: &[M, "warp-sip", "warp-sdp", "warp-media", "warp-ng", "warp-policy"],
        never: &["sqlx", "axum"],
    },
    Row {
        package: "warp-loadtests",
        may: &[M, "warp-sip", "warp-sdp", "warp-media", "warp-ng", "warp-smpp", "warp-net", "warp-ua"],
        never: &["sqlx", "warp-sip-proxy", "warp-media-relay", "warp-smsc", "warp-control-plane"],
    },
    Row {
        package: "warp-platform",
        may: &[
            M,
            "warp-net",
            "warp-events",
            "warp-feed",
            "warp-state",
            "warp-capture",
            "warp-telemetry",
            "warp-policy",
            "warp-ng",
            "warp-sip-proxy",
            "warp-media-relay",
            "warp-smpp",
            "warp-smsc",
            "warp-control-plane",
            "warp-ua",
        ],
        never: &[],
    },
];

/// Folders whose code is pure.
const PURE: &[&str] = &[
    "crates/model/src",
    "crates/sip/src",
    "crates/sdp/src",
    "crates/media/src",
    "crates/ng/src",
    "crates/smpp/src",
    "crates/policy/src",
    "sip-proxy/src/core",
    "media-relay/src/core",
    "smsc/src/core",
];
const IMPURE_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "tokio::",
    "thread::spawn",
    "thread::sleep",
    "thread_rng",
    "rand::rng",
    "getrandom",
    "lazy_static",
    "static mut",
];

/// Files that may be longer than [`MAX_LINES`], with the reason.
const LONG_FILES: &[(&str, &str)] = &[];
const MAX_LINES: usize = 800;

#[test]
fn imports_follow_the_table() {
    let meta = metadata();
    let graph = normal_deps(&meta);
    let members: BTreeSet<&str> = meta["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|p| p["source"].is_null())
        .map(|p| p["name"].as_str().expect("name"))
        .collect();
    let mut faults = Vec::new();
    for member in &members {
        let Some(row) = ROWS.iter().find(|r| r.package == *member) else {
            faults.push(format!("{member} has no row in the import table"));
            continue;
        };
        for dep in graph[*member].iter().filter(|d| members.contains(d.as_str())) {
            if !row.may.contains(&dep.as_str()) {
                faults.push(format!("{member} may not import {dep}"));
            }
        }
        let mut linked = BTreeSet::new();
        let mut open = vec![*member];
        while let Some(at) = open.pop() {
            for dep in graph.get(at).into_iter().flatten() {
                if linked.insert(dep.as_str()) {
                    open.push(dep);
                }
            }
        }
        let is_linked = |ban: &str| linked.iter().any(|l| l.split(' ').next() == Some(ban));
        for ban in row.never.iter().filter(|b| is_linked(b)) {
            faults.push(format!("{member} links {ban}, if only through others"));
        }
    }
    for row in ROWS.iter().filter(|r| !members.contains(r.package)) {
        faults.push(format!("the import table has a row for {}, which does not exist", row.package));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn cores_are_pure() {
    let mut faults = Vec::new();
    for (path, text) in PURE.iter().flat_map(|folder| sources(&root().join(folder))) {
        for (n, line) in code_lines(&text) {
            for word in IMPURE_WORDS.iter().filter(|w| line.contains(**w)) {
                faults.push(format!("{}:{n}: `{word}` inside a core", show(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// RFC 0006: what is lent is held by one guard type, `model::Lent`, so that a core has one `Drop`. The secret's wipes memory and
/// returns nothing.
#[test]
fn g_1_the_cores_have_one_drop() {
    let known = ["crates/model/src/lent.rs", "crates/model/src/secret.rs"];
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in PURE.iter().flat_map(|folder| sources(&root().join(folder))) {
        let shown = show(&path);
        for (n, line) in code_lines(&text) {
            let code = line.trim_start();
            if !(code.starts_with("impl") && (code.contains(" Drop for ") || code.contains("::Drop for "))) {
                continue;
            }
            match known.iter().find(|k| **k == shown) {
                Some(known) => drop(seen.insert(*known)),
                None => faults.push(format!("{shown}:{n}: what is lent goes back by `warp_model::GiveBack`")),
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert_eq!(seen.len(), known.len(), "a `Drop` moved: {seen:?}");
}

/// RFC 0012: `api` maps HTTP to `app`, `app` knows no HTTP and no SQL, `store` alone speaks it.
#[test]
fn use_cases_know_no_http_and_only_the_store_knows_sql() {
    let words = |shown: &str| -> &[&str] {
        if shown.starts_with("control-plane/src/app/") {
            &["axum", "http::", "StatusCode", "HeaderMap", "crate::api", "sqlx", "PgRow"]
        } else if shown.starts_with("control-plane/src/store/") {
            &["axum", "StatusCode", "HeaderMap", "crate::api"]
        } else if shown.starts_with("control-plane/src/") {
            &["sqlx", "PgRow"]
        } else {
            &[]
        }
    };
    let mut faults = Vec::new();
    for (path, text) in sources(&root().join("control-plane/src")) {
        let shown = show(&path);
        for (n, line) in code_lines(&text) {
            for word in words(&shown).iter().filter(|w| line.contains(**w)) {
                faults.push(format!("{shown}:{n}: `{word}` on the wrong side of the wall"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_core_forbids_clocks_and_sockets_to_clippy_too() {
    for core in ["model", "sip", "sdp", "media", "ng", "smpp", "policy"] {
        let path = root().join("crates").join(core).join("clippy.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for word in ["Instant::now", "SystemTime::now", "UdpSocket", "TcpStream"] {
            assert!(text.contains(word), "{}: does not forbid {word}", show(&path));
        }
    }
}

#[test]
fn files_know_their_room_and_stay_short() {
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        if !text.trim_start().starts_with("//!") {
            faults.push(format!("{shown}: begins without a `//!` that says what lives there"));
        }
        let lines = text.lines().count();
        let excused = LONG_FILES.iter().any(|(p, _)| *p == shown);
        if lines > MAX_LINES && !excused {
            faults.push(format!("{shown}: {lines} lines; split it, or list it with a reason"));
        }
        if lines <= MAX_LINES && excused {
            faults.push(format!("{shown}: no longer long, take it off the list"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    // Put together here, so that this file does not contain what it looks for.
    let words = [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["#[ig", "nore"].concat()];
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        for (n, line) in code_lines(&text) {
            for word in words.iter().filter(|w| line.contains(w.as_str())) {
                faults.push(format!("{}:{n}: {word}", show(&path)));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// G-6: the word stands in `crates/net` only, and every other library forbids it in so many words.
/// Words that may stand in one file of the products only, because elsewhere they would give one thing a second meaning.
const AT_HOME: &[(&str, &str)] = &[
    (".is_private()", "crates/model/src/net.rs"),
    (".is_broadcast()", "crates/model/src/net.rs"),
    (".is_link_local()", "crates/model/src/net.rs"),
    (".is_unicast_link_local()", "crates/model/src/net.rs"),
    (".is_unique_local()", "crates/model/src/net.rs"),
    (".is_unspecified() || ", "crates/model/src/net.rs"),
    ("0xBF58_476D_1CE4_E5B9", "crates/model/src/hash.rs"),
    ("0xCBF2_9CE4_8422_2325", "crates/model/src/hash.rs"),
];

#[test]
fn what_has_one_meaning_stands_in_one_place() {
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        let name = show(&path);
        if !name.contains("src/") || name.starts_with("bench/") || name.starts_with("loadtests/") {
            continue;
        }
        for (n, line) in code_lines(&text) {
            let astray = AT_HOME.iter().filter(|(word, home)| line.contains(word) && name != *home);
            faults.extend(astray.map(|(word, home)| format!("{name}:{n}: `{word}` belongs into {home}")));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The answer's type is not the row (issue of the third wall): `api` names no row of `store`, but those of kept answers.
#[test]
fn answers_of_the_api_are_not_rows() {
    let dir = root().join("control-plane/src/api");
    let named = |text: &str| {
        let words =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect::<Vec<_>>();
        words.into_iter().any(|w| w.len() > 3 && w.ends_with("Row"))
    };
    let found: Vec<String> = sources(&dir)
        .into_iter()
        .filter(|(path, _)| !path.ends_with("idempotency.rs"))
        .flat_map(|(path, text)| {
            let lines: Vec<String> = code_lines(&text)
                .filter(|(_, line)| named(line))
                .map(|(n, line)| format!("{}:{n}: {}", show(&path), line.trim()))
                .collect();
            lines
        })
        .collect();
    assert!(named("    let kept = KeptRow {") && !named("// Row-level"), "the rule sees a row");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn g_6_unsafe_code_lives_in_the_io_crate_only() {
    let word = ["un", "safe "].concat();
    let forms = [format!("{word}{{"), format!("{word}fn"), format!("{word}impl")];
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        if shown.starts_with("crates/net/") {
            continue;
        }
        for (n, line) in code_lines(&text) {
            if forms.iter().any(|f| line.contains(f.as_str())) {
                faults.push(format!("{shown}:{n}: outside crates/net"));
            }
        }
        if shown.ends_with("src/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{shown}: does not forbid it"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_oracle_parser_appears_in_tests_only() {
    let word = ["rs", "ip::"].concat();
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        if shown.contains("/tests/") || shown.starts_with("tests/") {
            continue;
        }
        for (n, line) in code_lines(&text) {
            assert!(!line.contains(&word), "{shown}:{n}: the oracle parser outside tests");
        }
    }
}

#[test]
fn tests_wait_for_conditions() {
    let words = [["thread::", "sleep("].concat(), ["time::", "sleep("].concat()];
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        if !(shown.contains("/tests/") || shown.starts_with("tests/")) {
            continue;
        }
        for (n, line) in code_lines(&text) {
            // A helper that polls for a condition says so on the line.
            if words.iter().any(|w| line.contains(w.as_str())) && !line.contains("// poll") {
                faults.push(format!("{shown}:{n}: a sleep; wait for a condition"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// RFC 0010: what carries messages knows no call, and static proxying is a third thing beside the two.
#[test]
fn transactions_know_no_call() {
    let rooms = ["transactions", "table", "answer", "forward", "reject", "timers", "admission", "proxying"];
    for room in rooms {
        let path = root().join(format!("sip-proxy/src/core/{room}.rs"));
        let text = std::fs::read_to_string(&path).expect("a room of the SIP core");
        for (n, line) in code_lines(&text) {
            let knows =
                ["super::call::", "super::calls::", "super::{call", "Calls"].iter().any(|w| line.contains(w));
            assert!(!knows, "{}:{n}: {line}", show(&path));
        }
    }
}

/// Issue 6 §7: what a reader sees of an item in a list is its doc comment. A word or two says nothing that the name does not say.
const FEWEST_WORDS: usize = 4;

#[test]
fn doc_comments_of_public_items_are_sentences() {
    let short =
        |text: &str| short_docs(text).into_iter().map(|(n, doc)| format!("{n}: {doc}")).collect::<Vec<_>>();
    let example = "/// Its id.\npub struct A;\n\npub enum B {\n    /// Two\n    /// words.\n    #[serde(rename = \"c\")]\n    C,\n}\n";
    assert_eq!(short(example), ["1: Its id.", "5: Two words."], "the rule sees items and variants");
    let fine =
        "/// Its.\nstruct A {\n    /// No.\n    b: u8,\n}\n/// The id that callers see.\npub struct B;\n";
    assert!(short(fine).is_empty(), "private items and sentences are nobody's business");
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        faults.extend(short(&text).into_iter().map(|found| format!("{}:{found}", show(&path))));
    }
    assert!(
        faults.is_empty(),
        "\n{}\n{} doc comments of fewer than {FEWEST_WORDS} words",
        faults.join("\n"),
        faults.len()
    );
}

/// What an item is, whoever may see it: a pointer to another place, a piece of code or a word or two say nothing.
#[test]
fn doc_comments_of_items_say_something_by_themselves() {
    let example = "/// Both clocks.\nstruct A;\n\n    /// `IP:PORT`, `IP`.\n    pub(crate) fn b() {}\n/// See [`A::c`].\n#[test]\nenum D {}\n\
                   /// See\n/// the module.\nconst E: u8 = 0;\n";
    let found =
        |text: &str| mute_docs(text).into_iter().map(|(n, doc)| format!("{n}: {doc}")).collect::<Vec<_>>();
    assert_eq!(
        found(example),
        ["1: Both clocks.", "4: `IP:PORT`, `IP`.", "6: See [`A::c`].", "9: See the module."],
        "the rule sees each kind"
    );
    let fine = "/// An address with its port, `IP:PORT`.\nstruct A;\n/// Ids.\nlet b = 1;\n/// See [`A`] for what it has.\nfn c() {}\n    /// Its id.\n    d: u8,\n";
    assert!(found(fine).is_empty(), "sentences, fields and statements are none of its business");
    let mut faults = Vec::new();
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        if !shown.split('/').any(|part| part.starts_with("tests")) {
            faults.extend(found(&text).into_iter().map(|found| format!("{shown}:{found}")));
        }
    }
    assert!(faults.is_empty(), "\n{}\n{} doc comments that say nothing", faults.join("\n"), faults.len());
}

/// Line and text of each doc comment on a type, trait, function, constant or module that has fewer than three words besides code, or is no
/// more than a pointer to another place.
fn mute_docs(text: &str) -> Vec<(usize, String)> {
    const ITEMS: &[&str] = &["struct", "enum", "trait", "fn", "const", "static", "type", "mod", "impl"];
    let (mut found, mut doc, mut begins) = (Vec::new(), String::new(), 0);
    for (n, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if let Some(words) = code.strip_prefix("///") {
            if doc.is_empty() {
                begins = n + 1;
            }
            doc = [&doc, words.trim()].map(|part| part.trim()).join(" ");
            continue;
        }
        if code.starts_with("#[") {
            continue;
        }
        let mut words =
            code.split_whitespace().filter(|w| !w.starts_with("pub") && !matches!(*w, "async" | "unsafe"));
        let item = words.next().is_some_and(|w| ITEMS.contains(&w));
        // Every second piece between backticks is code.
        let plain: usize = doc
            .split('`')
            .step_by(2)
            .map(|part| part.split_whitespace().filter(|w| w.contains(char::is_alphanumeric)).count())
            .sum();
        let pointer = doc.trim().starts_with("See ") && doc.split_whitespace().count() <= 3;
        if item && !doc.is_empty() && (plain < 3 || pointer) {
            found.push((begins, doc.trim().to_owned()));
        }
        doc.clear();
    }
    found
}

/// Line and text of each doc comment of fewer than [`FEWEST_WORDS`] words on a public item, or on what belongs to a public enum
/// or trait. Blocks are known by their indentation, which rustfmt keeps.
fn short_docs(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut doc, mut begins) = (String::new(), 0);
    // The indentation of the public enum or trait that is open.
    let mut open: Option<usize> = None;
    let mut attribute = 0i32;
    for (n, line) in text.lines().enumerate() {
        let (code, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if let Some(words) = code.strip_prefix("///") {
            if doc.is_empty() {
                begins = n + 1;
            }
            doc = [&doc, words.trim()].map(|part| part.trim()).join(" ");
            continue;
        }
        if code.starts_with("#[") || attribute > 0 {
            let count = |c: char| i32::try_from(code.matches(c).count()).expect("a short line");
            attribute += count('[') - count(']');
            continue;
        }
        if open.is_some_and(|at| indent <= at && code.starts_with('}')) {
            open = None;
        }
        let public = code.starts_with("pub ") || open.is_some_and(|at| indent > at);
        let words = doc.split_whitespace().count();
        if public && words > 0 && words < FEWEST_WORDS {
            found.push((begins, doc.trim().to_owned()));
        }
        if open.is_none()
            && code.ends_with('{')
            && ["pub enum ", "pub trait "].iter().any(|w| code.starts_with(w))
        {
            open = Some(indent);
        }
        doc.clear();
    }
    found
}

#[test]
fn rfcs_and_changelog_are_indexed() {
    let index = std::fs::read_to_string(root().join("RFCs/README.md")).expect("RFCs/README.md");
    for entry in std::fs::read_dir(root().join("RFCs")).expect("RFCs") {
        let name = entry.expect("entry").file_name().into_string().expect("utf-8");
        assert!(name == "README.md" || index.contains(&name), "RFCs/{name} is not in the index");
    }
    for entry in std::fs::read_dir(root().join("changelog.d")).expect("changelog.d") {
        let name = entry.expect("entry").file_name().into_string().expect("utf-8");
        let kind = name.split('.').nth(1).unwrap_or("");
        let kinds = ["added", "changed", "fixed", "removed", "security", "performance"];
        assert!(
            name == "README.md" || kinds.contains(&kind),
            "changelog.d/{name}: the form is TOPIC.KIND.md with KIND one of {kinds:?}"
        );
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> serde_json::Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

/// Package name → names of its normal (not dev, not build) dependencies.
fn normal_deps(meta: &serde_json::Value) -> BTreeMap<String, BTreeSet<String>> {
    // Two versions of a package are two packages: what one links, the other need not.
    let label = |p: &serde_json::Value| {
        let (name, version) = (p["name"].as_str().expect("name"), p["version"].as_str().expect("version"));
        if p["source"].is_null() { name.to_owned() } else { format!("{name} {version}") }
    };
    let packages = meta["packages"].as_array().expect("packages").iter();
    let names: BTreeMap<&str, String> = packages.map(|p| (p["id"].as_str().expect("id"), label(p))).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in meta["resolve"]["nodes"].as_array().expect("nodes") {
        let deps = graph.entry(names[node["id"].as_str().expect("id")].clone()).or_default();
        for dep in node["deps"].as_array().expect("deps") {
            if dep["dep_kinds"].as_array().expect("kinds").iter().any(|k| k["kind"].is_null()) {
                deps.insert(names[dep["pkg"].as_str().expect("pkg")].clone());
            }
        }
    }
    graph
}

/// All Rust files below `dir`, without build output.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut out = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&at) else { continue };
        for path in entries.map(|e| e.expect("entry").path()) {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if path.is_dir() {
                if !matches!(name, "target" | ".git" | ".warp" | "node_modules") {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).expect("readable");
                out.push((path, text));
            }
        }
    }
    out.sort();
    out
}

/// Lines with their numbers, without comment lines.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(n, l)| (n + 1, l))
}

fn show(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
