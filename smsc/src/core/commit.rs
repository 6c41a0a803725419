//! Group commit: what waits for the disk, in order.
//!
//! Records gather in a batch; the server appends it at the end of its wake-up and syncs on another thread. What a record's durability
//! allows is kept with it. When writing or syncing fails, what waits is given back to be refused, and the steps of messages that nobody
//! waits for are gathered again.

use std::collections::VecDeque;

use super::slab::Key;
use warp_smpp::record::Record;

/// What happens when a record is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A customer's message is ours: answer it, and let it go on.
    Taken {
        /// The message that was written.
        message: Key,
        /// Who waits for the answer.
        waits: Waits,
    },
    /// A handset's message is ours: answer the vendor, and deliver it.
    Originated { message: Key, connection: Key, sequence: u32, data: bool },
    /// A message is over: its customer may hear of it.
    Over { message: Key },
    /// Another form of a message is kept: it takes the place of the old one, if that still waits.
    Replaced { message: Key, form: usize, connection: Key, sequence: u32 },
    /// A vendor's receipt is kept: answer it.
    Receipt { connection: Key, sequence: u32, data: bool },
    /// What a recipient has said of messages of a sender is kept, at this place of those that wait.
    Consent { place: usize },
}

/// Who waits for a message to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A bind; `data`: for the answer to a data_sm instead of submit_sm.
    Bind { connection: Key, sequence: u32, data: bool },
    /// A bind, for the answer to a submit_multi whose last message this is.
    Multi { connection: Key, sequence: u32 },
    /// A request of the HTTP door, by its token.
    Door(u64),
    /// Nobody: another part of the same message is waited for.
    Nobody,
}

/// Whether a record whose write failed is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Yes: it is a fact, whether the disk has it or not.
    Fact,
    /// No: what it says has not happened, because it was refused.
    Offer,
}

/// Records that go to the topic in one write.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// End of each record in `bytes`, and whether it is kept.
    ends: Vec<(usize, Kept)>,
    acts: Vec<Act>,
    /// Which record took which message.
    accepted: Vec<(usize, Key)>,
    /// Number after its last record, once it was appended.
    end: u64,
}

impl Batch {
    /// Its records in order.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0usize;
        self.ends.iter().map(move |(end, _)| {
            let record = self.bytes.get(begin..*end).unwrap_or_default();
            begin = *end;
            record
        })
    }

    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.acts.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.acts.clear();
        self.accepted.clear();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Commit {
    gathering: Batch,
    waiting: VecDeque<Batch>,
    /// Emptied batches, whose memory is used again.
    spare: Vec<Batch>,
}

impl Commit {
    /// Adds a record, and what its durability allows.
    pub(crate) fn add(&mut self, record: &Record<'_>, kept: Kept, act: Option<Act>) {
        let batch = &mut self.gathering;
        record.encode(&mut batch.bytes);
        batch.ends.push((batch.bytes.len(), kept));
        batch.acts.extend(act);
    }

    /// What happens when all that was added so far is durable.
    pub(crate) fn wait(&mut self, act: Act) {
        self.gathering.acts.push(act);
    }

    /// The message that was taken last has somebody who waits for it after all.
    pub(crate) fn waits(&mut self, who: Waits) {
        if let Some(Act::Taken { waits, .. }) = self.gathering.acts.last_mut() {
            *waits = who;
        }
    }

    /// The record that was added last took this message.
    pub(crate) fn took(&mut self, message: Key) {
        let at = self.gathering.ends.len().saturating_sub(1);
        self.gathering.accepted.push((at, message));
    }

    pub(crate) fn batch(&self) -> &Batch {
        &self.gathering
    }

    /// The batch was appended, its last record before `end`. Gives the numbers of the messages that it took.
    pub(crate) fn appended(&mut self, end: u64) -> Vec<(u64, Key)> {
        let mut batch = std::mem::replace(&mut self.gathering, self.spare.pop().unwrap_or_default());
        batch.end = end;
        let first = end.saturating_sub(batch.ends.len() as u64);
        let numbers =
            batch.accepted.iter().map(|(at, key)| (first.saturating_add(*at as u64), *key)).collect();
        self.waiting.push_back(batch);
        numbers
    }

