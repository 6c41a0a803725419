//! The number plan: which numbers exist, what class of destination they are, and where they are.
//!
//! Seeded from `data/npa.csv` (area codes with state and class) and `data/special.csv` (premium, satellite and high-risk
//! ranges of the world) until a LERG is loaded. Immutable; a section of the snapshot. Sub-modules: [`dial`] turns what was
//! dialled into a number, [`jurisdiction`] decides interstate or intrastate.

pub mod dial;
pub mod jurisdiction;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use warp_model::E164;

pub use dial::{DialRules, Dialled};
pub use jurisdiction::{Caller, CallerClass, Jurisdiction, JurisdictionRule};

use crate::code::{Code, pow10};

const NPA_CSV: &str = include_str!("../../data/npa.csv");
const SPECIAL_CSV: &str = include_str!("../../data/special.csv");

/// What kind of area code it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NpaClass {
    /// An area code that nobody has.
    #[default]
    Unassigned,
    /// A place in the USA or Canada.
    Geographic,
    /// Toll-free numbers, 800 and its like (8YY).
    TollFree,
    /// Premium numbers, area code 900.
    Premium,
    /// Personal numbers, which follow their owner (5YY).
    Personal,
    /// Codes for special services: 600, 700 …
    Special,
    /// PR, VI, GU, AS, MP.
    UsTerritory,
    /// Another country inside country code 1.
    NanpCountry,
}

/// A US state, a Canadian province or a territory: two capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State([u8; 2]);

impl State {
    /// From two ASCII letters (made upper case).
    pub fn parse(text: &str) -> Option<State> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(State([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The two letters, as the postal service writes them.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        State::parse(&text).ok_or_else(|| serde::de::Error::custom("a state has two letters"))
    }
}

/// What is known of one area code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Npa {
    /// The class of the area code.
    pub class: NpaClass,
    /// True for the 50 states and DC.
    pub us: bool,
    /// State, province or territory.
    pub state: Option<State>,
}

/// What a trunk may be allowed to call. Shown in limits, refusals and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationClass {
    /// The 50 states and DC.
    Domestic,
    /// Toll-free numbers, 800 and its like (8YY).
    TollFree,
    /// Numbers of Canada, geographic ones.
    Canada,
    /// PR, VI, GU, AS, MP.
    UsTerritory,
    /// Caribbean and other countries inside country code 1.
    NanpCountry,
    /// Everything abroad that no other class has.
    International,
    /// 900, premium ranges abroad, 979. Denied by default.
    Premium,
    /// 870, 881 to 883. Denied by default.
    Satellite,
    /// Ranges known from international revenue share fraud. Denied by default.
    HighRisk,
    /// 5YY, 878, UK 70. Denied by default.
    Personal,
    /// 600, 700, international freephone and the like. Denied by default.
    Special,
}

impl DestinationClass {
    /// All classes, in the order of their declaration.
    pub const ALL: [DestinationClass; 11] = [
        Self::Domestic,
        Self::TollFree,
        Self::Canada,
        Self::UsTerritory,
        Self::NanpCountry,
        Self::International,
        Self::Premium,
        Self::Satellite,
        Self::HighRisk,
        Self::Personal,
        Self::Special,
    ];

    /// The word for it that never changes, as it stands in records and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Domestic => "domestic",
            Self::TollFree => "toll_free",
            Self::Canada => "canada",
            Self::UsTerritory => "us_territory",
            Self::NanpCountry => "nanp_country",
            Self::International => "international",
            Self::Premium => "premium",
            Self::Satellite => "satellite",
            Self::HighRisk => "high_risk",
            Self::Personal => "personal",
            Self::Special => "special",
        }
    }

    /// The class of that name, as [`DestinationClass::as_str`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == text)
    }
}

/// A set of destination classes. JSON: a list of names. The default denies premium, satellite, high-risk, personal and
/// special ranges (T-SIP-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSet(u16);

impl ClassSet {
    /// The set without a class.
    pub const NONE: ClassSet = ClassSet(0);

    /// The set of these classes.
    pub fn of(classes: &[DestinationClass]) -> ClassSet {
        classes.iter().fold(ClassSet::NONE, |set, c| set.with(*c))
    }

    /// The set with this class added.
    pub fn with(self, class: DestinationClass) -> ClassSet {
        ClassSet(self.0 | (1 << class as u16))
    }

