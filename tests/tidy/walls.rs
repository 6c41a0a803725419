//! Walls within the products: what a public name says, the path of a packet, who walks over tables, circles of modules.

use super::*;

/// Modules that import one another in a circle still: all others stand in one direction. None may be added; one that is opened goes.
const CIRCLES: &[(&str, &[&str])] = &[
    // What nouns are is declared with types of `app`, and rows are read by the declaration.
    ("control-plane", &["app", "noun", "store"]),
];

/// Issue 6 §7: these names stood for several things once. Each is the public name of one, or of none.
const ONE_THING: &[&str] = &["Answer", "Ask", "Copy", "Limits", "Verdict"];

#[test]
fn a_public_name_says_one_thing() {
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        let Some((room, inside)) = shown.split_once("src/") else { continue };
        let of_tests = inside.rsplit('/').next().is_some_and(|file| file.starts_with("tests"));
        if of_tests || ["bench/", "loadtests/", "ui/"].iter().any(|w| room.starts_with(w)) {
            continue;
        }
        for (n, line) in code_lines(&text) {
            let declared = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
            let Some(rest) = declared.iter().find_map(|w| line.strip_prefix(w)) else { continue };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            homes.entry(name).or_default().push(format!("{room}src/{inside}:{n}"));
        }
    }
    let found = ONE_THING.iter().filter_map(|name| Some((name, homes.get(*name)?)));
    let faults: Vec<_> = found.filter(|(_, places)| places.len() > 1).collect();
    assert!(faults.is_empty(), "one name, several things: {faults:#?}");
}

/// RFC 0011: a rule is a pipeline. The packet shard moves packets and knows no protocol within them; STUN and DTLS are classified
/// in one place and answered by the session machine; SRTP is a stage like any other; the plain case is straight code.
#[test]
fn the_packet_path_keeps_its_walls() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let mut faults = Vec::new();
    let mut forbid = |path: &str, text: &str, words: &[&str]| {
        for (n, line) in code_lines(text) {
            let line = line.to_lowercase();
            for word in words.iter().filter(|w| line.contains(**w)) {
                faults.push(format!("{path}:{n}: `{word}` on the wrong side of the wall"));
            }
        }
    };
    // Names of counted reasons are the shard's: it counts them without knowing them.
    let shard = read("media-relay/src/server/shard.rs");
    let counted = |l: &&str| !l.contains("DropReason::");
    let shard: String = shard.lines().filter(counted).map(|l| format!("{l}\n")).collect();
    let protocols = ["stun", "dtls", "srtp", "rtcp::", "rtpview", "cipher", "crypto", "warp_sdp", "warp_ng"];
    forbid("media-relay/src/server/shard.rs", &shard, &protocols);
    // Who may say STUN and DTLS: the one that tells packets apart, the rule that hands them over, the machine that answers.
    let may = ["crates/media/src/rtp.rs", "crates/media/src/forward.rs", "crates/media/src/session.rs"];
    for (path, text) in sources(&root().join("crates/media/src")) {
        let shown = show(&path);
        if !may.contains(&shown.as_str()) && !shown.contains("/tests_") {
            forbid(&shown, &text, &["packetclass::stun", "packetclass::dtls"]);
        }
        // Stages are made elsewhere and run by the rule without being known to it. Keys of a handshake become those of SRTP, and
        // checks are signed (RFC 0042): neither is on the path of a packet.
        let has_keys = ["crates/media/src/srtp", "crates/media/src/keying.rs", "crates/media/src/stun.rs"];
        let beside = shown == "crates/media/src/lib.rs" || shown.contains("/tests_");
        if !beside && !has_keys.iter().any(|place| shown.starts_with(place)) {
            forbid(&shown, &text, &["crate::srtp", "super::srtp", "aes", "hmac"]);
        }
    }
    // The plain packet: no stage, no copy, nothing allocated, nothing locked, nobody asked.
    let forward = read("crates/media/src/forward.rs");
    let plain = body_of(&forward, "    pub fn apply(");
    let heavy =
        ["pipeline", "stage", "dyn ", "box", "arc", "vec", "clone", "collect", "to_owned", "lock", "format!"];
    forbid("crates/media/src/forward.rs: fn apply", plain, &heavy);
    let on_packet = body_of(&shard, "    fn on_packet(");
    let straight = "if state.has_pipeline() {";
    let plain = on_packet.split("} else {").nth(1).unwrap_or_default();
    let plain = plain.split("\n        };").next().unwrap_or_default();
    assert!(on_packet.contains(straight) && plain.contains("state.apply("), "the plain packet goes straight");
    forbid(
        "media-relay/src/server/shard.rs: the plain packet",
        plain,
        &["pipeline", "copy", "roomy", "session"],
    );
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The text of a function from its signature to the brace that ends it, by rustfmt's indentation.
fn body_of<'t>(text: &'t str, signature: &str) -> &'t str {
    let from = text.find(signature).unwrap_or_else(|| panic!("no `{signature}`"));
    let rest = &text[from..];
    &rest[..rest.find("\n    }\n").expect("its end")]
}