    /// Everything before `number` is durable. Gives what that allows, in order.
    pub(crate) fn durable(&mut self, number: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        while self.waiting.front().is_some_and(|batch| batch.end <= number) {
            let Some(mut batch) = self.waiting.pop_front() else { break };
            acts.append(&mut batch.acts);
            batch.clear();
            if self.spare.len() < 8 && batch.bytes.capacity() < 1 << 20 {
                self.spare.push(batch);
            }
        }
        acts
    }

    /// Records before `below` will not be durable; `None`: those that are gathered could not be appended. Gives what waited for them;
    /// facts are gathered again, in order.
    pub(crate) fn failed(&mut self, below: Option<u64>) -> Vec<Act> {
        let mut gathered = std::mem::take(&mut self.gathering);
        let mut lost = Vec::new();
        match below {
            Some(below) => {
                while self.waiting.front().is_some_and(|batch| batch.end <= below) {
                    lost.extend(self.waiting.pop_front());
                }
            }
            None => lost.push(std::mem::take(&mut gathered)),
        }
        let mut acts = Vec::new();
        for mut batch in lost {
            acts.append(&mut batch.acts);
            for (record, (_, kept)) in batch.records().zip(&batch.ends) {
                if *kept == Kept::Fact {
                    self.gathering.bytes.extend_from_slice(record);
                    self.gathering.ends.push((self.gathering.bytes.len(), Kept::Fact));
                }
            }
        }
        if !gathered.is_empty() {
            // What was gathered meanwhile comes after it.
            let offset = self.gathering.bytes.len();
            let records = self.gathering.ends.len();
            self.gathering.bytes.extend_from_slice(&gathered.bytes);
            self.gathering
                .ends
                .extend(gathered.ends.iter().map(|(end, kept)| (offset.saturating_add(*end), *kept)));
            self.gathering.acts.extend(gathered.acts);
            self.gathering
                .accepted
                .extend(gathered.accepted.iter().map(|(at, key)| (records.saturating_add(*at), *key)));
        }
        acts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_disk_02_what_waits_is_given_back_and_facts_are_written_again() {
        let mut commit = Commit::default();
        let over = |n| Act::Over { message: Key::from_u64(n) };
        commit.add(&Record::Done { id: 1 }, Kept::Fact, None);
        commit.add(&Record::Sent { id: 2 }, Kept::Offer, Some(over(2)));
        commit.took(Key::from_u64(2));
        assert_eq!(commit.appended(12), [(11, Key::from_u64(2))]);
        commit.add(&Record::Done { id: 3 }, Kept::Fact, Some(over(3)));
        commit.appended(13);
        assert_eq!(commit.durable(11), [], "a part of a group allows nothing");
        assert_eq!(commit.durable(12), [over(2)]);
        commit.add(&Record::Done { id: 4 }, Kept::Fact, None);
        commit.add(&Record::Sent { id: 5 }, Kept::Offer, Some(over(5)));
        commit.took(Key::from_u64(5));
        let gathered = |commit: &Commit| -> Vec<u128> {
            let ids = commit.batch().records().map(|r| match Record::decode(r).unwrap() {
                Record::Done { id } | Record::Sent { id } => id,
                other => panic!("{other:?}"),
            });
            ids.collect()
        };
        assert_eq!(commit.failed(Some(13)), [over(3)], "a sync that failed gives back what it was to cover");
        assert_eq!(gathered(&commit), [3, 4, 5], "its facts come before what was gathered meanwhile");
        assert_eq!(commit.failed(None), [over(5)]);
        assert_eq!(gathered(&commit), [3, 4], "an offer that was refused is not written again");
        assert_eq!(commit.appended(20), []);
        assert_eq!(commit.durable(u64::MAX), []);
    }
}
