//! What customers spent lately, counted from the finished records: so that a restart does not give anybody a second daily
//! limit.
//!
//! The event log is the truth; a checkpoint beside the journals saves reading a day of it at each start. Sums are kept by
//! quarter hour of the INVITE, because a day begins at another moment in each customer's zone. A record that is copied
//! twice counts once.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use warp_model::{CallId, CustomerId, Nanos, TrunkId, Wall};

use crate::error::EventsError;
use crate::log::Topic;
use crate::record::Unpacker;

/// What one customer spent through one trunk in one quarter hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The customer that spent it.
    pub customer: CustomerId,
    /// The trunk through which the customer called.
    pub trunk: TrunkId,
    /// The last second of the quarter hour in which the calls began: it lies on their day in every zone whose offset is a
    /// multiple of 15 minutes, and on the later day of two in any other.
    pub at: Wall,
    /// Sum of the calls' prices.
    pub amount: Nanos,
}

/// The little of a finished record that the pump looks at.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) cdr_id: CallId,
    customer_id: Option<CustomerId>,
    trunk_id: Option<TrunkId>,
    setup_at: Wall,
    rating: Option<FactsOfRating>,
}

#[derive(Debug, Deserialize)]
struct FactsOfRating {
    sell: FactsOfSide,
}

#[derive(Debug, Deserialize)]
struct FactsOfSide {
    charge: Nanos,
}

/// What was found so far.
#[derive(Default)]
struct Seen {
    cdr_id: Option<CallId>,
    customer_id: Option<Option<CustomerId>>,
    trunk_id: Option<Option<TrunkId>>,
    setup_at: Option<Wall>,
    rating: Option<Option<FactsOfRating>>,
    whole: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    CdrId,
    CustomerId,
    TrunkId,
    SetupAt,
    Rating,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for &mut Seen {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a call record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                Key::CdrId => self.cdr_id = Some(map.next_value()?),
                Key::CustomerId => self.customer_id = Some(map.next_value()?),
                Key::TrunkId => self.trunk_id = Some(map.next_value()?),
                Key::SetupAt => self.setup_at = Some(map.next_value()?),
                Key::Rating => self.rating = Some(map.next_value()?),
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
            self.whole = self.cdr_id.is_some()
                && self.customer_id.is_some()
                && self.trunk_id.is_some()
                && self.setup_at.is_some()
                && self.rating.is_some();
            if self.whole {
                // The way out of the parser: behind the rating stands the decision, two thirds of the record.
                return Err(A::Error::custom("all is known"));
            }
        }
        Ok(())
    }
}

impl Facts {
    /// Of a record's JSON, which is read no further than it must; `None`: it is no record.
    pub(crate) fn read(json: &[u8]) -> Option<Facts> {
        let mut seen = Seen::default();
        let mut parser = serde_json::Deserializer::from_slice(json);
        let ended = parser.deserialize_map(&mut seen).and_then(|()| parser.end());
        if ended.is_err() && !seen.whole {
            return None;
        }
        Some(Facts {
            cdr_id: seen.cdr_id?,
            customer_id: seen.customer_id.flatten(),
            trunk_id: seen.trunk_id.flatten(),
            setup_at: seen.setup_at.unwrap_or(Wall(0)),
            rating: seen.rating.flatten(),
        })
    }

    /// Which call a record is of. It stands first in what we write.
    pub(crate) fn id_of(json: &[u8]) -> Option<CallId> {
        let first = || {
            let rest = json.strip_prefix(br#"{"cdr_id":""#)?;
            let end = rest.iter().position(|b| *b == b'"')?;
            std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
        };
        first().or_else(|| Facts::read(json).map(|facts| facts.cdr_id))
    }
}

/// The sums of the last day, and up to which record of the topic they go.
#[derive(Debug)]
pub struct Spend {
    path: PathBuf,
    cursor: u64,
    /// Key of the last record that was counted: it shows that the log is still the same one.
    last: String,
    quarters: BTreeMap<(i64, CustomerId, TrunkId), i64>,
    /// Calls that were counted lately: of this checkpoint's time and of the one before.
    seen: [HashSet<CallId>; 2],
}

impl Spend {
    /// Reads the checkpoint in `dir`, and from the topic what came after it. Without a usable checkpoint, or when `all` says
    /// so, a whole day is read from the topic.
    pub fn open(dir: &Path, topic: &Topic, now: Wall, all: bool) -> Spend {
        let path = dir.join(FILE);
        let mut spend = Spend {
            path,
            cursor: 0,
            last: String::new(),
            quarters: BTreeMap::new(),
            seen: [HashSet::new(), HashSet::new()],
        };
        let usable = !all && spend.load(topic);
        if !usable {
            spend.quarters.clear();
            spend.cursor = topic.since(Wall(now.0.saturating_sub(micros(WINDOW))));
        }
        if let Err(error) = spend.read_on(topic, now) {
            tracing::error!(%error, "what was spent today is not known whole: the event log cannot be read");
        }
        spend
    }