/// Issue 6 §4: who walks over all calls, transactions or ports of a shard, and may. What is looked at is counted by the tests of each
/// (`tests_walks`); this finds the walk that looks at nothing but the table's keys.
#[test]
fn tables_of_a_shard_are_walked_over_where_that_is_meant() {
    // File, and how many walks: the end of all calls; the list that a drain waits by; a core that is given up; the list of ng.
    let meant = [
        ("sip-proxy/src/core/calls.rs", 1),
        ("sip-proxy/src/core/live.rs", 1),
        ("sip-proxy/src/core/panic.rs", 3),
        ("media-relay/src/core/book.rs", 1),
    ];
    let tables = [
        "calls",
        "all",
        "servers",
        "clients",
        "by_dialog",
        "by_cdr",
        "by_link",
        "by_key",
        "by_id",
        "by_port",
        "targets",
        "asks",
        "timers",
        "samples",
        "watches",
        "strangers",
    ];
    let walks = [".iter()", ".iter_mut()", ".values()", ".values_mut()", ".keys()", ".retain(", ".walk()"];
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in [
        "sip-proxy/src/core",
        "media-relay/src/core/book",
        "media-relay/src/core/book.rs",
        "media-relay/src/server",
    ] {
        let at = root().join(folder);
        let files = match at.is_dir() {
            true => sources(&at),
            false => vec![(at.clone(), std::fs::read_to_string(&at).expect("readable"))],
        };
        for (path, text) in files {
            let shown = show(&path);
            if shown.contains("tests") || shown.ends_with("/table.rs") || shown.ends_with("/slots.rs") {
                continue;
            }
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
            for (n, line) in code_lines(code) {
                let walks = tables.iter().any(|table| {
                    let whole = |of: &str| walks.iter().any(|w| line.contains(&format!("{of}{table}{w}")));
                    ["self.", "book.", "tx.table.", "table.", "calls."].iter().any(|of| whole(of))
                        || [" in &self.", " in &mut self."]
                            .iter()
                            .any(|of| line.contains(&format!("{of}{table} {{")))
                });
                if walks {
                    found.entry(shown.clone()).or_default().push(format!("{n}: {}", line.trim()));
                }
            }
        }
    }
    let wrong: Vec<_> = found
        .iter()
        .filter(|(path, lines)| !meant.iter().any(|(p, n)| p == path && *n == lines.len()))
        .collect();
    assert!(wrong.is_empty() && found.len() == meant.len(), "{wrong:#?}\nall: {found:#?}");
}

/// The modules of a room stand above one another, in one order, so that one can be read, tested and moved without the others. An
/// import counts wherever it stands outside tests; a name that `lib.rs` re-exports counts for its module.
#[test]
fn the_modules_of_a_room_import_one_another_in_one_direction() {
    let mut faults = Vec::new();
    for room in rooms() {
        let known = CIRCLES.iter().find(|(of, _)| *of == room).map_or(&[][..], |(_, modules)| *modules);
        let found = circle(&root().join(&room).join("src"));
        let named: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        if named != known.iter().copied().collect() {
            faults.push(format!(
                "{room}: {known:?} may import one another in a circle, and these do: {found:#?}"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The folders of all packages with a library.
fn rooms() -> Vec<String> {
    let inside = std::fs::read_dir(root().join("crates")).expect("crates");
    let crates =
        inside.map(|entry| format!("crates/{}", entry.expect("entry").file_name().to_string_lossy()));
    let products = ["sip-proxy", "media-relay", "smsc", "control-plane"].map(str::to_owned);
    let mut all: Vec<String> = crates.chain(products).collect();
    all.retain(|room| root().join(room).join("src/lib.rs").exists());
    all.sort();
    all
}

/// The top-level modules of a library that stand in a circle, or between two, with what they import of each other.
fn circle(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let lib = std::fs::read_to_string(src.join("lib.rs")).expect("lib.rs");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources(src) {
        let inside = path.strip_prefix(src).expect("below src");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        let own_tests = inside.to_string_lossy().contains("tests")
            || ["mod", "pub mod"].iter().any(|w| lib.contains(&format!("#[cfg(test)]\n{w} {module};")));
        if module == "lib" || own_tests {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
        for (_, line) in code_lines(code) {
            for part in line.split("crate::").skip(1) {
                let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let of = module_of(&lib, &name).unwrap_or(name);
                if of != module && !of.is_empty() {
                    edges.entry(module.clone()).or_default().insert(of);
                }
            }
        }
    }
    // What imports nothing that is left is taken away, then what nobody imports, again and again; what stays is a circle.
    while let Some(free) = edges
        .keys()
        .find(|m| {
            edges[*m].iter().all(|to| !edges.contains_key(to)) || !edges.values().any(|tos| tos.contains(*m))
        })
        .cloned()
    {
        edges.remove(&free);
    }
    let left: BTreeSet<String> = edges.keys().cloned().collect();
    edges.values_mut().for_each(|tos| tos.retain(|to| left.contains(to)));
    edges
}

/// The module that a name comes from which `lib.rs` re-exports by `pub use module::{…}` or `pub use module::Name`.
fn module_of(lib: &str, name: &str) -> Option<String> {
    lib.split("pub use ").skip(1).find_map(|rest| {
        let (module, names) = rest.split(';').next()?.split_once("::")?;
        names
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|n| n == name)
            .then(|| module.to_owned())
    })
}
