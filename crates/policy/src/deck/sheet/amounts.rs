//! Prices, fees and increments as sheets write them: exact, or not at all.

use warp_model::{Currency, Nanos};

use super::currency::{self, is_code, is_sign};
use super::options::{DecimalMark, PriceUnit};
use super::words::{self, Said};

/// How numbers of a sheet are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Line of a number that can only have a decimal point.
    pub(super) point: Option<u64>,
    /// Line of a number that can only have a decimal comma.
    pub(super) comma: Option<u64>,
}

impl Evidence {
    /// Looks at one cell of a price column.
    pub(super) fn see(&mut self, text: &str, line: u64) {
        let (dot, comma) =
            (text.bytes().filter(|b| *b == b'.').count(), text.bytes().filter(|b| *b == b',').count());
        if dot == 0 && comma == 0 {
            return;
        }
        let digits = |t: &str| t.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (head, tail) = text.rsplit_once(['.', ',']).unwrap_or((text, ""));
        let places = tail.bytes().take_while(u8::is_ascii_digit).count();
        let first = head.trim_start_matches(|c: char| !c.is_ascii_digit());
        // `1,234` may be either; `0,0125`, `1,2345` and `,5` may not.
        let grouped = places == 3 && !first.starts_with('0') && (1..=3).contains(&digits(head));
        let last_is_dot = text.rfind(['.', ',']).and_then(|i| text.as_bytes().get(i)) == Some(&b'.');
        let (decimal_dot, decimal_comma) = match (dot, comma) {
            (1, 0) => (!grouped, false),
            (0, 1) => (false, !grouped),
            (_, 0) => (false, true),
            (0, _) => (true, false),
            _ => (last_is_dot, !last_is_dot),
        };
        if decimal_dot {
            self.point = self.point.or(Some(line));
        }
        if decimal_comma {
            self.comma = self.comma.or(Some(line));
        }
    }
}

/// What a price cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Price {
    /// So much, per minute or per call.
    Of(Nanos),
    /// The code is not carried.
    Blocked,
}

/// How to read amounts.
#[derive(Clone, Copy, Debug)]
pub(super) struct AmountRules {
    /// The currency of the deck, which each price must have.
    pub(super) currency: Currency,
    /// The upload says that the sheet is in the deck's currency, so a bare `$` is its dollar.
    pub(super) stated: bool,
    /// `None`: nothing in the sheet tells.
    pub(super) mark: Option<DecimalMark>,
    /// The upload says that amounts are cents.
    pub(super) cents: bool,
    /// Highest amount that is believed.
    pub(super) cap: Nanos,
}

/// Reads a price. `unit` is what the number is for; the result is per minute (a fee: per call).
///
/// Errors: in words for the person who uploads.
pub(super) fn price(text: &str, unit: PriceUnit, rules: &AmountRules) -> Result<Price, String> {
    if text.is_empty() {
        return Err("no price".to_owned());
    }
    let (number, named) = without_currency(text)?;
    if let Some(named) = named {
        currency::check(named, rules)?;
        // `$0.0125` are dollars, whatever an upload of last month has said.
        if unit == PriceUnit::CentsPerMinute {
            return Err(format!("an amount of whole units, where amounts are cents: {}", quoted(text)));
        }
    }
    if number.bytes().any(|b| b.is_ascii_alphabetic()) {
        if words::said(number) == Some(Said::Blocked) {
            return Ok(Price::Blocked);
        }
        if number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'e' | b'E' | b'+' | b'-'))
        {
            return Err(format!("written with an exponent, so digits may be lost: {}", quoted(text)));
        }
        return Err(format!("not a price: {}", quoted(text)));
    }
    let amount = decimal(number, unit, rules.mark).map_err(|e| format!("{e}: {}", quoted(text)))?;
    if amount > rules.cap {
        return Err(format!("above the cap of {}: {} (option cap)", rules.cap, quoted(text)));
    }
    Ok(Price::Of(amount))
}

