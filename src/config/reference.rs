//! `docs/reference/config.md`, made from the code: the keys and defaults that `warp config show` prints, the rules that a
//! configuration is checked by, whether a reload takes a key, and the doc comments of the fields.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// The file and the struct of each section.
const STRUCTS: &[(&str, &str, &str)] = &[
    ("node", "src/config.rs", "Node"),
    ("log", "src/config.rs", "Log"),
    ("ops", "src/config.rs", "Ops"),
    ("events", "src/config.rs", "Events"),
    ("api", "src/config/api.rs", "Api"),
    ("login", "src/config/login.rs", "Login"),
    ("mail", "src/config/mail.rs", "Mail"),
    ("sip", "src/config/sip.rs", "Sip"),
    ("capture", "src/config/capture.rs", "Capture"),
    ("media", "media-relay/src/config.rs", "Config"),
    ("smsc", "src/config/smsc.rs", "Smsc"),
];

const HEAD: &str = "\
# Configuration

Made from the code and compared by a test. `warp config show --origin` prints the same keys with the values of a machine and where each
came from, `warp config check` says every mistake of a file at once, `warp config diff` what a running process does not have yet.

- Values come from, the later the stronger: the default, `warp.toml` (`/etc/warp/warp.toml`, or `--config`), `conf.d/*.toml` beside it in the
  order of their names, the environment. `WARP_SIP__T1=600ms` sets `t1` of `[sip]`; `WARP_API__DATABASE_URL_FILE=/run/secrets/db` reads the
  value from a file. `DATABASE_URL` is `api.database_url`.
- A key with *yes* under reload takes effect by `warp config reload` (or SIGHUP), for what begins after it; one with *restart* when the process
  starts again.
- A duration is written `\"1500ms\"`, `\"30s\"`, `\"4m\"`, `\"12h\"` or `\"7d\"`, a size `\"512B\"`, `\"64KiB\"`, `\"16MiB\"` or `\"50GiB\"`.
";

/// How a value of a Rust type is written.
fn form(rust: &str) -> String {
    let inner = |name: &str| rust.strip_prefix(name)?.strip_prefix('<')?.strip_suffix('>');
    if let Some(of) = inner("Option") {
        return form(of);
    }
    if let Some(of) = inner("Vec") {
        return format!("list; each: {}", form(of));
    }
    let form = match rust {
        "bool" => "`true` or `false`",
        "u8" => "0 to 255",
        "u16" => "0 to 65535",
        "u32" => "0 to 4294967295",
        "String" | "DatabaseUrl" => "text",
        "PathBuf" => "path",
        "IpAddr" => "address",
        "SocketAddr" => "`ADDRESS:PORT`",
        "Span" => "duration",
        "Size" => "size",
        "Listen" => "`udp:ADDRESS:PORT`, `tcp:…`, `tls:…`, `ws:…` or `wss:…`",
        "Algorithm" => "`sha-256` or `md5`",
        "LogFormat" => "`auto`, `human` or `json`",
        "CaptureCalls" => "`off`, `failed` or `all`",
        "CaptureMask" => "`numbers` or `secrets`",
        "Unbilled" => "`keep` or `delete`",
        "Security" => "`starttls`, `tls` or `none`",
        "RecordFiles" => "`legs`, `mixed` or `pcap`",
        "Rendering" => "`canonical` or `transparent`",
        "KeyFile" => "`file:PATH`",
        "Network" | "Prefix" => "network, such as `10.0.0.0/8`",
        "RangeInclusive<u16>" => "`A-B`",
        other => panic!("how is a {other} written? say it here"),
    };
    form.to_owned()
}

