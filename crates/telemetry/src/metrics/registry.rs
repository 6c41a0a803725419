//! The registry: every metric of a process, its catalogue, and the text that Prometheus scrapes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use warp_model::sync::lock;

use super::family::{Collect, Counter, Counters, FloatGauge, Gauge, Gauges, Histogram, Histograms};
use super::keyed::{Keyed, KeyedFamily};
use super::label::LabelSet;
use super::open;

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only rises.
    Counter,
    /// A value that rises and falls.
    Gauge,
    /// Counts by buckets with fixed bounds.
    Histogram,
}

/// One line of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, in the form `warp_<area>_<thing>_<unit>`.
    pub name: &'static str,
    /// What the metric counts, in a sentence.
    pub help: &'static str,
    /// The type as Prometheus knows it.
    pub kind: Kind,
    /// Names of its labels, in order.
    pub labels: Vec<&'static str>,
}

/// One series at the time of a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

impl Sample {
    /// A number with its labels, for [`Registry::observe`].
    pub fn number(labels: Vec<(&'static str, String)>, value: f64) -> Self {
        Self { labels, value: Value::Number(value) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Buckets { buckets: Vec<(f64, u64)>, count: u64, sum: f64 },
}

impl Value {
    fn add(&mut self, other: Value) {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => *a += b,
            (
                Value::Buckets { buckets, count, sum },
                Value::Buckets { buckets: more, count: more_count, sum: more_sum },
            ) => {
                for ((_, a), (_, b)) in buckets.iter_mut().zip(more) {
                    *a += b;
                }
                *count += more_count;
                *sum += more_sum;
            }
            _ => {}
        }
    }
}

/// All metrics of a process. Clones share it. Products register theirs once, at their start.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    prometheus: prometheus::Registry,
    entries: Mutex<BTreeMap<&'static str, (Entry, Sources)>>,
    overflow: Mutex<Option<Keyed<Counter>>>,
    series: Gauge,
    scrape_seconds: FloatGauge,
}

type Source = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;
/// Who fills a metric: mostly one, several when two parts of a process count the same thing.
type Sources = Arc<Mutex<Vec<Source>>>;

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// Empty but for the metrics about metrics.
    pub fn new() -> Self {
        let registry = Self {
            inner: Arc::new(Inner {
                prometheus: prometheus::Registry::new(),
                entries: Mutex::new(BTreeMap::new()),
                overflow: Mutex::new(None),
                series: Gauge::detached(),
                scrape_seconds: FloatGauge::default(),
            }),
        };
        registry.register(
            "warp_metrics_series",
            "Series that the last answer to a scrape had.",
            registry.inner.series.clone(),
        );
        registry.register(
            "warp_metrics_scrape_seconds",
            "Time that the last scrape took, in seconds.",
            registry.inner.scrape_seconds.clone(),
        );
        let overflow = Keyed::new("label", 64, (), Counter::detached());
        let collected = overflow.clone();
        registry.collect(
            Entry {
                name: "warp_metrics_label_overflow_total",
                help: "Names (of trunks, vendors …) counted under _other because there were too many.",
                kind: Kind::Counter,
                labels: vec!["label"],
            },
            Box::new(move || collected.collect()),
        );
        *lock(&registry.inner.overflow) = Some(overflow);
        registry
    }

    /// Counters, one per combination of `S`, all at 0.
    pub fn counters<S: LabelSet>(&self, name: &'static str, help: &'static str) -> Counters<S> {
        self.register(name, help, Counters::detached())
    }

