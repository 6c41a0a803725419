//! What customers spent lately, counted from the finished records: so that a restart does not give anybody a second daily
//! limit.
//!
//! The event log is the truth; a checkpoint beside the journals saves reading a day of it at each start. Sums are kept by
//! quarter hour of the INVITE, because a day begins at another moment in each customer's zone. A record that is copied
//! twice counts once.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
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

/// The little of a finished record that the pump looks at; one pass over its JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Facts {
    pub(crate) cdr_id: CallId,
    #[serde(default)]
    customer_id: Option<CustomerId>,
    #[serde(default)]
    trunk_id: Option<TrunkId>,
    #[serde(default = "epoch")]
    setup_at: Wall,
    #[serde(default)]
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

fn epoch() -> Wall {
    Wall(0)
}

impl Facts {
    /// Of a record's JSON; `None`: it is no record.
    pub(crate) fn read(json: &[u8]) -> Option<Facts> {
        serde_json::from_slice(json).ok()
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
        loop {
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
        probe.next_batch(1).is_ok_and(|events| events.first().is_some_and(|e| e.key == self.last.as_bytes()))
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
