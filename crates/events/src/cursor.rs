//! Where a consumer stands in a log: it stores the text, hands it back, and computes nothing with it.
//!
//! Text, version 1: `w1:TOPIC:LOG:NUMBER:MARK`. TOPIC is the topic's name; LOG is the log's id (32 hex digits), so that a cursor of
//! one log is refused by another of the same name; NUMBER is that of the record to read next; MARK (8 hex digits, 0 when not
//! known) is a checksum of number, time and key of the record before it, so that a log that lost its end and took those
//! numbers again is noticed. Versions before stored `NUMBER KEY`: [`crate::Topic::cursor`] reads that too.

use std::fmt;
use std::sync::Arc;

use warp_model::Wall;

/// Names one log of a topic, among all that have a topic of this name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogName {
    pub(crate) topic: String,
    pub(crate) id: u128,
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.topic, self.id)
    }
}

/// A place between two records of one log. Two are equal when they are the same place of the same log.
#[derive(Clone, Debug)]
pub struct Cursor {
    pub(crate) log: Arc<LogName>,
    /// Number of the record to read next.
    pub(crate) next: u64,
    /// Of the record before it; 0: not known.
    pub(crate) mark: u32,
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.log == other.log && self.next == other.next
    }
}

impl Eq for Cursor {}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w1:{}:{}:{:08x}", self.log, self.next, self.mark)
    }
}

/// Tells a record from another one of the same number; never 0.
pub(crate) fn mark(number: u64, at: Wall, key: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &at.0.to_le_bytes());
    crc32c::crc32c_append(crc, key).max(1)
}

/// A text that was stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Cursor {
        log: LogName,
        next: u64,
        mark: u32,
    },
    /// As versions before stored it: the number of the next record, the key of the one before.
    Numbered {
        next: u64,
        key: &'a str,
    },
}

impl Stored<'_> {
    /// `None`: no cursor, or one of a newer version.
    pub(crate) fn parse(text: &str) -> Option<Stored<'_>> {
        let Some(rest) = text.strip_prefix("w1:") else {
            let (next, key) = text.split_once(' ')?;
            return Some(Stored::Numbered { next: next.parse().ok()?, key });
        };
        let mut parts = rest.split(':');
        let (topic, id, next, mark) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || topic.is_empty() || id.len() != 32 || mark.len() != 8 {
            return None;
        }
        Some(Stored::Cursor {
            log: LogName { topic: topic.to_owned(), id: u128::from_str_radix(id, 16).ok()? },
            next: next.parse().ok()?,
            mark: u32::from_str_radix(mark, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "w1:cdr.voice.v1:0000000000000000000000000000abcd:42:00c0ffee";

    fn cursor() -> Cursor {
        let log = Arc::new(LogName { topic: "cdr.voice.v1".to_owned(), id: 0xabcd });
        Cursor { log, next: 42, mark: 0xc0_ffee }
    }

    #[test]
    fn the_text_of_a_cursor_is_stable_and_anything_else_is_none() {
        assert_eq!(cursor().to_string(), TEXT);
        let log = LogName { topic: "cdr.voice.v1".to_owned(), id: 0xabcd };
        assert_eq!(Stored::parse(TEXT), Some(Stored::Cursor { log, next: 42, mark: 0xc0_ffee }));
        assert_eq!(
            Stored::parse("42 call_01 x"),
            Some(Stored::Numbered { next: 42, key: "call_01 x" }),
            "as versions before stored it"
        );
        for bad in [
            "",
            "42",
            "x y",
            "-1 k",
            "w1:",
            &TEXT.replacen("w1", "w2", 1),
            &TEXT.replacen("cdr.voice.v1", "", 1),
            &TEXT.replacen("0000", "000", 1),
            &TEXT.replacen(":42", ":", 1),
            &TEXT.replacen(":42", ":-42", 1),
            &TEXT.replacen("c0ffee", "c0ffe", 1),
            &TEXT.replacen("c0ffee", "c0ffeg", 1),
            &format!("{TEXT}:"),
        ] {
            assert_eq!(Stored::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_same_place_of_the_same_log_is_equal() {
        assert_eq!(cursor(), Cursor { mark: 0, ..cursor() });
        assert_ne!(cursor(), Cursor { next: 43, ..cursor() });
        let other = |topic: &str, id| Arc::new(LogName { topic: topic.to_owned(), id });
        assert_ne!(cursor(), Cursor { log: other("cdr.voice.v1", 1), ..cursor() });
        assert_ne!(cursor(), Cursor { log: other("cdr.sms.v1", 0xabcd), ..cursor() });
        let marks =
            [mark(1, Wall(1), b"k"), mark(2, Wall(1), b"k"), mark(1, Wall(2), b"k"), mark(1, Wall(1), b"l")];
        assert_eq!(std::collections::BTreeSet::from(marks).len(), 4);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(w1:)?[a-z0-9:. é-]{0,80}") {
            let _ = Stored::parse(&text);
        }
    }
}
