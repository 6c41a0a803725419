//! Rate decks of the demo world: 20,000 codes per vendor and for the customers, the same for everyone.

use std::fmt::Write;

/// Area codes of the demo decks; 415 and 202 are among them (the banner's call).
pub(super) const NPAS: [u16; 50] = [
    201, 202, 205, 206, 207, 210, 212, 213, 214, 215, 216, 217, 303, 305, 310, 312, 313, 314, 317, 404, 405,
    410, 412, 414, 415, 417, 419, 501, 502, 503, 504, 505, 512, 513, 515, 602, 603, 605, 612, 614, 615, 617,
    702, 703, 713, 718, 801, 802, 804, 808,
];
/// Exchanges of an area code: 200 to 583 without the service codes N11.
pub(super) fn exchanges() -> impl Iterator<Item = u16> {
    (200..584).filter(|nxx| nxx % 100 != 11)
}

/// Dial codes outside of NANP with a base price in 10⁻⁴ dollars a minute.
const COUNTRIES: [(&str, u32); 40] = [
    ("33", 90),
    ("34", 80),
    ("31", 110),
    ("32", 120),
    ("30", 130),
    ("39", 95),
    ("41", 210),
    ("43", 190),
    ("44", 62),
    ("45", 85),
    ("46", 75),
    ("47", 88),
    ("48", 140),
    ("49", 70),
    ("351", 100),
    ("352", 150),
    ("353", 105),
    ("354", 180),
    ("356", 260),
    ("357", 220),
    ("358", 160),
    ("36", 130),
    ("40", 125),
    ("420", 145),
    ("421", 155),
    ("52", 60),
    ("54", 115),
    ("55", 98),
    ("56", 122),
    ("57", 108),
    ("61", 92),
    ("64", 96),
    ("65", 66),
    ("81", 118),
    ("82", 84),
    ("852", 132),
    ("86", 72),
    ("91", 112),
    ("972", 94),
    ("27", 240),
];

/// One price list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deck {
    /// Name of the deck, without its kind.
    pub(super) name: &'static str,
    /// Level against the base price, in percent.
    pub(super) level: u32,
    /// Makes its prices differ from those of others.
    pub(super) salt: u32,
}

/// FNV-1a with a final mix: stable on every machine, good enough to scatter prices.
pub(super) fn scatter(n: u32, salt: u32) -> u32 {
    let mut h = 0x811C_9DC5u32 ^ salt.wrapping_mul(0x9E37_79B9);
    for b in n.to_le_bytes() {
        h = (h ^ u32::from(b)).wrapping_mul(0x0100_0193);
    }
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^ (h >> 13)
}

/// `0.0042` from 10⁻⁴ dollars.
fn price(tenthousandths: u32) -> String {
    format!("{}.{:04}", tenthousandths / 10_000, tenthousandths % 10_000)
}

/// 19,000 NPANXX with three prices.
pub(super) fn us(deck: &Deck) -> String {
    let mut csv = String::with_capacity(700_000);
    csv.push_str("NPANXX,Interstate,Intrastate,Indeterminate,Min,Inc\n");
    for npa in NPAS {
        for nxx in exchanges() {
            let code = u32::from(npa) * 1_000 + u32::from(nxx);
            let inter =
                (if code == 415_555 { 42 } else { 38 + scatter(code, deck.salt) % 40 }) * deck.level / 100;
            let intra = inter + 10 + scatter(code, deck.salt ^ 7) % 60;
            let _ = writeln!(csv, "{code},{},{},{},6,6", price(inter), price(intra), price(intra));
        }
    }
    csv
}

/// 1,000 dial codes of the world with one price.
pub(super) fn world(deck: &Deck) -> String {
    let mut csv = String::with_capacity(40_000);
    csv.push_str("Code,Rate,Min,Inc\n");
    for (country, base) in COUNTRIES {
        let of = |code: u32| (base + scatter(code, deck.salt) % 30) * deck.level / 100;
        let whole: u32 = country.parse().unwrap_or(0);
        let _ = writeln!(csv, "{country},{},1,1", price(of(whole)));
        for region in 20..44 {
            let _ = writeln!(csv, "{country}{region},{},1,1", price(of(whole * 100 + region)));
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decks_have_20_000_codes_and_never_change() {
        let deck = Deck { name: "x", level: 100, salt: 1 };
        let (us, world) = (us(&deck), world(&deck));
        assert_eq!(us.lines().count() - 1 + world.lines().count() - 1, 20_000);
        assert!(us.contains("\n415555,0.0042,"));
        assert_eq!(scatter(1, 1), scatter(1, 1));
        let mut codes: Vec<&str> = world.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 1_000);
    }
}
