//! Pages of a list: how far, which way, and where it goes on.

use super::caller::Audience;
use super::fault::{Fault, Kind};
use super::{forms, listing};
use crate::noun::Noun;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows of the page, at most `limit` of them.
    pub items: Vec<T>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// Cursor to read on from later, for lists that grow at their end.
    pub last: Option<String>,
}

impl<T> Page<T> {
    /// From `limit + 1` rows in order; `key` gives the cursor of a row.
    pub fn of(rows: Vec<T>, limit: i64, key: impl Fn(&T) -> &str) -> Self {
        Self::keyed(rows, limit, |row| key(row).to_owned())
    }

    /// The same, when the key does not stand in the row as it is.
    pub fn keyed(mut rows: Vec<T>, limit: i64, key: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|r| encode_cursor(&key(r))) } else { None };
        Page { items: rows, next, last: None }
    }
}

impl<T> Page<T> {
    /// The same page of what its items are shown as.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(show).collect(), next: self.next, last: self.last }
    }
}

/// Where a list goes on, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Key of the last row seen.
    pub after: Option<String>,
    /// Rows of a page, 1 to [`PAGE_MOST`].
    pub limit: i64,
    /// Which way the list goes.
    pub order: Order,
}

/// Order of a list: by id, which carries the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `sort=-…`, and without `sort`.
    NewestFirst,
    /// With `sort=…`: what came first stands first.
    OldestFirst,
}

impl Paging {
    /// One of two statements (T-API-07: nothing of a request becomes SQL).
    pub fn statement(&self, newest_first: &'static str, oldest_first: &'static str) -> &'static str {
        match self.order {
            Order::NewestFirst => newest_first,
            Order::OldestFirst => oldest_first,
        }
    }

    /// The number of the last row seen, in lists that are read by [`Cursor::Number`].
    pub fn number_after<N: std::str::FromStr>(&self) -> Option<N> {
        self.after.as_deref()?.parse().ok()
    }

    /// Rows to ask for: one more, to know whether there is a next page.
    pub fn rows(&self) -> i64 {
        self.limit.saturating_add(1)
    }
}

/// Most rows of a page.
pub const PAGE_MOST: i64 = 200;
/// Rows of a page when nobody says how many.
pub const PAGE_USUAL: i64 = 50;

/// What names the last row seen. A cursor is its key, written so that it needs no escaping in a query; to a client it is a text
/// without meaning, of a form that is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// An id, which carries the time.
    #[default]
    Id,
    /// A call: when its record was posted, in microseconds, and its id.
    Call,
    /// A number that rises: audit lines, versions of a deck.
    Number,
    /// An address or network of an access list.
    Address,
    /// A digest user, by its name.
    User,
    /// What lists of a declared noun are sorted by, as keys of an audience see them.
    Of(&'static Noun, Audience),
}

impl Cursor {
    /// The form of such cursors.
    pub fn pattern(self) -> String {
        match self {
            Self::Id => forms::id_pattern("[a-z]{2,8}"),
            Self::Call => forms::id_pattern(r"[0-9]{1,16}\.call"),
            Self::Number => "^[0-9]{1,9}$".to_owned(),
            Self::Address => forms::network_pattern(),
            Self::User => "^[A-Za-z0-9_.~-]{1,64}$".to_owned(),
            Self::Of(noun, audience) => listing::cursor_pattern(noun, audience),
        }
    }

    /// The key of the last row seen. Errors: the text is none of our cursors.
    pub fn read(self, text: &str) -> Result<String, Fault> {
        let number = |t: &str, most| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        let ours = match self {
            Self::Id => forms::is_any_id(text),
            Self::Call => {
                text.split_once(".call_").is_some_and(|(at, rest)| number(at, 16) && forms::is_id(rest))
            }
            Self::Number => number(text, 9),
            Self::Address => forms::network(text).is_some(),
            Self::User => {
                let user = |b: u8| b.is_ascii_alphanumeric() || b"_.~-".contains(&b);
                (1..=64).contains(&text.len()) && text.bytes().all(user)
            }
            Self::Of(noun, audience) => listing::is_cursor(noun, audience, text),
        };
        let wrong = || Fault::new(Kind::InvalidCursor, "cursor must be a value of meta.next_cursor");
        if ours { Ok(text.replace('~', "+")) } else { Err(wrong()) }
    }
}

/// A cursor that names the last row seen. Only user names have a plus, which would be a blank in a query.
pub(crate) fn encode_cursor(key: &str) -> String {
    key.replace('+', "~")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(raw in any::<u128>(), at in 0i64..9_999_999_999_999_999) {
            let id = warp_model::CallId::from_u128(raw).to_string();
            prop_assert_eq!(Cursor::Id.read(&encode_cursor(&id)).unwrap(), id.clone());
            let key = format!("{at}.{id}");
            prop_assert_eq!(Cursor::Call.read(&encode_cursor(&key)).unwrap(), key);
        }

        #[test]
        fn any_cursor_is_read_without_panic(text in "\\PC{0,40}") {
            for kind in [Cursor::Id, Cursor::Call, Cursor::Number, Cursor::Address, Cursor::User] {
                let _ = kind.read(&text);
            }
        }
    }

    /// What is published is what is read.
    #[test]
    fn a_cursor_is_read_when_it_has_its_form() {
        let id = warp_model::CallId::from_u128(7).to_string();
        let call = format!("1795353285000000.{id}");
        let kinds = [Cursor::Id, Cursor::Call, Cursor::Number, Cursor::Address, Cursor::User];
        for text in [
            id.as_str(),
            call.as_str(),
            "17",
            "1234567890",
            "2001:db8::/64",
            "198.51.100.0/28",
            "a~b.c",
            "a+b",
            "",
            "eHh4",
            "call_x",
        ] {
            for kind in kinds {
                let form = regex_lite::Regex::new(&kind.pattern()).unwrap();
                assert_eq!(kind.read(text).is_ok(), form.is_match(text), "{kind:?} {text:?}");
            }
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let rows = |n: usize| (0..n).map(|i| format!("call_{i}")).collect::<Vec<_>>();
        assert!(Page::of(rows(2), 2, |r| r).next.is_none());
        let page = Page::of(rows(3), 2, |r| r);
        assert_eq!((page.items.len(), page.next), (2, Some(encode_cursor("call_1"))));
        assert_eq!(Cursor::Address.read(&encode_cursor("2001:db8::/64")).unwrap(), "2001:db8::/64");
        assert_eq!(Cursor::User.read(&encode_cursor("u1+a.b")).unwrap(), "u1+a.b");
    }
}
