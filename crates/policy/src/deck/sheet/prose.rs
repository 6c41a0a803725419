//! Lines above the header and below the rows. What in them carries money, dates or scope is understood or refused; the rest
//! is a title.

use warp_model::Wall;

use super::amounts::AmountRules;
use super::currency;
use super::dates::{date, end};
use super::options::{DateOrder, Zone};
use super::remarks::ALTER;

/// What such a line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prose {
    /// Prices count from.
    pub(super) from: Option<Wall>,
    /// Prices count until this moment: the end of the last day where no time is said.
    pub(super) until: Option<Wall>,
}

/// Reads a line, its cells joined by blanks.
///
/// Errors: why it cannot be left unread.
pub(super) fn read(
    text: &str,
    order: Option<DateOrder>,
    zone: Zone,
    rules: &AmountRules,
) -> Result<Prose, String> {
    let small = text.to_lowercase();
    let words: Vec<&str> = small
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '/' | '-' | '.' | ':' | '+' | '%')))
        .map(|w| w.trim_matches(['.', ':', '-', '/']))
        .filter(|w| !w.is_empty())
        .collect();
    let named = currency::in_line(text, rules)?;
    // `All rates in USD per minute`: whole units, whatever an upload of last month has said.
    let minutes = small.contains("/min") || small.contains("per min") || small.contains("/ min");
    if rules.cents && minutes && named {
        return Err("it says that amounts are whole units, and the upload that they are cents".to_owned());
    }
    const MONEY: &[&str] = &[
        "increment",
        "increments",
        "billing",
        "pulse",
        "interval",
        "surcharge",
        "surcharges",
        "fee",
        "fees",
        "setup",
        "set-up",
        "discount",
        "discounts",
        "second",
        "seconds",
        "sec",
        "/sec",
        "/second",
        "tax",
        "taxes",
        "origin",
        "origins",
        "originating",
        "origination",
        "eea",
        "blocked",
        "withdrawn",
        "discontinued",
        "suspended",
        "removed",
        "deleted",
        "closed",
        "exclude",
        "excluded",
        "excluding",
        "except",
        "increase",
        "cancelled",
        "thousand",
        "1000",
        "commitment",
        "penalty",
        "applies",
    ];
    let excl = ["excl", "excluding", "exclusive", "excludes", "exclude", "without", "net", "plus", "before"];
    let about_tax = words.iter().any(|w| matches!(*w, "vat" | "tax" | "taxes"));
    let net_of_tax = about_tax && words.iter().any(|w| excl.contains(w));
    if about_tax && !net_of_tax {
        return Err("it speaks of taxes".to_owned());
    }
    // Words that speak of the tax alone, where prices are without it.
    let of_tax = |w: &str| net_of_tax && (excl.contains(&w) || matches!(w, "vat" | "tax" | "taxes"));
    if let Some(word) =
        words.iter().find(|w| (MONEY.contains(w) || ALTER.contains(w)) && !of_tax(w) || w.ends_with('%'))
    {
        return Err(format!("it says \"{word}\", which may change what a call costs"));
    }
    dates(&words, order, zone)
}

