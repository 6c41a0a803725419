//! A panic within a call, and the end of the calls of a core that is given up (F-PROC-05).
//!
//! Everything that a call borrowed (`Reservation`, `VendorReservation`, `Waiting`, `Place`) is [`Lent`](warp_model::Lent), so an unwind returns it. What it owes is paid here: a final to the caller, CANCEL or BYE to the vendor, the relay's
//! deletion, and exactly one record, with the code [`CODE`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use warp_model::Now;
use warp_model::cdr::{JournalRecord, Outcome, ReleaseSide};

use warp_sip::dialog::Side;

use super::call::{Call, Held, Phase, is_final};
use super::calls::Calls;
use super::inbound::twin_of;
use super::media::Waiting;
use super::slab::Id;
use super::table::ServerTxn;
use super::transactions::Transactions;
use super::types::Output;
use super::{Core, Resume};

/// `internal_code` of a call that we broke ourselves.
pub(super) const CODE: &str = "internal_error";
/// Q.850: temporary failure.
const CAUSE: u8 = 41;

/// Names a call of a core that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRef(Id);

impl Calls {
    /// Runs one step of a call. When it panics the call is ended, and the core goes on.
    pub(super) fn step_call<R>(
        &mut self,
        call: &mut Call,
        tx: &mut Transactions,
        step: impl FnOnce(&mut Calls, &mut Call, &mut Transactions) -> R,
    ) -> Option<R> {
        let step = || {
            tx.trip();
            let result = step(self, call, tx);
            tx.trip();
            result
        };
        match caught(step) {
            Some(result) => Some(result),
            None => {
                tx.stats.panics += 1;
                // Before anything is dropped: that may panic, too.
                let askers = askers_of(call);
                if caught(|| self.break_off(call, tx)).is_none() {
                    tx.stats.panics += 1;
                    self.last_words(call, tx);
                }
                askers.into_iter().for_each(|server| tx.give_up(server));
                tx.mend();
                None
            }
        }
    }

    /// Ends a call in the state that a panic left it in.
    fn break_off(&mut self, call: &mut Call, tx: &mut Transactions) {
        // Who waits for what the relay would have said, or for a final that has come, waits no more. Requests that nobody has looked at yet
        // find a call that is over.
        self.drop_asks(call, 500, tx);
        self.drop_held_finals(call, 500, tx);
        // What was about to be deleted may not have been: the relay forgets twice rather than never.
        let had_media = tx.config.anchor_media && call.record.is_some() && !call.branches.is_empty();
        call.media_open |= had_media;
        match call.phase {
            Phase::Over => self.write_ended(call, tx),
            // The caller has his 200: the dialog stands, and ends both ways.
            Phase::Answered if !is_owed(call, tx) => {
                // Or it was on its way when the panic came.
                tx.resend_ok(call.server);
                self.end_answered(call, CODE, tx);
            }
            Phase::Answered | Phase::Setup | Phase::Ringing => {
                // The vendor may have answered, the caller heard nothing of it: nobody pays.
                if call.phase == Phase::Answered {
                    self.ack_callee(call, tx);
                    self.send_bye(call, Side::Callee, tx);
                    call.phase = Phase::Ringing;
                    call.answered = None;
                    if let Some(r) = &mut call.record {
                        r.answer_at = None;
                    }
                }
                if let Some(client) = call.branch().filter(|b| b.open).and_then(|b| b.client) {
                    tx.abandon(client);
                }
                self.branch_over(call, 487, None, CODE, tx);
                call.media_open |= had_media;
                self.refuse_call(call, 500, "", CODE, CAUSE, None, tx);
            }
        }
    }

    /// Breaking off has panicked, too: the record as it stands, and each thing that is left to say by itself.
    fn last_words(&mut self, call: &mut Call, tx: &mut Transactions) {
        let stands = call.phase == Phase::Answered;
        let client = call.branch().and_then(|b| b.client);
        let mut tries = [true; 6];
        // An answered call has its price, or it was charged already.
        if stands && call.reservation.is_some() {
            let charged = caught(|| self.charge(call, ReleaseSide::System, CAUSE, CODE, tx.now));
            tries[4] = charged.is_some();
        }
        write_off(call, tx);
        tries[0] = caught(|| self.delete_call_media(&call.media_id, tx)).is_some();
        tx.give_up(call.server);
        if let Some(client) = client {
            tries[1] = caught(|| tx.abandon(client)).is_some();
        }
        if stands {
            tries[5] = caught(|| self.ack_callee(call, tx)).is_some();
            tries[2] = caught(|| self.send_bye(call, Side::Callee, tx)).is_some();
            tries[3] = caught(|| self.send_bye(call, Side::Caller, tx)).is_some();
        }
        tx.stats.panics += tries.iter().filter(|done| !**done).count() as u64;
    }

    /// Takes a call out of a core that is given up: its record, the final that its caller waits for, and what another core needs to send
    /// the BYEs of an answered one.
    fn close_books(&mut self, id: Id, tx: &mut Transactions) -> Option<Box<Resume>> {
        let mut call = self.all.remove(id)?;
        self.live -= usize::from(call.phase != Phase::Over);
        self.relink(id, &mut call, true);
        let stands = call.phase == Phase::Answered && !is_owed(&call, tx);
        let resume = if stands { self.resume(&call, tx).map(Box::new) } else { None };
        let askers = askers_of(&call);
        // Each by itself: the first that panics must not cost the others.
        let closed = [
            // The BYEs are another core's; what they must follow is ours.
            !stands || caught(|| self.ack_callee(&mut call, tx)).is_some(),
            caught(|| {
                self.drop_asks(&mut call, 500, tx);
                self.drop_held_finals(&mut call, 500, tx);
            })
            .is_some(),
            caught(|| match stands {
                // The record does not wait for the relay's figures: nobody would hear them.
                true => self.close_answered(&mut call, ReleaseSide::System, CAUSE, CODE, tx),
                false => self.break_off(&mut call, tx),
            })
            .is_some(),
        ];
        askers.into_iter().for_each(|server| tx.give_up(server));
        tx.stats.panics += closed.iter().filter(|done| !**done).count() as u64;
        write_off(&mut call, tx);
        resume
    }
}

