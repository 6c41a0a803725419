//! Pages of a list: how far, which way, and where it goes on.

use super::fault::{Fault, Kind};

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// At most `limit`.
    pub items: Vec<T>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// Cursor to read on from later, for lists that grow at their end.
    pub last: Option<String>,
}

impl<T> Page<T> {
    /// From `limit + 1` rows in order; `key` gives the cursor of a row.
    pub fn of(mut rows: Vec<T>, limit: i64, key: impl Fn(&T) -> &str) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|r| encode_cursor(key(r))) } else { None };
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
    /// 1 to 200.
    pub limit: i64,
    /// Which way.
    pub order: Order,
}

/// Order of a list: by id, which carries the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `sort=-…`, and without `sort`.
    NewestFirst,
    /// `sort=…`.
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

    /// Rows to ask for: one more, to know whether there is a next page.
    pub fn rows(&self) -> i64 {
        self.limit.saturating_add(1)
    }
}

/// A cursor that names the last row seen.
pub(crate) fn encode_cursor(key: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key)
}

/// The key of the last row seen.
pub(crate) fn decode_cursor(text: &str) -> Result<String, Fault> {
    use base64::Engine;
    let wrong = || Fault::new(Kind::InvalidCursor, "cursor must be a value of meta.next_cursor");
    if text.len() > 128 {
        return Err(wrong());
    }
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let key = String::from_utf8(bytes).map_err(|_| wrong())?;
    // Our keys are ids, addresses, names and moments; anything else could carry a zero byte, which PostgreSQL refuses.
    let ours = |b: u8| b.is_ascii_alphanumeric() || b"_-+.:/ ".contains(&b);
    if !key.is_empty() && key.bytes().all(ours) { Ok(key) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(raw in any::<u128>()) {
            let id = warp_model::CallId::from_u128(raw).to_string();
            prop_assert_eq!(decode_cursor(&encode_cursor(&id)).unwrap(), id);
        }

        #[test]
        fn any_cursor_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = decode_cursor(&text);
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let rows = |n: usize| (0..n).map(|i| format!("call_{i}")).collect::<Vec<_>>();
        assert!(Page::of(rows(2), 2, |r| r).next.is_none());
        let page = Page::of(rows(3), 2, |r| r);
        assert_eq!((page.items.len(), page.next), (2, Some(encode_cursor("call_1"))));
        assert_eq!(decode_cursor(&encode_cursor("2001:db8::/64")).unwrap(), "2001:db8::/64");
    }
}
