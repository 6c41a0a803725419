//! The words of rate sheets: what names of columns and a status say. A word that is not here is not understood.

use super::currency::{agrees, is_code, is_sign};
use super::names::field_of;
use super::options::{Field, PriceUnit};

/// What a column's name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heading {
    /// What it holds, when the name is known.
    pub(super) field: Option<Field>,
    /// A currency that it names: a code, or a sign.
    pub(super) currency: Option<String>,
    /// What its prices are for, when it says so.
    pub(super) unit: Option<PriceUnit>,
    /// It says that its times are UTC.
    pub(super) utc: bool,
}

/// A name without case, blanks and punctuation; `%` and `#` are words. Signs of currencies are read apart; other symbols stay,
/// so that a name with one (`Rate ‰`) is another name.
pub(super) fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '%' => out.push_str("pct"),
            '#' | '№' => out.push_str("no"),
            c if is_sign(c) => {}
            c if c.is_alphanumeric() => out.extend(c.to_lowercase()),
            c if c.is_ascii() || is_punctuation(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Blanks, marks and accents of their own that say nothing.
fn is_punctuation(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{202f}' | '\u{2032}'..='\u{203e}' | '\u{2060}'..='\u{206f}' | '\u{2212}' | '\u{feff}')
        || matches!(c, '·' | '«' | '»' | '¿' | '¡' | '¨' | '´' | '¸' | '¯' | '®' | '©' | '™')
}

/// Reads a column's name.
pub(super) fn heading(name: &str) -> Heading {
    let text = plain(name);
    let mut signs = name.chars().filter(|c| is_sign(*c));
    let sign = signs.next();
    if text.is_empty() && sign.is_none() {
        return Heading::default();
    }
    if let Some(field) = field_of(&text)
        && sign.is_none()
    {
        return Heading { field: Some(field), ..Heading::default() };
    }
    // `Effective Date (UTC)`.
    for zone in ["utc", "gmt"] {
        if let Some(rest) = text.strip_suffix(zone)
            && let Some(field) = field_of(rest)
            && matches!(field, Field::Effective | Field::Expires | Field::RemovedFrom | Field::BlockedFrom)
        {
            return Heading { field: Some(field), utc: true, ..Heading::default() };
        }
    }
    let cents = sign == Some('¢');
    let named = sign.map(|c| if cents { '$' } else { c }.to_string());
    // Two signs, and the name says nothing for certain.
    let one = signs.all(|s| Some(s) == sign);
    if let Some(h) = price_heading(name, &text, named.clone(), cents).filter(|_| one) {
        return h;
    }
    // Whatever a mapping says that the column holds, its name may still say the currency and the unit.
    let (currency, unit) = around(name, named.filter(|_| one));
    let currency = if one { currency } else { Some(name.chars().filter(|c| is_sign(*c)).collect()) };
    Heading {
        field: refused_by_word(&text),
        currency,
        unit: unit.or(cents.then_some(PriceUnit::CentsPerMinute)),
        utc: false,
    }
}

/// A currency's code and a unit among the words of a name that is not known.
fn around(name: &str, sign: Option<String>) -> (Option<String>, Option<PriceUnit>) {
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    let code = words.clone().find(|w| is_code(w)).map(str::to_owned);
    let lower = name.to_lowercase();
    let per_second = ["per second", "per sec", "/second", "/sec", "/ second", "/ sec", "/s)", "/s]"]
        .iter()
        .any(|unit| lower.contains(unit))
        || lower.ends_with("/s");
    let small = words.find_map(|w| match w.to_lowercase().as_str() {
        "cent" | "cents" | "cpm" => Some(None),
        "pence" => Some(Some("£".to_owned())),
        _ => None,
    });
    let unit = match (&small, per_second) {
        (Some(_), _) => Some(PriceUnit::CentsPerMinute),
        (None, true) => Some(PriceUnit::PerSecond),
        (None, false) => None,
    };
    (code.or(sign).or(small.flatten()), unit)
}

/// `Rate (USD/min)`, `Inter rate per minute`, `Price in cents`, `€/min`: a price's name with a currency and a unit around it.
fn price_heading(name: &str, text: &str, sign: Option<String>, mut cents: bool) -> Option<Heading> {
    let mut rest = text;
    let mut currency = sign;
    let (mut minutes, mut seconds) = (false, false);
    loop {
        let field = match field_of(rest) {
            // Only unit and currency are left over: `USD/min`. A bare `Min ($)` says less than that.
            None if rest.is_empty() && (minutes || seconds) && name.contains('/') => Some(Field::Rate),
            Some(
                f @ (Field::Rate
                | Field::Interstate
                | Field::Intrastate
                | Field::Indeterminate
                | Field::SetupFee
                | Field::LocalRate),
            ) => Some(f),
            _ => None,
        };
        if field.is_some() {
            // What a fee for each minute adds to the price is not a fee for a call.
            if field == Some(Field::SetupFee) && (minutes || seconds) {
                return None;
            }
            let unit = match (cents, seconds) {
                (true, true) => return None,
                (true, false) => Some(PriceUnit::CentsPerMinute),
                (false, true) => Some(PriceUnit::PerSecond),
                // `Rate (USD/min)` says more than `Rate per minute`, whose amounts may be cents.
                (false, false) => (minutes && currency.is_some()).then_some(PriceUnit::PerMinute),
            };
            return Some(Heading { field, currency, unit, utc: false });
        }
        if let Some(r) =
            without_end(rest, &["perminutes", "perminute", "permins", "permin", "minutes", "minute", "min"])
        {
            (rest, minutes) = (r, true);
        } else if let Some(r) = without_end(rest, &["persecond", "persec", "seconds", "second", "sec"]) {
            (rest, seconds) = (r, true);
        } else if let Some(r) = without_end(rest, &["incents", "cents", "cent", "cpm"]) {
            (rest, cents) = (r, true);
        } else if let Some(r) = without_end(rest, &["inpence", "pence"]) {
            // Hundredths of a pound.
            if currency.as_deref().is_some_and(|c| !matches!(c, "£" | "GBP")) {
                return None;
            }
            (rest, cents, currency) = (r, true, Some("£".to_owned()));
        } else {
            let (code, r) = code_at_an_end(rest)?;
            match currency.as_deref() {
                Some(c) if c != code && !agrees(c, &code) => return None,
                _ => (rest, currency) = (r, Some(code)),
            }
        }
    }
}

/// A currency's code behind a name or before it, and the rest of the name.
fn code_at_an_end(text: &str) -> Option<(String, &str)> {
    let known = |code: &str| Some(code.to_ascii_uppercase()).filter(|c| is_code(c));
    let behind = text.len().checked_sub(3).and_then(|n| text.split_at_checked(n));
    if let Some((rest, code)) = behind
        && let Some(code) = known(code)
    {
        return Some((code, rest.strip_suffix("in").unwrap_or(rest)));
    }
    let (code, rest) = text.split_at_checked(3)?;
    Some((known(code)?, rest))
}

fn without_end<'a>(text: &'a str, ends: &[&str]) -> Option<&'a str> {
    ends.iter().find_map(|end| text.strip_suffix(end))
}

