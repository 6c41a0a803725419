//! What of a noun is listed: its filters, its sort, and where it goes on. A cursor is the value that the list is sorted by, and the
//! id, of the last row seen, so that a page goes on rightly when that row has changed or is gone.

use warp_model::hex;

use super::caller::Audience;
use super::fault::{Fault, Kind};
use super::forms;
use super::paging::{Order, Page, Paging};
use crate::noun::{By, Noun};
use crate::store::nouns::NounRow;

/// A page that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Which of the declared sorts.
    pub sort: usize,
    /// Which way the list goes.
    pub order: Order,
    /// The last row seen.
    pub after: Option<After>,
    /// Rows of a page.
    pub limit: i64,
    /// A value for each declared filter, as it stands in the column.
    pub filters: Vec<Option<String>>,
}

/// The last row seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Its value in the column that the list is sorted by; `None` when that is the id.
    pub value: Option<String>,
    /// The id of that row.
    pub id: String,
}

impl Listing {
    /// Every object of a noun, in the order of the ids. The cursor of `paging` is an id.
    pub fn all(noun: &Noun, paging: &Paging) -> Self {
        Self {
            sort: 0,
            order: paging.order,
            after: paging.after.clone().map(|id| After { value: None, id }),
            limit: paging.limit,
            filters: vec![None; noun.filters.len()],
        }
    }

    /// What a query asks for. Errors: all filters that mean nothing, at once; a cursor of a list that is sorted otherwise.
    pub fn read<'q>(
        noun: &Noun,
        paging: Paging,
        audience: Audience,
        query: impl Fn(&str) -> Option<&'q str>,
    ) -> Result<Self, Fault> {
        let wanted = query("sort").map(|s| s.trim_start_matches('-'));
        let sort = wanted.and_then(|w| noun.sorts.iter().position(|s| s.column == w && s.who.has(audience)));
        let sort = sort.unwrap_or(0);
        let mut problems = Vec::new();
        let mut filters = Vec::new();
        for filter in noun.filters {
            let text = query(filter.name).filter(|_| filter.who.has(audience));
            filters.push(text.and_then(|t| (filter.read)(t, filter.name, &mut problems)));
        }
        super::none_wrong(problems)?;
        let after = paging.after.map(|text| after(noun, sort, &text)).transpose()?;
        Ok(Self { sort, order: paging.order, after, limit: paging.limit, filters })
    }

    /// Only what passes one more filter; a request cannot lift it. Errors: the noun has no such filter.
    pub fn only(mut self, noun: &Noun, filter: &str, value: String) -> Result<Self, Fault> {
        let place = noun.filters.iter().position(|f| f.name == filter);
        let Some(slot) = place.and_then(|i| self.filters.get_mut(i)) else {
            tracing::error!(noun = noun.one, filter, "a filter that is not declared");
            return Err(Fault::new(Kind::Internal, "something went wrong on our side"));
        };
        *slot = Some(value);
        Ok(self)
    }

    /// Rows to ask for: one more, to know whether there is a next page.
    pub fn rows(&self) -> i64 {
        self.limit.saturating_add(1)
    }

    /// The page of `limit + 1` rows in order.
    pub fn page<R: NounRow>(&self, rows: Vec<R>) -> Page<R> {
        let sort = R::NOUN.sorts.get(self.sort).filter(|s| s.by != By::Id);
        Page::keyed(rows, self.limit, |row| {
            let value = sort.and_then(|s| Some((s.column, row.sorted_by(s.column)?)));
            match value {
                Some((column, value)) => format!("{column}.{value}.{}", row.id()),
                None => row.id().to_owned(),
            }
        })
    }
}

