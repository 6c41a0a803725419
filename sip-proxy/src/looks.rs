//! Looks at the calls in the air from outside, and their end by hand: what a shard does piece by piece, put together.
//!
//! Everything here waits for shards and is bounded by a time: it belongs on a thread of its own, never on the call path.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use warp_model::{CallId, CustomerId};

use crate::Commander;
use crate::core::{Command, HangUpBy, HungUp, LiveCall, LookFor, LookedAt};
use crate::server::Note;

/// What was seen of the calls in the air.
#[derive(Clone, Debug, Default)]
pub struct CallsSeen {
    /// The newest of those that were looked for.
    pub calls: Vec<LiveCall>,
    /// How many there are of them in all.
    pub found: usize,
    /// Shards that did not answer in time.
    pub silent: usize,
}

impl Commander {
    /// The newest `most` of the calls that are looked for, of all shards, within `wait`. Each shard is asked for a piece of its table at a
    /// time.
    pub fn look_at_calls(&self, which: &LookFor, most: usize, wait: Duration) -> CallsSeen {
        let ends = Instant::now() + wait;
        let mut seen = CallsSeen::default();
        for shard in 0..self.senders.len() {
            let mut from = Some(0);
            while let Some(at) = from {
                let Some(LookedAt { calls, next }) = self.piece(shard, which, at, ends) else {
                    seen.silent += 1;
                    break;
                };
                seen.found += calls.len();
                seen.calls.extend(calls);
                if seen.calls.len() > most.saturating_mul(4) {
                    newest(&mut seen.calls, most);
                }
                from = next;
            }
        }
        newest(&mut seen.calls, most);
        seen
    }

    fn piece(&self, shard: usize, which: &LookFor, from: u32, ends: Instant) -> Option<LookedAt> {
        let (tell, hear) = mpsc::channel();
        let reply = Box::new(move |seen| drop(tell.send(seen)));
        let command = Command::LookAtCalls { which: which.clone(), from, reply };
        self.senders.get(shard)?.send(Note::Command(command)).ok()?;
        hear.recv_timeout(ends.saturating_duration_since(Instant::now())).ok()
    }

    /// Waits until each shard has handed over what it captured so far, so that a picture has it.
    pub fn hand_over_captures(&self, wait: Duration) {
        let ends = Instant::now() + wait;
        let (tell, hear) = mpsc::channel();
        for sender in &self.senders {
            let _ = sender.send(Note::HandOver(tell.clone()));
        }
        drop(tell);
        // Nobody sends anything: it is over when every shard has dropped its end.
        let _ = hear.recv_timeout(ends.saturating_duration_since(Instant::now()));
    }

    /// Ends a call by hand, on whichever shard it is; `None`: a shard did not answer, and no other one has it.
    pub fn hang_up(
        &self,
        cdr_id: CallId,
        customer: Option<CustomerId>,
        by: HangUpBy,
        wait: Duration,
    ) -> Option<HungUp> {
        let ends = Instant::now() + wait;
        let (tell, hear) = mpsc::channel();
        let mut asked = 0;
        for sender in &self.senders {
            let tell = tell.clone();
            let reply = Box::new(move |came| {
                let _ = tell.send(came);
            });
            let command = Command::HangUp { cdr_id, customer, by, reply };
            asked += usize::from(sender.send(Note::Command(command)).is_ok());
        }
        drop(tell);
        let mut said = 0;
        while let Ok(came) = hear.recv_timeout(ends.saturating_duration_since(Instant::now())) {
            if came != HungUp::NotHere {
                return Some(came);
            }
            said += 1;
        }
        (said == self.senders.len() && asked == said).then_some(HungUp::NotHere)
    }
}

fn newest(calls: &mut Vec<LiveCall>, most: usize) {
    calls.sort_unstable_by_key(|c| std::cmp::Reverse((c.setup_at, c.cdr_id)));
    calls.truncate(most);
}
