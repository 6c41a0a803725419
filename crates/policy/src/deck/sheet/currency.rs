//! Currencies as sheets name them: by codes, signs and words. One that is not the deck's is refused wherever it stands, and so
//! is one that is not known where a currency is expected.

use warp_model::Currency;

use super::amounts::{AmountRules, quoted};

/// Is it the sign of a currency? All of Unicode's, and the florin's letter.
pub(super) fn is_sign(c: char) -> bool {
    matches!(c,
        '$' | '¢'..='¥' | 'ƒ' | '\u{58f}' | '\u{60b}' | '\u{7fe}' | '\u{7ff}' | '\u{9f2}' | '\u{9f3}' | '\u{9fb}' | '\u{af1}'
        | '\u{bf9}' | '\u{e3f}' | '\u{17db}' | '\u{20a0}'..='\u{20cf}' | '\u{a838}' | '\u{fdfc}' | '\u{fe69}' | '\u{ff04}'
        | '\u{ffe0}' | '\u{ffe1}' | '\u{ffe5}' | '\u{ffe6}')
}

/// Is it a currency's code, in upper case: of ISO 4217, or one that sheets still use?
pub(super) fn is_code(text: &str) -> bool {
    const OTHERS: &[&str] = &[
        "CNH", "RMB", "BGN", "HRK", "ANG", "CUC", "SLL", "VEF", "ZWL", "BYR", "MRO", "STD", "LTL", "LVL",
        "EEK", "DEM", "BTC",
    ];
    text.len() == 3 && (text.parse::<Currency>().is_ok_and(|c| c.is_iso_4217()) || OTHERS.contains(&text))
}

/// Codes that are words too: above a sheet they mean a currency only where one is expected.
pub(super) const WORDS: &[&str] =
    &["ALL", "TOP", "TRY", "CUP", "MOP", "PEN", "GEL", "MAD", "BOB", "SOS", "BAM", "AMD", "ANG", "STD"];
/// And these where they are not in upper case.
const SMALL_WORDS: &[&str] = &[
    "ars", "bif", "cad", "cop", "cve", "dop", "gip", "isk", "kes", "lak", "mnt", "mur", "nad", "nio", "pab",
    "php", "ron", "rub", "sar", "scr", "sdg", "sek", "ssp", "ves", "wst",
];

/// Currencies whose sign is `$`, the United States' aside.
const DOLLARS: &[&str] =
    &["CAD", "AUD", "NZD", "HKD", "SGD", "TWD", "MXN", "ARS", "CLP", "COP", "UYU", "BRL"];

/// What a sign stands for when nothing else is said.
fn of_sign(sign: &str) -> Option<&'static str> {
    Some(match sign {
        "$" | "US$" | "＄" => "USD",
        "A$" | "AU$" => "AUD",
        "C$" | "CA$" | "CAN$" => "CAD",
        "HK$" => "HKD",
        "S$" | "SG$" => "SGD",
        "NZ$" => "NZD",
        "NT$" => "TWD",
        "MX$" | "MEX$" => "MXN",
        "R$" => "BRL",
        "€" => "EUR",
        "£" | "￡" => "GBP",
        "¥" | "￥" => "JPY",
        "₹" => "INR",
        "₽" => "RUB",
        "₩" => "KRW",
        "₺" => "TRY",
        "₫" => "VND",
        "₦" => "NGN",
        "฿" => "THB",
        "₴" => "UAH",
        "₪" => "ILS",
        "₱" => "PHP",
        "₡" => "CRC",
        "₲" => "PYG",
        "₵" => "GHS",
        "₸" => "KZT",
        "₼" => "AZN",
        "₾" => "GEL",
        _ => return None,
    })
}

/// Can the sign stand for the code's currency?
pub(super) fn agrees(sign: &str, code: &str) -> bool {
    of_sign(sign) == Some(code) || sign == "$" && DOLLARS.contains(&code) || sign == "¥" && code == "CNY"
}

