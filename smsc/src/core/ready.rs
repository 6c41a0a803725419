//! What is ready for a vendor: by priority, and within one by turns between customers, so that a large campaign of one does not keep
//! the single message of another waiting.

use std::collections::VecDeque;

use super::slab::Key;

/// The queue of one vendor.
#[derive(Debug)]
pub(crate) struct Ready {
    /// By priority, 0 the lowest.
    levels: [Level; 4],
}

#[derive(Debug, Default)]
struct Level {
    by_account: Vec<VecDeque<Key>>,
    /// The accounts that have something, in the order of their turns.
    turns: VecDeque<usize>,
}

impl Ready {
    pub(crate) fn new() -> Ready {
        Ready { levels: Default::default() }
    }

    pub(crate) fn push(&mut self, account: usize, priority: u8, key: Key) {
        self.level(priority).queue(account, |queue| queue.push_back(key));
    }

    /// Puts one back that was taken: it is the next of its account.
    pub(crate) fn push_front(&mut self, account: usize, priority: u8, key: Key) {
        self.level(priority).queue(account, |queue| queue.push_front(key));
    }

    /// How many wait. Those that were cancelled or have expired are counted until their turn.
    pub(crate) fn len(&self) -> usize {
        self.levels.iter().flat_map(|level| &level.by_account).map(VecDeque::len).sum()
    }

    pub(crate) fn pop(&mut self) -> Option<Key> {
        self.levels.iter_mut().rev().find_map(Level::pop)
    }

    fn level(&mut self, priority: u8) -> &mut Level {
        let [lowest, low, high, highest] = &mut self.levels;
        match priority {
            0 => lowest,
            1 => low,
            2 => high,
            _ => highest,
        }
    }
}

impl Level {
    fn queue(&mut self, account: usize, put: impl FnOnce(&mut VecDeque<Key>)) {
        if self.by_account.len() <= account {
            self.by_account.resize_with(account.saturating_add(1), VecDeque::new);
        }
        if let Some(queue) = self.by_account.get_mut(account) {
            if queue.is_empty() {
                self.turns.push_back(account);
            }
            put(queue);
        }
    }

    fn pop(&mut self) -> Option<Key> {
        let account = self.turns.pop_front()?;
        let queue = self.by_account.get_mut(account)?;
        let key = queue.pop_front();
        if !queue.is_empty() {
            self.turns.push_back(account);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_take_turns_within_a_priority() {
        let mut ready = Ready::new();
        let key = Key::from_u64;
        for n in 0..5 {
            ready.push(0, 0, key(n));
        }
        ready.push(7, 0, key(70));
        ready.push(7, 0, key(71));
        ready.push(3, 2, key(30));
        let mut order: Vec<u64> = std::iter::from_fn(|| ready.pop()).take(3).map(Key::as_u64).collect();
        assert_eq!(order, [30, 0, 70]);
        // What goes back is the next of its account.
        ready.push_front(7, 0, key(70));
        order = std::iter::from_fn(|| ready.pop()).map(Key::as_u64).collect();
        assert_eq!(order, [1, 70, 2, 71, 3, 4]);
    }
}
