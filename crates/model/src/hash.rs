//! Two small functions of numbers that several rooms need and that must mean the same everywhere: FNV-1a (a stable hash of
//! bytes, no secret) and SplitMix64 (a seeded sequence, no secret). Neither withstands somebody who chooses the input: tables
//! that strangers fill use a keyed hash of their own.

/// FNV-1a over 64 bits: the same in every build and on every machine.
///
/// Source: draft-eastlake-fnv, 64-bit offset basis and prime.
#[inline]
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01B3;
    bytes.into_iter().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// One step of SplitMix64 as a function: spreads a number over 64 bits, one to one.
///
/// Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
#[inline]
pub fn mix(x: u64) -> u64 {
    finish(x.wrapping_add(GAMMA))
}

/// The SplitMix64 sequence: the same seed gives the same numbers on every machine. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A sequence from a seed; any seed is good.
    pub fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        finish(self.0)
    }

    /// A number in `0..below`; 0 when `below` is 0. All are equally likely to within one in 2^32 for `below` up to 2^32.
    pub fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(below)) >> 64) as u64
    }
}

/// The output function of SplitMix64.
#[inline]
fn finish(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_the_published_values() {
        assert_eq!(fnv1a(*b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(*b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_F739_67E8);
    }

    #[test]
    fn splitmix_gives_the_published_sequence_of_seed_1234567() {
        let mut s = SplitMix::new(1_234_567);
        let three = [s.draw(), s.draw(), s.draw()];
        assert_eq!(three, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        let mut s = SplitMix::new(7);
        let drawn: Vec<u64> = (0..1_000).map(|_| s.below(10)).collect();
        assert!(drawn.iter().all(|n| *n < 10) && drawn.contains(&0) && drawn.contains(&9));
        assert_eq!(s.below(0), 0);
    }
}