    fn read_on(&mut self, topic: &Topic, now: Wall) -> Result<(), EventsError> {
        let mut reader = topic.reader_at(self.cursor);
        let mut unpacker = Unpacker::default();
        let began = Instant::now();
        loop {
            if topic.is_shared() && began.elapsed() > READ_SHARED {
                tracing::warn!(
                    "what was spent today is not known whole: the event log of all nodes takes too long to read"
                );
                return Ok(());
            }
            let batch = reader.next_batch(BATCH)?;
            if batch.is_empty() {
                return Ok(());
            }
            for event in batch {
                if let Ok(json) = unpacker.unpack(&event.value)
                    && let Some(facts) = Facts::read(&json)
                {
                    self.count(&facts, now);
                }
                self.cursor = event.offset + 1;
            }
        }
    }

    /// A record of the topic; the one before `end` is the last.
    pub(crate) fn counted_to(&mut self, end: u64) {
        self.cursor = self.cursor.max(end);
    }

    /// Counts a finished record, once.
    pub(crate) fn count(&mut self, facts: &Facts, now: Wall) {
        if self.seen.iter().any(|s| s.contains(&facts.cdr_id)) {
            return;
        }
        self.seen[0].insert(facts.cdr_id);
        self.last = facts.cdr_id.to_string();
        let charge = facts.rating.as_ref().map_or(0, |r| r.sell.charge.0);
        if let (Some(customer), Some(trunk)) = (facts.customer_id, facts.trunk_id)
            && charge != 0
            && facts.setup_at.0 > now.0.saturating_sub(micros(WINDOW))
        {
            let quarter = facts.setup_at.0.div_euclid(micros(QUARTER));
            let sum = self.quarters.entry((quarter, customer, trunk)).or_default();
            *sum = sum.saturating_add(charge);
        }
    }

    /// Every sum that is not zero.
    pub fn entries(&self) -> Vec<Spent> {
        let entry = |(&(quarter, customer, trunk), &sum): (&(i64, CustomerId, TrunkId), &i64)| {
            let end = quarter.saturating_add(1).saturating_mul(micros(QUARTER));
            Spent { customer, trunk, at: Wall(end.saturating_sub(1_000_000)), amount: Nanos(sum) }
        };
        self.quarters.iter().filter(|(_, sum)| **sum != 0).map(entry).collect()
    }