/// Names that carry what is not supported: told apart so that the refusal can say it.
fn refused_by_word(text: &str) -> Option<Field> {
    const HOURS: &[&str] =
        &["peak", "weekend", "weekday", "holiday", "night", "evening", "daytime", "timeofday", "timeband"];
    const ORIGIN: &[&str] = &[
        "origin",
        "anumber",
        "aprefix",
        "anigroup",
        "callerprefix",
        "callerid",
        "callingparty",
        "callingprefix",
        "callingnumber",
        "sourceprefix",
        "fromprefix",
        "eea",
        "apty",
        "aparty",
    ];
    if HOURS.iter().any(|w| text.contains(w)) {
        return Some(Field::Peak);
    }
    let exact = matches!(text, "cli" | "ani" | "clirate" | "anirate" | "clizone" | "caller" | "calling");
    (exact || ORIGIN.iter().any(|w| text.contains(w))).then_some(Field::Origin)
}

/// What a status word says of the row's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is offered at the row's price.
    Offered,
    /// The row is taken out: a shorter code of the deck prices its numbers.
    Removed,
    /// The vendor does not carry it: nothing of this deck prices its numbers.
    Blocked,
}

/// The closed list of status words, compared without case, blanks and punctuation; `None` is not understood.
pub(super) fn said(text: &str) -> Option<Said> {
    const MOST: usize = 40;
    if text.len() > MOST {
        return None;
    }
    Some(match plain(text).as_str() {
        "new"
        | "newcode"
        | "newrate"
        | "newprice"
        | "newdestination"
        | "codeadded"
        | "added"
        | "add"
        | "increase"
        | "increased"
        | "rateincrease"
        | "priceincrease"
        | "increaserate"
        | "rateincreased"
        | "priceincreased"
        | "up"
        | "higher"
        | "decrease"
        | "decreased"
        | "ratedecrease"
        | "pricedecrease"
        | "ratedecreased"
        | "pricedecreased"
        | "down"
        | "lower"
        | "reduction"
        | "reduced"
        | "same"
        | "unchanged"
        | "nochange"
        | "nochanges"
        | "notchanged"
        | "current"
        | "currentrate"
        | "active"
        | "activated"
        | "open"
        | "opened"
        | "available"
        | "offered"
        | "enabled"
        | "valid"
        | "live"
        | "existing"
        | "confirmed"
        | "change"
        | "changed"
        | "ratechange"
        | "pricechange"
        | "ratechanged"
        | "update"
        | "updated"
        | "modified"
        | "effectivedatechange"
        | "inforce"
        | "inc"
        | "dec"
        | "incr"
        | "decr"
        | "stable"
        | "nochangeinrate" => Said::Offered,
        "removed" | "remove" | "deleted" | "delete" | "codedeleted" | "codedelete" | "coderemoved"
        | "coderemoval" | "ended" | "end" | "expired" | "deletedcode" | "removedcode" | "tobedeleted"
        | "toberemoved" | "deletion" | "removal" | "codeended" | "dropped" | "obsolete" => Said::Removed,
        "blocked"
        | "block"
        | "barred"
        | "suspended"
        | "suspend"
        | "temporarilysuspended"
        | "notavailable"
        | "unavailable"
        | "notoffered"
        | "notsupported"
        | "unsupported"
        | "noaccess"
        | "noservice"
        | "outofservice"
        | "withdrawn"
        | "withdraw"
        | "withdrawal"
        | "discontinued"
        | "discontinue"
        | "discontinuation"
        | "disabled"
        | "disable"
        | "inactive"
        | "deactivated"
        | "closed"
        | "close"
        | "stopped"
        | "stop"
        | "forbidden"
        | "prohibited"
        | "restricted"
        | "noroute"
        | "noroutes"
        | "nocoverage"
        | "terminated"
        | "cancelled"
        | "canceled"
        | "codeblocked"
        | "destinationblocked"
        | "blockeddestination"
        | "temporarilyblocked"
        | "notallowed"
        | "notserved"
        | "notinservice"
        | "notrouted"
        | "notoperational"
        | "notactive"
        | "ceased"
        | "onhold"
        | "hold"
        | "paused"
        | "nolongeravailable"
        | "nolongeroffered"
        | "notcarried"
        | "denied"
        | "rejected"
        | "locked"
        | "na"
        | "nooffer" => Said::Blocked,
        _ => return None,
    })
}

