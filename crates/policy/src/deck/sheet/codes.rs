//! Dial codes of sheets: single, lists, ranges, in one column or in several. Digits that may have been lost are refused.

use super::amounts::quoted;
use crate::code::Code;

/// Codes that one cell may expand to.
pub(super) const MAX_CODES_PER_CELL: u64 = 10_000;

/// What stands in the cells that make a code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CodeCells<'a> {
    /// Of the column with codes.
    pub(super) code: &'a str,
    /// Of the column with country codes; put before each code of a list.
    pub(super) country: &'a str,
    /// Area code, exchange and block of the North American plan.
    pub(super) npa: &'a str,
    pub(super) nxx: &'a str,
    pub(super) block: &'a str,
}

/// Length of the country code that digits begin with; 0 = there is none such.
pub(super) fn country_len(digits: &str) -> usize {
    let b = digits.as_bytes();
    match (b.first(), b.get(1)) {
        (Some(b'1' | b'7'), _) => 1,
        (Some(b'2'), Some(b'0' | b'7'))
        | (Some(b'3'), Some(b'0'..=b'4' | b'6' | b'9'))
        | (Some(b'4'), Some(b'0' | b'1' | b'3'..=b'9'))
        | (Some(b'5'), Some(b'1'..=b'8'))
        | (Some(b'6'), Some(b'0'..=b'6'))
        | (Some(b'8'), Some(b'1' | b'2' | b'4' | b'6'))
        | (Some(b'9'), Some(b'0'..=b'5' | b'8')) => 2,
        (Some(b'2'..=b'9'), Some(_)) if b.len() >= 3 => 3,
        _ => 0,
    }
}

fn is_country(digits: &str) -> bool {
    !digits.is_empty() && country_len(digits) == digits.len()
}

/// The digits of one code: without `+`, `00`, `="…"` and a decimal point that a spreadsheet put there.
///
/// Errors: what is not one code for certain.
fn digits(text: &str) -> Result<&str, String> {
    let mut t = text.trim();
    if let Some(inner) = t.strip_prefix("=\"").and_then(|r| r.strip_suffix('"')) {
        t = inner.trim();
    }
    t = t.strip_prefix('\'').unwrap_or(t).trim();
    for zeros in [".0", ".00"] {
        if let Some(whole) = t.strip_suffix(zeros).filter(|w| w.bytes().all(|b| b.is_ascii_digit())) {
            t = whole;
            break;
        }
    }
    t = t.strip_prefix('+').unwrap_or(t);
    t = t.strip_prefix("00").or_else(|| t.strip_prefix("011")).unwrap_or(t);
    if t.is_empty() {
        return Err("no dial code".to_owned());
    }
    if !t.bytes().all(|b| b.is_ascii_digit()) {
        let exponent = t.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'e' | b'E' | b'+'));
        return Err(match (exponent && t.contains(['e', 'E']), t.contains('.') || t.contains(',')) {
            (true, _) => "the spreadsheet wrote the code with an exponent, and digits are lost".to_owned(),
            (_, true) => "a code has no decimal places".to_owned(),
            _ => "a dial code has digits only".to_owned(),
        });
    }
    if t.starts_with('0') {
        return Err("a dial code begins with the country code, never with 0".to_owned());
    }
    Ok(t)
}

/// A country code of a column of its own: `44`, `+44`, `0044`, `1-242`.
fn country(text: &str) -> Result<String, String> {
    let joined: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let d = digits(&joined).map_err(|e| format!("country code: {e}"))?;
    Ok(d.to_owned())
}