/// Is what a cell, a column's name or a line calls its currency, by code or sign, the deck's?
///
/// Errors: in words for the person who uploads.
pub(super) fn check(named: &str, rules: &AmountRules) -> Result<(), String> {
    let deck = rules.currency.as_str();
    let certain = of_sign(named).unwrap_or(named);
    if certain.eq_ignore_ascii_case(deck) {
        return Ok(());
    }
    if rules.stated && (named == "$" && DOLLARS.contains(&deck) || named == "¥" && deck == "CNY") {
        return Ok(());
    }
    Err(format!("the sheet says {} and the deck is in {deck}", quoted(named)))
}

/// Words for currencies: the code, and whether other countries call theirs the same. An empty code: none is meant for certain.
const NAMES: &[(&str, &str, bool)] = &[
    ("dollar", "$", true),
    ("dollars", "$", true),
    ("euro", "EUR", false),
    ("euros", "EUR", false),
    ("pound", "GBP", true),
    ("pounds", "GBP", true),
    ("sterling", "GBP", false),
    ("yen", "JPY", false),
    ("yuan", "CNY", false),
    ("renminbi", "CNY", false),
    ("rmb", "CNY", false),
    ("franc", "", true),
    ("francs", "", true),
    ("rupee", "", true),
    ("rupees", "", true),
    ("rupiah", "IDR", false),
    ("ruble", "RUB", true),
    ("rubles", "RUB", true),
    ("rouble", "RUB", true),
    ("roubles", "RUB", true),
    ("reais", "BRL", false),
    ("peso", "", true),
    ("pesos", "", true),
    ("krona", "", true),
    ("kronor", "SEK", false),
    ("krone", "", true),
    ("kroner", "", true),
    ("crown", "", true),
    ("crowns", "", true),
    ("koruna", "CZK", false),
    ("zloty", "PLN", false),
    ("złoty", "PLN", false),
    ("forint", "HUF", false),
    ("lei", "", true),
    ("lira", "TRY", true),
    ("rand", "ZAR", false),
    ("naira", "NGN", false),
    ("shilling", "", true),
    ("shillings", "", true),
    ("dirham", "", true),
    ("dirhams", "", true),
    ("riyal", "", true),
    ("riyals", "", true),
    ("rial", "", true),
    ("rials", "", true),
    ("dinar", "", true),
    ("dinars", "", true),
    ("baht", "THB", false),
    ("ringgit", "MYR", false),
    ("dong", "VND", false),
    ("taka", "BDT", false),
    ("shekel", "ILS", false),
    ("shekels", "ILS", false),
    ("hryvnia", "UAH", false),
    ("tenge", "KZT", false),
    ("lari", "GEL", false),
    ("cedi", "GHS", false),
    ("cedis", "GHS", false),
    ("birr", "ETB", false),
    ("kwacha", "", true),
    ("quetzal", "GTQ", false),
    ("quetzales", "GTQ", false),
    ("lempira", "HNL", false),
    ("lempiras", "HNL", false),
    ("colones", "CRC", false),
    ("guarani", "PYG", false),
    ("bolivianos", "BOB", false),
    ("guilder", "", true),
    ("guilders", "", true),
    ("bitcoin", "BTC", false),
    ("usdt", "USDT", false),
    ("tether", "USDT", false),
];

