//! Families: counters, gauges and histograms over a closed set of labels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use warp_model::Currency;
use warp_model::sync::lock;

use super::cells::Cells;
use super::label::LabelSet;
use super::registry::{Kind, Sample, Value};

/// A family of more combinations than this shows those that were counted; a smaller one shows all from the start, at zero.
///
/// Most combinations of a large family cannot occur (a REGISTER answered with 183, media under a key exchange that nobody
/// offers): their series would be zero for ever. In a small one zero means "not yet", and `rate()` wants to see it.
const DENSE: usize = 16;

/// The same for histograms, each of which is a dozen series.
const DENSE_HISTOGRAMS: usize = 2;

/// Counters, one per combination of `S`. Clones share their cells.
pub struct Counters<S: LabelSet> {
    cells: Arc<Cells>,
    labels: std::marker::PhantomData<S>,
}

/// A single counter, without labels.
pub type Counter = Counters<()>;

impl<S: LabelSet> Counters<S> {
    /// Not registered anywhere: for tests and as the value of [`super::Keyed`] families.
    pub fn detached() -> Self {
        Self { cells: Arc::new(Cells::new(S::count())), labels: std::marker::PhantomData }
    }

    /// Adds one to the series of these labels.
    pub fn inc(&self, labels: S) {
        self.cells.add(labels.index(), 1);
    }

    /// Adds `n` to the series of these labels.
    pub fn add(&self, labels: S, n: u64) {
        self.cells.add(labels.index(), n);
    }

    /// Sum over all threads.
    pub fn value(&self, labels: S) -> u64 {
        self.cells.sum(labels.index())
    }

    /// Sum over all combinations.
    pub fn total(&self) -> u64 {
        (0..self.cells.len()).map(|i| self.cells.sum(i)).sum()
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        (0..S::count())
            .map(|i| (i, self.cells.sum(i)))
            .filter(|(_, sum)| *sum != 0 || S::count() <= DENSE)
            .map(|(i, sum)| Sample { labels: pairs::<S>(i), value: Value::Number(sum as f64) })
            .collect()
    }
}

/// Gauges of whole numbers, one per combination of `S`. A series is either set by one writer, or added to and
/// subtracted from by many: not both. In a large family a series stands from the first scrape that finds it other than zero;
/// from then on it stays, so that a graph falls to zero and does not end.
pub struct Gauges<S: LabelSet> {
    cells: Arc<Cells>,
    /// Which series a scrape has shown; only scrapes take this lock.
    shown: Arc<Mutex<Vec<bool>>>,
    labels: std::marker::PhantomData<S>,
}

/// A single gauge, without labels.
pub type Gauge = Gauges<()>;

impl<S: LabelSet> Gauges<S> {
    /// A family that no registry shows, for tests and defaults.
    pub fn detached() -> Self {
        Self {
            cells: Arc::new(Cells::new(S::count())),
            shown: Arc::new(Mutex::new(vec![S::count() <= DENSE; S::count()])),
            labels: std::marker::PhantomData,
        }
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, labels: S, n: i64) {
        self.cells.add(labels.index(), n as u64);
    }

    /// Adds one to the series of these labels.
    pub fn inc(&self, labels: S) {
        self.add(labels, 1);
    }

    /// Takes one from the series of these labels.
    pub fn dec(&self, labels: S) {
        self.add(labels, -1);
    }

    /// Sets the series of these labels to `value`.
    pub fn set(&self, labels: S, value: i64) {
        self.cells.set(labels.index(), value as u64);
    }

    /// The value of the series of these labels now.
    pub fn value(&self, labels: S) -> i64 {
        self.cells.sum(labels.index()) as i64
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let mut shown = lock(&self.shown);
        shown
            .iter_mut()
            .enumerate()
            .map(|(i, shown)| (i, self.cells.sum(i) as i64, shown))
            .filter_map(|(i, sum, shown)| {
                *shown |= sum != 0;
                shown.then_some((i, sum))
            })
            .map(|(i, sum)| Sample { labels: pairs::<S>(i), value: Value::Number(sum as f64) })
            .collect()
    }
}

/// A single counter of amounts that have fractions: kept in units of 10⁻⁹, shown in whole ones.
#[derive(Clone)]
pub struct NanoCounter {
    cells: Arc<Cells>,
}

impl NanoCounter {
    /// A counter that no registry shows, for tests and defaults.
    pub fn detached() -> Self {
        Self { cells: Arc::new(Cells::new(1)) }
    }

    /// Adds `nanos` nano-units of a currency.
    pub fn add(&self, nanos: u64) {
        self.cells.add(0, nanos);
    }

    /// Now, in units of 10⁻⁹.
    pub fn value(&self) -> u64 {
        self.cells.sum(0)
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        vec![Sample { labels: Vec::new(), value: Value::Number(self.value() as f64 / 1e9) }]
    }
}

/// Amounts of money, one series per currency of ISO 4217 that was counted: kept in units of 10⁻⁹, shown in whole ones. What is no currency
/// of that list is one series, `_other`.
#[derive(Clone, Default)]
pub struct Amounts {
    by: Arc<Mutex<BTreeMap<Currency, NanoCounter>>>,
    other: Arc<OnceLock<NanoCounter>>,
}

impl Amounts {
    /// Adds `nanos` nano-units of this currency.
    pub fn add(&self, currency: Currency, nanos: u64) {
        if currency.is_iso_4217() {
            lock(&self.by).entry(currency).or_insert_with(NanoCounter::detached).add(nanos);
        } else {
            self.other.get_or_init(NanoCounter::detached).add(nanos);
        }
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let by = lock(&self.by);
        let named = by.iter().map(|(currency, amount)| (currency.to_string(), amount.value()));
        let other = self.other.get().map(|amount| (super::keyed::OTHER.to_owned(), amount.value()));
        let shown = |(currency, nanos)| Sample {
            labels: vec![("currency", currency)],
            value: Value::Number(nanos as f64 / 1e9),
        };
        named.chain(other).map(shown).collect()
    }
}

