//! The calls of the book by their serial number: found by number, and walked over by `list` alone.

use std::collections::BTreeMap;

use super::call::Call;

/// The calls, in the order of arrival.
#[derive(Default)]
pub(super) struct CallTable {
    calls: BTreeMap<u64, Call>,
    /// Calls looked at, for the tests that nothing walks over all of them.
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

impl CallTable {
    /// Nothing outside tests.
    #[inline]
    fn look(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
    }

    /// Calls looked at so far.
    #[cfg(test)]
    pub(super) fn looks(&self) -> u64 {
        self.looks.get()
    }

    pub(super) fn get(&self, serial: u64) -> Option<&Call> {
        self.look();
        self.calls.get(&serial)
    }

    pub(super) fn get_mut(&mut self, serial: u64) -> Option<&mut Call> {
        self.look();
        self.calls.get_mut(&serial)
    }

    pub(super) fn insert(&mut self, serial: u64, call: Call) {
        self.calls.insert(serial, call);
    }

    pub(super) fn remove(&mut self, serial: u64) -> Option<Call> {
        self.look();
        self.calls.remove(&serial)
    }

    /// All of them, ended ones too, the eldest first.
    pub(super) fn walk(&self) -> impl Iterator<Item = &Call> {
        self.calls.values().inspect(|_| self.look())
    }
}