/// Whose currency a word before its name says it is.
const OWNERS: &[(&str, &[&str])] = &[
    ("us", &["USD"]),
    ("usa", &["USD"]),
    ("american", &["USD"]),
    ("states", &["USD"]),
    ("canadian", &["CAD"]),
    ("australian", &["AUD"]),
    ("zealand", &["NZD"]),
    ("kong", &["HKD"]),
    ("singapore", &["SGD"]),
    ("taiwan", &["TWD"]),
    ("jamaican", &["JMD"]),
    ("british", &["GBP"]),
    ("uk", &["GBP"]),
    ("egyptian", &["EGP"]),
    ("lebanese", &["LBP"]),
    ("swiss", &["CHF"]),
    ("cfa", &["XOF", "XAF"]),
    ("indian", &["INR"]),
    ("pakistani", &["PKR"]),
    ("lankan", &["LKR"]),
    ("nepalese", &["NPR"]),
    ("mauritian", &["MUR"]),
    ("russian", &["RUB"]),
    ("belarusian", &["BYN"]),
    ("mexican", &["MXN"]),
    ("colombian", &["COP"]),
    ("chilean", &["CLP"]),
    ("argentine", &["ARS"]),
    ("philippine", &["PHP"]),
    ("uruguayan", &["UYU"]),
    ("dominican", &["DOP"]),
    ("swedish", &["SEK"]),
    ("norwegian", &["NOK"]),
    ("danish", &["DKK"]),
    ("icelandic", &["ISK"]),
    ("czech", &["CZK"]),
    ("romanian", &["RON"]),
    ("moldovan", &["MDL"]),
    ("turkish", &["TRY"]),
    ("kenyan", &["KES"]),
    ("ugandan", &["UGX"]),
    ("tanzanian", &["TZS"]),
    ("uae", &["AED"]),
    ("emirati", &["AED"]),
    ("moroccan", &["MAD"]),
    ("saudi", &["SAR"]),
    ("qatari", &["QAR"]),
    ("omani", &["OMR"]),
    ("iranian", &["IRR"]),
    ("kuwaiti", &["KWD"]),
    ("bahraini", &["BHD"]),
    ("jordanian", &["JOD"]),
    ("tunisian", &["TND"]),
    ("algerian", &["DZD"]),
    ("serbian", &["RSD"]),
    ("iraqi", &["IQD"]),
    ("libyan", &["LYD"]),
    ("zambian", &["ZMW"]),
    ("malawian", &["MWK"]),
];

/// Words before a currency's name that say nothing of whose it is.
const NEUTRAL: &[&str] = &[
    "in", "of", "the", "is", "are", "to", "per", "and", "or", "all", "currency", "price", "prices", "rate",
    "rates", "amount", "amounts", "for", "billing", "a", "as",
];

/// Is a word, behind the one before it, the deck's currency? `None`: it names none.
fn named(word: &str, before: Option<&str>, rules: &AmountRules) -> Option<Result<(), String>> {
    let (_, code, shared) = NAMES.iter().find(|(name, ..)| *name == word)?;
    let deck = rules.currency.as_str();
    let refused = || Err(format!("it speaks of {} and the deck is in {deck}", quoted(word)));
    let owner = before.and_then(|b| OWNERS.iter().find(|(name, _)| *name == b));
    Some(match owner {
        Some((_, codes)) if *shared => {
            if codes.contains(&deck) && (codes.len() == 1 || rules.stated) {
                Ok(())
            } else {
                refused()
            }
        }
        None if *shared && before.is_some_and(|b| is_word(b) && !NEUTRAL.contains(&b)) => refused(),
        _ if code.is_empty() => refused(),
        _ => check(code, rules).or_else(|_| refused()),
    })
}

fn is_word(token: &str) -> bool {
    token.chars().next().is_some_and(char::is_alphanumeric)
}

/// Letters and digits of a text that belong together, slashes and currency signs alone.
fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut from = None;
    for (i, c) in text.char_indices() {
        if c.is_alphanumeric() && !is_sign(c) {
            from = from.or(Some(i));
            continue;
        }
        out.extend(from.take().and_then(|f| text.get(f..i)));
        if c == '/' || is_sign(c) {
            out.extend(text.get(i..i + c.len_utf8()));
        }
    }
    out.extend(from.and_then(|f| text.get(f..)));
    out
}

/// What the tokens of a line say of currencies.
struct Reading<'a> {
    /// As they stand, and in lower case.
    tokens: Vec<&'a str>,
    small: Vec<String>,
}