/// The last row seen, from a cursor of the published form.
fn after(noun: &Noun, sort: usize, text: &str) -> Result<After, Fault> {
    let (of, id) = text.rsplit_once('.').map_or((None, text), |(of, id)| (of.split_once('.'), id));
    let by = noun.sorts.get(sort).filter(|s| s.by != By::Id);
    if of.map(|(column, _)| column) != by.map(|s| s.column) {
        let message =
            "this cursor is of a list that is sorted otherwise; send it with the sort that it came with";
        return Err(Fault::field("cursor", "contradicts", message));
    }
    let value = of.map(|(_, value)| match by.map(|s| s.by) {
        Some(By::Text) => text_of(value),
        _ => value.to_owned(),
    });
    Ok(After { value, id: id.to_owned() })
}

/// The text of a cursor. One that nobody gave out begins somewhere too; PostgreSQL takes no zero byte.
fn text_of(digits: &str) -> String {
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(hex::value(*high)? << 4 | hex::value(*low)?);
    let bytes: Vec<u8> = pairs.iter().filter_map(byte).collect();
    String::from_utf8_lossy(&bytes).replace('\0', "")
}

/// Bytes of a name in a cursor: the longest name has a hundred characters.
const TEXT_BYTES: usize = 400;

/// The form of the cursors of a noun's lists: an id, before it the sort and the value when the list is not in the order of ids.
pub(super) fn cursor_pattern(noun: &Noun, audience: Audience) -> String {
    let id = forms::id_pattern("[a-z]{2,8}");
    let id = id.trim_start_matches('^').trim_end_matches('$');
    let others = noun.sorts.iter().filter(|s| s.who.has(audience));
    let values = others.filter_map(|s| match s.by {
        By::Id => None,
        By::Time => Some(format!(r"{}\.[0-9]{{1,16}}\.", s.column)),
        By::OtherId => Some(format!(r"{}\.{id}\.", s.column)),
        By::Text => Some(format!(r"{}\.([0-9a-f]{{2}}){{0,{TEXT_BYTES}}}\.", s.column)),
    });
    match values.collect::<Vec<_>>().as_slice() {
        [] => format!("^{id}$"),
        some => format!("^({})?{id}$", some.join("|")),
    }
}