impl Core {
    /// Handles one input, or one timer. A panic outside of a call costs the input; a request that nobody had taken yet gets 500.
    pub(super) fn guarded(&mut self, input: impl FnOnce(&mut Core)) {
        self.tx.begun = None;
        if caught(|| input(self)).is_some() {
            return;
        }
        self.tx.stats.panics += 1;
        self.tx.mend();
    }

    /// Makes the core panic so many steps from now, and again so many steps after that (0: not): for tests of what a panic costs.
    #[cfg(any(test, feature = "faults"))]
    pub fn panic_in(&mut self, steps: &[u32]) {
        self.tx.panic_in = steps.iter().copied().filter(|n| *n > 0).collect();
    }

    /// Takes the place of a core that is given up, and goes on with its numbers: answers to its questions may still be on their way, and
    /// are nobody's.
    pub fn go_on_after(&mut self, old: &Core) {
        self.calls.next_ask = self.calls.next_ask.max(old.calls.next_ask);
    }

    /// A call that has not been closed, of a core that is given up.
    pub fn next_call(&self) -> Option<CallRef> {
        self.calls.all.iter().next().map(|(id, _)| CallRef(id))
    }

    /// Takes a call out of a core that is given up: its record, the final that its caller waits for, and what another core needs to send
    /// the BYEs of an answered one ([`super::Command::EndRecovered`]; this core's transactions end with it). What it had borrowed goes back.
    pub fn close_books(&mut self, call: CallRef, now: Now) -> Option<Box<Resume>> {
        self.tx.now = now;
        self.calls.close_books(call.0, &mut self.tx)
    }
}

impl Transactions {
    /// Nobody will answer this request any more: 500, if it has no final yet; without a word when even that cannot be sent.
    fn give_up(&mut self, server: Id) {
        let is_open = |tx: &Transactions| tx.table.servers.get(server).is_some_and(|t| t.machine.is_open());
        if is_open(self) && caught(|| self.answer(server, 500, "", &[])).is_none() {
            self.stats.panics += 1;
        }
        if is_open(self) {
            self.remove_server(server);
        }
    }

    /// What an input that was cut off left undone: a request that it began and gave to nobody, transactions that have ended and are still
    /// there, timers that run and are looked at by nobody. The one walk over the table that there is.
    fn mend(&mut self) {
        let waits = |client: Id| self.table.clients.get(client).is_some_and(|t| t.machine.is_open());
        let nobodys = |t: &ServerTxn| t.call.is_none() && !t.client.is_some_and(waits);
        if let Some(server) = self.begun.take()
            && self.table.servers.get(server).is_some_and(nobodys)
        {
            self.give_up(server);
        }
        let servers: Vec<(Id, bool)> =
            self.table.servers.iter().map(|(id, t)| (id, t.machine.is_over())).collect();
        for (id, over) in servers {
            if over { self.remove_server(id) } else { self.arm_server(id) }
        }
        let clients: Vec<(Id, bool)> =
            self.table.clients.iter().map(|(id, t)| (id, t.machine.is_over())).collect();
        for (id, over) in clients {
            if over { self.remove_client(id) } else { self.arm_client(id) }
        }
    }
}

/// Requests within the dialog whose senders hear nothing unless this call says it: their SDP, or their final, waits for the relay, or behind
/// a question to it.
fn askers_of(call: &Call) -> Vec<Id> {
    let asking = call.ask.as_ref().and_then(|ask| match &ask.what {
        Waiting::Request { server, .. } | Waiting::Response { server, .. } => Some(*server),
        _ => None,
    });
    let held = call.held.iter().filter_map(|held| match held {
        Held::InDialog { server, bytes, .. } if is_final(bytes) => Some(*server),
        _ => None,
    });
    asking.into_iter().chain(held).collect()
}

/// Whether the caller still waits for the final response to his INVITE.
fn is_owed(call: &Call, tx: &Transactions) -> bool {
    tx.table.servers.get(call.server).is_some_and(|t| t.machine.is_open())
}

/// The last resort: the record as it stands, and everything borrowed given back. Nothing is sent.
fn write_off(call: &mut Call, tx: &mut Transactions) {
    call.ask = None;
    call.reservation = None;
    call.waits = None;
    for branch in &mut call.branches {
        branch.open = false;
        branch.reservation = None;
    }
    call.phase = Phase::Over;
    call.gone = true;
    let Some(mut record) = call.record.take() else {
        return;
    };
    record.internal_code = CODE.to_owned();
    record.release_side = ReleaseSide::System;
    record.q850 = Some(CAUSE);
    if record.answer_at.is_none() {
        record.outcome = Outcome::Failed;
        record.sip_code = 500;
    }
    record.end_at = record.setup_at.plus(tx.now.mono.since(call.began));
    tx.stats.calls_ended += 1;
    call.record = Some(record);
    let twin = twin_of(call);
    for record in call.record.take().into_iter().chain(twin) {
        tx.out.push_back(Output::Journal(JournalRecord::Ended(record)));
    }
    call.twin = None;
}

/// What `step` gives; `None` when it panicked.
fn caught<R>(step: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}