/// Yes and no in a column that asks a question.
pub(super) fn yes(text: &str) -> Option<bool> {
    Some(match plain(text).as_str() {
        "yes" | "y" | "true" | "1" | "x" | "t" | "✓" | "✔" | "☑" => true,
        "no" | "n" | "false" | "0" | "f" => false,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_vendors_write_them() {
        let field = |name: &str| heading(name).field;
        for (name, want) in [
            ("Dial Code", Field::Code),
            ("NPA-NXX", Field::Code),
            ("Préfixe", Field::Code),
            ("Valid Till", Field::Expires),
            ("Discontinued On", Field::BlockedFrom),
            ("Deleted On", Field::RemovedFrom),
            ("Withdrawn On (UTC)", Field::BlockedFrom),
            ("Active From", Field::Effective),
            ("EFFECTIVE_DATE", Field::Effective),
            ("Eff. Date (UTC)", Field::Effective),
            ("Min", Field::IncrementInitial),
            ("Int", Field::IncrementNext),
            ("Interval N", Field::IncrementNext),
            ("Peak Rate", Field::Peak),
            ("Off-Peak", Field::Peak),
            ("Originating Prefix", Field::Origin),
            ("Rate (USD/min)", Field::Rate),
            ("Rate, $ per minute", Field::Rate),
            ("Price in USD", Field::Rate),
            ("USD / Minute", Field::Rate),
            ("€/min", Field::Rate),
            ("EUR Rate", Field::Rate),
            ("Inter Rate USD", Field::Interstate),
            ("Setup Fee (USD)", Field::SetupFee),
            ("Remarks", Field::Remark),
        ] {
            assert_eq!(field(name), Some(want), "{name}");
        }
        for name in [
            "Min Rate",
            "Minimum Charge",
            "Rate 2",
            "Discount",
            "VAT",
            "Effective (EST)",
            "USD",
            "Tech prefix",
            "Timezone",
            "Rate ‰",
            "Rate ($/€)",
            "Rate (€ USD)",
            "Rate (US$)",
        ] {
            assert_eq!(field(name), None, "{name}");
        }
    }

    #[test]
    fn names_say_currency_and_unit() {
        let h = heading("Rate (EUR/min)");
        assert_eq!((h.currency.as_deref(), h.unit), (Some("EUR"), Some(PriceUnit::PerMinute)));
        assert_eq!(heading("Rate ($)").currency.as_deref(), Some("$"));
        assert_eq!(heading("Rate per second").unit, Some(PriceUnit::PerSecond));
        assert_eq!(heading("Rate (cents/min)").unit, Some(PriceUnit::CentsPerMinute));
        assert_eq!(heading("Rate").unit, None);
        assert!(heading("Effective Date GMT").utc);
        for (name, currency, unit) in [
            ("Rate (¢)", Some("$"), Some(PriceUnit::CentsPerMinute)),
            ("Rate (₹)", Some("₹"), None),
            ("Rate ($ USD)", Some("USD"), None),
            ("Rate (GTQ)", Some("GTQ"), None),
            ("Pence per minute rate", Some("£"), Some(PriceUnit::CentsPerMinute)),
            // Names that only a mapping knows.
            ("PVP (EUR)", Some("EUR"), None),
            ("PVP €", Some("€"), None),
            ("PVP cents", None, Some(PriceUnit::CentsPerMinute)),
            ("PVP ($/€)", Some("$€"), None),
        ] {
            let h = heading(name);
            assert_eq!((h.currency.as_deref(), h.unit), (currency, unit), "{name}");
        }
    }

    #[test]
    fn every_status_word_has_one_meaning() {
        for (word, want) in [
            ("Unchanged", Some(Said::Offered)),
            ("RATE-INCREASE", Some(Said::Offered)),
            ("Code deleted", Some(Said::Removed)),
            ("Withdrawn", Some(Said::Blocked)),
            ("no access", Some(Said::Blocked)),
            ("N/A", Some(Said::Blocked)),
            ("D", None),
            ("pending", None),
            ("0.02", None),
        ] {
            assert_eq!(said(word), want, "{word}");
        }
    }
}
