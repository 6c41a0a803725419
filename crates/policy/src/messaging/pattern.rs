//! Patterns of filters: regular expressions as Jasmin's users write them, held against the beginning of a text.
//!
//! The engine has no backtracking: the work is bounded by pattern and text. What only a backtracking engine can do (look-around,
//! back-references) is refused when the route is read.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// A pattern, ready to be held against texts.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    /// Everything that begins so.
    Begins(Box<[u8]>),
    Regex(Regex),
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// The pattern as it was given.
    pub pattern: String,
    /// What the engine says.
    pub why: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pattern {:?}: {}", self.pattern, self.why)
    }
}

impl std::error::Error for PatternError {}

/// Characters of a pattern.
const CHARS: usize = 1_024;
/// Bytes of a compiled pattern.
const COMPILED: usize = 1 << 20;

impl Pattern {
    /// Reads a pattern. It is held against the beginning of a text, as Jasmin does (Python's `match`), and need not fit its end.
    /// Errors: it is no regular expression, needs an engine with backtracking, or is too large.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let wrong = |why: String| PatternError { pattern: text.to_owned(), why };
        if text.chars().count() > CHARS {
            return Err(wrong(format!("is longer than {CHARS} characters")));
        }
        let begin = text.strip_prefix('^').unwrap_or(text);
        let plain = begin.strip_suffix(".*").unwrap_or(begin);
        let how = if plain.bytes().all(|b| b.is_ascii_alphanumeric()) && !begin.ends_with('$') {
            How::Begins(plain.as_bytes().into())
        } else {
            let anchored = format!("^(?:{text})");
            let built = RegexBuilder::new(&anchored).size_limit(COMPILED).build();
            How::Regex(built.map_err(|e| wrong(e.to_string()))?)
        };
        Ok(Pattern { text: text.into(), how })
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a text fits. A text that is no UTF-8 fits no regular expression.
    pub fn fits(&self, text: &[u8]) -> bool {
        match &self.how {
            How::Begins(begin) => text.starts_with(begin),
            How::Regex(regex) => std::str::from_utf8(text).is_ok_and(|text| regex.is_match(text)),
        }
    }

    /// Digits with which every text begins that fits; empty when that is not known. A table finds routes by it.
    pub(super) fn digits(&self) -> &str {
        let text = self.text.strip_prefix('^').unwrap_or(&self.text);
        if text.contains('|') {
            return "";
        }
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        // What stands behind may make the last digit one that need not be there.
        let optional = matches!(text.as_bytes().get(count), Some(b'*' | b'?' | b'{'));
        text.get(..count.saturating_sub(usize::from(optional))).unwrap_or_default()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