    /// Whether the class is in the set.
    pub fn contains(self, class: DestinationClass) -> bool {
        self.0 & (1 << class as u16) != 0
    }

    /// In a fixed order.
    pub fn iter(self) -> impl Iterator<Item = DestinationClass> {
        DestinationClass::ALL.into_iter().filter(move |c| self.contains(*c))
    }
}

impl Default for ClassSet {
    fn default() -> Self {
        use DestinationClass::*;
        ClassSet::of(&[Domestic, TollFree, Canada, UsTerritory, NanpCountry, International])
    }
}

impl Serialize for ClassSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ClassSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(ClassSet::of(&Vec::<DestinationClass>::deserialize(d)?))
    }
}

/// The plan. Text form (the snapshot section): the two CSV tables, a blank line between them, then one line of emergency
/// codes.
#[derive(Clone)]
pub struct NumberPlan {
    npas: Vec<Npa>,
    /// Sorted by code.
    special: Vec<(Code, DestinationClass)>,
    emergency: Vec<u16>,
    text: String,
    hash: [u8; 32],
}

/// Why a text is no number plan: line (from 1) and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The line of the table, from 1.
    pub line: usize,
    /// What is wrong with it, in words.
    pub message: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number plan, line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for PlanError {}

impl NumberPlan {
    /// The plan that is built in, from public lists.
    pub fn seed() -> NumberPlan {
        let text = format!("{NPA_CSV}\n{SPECIAL_CSV}\nemergency,911,933,112\n");
        // A test reads the seed; an unreadable one would refuse every call rather than carry it unrated.
        NumberPlan::parse(&text).unwrap_or_else(|_| NumberPlan {
            npas: vec![Npa::default(); 1_000],
            special: Vec::new(),
            emergency: vec![911, 933, 112],
            hash: [0; 32],
            text,
        })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<NumberPlan, PlanError> {
        let mut npas = vec![Npa::default(); 1_000];
        let mut special = Vec::new();
        let mut emergency = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let wrong = |message: &str| PlanError { line: i + 1, message: message.to_owned() };
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            match fields.as_slice() {
                [""] | ["npa", ..] | ["prefix", ..] => {}
                ["emergency", codes @ ..] => {
                    for c in codes {
                        let code: u16 = c.parse().map_err(|_| wrong("not an emergency code"))?;
                        if !(100..1_000).contains(&code) {
                            return Err(wrong("an emergency code has three digits"));
                        }
                        emergency.push(code);
                    }
                }
                [npa, country, state, class] => {
                    let npa: usize = npa.parse().map_err(|_| wrong("not an area code"))?;
                    if !(200..1_000).contains(&npa) {
                        return Err(wrong("not an area code"));
                    }
                    let class = match *class {
                        "geographic" => NpaClass::Geographic,
                        "toll-free" => NpaClass::TollFree,
                        "premium" => NpaClass::Premium,
                        "personal" => NpaClass::Personal,
                        "special" => NpaClass::Special,
                        "us-territory" => NpaClass::UsTerritory,
                        "nanp-country" => NpaClass::NanpCountry,
                        _ => return Err(wrong("unknown class of area code")),
                    };
                    if let Some(slot) = npas.get_mut(npa) {
                        *slot = Npa {
                            class,
                            us: *country == "US" && class == NpaClass::Geographic,
                            state: State::parse(state),
                        };
                    }
                }
                [prefix, class, _note] => {
                    let code = prefix.parse().map_err(|_| wrong("not a dial code"))?;
                    let class =
                        DestinationClass::parse(class).ok_or_else(|| wrong("unknown destination class"))?;
                    special.push((code, class));
                }
                _ => return Err(wrong("unknown line")),
            }
        }
        special.sort();
        Ok(NumberPlan {
            npas,
            special,
            emergency,
            hash: Sha256::digest(text.as_bytes()).into(),
            text: text.to_owned(),
        })
    }

    /// The text that the plan was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text form.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// What is known of an area code (0 to 999).
    pub fn npa(&self, npa: u16) -> Npa {
        self.npas.get(npa as usize).copied().unwrap_or_default()
    }

    /// The area code's entry of a NANP number.
    pub fn npa_of(&self, number: E164) -> Option<Npa> {
        number.nanp().map(|n| self.npa((n / pow10(7)) as u16))
    }

    /// Three-digit codes that are emergency calls here.
    pub fn is_emergency(&self, code: u16) -> bool {
        self.emergency.contains(&code)
    }