    /// A counter without labels.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.counters(name, help)
    }

    /// Gauges of whole numbers, one per combination of `S`, all at 0.
    pub fn gauges<S: LabelSet>(&self, name: &'static str, help: &'static str) -> Gauges<S> {
        self.register(name, help, Gauges::detached())
    }

    /// One gauge of a whole number.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.gauges(name, help)
    }

    /// One gauge of a fraction or a time.
    pub fn float_gauge(&self, name: &'static str, help: &'static str) -> FloatGauge {
        self.register(name, help, FloatGauge::default())
    }

    /// Histograms, one per combination of `S`.
    pub fn histograms<S: LabelSet>(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
    ) -> Histograms<S> {
        self.register(name, help, Histograms::detached(bounds))
    }

    /// A histogram without labels; `bounds` are the upper ends of its buckets, rising.
    pub fn histogram(&self, name: &'static str, help: &'static str, bounds: &'static [f64]) -> Histogram {
        self.histograms(name, help, bounds)
    }

    /// Families by a provisioned label (`trunk`, `vendor`, `customer`) with at most `cap` names.
    /// `shape` is `()` for counters and gauges, the bounds for histograms.
    #[allow(private_bounds)]
    pub fn keyed<F: KeyedFamily + Collect>(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        cap: usize,
        shape: F::Shape,
    ) -> Keyed<F> {
        let overflow =
            lock(&self.inner.overflow).as_ref().map_or_else(Counter::detached, |keyed| keyed.of(label));
        let keyed = Keyed::<F>::new(label, cap, shape, overflow);
        let collected = keyed.clone();
        let mut labels = vec![label];
        labels.extend(F::label_names());
        self.collect(Entry { name, help, kind: F::KIND, labels }, Box::new(move || collected.collect()));
        keyed
    }

    /// A metric whose values are read at scrape time from somewhere else (a usage table, `/proc`).
    /// Each sample carries exactly the labels named here, in this order; `f` must not block.
    pub fn observe(
        &self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        f: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        self.collect(Entry { name, help, kind, labels: labels.to_vec() }, Box::new(f));
    }

    /// Every registered metric, by name.
    pub fn catalogue(&self) -> Vec<Entry> {
        lock(&self.inner.entries).values().map(|(entry, _)| entry.clone()).collect()
    }

    /// Everything in Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        self.rendered(|families| {
            prometheus::TextEncoder::new().encode_to_string(families).unwrap_or_else(|error| {
                tracing::error!(%error, "metrics cannot be rendered");
                String::new()
            })
        })
    }

    /// Everything in OpenMetrics 1.0.
    pub fn render_openmetrics(&self) -> String {
        self.rendered(open::encode)
    }

    fn rendered(&self, encode: impl FnOnce(&[proto::MetricFamily]) -> String) -> String {
        let started = Instant::now();
        let families = self.inner.prometheus.gather();
        let series = families.iter().map(|f| f.get_metric().len()).sum::<usize>();
        let text = encode(&families);
        self.inner.series.set((), i64::try_from(series).unwrap_or(i64::MAX));
        self.inner.scrape_seconds.set(started.elapsed().as_secs_f64());
        text
    }

    fn register<F: Collect + Clone>(&self, name: &'static str, help: &'static str, family: F) -> F {
        let collected = family.clone();
        self.collect(
            Entry { name, help, kind: F::KIND, labels: F::label_names() },
            Box::new(move || collected.collect()),
        );
        family
    }

    /// A second part that registers the same name, type and labels counts into the same metric: values add up.
    fn collect(&self, entry: Entry, source: Source) {
        let mut entries = lock(&self.inner.entries);
        if let Some((first, sources)) = entries.get(entry.name) {
            if first.kind == entry.kind && first.labels == entry.labels {
                lock(sources).push(source);
            } else {
                tracing::error!(metric = entry.name, "registered twice with different type or labels");
            }
            return;
        }
        let labels = entry.labels.iter().map(|l| (*l).to_owned()).collect();
        let desc = Desc::new(entry.name.into(), entry.help.into(), labels, HashMap::new());
        let sources: Sources = Arc::new(Mutex::new(vec![source]));
        let registered = desc.and_then(|desc| {
            let family = Family { desc, entry: entry.clone(), sources: sources.clone() };
            self.inner.prometheus.register(Box::new(family))
        });
        match registered {
            Ok(()) => drop(entries.insert(entry.name, (entry, sources))),
            // The caller's family still works, it is only not shown: a wrong name must not stop a carrier.
            Err(error) => tracing::error!(metric = entry.name, %error, "metric not registered"),
        }
    }
}

struct Family {
    desc: Desc,
    entry: Entry,
    sources: Sources,
}

impl Family {
    fn samples(&self) -> Vec<Sample> {
        let sources = lock(&self.sources);
        let mut all: Vec<Sample> = Vec::new();
        for source in sources.iter() {
            let fresh = source();
            if all.is_empty() {
                all = fresh;
                continue;
            }
            for sample in fresh {
                match all.iter_mut().find(|s| s.labels == sample.labels) {
                    Some(same) => same.value.add(sample.value),
                    None => all.push(sample),
                }
            }
        }
        all
    }
}

impl Collector for Family {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut family = proto::MetricFamily::default();
        family.set_name(self.entry.name.to_owned());
        family.set_help(self.entry.help.to_owned());
        family.set_field_type(match self.entry.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
        });
        family.set_metric(self.samples().into_iter().map(|sample| metric(self.entry.kind, sample)).collect());
        vec![family]
    }
}

fn metric(kind: Kind, sample: Sample) -> proto::Metric {
    let labels = sample
        .labels
        .into_iter()
        .map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value);
            pair
        })
        .collect();
    let mut metric = proto::Metric::default();
    metric.set_label(labels);
    match (kind, sample.value) {
        (Kind::Counter, Value::Number(n)) => {
            let mut counter = proto::Counter::default();
            counter.set_value(n);
            metric.set_counter(counter);
        }
        (_, Value::Number(n)) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(n);
            metric.set_gauge(gauge);
        }
        (_, Value::Buckets { buckets, count, sum }) => {
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(
                buckets
                    .into_iter()
                    .map(|(bound, seen)| {
                        let mut bucket = proto::Bucket::default();
                        bucket.set_upper_bound(bound);
                        bucket.set_cumulative_count(seen);
                        bucket
                    })
                    .collect(),
            );
            histogram.set_sample_count(count);
            histogram.set_sample_sum(sum);
            metric.set_histogram(histogram);
        }
    }
    metric
}
