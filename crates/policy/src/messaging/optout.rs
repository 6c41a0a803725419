//! STOP, START and HELP: what a handset's text asks for, who does not want to hear of whom, and what is done (`ref/smpp-and-jasmin.md` §9;
//! 47 CFR 64.1200(a)(10)).
//!
//! A keyword is the whole message. A list only grows: an entry that ends another one is an entry too, so that what was when can be proven.

use std::collections::HashMap;

use warp_model::Wall;

use super::recipient;
use crate::NumberPlan;

/// What a text asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    /// Nothing more is to be sent.
    Stop,
    /// Sending may begin again.
    Start,
    /// The same, but a usual answer as well: it counts only from who has opted out.
    Yes,
    /// Who is it that sends, and how does it end?
    Help,
}

/// The words of each kind, normalised. A campaign may have more, in its languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keywords {
    words: HashMap<String, Keyword>,
}

const STOP: [&str; 11] = [
    "STOP",
    "STOPALL",
    "STOP ALL",
    "UNSUBSCRIBE",
    "CANCEL",
    "END",
    "QUIT",
    "REVOKE",
    "OPTOUT",
    "OPT OUT",
    "OPT-OUT",
];
const START: [&str; 2] = ["START", "UNSTOP"];
const HELP: [&str; 2] = ["HELP", "INFO"];
/// Characters of a text that may be a keyword; a longer one is none.
const LONGEST: usize = 64;

impl Default for Keywords {
    fn default() -> Keywords {
        let mut keywords = Keywords { words: HashMap::new() };
        for (list, keyword) in [
            (&STOP[..], Keyword::Stop),
            (&START, Keyword::Start),
            (&["YES"], Keyword::Yes),
            (&HELP, Keyword::Help),
        ] {
            for word in list {
                keywords.add(word, keyword);
            }
        }
        keywords
    }
}

impl Keywords {
    /// Another word of a kind. The usual ones cannot be taken away: a recipient may always say them.
    pub fn add(&mut self, word: &str, keyword: Keyword) {
        if let Some(word) = normal(word) {
            self.words.entry(word).or_insert(keyword);
        }
    }

    /// The keyword that a whole text is; `None`: it is an ordinary message.
    pub fn read(&self, text: &str) -> Option<Keyword> {
        self.words.get(&normal(text)?).copied()
    }
}

/// In capital letters, without quotes and punctuation around and between the words, one blank between them. `None`: too long for a keyword.
fn normal(text: &str) -> Option<String> {
    if text.chars().nth(LONGEST).is_some() {
        return None;
    }
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let out = words.collect::<Vec<_>>().join(" ").to_uppercase();
    (!out.is_empty()).then_some(out)
}

/// Of whom a recipient does not want to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Messages from one number of a customer, by the number of the customer's id: nobody writes into the list of another.
    Number(u128, u64),
    /// Messages from every number of a campaign.
    Campaign(u128),
    /// Messages from a whole brand.
    Brand(u128),
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of whom it does not want to hear.
    pub scope: Scope,
    /// The recipient: digits of E.164.
    pub recipient: u64,
    /// Whether it opted out; else in again.
    pub out: bool,
    /// When it said so.
    pub at: Wall,
    /// The message that said so; 0: it was uploaded.
    pub message: u128,
}

/// Who has opted out of what: the last entry of each pair counts.
#[derive(Clone, Debug, Default)]
pub struct OptOuts {
    last: HashMap<(Scope, u64), Entry>,
}

/// What is done about a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The entry that is to be kept; `None`: nothing was said of what may come.
    pub entry: Option<Entry>,
    /// What the recipient is answered.
    pub answer: Confirmation,
}

/// What a recipient is answered, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// Nothing: it has opted out already, and was told so.
    None,
    /// That nothing more will come. It names the brand and nothing else.
    OptedOut,
    /// That messages come again.
    OptedIn,
    /// Who sends, and how it ends.
    Help,
}