/// The codes of a sheet of the world. `apart`: the codes follow the country code.
pub(super) fn world(cells: CodeCells<'_>, apart: bool, out: &mut Vec<Code>) -> Result<(), String> {
    if !cells.npa.is_empty() || !cells.nxx.is_empty() || !cells.block.is_empty() {
        return match cells.code {
            "" => plan(cells, out),
            _ => {
                Err("a code beside an area code and exchange; map one of them, or ignore it by name"
                    .to_owned())
            }
        };
    }
    let plain = cells.code.as_bytes();
    if !apart && !plain.is_empty() && plain.iter().all(u8::is_ascii_digit) {
        out.push(Code::parse(digits(cells.code)?.as_bytes()).map_err(|e| e.to_string())?);
        return Ok(());
    }
    let before = if apart && !cells.country.is_empty() { country(cells.country)? } else { String::new() };
    if cells.code.is_empty() {
        if before.is_empty() {
            return Err("no dial code".to_owned());
        }
        out.push(Code::parse(before.as_bytes()).map_err(|e| e.to_string())?);
        return Ok(());
    }
    if apart && before.is_empty() {
        return Err("no country code; if its cell is merged with the one above, say repeat_cells".to_owned());
    }
    let (mut last, mut some_apart): (Option<Code>, bool) = (None, false);
    for part in cells.code.split([',', ';', '|', '\n']).map(str::trim).filter(|p| !p.is_empty()) {
        let from = out.len();
        let country_apart = one_or_range(part, &before, out)?;
        if out.len() as u64 > MAX_CODES_PER_CELL {
            return Err("more than 10,000 codes in one cell".to_owned());
        }
        let (Some(first), Some(end)) = (out.get(from), out.last()) else { continue };
        let whole = country_apart || part.starts_with(['+', '0']);
        if let (Some(last), true, false) = (last, before.is_empty(), whole) {
            stands_alone(last, some_apart, *first)?;
        }
        (last, some_apart) = (Some(*end), some_apart || country_apart);
    }
    if last.is_none() { Err("no dial code".to_owned()) } else { Ok(()) }
}

/// A list may say its country code once: `61 38,39`, `1-809,829,849`, `7495, 499`. Then `39` is not Italy.
///
/// `last` is the code before, and `some_apart` whether the country code of one before stood apart; `code` a further one that is
/// written in one piece. Errors: it may be a whole code, or follow the country code of the other.
fn stands_alone(last: Code, some_apart: bool, code: Code) -> Result<(), String> {
    let (a, b) = (last.to_string(), code.to_string());
    let (n, own) = (country_len(&a), country_len(&b));
    // A shorter code of another country, or of none, where the one before is more than a country, looks like the rest of a code.
    let other = own == 0 || a.get(..n) != b.get(..own);
    if some_apart || other && a.len() > n && b.len() < a.len() {
        return Err(format!(
            "is {b} a whole code, or does it follow the country code of {a}? write all codes of the list whole"
        ));
    }
    Ok(())
}

/// `44`, `44 20`, `1-242`, `201-203`, `7495 - 7499`. Out: the country code is written apart, by a blank or a hyphen.
fn one_or_range(part: &str, before: &str, out: &mut Vec<Code>) -> Result<bool, String> {
    let hyphens = part.replace(['–', '—', '‐', '‑'], "-");
    let mut pieces = hyphens.split('-').map(str::trim);
    let (first, second, more) = (pieces.next().unwrap_or(""), pieces.next(), pieces.next());
    let make = |digits: &str| Code::parse(format!("{before}{digits}").as_bytes()).map_err(|e| e.to_string());
    let blank = |text: &str| text.contains(char::is_whitespace);
    let Some(second) = second else {
        out.push(make(&spaced(first, before)?)?);
        return Ok(blank(first));
    };
    let (a, b) = (spaced(first, before)?, spaced(second, before).map_err(|e| format!("range: {e}"))?);
    let joins = before.is_empty() && is_country(&a);
    if let Some(third) = more {
        if !joins || hyphens.split('-').count() != 3 {
            return Err("more than one hyphen".to_owned());
        }
        // `1-809-201`: the groups of one code. `1-201-203` may be two area codes and those between them.
        let c = spaced(third, "x")?;
        if b.len() == c.len() && b <= c {
            return Err("one code in groups, or a range? write codes whole".to_owned());
        }
        out.push(make(&format!("{a}{b}{c}"))?);
        return Ok(true);
    }
    let (from, to) = (make(&a)?, make(&b)?);
    if from.len() == to.len() && from <= to {
        let (a, b) = (format!("{before}{a}"), format!("{before}{b}"));
        let n = country_len(&a);
        if n == 0 || a.get(..n) != b.get(..n) {
            return Err("a range that spans country codes".to_owned());
        }
        if to.value() - from.value() >= MAX_CODES_PER_CELL {
            return Err("more than 10,000 codes in one cell".to_owned());
        }
        out.extend((from.value()..=to.value()).map(|v| Code::of(v, from.len())));
        return Ok(blank(first));
    }
    // `1-242` is no range: one code with its country code apart.
    if joins {
        out.push(make(&format!("{a}{b}"))?);
        return Ok(true);
    }
    Err("a range runs between two codes of one length".to_owned())
}