/// Takes `$`, `EUR`, `USD/min` and the like from a cell.
fn without_currency(text: &str) -> Result<(&str, Option<&str>), String> {
    let b = text.as_bytes();
    if b.iter().all(|c| c.is_ascii_digit() || *c == b'.') {
        return Ok((text, None));
    }
    let mut rest = text;
    let mut named: Option<&str> = None;
    // Not `p/min`: those are pence.
    for end in ["/min", "/minute", "per minute", "per min"] {
        if let Some(r) = rest.strip_suffix(end) {
            rest = r.trim_end();
            break;
        }
    }
    let mut once = |found| match named.replace(found) {
        None => Ok(()),
        Some(before) if before == found => Ok(()),
        Some(_) => Err("two currencies in one cell".to_owned()),
    };
    if let Some(sign) = rest.chars().next().filter(|c| is_sign(*c)) {
        let (found, r) = rest.split_at_checked(sign.len_utf8()).unwrap_or((rest, ""));
        once(found)?;
        rest = r.trim();
    }
    if let Some(sign) = rest.chars().next_back().filter(|c| is_sign(*c)) {
        let (r, found) = rest.split_at_checked(rest.len() - sign.len_utf8()).unwrap_or(("", rest));
        once(found)?;
        rest = r.trim();
    }
    let head = rest.split_at_checked(3);
    let tail = rest.len().checked_sub(3).and_then(|n| rest.split_at_checked(n)).map(|(r, code)| (code, r));
    for (code, r) in [head, tail].into_iter().flatten() {
        if code.bytes().all(|b| b.is_ascii_alphabetic())
            && is_code(&code.to_ascii_uppercase())
            && !r.bytes().any(|b| b.is_ascii_alphabetic())
        {
            once(code)?;
            rest = r.trim();
            break;
        }
    }
    Ok((rest, named))
}

