//! Messages of handsets in parts, for HTTP clients: told as one when all parts are there, as Jasmin does. Each part stays a message of its
//! own on disk, so that a restart loses none; who binds by SMPP gets the parts as they came.
//!
//! Unlike Jasmin's, parts may come in any order, and two handsets with one reference are two texts (`ref/smpp-and-jasmin.md` §1).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use warp_model::{Mono, Now};
use warp_smpp::text::Udh;
use warp_smpp::text::udh::Concatenation;

use super::Core;
use super::customer::message_of;
use super::message::{Message, To};
use super::routing::part_of;
use super::slab::Key;
use warp_smpp::record::Direction;

/// Which text a part belongs to: its vendor, its addresses, its reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TextOf {
    vendor: usize,
    source: Box<[u8]>,
    destination: Box<[u8]>,
    place: Concatenation,
    /// Parts in two alphabets are two texts.
    coding: u8,
}

#[derive(Debug)]
struct Open {
    parts: Vec<Option<Key>>,
    missing: usize,
    until: Mono,
}

/// Texts of which parts are missing, and the parts of those that are being told. Bounded in number and time (T-SMS-09).
#[derive(Debug, Default)]
pub(super) struct Joined {
    open: HashMap<TextOf, Open>,
    order: VecDeque<(Mono, TextOf)>,
    /// All parts in order, by the first of them, which stands for the whole.
    whole: HashMap<Key, Vec<Key>>,
}

/// Texts that parts are waited for, and how long; parts of further ones are told one by one.
const TEXTS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(300);

impl Joined {
    pub(super) fn next(&self) -> Option<Mono> {
        self.order.front().map(|(until, _)| *until)
    }
}

impl Core {
    /// Something is to be told by HTTP: a part waits for the others of its text.
    pub(super) fn tell_whole(&mut self, key: Key, now: Now) {
        let Some(text) = self.store.get(key).and_then(text_of) else { return self.tell(key) };
        let at = usize::from(text.1).saturating_sub(1);
        let text = text.0;
        if !self.joined.open.contains_key(&text) {
            if self.joined.open.len() >= TEXTS {
                return self.tell(key);
            }
            let (total, until) = (usize::from(text.place.total), now.mono + PATIENCE);
            self.joined.open.insert(text.clone(), Open { parts: vec![None; total], missing: total, until });
            self.joined.order.push_back((until, text.clone()));
        }
        let Some(open) = self.joined.open.get_mut(&text) else { return self.tell(key) };
        match open.parts.get_mut(at) {
            Some(part @ None) => *part = Some(key),
            // It is there already: the vendor has sent it twice.
            _ => return self.done(key),
        }
        open.missing = open.missing.saturating_sub(1);
        if open.missing > 0 {
            return;
        }
        let parts: Vec<Key> = self
            .joined
            .open
            .remove(&text)
            .map(|open| open.parts.into_iter().flatten().collect())
            .unwrap_or_default();
        match parts.first().copied() {
            Some(first) if parts.iter().all(|part| self.store.get(*part).is_some()) => {
                self.joined.whole.insert(first, parts);
                self.tell(first);
            }
            // One of them was too old.
            _ => parts.into_iter().for_each(|part| self.tell(part)),
        }
    }

    /// Texts whose parts were waited for long enough: what came of them is told part by part.
    pub(super) fn tell_incomplete(&mut self, now: Now) {
        while self.joined.next().is_some_and(|until| until <= now.mono) {
            let Some((until, text)) = self.joined.order.pop_front() else { return };
            // One that was whole, and began again under the same reference, has a later time.
            if self.joined.open.get(&text).is_some_and(|open| open.until == until)
                && let Some(open) = self.joined.open.remove(&text)
            {
                open.parts.into_iter().flatten().for_each(|part| self.tell(part));
            }
        }
    }

    /// The text of a message, or of all parts of it, without headers.
    pub(super) fn whole_text(&self, key: Key, message: &Message) -> Vec<u8> {
        let parts = self.joined.whole.get(&key);
        let messages = parts.into_iter().flatten().filter_map(|part| self.store.get(*part));
        let mut out = Vec::new();
        if parts.is_none() {
            append(message, &mut out);
        }
        messages.for_each(|part| append(part, &mut out));
        out
    }

    /// A text was told, or is too old: the parts behind the first one are done with it.
    pub(super) fn parts_done(&mut self, first: Key) {
        if self.joined.whole.is_empty() {
            return;
        }
        for part in self.joined.whole.remove(&first).into_iter().flatten().filter(|part| *part != first) {
            self.done(part);
        }
    }
}

/// The text of which a message for an HTTP client is a part, and which.
fn text_of(message: &Message) -> Option<(TextOf, u8)> {
    let for_client = message.callback.as_ref().is_some_and(|c| matches!(c.to, To::Client(_)));
    let pdu =
        message_of(&message.body).filter(|_| for_client && message.direction == Direction::Originated)?;
    let place = part_of(&pdu).filter(|place| place.total > 1)?;
    let text = TextOf {
        vendor: message.vendor(),
        source: pdu.source.text.into(),
        destination: pdu.destination.text.into(),
        place: Concatenation { number: 0, ..place },
        coding: pdu.data_coding,
    };
    Some((text, place.number))
}

fn append(message: &Message, out: &mut Vec<u8>) {
    let Some(pdu) = message_of(&message.body) else { return };
    let payload = pdu.payload().unwrap_or_default();
    let text = if pdu.has_udh() { Udh::split(payload).map_or(payload, |(_, text)| text) } else { payload };
    out.extend_from_slice(text);
}
