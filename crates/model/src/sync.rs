//! One small thing that every room with a mutex needs.

use std::sync::{Mutex, MutexGuard};

/// The guard of a mutex, also when a holder panicked: what we keep behind mutexes is whole between any two statements, and a
/// panic in one call must not end the others (G-1).
#[inline]
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_one_holder_does_not_shut_out_the_others() {
        let shared = Mutex::new(1);
        let holder = std::panic::AssertUnwindSafe(|| {
            let _guard = lock(&shared);
            panic!("while it is held");
        });
        assert!(std::panic::catch_unwind(holder).is_err() && shared.is_poisoned());
        *lock(&shared) += 1;
        assert_eq!(*lock(&shared), 2);
    }
}