impl Reading<'_> {
    fn small(&self, i: usize) -> Option<&str> {
        self.small.get(i).map(String::as_str)
    }

    fn before(&self, i: usize) -> Option<&str> {
        let at = |back: usize| i.checked_sub(back).and_then(|i| self.small(i));
        // `U.S. dollars` are three.
        if at(1) == Some("s") && at(2) == Some("u") { Some("us") } else { at(1) }
    }

    fn is_code(&self, i: usize) -> bool {
        self.small(i).is_some_and(|t| t.len() == 3 && is_code(&t.to_ascii_uppercase()))
    }

    /// Does a currency's code or sign stand here, or soon its name, behind words that say whose it is?
    fn is_currency(&self, i: usize) -> bool {
        let sign = |n: usize| self.small(n).and_then(|t| t.chars().next()).is_some_and(is_sign);
        let name = |n: usize| self.small(n).is_some_and(|t| NAMES.iter().any(|(name, ..)| *name == t));
        self.is_code(i) || sign(i) || sign(i + 1) || (i..i.saturating_add(3)).any(name)
    }
}

/// Reads what a line above or below the rows says of currencies.
///
/// Out: whether it names the deck's currency.
///
/// Errors: it names another currency than the deck's, or one that is not known where one is expected: behind `currency`, in
/// `prices in …`, `… per minute` and `…/min`.
pub(super) fn in_line(text: &str, rules: &AmountRules) -> Result<bool, String> {
    const MONEY: &[&str] = &[
        "price", "prices", "rate", "rates", "amount", "amounts", "charge", "charges", "cost", "costs",
        "tariff", "tariffs", "value", "values", "fee", "fees",
    ];
    const STATED: &[&str] = &[
        "quoted",
        "expressed",
        "stated",
        "payable",
        "denominated",
        "given",
        "shown",
        "listed",
        "charged",
        "invoiced",
        "invoices",
    ];
    const PLACES: &[&str] = &[
        "this",
        "the",
        "these",
        "that",
        "our",
        "your",
        "table",
        "sheet",
        "file",
        "list",
        "column",
        "columns",
        "effect",
        "force",
        "attached",
        "accordance",
        "addition",
        "advance",
        "bold",
        "red",
        "utc",
        "gmt",
        "detail",
        "full",
        "a",
        "an",
        "each",
    ];
    const PER: &[&str] = &[
        "are",
        "is",
        "quoted",
        "expressed",
        "stated",
        "given",
        "charged",
        "calculated",
        "shown",
        "all",
        "in",
    ];
    let tokens = tokens(text);
    let small = tokens.iter().map(|t| t.to_lowercase()).collect();
    let r = Reading { tokens, small };
    let money = r.small.iter().any(|t| MONEY.contains(&t.as_str()));
    let (mut expected, mut found) = (false, false);
    for (i, token) in r.tokens.iter().enumerate() {
        let Some(word) = r.small(i) else { break };
        let one = token.chars().next().filter(|c| is_sign(*c));
        let wanted =
            r.before(i).is_some_and(|b| matches!(b, "currency" | "currencies" | "in" | "devise" | "is"));
        let per = r.small(i + 1).is_some_and(|t| matches!(t, "/" | "per"))
            && r.small(i + 2).is_some_and(|t| matches!(t, "min" | "mins" | "minute" | "minutes" | "mn"));
        if one == Some('¢') {
            return Err("it speaks of cents".to_owned());
        } else if one.is_some() {
            // `A$` is not `$`, whether or not a blank stands between them.
            let prefix =
                i.checked_sub(1).and_then(|b| r.tokens.get(b)).filter(|b| b.len() <= 3 && is_upper(b));
            let prefixed = prefix.map(|p| format!("{p}{token}"));
            let joined = prefixed.as_deref().filter(|p| text.contains(p));
            match joined {
                Some("USD$" | "EUR€" | "GBP£") | None => check(token, rules)?,
                Some(p) => check(p, rules)?,
            }
            found = true;
        } else if r.is_code(i) {
            let upper = is_upper(token);
            let code = word.to_ascii_uppercase();
            let a_word = WORDS.contains(&code.as_str()) || !upper && SMALL_WORDS.contains(&word);
            if !a_word || wanted || per {
                check(&code, rules)?;
                found = true;
            }
        } else if let Some(checked) = named(word, r.before(i), rules) {
            checked?;
            found = true;
        }
        expected |=
            matches!(word, "currency" | "currencies" | "devise" | "moneda" | "währung" | "valuta" | "divisa");
        let stated = r
            .before(i)
            .is_some_and(|b| MONEY.contains(&b) || STATED.contains(&b) || money && matches!(b, "are" | "is"));
        if word == "in"
            && stated
            && !r.is_currency(i + 1)
            && let Some(next) = r.small(i + 1)
            && !PLACES.contains(&next)
            && !next.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(format!(
                "it says what prices are in, and {} is no currency that is known",
                quoted(next)
            ));
        }
        let allowed = MONEY.contains(&word) || PER.contains(&word) || one.is_some() || r.is_code(i);
        if per && !allowed && named(word, r.before(i), rules).is_none() && word != "/" {
            return Err(format!(
                "it says what a minute costs, and {} is no currency that is known",
                quoted(word)
            ));
        }
    }
    if expected && !found {
        return Err("it speaks of a currency, and none is named that is known".to_owned());
    }
    Ok(found)
}