/// `44 20` is one code because its first group is a country code; more groups may be several codes.
fn spaced(text: &str, before: &str) -> Result<String, String> {
    if !text.contains(char::is_whitespace) {
        return digits(text).map(str::to_owned);
    }
    let mut groups = text.split_whitespace();
    let first = digits(groups.next().unwrap_or(""))?;
    match (groups.next(), groups.next()) {
        (Some(rest), None)
            if before.is_empty() && is_country(first) && rest.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok(format!("{first}{rest}"))
        }
        _ => Err("one code with blanks, or several? separate codes by commas".to_owned()),
    }
}

/// `4,420`: two codes, or one that a spreadsheet has written with separators of thousands? Commas without blanks, and three digits behind
/// each.
pub(super) fn may_be_one_number(text: &str) -> bool {
    let mut groups = text.split(',').map(|g| (g.len(), g.bytes().all(|b| b.is_ascii_digit())));
    let first = matches!(groups.next(), Some((1..=3, true)));
    first && text.contains(',') && groups.all(|g| g == (3, true))
}

/// Another cell of the column tells that its commas are between codes: a longer code without them, or a list that can be no number.
pub(super) fn tells_of_lists(text: &str) -> bool {
    let long = text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
    long || text.contains([',', ';', '|', '-']) && !may_be_one_number(text)
}

/// What may stand within a code of this column, because its name or its other codes say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Within {
    /// A comma may separate thousands: no other code tells.
    pub(super) thousands: bool,
    /// `201-203` is an area code and an exchange, and no range.
    pub(super) hyphens: bool,
    /// `201 203` is one code.
    pub(super) blanks: bool,
}

/// The code of a sheet of the USA: NPA, NPANXX, NPANXX-X or longer, with or without the leading 1.
pub(super) fn usa(cells: CodeCells<'_>, within: Within, out: &mut Vec<Code>) -> Result<(), String> {
    if !cells.country.is_empty() && country(cells.country)? != "1" {
        return Err(format!("a US deck has country code 1 only: {}", quoted(cells.country)));
    }
    if cells.code.is_empty() && (!cells.npa.is_empty() || !cells.nxx.is_empty()) {
        return plan(cells, out);
    }
    let before = out.len();
    for part in cells.code.split([',', ';', '|', '\n']).map(str::trim).filter(|p| !p.is_empty()) {
        let code = usa_one(part, within)?;
        // `212-555, 556`: another exchange, or an area code?
        if code.len() == 4
            && let Some(last) = out.get(before..).and_then(<[Code]>::last).filter(|last| last.len() > 4)
        {
            return Err(format!(
                "is {code} an area code, or an exchange of {last}? write all codes of the list whole"
            ));
        }
        out.push(code);
        if out.len() as u64 > MAX_CODES_PER_CELL {
            return Err("more than 10,000 codes in one cell".to_owned());
        }
    }
    if out.len() == before {
        // An empty cell is a mistake, and no price for all of the USA.
        return Err("no dial code".to_owned());
    }
    if !matches!(cells.block, "" | "A" | "a") {
        let digit = block_digit(cells.block)?;
        match out.get_mut(before..) {
            Some([code]) if code.len() == 7 => *code = Code::of(code.value() * 10 + digit, 8),
            Some([code]) if code.len() == 8 && code.value() % 10 == digit => {}
            _ => return Err("a thousands block belongs to one exchange".to_owned()),
        }
    }
    if !cells.npa.is_empty() {
        let mut parts = Vec::new();
        plan(CodeCells { block: "", ..cells }, &mut parts)?;
        let fits = parts.first().is_some_and(|p| out.iter().skip(before).all(|c| p.covers(*c)));
        if !fits {
            return Err("the code is not below the area code and exchange beside it".to_owned());
        }
    }
    Ok(())
}

