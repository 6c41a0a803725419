//! The ports of a shard by slot: found by number, never walked over.

/// Entries by slot; a slot that is free is given again.
pub(crate) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    /// Entries looked at, for the tests that nothing walks over all of them.
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Slots {
            entries: Vec::new(),
            free: Vec::new(),
            #[cfg(test)]
            looks: Default::default(),
        }
    }

    /// Nothing outside tests.
    #[inline]
    fn look(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
    }

    /// Entries looked at so far.
    #[cfg(test)]
    pub(crate) fn looks(&self) -> u64 {
        self.looks.get()
    }

    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.look();
        self.entries.get(slot)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.look();
        self.entries.get_mut(slot)?.as_mut()
    }

    /// Puts an entry into a free slot, and says into which.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.entries.get_mut(slot as usize)
        {
            *place = Some(entry);
            return slot;
        }
        self.entries.push(Some(entry));
        (self.entries.len() - 1) as u32
    }

    /// Takes an entry out; its slot is free.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        self.look();
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(entry)
    }
}