fn is_upper(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use warp_model::Nanos;

    fn rules(code: &str, stated: bool) -> AmountRules {
        AmountRules { currency: code.parse().unwrap(), stated, cents: false, mark: None, cap: Nanos(1) }
    }

    #[test]
    fn a_shared_name_is_the_decks_where_its_owner_is_said_or_the_upload_says_the_currency() {
        for (deck, stated, line, fine) in [
            ("CAD", false, "Prices in dollars", false),
            ("CAD", true, "Prices in dollars", true),
            ("CAD", false, "Prices in Canadian dollars", true),
            ("USD", true, "Prices in Canadian dollars", false),
            ("XOF", false, "Prices in CFA francs", false),
            ("XOF", true, "Prices in CFA francs", true),
            ("CHF", false, "Prices in francs", false),
            ("USD", false, "Prices in U.S. dollars", true),
            ("USD", false, "Prices in Fijian dollars", false),
            ("CNY", true, "Prices in ¥", true),
            ("CNY", false, "Prices in ¥", false),
            ("CNY", false, "Prices in yuan", true),
            ("BRL", false, "Prices in R$", true),
            ("ALL", false, "Prices in ALL", true),
            ("USD", false, "Prices in ALL", false),
            ("USD", false, "PRICES FOR ALL DESTINATIONS", true),
            ("USD", false, "try our rates", true),
            ("USD", false, "0.05 TRY / min", false),
            ("USD", false, "CAD files of our towers", false),
            ("USD", false, "cad files of our towers", true),
        ] {
            assert_eq!(in_line(line, &rules(deck, stated)).is_ok(), fine, "{deck} {stated} {line}");
        }
    }

    #[test]
    fn codes_in_use_and_codes_that_are_over() {
        for code in ["USD", "GTQ", "XCG", "BGN"] {
            assert!(is_code(code), "{code}");
        }
        for code in ["usd", "XYZ", "EU", "EURO", ""] {
            assert!(!is_code(code), "{code}");
        }
        assert!(agrees("$", "USD") && agrees("$", "CAD") && agrees("¥", "CNY") && agrees("₹", "INR"));
        assert!(!agrees("$", "EUR") && !agrees("€", "USD") && !agrees("¤", "USD"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(
            text in "\\PC{0,60}",
            words in "(in|prices|currency|usd|EUR|dollars|us|u\\.s\\.|/|min|per|minute|\\$|€| |,){0,14}",
        ) {
            let _ = in_line(&text, &rules("USD", false));
            let _ = in_line(&words, &rules("EUR", true));
        }
    }
}