/// An exact decimal in nano-units for a minute.
fn decimal(text: &str, unit: PriceUnit, mark: Option<DecimalMark>) -> Result<Nanos, String> {
    const NOT: &str = "not a decimal number";
    if text.starts_with('-') || text.ends_with('-') || text.starts_with('(') {
        let number = text.trim_matches(['-', '(', ')', ' ']);
        let any = number.bytes().any(|b| b.is_ascii_digit());
        return Err(if any { "below zero" } else { "no price" }.to_owned());
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let (point, group) = match mark {
        Some(DecimalMark::Comma) => (',', '.'),
        _ => ('.', ','),
    };
    let (whole, places) = text.split_once(point).unwrap_or((text, ""));
    if text.contains(point) && places.is_empty() {
        return Err(NOT.to_owned());
    }
    if mark.is_none() && whole.contains(group) && !text.contains(point) {
        return Err("a comma that may separate thousands or decimals; say decimal: point or comma".to_owned());
    }
    let mut digits: i128 = 0;
    let mut many = 0usize;
    let mut push = |b: u8| -> Result<(), String> {
        many += 1;
        if !b.is_ascii_digit() || many > 24 {
            return Err(NOT.to_owned());
        }
        digits = digits * 10 + i128::from(b - b'0');
        Ok(())
    };
    if whole.bytes().all(|b| b.is_ascii_digit()) {
        whole.bytes().try_for_each(&mut push)?;
    } else {
        let marks = [group, ' ', '\u{a0}', '\u{202f}', '\'', '’'];
        let mut used = None;
        let mut groups = whole.split(|c| {
            let is = marks.contains(&c) && used.is_none_or(|u| u == c);
            used = if is { Some(c) } else { used };
            is
        });
        let first = groups.next().unwrap_or("");
        if !(1..=3).contains(&first.len()) || first.starts_with('0') {
            return Err("a mark that separates no thousands".to_owned());
        }
        first.bytes().try_for_each(&mut push)?;
        for g in groups {
            if g.len() != 3 {
                return Err("a mark that separates no thousands".to_owned());
            }
            g.bytes().try_for_each(&mut push)?;
        }
    }
    places.bytes().try_for_each(&mut push)?;
    if many == 0 {
        return Err(NOT.to_owned());
    }
    let (times, shift) = match unit {
        PriceUnit::PerMinute => (1, 0),
        PriceUnit::CentsPerMinute => (1, 2),
        PriceUnit::PerSecond => (60, 0),
    };
    let scale = places.len() + shift;
    let nanos = digits.checked_mul(times).ok_or(NOT)?;
    let value = if scale <= 9 {
        (scale..9).try_fold(nanos, |v, _| v.checked_mul(10))
    } else {
        (9..scale).try_fold(nanos, |v, _| (v % 10 == 0).then_some(v / 10))
    };
    let value = value.ok_or_else(|| "more than 9 decimal places".to_owned())?;
    i64::try_from(value).map(Nanos).map_err(|_| "out of range".to_owned())
}

/// First and further increments of `60/6`, `6+6`, `1/1/1`, `60`, `per second`, `60 sec / 1 sec`; `None`: neither.
pub(super) fn increments(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("increments are seconds such as 60/6, each 1 to 3,600: {}", quoted(text));
    match words::plain(text).as_str() {
        "persecond" | "second" | "secondly" | "seconds" | "persec" => return Ok((1, 1)),
        "perminute" | "minute" | "fullminute" | "permin" => return Ok((60, 60)),
        _ => {}
    }
    let mut parts = [0u32; 3];
    let mut n = 0;
    for part in text.split(['/', '+', '-', ':', '\\', '|']) {
        let slot = parts.get_mut(n).ok_or_else(wrong)?;
        *slot = seconds(part).ok_or_else(wrong)?;
        n += 1;
    }
    let fine = |n: u32| (1..=3_600).contains(&n);
    let made = match (n, parts) {
        (1, [a, ..]) => (a, a),
        (2, [a, b, _]) => (a, b),
        // Three equal numbers, or no free seconds before the two.
        (3, [a, b, c]) if a == b && b == c => (a, b),
        (3, [0, b, c]) => (b, c),
        _ => return Err(wrong()),
    };
    if fine(made.0) && fine(made.1) { Ok(made) } else { Err(wrong()) }
}

/// A number of seconds in any of its forms: `60`, `60 sec`, `60s`, `1 min`, `60.0`.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let n: u32 = (number.len() <= 5).then(|| number.parse().ok())??;
    match unit.trim().to_ascii_lowercase().trim_end_matches('.') {
        "" | "s" | "sec" | "secs" | "second" | "seconds" | ".0" => Some(n),
        "min" | "m" | "mins" | "minute" | "minutes" => n.checked_mul(60),
        _ => None,
    }
}

