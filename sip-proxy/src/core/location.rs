//! The location table: who has registered where. One for all shards, in parts with a lock each, so that two shards seldom meet; a lock is
//! held for one look or one change of one address of record.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use warp_model::Mono;
use warp_model::hash::{fnv1a, mix};
use warp_model::sync::lock;
use warp_sip::registrar::{Binding, Bindings};

const PARTS: usize = 64;
/// Registered contacts that a node keeps in memory. When full: 503 + Retry-After to a REGISTER of somebody who has none.
const SIP_BINDINGS: usize = 1_000_000;

/// The bindings of all registered users, which all shards share.
pub(crate) struct Locations {
    parts: Vec<Mutex<HashMap<Vec<u8>, Bindings>>>,
    held: AtomicUsize,
    /// Of this process among all that ever ran: in the ids of its bindings.
    instance: u64,
    made: AtomicU64,
}

impl Locations {
    pub(crate) fn new(instance: u64) -> Locations {
        Locations {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            held: AtomicUsize::new(0),
            instance,
            made: AtomicU64::new(0),
        }
    }

    fn part(&self, aor: &[u8]) -> Option<&Mutex<HashMap<Vec<u8>, Bindings>>> {
        self.parts.get(mix(fnv1a(aor.iter().copied())) as usize % PARTS)
    }

    /// Works on the bindings of one address of record.
    pub(crate) fn with<R: Default>(&self, aor: &[u8], step: impl FnOnce(&mut Bindings) -> R) -> R {
        let Some(part) = self.part(aor) else { return R::default() };
        let mut part = lock(part);
        let mut bindings = part.remove(aor).unwrap_or_default();
        let before = bindings.len();
        let result = step(&mut bindings);
        let after = bindings.len();
        if after > 0 {
            part.insert(aor.to_vec(), bindings);
        }
        self.held.fetch_add(after, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
        result
    }

    /// The living bindings of an address of record, the most wanted first, else in the order in which they were made.
    pub(crate) fn look(&self, aor: &[u8], now: Mono) -> Vec<Binding> {
        let Some(part) = self.part(aor) else { return Vec::new() };
        let part = lock(part);
        let mut found: Vec<Binding> =
            part.get(aor).map(|b| b.alive(now).cloned().collect()).unwrap_or_default();
        found.sort_by_key(|b| std::cmp::Reverse(b.rank()));
        found
    }

    /// Whether no further binding is taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= SIP_BINDINGS
    }

    /// How many bindings are held.
    pub(crate) fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// An id for a new binding: nobody else's, in this process or another.
    pub(crate) fn new_id(&self) -> Vec<u8> {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        format!("warp-{:x}-{n:x}", self.instance).into_bytes()
    }

    /// Forgets what has expired in one part, of `turn` by turn, and gives it.
    pub(crate) fn sweep(&self, turn: usize, now: Mono) -> Vec<Binding> {
        let Some(part) = self.parts.get(turn % PARTS) else { return Vec::new() };
        let mut gone = Vec::new();
        lock(part).retain(|_, bindings| {
            gone.append(&mut bindings.expire(now));
            !bindings.is_empty()
        });
        self.held.fetch_sub(gone.len(), Ordering::Relaxed);
        gone
    }

    /// What `pick` makes of the bindings of one part, with their addresses of record; `None`: there is no such part.
    pub(crate) fn of_part<T>(
        &self,
        part: usize,
        mut pick: impl FnMut(&[u8], &Binding) -> Option<T>,
    ) -> Option<Vec<T>> {
        let part = lock(self.parts.get(part)?);
        Some(
            part.iter()
                .flat_map(|(aor, all)| all.all().map(move |b| (aor, b)))
                .filter_map(|(a, b)| pick(a, b))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_sip::flow::Flow;

    fn binding(contact: &str, q: Option<u16>, until: u64) -> Binding {
        let at = "127.0.0.1:5060".parse().unwrap();
        Binding {
            contact: contact.into(),
            q,
            expires: Mono(until),
            call_id: b"c".to_vec(),
            cseq: 1,
            path: Vec::new(),
            flow: Flow::udp(at, at),
            pinned: false,
            instance: Vec::new(),
            reg_id: 0,
            user_agent: Vec::new(),
            methods: 0,
            ruid: contact.into(),
            made: Mono(0),
            mark: 0,
        }
    }

    #[test]
    fn what_has_expired_is_not_found_and_its_memory_goes() {
        let table = Locations::new(1);
        for n in 0..200 {
            let aor = format!("u{n}@h");
            table.with(aor.as_bytes(), |b| {
                b.edit().push(binding("sip:low", Some(100), 50));
                b.edit().push(binding("sip:high", None, 100));
            });
        }
        let contacts =
            |now| table.look(b"u7@h", Mono(now)).into_iter().map(|b| b.contact).collect::<Vec<_>>();
        assert_eq!(contacts(0), [b"sip:high".to_vec(), b"sip:low".to_vec()]);
        assert_eq!(contacts(50), [b"sip:high".to_vec()]);
        assert_eq!(table.len(), 400);
        (0..PARTS).for_each(|turn| drop(table.sweep(turn, Mono(60))));
        assert_eq!(table.len(), 200);
        (0..PARTS).for_each(|turn| drop(table.sweep(turn, Mono(100))));
        assert_eq!((table.len(), table.parts.iter().all(|p| lock(p).is_empty())), (0, true));
    }

    #[test]
    fn ids_are_not_given_twice() {
        let (a, b) = (Locations::new(1), Locations::new(2));
        let ids = [a.new_id(), a.new_id(), b.new_id()];
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
    }
}
