//! The one guard type: what is lent goes back, by return, by error and by unwinding (G-1, F-PROC-05).
//!
//! A channel, a place in a table, a call that is out of its book: whoever takes one holds it as a [`Lent`], and dropping that
//! gives it back, so that no way out of a function can keep it. Each thing says once, by [`GiveBack`], what going back means.
//! The cores have no other `Drop` (`tests/tidy.rs`): what a panic in them returns can be read off the implementations.

use std::ops::{Deref, DerefMut};

/// A thing that somebody gets back.
pub trait GiveBack {
    /// Returns it. A [`Lent`] calls this once, when it is dropped; it runs while a panic unwinds, so it must not panic itself.
    fn give_back(&mut self);
}

/// A step that is undone, unless its guard is kept.
impl<F: FnMut()> GiveBack for F {
    fn give_back(&mut self) {
        self();
    }
}

/// Holds a thing until it goes back. It costs a flag, no allocation.
#[derive(Debug)]
#[must_use = "what is lent goes back as soon as this is dropped"]
pub struct Lent<T: GiveBack> {
    thing: T,
    is_owed: bool,
}

impl<T: GiveBack> Lent<T> {
    /// Lends a thing to whoever holds this.
    pub fn new(thing: T) -> Self {
        Lent { thing, is_owed: true }
    }

    /// Keeps what was lent for good: it is dropped, but it does not go back.
    pub fn keep(mut self) {
        self.is_owed = false;
    }
}

impl<T: GiveBack> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T: GiveBack> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.thing
    }
}

impl<T: GiveBack> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.is_owed {
            self.thing.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    /// One of the places that a counter counts.
    struct Place(Rc<Cell<u32>>);

    impl GiveBack for Place {
        fn give_back(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    fn place(of: &Rc<Cell<u32>>) -> Lent<Place> {
        of.set(of.get() + 1);
        Lent::new(Place(Rc::clone(of)))
    }

    #[test]
    fn g_1_what_is_lent_goes_back_by_return_by_error_and_by_unwinding_once() {
        let taken = Rc::new(Cell::new(0));
        let one = place(&taken);
        assert_eq!((taken.get(), one.0.get()), (1, 1), "it can be looked at");
        drop(one);
        assert_eq!(taken.get(), 0);
        let refused = |_held: Lent<Place>| -> Result<(), ()> { Err(()) };
        assert!(refused(place(&taken)).is_err() && taken.get() == 0);
        let kept = place(&taken);
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _held = (place(&taken), place(&taken));
            assert_eq!(taken.get(), 0, "meant: there are three");
        }));
        assert!(unwound.is_err());
        assert_eq!(taken.get(), 1, "what the unwound step held, and nothing else");
        drop(kept);
        assert_eq!((taken.get(), Rc::strong_count(&taken)), (0, 1));
    }

    #[test]
    fn what_is_kept_does_not_go_back_and_is_dropped_all_the_same() {
        let taken = Rc::new(Cell::new(0));
        place(&taken).keep();
        assert_eq!((taken.get(), Rc::strong_count(&taken)), (1, 1));
        // A step of several that failed undoes those before it; done as a whole they stay.
        for (fails, left) in [(true, 0), (false, 2)] {
            let done = Cell::new(0);
            let step = || {
                done.set(done.get() + 1);
                Lent::new(|| done.set(done.get() - 1))
            };
            let (first, second) = (step(), step());
            if fails {
                drop((first, second));
            } else {
                first.keep();
                second.keep();
            }
            assert_eq!(done.get(), left);
        }
    }
}