    /// Writes the checkpoint; forgets what is older than a day.
    pub(crate) fn save(&mut self, now: Wall) -> Result<(), EventsError> {
        let oldest = now.0.saturating_sub(micros(WINDOW)).div_euclid(micros(QUARTER));
        self.quarters.retain(|(quarter, ..), _| *quarter >= oldest);
        let mut text = format!("cursor {} {}\n", self.cursor, self.last);
        for ((quarter, customer, trunk), sum) in &self.quarters {
            text.push_str(&format!("{quarter} {customer} {trunk} {sum}\n"));
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let new = self.path.with_extension("new");
        std::fs::write(&new, format!("{VERSION} {crc:08x}\n{text}"))
            .map_err(EventsError::io("write", &new))?;
        std::fs::rename(&new, &self.path).map_err(EventsError::io("rename", &self.path))?;
        let young = std::mem::take(&mut self.seen[0]);
        self.seen[1] = young;
        Ok(())
    }

    /// False: there is no checkpoint, it is damaged, of another version, or of another log.
    fn load(&mut self, topic: &Topic) -> bool {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let Some((head, rest)) = text.split_once('\n') else { return false };
        if head != format!("{VERSION} {:08x}", crc32c::crc32c(rest.as_bytes())) {
            return false;
        }
        let mut lines = rest.lines();
        let Some((cursor, last)) = lines.next().and_then(|l| l.strip_prefix("cursor ")?.split_once(' '))
        else {
            return false;
        };
        let Ok(cursor) = cursor.parse::<u64>() else { return false };
        for line in lines {
            let mut words = line.split(' ');
            let mut word = || words.next();
            let read = (|| {
                let quarter = word()?.parse().ok()?;
                Some(((quarter, word()?.parse().ok()?, word()?.parse().ok()?), word()?.parse().ok()?))
            })();
            let Some((key, sum)) = read else { return false };
            self.quarters.insert(key, sum);
        }
        self.cursor = cursor;
        self.last = last.to_owned();
        // The log may be younger than the checkpoint: somebody removed it.
        let Some(before) = cursor.checked_sub(1) else { return true };
        let mut probe = topic.reader_at(before);
        match probe.next_batch(1) {
            Ok(events) => events.first().is_some_and(|e| e.key == self.last.as_bytes()),
            // Nobody says otherwise, and without the checkpoint nothing would be known.
            Err(EventsError::Away { .. }) => true,
            Err(_) => false,
        }
    }
}

fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

/// Version of the checkpoint's form.
const VERSION: &str = "spend-v1";
const FILE: &str = "spend.state";
const QUARTER: Duration = Duration::from_secs(15 * 60);
/// A day, and the quarter hour that it begins in.
const WINDOW: Duration = Duration::from_secs(24 * 3_600 + 15 * 60);
const BATCH: usize = 1_000;
/// Longest read of a log that other nodes write to: a start waits for it.
const READ_SHARED: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "call_01jd7f00000000000000000001";
    const CUSTOMER: &str = "cus_01jd7f00000000000000000002";
    const TRUNK: &str = "trk_01jd7f00000000000000000003";

    #[test]
    fn the_facts_of_a_record_are_read_in_any_order_and_no_further_than_they_must() {
        let parts = [
            format!(r#""cdr_id":"{ID}""#),
            format!(r#""customer_id":"{CUSTOMER}""#),
            format!(r#""trunk_id":"{TRUNK}""#),
            r#""setup_at":7"#.to_owned(),
            r#""rating":{"sell":{"charge":"0.5","sum":"\"x\""},"buy":{"charge":"0.1"}}"#.to_owned(),
        ];
        let check = |json: &str| {
            let facts = Facts::read(json.as_bytes()).unwrap();
            assert_eq!((facts.cdr_id.to_string(), facts.setup_at), (ID.to_owned(), Wall(7)), "{json}");
            assert_eq!(facts.customer_id.unwrap().to_string(), CUSTOMER);
            assert_eq!(facts.trunk_id.unwrap().to_string(), TRUNK);
            assert_eq!(facts.rating.unwrap().sell.charge, Nanos(500_000_000));
            assert_eq!(Facts::id_of(json.as_bytes()).unwrap().to_string(), ID);
        };
        let other = r#""decision":{"a":[1,{"b":"}"}]}"#;
        for turn in 0..parts.len() {
            let mut order: Vec<&str> = parts.iter().map(String::as_str).collect();
            order.rotate_left(turn);
            check(&format!("{{{},{other}}}", order.join(",")));
            check(&format!("{{{other},{}}}", order.join(",")));
            check(&format!("{{{},\"decision\": not read", order.join(",")));
        }
        // One without a customer has no price, and is read whole.
        let bare = format!(r#"{{"cdr_id":"{ID}","customer_id":null,"rating":null,{other}}}"#);
        let facts = Facts::read(bare.as_bytes()).unwrap();
        assert!(facts.customer_id.is_none() && facts.rating.is_none() && facts.setup_at == Wall(0));
        for broken in [format!(r#"{{"cdr_id":"{ID}","#), format!(r#"{{{other}}}"#), "[]".into(), bare + "x"] {
            assert!(Facts::read(broken.as_bytes()).is_none(), "{broken}");
        }
        assert!(Facts::id_of(br#"{"cdr_id":"call_"}"#).is_none());
    }
}