/// Dates that stand behind a word that says what they are.
fn dates(words: &[&str], order: Option<DateOrder>, zone: Zone) -> Result<Prose, String> {
    let mut out = Prose::default();
    let mut last: Option<Which> = None;
    let mut any_word = false;
    let mut i = 0;
    while let Some(word) = words.get(i) {
        i += 1;
        match *word {
            "effective" | "effect" | "valid" | "validity" | "active" | "starting" | "start" | "starts"
            | "commencing" | "applicable" => {
                last = Some(Which::From);
                any_word = true;
            }
            "from" | "since" | "as" | "on" | "of" | "date" | "with" | "period" | "the" | "is" | "are"
            | "rates" | "prices"
                if last.is_some() =>
            {
                if matches!(*word, "from" | "since") {
                    last = Some(Which::From);
                }
            }
            "until" | "till" | "to" | "through" | "thru" | "expires" | "expiry" | "expiration" | "ending"
            | "ends" | "end" => {
                last = Some(Which::Until);
                any_word |= matches!(*word, "until" | "till" | "expires" | "expiry" | "expiration");
            }
            "issued" | "issue" | "created" | "generated" | "printed" | "sent" | "exported" | "updated"
            | "revised" | "version" => {
                last = Some(Which::Nothing);
            }
            _ => {
                let date = if matches!(last, Some(Which::Until)) { end } else { date };
                // `5 December 2026` is three words, `2026-01-01 00:00` two.
                let joined = words.get(i - 1..i + 2).map(|w| w.join(" "));
                let day = word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
                let long = joined.filter(|_| day || month(word)).and_then(|j| date(&j, order, zone).ok());
                let clock = words.get(i).filter(|w| w.contains(':')).map(|w| format!("{word} {w}"));
                let timed = clock.filter(|_| looks_dated(word)).and_then(|c| date(&c, order, zone).ok());
                let found = if let Some(at) = long {
                    i += 2;
                    Some(Ok(at))
                } else if let Some(at) = timed {
                    i += 1;
                    Some(Ok(at))
                } else if looks_dated(word) {
                    Some(date(word, order, zone))
                } else {
                    None
                };
                match (found, last) {
                    (None, _) => {}
                    (Some(_), Some(Which::Nothing)) => {}
                    (Some(Ok(at)), Some(Which::From)) if out.from.is_none() => out.from = Some(at),
                    (Some(Ok(at)), Some(Which::Until)) if out.until.is_none() => out.until = Some(at),
                    (Some(Err(e)), _) => return Err(e),
                    (Some(Ok(_)), _) => return Err("it has a date that may say when prices count".to_owned()),
                }
            }
        }
    }
    if any_word && out == Prose::default() {
        return Err("it says when prices count, and the date is not understood".to_owned());
    }
    Ok(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    From,
    Until,
    /// Of the paper, not of the prices.
    Nothing,
}

fn month(word: &str) -> bool {
    const SHORT: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    word.get(..3).is_some_and(|w| SHORT.contains(&w))
}

/// Digits with marks of a date between them, or eight digits that begin like a year.
fn looks_dated(word: &str) -> bool {
    let marks = word.bytes().filter(|b| matches!(b, b'-' | b'/' | b'.')).count();
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    (marks == 2 && digits >= 4) || (word.len() == 8 && digits == 8 && word.starts_with("20"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warp_model::{Currency, Nanos};

    fn rules() -> AmountRules {
        AmountRules { currency: Currency::USD, stated: false, cents: false, mark: None, cap: Nanos(1) }
    }

    fn line(text: &str) -> Result<Prose, String> {
        read(text, None, Zone(0), &rules())
    }

    fn day(text: &str) -> Option<Wall> {
        Some(date(text, None, Zone(0)).unwrap())
    }

    #[test]
    fn titles_dates_and_what_is_refused() {
        for title in [
            "Example Carrier Ltd",
            "A-Z Rates",
            "Rate sheet 17",
            "All rates in USD per minute",
            "Currency: USD",
            "Tel. +44 20 7123 4567",
            "Prices exclude VAT",
            "Created 2026-01-01",
            "Confidential",
            "Page 1 of 3",
            "End of file",
            "Total rows: 2",
            "Contract 19991231",
            "Ref. 2026-17",
        ] {
            assert_eq!(line(title), Ok(Prose::default()), "{title}");
        }
        for (text, from, until) in [
            ("Rates valid from 2026-01-01", day("2026-01-01"), None),
            ("Effective Date: 05.12.2026", day("2026-12-05"), None),
            ("Effective 5 December 2026", day("2026-12-05"), None),
            ("Valid from 2026-01-01 until 2026-12-31", day("2026-01-01"), day("2027-01-01")),
            ("Expires 2026-12-31", None, day("2027-01-01")),
            ("Effective 20261205", day("2026-12-05"), None),
            ("Issued 2026-01-02, effective as of 2026-02-01", day("2026-02-01"), None),
        ] {
            assert_eq!(line(text), Ok(Prose { from, until }), "{text}");
        }
        for text in [
            "Currency: EUR",
            "All prices in €",
            "Prices in cents",
            "All calls are billed 60/60",
            "Surcharge of 0.05 for calls from outside the EEA",
            "Prices include VAT",
            "Valid from 05/12/2026",
            "Valid until further notice",
            "2026-01-01",
            "10% off",
            "Effective next Monday",
            "20261205",
            "Peak hours 8 to 18",
            "Code 447 is blocked",
            "Rates in euro",
        ] {
            assert!(line(text).is_err(), "{text}: {:?}", line(text));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}", words in "(valid|from|2026-01-01|5|dec|until| |:|/){0,12}") {
            let _ = line(&text);
            let _ = line(&words);
        }
    }
}