/// Digits in groups, with hyphens or blanks between them; the leading 1 of the first one taken away. `None`: more than three,
/// or something else.
fn groups(text: &str) -> Option<([&str; 3], usize)> {
    let mut out = [""; 3];
    let mut n = 0;
    let mark = |c: char| matches!(c, '-' | '.' | '(' | ')') || c.is_whitespace();
    for group in text.split(mark).filter(|g| !g.is_empty()) {
        let group = if n == 0 { group.strip_prefix('+').unwrap_or(group) } else { group };
        if !group.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if n == 0 && group == "1" {
            continue;
        }
        let one = n == 0 && matches!(group.len(), 4 | 7);
        *out.get_mut(n)? = group.strip_prefix('1').filter(|_| one).unwrap_or(group);
        n += 1;
    }
    Some((out, n))
}

/// Is it an area code and an exchange by their order (`989-202`)?
pub(super) fn is_no_range(text: &str) -> bool {
    matches!(groups(text), Some(([a, b, ""], 2)) if a.len() == 3 && b.len() == 3 && a > b)
}

fn usa_one(text: &str, within: Within) -> Result<Code, String> {
    let joined;
    let text = if text.contains(['-', ' ', '.', '(', ')']) && !text.ends_with(".0") {
        if let Some((found, n @ 2..)) = groups(text) {
            let lens = found.map(str::len);
            let [a, b, _] = found;
            let hyphen = text.contains('-');
            if !hyphen && !text.contains(['(', '.']) && !within.blanks {
                return Err("one code with blanks, or several? separate codes by commas".to_owned());
            }
            if hyphen && lens == [3, 3, 0] && a <= b && !within.hyphens && !text.contains('(') {
                return Err(
                    "a range of area codes, or an area code and its exchange? write codes whole, or name the column NPA-NXX"
                        .to_owned(),
                );
            }
            if !matches!(lens, [3, 3, 0] | [3, 4, 0] | [3, 3, 1] | [3, 3, 4] | [6, 1, 0] | [6, 4, 0]) || n > 3
            {
                return Err("not an NPA, NPANXX or NPANXX-X".to_owned());
            }
        }
        joined = text.chars().filter(|c| !matches!(c, '-' | ' ' | '.' | '(' | ')')).collect::<String>();
        joined.as_str()
    } else {
        text
    };
    let d = digits(text)?;
    let full;
    let d = if d.starts_with('1') {
        d
    } else {
        full = format!("1{d}");
        full.as_str()
    };
    let code = Code::parse(d.as_bytes()).map_err(|e| e.to_string())?;
    let fine = match d.as_bytes() {
        [_] => true,
        [_, npa, rest @ ..] => {
            (b'2'..=b'9').contains(npa)
                && matches!(d.len(), 4 | 7..=11)
                && rest.get(2).is_none_or(|nxx| (b'2'..=b'9').contains(nxx))
        }
        [] => false,
    };
    if fine { Ok(code) } else { Err("not an NPA, NPANXX or NPANXX-X".to_owned()) }
}

