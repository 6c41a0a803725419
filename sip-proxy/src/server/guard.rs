//! Panics of one shard (G-1, F-PROC-05): what they cost, and what they must not.
//!
//! A panic in the core costs the input that caused it; the call that it happened in has been ended by the core itself. One anywhere else
//! ends the turn: what was taken out of the kernel or the mailbox and not handled yet waits for the next. A core that keeps panicking is
//! replaced: its calls get their records and their BYEs, and what they had borrowed goes back with them. No socket is ever closed for it,
//! but a connection whose bytes were being cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use warp_model::Now;
use warp_net::batch::RecvBatch;

use super::shard::{BATCH, DATAGRAM_BYTES, READ_BYTES, Shard};
use crate::core::{Command, Core, CoreStats};

impl Shard {
    /// One turn of the loop. A panic outside the core (in a relay's callback, or in the shard) ends it, not the thread.
    pub(super) fn guarded(&mut self, step: impl FnOnce(&mut Shard)) {
        if caught(|| step(self)) {
            self.count_panic("a wake-up panicked and was cut short");
            self.batch.get_or_insert_with(|| RecvBatch::new(BATCH, DATAGRAM_BYTES));
            self.read_buffer.get_or_insert_with(|| vec![0; READ_BYTES].into_boxed_slice());
            self.again = true;
            let rest = caught(|| {
                self.write_journal();
                if let Some(link) = self.reading.take() {
                    let lost = self.streams.remove(link);
                    self.lose(lost);
                }
            });
            if rest {
                self.count_panic("and so did the clearing up");
                self.in_hand = None;
            }
        }
        if self.panics > PANICS_PER_TICK {
            let now = warp_net::clock::Clock::now();
            if caught(|| self.replace_core(now)) {
                self.count_panic("replacing the core panicked");
            }
        }
    }

    /// Calls the core and carries out what it wants, the errors of that included.
    pub(super) fn with_core(&mut self, now: Now, step: impl FnOnce(&mut Core)) {
        self.step_core(now, step);
        if !self.flow_errors.is_empty() {
            self.settle(now);
        }
    }

    /// Calls the core and carries out what it wants.
    pub(super) fn step_core(&mut self, now: Now, step: impl FnOnce(&mut Core)) {
        self.one_step(now, step);
        // Here and not by the mailbox: that may be full, and a 2xx that the vendor repeats must not be passed on before.
        while let Some(cdr_id) = self.unrecorded_calls.pop() {
            let end = Command::EndCall { cdr_id, reason: "journal" };
            self.one_step(now, |core| core.handle_command(end, now));
        }
    }

    fn one_step(&mut self, now: Now, step: impl FnOnce(&mut Core)) {
        let before = self.core.stats().panics;
        let core = &mut self.core;
        if caught(|| step(core)) {
            self.count_panic("the core panicked; its input was dropped");
        }
        for _ in before..self.core.stats().panics {
            self.count_panic("the core panicked within a call, which was ended");
        }
        if self.panics > PANICS_PER_TICK {
            self.replace_core(now);
        }
        self.run_outputs(now);
    }

    fn count_panic(&mut self, what: &str) {
        self.metrics.panics.inc(());
        self.panics += 1;
        tracing::error!(shard = self.index, "{what}");
    }

    /// A new core in the place of one that cannot be trusted any more.
    fn replace_core(&mut self, now: Now) {
        tracing::error!(shard = self.index, "the core keeps panicking; starting a new one");
        self.panics = 0;
        self.carry_stats();
        self.stats = CoreStats::default();
        let mut seed = self.seed;
        for (s, t) in seed.iter_mut().zip(now.mono.0.to_le_bytes()) {
            *s ^= t;
        }
        self.seed = seed;
        let config = Arc::clone(self.core.config());
        let mut new = Core::new(config, self.index, seed, Arc::clone(&self.shared));
        new.set_overload(self.load.level());
        let mut old = std::mem::replace(&mut self.core, new);
        // Record by record; what a call of such a core cannot do any more costs that call only.
        let mut dialogs = Vec::new();
        while let Some(id) = old.next_call() {
            let mut ended = None;
            if caught(|| ended = old.close_books(id, now)) {
                self.count_panic("a call could not be closed");
            }
            dialogs.extend(ended);
        }
        // Its outputs in their order: what it had decided before, then the records and finals of its calls.
        std::mem::swap(&mut self.core, &mut old);
        self.run_outputs(now);
        std::mem::swap(&mut self.core, &mut old);
        self.core.go_on_after(&old);
        if caught(|| drop(old)) {
            self.count_panic("the old core could not be dropped");
        }
        self.snapshot = None;
        self.take_snapshot(now);
        // The BYEs are the new one's, which repeats them until they are answered.
        for dialog in dialogs {
            self.step_core(now, |core| core.handle_command(Command::EndRecovered(dialog), now));
        }
    }
}

#[cfg(test)]
impl Shard {
    pub(super) fn send_to_itself(&self, note: super::Note) {
        assert!(self.senders[usize::from(self.index)].send(note).is_ok());
    }

    /// False when the mailbox is full.
    pub(super) fn try_to_send_to_itself(&self, note: super::Note) -> bool {
        self.senders[usize::from(self.index)].send(note).is_ok()
    }

    /// As a turn that takes its mail and goes no further.
    pub(super) fn fill_notes(&mut self) {
        let notes = &mut self.notes;
        self.mailbox.drain(1_024, |note| notes.push_back(note));
        assert!(!self.notes.is_empty());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn udp_addr(&self) -> std::net::SocketAddr {
        self.udp[0].socket.local_addr()
    }

    pub(super) fn keep_journal(&mut self, journal: warp_events::Journal) {
        self.journal = Some(journal);
    }
}

/// Runs `step`; true when it panicked.
fn caught(step: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(step)).is_err()
}

/// Panics within a tick after which the core's state is given up.
const PANICS_PER_TICK: u32 = 16;