/// Whether a cursor has that form.
pub(super) fn is_cursor(noun: &Noun, audience: Audience, text: &str) -> bool {
    let Some((of, id)) = text.rsplit_once('.') else { return forms::is_any_id(text) };
    let Some((column, value)) = of.split_once('.') else { return false };
    let sort = noun.sorts.iter().find(|s| s.column == column && s.who.has(audience));
    forms::is_any_id(id)
        && match sort.map(|s| s.by) {
            None | Some(By::Id) => false,
            Some(By::Time) => (1..=16).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()),
            Some(By::OtherId) => forms::is_any_id(value),
            Some(By::Text) => {
                let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                value.len() % 2 == 0 && value.len() <= 2 * TEXT_BYTES && value.bytes().all(hex)
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noun::trunk::TRUNK;

    const ID: &str = "trk_06f7jv8c1gdyzv3n1v8d5h2k4m";

    fn paging(after: Option<&str>) -> Paging {
        Paging { after: after.map(str::to_owned), limit: 2, order: Order::NewestFirst }
    }

    fn read(
        audience: Audience,
        cursor: Option<&str>,
        query: &[(&str, &'static str)],
    ) -> Result<Listing, Fault> {
        let value = |name: &str| query.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Listing::read(&TRUNK, paging(cursor), audience, value)
    }

    /// What is published is what is read, for each audience.
    #[test]
    fn a_cursor_is_one_when_it_has_its_form() {
        let other = ID.replace("trk_", "cus_");
        for audience in [Audience::Customer, Audience::Operator] {
            let form = regex_lite::Regex::new(&cursor_pattern(&TRUNK, audience)).unwrap();
            for text in [
                ID.to_owned(),
                format!("updated_at.1795353285000000.{ID}"),
                format!("updated_at.17953532850000001.{ID}"),
                format!("updated_at..{ID}"),
                format!("updated_at.{ID}"),
                format!("updated_at.x.{ID}"),
                format!("customer_id.{other}.{ID}"),
                format!("customer_id.7.{ID}"),
                format!("name.{other}.{ID}"),
                format!("created_at.7.{ID}"),
                format!(".{ID}"),
                format!("{ID}.{ID}"),
                "updated_at.7.".to_owned(),
                String::new(),
            ] {
                assert_eq!(is_cursor(&TRUNK, audience, &text), form.is_match(&text), "{audience:?} {text:?}");
            }
            assert!(is_cursor(&TRUNK, audience, &format!("updated_at.7.{ID}")));
        }
        let by_customer = format!("customer_id.{other}.{ID}");
        assert!(is_cursor(&TRUNK, Audience::Operator, &by_customer));
        assert!(
            !is_cursor(&TRUNK, Audience::Customer, &by_customer),
            "an operators' sort has no customers' cursor"
        );
    }

    #[test]
    fn a_name_in_a_cursor_is_hex_and_becomes_the_name_again() {
        use crate::noun::InCursor as _;
        use crate::noun::partition::PARTITION;
        let id = ID.replace("trk_", "prt_");
        let form = regex_lite::Regex::new(&cursor_pattern(&PARTITION, Audience::Operator)).unwrap();
        for (digits, name) in [("", ""), ("c384", "Ä"), ("612e62", "a.b"), ("61ff00", "a\u{fffd}")] {
            let text = format!("name.{digits}.{id}");
            assert!(form.is_match(&text) && is_cursor(&PARTITION, Audience::Operator, &text), "{text}");
            assert_eq!(after(&PARTITION, 2, &text).unwrap().value.as_deref(), Some(name), "{text}");
        }
        assert_eq!("a.Ä".to_owned().in_cursor(By::Text), "612ec384");
        for wrong in ["6", "6G", "C3", &"61".repeat(TEXT_BYTES + 1)] {
            let text = format!("name.{wrong}.{id}");
            assert!(!form.is_match(&text) && !is_cursor(&PARTITION, Audience::Operator, &text), "{text}");
        }
    }

    #[test]
    fn a_cursor_goes_on_in_its_own_sort_only() {
        let by_time = format!("updated_at.7.{ID}");
        let listing = read(Audience::Customer, Some(&by_time), &[("sort", "-updated_at")]).unwrap();
        let after = After { value: Some("7".into()), id: ID.into() };
        assert_eq!((listing.sort, listing.after), (1, Some(after)));
        let listing = read(Audience::Customer, Some(ID), &[]).unwrap();
        assert_eq!((listing.sort, listing.after), (0, Some(After { value: None, id: ID.into() })));
        for (cursor, sort) in
            [(by_time.as_str(), "created_at"), (ID, "updated_at"), (by_time.as_str(), "customer_id")]
        {
            let fault = read(Audience::Operator, Some(cursor), &[("sort", sort)]).unwrap_err();
            assert_eq!((fault.details[0].field.as_str(), fault.details[0].code), ("cursor", "contradicts"));
        }
    }

    #[test]
    fn filters_are_read_for_the_audience_that_has_them_and_cannot_be_lifted() {
        let of = |audience, query: &[(&str, &'static str)]| read(audience, None, query).map(|l| l.filters);
        assert_eq!(of(Audience::Operator, &[("name", "a b")]).unwrap()[1].as_deref(), Some("a b"));
        let fault = of(Audience::Operator, &[("customer", "x"), ("ban", "y"), ("name", "z")]).unwrap_err();
        assert_eq!(fault.details.len(), 2, "all at once: {:?}", fault.details);
        assert_eq!(of(Audience::Customer, &[("customer", "x")]).unwrap()[0], None, "none of a customer's");
        let listing = read(Audience::Operator, None, &[]).unwrap();
        assert_eq!(
            listing.clone().only(&TRUNK, "customer", "c".into()).unwrap().filters[0].as_deref(),
            Some("c")
        );
        assert!(listing.only(&TRUNK, "colour", "c".into()).is_err(), "else everything would be listed");
    }
}