/// `201`, `555`, `3` of three columns are one code.
fn plan(cells: CodeCells<'_>, out: &mut Vec<Code>) -> Result<(), String> {
    let npa = digits(cells.npa).map_err(|e| format!("area code: {e}"))?;
    let npa = npa.strip_prefix('1').filter(|r| r.len() == 3).unwrap_or(npa);
    let mut whole = format!("1{npa}");
    if npa.len() != 3 {
        return Err("an area code (NPA) has three digits".to_owned());
    }
    if !cells.nxx.is_empty() {
        let nxx = digits(cells.nxx).map_err(|e| format!("exchange: {e}"))?;
        if nxx.len() != 3 {
            return Err("an exchange (NXX) has three digits".to_owned());
        }
        whole.push_str(nxx);
    }
    match cells.block {
        "" | "A" | "a" => {}
        _ if cells.nxx.is_empty() => return Err("a block without an exchange".to_owned()),
        block => whole.push_str(&block_digit(block)?.to_string()),
    }
    out.push(usa_one(&whole, Within::default())?);
    Ok(())
}

fn block_digit(text: &str) -> Result<u64, String> {
    match text.strip_suffix(".0").unwrap_or(text).as_bytes() {
        [b @ b'0'..=b'9'] => Ok(u64::from(b - b'0')),
        _ => Err(format!("a block is one digit, or A: {}", quoted(text))),
    }
}

