//! Seeded randomness and keyed hashes of a core: same seed and inputs, same bytes out.
//! Branches, tags and nonces of ours must not be guessable (T-SIP-11): the stream is SHA-256 in counter mode under the seed.

use std::hash::Hasher;

use sha2::{Digest, Sha256};

/// A deterministic generator whose outputs do not tell the next ones.
#[derive(Clone)]
pub(crate) struct Rng {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Rng {
    /// From the shard's seed and its number.
    pub(crate) fn new(seed: [u8; 32], shard: u16) -> Rng {
        Rng { seed, counter: u64::from(shard) << 48, block: [0; 32], used: 32 }
    }

    /// The next 64 random bits.
    pub(crate) fn u64(&mut self) -> u64 {
        if self.used >= 32 {
            let mut h = Sha256::new();
            h.update(self.seed);
            h.update(self.counter.to_be_bytes());
            self.block = h.finalize().into();
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let mut out = [0; 8];
        out.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_be_bytes(out)
    }

    /// The next 128 random bits.
    pub(crate) fn u128(&mut self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }
}

/// Keyed hash of a list of byte strings. The key keeps strangers from choosing collisions; 128 bits keep honest ones apart,
/// so tables need not store what was hashed.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(u64, u64);

impl Keyed {
    /// With a key from the generator.
    pub(crate) fn new(rng: &mut Rng) -> Keyed {
        Keyed(rng.u64(), rng.u64())
    }

    /// Hash of `parts`; their borders count.
    pub(crate) fn hash128(&self, parts: &[&[u8]]) -> u128 {
        let mut h = self.start(parts);
        let high = h.finish();
        h.write_u64(self.1);
        u128::from(high) << 64 | u128::from(h.finish())
    }

    /// Hash of `parts` in 64 bits.
    pub(crate) fn hash64(&self, parts: &[&[u8]]) -> u64 {
        self.start(parts).finish()
    }

    fn start(&self, parts: &[&[u8]]) -> std::hash::DefaultHasher {
        // SipHash-1-3 with the key as its first block. Short inputs, which are nearly all, go in with one write.
        let mut h = std::hash::DefaultHasher::new();
        let mut text = [0_u8; 512];
        text[..8].copy_from_slice(&self.0.to_ne_bytes());
        text[8..16].copy_from_slice(&self.1.to_ne_bytes());
        let mut at = 16;
        for p in parts {
            let end = at + 4 + p.len();
            if end > text.len() {
                h.write(&text[..at]);
                at = 0;
                if 4 + p.len() > text.len() {
                    h.write_usize(p.len());
                    h.write(p);
                    continue;
                }
            }
            text[at..at + 4].copy_from_slice(&(p.len() as u32).to_ne_bytes());
            text[at + 4..at + 4 + p.len()].copy_from_slice(p);
            at += 4 + p.len();
        }
        h.write(&text[..at]);
        h
    }
}

/// Hasher of tables whose keys are already keyed hashes.
#[derive(Default, Clone, Copy)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*b);
        }
    }
    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }
}

/// Table keyed by [`Keyed::hash128`]. Looked up only, never iterated.
pub(crate) type HashTable<V> = std::collections::HashMap<u128, V, std::hash::BuildHasherDefault<Identity>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_stream_and_other_shard_another() {
        let take = |shard| {
            let mut r = Rng::new([7; 32], shard);
            (0..9).map(|_| r.u64()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn borders_count() {
        let k = Keyed::new(&mut Rng::new([1; 32], 0));
        assert_ne!(k.hash128(&[b"ab", b"c"]), k.hash128(&[b"a", b"bc"]));
        assert_ne!(k.hash64(&[b"ab", b"c"]), k.hash64(&[b"a", b"bc"]));
    }

    /// Whatever their lengths: every byte and every border counts.
    #[test]
    fn long_parts_count_to_their_last_byte() {
        let k = Keyed::new(&mut Rng::new([1; 32], 0));
        for n in [0, 1, 400, 487, 488, 489, 490, 491, 492, 493, 507, 508, 509, 2_000] {
            let (a, mut b) = (vec![7; n], vec![7; n]);
            b.push(7);
            assert_ne!(k.hash128(&[&a, b"x"]), k.hash128(&[&a, b""]), "{n}");
            assert_eq!(k.hash128(&[&a, &a, b"x"]), k.hash128(&[&a, &a, b"x"]));
            assert_ne!(k.hash128(&[&a, &b]), k.hash128(&[&b, &a]), "{n}");
            for last in [0, n] {
                let mut c = b.clone();
                c[last] ^= 1;
                assert_ne!(k.hash128(&[&a, &b]), k.hash128(&[&a, &c]), "{n}");
            }
        }
    }
}
