//! What one command holds: a call that is out of the book's table, and port pairs that no dialogue has yet.
//!
//! By return, error or unwinding ([`Lent`]) everything goes back: the call goes into the book again, or is gone when it has
//! no dialogue; pairs that no dialogue took are free. So a panic in the middle of a command costs that command only.

use std::time::Duration;

use warp_model::{GiveBack, Lent, Now};
use warp_ng::Reply;
use warp_ng::reply::reasons;

use super::Book;
use super::call::{Call, Dialogue};
use crate::core::Output;
use crate::core::exhausted::Exhausted;
use crate::core::ports::PortPair;

/// A call whose look at the clock panicked is looked at again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// A call that a command works on: it goes back into the book when the command ends, fails or panics.
pub(super) struct Taken<'b> {
    book: &'b mut Book,
    serial: u64,
    /// There until it goes back.
    call: Option<Call>,
    now: Now,
    /// It was made for this command: it counts once it has a dialogue.
    is_new: bool,
}

impl<'b> Taken<'b> {
    /// A call of the book; `None`: there is none of this number.
    pub(super) fn of(book: &'b mut Book, serial: u64, now: Now) -> Option<Lent<Self>> {
        let call = book.calls.remove(serial)?;
        book.timers.remove(&(call.look_at, serial));
        Some(Lent::new(Self { book, serial, call: Some(call), now, is_new: false }))
    }

    /// The living call of this id, else a new one, unless the book is full. Figures kept of an ended one are gone.
    pub(super) fn for_offer(book: &'b mut Book, id: &[u8], now: Now) -> Result<Lent<Self>, Reply> {
        if let Some(serial) = book.by_id.get(id).copied() {
            if book.calls.get(serial).is_some_and(|c| c.ended.is_none()) {
                return Self::of(book, serial, now).ok_or(Reply::error(reasons::UNKNOWN_CALL_ID));
            }
            if let Some(ended) = book.calls.remove(serial) {
                book.timers.remove(&(ended.look_at, serial));
            }
            book.by_id.remove(id);
        }
        if book.live >= book.config.max_calls {
            return Err(Exhausted::Sessions.reply());
        }
        let serial = book.next;
        book.next = book.next.wrapping_add(1);
        let call = Some(book.new_call(serial, id, now));
        Ok(Lent::new(Self { book, serial, call, now, is_new: true }))
    }

    /// Its number, the book without it, and the call itself.
    pub(super) fn parts(&mut self) -> Option<(u64, &mut Book, &mut Call)> {
        Some((self.serial, self.book, self.call.as_mut()?))
    }
}

impl GiveBack for Taken<'_> {
    fn give_back(&mut self) {
        let Some(mut call) = self.call.take() else { return };
        let (book, serial, now) = (&mut *self.book, self.serial, self.now);
        let unused: Vec<PortPair> = std::mem::take(&mut book.taken)
            .into_iter()
            .filter(|pair| !call.dialogues.iter().flat_map(Dialogue::pairs).any(|p| p == *pair))
            .collect();
        for pair in unused {
            book.close(call.shard, pair, now);
        }
        let now = match std::thread::panicking() {
            // What panics is not tried again at once.
            true => Now { mono: now.mono + AGAIN, ..now },
            false => now,
        };
        if call.ended.is_none() && call.dialogues.is_empty() {
            if !self.is_new {
                book.forget(&mut call, now);
            }
            return;
        }
        if self.is_new {
            book.live = book.live.saturating_add(1);
            book.by_id.insert(call.id.clone(), serial);
        }
        book.put_back(serial, call, now);
    }
}

impl Book {
    /// A port pair is nobody's any more: its ports are closed, then it may be given again.
    pub(super) fn close(&mut self, shard: u16, pair: PortPair, now: Now) {
        // Nobody else's, until it is done.
        self.taken.push(pair);
        for port in [pair.rtp_port(), pair.rtcp_port()] {
            self.by_port.remove(&port);
            self.out.push_back(Output::Close { shard, port });
        }
        self.ports.give_back(pair, now.mono);
        self.pairs = self.pairs.saturating_sub(1);
        self.taken.pop();
    }

    /// A pair for a call, in the book's tables from now on. It is in `taken` until a dialogue has it for good.
    pub(super) fn take_pair(&mut self, serial: u64, ip: u8, now: Now) -> Result<PortPair, Reply> {
        let pair = self.ports.take(ip, now.mono).ok_or_else(|| match self.ports.lacks_descriptors() {
            true => Exhausted::Descriptors.reply(),
            false => Exhausted::Ports.reply(),
        })?;
        self.taken.push(pair);
        self.by_port.insert(pair.rtp_port(), serial);
        self.by_port.insert(pair.rtcp_port(), serial);
        self.pairs = self.pairs.saturating_add(1);
        Ok(pair)
    }
}
