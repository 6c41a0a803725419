//! How calls and dialogues end: by `delete`, and by time (T-RTP-10).

use std::time::Duration;

use warp_model::Now;
use warp_ng::reply::reasons;
use warp_ng::{Delete, Query, Reply};

use super::Book;
use super::call::{Call, Dialogue};
use super::dialogues::find_for_delete;
use super::taken::Taken;
use crate::core::{EndOfCall, Output};

impl Book {
    pub(super) fn delete(&mut self, c: &Delete, now: Now) -> Reply {
        let unknown = || {
            if c.fatal {
                Reply::error(reasons::NOT_FOUND)
            } else {
                Reply::Ok { warning: Some(reasons::NOT_FOUND.into()) }
            }
        };
        let Some(serial) = self.by_id.get(&c.call_id).copied() else { return unknown() };
        let reply = |call: &Call, book: &Book| match c.fast {
            true => Reply::Ok { warning: None },
            false => Reply::Stats(Box::new(call.stats(book.ports.ips(), now, |_| true))),
        };
        if let Some(ended) = self.calls.get(serial).filter(|call| call.ended.is_some()) {
            let reply = reply(ended, self);
            self.forget_ended(serial);
            return reply;
        }
        let Some(mut lent) = Taken::of(self, serial, now) else { return unknown() };
        let Some((_, book, call)) = lent.parts() else { return unknown() };
        let meant = find_for_delete(call, c);
        if !meant.contains(&true) {
            return unknown();
        }
        let reply = reply(call, book);
        let delay = c.delete_delay.map_or(book.config.delete_delay, Duration::from_secs);
        // A repeated `delete` puts nothing off.
        for (dialogue, _) in call.dialogues.iter_mut().zip(meant).filter(|(_, meant)| *meant) {
            let at = now.mono + delay;
            dialogue.delete_at = Some(dialogue.delete_at.map_or(at, |before| before.min(at)));
        }
        if delay.is_zero() {
            book.end_dialogues(call, now, |d| d.delete_at.is_some_and(|at| at <= now.mono));
        }
        reply
    }

    pub(super) fn query(&self, c: &Query, now: Now) -> Reply {
        let call = self.by_id.get(&c.call_id).and_then(|serial| self.calls.get(*serial));
        let Some(call) = call else {
            return Reply::error(reasons::UNKNOWN_CALL_ID);
        };
        let has = |d: &Dialogue, tag: &Option<Vec<u8>>| tag.as_deref().is_none_or(|t| d.party(t).is_some());
        let meant = |d: &Dialogue| has(d, &c.from_tag) && has(d, &c.to_tag);
        Reply::Stats(Box::new(call.stats(self.ports.ips(), now, meant)))
    }

    /// The figures of an ended call are not needed any more.
    fn forget_ended(&mut self, serial: u64) {
        if let Some(call) = self.calls.remove(serial) {
            self.timers.remove(&(call.look_at, serial));
            self.by_id.remove(&call.id);
        }
    }

    /// A call whose time has come: deletes what is due, ends it when its media has been silent for too long.
    pub(super) fn look_at(&mut self, serial: u64, now: Now) {
        if self.calls.get(serial).is_some_and(|call| call.ended.is_some()) {
            return self.forget_ended(serial);
        }
        let Some(mut lent) = Taken::of(self, serial, now) else { return };
        let Some((_, book, call)) = lent.parts() else { return };
        book.end_dialogues(call, now, |d| d.delete_at.is_some_and(|at| at <= now.mono));
        let due = call.last_activity() + book.patience(call);
        if call.dialogues.is_empty() || due > now.mono {
            return;
        }
        let figures = call.stats(book.ports.ips(), now, |_| true);
        let why = if !call.is_answered() {
            EndOfCall::NeverAnswered
        } else if call.is_held() {
            EndOfCall::SilentOnHold
        } else {
            EndOfCall::Silent
        };
        let tags = call.dialogues.iter().filter(|d| d.answered).filter_map(|d| {
            let [a, b] = d.parties.each_ref().map(|p| p.tag.clone());
            a.zip(b).map(|(a, b)| [a, b])
        });
        let tags = tags.collect();
        book.end_dialogues(call, now, |_| true);
        book.end_recording(call, now);
        call.ended = Some(figures);
        book.live = book.live.saturating_sub(1);
        book.out.push_back(Output::CallEnded { why, lasted: now.mono.since(call.created.mono) });
        book.out.push_back(Output::TimedOut { call_id: call.id.clone(), client: call.client, tags, due });
    }

    fn patience(&self, call: &Call) -> Duration {
        if !call.is_answered() {
            self.config.offer_timeout
        } else if call.is_held() {
            self.config.hold_timeout
        } else {
            self.config.media_timeout
        }
    }

    pub(super) fn put_back(&mut self, serial: u64, mut call: Call, now: Now) {
        let due = match &call.ended {
            Some(_) => now.mono + super::ENDED_KEPT,
            None => {
                let silence = call.last_activity() + self.patience(&call);
                call.dialogues.iter().filter_map(|d| d.delete_at).fold(silence, warp_model::Mono::min)
            }
        };
        call.look_at = due.max(now.mono);
        self.timers.insert((call.look_at, serial));
        self.calls.insert(serial, call);
    }

    pub(super) fn forget(&mut self, call: &mut Call, now: Now) {
        self.end_recording(call, now);
        self.by_id.remove(&call.id);
        self.past.keep(&call.id, std::mem::take(&mut call.gone), now.mono);
        self.live = self.live.saturating_sub(1);
        let lasted = now.mono.since(call.created.mono);
        self.out.push_back(Output::CallEnded { why: EndOfCall::Deleted, lasted });
    }
}