/// Whether a code cell begins with the country code beside it; `None`: no digits to tell by.
pub(super) fn begins_with_country(code: &str, country_text: &str) -> Option<bool> {
    let c = country(country_text).ok()?;
    let mut all = None;
    for part in code.split([',', ';', '|', '\n', '-', ' ']).map(str::trim).filter(|p| !p.is_empty()) {
        let d = digits(part).ok()?;
        all = Some(all.unwrap_or(true) && d.starts_with(&c));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn az(code: &str) -> Result<String, String> {
        codes(CodeCells { code, ..CodeCells::default() }, false)
    }

    fn codes(cells: CodeCells<'_>, apart: bool) -> Result<String, String> {
        let mut out = Vec::new();
        world(cells, apart, &mut out)?;
        Ok(out.iter().map(Code::to_string).collect::<Vec<_>>().join(","))
    }

    fn us(code: &str) -> Result<String, String> {
        let mut out = Vec::new();
        usa(
            CodeCells { code, ..CodeCells::default() },
            Within { hyphens: true, blanks: true, ..Within::default() },
            &mut out,
        )?;
        Ok(out.iter().map(Code::to_string).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn codes_of_the_world() {
        for (text, want) in [
            ("44", "44"),
            ("+44", "44"),
            ("0044", "44"),
            ("01144", "44"),
            ("44.0", "44"),
            ("=\"4420\"", "4420"),
            ("'4420", "4420"),
            ("44 20", "4420"),
            ("1-242", "1242"),
            ("1-242-201", "1242201"),
            ("44-20", "4420"),
            ("7495-7497", "7495,7496,7497"),
            ("7495 – 7496", "7495,7496"),
            ("7495, 7496;7497|7499", "7495,7496,7497,7499"),
            ("447000000000", "447000000000"),
            ("44 20, 44 21", "4420,4421"),
            ("1-809; 1-829", "1809,1829"),
            ("1809,1829,1849", "1809,1829,1849"),
            ("44 20,+39", "4420,39"),
            ("870,8816,8817", "870,8816,8817"),
            ("590,594", "590,594"),
            ("7840,99544", "7840,99544"),
        ] {
            assert_eq!(az(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "",
            "4.47E+11",
            "4,47E+11",
            "44.5",
            "044",
            "44x",
            "44*",
            "44-45",
            "33-34",
            "7495 7499",
            "44 33 49",
            "1 201 555",
            "1-242-357",
            "9-11",
            "44/45",
            "44.",
            "1000000-9999999",
            "12345678901234567",
            "44--45",
            "+",
            "-",
            "44-",
            "-44",
            "UK",
            "٤٤",
        ] {
            assert!(az(text).is_err(), "{text}: {:?}", az(text));
        }
    }

    /// The import of freeside.biz wants `61 38,39`, and many lists of the Dominican Republic are `1-809,829,849`.
    #[test]
    fn a_list_that_says_its_country_code_once_is_refused() {
        for text in [
            "61 38,39",
            "52 33,55,81",
            "1-809,829,849",
            "1 809, 829, 849",
            "1809,829,849",
            "1787;939",
            "7495-7497,39",
            "44 20,4421",
        ] {
            let refused = az(text).unwrap_err();
            assert!(refused.contains("write all codes of the list whole"), "{text}: {refused}");
        }
    }

    #[test]
    fn country_and_area_code_apart() {
        let of = |country, code| codes(CodeCells { country, code, ..CodeCells::default() }, true);
        assert_eq!(of("7", "495,499").as_deref(), Ok("7495,7499"));
        assert_eq!(of("1", "201-203;205").as_deref(), Ok("1201,1202,1203,1205"));
        assert_eq!(of("+52", "").as_deref(), Ok("52"));
        assert_eq!(of("1-242", "").as_deref(), Ok("1242"));
        assert_eq!(of("0044", "20").as_deref(), Ok("4420"));
        for (country, code) in [("", "20"), ("", ""), ("UK", "20"), ("7", "9-11"), ("44", "20 7")] {
            assert!(of(country, code).is_err(), "{country} {code}");
        }
    }

    #[test]
    fn codes_of_the_usa() {
        for (text, want) in [
            ("212555", "1212555"),
            ("1212555", "1212555"),
            ("212", "1212"),
            ("2125551", "12125551"),
            ("212-555", "1212555"),
            ("+1 212 555", "1212555"),
            ("(212) 555", "1212555"),
            ("212555.0", "1212555"),
            ("212555,212556", "1212555,1212556"),
        ] {
            assert_eq!(us(text).as_deref(), Ok(want), "{text}");
        }
        for text in
            ["", "-", "112", "44", "21255", "2.12555E+05", "212155", "0212555", "4420", "212555-212557"]
        {
            assert!(us(text).is_err(), "{text}: {:?}", us(text));
        }
        let parts = |npa, nxx, block| {
            let mut out = Vec::new();
            usa(CodeCells { npa, nxx, block, ..CodeCells::default() }, Within::default(), &mut out)?;
            Ok::<_, String>(out.first().map(Code::to_string).unwrap_or_default())
        };
        assert_eq!(parts("201", "555", "").as_deref(), Ok("1201555"));
        assert_eq!(parts("201", "555", "3").as_deref(), Ok("12015553"));
        assert_eq!(parts("201", "555", "A").as_deref(), Ok("1201555"));
        assert_eq!(parts("201", "", "").as_deref(), Ok("1201"));
        for (a, b, c) in [
            ("", "555", ""),
            ("20", "555", ""),
            ("201", "55", ""),
            ("201", "155", ""),
            ("201", "", "3"),
            ("201", "555", "12"),
        ] {
            assert!(parts(a, b, c).is_err(), "{a} {b} {c}");
        }
    }

    #[test]
    fn country_codes() {
        for (digits, len) in [
            ("1201", 1),
            ("7495", 1),
            ("4420", 2),
            ("20", 2),
            ("27", 2),
            ("212", 3),
            ("355", 3),
            ("8816", 3),
            ("21", 0),
            ("", 0),
        ] {
            assert_eq!(country_len(digits), len, "{digits}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(a in "\\PC{0,24}", b in "[0-9+., ;|-]{0,24}") {
            for t in [&a, &b] {
                let _ = az(t);
                let _ = us(t);
                let _ = codes(CodeCells { country: &a, code: t, ..CodeCells::default() }, true);
                let _ = begins_with_country(t, &b);
            }
        }
    }
}
