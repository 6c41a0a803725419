//! Snapshots from whoever compiles them to whoever decides by them: swapped atomically, versioned, never waited for.
//!
//! Invariants: a reader never blocks and never sees half a value; versions rise by one with each publication; a listener
//! is called after the new value can be read, on the publisher's thread, and must return at once (it wakes a shard).
//! Absent on purpose: the HTTP form between processes (it will carry the same values) and any knowledge of what a
//! snapshot holds.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use warp_model::Lent;
use warp_model::sync::lock;

/// Makes both ends; `initial` is version 0.
pub fn channel<T: Send + Sync + 'static>(initial: T) -> (Publisher<T>, Subscriber<T>) {
    let shared = Arc::new(Shared {
        latest: ArcSwap::from_pointee(Versioned { version: 0, value: Arc::new(initial) }),
        publishing: Mutex::new(()),
        listeners: Mutex::new(Vec::new()),
        next_listener: AtomicU64::new(0),
    });
    (Publisher { shared: shared.clone() }, Subscriber { shared })
}

/// A value with its version.
#[derive(Debug)]
struct Versioned<T> {
    version: u64,
    value: Arc<T>,
}

struct Shared<T> {
    latest: ArcSwap<Versioned<T>>,
    /// Publications are one after the other, so that versions and listeners keep their order.
    publishing: Mutex<()>,
    listeners: Mutex<Vec<(u64, Listener)>>,
    /// Source of listener ids.
    next_listener: AtomicU64,
}

type Listener = Arc<dyn Fn() + Send + Sync>;

/// The writing end. Clones publish to the same readers.
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
}

/// The reading end; cheap to clone.
pub struct Subscriber<T> {
    shared: Arc<Shared<T>>,
}

/// Keeps a listener registered; dropping it ends that.
#[must_use = "the listener ends when this is dropped"]
pub struct Listening(Lent<Box<dyn FnMut() + Send + Sync>>);

impl<T: Send + Sync + 'static> Publisher<T> {
    /// Readers see `value` from now on; gives its version. Listeners are called before this returns.
    pub fn publish(&self, value: T) -> u64 {
        self.publish_arc(Arc::new(value))
    }

    /// Publishes a value that is shared already; otherwise as [`Publisher::publish`]. Gives the new version.
    pub fn publish_arc(&self, value: Arc<T>) -> u64 {
        let _one_at_a_time = lock(&self.shared.publishing);
        let version = self.shared.latest.load().version + 1;
        self.shared.latest.store(Arc::new(Versioned { version, value }));
        // Called without the lock: a listener may drop its own registration.
        let listeners: Vec<Listener> =
            lock(&self.shared.listeners).iter().map(|(_, listener)| listener.clone()).collect();
        for listener in listeners {
            listener();
        }
        version
    }

    /// Gives another reading end of this feed, at its latest version.
    pub fn subscriber(&self) -> Subscriber<T> {
        Subscriber { shared: self.shared.clone() }
    }
}

impl<T: Send + Sync + 'static> Subscriber<T> {
    /// The newest value. Wait-free.
    pub fn latest(&self) -> Arc<T> {
        self.shared.latest.load().value.clone()
    }

    /// The newest value with its version, read together.
    pub fn latest_versioned(&self) -> (u64, Arc<T>) {
        let now = self.shared.latest.load();
        (now.version, now.value.clone())
    }

    /// Version of the newest value: a cheap test for news.
    pub fn version(&self) -> u64 {
        self.shared.latest.load().version
    }

    /// Calls `listener` after each publication until the guard is dropped. A publication during the registration may
    /// or may not be announced: read [`Subscriber::latest`] once afterwards.
    pub fn listen(&self, listener: impl Fn() + Send + Sync + 'static) -> Listening {
        let id = self.shared.next_listener.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.listeners).push((id, Arc::new(listener)));
        let shared = Arc::downgrade(&self.shared);
        Listening(Lent::new(Box::new(move || {
            if let Some(shared) = shared.upgrade() {
                lock(&shared.listeners).retain(|(other, _)| *other != id);
            }
        })))
    }

    /// As [`Subscriber::listen`], for as long as the channel exists.
    pub fn on_change(&self, listener: Box<dyn Fn() + Send + Sync>) {
        self.listen(listener).0.keep();
    }
}

impl<T> Clone for Publisher<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> Clone for Subscriber<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn readers_see_the_newest_and_listeners_are_told_after_it_can_be_read() {
        let (publisher, subscriber) = channel(10u64);
        assert_eq!(subscriber.latest_versioned(), (0, Arc::new(10)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (reader, log) = (subscriber.clone(), seen.clone());
        subscriber.on_change(Box::new(move || lock(&log).push(*reader.latest())));
        assert_eq!(publisher.publish(11), 1);
        assert_eq!(publisher.publish(12), 2);
        assert_eq!(*lock(&seen), [11, 12]);
        assert_eq!(subscriber.version(), 2);
    }

    #[test]
    fn a_dropped_listener_is_not_called() {
        let (publisher, subscriber) = channel(());
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let listening = subscriber.listen(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        publisher.publish(());
        drop(listening);
        publisher.publish(());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_pinned_value_outlives_its_successors() {
        let (publisher, subscriber) = channel(vec![1]);
        let pinned = subscriber.latest();
        publisher.publish(vec![2]);
        assert_eq!(*pinned, [1]);
        assert_eq!(*subscriber.latest(), [2]);
    }

    #[test]
    fn many_publishers_and_readers_never_see_a_version_go_back() {
        let (publisher, subscriber) = channel(0u64);
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let p = publisher.clone();
                std::thread::spawn(move || {
                    for i in 0..500 {
                        p.publish(i);
                    }
                })
            })
            .collect();
        let mut last = 0;
        while last < 2_000 {
            let version = subscriber.version();
            assert!(version >= last);
            last = version;
        }
        for w in writers {
            w.join().unwrap();
        }
        assert_eq!(subscriber.version(), 2_000);
    }
}