    /// What class of destination a number is. `None`: an area code that nobody has been assigned, or special exchanges
    /// (976) that are no place: those are premium.
    pub fn class(&self, number: E164) -> Option<DestinationClass> {
        let Some(nanp) = number.nanp() else {
            return Some(self.class_abroad(number));
        };
        let npa = self.npa((nanp / pow10(7)) as u16);
        let nxx = nanp / pow10(4) % 1_000;
        if nxx == 976 && npa.class == NpaClass::Geographic {
            return Some(DestinationClass::Premium);
        }
        match npa.class {
            NpaClass::Unassigned => None,
            NpaClass::Geographic if npa.us => Some(DestinationClass::Domestic),
            NpaClass::Geographic => Some(DestinationClass::Canada),
            NpaClass::TollFree => Some(DestinationClass::TollFree),
            NpaClass::Premium => Some(DestinationClass::Premium),
            NpaClass::Personal => Some(DestinationClass::Personal),
            NpaClass::Special => Some(DestinationClass::Special),
            NpaClass::UsTerritory => Some(DestinationClass::UsTerritory),
            NpaClass::NanpCountry => Some(DestinationClass::NanpCountry),
        }
    }

    fn class_abroad(&self, number: E164) -> DestinationClass {
        let whole = Code::whole(number);
        // Longest first: the table is small and its codes are at most five digits.
        for len in (1..=whole.len().min(6)).rev() {
            let head = whole.head(len);
            if let Ok(i) = self.special.binary_search_by_key(&head, |(c, _)| *c) {
                return self.special.get(i).map_or(DestinationClass::International, |s| s.1);
            }
        }
        DestinationClass::International
    }

    /// True when prices under this code depend on the jurisdiction: places in the 50 states and DC.
    pub fn code_has_jurisdiction(&self, code: Code) -> bool {
        match code.npa() {
            Some(npa) => self.npa(npa).us,
            // `1`, `14`, `141`: read as the USA.
            None => code.aligned() / pow10(14) == 1,
        }
    }
}

impl fmt::Debug for NumberPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NumberPlan")
            .field("area_codes", &self.npas.iter().filter(|n| n.class != NpaClass::Unassigned).count())
            .field("special", &self.special.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Option<DestinationClass> {
        NumberPlan::seed().class(text.parse().unwrap())
    }

    #[test]
    fn the_seed_is_readable_and_whole() {
        let text = format!("{NPA_CSV}\n{SPECIAL_CSV}\nemergency,911,933,112\n");
        let plan = NumberPlan::parse(&text).unwrap();
        let known = (0..1_000).filter(|n| plan.npa(*n).class != NpaClass::Unassigned).count();
        assert_eq!(known, 469);
        assert_eq!(plan.npa(415).state, State::parse("CA"));
        assert!(plan.npa(202).us);
        assert!(!plan.npa(204).us);
        assert_eq!(NumberPlan::parse(plan.text()).unwrap().hash(), plan.hash());
    }

    #[test]
    fn classes_of_destinations() {
        use DestinationClass::*;
        assert_eq!(class("+14155550123"), Some(Domestic));
        assert_eq!(class("+18005550123"), Some(TollFree));
        assert_eq!(class("+12045550123"), Some(Canada));
        assert_eq!(class("+17875550123"), Some(UsTerritory));
        assert_eq!(class("+18765550123"), Some(NanpCountry));
        assert_eq!(class("+19005550123"), Some(Premium));
        assert_eq!(class("+14159760123"), Some(Premium));
        assert_eq!(class("+15005550123"), Some(Personal));
        assert_eq!(class("+442071234567"), Some(International));
        assert_eq!(class("+449012345678"), Some(Premium));
        assert_eq!(class("+881612345678"), Some(Satellite));
        assert_eq!(class("+24712345"), Some(HighRisk));
        assert_eq!(class("+12115550123"), None);
    }

    #[test]
    fn t_sip_06_premium_and_satellite_are_denied_by_default() {
        use DestinationClass::*;
        let set = ClassSet::default();
        for c in [Premium, Satellite, HighRisk, Personal, Special] {
            assert!(!set.contains(c), "{c:?}");
        }
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<ClassSet>(&text).unwrap(), set);
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(NumberPlan::parse("npa,country,state,class\n100,US,NJ,geographic").unwrap_err().line, 2);
        assert!(NumberPlan::parse("a,b").is_err());
    }
}