/// At most 40 characters of a cell between quotes, for a message.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(mark: Option<DecimalMark>) -> AmountRules {
        AmountRules {
            currency: Currency::USD,
            stated: false,
            cents: false,
            mark,
            cap: Nanos(2_000_000_000_000),
        }
    }

    fn read(text: &str, mark: Option<DecimalMark>) -> Option<i64> {
        match price(text, PriceUnit::PerMinute, &rules(mark)) {
            Ok(Price::Of(n)) => Some(n.0),
            _ => None,
        }
    }

    /// What one cell says of the sheet's decimal mark: a point, a comma, or nothing.
    #[test]
    fn a_mark_that_cannot_group_thousands_is_a_decimal_mark() {
        for (text, point, comma) in [
            ("0.125", true, false),
            ("0,125", false, true),
            ("$0.125", true, false),
            ("EUR 0,125", false, true),
            ("1,234", false, false),
            ("$1,234", false, false),
            ("1.234", false, false),
            ("1234,567", false, true),
            ("1,2345", false, true),
            (",5", false, true),
            ("1,234.5", true, false),
            ("1.234,5", false, true),
            ("1,234,567", true, false),
            ("125", false, false),
        ] {
            let mut evidence = Evidence::default();
            evidence.see(text, 7);
            let want = (point.then_some(7), comma.then_some(7));
            assert_eq!((evidence.point, evidence.comma), want, "{text}");
        }
    }

    #[test]
    fn prices_in_either_style() {
        use DecimalMark::*;
        for (text, mark, want) in [
            ("0.0125", None, 12_500_000),
            (".5", None, 500_000_000),
            ("$0.0125", None, 12_500_000),
            ("0.0125 USD", None, 12_500_000),
            ("USD 0.0125/min", None, 12_500_000),
            ("0.01250000000", None, 12_500_000),
            ("1,000.02", Some(Point), 1_000_020_000_000),
            ("1 000.02", Some(Point), 1_000_020_000_000),
            ("0,0125", Some(Comma), 12_500_000),
            ("1.000,02", Some(Comma), 1_000_020_000_000),
            ("1,234", Some(Comma), 1_234_000_000),
            ("1,234", Some(Point), 1_234_000_000_000),
        ] {
            assert_eq!(read(text, mark), Some(want), "{text}");
        }
        for (text, mark) in [
            ("", None),
            ("-", None),
            ("-0.1", None),
            ("(0.1)", None),
            ("1e-3", None),
            ("1.25E-02", None),
            ("€0.01", None),
            ("0.01 EUR", None),
            ("$0.01 EUR", None),
            ("1,234", None),
            ("0,0125", Some(Point)),
            ("12,34.5", Some(Point)),
            ("1,,000", Some(Point)),
            ("0.0000000001", None),
            ("1.2.3", None),
            ("1%", None),
            ("TBA", None),
            ("3000", None),
            ("1 000,000 000.5", None),
        ] {
            assert_eq!(read(text, mark), None, "{text}");
        }
        assert_eq!(price("BLOCKED", PriceUnit::PerMinute, &rules(None)), Ok(Price::Blocked));
    }

    #[test]
    fn units() {
        let read = |text: &str, unit| price(text, unit, &rules(None));
        assert_eq!(read("1.25", PriceUnit::CentsPerMinute), Ok(Price::Of(Nanos(12_500_000))));
        assert_eq!(read("0.0002", PriceUnit::PerSecond), Ok(Price::Of(Nanos(12_000_000))));
        assert!(read("0.00000001", PriceUnit::CentsPerMinute).unwrap_err().contains("9 decimal places"));
    }

    #[test]
    fn evidence_of_the_decimal_mark() {
        let see = |cells: &[&str]| {
            let mut e = Evidence::default();
            cells.iter().for_each(|c| e.see(c, 1));
            (e.point.is_some(), e.comma.is_some())
        };
        assert_eq!(see(&["1,234", "1.234", "5"]), (false, false));
        assert_eq!(see(&["0.5"]), (true, false));
        assert_eq!(see(&["0,5"]), (false, true));
        assert_eq!(see(&["1,234,567"]), (true, false));
        assert_eq!(see(&["1.234,5"]), (false, true));
        assert_eq!(see(&["$1,234.5"]), (true, false));
    }

    #[test]
    fn increments_in_all_forms() {
        for (text, want) in [
            ("60/6", (60, 6)),
            ("6+6", (6, 6)),
            ("1/1/1", (1, 1)),
            ("0/60/1", (60, 1)),
            ("60", (60, 60)),
            ("60-60", (60, 60)),
            ("60 sec / 1 sec", (60, 1)),
            ("1 min", (60, 60)),
            ("Per Second", (1, 1)),
            ("30/6.0", (30, 6)),
        ] {
            assert_eq!(increments(text), Ok(want), "{text}");
        }
        for text in ["", "0/6", "6/0", "60/60/1", "1/2/3/4", "6-Jun", "2026-06-06", "x", "3601", "6,6", "1e2"]
        {
            assert!(increments(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn exact(whole in 0u64..100, nanos in 0u64..1_000_000_000, comma in any::<bool>()) {
            let mark = if comma { DecimalMark::Comma } else { DecimalMark::Point };
            let text = format!("{whole}{}{nanos:09}", if comma { ',' } else { '.' });
            prop_assert_eq!(read(&text, Some(mark)), Some((whole * 1_000_000_000 + nanos) as i64));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,24}", numeric in "[0-9.,$€ '+-]{0,30}") {
            for t in [&text, &numeric] {
                let _ = price(t, PriceUnit::PerSecond, &rules(None));
                let _ = increments(t);
                Evidence::default().see(t, 1);
            }
        }
    }
}
