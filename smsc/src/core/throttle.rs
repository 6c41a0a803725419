//! Messages a second.

use std::time::Duration;

use warp_model::Mono;

/// A bucket that holds one second's worth of tokens, one at least.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Time of one token; `None`: no limit.
    each: Option<Duration>,
    /// When the bucket is full again: what lies ahead of now is what was taken.
    full_at: Mono,
    room: Duration,
}

impl Bucket {
    pub(crate) fn new(rate: Option<u32>) -> Bucket {
        let each = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        let room = each.unwrap_or_default().max(Duration::from_secs(1));
        Bucket { each, full_at: Mono(0), room }
    }

    /// Takes a token. `Err`: there is none before that time.
    pub(crate) fn take(&mut self, now: Mono) -> Result<(), Mono> {
        let Some(each) = self.each else { return Ok(()) };
        let from = if self.full_at > now { self.full_at } else { now };
        let after = from + each;
        if after.since(now) > self.room {
            return Err(Mono(
                after.0.saturating_sub(u64::try_from(self.room.as_nanos()).unwrap_or(u64::MAX)),
            ));
        }
        self.full_at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_sms_08_two_a_second_are_two_a_second() {
        let mut bucket = Bucket::new(Some(2));
        let s = 1_000_000_000u64;
        let mut taken = 0;
        for tenth in 100..150u64 {
            taken += u32::from(bucket.take(Mono(tenth * s / 10)).is_ok());
        }
        assert!((10..=12).contains(&taken), "{taken} in five seconds");
        let wait = bucket.take(Mono(15 * s)).and_then(|()| bucket.take(Mono(15 * s))).unwrap_err();
        assert!(wait > Mono(15 * s) && wait <= Mono(15 * s + s / 2));
        assert_eq!(bucket.take(wait), Ok(()), "the time that is told is right");
        let mut free = Bucket::new(None);
        assert!((0..1_000).all(|_| free.take(Mono(0)).is_ok()));
    }
}