/// Doc comment and type of each field of a struct, in their order.
fn fields(text: &str, name: &str) -> Vec<(String, String, String)> {
    let start = text.find(&format!("pub struct {name} {{\n")).expect("the struct of the section");
    let body = text[start..].split("\n}\n").next().expect("its end");
    let mut out = Vec::new();
    let mut doc = String::new();
    for line in body.lines().skip(1) {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("///") {
            doc = format!("{doc} {}", words.trim());
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (key, rust) = field.trim_end_matches(',').split_once(": ").expect("a field");
            out.push((key.to_owned(), rust.to_owned(), std::mem::take(&mut doc).trim().to_owned()));
        }
    }
    out
}

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::default();
    let keys = Loaded::default().keys();
    let rules = rules::all(&config);
    let mut known = keys.len();
    let mut out = HEAD.to_owned();
    for (section, file, name) in STRUCTS {
        let text = std::fs::read_to_string(root.join(file)).expect("source");
        let _ = write!(
            out,
            "\n## `[{section}]`\n\n| key | default | what it may be | reload | what it is |\n| --- | --- | --- | --- | --- |\n"
        );
        for (key, rust, doc) in fields(&text, name) {
            let path = format!("{section}.{key}");
            let value = match (path.as_str(), &keys[&path]) {
                // This machine's, which the next one does not have.
                ("node.name", _) => "the machine's name".to_owned(),
                (_, Some(value)) => format!("`{value}`"),
                (_, None) => "not set".to_owned(),
            };
            let must: Vec<&str> =
                rules.iter().filter(|rule| rule.path == path).map(|rule| rule.must).collect();
            let mut may = vec![form(&rust)];
            if rust.starts_with('u') && !must.is_empty() {
                // The rule is the narrower one.
                may = vec!["number".to_owned()];
            }
            may.extend(must.iter().map(|must| (*must).to_owned()));
            let live = if is_live(&path) { "yes" } else { "restart" };
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(
                out,
                "| `{key}` | {} | {} | {live} | {} |",
                cell(&value),
                cell(&may.join("; ")),
                cell(&doc)
            );
            known -= 1;
        }
    }
    assert_eq!(known, 0, "keys that no section of the page has");
    out
}

/// The same keys as a file, all of them comments: what `warp init` writes.
fn commented() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let keys = Loaded::default().keys();
    let mut out = "# WARP: what a node runs with. Made by `warp init`; each line that begins with `# ` and a key is its default.\n\
        # What each may be, and whether a reload takes it: docs/reference/config.md. `warp config check` says every mistake.\n"
        .to_owned();
    for (section, file, name) in STRUCTS {
        let text = std::fs::read_to_string(root.join(file)).expect("source");
        let _ = write!(out, "\n[{section}]\n");
        for (key, _, doc) in fields(&text, name) {
            let path = format!("{section}.{key}");
            let value = match (path.as_str(), &keys[&path]) {
                ("node.name", _) => "# the machine's name".to_owned(),
                (_, Some(value)) => value.clone(),
                (_, None) => "# not set".to_owned(),
            };
            let _ = writeln!(out, "# {doc}\n# {key} = {value}");
        }
    }
    out
}

#[test]
fn the_file_of_a_new_node_is_that_of_the_code() {
    let text = commented();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/warp.toml");
    if std::env::var("WARP_WRITE_OPENAPI").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "deploy/warp.toml is not what the code says: run with WARP_WRITE_OPENAPI=1");
    // Each default, as it is written there, is one: without the signs of comments the file says what an empty one says.
    let keys = Loaded::default().keys();
    let (mut all, mut lines) = (String::new(), 0);
    for line in text.lines() {
        let said = line.strip_prefix("# ").unwrap_or(line);
        let key = said.split_once(" = ").filter(|(key, _)| {
            key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
        });
        match key {
            Some((_, value)) if line.starts_with("# ") && !value.starts_with("# ") => {
                all.push_str(&format!("{said}\n"));
                lines += 1;
            }
            _ if line.starts_with('[') => all.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    assert!(lines > keys.len() / 2, "{lines} of {}", keys.len());
    let read: toml::Table = all.parse().expect("each default is TOML");
    assert!(read.contains_key("sip"));
}

#[test]
fn the_page_of_the_configuration_is_that_of_the_code() {
    let text = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/config.md");
    if std::env::var("WARP_WRITE_OPENAPI").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "docs/reference/config.md is not what the code says: run with WARP_WRITE_OPENAPI=1"
    );
}

/// A rule belongs to a key that there is, and holds for what a process runs with when nobody says anything.
#[test]
fn every_rule_is_of_a_key_and_holds_for_the_defaults() {
    let keys = Loaded::default().keys();
    for rule in rules::all(&Config::default()) {
        assert!(keys.contains_key(&rule.path) && rule.holds, "{}: {}", rule.path, rule.must);
        for other in &rule.with {
            assert!(keys.contains_key(other), "{}: {other}", rule.path);
        }
    }
}
