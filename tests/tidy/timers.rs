//! RFC 0010: a timer of the proxy's core has a name and an owner. One wheel wakes everything, by a key that names the owner; and each time
//! within an owner is either one of its timers, which its next look takes into account, or a moment that was noted.

use super::*;

/// The timers that an owner has as fields of its own: file, owner, fields, and the function that says when it is looked at next.
const TIMERS: &[(&str, &str, &[&str], &str)] = &[
    ("call.rs", "Branch", &["first_1xx_at", "progress_by"], "Call::next_timeout"),
    ("call.rs", "Call", &["ends_at", "confirm_by", "refresh_by", "hold_at", "pay_at"], "Call::next_timeout"),
    ("media.rs", "Pending", &["deadline"], "Call::next_timeout"),
    // Probes are looked at every so often, all of them.
    ("probe.rs", "Probe", &["gives_up"], "Calls::probes_due"),
];

/// Times that wake nobody: what they are.
const MOMENTS: &[(&str, &str, &str)] = &[
    ("call.rs", "Branch", "started"),
    ("call.rs", "Call", "began"),
    ("call.rs", "Call", "answered"),
    // How long a call may wait for money; what it looks by is `pay_at`.
    ("call.rs", "Call", "wait_until"),
    // When the wheel has an entry of it.
    ("call.rs", "Call", "armed"),
    ("table.rs", "ServerTxn", "armed"),
    ("table.rs", "ClientTxn", "armed"),
    // Tables that are asked, and forget when they are full or asked.
    ("health.rs", "Source", "since"),
    ("health.rs", "Source", "silent_until"),
    ("inbound.rs", "Callbacks", "until"),
    ("names.rs", "Entry", "until"),
    ("names.rs", "Entry", "ahead"),
    ("overload.rs", "Overload", "since"),
    ("probe.rs", "Probe", "asked"),
    ("transactions.rs", "Transactions", "failed"),
    // When the relay saw that the media was silent for too long; the call is charged until then.
    ("types.rs", "Command", "due"),
];

/// Every file of the proxy's core but its tests, by name, without the tests within.
fn core() -> BTreeMap<String, String> {
    let files = sources(&root().join("sip-proxy/src/core")).into_iter();
    let named = files.map(|(path, text)| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let code: String = code_lines(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(""))
            .flat_map(|(_, l)| [l, "\n"])
            .collect();
        (name, code)
    });
    named.filter(|(name, _)| !name.starts_with("tests")).collect()
}

/// Owner and name of each field that holds a time of the monotonic clock.
fn times(text: &str) -> Vec<(String, String)> {
    let (mut found, mut owner) = (Vec::new(), None);
    for line in text.lines() {
        let words: Vec<&str> =
            line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
        if !line.starts_with(' ')
            && let Some(at) = words.iter().position(|w| matches!(*w, "struct" | "enum"))
        {
            owner = words.get(at + 1).map(|w| (*w).to_owned());
        }
        if line == "}" {
            owner = None;
        }
        if let Some(owner) = &owner
            && words.contains(&"Mono")
            && let Some(field) = words.iter().find(|w| !matches!(**w, "pub" | "crate" | "super"))
        {
            found.push((owner.clone(), (*field).to_owned()));
        }
    }
    found
}

#[test]
fn each_timer_has_a_name_and_an_owner() {
    let core = core();
    let mut faults = Vec::new();
    // The wheel: who is woken is said by a name where it is armed, and each name has one place that wakes it.
    let names: Vec<String> = core["timers.rs"]
        .split_once("enum Key {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .expect("the names of what is woken")
        .0
        .lines()
        .filter_map(|line| line.trim().split(['(', ',']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(names.len() >= 7, "{names:?}");
    let mut armed: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, text) in core.iter().filter(|(file, _)| *file != "wheel.rs") {
        for (at, _) in text.match_indices(".arm(") {
            let call = text[at..].split(';').next().unwrap_or("");
            match names.iter().find(|name| call.contains(&format!("Key::{name}"))) {
                Some(name) => *armed.entry(name).or_default() += 1,
                None => faults.push(format!("{file}: `{call}` names nobody to wake")),
            }
        }
    }
    for name in &names {
        let wakes = core["mod.rs"].matches(&format!("Key::{name}")).count();
        if wakes != 1 || !armed.contains_key(name.as_str()) {
            faults.push(format!(
                "Key::{name}: armed {:?} times, woken in {wakes} places",
                armed.get(name.as_str())
            ));
        }
    }
    // The owners: a time that nobody knows as a timer or as a moment is one that nobody looks at.
    let mut known = BTreeSet::new();
    for (file, text) in &core {
        for (owner, field) in times(text) {
            let is = |f: &str, o: &str, n: &str| f == file && o == owner && n == field;
            let timer = TIMERS.iter().any(|(f, o, names, _)| names.iter().any(|n| is(f, o, n)));
            let moment = MOMENTS.iter().any(|(f, o, n)| is(f, o, n));
            if timer == moment {
                faults
                    .push(format!("{file}: {owner}::{field} is neither a timer nor a moment that was noted"));
            }
            known.insert((file.clone(), owner, field));
        }
    }
    for (file, owner, names, look) in TIMERS {
        let (home, function) = look.split_once("::").expect("Type::function");
        let all: String = core.values().map(String::as_str).collect();
        let body = all
            .split(&format!("impl {home} {{"))
            .skip(1)
            .find_map(|part| part.split_once(&format!("fn {function}(")))
            .and_then(|(_, rest)| rest.split_once("\n    }\n"))
            .unwrap_or_else(|| panic!("no {look}"))
            .0;
        for name in *names {
            if !body.contains(name) {
                faults.push(format!("{file}: {owner}::{name} is a timer, and {look} does not know it"));
            }
            if !known.contains(&((*file).to_owned(), (*owner).to_owned(), (*name).to_owned())) {
                faults.push(format!("{file}: {owner}::{name} is gone"));
            }
        }
    }
    for (file, owner, name) in MOMENTS {
        if !known.contains(&((*file).to_owned(), (*owner).to_owned(), (*name).to_owned())) {
            faults.push(format!("{file}: {owner}::{name} is gone"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
