//! What remarks and names of places say although nobody reads them as a column: that the code is not carried, or that its price
//! is another one than the row's.

use super::amounts::AmountRules;
use super::currency;
use super::words::{Said, plain, said};

/// Words that say of a code that it is gone, as [`plain`] makes them.
const GONE: &[&str] = &[
    "blocked",
    "barred",
    "suspended",
    "withdrawn",
    "discontinued",
    "deactivated",
    "disabled",
    "terminated",
    "ceased",
    "deleted",
    "removed",
    "unavailable",
    "notavailable",
    "nolongeravailable",
    "notoffered",
    "nolongeroffered",
    "noaccess",
    "nocoverage",
    "outofservice",
    "codedeleted",
    "coderemoved",
];

fn is_gone(word: &str) -> bool {
    word == "closed" || GONE.contains(&word)
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(plain).collect()
}

/// A name with a status in it: `UK Mobile (blocked)`, `UK Mobile closed`, `BLOCKED - UK Mobile`. A name that is nothing else is
/// a name.
pub(super) fn name_says_gone(text: &str) -> bool {
    let words = words(text);
    let most = words.len().saturating_sub(1).min(3);
    let ends = (1..=most).any(|n| {
        let (before, end) = words.split_at(words.len() - n);
        // `Direct, not blocked`.
        let denied = before.last().is_some_and(|w| matches!(w.as_str(), "not" | "never" | "longer"));
        !denied && is_gone(&end.concat())
    });
    // `Closed user group` is a name, `(closed) UK` is not.
    let begins = (1..=most).any(|n| words.get(..n).is_some_and(|w| GONE.contains(&w.concat().as_str())));
    let mark = |c: char| {
        matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '*' | '_' | '/' | '|' | ':' | ';' | ',' | '–' | '—')
    };
    let mut parts = text.split(" - ").flat_map(|part| part.split(mark)).filter(|p| !p.trim().is_empty());
    begins || ends || (words.len() > 1 && parts.any(|part| is_gone(&plain(part))))
}

/// Why a remark cannot be left unread; `None`: it says nothing of carriage or money.
///
/// What it says of some calls only (`calls without a number are blocked`) is no removal of the code.
pub(super) fn remark_says(text: &str, rules: &AmountRules) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    let whole = matches!(said(text), Some(Said::Blocked | Said::Removed));
    let words = words(text);
    if whole || begins_gone(&words) || will_be_gone(&words) {
        return Some("the remark says that the code is not carried");
    }
    if currency::is_code(text) && !currency::WORDS.contains(&text) {
        return currency::check(text, rules)
            .err()
            .map(|_| "the remark names another currency than the deck's");
    }
    says_money(text, &words).then_some("the remark may change what a call costs")
}

fn begins_gone(words: &[String]) -> bool {
    let gone =
        (1..=words.len().min(3)).any(|n| words.get(..n).is_some_and(|w| GONE.contains(&w.concat().as_str())));
    // `Closed from 5 Dec`, not `Closed user groups are dearer`.
    let when = |w: &String| {
        w.bytes().any(|b| b.is_ascii_digit())
            || matches!(
                w.as_str(),
                "from" | "since" | "on" | "until" | "till" | "as" | "at" | "by" | "due" | "for" | "now"
            )
    };
    gone || words.first().is_some_and(|w| w == "closed") && words.get(1).is_none_or(when)
}

/// That the code goes later, or is gone now: `Will be closed on 5 Dec`, `currently blocked`.
fn will_be_gone(words: &[String]) -> bool {
    let some_calls =
        |w: &String| matches!(w.as_str(), "calls" | "traffic" | "cli" | "numbers" | "without" | "not" | "no");
    let soon = |w: &String| {
        matches!(
            w.as_str(),
            "be" | "been" | "being" | "currently" | "now" | "temporarily" | "permanently" | "already"
        )
    };
    (1..words.len()).any(|at| {
        let (before, rest) = words.split_at(at);
        let gone = (1..=rest.len().min(3)).any(|n| rest.get(..n).is_some_and(|w| is_gone(&w.concat())));
        gone && before.last().is_some_and(soon) && !before.iter().any(some_calls)
    })
}

