//! All messages that are not done, their timers, and what stands on disk of them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use warp_model::Wall;

use super::commit::{Act, Commit, Kept};
use super::message::{Message, NEVER, Step};
use super::slab::{Key, Slab};
use warp_smpp::record::Record;

#[derive(Debug)]
pub(crate) struct Store {
    messages: Slab<Message>,
    /// By the random half of the id, which the message itself confirms.
    by_id: HashMap<u64, Key, BuildHasherDefault<Half>>,
    timers: BTreeSet<(Wall, Key)>,
    /// Numbers of the records that took messages, in order; those of messages that are done are stale.
    order: VecDeque<(u64, Key)>,
    pub(crate) commit: Commit,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store {
            messages: Slab::new(),
            by_id: HashMap::default(),
            timers: BTreeSet::new(),
            order: VecDeque::new(),
            commit: Commit::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Message> {
        self.messages.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Message> {
        self.messages.get_mut(key)
    }

    pub(crate) fn find(&self, id: u128) -> Option<Key> {
        let key = self.by_id.get(&half(id)).copied()?;
        self.messages.get(key).is_some_and(|m| m.id == id).then_some(key)
    }

    pub(crate) fn insert(&mut self, message: Message) -> Key {
        let id = message.id;
        let key = self.messages.insert(message);
        self.by_id.insert(half(id), key);
        key
    }

    /// Takes it out. Nothing is written.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Message> {
        let message = self.messages.remove(key)?;
        if self.by_id.get(&half(message.id)) == Some(&key) {
            self.by_id.remove(&half(message.id));
        }
        if message.due != NEVER {
            self.timers.remove(&(message.due, key));
        }
        Some(message)
    }

    /// Its timer looks at it then; [`NEVER`]: it has none.
    pub(crate) fn set_due(&mut self, key: Key, at: Wall) {
        let Some(message) = self.messages.get_mut(key) else { return };
        if message.due == at {
            return;
        }
        if message.due != NEVER {
            self.timers.remove(&(message.due, key));
        }
        message.due = at;
        if at != NEVER {
            self.timers.insert((at, key));
        }
    }

    /// The next message whose timer has come; its timer does not run any more.
    pub(crate) fn pop_due(&mut self, now: Wall) -> Option<Key> {
        let (at, key) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        if let Some(message) = self.messages.get_mut(key) {
            message.due = NEVER;
        }
        Some(key)
    }

    pub(crate) fn next_due(&self) -> Option<Wall> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Writes the record that takes a message; the message is given the names that are configured for its places.
    pub(crate) fn write_accepted(&mut self, key: Key, account: &[u8], vendor: &[u8], act: Option<Act>) {
        let Some(m) = self.messages.get(key) else { return };
        let callback = m.callback.as_ref().map(|c| c.encode()).unwrap_or_default();
        let record = Record::Accepted {
            id: m.id,
            direction: m.direction,
            account,
            vendor,
            at: m.at,
            not_before: m.not_before,
            expires: m.expires,
            body: &m.body,
            callback: &callback,
            route: m.route,
            nth: m.nth,
            terms: &m.terms.as_ref().map(|t| t.bytes()).unwrap_or_default(),
        };
        let kept = if act.is_some() { Kept::Offer } else { Kept::Fact };
        self.commit.add(&record, kept, act);
        self.commit.took(key);
    }

    /// Writes the steps that a message has made since it was taken: with its first record they are all that is known of it.
    fn write_steps(&mut self, key: Key, vendor: &[u8]) {
        let Some(m) = self.messages.get(key) else { return };
        for _ in 0..m.moves {
            // The record above has its vendor of now: these say how many had their turn.
            self.commit.add(&Record::Moved { id: m.id, vendor, buy: None }, Kept::Fact, None);
        }
        if let Some(carrier_id) = &m.carrier_id {
            self.commit.add(&Record::Carried { id: m.id, carrier_id }, Kept::Fact, None);
        } else if m.step == Step::Sent {
            self.commit.add(&Record::Sent { id: m.id }, Kept::Fact, None);
        } else if m.step == Step::Waiting {
            let retry = Record::Retry { id: m.id, until: m.not_before, attempts: m.attempts };
            self.commit.add(&retry, Kept::Fact, None);
        }
        if m.noticed {
            self.commit.add(&Record::Noticed { id: m.id }, Kept::Fact, None);
        }
        if m.callback.as_ref().is_some_and(|c| c.told) {
            self.commit.add(&Record::Told { id: m.id }, Kept::Fact, None);
        }
        if let Some(outcome) = m.outcome {
            self.commit.add(&Record::Final { id: m.id, outcome }, Kept::Fact, None);
        }
    }

    /// What was gathered stands in the topic, the last record before `end`.
    pub(crate) fn appended(&mut self, end: u64) {
        for (number, key) in self.commit.appended(end) {
            if let Some(message) = self.messages.get_mut(key) {
                message.record = number;
                self.order.push_back((number, key));
            }
        }
    }

    /// It stood in the topic at a start.
    pub(crate) fn restored(&mut self, key: Key, number: u64) {
        if let Some(message) = self.messages.get_mut(key) {
            message.record = number;
            self.order.push_back((number, key));
        }
    }

    /// The number of the oldest record that is needed; `None`: none is.
    pub(crate) fn oldest(&mut self) -> Option<u64> {
        while let Some((number, key)) = self.order.front() {
            if self.messages.get(*key).is_some_and(|m| m.record == *number) {
                return Some(*number);
            }
            self.order.pop_front();
        }
        None
    }

    /// Writes up to `count` of the oldest messages again, so that what stands before them can go.
    pub(crate) fn rewrite(&mut self, count: usize, names: impl Fn(&Message) -> (Vec<u8>, Vec<u8>)) {
        for _ in 0..count {
            if self.oldest().is_none() {
                return;
            }
            let Some((_, key)) = self.order.pop_front() else { return };
            let Some(message) = self.messages.get(key) else { continue };
            if message.step == Step::Storing {
                self.order.push_front((message.record, key));
                return;
            }
            let (account, vendor) = names(message);
            let again = Record::Again { id: message.id, records: steps(message).saturating_add(1) };
            self.commit.add(&again, Kept::Fact, None);
            self.write_accepted(key, &account, &vendor, None);
            self.write_steps(key, &vendor);
        }
    }

    /// All messages by the age of their record.
    pub(crate) fn by_age(&self) -> Vec<Key> {
        let mut keys = self.messages.keys();
        keys.sort_by_key(|key| self.messages.get(*key).map_or(0, |m| m.record));
        keys
    }
}

/// How many records [`Store::write_steps`] makes of a message.
fn steps(m: &Message) -> u8 {
    let one = [
        m.carrier_id.is_some() || matches!(m.step, Step::Sent | Step::Waiting),
        m.noticed,
        m.callback.as_ref().is_some_and(|c| c.told),
        m.outcome.is_some(),
    ];
    one.iter().fold(m.moves, |all, there| all.saturating_add(u8::from(*there)))
}

/// The lower half of an id: 62 random bits behind the two of the variant (RFC 9562 §5.7).
fn half(id: u128) -> u64 {
    (id & u128::from(u64::MAX)) as u64
}

/// The hash of something that is random: itself, turned so that the bits of the variant are none of those that a table begins with.
#[derive(Default)]
pub(crate) struct Half(u64);

impl Hasher for Half {
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*b);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n.rotate_left(16);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
