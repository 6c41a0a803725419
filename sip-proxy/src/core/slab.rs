//! A slab with generations: dense storage, ids that die with their entry, no hashing on lookup.
//! Ids go into our branches and question ids, so a stale or forged one must never find a newer entry.

/// Index and generation of an entry. Never 0 as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// As one number, for branches and question ids.
    pub(crate) fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The id that [`Id::as_u64`] gave the number of.
    pub(crate) fn from_u64(n: u64) -> Id {
        Id { index: n as u32, generation: (n >> 32) as u32 }
    }
}

/// The slab. Iteration is by index, so it has a defined order.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    /// Which entries [`Slab::counted`] counts.
    counts: fn(&T) -> bool,
    counted: usize,
    /// Entries looked at, for the tests that nothing walks over all of them.
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

impl<T> Slab<T> {
    /// A slab without entries.
    pub(crate) fn new() -> Self {
        Self::counting(|_| false)
    }

    /// Empty, and able to tell how many of its entries are `counts`.
    pub(crate) fn counting(counts: fn(&T) -> bool) -> Self {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
            counts,
            counted: 0,
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

    /// Adds so many empty slots, used from the lowest.
    pub(crate) fn make_room(&mut self, slots: usize) {
        let from = self.slots.len() as u32;
        self.slots.extend((0..slots).map(|_| (1, None)));
        self.free.extend((from..self.slots.len() as u32).rev());
    }

    /// How many living entries the slab was told to count.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// How many entries live.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Stores an entry.
    pub(crate) fn insert(&mut self, value: T) -> Id {
        self.counted += usize::from((self.counts)(&value));
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.1 = Some(value);
            return Id { index, generation: slot.0 };
        }
        let index = self.slots.len() as u32; // bounded by SIP_TRANSACTIONS, far below 2^32
        self.slots.push((1, Some(value)));
        Id { index, generation: 1 }
    }

    /// The entry, when it still lives.
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.look();
        let slot = self.slots.get(id.index as usize)?;
        (slot.0 == id.generation).then_some(slot.1.as_ref()).flatten()
    }

    /// The entry, to be changed.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.look();
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 != id.generation {
            return None;
        }
        slot.1.as_mut()
    }

    /// Takes the entry out; its id is dead from now on.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        self.look();
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 != id.generation {
            return None;
        }
        let value = slot.1.take()?;
        slot.0 = slot.0.wrapping_add(1).max(1);
        self.free.push(id.index);
        self.counted -= usize::from((self.counts)(&value));
        Some(value)
    }

    /// Takes the entry out for a while; its id stays good, lookups find nothing meanwhile.
    pub(crate) fn lend(&mut self, id: Id) -> Option<T> {
        self.look();
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.0 != id.generation {
            return None;
        }
        slot.1.take()
    }

    /// The entries of so many slots from this one on, and where the next piece begins; `None`: there is none.
    pub(crate) fn piece(&self, from: u32, slots: u32) -> (impl Iterator<Item = (Id, &T)>, Option<u32>) {
        let end = from.saturating_add(slots);
        let piece = self.slots.iter().enumerate().skip(from as usize).take(slots as usize);
        let entries = piece.filter_map(|(index, (generation, entry))| {
            self.look();
            // Bounded by SIP_TRANSACTIONS, far below 2^32.
            Some((Id { index: index as u32, generation: *generation }, entry.as_ref()?))
        });
        (entries, ((end as usize) < self.slots.len()).then_some(end))
    }

    /// Puts a lent entry back.
    pub(crate) fn give_back(&mut self, id: Id, value: T) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.0 == id.generation
        {
            slot.1 = Some(value);
        }
    }

    /// A lent entry does not come back.
    pub(crate) fn remove_lent(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.0 == id.generation
        {
            slot.0 = slot.0.wrapping_add(1).max(1);
            self.free.push(id.index);
        }
    }

    /// All living entries by index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots.iter().enumerate().filter_map(|(i, (g, v))| {
            self.look();
            let id = Id { index: i as u32, generation: *g };
            v.as_ref().map(|v| (id, v))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_die_with_their_entry() {
        let mut s = Slab::counting(|text: &&str| text.starts_with('b'));
        let a = s.insert("a");
        assert_eq!(Id::from_u64(a.as_u64()), a);
        assert_eq!(s.remove(a), Some("a"));
        assert_eq!(s.remove(a), None);
        let b = s.insert("b");
        assert_ne!(a, b);
        assert_eq!(s.get(a), None);
        assert_eq!(s.get_mut(a), None);
        assert_eq!(s.get(b), Some(&"b"));
        assert_eq!((s.len(), s.counted()), (1, 1));
        assert_eq!(s.iter().count(), 1);
        s.make_room(3);
        assert_eq!((s.len(), s.iter().count()), (1, 1));
        let more = ["c", "d", "e", "f"].map(|text| s.insert(text));
        assert_eq!(more.map(|id| s.get(id).copied()), [Some("c"), Some("d"), Some("e"), Some("f")]);
        assert_eq!((s.len(), s.slots.len()), (5, 5));
    }

    #[test]
    fn a_lent_entry_keeps_its_id_until_it_comes_back_or_does_not() {
        let mut s = Slab::counting(|_: &&str| true);
        let (a, b) = (s.insert("a"), s.insert("b"));
        assert_eq!((s.lend(a), s.lend(a)), (Some("a"), None));
        assert_eq!(s.get(a), None);
        assert_eq!(s.get_mut(a), None);
        assert_eq!((s.len(), s.counted(), s.iter().count()), (2, 2, 1), "lent is not gone");
        s.give_back(a, "A");
        assert_eq!(s.get(a), Some(&"A"));
        assert_eq!(s.iter().map(|(id, v)| (id, *v)).collect::<Vec<_>>(), [(a, "A"), (b, "b")]);
        // One that does not come back leaves its place to another, who has another id.
        s.lend(b);
        s.remove_lent(b);
        assert_eq!(s.len(), 1);
        let c = s.insert("c");
        assert_eq!((c.index, c.generation), (b.index, b.generation + 1));
        s.give_back(b, "late");
        s.remove_lent(b);
        assert_eq!(s.lend(b), None);
        assert_eq!((s.get(c), s.len()), (Some(&"c"), 2), "whose id is dead touches nothing");
        *s.get_mut(c).unwrap() = "d";
        assert_eq!(s.remove(c), Some("d"));
        // Numbers of ids: the generation above, the index below.
        assert_eq!((c.as_u64(), a.as_u64()), (2 << 32 | 1, 1 << 32));
    }
}
