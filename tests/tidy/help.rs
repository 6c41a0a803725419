//! `# HELP` of every metric in plain words: a sentence that a customer's engineer understands who has never seen the source.

use super::*;

/// Fewest words of a sentence that says more than the name of its metric.
const FEWEST: usize = 4;

/// Words of the inside of the house. A reader of a graph has no use for them.
const INTERNAL: &[&str] = &[
    "shard",
    "shards",
    "core",
    "slab",
    "wheel",
    "mailbox",
    "mutex",
    "atomic",
    "snapshot",
    "snapshots",
    "tokio",
    "epoll",
    "struct",
    "enum",
    "trait",
    "handler",
    "handlers",
    "cdr",
    "cdrs",
    "sink",
    "journal",
    "journals",
    "segment",
    "segments",
];

/// What the end of a name promises, and one of what the sentence must say of it.
const UNITS: &[(&str, &[&str])] = &[
    ("_timestamp_seconds", &["Unix time"]),
    ("_start_time_seconds", &["Unix time"]),
    ("_seconds", &["in seconds", "Seconds "]),
    ("_bytes", &["in bytes", "Bytes "]),
    ("_ratio", &["from 0 to 1"]),
    ("_dollars", &["dollars"]),
    ("_info", &["Always 1;"]),
];

/// What is wrong with a sentence; `None`: nothing.
fn fault(name: &str, help: &str) -> Option<String> {
    let words: Vec<&str> = help.split_whitespace().collect();
    let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    if words.len() < FEWEST {
        return Some(format!("{} words", words.len()));
    }
    if !help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit() || help.starts_with("ng "))
        || !help.ends_with('.')
    {
        return Some("is no sentence: a capital, a full stop".to_owned());
    }
    if let Some(word) = words.iter().find(|word| INTERNAL.contains(&plain(word).as_str())) {
        return Some(format!("`{word}` is a word of the inside"));
    }
    if help.contains("::") || help.contains('`') {
        return Some("names code".to_owned());
    }
    let bare = name.strip_suffix("_total").unwrap_or(name);
    let (end, said) = UNITS.iter().find(|(end, _)| bare.ends_with(end))?;
    (!said.iter().any(|unit| help.contains(unit)))
        .then(|| format!("does not say what {end} is: one of {said:?}"))
}

/// Name and sentence of each metric that a text of Rust registers: two string literals, one behind the other, the first a name of ours.
fn registered(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("\"warp_").chain(text.match_indices("\"process_")) {
        let Some((name, rest)) = text[at + 1..].split_once('"') else { continue };
        let of_a_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let Some(rest) = rest.trim_start().strip_prefix(',') else { continue };
        let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
        let mut help = String::new();
        let mut escaped = false;
        for c in rest.chars() {
            match c {
                '"' if !escaped => break,
                '\\' if !escaped => escaped = true,
                c => {
                    help.push(c);
                    escaped = false;
                }
            }
        }
        // `connect(…, "warp_super", "postgres")` is no metric.
        if of_a_name && (help.contains(' ') || help.ends_with('.')) {
            found.push((name.to_owned(), help));
        }
    }
    found
}

#[test]
fn help_of_metrics_is_in_plain_words() {
    // The rule sees each kind of fault.
    for (name, help, what) in [
        ("warp_calls_total", "Calls begun.", "2 words"),
        ("warp_calls_total", "calls that were begun", "sentence"),
        ("warp_calls_total", "Calls that a shard has begun.", "`shard`"),
        ("warp_calls_total", "Calls of `Thing` that were begun.", "code"),
        ("warp_wait_seconds", "How long a caller waits for an answer.", "_seconds"),
        ("warp_wait_seconds_total", "How long all callers waited together.", "_seconds"),
        ("warp_busy_ratio", "Share of a second that was busy.", "_ratio"),
    ] {
        assert!(fault(name, help).is_some_and(|why| why.contains(what)), "{help}: {:?}", fault(name, help));
    }
    let (mut all, mut faults) = (BTreeMap::new(), Vec::new());
    for (path, text) in sources(&root()) {
        let shown = show(&path);
        if shown.contains("tests") || shown.starts_with("bench/") || shown.starts_with("loadtests/") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
        let code: String = code_lines(code).flat_map(|(_, line)| [line, "\n"]).collect();
        for (name, help) in registered(&code) {
            if let Some(why) = fault(&name, &help) {
                faults.push(format!("{shown}: {name}: {why}: {help}"));
            }
            all.insert(name, help);
        }
    }
    assert!(all.len() > 100, "only {} metrics were found", all.len());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    // One sentence, one metric: who reads it knows which.
    let mut sentences: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    all.iter().for_each(|(name, help)| sentences.entry(help).or_default().push(name));
    let twice: Vec<_> = sentences
        .iter()
        .filter(|(_, names)| names.len() > 1 && !names.iter().any(|n| n.starts_with("process_")))
        .collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