/// A single gauge of a fraction or a time, set by one writer.
#[derive(Clone, Default)]
pub struct FloatGauge {
    bits: Arc<AtomicU64>,
}

impl FloatGauge {
    /// Sets the gauge to `value`.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The value that was set last.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        vec![Sample { labels: Vec::new(), value: Value::Number(self.value()) }]
    }
}

/// Histograms with classic buckets, one per combination of `S`. Observations are kept in units of 10⁻⁹.
pub struct Histograms<S: LabelSet> {
    inner: Arc<HistogramCells>,
    labels: std::marker::PhantomData<S>,
}

/// A single histogram, without labels.
pub type Histogram = Histograms<()>;

struct HistogramCells {
    bounds: &'static [f64],
    bounds_nano: Box<[u64]>,
    /// Per combination: one cell per bucket, one beyond the last bound, one for the sum.
    cells: Cells,
}

impl<S: LabelSet> std::fmt::Debug for Histograms<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Histograms")
    }
}

impl<S: LabelSet> Histograms<S> {
    /// Not registered anywhere. `bounds` ascend; the bucket +Inf is implied.
    pub fn detached(bounds: &'static [f64]) -> Self {
        let width = bounds.len() + 2;
        Self {
            inner: Arc::new(HistogramCells {
                bounds,
                bounds_nano: bounds.iter().map(|b| nano(*b)).collect(),
                cells: Cells::new(S::count() * width),
            }),
            labels: std::marker::PhantomData,
        }
    }

    /// One observation of a time, in seconds on the wire.
    pub fn observe(&self, labels: S, d: Duration) {
        self.observe_nano(labels, u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    }

    /// One observation of a plain value (a ratio, a MOS); negative and not-a-number count as 0.
    pub fn observe_value(&self, labels: S, value: f64) {
        self.observe_nano(labels, nano(value));
    }

    fn observe_nano(&self, labels: S, value: u64) {
        let inner = &*self.inner;
        let width = inner.bounds.len() + 2;
        let base = labels.index() * width;
        let bucket = inner.bounds_nano.iter().position(|b| value <= *b);
        inner.cells.add(base + bucket.unwrap_or(inner.bounds.len()), 1);
        inner.cells.add(base + width - 1, value);
    }

    /// How many values were observed under these labels.
    pub fn count(&self, labels: S) -> u64 {
        let width = self.inner.bounds.len() + 2;
        let base = labels.index() * width;
        (base..base + width - 1).map(|i| self.inner.cells.sum(i)).sum()
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        let inner = &*self.inner;
        let width = inner.bounds.len() + 2;
        (0..S::count())
            .filter_map(|i| {
                let mut seen = 0u64;
                let buckets = inner
                    .bounds
                    .iter()
                    .enumerate()
                    .map(|(b, bound)| {
                        seen += inner.cells.sum(i * width + b);
                        (*bound, seen)
                    })
                    .collect();
                let count = seen + inner.cells.sum(i * width + inner.bounds.len());
                let sum = inner.cells.sum(i * width + width - 1) as f64 / 1e9;
                (count != 0 || S::count() <= DENSE_HISTOGRAMS)
                    .then(|| Sample { labels: pairs::<S>(i), value: Value::Buckets { buckets, count, sum } })
            })
            .collect()
    }
}

fn nano(value: f64) -> u64 {
    // A float cast saturates: negative and NaN become 0.
    (value * 1e9).round() as u64
}

fn pairs<S: LabelSet>(index: usize) -> Vec<(&'static str, String)> {
    S::names().into_iter().zip(S::values(index).into_iter().map(str::to_owned)).collect()
}

macro_rules! clones {
    ($($name:ident . $($field:ident),+;)*) => {$(
        impl<S: LabelSet> Clone for $name<S> {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone(),)+ labels: std::marker::PhantomData }
            }
        }
    )*};
}
clones! { Counters.cells; Gauges.cells, shown; Histograms.inner; }

/// What the registry needs from any family.
pub(super) trait Collect: Send + Sync + 'static {
    const KIND: Kind;
    fn collect(&self) -> Vec<Sample>;
    fn label_names() -> Vec<&'static str>;
}

macro_rules! collects {
    ($($name:ident $kind:ident;)*) => {$(
        impl<S: LabelSet> Collect for $name<S> {
            const KIND: Kind = Kind::$kind;
            fn collect(&self) -> Vec<Sample> {
                self.samples()
            }
            fn label_names() -> Vec<&'static str> {
                S::names()
            }
        }
    )*};
}
collects! { Counters Counter; Gauges Gauge; Histograms Histogram; }

impl Collect for NanoCounter {
    const KIND: Kind = Kind::Counter;
    fn collect(&self) -> Vec<Sample> {
        self.samples()
    }
    fn label_names() -> Vec<&'static str> {
        Vec::new()
    }
}

impl Collect for Amounts {
    const KIND: Kind = Kind::Counter;
    fn collect(&self) -> Vec<Sample> {
        self.samples()
    }
    fn label_names() -> Vec<&'static str> {
        vec!["currency"]
    }
}

impl Collect for FloatGauge {
    const KIND: Kind = Kind::Gauge;
    fn collect(&self) -> Vec<Sample> {
        self.samples()
    }
    fn label_names() -> Vec<&'static str> {
        Vec::new()
    }
}
