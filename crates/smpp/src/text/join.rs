//! Parts of a long text back into one. What is kept is bounded, and goes after a while (T-SMS-09).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use warp_model::Mono;

use super::udh::Concatenation;

/// What a part came with. `K` says whose message it is: connector, source and destination belong into it, because two handsets may use
/// one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<K> {
    /// Whose message it is a part of.
    pub key: K,
    /// Which part it is.
    pub place: Concatenation,
    /// Its text without the header.
    pub text: Vec<u8>,
}

/// What came of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It waits for others.
    Waiting,
    /// It was there already; this one is not kept.
    Duplicate,
    /// It was the last one: the whole text, in order.
    Whole(Vec<u8>),
    /// There is no room for one more message in parts: answer that the queue is full.
    Full,
}

#[derive(Debug)]
struct Open {
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
    since: Mono,
}

/// Joins parts. Work and memory are bounded: `limit` messages of at most 255 parts.
#[derive(Debug)]
pub struct Joiner<K> {
    open: BTreeMap<(K, Concatenation), Open>,
    order: VecDeque<(Mono, (K, Concatenation))>,
    limit: usize,
    life: Duration,
}

impl<K: Ord + Clone> Joiner<K> {
    /// At most `limit` unfinished messages, each kept for `life` (300 s is usual).
    pub fn new(limit: usize, life: Duration) -> Joiner<K> {
        Joiner { open: BTreeMap::new(), order: VecDeque::new(), limit, life }
    }

    /// Takes a part, and says what came of it.
    pub fn push(&mut self, part: Part<K>, now: Mono) -> Joined {
        let place = part.place;
        // One entry for all parts of a message.
        let key = (part.key, Concatenation { number: 0, ..place });
        if !self.open.contains_key(&key) {
            if self.open.len() >= self.limit {
                return Joined::Full;
            }
            let total = usize::from(place.total);
            let open = Open { parts: vec![None; total], missing: total, since: now };
            self.open.insert(key.clone(), open);
            self.order.push_back((now, key.clone()));
        }
        let Some(open) = self.open.get_mut(&key) else { return Joined::Full };
        let at = usize::from(place.number).saturating_sub(1);
        match open.parts.get_mut(at) {
            Some(slot @ None) => *slot = Some(part.text),
            _ => return Joined::Duplicate,
        }
        open.missing = open.missing.saturating_sub(1);
        if open.missing > 0 {
            return Joined::Waiting;
        }
        let whole = self.open.remove(&key).map(|open| open.parts.into_iter().flatten().flatten().collect());
        Joined::Whole(whole.unwrap_or_default())
    }

    /// The next message that waited too long, with the parts that came, in order. Ask until it gives `None`.
    pub fn expired(&mut self, now: Mono) -> Option<(K, Vec<u8>)> {
        while let Some((since, _)) = self.order.front() {
            if now < *since + self.life {
                return None;
            }
            let (since, key) = self.order.pop_front()?;
            // One that was finished, and begun again by the same reference, has a later time of its own.
            if self.open.get(&key).is_some_and(|open| open.since == since)
                && let Some(open) = self.open.remove(&key)
            {
                return Some((key.0, open.parts.into_iter().flatten().flatten().collect()));
            }
        }
        None
    }

    /// When [`Joiner::expired`] may have something.
    pub fn deadline(&self) -> Option<Mono> {
        self.order.front().map(|(since, _)| *since + self.life)
    }

    /// How many unfinished messages are kept.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}