/// Entries that were published together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The count of changes that they come up to.
    pub through: u64,
    /// The entries in their order.
    pub entries: Vec<Entry>,
}

/// What a number is called in the list: the number that routes and prices read ([`recipient`]), country code included, so that however it
/// is written it is one; what is no number of the plan (a short code) by its digits. `international`: the address says that it has its
/// country code (SMPP 3.4 §5.2.5, TON 1). `None`: no digits, more than 15 of them, or a 0 in front.
pub fn number(plan: &NumberPlan, address: &[u8], international: bool) -> Option<u64> {
    let digits = address.strip_prefix(b"+").unwrap_or(address);
    if digits.len() > 15 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Who says that it has a code and writes none means the number without.
    let read = recipient(plan, address, international).or_else(|_| recipient(plan, address, false));
    match read {
        Ok(number) => Some(number.as_u64()),
        Err(_) => std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| !digits.starts_with(b"0")),
    }
}

/// Whether a pair may stand in the list: a sender of 3 to 15 digits, and a recipient of 5 to 15; a short code does not opt out.
pub fn may_be_listed(sender: u64, recipient: u64) -> bool {
    const MOST: u64 = 999_999_999_999_999;
    (100..=MOST).contains(&sender) && (10_000..=MOST).contains(&recipient)
}

impl OptOuts {
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Takes an entry. One that is older than what is known of the pair changes nothing: lists may be uploaded in any order.
    pub fn apply(&mut self, entry: Entry) {
        let known = self.last.entry((entry.scope, entry.recipient)).or_insert(entry);
        if entry.at >= known.at {
            *known = entry;
        }
    }

    /// The entry that forbids sending to this recipient under any of these scopes; `None`: it may be sent.
    pub fn forbids(&self, scopes: &[Scope], recipient: u64) -> Option<Entry> {
        scopes.iter().find_map(|scope| self.last.get(&(*scope, recipient)).filter(|entry| entry.out)).copied()
    }

    /// The last entry of a pair, and whether it is out or in.
    pub fn last(&self, scope: Scope, recipient: u64) -> Option<Entry> {
        self.last.get(&(scope, recipient)).copied()
    }

    /// What is done about a keyword of this recipient; `pending`: what it said last and is not in the list yet. Every STOP and START is
    /// an entry, whatever is known: another one may be on its way that is not known here. What is known decides the answer only. An entry
    /// is not older than what it follows, should the clock go back. It is not taken yet: first it is made durable, then
    /// [`OptOuts::apply`]. `None`: it is an ordinary message after all.
    pub fn react(
        &self,
        keyword: Keyword,
        (scope, recipient): (Scope, u64),
        pending: Option<Entry>,
        at: Wall,
        message: u128,
    ) -> Option<Reaction> {
        let listed = self.last(scope, recipient);
        let known = match (pending, listed) {
            (Some(pending), Some(listed)) if listed.at > pending.at => Some(listed),
            (pending, listed) => pending.or(listed),
        };
        let is_out = known.is_some_and(|entry| entry.out);
        let at = known.map_or(at, |entry| entry.at.max(at));
        let entry = |out| Some(Entry { scope, recipient, out, at, message });
        Some(match (keyword, is_out) {
            (Keyword::Stop, false) => Reaction { entry: entry(true), answer: Confirmation::OptedOut },
            (Keyword::Stop, true) => Reaction { entry: entry(true), answer: Confirmation::None },
            (Keyword::Yes, false) => return None,
            (Keyword::Start, _) | (Keyword::Yes, true) => {
                Reaction { entry: entry(false), answer: Confirmation::OptedIn }
            }
            // Also for who never subscribed, and for who has opted out.
            (Keyword::Help, _) => Reaction { entry: None, answer: Confirmation::Help },
        })
    }

    /// All pairs in order, with their last entry: for export.
    pub fn entries(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = self.last.values().copied().collect();
        all.sort_unstable_by_key(|entry| (entry.scope, entry.recipient));
        all
    }
}
