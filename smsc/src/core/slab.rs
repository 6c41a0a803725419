//! Storage whose keys die with their entries: an answer that comes late never finds a newer entry.

/// Place and generation of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As one number, for tokens of requests.
    pub(crate) fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`Key::as_u64`] gave the number of.
    pub(crate) fn from_u64(n: u64) -> Key {
        Key { index: n as u32, generation: (n >> 32) as u32 }
    }
}

/// The storage. Iteration is by place, so it has a defined order. It grows piece by piece: nothing is moved, and no room is made for
/// twice as much as there is.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pieces: Vec<Vec<Option<T>>>,
    generations: Vec<u32>,
    free: Vec<u32>,
}

/// Entries of a piece.
const PIECE: usize = 1_024;

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab { pieces: Vec::new(), generations: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.generations.len().saturating_sub(self.free.len())
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop()
            && let Some(generation) = self.generations.get(index as usize).copied()
            && let Some(slot) = self.slot(index)
        {
            *slot = Some(value);
            return Key { index, generation };
        }
        // The limits of connections and messages are far below 2^32.
        let index = u32::try_from(self.generations.len()).unwrap_or(u32::MAX);
        if self.generations.len().is_multiple_of(PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(Some(value));
            self.generations.push(1);
        }
        Key { index, generation: 1 }
    }

    fn slot(&mut self, index: u32) -> Option<&mut Option<T>> {
        let index = index as usize;
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    fn is_live(&self, key: Key) -> bool {
        self.generations.get(key.index as usize) == Some(&key.generation)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let index = key.index as usize;
        let slot = self.pieces.get(index / PIECE)?.get(index % PIECE)?;
        slot.as_ref().filter(|_| self.is_live(key))
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if !self.is_live(key) {
            return None;
        }
        self.slot(key.index)?.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        if !self.is_live(key) {
            return None;
        }
        let value = self.slot(key.index)?.take()?;
        if let Some(generation) = self.generations.get_mut(key.index as usize) {
            *generation = generation.wrapping_add(1).max(1);
        }
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        let used = self.pieces.iter().flatten().zip(&self.generations).enumerate();
        used.filter(|(_, (slot, _))| slot.is_some())
            .map(|(at, (_, generation))| Key {
                index: u32::try_from(at).unwrap_or(u32::MAX),
                generation: *generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_die_with_their_entries_over_several_pieces() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..3 * PIECE).map(|n| slab.insert(n)).collect();
        assert_eq!((slab.len(), slab.keys().len()), (3 * PIECE, 3 * PIECE));
        assert!(keys.iter().enumerate().all(|(n, key)| slab.get(*key) == Some(&n)));
        let gone = keys[PIECE + 7];
        assert_eq!(slab.remove(gone), Some(PIECE + 7));
        assert!(slab.get(gone).is_none() && slab.get_mut(gone).is_none() && slab.remove(gone).is_none());
        assert_eq!(slab.keys().len(), 3 * PIECE - 1);
        let new = slab.insert(0);
        assert_eq!((new.index, slab.get(gone), slab.get(new)), (gone.index, None, Some(&0)));
        assert_eq!((slab.get(Key { index: u32::MAX, generation: 1 }), slab.len()), (None, 3 * PIECE));
    }
}