/// Words that make another price of a row's, wherever they stand: parts of money, of the week, of what is charged.
pub(super) const ALTER: &[&str] = &[
    "cent",
    "cents",
    "pence",
    "penny",
    "paise",
    "paisa",
    "centimes",
    "centavos",
    "kopecks",
    "kopeks",
    "mills",
    "charged",
    "billed",
    "rounded",
    "rounding",
    "rounds",
    "multiplied",
    "minimum",
    "double",
    "doubled",
    "twice",
    "triple",
    "peak",
    "off-peak",
    "offpeak",
    "weekend",
    "weekends",
    "holiday",
    "holidays",
];

/// A fee, increments, a tax, a price with its amount, or a word of [`ALTER`].
fn says_money(text: &str, words: &[String]) -> bool {
    let any = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let none = any(&["no", "without", "free", "not", "never"]);
    if any(ALTER) && (digits || !none) {
        return true;
    }
    // Prices between carriers are without taxes; a remark that says so says nothing new.
    let net =
        text.contains('+') || any(&["plus", "excl", "excluding", "exclusive", "excludes", "net", "before"]);
    if any(&["vat", "gst", "tax", "taxes", "taxed"]) && !(net || none) {
        return true;
    }
    // `First minute in full`, `min 30 sec`, `per started minute`.
    let minutes = any(&["minute", "minutes", "min", "mins"]);
    let seconds = any(&["s", "sec", "secs", "second", "seconds"]);
    if minutes && any(&["first", "full", "whole", "started", "begun", "each", "every"])
        || seconds
            && digits
            && any(&["min", "minimal", "first", "then", "per", "each", "every", "call", "calls", "duration"])
    {
        return true;
    }
    // `Add 0.5`, `plus 2`, `+0.02`.
    if digits && any(&["add", "added", "adds", "plus", "extra", "additional"])
        || text.split_whitespace().any(|t| t.starts_with('+') && is_amount(t))
    {
        return true;
    }
    let fees = any(&["surcharge", "surcharges", "fee", "fees", "setup", "discount", "discounts"]);
    if fees && (digits || !none) {
        return true;
    }
    if (digits || seconds || minutes) && any(&["billing", "increment", "increments", "pulse", "pulses"]) {
        return true;
    }
    const OF_PRICES: &[&str] = &[
        "rate",
        "rates",
        "price",
        "prices",
        "tariff",
        "cost",
        "costs",
        "charge",
        "charges",
        "increase",
        "increased",
        "increases",
        "decrease",
        "decreased",
        "decreases",
        "reduced",
        "min",
        "minute",
        "cents",
        "pence",
        "minimum",
    ];
    let mut tokens = text.split_whitespace();
    let priced = any(OF_PRICES) || text.chars().any(currency::is_sign) || tokens.any(currency::is_code);
    let mut tokens =
        text.split_whitespace().map(|t| t.trim_matches(|c: char| !(c.is_alphanumeric() || c == '%')));
    (priced && tokens.clone().any(is_amount)) || tokens.any(is_increments)
}

/// `0.05`, `0,05`, `5%`; no date and no whole number, which may be a day or a count.
fn is_amount(token: &str) -> bool {
    if let Some(number) = token.strip_suffix('%') {
        return number.bytes().any(|b| b.is_ascii_digit());
    }
    let number = token.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number = number.split('/').next().unwrap_or_default().trim_end_matches(|c: char| !c.is_ascii_digit());
    let marks = number.bytes().filter(|b| matches!(b, b'.' | b',')).count();
    marks == 1 && number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
}

/// Increments that are usual; `24/7` and `5/12` are none.
fn is_increments(token: &str) -> bool {
    let Some((first, next)) = token.split_once(['/', '+']) else { return false };
    let usual = |text: &str| matches!(text, "1" | "6" | "30" | "60");
    usual(first) && usual(next) || (first == "60" || next == "60") && (usual(first) || usual(next))
}
