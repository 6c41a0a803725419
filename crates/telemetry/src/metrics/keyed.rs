//! Families with one label whose values are provisioned at run time (trunk ids, vendor slugs), capped.
//!
//! [`Keyed::of`] takes a lock: callers look a handle up when they apply a snapshot and keep it; counting then takes none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use warp_model::Mono;
use warp_model::sync::lock;

use super::family::{Amounts, Collect, Counter, Counters, Gauges, Histograms, NanoCounter};
use super::label::LabelSet;
use super::registry::Sample;

/// Series of a name that is no longer provisioned go after this time.
pub const RETIRE_AFTER: Duration = Duration::from_secs(900);

/// The name that takes everything beyond the cap.
pub const OTHER: &str = "_other";

/// A family that can be made once per name.
pub trait KeyedFamily: Clone + Send + Sync + 'static {
    /// What is needed to make one (bucket bounds).
    type Shape: Copy + Send + Sync + 'static;
    /// A new one at zero.
    fn make(shape: Self::Shape) -> Self;
}

impl<S: LabelSet> KeyedFamily for Counters<S> {
    type Shape = ();
    fn make((): ()) -> Self {
        Self::detached()
    }
}
impl KeyedFamily for Amounts {
    type Shape = ();
    fn make((): ()) -> Self {
        Self::default()
    }
}
impl KeyedFamily for NanoCounter {
    type Shape = ();
    fn make((): ()) -> Self {
        Self::detached()
    }
}
impl<S: LabelSet> KeyedFamily for Gauges<S> {
    type Shape = ();
    fn make((): ()) -> Self {
        Self::detached()
    }
}
impl<S: LabelSet> KeyedFamily for Histograms<S> {
    type Shape = &'static [f64];
    fn make(bounds: &'static [f64]) -> Self {
        Self::detached(bounds)
    }
}

/// One family per value of a provisioned label, for example `Keyed<Counters<Direction>>` by trunk.
pub struct Keyed<F: KeyedFamily> {
    inner: Arc<Inner<F>>,
}

struct Inner<F: KeyedFamily> {
    label: &'static str,
    cap: usize,
    shape: F::Shape,
    overflow: Counter,
    by_name: Mutex<BTreeMap<String, Slot<F>>>,
}

struct Slot<F> {
    family: F,
    absent_since: Option<Mono>,
}

impl<F: KeyedFamily> Clone for Keyed<F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<F: KeyedFamily> Keyed<F> {
    pub(super) fn new(label: &'static str, cap: usize, shape: F::Shape, overflow: Counter) -> Self {
        Self { inner: Arc::new(Inner { label, cap, shape, overflow, by_name: Mutex::new(BTreeMap::new()) }) }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Slot<F>>> {
        lock(&self.inner.by_name)
    }

    /// The family of this name, made at zero when new. Beyond the cap: the shared family `_other`, and
    /// `warp_metrics_label_overflow_total` rises.
    pub fn of(&self, name: &str) -> F {
        let mut names = self.names();
        let name = if names.contains_key(name) || names.len() < self.inner.cap {
            name
        } else {
            self.inner.overflow.inc(());
            OTHER
        };
        let slot = names
            .entry(name.to_owned())
            .or_insert_with(|| Slot { family: F::make(self.inner.shape), absent_since: None });
        slot.absent_since = None;
        slot.family.clone()
    }

    /// Tells which names are still provisioned; the others go [`RETIRE_AFTER`] later, at a call of this function.
    pub fn retire(&self, is_live: impl Fn(&str) -> bool, now: Mono) {
        self.names().retain(|name, slot| {
            if name == OTHER || is_live(name) {
                slot.absent_since = None;
                return true;
            }
            let since = *slot.absent_since.get_or_insert(now);
            now.since(since) < RETIRE_AFTER
        });
    }
}

#[allow(private_bounds)]
impl<F: KeyedFamily + Collect> Keyed<F> {
    pub(super) fn collect(&self) -> Vec<Sample> {
        let mut out = Vec::new();
        for (name, slot) in self.names().iter() {
            for mut sample in slot.family.collect() {
                sample.labels.insert(0, (self.inner.label, name.clone()));
                out.push(sample);
            }
        }
        out
    }
}
