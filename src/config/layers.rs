//! The layers: files with their line numbers, `conf.d`, environment, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The value is built in.
    Default,
    /// A file, with line and column from 1.
    File(PathBuf, usize, usize),
    /// An environment variable set it, this one.
    Env(String),
    /// A command-line flag or `key=value` argument.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            // The file as a whole: it cannot be read.
            Self::File(path, 0, _) => write!(f, "{}", path.display()),
            Self::File(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One mistake of a configuration: where, which key, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was made.
    pub origin: Origin,
    /// `section.key`, or empty when the file is no TOML.
    pub key: String,
    /// What is wrong, and what to write instead where that is known.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// An unknown key among `known` ones.
    pub(super) fn unknown(origin: Origin, key: String, word: &str, known: &[&str]) -> Self {
        let message = match nearest(word, known) {
            Some(meant) => format!("unknown key; did you mean `{meant}`?"),
            None => format!("unknown key; known are: {}", known.join(", ")),
        };
        Self { origin, key, message }
    }

    /// From the text of a decoder: `unknown field` becomes [`ConfigError::unknown`].
    pub(super) fn wrong(origin: Origin, key: String, word: &str, why: &str) -> Self {
        if why.starts_with("unknown field") {
            // unknown field `x`, expected one of `a`, `b`
            let known: Vec<&str> = why.split('`').skip(3).step_by(2).collect();
            return Self::unknown(origin, key, word, &known);
        }
        Self { origin, key, message: in_plain_words(&why.trim().replace('\n', " ")) }
    }
}

/// What a decoder expects, as people write it.
fn in_plain_words(why: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("expected a sequence", "expected a list, such as [\"…\"]"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("expected a boolean", "expected true or false"),
        ("invalid socket address syntax", "expected ADDRESS:PORT, such as \"127.0.0.1:8080\""),
        ("invalid IP address syntax", "expected an address, such as \"192.0.2.1\""),
    ];
    WORDS
        .iter()
        .find_map(|(theirs, ours)| why.strip_suffix(theirs).map(|before| format!("{before}{ours}")))
        .unwrap_or_else(|| why.to_owned())
}

/// The values of one section, by key.
pub(super) type Settings = BTreeMap<String, (Value, Origin)>;

/// All layers merged, and what made a layer unreadable.
pub(super) struct Read {
    /// Section → key → value with origin.
    pub(super) settings: BTreeMap<String, Settings>,
    /// Where a section was named first in a file, also one without a key.
    pub(super) sections: BTreeMap<String, Origin>,
    /// What is wrong in this layer, each with its place.
    pub(super) errors: Vec<ConfigError>,
}

/// What is read, lowest layer first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `warp.toml`; `conf.d/*.toml` beside it is merged in name order.
    pub file: Option<PathBuf>,
    /// Name and value of environment variables; only those that begin with `WARP_` and have `__`, and `DATABASE_URL`.
    pub env: Vec<(String, String)>,
    /// Flags of the command line, as `section.key` and value.
    pub flags: Vec<(String, Value)>,
}

impl Sources {
    /// The given file, or the default one, and this process's environment.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        Self { file: file.or_else(super::default_file), env: std::env::vars().collect(), flags: Vec::new() }
    }

    /// The files that exist, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(file) = &self.file else { return Vec::new() };
        let mut more: Vec<PathBuf> = file
            .parent()
            .map(|dir| dir.join("conf.d"))
            .and_then(|dir| std::fs::read_dir(dir).ok())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .collect();
        more.sort();
        more.insert(0, file.clone());
        more
    }

    /// All layers merged.
    pub(super) fn read(&self) -> Read {
        let mut all: BTreeMap<String, Settings> = BTreeMap::new();
        let mut sections = BTreeMap::new();
        let mut errors = Vec::new();
        for path in self.files() {
            match std::fs::read_to_string(&path) {
                Ok(text) => read_file(&path, &text, &mut all, &mut sections, &mut errors),
                Err(why) => errors.push(ConfigError {
                    origin: Origin::File(path, 0, 0),
                    key: String::new(),
                    message: format!("cannot be read: {why}"),
                }),
            }
        }
        for (name, value) in &self.env {
            read_env(name, value, &mut all, &mut errors);
        }
        for (path, value) in &self.flags {
            if let Some((section, key)) = path.split_once('.') {
                all.entry(section.to_owned())
                    .or_default()
                    .insert(key.to_owned(), (value.clone(), Origin::Flag));
            }
        }
        Read { settings: all, sections, errors }
    }
}

fn read_file(
    path: &Path,
    text: &str,
    all: &mut BTreeMap<String, Settings>,
    sections: &mut BTreeMap<String, Origin>,
    errors: &mut Vec<ConfigError>,
) {
    let at = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Origin::File(path.to_owned(), line, column)
    };
    let (spans, mut values) = match (toml::de::DeTable::parse(text), text.parse::<toml::Table>()) {
        (Ok(spans), Ok(values)) => (spans, values),
        (Err(why), _) | (_, Err(why)) => {
            let origin = at(why.span().map_or(0, |s| s.start));
            errors.push(ConfigError {
                origin,
                key: String::new(),
                message: why.message().replace('\n', " "),
            });
            return;
        }
    };
    for (section, keys) in spans.get_ref() {
        let name: &str = section.get_ref();
        let (Some(keys), Some(Value::Table(mut taken))) = (keys.get_ref().as_table(), values.remove(name))
        else {
            errors.push(ConfigError {
                origin: at(section.span().start),
                key: name.to_owned(),
                message: "a key outside of a section; sections look like [sip]".to_owned(),
            });
            continue;
        };
        sections.entry(name.to_owned()).or_insert_with(|| at(section.span().start));
        let settings = all.entry(name.to_owned()).or_default();
        for key in keys.keys() {
            let word: &str = key.get_ref();
            if let Some(value) = taken.remove(word) {
                settings.insert(word.to_owned(), (value, at(key.span().start)));
            }
        }
    }
}

/// `WARP_SIP__TIMER_C=…` sets `sip.timer_c`; with `_FILE` at its end the value is in that file.
fn read_env(name: &str, value: &str, all: &mut BTreeMap<String, Settings>, errors: &mut Vec<ConfigError>) {
    let (section, key) = if name == "DATABASE_URL" {
        ("api".to_owned(), "database_url".to_owned())
    } else {
        let Some((section, key)) = name.strip_prefix("WARP_").and_then(|rest| rest.split_once("__")) else {
            return;
        };
        (section.to_ascii_lowercase(), key.to_ascii_lowercase())
    };
    let origin = Origin::Env(name.to_owned());
    let (key, value) = match key.strip_suffix("_file") {
        None => (key, from_text(value)),
        Some(key) => match std::fs::read_to_string(value) {
            Ok(text) => (key.to_owned(), Value::String(text.trim_end().to_owned())),
            Err(why) => {
                errors.push(ConfigError {
                    origin,
                    key: format!("{section}.{key}"),
                    message: format!("{value}: {why}"),
                });
                return;
            }
        },
    };
    all.entry(section).or_default().insert(key, (value, origin));
}

/// A text outside of a TOML file: numbers, booleans, arrays and quoted strings as in TOML, everything else is the string.
pub(crate) fn from_text(text: &str) -> Value {
    let parsed = format!("v = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    match parsed {
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

/// The known word at most half of its letters away.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().map(|k| (distance(word, k), *k)).filter(|(d, k)| *d * 2 <= k.len()).min().map(|(_, k)| k)
}

/// Edits (insert, delete, replace) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
