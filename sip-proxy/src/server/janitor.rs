//! Frees old policy snapshots away from the shards: giving back hundreds of megabytes takes tens of milliseconds, which a
//! SIP thread does not have.
//!
//! The janitor holds each snapshot that the shards may have seen, and lets go of it when nobody else does.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// The thread's life: until the senders are gone.
pub(crate) fn run<T>(incoming: Receiver<Arc<T>>, look: Duration) {
    let mut held: Vec<Arc<T>> = Vec::new();
    loop {
        match incoming.recv_timeout(look) {
            Ok(new) => {
                if !held.iter().any(|h| Arc::ptr_eq(h, &new)) {
                    held.push(new);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        held.retain(|h| Arc::strong_count(h) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Told(mpsc::Sender<std::thread::ThreadId>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    #[test]
    fn the_last_drop_happens_on_the_janitor() {
        let (to_janitor, incoming) = mpsc::channel();
        let (told, freed) = mpsc::channel();
        let janitor = std::thread::spawn(move || run(incoming, Duration::from_millis(5)));
        let snapshot = Arc::new(Told(told));
        to_janitor.send(Arc::clone(&snapshot)).unwrap();
        to_janitor.send(Arc::clone(&snapshot)).unwrap();
        // Until the janitor has put both in one place.
        while Arc::strong_count(&snapshot) != 2 {
            std::thread::yield_now();
        }
        drop(snapshot);
        assert_eq!(freed.recv_timeout(Duration::from_secs(10)).unwrap(), janitor.thread().id());
        drop(to_janitor);
        janitor.join().unwrap();
    }
}
